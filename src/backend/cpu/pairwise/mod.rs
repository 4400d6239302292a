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
mod select;
#[cfg(test)]
mod tests;
mod transpose;
mod vector;

use super::program::{Compiler, Count, Reg, RegInfo, TOp, TileAxes};
use super::threads::Threads;
use super::tile::{Bad, Frame, Homes, OperandInfo, operands, scratch};
use crate::backend::Args;
use crate::buffer::Pool;
use crate::dtype::DType;
use crate::error::Result;
use crate::kernel::{Id, KOp, KernelIr, Launch, TopKSpec};
use crate::ops::Isa;
use above::Above;
use code::Code;
use find::Found;
use micro::{Kernel, Run};
use select::Select;
use std::ops::Range;
use std::sync::Arc;
use transpose::transpose;

/// Length of a segment of k. Part of the order of a fold.
const SEGMENT: usize = 256;
/// Columns of a block of results that one thread works on.
const COLUMNS: usize = 1024;
/// Elements from row to row of a block in scratch: a power of two of them would all fall into a few sets of the caches.
const PITCH: usize = COLUMNS + 16;
/// Bytes of a row of such a block where it is made of several segments: with its operands the block stays in L2.
const NARROW: usize = 2048;
/// Row panels of a block of results that waits in scratch.
const TALL: usize = 8;
/// Rows of a block in scratch that is as wide as a tile: with what it is stored to, it stays in L2; and threads end together.
const LOW: usize = 48;
/// Rows of results, written in memory order, that short rows of x go by.
const SHORT: usize = 12;
/// Bytes of packed rows that one thread works on where results are written as they are made: a part of L2.
const ROWS: usize = 192 << 10;
/// Steps of k that one row takes together. A segment is whole parts.
const PART: usize = 8;
const _: () = assert!(SEGMENT.is_multiple_of(PART));
/// Bytes of y that is read where it lies, if its columns lie side by side: a half of L1.
const SMALL: usize = 16 << 10;
/// Multiply-adds worth a second thread.
const SERIAL: usize = 1 << 18;

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

/// Where a run has what it packed: panels and norms of x and of y. Of y there is nothing where it is packed as it is needed, or read
/// where it lies.
#[derive(Clone, Copy)]
struct Packed {
    x: usize,
    y: Option<usize>,
    /// The operand that y is, and its elements from step to step.
    lies: Option<(u8, usize)>,
    norms: [usize; 2],
}

