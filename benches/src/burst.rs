//! Burst: 1,000 instances of one Python function from zero, and what idle ones hold.
//!
//! A thousand callers at once, each on a connection of its own, call a function that takes longer
//! than all of them need to come up, so that no instance can answer two of them: a thousand come
//! up, or the bench fails. What is printed is the time until all are answered beyond the function's
//! own, the time of each answer, and how much `MemAvailable` has fallen once all of them are idle;
//! beside it as many connections at once to a bare echo.
//! `density` does the same in steps until there are 10,000. An idle instance of one function is
//! reached by one caller after the other only if it was used last, so what calls across idle
//! instances take is asked of functions of their own, one instance each, in turn; an echo is called by
//! the same one caller, in rounds. Everything may run on any core: starts go on all of them, and a
//! caller that waits for thousands of answers needs next to none.

use crate::{
    Failure,
    client::Target,
    cold,
    costs::{self, Cost},
    echo::Echo,
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
/// As many as the limit of an account lets through, and none that ends while it is counted. What one
/// function may start in ten seconds, 1,000 by default, is lifted: that is said where it matters.
const CONFIG: &str = "[instances]\nidle_timeout = \"3600s\"\nmax = 20000\n\
    [limits]\naccount_concurrency = 20000\nfunction_starts = 1000000\n";
/// What is printed of that.
const LIFTED: &str = "limits: account_concurrency = 20000 (default 1000), function_starts = 1000000 (default 1000 in ten seconds)";
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
    let echo = Echo::start()?;
    let target = handler.deploy_slow(&server)?;
    server.settled().await?;
    let event = handler.slow_event(own.as_secs_f64());
    let (bare, bare_took) = at_once(&echo, handler, &event, instances)?;
    let free = available_mib()?;
    let before = server.metrics().await?;
    let call = requests::post(&target, &event);
    let mut lines = Lines::open(target.address, instances)?;
    let spent = server.payer().spent();
    let came = lines.run(
        Until::Calls(instances),
        |_| call.clone(),
        handler.is_answer(),
    )?;
    let spent = server.payer().spent().since(spent);
    let after = server.metrics().await?;
    let live = after.get("freehold_instances").copied().unwrap_or_default();
    println!("{instances} calls at once of a function that takes {own:?}, from no instance");
    println!("{LIFTED}\n");
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
    let beyond = came.took.saturating_sub(own).as_secs_f64();
    println!(
        "  all answered, beyond that  {beyond:>8.2} s   (goal ≤ {} s for 1,000; the echo {:.3} s, {:.0}x)\n",
        GOAL.as_secs_f64(),
        bare_took.as_secs_f64(),
        beyond / bare_took.as_secs_f64()
    );
    let mut answers = Cost::new("answer, its own time in it");
    answers.add(&came.figures, spent);
    println!("{}", costs::head("ms", "echo"));
    for cost in [&bare, &answers] {
        println!("{}", cost.row(&bare, 1000.0));
    }
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

/// The same calls on as many connections to an echo, and until all of them were answered.
pub fn at_once(
    echo: &Echo,
    handler: Handler,
    event: &[u8],
    calls: usize,
) -> Result<(Cost, Duration), Failure> {
    let target = handler.echo(echo);
    let call = requests::post(&target, event);
    let look = || handler.is_echo_of(event);
    let once = Until::Calls(1);
    Lines::open(target.address, 1)?
        .run(once, |_| call.clone(), look())?
        .all_good()?;
    let mut lines = Lines::open(target.address, calls)?;
    let before = echo.payer().spent();
    let came = lines.run(Until::Calls(calls), |_| call.clone(), look())?;
    let (came, spent) = (came.all_good()?, echo.payer().spent().since(before));
    let mut cost = Cost::new(&format!("echo, {calls} at once"));
    cost.add(&came.figures, spent);
    Ok((cost, came.took))
}

/// Measures how many idle instances are held, in steps, and prints.
pub async fn density(
    bin: &Path,
    smoke: bool,
    handler: Handler,
    instances: usize,
) -> Result<(), Failure> {
    let (instances, step) = if smoke { (6, 3) } else { (instances, 500) };
    raise_descriptors()?;
    let server = Server::start(bin, CONFIG)?;
    let echo = Echo::start()?;
    let target = handler.deploy_slow(&server)?;
    server.settled().await?;
    let free = available_mib()?;
    println!("{LIFTED}\n");
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
    let at_once = together(&server, &echo, handler, &target, &mut lines, held)?;
    drop(lines);
    let in_turn = in_turn(&server, &echo, handler, smoke).await?;
    println!("\n{}", costs::head("ms", "echo"));
    for [bare, ours] in [&in_turn, &at_once] {
        println!("{}", bare.row(bare, 1000.0));
        println!("{}", ours.row(bare, 1000.0));
    }
    println!("goal: 10,000 in ≤ 14 GiB, p99 ≤ 10 ms across them");
    server.stop()
}

/// All instances at once, three times, and an echo on as many connections.
fn together(
    server: &Server,
    echo: &Echo,
    handler: Handler,
    target: &Target,
    lines: &mut Lines,
    held: usize,
) -> Result<[Cost; 2], Failure> {
    let event = handler.slow_event(0.0);
    let call = requests::post(target, &event);
    let (bare, _) = at_once(echo, handler, &event, held)?;
    let mut ours = Cost::new("all instances at once");
    for _ in 0..3 {
        let until = Until::Calls(held);
        ours.round(
            lines,
            until,
            |_| call.clone(),
            handler.is_answer(),
            server.payer(),
        )?;
    }
    Ok([bare, ours])
}

/// One caller of idle functions, one after the other, in turn with an echo.
async fn in_turn(
    server: &Server,
    echo: &Echo,
    handler: Handler,
    smoke: bool,
) -> Result<[Cost; 2], Failure> {
    let (functions, rounds, calls) = if smoke { (3, 1, 30) } else { (ACROSS, 5, 1000) };
    let names: Vec<_> = (0..functions).map(|at| format!("across-{at}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let across = handler.deploy_as(server, &names)?;
    let across: Vec<_> = across
        .iter()
        .map(|one| requests::post(one, handler.event()))
        .collect();
    let plain = requests::post(&handler.echo(echo), handler.event());
    let mut line = Lines::open(server.address(), 1)?;
    let mut bare_line = Lines::open(echo.target.address, 1)?;
    // The first round brings them up.
    let next = |at: usize| across[at % functions].clone();
    line.run(Until::Calls(functions), next, handler.is_answer())?
        .all_good()?;
    let (mut bare, mut ours) = (Cost::new("echo"), Cost::new("idle functions in turn"));
    for _ in 0..rounds {
        bare.round(
            &mut bare_line,
            Until::Calls(calls),
            |_| plain.clone(),
            handler.is_echo_of(handler.event()),
            echo.payer(),
        )?;
        // Those of the round before are frozen again.
        tokio::time::sleep(if smoke { REST_SMOKE } else { REST }).await;
        ours.round(
            &mut line,
            Until::Calls(calls),
            next,
            handler.is_answer(),
            server.payer(),
        )?;
    }
    Ok([bare, ours])
}

fn available_mib() -> Result<f64, Failure> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next());
    Ok(kib.ok_or("no MemAvailable")?.parse::<f64>()? / 1024.0)
}
