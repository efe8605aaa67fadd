//! Scenarios that a well-behaved server lives through.

mod deaths;
mod images;
mod starts;
mod swap;
mod victims;
mod walls;

pub use deaths::HELPERS;

use super::tree::{self, SERVER};
use freehold_domain::{
    BoxFuture,
    ids::{CoreId, InstanceId, Mebibytes},
    network::NetworkId,
    ports::{
        Clock, CpuShare, ExitCause, Instance, InstanceIo, InstanceSpec, SandboxDriver, StartError,
    },
    time::{Mono, Wall},
};
use freehold_sandbox::{LaunchOptions, SandboxPool, drop_privileges, launch};
use rustix::fs::{Mode, OFlags, open};
use std::{
    os::fd::OwnedFd,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::io::unix::AsyncFd;

type Scenario = (&'static str, fn());

pub const ALL: &[Scenario] = &[
    ("starts_and_says_what_it_is", starts_and_says_what_it_is),
    (
        "frames_reach_the_runtime_and_come_back",
        frames_reach_the_runtime_and_come_back,
    ),
    ("what_the_operators_shell_sets_binds_no_guest", odd_shell),
    ("limits_hold", limits_hold),
    ("a_full_tmp_says_so_and_costs_no_memory", full_tmp),
    ("the_whole_tree_dies", whole_tree_dies),
    ("frozen_means_no_processor_time", frozen),
    ("what_cannot_start_says_why", what_cannot_start_says_why),
    ("two_hundred_rounds_leak_nothing", two_hundred_rounds),
    ("nobody_holds_an_end_of_anothers", who_holds_which_socket),
    ("pid_1_is_harmless_beside_a_runtime", pid_one_is_harmless),
    ("a_dead_spawner_ends_its_lane_alone", deaths::dead_spawner),
    ("a_dead_supervisor_ends_everything", deaths::dead_supervisor),
    ("a_dead_server_ends_everything", deaths::dead_server),
    (
        "everything_killed_is_swept_by_the_next_start",
        deaths::everything_killed,
    ),
    (
        "random_kills_end_in_a_serving_platform",
        deaths::random_kills,
    ),
    (
        "a_death_amid_a_start_or_a_dump_leaves_nothing",
        deaths::amid,
    ),
    (
        "a_death_at_each_step_of_a_thaw_or_a_dump_leaves_nothing",
        deaths::amid_steps,
    ),
    ("without_root_in_a_user_namespace", without_root),
    ("parked_ones_make_room", starts::parked_ones_make_room),
    (
        "a_volume_that_is_not_ready_stops_nobody_else",
        starts::slow_volume,
    ),
    (
        "a_sandbox_that_died_while_parked_is_no_ones_fault",
        starts::died_while_parked,
    ),
    (
        "an_end_before_the_order_to_destroy_is_its_own",
        starts::ended_before_the_order,
    ),
    (
        "capacity_is_what_the_spawners_can_hold",
        starts::capacity_by_descriptors,
    ),
    (
        "capacity_is_what_the_server_can_hold",
        starts::capacity_by_own_descriptors,
    ),
    ("who_is_told_to_go_is_there_at_once", starts::told_to_go),
    ("what_hangs_on_its_way_is_ended", starts::hangs_on_its_way),
    ("an_image_goes_on_where_its_process_was", images::goes_on),
    ("twins_share_no_randomness", images::twins),
    (
        "what_an_image_cannot_carry_is_refused_by_name",
        images::refused,
    ),
    ("who_is_booted_becomes_a_revisions", images::specialised),
    ("the_walls_stand_in_a_thawed_instance", images::walls),
    ("memory_of_an_image_counts", images::memory),
    ("copies_of_an_image_count_once", images::copies),
    ("memory_of_an_image_grows_as_any_other", images::grows),
    ("what_processes_share_counts_once", images::several),
    (
        "hostile_processes_are_dumped_or_refused_in_time",
        images::hostile,
    ),
    (
        "who_is_killed_by_a_sibling_while_it_is_dumped_is_reported",
        images::sibling,
    ),
    ("a_dumper_may_little_else", images::dumper),
    ("kills_while_images_are_taken_leave_nothing", images::kills),
    (
        "a_pid_2_that_is_killed_while_it_is_thawed_ends_alone",
        images::victims,
    ),
    (
        "a_restorer_that_is_killed_at_each_step_leaves_nothing",
        images::steps::restorer,
    ),
    (
        "a_dumper_that_is_killed_at_each_step_leaves_nothing",
        images::steps::dumper,
    ),
    (
        "who_is_killed_at_each_step_of_its_dump_leaves_nothing",
        images::steps::dumped,
    ),
    ("an_image_is_out_of_its_instances_reach", images::routes),
    ("an_image_is_a_name_to_the_server", images::names),
    ("raised_programs_raise_nobody", walls::raised),
    (
        "raised_programs_raise_no_thawed_one",
        walls::raised_when_thawed,
    ),
    ("a_parked_sandbox_is_behind_its_walls", walls::parked),
    ("starts_that_come_slowly_are_as_fast", starts::paced),
    ("nothing_of_an_instance_is_swapped", swap::kept_out),
];

/// What holds for an ordinary user too, with the lines of `doctor` that it takes.
pub const ROOTLESS: &[(&str, &[&str])] = &[
    ("starts_and_says_what_it_is", &[]),
    ("frames_reach_the_runtime_and_come_back", &[]),
    (
        "limits_hold",
        &["memory limit", "process limit", "processor time"],
    ),
    ("the_whole_tree_dies", &["process limit"]),
    (
        "frozen_means_no_processor_time",
        &["freezing idle instances", "processor time"],
    ),
    ("two_hundred_rounds_leak_nothing", &[]),
    ("pid_1_is_harmless_beside_a_runtime", &[]),
    ("a_dead_spawner_ends_its_lane_alone", &[]),
    ("a_dead_server_ends_everything", &[]),
    ("serve_until_killed", &[]),
];

/// What measures and can hardly fail: run where its name is given.
pub const MEASURES: &[Scenario] = &[
    ("start_latency", start_latency),
    ("image_latency", images::latency),
];

/// Not 1, and not always 2: instances of one image have another than what it was taken of.
fn is_a_guests_pid(said: &str) {
    let pid = said.lines().find_map(|line| line.strip_prefix("pid "));
    let pid: i32 = pid.and_then(|pid| pid.parse().ok()).expect("a pid");
    assert!((2..63).contains(&pid), "{pid}");
}

pub struct TestClock(Instant);

impl Clock for TestClock {
    fn now(&self) -> Mono {
        Mono(self.0.elapsed().as_nanos() as u64)
    }
    fn wall(&self) -> Wall {
        Wall(0)
    }
    fn sleep_until(&self, at: Mono) -> BoxFuture<'static, ()> {
        let at = tokio::time::Instant::from_std(self.0 + Duration::from_nanos(at.0));
        Box::pin(tokio::time::sleep_until(at))
    }
}

pub fn options() -> LaunchOptions {
    let mut options = LaunchOptions::new(2, tree::path().join("table.json"), tree::state_dir());
    options.park_target = 8;
    options.volumes_ready = 4;
    options
}

/// A platform below this process; `uid` 0 to stay root.
pub fn platform(uid: u32, test: impl AsyncFnOnce(Arc<SandboxPool>)) {
    platform_of(options(), uid, test);
}

/// The same, set up otherwise. An ordinary user is the only one that there is.
fn platform_of(mut options: LaunchOptions, uid: u32, test: impl AsyncFnOnce(Arc<SandboxPool>)) {
    let uid = match tree::is_root() {
        true => uid,
        false => rustix::process::geteuid().as_raw(),
    };
    options.server_uid = uid;
    options.server_gid = uid;
    let handle = launch(options).expect("the platform comes up");
    if uid != 0 {
        drop_privileges(uid, uid).expect("root is given up");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let pool = SandboxPool::connect(handle, Arc::new(TestClock(Instant::now())));
        pool.register(CoreId(0));
        pool.register(CoreId(1));
        test(Arc::clone(&pool)).await;
        pool.shutdown(Duration::from_secs(5))
            .await
            .expect("all is gone in time");
    });
}

