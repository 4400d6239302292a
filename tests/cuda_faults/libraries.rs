//! Libraries that are absent, drivers that are older, and what precision products are made in.

use crate::child::{self, Case, device, ships, through};
use crate::work::{expected, work};
use libtest_mimic::{Failed, Trial};
use ndarray::{Array1, Array2, Array3};
use ndcuda::{Axis, Device, Error, NewAxis, Number, bf16, f16, s};
use softcuda_driver::control::{Control, Kind, compilations_at_once};
use std::path::{Path, PathBuf};

const NO_CUBLAS: &[(&str, &str)] = &[("NDCUDA_CUBLAS", "/nowhere/libcublas.so.13")];

/// All of them.
pub const CASES: &[Case] = &[
    Case { name: "libraries::no_cublas", variables: NO_CUBLAS, body: no_cublas },
    Case { name: "libraries::cublas_does_not_start", variables: &[], body: cublas_does_not_start },
    Case { name: "libraries::cublas_starts_badly", variables: &[], body: cublas_starts_badly },
    Case { name: "libraries::cublas_refuses_a_dtype", variables: &[], body: cublas_refuses_a_dtype },
    Case { name: "libraries::lost_as_cublas_starts", variables: &[], body: lost_as_cublas_starts },
    Case { name: "libraries::precision", variables: &[], body: precision },
    Case { name: "libraries::no_nvrtc", variables: &[("NDCUDA_CODE", "cubin")], body: no_nvrtc },
    Case { name: "libraries::jit_off", variables: &[("NDCUDA_JIT", "off")], body: shipped },
    Case { name: "libraries::driver_of_12_4", variables: &[("SOFTCUDA_DRIVER", "12.4")], body: older_driver },
    Case { name: "libraries::driver_of_12_0", variables: &[("SOFTCUDA_DRIVER", "12.0")], body: older_driver },
    Case { name: "libraries::compute_7_5", variables: &[("SOFTCUDA_CC", "7.5")], body: shipped },
    Case { name: "libraries::compute_12_0", variables: &[("SOFTCUDA_CC", "12.0")], body: shipped },
    Case { name: "libraries::driver_too_old", variables: &[("SOFTCUDA_DRIVER", "11.8")], body: driver_too_old },
    Case { name: "libraries::gpu_too_old", variables: &[("SOFTCUDA_CC", "7.0")], body: gpu_too_old },
    Case { name: "libraries::no_gpu", variables: &[("SOFTCUDA_DEVICES", "0")], body: no_gpu },
    Case {
        name: "libraries::no_gpu_but_asked_for",
        variables: &[("SOFTCUDA_DEVICES", "0"), ("NDCUDA_DEVICE", "cuda")],
        body: asked_for,
    },
    Case { name: "libraries::bad_values", variables: &[("NDCUDA_CODE", "sass")], body: bad_values },
];

/// Cases of a compiler that fails.
pub const WITH_COMPILER: &[Case] = &[
    Case { name: "libraries::nvrtc_cannot_compile", variables: &[], body: cannot_compile },
    Case {
        name: "libraries::nvrtc_cannot_compile_cubins",
        variables: &[("NDCUDA_CODE", "cubin")],
        body: cannot_compile,
    },
    Case { name: "libraries::nvrtc_breaks", variables: &[], body: breaks },
    Case { name: "libraries::nvrtc_breaks_beside", variables: &[("NDCUDA_JIT", "background")], body: breaks },
    Case { name: "libraries::nvrtc_fails_once", variables: &[], body: fails_once },
    Case { name: "libraries::nvrtc_alone", variables: &[], body: alone },
    Case { name: "libraries::nvrtc_side_by_side", variables: &[("SOFTCUDA_NVRTC_MS", "300")], body: side_by_side },
];

