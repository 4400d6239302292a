//! The core promises: few kernels, linear work, constant memory, plans reused.

use ndarray::{Array1, Array2, array};
use ndcuda::debug::trace;
use ndcuda::{Axis, Device, NewAxis, distance, s};

fn digits() -> (Array2<f32>, Vec<u8>) {
    let read = |b: &'static [u8]| {
        let header = 10 + u16::from_le_bytes([b[8], b[9]]) as usize;
        b[header..].to_vec()
    };
    let x = read(include_bytes!("../examples/distances/data/digits.npy"));
    let labels = read(include_bytes!("../examples/distances/data/digits_labels.npy"));
    let x = Array2::from_shape_vec((1797, 64), x.iter().map(|&v| v as f32).collect()).unwrap();
    (x, labels)
}

#[test]
fn add_runs() {
    let dev = Device::cpu();
    let x = dev.array(&array![[1.0f32, 2.0], [3.0, 4.0]]).unwrap();
    let y = dev.array(&array![10.0f32, 20.0]).unwrap();
    let z = &x + &y;
    assert_eq!(z, array![[11.0f32, 22.0], [13.0, 24.0]]);
    assert_eq!((&x + &y).sum_axis(Axis(0)), array![24.0f32, 46.0]);
    assert_eq!((&x + &y).sum().item().unwrap(), 70.0);
}

#[test]
fn digits_neighbours() {
    let (x, labels) = digits();
    let dev = Device::cpu();
    let x = dev.array(&x).unwrap();
    let labels = dev.array(Array1::from(labels)).unwrap();
    for (d, hits) in [
        (distance::sqeuclidean_broadcast(&x, &x), 1776),
        (distance::sqeuclidean_expanded(&x, &x), 1776),
        (distance::cityblock(&x, &x), 1770),
    ] {
        let d = dev.eye::<bool>(1797).where_(f32::INFINITY, &d);
        let nearest = d.argmin_axis(Axis(1));
        let same = labels.take(Axis(0), &nearest).equal(&labels);
        assert_eq!(same.count_nonzero().item().unwrap(), hits);
    }
}

#[test]
fn cityblock_is_one_kernel() {
    let dev = Device::cpu();
    let x = dev.from_fn((50, 7), |(i, j)| (i * 7 + j) as f32).unwrap();
    let (r, t) = trace(|| (x.slice(s![.., NewAxis, ..]) - x.slice(s![NewAxis, .., ..])).abs().sum_axis(Axis(2)).eval());
    r.unwrap();
    assert_eq!((t.kernels, t.allocated), (1, 50 * 50 * 4));
}

/// Distances of all pairs by plain loops in f64.
fn naive(x: &Array2<f64>, y: &Array2<f64>, f: impl Fn(f64, f64) -> f64, max: bool) -> Array2<f64> {
    Array2::from_shape_fn((x.nrows(), y.nrows()), |(i, j)| {
        let terms = x.row(i).iter().zip(y.row(j)).map(|(&a, &b)| f(a, b)).collect::<Vec<_>>();
        if max { terms.iter().fold(0.0, |m: f64, &t| m.max(t)) } else { terms.iter().sum() }
    })
}

