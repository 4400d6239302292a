//! Reductions: over one axis (`sum_axis`), several (`sum_axes`), all (`sum`), and with the axis kept (`sum_keep`), or several
//! (`sum_keep_axes`).

use crate::array::{DeviceArray, DeviceArray0, DeviceArrayD, expect};
use crate::dtype::{DType, Element, Float};
use crate::error::{Error, Result};
use crate::graph::build::At;
use crate::graph::{Value, build};
use crate::ops::reduce::{ALL, ANY, ARGMAX, ARGMIN, MAX, MIN, MOMENTS, PROD, ReducerRef};
use crate::ops::row;
use ndarray::{Axis, Dimension, RemoveAxis};
use std::panic::Location;

/// What each reduction is in terms of the reducer table.
#[derive(Clone, Copy)]
enum Kind {
    Sum,
    Product,
    /// The array's own dtype in and out.
    Plain(ReducerRef),
    Arg(ReducerRef),
    Truth(ReducerRef),
    Count,
    Mean,
    /// Squared deviations over `n - ddof`, and whether the root is taken.
    Var(f64, bool),
}

fn scalar_like(v: &Value, x: f64, at: At) -> Value {
    // The divisors of means: exact in every float type up to its precision, as NumPy's are.
    let bits = match v.dtype() {
        DType::F16 => <half::f16 as Element>::from_f64(x).to_bits64(),
        DType::BF16 => <half::bf16 as Element>::from_f64(x).to_bits64(),
        DType::F32 => (x as f32).to_bits64(),
        _ => x.to_bits64(),
    };
    build::scalar(v.node.device, v.dtype(), bits, at)
}

/// As NumPy has it: none below 0; NaN stays.
fn divisor(n: f64) -> f64 {
    if n < 0.0 { 0.0 } else { n }
}

/// An error of a reducer, under the name of the method that it came of.
fn named(e: Error, op: &'static str) -> Error {
    match e {
        Error::Axis { axis, shape, .. } => Error::Axis { op, axis, shape },
        Error::Shape { shape, reason, .. } => Error::Shape { op, shape, reason },
        e => e,
    }
}

fn apply(kind: Kind, v: &Value, axes: &[usize], keep: bool, at: At) -> Result<Value> {
    let bool_of = |v: &Value| build::cast(v, DType::Bool, at);
    match kind {
        Kind::Sum => build::sum(v, axes, keep, at),
        Kind::Product => {
            let out = v.dtype().sum();
            let wide = build::cast(v, out.compute(), at);
            Ok(build::cast(&build::reduce(&PROD, &wide, axes, keep, at)?, out, at))
        }
        Kind::Plain(r) | Kind::Arg(r) => build::reduce(r, v, axes, keep, at),
        Kind::Truth(r) => build::reduce(r, &bool_of(v), axes, keep, at),
        Kind::Count => build::sum(&bool_of(v), axes, keep, at),
        Kind::Mean | Kind::Var(..) => {
            let n = axes.iter().filter_map(|&a| v.shape().get(a)).product::<usize>() as f64;
            let out = if v.dtype().is_float() { v.dtype() } else { DType::F64 };
            // 16-bit floats are folded and divided in f32, and rounded once.
            let wide = build::cast(v, out.compute(), at);
            let (folded, divisor, root) = match kind {
                Kind::Var(ddof, root) => (build::reduce(&MOMENTS, &wide, axes, keep, at)?, divisor(n - ddof), root),
                _ => (build::sum(&wide, axes, keep, at)?, n, false),
            };
            let mut r = build::map(&row::div, &[&folded, &scalar_like(&folded, divisor, at)], at)?;
            if root {
                r = build::map(&row::sqrt, &[&r], at)?;
            }
            Ok(build::cast(&r, out, at))
        }
    }
}

impl<T: Element, D: Dimension> DeviceArray<T, D> {
    #[track_caller]
    fn fold<U: Element, E: Dimension>(
        &self,
        op: &'static str,
        kind: Kind,
        axes: &[usize],
        keep: bool,
    ) -> DeviceArray<U, E> {
        let folded = apply(kind, &self.value, axes, keep, Location::caller()).map_err(|e| named(e, op));
        DeviceArray::wrap(expect(folded), &self.device)
    }

