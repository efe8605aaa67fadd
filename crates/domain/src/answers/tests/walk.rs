//! A walk at random beside a model that counts anew from a list.

use super::*;

/// Answers as the module's text says, counted anew from a list.
mod model {
    use std::collections::BTreeSet;

    #[derive(Clone, Debug)]
    pub(super) struct Item {
        pub(super) id: u64,
        pub(super) account: usize,
        /// Who called, where it was by a URL.
        pub(super) peer: Option<u8>,
        pub(super) bytes: u64,
        pub(super) is_held: bool,
    }

    #[derive(Clone, Debug)]
    pub(super) struct Model {
        pub(super) whole: u64,
        pub(super) own: Vec<Option<u64>>,
        /// In the order in which they asked.
        pub(super) items: Vec<Item>,
    }

    impl Item {
        pub(super) fn by_url(&self) -> bool {
            self.peer.is_some()
        }
    }

    impl Model {
        pub(super) fn held(&self, is_it: impl Fn(&Item) -> bool) -> u64 {
            let items = self.items.iter();
            let held = items.filter(|item| item.is_held && is_it(item));
            held.map(|item| item.bytes).sum()
        }

        fn of_line(&self, account: usize, by_url: bool) -> u64 {
            self.held(|item| item.account == account && item.by_url() == by_url)
        }

        fn of_account(&self, account: usize) -> u64 {
            self.held(|item| item.account == account)
        }

        fn most(&self, account: usize) -> u64 {
            self.own[account].unwrap_or(self.whole / 2)
        }

        /// Where in the list the first of a line is.
        fn first(&self, account: usize, by_url: bool) -> Option<usize> {
            let is_it =
                |item: &Item| !item.is_held && item.account == account && item.by_url() == by_url;
            let first = |at: &usize| is_it(&self.items[*at]);
            let of_line = || (0..self.items.len()).filter(first);
            let may = of_line().find(|at| self.may_have_more(*at));
            may.or_else(|| of_line().next())
        }

        /// Whether its peer holds nothing, or less than is left of what the account's URLs may, and all.
        fn may_have_more(&self, at: usize) -> bool {
            let Item { account, peer, .. } = self.items[at];
            let left = (self.most(account) / 2).saturating_sub(self.of_line(account, true));
            let left_of_node = (self.whole / 2).saturating_sub(self.held(Item::by_url));
            let held = self.held(|item| item.account == account && item.peer == peer);
            let of_node = self.held(|item| item.peer == peer);
            let less = |held, left| held == 0 || held < left;
            peer.is_none() || less(held, left) && less(of_node, left_of_node)
        }

        /// Whether signed calls of an account wait for its room.
        fn own_goes_first(&self, account: usize) -> bool {
            self.first(account, false).is_some_and(|own| {
                self.of_line(account, false) > 0
                    && self.of_account(account) + self.items[own].bytes > self.most(account)
            })
        }

        /// Whether its peer's part is what it lacks.
        fn waits_for_part(&self, at: usize) -> bool {
            let account = self.items[at].account;
            let left = self.of_line(account, true) < self.most(account) / 2;
            let left_of_node = self.held(Item::by_url) < self.whole / 2;
            left && left_of_node && !self.own_goes_first(account) && !self.may_have_more(at)
        }

        /// Whether its account has room for it.
        fn has_account_room(&self, at: usize) -> bool {
            let Item { account, bytes, .. } = self.items[at];
            let by_url = self.items[at].by_url();
            let most = self.most(account);
            if self.of_account(account) + bytes > most {
                return false;
            }
            if !by_url {
                return true;
            }
            !self.own_goes_first(account)
                && self.of_line(account, true) < most / 2
                && self.may_have_more(at)
        }

        fn has_node_room(&self, at: usize) -> bool {
            let Item { bytes, .. } = self.items[at];
            let urls = self.held(Item::by_url);
            (!self.items[at].by_url() || urls < self.whole / 2)
                && self.held(|_| true) + bytes <= self.whole
        }

        fn firsts(&self) -> Vec<usize> {
            let all = (0..self.own.len()).flat_map(|account| [(account, false), (account, true)]);
            all.filter_map(|(account, by_url)| self.first(account, by_url))
                .collect()
        }

        fn next(&self) -> Option<usize> {
            let firsts = self.firsts();
            let line_bytes = |at: &usize| {
                let item = &self.items[*at];
                self.of_line(item.account, item.by_url())
            };
            if let Some(idle) = firsts.iter().find(|at| line_bytes(at) == 0) {
                return Some(*idle);
            }
            let rank = |at: &usize| (line_bytes(at) + self.items[*at].bytes, self.items[*at].id);
            for by_url in [false, true] {
                let fit = firsts.iter().copied();
                let fit = fit.filter(|at| self.items[*at].by_url() == by_url);
                let least = fit.filter(|at| self.has_account_room(*at)).min_by_key(rank);
                if let Some(at) = least {
                    return self.has_node_room(at).then_some(at);
                }
            }
            None
        }

