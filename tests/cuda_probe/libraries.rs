//! NVRTC and cuBLAS that are absent, broken, too new, or somewhere: what is said, that docs/troubleshooting.md has it, and where they are found.

use crate::child::Said;
use crate::drivers::{compile, in_docs, line, said};
use libtest_mimic::{Failed, Trial};
use std::fs;
use std::path::Path;

/// A library's file as both are called, and the function that tells its version.
const LIBRARIES: [(&str, &str, &str, &str); 2] = [
    (
        "NVRTC",
        "NDCUDA_NVRTC",
        "libnvrtc.so.12",
        "int nvrtcVersion(int *a, int *b) { *a = MAJOR; *b = 0; return STATUS; }",
    ),
    (
        "cuBLAS",
        "NDCUDA_CUBLAS",
        "libcublas.so.12",
        "int cublasGetProperty(int w, int *v) { *v = w ? 0 : MAJOR; return STATUS; }",
    ),
];

type Test = fn(&Path) -> Result<(), Failed>;

/// All of them; `folder` has the drivers.
pub fn trials(folder: &Path, ready: bool) -> Vec<Trial> {
    let tests: [(&str, Test); 3] = [
        ("libraries::absent", absent),
        ("libraries::broken", broken),
        ("libraries::found_in_environments", found_in_environments),
    ];
    let trial = |(name, test): (&str, Test)| {
        let folder = folder.to_path_buf();
        Trial::test(name, move || test(&folder)).with_ignored_flag(!ready)
    };
    tests.into_iter().map(trial).collect()
}

/// What the child says with a driver of CUDA 12 that works.
fn with_driver(folder: &Path, variables: &[(&str, &str)]) -> Result<Said, Failed> {
    said(Some(&folder.join("whole")), variables)
}

#[track_caller]
fn documented(sentence: &str) {
    assert!(in_docs(sentence), "docs/troubleshooting.md has no {sentence:?}");
}

/// Nothing is set and nothing is there. A system with libraries of its own has other things to say.
fn absent(folder: &Path) -> Result<(), Failed> {
    let said = with_driver(folder, &[])?;
    for (title, package) in [("NVRTC", "nvidia-cuda-nvrtc"), ("cuBLAS", "nvidia-cublas")] {
        let sentence = format!("{title} was not found; ");
        documented(&sentence);
        let got = line(&said, &format!("report {title}: "));
        let found = got.starts_with(|c: char| c.is_ascii_digit())
            || got.contains("files seen")
            || got.contains("does not load");
        assert!(
            found || got.starts_with(&sentence) && got.contains(&format!("install {package} for CUDA 12")),
            "{got}"
        );
        if found {
            println!("{title} is installed on this system: what is said without it is not tested");
        }
    }
    Ok(())
}

/// The file that a variable names is wrong in one way.
fn broken(folder: &Path) -> Result<(), Failed> {
    for (title, variable, file, function) in LIBRARIES {
        let version = function.split(['(', ' ']).nth(1).unwrap_or_default();
        let of = |major: &str, status: &str| function.replace("MAJOR", major).replace("STATUS", status);
        let cases = [
            ("too-new", of("13", "0"), "is of CUDA 13.0, newer than the driver's CUDA 12".to_string()),
            ("other", "int other() { return 0; }".into(), "cannot be used: it has no ".into()),
            ("mute", of("12", "5"), format!("cannot be used: {version} gives error ")),
            ("half", of("12", "0"), "cannot be used: it has no ".into()),
            ("garbage", String::new(), "does not load: ".into()),
        ];
        for (kind, text, sentence) in cases {
            let at = folder.join(format!("{title}-{kind}"));
            match text.is_empty() {
                true => fs::create_dir_all(&at).and_then(|()| fs::write(at.join(file), "no library"))?,
                false => compile(&at, file, &text, None)?,
            }
            let path = at.join(file).display().to_string();
            let said = with_driver(folder, &[(variable, &path)])?;
            let got = line(&said, &format!("report {title}: "));
            assert!(got.contains(&sentence), "{kind}: {got}");
            let named = if kind == "half" { path.clone() } else { format!("{variable}={path}: {path}") };
            assert!(got.starts_with(&format!("{named} ")), "{kind}: {got}");
            documented(&sentence);
        }
        let said = with_driver(folder, &[(variable, "/nowhere")])?;
        assert!(
            line(&said, &format!("report {title}: ")).starts_with(&format!("{variable}=/nowhere: ")),
            "{}",
            said.out
        );
        documented(&format!("{variable}=...: "));
        // A path that is not whole is told as what was tried, and a name as the loader's own.
        let here = std::env::current_dir()?.display().to_string();
        for (given, tried) in
            [("no/where.so", format!("{here}/no/where.so")), ("libnowhere.so", "libnowhere.so".into())]
        {
            let said = with_driver(folder, &[(variable, given)])?;
            let got = line(&said, &format!("report {title}: "));
            assert!(got.starts_with(&format!("{variable}={given}: {tried} does not load: ")), "{got}");
        }
        let probe = line(&said, "probe: cuda:0 (");
        let sentence = match title {
            "NVRTC" => "; kernels are those that ship, which are slower: NDCUDA_NVRTC=/nowhere: ",
            _ => "; matrix products run on ndcuda's own kernels: NDCUDA_CUBLAS=/nowhere: ",
        };
        assert!(probe.contains(sentence), "{probe}");
        documented(sentence.trim_start_matches("; ").split("NDCUDA").next().unwrap_or_default().trim());
    }
    Ok(())
}

/// Where Python, conda and toolkits have them: a file that does not load is named.
fn found_in_environments(folder: &Path) -> Result<(), Failed> {
    let places = [
        ("VIRTUAL_ENV", "lib/python3.12/site-packages/nvidia/WHEEL/lib"),
        ("VIRTUAL_ENV", "lib64/python3.12/site-packages/nvidia/WHEEL/lib"),
        ("VIRTUAL_ENV", "lib/python3.12/site-packages/nvidia/cu13/lib"),
        ("CONDA_PREFIX", "lib"),
        ("CONDA_PREFIX", "targets/x86_64-linux/lib"),
        ("CONDA_PREFIX", "lib/python3.10/site-packages/nvidia/WHEEL/lib"),
        ("HOME", ".local/lib/python3.11/site-packages/nvidia/WHEEL/lib"),
        ("HOME", ".local/lib64/python3.11/site-packages/nvidia/WHEEL/lib"),
        ("HOME", ".local/share/ndcuda/lib"),
        ("XDG_DATA_HOME", "ndcuda/lib"),
        ("CUDA_HOME", "lib64"),
        ("CUDA_PATH", "targets/x86_64-linux/lib"),
    ];
    for (n, (variable, place)) in places.into_iter().enumerate() {
        for ((title, _, file, _), wheel) in LIBRARIES.iter().zip(["cuda_nvrtc", "cublas"]) {
            let root = folder.join(format!("root-{n}"));
            let at = root.join(place.replace("WHEEL", wheel));
            fs::create_dir_all(&at)?;
            fs::write(at.join(file), "no library")?;
            let root = root.display().to_string();
            let mut variables = vec![(variable, root.as_str())];
            if variable == "HOME" {
                variables.push(("XDG_DATA_HOME", ""));
            }
            let said = with_driver(folder, &variables)?;
            let (got, file) = (line(&said, &format!("report {title}: ")), at.join(file).display().to_string());
            assert!(got.contains(&file) || got.starts_with(|c: char| c.is_ascii_digit()), "{variable} {place}: {got}");
        }
    }
    Ok(())
}
