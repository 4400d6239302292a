//! The number types the loops run on, and the folds over them: `acc = step(acc, v)` with a neutral start.

use std::hint::select_unpredictable;
use std::marker::PhantomData;

/// A type whose values are compared. Max, and unsigned integers and bools, run as the min of the signed type, with the bits that
/// [`Lane::flip`] takes flipped: four times fewer loops to compile.
pub(super) trait Lane: Copy + PartialOrd + 'static {
    /// No value is above it (`inf` for floats).
    const HIGHEST: Self;
    /// Counts rows of a block, in as many bits as the value has.
    type Row: Copy + Into<i64>;
    /// How many rows it can count.
    const ROWS: usize;
    fn row(r: usize) -> Self::Row;
    /// The value with the bits of `mask` flipped.
    fn flip(self, mask: u64) -> Self;
    fn is_nan(self) -> bool;
    /// The value itself, with every NaN made the same NaN: which one survives an addition is up to the compiler.
    fn canonical(self) -> Self;
    /// Whether `self` replaces `best` as the least value: it is below, or the first NaN. In two comparisons and no branch.
    #[allow(clippy::neg_cmp_op_on_partial_ord)]
    #[inline(always)]
    fn beats(self, best: Self) -> bool {
        !(self >= best) & !best.is_nan()
    }
}

/// A type sums and products accumulate in; integers wrap, so that u64 is i64 here.
pub(super) trait Num: Lane {
    /// Whether results are rounded, so that the order of additions shows.
    const ROUNDS: bool;
    /// Adding it changes no bit of anything: -0.0 for floats.
    const NIL: Self;
    const ZERO: Self;
    const ONE: Self;
    fn add(self, b: Self) -> Self;
    fn mul(self, b: Self) -> Self;
}

/// A float moments are taken of.
pub(super) trait Real: Num {
    fn sub(self, b: Self) -> Self;
    fn div(self, b: Self) -> Self;
    fn from_f64(v: f64) -> Self;
}

macro_rules! ints {
    ($($t:ident $row:ident),*) => {$(
        impl Lane for $t {
            const HIGHEST: Self = $t::MAX;
            type Row = $row;
            const ROWS: usize = $row::MAX as usize;
            #[inline(always)]
            fn row(r: usize) -> $row { r as $row }
            #[inline(always)]
            fn flip(self, mask: u64) -> Self { self ^ mask as $t }
            #[inline(always)]
            fn is_nan(self) -> bool { false }
            #[inline(always)]
            fn canonical(self) -> Self { self }
        }
    )*};
}
ints! { i8 u8, i16 u16, i32 u32, i64 i64 }

impl Num for i64 {
    const ROUNDS: bool = false;
    const NIL: Self = 0;
    const ZERO: Self = 0;
    const ONE: Self = 1;
    #[inline(always)]
    fn add(self, b: Self) -> Self {
        self.wrapping_add(b)
    }
    #[inline(always)]
    fn mul(self, b: Self) -> Self {
        self.wrapping_mul(b)
    }
}

macro_rules! floats {
    ($($t:ident $bits:ident $row:ident),*) => {$(
        impl Lane for $t {
            const HIGHEST: Self = $t::INFINITY;
            type Row = $row;
            const ROWS: usize = $row::MAX as usize;
            #[inline(always)]
            fn row(r: usize) -> $row { r as $row }
            #[inline(always)]
            fn flip(self, mask: u64) -> Self { $t::from_bits(self.to_bits() ^ mask as $bits) }
            #[inline(always)]
            fn is_nan(self) -> bool { $t::is_nan(self) }
            #[inline(always)]
            fn canonical(self) -> Self { if $t::is_nan(self) { $t::NAN } else { self } }
        }
        impl Num for $t {
            const ROUNDS: bool = true;
            const NIL: Self = -0.0;
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            #[inline(always)]
            fn add(self, b: Self) -> Self { self + b }
            #[inline(always)]
            fn mul(self, b: Self) -> Self { self * b }
        }
        impl Real for $t {
            #[inline(always)]
            fn sub(self, b: Self) -> Self { self - b }
            #[inline(always)]
            fn div(self, b: Self) -> Self { self / b }
            #[inline(always)]
            fn from_f64(v: f64) -> Self { v as $t }
        }
    )*};
}
floats! { f32 u32 u32, f64 u64 i64 }

/// A reduction whose state is one value of the element's own type.
pub(super) trait Fold: 'static {
    type T: Lane;
    /// Whether the order of steps shows in the result.
    const ROUNDS: bool;
    /// `step(START, v)` and `step(v, START)` are `v`, bit for bit (of a NaN: some NaN).
    const START: Self::T;
    /// The result over nothing.
    const EMPTY: Self::T;
    /// To the values `step` works on, and back.
    fn turn(v: Self::T, flip: u64) -> Self::T;
    fn step(acc: Self::T, v: Self::T) -> Self::T;
}

pub(super) struct Sum<T>(PhantomData<T>);
pub(super) struct Prod<T>(PhantomData<T>);
pub(super) struct Min<T>(PhantomData<T>);

impl<T: Num> Fold for Sum<T> {
    type T = T;
    const ROUNDS: bool = T::ROUNDS;
    const START: T = T::NIL;
    const EMPTY: T = T::ZERO;
    #[inline(always)]
    fn turn(v: T, _flip: u64) -> T {
        v
    }
    #[inline(always)]
    fn step(acc: T, v: T) -> T {
        acc.add(v)
    }
}

impl<T: Num> Fold for Prod<T> {
    type T = T;
    const ROUNDS: bool = T::ROUNDS;
    const START: T = T::ONE;
    const EMPTY: T = T::ONE;
    #[inline(always)]
    fn turn(v: T, _flip: u64) -> T {
        v
    }
    #[inline(always)]
    fn step(acc: T, v: T) -> T {
        acc.mul(v)
    }
}

impl<T: Lane> Fold for Min<T> {
    type T = T;
    const ROUNDS: bool = false;
    const START: T = T::HIGHEST;
    const EMPTY: T = T::HIGHEST;
    #[inline(always)]
    fn turn(v: T, flip: u64) -> T {
        v.flip(flip)
    }
    /// One `min` instruction (it keeps a NaN in `acc`), then a blend that lets a NaN in `v` through.
    #[inline(always)]
    fn step(acc: T, v: T) -> T {
        let least = select_unpredictable(v < acc, v, acc);
        select_unpredictable(v.is_nan(), v, least)
    }
}
