//! Folds over j of what pairs give: the nearest row, how many are near, the sum of a kernel's values. The matrix of pairs
//! exists only as blocks in cache.
//!
//! A row is folded in tiles of [`COLUMNS`] and chunks of [`CHUNK`] columns, which are joined as those of a
//! stored row are, so the bits are the same, whatever the number of threads.

use super::find::Found;
use super::{COLUMNS, Packed, Pairwise};
use crate::backend::Args;
use crate::backend::cpu::program::{Compiler, Count, FoldOp, Reg, TOp, TileAxes};
use crate::backend::cpu::states::in_pairs;
use crate::backend::cpu::threads::{Threads, Worth};
use crate::backend::cpu::tile::{Bad, Frame, OperandInfo, operands};
use crate::error::Result;
use crate::kernel::{Id, KOp, Launch};
use crate::ops::reduce::{LANES, TILE, Tree};
use std::ops::Range;

/// Columns of a chunk.
const CHUNK: usize = 1 << 16;
const _: () = assert!(COLUMNS == TILE);

/// The folds over j and what follows them.
pub struct Above {
    folds: Vec<FoldOp>,
    /// From the folds' results to what is stored: tiles of rows.
    pub end: Vec<TOp>,
    operands: Vec<OperandInfo>,
    /// The norms of x, as a tile.
    norm: Option<Reg>,
}

impl Above {
    /// Compiles them: what makes the folds' arguments goes to `row`.
    pub fn new(c: &mut Compiler<'_>, launch: &Launch, found: &Found, row: &mut Vec<TOp>) -> Result<Above> {
        let mut folds = vec![];
        for &id in &found.above {
            folds.push(c.fold(id, Count::Tile, row)?);
        }
        let axes = TileAxes { lanes: found.i, rows: None };
        c.segment(axes, |_| false);
        let mut end = vec![];
        let norm = found.norms[0].map(|id| c.bind(id, found.dtype, Count::Tile));
        for (f, &id) in folds.iter().zip(&found.above) {
            c.result(id, f, &mut end);
        }
        for (id, inst) in c.ir.code.iter().enumerate() {
            if matches!(inst.op, KOp::Store(_)) {
                c.emit(id as Id, &mut end)?;
            }
        }
        Ok(Above { folds, end, operands: operands(c.ir, launch, axes), norm })
    }

    /// Registers that keep their places.
    pub fn fixed(&self) -> impl Iterator<Item = Reg> {
        self.folds.iter().flat_map(|f| [f.dst, f.arg]).chain(self.norm)
    }

    /// Bytes of the states of `n` rows of `m` columns.
    pub fn bytes(&self, n: usize, m: usize) -> usize {
        self.folds.iter().map(|f| self.fold_bytes(f, n, m)).sum()
    }

    /// Bytes of what the folds have open of `rows` rows of `m` columns.
    pub fn open_bytes(&self, rows: usize, m: usize) -> usize {
        self.folds.iter().map(|f| rows * tree_bytes(f, m)).sum()
    }

    fn fold_bytes(&self, f: &FoldOp, n: usize, m: usize) -> usize {
        let lanes = n * chunks(m);
        f.sizes.iter().map(|s| (s * lanes).next_multiple_of(64)).sum()
    }
}

/// Bytes of the open tree of a chunk of a row.
fn tree_bytes(f: &FoldOp, m: usize) -> usize {
    f.loops.tree.map_or(0, |_| Tree::nodes(m.min(CHUNK).div_ceil(TILE)) * m.min(LANES) * f.sizes[0])
}

/// Chunks of a row of `m` columns: units of work.
pub fn chunks(m: usize) -> usize {
    m.div_ceil(CHUNK).max(1)
}

/// One run over one batch.
pub struct Run<'a> {
    /// The kernel.
    pub kernel: &'a Pairwise,
    /// Its folds.
    pub above: &'a Above,
    /// What is packed.
    pub at: Packed,
    /// Address of the states.
    pub states: usize,
    /// Operands and scalars.
    pub args: &'a Args<'a>,
}

