//! The k best of rows, and what stands at given places, against a sort and plain loops.

use crate::harness::{compiles_slowly, makes_kernels, on_the_host, quietly};
use ndarray::{Array2, ArrayD, ArrayViewD, Axis, IxDyn, NewAxis, arr2, s};
use ndcuda::debug::trace;
use ndcuda::distance::{Metric, cdist, knn};
use ndcuda::{Device, DeviceArray2, DeviceArrayD, Element, Error, Float, bf16, f16};
use std::cmp::Ordering;

/// Where the `k` best are: a stable sort of all.
fn sorted<T: Element>(x: &ArrayViewD<T>, axis: usize, k: usize, largest: bool) -> ArrayD<i64> {
    let mut shape = x.shape().to_vec();
    shape[axis] = k;
    let mut out = ArrayD::zeros(shape);
    for (row, mut to) in x.lanes(Axis(axis)).into_iter().zip(out.lanes_mut(Axis(axis))) {
        let mut at: Vec<usize> = (0..row.len()).collect();
        at.sort_by(|&a, &b| match row[a].partial_cmp(&row[b]) {
            Some(o) => {
                if largest {
                    o.reverse()
                } else {
                    o
                }
            }
            None => {
                let nan = |v: T| v.partial_cmp(&v).is_none();
                nan(row[a]).cmp(&nan(row[b]))
            }
        });
        to.iter_mut().zip(at).for_each(|(t, a)| *t = a as i64);
    }
    out
}

#[track_caller]
fn same<T: Element>(x: &DeviceArrayD<T>, axis: usize, k: usize, what: &str) {
    let host = x.to_ndarray().unwrap();
    for largest in [false, true] {
        let want = sorted(&host.view(), axis, k, largest);
        let (best, at) = x.topk(k, Axis(axis), largest);
        let (best, at) = (best.to_ndarray().unwrap(), at.to_ndarray().unwrap());
        assert_eq!(at, want, "{what}: {k} of axis {axis} of {:?}, largest: {largest}", x.shape());
        for (place, v) in best.indexed_iter() {
            let mut from = place.clone();
            from[axis] = at[&place] as usize;
            // Which NaN it is, a GPU's conversions of 16 bits decide.
            let nan = |v: T| v.partial_cmp(&v).is_none();
            let is = host[from];
            assert!(v.to_bits64() == is.to_bits64() || nan(*v) && nan(is), "{what} at {place:?}: {v}, not {is}");
        }
    }
}

/// Many equal values; floats have NaN, infinities and zeros of both signs.
fn values<T: Element>(dev: &Device, shape: &[usize], seed: usize) -> DeviceArrayD<T> {
    let mut n = seed;
    let next = || {
        n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let v = (n >> 33) % 97;
        match v {
            0 => T::from_f64(f64::NAN),
            1 => T::from_f64(f64::INFINITY),
            2 => T::from_f64(f64::NEG_INFINITY),
            3 => T::from_f64(-0.0),
            4 => T::from_f64(0.0),
            v => T::from_f64(v as f64 - 50.0),
        }
    };
    dev.array(&ArrayD::from_shape_simple_fn(shape, next)).unwrap()
}

