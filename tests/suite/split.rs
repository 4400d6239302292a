//! Few pairs of a long k, which a GPU's blocks share: the bits of one chain after another, whatever the shape, layout, type and fold.

use crate::harness::{makes_kernels, multiplies_and_adds};
use ndarray::{Array2, Axis, NewAxis, s};
use ndcuda::{Device, DeviceArray2, DeviceArray3, Element, Number, bf16, distance, f16};

/// Numbers with many digits, some of them equal.
fn value(i: usize, k: usize) -> f64 {
    let r = ((i % 61) * 7919 + k * 104_729).wrapping_mul(2_654_435_761) >> 9;
    (r % 100_003) as f64 / 7919.0 - 6.0
}

fn rows<T: Element>(dev: &Device, n: usize, d: usize, from: usize) -> DeviceArray2<T> {
    dev.from_fn((n, d), |(i, k)| T::from_f64(value(i + from, k))).unwrap()
}

fn pairs<T: Number>(x: &DeviceArray2<T>, y: &DeviceArray2<T>) -> [DeviceArray3<T>; 2] {
    [x.slice(s![.., NewAxis, ..]), y.slice(s![NewAxis, .., ..])]
}

/// Chains of 256 steps, joined from the first to the last: what `step` makes of all so far and a value, and `join` of two chains.
fn chained<T: Copy>(none: T, d: usize, step: impl Fn(T, usize) -> T, join: impl Fn(T, T) -> T) -> T {
    let chain = |s: usize| (s..(s + 256).min(d)).fold(none, &step);
    (0..d).step_by(256).map(chain).reduce(join).unwrap_or(none)
}

/// Equal bits, where kernels are made for what is asked; those that ship fold some of it in another order.
#[track_caller]
fn same<T: Element>(dev: &Device, got: &DeviceArray2<T>, want: &Array2<T>, what: &str) {
    let got = got.to_ndarray().unwrap();
    for ((at, g), w) in got.indexed_iter().zip(want) {
        let (g, w) = (g.to_f64(), w.to_f64());
        let near = !makes_kernels(dev) && (g - w).abs() <= w.abs() * 1e-2 + 1e-2;
        assert!(g.to_bits() == w.to_bits() || g.is_nan() && w.is_nan() || near, "{what} at {at:?}: {g:e}, not {w:e}");
    }
}

/// Around tiles' edges, where segments end and where k is just long enough to be shared.
fn sums_have_the_bits_of_chains(dev: &Device) {
    let shapes =
        [(2, 3, 768), (2, 3, 769), (64, 64, 1024), (65, 3, 1025), (3, 130, 1031), (5, 64, 1279), (130, 66, 1281)];
    let fma = multiplies_and_adds(dev);
    for (n, m, d) in shapes {
        let what = format!("{n} x {m} x {d}");
        let (x, y) = (rows::<f32>(dev, n, d, 0), rows::<f32>(dev, m, d, 9));
        let (hx, hy) = (x.to_ndarray().unwrap(), y.to_ndarray().unwrap());
        let magnitudes = Array2::from_shape_fn((n, m), |(i, j)| {
            chained(-0.0f32, d, |s, k| s + (hx[[i, k]] - hy[[j, k]]).abs(), |a, b| a + b)
        });
        let squares = Array2::from_shape_fn((n, m), |(i, j)| {
            let step = |s, k| fma(hx[[i, k]] - hy[[j, k]], hx[[i, k]] - hy[[j, k]], s);
            chained(-0.0f32, d, step, |a, b| a + b)
        });
        // The same rows in columns, backwards, and every other one of more.
        let columns = dev.array(&hy.t()).unwrap();
        let backwards = dev.array(&hx.slice(s![..;-1, ..;-1])).unwrap();
        let wide = dev.from_fn((n, 2 * d), |(i, k)| if k % 2 == 0 { hx[[i, k / 2]] } else { f32::NAN }).unwrap();
        let xs = [x.clone(), backwards.slice(s![..;-1, ..;-1]), wide.slice(s![.., ..;2])];
        let ys = [y.clone(), columns.t(), y.clone()];
        for (layout, (x, y)) in xs.iter().zip(&ys).enumerate() {
            let what = format!("{what}, layout {layout}");
            let [a, b] = pairs(x, y);
            let sum = || (&a - &b).abs().sum_axis(Axis(2));
            same(dev, &sum(), &magnitudes, &what);
            same(dev, &sum().t(), &magnitudes.t().to_owned(), &what);
            let difference = &a - &b;
            same(dev, &(&difference * &difference).sum_axis(Axis(2)), &squares, &what);
            // With both results of one kernel, and one that stands on them.
            let (low, high) = ((&a - &b).abs().sum_axis(Axis(2)), (&a - &b).min_axis(Axis(2)));
            let both = low * 2.0 + high;
            let least = |i, j| chained(f32::INFINITY, d, |s, k| s.min(hx[[i, k]] - hy[[j, k]]), f32::min);
            let want = Array2::from_shape_fn((n, m), |(i, j)| magnitudes[[i, j]] * 2.0 + least(i, j));
            same(dev, &both, &want, &what);
            // What is folded over j in its turn is not shared along k.
            if layout == 0 && makes_kernels(dev) {
                let nearest = sum().min_axis(Axis(1));
                let want = magnitudes.map_axis(Axis(1), |r| r.fold(f32::INFINITY, |a, &b| a.min(b)));
                assert_eq!(nearest.to_ndarray().unwrap(), want, "{what}");
            }
        }
    }
}

