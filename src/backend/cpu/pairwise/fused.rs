//! Two or three operations of a combine in one loop: the commonest chains, and the sum that follows. The bits are those of
//! the operations one by one, but for a sum of products: as in the micro-kernels, a product and its sum are rounded once where there is
//! an instruction that does so.

use crate::dtype::DType;
use crate::kernel::{Id, Inst, KOp, KernelIr};
use crate::ops::{Isa, Loop, OpRef, row};
use smallvec::{SmallVec, smallvec};
use std::sync::atomic::{Ordering, compiler_fence};

/// Adds `rows` rows of a combine of tiles to sums, or starts them: `(tiles, rows, columns, fresh, sums)`. Columns are a
/// multiple of 16. The first tile may be one value for each row.
pub type Sum = unsafe fn(&[*const u8; 3], usize, usize, bool, *mut u8);

/// What is computed of two values, or three.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Chain {
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
    /// `max(a + b, c)`, NaN if one is
    AddMax,
    /// `|a - b| / c`
    AbsSubDiv,
}

/// A chain, its operands, and the values on the way.
#[derive(Clone, Debug)]
pub struct Fused {
    /// What it does.
    pub chain: Chain,
    /// Its operands; the last again where it has two.
    pub args: [Id; 3],
    /// What no one else needs.
    pub inner: SmallVec<[Id; 2]>,
}

/// The loops of a chain: its sum, that with one value for each row as first operand, and the chain alone.
#[derive(Clone, Copy, Debug)]
pub struct Loops {
    /// Of tiles.
    pub sum: Sum,
    /// Of a value for each row, and tiles.
    pub sum_by_row: Sum,
    /// Without the sum.
    pub map: Loop,
}

impl Chain {
    /// Whether the first two operands may change places.
    pub fn is_symmetric(self) -> bool {
        !matches!(self, Chain::Sub | Chain::Div)
    }

    /// Whether it has two operands, the second of which stands in the third place too.
    pub fn has_two(self) -> bool {
        !matches!(self, Chain::AddMax | Chain::AbsSubDiv)
    }
}

/// What value `n` is of others, if it is one of these; what stands on the way is among `both`.
pub fn of(ir: &KernelIr, both: &[Id], n: Id) -> Option<Fused> {
    let inst = |n: Id| &ir.code[n as usize];
    let is = |n: Id, r: OpRef| inst(n).op == KOp::Map(r);
    let alone = |n: Id| both.contains(&n) && ir.code.iter().filter(|i| i.args.contains(&n)).count() == 1;
    let two = |chain, i: &Inst, inner| Some(Fused { chain, args: [i.args[0], i.args[1], i.args[1]], inner });
    if !matches!(inst(n).op, KOp::Map(_)) || !matches!(inst(n).dtype, DType::F32 | DType::F64) {
        return None;
    }
    let (own, a) = (inst(n), inst(n).args[0]);
    let square = is(n, &row::square) || is(n, &row::mul) && a == own.args[1];
    match () {
        _ if square && is(a, &row::sub) && alone(a) => two(Chain::SquareSub, inst(a), smallvec![a]),
        _ if is(n, &row::abs) && is(a, &row::sub) && alone(a) => two(Chain::AbsSub, inst(a), smallvec![a]),
        _ if is(n, &row::abs) && is(a, &row::add) && alone(a) => two(Chain::AbsAdd, inst(a), smallvec![a]),
        _ if is(n, &row::maximum) && is(a, &row::add) && alone(a) => {
            let [x, y] = [inst(a).args[0], inst(a).args[1]];
            Some(Fused { chain: Chain::AddMax, args: [x, y, own.args[1]], inner: smallvec![a] })
        }
        _ if is(n, &row::div) && is(a, &row::abs) && is(inst(a).args[0], &row::sub) => {
            let b = inst(a).args[0];
            let [x, y] = [inst(b).args[0], inst(b).args[1]];
            let fused = Fused { chain: Chain::AbsSubDiv, args: [x, y, own.args[1]], inner: smallvec![a, b] };
            if alone(a) && alone(b) { Some(fused) } else { two(Chain::Div, own, smallvec![]) }
        }
        _ if is(n, &row::add) => two(Chain::Add, own, smallvec![]),
        _ if is(n, &row::sub) => two(Chain::Sub, own, smallvec![]),
        _ if is(n, &row::mul) => two(Chain::Mul, own, smallvec![]),
        _ if is(n, &row::div) => two(Chain::Div, own, smallvec![]),
        _ => None,
    }
}

