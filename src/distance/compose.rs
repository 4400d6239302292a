//! Each metric as a composition of array methods, with weights for the coordinates where there are any.

use super::{Metric, rows, seuclidean};
use crate::array::{DeviceArray, DeviceArray1, DeviceArray2};
use crate::dtype::{DType, Float};
use crate::error::{Error, Result};
use ndarray::{Axis, Dimension, Ix3, s};

/// Whether distances are computed in f32 instead: elements of 16 bits.
pub(super) fn in_f32<T: Float>() -> bool {
    matches!(T::DTYPE, DType::F16 | DType::BF16)
}

/// The variance of each coordinate over all rows of both.
#[track_caller]
pub(super) fn variance_of_both<T: Float<Sum = T, Mean = T>>(
    x: &DeviceArray2<T>,
    y: &DeviceArray2<T>,
) -> DeviceArray1<T> {
    let (n, m) = (x.shape()[0], y.shape()[0]);
    let mut all = x.device().zeros::<T, _>((n + m, x.shape()[1]));
    all.slice_assign(s![..n, ..], x);
    all.slice_assign(s![n.., ..], y);
    all.var_axis(Axis(0), 1.0)
}

/// The weights of the coordinates, the last axis of what is weighed; 1 where there are none.
#[derive(Clone, Copy)]
struct Weights<'a, T: Float>(Option<&'a DeviceArray1<T>>);

impl<T: Float<Sum = T, Mean = T>> Weights<'_, T> {
    fn of<D: Dimension>(self, v: DeviceArray<T, D>) -> DeviceArray<T, D>
    where
        DeviceArray<T, D>: for<'w> std::ops::Mul<&'w DeviceArray1<T>, Output = DeviceArray<T, D>>,
    {
        match self.0 {
            Some(w) => v * w,
            None => v,
        }
    }

    /// The sum over the coordinates of pairs.
    fn sum(self, v: DeviceArray<T, Ix3>) -> DeviceArray2<T> {
        self.of(v).sum_axis(Axis(2))
    }

    /// The sum over the coordinates of rows, as a column.
    fn sum_rows(self, v: DeviceArray2<T>) -> DeviceArray2<T> {
        self.of(v).sum_keep(Axis(1))
    }

    /// The sum of the weights themselves.
    fn total(self, x: &DeviceArray2<T>) -> DeviceArray<T, ndarray::Ix0> {
        match self.0 {
            Some(w) => w.sum(),
            None => x.device().scalar(T::from_f64(x.shape()[1] as f64)),
        }
    }
}

/// The distances of rows that fit each other.
///
/// # Errors
/// If the metric has no weights but some are given, or its parameter is out of range.
#[track_caller]
pub(super) fn metric<T: Float<Sum = T, Mean = T>>(
    x: &DeviceArray2<T>,
    y: &DeviceArray2<T>,
    metric: Metric,
    weights: Option<&DeviceArray1<T>>,
) -> Result<DeviceArray2<T>> {
    let refused =
        |reason: &str| Err(Error::Config { name: "metric", value: metric.to_string(), reason: reason.into() });
    match metric {
        Metric::Minkowski(p) if p.is_nan() || p <= 0.0 => return refused("p must be positive"),
        Metric::SEuclidean | Metric::JensenShannon if weights.is_some() => return refused("it takes no weights"),
        _ => {}
    }
    if in_f32::<T>() {
        // A square, a count or a power leaves the range of f16 long before the distance does.
        let weights = weights.map(|w| w.cast::<f32>());
        return Ok(of(&x.cast::<f32>(), &y.cast::<f32>(), metric, Weights(weights.as_ref())).cast());
    }
    Ok(of(x, y, metric, Weights(weights)))
}

