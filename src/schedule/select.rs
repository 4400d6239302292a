//! Selections from what a kernel makes: where a backend can do that, the array selected from lies in no memory.

use super::collect::Graph;
use crate::graph::Op;

/// A selection that alone reads a value.
#[derive(Clone, Copy, Debug)]
pub struct Selection {
    /// Where the elements are.
    pub node: usize,
    /// The elements, where they are asked for.
    pub values: Option<usize>,
}

/// The selection that alone reads value `v`, given who does (reader and argument), the elements it finds apart.
pub fn of(g: &Graph, v: usize, readers: &[(usize, usize)]) -> Option<Selection> {
    let whole = |(n, k): (usize, usize)| g.nodes[n].expr.as_ref().is_some_and(|e| e.args[k].part().is_none());
    let mut found = None;
    let mut values = None;
    for &(n, k) in readers {
        match g.op(n)? {
            Op::TopK { .. } if found.is_none() && whole((n, k)) => found = Some(n),
            Op::Gather(taken) if values.is_none() && k == 0 && whole((n, 0)) && whole((n, 1)) => {
                let last = taken.axis as usize + 1 == g.nodes[v].node.shape.len();
                values = last.then_some(n);
                values?;
            }
            _ => return None,
        }
    }
    let node = found?;
    values.is_none_or(|n| g.nodes[n].args[1] as usize == node).then_some(Selection { node, values })
}
