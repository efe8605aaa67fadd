//! Whether this machine can dump and thaw at all, seen by doing it once with a tiny process.
//!
//! ```text
//! specimen ─(a byte)▶ 1 ─▶ dumped, killed ─▶ sealed ─▶ thawed elsewhere ─(a byte)▶ 2
//! ```
//!
//! The same dumper, the same restorer, the same filter and a uid without privileges, without the
//! namespaces of a sandbox, which add nothing to what may fail. Takes a few milliseconds while a
//! spawner starts. Refuses to wait longer than [`SELF_TEST_MAX`] for any of it.

use super::{
    Fit, SPECIMEN_PATH,
    dump::{ANSWER_LEN, Subject, Whom, decode, dump_in_child},
    image_of,
};
use crate::{
    seccomp::Program,
    sys::{
        bytes_of, filter, identity,
        processes::{self, Fork},
        restorer::KEPT_DESCRIPTORS,
        sockets,
    },
};
use rustix::{
    fs::fstat,
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
    pipe::{PipeFlags, pipe_with},
};
use std::{
    ffi::CString,
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
    time::{Duration, Instant},
};

/// As long as any step of the self-test may take.
pub const SELF_TEST_MAX: Duration = Duration::from_secs(2);
/// In place of a runtime's mark.
const NOBODYS: u64 = 0;

/// What the self-test needs of a spawner.
#[derive(Debug)]
pub struct Bench<'a> {
    /// The restorer, open.
    pub restorer: BorrowedFd<'a>,
    /// A mount namespace with the host's `/proc`.
    pub host: BorrowedFd<'a>,
    /// The caller's `/proc/self/fd`.
    pub own: BorrowedFd<'a>,
    /// A guest's filter.
    pub filter: &'a Program,
    /// What images must fit.
    pub fit: &'a Fit,
    /// A uid that nobody else has.
    pub uid: u32,
}

/// A child that is killed and reaped when it goes.
struct Child {
    pid: i32,
    pidfd: OwnedFd,
    frames: OwnedFd,
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = processes::kill(self.pidfd.as_fd());
        let _ = super::reap_ended(&self.pidfd);
    }
}

/// Dumps a process and thaws it.
///
/// Errors: which step failed and why, for an operator.
pub fn self_test(bench: &Bench<'_>) -> Result<(), String> {
    let at = |step: &'static str| move |error: io::Error| format!("{step}: {error}");
    let (output, inner) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| at("pipe")(e.into()))?;
    let specimen = |output: &OwnedFd| {
        let argv = [CString::new(SPECIMEN_PATH).unwrap_or_default()];
        child(bench, output, &[], |_| {
            processes::execute(&argv[0], &argv, &[])
        })
    };
    let first = specimen(&inner).map_err(at("start a process"))?;
    if count(&first).map_err(at("run a process"))? != [1, 1] {
        return Err("run a process: it does not count".into());
    }
    let image = processes::private_file("memory").map_err(at("memory file"))?;
    let pipe = fstat(&output).map_err(|e| at("pipe")(e.into()))?.st_ino;
    let done = dump(bench, &first, pipe, &image).map_err(at("dump"))??;
    drop(first);
    let key = bench
        .fit
        .key(NOBODYS, done.body_len, done.image_len, done.pid);
    let file = File::from(image.try_clone().map_err(at("memory file"))?);
    file.write_all_at(bytes_of(&[key]), 0)
        .map_err(at("memory file"))?;
    processes::seal(image.as_fd()).map_err(at("seal"))?;
    let named = processes::name_only(bench.own, image.as_fd()).map_err(at("memory file"))?;
    let looked = image_of(&named, bench.own, bench.fit, NOBODYS);
    let looked = looked.map_err(|(rule, errno)| {
        format!(
            "look at the image: {}, {errno}",
            super::IMAGE_RULES[usize::from(rule)]
        )
    })?;
    let (control, inner_control) = sockets::pair().map_err(at("socket"))?;
    let further = [looked.file.as_fd(), inner_control.as_fd(), bench.restorer];
    let argv = [CString::new("runtime").unwrap_or_default()];
    let second = child(bench, &inner, &further, |from| {
        processes::execute_file(processes::arranged(from + 2).as_fd(), &argv, &[])
    })
    .map_err(at("start the restorer"))?;
    drop(inner_control);
    sockets::wait_readable(control.as_fd(), SELF_TEST_MAX).map_err(at("thaw"))?;
    let mut packet = [0u8; 16];
    let said = sockets::receive(control.as_fd(), &mut packet, false).map_err(at("thaw"))?;
    if let Some((stage, errno)) = super::failed_stage(&packet[..said.len]) {
        return Err(format!("{stage}: {}", io::Error::from_raw_os_error(errno)));
    }
    // It goes on where it was, and knows its new id.
    match count(&second).map_err(at("run what was thawed"))? {
        [2, 1] => Ok(()),
        [2, _] => Err("what was thawed has the thread id of another".into()),
        _ => Err("what was thawed does not go on where it was".into()),
    }
}

