//! Kernels with one fold over each result: a prologue on tiles, the fold, an epilogue on the results.
//!
//! Where the folded axis is innermost in memory, a tile's lanes run along it and each of its rows is folded into one
//! state; else the lanes are results and the tile's rows are folded into them. The order of a fold is fixed by the
//! extents and this choice. What is folded is cut into leaves, leaves into chunks, a power of two of leaves each. Sums and
//! products of floats are chains within a leaf, a tree over leaves and a tree over chunks; all other folds go through a chunk
//! in order. Threads share blocks of results, or, where those are few, chunks; the bits are the same.

use super::map::{ALONE, tile_size};
use super::program::{Compiler, Count, FoldOp, Reg, RegInfo, TOp, TileAxes};
use super::states::{Open, States, Waiting, in_pairs};
use super::threads::{Threads, Worth};
use super::tile::{Bad, Frame, Homes, OperandInfo, operands, scratch};
use crate::backend::Args;
use crate::error::Result;
use crate::kernel::{Class, Id, KOp, KernelIr, Launch};
use crate::ops::Isa;
use crate::ops::reduce::{LANES, TILE, Tree};
use std::sync::Mutex;
use std::sync::PoisonError;

/// Elements of a chunk, about.
const CHUNK: usize = 1 << 16;
/// Rows of a leaf where lanes are results: a chain of as many. Part of the order of a fold.
const CHAIN: usize = 32;

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
    /// Elements of the folded axis in a leaf.
    leaf: usize,
    /// Leaves along that axis; what is too short for `side` joins the last.
    leaves: usize,
    leaves_per_chunk: usize,
    states: States,
    open: Open,
    /// Memory that is folded as it lies.
    plain: bool,
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
        let (mut rows, mut side, mut leaf) = (1, 1, lanes);
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
                // A power of two, so that they are joined by halves.
                side = 1 << (128 / lanes).ilog2();
            }
            // Narrow rows read in place are one stream: tiles of several pages of it.
            let room = if plain && side > 1 { 4 * TILE } else { TILE };
            rows = (room / lanes / side).max(if plain { 8 } else { 1 }) * side;
            if folds.iter().any(|f| f.loops.tree.is_some()) {
                // Leaves are whole tiles.
                leaf = CHAIN * side;
                rows = leaf.min(1 << rows.ilog2());
            } else {
                leaf = rows;
            }
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
        let per_chunk = if along { CHUNK } else { (CHUNK / lanes).max(256) };
        let k_outer = folded[..folded.len() - 1].to_vec();
        let inner = if along { e_lane } else { (e_row + 1).saturating_sub(side).max(e_row.min(1)) };
        let leaves = inner.div_ceil(leaf);
        let total = leaves * k_outer.iter().map(|&a| launch.extents[a]).product::<usize>();
        let leaves_per_chunk = (per_chunk / leaf).max(1).min(total.next_power_of_two());
        let leaves_per_chunk = 1 << leaves_per_chunk.ilog2();
        let open = if along {
            // Where rows are closed one after the other, one place serves all.
            let at_once = if plain && k_outer.is_empty() { 1 } else { rows };
            Open::rows(&folds, at_once, leaves_per_chunk, lanes.min(LANES))
        } else {
            Open::lanes(&folds, leaves_per_chunk, lanes * side)
        };
        let states = States::new(&folds, if along { rows } else { lanes * side });
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
            k_outer,
            lanes,
            rows,
            side,
            tile,
            leaf,
            leaves,
            leaves_per_chunk,
            states,
            open,
            plain,
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
        let (o_axis, per_block) = if self.along { (self.axes.rows, self.rows) } else { (self.axes.lanes, self.lanes) };
        let across = self.extent(o_axis).div_ceil(per_block);
        let blocks = product(&self.o_outer) * across;
        let leaves = product(&self.k_outer) * self.leaves;
        let chunks = leaves.div_ceil(self.leaves_per_chunk).max(1);
        let work: usize = self.launch.extents.iter().product();
        let worth = Worth::of(work, ALONE);
        let (bytes, states) = (self.states.bytes, &self.states);
        let run = Run { fold: self, args, across, leaves, places: Tree::nodes(chunks) };
        let n = if self.along { self.rows } else { self.lanes };
        // SAFETY: the states of both hold all lanes.
        let merge = |into, from| unsafe { states.merge(&self.folds, self.isa, n, into, from) };
        if worth == Worth::Alone || chunks == 1 || blocks >= 4 * threads.count() {
            // Enough blocks to share; several small ones at a time.
            let group = (2 * ALONE / (work / blocks.max(1)).max(1))
                .clamp(1, 4096)
                .min(blocks.div_ceil(4 * threads.count()).max(1));
            return threads.spread_apart(blocks.div_ceil(group), worth, &|next| {
                run.thread(bad, |f, states, open| {
                    let place = |p: usize| states.wrapping_add(p * bytes);
                    while let Some(u) = next() {
                        for b in u * group..((u + 1) * group).min(blocks) {
                            let mut waiting = Waiting::default();
                            let both = |p, have, more| merge((place(p), have), (place(p + 1), more));
                            for c in 0..chunks {
                                // SAFETY: the plan bound every operand to a buffer that covers the launch's extents.
                                let seen = unsafe { run.chunk(f, b, c, place(waiting.top()), open) };
                                waiting.push(seen, both);
                            }
                            let seen = waiting.all(both);
                            // SAFETY: as above.
                            unsafe { run.finish(f, b, states, seen) };
                        }
                    }
                });
            });
        }
        // Few results, long folds: chunks are shared.
        let words = bytes.div_ceil(8);
        let parts: Vec<Mutex<(i64, Vec<u64>)>> = (0..blocks * chunks).map(|_| Mutex::new((0, vec![]))).collect();
        threads.spread_apart(blocks * chunks, worth, &|next| {
            run.thread(bad, |f, states, open| {
                while let Some(u) = next() {
                    // SAFETY: as above.
                    let seen = unsafe { run.chunk(f, u / chunks, u % chunks, states, open) };
                    let mut copy = vec![0u64; words];
                    // SAFETY: both hold `bytes` bytes.
                    unsafe { std::ptr::copy_nonoverlapping(states, copy.as_mut_ptr() as *mut u8, bytes) };
                    *parts[u].lock().unwrap_or_else(PoisonError::into_inner) = (seen, copy);
                }
            });
        })?;
        let mut parts: Vec<(i64, Vec<u64>)> =
            parts.into_iter().map(|p| p.into_inner().unwrap_or_else(PoisonError::into_inner)).collect();
        run.thread(bad, |f, _, _| {
            for (b, parts) in parts.chunks_mut(chunks).enumerate() {
                in_pairs(chunks, |into, from| {
                    let (head, tail) = parts.split_at_mut(from);
                    let (into, from) = (&mut head[into], &mut tail[0]);
                    let state = |p: &mut (i64, Vec<u64>)| (p.1.as_mut_ptr() as *mut u8, p.0);
                    into.0 = merge(state(into), state(from));
                });
                // SAFETY: as above.
                unsafe { run.finish(f, b, parts[0].1.as_mut_ptr() as *mut u8, parts[0].0) };
            }
        });
        Ok(())
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
    /// Leaves of a result.
    leaves: usize,
    /// States that a thread has room for.
    places: usize,
}

