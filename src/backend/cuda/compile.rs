//! NVRTC: from CUDA C++ text to code for a device, with the library's own functions called from the file that was found.

use super::background;
use super::driver::driver;
use super::emit::{self, Variant};
use super::gpu::OLDEST;
use super::libs;
use crate::debug;
use crate::error::{Error, Result};
use crate::kernel::{Class, KernelIr};
use libloading::Library;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::{null, null_mut};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// How every kernel is compiled: no contraction (bits are those of the CPU), and the language the headers are written in.
const OPTIONS: [&str; 2] = ["--fmad=false", "--std=c++17"];
/// And from this version on: without what comes with every program and none of ours uses, a fifth of a small kernel's time.
const MINIMAL: ((i32, i32), &str) = ((12, 9), "--minimal");
/// And folds along rows or columns, which wait for memory: a third less, for some more registers.
const QUICK: ((i32, i32), &str) = ((12, 9), "--Ofast-compile=min");

/// How kernels are compiled by whatever version, for keys: which options a kernel has follows from its text and the version.
pub fn options() -> String {
    let newer = [MINIMAL, QUICK].map(|((major, minor), option)| format!("{major}.{minor}:{option}"));
    format!("{} {}", OPTIONS.join(" "), newer.join(" "))
}

/// What NVRTC is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Form {
    /// Machine code of one architecture.
    Cubin,
    /// Text that the driver compiles.
    Ptx,
}

/// A kernel's text and its name in it.
#[derive(Clone, Debug)]
pub struct Text {
    /// Headers and kernel.
    pub source: String,
    /// Where the kernel begins: what keys and numbered lines start from.
    pub body: usize,
    /// The function's name.
    pub name: String,
    /// Whether the compiler may spare work: it waits for memory whatever its code is.
    pub quick: bool,
}

impl Text {
    /// A kernel's, specialised for some launches.
    pub fn new(ir: &KernelIr, variant: &Variant) -> Result<Text> {
        let mut source = emit::headers();
        let body = source.len();
        source += &emit::body(ir, variant)?;
        let quick = matches!(ir.class, Class::Rows | Class::Columns);
        Ok(Text { source, body, name: emit::name(ir), quick })
    }

    /// The kernel without the headers.
    pub fn own(&self) -> &str {
        &self.source[self.body..]
    }
}

/// An architecture, as `(8, 9)`.
pub type Arch = (i32, i32);

type Program = *mut c_void;

