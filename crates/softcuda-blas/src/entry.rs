//! The entry points of cuBLAS.

use std::ffi::{c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::driver::{current_context, injected};
use crate::gemm::{COMPUTE_32F, COMPUTE_64F, Gemm, Matrix, Type};
use crate::gemv::{Gemv, Vector};
use crate::handle::{self, Handle, Log, Outcome, Status};

/// Where an entry point puts a result: null, or valid for one write.
#[repr(transparent)]
pub struct Out<T>(*mut T);

impl<T> Out<T> {
    fn set(self, value: T) -> Outcome {
        if self.0.is_null() {
            return Err(Status::INVALID_VALUE);
        }
        // SAFETY: the caller of the entry point passes a pointer that is valid for writing one `T`.
        unsafe { self.0.write(value) };
        Ok(())
    }
}

macro_rules! entry {
    ($(fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $body:block)*) => {$(
        #[doc = concat!("`", stringify!($name), "` of cuBLAS.")]
        #[unsafe(no_mangle)]
        pub extern "C" fn $name($($arg: $ty),*) -> i32 {
            status(stringify!($name), move || $body)
        }
    )*};
}

fn status(name: &str, body: impl FnOnce() -> Outcome) -> i32 {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => 0,
        Ok(Err(Status(code))) => code,
        Err(_) => {
            eprintln!("softcuda: {name} panicked: a defect of the software device");
            14
        }
    }
}

/// The settings of a handle for a call that works on the device: its context has to be the current one.
fn working(handle: usize) -> Result<Handle, Status> {
    let found = handle::get(handle)?;
    match injected() {
        0 if current_context() == Some(found.context) => Ok(found),
        0 => Err(Status::EXECUTION_FAILED),
        code => Err(Status(code)),
    }
}

/// Fails a call that only sets something, if a test asked for it.
fn setting() -> Outcome {
    match injected() {
        0 => Ok(()),
        code => Err(Status(code)),
    }
}

fn matrix(at: *const c_void, of: Type, ld: i32, stride: i64) -> Matrix {
    Matrix { at: at as u64, of, ld, stride }
}

fn algorithm(algo: i32) -> Outcome {
    if matches!(algo, -1..=23 | 99..=115) { Ok(()) } else { Err(Status::INVALID_VALUE) }
}

