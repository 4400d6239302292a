//! A kernel's argument struct, the bytes that fill it, and its grid.

use super::write::Writer;
use super::{Scheme, Variant, fold, map, scheme};
use crate::error::{Error, Result};
use crate::kernel::limits::{ARGUMENTS, Size};
use crate::kernel::{AxisSet, Class, KOp, KernelIr, Launch, Role, Width};

/// Threads of a block.
pub const THREADS: u32 = 256;
/// Blocks along x at most; what is left over, the blocks take in turns.
const MAX_BLOCKS: u64 = 1 << 16;
/// Blocks along x that a device takes at most.
const MAX_GRID: u64 = (1 << 31) - 1;
/// Bytes kept for one state of a fold in [`Grid::scratch`]. `kernels/reduce.cuh` counts on it, too.
const STATE_BYTES: usize = 24;

/// What a launch needs beside its arguments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grid {
    /// Blocks along x and y.
    pub blocks: (u32, u32),
    /// Threads along x and y.
    pub threads: (u32, u32),
    /// Bytes of scratch memory.
    pub scratch: usize,
    /// How many u32 tickets; they have to be 0, and are 0 again afterwards.
    pub tickets: usize,
    /// Where blocks share the folded axis of pairs.
    pub rounds: Option<Rounds>,
}

/// Segments of k that blocks share: in rounds, each of which keeps no more than the scratch memory holds. In a round, blocks leave each
/// segment's fold, and a second kernel joins them in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rounds {
    /// All segments.
    pub segments: u64,
    /// Those of a round, but for the last.
    pub each: u64,
    /// Blocks of the kernel that joins them; its threads are as many as the other's.
    pub join: u32,
}

/// Addresses that are no operands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Aux {
    /// Two u64: operand + 1 of the first index out of range (else 0), and that index.
    pub fault: u64,
    /// [`Grid::scratch`] bytes.
    pub scratch: u64,
    /// [`Grid::tickets`] words.
    pub tickets: u64,
    /// The first segment of this launch's round, and how many it has.
    pub round: [u64; 2],
}

/// Writes the struct `Args` and the index types.
pub(super) fn declare(w: &mut Writer) {
    let (count, index, extent) = match w.ir.index {
        Width::W32 => ("u32", "i32", "Extent32"),
        Width::W64 => ("u64", "i64", "Extent64"),
    };
    w.line(format_args!("typedef {count} Count;"));
    w.line(format_args!("typedef {index} Index;"));
    w.line(format_args!("typedef {extent} Extent;"));
    w.line(format_args!(""));
    w.open(format_args!("struct Args"));
    for (o, operand) in w.ir.operands.iter().enumerate() {
        let constant = if operand.role == Role::In { "const " } else { "" };
        w.line(format_args!("{constant}{}* p{o};", operand.dtype));
    }
    w.line(format_args!("u64* fault;"));
    w.line(format_args!("char* scratch;"));
    w.line(format_args!("u32* tickets;"));
    if w.variant.split {
        w.line(format_args!("u64 round[2]; // the first segment, and how many"));
    }
    if !w.ir.params.is_empty() {
        w.line(format_args!("u64 q[{}];", w.ir.params.len()));
    }
    for o in gathered(w.ir) {
        w.line(format_args!("i64 g{o}[2]; // stride, length"));
    }
    if w.ir.axes > 0 {
        w.line(format_args!("Extent n[{}];", w.ir.axes));
        if has_vectors(w.ir, &w.variant) {
            w.line(format_args!("Extent m; // vectors along the last axis"));
        }
        if w.variant.patch.is_some() {
            w.line(format_args!("Extent m[2]; // patches along their axis, and along the last"));
        }
        for o in 0..w.ir.operands.len() {
            w.line(format_args!("Index s{o}[{}];", w.ir.axes));
        }
    }
    w.close_with(";");
}

