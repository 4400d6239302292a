//! The real NVRTC beside the stand-in, where it is there: `NDCUDA_NVRTC`, or target/nvrtc-venv.

mod common;

use std::os::unix::fs::symlink;
use std::path::Path;

use common::{control, in_child, nvrtcs, open_nvrtc};
use cudarc::driver::{CudaContext, LaunchConfig, PushKernelArg};
use cudarc::nvrtc::{CompileOptions, compile_ptx_with_opts};
use softcuda_driver::control::built;

const ARCHS: [&str; 5] = ["compute_75", "compute_80", "compute_90", "compute_100", "compute_120"];

/// Compiles the kernels for a device of sm_120 and runs one of them.
fn compile_and_run() {
    let context = CudaContext::new(0).unwrap();
    let stream = context.new_stream().unwrap();
    let source = include_str!("fixtures/kernels.cu");
    for arch in ARCHS {
        let options = CompileOptions { arch: Some(arch), fmad: Some(false), ..CompileOptions::default() };
        let ptx = compile_ptx_with_opts(source, options).unwrap();
        let add = context.load_module(ptx).unwrap().load_function("add").unwrap();
        let a = stream.clone_htod(&[1.0f32; 100]).unwrap();
        let mut out = stream.alloc_zeros::<f32>(100).unwrap();
        let config = LaunchConfig { grid_dim: (4, 1, 1), block_dim: (32, 1, 1), shared_mem_bytes: 0 };
        // SAFETY: the arguments are those of the kernel, within bounds.
        unsafe { stream.launch_builder(&add).arg(&mut out).arg(&a).arg(&a).arg(&100u32).launch(config) }.unwrap();
        assert_eq!(stream.clone_dtoh(&out).unwrap(), [2.0; 100], "{arch}");
    }
}

/// Runs `test` in a process for each NVRTC that is there: two majors do not go together in one.
fn for_each_nvrtc(test: &str, variables: &[(&str, &str)], body: fn(&Path)) {
    let found = nvrtcs();
    assert!(!found.is_empty(), "no NVRTC in target/nvrtc-venv: .ci/run fetches it");
    for path in found {
        let mut all = vec![("NDCUDA_NVRTC", path.to_str().unwrap()), ("SOFTCUDA_CC", "12.0")];
        all.extend(variables);
        in_child(test, &all, || body(&path));
    }
}

#[test]
#[ignore = "needs NVRTC in target/nvrtc-venv"]
fn what_nvrtc_emits_runs() {
    for_each_nvrtc("what_nvrtc_emits_runs", &[], |path| {
        control();
        open_nvrtc(path);
        compile_and_run();
    });
}

#[test]
#[ignore = "needs NVRTC in target/nvrtc-venv"]
fn nvrtc_meets_the_stand_in_under_its_real_name() {
    // NVRTC opens libcuda.so.1 by itself and asks it for tables.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("softcuda-names-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["libcuda.so", "libcuda.so.1"] {
        symlink(built("libsoftcuda_driver.so").unwrap(), folder.join(name)).unwrap();
    }
    let test = "nvrtc_meets_the_stand_in_under_its_real_name";
    for_each_nvrtc(test, &[("LD_LIBRARY_PATH", folder.to_str().unwrap())], |path| {
        open_nvrtc(path);
        compile_and_run();
    });
    std::fs::remove_dir_all(&folder).unwrap();
}
