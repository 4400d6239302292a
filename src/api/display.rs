//! Printing: `Display` evaluates and prints as `ndarray` does; `Debug` never evaluates. `show` says what would run.

use crate::array::DeviceArray;
use crate::dtype::Element;
use crate::error::Result;
use ndarray::Dimension;
use std::fmt;

macro_rules! formats {
    ($($format:ident)*) => {$(
        impl<T: Element + fmt::$format, D: Dimension> fmt::$format for DeviceArray<T, D> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.with_host(|a| fmt::$format::fmt(&a, f)) {
                    Ok(r) => r,
                    Err(e) => write!(f, "<{e}>"),
                }
            }
        }
    )*};
}

formats!(Display LowerExp UpperExp LowerHex Binary);

impl<T: Element, D: Dimension> fmt::Debug for DeviceArray<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.value.node.value() {
            Some(Ok(s)) => format!("stored {:?}", s.layout.view(&self.value.view())),
            Some(Err(e)) => format!("failed: {e}"),
            None => format!("pending, depth {}", self.value.node.pending_depth()),
        };
        write!(f, "DeviceArray<{}>{:?} on {} ({state})", T::DTYPE, self.shape(), self.device)
    }
}

impl<T: Element, D: Dimension> DeviceArray<T, D> {
    /// What evaluating this array now would run: what is read and stored, and why, its kernels, and their bytes.
    ///
    /// # Errors
    /// As [`eval`](Self::eval), without running anything.
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// let x = Device::cpu().ones::<f32, _>((3, 4));
    /// let text = (&x + 1.0).sum_axis(Axis(1)).show()?;
    /// assert!(text.contains("1 kernel"));
    /// # Ok::<(), ndcuda::Error>(())
    /// ```
    pub fn show(&self) -> Result<String> {
        crate::eval::show(&self.device, &self.value.node)
    }

    /// The CUDA C++ text of each fused kernel that evaluating this array now would run on a GPU (products of matrices go
    /// to a library and have none). Needs no GPU.
    ///
    /// # Errors
    /// As [`eval`](Self::eval), without running anything.
    ///
    /// ```
    /// # use ndcuda::prelude::*;
    /// let x = Device::cpu().ones::<f32, _>(4);
    /// assert!((&x + 1.0).cuda_source()?[0].contains("__global__"));
    /// # Ok::<(), ndcuda::Error>(())
    /// ```
    pub fn cuda_source(&self) -> Result<Vec<String>> {
        crate::eval::cuda_source(&self.device, &self.value.node)
    }

    /// The pending expression as a graph in DOT.
    pub fn dot_graph(&self) -> String {
        crate::graph::show::dot(&self.value.node)
    }
}