        pub(super) fn serve(&mut self) {
            while let Some(at) = self.next() {
                self.items[at].is_held = true;
            }
        }

        /// Who would be served if these were not here, of those that wait.
        fn served_without(&self, gone: &[u64]) -> Vec<u64> {
            let mut other = self.clone();
            other.items.retain(|item| !gone.contains(&item.id));
            let waits: Vec<_> = other.waiting();
            other.serve();
            let still = other.waiting();
            waits.into_iter().filter(|id| !still.contains(id)).collect()
        }

        pub(super) fn waiting(&self) -> Vec<u64> {
            let waits = self.items.iter().filter(|item| !item.is_held);
            waits.map(|item| item.id).collect()
        }

        /// Of each caller of an account who holds something: whether somebody would be served if some of
        /// that went. Who holds its part and waits is served by what its own let go, and nobody else's.
        pub(super) fn in_the_way(&self) -> Vec<(usize, Option<u8>, bool)> {
            let rooms: Vec<_> = self.items.iter().filter(|item| item.is_held).collect();
            let firsts: Vec<_> = self.firsts().iter().map(|at| self.items[*at].id).collect();
            let served: Vec<Vec<u64>> = (0..1_u32 << rooms.len())
                .map(|set| {
                    let gone = rooms.iter().enumerate();
                    let gone = gone.filter(|(bit, _)| set & (1 << bit) != 0);
                    let gone: Vec<_> = gone.map(|(_, room)| room.id).collect();
                    let mut served = self.served_without(&gone);
                    served.retain(|id| firsts.contains(id));
                    served
                })
                .collect();
            let mut lines = Vec::new();
            let callers: BTreeSet<_> = rooms.iter().map(|room| (room.account, room.peer)).collect();
            for (account, peer) in callers {
                let mine: u32 = rooms
                    .iter()
                    .enumerate()
                    .filter(|(_, room)| (room.account, room.peer) == (account, peer))
                    .map(|(bit, _)| 1 << bit)
                    .sum();
                let sets = || 1..1_u32 << rooms.len();
                let of_it = |id: &u64| {
                    let at = self.items.iter().position(|item| item.id == *id);
                    at.is_some_and(|at| !self.waits_for_part(at) || self.items[at].peer == peer)
                };
                let alone =
                    sets().any(|set| set & !mine == 0 && served[set as usize].iter().any(of_it));
                lines.push((account, peer, alone));
            }
            lines
        }
    }
}

/// Numbers from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// One answer of the walk: as in the model.
struct Walker {
    id: u64,
    asked: Asked,
    woken: Arc<Woken>,
    was_pending: bool,
}

impl Walker {
    fn poll(&mut self) {
        if self
            .asked
            .0
            .as_ref()
            .is_some_and(|room| room.place.is_none())
        {
            return;
        }
        let waker = Waker::from(self.woken.clone());
        match Pin::new(&mut self.asked).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(room) => self.asked = Asked(Some(room)),
            Poll::Pending => self.was_pending = true,
        }
    }
}

const PEERS: u8 = 3;
const DIGITS: [char; 5] = ['1', '2', '3', '4', '5'];

fn whose_of(account: usize, peer: Option<u8>) -> Whose {
    Whose {
        by_url: peer.map(peer_of),
        ..signed(DIGITS[account])
    }
}

fn peer_of(peer: u8) -> Peer {
    Peer::at([192, 0, 2, peer].into())
}

/// What is held and who waits is as the model says.
fn is_as(answers: &Answers, model: &model::Model, all: &[Walker], said: &str) {
    assert_eq!(answers.held_bytes(), model.held(|_| true), "{said}");
    {
        let book = answers.book();
        let of_peers = (0..PEERS).map(|peer| {
            let held = model.held(|item| item.peer == Some(peer));
            (peer_of(peer), held)
        });
        let of_peers = of_peers.filter(|(_, held)| *held > 0).collect();
        assert_eq!(book.peers.0, of_peers, "{said}");
        assert_eq!(book.urls_bytes, model.held(model::Item::by_url), "{said}");
        for (account, digit) in DIGITS.iter().enumerate().take(model.own.len()) {
            let is_known = model.items.iter().any(|item| item.account == account);
            let there = book.accounts.get(&tenant(*digit));
            assert_eq!(there.is_some(), is_known, "{said}");
            for by_url in [false, true] {
                let held = model.held(|item| item.account == account && item.by_url() == by_url);
                let line = there.map(|there| &there.lines[usize::from(by_url)]);
                assert_eq!(line.map_or(0, |line| line.held_bytes), held, "{said}");
                let peers = line.map_or(0, |line| line.peers.0.values().sum());
                assert_eq!(peers, if by_url { held } else { 0 }, "{said}");
                for (peer, held) in line.iter().flat_map(|line| &line.peers.0) {
                    let is_it = |item: &model::Item| {
                        item.account == account && item.peer.map(peer_of).as_ref() == Some(peer)
                    };
                    assert_eq!(model.held(is_it), *held, "{said}");
                }
            }
        }
    }
    for (one, item) in all.iter().zip(&model.items) {
        assert_eq!(one.id, item.id);
        assert_eq!(
            one.asked.is_given(),
            item.is_held,
            "{said}: {item:?} {model:?}"
        );
        let woken = one.woken.0.load(Ordering::Relaxed);
        assert_eq!(woken, one.was_pending && item.is_held, "{said}: {item:?}");
    }
}

