//! AWS Lambda: generated from its service model. Written by `cargo xtask codegen`; edits are lost.

mod operations;
pub use operations::*;
mod shapes;
pub use shapes::*;
mod codecs;
pub use codecs::*;
pub mod error;
pub(crate) mod patterns;
mod rules;
