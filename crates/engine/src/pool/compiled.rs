//! Code that a revision's init compiled, kept for its next inits.
//!
//! ```text
//!            a start            ready, with code
//!   unasked ─────────▶ asked ─────────────────────▶ kept
//!     ▲  ▲               │ │ ready, without;           │ │ room is short
//!     │  └─ init failed ─┘ │ its process died          │ │
//!     │                    └──────────▶ nothing ◀──────┘ │
//!     └──────────────────────────────────────────────────┘  (asked again after a while)
//! ```
//!
//! A runtime believes what it is given: whoever writes the code runs in every instance that reads
//! it. So it is one revision's alone, is taken once, over the instance's line, before that instance
//! has seen an event, and lies where no instance can write: in the server's memory, within a bound,
//! gone with the revision. What a tenant's function makes of its own init is its own affair; what
//! an event makes of one instance never reaches another.
//!
//! Code that was let go lives on while an instance that was given it has not read all of it. What
//! lives is counted, and nobody is asked for more while it is above a bound: who does not read what
//! it is given keeps its own tenant from having more, nothing else. See
//! `docs/decisions/0015-snapstart-of-java-and-node.md`.

use super::Phase;
use crate::{node::Node, route::Revision};
use bytes::Bytes;
use freehold_domain::{
    ids::TenantId,
    ports::{COMPILED_CODE_BYTES_MAX, CompiledCode, Link},
    time::Mono,
};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, HashSet},
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

/// Who keeps code, and who is asked for it: for the bounds of a node and of a tenant.
#[derive(Default)]
pub(crate) struct CompiledBook {
    kept: Mutex<Vec<Weak<Revision>>>,
    /// Whose starts are asked. What they hand over is held beside all that is kept.
    asked: Mutex<Vec<TenantId>>,
    alive: Arc<Mutex<Alive>>,
    /// Grows with every use.
    uses: AtomicU64,
}

/// Bytes of code in the server's memory, kept or on their way to an instance.
#[derive(Default)]
struct Alive {
    bytes: u64,
    of: HashMap<TenantId, u64>,
}

/// One revision's code for as long as anybody holds it.
struct Counted {
    code: Box<[u8]>,
    tenant: TenantId,
    alive: Arc<Mutex<Alive>>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.code
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let (mut alive, bytes) = (self.alive.lock(), self.code.len() as u64);
        alive.bytes -= bytes;
        if let Some(of) = alive.of.get_mut(&self.tenant) {
            *of -= bytes;
            if *of == 0 {
                alive.of.remove(&self.tenant);
            }
        }
    }
}

/// What one start has to do with code. A start that is given up is as if it had not been asked.
pub(super) enum Part<'a> {
    None,
    /// It was given some.
    Given(&'a Revision),
    /// It is asked for its own.
    Asked(&'a Node, &'a Arc<Revision>),
}

/// What a start of `revision` that begins now is to do about code. An init on an invocation's time may
/// be long, and is not asked.
pub(super) fn for_start<'a>(
    node: &'a Node,
    revision: &'a Arc<Revision>,
    phase: Phase,
) -> (CompiledCode, Part<'a>) {
    let room_bytes = node.parts.config.now().compiled_code_bytes;
    if room_bytes == 0 || !revision.runtime.family.hands_over_code() {
        return (CompiledCode::None, Part::None);
    }
    let mut state = revision.compiled.0.lock();
    match &mut *state {
        State::Kept { code, last_use } => {
            *last_use = node.compiled.uses.fetch_add(1, Ordering::Relaxed);
            (CompiledCode::Given(code.clone()), Part::Given(revision))
        }
        State::Unasked(not_before)
            if phase != Phase::Invoke
                && *not_before <= node.parts.clock.now()
                && node.compiled.may_ask(&revision.function.tenant, room_bytes) =>
        {
            *state = State::Asked;
            (CompiledCode::Wanted, Part::Asked(node, revision))
        }
        State::Unasked(_) | State::Asked | State::Nothing | State::Gone => {
            (CompiledCode::None, Part::None)
        }
    }
}

impl Part<'_> {
    /// The instance is ready: keeps what it handed over.
    pub(super) fn ready(self, link: &dyn Link) {
        let Self::Asked(node, revision) = &self else {
            return;
        };
        let room_bytes = node.parts.config.now().compiled_code_bytes;
        // More than may be kept would drive out all of its tenant's, and then itself.
        let fits = |code: &Bytes| code.len() as u64 <= room_bytes / 2;
        let state = match link.take_code().filter(fits) {
            Some(code) => State::Kept {
                code: node.compiled.counted(&code, &revision.function.tenant),
                last_use: node.compiled.uses.fetch_add(1, Ordering::Relaxed),
            },
            None => State::Nothing,
        };
        let is_kept = matches!(state, State::Kept { .. });
        if revision.compiled.became(state) && is_kept {
            node.compiled.keeps(node, revision);
        }
    }

    /// Init failed. Where the function said so it is asked again, but not at once. Where its process
    /// died, or its time was over, code may have had a part in it, and it has none from now on.
    pub(super) fn failed(self, was_reported: bool) {
        match &self {
            Self::None => {}
            Self::Given(_) if was_reported => {}
            Self::Given(revision) => revision.compiled.spoiled(),
            Self::Asked(node, revision) => {
                let until = node.parts.clock.now() + AGAIN_AFTER;
                revision.compiled.became(match was_reported {
                    true => State::Unasked(until),
                    false => State::Nothing,
                });
            }
        }
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        if let Self::Asked(node, revision) = self {
            revision.compiled.became(State::default());
            node.compiled.has_asked(&revision.function.tenant);
        }
    }
}

