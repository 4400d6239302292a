//! Selections from what a kernel makes, and products of it: where a backend can do that, the array lies in no memory.

use super::collect::Graph;
use crate::graph::{Op, Value};
use crate::layout::{Dims, Src};
use smallvec::SmallVec;

/// A selection that alone reads a value.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Where the elements are.
    pub node: usize,
    /// The value's axes as the selection walks them, that along which it selects last.
    pub axes: Dims,
    /// The elements, where they are asked for: their node, and the axis of the selection that each of its axes is.
    pub values: Option<(usize, Dims)>,
}

impl Selection {
    /// The nodes it stores.
    pub fn writes(&self) -> impl Iterator<Item = usize> {
        std::iter::once(self.node).chain(self.values.iter().map(|v| v.0))
    }
}

/// The selections, one or two, that alone read a value, given who does (reader and argument).
pub fn all(g: &Graph, readers: &[(usize, usize)]) -> Option<SmallVec<[Selection; 2]>> {
    let mut found = SmallVec::new();
    let mut seen = 0;
    for &(n, _) in readers.iter().filter(|r| matches!(g.op(r.0), Some(Op::TopK { .. }))) {
        let own = |&&(r, k): &&(usize, usize)| r == n || k == 0 && g.nodes[r].args.get(1) == Some(&(n as u32));
        let own: SmallVec<[(usize, usize); 2]> = readers.iter().filter(own).copied().collect();
        seen += own.len();
        found.push(of(g, &own)?);
    }
    ((1..=2).contains(&found.len()) && seen == readers.len()).then_some(found)
}

/// The selection that these readers (and arguments) of a value are, the elements it finds apart.
fn of(g: &Graph, readers: &[(usize, usize)]) -> Option<Selection> {
    let argument = |n: usize, k: usize| g.nodes[n].expr.as_ref().and_then(|e| turned(&e.args[k]));
    let (mut found, mut values) = (None, None);
    for &(n, k) in readers {
        match g.op(n)? {
            Op::TopK { .. } if found.is_none() => found = Some((n, argument(n, k)?)),
            Op::Gather(taken) if values.is_none() && k == 0 => values = Some((n, taken.axis as usize)),
            _ => return None,
        }
    }
    let (node, axes) = found?;
    let values = match values {
        None => None,
        Some((n, axis)) => {
            let (from, at) = (argument(n, 0)?, argument(n, 1)?);
            let same = from.len() == at.len() && from.iter().zip(&at).all(|(&v, &s)| axes.get(s) == Some(&v));
            let last = at.get(axis).copied().is_some_and(|s| s + 1 == axes.len());
            (g.nodes[n].args[1] as usize == node && same && last).then_some(Some((n, at)))?
        }
    };
    Some(Selection { node, axes, values })
}

/// A product of matrices that alone reads a value, as its first operand.
#[derive(Clone, Debug)]
pub struct Product {
    /// The product.
    pub node: usize,
    /// The value's axes: rows, then columns.
    pub axes: Dims,
}

/// The product that alone reads a value, given who does (reader and argument).
pub fn product(g: &Graph, readers: &[(usize, usize)]) -> Option<Product> {
    let &[(node, 0)] = readers else { return None };
    let expr = g.nodes[node].expr.as_ref().filter(|e| matches!(e.op, Op::Dot))?;
    let axes = turned(&expr.args[0])?;
    (axes.len() == 2 && g.nodes[node].node.shape.len() == 2).then_some(Product { node, axes })
}

/// The node's axes in the order that a view of all of it has them.
fn turned(v: &Value) -> Option<Dims> {
    let Some(view) = v.part() else { return Some((0..v.shape().len()).collect()) };
    let mut axes = Dims::new();
    for src in &view.src {
        let Src::Axis { axis, step: 1 } = *src else { return None };
        axes.push(axis as usize);
    }
    let all = (0..view.at.len()).all(|a| axes.contains(&a)) && axes.len() == view.at.len();
    (all && view.at.iter().all(|&at| at == 0) && axes.iter().zip(&view.shape).all(|(&a, &n)| v.node.shape[a] == n))
        .then_some(axes)
}
