//! Without arguments: the digits data, several forms of the distances, what each costs and whether all agree.

use crate::picture;
use ndcuda::debug::{Trace, trace};
use ndcuda::distance::{cityblock, euclidean, sqeuclidean_broadcast, sqeuclidean_expanded};
use ndcuda::ndarray::{Array1, Array2, ArrayView1};
use ndcuda::{Axis, Device, DeviceArray1, DeviceArray2, io};
use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

const DIGITS: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits.npy"));
const LABELS: &[u8] = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/data/digits_labels.npy"));
const SOURCE: &str = "Optical Recognition of Handwritten Digits (test part), E. Alpaydin and C. Kaynak, \
UCI Machine Learning Repository, CC BY 4.0";

/// A form of the distances, by name.
type Form = (&'static str, fn(&DeviceArray2<f32>, &DeviceArray2<f32>) -> DeviceArray2<f32>);

/// The forms of one distance, the loop they are held against, and the images whose nearest other image shows the same digit
/// with distances from SciPy.
struct Metric {
    name: &'static str,
    pair: fn(ArrayView1<'_, f32>, ArrayView1<'_, f32>) -> f32,
    forms: &'static [Form],
    scipy_hits: i64,
}

const METRICS: [Metric; 2] = [
    Metric {
        name: "sqeuclidean",
        pair: |x, y| {
            let diff = &x - &y;
            (&diff * &diff).sum()
        },
        forms: &[("#1 broadcast", sqeuclidean_broadcast), ("#2 expanded", sqeuclidean_expanded)],
        scipy_hits: 1776,
    },
    Metric {
        name: "cityblock",
        pair: |x, y| (&x - &y).abs().sum(),
        forms: &[("#1 broadcast", cityblock)],
        scipy_hits: 1770,
    },
];

pub fn run(device: Option<&str>) -> Result<(), Box<dyn Error>> {
    let device = match device {
        Some(name) => {
            let device = crate::device::device(Some(name))?;
            println!("device: {device} (--device)");
            device
        }
        None => {
            println!("device: {}", Device::probe());
            Device::from_env()?
        }
    };
    let x: DeviceArray2<f32> = io::parse_npy(DIGITS, &device)?.cast().into_dimensionality()?;
    let labels: DeviceArray1<i64> = io::parse_npy(LABELS, &device)?.cast().into_dimensionality()?;
    ndcuda::eval((&x, &labels))?;
    let n = x.shape()[0];
    println!("data:   {n} images of {} pixels as {}, from {SOURCE}\n", x.shape()[1], x.dtype());

    println!(
        "{:<13}{:<14}{:>11}{:>10}{:>9}{:>14}{:>12}",
        "distance", "form", "time", "speed-up", "kernels", "peak bytes", "off by"
    );
    let host = x.to_ndarray()?;
    let mut hits = Vec::new();
    for metric in &METRICS {
        let (expected, slow) = measure(|| Ok(loops(&host, metric.pair)))?;
        println!("{:<13}{:<14}{:>11}{:>10}", metric.name, "#0 loop", milliseconds(slow), "1");
        for (name, form) in metric.forms {
            let mut seen = Trace::default();
            let (d, time) = measure(|| {
                let (d, ran) = trace(|| -> ndcuda::Result<_> {
                    let d = form(&x, &x);
                    d.eval()?;
                    device.synchronize()?;
                    Ok(d)
                });
                seen = ran;
                d
            })?;
            let worst = (d.to_ndarray()? - &expected).iter().fold(0.0f32, |worst, off| worst.max(off.abs()));
            let speed_up = format!("{:.0}", slow.as_secs_f64() / time.as_secs_f64());
            println!(
                "{:<13}{name:<14}{:>11}{speed_up:>10}{:>9}{:>14}{worst:>12}",
                metric.name,
                milliseconds(time),
                seen.kernels,
                seen.peak
            );
            hits.push((metric, *name, nearest_hits(&d, &labels)?));
        }
    }

    println!("\nimages whose nearest other image shows the same digit:");
    let mut wrong = Vec::new();
    for (metric, form, found) in hits {
        println!("{:<13}{form:<14}{found:>6} of {n} (SciPy: {})", metric.name, metric.scipy_hits);
        if found != metric.scipy_hits {
            wrong.push(format!("{} {form} finds {found}, SciPy {}", metric.name, metric.scipy_hits));
        }
    }

    let target = Path::new("target");
    let path = if target.is_dir() { target } else { Path::new("") }.join("digits_distances.png");
    picture::write(&path, heat_map(&x, &labels)?.view())?;
    println!("\npicture: the distances with the images ordered by digit, in {}", path.display());
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ").into()) }
}

/// Implementation #0: one pair of rows after another.
fn loops(x: &Array2<f32>, pair: fn(ArrayView1<'_, f32>, ArrayView1<'_, f32>) -> f32) -> Array2<f32> {
    let n = x.nrows();
    let mut d = Array2::zeros((n, n));
    for i in 0..n {
        for j in 0..n {
            d[[i, j]] = pair(x.row(i), x.row(j));
        }
    }
    d
}

/// The result, and the median time of up to nine runs after one that does not count. What takes long runs once.
fn measure<R>(mut run: impl FnMut() -> ndcuda::Result<R>) -> ndcuda::Result<(R, Duration)> {
    let start = Instant::now();
    let mut result = run()?;
    let first = start.elapsed();
    if first > Duration::from_secs(1) {
        return Ok((result, first));
    }
    let mut times = Vec::new();
    while times.len() < 9 && start.elapsed() < Duration::from_secs(2) {
        drop(result);
        let start = Instant::now();
        result = run()?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok((result, times.get(times.len() / 2).copied().unwrap_or(first)))
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// How many rows have a nearest other row of the same label. The matrix stays on the device; one number comes back.
fn nearest_hits(d: &DeviceArray2<f32>, labels: &DeviceArray1<i64>) -> ndcuda::Result<i64> {
    let itself = d.device().eye::<bool>(d.shape()[0]);
    let nearest = itself.where_(f32::INFINITY, d).argmin_axis(Axis(1));
    labels.take(Axis(0), &nearest).equal(labels).count_nonzero().item()
}

/// The Euclidean distances of the images ordered by digit, 255 for the largest.
fn heat_map(x: &DeviceArray2<f32>, labels: &DeviceArray1<i64>) -> ndcuda::Result<Array2<u8>> {
    let digits: Array1<i64> = labels.to_ndarray()?;
    let mut order: Vec<usize> = (0..digits.len()).collect();
    order.sort_by_key(|&i| digits[i]);
    let x = x.select(Axis(0), &order);
    let d = euclidean(&x, &x);
    (&d * (255.0 / d.max())).cast::<u8>().to_ndarray()
}
