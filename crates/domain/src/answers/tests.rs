//! The room, asked for by hand and by threads.

use super::*;
use crate::tenant_limits::TenantLimits;
use std::{
    net::Ipv4Addr,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    task::Wake,
    thread::{self, Thread},
};

mod walk;

const MIB: u64 = 1 << 20;

/// Room of so many MiB, and where its limits stand.
fn room_of(mib: u64) -> (Arc<Answers>, Live<Limits>, Arc<TenantTable>) {
    let limits = Live::new(Limits {
        bytes_in_flight: mib * MIB,
        ..Limits::default()
    });
    let own = Arc::<TenantTable>::default();
    (Answers::new(limits.clone(), own.clone()), limits, own)
}

fn tenant(digit: char) -> TenantId {
    digit.to_string().repeat(12).parse().unwrap()
}

fn signed(digit: char) -> Whose {
    Whose::signed(&tenant(digit))
}

/// Of somebody who never called before.
fn by_url(digit: char) -> Whose {
    static CALLED: AtomicU32 = AtomicU32::new(0);
    let address = Ipv4Addr::from_bits(CALLED.fetch_add(1, Ordering::Relaxed));
    by_peer(digit, Peer::at(address.into()))
}

fn by_peer(digit: char, peer: Peer) -> Whose {
    Whose {
        by_url: Some(peer),
        ..signed(digit)
    }
}

/// Whether it was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One answer and who waits for its room.
struct One {
    asked: Asked,
    woken: Arc<Woken>,
}

impl One {
    fn of(answers: &Arc<Answers>, digit: char, mib: u64) -> Self {
        Self::whose(answers, signed(digit), mib)
    }

    fn whose(answers: &Arc<Answers>, whose: Whose, mib: u64) -> Self {
        let mut one = Self {
            asked: answers.ask(whose, mib * MIB),
            woken: Arc::default(),
        };
        // As whoever asks does at once.
        if let Some(room) = one.room() {
            one.asked = Asked(Some(room));
        }
        one
    }

    /// The room, if it was given.
    fn room(&mut self) -> Option<Room> {
        let waker = Waker::from(self.woken.clone());
        match Pin::new(&mut self.asked).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(room) => Some(room),
            Poll::Pending => None,
        }
    }

    /// Whether it waits. Whoever does not, and did, was woken.
    fn waits(&mut self) -> bool {
        let woken = self.woken.0.load(Ordering::Relaxed);
        match self.room() {
            None => {
                assert!(!woken, "for nothing");
                true
            }
            Some(room) => {
                self.asked = Asked(Some(room));
                false
            }
        }
    }
}

/// Which of these wait.
fn waiting(all: &mut [One]) -> Vec<usize> {
    let all = all.iter_mut().enumerate();
    all.filter_map(|(at, one)| one.waits().then_some(at))
        .collect()
}

#[test]
fn an_account_has_half_and_its_answers_are_served_as_they_came() {
    let (answers, _, _) = room_of(20);
    let ask = |mib| One::of(&answers, '1', mib);
    let mut all = vec![ask(6), ask(4), ask(6), ask(1), ask(3)];
    // The fourth would fit beside the first two once a little is free, and has to wait its turn.
    assert_eq!(waiting(&mut all), [2, 3, 4]);
    assert_eq!((answers.held_bytes(), answers.waited()), (10 * MIB, 3));
    drop(all.remove(1));
    assert_eq!(waiting(&mut all), [1, 2, 3]);
    drop(all.remove(0));
    assert_eq!(waiting(&mut all), [] as [usize; 0]);
    assert!(all.iter().all(|one| one.woken.0.load(Ordering::Relaxed)));
    assert_eq!(answers.held_bytes(), 10 * MIB);
    drop(all);
    assert_eq!(answers.held_bytes(), 0);
    assert!(answers.book().accounts.is_empty());
}

