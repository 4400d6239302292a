//! What the schedule hands to a backend: one fused kernel as data, and where its operands lie.
//!
//! A kernel is a flat list of instructions in SSA form. `over` says which axes a value varies with: everything a
//! backend decides (what to hoist, what is a row, what is pairwise) it reads off these sets. Extents, strides,
//! offsets and scalars are no part of the kernel: they come with each [`Launch`].

pub mod gemm;
#[cfg(test)]
pub mod golden_tests;
pub mod limits;
pub mod text;
pub mod validate;

use crate::dtype::DType;
use crate::error::Error;
use crate::layout::{Strides, Taken};
use crate::ops::OpRef;
use crate::ops::reduce::ReducerRef;
use smallvec::SmallVec;
use std::ops::Range;

/// A set of kernel axes, a bit each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct AxisSet(pub u32);

impl AxisSet {
    /// No axis.
    pub const EMPTY: AxisSet = AxisSet(0);

    /// One axis.
    pub fn one(axis: usize) -> AxisSet {
        AxisSet(1 << axis)
    }

    /// The first `n` axes, 32 at most.
    pub fn first(n: usize) -> AxisSet {
        AxisSet(((1u64 << n) - 1) as u32)
    }

    /// Whether `axis` is in the set.
    pub fn has(self, axis: usize) -> bool {
        self.0 >> axis & 1 != 0
    }

    /// Axes in either.
    pub fn union(self, o: AxisSet) -> AxisSet {
        AxisSet(self.0 | o.0)
    }

    /// Axes in both.
    pub fn and(self, o: AxisSet) -> AxisSet {
        AxisSet(self.0 & o.0)
    }

    /// Axes in this one alone.
    pub fn minus(self, o: AxisSet) -> AxisSet {
        AxisSet(self.0 & !o.0)
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The axes in ascending order.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..32).filter(move |&a| self.has(a))
    }
}

/// Index of an instruction in [`KernelIr::code`].
pub type Id = u16;

/// What an instruction does. The schedule makes no scans and no scatters yet.
#[allow(dead_code)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum KOp {
    /// The element of an operand at the current index.
    Load(u8),
    /// The element of an operand at the index `args[0]` along its gathered axis; out of range fails the kernel.
    LoadAt(u8),
    /// A scalar of the launch.
    Param(u8),
    /// The current index along an axis, as i64.
    Index(u8),
    /// A row of the op table.
    Map(OpRef),
    /// Conversion to the instruction's dtype.
    Cast,
    /// A fold of `args[0]` over `axes`; the value is there after the loop over them.
    Reduce {
        /// The reducer.
        reducer: ReducerRef,
        /// The axes folded.
        axes: AxisSet,
    },
    /// The running fold of `args[0]` along `axis`, this index included.
    Scan {
        /// The reducer.
        reducer: ReducerRef,
        /// The axis walked.
        axis: u8,
    },
    /// Writes `args[0]` to an operand at the current index.
    Store(u8),
    /// Writes `args[1]` to an operand at the index `args[0]` along its gathered axis.
    StoreAt(u8),
}

/// One instruction: an operation, its arguments, its type, and the axes its value varies with.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Inst {
    /// What it does.
    pub op: KOp,
    /// Its arguments.
    pub args: SmallVec<[Id; 3]>,
    /// Type of its value.
    pub dtype: DType,
    /// Axes its value varies with.
    pub over: AxisSet,
}

/// How the loops stand around the instructions.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Nest {
    /// Instructions, in order.
    Insts(Range<Id>),
    /// A loop over axes around a body.
    Loop {
        /// The axes walked, outermost first by number.
        axes: AxisSet,
        /// What runs at each index.
        body: Vec<Nest>,
    },
}

/// What an operand is to the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// Read.
    In,
    /// Written.
    Out,
}

/// An array the kernel reads or writes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Operand {
    /// Type of its elements.
    pub dtype: DType,
    /// Read or written.
    pub role: Role,
}

