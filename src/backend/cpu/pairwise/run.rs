//! A run of a compiled kernel: batch after batch by all threads or, where batches are small, each by one thread.

use super::micro::Run;
use super::{COLUMNS, Lies, PITCH, Packed, Pairwise, SEGMENT, Side, TALL, above, select};
use crate::backend::Args;
use crate::backend::cpu::program::TOp;
use crate::backend::cpu::threads::{Next, Threads, Worth, in_turn};
use crate::backend::cpu::tile::{Bad, Frame, scratch};
use crate::buffer::Pool;
use crate::error::Result;
use std::sync::{Arc, OnceLock};

/// Bytes of a row of a block in scratch where it is made of several segments: with its operands the block stays in L2.
const NARROW: usize = 2048;
/// Rows of a block in scratch that is as wide as a tile: with what it is stored to, it stays in L2; and threads end together.
const LOW: usize = 48;
/// Rows of results, written in memory order, that short rows of x go by.
const SHORT: usize = 12;
/// Bytes of packed rows that one thread works on where results are written as they are made: a part of L2.
const ROWS: usize = 192 << 10;
/// Bytes of a side that is read where it lies, if it is a factor of a product or its columns lie side by side: a half of L1.
const SMALL: usize = 16 << 10;
/// Multiply-adds that one thread makes as soon as two.
pub(super) const ALONE: usize = 1 << 17;
/// Bytes that a batch packs at most where each thread works on batches of its own: they stay in its L2.
const APART: usize = 512 << 10;

/// What the batches of a run have in common.
struct Work<'a> {
    threads: &'a Threads,
    pool: &'a Arc<Pool>,
    args: &'a Args<'a>,
    /// Where what is selected goes.
    found: &'a [usize],
    bad: &'a Bad,
    lies: Lies,
}

/// Where a batch has what it packs, and the states of folds over j.
#[derive(Clone, Copy)]
struct Memory {
    x: usize,
    y: usize,
    norms: [usize; 2],
    states: usize,
    end: usize,
}

impl Pairwise {
    /// Runs it.
    pub fn run(&self, threads: &Threads, pool: &Arc<Pool>, args: &Args<'_>, bad: &Bad) -> Result<()> {
        // The operands of a selection stand after the kernel's own.
        let (bases, found) = args.bases.split_at(self.launch.operands.len());
        let lies = self.lies();
        let work = Work { threads, pool, args: &Args { bases, ..*args }, found, bad, lies };
        let ext = &self.launch.extents;
        let batches: usize = self.batch.iter().map(|&a| ext[a]).product();
        let worth = Worth::of(ext.iter().product(), ALONE);
        let bytes = self.memory(0, lies).end;
        if batches < 4 * threads.count() || bytes > APART {
            let packed = if bytes > 0 { Some(pool.scratch(bytes)?) } else { None };
            let memory = self.memory(packed.as_ref().map_or(0, |p| p.address()), lies);
            return (0..batches).try_for_each(|b| self.batch(&work, b, memory, worth));
        }
        let failed = OnceLock::new();
        threads.spread(batches, worth, &|next| {
            let all = || {
                let packed = pool.scratch(bytes)?;
                let memory = self.memory(packed.address(), lies);
                while let Some(b) = next() {
                    self.batch(&work, b, memory, Worth::Alone)?;
                }
                Ok(())
            };
            if let Err(e) = all() {
                let _ = failed.set(e);
            }
        })?;
        failed.into_inner().map_or(Ok(()), Err)
    }

    /// Of few rows the other operand would be packed for nothing.
    fn packs_all(&self) -> bool {
        self.panels(&self.x) > 1 || self.code().is_some()
    }

    /// What is read where it lies.
    fn lies(&self) -> Lies {
        if !self.packs_all() || self.code().is_some() {
            return Lies::default();
        }
        let (n, m) = (self.extent(self.x.axis), self.extent(self.y.axis));
        let x = match self.x.ops[..] {
            [TOp::Load { operand: o, .. }] if self.kernel.anywhere && self.x.norm.is_none() => {
                let info = self.x.operands[o as usize];
                let whole = n.is_multiple_of(self.kernel.rows) && self.x.bytes <= SMALL;
                let forth = info.row >= 0 && info.lane >= 0;
                (whole && forth).then_some((o, info.row as usize, info.lane as usize))
            }
            _ => None,
        };
        let whole = |&(_, lane): &(u8, usize)| lane == m && m.is_multiple_of(self.y.width) && self.y.bytes <= SMALL;
        Lies { x, y: self.y_lies().filter(whole) }
    }

