//! Second pass: which values are stored. The rules (a) to (d) are ARCHITECTURE.md's; folds and products that cannot join
//! their consumers' kernel are found when kernels are lowered, and stored then.

use super::collect::Graph;
use super::select;
use crate::graph::Op;
use crate::layout::{View, size};

/// What the rules know of a node.
#[derive(Debug, Default, Clone)]
pub struct Facts {
    /// Elements of the largest stored value it reads.
    pub reads: usize,
    /// Instructions between it and stored values.
    pub ops: usize,
    /// Whether each of those is a handful of machine instructions.
    pub cheap: bool,
    /// Whether a fold is among them.
    pub fold: bool,
}

/// Why a value is stored, as `show` says it; `None` where it is not.
pub type Reason = Option<&'static str>;

/// For each node of the graph, whether a buffer will hold it and why; `forced` ones will in any case. Leaves are `read`.
pub fn decide(g: &Graph, forced: &[Reason]) -> Vec<Reason> {
    let n = g.nodes.len();
    let mut stored = vec![false; n];
    let mut reasons = vec![None; n];
    let mut facts = vec![Facts::default(); n];
    let mut edges: Vec<Vec<(usize, usize)>> = vec![vec![]; n];
    for (i, p) in g.nodes.iter().enumerate() {
        for (k, &a) in p.args.iter().enumerate() {
            edges[a as usize].push((i, k));
        }
    }
    for i in 0..n {
        let p = &g.nodes[i];
        let Some(op) = g.op(i) else {
            stored[i] = true;
            reasons[i] = Some("read");
            facts[i] = Facts { reads: g.size(i), ops: 0, cheap: true, fold: false };
            continue;
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
            edges[i].iter().filter_map(|&(c, k)| Some(g.nodes[c].expr.as_ref()?.args[k].part())).collect();
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
        let selected = f.fold && select::of(g, i, &edges[i]).is_some();
        let again = again.then_some("needed again");
        let reason = match op {
            _ if p.root => Some("asked for"),      // (a)
            _ if forced[i].is_some() => forced[i], // (d)
            Op::Scalar(_) => None,
            Op::Reshape => Some("no view has this shape"),
            Op::Update => Some("written in parts"),
            Op::TopK { .. } => Some("a selection"),
            // The selection of what it takes from writes it.
            Op::Gather(_) if !stored[p.args[0] as usize] => Some("the selection finds it"),
            Op::Dot if !selected && !taken_as_made(g, &edges[i]) => Some("its readers do more than fold it"),
            _ if fold => again,                                 // (b)
            _ if small => again.filter(|_| !little).or(spread), // (b), (c)
            _ => None,
        };
        // A library, a gather and a selection read memory.
        let memory = |&(c, k): &(usize, usize)| {
            matches!((g.op(c), k), (Some(Op::Dot | Op::TopK { .. }), _) | (Some(Op::Gather(_)), 0))
        };
        let from = (!selected && edges[i].iter().any(memory)).then_some("a product, selection or gather reads it");
        reasons[i] = reason.or(from);
        stored[i] = reasons[i].is_some();
        facts[i] = f;
    }
    reasons
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
