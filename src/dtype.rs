//! Element types: the runtime [`DType`], the compile-time [`Element`] and its sub-traits.

use half::{bf16, f16};
use std::fmt;

/// The type of an array's elements, at run time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum DType {
    /// One byte, 0 or 1.
    Bool,
    /// Signed 8-bit integer.
    I8,
    /// Signed 16-bit integer.
    I16,
    /// Signed 32-bit integer.
    I32,
    /// Signed 64-bit integer.
    I64,
    /// Unsigned 8-bit integer.
    U8,
    /// Unsigned 16-bit integer.
    U16,
    /// Unsigned 32-bit integer.
    U32,
    /// Unsigned 64-bit integer.
    U64,
    /// IEEE half precision.
    F16,
    /// bfloat16: the upper half of an f32.
    BF16,
    /// IEEE single precision.
    F32,
    /// IEEE double precision.
    F64,
}

impl DType {
    /// Every dtype, in the order of their discriminants.
    pub const ALL: [DType; 13] = [
        DType::Bool,
        DType::I8,
        DType::I16,
        DType::I32,
        DType::I64,
        DType::U8,
        DType::U16,
        DType::U32,
        DType::U64,
        DType::F16,
        DType::BF16,
        DType::F32,
        DType::F64,
    ];

    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            DType::Bool | DType::I8 | DType::U8 => 1,
            DType::I16 | DType::U16 | DType::F16 | DType::BF16 => 2,
            DType::I32 | DType::U32 | DType::F32 => 4,
            DType::I64 | DType::U64 | DType::F64 => 8,
        }
    }

    /// f16, bf16, f32 or f64.
    pub const fn is_float(self) -> bool {
        matches!(self, DType::F16 | DType::BF16 | DType::F32 | DType::F64)
    }

    /// A signed or unsigned integer (bool is not one).
    pub const fn is_int(self) -> bool {
        !self.is_float() && !matches!(self, DType::Bool)
    }

    /// An unsigned integer.
    pub const fn is_unsigned(self) -> bool {
        matches!(self, DType::U8 | DType::U16 | DType::U32 | DType::U64)
    }

    /// A signed integer.
    pub const fn is_signed_int(self) -> bool {
        matches!(self, DType::I8 | DType::I16 | DType::I32 | DType::I64)
    }

    /// The type arithmetic is done in: f32 for the 16-bit floats, else the type itself.
    pub const fn compute(self) -> DType {
        match self {
            DType::F16 | DType::BF16 => DType::F32,
            d => d,
        }
    }

    /// What sums and products accumulate in and return: i64/u64 for bool and integers, else the type itself.
    pub const fn sum(self) -> DType {
        match self {
            DType::Bool | DType::I8 | DType::I16 | DType::I32 | DType::I64 => DType::I64,
            DType::U8 | DType::U16 | DType::U32 | DType::U64 => DType::U64,
            d => d,
        }
    }

    /// The name as Rust spells it (`f32`).
    pub const fn name(self) -> &'static str {
        match self {
            DType::Bool => "bool",
            DType::I8 => "i8",
            DType::I16 => "i16",
            DType::I32 => "i32",
            DType::I64 => "i64",
            DType::U8 => "u8",
            DType::U16 => "u16",
            DType::U32 => "u32",
            DType::U64 => "u64",
            DType::F16 => "f16",
            DType::BF16 => "bf16",
            DType::F32 => "f32",
            DType::F64 => "f64",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A type an array can hold: bool, i8..i64, u8..u64, f16, bf16, f32, f64. Sealed.
pub trait Element:
    sealed::Sealed + Copy + Send + Sync + fmt::Debug + fmt::Display + PartialEq + PartialOrd + Default + 'static
{
    /// This type's [`DType`].
    const DTYPE: DType;
    /// What `sum` and `product` return: i64/u64 for bool and integers, the type itself for floats.
    type Sum: Element;
    /// What `mean`, `var` and `std` return: f64 for bool and integers, the type itself for floats.
    type Mean: Float;
    /// Zero (`false`).
    const ZERO: Self;
    /// One (`true`).
    const ONE: Self;
    /// The bits, zero-extended: how scalars travel to a kernel.
    fn to_bits64(self) -> u64;
    /// The inverse of [`Element::to_bits64`]; upper bits are ignored.
    fn from_bits64(bits: u64) -> Self;
    /// The nearest f64 (as `as` converts; bool is 0 or 1).
    fn to_f64(self) -> f64;
    /// From an f64, as `as` converts (saturating for integers; non-zero is `true`).
    fn from_f64(v: f64) -> Self;
}

/// Elements with arithmetic: everything but bool.
pub trait Number: Element {}
/// Numbers with a sign: i8..i64 and the floats.
pub trait Signed: Number {}
/// i8..i64 and u8..u64.
pub trait Integer: Number {}
/// Integers and bool: what bitwise operators take.
pub trait Bits: Element {}
/// f16, bf16, f32, f64.
pub trait Float: Signed {}

macro_rules! element {
    ($($t:ty, $dt:ident, $sum:ty, $mean:ty, $zero:expr, $one:expr, |$x:ident| $to:expr, |$b:ident| $from:expr, |$y:ident| $f64:expr, |$z:ident| $of64:expr;)*) => {$(
        impl sealed::Sealed for $t {}
        impl Element for $t {
            const DTYPE: DType = DType::$dt;
            type Sum = $sum;
            type Mean = $mean;
            const ZERO: Self = $zero;
            const ONE: Self = $one;
            #[inline]
            fn to_bits64(self) -> u64 { let $x = self; $to }
            #[inline]
            fn from_bits64($b: u64) -> Self { $from }
            #[inline]
            fn to_f64(self) -> f64 { let $y = self; $f64 }
            #[inline]
            fn from_f64($z: f64) -> Self { $of64 }
        }
    )*};
}

element! {
    bool, Bool, i64, f64, false, true, |x| x as u64, |b| b & 1 != 0, |x| x as u8 as f64, |v| v != 0.0;
    i8, I8, i64, f64, 0, 1, |x| x as u8 as u64, |b| b as i8, |x| x as f64, |v| v as i8;
    i16, I16, i64, f64, 0, 1, |x| x as u16 as u64, |b| b as i16, |x| x as f64, |v| v as i16;
    i32, I32, i64, f64, 0, 1, |x| x as u32 as u64, |b| b as i32, |x| x as f64, |v| v as i32;
    i64, I64, i64, f64, 0, 1, |x| x as u64, |b| b as i64, |x| x as f64, |v| v as i64;
    u8, U8, u64, f64, 0, 1, |x| x as u64, |b| b as u8, |x| x as f64, |v| v as u8;
    u16, U16, u64, f64, 0, 1, |x| x as u64, |b| b as u16, |x| x as f64, |v| v as u16;
    u32, U32, u64, f64, 0, 1, |x| x as u64, |b| b as u32, |x| x as f64, |v| v as u32;
    u64, U64, u64, f64, 0, 1, |x| x, |b| b, |x| x as f64, |v| v as u64;
    f16, F16, f16, f16, f16::ZERO, f16::ONE, |x| x.to_bits() as u64, |b| f16::from_bits(b as u16), |x| x.to_f64(), |v| f16::from_f32(to_odd(v));
    bf16, BF16, bf16, bf16, bf16::ZERO, bf16::ONE, |x| x.to_bits() as u64, |b| bf16::from_bits(b as u16), |x| x.to_f64(), |v| bf16::from_f32(to_odd(v));
    f32, F32, f32, f32, 0.0, 1.0, |x| x.to_bits() as u64, |b| f32::from_bits(b as u32), |x| x as f64, |v| v as f32;
    f64, F64, f64, f64, 0.0, 1.0, |x| x.to_bits(), |b| f64::from_bits(b), |x| x, |v| v;
}

/// An f64 as f32, inexact values rounded to odd: rounding that once more to 16 bits is then right. (`half` looks at an
/// f64's upper half alone.)
fn to_odd(v: f64) -> f32 {
    let near = v as f32;
    if near.is_nan() || near as f64 == v {
        return near;
    }
    let bits = near.to_bits();
    // Towards zero, then odd.
    let down = if (near as f64).abs() > v.abs() { bits - 1 } else { bits };
    f32::from_bits(down | 1)
}

macro_rules! mark {
    ($($tr:ident: $($t:ty),*;)*) => {$($(impl $tr for $t {})*)*};
}

mark! {
    Number: i8, i16, i32, i64, u8, u16, u32, u64, f16, bf16, f32, f64;
    Signed: i8, i16, i32, i64, f16, bf16, f32, f64;
    Integer: i8, i16, i32, i64, u8, u16, u32, u64;
    Bits: bool, i8, i16, i32, i64, u8, u16, u32, u64;
    Float: f16, bf16, f32, f64;
}
