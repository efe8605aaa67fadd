//! Two sandboxes, one after the other, with one step of their isolation left out, and what the
//! escape list's probe sees in the second (what the first did to the spawner included): `escape FOLDER [STEP]`, or `escape --steps` for their names; driven by `tests/sandbox/mutation_test.py`.
//!
//! `FOLDER` belongs to root and holds `tree` (an empty root) and `package` (`bootstrap` and
//! `lines.tsv`). The probe's lines come out on standard output, as they are. Leaving a step out
//! needs the feature `mutation`, which the shipped binary never has.

use freehold_domain::{
    BoxFuture,
    ids::{CoreId, Digest, InstanceId, Mebibytes},
    ports::{Clock, CpuShare, Instance, InstanceSpec, SandboxDriver},
    runtime::{RuntimeFamily, RuntimeRow},
    time::{Mono, Wall},
};
use freehold_sandbox::{LaunchOptions, SandboxPool, SupervisorHandle, launch};
use std::{
    error::Error,
    fs::File,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::io::AsyncReadExt;

/// Long enough for a probe on a loaded machine; a sandbox that hangs is a failure.
const PATIENCE: Duration = Duration::from_secs(10);
/// Ids of the right shape; the sandbox only logs them.
const INSTANCES: [&str; 2] = [
    r#""0190b5a0-0000-7000-8000-000000000001""#,
    r#""0190b5a0-0000-7000-8000-000000000002""#,
];
const O_PATH: i32 = 0o10000000;

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
    let row = RuntimeRow {
        id: 1,
        name: "provided.al2023".parse()?,
        family: RuntimeFamily::Provided,
        version: "1".to_owned(),
        digest: Digest([0; 32]),
        root: folder.join("tree"),
        mounts: Vec::new(),
        argv: vec!["/var/task/bootstrap".to_owned()],
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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let seen = runtime.block_on(probe(handle, &folder.join("package")))?;
    print!("{seen}");
    Ok(())
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
async fn probe(handle: SupervisorHandle, package: &Path) -> Result<String, Box<dyn Error>> {
    let clock = Arc::new(MonotonicClock(Instant::now()));
    let pool = SandboxPool::connect(handle, Arc::clone(&clock) as Arc<dyn Clock>);
    pool.register(CoreId(0));
    let package = File::options()
        .read(true)
        .custom_flags(O_PATH)
        .open(package)?;
    let package = Arc::new(package.into());
    let mut seen = Ok(String::new());
    for instance in INSTANCES {
        let spec = InstanceSpec {
            instance: serde_json::from_str::<InstanceId>(instance)?,
            core: CoreId(0),
            runtime: 1,
            package: Some(Arc::clone(&package)),
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
        };
        seen = match pool.start(spec, clock.now() + PATIENCE).await {
            Ok(instance) => tokio::time::timeout(PATIENCE, output(instance)).await?,
            Err(refused) => Err(refused.into()),
        };
        if seen.is_err() {
            break;
        }
    }
    pool.shutdown(PATIENCE).await?;
    seen
}

async fn output(instance: Arc<dyn Instance>) -> Result<String, Box<dyn Error>> {
    let io = instance
        .take_io()
        .ok_or("an instance has its descriptors")?;
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
