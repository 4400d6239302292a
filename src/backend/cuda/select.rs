//! Selections from what a kernel makes: blocks of rows and columns of the array are made in scratch memory, one after the other, and selected
//! from at once. However large the array would be, no more of it is in memory.
//!
//! Bits of chains depend on no block, and what is selected on no order: the result is that of the whole array.

use super::emit::{self, Variant};
use super::launch::{Kernel, Queue};
use super::modules::{Found, Modules};
use super::topk::{MOST, Part};
use crate::backend::Args;
use crate::dtype::DType;
use crate::error::Result;
use crate::kernel::{AxisSet, Class, FoldOrder, KOp, KernelIr, Launch, TopKSpec};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Bytes of a block, unless one row of whole ones is longer.
pub const BYTES: usize = 32 << 20;
/// Rows of a block, about, where columns are cut: enough for a GPU.
const ROWS: usize = 4096;
/// Blocks begin at multiples of it: their elements are aligned as the array's are.
const STEP: usize = 64;

/// Whether [`Blocks`] makes what this kernel stores, an array of rows of `m` elements in C order.
pub fn runs(ir: &KernelIr, launch: &Launch, m: usize) -> bool {
    !ir.folded.is_empty() && in_parts(ir) && m < 1 << 50 && column(ir, launch, m).is_some()
}

/// Whether parts of what a kernel stores have the bits of the whole.
pub fn in_parts(ir: &KernelIr) -> bool {
    // An index would count from the start of a block; where longer rows' elements are takes more bits than there are.
    let indexed = |op: KOp| matches!(op, KOp::Index(_) | KOp::Scan { .. } | KOp::StoreAt(_));
    let stores = ir.code.iter().filter(|i| matches!(i.op, KOp::Store(_))).count();
    // What is no chain is the least or greatest of pairs, or whether any is true: in any order the same.
    let ordered = ir.folded.is_empty() || ir.order == FoldOrder::Chain || matches!(ir.class, Class::Pairwise { .. });
    ordered && !ir.folds_folds() && stores == 1 && !ir.code.iter().any(|i| indexed(i.op))
}

/// The operand that the array is, and the axis of its columns.
fn column(ir: &KernelIr, launch: &Launch, m: usize) -> Option<(usize, usize)> {
    let array = ir.code.iter().find_map(|i| if let KOp::Store(o) = i.op { Some(o as usize) } else { None })?;
    let strides = &launch.operands[array].strides;
    let own = ir.all_axes().minus(ir.folded);
    own.iter().find(|&a| strides[a] == 1 && launch.extents[a] == m).map(|a| (array, a))
}

/// How an array is made in blocks.
#[derive(Debug)]
pub struct Blocks {
    ir: KernelIr,
    /// The operand that the array is.
    array: usize,
    /// Axes of rows, outermost first, and that of columns.
    rows: Vec<usize>,
    column: usize,
    launch: Launch,
    /// Bytes of each operand's elements.
    sizes: Vec<usize>,
    /// Of the axes of rows, the one that is cut: those outside of it are walked index by index, those inside are whole.
    cut: usize,
    /// Indices along it, and columns, of a block.
    block: [usize; 2],
    /// The sizes that blocks have, each with its launch; none once their kernels are there.
    wanted: Vec<([usize; 2], Launch, Variant)>,
    /// The kernel of each size.
    kernels: HashMap<[usize; 2], Kernel>,
    m: usize,
    k: usize,
    dtype: DType,
}