entry! {
    fn cublasCreate_v2(out: Out<usize>) {
        let context = current_context().ok_or(Status::NOT_INITIALIZED)?;
        match injected() {
            0 => out.set(handle::create(context)),
            // What a call fails with where no code is named is none for this one.
            13 => Err(Status::ALLOC_FAILED),
            code => Err(Status(code)),
        }
    }

    fn cublasDestroy_v2(handle: usize) {
        handle::with(|s| s.handles.remove(&handle)).map(|_| ()).ok_or(Status::NOT_INITIALIZED)
    }

    fn cublasGetVersion_v2(handle: usize, version: Out<i32>) {
        handle::get(handle)?;
        version.set(130_000)
    }

    fn cublasGetProperty(which: i32, value: Out<i32>) {
        match which {
            0 => value.set(13),
            1 | 2 => value.set(0),
            _ => Err(Status::INVALID_VALUE),
        }
    }

    fn cublasSetStream_v2(handle: usize, stream: usize) {
        setting()?;
        handle::change(handle, |h| h.stream = stream)
    }

    fn cublasGetStream_v2(handle: usize, stream: Out<usize>) {
        stream.set(handle::get(handle)?.stream)
    }

    fn cublasSetMathMode(handle: usize, mode: i32) {
        setting()?;
        if !(0..=3).contains(&(mode & !16)) {
            return Err(Status::INVALID_VALUE);
        }
        handle::change(handle, |h| h.math = mode)
    }

    fn cublasGetMathMode(handle: usize, mode: Out<i32>) {
        mode.set(handle::get(handle)?.math)
    }

    fn cublasSetPointerMode_v2(handle: usize, mode: i32) {
        if !(0..=1).contains(&mode) {
            return Err(Status::INVALID_VALUE);
        }
        handle::change(handle, |h| h.pointers = mode)
    }

    fn cublasGetPointerMode_v2(handle: usize, mode: Out<i32>) {
        mode.set(handle::get(handle)?.pointers)
    }

    fn cublasSetAtomicsMode(handle: usize, mode: i32) {
        handle::change(handle, |h| h.atomics = mode)
    }

    fn cublasGetAtomicsMode(handle: usize, mode: Out<i32>) {
        mode.set(handle::get(handle)?.atomics)
    }

    fn cublasSetWorkspace_v2(handle: usize, workspace: usize, _bytes: usize) {
        if !workspace.is_multiple_of(256) {
            return Err(Status::INVALID_VALUE);
        }
        handle::get(handle).map(|_| ())
    }

    fn cublasSgemm_v2(
        handle: usize, ta: i32, tb: i32, m: i32, n: i32, k: i32, alpha: *const u8, a: *const c_void, lda: i32,
        b: *const c_void, ldb: i32, beta: *const u8, c: *const c_void, ldc: i32,
    ) {
        let of = Type::F32;
        let (a, b, c) = (matrix(a, of, lda, 0), matrix(b, of, ldb, 0), matrix(c, of, ldc, 0));
        let (ops, sizes) = ([ta, tb], [m, n, k]);
        Gemm { ops, sizes, alpha, a, b, beta, c, batch: 1, compute: COMPUTE_32F }.submit(&working(handle)?)
    }

    fn cublasDgemm_v2(
        handle: usize, ta: i32, tb: i32, m: i32, n: i32, k: i32, alpha: *const u8, a: *const c_void, lda: i32,
        b: *const c_void, ldb: i32, beta: *const u8, c: *const c_void, ldc: i32,
    ) {
        let of = Type::F64;
        let (a, b, c) = (matrix(a, of, lda, 0), matrix(b, of, ldb, 0), matrix(c, of, ldc, 0));
        let (ops, sizes) = ([ta, tb], [m, n, k]);
        Gemm { ops, sizes, alpha, a, b, beta, c, batch: 1, compute: COMPUTE_64F }.submit(&working(handle)?)
    }

    fn cublasSgemmStridedBatched(
        handle: usize, ta: i32, tb: i32, m: i32, n: i32, k: i32, alpha: *const u8, a: *const c_void, lda: i32, sa: i64,
        b: *const c_void, ldb: i32, sb: i64, beta: *const u8, c: *const c_void, ldc: i32, sc: i64, batch: i32,
    ) {
        let of = Type::F32;
        let (a, b, c) = (matrix(a, of, lda, sa), matrix(b, of, ldb, sb), matrix(c, of, ldc, sc));
        let (ops, sizes) = ([ta, tb], [m, n, k]);
        Gemm { ops, sizes, alpha, a, b, beta, c, batch, compute: COMPUTE_32F }.submit(&working(handle)?)
    }

    fn cublasDgemmStridedBatched(
        handle: usize, ta: i32, tb: i32, m: i32, n: i32, k: i32, alpha: *const u8, a: *const c_void, lda: i32, sa: i64,
        b: *const c_void, ldb: i32, sb: i64, beta: *const u8, c: *const c_void, ldc: i32, sc: i64, batch: i32,
    ) {
        let of = Type::F64;
        let (a, b, c) = (matrix(a, of, lda, sa), matrix(b, of, ldb, sb), matrix(c, of, ldc, sc));
        let (ops, sizes) = ([ta, tb], [m, n, k]);
        Gemm { ops, sizes, alpha, a, b, beta, c, batch, compute: COMPUTE_64F }.submit(&working(handle)?)
    }

    fn cublasGemmEx(
        handle: usize, ta: i32, tb: i32, m: i32, n: i32, k: i32, alpha: *const u8, a: *const c_void, at: i32, lda: i32,
        b: *const c_void, bt: i32, ldb: i32, beta: *const u8, c: *const c_void, ct: i32, ldc: i32, compute: i32, algo: i32,
    ) {
        let handle = working(handle)?;
        algorithm(algo)?;
        let a = matrix(a, Type::new(at)?, lda, 0);
        let b = matrix(b, Type::new(bt)?, ldb, 0);
        let c = matrix(c, Type::new(ct)?, ldc, 0);
        let (ops, sizes) = ([ta, tb], [m, n, k]);
        Gemm { ops, sizes, alpha, a, b, beta, c, batch: 1, compute }.submit(&handle)
    }

    fn cublasGemmStridedBatchedEx(
        handle: usize, ta: i32, tb: i32, m: i32, n: i32, k: i32, alpha: *const u8, a: *const c_void, at: i32, lda: i32,
        sa: i64, b: *const c_void, bt: i32, ldb: i32, sb: i64, beta: *const u8, c: *const c_void, ct: i32, ldc: i32,
        sc: i64, batch: i32, compute: i32, algo: i32,
    ) {
        let handle = working(handle)?;
        algorithm(algo)?;
        let a = matrix(a, Type::new(at)?, lda, sa);
        let b = matrix(b, Type::new(bt)?, ldb, sb);
        let c = matrix(c, Type::new(ct)?, ldc, sc);
        let (ops, sizes) = ([ta, tb], [m, n, k]);
        Gemm { ops, sizes, alpha, a, b, beta, c, batch, compute }.submit(&handle)
    }

    fn cublasSgemv_v2(
        handle: usize, op: i32, m: i32, n: i32, alpha: *const u8, a: *const c_void, lda: i32, x: u64, incx: i32,
        beta: *const u8, y: u64, incy: i32,
    ) {
        let (a, x, y) = (matrix(a, Type::F32, lda, 0), Vector { at: x, step: incx }, Vector { at: y, step: incy });
        Gemv { op, sizes: [m, n], alpha, a, x, beta, y }.submit::<f32>(&working(handle)?)
    }

    fn cublasDgemv_v2(
        handle: usize, op: i32, m: i32, n: i32, alpha: *const u8, a: *const c_void, lda: i32, x: u64, incx: i32,
        beta: *const u8, y: u64, incy: i32,
    ) {
        let (a, x, y) = (matrix(a, Type::F64, lda, 0), Vector { at: x, step: incx }, Vector { at: y, step: incy });
        Gemv { op, sizes: [m, n], alpha, a, x, beta, y }.submit::<f64>(&working(handle)?)
    }
}

