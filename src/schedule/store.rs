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

/// For each node of the graph, whether a buffer will hold it; `forced` ones will in any case.
pub fn decide(g: &Graph, forced: &[bool]) -> Vec<bool> {
    let n = g.nodes.len();
    let mut stored = vec![false; n];
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
        let spread = !(f.fold || f.cheap && f.ops <= 4) && (many_maps(&views) || repeated(g.size(i), &views));
        f.fold |= fold;
        // Nothing of it goes to memory where it is selected from in the kernel that makes it.
        let selected = f.fold && select::of(g, i, &edges[i]).is_some();
        stored[i] = match op {
            _ if p.root || forced[i] => true, // (a), (d)
            Op::Scalar(_) => false,
            Op::Reshape | Op::Update | Op::TopK { .. } => true,
            // The selection of what it takes from writes it.
            Op::Gather { .. } if !stored[p.args[0] as usize] => true,
            Op::Dot if !selected && !taken_as_made(g, &edges[i]) => true,
            _ if fold => again,                           // (b)
            _ => small && ((again && !little) || spread), // (b), (c)
        };
        // A library, a gather and a selection read memory.
        stored[i] |= !selected
            && edges[i].iter().any(|&(c, k)| {
                matches!((g.op(c), k), (Some(Op::Dot | Op::TopK { .. }), _) | (Some(Op::Gather { .. }), 0))
            });
        facts[i] = f;
    }
    stored
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
