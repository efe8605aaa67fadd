//! Throughput: warm requests per second at 16 connections, and the processor time of each.
//!
//! Everything takes turns in rounds, beside the echo and the peers, first with the generator on a
//! core of its own, then with both free. What is said of processor time is the machine's count of
//! it for whole processes: the platform's (server, supervisor, spawners) apart from the function's.
//! Functions, the bare Runtime API and the peers answer hello and, in rows of their own, the second
//! handler (2 KB in, 20 KB out, three log lines), each beside an echo that answers as much.

use crate::{
    Failure,
    bare::Bare,
    client::Target,
    cores::Cores,
    echo::Echo,
    figures::median,
    functions::{self, Handler, Language},
    load::{Came, Lines, Until},
    peers::{self, Peer},
    processes::Payer,
    requests::{self, Caller},
    server::Server,
};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// An account's calls in a second, 10,000 by default, are lifted: they are what is measured.
const CONFIG: &str = "[limits]\nsync_invocations = 1000000\n";
/// Connections at once, where the command does not say.
pub const CONNECTIONS: usize = 16;
/// Goals: of the echo, in percent, by row.
const GOALS: [(&str, f64); 3] = [
    ("python url", 13.0),
    ("node url", 22.0),
    ("python Invoke, signed", 8.0),
];
/// In the order of the rows.
const HANDLERS: [Handler; 2] = [Handler::Hello, Handler::Work];
/// Processor time of the platform per request, µs.
const GOAL_US: f64 = 25.0;

/// One row of the table.
struct Row {
    name: String,
    address: SocketAddr,
    ask: Ask,
    payer: Payer,
    handler: Handler,
    rounds: Vec<Round>,
}

/// How it is asked: a signature is good for minutes, so it is made anew in every round.
enum Ask {
    Plain(Arc<[u8]>),
    Signed(Caller, &'static str),
}

#[derive(Clone, Copy)]
struct Round {
    per_second: f64,
    p10_us: f64,
    p50_us: f64,
    platform_us: f64,
    function_us: f64,
}

/// Measures and prints.
pub async fn run(
    bin: &Path,
    smoke: bool,
    peers: Option<PathBuf>,
    only: &[String],
    connections: usize,
) -> Result<(), Failure> {
    let (rounds, span) = if smoke {
        (1, Duration::from_millis(90))
    } else {
        (5, Duration::from_millis(1500))
    };
    for cores in Cores::both()? {
        let peers = peers.as_deref().filter(|_| !smoke);
        let (mut rows, held) = start(bin, peers, &cores, only, connections)?;
        println!(
            "\nwarm throughput, {connections} connections, {rounds} rounds of {span:?}, {}; limits: sync_invocations = 1000000 (default 10,000 a second)\n",
            cores.describe()
        );
        for _ in 0..rounds {
            for row in &mut rows {
                let round = row.round(span, connections)?;
                row.rounds.push(round);
            }
        }
        print(&rows);
        cores.release()?;
        drop(rows);
        held.server.stop()?;
    }
    Ok(())
}

struct Held {
    server: Server,
    _echo: Echo,
    _bare: [Bare; 2],
    _peers: Vec<Peer>,
}

fn start(
    bin: &Path,
    peers: Option<&Path>,
    cores: &Cores,
    only: &[String],
    connections: usize,
) -> Result<(Vec<Row>, Held), Failure> {
    let server = cores.beside(|| Server::start(bin, CONFIG))?;
    let echo = cores.beside(Echo::start)?;
    let mut rows = Vec::new();
    let mut add = |name: &str, target: &Target, payer, handler: Handler| {
        rows.push(Row {
            name: named(name, handler),
            address: target.address,
            ask: Ask::Plain(requests::post(target, handler.event())),
            payer,
            handler,
            rounds: Vec::new(),
        });
    };
    let mut bares = Vec::new();
    for handler in HANDLERS {
        add("echo", &handler.echo(&echo), echo.payer(), handler);
        for language in [Language::Python, Language::Node, Language::Rust] {
            let target = functions::deploy_handler(&server, language, handler)?;
            let name = format!("{} url", language.name());
            add(&name, &target, server.payer(), handler);
        }
        let function = functions::bootstrap(&server, handler);
        let bare = cores.beside(|| Bare::start(&function, connections))?;
        let payer = Payer::Program(bare.pid());
        add("bare Runtime API, rust", &bare.target, payer, handler);
        bares.push(bare);
    }
    let mut started = Vec::new();
    for kind in peers::Kind::ALL {
        let Some(folder) = peers else {
            continue;
        };
        match cores.beside(|| Peer::start(kind, folder)) {
            Ok(peer) => {
                for handler in HANDLERS {
                    let target = peer.answering(handler);
                    add(kind.name(), &target, Payer::Program(peer.pid()), handler);
                }
                started.push(peer);
            }
            Err(failure) => println!("{}: {failure}", kind.name()),
        }
    }
    for (handler, function) in HANDLERS.into_iter().zip(["hello-python", "work-python"]) {
        rows.push(Row {
            name: named("python Invoke, signed", handler),
            address: server.address(),
            ask: Ask::Signed(server.caller(), function),
            payer: server.payer(),
            handler,
            rounds: Vec::new(),
        });
    }
    rows.retain(|row| {
        only.is_empty() || row.is_echo() || only.iter().any(|part| row.name.contains(part))
    });
    cores.on_platform(|| ())?;
    let bares = <[Bare; 2]>::try_from(bares).map_err(|_| "a bare Runtime API is missing")?;
    Ok((
        rows,
        Held {
            server,
            _echo: echo,
            _bare: bares,
            _peers: started,
        },
    ))
}

/// A row's name says which handler answers.
fn named(name: &str, handler: Handler) -> String {
    match handler {
        Handler::Hello => name.to_owned(),
        Handler::Work => format!("{name}, 2 in, 20 out"),
    }
}

impl Row {
    fn is_echo(&self) -> bool {
        self.name.starts_with("echo")
    }

