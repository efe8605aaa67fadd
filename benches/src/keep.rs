//! The engine's policy of keeping warm, replayed: cold-start rate against memory held idle, beside
//! the fixed ten minutes and the front of all fixed time-outs.
//!
//! No server and no clock, so no echo beside it: the same seed prints the same table on every machine.

use crate::Failure;
use freehold_engine::keep::{
    FIXED, Policy,
    replay::{Bill, behind_front, replay},
    traces::{KINDS, Kind, Trace},
};

/// Fixed time-outs that make the front, seconds.
const FRONT: [f64; 10] = [
    10.0, 60.0, 120.0, 300.0, 450.0, 600.0, 900.0, 1800.0, 3600.0, 14_400.0,
];

pub fn run(smoke: bool, seed: u64) -> Result<(), Failure> {
    let days = if smoke { 10 } else { 28 };
    println!(
        "{days} days of arrivals, seed {seed}; memory in hours that an instance was held idle"
    );
    println!(
        "{:<9} {:>9} {:>5} | {:>8} {:>9} | {:>8} {:>9} {:>8} | {:>7} {:>7} {:>7} | {:>7}",
        "arrivals",
        "functions",
        "calls",
        "10 min:",
        "memory",
        "policy:",
        "memory",
        "starts",
        "cold",
        "memory",
        "front",
        "frozen"
    );
    let mut failed = Vec::new();
    for kind in KINDS {
        let traces = kind.traces(seed, days);
        let fixed = together(&traces, Policy::Fixed(FIXED));
        let ours = together(&traces, Policy::Adaptive);
        let front = FRONT.map(|stays| together(&traces, Policy::Fixed(stays)));
        let behind = behind_front(ours, &front);
        println!(
            "{:<9} {:>9} {:>5} | {:>7.3}% {:>8.1}h | {:>7.3}% {:>8.1}h {:>8} | {:>6.2}x {:>6.2}x {:>6.3}x | {:>6.2}%",
            kind.name(),
            traces.len(),
            short(ours.calls),
            100.0 * fixed.cold_rate(),
            fixed.idle_seconds / 3600.0,
            100.0 * ours.cold_rate(),
            ours.idle_seconds / 3600.0,
            ours.starts,
            ours.cold_rate() / fixed.cold_rate(),
            ours.idle_seconds / fixed.idle_seconds,
            behind,
            100.0 * ours.thaw_rate(),
        );
        let holds = match kind {
            Kind::Poisson | Kind::Rare => behind <= 1.05,
            _ => ours.cold < fixed.cold && ours.idle_seconds < fixed.idle_seconds,
        };
        if !holds {
            failed.push(kind.name());
        }
    }
    println!(
        "front: the factor by which some fixed time-out, or a mixture of two, must be worse on"
    );
    println!("both counts to be no better; 1 means that none is better on both");
    println!("frozen: calls, of those that found an instance, which found it frozen");
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("the policy misses its goal for {}", failed.join(", ")).into())
    }
}

fn together(traces: &[Trace], policy: Policy) -> Bill {
    let bills = traces.iter().map(|trace| replay(trace, policy));
    bills.fold(Bill::default(), Bill::plus)
}

fn short(calls: u64) -> String {
    if calls < 10_000 {
        calls.to_string()
    } else {
        format!("{}k", calls / 1000)
    }
}
