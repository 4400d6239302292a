//! Few results of a long k: blocks share it.
//!
//! Each takes a run of segments of k and leaves the fold of each in scratch memory. A second kernel, a thread for each result, joins them in
//! order and goes on as one block would: a result has the bits that it has unshared. Where scratch memory does not hold all
//! segments, this is done in rounds, and what is joined so far lies in front of them.

use super::super::SEGMENT;
use super::super::args::Rounds;
use super::text::Pairwise;
use super::{Plan, STATE, plan};
use crate::backend::cuda::emit::variant::Variant;
use crate::error::Result;
use crate::kernel::{AxisSet, Id, KOp, KernelIr};

/// Tiles that fill a GPU alone; fewer share k.
const TILES: u64 = 128;
/// Segments that are worth sharing, at least.
const SEGMENTS: u64 = 4;
/// Processors that there are blocks for: for each as many as share one.
const PROCESSORS: u64 = 128;
/// Bytes of a round's states, about: caches of large GPUs hold them.
const BYTES: u64 = 16 << 20;
/// Segments of a round at least.
const LEAST: u64 = 8;

/// Where blocks are to share k, whether in small tiles.
pub(super) fn tile(ir: &KernelIr, large: &Plan, count: impl Fn(AxisSet) -> u64) -> Option<bool> {
    let segments = count(large.axes.k).div_ceil(SEGMENT as u64);
    let small = plan(ir, &Variant { small: true, ..Variant::default() })?;
    let [few, many] = [large, &small].map(|p| p.tiles(&count));
    if !large.above.is_empty() || many > TILES || segments < SEGMENTS {
        return None;
    }
    // Large ones, where they compute nothing more and are enough.
    Some(few * large.cells() > many * small.cells() || few * segments < 2 * PROCESSORS)
}

impl Plan {
    /// Whether blocks share k.
    pub fn split(&self) -> bool {
        self.split
    }

    /// Results of a tile.
    fn cells(&self) -> u64 {
        (self.tile.size(0) * self.tile.size(1)) as u64
    }

    /// Where blocks share k: how, the grid, and the bytes of scratch memory.
    pub fn rounds(&self, ir: &KernelIr, count: impl Fn(AxisSet) -> u64) -> Option<(Rounds, (u32, u32), usize)> {
        if !self.split {
            return None;
        }
        let (tiles, segments) = (self.tiles(&count).max(1), count(self.axes.k).div_ceil(SEGMENT as u64).max(1));
        let (whole, one) = (self.whole_bytes(ir) * tiles, self.segment_bytes(ir) * tiles);
        let rounds = segments.div_ceil((BYTES / one).max(LEAST));
        let each = segments.div_ceil(rounds);
        let parts = (PROCESSORS * self.tile.blocks as u64).div_ceil(tiles).min(each);
        let own = (self.tile.own(0) * self.tile.own(1)) as u64;
        let rounds = Rounds { segments, each, join: (tiles * own) as u32 };
        Some((rounds, (tiles as u32, parts as u32), (whole + each * one) as usize))
    }

    /// Bytes kept for a state of a fold.
    fn state_bytes(&self, ir: &KernelIr, id: Id) -> u64 {
        let inst = &ir.code[id as usize];
        match inst.op {
            KOp::Reduce { reducer, .. } if reducer.states == 1 => {
                ir.code[inst.args[0] as usize].dtype.compute().size() as u64
            }
            _ => STATE as u64,
        }
    }

    /// Bytes of the states of all segments so far, of a tile: one of each fold for each result.
    fn whole_bytes(&self, ir: &KernelIr) -> u64 {
        self.folds.iter().map(|f| (self.cells() * self.state_bytes(ir, f.id)).next_multiple_of(8)).sum()
    }

    /// Bytes of a fold's states of one segment of a tile.
    fn fold_bytes(&self, ir: &KernelIr, id: Id) -> u64 {
        let states = self.lone(ir, id).map_or(self.cells(), |side| self.tile.size(side) as u64);
        (states * self.state_bytes(ir, id)).next_multiple_of(8)
    }

    fn segment_bytes(&self, ir: &KernelIr) -> u64 {
        self.folds.iter().map(|f| self.fold_bytes(ir, f.id)).sum()
    }
}