/// Those as tests; without a compiler they are ignored.
pub fn with_compiler(compilers: &[PathBuf]) -> Vec<Trial> {
    let newest = compilers.first().cloned().unwrap_or_default();
    let test = |case: &'static Case| {
        let newest = newest.clone();
        let run = move || {
            let compiler = if case.name.ends_with("alone") { apart(&newest)? } else { through(&newest)?.to_vec() };
            let mut variables = case.variables.to_vec();
            variables.extend(compiler.iter().map(|(k, v)| (*k, v.as_str())));
            child::run(case.name, &variables).map(|_| ())
        };
        Trial::test(case.name, run).with_ignored_flag(compilers.is_empty())
    };
    WITH_COMPILER.iter().map(test).collect()
}

/// The variables for NVRTC in a folder where its companion is not.
fn apart(compiler: &Path) -> Result<Vec<(&'static str, String)>, Failed> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nvrtc-alone");
    let file = folder.join(compiler.file_name().unwrap_or_default());
    std::fs::create_dir_all(&folder)?;
    if !file.exists() && std::fs::hard_link(compiler, &file).is_err() {
        std::fs::copy(compiler, &file)?;
    }
    Ok(vec![("NDCUDA_NVRTC", file.display().to_string())])
}

/// Products of one dtype in all layouts, against sums in i64.
fn products<T: Number>(dev: &Device, of: fn(i64) -> T) {
    let a = Array2::from_shape_fn((5, 9), |(i, k)| (i as i64 * 3 + k as i64 * 5) % 7);
    let b = Array2::from_shape_fn((9, 4), |(k, j)| (k as i64 * 2 + j as i64 * 3) % 5);
    let c = Array3::from_shape_fn((3, 5, 9), |(z, i, k)| (z as i64 + i as i64 * 2 + k as i64) % 6);
    let up2 = |x: &Array2<i64>| dev.array(x.mapv(of)).unwrap();
    let (da, db, dc) = (up2(&a), up2(&b), dev.array(c.mapv(of)).unwrap());
    let want = a.dot(&b).mapv(of);
    let what = da.dtype();
    assert_eq!(da.dot(&db), want, "{what}");
    assert_eq!(db.t().dot(&da.t()), want.t(), "{what} transposed");
    assert_eq!(up2(&a.t().to_owned()).t().dot(&up2(&b.t().to_owned()).t()), want, "{what} both transposed");
    assert_eq!(da.slice(s![..;2, ..]).dot(&db), want.slice(s![..;2, ..]), "{what} every other row");
    assert_eq!(da.slice(s![..;-1, ..]).dot(&db), want.slice(s![..;-1, ..]), "{what} backwards");
    assert_eq!(da.slice(s![.., ..;2]).dot(&db.slice(s![..;2, ..])), {
        a.slice(s![.., ..;2]).dot(&b.slice(s![..;2, ..])).mapv(of)
    });
    let row = a.row(1).to_owned();
    assert_eq!(dev.array(row.mapv(of)).unwrap().dot(&db), row.dot(&b).mapv(of), "{what} vector");
    let batch = dc.dot(&db).to_ndarray().unwrap();
    for (got, c) in batch.outer_iter().zip(c.outer_iter()) {
        assert_eq!(got, c.dot(&b).mapv(of), "{what} batch");
    }
    let none = dev.array(Array2::from_elem((5, 0), of(1))).unwrap();
    assert_eq!(none.dot(&dev.array(Array2::from_elem((0, 4), of(1))).unwrap()), Array2::from_elem((5, 4), of(0)));
}

fn every_dtype(dev: &Device) {
    products::<f32>(dev, |v| v as f32);
    products::<f64>(dev, |v| v as f64);
    products::<f16>(dev, |v| f16::from_f32(v as f32));
    products::<bf16>(dev, |v| bf16::from_f32(v as f32));
    products::<i32>(dev, |v| v as i32);
    products::<i64>(dev, |v| v);
    products::<u8>(dev, |v| v as u8);
}

fn no_cublas() {
    let (_, blas) = device();
    let dev = Device::cuda(0).unwrap();
    every_dtype(&dev);
    assert_eq!(work(&dev).unwrap(), expected());
    assert_eq!(blas.log().calls, 0);
    let said = Device::cuda_report().into_iter().find(|l| l.0 == "cuBLAS").unwrap().1;
    assert!(said.starts_with("NDCUDA_CUBLAS=/nowhere/libcublas.so.13: "), "{said}");
}

