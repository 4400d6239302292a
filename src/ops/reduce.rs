//! The reducer table: each reduction's identity, step, merge and finish, as CPU loops and as CUDA C++.
//!
//! A reducer folds values along k into a **state** of one or two values a lane. The CPU loops work on tiles that fit L1; whoever calls them cuts k
//! into tiles, counts how many values a state has `seen`, and merges states of consecutive parts.
//!
//! What is promised of the bits: a result depends on the tiles and their order, not on the instruction set. Contiguous tiles are folded by 64
//! accumulators (value `e` of a tile into accumulator `e % 64`, but the last one that is left over after whole 64s into the last, those before it
//! into those before), and these by a tree of halves (`l` with `l + 32`, then 16, ...). Where that order
//! shows in the bits (sums and products of floats), several tiles are the leaves of a [`Tree`]: accumulator by accumulator, tiles are joined two by
//! two, these pairs two by two, and so on, before the accumulators are. Lanes of `cols` are plain left folds. There is no fma.
//!
//! Zeros of both signs are equal: min and max return either of them, arg reducers the first. NaN results have one bit pattern.

mod arg;
mod fold;
mod isa;
mod lane;
mod moments;
#[cfg(test)]
mod tests;

use crate::dtype::DType;
use crate::ops::Isa;
use arg::Args;
use fold::Folds;
use isa::loops;
use lane::{Min, Prod, Sum};
use moments::Moments;
use std::fmt;
use std::hash::{Hash, Hasher};

/// Sets `n` lanes of state to "nothing seen": `(s0, s1, n)`.
pub type Init = unsafe fn(*mut u8, *mut u8, usize);
/// Values of a contiguous tile at most: longer runs are folded tile by tile, in order. Part of what is promised.
pub const TILE: usize = 1024;
/// Accumulators of a contiguous tile: part of what is promised, too.
pub const LANES: usize = 64;

/// Folds `n` contiguous values into one state: `(tile, n, base, seen, s0, s1)`; `base` is the index along k of the first value. Reducers with a
/// [`Tree`] take one tile at most.
pub type Rows = unsafe fn(*const u8, usize, i64, i64, *mut u8, *mut u8);
/// Adds `n` contiguous values, a leaf for each [`TILE`] of them, to an open tree: `(tile, n, leaf, width, open)`; `leaf` leaves are there before.
pub type Leaves = unsafe fn(*const u8, usize, usize, usize, *mut u8);
/// Joins the `leaves` of an open tree into one state: `(leaves, width, open, s0)`.
pub type Close = unsafe fn(usize, usize, *const u8, *mut u8);
/// Folds value `l` of the tile into lane `l`, for `n` lanes: `(tile, n, k, seen, s0, s1)`; `k` is the index of these values along k.
pub type Cols = unsafe fn(*const u8, usize, i64, i64, *mut u8, *mut u8);
/// `rows` calls of [`Cols`] in one, with the same bits: `(tile, rows, n, pitch, k0, seen, s0, s1)`; row `r` is at `tile + r * pitch`
/// elements, has index `k0 + r`, and finds `seen + r` values in the states.
pub type ColsBlock = unsafe fn(*const u8, usize, usize, usize, i64, i64, *mut u8, *mut u8);
/// Merges lane `l` of `from`, which holds later values, into lane `l` of `into`: `(n, seen_into, seen_from, into0, into1, from0, from1)`.
pub type Merge = unsafe fn(usize, i64, i64, *mut u8, *mut u8, *const u8, *const u8);
/// Writes the results of `n` lanes, of [`ReducerRow::out`]'s type: `(n, seen, s0, s1, out)`.
pub type Finish = unsafe fn(usize, i64, *const u8, *const u8, *mut u8);

