//! Written by `cargo xtask codegen` from `models/` and `overlays/`; edits are lost.

pub mod lambda;
pub mod logs;
pub mod sts;
