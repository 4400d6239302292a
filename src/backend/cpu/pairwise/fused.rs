//! Two or three operations of a combine in one loop: the commonest pairs, and the sum that follows. The bits are those of
//! the operations one by one.

use crate::dtype::DType;
use crate::kernel::{Id, KOp, KernelIr};
use crate::ops::{Isa, Loop, row};
use std::sync::atomic::{Ordering, compiler_fence};

/// Adds `rows` rows of a combine of two tiles to sums, or starts them: `(a, b, rows, columns, fresh, sums)`. Columns are a
/// multiple of 16.
pub type Sum = unsafe fn(*const u8, *const u8, usize, usize, bool, *mut u8);

/// What is computed of two values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pair {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`
    Mul,
    /// `a / b`
    Div,
    /// `|a + b|`
    AbsAdd,
    /// `|a - b|`
    AbsSub,
    /// `(a - b)^2`
    SquareSub,
}

/// What value `n` is of two others, if it is one of these.
pub fn pair(ir: &KernelIr, n: Id) -> Option<(Pair, Id, Id)> {
    let inst = &ir.code[n as usize];
    let KOp::Map(r) = inst.op else { return None };
    let inner = &ir.code[inst.args[0] as usize];
    let two = |i: &crate::kernel::Inst, p| Some((p, i.args[0], i.args[1]));
    let is = |op: KOp, r| op == KOp::Map(r);
    let square = *r == row::square || *r == row::mul && inst.args[0] == inst.args[1];
    match inst.dtype {
        DType::F32 | DType::F64 => {}
        _ => return None,
    }
    if square && is(inner.op, &row::sub) {
        return two(inner, Pair::SquareSub);
    }
    match () {
        _ if *r == row::abs && is(inner.op, &row::sub) => two(inner, Pair::AbsSub),
        _ if *r == row::abs && is(inner.op, &row::add) => two(inner, Pair::AbsAdd),
        _ if *r == row::add => two(inst, Pair::Add),
        _ if *r == row::sub => two(inst, Pair::Sub),
        _ if *r == row::mul => two(inst, Pair::Mul),
        _ if *r == row::div => two(inst, Pair::Div),
        _ => None,
    }
}

/// Sums over `B` columns at a time, which stay in registers.
#[inline(always)]
unsafe fn sums<T: Copy + Default + std::ops::Add<Output = T>, const B: usize>(
    f: impl Fn(T, T) -> T,
    (a, b): (*const T, *const T),
    rows: usize,
    n: usize,
    fresh: bool,
    s: *mut T,
) {
    // SAFETY: the caller's: tiles of `rows * n` values, `n` sums.
    unsafe {
        for l0 in (0..n).step_by(B) {
            let mut acc = [T::default(); B];
            for (l, v) in acc.iter_mut().enumerate() {
                *v = if fresh { f(*a.add(l0 + l), *b.add(l0 + l)) } else { *s.add(l0 + l) };
            }
            for r in fresh as usize..rows {
                // Lanes are what is vectorised, not rows.
                compiler_fence(Ordering::SeqCst);
                for (l, v) in acc.iter_mut().enumerate() {
                    let at = r * n + l0 + l;
                    *v = *v + f(*a.add(at), *b.add(at));
                }
            }
            for (l, &v) in acc.iter().enumerate() {
                *s.add(l0 + l) = v;
            }
        }
    }
}

macro_rules! both {
    ($t:ty, $f:expr $(, $feature:literal)?) => {{
        $(#[target_feature(enable = $feature)])?
        unsafe fn sum(a: *const u8, b: *const u8, rows: usize, n: usize, fresh: bool, s: *mut u8) {
            let tiles = (a as *const $t, b as *const $t);
            // SAFETY: the caller's.
            unsafe {
                match n % (256 / size_of::<$t>()) {
                    0 => sums::<$t, { 256 / size_of::<$t>() }>($f, tiles, rows, n, fresh, s as *mut $t),
                    _ => sums::<$t, 16>($f, tiles, rows, n, fresh, s as *mut $t),
                }
            }
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn map(args: &[*const u8; 3], to: *mut u8, n: usize) {
            let (a, b, to) = (args[0] as *const $t, args[1] as *const $t, to as *mut $t);
            for e in 0..n {
                // SAFETY: the caller's: all hold `n` values, and the result is none of them.
                unsafe { *to.add(e) = $f(*a.add(e), *b.add(e)) }
            }
        }
        (sum as Sum, map as Loop)
    }};
}

macro_rules! table {
    ($pair:ident, $dtype:ident $(, $feature:literal)?) => {
        table!(@ $pair, $dtype, [$($feature)?],
            Add |a, b| a + b; Sub |a, b| a - b; Mul |a, b| a * b; Div |a, b| a / b;
            AbsAdd |a, b| (a + b).abs(); AbsSub |a, b| (a - b).abs(); SquareSub |a, b| { let d = a - b; d * d };)
    };
    (@ $pair:ident, $dtype:ident, $feature:tt, $($name:ident |$a:ident, $b:ident| $f:expr;)*) => {
        match ($pair, $dtype) {
            $((Pair::$name, DType::F32) => table!(# f32, |$a: f32, $b: f32| $f, $feature),
            (Pair::$name, _) => table!(# f64, |$a: f64, $b: f64| $f, $feature),)*
        }
    };
    (# $t:ty, $f:expr, []) => { both!($t, $f) };
    (# $t:ty, $f:expr, [$feature:literal]) => { both!($t, $f, $feature) };
}

/// The loops for f32 or f64: with the sum, and without.
pub fn loops(pair: Pair, dtype: DType, isa: Isa) -> (Sum, Loop) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => table!(pair, dtype, "avx512f,avx512dq,avx512vl,avx2,fma"),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => table!(pair, dtype, "avx2,fma"),
        _ => table!(pair, dtype),
    }
}
