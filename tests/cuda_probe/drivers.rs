//! Drivers of C, each wrong in one way, and what a child process says of them.

use crate::{child, libraries};
use libtest_mimic::{Failed, Trial};
use ndcuda::{Device, Error};
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

/// What the child does.
const REPORT: child::Case = child::Case { name: "report", variables: &[], body: report };

/// A driver of which each answer is set by a variable.
const STUB: &str = r#"
#include <stdlib.h>
static int value(const char* name, int otherwise) { const char* v = getenv(name); return v ? atoi(v) : otherwise; }
int cuInit(unsigned flags) { return value("STUB_INIT", 0); }
int cuDriverGetVersion(int* v) { *v = value("STUB_VERSION", 12040); return value("STUB_VERSION_STATUS", 0); }
int cuDeviceGetCount(int* n) { *n = value("STUB_DEVICES", 1); return value("STUB_COUNT_STATUS", 0); }
int cuDeviceGet(int* d, int n) { *d = n; return 0; }
int cuDeviceGetName(char* s, int n, int d) { s[0] = 'S'; s[1] = 0; return 0; }
int cuDeviceGetAttribute(int* v, int which, int d) { *v = which == 75 ? value("STUB_MAJOR", 8) : 0; return 0; }
int cuDevicePrimaryCtxRetain(void** c, int d) { *c = (void*)16; return value("STUB_RETAIN", 0); }
int cuCtxGetCurrent(void** c) { *c = (void*)16; return 0; }
int cuStreamCreate(void** s, unsigned flags) { *s = (void*)32; return 0; }
int cuGetErrorName(int e, const char** s) { *s = "CUDA_ERROR_OF_STUB"; return 0; }
int cuGetErrorString(int e, const char** s) { *s = "as the stub says"; return 0; }
"#;

/// The functions that only have to be there.
const OTHERS: &[&str] = &[
    "cuDevicePrimaryCtxRelease_v2",
    "cuCtxSetCurrent",
    "cuCtxSynchronize",
    "cuMemAlloc_v2",
    "cuMemFree_v2",
    "cuMemGetInfo_v2",
    "cuMemHostAlloc",
    "cuMemFreeHost",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemsetD8Async",
    "cuModuleLoadData",
    "cuModuleGetFunction",
    "cuModuleUnload",
    "cuLaunchKernel",
    "cuStreamDestroy_v2",
    "cuStreamSynchronize",
    "cuEventCreate",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuEventDestroy_v2",
];

/// Runs the child's part, or the tests.
pub fn main() -> ExitCode {
    let folder = std::env::temp_dir().join(format!("ndcuda-probe-{}", std::process::id()));
    let code = child::main(&[REPORT], None, |_| {
        let stubs = make_stubs(&folder);
        let real = Device::cuda(0).is_ok();
        if real {
            println!("a GPU is here: what is said without a driver is not tested");
        }
        let mut trials = vec![Trial::test("no_driver", no_driver).with_ignored_flag(real)];
        for case in CASES {
            match &stubs {
                Ok(_) => {
                    let folder = folder.clone();
                    trials.push(Trial::test(case.0, move || stub(&folder, case)));
                }
                Err(why) => {
                    println!("{}: not tested: {why}", case.0);
                    trials.push(Trial::test(case.0, || Ok(())).with_ignored_flag(true));
                }
            }
        }
        trials.extend(libraries::trials(&folder, stubs.is_ok()));
        trials
    });
    let _ = fs::remove_dir_all(&folder);
    code
}

