//! Nearest rows, and the condensed form of a matrix of distances.

use super::compose::{in_f32, variance_of_both};
use super::{Metric, fit, shaped, try_cdist, try_seuclidean};
use crate::array::{DeviceArray1, DeviceArray2, room};
use crate::dtype::Float;
use crate::error::{Error, Result};
use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use std::cmp::Ordering;

/// The `k` rows of `y` nearest to each row of `x`: distances and indices, `(n, k)`, the nearest first, of equally near ones
/// the first. NaN is far; where fewer than `k` rows have a finite distance, the rest are infinity and -1.
///
/// This is `topk` of the distances, recorded and evaluated as any expression (on a GPU `argmin` and `min`, evaluated at once, of the
/// single nearest row): the best of each row are found while the distances are made, which are never stored as a whole. On a GPU
/// blocks of 32 MiB of them are made and searched, one after the other.
///
/// # Errors
/// If there are fewer than `k` rows, they differ in length, or whatever the device fails with.
///
/// ```
/// use ndcuda::{distance::{Metric, knn}, prelude::*};
/// let x = Device::cpu().array(&ndarray::arr2(&[[0.0f32], [1.0], [5.0]]))?;
/// let (distances, indices) = knn(&x, &x, 2, Metric::Euclidean)?;
/// assert_eq!(indices, ndarray::arr2(&[[0i64, 1], [1, 0], [2, 1]]));
/// assert_eq!(distances, ndarray::arr2(&[[0.0, 1.0], [0.0, 1.0], [0.0, 4.0]]));
/// # Ok::<(), ndcuda::Error>(())
/// ```
#[track_caller]
pub fn knn<T: Float<Sum = T, Mean = T>>(
    x: &DeviceArray2<T>,
    y: &DeviceArray2<T>,
    k: usize,
    metric: Metric,
) -> Result<(DeviceArray2<T>, DeviceArray2<i64>)> {
    fit("knn", x, y)?;
    if in_f32::<T>() {
        // Distances beyond f16 still have an order.
        let (distances, indices) = knn(&x.cast::<f32>(), &y.cast::<f32>(), k, metric)?;
        return Ok((distances.cast(), indices));
    }
    // Of all rows.
    let variance = (metric == Metric::SEuclidean).then(|| variance_of_both(x, y));
    at_once(x, y, k, |x, y| between(x, y, metric, &variance))
}

/// As [`knn`], by a distance of one's own, from blocks of rows `(n, d)` and `(m, d)` to `(n, m)`: a composition as
/// [`cdist_weighted`](super::cdist_weighted), [`mahalanobis`](super::mahalanobis), or any other in which each element depends on its two rows
/// alone. On a GPU, where a composition may store its matrix, tiles of it (about a million elements) are made and searched by
/// [`topk`](DeviceArray2::topk) for `k` above 1, and the host puts their results together.
///
/// # Errors
/// If there are fewer than `k` rows, they differ in length, the distances have another shape, or whatever they or the device fail with.
///
/// ```
/// use ndcuda::{distance::{Metric, cdist_weighted, knn_by}, prelude::*};
/// let dev = Device::cpu();
/// let x = dev.array(&ndarray::arr2(&[[0.0f32, 0.0], [1.0, 5.0], [2.0, 0.0]]))?;
/// let w = dev.array(&ndarray::arr1(&[1.0f32, 0.0]))?;
/// let (_, indices) = knn_by(&x, &x, 2, |x, y| Ok(cdist_weighted(x, y, Metric::Euclidean, &w)))?;
/// assert_eq!(indices, ndarray::arr2(&[[0i64, 1], [1, 0], [2, 1]]));
/// # Ok::<(), ndcuda::Error>(())
/// ```
#[track_caller]
pub fn knn_by<T: Float>(
    x: &DeviceArray2<T>,
    y: &DeviceArray2<T>,
    k: usize,
    distances: impl Fn(&DeviceArray2<T>, &DeviceArray2<T>) -> Result<DeviceArray2<T>>,
) -> Result<(DeviceArray2<T>, DeviceArray2<i64>)> {
    fit("knn", x, y)?;
    let distances = checked("knn", distances);
    enough(y, k)?;
    let (n, m) = (x.shape()[0], y.shape()[0]);
    let far = T::from_f64(f64::INFINITY);
    if x.device().is_cpu() || k == 1 {
        return at_once(x, y, k, distances);
    }
    let columns = m.min((4 * k).max(KNN_COLUMNS));
    let rows = (BLOCK / columns.max(1)).clamp(1, n.max(1));
    let mut nearest = Array2::from_elem((n, k), far);
    let mut indices = Array2::from_elem((n, k), -1);
    for i in (0..n).step_by(rows) {
        let some = x.slice(s![i..(i + rows).min(n), ..]);
        let mut found = vec![];
        for j in (0..m).step_by(columns.max(1)) {
            let others = y.slice(s![j..(j + columns).min(m), ..]);
            let d = distances(&some, &others)?;
            let (near, at) = d.try_topk(k.min(others.shape()[0]), Axis(1), false)?;
            drop(d);
            crate::eval((&near, &at))?;
            found.push((j as i64, near, at));
        }
        let found: Vec<_> =
            found.iter().map(|(j, near, at)| Ok((j, near.to_ndarray()?, at.to_ndarray()?))).collect::<Result<_>>()?;
        let mut best: Vec<(T, i64)> = vec![];
        for r in 0..some.shape()[0] {
            best.clear();
            for (j, near, at) in &found {
                let all = near.row(r).into_iter().zip(at.row(r));
                best.extend(all.map(|(&d, &at)| (d, *j + at)).filter(|b| b.0 < far));
            }
            if found.len() > 1 {
                // Stable: of equally near rows those of earlier tiles stay before others.
                best.sort_by(|a, b| a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal));
            }
            for (c, &(d, at)) in best.iter().take(k).enumerate() {
                (nearest[[i + r, c]], indices[[i + r, c]]) = (d, at);
            }
        }
    }
    Ok((x.device().array(nearest)?, x.device().array(indices)?))
}