/// What is said of cuBLAS, in the report and in the probe.
fn said_of_cublas() -> (String, String) {
    let line = Device::cuda_report().into_iter().find(|l| l.0 == "cuBLAS").unwrap().1;
    (line, Device::probe().reason)
}

/// cuBLAS fails to start with this status, in the call that is the `nth` and those behind it: our kernels stand in, for good, and why is said.
fn runs_without_cublas(nth: u64, times: u64, status: i32, sentence: &str) {
    let (control, blas) = device();
    let dev = Device::cuda(0).unwrap();
    assert!(!said_of_cublas().1.contains("own kernels"), "nothing is known of it yet");
    control.fail_times(Kind::Blas, nth, times, status);
    every_dtype(&dev);
    assert_eq!((control.fail_left(Kind::Blas), blas.log().calls), (0, 0));
    let calls = control.calls(Kind::Blas);
    assert_eq!(work(&dev).unwrap(), expected());
    every_dtype(&dev);
    assert_eq!((control.calls(Kind::Blas), blas.log().handles), (calls, 0), "it is not tried again");
    let sentence = format!("{sentence} on cuda:0: matrix products run on ndcuda's own kernels");
    let (line, probe) = said_of_cublas();
    assert!(
        line.starts_with("13.0 from ") && line.ends_with(&sentence) && probe.ends_with(&sentence),
        "{line}\n{probe}"
    );
}

fn cublas_does_not_start() {
    // Twice: the first time, what is kept is given back, in case that it wanted memory.
    runs_without_cublas(1, 2, 1, "cublasCreate gives CUBLAS_STATUS_NOT_INITIALIZED (1)");
}

fn cublas_starts_badly() {
    runs_without_cublas(2, 1, 14, "cublasSetStream gives CUBLAS_STATUS_INTERNAL_ERROR (14)");
}

/// A plan that was made for cuBLAS goes on without it, and so do others of that dtype; the rest stays.
fn cublas_refuses_a_dtype() {
    let (control, blas) = device();
    let dev = Device::cuda(0).unwrap();
    let x = dev.array(Array2::from_elem((4, 4), 2.0f32)).unwrap();
    let product = || assert_eq!(x.dot(&x), Array2::from_elem((4, 4), 16.0f32));
    product();
    let calls = blas.log().calls;
    control.fail_with(Kind::Blas, 1, 15);
    for _ in 0..3 {
        product();
    }
    assert_eq!((control.fail_left(Kind::Blas), blas.log().calls), (0, calls));
    products::<f32>(&dev, |v| v as f32);
    assert_eq!(blas.log().calls, calls);
    products::<f64>(&dev, |v| v as f64);
    assert!(blas.log().calls > calls);
    let sentence =
        "cublasGemmEx gives CUBLAS_STATUS_NOT_SUPPORTED (15) on cuda:0: products of f32 run on ndcuda's own kernels";
    let (line, probe) = said_of_cublas();
    assert!(line.ends_with(sentence) && probe.ends_with(sentence), "{line}\n{probe}");
}

/// A lost device says nothing about cuBLAS.
fn lost_as_cublas_starts() {
    let (control, blas) = device();
    let dev = Device::cuda(0).unwrap();
    let x = dev.array(Array2::from_elem((4, 4), 2.0f32)).unwrap();
    control.lose_device(46);
    assert!(x.dot(&x).eval().is_err());
    control.find_device();
    assert_eq!((x.dot(&x).to_ndarray().unwrap(), blas.log().calls), (Array2::from_elem((4, 4), 16.0f32), 1));
}

