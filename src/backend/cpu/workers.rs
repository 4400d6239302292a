//! The worker threads of a device: they look out for work for a while before they sleep, and a caller waits for those at work only,
//! never for one that has not come to it yet.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// As long as a thread looks out for the next job, or a caller for the end of the last, before it sleeps: several times what waking one takes.
const LOOKOUT: Duration = Duration::from_micros(100);

/// Jobs one after the other that are worth a waking thread, where one alone is not.
const ROW: u32 = 16;

/// Threads, and what they are to do.
pub struct Workers {
    shared: Arc<Shared>,
    threads: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    /// Jobs in the queue, to look at without its lock.
    jobs: AtomicUsize,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Arc<Job>>,
    asleep: usize,
    /// When the last job came, and how many have come in a row.
    last: Option<Instant>,
    row: u32,
    closed: bool,
}

/// Work that a caller shares, as long as it does.
struct Job {
    /// Of the caller, which outlives every call: see [`Workers::run`].
    work: *const (dyn Fn(usize) + Sync),
    /// Threads that may still come to it; changed under the queue's lock.
    seats: AtomicUsize,
    /// Threads that came, and will come, in all.
    helpers: usize,
    /// Threads at work, and [`WAITING`].
    inside: AtomicUsize,
    panicked: AtomicBool,
    caller: Thread,
}

/// Set in [`Job::inside`] where the caller sleeps until the others are gone.
const WAITING: usize = 1 << (usize::BITS - 1);

// SAFETY: `work` may be called from any thread (`Sync`), and is only while it lives: see `Workers::run`. The rest is Send and Sync by itself.
unsafe impl Send for Job {}
// SAFETY: as above.
unsafe impl Sync for Job {}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("threads", &self.threads).finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code of callers runs under it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks until `done`, for [`LOOKOUT`] at most; whether it is.
    fn look_out(done: impl Fn() -> bool) -> bool {
        let start = Instant::now();
        loop {
            for _ in 0..32 {
                if done() {
                    return true;
                }
                std::hint::spin_loop();
            }
            match start.elapsed() {
                t if t >= LOOKOUT => return false,
                // Where cores are fewer than threads, who is waited for may need this one.
                t if t >= LOOKOUT / 20 => thread::yield_now(),
                _ => (),
            }
        }
    }

    /// The next job, and which of its helpers this thread is; none at the end.
    fn next(&self) -> Option<(Arc<Job>, usize)> {
        Self::look_out(|| self.jobs.load(Ordering::Relaxed) != 0);
        let mut state = self.lock();
        loop {
            if let Some(job) = state.queue.front() {
                let job = job.clone();
                // In this order: a caller that sees no seat left sees who took them.
                job.inside.fetch_add(1, Ordering::Relaxed);
                let left = job.seats.fetch_sub(1, Ordering::Release) - 1;
                if left == 0 {
                    state.queue.pop_front();
                    self.jobs.store(state.queue.len(), Ordering::Relaxed);
                }
                let number = job.helpers - left;
                return Some((job, number));
            }
            if state.closed {
                return None;
            }
            state.asleep += 1;
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.asleep -= 1;
        }
    }

    fn serve(&self) {
        while let Some((job, number)) = self.next() {
            // SAFETY: this thread is counted in `inside` since the job was in the queue, so its caller waits in `Workers::run`.
            let work = unsafe { &*job.work };
            if catch_unwind(AssertUnwindSafe(|| work(number))).is_err() {
                job.panicked.store(true, Ordering::Relaxed);
            }
            // Release: what was written is there for the caller.
            if job.inside.fetch_sub(1, Ordering::AcqRel) == WAITING | 1 {
                job.caller.unpark();
            }
        }
    }
}

