//! cuBLAS through cudarc on the stand-ins, against sums in f64.

mod common;

use std::ffi::c_void;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use common::{code, control, device, in_child};
use cudarc::cublas::sys::cublasComputeType_t as Compute;
use cudarc::cublas::sys::cublasOperation_t::{self as Op, CUBLAS_OP_N, CUBLAS_OP_T};
use cudarc::cublas::sys::{self, cublasMath_t as MathMode, cublasStatus_t as Status, cudaDataType_t as Type};
use cudarc::cublas::{CudaBlas, Gemm, GemmConfig, Gemv, GemvConfig, StridedBatchedConfig, result};
use cudarc::driver::sys::CUresult;
use cudarc::driver::{CudaSlice, DevicePtr};
use half::{bf16, f16};
use softcuda_driver::control::{self, Blas, Kind};

/// One test at a time: the log and the faults are the process's.
fn blas() -> (Blas, MutexGuard<'static, ()>) {
    static ONE: Mutex<()> = Mutex::new(());
    static BLAS: OnceLock<Blas> = OnceLock::new();
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    control();
    (*BLAS.get_or_init(|| control::load_blas().unwrap()), guard)
}

/// Small whole numbers: their sums are exact in every type here.
fn numbers(n: usize, seed: u32) -> Vec<f64> {
    (0..n as u32).map(|i| f64::from((i * 7 + seed * 13 + i * i % 11) % 9) - 4.0).collect()
}

fn at(x: &[f64], op: Op, ld: usize, row: usize, col: usize) -> f64 {
    if op == CUBLAS_OP_N { x[row + col * ld] } else { x[col + row * ld] }
}

/// What C holds after the product; `None` in C is memory that beta 0 must not read.
#[allow(clippy::too_many_arguments)]
fn expected(
    ops: [Op; 2],
    [m, n, k]: [usize; 3],
    alpha: f64,
    (a, lda): (&[f64], usize),
    (b, ldb): (&[f64], usize),
    beta: f64,
    (c, ldc): (&[f64], usize),
) -> Vec<f64> {
    let mut out = c.to_vec();
    for j in 0..n {
        for i in 0..m {
            let sum: f64 = (0..k).map(|l| at(a, ops[0], lda, i, l) * at(b, ops[1], ldb, l, j)).sum();
            let old = if beta == 0.0 { 0.0 } else { beta * c[i + j * ldc] };
            out[i + j * ldc] = alpha * sum + old;
        }
    }
    out
}

#[test]
fn products_of_f32_and_f64() {
    let (_blas, _alone) = blas();
    let (_context, stream) = device();
    let cublas = CudaBlas::new(stream.clone()).unwrap();
    let (m, n, k) = (5usize, 4usize, 7usize);
    for ops in [[CUBLAS_OP_N; 2], [CUBLAS_OP_T, CUBLAS_OP_N], [CUBLAS_OP_N, CUBLAS_OP_T], [CUBLAS_OP_T; 2]] {
        for (pad, alpha, beta) in [(0, 1.0, 0.0), (3, 2.0, -0.5), (1, 0.0, 2.0)] {
            let rows = |op: Op, rows, cols| if op == CUBLAS_OP_N { [rows, cols] } else { [cols, rows] };
            let ([ar, ac], [br, bc]) = (rows(ops[0], m, k), rows(ops[1], k, n));
            let (lda, ldb, ldc) = (ar + pad, br + pad, m + pad);
            let a = numbers(lda * ac - pad, 1);
            let b = numbers(ldb * bc - pad, 2);
            // Not a number may lie in C if beta is 0.
            let c = if beta == 0.0 { vec![f64::NAN; ldc * n - pad] } else { numbers(ldc * n - pad, 3) };
            let want = expected(ops, [m, n, k], alpha, (&a, lda), (&b, ldb), beta, (&c, ldc));
            let config = GemmConfig {
                transa: ops[0],
                transb: ops[1],
                m: m as i32,
                n: n as i32,
                k: k as i32,
                alpha,
                lda: lda as i32,
                ldb: ldb as i32,
                beta,
                ldc: ldc as i32,
            };
            let [da, db, mut dc] = [&a, &b, &c].map(|x| stream.clone_htod(x).unwrap());
            // SAFETY: sizes that fit the arrays.
            unsafe { cublas.gemm(config, &da, &db, &mut dc) }.unwrap();
            let got = stream.clone_dtoh(&dc).unwrap();
            let same = |x: &f64, y: &f64| x == y || x.is_nan() && y.is_nan();
            assert!(got.iter().zip(&want).all(|(x, y)| same(x, y)), "{ops:?} {pad}: {got:?} {want:?}");

            let narrow = |x: &[f64]| x.iter().map(|&v| v as f32).collect::<Vec<_>>();
            let [da, db, mut dc] = [&a, &b, &c].map(|x| stream.clone_htod(&narrow(x)).unwrap());
            let config = GemmConfig {
                transa: ops[0],
                transb: ops[1],
                m: m as i32,
                n: n as i32,
                k: k as i32,
                alpha: alpha as f32,
                lda: lda as i32,
                ldb: ldb as i32,
                beta: beta as f32,
                ldc: ldc as i32,
            };
            // SAFETY: as above.
            unsafe { cublas.gemm(config, &da, &db, &mut dc) }.unwrap();
            let got = stream.clone_dtoh(&dc).unwrap();
            assert!(got.iter().zip(&want).all(|(x, y)| same(&f64::from(*x), y)), "{ops:?} {pad} in f32");
        }
    }
}

