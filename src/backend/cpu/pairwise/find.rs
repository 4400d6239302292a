//! Which kernels are pairwise here: what the micro-kernels know, norms of the operands beside a product, any other combine of
//! what varies with one side, and folds of the results over one side.
//!
//! A side has one axis of rows or columns, lanes or the longest; axes that both have, and all others of one side, are those of a batch.

use super::micro::Combine;
use crate::dtype::DType;
use crate::kernel::{AxisSet, Class, FoldOrder, Id, KOp, KernelIr};
use crate::ops::{OpRef, reduce, row};

/// The parts of a kernel: `x` varies with `i`, `y` with `j`; lanes run along `j`.
pub struct Found {
    /// The folds over `k` of combines: one where a micro-kernel runs.
    pub folds: Vec<Id>,
    /// What one step does; none where it runs as code.
    pub combine: Option<Combine>,
    /// What varies with both sides, where it runs as code.
    pub both: Vec<Id>,
    /// What is packed of the first operand.
    pub x: Vec<Id>,
    /// What is packed of the second.
    pub y: Vec<Id>,
    /// Axis of the first operand alone; none where there is one row.
    pub i: Option<usize>,
    /// Axis of the second.
    pub j: Option<usize>,
    /// Axis folded.
    pub k: usize,
    /// f32 or f64: that of a micro-kernel.
    pub dtype: DType,
    /// Sums of squares of the operands.
    pub norms: [Option<Id>; 2],
    /// Folds of the results over `j`.
    pub above: Vec<Id>,
}

/// The combine of a fold and its operands.
fn combine(ir: &KernelIr, fold: usize) -> Option<(Combine, Id, Id)> {
    let KOp::Reduce { reducer, .. } = ir.code[fold].op else { return None };
    let arg = |n: Id, a: usize| ir.code[n as usize].args[a];
    let is = |n: Id, r: OpRef| ir.code[n as usize].op == KOp::Map(r);
    let (sum, max) = (*reducer == reduce::SUM, *reducer == reduce::MAX);
    let top = arg(fold as Id, 0);
    let (combine, pair) = if sum && is(top, &row::mul) {
        let (a, b) = (arg(top, 0), arg(top, 1));
        if a == b && is(a, &row::sub) { (Combine::SquaredDifference, a) } else { return Some((Combine::Dot, a, b)) }
    } else if sum && is(top, &row::square) {
        let a = arg(top, 0);
        if is(a, &row::sub) { (Combine::SquaredDifference, a) } else { return Some((Combine::Dot, a, a)) }
    } else if is(top, &row::abs) && is(arg(top, 0), &row::sub) && (sum || max) {
        (if sum { Combine::Difference } else { Combine::MaxDifference }, arg(top, 0))
    } else {
        return None;
    };
    Some((combine, arg(pair, 0), arg(pair, 1)))
}

/// The parts of a kernel that this backend folds pairwise; `None` for any other, whatever the extents. Without `micro`,
/// micro-kernels count as unknown.
pub fn find(ir: &KernelIr, extents: &[usize], micro: bool) -> Option<Found> {
    if ir.order != FoldOrder::Chain && !matches!(ir.class, Class::Pairwise { .. }) {
        return None;
    }
    let passes = ir.passes();
    let folds = |pass: u8| -> Vec<usize> {
        let fold = |&n: &usize| matches!(ir.code[n].op, KOp::Reduce { .. }) && passes[n] == pass;
        (0..ir.code.len()).filter(fold).collect()
    };
    let (first, above) = (folds(1), folds(2));
    let axes = |n: usize| if let KOp::Reduce { axes, .. } = ir.code[n].op { axes } else { AxisSet::EMPTY };
    let k = axes(*first.first()?);
    let same = |list: &[usize], s: AxisSet| list.iter().all(|&n| axes(n) == s);
    let over_j = ir.folded.minus(k);
    if passes.iter().any(|&p| p > 2)
        || !same(&first, k)
        || !same(&above, over_j)
        || above.is_empty() != over_j.is_empty()
    {
        return None;
    }
    // What follows a fold must not walk its axes again.
    let again = |n: usize| {
        let over = ir.code[n].over;
        passes[n] >= 1 && !over.and(k).is_empty() || passes[n] >= 2 && !over.and(over_j).is_empty()
    };
    if (0..ir.code.len())
        .any(|n| again(n) || matches!(ir.code[n].op, KOp::Store(_)) && !ir.code[n].over.and(ir.folded).is_empty())
    {
        return None;
    }
    let k_axis = one(k)??;
    let above: Vec<Id> = above.iter().map(|&n| n as Id).collect();
    let found = if micro { known(ir, extents, &first, k, over_j) } else { None };
    let found = found.or_else(|| any(ir, extents, &first, k, over_j))?;
    // What follows folds over j needs no fold over k but the norms of x: there is no j to compute another for.
    let fits = above.is_empty() || ir.last_folds(k).iter().all(|&n| found.norms[0] == Some(n));
    fits.then_some(Found { k: k_axis, above, ..found })
}

/// The axis of a side that is its rows or columns: `lanes` or, without it, the longest.
fn side(own: AxisSet, lanes: Option<usize>, extents: &[usize]) -> Option<usize> {
    lanes.filter(|&l| own.has(l)).or_else(|| own.iter().max_by_key(|&a| extents.get(a)))
}

