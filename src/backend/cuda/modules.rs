//! From a kernel's text to a function on the device: kept in memory, else read from disk, else compiled.

use super::cache::{Cache, Key};
use super::compile::{Form, Nvrtc, nvrtc};
use super::emit::{self, Variant};
use super::gpu::Gpu;
use super::shipped::Shipped;
use crate::debug;
use crate::error::{Error, Result};
use crate::kernel::KernelIr;
use cudarc::driver::sys::{self, CUresult};
use std::collections::HashMap;
use std::ffi::CString;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Modules kept while no plan uses them.
const KEEP: usize = 2048;

/// A kernel's text and its name in it.
#[derive(Clone, Debug)]
pub struct Text {
    /// Headers and kernel.
    pub source: String,
    /// Where the kernel begins: what keys and numbered lines start from.
    pub body: usize,
    /// The function's name.
    pub name: String,
}

impl Text {
    /// A kernel's, specialised for some launches.
    pub fn new(ir: &KernelIr, variant: &Variant) -> Result<Text> {
        let mut source = emit::headers();
        let body = source.len();
        source += &emit::body(ir, variant)?;
        Ok(Text { source, body, name: emit::name(ir) })
    }

    fn own(&self) -> &str {
        &self.source[self.body..]
    }
}

/// Code loaded on a device, with its one function.
#[derive(Debug)]
pub struct Module {
    module: sys::CUmodule,
    function: sys::CUfunction,
    gpu: Arc<Gpu>,
}

// SAFETY: modules and functions are handles that any thread may use while the context is bound.
unsafe impl Send for Module {}
// SAFETY: as above; nothing changes after loading.
unsafe impl Sync for Module {}

impl Module {
    /// Its function.
    pub fn function(&self) -> sys::CUfunction {
        self.function
    }

    /// Code of either form on a device; `Err(Ok(status))` where the driver does not take it.
    pub fn load(gpu: &Arc<Gpu>, code: &[u8], name: &str) -> Result<Module, Result<CUresult, Error>> {
        gpu.bind().map_err(Err)?;
        // PTX is text that ends in a zero; one more does not hurt a cubin.
        let mut image = code.to_vec();
        image.push(0);
        let mut module = null_mut();
        // SAFETY: the image is whole, its form is for the driver to judge, and it is copied.
        let status = unsafe { sys::cuModuleLoadData(&mut module, image.as_ptr().cast()) };
        if status != CUresult::CUDA_SUCCESS {
            return Err(Ok(status));
        }
        let mut loaded = Module { module, function: null_mut(), gpu: gpu.clone() };
        let name = CString::new(name)
            .map_err(|_| Err(Error::Internal { stage: "load", detail: "a zero byte in a kernel's name".into() }))?;
        // SAFETY: the module is loaded; the name ends in zero.
        let status = unsafe { sys::cuModuleGetFunction(&mut loaded.function, module, name.as_ptr()) };
        match status {
            CUresult::CUDA_SUCCESS => Ok(loaded),
            status => Err(Ok(status)),
        }
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        // A kernel of it may still be on the stream.
        if self.gpu.synchronize().is_ok() {
            // SAFETY: loaded once and unloaded once; nothing uses it any more.
            unsafe { sys::cuModuleUnload(self.module) };
        }
    }
}

/// The kernels of one device.
#[derive(Debug)]
pub struct Modules {
    gpu: Arc<Gpu>,
    cache: Cache,
    loaded: Mutex<HashMap<String, Arc<Module>>>,
    /// Whether PTX is made from the start: asked for, or because the driver refused a cubin.
    ptx: AtomicBool,
    /// Whether kernels of their own may be made: else, or where the driver takes none, all run on what ships.
    own: AtomicBool,
}

impl Modules {
    /// None yet. `NDCUDA_CODE=ptx` makes PTX, anything else but `cubin` is an error.
    pub fn new(gpu: Arc<Gpu>) -> Result<Modules> {
        let ptx = match std::env::var("NDCUDA_CODE") {
            Err(_) => false,
            Ok(v) if v == "cubin" => false,
            Ok(v) if v == "ptx" => true,
            Ok(value) => {
                let reason = "the code made for kernels is cubin or ptx".into();
                return Err(Error::Config { name: "NDCUDA_CODE", value, reason });
            }
        };
        let own = match std::env::var("NDCUDA_JIT") {
            Err(_) => true,
            Ok(v) if v == "eager" => true,
            Ok(v) if v == "off" => false,
            Ok(value) => {
                let reason = "kernels are compiled eager or, with off, never".into();
                return Err(Error::Config { name: "NDCUDA_JIT", value, reason });
            }
        };
        let cache = Cache::from_environment();
        Ok(Modules { gpu, cache, loaded: Mutex::default(), ptx: ptx.into(), own: own.into() })
    }

