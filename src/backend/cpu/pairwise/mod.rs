//! Folds over k of a combine of x(i, k) and y(j, k): a matrix product over other operations than multiply and add.
//!
//! Both operands are packed once, their prologues computed on the way: y as panels `[k][columns]`, x as panels `[k][rows]`,
//! as wide as the micro-kernel's block of results. k is folded in segments of fixed length, a chain within each and a left
//! fold across, so the bits of a result depend on nothing but its own two rows. Epilogues run on blocks of results in cache.

mod micro;
mod vector;

use super::program::{Compiler, Count, Reg, RegInfo, TOp, TileAxes};
use super::threads::Threads;
use super::tile::{Frame, Homes, OperandInfo, operands, scratch};
use crate::backend::Args;
use crate::buffer::Pool;
use crate::dtype::DType;
use crate::error::Result;
use crate::kernel::{AxisSet, Class, Id, KOp, KernelIr, Launch};
use crate::ops::{Isa, reduce, row};
use micro::{Combine, Kernel};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

/// Length of a segment of k. Part of the order of a fold.
const SEGMENT: usize = 256;
/// Columns of a block of results that one thread works on.
const COLUMNS: usize = 1024;
/// Multiply-adds worth a second thread.
const SERIAL: usize = 1 << 16;

/// One operand: its value before the combine, as tiles of rows along k.
struct Side {
    axis: usize,
    axes: TileAxes,
    ops: Vec<TOp>,
    value: Reg,
    operands: Vec<OperandInfo>,
    width: usize,
}

/// A compiled pairwise kernel.
pub struct Pairwise {
    launch: Launch,
    batch: Vec<usize>,
    k: usize,
    x: Side,
    y: Side,
    kernel: Kernel,
    size: usize,
    result: Reg,
    end: Vec<TOp>,
    end_operands: Vec<OperandInfo>,
    /// The operand the results go to as they are.
    direct: Option<u8>,
    regs: Vec<RegInfo>,
    params: Vec<(u8, Reg)>,
    setup: Vec<TOp>,
    homes: Homes,
    tile: usize,
}

/// The parts of a fold that the micro-kernels know.
struct Found {
    fold: Id,
    combine: Combine,
    x: Id,
    y: Id,
    i: usize,
    j: usize,
    k: usize,
    dtype: DType,
}

fn find(ir: &KernelIr) -> Option<Found> {
    let Class::Pairwise { i, j, k, .. } = ir.class else { return None };
    let mut folds = (0..ir.code.len()).filter(|&n| matches!(ir.code[n].op, KOp::Reduce { .. }));
    let (Some(fold), None) = (folds.next(), folds.next()) else { return None };
    let KOp::Reduce { reducer, .. } = ir.code[fold].op else { return None };
    let one = |s: AxisSet| (s.iter().count() == 1).then(|| s.0.trailing_zeros() as usize);
    let (i, j, k) = (one(i)?, one(j)?, one(k)?);
    let last = (0..ir.axes as usize).rfind(|&a| !ir.folded.has(a))?;
    let (i, j) = if j == last { (i, j) } else { (j, i) };
    if j != last {
        return None;
    }
    let arg = |n: usize, a: usize| ir.code[n].args[a] as usize;
    let is = |n: usize, r: crate::ops::OpRef| ir.code[n].op == KOp::Map(r);
    let top = arg(fold, 0);
    let sum = *reducer == reduce::SUM;
    let (combine, pair) = if sum && is(top, &row::mul) {
        let (a, b) = (arg(top, 0), arg(top, 1));
        if a == b && is(a, &row::sub) { (Combine::SquaredDifference, a) } else { (Combine::Dot, top) }
    } else if sum && is(top, &row::square) && is(arg(top, 0), &row::sub) {
        (Combine::SquaredDifference, arg(top, 0))
    } else if is(top, &row::abs) && is(arg(top, 0), &row::sub) && (sum || *reducer == reduce::MAX) {
        (if sum { Combine::Difference } else { Combine::MaxDifference }, arg(top, 0))
    } else {
        return None;
    };
    let (a, b) = (arg(pair, 0), arg(pair, 1));
    let over = |n: usize| ir.code[n].over;
    let (x, y) = if over(a).has(j) { (b, a) } else { (a, b) };
    let dtype = ir.code[x].dtype;
    let fits = !over(x).has(j) && !over(y).has(i) && over(x).has(k) && over(y).has(k);
    (fits && matches!(dtype, DType::F32 | DType::F64)).then_some(Found {
        fold: fold as Id,
        combine,
        x: x as Id,
        y: y as Id,
        i,
        j,
        k,
        dtype,
    })
}

