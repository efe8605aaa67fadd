//! Growth: a server with 100,000 registered functions beside one with ten.
//!
//! The functions are made as anybody makes them, by signed `CreateFunction` calls over a few
//! connections, all of one small package. Then the server is started again over them: what it
//! takes until it serves, what it holds, and whether deploying and invoking cost what they cost
//! with ten.

use crate::{
    Failure,
    figures::{self, Figures},
    functions::{self, ANSWER, Language},
    load::{Lines, Until},
    processes::{self, Spent},
    registry::Registry,
    server::Server,
};
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// Until it serves.
const GOAL_START: Duration = Duration::from_secs(5);
/// Resident, MiB.
const GOAL_MIB: f64 = 300.0;

/// What one size came to.
struct Size {
    functions: usize,
    start: Duration,
    resident_mib: f64,
    resident_after_mib: f64,
    settle_cpu_ms: f64,
    deploys: Figures,
    first_invokes: Figures,
    invokes: Figures,
    invoke_cpu_us: f64,
}

/// Measures and prints.
pub async fn run(bin: &Path, smoke: bool, functions: usize) -> Result<(), Failure> {
    let sizes = if smoke { [3, 30] } else { [10, functions] };
    let mut server = Server::start(bin, "")?;
    functions::deploy(&server, Language::Python)?;
    let runtime = server.runtime_of("hello-python")?;
    let mut registry = Registry::new(&server, &runtime)?;
    let mut measured = Vec::new();
    for size in sizes {
        let took = registry.grow_to(&server, size)?;
        let active = registry.until_active(&server)?;
        println!(
            "{size} functions: made in {:.1} s by CreateFunction, {:.0} per second; the last could \
             be invoked {:.1} s later",
            took.as_secs_f64(),
            size as f64 / took.as_secs_f64(),
            active.as_secs_f64()
        );
        server.settled().await?;
        measured.push(measure(&mut server, &mut registry, size, smoke).await?);
    }
    println!();
    print(&measured);
    server.stop()
}

async fn measure(
    server: &mut Server,
    registry: &mut Registry,
    functions: usize,
    smoke: bool,
) -> Result<Size, Failure> {
    let begun = Instant::now();
    server.restart()?;
    let start = begun.elapsed();
    let mib = |server: &Server| processes::kib(server.pid(), "status", "VmRSS") as f64 / 1024.0;
    let resident_mib = mib(server);
    // The address and the key are the same folder's, the port is not.
    registry.follow(server);
    let before = Spent::of(server.pid());
    server.settled().await?;
    let settle = Spent::of(server.pid()).since(before);
    let (mut deploys, mut first_invokes) = (Figures::default(), Figures::default());
    let few = if smoke { 3 } else { 30 };
    for _ in 0..few {
        // One more each time: made, and invoked as soon as it can be.
        let (made, invoked) = registry.one_more(server)?;
        deploys.add(made);
        first_invokes.add(invoked);
    }
    let caller = server.caller();
    let mut lines = Lines::open(server.address(), 1)?;
    let request = caller.invoke("hello-python", ANSWER.as_bytes())?;
    let calls = if smoke { 50 } else { 3000 };
    lines.run(Until::Calls(calls / 10), |_| request.clone(), |_| true)?;
    let before = Spent::of(server.pid());
    let came = lines
        .run(Until::Calls(calls), |_| request.clone(), |_| true)?
        .all_good()?;
    let spent = Spent::of(server.pid()).since(before);
    Ok(Size {
        functions,
        start,
        resident_mib,
        resident_after_mib: mib(server),
        settle_cpu_ms: settle.platform_ns as f64 / 1e6,
        deploys,
        first_invokes,
        invokes: came.figures,
        invoke_cpu_us: spent.platform_ns as f64 / 1000.0 / calls as f64,
    })
}

fn print(sizes: &[Size]) {
    for size in sizes {
        println!("with {} functions", size.functions);
        println!(
            "  start-up, until it serves     {:>9.2} s     (goal ≤ {} s)",
            size.start.as_secs_f64(),
            GOAL_START.as_secs()
        );
        println!(
            "  resident when it serves       {:>9.1} MiB   (goal ≤ {GOAL_MIB} MiB); after the calls below {:.1} MiB",
            size.resident_mib, size.resident_after_mib
        );
        println!(
            "  processor time until at rest  {:>9.1} ms",
            size.settle_cpu_ms
        );
        println!(
            "  platform CPU per warm Invoke  {:>9.1} µs",
            size.invoke_cpu_us
        );
        println!("  {}", figures::head("ms"));
        println!("  {}", size.deploys.row("CreateFunction", 1000.0));
        println!("  {}", size.first_invokes.row("until first answer", 1000.0));
        println!("  {}", size.invokes.row("warm Invoke, signed", 1000.0));
    }
    if let [few, .., many] = sizes {
        let ratio = |of: fn(&Size) -> f64| of(many) / of(few);
        println!(
            "\nmany against ten, p50: CreateFunction {:.2}x, first answer {:.2}x, warm Invoke {:.2}x, its CPU {:.2}x",
            ratio(|size| size.deploys.percentile(50)),
            ratio(|size| size.first_invokes.percentile(50)),
            ratio(|size| size.invokes.percentile(50)),
            ratio(|size| size.invoke_cpu_us),
        );
    }
}
