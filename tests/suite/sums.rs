//! How many digits sums keep on the CPU, and that their order is that of the extents and the layout alone.

use ndarray::{Array, Array2, Axis, Dimension, s};
use ndcuda::{Device, DeviceArray, Element, Number, bf16, f16};

tests_on_devices! { ; once: sums_keep_their_digits computed_values_are_summed_like_stored_ones threads_do_not_show_in_sums }

/// A value from an index.
type Value = fn(usize) -> f64;

/// Values whose sums are hard in one way or another, the same for any type.
const DATA: [(&str, Value); 4] = [
    ("uniform", |i| noise(i)),
    // Each addition is rounded the same way.
    ("equal", |_| 0.1),
    ("many sizes", |i| 1e3f64.powf(noise(i)) / 100.0),
    ("alternating", |i| if i % 2 == 0 { 1.0 + noise(i) } else { -1.0 - noise(i) }),
];

/// A number in 0..1 from an index.
fn noise(i: usize) -> f64 {
    let x = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    ((x ^ (x >> 32)) >> 11) as f64 / (1u64 << 53) as f64
}

/// A sum and the sum of magnitudes, by Neumaier.
fn exact(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (mut sum, mut lost, mut size) = (0.0f64, 0.0, 0.0);
    for v in values {
        let next = sum + v;
        lost += if sum.abs() >= v.abs() { (sum - next) + v } else { (v - next) + sum };
        sum = next;
        size += v.abs();
    }
    (sum + lost, size)
}

/// `unit`: half an ulp of what sums are computed in; `last`: of the result's type.
#[track_caller]
fn check<T: Number>(what: &str, got: T, values: impl Iterator<Item = T>, unit: f64, last: f64) {
    let (want, size) = exact(values.map(|v| v.to_f64()));
    let off = (got.to_f64() - want).abs();
    let most = 6.0 * unit * size + last * want.abs();
    assert!(off <= most, "{what}: off by {:.1} units of the magnitudes' sum", off / size / unit);
}

fn digits_of<T: Number<Sum = T>>(n: usize, unit: f64, last: f64, one: T) {
    let dev = Device::cpu();
    for (kind, value) in DATA {
        let name = format!("{} {kind}", T::DTYPE);
        let x: Array<T, _> = Array::from_shape_fn((n / 10, 10), |(i, j)| T::from_f64(value(10 * i + j)));
        let d = dev.array(&x).unwrap();
        let check = |what: &str, got: T, v: &mut dyn Iterator<Item = T>| {
            check(&format!("{name}, {what}"), got, v, unit, last);
        };
        let columns = |what: &str, d: &DeviceArray<T, ndarray::Ix2>, x: ndarray::ArrayView2<T>| {
            let got = d.sum_axis(Axis(0)).to_ndarray().unwrap();
            for (got, x) in got.iter().zip(x.columns()) {
                check(what, *got, &mut x.iter().copied());
            }
        };
        let rows = |what: &str, d: &DeviceArray<T, ndarray::Ix2>, x: ndarray::ArrayView2<T>| {
            let got = d.sum_axis(Axis(1)).to_ndarray().unwrap();
            for (got, x) in got.iter().zip(x.rows()) {
                check(what, *got, &mut x.iter().copied());
            }
        };
        let whole = |what: &str, d: &DeviceArray<T, ndarray::Ix2>, x: ndarray::ArrayView2<T>| {
            check(what, d.sum().item().unwrap(), &mut x.iter().copied());
        };
        whole("all", &d, x.view());
        columns("axis 0", &d, x.view());
        rows("axis 1 of the transpose", &d.t(), x.t());
        whole("all, computed", &(&d * one), x.view());
        columns("axis 0, computed", &(&d * one), x.view());
        // Gaps between short rows; steps along and across.
        whole("all, cut", &d.slice(s![.., 1..8]), x.slice(s![.., 1..8]));
        columns("axis 0, cut", &d.slice(s![..;-1, 2..5]), x.slice(s![..;-1, 2..5]));
        whole("all, stepped", &d.slice(s![..;3, ..;2]), x.slice(s![..;3, ..;2]));
        let wide = x.to_shape((100, n / 100)).unwrap();
        let d = d.reshape((100, n / 100));
        rows("axis 1", &d, wide.view());
        rows("axis 1, computed", &(&d * one), wide.view());
        rows("axis 1, cut", &d.slice(s![.., 3..]), wide.slice(s![.., 3..]));
        rows("axis 1, stepped", &d.slice(s![.., ..;2]), wide.slice(s![.., ..;2]));
        let tall = x.to_shape((n / 300, 300)).unwrap();
        columns("axis 0 of 300", &d.reshape((n / 300, 300)), tall.view());
        columns("axis 0 of 300, computed", &(&d.reshape((n / 300, 300)) * one), tall.view());
    }
}

