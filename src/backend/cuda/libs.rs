//! Finding NVRTC and cuBLAS: in the loader's own places, Python environments, conda, CUDA toolkits and a folder of the user's.

use std::ffi::c_int;
use std::fs::read_dir;
use std::path::{Path, PathBuf};

/// One of the libraries that are no part of the driver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// What it is called in sentences.
    pub title: &'static str,
    /// The variable that names its file.
    pub variable: &'static str,
    /// Its name without prefix and suffix.
    pub stem: &'static str,
    /// Where the Python packages put it, below `nvidia/`.
    pub wheel: &'static str,
    /// The package to install.
    pub package: &'static str,
    /// Libraries that it opens by name and that stand next to it, without prefix and suffix.
    pub beside: &'static [&'static str],
}

/// The run-time compiler.
pub const NVRTC: Wanted = Wanted {
    title: "NVRTC",
    variable: "NDCUDA_NVRTC",
    stem: "nvrtc",
    wheel: "cuda_nvrtc",
    package: "nvidia-cuda-nvrtc",
    beside: &["nvrtc-builtins"],
};

/// The matrix products.
pub const CUBLAS: Wanted = Wanted {
    title: "cuBLAS",
    variable: "NDCUDA_CUBLAS",
    stem: "cublas",
    wheel: "cublas",
    package: "nvidia-cublas",
    beside: &["cublasLt"],
};

/// Where toolkits have the libraries for one architecture.
const TARGETS: [&str; 2] = ["targets/x86_64-linux/lib", "targets/sbsa-linux/lib"];

/// Majors that are looked for, newest first.
const MAJORS: [c_int; 2] = [13, 12];

/// A library that was opened.
#[derive(Debug)]
pub struct Opened {
    /// It; never closed: what it made lives on.
    pub library: libloading::Library,
    /// Its file, or the name the loader found it by.
    pub path: PathBuf,
}

/// Opens the library of the newest major that the driver takes (`driver`: its CUDA major). `version` reads the library's own version and
/// says what is missing in it. Where none can be used, a sentence says what was found and what to do.
pub fn open(
    wanted: Wanted,
    driver: c_int,
    version: impl Fn(&libloading::Library) -> Result<(c_int, c_int), String>,
) -> Result<(Opened, (c_int, c_int)), String> {
    let given = std::env::var_os(wanted.variable).filter(|v| !v.is_empty()).map(PathBuf::from);
    let mut refused = vec![];
    let mut attempt = |path: &Path| -> Option<(Opened, (c_int, c_int))> {
        let opened = match load(wanted, path) {
            Ok(library) => Opened { library, path: path.into() },
            // The loader's names are guesses, unless one is given: what is not there needs no word.
            Err(reason) => {
                if path.is_absolute() || given.is_some() {
                    refused.push(format!("{} does not load: {reason}", path.display()));
                }
                return None;
            }
        };
        match version(&opened.library) {
            Ok(v) if v.0 <= driver => Some((opened, v)),
            Ok(v) => {
                refused.push(format!(
                    "{} is of CUDA {}.{}, newer than the driver's CUDA {driver}",
                    opened.path.display(),
                    v.0,
                    v.1
                ));
                None
            }
            Err(reason) => {
                refused.push(format!("{} cannot be used: {reason}", opened.path.display()));
                None
            }
        }
    };
    if let Some(given) = &given {
        // Companions are looked for, and errors told, by the whole path; a name alone is the loader's to find.
        let is_path = given.components().nth(1).is_some() || given.is_dir();
        let whole = if is_path { std::path::absolute(given).unwrap_or_else(|_| given.clone()) } else { given.clone() };
        let files = if whole.is_dir() { files_in(wanted, &whole) } else { vec![(0, whole)] };
        if let Some(found) = files.iter().find_map(|(_, f)| attempt(f)) {
            return Ok(found);
        }
        let why = if refused.is_empty() { "no such library in that folder".into() } else { refused.join("; ") };
        return Err(format!("{}={}: {why}", wanted.variable, given.display()));
    }
    let mut files: Vec<(c_int, PathBuf)> = names(wanted).into_iter().filter(|f| f.0 <= driver).collect();
    files.extend(folders(wanted).iter().flat_map(|f| files_in(wanted, f)));
    // Newest first, and among equals as found; those too new come last, to be named.
    files.sort_by_key(|(major, _)| if *major <= driver { -major } else { *major });
    if let Some(found) = files.iter().find_map(|(_, f)| attempt(f)) {
        return Ok(found);
    }
    let Wanted { title, variable, package, .. } = wanted;
    let what = if refused.is_empty() { format!("{title} was not found") } else { refused.join("; ") };
    Err(format!(
        "{what}; run scripts/get-cuda-libs.sh, install {package} for CUDA {driver} (pip or conda), or set {variable} to its file"
    ))
}

