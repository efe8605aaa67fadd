//! Calls that the stopped process makes about itself, since nobody else can ask the kernel: what it
//! does on signals, its timers, where its libc keeps the thread's id.
//!
//! Made by its own `syscall` instruction, one step at a time. Nobody else can change the instruction:
//! its only thread stands still, no other process is in its sandbox. What the kernel answers may land
//! on it, where the process has laid its stack over its code, so it is looked at before every step.
//! Refuses code that is no such instruction and a stack that cannot be written.

use super::{Obstacle, ObstacleKind, look::field};
use crate::sys::{
    restorer::{PAGE, Signal},
    tracee::{Registers, Tracee},
};
use std::{fs::File, os::unix::fs::FileExt, time::Instant};

/// Where they may write.
const SCRATCH: u64 = 256;

/// Calls that the stopped process makes about itself.
pub(super) struct Calls<'a> {
    tracee: &'a Tracee,
    memory: &'a File,
    stopped: &'a Registers,
    scratch: u64,
    saved: [u8; SCRATCH as usize],
    until: Instant,
}

impl<'a> Calls<'a> {
    pub(super) fn of(
        tracee: &'a Tracee,
        memory: &'a File,
        stopped: &'a Registers,
        until: Instant,
    ) -> Result<Self, Obstacle> {
        let odd = |_| Obstacle::from(ObstacleKind::Stack);
        // Below the stack pointer, beyond what a leaf function may keep there.
        let scratch = stopped.rsp.wrapping_sub(PAGE) & !63;
        let mut saved = [0u8; SCRATCH as usize];
        memory.read_exact_at(&mut saved, scratch).map_err(odd)?;
        Ok(Calls {
            tracee,
            memory,
            stopped,
            scratch,
            saved,
            until,
        })
    }

    /// The kernel's answer. An error of the call itself is a failure: each of these works in an
    /// orderly process.
    fn call(&self, number: i64, arguments: [u64; 4]) -> Result<(), Obstacle> {
        let mut instruction = [0u8; 2];
        let read = self
            .memory
            .read_exact_at(&mut instruction, self.stopped.rip);
        if read.is_err() || instruction != [0x0f, 0x05] {
            return Err(ObstacleKind::Stack.into());
        }
        let mut registers = *self.stopped;
        registers.rax = number.cast_unsigned();
        // Not in a call, so the kernel makes none again.
        registers.orig_rax = u64::MAX;
        [registers.rdi, registers.rsi, registers.rdx, registers.r10] = arguments;
        self.tracee.set_registers(&registers)?;
        if self.tracee.step(self.until)? != libc::SIGTRAP {
            return Err(ObstacleKind::Signal.into());
        }
        let after = self.tracee.registers()?;
        if after.rip != registers.rip.wrapping_add(2) || after.rax != 0 {
            return Err(ObstacleKind::Stack.into());
        }
        Ok(())
    }

    fn answer<const N: usize>(&self) -> Result<[u64; N], Obstacle> {
        let mut words = [0u64; N];
        for (place, word) in words.iter_mut().enumerate() {
            let mut bytes = [0u8; 8];
            self.memory
                .read_exact_at(&mut bytes, self.scratch + place as u64 * 8)?;
            *word = u64::from_le_bytes(bytes);
        }
        Ok(words)
    }

    pub(super) fn has_interval_timer(&self) -> Result<bool, Obstacle> {
        for which in 0..3 {
            self.call(libc::SYS_getitimer, [which, self.scratch, 0, 0])?;
            if self.answer::<4>()? != [0; 4] {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether it has asked for the processor's tiles, which nobody has who has not asked.
    pub(super) fn has_tiles(&self) -> Result<bool, Obstacle> {
        const GET_PERMITTED: u64 = 0x1022;
        // What tiles hold. Their layout, bit 17, is everybody's where there are any, and of no use alone.
        const TILES: u64 = 1 << 18;
        self.memory.write_all_at(&[0; 8], self.scratch)?;
        match self.call(libc::SYS_arch_prctl, [GET_PERMITTED, self.scratch, 0, 0]) {
            // Kernels and processors without them refuse the question.
            Err(obstacle) if obstacle.kind == ObstacleKind::Stack => Ok(false),
            Err(other) => Err(other),
            Ok(()) => Ok(self.answer::<1>()?[0] & TILES != 0),
        }
    }

    /// What it does on the signals that it ignores or catches.
    pub(super) fn signals(&self, status: &str) -> Result<Vec<Signal>, Obstacle> {
        let mask = |name| field(status, name).and_then(|m| u64::from_str_radix(m, 16).ok());
        let ignored = mask("SigIgn").ok_or(ObstacleKind::Step)?;
        let caught = mask("SigCgt").ok_or(ObstacleKind::Step)?;
        let mut all = Vec::new();
        for number in (1..=64).filter(|n| (ignored | caught) >> (n - 1) & 1 == 1) {
            self.call(libc::SYS_rt_sigaction, [number, 0, self.scratch, 8])?;
            let [handler, flags, restorer, mask] = self.answer()?;
            all.push(Signal {
                number,
                handler,
                flags,
                restorer,
                mask,
            });
        }
        Ok(all)
    }

    pub(super) fn signal_stack(&self) -> Result<(u64, u64, u64), Obstacle> {
        self.call(libc::SYS_sigaltstack, [0, self.scratch, 0, 0])?;
        let [at, flags, len] = self.answer()?;
        Ok((at, flags & u64::from(u32::MAX), len))
    }

    pub(super) fn tid_address(&self) -> Result<u64, Obstacle> {
        let number = libc::PR_GET_TID_ADDRESS.unsigned_abs().into();
        self.call(libc::SYS_prctl, [number, self.scratch, 0, 0])
            .map_err(|_| Obstacle::from(ObstacleKind::Libc))?;
        Ok(self.answer::<1>()?[0])
    }

    /// Puts back what the answers were written over.
    pub(super) fn leave(self) -> Result<(), Obstacle> {
        self.memory.write_all_at(&self.saved, self.scratch)?;
        Ok(())
    }
}
