//! Neighbours: what fifty quiet functions notice of one that is called without a pause.
//!
//! The quiet ones are called in turn, fifty times a second together; first alone, then while
//! sixty-four callers call a function of another account as fast as it answers. Its share would be a
//! half of the machine's; with one account for all, a fifty-first. The onset, while the noise still
//! starts its instances, has a row of its own. Where a quiet call's time goes is said beside it: how
//! long its own instance, the server and the spawners stood ready and had no core. After each of them the same caller asks a bare
//! echo, so that what the machine takes from everybody can be told from what the platform gives away.
//! Processor time is that of all that the platform does between the calls, too, which are few; beside
//! the noise it is the noise's, and there is no figure. Everything may run on any core: what is shown
//! is how the cores are shared.
//!
//! Whoever calls stands for somebody on another machine. So the quiet caller has the processor
//! first, and what it waited for a core nevertheless is said too. The noise's callers share the
//! machine with the platform as one thread among others, which the platform's calls pay for.

use crate::{
    Failure,
    client::Target,
    costs::{self, Cost},
    echo::Echo,
    figures::{self, Figures},
    functions::Handler,
    load::{Lines, Until},
    processes::{self, Spent, Waited},
    requests,
    server::Server,
};
use rustix::process::setpriority_process;
use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// p99 with the noise against p99 without; beside an account that is at its limits.
const GOAL: f64 = 1.5;
const GOAL_LIMITS: f64 = 2.0;
/// What such an account has of its own. The callers go beyond its requests, invocations, connections, bytes
/// in flight and log bytes all the time, and beyond its starts and concurrency when they begin; its logs
/// take more than they may from before.
const LIMITS: [&str; 16] = [
    "--requests",
    "500",
    "--sync-invocations",
    "300",
    "--bytes-in-flight",
    "64KiB",
    "--stored-logs",
    "1MiB",
    "--connections",
    "48",
    "--concurrency",
    "8",
    "--starts",
    "2",
    "--log-rate",
    "10KiB",
];
/// One in so many of their calls has an event of this size, of which one fits: what comes to function URLs
/// has half of the account's bytes.
const LARGE_EVERY: usize = 8;
const LARGE_BYTES: usize = 24 << 10;
/// Calls whose lines, three at the least of a hundred bytes each, are more than the account may store.
const FILLING: usize = 5000;
/// One account's calls in a second, 10,000 by default, are lifted where nothing else bounds the noise.
const CONFIG: &str = "[limits]\nsync_invocations = 1000000\n";
/// As many callers of the noisy function unless somebody says otherwise.
pub const CALLERS: usize = 64;
/// Calls of each quiet function that are the onset's.
const ONSET_ROUNDS: usize = 2;
/// Between two calls of quiet functions: each of fifty is called once a second.
const PAUSE: Duration = Duration::from_millis(20);

/// How much of it.
#[derive(Clone, Copy)]
pub struct Sizes {
    /// Quiet functions.
    pub quiet: usize,
    /// Calls of each, alone and beside the noise.
    pub rounds: usize,
    /// Callers of the noisy one.
    pub callers: usize,
    /// Whose the noisy one is.
    pub noise: Noise,
}

/// Whose the noisy function is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Noise {
    /// Of the account that the quiet ones are of.
    OfTheSame,
    /// Of another one.
    OfAnother,
    /// Of another one, whose callers go beyond [`LIMITS`].
    AtItsLimits,
}

