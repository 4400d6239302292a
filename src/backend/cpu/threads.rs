//! Spreading units of work over the threads of a device.

use crate::error::{Error, Result};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The threads of one device; made when first needed.
#[derive(Debug)]
pub struct Threads {
    count: usize,
    pool: OnceLock<Option<rayon_core::ThreadPool>>,
}

impl Threads {
    /// `count` threads, at least one.
    pub fn new(count: usize) -> Threads {
        Threads { count: count.max(1), pool: OnceLock::new() }
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.count
    }

    fn pool(&self) -> Option<&rayon_core::ThreadPool> {
        let make = || {
            let name = |n| format!("ndcuda-{n}");
            // The calling thread works too.
            rayon_core::ThreadPoolBuilder::new().num_threads(self.count - 1).thread_name(name).build().ok()
        };
        self.pool.get_or_init(make).as_ref()
    }

    /// Calls `f(next)` on up to all threads at once; `next()` hands out units `0..units` in order.
    /// `serial`: the work is too little to share.
    pub fn spread(&self, units: usize, serial: bool, f: &(impl Fn(&Next<'_>) + Sync)) -> Result<()> {
        let taken = AtomicUsize::new(0);
        let next = || {
            let n = taken.fetch_add(1, Ordering::Relaxed);
            (n < units).then_some(n)
        };
        let helpers = (self.count - 1).min(units.saturating_sub(1));
        let pool = if serial || helpers == 0 { None } else { self.pool() };
        match pool {
            None => f(&next),
            Some(pool) => {
                let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    pool.in_place_scope(|s| {
                        for _ in 0..helpers {
                            s.spawn(|_| f(&next));
                        }
                        f(&next);
                    });
                }));
                if panicked.is_err() {
                    return Err(Error::Internal { stage: "cpu", detail: "a worker thread panicked".into() });
                }
            }
        }
        Ok(())
    }
}

/// Hands out the next unit of work.
pub type Next<'a> = dyn Fn() -> Option<usize> + 'a;

/// Threads asked for by `NDCUDA_NUM_THREADS`, else those of the machine.
pub fn from_environment() -> Result<usize> {
    match std::env::var("NDCUDA_NUM_THREADS") {
        Ok(v) => match v.trim().parse() {
            Ok(n) if n > 0 => Ok(n),
            _ => Err(Error::Config {
                name: "NDCUDA_NUM_THREADS",
                value: v,
                reason: "a positive whole number is needed".into(),
            }),
        },
        Err(_) => Ok(std::thread::available_parallelism().map_or(1, usize::from)),
    }
}
