//! Burst: 1,000 instances of one Python function from zero, and what idle ones hold.
//!
//! A thousand callers at once, each on a connection of its own, call a function that takes longer
//! than all of them need to come up, so that no instance can answer two of them: a thousand come
//! up, or the bench fails. What is printed is the time until all are answered beyond the function's
//! own, the time of each answer, and how much `MemAvailable` has fallen once all of them are idle.
//! `density` does the same in steps until there are 10,000. An idle instance of one function is
//! reached by one caller after the other only if it was used last, so what calls across idle
//! instances take is asked of functions of their own, one instance each, in turn.

use crate::{
    Failure, cold,
    figures::{self, Figures},
    functions::Handler,
    load::{Lines, Until, raise_descriptors},
    processes, requests,
    server::Server,
};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

/// What the function takes of its own: longer than a thousand starts.
const OWN: Duration = Duration::from_secs(15);
/// The same for a few.
const OWN_SMOKE: Duration = Duration::from_secs(1);
/// Functions with an idle instance each that are called in turn.
const ACROSS: usize = 500;
/// Beyond that, all answered.
const GOAL: Duration = Duration::from_millis(1500);
/// An idle Python instance, MiB of MemAvailable.
const GOAL_MIB: f64 = 1.4;
/// As many as the limit of an account lets through, and none that ends while it is counted.
const CONFIG: &str = "[instances]\nidle_timeout = \"3600s\"\nmax = 20000\n\
    [limits]\naccount_concurrency = 20000\n";
/// Ways to come up.
const KINDS: [&str; 4] = ["executed", "booted", "template", "restored"];
/// From the last answer until instances are frozen and the kernel has freed what it frees.
const REST: Duration = Duration::from_secs(3);
/// The same where the figure says nothing.
const REST_SMOKE: Duration = Duration::from_millis(100);

/// Measures a burst and prints.
pub async fn run(
    bin: &Path,
    smoke: bool,
    handler: Handler,
    instances: usize,
) -> Result<(), Failure> {
    let (instances, own) = match smoke {
        true => (8, OWN_SMOKE),
        false => (instances, OWN),
    };
    raise_descriptors()?;
    let server = Server::start(bin, CONFIG)?;
    let target = handler.deploy_slow(&server)?;
    server.settled().await?;
    let free = available_mib()?;
    let before = server.metrics().await?;
    let call = requests::post(&target, &handler.slow_event(own.as_secs_f64()));
    let mut lines = Lines::open(target.address, instances)?;
    let came = lines.run(
        Until::Calls(instances),
        |_| call.clone(),
        handler.is_answer(),
    )?;
    let after = server.metrics().await?;
    let live = after.get("freehold_instances").copied().unwrap_or_default();
    println!("{instances} calls at once of a function that takes {own:?}, from no instance\n");
    println!("  answers by status          {:?}", came.by_status);
    if let Some(wrong) = &came.first_wrong {
        println!("  the first that was wrong   {wrong}");
    }
    println!("  instances                  {live}");
    let by_kind = KINDS.map(|kind| {
        let name = format!("freehold_starts_total{{kind=\"{kind}\"}}");
        let of = |metrics: &std::collections::BTreeMap<String, f64>| {
            metrics.get(&name).copied().unwrap_or_default()
        };
        format!("{kind} {}", of(&after) - of(&before))
    });
    println!("  starts                     {}", by_kind.join(", "));
    println!(
        "  all answered, beyond that  {:>8.2} s   (goal ≤ {} s for 1,000)",
        came.took.saturating_sub(own).as_secs_f64(),
        GOAL.as_secs_f64()
    );
    println!("\n{}", figures::head("ms"));
    println!("{}", came.figures.row("answer", 1000.0));
    let grown = |name: &str| {
        let of = |metrics: &std::collections::BTreeMap<String, f64>| {
            metrics.get(name).copied().unwrap_or_default()
        };
        (of(&after) - of(&before)) * 1000.0 / came.good().max(1) as f64
    };
    println!(
        "mean ms by the server's clock: {}",
        cold::PHASES
            .iter()
            .map(|name| format!("{name} {:.1}", grown(name)))
            .collect::<Vec<_>>()
            .join(", ")
    );
    drop(lines);
    tokio::time::sleep(if smoke { REST_SMOKE } else { REST }).await;
    let held = free - available_mib()?;
    println!(
        "\nMemAvailable fell by {held:.0} MiB, {:.2} MiB per idle instance (goal ≤ {GOAL_MIB} MiB)",
        held / live.max(1.0)
    );
    let wrong = came.by_status.keys().any(|status| *status != 200);
    server.stop()?;
    if wrong {
        return Err("not every call was answered".into());
    }
    if live < instances as f64 {
        return Err(format!("{live} instances came up for {instances} calls at once").into());
    }
    Ok(())
}