impl Blocks {
    /// Of a selection from what a kernel makes.
    pub fn of(spec: &TopKSpec) -> Option<Blocks> {
        let (ir, launch) = spec.made.as_deref()?;
        let (array, column) = column(ir, launch, spec.m)?;
        let strides = &launch.operands[array].strides;
        let axes = ir.all_axes().minus(ir.folded).minus(AxisSet::one(column));
        let mut rows: Vec<usize> = axes.iter().collect();
        rows.sort_by_key(|&a| std::cmp::Reverse(strides[a]));
        let extents: Vec<usize> = rows.iter().map(|&a| launch.extents[a]).collect();
        let (cut, block) = shape(&extents, spec.m, spec.k, BYTES / spec.dtype.size());
        let mut blocks = Blocks {
            ir: ir.clone(),
            array,
            rows,
            column,
            launch: launch.clone(),
            sizes: ir.operands.iter().map(|o| o.dtype.size()).collect(),
            cut,
            block,
            wanted: vec![],
            kernels: HashMap::new(),
            m: spec.m,
            k: spec.k,
            dtype: spec.dtype,
        };
        let sizes = |n: usize, each: usize| [each.min(n), n % each].into_iter().filter(|&n| n > 0);
        for rows in sizes(extents.get(cut).copied().unwrap_or(1), block[0]) {
            for columns in sizes(spec.m, block[1]) {
                if blocks.wanted.iter().all(|w| w.0 != [rows, columns]) {
                    let launch = blocks.launch_of(rows, columns);
                    let variant = emit::pooled(ir, &launch);
                    blocks.wanted.push(([rows, columns], launch, variant));
                }
            }
        }
        Some(blocks)
    }

    /// The kernels that it needs.
    pub fn wanted(&self) -> impl Iterator<Item = (&KernelIr, &Launch, &Variant)> {
        self.wanted.iter().map(|(_, launch, variant)| (&self.ir, launch, variant))
    }

    /// With these kernels, which were found in the order of [`Blocks::wanted`].
    pub fn with(mut self, found: &mut impl Iterator<Item = Found>, modules: &Modules) -> Result<Blocks> {
        for (size, launch, variant) in std::mem::take(&mut self.wanted) {
            let kernel = Kernel::new(self.ir.clone(), launch, variant, found.next().flatten(), modules)?;
            self.kernels.insert(size, kernel);
        }
        Ok(self)
    }

    /// Rows for each index of the axis that is cut.
    fn inner(&self) -> usize {
        self.rows.iter().skip(self.cut + 1).map(|&a| self.launch.extents[a]).product()
    }

    /// The launch of a block, whose rows lie one behind the other.
    fn launch_of(&self, rows: usize, columns: usize) -> Launch {
        let mut launch = self.launch.clone();
        for (n, &a) in self.rows.iter().enumerate() {
            launch.extents[a] = match n.cmp(&self.cut) {
                std::cmp::Ordering::Less => 1,
                std::cmp::Ordering::Equal => rows,
                std::cmp::Ordering::Greater => launch.extents[a],
            };
            let stride = &mut launch.operands[self.array].strides[a];
            *stride = *stride / self.m as isize * columns as isize;
        }
        launch.extents[self.column] = columns;
        launch.operands[self.array].offset = 0;
        launch
    }

