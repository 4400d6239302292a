//! Pairs of rows in one kernel: products with what follows them, and folds of what pairs give.

use crate::harness::{makes_kernels, on_the_host};
use ndarray::{Array1, Array2, Axis, NewAxis, s};
use ndcuda::debug::{Trace, trace};
use ndcuda::distance::{self, Metric, cdist};
use ndcuda::{Device, DeviceArray1, DeviceArray2, Float};

/// Rows with some equal to each other, none round numbers.
fn rows<T: Float>(dev: &Device, n: usize, d: usize, seed: usize) -> DeviceArray2<T> {
    let value = |i: usize, j: usize| {
        let r = ((i % 61) * 7919 + j * 104_729 + seed * 31).wrapping_mul(2_654_435_761) >> 9;
        T::from_f64((r % 100_003) as f64 / 7919.0 - 6.0)
    };
    dev.from_fn((n, d), |(i, j)| value(i, j)).unwrap()
}

#[track_caller]
fn traced(f: impl FnOnce() -> ndcuda::Result<()>) -> Trace {
    let (r, t) = trace(f);
    r.unwrap();
    t
}

/// Whether folds of distances run without their matrix: CUDA stores it.
fn folds_without_a_matrix(dev: &Device) -> bool {
    on_the_host(dev)
}

fn expanded_is_one_kernel_and_exact_on_equal_rows(dev: &Device) {
    fn check<T: Float<Sum = T, Mean = T> + std::fmt::Debug>(dev: &Device, (n, m, d): (usize, usize, usize)) {
        let (x, y) = (rows::<T>(dev, n, d, 1), rows::<T>(dev, m, d, 1));
        let size = size_of::<T>();
        let d2 = distance::sqeuclidean_expanded(&x, &y);
        let t = traced(|| d2.eval());
        assert_eq!((t.kernels, t.allocated), (1, n * m * size), "{n} x {m} x {d}: {t:?}");
        let host = d2.to_ndarray().unwrap();
        for ((i, j), &v) in host.indexed_iter() {
            // Rows of one seed repeat with period 61.
            assert!(i % 61 != j % 61 || v == T::ZERO, "rows {i} and {j} of {n} x {m} x {d} are equal: {v:?}");
        }
        let direct = distance::sqeuclidean_broadcast(&x, &y);
        let scale = direct.max().item().unwrap().to_f64();
        let near = if size == 4 { 1e-6 } else { 1e-14 };
        d2.all_close(&direct.to_ndarray().unwrap(), 30.0 * near, scale * near * 4.0).unwrap();
        // The product alone is still a product.
        let dot = x.dot(&y.t());
        assert!(dot.show().unwrap().contains("gemm") || n == 1 || m == 1);
        // Its bits are those of the fused one, but for a library's own order.
        if !on_the_host(dev) {
            return;
        }
        assert_eq!((x.dot(&y.t()) + T::ZERO).to_ndarray().unwrap(), dot.to_ndarray().unwrap());
    }
    for shape in [(70, 90, 17), (64, 64, 64), (130, 7, 300), (2, 3, 1000), (65, 66, 2), (300, 1030, 5)] {
        check::<f32>(dev, shape);
        check::<f64>(dev, shape);
    }
    let (x, y) = (rows::<f32>(dev, 20, 9, 1), rows::<f32>(dev, 30, 9, 2));
    let hosts = |x: &DeviceArray2<f32>| x.to_ndarray().unwrap();
    let (hx, hy) = (hosts(&x), hosts(&y));
    // Bias and activation, and the same through views.
    let b: DeviceArray1<f32> = dev.from_fn(30, |i| i as f32 - 11.0).unwrap();
    let want = (hx.dot(&hy.t()) + b.to_ndarray().unwrap()).mapv(|v| v.max(0.0));
    let t = traced(|| {
        let relu = (x.dot(&y.t()) + &b).maximum(0.0);
        relu.all_close(&want, 1e-5, 1e-4)
    });
    assert_eq!(t.kernels, 1, "{t:?}");
    let both = x.dot(&y.t()) * 2.0 + y.dot(&x.t()).t();
    both.all_close(&(hx.dot(&hy.t()) * 3.0), 1e-5, 1e-4).unwrap();
    (x.dot(&y.t()) + 1.0).t().all_close(&(hx.dot(&hy.t()) + 1.0).t(), 1e-5, 1e-4).unwrap();
    let twice = x.dot(&y.t());
    (&twice + twice.slice(s![..;-1, ..])).eval().unwrap();
    let three = (x.dot(&y.t()) + 1.0).dot(&y) - x.dot(&y.t()).sum_keep(Axis(1));
    let host = (hx.dot(&hy.t()) + 1.0).dot(&hy) - hx.dot(&hy.t()).sum_axis(Axis(1)).insert_axis(Axis(1));
    three.all_close(&host, 1e-4, 1e-2).unwrap();
}

