//! Distances between the rows of two matrices: `(n, d)` and `(m, d)` to `(n, m)`. Public methods alone, composed as one
//! writes them in NumPy; none makes the `(n, m, d)` temporary.
//!
//! Functions panic where the rows differ in length or the arrays are on two devices; each has a `try_` twin that returns that
//! as an error.

mod metric;
mod neighbours;

pub use metric::Metric;
pub use neighbours::{condensed, knn, pdist, squareform};

use crate::array::{DeviceArray, DeviceArray1, DeviceArray2, expect};
use crate::dtype::{DType, Float};
use crate::error::{Error, Result};
use ndarray::{Axis, Ix2, Ix3, NewAxis, s};

/// Rows of one length, on one device.
fn fit<T: Float>(op: &'static str, x: &DeviceArray2<T>, y: &DeviceArray2<T>) -> Result<()> {
    if x.shape()[1] != y.shape()[1] {
        return Err(Error::Broadcast { op, lhs: x.shape().into(), rhs: y.shape().into() });
    }
    if x.device() != y.device() {
        return Err(Error::Devices { op, lhs: x.device().to_string(), rhs: y.device().to_string() });
    }
    Ok(())
}

/// A parameter of this shape.
fn shaped(op: &'static str, shape: &[usize], wanted: &[usize]) -> Result<()> {
    if shape == wanted {
        return Ok(());
    }
    Err(Error::Shape { op, shape: shape.into(), reason: format!("{wanted:?} is needed") })
}

/// `x[:, None, :]` and `y[None, :, :]`.
#[track_caller]
fn rows<T: Float>(x: &DeviceArray2<T>, y: &DeviceArray2<T>) -> (DeviceArray<T, Ix3>, DeviceArray<T, Ix3>) {
    (x.slice(s![.., NewAxis, ..]), y.slice(s![NewAxis, .., ..]))
}

