//! What of an image counts as an instance's own memory, and what it may do with that.

use super::*;

/// Gives a page back: kernels before 6.2 say then what the thread has in common, and else up to 64 faults late.
const GIVES_BACK: &str = "
import mmap
page = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
page[0] = 1
page.close()
out = 1";

/// Waits until the instance does nothing more: after its answer it has some way to its next read.
async fn at_rest(instance: &dyn Instance) {
    let mut before = None;
    loop {
        let spent_us = instance.spent().expect("spent").cpu_us;
        if before.replace(spent_us) == Some(spent_us) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

/// The limit and the peak count what an image stands for, as if the instance had made it itself.
pub fn memory() {
    with_images(async |pool, began| {
        let code = "held = bytearray(os.urandom(1 << 20)) * 60";
        let (plain, talk, _io) = begin(&pool, python(None, true)).await;
        talk.ask(code).await;
        talk.ask("out = sum(held[::4096])").await;
        let executed = plain.usage().await.expect("usage").memory_peak_bytes;
        let image = plain.take_image(soon(began)).await.expect("an image");
        let (thawed, talk, _io) = begin(&pool, python(Some(&image), true)).await;
        talk.ask("out = sum(held[::4096])").await;
        talk.ask(GIVES_BACK).await;
        let usage = thawed.usage().await.expect("usage");
        let (counted, shared) = (usage.memory_peak_bytes, usage.shared_bytes);
        let spent = thawed.spent().expect("spent").memory_peak_bytes;
        let (common, untouched) = mapped_of_image(&talk).await;
        println!(
            "       peak executed {} KiB, thawed {} KiB; of the image {} in common, {} by the mappings, {} untouched",
            executed >> 10,
            counted >> 10,
            shared >> 10,
            common >> 10,
            untouched >> 10
        );
        assert!(
            shared.abs_diff(common) * 100 / common <= 5,
            "{shared} {common}"
        );
        // An executed one has made them all.
        let apart = (counted + untouched).abs_diff(executed) * 100 / executed;
        assert!(apart <= 5, "executed {executed}, thawed {counted}");
        assert!(
            spent.abs_diff(counted) * 100 / counted <= 5,
            "{spent} {counted}"
        );
        // Of 256 MiB the image has some 65: 150 more fit, 250 do not.
        assert_eq!(
            talk.ask("more = bytearray(os.urandom(1 << 20)) * 150; out = 1")
                .await,
            "1"
        );
        talk.send("most = bytearray(os.urandom(1 << 20)) * 100; out = 1");
        // It may be done before the next look, which ends it all the same.
        let _ = talk.answer().await;
        assert_eq!(thawed.exited().await.cause, ExitCause::OutOfMemory);
    });
}

/// Bytes of its image that the guest maps and has no copies of, and those that it has not touched, by
/// the kernel's account of each mapping.
async fn mapped_of_image(talk: &Talk) -> (u64, u64) {
    let look = "
common = untouched = 0
of_image = False
for line in open('/proc/self/smaps').read().splitlines():
    key, *value = line.split()
    if not key.endswith(':'):
        of_image = '/memfd:memory' in line
    elif of_image and key == 'Size:':
        untouched += int(value[0])
    elif of_image and key == 'Rss:':
        untouched -= int(value[0])
        common += int(value[0])
    elif of_image and key == 'Anonymous:':
        common -= int(value[0])
out = f'{common} {untouched}'";
    let said = talk.ask(look).await;
    let kib: Vec<u64> = said.split(' ').map(|n| n.parse().expect("KiB")).collect();
    (kib[0] << 10, kib[1] << 10)
}

/// What is written to and what is given up is no longer in common with the image: it counts once.
pub fn copies() {
    with_images(async |pool, began| {
        let write = "
for at in range(0, len(held), 4096):
    held[at] = 1
out = 1";
        let (plain, talk, _io) = begin(&pool, python(None, true)).await;
        talk.ask("held = bytearray(os.urandom(1 << 20)) * 140")
            .await;
        talk.ask(write).await;
        let executed = plain.usage().await.expect("usage").memory_peak_bytes;
        let image = plain.take_image(soon(began)).await.expect("an image");
        // 140 of 256 MiB, copied while the rest of the limit would not do for that.
        let (thawed, talk, _io) = begin(&pool, python(Some(&image), true)).await;
        assert_eq!(talk.ask(write).await, "1");
        let after = thawed.spent().expect("spent");
        assert_eq!(thawed.recount(after), Recount::Now);
        at_rest(&*thawed).await;
        let usage = thawed.usage().await.expect("usage");
        let counted = usage.memory_peak_bytes;
        let apart = counted.abs_diff(executed) * 100 / executed;
        println!(
            "       all written: executed {} KiB, thawed {} KiB, {} of them in common",
            executed >> 10,
            counted >> 10,
            usage.shared_bytes >> 10
        );
        assert!(apart <= 5, "executed {executed}, thawed {counted}");
        let spent = thawed.spent().expect("spent");
        assert_eq!(spent.memory_peak_bytes, counted);
        assert_eq!(thawed.recount(spent), Recount::No);
        assert_eq!(
            talk.ask("more = bytearray(1 << 20) * 60; out = 1").await,
            "1"
        );
        talk.send("most = bytearray(1 << 20) * 60; out = 1");
        assert_eq!(talk.answer().await, None);
        assert_eq!(thawed.exited().await.cause, ExitCause::OutOfMemory);
        // What is given up makes room.
        let (thawed, talk, _io) = begin(&pool, python(Some(&image), true)).await;
        let freed = "del held; more = bytearray(1 << 20) * 200; out = 1";
        assert_eq!(talk.ask(freed).await, "1");
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(talk.ask("out = len(more) >> 20").await, "200");
        let usage = thawed.usage().await.expect("usage");
        assert!(usage.shared_bytes < 20 << 20, "{usage:?}");
        // What it touches of the image is held against it, though its own pages alone would fit: in
        // the middle of whatever it does. Its children's pages are the same.
        let (thawed, talk, _io) = begin(&pool, python(Some(&image), true)).await;
        let child = "
pid = os.fork()
if pid == 0:
    sum(held[::4096])
    os._exit(0)
sum(held[::4096])
os.waitpid(pid, 0)
more = bytearray(1 << 20) * 60
out = 1";
        assert_eq!(talk.ask(child).await, "1");
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(talk.ask("out = 2").await, "2");
        let usage = thawed.usage().await.expect("usage");
        assert!(
            (140..160).contains(&(usage.shared_bytes >> 20)),
            "{usage:?}"
        );
        let (thawed, talk, _io) = begin(&pool, python(Some(&image), true)).await;
        talk.send(
            "sum(held[::4096]); more = bytearray(os.urandom(1 << 20)) * 130; import time; time.sleep(30)",
        );
        assert_eq!(talk.answer().await, None);
        let report = thawed.exited().await;
        assert_eq!(report.cause, ExitCause::OutOfMemory);
        assert!(report.usage.oom_kills > 0, "{:?}", report.usage);
    });
}

/// Memory of an image grows as any other: what is new is empty, what was there stays, beyond the
/// image's end as well.
pub fn grows() {
    with_images(async |pool, began| {
        let init = "
import ctypes
held = bytearray(b'a' * (8 << 20))
other = bytearray(b'b' * (8 << 20))
L = ctypes.CDLL(None, use_errno=True)
L.realloc.restype = L.calloc.restype = L.mremap.restype = ctypes.c_void_p
L.realloc.argtypes = L.calloc.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
L.mremap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
block = L.calloc(1, 4 << 20)
ctypes.memset(block, 99, 4 << 20)";
        let image = image_of(&pool, began, init).await;
        let (_instance, talk, _io) = begin(&pool, python(Some(&image), true)).await;
        let grown = "
held.extend(bytes(60 << 20))
block = L.realloc(block, 70 << 20)
ctypes.memset(block + (4 << 20), 7, 66 << 20)
out = (held[0], held[(8 << 20) - 1], sum(held[8 << 20:]), len(held) >> 20,
       ctypes.string_at(block, 4 << 20) == b'c' * (4 << 20), other == b'b' * (8 << 20))";
        let wanted = "(97, 97, 0, 68, True, True)";
        assert_eq!(talk.ask(grown).await, wanted);
        // Whoever asks the kernel itself is told that there is no memory, and smaller is granted.
        let asked = "
import mmap
m = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE)
m[:4] = b'kept'
try:
    m.resize(2 << 20); out = 'grown'
except OSError as error:
    m.resize(1 << 19); out = f'{error.errno} {m[:4]}'";
        assert_eq!(talk.ask(asked).await, "12 b'kept'");
    });
}

/// What several processes have in common with an image and with each other counts once: a function
/// that forks, or shares memory, is ended where an executed one would be.
pub fn several() {
    with_images(async |pool, began| {
        let init = "held = bytearray(os.urandom(1 << 20)) * 100";
        let image = image_of(&pool, began, init).await;
        let (instance, talk, _io) = begin(&pool, python(Some(&image), true)).await;
        // Of 256 MiB: 60 of 100 rewritten, five children that read it all, 20 in a memory file.
        let forked = "
import time
for at in range(0, 60 << 20, 4096): held[at] = 1
file = os.memfd_create('own')
os.write(file, bytes(20 << 20))
children = []
for _ in range(5):
    pid = os.fork()
    if pid == 0:
        sum(held[::4096]); time.sleep(30); os._exit(0)
    children.append(pid)
time.sleep(2)
out = 1";
        assert_eq!(talk.ask(forked).await, "1");
        let usage = instance.usage().await.expect("usage");
        // 100 of the image, 20 of the file, and what six interpreters have of their own.
        let mib = usage.memory_peak_bytes >> 20;
        assert!((118..200).contains(&mib), "{mib} MiB");
        // A file that nobody maps hides nothing: 100 of the image, 20 and 200 of its own are too many.
        talk.send("sum(held[::4096]); more = bytearray(os.urandom(1 << 20)) * 145; time.sleep(30)");
        assert_eq!(talk.answer().await, None);
        assert_eq!(instance.exited().await.cause, ExitCause::OutOfMemory);
    });
}