    /// Aligned as `base`, a multiple of 64.
    fn memory(&self, base: usize, lies: Lies) -> Memory {
        let norms = |s: &Side| (self.panels(s) * s.width * self.dtype.size()).next_multiple_of(64);
        let (n, m) = (self.extent(self.x.axis), self.extent(self.y.axis));
        let y = base + if lies.x.is_some() { 0 } else { self.x.bytes };
        let x_norms = y + if self.packs_all() && lies.y.is_none() { self.y.bytes } else { 0 };
        let y_norms = x_norms + norms(&self.x);
        let states = y_norms + norms(&self.y);
        let end = states + self.above.as_ref().map_or(0, |a| a.bytes(n, m));
        Memory { x: base, y, norms: [x_norms, y_norms], states, end }
    }

    /// One batch, which is packed to `memory`.
    fn batch<'a>(&'a self, work: &Work<'a>, b: usize, memory: Memory, worth: Worth) -> Result<()> {
        let Work { threads, pool, args, found, bad, lies } = *work;
        let ext = &self.launch.extents;
        let size = self.dtype.size();
        let (nx, ny) = (self.panels(&self.x), self.panels(&self.y));
        let all = self.packs_all();
        let alone = worth == Worth::Alone;
        let at = Packed { x: memory.x, y: all.then_some(memory.y), lies, norms: memory.norms };
        let place = |f: &mut Frame<'_>| {
            let mut rest = b;
            for &axis in self.batch.iter().rev() {
                f.index[axis] = rest % ext[axis];
                rest /= ext[axis];
            }
        };
        let packed = [if lies.x.is_none() { nx } else { 0 }, if all && lies.y.is_none() { ny } else { 0 }];
        let pack = |f: &mut Frame<'a>, next: &Next<'_>| {
            while let Some(p) = next() {
                let (side, p, to, norms) =
                    if p < packed[0] { (&self.x, p, at.x, 0) } else { (&self.y, p - packed[0], memory.y, 1) };
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
        };
        let inner = self.above.is_some() || self.select.is_some();
        if (!alone || inner) && packed != [0, 0] {
            threads.spread(packed[0] + packed[1], worth, &|next| {
                self.thread(args, bad, |f| {
                    place(f);
                    pack(f, next);
                });
            })?;
        }
        // Long rows: several row panels, as many as L2 keeps, for each column panel in L1. Short ones: results in memory order.
        let m = self.extent(self.y.axis);
        let several = ext[self.k] > SEGMENT && all && self.code().is_none();
        let columns = if several { NARROW / size } else { COLUMNS };
        let across = m.div_ceil(columns);
        let low = (LOW / self.kernel.rows).clamp(1, TALL);
        let most = match ext[self.k] {
            _ if self.code().is_some() => TALL,
            _ if inner => low,
            0..=64 => (SHORT / self.kernel.rows).max(1),
            _ if several => TALL,
            k if all && self.direct.is_some() && !args.in_place => (ROWS / (self.kernel.rows * k * size)).max(TALL),
            _ => low,
        };
        // Selections cut columns as the threads need it, folds over j in chunks, others in blocks.
        let cuts = if self.above.is_some() { above::chunks(m) } else { across };
        let tall = match self.select {
            Some(_) => most,
            None => most.min((nx * cuts).div_ceil(4 * threads.count())).max(1),
        };
        let groups = nx.div_ceil(tall);
        let rows = |g: usize| g * tall..(g * tall + tall).min(nx);
        if let Some(above) = &self.above {
            let run = above::Run { kernel: self, above, at, states: memory.states, args };
            return run.all(threads, worth, groups, &rows, &place, bad);
        }
        if let Some(select) = &self.select {
            let to = [found[0], found.get(1).copied().unwrap_or(0)];
            let run = select::Run { kernel: self, select, at, args, to };
            return run.all((threads, pool), worth, groups, &rows, &place, bad);
        }
        let make = |f: &mut Frame<'a>, next: &Next<'_>| {
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
        };
        threads.spread(groups * across, worth, &|next| {
            self.thread(args, bad, |f| {
                place(f);
                if alone {
                    pack(f, &in_turn(packed[0] + packed[1]));
                }
                make(f, next);
            });
        })
    }

    pub(super) fn thread<'a>(&'a self, args: &Args<'_>, bad: &'a Bad, body: impl FnOnce(&mut Frame<'a>)) {
        let open = |a: &above::Above| a.open_bytes(TALL * self.kernel.rows, self.extent(self.y.axis));
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
    pub(super) fn own_bytes(&self) -> usize {
        let k = &self.kernel;
        if let Run::Code(code) = &k.run {
            return code.bytes().next_multiple_of(64);
        }
        ((TALL * k.rows * PITCH + k.rows * k.columns + SEGMENT * k.columns) * self.dtype.size()).next_multiple_of(64)
    }
}