fn enough<T: Float>(y: &DeviceArray2<T>, k: usize) -> Result<()> {
    let m = y.shape()[0];
    if k > m {
        let reason = format!("{k} neighbours of {m} rows");
        return Err(Error::Shape { op: "knn", shape: y.shape().into(), reason });
    }
    Ok(())
}

/// As one expression, whose matrix no device stores where one kernel makes the distances.
fn at_once<T: Float>(
    x: &DeviceArray2<T>,
    y: &DeviceArray2<T>,
    k: usize,
    distances: impl Fn(&DeviceArray2<T>, &DeviceArray2<T>) -> Result<DeviceArray2<T>>,
) -> Result<(DeviceArray2<T>, DeviceArray2<i64>)> {
    enough(y, k)?;
    let (d, far) = (distances(x, y)?, T::from_f64(f64::INFINITY));
    if k == 1 && !x.device().is_cpu() {
        let left = d.equal(&d).where_(&d, far);
        let (low, at) = (left.min_axis(Axis(1)), left.argmin_axis(Axis(1)));
        drop((d, left));
        let at = low.equal(far).where_(-1, at);
        crate::eval((&low, &at))?;
        return Ok((low.insert_axis(Axis(1)), at.insert_axis(Axis(1))));
    }
    let (near, at) = d.try_topk(k, Axis(1), false)?;
    let some = near.less(far);
    Ok((some.where_(near, far), some.where_(at, -1)))
}

/// Distances of a block of rows, which have to have its shape.
fn checked<T: Float>(
    op: &'static str,
    distances: impl Fn(&DeviceArray2<T>, &DeviceArray2<T>) -> Result<DeviceArray2<T>>,
) -> impl Fn(&DeviceArray2<T>, &DeviceArray2<T>) -> Result<DeviceArray2<T>> {
    move |x, y| {
        let d = distances(x, y)?;
        shaped(op, x, &d, &[x.shape()[0], y.shape()[0]]).map(|()| d)
    }
}

/// Elements of the part of the matrix that is made at a time.
const BLOCK: usize = 1 << 20;
/// Rows whose square matrix is one block.
const SQUARE: usize = 1 << 10;
/// Columns of such a part that [`knn`] searches, at least, where there are so many.
const KNN_COLUMNS: usize = 4096;

/// As `cdist`, of parts of the rows: `variance` is that of all of them, where the metric needs it.
#[track_caller]
fn between<T: Float<Sum = T, Mean = T>>(
    x: &DeviceArray2<T>,
    y: &DeviceArray2<T>,
    metric: Metric,
    variance: &Option<DeviceArray1<T>>,
) -> Result<DeviceArray2<T>> {
    match variance {
        Some(v) => try_seuclidean(x, y, v),
        None => try_cdist(x, y, metric),
    }
}

/// The distances of each pair of rows once: those right of the diagonal, row by row; SciPy's `pdist`.
///
/// Of more than 1024 rows the matrix never exists as a whole: blocks of rows are evaluated at once, and put together in host
/// memory.
///
/// # Errors
/// If Minkowski's `p` is not positive, or whatever the device fails with.
///
/// ```
/// use ndcuda::{distance::{Metric, pdist, squareform}, prelude::*};
/// let x = Device::cpu().array(&ndarray::arr2(&[[0.0f32], [1.0], [5.0]]))?;
/// let d = pdist(&x, Metric::CityBlock)?;
/// assert_eq!(d, ndarray::arr1(&[1.0, 5.0, 4.0]));
/// assert_eq!(squareform(&d)?, ndarray::arr2(&[[0.0, 1.0, 5.0], [1.0, 0.0, 4.0], [5.0, 4.0, 0.0]]));
/// # Ok::<(), ndcuda::Error>(())
/// ```
#[track_caller]
pub fn pdist<T: Float<Sum = T, Mean = T>>(x: &DeviceArray2<T>, metric: Metric) -> Result<DeviceArray1<T>> {
    if in_f32::<T>() {
        return Ok(pdist(&x.cast::<f32>(), metric)?.cast());
    }
    // The variance of the rows themselves, of all of them whatever the block.
    let variance = (metric == Metric::SEuclidean).then(|| x.var_axis(Axis(0), 1.0));
    if x.shape()[0] > SQUARE {
        variance.iter().try_for_each(|v| v.eval())?;
    }
    pdist_by(x, |x, y| between(x, y, metric, &variance))
}