#[track_caller]
fn of<T: Float<Sum = T, Mean = T>>(
    x: &DeviceArray2<T>,
    y: &DeviceArray2<T>,
    metric: Metric,
    w: Weights<'_, T>,
) -> DeviceArray2<T> {
    match metric {
        Metric::SqEuclidean => {
            let (x, y) = rows(x, y);
            let diff = x - y;
            w.sum(&diff * &diff)
        }
        Metric::Euclidean => of(x, y, Metric::SqEuclidean, w).sqrt(),
        Metric::CityBlock => {
            let (x, y) = rows(x, y);
            w.sum((x - y).abs())
        }
        Metric::Minkowski(p) if p.is_finite() => {
            let (x, y) = rows(x, y);
            w.sum((x - y).abs().powf(T::from_f64(p))).powf(T::from_f64(1.0 / p))
        }
        Metric::Chebyshev | Metric::Minkowski(_) => {
            if x.shape()[1] == 0 {
                return x.device().zeros((x.shape()[0], y.shape()[0]));
            }
            let (x, y) = rows(x, y);
            let d = (x - y).abs();
            match w.0 {
                // A coordinate counts or not.
                Some(w) => w.greater(T::ZERO).where_(d, T::ZERO).max_axis(Axis(2)),
                None => d.max_axis(Axis(2)),
            }
        }
        Metric::Cosine => {
            let norm = |x: &DeviceArray2<T>| w.sum_rows(x * x).sqrt();
            let cosine = w.of(x.clone()).dot(&y.t()) / (norm(x) * norm(y).t());
            (cosine * T::from_f64(-1.0) + T::ONE).clamp(T::ZERO, T::from_f64(2.0))
        }
        Metric::Correlation => {
            let centred = |x: &DeviceArray2<T>| x - w.sum_rows(x.clone()) / w.total(x);
            of(&centred(x), &centred(y), Metric::Cosine, w)
        }
        Metric::Canberra => {
            let (x, y) = rows(x, y);
            let (top, bottom) = ((&x - &y).abs(), x.abs() + y.abs());
            // Of two zeros 0: over the least value above 0, which is below none of the others.
            let least = if T::DTYPE == DType::F32 { 2f64.powi(-149) } else { f64::from_bits(1) };
            w.sum(top / bottom.maximum(T::from_f64(least)))
        }
        Metric::BrayCurtis => {
            let (x, y) = rows(x, y);
            w.sum((&x - &y).abs()) / w.sum((x + y).abs())
        }
        Metric::Hamming => {
            let total = w.total(x);
            let (x, y) = rows(x, y);
            w.sum(x.not_equal(y).cast::<T>()) / total
        }
        Metric::SEuclidean => seuclidean(x, y, &variance_of_both(x, y)),
        Metric::JensenShannon => {
            let (sx, sy) = (x.sum_keep(Axis(1)), y.sum_keep(Axis(1)));
            let (p, q) = (x / &sx, y / &sy);
            let (p, q) = rows(&p, &q);
            let middle = (&p + &q) * T::from_f64(0.5);
            let part = |p: &DeviceArray<T, Ix3>| p.equal(T::ZERO).where_(T::ZERO, p * (p / &middle).ln());
            let d = ((part(&p) + part(&q)).sum_axis(Axis(2)) * T::from_f64(0.5)).maximum(T::ZERO).sqrt();
            // A row of zeros is no distribution.
            let far = T::from_f64(f64::INFINITY);
            sx.equal(T::ZERO).where_(far, sy.t().equal(T::ZERO).where_(far, d))
        }
        Metric::Jaccard
        | Metric::Dice
        | Metric::RogersTanimoto
        | Metric::RussellRao
        | Metric::SokalSneath
        | Metric::Yule => boolean(x, y, metric, w),
    }
}

/// The metrics of rows whose coordinates are set or 0, all from how many are set in both and in each.
fn boolean<T: Float<Sum = T, Mean = T>>(
    x: &DeviceArray2<T>,
    y: &DeviceArray2<T>,
    metric: Metric,
    w: Weights<'_, T>,
) -> DeviceArray2<T> {
    let two = T::from_f64(2.0);
    let d = w.total(x);
    let set = |x: &DeviceArray2<T>| x.not_equal(T::ZERO).cast::<T>();
    let (x, y) = (set(x), set(y));
    let both = w.of(x.clone()).dot(&y.t());
    let (nx, ny) = (w.sum_rows(x), w.sum_rows(y).t());
    let differ = &nx + &ny - &both * two;
    match metric {
        Metric::Jaccard => {
            let either = both + &differ;
            either.equal(T::ZERO).where_(T::ZERO, differ / &either)
        }
        Metric::Dice => &differ / (both * two + &differ),
        Metric::RogersTanimoto => &differ * two / (&differ + d),
        Metric::RussellRao => (both * T::from_f64(-1.0) + &d) / &d,
        Metric::SokalSneath => &differ * two / (both + &differ * two),
        _ => {
            let odd = (&nx - &both) * (&ny - &both);
            let none = &both - &nx - &ny + d;
            odd.equal(T::ZERO).where_(T::ZERO, &odd * two / (both * none + &odd))
        }
    }
}
