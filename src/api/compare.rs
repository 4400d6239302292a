//! Whole-array comparison: `==`, `approx`, `all_close`, against device arrays and `ndarray` arrays.

use crate::array::{DeviceArray, expect};
use crate::dtype::Element;
use crate::error::{Error, Result};
use approx::{AbsDiffEq, RelativeEq, UlpsEq};
use half::{bf16, f16};
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

/// What `approx` compares, and the 16-bit floats, which it does not know. In place of its traits, which only it and `half` could implement for these.
pub trait AbsDiff: Element {
    /// A difference: the type itself, f32 for f16 and bf16.
    type Epsilon: Clone;
    #[doc(hidden)]
    fn default_epsilon() -> Self::Epsilon;
    #[doc(hidden)]
    fn abs_diff_eq(x: &Self, y: &Self, epsilon: Self::Epsilon) -> bool;
}

/// The floats, which `approx` compares by relative difference and by units in the last place, too.
pub trait FloatDiff: AbsDiff {
    #[doc(hidden)]
    fn default_max_relative() -> Self::Epsilon;
    #[doc(hidden)]
    fn default_max_ulps() -> u32;
    #[doc(hidden)]
    fn relative_eq(x: &Self, y: &Self, epsilon: Self::Epsilon, max_relative: Self::Epsilon) -> bool;
    #[doc(hidden)]
    fn ulps_eq(x: &Self, y: &Self, epsilon: Self::Epsilon, max_ulps: u32) -> bool;
}

macro_rules! compared_by_approx {
    (numbers $($t:ident)*) => {$(
        impl AbsDiff for $t {
            type Epsilon = $t;
            fn default_epsilon() -> $t {
                <$t as AbsDiffEq>::default_epsilon()
            }
            fn abs_diff_eq(x: &$t, y: &$t, epsilon: $t) -> bool {
                AbsDiffEq::abs_diff_eq(x, y, epsilon)
            }
        }
    )*};
    (floats $($t:ident)*) => {$(
        compared_by_approx!(numbers $t);
        impl FloatDiff for $t {
            fn default_max_relative() -> $t {
                <$t as RelativeEq>::default_max_relative()
            }
            fn default_max_ulps() -> u32 {
                <$t as UlpsEq>::default_max_ulps()
            }
            fn relative_eq(x: &$t, y: &$t, epsilon: $t, max_relative: $t) -> bool {
                RelativeEq::relative_eq(x, y, epsilon, max_relative)
            }
            fn ulps_eq(x: &$t, y: &$t, epsilon: $t, max_ulps: u32) -> bool {
                UlpsEq::ulps_eq(x, y, epsilon, max_ulps)
            }
        }
    )*};
    (as_f32 $($t:ident)*) => {$(
        impl AbsDiff for $t {
            type Epsilon = f32;
            fn default_epsilon() -> f32 {
                $t::EPSILON.to_f32()
            }
            fn abs_diff_eq(x: &$t, y: &$t, epsilon: f32) -> bool {
                AbsDiff::abs_diff_eq(&x.to_f32(), &y.to_f32(), epsilon)
            }
        }
        impl FloatDiff for $t {
            fn default_max_relative() -> f32 {
                $t::EPSILON.to_f32()
            }
            fn default_max_ulps() -> u32 {
                <f32 as UlpsEq>::default_max_ulps()
            }
            fn relative_eq(x: &$t, y: &$t, epsilon: f32, max_relative: f32) -> bool {
                FloatDiff::relative_eq(&x.to_f32(), &y.to_f32(), epsilon, max_relative)
            }
            fn ulps_eq(x: &$t, y: &$t, epsilon: f32, max_ulps: u32) -> bool {
                // As `approx` does it for f32: signs that differ are close by epsilon alone, NaN never is.
                AbsDiff::abs_diff_eq(x, y, epsilon)
                    || !x.is_nan() && !y.is_nan() && x.is_sign_negative() == y.is_sign_negative()
                        && u32::from(x.to_bits().abs_diff(y.to_bits())) <= max_ulps
            }
        }
    )*};
}

