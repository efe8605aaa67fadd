//! WebAssembly functions: compiled at deploy, a fresh instance for every event, inside the server.
//!
//! ```text
//!  deploy   package ─ module ─▶ __compile child ─ machine code ─▶ DATA/compiled, sealed by a key
//!  start    compiled file ─ verified ─▶ code in memory, linked once (kept, least used dropped)
//!  event    pool slot ─▶ fresh store and instance ─▶ run, in slices ─▶ answer ─▶ slot given back
//! ```
//!
//! Two kinds of code: components that export `wasi:http/incoming-handler`, and WASI commands (a
//! preview 1 core module with `_start`, or a component that exports `wasi:cli/run`) that read the
//! event on standard input and answer on standard output. [`http`] and [`command`] say what an event
//! becomes in each.
//!
//! A guest gets its function's environment, clocks and random numbers. It gets no file, no socket,
//! no name lookup, no outgoing request and no credential: there is nothing to leave out. What
//! bounds it is in [`limits`]. The server compiles nothing itself ([`compile`]), trusts no compiled
//! file that does not carry its key ([`compiled`]), and never lends a core to a guest for longer
//! than a slice ([`slices`]).

mod code;
mod command;
mod compile;
mod compiled;
mod engine;
mod host;
mod http;
mod instance;
pub mod limits;
mod output;
mod run;
mod shares;
mod slices;
mod state;

pub use compile::{CHILD_ARGUMENT, child_main};
pub use compile::{Compile, Compiled, InThisProcess, Subprocess};
pub use host::{HostError, HostParts, WasmHost};
