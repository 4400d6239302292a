//! The kernel that a stored value becomes: everything unstored below it is inlined through its views.
//! A fold joins the kernel where its consumers read it at their own index (epilogue), fold it in their turn, or spread it
//! back over the axes it folded (a row of several passes); any other fold is stored, and what read it is lowered again.

use super::collect::Graph;
use super::place::{AMap, Along, LoadKey, Walk, along};
use super::store::Store;
use crate::debug;
use crate::dtype::DType;
use crate::error::Error;
use crate::graph::Op;
use crate::hash::Fast;
use crate::kernel::limits::Size;
use crate::kernel::validate::{MAX_INSTS, MAX_OPERANDS};
use crate::kernel::{AxisSet, Id, Inst, KOp, Param};
use crate::layout::{Dims, Src, View};
use crate::ops::OpRef;
use smallvec::{SmallVec, smallvec};
use std::collections::{HashMap, HashSet};

/// What a kernel writes.
#[derive(Clone, Debug)]
pub struct Target {
    /// The graph node stored.
    pub node: usize,
    /// The value written.
    pub value: Id,
    /// What the write covers.
    pub place: Place,
}

/// Where a kernel's result goes in its node's buffer.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// All of it, in the order the kernel walks.
    Whole,
    /// All of it, in C order of this shape, which has as many elements.
    COrder,
    /// This view of it.
    Region(View),
}

/// A kernel before its axes are put in order.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// Extents; the results' axes first, then axes that are only folded.
    pub extents: Dims,
    /// How many of them are the results' own.
    pub outer: usize,
    /// Axes some fold goes over, in logical order.
    pub folded: SmallVec<[u8; 4]>,
    /// Axes of the folds inside what is folded over `folded`.
    pub deep: SmallVec<[u8; 4]>,
    /// Whether sums are folded in a chain: their operands vary with different axes of the result.
    pub pair: bool,
    /// Products of rows and columns made here, and their operands.
    pub dots: Vec<(usize, [Id; 2])>,
    /// Folds of squares of an operand of such a product, and the operand.
    pub norms: Vec<(usize, Id)>,
    /// Products and folds inside folds: what is stored where the backend cannot run them in one kernel.
    pub fused: Vec<usize>,
    /// Whether a fold needs its axes in logical order.
    pub ordered: bool,
    /// Folds that are spread back over their axes: several passes over a row.
    pub spread: Vec<usize>,
    /// The instructions, loads by index into `loads`.
    pub code: Vec<Inst>,
    /// What the kernel reads.
    pub loads: Vec<LoadKey>,
    /// Scalars.
    pub params: Vec<(DType, Param)>,
    /// What the kernel writes.
    pub targets: Vec<Target>,
    /// Unstored nodes computed in it.
    pub inlined: Vec<usize>,
}

impl Draft {
    /// Whether every device takes it: its arguments, and its program.
    pub fn fits(&self) -> bool {
        let (folded, deep) = self.sets();
        let code: Vec<Inst> = self.code.iter().cloned().chain(self.stores(0)).collect();
        let (axes, operands) = (self.extents.len(), self.loads.len() + self.targets.len());
        Size { code: &code, axes, folded: folded.union(deep), operands, params: self.params.len() }.fits()
    }

    /// The axes of its folds, and of those inside them.
    pub fn sets(&self) -> (AxisSet, AxisSet) {
        let set = |axes: &[u8]| AxisSet(axes.iter().fold(0, |s, &a| s | 1 << a));
        (set(&self.folded), set(&self.deep))
    }

    /// Stores of its results, to operands from `first` on.
    pub fn stores(&self, first: usize) -> Vec<Inst> {
        let (folded, deep) = self.sets();
        // A result has every axis that is not folded away before it.
        let row = folded.minus(AxisSet::first(self.outer)).is_empty();
        let own = AxisSet::first(self.extents.len()).minus(if row { deep } else { folded.union(deep) });
        let store = |(n, t): (usize, &Target)| {
            let value = &self.code[t.value as usize];
            let (op, over) = (KOp::Store((first + n) as u8), value.over.union(own));
            Inst { op, args: smallvec![t.value], dtype: value.dtype, over }
        };
        self.targets.iter().enumerate().map(store).collect()
    }
}

