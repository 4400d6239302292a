//! Matrix products through cuBLAS: any transposition and leading dimension without copies, batches with stride 0 for broadcast.

use super::compile::symbol;
use super::driver::driver;
use super::gpu::Gpu;
use super::libs;
use super::pool::Pool;
use crate::backend::Args;
use crate::debug;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::kernel::GemmSpec;
use libloading::Library;
use std::cell::Cell;
use std::ffi::{c_int, c_longlong, c_void};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

type Handle = *mut c_void;
type Status = c_int;

/// `cudaDataType` of a dtype.
fn data_type(dtype: DType) -> Option<c_int> {
    match dtype {
        DType::F32 => Some(0),
        DType::F64 => Some(1),
        DType::F16 => Some(2),
        DType::BF16 => Some(14),
        _ => None,
    }
}

/// `CUBLAS_COMPUTE_32F`, `_32F_FAST_TF32`, `_64F`.
const COMPUTE_32F: c_int = 68;
const COMPUTE_32F_TF32: c_int = 77;
const COMPUTE_64F: c_int = 70;
/// `CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION`: sums of 16-bit products stay in f32.
const NO_REDUCED_PRECISION: c_int = 16;
/// `CUBLAS_GEMM_DEFAULT`.
const DEFAULT: c_int = -1;

type GemmEx = unsafe extern "C" fn(
    Handle,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    *const c_void,
    *const c_void,
    c_int,
    c_int,
    *const c_void,
    c_int,
    c_int,
    *const c_void,
    *mut c_void,
    c_int,
    c_int,
    c_int,
    c_int,
) -> Status;

type GemmStridedBatchedEx = unsafe extern "C" fn(
    Handle,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    *const c_void,
    *const c_void,
    c_int,
    c_int,
    c_longlong,
    *const c_void,
    c_int,
    c_int,
    c_longlong,
    *const c_void,
    *mut c_void,
    c_int,
    c_int,
    c_longlong,
    c_int,
    c_int,
    c_int,
) -> Status;

/// cuBLAS's functions.
#[derive(Debug)]
pub struct Functions {
    create: unsafe extern "C" fn(*mut Handle) -> Status,
    destroy: unsafe extern "C" fn(Handle) -> Status,
    set_stream: unsafe extern "C" fn(Handle, *mut c_void) -> Status,
    set_math_mode: unsafe extern "C" fn(Handle, c_int) -> Status,
    gemm: GemmEx,
    gemm_batched: GemmStridedBatchedEx,
    /// Its version.
    pub version: (c_int, c_int),
    /// The file it is, or the name the loader found it by.
    pub file: String,
}

/// cuBLAS, looked for once; where there is none, a sentence says why and what to do.
pub fn cublas() -> Result<&'static Functions, &'static str> {
    static CUBLAS: OnceLock<Result<Functions, String>> = OnceLock::new();
    let found = CUBLAS.get_or_init(|| {
        let driver = driver().map_err(|m| m.reason.clone())?;
        let (opened, version) = libs::open(libs::CUBLAS, driver.version.0, version)?;
        // Its functions stay valid for the life of the program.
        let library: &'static Library = Box::leak(Box::new(opened.library));
        let file = opened.path.display().to_string();
        Functions::of(library, version, &file).map_err(|why| format!("{file} cannot be used: {why}"))
    });
    found.as_ref().map_err(String::as_str)
}

impl Functions {
    fn of(library: &Library, version: (c_int, c_int), file: &str) -> Result<Functions, String> {
        Ok(Functions {
            create: symbol(library, "cublasCreate_v2")?,
            destroy: symbol(library, "cublasDestroy_v2")?,
            set_stream: symbol(library, "cublasSetStream_v2")?,
            set_math_mode: symbol(library, "cublasSetMathMode")?,
            gemm: symbol(library, "cublasGemmEx")?,
            gemm_batched: symbol(library, "cublasGemmStridedBatchedEx")?,
            version,
            file: file.into(),
        })
    }
}

fn version(library: &Library) -> Result<(c_int, c_int), String> {
    let get: unsafe extern "C" fn(c_int, *mut c_int) -> Status = symbol(library, "cublasGetProperty")?;
    let read = |which: c_int| {
        let mut value = 0;
        // SAFETY: the function's own signature; the out pointer is valid.
        match unsafe { get(which, &mut value) } {
            0 => Ok(value),
            status => Err(format!("cublasGetProperty gives error {status}")),
        }
    };
    Ok((read(0)?, read(1)?))
}

