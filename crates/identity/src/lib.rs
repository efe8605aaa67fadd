//! Who asks, and whether they may: keys, sessions, signatures, sealed secrets, policies.
//!
//! Nothing here does IO or waits: keys are in memory, kept true by the store's watch, and policy
//! evaluation is a pure function. HTTP status codes and error texts are for the front ends.

pub mod keyring;
pub mod policy;
pub mod seal;
pub mod sessions;
pub mod sigv4;

pub use keyring::{Ends, KeyEntry, KeyRing, KeySource};
pub use policy::{Action, Decision, ResourceContext};
pub use seal::NodeSealer;
pub use sessions::Sessions;
pub use sigv4::{AuthError, Presented, Verifier};
