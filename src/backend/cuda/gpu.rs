//! One GPU: its context, its one stream, and what every call needs of them.

use super::compile::Arch;
use super::driver::{self, check, driver};
use crate::error::{Error, Result};
use cudarc::driver::sys::{self, CUdevice_attribute_enum as Attribute, CUresult, CUstream};
use cudarc::driver::{CudaContext, CudaStream};
use std::panic::catch_unwind;
use std::sync::Arc;

/// The lowest architecture that kernels are compiled for.
pub const OLDEST: Arch = (7, 5);

/// A GPU in use by this process.
#[derive(Debug)]
pub struct Gpu {
    /// Its number, as the driver counts.
    pub index: usize,
    /// Its maker's name.
    pub name: String,
    /// Its architecture.
    pub arch: Arch,
    /// Whether it has stream-ordered memory pools.
    pub pools: bool,
    /// The primary context, which other CUDA code of the process shares.
    pub context: Arc<CudaContext>,
    /// The stream that everything runs on, in order.
    pub stream: Arc<CudaStream>,
}

impl Gpu {
    /// The GPU with this number.
    pub fn open(index: usize) -> Result<Gpu> {
        let unusable = |reason: String| Error::DeviceUnavailable { device: format!("cuda:{index}"), reason };
        let driver = driver().map_err(|m| unusable(m.reason.clone()))?;
        if index >= driver.devices {
            let (n, s) = (driver.devices, if driver.devices == 1 { "" } else { "s" });
            return Err(unusable(format!("the NVIDIA driver shows {n} GPU{s}, counted from 0")));
        }
        // cudarc panics on what a driver lacks; all it needs here was looked for, but nothing may get out.
        let made = catch_unwind(|| {
            let context = CudaContext::new(index)?;
            let attribute = |a| context.attribute(a);
            let arch = (
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
            );
            let name = context.name()?;
            // cudarc's tracking of events stays on: others get this context and may use streams of their own, and nothing here pays for it.
            let stream = context.new_stream()?;
            Ok((context, stream, arch, name))
        });
        let (context, stream, arch, name) = match made {
            Ok(Ok(all)) => all,
            Ok(Err(cudarc::driver::DriverError(status))) => {
                return Err(unusable(format!("the driver cannot open it: {}", driver::describe(status))));
            }
            Err(_) => return Err(unusable("the NVIDIA driver's library is broken: reinstall the driver".into())),
        };
        if arch < OLDEST {
            let (major, minor) = arch;
            return Err(unusable(format!(
                "{name} is of compute capability {major}.{minor}, and 7.5 (Turing, 2018) is the oldest that is served"
            )));
        }
        let pools = driver.pools && context.has_async_alloc();
        Ok(Gpu { index, name, arch, pools, context, stream })
    }

    /// What `Device` prints.
    pub fn title(&self) -> String {
        format!("cuda:{}", self.index)
    }

    /// Makes its context the calling thread's.
    pub fn bind(&self) -> Result<()> {
        // SAFETY: the context lives as long as `self`.
        self.check("cuCtxSetCurrent", unsafe { sys::cuCtxSetCurrent(self.context.cu_ctx()) })
    }

    /// The stream, for calls of the driver.
    pub fn cu_stream(&self) -> CUstream {
        self.stream.cu_stream()
    }

    /// Waits until everything on the stream has run.
    pub fn synchronize(&self) -> Result<()> {
        self.bind()?;
        // SAFETY: the stream lives as long as `self`.
        self.check("cuStreamSynchronize", unsafe { sys::cuStreamSynchronize(self.cu_stream()) })
    }

    /// `Ok` where a call of the driver succeeded.
    pub fn check(&self, call: &'static str, status: CUresult) -> Result<()> {
        check(self.index, call, status)
    }

    /// Bytes free on the device and bytes it has.
    pub fn free_memory(&self) -> Result<(usize, usize)> {
        self.bind()?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: the out pointers are valid.
        self.check("cuMemGetInfo", unsafe { sys::cuMemGetInfo_v2(&mut free, &mut total) })?;
        Ok((free, total))
    }

    /// Sets bytes to zero, in the stream's order.
    pub fn zero(&self, address: u64, bytes: usize) -> Result<()> {
        self.bind()?;
        // SAFETY: the callers own these bytes.
        self.check("cuMemsetD8Async", unsafe { sys::cuMemsetD8Async(address, 0, bytes, self.cu_stream()) })
    }
}

/// A moment in the stream.
#[derive(Debug)]
pub struct Event {
    event: sys::CUevent,
    gpu: Arc<Gpu>,
}

// SAFETY: an event is a handle that any thread may use while its context is bound, which every method does.
unsafe impl Send for Event {}

impl Event {
    /// An event that was not recorded; `timed` ones can be subtracted.
    pub fn new(gpu: &Arc<Gpu>, timed: bool) -> Result<Event> {
        gpu.bind()?;
        let flags = if timed { 0 } else { sys::CUevent_flags_enum::CU_EVENT_DISABLE_TIMING as u32 };
        let mut event = std::ptr::null_mut();
        // SAFETY: the out pointer is valid.
        gpu.check("cuEventCreate", unsafe { sys::cuEventCreate(&mut event, flags) })?;
        Ok(Event { event, gpu: gpu.clone() })
    }

    /// Notes where the stream is now.
    pub fn record(&self) -> Result<()> {
        self.gpu.bind()?;
        // SAFETY: event and stream are of one context and live.
        self.gpu.check("cuEventRecord", unsafe { sys::cuEventRecord(self.event, self.gpu.cu_stream()) })
    }

    /// Waits until the stream has come past it.
    pub fn wait(&self) -> Result<()> {
        self.gpu.bind()?;
        // SAFETY: the event lives.
        self.gpu.check("cuEventSynchronize", unsafe { sys::cuEventSynchronize(self.event) })
    }

    /// Seconds from this event to a later one, once both have passed.
    pub fn seconds_until(&self, end: &Event) -> Result<f64> {
        type Elapsed = unsafe extern "C" fn(*mut f32, sys::CUevent, sys::CUevent) -> CUresult;
        end.wait()?;
        // Drivers before CUDA 12.8 have the older name alone; the signature is the same.
        // SAFETY: the function's own signature.
        let found = unsafe {
            let library = sys::culib();
            library.get::<Elapsed>(b"cuEventElapsedTime_v2").or_else(|_| library.get::<Elapsed>(b"cuEventElapsedTime"))
        };
        let Ok(elapsed) = found else { return Ok(f64::NAN) };
        let mut ms = 0f32;
        // SAFETY: both events were recorded; the out pointer is valid.
        self.gpu.check("cuEventElapsedTime", unsafe { elapsed(&mut ms, self.event, end.event) })?;
        Ok(ms as f64 * 1e-3)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if self.gpu.bind().is_ok() {
            // SAFETY: made by cuEventCreate and destroyed once.
            unsafe { sys::cuEventDestroy_v2(self.event) };
        }
    }
}
