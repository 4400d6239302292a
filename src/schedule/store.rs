//! Second pass: which values are stored. The rules (a) to (d) are ARCHITECTURE.md's; folds and products that cannot join
//! their consumers' kernel are found when kernels are lowered, and stored then.

use super::collect::Graph;
use super::select;
use crate::graph::Op;
use crate::layout::{View, size};
use smallvec::SmallVec;
use std::collections::BTreeSet;

/// Bytes of an array, at least, of which a product of matrices is made in blocks: fewer are one block.
const LARGE: usize = 16 << 20;

/// What the rules know of a node.
#[derive(Debug, Default, Clone, PartialEq)]
struct Facts {
    /// Elements of the largest stored value it reads.
    reads: usize,
    /// Instructions between it and stored values.
    ops: usize,
    /// Whether each of those is a handful of machine instructions.
    cheap: bool,
    /// Whether a fold is among them.
    fold: bool,
}

/// Why a value is stored, as `show` says it; `None` where it is not.
pub type Reason = Option<&'static str>;

/// Which values of a graph a buffer will hold, and why.
pub struct Store<'a> {
    /// The graph.
    pub g: &'a Graph,
    /// For each node, whether a buffer holds it: leaves have one.
    pub stored: Vec<bool>,
    /// Why.
    pub reasons: Vec<Reason>,
    /// Who reads each node, and as which argument.
    pub readers: Vec<SmallVec<[(usize, usize); 2]>>,
    /// Whether it or something below it is a fold or a product.
    pub folds: Vec<bool>,
    /// What is stored in any case.
    pub forced: Vec<Reason>,
    facts: Vec<Facts>,
}

