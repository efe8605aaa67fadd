//! Kills at each step: a step is a system call of the restorer's, or of the dumper's.
//!
//! Nobody but its own tests traces a restorer or a dumper, so each is led from call to call and killed before
//! one, or somebody else is. An instance that is dumped has a tracer already, its dumper: it is killed at that
//! one's steps. All steps with `KILL_STEPS=all`, one with its number; else the first and last, and between
//! them every so many.

use super::{
    attacks::{of_root, pids_2},
    *,
};
use crate::{
    scenarios::victims::Rest,
    tracer::{Led, Parent},
};

/// Which of `all` steps are tried, from 1: of the first and of the last `ends`, and about as many as `between`
/// between them; fewer where each takes seconds.
pub fn tried(all: usize, ends: usize, between: usize) -> Vec<usize> {
    match std::env::var("KILL_STEPS").as_deref() {
        Ok("all") => return (1..=all).collect(),
        Ok(one) => return vec![one.parse().expect("all, or the number of a step")],
        Err(_) => {}
    }
    let between = if starts::is_emulated() { 4 } else { between };
    let every = all.div_ceil(between).max(1);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let from = now.expect("a time").subsec_micros() as usize % every;
    println!("       of {all} steps the first and last {ends}, and every {every}th from {from} on");
    let is_tried = |step: &usize| *step <= ends || *step + ends > all || step % every == from;
    (1..=all).filter(is_tried).collect()
}

/// Something of everything that an image has: files that are open, mapped ones, handlers, memory of each kind.
const OF_EVERYTHING: &str = "
import mmap, signal, json
held = bytearray(os.urandom(1 << 16)) * 8
signal.signal(signal.SIGUSR1, lambda *a: None)
low = open('/var/task/file', buffering=0, mode='rb')
low.read(4)
high = os.open('/opt/guest.py', os.O_RDONLY)
high = (os.dup2(high, 77, inheritable=True), os.close(high))[0]
wiped = mmap.mmap(-1, 8192, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
wiped.madvise(18)";
/// What is left of it, in whoever is well.
const IS_ALL_THERE: &str = "
out = len(held) >> 10, low.read(), os.read(77, 3), os.lseek(77, 0, 0), low.seek(4)";
const ALL_THERE: &str = "(512, b'aged\\n', b'\"\"\"', 0, 4)";

/// A line to an instance of `image`, which is well.
async fn well(pool: &SandboxPool, image: &StartImage) -> (Arc<dyn Instance>, Talk, InstanceIo) {
    let (instance, talk, io) = begin(pool, of_root(Some(image))).await;
    assert_eq!(talk.ask(IS_ALL_THERE).await, ALL_THERE);
    (instance, talk, io)
}

/// A start under way.
type Starting = tokio::task::JoinHandle<Result<Arc<dyn Instance>, StartError>>;
/// A dump under way.
type Taking = tokio::task::JoinHandle<Result<StartImage, ImageError>>;

/// Who comes to life of `image` in what lay parked, and stands still: it has its package. Nothing where another
/// one was taken for it.
async fn thawing(pool: &Arc<SandboxPool>, image: &StartImage) -> Option<(Led, Starting)> {
    let parked = starts::wait_for("one that is parked", || match pids_2(0)[..] {
        [one] if starts::waits(one) => Some(one),
        _ => None,
    });
    let led = Led::stopped(parked);
    let (asked, spec) = (Arc::clone(pool), of_root(Some(image)));
    let start = tokio::spawn(async move { asked.start(spec, SOON).await });
    let table = format!("/proc/{parked}/mountinfo");
    loop {
        tokio::task::yield_now().await;
        if std::fs::read_to_string(&table).is_ok_and(|t| t.contains(" /var/task ")) {
            return Some((led, start));
        }
        // Who has the pid that the image was taken of is not given it; another one will lie parked.
        if start.is_finished() {
            led.kill();
            let other = start.await.expect("no panic");
            other.expect("another one").destroy().await;
            return None;
        }
    }
}

/// Whether the last of these calls is of who was in the image: the kernel has loaded its registers.
fn is_thawed(calls: &[i64]) -> bool {
    let made = calls.split_last().map_or(&[][..], |(_, made)| made);
    made.last() == Some(&libc::SYS_rt_sigreturn)
}

/// Leads a restorer to its first call as who was in the image, or until it is killed before its `step`th: the
/// calls that were begun, and what became of the start.
async fn thawed_with_kill(
    (mut led, start): (Led, Starting),
    step: Option<usize>,
) -> (Vec<i64>, Result<Arc<dyn Instance>, StartError>) {
    let mut calls = Vec::new();
    loop {
        calls.push(led.next_call().expect("it lives"));
        if step == Some(calls.len()) {
            led.kill();
            break;
        }
        if is_thawed(&calls) {
            led.leave();
            break;
        }
    }
    let started = tokio::time::timeout(ANSWER_MAX, start).await;
    (calls, started.expect("it ends").expect("no panic"))
}

/// A restorer is killed before each of its calls, from those of the parked process that becomes one to the first
/// of who was in the image: the instance has ended by that signal, and the next one is well.
pub fn restorer() {
    with_images_as(0, async |pool, began| {
        let image = image_of_everything(&pool, began).await;
        well(&pool, &image).await.0.destroy().await;
        let rest = Rest::comes().await;
        let thaw = async |step| loop {
            if let Some(begun) = thawing(&pool, &image).await {
                return thawed_with_kill(begun, step).await;
            }
        };
        let (calls, whole) = thaw(None).await;
        whole.expect("it is not killed").destroy().await;
        rest.returns().await;
        let hears = calls.iter().position(|call| *call == libc::SYS_recvmsg);
        let hears = hears.expect("it is told to begin");
        for step in tried(calls.len(), 5, 16) {
            let (begun, started) = thaw(Some(step)).await;
            assert_eq!(begun, calls[..step], "step {step}");
            match started {
                Ok(instance) => {
                    let ended = tokio::time::timeout(ANSWER_MAX, instance.exited()).await;
                    let cause = ended.expect("it ends").cause;
                    assert_eq!(cause, ExitCause::Signaled(9), "step {step}");
                }
                // Nobody could be told.
                Err(StartError::Lost { .. } | StartError::Step { .. }) if step <= hears + 1 => {}
                Err(error) => panic!("step {step}: {error}"),
            }
            well(&pool, &image).await.0.destroy().await;
            rest.returns().await;
        }
    });
}

async fn image_of_everything(pool: &SandboxPool, began: Instant) -> StartImage {
    let (instance, talk, _io) = begin(pool, of_root(None)).await;
    talk.ask(OF_EVERYTHING).await;
    instance.take_image(soon(began)).await.expect("an image")
}

/// Who is killed before a call of a dumper's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dies {
    Dumper,
    Dumped,
}