impl Pairwise {
    /// Compiles the kernel, if its combine is one that the micro-kernels know.
    pub fn new(ir: &KernelIr, launch: &Launch, isa: Isa) -> Result<Option<Pairwise>> {
        let Some(found) = find(ir) else { return Ok(None) };
        let kernel = micro::kernel(found.combine, found.dtype, isa);
        let mut c = Compiler::new(ir, launch, isa);
        let mut side = |axis: usize, id: Id, width: usize| -> Result<Side> {
            let axes = TileAxes { lanes: Some(found.k), rows: Some(axis) };
            c.segment(axes, |_| false);
            let mut ops = vec![];
            let value = c.arg(id, found.dtype, Count::Tile, &mut ops)?;
            Ok(Side { axis, axes, ops, value, operands: operands(ir, launch, axes), width })
        };
        let x = side(found.i, found.x, kernel.rows)?;
        let y = side(found.j, found.y, kernel.columns)?;
        let end_axes = TileAxes { lanes: Some(found.j), rows: None };
        c.segment(end_axes, |_| false);
        let result = c.bind(found.fold, found.dtype, Count::Tile);
        let mut end = vec![];
        for (id, inst) in ir.code.iter().enumerate() {
            if matches!(inst.op, KOp::Store(_)) {
                c.emit(id as Id, &mut end)?;
            }
        }
        let end_operands = operands(ir, launch, end_axes);
        let direct = match end[..] {
            [TOp::Store { src, operand }] if src == result && end_operands[operand as usize].lane == 1 => Some(operand),
            _ => None,
        };
        let mut fixed: Vec<Reg> = c.params.iter().map(|p| p.1).collect();
        fixed.extend([x.value, y.value, result]);
        let tile = (kernel.rows.max(kernel.columns) * SEGMENT).max(COLUMNS);
        let homes = Homes::new(&c.regs, &[&c.setup, &x.ops, &y.ops, &end], &fixed, tile, 0);
        let batch = (0..ir.axes as usize).filter(|a| ![found.i, found.j, found.k].contains(a)).collect();
        Ok(Some(Pairwise {
            launch: launch.clone(),
            batch,
            k: found.k,
            x,
            y,
            kernel,
            size: found.dtype.size(),
            result,
            end,
            end_operands,
            direct,
            regs: c.regs,
            params: c.params,
            setup: c.setup,
            homes,
            tile,
        }))
    }

