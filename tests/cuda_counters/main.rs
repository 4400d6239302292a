//! What compiled kernels ask of memory, counted by the software device. Each case is a child process; where NVRTC is not fetched all are ignored.

#[cfg(target_os = "linux")]
#[path = "../cuda_faults/child.rs"]
#[allow(dead_code, reason = "what only the tests of faults need")]
mod child;
#[cfg(target_os = "linux")]
mod count;
#[cfg(target_os = "linux")]
mod maps;
#[cfg(target_os = "linux")]
mod pairs;
#[cfg(target_os = "linux")]
mod sums;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    let all = [maps::CASES, sums::CASES, pairs::CASES].concat();
    child::main(&all, Some("what kernels ask of memory is not counted"), |compilers| {
        all.iter().map(|case| count::trial(case, compilers)).collect()
    })
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("the software device is made for Linux: nothing is counted");
}
