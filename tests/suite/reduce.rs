//! Every reduction at every type against its definition, over axes, layouts and the sizes where loops end.

use crate::harness::compiles_slowly;
use ndarray::{
    Array, Array1, Array2, Array3, ArrayD, ArrayView1, Axis, Dimension, IxDyn, NewAxis, ShapeBuilder, Slice, arr1, s,
};
use ndcuda::{DType, Device, DeviceArray, DeviceArray2, DeviceArrayD, Element, Number, bf16, f16};

/// The value as an integer, where it is one.
fn int<T: Element>(x: T) -> i128 {
    let bits = x.to_bits64();
    match T::DTYPE {
        d if d.is_signed_int() => i128::from(((bits << (64 - 8 * d.size())) as i64) >> (64 - 8 * d.size())),
        _ => i128::from(bits),
    }
}

/// How far a float of this type is from the next at `x`.
fn ulp<T: Element>(x: f64) -> f64 {
    let (digits, least) = match T::DTYPE {
        DType::F16 => (10, -24),
        DType::BF16 => (7, -133),
        DType::F32 => (23, -149),
        _ => (52, -1074),
    };
    let exponent = if x == 0.0 || !x.is_finite() { least } else { x.abs().log2().floor() as i32 - digits };
    2f64.powi(exponent.max(least))
}

/// The relative error of one operation of the type that sums are computed in.
fn epsilon<T: Element>() -> f64 {
    let narrow = matches!(T::DTYPE, DType::F16 | DType::BF16 | DType::F32);
    if narrow { f64::from(f32::EPSILON) / 2.0 } else { f64::EPSILON / 2.0 }
}

#[track_caller]
fn near<T: Element>(got: T, want: f64, slack: f64, what: &str) {
    let got = got.to_f64();
    let slack = slack + if T::DTYPE.size() == 2 { ulp::<T>(want) } else { 0.0 };
    let ok = got == want || got.is_nan() && want.is_nan() || (got - want).abs() <= slack;
    assert!(ok, "{what}: {got:e} where {want:e} is right, off by {:e} of {slack:e}", (got - want).abs());
}

/// All reductions of one lane of values against their definitions.
struct Lane<T> {
    values: Vec<T>,
}

impl<T: Number> Lane<T> {
    fn floats(&self) -> impl Iterator<Item = f64> + '_ {
        self.values.iter().map(|x| x.to_f64())
    }

    fn magnitude(&self) -> f64 {
        self.floats().map(f64::abs).sum()
    }

    /// What a sum of partial sums may be off by: the fold has lanes and tiles, so not every term meets every rounding.
    fn bound(&self) -> f64 {
        let n = self.values.len() as f64;
        epsilon::<T>() * self.magnitude() * (12.0 + n / 16.0)
    }

    fn sum(&self, got: T::Sum) {
        if T::DTYPE.is_float() {
            near(got, exact_sum(self.floats()), self.bound(), "sum");
        } else {
            let want = self.values.iter().fold(0i128, |s, &x| s + int(x));
            assert_eq!(got.to_bits64(), want as u64, "sum");
        }
    }

    fn product(&self, got: T::Sum) {
        if T::DTYPE.is_float() {
            let want: f64 = self.floats().product();
            near(got, want, want.abs() * epsilon::<T>() * self.values.len() as f64 * 2.0, "product");
        } else {
            let want = self.values.iter().fold(1u64, |p, &x| p.wrapping_mul(int(x) as u64));
            assert_eq!(got.to_bits64(), want, "product");
        }
    }

    fn extreme(&self, least: bool) -> (usize, T) {
        let mut best = 0;
        for (i, x) in self.values.iter().enumerate() {
            let b = &self.values[best];
            let nan = |v: &T| v.partial_cmp(v).is_none();
            if !nan(b) && (nan(x) || if least { x < b } else { x > b }) {
                best = i;
            }
        }
        (best, self.values[best])
    }

    fn mean(&self, got: T::Mean) {
        let n = self.values.len() as f64;
        let want = exact_sum(self.floats()) / n;
        near(got, want, self.bound() / n + epsilon::<T>() * want.abs(), "mean");
    }

    fn var(&self, ddof: f64, got: T::Mean, std: T::Mean) {
        let n = self.values.len() as f64;
        let mean = exact_sum(self.floats()) / n;
        let squares = exact_sum(self.floats().map(|x| (x - mean) * (x - mean)));
        let want = squares / (n - ddof).max(0.0);
        let slack = epsilon::<T::Mean>() * (20.0 + n / 4.0) * (want + mean.abs() * want.sqrt() * 4.0 + want);
        near(got, want, slack, "var");
        near(std, want.sqrt(), slack / want.sqrt().max(1e-12), "std");
    }
}

