//! Kernels with folds: a group of threads walks each result's loop together, lane by lane. Loops within loops are walked by each thread alone.
//!
//! One fold may need another: then its loop comes after the other's. Where a row fits the registers of a block, later loops find there what
//! earlier ones loaded and computed; else they compute it again.
//!
//! The order of a fold follows from the kernel and its extents alone. Along x, a lane takes every so many-th run of [`order`] neighbours and folds
//! each place of the run by itself; along y, every so many-th value. Lanes are then folded by halves, and blocks in turn. A fold in chains is one of
//! segments, as pairwise kernels fold: each lane takes a segment, and they are joined from the first to the last.

mod walk;

use super::args::THREADS;
use super::variant::{Along, Variant, cost, widths};
use super::write::Writer;
use super::{SEGMENT, gathers};
use crate::backend::cuda::scope::{scope, targets, top};
use crate::error::Result;
use crate::kernel::{AxisSet, FoldOrder, Inst, KOp, KernelIr};

/// Whether no loop stands within another.
fn flat(ir: &KernelIr) -> bool {
    let (top, seen) = top(ir);
    top.groups.iter().all(|g| scope(ir, g.axes, &seen, &targets(ir, g)).groups.is_empty())
}

/// Whether folds go in segments.
fn chained(ir: &KernelIr) -> bool {
    ir.order == FoldOrder::Chain && flat(ir)
}

/// Neighbours that a lane takes at once along x: 16 bytes of the widest operand, 1 where loops stand within loops.
pub(super) fn order(ir: &KernelIr) -> u32 {
    let Some(axis) = ir.folded.iter().last().filter(|_| flat(ir)) else { return 1 };
    let short = |w: &u8| *w as usize * cost(ir) <= 192;
    widths(ir, axis).into_iter().filter(|w| *w <= 8).find(short).unwrap_or(1) as u32
}

/// The loops are one after another over the same axes: what one has in registers, the next can use.
fn several(ir: &KernelIr) -> bool {
    let groups = top(ir).0.groups;
    groups.len() > 1 && groups.iter().all(|g| g.axes == groups[0].axes)
}

/// Whether there is one loop, which stores nothing.
fn single(ir: &KernelIr) -> bool {
    matches!(&top(ir).0.groups[..], [one] if one.stores.is_empty())
}

/// Whether the fold may be cut over several blocks.
pub(super) fn splits(ir: &KernelIr) -> bool {
    !chained(ir) && single(ir)
}

/// How many folds end in the kernel's own scope.
pub(super) fn count(ir: &KernelIr) -> usize {
    top(ir).0.groups.iter().map(|g| g.folds.len()).sum()
}

/// How the threads of a block are laid out, and how many blocks share a result.
pub(super) struct Layout {
    pub lanes: u32,
    pub rows: u32,
    pub parts: u32,
    pub results: u64,
}

/// By extents alone, so that neither device nor variant changes the bits of a fold.
pub(super) fn layout(ir: &KernelIr, extents: &[usize], along_x: bool) -> Layout {
    let count = |axes: AxisSet| axes.iter().map(|a| extents[a] as u64).product::<u64>();
    let results = count(ir.all_axes().minus(ir.folded));
    let folded = top(ir).0.groups.iter().map(|g| count(g.axes)).max().unwrap_or(1);
    if chained(ir) {
        // A lane for each segment, as far as they go.
        let across = if along_x { THREADS / 32 } else { results.max(1).next_power_of_two().min(32) as u32 };
        let lanes = folded.div_ceil(SEGMENT as u64).next_power_of_two().min((THREADS / across) as u64) as u32;
        return Layout { lanes, rows: THREADS / lanes, parts: 1, results };
    }
    let (lanes, rows) = if along_x {
        // A warp for short rows, a block for long ones, and a large block where it keeps the row.
        let runs = folded.div_ceil(order(ir) as u64);
        let lanes = match runs {
            0..=32 => runs.next_power_of_two() as u32,
            _ if several(ir) && runs <= 128 => 32,
            _ if several(ir) && runs > 4 * THREADS as u64 && order(ir) > 1 => 1024,
            _ if !several(ir) && runs <= 512 => 32,
            _ => THREADS,
        };
        (lanes, (THREADS / lanes).max(1))
    } else {
        // Whole lines of memory where there are as many results.
        let across = results.max(1).next_power_of_two().min(32) as u32;
        let lanes = folded.div_ceil(8).next_power_of_two().min((THREADS / across) as u64) as u32;
        (lanes, THREADS / lanes)
    };
    let groups = results.div_ceil(rows as u64).max(1);
    // A long fold with few results is cut over several blocks: about 2048 in all, 32 values for each lane at least.
    let parts = match splits(ir) {
        true => (2048 / groups).min(folded / (32 * lanes as u64).max(256)).clamp(1, 1024),
        false => 1,
    };
    Layout { lanes, rows, parts: parts as u32, results }
}

