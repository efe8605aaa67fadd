//! Bytes of bodies, and of large heads, that the node holds at once: counted in all, and by share.
//!
//! Shares overlap on purpose: alone, a tenant may use much of the machine; nobody may use all of
//! it. What is booked is given back when [`HeldBytes`] is dropped, wherever that happens.
//!
//! A request is booked as its bytes arrive and refused where they do not fit. A large answer counts
//! on the same shares until its client has taken it: it is there already and is never refused, but
//! while a share is over its limit nothing new begins on it, and who takes answers slowly has less
//! time (`unread.rs`). Nobody asks here before an answer is made, so many at once may be more than
//! their tenant's share: what is beyond that counts on this share alone, and stands in nobody else's
//! way. Here is what callers hold; for what answers may hold of the server's memory their functions
//! have room of their own, asked for before they are read ([`freehold_domain::answers`]).
//!
//! | share | of the whole |
//! |---|---|
//! | requests signed with a tenant's keys, its instances' among them | half, or its own limit |
//! | calls to a tenant's function URLs | a quarter, or half of its own limit |
//! | calls to all function URLs | half |
//! | one instance | four payloads |

use bytes::Bytes;
use freehold_domain::{
    TenantId, TenantLimit,
    answers::{Answers, Whose},
    limits::Limits,
    live::Live,
    tenants::TenantTable,
};
use parking_lot::RwLock;
use std::{
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

/// Heads up to this are not counted: those of ordinary clients are far below.
pub const HEAD_FREE_BYTES: u64 = 8 << 10;

/// A count with a ceiling, which follows the node's.
#[derive(Debug)]
pub struct Share {
    held: AtomicU64,
    kind: Kind,
    limits: Live<Limits>,
    /// Whose it is, where it is one tenant's, and where its own limit stands.
    tenant: Option<(TenantId, Arc<TenantTable>)>,
    /// Of a tenant's: where answers wait for room that those which nobody takes have.
    answers: Option<Arc<Answers>>,
}

/// Which share of the whole.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Whole,
    Urls,
    TenantKeys,
    TenantUrls,
    Instance,
}

impl Share {
    fn new(kind: Kind, limits: &Live<Limits>) -> Arc<Self> {
        Arc::new(Self {
            held: AtomicU64::new(0),
            kind,
            limits: limits.clone(),
            tenant: None,
            answers: None,
        })
    }

    fn of(
        kind: Kind,
        limits: &Live<Limits>,
        tenant: &TenantId,
        all: &Arc<TenantTable>,
        answers: Option<Arc<Answers>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            held: AtomicU64::new(0),
            kind,
            limits: limits.clone(),
            tenant: Some((tenant.clone(), all.clone())),
            answers,
        })
    }

    /// Whether somebody's answer waits for room that those counted here hold.
    fn keeps_answers_out(&self) -> bool {
        let all = self.answers.as_ref().zip(self.tenant.as_ref());
        all.is_some_and(|(answers, (tenant, _))| {
            answers.is_in_the_way(&Whose {
                tenant: tenant.clone(),
                by_url: matches!(self.kind, Kind::TenantUrls),
            })
        })
    }

    /// The limit of its tenant's own.
    fn own(&self) -> Option<u64> {
        let (tenant, all) = self.tenant.as_ref()?;
        all.of(tenant)?.limits().own(TenantLimit::BytesInFlight)
    }

    /// Why nothing more fits.
    fn used_up(&self) -> UsedUp {
        UsedUp {
            limit_bytes: self.limit(),
            is_own: self.own().is_some(),
        }
    }

    /// Its ceiling now, bytes. Where the whole is small, a share still takes the largest body.
    fn limit(&self) -> u64 {
        let limits = self.limits.now();
        let whole = limits.bytes_in_flight;
        let payload = limits.sync_payload_bytes.min(whole);
        match (self.kind, self.own()) {
            (Kind::TenantUrls, Some(own)) => return own / 2,
            (_, Some(own)) => return own,
            _ => {}
        }
        match self.kind {
            Kind::Whole => whole,
            Kind::Urls => (whole / 2).max(payload),
            Kind::TenantKeys => {
                let package = crate::body::package_limit_bytes(&limits);
                (whole / 2).max(package.min(whole))
            }
            Kind::TenantUrls => (whole / 4).max(payload),
            Kind::Instance => payload.saturating_mul(4),
        }
    }
}