    fn every(&self) -> Vec<usize> {
        (0..self.ndim()).collect()
    }
}

/// A doctest: a call, and what comes of it.
macro_rules! example {
    ($call:expr, $output:expr) => {
        concat!(
            "\n\n```\n# use ndcuda::prelude::*;\nlet x = Device::cpu().array(ndarray::arr2(&[[1i32, 0], [3, 4]]))?;\nassert_eq!(x.",
            $call,
            ", ",
            $output,
            ");\n# Ok::<(), ndcuda::Error>(())\n```"
        )
    };
}

/// The forms of one reduction: over all axes, one, several, and one that stays with extent 1; of `[[1, 0], [3, 4]]` all give `$of_all`, the rows
/// `$first` and `$second`.
macro_rules! forms {
    ($($class:ident { $(
        $(#[$doc:meta])* $all:ident $axis:ident $axes:ident $keep:ident $keep_axes:ident ($($arg:ident: $ty:ty = $given:literal),*) -> $out:ty, $kind:expr;
        $of_all:expr => $first:literal $second:literal;
    )* })*) => {$(
        impl<T: $class, D: Dimension> DeviceArray<T, D> {$(
            $(#[$doc])*
            ///
            /// Over all elements; the result has rank 0.
            #[doc = example!(concat!(stringify!($all), "(" $(, $given)*, ").item()?"), stringify!($of_all))]
            #[track_caller]
            pub fn $all(&self $(, $arg: $ty)*) -> DeviceArray0<$out> {
                self.fold(stringify!($all), $kind, &self.every(), false)
            }

            $(#[$doc])*
            ///
            /// Over one axis, which goes.
            ///
            /// # Panics
            /// If there is no such axis, or for a reduction without identity if it is empty.
            #[doc = example!(
                concat!(stringify!($axis), "(Axis(1)" $(, ", ", $given)*, ")"),
                concat!("ndarray::arr1(&[", $first, ", ", $second, "])")
            )]
            #[track_caller]
            pub fn $axis(&self, axis: Axis $(, $arg: $ty)*) -> DeviceArray<$out, D::Smaller>
            where
                D: RemoveAxis,
            {
                self.fold(stringify!($all), $kind, &[axis.0], false)
            }

            $(#[$doc])*
            ///
            /// Over several axes, which go.
            ///
            /// # Panics
            /// If there is no such axis, one is given twice, or for a reduction without identity if one is empty.
            #[doc = example!(
                concat!(stringify!($axes), "(&[Axis(0), Axis(1)]" $(, ", ", $given)*, ").item()?"),
                stringify!($of_all)
            )]
            #[track_caller]
            pub fn $axes(&self, axes: &[Axis] $(, $arg: $ty)*) -> DeviceArrayD<$out> {
                self.fold(stringify!($all), $kind, &axes.iter().map(|a| a.0).collect::<Vec<_>>(), false)
            }

            $(#[$doc])*
            ///
            /// Over one axis, which stays with extent 1 (NumPy's `keepdims=True`).
            ///
            /// # Panics
            /// If there is no such axis, or for a reduction without identity if it is empty.
            #[doc = example!(
                concat!(stringify!($keep), "(Axis(1)" $(, ", ", $given)*, ")"),
                concat!("ndarray::arr2(&[[", $first, "], [", $second, "]])")
            )]
            #[track_caller]
            pub fn $keep(&self, axis: Axis $(, $arg: $ty)*) -> DeviceArray<$out, D> {
                self.fold(stringify!($all), $kind, &[axis.0], true)
            }

            $(#[$doc])*
            ///
            /// Over several axes, which stay with extent 1.
            ///
            /// # Panics
            /// If there is no such axis, one is given twice, or for a reduction without identity if one is empty.
            #[doc = example!(
                concat!(stringify!($keep_axes), "(&[Axis(0), Axis(1)]" $(, ", ", $given)*, ")"),
                concat!("ndarray::arr2(&[[", stringify!($of_all), "]])")
            )]
            #[track_caller]
            pub fn $keep_axes(&self, axes: &[Axis] $(, $arg: $ty)*) -> DeviceArray<$out, D> {
                self.fold(stringify!($all), $kind, &axes.iter().map(|a| a.0).collect::<Vec<_>>(), true)
            }
        )*}
    )*};
}

