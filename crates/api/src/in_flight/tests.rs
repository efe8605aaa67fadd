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
fn fill(pot: &BytesInFlight, who: Bringer<'_>, instance: Option<&Arc<Share>>) -> Vec<HeldBytes> {
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
    let [one, two]: [TenantId; 2] = ["111111111111", "222222222222"].map(|id| id.parse().unwrap());
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
    let [one, two]: [TenantId; 2] = ["111111111111", "222222222222"].map(|id| id.parse().unwrap());
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
    let [one, two]: [TenantId; 2] = ["111111111111", "222222222222"].map(|id| id.parse().unwrap());
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
