//! Start images of booted runtimes: nobody's code has run in them, everybody's may start from them.
//!
//! Several variants per runtime, made one after the other and drawn at random, so that a layout of
//! memory that was learned from one instance says little about the next. Each is made anew by age
//! and by the number of starts. A runtime that cannot be carried is left alone for an hour, with what
//! it has; images that do not come to life, several times in a row, are dropped. Whoever finds none
//! boots.
//!
//! Of a runtime that brings libraries there are two sets: see [`libraries`](super::libraries).

use super::{Preload, ShelfKey, boot};
use crate::{node::Node, pool::memory::BookedImage};
use freehold_domain::{
    ports::{Contract, ImageError, Rehearsal, StartImage},
    time::Mono,
};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc, time::Duration};

/// Variants of a runtime.
const VARIANTS: usize = 3;
/// A variant of this age is made anew.
const AGE_MAX: Duration = Duration::from_secs(6 * 3600);
/// The same for one that so many started from.
const STARTS_MAX: u64 = 5_000;
/// How long a runtime is left alone that could not be carried, or did not come to life again.
const LEFT_ALONE: Duration = Duration::from_secs(3600);
/// Starts in a row that may fail.
const FAILURES_MAX: u32 = 3;
/// How long the taking of an image may take.
const TAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Default)]
pub(crate) struct Templates(Mutex<HashMap<Of, Set>>);

/// The images of a runtime, and what they hold.
type Of = (u32, Preload);

#[derive(Default)]
struct Set {
    variants: Vec<Variant>,
    is_making: bool,
    not_before: Mono,
    failed_in_a_row: u32,
    /// When one was last drawn, or asked for in vain.
    asked_at: Mono,
}

struct Variant {
    image: BookedImage,
    made_at: Mono,
    starts: u64,
}

impl Templates {
    /// A variant to start from.
    pub(crate) fn draw(&self, node: &Node, of: Of) -> Option<BookedImage> {
        let mut sets = self.0.lock();
        let set = sets.get_mut(&of)?;
        set.asked_at = node.parts.clock.now();
        let variants = &mut set.variants;
        if variants.is_empty() {
            return None;
        }
        let drawn = node.parts.ids.random() as usize % variants.len();
        variants[drawn].starts += 1;
        Some(variants[drawn].image.clone())
    }

    /// Whether there is any.
    pub(crate) fn has(&self, of: Of) -> bool {
        let sets = self.0.lock();
        sets.get(&of).is_some_and(|set| !set.variants.is_empty())
    }

    /// Notes that images with libraries are wanted; whether that is new.
    pub(super) fn want_libraries(&self, node: &Node, runtime: u32) -> bool {
        let mut sets = self.0.lock();
        let is_new = !sets.contains_key(&(runtime, Preload::Libraries));
        let set = sets.entry((runtime, Preload::Libraries)).or_default();
        set.asked_at = node.parts.clock.now();
        is_new
    }

    /// Drops them where nobody has asked for so long; whether they are gone.
    pub(super) fn let_go_libraries(&self, node: &Node, runtime: u32, unused: Duration) -> bool {
        let of = (runtime, Preload::Libraries);
        let gone = {
            let mut sets = self.0.lock();
            let now = node.parts.clock.now();
            let is_unused = |set: &Set| now.since(set.asked_at) >= unused;
            match sets.get(&of) {
                Some(set) if !is_unused(set) => return false,
                _ => sets.remove(&of),
            }
        };
        drop(gone);
        true
    }

    /// How a start from one of them went: after a few in a row that did not come to life all are
    /// dropped, and made anew after a while. One alone may be the machine's doing.
    pub(crate) fn went(&self, node: &Node, of: Of, thawed: bool) {
        let gone = {
            let mut sets = self.0.lock();
            let Some(known) = sets.get_mut(&of) else {
                return;
            };
            known.failed_in_a_row = if thawed { 0 } else { known.failed_in_a_row + 1 };
            if known.failed_in_a_row < FAILURES_MAX {
                return;
            }
            known.not_before = node.parts.clock.now() + LEFT_ALONE;
            known.failed_in_a_row = 0;
            std::mem::take(&mut known.variants)
        };
        let images = gone.len();
        let (runtime, preload) = of;
        tracing::warn!(
            runtime,
            ?preload,
            images,
            "a runtime's start images do not come to life"
        );
    }

