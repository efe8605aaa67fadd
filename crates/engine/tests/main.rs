//! The engine over fakes, on a clock that jumps: one program, since each would be the whole engine
//! compiled anew. A file of it alone: `cargo test -p freehold-engine --test engine snapshots::`.

mod aliases;
mod budgets;
mod compiled;
mod cores;
mod heads;
mod keep;
mod keeping;
mod logs;
mod networks;
mod outcomes;
mod rests;
mod rooms;
mod simulator;
mod snapshots;
mod starts;
mod stock;
mod support;
mod tags;
mod tenancy;
mod traffic;
mod weights;
