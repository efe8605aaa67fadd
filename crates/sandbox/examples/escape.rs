//! Two sandboxes, one after the other, with one step of their isolation left out, and what the
//! escape list's probe sees in the second (what the first did to the spawner included):
//! `escape FOLDER [STEP]`, or `escape --steps` for their names; driven by
//! `tests/sandbox/mutation_test.py`.
//!
//! `FOLDER` belongs to root and holds `tree` (an empty root) and `package` (`bootstrap` and
//! `lines.tsv`). With `thawed.json`, a command and the mounts of its tree, that is executed instead, an
//! image is taken of it once it has said a word through its line, and both sandboxes are thawed from
//! that; they go on when they are told. With `booted.json` such a command is executed twice before it
//! has a package: once it has said its word it becomes a function's, and is told to go on. The probe's
//! lines come out on standard output, as they are. With `parked` nothing is started: what is not as it
//! must be in the sandbox that waits comes out, a line each, seen from outside.
//! Leaving a step out needs the feature `mutation`, which the shipped binary never has.

#[path = "../tests/platform/parked.rs"]
mod parked;

use freehold_domain::{
    BoxFuture,
    ids::{CoreId, Digest, InstanceId, Mebibytes},
    network::NetworkId,
    ports::{Clock, CpuShare, Instance, InstanceSpec, SandboxDriver, Specialisation, StartImage},
    runtime::{RuntimeFamily, RuntimeRow},
    time::{Mono, Wall},
};
use freehold_sandbox::{LaunchOptions, SandboxPool, SupervisorHandle, launch};
use std::{
    error::Error,
    fs::File,
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

/// Long enough for a probe on a loaded machine; a sandbox that hangs is a failure.
const PATIENCE: Duration = Duration::from_secs(10);
/// Ids of the right shape; the sandbox only logs them.
const INSTANCES: [&str; 2] = [
    r#""0190b5a0-0000-7000-8000-000000000001""#,
    r#""0190b5a0-0000-7000-8000-000000000002""#,
];
const O_PATH: i32 = 0o10000000;

/// How the probe comes up, always in a sandbox that was parked before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Executed,
    Thawed,
    Booted,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("escape FOLDER [STEP]")?);
    if folder.as_os_str() == "--steps" {
        println!(
            "{}",
            freehold_sandbox::isolate::isolation_steps().join("\n")
        );
        return Ok(());
    }
    if let Some(step) = arguments.next() {
        leave_out(&step)?;
    }
    let waits = [("thawed.json", Way::Thawed), ("booted.json", Way::Booted)];
    let waits = waits.map(|(name, way)| (std::fs::read(folder.join(name)), way));
    let found = waits.into_iter().find(|(text, _)| text.is_ok());
    let (way, family, argv, mounts) = match found {
        Some((text, way)) => {
            let (argv, mounts) = serde_json::from_slice(&text?)?;
            (way, RuntimeFamily::Python, argv, mounts)
        }
        None => (
            Way::Executed,
            RuntimeFamily::Provided,
            vec!["/var/task/bootstrap".to_owned()],
            Vec::new(),
        ),
    };
    let row = RuntimeRow {
        id: 1,
        name: "provided.al2023".parse()?,
        family,
        version: "1".to_owned(),
        digest: Digest([0; 32]),
        root: folder.join("tree"),
        mounts,
        argv,
        env: vec![("LAMBDA_TASK_ROOT".to_owned(), "/var/task".to_owned())],
    };
    let table = folder.join("table.json");
    std::fs::write(&table, serde_json::to_vec(&[row])?)?;
    let options = LaunchOptions {
        park_target: 1,
        volumes_ready: 1,
        ..LaunchOptions::new(1, table, folder.join("state"))
    };
    // Before the runtime below, which may start threads.
    let handle = launch(options)?;
    if folder.join("parked").exists() {
        let faults = faults_of_parked()?;
        handle.shutdown(PATIENCE)?;
        faults.iter().for_each(|fault| println!("{fault}"));
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let seen = runtime.block_on(probe(handle, &folder.join("package"), way))?;
    print!("{seen}");
    Ok(())
}