#[test]
fn accounts_do_not_stand_behind_each_other() {
    let (answers, _, _) = room_of(20);
    let mut one = vec![One::of(&answers, '1', 9), One::of(&answers, '1', 9)];
    let mut two = vec![One::of(&answers, '2', 6)];
    assert_eq!((waiting(&mut one), waiting(&mut two)), (vec![1], vec![]));
    // Nor behind what the node has given to others: who holds nothing has room for one answer.
    let mut three = vec![One::of(&answers, '3', 6)];
    let mut four = vec![One::of(&answers, '4', 4)];
    assert_eq!((waiting(&mut three), waiting(&mut four)), (vec![], vec![]));
    assert_eq!(answers.held_bytes(), 25 * MIB);
    // The next one of each waits until the node has room.
    two.push(One::of(&answers, '2', 2));
    three.push(One::of(&answers, '3', 1));
    assert_eq!((waiting(&mut two), waiting(&mut three)), (vec![1], vec![1]));
    // Of what is given back, who holds nothing by now has the first, then who would hold least.
    drop(two.remove(0));
    assert_eq!((waiting(&mut two), waiting(&mut three)), (vec![], vec![1]));
    two.push(One::of(&answers, '2', 8));
    drop(four);
    assert_eq!((waiting(&mut two), waiting(&mut three)), (vec![1], vec![]));
    assert_eq!(waiting(&mut one), [1]);
    drop((one, two, three));
    assert_eq!(answers.held_bytes(), 0);
}

#[test]
fn there_is_room_for_one_answer_however_little_there_is() {
    let (answers, _, _) = room_of(1);
    let mut all = vec![
        One::of(&answers, '1', 6),
        One::of(&answers, '2', 6),
        One::of(&answers, '1', 6),
    ];
    assert_eq!(waiting(&mut all), [2]);
    drop(all.remove(0));
    assert_eq!(waiting(&mut all), [] as [usize; 0]);
    drop(all);
    // Nor does a limit of its own stop an account.
    let (answers, _, own) = room_of(100);
    let mut limits = TenantLimits::default();
    limits.set(TenantLimit::BytesInFlight, Some(MIB));
    own.note(&tenant('1'), limits);
    let mut all = vec![One::of(&answers, '1', 60), One::of(&answers, '1', 1)];
    assert_eq!(waiting(&mut all), [1]);
}

#[test]
fn what_an_answer_does_not_come_to_is_given_back() {
    let (answers, _, _) = room_of(12);
    let mut all = vec![One::of(&answers, '1', 6), One::of(&answers, '1', 4)];
    let room = all[0].room().unwrap();
    assert!(all[1].waits());
    let room = room.kept_by(2 << 20).unwrap();
    assert!(!all[1].waits());
    assert_eq!(answers.held_bytes(), 6 * MIB);
    // One that turned out to be free holds nothing; one that became more than its room holds that.
    assert!(
        all.remove(1)
            .room()
            .unwrap()
            .kept_by(ANSWER_FREE_BYTES)
            .is_none()
    );
    let room = room.kept_by(3 << 20).unwrap();
    assert_eq!(answers.held_bytes(), 2 * MIB);
    let answer = room.held_by(Bytes::from_static(b"answer"));
    let rest = answer.slice(3..);
    drop(answer);
    assert_eq!((&*rest, answers.held_bytes()), (&b"wer"[..], 2 * MIB));
    drop(rest);
    assert_eq!(answers.held_bytes(), 0);
}

#[test]
fn who_goes_leaves_the_line_and_what_was_given_unseen() {
    let (answers, _, _) = room_of(12);
    let mut all = vec![
        One::of(&answers, '1', 6),
        One::of(&answers, '1', 6),
        One::of(&answers, '1', 2),
        One::of(&answers, '1', 4),
    ];
    assert_eq!(waiting(&mut all), [1, 2, 3]);
    // Its place is the next one's, whether or not anything was given back.
    drop(all.remove(1));
    assert_eq!(waiting(&mut all), [1, 2]);
    drop(all.remove(0));
    // Both were given room; one goes before it has looked.
    drop(all.remove(0));
    assert_eq!(answers.held_bytes(), 4 * MIB);
    drop(all);
    assert_eq!(answers.held_bytes(), 0);
    // The first in line goes, and who stood behind it fits.
    let mut all = vec![
        One::of(&answers, '1', 4),
        One::of(&answers, '1', 6),
        One::of(&answers, '1', 2),
    ];
    assert_eq!(waiting(&mut all), [1, 2]);
    drop(all.remove(1));
    assert_eq!(waiting(&mut all), [] as [usize; 0]);
}

