//! Fifth pass: axes in memory order and collapsed, operands and results in slots.

use super::collect::Graph;
use super::jobs::Job;
use super::lower::{Draft, Place};
use super::nest::{classify, nest, nest_within};
use super::place::region_place;
use super::select::{Product, Selection};
use super::{Caps, Plan, Slot, Stage, Writes};
use crate::error::{Error, Result};
use crate::graph::{Expr, Op};
use crate::kernel::{
    AxisSet, Bind, Blocks, FoldOrder, Gather, GemmSpec, Inst, KOp, KernelIr, Launch, Operand, Role, Step, TopKSpec,
    width,
};
use crate::layout::{Dims, Layout, Src, Strides, View, c_strides};
use smallvec::{SmallVec, smallvec};

/// A plan, or the nodes to store because the backend cannot run the kernels that make them on the way.
pub enum Plans {
    /// The plan.
    Made(Plan),
    /// What to store.
    Refused(Vec<usize>),
}

/// Turns drafts into kernels on slots.
pub fn plan(g: &Graph, jobs: Vec<Job>, caps: Caps<'_>) -> Result<Plans> {
    let mut p = Builder { g, slots: vec![], slot_of: vec![None; g.nodes.len()] };
    for leaf in &g.leaves {
        p.add(leaf.node, leaf.stored.layout.clone())?;
    }
    let mut stages = Vec::with_capacity(jobs.len());
    let mut refused = vec![];
    for job in jobs {
        let (fused, made) = match &job {
            Job::Kernel(d) => (d.fused.first().copied(), None),
            Job::Select(d, _) | Job::Product(d, _) => (None, Some(d.targets[0].node)),
            Job::Gemm(_) | Job::TopK(_) => (None, None),
        };
        let nodes = job.writes();
        let step = match job {
            Job::Kernel(d) => Some(p.kernel(*d, None)?),
            Job::Gemm(n) => Some(p.gemm(n)?),
            Job::TopK(n) => Some(p.topk(n)?),
            Job::Select(d, selection) => p.select(*d, &selection, caps)?,
            Job::Product(d, product) => p.product(*d, &product, caps)?,
        };
        let Some((run, writes)) = step else {
            refused.extend(made);
            // What reads them is arranged in vain, but not wrong.
            for node in nodes {
                p.add(node, Layout::c_order(&g.nodes[node].node.shape))?;
            }
            continue;
        };
        if let (Some(node), Step::Kernel(ir, launch)) = (fused, &run)
            && !(caps.fuses)(ir, launch)
        {
            refused.push(node);
        }
        stages.push(Stage { run, writes, over: None, copies: false, frees: vec![] });
    }
    if !refused.is_empty() {
        return Ok(Plans::Refused(refused));
    }
    Ok(Plans::Made(Plan { stages, slots: p.slots, leaves: g.leaves.len(), unstored: vec![] }))
}

struct Builder<'a> {
    g: &'a Graph,
    slots: Vec<Slot>,
    slot_of: Vec<Option<u32>>,
}

/// One operand while axes are still the draft's.
struct Wide {
    slot: u32,
    offset: isize,
    strides: Strides,
    gather: Option<Gather>,
    role: Role,
    extent: usize,
}

