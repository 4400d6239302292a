//! Whole-array comparison: `==`, `approx`, `all_close`, against device arrays and `ndarray` arrays.

use crate::array::{DeviceArray, expect};
use crate::dtype::{Element, Float};
use crate::error::{Error, Result};
use approx::{AbsDiffEq, RelativeEq, UlpsEq};
use ndarray::{ArrayBase, ArrayView, Data, Dimension};

impl<T: Element, D: Dimension> DeviceArray<T, D> {
    /// Both arrays on the host.
    ///
    /// # Panics
    /// If either cannot be evaluated.
    #[track_caller]
    fn with_both<E: Dimension, R>(
        &self,
        other: &DeviceArray<T, E>,
        f: impl FnOnce(ArrayView<'_, T, D>, ArrayView<'_, T, E>) -> R,
    ) -> R {
        expect(expect(self.with_host(|a| other.with_host(|b| f(a, b)))))
    }
}

/// Whether two arrays have the same shape and equal elements at every index, as in `ndarray`; NaN equals nothing.
///
/// # Panics
/// If either cannot be evaluated.
impl<T: Element, D: Dimension> PartialEq for DeviceArray<T, D> {
    #[track_caller]
    fn eq(&self, other: &Self) -> bool {
        self.shape() == other.shape() && self.with_both(other, |a, b| a == b)
    }
}

macro_rules! with_ndarray {
    ($($other:ty),*) => {$(
        impl<T: Element, D: Dimension, S: Data<Elem = T>> PartialEq<$other> for DeviceArray<T, D> {
            #[track_caller]
            fn eq(&self, other: &$other) -> bool {
                self.shape() == other.shape() && expect(self.with_host(|a| a == other.view()))
            }
        }
    )*};
}

with_ndarray!(ArrayBase<S, D>, &ArrayBase<S, D>);

impl<T: Element, D: Dimension, S: Data<Elem = T>> PartialEq<DeviceArray<T, D>> for &ArrayBase<S, D> {
    #[track_caller]
    fn eq(&self, other: &DeviceArray<T, D>) -> bool {
        other == *self
    }
}

impl<T: Element, D: Dimension, S: Data<Elem = T>> PartialEq<DeviceArray<T, D>> for ArrayBase<S, D> {
    #[track_caller]
    fn eq(&self, other: &DeviceArray<T, D>) -> bool {
        other == self
    }
}

macro_rules! approximate {
    ($($trait:ident, $default:ident, $eq:ident, ($($extra:ident: $extra_ty:ty),*);)*) => {$(
        impl<T: Element + $trait, D: Dimension> $trait for DeviceArray<T, D>
        where
            T::Epsilon: Clone,
        {
            approximate!(@default $trait);
            #[track_caller]
            fn $eq(&self, other: &Self, epsilon: T::Epsilon $(, $extra: $extra_ty)*) -> bool {
                self.shape() == other.shape()
                    && self.with_both(other, |a, b| {
                        a.iter().zip(b.iter()).all(|(x, y)| T::$eq(x, y, epsilon.clone() $(, $extra.clone())*))
                    })
            }
        }

        impl<T: Element + $trait, D: Dimension, S: Data<Elem = T>> $trait<ArrayBase<S, D>> for DeviceArray<T, D>
        where
            T::Epsilon: Clone,
        {
            approximate!(@default $trait);
            #[track_caller]
            fn $eq(&self, other: &ArrayBase<S, D>, epsilon: T::Epsilon $(, $extra: $extra_ty)*) -> bool {
                self.shape() == other.shape()
                    && expect(self.with_host(|a| {
                        a.iter().zip(other.iter()).all(|(x, y)| T::$eq(x, y, epsilon.clone() $(, $extra.clone())*))
                    }))
            }
        }

        impl<T: Element + $trait, D: Dimension, S: Data<Elem = T>> $trait<DeviceArray<T, D>> for ArrayBase<S, D>
        where
            T::Epsilon: Clone,
        {
            approximate!(@default $trait);
            #[track_caller]
            fn $eq(&self, other: &DeviceArray<T, D>, epsilon: T::Epsilon $(, $extra: $extra_ty)*) -> bool {
                // Each is symmetric.
                other.$eq(self, epsilon $(, $extra)*)
            }
        }
    )*};
    (@default AbsDiffEq) => {
        type Epsilon = T::Epsilon;
        fn default_epsilon() -> T::Epsilon {
            T::default_epsilon()
        }
    };
    (@default RelativeEq) => {
        fn default_max_relative() -> T::Epsilon {
            T::default_max_relative()
        }
    };
    (@default UlpsEq) => {
        fn default_max_ulps() -> u32 {
            T::default_max_ulps()
        }
    };
}

