//! Front: what others notice of twenty thousand clients that are slow, and what a hundred thousand
//! do to a server that say nothing at all.
//!
//! Half of the slow ones send a head byte by byte, half of them a body, one byte each in ten
//! seconds; whoever is cut off comes again at once, so that there are always as many. The idle ones
//! are opened and left. Beside both, one caller calls a handler in Python at an even pace, with the
//! processor first: it stands for somebody on another machine. All of it is in clear: who does not
//! even shake hands is cut off sooner.
//!
//! What it asserts, by its exit code: every call is answered, everybody who is slow or idle is cut
//! off in the end, and then the server's descriptors are as many as before.
//!
//! Everything may run on any core, where the caller goes first on each, and no echo stands beside it:
//! what is compared is one server with itself, alone and beside them.

use crate::{
    Failure,
    client::Target,
    figures::{self, Figures},
    functions::Handler,
    load::{Lines, Until},
    processes, requests,
    server::Server,
};
use rustix::{
    io::Errno,
    net::{self, AddressFamily, SocketFlags, SocketType},
    process::{Resource, Rlimit, getrlimit, setpriority_process, setrlimit},
};
use std::{
    collections::VecDeque,
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// p99 beside slow clients against p99 alone.
const GOAL: f64 = 1.2;
/// Between two calls of the caller.
const PAUSE: Duration = Duration::from_millis(5);
/// Between two bytes of a slow client.
const BYTE_EVERY: Duration = Duration::from_secs(10);
/// Connections from one address of loopback, which has some 28,000 ports.
const FROM_EACH: usize = 20_000;
/// A server gives half of its descriptors to connections, and becomes short of patience once three
/// quarters of those are taken.
const DESCRIPTORS_EACH: f64 = 8.0 / 3.0;
/// What server and bench have open beside.
const DESCRIPTORS_BESIDE: u64 = 4096;
/// Idle connections are cut after 75 s.
const CUT_LIMIT: Duration = Duration::from_secs(110);
/// Descriptors come and go with segments and parked sandboxes.
const DESCRIPTORS_SLACK: usize = 64;

/// How much of it.
struct Sizes {
    slow: usize,
    idle: usize,
    /// Calls alone, twice, and beside each.
    calls: usize,
    /// Whether the server is waited for to cut off who is idle.
    is_waited_for: bool,
}

/// Measures and prints.
pub async fn run(bin: &Path, smoke: bool, handler: Handler) -> Result<(), Failure> {
    let mut sizes = match smoke {
        true => Sizes {
            slow: 200,
            idle: 500,
            calls: 50,
            is_waited_for: false,
        },
        false => Sizes {
            slow: 20_000,
            idle: 100_000,
            calls: 6_000,
            is_waited_for: true,
        },
    };
    let room = descriptors_for(sizes.idle)?;
    if room < sizes.idle {
        println!("{room} connections at the most: this machine gives no more descriptors");
        (sizes.slow, sizes.idle) = (sizes.slow.min(room), room);
    }
    let server = Server::start(bin, "")?;
    let target = handler.deploy_as(&server, &["called"])?;
    let target = target.into_iter().next().ok_or("nothing was deployed")?;
    server.settled().await?;
    let caller = Caller::of(&target, handler);
    caller.call(sizes.calls / 10 + 1)?;
    if setpriority_process(None, -20).is_err() {
        println!("the caller has no priority, which needs root: its own waits count too");
    }
    println!("{}", figures::head("ms"));

    let mut alone = caller.call(sizes.calls)?;
    let clients = Slow::begin(&target, sizes.slow)?;
    let beside = caller.call(sizes.calls)?;
    let (there, again) = clients.end()?;
    server.settled().await?;
    alone.extend(&caller.call(sizes.calls)?);
    println!("{}", alone.row("alone", 1000.0));
    println!("{}", beside.row(&format!("beside {there} slow"), 1000.0));

    let before = Held::of(&server);
    let opened = Instant::now();
    let idle: Vec<TcpStream> = (0..sizes.idle)
        .map(|at| open(target.address, at))
        .collect::<Result<_, _>>()?;
    let took = opened.elapsed();
    let held = Held::of(&server);
    let beside_idle = caller.call(sizes.calls)?;
    println!(
        "{}",
        beside_idle.row(&format!("beside {} idle", idle.len()), 1000.0)
    );
    let cut = match sizes.is_waited_for {
        true => Some(cut_off(&idle, opened).await?),
        false => None,
    };
    drop(idle);
    let after = back(&server, before).await;
    let last = caller.call(sizes.calls / 10 + 1)?;
    println!("{}", last.row("afterwards", 1000.0));

    let ratio = |one: &Figures| one.percentile(99) / alone.percentile(99);
    println!(
        "\n  p99 beside the slow ones {:>6.2}x   (goal ≤ {GOAL}x; p50 {:.2}x); {again} were cut off and came again",
        ratio(&beside),
        beside.percentile(50) / alone.percentile(50)
    );
    println!("  p99 beside the idle ones {:>6.2}x", ratio(&beside_idle));
    println!(
        "  {} idle connections were open after {:.1} s: {:.1} KiB of the server each",
        sizes.idle,
        took.as_secs_f64(),
        held.resident_kib.saturating_sub(before.resident_kib) as f64 / sizes.idle as f64
    );
    if let Some(cut) = cut {
        println!(
            "  the last of them was cut off after {:.0} s",
            cut.as_secs_f64()
        );
    }
    println!(
        "  resident before, with them, after {:>8} {:>8} {:>8} KiB",
        before.resident_kib, held.resident_kib, after.resident_kib
    );
    println!(
        "  descriptors                       {:>8} {:>8} {:>8}",
        before.descriptors, held.descriptors, after.descriptors
    );
    server.stop()?;
    if after.descriptors > before.descriptors + DESCRIPTORS_SLACK {
        return Err(format!(
            "{} descriptors were open before and {} are afterwards",
            before.descriptors, after.descriptors
        )
        .into());
    }
    Ok(())
}

/// Raises what this process, and the server that it starts, may open; says how many idle
/// connections that is enough for.
fn descriptors_for(idle: usize) -> Result<usize, Failure> {
    let wanted = (idle as f64 * DESCRIPTORS_EACH) as u64 + DESCRIPTORS_BESIDE;
    let now = getrlimit(Resource::Nofile);
    let most = now.maximum.unwrap_or(wanted);
    let of = |both: u64| Rlimit {
        current: Some(both),
        maximum: Some(both),
    };
    let got = match most >= wanted {
        true => most,
        // Root may have more than it was given.
        false if setrlimit(Resource::Nofile, of(wanted)).is_ok() => wanted,
        false => most,
    };
    setrlimit(Resource::Nofile, of(got))?;
    let fits = got.saturating_sub(DESCRIPTORS_BESIDE) as f64 / DESCRIPTORS_EACH;
    Ok((fits as usize).min(idle))
}

/// A connection from the address whose turn it is, so that no address runs out of ports.
fn open(to: SocketAddr, at: usize) -> Result<TcpStream, Failure> {
    let nth = u8::try_from(2 + at / FROM_EACH)?;
    let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, nth), 0));
    let socket = net::socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    net::bind(&socket, &from)?;
    loop {
        match net::connect(&socket, &to) {
            Ok(()) => return Ok(TcpStream::from(socket)),
            Err(Errno::INTR) => {}
            Err(error) => return Err(format!("connection {at}: {error}").into()),
        }
    }
}

