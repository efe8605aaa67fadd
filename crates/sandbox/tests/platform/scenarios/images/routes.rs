//! Ways to an image that is in use: from inside an instance, and from the server, which has a name of it.

use super::*;
use rustix::{
    fs::{chmod, fchmod, fstat, ftruncate, linkat},
    io::Errno,
};
use std::os::fd::{AsFd, AsRawFd};

/// Everything that a thawed instance can try on the file that its memory is mapped of: all of it is
/// refused, and what it does to its memory is its own.
pub fn routes() {
    const INIT: &str = "text = bytearray(b'first') * (1 << 19)";
    // By the names that the kernel has for mapped files.
    const BY_NAME: &str = "
import errno
tried, refused, named = [], set(), set()
lines = [l.split() for l in open('/proc/self/maps') if '/memfd:memory' in l]
for area, rights, *_ in lines[:6] + lines[-2:]:
    path = '/proc/self/map_files/' + area
    # The name is no more than what the list of mappings says.
    named.add(os.readlink(path))
    for name, attempt in {
        'stat': lambda: os.stat(path),
        'read': lambda: os.open(path, os.O_RDONLY),
        'write': lambda: os.open(path, os.O_RDWR),
        'path': lambda: os.open(path, os.O_PATH),
        'link': lambda: os.link(path, '/tmp/image'),
        'truncate': lambda: os.truncate(path, 0),
        'chmod': lambda: os.chmod(path, 0o666),
        'execute': lambda: os.execv(path, ['x']),
    }.items():
        try:
            attempt()
            tried.append((area, rights, name))
        except OSError as error:
            refused.add(errno.errorcode[error.errno])
open_files = ['/proc/self/fd/' + number for number in os.listdir('/proc/self/fd')]
held = [path for path in open_files if os.path.lexists(path) and 'memfd' in os.readlink(path)]
out = named, tried, sorted(refused - {'EACCES', 'EXDEV'}), held";
    // By memory: other rights, the kernel's own hand, and calls that reach through to a mapped file.
    const BY_MEMORY: &str = "
import ctypes
L = ctypes.CDLL(None, use_errno=True)
L.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
L.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
L.msync.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
L.mremap.restype = ctypes.c_void_p
L.mremap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int]
at = ctypes.addressof((ctypes.c_char * len(text)).from_buffer(text))
page = (at + 8192) & ~4095
ctypes.memmove(page, b'FIRST', 5)
wrong = []
# MADV_REMOVE would take the pages out of the file itself.
if L.madvise(page + 4096, 4096, 9) == 0: wrong.append('remove')
L.msync(page, 4096, 4 | 2)
# Of length 0: another mapping of the same pages, which private ones do not give.
if L.mremap(page, 0, 4096, 1) not in (None, 2**64 - 1): wrong.append('alias')
# Read-only pages, by the kernel's hand.
assert L.mprotect(page + 8192, 4096, 1) == 0
try:
    mem = os.open('/proc/self/mem', os.O_RDWR)
    os.pwrite(mem, b'FORCE', page + 8192)
except OSError: pass
assert L.mprotect(page + 8192, 4096, 3) == 0
ctypes.memmove(page + 8197, b'AGAIN', 5)
out = wrong, bytes(text[page - at:page - at + 5])";
    const UNTOUCHED: &str = "out = text == b'first' * (1 << 19)";
    with_images(async |pool, began| {
        let image = image_of(&pool, began, INIT).await;
        let (_one, hostile, _io) = begin(&pool, python(Some(&image), true)).await;
        let (_two, sibling, _io2) = begin(&pool, python(Some(&image), true)).await;
        // Nobody has touched them yet: they are the image's.
        assert_eq!(sibling.ask("out = text[0]").await, "102");
        let wanted = "({'/memfd:memory (deleted)'}, [], ['EPERM'], [])";
        assert_eq!(hostile.ask(BY_NAME).await, wanted);
        assert_eq!(hostile.ask(BY_MEMORY).await, "([], b'FIRST')");
        assert_eq!(sibling.ask(UNTOUCHED).await, "True");
        let (_three, later, _io3) = begin(&pool, python(Some(&image), true)).await;
        assert_eq!(later.ask(UNTOUCHED).await, "True");
    });
}

/// The server holds a name of an image: it opens, reads, changes and passes on nothing by it, nor by the
/// processes that have more.
pub fn names() {
    with_images(async |pool, began| {
        let image = image_of(&pool, began, "secret = 'of a tenant'").await;
        let name = image.descriptor.as_fd();
        let facts = fstat(name).expect("a name says what it is of");
        assert_eq!((facts.st_uid, facts.st_mode & 0o7777), (0, 0o400));
        assert_eq!(rustix::process::geteuid().as_raw(), SERVER);
        let path = format!("/proc/self/fd/{}", name.as_raw_fd());
        let open_as = |flags| open(&path, flags, Mode::empty()).map(drop);
        open_as(OFlags::PATH).expect("it leads to the image");
        for flags in [OFlags::RDONLY, OFlags::WRONLY, OFlags::RDWR] {
            assert_eq!(open_as(flags), Err(Errno::ACCESS), "{flags:?}");
        }
        let mut byte = [0u8];
        assert_eq!(rustix::io::read(name, &mut byte), Err(Errno::BADF));
        assert_eq!(rustix::io::pread(name, &mut byte, 0), Err(Errno::BADF));
        assert_eq!(ftruncate(name, 0), Err(Errno::BADF));
        let all = Mode::from_raw_mode(0o666);
        assert_eq!(fchmod(name, all), Err(Errno::BADF));
        assert_eq!(chmod(&path, all), Err(Errno::PERM));
        let here = tree::path().join("image");
        let link = linkat(
            rustix::fs::CWD,
            &path,
            rustix::fs::CWD,
            &here,
            rustix::fs::AtFlags::SYMLINK_FOLLOW,
        );
        assert!(link.is_err());
        // Nor is it to be had from the spawners, the supervisor, a sandbox's pid 1, or an instance that has it
        // mapped.
        let (instance, talk, _io) = begin(&pool, python(Some(&image), true)).await;
        assert_eq!(talk.ask("out = secret").await, "of a tenant");
        let supervisor = supervisor_of(std::process::id() as i32);
        let spawners = children(supervisor);
        let inits: Vec<i32> = spawners.iter().copied().flat_map(children).collect();
        let guests: Vec<i32> = inits.iter().copied().flat_map(children).collect();
        assert!(!spawners.is_empty() && !inits.is_empty() && !guests.is_empty());
        for pid in [vec![supervisor], spawners, inits, guests].concat() {
            for file in ["mem", "maps", "fd", "map_files", "root/", "cwd/", "environ"] {
                let opened = open(format!("/proc/{pid}/{file}"), OFlags::RDONLY, Mode::empty());
                assert!(opened.is_err(), "{file} of {pid}");
            }
            let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
            let killed = rustix::process::kill_process(pid, rustix::process::Signal::CONT);
            assert_eq!(killed, Err(Errno::PERM), "{pid:?}");
        }
        instance.destroy().await;
    });
}