fn simple<T>(m: i32, n: i32, k: i32, one: T, zero: T) -> GemmConfig<T> {
    let (transa, transb) = (CUBLAS_OP_N, CUBLAS_OP_N);
    GemmConfig { transa, transb, m, n, k, alpha: one, lda: m.max(1), ldb: k.max(1), beta: zero, ldc: m.max(1) }
}

#[test]
fn batches_with_a_shared_operand() {
    let (_blas, _alone) = blas();
    let (_context, stream) = device();
    let cublas = CudaBlas::new(stream.clone()).unwrap();
    let (m, n, k, batch) = (3usize, 2usize, 4usize, 5usize);
    let (a, b) = (numbers(m * k, 4), numbers(batch * k * n, 5));
    let [da, db] = [&a, &b].map(|x| stream.clone_htod(x).unwrap());
    let mut dc = stream.alloc_zeros::<f64>(batch * m * n).unwrap();
    let gemm = simple(m as i32, n as i32, k as i32, 1.0, 0.0);
    let mut config = StridedBatchedConfig {
        gemm,
        batch_size: batch as i32,
        stride_a: 0,
        stride_b: (k * n) as i64,
        stride_c: (m * n) as i64,
    };
    // SAFETY: sizes that fit the arrays.
    unsafe { cublas.gemm_strided_batched(config, &da, &db, &mut dc) }.unwrap();
    let got = stream.clone_dtoh(&dc).unwrap();
    for (i, got) in got.chunks(m * n).enumerate() {
        let b = &b[i * k * n..];
        let want = expected([CUBLAS_OP_N; 2], [m, n, k], 1.0, (&a, m), (b, k), 0.0, (&vec![0.0; m * n], m));
        assert_eq!(got, want);
    }
    // Results that overlap are refused here.
    config.stride_c -= 1;
    // SAFETY: refused.
    let overlapping = unsafe { cublas.gemm_strided_batched(config, &da, &db, &mut dc) };
    assert_eq!(overlapping.unwrap_err().0, Status::CUBLAS_STATUS_INVALID_VALUE);
}

/// A product of 16-bit types with sums in f32.
fn mixed(
    cublas: &CudaBlas,
    [a, b, c]: [u64; 3],
    [of, to]: [Type; 2],
    [m, n, k]: [i32; 3],
    compute: Compute,
) -> Result<(), Status> {
    let (one, zero) = (1.0f32, 0.0f32);
    let scalar = |x: &f32| (&raw const *x).cast::<c_void>();
    let (n0, algo) = (CUBLAS_OP_N, sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT);
    // SAFETY: device addresses whose arrays have these sizes.
    unsafe {
        let (a, b, c) = (a as *const c_void, b as *const c_void, c as *mut c_void);
        let h = *cublas.handle();
        result::gemm_ex(h, n0, n0, m, n, k, scalar(&one), a, of, m, b, of, k, scalar(&zero), c, to, m, compute, algo)
    }
    .map_err(|e| e.0)
}