/// Why a kernel could not be made.
pub enum Stop {
    /// This node has to be stored first, and why.
    Store(usize, &'static str),
    /// Too many instructions or operands.
    Limit,
    /// A defect.
    Fail(Error),
}

/// Why what no kernel fuses with its readers is stored.
pub const APART: &str = "no one kernel makes it and what reads it";

/// Lowers several stored values of one shape into one kernel.
pub fn group(store: &Store<'_>, nodes: &[usize]) -> Option<Draft> {
    let mut l = Lower::new(store, nodes, nodes);
    let map = l.open(&store.g.nodes[nodes[0]].node.shape);
    for &node in nodes {
        let value = l.compute(node, &map).ok()?;
        l.d.targets.push(Target { node, value, place: Place::Whole });
    }
    let fits = l.d.loads.len() + l.d.targets.len() <= MAX_OPERANDS && l.d.fits();
    (fits && l.misfit().is_none()).then_some(l.d)
}

/// One kernel being lowered.
pub struct Lower<'a> {
    /// The graph.
    pub g: &'a Graph,
    /// What has memory.
    pub stored: &'a [bool],
    /// Stored values that this same kernel computes: read from registers.
    also: &'a [usize],
    /// How many folds the value lowered now is an argument of.
    pub inside: u8,
    /// Whether a product of rows and columns will be made here.
    pub dot: bool,
    /// The kernel.
    pub d: Draft,
    /// Values whose code is not complete, each an argument of the one before, and how much there was of the kernel when each began.
    path: Vec<(usize, usize)>,
    /// Values computed here, and how much of the kernel each is.
    done: Vec<(usize, usize)>,
    memo: HashMap<(usize, AMap), Id, Fast>,
    memo_inst: HashMap<(KOp, SmallVec<[Id; 3]>, DType), Id, Fast>,
}

impl<'a> Lower<'a> {
    /// An empty kernel that will store `roots`.
    pub fn new(store: &'a Store<'a>, also: &'a [usize], roots: &[usize]) -> Self {
        let (g, stored) = (store.g, &store.stored[..]);
        let (memo, memo_inst) = (HashMap::default(), HashMap::default());
        let mut l = Lower {
            g,
            stored,
            also,
            inside: 0,
            dot: false,
            d: Draft::default(),
            path: vec![],
            done: vec![],
            memo,
            memo_inst,
        };
        let mut seen: HashSet<usize, Fast> = HashSet::default();
        let mut todo: SmallVec<[usize; 8]> = roots.iter().copied().filter(|&n| store.folds[n]).collect();
        while let (Some(n), false) = (todo.pop(), l.dot) {
            l.dot = matches!(g.op(n), Some(Op::Dot | Op::Reduce { .. })) && l.is_product(n);
            for a in g.nodes[n].args.iter().map(|&a| a as usize) {
                if !stored[a] && store.folds[a] && seen.insert(a) {
                    todo.push(a);
                }
            }
        }
        l
    }

    /// The results' axes; those of extent 1 are none.
    pub fn open(&mut self, shape: &[usize]) -> AMap {
        let mut map = AMap::new();
        for &n in shape {
            map.push(self.axis(n));
        }
        self.d.outer = self.d.extents.len();
        map
    }

    fn axis(&mut self, n: usize) -> Along {
        if n == 1 {
            return Along { axis: None, step: 0, start: 0 };
        }
        self.d.extents.push(n);
        Along { axis: Some(self.d.extents.len() as u8 - 1), step: 1, start: 0 }
    }

    /// Argument `k` of node `i`, where `i`'s (or its region's) axes follow `map`.
    pub fn edge(&mut self, i: usize, k: usize, map: &AMap) -> Result<Id, Stop> {
        let g = self.g;
        let Some(expr) = &g.nodes[i].expr else { return Err(bug("edge of a leaf")) };
        let arg = &expr.args[k];
        let (node, leaf) = self.source(i, k);
        self.value(node, leaf, along(arg, map))
    }

