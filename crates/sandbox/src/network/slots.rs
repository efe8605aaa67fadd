//! What nodes of one machine share: their slots, and the devices that forward since one asked.
//!
//! ```text
//! /run/freehold-network/N/lock         held while any of this is changed
//! /run/freehold-network/N/05           held by the node with slot 5 for as long as it lives
//! /run/freehold-network/N/forwarding   devices that did not forward before the first node came, with
//!                                      the word "alone" those that did not on a machine that does
//! ```
//!
//! N is the network namespace's number: another one has other tables and devices.
//! Whoever comes or goes clears up after those that were killed: a slot that nobody holds has no
//! table, and with the last node gone the devices are what they were and the folder is no more. A file's
//! lock ends with the processes that hold it, whatever ended them. The folder is root's alone: what it
//! says is done by root.

use super::{
    names::{self, SLOTS},
    netlink::Socket,
    ruleset,
};
use freehold_domain::network::DEVICES;
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::{
        fd::{AsRawFd, RawFd},
        unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

const FOLDER: &str = "/run/freehold-network";
const LOCK: &str = "lock";
const SETTINGS: &str = "/proc/sys/net/ipv4/conf";
/// Behind a device in the list.
const ALONE: &str = " alone";
/// Longest wait for another node that comes or goes.
const TURN_MAX: Duration = Duration::from_secs(5);

/// A node's place on the machine; it is free once all of its processes are gone.
#[derive(Debug)]
pub struct Slot {
    /// Its number.
    pub number: u8,
    held: File,
}

impl Slot {
    /// The descriptor that holds it, to be kept open.
    pub fn descriptor(&self) -> RawFd {
        self.held.as_raw_fd()
    }
}

/// What nodes of this network namespace share.
fn folder() -> io::Result<PathBuf> {
    let number = fs::metadata("/proc/thread-self/ns/net")?.ino();
    Ok(Path::new(FOLDER).join(number.to_string()))
}

fn open(name: &str) -> io::Result<File> {
    let path = folder()?.join(name);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.mode(0o600).custom_flags(libc::O_NOFOLLOW);
    options.open(path)
}

fn try_hold(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::AGAIN) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// This node's turn to change what all share, until it is dropped.
fn turn() -> io::Result<File> {
    let until = Instant::now() + TURN_MAX;
    loop {
        match try_turn() {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) => {}
            // The last node has just removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        if Instant::now() >= until {
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Nothing where another node has it.
fn try_turn() -> io::Result<Option<File>> {
    let folder = folder()?;
    for path in [Path::new(FOLDER), &folder] {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let found = fs::symlink_metadata(path)?;
        if !found.is_dir() || found.uid() != 0 || found.mode() & 0o022 != 0 {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
    }
    let lock = open(LOCK)?;
    if !try_hold(&lock)? {
        return Ok(None);
    }
    // One that was removed meanwhile keeps nobody out.
    let (held, there) = (lock.metadata()?, fs::symlink_metadata(folder.join(LOCK))?);
    Ok((held.ino() == there.ino()).then_some(lock))
}

/// Nothing stays of it where nobody is left; for whoever has the turn.
fn remove_folder() -> io::Result<()> {
    let folder = folder()?;
    fs::remove_file(folder.join(LOCK))?;
    // Another node may begin here, and those of other namespaces have theirs beside it.
    let _ = fs::remove_dir(&folder);
    let _ = fs::remove_dir(FOLDER);
    Ok(())
}

/// Removes what nodes left that were killed; whether any other lives.
fn sweep(firewall: &Socket) -> io::Result<bool> {
    let mut others = false;
    let folder = folder()?;
    for entry in fs::read_dir(&folder)? {
        let name = entry?.file_name();
        let text = name.to_str().unwrap_or_default();
        let Some(number) = u8::from_str_radix(text, 16)
            .ok()
            .filter(|_| text.len() == 2)
        else {
            continue;
        };
        let file = open(text)?;
        if try_hold(&file)? {
            ruleset::remove(firewall, number)?;
            let _ = fs::remove_file(folder.join(text));
        } else {
            others = true;
        }
    }
    Ok(others)
}

/// Takes a slot, after those that were killed have been cleared up after.
pub fn take(firewall: &Socket) -> io::Result<Slot> {
    let _turn = turn()?;
    let taken = take_in_turn(firewall);
    // Whoever has none leaves nothing either, where no other has one.
    if taken.is_err() && is_nobodys() {
        let _ = remove_folder();
    }
    taken
}

/// Whether nothing stands in the folder but the lock.
fn is_nobodys() -> bool {
    let entries = folder().and_then(fs::read_dir);
    entries.is_ok_and(|mut entries| {
        entries.all(|entry| entry.is_ok_and(|entry| entry.file_name() == LOCK))
    })
}

fn take_in_turn(firewall: &Socket) -> io::Result<Slot> {
    if !sweep(firewall)? {
        restore()?;
    }
    for number in 0..SLOTS {
        let name = format!("{number:02x}");
        let held = open(&name)?;
        if try_hold(&held)? {
            if let Err(error) = ruleset::remove(firewall, number) {
                let _ = fs::remove_file(folder()?.join(name));
                return Err(error);
            }
            return Ok(Slot { number, held });
        }
    }
    Err(io::Error::from_raw_os_error(libc::EUSERS))
}

/// Removes the node's table and gives its slot up; the last node puts the devices back.
pub fn give_back(firewall: &Socket, slot: Slot) -> io::Result<()> {
    let _turn = turn()?;
    let removed = ruleset::remove(firewall, slot.number);
    // By another name for it than the lock, which others of the node may hold for a moment still.
    let _ = fs::remove_file(folder()?.join(format!("{:02x}", slot.number)));
    drop(slot);
    if !sweep(firewall)? {
        restore()?;
        remove_folder()?;
    }
    removed
}

fn list() -> io::Result<PathBuf> {
    Ok(folder()?.join("forwarding"))
}

/// Whether this may be a device's name: one folder of the settings, and no other place.
fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains('/') && ![".", ".."].contains(&text)
}

fn forwards(device: &str) -> PathBuf {
    Path::new(SETTINGS).join(device).join("forwarding")
}

/// Devices that forward since a node asked.
pub fn opened() -> io::Result<Vec<String>> {
    let noted = noted()?.into_iter();
    Ok(noted.map(|(device, _)| device).collect())
}

/// The same, and which of them alone did not forward.
fn noted() -> io::Result<Vec<(String, bool)>> {
    let text = match fs::read_to_string(list()?) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read?,
    };
    let lines = text.lines().map(|line| match line.strip_suffix(ALONE) {
        Some(device) => (device, true),
        None => (line, false),
    });
    let named = lines.filter(|(device, _)| is_name(device));
    Ok(named
        .map(|(device, alone)| (device.to_owned(), alone))
        .collect())
}

fn devices() -> io::Result<Vec<String>> {
    let names = fs::read_dir(SETTINGS)?.map(|entry| entry.map(|one| one.file_name()));
    let texts = names.filter_map(|name| name.map(|name| name.into_string().ok()).transpose());
    texts.collect()
}

/// Whether that stands in a device's setting, while there is such a device.
fn has(device: &str, value: &str) -> bool {
    fs::read_to_string(forwards(device)).is_ok_and(|now| now.trim() == value)
}

/// Devices of the machine's own that do not forward.
pub fn closed() -> io::Result<Vec<String>> {
    let mut devices = devices()?;
    devices.retain(|device| {
        !["all", "default", "lo"].contains(&device.as_str())
            && !device.starts_with(DEVICES)
            && has(device, "0")
    });
    Ok(devices)
}

/// The devices of a node's instances forward again.
pub fn open_links(slot: u8) -> io::Result<()> {
    let ours = names::devices(slot);
    let devices = devices()?.into_iter();
    devices
        .filter(|device| device.starts_with(&ours))
        .try_for_each(|device| have_forward(&device))
}

fn have_forward(device: &str) -> io::Result<()> {
    match fs::write(forwards(device), "1") {
        // It has just gone.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Answers to instances come in by any device of the machine, and only one that forwards lets them
/// through: this one does from here on.
///
/// IPv6 is left alone, since a host that forwards it no longer listens to its routers.
pub fn open_device(device: &str) -> io::Result<()> {
    let _turn = turn()?;
    if !opened()?.iter().any(|one| one == device) {
        // Noted first: after a crash in between there is a note too many, and nothing to put back.
        let mut list = OpenOptions::new().append(true).create(true).open(list()?)?;
        let alone = if is_router() { ALONE } else { "" };
        writeln!(list, "{device}{alone}")?;
    }
    have_forward(device)
}

/// Whether the whole machine forwards.
pub fn is_router() -> bool {
    has("all", "1")
}

/// What nodes asked to forward, forwards for others from now on; nothing where the machine no longer does.
pub fn forget_opened() -> io::Result<bool> {
    let _turn = turn()?;
    if !is_router() {
        return Ok(false);
    }
    remove_list().map(|()| true)
}

/// Every device that was asked to forward is as it was: unless somebody has made the whole machine
/// forward meanwhile, which holds for all of its devices.
fn restore() -> io::Result<()> {
    let is_router = is_router();
    for (device, alone) in noted()? {
        let setting = forwards(&device);
        if (alone || !is_router) && setting.exists() {
            fs::write(setting, "0")?;
        }
    }
    remove_list()
}

fn remove_list() -> io::Result<()> {
    match fs::remove_file(list()?) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        network::netlink::{CREATE, EXCLUSIVE, Messages},
        sys::mounts,
    };

    /// `RTM_NEWLINK`, `IFLA_IFNAME`, `IFLA_LINKINFO` and `IFLA_INFO_KIND`.
    fn add_device(name: &str) -> io::Result<()> {
        let mut messages = Messages::default();
        messages
            .begin(16, CREATE | EXCLUSIVE, true, &[0; 16])
            .text(3, name)
            .nest(18, |info| {
                info.text(1, "veth");
            });
        Socket::routes()?.send(messages)
    }

    fn set(device: &str, value: &str) -> io::Result<()> {
        fs::write(forwards(device), value)
    }

    /// In a machine that is this thread's own: what a first node opens, and the last one puts back.
    fn put_back(is_router: bool, becomes_router: bool, expected: &str) -> io::Result<()> {
        mounts::unshare(libc::CLONE_NEWNET)?;
        add_device("up0")?;
        set("all", if is_router { "1" } else { "0" })?;
        set("up0", "0")?;
        drop(turn()?);
        assert!(closed()?.contains(&"up0".to_owned()));
        open_device("up0")?;
        assert!(has("up0", "1") && opened()? == ["up0"]);
        if becomes_router {
            set("all", "1")?;
        }
        let _turn = turn()?;
        restore()?;
        assert!(has("up0", expected) && opened()?.is_empty());
        remove_folder()
    }

    /// In a machine that is this thread's own: this socket speaks of no rules.
    fn without_rules() -> io::Result<()> {
        mounts::unshare(libc::CLONE_NEWNET)?;
        let (mute, firewall) = (Socket::routes()?, Socket::firewall()?);
        take(&mute).expect_err("no slot");
        assert!(!folder()?.exists());
        // Beside another node.
        let slot = take(&firewall)?;
        take(&mute).expect_err("no slot");
        let left = fs::read_dir(folder()?)?.map(|entry| entry.map(|entry| entry.file_name()));
        let mut left = left.collect::<io::Result<Vec<_>>>()?;
        left.sort();
        assert_eq!(left, ["00", LOCK]);
        give_back(&firewall, slot)?;
        assert!(!folder()?.exists());
        Ok(())
    }

    #[test]
    fn a_node_without_a_slot_leaves_nothing() {
        match std::thread::spawn(without_rules).join().unwrap() {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                eprintln!("SKIPPED: a network namespace takes root: {error}");
            }
            done => done.unwrap(),
        }
    }

    #[test]
    fn devices_are_put_back_as_they_were() {
        for (is_router, becomes_router, expected) in
            [(false, false, "0"), (false, true, "1"), (true, true, "0")]
        {
            let done = std::thread::spawn(move || put_back(is_router, becomes_router, expected));
            match done.join().unwrap() {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return eprintln!("SKIPPED: a network namespace takes root: {error}");
                }
                done => done.unwrap(),
            }
        }
    }
}