fn topk_is_a_sort(dev: &Device) {
    fn check<T: Element>(dev: &Device) {
        let what = std::any::type_name::<T>();
        let few = !on_the_host(dev);
        let x = values::<T>(dev, if few { &[2, 30, 3] } else { &[3, 70, 5] }, 1);
        for axis in 0..3 {
            for k in if few { &[2][..] } else { &[0, 1, 3, 70] } {
                same(&x, axis, x.shape()[axis].min(*k), what);
            }
        }
        same(&x.t(), 1, 9, what);
        same(&x.slice(s![..;-1, 3..;2, ..;-2]).into_dyn(), 1, 7, what);
        if few && T::DTYPE.size() > 4 {
            return;
        }
        same(&x.slice(s![1, .., 2..3]).broadcast(IxDyn(&[x.shape()[1], 4])).unwrap(), 0, 12, what);
        same(&values::<T>(dev, &[500], 2), 0, 20, what);
        same(&values::<T>(dev, &[0, 4], 3), 1, 2, what);
        same(&values::<T>(dev, &[2, 0], 3), 1, 0, what);
    }
    macro_rules! all { ($($t:ty)*) => { $(check::<$t>(dev);)* } }
    all!(bool i8 i16 i32 i64 u8 u16 u32 u64 f16 bf16 f32 f64);
    // Ends of the integers, which are the kernels' own marks; and nothing but NaN.
    let ends = [i64::MAX, i64::MIN, -1, 0, i64::MAX, i64::MIN];
    same(&dev.array(ndarray::arr1(&ends)).unwrap().into_dyn(), 0, 6, "ends");
    let ends = [u64::MAX, 0, u64::MAX, 1, 0];
    same(&dev.array(ndarray::arr1(&ends)).unwrap().into_dyn(), 0, 5, "ends");
    same(&dev.full::<f32, _>(IxDyn(&[200]), f32::NAN), 0, 150, "NaN");
    // The worst order: each element is better than those before it.
    same(&dev.arange(3000i32, 0, -1).into_dyn(), 0, 10, "falling");
    // More than one walk of a GPU, and of what is not stored.
    same(&values::<f32>(dev, &[2, 3000], 4), 1, 2500, "many");
    let x = values::<f32>(dev, &[40, 300], 5);
    same(&(&x * 2.0 - 1.0), 1, 5, "made");
    let (best, _) = (&x + 1.0).topk(4, Axis(1), true);
    let sum = (best.sum_axis(Axis(1)) * 2.0).to_ndarray().unwrap();
    assert_eq!(sum.shape(), [40]);
}

fn topk_of_random_shapes(dev: &Device) {
    let mut seed = 7usize;
    let mut draw = |n: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    for _ in 0..if on_the_host(dev) { 200 } else { 12 } {
        let rank = 1 + draw(4);
        let shape: Vec<usize> = (0..rank).map(|_| 1 + draw([700, 40, 12, 6][rank - 1])).collect();
        let axis = draw(rank);
        let x = values::<f32>(dev, &shape, draw(1000));
        let mut order: Vec<usize> = (0..rank).collect();
        order.rotate_left(draw(rank));
        let x = x.permuted_axes(IxDyn(&order));
        let k = draw(x.shape()[axis] + 1);
        same(&x, axis, k, "random");
    }
}

fn taking_along_an_axis(dev: &Device) {
    let host = ArrayD::from_shape_fn(IxDyn(&[3, 4, 5]), |i| (i[0] * 20 + i[1] * 5 + i[2]) as i32);
    let x = dev.array(&host).unwrap();
    for axis in 0..3 {
        for broadcast in [false, true] {
            let mut shape = if broadcast { vec![1; 3] } else { host.shape().to_vec() };
            shape[axis] = 7;
            let n = host.shape()[axis];
            let index = ArrayD::from_shape_fn(shape, |i| ((i[0] * 3 + i[1] * 5 + i[2] * 7) % n) as u16);
            let got = x.take_along_axis(Axis(axis), &dev.array(&index).unwrap()).to_ndarray().unwrap();
            let mut full = host.shape().to_vec();
            full[axis] = 7;
            let want = ArrayD::from_shape_fn(full, |place| {
                let mut own = place.clone();
                if broadcast {
                    (0..3).filter(|&a| a != axis).for_each(|a| own[a] = 0);
                }
                let mut from = place.clone();
                from[axis] = index[own] as usize;
                host[from]
            });
            assert_eq!(got, want, "axis {axis}, broadcast: {broadcast}");
        }
    }
    // One source for many rows of indices.
    let one = dev.array(arr2(&[[10, 20, 30]])).unwrap();
    let at = dev.array(arr2(&[[2i64, 0], [1, 1]])).unwrap();
    assert_eq!(one.take_along_axis(Axis(1), &at), arr2(&[[30, 10], [20, 20]]));
    let bad = dev.array(arr2(&[[3i64, 0]])).unwrap();
    let e = one.take_along_axis(Axis(1), &bad).eval().unwrap_err();
    assert!(e.to_string().contains('3'), "{e}");
}

