//! Why a process is not carried in an image: a closed set, so that nothing of a tenant's own
//! words travels.

use std::fmt;

/// What stands in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObstacleKind {
    /// More than one; how many.
    Threads,
    /// Other processes in its sandbox; how many.
    Children,
    /// A descriptor that is not one of the four it was given; its number.
    Descriptor,
    /// A socket among its descriptors; its number.
    Socket,
    /// A pipe among its descriptors; its number.
    Pipe,
    /// A file among its descriptors; its number.
    File,
    /// A descriptor of the kernel's own making, as epoll's; its number.
    AnonymousDescriptor,
    /// Timers that run.
    Timer,
    /// A signal that was not delivered.
    Signal,
    /// Memory that it shares and may write.
    SharedMemory,
    /// A mapping of a file that is deleted.
    DeletedFile,
    /// A mapping of a file that is its own: below `/tmp`, `/dev`.
    OwnFile,
    /// Files that it has left below `/tmp` or `/dev/shm`.
    LeftFiles,
    /// A working folder that another instance would not have.
    Folder,
    /// Objects of System V IPC.
    Ipc,
    /// It does not wait for a frame.
    NotWaiting,
    /// More mappings than are carried; how many are.
    Mappings,
    /// More memory than is carried; how many bytes are.
    Size,
    /// Names of files that are longer than is carried, or that cannot be.
    Names,
    /// Memory of a kind that only the kernel can make: protection keys, huge pages, shadow stacks.
    SpecialMemory,
    /// A mapping where the restorer works.
    Area,
    /// A stack pointer that does not point to a stack, or code that is not what it did.
    Stack,
    /// A libc that keeps its thread's id where it cannot be found.
    Libc,
    /// State of the processor that is not carried, as AMX's tiles.
    ProcessorState,
    /// It ended meanwhile.
    Ended,
    /// Something took longer than it may.
    Deadline,
    /// It could not be looked at; the errno.
    Step,
    /// As many images are being taken at once as may be.
    Busy,
    /// This spawner takes no images.
    Unsupported,
    /// A runtime that no images are taken of.
    Runtime,
    /// There is no such instance, or it is not one that can be asked.
    NotThere,
}

/// What stands in the way, with its number or count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Obstacle {
    /// What.
    pub kind: ObstacleKind,
    /// As the kind says; 0 for most.
    pub value: u64,
}

impl ObstacleKind {
    /// Every kind, by its number on the wire.
    pub const ALL: [Self; 31] = [
        Self::Threads,
        Self::Children,
        Self::Descriptor,
        Self::Socket,
        Self::Pipe,
        Self::File,
        Self::AnonymousDescriptor,
        Self::Timer,
        Self::Signal,
        Self::SharedMemory,
        Self::DeletedFile,
        Self::OwnFile,
        Self::LeftFiles,
        Self::Folder,
        Self::Ipc,
        Self::NotWaiting,
        Self::Mappings,
        Self::Size,
        Self::Names,
        Self::SpecialMemory,
        Self::Area,
        Self::Stack,
        Self::Libc,
        Self::ProcessorState,
        Self::Ended,
        Self::Deadline,
        Self::Step,
        Self::Busy,
        Self::Unsupported,
        Self::Runtime,
        Self::NotThere,
    ];

    /// With a number.
    pub const fn of(self, value: u64) -> Obstacle {
        Obstacle { kind: self, value }
    }
}

impl Obstacle {
    /// Why a file of an instance's control group was of no use: the group goes with the last of its
    /// processes.
    pub(crate) fn of_group(error: std::io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ENODEV | libc::ENOENT) => ObstacleKind::Ended.into(),
            _ => error.into(),
        }
    }
}

impl From<ObstacleKind> for Obstacle {
    fn from(kind: ObstacleKind) -> Self {
        kind.of(0)
    }
}

impl From<std::io::Error> for Obstacle {
    fn from(error: std::io::Error) -> Self {
        match (error.kind(), error.raw_os_error()) {
            (std::io::ErrorKind::TimedOut, _) => ObstacleKind::Deadline.into(),
            (_, Some(libc::ESRCH)) => ObstacleKind::Ended.into(),
            (_, errno) => ObstacleKind::Step.of(errno.unwrap_or(libc::EIO).unsigned_abs().into()),
        }
    }
}

impl From<rustix::io::Errno> for Obstacle {
    fn from(error: rustix::io::Errno) -> Self {
        std::io::Error::from(error).into()
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.value;
        match self.kind {
            ObstacleKind::Threads => write!(out, "it has {n} threads"),
            ObstacleKind::Children => write!(out, "it has {n} other processes"),
            ObstacleKind::Descriptor => write!(out, "descriptor {n} is not what it was given"),
            ObstacleKind::Socket => write!(out, "descriptor {n} is a socket"),
            ObstacleKind::Pipe => write!(out, "descriptor {n} is a pipe"),
            ObstacleKind::File => write!(out, "descriptor {n} is a file"),
            ObstacleKind::AnonymousDescriptor => {
                write!(
                    out,
                    "descriptor {n} is an epoll, eventfd, timerfd or the like"
                )
            }
            ObstacleKind::Timer => out.write_str("it has timers"),
            ObstacleKind::Signal => out.write_str("a signal waits for it"),
            ObstacleKind::SharedMemory => out.write_str("it has shared, writable memory"),
            ObstacleKind::DeletedFile => out.write_str("it has mapped a file that is deleted"),
            ObstacleKind::OwnFile => out.write_str("it has mapped a file below /tmp or /dev"),
            ObstacleKind::LeftFiles => out.write_str("it has files below /tmp or /dev/shm"),
            ObstacleKind::Folder => out.write_str("its working folder is its own or gone"),
            ObstacleKind::Ipc => {
                out.write_str("it has System V shared memory, queues or semaphores")
            }
            ObstacleKind::NotWaiting => out.write_str("it does not wait for a frame"),
            ObstacleKind::Mappings => write!(out, "it has more than {n} mappings"),
            ObstacleKind::Size => write!(out, "it has more than {} MiB of its own", n >> 20),
            ObstacleKind::Names => {
                out.write_str("it has mapped files whose names cannot be carried")
            }
            ObstacleKind::SpecialMemory => {
                out.write_str("it has protected, huge or device memory, or a shadow stack")
            }
            ObstacleKind::Area => out.write_str("it has memory where the restorer works"),
            ObstacleKind::Stack => out.write_str("its stack or its code is not in order"),
            ObstacleKind::Libc => out.write_str("its libc keeps the thread's id out of sight"),
            ObstacleKind::ProcessorState => out.write_str("it uses AMX"),
            ObstacleKind::Ended => out.write_str("it ended"),
            ObstacleKind::Deadline => out.write_str("it could not be stopped in time"),
            ObstacleKind::Busy => out.write_str("too many images are being taken at once"),
            ObstacleKind::Unsupported => out.write_str("this spawner takes no images"),
            ObstacleKind::Runtime => out.write_str("no images are taken of its runtime"),
            ObstacleKind::NotThere => out.write_str("it is not there"),
            ObstacleKind::Step => {
                let name = crate::sys::errno_name(i32::try_from(n).unwrap_or(0));
                write!(out, "it could not be read ({name})")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_number_and_words() {
        for (place, kind) in ObstacleKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
            assert!(!kind.of(7).to_string().is_empty());
        }
    }
}
