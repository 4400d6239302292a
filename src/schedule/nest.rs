//! A kernel's loops: its code in the order of passes, the nest around it, and its class.

use crate::kernel::{AxisSet, Bind, Class, Id, Inst, KOp, Nest};

/// Orders the code by pass and puts the loops around it.
pub fn nest(code: Vec<Inst>, folded: AxisSet, outer: AxisSet) -> (Vec<Inst>, Nest) {
    if folded.is_empty() {
        let n = code.len() as Id;
        return (code, Nest::Loop { axes: outer, body: vec![Nest::Insts(0..n)] });
    }
    let mut pass = vec![0u8; code.len()];
    let mut inside = vec![false; code.len()];
    for (i, inst) in code.iter().enumerate() {
        let fold = matches!(inst.op, KOp::Reduce { .. });
        inside[i] = fold || !inst.over.and(folded).is_empty();
        // A fold's value is there one pass later than its argument.
        let of = |a: Id| pass[a as usize] + matches!(code[a as usize].op, KOp::Reduce { .. }) as u8;
        pass[i] = inst.args.iter().map(|&a| of(a)).max().unwrap_or(0);
    }
    // Within a pass: what stands before the row's loop, then the loop.
    let mut ids: Vec<usize> = (0..code.len()).collect();
    ids.sort_by_key(|&i| (pass[i], inside[i]));
    let mut body = vec![];
    let mut at = 0;
    while at < ids.len() {
        let (p, l) = (pass[ids[at]], inside[ids[at]]);
        let end = at + ids[at..].iter().take_while(|&&i| (pass[i], inside[i]) == (p, l)).count();
        let insts = Nest::Insts(at as Id..end as Id);
        body.push(if l { Nest::Loop { axes: folded, body: vec![insts] } } else { insts });
        at = end;
    }
    let code = renumbered(code, &ids);
    (code, Nest::Loop { axes: outer, body })
}

/// Orders the code of folds inside folds and puts the loops around it: results { folded { deep } }.
pub fn nest_within(code: Vec<Inst>, folded: AxisSet, deep: AxisSet, outer: AxisSet) -> (Vec<Inst>, Nest) {
    // What depends on a fold of the inner level, and of the outer one.
    let (mut below, mut above) = (vec![false; code.len()], vec![false; code.len()]);
    let mut part = vec![0usize; code.len()];
    for (i, inst) in code.iter().enumerate() {
        let over = |s: AxisSet| !inst.over.and(s).is_empty();
        let (low, high) = match inst.op {
            KOp::Reduce { axes, .. } => (axes == deep, axes == folded),
            _ => (false, false),
        };
        let args = |set: &[bool]| inst.args.iter().any(|&a| set[a as usize]);
        // Before everything; in the folded loop before, in and after the inner one; after everything.
        part[i] = match () {
            _ if low || over(deep) => 2,
            _ if high => 3,
            _ if args(&above) || matches!(inst.op, KOp::Store(_)) => 4,
            _ if args(&below) => 3,
            _ if over(folded) => 1,
            _ => 0,
        };
        below[i] = args(&below) || low;
        above[i] = args(&above) || high;
    }
    let mut ids: Vec<usize> = (0..code.len()).collect();
    ids.sort_by_key(|&i| part[i]);
    let starts: Vec<Id> = (0..=5).map(|p| ids.iter().filter(|&&i| part[i] < p).count() as Id).collect();
    let insts = |p: usize| (starts[p] < starts[p + 1]).then(|| Nest::Insts(starts[p]..starts[p + 1]));
    let inner = Nest::Loop { axes: deep, body: insts(2).into_iter().collect() };
    let within = insts(1).into_iter().chain([inner]).chain(insts(3)).collect();
    let body = insts(0).into_iter().chain([Nest::Loop { axes: folded, body: within }]).chain(insts(4)).collect();
    (renumbered(code, &ids), Nest::Loop { axes: outer, body })
}

/// The code in another order.
fn renumbered(code: Vec<Inst>, ids: &[usize]) -> Vec<Inst> {
    let mut place = vec![0 as Id; code.len()];
    for (n, &i) in ids.iter().enumerate() {
        place[i] = n as Id;
    }
    let moved = |&i: &usize| {
        let mut inst = code[i].clone();
        for a in &mut inst.args {
            *a = place[*a as usize];
        }
        inst
    };
    ids.iter().map(moved).collect()
}

/// What kind of kernel the code is, read off the axes that its loads vary with.
pub fn classify(code: &[Inst], folded: AxisSet, binds: &[Bind]) -> Class {
    if folded.is_empty() {
        return Class::Map;
    }
    let loads: Vec<(AxisSet, &Bind)> = code
        .iter()
        .filter_map(|i| match i.op {
            KOp::Load(o) => Some((i.over, &binds[o as usize])),
            _ => None,
        })
        .collect();
    let own = |s: AxisSet| s.minus(folded);
    let k = |s: AxisSet| !s.and(folded).is_empty();
    for (x, _) in loads.iter().filter(|l| k(l.0)) {
        for (y, _) in loads.iter().filter(|l| k(l.0)) {
            let (i, j) = (own(*x).minus(own(*y)), own(*y).minus(own(*x)));
            let lowest = i.0.trailing_zeros() < j.0.trailing_zeros();
            if !i.is_empty() && !j.is_empty() && lowest {
                return Class::Pairwise { i, j, k: folded, batch: own(*x).and(own(*y)) };
            }
        }
    }
    let least = |b: &Bind, inside: bool| {
        (0..b.strides.len())
            .filter(|&a| folded.has(a) == inside)
            .map(|a| b.strides[a].unsigned_abs())
            .filter(|&s| s > 0)
            .min()
    };
    let columns = loads.iter().filter(|l| k(l.0)).filter(|(_, b)| match (least(b, true), least(b, false)) {
        (Some(f), Some(o)) => o < f,
        _ => false,
    });
    if columns.count() * 2 > loads.iter().filter(|l| k(l.0)).count() { Class::Columns } else { Class::Rows }
}
