//! A process small enough to be dumped and thawed when a spawner starts, to see whether this
//! machine can: it counts what it reads.
//!
//! It holds what an image must carry: a number in memory that it has written, its thread id where
//! the kernel was told to find it. For each byte that it reads from the frames' descriptor it
//! writes the count so far, then whether its thread id is still its own. Ends with its socket.

#![no_std]
#![no_main]

mod call;

use call::{call, exit, number as nr};
use core::arch::global_asm;

global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "and rsp, -16",
    "call {run}",
    "hlt",
    run = sym run,
);

const FRAMES: u64 = 3;
const GET_PID: u64 = 39;

#[repr(align(8))]
struct State {
    count: u8,
    id: u32,
}
static mut STATE: State = State { count: 0, id: 0 };

extern "C" fn run() -> ! {
    let state = &raw mut STATE;
    // SAFETY: one thread, and nothing else refers to the state; the buffers are on our own stack.
    unsafe {
        let at = &raw mut (*state).id as u64;
        let id = call(nr::SET_TID_ADDRESS, [at, 0, 0, 0, 0, 0]).unwrap_or(0);
        (&raw mut (*state).id).write_volatile(id as u32);
        loop {
            let mut byte = 0u8;
            let read = call(nr::READ, [FRAMES, &raw mut byte as u64, 1, 0, 0, 0]);
            if read != Ok(1) {
                exit(0);
            }
            let count = (&raw const (*state).count).read_volatile().wrapping_add(1);
            (&raw mut (*state).count).write_volatile(count);
            let own = call(GET_PID, [0; 6]).unwrap_or(0) as u32;
            let same = (&raw const (*state).id).read_volatile() == own;
            let answer = [count, u8::from(same)];
            let _ = call(nr::WRITE, [FRAMES, answer.as_ptr() as u64, 2, 0, 0, 0]);
        }
    }
}
