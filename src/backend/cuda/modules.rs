//! From a kernel's text to a function on the device: kept in memory, else read from disk, else compiled, now or beside the program.

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;

use super::background::{self, Answer, Slot, known};
use super::cache::{Cache, Key};
use super::compile::{Arch, Form, Nvrtc, Text, nvrtc};
use super::emit::Variant;
use super::gpu::Gpu;
use super::pool::Pool;
use super::shipped::{self, Shipped};
use crate::debug;
use crate::error::{Error, Result};
use crate::kernel::{KernelIr, Launch};
use cudarc::driver::sys::{self, CUresult};
use std::collections::HashMap;
use std::ffi::CString;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Modules kept while no plan uses them.
const KEEP: usize = 2048;

/// Texts kept at most of kernels that are still to be prepared.
const EMITTED: usize = 16;

/// A kernel whose function is looked for.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// Its text.
    pub text: Text,
    /// It.
    pub ir: &'a KernelIr,
    /// How it is launched.
    pub launch: &'a Launch,
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

    /// Another function of its code.
    pub fn other(&self, name: &str) -> Result<sys::CUfunction> {
        let called = CString::new(name)
            .map_err(|_| Error::Internal { stage: "load", detail: "a zero byte in a kernel's name".into() })?;
        let mut function = null_mut();
        self.gpu.bind()?;
        // SAFETY: the module is loaded; the name ends in zero.
        let status = unsafe { sys::cuModuleGetFunction(&mut function, self.module, called.as_ptr()) };
        self.gpu.check("cuModuleGetFunction", status)?;
        Ok(function)
    }

    /// Code of either form on a device, or the status of a driver that does not take it.
    fn load(gpu: &Arc<Gpu>, code: &[u8], name: &str) -> Result<Result<Module, CUresult>> {
        gpu.bind()?;
        // PTX is text that ends in a zero; one more does not hurt a cubin.
        let mut image = code.to_vec();
        image.push(0);
        let mut module = null_mut();
        // SAFETY: the image is whole, its form is for the driver to judge, and it is copied.
        let status = unsafe { sys::cuModuleLoadData(&mut module, image.as_ptr().cast()) };
        if status != CUresult::CUDA_SUCCESS {
            return Ok(Err(status));
        }
        let mut loaded = Module { module, function: null_mut(), gpu: gpu.clone() };
        let name = CString::new(name)
            .map_err(|_| Error::Internal { stage: "load", detail: "a zero byte in a kernel's name".into() })?;
        // SAFETY: the module is loaded; the name ends in zero.
        let status = unsafe { sys::cuModuleGetFunction(&mut loaded.function, module, name.as_ptr()) };
        match status {
            CUresult::CUDA_SUCCESS => Ok(Ok(loaded)),
            status => Ok(Err(status)),
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

/// A kernel's function, at once or later; none where there was no place to ask for it: what ships runs it this once.
pub type Found = Option<Slot>;

/// The kernels of one device.
#[derive(Debug)]
pub struct Modules {
    gpu: Arc<Gpu>,
    pool: Arc<Pool>,
    cache: Cache,
    loaded: Mutex<HashMap<String, Arc<Module>>>,
    /// How many of them stay though no plan uses them.
    keep: usize,
    /// Texts of kernels that a plan was asked about and has not prepared yet.
    emitted: Mutex<Vec<(KernelIr, Variant, Text)>>,
    /// Kernels that are being made beside the program, and those that cannot be made.
    asked: Mutex<HashMap<String, Slot>>,
    /// Whether PTX is made from the start: asked for, or because the driver refused a cubin.
    ptx: AtomicBool,
    /// Whether kernels of their own may be made: else, or where the driver takes none, all run on what ships.
    own: AtomicBool,
    /// Whether they are made beside the program, where something that ships runs them meanwhile.
    background: bool,
}

impl Modules {
    /// None yet. A value that `NDCUDA_CODE` or `NDCUDA_JIT` does not have is an error.
    pub fn new(gpu: Arc<Gpu>, pool: Arc<Pool>) -> Result<Modules> {
        let ptx = choice("NDCUDA_CODE", ["cubin", "ptx"], "the code made for kernels is cubin or ptx")? == "ptx";
        let when =
            "kernels are compiled before they first run (eager), beside the program (background), or never (off)";
        let jit = choice("NDCUDA_JIT", ["eager", "background", "off"], when)?;
        Ok(Modules {
            gpu,
            pool,
            cache: Cache::from_environment(),
            loaded: Mutex::default(),
            keep: KEEP,
            emitted: Mutex::default(),
            asked: Mutex::default(),
            ptx: ptx.into(),
            own: (jit != "off").into(),
            background: jit == "background",
        })
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
        match self.load(ptx.as_bytes(), entry)? {
            Ok(module) => {
                // Another thread's may be there by now; ours then goes behind the lock.
                let module = Arc::new(module);
                Ok(loaded().entry(name.into()).or_insert_with(|| module.clone()).clone())
            }
            Err(status) => Err(self.refused(status)),
        }
    }

    /// Loads code, which takes device memory.
    fn load(&self, code: &[u8], name: &str) -> Result<Result<Module, CUresult>> {
        self.pool.making_room(code.len(), &format!(" for the code of {name}"), || {
            let loaded = Module::load(&self.gpu, code, name)?;
            Ok(if loaded.as_ref().is_err_and(|&s| s == CUresult::CUDA_ERROR_OUT_OF_MEMORY) {
                None
            } else {
                Some(loaded)
            })
        })
    }

    /// Whether kernels of their own may be made.
    pub fn makes(&self) -> bool {
        self.own.load(Ordering::Relaxed)
    }

    /// The functions of several kernels, in their order; those to be compiled now are compiled side by side.
    pub fn all(self: &Arc<Self>, wanted: &[Wanted<'_>]) -> Result<Vec<Found>> {
        let found: Vec<Option<Found>> = wanted.iter().map(|w| self.at_once(w)).collect::<Result<_>>()?;
        let mut missing: Vec<&Text> = vec![];
        for (w, _) in wanted.iter().zip(&found).filter(|(_, found)| found.is_none()) {
            if missing.iter().all(|m| m.own() != w.text.own()) {
                missing.push(&w.text);
            }
        }
        let made: Vec<Slot> = self.side_by_side(&missing)?.into_iter().map(known).collect();
        let of = |w: &Wanted<'_>| missing.iter().position(|m| m.own() == w.text.own()).map(|n| made[n].clone());
        Ok(found.into_iter().zip(wanted).map(|(found, w)| found.unwrap_or_else(|| of(w))).collect())
    }

    /// The function of one kernel, as [`Modules::all`] finds it.
    pub fn one(self: &Arc<Self>, wanted: &Wanted<'_>) -> Result<Found> {
        match self.at_once(wanted)? {
            Some(found) => Ok(found),
            None => Ok(Some(known(self.make(&wanted.text)?))),
        }
    }

    /// A function without a wait for the compiler; none where that is to run now.
    fn at_once(self: &Arc<Self>, Wanted { text, ir, launch }: &Wanted<'_>) -> Result<Option<Found>> {
        if !self.makes() {
            return Ok(Some(Some(known(None))));
        }
        if let Some(module) = self.find(text) {
            return Ok(Some(Some(known(Some(module)))));
        }
        if !self.background {
            return Ok(None);
        }
        if let Some(slot) = open(&self.asked(), text) {
            return Ok(Some(Some(slot)));
        }
        if let Some(module) = self.kept(text)? {
            return Ok(Some(Some(known(Some(self.keep(text, module))))));
        }
        Ok(if shipped::prepare(ir, launch).is_ok() { Some(self.ask(text)) } else { None })
    }

    /// Has a kernel made beside the program, unless it is already.
    fn ask(self: &Arc<Self>, text: &Text) -> Found {
        let mut asked = self.asked();
        if let Some(slot) = open(&asked, text) {
            return Some(slot);
        }
        // Made since it was looked for: modules are kept before they are taken off the list.
        if let Some(module) = self.find(text) {
            return Some(known(Some(module)));
        }
        if asked.len() >= KEEP {
            asked.retain(|_, slot| slot.get().is_none());
        }
        let slot = background::ask(self, text)?;
        asked.insert(text.own().into(), slot.clone());
        Some(slot)
    }

    /// Makes a kernel that was asked for. Whatever goes wrong, what ships goes on running it.
    pub fn make_asked(&self, text: &Text) -> Answer {
        let made = self.make(text);
        if let (Err(e), true) = (&made, debug::level() >= 1) {
            eprintln!("ndcuda: {} goes on running on what ships: {e}", text.name);
        }
        match made {
            Ok(Some(module)) => Answer::Made(module),
            // A kernel that the compiler refuses stays on the list, so as not to be compiled again.
            Ok(None) | Err(Error::Compile { .. }) => Answer::Ships,
            Err(_) => Answer::Failed,
        }
    }

    /// A kernel's slot was set: one that was made is among the loaded ones now, and another failure may pass.
    pub fn answered(&self, text: &Text) {
        let mut asked = self.asked();
        if asked.get(text.own()).is_some_and(|slot| matches!(slot.get(), Some(Answer::Made(_) | Answer::Failed))) {
            asked.remove(text.own());
        }
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A kernel's text, specialised for some launches.
    pub fn text(&self, ir: &KernelIr, variant: &Variant) -> Result<Text> {
        let mut emitted = self.emitted.lock().unwrap_or_else(PoisonError::into_inner);
        let known = emitted.iter().position(|(i, v, _)| v == variant && i == ir).map(|at| emitted.swap_remove(at).2);
        drop(emitted);
        known.map_or_else(|| Text::new(ir, variant), Ok)
    }

    /// Whether [`Modules::one`] would find a kernel's function or have it made. One that is on disk
    /// is loaded, and its text is kept: whoever asks is about to run it.
    pub fn has(&self, ir: &KernelIr, variant: &Variant) -> bool {
        let Ok(text) = self.text(ir, variant) else { return false };
        let on_disk = || self.kept(&text).is_ok_and(|module| module.map(|m| self.keep(&text, m)).is_some());
        let has = self.makes() && (self.find(&text).is_some() || on_disk() || self.compiles());
        let mut emitted = self.emitted.lock().unwrap_or_else(PoisonError::into_inner);
        if has && emitted.len() < EMITTED {
            emitted.push((ir.clone(), *variant, text));
        }
        has
    }

    /// Whether there is a compiler and it makes code for this device: it is started.
    pub fn compiles(&self) -> bool {
        nvrtc().is_ok_and(|nvrtc| {
            let (arch, form) = self.target(nvrtc);
            nvrtc.trial(arch, form).is_none()
        })
    }

    /// What kernels of this device are compiled for.
    fn target(&self, nvrtc: &Nvrtc) -> (Arch, Form) {
        nvrtc.target(self.gpu.arch, self.forms()[0])
    }

    fn key<'a>(&self, text: &'a Text, form: Form) -> Key<'a> {
        Key { source: text.own(), arch: self.gpu.arch, form }
    }

    /// The forms that are looked for on disk, the one that is made now first: PTX is what an earlier process kept whose driver refused a cubin.
    fn forms(&self) -> &'static [Form] {
        if self.ptx.load(Ordering::Relaxed) { &[Form::Ptx] } else { &[Form::Cubin, Form::Ptx] }
    }

    fn find(&self, text: &Text) -> Option<Arc<Module>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner).get(text.own()).cloned()
    }

    fn side_by_side(&self, missing: &[&Text]) -> Result<Vec<Option<Arc<Module>>>> {
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).min(missing.len());
        if threads < 2 {
            return missing.iter().map(|t| self.make(t)).collect();
        }
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
                let part = helper
                    .join()
                    .map_err(|_| Error::Internal { stage: "compile", detail: "a compiling thread panicked".into() })?;
                done.extend(part);
            }
            Ok(done)
        })?;
        done.sort_by_key(|d| d.0);
        done.into_iter().map(|d| d.1).collect()
    }

    /// Makes a kernel's function and keeps it; none where there is no compiler, or none that makes code for this device.
    fn make(&self, text: &Text) -> Result<Option<Arc<Module>>> {
        let made = match self.kept(text)? {
            Some(module) => Some(module),
            None => self.compiled(text)?,
        };
        Ok(made.map(|module| self.keep(text, module)))
    }

    fn keep(&self, text: &Text, module: Module) -> Arc<Module> {
        let module = Arc::new(module);
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let unused = if loaded.len() >= self.keep {
            loaded.extract_if(|_, m| Arc::strong_count(m) == 1).map(|(_, m)| m).collect()
        } else {
            vec![]
        };
        let kept = loaded.entry(text.own().into()).or_insert_with(|| module.clone()).clone();
        drop(loaded);
        // Unloading waits for the device: not under the lock. Another thread's may have been there already, so ours may go, too.
        drop((unused, module));
        kept
    }

    /// The function from what is kept on disk.
    fn kept(&self, text: &Text) -> Result<Option<Module>> {
        for &form in self.forms() {
            let Some(code) = self.cache.get(self.key(text, form)) else { continue };
            match self.load(&code, &text.name)? {
                Ok(module) => return Ok(Some(module)),
                // Made for another driver, or not what it seems: it is compiled once more.
                Err(status) if is_refusal(status) => self.cache.remove(self.key(text, form)),
                Err(status) => return Err(self.refused(status)),
            }
        }
        Ok(None)
    }

    fn compiled(&self, text: &Text) -> Result<Option<Module>> {
        let Ok(nvrtc) = nvrtc() else { return Ok(None) };
        if !self.makes() {
            return Ok(None);
        }
        let form = self.forms()[0];
        let (arch, target) = self.target(nvrtc);
        let broken = || nvrtc.broken(arch, target);
        if broken() {
            return Ok(None);
        }
        let mut made = match self.compile_and_load(nvrtc, text, form) {
            // It makes no code for this device at all: that is as if there were none.
            Err(Error::Driver { .. }) if broken() => return Ok(None),
            made => made?,
        };
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
        let code = nvrtc.compile(text, arch, made, &self.gpu.title())?;
        if debug::level() >= 2 {
            let ms = start.elapsed().as_secs_f64() * 1e3;
            eprintln!("ndcuda: {ms:9.3} ms to compile {} ({made:?}, {} bytes)", text.name, code.len());
        }
        if debug::level() >= 6 {
            let ptx = match made {
                Form::Ptx => Ok(code.clone()),
                Form::Cubin => nvrtc.compile(text, arch, Form::Ptx, &self.gpu.title()),
            };
            eprintln!("{}", String::from_utf8_lossy(&ptx.unwrap_or_default()).trim_end_matches('\0'));
        }
        let loaded = self.load(&code, &text.name)?;
        if loaded.is_ok() {
            self.cache.put(self.key(text, form), nvrtc.version, &code);
        }
        Ok(loaded)
    }
}

/// The slot of a kernel that was asked for, unless it failed and may be asked for again.
fn open(asked: &HashMap<String, Slot>, text: &Text) -> Option<Slot> {
    asked.get(text.own()).filter(|slot| !matches!(slot.get(), Some(Answer::Failed))).cloned()
}

/// A variable's value, the first of `values` where it is not set; any other is an error.
fn choice<const N: usize>(name: &'static str, values: [&'static str; N], reason: &str) -> Result<&'static str> {
    let Some(given) = std::env::var_os(name) else { return Ok(values[0]) };
    values.into_iter().find(|v| given == *v).ok_or_else(|| Error::Config {
        name,
        value: given.to_string_lossy().into_owned(),
        reason: reason.into(),
    })
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
