//! Kernels without folds: tiles over the two innermost axes, outer indices shared among threads.

use super::program::{Compiler, Count, Reg, RegInfo, TOp, TileAxes};
use super::threads::{Threads, Worth};
use super::tile::{Bad, Frame, Homes, OperandInfo, PAST_CACHES, fence, operands, scratch};
use crate::backend::Args;
use crate::error::Result;
use crate::kernel::{Id, KOp, KernelIr, Launch, Role};
use crate::ops::Isa;

/// Scratch that tiles should fit: most of L1.
const L1: usize = 24 << 10;
/// Elements that one thread makes as soon as two.
pub const ALONE: usize = 16 << 10;
/// Elements to hand to a thread at a time, and where they are few.
const UNIT: (usize, usize) = (64 << 10, 4 << 10);

/// A compiled map kernel.
pub struct Map {
    launch: Launch,
    axes: TileAxes,
    outer: Vec<usize>,
    operands: Vec<OperandInfo>,
    regs: Vec<RegInfo>,
    params: Vec<(u8, Reg)>,
    setup: Vec<TOp>,
    ops: Vec<TOp>,
    homes: Homes,
    tile: usize,
    /// Rows and lanes of a full tile, and how many elements each thread takes at once.
    rows: usize,
    lanes: usize,
    /// Bytes written for each element.
    width: usize,
}

/// How many elements a tile may have so that its registers fit L1.
pub fn tile_size(regs: &[RegInfo]) -> usize {
    let per: usize = regs.iter().filter(|r| r.count == Count::Tile).map(|r| r.size).sum();
    let fits = L1 / per.max(1);
    (1usize << fits.max(1).ilog2()).clamp(256, 4096)
}

impl Map {
    /// Compiles a kernel of class `Map`.
    pub fn new(ir: &KernelIr, launch: &Launch, isa: Isa) -> Result<Map> {
        let rank = ir.axes as usize;
        let lanes_axis = rank.checked_sub(1);
        let rows_axis = rank.checked_sub(2);
        let axes = TileAxes { lanes: lanes_axis, rows: rows_axis };
        let mut c = Compiler::new(ir, launch, isa);
        c.segment(axes, |_| false);
        let mut ops = vec![];
        for (id, inst) in ir.code.iter().enumerate() {
            if matches!(inst.op, KOp::Store(_)) {
                c.emit(id as Id, &mut ops)?;
            }
        }
        let tile = tile_size(&c.regs);
        let (n, m) = (c.extent(lanes_axis), c.extent(rows_axis));
        let lanes = n.min(tile).max(1);
        let rows = if n <= tile / 2 { (tile / lanes).min(m).max(1) } else { 1 };
        let fixed: Vec<Reg> = c.params.iter().map(|p| p.1).collect();
        let homes = Homes::new(&c.regs, &[&c.setup, &ops], &fixed, tile, 0);
        let operands = operands(ir, launch, axes);
        Ok(Map {
            launch: launch.clone(),
            axes,
            outer: (0..rank.saturating_sub(2)).collect(),
            operands,
            regs: c.regs,
            params: c.params,
            setup: c.setup,
            ops,
            homes,
            tile,
            rows,
            lanes,
            width: ir.operands.iter().filter(|o| o.role == Role::Out).map(|o| o.dtype.size()).sum(),
        })
    }

    /// Runs it.
    pub fn run(&self, threads: &Threads, args: &Args<'_>, bad: &Bad) -> Result<()> {
        let ext = |a: Option<usize>| a.map_or(1, |a| self.launch.extents[a]);
        let (n, m) = (ext(self.axes.lanes), ext(self.axes.rows));
        let outer: usize = self.outer.iter().map(|&a| self.launch.extents[a]).product();
        // Tiles in order; a unit is a run of them worth handing to a thread.
        let (across, down) = (n.div_ceil(self.lanes), m.div_ceil(self.rows));
        let tiles = outer * across * down;
        let all = n * m * outer;
        let unit = (all / (4 * threads.count())).clamp(UNIT.1, UNIT.0);
        let run = (unit / (self.lanes * self.rows)).max(1);
        let past_caches = !args.in_place && all * self.width >= PAST_CACHES;
        threads.spread(tiles.div_ceil(run), Worth::of(all, ALONE), &|next| {
            let rank = self.launch.extents.len();
            scratch(self.homes.bytes, |base| {
                let mut f = Frame::new(&self.regs, &self.homes, base, &self.operands, args, rank, bad);
                f.axes = self.axes;
                f.past_caches = past_caches;
                // SAFETY: the plan bound every operand to a buffer that covers the launch's extents.
                unsafe { f.setup(&self.params, args.params, &self.setup, self.tile) };
                while let Some(u) = next() {
                    for t in u * run..((u + 1) * run).min(tiles) {
                        let (a, rest) = (t % across, t / across);
                        let (d, mut o) = (rest % down, rest / down);
                        for &axis in self.outer.iter().rev() {
                            f.index[axis] = o % self.launch.extents[axis];
                            o /= self.launch.extents[axis];
                        }
                        if let Some(l) = self.axes.lanes {
                            f.index[l] = a * self.lanes;
                        }
                        if let Some(r) = self.axes.rows {
                            f.index[r] = d * self.rows;
                        }
                        f.lanes = (n - a * self.lanes).min(self.lanes);
                        f.rows = (m - d * self.rows).min(self.rows);
                        f.seek(&self.launch, args.bases);
                        // SAFETY: as above.
                        unsafe { f.run(&self.ops) };
                    }
                }
                if past_caches {
                    fence();
                }
            });
        })
    }
}