/// Somebody who calls at an even pace.
struct Caller {
    address: SocketAddr,
    call: Arc<[u8]>,
    handler: Handler,
}

impl Caller {
    fn of(target: &Target, handler: Handler) -> Self {
        Self {
            address: target.address,
            call: requests::post(target, handler.event()),
            handler,
        }
    }

    /// Errors: an answer that is not the handler's.
    fn call(&self, calls: usize) -> Result<Figures, Failure> {
        let mut line = Lines::open(self.address, 1)?;
        let mut figures = Figures::default();
        for _ in 0..calls {
            let call = self.call.clone();
            let came = line.run(Until::Calls(1), |_| call.clone(), self.handler.is_answer())?;
            figures.extend(&came.all_good()?.figures);
            std::thread::sleep(PAUSE);
        }
        Ok(figures)
    }
}

/// Clients that are slow, on a thread of their own.
struct Slow {
    goes_on: Arc<AtomicBool>,
    again: Arc<AtomicUsize>,
    thread: JoinHandle<Result<usize, String>>,
}

impl Slow {
    /// Returns once all of them are there.
    fn begin(target: &Target, count: usize) -> Result<Self, Failure> {
        let (goes_on, again) = (
            Arc::new(AtomicBool::new(true)),
            Arc::new(AtomicUsize::new(0)),
        );
        let (seen, counted, target) = (goes_on.clone(), again.clone(), target.clone());
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            // One thread among others: only the caller goes first.
            let _ = setpriority_process(None, 0);
            trickle(&target, count, &seen, &counted, &ready).map_err(|error| error.to_string())
        });
        // A thread that ended says why.
        match is_ready.recv() {
            Ok(()) => Ok(Self {
                goes_on,
                again,
                thread,
            }),
            Err(_) => Err(match thread.join() {
                Ok(Err(why)) => why.into(),
                _ => "the slow clients did not begin".into(),
            }),
        }
    }

    /// How many there were to the end, and how often one was cut off.
    fn end(self) -> Result<(usize, usize), Failure> {
        self.goes_on.store(false, Relaxed);
        let there = self.thread.join();
        let there = there.map_err(|_| "the slow clients' thread panicked")??;
        Ok((there, self.again.load(Relaxed)))
    }
}

