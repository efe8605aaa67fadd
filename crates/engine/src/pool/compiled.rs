//! Code that a revision's init compiled, kept for its next inits.
//!
//! ```text
//!            a start            ready, with code
//!   unasked ─────────▶ asked ─────────────────────▶ kept
//!     ▲  ▲               │ │ ready, without            │ memory is short
//!     │  └─ init failed ─┘ └──────────▶ nothing        │
//!     └────────────────────────────────────────────────┘  (asked again after a while)
//! ```
//!
//! A runtime believes what it is given: whoever writes the code runs in every instance that reads
//! it. So it is one revision's alone, is taken once, over the instance's line, before that instance
//! has seen an event, and lies where no instance can write: in the server's memory, within a bound,
//! gone with the revision. What a tenant's function makes of its own init is its own affair; what
//! an event makes of one instance never reaches another. See
//! `docs/decisions/0015-snapstart-of-java-and-node.md`.

use crate::{node::Node, route::Revision};
use bytes::Bytes;
use freehold_domain::{
    ids::TenantId,
    ports::{COMPILED_CODE_BYTES_MAX, CompiledCode, Link},
    time::Mono,
};
use parking_lot::Mutex;
use std::{
    mem,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// How long code that had no room is not asked for.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What is known of one revision's.
#[derive(Default)]
pub(crate) struct Compiled(Mutex<State>);

enum State {
    /// Not asked for yet, or not to be before this moment.
    Unasked(Mono),
    /// An instance that is starting hands it over.
    Asked,
    /// Its inits compile too little, or nothing that could be handed over.
    Nothing,
    Kept {
        code: Bytes,
        last_use: u64,
    },
    /// The revision has gone.
    Gone,
}

impl Default for State {
    fn default() -> Self {
        Self::Unasked(Mono(0))
    }
}

/// Who keeps code, for the bound of a node and of a tenant.
#[derive(Default)]
pub(crate) struct CompiledBook {
    kept: Mutex<Vec<Weak<Revision>>>,
    /// Grows with every use.
    uses: AtomicU64,
}

/// The asking of one start: given back when it is dropped.
pub(super) struct Asked<'a>(Option<&'a Arc<Revision>>);

/// What a start of `revision` that begins now is to do about code.
pub(super) fn for_start<'a>(node: &Node, revision: &'a Arc<Revision>) -> (CompiledCode, Asked<'a>) {
    let room_bytes = node.parts.config.now().compiled_code_bytes;
    if room_bytes == 0 || !revision.runtime.family.hands_over_code() {
        return (CompiledCode::None, Asked(None));
    }
    let mut state = revision.compiled.0.lock();
    match &mut *state {
        State::Kept { code, last_use } => {
            *last_use = node.compiled.uses.fetch_add(1, Ordering::Relaxed);
            (CompiledCode::Given(code.clone()), Asked(None))
        }
        State::Unasked(not_before) if *not_before <= node.parts.clock.now() => {
            *state = State::Asked;
            (CompiledCode::Wanted, Asked(Some(revision)))
        }
        State::Unasked(_) | State::Asked | State::Nothing | State::Gone => {
            (CompiledCode::None, Asked(None))
        }
    }
}

impl Asked<'_> {
    /// The instance is ready: keeps what it handed over.
    pub(super) fn ready(mut self, node: &Node, link: &dyn Link) {
        let Some(revision) = self.0.take() else {
            return;
        };
        let state = match link.take_code() {
            // A copy: what was read from a line has its buffer behind it.
            Some(code) if code.len() as u64 <= COMPILED_CODE_BYTES_MAX => State::Kept {
                code: Bytes::copy_from_slice(&code),
                last_use: node.compiled.uses.fetch_add(1, Ordering::Relaxed),
            },
            Some(_) | None => State::Nothing,
        };
        let is_kept = matches!(state, State::Kept { .. });
        if revision.compiled.became(state) && is_kept {
            node.compiled.make_room(node, revision);
        }
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if let Some(revision) = self.0 {
            revision.compiled.became(State::default());
        }
    }
}

impl Compiled {
    /// What became of the asking; `false` when the revision has gone meanwhile.
    fn became(&self, state: State) -> bool {
        let mut now = self.0.lock();
        let is_asked = matches!(*now, State::Asked);
        if is_asked {
            *now = state;
        }
        is_asked
    }

    /// The revision has gone, and its code with it.
    pub(super) fn forget(&self) {
        let gone = mem::replace(&mut *self.0.lock(), State::Gone);
        drop(gone);
    }

    /// Lets go of what is kept, for now.
    fn leave(&self, until: Mono) {
        let mut state = self.0.lock();
        if matches!(*state, State::Kept { .. }) {
            *state = State::Unasked(until);
        }
    }

    /// Bytes that are kept, and when they were used last.
    fn kept(&self) -> Option<(u64, u64)> {
        match &*self.0.lock() {
            State::Kept { code, last_use } => Some((code.len() as u64, *last_use)),
            _ => None,
        }
    }
}

impl CompiledBook {
    /// Notes one more that is kept, and lets go of what was used least where all of a tenant's, or of
    /// the node's, are above their bound. One tenant may have half.
    fn make_room(&self, node: &Node, newest: &Arc<Revision>) {
        let room_bytes = node.parts.config.now().compiled_code_bytes;
        let until = node.parts.clock.now() + AGAIN_AFTER;
        let mut kept = self.kept.lock();
        kept.push(Arc::downgrade(newest));
        let tenant = &newest.function.tenant;
        for (whose, most) in [(Some(tenant), room_bytes / 2), (None, room_bytes)] {
            while let (bytes, Some(least)) = look(&mut kept, whose)
                && bytes > most
            {
                least.compiled.leave(until);
            }
        }
    }

    /// How many revisions keep code, and its bytes.
    pub(crate) fn counts(&self) -> (usize, u64) {
        let mut kept = self.kept.lock();
        let (bytes, _) = look(&mut kept, None);
        (kept.len(), bytes)
    }
}

/// The bytes of a tenant's, or of all, and the one of them that was used least. Forgets on the way
/// who keeps nothing any more.
fn look(kept: &mut Vec<Weak<Revision>>, of: Option<&TenantId>) -> (u64, Option<Arc<Revision>>) {
    let (mut sum, mut least) = (0, None);
    kept.retain(|known| {
        let Some(revision) = known.upgrade() else {
            return false;
        };
        let Some((bytes, last_use)) = revision.compiled.kept() else {
            return false;
        };
        if of.is_none_or(|tenant| revision.function.tenant == *tenant) {
            sum += bytes;
            if least.as_ref().is_none_or(|(_, use_)| last_use < *use_) {
                least = Some((revision, last_use));
            }
        }
        true
    });
    (sum, least.map(|(revision, _)| revision))
}
