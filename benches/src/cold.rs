//! Cold: the first byte of a function that has no process.
//!
//! A sample begins when no instance of any function is left (the idle timeout is short here, and
//! the server's own metrics say so). Every function was called once, a minute before the first sample;
//! the page cache is warm, the client's connection stands. The platform may use every core: a start is
//! work of several processes, and who waits for it needs none.
//!
//! Then the same at a pace: one start every 100 ms, each of a copy whose instance has gone since it
//! was called last. The server's count of starts has to agree, or there are no figures.
//!
//! With `--networks` there are two servers, one whose functions have a network and one whose have
//! none; each sample is taken of both, one after the other, and their medians are compared.

use crate::{
    Failure,
    client::{Answer, Connection, Target},
    echo::Echo,
    figures::{self, Figures},
    functions::{self, ANSWER, Handler, Language},
    libraries::Libraries,
    networks,
    server::Server,
    versions::Version,
};
use std::{
    path::Path,
    rc::Rc,
    time::{Duration, Instant},
};
use tokio::task::LocalSet;

/// Instances go this soon; what is measured is the start, not the wait.
const CONFIG: &str = "[instances]\nidle_timeout = \"200ms\"\n";
/// Room for the start images of all copies: what is measured is a start from one.
const IMAGES: &str = "[snapstart]\nmemory = \"4GiB\"\naccount_memory = \"4GiB\"\n";
/// From the removal of the last instance until the next sample: spares are parked again.
const PAUSE: Duration = Duration::from_millis(400);
/// From the first calls to the first sample.
const SETTLED: Duration = Duration::from_secs(60);
/// Between two starts of the second part.
const PACE: Duration = Duration::from_millis(100);
/// So many of each row, for a minute.
const PACED: usize = 600;
/// Copies of a function there: each comes round after more than a second.
const COPIES: usize = 16;
/// Samples of each row, where the command does not say.
pub const SAMPLES: usize = 40;
/// What functions without a network are started by.
const NO_NETWORK: &str = "[network]\nenabled = false\n";

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    In(Language, Handler),
    Wasm(Handler),
    Boto3,
    Boto3Version,
    PandasVersion,
}

impl What {
    /// In the order of the table.
    fn all() -> Vec<Self> {
        let handlers = [Handler::Hello, Handler::Work];
        let languages = |handler| Language::ALL.map(|language| Self::In(language, handler));
        let mut all: Vec<_> = handlers.into_iter().flat_map(languages).collect();
        all.extend(handlers.map(Self::Wasm));
        all.extend([Self::Boto3, Self::Boto3Version, Self::PandasVersion]);
        all
    }