impl Pairwise<'_, '_, '_> {
    /// The kernel that leaves the folds of a round's segments.
    pub fn kernel_split(&mut self) -> Result<()> {
        let plan = self.plan;
        let k = self.w.count(plan.axes.k);
        self.begin();
        self.place_of_tile("blockIdx.x");
        self.w.line(format_args!("const Count share = ((Count)a.round[1] + gridDim.y - 1) / gridDim.y;"));
        self.w.line(format_args!("if (blockIdx.y * share >= a.round[1]) return;"));
        self.w.line(format_args!("const Count start = ((Count)a.round[0] + blockIdx.y * share) * {SEGMENT};"));
        self.w.line(format_args!(
            "const Count segments = min((blockIdx.y + 1) * share, (Count)a.round[1]) + (Count)a.round[0];"
        ));
        self.w.block();
        self.w.line(format_args!("const Count nk = min({k}, segments * {SEGMENT});"));
        self.states();
        self.walk()?;
        self.w.close();
        Ok(())
    }

    /// The place of a tile, given its number.
    fn place_of_tile(&mut self, number: &str) {
        let tile = self.plan.tile;
        self.w.line(format_args!("const Count tiles_j = (nj + {}) / {};", tile.size(1) - 1, tile.size(1)));
        self.numbered(number);
    }

    /// Leaves the folds of the segment that is folded by now.
    pub fn leave_segment(&mut self) {
        let (plan, ir) = (self.plan, self.w.ir);
        let (tile, threads) = (plan.tile, plan.tile.threads());
        let (whole, one) = (plan.whole_bytes(ir), plan.segment_bytes(ir));
        self.w.block();
        self.again();
        self.w.line(format_args!(
            "const u64 segment = (last ? nk - 1 : ahead - {} - 1) / {SEGMENT} - a.round[0];",
            plan.slice
        ));
        self.w.line(format_args!(
            "char* const to = a.scratch + (u64)gridDim.x * {whole} + (segment * gridDim.x + blockIdx.x) * {one};"
        ));
        let mut from = 0;
        for n in 0..plan.folds.len() {
            let (id, r) = self.fold(n);
            self.w.line(format_args!("{r}::State* const left{id} = ({r}::State*)(to + {from});"));
            let bytes = plan.state_bytes(ir, id);
            self.w.line(format_args!("static_assert(sizeof({r}::State) <= {bytes}, \"a state of a fold\");"));
            match plan.lone(ir, id) {
                Some(side) => {
                    let (first, size) = (side * tile.size(0), tile.size(side));
                    self.w.line(format_args!("if (thread - {first} < {size}) left{id}[thread - {first}] = s{id};"));
                }
                None => {
                    let (row, col, own) = (self.place(0), self.place(1), tile.own(1));
                    self.each(id, |p, at| {
                        p.w.line(format_args!("const Count row = {row}, col = {col};"));
                        p.w.line(format_args!(
                            "if (row < ni && col < nj) left{id}[(r * {own} + c) * {threads} + thread] = s{id}{at};"
                        ));
                    });
                }
            }
            from += plan.fold_bytes(ir, id);
        }
        self.w.close();
    }

    /// The kernel that joins a round's segments, and after the last of them gives results.
    pub fn kernel_join(&mut self) -> Result<()> {
        let (plan, ir) = (self.plan, self.w.ir);
        let (tile, threads, axes) = (plan.tile, plan.tile.threads(), plan.axes);
        let own = tile.own(0) * tile.own(1);
        self.thread("threadIdx.x");
        self.extents();
        self.w.line(format_args!("const u32 cell = blockIdx.x % {own};"));
        self.w.line(format_args!("const u32 r = cell / {0}, c = cell % {0};", tile.own(1)));
        self.place_of_tile(&format!("blockIdx.x / {own}"));
        let (row, col) = (self.place(0), self.place(1));
        self.w.line(format_args!("const Count row = {row}, col = {col};"));
        self.w.line(format_args!("if (row >= ni || col >= nj) return;"));
        self.w.split("row", axes.i);
        self.w.split("col", axes.j);
        let (whole, one) = (plan.whole_bytes(ir), plan.segment_bytes(ir));
        self.w.line(format_args!("const u64 tiles = (u64)gridDim.x / {own}, first = a.round[0] == 0;"));
        self.w.line(format_args!("const bool done = a.round[0] + a.round[1] == (nk + {}) / {SEGMENT};", SEGMENT - 1));
        self.w.line(format_args!("char* const all = a.scratch + tile * {whole};"));
        self.w.line(format_args!("const char* const from = a.scratch + tiles * {whole} + tile * {one};"));
        let (mut at_whole, mut at) = (0, 0);
        for n in 0..plan.folds.len() {
            let (id, r) = self.fold(n);
            let place = match plan.lone(ir, id) {
                None => format!("cell * {threads} + thread"),
                Some(0) => "row - i0".into(),
                Some(_) => "col - j0".into(),
            };
            self.w.line(format_args!(
                "{r}::State* const all{id} = ({r}::State*)(all + {at_whole}) + cell * {threads} + thread;"
            ));
            self.w.line(format_args!("const {r}::State* const left{id} = (const {r}::State*)(from + {at}) + {place};"));
            self.w.line(format_args!("{r}::State s{id};"));
            self.w.line(format_args!("if (first) s{id} = *left{id};"));
            self.w.line(format_args!("else s{id} = *all{id};"));
            self.w.line(format_args!("#pragma unroll 8"));
            self.w.open(format_args!("for (u64 n = first; n < a.round[1]; ++n)"));
            self.w.line(format_args!(
                "{r}::merge(s{id}, *(const {r}::State*)((const char*)left{id} + n * tiles * {one}));"
            ));
            self.w.close();
            self.w.line(format_args!("if (!done) *all{id} = s{id};"));
            at_whole += (plan.cells() * plan.state_bytes(ir, id)).next_multiple_of(8);
            at += plan.fold_bytes(ir, id);
        }
        self.w.line(format_args!("if (!done) return;"));
        for n in 0..plan.folds.len() {
            let id = self.fold(n).0;
            self.w.finished(id, &format!("s{id}"), "(i64)nk");
        }
        let stores = ir.stores();
        let values: Vec<Id> = stores.iter().map(|&id| ir.code[id as usize].args[0]).collect();
        for id in plan.below(ir, &values) {
            self.w.value(id)?;
        }
        for id in stores {
            self.w.store(id, ir.all_axes().minus(axes.k), "");
        }
        Ok(())
    }
}
