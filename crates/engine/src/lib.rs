//! The data plane: runs events on instances.
//!
//! Read [`pipeline`] first: the whole path of a request in one function. Everything else is a
//! stage of it (`route`, `admission`, `placement`, `exchange`, `settle`), what a stage leans on
//! (`pool`, `logs`, `environment`), or the reconciler, which makes functions ready. The engine
//! knows no HTTP, no Linux and no backend: instances, links and stores come through the seams.

mod admission;
mod engine;
mod environment;
mod exchange;
pub mod keep;
mod logs;
mod node;
mod parts;
mod pipeline;
mod placement;
mod pool;
mod reconcile;
mod route;
mod settle;
mod stats;
mod tags;
mod tenancy;

pub use engine::Engine;
pub use parts::{CpuPolicy, EngineConfig, EngineParts, SnapshotConfig};
pub use stats::{InstanceState, InstanceView, StartKind, Stats};