/// Folds of pairs over one side have the bits of the same folds of the stored matrix, in one kernel without it.
fn folds_of_pairs_store_no_matrix(dev: &Device) {
    fn check<T: Float<Sum = T, Mean = T>>(dev: &Device, (n, m, d): (usize, usize, usize), metric: Metric) {
        // What a stored matrix and its norms are fused with differs from one expression to the next, and so their last bits.
        if metric == Metric::Cosine && !folds_without_a_matrix(dev) {
            return;
        }
        let (x, y) = (rows::<T>(dev, n, d, 1), rows::<T>(dev, m, d, 2));
        let make = || cdist(&x, &y, metric);
        let stored = make();
        stored.eval().unwrap();
        let size = size_of::<T>();
        for axis in [Axis(0), Axis(1)] {
            let what = format!("{metric} {n} x {m} x {d} over {axis:?}");
            let left = if axis.index() == 0 { m } else { n };
            let one = |t: Trace, bytes: usize| {
                let stores = !folds_without_a_matrix(dev);
                assert!(stores || (t.kernels, t.allocated) == (1, bytes * left), "{what}: {t:?}");
            };
            let (at, low) = (make().argmin_axis(axis), make().min_axis(axis));
            one(traced(|| at.eval()), 8);
            one(traced(|| low.eval()), size);
            assert_eq!(at.to_ndarray().unwrap(), stored.argmin_axis(axis).to_ndarray().unwrap(), "{what}");
            assert_eq!(low.to_ndarray().unwrap(), stored.min_axis(axis).to_ndarray().unwrap(), "{what}");
            // Both at once, of one matrix that is held.
            let all = make();
            let (at, high) = (all.argmax_axis(axis), all.max_axis(axis));
            one(traced(|| ndcuda::eval((&at, &high))), 8 + size);
            assert_eq!(at.to_ndarray().unwrap(), stored.argmax_axis(axis).to_ndarray().unwrap(), "{what}");
            assert_eq!(high.to_ndarray().unwrap(), stored.max_axis(axis).to_ndarray().unwrap(), "{what}");
            let near = |d: DeviceArray2<T>| d.less(T::from_f64(20.0)).count_nonzero_axis(axis);
            let (count, any) = (near(make()), make().less(T::from_f64(9.0)).any_axis(axis));
            one(traced(|| count.eval()), 8);
            one(traced(|| any.eval()), 1);
            assert_eq!(count.to_ndarray().unwrap(), near(stored.clone()).to_ndarray().unwrap(), "{what}");
            assert_eq!(any.to_ndarray().unwrap(), stored.less(T::from_f64(9.0)).any_axis(axis).to_ndarray().unwrap());
            if axis.index() == 1 {
                // With weights on the other rows, and something to follow.
                let w = dev.from_fn(m, |j| T::from_f64((j % 7) as f64 - 2.0)).unwrap();
                let kernel = |d: DeviceArray2<T>| ((d * T::from_f64(-0.01)).exp() * &w).sum_axis(axis).abs() + T::ONE;
                let sum = kernel(make());
                let t = traced(|| sum.eval());
                let stores = !folds_without_a_matrix(dev);
                assert!(stores || (t.kernels, t.allocated) == (1, n * size), "{what}: {t:?}");
                // A product with a stored matrix is folded in another order.
                let near = if size == 4 { 1e-5 } else { 1e-13 };
                sum.all_close(&kernel(stored.clone()).to_ndarray().unwrap(), near, near * 10.0).unwrap();
                let sum = make().sum_axis(axis);
                one(traced(|| sum.eval()), size);
                assert_eq!(sum.to_ndarray().unwrap(), stored.sum_axis(axis).to_ndarray().unwrap(), "{what}");
            }
        }
    }
    for metric in [Metric::SqEuclidean, Metric::Euclidean, Metric::CityBlock, Metric::Chebyshev, Metric::Cosine] {
        for shape in [(70, 90, 17), (3, 2500, 5), (2, 70_000, 3), (65, 65, 65), (257, 33, 300)] {
            check::<f32>(dev, shape, metric);
        }
        check::<f64>(dev, (49, 1100, 20), metric);
    }
    // No result has fewer bits for it: one row.
    let (x, y) = (rows::<f32>(dev, 1, 32, 1), rows::<f32>(dev, 70_000, 32, 2));
    let t = traced(|| cdist(&x, &y, Metric::Euclidean).argmin_axis(Axis(1)).eval());
    assert!(!folds_without_a_matrix(dev) || (t.kernels, t.allocated) == (1, 8), "{t:?}");
    if !makes_kernels(dev) {
        return;
    }
    let two = rows::<f32>(dev, 2, 32, 1);
    for f in [distance::sqeuclidean_broadcast::<f32>, distance::sqeuclidean_expanded] {
        let (one, all) = (f(&x, &y).min_axis(Axis(1)), f(&two, &y).min_axis(Axis(1)));
        assert_eq!(one.to_ndarray().unwrap()[0].to_bits(), all.to_ndarray().unwrap()[0].to_bits());
    }
}

