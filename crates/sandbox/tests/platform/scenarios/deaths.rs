//! Whoever dies: what is left serves on, or ends, and nothing stays behind.

use super::*;

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

/// A server in a process of its own, once it serves.
fn another_server() -> std::process::Child {
    use std::io::BufRead;
    let mut child = std::process::Command::new(std::env::current_exe().expect("own path"))
        .args(["scenario", "serve_until_killed"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("a server");
    let mut line = String::new();
    let out = child.stdout.take().expect("its output");
    std::io::BufReader::new(out)
        .read_line(&mut line)
        .expect("a line");
    assert_eq!(line, "serving\n");
    child
}

pub const HELPERS: &[Scenario] = &[("serve_until_killed", serve_until_killed)];

pub fn dead_server() {
    let mut server = another_server();
    let supervisor = supervisor_of(server.id() as i32);
    server.kill().expect("killed");
    server.wait().expect("reaped");
    let until = Instant::now() + Duration::from_secs(5);
    while freehold_sandbox::sys::processes::start_time(supervisor).is_some() {
        assert!(Instant::now() < until, "the supervisor outlives the server");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn everything_killed() {
    for order in 0..3 {
        let mut server = another_server();
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
        while freehold_sandbox::sys::processes::start_time(supervisor).is_some() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    launch(options())
        .expect("the next start comes up")
        .shutdown(Duration::from_secs(5))
        .expect("ends");
}

/// Spawners and keepers of volumes die at random moments under load: every start ends in an
/// instance or a reason, every instance in a report, and the platform serves afterwards.
pub fn random_kills() {
    platform(0, async |pool| {
        let supervisor = supervisor_of(std::process::id() as i32);
        let mut seed = 0x9e37_79b9_7f4a_7c15u64;
        for round in 0..60u16 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let asked: Vec<_> = (0..4)
                .map(|n| {
                    let pool = Arc::clone(&pool);
                    tokio::spawn(async move { pool.start(spec(0, n % 2, &["hello"]), SOON).await })
                })
                .collect();
            let kills = async {
                tokio::time::sleep(Duration::from_micros(seed >> 50)).await;
                let spawners = children(supervisor);
                let mut victims = spawners.clone();
                if round % 3 == 0 {
                    victims.extend(spawners.iter().flat_map(|spawner| children(*spawner)));
                }
                if round % 4 == 0 && !victims.is_empty() {
                    let victim = victims[(seed >> 33) as usize % victims.len()];
                    let victim = rustix::process::Pid::from_raw(victim).expect("a pid");
                    let _ = rustix::process::kill_process(victim, rustix::process::Signal::KILL);
                }
            };
            let starts = async {
                for start in asked {
                    match start.await.expect("no panic") {
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
            };
            let both = async { tokio::join!(kills, starts) };
            tokio::time::timeout(Duration::from_secs(20), both)
                .await
                .expect("all of it ends");
        }
        for core in [0, 1] {
            let until = Instant::now() + Duration::from_secs(10);
            while let Err(error) = pool.start(spec(0, core, &["hello"]), SOON).await {
                assert!(Instant::now() < until, "{error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    });
}
