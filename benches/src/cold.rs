//! Cold: the first byte of a function that has no process.
//!
//! A sample begins when no instance of any function is left (the idle timeout is short here, and
//! the server's own metrics say so). Every function was called once, a minute before the first sample;
//! the page cache is warm, the client's connection stands. The platform may use every core.
//!
//! Then the same at a pace: one start every 100 ms, each of a copy whose instance has gone since it
//! was called last. The server's count of starts has to agree, or there are no figures.

use crate::{
    Failure,
    client::{Answer, Connection, Target},
    echo::Echo,
    figures::{self, Figures},
    functions::{self, ANSWER, Language},
    libraries::Libraries,
    server::Server,
    versions::Version,
};
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// Instances go this soon; what is measured is the start, not the wait.
const CONFIG: &str = "[instances]\nidle_timeout = \"200ms\"\n";
/// From the removal of the last instance until the next sample: spares are parked again.
const PAUSE: Duration = Duration::from_millis(400);
/// From the first calls to the first sample.
const SETTLED: Duration = Duration::from_secs(60);
/// Between two starts of the second part.
const PACE: Duration = Duration::from_millis(100);
/// Copies of a function there: each comes round after more than a second.
const COPIES: usize = 16;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Hello(Language),
    /// The second handler.
    Work(Language),
    Wasm,
    Boto3,
    Boto3Version,
    PandasVersion,
}

impl What {
    const ALL: [Self; 10] = [
        Self::Hello(Language::Python),
        Self::Hello(Language::Node),
        Self::Hello(Language::Java),
        Self::Hello(Language::Rust),
        Self::Work(Language::Python),
        Self::Work(Language::Node),
        Self::Wasm,
        Self::Boto3,
        Self::Boto3Version,
        Self::PandasVersion,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Hello(language) => language.name(),
            Self::Work(Language::Python) => "python-20kb",
            Self::Work(_) => "node-20kb",
            Self::Wasm => "wasm",
            Self::Boto3 => "python-boto3",
            Self::Boto3Version => "python-boto3-snapstart",
            Self::PandasVersion => "python-pandas-snapstart",
        }
    }

    /// p50 and p99, milliseconds, where there are goals.
    fn goal_ms(self) -> (Option<f64>, Option<f64>) {
        match self {
            Self::Hello(Language::Python) => (Some(3.0), Some(8.0)),
            Self::Hello(Language::Node) => (Some(4.0), None),
            Self::Hello(Language::Java) => (Some(6.0), None),
            Self::Hello(Language::Rust) => (Some(2.0), None),
            Self::Wasm => (Some(0.3), None),
            Self::Boto3 => (Some(130.0), None),
            Self::Boto3Version => (Some(4.0), None),
            Self::PandasVersion => (Some(5.0), None),
            Self::Work(_) => (None, None),
        }
    }

    /// What it is sent, and what tells its answer.
    fn event(self) -> (&'static [u8], functions::Check) {
        match self {
            Self::Work(_) => functions::work(),
            _ => functions::hello(),
        }
    }

    fn needs_libraries(self) -> bool {
        matches!(self, Self::Boto3 | Self::Boto3Version | Self::PandasVersion)
    }

    async fn deploy(
        self,
        server: &Server,
        libraries: Option<&Libraries>,
    ) -> Result<Callee, Failure> {
        let absent = || format!("{} needs a folder of libraries", self.name());
        Ok(match self {
            Self::Hello(language) => Callee::Url(functions::deploy(server, language)?),
            Self::Work(language) => Callee::Url(functions::deploy_work(server, language)?),
            Self::Wasm => Callee::Url(functions::deploy_wasm(server, "hello-wasm")?),
            Self::Boto3 => Callee::Url(functions::deploy_boto3(server, "boto3-plain")?),
            Self::Boto3Version => {
                functions::deploy_boto3(server, "boto3-version")?;
                Callee::Version(Version::publish(server, "boto3-version").await?)
            }
            Self::PandasVersion => {
                let libraries = libraries.ok_or_else(absent)?;
                functions::deploy_pandas(server, "pandas-version", libraries)?;
                Callee::Version(Version::publish(server, "pandas-version").await?)
            }
        })
    }

    /// Copies of it; none of what is measured on its own alone.
    fn deploy_copies(self, server: &Server, count: usize) -> Result<Vec<Target>, Failure> {
        let names: Vec<_> = (0..count)
            .map(|at| format!("{}-{at}", self.name()))
            .collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let each = |deploy: &dyn Fn(&str) -> Result<Target, Failure>| {
            names.iter().map(|name| deploy(name)).collect()
        };
        match self {
            Self::Hello(language) => functions::deploy_as(server, language, &names),
            Self::Work(language) => functions::deploy_work_as(server, language, &names),
            Self::Wasm => each(&|name| functions::deploy_wasm(server, name)),
            Self::Boto3 | Self::Boto3Version | Self::PandasVersion => Ok(Vec::new()),
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
    callee: Callee,
    figures: Figures,
    /// Seconds that the server counts in each of [`PHASES`].
    phases: [f64; 3],
    paced: Figures,
}

/// Measures and prints.
pub async fn run(
    bin: &Path,
    smoke: bool,
    only: &[String],
    libraries: Option<Libraries>,
) -> Result<(), Failure> {
    let is_wanted = |what: &What| only.is_empty() || only.iter().any(|name| name == what.name());
    let (wanted, left_out): (Vec<_>, Vec<_>) = What::ALL
        .into_iter()
        .filter(is_wanted)
        .partition(|what| libraries.is_some() || !what.needs_libraries());
    let server = Server::start_over(bin, CONFIG, |data| match &libraries {
        Some(libraries) if wanted.iter().any(|what| what.needs_libraries()) => {
            libraries.bring_sdks(bin, data)
        }
        _ => Ok(()),
    })?;
    let mut rows = Vec::new();
    for what in wanted {
        rows.push(Row {
            what,
            callee: what.deploy(&server, libraries.as_ref()).await?,
            figures: Figures::default(),
            phases: [0.0; 3],
            paced: Figures::default(),
        });
    }
    let echoes = alone(&server, &mut rows, smoke).await?;
    print(&rows, &echoes);
    paced(&server, &mut rows, smoke).await?;
    for what in left_out {
        let name = what.name();
        println!("{name}: left out, no --libraries FOLDER");
    }
    server.stop()
}

/// One start at a time.
async fn alone(server: &Server, rows: &mut [Row], smoke: bool) -> Result<Figures, Failure> {
    let (samples, pause) = if smoke { (1, PAUSE / 4) } else { (40, PAUSE) };
    let echo = Echo::start()?;
    for row in &*rows {
        row.callee.call(row.what).await?;
    }
    if !smoke {
        tokio::time::sleep(SETTLED).await;
    }
    let mut echoes = Figures::default();
    for _ in 0..samples {
        for row in &mut *rows {
            server.empty().await?;
            tokio::time::sleep(pause).await;
            let mut bare = Connection::open(&echo.target).await?;
            echoes.add(bare.post(ANSWER.as_bytes()).await?.first_byte);
            let before = server.metrics().await?;
            row.figures.add(row.callee.call(row.what).await?.first_byte);
            let after = server.metrics().await?;
            for (phase, name) in row.phases.iter_mut().zip(PHASES) {
                let grown = |at: &std::collections::BTreeMap<String, f64>| at.get(name).copied();
                *phase += grown(&after).unwrap_or_default() - grown(&before).unwrap_or_default();
            }
        }
    }
    Ok(echoes)
}

fn print(rows: &[Row], echoes: &Figures) {
    let samples = rows.first().map_or(0, |row| row.figures.len());
    println!("cold, {samples} samples of each in turn, first byte; snapstart by signed Invoke\n");
    println!("{}", figures::head("ms"));
    println!("{}", echoes.row("echo", 1000.0));
    for row in rows {
        println!("{}", row.figures.row(row.what.name(), 1000.0));
    }
    println!(
        "\n{:<24} {:>9} {:>7} {:>9} {:>7} {:>8} {:>10} {:>10} {:>10}",
        "ms", "p50", "goal", "p99", "goal", "x echo", "wait mean", "init mean", "run mean"
    );
    for row in rows {
        let mean = |phase: usize| row.phases[phase] * 1000.0 / row.figures.len() as f64;
        let (p50, p99) = row.what.goal_ms();
        let goal = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), |ms| ms.to_string());
        println!(
            "{:<24} {:>9.2} {:>7} {:>9.2} {:>7} {:>7.0}x {:>10.2} {:>10.2} {:>10.2}",
            row.what.name(),
            row.figures.percentile(50) / 1000.0,
            goal(p50),
            row.figures.percentile(99) / 1000.0,
            goal(p99),
            row.figures.percentile(50) / echoes.percentile(50),
            mean(0),
            mean(1),
            mean(2),
        );
    }
}

