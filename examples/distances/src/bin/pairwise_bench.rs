//! `pairwise_bench`: the time of one form of the distances on random rows, as a line of JSON.

use ndcuda::debug::trace;
use ndcuda::distance::{Metric, cdist, sqeuclidean_expanded};
use ndcuda::{Device, DeviceArray2, Float, bf16, f16};
use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "\
pairwise_bench [--n 4000] [--m 4000] [--d 128] [--form sqeuclidean] [--dtype f32] [--reps 5] [--device D]
    --form     expanded (squared Euclidean by the matrix product), or a metric: sqeuclidean, euclidean, cityblock,
               chebyshev, minkowski:P, cosine, correlation, canberra, braycurtis, hamming
    --dtype    f16, bf16, f32 or f64
    --device   cpu, cuda or cuda:N";

/// What to compute.
#[derive(Clone, Copy, Debug)]
enum Form {
    Expanded,
    Metric(Metric),
}

#[derive(Debug)]
struct Job {
    n: usize,
    m: usize,
    d: usize,
    form: Form,
    dtype: String,
    reps: usize,
    device: Option<String>,
}

fn main() -> ExitCode {
    let job = match parse(std::env::args().skip(1)) {
        Ok(Some(job)) => job,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(usage) => {
            eprintln!("pairwise_bench: {usage}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let done = match job.dtype.as_str() {
        "f16" => run::<f16>(&job),
        "bf16" => run::<bf16>(&job),
        "f32" => run::<f32>(&job),
        _ => run::<f64>(&job),
    };
    match done {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("pairwise_bench: {e}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Job>, String> {
    let form = Form::Metric(Metric::SqEuclidean);
    let mut job = Job { n: 4000, m: 4000, d: 128, form, dtype: "f32".into(), reps: 5, device: None };
    while let Some(name) = args.next() {
        if name == "-h" || name == "--help" {
            return Ok(None);
        }
        let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
        let number = || match value.parse() {
            Ok(v) if v > 0 => Ok(v),
            _ => Err(format!("{name} {value}: a positive number is needed")),
        };
        match name.as_str() {
            "--n" => job.n = number()?,
            "--m" => job.m = number()?,
            "--d" => job.d = number()?,
            "--reps" => job.reps = number()?,
            "--form" if value == "expanded" => job.form = Form::Expanded,
            "--form" => job.form = Form::Metric(value.parse().map_err(|e: ndcuda::Error| e.to_string())?),
            "--dtype" if ["f16", "bf16", "f32", "f64"].contains(&value.as_str()) => job.dtype = value,
            "--dtype" => return Err(format!("--dtype {value}: one of f16, bf16, f32, f64")),
            "--device" => job.device = Some(value),
            _ => return Err(format!("unknown argument {name}")),
        }
    }
    Ok(Some(job))
}

fn run<T: Float<Sum = T, Mean = T>>(job: &Job) -> Result<String, Box<dyn Error>> {
    let device = match &job.device {
        Some(name) => Device::named(name)?,
        None => Device::from_env()?,
    };
    let mut state = 1u64;
    let mut rows = |n: usize| -> ndcuda::Result<DeviceArray2<T>> {
        device.from_fn((n, job.d), |_| {
            // Knuth's linear congruential generator; the upper bits are good enough to time with.
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            T::from_f64((state >> 40) as f64 / (1u64 << 24) as f64)
        })
    };
    let (x, y) = (rows(job.n)?, rows(job.m)?);
    let once = || -> ndcuda::Result<()> {
        let d = match job.form {
            Form::Expanded => sqeuclidean_expanded(&x, &y),
            Form::Metric(metric) => cdist(&x, &y, metric),
        };
        d.eval()?;
        device.synchronize()
    };
    // The first run makes the plan and is not timed.
    let (first, ran) = trace(once);
    first?;
    let mut times = Vec::new();
    for _ in 0..job.reps {
        let start = Instant::now();
        once()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_unstable_by(f64::total_cmp);
    let median = times[times.len() / 2];
    let rate = job.n as f64 * job.m as f64 * job.d as f64 / (median * 1e-3) / 1e9;
    let form = match job.form {
        Form::Expanded => "expanded".to_string(),
        Form::Metric(metric) => metric.to_string(),
    };
    // No string here needs escaping: all are names of ours.
    Ok(format!(
        "{{\"form\":\"{form}\",\"n\":{},\"m\":{},\"d\":{},\"dtype\":\"{}\",\"device\":\"{device}\",\"threads\":{},\
         \"median_ms\":{median:.4},\"best_ms\":{:.4},\"gelem_per_s\":{rate:.4},\"kernels\":{},\"peak_rss_mb\":{}}}",
        job.n,
        job.m,
        job.d,
        T::DTYPE,
        threads(),
        times[0],
        ran.kernels,
        peak_rss_mb().map_or("null".into(), |mb| format!("{mb:.1}")),
    ))
}

/// The threads of the CPU device.
fn threads() -> usize {
    let named = std::env::var("NDCUDA_NUM_THREADS").ok().and_then(|v| v.trim().parse().ok());
    named.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1)
}

/// The most memory this process had, where the system tells.
fn peak_rss_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kb: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kb / 1024.0)
}
