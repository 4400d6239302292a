//! Last passes: axes in memory order and collapsed, loops around the code, buffers and their lives.

use super::collect::Graph;
use super::lower::{Draft, Job, Place};
use super::place::region_place;
use super::select::Selection;
use super::{Caps, Plan, Slot};
use crate::error::{Error, Result};
use crate::graph::{Expr, Op};
use crate::kernel::{
    AxisSet, Bind, Class, FoldOrder, Gather, GemmSpec, Id, Inst, KOp, KernelIr, Launch, Nest, Operand, Role, Step,
    TopKSpec, width,
};
use crate::layout::{Layout, Src, Strides, View, c_strides, size};
use smallvec::{SmallVec, smallvec};

/// A plan, or the node to store because the backend cannot run the kernel that makes it on the way.
pub enum Plans {
    /// The plan.
    Made(Plan),
    /// What to store.
    Refused(usize),
}

/// Turns drafts into kernels on slots.
pub fn plan(g: &Graph, jobs: Vec<Job>, caps: Caps<'_>) -> Result<Plans> {
    let mut p = Builder { g, slots: vec![], slot_of: vec![None; g.nodes.len()] };
    for leaf in &g.leaves {
        p.add(leaf.node, leaf.stored.layout.clone());
    }
    let mut steps = vec![];
    for job in jobs {
        let fused = match &job {
            Job::Kernel(d) => d.fused.first().copied(),
            Job::Gemm(_) | Job::TopK(_) | Job::Select(..) => None,
        };
        let (step, writes) = match job {
            Job::Kernel(d) => p.kernel(*d)?,
            Job::Gemm(n) => p.gemm(n)?,
            Job::TopK(n) => p.topk(n)?,
            Job::Select(d, selection) => {
                let from = d.targets[0].node;
                match p.select(*d, from, selection, caps)? {
                    Some(step) => step,
                    None => return Ok(Plans::Refused(from)),
                }
            }
        };
        if let (Some(node), Step::Kernel(ir, launch)) = (fused, &step)
            && !(caps.fuses)(ir, launch)
        {
            return Ok(Plans::Refused(node));
        }
        steps.push((step, writes));
    }
    Ok(Plans::Made(Plan { steps, slots: p.slots, leaves: g.leaves.len(), donors: vec![], unstored: vec![] }))
}

struct Builder<'a> {
    g: &'a Graph,
    slots: Vec<Slot>,
    slot_of: Vec<Option<u16>>,
}

/// One operand while axes are still the draft's.
struct Wide {
    slot: u16,
    offset: isize,
    strides: Strides,
    gather: Option<Gather>,
    role: Role,
    extent: usize,
}