impl Builder<'_> {
    fn add(&mut self, node: usize, layout: Layout) -> Result<u32> {
        let slot = u32::try_from(self.slots.len())
            .map_err(|_| Error::Internal { stage: "arrange", detail: "more than 2^32 buffers".into() })?;
        self.slot_of[node] = Some(slot);
        let dtype = self.g.nodes[node].node.dtype;
        self.slots.push(Slot { dtype, layout, node, why: None, kept: false });
        Ok(slot)
    }

    fn slot(&self, node: usize) -> Result<u32> {
        self.slot_of[node].ok_or_else(|| Error::Internal {
            stage: "arrange",
            detail: format!("node {node} is read before it is stored"),
        })
    }

    /// A kernel; what it stores lies as it walks, or with these axes outermost first.
    fn kernel(&mut self, d: Draft, lies: Option<&[usize]>) -> Result<(Step, Writes)> {
        let rank = d.extents.len();
        let mut wide = vec![];
        for key in &d.loads {
            let slot = match key.leaf {
                Some(entry) => entry,
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
        let mut order = memory_order(&d, &wide);
        if let Some(axes) = lies {
            // Those of the results are numbered without extents of 1.
            let shape = &self.g.nodes[d.targets[0].node].node.shape;
            let own = axes.iter().filter(|&&a| shape[a] != 1).map(|&a| shape[..a].iter().filter(|&&n| n != 1).count());
            order = own.chain(order.into_iter().filter(|&a| a >= d.outer)).collect();
        }
        let mut writes = Writes::new();
        for t in &d.targets {
            let shape = &self.g.nodes[t.node].node.shape;
            let (slot, offset, strides) = match &t.place {
                Place::Whole => {
                    let strides = stored_strides(shape, &d, &order);
                    let walked = walked(shape, &strides, rank);
                    let slot = self.add(t.node, Layout { shape: shape.clone(), strides, offset: 0 })?;
                    (slot, 0, walked)
                }
                Place::COrder => {
                    let slot = self.add(t.node, Layout::c_order(shape))?;
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
        let (folded, deep) = d.sets();
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
        let first_out = wide.iter().position(|w| w.role == Role::Out).unwrap_or(wide.len());
        let stores = d.stores(first_out);
        let mut code: Vec<Inst> = d.code;
        code.extend(stores);
        for i in &mut code {
            i.over = remap(i.over);
            match &mut i.op {
                KOp::Index(a) => *a = new_of[*a as usize] as u8,
                KOp::Reduce { axes, .. } => *axes = remap(*axes),
                _ => {}
            }
        }
        let (folded, deep) = (remap(folded), remap(deep));
        let multi = AxisSet::first(groups.len()).minus(folded).minus(deep);
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
        let slot = entry.map_or_else(|| self.slot(node), Ok)?;
        let (at, strides) = edge_place(&self.slots[slot as usize].layout, &expr.args[k].view());
        let start = entry.map_or(0, |e| g.leaves[e as usize].start);
        Ok(Bind { slot, offset: at - start, strides, gather: None })
    }

    fn topk(&mut self, n: usize) -> Result<(Step, Writes)> {
        let p = &self.g.nodes[n];
        let (Some(expr), Some(Op::TopK { largest })) = (&p.expr, self.g.op(n)) else {
            return Err(Error::Internal { stage: "arrange", detail: "a selection of nothing".into() });
        };
        let from = self.argument(n, expr, 0)?;
        let (shape, from_shape) = (&p.node.shape, expr.args[0].shape());
        let r = shape.len() - 1;
        let slot = self.add(n, Layout::c_order(shape))?;
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
        Ok((Step::TopK(spec), smallvec![slot]))
    }

    /// A selection from what a kernel makes; `None` where the backend cannot. The array has a slot that no one fills.
    fn select(&mut self, d: Draft, s: &Selection, caps: Caps<'_>) -> Result<Option<(Step, Writes)>> {
        let from = d.targets[0].node;
        let (Step::Kernel(ir, launch), _) = self.kernel(d, Some(&s.axes))? else { return Ok(None) };
        let Some(Op::TopK { largest }) = self.g.op(s.node) else { return Ok(None) };
        let shape = &self.g.nodes[s.node].node.shape;
        let r = shape.len() - 1;
        let m = self.g.nodes[from].node.shape[s.axes[r]];
        if !(caps.selects)(&ir, &launch, m) {
            return Ok(None);
        }
        let mut operands: SmallVec<[Bind; 2]> = launch.operands.iter().cloned().collect();
        let mut writes = Writes::new();
        let strides = c_strides(shape);
        let as_found: Dims = (0..=r).collect();
        for (node, axes) in std::iter::once((s.node, &as_found)).chain(s.values.iter().map(|(n, axes)| (*n, axes))) {
            let layout = Layout {
                shape: axes.iter().map(|&a| shape[a]).collect(),
                strides: axes.iter().map(|&a| strides[a]).collect(),
                offset: 0,
            };
            let slot = self.add(node, layout)?;
            operands.push(Bind { slot, offset: 0, strides: strides.clone(), gather: None });
            writes.push(slot);
        }
        let (dtype, batch, k) = (self.g.nodes[from].node.dtype, shape[..r].into(), shape[r]);
        let spec = TopKSpec { dtype, batch, m, k, largest, operands, made: Some(Box::new((ir, launch))) };
        Ok(Some((Step::TopK(spec), writes)))
    }

    /// A product of what a kernel makes, in blocks of rows; `None` where the backend cannot. The array has a slot that no one fills.
    fn product(&mut self, d: Draft, product: &Product, caps: Caps<'_>) -> Result<Option<(Step, Writes)>> {
        let from = d.targets[0].node;
        let (Step::Kernel(ir, launch), _) = self.kernel(d, Some(&product.axes))? else { return Ok(None) };
        let [m, k] = [0, 1].map(|a| self.g.nodes[from].node.shape[product.axes[a]]);
        let size = self.g.nodes[from].node.dtype.size();
        let strides = launch.operands.last().map(|array| array.strides.clone()).unwrap_or_default();
        let axis = (0..strides.len()).find(|&a| strides[a] == k as isize && launch.extents[a] == m);
        let (Some(axis), Some(bytes)) = (axis, (caps.blocks)(&ir, &launch)) else { return Ok(None) };
        let rows = block(m, bytes / size / k.max(1));
        let blocks = Blocks { ir, launch, axis, rows };
        self.multiply(product.node, Some(blocks)).map(Some)
    }

    fn gemm(&mut self, n: usize) -> Result<(Step, Writes)> {
        self.multiply(n, None)
    }

    fn multiply(&mut self, n: usize, blocks: Option<Blocks>) -> Result<(Step, Writes)> {
        let p = &self.g.nodes[n];
        let Some(expr) = &p.expr else {
            return Err(Error::Internal { stage: "arrange", detail: "dot of nothing".into() });
        };
        let mut operands: SmallVec<[Bind; 3]> = match &blocks {
            Some(made) => made.launch.operands.iter().cloned().collect(),
            None => smallvec![self.argument(n, expr, 0)?],
        };
        operands.push(self.argument(n, expr, 1)?);
        let shape = &p.node.shape;
        let r = shape.len();
        let slot = self.add(n, Layout::c_order(shape))?;
        operands.push(Bind { slot, offset: 0, strides: c_strides(shape), gather: None });
        let k = expr.args[0].shape()[r - 1];
        let spec = GemmSpec {
            dtype: p.node.dtype,
            batch: shape[..r - 2].into(),
            m: shape[r - 2],
            n: shape[r - 1],
            k,
            operands,
            blocks: blocks.map(Box::new),
        };
        Ok((Step::Gemm(spec), smallvec![slot]))
    }
}

/// Rows of a block, of `m`, where `most` are wanted: whole tiles of either backend, and in memory as aligned as the first; and none of one row, whose
/// kernel may fold in another order where none is made for it.
fn block(m: usize, most: usize) -> usize {
    let whole = [192, 48, 12, 2].into_iter().find(|&n| most >= n).unwrap_or(2);
    let mut rows = (most / whole * whole).clamp(2, m.max(2));
    while m % rows == 1 && rows > whole {
        rows -= whole;
    }
    while m > 1 && m % rows == 1 {
        rows += 1;
    }
    rows
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

/// The draft's axes, outermost first: results' axes in the memory order of the operands, then folded ones, those of folds
/// inside folds last.
fn memory_order(d: &Draft, wide: &[Wide]) -> Vec<usize> {
    let mut by_size: Vec<&Wide> = wide.iter().collect();
    by_size.sort_by_key(|w| std::cmp::Reverse(w.extent));
    // Whether axis a, which comes before b, belongs inside it: as the largest operands that walk both have it, and in C order
    // where they differ, as in NumPy.
    let inside = |a: usize, b: usize| {
        let mut told = None;
        for w in &by_size {
            let (x, y) = (w.strides[a].unsigned_abs(), w.strides[b].unsigned_abs());
            if told.is_some_and(|extent| extent != w.extent) {
                break;
            }
            if x != 0 && y != 0 && x != y {
                if x > y {
                    return false;
                }
                told = Some(w.extent);
            }
        }
        told.is_some()
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
    let (folded, deep) = d.sets();
    let folded = folded.union(deep);
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
