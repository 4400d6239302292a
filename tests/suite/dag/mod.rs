//! Random programs on a device against the naive evaluator, and others against their steps taken one by one on the CPU, bit for bit.
//! `NDCUDA_FUZZ_CASES=300000` runs more of them, `NDCUDA_FUZZ_SEED=n` one; a failure is shrunk and printed.

mod generate;
mod program;
mod shrink;
mod steps;
mod values;

use crate::harness::{on_the_host, quietly};
use crate::naive::Arr;
pub use generate::Rng;
use ndcuda::Device;
use program::Program;
use values::{Dev, eval, read};

const CASES: u64 = 3000;
/// As many where each program has to be compiled.
const COMPILED: u64 = 60;

/// The naive value of each step; `None` where a step is not valid.
fn naive(p: &Program) -> Option<Vec<Arr>> {
    let mut values: Vec<Arr> = vec![];
    for s in &p.steps {
        let v = s.op.naive(&s.args.iter().map(|&a| &values[a]).collect::<Vec<_>>())?;
        if !v.fits() {
            return None;
        }
        values.push(v);
    }
    Some(values)
}

/// Runs a program and compares every handle that lives to its end, and every eager one, with naive values.
fn check(p: &Program, want: &[Arr], dev: &Device) -> Result<(), String> {
    run(p, dev, |i, d| want[i].same(&read(d).map_err(|e| format!("error: {e}"))?))
}

/// The same, by a comparison of a step's handle.
fn run(p: &Program, dev: &Device, same: impl Fn(usize, &Dev) -> Result<(), String>) -> Result<(), String> {
    let n = p.steps.len();
    let mut last: Vec<usize> = (0..n).collect();
    for (i, s) in p.steps.iter().enumerate() {
        s.args.iter().for_each(|&a| last[a] = i);
    }
    // What nothing uses is a result.
    let lives = |i: usize| p.steps[i].held || last[i] == i;
    let mut handles: Vec<Option<Dev>> = vec![];
    let compare = |i: usize, d: &Dev| quietly(|| same(i, d)).and_then(|same| same).map_err(|e| format!("v{i}: {e}"));
    for (i, s) in p.steps.iter().enumerate() {
        let mut args: Vec<Dev> = vec![];
        for (k, &a) in s.args.iter().enumerate() {
            let go = last[a] == i && !p.steps[a].held && !s.args[k + 1..].contains(&a);
            let handle = if go { handles[a].take() } else { handles[a].clone() };
            args.push(handle.ok_or_else(|| format!("v{i}: no operand"))?);
        }
        let made = quietly(|| s.op.record(dev, args)).and_then(|r| r.map_err(|e| format!("error: {e}")));
        let made = made.map_err(|e| format!("recording v{i}: {e}"))?;
        if s.eager {
            quietly(|| eval(&made)).and_then(|r| r.map_err(|e| e.to_string())).map_err(|e| format!("v{i}: {e}"))?;
            compare(i, &made)?;
        }
        handles.push(Some(made));
    }
    let mut alive: Vec<usize> = (0..n).filter(|&i| lives(i) && handles[i].is_some()).collect();
    if p.backwards {
        alive.reverse();
    }
    if p.together {
        let roots: Vec<Dev> = alive.iter().filter_map(|&i| handles[i].clone()).collect();
        let done = quietly(|| ndcuda::eval(&roots[..])).and_then(|r| r.map_err(|e| format!("error: {e}")));
        done.map_err(|e| format!("eval of all: {e}"))?;
    }
    for &i in &alive {
        if let Some(d) = &handles[i] {
            compare(i, d)?;
        }
    }
    // What was read must not have been written over since.
    for &i in &alive {
        if let Some(d) = &handles[i] {
            compare(i, d).map_err(|e| format!("second reading: {e}"))?;
        }
    }
    Ok(())
}

fn show(p: &Program) -> String {
    let values = naive(p).unwrap_or_default();
    written(p, |i| values.get(i).map(|v| format!("{} {:?}", v.dtype, v.shape)).unwrap_or_default())
}

fn written(p: &Program, shape: impl Fn(usize) -> String) -> String {
    let mut out = String::new();
    for (i, s) in p.steps.iter().enumerate() {
        let args: Vec<String> = s.args.iter().map(|a| format!("v{a}")).collect();
        let marks = [(s.held, " held"), (s.eager, " eager")].map(|(on, t)| if on { t } else { "" }).concat();
        let op = format!("{:?}", s.op);
        let op = if op.len() > 600 { format!("{}...", &op[..600]) } else { op };
        out += &format!("  v{i} = {op}({}): {}{marks}\n", args.join(", "), shape(i));
    }
    let order = if p.backwards { "from the last" } else { "from the first" };
    out + &format!("  results {}, {order}\n", if p.together { "by one eval" } else { "one by one" })
}

fn one(seed: u64, dev: &Device) -> Result<(), String> {
    let (p, want) = generate::program(seed);
    let Err(why) = check(&p, &want, dev) else { return Ok(()) };
    let (small, small_why) = shrink::shrink(&p, &why, naive, Arr::clone, |p, want| check(p, want, dev));
    Err(format!("NDCUDA_FUZZ_SEED={seed} on {dev}: {why}\nshrunk: {small_why}\n{}", show(&small)))
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn random_programs(dev: &Device) {
    if let Some(seed) = setting("NDCUDA_FUZZ_SEED") {
        println!("{}", show(&generate::program(seed).0));
        one(seed, dev).unwrap_or_else(|e| panic!("{e}"));
        return;
    }
    let first = setting("NDCUDA_FUZZ_FROM").unwrap_or(0);
    let cases = setting("NDCUDA_FUZZ_CASES").unwrap_or(if on_the_host(dev) { CASES } else { COMPILED });
    let (mut failed, verbose) = (vec![], setting("NDCUDA_FUZZ_VERBOSE").is_some());
    for n in first..first + cases {
        if verbose {
            println!("case {n}");
        }
        if let Err(e) = one(n, dev) {
            println!("{e}");
            failed.push(n);
            if failed.len() >= 20 {
                break;
            }
        }
    }
    assert!(failed.is_empty(), "programs of seeds {failed:?} are wrong on {dev}");
}

/// Several threads, each with programs of its own, on one device.
fn random_programs_on_threads(dev: &Device) {
    let failures: Vec<String> = std::thread::scope(|s| {
        let run = |t: u64| move || (0..60).filter_map(|n| one(1 << 40 | t << 20 | n, dev).err()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|t| s.spawn(run(t))).collect();
        threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What a device fuses has the bits of single steps on the CPU.
fn programs_have_the_bits_of_their_steps(dev: &Device) {
    let first = setting("NDCUDA_FUZZ_SEED").or(setting("NDCUDA_FUZZ_FROM")).unwrap_or(0);
    let cases = if on_the_host(dev) { CASES } else { COMPILED };
    let cases = setting("NDCUDA_FUZZ_SEED").map_or(setting("NDCUDA_FUZZ_CASES").unwrap_or(cases), |_| 1);
    let verbose = setting("NDCUDA_FUZZ_VERBOSE").is_some();
    let mut failed = vec![];
    for seed in first..first + cases {
        if verbose {
            println!("steps of case {seed}");
        }
        if let Err(e) = steps::one(seed, dev) {
            println!("{e}");
            failed.push(seed);
            if failed.len() >= 20 {
                break;
            }
        }
    }
    assert!(failed.is_empty(), "programs of seeds {failed:?} are not their steps on {dev}");
}

tests_on_devices!(random_programs random_programs_on_threads programs_have_the_bits_of_their_steps);
