//! Idle: what a server with 100 functions costs while nobody calls.
//!
//! The very first start of a data folder copies interpreters into it, which leaves its mark on the
//! heap; the figure is of a server that was started again, and that mark is printed beside it.
//! Everything may run on any core: nobody calls, so there is no generator to keep apart.

use crate::{
    Failure, client::Connection, echo::Echo, functions::Handler, processes, server::Server,
};
use std::{path::Path, time::Duration};

/// Resident memory of the server, MiB.
const GOAL_MIB: f64 = 40.0;
const CONFIG: &str = "[instances]\nidle_timeout = \"1s\"\n";

/// Measures and prints.
pub async fn run(bin: &Path, smoke: bool, handler: Handler) -> Result<(), Failure> {
    let (count, watched, settle) = if smoke {
        (3, Duration::from_secs(1), Duration::from_millis(200))
    } else {
        (100, Duration::from_secs(60), Duration::from_secs(70))
    };
    let mut server = Server::start(bin, CONFIG)?;
    let first_start = processes::kib(server.pid(), "status", "VmRSS") as f64 / 1024.0;
    server.restart()?;
    let echo = Echo::start()?;
    let names: Vec<String> = (0..count).map(|n| format!("idle-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let targets = handler.deploy_as(&server, &names)?;
    // They have run before: an idle server is one that has worked.
    for target in &targets {
        let mut called = Connection::open(target).await?;
        handler.check(&called.post(handler.event()).await?)?;
    }
    server.empty().await?;
    tokio::time::sleep(settle).await;

    let tree = processes::tree(server.pid());
    let cpu = |pids: &[i32]| pids.iter().map(|pid| processes::cpu_ns(*pid)).sum::<u64>();
    let before: Vec<u64> = tree.iter().map(|pid| processes::cpu_ns(*pid)).collect();
    tokio::time::sleep(watched).await;
    let after = cpu(&tree);
    let spent_ms = (after.saturating_sub(before.iter().sum())) as f64 / 1e6;
    let own_ms = cpu(&tree[..1]).saturating_sub(before[0]) as f64 / 1e6;
    let percent = |ms: f64| ms / watched.as_secs_f64() / 10.0;
    let mib = |pid: i32, file: &str, field: &str| processes::kib(pid, file, field) as f64 / 1024.0;
    let resident = mib(server.pid(), "status", "VmRSS");
    let bare = mib(echo.pid(), "status", "VmRSS");
    let whole: f64 = tree
        .iter()
        .map(|pid| mib(*pid, "smaps_rollup", "Pss"))
        .sum();

    println!(
        "idle server with {count} functions, all instances gone, {} s",
        watched.as_secs()
    );
    println!(
        "  server resident         {resident:>8.1} MiB   (goal ≤ {GOAL_MIB} MiB; echo {bare:.1} MiB, {:.1}x)",
        resident / bare
    );
    println!("  resident once, at the first start of all {first_start:>8.1} MiB");
    println!(
        "  of it without files     {:>8.1} MiB",
        mib(server.pid(), "status", "RssAnon")
    );
    println!(
        "  server processor time   {own_ms:>8.1} ms    ({:.3} %)",
        percent(own_ms)
    );
    println!("  all {:>3} processes, PSS  {whole:>8.1} MiB", tree.len());
    println!(
        "  their processor time    {spent_ms:>8.1} ms    ({:.3} %; goal 0.0 %)",
        percent(spent_ms)
    );
    server.stop()
}