pub fn package(name: &str) -> Arc<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Arc::new(open(tree::path().join(name), flags, Mode::empty()).expect("the package opens"))
}

pub fn spec(uid: u32, core: u16, args: &[&str]) -> InstanceSpec {
    InstanceSpec {
        instance: InstanceId(uuid_of(core)),
        core: CoreId(core),
        runtime: 1,
        package: Some(package(if uid == 0 { "package-root" } else { "package" })),
        image: None,
        args: args.iter().map(|a| (*a).to_owned()).collect(),
        env: vec![
            ("WHO".into(), "instance".into()),
            ("SECRET".into(), "s3".into()),
        ],
        memory: Mebibytes(128),
        tmp: Mebibytes(512),
        pids: 64,
        descriptors: 256,
        cpu: CpuShare {
            weight: 74,
            quota_us: None,
        },
        network: NetworkId::NONE,
    }
}

fn uuid_of(n: u16) -> uuid::Uuid {
    uuid::Uuid::from_u128(n.into())
}

const SOON: Mono = Mono(u64::MAX / 4);

pub async fn start(pool: &SandboxPool, spec: InstanceSpec) -> (Arc<dyn Instance>, InstanceIo) {
    let instance = pool.start(spec, SOON).await.expect("the instance starts");
    let io = instance.take_io().expect("its descriptors");
    (instance, io)
}

