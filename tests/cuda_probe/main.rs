//! What is said where there is no driver, or one that cannot be used, and of NVRTC and cuBLAS: each sentence of `Device::probe` and of the report, and
//! that it stands in docs/troubleshooting.md. Libraries that are wrong in one way each are made here, of C, and loaded by a child process.

#[cfg(target_os = "linux")]
#[path = "../cuda_faults/child.rs"]
#[allow(dead_code, reason = "what only the tests of faults need")]
mod child;
#[cfg(target_os = "linux")]
mod drivers;
#[cfg(target_os = "linux")]
mod libraries;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    drivers::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("drivers are made for Linux: what is said of them is not tested");
}