    fn name(self) -> &'static str {
        match self {
            Self::In(language, Handler::Hello) => language.name(),
            Self::In(Language::Python, Handler::Work) => "python-20kb",
            Self::In(Language::Node, Handler::Work) => "node-20kb",
            Self::In(Language::Java, Handler::Work) => "java-20kb",
            Self::In(Language::Rust, Handler::Work) => "rust-20kb",
            Self::Wasm(Handler::Hello) => "wasm",
            Self::Wasm(Handler::Work) => "wasm-20kb",
            Self::Boto3 => "python-boto3",
            Self::Boto3Version => "python-boto3-snapstart",
            Self::PandasVersion => "python-pandas-snapstart",
        }
    }

    /// p50 and p99, milliseconds, where there are goals.
    fn goal_ms(self) -> (Option<f64>, Option<f64>) {
        match self {
            Self::In(Language::Python, Handler::Hello) => (Some(3.0), Some(8.0)),
            Self::In(Language::Node, Handler::Hello) => (Some(4.0), None),
            Self::In(Language::Java, Handler::Hello) => (Some(6.0), None),
            Self::In(Language::Rust, Handler::Hello) => (Some(2.0), None),
            Self::Wasm(Handler::Hello) => (Some(0.3), None),
            Self::Boto3 => (Some(130.0), None),
            Self::Boto3Version => (Some(4.0), None),
            Self::PandasVersion => (Some(5.0), None),
            Self::In(_, Handler::Work) | Self::Wasm(Handler::Work) => (None, None),
        }
    }

    /// What it is sent, and what tells its answer.
    fn event(self) -> (&'static [u8], functions::Check) {
        match self {
            Self::In(_, Handler::Work) => functions::work(),
            Self::Wasm(Handler::Work) => functions::wasm_work(),
            _ => functions::hello(),
        }
    }

    fn needs_libraries(self) -> bool {
        matches!(self, Self::Boto3 | Self::Boto3Version | Self::PandasVersion)
    }

    /// Deploys as many copies as there are names.
    async fn deploy(
        self,
        server: &Server,
        libraries: Option<&Libraries>,
        names: &[String],
    ) -> Result<Vec<Rc<Callee>>, Failure> {
        let each = |deploy: &dyn Fn(&str) -> Result<Target, Failure>| {
            let targets = names.iter().map(|name| deploy(name));
            targets.collect::<Result<Vec<_>, _>>()
        };
        let urls = |targets: Vec<Target>| -> Vec<_> {
            let callees = targets.into_iter().map(Callee::Url);
            callees.map(Rc::new).collect()
        };
        let texts: Vec<_> = names.iter().map(String::as_str).collect();
        match self {
            Self::In(language, handler) => {
                functions::deploy_in(server, language, handler, &texts).map(urls)
            }
            Self::Wasm(handler) => {
                each(&|name| functions::deploy_wasm(server, handler, name)).map(urls)
            }
            Self::Boto3 => each(&|name| functions::deploy_boto3(server, name)).map(urls),
            Self::Boto3Version | Self::PandasVersion => {
                let absent = || format!("{} needs a folder of libraries", self.name());
                let libraries = libraries.ok_or_else(absent)?;
                let mut versions = Vec::new();
                for name in names {
                    match self {
                        Self::Boto3Version => functions::deploy_boto3(server, name)?,
                        _ => functions::deploy_pandas(server, name, libraries)?,
                    };
                    let version = Version::publish(server, name).await?;
                    versions.push(Rc::new(Callee::Version(version)));
                }
                Ok(versions)
            }
        }
    }
}

/// How it is called.
enum Callee {
    /// By its URL.
    Url(Target),
    /// By signed Invoke.
    Version(Version),
}

impl Callee {
    async fn call(&self, what: What) -> Result<Answer, Failure> {
        let (event, check) = what.event();
        let answer = match self {
            Self::Url(target) => Connection::open(target).await?.post(event).await?,
            Self::Version(version) => {
                let mut line = Connection::open(version.target()).await?;
                version.invoke(&mut line, event).await?
            }
        };
        check(&answer)?;
        Ok(answer)
    }
}

struct Row {
    what: What,
    callee: Rc<Callee>,
    figures: Figures,
    /// Seconds that the server counts in each of [`PHASES`].
    phases: [f64; 3],
    paced: Figures,
}

/// A server and the rows that are of it.
struct Side {
    server: Server,
    rows: Vec<Row>,
}

/// What of it, and how much.
pub struct Choice {
    /// Rows by name; all of them if there are none.
    pub only: Vec<String>,
    /// Of each row, alone.
    pub samples: usize,
    /// Beside a server whose functions have no network.
    pub has_networks: bool,
}

