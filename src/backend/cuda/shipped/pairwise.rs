//! Which kernels the tiled pairwise modules can run: a fold over k of a common combine of f32 or f64, and any elementwise epilogue.

use super::encode::{self, Code, Reg};
use crate::dtype::DType;
use crate::error::Result;
use crate::kernel::{AxisSet, Class, Id, KOp, KernelIr, Launch};
use crate::ops::reduce::{MAX, SUM};
use crate::ops::row;

/// Results of a block along i, and along j for each element of a register: `kernels/pairwise.cuh` has the same.
const TILE_I: u64 = 64;
const TILE_J: u64 = 32;

/// A kernel for the pairwise modules.
pub(super) struct Pairwise {
    pub dtype: DType,
    /// What follows the fold.
    pub code: Code,
    /// Registers of the result, and of the indices along i, j and the batch.
    pub registers: [Reg; 4],
    /// Extents of i, j, k and the batch.
    pub extents: [u64; 4],
    /// The operands, with their strides along the batch, i or j, and k.
    pub sides: [(u8, [isize; 3]); 2],
    /// The combine, as the kernel numbers it.
    pub combine: u64,
}

impl Pairwise {
    /// The number of tiles, where a register has `lanes` elements.
    pub fn tiles(&self, lanes: usize) -> u64 {
        let [i, j, _, b] = self.extents;
        b * i.div_ceil(TILE_I) * j.div_ceil(TILE_J * lanes as u64)
    }
}

/// The one axis of a set; `None` of an empty set with `optional`.
fn single(set: AxisSet, optional: bool) -> Option<Option<usize>> {
    let mut axes = set.iter();
    match (axes.next(), axes.next()) {
        (one, None) if optional || one.is_some() => Some(one),
        _ => None,
    }
}

/// The kernel as a pairwise one; `None` where it is none that the modules know.
pub(super) fn plan(ir: &KernelIr, launch: &Launch) -> Result<Option<Pairwise>> {
    let Class::Pairwise { i, j, k, batch } = ir.class else { return Ok(None) };
    let axes = (single(i, false), single(j, false), single(k, false), single(batch, true));
    let (Some(Some(ai)), Some(Some(aj)), Some(Some(ak)), Some(ab)) = axes else { return Ok(None) };
    let extent = |a: usize| launch.extents.get(a).map_or(0, |&n| n as u64);
    let extents = [extent(ai), extent(aj), extent(ak), ab.map_or(1, extent)];
    let mut folds = (0..ir.code.len() as Id).filter(|&id| matches!(ir.code[id as usize].op, KOp::Reduce { .. }));
    let (Some(fold), None) = (folds.next(), folds.next()) else { return Ok(None) };
    let Some((combine, [x, y])) = combine(ir, fold) else { return Ok(None) };
    let varies = |id: Id, axes: AxisSet| !ir.code[id as usize].over.and(axes).is_empty();
    let (x, y) = if varies(x, j) { (y, x) } else { (x, y) };
    let dtype = ir.code[fold as usize].dtype;
    let side = |id: Id, own: usize, other: AxisSet| {
        let inst = &ir.code[id as usize];
        let KOp::Load(o) = inst.op else { return None };
        let stride = |a: usize| if inst.over.has(a) { launch.operands[o as usize].strides[a] } else { 0 };
        let fits = !varies(id, other) && inst.dtype == dtype;
        fits.then(|| (o, [ab.map_or(0, stride), stride(own), stride(ak)]))
    };
    let (Some(x), Some(y)) = (side(x, ai, j), side(y, aj, i)) else { return Ok(None) };
    // What follows may not vary with k, and indices have to fit a register of 32 bits.
    let stores_k = ir.code.iter().any(|inst| matches!(inst.op, KOp::Store(_)) && !inst.over.and(k).is_empty());
    if stores_k || extents.iter().any(|&n| n >= 1 << 31) || !matches!(dtype, DType::F32 | DType::F64) {
        return Ok(None);
    }
    let (code, registers) = encode::epilogue(ir, launch, fold, [Some(ai), Some(aj), ab])?;
    Ok(Some(Pairwise { dtype, code, registers, extents, sides: [x, y], combine }))
}

/// The number of a fold's combine, and what it combines.
fn combine(ir: &KernelIr, fold: Id) -> Option<(u64, [Id; 2])> {
    let KOp::Reduce { reducer, .. } = ir.code[fold as usize].op else { return None };
    let inst = |id: Id| &ir.code[id as usize];
    let map = |id: Id| match inst(id).op {
        KOp::Map(row) => Some((row, &inst(id).args[..])),
        _ => None,
    };
    let difference = |id: Id| match map(id)? {
        (r, &[x, y]) if *r == row::sub => Some([x, y]),
        _ => None,
    };
    let value = inst(fold).args[0];
    if inst(value).dtype != inst(fold).dtype {
        return None;
    }
    let square = match map(value)? {
        (r, &[a, b]) if *r == row::mul && a == b => Some(a),
        (r, &[a]) if *r == row::square => Some(a),
        _ => None,
    };
    match map(value)? {
        _ if *reducer == SUM && square.is_some() => Some((1, difference(square?)?)),
        (r, &[a, b]) if *reducer == SUM && *r == row::mul => Some((0, [a, b])),
        (r, &[a]) if *reducer == SUM && *r == row::abs => Some((2, difference(a)?)),
        (r, &[a]) if *reducer == MAX && *r == row::abs => Some((3, difference(a)?)),
        _ => None,
    }
}
