//! WebAssembly: a fresh instance for every request, beside the echo, at equal connections; and the
//! first byte of a function that has no instance.
//!
//! Echo, functions and, with a folder for peers, `wasmtime serve` with the same component take turns
//! in rounds. The peer is an application of its own in the registry, with a compiler, three WASI
//! generations and a command line, and takes longer to build than everything here together.

use crate::{
    Failure,
    client::{Connection, Target},
    cores::Cores,
    echo::Echo,
    figures::{self, Figures},
    functions,
    peers::{self, Kind, Peer},
    processes,
    server::Server,
};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

/// Requests under way.
const CONNECTIONS: usize = 16;
/// Instances go this soon in the cold half.
const CONFIG: &str = "[instances]\nidle_timeout = \"200ms\"\n";
/// From the removal of the last instance until the next sample.
const PAUSE: Duration = Duration::from_millis(50);
/// An event of 2 KB for the working handler.
static EVENT: [u8; 2048] = [b'7'; 2048];

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Echo,
    /// A WASI command that answers hello.
    Hello,
    /// A wasi:http component that answers its path.
    Http,
    /// A WASI command: 2 KB in, 20 KB out, three lines in its log.
    Work,
    /// The same component as [`What::Http`] in `wasmtime serve`.
    Peer,
}

impl What {
    const ALL: [Self; 5] = [Self::Echo, Self::Hello, Self::Http, Self::Work, Self::Peer];

    fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Hello => "wasm command, hello",
            Self::Http => "wasi:http, hello",
            Self::Work => "wasm command, work",
            Self::Peer => "wasmtime serve, hello",
        }
    }

    fn module(self) -> Option<&'static [u8]> {
        match self {
            Self::Echo | Self::Peer => None,
            Self::Hello => Some(include_bytes!("../../tests/functions/wasm/hello.wasm")),
            Self::Http => Some(peers::HTTP),
            Self::Work => Some(include_bytes!("../../tests/functions/wasm/work.wasm")),
        }
    }

    fn event(self) -> &'static [u8] {
        match self {
            Self::Work => &EVENT,
            _ => functions::ANSWER.as_bytes(),
        }
    }

    fn check(self, answer: &crate::client::Answer) -> Result<(), Failure> {
        let is_right = match self {
            Self::Echo | Self::Hello => return functions::check(answer),
            Self::Http | Self::Peer => answer.body[..] == *b"/",
            Self::Work => answer.body.len() >= 19_998,
        };
        if answer.status == 200 && is_right {
            return Ok(());
        }
        Err(format!("{}: {} bytes", answer.status, answer.body.len()).into())
    }
}

/// Measures and prints.
pub async fn run(bin: &Path, smoke: bool, peers: Option<&Path>) -> Result<(), Failure> {
    throughput(bin, smoke, peers).await?;
    cold(bin, smoke).await
}

