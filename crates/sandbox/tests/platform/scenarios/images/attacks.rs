//! Processes that do their worst while an image is taken of them, and kills at any time.

use super::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// A process that does its worst while it is looked at: an error or an image in time, and nothing
/// of it is left (the orchestrator looks).
pub fn hostile() {
    const LIBC: &str = "
import ctypes
L = ctypes.CDLL(None, use_errno=True)
L.mmap.restype = ctypes.c_void_p
L.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
L.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
";
    let cases = [
        // More mappings than are carried.
        (
            "mappings",
            "
a = L.mmap(None, 40000 * 4096, 3, 0x22, -1, 0)
for i in range(0, 40000, 2):
    if L.mprotect(a + i * 4096, 4096, 1): break
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
        // The stack pointer stays, what lies below it does not.
        (
            "vdso",
            "
v = [l.split('-') for l in open('/proc/self/maps') if '[vdso]' in l][0]
L.mprotect(int(v[0], 16), 8192, 3)
",
            None,
        ),
    ];
    with_images(async |pool, began| {
        for (name, code, wanted) in cases {
            let (instance, talk, _io) = begin(&pool, python(None, true)).await;
            talk.ask(&format!("{LIBC}{code}")).await;
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

/// Whoever is killed while images are taken and thawed: each wait ends, and nothing is left.
pub fn kills() {
    with_images(async |pool, began| {
        let supervisor = supervisor_of(std::process::id() as i32);
        let mut seed = 0x9e37_79b9_7f4a_7c15u64;
        println!("       seed {seed:#x}");
        for round in 0..40 {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            let Ok(instance) = pool.start(python(None, true), SOON).await else {
                continue;
            };
            let io = instance.take_io().expect("descriptors");
            let talk = Talk::of(&io);
            talk.send("x = bytearray(os.urandom(1 << 20)) * 30");
            if talk.answer().await.is_none() {
                continue;
            }
            let kill = async {
                tokio::time::sleep(Duration::from_micros(seed % 25_000)).await;
                let spawners = children(supervisor);
                let mut victims: Vec<i32> = spawners
                    .iter()
                    .flat_map(|spawner| children(*spawner))
                    .collect();
                if round % 8 == 0 {
                    victims = spawners;
                }
                if !victims.is_empty() {
                    let victim = victims[(seed >> 33) as usize % victims.len()];
                    let pid = rustix::process::Pid::from_raw(victim).expect("a pid");
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
            };
            let take = async {
                if let Ok(image) = instance.take_image(soon(began)).await
                    && let Ok(thawed) = pool.start(python(Some(&image), true), SOON).await
                {
                    thawed.destroy().await;
                }
            };
            let both = async { tokio::join!(kill, take) };
            tokio::time::timeout(ANSWER_MAX, both)
                .await
                .expect("all of it ends");
            instance.destroy().await;
        }
        let until = Instant::now() + Duration::from_secs(10);
        while let Err(error) = pool.start(python(None, true), SOON).await {
            assert!(Instant::now() < until, "{error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
}