/// The files that would be tried, in order of the folders they stand in.
pub fn candidates(wanted: Wanted) -> Vec<PathBuf> {
    folders(wanted).iter().flat_map(|f| files_in(wanted, f)).map(|f| f.1).collect()
}

/// Names the loader may know, with the major they mean.
fn names(wanted: Wanted) -> Vec<(c_int, PathBuf)> {
    let stem = wanted.stem;
    if cfg!(windows) {
        return MAJORS
            .iter()
            .flat_map(|m| [format!("{stem}64_{m}0_0.dll"), format!("{stem}64_{m}.dll")].map(|n| (*m, n.into())))
            .collect();
    }
    let mut list: Vec<(c_int, PathBuf)> = MAJORS.iter().map(|m| (*m, format!("lib{stem}.so.{m}").into())).collect();
    // The bare name may mean any version: it says itself which.
    list.push((MAJORS[1], format!("lib{stem}.so").into()));
    list
}

/// The library's files in a folder, with the major in their names, newest first.
fn files_in(wanted: Wanted, folder: &Path) -> Vec<(c_int, PathBuf)> {
    let Ok(entries) = read_dir(folder) else { return vec![] };
    let mut found: Vec<(c_int, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| Some((major_of(wanted.stem, entry.file_name().to_str()?)?, entry.path())))
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found
}

/// The major in `libnvrtc.so.13` or `nvrtc64_130_0.dll`; none where the file is another.
fn major_of(stem: &str, file: &str) -> Option<c_int> {
    if cfg!(windows) {
        let digits = file.strip_prefix(stem)?.strip_prefix("64_")?.strip_suffix(".dll")?.split('_').next()?;
        return digits.get(..2)?.parse().ok();
    }
    file.strip_prefix("lib")?.strip_prefix(stem)?.strip_prefix(".so.")?.parse().ok()
}

/// The folders where such libraries stand, nearest to the user first.
fn folders(wanted: Wanted) -> Vec<PathBuf> {
    let mut out: Vec<PathBuf> = vec![];
    let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    out.extend(user_folder());
    let mut sites = vec![];
    for root in [variable("VIRTUAL_ENV"), variable("CONDA_PREFIX")].into_iter().flatten() {
        sites.extend(python_sites(&root));
        sites.push(root.join("Lib").join("site-packages"));
        out.push(root.join("lib"));
        // conda-forge's packages of CUDA have what is for one architecture here.
        out.extend(TARGETS.map(|t| root.join(t)));
        out.push(root.join("Library").join("bin"));
    }
    if let Some(home) = variable("HOME") {
        sites.extend(python_sites(&home.join(".local")));
    }
    for root in ["/usr/local", "/usr"] {
        sites.extend(python_sites(Path::new(root)));
    }
    for site in sites {
        let nvidia = site.join("nvidia");
        for part in ["cu13", wanted.wheel] {
            for lib in ["lib", "bin"] {
                out.push(nvidia.join(part).join(lib));
            }
        }
    }
    let mut toolkits: Vec<PathBuf> = [variable("CUDA_HOME"), variable("CUDA_PATH")].into_iter().flatten().collect();
    for root in ["/usr/local", "/opt"] {
        let mut found: Vec<PathBuf> = read_dir(root).into_iter().flatten().flatten().map(|e| e.path()).collect();
        found.retain(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("cuda")));
        found.sort();
        toolkits.extend(found);
    }
    for toolkit in toolkits {
        for lib in ["lib64", "lib"].into_iter().chain(TARGETS).chain(["bin"]) {
            out.push(toolkit.join(lib));
        }
    }
    out
}

