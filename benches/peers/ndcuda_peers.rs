//! ndcuda's side of the comparison with other libraries. `run.py` starts it with `--serve`, writes a line for each
//! request (`op rounds file:dtype:shape ...`) and reads a line of JSON with the samples; alone it only says so.

use ndarray::{Array, Axis, IxDyn};
use ndcuda::distance::Metric;
use ndcuda::{Device, DeviceArray, DeviceArray1, DeviceArray2, DeviceArrayD, Element, Float, Result, distance};
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

/// Time one request spends on samples, and on reaching a steady state before.
const BUDGET: Duration = Duration::from_millis(400);
const WARM_UP: Duration = Duration::from_millis(100);
/// A call that takes this long has warmed up.
const SLOW: Duration = Duration::from_millis(200);
/// A sample is repeated until it takes this long.
const SAMPLE: Duration = Duration::from_micros(200);

/// Calls `f` until the machine is warm, then samples it; milliseconds for a call.
fn sample<R>(least: usize, mut f: impl FnMut() -> Result<R>) -> Result<Vec<f64>> {
    let (start, mut calls, mut last) = (Instant::now(), 0, Duration::ZERO);
    while (calls < 2 && last < SLOW) || start.elapsed() < WARM_UP {
        let one = Instant::now();
        f()?;
        (calls, last) = (calls + 1, one.elapsed());
    }
    let inner = (SAMPLE.as_nanos() / last.as_nanos().max(1)).clamp(1, 100_000) as u32 + 1;
    let inner = if last > SAMPLE { 1 } else { inner };
    let (start, mut out) = (Instant::now(), Vec::new());
    while out.len() < least || (start.elapsed() < BUDGET && out.len() < 60) {
        let one = Instant::now();
        for _ in 0..inner {
            f()?;
        }
        out.push(one.elapsed().as_secs_f64() * 1e3 / f64::from(inner));
    }
    Ok(out)
}

/// Samples an expression evaluated into device memory; and the mean magnitude of its values, for comparison.
fn evaluated<T: Element, D: ndarray::Dimension>(
    least: usize,
    f: impl Fn() -> DeviceArray<T, D>,
) -> Result<(Vec<f64>, f64)> {
    let samples = sample(least, || {
        let r = f();
        r.eval()?;
        r.device().synchronize().map(|()| r)
    })?;
    let host = f().to_ndarray()?;
    Ok((samples, host.iter().map(|v| v.to_f64().abs()).sum::<f64>() / host.len() as f64))
}

fn distances<T: Float<Sum = T, Mean = T>>(
    op: &str,
    least: usize,
    x: &DeviceArray2<T>,
    y: &DeviceArray2<T>,
) -> Result<(Vec<f64>, f64)> {
    let nearest = |d: &dyn Fn() -> DeviceArray2<T>| {
        let both = || {
            let d = d();
            let (index, least) = (d.argmin_axis(Axis(1)), d.min_axis(Axis(1)));
            ndcuda::eval((&index, &least))?;
            index.device().synchronize().map(|()| index)
        };
        let samples = sample(least, both)?;
        let index = both()?.to_ndarray()?;
        Ok((samples, index.iter().map(|&i| i as f64).sum::<f64>() / index.len() as f64))
    };
    match op {
        "expanded" => evaluated(least, || distance::sqeuclidean_expanded(x, y)),
        "sqeuclidean" => evaluated(least, || distance::sqeuclidean_broadcast(x, y)),
        "cityblock" => evaluated(least, || distance::cityblock(x, y)),
        "nn" => nearest(&|| distance::sqeuclidean_broadcast(x, y)),
        "nn10" => {
            let ten = || {
                let (least, index) = distance::knn(x, y, 10, Metric::SqEuclidean)?;
                ndcuda::eval((&least, &index))?;
                index.device().synchronize().map(|()| (least, index))
            };
            let index = ten()?.1.to_ndarray()?;
            Ok((sample(least, ten)?, index.iter().map(|&i| i as f64).sum::<f64>() / index.len() as f64))
        }
        "canberra" => evaluated(least, || distance::cdist(x, y, Metric::Canberra)),
        "jensenshannon" => evaluated(least, || distance::cdist(x, y, Metric::JensenShannon)),
        _ => nearest(&|| distance::sqeuclidean_expanded(x, y)),
    }
}