/// How a fold whose order shows in its bits joins several tiles: as the leaves of a tree whose shape their number gives.
///
/// An open tree of leaves is at most one node of each size (16 leaves and 4 and 1 where 21 were added), each of `width` accumulators: as many as the
/// first leaf has values, [`LANES`] at most. No other leaf may be longer, but where there are `LANES`.
#[derive(Clone, Copy, Debug)]
pub struct Tree {
    /// Adds leaves.
    pub leaves: [Leaves; 3],
    /// Makes a state of them.
    pub close: [Close; 3],
}

impl Tree {
    /// The nodes for which a tree of up to `leaves` leaves needs room, `width` values each.
    pub fn nodes(leaves: usize) -> usize {
        leaves.max(1).ilog2() as usize + 1
    }
}

/// A reducer's loops at one dtype; those that are compiled per instruction set are indexed by [`Isa`].
///
/// All pointers are to the types of [`ReducerRow::state0`] and [`ReducerRow::state1`], aligned for them; `s1` may be anything for a reducer of one
/// state. Where `seen` is 0 the state is not read. State and tile must not overlap.
#[derive(Clone, Copy, Debug)]
pub struct ReduceLoops {
    /// Empties states.
    pub init: Init,
    /// Folds a contiguous tile into one state.
    pub rows: [Rows; 3],
    /// How several tiles are folded into one state; `None` where `rows` takes them one after the other.
    pub tree: Option<Tree>,
    /// Folds one value into each lane.
    pub cols: [Cols; 3],
    /// Folds several values into each lane.
    pub cols_block: [ColsBlock; 3],
    /// Merges states.
    pub merge: [Merge; 3],
    /// Writes results.
    pub finish: Finish,
}

/// One reduction.
///
/// The `cuda_*` texts are C++ statements over `T`, the C++ name of the compute dtype, and `acc`, a struct with the members `cuda_state`.
/// `cuda_step` also reads `v` (a `T`) and `k` (its index, `long long`), `cuda_merge` reads `from` (a state), `cuda_finish` reads `seen` (how many
/// values were folded) and sets `out`. `nd_highest<T>()` and `nd_lowest<T>()` are the ends of T's range (infinities for floats).
pub struct ReducerRow {
    /// The name, as errors and traces spell it.
    pub name: &'static str,
    /// NumPy's name.
    pub numpy: &'static str,
    /// How many state arrays there are: 1 or 2.
    pub states: u8,
    /// The compute dtypes it runs on, a bit each; see [`ReducerRow::takes`].
    pub accepts: u16,
    /// The CPU loops at a compute dtype; `None` where it does not run on it.
    pub loops: fn(DType) -> Option<ReduceLoops>,
    /// The result's dtype, for an array's dtype.
    pub out: fn(DType) -> DType,
    /// Whether a reduction over nothing has a value.
    pub has_identity: bool,
    /// Folding a 0 changes nothing (but the sign of a zero).
    pub zero_neutral: bool,
    /// Needs its values in the order of k.
    pub ordered: bool,
    /// Members of the state struct.
    pub cuda_state: &'static str,
    /// Empties `acc`.
    pub cuda_init: &'static str,
    /// Folds `v` at index `k` into `acc`.
    pub cuda_step: &'static str,
    /// Folds the state `from` into `acc`.
    pub cuda_merge: &'static str,
    /// Sets `out` from `acc`.
    pub cuda_finish: &'static str,
    /// One line for the reader.
    pub doc: &'static str,
}

/// A row of the table.
pub type ReducerRef = &'static ReducerRow;

impl ReducerRow {
    /// Whether it runs on this compute dtype.
    pub const fn takes(&self, dtype: DType) -> bool {
        self.accepts & bit(dtype) != 0
    }

    /// Dtype of the first state array.
    pub const fn state0(&self, dtype: DType) -> DType {
        dtype
    }

    /// Dtype of the second state array: the index of an arg reducer, else that of the first.
    pub const fn state1(&self, dtype: DType) -> Option<DType> {
        match (self.states, self.ordered) {
            (1, _) => None,
            (_, true) => Some(DType::I64),
            (_, false) => Some(dtype),
        }
    }
}

