//! Matrix products: square, by a transpose, tall and narrow, a batch of small ones, and a matrix by a vector,
//! on the device; and square, from host arrays to a host array.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ndarray::{Dimension, IntoDimension};
use ndcuda::{Device, DeviceArray, Element, linalg::Dot};
use std::time::Duration;

fn input<T: Element, S: IntoDimension>(device: &Device, shape: S) -> DeviceArray<T, S::Dim> {
    let dim = shape.into_dimension();
    let values = (0..dim.size()).map(|i| T::from_f64((i * 7919 % 1009) as f64 / 1009.0 - 0.5)).collect();
    let host = ndarray::Array::from_shape_vec(dim, values).expect("as many values as the shape has");
    device.array(host).expect("memory for an input")
}

fn matmul(c: &mut Criterion) {
    let device = Device::default();
    let mut group = c.benchmark_group("matmul");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));

    // Throughput in multiply-adds.
    group.throughput(Throughput::Elements(1 << 30));
    let (x, y) = (input::<f32, _>(&device, (1024, 1024)), input::<f32, _>(&device, (1024, 1024)));
    product(&mut group, "1024^3 f32", &x, &y);
    product(&mut group, "1024^3 f32, transposed", &x, &y.t());
    let (hx, hy) = (x.to_ndarray().expect("memory for a copy"), y.to_ndarray().expect("memory for a copy"));
    group.bench_function("1024^3 f32, host to host", |b| {
        b.iter(|| device.array(&hx)?.dot(&device.array(&hy)?).into_ndarray())
    });
    let (p, q) = (input::<f64, _>(&device, (1024, 1024)), input::<f64, _>(&device, (1024, 1024)));
    product(&mut group, "1024^3 f64", &p, &q);
    group.throughput(Throughput::Elements(100_000 * 64 * 64));
    product(&mut group, "100000 x 64 x 64 f32", &input::<f32, _>(&device, (100_000, 64)), &input(&device, (64, 64)));
    group.throughput(Throughput::Elements(1000 * 32 * 32 * 32));
    product(&mut group, "1000 of 32^3 f32", &input::<f32, _>(&device, (1000, 32, 32)), &input(&device, (1000, 32, 32)));
    group.throughput(Throughput::Elements(4096 * 4096));
    product(&mut group, "4096^2 by a vector f32", &input::<f32, _>(&device, (4096, 4096)), &input(&device, 4096));
    group.finish();
}

type Group<'a> = criterion::BenchmarkGroup<'a, criterion::measurement::WallTime>;

fn product<T: ndcuda::Number, D: Dimension + Dot<E>, E: Dimension>(
    group: &mut Group<'_>,
    name: &str,
    x: &DeviceArray<T, D>,
    y: &DeviceArray<T, E>,
) {
    group.bench_function(name, |b| b.iter(|| x.dot(y).eval()));
}

criterion_group!(benches, matmul);
criterion_main!(benches);
