//! Where trees are kept: `<data>/runtimes/`, root-owned.
//!
//! ```text
//! objects/<sha256>[-x][-<mtime>]   one copy of each content, shared by all trees through hard links
//! trees/<digest>/                  the root folder that instances see
//! trees/<digest>.json              the manifest: what it consists of, and what of the host it came from
//! objects.swept                    the folder of contents as it was when each of them was in a tree
//! ```
//!
//! Refuses to use a tree whose files no longer match its manifest.

use crate::{
    look::{Look, Seen},
    plan::{Entry, Plan},
};
use freehold_domain::ids::Digest;
use rustix::fs::{FileType, FlockOperation, Stat, flock};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

/// A file over this is no part of any runtime; the largest known is a JDK's `modules`, 130 MB.
const FILE_LIMIT_BYTES: u64 = 1 << 30;

/// Python checks its bytecode against the source's time, so `.py` files keep theirs.
fn keeps_time(path: &str) -> bool {
    path.ends_with(".py")
}

/// One path of a stored tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Stored {
    /// A folder.
    Folder,
    /// A symbolic link.
    Link {
        /// What it says.
        to: String,
    },
    /// A file.
    File {
        /// Permission bits.
        mode: u32,
        /// Bytes.
        size: u64,
        /// SHA-256 of the content.
        sha256: String,
        /// Seconds; checked where Python would check it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mtime: Option<i64>,
    },
}

/// What a stored tree consists of and what of the host it came from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    /// SHA-256 over path, mode, size and content of everything.
    pub digest: Digest,
    /// By guest path.
    pub entries: BTreeMap<String, Stored>,
    /// Host path → what `stat` said when it was copied. While these agree, nothing is read again.
    pub inputs: BTreeMap<String, String>,
    /// Fingerprint of the rules and of our own files that went in.
    pub recipe: String,
}

