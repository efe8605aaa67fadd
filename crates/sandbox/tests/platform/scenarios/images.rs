//! Start images: what goes on, what is refused, what twins share, what it costs.

mod attacks;
mod memory;
mod routes;
pub mod steps;

pub use attacks::{amid_a_dump, dumper, hostile, kills, sibling, victims};
pub use memory::{copies, grows, memory, several};
pub use routes::{names, routes};

use super::*;
use crate::tree::PYTHON;
use freehold_domain::{
    network::NetworkId,
    ports::{ImageError, Recount, Specialisation, StartImage},
};
use std::collections::{BTreeSet, HashSet};

/// Draws out of state in the process's own memory.
const VDSO_RANDOM: &str = include_str!("../../../../../tests/functions/python/vdso_random.py");
/// Long enough for a slow machine; nothing here is timed by it.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// The line to the program in `guest.py`.
pub struct Talk {
    frames: AsyncFd<OwnedFd>,
}

impl Talk {
    fn of(io: &InstanceIo) -> Talk {
        Talk {
            frames: watched(io.frames.as_ref().expect("a frames socket")),
        }
    }

    fn send(&self, code: &str) {
        assert!(self.try_send(code), "it lives");
    }

    /// Whether it could be sent: to whom has ended nothing can.
    fn try_send(&self, code: &str) -> bool {
        rustix::io::write(self.frames.get_ref(), code.as_bytes()) == Ok(code.len())
    }

    async fn answer(&self) -> Option<String> {
        let mut text = String::new();
        let reading = async {
            loop {
                let mut ready = self.frames.readable().await.expect("readable");
                let mut chunk = [0u8; 65536];
                match rustix::io::read(self.frames.get_ref(), &mut chunk) {
                    Ok(0) => return None,
                    Ok(len) => text.push_str(&String::from_utf8_lossy(&chunk[..len])),
                    Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                    Err(_) => return None,
                }
                if text.ends_with('\n') {
                    return Some(());
                }
            }
        };
        let done = tokio::time::timeout(ANSWER_MAX, reading).await;
        done.expect("an answer in time")
            .map(|()| text.trim_end().to_owned())
    }

    /// Runs `code`; what it left in `out`.
    pub async fn ask(&self, code: &str) -> String {
        self.send(code);
        let said = self.answer().await.expect("it lives");
        assert!(!said.starts_with('!'), "{code}: {said}");
        said
    }
}

fn python(image: Option<&StartImage>, package: bool) -> InstanceSpec {
    let mut spec = spec(SERVER, 0, &[]);
    spec.runtime = PYTHON;
    spec.image = image.cloned();
    spec.memory = Mebibytes(256);
    if !package {
        spec.package = None;
    }
    spec
}

async fn begin(pool: &SandboxPool, spec: InstanceSpec) -> (Arc<dyn Instance>, Talk, InstanceIo) {
    let (instance, io) = start(pool, spec).await;
    let talk = Talk::of(&io);
    (instance, talk, io)
}

fn soon(pool_began: Instant) -> Mono {
    Mono((pool_began.elapsed() + Duration::from_secs(20)).as_nanos() as u64)
}

/// Runs a test with a platform, unless the machine has no images or no Python.
fn with_images(test: impl AsyncFnOnce(Arc<SandboxPool>, Instant)) {
    with_images_as(SERVER, test);
}