/// Measures how many idle instances are held, in steps, and prints.
pub async fn density(
    bin: &Path,
    smoke: bool,
    handler: Handler,
    instances: usize,
) -> Result<(), Failure> {
    let (instances, step, calls) = if smoke {
        (6, 3, 30)
    } else {
        (instances, 500, 5000)
    };
    raise_descriptors()?;
    let server = Server::start(bin, CONFIG)?;
    let target = handler.deploy_slow(&server)?;
    server.settled().await?;
    let free = available_mib()?;
    println!(
        "{:>9} {:>9} {:>11} {:>12} {:>12} {:>9} {:>11}",
        "instances", "s", "MiB fallen", "MiB each", "server MiB", "pids", "descriptors"
    );
    let mut lines = Lines::open(target.address, 0)?;
    let mut held = 0;
    while held < instances {
        let wanted = (held + step).min(instances);
        drop(std::mem::replace(
            &mut lines,
            Lines::open(target.address, wanted)?,
        ));
        // Those that are there already take their share of the calls: it has to outlast the starts.
        let seconds = (wanted as f64 / 100.0).clamp(1.0, 50.0);
        let call = requests::post(&target, &handler.slow_event(seconds));
        let begun = Instant::now();
        let came = lines.run(Until::Calls(wanted), |_| call.clone(), handler.is_answer())?;
        if came.good() < wanted {
            println!("stopped: {:?} {:?}", came.by_status, came.first_wrong);
            break;
        }
        let took = begun.elapsed();
        tokio::time::sleep(if smoke { REST_SMOKE } else { REST }).await;
        let metrics = server.metrics().await?;
        let live = metrics
            .get("freehold_instances")
            .copied()
            .unwrap_or_default();
        let fallen = free - available_mib()?;
        println!(
            "{live:>9} {:>9.1} {fallen:>11.0} {:>12.2} {:>12.1} {:>9} {:>11}",
            took.as_secs_f64(),
            fallen / live.max(1.0),
            processes::kib(server.pid(), "status", "VmRSS") as f64 / 1024.0,
            processes::tree(server.pid()).len(),
            processes::descriptors(server.pid()),
        );
        held = wanted;
    }
    let call = requests::post(&target, &handler.slow_event(0.0));
    let mut together = Figures::default();
    for _ in 0..3 {
        let came = lines.run(Until::Calls(held), |_| call.clone(), handler.is_answer())?;
        together.extend(&came.all_good()?.figures);
    }
    let functions = if smoke { 3 } else { ACROSS };
    let names: Vec<_> = (0..functions).map(|at| format!("across-{at}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let across = handler.deploy_as(&server, &names)?;
    let across: Vec<_> = across
        .iter()
        .map(|one| requests::post(one, handler.event()))
        .collect();
    let mut one = Lines::open(target.address, 1)?;
    let mut in_turn = |calls| {
        one.run(
            Until::Calls(calls),
            |at| across[at % functions].clone(),
            handler.is_answer(),
        )
    };
    // The first round brings them up.
    in_turn(functions)?.all_good()?;
    tokio::time::sleep(if smoke { REST_SMOKE } else { REST }).await;
    let in_turn = in_turn(calls)?.all_good()?.figures;
    println!("\n{}", figures::head("ms"));
    println!("{}", in_turn.row("idle functions in turn", 1000.0));
    println!("{}", together.row("all instances at once", 1000.0));
    println!("goal: 10,000 in ≤ 14 GiB, p99 ≤ 10 ms across them");
    server.stop()
}

fn available_mib() -> Result<f64, Failure> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next());
    Ok(kib.ok_or("no MemAvailable")?.parse::<f64>()? / 1024.0)
}
