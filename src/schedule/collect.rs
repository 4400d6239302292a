//! First pass: the pending nodes below the roots, producers first, and the key that names the plan.

use crate::graph::{Expr, Node, Op, Stored};
use crate::hash::Fast;
use crate::layout::{Src, Taken, View, size};
use smallvec::SmallVec;
use std::collections::HashMap;
use std::sync::Arc;

/// A node of an evaluation.
#[derive(Debug)]
pub struct PNode {
    /// The node.
    pub node: Arc<Node>,
    /// Its expression; none for a leaf.
    pub expr: Option<Arc<Expr>>,
    /// Its arguments' places in the graph.
    pub args: SmallVec<[u32; 3]>,
    /// How many arguments of this evaluation's nodes it is.
    pub uses: u32,
    /// Whether it was asked for.
    pub root: bool,
    /// Whether something outside this evaluation refers to it.
    pub held: bool,
    /// For each argument that is a leaf, the entry of the leaves that its view starts at.
    pub entries: SmallVec<[u32; 3]>,
    /// For a leaf, its value.
    pub leaf: Option<Stored>,
}

impl std::fmt::Debug for Expr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.op)
    }
}

/// A value that is there already, and a place in it where views start. Plans count from there, so that a loop over rows
/// or blocks of one array has one plan.
#[derive(Debug)]
pub struct Leaf {
    /// Its place in the graph.
    pub node: usize,
    /// Where it lies.
    pub stored: Stored,
    /// Elements from the layout's offset to that place.
    pub start: isize,
}

/// The pending part of the graph below some roots.
#[derive(Debug, Default)]
pub struct Graph {
    /// Nodes, producers first.
    pub nodes: Vec<PNode>,
    /// Values that are there already and where views of them start, in order of first use.
    pub leaves: Vec<Leaf>,
    /// Bits of the scalars, in order of first use.
    pub scalars: Vec<u64>,
    /// For a scalar node, its place among the scalars.
    pub scalar_of: HashMap<usize, u32, Fast>,
    /// Recording asked for this, in the middle of a loop perhaps: what is held is its state.
    pub cut: bool,
    /// Names the plan: equal keys have equal plans.
    pub key: Vec<u64>,
}

/// A node on the way down: its expression and the argument that is next.
type Entry = (Arc<Node>, Option<Arc<Expr>>, usize);

/// Places of nodes by address: a list while there are few, as in most evaluations.
#[derive(Default)]
struct Index {
    few: SmallVec<[usize; 16]>,
    many: HashMap<usize, u32, Fast>,
}

impl Index {
    fn get(&self, address: usize) -> Option<u32> {
        if self.many.is_empty() {
            return self.few.iter().position(|&a| a == address).map(|i| i as u32);
        }
        self.many.get(&address).copied()
    }

    /// The next place.
    fn insert(&mut self, address: usize) {
        let place = self.few.len().max(self.many.len()) as u32;
        if place < 16 {
            return self.few.push(address);
        }
        if self.many.is_empty() {
            self.many.extend(self.few.iter().enumerate().map(|(i, &a)| (a, i as u32)));
        }
        self.many.insert(address, place);
    }
}

impl Graph {
    /// Collects what is pending below `roots`; an argument that ended in an error ends this in the same one.
    pub fn collect(roots: &[Arc<Node>], cut: bool) -> crate::error::Result<Graph> {
        let mut g = Graph { nodes: Vec::with_capacity(8), cut, ..Graph::default() };
        let mut index = Index::default();
        for root in roots {
            if root.value().is_none() {
                g.visit(root, &mut index)?;
            }
        }
        for root in roots {
            if let Some(i) = index.get(Arc::as_ptr(root) as usize) {
                g.nodes[i as usize].root = true;
            }
        }
        for n in &mut g.nodes {
            // One reference is ours.
            n.held = n.leaf.is_none() && !n.root && Arc::strong_count(&n.node) > n.uses as usize + 1;
        }
        g.make_key();
        Ok(g)
    }

