//! Distances between the rows of two matrices: `(n, d)` and `(m, d)` to `(n, m)`. Public methods alone, composed as one
//! writes them in NumPy; none makes the `(n, m, d)` temporary.
//!
//! Rows that differ in length and arrays on two devices are an error of the functions that return a `Result`; the others panic,
//! and each of them has a `try_` twin.

mod compose;
mod mahalanobis;
mod metric;
mod neighbours;

pub use mahalanobis::{mahalanobis, try_mahalanobis};
pub use metric::Metric;
pub use neighbours::{condensed, knn, knn_by, pdist, pdist_by, squareform};

use crate::array::{DeviceArray, DeviceArray1, DeviceArray2, expect};
use crate::dtype::Float;
use crate::error::{Error, Result};
use compose::in_f32;
use ndarray::{Axis, Dimension, Ix3, NewAxis, s};

/// Rows of one length, on one device.
fn fit<T: Float>(op: &'static str, x: &DeviceArray2<T>, y: &DeviceArray2<T>) -> Result<()> {
    if x.shape()[1] != y.shape()[1] {
        let reason = format!("rows of {} and of {} elements", x.shape()[1], y.shape()[1]);
        return Err(Error::Mismatch { op, lhs: x.shape().into(), rhs: y.shape().into(), reason });
    }
    if x.device() != y.device() {
        return Err(x.device().is_not(op, y.device()));
    }
    Ok(())
}

/// What goes with the rows `x` has this shape, and is where they are.
fn shaped<T: Float, D: Dimension>(
    op: &'static str,
    x: &DeviceArray2<T>,
    with: &DeviceArray<T, D>,
    wanted: &[usize],
) -> Result<()> {
    if with.shape() != wanted {
        return Err(Error::Shape { op, shape: with.shape().into(), reason: format!("{wanted:?} is needed") });
    }
    if x.device() != with.device() {
        return Err(x.device().is_not(op, with.device()));
    }
    Ok(())
}

/// `x[:, None, :]` and `y[None, :, :]`.
#[track_caller]
fn rows<T: Float>(x: &DeviceArray2<T>, y: &DeviceArray2<T>) -> (DeviceArray<T, Ix3>, DeviceArray<T, Ix3>) {
    (x.slice(s![.., NewAxis, ..]), y.slice(s![NewAxis, .., ..]))
}

/// Implementation #1: `diff = x[:, None, :] - y[None, :, :]; (diff * diff).sum(axis=2)`. Equal rows give exactly 0.
///
/// # Panics
/// If the rows differ in length or the arrays are on two devices (so do all functions here but the `try_` ones).
///
/// ```
/// use ndcuda::{distance, prelude::*};
/// let x = Device::cpu().array(&ndarray::arr2(&[[0.0f32, 0.0], [3.0, 4.0]]))?;
/// assert_eq!(distance::sqeuclidean_broadcast(&x, &x), ndarray::arr2(&[[0.0, 25.0], [25.0, 0.0]]));
/// # Ok::<(), ndcuda::Error>(())
/// ```
#[track_caller]
pub fn sqeuclidean_broadcast<T: Float>(x: &DeviceArray2<T>, y: &DeviceArray2<T>) -> DeviceArray2<T::Sum> {
    expect(try_sqeuclidean_broadcast(x, y))
}

/// As [`sqeuclidean_broadcast`].
///
/// # Errors
/// If the rows differ in length or the arrays are on two devices.
#[track_caller]
pub fn try_sqeuclidean_broadcast<T: Float>(x: &DeviceArray2<T>, y: &DeviceArray2<T>) -> Result<DeviceArray2<T::Sum>> {
    fit("sqeuclidean_broadcast", x, y)?;
    let (x, y) = rows(x, y);
    let diff = x - y;
    Ok((&diff * &diff).sum_axis(Axis(2)))
}