/// One workload on its inputs.
fn run<T: Float<Sum = T, Mean = T>>(op: &str, least: usize, inputs: &[DeviceArrayD<T>]) -> Result<(Vec<f64>, f64)> {
    let one = |i: usize| -> Result<DeviceArray1<T>> { inputs[i].clone().into_dimensionality() };
    let two = |i: usize| -> Result<DeviceArray2<T>> { inputs[i].clone().into_dimensionality() };
    match op {
        "add" => {
            let (x, y) = (one(0)?, one(1)?);
            evaluated(least, || &x + &y)
        }
        "chain" => {
            let (x, y) = (one(0)?, one(1)?);
            let half = T::from_f64(-0.5);
            evaluated(least, || (&x * &x * half).exp() * y.sin() + (&x + &y).sqrt())
        }
        "sum_axis0" | "sum_tall" => {
            let x = two(0)?;
            evaluated(least, || x.sum_axis(Axis(0)))
        }
        "sum_axis1" => {
            let x = two(0)?;
            evaluated(least, || x.sum_axis(Axis(1)))
        }
        "sum_all" => {
            let x = two(0)?;
            evaluated(least, || x.sum())
        }
        "var" => {
            let x = one(0)?;
            evaluated(least, || x.var(0.0))
        }
        "softmax" => {
            let x = two(0)?;
            evaluated(least, || {
                let e = (&x - x.max_keep(Axis(1))).exp();
                &e / e.sum_keep(Axis(1))
            })
        }
        "matmul" => {
            let (x, y) = (two(0)?, two(1)?);
            evaluated(least, || x.dot(&y))
        }
        "small" => {
            let (a, b) = (one(0)?, one(1)?);
            let expr = || (&a * &b + &a).sum().item();
            Ok((sample(least, expr)?, expr()?.to_f64().abs()))
        }
        _ => distances(op, least, &two(0)?, &two(1)?),
    }
}

/// `file:dtype:4000x128` as an array on the device.
fn load<T: Element>(device: &Device, input: &str) -> Result<DeviceArrayD<T>> {
    let mut parts = input.rsplitn(3, ':');
    let shape: Vec<usize> = parts.next().unwrap_or("").split('x').map(|n| n.parse().expect("a shape")).collect();
    let file = parts.nth(1).expect("file:dtype:shape");
    let bytes = std::fs::read(file).expect("the file of an input");
    let of = |chunk: &[u8]| {
        let mut bits = [0u8; 8];
        bits[..chunk.len()].copy_from_slice(chunk);
        T::from_bits64(u64::from_le_bytes(bits))
    };
    let values: Vec<T> = bytes.chunks_exact(size_of::<T>()).map(of).collect();
    // Copied, so that it lies in memory of the device as results do.
    let host = Array::from_shape_vec(IxDyn(&shape), values).expect("as many values as the shape has");
    device.array(&host)
}

fn answer(device: &Device, line: &str) -> Result<(Vec<f64>, f64)> {
    let mut words = line.split(' ');
    let op = words.next().unwrap_or("");
    let least = words.next().and_then(|n| n.parse().ok()).unwrap_or(7);
    let inputs: Vec<&str> = words.collect();
    if inputs.iter().all(|i| i.contains(":float64:")) {
        let inputs: Result<Vec<_>> = inputs.iter().map(|i| load::<f64>(device, i)).collect();
        run(op, least, &inputs?)
    } else {
        let inputs: Result<Vec<_>> = inputs.iter().map(|i| load::<f32>(device, i)).collect();
        run(op, least, &inputs?)
    }
}

fn main() {
    if !std::env::args().any(|a| a == "--serve") {
        println!("ndcuda_peers: run benches/peers/run.sh");
        return;
    }
    let device = Device::default();
    let mut out = std::io::stdout();
    println!("{{\"version\": \"{}\", \"device\": \"{}\"}}", env!("CARGO_PKG_VERSION"), Device::probe());
    for line in std::io::stdin().lock().lines().map_while(std::io::Result::ok) {
        match answer(&device, line.trim()) {
            Ok((samples, check)) => {
                println!("{{\"samples\": {{\"ndcuda\": {samples:?}}}, \"check\": {{\"ndcuda\": {check:e}}}}}")
            }
            Err(e) => println!("{{\"error\": {:?}}}", e.to_string()),
        }
        // A broken pipe means that no one asks any more.
        if out.flush().is_err() {
            return;
        }
    }
}