/// Products on one device: a handle, made when first needed, or what keeps cuBLAS from being used there.
#[derive(Default, Debug)]
pub struct Lazy {
    /// Its handle; none where the library is not there or did not start.
    made: OnceLock<Option<Blas>>,
    /// The dtypes whose products it refused, and whether with TF32.
    refused: Mutex<Vec<(DType, bool)>>,
}

/// cuBLAS on one device.
#[derive(Debug)]
pub struct Blas {
    functions: &'static Functions,
    /// A handle serves one caller at a time; calls only queue.
    handle: Mutex<Owned>,
}

#[derive(Debug)]
struct Owned {
    handle: Handle,
    destroy: unsafe extern "C" fn(Handle) -> Status,
}

// SAFETY: the handle is used behind a lock, with its context bound.
unsafe impl Send for Owned {}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: made by cublasCreate and destroyed once.
        unsafe { (self.destroy)(self.handle) };
    }
}

/// Why cuBLAS is found and yet not used: a GPU's number and a sentence.
static UNUSED: Mutex<Vec<(usize, String)>> = Mutex::new(vec![]);

/// What keeps cuBLAS, where it was found, from being used on a GPU, or on any.
pub fn unused(gpu: Option<usize>) -> Vec<String> {
    let all = UNUSED.lock().unwrap_or_else(PoisonError::into_inner);
    all.iter().filter(|(index, _)| gpu.is_none_or(|g| g == *index)).map(|(_, why)| why.clone()).collect()
}

fn leave_out(gpu: &Gpu, what: &str, why: &str) {
    let sentence = format!("{why} on {}: {what} run on ndcuda's own kernels", gpu.title());
    if debug::level() >= 1 {
        eprintln!("ndcuda: {sentence}");
    }
    UNUSED.lock().unwrap_or_else(PoisonError::into_inner).push((gpu.index, sentence));
}

impl Lazy {
    /// Whether products of this dtype go to cuBLAS; else our own kernel stands in. A lost device and want of memory are errors.
    pub fn takes(&self, dtype: DType, pool: &Pool) -> Result<bool> {
        Ok(self.get(pool)?.is_some() && !self.refused().contains(&(dtype, false)))
    }

    /// Queues a product; false where cuBLAS does not take it and our own kernel has to run it.
    pub fn run(&self, g: &Gemm, pool: &Pool, args: &Args<'_>, tf32: bool) -> Result<bool> {
        let Some(blas) = self.get(pool)? else { return Ok(false) };
        // A GPU without TF32 still has the plain product.
        for tf32 in [true, false].into_iter().skip(usize::from(!tf32)) {
            if self.refused().contains(&(g.dtype, tf32)) {
                continue;
            }
            let (call, status) = blas.run(g, pool, args, tf32)?;
            if !matches!(status, ARCH_MISMATCH | NOT_SUPPORTED) {
                return check(pool.gpu(), call, status).map(|()| true);
            }
            let mut refused = self.refused();
            if !refused.contains(&(g.dtype, tf32)) {
                refused.push((g.dtype, tf32));
                if !tf32 {
                    let what = format!("products of {}", g.dtype);
                    leave_out(pool.gpu(), &what, &format!("{call} gives {}", meaning(status)));
                }
            }
        }
        Ok(false)
    }

    fn get(&self, pool: &Pool) -> Result<Option<&Blas>> {
        if let Some(made) = self.made.get() {
            return Ok(made.as_ref());
        }
        let (made, why) = match cublas() {
            Ok(functions) => match Blas::new(functions, pool)? {
                Ok(blas) => (Some(blas), None),
                Err(why) => (None, Some(why)),
            },
            Err(_) => (None, None),
        };
        let set = || {
            why.iter().for_each(|why| leave_out(pool.gpu(), "matrix products", why));
            made
        };
        Ok(self.made.get_or_init(set).as_ref())
    }

