//! Combines that no micro-kernel knows: their operations run one after the other, each on a tile of some steps of k by the
//! columns of a panel, for one row of x.
//!
//! Values of y are read where they are packed, `[k][columns]`. Those of x are repeated over the columns, once for all panels of
//! a block. What varies with one side alone was computed while packing. Tiles stay in L1; the states of a block's rows in L2.

use super::find::Found;
use super::fused::{self, Fused, Sum};
use super::micro::{Kernel, Run};
use super::{COLUMNS, Packed, Pairwise, SEGMENT, Side, TALL};
use crate::backend::cpu::program::{Compiler, Count, FoldOp, Reg, TOp, TileAxes};
use crate::backend::cpu::tile::{Frame, splat};
use crate::dtype::DType;
use crate::error::Result;
use crate::kernel::{Id, KOp, KernelIr, Launch};
use crate::ops::{Isa, reduce};
use std::ops::Range;

/// Elements of a tile.
const ELEMENTS: usize = 1024;

/// A sum that takes in what comes before it.
#[derive(Clone, Copy)]
struct Summed {
    sum: Sum,
    /// The registers it reads.
    regs: [Reg; 3],
    /// The value of x that stands for the first, as it is packed.
    x: Option<usize>,
}

/// A compiled combine and its folds.
pub struct Code {
    /// From the packed values to the folds' arguments.
    pub ops: Vec<TOp>,
    folds: Vec<(FoldOp, Option<Summed>)>,
    /// Registers of x's values; those that no one reads as a tile are not repeated over the columns.
    x: Vec<Option<Reg>>,
    y: Vec<Reg>,
    /// Steps of k of a tile.
    steps: usize,
    /// Columns between the states of two rows.
    pitch: usize,
}

/// The block of a combine that runs as code: one row.
pub fn shape(found: &Found, launch: &Launch) -> (usize, usize) {
    let (k, m) = (launch.extents[found.k], found.j.map_or(1, |a| launch.extents[a]));
    // Short rows: wider panels, so that an operation still has many elements.
    let columns = (ELEMENTS / k.max(1)).next_power_of_two().clamp(64, 256);
    (1, columns.min(m.next_power_of_two().max(16)))
}

/// What a sum adds up, where a fused loop does so.
fn sum(ir: &KernelIr, found: &Found, fold: Id) -> Option<Fused> {
    let inst = &ir.code[fold as usize];
    let KOp::Reduce { reducer, .. } = inst.op else { return None };
    // What varies with one side is packed whole.
    let made_here = found.both.contains(&inst.args[0]);
    let same = *reducer == reduce::SUM && ir.code[inst.args[0] as usize].dtype == inst.dtype;
    if made_here && same { fused::of(ir, &found.both, inst.args[0]) } else { None }
}

/// Where the operands of a chain are.
fn registers(c: &mut Compiler<'_>, args: [Id; 3], dtype: DType, ops: &mut Vec<TOp>) -> Result<[Reg; 3]> {
    let mut regs = [0; 3];
    for (reg, id) in regs.iter_mut().zip(args) {
        *reg = c.arg(id, dtype, Count::Tile, ops)?;
    }
    Ok(regs)
}

