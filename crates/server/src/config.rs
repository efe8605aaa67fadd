//! The configuration: one table of keys, and what was given for each.
//!
//! ```text
//! default  <  freehold.toml  <  FREEHOLD_SECTION_KEY  <  flags, --set section.key=value
//! ```
//!
//! [`keys`] has the table. [`Given`] holds what may say a value and puts it together, as often as
//! asked: the file may change, environment and flags stay those of the start. Nothing is taken of
//! what has a fault, and every fault is told with its place.

mod fault;
mod given;
mod keys;
mod kind;
mod measure;
mod paths;
mod policies;
mod reload;
mod rules;
#[cfg(test)]
mod tests;

pub use fault::ConfigError;
pub use given::{Given, Resolved, Setting};
pub(crate) use keys::SERVER_UID;
pub use keys::{Ceiling, Config, Cpu, IdleTimeout, Key, When};
#[cfg(test)]
pub(crate) use keys::{KEYS, Preset};
pub use measure::{Size, Span};
pub use reload::Change;