    /// Runs it.
    pub fn run(&self, threads: &Threads, pool: &Arc<Pool>, args: &Args<'_>, bad: &AtomicI64) -> Result<()> {
        let ext = &self.launch.extents;
        let batches: usize = self.batch.iter().map(|&a| ext[a]).product();
        let k = ext[self.k];
        let panels = |s: &Side| ext[s.axis].div_ceil(s.width);
        let bytes = |s: &Side| panels(s) * s.width * k * self.size;
        let (xb, yb) = (bytes(&self.x).next_multiple_of(64), bytes(&self.y));
        let packed = pool.scratch(xb + yb + 64)?;
        let base = packed.address().next_multiple_of(64);
        let serial = ext.iter().product::<usize>() <= SERIAL;
        for b in 0..batches {
            let place = |f: &mut Frame<'_>| {
                let mut rest = b;
                for &axis in self.batch.iter().rev() {
                    f.index[axis] = rest % ext[axis];
                    rest /= ext[axis];
                }
            };
            let (nx, ny) = (panels(&self.x), panels(&self.y));
            threads.spread(nx + ny, serial, &|next| {
                self.thread(args, bad, |f| {
                    place(f);
                    while let Some(p) = next() {
                        let (side, p, to) = if p < nx { (&self.x, p, base) } else { (&self.y, p - nx, base + xb) };
                        let to = to + p * side.width * k * self.size;
                        // SAFETY: the panel is `width * k` elements of the packed memory, and this thread's alone.
                        unsafe { self.pack(f, side, p, to as *mut u8, args) };
                    }
                });
            })?;
            // Long rows: several row panels for each column panel in L1. Short ones: results in memory order.
            let tall = if k <= 64 { 1 } else { 8 };
            let (down, across) = (nx.div_ceil(tall), ext[self.y.axis].div_ceil(COLUMNS));
            threads.spread(down * across, serial, &|next| {
                self.thread(args, bad, |f| {
                    place(f);
                    while let Some(u) = next() {
                        let rows = u / across * tall..(u / across * tall + tall).min(nx);
                        // SAFETY: blocks of results do not overlap; the packed panels are whole.
                        unsafe { self.block(f, rows, u % across, base, base + xb, args) };
                    }
                });
            })?;
        }
        Ok(())
    }

    fn thread<'a>(&'a self, args: &Args<'_>, bad: &'a AtomicI64, body: impl FnOnce(&mut Frame<'a>)) {
        // Results of a block, and of one that hangs over an edge.
        let own = (8 * self.kernel.rows * COLUMNS + self.kernel.rows * self.kernel.columns) * self.size;
        scratch(self.homes.bytes + own, |base| {
            let regs = base.wrapping_add(own);
            let mut f =
                Frame::new(&self.regs, &self.homes, regs, &self.x.operands, args, self.launch.extents.len(), bad);
            // SAFETY: the homes were laid out for tiles of this size.
            unsafe { f.setup(&self.params, args.params, &self.setup, self.tile) };
            f.own = base;
            body(&mut f);
        });
    }

    unsafe fn pack<'a>(&'a self, f: &mut Frame<'a>, side: &'a Side, panel: usize, to: *mut u8, args: &Args<'_>) {
        let ext = &self.launch.extents;
        let first = panel * side.width;
        let rows = (ext[side.axis] - first).min(side.width);
        let plain = match side.ops[..] {
            [TOp::Load { operand, .. }] => Some(operand),
            _ => None,
        };
        for at in (0..ext[self.k]).step_by(SEGMENT) {
            let steps = (ext[self.k] - at).min(SEGMENT);
            for axis in [self.x.axis, self.y.axis] {
                f.index[axis] = 0;
            }
            f.index[side.axis] = first;
            f.index[self.k] = at;
            (f.rows, f.lanes, f.axes) = (rows, steps, side.axes);
            let infos = &side.operands;
            f.seek_with(&self.launch, args.bases, infos);
            let (from, lane, row) = match plain {
                Some(o) => (f.ptrs[o as usize], infos[o as usize].lane, infos[o as usize].row),
                None => {
                    // SAFETY: the launch covers the tile.
                    unsafe { f.run(&side.ops) };
                    (f.cur[side.value as usize], 1, steps as isize)
                }
            };
            // SAFETY: `rows * steps` elements are read, the panel's part of `steps * width` is written.
            unsafe {
                let to = to.add(at * side.width * self.size);
                match self.size {
                    4 => transpose::<u32>(from as *const u32, lane, row, rows, steps, to as *mut u32, side.width),
                    _ => transpose::<u64>(from as *const u64, lane, row, rows, steps, to as *mut u64, side.width),
                }
            }
        }
    }

    unsafe fn block<'a>(
        &'a self,
        f: &mut Frame<'a>,
        rows: std::ops::Range<usize>,
        chunk: usize,
        x: usize,
        y: usize,
        args: &Args<'_>,
    ) {
        let ext = &self.launch.extents;
        let (k, size) = (ext[self.k], self.size);
        let (mr, nr) = (self.kernel.rows, self.kernel.columns);
        let (n, m) = (ext[self.x.axis], ext[self.y.axis]);
        let (i0, j0) = (rows.start * mr, chunk * COLUMNS);
        let (count, width) = ((n - i0).min(rows.len() * mr), (m - j0).min(COLUMNS));
        (f.index[self.x.axis], f.index[self.y.axis], f.index[self.k]) = (i0, j0, 0);
        f.seek_with(&self.launch, args.bases, &self.end_operands);
        let edge = f.own.wrapping_add(8 * mr * COLUMNS * size);
        let (out, pitch) = match self.direct {
            Some(o) if !args.in_place => (f.ptrs[o as usize], self.launch.operands[o as usize].strides[self.x.axis]),
            _ => (f.own, COLUMNS as isize),
        };
        let direct = out != f.own;
        let segments = k.div_ceil(SEGMENT).max(1);
        for s in 0..segments {
            let k0 = s * SEGMENT;
            let steps = (k - k0).min(SEGMENT);
            for j in (0..width).step_by(nr) {
                let yp = (y + ((j0 + j) * k + k0 * nr) * size) as *const u8;
                for i in (0..count).step_by(mr) {
                    let xp = (x + ((i0 + i) * k + k0 * mr) * size) as *const u8;
                    let at = |i: usize| out.wrapping_offset((i as isize * pitch + j as isize) * size as isize);
                    let whole = (count - i >= mr && width - j >= nr) && pitch >= 0;
                    // SAFETY: the panels hold these steps; whole blocks lie within the results, others in `edge`.
                    unsafe {
                        if whole || !direct {
                            // Own scratch has room for whole blocks at its edges.
                            (self.kernel.run)(steps, xp, yp, at(i), pitch as usize, s > 0);
                        } else if s == 0 {
                            for t in 0..segments {
                                let (a, b) = (t * SEGMENT * mr * size, t * SEGMENT * nr * size);
                                let steps = (k - t * SEGMENT).min(SEGMENT);
                                (self.kernel.run)(steps, xp.add(a), yp.add(b), edge, nr, t > 0);
                            }
                            for r in 0..(count - i).min(mr) {
                                let n = (width - j).min(nr) * size;
                                std::ptr::copy_nonoverlapping(edge.add(r * nr * size), at(i + r), n);
                            }
                        }
                    }
                }
            }
        }
        if direct {
            return;
        }
        for r in 0..count {
            f.index[self.x.axis] = i0 + r;
            (f.rows, f.lanes, f.axes) = (1, width, TileAxes { lanes: Some(self.y.axis), rows: None });
            f.seek_with(&self.launch, args.bases, &self.end_operands);
            f.cur[self.result as usize] = f.own.wrapping_add(r * COLUMNS * size);
            // SAFETY: the launch covers the row.
            unsafe { f.run(&self.end) };
        }
    }
}

/// `to[l * width + r] = from[r * row + l * lane]`, and zeros for the rows a panel lacks.
unsafe fn transpose<T: Copy + Default>(
    from: *const T,
    lane: isize,
    row: isize,
    rows: usize,
    lanes: usize,
    to: *mut T,
    width: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        if rows < width {
            for l in 0..lanes {
                std::slice::from_raw_parts_mut(to.add(l * width + rows), width - rows).fill(T::default());
            }
        }
        // Eight by eight: both sides stay in a few cache lines.
        for l0 in (0..lanes).step_by(8) {
            for r in 0..rows {
                let src = from.offset(r as isize * row + l0 as isize * lane);
                for l in 0..(lanes - l0).min(8) {
                    *to.add((l0 + l) * width + r) = *src.offset(l as isize * lane);
                }
            }
        }
    }
}
