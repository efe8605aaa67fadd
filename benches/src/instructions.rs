//! Instructions and system calls of the platform per warm invocation, and whether they grow.
//!
//! The server runs on one core, so one thread of it reads the request, hands the event over,
//! settles and answers; that thread is stepped through a handful of calls. The kernel's share is
//! not in the instructions: system calls stand beside them, by name. The least of each row is compared
//! with what was kept (`benches/instructions.txt`): one that has grown by more than a quarter is a
//! failure, in a smoke too; such a row is stepped some more before, since what else the thread does
//! meanwhile is in some calls and not in others. A smoke says what it missed where this process may not
//! trace a server, where the processor is another one, and of rows that a busy machine has no time for.
//! Where many cost more than the goal lets them it says so, and fails nothing. No echo stands beside it:
//! what is counted is no time, and the counts that were kept are what it is held against.

use crate::{
    Failure,
    client::Target,
    cores::Cores,
    functions::{self, ANSWER, Language},
    kept,
    load::{Lines, Until},
    registry::Registry,
    requests,
    server::Server,
    steps::{self, Counted, Stepper},
};
use std::{
    fmt::Write as _,
    fs,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

/// An instance that is frozen or goes would be counted with the calls; one call, step by step, takes
/// some seconds. Those that idle are frozen before the calls are counted: a thousand that wait awake
/// are looked at by the server as often as the tracer can follow.
const CONFIG: &str = "[instances]\nidle_timeout = \"3600s\"\nfreeze_after = \"12s\"\n";
/// After so long all that idle are.
const FROZEN_AFTER: Duration = Duration::from_secs(15);
/// The few of a smoke may wait awake: nobody sees them.
const FROZEN_AFTER_SMOKE: Duration = Duration::from_millis(500);
/// A smoke begins no further row after so long.
const SMOKE_MAX: Duration = Duration::from_secs(20);
/// How many times as often a row is stepped that has grown.
const AGAIN: usize = 3;
/// What many may cost, of what few do.
const GOAL: f64 = 1.10;

/// Measures and prints.
pub async fn run(
    bin: &Path,
    smoke: bool,
    instances: usize,
    addresses: Option<&Path>,
    keep: Option<&Path>,
) -> Result<(), Failure> {
    let (calls, sizes, instances) = if smoke {
        (3, [2, 4], 2)
    } else {
        (5, [10, 10_000], instances)
    };
    let cores = Cores::split()?;
    let server = cores.beside(|| Server::start(bin, CONFIG))?;
    if smoke && let Err(failure) = core_0(&server).and_then(Stepper::stop) {
        println!("missed: instructions of a call: {failure}");
        return server.stop();
    }
    let (mut rows, mut least) = (Vec::new(), Vec::new());
    let python = functions::deploy(&server, Language::Python)?;
    let rust = functions::deploy(&server, Language::Rust)?;
    let url = |target: &Target| requests::post(target, ANSWER.as_bytes());
    let invoke = || server.caller().invoke("hello-python", ANSWER.as_bytes());
    // The tracer takes turns with the thread that it steps.
    cores.on_platform_too()?;
    println!(
        "instructions and system calls of the server's thread per warm call, median of {calls}\n"
    );
    println!(
        "{:<44} {:>13} {:>13} {:>13}",
        "", "instructions", "least", "system calls"
    );
    let begun = Instant::now();
    let mut measure = |name: String, request: Arc<[u8]>| -> Result<Counted, Failure> {
        if smoke && begun.elapsed() > SMOKE_MAX {
            println!("missed: {name}: a smoke ends after {SMOKE_MAX:?}");
            return Ok(Counted::default());
        }
        let mut counted = stepped(&server, &request, calls)?;
        if keep.is_none() && kept::has_grown(&name, &counted[0])? {
            counted.extend(stepped(&server, &request, AGAIN * calls)?);
            counted.sort_by_key(|counted| counted.instructions);
        }
        let median = counted[counted.len() / 2].clone();
        println!(
            "{name:<44} {:>13} {:>13} {:>13}",
            median.instructions,
            counted[0].instructions,
            median.system_calls()
        );
        if let Some(folder) = addresses {
            write_addresses(&server, folder, &name, &median)?;
        }
        least.push((name.clone(), counted[0].clone()));
        rows.push((name, median.clone()));
        Ok(median)
    };
    measure("rust, URL".into(), url(&rust))?;
    measure("python, URL".into(), url(&python))?;
    let work = functions::deploy_work(&server, Language::Python)?;
    measure(
        "python, URL, 2 KB in, 20 KB out, 3 lines".into(),
        requests::post(&work, requests::two_kib()),
    )?;
    measure("python, signed Invoke".into(), invoke()?)?;
    let mut grown = Vec::new();
    let mut registry = Registry::new(&server, &server.runtime_of("hello-python")?)?;
    for size in sizes {
        registry.grow_to(&server, size)?;
        registry.until_active(&server)?;
        server.settled().await?;
        grown.push(measure(
            format!("python, signed Invoke, {size} functions"),
            invoke()?,
        )?);
    }
    let slow = functions::deploy_slow(&server)?;
    let wide = |seconds: &str| requests::post(&slow, format!(r#"{{"s":{seconds}}}"#).as_bytes());
    Lines::open(slow.address, 1)?.run(Until::Calls(1), |_| wide("0"), |_| true)?;
    let one = measure("python, URL, 1 instance".into(), wide("0"))?;
    let seconds = if smoke { "0.5" } else { "30" };
    let frozen = if smoke {
        FROZEN_AFTER_SMOKE
    } else {
        FROZEN_AFTER
    };
    let live = widen(&server, slow.address, instances, &wide(seconds), frozen).await?;
    let many = measure(format!("python, URL, {live} instances"), wide("0"))?;
    println!("\nsystem calls of each");
    for (name, counted) in &rows {
        let named: Vec<String> = counted
            .calls
            .iter()
            .map(|(number, count)| format!("{}×{count}", call_name(*number)))
            .collect();
        println!("{name:<44} {}", named.join(" "));
    }
    println!("\nmany against few (goal ≤ {GOAL:.2})          instructions  system calls");
    let [few, most] = sizes;
    if let [first, last] = &grown[..] {
        print_growth(&format!("{most} functions against {few}"), first, last);
    }
    print_growth(&format!("{live} instances against one"), &one, &many);
    cores.release()?;
    server.stop()?;
    match keep {
        Some(file) => kept::keep(file, &least),
        None => kept::compare(&least),
    }
}

fn print_growth(name: &str, few: &Counted, many: &Counted) {
    if few.instructions == 0 || many.instructions == 0 {
        return;
    }
    let ratio = |of: fn(&Counted) -> u64| of(many) as f64 / of(few) as f64;
    let instructions = ratio(|counted| counted.instructions);
    println!(
        "  {name:<40} {instructions:>11.3} {:>13.3}",
        ratio(Counted::system_calls)
    );
    if instructions > GOAL {
        println!("missed: the goal: {name}: {instructions:.3} of the instructions");
    }
}

/// Calls until `wanted` instances of one function live, at once as far as the machine starts them;
/// how many do.
async fn widen(
    server: &Server,
    address: SocketAddr,
    wanted: usize,
    call: &Arc<[u8]>,
    frozen_after: Duration,
) -> Result<usize, Failure> {
    // What is refused for want of time is no failure here: fewer instances are said to be fewer.
    let mut lines = Lines::open(address, wanted)?;
    lines.run(Until::Calls(wanted), |_| call.clone(), |_| true)?;
    drop(lines);
    tokio::time::sleep(frozen_after).await;
    server.settled().await?;
    let live = server.metrics().await?.get("freehold_instances").copied();
    Ok(live.unwrap_or_default() as usize)
}

/// Writes how often each address was executed, for `addr2line`, and what was mapped where.
fn write_addresses(
    server: &Server,
    folder: &Path,
    name: &str,
    counted: &Counted,
) -> Result<(), Failure> {
    fs::create_dir_all(folder)?;
    let maps = fs::read(format!("/proc/{}/maps", server.pid()))?;
    fs::write(folder.join("maps"), maps)?;
    let mut text = String::new();
    for (address, times) in &counted.addresses {
        writeln!(text, "{address:x} {times}")?;
    }
    let file = name.replace([' ', ','], "_");
    Ok(fs::write(folder.join(file), text)?)
}

/// The thread of the server that has the first core.
fn core_0(server: &Server) -> Result<i32, Failure> {
    if cfg!(not(target_arch = "x86_64")) {
        return Err("instructions are counted on x86_64 alone".into());
    }
    let thread = steps::thread_of(server.pid(), "core-0");
    Ok(thread.ok_or("the server has no thread core-0")?)
}

/// Warms up, then steps the server's thread through `calls` calls; sorted by instructions.
fn stepped(server: &Server, request: &[u8], calls: usize) -> Result<Vec<Counted>, Failure> {
    let mut stream = TcpStream::connect(server.address())?;
    stream.set_nodelay(true)?;
    let mut got = vec![0; 64 << 10];
    for _ in 0..200 {
        stream.write_all(request)?;
        read_answer(&mut stream, &mut got)?;
    }
    let mut all = Vec::new();
    let stepper = Stepper::stop(core_0(server)?)?;
    for _ in 0..calls {
        stream.write_all(request)?;
        stream.set_nonblocking(true)?;
        let mut read = 0;
        all.push(stepper.count(|| match stream.read(&mut got[read..]) {
            Ok(0) => Err("the connection was closed".into()),
            Ok(count) => {
                read += count;
                Ok(is_whole(&got[..read]))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(is_whole(&got[..read])),
            Err(error) => Err(error.into()),
        })?);
        stream.set_nonblocking(false)?;
        if !got.starts_with(b"HTTP/1.1 200") {
            let text = String::from_utf8_lossy(&got[..read.min(200)]).into_owned();
            return Err(text.into());
        }
    }
    all.sort_by_key(|counted| counted.instructions);
    Ok(all)
}

fn read_answer(stream: &mut TcpStream, got: &mut [u8]) -> Result<(), Failure> {
    let mut read = 0;
    while !is_whole(&got[..read]) {
        match stream.read(&mut got[read..])? {
            0 => return Err("the connection was closed".into()),
            count => read += count,
        }
    }
    Ok(())
}

fn is_whole(got: &[u8]) -> bool {
    matches!(crate::load::whole(got), Ok(Some(_)))
}

/// Names of the calls that a server makes, on x86_64.
fn call_name(number: u64) -> String {
    let known = match number {
        0 => "read",
        1 => "write",
        3 => "close",
        17 => "pread",
        20 => "writev",
        24 => "sched_yield",
        45 => "recvfrom",
        46 => "sendmsg",
        47 => "recvmsg",
        202 => "futex",
        232 => "epoll_wait",
        281 => "epoll_pwait",
        318 => "getrandom",
        _ => return number.to_string(),
    };
    known.to_owned()
}