fn wrong_selections_are_errors(dev: &Device) {
    let x = dev.zeros::<f32, _>((2, 3));
    assert!(matches!(x.try_topk(4, Axis(1), false), Err(Error::Shape { op: "topk", .. })));
    assert!(matches!(x.try_topk(1, Axis(2), false), Err(Error::Axis { op: "topk", axis: 2, .. })));
    let index = dev.zeros::<i64, _>((3, 1));
    assert!(matches!(x.try_take_along_axis(Axis(1), &index), Err(Error::Broadcast { op: "take_along_axis", .. })));
    assert!(matches!(x.try_take_along_axis(Axis(5), &index), Err(Error::Axis { .. })));
    assert!(quietly(|| x.topk(4, Axis(1), true)).unwrap_err().contains("4 of 3"));
}

/// More rows than a tile has, equal ones in several tiles, and rows that are nowhere.
fn neighbours_come_from_all_tiles(dev: &Device) {
    let (n, m, d) = if on_the_host(dev) { (300, 9000, 3) } else { (3, 4400, 1) };
    let value = |i: usize, c: usize, p: usize| ((i * 7919 + c * 31) % p) as f32;
    let mut hy = Array2::from_shape_fn((m, d), |(j, c)| value(j, c, 211));
    hy.row_mut(5).fill(f32::NAN);
    hy.row_mut(m - 1).fill(f32::INFINITY);
    let (x, y) = (dev.from_fn((n, d), |(i, c)| value(i, c, 101)).unwrap(), dev.array(&hy).unwrap());
    for metric in [Metric::SqEuclidean, Metric::SEuclidean] {
        if metric == Metric::SEuclidean && !on_the_host(dev) {
            continue;
        }
        let y = if metric == Metric::SEuclidean { y.slice(s![6..m - 1, ..]) } else { y.clone() };
        let all = cdist(&x, &y, metric).to_ndarray().unwrap();
        let (near, at) = knn(&x, &y, 4, metric).unwrap();
        let (near, at) = (near.to_ndarray().unwrap(), at.to_ndarray().unwrap());
        for i in 0..n {
            let mut order: Vec<usize> = (0..all.ncols()).filter(|&j| all[[i, j]] < f32::INFINITY).collect();
            order.sort_by(|&a, &b| all[[i, a]].partial_cmp(&all[[i, b]]).unwrap_or(Ordering::Equal));
            for r in 0..4 {
                assert_eq!((near[[i, r]], at[[i, r]]), (all[[i, order[r]]], order[r] as i64), "{metric} row {i}");
            }
        }
    }
    let e = knn(&x, &dev.zeros((9, d + 1)), 2, Metric::SEuclidean).unwrap_err();
    assert!(matches!(e, Error::Mismatch { .. }), "{e}");
}

/// What is selected of `d`, which is made anew each time, is what a sort of it in memory selects, along either axis; without that memory
/// where the device can.
#[track_caller]
fn of_pairs<T: Element>(k: usize, alone: bool, what: &str, d: impl Fn() -> DeviceArray2<T>) {
    let host = d().to_ndarray().unwrap().into_dyn();
    // On the software device each costs a second.
    let few = !on_the_host(d().device());
    for (axis, largest) in [(1, false), (1, true), (0, false), (0, true)] {
        if few && (axis, largest) == (0, false) {
            continue;
        }
        let k = k.min(host.shape()[axis]);
        let bytes = host.shape()[1 - axis] * k * (8 + size_of::<T>());
        let what = format!("{what}: {k} of {:?} along {axis}, largest: {largest}", host.shape());
        let want = sorted(&host.view(), axis, k, largest);
        let (best, at) = d().topk(k, Axis(axis), largest);
        let (r, t) = trace(|| ndcuda::eval((&best, &at)));
        r.unwrap();
        if alone {
            assert_eq!((t.kernels, t.allocated), (1, bytes), "{what}: {t:?}");
        }
        let (best, at) = (best.to_ndarray().unwrap(), at.to_ndarray().unwrap().into_dyn());
        assert_eq!(at, want, "{what}");
        for ((i, j), v) in best.indexed_iter() {
            let mut from = [i, j];
            from[axis] = at[[i, j]] as usize;
            assert!(v.to_bits64() == host[from].to_bits64(), "{what} at {i}, {j}: {v}, not {}", host[from]);
        }
        // Only where they are; of the same array seen from its other side.
        let (_, at) = d().topk(k, Axis(axis), largest);
        assert_eq!(at.to_ndarray().unwrap().into_dyn(), want, "{what}: indices alone");
        if few && axis == 1 {
            continue;
        }
        let (best, at) = d().t().topk(k, Axis(1 - axis), largest);
        let (r, t) = trace(|| ndcuda::eval((&best, &at)));
        r.unwrap();
        assert!(!alone || t.allocated == bytes, "{what}, turned: {t:?}");
        assert_eq!(at.t().to_ndarray().unwrap().into_dyn(), want, "{what}, turned");
        let (found, best) = (d().topk(k, Axis(axis), largest).0.to_ndarray().unwrap(), best.t().to_ndarray().unwrap());
        let bits = |a: &Array2<T>| a.iter().map(|v| v.to_bits64()).collect::<Vec<_>>();
        assert_eq!(bits(&best), bits(&found), "{what}, turned");
    }
}