/// Part of a leaf, or several leaves in one: where it begins along k, and how long it is.
struct Span {
    leaf: usize,
    base: i64,
    seen: i64,
    count: usize,
}

impl<'a> Run<'a> {
    fn thread(&self, bad: &'a Bad, body: impl FnOnce(&mut Frame<'a>, *mut u8, *mut u8)) {
        let k = self.fold;
        let states = self.places * k.states.bytes;
        let before = states + k.open.bytes;
        scratch(k.homes.bytes + before, |base| {
            let rank = k.launch.extents.len();
            let mut f =
                Frame::new(&k.regs, &k.homes, base.wrapping_add(before), &k.main_operands, self.args, rank, bad);
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
    unsafe fn chunk(&self, f: &mut Frame<'a>, b: usize, c: usize, part: *mut u8, open: *mut u8) -> i64 {
        let k = self.fold;
        let n = self.block(f, b);
        f.operands = &k.main_operands;
        f.axes = k.axes;
        let lanes = if k.along { n } else { n * k.side };
        for (fold, at) in k.folds.iter().zip(&k.states.at) {
            // SAFETY: `part` holds the states of a block.
            unsafe { (fold.loops.init)(part.add(at[0]), part.add(at[1]), lanes) };
        }
        let axis = if k.along { k.axes.lanes } else { k.axes.rows };
        let extent = k.extent(axis);
        let first = c * k.leaves_per_chunk;
        let end = (first + k.leaves_per_chunk).min(self.leaves);
        let (mut leaf, mut seen) = (first, 0i64);
        while leaf < end {
            let (t, outer) = (leaf % k.leaves, leaf / k.leaves);
            // Memory folded as it lies: all leaves of a row at once.
            let span = if k.along && k.plain { (end - leaf).min(k.leaves - t) } else { 1 };
            let mut o = outer;
            for &axis in k.k_outer.iter().rev() {
                f.index[axis] = o % k.launch.extents[axis];
                o /= k.launch.extents[axis];
            }
            let (from, to) = (t * k.leaf, if t + span == k.leaves { extent } else { (t + span) * k.leaf });
            let step = if k.along { to - from } else { k.rows };
            for at in (from..to).step_by(step) {
                let count = (to - at).min(step);
                if let Some(a) = axis {
                    f.index[a] = at;
                }
                (f.rows, f.lanes) = if k.along { (n, count) } else { (count, n) };
                f.seek(&k.launch, self.args.bases);
                let tile = Span { leaf: leaf - first, base: (outer * extent + at) as i64, seen, count };
                // SAFETY: the launch covers this tile; the states hold all results.
                unsafe {
                    f.run(&k.main);
                    if k.along {
                        self.fold_along(f, n, &tile, (leaf + span == end).then_some(end - first), part, open);
                    } else {
                        self.fold_across(f, n, &tile, at - from, part, open);
                    }
                }
                seen += count as i64;
            }
            leaf += span;
            if !k.along {
                // SAFETY: as above.
                unsafe { self.join_leaves(lanes, leaf - first, leaf == end, part, open) };
            }
        }
        if !k.along && k.side > 1 {
            // SAFETY: as above.
            unsafe { self.join_sides(n, seen, part) };
        }
        seen
    }

    /// Where the tile that fold `i` reads lies, and how many elements from row to row.
    fn tile(&self, f: &Frame<'a>, i: usize) -> (*const u8, isize) {
        let fold = &self.fold.folds[i];
        match fold.direct {
            Some(o) => (f.ptrs[o as usize] as *const u8, f.operands[o as usize].row),
            None => (f.cur[fold.arg as usize] as *const u8, f.lanes as isize),
        }
    }

    /// Folds `n` rows along k, each into its state; `all` are the leaves of the chunk, after the last of them.
    unsafe fn fold_along(
        &self,
        f: &Frame<'a>,
        n: usize,
        span: &Span,
        all: Option<usize>,
        part: *mut u8,
        open: *mut u8,
    ) {
        let (k, isa) = (self.fold, self.fold.isa as usize);
        let width = k.lanes.min(LANES);
        for (i, (fold, at)) in k.folds.iter().zip(&k.states.at).enumerate() {
            let (tile, pitch) = self.tile(f, i);
            let tree = fold.loops.tree.filter(|_| all != Some(1));
            for r in 0..n {
                // SAFETY: the tile is `n` rows of `count` values, `pitch` apart; states and open trees are there for each row.
                unsafe {
                    let row = tile.offset(r as isize * pitch * fold.sizes[0] as isize);
                    let (s0, s1) = (part.add(at[0] + r * fold.sizes[0]), part.add(at[1] + r * fold.sizes[1]));
                    let Some(tree) = tree else {
                        (fold.loops.rows[isa])(row, span.count, span.base, span.seen, s0, s1);
                        continue;
                    };
                    let shared = k.plain && k.k_outer.is_empty();
                    let open = open.add(k.open.at[i] + if shared { 0 } else { r * k.open.pitch[i] });
                    (tree.leaves[isa])(row, span.count, span.leaf, width, open);
                    if let Some(leaves) = all {
                        (tree.close[isa])(leaves, width, open, s0);
                    }
                }
            }
        }
    }

    /// Where a fold has the nodes of its open tree: the first is the state itself.
    fn node(&self, i: usize, node: usize, part: *mut u8, open: *mut u8) -> *mut u8 {
        let k = self.fold;
        match node {
            0 => part.wrapping_add(k.states.at[i][0]),
            _ => open.wrapping_add(k.open.at[i] + (node - 1) * k.open.pitch[i]),
        }
    }

    /// Folds rows of `n` results into their lanes; `done` rows of the leaf are there before.
    unsafe fn fold_across(&self, f: &Frame<'a>, n: usize, span: &Span, done: usize, part: *mut u8, open: *mut u8) {
        let k = self.fold;
        for (i, (fold, at)) in k.folds.iter().zip(&k.states.at).enumerate() {
            let (tile, pitch) = self.tile(f, i);
            let (s0, seen) = match fold.loops.tree {
                Some(_) => (self.node(i, span.leaf.count_ones() as usize, part, open), done as i64),
                None => (self.node(i, 0, part, open), span.seen),
            };
            // SAFETY: the tile is `count` rows of `n` values, `pitch` apart; the states hold all results.
            unsafe {
                let s1 = part.add(at[1]);
                if pitch < 0 || k.side > 1 {
                    self.side_by_side(fold, tile, pitch, span.count, n, span.base, seen, s0, s1);
                } else {
                    (fold.loops.cols_block[k.isa as usize])(
                        tile,
                        span.count,
                        n,
                        pitch as usize,
                        span.base,
                        seen,
                        s0,
                        s1,
                    );
                }
            }
        }
    }

    /// Joins the last of `leaves` leaves with those that wait for it, and all, after the last of the chunk.
    unsafe fn join_leaves(&self, lanes: usize, leaves: usize, last: bool, part: *mut u8, open: *mut u8) {
        let k = self.fold;
        let before = leaves - 1;
        let top = before.count_ones() as usize;
        let joined = if last { top } else { before.trailing_ones() as usize };
        for (i, fold) in k.folds.iter().enumerate().filter(|(_, f)| f.loops.tree.is_some()) {
            for node in (top - joined..top).rev() {
                let (into, from) = (self.node(i, node, part, open), self.node(i, node + 1, part, open));
                // SAFETY: the nodes have all lanes; these folds have one state, and ask only whether there are values.
                unsafe { (fold.loops.merge[k.isa as usize])(lanes, 1, 1, into, into, from, from) };
            }
        }
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
        let size = fold.sizes[0] as isize;
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

    /// Merges the lanes that stood side by side into the first `n`, by halves.
    unsafe fn join_sides(&self, n: usize, seen: i64, part: *mut u8) {
        let k = self.fold;
        let (each, extra) = (seen / k.side as i64, seen % k.side as i64);
        for (fold, at) in k.folds.iter().zip(&k.states.at) {
            let (mut have, mut sides) = (each, k.side);
            while sides > 1 {
                let half = sides.next_power_of_two() / 2;
                // The first has what was left over, too.
                for (g, count, extra) in [(0, 1, extra), (1, sides - half - 1, 0)] {
                    let lane = |g: usize, state: usize| part.wrapping_add(at[state] + g * n * fold.sizes[state]);
                    let (i0, i1, f0, f1) = (lane(g, 0), lane(g, 1), lane(half + g, 0), lane(half + g, 1));
                    // SAFETY: the states hold `side * n` lanes.
                    unsafe { (fold.loops.merge[k.isa as usize])(count * n, have + extra, have, i0, i1, f0, f1) };
                }
                (sides, have) = (half, 2 * have);
            }
        }
    }

    /// Results of a block, and what follows from them.
    unsafe fn finish(&self, f: &mut Frame<'a>, b: usize, main: *mut u8, seen: i64) {
        let k = self.fold;
        let n = self.block(f, b);
        for (fold, at) in k.folds.iter().zip(&k.states.at) {
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
