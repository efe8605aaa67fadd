//! Starts on a lane that is full, short of volumes, or whose sandboxes are not well.

use super::*;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, setrlimit};
use std::{collections::BTreeMap, fs};

fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).expect("a pid"), signal).expect("it is there");
}

pub(super) fn state_of(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

pub(super) fn name_of(pid: i32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim().to_owned()
}

/// Stopped until this is dropped: a test that fails leaves nobody stopped behind.
pub(super) struct Stopped(i32);

impl Stopped {
    pub(super) fn now(pid: i32) -> Stopped {
        signal(pid, Signal::STOP);
        Stopped(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.0).expect("a pid");
        let _ = kill_process(pid, Signal::CONT);
    }
}

/// Every pause here ends with what it waits for, or with the test.
pub(super) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The spawner of a lane.
pub(super) fn spawner(lane: u16) -> i32 {
    let name = format!("fh-spawner-{lane}");
    let supervisor = supervisor_of(std::process::id() as i32);
    let mut all = children(supervisor).into_iter();
    all.find(|pid| name_of(*pid) == name).expect("a spawner")
}

/// Whether pid 2 of a sandbox is through with its steps and waits.
pub(super) fn waits(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.contains("Seccomp:\t2\n") && status.contains("State:\tS")
}

/// Pids 1 and 2 of everything that is parked on a lane where nothing runs, once one of each
/// runtime is.
pub(super) fn parked(lane: u16) -> Vec<(i32, i32)> {
    let spawner = spawner(lane);
    wait_for("one of each runtime is parked", || {
        let sandboxes = children(spawner)
            .into_iter()
            .filter(|pid| name_of(*pid) != "fh-volumes");
        let all: Vec<(i32, i32)> = sandboxes
            .map(|init| (init, children(init).first().copied().unwrap_or(0)))
            .collect();
        (all.len() >= 3 && all.iter().all(|(_, guest)| waits(*guest))).then_some(all)
    })
}

pub fn parked_ones_make_room() {
    let mut options = options();
    options.instances_max = 4;
    platform_of(options, SERVER, async |pool| {
        // Both places of the lane are taken by what is parked for others.
        wait_for("the lane is full", || {
            let all = children(spawner(0)).into_iter();
            (all.filter(|pid| name_of(*pid) != "fh-volumes").count() == 2).then_some(())
        });
        let mut other = spec(SERVER, 0, &[]);
        other.runtime = 3;
        let without_program = pool.start(other, SOON).await;
        assert!(
            matches!(without_program, Err(StartError::Program { .. })),
            "{:?}",
            without_program.err()
        );
        for _ in 0..4 {
            // Two places, of which parked ones of other runtimes have taken some.
            let (first, _io) = start(&pool, spec(SERVER, 0, &["hello"])).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            let (second, io) = start(&pool, spec(SERVER, 0, &["hello"])).await;
            read_until(&io.stdout, "hello\n").await;
            let third = pool.start(spec(SERVER, 0, &["hello"]), SOON).await;
            assert!(
                matches!(&third, Err(StartError::Exhausted { resource }) if resource == "instances"),
                "{:?}",
                third.err()
            );
            first.destroy().await;
            second.destroy().await;
        }
    });
}

/// Images of the platform's that are attached.
pub(super) fn images() -> usize {
    let tree = tree::path().to_string_lossy().into_owned();
    let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    devices
        .filter_map(|device| fs::read_to_string(device.path().join("loop/backing_file")).ok())
        .filter(|file| file.contains(&tree))
        .count()
}

pub fn slow_volume() {
    platform(0, async |pool| {
        let keepers = || {
            let all = children(spawner(0)).into_iter();
            all.filter(|pid| name_of(*pid) == "fh-volumes")
                .collect::<Vec<_>>()
        };
        let (first, _io) = start(&pool, spec(0, 0, &["hello"])).await;
        let in_stock = options().volumes_ready;
        // Beside that of one that lives: a device that is about to go would count as well, and the last
        // one that came may not be in stock yet, so each lane has one at least.
        wait_for("a full stock", || (images() == in_stock + 1).then_some(()));
        first.destroy().await;
        let keeper = Stopped::now(keepers()[0]);
        let other_size = |mib, deadline| {
            let mut spec = spec(0, 0, &["tmp"]);
            spec.tmp = Mebibytes(mib);
            let pool = Arc::clone(&pool);
            tokio::spawn(async move { pool.start(spec, deadline).await })
        };
        let waits = other_size(77, SOON);
        let given_up = other_size(88, Mono(0));
        assert!(matches!(
            given_up.await.expect("no panic"),
            Err(StartError::Deadline)
        ));
        // The lane goes on: one of the usual size is in stock.
        let (instance, io) = start(&pool, spec(0, 0, &["hello"])).await;
        read_until(&io.stdout, "hello\n").await;
        instance.usage().await.expect("the spawner answers");
        instance.destroy().await;
        assert!(!waits.is_finished());
        drop(keeper);
        let late = waits.await.expect("no panic").expect("it starts");
        let io = late.take_io().expect("its descriptors");
        read_until(&io.stdout, "wrote 77 MiB, then 28\n").await;
        late.destroy().await;
        // Those of other sizes are gone, whoever waited for them; the stock is full again.
        wait_for("the stock of usual volumes alone", || {
            (images() == in_stock).then_some(())
        });
        let (_usual, io) = start(&pool, spec(0, 0, &["tmp"])).await;
        read_until(&io.stdout, "wrote 512 MiB, then 28\n").await;
    });
}

pub fn died_while_parked() {
    platform(0, async |pool| {
        die(parked(0));
        let (instance, io) = start(&pool, spec(0, 0, &["hello"])).await;
        read_until(&io.stdout, "hello\n").await;
        instance.destroy().await;
        // The spawner hears of the start and of their end in the same breath.
        let (parked, spawner) = (parked(0), spawner(0));
        let stopped = Stopped::now(spawner);
        wait_for("its stop", || {
            (state_of(spawner) == Some('T')).then_some(())
        });
        let asked = Arc::clone(&pool);
        let start = tokio::spawn(async move { asked.start(spec(0, 0, &["hello"]), SOON).await });
        tokio::task::yield_now().await;
        die(parked);
        drop(stopped);
        let started = start.await.expect("no panic");
        started.expect("it is given another one").destroy().await;
    });
}

/// These pids 2 have died, and their pids 1 cannot say that it happened.
fn die(parked: Vec<(i32, i32)>) {
    for (init, guest) in parked {
        signal(init, Signal::STOP);
        signal(guest, Signal::KILL);
        wait_for("its end", || {
            matches!(state_of(guest), None | Some('Z')).then_some(())
        });
    }
}

pub fn ended_before_the_order() {
    platform(0, async |pool| {
        let spawner = spawner(0);
        let (instance, io) = start(&pool, spec(0, 0, &["exit", "7"])).await;
        let stopped = Stopped::now(spawner);
        // Its last holder is pid 1's child: once it is closed, the program has ended.
        let pipe = watched(&io.stdout);
        loop {
            let mut ready = pipe.readable().await.expect("readable");
            match rustix::io::read(pipe.get_ref(), &mut [0u8; 64]) {
                Ok(0) => break,
                Ok(_) => {}
                Err(_) => ready.clear_ready(),
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        let destroyed = instance.destroy();
        let report = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop(stopped);
        };
        let (report, ()) = tokio::join!(destroyed, report);
        assert_eq!(report.cause, ExitCause::Exited(7));
    });
}

fn may_open(descriptors: u64) {
    let few = Rlimit {
        current: Some(descriptors),
        maximum: Some(descriptors),
    };
    setrlimit(Resource::Nofile, few).expect("a lower limit");
}

pub fn capacity_by_descriptors() {
    may_open(800);
    platform(0, async |pool| {
        start(&pool, spec(0, 0, &["hello"])).await.0.destroy().await;
        start(&pool, spec(0, 1, &["hello"])).await.0.destroy().await;
        // 17 for each, and 256 for the spawner itself.
        assert_eq!(pool.capacity().instances, 2 * 32);
    });
}

pub fn capacity_by_own_descriptors() {
    may_open(3_000);
    platform(0, async |pool| {
        start(&pool, spec(0, 0, &["hello"])).await.0.destroy().await;
        start(&pool, spec(0, 1, &["hello"])).await.0.destroy().await;
        // The spawners' would be for twice 161; the server's, of which an eighth is kept, are 9 for each.
        assert_eq!(pool.capacity().instances, 2_625 / 9);
    });
}

pub fn hangs_on_its_way() {
    platform(0, async |pool| {
        let parked = parked(0);
        let stopped: Vec<_> = parked
            .iter()
            .map(|(_, guest)| Stopped::now(*guest))
            .collect();
        let hangs = pool.start(spec(0, 0, &["hello"]), SOON).await;
        assert!(
            matches!(hangs, Err(StartError::Lost { .. })),
            "{:?}",
            hangs.err()
        );
        drop(stopped);
        let (_instance, io) = start(&pool, spec(0, 0, &["hello"])).await;
        read_until(&io.stdout, "hello\n").await;
    });
}

/// Pids 2 of the sandboxes of a lane, of parked and live ones.
pub(super) fn guests(lane: u16) -> Vec<i32> {
    let inits = children(spawner(lane)).into_iter();
    inits.flat_map(children).collect()
}

/// The private hierarchy that makes moves into groups cheap goes, as on a kernel that has none.
fn without_fast_moves() {
    let supervisor = supervisor_of(std::process::id() as i32);
    let at = tree::state_dir().join("fast");
    let taken = std::process::Command::new("nsenter")
        .arg(format!("--mount=/proc/{supervisor}/ns/mnt"))
        .arg("umount")
        .arg(&at)
        .output()
        .expect("nsenter runs");
    if !taken.status.success() {
        println!("       there were no fast moves here");
    }
    let table = fs::read_to_string(format!("/proc/{supervisor}/mountinfo")).expect("its mounts");
    let at = format!(" {} ", at.display());
    assert!(!table.lines().any(|line| line.contains(&at)), "{table}");
}

/// The groups that pid 2 of a sandbox is in, a line for each hierarchy; without those of fast moves, which
/// come and go with the platforms of this machine and in which nobody is moved.
fn groups_of(pid: i32) -> String {
    let all = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let lasting = all.lines().filter(|line| !line.contains("name=fastmoves"));
    lasting.map(|line| format!("{line}\n")).collect()
}

/// One start per 100 ms, as of a function that is called now and then: all that waits for a grace period
/// of the kernel's is done before or after, with fast moves and without, and no group is left over.
pub fn paced() {
    // Fewer where each takes a second.
    let starts = if is_emulated() { 25 } else { 100 };
    platform(0, async |pool| {
        start(&pool, spec(0, 0, &["hello"])).await.0.destroy().await;
        for has_fast_moves in [true, false] {
            if !has_fast_moves {
                without_fast_moves();
            }
            let (mut times, mut were_ready) = (Vec::new(), 0);
            for _ in 0..starts {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let before: BTreeMap<i32, String> = guests(0)
                    .into_iter()
                    .map(|pid| (pid, groups_of(pid)))
                    .collect();
                let began = Instant::now();
                let (instance, io) = start(&pool, spec(0, 0, &["hello"])).await;
                read_until(&io.stdout, "hello\n").await;
                times.push(began.elapsed());
                let runs = guests(0).into_iter().find(|pid| name_of(*pid) == "guest");
                were_ready += usize::from(runs.is_some_and(|pid| before.contains_key(&pid)));
                // Who was there before has moved into no group for this start.
                for (pid, groups) in before {
                    assert!(groups.contains("/guests/"), "{pid}: {groups}");
                    assert_eq!(groups_of(pid), groups, "{pid}");
                }
                instance.destroy().await;
            }
            times.sort();
            let [p50, p99, worst] = [50, 99, 100].map(|part| times[(starts - 1) * part / 100]);
            println!(
                "       fast moves {has_fast_moves}: {were_ready} of {starts} were ready, p50 {p50:?}, p99 {p99:?}, worst {worst:?}"
            );
            assert!(were_ready >= starts * 4 / 5, "{were_ready} of {starts}");
            assert!(p50 < SLOW || is_emulated(), "{p50:?}");
            wait_for("all groups are gone", || {
                groups_of_guests("cgroup.procs").is_empty().then_some(())
            });
        }
    });
    if is_emulated() {
        println!("       how long a start takes says nothing in a machine that is emulated");
        std::process::exit(crate::SKIPPED);
    }
}

/// Whether the machine is one of `make test-v2` without KVM.
pub(super) fn is_emulated() -> bool {
    std::env::var_os("FREEHOLD_TEST_EMULATED").is_some()
}

/// More than a start takes that moves nobody, less than one that waits for the kernel several times.
const SLOW: Duration = Duration::from_millis(20);

pub fn told_to_go() {
    platform(SERVER, async |pool| {
        // Its descriptors are there at once; that it runs comes after.
        let instance = pool.launch(spec(SERVER, 0, &["hello"]), SOON).await;
        let instance = instance.expect("told to go");
        let io = instance.take_io().expect("descriptors");
        read_until(&io.stdout, "hello\n").await;
        instance.begun().await.expect("it runs");
        // Who asks in between is answered for the runtime.
        assert!(instance.usage().await.expect("a usage").pids >= 1);
        instance.freeze().await.expect("frozen");
        instance.destroy().await;
        // What cannot be executed says so, and has ended with everything of its own.
        let mut other = spec(SERVER, 0, &[]);
        other.runtime = 3;
        let instance = pool.launch(other, SOON).await.expect("told to go");
        let failed = instance.begun().await;
        assert!(
            matches!(failed, Err(StartError::Program { .. })),
            "{failed:?}"
        );
        instance.exited().await;
        // Ended before anybody knows whether it runs, it has ended all the same.
        let instance = pool.launch(spec(SERVER, 0, &["hello"]), SOON).await;
        let instance = instance.expect("told to go");
        instance.destroy().await;
        let (again, io) = start(&pool, spec(SERVER, 0, &["hello"])).await;
        read_until(&io.stdout, "hello\n").await;
        again.destroy().await;
    });
}
