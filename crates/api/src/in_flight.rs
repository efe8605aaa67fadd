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
//! Of what calls to a tenant's URLs, and to all, may hold, a [`Peer`] has its part: who holds as much there
//! as is left, or half, begins nothing more, nor brings more than one payload. What its answers come to
//! beyond that is not in others' way: so one that never finishes leaves half to others, and is cut off for
//! its slowness itself. It counts on twice the tenant's share, past which nothing new begins at its URLs, up
//! to what is left there (one answer in any case), and beyond that on the peer alone: so few that begin much
//! at once do not use that up either. A peer has an entry for as long as something is booked on it.
//!
//! A newcomer's call without a body begins even where others' bodies hold all that calls to URLs may; one with
//! a body is refused there.
//!
//! | share | of the whole |
//! |---|---|
//! | requests signed with a tenant's keys, its instances' among them | half, or its own limit |
//! | calls to a tenant's function URLs | a quarter, or half of its own limit |
//! | the same with what is beyond peers' parts | twice that |
//! | calls to all function URLs | half |
//! | one instance | four payloads |

use bytes::Bytes;
use freehold_domain::{
    TenantId, TenantLimit,
    answers::{Peer, Standing},
    limits::Limits,
    live::Live,
    tenants::TenantTable,
};
use parking_lot::{Mutex, MutexGuard, RwLock};
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

/// Heads up to this are not counted: those of ordinary clients are far below.
pub const HEAD_FREE_BYTES: u64 = 8 << 10;

/// Parts of the table of peers, each below a lock of its own.
const PEER_SHARDS: usize = 16;

/// A count with a ceiling, which follows the node's.
#[derive(Debug)]
pub struct Share {
    held: AtomicU64,
    kind: Kind,
    limits: Live<Limits>,
    /// Whose it is, where it is one tenant's, and where its own limit stands.
    tenant: Option<(TenantId, Arc<TenantTable>)>,
}

/// Which share of the whole.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Whole,
    Urls,
    TenantKeys,
    TenantUrls,
    /// With what counts on its peers alone.
    TenantUrlsBeyond,
    Instance,
}

impl Share {
    fn new(kind: Kind, limits: &Live<Limits>) -> Arc<Self> {
        Arc::new(Self {
            held: AtomicU64::new(0),
            kind,
            limits: limits.clone(),
            tenant: None,
        })
    }

    fn of(
        kind: Kind,
        limits: &Live<Limits>,
        tenant: &TenantId,
        all: &Arc<TenantTable>,
    ) -> Arc<Self> {
        Arc::new(Self {
            held: AtomicU64::new(0),
            kind,
            limits: limits.clone(),
            tenant: Some((tenant.clone(), all.clone())),
        })
    }

    /// The limit of its tenant's own.
    fn own(&self) -> Option<u64> {
        let (tenant, all) = self.tenant.as_ref()?;
        all.of(tenant)?.limits().own(TenantLimit::BytesInFlight)
    }

    /// Bytes up to its ceiling.
    fn left(&self) -> u64 {
        self.limit()
            .saturating_sub(self.held.load(Ordering::Relaxed))
    }

    /// Why nothing more fits.
    fn used_up(&self) -> UsedUp {
        UsedUp {
            limit_bytes: self.limit(),
            is_own: self.own().is_some(),
            is_by_peer: false,
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
            Kind::TenantUrlsBeyond => (whole / 2).max(payload.saturating_mul(2)),
            Kind::Instance => payload.saturating_mul(4),
        }
    }
}

/// Who brought a body, as far as its head tells.
#[derive(Debug, Clone, Copy)]
pub enum Bringer<'a> {
    /// The sender names a key of this tenant.
    Key(&'a TenantId),
    /// The sender, who is this one, calls a URL of this tenant.
    Url(&'a TenantId, &'a Peer),
}

#[derive(Debug)]
struct TenantShares {
    keys: Arc<Share>,
    urls: Arc<Share>,
    urls_beyond: Arc<Share>,
}

/// What all bodies of the node hold.
#[derive(Debug)]
pub struct BytesInFlight {
    whole: Arc<Share>,
    urls: Arc<Share>,
    /// One entry per tenant that has keys or URLs: a stranger cannot make more.
    tenants: RwLock<HashMap<TenantId, TenantShares>>,
    peers: Arc<PeerCounts>,
    limits: Live<Limits>,
    own: Arc<TenantTable>,
}

