//! Spares: the first request on an instance that was made ahead of it.
//!
//! Every function has one instance ready from its deployment on (`[instances] ready`): started,
//! initialised, and rehearsed where its runtime can; awake since. Each is called once. A sample is a call that the server itself counts as
//! the first one of such an instance (`freehold_starts_ahead_used_total`); any other is a failure.
//! Everything may run on any core, as in `cold`, whose starts these calls are spared: one call at a time,
//! and who waits for it needs none.

use crate::{
    Failure,
    client::{Connection, Target},
    echo::Echo,
    figures::{self, Figures},
    functions::{ANSWER, Handler},
    server::Server,
};
use std::{path::Path, time::Duration};

/// First byte, p50 and p99, milliseconds.
const GOAL_MS: (f64, f64) = (0.5, 3.0);
/// Between two calls: what the one before has left behind is done.
const PAUSE: Duration = Duration::from_millis(50);
const USED: &str = "freehold_starts_ahead_used_total";

/// Measures and prints.
pub async fn run(bin: &Path, smoke: bool, handler: Handler) -> Result<(), Failure> {
    let (functions, settled) = if smoke {
        (2, Duration::from_secs(1))
    } else {
        (200, Duration::from_secs(30))
    };
    let server = Server::start(bin, "[instances]\nready = 1\n")?;
    let echo = Echo::start()?;
    let names: Vec<_> = (0..functions).map(|at| format!("ready-{at}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let callees = handler.deploy_as(&server, &names)?;
    server.until("freehold_rehearsals_total", functions).await?;
    tokio::time::sleep(settled).await;
    let (mut spares, mut echoes) = (Figures::default(), Figures::default());
    for callee in &callees {
        tokio::time::sleep(PAUSE).await;
        let mut bare = Connection::open(&echo.target).await?;
        echoes.add(bare.post(ANSWER.as_bytes()).await?.first_byte);
        spares.add(call(&server, callee, handler).await?);
    }
    println!("first request on an instance that was made ahead, {functions} Python functions\n");
    println!("{}", figures::head("ms"));
    println!("{}", echoes.row("echo", 1000.0));
    println!("{}", spares.row("spare, python", 1000.0));
    let (p50, p99) = GOAL_MS;
    println!("\ngoal: p50 ≤ {p50} ms, p99 ≤ {p99} ms");
    server.stop()
}

/// First byte of a call that is an unused spare's first.
async fn call(server: &Server, callee: &Target, handler: Handler) -> Result<Duration, Failure> {
    let before = used(server).await?;
    let answer = Connection::open(callee)
        .await?
        .post(handler.event())
        .await?;
    handler.check(&answer)?;
    if used(server).await? == before {
        return Err("a call found no instance that was made ahead".into());
    }
    Ok(answer.first_byte)
}

async fn used(server: &Server) -> Result<f64, Failure> {
    let metrics = server.metrics().await?;
    let counted = metrics.get(USED).copied();
    Ok(counted.ok_or("no metric of what was made ahead")?)
}