    /// The function of a kernel that ships.
    pub fn shipped(&self, kernel: &Shipped) -> Result<Arc<Module>> {
        self.ptx(kernel.name, kernel.module, &kernel.entry)
    }

    /// The function of a module that ships, by the module's name.
    pub fn ptx(&self, name: &'static str, ptx: &str, entry: &str) -> Result<Arc<Module>> {
        let loaded = || self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        // No kernel's text is so short.
        if let Some(module) = loaded().get(name) {
            return Ok(module.clone());
        }
        match Module::load(&self.gpu, ptx.as_bytes(), entry) {
            Ok(module) => Ok(loaded().entry(name.into()).or_insert(Arc::new(module)).clone()),
            Err(Ok(status)) => Err(self.refused(status)),
            Err(Err(e)) => Err(e),
        }
    }

    /// The functions of several kernels, in their order; those not at hand are compiled side by side. None for what is not at hand where
    /// there is no compiler.
    pub fn all(&self, texts: &[Text]) -> Result<Vec<Option<Arc<Module>>>> {
        if !self.own.load(Ordering::Relaxed) {
            return Ok(vec![None; texts.len()]);
        }
        let mut missing: Vec<&Text> = vec![];
        for text in texts {
            if self.find(text).is_none() && missing.iter().all(|m| m.own() != text.own()) {
                missing.push(text);
            }
        }
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(missing.len());
        let made: Vec<Result<Option<Arc<Module>>>> = if threads < 2 {
            missing.iter().map(|t| self.make(t)).collect()
        } else {
            let next = Mutex::new(missing.iter().enumerate());
            let work = || {
                let mut done = vec![];
                loop {
                    let Some((n, text)) = next.lock().unwrap_or_else(PoisonError::into_inner).next() else { break };
                    done.push((n, self.make(text)));
                }
                done
            };
            let mut done = std::thread::scope(|s| -> Result<Vec<_>> {
                let helpers: Vec<_> = (1..threads).map(|_| s.spawn(work)).collect();
                let mut done = work();
                for helper in helpers {
                    let part = helper.join().map_err(|_| Error::Internal {
                        stage: "compile",
                        detail: "a compiling thread panicked".into(),
                    })?;
                    done.extend(part);
                }
                Ok(done)
            })?;
            done.sort_by_key(|d| d.0);
            done.into_iter().map(|d| d.1).collect()
        };
        let made: Vec<Option<Arc<Module>>> = made.into_iter().collect::<Result<_>>()?;
        let find = |text: &Text| {
            let own = missing.iter().position(|m| m.own() == text.own()).map(|n| made[n].clone());
            own.or_else(|| self.find(text).map(Some)).map_or_else(|| self.make(text), Ok)
        };
        texts.iter().map(find).collect()
    }

    /// The function of one kernel, as [`Modules::all`] finds it.
    pub fn one(&self, text: &Text) -> Result<Option<Arc<Module>>> {
        match self.own.load(Ordering::Relaxed) {
            true => self.find(text).map_or_else(|| self.make(text), |m| Ok(Some(m))),
            false => Ok(None),
        }
    }

    /// Whether [`Modules::one`] would find a kernel's function or have it compiled.
    pub fn has(&self, text: &Text) -> bool {
        let kept = || self.kept().iter().any(|&form| self.cache.get(self.key(text, form)).is_some());
        self.own.load(Ordering::Relaxed) && (self.find(text).is_some() || kept() || nvrtc().is_ok())
    }

