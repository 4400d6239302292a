//! Reductions: sums along each axis, of a tall and narrow matrix, the variance, and softmax as one writes it, on the device;
//! and from a host array to a host array.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ndcuda::{Axis, Device, DeviceArray2};
use std::time::Duration;

fn matrix(device: &Device, n: usize, d: usize) -> DeviceArray2<f32> {
    let value = |(i, j): (usize, usize)| ((i * 31 + j * 7919) % 1009) as f32 / 126.0 - 4.0;
    device.from_fn((n, d), value).expect("memory for an input")
}

fn reduce(c: &mut Criterion) {
    let device = Device::default();
    let x = matrix(&device, 1000, 10_000);
    let tall = matrix(&device, 1_000_000, 10);
    let mut group = c.benchmark_group("reduce");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    group.throughput(Throughput::Bytes(4 * x.len() as u64));
    group.bench_function("sum, axis 0", |b| b.iter(|| x.sum_axis(Axis(0)).eval()));
    group.bench_function("sum, axis 1", |b| b.iter(|| x.sum_axis(Axis(1)).eval()));
    group.bench_function("sum, all", |b| b.iter(|| x.sum().eval()));
    group.bench_function("sum of 1e6 x 10, axis 0", |b| b.iter(|| tall.sum_axis(Axis(0)).eval()));
    group.bench_function("sum of 1e6 x 10, axis 1", |b| b.iter(|| tall.sum_axis(Axis(1)).eval()));
    group.bench_function("var, all", |b| b.iter(|| x.var(0.0).eval()));
    group.bench_function("argmax, axis 1", |b| b.iter(|| x.argmax_axis(Axis(1)).eval()));
    group.throughput(Throughput::Bytes(8 * x.len() as u64));
    let softmax = |x: &DeviceArray2<f32>| {
        let e = (x - x.max_keep(Axis(1))).exp();
        &e / e.sum_keep(Axis(1))
    };
    group.bench_function("softmax, axis 1", |b| b.iter(|| softmax(&x).eval()));
    let host = x.to_ndarray().expect("memory for a copy");
    group.bench_function("softmax, axis 1, host to host", |b| b.iter(|| softmax(&device.array(&host)?).into_ndarray()));
    group.throughput(Throughput::Bytes(4 * x.len() as u64));
    group.bench_function("sum, axis 1, host to host", |b| {
        b.iter(|| device.array(&host)?.sum_axis(Axis(1)).into_ndarray())
    });
    group.finish();
}

criterion_group!(benches, reduce);
criterion_main!(benches);