/// The folder of all trees.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens `<data>/runtimes`, creating it.
    pub fn open(data: &Path) -> io::Result<Self> {
        // Absolute, because the spawner has another working directory than who made the table.
        fs::create_dir_all(data)?;
        let root = fs::canonicalize(data)?.join("runtimes");
        for folder in ["objects", "trees"] {
            fs::create_dir_all(root.join(folder))?;
        }
        Ok(Self { root })
    }

    /// The right to change it, until the value is dropped; waits for whoever has it.
    pub fn hold(&self) -> io::Result<fs::File> {
        let folder = fs::File::open(&self.root)?;
        rustix::io::retry_on_intr(|| flock(&folder, FlockOperation::LockExclusive))?;
        Ok(folder)
    }

    /// Whether somebody has that right now.
    pub fn is_held(&self) -> bool {
        let folder = fs::File::open(&self.root);
        folder.is_ok_and(|folder| flock(&folder, FlockOperation::NonBlockingLockShared).is_err())
    }

    /// The store in `data` as it is; creates nothing.
    pub fn at(data: &Path) -> Self {
        Self {
            root: data.join("runtimes"),
        }
    }

    /// Where the table lies.
    pub fn table_path(&self) -> PathBuf {
        self.root.join("table.json")
    }

    /// The root folder of the tree `digest`.
    pub fn tree_root(&self, digest: &Digest) -> PathBuf {
        self.root.join("trees").join(digest.to_string())
    }

    /// The manifest of the tree `digest`, when there is one that can be read.
    pub fn manifest(&self, digest: &Digest) -> Option<Manifest> {
        let text = fs::read(self.manifest_path(digest)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    fn manifest_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("trees").join(format!("{digest}.json"))
    }

    /// Makes the tree of `plan`, or finds it made. One copy of each content is written.
    pub fn make(&self, plan: &Plan, recipe: &str) -> io::Result<Manifest> {
        let mut entries = BTreeMap::new();
        let mut inputs = BTreeMap::new();
        for folder in &plan.folders_read {
            inputs.insert(text_of(folder)?, fingerprint(folder)?);
        }
        for (at, entry) in &plan.entries {
            let stored = match entry {
                Entry::Folder => Stored::Folder,
                Entry::Link(to) => Stored::Link { to: to.clone() },
                Entry::Own {
                    content,
                    executable,
                } => self.keep(content, *executable, keeps_time(at).then_some(OWN_TIME_S))?,
                Entry::Copy { source, executable } => {
                    let before = fingerprint(source)?;
                    let metadata = fs::metadata(source)?;
                    if metadata.len() > FILE_LIMIT_BYTES {
                        return Err(io::Error::other(format!(
                            "{} is over {FILE_LIMIT_BYTES} bytes",
                            source.display()
                        )));
                    }
                    let content = fs::read(source)?;
                    if fingerprint(source)? != before {
                        return Err(io::Error::other(format!(
                            "{} changed while it was read",
                            source.display()
                        )));
                    }
                    inputs.insert(text_of(source)?, before);
                    self.keep(
                        &content,
                        *executable,
                        keeps_time(at).then_some(metadata.mtime()),
                    )?
                }
            };
            entries.insert(at.clone(), stored);
        }
        let digest = digest_of(&entries);
        let manifest = Manifest {
            digest,
            entries,
            inputs,
            recipe: recipe.to_owned(),
        };
        if !self.is_intact(&manifest) {
            self.link_tree(&manifest)?;
        }
        write_whole(
            &self.manifest_path(&digest),
            &serde_json::to_vec(&manifest)?,
        )?;
        Ok(manifest)
    }

    fn keep(&self, content: &[u8], executable: bool, mtime: Option<i64>) -> io::Result<Stored> {
        let sha256 = hex::encode(ring::digest::digest(&ring::digest::SHA256, content));
        let mode = if executable { 0o755 } else { 0o644 };
        let size = content.len() as u64;
        let stored = Stored::File {
            mode,
            size,
            sha256,
            mtime,
        };
        let path = self.object_path(&stored).expect("a file has an object");
        if fs::metadata(&path).is_ok_and(|m| m.len() == size) {
            return Ok(stored);
        }
        let partial = path.with_extension("partial");
        fs::write(&partial, content)?;
        fs::set_permissions(&partial, fs::Permissions::from_mode(mode))?;
        if let Some(seconds) = mtime {
            let time = UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
            fs::File::options()
                .write(true)
                .open(&partial)?
                .set_modified(time)?;
        }
        fs::rename(&partial, &path)?;
        Ok(stored)
    }

    fn object_path(&self, stored: &Stored) -> Option<PathBuf> {
        let Stored::File {
            mode,
            sha256,
            mtime,
            ..
        } = stored
        else {
            return None;
        };
        let executable = if mode & 0o111 != 0 { "-x" } else { "" };
        let time = mtime.map(|t| format!("-{t}")).unwrap_or_default();
        Some(
            self.root
                .join("objects")
                .join(format!("{sha256}{executable}{time}")),
        )
    }

    fn link_tree(&self, manifest: &Manifest) -> io::Result<()> {
        let root = self.tree_root(&manifest.digest);
        let staging = root.with_extension("partial");
        for old in [&staging, &root] {
            if old.exists() {
                fs::remove_dir_all(old)?;
            }
        }
        fs::create_dir_all(&staging)?;
        fs::set_permissions(&staging, fs::Permissions::from_mode(0o755))?;
        // In the order of the paths a folder comes before what is in it.
        for (at, stored) in &manifest.entries {
            let path = staging.join(at.trim_start_matches('/'));
            match stored {
                Stored::Folder => {
                    fs::create_dir(&path)?;
                    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
                }
                Stored::Link { to } => symlink(to, &path)?,
                Stored::File { .. } => {
                    fs::hard_link(
                        self.object_path(stored).expect("a file has an object"),
                        &path,
                    )?;
                }
            }
        }
        fs::rename(&staging, &root)
    }

    /// Whether the tree of `manifest` is there, every path of it as recorded by `lstat`.
    pub fn is_intact(&self, manifest: &Manifest) -> bool {
        self.first_difference(manifest).is_none()
    }

    /// The first path of the tree that is not as recorded.
    pub fn first_difference(&self, manifest: &Manifest) -> Option<String> {
        let root = self.tree_root(&manifest.digest);
        let Ok(mut look) = Look::below(&root) else {
            return Some("/".to_owned());
        };
        let mut differs = |at: &str, stored: &Stored| {
            let below = at.trim_start_matches('/');
            let Ok(seen) = look.at(below, Seen::Itself) else {
                return true;
            };
            let same = match stored {
                Stored::Folder => is(&seen, FileType::Directory),
                Stored::Link { to } => fs::read_link(root.join(below))
                    .is_ok_and(|found| found.as_os_str() == to.as_str()),
                Stored::File {
                    mode, size, mtime, ..
                } => {
                    is(&seen, FileType::RegularFile)
                        && seen.st_mode & 0o7777 == *mode
                        && u64::try_from(seen.st_size) == Ok(*size)
                        && mtime.is_none_or(|t| t == seen.st_mtime)
                }
            };
            !same
        };
        let mut entries = manifest.entries.iter();
        let found = entries.find(|(at, stored)| differs(at, stored));
        found.map(|(at, _)| at.clone())
    }

    /// Whether the host still has what `manifest` was made from.
    pub fn is_current(&self, manifest: &Manifest) -> bool {
        let Ok(mut look) = Look::below(Path::new("/")) else {
            return false;
        };
        manifest.inputs.iter().all(|(path, before)| {
            let seen = look.at(path.trim_start_matches('/'), Seen::Behind);
            seen.is_ok_and(|now| told(&now) == *before)
        })
    }

    /// Removes trees that no row names and contents that no tree has.
    pub fn sweep(&self, kept: &[Digest]) -> io::Result<()> {
        let swept = self.root.join("objects.swept");
        for entry in fs::read_dir(self.root.join("trees"))? {
            let path = entry?.path();
            let name = path
                .file_name()
                .and_then(|n| n.to_str())
                .unwrap_or_default();
            let digest = name.strip_suffix(".json").unwrap_or(name);
            if kept.iter().any(|k| k.to_string() == digest) {
                continue;
            }
            // Before: whoever is stopped half-way through leaves contents to look for.
            match fs::remove_file(&swept) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            if path.is_dir() {
                fs::remove_dir_all(&path)?
            } else {
                fs::remove_file(&path)?
            }
        }
        let objects = self.root.join("objects");
        if fs::read_to_string(&swept).ok() == Some(fingerprint(&objects)?) {
            return Ok(());
        }
        for entry in fs::read_dir(&objects)? {
            let entry = entry?;
            if entry.metadata()?.nlink() == 1 {
                fs::remove_file(entry.path())?;
            }
        }
        fs::write(&swept, fingerprint(&objects)?)
    }
}

