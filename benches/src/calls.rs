//! Calls: from function to function through the endpoint of the caller's own instance, beside the
//! same signed Invoke from outside and a bare echo; first with a core for each side, then with both
//! free.
//!
//! One Python source does both, inside as a handler and outside as a program, and times what lies
//! between a request that is signed and its whole answer. They take turns in rounds. A function that
//! calls is on the platform's side, and its own processor time is among that of functions.

use crate::{
    Failure,
    client::{Connection, Target},
    cores::Cores,
    costs::{self, Cost},
    echo::Echo,
    figures::{Figures, median},
    functions::{self, Language},
    server::Server,
};
use std::{fs, path::Path, process::Command, time::Duration};

const SOURCE: &str = include_str!("../functions/calls.py");
/// Functions as `functions` deploys them, and what each is sent, as the source has it.
const KINDS: [(&str, &str); 2] = [("hello-python", "hello"), ("work-python", "work")];
/// The goal of hello from outside, p50 over the echo, microseconds.
const GOAL_US: f64 = 150.0;

/// Measures and prints.
pub async fn run(bin: &Path, smoke: bool) -> Result<(), Failure> {
    for cores in Cores::both()? {
        laid_out(bin, smoke, &cores).await?;
        cores.release()?;
    }
    println!("goal: hello from outside ≤ {GOAL_US} µs over the echo");
    Ok(())
}

async fn laid_out(bin: &Path, smoke: bool, cores: &Cores) -> Result<(), Failure> {
    let (rounds, calls) = if smoke { (1, 20) } else { (5, 2000) };
    let server = cores.beside(|| Server::start(bin, ""))?;
    let echo = cores.beside(Echo::start)?;
    functions::deploy(&server, Language::Python)?;
    functions::deploy_work(&server, Language::Python)?;
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
    let bare = format!("http://{}", echo.target.host);
    let url = server.url();
    cores.on_platform(|| ())?;

    println!(
        "signed Invoke in Python, one connection, {}",
        cores.describe()
    );
    println!("{rounds} rounds of {calls} calls each; work: 2 KB in, 20 KB out, 3 lines\n");
    println!("{}", costs::head("µs", "echo"));
    let mut over = Vec::new();
    for (function, kind) in KINDS {
        let mut costs = ["echo", "from outside", "from a function"]
            .map(|way| Cost::new(&format!("{kind}, {way}")));
        for _ in 0..rounds {
            for (way, cost) in costs.iter_mut().enumerate() {
                let payer = if way == 0 {
                    echo.payer()
                } else {
                    server.payer()
                };
                let before = payer.spent();
                let figures = match way {
                    0 => from_outside(&server, &program, &bare, ["", kind], calls)?,
                    1 => from_outside(&server, &program, &url, [function, kind], calls)?,
                    _ => from_inside(&target, [function, kind], calls).await?,
                };
                cost.add(&figures, payer.spent().since(before));
            }
        }
        let [bare, outside, inside] = &costs;
        for cost in &costs {
            println!("{}", cost.row(bare, 1.0));
        }
        for cost in [outside, inside] {
            over.push((cost.name().to_owned(), median(&cost.over_us(bare))));
        }
    }
    println!("\np50 over the echo, median of rounds");
    for (name, us) in over {
        println!("{name:<27} {us:>9.1} µs");
    }
    println!();
    server.stop()
}

/// Of an echo where the function has no name.
fn from_outside(
    server: &Server,
    program: &Path,
    url: &str,
    [function, kind]: [&str; 2],
    calls: usize,
) -> Result<Figures, Failure> {
    let output = Command::new("python3")
        .arg(program)
        .args([url, function, kind, &calls.to_string()])
        .envs(server.environment())
        .env_remove("AWS_SESSION_TOKEN")
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    figures_of(&output.stdout)
}

async fn from_inside(
    target: &Target,
    [function, kind]: [&str; 2],
    calls: usize,
) -> Result<Figures, Failure> {
    let target = Target {
        path: format!("/?function={function}&kind={kind}&calls={calls}"),
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
