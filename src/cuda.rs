//! Sharing arrays with other CUDA code of the same process: addresses out, memory in, and the context and stream everything runs on.
//!
//! All work of a GPU is queued on one stream, [`Device::cuda_stream`]. A kernel that is launched there needs no synchronisation: it comes
//! after everything that was evaluated before and ahead of everything evaluated later. On another stream, wait for events of this one
//! (`other.join(&stream)`) before reading, and make this one wait before arrays over the results are evaluated.

use crate::array::DeviceArray;
use crate::backend::cuda::Gpu;
use crate::buffer::Buffer;
use crate::device::Device;
use crate::dtype::Element;
use crate::error::{Error, Result};
use crate::graph::{Node, Stored, Value};
use crate::layout::{Layout, check};
use ndarray::{Dimension, IntoDimension};
use std::any::Any;
use std::panic::Location;
use std::sync::Arc;

pub use cudarc;
pub use cudarc::driver::{CudaContext, CudaStream};

/// Where an array lies on its GPU. The memory stays as it is while this lives; once it goes, whatever this device queues next may write there.
///
/// So it has to outlive the work that reads the address: on the device's own stream until that work is queued, on another stream until it has
/// run, or until this device's stream was made to wait for it (`stream.join(&other)`).
#[derive(Clone, Debug)]
pub struct DevicePtr {
    address: u64,
    strides: Box<[isize]>,
    _memory: Buffer,
}

impl DevicePtr {
    /// The address of the first element (of index 0 along every axis).
    pub fn address(&self) -> u64 {
        self.address
    }

    /// How many elements to go for the next index along each axis; results need not lie in C order.
    pub fn strides(&self) -> &[isize] {
        &self.strides
    }
}

/// Memory of someone else's, given back once the stream is past its last use.
struct Foreign {
    owner: Option<Box<dyn Any + Send + Sync>>,
    gpu: Arc<Gpu>,
}

impl Drop for Foreign {
    fn drop(&mut self) {
        // The owner may free it at once or on a stream of its own. A failure is the device's, and its next call tells.
        let _ = self.gpu.synchronize();
        drop(self.owner.take());
    }
}

fn no_gpu(device: &Device) -> Error {
    Error::DeviceUnavailable { device: device.to_string(), reason: "only arrays on a GPU have device addresses".into() }
}

impl Device {
    /// The CUDA context that this GPU's arrays live in (the primary one), with cudarc's tracking of events on; none for the CPU.
    pub fn cuda_context(&self) -> Option<Arc<CudaContext>> {
        Some(self.as_cuda()?.gpu().context.clone())
    }

    /// The stream that everything on this GPU is queued on; none for the CPU.
    pub fn cuda_stream(&self) -> Option<Arc<CudaStream>> {
        Some(self.as_cuda()?.gpu().stream.clone())
    }

    /// An array over memory that other CUDA code made, in C order, without a copy. `owner` is dropped once the last array over it is gone
    /// and the stream is past its last use. It is only read: results are never written over it.
    ///
    /// # Safety
    /// From `address` on there are as many elements of `T` as the shape has, in memory of this GPU that its context can read, until
    /// `owner` is dropped. Each is a value of its type: a byte of a `bool` is 0 or 1. What writes them comes before on this device's stream or has finished, and nothing writes them while an
    /// array over them lives.
    ///
    /// # Errors
    /// [`Error::DeviceUnavailable`] on the CPU; [`Error::Shape`] if the address is not aligned for `T` or the shape is none.
    #[track_caller]
    pub unsafe fn from_raw<T: Element, S: IntoDimension>(
        &self,
        address: u64,
        shape: S,
        owner: impl Any + Send + Sync,
    ) -> Result<DeviceArray<T, S::Dim>> {
        let Some(cuda) = self.as_cuda() else { return Err(no_gpu(self)) };
        let shape = shape.into_dimension();
        check("from_raw", shape.slice())?;
        if !address.is_multiple_of(align_of::<T>() as u64) {
            let reason = format!("the address {address:#x} is not aligned for {}", T::DTYPE);
            return Err(Error::Shape { op: "from_raw", shape: shape.slice().into(), reason });
        }
        let layout = Layout::c_order(shape.slice());
        let owner = Foreign { owner: Some(Box::new(owner)), gpu: cuda.gpu().clone() };
        // SAFETY: the caller's.
        let buffer = unsafe { Buffer::new(address as usize, shape.size() * size_of::<T>(), Box::new(owner)) };
        buffer.share();
        let node = Node::stored(self.id(), T::DTYPE, Stored { buffer, layout }, Location::caller());
        Ok(DeviceArray::wrap(Value::whole(node), self))
    }
}

impl<T: Element, D: Dimension> DeviceArray<T, D> {
    /// Evaluates, and tells where the elements are on the GPU, for other CUDA code to read. They may not be written: an array is a value,
    /// and others may share its memory.
    ///
    /// # Errors
    /// As [`eval`](Self::eval); [`Error::DeviceUnavailable`] on the CPU.
    pub fn as_device_ptr(&self) -> Result<DevicePtr> {
        if self.device().as_cuda().is_none() {
            return Err(no_gpu(self.device()));
        }
        let Stored { buffer, layout } = self.stored()?;
        buffer.share();
        let address = (buffer.address() + layout.offset * size_of::<T>()) as u64;
        Ok(DevicePtr { address, strides: layout.strides.to_vec().into(), _memory: buffer })
    }
}
