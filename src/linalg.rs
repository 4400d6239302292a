//! Products of vectors and matrices.

use crate::array::{DeviceArray, expect};
use crate::dtype::{DType, Element};
use crate::error::Result;
use crate::graph::build;
use crate::ops::row;
use ndarray::{Dimension, Ix0, Ix1, Ix2, Ix3, Ix4, Ix5, Ix6, IxDyn};
use std::panic::Location;

/// The rank of a product of two arrays.
pub trait Dot<Rhs: Dimension>: Dimension {
    /// Of the result.
    type Output: Dimension;
}

macro_rules! ranks {
    ($($a:ty: $($b:ty => $c:ty),*;)*) => {$($(
        impl Dot<$b> for $a {
            type Output = $c;
        }
    )*)*};
}

ranks! {
    Ix1: Ix1 => Ix0, Ix2 => Ix1, Ix3 => Ix2, Ix4 => Ix3, Ix5 => Ix4, Ix6 => Ix5, IxDyn => IxDyn;
    Ix2: Ix1 => Ix1, Ix2 => Ix2, Ix3 => Ix3, Ix4 => Ix4, Ix5 => Ix5, Ix6 => Ix6, IxDyn => IxDyn;
    Ix3: Ix1 => Ix2, Ix2 => Ix3, Ix3 => Ix3, Ix4 => Ix4, Ix5 => Ix5, Ix6 => Ix6, IxDyn => IxDyn;
    Ix4: Ix1 => Ix3, Ix2 => Ix4, Ix3 => Ix4, Ix4 => Ix4, Ix5 => Ix5, Ix6 => Ix6, IxDyn => IxDyn;
    Ix5: Ix1 => Ix4, Ix2 => Ix5, Ix3 => Ix5, Ix4 => Ix5, Ix5 => Ix5, Ix6 => Ix6, IxDyn => IxDyn;
    Ix6: Ix1 => Ix5, Ix2 => Ix6, Ix3 => Ix6, Ix4 => Ix6, Ix5 => Ix6, Ix6 => Ix6, IxDyn => IxDyn;
    IxDyn: Ix1 => IxDyn, Ix2 => IxDyn, Ix3 => IxDyn, Ix4 => IxDyn, Ix5 => IxDyn, Ix6 => IxDyn, IxDyn => IxDyn;
}

impl<T: Element, D: Dimension> DeviceArray<T, D> {
    /// The matrix product, by NumPy's `matmul` rules: vectors, matrices, and batches of matrices that broadcast. Any
    /// strides, without copies of transposes. f16 and bf16 accumulate in f32; integers wrap in their own type;
    /// of bool, an element is true where any pair is.
    ///
    /// # Panics
    /// If the shapes do not fit or the arrays are on two devices.
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// let x = Device::cpu().array(&ndarray::arr2(&[[1.0f32, 2.0], [3.0, 4.0]]))?;
    /// assert_eq!(x.dot(&x.t()), ndarray::arr2(&[[5.0, 11.0], [11.0, 25.0]]));
    /// # Ok::<(), ndcuda::Error>(())
    /// ```
    #[doc(alias = "matmul")]
    #[track_caller]
    pub fn dot<E: Dimension>(&self, rhs: &DeviceArray<T, E>) -> DeviceArray<T, <D as Dot<E>>::Output>
    where
        D: Dot<E>,
    {
        expect(self.try_dot(rhs))
    }

    /// As [`dot`](Self::dot).
    ///
    /// # Errors
    /// [`crate::Error::Mismatch`] if the shapes do not fit, [`crate::Error::Devices`].
    #[track_caller]
    pub fn try_dot<E: Dimension>(&self, rhs: &DeviceArray<T, E>) -> Result<DeviceArray<T, <D as Dot<E>>::Output>>
    where
        D: Dot<E>,
    {
        self.same_device("dot", &rhs.device)?;
        let mul = if T::DTYPE == DType::Bool { &row::logical_and } else { &row::mul };
        let value = build::dot(&self.value, &rhs.value, mul, Location::caller())?;
        Ok(DeviceArray::wrap(value, &self.device))
    }

    /// As [`dot`](Self::dot), by NumPy's name.
    #[track_caller]
    pub fn matmul<E: Dimension>(&self, rhs: &DeviceArray<T, E>) -> DeviceArray<T, <D as Dot<E>>::Output>
    where
        D: Dot<E>,
    {
        self.dot(rhs)
    }
}