impl Builder<'_> {
    fn add(&mut self, node: usize, layout: Layout) -> u16 {
        let slot = self.slots.len() as u16;
        self.slot_of[node] = Some(slot);
        let dtype = self.g.nodes[node].node.dtype;
        self.slots.push(Slot { dtype, layout, node, why: None, kept: false, last_use: 0 });
        slot
    }

    fn slot(&self, node: usize) -> Result<u16> {
        self.slot_of[node].ok_or_else(|| Error::Internal {
            stage: "arrange",
            detail: format!("node {node} is read before it is stored"),
        })
    }

    fn kernel(&mut self, d: Draft) -> Result<(Step, Vec<u16>)> {
        let rank = d.extents.len();
        let mut wide = vec![];
        for key in &d.loads {
            let slot = match key.leaf {
                Some(entry) => entry as u16,
                None => self.slot(key.node)?,
            };
            let own = self.slots[slot as usize].layout.strides.clone();
            let (offset, strides) = key.place(self.g, &own, rank);
            let gather = key.gather.map(|w| {
                let stride = w.axis.map_or(0, |a| own[a as usize]) * w.step;
                Gather { stride, len: w.len, taken: w.taken }
            });
            let extent = strides.iter().zip(&d.extents).filter(|s| *s.0 != 0).map(|s| s.1).product();
            wide.push(Wide { slot, offset, strides, gather, role: Role::In, extent });
        }
        let order = memory_order(&d, &wide);
        let mut writes = vec![];
        for t in &d.targets {
            let shape = &self.g.nodes[t.node].node.shape;
            let (slot, offset, strides) = match &t.place {
                Place::Whole => {
                    let strides = stored_strides(shape, &d, &order);
                    let walked = walked(shape, &strides, rank);
                    let slot = self.add(t.node, Layout { shape: shape.clone(), strides, offset: 0 });
                    (slot, 0, walked)
                }
                Place::COrder => {
                    let slot = self.add(t.node, Layout::c_order(shape));
                    let mut c = c_strides(&d.extents[..d.outer]);
                    c.resize(rank, 0);
                    (slot, 0, c)
                }
                Place::Region(region) => {
                    let slot = self.slot(t.node)?;
                    let own = self.slots[slot as usize].layout.strides.clone();
                    let (offset, strides) = region_place(region, &own, rank);
                    (slot, offset, strides)
                }
            };
            writes.push(slot);
            wide.push(Wide { slot, offset, strides, gather: None, role: Role::Out, extent: usize::MAX });
        }
        let (ir, launch) = self.finish(d, wide, order);
        Ok((Step::Kernel(ir, launch), writes))
    }

    fn finish(&self, d: Draft, wide: Vec<Wide>, order: Vec<usize>) -> (KernelIr, Launch) {
        let (folded, deep) = (set(&d.folded), set(&d.deep));
        let indexed = d.code.iter().fold(AxisSet::EMPTY, |s, i| match i.op {
            KOp::Index(a) => s.union(AxisSet::one(a as usize)),
            _ => s,
        });
        // Neighbours that every operand walks as one axis become one.
        let mut groups: Vec<Vec<usize>> = vec![];
        for &a in &order {
            let joins = groups.last().and_then(|g| g.last().copied()).is_some_and(|o| {
                folded.has(o) == folded.has(a)
                    && deep.has(o) == deep.has(a)
                    && !indexed.has(o)
                    && !indexed.has(a)
                    && wide.iter().all(|w| w.strides[o] == w.strides[a] * d.extents[a] as isize)
                    && d.code.iter().all(|i| i.over.has(o) == i.over.has(a))
            });
            match groups.last_mut() {
                Some(g) if joins => g.push(a),
                _ => groups.push(vec![a]),
            }
        }
        let mut new_of = [0usize; 32];
        for (n, group) in groups.iter().enumerate() {
            for &a in group {
                new_of[a] = n;
            }
        }
        let remap = |s: AxisSet| AxisSet(s.iter().fold(0, |m, a| m | 1 << new_of[a]));
        let extents: SmallVec<[usize; 6]> = groups.iter().map(|g| g.iter().map(|&a| d.extents[a]).product()).collect();
        let mut code: Vec<Inst> = d.code;
        for i in &mut code {
            i.over = remap(i.over);
            match &mut i.op {
                KOp::Index(a) => *a = new_of[*a as usize] as u8,
                KOp::Reduce { axes, .. } => *axes = remap(*axes),
                _ => {}
            }
        }
        let (folded, deep) = (remap(folded), remap(deep));
        let first_out = wide.iter().position(|w| w.role == Role::Out).unwrap_or(wide.len());
        let all = AxisSet::first(groups.len());
        for (n, t) in d.targets.iter().enumerate() {
            let value = &code[t.value as usize];
            // A result has every axis that is not folded away before it.
            let own = d.folded.iter().all(|&a| (a as usize) < d.outer);
            let gone = if own { deep } else { folded.union(deep) };
            let (dtype, over) = (value.dtype, value.over.union(all.minus(gone)));
            code.push(Inst { op: KOp::Store((first_out + n) as u8), args: smallvec![t.value], dtype, over });
        }
        let multi = all.minus(folded).minus(deep);
        let (code, nest) =
            if deep.is_empty() { nest(code, folded, multi) } else { nest_within(code, folded, deep, multi) };
        let operands =
            wide.iter().map(|w| Operand { dtype: self.slots[w.slot as usize].dtype, role: w.role }).collect();
        let binds: Vec<Bind> = wide
            .iter()
            .map(|w| {
                let strides = groups.iter().map(|g| g.last().map_or(0, |&a| w.strides[a])).collect();
                Bind { slot: w.slot, offset: w.offset, strides, gather: w.gather }
            })
            .collect();
        let index = width(&extents, folded.union(deep), &binds);
        let class = classify(&code, if deep.is_empty() { folded } else { deep }, &binds);
        let ir = KernelIr {
            axes: groups.len() as u8,
            folded: folded.union(deep),
            order: if d.pair { FoldOrder::Chain } else { FoldOrder::Tree },
            operands,
            params: d.params.iter().map(|p| p.0).collect(),
            code,
            nest,
            class,
            index,
        };
        let launch = Launch { extents, operands: binds, params: d.params.iter().map(|p| p.1).collect() };
        (ir, launch)
    }

    /// Where argument `k` of a node lies.
    fn argument(&self, n: usize, expr: &Expr, k: usize) -> Result<Bind> {
        let (g, p) = (self.g, &self.g.nodes[n]);
        let node = p.args[k] as usize;
        let entry = g.nodes[node].leaf.is_some().then(|| p.entries[k]);
        let slot = entry.map_or_else(|| self.slot(node), |e| Ok(e as u16))?;
        let (at, strides) = edge_place(&self.slots[slot as usize].layout, &expr.args[k].view());
        let start = entry.map_or(0, |e| g.leaves[e as usize].start);
        Ok(Bind { slot, offset: at - start, strides, gather: None })
    }

    fn topk(&mut self, n: usize) -> Result<(Step, Vec<u16>)> {
        let p = &self.g.nodes[n];
        let (Some(expr), Some(Op::TopK { largest })) = (&p.expr, self.g.op(n)) else {
            return Err(Error::Internal { stage: "arrange", detail: "a selection of nothing".into() });
        };
        let from = self.argument(n, expr, 0)?;
        let (shape, from_shape) = (&p.node.shape, expr.args[0].shape());
        let r = shape.len() - 1;
        let slot = self.add(n, Layout::c_order(shape));
        let to = Bind { slot, offset: 0, strides: c_strides(shape), gather: None };
        let spec = TopKSpec {
            dtype: expr.args[0].dtype(),
            batch: shape[..r].into(),
            m: from_shape[r],
            k: shape[r],
            largest,
            operands: smallvec![from, to],
            made: None,
        };
        Ok((Step::TopK(spec), vec![slot]))
    }

    /// A selection from what a kernel makes; `None` where the backend cannot. The array has a slot that no one fills.
    fn select(&mut self, d: Draft, from: usize, s: Selection, caps: Caps<'_>) -> Result<Option<(Step, Vec<u16>)>> {
        let (Step::Kernel(ir, launch), _) = self.kernel(d)? else { return Ok(None) };
        let Some(Op::TopK { largest }) = self.g.op(s.node) else { return Ok(None) };
        let layout = &self.slots[self.slot(from)? as usize].layout;
        let r = layout.shape.len() - 1;
        let m = layout.shape[r];
        if *layout != Layout::c_order(&layout.shape) || !(caps.selects)(&ir, &launch, m) {
            return Ok(None);
        }
        let shape = &self.g.nodes[s.node].node.shape;
        let mut operands: SmallVec<[Bind; 2]> = launch.operands.iter().cloned().collect();
        let mut writes = vec![];
        for node in std::iter::once(s.node).chain(s.values) {
            let slot = self.add(node, Layout::c_order(shape));
            operands.push(Bind { slot, offset: 0, strides: c_strides(shape), gather: None });
            writes.push(slot);
        }
        let (dtype, batch, k) = (self.g.nodes[from].node.dtype, shape[..r].into(), shape[r]);
        let spec = TopKSpec { dtype, batch, m, k, largest, operands, made: Some(Box::new((ir, launch))) };
        Ok(Some((Step::TopK(spec), writes)))
    }

    fn gemm(&mut self, n: usize) -> Result<(Step, Vec<u16>)> {
        let p = &self.g.nodes[n];
        let Some(expr) = &p.expr else {
            return Err(Error::Internal { stage: "arrange", detail: "dot of nothing".into() });
        };
        let (a, b) = (self.argument(n, expr, 0)?, self.argument(n, expr, 1)?);
        let shape = &p.node.shape;
        let r = shape.len();
        let slot = self.add(n, Layout::c_order(shape));
        let c = Bind { slot, offset: 0, strides: c_strides(shape), gather: None };
        let k = expr.args[0].shape()[r - 1];
        let spec = GemmSpec {
            dtype: p.node.dtype,
            batch: shape[..r - 2].into(),
            m: shape[r - 2],
            n: shape[r - 1],
            k,
            operands: [a, b, c],
        };
        Ok((Step::Gemm(spec), vec![slot]))
    }
}