/// A sum in twice the digits.
fn exact_sum(values: impl Iterator<Item = f64>) -> f64 {
    let (mut hi, mut lo) = (0.0f64, 0.0f64);
    for x in values {
        let s = hi + x;
        if s.is_finite() {
            let b = s - hi;
            lo += (hi - (s - b)) + (x - b);
        }
        hi = s;
    }
    hi + lo
}

/// Checks all reductions of `x` over `axis` (of three forms) and those over all axes.
fn axis<T: Number>(x: &DeviceArrayD<T>, host: &ArrayD<T>, a: usize) {
    let a = Axis(a);
    let lanes: Vec<Lane<T>> = host.lanes(a).into_iter().map(|l| Lane { values: l.to_vec() }).collect();
    macro_rules! each {
        ($axis:ident $keep:ident $axes:ident ($($arg:expr)*); $lane:ident, $got:ident => $check:expr) => {{
            let all = [x.$axis(a $(, $arg)*), x.$keep(a $(, $arg)*).remove_axis(a), x.$axes(&[a] $(, $arg)*)];
            let first = all[0].to_ndarray().unwrap();
            assert_eq!(first.shape(), host.raw_dim().slice().iter().enumerate().filter(|&(i, _)| i != a.0).map(|(_, &n)| n).collect::<Vec<_>>());
            for ($lane, &$got) in lanes.iter().zip(&first) {
                $check;
            }
            for other in &all[1..] {
                let bits = |a: &ndarray::ArrayD<_>| a.iter().map(|v| Element::to_bits64(*v)).collect::<Vec<_>>();
                assert_eq!(bits(&first), bits(&other.to_ndarray().unwrap()), concat!(stringify!($axes), " is not ", stringify!($axis)));
            }
            first
        }};
    }
    each!(sum_axis sum_keep sum_axes (); l, v => l.sum(v));
    each!(product_axis product_keep product_axes (); l, v => l.product(v));
    each!(any_axis any_keep any_axes (); l, v => assert_eq!(v, l.floats().any(|x| x != 0.0), "any"));
    each!(all_axis all_keep all_axes (); l, v => assert_eq!(v, l.floats().all(|x| x != 0.0), "all"));
    each!(count_nonzero_axis count_nonzero_keep count_nonzero_axes (); l, v => {
        assert_eq!(v, l.floats().filter(|&x| x != 0.0).count() as i64, "count");
    });
    each!(mean_axis mean_keep mean_axes (); l, v => l.mean(v));
    for ddof in [0.0, 1.0] {
        let std = x.std_axis(a, ddof).to_ndarray().unwrap();
        let mut roots = std.iter();
        each!(var_axis var_keep var_axes (ddof); l, v => l.var(ddof, v, *roots.next().unwrap()));
    }
    if host.shape()[a.0] == 0 {
        return;
    }
    let same =
        |v: T, w: T| assert!(v == w || v.partial_cmp(&v).is_none() && w.partial_cmp(&w).is_none(), "{v} not {w}");
    each!(min_axis min_keep min_axes (); l, v => same(v, l.extreme(true).1));
    each!(max_axis max_keep max_axes (); l, v => same(v, l.extreme(false).1));
    each!(argmin_axis argmin_keep argmin_axes (); l, v => assert_eq!(v, l.extreme(true).0 as i64, "argmin"));
    each!(argmax_axis argmax_keep argmax_axes (); l, v => assert_eq!(v, l.extreme(false).0 as i64, "argmax"));
}

fn every<T: Number>(x: &DeviceArrayD<T>, host: &ArrayD<T>) {
    let l = Lane { values: host.iter().copied().collect::<Vec<T>>() };
    l.sum(x.sum().item().unwrap());
    l.product(x.product().item().unwrap());
    l.mean(x.mean().item().unwrap());
    l.var(0.0, x.var(0.0).item().unwrap(), x.std(0.0).item().unwrap());
    assert_eq!(x.any().item().unwrap(), l.floats().any(|x| x != 0.0));
    assert_eq!(x.all().item().unwrap(), l.floats().all(|x| x != 0.0));
    assert_eq!(x.count_nonzero().item().unwrap(), l.floats().filter(|&x| x != 0.0).count() as i64);
    if !host.is_empty() {
        assert_eq!(x.argmin().item().unwrap(), l.extreme(true).0 as i64);
        assert_eq!(x.argmax().item().unwrap(), l.extreme(false).0 as i64);
    }
}