forms! {
    Element {
        /// The sum: bool and integers in i64/u64, wrapping; 16-bit floats accumulate in f32. Of nothing: 0.
        sum sum_axis sum_axes sum_keep sum_keep_axes () -> T::Sum, Kind::Sum;
        8 => 1 7;
        /// The product, in the dtype of [`sum`](Self::sum). Of nothing: 1.
        #[doc(alias = "prod")]
        product product_axis product_axes product_keep product_keep_axes () -> T::Sum, Kind::Product;
        0 => 0 12;
        /// The smallest element; NaN if there is one.
        #[doc(alias = "amin")]
        min min_axis min_axes min_keep min_keep_axes () -> T, Kind::Plain(&MIN);
        0 => 0 3;
        /// The largest element; NaN if there is one.
        #[doc(alias = "amax")]
        max max_axis max_axes max_keep max_keep_axes () -> T, Kind::Plain(&MAX);
        4 => 1 4;
        /// The index (in C order of the axes) of the first smallest element, or of the first NaN.
        argmin argmin_axis argmin_axes argmin_keep argmin_keep_axes () -> i64, Kind::Arg(&ARGMIN);
        1 => 1 0;
        /// The index (in C order of the axes) of the first largest element, or of the first NaN.
        argmax argmax_axis argmax_axes argmax_keep argmax_keep_axes () -> i64, Kind::Arg(&ARGMAX);
        3 => 0 1;
        /// Whether some element is not zero (NaN is not). Of nothing: `false`.
        any any_axis any_axes any_keep any_keep_axes () -> bool, Kind::Truth(&ANY);
        true => true true;
        /// Whether every element is not zero. Of nothing: `true`.
        all all_axis all_axes all_keep all_keep_axes () -> bool, Kind::Truth(&ALL);
        false => false true;
        /// How many elements are not zero.
        count_nonzero count_nonzero_axis count_nonzero_axes count_nonzero_keep count_nonzero_keep_axes () -> i64, Kind::Count;
        3 => 1 2;
        /// The mean; f64 for bool and integers. Of nothing: NaN.
        mean mean_axis mean_axes mean_keep mean_keep_axes () -> T::Mean, Kind::Mean;
        2.0 => 0.5 3.5;
        /// The variance: squared deviations from the mean over `n - ddof`; f64 for bool and integers. One pass over memory.
        var var_axis var_axes var_keep var_keep_axes (ddof: f64 = 0.0) -> T::Mean, Kind::Var(ddof, false);
        2.5 => 0.25 0.25;
        /// The standard deviation: the root of [`var`](Self::var).
        std std_axis std_axes std_keep std_keep_axes (ddof: f64 = 0.0) -> T::Mean, Kind::Var(ddof, true);
        2.5f64.sqrt() => 0.5 0.5;
    }
}

impl<T: Float, D: Dimension> DeviceArray<T, D> {
    /// The softmax along an axis, as one writes it: `exp(x - max) / sum(exp(x - max))`, one kernel where a row fits.
    ///
    /// # Panics
    /// If there is no such axis or it is empty.
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// let x = Device::cpu().array(&ndarray::arr2(&[[1.0f64, 1.0], [0.0, 0.0]]))?;
    /// assert_eq!(x.softmax(Axis(1)), ndarray::arr2(&[[0.5, 0.5], [0.5, 0.5]]));
    /// # Ok::<(), ndcuda::Error>(())
    /// ```
    #[track_caller]
    pub fn softmax(&self, axis: Axis) -> Self {
        let max: DeviceArray<T, D> = self.fold("softmax", Kind::Plain(&MAX), &[axis.0], true);
        let e: DeviceArray<T, D> = self.map2_same(&row::sub, &max).map1(&row::exp);
        let total: DeviceArray<T, D> = e.fold("softmax", Kind::Sum, &[axis.0], true);
        e.map2_same(&row::div, &total)
    }

    /// A binary operation with an array of the same rank.
    #[track_caller]
    pub(crate) fn map2_same(&self, r: crate::ops::OpRef, rhs: &DeviceArray<T, D>) -> DeviceArray<T, D> {
        expect(self.same_device(r.name, &rhs.device));
        DeviceArray::wrap(expect(build::map(r, &[&self.value, &rhs.value], Location::caller())), &self.device)
    }
}