/// Whether this is a kernel for [`Pairwise`].
pub fn runs(ir: &KernelIr) -> bool {
    find::find(ir, true).is_some()
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
        find::find(ir, true).map(|found| Self::of(found, ir, launch, None, isa)).transpose()
    }

    /// As [`Pairwise::new`], for a selection from what a kernel makes.
    pub fn selecting(spec: &TopKSpec, isa: Isa) -> Result<Option<Pairwise>> {
        let Some((ir, launch)) = spec.made.as_deref() else { return Ok(None) };
        find::find(ir, true).map(|found| Self::of(found, ir, launch, Some(spec), isa)).transpose()
    }

    fn of(found: Found, ir: &KernelIr, launch: &Launch, spec: Option<&TopKSpec>, isa: Isa) -> Result<Pairwise> {
        let dtype = found.dtype;
        let one = found.i.is_none_or(|a| launch.extents[a] == 1);
        let mut c = Compiler::new(ir, launch, isa);
        let kernel = match found.combine {
            Some(combine) => micro::kernel(combine, dtype, isa, found.i.map_or(1, |a| launch.extents[a])),
            None => {
                let (rows, columns) = code::shape(&found, launch);
                Kernel { run: Run::Code(Code::new(&mut c, launch, &found, columns, isa)?), rows, columns }
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

    /// Runs it.
    pub fn run(&self, threads: &Threads, pool: &Arc<Pool>, args: &Args<'_>, bad: &Bad) -> Result<()> {
        // The operands of a selection stand after the kernel's own.
        let (bases, found) = args.bases.split_at(self.launch.operands.len());
        let args = &Args { bases, ..*args };
        let ext = &self.launch.extents;
        let size = self.dtype.size();
        let batches: usize = self.batch.iter().map(|&a| ext[a]).product();
        let (nx, ny) = (self.panels(&self.x), self.panels(&self.y));
        let norms = |s: &Side| (self.panels(s) * s.width * size).next_multiple_of(64);
        // Of few rows the other operand would be packed for nothing.
        let all = nx > 1 || self.code().is_some();
        let small = all && self.code().is_none() && self.y.bytes <= SMALL;
        let whole = |&(_, lane): &(u8, usize)| small && lane == ny * self.y.width && self.extent(self.y.axis) == lane;
        let lies = self.y_lies().filter(whole);
        let at_x = 64;
        let at_y = at_x + self.x.bytes;
        let at_norms = at_y + if all { self.y.bytes } else { 0 };
        let at_states = at_norms + norms(&self.x) + norms(&self.y);
        let states = self.above.as_ref().map_or(0, |a| a.bytes(self.extent(self.x.axis), self.extent(self.y.axis)));
        let packed = pool.scratch(at_states + states)?;
        let base = packed.address().next_multiple_of(64) - 64;
        let at = Packed {
            x: base + at_x,
            y: all.then_some(base + at_y),
            lies,
            norms: [base + at_norms, base + at_norms + norms(&self.x)],
        };
        let serial = ext.iter().product::<usize>() <= SERIAL;
        for b in 0..batches {
            let place = |f: &mut Frame<'_>| {
                let mut rest = b;
                for &axis in self.batch.iter().rev() {
                    f.index[axis] = rest % ext[axis];
                    rest /= ext[axis];
                }
            };
            threads.spread(if all && lies.is_none() { nx + ny } else { nx }, serial, &|next| {
                self.thread(args, bad, |f| {
                    place(f);
                    while let Some(p) = next() {
                        let (side, p, to, norms) =
                            if p < nx { (&self.x, p, at.x, 0) } else { (&self.y, p - nx, base + at_y, 1) };
                        let norm = at.norms[norms] + p * side.width * size;
                        for s in 0..ext[self.k].div_ceil(SEGMENT).max(1) {
                            // SAFETY: the panel is `width * k` elements of the packed memory, a run for each segment, and this thread's alone.
                            unsafe {
                                self.fill(f, side, p, s, args);
                                for v in 0..side.values.len() {
                                    let to = self.value(side, to, v, p * side.width, s * SEGMENT);
                                    self.pack(f, side, v, s, to, norm as *mut u8);
                                }
                            }
                        }
                    }
                });
            })?;
            // Long rows: several row panels, as many as L2 keeps, for each column panel in L1. Short ones: results in memory order.
            let m = self.extent(self.y.axis);
            let several = ext[self.k] > SEGMENT && all && self.code().is_none();
            let columns = if several { NARROW / size } else { COLUMNS };
            let across = m.div_ceil(columns);
            let inner = self.above.is_some() || self.select.is_some();
            let low = (LOW / self.kernel.rows).clamp(1, TALL);
            let most = match ext[self.k] {
                _ if self.code().is_some() => TALL,
                _ if inner => low,
                0..=64 => (SHORT / self.kernel.rows).max(1),
                _ if several => TALL,
                k if all && self.direct.is_some() && !args.in_place => (ROWS / (self.kernel.rows * k * size)).max(TALL),
                _ => low,
            };
            let tall = match inner {
                true => most,
                false => most.min((nx * across).div_ceil(4 * threads.count())).max(1),
            };
            let groups = nx.div_ceil(tall);
            let rows = |g: usize| g * tall..(g * tall + tall).min(nx);
            if let Some(above) = &self.above {
                let run = above::Run { kernel: self, above, at, states: base + at_states, args };
                run.all(threads, serial, groups, &rows, &place, bad)?;
                continue;
            }
            if let Some(select) = &self.select {
                let to = [found[0], found.get(1).copied().unwrap_or(0)];
                let run = select::Run { kernel: self, select, at, args, to };
                run.all((threads, pool), serial, groups, &rows, &place, bad)?;
                continue;
            }
            threads.spread(groups * across, serial, &|next| {
                self.thread(args, bad, |f| {
                    place(f);
                    while let Some(u) = next() {
                        // Long columns stay in a cache while rows go by.
                        let (g, c) = if several { (u % groups, u / groups) } else { (u / across, u % across) };
                        let (rows, columns) = (rows(g), c * columns..m.min((c + 1) * columns));
                        // SAFETY: blocks of results do not overlap; the packed panels are whole.
                        unsafe {
                            if self.block(f, rows.clone(), columns.clone(), at, args) {
                                self.rows(f, rows, columns, at, args, |_, _| ());
                            }
                        }
                    }
                });
            })?;
        }
        Ok(())
    }

    fn thread<'a>(&'a self, args: &Args<'_>, bad: &'a Bad, body: impl FnOnce(&mut Frame<'a>)) {
        let open = |a: &Above| a.open_bytes(TALL * self.kernel.rows, self.extent(self.y.axis));
        let own = self.own_bytes() + self.above.as_ref().map_or(0, open).next_multiple_of(64);
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

    /// Results of a block, a block that hangs over an edge, and a segment of a panel.
    fn own_bytes(&self) -> usize {
        let k = &self.kernel;
        if let Run::Code(code) = &k.run {
            return code.bytes().next_multiple_of(64);
        }
        ((TALL * k.rows * PITCH + k.rows * k.columns + SEGMENT * k.columns) * self.dtype.size()).next_multiple_of(64)
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
                        run(steps, xp, yp, step, out, PITCH, s > 0, out, 0);
                    }
                }
            }
            return true;
        };
        for s in 0..segments {
            let k0 = s * SEGMENT;
            let steps = (k - k0).min(SEGMENT);
            let x0 = self.value(&self.x, at.x, 0, i0, k0);
            // Whole panels, by step or by panel.
            let (y0, y_column, y_step) = match at.lies {
                Some((o, lane)) => {
                    self.seek(f, i0, j0, &self.y.operands, args);
                    (f.ptrs[o as usize].wrapping_add(k0 * lane * size), size, lane)
                }
                None => (self.value(&self.y, y, 0, j0, k0), steps * size, nr),
            };
            // What is stored comes into the caches with the last segment.
            let (to, to_row, to_size) = if s + 1 == segments { to } else { own };
            for j in (0..width).step_by(nr) {
                let yp = y0.wrapping_add(j * y_column);
                for i in (0..count).step_by(mr) {
                    let xp = x0.wrapping_add(i * steps * size);
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
