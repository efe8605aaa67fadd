//! Neighbours: what fifty quiet functions notice of one that is called without a pause.
//!
//! The quiet ones are called in turn, fifty times a second together; first alone, then while
//! sixty-four callers call a function of another account as fast as it answers. Its share would be a
//! half of the machine's; with one account for all, a fifty-first. The onset, while the noise still starts its instances, has a row
//! of its own. Where a quiet call's time goes is said beside it: how long its own instance, the
//! server and the spawners stood ready and had no core.
//!
//! Whoever calls stands for somebody on another machine. So the quiet caller has the processor
//! first, and what it waited for a core nevertheless is said too. The noise's callers share the
//! machine with the platform as one thread among others, which the platform's calls pay for.

use crate::{
    Failure,
    client::Target,
    figures::{self, Figures},
    functions::Handler,
    load::{Lines, Until},
    processes::{self, Waited},
    requests,
    server::Server,
};
use rustix::process::setpriority_process;
use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// p99 with the noise against p99 without.
const GOAL: f64 = 1.5;
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
    /// The noisy one is of the account that the quiet ones are of.
    pub is_one_account: bool,
}

/// Measures and prints.
pub async fn run(bin: &Path, smoke: bool, handler: Handler, sizes: Sizes) -> Result<(), Failure> {
    let Sizes {
        quiet,
        rounds,
        callers,
        is_one_account,
    } = sizes;
    let (quiet, rounds) = if smoke { (3, 3) } else { (quiet, rounds) };
    let mut server = Server::start(bin, "")?;
    let noise = |server: &Server| handler.deploy_as(server, &["noisy"]);
    let noisy = match is_one_account {
        true => noise(&server)?,
        false => server.as_another_account(noise)?,
    };
    let noisy = noisy.into_iter().next().ok_or("nothing was deployed")?;
    let names: Vec<_> = (0..quiet).map(|at| format!("quiet-{at}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let targets = handler.deploy_as(&server, &names)?;
    let post = |target: &Target| requests::post(target, handler.event());
    let calls: Vec<_> = targets.iter().map(post).collect();
    server.settled().await?;
    let mut line = Lines::open(server.address(), 1)?;
    let mut visit = |rounds: usize| -> Result<Figures, Failure> {
        let mut figures = Figures::default();
        for _ in 0..rounds {
            for call in &calls {
                let came = line.run(Until::Calls(1), |_| call.clone(), handler.is_answer())?;
                figures.extend(&came.all_good()?.figures);
                std::thread::sleep(PAUSE);
            }
        }
        Ok(figures)
    };
    visit(1)?;
    let (goes_on, begins) = (
        Arc::new(AtomicBool::new(true)),
        Arc::new(AtomicBool::new(false)),
    );
    let (seen, may_begin, address) = (goes_on.clone(), begins.clone(), server.address());
    let request = post(&noisy);
    // What a thread of its own may not hand out is an error of any kind; its text is enough. It is
    // there before this thread is preferred, so that it is not.
    let noise = std::thread::spawn(move || -> Result<(usize, f64), String> {
        let told = |failure: Failure| failure.to_string();
        while !may_begin.load(Ordering::Relaxed) && seen.load(Ordering::Relaxed) {
            std::thread::sleep(PAUSE);
        }
        let mut lines = Lines::open(address, callers).map_err(told)?;
        let (mut good, mut took) = (0, 0.0);
        while seen.load(Ordering::Relaxed) {
            let span = Until::For(Duration::from_millis(500));
            let came = lines.run(span, |_| request.clone(), handler.is_answer());
            let came = came.map_err(told)?;
            good += came.good();
            took += came.took.as_secs_f64();
        }
        Ok((good, took))
    });
    if setpriority_process(None, -20).is_err() {
        println!("the quiet caller has no priority, which needs root: its own waits count too");
    }
    let mut places = Places::of(&server);
    let before = places.waited();
    let alone = visit(rounds);
    let alone_waited = places.since(&before);
    places.only_who_ran();
    begins.store(true, Ordering::Relaxed);
    let onset = visit(ONSET_ROUNDS);
    let before = places.waited();
    let beside = visit(rounds);
    let beside_waited = places.since(&before);
    goes_on.store(false, Ordering::Relaxed);
    let (good, took) = noise.join().map_err(|_| "the noise failed")??;
    let (alone, onset, beside) = (alone?, onset?, beside?);
    println!(
        "{quiet} quiet functions, one call every {PAUSE:?}; the noisy one, of {}, answered {:.0} per second\n",
        if is_one_account {
            "the same account"
        } else {
            "another account"
        },
        good as f64 / took
    );
    println!("{}", figures::head("ms"));
    println!("{}", alone.row("alone", 1000.0));
    println!("{}", onset.row("while the noise begins", 1000.0));
    println!("{}", beside.row("beside the noise", 1000.0));
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
        per_call(&alone_waited, &alone, 0),
        per_call(&beside_waited, &beside, 0)
    );
    println!(
        "  {:<44} {:>9.1} {:>9.1} µs a call",
        "the quiet caller, which is not the platform's",
        per_call(&alone_waited, &alone, 3),
        per_call(&beside_waited, &beside, 3)
    );
    println!(
        "\np99 beside the noise / alone: {:.2} (goal ≤ {GOAL}), p50 {:.2}",
        beside.percentile(99) / alone.percentile(99),
        beside.percentile(50) / alone.percentile(50)
    );
    server.stop()
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
