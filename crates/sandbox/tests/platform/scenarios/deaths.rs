//! Whoever dies: what is left serves on, or ends, and nothing stays behind.

use super::{
    victims::{Held, Hits, Part},
    *,
};
use std::cell::Cell;

pub fn dead_spawner() {
    platform(0, async |pool| {
        let spawners = children(supervisor_of(std::process::id() as i32));
        let (dies, _io) = start(&pool, spec(0, 0, &["hello"])).await;
        let (lives, _io) = start(&pool, spec(0, 1, &["spin"])).await;
        kill(spawners[0]);
        let report = dies.exited().await;
        assert!(
            matches!(report.cause, ExitCause::SpawnerLost { .. }),
            "{report:?}"
        );
        assert!(lives.usage().await.is_ok(), "the other lane lives");
        let until = Instant::now() + Duration::from_secs(10);
        let again = loop {
            match pool.start(spec(0, 0, &["hello"]), SOON).await {
                Ok(instance) => break instance,
                Err(StartError::SpawnerLost { core: 0 }) if Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(error) => panic!("{error}"),
            }
        };
        let io = again.take_io().expect("its descriptors");
        read_until(&io.stdout, "hello\n").await;
        assert!(lives.usage().await.is_ok());
    });
}

pub fn dead_supervisor() {
    let handle = launch(options()).expect("the platform comes up");
    let supervisor = handle.pid();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let pool = SandboxPool::connect(handle, Arc::new(TestClock(Instant::now())));
        pool.register(CoreId(0));
        pool.register(CoreId(1));
        let (instance, io) = start(&pool, spec(0, 0, &["hello"])).await;
        read_until(&io.stdout, "hello\n").await;
        kill(supervisor);
        pool.supervisor_lost().await;
        assert!(matches!(
            instance.exited().await.cause,
            ExitCause::SpawnerLost { .. }
        ));
        let again = pool.start(spec(0, 0, &["hello"]), SOON).await;
        assert!(matches!(again, Err(StartError::SpawnerLost { .. })));
    });
    // What only root can remove now is removed by the next start.
    launch(options())
        .expect("the platform comes up again")
        .shutdown(Duration::from_secs(5))
        .expect("ends");
}

fn serve_until_killed() {
    platform(0, async |pool| {
        let (_spins, _io) = start(&pool, spec(0, 0, &["spin"])).await;
        let (_daemons, io) = start(&pool, spec(0, 1, &["daemons", "5"])).await;
        read_until(&io.stdout, "forked\n").await;
        println!("serving");
        std::future::pending::<()>().await;
    });
}

/// A server in a process of its own, once it serves; nothing where the machine has not what it takes.
/// `scenario`: its name, and what that is told.
fn another_server(scenario: &[&str]) -> Option<std::process::Child> {
    use std::io::BufRead;
    let mut child = std::process::Command::new(std::env::current_exe().expect("own path"))
        .arg("scenario")
        .args(scenario)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("a server");
    let mut line = String::new();
    let out = child.stdout.take().expect("its output");
    std::io::BufReader::new(out)
        .read_line(&mut line)
        .expect("a line");
    if line.starts_with("skipped") {
        print!("       {line}");
        child.wait().expect("reaped");
        return None;
    }
    assert_eq!(line, "serving\n");
    Some(child)
}

fn serving_server() -> std::process::Child {
    another_server(&["serve_until_killed"]).expect("it takes nothing")
}

pub const HELPERS: &[Scenario] = &[
    ("serve_until_killed", serve_until_killed),
    ("amid_a_start", amid_a_start),
    ("amid_a_dump", images::amid_a_dump),
    (
        "amid_a_step_of_a_thaw",
        images::steps::amid_a_step_of_a_thaw,
    ),
    (
        "amid_a_step_of_a_dump",
        images::steps::amid_a_step_of_a_dump,
    ),
];

fn lives(pid: i32) -> bool {
    freehold_sandbox::sys::processes::start_time(pid)
        .expect("looked at")
        .is_some()
}

