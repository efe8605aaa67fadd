//! Booted instances that are nobody's yet, and start images of booted runtimes.
//!
//! ```text
//!   (none) ──boot, or thaw a template──▶ ready ──a start takes it──▶ an instance of a revision
//!                                         │ too many, memory is short, died
//!                                         ▼
//!                                      destroyed
//! ```
//!
//! Shelves by core, runtime and, where the runtime sizes its heap as it boots, memory. How many a
//! shelf holds follows the starts that asked for it; it is filled off the request's path, one at a
//! time, only from memory that nobody else needs, and is the first to give memory back. Nothing of a
//! tenant's has ever run in what lies here: no environment, no package, no credentials.
//!
//! What cannot be had from here is started plainly: an empty shelf, a function whose environment
//! means something to the runtime's own start, an instance that does not come along.

mod boot;
mod demand;
mod libraries;
mod templates;

pub(crate) use boot::Spare;
pub(super) use libraries::came_up;
pub(crate) use libraries::{Preload, Seen};
pub(crate) use templates::Templates;

use super::memory::BookedImage;
use crate::{node::Node, route::Revision};
use demand::Demand;
use freehold_domain::{
    ids::{CoreId, Mebibytes},
    ports::{Contract, Rehearsal},
    runtime::{RuntimeFamily, RuntimeRow},
    time::Mono,
};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;

/// Shelves at the most: one more pushes out the one that was asked last.
const SHELVES_MAX: usize = 64;
/// How often a shelf is looked at while nobody asks.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// A shelf is filled this long after it was last asked, that starts that come together go first;
/// and after [`HUNGER`] though they go on coming, or [`HUNGER_WITH_IMAGE`] where they do not depend on
/// it: then each that is made takes the processor from starts that wait, and rehearses on top.
const BREATH: Duration = Duration::from_millis(30);
const HUNGER: Duration = Duration::from_millis(500);
const HUNGER_WITH_IMAGE: Duration = Duration::from_secs(30);
/// A full shelf that nobody has asked for this long has its instances rehearse what was left out when
/// many were wanted.
const LEISURE: Duration = Duration::from_secs(2);
/// The wait after a boot that failed; doubles with every further one.
const TROUBLE: Duration = Duration::from_secs(5);
const TROUBLE_MAX: Duration = Duration::from_secs(600);

/// Cores on which one lies ready from a deployment on; the others follow the first start there.
const CORES_EXPECTED: u16 = 4;

/// What a booted instance can become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ShelfKey {
    pub(crate) core: CoreId,
    pub(crate) runtime: u32,
    /// Of runtimes that size their heap as they boot; else `None`.
    pub(crate) memory: Option<Mebibytes>,
}

/// What a start is given.
pub(crate) enum Ahead {
    /// A booted instance.
    Booted(Box<Spare>),
    /// The image of a booted one, to be thawed on the spot.
    Image(BookedImage, Preload),
}

/// See the module.
#[derive(Default)]
pub(crate) struct Stock {
    shelves: Mutex<HashMap<ShelfKey, Shelf>>,
    pub(crate) templates: Templates,
    /// Instances that boot right now, or that a keeper ends.
    making: AtomicUsize,
}

/// See [`Stock::making`].
struct Making<'a>(&'a AtomicUsize);

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

struct Shelf {
    contract: Arc<dyn Contract>,
    demand: Demand,
    ready: Vec<Spare>,
    wake: Arc<Notify>,
    is_tended: bool,
    failures: u32,
    not_before: Mono,
    /// What one of them takes, bytes.
    expected_bytes: u64,
    asked_at: Mono,
    /// Since when it has fewer than it should.
    lacks_since: Option<Mono>,
}

/// What a shelf needs next.
enum Step {
    /// This long, or until it is asked where that would change anything.
    Wait(Duration, bool),
    Make(Rehearsal),
    /// It is taken out until it has.
    Rehearse(Box<Spare>),
    End(Box<Spare>),
    /// Nothing any more.
    Over,
}

impl ShelfKey {
    /// The shelf for a revision's starts on a core; `None` where they are all plain.
    pub(crate) fn of(revision: &Revision, core: CoreId) -> Option<Self> {
        let boots_ahead = revision.contract().is_some_and(|one| one.boots_ahead());
        if revision.executes_plainly || !boots_ahead {
            return None;
        }
        Self::new(&revision.runtime, revision.spec.memory, core)
    }