/// Reads the guest's output until it holds `until`.
pub async fn read_until(pipe: &OwnedFd, until: &str) -> String {
    let pipe = watched(pipe);
    let mut text = String::new();
    let reading = async {
        while !text.contains(until) {
            let mut ready = pipe.readable().await.expect("readable");
            let mut chunk = [0u8; 4096];
            match rustix::io::read(pipe.get_ref(), &mut chunk) {
                Ok(0) => break,
                Ok(len) => text.push_str(&String::from_utf8_lossy(&chunk[..len])),
                Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                Err(error) => panic!("read: {error}"),
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(30), reading).await;
    assert!(text.contains(until), "expected {until:?} in {text:?}");
    text
}

/// The runtime's descriptor 3 is its end of a stream; the host's end comes out.
fn frames_reach_the_runtime_and_come_back() {
    platform(SERVER, async |pool| {
        let (_instance, io) = start(&pool, spec(SERVER, 0, &["echo"])).await;
        let frames = io.frames.expect("a frames socket");
        read_until(&io.stdout, "echoes\n").await;
        rustix::io::write(&frames, b"there and back\n").expect("sent");
        read_until(&frames, "there and back\n").await;
    });
}

fn watched(pipe: &OwnedFd) -> AsyncFd<OwnedFd> {
    freehold_sandbox::sys::sockets::watch(pipe.try_clone().expect("a copy")).expect("watched")
}

fn starts_and_says_what_it_is() {
    platform(SERVER, async |pool| {
        let (instance, io) = start(&pool, spec(SERVER, 0, &["facts"])).await;
        let said = read_until(&io.stdout, "end\n").await;
        let has = |line: &str| assert!(said.lines().any(|l| l == line), "{line} not in\n{said}");
        has("cwd /var/task");
        has("file packaged");
        is_a_guests_pid(&said);
        has("env WHO=instance");
        has("env LANG=C");
        has("env SECRET=s3");
        has("CapPrm: 0000000000000000");
        has("CapBnd: 0000000000000000");
        has("NoNewPrivs: 1");
        has("Seccomp: 2");
        // In a user namespace nobody may leave the groups of the user.
        if tree::is_root() {
            has("Groups:");
        }
        has("write tmp Ok(())");
        has("write task Err(Some(30))");
        has("write root Err(Some(30))");
        has("open stdout Ok(())");
        has("processes 1");
        // The frames socket is the one descriptor beyond the usual; 4 reads the folder.
        has("open [\"0\", \"1\", \"2\", \"3\", \"4\"]");
        has("env _FREEHOLD_FRAMES=3");
        assert!(!said.contains("Uid: 0"), "{said}");
        let report = instance.destroy().await;
        assert_eq!(report.cause, ExitCause::Destroyed);
        assert_eq!(instance.destroy().await, report);
        assert!(instance.usage().await.is_err());

        let (first, first_io) = start(&pool, spec(SERVER, 1, &["call"])).await;
        first_io_accepts(&first_io).await;
        read_until(&first_io.stdout, "called\n").await;
        drop(first);
        let (exits, _io) = start(&pool, spec(SERVER, 1, &["exit", "7"])).await;
        assert_eq!(exits.exited().await.cause, ExitCause::Exited(7));
    });
}

async fn first_io_accepts(io: &InstanceIo) {
    let listener = std::net::TcpListener::from(io.runtime_api.try_clone().expect("a copy"));
    let listener = tokio::net::TcpListener::from_std(listener).expect("non-blocking");
    let (mut stream, _) = listener.accept().await.expect("a call from inside");
    let mut text = String::new();
    let mut reader = tokio::io::BufReader::new(&mut stream);
    tokio::io::AsyncBufReadExt::read_line(&mut reader, &mut text)
        .await
        .expect("a line");
    assert_eq!(text, "from inside\n");
}

fn odd_shell() {
    use freehold_sandbox::sys::identity::{hard_limit, set_resource};
    rustix::process::umask(Mode::from_raw_mode(0o077));
    let raised = set_resource(libc::RLIMIT_NICE, 40, 40).is_ok()
        && set_resource(libc::RLIMIT_RTPRIO, 50, 50).is_ok();
    if !raised {
        println!("skipped: hard limits, which this root may not raise (CAP_SYS_RESOURCE)");
    }
    for (resource, low) in [
        (libc::RLIMIT_CORE, 0),
        (libc::RLIMIT_STACK, 1 << 20),
        (libc::RLIMIT_FSIZE, 1 << 30),
    ] {
        let hard = if raised {
            low
        } else {
            hard_limit(resource).expect("read")
        };
        set_resource(resource, low, hard).expect("down");
    }
    platform(SERVER, async |pool| {
        let (_instance, io) = start(&pool, spec(SERVER, 0, &["limits"])).await;
        let said = read_until(&io.stdout, "end\n").await;
        let lines: Vec<String> = said
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        for wanted in [
            "Max core file size 1 1 bytes",
            "Max stack size 8388608 unlimited bytes",
            "Max file size unlimited unlimited bytes",
            "Max nice priority 0 0",
            "Max realtime priority 0 0",
            "passwd Ok(())",
        ] {
            assert!(lines.iter().any(|l| l == wanted), "{wanted} not in\n{said}");
        }
    });
}

fn limits_hold() {
    platform(SERVER, async |pool| {
        let (fits, io) = start(&pool, spec(SERVER, 0, &["heap", "100"])).await;
        read_until(&io.stdout, "held 100\n").await;
        // Of v1 alone: what TCP buffers take has a bound of its own.
        for file in groups_of_guests("memory.kmem.tcp.limit_in_bytes") {
            assert_eq!(file.trim(), (128 << 20).to_string());
        }
        let usage = fits.usage().await.expect("usage");
        assert!(usage.memory_bytes > 100 << 20, "{usage:?}");
        assert!(usage.cpu_us > 0 && usage.pids == 2, "{usage:?}");
        let (grows, _io) = start(&pool, spec(SERVER, 1, &["heap", "129"])).await;
        let report = grows.exited().await;
        assert_eq!(report.cause, ExitCause::OutOfMemory, "{report:?}");
        assert!(report.usage.oom_kills > 0, "{report:?}");
        assert!(report.usage.memory_peak_bytes <= 128 << 20, "{report:?}");
        assert!(report.usage.memory_peak_bytes > 120 << 20, "{report:?}");
        let (_opens, io) = start(&pool, spec(SERVER, 0, &["files"])).await;
        read_until(&io.stdout, "opened 252, then 24\n").await;
    });
}

/// What `file` holds in the groups of running instances of this process's platform, in whichever
/// hierarchy has it: the parked ones have no limit of their own yet.
fn groups_of_guests(file: &str) -> Vec<String> {
    let supervisor = supervisor_of(std::process::id() as i32).to_string();
    let below = |folder: &std::path::Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let name = |path: &std::path::Path| path.file_name().map(|n| n.to_string_lossy().into_owned());
    let hierarchies = below("/sys/fs/cgroup".as_ref());
    let roots = hierarchies.iter().flat_map(|hierarchy| below(hierarchy));
    let ours = roots.filter(|root| {
        let name = name(root).unwrap_or_default();
        name.starts_with("freehold-") && name.split('-').nth(2) == Some(&supervisor)
    });
    ours.flat_map(|root| below(&root.join("guests")))
        .filter(|group| {
            let limit = std::fs::read_to_string(group.join("memory.limit_in_bytes"));
            limit.is_ok_and(|limit| limit.trim() == (128 << 20).to_string())
        })
        .filter_map(|group| std::fs::read_to_string(group.join(file)).ok())
        .collect()
}

fn full_tmp() {
    platform(SERVER, async |pool| {
        let (instance, io) = start(&pool, spec(SERVER, 0, &["tmp"])).await;
        read_until(&io.stdout, "wrote 512 MiB, then 28\n").await;
        let usage = instance.usage().await.expect("it lives");
        assert_eq!(usage.oom_kills, 0, "{usage:?}");
        instance.destroy().await;
        let mut small = spec(SERVER, 0, &["tmp"]);
        small.tmp = Mebibytes(16);
        let (_instance, io) = start(&pool, small).await;
        read_until(&io.stdout, "wrote 16 MiB, then 28\n").await;
    });
}

fn whole_tree_dies() {
    platform(SERVER, async |pool| {
        let (instance, io) = start(&pool, spec(SERVER, 0, &["daemons", "40"])).await;
        read_until(&io.stdout, "forked\n").await;
        assert_eq!(instance.usage().await.expect("usage").pids, 42);
        assert_eq!(instance.destroy().await.cause, ExitCause::Destroyed);
        for _ in 0..3 {
            let mut bomb = spec(SERVER, 1, &["bomb"]);
            bomb.pids = 400;
            bomb.memory = Mebibytes(512);
            let (instance, io) = start(&pool, bomb).await;
            read_until(&io.stdout, "bombing\n").await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert!(instance.usage().await.expect("usage").pids <= 400);
            assert_eq!(instance.destroy().await.cause, ExitCause::Destroyed);
        }
    });
}

fn frozen() {
    platform(SERVER, async |pool| {
        let (instance, io) = start(&pool, spec(SERVER, 0, &["spin"])).await;
        read_until(&io.stdout, "spinning\n").await;
        instance.freeze().await.expect("frozen");
        instance.freeze().await.expect("frozen twice");
        tokio::time::sleep(Duration::from_millis(50)).await;
        let before = instance.usage().await.expect("usage").cpu_us;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(instance.usage().await.expect("usage").cpu_us, before);
        instance.thaw().await.expect("thawed");
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(instance.usage().await.expect("usage").cpu_us > before);
        instance.freeze().await.expect("frozen");
        assert_eq!(instance.destroy().await.cause, ExitCause::Destroyed);
    });
}

fn what_cannot_start_says_why() {
    platform(SERVER, async |pool| {
        let fails = async |change: fn(&mut InstanceSpec)| {
            let mut spec = spec(SERVER, 0, &["hello"]);
            change(&mut spec);
            match pool.start(spec, SOON).await {
                Ok(_) => panic!("it started"),
                Err(error) => error,
            }
        };
        let step = |error: StartError| match error {
            StartError::Step { step, reason } => format!("{step} {reason}"),
            StartError::Program { reason } => format!("exec {reason}"),
            other => panic!("{other:?}"),
        };
        assert_eq!(step(fails(|s| s.runtime = 2).await), "exec ENOENT");
        assert_eq!(step(fails(|s| s.runtime = 3).await), "exec ENOENT");
        assert!(matches!(
            fails(|s| s.runtime = 99).await,
            StartError::Runtime { id: 99, .. }
        ));
        assert!(matches!(
            fails(|s| s.package = Some(package("package-other"))).await,
            StartError::Package { .. }
        ));
        assert!(step(fails(|s| s.memory = Mebibytes(0)).await).starts_with("limits memory"));
        assert!(step(fails(|s| s.args = vec!["a\0b".into()]).await).starts_with("block"));
        assert!(step(fails(|s| s.tmp = Mebibytes(1)).await).starts_with("limits tmp"));
        let late = pool.start(spec(SERVER, 0, &["hello"]), Mono(0)).await;
        assert!(matches!(late, Err(StartError::Deadline)));
        // A start that was given up is destroyed all the same; the lane still serves.
        let (_instance, io) = start(&pool, spec(SERVER, 0, &["hello"])).await;
        read_until(&io.stdout, "hello\n").await;
    });
}

fn two_hundred_rounds() {
    platform(SERVER, async |pool| {
        let descriptors = || {
            std::fs::read_dir("/proc/self/fd")
                .map(Iterator::count)
                .unwrap_or(0)
        };
        // The tasks that read the sockets open theirs when they first run.
        start(&pool, spec(SERVER, 0, &["hello"]))
            .await
            .0
            .destroy()
            .await;
        start(&pool, spec(SERVER, 1, &["hello"]))
            .await
            .0
            .destroy()
            .await;
        let before = descriptors();
        for round in 0..200u16 {
            let (instance, io) = start(&pool, spec(SERVER, round % 2, &["hello"])).await;
            if round % 3 == 0 {
                read_until(&io.stdout, "hello\n").await;
            }
            match round % 4 {
                0 => drop(instance),
                _ => drop(instance.destroy().await),
            }
        }
        let (last, io) = start(&pool, spec(SERVER, 0, &["hello"])).await;
        last.destroy().await;
        // It holds its gauges until it is dropped.
        drop((last, io));
        assert_eq!(descriptors(), before);
    });
}

/// Host pids of the children of `parent`.
fn children(parent: i32) -> Vec<i32> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
}

fn supervisor_of(server: i32) -> i32 {
    children(server)[0]
}

/// The sockets that a process holds, but for its standard streams.
fn sockets_of(pid: i32) -> std::collections::BTreeSet<String> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors");
    let own = entries.flatten().filter(|entry| {
        let number = entry.file_name().to_string_lossy().parse::<u32>();
        number.is_ok_and(|number| number > 2)
    });
    own.filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .map(|target| target.to_string_lossy().into_owned())
        .filter(|target| target.starts_with("socket:"))
        .collect()
}

