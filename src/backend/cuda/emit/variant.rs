//! What strides, extents and addresses of a launch allow beyond the plain kernel: vector accesses. They change what is compiled, so they are part of
//! a compiled kernel's key. They never change a result's bits.

use super::pairwise::{self, Fill};
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
    /// Runs of neighbours of a row that a lane keeps in registers between loops; 0: none.
    pub resident: u8,
    /// Blocks of 1024 threads.
    pub wide: bool,
    /// Maps: the axis that some operand lies along, where the others lie along the last; each block takes patches of both.
    pub patch: Option<u8>,
    /// Pairwise: the slice that holds all of k; 0: k is walked.
    pub slice: u8,
    /// Pairwise: small tiles.
    pub small: bool,
    /// Pairwise: blocks share k.
    pub split: bool,
    /// Pairwise: how the slices of both sides are filled.
    pub fill: [Fill; 2],
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
        let access = [Access::Strided; MAX_OPERANDS];
        let fill = [Fill::Steps; 2];
        Variant {
            width: 1,
            axis: 0,
            resident: 0,
            wide: false,
            patch: None,
            slice: 0,
            small: false,
            split: false,
            fill,
            access,
        }
    }
}

/// The best variant for a launch; `pointers` as [`super::args::pack`] takes them.
pub fn variant(ir: &KernelIr, launch: &Launch, pointers: &[u64]) -> Variant {
    if pointers.len() != ir.operands.len() || launch.operands.len() != ir.operands.len() {
        return Variant::default();
    }
    let along = Along { ir, launch, pointers };
    match scheme(ir, &Variant::default()) {
        Scheme::Map => map::variant(along),
        Scheme::Fold { along_x } => fold::variant(along, along_x),
        Scheme::Pairwise(_) => pairwise::variant(along),
    }
}

/// The best variant for buffers as the pool gives them: aligned.
pub fn pooled(ir: &KernelIr, launch: &Launch) -> Variant {
    variant(ir, launch, &vec![0; ir.operands.len()])
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

/// A launch, as variants are chosen for it.
#[derive(Clone, Copy)]
pub(super) struct Along<'a> {
    pub ir: &'a KernelIr,
    pub launch: &'a Launch,
    pub pointers: &'a [u64],
}

impl Along<'_> {
    /// Vectors of this width along an axis, if at least half of the operands that move along them can be accessed so.
    pub fn variant(&self, axis: usize, width: u8) -> Option<Variant> {
        let mut v = Variant { width, axis: axis as u8, ..Variant::default() };
        let (mut moving, mut whole) = (0, 0);
        for inst in &self.ir.code {
            let (KOp::Load(o) | KOp::Store(o)) = inst.op else { continue };
            let access = self.access(o, inst.over, axis, width);
            v.access[o as usize] = access;
            // Smaller pieces of a vector ask for each sector several times: narrower vectors are better, or none.
            if matches!(access, Access::Unit(n) if n < width) && !self.ir.folded.has(axis) {
                return None;
            }
            moving += (access != Access::Fixed) as usize;
            // A fold's order asks for runs of neighbours, aligned or not; elsewhere single accesses are better than runs of them.
            whole += matches!(access, Access::Unit(n) if n == width || self.ir.folded.has(axis)) as usize;
        }
        (whole > 0 && 2 * whole >= moving).then_some(v)
    }

    pub fn access(&self, operand: u8, over: AxisSet, axis: usize, width: u8) -> Access {
        let (bind, o) = (&self.launch.operands[operand as usize], operand as usize);
        match bind.strides.get(axis) {
            _ if !over.has(axis) => return Access::Fixed,
            Some(0) => return Access::Fixed,
            Some(1) => {}
            _ => return Access::Strided,
        }
        let size = self.ir.operands[o].dtype.size() as u64;
        let first = self.pointers[o].wrapping_add_signed(bind.offset as i64 * size as i64);
        let steps = over.iter().filter(|&a| a != axis && self.launch.extents[a] > 1);
        let odd = steps.fold(first / size, |bits, a| bits | bind.strides[a] as u64);
        let aligned = 1u64 << odd.trailing_zeros().min(7);
        // One instruction moves 16 bytes at most.
        Access::Unit(aligned.min(width as u64).min(16 / size) as u8)
    }
}
