//! A view as an axis map: which axis of the source each axis walks, and from where. Maps compose totally.

use super::Dims;
use smallvec::SmallVec;
use std::fmt;

/// What one axis of a view walks along.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Src {
    /// An axis of the source, `step` source elements at a time (negative: backwards).
    Axis {
        /// The source's axis.
        axis: u8,
        /// Source elements per step.
        step: isize,
    },
    /// No axis: the same elements at every index.
    Broadcast,
}

/// A view of a node's value: element `i` is the source's element `at[a] + sum over axes that walk a of step * i`.
#[derive(PartialEq, Eq, Hash)]
pub struct View {
    /// The view's own shape.
    pub shape: Dims,
    /// What each axis of the view walks.
    pub src: SmallVec<[Src; 4]>,
    /// Where the view starts on each axis of the source; an axis that no view axis walks is fixed there.
    pub at: Dims,
}

/// Copies of few words: quicker than element by element.
impl Clone for View {
    fn clone(&self) -> View {
        View {
            shape: SmallVec::from_slice(&self.shape),
            src: SmallVec::from_slice(&self.src),
            at: SmallVec::from_slice(&self.at),
        }
    }
}

impl View {
    /// The whole of an array of this shape.
    pub fn identity(shape: &[usize]) -> View {
        View {
            shape: shape.into(),
            src: (0..shape.len()).map(|a| Src::Axis { axis: a as u8, step: 1 }).collect(),
            at: SmallVec::from_elem(0, shape.len()),
        }
    }

    /// Whether this is the whole source, axis by axis.
    pub fn is_identity(&self) -> bool {
        self.at.len() == self.src.len()
            && self.at.iter().all(|&x| x == 0)
            && self.src.iter().enumerate().all(|(i, s)| *s == Src::Axis { axis: i as u8, step: 1 })
    }

    /// Whether the source and the view have the same elements at the same indices, up to axes of extent 1.
    pub fn is_own_index(&self, source: &[usize]) -> bool {
        let mut next = 0usize;
        for (src, &n) in self.src.iter().zip(&self.shape) {
            if n == 1 {
                continue;
            }
            let Src::Axis { axis, step: 1 } = *src else { return false };
            let axis = axis as usize;
            if axis < next || source[axis] != n || source[next..axis].iter().any(|&m| m != 1) {
                return false;
            }
            next = axis + 1;
        }
        source[next..].iter().all(|&m| m == 1)
    }

    /// `outer` taken of this view: a map from `outer`'s axes to this view's source.
    pub fn then(&self, outer: &View) -> View {
        debug_assert_eq!(outer.at.len(), self.src.len());
        let mut at: SmallVec<[isize; 4]> = self.at.iter().map(|&x| x as isize).collect();
        for (src, &start) in self.src.iter().zip(&outer.at) {
            if let Src::Axis { axis, step } = *src {
                at[axis as usize] += step * start as isize;
            }
        }
        let src = outer
            .src
            .iter()
            .map(|o| match *o {
                Src::Axis { axis, step } => match self.src[axis as usize] {
                    Src::Axis { axis: a, step: t } => Src::Axis { axis: a, step: step * t },
                    Src::Broadcast => Src::Broadcast,
                },
                Src::Broadcast => Src::Broadcast,
            })
            .collect();
        // Only the map of an empty view can leave the source; its start is never read.
        let at = at.iter().map(|&x| x.max(0) as usize).collect();
        View { shape: outer.shape.clone(), src, at }
    }

    /// Axes in another order: axis `i` of the result is axis `order[i]`.
    pub fn permute(&self, order: &[usize]) -> View {
        View {
            shape: order.iter().map(|&a| self.shape[a]).collect(),
            src: order.iter().map(|&a| self.src[a]).collect(),
            at: self.at.clone(),
        }
    }

    /// A new axis of extent 1 before `axis`.
    pub fn insert_axis(&self, axis: usize) -> View {
        let mut v = self.clone();
        v.shape.insert(axis, 1);
        v.src.insert(axis, Src::Broadcast);
        v
    }

    /// One index of an axis, which goes away.
    pub fn index_axis(&self, axis: usize, index: usize) -> View {
        let mut v = self.clone();
        v.shape.remove(axis);
        if let Src::Axis { axis, step } = v.src.remove(axis) {
            v.at[axis as usize] = (v.at[axis as usize] as isize + step * index as isize) as usize;
        }
        v
    }

    /// `len` indices of an axis from `start`, `step` apart (`step` may be negative; `start` is the first one taken).
    pub fn slice_axis(&self, axis: usize, start: usize, len: usize, step: isize) -> View {
        let mut v = self.clone();
        v.shape[axis] = len;
        if let Src::Axis { axis: a, step: s } = &mut v.src[axis] {
            if len > 0 {
                v.at[*a as usize] = (v.at[*a as usize] as isize + *s * start as isize) as usize;
            }
            // Of one element no step is taken, and those of steps may be as large as they like.
            *s = if len > 1 { *s * step } else { *s };
        }
        v
    }

    /// Stretched to `shape` by NumPy's rule; `None` where it does not fit.
    pub fn broadcast(&self, shape: &[usize]) -> Option<View> {
        let lead = shape.len().checked_sub(self.shape.len())?;
        let mut src: SmallVec<[Src; 4]> = SmallVec::from_elem(Src::Broadcast, lead);
        for (i, &n) in self.shape.iter().enumerate() {
            src.push(match (n, shape[lead + i]) {
                (n, m) if n == m => self.src[i],
                (1, _) => Src::Broadcast,
                _ => return None,
            });
        }
        Some(View { shape: shape.into(), src, at: self.at.clone() })
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, (src, n)) in self.src.iter().zip(&self.shape).enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            match *src {
                Src::Axis { axis, step: 1 } => write!(f, "{axis}:{n}")?,
                Src::Axis { axis, step } => write!(f, "{axis}*{step}:{n}")?,
                Src::Broadcast => write!(f, "*:{n}")?,
            }
        }
        f.write_str("]")?;
        if self.at.iter().any(|&x| x != 0) {
            write!(f, "@{:?}", &self.at[..])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_compose() {
        let x = View::identity(&[4, 6]);
        let v = x.slice_axis(1, 5, 3, -2).permute(&[1, 0]).insert_axis(0);
        assert_eq!(v.shape.as_slice(), &[1, 3, 4]);
        let w = View::identity(&v.shape).index_axis(1, 1).slice_axis(1, 1, 2, 2);
        let c = v.then(&w);
        assert_eq!(c.shape.as_slice(), &[1, 2]);
        assert_eq!(c.at.as_slice(), &[1, 3]);
        assert_eq!(c.src[1], Src::Axis { axis: 0, step: 2 });
    }

    #[test]
    fn own_index_ignores_unit_axes() {
        let v = View::identity(&[3, 4]);
        assert!(v.insert_axis(1).is_own_index(&[3, 4]));
        assert!(!v.permute(&[1, 0]).is_own_index(&[3, 4]));
        let s = View::identity(&[3]).insert_axis(1);
        assert!(s.is_own_index(&[3]));
        assert!(!s.broadcast(&[3, 4]).is_some_and(|b| b.is_own_index(&[3])));
    }
}