    /// Argument `k` of node `i`, and its entry if it is a leaf.
    fn source(&self, i: usize, k: usize) -> (usize, Option<u32>) {
        let node = self.g.nodes[i].args[k] as usize;
        (node, self.g.nodes[node].leaf.is_some().then(|| self.g.nodes[i].entries[k]))
    }

    fn value(&mut self, i: usize, leaf: Option<u32>, map: AMap) -> Result<Id, Stop> {
        let inline = self.also.contains(&i) && self.is_whole(&map);
        if self.stored[i] && !inline {
            if self.also.contains(&i) {
                return Err(Stop::Store(i, APART));
            }
            return self.load(LoadKey { node: i, leaf, map, gather: None }, smallvec![]);
        }
        self.compute(i, &map)
    }

    /// Whether a map is the kernel's results' own index.
    fn is_whole(&self, map: &AMap) -> bool {
        let mut next = 0;
        map.iter().all(|a| match a.axis {
            None => a.start == 0,
            Some(x) => {
                next += 1;
                x as usize == next - 1 && a.step == 1 && a.start == 0
            }
        }) && next == self.d.outer
    }

    /// Node `i` where its axes follow `map`.
    pub fn compute(&mut self, i: usize, map: &AMap) -> Result<Id, Stop> {
        let key = (i, map.clone());
        if let Some(&id) = self.memo.get(&key) {
            return Ok(id);
        }
        let Some(op) = self.g.op(i) else { return Err(bug("a leaf is no operation")) };
        let dtype = self.g.nodes[i].node.dtype;
        self.path.push((i, self.grown()));
        let id = match op {
            Op::Scalar(_) => {
                let n = self.g.scalar_of.get(&i).copied().unwrap_or(0);
                self.param(dtype, Param::Scalar(n))?
            }
            Op::Iota { axis } => self.iota(map[axis as usize])?,
            Op::Map(row) => {
                let mut args = SmallVec::new();
                for k in 0..row.arity as usize {
                    args.push(self.edge(i, k, map)?);
                }
                self.map(row, args, dtype)?
            }
            Op::Cast => {
                let arg = self.edge(i, 0, map)?;
                self.push(KOp::Cast, smallvec![arg], dtype, self.over(arg))?
            }
            Op::Reduce { axes, .. } => self.fold(i, axes, map)?,
            Op::Gather(taken) => {
                let axis = taken.axis;
                if self.also.contains(&(self.g.nodes[i].args[0] as usize)) {
                    // It reads other elements than the one in the register.
                    return Err(Stop::Store(i, APART));
                }
                let index = self.edge(i, 1, map)?;
                let g = self.g;
                let Some(expr) = &g.nodes[i].expr else { return Err(bug("gather of a leaf")) };
                // The gathered axis is taken at 0 here; the index walks it at run time.
                let mut m = map.clone();
                m[axis as usize] = Along { axis: None, step: 0, start: 0 };
                let source = along(&expr.args[0], &m);
                let view = expr.args[0].view();
                let len = view.shape[axis as usize];
                let walk = match view.src[axis as usize] {
                    Src::Axis { axis, step } => Walk { axis: Some(axis), step, len, taken },
                    Src::Broadcast => Walk { axis: None, step: 0, len, taken },
                };
                let (node, leaf) = self.source(i, 0);
                let key = LoadKey { node, leaf, map: source, gather: Some(walk) };
                self.load(key, smallvec![index])?
            }
            Op::Dot => self.dot(i, map)?,
            Op::Reshape | Op::Update | Op::TopK { .. } => return Err(Stop::Store(i, APART)),
        };
        self.memo.insert(key, id);
        self.d.inlined.push(i);
        if let Some((_, start)) = self.path.pop() {
            self.done.push((i, self.grown() - start));
        }
        Ok(id)
    }

    fn iota(&mut self, a: Along) -> Result<Id, Stop> {
        let Some(axis) = a.axis else {
            return self.param(DType::I64, Param::Const(a.start as u64));
        };
        let mut id = self.push(KOp::Index(axis), smallvec![], DType::I64, AxisSet::one(axis as usize))?;
        if a.step != 1 {
            let step = self.param(DType::I64, Param::Const(a.step as u64))?;
            id = self.map(&crate::ops::row::mul, smallvec![id, step], DType::I64)?;
        }
        if a.start != 0 {
            let start = self.param(DType::I64, Param::Const(a.start as u64))?;
            id = self.map(&crate::ops::row::add, smallvec![id, start], DType::I64)?;
        }
        Ok(id)
    }

