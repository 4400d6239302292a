//! Kernels where one fold needs another: each thread takes a row and walks it several times.

use super::map::ALONE;
use super::program::{Compiler, Count, FoldOp, Reg, RegInfo, TOp, TileAxes};
use super::threads::{Threads, Worth};
use super::tile::{Bad, Frame, Homes, OperandInfo, PAST_CACHES, fence, operands, scratch};
use crate::backend::Args;
use crate::error::Result;
use crate::kernel::{Id, KOp, KernelIr, Launch, Nest, Role};
use crate::ops::Isa;
use crate::ops::reduce::{LANES, TILE, Tree};

/// Bytes that each state of a fold has, before its open tree.
const STATE: usize = 64;

/// What runs once a row, or for each tile of it.
struct Segment {
    ops: Vec<TOp>,
    /// Folds, and where their states are.
    folds: Vec<(FoldOp, usize)>,
    after: Vec<TOp>,
    tiled: bool,
}

/// A compiled kernel of several passes.
pub struct Passes {
    launch: Launch,
    results: Vec<usize>,
    k_outer: Vec<usize>,
    lane: Option<usize>,
    segments: Vec<Segment>,
    row_operands: Vec<OperandInfo>,
    one_operands: Vec<OperandInfo>,
    regs: Vec<RegInfo>,
    params: Vec<(u8, Reg)>,
    setup: Vec<TOp>,
    homes: Homes,
    state_bytes: usize,
    isa: Isa,
    /// Bytes written for each element of a row.
    written: usize,
}

impl Passes {
    /// Compiles a kernel whose nest is a loop over rows around passes.
    pub fn new(ir: &KernelIr, launch: &Launch, isa: Isa) -> Result<Passes> {
        let rank = ir.axes as usize;
        let folded: Vec<usize> = ir.folded.iter().collect();
        let lane = folded.last().copied();
        let tile = TileAxes { lanes: lane, rows: None };
        let none = TileAxes { lanes: None, rows: None };
        let body: &[Nest] = match &ir.nest {
            Nest::Loop { body, .. } => body,
            Nest::Insts(_) => &[],
        };
        let kept = rows_kept(ir, body);
        let mut c = Compiler::new(ir, launch, isa);
        let mut segments = vec![];
        let mut state_bytes = 0;
        let inner = c.extent(lane);
        let row: usize = folded.iter().map(|&a| launch.extents[a]).product();
        let leaves = row / inner.max(1) * inner.div_ceil(TILE);
        let tree_bytes = |size: usize| Tree::nodes(leaves) * inner.min(LANES) * size;
        let varies = |id: Id| !ir.code[id as usize].over.and(ir.folded).is_empty();
        for part in body {
            let (range, tiled) = match part {
                Nest::Insts(range) => (range.clone(), false),
                Nest::Loop { body, .. } => match body.first() {
                    Some(Nest::Insts(range)) => (range.clone(), true),
                    _ => continue,
                },
            };
            let mut s = Segment { ops: vec![], folds: vec![], after: vec![], tiled };
            c.segment(if tiled { tile } else { none }, |id| !varies(id) || kept[id as usize]);
            let mut ids = vec![];
            for id in range {
                match ir.code[id as usize].op {
                    KOp::Reduce { .. } => {
                        let mut f = c.fold(id, Count::One, &mut s.ops)?;
                        f.direct = f.direct.filter(|_| tiled);
                        let at = state_bytes;
                        let tree = f.loops.tree.map_or(0, |_| tree_bytes(f.sizes[0]));
                        state_bytes += 2 * STATE + tree.next_multiple_of(64);
                        s.folds.push((f, at));
                        ids.push(id);
                    }
                    KOp::Store(_) => {
                        c.emit(id, &mut s.ops)?;
                    }
                    // Values once a row are made where they stand: a later pass has other tiles.
                    _ if !tiled => {
                        c.emit(id, &mut s.ops)?;
                    }
                    _ => {}
                }
            }
            for id in (0..ir.code.len()).filter(|&i| kept[i] && tiled) {
                if let Some(r) = c.known(id as Id) {
                    c.regs[r as usize].row = true;
                    c.regs[r as usize].out = None;
                }
            }
            for (id, (f, _)) in ids.iter().zip(&s.folds) {
                c.result(*id, f, &mut s.after);
            }
            segments.push(s);
        }
        let mut fixed: Vec<Reg> = c.params.iter().map(|p| p.1).collect();
        fixed.extend(segments.iter().flat_map(|s| s.folds.iter().flat_map(|(f, _)| [f.dst, f.arg])));
        let lists: Vec<&[TOp]> =
            std::iter::once(&c.setup[..]).chain(segments.iter().flat_map(|s| [&s.ops[..], &s.after[..]])).collect();
        let out = ir.operands.iter().filter(|o| o.role == Role::Out);
        let writes_rows = (0..ir.code.len()).any(|i| matches!(ir.code[i].op, KOp::Store(_)) && varies(i as Id));
        let homes = Homes::new(&c.regs, &lists, &fixed, TILE, row);
        Ok(Passes {
            launch: launch.clone(),
            results: (0..rank).filter(|&a| !ir.folded.has(a)).collect(),
            k_outer: folded[..folded.len() - 1].to_vec(),
            lane,
            segments,
            row_operands: operands(ir, launch, tile),
            one_operands: operands(ir, launch, none),
            regs: c.regs,
            params: c.params,
            setup: c.setup,
            homes,
            state_bytes,
            isa,
            written: if writes_rows { out.map(|o| o.dtype.size()).sum() } else { 0 },
        })
    }

