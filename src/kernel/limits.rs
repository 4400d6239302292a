//! How large a kernel may be: what its arguments take of a launch, and its program of the interpreter that ships.

use super::{AxisSet, Inst, KOp, KernelIr};
use std::collections::BTreeSet;

/// Bytes of arguments that a launch carries.
pub const ARGUMENTS: usize = 4096;
/// Words of a program; `kernels/interp.cuh` counts on it, too.
pub const PROGRAM: usize = 1536;

/// Words of a fold in a program: it is begun, stepped, joined, published, collected, finished and rounded.
const FOLD: usize = 32;
/// Words around the instructions, and in front of those that follow a fold of pairs.
const HEAD: usize = 46;

/// A kernel, or what will be one: what is known before its axes collapse, which makes no number larger.
#[derive(Clone, Copy, Debug)]
pub struct Size<'a> {
    /// The instructions, with their stores.
    pub code: &'a [Inst],
    /// Number of axes.
    pub axes: usize,
    /// Axes that are folded.
    pub folded: AxisSet,
    /// Number of operands.
    pub operands: usize,
    /// Number of scalars.
    pub params: usize,
}

impl<'a> Size<'a> {
    /// A kernel's.
    pub fn of(ir: &'a KernelIr) -> Size<'a> {
        let (axes, operands, params) = (ir.axes as usize, ir.operands.len(), ir.params.len());
        Size { code: &ir.code, axes, folded: ir.folded, operands, params }
    }

    /// Whether every device takes it.
    pub fn fits(&self) -> bool {
        self.arguments() <= ARGUMENTS && (self.program_at_most() <= PROGRAM || self.program() <= PROGRAM)
    }

    /// Bytes of its arguments at most, whatever width its indices have and whatever it is specialised for.
    pub fn arguments(&self) -> usize {
        let gathers = self.code.iter().filter(|i| matches!(i.op, KOp::LoadAt(_) | KOp::StoreAt(_))).count();
        8 * (self.operands + 5 + self.params) + 16 * gathers + 12 * (self.axes + 3) + 8 * self.operands * self.axes
    }

    /// Words of its program at most; none where folds are within folds, of which no program is made.
    pub fn program(&self) -> usize {
        let code = self.code;
        let mut pass = vec![0u8; code.len()];
        let mut passes = BTreeSet::new();
        let mut words = self.around();
        for (id, inst) in code.iter().enumerate() {
            let after = |a: u16| pass[a as usize] + matches!(code[a as usize].op, KOp::Reduce { .. }) as u8;
            pass[id] = inst.args.iter().map(|&a| after(a)).max().unwrap_or(0);
            match inst.op {
                KOp::Reduce { axes, .. } if axes != self.folded => return 0,
                KOp::Reduce { .. } => _ = passes.insert(pass[id]),
                KOp::Store(_) if self.inside(inst) => _ = passes.insert(pass[id]),
                _ => {}
            }
            words += if self.inside(inst) { 0 } else { self.words(inst) };
        }
        // Each pass over a row computes all that it needs along it anew.
        for p in passes {
            let mut needed = vec![false; code.len()];
            for (id, inst) in code.iter().enumerate().rev() {
                let fold = matches!(inst.op, KOp::Reduce { .. });
                let ends = pass[id] == p && (fold || matches!(inst.op, KOp::Store(_)) && self.inside(inst));
                if ends || needed[id] && self.inside(inst) {
                    inst.args.iter().for_each(|&a| needed[a as usize] = true);
                    words += if self.inside(inst) { self.words(inst) } else { 0 };
                }
            }
            words += self.around();
        }
        words
    }

    /// The same, from counts alone: most kernels are far from the limit.
    fn program_at_most(&self) -> usize {
        let folds = self.code.iter().filter(|i| matches!(i.op, KOp::Reduce { .. })).count();
        (folds + 2) * (self.around() + self.code.iter().map(|i| self.words(i)).sum::<usize>())
    }

    fn inside(&self, inst: &Inst) -> bool {
        !inst.over.and(self.folded).is_empty()
    }

    /// Words of a loop over all axes.
    fn around(&self) -> usize {
        HEAD + 2 * self.axes
    }

    fn words(&self, inst: &Inst) -> usize {
        match inst.op {
            KOp::Param(_) => 3,
            KOp::Index(_) => 0,
            KOp::Load(_) | KOp::LoadAt(_) | KOp::Store(_) | KOp::StoreAt(_) => 6 + 2 * self.axes,
            // Integers are wrapped and short floats rounded after it.
            KOp::Map(_) | KOp::Cast | KOp::Scan { .. } => 4,
            KOp::Reduce { .. } => FOLD,
        }
    }
}
