//! Cold: the first byte of a function that has no process.
//!
//! A sample begins when no instance of any function is left (the idle timeout is short here, and
//! the server's own metrics say so). The function was deployed a minute before the first sample,
//! the page cache is warm, the client's connection stands. The platform may use every core.

use crate::{
    Failure,
    client::Connection,
    echo::Echo,
    figures::{self, Figures},
    functions::{self, ANSWER, Language},
    server::Server,
};
use std::{path::Path, time::Duration};

/// p50, milliseconds, in the order of [`Language::ALL`].
const GOALS_MS: [f64; 4] = [60.0, 120.0, 250.0, 15.0];
/// Instances go this soon; what is measured is the start, not the wait.
const CONFIG: &str = "[instances]\nidle_timeout = \"200ms\"\n";
/// From the removal of the last instance until the next sample: spares are parked again.
const PAUSE: Duration = Duration::from_millis(400);
/// From the deployment to the first sample.
const SETTLED: Duration = Duration::from_secs(60);

/// Measures and prints.
pub async fn run(bin: &Path, smoke: bool, only: &[String]) -> Result<(), Failure> {
    let (samples, pause) = if smoke { (1, PAUSE / 4) } else { (40, PAUSE) };
    let server = Server::start(bin, CONFIG)?;
    let echo = Echo::start()?;
    let mut measured = Vec::new();
    for (language, goal_ms) in Language::ALL.into_iter().zip(GOALS_MS) {
        if only.is_empty() || only.iter().any(|name| name == language.name()) {
            let target = functions::deploy(&server, language)?;
            measured.push((language, goal_ms, target, Figures::default(), [0.0; 3]));
        }
    }
    if !smoke {
        tokio::time::sleep(SETTLED).await;
    }
    let mut echoes = Figures::default();
    for sample in 0..samples + 1 {
        for (_, _, target, figures, phases) in &mut measured {
            server.empty().await?;
            tokio::time::sleep(pause).await;
            let mut bare = Connection::open(&echo.target).await?;
            let bare = bare.post(ANSWER.as_bytes()).await?;
            let mut connection = Connection::open(target).await?;
            let before = server.metrics().await?;
            let answer = connection.post(ANSWER.as_bytes()).await?;
            functions::check(&answer)?;
            let after = server.metrics().await?;
            // The first of each fills the page cache.
            if sample > 0 {
                echoes.add(bare.first_byte);
                figures.add(answer.first_byte);
                for (phase, name) in phases.iter_mut().zip(PHASES) {
                    let grown =
                        |at: &std::collections::BTreeMap<String, f64>| at.get(name).copied();
                    *phase +=
                        grown(&after).unwrap_or_default() - grown(&before).unwrap_or_default();
                }
            }
        }
    }
    println!("cold function URL, {samples} samples of each in turn, first byte\n");
    println!("{}", figures::head("ms"));
    println!("{}", echoes.row("echo", 1000.0));
    for (language, _, _, figures, _) in &measured {
        println!("{}", figures.row(language.name(), 1000.0));
    }
    println!(
        "\n{:<24} {:>9} {:>9} {:>9} {:>12} {:>12} {:>12}",
        "", "p50 ms", "goal ms", "x echo", "wait mean", "init mean", "run mean"
    );
    for (language, goal_ms, _, figures, phases) in &measured {
        let mean = |phase: usize| phases[phase] * 1000.0 / figures.len() as f64;
        println!(
            "{:<24} {:>9.1} {:>9} {:>8.0}x {:>12.1} {:>12.1} {:>12.1}",
            language.name(),
            figures.percentile(50) / 1000.0,
            goal_ms,
            figures.percentile(50) / echoes.percentile(50),
            mean(0),
            mean(1),
            mean(2),
        );
    }
    server.stop()
}

/// Where the time of a sample went, as the server's own metrics say; `wait` holds start and init.
pub const PHASES: [&str; 3] = [
    "freehold_queue_seconds_total",
    "freehold_init_seconds_total",
    "freehold_run_seconds_total",
];