/// Six units at any length: an addition is right to one.
fn sums_keep_their_digits() {
    let half = |x: f64| x / 2.0;
    digits_of::<f32>(6_000_000, half(f32::EPSILON.into()), 0.0, 1.0);
    digits_of::<f64>(3_000_000, half(f64::EPSILON), 0.0, 1.0);
    // In f32, rounded once.
    digits_of::<f16>(30_000, half(f32::EPSILON.into()), half(2f64.powi(-10)), f16::ONE);
    digits_of::<bf16>(3_000_000, half(f32::EPSILON.into()), half(2f64.powi(-7)), bf16::ONE);
}

fn bits<T: Element, D: Dimension>(x: &DeviceArray<T, D>) -> Vec<u64> {
    x.to_ndarray().unwrap().iter().map(|v| v.to_bits64()).collect()
}

/// Sums, and folds that go with them in one kernel, over all axes of an array.
fn folds<T: Number<Sum = T>>(x: &DeviceArray<T, ndarray::Ix2>) -> Vec<u64> {
    let mut all = vec![];
    for axis in [Axis(0), Axis(1)] {
        all.extend(bits(&x.sum_axis(axis)));
        all.extend(bits(&x.product_axis(axis)));
        all.extend(bits(&(x.sum_axis(axis) - x.max_axis(axis))));
    }
    all.extend(bits(&x.sum()));
    all
}

/// At sizes on both sides of every cut: leaves of 1024 values or 32 rows, chunks of 65,536.
const SIZES: [(usize, usize); 16] = [
    (3, 1023),
    (3, 1024),
    (3, 1025),
    (2, 65_535),
    (2, 65_537),
    (1, 200_001),
    (31, 70),
    (33, 700),
    (513, 300),
    (257, 1025),
    (4097, 3),
    (70_001, 10),
    (200_001, 1),
    (66_000, 2),
    (129, 63),
    (5, 64),
];

fn computed_values_are_summed_like_stored_ones() {
    let dev = Device::cpu();
    for (n, m) in SIZES {
        let x = Array2::from_shape_fn((n, m), |(i, j)| (noise(i * m + j) + 0.5) as f32);
        let x = dev.array(&x).unwrap();
        assert_eq!(folds(&x), folds(&(&x * 1.0)), "{n} x {m}");
        let v = x.t();
        assert_eq!(folds(&v), folds(&(&v * 1.0)), "{n} x {m}, transposed");
        let v = x.slice(s![.., ..m - m / 3]);
        assert_eq!(folds(&v), folds(&(&v * 1.0)), "{n} x {m}, cut");
    }
}

fn threads_do_not_show_in_sums() {
    let devices = [1, 2, 5].map(Device::cpu_with_threads);
    for (n, m) in SIZES {
        let x = Array2::from_shape_fn((n, m), |(i, j)| (noise(i * m + j) + 0.5) as f32);
        let of = |dev: &Device| {
            let x = dev.array(&x).unwrap();
            [folds(&x), folds(&x.slice(s![.., ..m - m / 3])), bits(&x.var(0.0)), bits(&x.var_axis(Axis(0), 0.0))]
        };
        let one = of(&devices[0]);
        for dev in &devices[1..] {
            assert_eq!(of(dev), one, "{n} x {m}");
        }
    }
}