/// Rows with many equal distances, and some that are NaN.
fn points<T: Float>(dev: &Device, n: usize, d: usize, seed: usize) -> DeviceArray2<T> {
    let value = |i: usize, c: usize| match ((i * 7919 + c * 31 + seed) % 211, i % 97) {
        (_, 96) => f64::NAN,
        (v, _) => (v % 17) as f64 / 3.0,
    };
    dev.from_fn((n, d), |(i, c)| T::from_f64(value(i, c))).unwrap()
}

fn best_of_pairs_are_those_of_a_sort(dev: &Device) {
    let shapes: &[[usize; 4]] = match on_the_host(dev) {
        // Around blocks of 12 and 6 rows, groups of 8 of them, tiles of 1024 columns, segments of k, parts of columns.
        true => &[
            [1, 1, 2, 1],
            [1, 5, 3, 5],
            [1, 9000, 3, 20],
            [2, 1023, 4, 3],
            [11, 1024, 3, 1],
            [13, 1025, 5, 10],
            [97, 40, 17, 40],
            [96, 2049, 300, 7],
            [200, 3000, 2, 33],
            [500, 70, 4, 6],
            [3, 2500, 2, 1024],
        ],
        // One block; parts of a row, of which all, or most, are wanted.
        false => &[[3, 70, 4, 5], [1, 90, 5, 90], [2, 1100, 3, 1024]],
    };
    for &[n, m, d, k] in shapes {
        fn check<T: Float<Sum = T, Mean = T>>(dev: &Device, [n, m, d, k]: [usize; 4]) {
            let (x, y) = (points::<T>(dev, n, d, 1), points::<T>(dev, m, d, 5));
            let what = std::any::type_name::<T>();
            let alone = n > 1 && m > 1;
            of_pairs(k, alone, what, || cdist(&x, &y, Metric::Euclidean));
            of_pairs(k, alone, what, || cdist(&x, &y, Metric::Canberra));
            of_pairs(k, false, what, || x.dot(&y.t()) + T::ONE);
        }
        check::<f32>(dev, [n, m, d, k]);
        if n * m < if on_the_host(dev) { 20_000 } else { 1000 } {
            check::<f64>(dev, [n, m, d, k]);
            check::<f16>(dev, [n, m, d, k]);
        }
    }
    let (x, y) = (points::<f32>(dev, 30, 3, 1), points::<f32>(dev, 40, 3, 2));
    let d = || cdist(&x, &y, Metric::CityBlock);
    // Counts of what is equal are integers.
    of_pairs(4, true, "integers", || {
        let (x, y) = (x.slice(s![.., NewAxis, ..]), y.slice(s![NewAxis, .., ..]));
        x.equal(&y).sum_axis(Axis(2))
    });
    // Both ends at once, read by others, held: stored or not, the same.
    let all = d().to_ndarray().unwrap();
    same_as(&all, 0, &d().topk(4, Axis(0), true), true);
    let held = d();
    let (low, high) = (held.topk(3, Axis(1), false), held.topk(2, Axis(1), true));
    ndcuda::eval((&low.0, &high.1)).unwrap();
    same_as(&all, 1, &low, false);
    same_as(&all, 1, &high, true);
    // Along both axes: made twice, or stored.
    let host = on_the_host(dev);
    for &d in if host { &[5, 70][..] } else { &[5] } {
        let (x, y) = (points::<f32>(dev, 150, d, 1), points::<f32>(dev, 130, d, 2));
        let metrics = [Metric::Cosine, Metric::Euclidean, Metric::Canberra];
        for &metric in &metrics[..if host { 3 } else { 1 }] {
            let all = cdist(&x, &y, metric).to_ndarray().unwrap();
            let ((rows, columns), t) = trace(|| {
                let d = cdist(&x, &y, metric);
                let best = (d.topk(3, Axis(1), false), d.topk(2, Axis(0), true));
                ndcuda::eval((&best.0.0, &best.0.1, &best.1.0, &best.1.1)).unwrap();
                best
            });
            same_as(&all, 1, &rows, false);
            same_as(&all, 0, &columns, true);
            let stored = t.bytes_written >= 150 * 130 * 4;
            assert!(stored == (d > 32), "{metric} of rows of {d}: {t:?}");
        }
    }
    let (best, sum) = (held.topk(2, Axis(1), false), held.sum_axis(Axis(1)));
    ndcuda::eval((&best.1, &sum)).unwrap();
    same_as(&all, 1, &best, false);
    // Batches of matrices, and what comes after.
    let (a, b) = (points::<f32>(dev, 6, 5, 1), points::<f32>(dev, 8, 5, 2));
    let (a, b) = (a.reshape((2, 3, 1, 5)), b.reshape((2, 1, 4, 5)));
    let batch = || (&a - &b).abs().sum_axis(Axis(3));
    let host = batch().to_ndarray().unwrap();
    let (near, at) = batch().topk(2, Axis(2), false);
    let twice = (&near * 2.0).to_ndarray().unwrap();
    assert_eq!(at.to_ndarray().unwrap().into_dyn(), sorted(&host.view().into_dyn(), 2, 2, false));
    assert_eq!(twice, near.to_ndarray().unwrap() * 2.0);
    for axis in [1, 2] {
        let (near, at) = batch().topk(2, Axis(axis), true);
        let (r, t) = trace(|| ndcuda::eval((&near, &at)));
        r.unwrap();
        let want = sorted(&host.view().into_dyn(), axis, 2, true);
        assert_eq!((t.kernels, t.allocated), (1, want.len() * 12), "axis {axis}: {t:?}");
        assert_eq!(at.to_ndarray().unwrap().into_dyn(), want, "axis {axis}");
        let best = near.to_ndarray().unwrap();
        let mut found = best.clone();
        for (place, v) in found.indexed_iter_mut() {
            let mut from = [place.0, place.1, place.2];
            from[axis] = want[[place.0, place.1, place.2]] as usize;
            *v = host[from];
        }
        assert_eq!(best.mapv(f32::to_bits), found.mapv(f32::to_bits), "axis {axis}");
    }
}

