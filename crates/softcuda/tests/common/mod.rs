//! Shared by the tests: fixtures, argument structs, arrays on a machine.
#![allow(dead_code, reason = "each test uses some of it")]

use softcuda::{Config, Counters, Fault, Loaded, Machine, Module};

/// `(mul, shift)` such that `t / n == (high32(t * mul) + t) >> shift`.
pub fn divider(n: u32) -> (u32, u32) {
    let shift = n.next_power_of_two().trailing_zeros();
    let mul = (((1u64 << shift) - n as u64) << 32) / n as u64 + 1;
    (mul as u32, shift)
}

/// Builds the bytes of an argument struct.
#[derive(Default, Clone)]
pub struct Args(pub Vec<u8>);

impl Args {
    pub fn u64(mut self, v: u64) -> Args {
        self.0.extend(v.to_le_bytes());
        self
    }

    pub fn i32s(mut self, v: &[i32]) -> Args {
        v.iter().for_each(|v| self.0.extend(v.to_le_bytes()));
        self
    }

    pub fn extents(mut self, n: &[u32]) -> Args {
        for &n in n {
            let (mul, shift) = divider(n);
            [n, mul, shift].iter().for_each(|v| self.0.extend(v.to_le_bytes()));
        }
        self
    }

    pub fn bytes(mut self) -> Vec<u8> {
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        self.0
    }
}

pub fn fixture(name: &str) -> Module {
    let path = format!("{}/tests/ptx/{name}.ptx", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    Module::parse(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// All fixtures of a kernel.
pub fn fixtures(kernel: &str) -> Vec<(String, Module)> {
    let dir = format!("{}/tests/ptx", env!("CARGO_MANIFEST_DIR"));
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|f| f.unwrap().file_name().into_string().unwrap())
        .filter(|f| f.split('.').next() == Some(kernel))
        .map(|f| f.trim_end_matches(".ptx").to_string())
        .collect();
    names.sort();
    assert!(!names.is_empty(), "no fixture of {kernel}");
    names.into_iter().map(|n| (n.clone(), fixture(&n))).collect()
}

pub fn machine(seed: u64) -> Machine {
    Machine::new(Config { seed, memory: 1 << 32, ..Config::default() })
}

pub fn upload<T: Copy>(m: &Machine, v: &[T]) -> u64 {
    let p = m.alloc(size_of_val(v) as u64).unwrap();
    // SAFETY: plain numbers.
    let bytes = unsafe { std::slice::from_raw_parts(v.as_ptr().cast::<u8>(), size_of_val(v)) };
    m.write(p, bytes).unwrap();
    p
}

pub fn download<T: Copy + Default>(m: &Machine, p: u64, n: usize) -> Vec<T> {
    let mut out = vec![T::default(); n];
    // SAFETY: plain numbers.
    let bytes = unsafe { std::slice::from_raw_parts_mut(out.as_mut_ptr().cast::<u8>(), n * size_of::<T>()) };
    m.read(p, bytes).unwrap();
    out
}

/// The only kernel of a module.
pub fn only(m: &Module) -> String {
    let mut names = m.entries().map(|e| e.name.clone());
    let name = names.next().unwrap();
    assert!(names.next().is_none());
    name
}

pub fn launch(m: &Machine, l: &Loaded, grid: [u32; 3], block: [u32; 3], args: &[u8]) -> Result<Counters, Fault> {
    m.launch(l, &only(l.module()), grid, block, 0, args)
}

/// Numbers that look random, in [-1, 1).
pub fn noise(n: usize, seed: u64) -> Vec<f32> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..n)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            (x >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}