/// Reducers of several numbers, types of all sizes, NaN.
fn folds_of_all_kinds_are_joined(dev: &Device) {
    let (n, m, d) = (7, 35, 1100);
    let k = Axis(2);
    let x = dev.from_fn((n, d), |(i, k)| (i * 37 + k * 11) as i32 % 1000 - 500).unwrap();
    let y = dev.from_fn((m, d), |(j, k)| (j * 53 + k * 17) as i32 % 900 - 400).unwrap();
    let (hx, hy) = (x.to_ndarray().unwrap(), y.to_ndarray().unwrap());
    let [a, b] = pairs(&x, &y);
    let pair = |i: usize, j: usize| hx.row(i).into_iter().zip(hy.row(j)).map(|(a, b)| (*a, *b)).collect::<Vec<_>>();
    let of = |f: &dyn Fn(Vec<(i32, i32)>) -> i64| Array2::from_shape_fn((n, m), |(i, j)| f(pair(i, j)));
    assert_eq!((&a * &b - &b).sum_axis(k), of(&|p| p.iter().map(|(a, b)| (a * b - b) as i64).sum()));
    assert_eq!((&a ^ &b).min_axis(k).cast::<i64>(), of(&|p| p.iter().map(|(a, b)| (a ^ b) as i64).min().unwrap()));
    assert_eq!(a.equal(&b).any_axis(k).cast::<i64>(), of(&|p| p.iter().any(|(a, b)| a == b) as i64));
    let first_largest = |p: Vec<(i32, i32)>| (0..d).rev().max_by_key(|&k| (p[k].0 - p[k].1).abs()).unwrap() as i64;
    assert_eq!((&a - &b).abs().argmax_axis(k), of(&first_largest));
    // Small and wide integers, and bools.
    let (a8, b8) = (a.cast::<u8>(), b.cast::<u8>());
    assert_eq!(
        (&a8 ^ &b8).max_axis(k).cast::<i64>(),
        of(&|p| p.iter().map(|(a, b)| (*a as u8 ^ *b as u8) as i64).max().unwrap())
    );
    // Means and variances.
    let (x, y) = (rows::<f64>(dev, n, d, 0), rows::<f64>(dev, m, d, 9));
    let (hx, hy) = (x.to_ndarray().unwrap(), y.to_ndarray().unwrap());
    let [a, b] = pairs(&x, &y);
    let mean = |i, j| (0..d).map(|k| hx[[i, k]] * hy[[j, k]]).sum::<f64>() / d as f64;
    let var = |i, j| (0..d).map(|k| (hx[[i, k]] * hy[[j, k]] - mean(i, j)).powi(2)).sum::<f64>() / d as f64;
    (&a * &b).mean_axis(k).all_close(&Array2::from_shape_fn((n, m), |(i, j)| mean(i, j)), 1e-12, 1e-12).unwrap();
    (&a * &b).var_axis(k, 0.0).all_close(&Array2::from_shape_fn((n, m), |(i, j)| var(i, j)), 1e-12, 1e-12).unwrap();
    // The first NaN, in whichever segment.
    for at in [3, 255, 256, 800, 1099] {
        let mut hx = hx.clone();
        (hx[[2, at]], hx[[5, 1099]]) = (f64::NAN, f64::NAN);
        let [a, b] = pairs(&dev.array(&hx).unwrap(), &y);
        let (place, most) =
            ((&a - &b).argmax_axis(k).to_ndarray().unwrap(), (&a - &b).max_axis(k).to_ndarray().unwrap());
        assert!(place.row(2).iter().all(|&p| p == at as i64) && place.row(5).iter().all(|&p| p == 1099), "{place}");
        for (i, row) in most.outer_iter().enumerate() {
            assert_eq!(row.iter().all(|v| v.is_nan()), i == 2 || i == 5);
        }
    }
    // 16 bits: rounded after each operation, accumulated in f32.
    fn half<T: Element + Number<Sum = T>>(dev: &Device, (n, m, d): (usize, usize, usize)) {
        let (x, y) = (rows::<T>(dev, n, d, 0), rows::<T>(dev, m, d, 9));
        let host = |x: &DeviceArray2<T>| x.to_ndarray().unwrap().mapv(|v| v.to_f64() as f32);
        let (hx, hy, round) = (host(&x), host(&y), |v: f32| T::from_f64(v.into()).to_f64() as f32);
        let [a, b] = pairs(&x, &y);
        let want = Array2::from_shape_fn((n, m), |(i, j)| {
            let step = |s: f32, k| s + round(round(hx[[i, k]] * hy[[j, k]]) - hy[[j, k]]);
            T::from_f64(chained(-0.0f32, d, step, |a, b| a + b).into())
        });
        same(dev, &(&a * &b - &b).sum_axis(Axis(2)), &want, "16 bits");
    }
    half::<f16>(dev, (n, m, d));
    half::<bf16>(dev, (n, m, d));
}