#[test]
fn strangers_have_half_and_nobody_who_signs_waits_for_them() {
    let (answers, _, _) = room_of(32);
    let strangers = |digit, mib| One::whose(&answers, by_url(digit), mib);
    let mut urls: Vec<_> = (0..4).map(|_| strangers('1', 4)).collect();
    assert_eq!(waiting(&mut urls), [2, 3]);
    // Of its sixteen an account's own calls have what strangers do not hold.
    let mut own: Vec<_> = [4, 4, 5].map(|mib| One::of(&answers, '1', mib)).into();
    assert_eq!(waiting(&mut own), [2]);
    drop(urls.remove(0));
    // Nor are strangers let past them.
    assert_eq!(
        (waiting(&mut own), waiting(&mut urls)),
        (vec![2], vec![1, 2])
    );
    drop(own.remove(0));
    assert_eq!(
        (waiting(&mut own), waiting(&mut urls)),
        (vec![], vec![1, 2])
    );
    drop((own, urls));
    assert_eq!(answers.held_bytes(), 0);
    // Of the node they have half, and of each account one answer in any case.
    let mut urls: Vec<_> = ['1', '1', '2', '2', '3', '3']
        .map(|digit| strangers(digit, 4))
        .into();
    assert_eq!(waiting(&mut urls), [5]);
    assert_eq!(answers.held_bytes(), 20 * MIB);
    let mut own = vec![One::of(&answers, '3', 6), One::of(&answers, '4', 6)];
    assert_eq!(waiting(&mut own), [] as [usize; 0]);
    drop(urls.remove(0));
    assert_eq!(waiting(&mut urls), [4]);
    drop(urls.remove(0));
    assert_eq!(waiting(&mut urls), [] as [usize; 0]);
    drop((own, urls));
    assert_eq!(answers.held_bytes(), 0);
    assert_eq!(answers.book().urls_bytes, 0);
    assert!(answers.book().accounts.is_empty());
}

#[test]
fn who_signs_waits_for_no_answer_of_strangers_however_little_there_is() {
    let (answers, _, _) = room_of(1);
    let mut urls = vec![
        One::whose(&answers, by_url('1'), 6),
        One::whose(&answers, by_url('1'), 6),
    ];
    let mut own = vec![One::of(&answers, '1', 6), One::of(&answers, '1', 6)];
    assert_eq!((waiting(&mut urls), waiting(&mut own)), (vec![1], vec![1]));
    drop(own.remove(0));
    assert_eq!((waiting(&mut urls), waiting(&mut own)), (vec![1], vec![]));
}

#[test]
fn strangers_go_behind_who_signs_wherever_there_is_no_room() {
    let (answers, _, _) = room_of(32);
    let strangers = |digit, mib| One::whose(&answers, by_url(digit), mib);
    let _held = ['1', '2', '3', '4'].map(|digit| One::of(&answers, digit, 7));
    let two = One::of(&answers, '5', 2);
    let mut urls = vec![strangers('1', 2), strangers('1', 2)];
    let mut own = vec![One::of(&answers, '1', 1)];
    assert_eq!((waiting(&mut own), waiting(&mut urls)), (vec![0], vec![1]));
    drop(two);
    assert_eq!((waiting(&mut own), waiting(&mut urls)), (vec![], vec![1]));
    drop(own);
    assert_eq!(waiting(&mut urls), [] as [usize; 0]);
}

#[test]
fn who_holds_its_part_of_all_waits_for_itself_wherever_it_holds_that() {
    let (answers, _, _) = room_of(64);
    let peer = |at: u8| Peer::at([192, 0, 2, at].into());
    let of = |digit, at, mib| One::whose(&answers, by_peer(digit, peer(at)), mib);
    let in_the_way = |digit, at| answers.is_in_the_way(&by_peer(digit, peer(at)));
    // Of the 32 that all URLs have one has half, at three accounts, each of which has 16 and half of that left.
    let _held = [of('1', 1, 6), of('2', 1, 6), of('3', 1, 6), of('3', 2, 1)];
    let mut more = vec![of('1', 1, 1)];
    assert_eq!(waiting(&mut more), [0]);
    assert!(in_the_way('1', 1) && in_the_way('2', 1) && in_the_way('4', 1));
    assert!(!in_the_way('1', 2) && !in_the_way('3', 2) && !answers.is_in_the_way(&signed('1')));
}