    /// Makes a variant where one is missing or worn, one at a time; whether it did.
    pub(super) async fn see_to(
        &self,
        node: &Arc<Node>,
        key: ShelfKey,
        preload: Preload,
        contract: &Arc<dyn Contract>,
    ) -> bool {
        // A heap that was sized for one memory is wrong for another.
        if key.memory.is_some() || !contract.has_images() || node.parts.driver.images().is_err() {
            return false;
        }
        let (now, of) = (node.parts.clock.now(), (key.runtime, preload));
        {
            let mut sets = self.0.lock();
            let known = sets.entry(of).or_default();
            let worn = |variant: &Variant| {
                now.since(variant.made_at) >= AGE_MAX || variant.starts >= STARTS_MAX
            };
            let is_full = known.variants.len() >= VARIANTS && !known.variants.iter().any(worn);
            if is_full || known.is_making || now < known.not_before {
                return false;
            }
            known.is_making = true;
        }
        let made = make(node, key, preload, contract).await;
        let now = node.parts.clock.now();
        let mut sets = self.0.lock();
        let known = sets.entry(of).or_default();
        known.is_making = false;
        match made {
            Ok(image) => {
                if known.variants.len() >= VARIANTS {
                    known.variants.remove(0);
                }
                known.variants.push(Variant {
                    image: node.memory.hold_image(image),
                    made_at: now,
                    starts: 0,
                });
                true
            }
            Err(Some(reason)) => {
                // Those that are there are as good as they were.
                known.not_before = now + LEFT_ALONE;
                let (runtime, images) = (key.runtime, known.variants.len());
                tracing::info!(
                    runtime,
                    ?preload,
                    images,
                    reason,
                    "a runtime's start image was not made"
                );
                false
            }
            Err(None) => false,
        }
    }

    pub(super) fn clear(&self) {
        let gone = std::mem::take(&mut *self.0.lock());
        drop(gone);
    }

    /// Images that are held, and their bytes.
    pub(crate) fn held(&self) -> (usize, u64) {
        let sets = self.0.lock();
        let images = sets.values().flat_map(|set| &set.variants);
        images.fold((0, 0), |(count, bytes), variant| {
            (count + 1, bytes + variant.image.image.bytes)
        })
    }
}

/// Boots one and takes its image. Errors: why, where that is worth a word.
async fn make(
    node: &Arc<Node>,
    key: ShelfKey,
    preload: Preload,
    contract: &Arc<dyn Contract>,
) -> Result<StartImage, Option<String>> {
    let expected = node.parts.config.now().memory_expected.bytes();
    let from = boot::Source::Program(preload);
    let spare = match boot::raise(node, key, contract, expected, from, Rehearsal::Full).await {
        Ok(spare) => spare,
        Err(boot::NotMade::Failed { reason }) => return Err(Some(reason)),
        Err(boot::NotMade::Never) => {
            return Err(Some("its contract boots nothing ahead".to_owned()));
        }
        Err(boot::NotMade::NoRoom | boot::NotMade::Passing { .. }) => return Err(None),
    };
    let deadline = node.parts.clock.now() + TAKE_TIMEOUT;
    let taken = async {
        spare
            .booted
            .prepare_image()
            .await
            .map_err(|error| error.to_string())?;
        let taken = spare.instance.take_image(deadline).await;
        taken.map_err(|error: ImageError| error.to_string())
    };
    let taken = tokio::select! {
        biased;
        taken = taken => taken,
        () = node.parts.clock.sleep_until(deadline) => Err("it was not taken in time".to_owned()),
        () = node.stopped() => Err("the node stops".to_owned()),
    };
    spare.end().await;
    taken.map_err(Some)
}