impl<'a> Store<'a> {
    /// What the rules say of a graph; `forced` ones are stored in any case.
    pub fn new(g: &'a Graph, forced: Vec<Reason>) -> Store<'a> {
        let n = g.nodes.len();
        let mut s = Store {
            g,
            stored: vec![false; n],
            reasons: vec![None; n],
            readers: vec![SmallVec::new(); n],
            folds: vec![false; n],
            forced,
            facts: vec![Facts::default(); n],
        };
        for (i, p) in g.nodes.iter().enumerate() {
            s.folds[i] = matches!(g.op(i), Some(Op::Dot | Op::Reduce { .. }));
            for (k, &a) in p.args.iter().enumerate() {
                s.readers[a as usize].push((i, k));
                s.folds[i] |= s.folds[a as usize];
            }
        }
        for i in 0..n {
            s.decide(i);
        }
        s
    }

    /// Stores one more value; what is stored now and was not, or the other way round. `None` if that one was to be stored already.
    pub fn force(&mut self, node: usize, why: &'static str) -> Option<Vec<usize>> {
        if self.forced[node].replace(why).is_some() {
            return None;
        }
        let mut flipped = vec![];
        let mut todo = BTreeSet::from([node]);
        while let Some(i) = todo.pop_first() {
            let (was, facts) = (self.stored[i], self.facts[i].clone());
            self.decide(i);
            let is = self.stored[i];
            if was != is {
                flipped.push(i);
            }
            // Of a stored value its readers know that it is stored, and no more.
            if was != is || !is && facts != self.facts[i] {
                todo.extend(self.readers[i].iter().map(|r| r.0));
            }
        }
        Some(flipped)
    }

    /// Applies the rules to one node, given what they said of its arguments.
    fn decide(&mut self, i: usize) {
        let (g, facts) = (self.g, &self.facts);
        let (stored, edges) = (&self.stored, &self.readers[i]);
        let p = &g.nodes[i];
        let Some(op) = g.op(i) else {
            self.stored[i] = true;
            self.reasons[i] = Some("read");
            self.facts[i] = Facts { reads: g.size(i), ops: 0, cheap: true, fold: false };
            return;
        };
        let mut f = Facts { reads: 0, ops: 0, cheap: true, fold: false };
        for &a in &p.args {
            let arg = &facts[a as usize];
            f.reads = f.reads.max(if stored[a as usize] { g.size(a as usize) } else { arg.reads });
            if !stored[a as usize] {
                f.ops += arg.ops;
                f.cheap &= arg.cheap;
                f.fold |= arg.fold;
            }
        }
        match op {
            Op::Scalar(_) => {}
            Op::Map(row) => {
                f.ops += 1;
                f.cheap &= row.cheap;
            }
            Op::Iota { .. } | Op::Cast => f.ops += 1,
            _ => {
                f.ops += 1;
                f.cheap = false;
            }
        }
        let views: Vec<Option<&View>> =
            edges.iter().filter_map(|&(c, k)| Some(g.nodes[c].expr.as_ref()?.args[k].part())).collect();
        let fold = matches!(op, Op::Reduce { .. } | Op::Dot);
        let small = g.size(i) <= f.reads;
        // Needed a second time, or the state of a loop that recording cuts.
        let again = p.node.was_computed() || (g.cut && p.held);
        let little = f.ops <= 1 || (f.cheap && f.ops <= 4);
        // What stands above a fold is decided when the fold is lowered: a row's kernel makes it once a row.
        let spread = match f.fold || f.cheap && f.ops <= 4 {
            false if many_maps(&views) => Some("read through several views"),
            false if repeated(g.size(i), &views) => Some("read many times through a broadcast"),
            _ => None,
        };
        f.fold |= fold;
        // Nothing of it goes to memory where it is selected from in the kernel that makes it.
        let selected = f.fold && select::all(g, edges).is_some();
        // Nor does more of it than a block, where a product of matrices alone reads it and it is larger than what it is made of.
        let large = g.size(i) > f.reads && g.size(i).saturating_mul(p.node.dtype.size()) > LARGE;
        let expands = matches!(op, Op::Map(_) | Op::Cast | Op::Reduce { .. });
        let selected = selected || !again && large && expands && select::product(g, edges).is_some();
        let again = again.then_some("needed again");
        let reason = match op {
            _ if p.root => Some("asked for"),                // (a)
            _ if self.forced[i].is_some() => self.forced[i], // (d)
            Op::Scalar(_) => None,
            Op::Reshape => Some("no view has this shape"),
            Op::Update => Some("written in parts"),
            Op::TopK { .. } => Some("a selection"),
            // The selection of what it takes from writes it.
            Op::Gather(_) if !stored[p.args[0] as usize] => Some("the selection finds it"),
            Op::Dot if !stored[p.args[0] as usize] => Some("its rows are made a block at a time"),
            Op::Dot if !selected && !taken_as_made(g, edges) => Some("its readers do more than fold it"),
            _ if fold => again,                                 // (b)
            _ if small => again.filter(|_| !little).or(spread), // (b), (c)
            _ => None,
        };
        // A library, a gather and a selection read memory.
        let memory = |&(c, k): &(usize, usize)| {
            matches!((g.op(c), k), (Some(Op::Dot | Op::TopK { .. }), _) | (Some(Op::Gather(_)), 0))
        };
        let from = (!selected && edges.iter().any(memory)).then_some("a product, selection or gather reads it");
        self.reasons[i] = reason.or(from);
        self.stored[i] = self.reasons[i].is_some();
        self.facts[i] = f;
    }
}

/// Whether all who read a product of matrices are elementwise or fold it: lowering tries to make it in their kernel.
fn taken_as_made(g: &Graph, readers: &[(usize, usize)]) -> bool {
    !readers.is_empty() && readers.iter().all(|r| matches!(g.op(r.0), Some(Op::Map(_) | Op::Cast | Op::Reduce { .. })))
}

fn many_maps(views: &[Option<&View>]) -> bool {
    views.windows(2).any(|w| w[0] != w[1])
}

/// Whether some consumer reads every element many times, through a broadcast.
fn repeated(own: usize, views: &[Option<&View>]) -> bool {
    views.iter().flatten().any(|v| size(&v.shape) > own.saturating_mul(4))
}
