//! Warm: what the platform adds to an echo, one connection, a core for each side.
//!
//! Echo and function take turns in rounds, so that a noisy minute falls on both. The second handler
//! (2 KB in, 20 KB out, three log lines) is beside an echo that answers as much.

use crate::{
    Failure,
    client::{Connection, Target},
    cores::Cores,
    echo::Echo,
    figures::{self, Figures},
    functions::{self, Language},
    server::Server,
};
use std::path::Path;

/// The goal of hello in Python and in Node, p50 over the echo, microseconds.
const GOAL_US: f64 = 60.0;

/// What is called, one of them an echo.
struct Row {
    name: String,
    target: Target,
    event: &'static [u8],
    check: functions::Check,
    /// The row of its echo.
    echo: usize,
    figures: Figures,
    /// Over the echo, by round.
    over: Vec<f64>,
    /// Seconds that runs took by the server's own clock, and how many they were.
    runs: (f64, f64),
}

impl Row {
    fn new(name: &str, target: Target, is_work: bool, echo: usize) -> Self {
        let (event, check) = if is_work {
            functions::work()
        } else {
            functions::hello()
        };
        Self {
            name: name.to_owned(),
            target,
            event,
            check,
            echo,
            figures: Figures::default(),
            over: Vec::new(),
            runs: (0.0, 0.0),
        }
    }

    fn is_echo(&self, at: usize) -> bool {
        self.echo == at
    }
}

/// Measures and prints.
pub async fn run(bin: &Path, smoke: bool) -> Result<(), Failure> {
    let (rounds, calls) = if smoke { (2, 50) } else { (7, 3000) };
    let cores = Cores::split()?;
    let server = cores.on_platform(|| Server::start(bin, ""))??;
    let echo = cores.on_platform(Echo::start)??;
    cores.release()?;
    let mut rows = vec![Row::new("echo", echo.target.clone(), false, 0)];
    for language in Language::ALL {
        let target = functions::deploy(&server, language)?;
        rows.push(Row::new(language.name(), target, false, 0));
    }
    let second = rows.len();
    let mut target = echo.target.clone();
    target.path = "/work".to_owned();
    rows.push(Row::new("echo, 20 KB", target, true, second));
    for language in [Language::Python, Language::Node] {
        let target = functions::deploy_work(&server, language)?;
        let name = format!("{}, 2 in, 20 KB out", language.name());
        rows.push(Row::new(&name, target, true, second));
    }
    cores.on_platform(|| ())?;

    println!("warm function URL, {}", cores.describe());
    println!("{rounds} rounds of {calls} calls each, one connection, whole answer\n");
    for _ in 0..rounds {
        let mut echo_p50 = 0.0;
        for (at, row) in rows.iter_mut().enumerate() {
            let before = counts(&server).await?;
            let figures = round(row, calls).await?;
            let after = counts(&server).await?;
            row.runs.0 += after.0 - before.0;
            row.runs.1 += after.1 - before.1;
            let p50 = figures.percentile(50);
            if row.is_echo(at) {
                echo_p50 = p50;
            }
            row.over.push(p50 - echo_p50);
            row.figures.extend(&figures);
        }
    }
    println!("{}", figures::head("µs"));
    for row in &rows {
        println!("{}", row.figures.row(&row.name, 1.0));
    }
    println!(
        "\n{:<24} {:>12} {:>12} {:>12} {:>12}",
        "p50 over the echo", "median µs", "best round", "ratio", "run, mean"
    );
    for (at, row) in rows.iter().enumerate() {
        if row.is_echo(at) {
            continue;
        }
        let mut over = row.over.clone();
        over.sort_by(f64::total_cmp);
        println!(
            "{:<24} {:>12.1} {:>12.1} {:>11.2}x {:>12.1}",
            row.name,
            over[over.len() / 2],
            over[0],
            row.figures.percentile(50) / rows[row.echo].figures.percentile(50),
            row.runs.0 * 1e6 / row.runs.1
        );
    }
    println!("\nrun: from the event's way into the instance to the answer's way out, as billed");
    println!("goal: hello in python and node ≤ {GOAL_US} µs over the echo");
    server.stop()
}

async fn counts(server: &Server) -> Result<(f64, f64), Failure> {
    let metrics = server.metrics().await?;
    let of = |name: &str| metrics.get(name).copied().unwrap_or_default();
    Ok((
        of("freehold_run_seconds_total"),
        of("freehold_invocations_total"),
    ))
}

async fn round(row: &Row, calls: usize) -> Result<Figures, Failure> {
    let mut connection = Connection::open(&row.target).await?;
    let mut figures = Figures::default();
    // The first calls start the instance and warm both sides; they are not counted.
    for call in 0..calls + calls / 10 {
        let answer = connection.post(row.event).await?;
        (row.check)(&answer)?;
        if call >= calls / 10 {
            figures.add(answer.whole);
        }
    }
    Ok(figures)
}