/// What the runtime of this library is: CUDA 13.0.
#[unsafe(no_mangle)]
pub extern "C" fn cublasGetCudartVersion() -> usize {
    13_000
}

/// The name of a status.
#[unsafe(no_mangle)]
pub extern "C" fn cublasGetStatusName(status: i32) -> *const c_char {
    match status {
        0 => c"CUBLAS_STATUS_SUCCESS",
        1 => c"CUBLAS_STATUS_NOT_INITIALIZED",
        3 => c"CUBLAS_STATUS_ALLOC_FAILED",
        7 => c"CUBLAS_STATUS_INVALID_VALUE",
        13 => c"CUBLAS_STATUS_EXECUTION_FAILED",
        14 => c"CUBLAS_STATUS_INTERNAL_ERROR",
        15 => c"CUBLAS_STATUS_NOT_SUPPORTED",
        _ => c"unknown status",
    }
    .as_ptr()
}

/// A status in words: its name serves.
#[unsafe(no_mangle)]
pub extern "C" fn cublasGetStatusString(status: i32) -> *const c_char {
    cublasGetStatusName(status)
}

/// For tests: what was asked for since the library was loaded.
#[unsafe(no_mangle)]
pub extern "C" fn softcuda_blas_log(out: Out<Log>) {
    let log = handle::with(|s| Log { handles: s.handles.len() as u64, ..s.log });
    // A test that passes null asks for nothing.
    let _ = out.set(log);
}