/// Runs of a row that each lane keeps in registers: 0 where the row is too long, or needed once only.
fn resident(ir: &KernelIr, extents: &[usize]) -> u8 {
    if !several(ir) || chained(ir) {
        return 0;
    }
    let row: u64 = top(ir).0.groups[0].axes.iter().map(|a| extents[a] as u64).product();
    let runs = row.div_ceil(order(ir) as u64 * layout(ir, extents, true).lanes as u64);
    match runs.next_power_of_two() {
        r if r * order(ir) as u64 <= 32 && cost(ir) as u64 * r * order(ir) as u64 <= 2048 => r as u8,
        _ => 0,
    }
}

/// What a launch allows: vectors along rows, or of neighbouring columns, and rows kept in registers.
pub(super) fn variant(along: Along<'_>, along_x: bool) -> Variant {
    let (ir, extents) = (along.ir, &along.launch.extents);
    let last = |axes: AxisSet| axes.iter().last().map(|a| (a, extents[a]));
    if !along_x {
        // Columns are computed once more after their folds, where an index in place may be written over.
        let simple = !gathers(ir) && single(ir) && flat(ir);
        let Some((axis, n)) = last(ir.all_axes().minus(ir.folded)).filter(|_| simple) else {
            return Variant::default();
        };
        // A thread has a state for each column of a vector.
        let fits = |w: &u8| *w <= 8 && n % *w as usize == 0 && n >= 32 * *w as usize && *w as usize * cost(ir) <= 128;
        let ways = widths(ir, axis).into_iter().filter(fits);
        return ways.filter_map(|w| along.variant(axis, w)).next().unwrap_or_default();
    }
    let (width, resident) = (order(ir) as u8, resident(ir, extents));
    let vectors = last(ir.folded).and_then(|(axis, n)| {
        let flat = top(ir).0.groups.iter().all(|g| g.axes == AxisSet::one(axis)) || n % width as usize == 0;
        let inside = top(ir).0.groups.iter().all(|g| g.axes.has(axis));
        if width > 1 && flat && inside { along.variant(axis, width) } else { None }
    });
    let wide = layout(ir, extents, true).lanes > THREADS;
    Variant { resident, wide, ..vectors.unwrap_or_default() }
}

/// Whether a thread takes more registers than most do: for states of two values, for integers and what is smaller, or for indices along several axes.
pub(super) fn keeps_much(ir: &KernelIr) -> bool {
    let much = |i: &Inst| match i.op {
        KOp::Reduce { reducer, .. } => reducer.states > 1 || !ir.code[i.args[0] as usize].dtype.is_float(),
        KOp::Load(o) => ir.operands[o as usize].dtype.size() < 4,
        _ => false,
    };
    ir.folded.iter().count() > 1 || ir.code.iter().any(much)
}

pub(super) fn emit(w: &mut Writer, along_x: bool) -> Result<()> {
    walk::emit(w, along_x)
}