/// As [`pdist`], by a distance of one's own, as [`knn_by`] takes it; SciPy's `pdist` of a callable.
///
/// # Errors
/// If the distances of two blocks of rows have another shape, or whatever they or the device fail with.
///
/// ```
/// use ndcuda::{distance::{mahalanobis, pdist_by}, prelude::*};
/// let dev = Device::cpu();
/// let x = dev.array(&ndarray::arr2(&[[0.0f64, 0.0], [2.0, 0.0], [0.0, 1.0]]))?;
/// let vi = dev.array(&ndarray::arr2(&[[1.0, 0.0], [0.0, 4.0]]))?;
/// assert_eq!(pdist_by(&x, |x, y| Ok(mahalanobis(x, y, &vi)))?, ndarray::arr1(&[2.0, 2.0, 8f64.sqrt()]));
/// # Ok::<(), ndcuda::Error>(())
/// ```
#[track_caller]
pub fn pdist_by<T: Float>(
    x: &DeviceArray2<T>,
    distances: impl Fn(&DeviceArray2<T>, &DeviceArray2<T>) -> Result<DeviceArray2<T>>,
) -> Result<DeviceArray1<T>> {
    let distances = checked("pdist", distances);
    let n = x.shape()[0];
    if n <= SQUARE {
        return condensed(&distances(x, x)?);
    }
    // Rows against the rows from theirs on: about half of the arithmetic of all pairs. There is no lazy concatenation: an update
    // of a part copies the rest, so the host puts the blocks together.
    let pairs = n.checked_mul(n - 1).map_or(usize::MAX, |twice| twice / 2);
    let mut out = room(pairs)?;
    let mut i = 0;
    while i + 1 < n {
        let rows = (BLOCK / (n - i)).clamp(1, n - i);
        let block = distances(&x.slice(s![i..i + rows, ..]), &x.slice(s![i.., ..]))?;
        let mut append = |d: ArrayView2<T>| {
            for r in 0..rows {
                let row = d.slice(s![r, r + 1..]);
                match row.to_slice() {
                    Some(run) => out.extend_from_slice(run),
                    None => out.extend(row),
                }
            }
        };
        match block.host_view() {
            Ok(d) => append(d),
            Err(_) => append(block.to_ndarray()?.view()),
        }
        i += rows;
    }
    x.device().array(Array1::from(out))
}

/// What stands right of the diagonal of a square matrix, row by row; SciPy's `squareform` of a matrix.
///
/// # Errors
/// If the matrix is not square, or whatever the device fails with.
#[track_caller]
pub fn condensed<T: Float>(d: &DeviceArray2<T>) -> Result<DeviceArray1<T>> {
    let n = d.shape()[0];
    if d.shape()[1] != n {
        return Err(Error::Shape { op: "condensed", shape: d.shape().into(), reason: "not square".into() });
    }
    // No more than the elements of `d`, so neither product overflows.
    let mut at = room(n * n.saturating_sub(1) / 2)?;
    at.extend((0..n).flat_map(|i| (i + 1..n).map(move |j| (i * n + j) as i64)));
    Ok(d.try_reshape(n * n)?.take(Axis(0), &d.device().array(Array1::from(at))?))
}

/// The symmetric matrix with zeros on its diagonal of a condensed one; SciPy's `squareform` of a vector.
///
/// # Errors
/// If there is no matrix with so many pairs, or whatever the device fails with.
#[track_caller]
pub fn squareform<T: Float>(d: &DeviceArray1<T>) -> Result<DeviceArray2<T>> {
    let len = d.len();
    let n = (1 + 8 * len).isqrt().div_ceil(2);
    if n * (n - 1) / 2 != len {
        return Err(Error::Shape {
            op: "squareform",
            shape: d.shape().into(),
            reason: "not n (n - 1) / 2 pairs".into(),
        });
    }
    let dev = d.device();
    if len == 0 {
        return Ok(dev.zeros((n, n)));
    }
    let place = |i: usize, j: usize| {
        let (i, j) = (i.min(j), i.max(j));
        if i == j { 0 } else { (i * (2 * n - i - 1) / 2 + j - i - 1) as i64 }
    };
    let mut at = room(n * n)?;
    at.extend((0..n * n).map(|p| place(p / n, p % n)));
    let all = d.take(Axis(0), &dev.array(Array1::from(at))?).try_reshape((n, n))?;
    Ok(dev.eye::<bool>(n).where_(T::ZERO, all))
}