    fn new(runtime: &RuntimeRow, memory: Mebibytes, core: CoreId) -> Option<Self> {
        let memory = match runtime.family {
            RuntimeFamily::Python => None,
            // V8 and the JVM take the memory that they see for the size of their heaps.
            RuntimeFamily::Node | RuntimeFamily::Java => Some(memory),
            RuntimeFamily::Provided | RuntimeFamily::Wasm => return None,
        };
        let runtime = runtime.id;
        Some(Self {
            core,
            runtime,
            memory,
        })
    }
}

/// Takes what there is for a start of `revision` on `core`, and sees to more.
pub(super) fn take(node: &Arc<Node>, revision: &Revision, core: CoreId) -> Option<Ahead> {
    let (key, contract) = (ShelfKey::of(revision, core)?, revision.contract()?);
    if revision.seen.preload() == Preload::Libraries {
        let of = (key.runtime, Preload::Libraries);
        if let Some(image) = node.stock.templates.draw(node, of) {
            return Some(Ahead::Image(image, Preload::Libraries));
        }
        libraries::want(node, key, contract);
    }
    let now = node.parts.clock.now();
    let descriptors = node.parts.limits.now().instance_descriptors;
    let taken = {
        let mut shelves = node.stock.shelves.lock();
        let shelf = open(&mut shelves, key, contract, node);
        shelf.demand.start(now);
        shelf.asked_at = now;
        let mut taken = None;
        // Those from before the limit was changed are their keeper's to end.
        let fits = |spare: &Spare| spare.descriptors == descriptors;
        while let Some(at) = shelf.ready.iter().rposition(fits) {
            let spare = shelf.ready.remove(at);
            if spare.has_ended() {
                continue;
            }
            taken = Some(spare);
            break;
        }
        taken
    };
    tend(node, key);
    match taken {
        Some(spare) => Some(Ahead::Booted(Box::new(spare))),
        None => {
            let image = node
                .stock
                .templates
                .draw(node, (key.runtime, Preload::Bare));
            image.map(|image| Ahead::Image(image, Preload::Bare))
        }
    }
}

/// The core on which a start of `revision` that was asked for on `core` goes on: another one, where
/// that has a booted instance and this one has none. A hand-over at each call costs less than a boot.
pub(super) fn core_for(node: &Arc<Node>, revision: &Revision, core: CoreId) -> CoreId {
    let key = ShelfKey::of(revision, core).filter(|_| revision.snapshot.is_none());
    let (Some(key), Some(contract)) = (key, revision.contract()) else {
        return core;
    };
    let elsewhere = {
        let mut shelves = node.stock.shelves.lock();
        if shelves
            .get(&key)
            .is_some_and(|shelf| !shelf.ready.is_empty())
            || node.stock.templates.has((key.runtime, Preload::Bare))
            || node
                .stock
                .templates
                .has((key.runtime, revision.seen.preload()))
        {
            return core;
        }
        let mut others = (0..node.parts.cores.max(1)).map(CoreId);
        let has_one = |core: &CoreId| {
            let other = ShelfKey { core: *core, ..key };
            shelves
                .get(&other)
                .is_some_and(|shelf| !shelf.ready.is_empty())
        };
        let elsewhere = others.find(has_one);
        if elsewhere.is_some() {
            let now = node.parts.clock.now();
            let shelf = open(&mut shelves, key, contract, node);
            shelf.demand.start(now);
            shelf.asked_at = now;
        }
        elsewhere
    };
    if elsewhere.is_some() {
        tend(node, key);
    }
    elsewhere.unwrap_or(core)
}

/// A function of this runtime was made ready: starts are to be expected, nobody knows on which core.
pub(crate) fn expect(node: &Arc<Node>, runtime: &RuntimeRow, memory: Mebibytes) {
    let Some(contract) = node.parts.contracts.get(&runtime.family) else {
        return;
    };
    if !contract.boots_ahead() {
        return;
    }
    for core in 0..node.parts.cores.clamp(1, CORES_EXPECTED) {
        let Some(key) = ShelfKey::new(runtime, memory, CoreId(core)) else {
            return;
        };
        let now = node.parts.clock.now();
        open(&mut node.stock.shelves.lock(), key, contract, node)
            .demand
            .expect(now);
        tend(node, key);
    }
}

