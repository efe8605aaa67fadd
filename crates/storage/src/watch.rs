//! Who is told of changes to records.

use freehold_domain::{
    ports::{Stored, Watcher},
    record::Key,
};
use parking_lot::Mutex;
use std::sync::{Arc, Weak};

#[derive(Default)]
struct Inner {
    next: u64,
    all: Vec<(u64, Arc<dyn Watcher>)>,
}

/// The watchers; called by the one thread that commits records, so in commit order.
#[derive(Default, Clone)]
pub(crate) struct Watchers(Arc<Mutex<Inner>>);

struct Guard(u64, Weak<Mutex<Inner>>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(inner) = self.1.upgrade() {
            inner.lock().all.retain(|(id, _)| *id != self.0);
        }
    }
}

impl Watchers {
    pub(crate) fn add(&self, watcher: Arc<dyn Watcher>) -> Box<dyn Send + Sync> {
        let mut inner = self.0.lock();
        inner.next += 1;
        let id = inner.next;
        inner.all.push((id, watcher));
        Box::new(Guard(id, Arc::downgrade(&self.0)))
    }

    pub(crate) fn tell(&self, changes: &[(Key, Option<Stored>)]) {
        if changes.is_empty() {
            return;
        }
        let inner = self.0.lock();
        for (_, watcher) in &inner.all {
            watcher.changed(changes);
        }
    }
}
