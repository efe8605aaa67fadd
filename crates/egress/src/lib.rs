//! The network of instances, as far as the server serves it: names, and connections where there are
//! no links. What they ask is answered as their policy allows.
//!
//! ```text
//! instance ─ 127.0.0.1:53 in its namespace ─▶ task of its core ─▶ the machine's resolvers
//!                                               │ a name that the policy has no rule for: REFUSED
//!                                               │ near addresses are taken out of the answer
//!                                               └ addresses of a policy's names: let through, then told
//! ```
//!
//! Whom an instance reaches is decided by the rules of its packets, not here: a forged or stolen
//! address leads nowhere. Refuses what is no plain question, and to wait for more than a few answers
//! of one instance at once. Answers hold addresses of the name that was asked for, without the names
//! in between.

mod around;
mod message;
mod names;
mod rate;
mod relay;
mod resolvers;

pub use names::{Names, Serving};
