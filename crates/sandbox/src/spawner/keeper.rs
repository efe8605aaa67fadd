//! The keeper of a lane's volumes: a process beside the spawner, because mounting and unmounting
//! a filesystem takes milliseconds, and the spawner waits for nobody.
//!
//! ```text
//! spawner ── Make(id, size) ──▶ keeper      spawner ◀── id, detached mount ── keeper
//! spawner ── End(id) ─────────▶ keeper: discards it; the last close unmounts and frees the device
//! ```
//!
//! It stays in the mount namespace that the supervisor has, where the volumes' folder is, holds
//! every volume open, and ends with the spawner, discarding them all. Refuses any other message.

use crate::{
    sys::{
        identity,
        processes::{self, Fork},
        sockets,
    },
    volumes::{VolumeError, VolumeKeeper, VolumeOptions, VolumePool},
};
use freehold_domain::ids::Mebibytes;
use std::{
    collections::HashMap,
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::Duration,
};

/// A volume as the spawner holds it: a mount to be moved onto a `/tmp`, and its name.
#[derive(Debug)]
pub struct Kept {
    /// The keeper's name for it.
    pub id: u64,
    /// The detached mount.
    pub mount: OwnedFd,
}

/// The spawner's side: what is ready, what is on its way.
#[derive(Debug)]
pub struct Volumes {
    socket: OwnedFd,
    usual: Mebibytes,
    wanted: usize,
    stock: Vec<Kept>,
    coming: usize,
    next: u64,
    failing: bool,
}

const MAKE: u8 = 1;
const END: u8 = 2;
/// How long a start waits for a volume that is not ready.
const WAIT_MAX: Duration = Duration::from_secs(10);

impl Volumes {
    /// Forks the keeper. Call it before the spawner makes its own mount namespace.
    pub fn fork(options: VolumeOptions) -> io::Result<Volumes> {
        let (socket, inner) = sockets::pair()?;
        let (usual, wanted) = (options.usual, options.ready);
        match processes::fork_into(0)? {
            Fork::Child => {
                let _ = processes::close_all_but(&[0, 1, 2, inner.as_raw_fd()]);
                identity::set_name("fh-volumes");
                keep(
                    &inner,
                    VolumePool::open(VolumeOptions {
                        ready: 0,
                        ..options
                    }),
                );
                processes::exit(0)
            }
            Fork::Parent(_, pidfd) => drop(pidfd),
        }
        let (stock, coming, next, failing) = (Vec::new(), 0, 1, false);
        Ok(Volumes {
            socket,
            usual,
            wanted,
            stock,
            coming,
            next,
            failing,
        })
    }

    /// The socket, to be watched: [`Volumes::arrived`] when it is readable.
    pub fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// Asks for what is missing; never waits.
    pub fn refill(&mut self) -> io::Result<()> {
        while !self.failing && self.stock.len() + self.coming < self.wanted {
            self.make(self.usual)?;
            self.coming += 1;
        }
        Ok(())
    }

    fn make(&mut self, size: Mebibytes) -> io::Result<u64> {
        let id = self.next;
        self.next += 1;
        let mut packet = [0u8; 13];
        packet[0] = MAKE;
        packet[1..9].copy_from_slice(&id.to_le_bytes());
        packet[9..].copy_from_slice(&size.0.to_le_bytes());
        sockets::send(self.socket.as_fd(), &packet, &[])?;
        Ok(id)
    }

    /// Takes in what the keeper sent; fails once the keeper is gone.
    pub fn arrived(&mut self) -> io::Result<()> {
        loop {
            match self.hear(false) {
                Ok((_, Ok(kept))) => {
                    self.coming = self.coming.saturating_sub(1);
                    self.stock.push(kept);
                }
                // What failed once will fail again: the next start asks, and hears why.
                Ok((_, Err(_))) => {
                    self.coming = self.coming.saturating_sub(1);
                    self.failing = true;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn hear(&self, wait: bool) -> io::Result<(u64, io::Result<Kept>)> {
        let mut packet = [0u8; 16];
        if wait {
            sockets::wait_readable(self.socket.as_fd(), WAIT_MAX)?;
        }
        let received = sockets::receive(self.socket.as_fd(), &mut packet, false)?;
        let (12, id) = (
            received.len,
            u64::from_le_bytes(packet[..8].try_into().unwrap_or_default()),
        ) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let errno = i32::from_le_bytes(packet[8..12].try_into().unwrap_or_default());
        let made = match received.descriptors.into_iter().next() {
            Some(mount) => Ok(Kept { id, mount }),
            None => Err(io::Error::from_raw_os_error(errno)),
        };
        Ok((id, made))
    }

    /// A volume of `size`: a ready one, or waited for.
    pub fn take(&mut self, size: Mebibytes) -> io::Result<Kept> {
        let usual = size == self.usual;
        if usual && let Some(kept) = self.stock.pop() {
            return Ok(kept);
        }
        let own = if usual && self.coming > 0 {
            None
        } else {
            Some(self.make(size)?)
        };
        loop {
            let (id, made) = self.hear(true)?;
            let ours = own.is_none_or(|own| own == id);
            if own != Some(id) {
                self.coming = self.coming.saturating_sub(1);
            }
            match made {
                Ok(kept) if ours => {
                    self.failing = false;
                    return Ok(kept);
                }
                Ok(kept) => self.stock.push(kept),
                Err(error) if ours => return Err(error),
                Err(_) => self.failing = true,
            }
        }
    }

    /// Gives a volume back to be discarded, once nobody uses it.
    pub fn end(&self, id: u64) {
        let mut packet = [0u8; 9];
        packet[0] = END;
        packet[1..].copy_from_slice(&id.to_le_bytes());
        // A keeper that does not read any more ends with the spawner, and with it the volume.
        let _ = sockets::send(self.socket.as_fd(), &packet, &[]);
    }
}

/// The keeper's life, until the spawner is gone.
fn keep(socket: &OwnedFd, mut pool: VolumePool) {
    let mut kept: HashMap<u64, VolumeKeeper> = HashMap::new();
    loop {
        let mut packet = [0u8; 16];
        let received = match sockets::receive(socket.as_fd(), &mut packet, true) {
            Ok(received) if received.len > 0 => received.len,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            _ => break,
        };
        let id = u64::from_le_bytes(packet[1..9].try_into().unwrap_or_default());
        match (packet[0], received) {
            (MAKE, 13) => {
                let size = u32::from_le_bytes(packet[9..13].try_into().unwrap_or_default());
                let mut reply = [0u8; 12];
                reply[..8].copy_from_slice(&id.to_le_bytes());
                match pool.take(Mebibytes(size)) {
                    Ok(volume) => {
                        let (mount, keeper) = volume.split();
                        kept.insert(id, keeper);
                        let _ = sockets::send(socket.as_fd(), &reply, &[mount.as_fd()]);
                    }
                    Err(error) => {
                        reply[8..].copy_from_slice(&errno(&error).to_le_bytes());
                        let _ = sockets::send(socket.as_fd(), &reply, &[]);
                    }
                }
            }
            (END, 9) => {
                if let Some(keeper) = kept.remove(&id) {
                    keeper.discard();
                }
            }
            _ => break,
        }
    }
    kept.into_values().for_each(VolumeKeeper::discard);
}

fn errno(error: &VolumeError) -> i32 {
    match error {
        VolumeError::Kernel { source, .. } => source.raw_os_error().unwrap_or(libc::EIO),
        VolumeError::Size { .. } => libc::EINVAL,
        VolumeError::Devices { .. } => libc::EBUSY,
        _ => libc::EIO,
    }
}
