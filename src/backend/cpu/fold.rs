//! Kernels with one fold over each result: a prologue on tiles, the fold, an epilogue on the results.
//!
//! Where the folded axis is innermost in memory, a tile's lanes run along it and each of its rows is folded into one
//! state; else the lanes are results and the tile's rows are folded into them. The order of a fold is fixed by the
//! extents and this choice: tiles into a chunk's state, chunks in order into the result. Threads share blocks of
//! results, or, where those are few, chunks; the bits are the same.

use super::map::{SERIAL, tile_size};
use super::program::{Compiler, Count, FoldOp, Reg, RegInfo, TOp, TileAxes};
use super::threads::Threads;
use super::tile::{Bad, Frame, Homes, OperandInfo, operands, scratch};
use crate::backend::Args;
use crate::error::Result;
use crate::kernel::{Class, Id, KOp, KernelIr, Launch};
use crate::ops::Isa;
use crate::ops::reduce::TILE;
use std::sync::Mutex;
use std::sync::PoisonError;

/// Elements of a chunk.
const CHUNK: usize = 1 << 16;

/// A compiled fold kernel.
pub struct Fold {
    launch: Launch,
    /// Lanes along the folded axis.
    along: bool,
    axes: TileAxes,
    o_outer: Vec<usize>,
    k_outer: Vec<usize>,
    lanes: usize,
    rows: usize,
    /// Successive rows folded side by side, so that short rows fill the lanes.
    side: usize,
    /// Elements that the homes of values hold.
    tile: usize,
    steps_per_chunk: usize,
    main_operands: Vec<OperandInfo>,
    end_operands: Vec<OperandInfo>,
    regs: Vec<RegInfo>,
    params: Vec<(u8, Reg)>,
    setup: Vec<TOp>,
    main: Vec<TOp>,
    folds: Vec<FoldOp>,
    end: Vec<TOp>,
    homes: Homes,
    isa: Isa,
}

/// The states of one block of results.
struct States {
    at: Vec<[usize; 2]>,
    bytes: usize,
}

