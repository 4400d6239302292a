//! Pairwise kernels: a block computes a tile of results, with slices of both operands in shared memory. The (i, j, k) values exist in
//! registers only.
//!
//! What varies with (i, k) alone or (j, k) alone is computed once, when its slice is stored. Results fold k in segments of fixed length, so
//! that their bits do not depend on the tile.
//!
//! Where results are folded over j in their turn, a block walks tiles along j, and the matrix of pairs exists in registers only ([`above`]).
//! Where tiles are few and k is long, blocks share k ([`split`]).

mod above;
mod slices;
mod split;
mod text;

use super::factors;
use super::variant::{Access, Along, Variant};
use super::write::Writer;
use crate::error::Result;
use crate::kernel::{AxisSet, Class, FoldOrder, Id, KOp, KernelIr};

/// Length of a slice along k, where k is long.
const SLICE: usize = 8;
/// Shared memory for slices.
const SHARED: usize = 46 << 10;
/// Bytes of a state at most.
const STATE: usize = 24;

/// How a pairwise kernel is tiled.
pub(super) struct Plan {
    axes: Axes,
    tile: Tile,
    /// Length of a slice along k.
    slice: usize,
    /// The slice holds all of k.
    single: bool,
    /// Blocks share k.
    split: bool,
    /// Values kept in shared memory: those of (i, k), of (j, k), of k alone.
    staged: [Vec<Id>; 3],
    /// How the slices of both sides are filled.
    fill: [Fill; 2],
    /// Values of each (i, j, k).
    inner: Vec<Id>,
    folds: Vec<Fold>,
    /// Folds of the results over j.
    above: Vec<Id>,
}

/// A tile: warps of 4 x 8 lanes, each lane with `quads` of `run` x `run` results.
#[derive(Clone, Copy)]
pub(super) struct Tile {
    warps: [usize; 2],
    quads: [usize; 2],
    /// Neighbours that are read from shared memory at once: 16 bytes.
    run: usize,
    /// Blocks that share a processor.
    blocks: usize,
}

/// How threads share the work of filling a slice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Fill {
    /// Neighbours along k, one at a time.
    #[default]
    Steps,
    /// Runs along k.
    Runs,
    /// Neighbours along the rows, one at a time.
    Rows,
}

#[derive(Clone, Copy)]
struct Axes {
    i: AxisSet,
    j: AxisSet,
    k: AxisSet,
    batch: AxisSet,
}

/// A value kept in shared memory.
#[derive(Clone, Copy)]
struct Staged {
    id: Id,
    side: usize,
    /// Bytes of an element.
    size: usize,
    /// Its first byte in a slice.
    at: usize,
}

struct Fold {
    id: Id,
    /// The factors of a Sum's last multiply, which is fused with the addition.
    fma: Option<(Id, Id)>,
}

impl Tile {
    pub fn threads(&self) -> usize {
        32 * self.warps[0] * self.warps[1]
    }

    /// Results of a thread along i and along j.
    fn own(&self, side: usize) -> usize {
        self.quads[side] * self.run
    }

    /// Results of a block along i and along j.
    fn size(&self, side: usize) -> usize {
        self.warps[side] * [4, 8][side] * self.own(side)
    }

    /// The bounds for the compiler: threads, and blocks on a processor.
    pub fn bounds(&self) -> String {
        format!("{}, {}", self.threads(), self.blocks)
    }
}

impl Plan {
    pub fn tile(&self) -> Tile {
        self.tile
    }

    /// The number of tiles, where `count` gives the indices over a set of axes.
    pub fn tiles(&self, count: impl Fn(AxisSet) -> u64) -> u64 {
        let j = count(self.axes.j);
        self.rows_of_tiles(count) * j.div_ceil(self.tile.size(1) as u64)
    }

    fn rows_of_tiles(&self, count: impl Fn(AxisSet) -> u64) -> u64 {
        count(self.axes.batch) * count(self.axes.i).div_ceil(self.tile.size(0) as u64)
    }