#[test]
fn an_answer_too_large_beside_its_own_line_hurries_no_other() {
    let (answers, _, own) = room_of(64);
    let mut limits = TenantLimits::default();
    limits.set(TenantLimit::BytesInFlight, Some(8 * MIB));
    own.note(&tenant('1'), limits);
    let peer = |at: u8| by_peer('1', Peer::at([192, 0, 2, at].into()));
    let (_signed, _url) = (One::of(&answers, '1', 4), One::whose(&answers, peer(1), 3));
    let mut large = vec![One::whose(&answers, peer(2), 6)];
    assert_eq!(waiting(&mut large), [0]);
    assert!(answers.is_in_the_way(&peer(1)) && !answers.is_in_the_way(&signed('1')));
    drop(large);
    // One that would fit but for them does.
    let mut small = vec![One::whose(&answers, peer(2), 2)];
    assert_eq!(waiting(&mut small), [0]);
    assert!(answers.is_in_the_way(&peer(1)) && answers.is_in_the_way(&signed('1')));
}

#[test]
fn a_peer_leaves_half_to_others_and_a_newcomer_finds_room() {
    let (answers, _, _) = room_of(128);
    let peer = |at: u8| Peer::at([192, 0, 2, at].into());
    let of = |at, mib| One::whose(&answers, by_peer('1', peer(at)), mib);
    // Of the 32 that an account's URLs have: half for one alone, then half of what is left.
    let mut one: Vec<_> = (0..6).map(|_| of(1, 4)).collect();
    assert_eq!(waiting(&mut one), [4, 5]);
    let mut two: Vec<_> = (0..6).map(|_| of(2, 4)).collect();
    assert_eq!(waiting(&mut two), [2, 3, 4, 5]);
    // Who holds its part waits for itself alone, and where it holds that.
    let in_the_way = |digit, at| answers.is_in_the_way(&by_peer(digit, peer(at)));
    assert!(in_the_way('1', 1) && !in_the_way('2', 1));
    assert!(!in_the_way('1', 2) && !in_the_way('1', 3) && !answers.is_in_the_way(&signed('1')));
    // Past those that hold their part, in the order in which they came.
    let mut three = vec![of(3, 4), of(3, 4)];
    assert_eq!(waiting(&mut three), [1]);
    let mut four = vec![of(4, 5), of(4, 1)];
    assert_eq!(waiting(&mut four), [1]);
    // Nothing is left, even for a newcomer; who holds least is next.
    let mut last = vec![of(5, 4)];
    assert_eq!(waiting(&mut last), [0]);
    assert!(in_the_way('1', 2) && in_the_way('1', 3) && !in_the_way('2', 3));
    drop(one.drain(..1));
    assert_eq!(waiting(&mut last), [] as [usize; 0]);
    assert_eq!(waiting(&mut one), [3, 4]);
    drop((one, two, three, four, last));
    assert_eq!(answers.held_bytes(), 0);
    assert!(answers.book().accounts.is_empty());
}

#[test]
fn what_a_peer_holds_at_one_account_is_no_matter_at_anothers() {
    let (answers, _, _) = room_of(128);
    let peer = || Peer::at([192, 0, 2, 1].into());
    let of = |digit, mib| One::whose(&answers, by_peer(digit, peer()), mib);
    // Of the 32 that each account's URLs have, and the 64 of all.
    let mut all: Vec<_> = ['1', '1', '1', '2', '2', '2']
        .map(|digit| of(digit, 10))
        .into();
    assert_eq!(waiting(&mut all), [2, 5]);
    // What is left of the node's is for others.
    let mut other = vec![of('3', 10), of('3', 1)];
    assert_eq!(waiting(&mut other), [1]);
    assert!(!answers.is_in_the_way(&by_url('1')));
    let mut others = vec![
        One::whose(&answers, by_url('3'), 5),
        One::whose(&answers, by_url('4'), 5),
    ];
    assert_eq!(waiting(&mut others), [] as [usize; 0]);
    drop((all, other, others));
    assert_eq!(answers.held_bytes(), 0);
}

