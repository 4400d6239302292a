//! Pairs in batches: operands that batches share, sides of several axes, and one row have the bits that each batch has alone.

use crate::harness::{makes_kernels, on_the_host};
use ndarray::{Array2, Axis, Ix4, NewAxis, s};
use ndcuda::debug::trace;
use ndcuda::{Device, DeviceArray, DeviceArray3, Float};

type Four<T> = DeviceArray<T, Ix4>;
/// Something of `(b, .., k)` and `(b, .., k)`, folded over k.
type Combine<T> = (&'static str, fn(&Four<T>, &Four<T>) -> DeviceArray3<T>);

/// Of two arrays that broadcast to `(b, n, m, k)`.
fn combines<T: Float<Sum = T, Mean = T>>() -> [Combine<T>; 7] {
    [
        ("squared difference", |x, y| (x - y).square().sum_axis(Axis(3))),
        ("difference", |x, y| (x - y).abs().sum_axis(Axis(3))),
        ("product", |x, y| (x * y).sum_axis(Axis(3))),
        ("largest", |x, y| (x - y).abs().max_axis(Axis(3))),
        ("ratio", |x, y| ((x - y).abs() / (x.abs() + y.abs())).sum_axis(Axis(3))),
        ("scaled rows", |x, y| ((x * T::from_f64(1.5) - y).square() * (y + T::ONE)).sum_axis(Axis(3))),
        ("root of a sum", |x, y| (x - y).square().sum_axis(Axis(3)).sqrt()),
    ]
}

fn values<T: Float>(dev: &Device, shape: [usize; 4], seed: usize) -> Four<T> {
    let value = |at: usize| ((at * 7919 + seed * 104_729).wrapping_mul(2_654_435_761) >> 9) % 10_007;
    let [_, b, c, d] = shape;
    dev.from_fn(shape, |(i, j, k, l)| T::from_f64(value(((i * b + j) * c + k) * d + l) as f64 / 1999.0 - 2.5)).unwrap()
}

/// What comes of all batches is what comes of each alone.
fn have_the_bits_of_each<T: Float<Sum = T, Mean = T>>(dev: &Device, what: &str, x: &Four<T>, y: &Four<T>) {
    for (name, lazy) in combines::<T>() {
        let got = lazy(x, y).to_ndarray().unwrap();
        for (b, got) in got.outer_iter().enumerate() {
            let of = |a: &Four<T>| if a.shape()[0] == 1 { a.clone() } else { a.slice(s![b..=b, .., .., ..]) };
            let alone = |x: &Four<T>| lazy(x, &of(y)).to_ndarray().unwrap().index_axis_move(Axis(0), 0);
            let want = alone(&of(x));
            // Kernels that ship fold some of it in another order.
            if !makes_kernels(dev) {
                let near = |(a, b): (&T, &T)| (a.to_f64() - b.to_f64()).abs() <= b.to_f64().abs() * 1e-5 + 1e-4;
                assert!(got.iter().zip(&want).all(near), "{name} of {what}, batch {b}: {got:?}, not {want:?}");
                continue;
            }
            assert_eq!(got, want, "{name} of {what}, batch {b}");
            // Nor do they depend on the rows beside them.
            let row = alone(&of(x).slice(s![.., ..1, .., ..]));
            assert_eq!(got.row(0), row.row(0), "{name} of {what}, the first row of batch {b}");
        }
        // Folds over j, of all batches and of each.
        let least = lazy(x, y).argmin_axis(Axis(2)).to_ndarray().unwrap();
        let stored = got.map_axis(Axis(2), |row| {
            (0..row.len()).fold(0, |best, j| if row[j] < row[best] { j } else { best }) as i64
        });
        assert_eq!(least, stored, "nearest by {name} of {what}");
    }
}

fn shared_operands_change_no_bits(dev: &Device) {
    fn check<T: Float<Sum = T, Mean = T>>(dev: &Device) {
        // Kernels that ship are interpreted.
        let k = if makes_kernels(dev) { 300 } else { 20 };
        let x = values::<T>(dev, [1, 5, 1, k], 1);
        let many = values::<T>(dev, [3, 1, 18, k], 2);
        have_the_bits_of_each(dev, "rows that all batches share", &x, &many);
        let own = values::<T>(dev, [3, 4, 1, k], 3);
        let shared = values::<T>(dev, [1, 1, 33, k], 4);
        have_the_bits_of_each(dev, "columns that all batches share", &own, &shared);
        have_the_bits_of_each(dev, "batches of their own", &own, &many);
        have_the_bits_of_each(dev, "one row in each batch", &own.slice(s![.., ..1, .., ..]), &many);
        have_the_bits_of_each(dev, "one row that all share", &x.slice(s![.., ..1, .., ..]), &many);
        // Strides that keep axes apart, backwards and turned.
        let apart = values::<T>(dev, [7, 2, 12, k], 5).slice(s![..;-3, ..1, ..;2, ..]);
        have_the_bits_of_each(dev, "every other row", &x, &apart);
        let turned = values::<T>(dev, [18, k, 1, 3], 6).permuted_axes([3, 2, 0, 1]);
        have_the_bits_of_each(dev, "batches that lie innermost", &x, &turned);
    }
    check::<f32>(dev);
    check::<f64>(dev);
}

/// Rows that are a picture's pixels: two axes which are one in no layout.
fn sides_of_several_axes_change_no_bits(dev: &Device) {
    for (h, w, d) in [(6, 5, 40), (40, 2, 30), (1, 7, 300)] {
        let pixels = values::<f32>(dev, [1, 2 * h, 2 * w, d], 1).index_axis(Axis(0), 0).slice(s![..;2, ..;2, ..]);
        let colours = values::<f32>(dev, [1, 1, 19, d], 2).index_axis(Axis(0), 0).index_axis(Axis(0), 0);
        let diff = pixels.slice(s![.., .., NewAxis, ..]) - &colours;
        let flat = pixels.reshape((h * w, d));
        flat.eval().unwrap();
        let alone = (flat.slice(s![.., NewAxis, ..]) - &colours).square().sum_axis(Axis(2)).to_ndarray().unwrap();
        let all = || diff.square().sum_axis(Axis(3));
        let got = all().to_ndarray().unwrap().into_shape_with_order((h * w, 19)).unwrap();
        approx::assert_relative_eq!(got, alone, max_relative = 1e-5);
        assert!(!makes_kernels(dev) || got == alone);
        let nearest =
            alone.map_axis(Axis(1), |r| (0..19).fold(0, |best, j| if r[j] < r[best] { j } else { best }) as i64);
        let (got, t) = trace(|| all().argmin_axis(Axis(2)).to_ndarray());
        assert_eq!(got.unwrap().into_shape_with_order(h * w).unwrap(), nearest);
        assert!(!on_the_host(dev) || t.allocated <= h * w * 8, "the matrix is stored: {t:?}");
    }
}

fn many_small_batches(dev: &Device) {
    let (x, y) = (values::<f32>(dev, [60, 7, 1, 9], 1), values::<f32>(dev, [60, 1, 5, 9], 2));
    let (hx, hy) = (x.to_ndarray().unwrap(), y.to_ndarray().unwrap());
    let batch = |b: usize| (hx.slice(s![b, .., 0, ..]).to_owned(), hy.slice(s![b, 0, .., ..]).to_owned());
    let products = x.index_axis(Axis(2), 0).dot(&y.index_axis(Axis(1), 0).swap_axes(1, 2)).to_ndarray().unwrap();
    let nearest = (&x - &y).abs().sum_axis(Axis(3)).topk(2, Axis(2), false).1.to_ndarray().unwrap();
    let sums = (&x - &y).abs().sum_axis(Axis(3)).sum_axis(Axis(2)).to_ndarray().unwrap();
    for b in 0..60 {
        let (x, y) = batch(b);
        let far = Array2::from_shape_fn((7, 5), |(i, j)| (&x.row(i) - &y.row(j)).mapv(f32::abs).sum());
        approx::assert_relative_eq!(
            products.index_axis(Axis(0), b),
            x.dot(&y.t()),
            epsilon = 1e-4,
            max_relative = 1e-5
        );
        approx::assert_relative_eq!(sums.index_axis(Axis(0), b), far.sum_axis(Axis(1)), max_relative = 1e-5);
        for i in 0..7 {
            let mut order: Vec<usize> = (0..5).collect();
            order.sort_by(|&p, &q| far[[i, p]].total_cmp(&far[[i, q]]));
            assert_eq!(nearest.slice(s![b, i, ..]).to_vec(), [order[0] as i64, order[1] as i64], "batch {b}, row {i}");
        }
    }
}

/// The second operand of three again as the third.
fn one_value_in_two_places(dev: &Device) {
    fn check<T: Float<Sum = T, Mean = T>>(dev: &Device) {
        let (x, y) = (values::<T>(dev, [1, 9, 1, 30], 1).abs() + T::ONE, values::<T>(dev, [1, 1, 70, 30], 2).abs());
        let (hx, hy) = (x.to_ndarray().unwrap(), y.to_ndarray().unwrap());
        let sum = |i: usize, j: usize, f: fn(f64, f64) -> f64| {
            (0..30).map(|k| f(hx[[0, i, 0, k]].to_f64(), hy[[0, 0, j, k]].to_f64())).sum::<f64>()
        };
        type Case<T> = (fn(&Four<T>, &Four<T>) -> Four<T>, fn(f64, f64) -> f64);
        let cases: [Case<T>; 8] = [
            (|x, y| (y - x).abs() / x, |x, y| (y - x).abs() / x),
            (|x, y| (x - y).abs() / x, |x, y| (x - y).abs() / x),
            (|x, y| (x - y).abs() / (y + T::ONE), |x, y| (x - y).abs() / (y + 1.0)),
            (|x, y| (y + x).maximum(x), |x, y| (y + x).max(x)),
            (|x, y| (x + y).maximum(x), |x, y| (x + y).max(x)),
            (|x, y| (x + y).maximum(y), |x, y| (x + y).max(y)),
            (|x, y| (x - y).maximum(x) + y, |x, y| (x - y).max(x) + y),
            (|x, y| (-x + y).maximum(-x), |x, y| (y - x).max(-x)),
        ];
        for (n, (lazy, one)) in cases.into_iter().enumerate() {
            let got = lazy(&x, &y).sum_axis(Axis(3)).to_ndarray().unwrap();
            for ((_, i, j), v) in got.indexed_iter() {
                let want = sum(i, j, one);
                assert!(
                    (v.to_f64() - want).abs() <= 1e-5 * want.abs() + 1e-5,
                    "case {n} at {i}, {j}: {v:?}, not {want}"
                );
            }
        }
    }
    check::<f32>(dev);
    check::<f64>(dev);
}

/// What follows a fold over j may need another over k: there is no kernel for that, but a right answer.
fn folds_over_k_after_those_over_j(dev: &Device) {
    let (x, y) = (values::<f64>(dev, [1, 9, 1, 30], 1), values::<f64>(dev, [1, 1, 70, 30], 2));
    let (x, y) = (x.index_axis(Axis(0), 0), y.index_axis(Axis(0), 0));
    let rows = x.index_axis(Axis(1), 0);
    let x2 = (&rows * &rows).sum_axis(Axis(1));
    let products = (&x * &y).sum_axis(Axis(2)) / x2.insert_axis(Axis(1)) + (&x - &y).abs().sum_axis(Axis(2));
    let got = (products.max_axis(Axis(1)) * &x2).to_ndarray().unwrap();
    let (hx, hy) = (rows.to_ndarray().unwrap(), y.index_axis(Axis(0), 0).to_ndarray().unwrap());
    for (i, x) in hx.rows().into_iter().enumerate() {
        let norm = x.dot(&x);
        let each = hy.rows().into_iter().map(|y| x.dot(&y) / norm + (&x - &y).mapv(f64::abs).sum());
        approx::assert_relative_eq!(got[i], each.fold(f64::MIN, f64::max) * norm, max_relative = 1e-12);
    }
}

tests_on_devices! {
    shared_operands_change_no_bits sides_of_several_axes_change_no_bits many_small_batches one_value_in_two_places
    folds_over_k_after_those_over_j
}