/// Start and strides of a view of an array that lies so, in elements from the array's first.
fn edge_place(layout: &Layout, view: &View) -> (isize, Strides) {
    let at = view.at.iter().zip(&layout.strides).map(|(&at, &s)| at as isize * s).sum();
    let strides = view
        .src
        .iter()
        .zip(&view.shape)
        .map(|(s, &n)| match *s {
            Src::Axis { axis, step } if n != 1 => step * layout.strides[axis as usize],
            _ => 0,
        })
        .collect();
    (at, strides)
}

fn set(axes: &[u8]) -> AxisSet {
    AxisSet(axes.iter().fold(0, |s, &a| s | 1 << a))
}

/// The draft's axes, outermost first: results' axes in the memory order of the operands, then folded ones, those of folds
/// inside folds last.
fn memory_order(d: &Draft, wide: &[Wide]) -> Vec<usize> {
    let mut by_size: Vec<&Wide> = wide.iter().collect();
    by_size.sort_by_key(|w| std::cmp::Reverse(w.extent));
    // Whether axis a belongs inside axis b: as the largest operand that walks both has it.
    let inside = |a: usize, b: usize| {
        for w in &by_size {
            let (x, y) = (w.strides[a].unsigned_abs(), w.strides[b].unsigned_abs());
            if x != 0 && y != 0 && x != y {
                return x < y;
            }
        }
        false
    };
    let sort = |axes: Vec<usize>| {
        let mut out: Vec<usize> = vec![];
        for a in axes {
            // NumPy's insertion sort: axes keep their order where the operands do not tell.
            let mut at = out.len();
            while at > 0 && inside(out[at - 1], a) {
                at -= 1;
            }
            out.insert(at, a);
        }
        out
    };
    let rank = d.extents.len();
    let folded = set(&d.folded).union(set(&d.deep));
    let mut order = sort((0..rank).filter(|&a| !folded.has(a)).collect());
    for level in [&d.folded, &d.deep] {
        let inner: Vec<usize> = level.iter().map(|&a| a as usize).collect();
        order.extend(if d.ordered { inner } else { sort(inner) });
    }
    order
}