/// Products with what follows them, norms summed beside them, batches, weights along k.
fn products_and_batches_are_shared(dev: &Device) {
    fn expanded<T: ndcuda::Float<Sum = T, Mean = T>>(dev: &Device, (n, m, d): (usize, usize, usize)) {
        let (x, y) = (rows::<T>(dev, n, d, 0), rows::<T>(dev, m, d, 0));
        let d2 = distance::sqeuclidean_expanded(&x, &y);
        for ((i, j), v) in d2.to_ndarray().unwrap().indexed_iter() {
            assert!(i % 61 != j % 61 || v.to_f64() == 0.0, "rows {i} and {j} of {n} x {m} x {d} are equal: {v:?}");
        }
        let direct = distance::sqeuclidean_broadcast(&x, &y).to_ndarray().unwrap();
        let near = if size_of::<T>() == 4 { 1e-4 } else { 1e-12 };
        d2.all_close(&direct, near, near * 1e4).unwrap();
    }
    for shape in [(7, 70, 1000), (70, 130, 1290)] {
        expanded::<f32>(dev, shape);
        expanded::<f64>(dev, shape);
    }
    let (x, y) = (rows::<f32>(dev, 20, 1500, 0), rows::<f32>(dev, 70, 1500, 9));
    let (hx, hy) = (x.to_ndarray().unwrap(), y.to_ndarray().unwrap());
    let bias = dev.from_fn(70, |j| j as f32 - 30.0).unwrap();
    let fma = multiplies_and_adds(dev);
    let dot = |i: usize, j: usize| chained(-0.0f32, 1500, |s, k| fma(hx[[i, k]], hy[[j, k]], s), |a, b| a + b);
    let want = Array2::from_shape_fn((20, 70), |(i, j)| (dot(i, j) + (j as f32 - 30.0)).max(0.0));
    same(dev, &(x.dot(&y.t()) + bias).maximum(0.0), &want, "a product with a bias");
    // Batches of pairs with weights: each has tiles of its own.
    let (n, m, d) = (3, 40, 900);
    let x = dev.from_fn((4, n, d), |(e, i, k)| value(e * 7 + i, k) as f32).unwrap();
    let y = dev.from_fn((4, m, d), |(e, j, k)| value(e * 5 + j + 30, k) as f32).unwrap();
    let w = dev.from_fn(d, |k| (k % 5) as f32 + 0.25).unwrap();
    let (a, b) = (x.slice(s![.., .., NewAxis, ..]), y.slice(s![.., NewAxis, .., ..]));
    let all = ((&a - &b).abs() * &w + 0.5).sum_axis(Axis(3)) - 1.0;
    let alone = |e: usize| {
        let (a, b) = (x.slice(s![e, .., NewAxis, ..]), y.slice(s![e, NewAxis, .., ..]));
        (((a - b).abs() * &w + 0.5).sum_axis(Axis(2)) - 1.0).to_ndarray().unwrap()
    };
    let (hx, hy, hw) = (x.to_ndarray().unwrap(), y.to_ndarray().unwrap(), w.to_ndarray().unwrap());
    for (e, got) in all.to_ndarray().unwrap().outer_iter().enumerate() {
        let want = Array2::from_shape_fn((n, m), |(i, j)| {
            let term = |s: f32, k: usize| s + ((hx[[e, i, k]] - hy[[e, j, k]]).abs() * hw[k] + 0.5);
            chained(-0.0f32, d, term, |a, b| a + b) - 1.0
        });
        same(dev, &dev.array(&got).unwrap(), &want, "a batch");
        same(dev, &dev.array(&alone(e)).unwrap(), &want, "one of a batch");
    }
}