/// The variance of each coordinate over all rows of both.
#[track_caller]
fn variance_of_both<T: Float<Sum = T, Mean = T>>(x: &DeviceArray2<T>, y: &DeviceArray2<T>) -> DeviceArray1<T> {
    let (n, m) = (x.shape()[0], y.shape()[0]);
    let mut all = x.device().zeros::<T, _>((n + m, x.shape()[1]));
    all.slice_assign(s![..n, ..], x);
    all.slice_assign(s![n.., ..], y);
    all.var_axis(Axis(0), 1.0)
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
/// Whatever the device fails with.
#[track_caller]
pub fn sqeuclidean_loop<T: Float<Sum = T>>(x: &DeviceArray2<T>, y: &DeviceArray2<T>) -> Result<DeviceArray2<T>> {
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

/// The distances of all pairs of rows, by metric; what SciPy's `cdist` gives, in `T`.
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
/// If the rows differ in length or the arrays are on two devices.
#[track_caller]
pub fn try_cdist<T: Float<Sum = T, Mean = T>>(
    x: &DeviceArray2<T>,
    y: &DeviceArray2<T>,
    metric: Metric,
) -> Result<DeviceArray2<T>> {
    fit("cdist", x, y)?;
    let one = T::ONE;
    let k = Axis(2);
    Ok(match metric {
        Metric::SqEuclidean => sqeuclidean_broadcast(x, y),
        Metric::Euclidean => euclidean(x, y),
        Metric::CityBlock => cityblock(x, y),
        Metric::Chebyshev => {
            let (x, y) = rows(x, y);
            (x - y).abs().max_axis(k)
        }
        Metric::Minkowski(p) => {
            let (x, y) = rows(x, y);
            (x - y).abs().powf(T::from_f64(p)).sum_axis(k).powf(T::from_f64(1.0 / p))
        }
        Metric::Cosine => {
            let norm = |x: &DeviceArray2<T>| (x * x).sum_axis(Axis(1)).sqrt();
            let (nx, ny) = (norm(x).insert_axis(Axis(1)), norm(y).insert_axis(Axis(0)));
            (x.dot(&y.t()) / (nx * ny) * T::from_f64(-1.0) + one).clamp(T::ZERO, T::from_f64(2.0))
        }
        Metric::Correlation => {
            let centred = |x: &DeviceArray2<T>| x - x.mean_keep(Axis(1));
            cdist(&centred(x), &centred(y), Metric::Cosine)
        }
        Metric::Canberra => {
            let (x, y) = rows(x, y);
            let (top, bottom) = ((&x - &y).abs(), x.abs() + y.abs());
            // Of two zeros 0: over the least value above 0, which is below none of the others.
            let least = match T::DTYPE {
                DType::F16 => 2f64.powi(-24),
                DType::BF16 => 2f64.powi(-133),
                DType::F32 => 2f64.powi(-149),
                _ => f64::from_bits(1),
            };
            (top / bottom.maximum(T::from_f64(least))).sum_axis(k)
        }
        Metric::BrayCurtis => {
            let (x, y) = rows(x, y);
            (&x - &y).abs().sum_axis(k) / (x + y).abs().sum_axis(k)
        }
        Metric::Hamming => {
            let (x, y) = rows(x, y);
            x.not_equal(y).cast::<T>().mean_axis(k)
        }
        Metric::SEuclidean => seuclidean(x, y, &variance_of_both(x, y)),
        Metric::JensenShannon => {
            let (sx, sy) = (x.sum_keep(Axis(1)), y.sum_keep(Axis(1)));
            let (p, q) = (x / &sx, y / &sy);
            let (p, q) = rows(&p, &q);
            let middle = (&p + &q) * T::from_f64(0.5);
            let part = |p: &DeviceArray<T, Ix3>| p.greater(T::ZERO).where_(p * (p / &middle).ln(), T::ZERO);
            let d = ((part(&p) + part(&q)).sum_axis(k) * T::from_f64(0.5)).maximum(T::ZERO).sqrt();
            // A row of zeros is no distribution.
            let far = T::from_f64(f64::INFINITY);
            sx.equal(T::ZERO).where_(far, sy.t().equal(T::ZERO).where_(far, d))
        }
        Metric::Jaccard
        | Metric::Dice
        | Metric::RogersTanimoto
        | Metric::RussellRao
        | Metric::SokalSneath
        | Metric::Yule => boolean(x, y, metric),
    })
}

/// The metrics of rows whose coordinates are set or 0, all from how many are set in both and in each.
fn boolean<T: Float<Sum = T, Mean = T>>(x: &DeviceArray2<T>, y: &DeviceArray2<T>, metric: Metric) -> DeviceArray2<T> {
    let two = T::from_f64(2.0);
    let d = T::from_f64(x.shape()[1] as f64);
    let set = |x: &DeviceArray2<T>| x.not_equal(T::ZERO).cast::<T>();
    let (x, y) = (set(x), set(y));
    let both = x.dot(&y.t());
    let (nx, ny) = (x.sum_keep(Axis(1)), y.sum_keep(Axis(1)).t());
    let differ = &nx + &ny - &both * two;
    match metric {
        Metric::Jaccard => {
            let either = both + &differ;
            either.equal(T::ZERO).where_(T::ZERO, differ / &either)
        }
        Metric::Dice => &differ / (both * two + &differ),
        Metric::RogersTanimoto => &differ * two / (&differ + d),
        Metric::RussellRao => (both * T::from_f64(-1.0) + d) / d,
        Metric::SokalSneath => &differ * two / (both + &differ * two),
        _ => {
            let odd = (&nx - &both) * (&ny - &both);
            let none = &both - &nx - &ny + d;
            odd.equal(T::ZERO).where_(T::ZERO, &odd * two / (both * none + &odd))
        }
    }
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
    shaped("seuclidean", v.shape(), &x.shape()[1..])?;
    let (x, y) = rows(x, y);
    let diff = x - y;
    Ok((&diff * &diff / v).sum_axis(Axis(2)).sqrt())
}

/// `sum(w |x - y|^p)^(1/p)`: Minkowski's distance with a weight for each coordinate.
#[track_caller]
pub fn minkowski<T: Float<Sum = T>>(
    x: &DeviceArray2<T>,
    y: &DeviceArray2<T>,
    p: f64,
    w: &DeviceArray1<T>,
) -> DeviceArray2<T> {
    expect(try_minkowski(x, y, p, w))
}

/// As [`minkowski`].
///
/// # Errors
/// If the rows and the weights differ in length or the arrays are on two devices.
#[track_caller]
pub fn try_minkowski<T: Float<Sum = T>>(
    x: &DeviceArray2<T>,
    y: &DeviceArray2<T>,
    p: f64,
    w: &DeviceArray1<T>,
) -> Result<DeviceArray2<T>> {
    fit("minkowski", x, y)?;
    shaped("minkowski", w.shape(), &x.shape()[1..])?;
    let (x, y) = rows(x, y);
    Ok(((x - y).abs().powf(T::from_f64(p)) * w).sum_axis(Axis(2)).powf(T::from_f64(1.0 / p)))
}

/// `sqrt((x - y) vi (x - y))`, where `vi` is the inverse of a covariance matrix.
#[track_caller]
pub fn mahalanobis<T: Float<Sum = T>>(
    x: &DeviceArray2<T>,
    y: &DeviceArray2<T>,
    vi: &DeviceArray2<T>,
) -> DeviceArray2<T> {
    expect(try_mahalanobis(x, y, vi))
}

/// As [`mahalanobis`].
///
/// # Errors
/// If the rows and the matrix differ in length or the arrays are on two devices.
#[track_caller]
pub fn try_mahalanobis<T: Float<Sum = T>>(
    x: &DeviceArray2<T>,
    y: &DeviceArray2<T>,
    vi: &DeviceArray2<T>,
) -> Result<DeviceArray2<T>> {
    fit("mahalanobis", x, y)?;
    let d = x.shape()[1];
    shaped("mahalanobis", vi.shape(), &[d, d])?;
    // One fold over (k, l): no (n, m, d) product of the differences with the matrix.
    let down = x.slice(s![.., NewAxis, .., NewAxis]) - y.slice(s![NewAxis, .., .., NewAxis]);
    let across = x.slice(s![.., NewAxis, NewAxis, ..]) - y.slice(s![NewAxis, .., NewAxis, ..]);
    (down * vi * across).sum_axes(&[Axis(2), Axis(3)]).sqrt().into_dimensionality::<Ix2>()
}