impl Code {
    /// Compiles it; the packed values get their registers.
    pub fn new(c: &mut Compiler<'_>, launch: &Launch, found: &Found, columns: usize, isa: Isa) -> Result<Code> {
        c.segment(TileAxes { lanes: found.j, rows: Some(found.k) }, |_| false);
        let x: Vec<Reg> = found.x.iter().map(|&id| c.bind_wide(id)).collect();
        let y = found.y.iter().map(|&id| c.bind_wide(id)).collect();
        let mut ops = vec![];
        let mut folds = vec![];
        let ir = c.ir;
        let ends: Vec<_> = found.folds.iter().map(|&id| sum(ir, found, id)).collect();
        // Values on the way of a longer loop, and what a fused sum adds up, have no tile.
        let mut within: Vec<Id> = vec![];
        for (&fold, end) in found.folds.iter().zip(&ends) {
            within.extend(end.iter().flat_map(|e| e.inner.iter().copied().chain([ir.code[fold as usize].args[0]])));
        }
        let mut chains = vec![];
        for n in (0..ir.code.len() as Id).rev().filter(|n| found.both.contains(n)) {
            if within.contains(&n) {
                continue;
            }
            // One operation alone has its loop in the op table.
            if let Some(fused) = fused::of(ir, &found.both, n).filter(|f| !f.inner.is_empty()) {
                within.extend(&fused.inner);
                chains.push((n, fused));
            }
        }
        for (n, Fused { chain, args, .. }) in chains.into_iter().rev() {
            let dtype = ir.code[n as usize].dtype;
            let regs = registers(c, args, dtype, &mut ops)?;
            let dst = c.bind(n, dtype, Count::Tile);
            ops.push(TOp::Call { f: fused::loops(chain, dtype, isa).map, args: regs, dst, count: Count::Tile });
        }
        for (&id, end) in found.folds.iter().zip(ends) {
            folds.push(match end {
                Some(Fused { chain, args, .. }) => {
                    let dtype = ir.code[id as usize].dtype;
                    let mut regs = registers(c, args, dtype, &mut ops)?;
                    if chain.is_symmetric() && x.contains(&regs[1]) {
                        regs.swap(0, 1);
                        regs[2] = if chain.has_two() { regs[1] } else { regs[2] };
                    }
                    let (by_row, loops) = (x.iter().position(|r| *r == regs[0]), fused::loops(chain, dtype, isa));
                    let sum = if by_row.is_some() { loops.sum_by_row } else { loops.sum };
                    (c.fold_of(id, regs[1], Count::Tile)?, Some(Summed { sum, regs, x: by_row }))
                }
                None => (c.fold(id, Count::Tile, &mut ops)?, None),
            });
        }
        let m = found.j.map_or(1, |a| launch.extents[a]);
        let mut read: Vec<Reg> = vec![];
        ops.iter().for_each(|op| op.each(|r| read.push(r)));
        for (fold, sum) in &folds {
            match sum {
                Some(s) => read.extend(&s.regs[usize::from(s.x.is_some())..]),
                None => read.push(fold.arg),
            }
        }
        let x: Vec<_> = x.into_iter().map(|r| Some(r).filter(|r| read.contains(r))).collect();
        // Where nothing is made but sums, a tile is y's panel alone, and half of L1.
        let made = ops.is_empty() && x.iter().all(Option::is_none);
        let steps = (ELEMENTS * if made { 4 } else { 1 } / columns).clamp(1, SEGMENT);
        Ok(Code { ops, folds, x, y, steps, pitch: m.next_multiple_of(columns).clamp(columns, COLUMNS) })
    }

    /// Gives the folds' results to their instructions, in another segment.
    pub fn results(&self, c: &mut Compiler<'_>, found: &Found, out: &mut Vec<TOp>) {
        for ((f, _), &id) in self.folds.iter().zip(&found.folds) {
            c.result(id, f, out);
        }
    }

    /// Registers that keep their places.
    pub fn fixed(&self) -> impl Iterator<Item = Reg> {
        let others = self.folds.iter().filter_map(|f| Some(f.1?.regs)).flatten();
        self.folds.iter().flat_map(|(f, _)| [f.dst, f.arg]).chain(others).chain(self.x.iter().flatten().copied())
    }

    /// Bytes of the states of a block, twice.
    pub fn bytes(&self) -> usize {
        2 * self.half()
    }

    fn half(&self) -> usize {
        self.before(self.folds.len())
    }

    /// Bytes of the states of the first `n` folds.
    fn before(&self, n: usize) -> usize {
        self.folds[..n].iter().map(|(f, _)| TALL * self.pitch * (f.sizes[0] + f.sizes[1])).sum()
    }

