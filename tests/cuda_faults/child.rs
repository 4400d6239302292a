//! Child processes: one for each case, with the software device and only the settings that the case names.

use libtest_mimic::{Arguments, Failed, Trial};
pub use softcuda_driver::control::compilers;
use softcuda_driver::control::{Blas, Control, built, load_blas};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Names the case to the child.
const NAME: &str = "NDCUDA_TEST_CASE";
/// A case that takes longer hangs.
const LONGEST: Duration = Duration::from_secs(200);

/// What runs in a child.
#[derive(Clone, Copy)]
pub struct Case {
    /// Its name.
    pub name: &'static str,
    /// Variables beside the usual ones.
    pub variables: &'static [(&'static str, &'static str)],
    /// It fails by a panic.
    pub body: fn(),
}

/// Runs one of these cases in a child; else all of `trials`, which get the compilers there are. Without one, says what is not tested.
pub fn main(cases: &[Case], untested: Option<&str>, trials: impl FnOnce(&[PathBuf]) -> Vec<Trial>) -> ExitCode {
    if let Some(name) = std::env::var_os(NAME) {
        (cases.iter().find(|c| *c.name == *name).expect("a case of this name").body)();
        println!("end");
        return ExitCode::SUCCESS;
    }
    let args = Arguments::from_args();
    let compilers = compilers();
    if let (Some(untested), true, false) = (untested, compilers.is_empty(), args.list) {
        println!("no NVRTC in target/nvrtc-venv: {untested}");
    }
    libtest_mimic::run(&args, trials(&compilers)).exit_code()
}

/// A case as a test.
pub fn trial(case: &Case) -> Trial {
    let case = *case;
    Trial::test(case.name, move || run(case.name, case.variables).map(|_| ()))
}

/// What a child printed.
pub struct Said {
    /// To its standard output.
    pub out: String,
    /// To its standard error.
    pub err: String,
}

/// Runs a case; what it printed, or why it failed.
pub fn run(name: &str, variables: &[(&str, &str)]) -> Result<String, Failed> {
    run_apart(name, variables).map(|said| said.out + &said.err)
}

/// As [`run`], with both outputs apart.
pub fn run_apart(name: &str, variables: &[(&str, &str)]) -> Result<Said, Failed> {
    let mut command = Command::new(std::env::current_exe()?);
    settings(&mut command, name, variables);
    finish(name, command)
}

/// As [`run`], where the child can write no file.
pub fn run_without_files(name: &str, variables: &[(&str, &str)]) -> Result<String, Failed> {
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\""]).arg(std::env::current_exe()?);
    settings(&mut command, name, variables);
    finish(name, command).map(|said| said.out + &said.err)
}

fn settings(command: &mut Command, name: &str, variables: &[(&str, &str)]) {
    for (key, _) in std::env::vars_os() {
        let text = key.to_string_lossy();
        let ours = ["NDCUDA_", "SOFTCUDA_", "CUDA_"].iter().any(|p| text.starts_with(p));
        if ours || ["VIRTUAL_ENV", "CONDA_PREFIX"].contains(&&*text) {
            command.env_remove(&key);
        }
    }
    // Nothing that is installed here is found: each library is the one that the test wants, or none.
    let blas = built("libsoftcuda_blas.so").unwrap_or_else(|_| "/nowhere/libcublas.so.13".into());
    command.env(NAME, name).env("NDCUDA_NVRTC", "/nowhere/libnvrtc.so.13").env("NDCUDA_CUBLAS", blas);
    command.env("XDG_DATA_HOME", "/nowhere").env("NDCUDA_CACHE_DIR", "");
    command.env("NDCUDA_CODE", "ptx").env("NDCUDA_NUM_THREADS", "1").envs(variables.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
}

fn finish(name: &str, mut command: Command) -> Result<Said, Failed> {
    let start = Instant::now();
    let mut child = command.spawn()?;
    // Both pipes are emptied while it runs: a full one would hold it.
    let empty = |mut pipe: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut text = vec![];
            let _ = pipe.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let out = child.stdout.take().map(|p| empty(Box::new(p)));
    let err = child.stderr.take().map(|p| empty(Box::new(p)));
    let (succeeds, status) = loop {
        match child.try_wait()? {
            Some(status) => break (status.success(), status.to_string()),
            None if start.elapsed() > LONGEST => {
                child.kill()?;
                child.wait()?;
                break (false, "it hangs".into());
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let text = |t: Option<std::thread::JoinHandle<String>>| t.and_then(|t| t.join().ok()).unwrap_or_default();
    let (out, err) = (text(out), text(err));
    // Whatever fails, the library itself does not panic: a case's own panic ends it. Nor does the end of the program fail.
    match succeeds && out.ends_with("end\n") && !err.contains("panicked") {
        true => Ok(Said { out, err }),
        false => Err(format!("{name}: {status}\n{out}{err}").into()),
    }
}

/// The driver, and cuBLAS beside it: loaded before anything asks for them.
pub fn device() -> (Control, Blas) {
    static LOADED: OnceLock<(Control, Blas)> = OnceLock::new();
    *LOADED.get_or_init(|| (Control::load().unwrap(), load_blas().unwrap()))
}

/// Whether a kernel of this name ships with the crate.
pub fn ships(name: &str) -> bool {
    ["nd_interp_", "nd_pairwise_f32", "nd_pairwise_f64", "nd_topk"].iter().any(|n| name.starts_with(n))
}

/// The variables for a child that calls a compiler through the library that counts its calls.
pub fn through(compiler: &Path) -> Result<[(&'static str, String); 2], Failed> {
    let counting = built("libsoftcuda_nvrtc.so")?.display().to_string();
    Ok([("NDCUDA_NVRTC", counting), ("SOFTCUDA_NVRTC", compiler.display().to_string())])
}