/// NVRTC's functions.
#[derive(Debug)]
pub struct Nvrtc {
    create: unsafe extern "C" fn(
        *mut Program,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> c_int,
    compile: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int,
    destroy: unsafe extern "C" fn(*mut Program) -> c_int,
    meaning: unsafe extern "C" fn(c_int) -> *const c_char,
    log_size: Size,
    log: Bytes,
    ptx_size: Size,
    ptx: Bytes,
    cubin_size: Size,
    cubin: Bytes,
    archs: Vec<i32>,
    /// What a program of one line was compiled for, and why that failed where it did.
    tried: Mutex<Vec<Tried>>,
    /// Its version.
    pub version: (i32, i32),
    /// The file it is, or the name the loader found it by.
    pub file: String,
}

type Size = unsafe extern "C" fn(Program, *mut usize) -> c_int;
type Bytes = unsafe extern "C" fn(Program, *mut c_char) -> c_int;

/// `NVRTC_ERROR_COMPILATION`: the text is wrong; any other failure has nothing to do with it.
const REFUSED: c_int = 6;
/// `NVRTC_ERROR_OUT_OF_MEMORY`, of the host's: it says nothing of text or compiler.
const NO_MEMORY: c_int = 1;

/// An architecture and form, and why nothing is compiled for it.
type Tried = ((Arch, Form), Option<String>);

/// A call that failed: its status, and what the compiler says.
struct Failure {
    call: &'static str,
    status: c_int,
    log: String,
}

/// NVRTC, looked for once; where there is none, a sentence says why and what to do.
pub fn nvrtc() -> Result<&'static Nvrtc, &'static str> {
    static NVRTC: OnceLock<Result<Nvrtc, String>> = OnceLock::new();
    let found = NVRTC.get_or_init(|| {
        let driver = driver().map_err(|m| m.reason.clone())?;
        let (opened, _) = libs::open(libs::NVRTC, driver.version.0, version)?;
        let path = opened.path.clone();
        // Its functions stay valid for the life of the program.
        Nvrtc::new(Box::leak(Box::new(opened.library)), &path)
            .map_err(|why| format!("{} cannot be used: {why}", path.display()))
    });
    found.as_ref().map_err(String::as_str)
}

fn version(library: &Library) -> Result<(c_int, c_int), String> {
    let get: unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int = symbol(library, "nvrtcVersion")?;
    let (mut major, mut minor) = (0, 0);
    // SAFETY: the function's own signature; the out pointers are valid.
    match unsafe { get(&mut major, &mut minor) } {
        0 => Ok((major, minor)),
        status => Err(format!("nvrtcVersion gives error {status}")),
    }
}

/// A function of a library.
pub fn symbol<F: Copy>(library: &Library, name: &str) -> Result<F, String> {
    // SAFETY: the callers give each function the type its documentation has; the library is never closed.
    unsafe { library.get::<F>(name.as_bytes()) }.map(|s| *s).map_err(|_| format!("it has no {name}"))
}

impl Nvrtc {
    /// The functions of an opened library.
    pub fn new(library: &'static Library, path: &Path) -> Result<Nvrtc, String> {
        let archs = || -> Result<Vec<i32>, String> {
            let count: unsafe extern "C" fn(*mut c_int) -> c_int = symbol(library, "nvrtcGetNumSupportedArchs")?;
            let get: unsafe extern "C" fn(*mut c_int) -> c_int = symbol(library, "nvrtcGetSupportedArchs")?;
            let mut n = 0;
            // SAFETY: the out pointer is valid.
            if unsafe { count(&mut n) } != 0 {
                return Ok(vec![]);
            }
            let mut list = vec![0; n.max(0) as usize];
            // SAFETY: the list has the length just given.
            if unsafe { get(list.as_mut_ptr()) } != 0 {
                list.clear();
            }
            Ok(list)
        };
        Ok(Nvrtc {
            create: symbol(library, "nvrtcCreateProgram")?,
            compile: symbol(library, "nvrtcCompileProgram")?,
            destroy: symbol(library, "nvrtcDestroyProgram")?,
            meaning: symbol(library, "nvrtcGetErrorString")?,
            log_size: symbol(library, "nvrtcGetProgramLogSize")?,
            log: symbol(library, "nvrtcGetProgramLog")?,
            ptx_size: symbol(library, "nvrtcGetPTXSize")?,
            ptx: symbol(library, "nvrtcGetPTX")?,
            cubin_size: symbol(library, "nvrtcGetCUBINSize")?,
            cubin: symbol(library, "nvrtcGetCUBIN")?,
            archs: archs()?,
            tried: Mutex::default(),
            version: version(library)?,
            file: path.display().to_string(),
        })
    }

    /// What to compile for a device of this architecture: a newer device than the compiler knows takes PTX of the newest it knows.
    pub fn target(&self, arch: Arch, form: Form) -> (Arch, Form) {
        let number = arch.0 * 10 + arch.1;
        if self.archs.is_empty() || self.archs.contains(&number) {
            return (arch, form);
        }
        let best = self.archs.iter().copied().filter(|&a| a <= number).max().unwrap_or(number);
        ((best / 10, best % 10), Form::Ptx)
    }

    /// Code for a kernel's text. `device` is the one that errors name. After a failure that is not the text's, [`Nvrtc::broken`] tells whether
    /// this compiler makes code for that architecture at all.
    pub fn compile(&self, text: &Text, arch: Arch, form: Form, device: &str) -> Result<Vec<u8>> {
        let zero = |_| Error::Internal { stage: "compile", detail: "a zero byte in the source".into() };
        let source = CString::new(text.source.as_str()).map_err(zero)?;
        self.attempt(&source, text.quick, arch, form).map_err(|failure| {
            let Failure { call, status, log } = failure;
            if status == REFUSED {
                let log = if log.is_empty() { self.describe(status) } else { log };
                return Error::Compile { kernel: text.name.clone(), log, text: numbered(text.own()) };
            }
            if status != NO_MEMORY {
                self.trial(arch, form);
            }
            Error::Driver { device: device.into(), call, reason: self.told(status, &log) }
        })
    }

