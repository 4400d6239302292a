//! Faults on request: the n-th call of a kind fails, or the device is lost.

use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::SeqCst};

use crate::code::{Code, Outcome};

/// Which calls are counted together, and fail when asked to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Kind {
    /// Device memory: `cuMemAlloc`, `cuMemAllocAsync`, `cuMemAllocFromPoolAsync`.
    Alloc = 0,
    /// Page-locked host memory.
    Pinned = 1,
    /// Copies and fills.
    Copy = 2,
    /// `cuLaunchKernel` itself.
    Launch = 3,
    /// Module loading.
    Module = 4,
    /// Stream creation.
    Stream = 5,
    /// Event creation.
    Event = 6,
    /// Synchronizing with a stream, an event or the context.
    Sync = 7,
    /// A kernel as it runs: the context is lost with it.
    Kernel = 8,
    /// cuBLAS calls; a code given for it is a `cublasStatus_t`.
    Blas = 9,
    /// Recording an event.
    Record = 10,
    /// NVRTC calls through `softcuda-nvrtc`, but for the next; a code given for it is an `nvrtcResult`.
    Nvrtc = 11,
    /// `nvrtcCompileProgram`, the same way.
    Compile = 12,
}

/// Every kind, in the order of their numbers.
pub const KINDS: [Kind; 13] = [
    Kind::Alloc,
    Kind::Pinned,
    Kind::Copy,
    Kind::Launch,
    Kind::Module,
    Kind::Stream,
    Kind::Event,
    Kind::Sync,
    Kind::Kernel,
    Kind::Blas,
    Kind::Record,
    Kind::Nvrtc,
    Kind::Compile,
];

struct Counter {
    calls: AtomicU64,
    left: AtomicU64,
    /// How many calls fail in a row, once one does.
    times: AtomicU64,
    code: AtomicI32,
}

static COUNTERS: [Counter; KINDS.len()] = [const {
    Counter { calls: AtomicU64::new(0), left: AtomicU64::new(0), times: AtomicU64::new(0), code: AtomicI32::new(0) }
}; KINDS.len()];

/// The error of every call once the device is lost; 0 while it is there.
static LOST: AtomicI32 = AtomicI32::new(0);

/// What a call of this kind gives where the test names no code: what a driver gives that lacks what the call needs.
fn usual(kind: Kind) -> Code {
    match kind {
        Kind::Alloc | Kind::Pinned | Kind::Stream | Kind::Event | Kind::Module => Code::OUT_OF_MEMORY,
        Kind::Launch => Code::LAUNCH_OUT_OF_RESOURCES,
        Kind::Copy | Kind::Sync | Kind::Record => Code::OPERATING_SYSTEM,
        Kind::Kernel => Code::LAUNCH_FAILED,
        // CUBLAS_STATUS_EXECUTION_FAILED.
        Kind::Blas => Code(13),
        // NVRTC_ERROR_OUT_OF_MEMORY.
        Kind::Nvrtc | Kind::Compile => Code(1),
    }
}

/// Counts a call, and fails it if it is the one.
pub fn check(kind: Kind) -> Outcome {
    let counter = &COUNTERS[kind as usize];
    counter.calls.fetch_add(1, SeqCst);
    let was = counter.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
    if was != Ok(1) {
        return Ok(());
    }
    if counter.times.fetch_update(SeqCst, SeqCst, |times| times.checked_sub(1)).is_ok_and(|times| times > 1) {
        counter.left.store(1, SeqCst);
    }
    match counter.code.load(SeqCst) {
        0 => Err(usual(kind)),
        code => Err(Code(code)),
    }
}

/// Fails once the device is lost.
pub fn check_lost() -> Outcome {
    match LOST.load(SeqCst) {
        0 => Ok(()),
        code => Err(Code(code)),
    }
}

fn counter(kind: u32) -> Option<&'static Counter> {
    COUNTERS.get(kind as usize)
}

/// The `nth` call of this kind from now (1 is the next) fails with `code`, or the kind's usual one for 0, and so do those behind it, `times` in
/// all; an `nth` of 0 calls it off.
#[unsafe(no_mangle)]
pub extern "C" fn softcuda_fail(kind: u32, nth: u64, times: u64, code: i32) {
    if let Some(counter) = counter(kind) {
        counter.code.store(code, SeqCst);
        counter.times.store(times, SeqCst);
        counter.left.store(nth, SeqCst);
    }
}

/// How many calls of this kind are left until one fails; 0 once it failed.
#[unsafe(no_mangle)]
pub extern "C" fn softcuda_fail_left(kind: u32) -> u64 {
    counter(kind).map_or(0, |c| c.left.load(SeqCst))
}

/// How many calls of this kind were made since the library was loaded.
#[unsafe(no_mangle)]
pub extern "C" fn softcuda_calls(kind: u32) -> u64 {
    counter(kind).map_or(0, |c| c.calls.load(SeqCst))
}

/// Every call fails with `code` from now on; 0 brings the device back.
#[unsafe(no_mangle)]
pub extern "C" fn softcuda_lose(code: i32) {
    LOST.store(code, SeqCst);
}

/// For the other libraries' stand-ins: counts a call of theirs, and gives the status that it has to fail with, or 0.
#[unsafe(no_mangle)]
pub extern "C" fn softcuda_check(kind: u32) -> i32 {
    KINDS.get(kind as usize).map_or(0, |&kind| check(kind).map_or_else(|code| code.0, |()| 0))
}