/// Measures and prints.
pub async fn run(
    bin: &Path,
    smoke: bool,
    choice: &Choice,
    libraries: Option<Libraries>,
) -> Result<(), Failure> {
    let only = &choice.only;
    let is_wanted = |what: &What| only.is_empty() || only.iter().any(|name| name == what.name());
    let (wanted, left_out): (Vec<_>, Vec<_>) = What::all()
        .into_iter()
        .filter(is_wanted)
        .partition(|what| libraries.is_some() || !what.needs_libraries());
    let mut sides = Vec::new();
    let config = match libraries {
        Some(_) => format!("{CONFIG}{IMAGES}"),
        None => CONFIG.to_owned(),
    };
    let configs = [config.clone(), format!("{config}{NO_NETWORK}")];
    for config in &configs[..1 + usize::from(choice.has_networks)] {
        sides.push(Side::start(bin, config, &wanted, libraries.as_ref()).await?);
    }
    if choice.has_networks && !networks::has_links()? {
        return Err(
            "this machine makes no links for functions: there is nothing to compare".into(),
        );
    }
    let samples = if smoke { 1 } else { choice.samples };
    let echoes = alone(&mut sides, smoke, samples).await?;
    for (side, said) in sides.iter().zip(["", ", functions without a network"]) {
        println!(
            "cold, {samples} samples of each in turn, first byte; snapstart by signed Invoke{said}\n"
        );
        print(&side.rows, &echoes);
        println!();
    }
    if let [with, without] = &sides[..] {
        compare(&with.rows, &without.rows);
    } else {
        for side in &mut sides {
            paced(&side.server, &mut side.rows, libraries.as_ref(), smoke).await?;
        }
    }
    for what in left_out {
        let name = what.name();
        println!("{name}: left out, no --libraries FOLDER");
    }
    for side in sides {
        side.server.stop()?;
    }
    Ok(())
}

impl Side {
    /// Starts a server and deploys a function for each row.
    async fn start(
        bin: &Path,
        config: &str,
        wanted: &[What],
        libraries: Option<&Libraries>,
    ) -> Result<Self, Failure> {
        let server = Server::start_over(bin, config, |data| match libraries {
            Some(libraries) if wanted.iter().any(|what| what.needs_libraries()) => {
                libraries.bring_sdks(bin, data)
            }
            _ => Ok(()),
        })?;
        let mut rows = Vec::new();
        for &what in wanted {
            let name = format!("cold-{}", what.name());
            let deployed = what.deploy(&server, libraries, &[name]).await?;
            rows.push(Row {
                what,
                callee: deployed.into_iter().next().ok_or("nothing was deployed")?,
                figures: Figures::default(),
                phases: [0.0; 3],
                paced: Figures::default(),
            });
        }
        Ok(Self { server, rows })
    }
}

/// One start at a time, of each row on every side in turn.
async fn alone(sides: &mut [Side], smoke: bool, samples: usize) -> Result<Figures, Failure> {
    let pause = if smoke { PAUSE / 4 } else { PAUSE };
    let echo = Echo::start()?;
    for side in &*sides {
        for row in &side.rows {
            row.callee.call(row.what).await?;
        }
    }
    if !smoke {
        tokio::time::sleep(SETTLED).await;
    }
    let rows = sides.first().map_or(0, |side| side.rows.len());
    let mut echoes = Figures::default();
    for sample in 0..samples {
        for at in 0..rows {
            // Who comes first changes, as what is left of the one before is not the same for both.
            for side in 0..sides.len() {
                let Side { server, rows } = &mut sides[(side + sample) % sides.len()];
                let row = &mut rows[at];
                server.empty().await?;
                tokio::time::sleep(pause).await;
                let mut bare = Connection::open(&echo.target).await?;
                echoes.add(bare.post(ANSWER.as_bytes()).await?.first_byte);
                let before = server.metrics().await?;
                row.figures.add(row.callee.call(row.what).await?.first_byte);
                let after = server.metrics().await?;
                for (phase, name) in row.phases.iter_mut().zip(PHASES) {
                    let grown =
                        |at: &std::collections::BTreeMap<String, f64>| at.get(name).copied();
                    *phase +=
                        grown(&after).unwrap_or_default() - grown(&before).unwrap_or_default();
                }
            }
        }
    }
    Ok(echoes)
}