/// One of them, and when its next byte is due.
struct Client {
    at: usize,
    stream: TcpStream,
    sent: usize,
    due: Instant,
}

/// Keeps `count` clients slow for as long as `goes_on`, and returns how many there are then.
fn trickle(
    target: &Target,
    count: usize,
    goes_on: &AtomicBool,
    again: &AtomicUsize,
    ready: &std::sync::mpsc::Sender<()>,
) -> Result<usize, Failure> {
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 1000\r\nX-Slow: ",
        target.host
    );
    let body = format!(
        "POST / HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n",
        target.host
    );
    let begin = |at: usize, due: Instant| -> Result<Client, Failure> {
        let mut stream = open(target.address, at)?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let first = [&head, &body][at % 2];
        stream.write_all(first.as_bytes())?;
        Ok(Client {
            at,
            stream,
            sent: 0,
            due,
        })
    };
    let mut clients = VecDeque::with_capacity(count);
    for at in 0..count {
        clients.push_back(begin(
            at,
            Instant::now() + BYTE_EVERY * at as u32 / count as u32,
        )?);
    }
    let _ = ready.send(());
    let mut rest = [0; 4096];
    while goes_on.load(Relaxed) {
        let Some(mut client) = clients.pop_front() else {
            break;
        };
        let early = client.due.saturating_duration_since(Instant::now());
        if !early.is_zero() {
            std::thread::sleep(early);
        }
        client.due += BYTE_EVERY;
        client.sent += 1;
        let is_cut = match client.stream.read(&mut rest) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                client.stream.write_all(b" ").is_err()
            }
            // An answer, the end, or a reset.
            _ => true,
        };
        if is_cut {
            again.fetch_add(1, Relaxed);
            client = begin(client.at, client.due)?;
        }
        clients.push_back(client);
    }
    Ok(clients.len())
}

/// Waits until each connection has been closed by the server; how long that took since `opened`.
async fn cut_off(idle: &[TcpStream], opened: Instant) -> Result<Duration, Failure> {
    for (at, stream) in idle.iter().enumerate() {
        stream.set_nonblocking(true)?;
        let mut stream = stream;
        loop {
            match stream.read(&mut [0; 512]) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if opened.elapsed() > CUT_LIMIT {
                        let left = idle.len() - at;
                        return Err(
                            format!("up to {left} are not cut off after {CUT_LIMIT:?}").into()
                        );
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(_) => break,
            }
        }
    }
    Ok(opened.elapsed())
}

/// What the server holds.
#[derive(Clone, Copy)]
struct Held {
    descriptors: usize,
    resident_kib: u64,
}

impl Held {
    fn of(server: &Server) -> Self {
        Self {
            descriptors: processes::descriptors(server.pid()),
            resident_kib: processes::kib(server.pid(), "status", "VmRSS"),
        }
    }
}

/// What it holds once its descriptors are as many as `before`, or will not be.
async fn back(server: &Server, before: Held) -> Held {
    let begun = Instant::now();
    loop {
        let now = Held::of(server);
        let is_back = now.descriptors <= before.descriptors + DESCRIPTORS_SLACK;
        if is_back || begun.elapsed() > Duration::from_secs(20) {
            return now;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