#[test]
fn pairwise_blocks_at_every_edge() {
    // Small whole numbers: every order of the sums is exact.
    let host = |n: usize, d: usize, s: usize| Array2::from_shape_fn((n, d), |(i, k)| ((i * 7 + k * 3 + s) % 11) as f64);
    for dev in [Device::cpu_with_threads(1), Device::cpu_with_threads(3)] {
        for (n, m, d) in [
            (1, 1, 1),
            (2, 3, 4),
            (12, 32, 5),
            (13, 33, 64),
            (25, 65, 65),
            (96, 16, 255),
            (7, 1025, 3),
            (97, 31, 257),
            (5, 6, 600),
        ] {
            let (x, y) = (host(n, d, 1), host(m, d, 5));
            let (a, b) = (dev.array(&x).unwrap(), dev.array(&y.t().as_standard_layout()).unwrap().t());
            let (f, g) = (a.cast::<f32>(), b.cast::<f32>());
            let rows = |t: &ndcuda::DeviceArray2<f64>, at| t.insert_axis(Axis(at));
            let want = naive(&x, &y, |a, b| (a - b) * (a - b), false);
            assert_eq!(distance::sqeuclidean_broadcast(&a, &b), want, "{n} {m} {d}");
            assert_eq!(distance::sqeuclidean_broadcast(&f, &g), want.mapv(|v| v as f32), "{n} {m} {d}");
            let want = naive(&x, &y, |a, b| (a - b).abs(), false);
            assert_eq!(distance::cityblock(&a, &b), want, "{n} {m} {d}");
            assert_eq!(distance::cityblock(&f, &g), want.mapv(|v| v as f32), "{n} {m} {d}");
            let want = naive(&x, &y, |a, b| (a - b).abs(), true);
            assert_eq!((rows(&a, 1) - rows(&b, 0)).abs().max_axis(Axis(2)), want, "{n} {m} {d}");
            let want = naive(&x, &y, |a, b| a * b, false);
            assert_eq!(a.dot(&b.t()), want, "{n} {m} {d}");
            assert_eq!((rows(&a, 1) * rows(&b, 0)).sum_axis(Axis(2)), want, "{n} {m} {d}");
            // Prologues on both sides, an epilogue, and results that lie transposed.
            let made = ((rows(&(&a + 1.0), 1) - rows(&(&b * 2.0), 0)).abs().sum_axis(Axis(2)) * 0.5).t() + 1.0;
            let want = naive(&x, &y, |a, b| (a + 1.0 - 2.0 * b).abs(), false).mapv(|v| v * 0.5 + 1.0);
            assert_eq!(made, want.t(), "{n} {m} {d}");
        }
    }
}

/// Small operands are read where they lie, and few rows go in lower blocks: neither shows.
#[test]
fn small_products_have_the_bits_of_large_ones() {
    let dev = Device::cpu();
    let value = |i: usize, j: usize| ((i * 37 + j * 101) % 257) as f64 / 97.0 - 1.0;
    for (k, m) in [(64, 64), (1, 32), (100, 32), (17, 96), (32, 33)] {
        let x = Array2::from_shape_fn((130, k), |(i, j)| value(i, j));
        let y = Array2::from_shape_fn((k, m), |(i, j)| value(j + 5, i));
        // Along k: packed.
        let far = y.t().to_owned();
        let (narrow, wide) = ((x.mapv(|v| v as f32), y.mapv(|v| v as f32), far.mapv(|v| v as f32)), (x, y, far));
        for n in [1, 2, 7, 8, 12, 13, 16, 64, 100, 130] {
            let rows = s![..n, ..];
            let (x, y, far) = &narrow;
            let (x, y, far) = (dev.array(x).unwrap(), dev.array(y).unwrap(), dev.array(far).unwrap());
            assert_eq!(x.slice(rows).dot(&y), x.dot(&far.t()).slice(rows), "f32 {n} x {m} x {k}");
            let (x, y, far) = &wide;
            let (x, y, far) = (dev.array(x).unwrap(), dev.array(y).unwrap(), dev.array(far).unwrap());
            assert_eq!(x.slice(rows).dot(&y), x.dot(&far.t()).slice(rows), "f64 {n} x {m} x {k}");
        }
    }
}

#[test]
fn pairwise_bits_depend_on_their_rows_alone() {
    let (one, many) = (Device::cpu_with_threads(1), Device::cpu_with_threads(5));
    let x = Array2::from_shape_fn((150, 300), |(i, k)| ((i * 31 + k * 17) as f32).sin());
    let (a, b) = (one.array(&x).unwrap(), many.array(&x).unwrap());
    let whole = distance::sqeuclidean_broadcast(&a, &a).to_ndarray().unwrap();
    assert_eq!(distance::sqeuclidean_broadcast(&b, &b), whole);
    let part = distance::sqeuclidean_broadcast(&b.slice(s![40..70, ..]), &b.slice(s![..90, ..]));
    assert_eq!(part, whole.slice(s![40..70, ..90]));
    assert!(whole.diag().iter().all(|&v| v == 0.0));
    let mut bad = x.clone();
    bad[[3, 7]] = f32::NAN;
    let bad = one.array(&bad).unwrap();
    for metric in [distance::Metric::SqEuclidean, distance::Metric::CityBlock, distance::Metric::Chebyshev] {
        let d = distance::cdist(&bad, &bad, metric).to_ndarray().unwrap();
        assert!(d.row(3).iter().chain(d.column(3)).all(|v| v.is_nan()), "{metric}");
        assert!(!d[[2, 4]].is_nan(), "{metric}");
    }
}
