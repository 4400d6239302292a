//! What each loop of a kernel with folds has to compute, and which loops wait for which: for the emitter and for the kernels that ship.

use crate::kernel::{AxisSet, Id, KOp, KernelIr};

/// One loop: the axes it walks, the folds in it and the stores in it.
pub(super) struct Group {
    pub axes: AxisSet,
    pub stage: usize,
    pub folds: Vec<Id>,
    pub stores: Vec<Id>,
}

/// What a scope (the kernel's, or a loop's body) has to compute.
pub(super) struct Scope {
    /// Values of this scope, each with the number of loops that have to be done before it.
    pub values: Vec<(Id, usize)>,
    /// Its loops, in order.
    pub groups: Vec<Group>,
    /// Its own stores.
    pub stores: Vec<Id>,
}

/// The folded axes an instruction's value varies with.
pub(super) fn level(ir: &KernelIr, id: Id) -> AxisSet {
    ir.code[id as usize].over.and(ir.folded)
}

/// What a loop's body has to compute.
pub(super) fn targets(ir: &KernelIr, group: &Group) -> Vec<Id> {
    group.folds.iter().map(|&id| ir.code[id as usize].args[0]).chain(group.stores.iter().copied()).collect()
}

/// What the scope within loops over `open` computes for `targets`, where the values in `seen` are there.
pub(super) fn scope(ir: &KernelIr, open: AxisSet, seen: &[bool], targets: &[Id]) -> Scope {
    let mut needed = vec![false; ir.code.len()];
    ir.visit(targets, |id| {
        needed[id as usize] = !seen[id as usize];
        !seen[id as usize]
    });
    let mut stage = vec![0usize; ir.code.len()];
    let mut out = Scope { values: vec![], groups: vec![], stores: vec![] };
    for (at, inst) in ir.code.iter().enumerate().filter(|(at, _)| needed[*at]) {
        let id = at as Id;
        let inner = level(ir, id).minus(open);
        let here = inner.is_empty();
        stage[at] = inst.args.iter().map(|&a| stage[a as usize]).max().unwrap_or(0);
        let group = |groups: &mut Vec<Group>, axes: AxisSet| -> usize {
            match groups.iter().position(|g| g.axes == axes && g.stage == stage[at]) {
                Some(g) => g,
                None => {
                    groups.push(Group { axes, stage: stage[at], folds: vec![], stores: vec![] });
                    groups.len() - 1
                }
            }
        };
        match inst.op {
            KOp::Reduce { axes, .. } if here => {
                let g = group(&mut out.groups, axes);
                out.groups[g].folds.push(id);
                stage[at] += 1;
            }
            KOp::Store(_) if here => out.stores.push(id),
            KOp::Store(_) => {
                let g = group(&mut out.groups, inner);
                out.groups[g].stores.push(id);
            }
            _ if here => out.values.push((id, stage[at])),
            _ => {}
        }
    }
    out.groups.sort_by_key(|g| g.stage);
    out
}

/// The scope of the whole kernel; parameters are there from the start.
pub(super) fn top(ir: &KernelIr) -> (Scope, Vec<bool>) {
    let seen: Vec<bool> = ir.code.iter().map(|inst| matches!(inst.op, KOp::Param(_))).collect();
    (scope(ir, AxisSet::EMPTY, &seen, &ir.stores()), seen)
}