/// More segments than scratch memory holds: they are joined in rounds. On a GPU there are two here.
fn long_ones_are_joined_in_rounds(dev: &Device) {
    if !makes_kernels(dev) {
        return;
    }
    let d = 44_500;
    let (x, y) = (rows::<f32>(dev, 2, d, 0), rows::<f32>(dev, 3, d, 9));
    let (hx, hy) = (x.to_ndarray().unwrap(), y.to_ndarray().unwrap());
    let [a, b] = pairs(&x, &y);
    let (least, most) = ((&a - &b).argmin_axis(Axis(2)), (&a - &b).argmax_axis(Axis(2)));
    ndcuda::eval((&least, &most)).unwrap();
    let place = |i: usize, j: usize, sign: f32| {
        let value = |k: usize| (hx[[i, k]] - hy[[j, k]]) * sign;
        (1..d).fold(0, |best, k| if value(k) < value(best) { k } else { best }) as i64
    };
    assert_eq!(least, Array2::from_shape_fn((2, 3), |(i, j)| place(i, j, 1.0)));
    assert_eq!(most, Array2::from_shape_fn((2, 3), |(i, j)| place(i, j, -1.0)));
    // Norms are summed beside the product, and equal rows give 0 only where all is summed in one order.
    let d = 500_000;
    let x = rows::<f64>(dev, 2, d, 0);
    let y = x.slice(s![..;-1, ..]);
    let d2 = distance::sqeuclidean_expanded(&x, &y).to_ndarray().unwrap();
    let host = x.to_ndarray().unwrap();
    let want: f64 = (0..d).map(|k| (host[[0, k]] - host[[1, k]]).powi(2)).sum();
    assert!((d2[[0, 0]] - want).abs() <= 1e-11 * want && d2[[0, 0]].to_bits() == d2[[1, 1]].to_bits(), "{d2} {want}");
    assert!(d2[[0, 1]] == 0.0 && d2[[1, 0]] == 0.0, "{d2}");
}

tests_on_devices! {
    long_ones_are_joined_in_rounds
    sums_have_the_bits_of_chains folds_of_all_kinds_are_joined products_and_batches_are_shared
}