/// Measures and prints.
pub async fn run(bin: &Path, smoke: bool, handler: Handler, sizes: Sizes) -> Result<(), Failure> {
    let Sizes {
        quiet,
        rounds,
        callers,
        noise: whose,
    } = sizes;
    let (quiet, rounds) = if smoke { (3, 3) } else { (quiet, rounds) };
    let mut server = Server::start(bin, CONFIG)?;
    let deploys = |server: &Server| handler.deploy_as(server, &["noisy"]);
    let noisy = match whose {
        Noise::OfTheSame => deploys(&server)?,
        _ => {
            let made = |server: &Server, id: &str| {
                if whose == Noise::AtItsLimits {
                    fill_logs(server, handler, if smoke { 50 } else { FILLING })?;
                }
                Ok((id.to_owned(), deploys(server)?))
            };
            let (id, noisy) = server.as_another_account(made)?;
            if whose == Noise::AtItsLimits {
                let mut words = vec!["tenants", "limits", &id];
                words.extend(LIMITS);
                server.cli(&words)?;
            }
            noisy
        }
    };
    let noisy = noisy.into_iter().next().ok_or("nothing was deployed")?;
    let names: Vec<_> = (0..quiet).map(|at| format!("quiet-{at}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let targets = handler.deploy_as(&server, &names)?;
    let post = |target: &Target| requests::post(target, handler.event());
    let calls: Vec<_> = targets.iter().map(post).collect();
    server.settled().await?;
    let echo = Echo::start()?;
    let mut quiet_ones = Quiet {
        calls,
        plain: requests::post(&handler.echo(&echo), handler.event()),
        line: Lines::open(server.address(), 1)?,
        bare: Lines::open(echo.target.address, 1)?,
        handler,
    };
    let mut visit = |rounds: usize| quiet_ones.visit(rounds);
    visit(1)?;
    let (goes_on, begins) = (
        Arc::new(AtomicBool::new(true)),
        Arc::new(AtomicBool::new(false)),
    );
    let (seen, may_begin, address) = (goes_on.clone(), begins.clone(), server.address());
    let request = post(&noisy);
    let large = match whose {
        Noise::AtItsLimits => {
            // Blanks behind a value belong to it.
            let mut event = handler.event().to_vec();
            event.resize(LARGE_BYTES, b' ');
            requests::post(&noisy, &event)
        }
        _ => request.clone(),
    };
    // What a thread of its own may not hand out is an error of any kind; its text is enough. It is
    // there before this thread is preferred, so that it is not.
    let noise = std::thread::spawn(move || -> Result<(BTreeMap<u16, usize>, f64), String> {
        let told = |failure: Failure| failure.to_string();
        while !may_begin.load(Ordering::Relaxed) && seen.load(Ordering::Relaxed) {
            std::thread::sleep(PAUSE);
        }
        let mut lines = Lines::open(address, callers).map_err(told)?;
        let (mut by_status, mut took) = (BTreeMap::new(), 0.0);
        while seen.load(Ordering::Relaxed) {
            let span = Until::For(Duration::from_millis(500));
            let next = |sent| match sent % LARGE_EVERY {
                0 => large.clone(),
                _ => request.clone(),
            };
            let came = lines.run(span, next, handler.is_answer());
            let came = came.map_err(told)?;
            for (status, count) in came.by_status {
                *by_status.entry(status).or_default() += count;
            }
            took += came.took.as_secs_f64();
        }
        Ok((by_status, took))
    });
    if setpriority_process(None, -20).is_err() {
        println!("the quiet caller has no priority, which needs root: its own waits count too");
    }
    let mut places = Places::of(&server);
    let before = places.waited();
    let payers = [echo.payer(), server.payer()];
    let spent = payers.map(|payer| payer.spent());
    let alone = visit(rounds);
    let alone_waited = places.since(&before);
    let spent: [Spent; 2] = std::array::from_fn(|at| payers[at].spent().since(spent[at]));
    places.only_who_ran();
    begins.store(true, Ordering::Relaxed);
    let onset = visit(ONSET_ROUNDS);
    let before = places.waited();
    let beside = visit(rounds);
    let beside_waited = places.since(&before);
    goes_on.store(false, Ordering::Relaxed);
    let (by_status, took) = noise.join().map_err(|_| "the noise failed")??;
    let of = |status: u16| by_status.get(&status).copied().unwrap_or_default();
    let (good, all) = (of(200), by_status.values().sum::<usize>());
    if whose == Noise::AtItsLimits && (good == 0 || of(429) == 0 || of(503) == 0) {
        return Err(format!("the account was not at its limits: {by_status:?}").into());
    }
    let (alone, onset, beside) = (alone?, onset?, beside?);
    println!(
        "{quiet} quiet functions, one call every {PAUSE:?}; the noisy one, of {}, answered {:.0} of {:.0} calls per second\n",
        match whose {
            Noise::OfTheSame => "the same account",
            Noise::OfAnother => "another account",
            Noise::AtItsLimits => "another account at its limits",
        },
        good as f64 / took,
        all as f64 / took
    );
    match whose {
        Noise::AtItsLimits => println!(
            "its limits: {}; its answers: {by_status:?}\n",
            LIMITS.join(" ")
        ),
        _ => println!("limits: sync_invocations = 1000000 (default 10,000 a second)\n"),
    }
    println!("{}", costs::head("ms", "echo"));
    let costs: [Cost; 2] = std::array::from_fn(|at| {
        let mut cost = Cost::new(["echo, alone", "alone"][at]);
        cost.add(&alone[at], spent[at]);
        cost
    });
    for cost in &costs {
        println!("{}", cost.row(&costs[0], 1000.0));
    }
    println!("\n{}", figures::head("ms"));
    for (name, visit) in [
        ("while the noise begins", &onset),
        ("beside the noise", &beside),
    ] {
        let [bare, quiet] = visit;
        println!("{}", bare.row(&format!("echo, {name}"), 1000.0));
        println!("{}", quiet.row(name, 1000.0));
    }
    let ([bare_alone, alone], [bare_beside, beside]) = (&alone, &beside);
    println!("\nready and without a core, mean: alone, beside the noise");
    for (place, alone, beside) in places
        .names()
        .zip(&alone_waited)
        .zip(&beside_waited)
        .map(|((n, a), b)| (n, a, b))
    {
        let each = |waited: &Waited| waited.ns as f64 / 1000.0 / waited.turns.max(1) as f64;
        println!(
            "  {place:<44} {:>9.1} {:>9.1} µs each time",
            each(alone),
            each(beside)
        );
    }
    let per_call = |waited: &[Waited], calls: &Figures, place: usize| {
        waited[place].ns as f64 / 1000.0 / calls.len() as f64
    };
    println!(
        "  {:<44} {:>9.1} {:>9.1} µs a call",
        "the quiet instances",
        per_call(&alone_waited, alone, 0),
        per_call(&beside_waited, beside, 0)
    );
    println!(
        "  {:<44} {:>9.1} {:>9.1} µs a call",
        "the quiet caller, which is not the platform's",
        // It asks the echo as often.
        per_call(&alone_waited, alone, 3) / 2.0,
        per_call(&beside_waited, beside, 3) / 2.0
    );
    println!(
        "\np99 beside the noise / alone: {:.2} (goal ≤ {}), p50 {:.2}; of the echo {:.2}, {:.2}",
        beside.percentile(99) / alone.percentile(99),
        match whose {
            Noise::AtItsLimits => GOAL_LIMITS,
            _ => GOAL,
        },
        beside.percentile(50) / alone.percentile(50),
        bare_beside.percentile(99) / bare_alone.percentile(99),
        bare_beside.percentile(50) / bare_alone.percentile(50)
    );
    server.stop()
}

/// Leaves lines of instances that have ended, of a function that is gone.
fn fill_logs(server: &Server, handler: Handler, calls: usize) -> Result<(), Failure> {
    let spent = handler.deploy_as(server, &["spent"])?;
    let spent = spent.into_iter().next().ok_or("nothing was deployed")?;
    let call = requests::post(&spent, handler.event());
    let mut lines = Lines::open(server.address(), 4)?;
    let came = lines.run(Until::Calls(calls), |_| call.clone(), handler.is_answer())?;
    came.all_good()?;
    server.cli(&["rm", "--yes", "spent"])?;
    Ok(())
}

/// The quiet functions and the echo, as one caller asks them.
struct Quiet {
    calls: Vec<Arc<[u8]>>,
    plain: Arc<[u8]>,
    line: Lines,
    bare: Lines,
    handler: Handler,
}

impl Quiet {
    /// Each function once a round, the echo after each: the times of the echo, and of the functions.
    fn visit(&mut self, rounds: usize) -> Result<[Figures; 2], Failure> {
        let (mut bare, mut quiet) = (Figures::default(), Figures::default());
        let handler = self.handler;
        for _ in 0..rounds {
            for call in &self.calls {
                let once = Until::Calls(1);
                let came = self.line.run(once, |_| call.clone(), handler.is_answer())?;
                quiet.extend(&came.all_good()?.figures);
                std::thread::sleep(PAUSE / 2);
                let look = handler.is_echo_of(handler.event());
                let came = self.bare.run(once, |_| self.plain.clone(), look)?;
                bare.extend(&came.all_good()?.figures);
                std::thread::sleep(PAUSE / 2);
            }
        }
        Ok([bare, quiet])
    }
}

/// Where a quiet call may wait for a core.
struct Places {
    /// Of the quiet instances, as far as is known.
    quiet: Vec<i32>,
    server: i32,
    spawners: Vec<i32>,
    /// How often each of `quiet` had run at first.
    turns: HashMap<i32, u64>,
}

impl Places {
    fn of(server: &Server) -> Self {
        let own = processes::namespace(server.pid(), "pid");
        let (platform, quiet): (Vec<i32>, Vec<i32>) = processes::tree(server.pid())
            .into_iter()
            .partition(|pid| processes::namespace(*pid, "pid") == own);
        let spawners = platform.into_iter().filter(|pid| *pid != server.pid());
        let turns = |pid: &i32| Some((*pid, processes::waited(*pid)?.turns));
        Self {
            turns: quiet.iter().filter_map(turns).collect(),
            quiet,
            server: server.pid(),
            spawners: spawners.collect(),
        }
    }

    /// Of the sandboxes, those that ran since then: the others are nobody's yet and may become the
    /// noise's.
    fn only_who_ran(&mut self) {
        self.quiet.retain(|pid| {
            let turns = processes::waited(*pid).map(|waited| waited.turns);
            turns.unwrap_or_default() > self.turns.get(pid).copied().unwrap_or_default()
        });
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        [
            "the quiet instances",
            "the server's threads",
            "spawners and keepers",
        ]
        .into_iter()
    }

    /// In the order of `names`, and the caller's own.
    fn waited(&self) -> [Waited; 4] {
        let [quiet, server, spawners] =
            [&self.quiet, &vec![self.server], &self.spawners].map(|pids| Waited::of(pids));
        let caller = processes::waited_here().unwrap_or_default();
        [quiet, server, spawners, caller]
    }

    fn since(&self, before: &[Waited; 4]) -> [Waited; 4] {
        let now = self.waited();
        std::array::from_fn(|at| now[at].since(before[at]))
    }
}