/// A shelf, made if need be.
fn open<'a>(
    shelves: &'a mut HashMap<ShelfKey, Shelf>,
    key: ShelfKey,
    contract: &Arc<dyn Contract>,
    node: &Node,
) -> &'a mut Shelf {
    if shelves.len() >= SHELVES_MAX && !shelves.contains_key(&key) {
        // Its keeper finds it gone; what it holds is destroyed with its handles.
        let oldest = shelves.iter().min_by_key(|(_, shelf)| shelf.asked_at);
        let oldest = oldest.map(|(key, _)| *key);
        if let Some(gone) = oldest.and_then(|oldest| shelves.remove(&oldest)) {
            gone.wake.notify_one();
        }
    }
    shelves.entry(key).or_insert_with(|| Shelf {
        contract: contract.clone(),
        demand: Demand::default(),
        ready: Vec::new(),
        wake: Arc::default(),
        is_tended: false,
        failures: 0,
        not_before: Mono(0),
        expected_bytes: node.parts.config.now().memory_expected.bytes(),
        asked_at: Mono(0),
        lacks_since: None,
    })
}

/// Sees to it that a shelf has a keeper that looks again now.
fn tend(node: &Arc<Node>, key: ShelfKey) {
    let wake = {
        let mut shelves = node.stock.shelves.lock();
        let Some(shelf) = shelves.get_mut(&key) else {
            return;
        };
        if std::mem::replace(&mut shelf.is_tended, true) {
            shelf.wake.notify_one();
            return;
        }
        shelf.wake.clone()
    };
    node.spawn_on(key.core, keep(Arc::downgrade(node), key, wake));
}

/// Keeps one shelf as full as it should be: the one that `wake` is of. One that took its place
/// after it was pushed out has a keeper of its own.
async fn keep(node: Weak<Node>, key: ShelfKey, wake: Arc<Notify>) {
    loop {
        let Some(strong) = node.upgrade() else {
            return;
        };
        let clock = strong.parts.clock.clone();
        match strong.stock.step(&strong, key, &wake) {
            Step::Over => return,
            Step::End(spare) => {
                spare.end().await;
                strong.stock.making.fetch_sub(1, Ordering::AcqRel);
            }
            Step::Make(rehearsal) => {
                strong.stock.make(&strong, key, rehearsal).await;
            }
            Step::Rehearse(spare) => {
                strong.stock.rehearse_rest(&strong, key, spare).await;
            }
            Step::Wait(span, until_asked) => {
                drop(strong);
                tokio::select! {
                    () = clock.sleep(span) => {}
                    () = wake.notified(), if until_asked => {}
                }
            }
        }
    }
}

impl Stock {
    fn step(&self, node: &Node, key: ShelfKey, wake: &Arc<Notify>) -> Step {
        let now = node.parts.clock.now();
        let stops = node.draining.load(Ordering::Acquire);
        let mut shelves = self.shelves.lock();
        let shelf = shelves.get_mut(&key);
        let Some(shelf) = shelf.filter(|shelf| Arc::ptr_eq(&shelf.wake, wake)) else {
            return Step::Over;
        };
        let wanted = if stops { 0 } else { shelf.demand.wanted(now) };
        let descriptors = node.parts.limits.now().instance_descriptors;
        let is_over = |spare: &Spare| spare.has_ended() || spare.descriptors != descriptors;
        let ended = shelf.ready.iter().position(is_over);
        let surplus = (shelf.ready.len() > wanted).then_some(0);
        if let Some(ends) = ended.or(surplus) {
            // Before it leaves the shelf: a shutdown that finds none there must know of this one.
            self.making.fetch_add(1, Ordering::AcqRel);
            return Step::End(Box::new(shelf.ready.remove(ends)));
        }
        if wanted == 0 {
            shelves.remove(&key);
            return Step::Over;
        }
        if shelf.ready.len() >= wanted {
            shelf.lacks_since = None;
            let Some(brief) = shelf.ready.iter().position(Spare::is_brief) else {
                return Step::Wait(LOOK_AGAIN, true);
            };
            let at = shelf.asked_at + LEISURE;
            if now < at {
                return Step::Wait(at.since(now), true);
            }
            self.making.fetch_add(1, Ordering::AcqRel);
            return Step::Rehearse(Box::new(shelf.ready.remove(brief)));
        }
        let since = *shelf.lacks_since.get_or_insert(now);
        let hunger = match self.templates.has((key.runtime, Preload::Bare)) {
            true => HUNGER_WITH_IMAGE,
            false => HUNGER,
        };
        let breathes = (shelf.asked_at + BREATH).min(since + hunger);
        let at = shelf.not_before.max(breathes);
        if now >= at {
            // The last one that is missing has time; before it, there may be none when it is needed.
            return Step::Make(match wanted - shelf.ready.len() {
                1 => Rehearsal::Full,
                _ => Rehearsal::Brief,
            });
        }
        // Asked again meanwhile it would only wait again.
        Step::Wait(at.since(now).min(LOOK_AGAIN), false)
    }

