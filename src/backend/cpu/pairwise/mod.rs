//! Folds over k of a combine of x(i, k) and y(j, k): a matrix product over other operations than multiply and add.
//!
//! Both operands are packed once, their prologues computed on the way, into panels as wide as the micro-kernel's
//! block of results: `[segment][panel][k][columns]` of y, `[segment][panel][k][rows]` of x. k is folded in segments of fixed length, a chain within each and a left
//! fold across, so the bits of a result depend on nothing but its own two rows. Epilogues run on blocks of results in cache.
//! Of one row x, y is packed panel by panel as it is needed. Results that are folded over j in their turn ([`above`]) stay
//! in blocks. Combines that no micro-kernel knows run as code on tiles in L1 ([`code`]).

mod above;
mod code;
mod find;
mod fused;
mod micro;
mod norms;
mod run;
mod select;
#[cfg(test)]
mod tests;
mod transpose;
mod vector;

use super::program::{Compiler, Count, Reg, RegInfo, TOp, TileAxes};
use super::tile::{Frame, Homes, OperandInfo, operands};
use crate::backend::Args;
use crate::dtype::DType;
use crate::error::Result;
use crate::kernel::{Id, KOp, KernelIr, Launch, TopKSpec};
use crate::ops::Isa;
use above::Above;
use code::Code;
use find::Found;
use micro::{Kernel, Rows, Run};
use select::Select;
use std::ops::Range;
use transpose::transpose;

/// Length of a segment of k. Part of the order of a fold.
const SEGMENT: usize = 256;
/// Columns of a block of results that one thread works on.
const COLUMNS: usize = 1024;
/// Elements from row to row of a block in scratch: a power of two of them would all fall into a few sets of the caches.
const PITCH: usize = COLUMNS + 16;
/// Row panels of a block of results that waits in scratch.
const TALL: usize = 8;
/// Steps of k that one row takes together. A segment is whole parts.
const PART: usize = 8;
const _: () = assert!(SEGMENT.is_multiple_of(PART));

/// A value of one operand that is packed.
struct Value {
    reg: Reg,
    size: usize,
    /// Where its panels start, in bytes from those of the side.
    at: usize,
}

/// One operand: its values before the combine, as tiles of rows along k.
struct Side {
    axis: Option<usize>,
    axes: TileAxes,
    ops: Vec<TOp>,
    values: Vec<Value>,
    /// Bytes of its panels.
    bytes: usize,
    operands: Vec<OperandInfo>,
    width: usize,
    /// The register of its sums of squares.
    norm: Option<Reg>,
}

/// A compiled pairwise kernel.
pub struct Pairwise {
    launch: Launch,
    batch: Vec<usize>,
    k: usize,
    x: Side,
    y: Side,
    kernel: Kernel,
    dtype: DType,
    /// The register of a micro-kernel's results.
    result: Option<Reg>,
    end: Vec<TOp>,
    end_operands: Vec<OperandInfo>,
    /// The operand the results go to as they are.
    direct: Option<u8>,
    /// An operand with rows of results side by side.
    stored: Option<u8>,
    above: Option<Above>,
    select: Option<Select>,
    regs: Vec<RegInfo>,
    params: Vec<(u8, Reg)>,
    setup: Vec<TOp>,
    homes: Homes,
    tile: usize,
    isa: Isa,
}

/// Where a run has what it packed: panels and norms of x and of y. Of y there is nothing where it is packed as it is needed.
#[derive(Clone, Copy)]
struct Packed {
    x: usize,
    y: Option<usize>,
    lies: Lies,
    norms: [usize; 2],
}

/// Which sides are read where they lie, and packed nowhere.
#[derive(Clone, Copy, Default)]
struct Lies {
    /// The operand that x is, and its elements from row to row and from step to step.
    x: Option<(u8, usize, usize)>,
    /// The operand that y is, and its elements from step to step.
    y: Option<(u8, usize)>,
}

/// Whether this is a kernel for [`Pairwise`].
pub fn runs(ir: &KernelIr) -> bool {
    find::find(ir, &[], true).is_some()
}

/// Whether what this kernel stores need not be stored to be selected from.
pub fn selects(ir: &KernelIr, launch: &Launch, m: usize) -> bool {
    select::runs(ir, launch, m)
}