    fn attempt(&self, source: &CStr, quick: bool, arch: Arch, form: Form) -> Result<Vec<u8>, Failure> {
        let failed = |call: &'static str| move |status: c_int| Failure { call, status, log: String::new() };
        let kind = if form == Form::Cubin { "sm" } else { "compute" };
        let arch = format!("--gpu-architecture={kind}_{}{}", arch.0, arch.1);
        let newer = [(true, MINIMAL), (quick, QUICK)];
        let newer = newer.into_iter().filter(|(wanted, (since, _))| *wanted && self.version >= *since).map(|n| n.1.1);
        let options = std::iter::once(arch.as_str()).chain(OPTIONS).chain(newer);
        let options: Vec<CString> = options.filter_map(|o| CString::new(o).ok()).collect();
        let pointers: Vec<*const c_char> = options.iter().map(|o| o.as_ptr()).collect();
        let mut program = null_mut();
        // SAFETY: the strings end in zero and outlive the program; no headers are passed.
        match unsafe { (self.create)(&mut program, source.as_ptr(), c"kernel.cu".as_ptr(), 0, null(), null()) } {
            0 => {}
            status => return Err(failed("nvrtcCreateProgram")(status)),
        }
        let program = Guard { nvrtc: self, program };
        // SAFETY: the program was just made; there are as many options as said.
        match unsafe { (self.compile)(program.program, pointers.len() as c_int, pointers.as_ptr()) } {
            0 => {}
            status => {
                let log = program.bytes(self.log_size, self.log).unwrap_or_default();
                let log = String::from_utf8_lossy(&log).trim_end_matches('\0').trim().to_string();
                return Err(Failure { call: "nvrtcCompileProgram", status, log });
            }
        }
        let (call, size, get) = match form {
            Form::Cubin => ("nvrtcGetCUBIN", self.cubin_size, self.cubin),
            Form::Ptx => ("nvrtcGetPTX", self.ptx_size, self.ptx),
        };
        program.bytes(size, get).map_err(failed(call))
    }

    /// Why it makes no code of this form for a device of this architecture, found out with a program of one line the first time.
    pub fn trial(&self, arch: Arch, form: Form) -> Option<String> {
        let mut tried = self.tried();
        if let Some((_, why)) = tried.iter().find(|t| t.0 == (arch, form)) {
            return why.clone();
        }
        let source = c"extern \"C\" __global__ void first(float *p) { *p = 1.0f; }";
        let made = self.attempt(source, false, arch, form);
        background::end_first();
        let why = match made {
            Ok(_) => None,
            // That may pass.
            Err(Failure { status: NO_MEMORY, .. }) => return None,
            Err(Failure { status, log, .. }) => {
                Some(format!("{} cannot compile: {}", self.file, self.told(status, &log)))
            }
        };
        if let (Some(why), true) = (&why, debug::level() >= 1) {
            eprintln!("ndcuda: {why}; the kernels that ship are used");
        }
        tried.push(((arch, form), why.clone()));
        why
    }

    /// What [`Nvrtc::trial`] found, if it was asked.
    pub fn broken(&self, arch: Arch, form: Form) -> bool {
        self.tried().iter().any(|t| t.0 == (arch, form) && t.1.is_some())
    }

    fn tried(&self) -> MutexGuard<'_, Vec<Tried>> {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest architecture it makes code for.
    pub fn newest(&self) -> Arch {
        self.archs.iter().max().map_or(OLDEST, |a| (a / 10, a % 10))
    }

    /// A status and what the compiler says beside it, on one line.
    fn told(&self, status: c_int, log: &str) -> String {
        let lines: Vec<&str> = log.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        let log = if lines.is_empty() { String::new() } else { format!(": {}", lines.join(" ")) };
        self.describe(status) + &log
    }

    /// A status as text.
    fn describe(&self, status: c_int) -> String {
        // SAFETY: every number has a string constant of the library.
        let text = unsafe { (self.meaning)(status) };
        // SAFETY: as above; null where it is not so.
        let text = (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy());
        format!("{} ({status})", text.unwrap_or("an unknown status of NVRTC".into()))
    }
}

/// A text with its lines numbered from 1.
fn numbered(text: &str) -> String {
    text.lines().enumerate().map(|(n, line)| format!("{:4} {line}\n", n + 1)).collect()
}

/// A program, freed when dropped.
struct Guard<'a> {
    nvrtc: &'a Nvrtc,
    program: Program,
}