impl PartialEq for ReducerRow {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for ReducerRow {}

impl Hash for ReducerRow {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl fmt::Debug for ReducerRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

const fn bit(dtype: DType) -> u16 {
    1 << dtype as u16
}

const FLOATS: u16 = bit(DType::F32) | bit(DType::F64);
const SUMS: u16 = FLOATS | bit(DType::I64) | bit(DType::U64);
/// Every compute dtype: all but the 16-bit floats.
const ORDERED: u16 = (1 << DType::ALL.len()) - 1 - bit(DType::F16) - bit(DType::BF16);

/// Loops over `SUMS`; u64 wraps as i64 does.
macro_rules! sums {
    ($fold:ident) => {
        |dtype| match dtype {
            DType::I64 | DType::U64 => Some(loops::<Folds<$fold<i64>>, 0>()),
            DType::F32 => Some(loops::<Folds<$fold<f32>>, 0>()),
            DType::F64 => Some(loops::<Folds<$fold<f64>>, 0>()),
            _ => None,
        }
    };
}

/// Bits to flip so that the signed type of the same size orders values as `dtype` does: the sign of an unsigned type. A bool becomes 126 or 127,
/// which makes the neutral 127 a `true`.
const fn least(dtype: DType) -> u64 {
    match dtype {
        DType::Bool => 126,
        DType::U8 | DType::U16 | DType::U32 | DType::U64 => 1 << (8 * dtype.size() - 1),
        _ => 0,
    }
}

/// Bits to flip so that it orders them the other way round: all of an integer, the sign of a float.
const fn greatest(dtype: DType) -> u64 {
    match dtype {
        DType::Bool => 127,
        d if d.is_float() => 1 << (8 * dtype.size() - 1),
        _ => !least(dtype),
    }
}

/// Loops over `ORDERED`, that go by `least` or `greatest`.
macro_rules! ordered {
    ($body:ident, $flip:ident) => {
        |dtype| match dtype {
            DType::Bool => Some(loops::<$body<i8>, { $flip(DType::Bool) }>()),
            DType::U8 => Some(loops::<$body<i8>, { $flip(DType::U8) }>()),
            DType::U16 => Some(loops::<$body<i16>, { $flip(DType::U16) }>()),
            DType::U32 => Some(loops::<$body<i32>, { $flip(DType::U32) }>()),
            DType::U64 => Some(loops::<$body<i64>, { $flip(DType::U64) }>()),
            DType::I8 => Some(loops::<$body<i8>, { $flip(DType::I8) }>()),
            DType::I16 => Some(loops::<$body<i16>, { $flip(DType::I16) }>()),
            DType::I32 => Some(loops::<$body<i32>, { $flip(DType::I32) }>()),
            DType::I64 => Some(loops::<$body<i64>, { $flip(DType::I64) }>()),
            DType::F32 => Some(loops::<$body<f32>, { $flip(DType::F32) }>()),
            DType::F64 => Some(loops::<$body<f64>, { $flip(DType::F64) }>()),
            DType::F16 | DType::BF16 => None,
        }
    };
}

type Mins<T> = Folds<Min<T>>;

/// The sum.
pub static SUM: ReducerRow = ReducerRow {
    name: "sum",
    numpy: "sum",
    states: 1,
    accepts: SUMS,
    loops: sums!(Sum),
    out: DType::sum,
    has_identity: true,
    zero_neutral: true,
    ordered: false,
    cuda_state: "T s0;",
    // -0.0 is the float that addition does not see.
    cuda_init: "acc.s0 = -T(0);",
    cuda_step: "acc.s0 = acc.s0 + v;",
    cuda_merge: "acc.s0 = acc.s0 + from.s0;",
    cuda_finish: "out = seen ? acc.s0 : T(0);",
    doc: "Sum; integers wrap, nothing sums to 0.",
};

/// The product.
pub static PROD: ReducerRow = ReducerRow {
    name: "product",
    numpy: "prod",
    states: 1,
    accepts: SUMS,
    loops: sums!(Prod),
    out: DType::sum,
    has_identity: true,
    zero_neutral: false,
    ordered: false,
    cuda_state: "T s0;",
    cuda_init: "acc.s0 = T(1);",
    cuda_step: "acc.s0 = acc.s0 * v;",
    cuda_merge: "acc.s0 = acc.s0 * from.s0;",
    cuda_finish: "out = acc.s0;",
    doc: "Product; integers wrap, the product of nothing is 1.",
};

/// The minimum.
pub static MIN: ReducerRow = ReducerRow {
    name: "min",
    numpy: "min",
    states: 1,
    accepts: ORDERED,
    loops: ordered!(Mins, least),
    out: |dtype| dtype,
    has_identity: false,
    zero_neutral: false,
    ordered: false,
    cuda_state: "T s0;",
    cuda_init: "acc.s0 = nd_highest<T>();",
    cuda_step: "acc.s0 = (v < acc.s0 || v != v) ? v : acc.s0;",
    cuda_merge: "acc.s0 = (from.s0 < acc.s0 || from.s0 != from.s0) ? from.s0 : acc.s0;",
    cuda_finish: "out = acc.s0;",
    doc: "Least value; NaN if there is one.",
};

/// The maximum.
pub static MAX: ReducerRow = ReducerRow {
    name: "max",
    numpy: "max",
    states: 1,
    accepts: ORDERED,
    loops: ordered!(Mins, greatest),
    out: |dtype| dtype,
    has_identity: false,
    zero_neutral: false,
    ordered: false,
    cuda_state: "T s0;",
    cuda_init: "acc.s0 = nd_lowest<T>();",
    cuda_step: "acc.s0 = (v > acc.s0 || v != v) ? v : acc.s0;",
    cuda_merge: "acc.s0 = (from.s0 > acc.s0 || from.s0 != from.s0) ? from.s0 : acc.s0;",
    cuda_finish: "out = acc.s0;",
    doc: "Greatest value; NaN if there is one.",
};

/// The index of the minimum.
pub static ARGMIN: ReducerRow = ReducerRow {
    name: "argmin",
    numpy: "argmin",
    states: 2,
    accepts: ORDERED,
    loops: ordered!(Args, least),
    out: |_| DType::I64,
    has_identity: false,
    zero_neutral: false,
    ordered: true,
    cuda_state: "T s0; long long s1;",
    // An index of -1 marks a state that has seen nothing.
    cuda_init: "acc.s0 = T(0); acc.s1 = -1;",
    cuda_step: "if (acc.s1 < 0 || v < acc.s0 || (v != v && acc.s0 == acc.s0)) { acc.s0 = v; acc.s1 = k; }",
    cuda_merge: "if (from.s1 >= 0 && (acc.s1 < 0 || from.s0 < acc.s0 || (from.s0 != from.s0 && acc.s0 == acc.s0) || \
        (from.s1 < acc.s1 && !(acc.s0 < from.s0 || (acc.s0 != acc.s0 && from.s0 == from.s0))))) acc = from;",
    cuda_finish: "out = acc.s1;",
    doc: "Index of the first least value, or of the first NaN.",
};

/// The index of the maximum.
pub static ARGMAX: ReducerRow = ReducerRow {
    name: "argmax",
    numpy: "argmax",
    states: 2,
    accepts: ORDERED,
    loops: ordered!(Args, greatest),
    out: |_| DType::I64,
    has_identity: false,
    zero_neutral: false,
    ordered: true,
    cuda_state: "T s0; long long s1;",
    cuda_init: "acc.s0 = T(0); acc.s1 = -1;",
    cuda_step: "if (acc.s1 < 0 || v > acc.s0 || (v != v && acc.s0 == acc.s0)) { acc.s0 = v; acc.s1 = k; }",
    cuda_merge: "if (from.s1 >= 0 && (acc.s1 < 0 || from.s0 > acc.s0 || (from.s0 != from.s0 && acc.s0 == acc.s0) || \
        (from.s1 < acc.s1 && !(acc.s0 > from.s0 || (acc.s0 != acc.s0 && from.s0 == from.s0))))) acc = from;",
    cuda_finish: "out = acc.s1;",
    doc: "Index of the first greatest value, or of the first NaN.",
};

/// Whether any value is true.
pub static ANY: ReducerRow = ReducerRow {
    name: "any",
    numpy: "any",
    states: 1,
    accepts: bit(DType::Bool),
    loops: |dtype| (dtype == DType::Bool).then(loops::<Mins<i8>, { greatest(DType::Bool) }>),
    out: |_| DType::Bool,
    has_identity: true,
    zero_neutral: true,
    ordered: false,
    cuda_state: "T s0;",
    cuda_init: "acc.s0 = T(0);",
    cuda_step: "acc.s0 = acc.s0 | v;",
    cuda_merge: "acc.s0 = acc.s0 | from.s0;",
    cuda_finish: "out = acc.s0;",
    doc: "True if a value is; false of nothing.",
};

/// Whether all values are true.
pub static ALL: ReducerRow = ReducerRow {
    name: "all",
    numpy: "all",
    states: 1,
    accepts: bit(DType::Bool),
    loops: |dtype| (dtype == DType::Bool).then(loops::<Mins<i8>, { least(DType::Bool) }>),
    out: |_| DType::Bool,
    has_identity: true,
    zero_neutral: false,
    ordered: false,
    cuda_state: "T s0;",
    cuda_init: "acc.s0 = T(1);",
    cuda_step: "acc.s0 = acc.s0 & v;",
    cuda_merge: "acc.s0 = acc.s0 & from.s0;",
    cuda_finish: "out = acc.s0;",
    doc: "True if every value is; true of nothing.",
};

/// The sum of squared deviations from the mean.
pub static MOMENTS: ReducerRow = ReducerRow {
    name: "moments",
    numpy: "var",
    states: 2,
    accepts: FLOATS,
    loops: |dtype| match dtype {
        DType::F32 => Some(loops::<Moments<f32>, 0>()),
        DType::F64 => Some(loops::<Moments<f64>, 0>()),
        _ => None,
    },
    out: |dtype| dtype,
    has_identity: true,
    zero_neutral: false,
    ordered: false,
    cuda_state: "T s0; T s1; long long n;",
    cuda_init: "acc.s0 = T(0); acc.s1 = T(0); acc.n = 0;",
    cuda_step: "{ acc.n += 1; T d = v - acc.s0; acc.s0 = acc.s0 + d / T(acc.n); acc.s1 = acc.s1 + d * (v - acc.s0); }",
    cuda_merge: "if (acc.n == 0) acc = from; else if (from.n != 0) { T share = T(double(from.n) / double(acc.n + from.n)); \
        T d = from.s0 - acc.s0; acc.s0 = acc.s0 + d * share; acc.s1 = acc.s1 + from.s1 + d * d * (T(acc.n) * share); acc.n += from.n; }",
    cuda_finish: "out = acc.s1;",
    doc: "Sum of squared deviations from the mean, which var divides by the count.",
};

/// Every reducer.
pub static ROWS: [ReducerRef; 9] = [&SUM, &PROD, &MIN, &MAX, &ARGMIN, &ARGMAX, &ANY, &ALL, &MOMENTS];

/// The tables of [`ReduceLoops`] have a place for every [`Isa`].
const _: () = assert!(Isa::Portable as usize == 0 && Isa::Avx2 as usize == 1 && Isa::Avx512 as usize == 2);
