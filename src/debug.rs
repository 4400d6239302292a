//! What ran: the trace that tests and `show` read, and the `NDCUDA_DEBUG` ladder.

use std::cell::{Cell, RefCell};
use std::sync::OnceLock;

/// What one thread's evaluations did while it was traced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Kernels and library calls run.
    pub kernels: usize,
    /// Plans made because none of that form was cached.
    pub plans: usize,
    /// Kernels among those plans that the device had not met: what a compiler has to run for. Sizes, strides and scalars
    /// are no part of a kernel.
    pub new_kernels: usize,
    /// What planning looked at: instructions, of kernels given up and made again, too, and operands.
    pub planned: usize,
    /// Bytes of distinct operands the kernels read.
    pub bytes_read: usize,
    /// Bytes the kernels wrote.
    pub bytes_written: usize,
    /// Buffers allocated for results.
    pub allocations: usize,
    /// Bytes of those.
    pub allocated: usize,
    /// Most bytes of those alive at once.
    pub peak: usize,
    live: usize,
}

thread_local! {
    static TRACE: RefCell<Option<Trace>> = const { RefCell::new(None) };
    static ON: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` and tells what evaluations it made on this thread did.
///
/// ```
/// use ndcuda::prelude::*;
/// let x = Device::cpu().zeros::<f32, _>([4, 4]);
/// let (y, trace) = ndcuda::debug::trace(|| ((&x + 1.0).exp()).sum_axis(Axis(1)).to_ndarray());
/// assert_eq!(y?.len(), 4);
/// assert_eq!(trace.kernels, 1);
/// # Ok::<(), ndcuda::Error>(())
/// ```
pub fn trace<R>(f: impl FnOnce() -> R) -> (R, Trace) {
    let before = TRACE.with(|t| t.borrow_mut().replace(Trace::default()));
    ON.set(true);
    let out = f();
    ON.set(before.is_some());
    let trace = TRACE.with(|t| {
        let mut slot = t.borrow_mut();
        let inner = slot.take().unwrap_or_default();
        *slot = before.map(|mut b| {
            b.kernels += inner.kernels;
            b.plans += inner.plans;
            b.new_kernels += inner.new_kernels;
            b.planned += inner.planned;
            b.bytes_read += inner.bytes_read;
            b.bytes_written += inner.bytes_written;
            b.allocations += inner.allocations;
            b.allocated += inner.allocated;
            b.peak = b.peak.max(b.live + inner.peak);
            b.live += inner.live;
            b
        });
        inner
    });
    (out, trace)
}

/// Notes something in this thread's trace, if there is one.
pub(crate) fn note(f: impl FnOnce(&mut Trace)) {
    if !ON.get() {
        return;
    }
    TRACE.with(|t| {
        if let Some(t) = t.borrow_mut().as_mut() {
            f(t);
        }
    });
}

pub(crate) fn count_alloc(bytes: usize) {
    note(|t| {
        t.allocations += 1;
        t.allocated += bytes;
        t.live += bytes;
        t.peak = t.peak.max(t.live);
    });
}

pub(crate) fn count_free(bytes: usize) {
    note(|t| t.live = t.live.saturating_sub(bytes));
}

/// `NDCUDA_DEBUG`, each level with those before it: 1 devices as they are opened and kernels that cannot be compiled, 2 time and
/// bandwidth of each kernel and each compilation, 3 new plans with what they store, why, and their kernels, 4 the kernels' CUDA
/// source, 5 the graph of each new plan as DOT, 6 the PTX of what is compiled. All goes to stderr.
pub fn level() -> u8 {
    static LEVEL: OnceLock<u8> = OnceLock::new();
    *LEVEL.get_or_init(|| {
        let value = std::env::var("NDCUDA_DEBUG").unwrap_or_default();
        match value.trim() {
            "" => 0,
            text => text.parse().ok().filter(|&n| n <= 6).unwrap_or_else(|| {
                eprintln!("ndcuda: NDCUDA_DEBUG={value} says nothing: its levels are 0 to 6");
                0
            }),
        }
    })
}
