//! Calls: from function to function through the endpoint of the caller's own instance, beside the
//! same signed Invoke from outside.
//!
//! One Python source does both, inside as a handler and outside as a program, and times what lies
//! between a request that is signed and its whole answer. They take turns in rounds.

use crate::{
    Failure,
    client::{Connection, Target},
    figures::{self, Figures},
    functions::{self, Language},
    server::Server,
};
use std::{fs, path::Path, process::Command, time::Duration};

const SOURCE: &str = include_str!("../functions/calls.py");
/// The name that `functions::deploy` gives hello.
const HELLO: &str = "hello-python";

/// Measures and prints.
pub async fn run(bin: &Path, smoke: bool) -> Result<(), Failure> {
    let (rounds, calls) = if smoke { (1, 20) } else { (5, 2000) };
    let server = Server::start(bin, "")?;
    functions::deploy(&server, Language::Python)?;
    let folder = server.sources().join("calls");
    fs::create_dir_all(&folder)?;
    let program = folder.join("app.py");
    fs::write(&program, SOURCE)?;
    let options = [
        "--memory",
        "1769",
        "--timeout",
        "300",
        "--handler",
        "app.handler",
    ];
    let target = server.deploy(&folder, &options)?;

    println!("signed Invoke of hello in Python, one connection, {rounds} rounds of {calls} calls");
    println!("both sides where the scheduler puts them\n");
    let (mut inside, mut outside) = (Figures::default(), Figures::default());
    for _ in 0..rounds {
        outside.extend(&from_outside(&server, &program, calls)?);
        inside.extend(&from_inside(&target, calls).await?);
    }
    println!("{}", figures::head("µs"));
    println!("{}", outside.row("from outside", 1.0));
    println!("{}", inside.row("from function to function", 1.0));
    server.stop()
}

fn from_outside(server: &Server, program: &Path, calls: usize) -> Result<Figures, Failure> {
    let output = Command::new("python3")
        .arg(program)
        .arg(server.url())
        .args([HELLO, &calls.to_string()])
        .envs(server.environment())
        .env_remove("AWS_SESSION_TOKEN")
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    figures_of(&output.stdout)
}

async fn from_inside(target: &Target, calls: usize) -> Result<Figures, Failure> {
    let target = Target {
        path: format!("/?function={HELLO}&calls={calls}"),
        ..target.clone()
    };
    let answer = Connection::open(&target).await?.get().await?;
    if answer.status != 200 {
        return Err(format!("{}: {:?}", answer.status, answer.body).into());
    }
    figures_of(&answer.body)
}

/// A JSON list of microseconds.
fn figures_of(json: &[u8]) -> Result<Figures, Failure> {
    let times: Vec<f64> = serde_json::from_slice(json)?;
    let mut figures = Figures::default();
    for us in times {
        figures.add(Duration::from_secs_f64(us / 1e6));
    }
    Ok(figures)
}
