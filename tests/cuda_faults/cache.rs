//! Compiled kernels on disk, with the real NVRTC: warm starts, entries with something wrong, folders that take no files.

use crate::child::{self, Case, compilers, device, ships};
use crate::work::{expected, work};
use libtest_mimic::{Failed, Trial};
use ndarray::Array2;
use ndcuda::{Axis, Device};
use softcuda_driver::control::Kind;
use std::path::{Path, PathBuf};

/// A test on a folder of its own.
type Test = fn(&Folder) -> Result<(), Failed>;

/// What runs in a child, which tells where its kernels came from.
pub const PARTS: &[Case] = &[
    Case { name: "cache::one", variables: &[], body: one },
    Case { name: "cache::program", variables: &[], body: program },
];

/// The tests: each runs the child several times with one folder. Without NVRTC they are ignored.
pub fn parents(there: bool) -> Vec<Trial> {
    let tests: [(&str, Test); 13] = [
        ("warm_start_loads_no_compiler", warm_start),
        ("processes_at_once", processes_at_once),
        ("warm_start_where_cubins_are_refused", warm_start_of_ptx),
        ("off", off),
        ("truncated", truncated),
        ("foreign", foreign),
        ("refused_by_the_driver", refused),
        ("newer_compiler_than_driver", newer_compiler),
        ("failure_is_no_refusal", failure_is_no_refusal),
        ("file_in_its_place", file_in_its_place),
        ("folder_that_takes_no_files", no_files),
        ("full", full),
        ("debug_prints_texts_and_ptx", debug_prints),
    ];
    let trial = |(name, test): (&'static str, Test)| {
        Trial::test(format!("cache::{name}"), move || test(&Folder::new(name)?)).with_ignored_flag(!there)
    };
    tests.into_iter().map(trial).collect()
}

/// A fold and a map, of two evaluations.
fn one() {
    let (control, _) = device();
    if let Ok(n) = std::env::var("TEST_NTH") {
        control.fail_times(Kind::Module, n.parse().unwrap(), 2, 0);
    }
    control.record(true);
    let dev = Device::cuda(0).unwrap();
    let host = Array2::from_shape_fn((7, 9), |(i, j)| (i * 2 + j) as f32);
    let x = dev.array(&host).unwrap();
    let run = || -> ndcuda::Result<()> {
        assert_eq!((&x * 3.0 - 1.0).to_ndarray()?, &host * 3.0 - 1.0);
        assert_eq!((&x + 1.0).sum_axis(Axis(1)).to_ndarray()?, (&host + 1.0).sum_axis(Axis(1)));
        Ok(())
    };
    if std::env::var_os("TEST_NTH").is_some() {
        assert!(run().is_err());
        println!("one failed");
    }
    run().unwrap();
    for launch in control.launches() {
        println!("{} kernel", if ships(&launch.name()) { "shipped" } else { "own" });
    }
}

/// A whole program; whether it loaded the compiler, of which the system has a list.
fn program() {
    device();
    assert_eq!(work(&Device::cuda(0).unwrap()).unwrap(), expected());
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    println!("NVRTC was {}", if maps.contains("libnvrtc") { "loaded" } else { "not loaded" });
}