/// A copy of somebody else's end of a socket would keep that end alive when its owner dies.
fn who_holds_which_socket() {
    // Nothing has been started, so what there is are the ends themselves.
    platform(0, async |_pool| {
        let server = sockets_of(std::process::id() as i32);
        let supervisor = supervisor_of(std::process::id() as i32);
        let privileged = sockets_of(supervisor);
        assert!(!server.is_empty() && !privileged.is_empty());
        for spawner in children(supervisor) {
            let held = sockets_of(spawner);
            assert!(!held.is_empty());
            assert!(held.is_disjoint(&privileged), "the supervisor's end");
            assert!(held.is_disjoint(&server), "the server's end");
        }
    });
}

/// Tenant code runs beside a pid 1 that has nothing left to be taken over for.
fn pid_one_is_harmless() {
    platform(SERVER, async |pool| {
        let supervisor = supervisor_of(std::process::id() as i32);
        // More than are parked, so that some are made while their start waits.
        for round in 0..24 {
            let (instance, io) = start(&pool, spec(SERVER, 0, &["hello"])).await;
            let mut seen = 0;
            for pid in children(supervisor).into_iter().flat_map(children) {
                let read = |file: &str| {
                    std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default()
                };
                // Those whose pid 2 has become the runtime.
                let runs = children(pid).iter().any(|guest| {
                    std::fs::read_to_string(format!("/proc/{guest}/comm"))
                        .is_ok_and(|name| name.trim() == "guest")
                });
                if !runs {
                    continue;
                }
                seen += 1;
                let status = read("status");
                for line in ["Seccomp:\t2", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1"] {
                    assert!(
                        status.contains(line),
                        "round {round}: no {line} in\n{status}"
                    );
                }
                assert!(!status.contains("Uid:\t0"), "round {round}: {status}");
            }
            assert!(seen > 0, "no runtime was found");
            drop(io);
            instance.destroy().await;
        }
    });
}