impl Workers {
    /// Starts `threads` threads, or as many as the system lets it.
    pub fn new(threads: usize) -> Workers {
        let shared = Arc::<Shared>::default();
        let start = |n: usize| {
            let shared = shared.clone();
            thread::Builder::new().name(format!("ndcuda-{n}")).spawn(move || shared.serve()).is_ok()
        };
        let threads = (0..threads).take_while(|&n| start(n)).count();
        Workers { shared, threads }
    }

    /// Calls `work(0)` here and `work(1)` to `work(helpers)` on as many threads as come before the first is done; whether none panicked. Those
    /// that sleep come if it is to `wake` them, or if such jobs come in a row.
    pub fn run(&self, helpers: usize, wake: bool, work: &(dyn Fn(usize) + Sync)) -> bool {
        let mut state = self.shared.lock();
        let now = Instant::now();
        let soon = state.last.replace(now).is_some_and(|t| now - t < LOOKOUT);
        state.row = if soon { state.row.saturating_add(1) } else { 0 };
        let wake = if wake || state.row >= ROW { state.asleep } else { 0 };
        let helpers = helpers.min(self.threads - state.asleep + wake);
        if helpers == 0 {
            drop(state);
            return catch_unwind(AssertUnwindSafe(|| work(0))).is_ok();
        }
        // SAFETY: only the lifetime changes. Threads call it while they count in `inside`, where they come only under the queue's lock and
        // from the queue; this function takes the job from there and waits until none is inside before it returns, and nothing unwinds until then.
        let forever =
            unsafe { std::mem::transmute::<*const (dyn Fn(usize) + Sync), *const (dyn Fn(usize) + Sync)>(work) };
        let job = Arc::new(Job {
            work: forever,
            seats: AtomicUsize::new(helpers),
            helpers,
            inside: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
            caller: thread::current(),
        });
        state.queue.push_back(job.clone());
        self.shared.jobs.store(state.queue.len(), Ordering::Relaxed);
        drop(state);
        match wake {
            2.. if wake <= helpers => self.shared.wake.notify_all(),
            _ => (0..wake.min(helpers)).for_each(|_| self.shared.wake.notify_one()),
        }
        let panicked = catch_unwind(AssertUnwindSafe(|| work(0))).is_err();
        if job.seats.load(Ordering::Acquire) != 0 {
            let mut state = self.shared.lock();
            state.queue.retain(|j| !Arc::ptr_eq(j, &job));
            self.shared.jobs.store(state.queue.len(), Ordering::Relaxed);
        }
        // Acquire: what they wrote is there.
        if !Shared::look_out(|| job.inside.load(Ordering::Acquire) == 0)
            && job.inside.fetch_or(WAITING, Ordering::AcqRel) != 0
        {
            while job.inside.load(Ordering::Acquire) != WAITING {
                thread::park();
            }
        }
        !panicked && !job.panicked.load(Ordering::Relaxed)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn many_callers_get_all_their_work_done() {
        let workers = Workers::new(3);
        let one = |caller: usize| {
            for round in 0..2000 {
                // On the caller's stack, as everything that is shared.
                let (next, sum, seen) = (AtomicUsize::new(0), AtomicUsize::new(0), [const { AtomicUsize::new(0) }; 6]);
                let units = 1 + (round * 7 + caller) % 40;
                let fine = workers.run(1 + round % 5, true, &|thread| {
                    seen[thread].fetch_add(1, Ordering::Relaxed);
                    while let n @ 0.. = next.fetch_add(1, Ordering::Relaxed)
                        && n < units
                    {
                        sum.fetch_add(n + 1, Ordering::Relaxed);
                    }
                });
                assert!(fine);
                assert_eq!(sum.into_inner(), units * (units + 1) / 2);
                let seen = seen.map(AtomicUsize::into_inner);
                assert!(seen[0] == 1 && seen.iter().all(|&n| n <= 1), "{seen:?}");
                assert!(seen[4..] == [0, 0], "three threads: {seen:?}");
            }
        };
        thread::scope(|s| (0..6).for_each(|caller| drop(s.spawn(move || one(caller)))));
    }

    #[test]
    fn threads_come_awake_or_asleep() {
        let workers = Workers::new(2);
        for pause in [0, 0, 50, 300, 2000, 2000] {
            thread::sleep(Duration::from_micros(pause));
            let (go, came) = (AtomicUsize::new(0), Instant::now());
            // Each waits until all are there.
            assert!(workers.run(2, true, &|_| {
                go.fetch_add(1, Ordering::Relaxed);
                while go.load(Ordering::Relaxed) < 3 {
                    assert!(came.elapsed() < Duration::from_secs(60), "a thread did not come");
                    thread::yield_now();
                }
            }));
        }
    }

    #[test]
    fn threads_that_sleep_are_left_asleep_for_little() {
        let workers = Workers::new(2);
        let asleep = || workers.shared.lock().asleep;
        let long = Instant::now();
        while asleep() < 2 {
            assert!(long.elapsed() < Duration::from_secs(60), "threads do not sleep");
            thread::yield_now();
        }
        for _ in 0..3 {
            assert!(workers.run(2, false, &|thread| assert_eq!(thread, 0)));
            assert_eq!(asleep(), 2);
            thread::sleep(2 * LOOKOUT);
        }
        // In a row, they are worth it.
        let came = AtomicBool::new(false);
        while !came.load(Ordering::Relaxed) {
            assert!(long.elapsed() < Duration::from_secs(60), "no thread comes");
            workers.run(2, false, &|thread| {
                if thread > 0 {
                    came.store(true, Ordering::Relaxed);
                }
            });
        }
    }

    #[test]
    fn no_caller_waits_for_threads_that_are_busy() {
        let workers = Workers::new(1);
        let (started, start) = channel();
        let (stop, stopped) = channel::<()>();
        let stopped = Mutex::new(stopped);
        thread::scope(|s| {
            s.spawn(|| {
                workers.run(1, true, &|thread| {
                    if thread == 1 {
                        started.send(()).unwrap();
                        stopped.lock().unwrap().recv().unwrap();
                    } else {
                        // Not done before the other has come.
                        while workers.shared.jobs.load(Ordering::Relaxed) != 0 {
                            thread::yield_now();
                        }
                    }
                })
            });
            start.recv().unwrap();
            let calls = AtomicUsize::new(0);
            assert!(workers.run(1, true, &|_| _ = calls.fetch_add(1, Ordering::Relaxed)));
            assert_eq!(calls.into_inner(), 1);
            stop.send(()).unwrap();
        });
    }

    #[test]
    fn panics_are_told_and_end_nothing_else() {
        let workers = Workers::new(2);
        let all = |bad: usize| {
            let here = AtomicUsize::new(0);
            workers.run(2, true, &|thread| {
                here.fetch_add(1, Ordering::Relaxed);
                while here.load(Ordering::Relaxed) < 3 {
                    thread::yield_now();
                }
                // Silently: no hook is called for it.
                if thread == bad {
                    std::panic::resume_unwind(Box::new(()));
                }
            })
        };
        for bad in [9, 0, 1, 2, 1, 9] {
            assert_eq!(all(bad), bad == 9, "{bad}");
        }
    }

    #[test]
    fn work_may_share_work() {
        let workers = Workers::new(2);
        let sum = AtomicUsize::new(0);
        for _ in 0..200 {
            assert!(workers.run(2, true, &|_| {
                assert!(workers.run(2, true, &|_| _ = sum.fetch_add(1, Ordering::Relaxed)));
            }));
        }
        assert!(sum.into_inner() >= 200);
    }

    #[test]
    fn its_threads_end_with_it() {
        let workers = Workers::new(3);
        assert!(workers.run(3, true, &|_| ()));
        let left = Arc::downgrade(&workers.shared);
        drop(workers);
        let start = Instant::now();
        while left.strong_count() != 0 {
            assert!(start.elapsed() < Duration::from_secs(60), "{} threads are left", left.strong_count());
            thread::yield_now();
        }
    }
}