    fn refused(&self) -> MutexGuard<'_, Vec<(DType, bool)>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The statuses of cuBLAS after which something else is tried.
const NOT_INITIALIZED: Status = 1;
const ALLOC_FAILED: Status = 3;
const ARCH_MISMATCH: Status = 8;
const NOT_SUPPORTED: Status = 15;

/// Bytes that cuBLAS takes on the device for itself, as its manual has them: for a handle, and where a call needs more than that again.
fn workspace(gpu: &Gpu) -> usize {
    match gpu.arch.0 {
        9 | 10 => 32 << 20,
        12 => 12 << 20,
        _ => 4 << 20,
    }
}

/// The status of a call that may need device memory; want of it is an error.
fn making_room(pool: &Pool, function: impl Fn() -> Status) -> Result<Status> {
    pool.making_room(workspace(pool.gpu()), " for the workspace of cuBLAS", || match function() {
        ALLOC_FAILED => Ok(None),
        status => Ok(Some(status)),
    })
}

fn meaning(status: Status) -> String {
    let name = match status {
        1 => "CUBLAS_STATUS_NOT_INITIALIZED",
        3 => "CUBLAS_STATUS_ALLOC_FAILED: no memory for its workspace",
        7 => "CUBLAS_STATUS_INVALID_VALUE",
        8 => "CUBLAS_STATUS_ARCH_MISMATCH: this GPU lacks what the call needs",
        11 => "CUBLAS_STATUS_MAPPING_ERROR",
        13 => "CUBLAS_STATUS_EXECUTION_FAILED: the GPU did not run it",
        14 => "CUBLAS_STATUS_INTERNAL_ERROR",
        15 => "CUBLAS_STATUS_NOT_SUPPORTED",
        _ => "an unknown status of cuBLAS",
    };
    format!("{name} ({status})")
}

/// A status of cuBLAS as an error.
fn check(gpu: &Gpu, call: &'static str, status: Status) -> Result<()> {
    match status {
        0 => Ok(()),
        _ => Err(Error::Driver { device: gpu.title(), call, reason: meaning(status) }),
    }
}

/// A product in the form that cuBLAS takes, columns first: `C^T = B^T A^T`.
#[derive(Debug)]
pub struct Gemm {
    dtype: DType,
    /// Rows of C^T (columns of C), columns of C^T, length of the fold.
    size: [c_int; 3],
    /// For B and A: transposed or not, leading dimension, batch stride.
    b: Side,
    a: Side,
    /// Leading dimension and batch stride of C.
    c: (c_int, i64),
    batch: c_int,
    /// Where a, b and c start, in elements.
    offsets: [isize; 3],
}

#[derive(Clone, Copy, Debug)]
struct Side {
    transposed: bool,
    lead: c_int,
    batch: i64,
}

impl Gemm {
    /// The product as a call of cuBLAS; none where its layout is not one that cuBLAS takes.
    pub fn new(s: &GemmSpec) -> Option<Gemm> {
        data_type(s.dtype)?;
        let int = |n: usize| c_int::try_from(n).ok();
        let size = [int(s.n)?, int(s.m)?, int(s.k)?];
        if s.k == 0 {
            // Nothing to add up: our kernel writes the zeros.
            return None;
        }
        let r = s.batch.len();
        let [a, b, c] = &s.operands[..] else { return None };
        // One stride for the whole batch: where outer batch axes continue the inner ones.
        let flat = |strides: &[isize]| -> Option<i64> {
            let mut axes = s.batch.iter().zip(strides).rev().filter(|(n, _)| **n != 1);
            let Some((&n, &inner)) = axes.next() else { return Some(0) };
            // cuBLAS's manual says nothing of strides below 0.
            if inner < 0 {
                return None;
            }
            let mut reach = inner.checked_mul(n as isize)?;
            for (&n, &stride) in axes {
                if stride != reach {
                    return None;
                }
                reach = stride.checked_mul(n as isize)?;
            }
            i64::try_from(inner).ok()
        };
        let side = |strides: &[isize], rows: usize, columns: usize| -> Option<Side> {
            let (row, column) = (strides[r], strides[r + 1]);
            let batch = flat(&strides[..r])?;
            // What lies row by row here, cuBLAS reads column by column as its transpose: just what it is to read.
            for (inner, outer, length, count, transposed) in
                [(column, row, columns, rows, false), (row, column, rows, columns, true)]
            {
                let dense = inner == 1 || length == 1;
                let lead = if count == 1 { length.max(1) as isize } else { outer };
                if dense && lead >= length.max(1) as isize {
                    return Some(Side { transposed, lead: c_int::try_from(lead).ok()?, batch });
                }
            }
            None
        };
        let (a_side, b_side) = (side(&a.strides, s.m, s.k)?, side(&b.strides, s.k, s.n)?);
        let c_side = side(&c.strides, s.m, s.n).filter(|c| !c.transposed)?;
        let batch = int(s.batch.iter().product())?;
        Some(Gemm {
            dtype: s.dtype,
            size,
            b: b_side,
            a: a_side,
            c: (c_side.lead, c_side.batch),
            batch,
            offsets: [a.offset, b.offset, c.offset],
        })
    }
}

impl Blas {
    /// A handle on the GPU's stream; a reason where cuBLAS does not start. A lost device and want of memory are errors.
    fn new(functions: &'static Functions, pool: &Pool) -> Result<Result<Blas, String>> {
        let gpu = pool.gpu();
        gpu.bind()?;
        let made = Cell::new(std::ptr::null_mut());
        // SAFETY: the out pointer is valid; the context is bound.
        let create = || unsafe { (functions.create)(made.as_ptr()) };
        let fails = |call: &str, status: Status| -> Result<Result<Blas, String>> {
            // A lost device is no matter of cuBLAS.
            gpu.synchronize()?;
            Ok(Err(format!("{call} gives {}", meaning(status))))
        };
        let tried = Cell::new(false);
        let short = || !tried.replace(true) || gpu.free_memory().is_ok_and(|(free, _)| free < workspace(gpu));
        let status = making_room(pool, || match create() {
            // So it says, too, where there is no memory for its code: that shows once what is kept was given back.
            NOT_INITIALIZED if short() => ALLOC_FAILED,
            status => status,
        })?;
        if status != 0 {
            return fails("cublasCreate", status);
        }
        let owned = Owned { handle: made.get(), destroy: functions.destroy };
        // SAFETY: handle and stream are of one context and live.
        let stream = || unsafe { (functions.set_stream)(owned.handle, gpu.cu_stream().cast()) };
        // SAFETY: the handle lives.
        let mode = || unsafe { (functions.set_math_mode)(owned.handle, NO_REDUCED_PRECISION) };
        let settings: [(&str, &dyn Fn() -> Status); 2] = [("cublasSetStream", &stream), ("cublasSetMathMode", &mode)];
        for (call, set) in settings {
            match making_room(pool, set)? {
                0 => {}
                status => return fails(call, status),
            }
        }
        Ok(Ok(Blas { functions, handle: Mutex::new(owned) }))
    }

