//! Views: slices, transposes, new and removed axes, broadcasts, reshapes. None copies; a reshape does where it must.

use crate::array::{DeviceArray, expect};
use crate::dtype::Element;
use crate::error::{Error, Result};
use crate::graph::build;
use crate::layout::{View, check};
use ndarray::{Axis, Dimension, IntoDimension, RemoveAxis, SliceArg, SliceInfoElem};
use std::panic::Location;

/// The view of `shape` that a slice takes.
pub(crate) fn slice_view(shape: &[usize], elems: &[SliceInfoElem]) -> Result<View> {
    let fail = |reason: String| Error::Shape { op: "slice", shape: shape.into(), reason };
    let taken = elems.iter().filter(|e| !e.is_new_axis()).count();
    if taken != shape.len() {
        return Err(fail(format!("{taken} indices for {} axes", shape.len())));
    }
    let mut v = View::identity(shape);
    let mut at = 0;
    for e in elems {
        match *e {
            SliceInfoElem::NewAxis => {
                v = v.insert_axis(at);
                at += 1;
            }
            SliceInfoElem::Index(i) => {
                let n = v.shape[at];
                let j = if i < 0 { i + n as isize } else { i };
                if j < 0 || j as usize >= n {
                    return Err(Error::Index { op: "slice", index: i as i128, axis: at, len: n, at: String::new() });
                }
                v = v.index_axis(at, j as usize);
            }
            SliceInfoElem::Slice { start, end, step } => {
                let n = v.shape[at] as isize;
                let wrap = |i: isize| if i < 0 { i + n } else { i };
                let (a, b) = (wrap(start), end.map_or(n, wrap));
                if a < 0 || a > n || b < 0 || b > n || step == 0 {
                    let end = end.map_or(String::new(), |e| e.to_string());
                    return Err(fail(format!("{start}..{end};{step} does not fit axis {at} of length {n}")));
                }
                // ndarray's rule: the range is cut out first, then stepped through (from its end if backwards).
                let m = (b - a).max(0);
                let len = (m as usize).div_ceil(step.unsigned_abs());
                let first = if step > 0 { a } else { a + m - 1 };
                v = v.slice_axis(at, first.max(0) as usize, len, step);
                at += 1;
            }
        }
    }
    check("slice", &v.shape)?;
    Ok(v)
}

impl<T: Element, D: Dimension> DeviceArray<T, D> {
    fn view<E: Dimension>(&self, outer: &View) -> DeviceArray<T, E> {
        DeviceArray::wrap(self.value.with(self.value.view().then(outer)), &self.device)
    }

    fn whole(&self) -> View {
        View::identity(self.shape())
    }

    fn check_axis(&self, op: &'static str, axis: Axis) -> Result<usize> {
        if axis.0 < self.ndim() {
            return Ok(axis.0);
        }
        Err(Error::Axis { op, axis: axis.0, shape: self.shape().into() })
    }

    /// A part of the array, by `s![..]`: ranges, negative indices, steps, `NewAxis`. No copy.
    ///
    /// A backwards range follows `ndarray`: the range is cut out, then walked from its end.
    ///
    /// # Panics
    /// If an index or range does not fit.
    ///
    /// ```
    /// # use ndcuda::{prelude::*, s};
    /// let x = Device::cpu().array(&ndarray::arr2(&[[1, 2, 3], [4, 5, 6]]))?;
    /// assert_eq!(x.slice(s![-1, ..;-2]), ndarray::arr1(&[6, 4]));
    /// assert_eq!(x.slice(s![.., NewAxis, 0..1]).shape(), [2, 1, 1]);
    /// # Ok::<(), ndcuda::Error>(())
    /// ```
    #[track_caller]
    pub fn slice<I: SliceArg<D>>(&self, info: I) -> DeviceArray<T, I::OutDim> {
        expect(self.try_slice(info))
    }