/// Whether the arguments hold how many vectors the last axis has.
fn has_vectors(ir: &KernelIr, variant: &Variant) -> bool {
    variant.width > 1 && ir.class == Class::Map && ir.axes > 1 && variant.patch.is_none()
}

/// Operands that are indexed by a value, in order.
fn gathered(ir: &KernelIr) -> Vec<u8> {
    let mut list: Vec<u8> = ir
        .code
        .iter()
        .filter_map(|inst| match inst.op {
            KOp::LoadAt(o) | KOp::StoreAt(o) => Some(o),
            _ => None,
        })
        .collect();
    list.sort_unstable();
    list.dedup();
    list
}

/// The bytes of `Args`: `pointers` are the buffers' addresses, one for each operand, `scalars` the bits of the parameters.
pub fn pack(
    ir: &KernelIr,
    variant: &Variant,
    launch: &Launch,
    pointers: &[u64],
    scalars: &[u64],
    aux: Aux,
) -> Result<Vec<u8>> {
    let fail = |detail: String| Err(Error::Internal { stage: "pack", detail });
    let same = pointers.len() == ir.operands.len()
        && launch.operands.len() == ir.operands.len()
        && scalars.len() == ir.params.len()
        && launch.extents.len() == ir.axes as usize;
    if !same {
        return fail(format!("{launch:?} with {} pointers, {} scalars", pointers.len(), scalars.len()));
    }
    let mut out = vec![];
    let word = |out: &mut Vec<u8>, v: u64| out.extend(v.to_ne_bytes());
    for ((operand, bind), &p) in ir.operands.iter().zip(&launch.operands).zip(pointers) {
        let bytes = bind.offset as i64 * operand.dtype.size() as i64;
        word(&mut out, p.wrapping_add_signed(bytes));
    }
    let round = if variant.split { &aux.round[..] } else { &[] };
    for v in [aux.fault, aux.scratch, aux.tickets].iter().chain(round).chain(scalars) {
        word(&mut out, *v);
    }
    for o in gathered(ir) {
        let Some(gather) = launch.operands[o as usize].gather else {
            return fail(format!("operand {o} has no gathered axis"));
        };
        word(&mut out, gather.stride as u64);
        word(&mut out, gather.len as u64);
    }
    let vectors = launch.extents.last().filter(|_| has_vectors(ir, variant)).map(|n| n / variant.width as usize);
    let patches = map::Patch::of(ir, variant).map(|p| p.counts(variant, &launch.extents));
    for &n in launch.extents.iter().chain(&vectors).chain(patches.iter().flatten()) {
        match ir.index {
            Width::W64 => word(&mut out, n as u64),
            Width::W32 => {
                let Ok(n) = i32::try_from(n) else { return fail(format!("extent {n} with 32-bit indices")) };
                let (mul, shift) = divider(n as u32);
                for v in [n as u32, mul, shift] {
                    out.extend(v.to_ne_bytes());
                }
            }
        }
    }
    for bind in &launch.operands {
        if bind.strides.len() != ir.axes as usize {
            return fail(format!("{bind:?} for {} axes", ir.axes));
        }
        for (&s, &n) in bind.strides.iter().zip(&launch.extents) {
            match ir.index {
                Width::W64 => word(&mut out, s as u64),
                // Along an axis of one index any stride will do.
                Width::W32 if n <= 1 => out.extend(0i32.to_ne_bytes()),
                Width::W32 => match i32::try_from(s) {
                    Ok(s) => out.extend(s.to_ne_bytes()),
                    Err(_) => return fail(format!("stride {s} with 32-bit indices")),
                },
            }
        }
    }
    // The struct's size is a multiple of its alignment.
    out.resize(out.len().next_multiple_of(8), 0);
    debug_assert!(out.len() <= Size::of(ir).arguments(), "{} bytes\n{ir}", out.len());
    if out.len() > ARGUMENTS {
        return fail(format!("{} bytes of arguments", out.len()));
    }
    Ok(out)
}

