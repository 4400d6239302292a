//! Handles and their settings, and the log that tests read.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A `cublasStatus_t` that is not success.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status(pub i32);

impl Status {
    pub const NOT_INITIALIZED: Status = Status(1);
    pub const ALLOC_FAILED: Status = Status(3);
    pub const INVALID_VALUE: Status = Status(7);
    pub const EXECUTION_FAILED: Status = Status(13);
    pub const NOT_SUPPORTED: Status = Status(15);
}

/// What a cuBLAS call gives.
pub type Outcome = Result<(), Status>;

/// A handle's settings.
#[derive(Clone, Copy, Debug)]
pub struct Handle {
    pub context: usize,
    pub stream: usize,
    pub math: i32,
    /// `cublasPointerMode_t`: 1 where scalars lie on the device.
    pub pointers: i32,
    pub atomics: i32,
}

/// What was asked for since the library was loaded.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Log {
    pub calls: u64,
    pub reduced: u64,
    pub reduced_reductions: u64,
    pub math_mode: u64,
    pub compute_type: u64,
    pub handles: u64,
}

#[derive(Default)]
pub struct State {
    pub handles: HashMap<usize, Handle>,
    pub log: Log,
    last: usize,
}

static STATE: Mutex<Option<State>> = Mutex::new(None);

fn lock() -> MutexGuard<'static, Option<State>> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Works on the state.
pub fn with<T>(f: impl FnOnce(&mut State) -> T) -> T {
    f(lock().get_or_insert_with(State::default))
}

/// A new handle in a context.
pub fn create(context: usize) -> usize {
    with(|s| {
        s.last += 1;
        let handle = 0x50F8_0000_0000 + s.last * 64;
        s.handles.insert(handle, Handle { context, stream: 0, math: 0, pointers: 0, atomics: 0 });
        handle
    })
}

/// A handle's settings. A handle of another context than the current one is no handle here.
pub fn get(handle: usize) -> Result<Handle, Status> {
    with(|s| s.handles.get(&handle).copied()).ok_or(Status::NOT_INITIALIZED)
}

/// Changes a handle's settings.
pub fn change(handle: usize, f: impl FnOnce(&mut Handle)) -> Outcome {
    with(|s| s.handles.get_mut(&handle).map(f)).ok_or(Status::NOT_INITIALIZED)
}

/// Notes a product: the type of its sums, whether its operands have 32 bits, whether they have 16.
pub fn note(handle: &Handle, compute: i32, f32: bool, half: bool) {
    // Compute types of lower precision; TF32 and the old switch for tensor cores, which math modes name.
    let fast = matches!(compute, 64 | 65 | 74 | 75 | 77) || f32 && compute == 68 && matches!(handle.math & 15, 1 | 3);
    let loose = half && compute != 69 && handle.math & 16 == 0 && handle.math & 15 != 2;
    with(|s| {
        s.log.calls += 1;
        s.log.reduced += u64::from(fast);
        s.log.reduced_reductions += u64::from(loose);
        s.log.math_mode = handle.math as u64;
        s.log.compute_type = compute as u64;
    });
}