fn folds_of_pairs_treat_nan_and_ties_as_numpy(dev: &Device) {
    let mut hx = rows::<f32>(dev, 50, 8, 1).to_ndarray().unwrap();
    hx[[7, 3]] = f32::NAN;
    hx[[20, 0]] = f32::INFINITY;
    let mut hy = hx.clone();
    hy[[31, 2]] = f32::NAN;
    let (x, y) = (dev.array(&hx).unwrap(), dev.array(&hy).unwrap());
    let d = || distance::cityblock(&x, &y);
    let host = d().to_ndarray().unwrap();
    let row = |i: usize| host.row(i).to_vec();
    let first_nan = |r: &[f32]| r.iter().position(|v| v.is_nan());
    let want = Array1::from_shape_fn(50, |i| first_nan(&row(i)).unwrap() as i64);
    assert_eq!(d().argmin_axis(Axis(1)), want);
    assert!(d().min_axis(Axis(1)).to_ndarray().unwrap().iter().all(|v| v.is_nan()));
    // Without the rows of NaN: the first of equal ones.
    let y = dev.array(&hx.slice(s![8..20, ..])).unwrap();
    let twice = dev.array(ndarray::concatenate![Axis(0), hx.slice(s![8..20, ..]), hx.slice(s![8..20, ..])]).unwrap();
    let at = distance::cityblock(&y, &twice).argmin_axis(Axis(1));
    assert_eq!(at, Array1::from_iter(0..12i64));
}

/// The nearest row of 4000 for each of 4000: no 64 MB matrix.
fn the_nearest_row_needs_little_memory(dev: &Device) {
    let n = if cfg!(debug_assertions) { 1000 } else { 4000 };
    let (x, y) = (rows::<f32>(dev, n, 128, 1), rows::<f32>(dev, n, 128, 2));
    let nearest = distance::sqeuclidean_broadcast(&x, &y).argmin_axis(Axis(1));
    let t = traced(|| nearest.eval());
    assert!(!folds_without_a_matrix(dev) || (t.kernels, t.peak) == (1, n * 8), "{t:?}");
    let stored = distance::sqeuclidean_broadcast(&x, &y);
    stored.eval().unwrap();
    assert_eq!(nearest.to_ndarray().unwrap(), stored.argmin_axis(Axis(1)).to_ndarray().unwrap());
}