async fn throughput(bin: &Path, smoke: bool, peers: Option<&Path>) -> Result<(), Failure> {
    let (rounds, span) = if smoke {
        (2, Duration::from_millis(200))
    } else {
        (7, Duration::from_secs(2))
    };
    let cores = Cores::split()?;
    let server = cores.on_platform(|| Server::start(bin, ""))??;
    let echo = cores.on_platform(Echo::start)??;
    cores.release()?;
    let peer = match peers {
        Some(folder) => Some(cores.on_platform(|| Peer::start(Kind::Wasmtime, folder))??),
        None => None,
    };
    let mut targets = Vec::new();
    for what in What::ALL {
        match what {
            What::Echo => targets.push((what, echo.target.clone(), echo.pid())),
            What::Peer => {
                targets.extend(
                    peer.iter()
                        .map(|peer| (what, peer.target.clone(), peer.pid())),
                );
            }
            _ => targets.push((what, deploy(&server, what)?, server.pid())),
        }
    }
    cores.on_platform(|| ())?;
    println!("wasm, a fresh instance per request, {}", cores.describe());
    println!("{rounds} rounds of {span:?} each, {CONNECTIONS} connections, whole answer\n");
    let mut all: Vec<(Figures, Vec<f64>, Vec<f64>)> = targets
        .iter()
        .map(|_| (Figures::default(), Vec::new(), Vec::new()))
        .collect();
    for _ in 0..rounds {
        for (at, (what, target, pid)) in targets.iter().enumerate() {
            load(*what, target, span / 5).await?;
            let before = processes::cpu_ns(*pid);
            let begun = Instant::now();
            let figures = load(*what, target, span).await?;
            let took = begun.elapsed().as_secs_f64();
            let spent = processes::cpu_ns(*pid) - before;
            let count = figures.len() as f64;
            all[at].1.push(count / took);
            all[at].2.push(spent as f64 / 1000.0 / count);
            all[at].0.extend(&figures);
        }
    }
    let median = |samples: &[f64]| {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    };
    println!(
        "{:<24} {:>14} {:>9} {:>12}",
        "median of rounds", "CPU µs/request", "of echo", "requests/s"
    );
    let bare = median(&all[0].1);
    for ((what, ..), (_, rates, cpu)) in targets.iter().zip(&all) {
        println!(
            "{:<24} {:>14.1} {:>8.1}% {:>12.0}",
            what.name(),
            median(cpu),
            100.0 * median(rates) / bare,
            median(rates)
        );
    }
    println!("\n{}", figures::head("µs"));
    for ((what, ..), (figures, ..)) in targets.iter().zip(&all) {
        println!("{}", figures.row(what.name(), 1.0));
    }
    println!("\ngoal: hello ≥ 30 % of the echo, ≥ 2.5x wasmtime serve\n");
    drop((echo, peer));
    cores.release()?;
    server.stop()
}

async fn cold(bin: &Path, smoke: bool) -> Result<(), Failure> {
    let samples = if smoke { 2 } else { 100 };
    let server = Server::start(bin, CONFIG)?;
    let echo = Echo::start()?;
    let mut measured = Vec::new();
    for what in [What::Hello, What::Http] {
        measured.push((what, deploy(&server, what)?, Figures::default()));
    }
    let mut echoes = Figures::default();
    for sample in 0..=samples {
        for (what, target, figures) in &mut measured {
            server.empty().await?;
            tokio::time::sleep(PAUSE).await;
            let mut bare = Connection::open(&echo.target).await?;
            let bare = bare.post(What::Echo.event()).await?;
            let mut connection = Connection::open(target).await?;
            let answer = connection.post(what.event()).await?;
            what.check(&answer)?;
            if sample > 0 {
                echoes.add(bare.first_byte);
                figures.add(answer.first_byte);
            }
        }
    }
    println!("cold: no instance, compiled code in memory, {samples} samples, first byte\n");
    println!("{}", figures::head("µs"));
    println!("{}", echoes.row("echo", 1.0));
    for (what, _, figures) in &measured {
        println!("{}", figures.row(what.name(), 1.0));
    }
    println!("\ngoal: p50 ≤ 300 µs");
    server.stop()
}

fn deploy(server: &Server, what: What) -> Result<Target, Failure> {
    let module = what.module().ok_or("not a function of ours")?;
    let name = what.name().replace([' ', ',', ':'], "-");
    let folder = server.sources().join(name);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("function.wasm"), module)?;
    server.deploy(&folder, &["--memory", "128"])
}

/// One request after the other on each connection, until the span is over.
async fn load(what: What, target: &Target, span: Duration) -> Result<Figures, Failure> {
    let until = Instant::now() + span;
    let mut lines = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = Connection::open(target).await?;
        lines.push(tokio::spawn(async move {
            let mut figures = Figures::default();
            while Instant::now() < until {
                let answer = connection
                    .post(what.event())
                    .await
                    .map_err(|e| e.to_string())?;
                what.check(&answer).map_err(|error| error.to_string())?;
                figures.add(answer.whole);
            }
            Ok::<_, String>(figures)
        }));
    }
    let mut all = Figures::default();
    for line in lines {
        all.extend(&line.await??);
    }
    Ok(all)
}
