//! Last pass: how long buffers live, and which steps write over one that nothing else reads.

use super::collect::Graph;
use super::{Plan, Stage};
use crate::debug;
use crate::graph::Op;
use crate::kernel::{Bind, Inst, KOp, Step};
use crate::layout::size;
use smallvec::SmallVec;

/// What the steps do with each slot: the first and the last that write it, the last that reads or writes it.
struct Uses {
    first: Vec<usize>,
    written: Vec<usize>,
    last: Vec<usize>,
}

impl Uses {
    fn of(plan: &Plan) -> Uses {
        let n = plan.slots.len();
        let mut u = Uses { first: vec![usize::MAX; n], written: vec![0; n], last: vec![0; n] };
        for (at, stage) in plan.stages.iter().enumerate() {
            for b in stage.run.binds() {
                u.last[b.slot as usize] = at;
            }
            for &w in &stage.writes {
                let first = &mut u.first[w as usize];
                *first = at.min(*first);
                u.written[w as usize] = at;
            }
        }
        u
    }
}

/// Which slots outlive the evaluation, when each other is let go, and which results may take another's buffer. Given what is stored.
pub fn settle(g: &Graph, stored: &[bool], plan: &mut Plan) {
    // A pending value that survives keeps what it reads.
    let mut survives: Vec<bool> = (0..g.nodes.len()).map(|i| g.nodes[i].held && !stored[i]).collect();
    let mut kept: Vec<bool> = (0..g.nodes.len()).map(|i| g.nodes[i].root || g.nodes[i].held).collect();
    let mut needed = vec![false; g.nodes.len()];
    for i in (0..g.nodes.len()).rev() {
        if survives[i] {
            for &a in &g.nodes[i].args {
                let a = a as usize;
                needed[a] = true;
                kept[a] |= stored[a];
                survives[a] |= !stored[a];
            }
        }
    }
    for s in &mut plan.slots {
        s.kept = kept[s.node];
    }
    // A fold below what is held is computed again when that is: next time it is stored.
    let again = |i: &usize| {
        let fold = matches!(g.op(*i), Some(Op::Reduce { .. } | Op::Dot));
        !stored[*i] && (g.nodes[*i].held || survives[*i] && fold)
    };
    plan.unstored = (0..g.nodes.len()).filter(again).collect();
    let given = hand_over(plan);
    let uses = Uses::of(plan);
    for n in 0..plan.stages.len() {
        if plan.stages[n].over.is_none() {
            let over = plan.stages[n].writes.first().and_then(|&out| donor(plan, &uses, n, out, &needed));
            plan.stages[n].copies = over.is_some() && copied(plan, &plan.stages[n].run).is_some();
            plan.stages[n].over = over;
        }
    }
    for (s, slot) in plan.slots.iter().enumerate().skip(plan.leaves) {
        if !slot.kept && !given[s] {
            plan.stages[uses.last[s]].frees.push(s as u32);
        }
    }
}

/// What is written in parts goes into the buffer of the value it was: the copy before it goes, where that value is not kept and nothing
/// else reads it any more. Says for each slot whether another took its buffer.
fn hand_over(plan: &mut Plan) -> Vec<bool> {
    let uses = Uses::of(plan);
    let mut given = vec![false; plan.slots.len()];
    let mut taken: Vec<Option<u32>> = vec![None; plan.slots.len()];
    let mut stages = Vec::with_capacity(plan.stages.len());
    for (n, mut stage) in std::mem::take(&mut plan.stages).into_iter().enumerate() {
        if let Some((from, to)) = copied(plan, &stage.run) {
            let (f, t) = (from as usize, to as usize);
            let last = f >= plan.leaves && !plan.slots[f].kept && uses.last[f] == n;
            if last && uses.first[t] == n && uses.written[t] > n {
                given[f] = true;
                taken[t] = Some(from);
                continue;
            }
        }
        if let [out] = stage.writes[..] {
            stage.over = taken[out as usize].take();
        }
        stages.push(stage);
    }
    plan.stages = stages;
    given
}

/// The slots that a step copies from and to, where it does nothing else and both lie alike.
fn copied(plan: &Plan, step: &Step) -> Option<(u32, u32)> {
    let Step::Kernel(ir, launch) = step else { return None };
    let ([Inst { op: KOp::Load(i), .. }, Inst { op: KOp::Store(o), .. }], [_, _]) =
        (&ir.code[..], &launch.operands[..])
    else {
        return None;
    };
    let (from, to) = (&launch.operands[*i as usize], &launch.operands[*o as usize]);
    let len = |b: &Bind| size(&plan.slots[b.slot as usize].layout.shape);
    let alike = (from.offset, to.offset) == (0, 0) && from.strides == to.strides && len(from) == len(to);
    // Else it writes a part.
    let all = launch.extents.iter().product::<usize>() == len(to);
    (alike && all).then_some((from.slot, to.slot))
}

/// The leaf that step `n` reads last and element by element where it writes `out`.
fn donor(plan: &Plan, uses: &Uses, n: usize, out: u32, needed: &[bool]) -> Option<u32> {
    let Stage { run: Step::Kernel(ir, launch), writes, .. } = &plan.stages[n] else { return None };
    // Of two results the second would be computed from what the first wrote over.
    if writes.len() != 1 || !ir.folded.is_empty() || uses.first[out as usize] != n {
        return None;
    }
    let own = |slot: u32| launch.operands.iter().zip(&ir.operands).filter(move |(b, _)| b.slot == slot);
    let (o, _) = own(out).next()?;
    let made = &plan.slots[out as usize];
    let fits = |&slot: &u32| {
        let s = &plan.slots[slot as usize];
        let over = |b: &Bind| b.strides == o.strides && b.offset == 0 && b.gather.is_none();
        uses.last[slot as usize] == n
            && !needed[s.node]
            && own(slot).all(|(b, op)| over(b) && op.dtype.size() == made.dtype.size())
            && size(&s.layout.shape) == size(&made.layout.shape)
    };
    let mut read: SmallVec<[u32; 8]> =
        launch.operands.iter().map(|b| b.slot).filter(|&s| (s as usize) < plan.leaves).collect();
    read.sort_unstable();
    debug::note(|t| t.planned += read.len());
    read.into_iter().find(fits)
}
