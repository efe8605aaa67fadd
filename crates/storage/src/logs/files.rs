//! A bound on the descriptors that streams hold open: the longest unused ones are closed first.

use super::stream::Stream;
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
};

/// The streams that hold a descriptor, in the order in which they took it.
pub(super) struct OpenFiles {
    max: usize,
    queue: Mutex<VecDeque<Weak<Stream>>>,
}

impl OpenFiles {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            queue: Mutex::default(),
        }
    }

    /// Notes that `stream` took a descriptor; another one is closed when that is one too many.
    /// One that was written since its last turn gets another, so what is in use stays open.
    pub(super) fn opened(&self, stream: &Arc<Stream>) {
        let mut queue = self.queue.lock();
        queue.push_back(Arc::downgrade(stream));
        let mut turns = 2 * queue.len();
        while queue.len() > self.max && turns > 0 {
            turns -= 1;
            let Some(oldest) = queue.pop_front() else {
                return;
            };
            let kept = oldest
                .upgrade()
                .is_some_and(|oldest| !Arc::ptr_eq(&oldest, stream) && !oldest.give_up_file())
                || oldest.ptr_eq(&Arc::downgrade(stream));
            if kept {
                queue.push_back(oldest);
            }
        }
    }
}
