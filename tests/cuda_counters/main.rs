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
    if let Some(name) = std::env::var_os(child::NAME) {
        (all.iter().find(|c| *c.name == *name).expect("a case of this name").body)();
        println!("end");
        return std::process::ExitCode::SUCCESS;
    }
    let args = libtest_mimic::Arguments::from_args();
    let compilers = child::compilers();
    if compilers.is_empty() && !args.list {
        println!("no NVRTC in target/nvrtc-venv: what kernels ask of memory is not counted");
    }
    let trials = all.iter().map(|case| count::trial(case, &compilers)).collect();
    libtest_mimic::run(&args, trials).exit_code()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("the software device is made for Linux: nothing is counted");
}
