//! Selections from what a kernel makes: where a backend can do that, the array selected from lies in no memory.

use super::collect::Graph;
use crate::graph::{Op, Value};
use crate::layout::{Dims, Src};

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

/// The selection that alone reads a value, given who does (reader and argument), the elements it finds apart.
pub fn of(g: &Graph, readers: &[(usize, usize)]) -> Option<Selection> {
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
