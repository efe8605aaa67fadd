//! Processes that do their worst while an image is taken of them, and kills at any time.

use super::*;
use crate::scenarios::victims::{Held, Hits, Part};
use std::{
    cell::Cell,
    sync::atomic::{AtomicBool, Ordering},
};

const LIBC: &str = "
import ctypes
L = ctypes.CDLL(None, use_errno=True)
L.mmap.restype = ctypes.c_void_p
L.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
L.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
";

/// It waits in code of its own, and a process that shares its memory changes that code once it does,
/// and is gone before anybody looks: CHANGE is what it does, with `at` the place of the `syscall`.
const WAITS_AND_IS_REWRITTEN: &str = "
import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
L.memcpy.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
L.clone.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
page, frame, helper = (L.mmap(None, 1 << 16, rights, 0x22, -1, 0) for rights in (7, 3, 7))
hexed, word = bytes.fromhex, lambda number: number.to_bytes(8, 'little')
waits, rests = helper + 0x800, helper + 0x900
code = (hexed('bf03000000 48be') + word(frame)           # mov edi, 3; mov rsi, frame
        + hexed('ba00000100 48b8') + word(waits)         # mov edx, 1 << 16; mov rax, waits
        + hexed('c60001 31c0 0f05 c3'))                  # mov byte [rax], 1; xor eax, eax; syscall; ret
at = page + len(code) - 3
L.memcpy(page, code, len(code))
change = CHANGE
code = (hexed('48b8') + word(waits) + hexed('803800 74fb')                  # until it waits
        + hexed('b823000000 48bf') + word(rests) + hexed('31f6 0f05')       # nanosleep
        + change + hexed('31c0 c3'))
L.memcpy(helper, code, len(code))
L.memcpy(rests, word(0) + word(200_000_000), 16)
assert L.clone(helper, helper + (1 << 16), 0x100 | 17, None) > 0, ctypes.get_errno()
wait = ctypes.CFUNCTYPE(ctypes.c_long)(page)
os.read = lambda fd, size: ctypes.string_at(frame, wait())
";

/// What becomes of the `syscall` that it waits in, and what is said of it.
const REWRITTEN: [(&str, &str, &str); 4] = [
    // xor eax, eax: as long, and as if every call had gone well.
    (
        "another instruction",
        "hexed('48b8') + word(at) + hexed('66c70031c0')",
        "not in order",
    ),
    (
        "an instruction that is none",
        "hexed('48b8') + word(at) + hexed('66c7000f0b')",
        "not in order",
    ),
    // munmap
    (
        "no code",
        "hexed('b80b000000 48bf') + word(page) + hexed('be00000100 0f05')",
        "not in order",
    ),
    // mprotect: it is there, and does not run.
    (
        "code that must not run",
        "hexed('b80a000000 48bf') + word(page) + hexed('be00000100 ba03000000 0f05')",
        "a signal waits",
    ),
];

/// What an image has bounds for: how to have MANY, how many are carried and how many are not, and what is
/// said of those.
const CROWDS: [(&str, [u32; 2], &str); 5] = [
    // Files that are mapped; it has some of its own.
    (
        "
for i in range(MANY):
    f = os.open(f'/opt/many/{i}', os.O_RDONLY)
    assert L.mmap(None, 4096, 1, 2, f, 0) not in (None, 2**64 - 1); os.close(f)
",
        [2000, 2049],
        "names cannot be carried",
    ),
    // Bytes of their names: 3.5 KiB each.
    (
        "
for i in range(MANY):
    f = os.open('/opt' + ('/' + 'n' * 250) * 14 + f'/{i}', os.O_RDONLY)
    assert L.mmap(None, 4096, 1, 2, f, 0) not in (None, 2**64 - 1); os.close(f)
",
        [140, 160],
        "names cannot be carried",
    ),
    // Files that are open, from 4 on.
    (
        "held = [os.open(f'/opt/many/{i}', os.O_RDONLY) for i in range(MANY)]",
        [64, 65],
        "descriptor 68 is a file",
    ),
    // Pages too far from each other to be carried together, in one mapping.
    (
        "
a = L.mmap(None, MANY * 10 * 4096, 3, 0x4022, -1, 0)
L.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
L.madvise(a, MANY * 10 * 4096, 15)  # not in large pages
for i in range(MANY): ctypes.memset(a + i * 10 * 4096, 1, 1)
",
        [15_000, 16_384],
        "more than 16384 mappings",
    ),
    // GiB that are looked through for the one page in them.
    (
        "
a = L.mmap(None, MANY << 30, 3, 0x4022, -1, 0)
ctypes.memset(a + 4096, 1, 1)
",
        [4, 257],
        "more than 262144 MiB",
    ),
];