    /// As [`slice`](Self::slice).
    ///
    /// # Errors
    /// If an index or range does not fit.
    pub fn try_slice<I: SliceArg<D>>(&self, info: I) -> Result<DeviceArray<T, I::OutDim>> {
        Ok(self.view(&slice_view(self.shape(), info.as_ref())?))
    }

    /// All axes in reverse order. No copy.
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// let x = Device::cpu().arange(0, 6, 1).reshape((2, 3));
    /// assert_eq!(x.t(), ndarray::arr2(&[[0, 3], [1, 4], [2, 5]]));
    /// ```
    #[doc(alias = "T")]
    #[doc(alias = "transpose")]
    pub fn t(&self) -> Self {
        let order: Vec<usize> = (0..self.ndim()).rev().collect();
        self.view(&self.whole().permute(&order))
    }

    /// As [`t`](Self::t), by its `ndarray` name.
    pub fn reversed_axes(&self) -> Self {
        self.t()
    }

    /// Axes in another order: axis `i` of the result is axis `axes[i]`. No copy.
    ///
    /// # Panics
    /// If `axes` is no permutation.
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// let x = Device::cpu().zeros::<f32, _>((2, 3, 4));
    /// assert_eq!(x.permuted_axes([1, 2, 0]).shape(), [3, 4, 2]);
    /// ```
    #[doc(alias = "transpose")]
    #[track_caller]
    pub fn permuted_axes<I: IntoDimension<Dim = D>>(&self, axes: I) -> Self {
        let order = axes.into_dimension();
        let mut sorted = order.slice().to_vec();
        sorted.sort_unstable();
        if sorted != (0..self.ndim()).collect::<Vec<_>>() {
            let reason = format!("{:?} is no permutation of its axes", order.slice());
            panic!("{}", Error::Shape { op: "permuted_axes", shape: self.shape().into(), reason });
        }
        self.view(&self.whole().permute(order.slice()))
    }

    /// Two axes exchanged. No copy.
    ///
    /// # Panics
    /// If there is no such axis.
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// let x = Device::cpu().zeros::<f32, _>((2, 3, 4));
    /// assert_eq!(x.swap_axes(0, 2).shape(), [4, 3, 2]);
    /// ```
    #[track_caller]
    pub fn swap_axes(&self, a: usize, b: usize) -> Self {
        let (a, b) = (expect(self.check_axis("swap_axes", Axis(a))), expect(self.check_axis("swap_axes", Axis(b))));
        let mut order: Vec<usize> = (0..self.ndim()).collect();
        order.swap(a, b);
        self.view(&self.whole().permute(&order))
    }

    /// A new axis of extent 1 before `axis`. No copy.
    ///
    /// # Panics
    /// If `axis` is beyond the last place, or there are 32 axes already.
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// let x = Device::cpu().arange(0, 3, 1);
    /// assert_eq!(x.insert_axis(Axis(1)), ndarray::arr2(&[[0], [1], [2]]));
    /// ```
    #[doc(alias = "expand_dims")]
    #[track_caller]
    pub fn insert_axis(&self, axis: Axis) -> DeviceArray<T, D::Larger> {
        if axis.0 > self.ndim() {
            panic!("{}", Error::Axis { op: "insert_axis", axis: axis.0, shape: self.shape().into() });
        }
        let view = self.whole().insert_axis(axis.0);
        expect(check("insert_axis", &view.shape));
        self.view(&view)
    }

    /// An axis of extent 1 removed. No copy.
    ///
    /// # Panics
    /// If there is no such axis or its extent is not 1.
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// let x = Device::cpu().ones::<i32, _>((2, 1));
    /// assert_eq!(x.remove_axis(Axis(1)), ndarray::arr1(&[1, 1]));
    /// ```
    #[doc(alias = "squeeze")]
    #[track_caller]
    pub fn remove_axis(&self, axis: Axis) -> DeviceArray<T, D::Smaller>
    where
        D: RemoveAxis,
    {
        let a = expect(self.check_axis("remove_axis", axis));
        if self.shape()[a] != 1 {
            let reason = format!("axis {a} is not of extent 1");
            panic!("{}", Error::Shape { op: "remove_axis", shape: self.shape().into(), reason });
        }
        self.view(&self.whole().index_axis(a, 0))
    }