/// Implementation #2: `abs((x*x).sum(axis=1)[:, None] + (y*y).sum(axis=1)[None, :] - 2 * (x @ y.T))`. Fewer operations
/// than #1 for long rows, fewer correct digits for rows that are close.
///
/// ```
/// use ndcuda::{distance, prelude::*};
/// let x = Device::cpu().array(&ndarray::arr2(&[[0.0f32, 0.0], [3.0, 4.0]]))?;
/// assert_eq!(distance::sqeuclidean_expanded(&x, &x), ndarray::arr2(&[[0.0, 25.0], [25.0, 0.0]]));
/// # Ok::<(), ndcuda::Error>(())
/// ```
#[track_caller]
pub fn sqeuclidean_expanded<T: Float<Sum = T>>(x: &DeviceArray2<T>, y: &DeviceArray2<T>) -> DeviceArray2<T> {
    expect(try_sqeuclidean_expanded(x, y))
}

/// As [`sqeuclidean_expanded`].
///
/// # Errors
/// If the rows differ in length or the arrays are on two devices.
#[track_caller]
pub fn try_sqeuclidean_expanded<T: Float<Sum = T>>(
    x: &DeviceArray2<T>,
    y: &DeviceArray2<T>,
) -> Result<DeviceArray2<T>> {
    fit("sqeuclidean_expanded", x, y)?;
    let x2 = (x * x).sum_axis(Axis(1)).insert_axis(Axis(1));
    let y2 = (y * y).sum_axis(Axis(1)).insert_axis(Axis(0));
    let two = T::from_f64(2.0);
    Ok((x2 + y2 - x.dot(&y.t()) * two).abs())
}

/// `abs(x[:, None, :] - y[None, :, :]).sum(axis=2)`.
#[track_caller]
pub fn cityblock<T: Float>(x: &DeviceArray2<T>, y: &DeviceArray2<T>) -> DeviceArray2<T::Sum> {
    expect(try_cityblock(x, y))
}

/// As [`cityblock`].
///
/// # Errors
/// If the rows differ in length or the arrays are on two devices.
#[track_caller]
pub fn try_cityblock<T: Float>(x: &DeviceArray2<T>, y: &DeviceArray2<T>) -> Result<DeviceArray2<T::Sum>> {
    fit("cityblock", x, y)?;
    let (x, y) = rows(x, y);
    Ok((x - y).abs().sum_axis(Axis(2)))
}

/// The root of [`sqeuclidean_broadcast`].
#[track_caller]
pub fn euclidean<T: Float<Sum = T>>(x: &DeviceArray2<T>, y: &DeviceArray2<T>) -> DeviceArray2<T> {
    expect(try_euclidean(x, y))
}

/// As [`euclidean`].
///
/// # Errors
/// If the rows differ in length or the arrays are on two devices.
#[track_caller]
pub fn try_euclidean<T: Float<Sum = T>>(x: &DeviceArray2<T>, y: &DeviceArray2<T>) -> Result<DeviceArray2<T>> {
    fit("euclidean", x, y)?;
    Ok(sqeuclidean_broadcast(x, y).sqrt())
}

/// Implementation #0, the slides' double loop over rows: one small expression for each pair. For comparison.
///
/// # Errors
/// If the rows differ in length, the arrays are on two devices, or whatever the device fails with.
#[track_caller]
pub fn sqeuclidean_loop<T: Float<Sum = T>>(x: &DeviceArray2<T>, y: &DeviceArray2<T>) -> Result<DeviceArray2<T>> {
    fit("sqeuclidean_loop", x, y)?;
    let mut out = ndarray::Array2::from_elem((x.shape()[0], y.shape()[0]), T::ZERO);
    for i in 0..x.shape()[0] {
        let xi: DeviceArray1<T> = x.index_axis(Axis(0), i);
        for j in 0..y.shape()[0] {
            let diff = &xi - y.index_axis(Axis(0), j);
            out[[i, j]] = (&diff * &diff).sum().item()?;
        }
    }
    x.device().array(out)
}