/// The same; `uid` 0 stays root, who may kill.
fn with_images_as(uid: u32, test: impl AsyncFnOnce(Arc<SandboxPool>, Instant)) {
    let table = std::fs::read_to_string(tree::path().join("table.json")).expect("a table");
    if !table.contains("guest.py") {
        println!("skipped: there is no python3");
        return;
    }
    let began = Instant::now();
    platform(uid, async |pool| {
        // Each spawner says so when it greets.
        let until = Instant::now() + Duration::from_secs(10);
        while let Err(reason) = pool.images() {
            if reason.contains("x86-64") {
                println!("skipped: no start images: {reason}");
                return;
            }
            assert!(Instant::now() < until, "no start images: {reason}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        test(pool, began).await;
    });
}

/// Runs a test with a line to an instance that was thawed, from an image of what has run `init`.
pub fn with_thawed(init: &str, test: impl AsyncFnOnce(Talk)) {
    with_images(async |pool, began| {
        let image = image_of(&pool, began, init).await;
        let (_instance, talk, _io) = begin(&pool, python(Some(&image), true)).await;
        test(talk).await;
    });
}

/// A process that has run `init`, as an image; it is gone afterwards.
async fn image_of(pool: &SandboxPool, began: Instant, init: &str) -> StartImage {
    let (instance, talk, _io) = begin(pool, python(None, true)).await;
    talk.ask(init).await;
    let image = instance.take_image(soon(began)).await.expect("an image");
    assert_eq!(instance.exited().await.cause, ExitCause::Destroyed);
    image
}

pub fn goes_on() {
    with_images(async |pool, began| {
        let init = "
import signal, ssl, threading, json
os.environ['LEFT'] = 'by init'
state = {'n': 41, 'big': bytearray(b'x') * (3 << 20)}
hits = []
signal.signal(signal.SIGUSR1, lambda *a: hits.append(1))
os.umask(0o027)
pid = os.getpid()
import mmap
low = open('/var/task/file', buffering=0, mode='rb')
low.read(4)
high = os.open('/opt/guest.py', os.O_RDONLY)
high = (os.dup2(high, 77, inheritable=True), os.close(high))[0]
out = sorted(os.listdir('/proc/self/fd'))";
        let image = image_of(&pool, began, init).await;
        assert!(image.bytes > 4 << 20, "{}", image.bytes);
        let comm = {
            let (_instance, talk, _io) = begin(&pool, python(None, true)).await;
            talk.ask("out = open('/proc/self/comm').read()").await
        };
        let mut pids = BTreeSet::new();
        for round in 0..3 {
            let (instance, talk, io) = begin(&pool, python(Some(&image), true)).await;
            assert_eq!(talk.ask("out = state['n'] + 1; state['n'] = 7").await, "42");
            assert_eq!(
                talk.ask("out = len(state['big']), state['big'][-1]").await,
                "(3145728, 120)"
            );
            assert_eq!(talk.ask("out = os.environ['LEFT']").await, "by init");
            assert_eq!(
                talk.ask("out = open('/var/task/file').read().strip()")
                    .await,
                "packaged"
            );
            assert_eq!(talk.ask("out = os.getcwd()").await, "/var/task");
            assert_eq!(talk.ask("out = oct(os.umask(0o027))").await, "0o27");
            // Neither the image nor the control socket, nor anything else of ours.
            let open = "out = sorted(int(f) for f in os.listdir('/proc/self/fd'))";
            assert_eq!(talk.ask(open).await, "[0, 1, 2, 3, 4, 5, 77]");
            // What it was reading it goes on reading, each for itself.
            assert_eq!(talk.ask("out = low.read()").await, r"b'aged\n'");
            assert_eq!(
                talk.ask("out = os.read(77, 7), os.get_inheritable(77), os.get_inheritable(4)")
                    .await,
                "(b'\"\"\"Does', True, False)"
            );
            assert_eq!(
                talk.ask("out = os.readlink('/proc/self/exe')").await,
                "/runtime"
            );
            let names = talk.ask("out = open('/proc/self/cmdline').read()").await;
            assert!(names.contains("guest.py"), "{names}");
            let name = talk.ask("out = open('/proc/self/comm').read()").await;
            assert_eq!(name, comm);
            let pid = talk.ask("out = os.getpid()").await;
            assert_eq!(talk.ask("out = os.getpid() != pid").await, "True");
            pids.insert(pid);
            // Signals, threads, further memory, children, files, output.
            let signals = "os.kill(os.getpid(), signal.SIGUSR1); out = len(hits)";
            assert_eq!(talk.ask(signals).await, "1");
            let threads = "
q = []
t = [threading.Thread(target=q.append, args=(i,)) for i in range(8)]
[x.start() for x in t]; [x.join() for x in t]; out = len(q)";
            assert_eq!(talk.ask(threads).await, "8");
            assert_eq!(
                talk.ask("x = [bytearray(1 << 16) for _ in range(400)]; out = len(x)")
                    .await,
                "400"
            );
            assert_eq!(talk.ask("import subprocess; out = subprocess.run(['/bin/sh', '-c', 'echo $LEFT'], capture_output=True, text=True).stdout").await, "by init");
            assert_eq!(talk.ask("out = os.listdir('/tmp')").await, "[]");
            assert_eq!(
                talk.ask("open('/tmp/mine', 'w').write('x'); out = 1").await,
                "1"
            );
            talk.ask(&format!("print('said {round}', flush=True)"))
                .await;
            read_until(&io.stdout, &format!("said {round}\n")).await;
            // No child has the pid of what the image was taken of either.
            let children = "out = min(subprocess.Popen(['/bin/true']).pid for _ in range(70))";
            let first: i32 = talk.ask(children).await.parse().expect("a pid");
            assert!(first > 62, "{first}");
            // Who executes what /proc/self/exe names finds no image and ends.
            let executed = "out = subprocess.run(['/proc/self/exe']).returncode";
            assert_eq!(talk.ask(executed).await, "125");
            assert_eq!(instance.destroy().await.cause, ExitCause::Destroyed);
        }
        // On the other core as well: an image is nobody's lane's.
        let mut elsewhere = python(Some(&image), true);
        elsewhere.core = CoreId(1);
        let (_instance, talk, _io) = begin(&pool, elsewhere).await;
        assert_eq!(talk.ask("out = state['n'] + 1").await, "42");
        // An image of what was thawed carries what both have written.
        let (second, talk, _io) = begin(&pool, python(Some(&image), true)).await;
        talk.ask("state['n'] = 99").await;
        let again = second
            .take_image(soon(began))
            .await
            .expect("an image of a thawed one");
        drop(image);
        let (_instance, talk, _io) = begin(&pool, python(Some(&again), true)).await;
        let both = "out = state['n'], len(state['big']), os.environ['LEFT']";
        assert_eq!(talk.ask(both).await, "(99, 3145728, 'by init')");
        let (_instance, talk, _io) = begin(&pool, python(Some(&again), true)).await;
        assert_eq!(
            talk.ask("hits.clear(); os.kill(os.getpid(), signal.SIGUSR1); out = len(hits)")
                .await,
            "1"
        );
    });
}

pub fn twins() {
    // Fewer where each takes half a second, in a machine that is emulated.
    let siblings: usize = std::env::var("SIBLINGS").map_or(2000, |n| n.parse().expect("a number"));
    with_images(async move |pool, began| {
        // State of the vDSO's generator that has bytes left to give; all zero, it is seeded anew.
        let init = format!(
            "{VDSO_RANDOM}
if draw: draw(); assert any(state[:])
import ssl, random, uuid, secrets, tempfile, mmap, time
ssl.RAND_bytes(8); random.random(); uuid.uuid4(); uuid.uuid1()
wiped = mmap.mmap(-1, 8192, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
wiped.madvise(18); wiped[:6] = b'secret'
# Memory of the same kind, whatever its flags are called; Linux 6.11.
try: droppable = mmap.mmap(-1, 8192, flags=8 | mmap.MAP_ANONYMOUS)
except OSError: droppable = mmap.mmap(-1, 8192, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS); droppable.madvise(18)
droppable[:6] = b'secret'
kept = mmap.mmap(-1, 8192, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
kept[:4] = b'kept'"
        );
        let image = image_of(&pool, began, &init).await;
        let mut each = 0;
        let mut seen: HashSet<String> = HashSet::new();
        let mut before = HashSet::new();
        for _ in 0..siblings {
            let (instance, talk, _io) = begin(&pool, python(Some(&image), true)).await;
            let emptied = "out = draw is None or not any(state[:])";
            assert_eq!(talk.ask(emptied).await, "True");
            let fresh = "
out = ' '.join(['u' + os.urandom(16).hex(), 'r' + ssl.RAND_bytes(16).hex(), 's' + secrets.token_hex(16), '4' + uuid.uuid4().hex]
    + (['v' + draw()] if draw else []))";
            let drawn = talk.ask(fresh).await;
            each = drawn.split(' ').count() + 1;
            for value in drawn.split(' ') {
                assert!(seen.insert(value.to_owned()), "two siblings have {value}");
            }
            // What a page of a library must not keep over a copy, it does not keep over a thaw.
            assert_eq!(
                talk.ask("out = wiped[:6] + droppable[:6] == bytes(12), kept[:4]")
                    .await,
                "(True, b'kept')"
            );
            // A generator in the process's own memory is the bootstrap's to seed.
            before.insert(talk.ask("out = random.random()").await);
            let seeded = talk
                .ask("random.seed(os.urandom(32)); out = random.random()")
                .await;
            assert!(seen.insert(seeded), "two siblings were seeded alike");
            instance.destroy().await;
        }
        assert_eq!(before.len(), 1, "a thaw is a copy");
        assert_eq!(seen.len(), siblings * each);
        if each < 6 {
            println!("missed: this kernel draws nothing in its vDSO");
        }
    });
}

pub fn refused() {
    let cases = [
        (
            "threads",
            "import threading, time; threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
            "2 threads",
        ),
        (
            "socket",
            "import socket; s = socket.socket()",
            "is a socket",
        ),
        ("pipe", "p = os.pipe()", "is a pipe"),
        ("epoll", "import select; e = select.epoll()", "epoll"),
        (
            "folder descriptor",
            "f = os.open('/var/task', os.O_RDONLY)",
            "is a file",
        ),
        (
            "file of its own",
            "f = open('/tmp/f', 'w+'); os.unlink('/tmp/f')",
            "is a file",
        ),
        (
            "file twice",
            "f = open('/var/task/file'); g = os.dup(f.fileno())",
            "is a file",
        ),
        (
            "locked file",
            "import fcntl; f = open('/var/task/file'); fcntl.flock(f, fcntl.LOCK_SH)",
            "is a file",
        ),
        (
            "child",
            "import subprocess; c = subprocess.Popen(['/bin/sleep', '60'])",
            "1 other processes",
        ),
        (
            "orphan",
            "import subprocess; subprocess.run(['/bin/sh', '-c', 'sleep 60 >/dev/null 2>&1 &'])",
            "1 other processes",
        ),
        (
            "left file",
            "open('/tmp/x', 'w').write('x')",
            "files below /tmp",
        ),
        (
            "shm file",
            "open('/dev/shm/x', 'w').write('x')",
            "files below /tmp or /dev/shm",
        ),
        (
            "own mapping",
            "
import mmap
f = open('/tmp/m', 'w+b'); f.write(b'x' * 8192); f.flush()
m = mmap.mmap(f.fileno(), 8192, flags=mmap.MAP_PRIVATE); f.close()
os.unlink('/tmp/m')",
            "is a file",
        ),
        (
            "shared memory",
            "import mmap; m = mmap.mmap(-1, 8192)",
            "shared, writable memory",
        ),
        (
            "interval timer",
            "import signal; signal.signal(signal.SIGALRM, lambda *a: 0); signal.alarm(60)",
            "timers",
        ),
        (
            "posix timer",
            "
import ctypes
t = ctypes.c_void_p()
assert ctypes.CDLL(None, use_errno=True).timer_create(0, None, ctypes.byref(t)) == 0",
            "timers",
        ),
        (
            "ipc",
            "
import ctypes
assert ctypes.CDLL(None, use_errno=True).shmget(7, 4096, 0o1600) >= 0",
            "System V",
        ),
        (
            "folder",
            "os.mkdir('/tmp/d'); os.chdir('/tmp/d'); os.rmdir('/tmp/d')",
            "working folder",
        ),
        ("output", "os.dup2(0, 1)", "descriptor 1"),
        (
            "signal",
            "
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]); os.kill(os.getpid(), signal.SIGUSR1)",
            "a signal waits",
        ),
    ];
    // Who may have tiles is another matter than whether the processor has any.
    let tiles = (
        "tiles",
        "
import ctypes
assert ctypes.CDLL(None, use_errno=True).syscall(158, 0x1023, 18) == 0",
        "it uses AMX",
    );
    let processor = std::fs::read_to_string("/proc/cpuinfo").expect("the processor");
    let has_tiles = processor.contains("amx_tile");
    with_images(async |pool, began| {
        for (name, code, wanted) in cases.into_iter().chain(has_tiles.then_some(tiles)) {
            let (instance, talk, _io) = begin(&pool, python(None, true)).await;
            talk.ask(code).await;
            let error = instance.take_image(soon(began)).await.expect_err(name);
            assert!(
                matches!(&error, ImageError::Refused { reason } if reason.contains(wanted)),
                "{name}: {error}"
            );
            // It is of no further use, and goes.
            instance.exited().await;
        }
        // Who never waits for a frame is given up in time.
        let (instance, talk, _io) = begin(&pool, python(None, true)).await;
        talk.send("while True: pass");
        let within = Mono((began.elapsed() + Duration::from_millis(700)).as_nanos() as u64);
        let error = instance.take_image(within).await.expect_err("it is busy");
        assert!(
            matches!(error, ImageError::Deadline | ImageError::Refused { .. }),
            "{error}"
        );
        // Of one that is gone there is none.
        let (instance, _talk, _io) = begin(&pool, python(None, true)).await;
        instance.destroy().await;
        let error = instance
            .take_image(soon(began))
            .await
            .expect_err("it is gone");
        assert_eq!(error, ImageError::Gone);
        // An image leaves memory to live in.
        let image = image_of(&pool, began, "x = bytearray(os.urandom(1 << 20)) * 40").await;
        let mut small = python(Some(&image), true);
        small.memory = Mebibytes(48);
        let error = pool
            .start(small, SOON)
            .await
            .map(drop)
            .expect_err("no room");
        assert!(matches!(error, StartError::Image { .. }), "{error}");
        // One that leaves none, of the memory that it was taken with, is not taken; another is, and
        // comes to life with it.
        for (held, fits) in [(36, true), (48, false)] {
            let mut full = python(None, true);
            full.memory = Mebibytes(64);
            let (instance, talk, _io) = begin(&pool, full).await;
            talk.ask(&format!("x = bytearray(os.urandom(1 << 20)) * {held}"))
                .await;
            match instance.take_image(soon(began)).await {
                Ok(image) => {
                    assert!(fits, "{} bytes of 64 MiB", image.bytes);
                    let mut again = python(Some(&image), true);
                    again.memory = Mebibytes(64);
                    let (_again, talk, _io) = begin(&pool, again).await;
                    assert_eq!(talk.ask("out = len(x) >> 20").await, "36");
                }
                Err(ImageError::Refused { reason }) => {
                    assert!(!fits && reason.contains("more than 48 MiB"), "{reason}");
                }
                Err(error) => panic!("{held}: {error}"),
            }
        }
        // It is of the runtime that it was taken under.
        let mut other = python(Some(&image), true);
        other.runtime = 1;
        let error = pool
            .start(other, SOON)
            .await
            .map(drop)
            .expect_err("another runtime");
        assert!(
            matches!(&error, StartError::Image { reason } if reason.contains("runtime")),
            "{error}"
        );
    });
}

fn to_a_revision() -> Specialisation {
    Specialisation {
        package: package("package"),
        memory: Mebibytes(128),
        tmp: Mebibytes(64),
        pids: 64,
        cpu: CpuShare {
            weight: 74,
            quota_us: None,
        },
        network: NetworkId::NONE,
    }
}

pub fn specialised() {
    with_images(async |pool, began| {
        let image = {
            let (instance, talk, _io) = begin(&pool, python(None, false)).await;
            assert_eq!(
                talk.ask("import json; out = os.listdir('/var/task')").await,
                "[]"
            );
            instance
                .take_image(soon(began))
                .await
                .expect("a generic image")
        };
        for from in [None, Some(&image)] {
            let (instance, talk, _io) = begin(&pool, python(from, false)).await;
            // Nothing may be written before it is somebody's.
            assert!(
                talk.ask(
                    "
try: open('/tmp/x', 'w'); out = 'written'
except OSError as e: out = e.errno"
                )
                .await
                    != "written"
            );
            instance
                .specialise(to_a_revision(), SOON)
                .await
                .expect("specialised");
            let code = "os.chdir('/var/task'); out = open('file').read().strip()";
            assert_eq!(talk.ask(code).await, "packaged");
            assert_eq!(
                talk.ask("open('/tmp/x', 'w').write('x'); out = os.listdir('/tmp')")
                    .await,
                "['x']"
            );
            let size = "s = os.statvfs('/tmp'); out = s.f_blocks * s.f_frsize >> 20";
            let size: u64 = talk.ask(size).await.parse().expect("a size");
            assert!((50..=80).contains(&size), "{size} MiB");
            // Programs that raise give it nothing either.
            assert_eq!(talk.ask(walls::RAISE).await, walls::RAISED_NOBODY);
            // Once.
            let error = instance.specialise(to_a_revision(), SOON).await;
            assert!(error.is_err(), "twice");
            assert_eq!(talk.ask("out = 'still there'").await, "still there");
            // Its limits are the new ones.
            talk.send("x = bytearray(os.urandom(1 << 20)) * 200; out = 'held'");
            assert_eq!(talk.answer().await, None);
            assert_eq!(instance.exited().await.cause, ExitCause::OutOfMemory);
        }
        // More memory than it was booted with is its own as well.
        let (instance, talk, _io) = begin(&pool, python(Some(&image), false)).await;
        let larger = Specialisation {
            memory: Mebibytes(512),
            ..to_a_revision()
        };
        instance
            .specialise(larger, SOON)
            .await
            .expect("specialised");
        let held = "x = bytearray(os.urandom(1 << 20)) * 300; out = len(x) >> 20";
        assert_eq!(talk.ask(held).await, "300");
        // What has a package already has all of it.
        let (instance, _talk, _io) = begin(&pool, python(None, true)).await;
        assert!(instance.specialise(to_a_revision(), SOON).await.is_err());
        // A package of somebody else's is refused, and the booted instance may have another.
        let (instance, talk, _io) = begin(&pool, python(Some(&image), false)).await;
        let mut wrong = to_a_revision();
        wrong.package = package("package-other");
        let error = instance
            .specialise(wrong, SOON)
            .await
            .expect_err("not the server's");
        assert!(matches!(error, StartError::Package { .. }), "{error}");
        // With more memory than it was booted with, too.
        let mut larger = to_a_revision();
        larger.memory = Mebibytes(4096);
        instance
            .specialise(larger, SOON)
            .await
            .expect("the right one");
        assert_eq!(talk.ask("out = os.listdir('/var/task')").await, "['file']");
        // An image of an initialised revision thaws with its package mounted.
        talk.ask("os.chdir('/var/task'); ready = open('file').read()")
            .await;
        let image = instance
            .take_image(soon(began))
            .await
            .expect("an image of a revision");
        let (_instance, talk, _io) = begin(&pool, python(Some(&image), true)).await;
        assert_eq!(
            talk.ask("out = ready.strip(), open('file').read().strip()")
                .await,
            "('packaged', 'packaged')"
        );
    });
}

/// Everything that one process can leave for another under a name: files, shared memory, a semaphore and a
/// queue of System V, a queue of POSIX, an abstract socket. By the numbers that x86-64 has for the calls.
const MARKS: &str = r"
import ctypes, errno, socket
L = ctypes.CDLL(None, use_errno=True)
L.shmat.restype = ctypes.c_void_p
def sc(nr, *a):
    ctypes.set_errno(0)
    r = L.syscall(ctypes.c_long(nr), *[ctypes.c_long(x) if isinstance(x, int) else ctypes.c_char_p(x) for x in a])
    if r < 0: raise OSError(ctypes.get_errno(), '')
    return r
shmget, semget, semctl, msgget, mq_open = 29, 64, 66, 68, 240
key, new = 0x6d61726b, 0o3600
def make(word):
    global listener
    for path in ('/tmp/mark', '/dev/shm/mark'):
        with open(path, 'x') as file: file.write(word)
    at = L.shmat(sc(shmget, key, 4096, new), None, 0)
    ctypes.memmove(at, word.encode(), len(word))
    sc(semctl, sc(semget, key, 1, new), 0, 16, len(word))
    sc(msgget, key, new)
    os.close(sc(mq_open, b'mark', os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600, 0))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind('\0mark')
    listener.listen()
def shared():
    return ctypes.string_at(L.shmat(sc(shmget, key, 0, 0), None, 0)).decode()
def connected():
    with socket.socket(socket.AF_UNIX) as one: one.connect('\0mark')
    return True
def seen():
    def look(at):
        try: return at()
        except OSError as error: return errno.errorcode[error.errno]
    return [look(at) for at in (
        lambda: open('/tmp/mark').read(), lambda: open('/dev/shm/mark').read(), shared,
        lambda: sc(semctl, sc(semget, key, 0, 0), 0, 12), lambda: sc(msgget, key, 0) >= 0,
        lambda: os.close(sc(mq_open, b'mark', os.O_RDONLY, 0, 0)) is None, connected,
        lambda: [len(list(open('/proc/sysvipc/' + kind))) - 1 for kind in ('shm', 'sem', 'msg')],
        lambda: os.listdir('/tmp'), lambda: os.listdir('/dev/shm'))]
";

/// What a tenant's code sees and may do is the same, thawed and executed.
pub fn walls() {
    const LOOK: &str = "
import ctypes, socket
L = ctypes.CDLL(None, use_errno=True)
def sc(nr, *a):
    ctypes.set_errno(0)
    r = L.syscall(ctypes.c_long(nr), *[ctypes.c_long(x) if isinstance(x, int) else x for x in a])
    return r if r >= 0 else -ctypes.get_errno()
o = []
def t(name, f):
    try: r = f()
    except OSError as e: r = -e.errno
    o.append(f'{name}={r}')
S = ctypes.c_char_p
t('mount', lambda: sc(165, S(b'x'), S(b'/tmp'), S(b'tmpfs'), 0, 0)); t('umount', lambda: sc(166, S(b'/tmp'), 2))
t('unshare', lambda: sc(272, 0x10000000)); t('setns', lambda: sc(308, 3, 0)); t('clone', lambda: sc(56, 0x10000011, 0, 0, 0, 0)); t('clone3', lambda: sc(435, 0, 0))
t('ptrace', lambda: sc(101, 0, 0, 0, 0)); t('bpf', lambda: sc(321, 0, 0, 0)); t('keyctl', lambda: sc(250, 0, 0)); t('uffd', lambda: sc(323, 0)); t('seccomp', lambda: sc(317, 0, 0, 0))
t('vm_readv', lambda: sc(310, 1, 0, 0, 0, 0, 0)); t('mknod', lambda: sc(133, S(b'/tmp/d'), 0o20666, 0x103)); t('chroot', lambda: sc(161, S(b'/tmp')))
t('setuid', lambda: sc(105, 0)); t('capset', lambda: sc(126, 0, 0)); t('personality', lambda: sc(135, 0x40000))
t('set_mm exe', lambda: sc(157, 35, 13, 3, 0, 0)); t('set_mm brk', lambda: sc(157, 35, 7, 0, 0, 0))
t('packet', lambda: socket.socket(17, 3).close()); t('netlink', lambda: socket.socket(16, 3).close()); t('raw', lambda: socket.socket(2, 3, 1).close())
t('root', lambda: open('/x', 'w')); t('task', lambda: open('/var/task/x', 'w')); t('sysctl', lambda: open('/proc/sys/kernel/hostname', 'w'))
t('pid1', lambda: os.kill(1, 9)); t('pid1 environ', lambda: open('/proc/1/environ').read()); t('pid1 root', lambda: os.listdir('/proc/1/root'))
t('map_files', lambda: [open('/proc/self/map_files/' + f) for f in os.listdir('/proc/self/map_files')] and 'open')
t('exe', lambda: open('/proc/self/exe', 'r+b'))
t('mounts', lambda: sorted(l.split(' ')[4] for l in open('/proc/self/mountinfo')))
t('status', lambda: [l.split() for l in open('/proc/self/status') if l[:3] in ('Cap', 'Sec', 'NoN', 'Gro')])
t('limits', lambda: open('/proc/self/limits').read().split())
t('session', lambda: os.getsid(0) == os.getpid())
t('pids', lambda: len([p for p in os.listdir('/proc') if p.isdigit()]))
t('oom', lambda: open('/proc/self/oom_score_adj').read().strip())
out = '|'.join(o)";
    with_images(async |pool, began| {
        let (instance, talk, _io) = begin(&pool, python(None, true)).await;
        let executed = talk.ask(LOOK).await;
        instance.destroy().await;
        let image = image_of(&pool, began, "pass").await;
        let (_instance, talk, _io) = begin(&pool, python(Some(&image), true)).await;
        let thawed = talk.ask(LOOK).await;
        let lines = |said: &str| said.split('|').count();
        assert_eq!(lines(&executed), lines(&thawed));
        for (executed, thawed) in executed.split('|').zip(thawed.split('|')) {
            assert_eq!(executed, thawed);
        }
        for line in [
            "mount=-1",
            "unshare=-1",
            "ptrace=-1",
            "root=-30",
            "pid1=-1",
            "set_mm exe=-1",
        ] {
            assert!(
                thawed.split('|').any(|l| l == line),
                "{line} not in {thawed}"
            );
        }
        // Memory of an image would come back as it was, not as zeroes: so nobody is promised them.
        let dropped = "
import mmap
m = mmap.mmap(-1, 8192, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
try: m.madvise(4); out = 'dropped'
except OSError as e: out = e.errno";
        assert_eq!(talk.ask(dropped).await, "22");
        // Nor is a restriction accepted that an image would lose.
        let restricted = "
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
assert libc.syscall(446, -1, 0) == -1
out = ctypes.get_errno()";
        assert_eq!(talk.ask(restricted).await, "95");
        // What one writes, its sibling does not see, by whichever way.
        let image = image_of(&pool, began, "text = bytearray(b'first') * 4096").await;
        let (_one, first, _io) = begin(&pool, python(Some(&image), true)).await;
        let (_two, second, _io2) = begin(&pool, python(Some(&image), true)).await;
        let poke = "
import ctypes
at = ctypes.addressof((ctypes.c_char * len(text)).from_buffer(text))
ctypes.memmove(at, b'FIRST', 5)
text[5:10] = b'other'
out = bytes(text[:10])";
        assert_eq!(first.ask(poke).await, "b'FIRSTother'");
        assert_eq!(second.ask("out = bytes(text[:10])").await, "b'firstfirst'");
        // Nor what it leaves under a name that both know, while both live.
        for talk in [&first, &second] {
            talk.ask(MARKS).await;
        }
        let made = |word: &str| format!("make('{word}'); out = seen()");
        let own = |word: &str| {
            let len = word.len();
            format!(
                "['{word}', '{word}', '{word}', {len}, True, True, True, [1, 1, 1], ['mark'], ['mark']]"
            )
        };
        let nothing = "['ENOENT', 'ENOENT', 'ENOENT', 'ENOENT', 'ENOENT', 'ENOENT', 'ECONNREFUSED', [0, 0, 0], [], []]";
        assert_eq!(first.ask(&made("first")).await, own("first"));
        assert_eq!(second.ask("out = seen()").await, nothing);
        // Each makes them as if nobody had.
        assert_eq!(second.ask(&made("second")).await, own("second"));
        assert_eq!(first.ask("out = seen()").await, own("first"));
    });
}

/// Not a test of time: prints what a start from an image costs, beside an executed one.
pub fn latency() {
    with_images(async |pool, began| {
        let report = |what: &str, times: &mut Vec<Duration>| {
            times.sort();
            let of = |part: usize| times[(times.len() - 1) * part / 100];
            println!(
                "       {what}: p10 {:?}, p50 {:?}, p99 {:?} of {}",
                of(10),
                of(50),
                of(99),
                times.len()
            );
        };
        let once = async |image: Option<&StartImage>| {
            let began = Instant::now();
            let (instance, talk, io) = begin(&pool, python(image, true)).await;
            let started = began.elapsed();
            let at_start = instance.usage().await.expect("usage").cpu_us;
            talk.ask("out = 1").await;
            let answered = began.elapsed();
            talk.ask("out = 1").await;
            let second = began.elapsed() - answered;
            let cpu_us = instance.usage().await.expect("usage").cpu_us;
            drop((talk, io));
            instance.destroy().await;
            [
                started,
                answered,
                second,
                Duration::from_micros(at_start),
                Duration::from_micros(cpu_us),
            ]
        };
        let init = "import json, ssl, logging, gc; gc.collect(); gc.freeze()";
        let image = image_of(&pool, began, init).await;
        println!("       image of {} KiB", image.bytes >> 10);
        for (what, image, count, pause) in [
            ("executed", None, 30, 20),
            ("thawed", Some(&image), 300, 5),
            ("thawed, one per 100 ms", Some(&image), 60, 100),
        ] {
            let mut all: [Vec<Duration>; 5] = Default::default();
            for _ in 0..count {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                for (times, time) in all.iter_mut().zip(once(image).await) {
                    times.push(time);
                }
            }
            let names = [
                "to Started",
                "to the first answer",
                "its second answer",
                "processor until Started",
                "processor",
            ];
            for (name, times) in names.into_iter().zip(&mut all) {
                report(&format!("{what}, {name}"), times);
            }
        }
    });
}