fn without_root() {
    use std::os::unix::fs::chown;
    let folder = tempfile::Builder::new()
        .prefix("freehold-rootless-")
        .tempdir()
        .expect("a folder");
    let table = folder.path().join("table.json");
    std::fs::copy(tree::path().join("table.json"), &table).expect("a table");
    for path in [folder.path(), &table] {
        chown(path, Some(SERVER), Some(SERVER)).expect("chown");
    }
    freehold_sandbox::sys::identity::clear_groups().expect("no groups");
    freehold_sandbox::sys::identity::set_ids(SERVER, SERVER).expect("not root");
    // As after an exec: the change of ids has made /proc/self root's.
    let as_started = rustix::process::DumpableBehavior::Dumpable;
    rustix::process::set_dumpable_behavior(as_started).expect("dumpable");
    let mut options = options();
    options.runtime_table = table;
    options.state_dir = folder.path().join("state");
    (options.server_uid, options.server_gid) = (SERVER, SERVER);
    let handle = match launch(options) {
        Err(freehold_sandbox::LaunchError::Kernel { action, source })
            if action.contains("user namespace") =>
        {
            println!("skipped: {action}: {source}");
            return;
        }
        other => other.expect("the platform comes up"),
    };
    drop_privileges(SERVER, SERVER).expect("capabilities are given up");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let pool = SandboxPool::connect(handle, Arc::new(TestClock(Instant::now())));
        pool.register(CoreId(0));
        pool.register(CoreId(1));
        let (instance, io) = start(&pool, spec(SERVER, 0, &["facts"])).await;
        let said = read_until(&io.stdout, "end\n").await;
        for line in [
            "CapPrm: 0000000000000000",
            "Seccomp: 2",
            "write root Err(Some(30))",
            "processes 1",
        ] {
            assert!(said.lines().any(|l| l == line), "{line} not in\n{said}");
        }
        is_a_guests_pid(&said);
        assert_eq!(instance.destroy().await.cause, ExitCause::Destroyed);
        pool.shutdown(Duration::from_secs(5))
            .await
            .expect("all is gone in time");
    });
}

/// Not a test of time: prints what a start costs, parked and not.
fn start_latency() {
    platform(SERVER, async |pool| {
        let mut parked = Vec::new();
        for _ in 0..60 {
            tokio::time::sleep(Duration::from_millis(60)).await;
            let began = Instant::now();
            let (instance, io) = start(&pool, spec(SERVER, 0, &["hello"])).await;
            let started = began.elapsed();
            read_until(&io.stdout, "hello\n").await;
            parked.push((began.elapsed(), started));
            instance.destroy().await;
        }
        parked.sort();
        let (p50, p99) = (parked[parked.len() / 2], parked[parked.len() - 1]);
        println!(
            "       start to first output: p50 {:?}, worst {:?} (executed after {:?})",
            p50.0, p99.0, p50.1
        );
        let mut ends = Vec::new();
        for _ in 0..30 {
            let (instance, _io) = start(&pool, spec(SERVER, 0, &["hello"])).await;
            tokio::time::sleep(Duration::from_millis(60)).await;
            let began = Instant::now();
            instance.destroy().await;
            ends.push(began.elapsed());
        }
        ends.sort();
        println!("       destroy: p50 {:?}", ends[ends.len() / 2]);
    });
}
