//! A spawner: the one privileged, single-threaded process that makes the instances of one lane.
//!
//! ```text
//!           fork            Ready          Start         volume           control closed
//! (nothing) ────▶ preparing ─────▶ parked ──────▶ furnishing ──▶ launching ─────────▶ running
//!                     │              │                │              │                   │
//!                     └──────────────┴── pid 1 ended ─┴──────────────┴───────────────────┴─▶ ending ─▶ (gone)
//! ```
//!
//! A start that finds no room waits for a parked sandbox of another runtime to end; one whose
//! `/tmp` is not ready waits for the keeper, and the lane goes on meanwhile. Whoever is preparing,
//! furnishing or launching for too long is ended.
//!
//! It trusts nothing of the server: it reads one closed set of messages, hands out the numbers by
//! which things are named, checks descriptors by `fstat`, opens no path that it was sent and
//! parses nothing of a tenant's. Refuses to reuse a sandbox that has run anything, and to wait on
//! anybody: everything it does is bounded, and answers queue up to a bound, beyond which it stops
//! reading.

mod accept;
mod exit;
mod keeper;
mod lane;
mod pool;
mod sandbox;
mod uids;

pub use accept::{Expected, PACKAGE_RULES};
pub use lane::{LaneOptions, SETUP_STEPS, USUAL_TMP, run_lane};
pub use uids::LANES_MAX;
