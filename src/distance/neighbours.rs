//! Nearest rows, and the condensed form of a matrix of distances.

use super::{Metric, cdist, seuclidean, try_cdist};
use crate::array::{DeviceArray1, DeviceArray2};
use crate::dtype::Float;
use crate::error::{Error, Result};
use ndarray::{Array1, ArrayView2, Axis, NewAxis, s};

/// The `k` rows of `y` nearest to each row of `x`: distances and indices, `(n, k)`, the nearest first, of equally near ones
/// the first. NaN is far; where fewer than `k` rows have a finite distance, the rest are infinity and -1.
///
/// Each neighbour is a fold over all distances, which are never stored: the time is `k` times that of one.
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
    let (n, m) = (x.shape()[0], y.shape()[0]);
    if k > m {
        let reason = format!("{k} neighbours of {m} rows");
        return Err(Error::Shape { op: "knn", shape: y.shape().into(), reason });
    }
    let dev = x.device();
    let far = T::from_f64(f64::INFINITY);
    let (mut distances, mut indices) = (dev.zeros::<T, _>((n, k)), dev.zeros::<i64, _>((n, k)));
    let j = dev.arange(0, m as i64, 1);
    let mut last: Option<(DeviceArray1<T>, DeviceArray1<i64>)> = None;
    for r in 0..k {
        let d = try_cdist(x, y, metric)?;
        let open = match &last {
            None => d.equal(&d),
            Some((low, at)) => {
                let (low, at) = (low.insert_axis(Axis(1)), at.insert_axis(Axis(1)));
                // Beyond the last one: farther, or as far and later.
                d.greater(&low) | (d.equal(&low) & j.slice(s![NewAxis, ..]).greater(&at))
            }
        };
        let left = open.where_(&d, far);
        let (low, at) = (left.min_axis(Axis(1)), left.argmin_axis(Axis(1)));
        drop((d, left));
        let at = low.equal(far).where_(-1, at);
        crate::eval((&low, &at))?;
        distances.slice_assign(s![.., r], &low);
        indices.slice_assign(s![.., r], &at);
        last = Some((low, at));
    }
    Ok((distances, indices))
}

/// The elements of a block of the matrix that [`pdist`] makes at a time.
const PDIST_BLOCK: usize = 1 << 20;

/// The distances of each pair of rows once: those right of the diagonal, row by row; SciPy's `pdist`.
///
/// Of more than 1024 rows the matrix never exists as a whole: blocks of rows are evaluated at once, and put together in host
/// memory.
///
/// # Errors
/// Whatever the device fails with.
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
    let n = x.shape()[0];
    // The variance of the rows themselves, of all of them whatever the block.
    let variance = (metric == Metric::SEuclidean).then(|| x.var_axis(Axis(0), 1.0));
    let between = |a: &DeviceArray2<T>, b: &DeviceArray2<T>| match &variance {
        Some(v) => seuclidean(a, b, v),
        None => cdist(a, b, metric),
    };
    if n.saturating_mul(n) <= PDIST_BLOCK {
        return condensed(&between(x, x));
    }
    if let Some(v) = &variance {
        v.eval()?;
    }
    // Rows against the rows from theirs on: about half of the arithmetic of all pairs. There is no lazy concatenation: an update
    // of a part copies the rest, so the host puts the blocks together.
    let mut out = Vec::with_capacity(n * (n - 1) / 2);
    let mut i = 0;
    while i + 1 < n {
        let rows = (PDIST_BLOCK / (n - i)).clamp(1, n - i);
        let block = between(&x.slice(s![i..i + rows, ..]), &x.slice(s![i.., ..]));
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
    let at: Array1<i64> = (0..n).flat_map(|i| (i + 1..n).map(move |j| (i * n + j) as i64)).collect();
    Ok(d.try_reshape(n * n)?.take(Axis(0), &d.device().array(at)?))
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
    let at: Array1<i64> = (0..n * n).map(|p| place(p / n, p % n)).collect();
    let all = d.take(Axis(0), &dev.array(at)?).try_reshape((n, n))?;
    Ok(dev.eye::<bool>(n).where_(T::ZERO, all))
}
