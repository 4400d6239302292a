//! The CUDA backend where something fails, on the software device. A process has one driver, and faults are the process's: each case is
//! a child process of this test, with its own settings. By default it runs the kernels that ship.

#[cfg(target_os = "linux")]
mod cache;
#[cfg(target_os = "linux")]
mod child;
#[cfg(target_os = "linux")]
mod deferred;
#[cfg(target_os = "linux")]
mod devices;
#[cfg(target_os = "linux")]
mod every;
#[cfg(target_os = "linux")]
mod libraries;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod work;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    let all = [every::CASES, memory::CASES, libraries::CASES, devices::CASES, deferred::CASES].concat();
    if let Some(name) = std::env::var_os(child::NAME) {
        let case = all.iter().chain(every::PARTS).chain(cache::PARTS).find(|c| *c.name == *name);
        (case.expect("a case of this name").body)();
        println!("end");
        return std::process::ExitCode::SUCCESS;
    }
    let args = libtest_mimic::Arguments::from_args();
    let compiler = !child::compilers().is_empty();
    if !compiler && !args.list {
        println!("no NVRTC in target/nvrtc-venv: what is kept on disk is not tested");
    }
    let trials = all.iter().map(child::trial).chain(every::first()).chain(cache::parents(compiler)).collect();
    libtest_mimic::run(&args, trials).exit_code()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("the software device is made for Linux: nothing is tested");
}
