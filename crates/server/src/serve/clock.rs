//! The real clock and the real source of ids.

use freehold_domain::{
    BootTime, BoxFuture, Mono, Wall,
    ports::{Clock, Ids},
};
use ring::rand::{SecureRandom, SystemRandom};
use rustix::time::{ClockId, clock_gettime};
use std::{
    cell::RefCell,
    fs,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use uuid::{Builder, Uuid};

/// The machine's clock; its monotonic origin is the start of the process.
pub(crate) struct SystemClock {
    origin: Instant,
    boot: Option<u64>,
}

impl SystemClock {
    pub(crate) fn new() -> Self {
        Self {
            origin: Instant::now(),
            boot: boot(),
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Mono {
        Mono(u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn wall(&self) -> Wall {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Wall(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn boot_time(&self) -> BootTime {
        let since = clock_gettime(ClockId::Boottime);
        let seconds = Duration::from_secs(u64::try_from(since.tv_sec).unwrap_or(0));
        BootTime {
            boot: self.boot,
            since: seconds + Duration::from_nanos(u64::try_from(since.tv_nsec).unwrap_or(0)),
        }
    }

    fn sleep_until(&self, at: Mono) -> BoxFuture<'static, ()> {
        let at = self.origin + Duration::from_nanos(at.0);
        Box::pin(tokio::time::sleep_until(at.into()))
    }
}

/// Which boot of the machine this is, where it tells: half of the kernel's number for it.
fn boot() -> Option<u64> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let (half, _) = id.trim().parse::<Uuid>().ok()?.as_u64_pair();
    Some(half)
}

/// UUIDv7s of the machine's randomness, drawn ahead: a system call for sixty of them, not for one.
///
/// The twelve bits behind the version are the fraction of the millisecond, so that ids of one
/// thread sort by time within it, too (RFC 9562, section 6.2, method 3); 62 bits are random.
pub(crate) struct SystemIds;

/// Random bytes that are drawn at once.
const DRAWN: usize = 512;

/// What one thread has drawn and not used yet.
struct Pool {
    bytes: [u8; DRAWN],
    used: usize,
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; DRAWN], used: DRAWN }) };
}

impl Pool {
    /// Eight bytes that nobody gets again.
    fn take(&mut self) -> [u8; 8] {
        if self.used + 8 > DRAWN {
            SystemRandom::new()
                .fill(&mut self.bytes)
                .expect("the kernel has random bytes since it booted");
            self.used = 0;
        }
        let mut taken = [0; 8];
        let from = &mut self.bytes[self.used..self.used + 8];
        taken.copy_from_slice(from);
        from.fill(0);
        self.used += 8;
        taken
    }
}

impl Ids for SystemIds {
    fn uuid(&self) -> Uuid {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let fraction = (u64::from(since.subsec_nanos() % 1_000_000) << 12) / 1_000_000;
        let mut low = [0; 10];
        low[..2].copy_from_slice(&(fraction as u16).to_be_bytes());
        low[2..].copy_from_slice(&POOL.with_borrow_mut(Pool::take));
        let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        Builder::from_unix_timestamp_millis(millis, &low).into_uuid()
    }

    fn random(&self) -> u64 {
        u64::from_ne_bytes(POOL.with_borrow_mut(Pool::take))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn all_clocks_of_a_boot_name_it_and_its_time_goes_on() {
        let (first, second) = (SystemClock::new(), SystemClock::new());
        let (before, after) = (first.boot_time(), second.boot_time());
        assert!(before.boot.is_some());
        assert_eq!(before.boot, after.boot);
        assert!(Duration::ZERO < before.since && before.since <= after.since);
    }

    #[test]
    fn ids_are_of_version_7_sort_by_time_and_do_not_repeat() {
        let ids: Vec<Uuid> = (0..10_000).map(|_| SystemIds.uuid()).collect();
        assert!(ids.iter().all(|id| id.get_version_num() == 7));
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
        // The time and its fraction; two within 244 ns of each other may be the same.
        let times: Vec<u128> = ids.iter().map(|id| id.as_u128() >> 64).collect();
        assert!(times.is_sorted());
        let low: HashSet<u64> = ids.iter().map(|id| id.as_u128() as u64).collect();
        assert_eq!(low.len(), ids.len(), "each has random bits of its own");
    }
}
