//! Writing parts and taking by index. An array is a value: writing makes this handle stand for the changed array.

use super::manipulate::slice_view;
use crate::array::{DeviceArray, DeviceArray1, Operand, expect};
use crate::dtype::{Element, Integer};
use crate::error::{Error, Result};
use crate::graph::build;
use crate::layout::View;
use ndarray::{Axis, Dimension, RemoveAxis, SliceArg};
use std::panic::Location;

impl<T: Element, D: Dimension> DeviceArray<T, D> {
    #[track_caller]
    fn write<O: Operand<T>>(&mut self, region: View, value: O) -> Result<()> {
        let at = Location::caller();
        let (v, device) = value.operand(&self.device, at);
        self.same_device("slice_assign", &device)?;
        let new = build::update(&self.value, region, &v, at)?;
        // What only this call held is no one's now: rebinding may write in place.
        drop((v, value));
        self.rebind(new);
        Ok(())
    }

    /// Writes an array or scalar, broadcast to fit, over the part that `info` selects.
    ///
    /// # Panics
    /// If the slice does not fit the array or the value does not broadcast to it.
    ///
    /// ```
    /// # use ndcuda::{prelude::*, s};
    /// let mut x = Device::cpu().zeros::<i32, _>(5);
    /// x.slice_assign(s![1..;2], 7);
    /// assert_eq!(x, ndarray::arr1(&[0, 7, 0, 7, 0]));
    /// ```
    #[track_caller]
    pub fn slice_assign<I: SliceArg<D>, O: Operand<T>>(&mut self, info: I, value: O) {
        expect(self.try_slice_assign(info, value));
    }

    /// As [`slice_assign`](Self::slice_assign).
    ///
    /// # Errors
    /// If the slice does not fit the array or the value does not broadcast to it; the array is as before then.
    #[track_caller]
    pub fn try_slice_assign<I: SliceArg<D>, O: Operand<T>>(&mut self, info: I, value: O) -> Result<()> {
        let region = slice_view(self.shape(), info.as_ref())?;
        self.write(region, value)
    }

    /// Makes every element that of another array, broadcast to this one's shape.
    ///
    /// # Panics
    /// If it does not broadcast to this shape.
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// let mut x = Device::cpu().zeros::<i32, _>((2, 2));
    /// x.assign(Device::cpu().arange(1, 3, 1));
    /// assert_eq!(x, ndarray::arr2(&[[1, 2], [1, 2]]));
    /// ```
    #[track_caller]
    pub fn assign<O: Operand<T>>(&mut self, value: O) {
        expect(self.try_assign(value));
    }

    /// As [`assign`](Self::assign).
    ///
    /// # Errors
    /// If the value does not broadcast to this shape, or is on another device; the array is as before then.
    #[track_caller]
    pub fn try_assign<O: Operand<T>>(&mut self, value: O) -> Result<()> {
        let (v, device) = value.operand(&self.device, Location::caller());
        self.same_device("assign", &device)?;
        let v = build::broadcast("assign", &v, self.shape())?;
        self.rebind(v);
        Ok(())
    }

    /// Makes every element this value.
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// let mut x = Device::cpu().zeros::<i32, _>(2);
    /// x.fill(7);
    /// assert_eq!(x, ndarray::arr1(&[7, 7]));
    /// ```
    #[track_caller]
    pub fn fill(&mut self, value: T) {
        *self = self.full_like(value);
    }

    /// The elements at `indices` along an axis, which may repeat. Negative indices are out of range.
    ///
    /// # Panics
    /// If there is no such axis.
    ///
    /// # Errors
    /// When evaluated: [`Error::Index`] for an index out of range.
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// let dev = Device::cpu();
    /// let x = dev.array(&ndarray::arr1(&[10.0f32, 20.0, 30.0]))?;
    /// let i = dev.array(&ndarray::arr1(&[2i32, 0, 2]))?;
    /// assert_eq!(x.take(Axis(0), &i), ndarray::arr1(&[30.0, 10.0, 30.0]));
    /// # Ok::<(), ndcuda::Error>(())
    /// ```
    #[track_caller]
    pub fn take<I: Integer>(&self, axis: Axis, indices: &DeviceArray1<I>) -> Self {
        let at = Location::caller();
        expect(self.same_device("take", &indices.device));
        DeviceArray::wrap(expect(build::gather(&self.value, axis.0, &indices.value, at)), &self.device)
    }