/// Sums over `B` columns at a time, which stay in registers; the first operand is a tile, or `BY_ROW`.
#[inline(always)]
unsafe fn sums<T: Copy + Default, const B: usize, const BY_ROW: bool>(
    f: impl Fn(T, T, T) -> T,
    step: impl Fn(T, T, T, T) -> T,
    (a, b, c): (*const T, *const T, *const T),
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
                let first = a.add(if BY_ROW { 0 } else { l0 + l });
                *v = if fresh { f(*first, *b.add(l0 + l), *c.add(l0 + l)) } else { *s.add(l0 + l) };
            }
            for r in fresh as usize..rows {
                // Lanes are what is vectorised, not rows.
                compiler_fence(Ordering::SeqCst);
                for (l, v) in acc.iter_mut().enumerate() {
                    let at = r * n + l0 + l;
                    *v = step(*v, *a.add(if BY_ROW { r } else { at }), *b.add(at), *c.add(at));
                }
            }
            for (l, &v) in acc.iter().enumerate() {
                *s.add(l0 + l) = v;
            }
        }
    }
}

macro_rules! both {
    ($t:ty, $f:expr, $step:expr $(, $feature:literal)?) => {{
        $(#[target_feature(enable = $feature)])?
        unsafe fn sum<const BY_ROW: bool>(tiles: &[*const u8; 3], rows: usize, n: usize, fresh: bool, s: *mut u8) {
            let tiles = (tiles[0] as *const $t, tiles[1] as *const $t, tiles[2] as *const $t);
            // SAFETY: the caller's.
            unsafe {
                match n % (256 / size_of::<$t>()) {
                    0 => sums::<$t, { 256 / size_of::<$t>() }, BY_ROW>($f, $step, tiles, rows, n, fresh, s as *mut $t),
                    _ => sums::<$t, 16, BY_ROW>($f, $step, tiles, rows, n, fresh, s as *mut $t),
                }
            }
        }
        $(#[target_feature(enable = $feature)])?
        unsafe fn map(args: &[*const u8; 3], to: *mut u8, n: usize) {
            let (a, b, c, to) = (args[0] as *const $t, args[1] as *const $t, args[2] as *const $t, to as *mut $t);
            for e in 0..n {
                // SAFETY: the caller's: all hold `n` values, and the result is none of them.
                unsafe { *to.add(e) = $f(*a.add(e), *b.add(e), *c.add(e)) }
            }
        }
        Loops { sum: sum::<false>, sum_by_row: sum::<true>, map }
    }};
}

/// `$a * $b + $s`, rounded once if so.
macro_rules! mul_add {
    ($fma:literal, $a:expr, $b:expr, $s:expr) => {
        if $fma { $a.mul_add($b, $s) } else { $a * $b + $s }
    };
}

macro_rules! table {
    ($chain:ident, $dtype:ident, $fma:literal $(, $feature:literal)?) => {
        table!(@ $chain, $dtype, [$($feature)?],
            Add |a, b, _c| a + b; Sub |a, b, _c| a - b; Div |a, b, _c| a / b;
            AbsAdd |a, b, _c| (a + b).abs(); AbsSub |a, b, _c| (a - b).abs();
            AddMax |a, b, c| { let s = a + b; if s >= c || s.is_nan() { s } else { c } };
            AbsSubDiv |a, b, c| (a - b).abs() / c;
            Mul |a, b, _c| a * b, |s| mul_add!($fma, a, b, s);
            SquareSub |a, b, _c| { let d = a - b; d * d }, |s| { let d = a - b; mul_add!($fma, d, d, s) };)
    };
    (@ $chain:ident, $dtype:ident, $feature:tt, $($name:ident |$a:ident, $b:ident, $c:ident| $f:expr $(, |$s:ident| $step:expr)?;)*) => {
        match ($chain, $dtype) {
            $((Chain::$name, DType::F32) => table!(# f32, $feature, |$a, $b, $c| $f $(, |$s| $step)?),
            (Chain::$name, _) => table!(# f64, $feature, |$a, $b, $c| $f $(, |$s| $step)?),)*
        }
    };
    (# $t:ty, [$($feature:literal)?], |$a:ident, $b:ident, $c:ident| $f:expr) => {
        both!($t, |$a: $t, $b: $t, $c: $t| $f, |s: $t, $a: $t, $b: $t, $c: $t| s + $f $(, $feature)?)
    };
    (# $t:ty, [$($feature:literal)?], |$a:ident, $b:ident, $c:ident| $f:expr, |$s:ident| $step:expr) => {
        both!($t, |$a: $t, $b: $t, $c: $t| $f, |$s: $t, $a: $t, $b: $t, $c: $t| $step $(, $feature)?)
    };
}

/// The loops for f32 or f64.
pub fn loops(chain: Chain, dtype: DType, isa: Isa) -> Loops {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => table!(chain, dtype, true, "avx512f,avx512dq,avx512vl,avx2,fma"),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => table!(chain, dtype, true, "avx2,fma"),
        _ => table!(chain, dtype, false),
    }
}
