//! Throughput: warm requests per second at 16 connections, and the processor time of each.
//!
//! Everything takes turns in rounds, beside the echo and the peers, first with the generator on a
//! core of its own, then with both free. What is said of processor time is the machine's count of
//! it for whole processes: the platform's (server, supervisor, spawners) apart from the function's.

use crate::{
    Failure,
    bare::Bare,
    client::Target,
    cores::Cores,
    echo::Echo,
    functions::{self, ANSWER, Language},
    load::{Came, Lines, Until},
    peers::{self, Peer},
    processes::{self, Spent},
    requests::{self, Caller},
    server::Server,
};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Connections at once, where the command does not say.
pub const CONNECTIONS: usize = 16;
/// Goals: of the echo, in percent, by row.
const GOALS: [(&str, f64); 3] = [
    ("python url", 13.0),
    ("node url", 22.0),
    ("python Invoke, signed", 8.0),
];
/// Processor time of the platform per request, µs.
const GOAL_US: f64 = 25.0;

/// One row of the table.
struct Row {
    name: &'static str,
    address: SocketAddr,
    ask: Ask,
    /// The root of the processes whose time counts; a server's are told apart.
    pid: i32,
    is_ours: bool,
    bytes: usize,
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
    for is_split in [true, false] {
        let cores = Cores::split()?;
        let start = || {
            start(
                bin,
                smoke,
                peers.as_deref(),
                &cores,
                is_split,
                only,
                connections,
            )
        };
        let (mut rows, held) = start()?;
        println!(
            "\nwarm throughput, {connections} connections, {rounds} rounds of {span:?}, {}\n",
            if is_split {
                format!("generator on a core of its own: {}", cores.describe())
            } else {
                "every process on any core".to_owned()
            }
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
    _bare: Bare,
    _peers: Vec<Peer>,
}

fn start(
    bin: &Path,
    smoke: bool,
    peers: Option<&Path>,
    cores: &Cores,
    is_split: bool,
    only: &[String],
    connections: usize,
) -> Result<(Vec<Row>, Held), Failure> {
    fn beside<T>(
        cores: &Cores,
        is_split: bool,
        start: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if is_split {
            let started = cores.on_platform(start)?;
            cores.release()?;
            return started;
        }
        start()
    }
    let server = beside(cores, is_split, || Server::start(bin, ""))?;
    let echo = beside(cores, is_split, Echo::start)?;
    let mut rows = Vec::new();
    let mut add = |name, target: &Target, body: &[u8], pid, is_ours, bytes| {
        rows.push(Row {
            name,
            address: target.address,
            ask: Ask::Plain(requests::post(target, body)),
            pid,
            is_ours,
            bytes,
            rounds: Vec::new(),
        });
    };
    let (hello, two_kib) = (ANSWER.as_bytes(), requests::two_kib());
    add("echo", &echo.target, hello, echo.pid(), false, 0);
    let python = functions::deploy(&server, Language::Python)?;
    add("python url", &python, hello, server.pid(), true, 0);
    let node = functions::deploy(&server, Language::Node)?;
    add("node url", &node, hello, server.pid(), true, 0);
    let rust = functions::deploy(&server, Language::Rust)?;
    add("rust url", &rust, hello, server.pid(), true, 0);
    let function = server.sources().join("hello-rust/bootstrap");
    let bare = beside(cores, is_split, || Bare::start(&function, connections))?;
    add(
        "bare Runtime API, rust",
        &bare.target,
        hello,
        bare.pid(),
        false,
        0,
    );
    let mut work = echo.target.clone();
    work.path = "/work".to_owned();
    add(
        "echo, 2 KB in, 20 out",
        &work,
        two_kib,
        echo.pid(),
        false,
        20_000,
    );
    for (name, language) in [
        ("python url, 2 in, 20 out", Language::Python),
        ("node url, 2 in, 20 out", Language::Node),
    ] {
        let target = functions::deploy_work(&server, language)?;
        add(name, &target, two_kib, server.pid(), true, 20_000);
    }
    let mut started = Vec::new();
    for kind in peers::Kind::ALL {
        let Some(folder) = peers.filter(|_| !smoke) else {
            continue;
        };
        match beside(cores, is_split, || Peer::start(kind, folder)) {
            Ok(peer) => {
                add(kind.name(), &peer.target, hello, peer.pid(), false, 0);
                started.push(peer);
            }
            Err(failure) => println!("{}: {failure}", kind.name()),
        }
    }
    for (name, function, bytes) in [
        ("python Invoke, signed", "hello-python", 0),
        ("python Invoke, 2 in, 20 out", "work-python", 20_000),
    ] {
        rows.push(Row {
            name,
            address: server.address(),
            ask: Ask::Signed(server.caller(), function),
            pid: server.pid(),
            is_ours: true,
            bytes,
            rounds: Vec::new(),
        });
    }
    rows.retain(|row| {
        only.is_empty() || row.name == "echo" || only.iter().any(|part| row.name.contains(part))
    });
    if is_split {
        cores.on_platform(|| ())?;
    }
    Ok((
        rows,
        Held {
            server,
            _echo: echo,
            _bare: bare,
            _peers: started,
        },
    ))
}

impl Row {
    fn round(&self, span: Duration, connections: usize) -> Result<Round, Failure> {
        let request = match &self.ask {
            Ask::Plain(request) => request.clone(),
            Ask::Signed(caller, function) if self.bytes > 0 => {
                caller.invoke(function, requests::two_kib())?
            }
            Ask::Signed(caller, function) => caller.invoke(function, ANSWER.as_bytes())?,
        };
        let run = |lines: &mut Lines, span| -> Result<Came, Failure> {
            let right = |body: &[u8]| match self.bytes {
                0 => functions::is_hello(body),
                bytes => body.len() >= bytes,
            };
            lines
                .run(Until::For(span), |_| request.clone(), right)?
                .all_good()
                .map_err(|failure| format!("{}: {failure}", self.name).into())
        };
        let mut lines = Lines::open(self.address, connections)?;
        run(&mut lines, span / 3)?;
        let before = self.spent();
        let came = run(&mut lines, span)?;
        let spent = self.spent().since(before);
        let each = |ns: u64| ns as f64 / 1000.0 / came.good().max(1) as f64;
        Ok(Round {
            per_second: came.per_second(),
            p10_us: came.figures.percentile(10),
            p50_us: came.figures.percentile(50),
            platform_us: each(spent.platform_ns),
            function_us: each(spent.functions_ns),
        })
    }

    fn spent(&self) -> Spent {
        if self.is_ours {
            return Spent::of(self.pid);
        }
        let all = processes::tree(self.pid).into_iter();
        Spent {
            platform_ns: all.map(processes::cpu_ns).sum(),
            functions_ns: 0,
        }
    }

    fn median(&self, of: impl Fn(&Round) -> f64) -> f64 {
        let mut all: Vec<f64> = self.rounds.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or_default()
    }
}

fn print(rows: &[Row]) {
    println!(
        "{:<28} {:>11} {:>11} {:>8} {:>7} {:>9} {:>9} {:>9}",
        "medians", "CPU µs/req", "function µs", "% echo", "goal %", "req/s", "p10 µs", "p50 µs"
    );
    let echo_of = |bytes: usize| {
        rows.iter()
            .find(|row| row.name.starts_with("echo") && row.bytes == bytes)
            .or(rows.first())
            .map_or(1.0, |row| row.median(|round| round.per_second))
    };
    for row in rows {
        let goal = GOALS.iter().find(|(name, _)| *name == row.name);
        println!(
            "{:<28} {:>11.1} {:>11.1} {:>8.1} {:>7} {:>9.0} {:>9.1} {:>9.1}",
            row.name,
            row.median(|round| round.platform_us),
            row.median(|round| round.function_us),
            row.median(|round| round.per_second) * 100.0 / echo_of(row.bytes),
            goal.map_or_else(String::new, |(_, goal)| goal.to_string()),
            row.median(|round| round.per_second),
            row.median(|round| round.p10_us),
            row.median(|round| round.p50_us),
        );
    }
    let rate = |name: &str| {
        let row = rows.iter().find(|row| row.name == name)?;
        Some(row.median(|round| round.per_second)).filter(|rate| *rate > 0.0)
    };
    println!("\ngoal: platform ≤ {GOAL_US} µs of processor time per request (hello by URL)");
    for (ours, theirs, goal) in [
        ("python url", "functions-framework py", "≥ 5"),
        ("node url", "functions-framework js", "≥ 5"),
        ("node url", "workerd", "> 1"),
        ("rust url", "bare Runtime API, rust", "≥ 0.6"),
    ] {
        if let (Some(own), Some(other)) = (rate(ours), rate(theirs)) {
            println!("{ours} / {theirs}: {:.2}  (goal {goal})", own / other);
        }
    }
}