/// Arrays larger than the block that a GPU makes at a time: rows and columns that blocks end at, ties and NaN on both sides, batches.
fn blocks_of_pairs_are_selected_from_as_one(dev: &Device) {
    if !makes_kernels(dev) {
        return;
    }
    let (n, m, k) = (4100, 1100, 9);
    let left = |i: usize| ((i * 31) % 101) as f64;
    let right = |j: usize| match j {
        1000 | 1020 | 1023 | 1024 | 1030 | 1099 => -50.0,
        7 | 1022 | 1025 => f64::NAN,
        j => ((j * 7919) % 211) as f64,
    };
    let row = |i: usize| Array2::from_shape_fn((1, m), |(_, j)| (left(i) - right(j)).abs());
    // Rows around where blocks end, and some others.
    let some = || (0..n).filter(|i| i % 500 == 3 || *i > 4090);
    let x = dev.from_fn((1, n, 1, 1), |i| left(i.1)).unwrap();
    let y = dev.from_fn((1, 1, m, 1), |i| right(i.2)).unwrap();
    // Indices alone, which keep elements from part to part nevertheless.
    let at = (&x - &y).abs().sum_axis(Axis(3)).topk(k, Axis(2), true).1.to_ndarray().unwrap();
    for i in some() {
        let want = sorted(&row(i).view().into_dyn(), 1, k, true);
        assert_eq!(at.slice(s![.., i, ..]).into_dyn(), want, "row {i}");
    }
    let (x, y) = (points::<f32>(dev, 5, 3, 1), points::<f32>(dev, 24, 3, 2));
    let y = y.reshape((4, 6, 3));
    let pairs = || (x.slice(s![.., NewAxis, NewAxis, ..]) - y.slice(s![NewAxis, .., .., ..])).abs().sum_axis(Axis(3));
    let at = pairs().topk(2, Axis(2), true).1.to_ndarray().unwrap();
    assert_eq!(at.into_dyn(), sorted(&pairs().to_ndarray().unwrap().view().into_dyn(), 2, 2, true));
    // 9 million pairs: a minute and more on the software device.
    if compiles_slowly(dev) {
        return;
    }
    // Two batches, of which one has twice the distances.
    let x = dev.from_fn((2, n, 1, 1), |i| left(i.1) * (1 + i.0) as f64).unwrap();
    let y = dev.from_fn((2, 1, m, 1), |i| right(i.2) * (1 + i.0) as f64).unwrap();
    let (best, at) = (&x - &y).abs().sum_axis(Axis(3)).topk(k, Axis(2), false);
    let (r, t) = trace(|| ndcuda::eval((&best, &at)));
    r.unwrap();
    assert_eq!((t.kernels, t.allocated), (1, 2 * n * k * 16), "{t:?}");
    let (best, at) = (best.to_ndarray().unwrap(), at.to_ndarray().unwrap());
    for (e, i) in (0..2).flat_map(|e| some().map(move |i| (e, i))) {
        let host = row(i) * (1 + e) as f64;
        let want = sorted(&host.view().into_dyn(), 1, k, false);
        assert_eq!(at.slice(s![e..=e, i, ..]).into_dyn(), want, "{e}, row {i}");
        for r in 0..k {
            assert_eq!(best[[e, i, r]].to_bits(), host[[0, at[[e, i, r]] as usize]].to_bits(), "{e}, row {i}");
        }
    }
}

