//! The best of each row of what pairs give: nearest neighbours. The matrix of pairs exists only as blocks in cache.
//!
//! What is selected depends on no order, so columns are cut as suits the threads.

use super::{COLUMNS, Packed, Pairwise};
use crate::backend::Args;
use crate::backend::cpu::program::Reg;
use crate::backend::cpu::threads::{Threads, Worth};
use crate::backend::cpu::tile::{Bad, Frame};
use crate::backend::cpu::topk;
use crate::buffer::Pool;
use crate::error::Result;
use crate::kernel::{Bind, KOp, KernelIr, Launch, TopKSpec};
use std::ops::Range;
use std::sync::Arc;

/// Units for each thread, at least, where there are columns to cut.
const UNITS: usize = 4;

/// The selection, and the register of what it selects from.
pub struct Select {
    spec: TopKSpec,
    reg: Reg,
    /// Where the array would be stored.
    array: Bind,
}

/// Whether what the kernel stores is made in rows that [`Select`] takes.
pub fn runs(ir: &KernelIr, launch: &Launch, m: usize) -> bool {
    let stores: Vec<u8> =
        ir.code.iter().filter_map(|i| if let KOp::Store(o) = i.op { Some(o) } else { None }).collect();
    match (super::find::find(ir, &launch.extents, true), &stores[..]) {
        (Some(f), &[o]) if f.above.is_empty() => {
            f.j.is_some_and(|j| launch.operands[o as usize].strides[j] == 1 && launch.extents[j] == m)
        }
        _ => false,
    }
}

impl Select {
    /// From a register with a row of the array.
    pub fn new(spec: &TopKSpec, reg: Reg, array: Bind) -> Select {
        Select { spec: spec.clone(), reg, array }
    }

    /// The register it reads.
    pub fn fixed(&self) -> Reg {
        self.reg
    }
}

/// One run over one batch.
pub struct Run<'a> {
    /// The kernel.
    pub kernel: &'a Pairwise,
    /// Its selection.
    pub select: &'a Select,
    /// What is packed.
    pub at: Packed,
    /// Operands and scalars of the kernel.
    pub args: &'a Args<'a>,
    /// Where the indices and, unless that is 0, the elements go.
    pub to: [usize; 2],
}

impl<'a> Run<'a> {
    /// Everything: the best of each row, or of each part of it, and then of these.
    pub fn all(
        &self,
        (threads, pool): (&Threads, &Arc<Pool>),
        worth: Worth,
        groups: usize,
        rows: &(impl Fn(usize) -> Range<usize> + Sync),
        place: &(impl Fn(&mut Frame<'_>) + Sync),
        bad: &'a Bad,
    ) -> Result<()> {
        let (k, s) = (self.kernel, &self.select.spec);
        let n = k.extent(k.x.axis);
        let tiles = s.m.div_ceil(COLUMNS);
        let parts = (UNITS * threads.count()).div_ceil(groups).min(tiles);
        let each = tiles.div_ceil(parts);
        let parts = tiles.div_ceil(each);
        let size = s.dtype.size();
        // The best of a part: indices, then elements.
        let found = pool.scratch(if parts > 1 { n * parts * s.k * (8 + size) } else { 0 })?;
        let part = |i: usize, p: usize| {
            let e = (i * parts + p) * s.k;
            (found.address() + e * 8, found.address() + n * parts * s.k * 8 + e * size)
        };
        let best = |rows: usize| topk::rows(s.dtype, s.largest, s.k, rows, k.isa);
        threads.spread(groups * parts, worth, &|next| {
            k.thread(self.args, bad, |f| {
                place(f);
                let row = self.row(f);
                let mut best = best(rows(0).len() * k.kernel.rows);
                while let Some(u) = next() {
                    let (rows, p) = (rows(u / parts), u % parts);
                    let first = rows.start * k.kernel.rows;
                    best.clear();
                    for tile in p * each..((p + 1) * each).min(tiles) {
                        // SAFETY: the packed panels are whole; the row's register holds its columns of the tile.
                        unsafe {
                            k.block(f, rows.clone(), k.tile(tile), self.at, self.args);
                            k.rows(f, rows.clone(), k.tile(tile), self.at, self.args, |f, i| {
                                let from = f.cur[self.select.reg as usize];
                                best.look(i - first, from, 1, f.lanes, (tile * COLUMNS) as i64);
                            });
                        }
                    }
                    for i in first..(rows.end * k.kernel.rows).min(n) {
                        let (at, values) = if parts > 1 { part(i, p) } else { self.place(row(i)) };
                        // SAFETY: no one else writes this row's results.
                        unsafe { best.finish(i - first, at as *mut i64, values as *mut u8) };
                    }
                }
            });
        })?;
        if parts == 1 {
            return Ok(());
        }
        threads.spread(n, worth.min(Worth::of(n * parts * s.k, super::run::ALONE)), &|next| {
            k.thread(self.args, bad, |f| {
                place(f);
                let row = self.row(f);
                let mut best = best(1);
                while let Some(i) = next() {
                    best.clear();
                    for p in 0..parts {
                        let (at, values) = part(i, p);
                        let seen = (s.m - p * each * COLUMNS).min(each * COLUMNS);
                        // SAFETY: the part's results are there, all that it has.
                        unsafe { best.look_at(0, values as *const u8, at as *const i64, seen.min(s.k)) };
                    }
                    let (at, values) = self.place(row(i));
                    // SAFETY: as above.
                    unsafe { best.finish(0, at as *mut i64, values as *mut u8) };
                }
            });
        })
    }

    /// From a row of the batch to a row of all results, which lie in C order.
    fn row(&self, f: &Frame<'_>) -> impl Fn(usize) -> usize + use<'a> {
        let strides = &self.select.array.strides;
        let (i, m) = (self.kernel.x.axis, self.select.spec.m as isize);
        let fixed = |&(a, _): &(usize, &isize)| Some(a) != i && Some(a) != self.kernel.y.axis;
        let first: isize = strides.iter().enumerate().filter(fixed).map(|(a, s)| f.index[a] as isize * s).sum();
        let step = i.map_or(0, |i| strides[i]);
        move |i| ((first + i as isize * step) / m) as usize
    }

    /// Where the results of a row go.
    fn place(&self, row: usize) -> (usize, usize) {
        let s = &self.select.spec;
        let values = if self.to[1] == 0 { 0 } else { self.to[1] + row * s.k * s.dtype.size() };
        (self.to[0] + row * s.k * 8, values)
    }
}