impl Side {
    /// Whether it is an operand as it stands: packed from where it lies.
    fn plain(&self) -> bool {
        matches!(self.ops[..], [TOp::Load { .. }])
    }
}

impl Pairwise {
    /// Compiles the kernel, if it is pairwise.
    pub fn new(ir: &KernelIr, launch: &Launch, isa: Isa) -> Result<Option<Pairwise>> {
        find::find(ir, &launch.extents, true).map(|found| Self::of(found, ir, launch, None, isa)).transpose()
    }

    /// As [`Pairwise::new`], for a selection from what a kernel makes.
    pub fn selecting(spec: &TopKSpec, isa: Isa) -> Result<Option<Pairwise>> {
        let Some((ir, launch)) = spec.made.as_deref() else { return Ok(None) };
        find::find(ir, &launch.extents, true).map(|found| Self::of(found, ir, launch, Some(spec), isa)).transpose()
    }

    fn of(found: Found, ir: &KernelIr, launch: &Launch, spec: Option<&TopKSpec>, isa: Isa) -> Result<Pairwise> {
        let dtype = found.dtype;
        let one = found.i.is_none_or(|a| launch.extents[a] == 1);
        let mut c = Compiler::new(ir, launch, isa);
        let kernel = match found.combine {
            Some(combine) => micro::kernel(combine, dtype, isa, found.i.map_or(1, |a| launch.extents[a])),
            None => {
                let (rows, columns) = code::shape(&found, launch);
                Kernel {
                    run: Run::Code(Code::new(&mut c, launch, &found, columns, isa)?),
                    rows,
                    columns,
                    anywhere: false,
                }
            }
        };
        let k = launch.extents[found.k];
        let mut side = |axis: Option<usize>, ids: &[Id], width: usize| -> Result<Side> {
            let axes = TileAxes { lanes: Some(found.k), rows: axis };
            c.segment(axes, |_| false);
            let (mut ops, mut values, mut bytes) = (vec![], vec![], 0);
            let each = axis.map_or(1, |a| launch.extents[a]).next_multiple_of(width) * k;
            for &id in ids {
                let dtype = ir.code[id as usize].dtype.compute();
                let (reg, size) = (c.arg(id, dtype, Count::Tile, &mut ops)?, dtype.size());
                values.push(Value { reg, size, at: bytes });
                bytes += (each * size).next_multiple_of(64);
            }
            Ok(Side { axis, axes, ops, values, bytes, operands: operands(ir, launch, axes), width, norm: None })
        };
        let mut x = side(found.i, &found.x, kernel.rows)?;
        let mut y = side(found.j, &found.y, kernel.columns)?;
        let end_axes = TileAxes { lanes: found.j, rows: None };
        c.segment(end_axes, |_| false);
        let mut end = vec![];
        let mut result = None;
        match &kernel.run {
            Run::Code(code) => code.results(&mut c, &found, &mut end),
            Run::Micro(..) => result = Some(c.bind(found.folds[0], dtype, Count::Tile)),
        }
        x.norm = found.norms[0].map(|id| c.bind(id, dtype, Count::One));
        y.norm = found.norms[1].map(|id| c.bind(id, dtype, Count::Tile));
        let mut select = None;
        let above = if found.above.is_empty() {
            for (id, inst) in ir.code.iter().enumerate() {
                match (inst.op, spec) {
                    (KOp::Store(o), Some(spec)) => {
                        let reg = c.arg(inst.args[0], inst.dtype, Count::Tile, &mut end)?;
                        select = Some(Select::new(spec, reg, launch.operands[o as usize].clone()));
                    }
                    (KOp::Store(_), None) => {
                        c.emit(id as Id, &mut end)?;
                    }
                    _ => {}
                }
            }
            None
        } else {
            Some(Above::new(&mut c, launch, &found, &mut end)?)
        };
        let end_operands = operands(ir, launch, end_axes);
        let direct = match end[..] {
            // Several segments are added up in scratch: rows of results may lie any distance apart.
            [TOp::Store { src, operand }] if Some(src) == result && !one && k <= SEGMENT => {
                (end_operands[operand as usize].lane == 1).then_some(operand)
            }
            _ => None,
        };
        let stored = end.iter().rev().find_map(|op| match *op {
            TOp::Store { operand, .. } if end_operands[operand as usize].lane == 1 => Some(operand),
            _ => None,
        });
        let mut fixed: Vec<Reg> = c.params.iter().map(|p| p.1).collect();
        fixed.extend(x.values.iter().chain(&y.values).map(|v| v.reg).chain(result));
        fixed.extend(x.norm.iter().chain(&y.norm));
        fixed.extend(above.iter().flat_map(|a| a.fixed()));
        fixed.extend(select.iter().map(|s| s.fixed()));
        let tile = (kernel.rows.max(kernel.columns) * SEGMENT.min(k)).max(COLUMNS);
        let last = above.as_ref().map_or(&[][..], |a| &a.end);
        let main = match &kernel.run {
            Run::Code(code) => {
                fixed.extend(code.fixed());
                &code.ops[..]
            }
            Run::Micro(..) => &[],
        };
        let homes = Homes::new(&c.regs, &[&c.setup, &x.ops, &y.ops, main, &end, last], &fixed, tile, 0);
        let sides = [found.i, found.j, Some(found.k)];
        let batch = (0..ir.axes as usize).filter(|&a| !sides.contains(&Some(a))).collect();
        Ok(Pairwise {
            launch: launch.clone(),
            batch,
            k: found.k,
            x,
            y,
            kernel,
            dtype,
            result,
            end,
            end_operands,
            direct,
            stored,
            above,
            select,
            regs: c.regs,
            params: c.params,
            setup: c.setup,
            homes,
            tile,
            isa,
        })
    }

