//! WebAssembly: a fresh instance for every request, beside the echo, at equal connections; and the
//! first byte of a function that has no instance. The first with a core for each side and with both
//! free; a start alone with both free, as everywhere.
//!
//! Echo, functions and, with a folder for peers, `wasmtime serve` with the same component take turns
//! in rounds. The peer is an application of its own in the registry, with a compiler, three WASI
//! generations and a command line, and takes longer to build than everything here together. The
//! second handler (2 KB in, 20 KB out, three log lines) is a command, as our users write them: the
//! component that the peer can serve answers hello alone.

use crate::{
    Failure,
    client::{Connection, Target},
    cores::Cores,
    echo::Echo,
    figures::{self, Figures, median},
    functions::{self, Handler},
    peers::{self, Kind, Peer},
    processes::Payer,
    server::Server,
};
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// An account's calls in a second, 10,000 by default, are lifted: they are what is measured.
const RATE: &str = "[limits]\nsync_invocations = 1000000\n";
/// Requests under way.
const CONNECTIONS: usize = 16;
/// Instances go this soon in the cold half.
const CONFIG: &str = "[instances]\nidle_timeout = \"200ms\"\n";
/// From the removal of the last instance until the next sample.
const PAUSE: Duration = Duration::from_millis(50);

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Echo,
    /// Which answers with 20 KB.
    EchoWork,
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
    const ALL: [Self; 6] = [
        Self::Echo,
        Self::Hello,
        Self::Http,
        Self::Peer,
        Self::EchoWork,
        Self::Work,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::EchoWork => "echo, 20 KB",
            Self::Hello => "wasm command, hello",
            Self::Http => "wasi:http, hello",
            Self::Work => "wasm command, work",
            Self::Peer => "wasmtime serve, hello",
        }
    }

    /// The row that it is compared with.
    fn echo(self) -> Self {
        match self {
            Self::EchoWork | Self::Work => Self::EchoWork,
            _ => Self::Echo,
        }
    }

    fn module(self) -> Option<&'static [u8]> {
        match self {
            Self::Echo | Self::EchoWork | Self::Peer => None,
            Self::Hello => Some(functions::wasm(Handler::Hello)),
            Self::Http => Some(peers::HTTP),
            Self::Work => Some(functions::wasm(Handler::Work)),
        }
    }

    fn event(self) -> &'static [u8] {
        match self {
            Self::EchoWork | Self::Work => Handler::Work.event(),
            _ => Handler::Hello.event(),
        }
    }

    fn check(self, answer: &crate::client::Answer) -> Result<(), Failure> {
        match self {
            Self::Echo | Self::Hello => functions::check(answer),
            Self::EchoWork => Handler::Work.check(answer),
            Self::Work => functions::check_wasm_work(answer),
            Self::Http | Self::Peer if answer.status == 200 && answer.body[..] == *b"/" => Ok(()),
            Self::Http | Self::Peer => Err(format!("{}: {:?}", answer.status, answer.body).into()),
        }
    }
}

/// Measures and prints.
pub async fn run(bin: &Path, smoke: bool, peers: Option<&Path>) -> Result<(), Failure> {
    for cores in Cores::both()? {
        throughput(bin, smoke, peers, &cores).await?;
        cores.release()?;
    }
    cold(bin, smoke).await
}

async fn throughput(
    bin: &Path,
    smoke: bool,
    peers: Option<&Path>,
    cores: &Cores,
) -> Result<(), Failure> {
    let (rounds, span) = if smoke {
        (2, Duration::from_millis(200))
    } else {
        (7, Duration::from_secs(2))
    };
    let server = cores.beside(|| Server::start(bin, RATE))?;
    let echo = cores.beside(Echo::start)?;
    let peer = match peers {
        Some(folder) => Some(cores.beside(|| Peer::start(Kind::Wasmtime, folder))?),
        None => None,
    };
    let mut targets = Vec::new();
    for what in What::ALL {
        match what {
            What::Echo => targets.push((what, echo.target.clone(), echo.payer())),
            What::EchoWork => targets.push((what, echo.work(), echo.payer())),
            What::Peer => {
                targets.extend(
                    peer.iter()
                        .map(|peer| (what, peer.target.clone(), Payer::Program(peer.pid()))),
                );
            }
            _ => targets.push((what, deploy(&server, what)?, server.payer())),
        }
    }
    cores.on_platform(|| ())?;
    println!("wasm, a fresh instance per request, {}", cores.describe());
    println!("{rounds} rounds of {span:?} each, {CONNECTIONS} connections, whole answer");
    println!("limits: sync_invocations = 1000000 (default 10,000 a second)\n");
    let mut all: Vec<(Figures, Vec<f64>, Vec<f64>)> = targets
        .iter()
        .map(|_| (Figures::default(), Vec::new(), Vec::new()))
        .collect();
    for _ in 0..rounds {
        for (at, (what, target, payer)) in targets.iter().enumerate() {
            load(*what, target, span / 5).await?;
            let before = payer.spent();
            let begun = Instant::now();
            let figures = load(*what, target, span).await?;
            let took = begun.elapsed().as_secs_f64();
            // A guest is inside the server: its time is the platform's.
            let spent = payer.spent().since(before).platform_ns;
            let count = figures.len() as f64;
            all[at].1.push(count / took);
            all[at].2.push(spent as f64 / 1000.0 / count);
            all[at].0.extend(&figures);
        }
    }
    println!(
        "{:<24} {:>14} {:>9} {:>12}",
        "median of rounds", "CPU µs/request", "of echo", "requests/s"
    );
    let rate_of = |wanted: What| {
        let at = targets.iter().position(|(what, ..)| *what == wanted);
        at.map_or(0.0, |at| median(&all[at].1))
    };
    for ((what, ..), (_, rates, cpu)) in targets.iter().zip(&all) {
        println!(
            "{:<24} {:>14.1} {:>8.1}% {:>12.0}",
            what.name(),
            median(cpu),
            100.0 * median(rates) / rate_of(what.echo()),
            median(rates)
        );
    }
    println!("\n{}", figures::head("µs"));
    for ((what, ..), (figures, ..)) in targets.iter().zip(&all) {
        println!("{}", figures.row(what.name(), 1.0));
    }
    println!("\ngoal: hello ≥ 30 % of the echo, ≥ 2.5x wasmtime serve\n");
    drop((echo, peer));
    server.stop()
}

async fn cold(bin: &Path, smoke: bool) -> Result<(), Failure> {
    let samples = if smoke { 2 } else { 200 };
    let server = Server::start(bin, CONFIG)?;
    let echo = Echo::start()?;
    let mut measured = Vec::new();
    for what in [What::Hello, What::Http, What::Work] {
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
    println!(
        "cold: no instance, compiled code in memory, {samples} samples, first byte; any core\n"
    );
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
    functions::deploy_module(server, &name, module)
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
