//! Elementwise methods: one for each row of the op tables, with the row's documentation and example.
//!
//! Binary ones take an array, a reference to one or a scalar, broadcast, and have a `try_` twin. Operators have the twin only.

use crate::array::{DeviceArray, Operand, expect};
use crate::dtype::{Bits, Element, Float, Integer, Number, Signed};
use crate::error::Result;
use crate::ops::row;
use ndarray::{DimMax, Dimension};

/// The dimension that `D` and operand `O` broadcast to.
type Joint<T, D, O> = <D as DimMax<<O as Operand<T>>::Dim>>::Output;

/// An array of the dimension that `D` and operands `A` and `B` broadcast to.
type Joined<T, D, A, B> = DeviceArray<T, Joint<T, Joint<T, D, A>, B>>;

/// An `impl` block for each of a chapter's.
macro_rules! methods {
    ($($(#[doc = $section:literal])* impl $class:ident {$(
        $(#[doc = $doc:literal])*
        $keyword:ident $name:ident $(| $try_name:ident)? ($($args:tt)*) $(-> $out:ident)? { $($loops:tt)* } with $notes:tt
    )*})*) => {$(
        $(#[doc = $section])*
        impl<T: $class, D: Dimension> DeviceArray<T, D> {
            $(method! { $keyword $name [$($try_name)?] ($($args)*) [$($out)?] [$($doc)*] $notes })*
        }
        $(prefix! { $keyword $name [$($try_name)?] $notes })*
    )*};
}

/// Gathers what a row says for its method's documentation.
macro_rules! method {
    ($keyword:ident $name:ident $try_name:tt $args:tt $out:tt [$($doc:literal)*] {
        $(numpy $numpy:literal;)?
        $(is $($flag:ident),+;)?
        oracle $($kind:ident: $oracle:expr),+;
        $(range $($range:expr),+;)?
        $(ulp $ulp32:literal, $ulp64:literal;)?
        example $($input:expr),+ => $output:expr;
    }) => {
        signature! {
            {
                $(#[doc = $doc])*
                $(#[doc = concat!("\n\nThe error is at most ", $ulp32, " ulp in f32 and ", $ulp64, " in f64.")])?
                $(#[doc(alias = $numpy)])?
            }
            $keyword $name $try_name $args $out; $($input),+ => $output
        }
    };
}

/// The example of an operator that has no method.
macro_rules! prefix {
    (op neg [] $notes:tt) => {
        prefix! { neg "-x" $notes }
    };
    (op bit_not [] $notes:tt) => {
        prefix! { bit_not "!x" $notes }
    };
    ($name:ident $call:literal {
        $(numpy $numpy:literal;)?
        $(is $($flag:ident),+;)?
        oracle $($kind:ident: $oracle:expr),+;
        $(range $($range:expr),+;)?
        example $x:expr => $output:expr;
    }) => {
        #[cfg(doctest)]
        #[doc = example!($x; $call; $output)]
        #[allow(non_camel_case_types)]
        struct $name;
    };
    ($($method:tt)*) => {};
}

macro_rules! result {
    ([]) => {
        T
    };
    ([$out:ident]) => {
        $out
    };
}

/// A doctest: the operands, and the call that gives the result.
macro_rules! example {
    ($x:expr; $call:expr; $output:expr) => {
        concat!(
            "\n\n```\nuse ndcuda::prelude::*;\nlet x = Device::cpu().array(ndarray::arr1(&",
            stringify!($x),
            "))?;\n",
            "assert_eq!(",
            $call,
            ", ndarray::arr1(&",
            stringify!($output),
            "));\n# Ok::<(), ndcuda::Error>(())\n```"
        )
    };
    ($x:expr, $y:expr; $call:expr; $output:expr) => {
        concat!(
            "\n\n```\nuse ndcuda::prelude::*;\nlet x = Device::cpu().array(ndarray::arr1(&",
            stringify!($x),
            "))?;\n",
            "let y = Device::cpu().array(ndarray::arr1(&",
            stringify!($y),
            "))?;\n",
            "assert_eq!(",
            $call,
            ", ndarray::arr1(&",
            stringify!($output),
            "));\n# Ok::<(), ndcuda::Error>(())\n```"
        )
    };
}

/// The methods of one row.
macro_rules! signature {
    ({ $($attr:tt)* } fn $name:ident [] ($a:ident) $out:tt; $x:expr => $output:expr) => {
        $($attr)*
        #[doc = example!($x; concat!("x.", stringify!($name), "()"); $output)]
        #[track_caller]
        pub fn $name(&self) -> DeviceArray<result!($out), D> {
            self.map1(&row::$name)
        }
    };
    ({ $($attr:tt)* } fn $name:ident [$try_name:ident] ($a:ident, $b:ident) $out:tt; $x:expr, $y:expr => $output:expr) => {
        $($attr)*
        #[doc = "\n\n# Panics\nIf the shapes do not broadcast together, or the operands are on two devices."]
        #[doc = example!($x, $y; concat!("x.", stringify!($name), "(&y)"); $output)]
        #[track_caller]
        pub fn $name<O: Operand<T>>(&self, rhs: O) -> DeviceArray<result!($out), Joint<T, D, O>>
        where
            D: DimMax<O::Dim>,
        {
            self.map2(&row::$name, rhs)
        }

        #[doc = concat!("[`", stringify!($name), "`](Self::", stringify!($name), ") with an error in place of a panic.")]
        #[doc = "\n\n# Errors\nIf the shapes do not broadcast together, or the operands are on two devices."]
        #[track_caller]
        pub fn $try_name<O: Operand<T>>(&self, rhs: O) -> Result<DeviceArray<result!($out), Joint<T, D, O>>>
        where
            D: DimMax<O::Dim>,
        {
            self.try_map2(&row::$name, rhs)
        }
    };
    ({ $($attr:tt)* } fn $name:ident [$try_name:ident] ($a:ident, $b:ident, $c:ident) []; $x:expr, $lo:expr, $hi:expr => $output:expr) => {
        $($attr)*
        #[doc = "\n\n# Panics\nIf the shapes do not broadcast together, or the operands are on two devices."]
        #[doc = example!($x; concat!("x.", stringify!($name), "(", stringify!($lo), ", ", stringify!($hi), ")"); $output)]
        #[track_caller]
        pub fn $name<A: Operand<T>, B: Operand<T>>(&self, lo: A, hi: B) -> Joined<T, D, A, B>
        where
            D: DimMax<A::Dim>,
            Joint<T, D, A>: DimMax<B::Dim>,
        {
            expect(self.$try_name(lo, hi))
        }

        #[doc = concat!("[`", stringify!($name), "`](Self::", stringify!($name), ") with an error in place of a panic.")]
        #[doc = "\n\n# Errors\nIf the shapes do not broadcast together, or the operands are on two devices."]
        #[track_caller]
        pub fn $try_name<A: Operand<T>, B: Operand<T>>(&self, lo: A, hi: B) -> Result<Joined<T, D, A, B>>
        where
            D: DimMax<A::Dim>,
            Joint<T, D, A>: DimMax<B::Dim>,
        {
            self.try_map3(&row::$name, lo, hi)
        }
    };
    ({ $($attr:tt)* } op $name:ident [$try_name:ident] ($a:ident, $b:ident) []; $x:expr, $y:expr => $output:expr) => {
        $($attr)*
        #[doc = "\n\nThe operator, with an error in place of a panic."]
        #[doc = "\n\n# Errors\nIf the shapes do not broadcast together, or the operands are on two devices."]
        #[doc = example!($x, $y; concat!("x.", stringify!($try_name), "(&y)?"); $output)]
        #[track_caller]
        pub fn $try_name<O: Operand<T>>(&self, rhs: O) -> Result<DeviceArray<T, Joint<T, D, O>>>
        where
            D: DimMax<O::Dim>,
        {
            self.try_map2(&row::$name, rhs)
        }
    };
    // `-x` and `!x` cannot fail: `prefix` has their examples.
    ({ $($attr:tt)* } op $name:ident [] ($a:ident) []; $x:expr => $output:expr) => {};
}

crate::ops::arithmetic::arithmetic_rows!(methods);
crate::ops::powers::powers_rows!(methods);
crate::ops::explog::explog_rows!(methods);
crate::ops::trig::trig_rows!(methods);
crate::ops::rounding::rounding_rows!(methods);
crate::ops::special::special_rows!(methods);
crate::ops::compare::compare_rows!(methods);
crate::ops::logic_bits::logic_bits_rows!(methods);

/// Selection.
impl<D: Dimension> DeviceArray<bool, D> {
    /// Elements of `yes` where the mask is true, of `no` where it is false.
    ///
    /// # Panics
    /// If the shapes do not broadcast together, or the operands are on two devices.
    ///
    /// ```
    /// use ndcuda::prelude::*;
    /// let x = Device::cpu().array(ndarray::arr1(&[-1.0f32, 2.0]))?;
    /// assert_eq!(x.greater(0.0).where_(&x, 0.0), ndarray::arr1(&[0.0, 2.0]));
    /// # Ok::<(), ndcuda::Error>(())
    /// ```
    #[doc(alias = "where")]
    #[doc(alias = "select")]
    #[track_caller]
    pub fn where_<T: Element, A: Operand<T>, B: Operand<T>>(&self, yes: A, no: B) -> Joined<T, D, A, B>
    where
        D: DimMax<A::Dim>,
        Joint<T, D, A>: DimMax<B::Dim>,
    {
        expect(self.try_where_(yes, no))
    }

    /// [`where_`](Self::where_) with an error in place of a panic.
    ///
    /// # Errors
    /// If the shapes do not broadcast together, or the operands are on two devices.
    #[track_caller]
    pub fn try_where_<T: Element, A: Operand<T>, B: Operand<T>>(&self, yes: A, no: B) -> Result<Joined<T, D, A, B>>
    where
        D: DimMax<A::Dim>,
        Joint<T, D, A>: DimMax<B::Dim>,
    {
        self.try_map3(&row::where_, yes, no)
    }
}

/// Whole powers.
impl<T: Number, D: Dimension> DeviceArray<T, D> {
    /// Powers with a whole exponent, by repeated squaring. Integers wrap.
    ///
    /// The relative error in floats is at most `n * EPSILON / 2` where nothing is subnormal, and for negative exponents, which are powers of the
    /// reciprocal, twice that. Beyond 64 it is [`powf`](Self::powf), where the type has `n` exactly.
    ///
    /// # Panics
    /// If an array of integers is given a negative exponent.
    ///
    /// ```
    /// use ndcuda::prelude::*;
    /// let x = Device::cpu().array(ndarray::arr1(&[2.0f32, -3.0]))?;
    /// assert_eq!(x.powi(3), ndarray::arr1(&[8.0, -27.0]));
    /// # Ok::<(), ndcuda::Error>(())
    /// ```
    #[doc(alias = "power")]
    #[track_caller]
    pub fn powi(&self, n: i32) -> DeviceArray<T, D> {
        let float = T::DTYPE.is_float();
        assert!(n >= 0 || float, "powi: an integer to the power {n} is no integer; cast to a float first");
        let exponent = T::from_f64(n.into());
        if float && (n == 0 || n.unsigned_abs() > 64) && exponent.to_f64() == f64::from(n) {
            return self.before_scalar(&row::powf, exponent);
        }
        if n == 0 {
            return self.before_scalar(&row::mul, T::ZERO).before_scalar(&row::add, T::ONE);
        }
        let mut left = n.unsigned_abs();
        // A power of the reciprocal, not the reciprocal of a power: that may be infinite where the result is a number.
        let mut square = if n < 0 { self.map1(&row::recip) } else { self.clone() };
        let mut power: Option<DeviceArray<T, D>> = None;
        loop {
            if left & 1 == 1 {
                power = Some(match power {
                    Some(power) => power.map2(&row::mul, &square),
                    None => square.clone(),
                });
            }
            left >>= 1;
            if left == 0 {
                break;
            }
            square = square.map1(&row::square);
        }
        power.unwrap_or(square)
    }
}