    /// Whether an instruction varies with i, and whether with j.
    fn sides(&self, ir: &KernelIr, id: Id) -> (bool, bool) {
        self.axes.sides(ir.code[id as usize].over)
    }

    /// A fold that varies with one side alone, if so with which: a thread has one result of it. What varies with neither is done with i.
    fn lone(&self, ir: &KernelIr, id: Id) -> Option<usize> {
        match self.sides(ir, id) {
            (true, true) => None,
            (_, j) => Some(j as usize),
        }
    }

    /// Bytes of shared memory for what folds of one side give.
    fn shared_beside(&self, ir: &KernelIr) -> usize {
        let sides = self.folds.iter().filter_map(|f| self.lone(ir, f.id));
        sides.map(|side| self.tile.size(side) * STATE).sum()
    }

    fn pitch(&self, side: usize) -> usize {
        if side == 2 { 1 } else { self.tile.size(side) + self.tile.run }
    }

    /// Where each value that is kept in shared memory lies in a slice, with its side and the size of an element, and the slice's bytes.
    fn layout(&self, ir: &KernelIr) -> (Vec<Staged>, usize) {
        let (mut all, mut end) = (vec![], 0usize);
        for side in 0..3 {
            for &id in &self.staged[side] {
                let size = ir.code[id as usize].dtype.compute().size();
                all.push(Staged { id, side, size, at: end });
                end = (end + self.slice * self.pitch(side) * size).next_multiple_of(16);
            }
        }
        (all, end)
    }
}

impl Axes {
    fn sides(self, over: AxisSet) -> (bool, bool) {
        (!over.and(self.i).is_empty(), !over.and(self.j).is_empty())
    }
}

/// The axes of pairs. One row alone has no axis i: it is folded over j as it is beside others.
fn axes(ir: &KernelIr) -> Option<Axes> {
    if let Class::Pairwise { i, j, k, batch } = ir.class {
        return Some(Axes { i, j, k, batch });
    }
    let inner = ir.code.iter().find_map(|inst| match inst.op {
        KOp::Reduce { axes, .. } => Some(axes),
        _ => None,
    });
    let k = inner.filter(|_| ir.order == FoldOrder::Chain && ir.folds_folds())?;
    Some(Axes { i: AxisSet::EMPTY, j: ir.folded.minus(k), k, batch: ir.all_axes().minus(ir.folded) })
}

