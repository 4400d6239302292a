//! What strides, extents and addresses of a launch allow beyond the plain kernel: vector accesses. They change what is compiled, so they are part of
//! a compiled kernel's key. They never change a result's bits.

use super::{Scheme, fold, map, scheme};
use crate::kernel::validate::MAX_OPERANDS;
use crate::kernel::{AxisSet, KOp, KernelIr, Launch};

/// How a kernel is specialised for a launch. The default runs any launch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Variant {
    /// Neighbours that a thread takes at once; 1 in the plain kernel.
    pub width: u8,
    /// The axis they are neighbours along.
    pub axis: u8,
    /// How each operand lies along them.
    pub access: [Access; MAX_OPERANDS],
}

/// How an operand lies along the axis that vectors run along.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Access {
    /// By its stride.
    #[default]
    Strided,
    /// One element serves the whole vector.
    Fixed,
    /// Neighbours in memory, so many of them moved at once.
    Unit(u8),
}

impl Default for Variant {
    fn default() -> Variant {
        Variant { width: 1, axis: 0, access: [Access::Strided; MAX_OPERANDS] }
    }
}

/// The best variant for a launch; `pointers` as [`super::args::pack`] takes them.
pub fn variant(ir: &KernelIr, launch: &Launch, pointers: &[u64]) -> Variant {
    let known = pointers.len() == ir.operands.len() && launch.operands.len() == ir.operands.len();
    let (axis, widths) = match scheme(ir) {
        _ if !known => return Variant::default(),
        Scheme::Map => map::vectors(ir, launch),
        Scheme::Fold { along_x } => fold::vectors(ir, launch, along_x),
        Scheme::Pairwise(_) => return Variant::default(),
    };
    let Some(axis) = axis else { return Variant::default() };
    let along = Along { ir, launch, pointers, axis };
    widths.into_iter().find_map(|width| along.variant(width)).unwrap_or_default()
}

/// Elements of the widest operand that varies along an axis in 16 bytes, and the halves of that.
pub(super) fn widths(ir: &KernelIr, axis: usize) -> Vec<u8> {
    let size = |o: u8| ir.operands[o as usize].dtype.size();
    let widest = ir.code.iter().filter(|i| i.over.has(axis)).filter_map(|i| match i.op {
        KOp::Load(o) | KOp::Store(o) => Some(size(o)),
        _ => None,
    });
    let most = 16 / widest.max().unwrap_or(16) as u8;
    (0..4).map(|halves| most >> halves).filter(|&w| w > 1).collect()
}

/// Instructions of an element, about: what no table says is cheap counts as many.
pub(super) fn cost(ir: &KernelIr) -> usize {
    let one = |op: KOp, wide: bool| match op {
        KOp::Map(row) if !row.cheap => 12 << wide as usize,
        _ => 1,
    };
    ir.code.iter().map(|i| one(i.op, i.dtype.size() == 8)).sum()
}

struct Along<'a> {
    ir: &'a KernelIr,
    launch: &'a Launch,
    pointers: &'a [u64],
    axis: usize,
}

impl Along<'_> {
    /// Vectors of this width, if at least half of the operands that move along them can be accessed so.
    fn variant(&self, width: u8) -> Option<Variant> {
        let mut v = Variant { width, axis: self.axis as u8, ..Variant::default() };
        let (mut moving, mut whole) = (0, 0);
        for inst in &self.ir.code {
            let (KOp::Load(o) | KOp::Store(o)) = inst.op else { continue };
            let access = self.access(o, inst.over, width);
            v.access[o as usize] = access;
            moving += (access != Access::Fixed) as usize;
            whole += (access == Access::Unit(width)) as usize;
        }
        (whole > 0 && 2 * whole >= moving).then_some(v)
    }

    fn access(&self, operand: u8, over: AxisSet, width: u8) -> Access {
        let (bind, o) = (&self.launch.operands[operand as usize], operand as usize);
        match bind.strides.get(self.axis) {
            _ if !over.has(self.axis) => return Access::Fixed,
            Some(0) => return Access::Fixed,
            Some(1) => {}
            _ => return Access::Strided,
        }
        let size = self.ir.operands[o].dtype.size() as u64;
        let first = self.pointers[o].wrapping_add_signed(bind.offset as i64 * size as i64);
        let steps = over.iter().filter(|&a| a != self.axis && self.launch.extents[a] > 1);
        let odd = steps.fold(first / size, |bits, a| bits | bind.strides[a] as u64);
        let aligned = 1u64 << odd.trailing_zeros().min(7);
        Access::Unit(aligned.min(width as u64) as u8)
    }
}
