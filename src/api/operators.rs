//! The std operators: `+ - * / % & | ^ << >>`, their assigning forms, `-` and `!`.
//!
//! An operand is an array, a reference to one, or a scalar, on either side; shapes broadcast. Every operator panics with both shapes where they
//! do not, and has a `try_` method that returns the error instead.

use crate::array::{DeviceArray, Operand, expect};
use crate::dtype::{Bits, Element, Integer, Number, Signed};
use crate::graph::build;
use crate::ops::{OpRef, row};
use half::{bf16, f16};
use ndarray::{DimMax, Dimension};
use std::ops::*;
use std::panic::Location;

impl<T: Element, D: Dimension> DeviceArray<T, D> {
    /// `scalar op self`. (A rank-0 array on the left would not do: that its rank gives way to `D` is known for each `D`, not for all.)
    #[track_caller]
    fn after_scalar(&self, row: OpRef, scalar: T) -> Self {
        let at = Location::caller();
        let (scalar, _) = scalar.operand(&self.device, at);
        DeviceArray::wrap(expect(build::map(row, &[&scalar, &self.value], at)), &self.device)
    }

    /// `self op scalar`, for any `D`.
    #[track_caller]
    pub(super) fn before_scalar(&self, row: OpRef, scalar: T) -> Self {
        let at = Location::caller();
        let (scalar, _) = scalar.operand(&self.device, at);
        DeviceArray::wrap(expect(build::map(row, &[&self.value, &scalar], at)), &self.device)
    }
}

macro_rules! binary {
    ($($class:ident $row:ident: $Op:ident $op:ident, $OpAssign:ident $op_assign:ident for $($t:ty)+;)*) => {$(
        impl<T: $class, D: Dimension + DimMax<O::Dim>, O: Operand<T>> $Op<O> for &DeviceArray<T, D> {
            type Output = DeviceArray<T, <D as DimMax<O::Dim>>::Output>;
            #[track_caller]
            fn $op(self, rhs: O) -> Self::Output {
                self.map2(&row::$row, rhs)
            }
        }

        impl<T: $class, D: Dimension + DimMax<O::Dim>, O: Operand<T>> $Op<O> for DeviceArray<T, D> {
            type Output = DeviceArray<T, <D as DimMax<O::Dim>>::Output>;
            #[track_caller]
            fn $op(self, rhs: O) -> Self::Output {
                self.map2(&row::$row, rhs)
            }
        }

        impl<T: $class, D: Dimension, O: Operand<T>> $OpAssign<O> for DeviceArray<T, D> {
            #[track_caller]
            fn $op_assign(&mut self, rhs: O) {
                self.assign_op(&row::$row, rhs);
            }
        }

        $(
            impl<D: Dimension> $Op<&DeviceArray<$t, D>> for $t {
                type Output = DeviceArray<$t, D>;
                #[track_caller]
                fn $op(self, rhs: &DeviceArray<$t, D>) -> DeviceArray<$t, D> {
                    rhs.after_scalar(&row::$row, self)
                }
            }

            impl<D: Dimension> $Op<DeviceArray<$t, D>> for $t {
                type Output = DeviceArray<$t, D>;
                #[track_caller]
                fn $op(self, rhs: DeviceArray<$t, D>) -> DeviceArray<$t, D> {
                    rhs.after_scalar(&row::$row, self)
                }
            }
        )+
    )*};
}

binary! {
    Number add: Add add, AddAssign add_assign for i8 i16 i32 i64 u8 u16 u32 u64 f16 bf16 f32 f64;
    Number sub: Sub sub, SubAssign sub_assign for i8 i16 i32 i64 u8 u16 u32 u64 f16 bf16 f32 f64;
    Number mul: Mul mul, MulAssign mul_assign for i8 i16 i32 i64 u8 u16 u32 u64 f16 bf16 f32 f64;
    Number div: Div div, DivAssign div_assign for i8 i16 i32 i64 u8 u16 u32 u64 f16 bf16 f32 f64;
    Number rem: Rem rem, RemAssign rem_assign for i8 i16 i32 i64 u8 u16 u32 u64 f16 bf16 f32 f64;
    Bits bit_and: BitAnd bitand, BitAndAssign bitand_assign for bool i8 i16 i32 i64 u8 u16 u32 u64;
    Bits bit_or: BitOr bitor, BitOrAssign bitor_assign for bool i8 i16 i32 i64 u8 u16 u32 u64;
    Bits bit_xor: BitXor bitxor, BitXorAssign bitxor_assign for bool i8 i16 i32 i64 u8 u16 u32 u64;
    Integer shl: Shl shl, ShlAssign shl_assign for i8 i16 i32 i64 u8 u16 u32 u64;
    Integer shr: Shr shr, ShrAssign shr_assign for i8 i16 i32 i64 u8 u16 u32 u64;
}

macro_rules! unary {
    ($($class:ident $row:ident: $Op:ident $op:ident;)*) => {$(
        impl<T: $class, D: Dimension> $Op for &DeviceArray<T, D> {
            type Output = DeviceArray<T, D>;
            #[track_caller]
            fn $op(self) -> DeviceArray<T, D> {
                self.map1(&row::$row)
            }
        }

        impl<T: $class, D: Dimension> $Op for DeviceArray<T, D> {
            type Output = DeviceArray<T, D>;
            #[track_caller]
            fn $op(self) -> DeviceArray<T, D> {
                self.map1(&row::$row)
            }
        }
    )*};
}

unary! {
    Signed neg: Neg neg;
    Bits bit_not: Not not;
}