compared_by_approx!(numbers i8 i16 i32 i64 u8 u16 u32 u64);
compared_by_approx!(floats f32 f64);
compared_by_approx!(as_f32 f16 bf16);

macro_rules! approximate {
    ($($trait:ident, $element:ident, $eq:ident, ($($extra:ident: $extra_ty:ty),*);)*) => {$(
        impl<T: $element, D: Dimension> $trait for DeviceArray<T, D> {
            approximate!(@default $trait);
            #[track_caller]
            fn $eq(&self, other: &Self, epsilon: T::Epsilon $(, $extra: $extra_ty)*) -> bool {
                self.shape() == other.shape()
                    && self.with_both(other, |a, b| {
                        a.iter().zip(b.iter()).all(|(x, y)| T::$eq(x, y, epsilon.clone() $(, $extra.clone())*))
                    })
            }
        }

        impl<T: $element, D: Dimension, S: Data<Elem = T>> $trait<ArrayBase<S, D>> for DeviceArray<T, D> {
            approximate!(@default $trait);
            #[track_caller]
            fn $eq(&self, other: &ArrayBase<S, D>, epsilon: T::Epsilon $(, $extra: $extra_ty)*) -> bool {
                self.shape() == other.shape()
                    && expect(self.with_host(|a| {
                        a.iter().zip(other.iter()).all(|(x, y)| T::$eq(x, y, epsilon.clone() $(, $extra.clone())*))
                    }))
            }
        }

        impl<T: $element, D: Dimension, S: Data<Elem = T>> $trait<DeviceArray<T, D>> for ArrayBase<S, D> {
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
    AbsDiffEq, AbsDiff, abs_diff_eq, ();
    RelativeEq, FloatDiff, relative_eq, (max_relative: T::Epsilon);
    UlpsEq, FloatDiff, ulps_eq, (max_ulps: u32);
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

/// The integer, whatever its type.
fn whole<T: Element>(x: T) -> i128 {
    let unused = 64 - 8 * T::DTYPE.size() as u32;
    match T::DTYPE.is_signed_int() {
        true => (((x.to_bits64() << unused) as i64) >> unused).into(),
        false => x.to_bits64().into(),
    }
}

impl<T: Element, D: Dimension> DeviceArray<T, D> {
    /// Checks that every element is within `atol + rtol * |expected|` of another array's, of either kind; NaN matches NaN, and bools are 0 and 1.
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
        let float = T::DTYPE.is_float();
        let compare = |a: ArrayView<'_, T, D>, expected: ArrayView<'_, T, D>| {
            let (mut worst, mut bad, mut at) = (-1.0, 0usize, None);
            for (n, (&x, &y)) in a.iter().zip(expected.iter()).enumerate() {
                let (u, v) = (x.to_f64(), y.to_f64());
                if x == y || (u.is_nan() && v.is_nan()) {
                    continue;
                }
                // Large integers that differ may be one f64.
                let off = if float { (u - v).abs() } else { (whole(x) - whole(y)).unsigned_abs() as f64 };
                let over = off - (atol + rtol * v.abs());
                // A NaN on one side alone, or an infinity, is the worst there is.
                if over <= 0.0 {
                    continue;
                }
                bad += 1;
                let rank = if over.is_nan() { f64::INFINITY } else { over };
                if rank > worst {
                    (worst, at) = (rank, Some((n, x, y, off)));
                }
            }
            let Some((mut n, x, y, off)) = at else { return Ok(()) };
            let mut index = vec![0; a.ndim()];
            for (i, &len) in index.iter_mut().zip(a.shape()).rev() {
                *i = n % len;
                n /= len;
            }
            let text = |x: T| if float { format!("{:e}", x.to_f64()) } else { x.to_string() };
            Err(Error::NotClose(format!(
                "{bad} of {} elements are not close; the worst, at {index:?}: {} where {} is expected, off by {off:e} (rtol {rtol:e}, atol {atol:e})",
                a.len(),
                text(x),
                text(y),
            )))
        };
        self.with_host(|a| expected.with(|e| compare(a, e)))??
    }
}
