//! A server that was taken over drives the spawner: it gets nothing, and the lane still serves.

use super::{scenarios, tree};
use freehold_sandbox::{
    protocol::{CARRIES_PACKAGE, Reply, Request, Start, VERSION},
    sys::{processes, sockets},
};
use std::{
    fs::File,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::{Duration, Instant},
};

pub const ALL: &[(&str, fn())] = &[("a_hostile_server_gets_nothing", hostile_server)];

const START: Start = Start {
    token: 1,
    runtime: 1,
    memory_mib: 128,
    tmp_mib: 512,
    pids: 64,
    descriptors: 64,
    cpu_weight: 74,
    cpu_quota_us: 0,
    carries: CARRIES_PACKAGE,
};

struct Hostile {
    socket: OwnedFd,
}

impl Hostile {
    fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            match sockets::send(self.socket.as_fd(), bytes, descriptors) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    assert!(Instant::now() < until, "the spawner stopped reading");
                    self.drain();
                }
                other => return other.expect("the spawner is still there"),
            }
        }
    }

    fn drain(&self) -> Vec<(Reply, Vec<OwnedFd>)> {
        let mut all = Vec::new();
        let mut packet = [0u8; 512];
        while let Ok(received) = sockets::receive(self.socket.as_fd(), &mut packet, false) {
            assert!(received.len > 0, "the spawner ended");
            all.push((
                Reply::decode(&packet[..received.len]).expect("a reply"),
                received.descriptors,
            ));
        }
        all
    }

    fn wait(&self, wanted: impl Fn(&Reply) -> bool) -> (Reply, Vec<OwnedFd>) {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(found) = self.drain().into_iter().find(|(reply, _)| wanted(reply)) {
                return found;
            }
            assert!(Instant::now() < until, "no such reply");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// An honest start of this token works.
    fn still_serves(&self, token: u64) {
        let block = processes::sealed_file(
            &freehold_sandbox::block::encode(&["hello".into()], &[]).unwrap(),
        )
        .unwrap();
        let package = scenarios::package("package-root");
        let start = Request::Start(Start { token, ..START });
        self.send(&start.encode(), &[package.as_fd(), block.as_fd()]);
        let (reply, descriptors) =
            self.wait(|r| matches!(r, Reply::Started { token: t, .. } | Reply::Failed { token: t, .. } if *t == token));
        let Reply::Started { number, .. } = reply else {
            panic!("{reply:?}")
        };
        // Two listeners, two pipes, the frames socket and, where the machine counts, two gauges.
        assert!(matches!(descriptors.len(), 5 | 7), "{descriptors:?}");
        self.send(&Request::Destroy { number }.encode(), &[]);
        self.wait(|r| matches!(r, Reply::Exited { number: n, .. } if *n == number));
    }
}

fn hostile_server() {
    let handle = freehold_sandbox::launch(scenarios::options()).expect("the platform comes up");
    let hostile = Hostile {
        socket: handle.lane_socket(0).expect("a socket"),
    };
    // Before a greeting nothing is answered but refusals.
    hostile.send(&Request::Start(START).encode(), &[]);
    assert!(matches!(
        hostile.wait(|_| true).0,
        Reply::Refused { count: 1 }
    ));
    hostile.send(
        &Request::Hello {
            version: VERSION + 1,
        }
        .encode(),
        &[],
    );
    hostile.send(&Request::Hello { version: VERSION }.encode(), &[]);
    hostile.still_serves(10);

    // Random bytes, empty packets, half messages, longest packets and beyond.
    let mut seed = 0x2545_f491_4f6c_dd1du64;
    println!("       seed {seed:#x}");
    for round in 0..20_000u32 {
        let mut random = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        let len = (random() % 600) as usize;
        let bytes: Vec<u8> = (0..len).map(|_| random() as u8).collect();
        match round % 4 {
            0 => hostile.send(&bytes, &[]),
            1 => hostile.send(&[], &[]),
            2 => hostile.send(
                &Request::Start(START).encode()[..(random() % 40) as usize],
                &[],
            ),
            // Valid kinds with numbers of nobody.
            _ => {
                let number = random();
                let token = random();
                let request = match random() % 5 {
                    3 => Request::TakeImage {
                        token,
                        number,
                        within_ms: 1,
                    },
                    0 => Request::Freeze { token, number },
                    1 => Request::Thaw { token, number },
                    2 => Request::Usage { token, number },
                    _ => Request::Destroy { number },
                };
                hostile.send(&request.encode(), &[]);
            }
        }
        if round % 64 == 0 {
            hostile.drain();
        }
    }
    hostile.still_serves(11);

    wrong_descriptors(&hostile);
    descriptor_flood(&hostile);
    hostile.still_serves(13);
    drop(hostile);
    handle
        .shutdown(Duration::from_secs(5))
        .expect("all is gone in time");
}

fn wrong_descriptors(hostile: &Hostile) {
    let block = || {
        processes::sealed_file(&freehold_sandbox::block::encode(&["hello".into()], &[]).unwrap())
            .unwrap()
    };
    let sealed_rubbish = processes::sealed_file(&[0xff; 4096]).unwrap();
    let unsealed: OwnedFd = File::open("/etc/hostname").unwrap().into();
    let readable: OwnedFd = File::open(tree::path().join("package-root"))
        .unwrap()
        .into();
    let package = scenarios::package("package-root");
    let other = scenarios::package("package-other");
    let proc = rustix::fs::open(
        "/proc/self",
        rustix::fs::OFlags::PATH,
        rustix::fs::Mode::empty(),
    )
    .unwrap();
    let runtime = |runtime| Start { runtime, ..START };
    let block_ok = block();
    let cases: Vec<(Start, Vec<BorrowedFd<'_>>)> = vec![
        (START, vec![]),
        (START, vec![package.as_fd()]),
        (START, vec![block_ok.as_fd(), package.as_fd()]),
        (START, vec![readable.as_fd(), block_ok.as_fd()]),
        (START, vec![other.as_fd(), block_ok.as_fd()]),
        (START, vec![proc.as_fd(), block_ok.as_fd()]),
        (START, vec![package.as_fd(), unsealed.as_fd()]),
        (START, vec![package.as_fd(), sealed_rubbish.as_fd()]),
        (
            START,
            vec![package.as_fd(), block_ok.as_fd(), block_ok.as_fd()],
        ),
        (START, vec![hostile.socket.as_fd(), hostile.socket.as_fd()]),
        (runtime(2), vec![package.as_fd(), block_ok.as_fd()]),
        (runtime(77), vec![package.as_fd(), block_ok.as_fd()]),
    ];
    for (place, (start, descriptors)) in cases.into_iter().enumerate() {
        let token = 1000 + place as u64;
        hostile.send(
            &Request::Start(Start { token, ..start }).encode(),
            &descriptors,
        );
        let (reply, got) = hostile.wait(|r| {
            matches!(r, Reply::Failed { token: t, .. } | Reply::Started { token: t, .. } if *t == token)
        });
        assert!(
            matches!(reply, Reply::Failed { .. }) && got.is_empty(),
            "case {place}: {reply:?}"
        );
    }
}

/// Descriptors beyond what a message may carry, again and again: the spawner keeps none.
fn descriptor_flood(hostile: &Hostile) {
    let null: OwnedFd = File::open("/dev/null").unwrap().into();
    let six = [null.as_fd(); 6];
    for _ in 0..30_000 {
        hostile.send(&Request::Destroy { number: 1 }.encode(), &six);
    }
    hostile.still_serves(12);
}