fn noise(n: usize, i: usize) -> u64 {
    let x = ((i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (n as u64)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^ (x >> 29)
}

/// Values with ties and zeros; of floats, ones whose products stay in range.
fn sample<T: Number>(n: usize) -> Vec<T> {
    (0..n)
        .map(|i| {
            let r = noise(n, i);
            if T::DTYPE.is_float() {
                if n > 8 && r.is_multiple_of(61) { T::ZERO } else { T::from_f64(0.5 + (r % 1024) as f64 / 1024.0) }
            } else if r.is_multiple_of(5) {
                T::from_bits64(r % 2)
            } else {
                T::from_bits64(r >> 7)
            }
        })
        .collect()
}

/// The same values in other places of memory.
fn layouts<T: Number>(dev: &Device, host: &ArrayD<T>) -> Vec<(&'static str, DeviceArrayD<T>)> {
    let mut f = ArrayD::from_elem(IxDyn(host.shape()).f(), T::ZERO);
    f.assign(host);
    let last = host.ndim() - 1;
    let mut wide_shape = host.shape().to_vec();
    wide_shape[last] = 2 * wide_shape[last] + 1;
    let mut wide = ArrayD::from_elem(IxDyn(&wide_shape), T::ONE);
    wide.slice_axis_mut(Axis(last), Slice::new(1, None, 2)).assign(host);
    let mut turned = host.clone();
    turned.invert_axis(Axis(0));
    let turned = turned.as_standard_layout().into_owned();
    let stepped = dev.array(wide).unwrap();
    let n = host.shape()[last];
    let odd: Vec<usize> = (0..n).map(|i| 2 * i + 1).collect();
    vec![
        ("C", dev.array(host).unwrap()),
        ("F", dev.array(f).unwrap()),
        ("stepped", {
            let mut parts = vec![ndarray::SliceInfoElem::from(..); host.ndim()];
            parts[last] = ndarray::SliceInfoElem::Slice { start: 1, end: None, step: 2 };
            stepped.slice(&parts[..])
        }),
        ("reversed", dev.array(turned).unwrap().flip(Axis(0))),
        ("gathered", stepped.select(Axis(last), &odd)),
        ("computed", {
            let x = dev.array(host).unwrap();
            x.maximum(&x)
        }),
    ]
}

fn types_axes_and_layouts(dev: &Device) {
    // All types in all layouts are some 4000 kernels: where a compiler makes them, f32 takes all layouts, another type one.
    let few = compiles_slowly(dev);
    fn check<T: Number>(dev: &Device, few: bool) {
        let t = T::DTYPE as usize;
        for (s, shape) in [[5, 7, 6], [2, 1, 70], [1, 40, 3]].into_iter().enumerate() {
            let host = ArrayD::from_shape_vec(IxDyn(&shape), sample::<T>(shape.iter().product())).unwrap();
            for (l, (_name, x)) in layouts(dev, &host).into_iter().enumerate() {
                if few && (T::DTYPE != DType::F32 || l % 3 != s) && (t % 3, t / 2 % 6) != (s, l) {
                    continue;
                }
                (0..3).for_each(|a| axis(&x, &host, a));
                every(&x, &host);
                several(&x, &host);
            }
        }
        let empty = ArrayD::<T>::from_shape_vec(IxDyn(&[3, 0, 2]), vec![]).unwrap();
        let x = dev.array(&empty).unwrap();
        assert_eq!(x.sum_axis(Axis(1)), ArrayD::from_elem(IxDyn(&[3, 2]), <T::Sum as Element>::ZERO));
        assert_eq!(x.product_axis(Axis(1)), ArrayD::from_elem(IxDyn(&[3, 2]), <T::Sum as Element>::ONE));
        assert_eq!(x.max_axis(Axis(0)).shape(), [0, 2]);
    }
    /// Several axes: as one axis of the array with them moved together.
    fn several<T: Number>(x: &DeviceArrayD<T>, host: &ArrayD<T>) {
        let n = host.shape();
        let joined = |order: [usize; 3], cut: usize| {
            let p = host.view().permuted_axes(IxDyn(&order)).as_standard_layout().into_owned();
            let (a, b): (usize, usize) = match cut {
                1 => (n[order[0]], n[order[1]] * n[order[2]]),
                _ => (n[order[0]] * n[order[1]], n[order[2]]),
            };
            p.into_shape_with_order(IxDyn(&[a, b])).unwrap()
        };
        for (order, axes) in [([0, 1, 2], [1, 2]), ([1, 0, 2], [0, 2]), ([2, 0, 1], [0, 1])] {
            let axes = axes.map(Axis);
            let j = joined(order, 1);
            let lanes = j.lanes(Axis(1)).into_iter().map(|l| Lane { values: l.to_vec() });
            let (sum, low, at) = (x.sum_axes(&axes), x.min_axes(&axes), x.argmin_axes(&axes));
            ndcuda::eval((&sum, &low, &at)).unwrap();
            let (sum, low, at) = (sum.to_ndarray().unwrap(), low.to_ndarray().unwrap(), at.to_ndarray().unwrap());
            for (i, l) in lanes.enumerate() {
                l.sum(sum[i]);
                assert_eq!((at[i], low[i]), (l.extreme(true).0 as i64, l.extreme(true).1));
            }
        }
        assert_eq!(x.max_axes(&[]), *host);
        let all = [Axis(0), Axis(1), Axis(2)];
        assert_eq!(x.max_axes(&all).item().unwrap(), x.max().item().unwrap());
    }
    macro_rules! all { ($($t:ty)*) => { $(check::<$t>(dev, few);)* } }
    all!(i8 i16 i32 i64 u8 u16 u32 u64 f16 bf16 f32 f64);
}

fn truth_values(dev: &Device) {
    let host = Array2::from_shape_fn((37, 130), |(i, j)| noise(i, j).is_multiple_of(3) || i == 5);
    let x = dev.array(&host).unwrap();
    truth(&x, &host);
    truth(&x.t(), &host.t().to_owned());
    truth(&x.slice(s![1..;3, ..;-2]), &host.slice(s![1..;3, ..;-2]).to_owned());
    assert!(dev.array(arr1(&[f32::NAN, 0.0])).unwrap().any().item().unwrap());
    assert!(dev.array(arr1(&[f32::NAN, 1.0])).unwrap().all().item().unwrap());
    assert!(!dev.array(arr1(&[-0.0f32])).unwrap().any().item().unwrap());
    for b in [false, true] {
        let one = dev.array(ndarray::arr0(b)).unwrap();
        assert_eq!((one.any().item().unwrap(), one.all().item().unwrap(), one.min().item().unwrap()), (b, b, b));
        assert_eq!((one.sum().item().unwrap(), one.mean().item().unwrap()), (b.into(), f64::from(u8::from(b))));
    }
    let none = dev.zeros::<bool, _>((0, 3));
    assert_eq!((none.any_axis(Axis(0)), none.all_axis(Axis(0))), (dev.zeros(3), dev.ones(3)));
    assert_eq!(none.count_nonzero_axis(Axis(0)), arr1(&[0i64; 3]));
}

fn truth(x: &DeviceArray2<bool>, host: &Array2<bool>) {
    for a in [0, 1] {
        let lane = |l: ArrayView1<bool>, f: fn(ArrayView1<bool>) -> i64| f(l);
        let by = |f: fn(ArrayView1<bool>) -> i64| host.map_axis(Axis(a), |l| lane(l, f));
        let count = by(|l| l.iter().filter(|&&b| b).count() as i64);
        assert_eq!(x.sum_axis(Axis(a)), count);
        assert_eq!(x.count_nonzero_axis(Axis(a)), count);
        let (n, share) = (host.len_of(Axis(a)) as f64, count.mapv(|c| c as f64) / host.len_of(Axis(a)) as f64);
        assert_eq!(x.mean_axis(Axis(a)), share);
        let spread = share.mapv(|p| p * (1.0 - p) * n / (n - 1.0));
        x.var_axis(Axis(a), 1.0).all_close(&spread, 1e-13, 1e-15).unwrap();
        assert_eq!(x.any_axis(Axis(a)).cast::<i64>(), by(|l| i64::from(l.iter().any(|&b| b))));
        assert_eq!(x.all_axis(Axis(a)).cast::<i64>(), by(|l| i64::from(l.iter().all(|&b| b))));
        assert_eq!(x.max_axis(Axis(a)), x.any_axis(Axis(a)));
        assert_eq!(x.min_axis(Axis(a)), x.all_axis(Axis(a)));
        assert_eq!(x.product_axis(Axis(a)), x.all_axis(Axis(a)).cast::<i64>());
        assert_eq!(x.argmax_axis(Axis(a)), by(|l| l.iter().position(|&b| b).unwrap_or(0) as i64));
        assert_eq!(x.argmin_axis(Axis(a)), by(|l| l.iter().position(|&b| !b).unwrap_or(0) as i64));
    }
}

fn moments_over_several_axes(dev: &Device) {
    let host = Array3::from_shape_fn((5, 7, 6), |(i, j, k)| (noise(i * 7 + j, k) % 1000) as f64 / 8.0);
    let x = dev.array(&host).unwrap();
    for (x, host) in [(x.clone(), host.clone()), (x.permuted_axes([2, 0, 1]), host.permuted_axes([2, 0, 1]))] {
        for axes in [vec![0, 1], vec![0, 2], vec![1, 2], vec![0, 1, 2], vec![1]] {
            let left: Vec<usize> = (0..3).filter(|a| !axes.contains(a)).collect();
            let order: Vec<usize> = left.iter().chain(&axes).copied().collect();
            let over: Vec<Axis> = axes.iter().map(|&a| Axis(a)).collect();
            let n: usize = axes.iter().map(|&a| host.shape()[a]).product();
            let rows = host.view().permuted_axes([order[0], order[1], order[2]]);
            let rows = rows.as_standard_layout().to_owned().into_shape_with_order((host.len() / n, n)).unwrap();
            let shape: Vec<usize> = left.iter().map(|&a| host.shape()[a]).collect();
            let as_rows = |v: Array1<f64>| v.into_shape_with_order(IxDyn(&shape)).unwrap();
            let close = |got: DeviceArrayD<f64>, want| got.all_close(&as_rows(want), 1e-13, 0.0).unwrap();
            close(x.mean_axes(&over).into_dyn(), rows.mean_axis(Axis(1)).unwrap());
            close(x.var_axes(&over, 1.0).into_dyn(), rows.var_axis(Axis(1), 1.0));
            close(x.std_axes(&over, 0.0).into_dyn(), rows.std_axis(Axis(1), 0.0));
        }
    }
    assert_eq!(x.std_keep(Axis(1), 1.0).shape(), [5, 1, 6]);
    assert_eq!(x.std_keep(Axis(1), 1.0).remove_axis(Axis(1)), x.std_axis(Axis(1), 1.0));
}

fn nan_and_ties(dev: &Device) {
    fn check<T: Number>(dev: &Device, nan: T) {
        for n in [1usize, 2, 63, 64, 65, 1024, 1025, 3000] {
            for at in [0, n / 2, n - 1] {
                let mut host = Array1::from_vec(sample::<T>(n));
                host[at] = nan;
                let x = dev.array(&host).unwrap();
                assert!(x.min().item().unwrap().to_f64().is_nan() && x.max().item().unwrap().to_f64().is_nan());
                assert_eq!((x.argmin().item().unwrap(), x.argmax().item().unwrap()), (at as i64, at as i64), "of {n}");
                assert!(x.sum().item().unwrap().to_f64().is_nan() && x.mean().item().unwrap().to_f64().is_nan());
                assert!(x.var(0.0).item().unwrap().to_f64().is_nan());
                host[n - 1] = nan;
                assert_eq!(dev.array(&host).unwrap().argmax().item().unwrap(), at as i64);
                // The same along columns.
                let two = ndarray::stack![Axis(1), host, Array1::from_elem(n, T::ONE)];
                let x = dev.array(&two).unwrap();
                assert_eq!(x.argmin_axis(Axis(0)), arr1(&[at as i64, 0]));
                assert!(x.max_axis(Axis(0)).to_ndarray().unwrap()[0].to_f64().is_nan());
            }
        }
    }
    check(dev, f32::NAN);
    check(dev, f64::NAN);
    check(dev, -f32::NAN);
    check(dev, f16::NAN);
    check(dev, bf16::NAN);
    for n in [5usize, 64, 1000, 70_000] {
        let same = dev.full(n, 7i32);
        assert_eq!((same.argmin().item().unwrap(), same.argmax().item().unwrap()), (0, 0));
        let mut host = Array1::from_elem(n, 1.0f32);
        host[n / 3] = -2.0;
        host[n - 1] = -2.0;
        assert_eq!(dev.array(&host).unwrap().argmin().item().unwrap(), (n / 3) as i64);
        let zeros = Array1::from_shape_fn(n, |i| if i % 2 == 0 { 0.0f64 } else { -0.0 });
        assert_eq!(dev.array(&zeros).unwrap().argmin().item().unwrap(), 0);
        let low = dev.full(n, f32::INFINITY);
        assert_eq!((low.argmin().item().unwrap(), low.min().item().unwrap()), (0, f32::INFINITY));
        assert_eq!(dev.full(n, f64::NEG_INFINITY).max().item().unwrap(), f64::NEG_INFINITY);
        assert_eq!(dev.full(n, i64::MIN).max().item().unwrap(), i64::MIN);
        assert_eq!(dev.full(n, u8::MAX).min().item().unwrap(), u8::MAX);
    }
}

fn sizes_where_loops_end(dev: &Device) {
    fn check<T: Number>(dev: &Device) {
        for n in [1, 2, 3, 15, 16, 17, 63, 64, 65, 127, 255, 256, 257, 1023, 1024, 1025, 2047, 4097, 65_537] {
            let host = ArrayD::from_shape_vec(IxDyn(&[n]), sample::<T>(n)).unwrap();
            every(&dev.array(&host).unwrap(), &host);
        }
        for shape in [[1023, 2], [2, 1025], [257, 65], [64, 64], [1, 5000], [5000, 1], [3000, 7], [7, 3001]] {
            let host = ArrayD::from_shape_vec(IxDyn(&shape), sample::<T>(shape[0] * shape[1])).unwrap();
            let x = dev.array(&host).unwrap();
            (0..2).for_each(|a| axis(&x, &host, a));
        }
    }
    check::<f32>(dev);
    check::<f64>(dev);
    check::<u16>(dev);
    for shape in [[100_000, 3], [3, 100_000]] {
        let host = ArrayD::from_shape_vec(IxDyn(&shape), sample::<f32>(300_000)).unwrap();
        let x = dev.array(&host).unwrap();
        (0..2).for_each(|a| axis(&x, &host, a));
        every(&x.t(), &host.view().reversed_axes().as_standard_layout().into_owned());
    }
}

fn prologues_and_epilogues(dev: &Device) {
    let host = Array3::from_shape_fn((9, 33, 20), |(i, j, k)| ((noise(i * 33 + j, k) % 19) as f64) - 9.0);
    let x = dev.array(&host).unwrap();
    let want = host.map_axis(Axis(1), |l| l.iter().map(|v| v * v).sum::<f64>()) * 2.0 - 1.0;
    assert_eq!((&x * &x).sum_axis(Axis(1)) * 2.0 - 1.0, want);
    let centred = &x - x.max_keep(Axis(2));
    let want = &host - &host.map_axis(Axis(2), |l| l.fold(f64::MIN, |a, &b| a.max(b))).insert_axis(Axis(2));
    assert_eq!(centred, want);
    assert_eq!(centred.min_axis(Axis(0)).sum_axis(Axis(1)), {
        want.map_axis(Axis(0), |l| l.fold(f64::MAX, |a, &b| a.min(b))).sum_axis(Axis(1))
    });
    let soft = (&x * 0.25).softmax(Axis(1));
    let e = host.mapv(|v| (v * 0.25).exp());
    let want = &e / &e.sum_axis(Axis(1)).insert_axis(Axis(1));
    soft.all_close(&want, 1e-13, 0.0).unwrap();
    soft.sum_axis(Axis(1)).all_close(&Array2::ones((9, 20)), 1e-14, 0.0).unwrap();
    // A broadcast operand: many of the same terms.
    let row = dev.array(arr1(&[1.0f32, 2.0, 3.0])).unwrap().broadcast((1000, 3)).unwrap();
    assert_eq!(row.sum_axis(Axis(0)), arr1(&[1000.0f32, 2000.0, 3000.0]));
    assert_eq!(row.sum().item().unwrap(), 6000.0);
    assert_eq!(dev.full((500, 3), 2i32).sum_axis(Axis(0)), arr1(&[1000i64; 3]));
    assert_eq!(dev.eye::<f32>(100).sum_axis(Axis(1)), Array1::from_elem(100, 1.0f32));
}

/// The same program on one, two and five threads; the bits of its results.
fn bits_on<D: Dimension, E: Dimension>(
    host: &Array<f32, D>,
    f: impl Fn(&DeviceArray<f32, D>) -> DeviceArray<f32, E>,
) -> [Vec<u32>; 3] {
    [1, 2, 5].map(|n| {
        let dev = Device::cpu_with_threads(n);
        let y = f(&dev.array(host).unwrap()).to_ndarray().unwrap();
        y.iter().map(|v| v.to_bits()).collect()
    })
}

fn bits_do_not_depend_on_threads() {
    let noisy = |i: usize| (noise(7, i) % 100_003) as f32 / 331.0 - 150.0;
    let v = Array1::from_shape_fn(1_000_001, noisy);
    let m = Array2::from_shape_fn((700, 900), |(i, j)| noisy(i * 900 + j));
    let tall = Array2::from_shape_fn((60_000, 3), |(i, j)| noisy(i * 3 + j));
    let same = |what: &str, bits: [Vec<u32>; 3]| {
        assert!(bits[0] == bits[1] && bits[0] == bits[2], "{what} depends on the number of threads");
    };
    same("sum", bits_on(&v, |x| x.sum()));
    same("product", bits_on(&v, |x| (x * 1e-5 + 1.0).product()));
    same("mean of a part", bits_on(&v, |x| x.slice(s![3..;7]).mean()));
    same("var", bits_on(&v, |x| x.var(1.0)));
    for a in [0, 1] {
        same("sum of a matrix", bits_on(&m, |x| x.sum_axis(Axis(a))));
        same("sum of a transpose", bits_on(&m, |x| x.t().sum_axis(Axis(a))));
        same("std", bits_on(&m, |x| x.std_axis(Axis(a), 0.0)));
        same("softmax", bits_on(&m, |x| x.softmax(Axis(a))));
        same("sum of a tall matrix", bits_on(&tall, |x| x.sum_axis(Axis(a))));
        same("sum of a wide matrix", bits_on(&tall, |x| x.t().sum_axis(Axis(a))));
    }
    same("sum of all of a matrix", bits_on(&m, |x| x.sum()));
    same("pairwise", bits_on(&m, |x| ndcuda::distance::sqeuclidean_broadcast(x, &x.slice(s![..130, ..]))));
    same("expanded", bits_on(&m, |x| ndcuda::distance::sqeuclidean_expanded(x, &x.slice(s![..130, ..]))));
    same("dot", bits_on(&m, |x| x.dot(&x.t())));
    let pairs = |x: &DeviceArray2<f32>| x.slice(s![.., NewAxis, ..]) - x.slice(s![NewAxis, ..99, ..]);
    same("a combine as code", bits_on(&m, |x| (pairs(x).abs() / (pairs(x).abs() + 1.0)).sum_axis(Axis(2))));
    same("sums of pairs over j", bits_on(&m, |x| (pairs(x).abs() * -0.1).sum_axis(Axis(2)).exp().sum_axis(Axis(1))));
    let five = |x: &DeviceArray2<f32>| x.slice(s![..5, NewAxis, ..]) - x.slice(s![NewAxis, .., ..]);
    same("nearest of few rows", bits_on(&m, |x| five(x).square().sum_axis(Axis(2)).min_axis(Axis(1))));
    let few =
        |x: &DeviceArray2<f32>| x.slice(s![..7, NewAxis, ..3]) - x.reshape((210_000, 3)).slice(s![NewAxis, .., ..]);
    same("sums over j of 210000", bits_on(&m, |x| few(x).square().sum_axis(Axis(2)).sqrt().sum_axis(Axis(1))));
    same("topk of pairs", bits_on(&m, |x| pairs(x).square().sum_axis(Axis(2)).topk(5, Axis(1), false).0));
    same(
        "small batches",
        bits_on(&m, |x| {
            let x = x.reshape((70, 10, 900));
            x.dot(&x.swap_axes(1, 2))
        }),
    );
    same("dot with a vector", bits_on(&m, |x| x.dot(&x.slice(s![0, ..]))));
}

tests_on_devices! {
    types_axes_and_layouts truth_values moments_over_several_axes nan_and_ties sizes_where_loops_end prologues_and_epilogues;
    once: bits_do_not_depend_on_threads
}
