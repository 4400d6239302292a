//! Faults on request: the n-th call of an entry point or of a kind fails before it does anything, or the device is lost.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::c_char;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::SeqCst};

use crate::abi::{Host, In, lock, put_text};
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

/// Calls that are counted together.
struct Counter {
    calls: AtomicU64,
    left: AtomicU64,
    /// How many calls fail in a row, once one does.
    times: AtomicU64,
    code: AtomicI32,
}

impl Counter {
    const fn new() -> Counter {
        Counter { calls: AtomicU64::new(0), left: AtomicU64::new(0), times: AtomicU64::new(0), code: AtomicI32::new(0) }
    }

    fn arm(&self, nth: u64, times: u64, code: i32) {
        self.code.store(code, SeqCst);
        self.times.store(times, SeqCst);
        self.left.store(nth, SeqCst);
    }

    /// Counts a call, and fails it if it is the one.
    fn call(&self, usual: Code) -> Outcome {
        self.calls.fetch_add(1, SeqCst);
        let was = self.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        if was != Ok(1) {
            return Ok(());
        }
        if self.times.fetch_update(SeqCst, SeqCst, |times| times.checked_sub(1)).is_ok_and(|times| times > 1) {
            self.left.store(1, SeqCst);
        }
        match self.code.load(SeqCst) {
            0 => Err(usual),
            code => Err(Code(code)),
        }
    }
}

static COUNTERS: [Counter; KINDS.len()] = [const { Counter::new() }; KINDS.len()];

/// Those of the entry points that were called, or that are to fail, by name.
static ENTRIES: Mutex<BTreeMap<String, Counter>> = Mutex::new(BTreeMap::new());

thread_local! {
    /// Whether this thread is in an entry point: those that it calls from there are no calls of the program's.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

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

/// What the calls of an entry point are counted as, beside its name.
fn kind(entry: &str) -> Option<Kind> {
    Some(match entry {
        "cuMemAlloc_v2" | "cuMemAllocAsync" | "cuMemAllocFromPoolAsync" => Kind::Alloc,
        "cuMemHostAlloc" | "cuMemAllocHost_v2" => Kind::Pinned,
        "cuLaunchKernel" | "cuLaunchKernelEx" | "cuLaunchCooperativeKernel" => Kind::Launch,
        "cuStreamSynchronize" | "cuEventSynchronize" | "cuCtxSynchronize" => Kind::Sync,
        _ if entry.starts_with("cuMemcpy") || entry.starts_with("cuMemset") => Kind::Copy,
        _ if entry.starts_with("cuModuleLoad") => Kind::Module,
        _ if entry.starts_with("cuStreamCreate") => Kind::Stream,
        _ if entry.starts_with("cuEventCreate") => Kind::Event,
        _ if entry.starts_with("cuEventRecord") => Kind::Record,
        _ => return None,
    })
}

/// Counts a call of an entry point, and runs it unless it is to fail.
pub fn entered(entry: &str, body: impl FnOnce() -> Outcome) -> Outcome {
    if INSIDE.replace(true) {
        return body();
    }
    let counted = || {
        lock(&ENTRIES).entry(entry.into()).or_insert(Counter::new()).call(Code::UNKNOWN)?;
        kind(entry).map_or(Ok(()), check)
    };
    let outcome = counted().and_then(|()| body());
    INSIDE.set(false);
    outcome
}

/// Counts a call of a kind, and fails it if it is the one.
pub fn check(kind: Kind) -> Outcome {
    COUNTERS[kind as usize].call(usual(kind))
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
        counter.arm(nth, times, code);
    }
}

/// As [`softcuda_fail`], for the calls that a program makes of an entry point, by its name: with `CUDA_ERROR_UNKNOWN` for a `code` of 0.
#[unsafe(no_mangle)]
pub extern "C" fn softcuda_fail_entry(entry: In<c_char>, nth: u64, times: u64, code: i32) {
    if let Ok(entry) = entry.text() {
        lock(&ENTRIES).entry(entry).or_insert(Counter::new()).arm(nth, times, code);
    }
}

/// Writes the entry points that were called into a buffer, cut to fit: a line for each with its name, how many calls there were, and how many
/// are left until one fails. Gives the length of the text.
#[unsafe(no_mangle)]
pub extern "C" fn softcuda_entries(buffer: Host, len: usize) -> usize {
    let line = |(name, c): (&String, &Counter)| {
        let [calls, left] = [&c.calls, &c.left].map(|v| v.load(SeqCst));
        format!("{name} {calls} {left}\n")
    };
    let text: String = lock(&ENTRIES).iter().map(line).collect();
    put_text(&text, buffer, len);
    text.len()
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
