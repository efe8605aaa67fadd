//! Backups: what callers notice while 1 GiB of packages is written into a backup.
//!
//! One caller asks a warm function, and after each call a bare echo, so that what the disk and the
//! processors take from everybody can be told from what the platform gives away: alone for a while,
//! then for as long as `freehold backup` takes at its own rate, in rounds. The first backup is written
//! before anything is measured. Everything may run on any core: what is shown is what the server keeps
//! for its callers while it reads its own data.

use crate::{
    Failure,
    costs::{self, Cost},
    echo::Echo,
    figures::Figures,
    functions::Handler,
    load::{Lines, Until},
    processes::Spent,
    requests,
    server::Server,
};
use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// p99 beside a backup against p99 without.
const GOAL: f64 = 1.5;
/// Of a package: what one request of `CreateFunction` carries.
const PACKAGE_BYTES: usize = 45 << 20;
const DATA_BYTES: usize = 1 << 30;
/// Between a call and the echo, and between that and the next call.
const PAUSE: Duration = Duration::from_millis(1);

/// Measures and prints.
pub async fn run(bin: &Path, smoke: bool, handler: Handler) -> Result<(), Failure> {
    let (packages, bytes, rounds) = match smoke {
        true => (2, 1 << 20, 1),
        false => (DATA_BYTES.div_ceil(PACKAGE_BYTES), PACKAGE_BYTES, 3),
    };
    let server = Server::start(bin, "")?;
    let echo = Echo::start()?;
    let target = handler.deploy_as(&server, &["called"])?.remove(0);
    for at in 0..packages {
        let folder = server.sources().join(format!("large-{at}"));
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("app.py"), include_str!("../functions/app.py"))?;
        // Nothing makes it smaller, and no two are alike.
        let mut data = vec![0; bytes];
        fastrand::Rng::with_seed(at as u64).fill(&mut data);
        File::create(folder.join("data.bin"))?.write_all(&data)?;
        let named = folder.to_str().ok_or("the path of a source is not text")?;
        server.cli(&["deploy", named, "--no-url"])?;
        fs::remove_dir_all(&folder)?;
    }
    let file = server.sources().join("node.backup");
    backup(&server, &file)?;
    println!(
        "{packages} packages; a backup of {:.0} MiB\n",
        fs::metadata(&file)?.len() as f64 / f64::from(1 << 20)
    );
    server.settled().await?;
    let mut caller = Caller {
        call: requests::post(&target, handler.event()),
        plain: requests::post(&handler.echo(&echo), handler.event()),
        line: Lines::open(server.address(), 1)?,
        bare: Lines::open(echo.target.address, 1)?,
        handler,
    };
    caller.visit(|| true)?;
    let names = [
        ["echo, alone", "alone"],
        ["echo, beside it", "beside a backup"],
    ];
    let mut costs = names.map(|pair| pair.map(Cost::new));
    let mut took = Duration::from_secs(1);
    for _ in 0..rounds {
        let is_over = AtomicBool::new(false);
        let begun = std::thread::scope(|scope| -> Result<Duration, Failure> {
            let writer = scope.spawn(|| {
                let begun = Instant::now();
                let done = backup(&server, &file).map_err(|failure| failure.to_string());
                is_over.store(true, Ordering::Relaxed);
                done.map(|()| begun.elapsed())
            });
            let came = measure(&mut caller, &server, &echo, &mut costs[1], || {
                is_over.load(Ordering::Relaxed)
            });
            let took = writer.join().map_err(|_| "the backup failed")??;
            came.map(|()| took)
        })?;
        took = begun;
        server.settled().await?;
        let begun = Instant::now();
        measure(&mut caller, &server, &echo, &mut costs[0], || {
            begun.elapsed() >= took
        })?;
    }
    println!("{}", costs::head("ms", "echo"));
    for pair in &costs {
        for cost in pair {
            println!("{}", cost.row(&pair[0], 1000.0));
        }
    }
    let [[bare_alone, alone], [bare_beside, beside]] = &costs;
    let ratio = |beside: &Cost, alone: &Cost, percent| {
        beside.figures().percentile(percent) / alone.figures().percentile(percent)
    };
    println!(
        "\nthe last one took {:.1} s; p99 beside a backup / alone: {:.2} (goal ≤ {GOAL}), p50 {:.2}; of the echo {:.2}, {:.2}",
        took.as_secs_f64(),
        ratio(beside, alone, 99),
        ratio(beside, alone, 50),
        ratio(bare_beside, bare_alone, 99),
        ratio(bare_beside, bare_alone, 50)
    );
    server.stop()
}

/// Writes one as an operator would.
fn backup(server: &Server, file: &Path) -> Result<(), Failure> {
    let data = server.data();
    let texts = [file, &data].map(|path| path.to_str().ok_or("a path is not text"));
    let [file, data] = [texts[0]?, texts[1]?];
    server.cli(&["backup", file, "--data", data]).map(drop)
}

/// Who asks function and echo in turn.
struct Caller {
    call: Arc<[u8]>,
    plain: Arc<[u8]>,
    line: Lines,
    bare: Lines,
    handler: Handler,
}

impl Caller {
    /// One of each until it is over, once at the least: the times of the echo, and of the function.
    fn visit(&mut self, is_over: impl Fn() -> bool) -> Result<[Figures; 2], Failure> {
        let (mut bare, mut called) = (Figures::default(), Figures::default());
        let (handler, once) = (self.handler, Until::Calls(1));
        loop {
            let came = self
                .line
                .run(once, |_| self.call.clone(), handler.is_answer())?;
            called.extend(&came.all_good()?.figures);
            std::thread::sleep(PAUSE);
            let look = handler.is_echo_of(handler.event());
            let came = self.bare.run(once, |_| self.plain.clone(), look)?;
            bare.extend(&came.all_good()?.figures);
            std::thread::sleep(PAUSE);
            if is_over() {
                return Ok([bare, called]);
            }
        }
    }
}

/// Adds what a visit comes to, of the echo and of the function.
fn measure(
    caller: &mut Caller,
    server: &Server,
    echo: &Echo,
    costs: &mut [Cost; 2],
    is_over: impl Fn() -> bool,
) -> Result<(), Failure> {
    let payers = [echo.payer(), server.payer()];
    let before = payers.map(|payer| payer.spent());
    let figures = caller.visit(is_over)?;
    let spent: [Spent; 2] = std::array::from_fn(|at| payers[at].spent().since(before[at]));
    for ((cost, figures), spent) in costs.iter_mut().zip(&figures).zip(spent) {
        cost.add(figures, spent);
    }
    Ok(())
}