    /// A row of the op table.
    pub fn map(&mut self, row: OpRef, args: SmallVec<[Id; 3]>, dtype: DType) -> Result<Id, Stop> {
        let over = args.iter().fold(AxisSet::EMPTY, |s, &a| s.union(self.over(a)));
        self.push(KOp::Map(row), args, dtype, over)
    }

    fn param(&mut self, dtype: DType, p: Param) -> Result<Id, Stop> {
        let n = match self.d.params.iter().position(|q| *q == (dtype, p)) {
            Some(n) => n,
            None => {
                self.d.params.push((dtype, p));
                self.d.params.len() - 1
            }
        };
        self.push(KOp::Param(n as u8), smallvec![], dtype, AxisSet::EMPTY)
    }

    fn load(&mut self, key: LoadKey, args: SmallVec<[Id; 3]>) -> Result<Id, Stop> {
        let dtype = self.g.nodes[key.node].node.dtype;
        let mut over = args.iter().fold(AxisSet::EMPTY, |s, &a| s.union(self.over(a)));
        for a in &key.map {
            if let Some(x) = a.axis {
                over = over.union(AxisSet::one(x as usize));
            }
        }
        let n = match self.d.loads.iter().position(|k| *k == key) {
            Some(n) => n,
            None => {
                self.d.loads.push(key.clone());
                self.d.loads.len() - 1
            }
        };
        let op = if key.gather.is_some() { KOp::LoadAt(n as u8) } else { KOp::Load(n as u8) };
        self.push(op, args, dtype, over)
    }

    /// An instruction, unless there is one like it.
    pub fn push(&mut self, op: KOp, args: SmallVec<[Id; 3]>, dtype: DType, over: AxisSet) -> Result<Id, Stop> {
        let key = (op, args, dtype);
        if let Some(&id) = self.memo_inst.get(&key) {
            return Ok(id);
        }
        debug::note(|t| t.planned += 1);
        // Room for the stores.
        if self.d.code.len() + 8 > MAX_INSTS || self.d.loads.len() + 4 > MAX_OPERANDS {
            return Err(Stop::Limit);
        }
        let id = self.d.code.len() as Id;
        self.d.code.push(Inst { op, args: key.1.clone(), dtype, over });
        self.memo_inst.insert(key, id);
        Ok(id)
    }

    /// The axes a value varies with.
    pub fn over(&self, id: Id) -> AxisSet {
        self.d.code[id as usize].over
    }

    /// How much there is of the kernel: instructions, and operands, of which there may be a tenth as many.
    fn grown(&self) -> usize {
        self.d.code.len() + 10 * self.d.loads.len()
    }

    /// The value to store instead, so that a kernel that grew too large falls into two of about equal size: one that was computed here, or one that
    /// was on the way (of a long chain through last arguments there is no other).
    pub fn cut(&self, root: usize) -> Stop {
        let (g, all) = (self.g, self.grown());
        let began = self.path.iter().map(|&(n, start)| (n, all - start));
        let some = |n: usize| n != root && !matches!(g.op(n), Some(Op::Scalar(_) | Op::Iota { .. }) | None);
        let parts: Vec<_> = self.done.iter().copied().chain(began).filter(|&(n, _)| some(n)).collect();
        let largest = self.d.loads.iter().map(|k| g.size(k.node)).max().unwrap_or(0).max(g.size(root));
        let small =
            parts.iter().filter(|&&(n, _)| g.size(n) <= largest).min_by_key(|&&(_, part)| all.abs_diff(2 * part));
        match small.or_else(|| parts.iter().min_by_key(|&&(n, _)| g.size(n))) {
            Some(&(n, _)) => Stop::Store(n, "one kernel would be too large"),
            None => bug("one operation exceeds a kernel"),
        }
    }
}

/// An error that no program should meet.
pub fn bug(detail: &str) -> Stop {
    Stop::Fail(Error::Internal { stage: "lower", detail: detail.into() })
}
