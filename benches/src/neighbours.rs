//! Neighbours: what fifty quiet functions notice of one that is called without a pause.
//!
//! The quiet ones are called in turn, fifty times a second together; first alone, then while
//! sixty-four callers call one other function as fast as it answers. Its share would be a
//! fifty-first of the machine's.

use crate::{
    Failure,
    figures::{self, Figures},
    functions::{self, ANSWER, Language},
    load::{Lines, Until},
    requests,
    server::Server,
};
use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// p99 with the noise against p99 without.
const GOAL: f64 = 1.5;
const NOISY_CONNECTIONS: usize = 64;
/// Between two calls of quiet functions: each of fifty is called once a second.
const PAUSE: Duration = Duration::from_millis(20);

/// Measures and prints.
pub async fn run(bin: &Path, smoke: bool) -> Result<(), Failure> {
    let (quiet, rounds) = if smoke { (3, 3) } else { (50, 30) };
    let server = Server::start(bin, "")?;
    let noisy = functions::deploy(&server, Language::Python)?;
    let folder = server.sources().join("hello-python");
    let mut calls = Vec::new();
    for at in 0..quiet {
        let target = server.deploy(
            &folder,
            &["--name", &format!("quiet-{at}"), "--memory", "128"],
        )?;
        calls.push(requests::post(&target, ANSWER.as_bytes()));
    }
    server.settled().await?;
    let mut line = Lines::open(server.address(), 1)?;
    let mut visit = |rounds: usize| -> Result<Figures, Failure> {
        let mut figures = Figures::default();
        for _ in 0..rounds {
            for call in &calls {
                let came = line.run(Until::Calls(1), |_| call.clone(), functions::is_hello)?;
                figures.extend(&came.all_good()?.figures);
                std::thread::sleep(PAUSE);
            }
        }
        Ok(figures)
    };
    visit(1)?;
    let alone = visit(rounds)?;
    let goes_on = Arc::new(AtomicBool::new(true));
    let (seen, address) = (goes_on.clone(), server.address());
    let request = requests::post(&noisy, ANSWER.as_bytes());
    // What a thread of its own may not hand out is an error of any kind; its text is enough.
    let noise = std::thread::spawn(move || -> Result<(usize, f64), String> {
        let told = |failure: Failure| failure.to_string();
        let mut lines = Lines::open(address, NOISY_CONNECTIONS).map_err(told)?;
        let (mut good, mut took) = (0, 0.0);
        while seen.load(Ordering::Relaxed) {
            let span = Until::For(Duration::from_millis(500));
            let came = lines.run(span, |_| request.clone(), functions::is_hello);
            let came = came.map_err(told)?;
            good += came.good();
            took += came.took.as_secs_f64();
        }
        Ok((good, took))
    });
    visit(1)?;
    let beside = visit(rounds);
    goes_on.store(false, Ordering::Relaxed);
    let (good, took) = noise.join().map_err(|_| "the noise failed")??;
    let beside = beside?;
    println!(
        "{quiet} quiet functions, one call every {PAUSE:?}; the noisy one answered {:.0} per second\n",
        good as f64 / took
    );
    println!("{}", figures::head("ms"));
    println!("{}", alone.row("alone", 1000.0));
    println!("{}", beside.row("beside the noise", 1000.0));
    println!(
        "\np99 beside the noise / alone: {:.2} (goal ≤ {GOAL}), p50 {:.2}",
        beside.percentile(99) / alone.percentile(99),
        beside.percentile(50) / alone.percentile(50)
    );
    server.stop()
}