/// What the cuBLAS stand-in was asked for: nothing of lower precision unless it is allowed.
fn precision() {
    let (_, blas) = device();
    let dev = Device::cuda(0).unwrap();
    every_dtype(&dev);
    let log = blas.log();
    // Four dtypes, each with at least plain, transposed, strided and batched products.
    assert!(log.calls >= 16, "{log:?}");
    assert_eq!((log.reduced, log.reduced_reductions, log.handles), (0, 0, 1), "{log:?}");
    let x = dev.array(Array2::from_elem((4, 4), 2.0f32)).unwrap();
    let product = || {
        let before = blas.log();
        assert_eq!(x.dot(&x), Array2::from_elem((4, 4), 16.0f32));
        let after = blas.log();
        assert_eq!(after.calls, before.calls + 1);
        after.reduced - before.reduced
    };
    dev.allow_tf32(true);
    assert_eq!(product(), 1, "the same plan, but TF32 may be used now");
    let before = blas.log();
    products::<f64>(&dev, |v| v as f64);
    products::<f16>(&dev, |v| f16::from_f32(v as f32));
    let after = blas.log();
    assert!(after.calls > before.calls);
    assert_eq!((after.reduced, after.reduced_reductions), (before.reduced, 0), "of f32 alone");
    dev.allow_tf32(false);
    assert_eq!(product(), 0);
}

/// Runs the program and a few ops of each interpreter; what is launched ships with the crate.
fn runs_shipped(control: &Control) {
    let dev = Device::cuda(0).unwrap();
    control.reset();
    control.record(true);
    assert_eq!(work(&dev).unwrap(), expected());
    let x = dev.arange(0i64, 40, 1);
    assert_eq!((&x * 3 % 7).sum().item().unwrap(), (0..40).map(|v| v * 3 % 7).sum::<i64>());
    assert_eq!((&x.cast::<f64>() / 4.0).sum().item().unwrap(), 195.0);
    assert_eq!(x.cast::<f16>().max().item().unwrap(), f16::from_f32(39.0));
    let names: Vec<String> = control.launches().iter().map(|l| l.name()).collect();
    assert!(names.len() >= 8, "{names:?}");
    assert!(names.iter().all(|n| ships(n)), "{names:?}");
}

fn shipped() {
    runs_shipped(&device().0);
}

fn no_nvrtc() {
    let (control, _) = device();
    let probe = Device::probe();
    assert_eq!(probe.device, "cuda:0");
    let sentence = "kernels are those that ship, which are slower: NDCUDA_NVRTC=/nowhere/libnvrtc.so.13: ";
    assert!(probe.reason.contains(sentence), "{probe}");
    assert_eq!(Device::from_env().unwrap(), Device::cuda(0).unwrap());
    runs_shipped(&control);
}

/// What is said of NVRTC, in the report and in the probe, and that the docs have it.
fn said_of_nvrtc(sentence: &str) {
    let line = Device::cuda_report().into_iter().find(|l| l.0 == "NVRTC").unwrap().1;
    assert!(line.contains(sentence), "{line}");
    let probe = Device::probe().reason;
    let (_, reason) =
        probe.split_once("; kernels are those that ship, which are slower: ").unwrap_or_else(|| panic!("{probe}"));
    assert!(reason.contains(sentence), "{probe}");
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/troubleshooting.md");
    assert!(std::fs::read_to_string(docs).unwrap().contains("`... cannot compile: ...`"));
}

/// NVRTC without the library it opens by name loads, and tells its version.
fn alone() {
    let (control, _) = device();
    runs_shipped(&control);
    said_of_nvrtc(" cannot compile: NVRTC_ERROR_BUILTIN_OPERATION_FAILURE (7): ");
    said_of_nvrtc("libnvrtc-builtins");
}

/// Each compilation fails, for a reason that is no kernel's: it is as if there were no compiler, and is not tried for ever.
fn cannot_compile() {
    let (control, _) = device();
    control.fail_times(Kind::Compile, 1, 1000, 5);
    said_of_nvrtc(" cannot compile: NVRTC_ERROR_INVALID_OPTION (5)");
    runs_shipped(&control);
    let calls = control.calls(Kind::Compile);
    assert!(calls <= 4, "once for each form and architecture, and the kernel itself: {calls}");
    runs_shipped(&control);
    assert_eq!(control.calls(Kind::Compile), calls);
}

/// The same, found out by the first kernel.
fn breaks() {
    let (control, _) = device();
    control.fail_times(Kind::Compile, 1, 1000, 11);
    runs_shipped(&control);
    assert!(control.calls(Kind::Compile) <= 3);
    said_of_nvrtc(" cannot compile: NVRTC_ERROR_INTERNAL_ERROR (11)");
}

