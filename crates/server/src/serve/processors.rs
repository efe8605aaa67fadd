//! Which processor each serving thread keeps to.
//!
//! Where there are as many threads as processors each has its own. Left to itself the kernel puts two of
//! them onto one now and then and leaves them there for as long as guests keep the other busy; every
//! caller stands behind both. With fewer threads than processors they go where there is room, and whoever
//! gives the server fewer processors (`taskset`, a cpuset) is obeyed.

use rustix::{
    process::getppid,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

/// What the process was given, and each thread's own.
#[derive(Clone)]
pub(crate) struct Processors {
    given: Option<CpuSet>,
    own: Vec<CpuSet>,
}

impl Processors {
    /// For so many serving threads, as this thread's are now.
    pub(crate) fn of(threads: usize) -> Self {
        // A machine of more processors than the set holds is none to keep to.
        let given = sched_getaffinity(None).ok();
        let own = given.map_or_else(Vec::new, |given| one_each(&given, threads));
        Self { given, own }
    }

    /// Keeps the calling thread, the serving thread `at`, to its own.
    pub(crate) fn keep(&self, at: usize) {
        if let Some(own) = self.own.get(at)
            && let Err(error) = sched_setaffinity(None, own)
        {
            tracing::debug!(%error, core = at, "a serving thread goes where the kernel puts it");
        }
    }

    /// Lets the calling thread, begun by a serving one, go where it likes.
    pub(crate) fn let_go(&self) {
        if let (Some(given), false) = (&self.given, self.own.is_empty()) {
            // It stays where it is otherwise, and is only slower.
            let _ = sched_setaffinity(None, given);
        }
    }
}

/// A processor for each thread, none where there are more or fewer.
fn one_each(given: &CpuSet, threads: usize) -> Vec<CpuSet> {
    let each = (0..CpuSet::MAX_CPU).filter(|&processor| given.is_set(processor));
    let each: Vec<_> = each
        .map(|processor| {
            let mut own = CpuSet::new();
            own.set(processor);
            own
        })
        .collect();
    if each.len() == threads { each } else { vec![] }
}

/// Lets a child that a serving thread has begun go where its parent's first thread may.
pub(crate) fn as_parent() {
    if let Ok(given) = sched_getaffinity(getppid()) {
        let _ = sched_setaffinity(None, &given);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(processors: &[usize]) -> CpuSet {
        let mut set = CpuSet::new();
        processors.iter().for_each(|&processor| set.set(processor));
        set
    }

    #[test]
    fn each_thread_has_one_of_those_that_were_given() {
        assert_eq!(one_each(&set(&[1, 5]), 2), [set(&[1]), set(&[5])]);
    }

    #[test]
    fn more_or_fewer_threads_keep_to_none() {
        assert_eq!(one_each(&set(&[1, 5]), 1), []);
        assert_eq!(one_each(&set(&[1, 5]), 3), []);
    }
}
