//! Folders beside a tree's own, for what is on its way in or out: each has an owner, and goes with
//! it.

use parking_lot::Mutex;
use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// The folders that somebody in this process holds.
#[derive(Default)]
pub(super) struct Asides {
    next: AtomicU64,
    held: Mutex<HashSet<PathBuf>>,
    naming: Mutex<()>,
}

/// One such folder, which may not be there yet; removed when dropped.
pub(super) struct Aside {
    all: Arc<Asides>,
    path: PathBuf,
    /// Nothing is left to remove.
    done: bool,
}

impl Asides {
    /// A name beside `folder` that nothing else has.
    pub(super) fn make(self: &Arc<Self>, folder: &Path, why: &str) -> Aside {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = folder.with_extension(format!("{why}-{number}"));
        self.held.lock().insert(path.clone());
        Aside {
            all: self.clone(),
            path,
            done: false,
        }
    }

    /// Removes a folder beside a tree unless somebody holds it.
    pub(super) fn remove_left(&self, path: &Path) -> io::Result<()> {
        if self.held.lock().contains(path) {
            return Ok(());
        }
        gone(fs::remove_dir_all(path))
    }
}

impl Aside {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it the folder `to`, in whose place an earlier boot may have left an empty tree, or
    /// somebody who hung up a whole one that nobody has opened.
    pub(super) fn become_folder(mut self, to: &Path) -> io::Result<()> {
        let all = self.all.clone();
        let _one_at_a_time = all.naming.lock();
        gone(fs::remove_dir_all(to))?;
        fs::rename(&self.path, to)?;
        self.done = true;
        Ok(())
    }

    /// Removes it, on this thread.
    pub(super) fn remove(mut self) -> io::Result<()> {
        gone(fs::remove_dir_all(&self.path))?;
        self.done = true;
        Ok(())
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let (all, path) = (self.all.clone(), std::mem::take(&mut self.path));
        if self.done {
            all.held.lock().remove(&path);
            return;
        }
        // It may be large, and may be dropped on a serving core. What a failure leaves is met again
        // by `PackageStore::collect`, once it is not held.
        let remove = move || {
            if let Err(error) = gone(fs::remove_dir_all(&path)) {
                tracing::warn!(path = %path.display(), %error, "a folder could not be removed");
            }
            all.held.lock().remove(&path);
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
