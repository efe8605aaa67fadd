//! Runtimes: which interpreters the machine has, and the root trees that functions see of them.
//!
//! ```text
//! discover ─▶ interpreters ─▶ plan (allow-list: guest path → source) ─▶ store ─▶ table.json
//! ```
//!
//! Runs as root, before privileges are dropped; afterwards only [`Catalog::load`] is needed. A tree
//! is made of copies, so what the host upgrades does not change under a running function, and an
//! instance needs one bind mount (`docs/decisions/0003-runtime-trees.md`).
//!
//! Refuses to put into a tree what no rule names: not site-packages, not `/root`, not all of `/usr`.

mod base;
mod catalog;
mod discover;
mod elf;
mod java;
mod look;
mod node;
mod plan;
mod python;
mod sdk;
mod store;
mod tools;

pub use catalog::{
    Catalog, CatalogError, Problem, Resolved, USUAL_NAMES, assemble, has_interpreter, is_changing,
};
pub use discover::{DiscoverOptions, Discovery, Interpreter, PassedOver, Version, discover};
pub use sdk::{SdkError, SdkReport, install_sdks};
pub use tools::ToolEnvironment;
