//! Pairs of rows in one kernel: products with what follows them, and folds of what pairs give.

use crate::harness::{makes_kernels, on_the_host};
use ndarray::{Array1, Array2, Array3, Axis, NewAxis, s};
use ndcuda::debug::{Trace, trace};
use ndcuda::distance::{self, Metric, cdist};
use ndcuda::{Device, DeviceArray1, DeviceArray2, DeviceArray3, Float, bf16, f16};

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

/// Whether folds of distances run without their matrix: the kernels that ship store it.
fn folds_without_a_matrix(dev: &Device) -> bool {
    makes_kernels(dev)
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

/// Folds of pairs over one side are one kernel without a matrix. They have the bits of the same folds of a stored one; sums on a GPU do not,
/// but whatever rows stand beside them.
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
                let (sum, whole) = (sum.to_ndarray().unwrap(), stored.sum_axis(axis));
                match on_the_host(dev) {
                    true => assert_eq!(sum, whole.to_ndarray().unwrap(), "{what}"),
                    false => whole.all_close(&sum, near, 0.0).unwrap(),
                }
                if n > 3 && folds_without_a_matrix(dev) {
                    let some = cdist(&x.slice(s![1..3, ..]), &y, metric).sum_axis(axis);
                    assert_eq!(some.to_ndarray().unwrap(), sum.slice(s![1..3]), "{what}");
                }
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
    // Equal rows and NaN on both sides of where tiles and chunks end.
    let (x, far) = (rows::<f32>(dev, 3, 5, 1).to_ndarray().unwrap(), Array2::from_elem((1030, 5), 50.0f32));
    for (first, second) in [(63, 64), (127, 128), (128, 600), (255, 256), (256, 1029), (0, 512), (511, 1024), (5, 6)] {
        let mut y = far.clone();
        y.row_mut(first).assign(&x.row(1));
        y.row_mut(second).assign(&x.row(1));
        let d = || distance::sqeuclidean_broadcast(&dev.array(&x).unwrap(), &dev.array(&y).unwrap());
        assert_eq!(d().argmin_axis(Axis(1)).to_ndarray().unwrap()[1], first as i64, "{first} and {second}");
        let mut y = far.clone();
        (y[[first, 2]], y[[second, 0]]) = (f32::NAN, f32::NAN);
        let d = || distance::sqeuclidean_broadcast(&dev.array(&x).unwrap(), &dev.array(&y).unwrap());
        assert_eq!(d().argmin_axis(Axis(1)), Array1::from_elem(3, first as i64));
        assert_eq!(d().argmax_axis(Axis(1)), Array1::from_elem(3, first as i64));
        assert!(d().max_axis(Axis(1)).to_ndarray().unwrap().iter().all(|v| v.is_nan()));
    }
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

/// The nearest row in either direction (Chamfer's distance): each direction makes the pairs for itself.
fn folds_over_both_sides_store_no_matrix(dev: &Device) {
    let chamfer = |d: &DeviceArray2<f32>| d.min_axis(Axis(1)).mean() + d.min_axis(Axis(0)).mean();
    let shapes: &[_] = if on_the_host(dev) { &[(2000, 2000, 40), (90, 70, 17)] } else { &[(90, 70, 17), (65, 65, 5)] };
    for &(n, m, k) in shapes {
        for metric in [Metric::SqEuclidean, Metric::Euclidean, Metric::Chebyshev, Metric::Cosine, Metric::Canberra] {
            if n == 2000 && metric == Metric::Canberra || !on_the_host(dev) && metric == Metric::Cosine {
                continue;
            }
            let what = format!("{metric} {n} x {m} x {k}");
            let (x, y) = (rows::<f32>(dev, n, k, 1), rows::<f32>(dev, m, k, 2));
            let all = cdist(&x, &y, metric);
            let (low, at) = (all.min_axis(Axis(1)), all.argmax_axis(Axis(0)));
            let t = traced(|| ndcuda::eval((&low, &at)));
            assert!(!folds_without_a_matrix(dev) || (t.kernels, t.peak) == (2, 4 * n + 8 * m), "{what}: {t:?}");
            let both = chamfer(&cdist(&x, &y, metric));
            let t = traced(|| both.eval());
            assert!(!folds_without_a_matrix(dev) || t.peak < 4 * n * m && t.kernels <= 6, "{what}: {t:?}");
            let stored = cdist(&x, &y, metric);
            stored.eval().unwrap();
            assert_eq!(low.to_ndarray().unwrap(), stored.min_axis(Axis(1)).to_ndarray().unwrap(), "{what}");
            assert_eq!(at.to_ndarray().unwrap(), stored.argmax_axis(Axis(0)).to_ndarray().unwrap(), "{what}");
            assert_eq!(both.to_ndarray().unwrap(), chamfer(&stored).to_ndarray().unwrap(), "{what}");
            // What a third needs is there from then on.
            let t = traced(|| ndcuda::eval((&all.max(), &all.argmin_axis(Axis(1)))));
            assert!(!folds_without_a_matrix(dev) || t.allocated >= 4 * n * m, "{what}: {t:?}");
            assert_eq!(traced(|| (&all + 0.0).eval()).bytes_read, 4 * n * m, "{what}");
        }
    }
    // Few pairs of long rows stay in a cache: they are made once.
    let (x, y) = (rows::<f32>(dev, 60, 500, 1), rows::<f32>(dev, 50, 500, 2));
    let d = cdist(&x, &y, Metric::CityBlock);
    let t = traced(|| ndcuda::eval((&d.min_axis(Axis(1)), &d.min_axis(Axis(0)))));
    assert!(t.bytes_read <= 110 * 500 * 4 + 2 * 60 * 50 * 4, "{t:?}");
    // Three are one too many.
    let (x, y) = (rows::<f32>(dev, 60, 5, 1), rows::<f32>(dev, 50, 5, 2));
    let d = cdist(&x, &y, Metric::CityBlock);
    let t = traced(|| ndcuda::eval((&d.min_axis(Axis(1)), &d.min_axis(Axis(0)), &d.sum())));
    assert!(t.bytes_written >= 60 * 50 * 4, "{t:?}");
}

/// What is held and needed again is stored the second time.
fn a_held_matrix_is_computed_twice_at_most(dev: &Device) {
    let (x, y) = (rows::<f32>(dev, 60, 500, 1), rows::<f32>(dev, 50, 500, 2));
    for metric in [Metric::SqEuclidean, Metric::Euclidean, Metric::Cosine] {
        let d = cdist(&x, &y, metric);
        let inputs = 110 * 500 * 4;
        let t = [0; 4].map(|_| traced(|| d.argmin_axis(Axis(1)).eval()).bytes_read);
        // Where the matrix is stored, it is read, too, and rows once more for their norms, which are read again.
        let read = if folds_without_a_matrix(dev) { inputs } else { 2 * inputs + 60 * 50 * 4 + 2 * 110 * 4 };
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

/// A chain in each segment of 256 steps, segments in their order.
fn chained(values: impl Iterator<Item = f32>, f: fn(f32, f32) -> f32) -> Option<f32> {
    let values: Vec<f32> = values.collect();
    values.chunks(256).filter_map(|s| s.iter().copied().reduce(f)).reduce(f)
}

/// Combines that no micro-kernel knows: the bits of plain Rust in that order, around every edge of a tile, whatever the layout.
fn any_combine_has_the_bits_of_plain_code(dev: &Device) {
    type Step = fn(f32, f32) -> f32;
    type Lazy = fn(DeviceArray3<f32>, DeviceArray3<f32>) -> DeviceArray2<f32>;
    let cases: [(&str, Lazy, Step, Step, f32); 8] = [
        ("sum |x + y|", |x, y| (x + y).abs().sum_axis(Axis(2)), |x, y| (x + y).abs(), |a, b| a + b, 0.0),
        ("sum of quotients", |x, y| (x / (y + 9.0)).sum_axis(Axis(2)), |x, y| x / (y + 9.0), |a, b| a + b, 0.0),
        (
            "sum of parts of one side",
            |x, y| (x.abs().sqrt() * (&y * &y) - y).sum_axis(Axis(2)),
            |x, y| x.abs().sqrt() * (y * y) - y,
            |a, b| a + b,
            0.0,
        ),
        ("sum of maxima", |x, y| x.maximum(y).sum_axis(Axis(2)), f32::max, |a, b| a + b, 0.0),
        (
            "product",
            |x, y| ((x - y) * 0.01 + 1.0).product_axis(Axis(2)),
            |x, y| (x - y) * 0.01 + 1.0,
            |a, b| a * b,
            1.0,
        ),
        ("least", |x, y| (x * 2.0 - y).min_axis(Axis(2)), |x, y| x * 2.0 - y, f32::min, f32::NAN),
        ("greatest", |x, y| (x * y).max_axis(Axis(2)), |x, y| x * y, f32::max, f32::NAN),
        (
            "how many are less",
            |x, y| x.less(y).cast::<f32>().sum_axis(Axis(2)),
            |x, y| (x < y) as u8 as f32,
            |a, b| a + b,
            0.0,
        ),
    ];
    let mut shapes = vec![(2, 3, 1), (7, 15, 3), (8, 16, 4), (9, 17, 5), (17, 65, 17), (3, 257, 31), (2, 1030, 9)];
    shapes.extend([(33, 64, 64), (5, 33, 256), (4, 70, 257), (3, 5, 1000), (3, 3, 0)]);
    if !cfg!(debug_assertions) {
        shapes.extend([(2, 2500, 300), (300, 40, 2), (2, 2, 70_000)]);
    }
    for (n, m, d) in shapes {
        let (x, y) = (rows::<f32>(dev, n, d, 1), rows::<f32>(dev, m, d, 2));
        let (hx, hy) = (x.to_ndarray().unwrap(), y.to_ndarray().unwrap());
        // The same rows in columns, backwards, and every other one of more.
        let columns = dev.array(&hy.t()).unwrap();
        let backwards = dev.array(&hx.slice(s![..;-1, ..;-1])).unwrap();
        let wide = dev.from_fn((n, 2 * d), |(i, j)| if j % 2 == 0 { hx[[i, j / 2]] } else { f32::NAN }).unwrap();
        let xs = [x.clone(), backwards.slice(s![..;-1, ..;-1]), wide.slice(s![.., ..;2])];
        let ys = [y.clone(), columns.t(), y.clone()];
        for (name, lazy, step, fold, nothing) in cases {
            if d == 0 && nothing.is_nan() {
                continue;
            }
            let want = Array2::from_shape_fn((n, m), |(i, j)| {
                chained((0..d).map(|c| step(hx[[i, c]], hy[[j, c]])), fold).unwrap_or(nothing)
            });
            for (layout, (x, y)) in xs.iter().zip(&ys).enumerate() {
                let what = format!("{name} of {n} x {m} x {d}, layout {layout}");
                let pairs = || lazy(x.slice(s![.., NewAxis, ..]), y.slice(s![NewAxis, .., ..]));
                let got = pairs().to_ndarray().unwrap();
                if !on_the_host(dev) {
                    pairs().all_close(&want, 1e-4, 1e-3).unwrap();
                    continue;
                }
                for (at, &v) in want.indexed_iter() {
                    // Zeros of both signs are equal.
                    assert_eq!(got[at], v, "{what} at {at:?}");
                }
                // One row has the bits it has among others (products of one row are folded as rows are).
                let last = lazy(x.slice(s![n - 1.., NewAxis, ..]), y.slice(s![NewAxis, .., ..]));
                let same = last.to_ndarray().unwrap().row(0) == want.row(n - 1);
                assert!(same || name == "product", "last row of {what}");
                if layout == 0 && d > 1 {
                    let t = traced(|| pairs().argmin_axis(Axis(1)).eval());
                    // What is costly of one side may be stored; the matrix is not.
                    assert!(t.allocated <= n * 8 + n * d * 4, "{what}: {t:?}");
                    let stored = dev.array(&want).unwrap().argmin_axis(Axis(1)).to_ndarray().unwrap();
                    assert_eq!(pairs().argmin_axis(Axis(1)).to_ndarray().unwrap(), stored, "{what}");
                }
            }
        }
    }
}

/// Other dtypes, batches, weights along k and several folds at once.
fn any_combine_takes_every_dtype(dev: &Device) {
    let (n, m, d) = (11, 70, 300);
    let k = Axis(2);
    // Whole numbers wrap; sums are i64.
    let x = dev.from_fn((n, d), |(i, c)| (i * 37 + c * 11) as i32 % 1000 - 500).unwrap();
    let z = dev.from_fn((m, d), |(j, c)| (j * 53 + c * 17) as i32 % 900 - 400).unwrap();
    let (hx, hz) = (x.to_ndarray().unwrap(), z.to_ndarray().unwrap());
    let pair = |i: usize, j: usize| hx.row(i).iter().zip(hz.row(j)).map(|(a, b)| (*a, *b)).collect::<Vec<_>>();
    let (a, b) = (x.slice(s![.., NewAxis, ..]), z.slice(s![NewAxis, .., ..]));
    let sums = Array2::from_shape_fn((n, m), |(i, j)| pair(i, j).iter().map(|(a, b)| (a * b - b) as i64).sum::<i64>());
    assert_eq!((&a * &b - &b).sum_axis(k), sums);
    let least = Array2::from_shape_fn((n, m), |(i, j)| pair(i, j).iter().map(|(a, b)| a ^ b).min().unwrap());
    assert_eq!((&a ^ &b).min_axis(k), least);
    let any = Array2::from_shape_fn((n, m), |(i, j)| pair(i, j).iter().any(|(a, b)| a == b));
    assert_eq!(a.equal(&b).any_axis(k), any);
    let at = Array2::from_shape_fn((n, m), |(i, j)| {
        let p = pair(i, j);
        (0..d).rev().max_by_key(|&c| (p[c].0 - p[c].1).abs()).unwrap() as i64
    });
    assert_eq!((&a - &b).abs().argmax_axis(k), at);
    // 16 bits: rounded after each operation, accumulated in f32.
    fn half<T: Float<Sum = T, Mean = T>>(dev: &Device, round: fn(f32) -> f32) {
        let (x, y) = (rows::<T>(dev, 5, 70, 1), rows::<T>(dev, 19, 70, 2));
        let host = |x: &DeviceArray2<T>| x.to_ndarray().unwrap().mapv(|v| v.to_f64() as f32);
        let (hx, hy) = (host(&x), host(&y));
        let (a, b) = (x.slice(s![.., NewAxis, ..]), y.slice(s![NewAxis, .., ..]));
        let got = ((&a - &b).abs() * (a + T::ONE)).sum_axis(Axis(2));
        for ((i, j), v) in got.to_ndarray().unwrap().indexed_iter() {
            let term = |c: usize| {
                let (x, y) = (hx[[i, c]], hy[[j, c]]);
                round(round(x - y).abs() * round(x + 1.0))
            };
            let want = round((0..70).map(term).reduce(|a, b| a + b).unwrap());
            let near = if on_the_host(dev) { 0.0 } else { want.abs() * 0.01 + 0.1 };
            assert!((v.to_f64() as f32 - want).abs() <= near, "{i}, {j}: {v:?}, not {want}");
        }
    }
    half::<f16>(dev, |v| f16::from_f32(v).to_f32());
    half::<bf16>(dev, |v| bf16::from_f32(v).to_f32());
    // Batches, a weight for each k, two folds and what follows them, in f64.
    let x = dev.from_fn((3, n, 40), |(b, i, c)| ((b * 7 + i * 3 + c) % 23) as f64 - 9.5).unwrap();
    let y = dev.from_fn((3, m, 40), |(b, j, c)| ((b * 5 + j + c * 2) % 19) as f64 - 7.5).unwrap();
    let w = dev.from_fn(40, |c| (c % 5) as f64 + 0.25).unwrap();
    let (a, b) = (x.slice(s![.., .., NewAxis, ..]), y.slice(s![.., NewAxis, .., ..]));
    let both = ((&a - &b).abs() * &w).sum_axis(Axis(3)) / (&a + &b).abs().sum_axis(Axis(3)) + 1.0;
    let (hx, hy, hw) = (x.to_ndarray().unwrap(), y.to_ndarray().unwrap(), w.to_ndarray().unwrap());
    let want = Array3::from_shape_fn((3, n, m), |(e, i, j)| {
        let sum = |f: &dyn Fn(f64, f64, f64) -> f64| -> f64 {
            (0..40).map(|c| f(hx[[e, i, c]], hy[[e, j, c]], hw[c])).reduce(|a, b| a + b).unwrap()
        };
        sum(&|x, y, w| (x - y).abs() * w) / sum(&|x, y, _| (x + y).abs()) + 1.0
    });
    let t = traced(|| both.eval());
    assert_eq!(t.kernels, 1, "{t:?}");
    both.all_close(&want, 1e-14, 0.0).unwrap();
}

/// Chains of operations that run in one loop have the bits of the operations one by one, summed as all pairs are.
fn chains_have_the_bits_of_their_operations(dev: &Device) {
    if !on_the_host(dev) {
        return;
    }
    let value = |i: usize, k: usize| match (i * 31 + k * 17) % 23 {
        0 | 1 => 0.0,
        2 => -0.0,
        3 if i == 4 => f32::NAN,
        4 if i == 5 => f32::INFINITY,
        v => (v as f32 - 11.0) / 7.0,
    };
    type Step = fn(f32, f32) -> f32;
    let least = f32::from_bits(1);
    let forms: [(&str, Step); 3] = [
        ("canberra", |x, y| (x - y).abs() / f32::max(x.abs() + y.abs(), f32::from_bits(1))),
        ("a bound below", |x, y| f32::max(x + y, 1.5)),
        ("|x - y| / (x y)", |x, y| (x - y).abs() / (x * y)),
    ];
    for (n, m, k) in [(3, 70, 300), (9, 65, 17), (8, 16, 1), (2, 1030, 5)] {
        let (x, y) = (
            dev.from_fn((n, k), |(i, k)| value(i, k)).unwrap(),
            dev.from_fn((m, k), |(j, k)| value(j + 7, k)).unwrap(),
        );
        let (a, b) = (x.slice(s![.., NewAxis, ..]), y.slice(s![NewAxis, .., ..]));
        let all = [
            ((&a - &b).abs() / (a.abs() + b.abs()).maximum(least)).sum_axis(Axis(2)),
            (&a + &b).maximum(1.5).sum_axis(Axis(2)),
            ((&a - &b).abs() / (&a * &b)).sum_axis(Axis(2)),
        ];
        for (got, (what, step)) in all.iter().zip(forms) {
            let got = got.to_ndarray().unwrap();
            for ((i, j), &v) in got.indexed_iter() {
                let nan = |x: f32, y: f32| x.is_nan() || y.is_nan();
                let one = |k: usize| {
                    let (x, y) = (value(i, k), value(j + 7, k));
                    // `f32::max` passes over NaN.
                    if nan(x, y) || nan(x + y, x - y) && what != "|x - y| / (x y)" { f32::NAN } else { step(x, y) }
                };
                let sum = |ks: std::ops::Range<usize>| ks.map(one).reduce(|a, b| a + b).unwrap();
                let starts = (0..k).step_by(256);
                let want = starts.map(|s| sum(s..(s + 256).min(k))).reduce(|a, b| a + b).unwrap();
                assert!(
                    v == want || v.is_nan() && want.is_nan(),
                    "{what} of {n} x {m} x {k} at {i}, {j}: {v}, not {want}"
                );
            }
        }
    }
}

tests_on_devices! {
    chains_have_the_bits_of_their_operations
    any_combine_has_the_bits_of_plain_code any_combine_takes_every_dtype
    expanded_is_one_kernel_and_exact_on_equal_rows folds_of_pairs_store_no_matrix folds_of_pairs_treat_nan_and_ties_as_numpy
    folds_over_both_sides_store_no_matrix the_nearest_row_needs_little_memory a_held_matrix_is_computed_twice_at_most what_the_kernel_cannot_do_is_still_right
}
