//! The self-test for `freehold doctor`: in a process and a mount namespace that are gone
//! afterwards.

use super::Means;
use crate::{
    isolate::{Privilege, Runtimes},
    seccomp::Embedded,
    sys::{
        identity,
        processes::{self, Fork},
    },
};
use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

/// A uid of nobody's: between those of instances and the server's.
const NOBODYS_UID: u32 = 0x7fe0_0000;
/// Any folder that is everywhere will do, to be mounted over where nobody sees it.
const SCRATCH: &str = "/sys";
/// The longest reason.
const REASON_MAX: u64 = 4096;

/// Whether start images work on this machine. For a process with one thread, as root.
///
/// Errors: why not, for an operator.
pub fn probe_images() -> Result<(), String> {
    let said = ask_a_child().map_err(|error| format!("could not be tried: {error}"))?;
    match said.strip_prefix("+") {
        Some(_) => Ok(()),
        None if said.is_empty() => Err("the self-test ended without a word".into()),
        None => Err(said),
    }
}

fn ask_a_child() -> io::Result<String> {
    if processes::threads()? != 1 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    match processes::fork_into(0)? {
        Fork::Child => {
            drop(read);
            let said = match try_out() {
                Ok(()) => "+".to_owned(),
                Err(reason) => reason,
            };
            let _ = File::from(write).write_all(said.as_bytes());
            processes::exit(0)
        }
        Fork::Parent(_, pidfd) => {
            drop(write);
            let mut said = String::new();
            File::from(read)
                .take(REASON_MAX)
                .read_to_string(&mut said)?;
            super::reap_ended(&pidfd)?;
            Ok(said)
        }
    }
}

fn try_out() -> Result<(), String> {
    let say = |error: io::Error| error.to_string();
    identity::die_with_parent().map_err(say)?;
    let filter = Embedded::Carried.program().map_err(|e| e.to_string())?;
    let host = File::open("/proc/self/ns/mnt").map_err(say)?.into();
    let runtimes = Runtimes::assemble(Vec::new(), Path::new(SCRATCH), Privilege::Root, host);
    let runtimes = runtimes.map_err(say)?;
    Means::gather(&runtimes, &filter, Privilege::Root, NOBODYS_UID)
        .map(drop)
        .map_err(|unsupported| unsupported.to_string())
}