/// A folder of its own for a test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Result<Folder, Failed> {
        let path = std::env::temp_dir().join(format!("ndcuda-kept-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path)?;
        Ok(Folder(path))
    }

    fn entries(&self) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> =
            std::fs::read_dir(&self.0).into_iter().flatten().flatten().map(|e| e.path()).collect();
        all.sort();
        all
    }

    /// Runs the child with this cache.
    fn run(&self, compiler: Option<&Path>, more: &[(&str, &str)]) -> Result<Said, Failed> {
        run_with(&self.0, compiler, more, ONE)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

type Runner = fn(&[(&str, &str)]) -> Result<String, Failed>;

const ONE: Runner = |variables| child::run("cache::one", variables);

fn run_with(cache: &Path, compiler: Option<&Path>, more: &[(&str, &str)], run: Runner) -> Result<Said, Failed> {
    let nowhere = Path::new("/nowhere/libnvrtc.so.13");
    let (cache, compiler) = (cache.display().to_string(), compiler.unwrap_or(nowhere).display().to_string());
    let mut variables = vec![("NDCUDA_CACHE_DIR", cache.as_str()), ("NDCUDA_NVRTC", &compiler)];
    variables.extend(more);
    run(&variables).map(Said)
}

/// What a child told.
struct Said(String);

impl Said {
    fn kernels(&self, kind: &str) -> usize {
        self.0.lines().filter(|l| *l == format!("{kind} kernel")).count()
    }

    /// Both kernels are of this kind.
    #[track_caller]
    fn all(&self, kind: &str) {
        assert_eq!((self.kernels("own") + self.kernels("shipped"), self.kernels(kind)), (2, 2), "{}", self.0);
    }
}

fn newest() -> Option<PathBuf> {
    compilers().into_iter().next()
}

fn warm_start(folder: &Folder) -> Result<(), Failed> {
    for compiler in compilers() {
        folder.run(Some(&compiler), &[])?.all("own");
        assert_eq!(folder.entries().len(), 2, "an entry for each kernel: {:?}", folder.entries());
        folder.run(None, &[])?.all("own");
        // What is at hand is taken at once.
        folder.run(None, &[("NDCUDA_JIT", "background")])?.all("own");
        // Another architecture has entries of its own.
        folder.run(None, &[("SOFTCUDA_CC", "9.0")])?.all("shipped");
        folder.entries().iter().try_for_each(std::fs::remove_file)?;
        // Where there is a compiler, nothing of it is loaded to find that it is not needed.
        for loaded in ["loaded", "not loaded"] {
            let Said(said) = run_with(&folder.0, Some(&compiler), &[], |v| child::run("cache::program", v))?;
            assert!(said.contains(&format!("NVRTC was {loaded}\n")), "{said}");
        }
        folder.entries().iter().try_for_each(std::fs::remove_file)?;
    }
    Ok(())
}

/// Two processes make the same kernels while two others make their own: all run, each entry is whole, and later ones compile nothing.
fn processes_at_once(folder: &Folder) -> Result<(), Failed> {
    let compiler = newest();
    for _ in 0..3 {
        let made: Vec<Result<Said, Failed>> = std::thread::scope(|s| {
            let run = |cc| folder.run(compiler.as_deref(), &[("SOFTCUDA_CC", cc)]);
            let all = ["8.0", "8.0", "9.0", "9.0"].map(|cc| s.spawn(move || run(cc)));
            all.into_iter().map(|child| child.join().unwrap_or_else(|_| Err("it panicked".into()))).collect()
        });
        for said in made {
            said?.all("own");
        }
        assert_eq!(folder.entries().len(), 4, "an entry for each kernel and architecture: {:?}", folder.entries());
        for cc in ["8.0", "9.0"] {
            folder.run(None, &[("SOFTCUDA_CC", cc)])?.all("own");
        }
        folder.entries().iter().try_for_each(std::fs::remove_file)?;
    }
    Ok(())
}

/// The device refuses machine code: PTX is made, kept, and found by the next process.
fn warm_start_of_ptx(folder: &Folder) -> Result<(), Failed> {
    folder.run(newest().as_deref(), &[("NDCUDA_CODE", "cubin")])?.all("own");
    assert_eq!(folder.entries().len(), 2);
    folder.run(None, &[("NDCUDA_CODE", "cubin")])?.all("own");
    Ok(())
}

fn off(folder: &Folder) -> Result<(), Failed> {
    run_with(Path::new(""), newest().as_deref(), &[], ONE)?.all("own");
    folder.run(newest().as_deref(), &[("NDCUDA_JIT", "off")])?.all("shipped");
    assert_eq!(folder.entries().len(), 0);
    Ok(())
}

/// From level 4 on the text of each kernel, at level 6 its PTX, too, be it what is loaded or not.
fn debug_prints(_: &Folder) -> Result<(), Failed> {
    for (level, code) in [("3", "ptx"), ("4", "ptx"), ("5", "ptx"), ("6", "ptx"), ("6", "cubin")] {
        let variables = [("NDCUDA_DEBUG", level), ("NDCUDA_CODE", code)];
        let Said(said) = run_with(Path::new(""), newest().as_deref(), &variables, ONE)?;
        let (text, ptx) =
            (said.matches("extern \"C\" __global__").count(), said.matches(".visible .entry nd_").count());
        // Where the driver refuses a cubin, it is PTX that is compiled after it.
        let compiled = said.matches(" ms to compile nd_").count();
        assert_eq!((text > 0, ptx), (level > "3", if level == "6" { compiled } else { 0 }), "level {level}: {said}");
        assert!(compiled >= 2 && !said.contains('\0'), "level {level}: {said}");
    }
    Ok(())
}

/// Entries with something wrong are compiled again where there is a compiler, and are as good as none where not.
fn spoilt(folder: &Folder, spoil: impl Fn(&[PathBuf]) -> std::io::Result<()>) -> Result<(), Failed> {
    folder.run(newest().as_deref(), &[])?.all("own");
    let entries = folder.entries();
    let good: Vec<Vec<u8>> = entries.iter().map(std::fs::read).collect::<Result<_, _>>()?;
    spoil(&entries)?;
    folder.run(None, &[])?.all("shipped");
    folder.run(newest().as_deref(), &[])?.all("own");
    let again: Vec<Vec<u8>> = folder.entries().iter().map(std::fs::read).collect::<Result<_, _>>()?;
    assert!(again == good, "the entries are what they were");
    folder.run(None, &[])?.all("own");
    Ok(())
}

fn truncated(folder: &Folder) -> Result<(), Failed> {
    spoilt(folder, |entries| {
        for (n, path) in entries.iter().enumerate() {
            let bytes = std::fs::read(path)?;
            std::fs::write(path, &bytes[..if n == 0 { 0 } else { bytes.len() - 1 }])?;
        }
        Ok(())
    })
}

/// Another kernel's entry under this one's name, and a file of something else.
fn foreign(folder: &Folder) -> Result<(), Failed> {
    spoilt(folder, |entries| {
        std::fs::copy(&entries[0], &entries[1])?;
        std::fs::write(&entries[0], "\x7fELF of something else".repeat(100))
    })
}

/// An entry that is whole, but that this driver does not take: PTX of CUDA 13 under a driver of CUDA 12.9.
fn refused(folder: &Folder) -> Result<(), Failed> {
    let of = |name: &str| compilers().into_iter().find(|c| c.ends_with(name));
    let (Some(new), Some(old)) = (of("libnvrtc.so.13"), of("libnvrtc.so.12")) else {
        return Err("both NVRTC 12 and 13 are needed in target/nvrtc-venv".into());
    };
    let driver = [("SOFTCUDA_DRIVER", "12.9")];
    folder.run(Some(&new), &[])?.all("own");
    let before = folder.entries();
    // Refused entries go; NVRTC 13 is no choice for this driver.
    folder.run(Some(&new), &driver)?.all("shipped");
    assert_eq!(folder.entries().len(), 0);
    folder.run(Some(&new), &[])?.all("own");
    folder.run(Some(&old), &driver)?.all("own");
    assert_eq!(folder.entries(), before, "compiled once more, under the same names");
    folder.run(None, &driver)?.all("own");
    Ok(())
}

/// NVRTC 12.9 under a driver of CUDA 12.4, which takes neither its machine code (this one none at all) nor its PTX.
fn newer_compiler(folder: &Folder) -> Result<(), Failed> {
    let Some(old) = compilers().into_iter().find(|c| c.ends_with("libnvrtc.so.12")) else {
        return Err("NVRTC 12 is needed in target/nvrtc-venv".into());
    };
    for code in ["cubin", "ptx"] {
        folder.run(Some(&old), &[("SOFTCUDA_DRIVER", "12.4"), ("NDCUDA_CODE", code)])?.all("shipped");
    }
    assert_eq!(folder.entries().len(), 0);
    Ok(())
}

/// A module that does not load for want of memory is an error, and its entry stays.
fn failure_is_no_refusal(folder: &Folder) -> Result<(), Failed> {
    folder.run(newest().as_deref(), &[])?.all("own");
    for n in ["1", "2"] {
        let said = folder.run(None, &[("TEST_NTH", n)])?;
        assert!(said.0.contains("one failed") && said.kernels("shipped") == 0, "{}", said.0);
        assert_eq!(folder.entries().len(), 2, "call {n}");
    }
    Ok(())
}

fn file_in_its_place(folder: &Folder) -> Result<(), Failed> {
    let file = folder.0.join("file");
    std::fs::write(&file, "not a folder")?;
    run_with(&file, newest().as_deref(), &[], ONE)?.all("own");
    run_with(&file.join("below"), newest().as_deref(), &[], ONE)?.all("own");
    assert_eq!(std::fs::read(&file)?, b"not a folder");
    Ok(())
}

/// A folder in which nobody can make a file, whatever his rights.
fn no_files(_: &Folder) -> Result<(), Failed> {
    run_with(Path::new("/proc/self/fdinfo"), newest().as_deref(), &[], ONE)?.all("own");
    Ok(())
}

/// No byte can be written: what stays is a folder without entries and without temporary files.
fn full(folder: &Folder) -> Result<(), Failed> {
    run_with(&folder.0, newest().as_deref(), &[], |variables| child::run_without_files("cache::one", variables))?
        .all("own");
    assert_eq!(folder.entries().len(), 0);
    Ok(())
}
