//! Growth: a server with 100,000 registered functions beside one with ten.
//!
//! The functions are made as anybody makes them, by signed `CreateFunction` calls over a few
//! connections, all of one small package. Then the server is started again over them: what it
//! takes until it serves, what it holds, and whether deploying and invoking cost what they cost
//! with ten. Warm calls of hello and of the second handler (2 KB in, 20 KB out, three log lines) take
//! turns with an echo in rounds, one connection. Everything may run on any core: what is compared is
//! one server with itself, and a start uses all of them.

use crate::{
    Failure,
    costs::{self, Cost},
    echo::Echo,
    figures::{self, Figures},
    functions::{self, Handler, Language},
    load::{Lines, Until},
    processes::{self, Spent},
    registry::Registry,
    requests,
    server::Server,
};
use std::{path::Path, time::Duration};

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
    /// Echo and signed Invoke of hello, then of the second handler.
    warm: [Cost; 4],
}

/// Measures and prints.
pub async fn run(bin: &Path, smoke: bool, functions: usize) -> Result<(), Failure> {
    let sizes = if smoke { [3, 30] } else { [10, functions] };
    let mut server = Server::start(bin, "")?;
    let echo = Echo::start()?;
    functions::deploy(&server, Language::Python)?;
    functions::deploy_work(&server, Language::Python)?;
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
        measured.push(measure(&mut server, &echo, &mut registry, size, smoke).await?);
    }
    println!();
    print(&measured);
    server.stop()
}

async fn measure(
    server: &mut Server,
    echo: &Echo,
    registry: &mut Registry,
    functions: usize,
    smoke: bool,
) -> Result<Size, Failure> {
    let start = server.restart()?;
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
    let warm = warm(server, echo, smoke)?;
    Ok(Size {
        functions,
        start,
        resident_mib,
        resident_after_mib: mib(server),
        settle_cpu_ms: settle.platform_ns as f64 / 1e6,
        deploys,
        first_invokes,
        warm,
    })
}

/// Signed calls of both handlers in turn with an echo that answers as much.
fn warm(server: &Server, echo: &Echo, smoke: bool) -> Result<[Cost; 4], Failure> {
    let (rounds, calls) = if smoke { (1, 50) } else { (5, 600) };
    let mut costs = [
        "echo",
        "Invoke, signed",
        "echo, 20 KB",
        "Invoke, 2 in, 20 KB out",
    ]
    .map(Cost::new);
    let (mut ours, mut bare) = (
        Lines::open(server.address(), 1)?,
        Lines::open(echo.target.address, 1)?,
    );
    let kinds = [
        (Handler::Hello, "hello-python"),
        (Handler::Work, "work-python"),
    ];
    for round in 0..=rounds {
        for (at, (handler, function)) in kinds.into_iter().enumerate() {
            let event = handler.event();
            // A signature is good for minutes.
            let signed = server.caller().invoke(function, event)?;
            let plain = requests::post(&handler.echo(echo), event);
            let until = Until::Calls(calls);
            if round == 0 {
                // The first calls start the instance and warm both sides.
                let until = Until::Calls(calls / 2);
                bare.run(until, |_| plain.clone(), handler.is_echo_of(event))?
                    .all_good()?;
                ours.run(until, |_| signed.clone(), handler.is_answer())?
                    .all_good()?;
                continue;
            }
            costs[2 * at].round(
                &mut bare,
                until,
                |_| plain.clone(),
                handler.is_echo_of(event),
                echo.payer(),
            )?;
            costs[2 * at + 1].round(
                &mut ours,
                until,
                |_| signed.clone(),
                handler.is_answer(),
                server.payer(),
            )?;
        }
    }
    Ok(costs)
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
        println!("  {}", figures::head("ms"));
        println!("  {}", size.deploys.row("CreateFunction", 1000.0));
        println!("  {}", size.first_invokes.row("until first answer", 1000.0));
        println!("  {}", costs::head("µs", "echo"));
        for (at, cost) in size.warm.iter().enumerate() {
            println!("  {}", cost.row(&size.warm[at / 2 * 2], 1.0));
        }
    }
    if let [few, .., many] = sizes {
        let ratio = |of: fn(&Size) -> f64| of(many) / of(few);
        println!(
            "\nmany against ten, p50: CreateFunction {:.2}x, first answer {:.2}x",
            ratio(|size| size.deploys.percentile(50)),
            ratio(|size| size.first_invokes.percentile(50)),
        );
        println!(
            "warm Invoke, CPU and p50: hello {:.2}x, {:.2}x; the second handler {:.2}x, {:.2}x",
            ratio(|size| size.warm[1].platform_us()),
            ratio(|size| size.warm[1].figures().percentile(50)),
            ratio(|size| size.warm[3].platform_us()),
            ratio(|size| size.warm[3].figures().percentile(50)),
        );
    }
}
