//! Shapes, axis maps between nodes ([`View`]) and strides on a buffer ([`Layout`]).

mod view;

pub use view::{Src, View};

use crate::error::{Error, Result};
use smallvec::SmallVec;
use std::fmt;

/// A shape, or one extent per axis.
pub type Dims = SmallVec<[usize; 4]>;
/// Strides in elements, one per axis.
pub type Strides = SmallVec<[isize; 4]>;

/// Most axes of an array: sets of axes have 32 bits.
pub const MAX_RANK: usize = 32;
/// Most elements of an array, stored or not: of the widest dtype, as many as can have addresses.
const MAX_SIZE: usize = isize::MAX as usize / 8;

/// Refuses a shape with too many axes, or whose elements cannot be counted. As in NumPy, extents of zero do not make the others good.
/// Every shape of a node or view has passed: sizes of arrays and of their bytes do not overflow.
pub fn check(op: &'static str, shape: &[usize]) -> Result<()> {
    let count = shape.iter().filter(|&&n| n != 0).try_fold(1usize, |product, &n| product.checked_mul(n));
    let reason = match count {
        _ if shape.len() > MAX_RANK => format!("{} axes are more than {MAX_RANK}", shape.len()),
        Some(n) if n <= MAX_SIZE => return Ok(()),
        _ => format!("an array has at most {MAX_SIZE} elements, extents of zero left out"),
    };
    Err(Error::Shape { op, shape: shape.into(), reason })
}

/// An array taken from at indices: the axis and call that the user knows it by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Taken {
    /// The axis indexed.
    pub axis: u8,
    /// Whether each element has an index of its own (`take_along_axis`).
    pub each: bool,
    /// Whether the indices were u64, and came as the i64 of the same bits.
    pub unsigned: bool,
}

impl Taken {
    /// The call's name.
    pub fn name(self) -> &'static str {
        if self.each { "take_along_axis" } else { "take" }
    }

    /// The error of an index that is not within the axis's length.
    pub fn error(self, index: i64, len: usize) -> Error {
        let index = if self.unsigned { index as u64 as i128 } else { index as i128 };
        Error::Index { op: self.name(), index, axis: self.axis as usize, len, at: String::new() }
    }
}

