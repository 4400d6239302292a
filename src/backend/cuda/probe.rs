//! What there is for the CUDA backend on this machine, in sentences.

use super::blas::{cublas, unused};
use super::cache::Cache;
use super::compile::{Arch, Form, Nvrtc, nvrtc};
use super::driver::driver;
use super::gpu::Gpu;
use super::libs;
use std::path::PathBuf;

pub use super::driver::Missing;

/// A GPU, its driver and the libraries, in a line.
pub fn describe(gpu: &Gpu) -> String {
    let (major, minor) = gpu.arch;
    let version = driver().map_or((0, 0), |d| d.version);
    let compiler = match compiles(|n| n.target(gpu.arch, Form::Cubin)) {
        Ok(_) => String::new(),
        Err(reason) => format!("; kernels are those that ship, which are slower: {reason}"),
    };
    // What was found may not start, or refuse a product: that shows once a product is asked for.
    let products = match cublas() {
        Ok(_) => unused(Some(gpu.index)).iter().map(|why| format!("; {why}")).collect(),
        Err(reason) => format!("; matrix products run on ndcuda's own kernels: {reason}"),
    };
    let (name, (of, dot)) = (&gpu.name, version);
    format!("{name}, compute capability {major}.{minor}, driver of CUDA {of}.{dot}{compiler}{products}")
}

/// Whether `Device::default` may take a GPU: a driver that works. Without NVRTC the kernels that ship run.
pub fn usable() -> Result<(), Missing> {
    driver().map(|_| ()).map_err(Clone::clone)
}

/// One line each on the driver, NVRTC, cuBLAS and the cache: what was found, or why not and what to do.
pub fn report() -> Vec<(&'static str, String)> {
    let driver = match driver() {
        Ok(d) => {
            let s = if d.devices == 1 { "" } else { "s" };
            format!("of CUDA {}.{}, {} GPU{s}", d.version.0, d.version.1, d.devices)
        }
        Err(m) => m.reason.clone(),
    };
    let library = |found: Result<((i32, i32), &str), String>, wanted| match found {
        Ok((version, file)) => format!("{}.{} from {file}", version.0, version.1),
        Err(reason) => match &libs::candidates(wanted)[..] {
            [] => reason,
            files => format!("{reason}; files seen: {}", list(files)),
        },
    };
    let newest = |n: &Nvrtc| (n.newest(), Form::Ptx);
    let nvrtc = library(compiles(newest).map(|n| (n.version, n.file.as_str())), libs::NVRTC);
    let mut cublas = library(cublas().map(|c| (c.version, c.file.as_str())).map_err(Into::into), libs::CUBLAS);
    unused(None).iter().for_each(|why| cublas += &format!("; {why}"));
    let cache = Cache::from_environment().describe();
    vec![("driver", driver), ("NVRTC", nvrtc), ("cuBLAS", cublas), ("kernel cache", cache)]
}

/// The compiler, if it makes code for that.
fn compiles(target: impl Fn(&Nvrtc) -> (Arch, Form)) -> Result<&'static Nvrtc, String> {
    let nvrtc = nvrtc()?;
    let (arch, form) = target(nvrtc);
    nvrtc.trial(arch, form).map_or(Ok(nvrtc), Err)
}

fn list(files: &[PathBuf]) -> String {
    files.iter().map(|f| f.display().to_string()).collect::<Vec<_>>().join(", ")
}
