//! The driver stand-in that is loaded in this process, found by its symbols.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::transmute_copy;
use std::sync::OnceLock;

unsafe extern "C" {
    fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// What the driver lends to a function that it runs in stream order.
#[repr(C)]
pub struct Access {
    gpu: *const c_void,
    read: extern "C" fn(*const c_void, u64, *mut c_void, usize) -> i32,
    write: extern "C" fn(*const c_void, u64, *mut c_void, usize) -> i32,
}

/// The driver has reported why; the number is its `CUresult`.
pub struct Fault(i32);

impl Access {
    /// Bytes of device memory.
    pub fn read(&self, from: u64, len: usize) -> Result<Vec<u8>, Fault> {
        let mut bytes = vec![0; len];
        match (self.read)(self.gpu, from, bytes.as_mut_ptr().cast(), len) {
            0 => Ok(bytes),
            code => Err(Fault(code)),
        }
    }

    /// Writes device memory.
    pub fn write(&self, to: u64, bytes: &[u8]) -> Result<(), Fault> {
        match (self.write)(self.gpu, to, bytes.as_ptr().cast_mut().cast(), bytes.len()) {
            0 => Ok(()),
            code => Err(Fault(code)),
        }
    }
}

type Run = extern "C" fn(*const Access, *mut c_void) -> i32;

/// The number of these calls among the driver's kinds.
const BLAS: u32 = 9;

/// The driver's functions for this library.
struct Driver {
    device_op: extern "C" fn(usize, Run, *mut c_void) -> i32,
    check: extern "C" fn(u32) -> i32,
    current: extern "C" fn() -> usize,
}

fn symbol(library: *mut c_void, name: &CStr) -> Option<*mut c_void> {
    // SAFETY: an open library (null: all that are loaded for everybody) and a C string.
    let found = unsafe { dlsym(library, name.as_ptr()) };
    (!found.is_null()).then_some(found)
}

fn driver() -> Option<&'static Driver> {
    static DRIVER: OnceLock<Option<Driver>> = OnceLock::new();
    let find = || {
        // The library that cudarc opened for itself has no symbols for others: it is asked for by its name. 6: RTLD_NOW | RTLD_NOLOAD.
        // SAFETY: a C string and valid flags.
        let library = unsafe { dlopen(c"libcuda.so".as_ptr(), 6) };
        let [op, check, current] = [c"softcuda_device_op", c"softcuda_check", c"softcuda_current"];
        let [op, check, current] = [symbol(library, op)?, symbol(library, check)?, symbol(library, current)?];
        // SAFETY: the functions have these types in the driver stand-in's source.
        unsafe {
            Some(Driver {
                device_op: transmute_copy(&op),
                check: transmute_copy(&check),
                current: transmute_copy(&current),
            })
        }
    };
    DRIVER.get_or_init(find).as_ref()
}

/// The handle of the calling thread's current context, if it has one that works.
pub fn current_context() -> Option<usize> {
    driver().map(|d| (d.current)()).filter(|&c| c != 0)
}

/// The status that this call has to fail with, if a test asked for one.
pub fn injected() -> i32 {
    driver().map_or(0, |d| (d.check)(BLAS))
}

type Work = Box<dyn FnOnce(&Access) -> Result<(), Fault>>;

extern "C" fn run(access: *const Access, data: *mut c_void) -> i32 {
    // SAFETY: `submit` made it of such a box, and the driver calls this once.
    let work = unsafe { Box::from_raw(data as *mut Work) };
    // SAFETY: null, or valid for the time of this call.
    match unsafe { access.as_ref() } {
        // Whatever happens in here, it must not cross into C.
        Some(access) => match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(access))) {
            Ok(Ok(())) => 0,
            Ok(Err(Fault(code))) => code,
            Err(_) => 999,
        },
        None => 0,
    }
}

/// Gives a stream work on device memory; whether the driver took it.
pub fn submit(stream: usize, work: impl FnOnce(&Access) -> Result<(), Fault> + 'static) -> bool {
    let Some(driver) = driver() else { return false };
    let data = Box::into_raw(Box::new(Box::new(work) as Work)) as *mut c_void;
    let taken = (driver.device_op)(stream, run, data) == 0;
    if !taken {
        // SAFETY: the driver did not take it, so it is still ours.
        drop(unsafe { Box::from_raw(data as *mut Work) });
    }
    taken
}
