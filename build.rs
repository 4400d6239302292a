//! Puts a hash of `kernels/` into the environment of the build, for the keys of cached kernels. Needs no CUDA toolkit.

use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=kernels");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let mut files: Vec<PathBuf> =
        fs::read_dir(root.join("kernels"))?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    // The folders hold what is made from these files.
    files.retain(|path| path.is_file());
    files.sort();
    let mut hash = Fnv::new();
    for file in files {
        hash.add(file.file_name().unwrap_or_default().as_encoded_bytes());
        hash.add(&fs::read(&file)?);
    }
    println!("cargo::rustc-env=NDCUDA_KERNELS_HASH={:016x}", hash.0);
    Ok(())
}

/// FNV-1a, 64 bits.
struct Fnv(u64);

impl Fnv {
    fn new() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    /// Takes in a chunk and its length, so that chunks cannot flow into one another.
    fn add(&mut self, bytes: &[u8]) {
        for &b in bytes.iter().chain(&(bytes.len() as u64).to_le_bytes()) {
            self.0 = (self.0 ^ b as u64).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}
