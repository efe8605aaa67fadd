//! The data folder: what root keeps, what the server may write.
//!
//! ```text
//! DATA/              root's; everybody may pass through
//!   root-key         0600: the root access key, for `freehold env`
//!   keys/            0700: sealing keys, read before root is given up
//!   runtimes/ sdk/   interpreters' trees and their table, SDKs
//!   acme/            0700, the server's: an account, and the certificate that was ordered; only where
//!                    one is
//!   tls/             a certificate of its own making, its key 0600; only where one is needed
//!   state/           0700: the spawners' own
//!   store/           the server's: records, queue, blobs, ledger, logs
//!   packages/        the server's: unpacked packages, read by guests
//!   compiled/        the server's: machine code of WebAssembly functions, sealed
//!   run/             the server's: endpoint.json while it serves
//! ```

use super::{Settings, StartFailure, acme::STATE, failure};
use crate::config::SERVER_UID;
use rustix::fs::{AtFlags, CWD, Gid, Uid, chownat};
use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// What was ordered of an authority, below the data folder: accounts and certificates.
pub(crate) const ACME: &str = "acme";
/// Where a certificate of the server's own making lies, below the data folder.
pub(crate) const TLS: &str = "tls";

/// What a restore writes into, below the data folder, until all of it is on disk.
pub(crate) const RESTORING: &str = "restoring";
/// What that becomes when it is done, before it goes.
pub(crate) const RESTORED: &str = "restored";

/// The folder, prepared.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    root: PathBuf,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Folder {
    pub(crate) fn path(&self) -> &Path {
        &self.root
    }
    pub(crate) fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }
    pub(crate) fn state(&self) -> PathBuf {
        self.root.join("state")
    }
    pub(crate) fn store(&self) -> PathBuf {
        self.root.join("store")
    }
    pub(crate) fn packages(&self) -> PathBuf {
        self.root.join("packages")
    }
    pub(crate) fn compiled(&self) -> PathBuf {
        self.root.join("compiled")
    }
    pub(crate) fn tls(&self) -> PathBuf {
        self.root.join(TLS)
    }
    pub(crate) fn acme(&self) -> PathBuf {
        self.root.join(ACME)
    }
    pub(crate) fn run(&self) -> PathBuf {
        self.root.join("run")
    }
    pub(crate) fn runtime_table(&self) -> PathBuf {
        self.root.join("runtimes/table.json")
    }
}

/// Makes what is missing and gives each folder to whom it belongs.
pub(crate) fn prepare(settings: &Settings) -> Result<Folder, StartFailure> {
    let root = settings.data.clone();
    let is_root = rustix::process::geteuid().is_root();
    let uid = match is_root {
        true => settings.config.server.uid,
        false => rustix::process::geteuid().as_raw(),
    };
    let gid = if is_root {
        uid
    } else {
        rustix::process::getegid().as_raw()
    };
    let folder = Folder {
        root: root.clone(),
        uid,
        gid,
    };
    let doing = |path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| {
            failure(
                format!(
                    "the data folder {} cannot be prepared: {error}",
                    path.display()
                ),
                "choose a folder of yours by --data",
            )
        }
    };
    may_be_used(&root)?;
    let _ = fs::remove_dir_all(root.join(RESTORED));
    fs::create_dir_all(&root).map_err(doing(&root))?;
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).map_err(doing(&root))?;
    if is_root {
        can_be_entered(&root)?;
    }
    // How orders went is told of a server that orders.
    let orders = !settings.config.tls.acme_names.is_empty();
    if !orders {
        let _ = fs::remove_file(root.join(STATE));
    }
    for (path, mode, servers) in [
        (folder.keys(), 0o700, false),
        (folder.state(), 0o700, false),
        (folder.store(), 0o700, true),
        (folder.packages(), 0o711, true),
        (folder.compiled(), 0o700, true),
        (folder.run(), 0o755, true),
    ]
    .into_iter()
    .chain(orders.then(|| (folder.acme(), 0o700, true)))
    {
        fs::create_dir_all(&path).map_err(doing(&path))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(doing(&path))?;
        if servers && is_root {
            give(&path, uid, gid).map_err(doing(&path))?;
        }
    }
    // A restore that began since the first look has seen these folders, or is seen now.
    may_be_used(&root)?;
    Ok(folder)
}

/// Errors: a restore is at it, or was interrupted.
fn may_be_used(root: &Path) -> Result<(), StartFailure> {
    match root.join(RESTORING).exists() {
        false => Ok(()),
        true => Err(failure(
            format!("a restore into {} was not finished", root.display()),
            "run `freehold restore` again: it begins anew; or choose another --data",
        )),
    }
}

/// Gives a folder to the user that a server drops to, unless told otherwise; another one's start
/// gives it to that one. Without root all is one user's.
pub(crate) fn give_to_server(path: &Path) -> io::Result<()> {
    match rustix::process::geteuid().is_root() {
        true => give(path, SERVER_UID, SERVER_UID),
        false => Ok(()),
    }
}

/// Gives a folder and, where it had another owner (of another `server.uid`, or of the default of
/// an earlier version), everything below it. The folder itself comes last, so that a start that
/// was killed half-way through is made good by the next.
fn give(path: &Path, uid: u32, gid: u32) -> io::Result<()> {
    if fs::metadata(path)?.uid() == uid {
        return Ok(());
    }
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    let all = walkdir::WalkDir::new(path).follow_links(false);
    for entry in all.contents_first(true) {
        let entry = entry.map_err(io::Error::from)?;
        // Never what a link points at: the folder was another user's until now.
        chownat(CWD, entry.path(), uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

/// The server is nobody in particular once it has dropped root: it must be let through.
fn can_be_entered(root: &Path) -> Result<(), StartFailure> {
    for parent in root.ancestors().skip(1) {
        let mode = fs::metadata(parent).map_or(0, |facts| facts.mode());
        if mode & 0o001 == 0 {
            return Err(failure(
                format!(
                    "the data folder lies below {}, which only its owner may enter",
                    parent.display()
                ),
                format!("choose another --data, or `chmod o+x {}`", parent.display()),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_another_uid_is_given_whole_and_links_out_of_it_are_not_followed() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root gives files away");
            return;
        }
        const EARLIER: u32 = 64_700;
        let data = tempfile::tempdir().expect("a folder");
        let outside = data.path().join("outside");
        fs::write(&outside, "").expect("written");
        let store = data.path().join("store");
        fs::create_dir_all(store.join("blobs")).expect("a folder");
        fs::write(store.join("blobs/one"), "").expect("written");
        std::os::unix::fs::symlink(&outside, store.join("link")).expect("a link");
        let owner = |path: &Path| fs::symlink_metadata(path).expect("it is there").uid();

        for uid in [EARLIER, SERVER_UID] {
            give(&store, uid, uid).expect("given");
            for path in ["", "blobs", "blobs/one", "link"] {
                assert_eq!(owner(&store.join(path)), uid, "{path}");
            }
        }
        assert_eq!(owner(&outside), 0);

        // Killed half-way: the folder itself is still the earlier uid's.
        give(&store, EARLIER, EARLIER).expect("given");
        let (uid, gid) = (Uid::from_raw(SERVER_UID), Gid::from_raw(SERVER_UID));
        let half = store.join("link");
        chownat(CWD, half, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).expect("given");
        give(&store, SERVER_UID, SERVER_UID).expect("given");
        assert_eq!(owner(&store.join("blobs/one")), SERVER_UID);
    }
}