    /// Runs it.
    pub fn run(&self, threads: &Threads, args: &Args<'_>, bad: &Bad) -> Result<()> {
        let ext = &self.launch.extents;
        let rows: usize = self.results.iter().map(|&a| ext[a]).product();
        let work: usize = ext.iter().product();
        let past_caches = !args.in_place && work * self.written >= PAST_CACHES;
        let group = (ALONE / 2 / (work / rows.max(1)).max(1)).clamp(1, 4096);
        threads.spread(rows.div_ceil(group), Worth::of(work, ALONE), &|next| {
            scratch(self.homes.bytes + self.state_bytes, |base| {
                let regs = base.wrapping_add(self.state_bytes);
                let mut f = Frame::new(&self.regs, &self.homes, regs, &self.row_operands, args, ext.len(), bad);
                // SAFETY: the plan bound every operand to a buffer that covers the launch's extents.
                unsafe { f.setup(&self.params, args.params, &self.setup, TILE) };
                f.past_caches = past_caches;
                while let Some(u) = next() {
                    for row in u * group..((u + 1) * group).min(rows) {
                        let mut o = row;
                        for &axis in self.results.iter().rev() {
                            f.index[axis] = o % ext[axis];
                            o /= ext[axis];
                        }
                        for s in &self.segments {
                            // SAFETY: as above.
                            unsafe { self.segment(s, &mut f, args, base) };
                        }
                    }
                }
                if past_caches {
                    fence();
                }
            });
        })
    }