    /// For each element of `indices` the element there along `axis`: NumPy's `take_along_axis`. The other axes broadcast.
    ///
    /// # Panics
    /// If there is no such axis or the other axes do not broadcast. An index out of range is an error of the evaluation.
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// let x = Device::cpu().array(&ndarray::arr2(&[[10, 20], [30, 40]]))?;
    /// let i = Device::cpu().array(&ndarray::arr2(&[[1i64, 0], [0, 0]]))?;
    /// assert_eq!(x.take_along_axis(Axis(1), &i), ndarray::arr2(&[[20, 10], [30, 30]]));
    /// # Ok::<(), ndcuda::Error>(())
    /// ```
    #[track_caller]
    pub fn take_along_axis<I: Integer>(&self, axis: Axis, indices: &DeviceArray<I, D>) -> Self {
        expect(self.try_take_along_axis(axis, indices))
    }

    /// As [`take_along_axis`](Self::take_along_axis).
    ///
    /// # Errors
    /// [`Error::Axis`], [`Error::Broadcast`] or [`Error::Devices`].
    #[track_caller]
    pub fn try_take_along_axis<I: Integer>(&self, axis: Axis, indices: &DeviceArray<I, D>) -> Result<Self> {
        let at = Location::caller();
        self.same_device("take_along_axis", &indices.device)?;
        Ok(DeviceArray::wrap(build::gather_each(&self.value, axis.0, &indices.value, at)?, &self.device))
    }

    /// The `k` smallest (or largest) elements along an axis, in order, and where they are: torch's `topk`. Of equal elements
    /// the first comes first, and NaN comes last.
    ///
    /// The array itself is stored, if it is not yet; not where it is distances or the like, read by no one else: on the CPU they stay in cache, on a GPU they are made in blocks of 32 MiB.
    ///
    /// # Panics
    /// If there is no such axis or it has fewer than `k` elements.
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// let x = Device::cpu().array(&ndarray::arr2(&[[3.0f32, 1.0, f32::NAN, 2.0], [5.0, 5.0, 4.0, 6.0]]))?;
    /// let (least, at) = x.topk(2, Axis(1), false);
    /// assert_eq!(least, ndarray::arr2(&[[1.0, 2.0], [4.0, 5.0]]));
    /// assert_eq!(at, ndarray::arr2(&[[1i64, 3], [2, 0]]));
    /// # Ok::<(), ndcuda::Error>(())
    /// ```
    #[track_caller]
    pub fn topk(&self, k: usize, axis: Axis, largest: bool) -> (Self, DeviceArray<i64, D>) {
        expect(self.try_topk(k, axis, largest))
    }

    /// As [`topk`](Self::topk).
    ///
    /// # Errors
    /// [`Error::Axis`] or [`Error::Shape`].
    #[track_caller]
    pub fn try_topk(&self, k: usize, axis: Axis, largest: bool) -> Result<(Self, DeviceArray<i64, D>)> {
        let at = Location::caller();
        let index = build::topk(&self.value, axis.0, k, largest, at)?;
        let found = build::gather_each(&self.value, axis.0, &index, at)?;
        Ok((DeviceArray::wrap(found, &self.device), DeviceArray::wrap(index, &self.device)))
    }

    /// The elements at these indices along an axis, which may repeat.
    ///
    /// # Panics
    /// If there is no such axis or an index is out of range.
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// let x = Device::cpu().array(&ndarray::arr2(&[[1, 2], [3, 4], [5, 6]]))?;
    /// assert_eq!(x.select(Axis(0), &[2, 0]), ndarray::arr2(&[[5, 6], [1, 2]]));
    /// # Ok::<(), ndcuda::Error>(())
    /// ```
    #[track_caller]
    pub fn select(&self, axis: Axis, indices: &[usize]) -> Self
    where
        D: RemoveAxis,
    {
        expect(self.try_select(axis, indices))
    }

    /// As [`select`](Self::select).
    ///
    /// # Errors
    /// [`Error::Axis`] or [`Error::Index`].
    #[track_caller]
    pub fn try_select(&self, axis: Axis, indices: &[usize]) -> Result<Self>
    where
        D: RemoveAxis,
    {
        let at = Location::caller();
        let Some(&len) = self.shape().get(axis.0) else {
            return Err(Error::Axis { op: "select", axis: axis.0, shape: self.shape().into() });
        };
        if let Some(&i) = indices.iter().find(|&&i| i >= len) {
            return Err(Error::Index { op: "select", index: i as i128, axis: axis.0, len, at: String::new() });
        }
        let host: ndarray::Array1<i64> = indices.iter().map(|&i| i as i64).collect();
        let index = self.device.array(host)?;
        Ok(DeviceArray::wrap(build::gather(&self.value, axis.0, &index.value, at)?, &self.device))
    }
}