impl Guard<'_> {
    fn bytes(&self, size: Size, get: Bytes) -> Result<Vec<u8>, c_int> {
        let mut n = 0;
        // SAFETY: the program lives; the out pointer is valid.
        match unsafe { size(self.program, &mut n) } {
            0 => {}
            status => return Err(status),
        }
        let mut out = vec![0u8; n];
        // SAFETY: the buffer has the size just given.
        match unsafe { get(self.program, out.as_mut_ptr() as *mut c_char) } {
            0 => Ok(out),
            status => Err(status),
        }
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // SAFETY: made by create and destroyed once.
        unsafe { (self.nvrtc.destroy)(&mut self.program) };
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
pub mod tests {
    use super::*;
    use std::path::PathBuf;

    /// All that were fetched; they need no GPU. Tests of them are ignored by default.
    pub fn fetched() -> Vec<Nvrtc> {
        let found = softcuda_driver::control::compilers();
        assert!(!found.is_empty(), "no NVRTC in target/nvrtc-venv: .ci/run fetches it");
        let open = |path: PathBuf| {
            let library = libs::load(libs::NVRTC, &path).unwrap();
            Nvrtc::new(Box::leak(Box::new(library)), &path).unwrap()
        };
        found.into_iter().map(open).collect()
    }

    fn text(source: &str, name: &str) -> Text {
        Text { source: source.into(), body: 0, name: name.into(), quick: true }
    }

    #[test]
    #[ignore = "needs NVRTC in target/nvrtc-venv"]
    fn nvrtc_makes_both_forms() {
        let text = text("extern \"C\" __global__ void k(float* p) { p[threadIdx.x] += 1.0f; }", "k");
        for nvrtc in fetched() {
            let ptx = nvrtc.compile(&text, (7, 5), Form::Ptx, "cuda:0").unwrap();
            let ptx = String::from_utf8(ptx).unwrap();
            assert!(ptx.contains(".entry k(") && ptx.contains("sm_75"), "{}", nvrtc.file);
            let cubin = nvrtc.compile(&text, (8, 0), Form::Cubin, "cuda:0").unwrap();
            assert_eq!(&cubin[..4], b"\x7fELF");
            assert_eq!(nvrtc.target((8, 0), Form::Cubin), ((8, 0), Form::Cubin));
            let (newest, form) = nvrtc.target((99, 0), Form::Cubin);
            assert!(form == Form::Ptx && newest >= (12, 0), "{newest:?}");
        }
    }

    #[test]
    #[ignore = "needs NVRTC in target/nvrtc-venv"]
    fn a_refused_kernel_is_an_error_with_log_and_numbered_lines() {
        let own = "void f() {\n  nothing_like_it();\n}\n";
        let headers = "// headers\n\n#line 1 \"kernel.cu\"\n";
        let source = Text { body: headers.len(), ..text(&format!("{headers}{own}"), "f") };
        for nvrtc in fetched() {
            let Err(Error::Compile { kernel, log, text }) = nvrtc.compile(&source, (8, 0), Form::Ptx, "cuda:0") else {
                panic!("it compiled");
            };
            assert_eq!(kernel, "f");
            assert!(log.contains("kernel.cu(2)") && log.contains("nothing_like_it"), "{log}");
            assert!(text.contains("   2   nothing_like_it();"), "{text}");
        }
    }

    #[test]
    #[ignore = "needs NVRTC in target/nvrtc-venv"]
    fn threads_compile_side_by_side() {
        for nvrtc in fetched() {
            std::thread::scope(|s| {
                for n in 0..4 {
                    let nvrtc = &nvrtc;
                    s.spawn(move || {
                        let source = text(&format!("extern \"C\" __global__ void k{n}(int* p) {{ *p = {n}; }}"), "k");
                        let ptx = nvrtc.compile(&source, (7, 5), Form::Ptx, "cuda:0").unwrap();
                        assert!(String::from_utf8_lossy(&ptx).contains(&format!(".entry k{n}(")));
                    });
                }
            });
        }
    }
}
