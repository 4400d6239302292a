//! What there is on this machine, for a report of a problem: devices, driver, libraries, CPU features, variables. docs/troubleshooting.md says what to do about each line.

use ndcuda::prelude::*;
use std::error::Error;

/// Variables that change what runs or what is found.
const VARIABLES: [&str; 15] = [
    "NDCUDA_DEVICE",
    "NDCUDA_NUM_THREADS",
    "NDCUDA_CPU",
    "NDCUDA_DEBUG",
    "NDCUDA_NVRTC",
    "NDCUDA_CUBLAS",
    "NDCUDA_CODE",
    "NDCUDA_JIT",
    "NDCUDA_CACHE_DIR",
    "CUDA_VISIBLE_DEVICES",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "CUDA_PATH",
    "CUDA_HOME",
    "LD_LIBRARY_PATH",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("ndcuda {} on {} {}", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH);
    println!("\ndevices");
    println!("  default: {}", Device::probe());
    println!("  cpu: {} threads reported by the system", std::thread::available_parallelism()?);
    for n in 0.. {
        match Device::cuda(n) {
            Ok(d) => {
                println!(
                    "  {d}: usable; bytes in use and kept: {:?}, free and in all: {:?}",
                    d.memory(),
                    d.memory_info()?
                );
                // Whether cuBLAS starts shows with the first product.
                if let Err(e) = d.eye::<f32>(64).dot(&d.eye(64)).eval() {
                    println!("  {d}: {e}");
                }
            }
            Err(e) => {
                if n == 0 {
                    println!("  {e}");
                }
                break;
            }
        }
    }

    println!("\nCUDA");
    for (what, line) in Device::cuda_report() {
        println!("  {what}: {line}");
    }
    match std::fs::read_to_string("/proc/driver/nvidia/version") {
        Ok(text) => println!("  kernel module: {}", text.lines().next().unwrap_or_default()),
        Err(e) => println!("  kernel module: none seen (/proc/driver/nvidia/version: {e})"),
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
