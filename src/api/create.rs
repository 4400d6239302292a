//! Creation: constants, ranges and functions of the index, all lazy but `from_fn`.

use crate::array::{DeviceArray, DeviceArray1, DeviceArray2, expect};
use crate::device::Device;
use crate::dtype::{Element, Float, Number};
use crate::error::Result;
use crate::graph::{Value, build};
use crate::ops::row;
use ndarray::{Array, Dimension, IntoDimension, Ix1, Ix2};
use std::panic::Location;

impl Device {
    fn constant<T: Element, D: Dimension>(&self, shape: D, v: T, at: &'static Location<'static>) -> DeviceArray<T, D> {
        let scalar = build::scalar(self.id(), T::DTYPE, v.to_bits64(), at);
        // A scalar broadcasts to every shape.
        let value = build::broadcast("full", &scalar, shape.slice()).unwrap_or(scalar);
        DeviceArray::wrap(value, self)
    }

    /// An array of zeros (`false` for bool). Takes no memory until it is evaluated as a whole.
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// assert_eq!(Device::cpu().zeros::<i32, _>((2, 2)), ndarray::arr2(&[[0, 0], [0, 0]]));
    /// ```
    #[track_caller]
    pub fn zeros<T: Element, S: IntoDimension>(&self, shape: S) -> DeviceArray<T, S::Dim> {
        self.constant(shape.into_dimension(), T::ZERO, Location::caller())
    }

    /// An array of ones (`true` for bool).
    #[track_caller]
    pub fn ones<T: Element, S: IntoDimension>(&self, shape: S) -> DeviceArray<T, S::Dim> {
        self.constant(shape.into_dimension(), T::ONE, Location::caller())
    }

    /// An array of one value.
    #[doc(alias = "from_elem")]
    #[track_caller]
    pub fn full<T: Element, S: IntoDimension>(&self, shape: S, value: T) -> DeviceArray<T, S::Dim> {
        self.constant(shape.into_dimension(), value, Location::caller())
    }

    /// A rank-0 array.
    #[track_caller]
    pub fn scalar<T: Element>(&self, value: T) -> crate::DeviceArray0<T> {
        self.constant(ndarray::Ix0(), value, Location::caller())
    }

    fn ramp<T: Number>(&self, start: T, step: T, n: usize, at: &'static Location<'static>) -> Result<Value> {
        let index = build::iota(self.id(), &[n], 0, at);
        let scalar = |v: T| build::scalar(self.id(), T::DTYPE, v.to_bits64(), at);
        let i = build::cast(&index, T::DTYPE, at);
        let scaled = build::map(&row::mul, &[&i, &scalar(step)], at)?;
        build::map(&row::add, &[&scaled, &scalar(start)], at)
    }

    /// `start, start + step, ...` up to but not including `stop`: element `i` is `start + i * step`.
    ///
    /// # Panics
    /// If `step` is zero or NaN.
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// assert_eq!(Device::cpu().arange(1, 8, 3), ndarray::arr1(&[1, 4, 7]));
    /// assert_eq!(Device::cpu().arange(1.0f32, 0.0, -0.5), ndarray::arr1(&[1.0, 0.5]));
    /// ```
    #[doc(alias = "range")]
    #[track_caller]
    pub fn arange<T: Number>(&self, start: T, stop: T, step: T) -> DeviceArray1<T> {
        let (a, b, s) = (start.to_f64(), stop.to_f64(), step.to_f64());
        assert!(s != 0.0 && !s.is_nan(), "arange: the step is {step}");
        let n = ((b - a) / s).ceil().max(0.0) as usize;
        let at = Location::caller();
        DeviceArray::wrap(expect(self.ramp(start, step, n, at)), self)
    }

    /// `n` values from `start` to `stop`, both included, evenly spaced.
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// assert_eq!(Device::cpu().linspace(0.0f64, 1.0, 5), ndarray::arr1(&[0.0, 0.25, 0.5, 0.75, 1.0]));
    /// ```
    #[track_caller]
    pub fn linspace<T: Float>(&self, start: T, stop: T, n: usize) -> DeviceArray1<T> {
        let at = Location::caller();
        let step = if n > 1 { (stop.to_f64() - start.to_f64()) / (n - 1) as f64 } else { 0.0 };
        // In f64, and the last value exactly `stop`, as NumPy does.
        let ramp: DeviceArray1<f64> = DeviceArray::wrap(expect(self.ramp(start.to_f64(), step, n, at)), self);
        let index: DeviceArray1<i64> = DeviceArray::wrap(build::iota(self.id(), &[n], 0, at), self);
        let last = index.equal(n as i64 - 1);
        let last = if n > 1 { last } else { self.zeros(Ix1(n)) };
        last.where_(self.scalar(stop.to_f64()), ramp).cast()
    }

    /// The identity matrix.
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// assert_eq!(Device::cpu().eye::<f32>(2), ndarray::Array2::eye(2));
    /// ```
    #[track_caller]
    pub fn eye<T: Element>(&self, n: usize) -> DeviceArray2<T> {
        let at = Location::caller();
        let (i, j) = (build::iota(self.id(), &[n, n], 0, at), build::iota(self.id(), &[n, n], 1, at));
        let mask: DeviceArray<bool, Ix2> = DeviceArray::wrap(expect(build::map(&row::equal, &[&i, &j], at)), self);
        mask.cast()
    }

    /// An array of `f(index)`, computed on the host.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`].
    #[track_caller]
    pub fn from_fn<T: Element, S: IntoDimension>(
        &self,
        shape: S,
        f: impl FnMut(<S::Dim as Dimension>::Pattern) -> T,
    ) -> Result<DeviceArray<T, S::Dim>> {
        self.array(Array::from_shape_fn(shape.into_dimension(), f))
    }
}

impl<T: Element, D: Dimension> DeviceArray<T, D> {
    /// Zeros of this array's shape, dtype and device.
    #[track_caller]
    pub fn zeros_like(&self) -> Self {
        self.full_like(T::ZERO)
    }

    /// Ones of this array's shape, dtype and device.
    #[track_caller]
    pub fn ones_like(&self) -> Self {
        self.full_like(T::ONE)
    }

    /// One value in this array's shape, dtype and device.
    #[track_caller]
    pub fn full_like(&self, value: T) -> Self {
        self.device.constant(self.raw_dim(), value, Location::caller())
    }

    /// The same values in another dtype, as Rust's `as` converts: towards zero, saturating, NaN to 0; non-zero to `true`.
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// let x = Device::cpu().array(&ndarray::arr1(&[1.9f32, -1.0, f32::NAN, 300.0]))?;
    /// assert_eq!(x.cast::<u8>(), ndarray::arr1(&[1, 0, 0, 255]));
    /// # Ok::<(), ndcuda::Error>(())
    /// ```
    #[doc(alias = "astype")]
    #[doc(alias = "mapv")]
    #[track_caller]
    pub fn cast<U: Element>(&self) -> DeviceArray<U, D> {
        DeviceArray::wrap(build::cast(&self.value, U::DTYPE, Location::caller()), &self.device)
    }
}
