//! Products of what a kernel makes of pairs: blocks of rows are made and multiplied in turn, with the bits of the matrix as a whole.

use crate::harness::on_the_host;
use ndarray::{Axis, NewAxis, s};
use ndcuda::debug::trace;
use ndcuda::{Device, DeviceArray2, Float, f16};

fn rows<T: Float>(dev: &Device, n: usize, d: usize, seed: usize) -> DeviceArray2<T> {
    let value = |i: usize, k: usize| ((i * 7919 + k * 104_729 + seed * 31) % 1009) as f64 / 512.0 - 1.0;
    dev.from_fn((n, d), |(i, k)| T::from_f64(value(i, k))).unwrap()
}

/// `exp(-|x - y|^2 / 2)`, directly.
fn gauss<T: Float<Sum = T>>(x: &DeviceArray2<T>, y: &DeviceArray2<T>) -> DeviceArray2<T> {
    let diff = x.slice(s![.., NewAxis, ..]) - y.slice(s![NewAxis, .., ..]);
    ((&diff * &diff).sum_axis(Axis(2)) * T::from_f64(-0.5)).exp()
}

/// The same by a product of matrices.
fn expanded<T: Float<Sum = T>>(x: &DeviceArray2<T>, y: &DeviceArray2<T>) -> DeviceArray2<T> {
    let norm = |x: &DeviceArray2<T>| (x * x).sum_axis(Axis(1));
    let cross = x.dot(&y.t());
    ((norm(x).insert_axis(Axis(1)) + norm(y) - cross * T::from_f64(2.0)) * T::from_f64(-0.5)).exp()
}

/// Of one coordinate: no fold is in it.
fn line<T: Float>(x: &DeviceArray2<T>, y: &DeviceArray2<T>) -> DeviceArray2<T> {
    let apart = (x.slice(s![.., ..1]) - y.slice(s![.., ..1]).t()).abs();
    (apart * T::from_f64(-1.0)).exp()
}

fn same<T: Float>(got: &DeviceArray2<T>, want: &DeviceArray2<T>, what: &str) {
    let (got, want) = (got.to_ndarray().unwrap(), want.to_ndarray().unwrap());
    assert_eq!(got.dim(), want.dim(), "{what}");
    let other = got.indexed_iter().find(|&(at, v)| v.to_f64().to_bits() != want[at].to_f64().to_bits());
    assert!(other.is_none(), "{what} in {}: {other:?}, stored {:?}", T::DTYPE, other.map(|(at, _)| want[at]));
}

type Pairs<T> = fn(&DeviceArray2<T>, &DeviceArray2<T>) -> DeviceArray2<T>;

/// The product in blocks has the bits of that of the stored matrix, and the matrix no memory.
fn check<T: Float<Sum = T>>(dev: &Device, pairs: Pairs<T>, [n, m, d, p]: [usize; 4], what: &str) {
    let (x, y, b) = (rows(dev, n, d, 1), rows(dev, m, d, 2), rows::<T>(dev, m, p, 3));
    let k = pairs(&x, &y);
    k.eval().unwrap();
    let want = k.dot(&b);
    let (got, t) = trace(|| {
        let got = pairs(&x, &y).dot(&b);
        got.eval().unwrap();
        got
    });
    same(&got, &want, what);
    let size = T::DTYPE.size();
    assert!(n * m * size > 16 << 20);
    // The result, a block, and norms or a prologue of the rows.
    let block = if on_the_host(dev) { 16 << 20 } else { 32 << 20 };
    assert!(t.peak <= n * p * size + block + (n + m) * d.max(2) * size, "{what}: {t:?}");
    assert!(pairs(&x, &y).dot(&b).show().unwrap().contains("rows at a time"), "{what}");
}

fn products_of_pairs_take_no_matrix(dev: &Device) {
    if !on_the_host(dev) {
        return check::<f32>(dev, gauss, [6000, 1500, 2, 3], "Gauss's");
    }
    // Blocks of 2496 rows would leave one.
    check::<f32>(dev, gauss, [4993, 1600, 3, 5], "Gauss's");
    check::<f64>(dev, gauss, [2100, 1100, 2, 2], "Gauss's");
    check::<f16>(dev, gauss, [2900, 2900, 2, 3], "Gauss's");
    check::<f32>(dev, expanded, [2600, 1700, 70, 20], "the expanded");
    check::<f32>(dev, line, [5000, 900, 1, 4], "the line's");
    // Several segments of both folds; and rows so long that a block has few.
    check::<f32>(dev, gauss, [4700, 900, 300, 33], "a long");
    check::<f32>(dev, gauss, [40, 200_000, 2, 3], "a wide");
}

/// What else reads the matrix has it stored; and so has what needs it again: it is computed twice at most.
fn a_matrix_that_is_needed_again_is_stored(dev: &Device) {
    let (n, m) = (3000, 1450);
    let (x, y, b) = (rows::<f32>(dev, n, 2, 1), rows(dev, m, 2, 2), rows(dev, m, 4, 3));
    let k = gauss(&x, &y);
    let run = |c: f32| {
        let (v, t) = trace(|| {
            let v = k.dot(&(&b * c));
            v.eval().unwrap();
            v
        });
        same(&v, &{ gauss(&x, &y) }.dot(&(&b * c)), "of a factor");
        t
    };
    let matrix = n * m * 4;
    assert!(run(1.0).bytes_written < matrix && run(2.0).bytes_written >= matrix && run(3.0).bytes_written < matrix);
    let k = gauss(&x, &y);
    let (v, sums) = (k.dot(&b), k.sum_axis(Axis(1)));
    ndcuda::eval((&v, &sums)).unwrap();
    same(&v, &gauss(&x, &y).dot(&b), "beside sums");
    let text = (gauss(&x, &y).dot(&b) / gauss(&x, &y).sum_keep(Axis(1))).show().unwrap();
    assert!(text.contains("rows at a time"), "{text}");
    // Few pairs, and batches.
    let few = (rows::<f32>(dev, 50, 2, 1), rows::<f32>(dev, 40, 2, 2), rows::<f32>(dev, 40, 3, 2));
    assert!(!gauss(&few.0, &few.1).dot(&few.2).show().unwrap().contains("rows at a time"));
    let batch = gauss(&x, &y).try_reshape((2, n / 2, m)).unwrap();
    assert!(!batch.dot(&b).show().unwrap().contains("rows at a time"));
}

/// What follows the product, and is made of it, reads it where it was stored.
fn what_follows_such_a_product(dev: &Device) {
    let (x, y, b) = (rows::<f32>(dev, 3000, 2, 1), rows(dev, 1450, 2, 2), rows::<f32>(dev, 1450, 4, 3));
    let k = gauss(&x, &y);
    k.eval().unwrap();
    let whole = k.dot(&b);
    whole.eval().unwrap();
    let chain = |v: DeviceArray2<f32>| (v * 2.0f32 + 1.0f32).dot(&b.t().dot(&b));
    same(&chain(gauss(&x, &y).dot(&b)), &chain(whole.clone()), "a chain");
    let c = rows::<f32>(dev, 3000, 3, 4);
    same(&gauss(&x, &y).t().dot(&c), &k.t().dot(&c), "turned");
    let sum = |v: DeviceArray2<f32>| v.sum_keep(Axis(1));
    same(&sum(gauss(&x, &y).dot(&b)), &sum(whole), "a sum");
}

tests_on_devices! {
    products_of_pairs_take_no_matrix a_matrix_that_is_needed_again_is_stored what_follows_such_a_product
}
