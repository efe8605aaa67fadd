//! Warm: what the platform adds to an echo, one connection, a core for each side.
//!
//! Echo and function take turns in rounds, so that a noisy minute falls on both.

use crate::{
    Failure,
    client::{Connection, Target},
    cores::Cores,
    echo::Echo,
    figures::{self, Figures},
    functions::{self, ANSWER, Language},
    server::Server,
};
use std::path::Path;

/// The goal of the Python function, p50 over the echo, microseconds.
const GOAL_US: f64 = 150.0;

/// Measures and prints.
pub async fn run(bin: &Path, smoke: bool) -> Result<(), Failure> {
    let (rounds, calls) = if smoke { (2, 50) } else { (7, 3000) };
    let cores = Cores::split()?;
    let server = cores.on_platform(|| Server::start(bin, ""))??;
    let echo = cores.on_platform(Echo::start)??;
    cores.release()?;
    let mut targets = vec![("echo".to_owned(), echo.target.clone())];
    for language in Language::ALL {
        targets.push((
            language.name().to_owned(),
            functions::deploy(&server, language)?,
        ));
    }
    cores.on_platform(|| ())?;

    println!("warm function URL, {}", cores.describe());
    println!("{rounds} rounds of {calls} calls each, one connection, whole answer\n");
    let mut all: Vec<Figures> = targets.iter().map(|_| Figures::default()).collect();
    let mut over: Vec<Vec<f64>> = targets.iter().map(|_| Vec::new()).collect();
    // Seconds that runs took by the server's own clock, and how many they were.
    let mut runs: Vec<(f64, f64)> = targets.iter().map(|_| (0.0, 0.0)).collect();
    for _ in 0..rounds {
        let mut echo_p50 = 0.0;
        for (at, (_, target)) in targets.iter().enumerate() {
            let before = counts(&server).await?;
            let figures = round(target, calls).await?;
            let after = counts(&server).await?;
            runs[at].0 += after.0 - before.0;
            runs[at].1 += after.1 - before.1;
            let p50 = figures.percentile(50);
            if at == 0 {
                echo_p50 = p50;
            }
            over[at].push(p50 - echo_p50);
            all[at].extend(&figures);
        }
    }
    println!("{}", figures::head("µs"));
    for ((name, _), figures) in targets.iter().zip(&all) {
        println!("{}", figures.row(name, 1.0));
    }
    let echo_p50 = all[0].percentile(50);
    println!(
        "\n{:<24} {:>12} {:>12} {:>12} {:>12}",
        "p50 over the echo", "median µs", "best round", "ratio", "run, mean"
    );
    for (at, (name, _)) in targets.iter().enumerate().skip(1) {
        let mut rounds = over[at].clone();
        rounds.sort_by(f64::total_cmp);
        println!(
            "{name:<24} {:>12.1} {:>12.1} {:>11.2}x {:>12.1}",
            rounds[rounds.len() / 2],
            rounds[0],
            all[at].percentile(50) / echo_p50,
            runs[at].0 * 1e6 / runs[at].1
        );
    }
    println!("\nrun: from the event's way into the instance to the answer's way out, as billed");
    println!("goal: python ≤ {GOAL_US} µs over the echo");
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

async fn round(target: &Target, calls: usize) -> Result<Figures, Failure> {
    let mut connection = Connection::open(target).await?;
    let mut figures = Figures::default();
    // The first calls start the instance and warm both sides; they are not counted.
    for call in 0..calls + calls / 10 {
        let answer = connection.post(ANSWER.as_bytes()).await?;
        functions::check(&answer)?;
        if call >= calls / 10 {
            figures.add(answer.whole);
        }
    }
    Ok(figures)
}
