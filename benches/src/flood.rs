//! Flood: ten thousand simultaneous requests to one function that has no process.
//!
//! What it asserts, by its exit code: every request is answered with 200 or with a throttle, the
//! starts are no more than the concurrency that the function may have, somebody was served, and
//! the function answers afterwards. As many connections at once to a bare echo stand beside it, and
//! their time to the last answer. Everything may run on any core: who sends ten thousand requests is
//! busy with their answers, and what is judged is what they are.

use crate::{
    Failure, burst,
    echo::Echo,
    figures,
    functions::Handler,
    load::{Lines, Until, raise_descriptors},
    requests,
    server::Server,
};
use std::{collections::BTreeMap, path::Path};

/// Instances that the account may have at once: everything beyond is throttled.
const CONCURRENCY: usize = 50;
/// A server's connections may take half of its descriptors, and both sides may open as many.
const DESCRIPTORS_EACH: u64 = 2;

/// Measures and prints.
pub async fn run(bin: &Path, smoke: bool, handler: Handler) -> Result<(), Failure> {
    let wanted = if smoke { 500 } else { 10_000 };
    let most = raise_descriptors()? / DESCRIPTORS_EACH;
    let callers = wanted.min(usize::try_from(most).unwrap_or(wanted));
    if callers < wanted {
        println!("{callers} callers, not {wanted}: this machine gives no more descriptors");
    }
    let config =
        format!("[limits]\naccount_concurrency = {CONCURRENCY}\nunreserved_concurrency_min = 0\n");
    let server = Server::start(bin, &config)?;
    let echo = Echo::start()?;
    let target = handler.deploy_slow(&server)?;
    server.settled().await?;
    let event = handler.slow_event(0.2);
    let (bare, bare_took) = burst::at_once(&echo, handler, &event, callers)?;
    let before = server.metrics().await?;
    let call = requests::post(&target, &event);
    let spent = server.payer().spent();
    let mut lines = Lines::open(target.address, callers)?;
    let came = lines.run(Until::Calls(callers), |_| call.clone(), handler.is_answer())?;
    let spent = server.payer().spent().since(spent);
    let after = server.metrics().await?;
    let started = ["freehold_starts_total", "freehold_cold_starts_total"].map(|name| {
        let of = |metrics: &BTreeMap<String, f64>| metrics.get(name).copied().unwrap_or_default();
        of(&after) - of(&before)
    });
    println!(
        "{callers} simultaneous calls of a function without a process, {CONCURRENCY} at most may run\n"
    );
    println!("  answers by status       {:?}", came.by_status);
    println!("  sandboxes, cold starts  {started:?}");
    let each = |ns: u64| ns as f64 / 1000.0 / callers as f64;
    println!(
        "  CPU µs of each          {:.1} platform, {:.1} functions (the echo {:.1})",
        each(spent.platform_ns),
        each(spent.functions_ns),
        bare.platform_us()
    );
    println!(
        "  all answered within     {:.2} s, {:.1}x the echo's {:.3} s\n",
        came.took.as_secs_f64(),
        came.took.as_secs_f64() / bare_took.as_secs_f64(),
        bare_took.as_secs_f64()
    );
    println!("{}", figures::head("ms"));
    println!("{}", bare.figures().row(bare.name(), 1000.0));
    println!("{}", came.figures.row("answered with 200", 1000.0));
    drop(lines);
    let once = requests::post(&target, &handler.slow_event(0.0));
    Lines::open(target.address, 1)?
        .run(Until::Calls(1), |_| once.clone(), handler.is_answer())?
        .all_good()?;
    let served = came.good();
    let strange: Vec<_> = came
        .by_status
        .keys()
        .filter(|s| ![200, 429].contains(*s))
        .collect();
    server.stop()?;
    let too_many = started[0] > CONCURRENCY as f64;
    if served == 0 || started[0] == 0.0 || !strange.is_empty() || too_many {
        return Err(format!(
            "served {served}, strange {strange:?} ({:?}), started {started:?}",
            came.first_wrong
        )
        .into());
    }
    Ok(())
}
