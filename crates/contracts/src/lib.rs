//! The host side of each function contract: how an event reaches a function and its answer comes
//! back.
//!
//! A contract speaks to descriptors that a sandbox handed over; it never touches a process, knows
//! no cgroup, keeps no deadline of its own. What a guest sends is hostile until checked: every
//! head, body and connection has a limit, and an answer for another event is refused.

pub mod direct_frames;
mod event;
pub mod lambda_runtime;
mod pace;
#[cfg(test)]
mod waits;

pub use direct_frames::DirectFrames;
pub use lambda_runtime::{LambdaRuntime, RuntimeLimits};