#[test]
fn half_precision_sums_in_f32() {
    let (blas, _alone) = blas();
    let (_context, stream) = device();
    let cublas = CudaBlas::new(stream.clone()).unwrap();
    let (m, n, k) = (4usize, 3usize, 600usize);
    let (a, b) = (numbers(m * k, 6), numbers(k * n, 7));
    let want = expected([CUBLAS_OP_N; 2], [m, n, k], 1.0, (&a, m), (&b, k), 0.0, (&vec![0.0; m * n], m));
    let place = |x: &CudaSlice<u16>| x.device_ptr(&stream).0;
    let sizes = [m, n, k].map(|s| s as i32);
    type Pair = (fn(f64) -> u16, fn(u16) -> f64, Type);
    let kinds: [Pair; 2] = [
        (|v| f16::from_f64(v).to_bits(), |v| f16::from_bits(v).into(), Type::CUDA_R_16F),
        (|v| bf16::from_f64(v).to_bits(), |v| bf16::from_bits(v).into(), Type::CUDA_R_16BF),
    ];
    for (narrow, wide, of) in kinds {
        let [da, db] = [&a, &b].map(|x| stream.clone_htod(&x.iter().map(|&v| narrow(v)).collect::<Vec<_>>()).unwrap());
        let dc = stream.alloc_zeros::<u16>(m * n).unwrap();
        mixed(&cublas, [&da, &db, &dc].map(place), [of; 2], sizes, Compute::CUBLAS_COMPUTE_32F).unwrap();
        let got: Vec<f64> = stream.clone_dtoh(&dc).unwrap().into_iter().map(wide).collect();
        assert_eq!(got, want.iter().map(|&v| wide(narrow(v))).collect::<Vec<_>>());
        let df = stream.alloc_zeros::<f32>(m * n).unwrap();
        let places = [place(&da), place(&db), df.device_ptr(&stream).0];
        mixed(&cublas, places, [of, Type::CUDA_R_32F], sizes, Compute::CUBLAS_COMPUTE_32F).unwrap();
        assert_eq!(stream.clone_dtoh(&df).unwrap(), want.iter().map(|&v| v as f32).collect::<Vec<_>>());
        let odd = mixed(&cublas, places, [of, Type::CUDA_R_64F], sizes, Compute::CUBLAS_COMPUTE_32F);
        assert_eq!(odd, Err(Status::CUBLAS_STATUS_NOT_SUPPORTED));
    }
    // The log tells whether 16-bit sums were barred, and whether TF32 was allowed.
    let before = blas.log();
    assert!(before.reduced_reductions >= 4 && before.handles == 1);
    let da = stream.alloc_zeros::<u16>(16).unwrap();
    let places = [place(&da); 3];
    let mode = |mode: MathMode| {
        // SAFETY: a handle that is alive.
        assert_eq!(unsafe { sys::cublasSetMathMode(*cublas.handle(), mode) }, Status::CUBLAS_STATUS_SUCCESS);
    };
    mode(MathMode::CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION);
    mixed(&cublas, places, [Type::CUDA_R_16F; 2], [4; 3], Compute::CUBLAS_COMPUTE_32F).unwrap();
    assert_eq!(blas.log().reduced_reductions, before.reduced_reductions);
    assert_eq!(blas.log().math_mode, 16);
    mode(MathMode::CUBLAS_TF32_TENSOR_OP_MATH);
    let x = stream.clone_htod(&[1.0f32; 4]).unwrap();
    let mut y = stream.alloc_zeros::<f32>(4).unwrap();
    // SAFETY: sizes that fit the arrays.
    unsafe { cublas.gemm(simple(2, 2, 2, 1.0f32, 0.0), &x, &x, &mut y) }.unwrap();
    assert_eq!(blas.log().reduced, before.reduced + 1);
    mode(MathMode::CUBLAS_PEDANTIC_MATH);
    // SAFETY: as above.
    unsafe { cublas.gemm(simple(2, 2, 2, 1.0f32, 0.0), &x, &x, &mut y) }.unwrap();
    assert_eq!(blas.log().reduced, before.reduced + 1);
}