impl Fold {
    /// Compiles a kernel whose folds need no other fold.
    pub fn new(ir: &KernelIr, launch: &Launch, isa: Isa) -> Result<Fold> {
        let rank = ir.axes as usize;
        let results: Vec<usize> = (0..rank).filter(|&a| !ir.folded.has(a)).collect();
        let folded: Vec<usize> = ir.folded.iter().collect();
        let along = orientation(ir, launch, &results);
        let (o, k) = (results.last().copied(), folded.last().copied());
        let axes = if along { TileAxes { lanes: k, rows: o } } else { TileAxes { lanes: o, rows: k } };
        let mut c = Compiler::new(ir, launch, isa);
        let (e_lane, e_row) = (c.extent(axes.lanes), c.extent(axes.rows));
        let ids: Vec<Id> =
            (0..ir.code.len()).filter(|&i| matches!(ir.code[i].op, KOp::Reduce { .. })).map(|i| i as Id).collect();
        let (mut main, mut end) = (vec![], vec![]);
        c.segment(axes, |_| false);
        let mut folds = vec![];
        for &id in &ids {
            folds.push(c.fold(id, Count::Tile, &mut main)?);
        }
        let plain = main.is_empty() && folds.iter().all(|f| f.direct.is_some());
        let lanes = e_lane.clamp(1, TILE);
        let (mut rows, mut side) = (1, 1);
        if along {
            if lanes == e_lane {
                rows = (TILE / lanes).clamp(1, e_row.max(1));
            }
            if plain {
                // Rows folded where they lie: several to a block.
                rows = rows.max((e_row / 32).clamp(1, 16));
            }
        } else {
            let ordered = folds.iter().any(|f| f.ordered);
            if lanes < 64 && lanes == e_lane && folded.len() == 1 && !ordered {
                side = (128 / lanes).max(1);
            }
            // Narrow rows read in place are one stream: tiles of several pages of it.
            let room = if plain && side > 1 { 4 * TILE } else { TILE };
            rows = (room / lanes).max(if plain { 8 } else { 1 });
            rows = rows.div_ceil(side) * side;
        }
        if side > 1 {
            // Rows side by side must lie without gaps; a copy makes them so.
            for (f, &id) in folds.iter_mut().zip(&ids) {
                let gap = |o: u8| axes.rows.map_or(0, |a| launch.operands[o as usize].strides[a]) != lanes as isize;
                if f.direct.is_some_and(gap) {
                    f.direct = None;
                    let dtype = ir.code[ir.code[id as usize].args[0] as usize].dtype;
                    f.arg = c.arg(ir.code[id as usize].args[0], dtype, Count::Tile, &mut main)?;
                }
            }
        }
        let per_step = if along { lanes } else { rows };
        let per_chunk = if along { CHUNK } else { (CHUNK / lanes).max(256) };
        // The results of a block, as one tile.
        let end_axes = TileAxes { lanes: o, rows: None };
        c.segment(end_axes, |_| false);
        for (f, &id) in folds.iter().zip(&ids) {
            c.result(id, f, &mut end);
        }
        for (id, inst) in ir.code.iter().enumerate() {
            if matches!(inst.op, KOp::Store(_)) {
                c.emit(id as Id, &mut end)?;
            }
        }
        let mut fixed: Vec<Reg> = c.params.iter().map(|p| p.1).collect();
        fixed.extend(folds.iter().flat_map(|f| [f.dst, f.arg]));
        // Rows in place need no room.
        let tile = if along && plain { TILE } else { (rows * lanes).max(TILE) };
        let homes = Homes::new(&c.regs, &[&c.setup, &main, &end], &fixed, tile, 0);
        debug_assert!(tile_size(&c.regs) > 0);
        Ok(Fold {
            launch: launch.clone(),
            along,
            axes,
            o_outer: results[..results.len().saturating_sub(1)].to_vec(),
            k_outer: folded[..folded.len() - 1].to_vec(),
            lanes,
            rows,
            side,
            tile,
            steps_per_chunk: (per_chunk / per_step).max(1),
            main_operands: operands(ir, launch, axes),
            end_operands: operands(ir, launch, end_axes),
            regs: c.regs,
            params: c.params,
            setup: c.setup,
            main,
            folds,
            end,
            homes,
            isa,
        })
    }

    fn extent(&self, axis: Option<usize>) -> usize {
        axis.map_or(1, |a| self.launch.extents[a])
    }

