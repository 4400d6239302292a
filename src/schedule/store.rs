//! Second pass: which values are stored. The rules (a) to (e) are ARCHITECTURE.md's; folds that cannot join their
//! consumers' kernel are found when kernels are lowered, and stored then.

use super::collect::Graph;
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
}

/// For each node of the graph, whether a buffer will hold it.
pub fn decide(g: &Graph) -> Vec<bool> {
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
            facts[i] = Facts { reads: g.size(i), ops: 0, cheap: true };
            continue;
        };
        let mut f = Facts { reads: 0, ops: 0, cheap: true };
        for &a in &p.args {
            let arg = &facts[a as usize];
            f.reads = f.reads.max(if stored[a as usize] { g.size(a as usize) } else { arg.reads });
            if !stored[a as usize] {
                f.ops += arg.ops;
                f.cheap &= arg.cheap;
            }
        }
        match op {
            Op::Scalar(_) => {}
            Op::Map(row) => {
                f.ops += 1;
                f.cheap &= row.cheap;
            }
            Op::Iota { .. } | Op::Cast | Op::Gather { .. } => f.ops += 1,
            _ => {
                f.ops += 1;
                f.cheap = false;
            }
        }
        let views: Vec<Option<&View>> =
            edges[i].iter().filter_map(|&(c, k)| Some(g.nodes[c].expr.as_ref()?.args[k].part())).collect();
        let fold = matches!(op, Op::Reduce { .. });
        let small = g.size(i) <= f.reads;
        stored[i] = match op {
            _ if p.root => true, // (a)
            Op::Scalar(_) => false,
            Op::Dot | Op::Reshape | Op::Update => true,
            _ if p.held && small => true,               // (b)
            _ if fold && p.node.was_computed() => true, // (e)
            _ if fold => false,                         // (d), when lowered
            _ if f.cheap && f.ops <= 4 => false,
            _ => small && (many_maps(&views) || repeated(g.size(i), &views)), // (c)
        };
        // A library or a gather reads memory.
        stored[i] |=
            edges[i].iter().any(|&(c, k)| matches!((g.op(c), k), (Some(Op::Dot), _) | (Some(Op::Gather { .. }), 0)));
        facts[i] = f;
    }
    stored
}

fn many_maps(views: &[Option<&View>]) -> bool {
    views.windows(2).any(|w| w[0] != w[1])
}

/// Whether some consumer reads every element many times, through a broadcast.
fn repeated(own: usize, views: &[Option<&View>]) -> bool {
    views.iter().flatten().any(|v| size(&v.shape) > own.saturating_mul(4))
}