    /// Queues a product: the call and its status.
    fn run(&self, g: &Gemm, pool: &Pool, args: &Args<'_>, tf32: bool) -> Result<(&'static str, Status)> {
        let Some(kind) = data_type(g.dtype) else {
            return Err(Error::Internal { stage: "cublas", detail: format!("{} is no type of cuBLAS", g.dtype) });
        };
        let compute = match g.dtype {
            DType::F64 => COMPUTE_64F,
            DType::F32 if tf32 => COMPUTE_32F_TF32,
            _ => COMPUTE_32F,
        };
        let at = |n: usize| args.bases[n].wrapping_add_signed(g.offsets[n] * g.dtype.size() as isize) as *mut c_void;
        let (one, zero) = ((1.0f32, 1.0f64), (0.0f32, 0.0f64));
        let pick = |v: &(f32, f64)| -> *const c_void {
            if g.dtype == DType::F64 { (&raw const v.1).cast() } else { (&raw const v.0).cast() }
        };
        let (alpha, beta) = (pick(&one), pick(&zero));
        let [m, n, k] = g.size;
        let (ta, tb) = (g.b.transposed as c_int, g.a.transposed as c_int);
        pool.gpu().bind()?;
        let handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        if g.batch == 1 {
            // SAFETY: the operands are memory of this device that the caller keeps until the call is queued; sizes and strides are of
            // just that memory; the scalars are read before the call returns.
            let status = making_room(pool, || unsafe {
                (self.functions.gemm)(
                    handle.handle,
                    ta,
                    tb,
                    m,
                    n,
                    k,
                    alpha,
                    at(1),
                    kind,
                    g.b.lead,
                    at(0),
                    kind,
                    g.a.lead,
                    beta,
                    at(2),
                    kind,
                    g.c.0,
                    compute,
                    DEFAULT,
                )
            })?;
            return Ok(("cublasGemmEx", status));
        }
        // SAFETY: as above.
        let status = making_room(pool, || unsafe {
            (self.functions.gemm_batched)(
                handle.handle,
                ta,
                tb,
                m,
                n,
                k,
                alpha,
                at(1),
                kind,
                g.b.lead,
                g.b.batch,
                at(0),
                kind,
                g.a.lead,
                g.a.batch,
                beta,
                at(2),
                kind,
                g.c.0,
                g.c.1,
                g.batch,
                compute,
                DEFAULT,
            )
        })?;
        Ok(("cublasGemmStridedBatchedEx", status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Bind;

    fn spec(batch: &[usize], [m, n, k]: [usize; 3], strides: [&[isize]; 3]) -> GemmSpec {
        let bind = |s: &[isize]| Bind { slot: 0, offset: 0, strides: s.into(), gather: None };
        GemmSpec { dtype: DType::F32, batch: batch.into(), m, n, k, operands: strides.map(bind).into(), blocks: None }
    }

    /// What the call reads, element by element, as cuBLAS defines it: op(X)[i, j] at lead and batch strides.
    fn address(side: Side, row: usize, column: usize, batch: usize) -> isize {
        // Columns first: the element in row r and column c is at c * lead + r.
        let (r, c) = if side.transposed { (column, row) } else { (row, column) };
        c as isize * side.lead as isize + r as isize + batch as isize * side.batch as isize
    }

    #[test]
    fn strides_become_transpositions_and_leading_dimensions() {
        let (m, n, k) = (3usize, 5usize, 4usize);
        let layouts_a: [&[isize]; 5] = [&[0, 4, 1], &[0, 9, 1], &[12, 1, 3], &[100, 1, 7], &[12, 4, 1]];
        let layouts_b: [&[isize]; 4] = [&[20, 5, 1], &[0, 8, 1], &[20, 1, 4], &[0, 1, 6]];
        for a in layouts_a {
            for b in layouts_b {
                let g = Gemm::new(&spec(&[2], [m, n, k], [a, b, &[15, 5, 1]])).unwrap();
                assert_eq!((g.size, g.batch, g.c), ([5, 3, 4], 2, (5, 15)));
                for z in 0..2 {
                    for kk in 0..k {
                        for i in 0..m {
                            // The second operand of the call is A^T: k rows, m columns.
                            let want = z as isize * a[0] + i as isize * a[1] + kk as isize * a[2];
                            assert_eq!(address(g.a, kk, i, z), want, "{a:?}");
                        }
                        for j in 0..n {
                            let want = z as isize * b[0] + kk as isize * b[1] + j as isize * b[2];
                            assert_eq!(address(g.b, j, kk, z), want, "{b:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn layouts_that_cublas_cannot_take_are_left_to_our_kernel() {
        let c: &[isize] = &[5, 1];
        let size = [3, 5, 4];
        for (a, why) in [
            (&[8, 2][..], "every other column"),
            (&[-4, 1][..], "rows backwards"),
            (&[4, -1][..], "columns backwards"),
            (&[0, 1][..], "one row for all"),
            (&[1, 1][..], "a sliding window"),
        ] {
            assert!(Gemm::new(&spec(&[], size, [a, &[5, 1], c])).is_none(), "{why}");
        }
        assert!(Gemm::new(&spec(&[], [3, 5, 0], [&[0, 1], &[5, 1], c])).is_none(), "nothing to add up");
        assert!(Gemm::new(&spec(&[2, 2], size, [&[100, 12, 4, 1], &[0, 0, 5, 1], &[30, 15, 5, 1]])).is_none());
        assert!(Gemm::new(&spec(&[2, 2], size, [&[24, 12, 4, 1], &[0, 0, 5, 1], &[30, 15, 5, 1]])).is_some());
        assert!(Gemm::new(&spec(&[2], size, [&[-12, 4, 1], &[0, 5, 1], &[15, 5, 1]])).is_none(), "matrices backwards");
        // Rows and columns of one element may have any stride.
        assert!(Gemm::new(&spec(&[], [1, 5, 4], [&[0, 1], &[5, 1], c])).is_some());
        assert!(Gemm::new(&spec(&[], [3, 5, 1], [&[4, 0], &[0, 1], c])).is_some());
    }
}