impl<'a> Run<'a> {
    /// Everything: states of each chunk of each row, then their results.
    pub fn all(
        &self,
        threads: &Threads,
        worth: Worth,
        groups: usize,
        rows: &(impl Fn(usize) -> Range<usize> + Sync),
        place: &(impl Fn(&mut Frame<'_>) + Sync),
        bad: &'a Bad,
    ) -> Result<()> {
        let k = self.kernel;
        let (n, m) = (k.extent(k.x.axis), k.extent(k.y.axis));
        let chunks = chunks(m);
        threads.spread(groups * chunks, worth, &|next| {
            k.thread(self.args, bad, |f| {
                place(f);
                while let Some(u) = next() {
                    // SAFETY: the units' states do not overlap.
                    unsafe { self.chunk(f, rows(u / chunks), u % chunks) };
                }
            });
        })?;
        threads.spread(n.div_ceil(COLUMNS), if n <= COLUMNS { Worth::Alone } else { worth }, &|next| {
            k.thread(self.args, bad, |f| {
                place(f);
                while let Some(t) = next() {
                    // SAFETY: as above.
                    unsafe { self.finish(f, t * COLUMNS, (n - t * COLUMNS).min(COLUMNS)) };
                }
            });
        })
    }

    /// The states of fold `at` for row `i` and chunk `c`; rows of a chunk stand side by side.
    fn state(&self, at: usize, i: usize, c: usize) -> (*mut u8, *mut u8) {
        let k = self.kernel;
        let (n, m) = (k.extent(k.x.axis), k.extent(k.y.axis));
        let before: usize = self.above.folds[..at].iter().map(|f| self.above.fold_bytes(f, n, m)).sum();
        let [s0, s1] = self.above.folds[at].sizes;
        let first = self.states + before;
        let second = first + (s0 * n * chunks(m)).next_multiple_of(64);
        let lane = c * n + i;
        ((first + lane * s0) as *mut u8, (second + lane * s1) as *mut u8)
    }

    /// Folds one chunk of some rows.
    unsafe fn chunk(&self, f: &mut Frame<'a>, rows: Range<usize>, c: usize) {
        let k = self.kernel;
        let (n, m) = (k.extent(k.x.axis), k.extent(k.y.axis));
        let (from, to) = (c * CHUNK, ((c + 1) * CHUNK).min(m));
        let first = rows.start * k.kernel.rows;
        let count = (n - first).min(rows.len() * k.kernel.rows);
        for (a, fold) in self.above.folds.iter().enumerate() {
            let (s0, s1) = self.state(a, first, c);
            // SAFETY: the states of `count` rows stand side by side.
            unsafe { (fold.loops.init)(s0, s1, count) };
        }
        let (isa, width, leaves) = (k.isa as usize, m.min(LANES), (to - from).div_ceil(TILE));
        let open = f.own.wrapping_add(k.own_bytes());
        for tile in from / COLUMNS..to.div_ceil(COLUMNS) {
            let each = |f: &mut Frame<'a>, i: usize| {
                let mut before = 0;
                for (a, fold) in self.above.folds.iter().enumerate() {
                    let values = match fold.direct {
                        Some(o) => f.ptrs[o as usize] as *const u8,
                        None => f.cur[fold.arg as usize] as *const u8,
                    };
                    let (s0, s1) = self.state(a, i, c);
                    let (base, seen) = (tile * COLUMNS, tile * COLUMNS - from);
                    let bytes = tree_bytes(fold, m);
                    let open = open.wrapping_add(before + (i - first) * bytes);
                    before += count * bytes;
                    // SAFETY: the tile has `lanes` values, state and open tree are one row's.
                    unsafe {
                        match fold.loops.tree.filter(|_| leaves > 1) {
                            Some(tree) => {
                                (tree.leaves[isa])(values, f.lanes, seen / TILE, width, open);
                                if base + f.lanes == to {
                                    (tree.close[isa])(leaves, width, open, s0);
                                }
                            }
                            None => (fold.loops.rows[isa])(values, f.lanes, base as i64, seen as i64, s0, s1),
                        }
                    }
                }
            };
            // SAFETY: the caller's.
            unsafe {
                k.block(f, rows.clone(), k.tile(tile), self.at, self.args);
                k.rows(f, rows.clone(), k.tile(tile), self.at, self.args, each);
            }
        }
    }

    /// Results of `count` rows, and what follows from them.
    unsafe fn finish(&self, f: &mut Frame<'a>, first: usize, count: usize) {
        let k = self.kernel;
        let m = k.extent(k.y.axis);
        k.seek(f, first, 0, &self.above.operands, self.args);
        (f.rows, f.lanes, f.axes) = (1, count, TileAxes { lanes: k.x.axis, rows: None });
        for (a, fold) in self.above.folds.iter().enumerate() {
            let (s0, s1) = self.state(a, first, 0);
            in_pairs(chunks(m), |into, from| {
                let (p0, p1) = self.state(a, first, from);
                let (i0, i1) = self.state(a, first, into);
                let (seen, more) = ((from - into) * CHUNK, (m - from * CHUNK).min((from - into) * CHUNK));
                // SAFETY: both hold `count` rows.
                unsafe {
                    (fold.loops.merge[k.isa as usize])(count, seen as i64, more as i64, i0, i1, p0, p1);
                }
            });
            let to = f.home[fold.dst as usize];
            f.cur[fold.dst as usize] = to;
            // SAFETY: the home holds a tile of results.
            unsafe { (fold.loops.finish)(count, m as i64, s0, s1, to) };
        }
        if let Some(reg) = self.above.norm {
            f.cur[reg as usize] = (self.at.norms[0] + first * k.dtype.size()) as *mut u8;
        }
        // SAFETY: the launch covers the rows.
        unsafe { f.run(&self.above.end) };
    }
}