#[test]
fn matrices_times_vectors() {
    let (_blas, _alone) = blas();
    let (_context, stream) = device();
    let cublas = CudaBlas::new(stream.clone()).unwrap();
    let (m, n) = (5usize, 3usize);
    let a = numbers(m * n, 8);
    let da = stream.clone_htod(&a).unwrap();
    for (trans, incx, incy) in [(CUBLAS_OP_N, 1, 1), (CUBLAS_OP_N, 2, -3), (CUBLAS_OP_T, -1, 2)] {
        let (len_x, len_y) = if trans == CUBLAS_OP_N { (n, m) } else { (m, n) };
        let size = |len: usize, step: i32| (len - 1) * step.unsigned_abs() as usize + 1;
        let place =
            |i: usize, len: usize, step: i32| (if step < 0 { len - 1 - i } else { i }) * step.unsigned_abs() as usize;
        let (x, y) = (numbers(size(len_x, incx), 9), numbers(size(len_y, incy), 10));
        let mut want = y.clone();
        for i in 0..len_y {
            let sum: f64 = (0..len_x).map(|j| at(&a, trans, m, i, j) * x[place(j, len_x, incx)]).sum();
            want[place(i, len_y, incy)] = 2.0 * sum + 3.0 * y[place(i, len_y, incy)];
        }
        let config = GemvConfig { trans, m: m as i32, n: n as i32, alpha: 2.0, lda: m as i32, incx, beta: 3.0, incy };
        let (dx, mut dy) = (stream.clone_htod(&x).unwrap(), stream.clone_htod(&y).unwrap());
        // SAFETY: sizes that fit the arrays.
        unsafe { cublas.gemv(config, &da, &dx, &mut dy) }.unwrap();
        assert_eq!(stream.clone_dtoh(&dy).unwrap(), want, "{trans:?} {incx} {incy}");
    }
}

#[test]
fn arguments_are_checked() {
    let (_blas, _alone) = blas();
    let (_context, stream) = device();
    let cublas = CudaBlas::new(stream.clone()).unwrap();
    let x = stream.clone_htod(&[1.0f64; 64]).unwrap();
    let mut y = stream.clone_htod(&[5.0f64; 64]).unwrap();
    let mut run = |config: GemmConfig<f64>| {
        // SAFETY: sizes that fit the arrays, or are refused.
        unsafe { cublas.gemm(config, &x, &x, &mut y) }.map_err(|e| e.0)
    };
    let good = simple(4, 3, 2, 1.0, 0.0);
    let invalid = Err(Status::CUBLAS_STATUS_INVALID_VALUE);
    assert_eq!(run(GemmConfig { lda: 3, ..good }), invalid);
    assert_eq!(run(GemmConfig { ldb: 1, ..good }), invalid);
    assert_eq!(run(GemmConfig { ldc: 3, ..good }), invalid);
    assert_eq!(run(GemmConfig { transa: CUBLAS_OP_T, lda: 1, ..good }), invalid);
    assert_eq!(run(GemmConfig { m: -1, ..good }), invalid);
    assert_eq!(run(GemmConfig { m: 0, ..good }), Ok(()));
    // No terms: C is scaled.
    assert_eq!(run(GemmConfig { beta: 2.0, ..simple(4, 3, 0, 1.0, 0.0) }), Ok(()));
    let got = stream.clone_dtoh(&y).unwrap();
    assert_eq!((&got[..12], got[12]), (&[10.0; 12][..], 5.0));
}