    /// Queues all blocks, each with `select` behind it.
    pub fn run(
        &self,
        on: &Queue,
        modules: &Arc<Modules>,
        args: &Args<'_>,
        select: impl Fn(Part<'_>) -> Result<()>,
    ) -> Result<()> {
        let (size, inner) = (self.dtype.size(), self.inner());
        let extent = |n: usize| self.rows.get(n).map_or(1, |&a| self.launch.extents[a]);
        let outer: usize = (0..self.cut).map(extent).product();
        let most = self.block[0] * inner;
        let scratch = on.pool.scratch(most * self.block[1] * size)?;
        let address = |o: usize| args.bases.get(self.launch.operands.len() + o).map(|&b| b as u64);
        let (to, values) = (address(0).unwrap_or(0), address(1));
        // Rows that come in parts need the elements found so far.
        let kept = match values {
            None if self.block[1] < self.m => Some(on.pool.scratch(most * self.k * size)?),
            _ => None,
        };
        let mut bases = args.bases[..self.launch.operands.len()].to_vec();
        for n in 0..outer {
            let mut at = vec![0; self.launch.extents.len()];
            let mut rest = n;
            for &a in self.rows[..self.cut].iter().rev() {
                at[a] = rest % self.launch.extents[a];
                rest /= self.launch.extents[a];
            }
            for rows in cuts(extent(self.cut), self.block[0]) {
                let row = (n * extent(self.cut) + rows.start) * inner;
                let count = rows.len() * inner;
                let values = match (&kept, values) {
                    (Some(kept), _) => kept.address(),
                    (None, Some(values)) => values + (row * self.k * size) as u64,
                    (None, None) => 0,
                };
                for columns in cuts(self.m, self.block[1]) {
                    if let Some(&a) = self.rows.get(self.cut) {
                        at[a] = rows.start;
                    }
                    at[self.column] = columns.start;
                    for (o, base) in bases.iter_mut().enumerate() {
                        let strides = self.launch.operands[o].strides.iter().zip(&at);
                        let steps: isize = strides.map(|(s, &at)| s * at as isize).sum();
                        *base = match o == self.array {
                            true => scratch.address() as usize,
                            false => args.bases[o].wrapping_add_signed(steps * self.sizes[o] as isize),
                        };
                    }
                    // One for each size was made.
                    if let Some(kernel) = self.kernels.get(&[rows.len(), columns.len()]) {
                        kernel.run(on, modules, &Args { bases: &bases, ..*args })?;
                    }
                    select(Part {
                        batch: &[count],
                        strides: &[columns.len() as isize, 1],
                        m: columns.len(),
                        first: columns.start,
                        at: [scratch.address(), to + (row * self.k * DType::I64.size()) as u64, values],
                    })?;
                }
            }
        }
        Ok(())
    }
}

/// Ranges of `each` indices of `n`.
fn cuts(n: usize, each: usize) -> impl Iterator<Item = Range<usize>> {
    (0..n).step_by(each.max(1)).map(move |from| from..(from + each).min(n))
}

/// Which of the axes of rows is cut, and how many of its indices, and how many columns, a block of so many elements has. Rows from which
/// more is selected than one walk finds are whole.
fn shape(rows: &[usize], m: usize, k: usize, elements: usize) -> (usize, [usize; 2]) {
    let all = rows.iter().fold(1usize, |n, &e| n.saturating_mul(e));
    let step = |n: usize| if n > STEP { n / STEP * STEP } else { n.max(1) };
    let columns = if k > MOST { m } else { m.min(step(elements / all.clamp(1, ROWS)).max(MOST)) };
    let most = (elements / columns.max(1)).max(1);
    let mut inner = 1usize;
    // From the innermost on: as many whole axes as fit.
    for (n, &e) in rows.iter().enumerate().rev() {
        if n == 0 || inner.saturating_mul(e) > most {
            let block = (most / inner).max(1);
            return (n, [if block < e { step(block) } else { e.max(1) }, columns]);
        }
        inner *= e;
    }
    (0, [1, columns])
}

#[cfg(test)]
mod tests {
    use super::shape;

    #[test]
    fn blocks_are_no_larger_than_they_may_be() {
        let million = 1 << 20;
        assert_eq!(shape(&[1000], 1000, 5, million), (0, [1000, 1000]));
        assert_eq!(shape(&[1_000_000], 1_000_000, 5, 16 * million), (0, [4096, 4096]));
        assert_eq!(shape(&[100], 1_000_000, 5, 16 * million), (0, [100, 167_744]));
        assert_eq!(shape(&[100], 100_000_000, 2000, 16 * million), (0, [1, 100_000_000]));
        assert_eq!(shape(&[7, 3, 5], 1000, 5, million), (0, [7, 1000]));
        assert_eq!(shape(&[70_000, 3, 50], 1000, 5, million), (0, [6, 1000]));
        assert_eq!(shape(&[7, 3000, 50], 1000, 5, million), (1, [20, 1000]));
        assert_eq!(shape(&[], 1000, 5, million), (0, [1, 1000]));
        for (rows, m, k) in [(&[5000][..], 5000, 1), (&[3, 9, 11], 70_000, 1024), (&[1, 1 << 40], 1 << 30, 7)] {
            let (cut, [block, columns]) = shape(rows, m, k, million);
            let inner: usize = rows[cut + 1..].iter().product();
            assert!(block * inner * columns <= million && columns >= k.min(m), "{rows:?} {m} {k}");
        }
    }
}
