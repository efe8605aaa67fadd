//! Warm: what the platform adds to an echo, at one connection; first with a core for each side, then
//! with both free.
//!
//! Echo and function take turns in rounds, so that a noisy minute falls on both. The second handler
//! (2 KB in, 20 KB out, three log lines) is beside an echo that answers as much. Processor time is
//! that of the server's processes, apart from those of the function, while the calls of a round were
//! made, by the number of calls.

use crate::{
    Failure,
    client::{Connection, Target},
    cores::Cores,
    costs::{self, Cost},
    echo::Echo,
    figures::{Figures, median},
    functions::{self, Language},
    processes::{Payer, Spent},
    server::Server,
};
use std::path::Path;

/// The goal of hello in Python and in Node, p50 over the echo, microseconds.
const GOAL_US: f64 = 60.0;

/// What is called, one of them an echo.
struct Row {
    target: Target,
    payer: Payer,
    event: &'static [u8],
    check: functions::Check,
    /// The row of its echo.
    echo: usize,
    cost: Cost,
    /// Seconds that runs took by the server's own clock, and how many they were.
    runs: (f64, f64),
}

impl Row {
    fn new(name: &str, target: Target, payer: Payer, is_work: bool, echo: usize) -> Self {
        let (event, check) = if is_work {
            functions::work()
        } else {
            functions::hello()
        };
        Self {
            target,
            payer,
            event,
            check,
            echo,
            cost: Cost::new(name),
            runs: (0.0, 0.0),
        }
    }
}

/// Measures and prints.
pub async fn run(bin: &Path, smoke: bool) -> Result<(), Failure> {
    // A smoke has one layout: `throughput` shows that both work.
    let layouts = if smoke { 1 } else { 2 };
    for cores in Cores::both()?.into_iter().take(layouts) {
        laid_out(bin, smoke, &cores).await?;
        cores.release()?;
    }
    println!("\nrun: from the event's way into the instance to the answer's way out, as billed");
    println!("goal: hello in python and node ≤ {GOAL_US} µs over the echo, a core for each side");
    Ok(())
}

async fn laid_out(bin: &Path, smoke: bool, cores: &Cores) -> Result<(), Failure> {
    let (rounds, calls) = if smoke { (2, 50) } else { (7, 3000) };
    let server = cores.beside(|| Server::start(bin, ""))?;
    let echo = cores.beside(Echo::start)?;
    let mut rows = vec![Row::new(
        "echo",
        echo.target.clone(),
        echo.payer(),
        false,
        0,
    )];
    for language in Language::ALL {
        let target = functions::deploy(&server, language)?;
        rows.push(Row::new(language.name(), target, server.payer(), false, 0));
    }
    let second = rows.len();
    rows.push(Row::new(
        "echo, 20 KB",
        echo.work(),
        echo.payer(),
        true,
        second,
    ));
    for language in Language::ALL {
        let target = functions::deploy_work(&server, language)?;
        let name = format!("{}, 2 in, 20 KB out", language.name());
        rows.push(Row::new(&name, target, server.payer(), true, second));
    }
    cores.on_platform(|| ())?;
    println!("warm function URL, {}", cores.describe());
    println!("{rounds} rounds of {calls} calls each, one connection, whole answer\n");
    for _ in 0..rounds {
        for row in &mut rows {
            let before = counts(&server).await?;
            let (figures, spent) = round(row, calls).await?;
            let after = counts(&server).await?;
            row.runs.0 += after.0 - before.0;
            row.runs.1 += after.1 - before.1;
            row.cost.add(&figures, spent);
        }
    }
    print(&rows);
    server.stop()
}

fn print(rows: &[Row]) {
    println!("{}", costs::head("µs", "echo"));
    for row in rows {
        println!("{}", row.cost.row(&rows[row.echo].cost, 1.0));
    }
    println!(
        "\n{:<27} {:>12} {:>12} {:>12}",
        "p50 over the echo", "median µs", "best round", "run, mean"
    );
    for (at, row) in rows.iter().enumerate() {
        if row.echo == at {
            continue;
        }
        let over = row.cost.over_us(&rows[row.echo].cost);
        println!(
            "{:<27} {:>12.1} {:>12.1} {:>12.1}",
            row.cost.name(),
            median(&over),
            over.iter().copied().fold(f64::INFINITY, f64::min),
            row.runs.0 * 1e6 / row.runs.1
        );
    }
    println!();
}

async fn counts(server: &Server) -> Result<(f64, f64), Failure> {
    let metrics = server.metrics().await?;
    let of = |name: &str| metrics.get(name).copied().unwrap_or_default();
    Ok((
        of("freehold_run_seconds_total"),
        of("freehold_invocations_total"),
    ))
}

async fn round(row: &Row, calls: usize) -> Result<(Figures, Spent), Failure> {
    let mut connection = Connection::open(&row.target).await?;
    let (mut figures, mut before) = (Figures::default(), Spent::default());
    // The first calls start the instance and warm both sides; they are not counted.
    for call in 0..calls + calls / 10 {
        if call == calls / 10 {
            before = row.payer.spent();
        }
        let answer = connection.post(row.event).await?;
        (row.check)(&answer)?;
        if call >= calls / 10 {
            figures.add(answer.whole);
        }
    }
    Ok((figures, row.payer.spent().since(before)))
}