impl BytesInFlight {
    /// The shares of `limits`, and of what tenants have of their `own`, as they are whenever
    /// something is booked.
    pub fn new(limits: Live<Limits>, own: Arc<TenantTable>) -> Self {
        Self {
            whole: Share::new(Kind::Whole, &limits),
            urls: Share::new(Kind::Urls, &limits),
            tenants: RwLock::default(),
            peers: Arc::default(),
            limits,
            own,
        }
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
        let (Bringer::Key(tenant) | Bringer::Url(tenant, _)) = bringer;
        let of_tenant = |shares: &TenantShares| match bringer {
            Bringer::Key(_) => (shares.keys.clone(), None),
            Bringer::Url(_, peer) => {
                let by_peer = ByPeer {
                    counts: self.peers.clone(),
                    of: [Some(tenant.clone()), None].map(|urls| (urls, peer.clone())),
                    beyond: shares.urls_beyond.clone(),
                    reach: Reach::All,
                };
                (shares.urls.clone(), Some(by_peer))
            }
        };
        let known = self.tenants.read().get(tenant).map(of_tenant);
        let share = |kind| Share::of(kind, &self.limits, tenant, &self.own);
        let (of_tenant, by_peer) = known.unwrap_or_else(|| {
            let mut tenants = self.tenants.write();
            of_tenant(
                tenants
                    .entry(tenant.clone())
                    .or_insert_with(|| TenantShares {
                        keys: share(Kind::TenantKeys),
                        urls: share(Kind::TenantUrls),
                        urls_beyond: share(Kind::TenantUrlsBeyond),
                    }),
            )
        });
        HeldBytes {
            shares: [
                Some(self.whole.clone()),
                Some(of_tenant),
                by_peer.as_ref().map(|_| self.urls.clone()),
                instance.cloned(),
            ],
            by_peer,
            head_bytes: 0,
            bytes: 0,
        }
    }
}

/// Who calls, and whose URLs; all, where they are nobody's.
type Caller = (Option<TenantId>, Peer);

/// Bytes of callers of URLs that hold some.
#[derive(Debug, Default)]
struct PeerCounts {
    shards: [Mutex<HashMap<Caller, u64>>; PEER_SHARDS],
    hasher: RandomState,
}

impl PeerCounts {
    fn shard(&self, caller: &Caller) -> MutexGuard<'_, HashMap<Caller, u64>> {
        self.shards[self.hasher.hash_one(caller) as usize % PEER_SHARDS].lock()
    }

    fn held(&self, caller: &Caller) -> u64 {
        self.shard(caller).get(caller).copied().unwrap_or_default()
    }

    fn hold(&self, caller: &Caller, bytes: u64) {
        let mut shard = self.shard(caller);
        match shard.get_mut(caller) {
            Some(held) => *held += bytes,
            None => drop(shard.insert(caller.clone(), bytes)),
        }
    }

    fn release(&self, caller: &Caller, bytes: u64) {
        let mut shard = self.shard(caller);
        if let Some(held) = shard.get_mut(caller) {
            *held -= bytes;
            if *held == 0 {
                shard.remove(caller);
            }
        }
    }
}

/// Where the bytes of a peer are counted that calls URLs.
#[derive(Debug)]
struct ByPeer {
    counts: Arc<PeerCounts>,
    /// At the tenant's URLs, and at all.
    of: [Caller; 2],
    beyond: Arc<Share>,
    reach: Reach,
}

/// On what the bytes of a peer count, beside itself and its instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// All shares.
    All,
    /// [`Kind::TenantUrlsBeyond`].
    Beyond,
    /// Nothing.
    Peer,
}

impl ByPeer {
    fn held(&self) -> [u64; 2] {
        [0, 1].map(|at| self.counts.held(&self.of[at]))
    }
}

/// A booking, given back when dropped.
#[derive(Debug)]
pub struct HeldBytes {
    /// Of the whole, of the tenant, of all URLs, of the instance.
    shares: [Option<Arc<Share>>; 4],
    /// Of a call to a URL.
    by_peer: Option<ByPeer>,
    /// Of `bytes`, those of the head.
    head_bytes: u64,
    bytes: u64,
}