approximate! {
    AbsDiffEq, default_epsilon, abs_diff_eq, ();
    RelativeEq, default_max_relative, relative_eq, (max_relative: T::Epsilon);
    UlpsEq, default_max_ulps, ulps_eq, (max_ulps: u32);
}

mod sealed {
    /// What [`all_close`](super::DeviceArray::all_close) compares with.
    pub trait Expected<T, D> {
        fn extents(&self) -> &[usize];
        fn with<R>(&self, f: impl FnOnce(ndarray::ArrayView<'_, T, D>) -> R) -> crate::error::Result<R>;
    }
}
use sealed::Expected;

impl<T: Element, D: Dimension, S: Data<Elem = T>> Expected<T, D> for ArrayBase<S, D> {
    fn extents(&self) -> &[usize] {
        self.shape()
    }
    fn with<R>(&self, f: impl FnOnce(ArrayView<'_, T, D>) -> R) -> Result<R> {
        Ok(f(self.view()))
    }
}

impl<T: Element, D: Dimension> Expected<T, D> for DeviceArray<T, D> {
    fn extents(&self) -> &[usize] {
        self.shape()
    }
    fn with<R>(&self, f: impl FnOnce(ArrayView<'_, T, D>) -> R) -> Result<R> {
        self.with_host(f)
    }
}

impl<T: Float, D: Dimension> DeviceArray<T, D> {
    /// Checks that every element is within `atol + rtol * |expected|` of another array's, of either kind; NaN matches NaN.
    ///
    /// # Errors
    /// [`Error::NotClose`] with the index, both values and the difference of the worst element; [`Error::Shape`].
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// let x = Device::cpu().array(&ndarray::arr1(&[1.0f32, 2.0]))?;
    /// x.all_close(&ndarray::arr1(&[1.0, 2.000001]), 1e-5, 0.0)?;
    /// x.all_close(&(&x * 1.000001), 1e-5, 0.0)?;
    /// assert!(x.all_close(&ndarray::arr1(&[1.0, 3.0]), 1e-5, 0.0).unwrap_err().to_string().contains("[1]"));
    /// # Ok::<(), ndcuda::Error>(())
    /// ```
    pub fn all_close(&self, expected: &impl Expected<T, D>, rtol: f64, atol: f64) -> Result<()> {
        if self.shape() != expected.extents() {
            let reason = format!("expected {:?}", expected.extents());
            return Err(Error::Shape { op: "all_close", shape: self.shape().into(), reason });
        }
        let compare = |a: ArrayView<'_, T, D>, expected: ArrayView<'_, T, D>| {
            let (mut worst, mut bad, mut at) = (-1.0, 0usize, None);
            for (n, (x, y)) in a.iter().zip(expected.iter()).enumerate() {
                let (u, v) = (x.to_f64(), y.to_f64());
                if u == v || (u.is_nan() && v.is_nan()) {
                    continue;
                }
                let off = (u - v).abs();
                let over = off - (atol + rtol * v.abs());
                // A NaN on one side alone, or an infinity, is the worst there is.
                if over <= 0.0 {
                    continue;
                }
                bad += 1;
                let rank = if over.is_nan() { f64::INFINITY } else { over };
                if rank > worst {
                    (worst, at) = (rank, Some((n, u, v, off)));
                }
            }
            match at {
                None => Ok(()),
                Some((mut n, u, v, off)) => {
                    let mut index = vec![0; a.ndim()];
                    for (i, &len) in index.iter_mut().zip(a.shape()).rev() {
                        *i = n % len;
                        n /= len;
                    }
                    Err(Error::NotClose(format!(
                        "{bad} of {} elements are not close; the worst, at {index:?}: {u:e} where {v:e} is expected, off by {off:e} (rtol {rtol:e}, atol {atol:e})",
                        a.len()
                    )))
                }
            }
        };
        self.with_host(|a| expected.with(|e| compare(a, e)))??
    }
}