    fn visit(&mut self, root: &Arc<Node>, index: &mut Index) -> crate::error::Result<()> {
        let mut stack: SmallVec<[Entry; 8]> = SmallVec::new();
        let enter = |node: &Arc<Node>| {
            // The value may come from another thread between the two looks; then it is a leaf after all.
            let expr = if node.value().is_some() { None } else { node.expr() };
            (node.clone(), expr, 0)
        };
        if index.get(Arc::as_ptr(root) as usize).is_some() {
            return Ok(());
        }
        stack.push(enter(root));
        while let Some((_, expr, next)) = stack.last_mut() {
            if let Some(arg) = expr.as_ref().and_then(|e| e.args.get(*next)) {
                *next += 1;
                match index.get(Arc::as_ptr(&arg.node) as usize) {
                    Some(i) => self.nodes[i as usize].uses += 1,
                    None => {
                        let entry = enter(&arg.node);
                        stack.push(entry);
                    }
                }
                continue;
            }
            let Some((node, expr, _)) = stack.pop() else { break };
            let uses = !stack.is_empty() as u32;
            let args = expr.as_ref().map_or_else(SmallVec::new, |e| {
                e.args.iter().map(|a| index.get(Arc::as_ptr(&a.node) as usize).unwrap_or(0)).collect()
            });
            let mut leaf = None;
            if expr.is_none() {
                leaf = match node.value() {
                    Some(Ok(s)) => Some(s.clone()),
                    Some(Err(e)) => return Err(e.clone()),
                    None => {
                        return Err(crate::error::Error::Internal {
                            stage: "collect",
                            detail: "a node has neither value nor expression".into(),
                        });
                    }
                };
            } else if let Some(Op::Scalar(bits)) = expr.as_ref().map(|e| e.op) {
                self.scalar_of.insert(self.nodes.len(), self.scalars.len() as u32);
                self.scalars.push(bits);
            }
            index.insert(Arc::as_ptr(&node) as usize);
            self.nodes.push(PNode { node, expr, args, entries: SmallVec::new(), uses, root: false, held: false, leaf });
        }
        Ok(())
    }

    fn make_key(&mut self) {
        let mut key = std::mem::take(&mut self.key);
        key.reserve(16 * self.nodes.len());
        key.push(self.cut as u64);
        for i in 0..self.nodes.len() {
            let n = &self.nodes[i];
            let flags = n.root as u64 | (n.held as u64) << 1 | (n.node.was_computed() as u64) << 2;
            let head = |tag: u64| tag | flags << 8 | (n.node.dtype as u64) << 16 | (n.node.shape.len() as u64) << 24;
            let Some(expr) = &n.expr else {
                key.push(head(1));
                for l in n.leaf.iter().map(|s| &s.layout) {
                    key.extend(l.shape.iter().map(|&x| x as u64));
                    key.extend(l.strides.iter().map(|&x| x as u64));
                }
                continue;
            };
            match expr.op {
                Op::Scalar(_) => key.push(head(2)),
                Op::Iota { axis } => key.push(head(3) | (axis as u64) << 32),
                Op::Map(row) => {
                    key.push(head(4));
                    key.push(std::ptr::from_ref(row) as u64);
                }
                Op::Cast => key.push(head(5)),
                Op::Reduce { reducer, axes } => {
                    key.push(head(6) | (axes as u64) << 32);
                    key.push(std::ptr::from_ref(reducer) as u64);
                }
                Op::Dot => key.push(head(7)),
                Op::Reshape => key.push(head(8)),
                Op::Update => key.push(head(9)),
                Op::Gather(Taken { axis, each, unsigned }) => {
                    key.push(head(10) | (axis as u64) << 32 | (each as u64) << 40 | (unsigned as u64) << 41)
                }
                Op::TopK { largest } => key.push(head(11) | (largest as u64) << 32),
            }
            for &x in &n.node.shape {
                key.push(x as u64);
            }
            if let Some(region) = &expr.region {
                view_key(&mut key, region);
                key.extend(region.at.iter().map(|&x| x as u64));
            }
            let mut entries: SmallVec<[u32; 3]> = SmallVec::new();
            for (arg, &a) in expr.args.iter().zip(&n.args) {
                key.push(a as u64);
                let part = arg.part();
                match part {
                    Some(view) => view_key(&mut key, view),
                    None => key.push(u64::MAX),
                }
                match &self.nodes[a as usize].leaf {
                    Some(stored) => {
                        let start = part.map_or(0, |view| leaf_start(stored, view));
                        let leaves = &mut self.leaves;
                        let entry =
                            leaves.iter().position(|l| l.node == a as usize && l.start == start).unwrap_or_else(|| {
                                leaves.push(Leaf { node: a as usize, stored: stored.clone(), start });
                                leaves.len() - 1
                            });
                        entries.push(entry as u32);
                        key.push(entry as u64);
                    }
                    None => {
                        entries.push(0);
                        for &at in part.iter().flat_map(|v| &v.at) {
                            key.push(at as u64);
                        }
                    }
                }
            }
            self.nodes[i].entries = entries;
        }
        self.key = key;
    }

    /// Number of elements of a node.
    pub fn size(&self, i: usize) -> usize {
        size(&self.nodes[i].node.shape)
    }

    /// The operation of a pending node.
    pub fn op(&self, i: usize) -> Option<Op> {
        self.nodes[i].expr.as_ref().map(|e| e.op)
    }
}

/// Elements from a leaf's own first element to the first one a view reads.
pub fn leaf_start(stored: &Stored, view: &View) -> isize {
    view.at.iter().zip(&stored.layout.strides).map(|(&at, &s)| at as isize * s).sum()
}

fn view_key(key: &mut Vec<u64>, view: &View) {
    key.push(view.shape.len() as u64);
    key.extend(view.shape.iter().map(|&x| x as u64));
    for s in &view.src {
        match *s {
            Src::Axis { axis, step } => key.extend([axis as u64, step as u64]),
            Src::Broadcast => key.push(u64::MAX),
        }
    }
}
