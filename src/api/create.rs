//! Creation: constants, ranges and functions of the index, all lazy but `from_fn`.

use crate::array::{DeviceArray, DeviceArray1, DeviceArray2, expect, room};
use crate::device::Device;
use crate::dtype::{Element, Float, Number};
use crate::error::{Error, Result};
use crate::graph::build::At;
use crate::graph::{Value, build};
use crate::layout::check;
use crate::ops::row;
use ndarray::{Array, Dimension, IntoDimension, Ix1, Ix2};
use std::panic::Location;

/// An integer's value; `None` of a float.
fn integer<T: Number>(x: T) -> Option<i128> {
    let (bits, unused) = (x.to_bits64(), 64 - 8 * T::DTYPE.size() as u32);
    match T::DTYPE {
        d if d.is_float() => None,
        d if d.is_unsigned() => Some(bits.into()),
        _ => Some((((bits << unused) as i64) >> unused).into()),
    }
}

/// How many of `a, a + s, ...` come before `b`; `usize::MAX` stands for more.
fn count(a: i128, b: i128, s: i128) -> usize {
    let (way, step) = if s > 0 { (b - a, s) } else { (a - b, -s) };
    usize::try_from((way.max(0) + step - 1) / step).unwrap_or(usize::MAX)
}

/// As [`count`]; `None` where no number says it.
fn count_floats(a: f64, b: f64, s: f64) -> Option<usize> {
    if s == 0.0 || ![a, b, s].iter().all(|x| x.is_finite()) {
        return None;
    }
    // The first is there however small its part of a step is.
    Some(if a == b || (a < b) != (s > 0.0) { 0 } else { (((b - a) / s).ceil() as usize).max(1) })
}

impl Device {
    #[track_caller]
    fn constant<T: Element, D: Dimension>(&self, op: &'static str, shape: D, v: T) -> DeviceArray<T, D> {
        let scalar = build::scalar(self.id(), T::DTYPE, v.to_bits64(), Location::caller());
        DeviceArray::wrap(expect(build::broadcast(op, &scalar, shape.slice())), self)
    }

    /// An array of zeros (`false` for bool). Takes no memory until it is evaluated as a whole.
    ///
    /// # Panics
    /// As all that makes a shape: if it has more than 32 axes or more than 2^60 - 1 elements.
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// assert_eq!(Device::cpu().zeros::<i32, _>((2, 2)), ndarray::arr2(&[[0, 0], [0, 0]]));
    /// ```
    #[track_caller]
    pub fn zeros<T: Element, S: IntoDimension>(&self, shape: S) -> DeviceArray<T, S::Dim> {
        self.constant("zeros", shape.into_dimension(), T::ZERO)
    }

    /// An array of ones (`true` for bool).
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// assert_eq!(Device::cpu().ones::<f32, _>(2), ndarray::arr1(&[1.0, 1.0]));
    /// ```
    #[track_caller]
    pub fn ones<T: Element, S: IntoDimension>(&self, shape: S) -> DeviceArray<T, S::Dim> {
        self.constant("ones", shape.into_dimension(), T::ONE)
    }

    /// An array of one value.
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// assert_eq!(Device::cpu().full(2, 0.5f32), ndarray::arr1(&[0.5, 0.5]));
    /// ```
    #[doc(alias = "from_elem")]
    #[track_caller]
    pub fn full<T: Element, S: IntoDimension>(&self, shape: S, value: T) -> DeviceArray<T, S::Dim> {
        self.constant("full", shape.into_dimension(), value)
    }

    /// A rank-0 array.
    #[track_caller]
    pub fn scalar<T: Element>(&self, value: T) -> crate::DeviceArray0<T> {
        self.constant("scalar", ndarray::Ix0(), value)
    }

    fn ramp<T: Number>(&self, op: &'static str, start: T, step: T, n: usize, at: At) -> Result<Value> {
        let index = build::iota(op, self.id(), &[n], 0, at)?;
        let scalar = |v: T| build::scalar(self.id(), T::DTYPE, v.to_bits64(), at);
        let i = build::cast(&index, T::DTYPE, at);
        let scaled = build::map(&row::mul, &[&i, &scalar(step)], at)?;
        build::map(&row::add, &[&scaled, &scalar(start)], at)
    }

    /// `start, start + step, ...` up to but not including `stop`: element `i` is `start + i * step`, rounded once more for 16-bit floats (which may make
    /// the last one `stop`).
    ///
    /// # Panics
    /// If `step` is zero, or any of the three is NaN or infinite, or if there would be 2^60 elements or more.
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// assert_eq!(Device::cpu().arange(1, 8, 3), ndarray::arr1(&[1, 4, 7]));
    /// assert_eq!(Device::cpu().arange(1.0f32, 0.0, -0.5), ndarray::arr1(&[1.0, 0.5]));
    /// ```
    #[doc(alias = "range")]
    #[track_caller]
    pub fn arange<T: Number>(&self, start: T, stop: T, step: T) -> DeviceArray1<T> {
        let n = match [start, stop, step].map(integer) {
            [Some(a), Some(b), Some(s)] if s != 0 => Some(count(a, b, s)),
            [None, None, None] => count_floats(start.to_f64(), stop.to_f64(), step.to_f64()),
            _ => None,
        };
        let Some(n) = n else { panic!("arange: there is no range from {start} to {stop} in steps of {step}") };
        let at = Location::caller();
        let wide = T::DTYPE.compute();
        if wide == T::DTYPE {
            return DeviceArray::wrap(expect(self.ramp("arange", start, step, n, at)), self);
        }
        // 16-bit floats have not all of the indices.
        let (start, step) = (f32::from_f64(start.to_f64()), f32::from_f64(step.to_f64()));
        let ramp: DeviceArray1<f32> = DeviceArray::wrap(expect(self.ramp("arange", start, step, n, at)), self);
        ramp.cast()
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
        let ramp: DeviceArray1<f64> =
            DeviceArray::wrap(expect(self.ramp("linspace", start.to_f64(), step, n, at)), self);
        let index = expect(build::iota("linspace", self.id(), &[n], 0, at));
        let index: DeviceArray1<i64> = DeviceArray::wrap(index, self);
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
        let [i, j] = [0, 1].map(|axis| expect(build::iota("eye", self.id(), &[n, n], axis, at)));
        let mask: DeviceArray<bool, Ix2> = DeviceArray::wrap(expect(build::map(&row::equal, &[&i, &j], at)), self);
        mask.cast()
    }

    /// An array of `f(index)`, computed on the host.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::Shape`] for a shape that no array has.
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// let x = Device::cpu().from_fn((2, 2), |(i, j)| 10 * i as i32 + j as i32)?;
    /// assert_eq!(x, ndarray::arr2(&[[0, 1], [10, 11]]));
    /// # Ok::<(), ndcuda::Error>(())
    /// ```
    #[track_caller]
    pub fn from_fn<T: Element, S: IntoDimension>(
        &self,
        shape: S,
        mut f: impl FnMut(<S::Dim as Dimension>::Pattern) -> T,
    ) -> Result<DeviceArray<T, S::Dim>> {
        let shape = shape.into_dimension();
        check("from_fn", shape.slice())?;
        let mut values = room(shape.size())?;
        ndarray::indices(shape.clone()).into_iter().for_each(|index| values.push(f(index)));
        let host = Array::from_shape_vec(shape, values);
        self.array(host.map_err(|e| Error::Internal { stage: "from_fn", detail: e.to_string() })?)
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
        self.device.constant("full_like", self.raw_dim(), value)
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