    /// Runs it.
    pub fn run(&self, threads: &Threads, args: &Args<'_>, bad: &Bad) -> Result<()> {
        let product = |axes: &[usize]| -> usize { axes.iter().map(|&a| self.launch.extents[a]).product() };
        let (o_axis, k_axis) =
            if self.along { (self.axes.rows, self.axes.lanes) } else { (self.axes.lanes, self.axes.rows) };
        let (per_block, per_step) = if self.along { (self.rows, self.lanes) } else { (self.lanes, self.rows) };
        let across = self.extent(o_axis).div_ceil(per_block);
        let blocks = product(&self.o_outer) * across;
        let k_tiles = self.extent(k_axis).div_ceil(per_step);
        let steps = product(&self.k_outer) * k_tiles;
        let chunks = steps.div_ceil(self.steps_per_chunk).max(1);
        let work: usize = self.launch.extents.iter().product();
        let serial = work <= SERIAL;
        let states = self.states();
        let run = Run { fold: self, args, across, k_tiles, steps, states: &states };
        if serial || chunks == 1 || blocks >= 4 * threads.count() {
            // Enough blocks to share; several small ones at a time.
            let group = (SERIAL / (work / blocks.max(1)).max(1))
                .clamp(1, 4096)
                .min(blocks.div_ceil(4 * threads.count()).max(1));
            return threads.spread_apart(blocks.div_ceil(group), serial, &|next| {
                run.thread(bad, |f, main, part| {
                    while let Some(u) = next() {
                        for b in u * group..((u + 1) * group).min(blocks) {
                            // The first chunk's states are the block's.
                            // SAFETY: the plan bound every operand to a buffer that covers the launch's extents.
                            let mut seen = unsafe { run.chunk(f, b, 0, main) };
                            for c in 1..chunks {
                                // SAFETY: as above.
                                seen = unsafe { run.merge(main, seen, part, run.chunk(f, b, c, part)) };
                            }
                            // SAFETY: as above.
                            unsafe { run.finish(f, b, main, seen) };
                        }
                    }
                });
            });
        }
        // Few results, long folds: chunks are shared, and merged in their order.
        let words = states.bytes.div_ceil(8);
        let parts: Vec<Mutex<(i64, Vec<u64>)>> = (0..blocks * chunks).map(|_| Mutex::new((0, vec![]))).collect();
        threads.spread_apart(blocks * chunks, false, &|next| {
            run.thread(bad, |f, _, part| {
                while let Some(u) = next() {
                    // SAFETY: as above.
                    let seen = unsafe { run.chunk(f, u / chunks, u % chunks, part) };
                    let mut copy = vec![0u64; words];
                    // SAFETY: both hold `states.bytes` bytes.
                    unsafe { std::ptr::copy_nonoverlapping(part, copy.as_mut_ptr() as *mut u8, states.bytes) };
                    *parts[u].lock().unwrap_or_else(PoisonError::into_inner) = (seen, copy);
                }
            });
        })?;
        run.thread(bad, |f, main, _| {
            for b in 0..blocks {
                let mut seen = 0;
                for p in &parts[b * chunks..(b + 1) * chunks] {
                    let mut p = p.lock().unwrap_or_else(PoisonError::into_inner);
                    let n = p.0;
                    // SAFETY: as above.
                    seen = unsafe { run.merge(main, seen, p.1.as_mut_ptr() as *mut u8, n) };
                }
                // SAFETY: as above.
                unsafe { run.finish(f, b, main, seen) };
            }
        });
        Ok(())
    }

    fn states(&self) -> States {
        let lanes = if self.along { self.rows } else { self.lanes * self.side };
        let mut s = States { at: vec![], bytes: 0 };
        for f in &self.folds {
            let first = s.bytes;
            let second = first + (lanes * f.sizes[0]).next_multiple_of(64);
            s.bytes = second + (lanes * f.sizes[1]).next_multiple_of(64);
            s.at.push([first, second]);
        }
        s
    }
}

/// Whether tiles should run along the folded axis.
fn orientation(ir: &KernelIr, launch: &Launch, results: &[usize]) -> bool {
    let (Some(&o), Some(k)) = (results.last(), ir.folded.iter().last()) else { return ir.class != Class::Columns };
    // Where what is folded lies side by side.
    let unit = |axis: usize| {
        ir.code.iter().any(|inst| match inst.op {
            KOp::Load(b) => {
                let strides = &launch.operands[b as usize].strides;
                strides[axis] == 1 && inst.over.has(o) && !inst.over.and(ir.folded).is_empty()
            }
            _ => false,
        })
    };
    match ir.class {
        Class::Columns => false,
        Class::Pairwise { .. } => !unit(o),
        _ => unit(k) || !unit(o),
    }
}

/// One run of a fold kernel.
struct Run<'a> {
    fold: &'a Fold,
    args: &'a Args<'a>,
    across: usize,
    k_tiles: usize,
    steps: usize,
    states: &'a States,
}