    fn round(&self, span: Duration, connections: usize) -> Result<Round, Failure> {
        let request = match &self.ask {
            Ask::Plain(request) => request.clone(),
            Ask::Signed(caller, function) => caller.invoke(function, self.handler.event())?,
        };
        let run = |lines: &mut Lines, span| -> Result<Came, Failure> {
            lines
                .run(
                    Until::For(span),
                    |_| request.clone(),
                    self.handler.is_answer(),
                )?
                .all_good()
                .map_err(|failure| format!("{}: {failure}", self.name).into())
        };
        let mut lines = Lines::open(self.address, connections)?;
        run(&mut lines, span / 3)?;
        let before = self.payer.spent();
        let came = run(&mut lines, span)?;
        let spent = self.payer.spent().since(before);
        let each = |ns: u64| ns as f64 / 1000.0 / came.good().max(1) as f64;
        Ok(Round {
            per_second: came.per_second(),
            p10_us: came.figures.percentile(10),
            p50_us: came.figures.percentile(50),
            platform_us: each(spent.platform_ns),
            function_us: each(spent.functions_ns),
        })
    }

    fn median(&self, of: impl Fn(&Round) -> f64) -> f64 {
        let all: Vec<f64> = self.rounds.iter().map(of).collect();
        median(&all)
    }
}

fn print(rows: &[Row]) {
    println!(
        "{:<38} {:>11} {:>11} {:>8} {:>7} {:>9} {:>9} {:>9}",
        "medians", "CPU µs/req", "function µs", "% echo", "goal %", "req/s", "p10 µs", "p50 µs"
    );
    let echo_of = |handler: Handler| {
        rows.iter()
            .find(|row| row.is_echo() && row.handler == handler)
            .map_or(1.0, |row| row.median(|round| round.per_second))
    };
    for row in rows {
        let goal = GOALS.iter().find(|(name, _)| *name == row.name);
        println!(
            "{:<38} {:>11.1} {:>11.1} {:>8.1} {:>7} {:>9.0} {:>9.1} {:>9.1}",
            row.name,
            row.median(|round| round.platform_us),
            row.median(|round| round.function_us),
            row.median(|round| round.per_second) * 100.0 / echo_of(row.handler),
            goal.map_or_else(String::new, |(_, goal)| goal.to_string()),
            row.median(|round| round.per_second),
            row.median(|round| round.p10_us),
            row.median(|round| round.p50_us),
        );
    }
    println!("\ngoal: platform ≤ {GOAL_US} µs of processor time per request (hello by URL)");
    for (ours, theirs, goal) in [
        ("python url", "functions-framework py", "≥ 5"),
        ("node url", "functions-framework js", "≥ 5"),
        ("node url", "workerd", "> 1"),
        ("rust url", "bare Runtime API, rust", "≥ 0.6"),
    ] {
        for handler in HANDLERS {
            let rate = |name: &str| {
                let name = named(name, handler);
                let row = rows.iter().find(|row| row.name == name)?;
                Some(row.median(|round| round.per_second)).filter(|rate| *rate > 0.0)
            };
            let (Some(own), Some(other)) = (rate(ours), rate(theirs)) else {
                continue;
            };
            let goal = match handler {
                Handler::Hello => format!("  (goal {goal})"),
                Handler::Work => String::new(),
            };
            let ours = named(ours, handler);
            println!("{ours} / {theirs}: {:.2}{goal}", own / other);
        }
    }
}
