//! How much of the processor each instance of a crowd asks for.
//!
//! Every instance is a group of its own to the kernel, with a weight by its memory. A function with
//! sixty-four busy instances would weigh sixty-four times as much as one that is called now and
//! then, whose call would stand in line behind all of them. So the weight belongs to the function:
//! it is halved with every doubling of the instances that it needs at once, and given back when they
//! have been fewer for a while: with the next call, or by the keeper. What it refuses: to count time.
//! Nobody is held back while there is a core to spare; weights matter between those who want the
//! same one. What a function weighs is its tenant's in turn, by the same rule: `tenants`.
//!
//! Powers of two keep the writing rare: an instance is told about as often as the crowd doubles.

use freehold_domain::time::Mono;

const SECOND_NS: u64 = 1_000_000_000;

/// The second in which a crowd is counted.
pub(crate) fn second(now: Mono) -> u64 {
    now.0 / SECOND_NS
}

/// See the module.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Crowd {
    /// How often the weight is halved.
    halvings: u8,
    /// The second that `most` is of.
    second: u64,
    /// Instances that were needed at once: within the second, and within the one before.
    most: usize,
    most_before: usize,
}

impl Crowd {
    /// How often the weight of each is halved.
    pub(crate) fn halvings(self) -> u8 {
        self.halvings
    }

    /// The second that was seen last.
    pub(crate) fn second(self) -> u64 {
        self.second
    }

    /// The most that were needed at once in the second that was seen last.
    pub(crate) fn most(self) -> usize {
        self.most
    }

    /// When to count again, as long as it weighs less than one alone: it may have shrunk by then.
    pub(crate) fn again(self) -> Option<Mono> {
        let next = Mono(self.second.saturating_add(1).saturating_mul(SECOND_NS));
        (self.halvings > 0).then_some(next)
    }

    /// Notes how many are needed now; whether that changes their weight.
    ///
    /// A crowd that grows weighs less at once. One that has shrunk weighs more when two seconds
    /// saw no more of it: calls come and go many times in between.
    pub(crate) fn note(&mut self, needed: usize, second: u64) -> bool {
        // Another core's clock was read earlier and its note comes later: still that second.
        if second <= self.second {
            if needed <= self.most {
                return false;
            }
            self.most = needed;
        } else {
            let is_next = second == self.second.wrapping_add(1);
            self.most_before = if is_next { self.most } else { 0 };
            (self.second, self.most) = (second, needed);
        }
        let halvings = halvings_of(self.most.max(self.most_before));
        std::mem::replace(&mut self.halvings, halvings) != halvings
    }
}

/// So often that all of them together weigh no more than one, and more than half of one.
fn halvings_of(needed: usize) -> u8 {
    let all = needed.max(1).next_power_of_two();
    u8::try_from(all.trailing_zeros()).unwrap_or(u8::MAX)
}

/// The weight of one of a crowd.
pub(crate) fn weight_of(weight: u32, halvings: u8) -> u32 {
    weight.checked_shr(halvings.into()).unwrap_or(0).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_together_weigh_about_as_much_as_one() {
        const ONE: u32 = 1 << 14;
        for needed in 0..5000_usize {
            let each = weight_of(ONE, halvings_of(needed));
            let all = each as usize * needed.max(1);
            assert!(
                (ONE as usize / 2 + 1..=ONE as usize).contains(&all),
                "{needed}: {all}"
            );
        }
        assert_eq!(weight_of(1, 0), 1);
        assert_eq!(weight_of(74, 40), 1, "nobody weighs nothing");
    }

    #[test]
    fn a_crowd_weighs_less_at_once_and_more_later() {
        let mut crowd = Crowd::default();
        let mut check = |needed: usize, second: u64, changes: bool, halvings: u8| {
            assert_eq!(
                crowd.note(needed, second),
                changes,
                "{needed} in second {second}"
            );
            assert_eq!(crowd.halvings(), halvings, "{needed} in second {second}");
        };
        check(1, 10, false, 0);
        check(2, 10, true, 1);
        check(3, 10, true, 2);
        check(4, 10, false, 2);
        check(64, 10, true, 6);
        // Calls end and begin: still the same crowd.
        check(1, 10, false, 6);
        check(1, 11, false, 6);
        check(30, 11, false, 6);
        check(1, 12, true, 5);
        check(1, 13, true, 0);
        // Nobody was there to count in between.
        check(8, 20, true, 3);
        // A note that was late by a second.
        check(1, 21, false, 3);
        check(1, 20, false, 3);
        check(1, 21, false, 3);
        check(1, 30, true, 0);
    }

    #[test]
    fn a_crowd_is_counted_again_until_it_is_one() {
        let mut crowd = Crowd::default();
        let mut now = Mono(7 * SECOND_NS + 5);
        crowd.note(1, second(now));
        assert_eq!(crowd.again(), None);
        crowd.note(64, second(now));
        let mut looks = 0;
        while let Some(again) = crowd.again() {
            assert!(again > now, "time passes");
            now = again;
            crowd.note(0, second(now));
            looks += 1;
        }
        assert_eq!(looks, 2, "seconds that saw no more of it");
    }

    /// However a crowd comes and goes, weights are written a few times a second.
    #[test]
    fn weights_change_no_more_often_than_the_crowd_doubles() {
        let mut random = 7_u64;
        let mut crowd = Crowd::default();
        for second in 0..200 {
            let mut changes = 0;
            for _ in 0..1000 {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                changes += u32::from(crowd.note((random >> 33) as usize % 300, second));
            }
            assert!(changes <= 10, "{changes} in second {second}");
        }
    }
}
