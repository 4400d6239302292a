//! Spreading units of work over the threads of a device.

use super::workers::Workers;
use crate::error::{Error, Result};
use smallvec::SmallVec;
use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The threads of one device; made when first needed.
#[derive(Debug)]
pub struct Threads {
    count: usize,
    workers: OnceLock<Workers>,
}

/// Whether work is shared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Worth {
    /// It takes no longer than sharing it.
    Alone,
    /// With threads that are awake, or where such work follows such work: waking one takes 12 us on a virtual machine.
    Awake,
    /// With all.
    Shared,
}

impl Worth {
    /// Of `work`, more than `least` of which takes longer than sharing it.
    pub fn of(work: usize, least: usize) -> Worth {
        match () {
            _ if work <= least => Worth::Alone,
            _ if work / 4 <= least => Worth::Awake,
            _ => Worth::Shared,
        }
    }
}

/// More threads than any machine has cores for are not made: each costs memory, and the time to start it.
const MOST: usize = 1024;

impl Threads {
    /// `count` threads, at least one.
    pub fn new(count: usize) -> Threads {
        Threads { count: count.clamp(1, MOST), workers: OnceLock::new() }
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Calls `f(next)` on up to all threads at once; `next()` hands out units `0..units` in order.
    pub fn spread(&self, units: usize, worth: Worth, f: &(impl Fn(&Next<'_>) + Sync)) -> Result<()> {
        self.share(1, units, worth, f)
    }

    /// As [`Threads::spread`], but each thread has a run of units to itself and takes from the others' after it: the other
    /// way round, memory that is read once came up to a third slower in some runs, and never faster.
    pub fn spread_apart(&self, units: usize, worth: Worth, f: &(impl Fn(&Next<'_>) + Sync)) -> Result<()> {
        self.share(if worth == Worth::Alone { 1 } else { self.count.min(units).max(1) }, units, worth, f)
    }

    fn share(&self, runs: usize, units: usize, worth: Worth, f: &(impl Fn(&Next<'_>) + Sync)) -> Result<()> {
        let taken: SmallVec<[AtomicUsize; 8]> = (0..runs).map(|r| AtomicUsize::new(r * units / runs)).collect();
        let work = |thread: usize| {
            f(&|| {
                (0..runs).find_map(|r| {
                    let run = (thread + r) % runs;
                    let n = taken[run].fetch_add(1, Ordering::Relaxed);
                    (n < (run + 1) * units / runs).then_some(n)
                })
            })
        };
        let helpers = (self.count - 1).min(units.saturating_sub(1));
        if worth == Worth::Alone || helpers == 0 {
            work(0);
            return Ok(());
        }
        // The calling thread works too.
        match self.workers.get_or_init(|| Workers::new(self.count - 1)).run(helpers, worth == Worth::Shared, &work) {
            true => Ok(()),
            false => Err(Error::Internal { stage: "cpu", detail: "a worker thread panicked".into() }),
        }
    }
}

/// Hands out the next unit of work.
pub type Next<'a> = dyn Fn() -> Option<usize> + 'a;

/// Hands out `0..units` on one thread.
pub fn in_turn(units: usize) -> impl Fn() -> Option<usize> {
    let at = Cell::new(0);
    move || {
        let n = at.replace(at.get() + 1);
        (n < units).then_some(n)
    }
}

/// Threads asked for by `NDCUDA_NUM_THREADS`, else those of the machine.
pub fn from_environment() -> Result<usize> {
    match std::env::var("NDCUDA_NUM_THREADS") {
        // Empty is as good as unset.
        Ok(v) if !v.trim().is_empty() => match v.trim().parse() {
            Ok(n) if n > 0 => Ok(n),
            _ => Err(Error::Config {
                name: "NDCUDA_NUM_THREADS",
                value: v,
                reason: "a positive whole number is needed".into(),
            }),
        },
        _ => Ok(std::thread::available_parallelism().map_or(1, usize::from)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unit_is_handed_out_once() {
        for count in [1, 2, 5] {
            let threads = Threads::new(count);
            for units in [0, 1, 3, 7, 1000] {
                for (apart, worth) in [
                    (false, Worth::Shared),
                    (true, Worth::Awake),
                    (false, Worth::Awake),
                    (true, Worth::Shared),
                    (true, Worth::Alone),
                ] {
                    let taken: Vec<AtomicUsize> = (0..units).map(|_| AtomicUsize::new(0)).collect();
                    let all = |next: &Next<'_>| {
                        while let Some(u) = next() {
                            taken[u].fetch_add(1, Ordering::Relaxed);
                        }
                    };
                    let done = match apart {
                        true => threads.spread_apart(units, worth, &all),
                        false => threads.spread(units, worth, &all),
                    };
                    done.unwrap();
                    assert!(taken.iter().all(|t| t.load(Ordering::Relaxed) == 1), "{count} threads, {units} units");
                }
            }
        }
    }
}
