//! What the tests share: the loaded library, the kernels, child processes that play another machine.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use cudarc::driver::{CudaContext, CudaFunction, CudaModule, CudaStream, sys};
use cudarc::nvrtc::Ptx;
use softcuda_driver::control::{self, Control};

/// NVRTC's PTX of `fixtures/kernels.cu`.
pub const PTX: &str = include_str!("../fixtures/kernels.ptx");

/// The stand-in, loaded before cudarc looks for a driver.
pub fn control() -> Control {
    static CONTROL: OnceLock<Control> = OnceLock::new();
    *CONTROL.get_or_init(|| Control::load().unwrap())
}

/// Device 0 with one stream of its own.
pub fn device() -> (Arc<CudaContext>, Arc<CudaStream>) {
    control();
    let context = CudaContext::new(0).unwrap();
    let stream = context.new_stream().unwrap();
    (context, stream)
}

/// The kernels, loaded on a device.
pub fn kernels(context: &Arc<CudaContext>) -> Arc<CudaModule> {
    context.load_module(Ptx::from_src(PTX)).unwrap()
}

/// One of them.
pub fn kernel(context: &Arc<CudaContext>, name: &str) -> CudaFunction {
    kernels(context).load_function(name).unwrap()
}

/// The error's code, or success.
pub fn code<T>(result: Result<T, cudarc::driver::DriverError>) -> sys::CUresult {
    result.map_or_else(|e| e.0, |_| sys::CUresult::CUDA_SUCCESS)
}

/// Runs a test's body in a process of its own, with these variables: a library reads them once.
pub fn in_child(test: &str, variables: &[(&str, &str)], body: impl FnOnce()) {
    const MARK: &str = "SOFTCUDA_TEST_CHILD";
    if std::env::var(MARK).as_deref() == Ok(test) {
        return body();
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test, "--nocapture", "--test-threads=1", "--include-ignored"]).env(MARK, test);
    let output = child.envs(variables.iter().copied()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{test} in its own process:\n{text}");
}

/// NVRTC libraries to test with: `NDCUDA_NVRTC`, or those that the tests' environment in target/ holds.
pub fn nvrtcs() -> Vec<PathBuf> {
    if let Ok(path) = std::env::var("NDCUDA_NVRTC") {
        return vec![path.into()];
    }
    control::compilers()
}

/// Opens NVRTC by its path, its builtins first, so that cudarc finds it by name.
pub fn open_nvrtc(path: &Path) {
    let folder = std::fs::read_dir(path.parent().unwrap()).unwrap().flatten();
    for builtins in folder.filter(|e| e.file_name().to_string_lossy().starts_with("libnvrtc-builtins.so")) {
        control::open(&builtins.path()).unwrap();
    }
    control::open(path).unwrap();
}
