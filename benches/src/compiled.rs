//! Compiled: the first byte of a Node.js function without a process whose init loads an SDK, where the
//! code that V8 compiled in its first init is given to the later ones, and where none is kept.
//!
//! Two servers take turns; each sample begins when no instance is left. The function makes an S3 client
//! by the SDK that the runtime brings, at module level. Node.js 22 is the first that hands code over; it
//! comes from the npm registry, the same for both. The server's own metrics have to say that code was
//! kept, or none. Everything may run on any core, as in `cold`: a start is work of several processes, and
//! who waits for it needs none.

use crate::{
    Failure,
    client::{Connection, Target},
    echo::Echo,
    figures::{self, Figures},
    functions::Handler,
    libraries::Libraries,
    server::Server,
};
use std::{fs, path::Path, time::Duration};

const HELLO: &str = include_str!("../functions/s3.js");
const WORK: &str = include_str!("../functions/s3_work.js");
const KEPT: &str = "freehold_compiled_code";
const INIT: &str = "freehold_init_seconds_total";
/// From the removal of the last instance until the next sample: spares are parked again.
const PAUSE: Duration = Duration::from_millis(400);
/// From the first calls to the first sample.
const SETTLED: Duration = Duration::from_secs(30);

struct Side {
    name: &'static str,
    server: Server,
    target: Target,
    handler: Handler,
    figures: Figures,
    /// Seconds of init that the server counts.
    init_s: f64,
}

/// Measures and prints.
pub async fn run(
    bin: &Path,
    smoke: bool,
    handler: Handler,
    libraries: Option<Libraries>,
) -> Result<(), Failure> {
    let Some(libraries) = libraries else {
        println!("compiled code of Node.js: left out, no --libraries FOLDER");
        return Ok(());
    };
    let node = libraries.bring_node()?;
    let echo = Echo::start()?;
    let mut sides = Vec::new();
    for (name, room) in [("compiled by each", "0B"), ("compiled once", "64MiB")] {
        let config = format!(
            "[instances]\nidle_timeout = \"200ms\"\ncompiled_code = \"{room}\"\n\
             [runtimes.paths]\n\"nodejs22.x\" = \"{}\"\n",
            node.display()
        );
        let server = Server::start_over(bin, &config, |data| libraries.bring_sdks(bin, data))?;
        let folder = server.sources().join("s3");
        fs::create_dir_all(&folder)?;
        let source = match handler {
            Handler::Hello => HELLO,
            Handler::Work => WORK,
        };
        fs::write(folder.join("index.js"), source)?;
        let options = ["--memory", "512", "--runtime", "nodejs22.x"];
        let target = server.deploy(&folder, &options)?;
        sides.push(Side {
            name,
            server,
            target,
            handler,
            figures: Figures::default(),
            init_s: 0.0,
        });
    }
    for (side, expected) in sides.iter().zip([0.0, 1.0]) {
        side.call().await?;
        let kept = side.metric(KEPT).await?;
        if kept != expected {
            return Err(format!("{}: {KEPT} is {kept}, not {expected}", side.name).into());
        }
    }
    let samples = if smoke { 1 } else { 60 };
    if !smoke {
        tokio::time::sleep(SETTLED).await;
    }
    let mut echoes = Figures::default();
    let echoed = handler.echo(&echo);
    for sample in 0..samples {
        for at in 0..sides.len() {
            // Who comes first changes.
            let at = (at + sample) % sides.len();
            let side = &mut sides[at];
            side.server.empty().await?;
            tokio::time::sleep(PAUSE).await;
            let mut bare = Connection::open(&echoed).await?;
            echoes.add(bare.post(handler.event()).await?.first_byte);
            let before = side.metric(INIT).await?;
            let first_byte = side.call().await?;
            side.figures.add(first_byte);
            side.init_s += side.metric(INIT).await? - before;
        }
    }
    println!("cold, Node.js with an S3 client, {samples} samples of each in turn, first byte\n");
    println!("{}  init mean", figures::head("ms"));
    println!("{}", echoes.row("echo", 1000.0));
    for side in &sides {
        let init_ms = side.init_s * 1000.0 / side.figures.len() as f64;
        println!("{}  {init_ms:>9.2}", side.figures.row(side.name, 1000.0));
    }
    if let [by_each, once] = &sides[..] {
        let ratio =
            |percent| once.figures.percentile(percent) / by_each.figures.percentile(percent);
        println!(
            "\nfirst byte against compiled by each, p10 and p50: {:.2}x, {:.2}x; init {:.2}x",
            ratio(10),
            ratio(50),
            once.init_s / by_each.init_s
        );
    }
    for side in sides {
        side.server.stop()?;
    }
    Ok(())
}

impl Side {
    /// First byte of a call.
    async fn call(&self) -> Result<Duration, Failure> {
        let event = self.handler.event();
        let answer = Connection::open(&self.target).await?.post(event).await?;
        let body = String::from_utf8_lossy(&answer.body);
        if answer.status != 200 || !body.contains("\"client\":\"function\"") {
            return Err(format!("{}: {} {body}", self.name, answer.status).into());
        }
        Ok(answer.first_byte)
    }

    async fn metric(&self, name: &str) -> Result<f64, Failure> {
        let metrics = self.server.metrics().await?;
        let value = metrics.get(name).copied();
        Ok(value.ok_or_else(|| format!("no metric {name}"))?)
    }
}
