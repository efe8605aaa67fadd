//! Networks: what a policy's check and a name cost each connection of a function.
//!
//! A function under a named policy connects to a listener of ours on an address of the machine that the
//! policy allows, and asks for names that a resolver of ours answers: one that its policy lists, again
//! and again, and names that nobody asked for before. The same source does the same as a program
//! outside, which asks the resolver directly; they take turns in rounds. Processor time of the platform
//! is that of its processes, under "function" stands the source's own, on either side; what the kernel
//! does for a packet is mostly in that of whoever sends it. Everything may run on any core: each step
//! waits for another process, so one core for the platform would add switches and no work.
//!
//! All of it is in a network namespace and under mounts of its own, which end with it: this program
//! starts itself anew by `unshare` (util-linux), and sets up two addresses by `ip` (iproute2). It needs
//! root and a kernel with nf_tables; `--smoke` says what it missed where it has neither.

use crate::{
    Failure,
    client::{Connection, Target},
    costs::{self, Cost},
    figures::{Figures, median},
    processes::Spent,
    server::Server,
};
use serde::Deserialize;
use std::{
    fs,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::Command,
    time::Duration,
};

/// Of each, over the same outside, p50, microseconds.
const GOAL_US: f64 = 100.0;
const SOURCE: &str = include_str!("../functions/networks.py");
/// Where the listener is, beside the server on one machine.
const DATABASE: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 5);
/// Where the resolver is.
const RESOLVER: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 53);
/// What names stand for that nobody asked for before: nothing near, and nobody connects.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(1, 1, 1, 1);
/// The name that the policy lists.
const LISTED: &str = "db.bench.example";
/// Below it all names are known.
const ZONE: &str = "new.bench.example";
/// How long answers are good, seconds.
const LIVES_S: u32 = 60;
/// Questions are smaller.
const QUESTION_MAX: usize = 512;
/// Until the links of the first sandboxes are there.
const LINKS_LIMIT: Duration = Duration::from_secs(5);

/// Measures and prints.
pub async fn run(bin: &Path, smoke: bool, inside: bool) -> Result<(), Failure> {
    if let Some(reason) = impossible()? {
        return missed(smoke, &reason);
    }
    if !inside {
        return Err(anew()?);
    }
    let (rounds, calls) = if smoke { (1, 20) } else { (7, 2000) };
    let folder = tempfile::Builder::new()
        .prefix("freehold-bench-networks-")
        .tempdir()?;
    furnish(folder.path())?;
    let port = listen()?;
    resolve()?;
    let config = format!(
        "[network]\nnew_connections = 1000000\n[network.policies.bench]\nallow = [\"internet\", \"{DATABASE}:{port}\", \"{LISTED}:{port}\"]\n"
    );
    let server = Server::start(bin, &config)?;
    if !has_links_soon().await? {
        server.stop()?;
        return missed(smoke, "the server made no links: no nf_tables?");
    }
    let sources = server.sources().join("networks");
    fs::create_dir_all(&sources)?;
    let program = sources.join("app.py");
    fs::write(&program, SOURCE)?;
    let target = server.deploy(
        &sources,
        &[
            "--memory",
            "1769",
            "--timeout",
            "300",
            "--handler",
            "app.handler",
            "--network",
            "bench",
        ],
    )?;
    println!("connections and names of a function, {rounds} rounds of {calls} each, any core\n");
    println!("{}", costs::head("µs", "outside"));
    let mut over = Vec::new();
    for (what, host) in [
        ("connect", DATABASE.to_string()),
        ("name", LISTED.to_owned()),
        ("names", ZONE.to_owned()),
    ] {
        let mut costs = ["outside", "from a function"].map(|way| {
            let what = if what == "names" { "new name" } else { what };
            Cost::new(&format!("{what}, {way}"))
        });
        // The first round starts the instance and opens what the name stands for.
        for round in 0..=rounds {
            let ask = Ask {
                what,
                host: &host,
                port,
                calls: if round == 0 { calls / 10 } else { calls },
                first: round * calls,
            };
            let [outside, function] = [
                Said {
                    spent: Spent::default(),
                    told: ask.told_outside(&program)?,
                },
                ask.said_inside(&server, &target).await?,
            ];
            if round > 0 {
                costs[0].add(&outside.figures(), outside.spent());
                costs[1].add(&function.figures(), function.spent());
            }
        }
        let [outside, function] = &costs;
        for cost in &costs {
            println!("{}", cost.row(outside, 1.0));
        }
        over.push((what, median(&function.over_us(outside))));
    }
    println!("\np50 over the same outside, median of rounds (goal ≤ {GOAL_US} µs each)");
    for (what, us) in over {
        let what = match what {
            "connect" => "policy's check, with the way out of the sandbox",
            "name" => "a name that was asked for before",
            _ => "a name that was not",
        };
        println!("  {what:<50} {us:>9.1} µs");
    }
    server.stop()
}

