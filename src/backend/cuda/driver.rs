//! The NVIDIA driver: whether it is there, which version, which functions it has, and its errors as text.
//!
//! cudarc panics where a library or a symbol is missing, so nothing of it is called before [`driver`] found all that is needed.

use crate::error::{Error, Result};
use cudarc::driver::sys::{self, CUresult, cudaError_enum};
use std::ffi::CStr;
use std::panic::catch_unwind;
use std::sync::OnceLock;

/// What every program on a GPU calls. All of it has been there since CUDA 12.0.
const NEEDED: [&str; 32] = [
    "cuInit",
    "cuDriverGetVersion",
    "cuDeviceGet",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDeviceGetAttribute",
    "cuDevicePrimaryCtxRetain",
    "cuDevicePrimaryCtxRelease_v2",
    "cuCtxGetCurrent",
    "cuCtxSetCurrent",
    "cuCtxSynchronize",
    "cuGetErrorName",
    "cuGetErrorString",
    "cuMemAlloc_v2",
    "cuMemFree_v2",
    "cuMemGetInfo_v2",
    "cuMemHostAlloc",
    "cuMemFreeHost",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemsetD8Async",
    "cuModuleLoadData",
    "cuModuleGetFunction",
    "cuModuleUnload",
    "cuLaunchKernel",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamSynchronize",
    "cuEventCreate",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuEventDestroy_v2",
];

/// What stream-ordered memory pools need beside.
const POOLS: [&str; 6] = [
    "cuMemAllocAsync",
    "cuMemFreeAsync",
    "cuDeviceGetDefaultMemPool",
    "cuMemPoolSetAttribute",
    "cuMemPoolGetAttribute",
    "cuMemPoolTrimTo",
];

/// The oldest CUDA version a driver may be of.
const OLDEST: (i32, i32) = (12, 0);

/// The driver's library, as the system calls it.
const LIBRARY: &str = if cfg!(windows) { "nvcuda.dll" } else { "libcuda.so.1" };

/// A driver that can be used.
#[derive(Clone, Debug)]
pub struct Driver {
    /// The CUDA version it is of.
    pub version: (i32, i32),
    /// How many GPUs it shows.
    pub devices: usize,
    /// Whether it has the functions of stream-ordered memory pools.
    pub pools: bool,
}

/// Why there is no driver to use.
#[derive(Clone, Debug)]
pub struct Missing {
    /// What is wrong and what to do.
    pub reason: String,
    /// Whether a driver is here all the same.
    pub installed: bool,
}

/// The driver, looked for once.
pub fn driver() -> Result<&'static Driver, &'static Missing> {
    static DRIVER: OnceLock<Result<Driver, Missing>> = OnceLock::new();
    DRIVER
        .get_or_init(|| {
            // Whatever cudarc or a broken library does, the program goes on.
            catch_unwind(look).unwrap_or_else(|_| {
                Err(Missing {
                    reason: "the NVIDIA driver's library is broken: reinstall the driver".into(),
                    installed: true,
                })
            })
        })
        .as_ref()
}

/// Whether the driver has this function.
pub fn has(name: &str) -> bool {
    // SAFETY: the symbol is only looked up, not called.
    unsafe { sys::culib().get::<unsafe extern "C" fn()>(name.as_bytes()) }.is_ok()
}

fn look() -> Result<Driver, Missing> {
    let unusable = |reason: String| Missing { reason, installed: true };
    // SAFETY: opens and closes the library by its usual names.
    if !unsafe { sys::is_culib_present() } {
        return Err(match why_not() {
            None => {
                Missing { reason: format!("no NVIDIA driver is installed ({LIBRARY} was not found)"), installed: false }
            }
            Some(why) => unusable(format!("the NVIDIA driver does not load: {why}; reinstall the driver")),
        });
    }
    let absent: Vec<&str> = NEEDED.into_iter().filter(|name| !has(name)).collect();
    if !absent.is_empty() {
        return Err(unusable(format!(
            "the NVIDIA driver is too old: it lacks {}; install driver 525 or newer",
            absent.join(", ")
        )));
    }
    let mut version = 0;
    // SAFETY: the out pointer is valid.
    let status = unsafe { sys::cuDriverGetVersion(&mut version) };
    if status != CUresult::CUDA_SUCCESS {
        return Err(unusable(format!("the NVIDIA driver does not tell its version: {}", describe(status))));
    }
    let version = (version / 1000, version % 1000 / 10);
    if version < OLDEST {
        let (major, minor) = version;
        return Err(unusable(format!(
            "the NVIDIA driver is too old: it is of CUDA {major}.{minor}, and 12.0 is needed; install driver 525 or newer"
        )));
    }
    // SAFETY: no pointer is passed.
    match unsafe { sys::cuInit(0) } {
        CUresult::CUDA_SUCCESS => {}
        status => return Err(unusable(init_failure(status))),
    }
    let mut devices = 0;
    // SAFETY: the out pointer is valid.
    let status = unsafe { sys::cuDeviceGetCount(&mut devices) };
    if status != CUresult::CUDA_SUCCESS {
        return Err(unusable(format!("the NVIDIA driver does not count its GPUs: {}", describe(status))));
    }
    if devices <= 0 {
        return Err(unusable(no_device()));
    }
    let pools = POOLS.into_iter().all(has);
    Ok(Driver { version, devices: devices as usize, pools })
}

