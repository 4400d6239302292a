//! `pairwise_bench`: the time of one form of the distances on random rows, as a line of JSON.

use ndcuda::debug::trace;
use ndcuda::distance::{Metric, cdist, knn, mahalanobis, sqeuclidean_expanded};
use ndcuda::{DeviceArray2, Float, bf16, f16};
use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

#[path = "../device.rs"]
mod device;
/// The probe of what the cores can do at best.
#[path = "../../../../benches/ports/mod.rs"]
mod ports;

fn help() -> String {
    let metrics = Metric::ALL.map(|m| m.to_string());
    let lines: Vec<String> = metrics.chunks(7).map(|m| m.join(", ")).collect();
    format!(
        "\
pairwise_bench [--n 4000] [--m 4000] [--d 128] [--form sqeuclidean] [--dtype f32] [--reps 5] [--device D]
    --form     expanded     squared Euclidean by the matrix product
               nn, knn:K    the nearest row or the K nearest of each, squared Euclidean
               mahalanobis  with a matrix of three diagonals
               or a metric  {}
                            (minkowski:P with any P > 0)
    --dtype    f16, bf16, f32 or f64
    --device   cpu, cuda or cuda:N

A line of JSON: times of --reps runs after one that is not timed; gelem_per_s, n m d over the median; fraction_of_limit, its
share of what all threads do in registers alone: the larger of limit_sample, measured here after the runs (benches/ports), and
limit_ports, ports by lanes by the measured clock, both in G elements/s. The limit is that of multiply-add for expanded, cosine,
correlation and the metrics of truths (jaccard to yule); of subtract-square-add for sqeuclidean, euclidean, nn and knn:K; of
subtract-abs-add for cityblock. All are null for other forms, f16 and bf16, on a GPU, and without AVX2.",
        lines.join(",\n                            ")
    )
}

/// What to compute.
#[derive(Clone, Copy, Debug)]
enum Form {
    Expanded,
    /// The nearest rows, so many.
    Knn(usize),
    Mahalanobis,
    Metric(Metric),
}

impl Form {
    /// The probe's name of the arithmetic that each (i, j, k) takes, where it has one.
    fn combine(self) -> Option<&'static str> {
        match self {
            Form::Knn(_) | Form::Metric(Metric::SqEuclidean | Metric::Euclidean) => Some("square"),
            Form::Metric(Metric::CityBlock) => Some("abs"),
            Form::Expanded
            | Form::Metric(
                Metric::Cosine
                | Metric::Correlation
                | Metric::Jaccard
                | Metric::Dice
                | Metric::RogersTanimoto
                | Metric::RussellRao
                | Metric::SokalSneath
                | Metric::Yule,
            ) => Some("dot"),
            _ => None,
        }
    }
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
            println!("{}", help());
            return ExitCode::SUCCESS;
        }
        Err(usage) => {
            eprintln!("pairwise_bench: {usage}\n{}", help());
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
            "--form" if value == "mahalanobis" => job.form = Form::Mahalanobis,
            "--form" if value == "nn" => job.form = Form::Knn(1),
            "--form" if value.starts_with("knn:") => match value["knn:".len()..].parse() {
                Ok(k) if k > 0 => job.form = Form::Knn(k),
                _ => return Err(format!("--form {value}: a positive number is needed after the colon")),
            },
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
    let device = device::device(job.device.as_deref())?;
    let mut state = 1u64;
    let mut rows = |n: usize| -> ndcuda::Result<DeviceArray2<T>> {
        device.from_fn((n, job.d), |_| {
            // Knuth's linear congruential generator; the upper bits are good enough to time with.
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            T::from_f64((state >> 40) as f64 / (1u64 << 24) as f64)
        })
    };
    let (x, y) = (rows(job.n)?, rows(job.m)?);
    // Positive definite, as the inverse of a covariance is.
    let side = if let Form::Mahalanobis = job.form { job.d } else { 0 };
    let near = |k: usize, l: usize| [2.0, 0.5].get(k.abs_diff(l)).copied().unwrap_or(0.0);
    let vi = device.from_fn((side, side), |(k, l)| T::from_f64(near(k, l)))?;
    let once = || -> ndcuda::Result<()> {
        let d = match job.form {
            Form::Expanded => sqeuclidean_expanded(&x, &y),
            Form::Metric(metric) => cdist(&x, &y, metric),
            Form::Mahalanobis => mahalanobis(&x, &y, &vi),
            Form::Knn(k) => {
                let (low, at) = knn(&x, &y, k, Metric::SqEuclidean)?;
                low.eval()?;
                at.eval()?;
                return device.synchronize();
            }
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
        Form::Knn(1) => "nn".to_string(),
        Form::Knn(k) => format!("knn:{k}"),
        Form::Mahalanobis => "mahalanobis".to_string(),
        Form::Metric(metric) => metric.to_string(),
    };
    // The probe has loops of f32 and f64, and of this machine alone.
    let combine = job.form.combine().filter(|_| x.host_view().is_ok());
    let limits = combine.and_then(|c| ports::Ports::new(threads())?.limits(&format!("{c}_{}", T::DTYPE)));
    let number = |v: Option<f64>| v.map_or("null".into(), |v| format!("{v:.4}"));
    // No string here needs escaping: all are names of ours.
    Ok(format!(
        "{{\"form\":\"{form}\",\"n\":{},\"m\":{},\"d\":{},\"dtype\":\"{}\",\"device\":\"{device}\",\"threads\":{},\
         \"median_ms\":{median:.4},\"best_ms\":{:.4},\"gelem_per_s\":{rate:.4},\"fraction_of_limit\":{},\
         \"limit_sample\":{},\"limit_ports\":{},\"kernels\":{},\"peak_rss_mb\":{}}}",
        job.n,
        job.m,
        job.d,
        T::DTYPE,
        threads(),
        times[0],
        number(limits.map(|[a, b]| rate / a.max(b))),
        number(limits.map(|l| l[0])),
        number(limits.map(|l| l[1])),
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