/// Calls that a dumper makes until somebody has stopped: how many differs.
const WAITS: [i64; 3] = [
    libc::SYS_wait4,
    libc::SYS_clock_nanosleep,
    libc::SYS_restart_syscall,
];

/// Whether a dumper has said how it went: the last of its calls was not made any more.
fn has_said(calls: &[i64]) -> bool {
    let made = calls.split_last().map_or(&[][..], |(_, made)| made);
    made.contains(&libc::SYS_sendmsg)
}

/// What became of a dump.
struct Dump {
    /// The dumper's calls that were begun, but for those of its waits.
    calls: Vec<i64>,
    was_killed: bool,
    taken: Result<StartImage, ImageError>,
    cause: ExitCause,
}

/// A well instance, and its dumper, which stands still before its first instruction.
struct Dumping {
    instance: Arc<dyn Instance>,
    /// Closed, it would end.
    _line: (Talk, InstanceIo),
    led: Led,
    taking: Taking,
}

async fn dumping(pool: &SandboxPool, image: &StartImage, began: Instant) -> Dumping {
    let (instance, talk, io) = well(pool, image).await;
    // Else its dumper looks again.
    starts::wait_for("its next read", || starts::waits(live()).then_some(()));
    let spawner = starts::spawner(0);
    let pids = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).expect("its pids");
    let watched = Parent::watched(spawner);
    let taken = Arc::clone(&instance);
    let taking = tokio::spawn(async move { taken.take_image(soon(began)).await });
    tokio::task::yield_now().await;
    // A new sandbox has pids of its own.
    let led = watched.child(|child| pids(child) == pids(spawner));
    Dumping {
        instance,
        _line: (talk, io),
        led,
        taking,
    }
}

/// The next call of a dumper that is none of its waits.
fn next_call(led: &mut Led) -> Option<i64> {
    loop {
        let call = led.next_call()?;
        if !WAITS.contains(&call) {
            return Some(call);
        }
    }
}

/// Leads a dumper from its first call to its end, or until somebody is killed before its `step`th.
async fn dumped_with_kill(dumping: Dumping, kills: Option<(usize, Dies)>) -> Dump {
    let Dumping {
        instance,
        _line,
        mut led,
        taking,
    } = dumping;
    let (mut calls, mut was_killed) = (Vec::new(), false);
    while let Some(call) = next_call(&mut led) {
        calls.push(call);
        let Some((_, dies)) = kills.filter(|(step, _)| *step == calls.len()) else {
            continue;
        };
        was_killed = true;
        match dies {
            Dies::Dumper => led.kill(),
            Dies::Dumped => {
                let live = live();
                kill(live);
                // Every other time the dumper goes on beside its end.
                let is_over = || matches!(starts::state_of(live), None | Some('Z'));
                if calls.len().is_multiple_of(2) {
                    starts::wait_for("its end", || is_over().then_some(()));
                }
                led.leave();
            }
        }
        break;
    }
    let taken = tokio::time::timeout(ANSWER_MAX, taking).await;
    let ended = tokio::time::timeout(ANSWER_MAX, instance.exited()).await;
    Dump {
        calls,
        was_killed,
        taken: taken.expect("it ends").expect("no panic"),
        cause: ended.expect("it ends").cause,
    }
}