/// The time of our own `.py` files, of which bytecode is made ahead.
pub const OWN_TIME_S: i64 = 1_000_000_000;

/// What `stat` says of a path, as far as a change of content shows in it.
pub fn fingerprint(path: &Path) -> io::Result<String> {
    Ok(told(&rustix::fs::stat(path)?))
}

fn told(seen: &Stat) -> String {
    format!(
        "{}:{}:{}:{}.{}",
        seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime, seen.st_mtime_nsec
    )
}

fn is(seen: &Stat, kind: FileType) -> bool {
    FileType::from_raw_mode(seen.st_mode) == kind
}

fn text_of(path: &Path) -> io::Result<String> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| io::Error::other(format!("{} is not UTF-8", path.display())))
}

fn digest_of(entries: &BTreeMap<String, Stored>) -> Digest {
    let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
    for (at, stored) in entries {
        let line = match stored {
            Stored::Folder => format!("{at}\0folder\n"),
            Stored::Link { to } => format!("{at}\0link\0{to}\n"),
            Stored::File {
                mode, size, sha256, ..
            } => format!("{at}\0file\0{mode:o}\0{size}\0{sha256}\n"),
        };
        hash.update(line.as_bytes());
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(hash.finish().as_ref());
    Digest(bytes)
}

/// Writes a file so that a reader sees the old one or the new one, whole.
pub fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let partial = path.with_extension("partial");
    fs::write(&partial, content)?;
    fs::File::open(&partial)?.sync_all()?;
    fs::rename(&partial, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::Loader;

    fn plan(text: &str) -> Plan {
        let mut plan = Plan::new(Loader::of_this_machine());
        plan.own("/var/runtime/a.txt", text, false);
        plan.own("/var/runtime/b.txt", text, false);
        plan.put("/tmp", Entry::Folder);
        plan
    }

    #[test]
    fn one_at_a_time_has_the_right_to_change_it() {
        let data = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(data.path()).expect("opens");
        assert!(!store.is_held());
        let held = store.hold().expect("held");
        assert!(store.is_held());
        let other = Store::open(data.path()).expect("opens");
        let other = std::thread::spawn(move || other.hold().map(drop));
        let folder = fs::File::open(data.path().join("runtimes")).expect("opens");
        let taken = || flock(&folder, FlockOperation::NonBlockingLockShared).is_err();
        assert!(taken() && !other.is_finished());
        drop(held);
        other.join().expect("ends").expect("held after");
        assert!(!taken());
    }

    #[test]
    fn equal_contents_are_kept_once_and_equal_plans_have_equal_digests() {
        let data = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(data.path()).expect("opens");
        let first = store.make(&plan("x"), "r").expect("made");
        assert_eq!(
            first.digest,
            store.make(&plan("x"), "r").expect("made").digest
        );
        assert_ne!(
            first.digest,
            store.make(&plan("y"), "r").expect("made").digest
        );
        let a = store.tree_root(&first.digest).join("var/runtime/a.txt");
        assert_eq!(
            fs::metadata(a).expect("there").nlink(),
            3,
            "two names and the object"
        );
    }

    #[test]
    fn a_changed_tree_is_seen_and_made_again() {
        let data = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(data.path()).expect("opens");
        let manifest = store.make(&plan("x"), "r").expect("made");
        assert!(store.is_intact(&manifest));
        fs::remove_file(store.tree_root(&manifest.digest).join("var/runtime/a.txt"))
            .expect("removed");
        assert_eq!(
            store.first_difference(&manifest).as_deref(),
            Some("/var/runtime/a.txt")
        );
        store.make(&plan("x"), "r").expect("made again");
        assert!(store.is_intact(&manifest));
    }

    #[test]
    fn sweeping_leaves_what_is_named() {
        let data = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(data.path()).expect("opens");
        let kept = store.make(&plan("x"), "r").expect("made");
        let dropped = store.make(&plan("y"), "r").expect("made");
        store.sweep(&[kept.digest]).expect("swept");
        assert!(store.is_intact(&kept));
        assert!(!store.is_intact(&dropped));
        assert_eq!(
            fs::read_dir(data.path().join("runtimes/objects"))
                .expect("there")
                .count(),
            1
        );
    }

    #[test]
    fn contents_without_a_tree_go_whatever_came_between() {
        let data = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(data.path()).expect("opens");
        let objects = data.path().join("runtimes/objects");
        let count = || fs::read_dir(&objects).expect("there").count();
        let kept = store.make(&plan("x"), "r").expect("made");
        for _ in 0..2 {
            store.sweep(&[kept.digest]).expect("swept");
            assert_eq!(count(), 1);
        }
        // A start that ended before it had a tree.
        std::thread::sleep(Duration::from_millis(20));
        fs::write(objects.join("left"), "").expect("written");
        store.sweep(&[kept.digest]).expect("swept");
        assert_eq!(count(), 1);
        // A sweep that ended between a tree and its contents.
        let dropped = store.make(&plan("y"), "r").expect("made");
        store.sweep(&[kept.digest, dropped.digest]).expect("swept");
        assert_eq!(count(), 2);
        let inner = store.tree_root(&dropped.digest).join("var/runtime");
        fs::remove_dir_all(inner).expect("removed");
        store.sweep(&[kept.digest]).expect("swept");
        assert_eq!(count(), 1);
        assert!(store.is_intact(&kept));
    }

    #[test]
    fn a_change_of_the_host_is_seen() {
        let data = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(data.path()).expect("opens");
        let host = data.path().join("host");
        fs::create_dir_all(host.join("lib/deep")).expect("made");
        for file in ["lib/a.txt", "lib/deep/b.txt"] {
            fs::write(host.join(file), file).expect("written");
        }
        symlink("a.txt", host.join("lib/link.txt")).expect("linked");
        let made = || {
            let mut plan = Plan::new(Loader::of_this_machine());
            plan.folder("/opt/lib", &host.join("lib"), &|_| false)
                .expect("read");
            store.make(&plan, "r").expect("made")
        };
        let first = made();
        assert!(store.is_current(&first));
        fs::write(host.join("lib/a.txt"), "longer than before").expect("written");
        assert!(!store.is_current(&first));
        let second = made();
        assert!(store.is_current(&second) && second.digest != first.digest);
        fs::write(host.join("lib/deep/new.txt"), "").expect("written");
        assert!(!store.is_current(&second), "a folder has one more");
        let third = made();
        fs::remove_file(host.join("lib/deep/b.txt")).expect("removed");
        assert!(!store.is_current(&third));
    }
}
