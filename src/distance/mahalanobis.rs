//! Mahalanobis' distance: Euclid's of rows that a factor of the matrix has turned and stretched.

use super::{euclidean, fit, shaped};
use crate::array::{DeviceArray2, expect};
use crate::dtype::{DType, Float};
use crate::error::Result;
use ndarray::{Array2, Axis, Ix2, NewAxis, s};

/// `sqrt((x - y) vi (x - y))`, where `vi` is the inverse of a covariance matrix: what SciPy's `cdist(x, y, "mahalanobis", VI=vi)` gives. All of
/// it is computed in f64, and each distance rounded once; equal rows give exactly 0
/// (but for `x` or `y` of one row on the kernels that ship, which fold it in an order of its own).
///
/// `vi` is evaluated here and factored on the host: with `vi = m m^T`, the distance is [`euclidean`] of `x m` and `y m`. That rounds where a row
/// is, not how far it is from another: the relative error is up to about `d eps (c + sqrt(c) |x| / |x - y|)`, where `c` is `vi`'s condition once its
/// diagonal is scaled to ones, and SciPy's is `d eps c`. So rows far from 0 and close together are better centred. Of a matrix that is not
/// symmetric, the symmetric part counts, as in the formula; one that has a negative eigenvalue is not factored: it takes `d` times as long, and is NaN
/// where the square is negative.
///
/// ```
/// use ndcuda::{distance::mahalanobis, prelude::*};
/// let dev = Device::cpu();
/// let x = dev.array(&ndarray::arr2(&[[0.0f64, 0.0], [3.0, 2.0]]))?;
/// let vi = dev.array(&ndarray::arr2(&[[1.0, 0.0], [0.0, 4.0]]))?;
/// assert_eq!(mahalanobis(&x, &x, &vi), ndarray::arr2(&[[0.0, 5.0], [5.0, 0.0]]));
/// # Ok::<(), ndcuda::Error>(())
/// ```
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
    shaped("mahalanobis", x, vi, &[d, d])?;
    if T::DTYPE != DType::F64 {
        return Ok(try_mahalanobis(&x.cast::<f64>(), &y.cast(), &vi.cast())?.cast());
    }
    // A matrix that cannot be read fails what is recorded of it, as any operand does.
    let read = vi.to_ndarray().ok().and_then(|vi| factor(&vi.mapv(T::to_f64)));
    if let Some(m) = read {
        let m = x.device().array(m.t().mapv(T::from_f64))?;
        // A chain for each element, not a library's product: the bits of a row are the same whatever rows are beside it.
        let turned =
            |x: &DeviceArray2<T>| (x.slice(s![.., NewAxis, ..]) * m.slice(s![NewAxis, .., ..])).sum_axis(Axis(2));
        let (x, y) = (turned(x), turned(y));
        if x.shape()[0] == 1 || y.shape()[0] == 1 {
            // Beside one row the others would be turned in the kernel of the distances, which would add up in another order. What fails here
            // fails what reads it.
            let _ = crate::eval((&x, &y));
        }
        return Ok(euclidean(&x, &y));
    }
    // One fold over (k, l): no (n, m, d) product of the differences with the matrix.
    let down = x.slice(s![.., NewAxis, .., NewAxis]) - y.slice(s![NewAxis, .., .., NewAxis]);
    let across = x.slice(s![.., NewAxis, NewAxis, ..]) - y.slice(s![NewAxis, .., NewAxis, ..]);
    (down * vi * across).sum_axes(&[Axis(2), Axis(3)]).sqrt().into_dimensionality::<Ix2>()
}

/// `m` with as many columns as the matrix has rank, where `m m^T` is its symmetric part; `None` where that has negative eigenvalues, is 0, or
/// is not finite. Cholesky's with pivots, of the matrix scaled to a diagonal of ones: what is left when all pivots are
/// as small as rounding makes them counts as 0.
fn factor(vi: &Array2<f64>) -> Option<Array2<f64>> {
    let d = vi.nrows();
    let part = |k: usize, l: usize| 0.5 * vi[[k, l]] + 0.5 * vi[[l, k]];
    let scale: Vec<f64> = (0..d).map(|k| part(k, k).sqrt()).collect();
    // Of a coordinate that does not count, there must be nothing beside the diagonal either.
    let scaled = |k: usize, l: usize| match part(k, l) {
        0.0 => 0.0,
        v => v / scale[k] / scale[l],
    };
    let mut left = Array2::from_shape_fn((d, d), |(k, l)| scaled(k, l));
    if !left.iter().all(|v| v.is_finite()) {
        return None;
    }
    let small = 4.0 * d as f64 * f64::EPSILON;
    let mut rest: Vec<usize> = (0..d).collect();
    let mut m = Array2::zeros((d, d));
    let mut rank = 0;
    while let Some(n) = (0..rest.len()).max_by(|&a, &b| left[[rest[a]; 2]].total_cmp(&left[[rest[b]; 2]])) {
        let p = rest[n];
        if left[[p, p]] <= small {
            break;
        }
        let root = left[[p, p]].sqrt();
        for &k in &rest {
            m[[k, rank]] = left[[k, p]] / root;
        }
        rest.swap_remove(n);
        for &k in &rest {
            for &l in &rest {
                left[[k, l]] -= m[[k, rank]] * m[[l, rank]];
            }
        }
        rank += 1;
    }
    let nothing = rest.iter().all(|&k| rest.iter().all(|&l| left[[k, l]].abs() <= small));
    if !nothing || rank == 0 {
        return None;
    }
    Some(Array2::from_shape_fn((d, rank), |(k, r)| scale[k] * m[[k, r]]))
}