/// A failure with one kernel is an error of that, where others compile.
fn fails_once() {
    let (control, _) = device();
    let dev = Device::cuda(0).unwrap();
    control.record(true);
    let x = dev.arange(0i64, 40, 1);
    control.fail_with(Kind::Compile, 1, 11);
    let e = (&x * 3).to_ndarray().unwrap_err();
    assert!(e.to_string().contains("nvrtcCompileProgram failed on cuda:0: NVRTC_ERROR_INTERNAL_ERROR (11)"), "{e}");
    assert_eq!((&x * 3).to_ndarray().unwrap()[39], 117);
    assert!(control.launches().iter().all(|l| !ships(&l.name())));
}

fn older_driver() {
    let (control, _) = device();
    let version = std::env::var("SOFTCUDA_DRIVER").unwrap();
    let probe = Device::probe();
    assert!(probe.device == "cuda:0" && probe.reason.contains(&format!("driver of CUDA {version}")), "{probe}");
    // The stand-in for cuBLAS is of CUDA 13, which such a driver does not take: products run on our kernels.
    let said = Device::cuda_report().into_iter().find(|l| l.0 == "cuBLAS").unwrap().1;
    assert!(said.contains("is of CUDA 13.0, newer than the driver's CUDA 12"), "{said}");
    runs_shipped(&control);
    every_dtype(&Device::cuda(0).unwrap());
}

/// No GPU to be had: the CPU is taken, and a sentence says why.
fn falls_back(sentence: &str) {
    device();
    let probe = Device::probe();
    assert!(probe.device == "cpu" && probe.reason.contains(sentence), "{probe}");
    let dev = Device::from_env().unwrap();
    assert_eq!(dev, Device::cpu());
    assert_eq!(work(&dev).unwrap(), expected());
    match Device::cuda(0) {
        Err(Error::DeviceUnavailable { device, reason }) => {
            assert!(device == "cuda:0" && reason.contains(sentence), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

fn driver_too_old() {
    falls_back("the NVIDIA driver is too old: it is of CUDA 11.8, and 12.0 is needed");
}

fn gpu_too_old() {
    falls_back("is of compute capability 7.0, and 7.5 (Turing, 2018) is the oldest that is served");
}

fn no_gpu() {
    falls_back("the NVIDIA driver shows no GPU: none is built in");
}

fn asked_for() {
    device();
    let e = Device::from_env().unwrap_err();
    assert!(e.to_string().contains("device cuda:0 cannot be used: the NVIDIA driver shows no GPU"), "{e}");
    assert_eq!(Device::probe().device, "none");
    assert_eq!(work(&Device::cpu()).unwrap(), expected());
}

/// The kernels of a plan are compiled at once, those that a selection selects from among them.
fn side_by_side() {
    device();
    let dev = Device::cuda(0).unwrap();
    let host = Array2::from_shape_fn((6, 5), |(i, k)| ((i * 5 + k * 3) % 11) as f32);
    let x = dev.array(&host).unwrap();
    let distances = (x.slice(s![.., NewAxis, ..]) - x.slice(s![NewAxis, .., ..])).abs().sum_axis(Axis(2));
    let (_, nearest) = distances.topk(1, Axis(1), false);
    let twice = &x * 2.0;
    ndcuda::eval((&nearest, &twice)).unwrap();
    assert_eq!((nearest, twice), (dev.from_fn((6, 1), |(i, _)| i as i64).unwrap(), dev.array(&host * 2.0).unwrap()));
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    assert_eq!(compilations_at_once().unwrap(), cores.min(2));
}

/// A variable with a value that it does not have is an error that names it, each time it is asked.
fn bad_values() {
    device();
    for _ in 0..2 {
        let e = Device::cuda(0).unwrap_err();
        assert!(e.to_string().contains("NDCUDA_CODE=sass: the code made for kernels is cubin or ptx"), "{e}");
        assert_eq!(Device::from_env().unwrap(), Device::cpu());
    }
    let zeros = Device::cpu().array(Array1::from_elem(3, 0.0f32)).unwrap();
    assert_eq!(zeros.sum().item().unwrap(), 0.0);
}