/// Name, variables of the stub, device asked for, what is said.
type Case = (&'static str, &'static [(&'static str, &'static str)], usize, &'static str);

const CASES: &[Case] = &[
    ("functions_missing", &[("STUB_KIND", "bare")], 0, "the NVIDIA driver is too old: it lacks"),
    ("old_version", &[("STUB_VERSION", "11040")], 0, "the NVIDIA driver is too old: it is of CUDA"),
    ("no_version", &[("STUB_VERSION_STATUS", "999")], 0, "the NVIDIA driver does not tell its version"),
    ("garbage", &[("STUB_KIND", "garbage")], 0, "the NVIDIA driver does not load: "),
    ("in_want_of_a_library", &[("STUB_KIND", "needy")], 0, "the NVIDIA driver does not load: "),
    (
        "hidden",
        &[("STUB_INIT", "100"), ("CUDA_VISIBLE_DEVICES", "7")],
        0,
        "the NVIDIA driver shows no GPU: CUDA_VISIBLE_DEVICES",
    ),
    ("no_gpu", &[("STUB_DEVICES", "0")], 0, "the NVIDIA driver shows no GPU: none is built in"),
    ("stub", &[("STUB_INIT", "34")], 0, "libcuda.so.1 is the toolkit's stub"),
    ("mismatch", &[("STUB_INIT", "803")], 0, "libcuda.so.1 and the kernel's NVIDIA module are of different versions"),
    ("compat", &[("STUB_INIT", "804")], 0, "a CUDA compatibility package (cuda-compat) is in use"),
    ("not_ready", &[("STUB_INIT", "802")], 0, "the NVIDIA driver is not ready"),
    ("no_start", &[("STUB_INIT", "999")], 0, "the NVIDIA driver does not start"),
    ("no_count", &[("STUB_COUNT_STATUS", "999")], 0, "the NVIDIA driver does not count its GPUs"),
    ("no_such_index", &[], 3, "counted from 0"),
    ("cannot_open", &[("STUB_RETAIN", "2")], 0, "the driver cannot open it"),
    ("old_gpu", &[("STUB_MAJOR", "6")], 0, "is of compute capability 6.0, and 7.5"),
];

/// The sentences as docs/troubleshooting.md has them: without what differs from machine to machine.
pub fn in_docs(sentence: &str) -> bool {
    let docs = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/troubleshooting.md")).unwrap();
    docs.replace("6.1", "6.0").contains(sentence)
}

/// Writes the stub and compiles it: all functions, none but one, one that needs a library that is gone; and a file that is no library.
fn make_stubs(folder: &Path) -> Result<(), String> {
    let whole: String = OTHERS.iter().map(|name| format!("int {name}() {{ return 0; }}\n")).collect();
    let bare = "int cuInit() { return 0; }\n";
    for (kind, text) in [("whole", &*format!("{STUB}{whole}")), ("bare", bare)] {
        compile(&folder.join(kind), "libcuda.so", text, None)?;
    }
    let needy = folder.join("needy");
    compile(&needy, "libgone.so", "int gone() { return 0; }\n", None)?;
    let needs = "int gone(); int cuInit() { return gone(); }\n";
    compile(&needy, "libcuda.so.1", needs, Some("libgone.so"))?;
    fs::remove_file(needy.join("libgone.so")).map_err(|e| e.to_string())?;
    let garbage = folder.join("garbage");
    fs::create_dir_all(&garbage).map_err(|e| e.to_string())?;
    fs::write(garbage.join("libcuda.so.1"), "no library").map_err(|e| e.to_string())
}

/// Compiles a library into a folder, linked with another one there.
pub fn compile(folder: &Path, file: &str, text: &str, needed: Option<&str>) -> Result<(), String> {
    fs::create_dir_all(folder).map_err(|e| e.to_string())?;
    fs::write(folder.join("stub.c"), text).map_err(|e| e.to_string())?;
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-w", &format!("-Wl,-soname,{file}"), "-o"]).arg(folder.join(file));
    cc.arg(folder.join("stub.c")).args(needed.map(|n| folder.join(n)));
    let done = cc.output().map_err(|e| format!("no C compiler: {e}"))?;
    match done.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&done.stderr).into_owned()),
    }
}

/// What the child prints: probe, default device, the device asked for, and that one by name.
fn report() {
    println!("probe: {}", Device::probe());
    println!("default: {}", Device::from_env().map_or_else(|e| e.to_string(), |d| d.to_string()));
    let index = std::env::var("STUB_INDEX").map_or(0, |v| v.parse().unwrap());
    match Device::cuda(index) {
        Ok(d) => println!("cuda: {d}"),
        Err(Error::DeviceUnavailable { reason, .. }) => println!("cuda: {reason}"),
        Err(e) => println!("cuda: another error: {e}"),
    }
    for (what, line) in Device::cuda_report() {
        println!("report {what}: {line}");
    }
    // What is there goes on working.
    assert_eq!(Device::cpu().arange(0.0f32, 4.0, 1.0).sum().item().unwrap(), 6.0);
}