/// A peer that waits a thousand times costs each of the others one look at it.
#[test]
fn one_peer_that_waits_a_thousand_times_keeps_nobody_behind_it() {
    let (answers, _, _) = room_of(128);
    let greedy = Peer::at([192, 0, 2, 1].into());
    let mut waits: Vec<_> = (0..1000)
        .map(|_| One::whose(&answers, by_peer('1', greedy.clone()), 1))
        .collect();
    assert_eq!(waiting(&mut waits).len(), 984);
    let mut other = vec![One::whose(&answers, by_url('1'), 4)];
    assert_eq!(waiting(&mut other), [] as [usize; 0]);
    drop(waits);
    assert_eq!(answers.held_bytes(), 4 * MIB);
}

#[test]
fn a_peer_is_an_address_or_a_network_of_one_customer() {
    let at = |address: &str| Peer::at(address.parse().unwrap());
    assert_eq!(at("192.0.2.7"), at("::ffff:192.0.2.7"));
    assert_ne!(at("192.0.2.7"), at("192.0.2.8"));
    assert_eq!(at("2001:db8:1:2::1"), at("2001:db8:1:2:ffff::"));
    assert_ne!(at("2001:db8:1:2::1"), at("2001:db8:1:3::1"));
    assert_eq!(at("64:ff9b::192.0.2.7"), at("192.0.2.7"));
}

/// Once the strangers' half is held, who would hold least is next.
#[test]
fn an_account_with_little_is_not_kept_out_by_the_rest() {
    let (answers, _, _) = room_of(32);
    let strangers = |digit, mib| One::whose(&answers, by_url(digit), mib);
    let mut others = vec![strangers('1', 8), strangers('3', 6)];
    let last = strangers('4', 1);
    let mut small = vec![strangers('2', 1), strangers('2', 6)];
    others.push(strangers('3', 2));
    let mut wait = || (waiting(&mut small), waiting(&mut others));
    assert_eq!(wait(), (vec![1], vec![2]));
    drop(last);
    assert_eq!(wait(), (vec![], vec![2]));
}

#[test]
fn who_waits_for_its_own_room_is_in_nobody_elses_way() {
    let (answers, _, own) = room_of(32);
    let mut limits = TenantLimits::default();
    limits.set(TenantLimit::BytesInFlight, Some(4 * MIB));
    own.note(&tenant('2'), limits);
    let in_the_way = || {
        let all = [signed('1'), by_url('1'), signed('2'), by_url('2')];
        all.map(|whose| answers.is_in_the_way(&whose))
    };
    let _held = [One::of(&answers, '1', 1), One::of(&answers, '2', 1)];
    let strangers = |digit, mib| One::whose(&answers, by_url(digit), mib);
    let mut urls = vec![strangers('1', 1), strangers('2', 2), strangers('2', 1)];
    assert_eq!(waiting(&mut urls), [2]);
    assert_eq!(in_the_way(), [false, false, false, true]);
    let mut two = vec![One::of(&answers, '2', 3)];
    assert_eq!(waiting(&mut two), [0]);
    assert_eq!(in_the_way(), [false, false, true, true]);
    drop((two, urls));
    // The strangers' half, and the node.
    let mut urls = vec![
        strangers('1', 7),
        strangers('3', 6),
        strangers('3', 2),
        strangers('4', 1),
    ];
    urls.push(strangers('4', 1));
    assert_eq!(waiting(&mut urls), [4]);
    assert_eq!(in_the_way(), [false, true, false, true]);
    let mut four = vec![One::of(&answers, '4', 14), One::of(&answers, '4', 1)];
    assert_eq!(waiting(&mut four), [1]);
    assert_eq!(in_the_way(), [true; 4]);
}

