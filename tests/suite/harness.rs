//! Runs the suite's tests on every device there is; what cannot run here is counted as ignored, and why is said.

use libtest_mimic::{Arguments, Trial};
use ndcuda::Device;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Once;

/// A test by name.
#[derive(Clone, Copy)]
pub struct Test {
    name: &'static str,
    body: Body,
}

#[derive(Clone, Copy)]
enum Body {
    Each(fn(&Device)),
    Once(fn()),
}

impl Test {
    /// A test that runs on each device.
    pub fn each(name: &'static str, body: fn(&Device)) -> Test {
        Test { name, body: Body::Each(body) }
    }

    /// A test that runs once.
    pub fn once(name: &'static str, body: fn()) -> Test {
        Test { name, body: Body::Once(body) }
    }

    /// Its name without the crate's.
    fn name(&self) -> &'static str {
        self.name.split_once("::").map_or(self.name, |n| n.1)
    }
}

/// Tests that take long on the software device, which `NDCUDA_SUITE=all` runs nevertheless.
const LONG: [&str; 9] = [
    "blocks::",
    "scale::",
    "dag::random",
    "pairs::",
    "promises::",
    "reduce::",
    "split::",
    "distances::forms_of_one_distance_agree",
    "metrics::many_pairs_take_no_square_matrix",
];

/// Whether arrays of this device lie in host memory.
pub fn on_the_host(dev: &Device) -> bool {
    dev.zeros::<u8, _>(1).host_view().is_ok()
}

/// A product and its sum, rounded once, but where the CPU's loops are portable ones.
pub fn multiplies_and_adds(dev: &Device) -> fn(f32, f32, f32) -> f32 {
    #[cfg(target_arch = "x86_64")]
    let vectors = std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    let vectors = false;
    let portable = std::env::var("NDCUDA_CPU").is_ok_and(|v| v == "portable") || !vectors;
    if portable && on_the_host(dev) { |a, b, s| a * b + s } else { f32::mul_add }
}

/// Whether this device runs kernels made for what is asked of it, and not those that ship.
pub fn makes_kernels(dev: &Device) -> bool {
    let compiler = |(name, state): &(&str, String)| *name == "NVRTC" && state.starts_with(|c: char| c.is_ascii_digit());
    let eager = std::env::var("NDCUDA_JIT").map_or(true, |v| v == "eager");
    on_the_host(dev) || eager && Device::cuda_report().iter().any(compiler)
}

/// Whether kernels are compiled here for the software device: a tenth of a second each, on which tests of many save. `NDCUDA_SUITE=gpu` does not.
pub fn compiles_slowly(dev: &Device) -> bool {
    let gpu = std::env::var("NDCUDA_SUITE").is_ok_and(|v| v == "gpu");
    !gpu && !on_the_host(dev) && makes_kernels(dev)
}

/// Runs what the command line asks for.
pub fn run(tests: Vec<Test>) -> ExitCode {
    let arguments = Arguments::from_args();
    let asked = std::env::var("NDCUDA_SUITE").unwrap_or_default();
    let (gpu, all) = (asked == "gpu", asked == "all");
    let stood_in = if gpu || std::path::Path::new("/dev/nvidiactl").exists() { Ok(false) } else { stand_in() };
    let devices = [("cpu", Ok(Device::cpu())), ("cuda", Device::cuda(0))];
    if !arguments.list {
        for (name, device) in &devices {
            match device {
                Ok(d) if *name == "cuda" && stood_in == Ok(true) => println!("{name}: {d}, played in software"),
                Ok(d) => println!("{name}: {d}"),
                Err(e) => println!("{name}: its tests are ignored: {e}"),
            }
        }
        match &stood_in {
            Err(e) => println!("the software device does not stand in: {e}"),
            Ok(true) if !all => println!("ignored on the software device, for its speed: {}", LONG.join(", ")),
            Ok(_) => {}
        }
    }
    let mut trials = vec![];
    for test in tests {
        match test.body {
            Body::Once(body) => trials.push(Trial::test(test.name(), move || {
                body();
                Ok(())
            })),
            Body::Each(body) => trials.extend(devices.iter().map(|(name, device)| {
                let device = device.clone();
                let long = *name == "cuda" && stood_in == Ok(true) && LONG.iter().any(|l| test.name().starts_with(l));
                let there = device.is_ok() && (all || !long);
                let run = move || {
                    body(&device.map_err(|e| e.to_string())?);
                    Ok(())
                };
                Trial::test(format!("{}::{name}", test.name()), run).with_ignored_flag(!there && !gpu)
            })),
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Puts the software device where the driver and cuBLAS are looked for. It runs PTX alone. What is installed here is not used: cuBLAS is the
/// stand-in, and NVRTC the one that `NDCUDA_NVRTC` names, or none.
#[cfg(target_os = "linux")]
fn stand_in() -> Result<bool, String> {
    use softcuda_driver::control::{Control, built, load_blas};
    Control::load()?;
    load_blas()?;
    let blas = built("libsoftcuda_blas.so")?;
    // SAFETY: no other thread runs yet.
    unsafe {
        std::env::set_var("NDCUDA_CODE", "ptx");
        std::env::set_var("NDCUDA_CUBLAS", blas);
        if std::env::var_os("NDCUDA_NVRTC").is_none() {
            std::env::set_var("NDCUDA_NVRTC", "/nowhere/libnvrtc.so.13");
        }
    }
    Ok(true)
}

#[cfg(not(target_os = "linux"))]
fn stand_in() -> Result<bool, String> {
    Err("it is made for Linux".into())
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f`; a panic comes back as its message, and is not printed.
pub fn quietly<R>(f: impl FnOnce() -> R) -> Result<R, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                before(info);
            }
        }));
    });
    QUIET.set(true);
    let out = catch_unwind(AssertUnwindSafe(f));
    QUIET.set(false);
    out.map_err(|e| {
        let text = e.downcast_ref::<String>().cloned();
        text.or(e.downcast_ref::<&str>().map(|s| s.to_string())).unwrap_or_default()
    })
}
