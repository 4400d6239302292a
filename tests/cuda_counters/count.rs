//! A case under every compiler and two orders of warps, and what its evaluations did.

use crate::child::{self, Case, device, ships};
use libtest_mimic::{Failed, Trial};
use ndcuda::Device;
use softcuda_driver::control::{KernelCounters, LaunchRecord};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

/// A case as a test: what it says of its results depends neither on the compiler nor on the order in which warps run.
pub fn trial(case: &Case, compilers: &[PathBuf]) -> Trial {
    let (case, compilers) = (*case, compilers.to_vec());
    let none = compilers.is_empty();
    let body = move || {
        let mut results = vec![];
        for compiler in &compilers {
            for seed in ["0", "7"] {
                let nvrtc = compiler.display().to_string();
                let mut variables = vec![("NDCUDA_NVRTC", nvrtc.as_str()), ("SOFTCUDA_SEED", seed)];
                variables.extend(case.variables);
                let said = child::run(case.name, &variables)?;
                let said: Vec<String> = said.lines().filter(|l| l.starts_with("result")).map(String::from).collect();
                results.push((format!("{nvrtc}, seed {seed}"), said));
            }
        }
        match results.iter().find(|r| r.1 != results[0].1) {
            Some(other) => Err(Failed::from(format!("{:?}\nand {other:?}", results[0]))),
            None => Ok(()),
        }
    };
    Trial::test(case.name, body).with_ignored_flag(none)
}

/// What evaluations did.
#[derive(Debug)]
pub struct Done {
    /// Their launches.
    pub launches: Vec<LaunchRecord>,
    /// Those added up.
    pub all: KernelCounters,
    /// Bytes of device memory that were in use at most, beyond those before.
    pub peak: u64,
}

impl Done {
    /// Bytes of the sectors that loads touched.
    pub fn read(&self) -> u64 {
        32 * self.all.load_sectors
    }

    /// Bytes of those that were new to their block: what a GPU's L1 cache lacks, where it holds all that a block reads.
    pub fn missed(&self) -> u64 {
        32 * self.all.missed_sectors
    }

    /// No request to shared memory waited for a bank.
    #[track_caller]
    pub fn no_conflicts(&self) {
        for l in &self.launches {
            let c = &l.counters;
            let (n, line) = (c.worst_requests, l.worst_instruction());
            assert_eq!(c.bank_conflicts, 0, "{}: most by {n} requests of `{line}`: {c:?}", l.name());
        }
    }
}

/// Evaluates with the counters on. All kernels have to be compiled ones, and no detector may have found anything.
#[track_caller]
pub fn counted<T>(what: &str, evaluate: impl FnOnce() -> ndcuda::Result<T>) -> (T, Done) {
    let (control, _) = device();
    control.reset();
    control.record(true);
    control.reset_peak();
    let before = control.live().peak_bytes;
    let value = evaluate().unwrap();
    let launches = control.launches();
    let mut all = KernelCounters::default();
    for l in &launches {
        all += l.counters;
        let name = l.name();
        assert!(!ships(&name), "{what}: {name} is a kernel that ships");
    }
    assert_eq!(control.last_fault(), None);
    (value, Done { launches, all, peak: control.live().peak_bytes - before })
}

/// The software device.
pub fn cuda() -> Device {
    device();
    Device::cuda(0).unwrap()
}

/// Numbers between -1 and 1 that look random, with many digits.
pub fn noise(n: usize) -> f64 {
    let x = (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((x ^ x >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// Says a result, to be compared among compilers and orders of warps.
pub fn result<T: Into<f64>>(what: &str, values: impl IntoIterator<Item = T>) {
    let mut hash = DefaultHasher::new();
    values.into_iter().for_each(|v| v.into().to_bits().hash(&mut hash));
    println!("result {what} {:016x}", hash.finish());
}

/// Says what evaluations asked of memory beside the bytes that they had to read.
pub fn report(what: &str, done: &Done, bytes: u64) {
    let c = &done.all;
    println!(
        "{what}: launches {}, sectors read {:.4} of the operands, {:.4} not by their block before, {} of {} loads and {} of {} stores of 16 bytes, conflicts {}",
        c.launches,
        done.read() as f64 / bytes as f64,
        done.missed() as f64 / bytes as f64,
        c.wide_loads,
        c.load_requests,
        c.wide_stores,
        c.store_requests,
        c.bank_conflicts,
    );
}