/// Why it cannot be done here.
fn impossible() -> Result<Option<String>, Failure> {
    if !rustix::process::geteuid().is_root() {
        return Ok(Some("it needs root".to_owned()));
    }
    for program in ["unshare", "ip", "mount"] {
        let found = Command::new(program).arg("--version").output();
        // `ip` knows no such option; that it was started is enough.
        if let Err(error) = found {
            return Ok(Some(format!("{program}: {error}")));
        }
    }
    let tried = Command::new("unshare")
        .args(["--net", "--mount", "ip", "link", "set", "lo", "up"])
        .output()?;
    Ok((!tried.status.success()).then(|| String::from_utf8_lossy(&tried.stderr).into_owned()))
}

fn missed(smoke: bool, reason: &str) -> Result<(), Failure> {
    if smoke {
        println!("missed: connections and names of functions: {reason}");
        return Ok(());
    }
    Err(format!("no network to measure: {reason}").into())
}

/// This program again, with network and mounts of its own; comes back only if it could not be started.
fn anew() -> Result<Failure, Failure> {
    let mut command = Command::new("unshare");
    command
        .args(["--net", "--mount"])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .arg("--inside");
    Ok(command.exec().into())
}

/// Makes the namespace's addresses, and its resolver the one that everybody asks.
fn furnish(folder: &Path) -> Result<(), Failure> {
    did(Command::new("ip").args(["link", "set", "lo", "up"]))?;
    for address in [DATABASE, RESOLVER] {
        did(Command::new("ip").args(["address", "add", &format!("{address}/32"), "dev", "lo"]))?;
    }
    let file = folder.join("resolv.conf");
    fs::write(&file, format!("nameserver {RESOLVER}\n"))?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
    did(Command::new("mount")
        .arg("--bind")
        .arg(&file)
        .arg("/etc/resolv.conf"))
}

fn did(command: &mut Command) -> Result<(), Failure> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
}

/// Takes connections and hangs up; the port.
fn listen() -> Result<u16, Failure> {
    let listener = TcpListener::bind((DATABASE, 0))?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            drop(stream);
        }
    });
    Ok(port)
}

/// Answers every question of a name.
fn resolve() -> Result<(), Failure> {
    let socket = UdpSocket::bind((RESOLVER, 53))?;
    std::thread::spawn(move || {
        let mut packet = [0; QUESTION_MAX];
        while let Ok((length, peer)) = socket.recv_from(&mut packet) {
            if let Some(answer) = answer(&packet[..length]) {
                let _ = socket.send_to(&answer, peer);
            }
        }
    });
    Ok(())
}