/// The folder that `scripts/get-cuda-libs.sh` fills.
pub fn user_folder() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let data = variable("XDG_DATA_HOME").or_else(|| Some(variable("HOME")?.join(".local").join("share")));
    Some(data.or_else(|| variable("LOCALAPPDATA"))?.join("ndcuda").join("lib"))
}

/// `python3.N/site-packages` and its kin in a `lib` folder.
fn python_sites(root: &Path) -> Vec<PathBuf> {
    let in_lib = |lib| {
        let mut pythons: Vec<PathBuf> =
            read_dir(root.join(lib)).into_iter().flatten().flatten().map(|e| e.path()).collect();
        pythons.retain(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("python3")));
        pythons.sort();
        pythons.reverse();
        pythons.into_iter().flat_map(|p| [p.join("site-packages"), p.join("dist-packages")])
    };
    ["lib", "lib64"].into_iter().flat_map(in_lib).collect()
}

/// Whether a file is a library of this stem, and of this major where one is given.
fn stands_beside(stem: &str, major: Option<c_int>, file: &str) -> bool {
    let prefix = if cfg!(windows) { format!("{stem}64_") } else { format!("lib{stem}.so.") };
    let Some(version) = file.strip_prefix(&prefix) else { return false };
    let digits = major.map_or(String::new(), |m| m.to_string());
    version
        .strip_prefix(&digits)
        .is_some_and(|rest| cfg!(windows) || major.is_none() || !rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Opens a file, and first the libraries that it opens by name, which the loader would not find.
pub fn load(wanted: Wanted, path: &Path) -> Result<libloading::Library, String> {
    if let Some(folder) = path.parent().filter(|_| path.is_absolute()) {
        let major = path.file_name().and_then(|n| major_of(wanted.stem, n.to_str()?));
        for stem in wanted.beside {
            let mut files: Vec<PathBuf> = read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).collect();
            files.retain(|f| f.file_name().is_some_and(|n| stands_beside(stem, major, &n.to_string_lossy())));
            files.sort();
            for file in files {
                if let Ok(library) = dlopen(&file) {
                    // Left open for the one that needs it.
                    std::mem::forget(library);
                }
            }
        }
    }
    dlopen(path).map_err(|e| e.to_string())
}

#[cfg(unix)]
fn dlopen(path: &Path) -> Result<libloading::Library, libloading::Error> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: opening runs the library's initialisers, as every program that links it does.
    unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) }.map(Into::into)
}

#[cfg(not(unix))]
fn dlopen(path: &Path) -> Result<libloading::Library, libloading::Error> {
    // SAFETY: opening runs the library's initialisers, as every program that links it does.
    unsafe { libloading::Library::new(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn majors_are_read_off_file_names() {
        assert_eq!(major_of("nvrtc", "libnvrtc.so.13"), Some(13));
        assert_eq!(major_of("cublas", "libcublas.so.12"), Some(12));
        for other in ["libnvrtc.so", "libnvrtc.so.12.9", "libnvrtc.alt.so.12", "libnvrtc-builtins.so.13", "nvrtc.so.13"]
        {
            assert_eq!(major_of("nvrtc", other), None, "{other}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn companions_are_of_the_same_major() {
        for (file, fits) in [
            ("libnvrtc-builtins.so.13.5", true),
            ("libnvrtc-builtins.so.13", true),
            ("libnvrtc-builtins.so.12.9", false),
            ("libnvrtc-builtins.so.130.1", false),
            ("libnvrtc-builtins.alt.so.13.5", false),
            ("libnvrtc.so.13", false),
        ] {
            assert_eq!(stands_beside("nvrtc-builtins", Some(13), file), fits, "{file}");
        }
        assert!(stands_beside("cublasLt", None, "libcublasLt.so.12"));
    }

    #[test]
    #[cfg(unix)]
    fn a_file_that_is_no_library_is_a_sentence() {
        let folder = std::env::temp_dir().join(format!("ndcuda-libs-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("libnvrtc.so.13");
        std::fs::write(&file, "no library").unwrap();
        assert_eq!(files_in(NVRTC, &folder), [(13, file.clone())]);
        assert!(load(NVRTC, &file).is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