#[test]
fn what_comes_slowly_is_in_the_way_of_who_waits() {
    let (answers, _, _) = room_of(12);
    let mut all = vec![One::of(&answers, '1', 6), One::of(&answers, '1', 1)];
    let room = all[0].room().unwrap();
    let after = Duration::from_secs;
    for (held, came_bytes, slow) in [
        (after(30), 0, false),
        (after(31), 0, true),
        (after(31), 2 * COMING_BYTES_PER_S, false),
        (after(91), MIB, true),
        (after(900), u64::MAX, false),
    ] {
        assert_eq!(room.comes_too_slowly(held, came_bytes), slow, "{held:?}");
    }
    drop(all.remove(1));
    assert!(!room.comes_too_slowly(after(900), 0));
}

#[test]
fn limits_that_change_hold_for_who_waits() {
    let (answers, limits, own) = room_of(12);
    let mut all: Vec<_> = (0..4).map(|_| One::of(&answers, '1', 3)).collect();
    assert_eq!(waiting(&mut all), [2, 3]);
    limits.change(|limits| limits.bytes_in_flight = 18 * MIB);
    answers.reconfigured();
    assert_eq!(waiting(&mut all), [3]);
    let set = |bytes| {
        let mut limits = TenantLimits::default();
        limits.set(TenantLimit::BytesInFlight, bytes);
        own.note(&tenant('1'), limits);
        answers.reconfigured();
    };
    set(Some(12 * MIB));
    assert_eq!(waiting(&mut all), [] as [usize; 0]);
    set(Some(6 * MIB));
    all.push(One::of(&answers, '1', 3));
    // What is held stays; nothing is added before it fits.
    for waits in [3, 2] {
        drop(all.remove(0));
        assert_eq!(waiting(&mut all), [waits]);
    }
    drop(all.remove(0));
    assert_eq!(waiting(&mut all), [] as [usize; 0]);
    set(None);
    limits.change(|limits| limits.bytes_in_flight = MIB);
    all.push(One::of(&answers, '1', 3));
    assert_eq!(waiting(&mut all), [2]);
    drop(all);
    assert_eq!(answers.held_bytes(), 0);
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits on this thread. Nothing else wakes it: a wake-up that is lost is a test that does not end.
fn wait(mut asked: Asked) -> Room {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        match Pin::new(&mut asked).poll(&mut cx) {
            Poll::Ready(room) => return room,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn threads_never_hold_more_than_there_is_and_all_are_served() {
    const WHOLE: u64 = 12;
    let (answers, limits, _) = room_of(WHOLE);
    let held: Arc<[AtomicU64; 3]> = Arc::default();
    let threads: Vec<_> = (0..6_u64)
        .map(|number| {
            let (answers, held) = (answers.clone(), held.clone());
            thread::spawn(move || {
                let account = number as usize % 3;
                let digit = ['1', '2', '3'][account];
                let held = &held[account];
                for round in 0..2000_u64 {
                    let mib = 1 + (number + round) % 5;
                    let asked = answers.ask(signed(digit), mib * MIB);
                    if round % 7 == number {
                        continue;
                    }
                    let room = wait(asked);
                    let now = held.fetch_add(mib, Ordering::SeqCst) + mib;
                    assert!(now <= WHOLE / 2, "{now}");
                    thread::yield_now();
                    held.fetch_sub(mib, Ordering::SeqCst);
                    drop(room.kept_by(MIB as usize));
                }
            })
        })
        .collect();
    for _ in 0..100 {
        for mib in [5, WHOLE] {
            limits.change(|limits| limits.bytes_in_flight = mib * MIB);
            answers.reconfigured();
            thread::yield_now();
        }
    }
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(answers.held_bytes(), 0);
    assert!(answers.waited() > 0 && answers.book().accounts.is_empty());
}

/// Room of its own line is what it lacks, whatever the other holds.
#[test]
fn who_lacks_its_own_lines_room_is_in_its_own_way_alone() {
    let (answers, _, own) = room_of(64);
    let mut limits = TenantLimits::default();
    limits.set(TenantLimit::BytesInFlight, Some(16 * MIB));
    own.note(&tenant('1'), limits);
    let _own = [6, 6].map(|mib| One::of(&answers, '1', mib));
    let mut urls = [8, 6].map(|mib| One::whose(&answers, by_url('1'), mib));
    assert_eq!(waiting(&mut urls), [1]);
    let is = [signed('1'), by_url('1'), signed('2')].map(|whose| answers.is_in_the_way(&whose));
    assert_eq!(is, [false, true, false]);
}
