//! Stands between a test and NVRTC: each call goes on to the real library, unless a test asked for it to fail.
#![cfg(target_os = "linux")]
// The entry points have C's names and C's argument lists; what they promise stands in NVRTC's manual.
#![allow(non_snake_case, clippy::too_many_arguments)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::transmute_copy;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

unsafe extern "C" {
    fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

const RTLD_NOW: c_int = 2;
const RTLD_NOLOAD: c_int = 4;
/// The real library's own symbols come before ours, which have the same names.
const RTLD_DEEPBIND: c_int = 8;

/// `NVRTC_ERROR_INTERNAL_ERROR`: what is said where there is no real library.
const INTERNAL: c_int = 11;

/// The numbers of these calls among the driver's kinds.
const NVRTC: u32 = 11;
const COMPILE: u32 = 12;

/// A library's handle; 0 where it could not be opened.
fn open(name: &CStr, flags: c_int) -> usize {
    // SAFETY: a C string and valid flags.
    unsafe { dlopen(name.as_ptr(), flags) as usize }
}

/// A function of a library.
///
/// # Safety
/// The symbol has to be a function of type `F`.
unsafe fn function<F: Copy>(library: usize, name: &CStr) -> Option<F> {
    // SAFETY: an open library and a C string.
    let found = unsafe { dlsym(library as *mut c_void, name.as_ptr()) };
    // SAFETY: `F` is a function pointer by this function's contract.
    (library != 0 && !found.is_null()).then(|| unsafe { transmute_copy(&found) })
}

/// The real NVRTC.
fn real() -> usize {
    static REAL: OnceLock<usize> = OnceLock::new();
    *REAL.get_or_init(|| {
        let file = std::env::var("SOFTCUDA_NVRTC").ok().and_then(|f| CString::new(f).ok());
        file.map_or(0, |f| open(&f, RTLD_NOW | RTLD_DEEPBIND))
    })
}

/// Counts a call at the driver that is loaded in this process: the status that it has to fail with, or 0.
fn injected(kind: u32) -> c_int {
    static CHECK: OnceLock<Option<extern "C" fn(u32) -> c_int>> = OnceLock::new();
    // SAFETY: the function has this type in the driver stand-in's source.
    let check =
        CHECK.get_or_init(|| unsafe { function(open(c"libcuda.so", RTLD_NOW | RTLD_NOLOAD), c"softcuda_check") });
    check.map_or(0, |f| f(kind))
}

/// Defines entry points that go on to the real library's of the same name, after `before` says 0.
macro_rules! forward {
    ($($before:expr => fn $name:ident($($arg:ident: $ty:ty),* $(,)?);)*) => {$(
        #[doc = concat!("`", stringify!($name), "` of NVRTC.\n\n# Safety\nAs NVRTC's manual says.")]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> c_int {
            let name = const { CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) };
            // SAFETY: the function's own signature.
            let real = unsafe { function::<unsafe extern "C" fn($($ty),*) -> c_int>(real(), name.unwrap_or_default()) };
            match ($before, real) {
                // SAFETY: the arguments are what the caller passes to NVRTC.
                (0, Some(real)) => unsafe { real($($arg),*) },
                (0, None) => INTERNAL,
                (status, _) => status,
            }
        }
    )*};
}

type Program = *mut c_void;

forward! {
    injected(NVRTC) => fn nvrtcVersion(major: *mut c_int, minor: *mut c_int);
    injected(NVRTC) => fn nvrtcGetNumSupportedArchs(count: *mut c_int);
    injected(NVRTC) => fn nvrtcGetSupportedArchs(archs: *mut c_int);
    injected(NVRTC) => fn nvrtcCreateProgram(
        program: *mut Program, source: *const c_char, name: *const c_char, headers: c_int, texts: *const *const c_char,
        names: *const *const c_char,
    );
    compiling() => fn nvrtcCompileProgram(program: Program, count: c_int, options: *const *const c_char);
    0 => fn nvrtcDestroyProgram(program: *mut Program);
    injected(NVRTC) => fn nvrtcGetProgramLogSize(program: Program, size: *mut usize);
    injected(NVRTC) => fn nvrtcGetProgramLog(program: Program, log: *mut c_char);
    injected(NVRTC) => fn nvrtcGetPTXSize(program: Program, size: *mut usize);
    injected(NVRTC) => fn nvrtcGetPTX(program: Program, ptx: *mut c_char);
    injected(NVRTC) => fn nvrtcGetCUBINSize(program: Program, size: *mut usize);
    injected(NVRTC) => fn nvrtcGetCUBIN(program: Program, cubin: *mut c_char);
}

/// Compilations that take longer just now, and the most of them so far.
static LONGER: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// What a compilation fails with, or 0 once the time has passed that it is to take longer.
fn compiling() -> c_int {
    let longer = std::env::var("SOFTCUDA_NVRTC_MS").ok().and_then(|ms| ms.parse().ok()).unwrap_or(0);
    if longer > 0 {
        let [now, most] = &LONGER;
        most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
        std::thread::sleep(Duration::from_millis(longer));
        now.fetch_sub(1, SeqCst);
    }
    injected(COMPILE)
}

/// How many compilations were made to take longer at once at most.
#[unsafe(no_mangle)]
pub extern "C" fn softcuda_nvrtc_at_once() -> u64 {
    LONGER[1].load(SeqCst)
}

/// `nvrtcGetErrorString` of NVRTC.
#[unsafe(no_mangle)]
pub extern "C" fn nvrtcGetErrorString(status: c_int) -> *const c_char {
    type Real = unsafe extern "C" fn(c_int) -> *const c_char;
    // SAFETY: the function's own signature.
    let real = unsafe { function::<Real>(real(), c"nvrtcGetErrorString") };
    // SAFETY: any number may be asked for.
    real.map_or(c"no NVRTC".as_ptr(), |f| unsafe { f(status) })
}
