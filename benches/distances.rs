//! All distances between the rows of two matrices: on the device, and from host arrays to a host array.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ndarray::Array2;
use ndcuda::distance::{self, Metric, cdist};
use ndcuda::{Axis, Device};
use std::time::Duration;

fn rows(n: usize, d: usize, seed: usize) -> Array2<f32> {
    Array2::from_shape_fn((n, d), |(i, k)| ((i * 7919 + k * 104_729 + seed) % 1009) as f32 / 1009.0)
}

fn distances(c: &mut Criterion) {
    let device = Device::default();
    let mut group = c.benchmark_group("distances");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    for (n, d) in [(2000, 3), (2000, 50), (2000, 128), (500, 1024)] {
        // Throughput in (i, j, k) elements.
        group.throughput(Throughput::Elements((n * n * d) as u64));
        let (hx, hy) = (rows(n, d, 1), rows(n, d, 2));
        let (x, y) = (device.array(&hx).expect("an input"), device.array(&hy).expect("an input"));
        let id = |what: &str| format!("{what}, {n} x {n} x {d}");
        group.bench_function(id("sqeuclidean, direct"), |b| b.iter(|| distance::sqeuclidean_broadcast(&x, &y).eval()));
        group.bench_function(id("sqeuclidean, expanded"), |b| b.iter(|| distance::sqeuclidean_expanded(&x, &y).eval()));
        group.bench_function(id("cityblock"), |b| b.iter(|| distance::cityblock(&x, &y).eval()));
        if d == 128 {
            group.bench_function(id("chebyshev"), |b| b.iter(|| cdist(&x, &y, Metric::Chebyshev).eval()));
            group.bench_function(id("nearest"), |b| {
                b.iter(|| distance::sqeuclidean_broadcast(&x, &y).argmin_axis(Axis(1)).eval())
            });
        }
        group.bench_function(id("sqeuclidean, direct, host to host"), |b| {
            b.iter(|| {
                let (x, y) = (device.array(&hx)?, device.array(&hy)?);
                distance::sqeuclidean_broadcast(&x, &y).into_ndarray()
            })
        });
    }
    group.finish();
}

criterion_group!(benches, distances);
criterion_main!(benches);