    /// One index of an axis, which goes. No copy.
    ///
    /// # Panics
    /// If there is no such axis or index.
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// let x = Device::cpu().arange(0, 6, 1).reshape((2, 3));
    /// assert_eq!(x.index_axis(Axis(0), 1), ndarray::arr1(&[3, 4, 5]));
    /// ```
    #[track_caller]
    pub fn index_axis(&self, axis: Axis, index: usize) -> DeviceArray<T, D::Smaller>
    where
        D: RemoveAxis,
    {
        let a = expect(self.check_axis("index_axis", axis));
        let n = self.shape()[a];
        if index >= n {
            panic!("{}", Error::Index { op: "index_axis", index: index as i128, axis: a, len: n, at: String::new() });
        }
        self.view(&self.whole().index_axis(a, index))
    }

    /// Stretched to another shape by NumPy's rule. No copy; `None` where it does not fit, or is too large for any array (2^60
    /// elements).
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// let x = Device::cpu().arange(0, 2, 1);
    /// assert_eq!(x.broadcast((2, 2)).unwrap(), ndarray::arr2(&[[0, 1], [0, 1]]));
    /// assert!(x.broadcast((2, 3)).is_none());
    /// ```
    #[doc(alias = "broadcast_to")]
    pub fn broadcast<S: IntoDimension>(&self, shape: S) -> Option<DeviceArray<T, S::Dim>> {
        let shape = shape.into_dimension();
        check("broadcast", shape.slice()).ok()?;
        let view = self.whole().broadcast(shape.slice())?;
        Some(self.view(&view))
    }

    /// An axis walked backwards. No copy.
    ///
    /// # Panics
    /// If there is no such axis.
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// let x = Device::cpu().arange(0, 3, 1);
    /// assert_eq!(x.flip(Axis(0)), ndarray::arr1(&[2, 1, 0]));
    /// ```
    #[doc(alias = "invert_axis")]
    #[track_caller]
    pub fn flip(&self, axis: Axis) -> Self {
        let a = expect(self.check_axis("flip", axis));
        let n = self.shape()[a];
        self.view(&self.whole().slice_axis(a, n.saturating_sub(1), n, -1))
    }

    /// The elements in C order with another shape. A view where the layout allows it, else a copy when it is evaluated.
    ///
    /// # Panics
    /// If the number of elements differs.
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// let x = Device::cpu().arange(0, 6, 1).reshape((2, 3));
    /// assert_eq!(x.t().reshape(6), ndarray::arr1(&[0, 3, 1, 4, 2, 5]));
    /// ```
    #[doc(alias = "to_shape")]
    #[doc(alias = "into_shape_with_order")]
    #[track_caller]
    pub fn reshape<S: IntoDimension>(&self, shape: S) -> DeviceArray<T, S::Dim> {
        expect(self.try_reshape(shape))
    }

    /// As [`reshape`](Self::reshape).
    ///
    /// # Errors
    /// [`Error::Shape`] if the number of elements differs.
    #[track_caller]
    pub fn try_reshape<S: IntoDimension>(&self, shape: S) -> Result<DeviceArray<T, S::Dim>> {
        let shape = shape.into_dimension();
        let value = build::reshape(&self.value, shape.slice(), Location::caller())?;
        Ok(DeviceArray::wrap(value, &self.device))
    }

    /// All elements in C order, as one axis.
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// let x = Device::cpu().arange(0, 6, 1).reshape((2, 3));
    /// assert_eq!(x.flatten(), ndarray::arr1(&[0, 1, 2, 3, 4, 5]));
    /// ```
    #[doc(alias = "ravel")]
    #[track_caller]
    pub fn flatten(&self) -> crate::DeviceArray1<T> {
        self.reshape(self.len())
    }
}