    /// Makes one for a shelf, or notes why not.
    async fn make(&self, node: &Arc<Node>, key: ShelfKey, rehearsal: Rehearsal) {
        let shelf = {
            let shelves = self.shelves.lock();
            let shelf = shelves.get(&key);
            shelf.map(|shelf| (shelf.contract.clone(), shelf.expected_bytes))
        };
        let Some((contract, expected_bytes)) = shelf else {
            return;
        };
        let making = self.making();
        self.templates
            .see_to(node, key, Preload::Bare, &contract)
            .await;
        let made = boot::make(node, key, &contract, expected_bytes, rehearsal).await;
        let now = node.parts.clock.now();
        let left_over = {
            let mut shelves = self.shelves.lock();
            match (made, shelves.get_mut(&key)) {
                (Ok(spare), Some(shelf)) if !node.draining.load(Ordering::Acquire) => {
                    shelf.failures = 0;
                    shelf.expected_bytes = spare.bytes();
                    shelf.ready.push(spare);
                    None
                }
                (Ok(spare), _) => Some(spare),
                (Err(error), Some(shelf)) => {
                    let wait = match error {
                        boot::NotMade::NoRoom => TROUBLE,
                        boot::NotMade::Never => TROUBLE_MAX * 6,
                        boot::NotMade::Failed { reason } | boot::NotMade::Passing { reason } => {
                            let wait = TROUBLE * (1 << shelf.failures.min(8));
                            shelf.failures += 1;
                            tracing::info!(
                                runtime = key.runtime,
                                reason,
                                "no instance could be booted ahead"
                            );
                            wait.min(TROUBLE_MAX)
                        }
                    };
                    shelf.not_before = now + wait;
                    None
                }
                (Err(_), None) => None,
            }
        };
        if let Some(spare) = left_over {
            spare.end().await;
        }
        drop(making);
    }

    /// Has one that was taken off its shelf rehearse what was left out, and puts it back.
    async fn rehearse_rest(&self, node: &Arc<Node>, key: ShelfKey, mut spare: Box<Spare>) {
        let fit = spare.rehearse_rest(node).await;
        let left_over = {
            let mut shelves = self.shelves.lock();
            match shelves.get_mut(&key) {
                Some(shelf) if fit && !node.draining.load(Ordering::Acquire) => {
                    shelf.ready.push(*spare);
                    None
                }
                _ => Some(spare),
            }
        };
        if let Some(spare) = left_over {
            spare.end().await;
        }
        self.making.fetch_sub(1, Ordering::AcqRel);
    }

    /// Ends one for its memory, or for its place on `core` where one is named; `false` when there is
    /// none.
    pub(super) async fn give_back_one(&self, core: Option<CoreId>) -> bool {
        let spare = {
            let mut shelves = self.shelves.lock();
            let fullest = shelves
                .iter_mut()
                .filter(|(key, shelf)| {
                    !shelf.ready.is_empty() && core.is_none_or(|core| key.core == core)
                })
                .max_by_key(|(_, shelf)| shelf.ready.len());
            fullest.map(|(_, shelf)| shelf.ready.remove(0))
        };
        match spare {
            Some(spare) => {
                spare.end().await;
                true
            }
            None => false,
        }
    }

    /// Ends all; for shutdown.
    pub(crate) async fn clear(&self) {
        loop {
            let spare = {
                let mut shelves = self.shelves.lock();
                let full = shelves.values_mut().find(|shelf| !shelf.ready.is_empty());
                full.and_then(|shelf| shelf.ready.pop())
            };
            match spare {
                Some(spare) => spare.end().await,
                None => break,
            }
        }
        self.templates.clear();
    }

    /// Counts one that is being made, until it is dropped.
    fn making(&self) -> Making<'_> {
        self.making.fetch_add(1, Ordering::AcqRel);
        Making(&self.making)
    }

    /// Whether any is being made, or ended by who keeps its shelf.
    pub(crate) fn is_making(&self) -> bool {
        self.making.load(Ordering::Acquire) > 0
    }

    /// Booted instances that wait.
    pub(crate) fn len(&self) -> usize {
        let shelves = self.shelves.lock();
        shelves.values().map(|shelf| shelf.ready.len()).sum()
    }
}