/// The plan of a kernel whose folds all go over k, side by side, with results over (i, j), and of one that folds these over j; `None` for
/// any other.
pub(super) fn plan(ir: &KernelIr, variant: &Variant) -> Option<Plan> {
    let axes = axes(ir)?;
    let Axes { i, j, k, batch } = axes;
    let all = i.union(j).union(k).union(batch);
    let over_j = ir.folded.minus(k);
    if j.is_empty() || all != ir.all_axes() || !(over_j.is_empty() || over_j == j) {
        return None;
    }
    let (mut folds, mut above) = (vec![], vec![]);
    let passes = ir.passes();
    for (at, inst) in ir.code.iter().enumerate() {
        match inst.op {
            KOp::Reduce { axes, .. } if axes == k && passes[at] == 1 => {
                folds.push(Fold { id: at as Id, fma: factors(ir, at as Id) });
            }
            KOp::Reduce { axes, .. } if axes == over_j && passes[at] == 2 => above.push(at as Id),
            KOp::Reduce { .. } => return None,
            KOp::Store(_) if !inst.over.and(ir.folded).is_empty() => return None,
            // What follows a fold over j must not walk j again.
            _ if passes[at] == 2 && !inst.over.and(over_j).is_empty() => return None,
            _ => {}
        }
    }
    // What follows the folds over j needs no fold over k beside them: there is none where j has no index.
    if above.is_empty() != over_j.is_empty() || !above.is_empty() && !ir.last_folds(k).is_empty() {
        return None;
    }
    let single = variant.slice > 0;
    let slice = if single { variant.slice as usize } else { SLICE };
    let tile = Tile { warps: [4, 2], quads: [2, 2], run: 4, blocks: 2 };
    let staged = [vec![], vec![], vec![]];
    let split = variant.split && !single && above.is_empty();
    let mut plan = Plan { axes, tile, slice, single, split, staged, fill: variant.fill, inner: vec![], folds, above };
    let of: Vec<Id> = plan.folds.iter().flat_map(|f| roots(ir, f)).collect();
    ir.visit(&of, |id| {
        let sides = plan.sides(ir, id);
        match sides {
            _ if matches!(ir.code[id as usize].op, KOp::Param(_)) => return false,
            (true, true) => plan.inner.push(id),
            (true, false) => plan.staged[0].push(id),
            (false, true) => plan.staged[1].push(id),
            (false, false) => plan.staged[2].push(id),
        }
        sides == (true, true)
    });
    plan.inner.sort_unstable();
    plan.staged.iter_mut().for_each(|s| s.sort_unstable());
    let size = |id: &Id| ir.code[*id as usize].dtype.compute().size();
    // Accumulators of a thread have to fit its registers.
    let states = |f: &Fold| match ir.code[f.id as usize].op {
        KOp::Reduce { reducer, .. } => reducer.states as usize * size(&ir.code[f.id as usize].args[0]),
        _ => 0,
    };
    let bytes: usize = plan.folds.iter().filter(|f| plan.sides(ir, f.id) == (true, true)).map(states).sum();
    let widest = plan.staged[..2].iter().flatten().map(size).max().unwrap_or(4);
    // Folds over j need tiles of one width: only their rows are fewer.
    let small = variant.small && plan.above.is_empty();
    let (warps, quads, run, blocks) = match (widest, bytes) {
        (8, ..=8) if small => ([2, 2], [2, 1], 2, 4),
        (8, ..=8) => ([2, 2], [4, 2], 2, 3),
        (8, _) => ([4, 2], [2, 1], 2, 1),
        (_, ..=4) if small => ([4, 1], [1, 2], 4, 4),
        (_, ..=4) => ([4, 2], [2, 2], 4, 2),
        (_, ..=8) => ([2, 2], [2, 1], 4, 3),
        _ => ([4, 2], [1, 1], 4, 1),
    };
    plan.tile = Tile { warps, quads, run, blocks };
    if variant.small && !plan.above.is_empty() {
        plan.halve(ir);
    }
    let buffers = if single { 1 } else { 2 };
    let bytes: usize = (0..3).map(|s| plan.staged[s].iter().map(size).sum::<usize>() * plan.pitch(s)).sum();
    let left = SHARED.checked_sub(plan.shared_above() + plan.shared_beside(ir))?;
    while !single && plan.slice * bytes * buffers > left {
        plan.slice /= 2;
    }
    (plan.slice >= 4 || single).then_some(plan)
}