#[test]
fn answers_that_walk_at_random_are_as_the_text_says() {
    let (mut steps, mut waits, mut trues, mut falses) = (0, 0, 0, 0);
    for seed in 0..60 {
        let mut dice = Dice(seed);
        let mut whole = 8 + dice.below(32);
        let (answers, limits, own) = room_of(whole);
        let accounts = 3 + dice.below(3) as usize;
        let mut model = model::Model {
            whole: whole * MIB,
            own: vec![None; accounts],
            items: Vec::new(),
        };
        let (mut all, mut next_id) = (Vec::<Walker>::new(), 0);
        let largest = 1 + dice.below(whole);
        let asks = 3 + dice.below(5);
        for step in 0..200 {
            steps += 1;
            let said = match dice.below(12) {
                kind if kind < asks => {
                    let account = dice.below(accounts as u64) as usize;
                    let by_url = dice.below(2) == 1;
                    let peer = by_url.then(|| dice.below(PEERS.into()) as u8);
                    let bytes = dice.below(largest + 1) * MIB;
                    let bytes = bytes.max(MIB / 4);
                    let asked = answers.ask(whose_of(account, peer), bytes);
                    let mut one = Walker {
                        id: next_id,
                        asked,
                        woken: Arc::default(),
                        was_pending: false,
                    };
                    if dice.below(4) > 0 {
                        one.poll();
                    }
                    model.items.push(model::Item {
                        id: next_id,
                        account,
                        peer,
                        bytes,
                        is_held: false,
                    });
                    all.push(one);
                    next_id += 1;
                    format!("{seed}/{step} ask {account} {peer:?} {bytes}")
                }
                kind if kind < 10 && !all.is_empty() => {
                    let at = dice.below(all.len() as u64) as usize;
                    match dice.below(4) {
                        0 => all[at].poll(),
                        1 if all[at].asked.is_given() => {
                            all[at].poll();
                            let room = all[at].asked.0.take().unwrap();
                            let bytes = 1 + dice.below(room.bytes + MIB);
                            match room.kept_by(bytes as usize) {
                                Some(room) => {
                                    all[at].asked = Asked(Some(room));
                                    let item = &mut model.items[at];
                                    item.bytes = item.bytes.min(bytes);
                                }
                                None => {
                                    all.remove(at);
                                    model.items.remove(at);
                                }
                            }
                        }
                        _ => {
                            drop(all.remove(at));
                            model.items.remove(at);
                        }
                    }
                    format!("{seed}/{step} at {at}")
                }
                10 if dice.below(2) == 0 => {
                    whole = 4 + dice.below(40);
                    limits.set(Limits {
                        bytes_in_flight: whole * MIB,
                        ..Limits::default()
                    });
                    model.whole = whole * MIB;
                    answers.reconfigured();
                    format!("{seed}/{step} whole {whole}")
                }
                11 if dice.below(2) == 0 => {
                    let account = dice.below(accounts as u64) as usize;
                    let most = (dice.below(3) > 0).then(|| (1 + dice.below(whole)) * MIB);
                    let mut limits = TenantLimits::default();
                    limits.set(TenantLimit::BytesInFlight, most);
                    own.note(&tenant(DIGITS[account]), limits);
                    model.own[account] = most;
                    answers.reconfigured();
                    format!("{seed}/{step} own {account} {most:?}")
                }
                _ => continue,
            };
            model.serve();
            is_as(&answers, &model, &all, &said);
            waits += u64::from(!model.waiting().is_empty());
            let rooms = model.items.iter().filter(|item| item.is_held).count();
            if rooms > 8 || model.waiting().is_empty() || step % 4 > 0 {
                continue;
            }
            for (account, peer, alone) in model.in_the_way() {
                let is = answers.is_in_the_way(&whose_of(account, peer));
                *(if is { &mut trues } else { &mut falses }) += 1;
                assert!(is || !alone, "{said}: {account} {peer:?} {model:?}");
            }
        }
        // Each that waits is served once those that hold have gone, whoever goes first.
        while !all.is_empty() {
            let held: Vec<_> = (0..all.len())
                .filter(|at| model.items[*at].is_held)
                .collect();
            assert!(!held.is_empty(), "{seed}: all wait {model:?}");
            let at = held[dice.below(held.len() as u64) as usize];
            drop(all.remove(at));
            model.items.remove(at);
            model.serve();
            is_as(&answers, &model, &all, "the end");
        }
        assert_eq!(answers.held_bytes(), 0);
        assert!(answers.book().accounts.is_empty());
    }
    assert!(waits > steps / 4 && trues > 0 && falses > 0);
}
