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
    /// URL's, its peer holds its part, or it counts on its peer alone), or somebody's answer waits for the room
    /// that it holds. Never once it has been taken.
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
mod tests;