/// Strides of a new value that lies in the order its kernel walks (a row's folded axes are its innermost).
fn stored_strides(shape: &[usize], d: &Draft, order: &[usize]) -> Strides {
    let mut of_axis: Strides = SmallVec::from_elem(0, d.extents.len());
    let mut step = 1isize;
    for &a in order.iter().rev() {
        if a < d.outer {
            of_axis[a] = step;
            step *= d.extents[a].max(1) as isize;
        }
    }
    let mut next = 0;
    let mut out = c_strides(shape);
    for (s, &n) in out.iter_mut().zip(shape) {
        if n != 1 {
            *s = of_axis[next];
            next += 1;
        }
    }
    out
}

fn walked(shape: &[usize], strides: &[isize], rank: usize) -> Strides {
    let mut out: Strides = shape.iter().zip(strides).filter(|a| *a.0 != 1).map(|a| *a.1).collect();
    out.resize(rank, 0);
    out
}

/// Orders the code by pass and puts the loops around it.
fn nest(code: Vec<Inst>, folded: AxisSet, outer: AxisSet) -> (Vec<Inst>, Nest) {
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
    let mut place = vec![0 as Id; code.len()];
    for (n, &i) in ids.iter().enumerate() {
        place[i] = n as Id;
    }
    let mut body = vec![];
    let mut at = 0;
    while at < ids.len() {
        let (p, l) = (pass[ids[at]], inside[ids[at]]);
        let end = at + ids[at..].iter().take_while(|&&i| (pass[i], inside[i]) == (p, l)).count();
        let insts = Nest::Insts(at as Id..end as Id);
        body.push(if l { Nest::Loop { axes: folded, body: vec![insts] } } else { insts });
        at = end;
    }
    let code = renumbered(code, &ids, &place);
    (code, Nest::Loop { axes: outer, body })
}