/// An answer with one address, to a question of IPv4, and with none to any other.
fn answer(question: &[u8]) -> Option<Vec<u8>> {
    let (mut at, mut name) = (12, String::new());
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        let label = std::str::from_utf8(question.get(at..at + length)?).ok()?;
        name = format!("{name}{}{label}", if name.is_empty() { "" } else { "." });
        at += length;
    }
    let kind = question.get(at..at + 2)?;
    let count = u8::from(kind == [0, 1]);
    let address = match name.eq_ignore_ascii_case(LISTED) {
        true => DATABASE,
        false => ELSEWHERE,
    };
    let mut answer = question.get(..2)?.to_vec();
    // A response, recursion wanted and available; one question, so many answers.
    answer.extend([0x81, 0x80, 0, 1, 0, count, 0, 0, 0, 0]);
    answer.extend(question.get(12..at + 4)?);
    if count == 1 {
        // The name of the question, an address of the internet, for so long, of four bytes.
        answer.extend([0xc0, 12, 0, 1, 0, 1]);
        answer.extend(LIVES_S.to_be_bytes());
        answer.extend([0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}

/// Whether this network namespace has a link of a sandbox.
pub fn has_links() -> Result<bool, Failure> {
    let devices = fs::read_to_string("/proc/thread-self/net/dev")?;
    Ok(devices.lines().any(|line| line.trim().starts_with("fh")))
}

async fn has_links_soon() -> Result<bool, Failure> {
    let until = tokio::time::Instant::now() + LINKS_LIMIT;
    while !has_links()? {
        if tokio::time::Instant::now() > until {
            return Ok(false);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(true)
}

/// What the source is asked.
struct Ask<'a> {
    what: &'a str,
    host: &'a str,
    port: u16,
    calls: usize,
    /// The number of the first new name.
    first: usize,
}

/// What it says.
#[derive(Deserialize)]
struct Told {
    /// Of each call, nanoseconds.
    times: Vec<u64>,
    /// Its own processor time, nanoseconds.
    spent: u64,
}

/// That, and what the platform spent in the meantime.
struct Said {
    told: Told,
    spent: Spent,
}

impl Said {
    fn figures(&self) -> Figures {
        let mut figures = Figures::default();
        for ns in &self.told.times {
            figures.add(Duration::from_nanos(*ns));
        }
        figures
    }

    fn spent(&self) -> Spent {
        Spent {
            platform_ns: self.spent.platform_ns,
            functions_ns: self.told.spent,
        }
    }
}

impl Ask<'_> {
    fn told_outside(&self, program: &Path) -> Result<Told, Failure> {
        let numbers =
            [usize::from(self.port), self.calls, self.first].map(|number| number.to_string());
        let output = Command::new("python3")
            .arg(program)
            .args([self.what, self.host])
            .args(numbers)
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    async fn said_inside(&self, server: &Server, target: &Target) -> Result<Said, Failure> {
        let Self {
            what,
            host,
            port,
            calls,
            first,
        } = self;
        let target = Target {
            path: format!("/?what={what}&host={host}&port={port}&calls={calls}&first={first}"),
            ..target.clone()
        };
        let before = server.payer().spent();
        let answer = Connection::open(&target).await?.get().await?;
        let spent = server.payer().spent().since(before);
        if answer.status != 200 {
            return Err(format!("{}: {:?}; {}", answer.status, answer.body, server.log()).into());
        }
        let told = serde_json::from_slice(&answer.body)?;
        Ok(Said { told, spent })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_answered_with_an_address_and_what_is_cut_with_nothing() {
        let question = |name: &str, kind: u8| {
            let mut packet = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            for label in name.split('.') {
                packet.push(label.len() as u8);
                packet.extend(label.bytes());
            }
            packet.extend([0, 0, kind, 0, 1]);
            packet
        };
        let asked = question(LISTED, 1);
        let said = answer(&asked).unwrap();
        assert_eq!(said[..2], [7, 9]);
        assert_eq!(said[6..8], [0, 1]);
        assert!(said.ends_with(&DATABASE.octets()));
        let other = answer(&question("n1.new.bench.example", 1)).unwrap();
        assert!(other.ends_with(&ELSEWHERE.octets()));
        let six = answer(&question(LISTED, 28)).unwrap();
        assert_eq!((six[7], six.len()), (0, asked.len()));
        for length in 0..asked.len() {
            assert!(answer(&asked[..length]).is_none(), "{length} bytes");
        }
    }
}
