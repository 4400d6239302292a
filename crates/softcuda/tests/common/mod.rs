//! Shared by the tests: fixtures, argument structs, arrays on a machine.
#![allow(dead_code, reason = "each test uses some of it")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use softcuda::{Config, Counters, Fault, Loaded, Machine, Module};

/// How long the last launch took.
pub static NANOS: AtomicU64 = AtomicU64::new(0);

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

/// A golden's PTX, which `scripts/make_ptx.py` makes.
pub fn fixture(name: &str) -> Module {
    let path = format!("{}/tests/ptx/{name}.ptx", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    Module::parse(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
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
    let start = Instant::now();
    let result = m.launch(l, &only(l.module()), grid, block, 0, args);
    NANOS.store(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
    result
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

/// A run of a kernel: what it wrote and what it should have.
pub type Run = Result<(Vec<f32>, Vec<f32>, Counters), Fault>;

/// Whether all values are within a relative tolerance.
pub fn close(got: &[f32], want: &[f32], tolerance: f32) -> bool {
    got.len() == want.len() && got.iter().zip(want).all(|(g, w)| (g - w).abs() <= tolerance * w.abs().max(1e-3))
}

/// `where(x > 0.1, x, y * 2.5)` of rows x and one row y, by the golden `map`.
pub fn map(module: &Module, [rows, columns]: [usize; 2], blocks: u32) -> Run {
    let m = machine(0);
    let l = m.load(module)?;
    let (x, y) = (noise(rows * columns, 1), noise(columns, 2));
    let (p0, p1, p2) = (upload(&m, &x), upload(&m, &y), m.alloc((rows * columns * 4) as u64).unwrap());
    let args = Args::default().u64(p0).u64(p1).u64(p2).u64(0).u64(0).u64(0);
    let args = args.u64(2.5f32.to_bits() as u64).u64(0.1f32.to_bits() as u64);
    let args = args.extents(&[rows as u32, columns as u32]).i32s(&[columns as i32, 1, 0, 1, columns as i32, 1]);
    let counters = launch(&m, &l, [blocks, 1, 1], [256, 1, 1], &args.bytes())?;
    let want = (0..rows * columns).map(|n| if x[n] > 0.1 { x[n] } else { y[n % columns] * 2.5 }).collect();
    Ok((download(&m, p2, rows * columns), want, counters))
}

/// Where the `k` first of each row of numbers with many equal ones are, and these, by the kernel that ships. Blocks take several rows, which come
/// in parts of `part` columns.
pub fn topk(module: &Module, [rows, columns, k]: [usize; 3], part: usize, blocks: u32, seed: u64) -> Run {
    let m = machine(seed);
    let l = m.load(module)?;
    let x: Vec<i32> = noise(rows * columns, 5).iter().map(|v| (v * 500.0) as i32).collect();
    let (from, to, values) =
        (upload(&m, &x), m.alloc((rows * k * 8) as u64).unwrap(), m.alloc((rows * k * 4) as u64).unwrap());
    let mut counters = Counters::default();
    for first in (0..columns).step_by(part) {
        let args = Args::default().u64(from + 4 * first as u64).u64(to).u64(values).u64(rows as u64);
        // Steps of 1 within a row; four bytes each, signed; not the largest; one axis of rows.
        let args = args.u64(part.min(columns - first) as u64).u64(k as u64).u64(1).u64(first as u64);
        let mut args = args.u64(4 | 1 << 32).u64(0).u64(1 << 32);
        for list in [rows, columns] {
            args = (0..32).fold(args, |args, n| args.u64(if n == 0 { list as u64 } else { 0 }));
        }
        counters += launch(&m, &l, [blocks, 1, 1], [256, 1, 1], &args.bytes())?;
    }
    let first = |row: &[i32]| {
        let mut order: Vec<usize> = (0..columns).collect();
        order.sort_by_key(|&i| (row[i], i));
        order.truncate(k);
        order
    };
    let places: Vec<usize> = x.chunks(columns).flat_map(first).collect();
    let elements = places.iter().enumerate().map(|(n, &at)| x[n / k * columns + at] as f32);
    let want = places.iter().map(|&i| i as f32).chain(elements).collect();
    let places = download::<i64>(&m, to, rows * k).into_iter().map(|i| i as f32);
    Ok((places.chain(download::<i32>(&m, values, rows * k).into_iter().map(|v| v as f32)).collect(), want, counters))
}