fn dump(
    bench: &Bench<'_>,
    of: &Child,
    pipe: u64,
    image: &OwnedFd,
) -> io::Result<Result<super::Dumped, String>> {
    let (answer, inner) = sockets::pair()?;
    let subject = Subject {
        whom: Whom::Pid(of.pid),
        parent: processes::own_pid(),
        uid: bench.uid,
        output: [pipe, pipe],
        image: image.try_clone()?,
        host: bench.host.try_clone_to_owned()?,
        bytes_max: 64 << 20,
        until: Instant::now() + SELF_TEST_MAX,
    };
    let pidfd = match processes::fork_into(0)? {
        Fork::Child => dump_in_child(subject, inner),
        Fork::Parent(_, pidfd) => pidfd,
    };
    drop(inner);
    let mut packet = [0u8; ANSWER_LEN];
    let said = sockets::wait_readable(answer.as_fd(), SELF_TEST_MAX)
        .and_then(|()| sockets::receive(answer.as_fd(), &mut packet, false));
    let _ = processes::kill(pidfd.as_fd());
    super::reap_ended(&pidfd)?;
    let done = decode(&packet[..said?.len]);
    Ok(done.map_err(|obstacle| format!("dump: {obstacle}")))
}

/// A process with a guest's four descriptors, `further` ones after them, a guest's filter and no
/// privilege, which then does `become_it` (told the number of the first further one).
fn child(
    bench: &Bench<'_>,
    output: &OwnedFd,
    further: &[BorrowedFd<'_>],
    become_it: impl Fn(i32) -> io::Error,
) -> io::Result<Child> {
    let flags = SocketFlags::CLOEXEC;
    let (frames, inner) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let null = File::open("/dev/null")?;
    match processes::fork_into(0)? {
        Fork::Parent(pid, pidfd) => Ok(Child { pid, pidfd, frames }),
        Fork::Child => {
            let mut wanted = vec![null.as_raw_fd(), output.as_raw_fd(), output.as_raw_fd()];
            wanted.push(inner.as_raw_fd());
            wanted.extend(further.iter().map(AsRawFd::as_raw_fd));
            // The last of the further ones is the program itself, which needs no copy of it.
            let inherited = KEPT_DESCRIPTORS + further.len().saturating_sub(1);
            let become_guest = || {
                identity::die_with_parent()?;
                processes::arrange_descriptors(&wanted, inherited)?;
                identity::default_signals()?;
                identity::bound_capabilities(&[])?;
                identity::clear_groups()?;
                identity::set_ids(bench.uid, bench.uid)?;
                identity::set_capabilities(&[])?;
                identity::no_new_privileges()?;
                filter::install(bench.filter)
            };
            if become_guest().is_ok() {
                become_it(KEPT_DESCRIPTORS as i32);
            }
            processes::exit(1)
        }
    }
}

/// One byte there, two back.
fn count(child: &Child) -> io::Result<[u8; 2]> {
    rustix::io::write(&child.frames, b".")?;
    sockets::wait_readable(child.frames.as_fd(), SELF_TEST_MAX)?;
    let mut answer = [0u8; 2];
    rustix::io::read(&child.frames, &mut answer)?;
    Ok(answer)
}