/// Number of elements of a shape.
pub fn size(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// Strides of a C-ordered (row-major) array.
pub fn c_strides(shape: &[usize]) -> Strides {
    let mut strides: Strides = SmallVec::from_elem(0, shape.len());
    let mut step = 1isize;
    for (s, &n) in strides.iter_mut().zip(shape).rev() {
        *s = step;
        step = step.saturating_mul(n.max(1) as isize);
    }
    strides
}

/// The shape two operands broadcast to, by NumPy's rule; `None` where they do not.
pub fn broadcast_shape(a: &[usize], b: &[usize]) -> Option<Dims> {
    let n = a.len().max(b.len());
    let mut out: Dims = SmallVec::from_elem(1, n);
    for i in 0..n {
        let x = if i + a.len() >= n { a[i + a.len() - n] } else { 1 };
        let y = if i + b.len() >= n { b[i + b.len() - n] } else { 1 };
        out[i] = match (x, y) {
            (x, y) if x == y => x,
            (1, y) => y,
            (x, 1) => x,
            _ => return None,
        };
    }
    Some(out)
}

/// Where an array's elements lie in a buffer: `shape`, `strides` and `offset`, in elements.
#[derive(PartialEq, Eq, Hash)]
pub struct Layout {
    /// Extent of each axis.
    pub shape: Dims,
    /// Step of each axis, in elements; may be zero or negative.
    pub strides: Strides,
    /// Index of the first element.
    pub offset: usize,
}

/// Copies of few words: quicker than element by element.
impl Clone for Layout {
    fn clone(&self) -> Layout {
        Layout {
            shape: SmallVec::from_slice(&self.shape),
            strides: SmallVec::from_slice(&self.strides),
            offset: self.offset,
        }
    }
}

impl Layout {
    /// C order from the start of the buffer.
    pub fn c_order(shape: &[usize]) -> Layout {
        Layout { shape: shape.into(), strides: c_strides(shape), offset: 0 }
    }

    /// The layout of `view` of an array that lies so.
    pub fn view(&self, view: &View) -> Layout {
        let mut offset = self.offset as isize;
        for (&at, &s) in view.at.iter().zip(&self.strides) {
            offset += at as isize * s;
        }
        let strides = view
            .src
            .iter()
            .map(|src| match *src {
                Src::Axis { axis, step } => step * self.strides[axis as usize],
                Src::Broadcast => 0,
            })
            .collect();
        // An empty array may start one past the end; nothing is read there.
        let offset = if size(&view.shape) == 0 { self.offset } else { offset as usize };
        Layout { shape: view.shape.clone(), strides, offset }
    }

    /// Whether the elements lie in C order without gaps.
    pub fn is_c_order(&self) -> bool {
        if size(&self.shape) == 0 {
            return true;
        }
        let mut step = 1isize;
        for (&n, &s) in self.shape.iter().zip(&self.strides).rev() {
            if n != 1 {
                if s != step {
                    return false;
                }
                step *= n as isize;
            }
        }
        true
    }

    /// The strides `shape` would have on this layout, where a reshape needs no copy (NumPy's `_attempt_nocopy_reshape`).
    pub fn reshape(&self, shape: &[usize]) -> Option<Layout> {
        if size(shape) == 0 {
            return Some(Layout { shape: shape.into(), strides: c_strides(shape), offset: self.offset });
        }
        let old: SmallVec<[(usize, isize); 4]> =
            self.shape.iter().copied().zip(self.strides.iter().copied()).filter(|a| a.0 != 1).collect();
        let mut strides: Strides = SmallVec::from_elem(0, shape.len());
        let (mut i, mut j) = (0, 0);
        while i < old.len() {
            // A run of old axes and a run of new ones with the same number of elements.
            let (i0, j0) = (i, j);
            let (mut a, mut b) = (old[i].0, 1);
            i += 1;
            while b != a {
                if b < a {
                    b *= *shape.get(j)?;
                    j += 1;
                } else {
                    a *= old.get(i)?.0;
                    i += 1;
                }
            }
            for w in old[i0..i].windows(2) {
                if w[0].1 != w[1].1 * w[1].0 as isize {
                    return None;
                }
            }
            let mut step = old[i - 1].1;
            for k in (j0..j).rev() {
                strides[k] = step;
                step *= shape[k] as isize;
            }
        }
        Some(Layout { shape: shape.into(), strides, offset: self.offset })
    }
}

/// As CuTe prints a layout: `(2,4):(4,1)+offset`.
impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |v: &[isize]| v.iter().map(|x| x.to_string()).collect::<Vec<_>>().join(",");
        let shape: Vec<isize> = self.shape.iter().map(|&n| n as isize).collect();
        write!(f, "({}):({})", join(&shape), join(&self.strides))?;
        if self.offset != 0 {
            write!(f, "+{}", self.offset)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasting_follows_numpy() {
        let f = |a: &[usize], b: &[usize]| broadcast_shape(a, b).map(|d| d.to_vec());
        assert_eq!(f(&[2, 1, 3], &[4, 1]), Some(vec![2, 4, 3]));
        assert_eq!(f(&[], &[5]), Some(vec![5]));
        assert_eq!(f(&[0], &[1]), Some(vec![0]));
        assert_eq!(f(&[2], &[3]), None);
        assert_eq!(f(&[0], &[2]), None);
    }

    #[test]
    fn reshape_is_a_view_where_possible() {
        let c = Layout::c_order(&[2, 3, 4]);
        assert_eq!(c.reshape(&[6, 4]).map(|l| l.strides.to_vec()), Some(vec![4, 1]));
        assert_eq!(c.reshape(&[4, 6]).map(|l| l.strides.to_vec()), Some(vec![6, 1]));
        let t = Layout { shape: [3, 2].as_slice().into(), strides: [1, 3].as_slice().into(), offset: 0 };
        assert!(t.reshape(&[6]).is_none());
        assert_eq!(t.reshape(&[3, 1, 2]).map(|l| (l.strides[0], l.strides[2])), Some((1, 3)));
        let one = Layout { shape: [1].as_slice().into(), strides: [7].as_slice().into(), offset: 3 };
        assert_eq!(one.reshape(&[]).map(|l| l.offset), Some(3));
        assert!(one.reshape(&[1, 1]).is_some());
    }
}
