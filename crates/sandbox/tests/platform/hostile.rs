//! A server that was taken over drives the spawner: it gets nothing, and the lane still serves.

use super::{scenarios, tree};
use freehold_sandbox::{
    protocol::{CARRIES_IMAGE, CARRIES_PACKAGE, Refusal, Reply, Request, Start, VERSION},
    sys::{processes, sockets},
};
use std::{
    cell::RefCell,
    fs::File,
    io::Write,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
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
    network: 0,
};

struct Hostile {
    socket: OwnedFd,
    /// Read while another reply was waited for.
    read: RefCell<Vec<(Reply, Vec<OwnedFd>)>>,
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
            let arrived = self.drain();
            let mut read = self.read.borrow_mut();
            read.extend(arrived);
            if let Some(place) = read.iter().position(|(reply, _)| wanted(reply)) {
                return read.remove(place);
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
        // Two listeners, the socket for names, two pipes, the frames socket and, where the machine
        // counts, two gauges.
        assert!(matches!(descriptors.len(), 6 | 8), "{descriptors:?}");
        self.send(&Request::Destroy { number }.encode(), &[]);
        self.wait(|r| matches!(r, Reply::Exited { number: n, .. } if *n == number));
    }
}

fn hostile_server() {
    let handle = freehold_sandbox::launch(scenarios::options()).expect("the platform comes up");
    let hostile = Hostile {
        socket: handle.lane_socket(0).expect("a socket"),
        read: RefCell::default(),
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
    forged_images(&hostile);
    hostile.still_serves(14);
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

const CARRIES_BOTH: u32 = CARRIES_PACKAGE | CARRIES_IMAGE;

impl Hostile {
    fn start_python(&self, token: u64, image: Option<&OwnedFd>) -> (Reply, Vec<OwnedFd>) {
        let start = Start {
            token,
            runtime: tree::PYTHON,
            memory_mib: 256,
            carries: image.map_or(CARRIES_PACKAGE, |_| CARRIES_BOTH),
            ..START
        };
        let block = freehold_sandbox::block::encode(&[], &[]).unwrap();
        let block = processes::sealed_file(&block).unwrap();
        let package = scenarios::package("package-root");
        let mut descriptors = vec![package.as_fd(), block.as_fd()];
        descriptors.extend(image.map(|image| image.as_fd()));
        self.send(&Request::Start(start).encode(), &descriptors);
        self.wait(|r| {
            matches!(r, Reply::Failed { token: t, .. } | Reply::Started { token: t, .. } if *t == token)
        })
    }

    /// The bytes of an honest image, which only root can read.
    fn honest_image(&self, token: u64) -> Option<Vec<u8>> {
        let (Reply::Started { number, .. }, _held) = self.start_python(token, None) else {
            return None;
        };
        let take = Request::TakeImage {
            token: token + 1,
            number,
            within_ms: 20_000,
        };
        self.send(&take.encode(), &[]);
        let (reply, descriptors) = self.wait(|r| {
            matches!(r, Reply::Image { token: t, .. } | Reply::ImageRefused { token: t, .. } if *t == token + 1)
        });
        match reply {
            Reply::Image { bytes, .. } => {
                let path = format!("/proc/self/fd/{}", descriptors[0].as_raw_fd());
                let read = std::fs::read(path).expect("root may");
                assert_eq!(read.len() as u64, bytes);
                Some(read)
            }
            other => panic!("{other:?}"),
        }
    }
}

fn memory_file(bytes: &[u8], mode: u32, sealed: bool) -> OwnedFd {
    let file = processes::private_file("forged").unwrap();
    rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(mode)).unwrap();
    let mut writing = File::from(file.try_clone().unwrap());
    writing.write_all(bytes).unwrap();
    if sealed {
        processes::seal(file.as_fd()).unwrap();
    }
    file
}

/// A server that hands over images of its own making, or others than it was given.
fn forged_images(hostile: &Hostile) {
    let Some(honest) = hostile.honest_image(2000) else {
        println!("skipped: no python3, or no start images here");
        return;
    };
    let good = |bytes: &[u8]| memory_file(bytes, 0o400, true);
    let started = |reply: &Reply| match reply {
        Reply::Started { number, .. } => Some(*number),
        _ => None,
    };
    let (reply, _held) = hostile.start_python(2010, Some(&good(&honest)));
    let number = started(&reply).expect("a copy by root is as good");
    hostile.send(&Request::Destroy { number }.encode(), &[]);
    hostile.wait(|r| matches!(r, Reply::Exited { number: n, .. } if *n == number));

    // One word of the key after the other: magic, two lengths, and what it must fit.
    let with_word = |place: usize| {
        let mut bytes = honest.clone();
        bytes[place * 8] ^= 1;
        good(&bytes)
    };
    let servers = memory_file(&honest, 0o400, true);
    let owner = Some(rustix::fs::Uid::from_raw(4242));
    rustix::fs::fchown(&servers, owner, None).unwrap();
    let null: OwnedFd = File::open("/dev/null").unwrap().into();
    let folder: OwnedFd = File::open("/").unwrap().into();
    let program: OwnedFd = File::open("/proc/self/exe").unwrap().into();
    let cases = [
        ("a device", null, 0),
        ("a folder", folder, 0),
        ("a file with a name", program, 0),
        ("the server's", servers, 1),
        (
            "one that all may read",
            memory_file(&honest, 0o444, true),
            2,
        ),
        ("one that may change", memory_file(&honest, 0o400, false), 3),
        ("an empty one", good(&[]), 4),
        ("rubbish", good(&[0xff; 8192]), 4),
        ("another form", with_word(0), 4),
        ("another body", with_word(1), 4),
        ("another length", with_word(2), 4),
        ("cut off", good(&honest[..honest.len() - 4096]), 4),
        ("another kernel", with_word(3), 5),
        ("another boot", with_word(4), 5),
        ("another processor", with_word(5), 6),
        ("another filter", with_word(6), 7),
        ("another runtime", with_word(7), 8),
    ];
    for (place, (name, image, rule)) in cases.into_iter().enumerate() {
        let (reply, _) = hostile.start_python(2100 + place as u64, Some(&image));
        assert!(
            matches!(reply, Reply::Failed { refusal: Refusal::Image, detail, .. } if detail == rule),
            "{name}: {reply:?}"
        );
    }
    // Even if all of that were forged: the restorer takes none of it for true, and the worst is
    // the end of one sandbox. Lists, steps and registers, bit by bit.
    let body_len = u64::from_le_bytes(honest[8..16].try_into().unwrap()) as usize;
    let mut seed = 0x1234_5678_9abc_def1u64;
    for round in 0..150u64 {
        let mut bytes = honest.clone();
        for _ in 0..=round % 4 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            // The head and the first of the steps are the most worth it.
            let reach = if round % 2 == 0 {
                4096
            } else {
                body_len - 4096
            };
            bytes[4096 + (seed >> 16) as usize % reach] ^= 1 << (seed % 8);
        }
        let (reply, _held) = hostile.start_python(3000 + round, Some(&good(&bytes)));
        if let Some(number) = started(&reply) {
            hostile.send(&Request::Destroy { number }.encode(), &[]);
            hostile.wait(|r| matches!(r, Reply::Exited { number: n, .. } if *n == number));
        }
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
