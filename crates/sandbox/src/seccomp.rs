//! What a process may ask of the kernel: policies as data, compiled to a seccomp program.
//!
//! A policy is a JSON file below `policies/`: a default, and rules that name calls, say what
//! becomes of them, perhaps by argument, and why. [`compile`] turns it into a classic BPF program
//! shaped as a balanced tree over ranges of call numbers, since the kernel walks the program once
//! per call number when it is installed: the instance policy costs 40 µs as a tree and 280 µs as
//! a list.
//!
//! Refuses to install anything (that is `sys`'s, as the last step before `exec`), to read a
//! policy from outside the binary, and to look at arguments behind pointers, which another thread
//! could change between the check and the use.

mod compile;
mod constants;
#[cfg(test)]
mod interpret;
mod numbers;
mod policy;

pub use compile::{MAX_DEPTH, MAX_INSTRUCTIONS, Program, SockFilter, compile};
pub use numbers::Arch;
pub use policy::{Policy, PolicyError, Verdict};

/// The policies that are built into the binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Embedded {
    /// A tenant's process, from the first instruction of its runtime on.
    Instance,
    /// The same, of a runtime whose processes start images are taken of.
    Carried,
    /// Pid 1 of a sandbox, once it has nothing left to do but reap.
    Init,
    /// The child that unpacks an archive.
    Unpack,
    /// The child that compiles a WebAssembly module.
    Compile,
    /// The child that takes a start image of a tenant's process.
    Dump,
}

impl Embedded {
    /// Every embedded policy, for tests and for `doctor`.
    pub const ALL: [Embedded; 6] = [
        Embedded::Instance,
        Embedded::Carried,
        Embedded::Init,
        Embedded::Unpack,
        Embedded::Compile,
        Embedded::Dump,
    ];

    /// The policy's text, as it lies in the repository.
    pub const fn text(self) -> &'static str {
        match self {
            Embedded::Instance => include_str!("../policies/instance.json"),
            Embedded::Carried => include_str!("../policies/carried.json"),
            Embedded::Init => include_str!("../policies/init.json"),
            Embedded::Unpack => include_str!("../policies/unpack.json"),
            Embedded::Compile => include_str!("../policies/compile.json"),
            Embedded::Dump => include_str!("../policies/dump.json"),
        }
    }

    /// Reads the policy; one that says only what is different, over what it is different from.
    ///
    /// Errors: as [`Policy::from_json`].
    pub fn policy(self) -> Result<Policy, PolicyError> {
        let own = Policy::from_json(self.text())?;
        match self {
            Embedded::Carried => Ok(Embedded::Instance.policy()?.with(own)),
            _ => Ok(own),
        }
    }

    /// Reads and compiles the policy for this machine; done once, when a spawner starts.
    ///
    /// Errors: [`PolicyError::NoArchitecture`] on a processor without a table; the others cannot
    /// happen to a binary whose tests passed, and are returned all the same.
    pub fn program(self) -> Result<Program, PolicyError> {
        let arch = Arch::native().ok_or(PolicyError::NoArchitecture)?;
        compile(&self.policy()?, arch)
    }
}