/// Orders the code of folds inside folds and puts the loops around it: results { folded { deep } }.
fn nest_within(code: Vec<Inst>, folded: AxisSet, deep: AxisSet, outer: AxisSet) -> (Vec<Inst>, Nest) {
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
    let mut place = vec![0 as Id; code.len()];
    for (n, &i) in ids.iter().enumerate() {
        place[i] = n as Id;
    }
    let starts: Vec<Id> = (0..=5).map(|p| ids.iter().filter(|&&i| part[i] < p).count() as Id).collect();
    let insts = |p: usize| (starts[p] < starts[p + 1]).then(|| Nest::Insts(starts[p]..starts[p + 1]));
    let inner = Nest::Loop { axes: deep, body: insts(2).into_iter().collect() };
    let within = insts(1).into_iter().chain([inner]).chain(insts(3)).collect();
    let body = insts(0).into_iter().chain([Nest::Loop { axes: folded, body: within }]).chain(insts(4)).collect();
    (renumbered(code, &ids, &place), Nest::Loop { axes: outer, body })
}

/// The code in another order.
fn renumbered(code: Vec<Inst>, ids: &[usize], place: &[Id]) -> Vec<Inst> {
    let moved = |&i: &usize| {
        let mut inst = code[i].clone();
        for a in &mut inst.args {
            *a = place[*a as usize];
        }
        inst
    };
    ids.iter().map(moved).collect()
}

fn classify(code: &[Inst], folded: AxisSet, binds: &[Bind]) -> Class {
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

/// Which slots outlive the evaluation, when each is last used, and which results may take a leaf's buffer.
pub fn lifetimes(g: &Graph, stored: &[bool], plan: &mut Plan) {
    // A pending value that survives keeps what it reads.
    let mut survives: Vec<bool> = (0..g.nodes.len()).map(|i| g.nodes[i].held && !stored[i]).collect();
    let mut kept: Vec<bool> = (0..g.nodes.len()).map(|i| g.nodes[i].root || g.nodes[i].held).collect();
    for i in (0..g.nodes.len()).rev() {
        if survives[i] {
            for &a in &g.nodes[i].args {
                let a = a as usize;
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
    for (n, (step, _)) in plan.steps.iter().enumerate() {
        for b in step.binds() {
            plan.slots[b.slot as usize].last_use = n;
        }
    }
    for (n, (step, writes)) in plan.steps.iter().enumerate() {
        let Step::Kernel(ir, launch) = step else { continue };
        // A second result would be computed from what the first wrote over.
        if writes.len() != 1 {
            continue;
        }
        let own = |slot: u16| launch.operands.iter().zip(&ir.operands).filter(move |(b, _)| b.slot == slot);
        for &out in writes {
            let Some((o, _)) = own(out).next() else { continue };
            for leaf in 0..plan.leaves as u16 {
                let s = &plan.slots[leaf as usize];
                let fits = s.last_use == n
                    && !survives_reader(g, &survives, s.node)
                    && own(leaf).next().is_some()
                    && own(leaf).all(|(b, op)| {
                        b.strides == o.strides
                            && b.offset == 0
                            && b.gather.is_none()
                            && op.dtype.size() == plan.slots[out as usize].dtype.size()
                    })
                    && ir.folded.is_empty()
                    && size(&s.layout.shape) == size(&plan.slots[out as usize].layout.shape)
                    && !plan.donors.iter().any(|d| d.2 == leaf || (d.0, d.1) == (n, out));
                let first = plan.steps[..n].iter().all(|(_, w)| !w.contains(&out));
                if fits && first {
                    plan.donors.push((n, out, leaf));
                }
            }
        }
    }
}

fn survives_reader(g: &Graph, survives: &[bool], node: usize) -> bool {
    g.nodes.iter().enumerate().any(|(i, n)| survives[i] && n.args.iter().any(|&a| a as usize == node))
}
