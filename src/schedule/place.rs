//! How a value's axes follow those of the kernel that reads it, and where that puts its elements.

use super::collect::Graph;
use crate::graph::Value;
use crate::layout::{Src, Taken, View};
use smallvec::SmallVec;

/// How one axis of a node follows the kernel's axes: `start + step * index of axis`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Along {
    /// The kernel's axis; none where it stays.
    pub axis: Option<u8>,
    /// Elements per index.
    pub step: isize,
    /// The first element.
    pub start: isize,
}

/// One [`Along`] for each axis of a node.
pub type AMap = SmallVec<[Along; 4]>;

/// Which value a load reads, and how its axes follow the kernel's.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct LoadKey {
    /// The graph node.
    pub node: usize,
    /// For a leaf, its entry.
    pub leaf: Option<u32>,
    /// Its axes.
    pub map: AMap,
    /// The axis a gather indexes.
    pub gather: Option<Walk>,
}

/// An axis of a node that a gather indexes: `None` where the view repeats one element along it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Walk {
    /// The node's axis.
    pub axis: Option<u8>,
    /// Elements of that axis per index.
    pub step: isize,
    /// Valid indices.
    pub len: usize,
    /// What the user took.
    pub taken: Taken,
}

/// How the axes of a value's node follow the kernel's, given how the view's axes do.
pub fn along(v: &Value, map: &AMap) -> AMap {
    let mut out: AMap = match v.part() {
        None => map.clone(),
        Some(view) => {
            let mut out: AMap = view.at.iter().map(|&at| Along { axis: None, step: 0, start: at as isize }).collect();
            for ((src, &n), m) in view.src.iter().zip(&view.shape).zip(map) {
                if let Src::Axis { axis, step } = *src {
                    let a = &mut out[axis as usize];
                    a.start += step * m.start;
                    if n != 1 && m.axis.is_some() {
                        a.axis = m.axis;
                        a.step = step * m.step;
                    }
                }
            }
            out
        }
    };
    // One element: where an axis has no other, its start is 0 whatever the view says.
    for (a, &n) in out.iter_mut().zip(&v.node.shape) {
        if n == 1 {
            *a = Along { axis: None, step: 0, start: 0 };
        }
    }
    out
}

impl LoadKey {
    /// Elements from the buffer's planned start to the first element read, and the stride of each kernel axis.
    pub fn place(&self, g: &Graph, strides: &[isize], axes: usize) -> (isize, SmallVec<[isize; 4]>) {
        let mut out: SmallVec<[isize; 4]> = SmallVec::from_elem(0, axes);
        let mut offset = match self.leaf {
            Some(l) => -g.leaves[l as usize].start,
            None => 0,
        };
        for (a, &s) in self.map.iter().zip(strides) {
            offset += a.start * s;
            if let Some(x) = a.axis {
                out[x as usize] += a.step * s;
            }
        }
        (offset, out)
    }
}

/// Where a region of a node starts, in elements, and the stride of each kernel axis along it.
pub fn region_place(region: &View, strides: &[isize], axes: usize) -> (isize, SmallVec<[isize; 4]>) {
    let mut out: SmallVec<[isize; 4]> = SmallVec::from_elem(0, axes);
    let offset = region.at.iter().zip(strides).map(|(&at, &s)| at as isize * s).sum();
    let mut next = 0;
    for (src, &n) in region.src.iter().zip(&region.shape) {
        if n == 1 {
            continue;
        }
        if let Src::Axis { axis, step } = *src {
            out[next] = step * strides[axis as usize];
        }
        next += 1;
    }
    (offset, out)
}
