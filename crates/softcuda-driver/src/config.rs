//! What is played: read from the environment at `cuInit`, or set by `softcuda_configure` before it.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Mutex;

use crate::abi::lock;

/// Settings of the software device.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `SOFTCUDA_DEVICES`: how many devices; 0 makes `cuInit` say that there is none.
    pub devices: usize,
    /// `SOFTCUDA_CC`: the compute capability.
    pub cc: (u32, u32),
    /// `SOFTCUDA_MEMORY`: bytes of each device.
    pub memory: u64,
    /// `SOFTCUDA_SMS`: multiprocessors; few, so that a grid that fills the device stays small.
    pub sms: u32,
    /// `SOFTCUDA_DRIVER`: the CUDA version that the driver knows.
    pub driver: (u32, u32),
    /// `SOFTCUDA_POOLS`: whether there are memory pools.
    pub pools: bool,
    /// `SOFTCUDA_SEED`: of the order in which warps run, and streams where nothing orders them.
    pub seed: u64,
    /// `SOFTCUDA_DETECT`: the detectors that can be switched off, by name.
    pub detect: softcuda::Detect,
    /// `NDCUDA_SOFT_DEFER`: work waits until something synchronizes.
    pub defer: bool,
    /// `CUDA_LAUNCH_BLOCKING`: a launch returns what the kernel did.
    pub blocking: bool,
    /// `SOFTCUDA_TRACE`: each failing call is printed.
    pub trace: bool,
}

static SET: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());

/// Sets a variable for this process as though it stood in the environment.
pub fn set(key: String, value: String) {
    lock(&SET).insert(key, value);
}

fn variable(key: &str) -> Option<String> {
    lock(&SET).get(key).cloned().or_else(|| std::env::var(key).ok()).filter(|v| !v.is_empty())
}

/// The variable's value, or the default; a value that cannot be read is said, not guessed.
fn value<T: FromStr>(key: &str, default: T) -> T {
    match variable(key) {
        None => default,
        Some(text) => text.trim().parse().unwrap_or_else(|_| {
            eprintln!("softcuda: {key}={text} is not understood, the default holds");
            default
        }),
    }
}

fn pair(key: &str, default: (u32, u32)) -> (u32, u32) {
    let Some(text) = variable(key) else { return default };
    let mut parts = text.trim().splitn(2, '.').map(str::parse);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor),
        (Some(Ok(major)), None) => (major, 0),
        _ => {
            eprintln!("softcuda: {key}={text} is not a version such as 12.4, the default holds");
            default
        }
    }
}

/// All detectors, none of those that can be switched off, or those that are named.
fn detect() -> softcuda::Detect {
    let text = variable("SOFTCUDA_DETECT").unwrap_or_else(|| "all".to_string());
    let names: Vec<&str> = text.split(',').map(str::trim).collect();
    let known = ["all", "none", "uninit", "race", "misaligned"];
    if let Some(other) = names.iter().find(|n| !known.contains(n)) {
        eprintln!("softcuda: SOFTCUDA_DETECT knows no {other}, only {}", known.join(", "));
    }
    let on = |name| names.contains(&name) || names.contains(&"all");
    softcuda::Detect { uninit: on("uninit"), race: on("race"), misaligned: on("misaligned") }
}

impl Config {
    /// What the environment asks for.
    pub fn read() -> Config {
        let on = |key, default: u8| value(key, default) != 0;
        Config {
            devices: value("SOFTCUDA_DEVICES", 1),
            cc: pair("SOFTCUDA_CC", (8, 0)),
            memory: value("SOFTCUDA_MEMORY", 8 << 30),
            sms: value("SOFTCUDA_SMS", 8).max(1),
            driver: pair("SOFTCUDA_DRIVER", (13, 5)),
            pools: on("SOFTCUDA_POOLS", 1),
            seed: value("SOFTCUDA_SEED", 0),
            detect: detect(),
            defer: on("NDCUDA_SOFT_DEFER", 0),
            blocking: on("CUDA_LAUNCH_BLOCKING", 0),
            trace: on("SOFTCUDA_TRACE", 0),
        }
    }

    /// The newest PTX that the played driver takes.
    pub fn ptx(&self) -> (u32, u32) {
        match self.driver {
            (12, minor @ 0..=5) => (8, minor),
            (12, 6..=7) => (8, 5),
            (12, minor) => (8, minor - 1),
            (11, minor) => (7, minor),
            (major, minor) => (major.saturating_sub(4), minor),
        }
    }
}