/// What is held and needed again is stored the second time.
fn a_held_matrix_is_computed_twice_at_most(dev: &Device) {
    let (x, y) = (rows::<f32>(dev, 60, 500, 1), rows::<f32>(dev, 50, 500, 2));
    for metric in [Metric::SqEuclidean, Metric::Euclidean, Metric::Cosine] {
        let d = cdist(&x, &y, metric);
        let inputs = 110 * 500 * 4;
        let t = [0; 4].map(|_| traced(|| d.argmin_axis(Axis(1)).eval()).bytes_read);
        // Where the matrix is stored, it is read, too, and rows once more for their norms.
        let read = if folds_without_a_matrix(dev) { inputs } else { 2 * inputs + 60 * 50 * 4 + 500 };
        assert!(t[0] <= read && t[2] <= 60 * 50 * 4 + 500 && t[3] <= t[2], "{metric}: {t:?} bytes read");
    }
}

fn what_the_kernel_cannot_do_is_still_right(dev: &Device) {
    let (x, y) = (rows::<f64>(dev, 12, 7, 1), rows::<f64>(dev, 9, 7, 2));
    let host = |x: &DeviceArray2<f64>| x.to_ndarray().unwrap();
    let d: Array2<f64> = host(&cdist(&x, &y, Metric::SqEuclidean));
    let fresh = || cdist(&x, &y, Metric::SqEuclidean);
    assert_eq!(fresh().max().item().unwrap(), d.iter().copied().fold(0.0, f64::max));
    let centred = fresh() - fresh().min_keep(Axis(1));
    let low = d.map_axis(Axis(1), |r| r.fold(f64::INFINITY, |a, &b| a.min(b)));
    assert_eq!(host(&centred), &d - &low.clone().insert_axis(Axis(1)));
    let second = (fresh() - fresh().min_keep(Axis(1))).max_axis(Axis(1)).to_ndarray().unwrap();
    assert_eq!(second, (&d - &low.insert_axis(Axis(1))).map_axis(Axis(1), |r| r.fold(0.0, |a: f64, &b| a.max(b))));
    let canberra = cdist(&x, &y, Metric::Canberra);
    canberra.eval().unwrap();
    let at = cdist(&x, &y, Metric::Canberra).argmin_axis(Axis(1));
    assert_eq!(at.to_ndarray().unwrap(), canberra.argmin_axis(Axis(1)).to_ndarray().unwrap());
    // Batches of pairs, and none at all.
    let b = dev.from_fn((3, 6, 4), |(b, i, k)| ((b * 31 + i * 7 + k * 3) % 11) as f64).unwrap();
    let pairs = || (b.slice(s![.., .., NewAxis, ..]) - b.slice(s![.., NewAxis, .., ..])).abs().sum_axis(Axis(3));
    let stored = pairs();
    stored.eval().unwrap();
    let (at, all) = (pairs().argmax_axis(Axis(2)), stored.argmax_axis(Axis(2)));
    assert_eq!(at.to_ndarray().unwrap(), all.to_ndarray().unwrap());
    for (n, m, d) in [(0, 3, 2), (3, 0, 2), (3, 3, 0), (1, 1, 0)] {
        let (x, y) = (rows::<f32>(dev, n, d, 1), rows::<f32>(dev, m, d, 2));
        let sums = distance::sqeuclidean_broadcast(&x, &y).sum_axis(Axis(1));
        assert_eq!(sums, Array1::<f32>::zeros(n));
        assert_eq!(distance::sqeuclidean_expanded(&x, &y), Array2::<f32>::zeros((n, m)));
    }
}

tests_on_devices! {
    expanded_is_one_kernel_and_exact_on_equal_rows folds_of_pairs_store_no_matrix folds_of_pairs_treat_nan_and_ties_as_numpy
    the_nearest_row_needs_little_memory a_held_matrix_is_computed_twice_at_most what_the_kernel_cannot_do_is_still_right
}
