//! Every example runs, asserts what it claims, and says so.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Each example and what its output must contain.
const EXAMPLES: [(&str, &str); 9] = [
    ("slides", "all agree"),
    ("knn_digits", "1776 of 1797 right"),
    ("standardise", "columns have mean 0 and deviation 1"),
    ("softmax", "rows sum to 1"),
    ("kmeans", "iteration 9: inertia"),
    ("julia", "picture: julia.png"),
    ("blocked", "bit for bit"),
    ("doctor", "= 999000 on"),
    ("interop", WITHOUT_A_GPU),
];

/// What an example for GPUs says where there is none.
const WITHOUT_A_GPU: &str = "nothing to show here: device cuda:0 cannot be used";

/// The folder where cargo puts examples: beside that of this test.
fn folder() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().join("examples")
}

/// Runs an example in an empty folder and gives its output.
fn run(name: &str) -> String {
    run_with(name, &[])
}

fn run_with(name: &str, variables: &[(&str, &Path)]) -> String {
    let exe = folder().join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(
        exe.is_file(),
        "{} is not there: `cargo build --examples` makes it, as plain `cargo test` does",
        exe.display()
    );
    let cwd = std::env::temp_dir().join(format!("ndcuda-example-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&cwd).unwrap();
    let out = Command::new(exe).current_dir(&cwd).envs(variables.iter().copied()).output().unwrap();
    std::fs::remove_dir_all(&cwd).unwrap();
    let (text, errors) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{name}: {}\n{text}\n{errors}", out.status);
    text.into_owned()
}

#[test]
fn every_example_runs() {
    for (name, line) in EXAMPLES {
        let text = run(name);
        let line = if line == WITHOUT_A_GPU && ndcuda::Device::cuda(0).is_ok() { "off by 0 at most" } else { line };
        assert!(text.contains(line), "{name} does not say {line:?}:\n{text}");
    }
}

/// The example for GPUs, on the software device.
#[test]
#[cfg(target_os = "linux")]
fn interop_runs_on_the_software_device() {
    let driver = softcuda_driver::control::built("libsoftcuda_driver.so").unwrap();
    let folder = std::env::temp_dir().join(format!("ndcuda-interop-{}", std::process::id()));
    // Of a run that was killed.
    std::fs::remove_dir_all(&folder).ok();
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["libcuda.so", "libcuda.so.1"] {
        std::os::unix::fs::symlink(&driver, folder.join(name)).unwrap();
    }
    let nowhere = Path::new("/nowhere");
    let text =
        run_with("interop", &[("LD_LIBRARY_PATH", &folder), ("NDCUDA_NVRTC", nowhere), ("NDCUDA_CUBLAS", nowhere)]);
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(text.contains("by another kernel on cuda:0: off by 0 at most"), "{text}");
}

#[test]
fn every_example_is_listed() {
    let sources = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/examples")).unwrap();
    for source in sources.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "rs")) {
        let name = source.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(EXAMPLES.iter().any(|(n, _)| *n == name), "{name} is not run here");
    }
}