/// Pid 2 of the one sandbox of the host's Python in which something runs.
fn live() -> i32 {
    let mut guests = pids_2(0).into_iter();
    let live = guests.find(|pid| starts::name_of(*pid) != "init");
    live.expect("it lives")
}

/// At each of a dumper's steps somebody is killed: there is an image that is whole, or word that the instance is
/// gone, and the next instance is well.
fn dumps(dies: Dies) {
    with_images_as(0, async |pool, began| {
        let image = image_of_everything(&pool, began).await;
        well(&pool, &image).await.0.destroy().await;
        let rest = Rest::comes().await;
        let whole = dumped_with_kill(dumping(&pool, &image, began).await, None).await;
        drop(whole.taken.expect("nobody is killed"));
        rest.returns().await;
        let (mut gone, mut whole_ones) = (0, 0);
        // One that has other descriptors to close makes a few more or less, and is not killed then.
        for step in tried(whole.calls.len() + 2, 6, 16) {
            let dump =
                dumped_with_kill(dumping(&pool, &image, began).await, Some((step, dies))).await;
            let Dump {
                calls,
                was_killed,
                taken,
                cause,
            } = dump;
            let has_said = has_said(&calls);
            match taken {
                Ok(again) => {
                    let is_said = has_said || !was_killed;
                    assert!(is_said || dies == Dies::Dumped, "step {step}: {calls:?}");
                    well(&pool, &again).await.0.destroy().await;
                    whole_ones += 1;
                }
                Err(ImageError::Gone) if was_killed && !has_said => gone += 1,
                Err(error) => panic!("step {step}: {error}, {calls:?}"),
            }
            // It dies with its tracer, before anybody orders its end or behind that.
            let ends = [ExitCause::Destroyed, ExitCause::Signaled(9)];
            assert!(ends.contains(&cause), "step {step}: {cause:?}");
            rest.returns().await;
        }
        println!("       {gone} without an image, {whole_ones} with one");
        assert!(gone > 0 || whole_ones == 1, "nobody was killed in time");
    });
}

/// The dumper is killed: whom it looks at dies with it.
pub fn dumper() {
    dumps(Dies::Dumper);
}

/// The instance is killed, while its dumper stands still.
pub fn dumped() {
    dumps(Dies::Dumped);
}

/// Which call it is before which a helper stands still.
fn step_asked() -> usize {
    let step = std::env::args().nth(3).expect("the number of a step");
    step.parse().expect("a number")
}

/// Stands still before a call of a restorer's until its supervisor or it is killed.
pub fn amid_a_step_of_a_thaw() {
    with_images_as(0, async |pool, began| {
        let image = image_of_everything(&pool, began).await;
        let (mut led, start) = loop {
            if let Some(begun) = thawing(&pool, &image).await {
                break begun;
            }
        };
        let mut calls = Vec::new();
        // There may be a few less than of another image.
        while calls.len() < step_asked() && !is_thawed(&calls) {
            calls.push(led.next_call().expect("it lives"));
        }
        println!("serving");
        pool.supervisor_lost().await;
        led.leave();
        match start.await.expect("no panic") {
            // It was thawed, as far as anybody heard.
            Ok(instance) => assert!(is_lost(&instance.exited().await.cause)),
            Err(StartError::SpawnerLost { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        std::process::exit(0)
    });
}

/// The same, before a call of a dumper's.
pub fn amid_a_step_of_a_dump() {
    with_images_as(0, async |pool, began| {
        let image = image_of_everything(&pool, began).await;
        let Dumping {
            instance,
            _line,
            mut led,
            taking,
        } = dumping(&pool, &image, began).await;
        let mut calls = Vec::new();
        while calls.len() < step_asked()
            && let Some(call) = next_call(&mut led)
        {
            calls.push(call);
        }
        println!("serving");
        pool.supervisor_lost().await;
        led.leave();
        let taken = taking.await.expect("no panic").map(drop);
        let cause = instance.exited().await.cause;
        let is_as_usual = taken.is_err() && is_lost(&cause);
        assert!(is_as_usual || has_said(&calls), "{taken:?} {cause:?}");
        std::process::exit(0)
    });
}

fn is_lost(cause: &ExitCause) -> bool {
    matches!(cause, ExitCause::SpawnerLost { .. })
}

/// How many calls a restorer makes, and a dumper; nothing where there are no images.
pub fn counted() -> Option<[usize; 2]> {
    let counted = std::cell::Cell::new(None);
    with_images_as(0, async |pool, began| {
        let image = image_of_everything(&pool, began).await;
        let begun = loop {
            if let Some(begun) = thawing(&pool, &image).await {
                break begun;
            }
        };
        let (of_thaw, started) = thawed_with_kill(begun, None).await;
        started.expect("it is not killed").destroy().await;
        let of_dump = dumped_with_kill(dumping(&pool, &image, began).await, None).await;
        counted.set(Some([of_thaw.len(), of_dump.calls.len()]));
    });
    counted.get()
}