/// What a launch allows: the slice that holds a short k, small tiles for few results, and how slices are filled.
pub(super) fn variant(along: Along<'_>) -> Variant {
    let (ir, extents) = (along.ir, &along.launch.extents);
    let count = |axes: AxisSet| axes.iter().map(|a| extents[a] as u64).product::<u64>();
    let Some(large) = plan(ir, &Variant::default()) else { return Variant::default() };
    let Axes { i, j, k: over_k, .. } = large.axes;
    let k = count(over_k);
    let fits = |n: u8| k <= n as u64 && large.slice >= SLICE;
    let slice = [1, 2, 3, 4, 8].into_iter().find(|&n| fits(n)).unwrap_or(0);
    let split = if slice == 0 { split::tile(ir, &large, count) } else { None };
    let small = split.unwrap_or_else(|| large.is_small(count));
    let one = Variant { slice, small, split: split.is_some(), ..Variant::default() };
    let Some(tiled) = plan(ir, &one).filter(|p| p.slice >= if slice > 0 { slice as usize } else { SLICE }) else {
        return Variant::default();
    };
    let Some(axis) = over_k.iter().last() else { return one };
    let run = tiled.tile.run;
    let mut v = Variant { width: run as u8, axis: axis as u8, ..one };
    for (side, own) in [i, j].into_iter().enumerate() {
        let loads = tiled.staged_loads(ir, side);
        let whole = extents[axis] % run == 0 && tiled.slice % run == 0;
        let moving: Vec<_> = loads.iter().filter(|l| l.1.has(axis)).collect();
        let lies = |l: &(u8, AxisSet)| along.access(l.0, l.1, axis, run as u8);
        for l in &loads {
            v.access[l.0 as usize] = lies(l);
        }
        let by_rows = |l: &(u8, AxisSet)| {
            let strides = &along.launch.operands[l.0 as usize].strides;
            let last = own.iter().last().map(|a| strides[a].unsigned_abs());
            last == Some(1) && strides[axis].unsigned_abs() != 1
        };
        v.fill[side] = match moving.is_empty() {
            false if whole && moving.iter().all(|l| matches!(lies(l), Access::Unit(_))) => Fill::Runs,
            false if moving.iter().all(|l| by_rows(l)) => Fill::Rows,
            _ => Fill::Steps,
        };
    }
    // An operand of both sides, or of (i, j, k), is read by its strides.
    for (o, access) in v.access.iter_mut().enumerate().take(ir.operands.len()) {
        let only = (0..2).filter(|&s| tiled.staged_loads(ir, s).iter().any(|l| l.0 as usize == o)).count() == 1;
        if !only {
            *access = Access::Strided;
        }
    }
    let results = ir.all_axes().minus(over_k);
    if let Some(last) = j.iter().last().filter(|&a| extents[a] % run == 0) {
        for inst in &ir.code {
            let KOp::Store(o) = inst.op else { continue };
            if inst.over == results {
                let lies = along.access(o, inst.over, last, run as u8);
                v.access[o as usize] = if lies == Access::Fixed { Access::Strided } else { lies };
            }
        }
    }
    v
}

impl Plan {
    /// The operands that a side's values load, each with the axes of the load.
    fn staged_loads(&self, ir: &KernelIr, side: usize) -> Vec<(u8, AxisSet)> {
        let load = |id: Id| match ir.code[id as usize].op {
            KOp::Load(o) => Some((o, ir.code[id as usize].over)),
            _ => None,
        };
        self.below(ir, &self.staged[side]).into_iter().filter_map(load).collect()
    }

    /// Everything that some values need, parameters and folds aside, in order.
    fn below(&self, ir: &KernelIr, of: &[Id]) -> Vec<Id> {
        let mut needed = vec![];
        ir.visit(of, |id| {
            let known = matches!(ir.code[id as usize].op, KOp::Param(_) | KOp::Reduce { .. });
            if !known {
                needed.push(id);
            }
            !known
        });
        needed.sort_unstable();
        needed
    }
}

/// The values a fold's step reads.
fn roots(ir: &KernelIr, fold: &Fold) -> Vec<Id> {
    match fold.fma {
        Some((a, b)) => vec![a, b],
        None => vec![ir.code[fold.id as usize].args[0]],
    }
}

/// What joins the parts of folds that blocks share.
pub(super) fn emit_join(w: &mut Writer, plan: &Plan) -> Result<()> {
    text::Pairwise { w, plan }.kernel_join()
}

pub(super) fn emit(w: &mut Writer, plan: &Plan) -> Result<()> {
    let mut text = text::Pairwise { w, plan };
    match plan.above.is_empty() {
        true if plan.split => text.kernel_split(),
        true => text.kernel(),
        false => text.kernel_above(),
    }
}
