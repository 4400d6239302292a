//! The rules every kernel keeps, checked between the schedule and the backend.

use super::limits::Size;
use super::{AxisSet, Id, KOp, KernelIr, Nest, Role};
use crate::dtype::DType;
use crate::error::{Error, Result};

/// Most instructions of one kernel.
pub const MAX_INSTS: usize = 256;
/// Most operands of one kernel.
pub const MAX_OPERANDS: usize = 24;

/// Checks a kernel: SSA order, dtypes, `over`, operand roles, loops that define every value before its use.
pub fn kernel(ir: &KernelIr) -> Result<()> {
    let fail =
        |id: usize, what: String| Err(Error::Internal { stage: "validate", detail: format!("%{id}: {what}\n{ir}") });
    if ir.code.len() > MAX_INSTS || ir.operands.len() > MAX_OPERANDS {
        return fail(0, format!("{} instructions, {} operands", ir.code.len(), ir.operands.len()));
    }
    if !Size::of(ir).fits() {
        return fail(0, "its arguments or its program are too large".into());
    }
    let mut seen = vec![false; ir.code.len()];
    let mut order = vec![];
    walk(&ir.nest, AxisSet::EMPTY, &mut vec![], &mut 0, &mut order);
    if order.len() != ir.code.len() {
        return fail(0, format!("the nest holds {} of {} instructions", order.len(), ir.code.len()));
    }
    // The loops in which a fold's value is not there yet.
    let mut unfinished: Vec<Vec<usize>> = vec![vec![]; ir.code.len()];
    for (id, inside, around) in order {
        let at = id as usize;
        let inst = &ir.code[at];
        let mut over = AxisSet::EMPTY;
        for &a in &inst.args {
            if a >= id || !seen[a as usize] {
                return fail(at, format!("uses %{a} before it is there"));
            }
            if around.iter().any(|(n, _)| unfinished[a as usize].contains(n)) {
                return fail(at, format!("uses the fold %{a} inside its own loop"));
            }
            over = over.union(ir.code[a as usize].over);
        }
        let arg = |n: usize| inst.args.get(n).map(|&a| ir.code[a as usize].dtype);
        match inst.op {
            KOp::Load(o) | KOp::LoadAt(o) | KOp::Store(o) | KOp::StoreAt(o) => {
                let Some(operand) = ir.operands.get(o as usize) else {
                    return fail(at, format!("no operand {o}"));
                };
                let writes = matches!(inst.op, KOp::Store(_) | KOp::StoreAt(_));
                if (operand.role == Role::Out) != writes {
                    return fail(at, format!("operand {o} is {:?}", operand.role));
                }
                let value = if writes { arg(inst.args.len() - 1) } else { Some(inst.dtype) };
                if value != Some(operand.dtype) {
                    return fail(at, format!("operand {o} is {}", operand.dtype));
                }
            }
            KOp::Param(p) => {
                if ir.params.get(p as usize) != Some(&inst.dtype) {
                    return fail(at, format!("param {p} is {:?}", ir.params.get(p as usize)));
                }
            }
            KOp::Index(a) => {
                if inst.dtype != DType::I64 || inst.over != AxisSet::one(a as usize) {
                    return fail(at, "an index is i64 over its axis".into());
                }
            }
            KOp::Map(row) => {
                let last = arg(inst.args.len().wrapping_sub(1));
                if inst.args.len() != row.arity as usize || last.map(|d| row.result(d)) != Some(inst.dtype) {
                    return fail(at, format!("{} of {last:?} to {}", row.name, inst.dtype));
                }
            }
            KOp::Cast => {}
            KOp::Reduce { reducer, axes } => {
                let own = around.iter().filter(|(_, a)| !a.and(axes).is_empty());
                unfinished[at] = own.map(|l| l.0).collect();
                over = over.minus(axes);
                if arg(0).map(reducer.out) != Some(inst.dtype) {
                    return fail(at, format!("{} of {:?} is {}", reducer.name, arg(0), inst.dtype));
                }
                if !axes.minus(inside).is_empty() {
                    return fail(at, "a fold stands inside the loop over its axes".into());
                }
            }
            KOp::Scan { axis, .. } => over = over.union(AxisSet::one(axis as usize)),
        }
        if !over.minus(inst.over).is_empty() {
            return fail(at, format!("over {:?} leaves out axes of its arguments", inst.over));
        }
        let folded = if let KOp::Reduce { axes, .. } = inst.op { axes } else { AxisSet::EMPTY };
        if !inst.over.minus(inside.minus(folded)).is_empty() {
            return fail(at, "varies with an axis that no loop around it walks".into());
        }
        seen[at] = true;
    }
    Ok(())
}

/// A loop of the nest: its number and its axes.
type Around = (usize, AxisSet);

/// Every instruction in order, with the axes and the loops around it.
fn walk(
    nest: &Nest,
    inside: AxisSet,
    around: &mut Vec<Around>,
    next: &mut usize,
    order: &mut Vec<(Id, AxisSet, Vec<Around>)>,
) {
    match nest {
        Nest::Insts(range) => order.extend(range.clone().map(|id| (id, inside, around.clone()))),
        Nest::Loop { axes, body } => {
            *next += 1;
            around.push((*next, *axes));
            for b in body {
                walk(b, inside.union(*axes), around, next, order);
            }
            around.pop();
        }
    }
}