/// As many as an image has room for come along, one more is refused.
async fn crowded(pool: &SandboxPool, began: Instant) {
    for (code, [fits, more], wanted) in CROWDS {
        for (many, refused) in [(fits, false), (more, true)] {
            let (instance, talk, _io) = begin(pool, python(None, true)).await;
            let code = code.replace("MANY", &many.to_string());
            talk.ask(&format!("{LIBC}{code}")).await;
            match instance.take_image(soon(began)).await {
                Ok(image) if !refused => {
                    let (thawed, talk, _io) = begin(pool, python(Some(&image), true)).await;
                    assert_eq!(talk.ask("out = 'alive'").await, "alive");
                    thawed.destroy().await;
                }
                Err(ImageError::Refused { reason }) if refused => {
                    assert!(reason.contains(wanted), "{many} {wanted}: {reason}");
                }
                other => panic!("{many} {wanted}: {:?}", other.map(drop)),
            }
            instance.exited().await;
        }
    }
}

/// Until it is alone with pid 1.
async fn alone(instance: &dyn Instance) {
    let until = Instant::now() + ANSWER_MAX;
    while instance.usage().await.expect("it lives").pids != 2 {
        assert!(Instant::now() < until, "its helper does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A process that does its worst while it is looked at: an error or an image in time, and nothing
/// of it is left (the orchestrator looks).
pub fn hostile() {
    let cases = [
        // As many mappings as the kernel gives to anybody, far more than are carried.
        (
            "mappings",
            "
most = min(int(open('/proc/sys/vm/max_map_count').read()), 65530)
a = L.mmap(None, (most + 8) * 4096, 3, 0x22, -1, 0)
for i in range(0, most + 8, 2):
    if L.mprotect(a + i * 4096, 4096, 1): break
f = os.open('/proc/self/maps', os.O_RDONLY)
have = sum(part.count(b'\\n') for part in iter(lambda: os.read(f, 65536), b''))
os.close(f)
assert have > most - 8, have
",
            Some("mappings"),
        ),
        // A mapping in the restorer's own place.
        (
            "area",
            "assert L.mmap(0x100000000000, 4096, 3, 0x100022, -1, 0) == 0x100000000000",
            Some("restorer works"),
        ),
        // Terabytes that are not there.
        (
            "reserve",
            "assert L.mmap(None, 64 << 40, 0, 0x4022, -1, 0) not in (None, 2**64 - 1)",
            None,
        ),
        // A file whose name has lines in it, mapped and open for nobody.
        (
            "names",
            "
n = '/tmp/00400000-00500000 rw-p 00000000 00:00 0 \\nVmFlags: wf'
f = os.open(n, os.O_RDWR | os.O_CREAT); os.write(f, b'x' * 4096)
assert L.mmap(None, 4096, 3, 2, f, 0); os.close(f); os.unlink(n)
",
            Some("deleted"),
        ),
        (
            "secret",
            "
f = L.syscall(319, b'[stack]', 0)
os.ftruncate(f, 8192); assert L.mmap(None, 8192, 3, 2, f, 0); os.close(f)
",
            None,
        ),
        // It waits with its stack pointer where nothing is: 16.
        (
            "stack pointer",
            "
L.memcpy.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
page, frame = (L.mmap(None, 1 << 16, rights, 0x22, -1, 0) for rights in (7, 3))
code = bytes.fromhex(
    '48892529000000'  # mov [saved], rsp
    '48c7c410000000'  # mov rsp, 16
    'bf03000000'      # mov edi, 3
    '48be') + frame.to_bytes(8, 'little') + bytes.fromhex(  # mov rsi, frame
    'ba00000100'      # mov edx, 1 << 16
    '31c0' '0f05'     # read
    '488b2503000000'  # mov rsp, [saved]
    'c3' '9090')      # ret; saved
L.memcpy(page, code, len(code))
wait = ctypes.CFUNCTYPE(ctypes.c_long)(page)
os.read = lambda fd, size: ctypes.string_at(frame, wait())
",
            Some("not in order"),
        ),
        // What the kernel answers to the calls that it is made to make lands on its own code.
        (
            "answers over the code",
            "
L.memcpy.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
page, frame = (L.mmap(None, 1 << 16, rights, 0x22, -1, 0) for rights in (7, 3))
at = page + 0x200
code = (bytes.fromhex(
    '48892531000000'  # mov [saved], rsp
    '48bc') + (at + 4096).to_bytes(8, 'little') + bytes.fromhex(  # mov rsp, at + a page
    'bf03000000'      # mov edi, 3
    '48be') + frame.to_bytes(8, 'little') + bytes.fromhex(  # mov rsi, frame
    'ba00000100'      # mov edx, 1 << 16
    '31c0' '0f05'     # read
    '488b2508000000'  # mov rsp, [saved]
    'c3' + '90' * 15))  # ret; saved
start = at + 2 - code.index(bytes.fromhex('0f05'))
L.memcpy(start, code, len(code))
wait = ctypes.CFUNCTYPE(ctypes.c_long)(start)
os.read = lambda fd, size: ctypes.string_at(frame, wait())
",
            Some("not in order"),
        ),
        // Another process has the same memory, and maps and unmaps a megabyte without a pause.
        (
            "size",
            "
L.memcpy.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
L.clone.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
page = L.mmap(None, 1 << 16, 7, 0x22, -1, 0)
code = bytes.fromhex(
    'b809000000' '31ff' 'be00001000' 'ba03000000' '41ba22000000' '49c7c0ffffffff' '4531c9' '0f05'
    '4889c7' 'be00001000' 'b80b000000' '0f05' 'ebcc')
L.memcpy(page, code, len(code))
assert L.clone(page, page + (1 << 16), 0x100 | 17, None) > 0, ctypes.get_errno()
",
            Some("other processes"),
        ),
        // The kernel's own pages, with other rights.
        (
            "vdso",
            "
v = [l.split('-') for l in open('/proc/self/maps') if '[vdso]' in l][0]
L.mprotect(int(v[0], 16), 8192, 3)
",
            None,
        ),
    ];
    let rewritten = REWRITTEN.map(|(name, change, wanted)| {
        (
            name,
            WAITS_AND_IS_REWRITTEN.replace("CHANGE", change),
            Some(wanted),
        )
    });
    let cases = cases.map(|(name, code, wanted)| (name, code.to_owned(), wanted));
    with_images(async |pool, began| {
        for (name, code, wanted) in cases.into_iter().chain(rewritten) {
            let (instance, talk, _io) = begin(&pool, python(None, true)).await;
            talk.ask(&format!("{LIBC}{code}")).await;
            if code.contains("helper") {
                alone(&*instance).await;
            }
            let taken = instance.take_image(soon(began)).await;
            match (taken, wanted) {
                (Err(ImageError::Refused { reason }), Some(wanted)) => {
                    assert!(reason.contains(wanted), "{name}: {reason}");
                }
                (Ok(image), None) => {
                    // Whatever is in it, a thaw ends well or in an error, not in a stuck lane.
                    match pool.start(python(Some(&image), true), SOON).await {
                        Ok(thawed) => {
                            let io = thawed.take_io().expect("descriptors");
                            let talk = Talk::of(&io);
                            talk.send("out = 'alive'");
                            println!("       {name}: {:?}", talk.answer().await);
                            thawed.destroy().await;
                        }
                        Err(StartError::Image { reason }) => println!("       {name}: {reason}"),
                        Err(other) => panic!("{name}: {other}"),
                    }
                }
                (other, _) => panic!("{name}: {:?}", other.map(drop)),
            }
            instance.exited().await;
        }
        crowded(&pool, began).await;
        // The lane serves on.
        let (_instance, talk, _io) = begin(&pool, python(None, true)).await;
        assert_eq!(talk.ask("out = 1").await, "1");
    });
}

/// A process that another one inside kills while an image is taken of it, sooner and later: an error
/// in time, and the lane serves on.
pub fn sibling() {
    with_images(async |pool, began| {
        for ms in 0..24 {
            let (instance, talk, _io) = begin(&pool, python(None, true)).await;
            let code = format!(
                "
import time
own = os.getpid()
if os.fork() == 0:
    time.sleep({ms} / 1000)
    os.kill(own, 9)
    os._exit(0)
"
            );
            talk.send(&code);
            let _ = talk.answer().await;
            match instance.take_image(soon(began)).await {
                Err(ImageError::Refused { reason }) => println!("       {ms} ms: {reason}"),
                Err(ImageError::Gone) => {}
                other => panic!("after {ms} ms: {:?}", other.map(drop)),
            }
            instance.exited().await;
        }
        let (_instance, talk, _io) = begin(&pool, python(None, true)).await;
        assert_eq!(talk.ask("out = 1").await, "1");
    });
}

/// Who looks into a process can do little else: no capability but to trace, and its filter is on.
pub fn dumper() {
    with_images(async |pool, began| {
        let supervisor = supervisor_of(std::process::id() as i32);
        let mut filtered = None;
        for _ in 0..10 {
            let (instance, talk, _io) = begin(&pool, python(None, true)).await;
            talk.ask("x = bytearray(os.urandom(1 << 20)) * 120").await;
            let is_over = Arc::new(AtomicBool::new(false));
            let over = is_over.clone();
            let watch = std::thread::spawn(move || {
                let mut filtered = None;
                while !over.load(Ordering::Acquire) {
                    filtered = filtered_dumper(supervisor).or(filtered);
                }
                filtered
            });
            let taken = instance.take_image(soon(began)).await;
            is_over.store(true, Ordering::Release);
            filtered = watch.join().expect("it only reads");
            taken.expect("an image");
            instance.exited().await;
            if filtered.is_some() {
                break;
            }
        }
        let status = filtered.expect("a dumper with a filter, of ten that took a while");
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.expect(name)
                .split_whitespace()
                .next()
                .expect("a value")
                .to_owned()
        };
        assert_eq!(of("NoNewPrivs:"), "1");
        // CAP_SYS_PTRACE, which is number 19.
        for set in ["CapPrm:", "CapEff:"] {
            assert_eq!(of(set), format!("{:016x}", 1 << 19), "{set}");
        }
        assert_eq!(of("CapBnd:"), format!("{:016x}", 0));
        assert_ne!(of("Uid:"), "0");
    });
}

/// What the kernel says of a dumper once it is filtered.
fn filtered_dumper(supervisor: i32) -> Option<String> {
    let workers = children(supervisor).into_iter().flat_map(children);
    workers
        .filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/status")).ok())
        .find(|status| status.contains("fh-dumper") && status.contains("\nSeccomp:\t2\n"))
}

/// A start of the host's Python for a server that stayed root, who may kill.
pub(super) fn of_root(image: Option<&StartImage>) -> InstanceSpec {
    InstanceSpec {
        package: Some(package("package-root")),
        ..python(image, true)
    }
}

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// What is held once each lane has given an instance: the tasks that read the sockets open theirs when they
/// first run.
async fn held_before(pool: &SandboxPool) -> Held {
    for core in [0, 1] {
        let mut spec = of_root(None);
        spec.core = CoreId(core);
        start(pool, spec).await.0.destroy().await;
    }
    Held::at_rest().await
}

/// Whoever is killed while images are taken and thawed: each wait ends, and nothing is left.
pub fn kills() {
    const PARTS: [Part; 6] = [
        Part::Spawner,
        Part::Keeper,
        Part::Dumper,
        Part::Init,
        Part::Restorer,
        Part::Instance,
    ];
    with_images_as(0, async |pool, began| {
        let before = held_before(&pool).await;
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        println!("       seed {:#x}", dice.0);
        let mut hits = Hits::default();
        for round in 0..160 {
            if round >= 40 && hits.has(&PARTS) {
                break;
            }
            let rolled = dice.roll();
            let instance = started_again(&pool).await;
            let io = instance.take_io().expect("descriptors");
            let talk = Talk::of(&io);
            // Its spawner may have been killed just before this one.
            let grown = talk.try_send("x = bytearray(os.urandom(1 << 20)) * 30");
            if !grown || talk.answer().await.is_none() {
                continue;
            }
            // At any time of all of it, or of the life of whom it takes; microseconds.
            let (wanted, sooner, later) = match round % 8 {
                0 => (Part::Spawner, 25_000, 1),
                1 | 5 => (Part::Dumper, 1, 20_000),
                2 | 6 => (Part::Restorer, 1, 1),
                3 => (Part::Instance, 25_000, 1),
                4 => (Part::Keeper, 25_000, 1),
                _ => (Part::Init, 25_000, 1),
            };
            let is_over = Cell::new(false);
            let kill = async {
                tokio::time::sleep(Duration::from_micros(rolled % sooner)).await;
                let after = Duration::from_micros(rolled % later);
                hits.one(wanted, &[0], rolled, after, &is_over).await;
            };
            let take = async {
                if let Ok(image) = instance.take_image(soon(began)).await
                    && let Ok(thawed) = pool.start(of_root(Some(&image)), SOON).await
                {
                    thawed.destroy().await;
                }
                is_over.set(true);
            };
            let both = async { tokio::join!(kill, take) };
            tokio::time::timeout(ANSWER_MAX, both)
                .await
                .expect("all of it ends");
            instance.destroy().await;
        }
        println!("       {hits:?}");
        assert!(hits.has(&PARTS) && hits.all() >= 20, "{hits:?}");
        started_again(&pool).await.destroy().await;
        before.returns().await;
    });
}

/// Stands still amid a dump until its supervisor or it is killed: the dumper has stopped whom it looks at,
/// and is stopped itself.
pub fn amid_a_dump() {
    with_images_as(0, async |pool, began| {
        let is_amid = async || {
            let (instance, talk, _io) = begin(&pool, of_root(None)).await;
            talk.ask("x = bytearray(os.urandom(1 << 20)) * 120").await;
            let taking = tokio::spawn(async move {
                let taken = instance.take_image(soon(began)).await.map(drop);
                (taken, instance.exited().await)
            });
            while !taking.is_finished() {
                tokio::task::yield_now().await;
                let mut workers = children(starts::spawner(0)).into_iter();
                let dumper = workers.find(|pid| starts::name_of(*pid) == "fh-dumper");
                let is_traced = |pid: &i32| starts::state_of(*pid) == Some('t');
                if let Some(dumper) = dumper.filter(|_| pids_2(0).iter().any(is_traced)) {
                    return Some((starts::Stopped::now(dumper), taking));
                }
            }
            None
        };
        let mut amid = None;
        for _ in 0..10 {
            amid = is_amid().await;
            if amid.is_some() {
                break;
            }
        }
        let (_stopped, taking) = amid.expect("a dump of ten that was under way");
        println!("serving");
        pool.supervisor_lost().await;
        let (taken, report) = taking.await.expect("no panic");
        assert!(taken.is_err(), "{taken:?}");
        assert!(
            matches!(report.cause, ExitCause::SpawnerLost { .. }),
            "{report:?}"
        );
        std::process::exit(0)
    });
}

/// The first lane gives an instance again, soon.
async fn started_again(pool: &SandboxPool) -> Arc<dyn Instance> {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match pool.start(of_root(None), SOON).await {
            Ok(instance) => return instance,
            Err(error) => assert!(Instant::now() < until, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Pids 2 of the sandboxes of the host's Python on a lane, of parked and live ones.
pub(super) fn pids_2(lane: u16) -> Vec<i32> {
    let has_python = |pid: &i32| std::fs::exists(format!("/proc/{pid}/root/opt/guest.py"));
    let guests = starts::guests(lane).into_iter();
    guests
        .filter(|pid| has_python(pid).unwrap_or(false))
        .collect()
}

/// Pid 2 of a sandbox is killed while an image comes to life in it, by then the restorer or what is in the
/// image: the start ends in an instance or a reason, the instance in a report.
pub fn victims() {
    const PARTS: [Part; 3] = [Part::Parked, Part::Restorer, Part::Instance];
    with_images_as(0, async |pool, began| {
        let before = held_before(&pool).await;
        let (taken, talk, io) = begin(&pool, of_root(None)).await;
        talk.ask("x = bytearray(os.urandom(1 << 20)) * 30").await;
        let image = taken.take_image(soon(began)).await.expect("an image");
        drop((taken, talk, io));
        let mut elsewhere = of_root(Some(&image));
        elsewhere.core = CoreId(1);
        let (beside, other, other_io) = begin(&pool, elsewhere).await;
        let mut dice = Dice(0x2545_f491_4f6c_dd1d);
        println!("       seed {:#x}", dice.0);
        let (mut killed, mut refused, mut ended) = (0, 0, 0);
        let mut hits = Hits::default();
        for round in 0..320 {
            if round >= 80 && hits.has(&PARTS) {
                break;
            }
            let is_over = Cell::new(false);
            let kill = async {
                // The restorer as soon as it is there, or whoever it is.
                if round % 4 == 0 {
                    let none = Duration::ZERO;
                    let restorer = Part::Restorer;
                    return hits.one(restorer, &[0], dice.roll(), none, &is_over).await;
                }
                tokio::time::sleep(Duration::from_micros(dice.roll() % 4_000)).await;
                killed += pids_2(0).into_iter().filter(|pid| hits.guest(*pid)).count();
            };
            let start = async {
                let started = pool.start(of_root(Some(&image)), SOON).await;
                is_over.set(true);
                started
            };
            let both = async { tokio::join!(kill, start).1 };
            let started = tokio::time::timeout(ANSWER_MAX, both).await;
            match started.expect("it ends") {
                Ok(instance) => {
                    let io = instance.take_io().expect("descriptors");
                    let talk = Talk::of(&io);
                    let answer = match talk.try_send("out = len(x) >> 20") {
                        true => talk.answer().await,
                        false => None,
                    };
                    match answer {
                        Some(said) => assert_eq!(said, "30"),
                        None => ended += 1,
                    }
                    let report = instance.destroy().await;
                    assert!(
                        matches!(report.cause, ExitCause::Destroyed | ExitCause::Signaled(9)),
                        "{report:?}"
                    );
                }
                Err(
                    StartError::Lost { .. } | StartError::Step { .. } | StartError::Image { .. },
                ) => {
                    refused += 1;
                }
                Err(error) => panic!("{error}"),
            }
        }
        println!("       {killed} killed: {refused} starts refused, {ended} instances ended");
        assert!(refused > 0 && ended > 0, "{refused} {ended} of {killed}");
        println!("       {hits:?}");
        assert!(hits.has(&PARTS), "{hits:?}");
        // Nobody else has noticed anything.
        assert_eq!(other.ask("out = len(x) >> 20").await, "30");
        started_again(&pool).await.destroy().await;
        beside.destroy().await;
        drop((image, beside, other, other_io));
        before.returns().await;
    });
}