/// The distances of all pairs of rows, by metric; what SciPy's `cdist` gives, in `T`. Rows of f16 and bf16 are computed with in f32, and
/// each distance rounded once. A chain over `d` coordinates has an error of up to `d / 256 + 256` roundings.
///
/// ```
/// use ndcuda::{distance::{Metric, cdist}, prelude::*};
/// let x = Device::cpu().array(&ndarray::arr2(&[[0.0f64, 0.0], [3.0, 4.0]]))?;
/// assert_eq!(cdist(&x, &x, Metric::Chebyshev), ndarray::arr2(&[[0.0, 4.0], [4.0, 0.0]]));
/// # Ok::<(), ndcuda::Error>(())
/// ```
#[track_caller]
pub fn cdist<T: Float<Sum = T, Mean = T>>(x: &DeviceArray2<T>, y: &DeviceArray2<T>, metric: Metric) -> DeviceArray2<T> {
    expect(try_cdist(x, y, metric))
}

/// As [`cdist`].
///
/// # Errors
/// If the rows differ in length, the arrays are on two devices, or Minkowski's `p` is not positive.
#[track_caller]
pub fn try_cdist<T: Float<Sum = T, Mean = T>>(
    x: &DeviceArray2<T>,
    y: &DeviceArray2<T>,
    metric: Metric,
) -> Result<DeviceArray2<T>> {
    fit("cdist", x, y)?;
    compose::metric(x, y, metric, None)
}

/// As [`cdist`], with a weight for each coordinate: what SciPy's `cdist(x, y, metric, w=w)` gives. Weights are not
/// negative; that is not looked at, since values may not be there yet (SciPy refuses them).
///
/// ```
/// use ndcuda::{distance::{Metric, cdist_weighted}, prelude::*};
/// let dev = Device::cpu();
/// let x = dev.array(&ndarray::arr2(&[[0.0f64, 0.0], [3.0, 4.0]]))?;
/// let w = dev.array(&ndarray::arr1(&[2.0, 1.0]))?;
/// assert_eq!(cdist_weighted(&x, &x, Metric::CityBlock, &w), ndarray::arr2(&[[0.0, 10.0], [10.0, 0.0]]));
/// # Ok::<(), ndcuda::Error>(())
/// ```
#[track_caller]
pub fn cdist_weighted<T: Float<Sum = T, Mean = T>>(
    x: &DeviceArray2<T>,
    y: &DeviceArray2<T>,
    metric: Metric,
    w: &DeviceArray1<T>,
) -> DeviceArray2<T> {
    expect(try_cdist_weighted(x, y, metric, w))
}

/// As [`cdist_weighted`].
///
/// # Errors
/// If the rows and the weights differ in length, the arrays are on two devices, Minkowski's `p` is not positive, or the metric takes no
/// weights, as in SciPy: `seuclidean`, `jensenshannon`.
#[track_caller]
pub fn try_cdist_weighted<T: Float<Sum = T, Mean = T>>(
    x: &DeviceArray2<T>,
    y: &DeviceArray2<T>,
    metric: Metric,
    w: &DeviceArray1<T>,
) -> Result<DeviceArray2<T>> {
    fit("cdist_weighted", x, y)?;
    shaped("cdist_weighted", x, w, &x.shape()[1..])?;
    compose::metric(x, y, metric, Some(w))
}

/// `sqrt(sum((x - y)^2 / v))`: each coordinate over a variance of its own.
#[track_caller]
pub fn seuclidean<T: Float<Sum = T>>(x: &DeviceArray2<T>, y: &DeviceArray2<T>, v: &DeviceArray1<T>) -> DeviceArray2<T> {
    expect(try_seuclidean(x, y, v))
}

/// As [`seuclidean`].
///
/// # Errors
/// If the rows and the variances differ in length or the arrays are on two devices.
#[track_caller]
pub fn try_seuclidean<T: Float<Sum = T>>(
    x: &DeviceArray2<T>,
    y: &DeviceArray2<T>,
    v: &DeviceArray1<T>,
) -> Result<DeviceArray2<T>> {
    fit("seuclidean", x, y)?;
    shaped("seuclidean", x, v, &x.shape()[1..])?;
    if in_f32::<T>() {
        return Ok(try_seuclidean(&x.cast::<f32>(), &y.cast(), &v.cast())?.cast());
    }
    let (x, y) = rows(x, y);
    let diff = x - y;
    Ok((&diff * &diff / v).sum_axis(Axis(2)).sqrt())
}