    /// The states of fold `a` for row `r` and column `j` of a block; those of a later segment where `part`.
    fn state(&self, own: *mut u8, a: usize, r: usize, j: usize, part: bool) -> (*mut u8, *mut u8) {
        let first = own.wrapping_add(self.before(a) + if part { self.half() } else { 0 });
        let [s0, s1] = self.folds[a].0.sizes;
        let lane = r * self.pitch + j;
        (first.wrapping_add(lane * s0), first.wrapping_add(TALL * self.pitch * s0 + lane * s1))
    }
}

impl Pairwise {
    /// The address in packed panels of value `v` of row or column `at`, step `step` of k. Panels of a segment lie side by side.
    pub(super) fn value(&self, side: &Side, base: usize, v: usize, at: usize, step: usize) -> *mut u8 {
        let (value, from) = (&side.values[v], step / SEGMENT * SEGMENT);
        let steps = (self.launch.extents[self.k] - from).min(SEGMENT);
        let before = from * self.panels(side) * side.width + at * steps + (step - from) * side.width;
        (base + value.at + before * value.size) as *mut u8
    }

    /// The states of a block, in own scratch.
    ///
    /// # Safety
    /// What is packed is whole, unless y is packed here; the block is this thread's alone.
    pub(super) unsafe fn fold_block<'a>(
        &'a self,
        f: &mut Frame<'a>,
        code: &'a Code,
        rows: Range<usize>,
        columns: Range<usize>,
        at: Packed,
    ) {
        let (k, nr) = (self.launch.extents[self.k], self.kernel.columns);
        let (i0, j0) = (rows.start, columns.start);
        let (count, width) = (rows.len(), columns.len());
        let isa = self.isa as usize;
        for s in 0..k.div_ceil(SEGMENT).max(1) {
            let (from, to) = (s * SEGMENT, ((s + 1) * SEGMENT).min(k));
            // A fused sum begins with its first step, if there is one.
            for (a, (fold, _)) in code.folds.iter().enumerate().filter(|(_, f)| f.1.is_none() || from == to) {
                let (s0, s1) = code.state(f.own, a, 0, 0, s > 0);
                // SAFETY: the rows' states stand side by side.
                unsafe { (fold.loops.init)(s0, s1, count * code.pitch) };
            }
            for k0 in (from..to).step_by(code.steps) {
                (f.rows, f.lanes) = ((to - k0).min(code.steps), nr);
                // What is repeated over the columns serves all panels of a row; where nothing is, a panel stays in L1 for all rows.
                let by_panel = code.x.iter().all(Option::is_none);
                let summed = |f: &(FoldOp, Option<Summed>)| f.1.is_some_and(|s| s.x.is_some());
                if by_panel && code.ops.is_empty() && code.folds.iter().all(summed) {
                    // SAFETY: the caller's.
                    unsafe { self.sum_panels(f, code, (i0, count), (j0, width), (k0, s > 0, k0 == from), at) };
                    continue;
                }
                let (outer, inner) = if by_panel { (width.div_ceil(nr), count) } else { (count, width.div_ceil(nr)) };
                for (o, i) in (0..outer).flat_map(|o| (0..inner).map(move |i| (o, i))) {
                    let (r, j) = if by_panel { (i, o * nr) } else { (o, i * nr) };
                    for (v, reg) in code.x.iter().enumerate().filter_map(|(v, &reg)| Some((v, reg?))).filter(|_| i == 0)
                    {
                        let (p, size) = (self.value(&self.x, at.x, v, i0 + r, k0), self.x.values[v].size);
                        f.cur[reg as usize] = f.home[reg as usize];
                        for step in 0..f.rows {
                            let to = f.home[reg as usize].wrapping_add(step * nr * size);
                            // SAFETY: the home holds a tile.
                            unsafe { splat(p.add(step * size), to, size, nr) };
                        }
                    }
                    for (v, &reg) in code.y.iter().enumerate() {
                        f.cur[reg as usize] = self.value(&self.y, at.y.unwrap_or(0), v, j0 + j, k0);
                    }
                    // SAFETY: panels and homes hold the tile; the states have whole panels of columns.
                    unsafe {
                        f.run(&code.ops);
                        for (a, (fold, end)) in code.folds.iter().enumerate() {
                            let (s0, s1) = code.state(f.own, a, r, j, s > 0);
                            let tile = f.cur[fold.arg as usize];
                            let seen = (k0 - from) as i64;
                            match *end {
                                Some(Summed { sum, regs, x }) => {
                                    let mut tiles = regs.map(|r| f.cur[r as usize] as *const u8);
                                    if let Some(v) = x {
                                        tiles[0] = self.value(&self.x, at.x, v, i0 + r, k0);
                                    }
                                    sum(&tiles, f.rows, nr, seen == 0, s0)
                                }
                                None => (fold.loops.cols_block[isa])(tile, f.rows, nr, nr, k0 as i64, seen, s0, s1),
                            }
                        }
                    }
                }
            }
            for (a, (fold, _)) in code.folds.iter().enumerate().filter(|_| s > 0) {
                let (m, p) = (code.state(f.own, a, 0, 0, false), code.state(f.own, a, 0, 0, true));
                let lanes = count * code.pitch;
                // SAFETY: as above.
                unsafe { (fold.loops.merge[isa])(lanes, from as i64, (to - from) as i64, m.0, m.1, p.0, p.1) };
            }
        }
    }

    /// A tile of steps from `k0` on, for all rows of a block, where there is nothing but sums: row after row, for one panel of y after another.
    ///
    /// # Safety
    /// As [`Pairwise::fold_block`].
    unsafe fn sum_panels(
        &self,
        f: &mut Frame<'_>,
        code: &Code,
        (i0, count): (usize, usize),
        (j0, width): (usize, usize),
        (k0, part, fresh): (usize, bool, bool),
        at: Packed,
    ) {
        let nr = self.kernel.columns;
        for j in (0..width).step_by(nr) {
            for (v, &reg) in code.y.iter().enumerate() {
                f.cur[reg as usize] = self.value(&self.y, at.y.unwrap_or(0), v, j0 + j, k0);
            }
            for (a, (fold, end)) in code.folds.iter().enumerate() {
                let Some(Summed { sum, regs, x: Some(v) }) = *end else { continue };
                let mut tiles = regs.map(|r| f.cur[r as usize] as *const u8);
                let row = |r: usize| self.value(&self.x, at.x, v, i0 + r, k0) as usize;
                tiles[0] = row(0) as *const u8;
                let apart = [row(1) - row(0), code.pitch * fold.sizes[0]];
                let mut state = code.state(f.own, a, 0, j, part).0;
                for _ in 0..count {
                    // SAFETY: panels hold the tile; the states have whole panels of columns.
                    unsafe { sum(&tiles, f.rows, nr, fresh, state) };
                    (tiles[0], state) = (tiles[0].wrapping_add(apart[0]), state.wrapping_add(apart[1]));
                }
            }
        }
    }

    /// Results of row `r` of a block of `width` columns.
    ///
    /// # Safety
    /// After [`Pairwise::fold_block`].
    pub(super) unsafe fn finish_row(&self, f: &mut Frame<'_>, code: &Code, r: usize, width: usize) {
        for (a, (fold, end)) in code.folds.iter().enumerate() {
            let (s0, s1) = code.state(f.own, a, r, 0, false);
            if end.is_some() {
                // A sum in its own type is its result.
                f.cur[fold.dst as usize] = s0;
                continue;
            }
            let to = f.home[fold.dst as usize];
            f.cur[fold.dst as usize] = to;
            // SAFETY: the home holds a row of a block.
            unsafe { (fold.loops.finish)(width, self.launch.extents[self.k] as i64, s0, s1, to) };
        }
    }

    /// The code of the combine, where no micro-kernel runs it.
    pub(super) fn code(&self) -> Option<&Code> {
        match &self.kernel {
            Kernel { run: Run::Code(code), .. } => Some(code),
            _ => None,
        }
    }
}