/// What is wrong with the one that waits.
fn faults_of_parked() -> Result<Vec<String>, Box<dyn Error>> {
    let until = Instant::now() + PATIENCE;
    loop {
        let own = i32::try_from(std::process::id())?;
        match parked::all_below(own)[..] {
            [(init, guest), ..] => return Ok(parked::faults(init, guest)),
            [] if Instant::now() > until => return Err("no sandbox was parked".into()),
            [] => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

#[cfg(feature = "mutation")]
fn leave_out(step: &str) -> Result<(), Box<dyn Error>> {
    if !freehold_sandbox::isolate::isolation_steps().contains(&step) {
        return Err(format!("there is no step {step}").into());
    }
    freehold_sandbox::isolate::leave_out(step);
    Ok(())
}

#[cfg(not(feature = "mutation"))]
fn leave_out(_: &str) -> Result<(), Box<dyn Error>> {
    Err("leaving a step out needs the feature `mutation`".into())
}

/// Runs the package once and returns what it printed.
async fn probe(
    handle: SupervisorHandle,
    package: &Path,
    way: Way,
) -> Result<String, Box<dyn Error>> {
    let clock = Arc::new(MonotonicClock(Instant::now()));
    let pool = SandboxPool::connect(handle, Arc::clone(&clock) as Arc<dyn Clock>);
    pool.register(CoreId(0));
    let package = File::options()
        .read(true)
        .custom_flags(O_PATH)
        .open(package)?;
    let package: Arc<OwnedFd> = Arc::new(package.into());
    let mut spec = InstanceSpec {
        instance: serde_json::from_str::<InstanceId>(INSTANCES[0])?,
        core: CoreId(0),
        runtime: 1,
        package: (way != Way::Booted).then(|| Arc::clone(&package)),
        image: None,
        args: Vec::new(),
        env: Vec::new(),
        memory: Mebibytes(256),
        tmp: Mebibytes(512),
        pids: 128,
        descriptors: 1024,
        cpu: CpuShare {
            weight: 1024,
            quota_us: None,
        },
        network: NetworkId::NONE,
    };
    if way == Way::Thawed {
        spec.image = Some(image(&pool, &*clock, spec.clone()).await?);
    }
    let mut seen = Ok(String::new());
    for instance in INSTANCES {
        spec.instance = serde_json::from_str::<InstanceId>(instance)?;
        seen = match pool.start(spec.clone(), clock.now() + PATIENCE).await {
            Ok(instance) => {
                let until = clock.now() + PATIENCE;
                let to = (way == Way::Booted).then(|| becoming(&spec, Arc::clone(&package)));
                tokio::time::timeout(PATIENCE, output(instance, to, until)).await?
            }
            Err(refused) => Err(refused.into()),
        };
        if seen.is_err() {
            break;
        }
    }
    pool.shutdown(PATIENCE).await?;
    seen
}

/// An image of a process that has said that it waits.
async fn image(
    pool: &SandboxPool,
    clock: &dyn Clock,
    spec: InstanceSpec,
) -> Result<StartImage, Box<dyn Error>> {
    // The spawner tries a process of its own first, and says whether that went well.
    while let Err(reason) = pool.images() {
        if clock.now() > Mono(PATIENCE.as_nanos() as u64) {
            return Err(reason.into());
        }
        clock
            .sleep_until(clock.now() + Duration::from_millis(5))
            .await;
    }
    let instance = pool.start(spec, clock.now() + PATIENCE).await?;
    let io = instance
        .take_io()
        .ok_or("an instance has its descriptors")?;
    let mut line = line_of(io.frames)?;
    let mut word = [0];
    let waits = tokio::time::timeout(PATIENCE, line.read_exact(&mut word));
    waits.await??;
    Ok(instance.take_image(clock.now() + PATIENCE).await?)
}

/// The host's end of an instance's line.
fn line_of(frames: Option<OwnedFd>) -> Result<UnixStream, Box<dyn Error>> {
    let line: std::os::unix::net::UnixStream = frames.ok_or("a runtime with a line")?.into();
    line.set_nonblocking(true)?;
    Ok(UnixStream::from_std(line)?)
}

/// What a booted one becomes.
fn becoming(spec: &InstanceSpec, package: Arc<OwnedFd>) -> Specialisation {
    Specialisation {
        package,
        memory: spec.memory,
        tmp: spec.tmp,
        pids: spec.pids,
        cpu: spec.cpu,
        network: spec.network,
    }
}

async fn output(
    instance: Arc<dyn Instance>,
    becomes: Option<Specialisation>,
    until: Mono,
) -> Result<String, Box<dyn Error>> {
    let io = instance
        .take_io()
        .ok_or("an instance has its descriptors")?;
    // Whoever waits for it goes on; whoever does not, does not look.
    if io.frames.is_some() {
        let mut line = line_of(io.frames)?;
        if let Some(to) = becomes {
            line.read_exact(&mut [0]).await?;
            instance.specialise(to, until).await?;
        }
        line.write_all(b"!").await?;
    }
    let mut stdout = tokio::net::unix::pipe::Receiver::from_owned_fd(io.stdout)?;
    let mut stderr = tokio::net::unix::pipe::Receiver::from_owned_fd(io.stderr)?;
    let (mut seen, mut complaint) = (String::new(), String::new());
    let (read, _) = tokio::join!(
        stdout.read_to_string(&mut seen),
        stderr.read_to_string(&mut complaint)
    );
    read?;
    eprint!("{complaint}");
    instance.destroy().await;
    Ok(seen)
}

/// Time as the machine tells it.
struct MonotonicClock(Instant);

impl Clock for MonotonicClock {
    fn now(&self) -> Mono {
        Mono(self.0.elapsed().as_nanos() as u64)
    }

    fn wall(&self) -> Wall {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Wall(now.map_or(0, |since| since.as_micros() as i64))
    }

    fn sleep_until(&self, at: Mono) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(at.since(self.now())))
    }
}