    unsafe fn segment<'a>(&'a self, s: &Segment, f: &mut Frame<'a>, args: &Args<'_>, states: *mut u8) {
        let ext = &self.launch.extents;
        for a in self.k_outer.iter().chain(&self.lane) {
            f.index[*a] = 0;
        }
        (f.rows, f.lanes, f.along) = (1, 1, 0);
        if !s.tiled {
            f.operands = &self.one_operands;
            f.axes = TileAxes { lanes: None, rows: None };
            f.seek(&self.launch, args.bases);
            // SAFETY: the caller's.
            return unsafe { f.run(&s.ops) };
        }
        f.operands = &self.row_operands;
        f.axes = TileAxes { lanes: self.lane, rows: None };
        let n = self.lane.map_or(1, |a| ext[a]);
        let outer: usize = self.k_outer.iter().map(|&a| ext[a]).product();
        for (fold, at) in &s.folds {
            // SAFETY: two states each.
            unsafe { (fold.loops.init)(states.add(*at), states.add(at + STATE), 1) };
        }
        let leaves = outer * n.div_ceil(TILE);
        let (isa, width) = (self.isa as usize, n.min(LANES));
        let (mut seen, mut leaf) = (0i64, 0);
        for o in 0..outer {
            let mut rest = o;
            for &axis in self.k_outer.iter().rev() {
                f.index[axis] = rest % ext[axis];
                rest /= ext[axis];
            }
            // Memory folded as it lies: all tiles at once.
            let plain = s.ops.is_empty() && s.folds.iter().all(|(f, _)| f.direct.is_some());
            let tile = if plain { n.max(1) } else { TILE };
            for start in (0..n).step_by(tile) {
                if let Some(a) = self.lane {
                    f.index[a] = start;
                }
                f.lanes = (n - start).min(tile);
                f.along = o * n + start;
                f.seek(&self.launch, args.bases);
                f.point_rows();
                // SAFETY: the caller's.
                unsafe { f.run(&s.ops) };
                for (fold, at) in &s.folds {
                    let tile = match fold.direct {
                        Some(o) => f.ptrs[o as usize],
                        None => f.cur[fold.arg as usize],
                    };
                    // SAFETY: the tile has `lanes` values; the state is one lane, and its tree follows it.
                    unsafe {
                        let (s0, s1, open) = (states.add(*at), states.add(at + STATE), states.add(at + 2 * STATE));
                        match fold.loops.tree.filter(|_| leaves > 1) {
                            Some(tree) => (tree.leaves[isa])(tile, f.lanes, leaf, width, open),
                            None => (fold.loops.rows[isa])(tile, f.lanes, f.along as i64, seen, s0, s1),
                        }
                    }
                }
                leaf += f.lanes.div_ceil(TILE);
                seen += f.lanes as i64;
            }
        }
        for (fold, at) in &s.folds {
            let to = f.home[fold.dst as usize];
            f.cur[fold.dst as usize] = to;
            // SAFETY: the tree has these leaves; the home holds one value.
            unsafe {
                let (s0, s1, open) = (states.add(*at), states.add(at + STATE), states.add(at + 2 * STATE));
                if let Some(tree) = fold.loops.tree.filter(|_| leaves > 1) {
                    (tree.close[isa])(leaves, width, open, s0);
                }
                (fold.loops.finish)(1, seen, s0, s1, to);
            }
        }
        (f.rows, f.lanes) = (1, 1);
        // SAFETY: registers alone.
        unsafe { f.run(&s.after) };
    }
}

/// Values over the row that two passes need: kept in scratch, so that the second does not compute them again.
fn rows_kept(ir: &KernelIr, body: &[Nest]) -> Vec<bool> {
    let mut kept = vec![false; ir.code.len()];
    let mut made = vec![false; ir.code.len()];
    for part in body {
        let Nest::Loop { body, .. } = part else { continue };
        let Some(Nest::Insts(range)) = body.first() else { continue };
        let sinks = range.clone().filter(|&id| matches!(ir.code[id as usize].op, KOp::Reduce { .. } | KOp::Store(_)));
        let mut stack: Vec<Id> = sinks.flat_map(|id| ir.code[id as usize].args.clone()).collect();
        let mut now = vec![];
        while let Some(id) = stack.pop() {
            let inst = &ir.code[id as usize];
            if inst.over.and(ir.folded).is_empty() || now.contains(&id) {
                continue;
            }
            if made[id as usize] && matches!(inst.op, KOp::Map(_) | KOp::Cast | KOp::LoadAt(_)) {
                kept[id as usize] = true;
                continue;
            }
            now.push(id);
            stack.extend(inst.args.iter());
        }
        for id in now {
            made[id as usize] = true;
        }
    }
    kept
}