#[test]
fn out_of_bounds_is_a_fault() {
    let (_blas, _alone) = blas();
    {
        let (_context, stream) = device();
        let cublas = CudaBlas::new(stream.clone()).unwrap();
        let x = stream.clone_htod(&[1.0f32; 16]).unwrap();
        let mut y = stream.alloc_zeros::<f32>(15).unwrap();
        // SAFETY: C is an element too short, which is found.
        unsafe { cublas.gemm(simple(4, 4, 4, 1.0f32, 0.0), &x, &x, &mut y) }.unwrap();
        assert_eq!(code(stream.synchronize()), CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
        // SAFETY: nothing runs in a context that has failed.
        let next = unsafe { cublas.gemm(simple(1, 1, 1, 1.0f32, 0.0), &x, &x, &mut y) };
        assert_eq!(next.unwrap_err().0, Status::CUBLAS_STATUS_EXECUTION_FAILED);
    }
    device();
}

#[test]
fn an_operand_that_was_never_written_is_a_fault() {
    let (_blas, _alone) = blas();
    {
        let (_context, stream) = device();
        let cublas = CudaBlas::new(stream.clone()).unwrap();
        let x = stream.clone_htod(&[1.0f32; 16]).unwrap();
        // SAFETY: never written: beta 0 leaves it unread as C, and as B it is found.
        let mut y = unsafe { stream.alloc::<f32>(16) }.unwrap();
        // SAFETY: as above.
        let never = unsafe { stream.alloc::<f32>(16) }.unwrap();
        // SAFETY: sizes that fit the arrays.
        unsafe { cublas.gemm(simple(4, 4, 4, 1.0f32, 0.0), &x, &x, &mut y) }.unwrap();
        assert_eq!(stream.clone_dtoh(&y).unwrap(), [4.0; 16]);
        // SAFETY: as above.
        unsafe { cublas.gemm(simple(4, 4, 4, 1.0f32, 0.0), &x, &never, &mut y) }.unwrap();
        assert_eq!(code(stream.synchronize()), CUresult::CUDA_ERROR_LAUNCH_FAILED);
        assert!(control().last_fault().unwrap().contains("uninitialised"));
    }
    device();
}

#[test]
fn deferred_products_run_in_their_stream() {
    in_child("deferred_products_run_in_their_stream", &[("NDCUDA_SOFT_DEFER", "1")], || {
        let (_blas, _alone) = blas();
        for wait in [true, false] {
            let (context, stream) = device();
            // SAFETY: the order of streams is this test's own affair.
            unsafe { context.disable_event_tracking() };
            let other = context.new_stream().unwrap();
            let cublas = CudaBlas::new(stream.clone()).unwrap();
            let mut y = stream.alloc_zeros::<f32>(16).unwrap();
            let x = other.clone_htod(&[1.0f32; 16]).unwrap();
            if wait {
                stream.join(&other).unwrap();
            }
            // SAFETY: sizes that fit the arrays.
            unsafe { cublas.gemm(simple(4, 4, 4, 1.0f32, 0.0), &x, &x, &mut y) }.unwrap();
            let got = stream.clone_dtoh(&y).map_err(|e| e.0);
            let want = if wait { Ok(vec![4.0; 16]) } else { Err(CUresult::CUDA_ERROR_LAUNCH_FAILED) };
            assert_eq!(got, want);
        }
    });
}

#[test]
fn calls_fail_on_request() {
    let (_blas, _alone) = blas();
    let (_context, stream) = device();
    let cublas = CudaBlas::new(stream.clone()).unwrap();
    let x = stream.clone_htod(&[1.0f32; 4]).unwrap();
    let mut y = stream.alloc_zeros::<f32>(4).unwrap();
    let mut run = || {
        // SAFETY: sizes that fit the arrays.
        unsafe { cublas.gemm(simple(2, 2, 2, 1.0f32, 0.0), &x, &x, &mut y) }.map_err(|e| e.0)
    };
    control().fail(Kind::Blas, 1);
    assert_eq!(run(), Err(Status::CUBLAS_STATUS_EXECUTION_FAILED));
    assert_eq!(run(), Ok(()));
    control().fail(Kind::Blas, 1);
    assert_eq!(CudaBlas::new(stream.clone()).unwrap_err().0, Status::CUBLAS_STATUS_ALLOC_FAILED);
}