/// A large answer that its client has not taken whole.
#[derive(Debug, Clone)]
pub struct Untaken {
    held: Weak<HeldBytes>,
    /// Where the answer is a function's that has room.
    standing: Option<Standing>,
}

impl Untaken {
    /// Whether the client has taken all of it, or is gone.
    pub fn is_taken(&self) -> bool {
        self.held.strong_count() == 0
    }

    /// Whether it stands in the way of others: some share that it counts on is more than half held (of a
    /// URL's, its peer holds its part), or somebody's answer waits for the room that it holds. Never once it
    /// has been taken.
    pub fn crowds_others(&self) -> bool {
        let crowds = |held: Arc<HeldBytes>| {
            held.is_crowded() || self.standing.as_ref().is_some_and(Standing::is_in_the_way)
        };
        self.held.upgrade().is_some_and(crowds)
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
    /// Whether it is what the caller's address may hold of it.
    pub is_by_peer: bool,
}

impl HeldBytes {
    /// A booking that counts nowhere, for what has no body.
    pub fn nothing() -> Self {
        Self {
            shares: [const { None }; 4],
            by_peer: None,
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
        for share in self.counted() {
            if share.held.fetch_add(more, Ordering::Relaxed) + more > share.limit() {
                fits = Err(share.used_up());
            }
        }
        if let Some(by_peer) = &self.by_peer {
            for caller in &by_peer.of {
                by_peer.counts.hold(caller, more);
            }
            let payload = by_peer.beyond.limits.now().sync_payload_bytes;
            fits = fits.and(self.of_part(|held, left, _| held <= left.max(payload)));
        }
        fits
    }

    /// Where it counts.
    fn counted(&self) -> impl Iterator<Item = &Arc<Share>> {
        let reach = self.by_peer.as_ref().map(|by_peer| by_peer.reach);
        let (within, instance) = self.shares.split_at(3);
        let counts_within = matches!(reach, None | Some(Reach::All));
        let within = within.iter().flatten().filter(move |_| counts_within);
        let counts_beyond = reach != Some(Reach::Peer);
        let beyond = self.by_peer.iter().filter(move |_| counts_beyond);
        let beyond = beyond.map(|by_peer| &by_peer.beyond);
        within.chain(instance.iter().flatten()).chain(beyond)
    }

    /// Whether what its peer holds of the tenant's share, and of all URLs', is in order beside what is left
    /// of each, and the whole of it.
    fn of_part(&self, is_in_order: impl Fn(u64, u64, u64) -> bool) -> Result<(), UsedUp> {
        let ([_, tenant, urls, _], Some(by_peer)) = (&self.shares, &self.by_peer) else {
            return Ok(());
        };
        for (share, held) in [tenant, urls].into_iter().zip(by_peer.held()) {
            let Some(share) = share else { continue };
            if !is_in_order(held, share.left(), share.limit()) {
                return Err(UsedUp {
                    is_by_peer: true,
                    ..share.used_up()
                });
            }
        }
        Ok(())
    }

    /// Whether its peer does not hold its part.
    fn may_have_more(&self) -> Result<(), UsedUp> {
        // Half, since what is beyond a part is not among what is held.
        self.of_part(|held, left, limit| held == 0 || held < left.min(limit / 2))
    }

    /// Whether something new may begin on all of its shares. One that calls a URL may wherever its peer does
    /// not hold its part of the tenant's, and of all: what others hold there is their matter.
    ///
    /// Errors: [`UsedUp`].
    pub fn has_room(&self) -> Result<(), UsedUp> {
        let [whole, tenant, _, instance] = &self.shares;
        let tenant = match &self.by_peer {
            Some(by_peer) => Some(&by_peer.beyond),
            None => tenant.as_ref(),
        };
        let all = [whole.as_ref(), tenant, instance.as_ref()];
        let is_full = |share: &&Arc<Share>| share.held.load(Ordering::Relaxed) >= share.limit();
        match all.into_iter().flatten().find(is_full) {
            Some(share) => Err(share.used_up()),
            None => self.may_have_more(),
        }
    }

    /// Whether more than half of some share is held; of a URL's, whether its peer holds its part, or it counts
    /// beyond that and more than half of what is beyond is held.
    fn is_crowded(&self) -> bool {
        let is_half = |share: &Arc<Share>| share.held.load(Ordering::Relaxed) > share.limit() / 2;
        match &self.by_peer {
            Some(by_peer) => {
                let is_beyond = match by_peer.reach {
                    Reach::All => false,
                    Reach::Beyond => is_half(&by_peer.beyond),
                    // What counts nowhere has to go.
                    Reach::Peer => true,
                };
                is_beyond || self.may_have_more().is_err() || self.shares[0].iter().any(is_half)
            }
            None => self.counted().any(is_half),
        }
    }

    /// Books an answer on shares that nothing is booked on yet, until the last of its bytes is
    /// dropped; `standing` where it has room that others may wait for.
    pub fn keep(mut self, answer: Bytes, standing: Option<Standing>) -> (Bytes, Untaken) {
        // It is there, whether or not it fits.
        let bytes = answer.len() as u64;
        let is_within = self.of_part(|held, left, _| held + bytes <= left.saturating_sub(bytes));
        if let Some(by_peer) = &mut self.by_peer {
            by_peer.reach = match is_within {
                Ok(()) => Reach::All,
                // Of what is beyond a peer has its part too, and one answer in any case.
                Err(_) => match by_peer.held()[0] {
                    0 => Reach::Beyond,
                    held if held + bytes <= by_peer.beyond.left() => Reach::Beyond,
                    _ => Reach::Peer,
                },
            };
        } else if let [whole, Some(tenant), ..] = &mut self.shares
            && tenant.held.load(Ordering::Relaxed) + bytes > tenant.limit()
        {
            *whole = None;
        }
        let _ = self.grow_to(bytes);
        let held = Arc::new(self);
        let untaken = Untaken {
            held: Arc::downgrade(&held),
            standing,
        };
        let booked = Booked {
            bytes: answer,
            _held: held,
        };
        (Bytes::from_owner(booked), untaken)
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        for share in self.counted() {
            share.held.fetch_sub(self.bytes, Ordering::Relaxed);
        }
        for by_peer in self.by_peer.iter().filter(|_| self.bytes > 0) {
            for caller in &by_peer.of {
                by_peer.counts.release(caller, self.bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::net::Ipv4Addr;

    const MIB: u64 = 1 << 20;

    /// So many peers that hold nothing.
    fn peers(pot: &BytesInFlight, count: usize) -> Vec<Peer> {
        let addresses = (0..).map(|n: u32| Peer::at(Ipv4Addr::from_bits(n).into()));
        let is_new = |peer: &Peer| pot.peers.held(&(None, peer.clone())) == 0;
        addresses.filter(is_new).take(count).collect()
    }

    fn somebody() -> Peer {
        Peer::at([192, 0, 2, 7].into())
    }

    /// Books bodies of 6 MiB until one is refused, and says how many were taken.
    fn fill(
        pot: &BytesInFlight,
        who: Bringer<'_>,
        instance: Option<&Arc<Share>>,
    ) -> Vec<HeldBytes> {
        fill_as(pot, |_| who, instance)
    }

    /// The same at the URLs of a tenant, one of each peer.
    fn fill_urls(pot: &BytesInFlight, tenant: &TenantId) -> Vec<HeldBytes> {
        let peers = peers(pot, 100);
        fill_as(pot, |at| Bringer::Url(tenant, &peers[at]), None)
    }

    fn fill_as<'a>(
        pot: &BytesInFlight,
        who: impl Fn(usize) -> Bringer<'a>,
        instance: Option<&Arc<Share>>,
    ) -> Vec<HeldBytes> {
        let mut taken = Vec::new();
        loop {
            let mut held = pot.book(who(taken.len()), instance);
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
        let peer = somebody();
        let begun: Vec<_> = (0..200)
            .map(|_| pot.book(Bringer::Url(&one, &peer), None))
            .collect();
        let kept: Vec<_> = begun
            .into_iter()
            .map(|held| held.keep(answer.clone(), None))
            .collect();
        assert!(
            pot.book(Bringer::Url(&one, &peer), None)
                .has_room()
                .is_err()
        );
        assert!(kept.iter().all(|(_, untaken)| untaken.crowds_others()));
        let other = peers(&pot, 1).remove(0);
        assert!(
            pot.book(Bringer::Url(&two, &peer), None)
                .has_room()
                .is_err()
        );
        for other in [
            Bringer::Url(&two, &other),
            Bringer::Key(&two),
            Bringer::Key(&one),
        ] {
            assert!(pot.book(other, None).has_room().is_ok());
        }
        assert!(pot.held() <= Limits::default().bytes_in_flight / 4);
        drop(kept);
        assert!(pot.book(Bringer::Url(&one, &peer), None).has_room().is_ok() && pot.held() == 0);
    }

    #[test]
    fn nobody_takes_what_is_for_others() {
        let pot = BytesInFlight::new(Limits::default().into(), Arc::default());
        let [one, two, three]: [TenantId; 3] =
            ["111111111111", "222222222222", "333333333333"].map(|id| id.parse().unwrap());
        // Strangers on the URLs of one tenant leave room on those of another, and for keys.
        let urls = fill_urls(&pot, &one);
        assert_eq!(urls.len() as u64, 128 / 6);
        let more = fill_urls(&pot, &two);
        assert!(!more.is_empty());
        assert!(fill_urls(&pot, &three).len() <= 1);
        let keys = fill(&pot, Bringer::Key(&one), None);
        assert_eq!(keys.len() as u64, 256 / 6);
        drop(more);
        // One tenant's own requests leave room for another's.
        assert!(!fill(&pot, Bringer::Key(&two), None).is_empty());
        drop((urls, keys));
        assert_eq!(pot.held(), 0);
    }

    #[test]
    fn a_peer_leaves_half_to_others_and_a_newcomer_finds_room() {
        let pot = BytesInFlight::new(Limits::default().into(), Arc::default());
        let tenant = "111111111111".parse().unwrap();
        let peers = peers(&pot, 4);
        let url = |at: usize| Bringer::Url(&tenant, &peers[at]);
        // Of 128 MiB: the half, and the half of what is left.
        let all: Vec<_> = (0..3).map(|at| fill(&pot, url(at), None)).collect();
        let counts: Vec<_> = all.iter().map(Vec::len).collect();
        assert_eq!(counts, [10, 5, 3]);
        let beyond = pot.book(url(0), None).has_room().unwrap_err();
        assert!(beyond.is_by_peer && beyond.limit_bytes == 128 * MIB);
        assert!(pot.book(url(3), None).has_room().is_ok());
        // One payload in any case.
        assert_eq!(fill(&pot, url(3), None).len(), 1);
        // What it holds at one tenant's URLs is no matter at another's, but for what is left of all.
        let other = "222222222222".parse().unwrap();
        assert_eq!(fill(&pot, Bringer::Url(&other, &peers[0]), None).len(), 7);
        // Answers that came at once leave room to whoever comes.
        drop(all);
        let answer = Bytes::from(vec![0; 6 * MIB as usize]);
        let kept: Vec<_> = (0..15)
            .map(|_| pot.book(url(0), None).keep(answer.clone(), None))
            .collect();
        assert!(pot.book(url(0), None).has_room().unwrap_err().is_by_peer);
        assert!(pot.book(url(1), None).has_room().is_ok());
        drop(kept);
        assert!(pot.book(url(0), None).has_room().is_ok() && pot.held() == 0);
        assert!(pot.peers.shards.iter().all(|shard| shard.lock().is_empty()));
    }

    #[test]
    fn bodies_that_fill_what_urls_may_hold_keep_no_call_without_one_out() {
        let pot = BytesInFlight::new(Limits::default().into(), Arc::default());
        let [one, two, three]: [TenantId; 3] =
            ["111111111111", "222222222222", "333333333333"].map(|id| id.parse().unwrap());
        // Announced, and never brought: 256 KiB each, of a thousand addresses at two tenants' URLs.
        let peers = peers(&pot, 1026);
        let announced: Vec<_> = (0..1024)
            .map(|at| {
                let tenant = if at % 2 == 0 { &one } else { &two };
                let mut held = pot.book(Bringer::Url(tenant, &peers[at]), None);
                held.grow_to(256 << 10).unwrap();
                held
            })
            .collect();
        for tenant in [&one, &two, &three] {
            let new = || pot.book(Bringer::Url(tenant, &peers[1024]), None);
            assert!(new().has_room().is_ok());
            assert!(!new().grow_to(1).unwrap_err().is_by_peer);
            // Its answer is in nobody's way either.
            let (_answer, untaken) = new().keep(Bytes::from(vec![0; 1 << 20]), None);
            let other = pot.book(Bringer::Url(tenant, &peers[1025]), None);
            assert!(other.has_room().is_ok());
            drop(untaken);
        }
        assert!(
            pot.book(Bringer::Url(&one, &peers[0]), None)
                .has_room()
                .unwrap_err()
                .is_by_peer
        );
        drop(announced);
        assert_eq!(pot.held(), 0);
    }

    #[test]
    fn nobody_is_counted_for_another() {
        let pot = BytesInFlight::new(Limits::default().into(), Arc::default());
        let [one, two]: [TenantId; 2] =
            ["111111111111", "222222222222"].map(|id| id.parse().unwrap());
        let peers = peers(&pot, 20_000);
        let held: Vec<_> = peers[1..]
            .iter()
            .map(|peer| {
                let mut held = pot.book(Bringer::Url(&one, peer), None);
                held.grow_to(2).unwrap();
                held
            })
            .collect();
        for tenant in [&one, &two] {
            let new = pot.book(Bringer::Url(tenant, &peers[0]), None);
            assert_eq!(new.by_peer.as_ref().unwrap().held(), [0, 0]);
        }
        drop(held);
        assert!(pot.peers.shards.iter().all(|shard| shard.lock().is_empty()));
    }

    #[test]
    fn one_answer_larger_than_its_share_shuts_nobody_else_out() {
        let own = Arc::<TenantTable>::default();
        let pot = BytesInFlight::new(Limits::default().into(), own.clone());
        let tenant = "111111111111".parse().unwrap();
        let mut limits = freehold_domain::TenantLimits::default();
        limits.set(TenantLimit::BytesInFlight, Some(8 * MIB));
        own.note(&tenant, limits);
        let peers = peers(&pot, 2);
        let url = |at: usize| pot.book(Bringer::Url(&tenant, &peers[at]), None);
        let (large, slow) = url(0).keep(Bytes::from(vec![0; 5 << 20]), None);
        assert!(slow.crowds_others() && url(0).has_room().is_err());
        assert!(url(1).has_room().is_ok());
        let (_small, other) = url(1).keep(Bytes::from(vec![0; 1 << 20]), None);
        assert!(!other.crowds_others() && url(1).has_room().is_ok());
        // Many that began at once.
        let small = Bytes::from(vec![0; 60_000]);
        let many: Vec<_> = (0..20).map(|_| url(0).keep(small.clone(), None)).collect();
        assert!(url(1).has_room().is_ok() && !other.crowds_others());
        assert!(many.iter().all(|(_, slow)| slow.crowds_others()));
        // And more than twice the share of all, as one that reads nothing may have on two connections.
        let more: Vec<_> = (0..200).map(|_| url(0).keep(small.clone(), None)).collect();
        assert!(url(1).has_room().is_ok() && !other.crowds_others());
        assert!(more.iter().all(|(_, slow)| slow.crowds_others()));
        drop((large, many, more));
        assert!(url(0).has_room().is_ok() && !slow.crowds_others());
        drop((_small, other));
        assert!(pot.held() == 0 && pot.peers.shards.iter().all(|shard| shard.lock().is_empty()));
    }

    #[test]
    fn few_addresses_that_begin_much_at_once_keep_no_newcomer_out() {
        let small = Bytes::from(vec![0; 60_000]);
        for (own_mib, slow, each) in [(Some(8), 2, 100), (Some(8), 6, 100), (None, 4, 1250)] {
            let own = Arc::<TenantTable>::default();
            let pot = BytesInFlight::new(Limits::default().into(), own.clone());
            let tenant = "111111111111".parse().unwrap();
            let mut limits = freehold_domain::TenantLimits::default();
            limits.set(TenantLimit::BytesInFlight, own_mib.map(|own| own * MIB));
            own.note(&tenant, limits);
            let peers = peers(&pot, slow + 1);
            let mut kept = Vec::new();
            for peer in &peers[..slow] {
                // All of its calls began while there was room.
                let url = Bringer::Url(&tenant, peer);
                let begun: Vec<_> = (0..each).map(|_| pot.book(url, None)).collect();
                assert!(begun[0].has_room().is_ok(), "{own_mib:?} {slow}");
                kept.extend(begun.into_iter().map(|held| held.keep(small.clone(), None)));
                assert!(pot.book(url, None).has_room().unwrap_err().is_by_peer);
            }
            let newcomer = pot.book(Bringer::Url(&tenant, &peers[slow]), None);
            assert!(newcomer.has_room().is_ok(), "{own_mib:?} {slow}");
            assert!(kept.iter().all(|(_, untaken)| untaken.crowds_others()));
            drop(kept);
            assert_eq!(pot.held(), 0);
        }
    }

    #[test]
    fn who_reads_slowly_is_in_the_way_only_while_there_is_a_crowd() {
        let pot = BytesInFlight::new(Limits::default().into(), Arc::default());
        let tenant = "111111111111".parse().unwrap();
        let peers = peers(&pot, 509);
        let crowd: Vec<_> = peers[1..]
            .iter()
            .map(|peer| {
                let mut held = pot.book(Bringer::Url(&tenant, peer), None);
                held.grow_to(256 << 10).unwrap();
                held
            })
            .collect();
        let held = pot.book(Bringer::Url(&tenant, &peers[0]), None);
        let (_answer, untaken) = held.keep(Bytes::from(vec![0; 2 << 20]), None);
        assert!(untaken.crowds_others());
        drop(crowd);
        assert!(!untaken.crowds_others());
    }

    #[test]
    fn large_heads_count_beside_their_bodies_and_small_ones_do_not() {
        let pot = BytesInFlight::new(Limits::default().into(), Arc::default());
        let tenant = "111111111111".parse().unwrap();
        let peers = peers(&pot, 22);
        let nth = |at: usize| pot.book(Bringer::Url(&tenant, &peers[at % 22]), None);
        let new = || nth(0);
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
            let mut one = nth(held.len());
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
        let instances = Peer::Instances(tenant.clone());
        assert_eq!(
            fill(&pot, Bringer::Url(&tenant, &instances), Some(&other)).len(),
            4
        );
        assert_eq!(pot.held(), 24 * MIB, "what was refused is given back");
    }

    #[test]
    fn answers_count_until_they_are_taken_and_are_never_refused() {
        let pot = BytesInFlight::new(Limits::default().into(), Arc::default());
        let tenant = "111111111111".parse().unwrap();
        let peers = peers(&pot, 31);
        let nth = |at: usize| pot.book(Bringer::Url(&tenant, &peers[at]), None);
        let new = || nth(30);
        let answer = Bytes::from(vec![7; 10 << 20]);
        let mut untaken = Vec::new();
        for count in 1..=30 {
            let (bytes, slow) = nth(untaken.len()).keep(answer.clone(), None);
            assert_eq!(bytes, answer);
            // A quarter of the whole, 128 MiB, is what a tenant's URLs may hold; the whole has no
            // more of them. Twice that is all.
            assert_eq!(pot.held(), count.min(11) * 10 * MIB);
            // From the twelfth on they count beyond, of which the thirteenth is more than half.
            assert_eq!(slow.crowds_others(), count > 12, "{count}");
            assert_eq!(new().has_room().is_ok(), count < 26, "{count}");
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
            pot.book(Bringer::Url(&tenant, &somebody()), None)
                .grow_to(6 * MIB)
                .is_ok()
        );
        assert_eq!(
            pot.book(Bringer::Key(&tenant), None).grow_to(8 * MIB + 1),
            Err(UsedUp {
                limit_bytes: 8 * MIB,
                is_own: false,
                is_by_peer: false
            })
        );
    }

    #[test]
    fn shares_that_are_held_follow_a_change_of_the_whole() {
        let limits = Live::new(Limits::default());
        let pot = BytesInFlight::new(limits.clone(), Arc::default());
        let tenant = "111111111111".parse().unwrap();
        let instance = pot.instance();
        let peer = somebody();
        let one = Bringer::Url(&tenant, &peer);
        let taken = fill_urls(&pot, &tenant);
        assert_eq!(taken.len() as u64, 128 / 6);
        limits.change(|limits| limits.bytes_in_flight *= 2);
        assert!(!fill(&pot, one, None).is_empty());
        limits.change(|limits| limits.bytes_in_flight /= 8);
        assert!(pot.book(one, None).has_room().is_err());
        drop(taken);
        assert!(pot.book(one, None).has_room().is_ok());
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
                is_own: true,
                is_by_peer: false
            })
        );
        drop(before);
        assert_eq!(
            (most(Bringer::Key(&one)), fill_urls(&pot, &one).len()),
            (4, 2)
        );
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
