//! The CUDA backend where something fails, on the software device. A process has one driver, and faults are the process's: each case is
//! a child process of this test, with its own settings. By default it runs the kernels that ship.

#[cfg(target_os = "linux")]
mod background;
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
mod far;
#[cfg(target_os = "linux")]
mod interop;
#[cfg(target_os = "linux")]
mod libraries;
#[cfg(target_os = "linux")]
mod memory;
#[cfg(target_os = "linux")]
mod work;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    let groups = [every::CASES, memory::CASES, libraries::CASES, devices::CASES, deferred::CASES, background::CASES];
    let all = [&groups.concat(), interop::CASES, far::CASES].concat();
    let parts =
        [every::PARTS, every::WITH_COMPILER, libraries::WITH_COMPILER, cache::PARTS, &background::parts()].concat();
    child::main(&[&all[..], &parts].concat(), Some("what compiled kernels do is not tested"), |compilers| {
        let parents = cache::parents(!compilers.is_empty())
            .into_iter()
            .chain(background::parents(compilers))
            .chain(far::compiled(compilers))
            .chain(every::with_compiler(compilers))
            .chain(libraries::with_compiler(compilers));
        all.iter().map(child::trial).chain(every::first(compilers)).chain(parents).collect()
    })
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("the software device is made for Linux: nothing is tested");
}