    fn extent(&self, axis: Option<usize>) -> usize {
        axis.map_or(1, |a| self.launch.extents[a])
    }

    /// The columns of a tile.
    fn tile(&self, t: usize) -> Range<usize> {
        t * COLUMNS..self.extent(self.y.axis).min((t + 1) * COLUMNS)
    }

    /// The operand that y is, and its elements from step to step, where columns lie side by side in memory: they are read there.
    fn y_lies(&self) -> Option<(u8, usize)> {
        match self.y.ops[..] {
            [TOp::Load { operand: o, .. }] if self.y.norm.is_none() => {
                let info = self.y.operands[o as usize];
                (info.row == 1 && info.lane >= 0).then_some((o, info.lane as usize))
            }
            _ => None,
        }
    }

    fn panels(&self, s: &Side) -> usize {
        self.extent(s.axis).div_ceil(s.width)
    }

    fn seek<'a>(&'a self, f: &mut Frame<'a>, i: usize, j: usize, operands: &'a [OperandInfo], args: &Args<'_>) {
        for (axis, at) in [(self.x.axis, i), (self.y.axis, j), (Some(self.k), 0)] {
            if let Some(a) = axis {
                f.index[a] = at;
            }
        }
        f.seek_with(&self.launch, args.bases, operands);
    }

    /// Computes the values of segment `s` of a panel.
    unsafe fn fill<'a>(&'a self, f: &mut Frame<'a>, side: &'a Side, panel: usize, s: usize, args: &Args<'_>) {
        let (first, at) = (panel * side.width, s * SEGMENT);
        for axis in [self.x.axis, self.y.axis].into_iter().flatten() {
            f.index[axis] = 0;
        }
        if let Some(a) = side.axis {
            f.index[a] = first;
        }
        f.index[self.k] = at;
        f.rows = (self.extent(side.axis) - first).min(side.width);
        f.lanes = (self.launch.extents[self.k] - at).min(SEGMENT);
        f.axes = side.axes;
        f.seek_with(&self.launch, args.bases, &side.operands);
        if !side.plain() {
            // SAFETY: the launch covers the tile.
            unsafe { f.run(&side.ops) };
        }
    }

    /// Packs value `v` of the segment that was computed last, and adds it to the norms of its rows.
    unsafe fn pack(&self, f: &Frame<'_>, side: &Side, v: usize, s: usize, to: *mut u8, norm: *mut u8) {
        let (rows, steps, value) = (f.rows, f.lanes, &side.values[v]);
        let (from, lane, row) = match side.ops[..] {
            [TOp::Load { operand: o, .. }] => {
                let info = side.operands[o as usize];
                (f.ptrs[o as usize], info.lane, info.row)
            }
            _ => (f.cur[value.reg as usize], 1, steps as isize),
        };
        // SAFETY: `rows * steps` elements are read, the panel's part of `steps * width` is written.
        unsafe {
            match value.size {
                1 => transpose::<u8>(self.isa, from, lane, row, rows, steps, to, side.width),
                2 => transpose::<u16>(self.isa, from as *const u16, lane, row, rows, steps, to as *mut u16, side.width),
                4 => transpose::<u32>(self.isa, from as *const u32, lane, row, rows, steps, to as *mut u32, side.width),
                _ => transpose::<u64>(self.isa, from as *const u64, lane, row, rows, steps, to as *mut u64, side.width),
            }
            if side.norm.is_some() {
                norms::segment(self.isa, value.size, to, steps, side.width, norm, s > 0);
            }
        }
    }

    /// The results of a block: whether they are in the thread's own scratch, rows [`PITCH`] apart (else they are where
    /// they belong).
    unsafe fn block<'a>(
        &'a self,
        f: &mut Frame<'a>,
        rows: Range<usize>,
        columns: Range<usize>,
        at: Packed,
        args: &Args<'_>,
    ) -> bool {
        let (run, part) = match &self.kernel.run {
            Run::Micro(run, part) => (*run, *part),
            Run::Code(code) => {
                // SAFETY: the caller's.
                unsafe { self.fold_block(f, code, rows, columns, at) };
                return true;
            }
        };
        let (k, size) = (self.launch.extents[self.k], self.dtype.size());
        let (mr, nr) = (self.kernel.rows, self.kernel.columns);
        let n = self.extent(self.x.axis);
        let (i0, j0) = (rows.start * mr, columns.start);
        let (count, width) = ((n - i0).min(rows.len() * mr), columns.len());
        self.seek(f, i0, j0, &self.end_operands, args);
        let edge = f.own.wrapping_add(TALL * mr * PITCH * size);
        let row = |o: u8, i: usize| (f.ptrs[o as usize], self.launch.operands[o as usize].strides[i]);
        let (out, pitch) = match (self.direct, self.x.axis) {
            (Some(o), Some(i)) if !args.in_place => row(o, i),
            _ => (f.own, PITCH as isize),
        };
        let direct = out != f.own;
        let own = (out, pitch * size as isize, size);
        let to = match (self.stored, self.x.axis) {
            (Some(o), Some(i)) if !direct => {
                let (p, stride) = row(o, i);
                let size = self.end_operands[o as usize].size;
                (p, stride * size as isize, size)
            }
            _ => own,
        };
        let segments = k.div_ceil(SEGMENT).max(1);
        let Some(y) = at.y else {
            let own = edge.wrapping_add(mr * nr * size);
            let plain = self.y_lies();
            // Those of whole blocks row by row of memory, a few at a time, so that long runs of it are read.
            let mut whole = 0;
            if let (Some((o, lane)), Some(part), 1..) = (plain, part, k) {
                whole = width / nr * nr;
                self.seek(f, i0, j0, &self.y.operands, args);
                let yp = f.ptrs[o as usize] as *const u8;
                for l in (0..k).step_by(PART) {
                    let (begins, add) = (l % SEGMENT == 0, l >= SEGMENT);
                    let steps = (k - l).min(PART);
                    let ends = (l + steps) % SEGMENT == 0 || l + steps == k;
                    let xp = (at.x + (i0 * k + l) * size) as *const u8;
                    for j in (0..whole).step_by(nr) {
                        let (yp, j) = (yp.wrapping_add((l * lane + j) * size), j * size);
                        let (chain, out) = (own.wrapping_add(j), f.own.wrapping_add(j));
                        // SAFETY: `own` has room for a segment of a panel, so for `COLUMNS` columns; the launch covers y.
                        unsafe { part(steps, xp, yp, lane, chain, out, begins, ends, add) };
                    }
                }
            }
            for j in (whole..width).step_by(nr) {
                let norm = (at.norms[1] + (j0 + j) * size) as *mut u8;
                for s in 0..segments {
                    let steps = (k - s * SEGMENT).min(SEGMENT);
                    let xp = (at.x + (i0 * k + s * SEGMENT * mr) * size) as *const u8;
                    // SAFETY: `own` has room for a segment, the scratch for whole blocks.
                    unsafe {
                        let (yp, step) = match plain {
                            Some((o, lane)) if width - j >= nr => {
                                self.seek(f, i0, j0 + j, &self.y.operands, args);
                                (f.ptrs[o as usize].wrapping_add(s * SEGMENT * lane * size) as *const u8, lane)
                            }
                            _ => {
                                self.fill(f, &self.y, (j0 + j) / nr, s, args);
                                self.pack(f, &self.y, 0, s, own, norm);
                                (own as *const u8, nr)
                            }
                        };
                        let out = f.own.wrapping_add(j * size);
                        let xp = Rows { at: xp, row: 1, step: mr };
                        run(steps, xp, yp, step, out, PITCH, s > 0, out, 0);
                    }
                }
            }
            return true;
        };
        for s in 0..segments {
            let k0 = s * SEGMENT;
            let steps = (k - k0).min(SEGMENT);
            let (x0, x_row, x_rows) = match at.lies.x {
                // All operands are at the block since it began.
                Some((o, row, step)) => (f.ptrs[o as usize].wrapping_add(k0 * step * size), row * size, (row, step)),
                None => (self.value(&self.x, at.x, 0, i0, k0), steps * size, (1, mr)),
            };
            // Whole panels, by step or by panel.
            let (y0, y_column, y_step) = match at.lies.y {
                Some((o, lane)) => (f.ptrs[o as usize].wrapping_add(k0 * lane * size), size, lane),
                None => (self.value(&self.y, y, 0, j0, k0), steps * size, nr),
            };
            // What is stored comes into the caches with the last segment.
            let (to, to_row, to_size) = if s + 1 == segments { to } else { own };
            for j in (0..width).step_by(nr) {
                let yp = y0.wrapping_add(j * y_column);
                for i in (0..count).step_by(mr) {
                    let xp = Rows { at: x0.wrapping_add(i * x_row), row: x_rows.0, step: x_rows.1 };
                    let at = |i: usize| out.wrapping_offset((i as isize * pitch + j as isize) * size as isize);
                    let ahead = to.wrapping_offset(i as isize * to_row + (j * to_size) as isize);
                    let whole = (count - i >= mr && width - j >= nr) && pitch >= 0;
                    // SAFETY: the panels hold these steps; whole blocks lie within the results, others in `edge`.
                    unsafe {
                        if whole || !direct {
                            // Own scratch has room for whole blocks at its edges.
                            run(steps, xp, yp, y_step, at(i), pitch as usize, s > 0, ahead, to_row);
                        } else {
                            run(steps, xp, yp, y_step, edge, nr, false, ahead, to_row);
                            for r in 0..(count - i).min(mr) {
                                let n = (width - j).min(nr) * size;
                                std::ptr::copy_nonoverlapping(edge.add(r * nr * size), at(i + r), n);
                            }
                        }
                    }
                }
            }
        }
        !direct
    }

    /// Runs the epilogue on each row of a block in own scratch, and `each` after it.
    unsafe fn rows<'a>(
        &'a self,
        f: &mut Frame<'a>,
        rows: Range<usize>,
        columns: Range<usize>,
        at: Packed,
        args: &Args<'_>,
        mut each: impl FnMut(&mut Frame<'a>, usize),
    ) {
        let size = self.dtype.size();
        let (i0, j0, width) = (rows.start * self.kernel.rows, columns.start, columns.len());
        let count = (self.extent(self.x.axis) - i0).min(rows.len() * self.kernel.rows);
        for r in 0..count {
            (f.rows, f.lanes, f.axes) = (1, width, TileAxes { lanes: self.y.axis, rows: None });
            self.seek(f, i0 + r, j0, &self.end_operands, args);
            match (&self.kernel.run, self.result) {
                // SAFETY: the block's states are whole.
                (Run::Code(code), _) => unsafe { self.finish_row(f, code, r, width) },
                (_, Some(reg)) => f.cur[reg as usize] = f.own.wrapping_add(r * PITCH * size),
                _ => {}
            }
            for (side, first, norms) in [(&self.x, i0 + r, at.norms[0]), (&self.y, j0, at.norms[1])] {
                if let Some(reg) = side.norm {
                    f.cur[reg as usize] = (norms + first * size) as *mut u8;
                }
            }
            // SAFETY: the launch covers the row.
            unsafe { f.run(&self.end) };
            each(f, i0 + r);
        }
    }
}