impl<'a> Run<'a> {
    fn thread(&self, bad: &'a Bad, body: impl FnOnce(&mut Frame<'a>, *mut u8, *mut u8)) {
        let k = self.fold;
        let states = self.states.bytes;
        scratch(k.homes.bytes + 2 * states, |base| {
            let rank = k.launch.extents.len();
            let mut f =
                Frame::new(&k.regs, &k.homes, base.wrapping_add(2 * states), &k.main_operands, self.args, rank, bad);
            // SAFETY: the homes were laid out for tiles of this size.
            unsafe { f.setup(&k.params, self.args.params, &k.setup, k.tile) };
            body(&mut f, base, base.wrapping_add(states));
        });
    }

    /// Sets the indices of a block of results, and how many it has.
    fn block(&self, f: &mut Frame<'a>, b: usize) -> usize {
        let k = self.fold;
        let (a, mut o) = (b % self.across, b / self.across);
        for &axis in k.o_outer.iter().rev() {
            f.index[axis] = o % k.launch.extents[axis];
            o /= k.launch.extents[axis];
        }
        let (axis, per) = if k.along { (k.axes.rows, k.rows) } else { (k.axes.lanes, k.lanes) };
        let Some(axis) = axis else { return 1 };
        f.index[axis] = a * per;
        (k.launch.extents[axis] - a * per).min(per)
    }

    /// Folds one chunk of a block into `part`; how many values along k that were.
    unsafe fn chunk(&self, f: &mut Frame<'a>, b: usize, c: usize, part: *mut u8) -> i64 {
        let k = self.fold;
        let n = self.block(f, b);
        f.operands = &k.main_operands;
        f.axes = k.axes;
        let isa = k.isa as usize;
        let lanes = if k.along { n } else { n * k.side };
        for (fold, at) in k.folds.iter().zip(&self.states.at) {
            // SAFETY: `part` holds the states of a block.
            unsafe { (fold.loops.init)(part.add(at[0]), part.add(at[1]), lanes) };
        }
        let (k_axis, per) = if k.along { (k.axes.lanes, k.lanes) } else { (k.axes.rows, k.rows) };
        let extent = k.extent(k_axis);
        let mut seen = 0i64;
        let end = ((c + 1) * k.steps_per_chunk).min(self.steps);
        let mut step = c * k.steps_per_chunk;
        while step < end {
            let (t, outer) = (step % self.k_tiles, step / self.k_tiles);
            // Memory folded as it lies: all tiles of a row at once.
            let plain = k.main.is_empty() && k.folds.iter().all(|f| f.direct.is_some());
            let span = if k.along && plain { (end - step).min(self.k_tiles - t) } else { 1 };
            step += span;
            let mut o = outer;
            for &axis in k.k_outer.iter().rev() {
                f.index[axis] = o % k.launch.extents[axis];
                o /= k.launch.extents[axis];
            }
            if let Some(a) = k_axis {
                f.index[a] = t * per;
            }
            let count = (extent - t * per).min(per * span);
            (f.rows, f.lanes) = if k.along { (n, count) } else { (count, n) };
            f.seek(&k.launch, self.args.bases);
            // SAFETY: the launch covers this tile.
            unsafe { f.run(&k.main) };
            let base = (outer * extent + t * per) as i64;
            for (fold, at) in k.folds.iter().zip(&self.states.at) {
                let (tile, pitch) = match fold.direct {
                    Some(o) => (f.ptrs[o as usize] as *const u8, f.operands[o as usize].row),
                    None => (f.cur[fold.arg as usize] as *const u8, f.lanes as isize),
                };
                let size = self.arg_size(fold);
                // SAFETY: the tile is `rows` rows of `lanes` values, `pitch` apart; the states hold all results.
                unsafe {
                    let (s0, s1) = (part.add(at[0]), part.add(at[1]));
                    if k.along {
                        for r in 0..n {
                            let row = tile.offset(r as isize * pitch * size as isize);
                            (fold.loops.rows[isa])(
                                row,
                                count,
                                base,
                                seen,
                                s0.add(r * fold.sizes[0]),
                                s1.add(r * fold.sizes[1]),
                            );
                        }
                    } else if pitch < 0 || k.side > 1 {
                        self.side_by_side(fold, tile, pitch, count, n, base, seen, s0, s1);
                    } else {
                        (fold.loops.cols_block[isa])(tile, count, n, pitch as usize, base, seen, s0, s1);
                    }
                }
            }
            seen += count as i64;
        }
        if !k.along && k.side > 1 {
            // SAFETY: as above.
            unsafe { self.join(n, seen, part) };
        }
        seen
    }

    fn arg_size(&self, fold: &FoldOp) -> usize {
        fold.sizes[0]
    }

    /// Rows of `n` values, `side` of them at once as one long row; what is left goes to the first.
    #[allow(clippy::too_many_arguments)]
    unsafe fn side_by_side(
        &self,
        fold: &FoldOp,
        tile: *const u8,
        pitch: isize,
        rows: usize,
        n: usize,
        base: i64,
        seen: i64,
        s0: *mut u8,
        s1: *mut u8,
    ) {
        let (k, isa) = (self.fold, self.fold.isa as usize);
        let size = self.arg_size(fold) as isize;
        let whole = rows / k.side;
        // Full tiles have whole groups: each lane has seen the same number before.
        let each = seen / k.side as i64;
        // SAFETY: the caller's.
        unsafe {
            if pitch >= 0 && whole > 0 {
                let wide = n * k.side;
                (fold.loops.cols_block[isa])(tile, whole, wide, wide, base, each, s0, s1);
            }
            let done = if pitch >= 0 { whole * k.side } else { 0 };
            let from = if pitch >= 0 { each + whole as i64 } else { seen };
            for r in done..rows {
                let row = tile.offset(r as isize * pitch * size);
                (fold.loops.cols[isa])(row, n, base + r as i64, from + (r - done) as i64, s0, s1);
            }
        }
    }

    /// Merges the lanes that stood side by side, in order, into the first `n`.
    unsafe fn join(&self, n: usize, seen: i64, part: *mut u8) {
        let k = self.fold;
        let (each, extra) = (seen / k.side as i64, seen % k.side as i64);
        for (fold, at) in k.folds.iter().zip(&self.states.at) {
            let mut have = each + extra;
            for g in 1..k.side {
                // SAFETY: the states hold `side * n` lanes.
                unsafe {
                    let (s0, s1) = (part.add(at[0]), part.add(at[1]));
                    let (f0, f1) = (s0.add(g * n * fold.sizes[0]), s1.add(g * n * fold.sizes[1]));
                    (fold.loops.merge[k.isa as usize])(n, have, each, s0, s1, f0, f1);
                }
                have += each;
            }
        }
    }

    /// Merges a chunk's states into the block's; how many values those hold then.
    unsafe fn merge(&self, main: *mut u8, have: i64, part: *mut u8, seen: i64) -> i64 {
        let k = self.fold;
        let lanes = if k.along { k.rows } else { k.lanes };
        for (fold, at) in k.folds.iter().zip(&self.states.at) {
            // SAFETY: both hold the states of a block.
            unsafe {
                let (m0, m1, p0, p1) = (main.add(at[0]), main.add(at[1]), part.add(at[0]), part.add(at[1]));
                if have == 0 {
                    std::ptr::copy_nonoverlapping(p0, m0, lanes * fold.sizes[0]);
                    std::ptr::copy_nonoverlapping(p1, m1, lanes * fold.sizes[1]);
                } else {
                    (fold.loops.merge[k.isa as usize])(lanes, have, seen, m0, m1, p0, p1);
                }
            }
        }
        have + seen
    }

    /// Results of a block, and what follows from them.
    unsafe fn finish(&self, f: &mut Frame<'a>, b: usize, main: *mut u8, seen: i64) {
        let k = self.fold;
        let n = self.block(f, b);
        for (fold, at) in k.folds.iter().zip(&self.states.at) {
            let to = f.home[fold.dst as usize];
            f.cur[fold.dst as usize] = to;
            // SAFETY: the home holds a tile of results.
            unsafe { (fold.loops.finish)(n, seen, main.add(at[0]), main.add(at[1]), to) };
        }
        for a in k.k_outer.iter().chain(if k.along { &k.axes.lanes } else { &k.axes.rows }) {
            f.index[*a] = 0;
        }
        f.operands = &k.end_operands;
        f.axes = TileAxes { lanes: if k.along { k.axes.rows } else { k.axes.lanes }, rows: None };
        (f.rows, f.lanes) = (1, n);
        f.seek(&k.launch, self.args.bases);
        // SAFETY: the launch covers the block.
        unsafe { f.run(&k.end) };
    }
}
