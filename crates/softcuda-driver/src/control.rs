//! A test's way to the loaded library: settings, counters, faults, what is alive.
//!
//! The library that cudarc loads has its own statics: those of this crate, linked into a test, are others. So everything goes through `dlsym`.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::transmute_copy;
use std::path::{Path, PathBuf};

pub use crate::inject::{KINDS, Kind};
pub use crate::record::{Counters, KernelCounters, LaunchRecord, Live};

unsafe extern "C" {
    fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    fn dlerror() -> *const c_char;
}

const RTLD_NOW: c_int = 2;
const RTLD_GLOBAL: c_int = 0x100;

/// The loaded driver.
#[derive(Clone, Copy, Debug)]
pub struct Control {
    library: usize,
}

/// What the cuBLAS stand-in was asked for.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct BlasLog {
    /// Products and matrix-vector products that were given to a stream.
    pub calls: u64,
    /// Those for which TF32 or another type of lower precision than the operands' was allowed.
    pub reduced: u64,
    /// Those whose 16-bit sums were not barred from being reduced in 16 bits.
    pub reduced_reductions: u64,
    /// `cublasMath_t` of the last one.
    pub math_mode: u64,
    /// `cublasComputeType_t` of the last one.
    pub compute_type: u64,
    /// Handles that are alive.
    pub handles: u64,
}

/// The path of a library of this workspace that was built for the running test: in the test's folder, or its parent.
pub fn built(file: &str) -> Result<PathBuf, String> {
    let test = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut folders = test.ancestors().skip(1);
    let places: Vec<PathBuf> =
        folders.by_ref().take(2).flat_map(|f| [f.join(file), f.join("deps").join(file)]).collect();
    let found = places.iter().find(|p| p.exists()).cloned();
    found.ok_or_else(|| format!("{file} is not built: looked for {}", places[0].display()))
}

/// NVRTC as `.ci/run` fetches it into target/, newest first; none where it was not fetched.
pub fn compilers() -> Vec<PathBuf> {
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/nvrtc-venv/lib");
    let pythons = std::fs::read_dir(lib).into_iter().flatten().flatten().map(|e| e.path());
    let sites: Vec<PathBuf> = pythons.map(|p| p.join("site-packages/nvidia")).collect();
    let files = ["cu13/lib/libnvrtc.so.13", "cuda_nvrtc/lib/libnvrtc.so.12"];
    let all = files.iter().flat_map(|f| sites.iter().map(move |s| s.join(f))).filter(|p| p.exists());
    // Without `..`: a library looks beside itself for another.
    all.filter_map(|p| p.canonicalize().ok()).collect()
}

/// How many compilations were under way at once at most, of those that went through `softcuda-nvrtc` and had to take longer.
pub fn compilations_at_once() -> Result<u64, String> {
    let library = open(&built("libsoftcuda_nvrtc.so")?)?;
    // SAFETY: the function has this type in the library's source.
    let read: extern "C" fn() -> u64 = unsafe { symbol(library, c"softcuda_nvrtc_at_once") };
    Ok(read())
}

/// Opens a library by its path, so that a later lookup of its soname finds it; it is never closed.
pub fn open(path: &Path) -> Result<usize, String> {
    let name = CString::new(path.as_os_str().as_encoded_bytes()).map_err(|e| e.to_string())?;
    // SAFETY: a C string and valid flags.
    let library = unsafe { dlopen(name.as_ptr(), RTLD_NOW | RTLD_GLOBAL) };
    if library.is_null() {
        // SAFETY: after a failure there is a message.
        let text = unsafe { CStr::from_ptr(dlerror()) };
        return Err(text.to_string_lossy().into_owned());
    }
    Ok(library as usize)
}

/// Opens the cuBLAS stand-in; call it after [`Control::load`] and before the first use of cuBLAS.
pub fn load_blas() -> Result<Blas, String> {
    Ok(Blas { library: open(&built("libsoftcuda_blas.so")?)? })
}

/// The loaded cuBLAS stand-in.
#[derive(Clone, Copy, Debug)]
pub struct Blas {
    library: usize,
}

impl Blas {
    /// What it was asked for since it was loaded.
    pub fn log(&self) -> BlasLog {
        let mut log = BlasLog::default();
        // SAFETY: the function has this type in the library's source.
        let read: extern "C" fn(*mut BlasLog) = unsafe { symbol(self.library, c"softcuda_blas_log") };
        read(&mut log);
        log
    }
}

/// A function of a library.
///
/// # Safety
/// The symbol has to be a function of type `F`.
unsafe fn symbol<F: Copy>(library: usize, name: &CStr) -> F {
    // SAFETY: an open library and a C string.
    let found = unsafe { dlsym(library as *mut c_void, name.as_ptr()) };
    assert!(!found.is_null(), "{name:?} is missing: the library was built from another version");
    // SAFETY: `F` is a function pointer by this function's contract.
    unsafe { transmute_copy(&found) }
}

/// Calls a function of the library by name; the types stand in `inject.rs` and `record.rs`.
macro_rules! call {
    ($self:ident, $name:literal, fn($($ty:ty),*) $(-> $out:ty)?, $($arg:expr),*) => {{
        // SAFETY: the function has this type in this crate's source.
        let function: extern "C" fn($($ty),*) $(-> $out)? = unsafe { symbol($self.library, $name) };
        function($($arg),*)
    }};
}