/// `(mul, shift)` such that `t / n == (high32(t * mul) + t) >> shift` for every `t` below 2^31.
fn divider(n: u32) -> (u32, u32) {
    if n == 0 {
        return (0, 0);
    }
    let shift = n.next_power_of_two().trailing_zeros();
    let mul = (((1u64 << shift) - n as u64) << 32) / n as u64 + 1;
    (mul as u32, shift)
}

/// How a kernel is laid over the device: by its extents and its variant, so that results do not depend on the device.
pub fn grid(ir: &KernelIr, variant: &Variant, extents: &[usize]) -> Grid {
    let count = |axes: AxisSet| axes.iter().map(|a| extents[a] as u64).product::<u64>();
    let capped = |blocks: u64| blocks.clamp(1, MAX_BLOCKS) as u32;
    match scheme(ir, variant) {
        Scheme::Map => {
            let all = map::threads(ir, variant, extents);
            let blocks = all.div_ceil(THREADS as u64 * map::unroll(ir, variant) as u64);
            Grid { blocks: (capped(blocks), 1), threads: (THREADS, 1), scratch: 0, tickets: 0, rounds: None }
        }
        Scheme::Pairwise(plan) => {
            let threads = (plan.tile().threads() as u32, 1);
            if let Some((rows, parts)) = plan.above(count) {
                let (scratch, tickets) = match parts {
                    1 => (0, 0),
                    _ => (
                        count(ir.all_axes().minus(ir.folded)) * parts * plan.folds_above() as u64 * STATE_BYTES as u64,
                        rows,
                    ),
                };
                let blocks = (rows.min(MAX_GRID) as u32, parts as u32);
                return Grid { blocks, threads, scratch: scratch as usize, tickets: tickets as usize, rounds: None };
            }
            if let Some((rounds, blocks, scratch)) = plan.rounds(ir, count) {
                return Grid { blocks, threads, scratch, tickets: 0, rounds: Some(rounds) };
            }
            // One tile for each block.
            let tiles = plan.tiles(count).max(1);
            let x = tiles.min(MAX_GRID);
            let blocks = (x as u32, tiles.div_ceil(x) as u32);
            Grid { blocks, threads, scratch: 0, tickets: 0, rounds: None }
        }
        Scheme::Fold { along_x } => {
            let fold::Layout { lanes, rows, parts, results } = fold::layout(ir, extents, along_x);
            let columns = if along_x { 1 } else { variant.width as u64 };
            let groups = (results / columns).div_ceil(rows as u64).max(1);
            let (scratch, tickets) = match parts {
                1 => (0, 0),
                _ => (results * parts as u64 * fold::count(ir) as u64 * STATE_BYTES as u64, groups),
            };
            Grid {
                blocks: (capped(groups), parts),
                threads: if along_x { (lanes, rows) } else { (rows, lanes) },
                scratch: scratch as usize,
                tickets: tickets as usize,
                rounds: None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::divider;

    #[test]
    fn division_by_multiplication_is_exact() {
        let by =
            |t: u32, (mul, shift): (u32, u32)| ((((t as u64 * mul as u64) >> 32) as u32 + t) as u64 >> shift) as u32;
        let edges = |n: u32| [0, 1, n - 1, n, n.saturating_add(1), 2 * (n / 2), (1 << 31) - 1, ((1 << 31) - 1) / n * n];
        for n in (1..2000).chain((1..31).flat_map(|s| [(1 << s) - 1, 1 << s, (1 << s) + 1])).chain([i32::MAX as u32]) {
            for t in edges(n).into_iter().chain((0..50).map(|i| i * 42_949_673 % (1 << 31))) {
                if t < 1 << 31 {
                    assert_eq!(by(t, divider(n)), t / n, "{t} / {n}");
                }
            }
        }
    }
}
