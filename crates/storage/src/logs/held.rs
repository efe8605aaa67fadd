//! The streams in memory: all that are open or not yet in the index as they are, and of the others
//! those that were lately asked for, within a bound.

use super::{
    filter::{self, Filter},
    stream::{Leaves, Stream},
};
use freehold_domain::logs::{LogGroupName, LogStreamName};
use parking_lot::RwLock;
use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    ops::{Bound, Range},
    sync::Arc,
};

/// See the module.
pub(super) struct Held {
    inner: RwLock<Inner>,
    cached_bytes_max: usize,
    /// Names of streams that are not held.
    left: Filter,
}

#[derive(Default)]
struct Inner {
    by_name: BTreeMap<Arc<LogStreamName>, Arc<Stream>>,
    /// Those that may leave, longest there first.
    cached: VecDeque<Arc<Stream>>,
    cached_bytes: usize,
    /// Grows whenever streams leave: what was read of the index before may be older than that.
    departures: Departures,
}

/// How many streams had left when somebody looked.
pub(super) type Departures = u64;

impl Held {
    pub(super) fn new(cached_bytes_max: usize) -> Self {
        Self {
            inner: RwLock::default(),
            cached_bytes_max,
            left: Filter::new(),
        }
    }

    /// The names of streams that are not held, for whoever finds them in the index.
    pub(super) fn left(&self) -> &Filter {
        &self.left
    }

    /// The stream of this name; otherwise what [`admit`](Self::admit) wants.
    pub(super) fn get(&self, name: &LogStreamName) -> Result<Arc<Stream>, Departures> {
        let inner = self.inner.read();
        inner.by_name.get(name).cloned().ok_or(inner.departures)
    }

    /// Adds a stream that was found in the index, unless the name has come meanwhile; `None` when a
    /// stream has left since the index was looked at, so that it has to be looked at again.
    pub(super) fn admit(&self, stream: Arc<Stream>, departures: Departures) -> Option<Arc<Stream>> {
        let mut inner = self.inner.write();
        if let Some(found) = inner.by_name.get(stream.name()) {
            return Some(found.clone());
        }
        if inner.departures != departures {
            return None;
        }
        inner.by_name.insert(stream.name().clone(), stream.clone());
        Some(stream)
    }

    /// Adds a stream that was made, unless its name was found in the index meanwhile: then that one.
    pub(super) fn admit_new(&self, stream: Arc<Stream>) -> Arc<Stream> {
        let mut inner = self.inner.write();
        let name = stream.name().clone();
        inner.by_name.entry(name).or_insert(stream).clone()
    }

    /// Lets a stream leave when its turn comes, and others now where they are too many.
    pub(super) fn cache(&self, stream: &Arc<Stream>) {
        let mut left = Vec::new();
        {
            let mut inner = self.inner.write();
            inner.enter(stream.clone());
            inner.make_room(self.cached_bytes_max, &self.left, &mut left);
        }
        // Freed without the lock, which the data path waits for.
        drop(left);
    }

    /// The streams of a group from `start` on whose names begin with `prefix`, at most `limit`, by
    /// name.
    pub(super) fn from(
        &self,
        group: &LogGroupName,
        start: &str,
        prefix: &str,
        limit: usize,
    ) -> Vec<Arc<Stream>> {
        self.inner.read().from(group, start, prefix, limit)
    }

    /// The streams of a group.
    pub(super) fn of_group(&self, group: &LogGroupName) -> Vec<Arc<Stream>> {
        self.from(group, "", "", usize::MAX)
    }

    /// Every stream.
    pub(super) fn all(&self) -> Vec<Arc<Stream>> {
        self.inner.read().by_name.values().cloned().collect()
    }

    /// Takes streams of a group out by their numbers.
    pub(super) fn take(&self, group: &LogGroupName, numbers: &HashSet<u64>) -> Vec<Arc<Stream>> {
        // In one go: whoever read a row of one before is to look again, and not to admit it between.
        let mut inner = self.inner.write();
        inner.departures += 1;
        let mut found = inner.from(group, "", "", usize::MAX);
        found.retain(|stream| numbers.contains(&stream.number()));
        for stream in &found {
            inner.leave(stream, &self.left);
        }
        found
    }

    /// The numbers within `range` of the streams that are held.
    pub(super) fn numbers(&self, range: &Range<u64>) -> HashSet<u64> {
        let inner = self.inner.read();
        let numbers = inner.by_name.values().map(|stream| stream.number());
        numbers.filter(|number| range.contains(number)).collect()
    }

    /// How many streams are held, and what those that may leave take.
    pub(super) fn count(&self) -> (usize, usize) {
        let inner = self.inner.read();
        (inner.by_name.len(), inner.cached_bytes)
    }
}

impl Inner {
    fn from(
        &self,
        group: &LogGroupName,
        start: &str,
        prefix: &str,
        limit: usize,
    ) -> Vec<Arc<Stream>> {
        let start = LogStreamName {
            group: group.clone(),
            stream: start.to_owned(),
        };
        self.by_name
            .range::<LogStreamName, _>((Bound::Included(&start), Bound::Unbounded))
            .take_while(|(name, _)| name.group == *group && name.stream.starts_with(prefix))
            .take(limit)
            .map(|(_, stream)| stream.clone())
            .collect()
    }

    fn enter(&mut self, stream: Arc<Stream>) {
        let bytes = stream.bytes_held();
        self.cached_bytes += bytes;
        match stream.cached_as(bytes) {
            0 => self.cached.push_back(stream),
            before => self.cached_bytes -= before,
        }
    }

    fn make_room(&mut self, bytes_max: usize, names: &Filter, left: &mut Vec<Arc<Stream>>) {
        // Those in use get another turn, and no more than one.
        let mut turns = 2 * self.cached.len();
        while self.cached_bytes > bytes_max && turns > 0 {
            turns -= 1;
            let Some(stream) = self.cached.pop_front() else {
                return;
            };
            self.cached_bytes -= stream.cached_as(0);
            match stream.leaves() {
                Leaves::Now => {
                    self.departures += 1;
                    self.leave(&stream, names);
                    left.push(stream);
                }
                Leaves::Later => self.enter(stream),
                // It comes again once it is in the index.
                Leaves::NotYet => {}
            }
        }
    }

    fn leave(&mut self, stream: &Arc<Stream>, names: &Filter) {
        names.add(filter::parts(stream.name()));
        let known = self.by_name.get(stream.name());
        if known.is_some_and(|known| Arc::ptr_eq(known, stream)) {
            self.by_name.remove(stream.name());
        }
    }
}
