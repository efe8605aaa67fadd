//! The client side of the command line: one signed HTTP request at a time, as any SDK sends them.
//!
//! It knows the endpoint, the keys and the region, and how an error answer reads. It never touches
//! the server's storage: whatever it can do, a program on another machine can do with the same key.
//! An `https` endpoint is called only once its certificate is the one that is known, or is vouched
//! for by those that this machine trusts.

pub mod backup;
mod budgets;
pub mod configuration;
mod connection;
mod error;
pub mod lambda;
mod local;
pub mod logs;
pub mod own;
mod prices;
mod profile;
mod settings;
mod sts;
pub mod tenants;
mod trust;
mod waits;

pub use budgets::BudgetToSet;
use connection::Call;
pub use connection::{Client, Endpoint};
pub use error::ClientError;
pub use prices::{BillToGet, PricesToSet};
pub use settings::{Choice, Environment, names_a_server, resolve, resolve_local};
pub use trust::Trust;
pub use waits::Waits;