impl Compiled {
    /// What became of the asking; `false` when nobody is asked any more.
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

    /// There is no more code for this revision.
    fn spoiled(&self) {
        let mut state = self.0.lock();
        if matches!(*state, State::Kept { .. }) {
            *state = State::Nothing;
        }
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
    /// A copy that is counted: what was read from a line has its buffer behind it.
    fn counted(&self, code: &[u8], tenant: &TenantId) -> Bytes {
        let mut alive = self.alive.lock();
        alive.bytes += code.len() as u64;
        *alive.of.entry(tenant.clone()).or_default() += code.len() as u64;
        drop(alive);
        Bytes::from_owner(Counted {
            code: code.into(),
            tenant: tenant.clone(),
            alive: self.alive.clone(),
        })
    }

    /// Whether what lives of code is within the room that it has, and the tenant's within half of it.
    fn has_room(&self, tenant: &TenantId, room_bytes: u64) -> bool {
        let alive = self.alive.lock();
        let own = alive.of.get(tenant).copied().unwrap_or(0);
        alive.bytes <= room_bytes && own <= room_bytes / 2
    }

    /// Takes a turn to ask a start of this tenant's, if there is one: as many at once as would fit
    /// the room that code has, and half of them for one tenant.
    fn may_ask(&self, tenant: &TenantId, room_bytes: u64) -> bool {
        if !self.has_room(tenant, room_bytes) {
            return false;
        }
        let at_once = usize::try_from(room_bytes / COMPILED_CODE_BYTES_MAX).unwrap_or(usize::MAX);
        let mut asked = self.asked.lock();
        let own = asked.iter().filter(|one| *one == tenant).count();
        let may = asked.len() < at_once.max(1) && own < (at_once / 2).max(1);
        if may {
            asked.push(tenant.clone());
        }
        may
    }

    fn has_asked(&self, tenant: &TenantId) {
        let mut asked = self.asked.lock();
        if let Some(at) = asked.iter().position(|one| one == tenant) {
            asked.swap_remove(at);
        }
    }

    /// Notes one more that keeps code, and makes room for it.
    fn keeps(&self, node: &Node, newest: &Arc<Revision>) {
        let mut kept = self.kept.lock();
        let newest_known = Arc::downgrade(newest);
        // It may be known from before, where it was let go and has been asked again.
        if !kept.iter().any(|one| one.ptr_eq(&newest_known)) {
            kept.push(newest_known);
        }
        let room_bytes = node.parts.config.now().compiled_code_bytes;
        let until = node.parts.clock.now() + AGAIN_AFTER;
        let tenant = &newest.function.tenant;
        make_room(&mut kept, Some(tenant), room_bytes / 2, until);
        make_room(&mut kept, None, room_bytes, until);
    }

    /// The room for code was changed.
    pub(crate) fn reconfigured(&self, node: &Node) {
        let mut kept = self.kept.lock();
        let room_bytes = node.parts.config.now().compiled_code_bytes;
        let until = node.parts.clock.now() + AGAIN_AFTER;
        let alive = kept.iter().filter_map(Weak::upgrade);
        let tenants: HashSet<_> = alive.map(|one| one.function.tenant.clone()).collect();
        for tenant in &tenants {
            make_room(&mut kept, Some(tenant), room_bytes / 2, until);
        }
        make_room(&mut kept, None, room_bytes, until);
    }

    /// How many revisions keep code, and the bytes of all that is in memory.
    pub(crate) fn counts(&self) -> (usize, u64) {
        let revisions = look(&mut self.kept.lock(), None).len();
        (revisions, self.alive.lock().bytes)
    }
}

/// One that keeps code.
struct Keeper {
    revision: Arc<Revision>,
    bytes: u64,
    last_use: u64,
}

/// Lets go of what was used least until a tenant's, or all, take no more than `most`.
fn make_room(kept: &mut Vec<Weak<Revision>>, of: Option<&TenantId>, most: u64, until: Mono) {
    let mut keepers = look(kept, of);
    let mut bytes: u64 = keepers.iter().map(|one| one.bytes).sum();
    if bytes <= most {
        return;
    }
    keepers.sort_unstable_by_key(|one| one.last_use);
    for least in keepers {
        if bytes <= most {
            break;
        }
        least.revision.compiled.leave(until);
        bytes -= least.bytes;
    }
}

/// Those of a tenant, or all, that keep code. Forgets on the way who keeps none any more.
fn look(kept: &mut Vec<Weak<Revision>>, of: Option<&TenantId>) -> Vec<Keeper> {
    let mut keepers = Vec::new();
    kept.retain(|known| {
        let Some(revision) = known.upgrade() else {
            return false;
        };
        let Some((bytes, last_use)) = revision.compiled.kept() else {
            return false;
        };
        if of.is_none_or(|tenant| revision.function.tenant == *tenant) {
            keepers.push(Keeper {
                revision,
                bytes,
                last_use,
            });
        }
        true
    });
    keepers
}
