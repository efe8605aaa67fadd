//! A second reading of a program, for tests: the classic BPF machine as the kernel runs it over
//! `struct seccomp_data`.
//!
//! Knows the instructions that a filter may use here and refuses all others, so a compiler that
//! starts to emit something new fails its tests until this file learned it.

use super::SockFilter;

/// What the kernel hands to a filter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) nr: u32,
    pub(super) arch: u32,
    pub(super) args: [u64; 6],
}

/// What running the program took.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Walk {
    pub(super) steps: usize,
    pub(super) read_arguments: bool,
}

/// The value returned and the way there; none if the program leaves its own text, loads what a
/// filter may not, or uses an unknown instruction.
pub(super) fn run(program: &[SockFilter], call: &Call) -> Option<(u32, Walk)> {
    let (mut accumulator, mut kept) = (0u32, 0u32);
    let mut at = 0usize;
    let mut walk = Walk::default();
    loop {
        let instruction = program.get(at)?;
        walk.steps += 1;
        at += 1;
        let jump = |taken: bool| {
            usize::from(if taken {
                instruction.jt
            } else {
                instruction.jf
            })
        };
        match instruction.code {
            0x20 => {
                walk.read_arguments |= instruction.k >= 16;
                accumulator = load(call, instruction.k)?;
            }
            0x54 => accumulator &= instruction.k,
            0x07 => kept = accumulator,
            0x05 => at += instruction.k as usize,
            0x15 => at += jump(accumulator == instruction.k),
            0x1d => at += jump(accumulator == kept),
            0x2d => at += jump(accumulator > kept),
            0x35 => at += jump(accumulator >= instruction.k),
            0x45 => at += jump(accumulator & instruction.k != 0),
            0x06 => return Some((instruction.k, walk)),
            _ => return None,
        }
    }
}

fn load(call: &Call, offset: u32) -> Option<u32> {
    match offset {
        0 => Some(call.nr),
        4 => Some(call.arch),
        16..64 if offset.is_multiple_of(4) => {
            let word = call.args[((offset - 16) / 8) as usize];
            Some(if offset.is_multiple_of(8) {
                word as u32
            } else {
                (word >> 32) as u32
            })
        }
        _ => None,
    }
}