/// The shape of a kernel's loops, which decides how a backend runs it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Class {
    /// No fold.
    Map,
    /// Folds over axes that are innermost in memory; several passes over a row where one fold needs another.
    Rows,
    /// Folds over axes that are not innermost in memory.
    Columns,
    /// A fold over `k` of operands that vary with (`i`, `k`) and with (`j`, `k`).
    Pairwise {
        /// Axes of the first operand.
        i: AxisSet,
        /// Axes of the second operand.
        j: AxisSet,
        /// Axes folded.
        k: AxisSet,
        /// Axes of both.
        batch: AxisSet,
    },
}

/// The order in which a kernel's float sums are folded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FoldOrder {
    /// As suits the backend: interleaved accumulators, a tree over them.
    Tree,
    /// A chain within segments of fixed length, and a left fold over segments: a result has the same bits however many
    /// rows are computed beside it.
    Chain,
}

/// Width of the index arithmetic a kernel needs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Width {
    /// Every index fits 31 bits.
    W32,
    /// Some index does not.
    W64,
}

/// The width that the indices of a kernel with these extents and operands need. Loops count results, or what a result folds, never both.
pub fn width(extents: &[usize], folded: AxisSet, binds: &[Bind]) -> Width {
    let far = binds.iter().any(|b| {
        let span: usize = extents.iter().zip(&b.strides).map(|(&n, s)| n.saturating_mul(s.unsigned_abs())).sum();
        span.saturating_add(b.offset.unsigned_abs()) > i32::MAX as usize
    });
    let count = |inside: bool| -> usize {
        let axes = extents.iter().enumerate().filter(|(a, _)| folded.has(*a) == inside);
        axes.fold(1, |product, (_, &n)| product.saturating_mul(n))
    };
    if far || count(false).max(count(true)) > i32::MAX as usize { Width::W64 } else { Width::W32 }
}

/// One fused kernel. Axes `0..outer` are those of the results, the rest are folded; within each the last is innermost.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct KernelIr {
    /// Number of axes.
    pub axes: u8,
    /// The order of its float sums.
    pub order: FoldOrder,
    /// Axes that some fold goes over (in a kernel of several passes they are also axes of a result).
    pub folded: AxisSet,
    /// The arrays, inputs first.
    pub operands: Vec<Operand>,
    /// Types of the scalars.
    pub params: Vec<DType>,
    /// The instructions.
    pub code: Vec<Inst>,
    /// The loops.
    pub nest: Nest,
    /// What kind of kernel this is.
    pub class: Class,
    /// Index width.
    pub index: Width,
}

impl KernelIr {
    /// Every axis.
    pub fn all_axes(&self) -> AxisSet {
        AxisSet::first(self.axes as usize)
    }

    /// Whether some fold is inside another: over other axes, in the inner loop.
    pub fn folds_folds(&self) -> bool {
        self.code.iter().any(|i| matches!(i.op, KOp::Reduce { axes, .. } if axes != self.folded))
    }

    /// Its stores.
    pub fn stores(&self) -> Vec<Id> {
        let is_store = |id: &Id| matches!(self.code[*id as usize].op, KOp::Store(_));
        (0..self.code.len() as Id).filter(is_store).collect()
    }

    /// Folds over `axes` that what is stored is made of, with no fold after them: of folds inside folds, those that what follows the outer ones needs.
    pub fn last_folds(&self, axes: AxisSet) -> Vec<Id> {
        let mut found = vec![];
        self.visit(&self.stores(), |id| {
            let KOp::Reduce { axes: own, .. } = self.code[id as usize].op else { return true };
            if own == axes {
                found.push(id);
            }
            false
        });
        found
    }

    /// The number of the last pass in which an instruction's value depends on folds: 0 where on none.
    pub fn passes(&self) -> Vec<u8> {
        let mut pass = vec![0u8; self.code.len()];
        for (i, inst) in self.code.iter().enumerate() {
            let p = inst.args.iter().map(|&a| pass[a as usize]).max().unwrap_or(0);
            pass[i] = p + matches!(inst.op, KOp::Reduce { .. }) as u8;
        }
        pass
    }

    /// Visits values and, where `enter` says so, what they are made of; each once.
    pub fn visit(&self, from: &[Id], mut enter: impl FnMut(Id) -> bool) {
        let mut seen = vec![false; self.code.len()];
        let mut todo = from.to_vec();
        while let Some(id) = todo.pop() {
            if !std::mem::replace(&mut seen[id as usize], true) && enter(id) {
                todo.extend(&self.code[id as usize].args);
            }
        }
    }
}