fn print(rows: &[Row], echoes: &Figures) {
    println!("{}", figures::head("ms"));
    println!("{}", echoes.row("echo", 1000.0));
    for row in rows {
        println!("{}", row.figures.row(row.what.name(), 1000.0));
    }
    println!(
        "\n{:<24} {:>9} {:>7} {:>10} {:>7} {:>8} {:>10} {:>10} {:>10}",
        "ms", "p50", "goal", "p99", "goal", "x echo", "wait mean", "init mean", "run mean"
    );
    for row in rows {
        let mean = |phase: usize| row.phases[phase] * 1000.0 / row.figures.len() as f64;
        let (p50, p99) = row.what.goal_ms();
        let goal = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), |ms| ms.to_string());
        println!(
            "{:<24} {:>9.2} {:>7} {:>10} {:>7} {:>7.0}x {:>10.2} {:>10.2} {:>10.2}",
            row.what.name(),
            row.figures.percentile(50) / 1000.0,
            goal(p50),
            row.figures.p99(1000.0),
            goal(p99),
            row.figures.percentile(50) / echoes.percentile(50),
            mean(0),
            mean(1),
            mean(2),
        );
    }
}

/// What a network adds to a start.
fn compare(with: &[Row], without: &[Row]) {
    println!("with a network against without      p10       p50   (goal ≤ 1.05x)");
    for (with, without) in with.iter().zip(without) {
        let ratio =
            |percent| with.figures.percentile(percent) / without.figures.percentile(percent);
        println!(
            "{:<30} {:>7.2}x {:>8.2}x",
            with.what.name(),
            ratio(10),
            ratio(50)
        );
    }
    println!();
}

/// One start every [`PACE`], of each row for itself.
async fn paced(
    server: &Server,
    rows: &mut [Row],
    libraries: Option<&Libraries>,
    smoke: bool,
) -> Result<(), Failure> {
    let samples = if smoke { 2 } else { PACED };
    println!("one start every {PACE:?}, {samples} of each, first byte\n");
    println!("{}   x alone, p50 (goal ≤ 2)", figures::head("ms"));
    let mut warm = Vec::new();
    for row in rows {
        let name = row.what.name();
        let names = (0..samples.min(COPIES)).map(|at| format!("{name}-{at}"));
        let names: Vec<_> = names.collect();
        let copies = row.what.deploy(server, libraries, &names).await?;
        // The first of each is none that counts.
        for copy in &copies {
            copy.call(row.what).await?;
        }
        server.empty().await?;
        tokio::time::sleep(PAUSE).await;
        let before = cold_starts(server).await?;
        let begun = Instant::now();
        let (what, paced) = (row.what, &mut row.paced);
        let due = async {
            let mut calls = Vec::new();
            for (at, copy) in (0_u32..).zip(copies.iter().cycle().take(samples)) {
                tokio::time::sleep_until((begun + PACE * at).into()).await;
                let copy = copy.clone();
                calls.push(tokio::task::spawn_local(
                    async move { copy.call(what).await },
                ));
            }
            for call in calls {
                paced.add(call.await??.first_byte);
            }
            Ok::<_, Failure>(())
        };
        LocalSet::new().run_until(due).await?;
        let cold = cold_starts(server).await? - before;
        // A copy that came up more slowly than its turn comes round; the other rows are worth having.
        if cold != samples as f64 {
            warm.push(format!("{name}: {cold} of {samples} calls were cold"));
        }
        let alone = row.paced.percentile(50) / row.figures.percentile(50);
        println!("{}   {alone:.2}x", row.paced.row(name, 1000.0));
    }
    println!();
    match warm.is_empty() {
        true => Ok(()),
        false => Err(warm.join("; ").into()),
    }
}

async fn cold_starts(server: &Server) -> Result<f64, Failure> {
    let metrics = server.metrics().await?;
    let counted = metrics.get("freehold_cold_starts_total").copied();
    Ok(counted.ok_or("no metric of cold starts")?)
}

/// Where the time of a sample went, as the server's own metrics say; `wait` holds start and init.
pub const PHASES: [&str; 3] = [
    "freehold_queue_seconds_total",
    "freehold_init_seconds_total",
    "freehold_run_seconds_total",
];
