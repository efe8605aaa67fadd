//! The storage seam's fake and its suites.
//!
//! [`MemoryStorage`] keeps everything in memory and obeys every rule of the seam but durability;
//! the `*_suite` functions say those rules once, for it and for every real backend.

mod events;
mod logs;
mod memory;

pub use memory::MemoryStorage;