/// One start every [`PACE`], of each row for itself.
async fn paced(server: &Server, rows: &mut [Row], smoke: bool) -> Result<(), Failure> {
    let samples = if smoke { 2 } else { 200 };
    println!("\none start every {PACE:?}, {samples} of each, first byte\n");
    println!("{}   x alone, p50 (goal ≤ 2)", figures::head("ms"));
    for row in rows {
        let copies = row.what.deploy_copies(server, samples.min(COPIES))?;
        if copies.is_empty() {
            continue;
        }
        let (event, check) = row.what.event();
        // The first of each is none that counts.
        for copy in &copies {
            check(&Connection::open(copy).await?.post(event).await?)?;
        }
        server.empty().await?;
        tokio::time::sleep(PAUSE).await;
        let before = cold_starts(server).await?;
        let begun = Instant::now();
        let mut calls = Vec::new();
        for (at, copy) in (0_u32..).zip(copies.iter().cycle().take(samples)) {
            tokio::time::sleep_until((begun + PACE * at).into()).await;
            let copy = copy.clone();
            calls.push(tokio::spawn(async move {
                let mut line = Connection::open(&copy).await.map_err(|e| e.to_string())?;
                let answer = line.post(event).await;
                let answer = answer.map_err(|error| error.to_string())?;
                check(&answer).map_err(|error| error.to_string())?;
                Ok::<_, String>(answer.first_byte)
            }));
        }
        for call in calls {
            row.paced.add(call.await??);
        }
        let cold = cold_starts(server).await? - before;
        let name = row.what.name();
        if cold != samples as f64 {
            return Err(format!("{name}: {cold} of {samples} calls were cold").into());
        }
        let alone = row.paced.percentile(50) / row.figures.percentile(50);
        println!("{}   {alone:.2}x", row.paced.row(name, 1000.0));
    }
    println!();
    Ok(())
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