/// Why a driver that is here does not load; none where there is no file of its name.
fn why_not() -> Option<String> {
    // SAFETY: opening runs the library's initialisers, as every program that links it does; it was tried before.
    let error = unsafe { libloading::Library::new(LIBRARY) }.err()?;
    let cause = std::error::Error::source(&error).map_or(String::new(), |source| format!(": {source}"));
    let text = format!("{error}{cause}");
    let absent = if cfg!(windows) {
        text.contains("os error 126")
    } else if cfg!(target_os = "macos") {
        true
    } else {
        // A library that the driver needs and that is not there is named in its place.
        text.contains(&format!("{LIBRARY}: ")) && text.ends_with("No such file or directory")
    };
    (!absent).then_some(text)
}

fn no_device() -> String {
    match std::env::var("CUDA_VISIBLE_DEVICES") {
        Ok(v) => format!("the NVIDIA driver shows no GPU: CUDA_VISIBLE_DEVICES={v} hides them, or there is none"),
        Err(_) => "the NVIDIA driver shows no GPU: none is built in, or it is not passed to this container".into(),
    }
}

/// What a failed `cuInit` means and what to do.
fn init_failure(status: CUresult) -> String {
    match status {
        cudaError_enum::CUDA_ERROR_NO_DEVICE => no_device(),
        cudaError_enum::CUDA_ERROR_STUB_LIBRARY => {
            "libcuda.so.1 is the toolkit's stub, not a driver: take its folder out of LD_LIBRARY_PATH or install the driver".into()
        }
        cudaError_enum::CUDA_ERROR_SYSTEM_DRIVER_MISMATCH => {
            "libcuda.so.1 and the kernel's NVIDIA module are of different versions: restart the machine after the driver's update"
                .into()
        }
        cudaError_enum::CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE => {
            "a CUDA compatibility package (cuda-compat) is in use that this GPU does not support: take its folder out of LD_LIBRARY_PATH"
                .into()
        }
        cudaError_enum::CUDA_ERROR_SYSTEM_NOT_READY => {
            "the NVIDIA driver is not ready: start its services (nvidia-fabricmanager on machines with NVSwitch)".into()
        }
        _ => format!("the NVIDIA driver does not start: {}; see whether nvidia-smi works", describe(status)),
    }
}

/// A status as text: its name and what it means, as the driver says it.
pub fn describe(status: CUresult) -> String {
    let text = |f: unsafe fn(CUresult, *mut *const std::ffi::c_char) -> CUresult| {
        let mut p = std::ptr::null();
        // SAFETY: the out pointer is valid; what comes back is a string constant of the driver, or null.
        unsafe {
            let found = f(status, &mut p) == CUresult::CUDA_SUCCESS && !p.is_null();
            found.then(|| CStr::from_ptr(p).to_string_lossy().into_owned())
        }
    };
    match (text(sys::cuGetErrorName), text(sys::cuGetErrorString)) {
        (Some(name), Some(meaning)) => format!("{name}: {meaning}"),
        (Some(name), None) => name,
        _ => format!("error {}", status as u32),
    }
}

/// An error of the driver on a device.
pub fn failed(device: usize, call: &'static str, status: CUresult) -> Error {
    Error::Driver { device: format!("cuda:{device}"), call, reason: describe(status) }
}

/// `Ok` where a call of the driver succeeded.
pub fn check(device: usize, call: &'static str, status: CUresult) -> Result<()> {
    match status {
        CUresult::CUDA_SUCCESS => Ok(()),
        status => Err(failed(device, call, status)),
    }
}
