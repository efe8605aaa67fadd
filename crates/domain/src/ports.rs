//! The seams: what one part of the platform needs from another, one file each.
//!
//! Every trait is dyn-safe, `Send + Sync`, and returns boxed futures; `testkit` has one suite per
//! seam that every implementation passes, fakes included.

mod audit;
mod backup;
mod clock;
mod contract;
mod credentials;
mod in_process;
mod invoke;
mod names;
mod packages;
mod platform_endpoint;
mod sandbox;
mod seal;
mod sink;
mod starts;
mod storage;

pub use audit::*;
pub use backup::*;
pub use clock::*;
pub use contract::*;
pub use credentials::*;
pub use in_process::*;
pub use invoke::*;
pub use names::*;
pub use packages::*;
pub use platform_endpoint::*;
pub use sandbox::*;
pub use seal::*;
pub use sink::*;
pub use starts::*;
pub use storage::*;