pub fn dead_server() {
    let mut server = serving_server();
    let supervisor = supervisor_of(server.id() as i32);
    server.kill().expect("killed");
    server.wait().expect("reaped");
    let until = Instant::now() + Duration::from_secs(5);
    while lives(supervisor) {
        assert!(Instant::now() < until, "the supervisor outlives the server");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn everything_killed() {
    for order in 0..3 {
        let mut server = serving_server();
        let supervisor = supervisor_of(server.id() as i32);
        let mut all = children(supervisor);
        match order {
            0 => all.extend([supervisor, server.id() as i32]),
            1 => all
                .splice(0..0, [supervisor, server.id() as i32])
                .for_each(drop),
            _ => all = vec![supervisor, server.id() as i32],
        }
        for pid in all {
            // Some die of the death of another before their turn.
            let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        server.wait().expect("reaped");
        // A process takes a moment to die, and the next start leaves alone what still lives.
        while lives(supervisor) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    launch(options())
        .expect("the next start comes up")
        .shutdown(Duration::from_secs(5))
        .expect("ends");
}

/// Everybody of a platform but its server dies at random moments under load: every start ends in an
/// instance or a reason, every instance in a report, and the platform serves afterwards and holds
/// no more than before.
pub fn random_kills() {
    const PARTS: [Part; 4] = [Part::Spawner, Part::Keeper, Part::Init, Part::Instance];
    platform(0, async |pool| {
        for core in [0, 1] {
            serves(&pool, core).await;
        }
        let before = Held::at_rest().await;
        let mut hits = Hits::default();
        let mut seed = 0x9e37_79b9_7f4a_7c15u64;
        for round in 0..300u16 {
            if round >= 60 && hits.has(&PARTS) {
                break;
            }
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let asked: Vec<_> = (0..4)
                .map(|n| {
                    let pool = Arc::clone(&pool);
                    tokio::spawn(async move { pool.start(spec(0, n % 2, &["hello"]), SOON).await })
                })
                .collect();
            let wanted = match round % 8 {
                0 => Some(Part::Spawner),
                2 => Some(Part::Keeper),
                4 => Some(Part::Init),
                6 => Some(Part::Instance),
                _ => None,
            };
            let is_over = Cell::new(false);
            let kills = async {
                // Up to 16 ms, and down to half of one: how long the starts take is the machine's.
                let shift = 50 + u64::from(round) / 8 % 6;
                tokio::time::sleep(Duration::from_micros(seed >> shift)).await;
                if let Some(wanted) = wanted {
                    let none = Duration::ZERO;
                    hits.one(wanted, &[0, 1], seed, none, &is_over).await;
                }
            };
            let starts = async {
                let (mut live, mut came) = (Vec::new(), 0);
                for start in asked {
                    let start = start.await.expect("no panic");
                    came += usize::from(start.is_ok());
                    match start {
                        // It lives until it was hit.
                        Ok(instance) if wanted == Some(Part::Instance) => live.push(instance),
                        Ok(instance) => {
                            instance.destroy().await;
                        }
                        Err(
                            StartError::SpawnerLost { .. }
                            | StartError::Lost { .. }
                            | StartError::Step { .. },
                        ) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
                is_over.set(true);
                (live, came)
            };
            let both = async {
                let (live, came) = tokio::join!(kills, starts).1;
                for instance in live {
                    instance.destroy().await;
                }
                // Spawners take a while to come back, in which nobody is there to be hit.
                for core in [0, 1].into_iter().filter(|_| came == 0) {
                    serves(&pool, core).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), both)
                .await
                .expect("all of it ends");
        }
        println!("       {hits:?}");
        assert!(hits.has(&PARTS), "{hits:?}");
        for core in [0, 1] {
            serves(&pool, core).await;
        }
        before.returns().await;
    });
}

/// A lane gives an instance, soon.
async fn serves(pool: &SandboxPool, core: u16) {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match pool.start(spec(0, core, &["hello"]), SOON).await {
            Ok(instance) => {
                instance.destroy().await;
                return;
            }
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Stands still amid a start until its supervisor or it is killed: pid 2 does not get to what it was told.
fn amid_a_start() {
    platform(0, async |pool| {
        let guests: Vec<i32> = starts::parked(0).into_iter().map(|(_, pid)| pid).collect();
        let _stopped: Vec<_> = guests.iter().copied().map(starts::Stopped::now).collect();
        let asked = Arc::clone(&pool);
        let start =
            tokio::spawn(async move { asked.start(spec(0, 0, &["hello"]), SOON).await.map(drop) });
        tokio::task::yield_now().await;
        starts::wait_for("one of them has a package", || {
            let tables = guests.iter().map(|pid| format!("/proc/{pid}/mountinfo"));
            let mut tables = tables.filter_map(|path| std::fs::read_to_string(path).ok());
            tables
                .any(|table| table.contains(" /var/task "))
                .then_some(())
        });
        println!("serving");
        pool.supervisor_lost().await;
        let failed = start.await.expect("no panic");
        assert!(
            matches!(failed, Err(StartError::SpawnerLost { .. })),
            "{failed:?}"
        );
        std::process::exit(0)
    });
}

/// Everybody below a process.
pub(super) fn below(pid: i32) -> Vec<i32> {
    let own = children(pid);
    own.iter()
        .flat_map(|child| [vec![*child], below(*child)].concat())
        .collect()
}

/// The supervisor, and then the server, is killed amid a start and amid a dump: whoever else was there ends,
/// a server says that its supervisor is lost, and the next start comes up.
pub fn amid() {
    for standing in ["amid_a_start", "amid_a_dump"] {
        for of_server in [false, true] {
            if !dies_amid(&[standing], of_server) {
                return;
            }
        }
    }
}

/// The same at each step of a thaw and of a dump, by turns the supervisor and the server.
pub fn amid_steps() {
    let Some(counted) = images::steps::counted() else {
        return;
    };
    for (standing, all) in ["amid_a_step_of_a_thaw", "amid_a_step_of_a_dump"]
        .into_iter()
        .zip(counted)
    {
        for step in images::steps::tried(all, 1, 4) {
            assert!(dies_amid(&[standing, &step.to_string()], step % 2 == 0));
        }
    }
}

/// Whether there was a server that stood still to be killed.
fn dies_amid(standing: &[&str], of_server: bool) -> bool {
    let Some(mut server) = another_server(standing) else {
        return false;
    };
    let supervisor = supervisor_of(server.id() as i32);
    let born = |pid| freehold_sandbox::sys::processes::start_time(pid).expect("looked at");
    let all = below(server.id() as i32).into_iter();
    let all: Vec<_> = all.map(|pid| (pid, born(pid))).collect();
    assert!(all.len() >= 6, "{all:?}");
    match of_server {
        true => server.kill().expect("killed"),
        false => kill(supervisor),
    }
    let status = server.wait().expect("reaped");
    assert_eq!(status.success(), !of_server, "{standing:?}: {status}");
    for (pid, was_born) in all {
        starts::wait_for("everybody ends", || {
            (born(pid).is_none() || born(pid) != was_born).then_some(())
        });
    }
    launch(options())
        .expect("the next start comes up")
        .shutdown(Duration::from_secs(5))
        .expect("ends");
    true
}
