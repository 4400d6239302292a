//! Distances between the rows of two matrices: `(n, d)` and `(m, d)` to `(n, m)`. Public methods alone, composed as one
//! writes them in NumPy; none makes the `(n, m, d)` temporary.

use crate::array::{DeviceArray, DeviceArray1, DeviceArray2};
use crate::dtype::Float;
use crate::error::{Error, Result};
use ndarray::{Axis, Ix3, NewAxis, s};
use std::fmt;
use std::str::FromStr;

/// A distance, by SciPy's name.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Metric {
    /// `sum((x - y)^2)`, computed directly.
    SqEuclidean,
    /// The root of `SqEuclidean`.
    Euclidean,
    /// `sum(|x - y|)`.
    CityBlock,
    /// `max(|x - y|)`.
    Chebyshev,
    /// `sum(|x - y|^p)^(1/p)`.
    Minkowski(f64),
    /// `1 - x.y / (|x| |y|)`.
    Cosine,
    /// `Cosine` of rows less their means.
    Correlation,
    /// `sum(|x - y| / (|x| + |y|))`, where 0/0 counts 0.
    Canberra,
    /// `sum(|x - y|) / sum(|x + y|)`.
    BrayCurtis,
    /// The share of coordinates that differ.
    Hamming,
}

impl Metric {
    /// The metrics without a parameter, and Minkowski with p = 3.
    pub const ALL: [Metric; 10] = [
        Metric::SqEuclidean,
        Metric::Euclidean,
        Metric::CityBlock,
        Metric::Chebyshev,
        Metric::Minkowski(3.0),
        Metric::Cosine,
        Metric::Correlation,
        Metric::Canberra,
        Metric::BrayCurtis,
        Metric::Hamming,
    ];
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Metric::SqEuclidean => f.write_str("sqeuclidean"),
            Metric::Euclidean => f.write_str("euclidean"),
            Metric::CityBlock => f.write_str("cityblock"),
            Metric::Chebyshev => f.write_str("chebyshev"),
            Metric::Minkowski(p) => write!(f, "minkowski:{p}"),
            Metric::Cosine => f.write_str("cosine"),
            Metric::Correlation => f.write_str("correlation"),
            Metric::Canberra => f.write_str("canberra"),
            Metric::BrayCurtis => f.write_str("braycurtis"),
            Metric::Hamming => f.write_str("hamming"),
        }
    }
}

/// From SciPy's name; `minkowski:P` takes its `p` (2 where it is left out).
impl FromStr for Metric {
    type Err = Error;
    fn from_str(s: &str) -> Result<Metric> {
        let fail = |reason: &str| Error::Config { name: "metric", value: s.into(), reason: reason.into() };
        if let Some(p) = s.strip_prefix("minkowski") {
            let p = match p.strip_prefix(':') {
                Some(p) => p.parse().map_err(|_| fail("p is a number"))?,
                None if p.is_empty() => 2.0,
                None => return Err(fail("minkowski:P")),
            };
            if p > 0.0 {
                return Ok(Metric::Minkowski(p));
            }
            return Err(fail("p must be positive"));
        }
        let found = Metric::ALL.iter().find(|m| m.to_string() == s);
        found.copied().ok_or_else(|| {
            let names: Vec<String> = Metric::ALL.iter().map(Metric::to_string).collect();
            fail(&format!("one of {}", names.join(", ")))
        })
    }
}

/// `x[:, None, :]` and `y[None, :, :]`.
#[track_caller]
fn rows<T: Float>(x: &DeviceArray2<T>, y: &DeviceArray2<T>) -> (DeviceArray<T, Ix3>, DeviceArray<T, Ix3>) {
    (x.slice(s![.., NewAxis, ..]), y.slice(s![NewAxis, .., ..]))
}

/// Implementation #1: `diff = x[:, None, :] - y[None, :, :]; (diff * diff).sum(axis=2)`. Equal rows give exactly 0.
///
/// # Panics
/// If the rows differ in length or the arrays are on two devices (so do all functions here).
///
/// ```
/// use ndcuda::{distance, prelude::*};
/// let x = Device::cpu().array(&ndarray::arr2(&[[0.0f32, 0.0], [3.0, 4.0]]))?;
/// assert_eq!(distance::sqeuclidean_broadcast(&x, &x), ndarray::arr2(&[[0.0, 25.0], [25.0, 0.0]]));
/// # Ok::<(), ndcuda::Error>(())
/// ```
#[track_caller]
pub fn sqeuclidean_broadcast<T: Float>(x: &DeviceArray2<T>, y: &DeviceArray2<T>) -> DeviceArray2<T::Sum> {
    let (x, y) = rows(x, y);
    let diff = x - y;
    (&diff * &diff).sum_axis(Axis(2))
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
    let x2 = (x * x).sum_axis(Axis(1)).insert_axis(Axis(1));
    let y2 = (y * y).sum_axis(Axis(1)).insert_axis(Axis(0));
    let two = T::from_f64(2.0);
    (x2 + y2 - x.dot(&y.t()) * two).abs()
}

/// `abs(x[:, None, :] - y[None, :, :]).sum(axis=2)`.
#[track_caller]
pub fn cityblock<T: Float>(x: &DeviceArray2<T>, y: &DeviceArray2<T>) -> DeviceArray2<T::Sum> {
    let (x, y) = rows(x, y);
    (x - y).abs().sum_axis(Axis(2))
}

/// The root of [`sqeuclidean_broadcast`].
#[track_caller]
pub fn euclidean<T: Float<Sum = T>>(x: &DeviceArray2<T>, y: &DeviceArray2<T>) -> DeviceArray2<T> {
    sqeuclidean_broadcast(x, y).sqrt()
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
    let one = T::ONE;
    let k = Axis(2);
    match metric {
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
            let zero = bottom.equal(T::ZERO);
            zero.where_(T::ZERO, top / bottom).sum_axis(k)
        }
        Metric::BrayCurtis => {
            let (x, y) = rows(x, y);
            (&x - &y).abs().sum_axis(k) / (x + y).abs().sum_axis(k)
        }
        Metric::Hamming => {
            let (x, y) = rows(x, y);
            x.not_equal(y).cast::<T>().mean_axis(k)
        }
    }
}
