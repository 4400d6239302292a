//! What there is on this machine, for a report of a problem: devices, drivers, libraries, CPU features, variables.

use ndcuda::prelude::*;
use std::error::Error;
use std::path::PathBuf;

/// Variables that change what runs or what is found.
const VARIABLES: [&str; 7] = [
    "NDCUDA_DEVICE",
    "NDCUDA_NUM_THREADS",
    "NDCUDA_DEBUG",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_PATH",
    "CUDA_HOME",
    "LD_LIBRARY_PATH",
];

/// Libraries a GPU needs, by the beginning of their file names.
const LIBRARIES: [&str; 3] = ["libcuda.so", "libnvrtc.so", "libcublas.so"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("ndcuda {} on {} {}", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH);
    println!("\ndevices");
    println!("  default: {}", Device::probe());
    println!("  cpu: {} threads reported by the system", std::thread::available_parallelism()?);
    match Device::cuda(0) {
        Ok(d) => println!("  cuda: {d}, memory in use and kept: {:?}", d.memory()),
        Err(e) => println!("  cuda: {e}"),
    }

    println!("\nNVIDIA driver");
    match std::fs::read_to_string("/proc/driver/nvidia/version") {
        Ok(text) => println!("  {}", text.lines().next().unwrap_or_default()),
        Err(e) => println!("  none seen (/proc/driver/nvidia/version: {e})"),
    }
    println!("\nlibraries");
    for name in LIBRARIES {
        let found: Vec<String> = find(name).iter().map(|p| p.display().to_string()).collect();
        println!("  {name}: {}", if found.is_empty() { "not found".into() } else { found.join(", ") });
    }

    println!("\nCPU features");
    println!("  {}", cpu_features().join(" "));
    println!("\nvariables");
    for name in VARIABLES {
        match std::env::var(name) {
            Ok(value) => println!("  {name}={value}"),
            Err(_) => println!("  {name} is not set"),
        }
    }

    println!("\nself-test");
    let dev = Device::from_env()?;
    let x = dev.arange(0.0f32, 1000.0, 1.0);
    let sum = (&x * 2.0).sum().item()?;
    assert_eq!(sum, 999_000.0);
    println!("  2 * (0 + 1 + ... + 999) = {sum} on {dev}: right");
    Ok(())
}

/// The files of a library in the folders the loader looks in.
fn find(name: &str) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        std::env::var_os("LD_LIBRARY_PATH").map(|v| std::env::split_paths(&v).collect()).unwrap_or_default();
    for folder in ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib/wsl/lib", "/usr/local/cuda/lib64", "/usr/lib"] {
        folders.push(folder.into());
    }
    let files = folders.iter().filter_map(|f| std::fs::read_dir(f).ok()).flatten().flatten().map(|e| e.path());
    files.filter(|p| p.file_name().is_some_and(|f| f.to_string_lossy().starts_with(name))).collect()
}

#[cfg(target_arch = "x86_64")]
fn cpu_features() -> Vec<&'static str> {
    let seen = [
        ("sse4.2", is_x86_feature_detected!("sse4.2")),
        ("avx", is_x86_feature_detected!("avx")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("f16c", is_x86_feature_detected!("f16c")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512dq", is_x86_feature_detected!("avx512dq")),
        ("avx512vl", is_x86_feature_detected!("avx512vl")),
        ("avx512bw", is_x86_feature_detected!("avx512bw")),
    ];
    seen.into_iter().filter_map(|(name, there)| there.then_some(name)).collect()
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_features() -> Vec<&'static str> {
    vec![std::env::consts::ARCH]
}