fn one(s: AxisSet) -> Option<Option<usize>> {
    match s.iter().count() {
        0 => Some(None),
        1 => Some(s.iter().next()),
        _ => None,
    }
}

/// What a micro-kernel runs.
fn known(ir: &KernelIr, extents: &[usize], first: &[usize], k: AxisSet, over_j: AxisSet) -> Option<Found> {
    let mut main = None;
    let mut squares = vec![];
    for &n in first {
        match combine(ir, n)? {
            (Combine::Dot, a, b) if a == b => squares.push((n as Id, a)),
            found if main.is_none() => main = Some((n, found)),
            _ => return None,
        }
    }
    let (fold, (combine, a, b)) = main?;
    let over = |n: Id| ir.code[n as usize].over.minus(k);
    let has_k = |n: Id| !ir.code[n as usize].over.and(k).is_empty();
    // Lanes run along the axis that is folded later or, for results, innermost.
    let inner = one(over_j)?;
    let lanes = inner.or_else(|| (0..ir.axes as usize).rfind(|&a| !ir.folded.has(a)));
    let [i, j] = [(a, b), (b, a)].map(|(x, y)| side(over(x).minus(over(y)), lanes, extents));
    let lanes = if inner.is_some() || i.is_some() && j.is_some() { lanes } else { i.or(j) };
    let (x, y, i, j) = if j == lanes { (a, b, i, j) } else { (b, a, j, i) };
    let dtype = ir.code[x as usize].dtype;
    let fits = j == lanes && has_k(a) && has_k(b) && matches!(dtype, DType::F32 | DType::F64);
    let mut norms = [None; 2];
    for (n, of) in squares {
        let side = [x, y].iter().position(|&v| v == of)?;
        if norms[side].replace(n).is_some() {
            return None;
        }
    }
    let (folds, combine) = (vec![fold as Id], Some(combine));
    fits.then_some(Found {
        folds,
        combine,
        both: vec![],
        x: vec![x],
        y: vec![y],
        i,
        j,
        k: 0,
        dtype,
        norms,
        above: vec![],
    })
}

/// Any other combine of values that vary with one side each.
fn any(ir: &KernelIr, extents: &[usize], first: &[usize], k: AxisSet, over_j: AxisSet) -> Option<Found> {
    let inst = |n: Id| &ir.code[n as usize];
    if ir.code.iter().any(|i| matches!(i.op, KOp::Scan { .. } | KOp::StoreAt(_))) {
        return None;
    }
    let args: Vec<Id> = first.iter().map(|&n| ir.code[n].args[0]).collect();
    // The axes that what is read varies with, those alone that no other has all of.
    let mut sets: Vec<AxisSet> = vec![];
    ir.visit(&args, |n| {
        let source = matches!(inst(n).op, KOp::Load(_) | KOp::LoadAt(_) | KOp::Index(_));
        if source {
            sets.push(inst(n).over.minus(k));
        }
        !source
    });
    let all = sets.clone();
    sets.retain(|s| !all.iter().any(|o| o != s && s.minus(*o).is_empty()));
    sets.sort_by_key(|s| s.0);
    sets.dedup();
    let (i, j) = match sets[..] {
        [y] => (None, side(y, one(over_j)?.or(y.iter().last()), extents)?),
        [a, b] => {
            let (a, b) = (a.minus(b), b.minus(a));
            // Lanes run along the axis that is folded later or, for results, the inner one.
            let lanes = one(over_j)?.or(a.union(b).iter().last());
            let (a, b) = (side(a, lanes, extents)?, side(b, lanes, extents)?);
            if lanes == Some(a) { (Some(b), a) } else { (Some(a), b) }
        }
        _ => return None,
    };
    let exact = |&n: &Id| !inst(n).dtype.is_float();
    if one(over_j)?.is_some_and(|o| o != j) || i.is_none() && over_j.is_empty() && args.iter().all(exact) {
        return None;
    }
    let varies = |n: Id| inst(n).over.has(j) && i.is_some_and(|i| inst(n).over.has(i));
    let (mut x, mut y, mut both, mut fits) = (vec![], vec![], vec![], true);
    ir.visit(&args, |n| {
        if varies(n) {
            both.push(n);
            fits &= matches!(inst(n).op, KOp::Map(_) | KOp::Cast);
            return true;
        }
        if !constant(ir, n) {
            if inst(n).over.has(j) { y.push(n) } else { x.push(n) }
        }
        false
    });
    let folds = first.iter().map(|&n| n as Id).collect();
    let (dtype, norms) = (DType::F32, [None; 2]);
    fits.then_some(Found { folds, combine: None, both, x, y, i, j: Some(j), k: 0, dtype, norms, above: vec![] })
}

/// Whether nothing but scalars goes into it.
fn constant(ir: &KernelIr, n: Id) -> bool {
    let mut scalars = true;
    ir.visit(&[n], |n| {
        scalars &= matches!(ir.code[n as usize].op, KOp::Param(_) | KOp::Map(_) | KOp::Cast);
        scalars
    });
    scalars
}
