//! Evaluating several arrays at once, so that they share kernels.

use crate::array::DeviceArray;
use crate::device::Device;
use crate::dtype::Element;
use crate::error::Result;
use crate::graph::Node;
use ndarray::Dimension;
use std::sync::Arc;

/// What `eval` takes: an array, a reference to one, or a tuple (of up to six), array, vector or slice of those.
pub trait Roots {
    /// Adds the nodes and notes the device.
    #[doc(hidden)]
    fn roots(&self, out: &mut RootList) -> Result<()>;
}

/// The nodes an evaluation is asked for.
#[derive(Default, Debug)]
pub struct RootList {
    device: Option<Device>,
    nodes: Vec<Arc<Node>>,
}

impl<T: Element, D: Dimension> Roots for DeviceArray<T, D> {
    fn roots(&self, out: &mut RootList) -> Result<()> {
        match &out.device {
            Some(d) if *d != self.device => {
                return Err(d.is_not("eval", &self.device));
            }
            _ => out.device = Some(self.device.clone()),
        }
        out.nodes.push(self.value.node.clone());
        Ok(())
    }
}

impl<R: Roots + ?Sized> Roots for &R {
    fn roots(&self, out: &mut RootList) -> Result<()> {
        (**self).roots(out)
    }
}

impl<R: Roots> Roots for [R] {
    fn roots(&self, out: &mut RootList) -> Result<()> {
        self.iter().try_for_each(|r| r.roots(out))
    }
}

impl<R: Roots, const N: usize> Roots for [R; N] {
    fn roots(&self, out: &mut RootList) -> Result<()> {
        self[..].roots(out)
    }
}

impl<R: Roots> Roots for Vec<R> {
    fn roots(&self, out: &mut RootList) -> Result<()> {
        self[..].roots(out)
    }
}

macro_rules! tuples {
    ($(($($R:ident $n:tt),+))*) => {$(
        impl<$($R: Roots),+> Roots for ($($R,)+) {
            fn roots(&self, out: &mut RootList) -> Result<()> {
                $(self.$n.roots(out)?;)+
                Ok(())
            }
        }
    )*};
}

tuples! {
    (A 0) (A 0, B 1) (A 0, B 1, C 2) (A 0, B 1, C 2, E 3) (A 0, B 1, C 2, E 3, F 4) (A 0, B 1, C 2, E 3, F 4, G 5)
}

/// Evaluates several arrays of one device together: what they share is computed once, and values of one shape that read
/// the same memory come from one kernel.
///
/// # Errors
/// [`crate::Error::Devices`] for arrays of several devices; else whatever the operations or the device fail with.
///
/// ```
/// use ndcuda::prelude::*;
/// let x = Device::cpu().array(&ndarray::arr1(&[3.0f64, 1.0, 2.0]))?;
/// let (low, high) = (x.min(), x.max());
/// let (_, trace) = ndcuda::debug::trace(|| ndcuda::eval((&low, &high)));
/// assert_eq!((low.item()?, high.item()?, trace.kernels), (1.0, 3.0, 1));
/// # Ok::<(), ndcuda::Error>(())
/// ```
pub fn eval(arrays: impl Roots) -> Result<()> {
    let mut list = RootList::default();
    arrays.roots(&mut list)?;
    match list.device {
        Some(device) => crate::eval::nodes(&device, &list.nodes, crate::eval::Why::Asked),
        None => Ok(()),
    }
}
