//! The policy of keeping warm against the fixed ten minutes, over replayed arrivals.

use freehold_engine::keep::{
    FIXED, Policy,
    replay::{Bill, behind_front, replay},
    traces::{Kind, Trace},
};

const DAYS: u32 = 8;
const SEEDS: [u64; 3] = [1, 2, 3];
/// How far behind the front of the fixed time-outs the policy may lie where nothing can be known.
const BEHIND: f64 = 1.05;

fn together(traces: &[Trace], policy: Policy) -> Bill {
    let bills = traces.iter().map(|trace| replay(trace, policy));
    bills.fold(Bill::default(), Bill::plus)
}

#[test]
fn with_a_pattern_fewer_starts_and_less_memory_than_ten_minutes() {
    for kind in [Kind::Periodic, Kind::Daily, Kind::Bursts, Kind::Mixed] {
        for seed in SEEDS {
            let traces = kind.traces(seed, DAYS);
            let fixed = together(&traces, Policy::Fixed(FIXED));
            let ours = together(&traces, Policy::Adaptive);
            assert_eq!(ours.calls, fixed.calls);
            assert!(
                ours.cold < fixed.cold && ours.idle_seconds < fixed.idle_seconds,
                "{} seed {seed}: {ours:?} against {fixed:?}",
                kind.name()
            );
        }
    }
}

#[test]
fn without_one_no_worse_than_any_fixed_time_out() {
    for kind in [Kind::Poisson, Kind::Rare] {
        for seed in SEEDS {
            let traces = kind.traces(seed, DAYS);
            let times = [10.0, 450.0, 600.0, 1200.0];
            let front = times.map(|stays| together(&traces, Policy::Fixed(stays)));
            let behind = behind_front(together(&traces, Policy::Adaptive), &front);
            assert!(behind <= BEHIND, "{} seed {seed}: {behind}", kind.name());
        }
    }
}

#[test]
fn who_is_expected_is_found_awake() {
    for (kind, found_frozen) in [
        (Kind::Periodic, 0.1),
        (Kind::Bursts, 0.1),
        (Kind::Daily, 0.5),
    ] {
        for seed in SEEDS {
            let traces = kind.traces(seed, DAYS);
            let ours = together(&traces, Policy::Adaptive);
            println!("{} {seed}: {}", kind.name(), ours.thaw_rate());
            assert!(
                ours.thaw_rate() <= found_frozen,
                "{} seed {seed}: {ours:?}",
                kind.name()
            );
            let fixed = together(&traces, Policy::Fixed(FIXED));
            assert!(fixed.thaw_rate() > ours.thaw_rate(), "{fixed:?}");
        }
    }
}