/// Who brought a body, as far as its head tells.
#[derive(Debug, Clone, Copy)]
pub enum Bringer<'a> {
    /// The sender names a key of this tenant.
    Key(&'a TenantId),
    /// The sender calls a URL of this tenant.
    Url(&'a TenantId),
}

#[derive(Debug)]
struct TenantShares {
    keys: Arc<Share>,
    urls: Arc<Share>,
}

/// What all bodies of the node hold.
#[derive(Debug)]
pub struct BytesInFlight {
    whole: Arc<Share>,
    urls: Arc<Share>,
    /// One entry per tenant that has keys or URLs: a stranger cannot make more.
    tenants: RwLock<HashMap<TenantId, TenantShares>>,
    limits: Live<Limits>,
    own: Arc<TenantTable>,
    answers: Option<Arc<Answers>>,
}

impl BytesInFlight {
    /// The shares of `limits`, and of what tenants have of their `own`, as they are whenever
    /// something is booked.
    pub fn new(limits: Live<Limits>, own: Arc<TenantTable>) -> Self {
        Self {
            whole: Share::new(Kind::Whole, &limits),
            urls: Share::new(Kind::Urls, &limits),
            tenants: RwLock::default(),
            limits,
            own,
            answers: None,
        }
    }

    /// The same, and slow clients are in others' way while an answer waits for the room that theirs hold.
    pub fn beside(mut self, answers: Arc<Answers>) -> Self {
        self.answers = Some(answers);
        self
    }

    /// Bytes held now.
    #[cfg(test)]
    pub fn held(&self) -> u64 {
        self.whole.held.load(Ordering::Relaxed)
    }

    /// The share of one instance, for as long as it is served.
    pub fn instance(&self) -> Arc<Share> {
        Share::new(Kind::Instance, &self.limits)
    }

    /// A booking of no bytes yet, for a body that `bringer` sends out of `instance`, if any.
    pub fn book(&self, bringer: Bringer<'_>, instance: Option<&Arc<Share>>) -> HeldBytes {
        let (tenant, urls) = match bringer {
            Bringer::Key(tenant) => (tenant, None),
            Bringer::Url(tenant) => (tenant, Some(self.urls.clone())),
        };
        let of_tenant = |shares: &TenantShares| match bringer {
            Bringer::Key(_) => shares.keys.clone(),
            Bringer::Url(_) => shares.urls.clone(),
        };
        let known = self.tenants.read().get(tenant).map(of_tenant);
        let share = |kind| Share::of(kind, &self.limits, tenant, &self.own, self.answers.clone());
        let of_tenant = known.unwrap_or_else(|| {
            let mut tenants = self.tenants.write();
            of_tenant(
                tenants
                    .entry(tenant.clone())
                    .or_insert_with(|| TenantShares {
                        keys: share(Kind::TenantKeys),
                        urls: share(Kind::TenantUrls),
                    }),
            )
        });
        HeldBytes {
            shares: [
                Some(self.whole.clone()),
                Some(of_tenant),
                urls,
                instance.cloned(),
            ],
            head_bytes: 0,
            bytes: 0,
        }
    }
}

/// A booking, given back when dropped.
#[derive(Debug)]
pub struct HeldBytes {
    shares: [Option<Arc<Share>>; 4],
    /// Of `bytes`, those of the head.
    head_bytes: u64,
    bytes: u64,
}

/// A large answer that its client has not taken whole.
#[derive(Debug, Clone)]
pub struct Untaken(Weak<HeldBytes>);

impl Untaken {
    /// Whether the client has taken all of it, or is gone.
    pub fn is_taken(&self) -> bool {
        self.0.strong_count() == 0
    }

    /// Whether it stands in the way of others: some share that it counts on is more than half held, or
    /// somebody's answer waits for the room that it holds. Never once it has been taken.
    pub fn crowds_others(&self) -> bool {
        self.0.upgrade().is_some_and(|held| held.is_crowded())
    }
}

/// An answer's bytes with their booking.
struct Booked {
    bytes: Bytes,
    _held: Arc<HeldBytes>,
}

impl AsRef<[u8]> for Booked {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// One of the shares is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsedUp {
    /// What it may hold, bytes.
    pub limit_bytes: u64,
    /// Whether its tenant has that limit of its own.
    pub is_own: bool,
}

impl HeldBytes {
    /// A booking that counts nowhere, for what has no body.
    pub fn nothing() -> Self {
        Self {
            shares: [const { None }; 4],
            head_bytes: 0,
            bytes: 0,
        }
    }

    /// Books a head of `bytes`, where it is a large one; what else is booked comes on top.
    ///
    /// Errors: [`UsedUp`]; the booking is then to be dropped.
    pub fn hold_head(&mut self, bytes: u64) -> Result<(), UsedUp> {
        if bytes > HEAD_FREE_BYTES {
            self.head_bytes = bytes;
        }
        self.grow_to(0)
    }

    /// Books up to `bytes` of a body in all.
    ///
    /// Errors: [`UsedUp`]; the booking is then to be dropped.
    pub fn grow_to(&mut self, bytes: u64) -> Result<(), UsedUp> {
        let bytes = bytes + self.head_bytes;
        let Some(more) = bytes.checked_sub(self.bytes).filter(|more| *more > 0) else {
            return Ok(());
        };
        self.bytes = bytes;
        let mut fits = Ok(());
        for share in self.shares.iter().flatten() {
            if share.held.fetch_add(more, Ordering::Relaxed) + more > share.limit() {
                fits = Err(share.used_up());
            }
        }
        fits
    }

    /// Whether something new may begin on all of its shares.
    ///
    /// Errors: [`UsedUp`].
    pub fn has_room(&self) -> Result<(), UsedUp> {
        let is_full = |share: &&Arc<Share>| share.held.load(Ordering::Relaxed) >= share.limit();
        match self.shares.iter().flatten().find(is_full) {
            Some(share) => Err(share.used_up()),
            None => Ok(()),
        }
    }

    /// Whether more than half of some share is held, or somebody's answer waits for the room that it holds.
    fn is_crowded(&self) -> bool {
        let mut shares = self.shares.iter().flatten();
        shares.any(|share| {
            share.held.load(Ordering::Relaxed) > share.limit() / 2 || share.keeps_answers_out()
        })
    }

    /// Books an answer on shares that nothing is booked on yet, until the last of its bytes is
    /// dropped.
    pub fn keep(mut self, answer: Bytes) -> (Bytes, Untaken) {
        // It is there, whether or not it fits.
        let [whole, tenant, urls, _] = &mut self.shares;
        let fits = |share: &Arc<Share>| {
            share.held.load(Ordering::Relaxed) + answer.len() as u64 <= share.limit()
        };
        if !tenant.as_ref().is_none_or(fits) {
            (*whole, *urls) = (None, None);
        }
        let _ = self.grow_to(answer.len() as u64);
        let held = Arc::new(self);
        let untaken = Untaken(Arc::downgrade(&held));
        let booked = Booked {
            bytes: answer,
            _held: held,
        };
        (Bytes::from_owner(booked), untaken)
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        for share in self.shares.iter().flatten() {
            share.held.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Books bodies of 6 MiB until one is refused, and says how many were taken.
    fn fill(
        pot: &BytesInFlight,
        who: Bringer<'_>,
        instance: Option<&Arc<Share>>,
    ) -> Vec<HeldBytes> {
        let mut taken = Vec::new();
        loop {
            let mut held = pot.book(who, instance);
            if held.grow_to(6 * MIB).is_err() {
                return taken;
            }
            taken.push(held);
        }
    }

    #[test]
    fn answers_beyond_a_tenants_share_are_in_its_own_way_alone() {
        let pot = BytesInFlight::new(Limits::default().into(), Arc::default());
        let [one, two]: [TenantId; 2] =
            ["111111111111", "222222222222"].map(|id| id.parse().unwrap());
        let answer = Bytes::from(vec![0; 6 * MIB as usize]);
        // All of these began while there was room.
        let begun: Vec<_> = (0..200)
            .map(|_| pot.book(Bringer::Url(&one), None))
            .collect();
        let kept: Vec<_> = begun
            .into_iter()
            .map(|held| held.keep(answer.clone()))
            .collect();
        assert!(pot.book(Bringer::Url(&one), None).has_room().is_err());
        assert!(kept.iter().all(|(_, untaken)| untaken.crowds_others()));
        for other in [Bringer::Url(&two), Bringer::Key(&two), Bringer::Key(&one)] {
            assert!(pot.book(other, None).has_room().is_ok());
        }
        assert!(pot.held() <= Limits::default().bytes_in_flight / 4);
        drop(kept);
        assert!(pot.book(Bringer::Url(&one), None).has_room().is_ok() && pot.held() == 0);
    }

    #[test]
    fn nobody_takes_what_is_for_others() {
        let pot = BytesInFlight::new(Limits::default().into(), Arc::default());
        let [one, two, three]: [TenantId; 3] =
            ["111111111111", "222222222222", "333333333333"].map(|id| id.parse().unwrap());
        // Strangers on the URLs of one tenant leave room on those of another, and for keys.
        let urls = fill(&pot, Bringer::Url(&one), None);
        assert_eq!(urls.len() as u64, 128 / 6);
        let more = fill(&pot, Bringer::Url(&two), None);
        assert!(!more.is_empty());
        assert!(fill(&pot, Bringer::Url(&three), None).len() <= 1);
        let keys = fill(&pot, Bringer::Key(&one), None);
        assert_eq!(keys.len() as u64, 256 / 6);
        drop(more);
        // One tenant's own requests leave room for another's.
        assert!(!fill(&pot, Bringer::Key(&two), None).is_empty());
        drop((urls, keys));
        assert_eq!(pot.held(), 0);
    }

    #[test]
    fn large_heads_count_beside_their_bodies_and_small_ones_do_not() {
        let pot = BytesInFlight::new(Limits::default().into(), Arc::default());
        let tenant = "111111111111".parse().unwrap();
        let new = || pot.book(Bringer::Url(&tenant), None);
        let mut small = new();
        small.hold_head(HEAD_FREE_BYTES).unwrap();
        assert_eq!(pot.held(), 0);
        let mut large = new();
        large.hold_head(64 << 10).unwrap();
        assert_eq!(pot.held(), 64 << 10);
        large.grow_to(MIB).unwrap();
        assert_eq!(pot.held(), MIB + (64 << 10));
        drop((small, large));
        assert_eq!(pot.held(), 0);
        // A quarter of 512 MiB is what a tenant's URLs may hold: of 64 KiB each, 2,048 requests.
        let mut held = Vec::new();
        let refused = loop {
            let mut one = new();
            match one.hold_head(64 << 10) {
                Ok(()) => held.push(one),
                Err(error) => break error,
            }
        };
        assert_eq!((held.len(), refused.limit_bytes), (2048, 128 << 20));
        assert!(pot.book(Bringer::Key(&tenant), None).has_room().is_ok());
        drop(held);
        assert_eq!(pot.held(), 0);
    }

    #[test]
    fn an_instance_takes_four_payloads() {
        let pot = BytesInFlight::new(Limits::default().into(), Arc::default());
        let tenant = "111111111111".parse().unwrap();
        let (one, other) = (pot.instance(), pot.instance());
        let taken = fill(&pot, Bringer::Key(&tenant), Some(&one));
        assert_eq!(taken.len(), 4);
        assert_eq!(fill(&pot, Bringer::Url(&tenant), Some(&other)).len(), 4);
        assert_eq!(pot.held(), 24 * MIB, "what was refused is given back");
    }

    #[test]
    fn answers_count_until_they_are_taken_and_are_never_refused() {
        let pot = BytesInFlight::new(Limits::default().into(), Arc::default());
        let tenant = "111111111111".parse().unwrap();
        let new = || pot.book(Bringer::Url(&tenant), None);
        let answer = Bytes::from(vec![7; 10 << 20]);
        let mut untaken = Vec::new();
        for count in 1..=20 {
            let (bytes, slow) = new().keep(answer.clone());
            assert_eq!(bytes, answer);
            // A quarter of the whole, 128 MiB, is what a tenant's URLs may hold; the whole has no
            // more of them.
            assert_eq!(pot.held(), count.min(12) * 10 * MIB);
            assert_eq!(slow.crowds_others(), count > 6, "{count}");
            assert_eq!(new().has_room().is_ok(), count < 13, "{count}");
            untaken.push((bytes, slow));
        }
        assert!(pot.book(Bringer::Key(&tenant), None).has_room().is_ok());
        let (bytes, slow) = untaken.pop().unwrap();
        let rest = bytes.slice(5..);
        drop(bytes);
        assert!(slow.crowds_others(), "a part of it is still there");
        drop(rest);
        assert!(!slow.crowds_others());
        drop(untaken);
        assert_eq!(pot.held(), 0);
    }

    #[test]
    fn a_small_whole_still_takes_the_largest_body() {
        let limits = Limits {
            bytes_in_flight: 8 * MIB,
            ..Limits::default()
        };
        let pot = BytesInFlight::new(limits.into(), Arc::default());
        let tenant = "111111111111".parse().unwrap();
        assert!(
            pot.book(Bringer::Key(&tenant), None)
                .grow_to(8 * MIB)
                .is_ok()
        );
        assert!(
            pot.book(Bringer::Url(&tenant), None)
                .grow_to(6 * MIB)
                .is_ok()
        );
        assert_eq!(
            pot.book(Bringer::Key(&tenant), None).grow_to(8 * MIB + 1),
            Err(UsedUp {
                limit_bytes: 8 * MIB,
                is_own: false
            })
        );
    }

    #[test]
    fn shares_that_are_held_follow_a_change_of_the_whole() {
        let limits = Live::new(Limits::default());
        let pot = BytesInFlight::new(limits.clone(), Arc::default());
        let tenant = "111111111111".parse().unwrap();
        let instance = pot.instance();
        let taken = fill(&pot, Bringer::Url(&tenant), None);
        assert_eq!(taken.len() as u64, 128 / 6);
        limits.change(|limits| limits.bytes_in_flight *= 2);
        assert!(!fill(&pot, Bringer::Url(&tenant), None).is_empty());
        limits.change(|limits| limits.bytes_in_flight /= 8);
        assert!(pot.book(Bringer::Url(&tenant), None).has_room().is_err());
        drop(taken);
        assert!(pot.book(Bringer::Url(&tenant), None).has_room().is_ok());
        limits.change(|limits| limits.sync_payload_bytes = 12 * MIB);
        assert_eq!(fill(&pot, Bringer::Key(&tenant), Some(&instance)).len(), 8);
        assert_eq!(pot.held(), 0, "what was refused or dropped is given back");
    }

    #[test]
    fn a_tenants_own_limit_is_its_shares_and_nobody_elses() {
        let own = Arc::<TenantTable>::default();
        let pot = BytesInFlight::new(Limits::default().into(), own.clone());
        let [one, two]: [TenantId; 2] =
            ["111111111111", "222222222222"].map(|id| id.parse().unwrap());
        let set = |bytes| {
            let mut limits = freehold_domain::TenantLimits::default();
            limits.set(TenantLimit::BytesInFlight, bytes);
            own.note(&one, limits);
        };
        let most = |who: Bringer<'_>| fill(&pot, who, None).len();
        // A share that is held follows.
        let before = fill(&pot, Bringer::Key(&one), None);
        set(Some(24 * MIB));
        assert_eq!(
            pot.book(Bringer::Key(&one), None).has_room(),
            Err(UsedUp {
                limit_bytes: 24 * MIB,
                is_own: true
            })
        );
        drop(before);
        assert_eq!((most(Bringer::Key(&one)), most(Bringer::Url(&one))), (4, 2));
        assert_eq!(most(Bringer::Key(&two)) as u64, 256 / 6);
        // Above the node's share too, up to all that there is.
        set(Some(400 * MIB));
        assert_eq!(most(Bringer::Key(&one)) as u64, 400 / 6);
        set(Some(4096 * MIB));
        assert_eq!(most(Bringer::Key(&one)) as u64, 512 / 6);
        set(None);
        assert_eq!(most(Bringer::Key(&one)) as u64, 256 / 6);
        assert_eq!(pot.held(), 0);
    }
}