/// The nearest by any metric, and by what its own value is no distance to: nothing of the matrix's size is stored.
fn neighbours_need_no_matrix(dev: &Device) {
    let (n, m, k) = (60, 70, 2);
    let (x, y) = (points::<f32>(dev, n, 3, 1), points::<f32>(dev, m, 3, 5));
    let stores: Vec<String> = Metric::ALL
        .into_iter()
        .filter(|&metric| {
            let (near, at) = knn(&x, &y, k, metric).unwrap();
            let (r, t) = trace(|| ndcuda::eval((&near, &at)));
            r.unwrap();
            t.allocated >= n * m * 4
        })
        .map(|metric| metric.to_string())
        .collect();
    assert!(stores.is_empty(), "{stores:?}");
}

#[track_caller]
fn same_as(host: &Array2<f32>, axis: usize, got: &(DeviceArray2<f32>, DeviceArray2<i64>), largest: bool) {
    let want = sorted(&host.view().into_dyn(), axis, got.0.shape()[axis], largest);
    assert_eq!(got.1.to_ndarray().unwrap().into_dyn(), want);
    for (place, v) in got.0.to_ndarray().unwrap().indexed_iter() {
        let at = want[[place.0, place.1]] as usize;
        let from = if axis == 0 { (at, place.1) } else { (place.0, at) };
        assert_eq!(v.to_bits(), host[from].to_bits());
    }
}

tests_on_devices! {
    topk_is_a_sort topk_of_random_shapes taking_along_an_axis wrong_selections_are_errors neighbours_come_from_all_tiles
    best_of_pairs_are_those_of_a_sort blocks_of_pairs_are_selected_from_as_one neighbours_need_no_matrix
}
