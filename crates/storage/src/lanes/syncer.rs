//! Syncs what was written, within a second, on a thread that sleeps while nothing is written.

use crate::failure::Health;
use parking_lot::{Condvar, Mutex};
use std::{
    collections::BTreeSet,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

/// Frames gather this long before they are synced: well within the promised second.
const GATHER: Duration = Duration::from_millis(500);

#[derive(Default)]
struct Dirty {
    /// One or two per lane; found by what they are, not by name: this is asked at every write.
    files: Vec<(PathBuf, Arc<File>)>,
    /// Files and folders that nobody holds open.
    named: BTreeSet<PathBuf>,
    stop: bool,
}

#[derive(Default)]
struct Shared {
    dirty: Mutex<Dirty>,
    wake: Condvar,
}

/// The syncing thread; dropping it syncs what is left and joins it.
pub(crate) struct Syncer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    pub(crate) fn start(health: Arc<Health>) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        let thread = std::thread::Builder::new()
            .name("store-sync".to_owned())
            .spawn(move || run(&theirs, &health))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Notes that `file` was written.
    pub(super) fn written(&self, file: &Arc<File>, path: &Path) {
        let mut dirty = self.shared.dirty.lock();
        if dirty
            .files
            .iter()
            .any(|(_, known)| Arc::ptr_eq(known, file))
        {
            return;
        }
        dirty.files.push((path.to_owned(), file.clone()));
        self.shared.wake.notify_one();
    }

    /// Notes that the file of this name was written, or that this folder has a new name. It is opened
    /// when it is synced, so any number of them holds no descriptors.
    pub(crate) fn written_at(&self, path: PathBuf) {
        let mut dirty = self.shared.dirty.lock();
        if dirty.named.insert(path) {
            self.shared.wake.notify_one();
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.shared.dirty.lock().stop = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn sync_named(shared: &Shared, health: &Health, path: PathBuf) {
    let shown = path.display();
    match File::open(&path) {
        Ok(file) => {
            if let Err(error) = file.sync_all() {
                health.poison(format!("fsync of {shown} failed: {error}"));
            }
        }
        // It was removed meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(%error, path = %shown, "a file could not be opened to be synced; it is tried again");
            shared.dirty.lock().named.insert(path);
        }
    }
}

fn run(shared: &Shared, health: &Health) {
    loop {
        let mut dirty = shared.dirty.lock();
        while dirty.files.is_empty() && dirty.named.is_empty() && !dirty.stop {
            shared.wake.wait(&mut dirty);
        }
        if !dirty.stop {
            // Woken early only by a stop or another file; neither makes this wait longer.
            shared.wake.wait_for(&mut dirty, GATHER);
        }
        // Taken out before the sync: a write during it makes the file dirty again.
        let files = std::mem::take(&mut dirty.files);
        let named = std::mem::take(&mut dirty.named);
        let stop = dirty.stop;
        drop(dirty);
        for (path, file) in files {
            if let Err(error) = file.sync_data() {
                let path = path.display();
                health.poison(format!("fdatasync of {path} failed: {error}"));
            }
        }
        for path in named {
            sync_named(shared, health, path);
        }
        if stop {
            return;
        }
    }
}