/// The rest of the line that begins so.
#[track_caller]
pub fn line<'a>(said: &'a child::Said, prefix: &str) -> &'a str {
    let found = said.out.lines().find_map(|l| l.strip_prefix(prefix));
    found.unwrap_or_else(|| panic!("no {prefix} in {}\n{}", said.out, said.err))
}

/// Runs the child with a folder of libraries and variables, in an environment where nothing else is found.
pub fn said(libraries: Option<&Path>, variables: &[(&str, &str)]) -> Result<child::Said, Failed> {
    let (home, folder) = (std::env::temp_dir(), libraries.unwrap_or(Path::new("")));
    let (home, folder) = (home.display().to_string(), folder.display().to_string());
    let mut all = vec![("HOME", home.as_str()), ("NDCUDA_NVRTC", ""), ("NDCUDA_CUBLAS", "")];
    if libraries.is_some() {
        all.push(("LD_LIBRARY_PATH", &folder));
    }
    all.extend(variables);
    child::run_apart(REPORT.name, &all)
}

fn no_driver() -> Result<(), Failed> {
    let sentence = "no NVIDIA driver is installed (libcuda.so.1 was not found)";
    let plain = said(None, &[])?;
    assert!(line(&plain, "probe: cpu (").contains(sentence), "{}", plain.out);
    assert_eq!((line(&plain, "default: "), line(&plain, "cuda: ")), ("cpu", sentence));
    assert_eq!(plain.err, "", "without a driver nothing is said unasked");
    assert!(in_docs(sentence));

    let asked = said(None, &[("NDCUDA_DEVICE", "cuda")])?;
    assert!(line(&asked, "default: ").contains(sentence), "asking for a GPU makes it an error: {}", asked.out);
    assert!(line(&asked, "probe: none (").contains(sentence));
    let second = said(None, &[("NDCUDA_DEVICE", "cuda:1")])?;
    assert!(line(&second, "default: device cuda:1 cannot be used").contains(sentence));
    let cpu = said(None, &[("NDCUDA_DEVICE", "cpu")])?;
    assert_eq!(line(&cpu, "default: "), "cpu");
    let wrong = said(None, &[("NDCUDA_DEVICE", "gpu")])?;
    assert!(line(&wrong, "default: ").starts_with("NDCUDA_DEVICE=gpu: a device is cpu, cuda or cuda:N"));
    let empty = said(None, &[("NDCUDA_DEVICE", "")])?;
    assert_eq!((line(&empty, "default: "), empty.out.as_str()), ("cpu", plain.out.as_str()));
    Ok(())
}

fn stub(folder: &Path, &(_, variables, index, sentence): &Case) -> Result<(), Failed> {
    let kind = variables.iter().find(|v| v.0 == "STUB_KIND").map_or("whole", |v| v.1);
    let index = index.to_string();
    let mut all = variables.to_vec();
    all.extend([("STUB_INDEX", &*index), ("NDCUDA_NVRTC", "/nowhere")]);
    let said = said(Some(&folder.join(kind)), &all)?;
    assert!(line(&said, "cuda: ").contains(sentence), "{}", said.out);
    assert!(in_docs(sentence), "docs/troubleshooting.md has no {sentence:?}");
    if index != "0" {
        // The first GPU is there. Without NVRTC it runs the kernels that ship, as its probe says, and nothing is said unasked.
        assert_eq!((line(&said, "default: "), said.err.as_str()), ("cuda:0", ""), "{}", said.out);
        assert!(
            line(&said, "probe: cuda:0 (")
                .contains("kernels are those that ship, which are slower: NDCUDA_NVRTC=/nowhere: ")
        );
        return Ok(());
    }
    assert_eq!(line(&said, "default: "), "cpu", "{}", said.out);
    let lines: Vec<&str> = said.err.lines().collect();
    assert!(lines.len() == 1 && lines[0].starts_with("ndcuda: running on the CPU: "), "one line says why: {lines:?}");
    Ok(())
}