    fn key<'a>(&self, text: &'a Text, form: Form) -> Key<'a> {
        Key { source: text.own(), arch: self.gpu.arch, form }
    }

    /// The forms that are looked for on disk, the one that is made now first: PTX is what an earlier process kept whose driver refused a cubin.
    fn kept(&self) -> &'static [Form] {
        if self.ptx.load(Ordering::Relaxed) { &[Form::Ptx] } else { &[Form::Cubin, Form::Ptx] }
    }

    fn find(&self, text: &Text) -> Option<Arc<Module>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).get(text.own()).cloned()
    }

    /// Makes a kernel's function and keeps it.
    fn make(&self, text: &Text) -> Result<Option<Arc<Module>>> {
        let Some(module) = self.fresh(text)? else { return Ok(None) };
        let module = Arc::new(module);
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let unused = if loaded.len() >= KEEP {
            loaded.extract_if(|_, m| Arc::strong_count(m) == 1).map(|(_, m)| m).collect()
        } else {
            vec![]
        };
        let module = loaded.entry(text.own().into()).or_insert(module).clone();
        drop(loaded);
        // Unloading waits for the device: not under the lock.
        drop(unused);
        Ok(Some(module))
    }

    fn fresh(&self, text: &Text) -> Result<Option<Module>> {
        let kept = self.kept();
        let form = kept[0];
        for &form in kept {
            let Some(code) = self.cache.get(self.key(text, form)) else { continue };
            match Module::load(&self.gpu, &code, &text.name) {
                Ok(module) => return Ok(Some(module)),
                // Made for another driver, or not what it seems: compiled once more below.
                Err(Ok(status)) if is_refusal(status) => self.cache.remove(self.key(text, form)),
                Err(Ok(status)) => return Err(self.refused(status)),
                Err(Err(e)) => return Err(e),
            }
        }
        let Ok(nvrtc) = nvrtc() else { return Ok(None) };
        let mut made = self.compile_and_load(nvrtc, text, form)?;
        if form == Form::Cubin && made.as_ref().is_err_and(|&status| is_refusal(status)) {
            self.ptx.store(true, Ordering::Relaxed);
            if debug::level() >= 1 {
                eprintln!("ndcuda: the driver refuses machine code from this NVRTC; kernels are made as PTX");
            }
            made = self.compile_and_load(nvrtc, text, Form::Ptx)?;
        }
        match made {
            Ok(module) => Ok(Some(module)),
            // NVRTC is newer than the driver, by a minor version.
            Err(CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION) => {
                self.own.store(false, Ordering::Relaxed);
                if debug::level() >= 1 {
                    eprintln!("ndcuda: the driver is too old for PTX from this NVRTC; the kernels that ship are used");
                }
                Ok(None)
            }
            Err(status) => Err(self.refused(status)),
        }
    }

    fn refused(&self, status: CUresult) -> Error {
        super::driver::failed(self.gpu.index, "cuModuleLoadData", status)
    }

    fn compile_and_load(&self, nvrtc: &Nvrtc, text: &Text, form: Form) -> Result<Result<Module, CUresult>> {
        let start = std::time::Instant::now();
        let (arch, made) = nvrtc.target(self.gpu.arch, form);
        let code = nvrtc.compile(&text.source, arch, made, &text.name, text.own())?;
        if debug::level() >= 2 {
            let ms = start.elapsed().as_secs_f64() * 1e3;
            eprintln!("ndcuda: {ms:9.3} ms to compile {} ({made:?}, {} bytes)", text.name, code.len());
        }
        if debug::level() >= 6 {
            let ptx = match made {
                Form::Ptx => Ok(code.clone()),
                Form::Cubin => nvrtc.compile(&text.source, arch, Form::Ptx, &text.name, text.own()),
            };
            eprintln!("{}", String::from_utf8_lossy(&ptx.unwrap_or_default()).trim_end_matches('\0'));
        }
        match Module::load(&self.gpu, &code, &text.name) {
            Ok(module) => {
                self.cache.put(self.key(text, form), nvrtc.version, &code);
                Ok(Ok(module))
            }
            Err(Ok(status)) => Ok(Err(status)),
            Err(Err(e)) => Err(e),
        }
    }
}

/// Whether a status says that the driver cannot take code of this kind or version.
fn is_refusal(status: CUresult) -> bool {
    use cudarc::driver::sys::cudaError_enum::*;
    matches!(
        status,
        CUDA_ERROR_INVALID_IMAGE
            | CUDA_ERROR_NO_BINARY_FOR_GPU
            | CUDA_ERROR_INVALID_SOURCE
            | CUDA_ERROR_INVALID_PTX
            | CUDA_ERROR_NOT_FOUND
            | CUDA_ERROR_UNSUPPORTED_PTX_VERSION
            | CUDA_ERROR_NOT_SUPPORTED
    )
}