/// Where an operand of a launch lies: element `offset + sum strides * index` of the buffer in `slot`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bind {
    /// Which of the plan's buffers.
    pub slot: u32,
    /// Elements to add to the buffer's own offset.
    pub offset: isize,
    /// Stride of each kernel axis, in elements.
    pub strides: Strides,
    /// The axis that `LoadAt` and `StoreAt` index.
    pub gather: Option<Gather>,
}

/// The axis of an operand that a value indexes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gather {
    /// Elements from one index to the next.
    pub stride: isize,
    /// Valid indices.
    pub len: usize,
    /// What the user took.
    pub taken: Taken,
}

impl Gather {
    /// The error of an index beyond it.
    pub fn error(&self, index: i64) -> Error {
        self.taken.error(index, self.len)
    }
}

/// Where a scalar of a launch comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Param {
    /// The n-th scalar of the expression.
    Scalar(u32),
    /// A constant, by its bits.
    Const(u64),
}

/// The sizes, places and scalars of one launch of a kernel.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Launch {
    /// Extent of each axis.
    pub extents: SmallVec<[usize; 6]>,
    /// One for each operand.
    pub operands: Vec<Bind>,
    /// One for each scalar.
    pub params: Vec<Param>,
}

/// A matrix product: `out[b, i, j] = sum_k a[b, i, k] * b[b, k, j]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GemmSpec {
    /// A float; the 16-bit ones add up in f32.
    pub dtype: DType,
    /// Batch extents.
    pub batch: SmallVec<[usize; 4]>,
    /// Rows of the result.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// Length of the fold.
    pub k: usize,
    /// `a`, `b` and the result, with strides over (batch.., row, column). Where `a` is made in blocks: what makes it reads and writes,
    /// `a` last, then `b` and the result.
    pub operands: SmallVec<[Bind; 3]>,
    /// What makes `a`, which then lies in no memory as a whole.
    pub blocks: Option<Box<Blocks>>,
}

/// How an array of rows is made, in C order, so many rows at a time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Blocks {
    /// The kernel that makes all of it.
    pub ir: KernelIr,
    /// Its launch, the array as its last operand.
    pub launch: Launch,
    /// Its axis of rows.
    pub axis: usize,
    /// Rows of a block.
    pub rows: usize,
}

/// A selection: where along its last axis an array has its `k` smallest (or largest) elements, in order. Of equal ones the
/// first counts as smaller (or larger), zeros of both signs are equal, and NaN comes last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopKSpec {
    /// Any.
    pub dtype: DType,
    /// Extents of all axes but the last.
    pub batch: SmallVec<[usize; 4]>,
    /// Extent of the last axis.
    pub m: usize,
    /// How many are asked for: `m` at most.
    pub k: usize,
    /// The largest ones.
    pub largest: bool,
    /// The array and the indices (i64), with strides over all axes; the indices lie in C order. Where a kernel makes the
    /// array: that kernel's operands, the array last of them, then the indices and, where they are wanted, the elements.
    pub operands: SmallVec<[Bind; 2]>,
    /// The kernel that makes the array, which then lies in no memory.
    pub made: Option<Box<(KernelIr, Launch)>>,
}

/// One step of a plan.
#[derive(Debug)]
pub enum Step {
    /// A fused kernel.
    Kernel(KernelIr, Launch),
    /// A matrix product.
    Gemm(GemmSpec),
    /// A selection.
    TopK(TopKSpec),
}

impl Step {
    /// The fused kernel it runs, or selects from or multiplies what it makes.
    pub fn kernel(&self) -> Option<(&KernelIr, &Launch)> {
        match self {
            Step::Kernel(ir, launch) => Some((ir, launch)),
            Step::Gemm(spec) => spec.blocks.as_ref().map(|b| (&b.ir, &b.launch)),
            Step::TopK(spec) => spec.made.as_ref().map(|made| (&made.0, &made.1)),
        }
    }

    /// Where its operands lie.
    pub fn binds(&self) -> &[Bind] {
        match self {
            Step::Kernel(_, launch) => &launch.operands,
            Step::Gemm(spec) => &spec.operands,
            Step::TopK(spec) => &spec.operands,
        }
    }
}
