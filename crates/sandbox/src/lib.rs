//! Linux isolation: finished, empty sandboxes made ahead, and instances started in them.
//!
//! ```text
//!  server (own uid, no privilege)         supervisor (root)
//!    SandboxPool ──one socket per core──▶   spawner 0, spawner 1 …    (root, one thread each)
//!                                              └ pid 1 ─ pid 2        (a sandbox, parked or live)
//! ```
//!
//! The wiring is: [`launch`] while the process is root and has one thread, [`drop_privileges`],
//! [`SandboxPool::connect`], and on each core's runtime [`SandboxPool::register`]. What happens
//! between a start and the exec of the runtime reads from top to bottom in [`isolate`].
//! Never parses a payload; `unsafe` is below `sys` alone.

pub mod block;
pub mod cgroup;
mod client;
mod doctor;
pub mod isolate;
mod launch;
pub mod network;
pub mod protocol;
pub mod seccomp;
pub mod spawner;
pub mod start_image;
pub mod supervisor;
pub mod sys;
mod table;
pub mod volumes;

pub use client::SandboxPool;
pub use doctor::{Finding, is_one_uid, probe};
pub use launch::{LaunchError, LaunchOptions, SupervisorHandle, drop_privileges, launch};
pub use table::{ROWS_MAX, TABLE_MAX, TableError, read_table};
