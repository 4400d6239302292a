//! Compiling beside the program: one thread takes the kernels of all devices in the order they are asked for, while what ships runs them.

use super::compile::Text;
use super::modules::{Module, Modules};
use std::collections::VecDeque;
use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

/// Kernels that wait at most; one that finds no place runs on what ships and asks again at its next launch.
const WAITING: usize = 256;
/// How long the end of the program waits for a compiler at work.
const AT_EXIT: Duration = Duration::from_secs(10);

/// What became of a kernel's function.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It was made.
    Made(Arc<Module>),
    /// What ships runs the kernel for good.
    Ships,
    /// It failed in a way that may pass: a later launch asks again.
    Failed,
}

/// A kernel's function: set once that is known.
pub type Slot = Arc<OnceLock<Answer>>;

/// A slot that is set from the start; without a function what ships runs the kernel for good.
pub fn known(module: Option<Arc<Module>>) -> Slot {
    Arc::new(OnceLock::from(module.map_or(Answer::Ships, Answer::Made)))
}

struct Job {
    modules: Weak<Modules>,
    text: Text,
    slot: Slot,
}

struct State {
    jobs: VecDeque<Job>,
    /// Whether the thread is there; it goes when there is nothing left to do.
    running: bool,
    /// The program ends: nothing more is begun.
    ended: bool,
}

static STATE: Mutex<State> = Mutex::new(State { jobs: VecDeque::new(), running: false, ended: false });
/// Told when the thread goes.
static GONE: Condvar = Condvar::new();

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has the end of the program wait for a compiler at work. A compiler, and what it makes when it first compiles for an architecture (the newest have
/// a part of their own), register functions for the end, which run in the opposite order: ours has to come before them all.
pub fn end_first() {
    // SAFETY: the function stays and never unwinds, and may run twice. Where it finds no place, the end does not wait.
    unsafe { atexit(end) };
}

/// Has a kernel's function made; none where there is no place now. Where there is no compiler, there will be no function. Its start is waited for,
/// some 30 ms once.
pub fn ask(modules: &Arc<Modules>, text: &Text) -> Option<Slot> {
    if !modules.compiles() {
        return Some(known(None));
    }
    let mut state = state();
    if state.ended || state.jobs.len() >= WAITING {
        return None;
    }
    if !state.running {
        let thread = std::thread::Builder::new().name("ndcuda-compile".into());
        thread.spawn(work).ok()?;
        state.running = true;
    }
    let slot = Slot::default();
    state.jobs.push_back(Job { modules: Arc::downgrade(modules), text: text.clone(), slot: slot.clone() });
    Some(slot)
}

fn work() {
    loop {
        let mut state = state();
        let Some(job) = state.jobs.pop_front() else {
            state.running = false;
            GONE.notify_all();
            return;
        };
        drop(state);
        // A device that is gone needs no kernels.
        if let Some(modules) = job.modules.upgrade() {
            let made = catch_unwind(AssertUnwindSafe(|| modules.make_asked(&job.text)));
            // What cannot be made goes on as it is.
            let _ = job.slot.set(made.unwrap_or(Answer::Ships));
            modules.answered(&job.text);
        }
    }
}

unsafe extern "C" {
    fn atexit(function: extern "C" fn()) -> c_int;
}

/// Runs as the program ends: what the compiler uses goes away then.
extern "C" fn end() {
    let mut state = state();
    state.ended = true;
    state.jobs.clear();
    let _ = GONE.wait_timeout_while(state, AT_EXIT, |s| s.running);
}