/// An entry point of the driver that a program called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its name, version and all.
    pub name: String,
    /// How often it was called.
    pub calls: u64,
    /// How many calls are left until one fails; 0 once it has.
    pub left: u64,
}

/// A text, from a function that writes what fits a buffer and gives the whole length.
fn whole(write: impl Fn(*mut u8, usize) -> usize) -> String {
    let mut text = vec![0; write(std::ptr::null_mut(), 0) + 1];
    let len = write(text.as_mut_ptr(), text.len());
    // It may have grown meanwhile.
    text.truncate(len.min(text.len() - 1));
    String::from_utf8_lossy(&text).into_owned()
}

impl Control {
    /// Opens the library that was built with this test.
    pub fn load() -> Result<Control, String> {
        Ok(Control { library: open(&built("libsoftcuda_driver.so")?)? })
    }

    /// Sets a variable such as `SOFTCUDA_CC` for this process; an error once `cuInit` was called.
    pub fn configure(&self, key: &str, value: &str) -> Result<(), String> {
        let text = |s: &str| CString::new(s).map_err(|e| e.to_string());
        let (k, v) = (text(key)?, text(value)?);
        match call!(self, c"softcuda_configure", fn(*const c_char, *const c_char) -> i32, k.as_ptr(), v.as_ptr()) {
            0 => Ok(()),
            _ => Err(format!("{key} is set too late: the driver is in use")),
        }
    }

    /// What this thread did since the last reset; its deferred work counts for it, whoever runs it.
    pub fn counters(&self) -> Counters {
        let mut counters = Counters::default();
        call!(self, c"softcuda_counters", fn(*mut Counters), &mut counters);
        counters
    }

    /// Sets this thread's counters to zero and forgets its launches.
    pub fn reset(&self) {
        call!(self, c"softcuda_reset", fn(),)
    }

    /// Keeps a record of each of this thread's launches, or no longer.
    pub fn record(&self, on: bool) {
        call!(self, c"softcuda_record", fn(i32), on.into())
    }

    /// This thread's launches since recording was switched on or reset.
    pub fn launches(&self) -> Vec<LaunchRecord> {
        let count = call!(self, c"softcuda_launch_count", fn() -> u64,);
        let one = |i| {
            let mut record = LaunchRecord::default();
            call!(self, c"softcuda_launch_at", fn(u64, *mut LaunchRecord) -> i32, i, &mut record);
            record
        };
        (0..count).map(one).collect()
    }

    /// What is alive in the whole process.
    pub fn live(&self) -> Live {
        let mut live = Live::default();
        call!(self, c"softcuda_live", fn(*mut Live), &mut live);
        live
    }

    /// Lets the peak of device memory start from what is in use now.
    pub fn reset_peak(&self) {
        call!(self, c"softcuda_reset_peak", fn(),)
    }

    /// The last finding of a detector in this process, in full.
    pub fn last_fault(&self) -> Option<String> {
        let text = whole(|at, len| call!(self, c"softcuda_last_fault", fn(*mut u8, usize) -> usize, at, len));
        (!text.is_empty()).then_some(text)
    }

    /// The `nth` call of a kind from now fails (1 is the next one); 0 calls it off.
    pub fn fail(&self, kind: Kind, nth: u64) {
        self.fail_with(kind, nth, 0)
    }

    /// As [`Control::fail`], with an error code of the test's choice.
    pub fn fail_with(&self, kind: Kind, nth: u64, code: i32) {
        self.fail_times(kind, nth, 1, code)
    }

    /// As [`Control::fail_with`]; so do the calls of that kind behind it, `times` in all.
    pub fn fail_times(&self, kind: Kind, nth: u64, times: u64, code: i32) {
        call!(self, c"softcuda_fail", fn(u32, u64, u64, i32), kind as u32, nth, times, code)
    }

    /// How many calls of the kind are left until one fails; 0 once it has.
    pub fn fail_left(&self, kind: Kind) -> u64 {
        call!(self, c"softcuda_fail_left", fn(u32) -> u64, kind as u32)
    }

    /// How many calls of a kind the process made.
    pub fn calls(&self, kind: Kind) -> u64 {
        call!(self, c"softcuda_calls", fn(u32) -> u64, kind as u32)
    }

    /// The `nth` call from now that the program makes of an entry point fails before it does anything, with this code; 0 calls it off.
    pub fn fail_entry(&self, entry: &str, nth: u64, code: i32) {
        let name = CString::new(entry).unwrap_or_default();
        call!(self, c"softcuda_fail_entry", fn(*const c_char, u64, u64, i32), name.as_ptr(), nth, 1, code)
    }

    /// The entry points that the program called so far.
    pub fn entries(&self) -> Vec<Entry> {
        let text = whole(|at, len| call!(self, c"softcuda_entries", fn(*mut u8, usize) -> usize, at, len));
        let entry = |line: &str| {
            let mut words = line.split(' ');
            let name = words.next()?.to_string();
            let mut number = || words.next()?.parse().ok();
            Some(Entry { name, calls: number()?, left: number()? })
        };
        text.lines().filter_map(entry).collect()
    }

    /// Every call fails from now on with this code, such as 46 (`CUDA_ERROR_DEVICE_UNAVAILABLE`).
    pub fn lose_device(&self, code: i32) {
        call!(self, c"softcuda_lose", fn(i32), code)
    }

    /// The lost device is back.
    pub fn find_device(&self) {
        self.lose_device(0)
    }
}
