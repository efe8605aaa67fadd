//! Tags of functions as the ledger names them: what a bill by tag is made of.
//!
//! The store's watch keeps them true, before a write returns. An entry names its function's tags by
//! an id of 32 bytes; what the id stands for is in the first entry of each lane that names it since
//! the server started, so that the ledger needs nothing beside it to be read. Nothing of this is done
//! for a function without tags, and while no function has any a call loads one counter.

use freehold_domain::{
    ids::{CoreId, Digest, FunctionRef},
    ledger::EntryTags,
    ports::{CommitError, Ledger},
};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Ids that a lane remembers to have told; past it they are told again.
const TOLD_MAX: usize = 10_000;

/// The tags of a function at one time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TagSet {
    id: Digest,
    tags: BTreeMap<String, String>,
}

impl TagSet {
    fn new(tags: BTreeMap<String, String>) -> Self {
        let text = serde_json::to_vec(&tags).expect("text keys and values always serialise");
        let digest = ring::digest::digest(&ring::digest::SHA256, &text);
        let id = digest.as_ref().try_into().expect("SHA-256 has 32 bytes");
        Self {
            id: Digest(id),
            tags,
        }
    }
}

/// The tags of all functions that have some.
pub(crate) struct Tags {
    functions: RwLock<HashMap<FunctionRef, Arc<TagSet>>>,
    /// How many those are.
    count: AtomicUsize,
    /// By lane: the ids that it has told.
    told: Vec<Mutex<HashSet<Digest>>>,
}

impl Tags {
    pub(crate) fn new(lanes: usize) -> Self {
        Self {
            functions: RwLock::default(),
            count: AtomicUsize::new(0),
            told: (0..lanes.max(1)).map(|_| Mutex::default()).collect(),
        }
    }

    /// What a function is tagged with from now on.
    pub(crate) fn set(&self, function: &FunctionRef, tags: BTreeMap<String, String>) {
        let mut functions = self.functions.write();
        if tags.is_empty() {
            functions.remove(function);
        } else if functions
            .get(function)
            .is_none_or(|known| known.tags != tags)
        {
            functions.insert(function.clone(), Arc::new(TagSet::new(tags)));
        }
        self.count.store(functions.len(), Ordering::Release);
    }

    /// What a function is tagged with.
    pub(crate) fn of(&self, function: &FunctionRef) -> Option<Arc<TagSet>> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.functions.read().get(function).cloned()
    }

    /// Appends an entry with the tags of its function: `to_json` is its text with these.
    ///
    /// Errors: the ledger's.
    pub(crate) fn append(
        &self,
        ledger: &dyn Ledger,
        lane: CoreId,
        tags: Option<&TagSet>,
        to_json: impl FnOnce(Option<EntryTags>) -> Vec<u8>,
    ) -> Result<(), CommitError> {
        let Some(tags) = tags else {
            return ledger.append(lane.0, &to_json(None));
        };
        let id = tags.id;
        let at = usize::from(lane.0).min(self.told.len() - 1);
        let mut told = self.told[at].lock();
        if told.contains(&id) {
            drop(told);
            let tags = EntryTags { id, set: None };
            return ledger.append(lane.0, &to_json(Some(tags)));
        }
        // Held until it is written: who finds the id among those told comes after this entry.
        let set = Some(tags.tags.clone());
        ledger.append(lane.0, &to_json(Some(EntryTags { id, set })))?;
        if told.len() >= TOLD_MAX {
            told.clear();
        }
        told.insert(id);
        Ok(())
    }
}
