//! Elementwise kernels: one operation, a fused chain, half precision, and a strided operand, on the device; and from host arrays to a host array.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ndcuda::{Device, DeviceArray1, Element, f16, s};
use std::time::Duration;

const N: usize = 10_000_000;

fn input<T: Element>(device: &Device, seed: usize) -> DeviceArray1<T> {
    let value = |i: usize| T::from_f64(0.1 + ((i * 7919 + seed) % 1009) as f64 / 530.0);
    device.from_fn(N, value).expect("memory for an input")
}

fn chain<T: ndcuda::Float>(x: &DeviceArray1<T>, y: &DeviceArray1<T>) -> DeviceArray1<T> {
    (x * x * T::from_f64(-0.5)).exp() * y.sin() + (x + y).sqrt()
}

fn elementwise(c: &mut Criterion) {
    let device = Device::default();
    let (x, y) = (input::<f32>(&device, 1), input::<f32>(&device, 2));
    let (h, k) = (input::<f16>(&device, 1), input::<f16>(&device, 2));
    let mut group = c.benchmark_group("elementwise");
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));

    group.throughput(Throughput::Bytes(12 * N as u64));
    group.bench_function("add f32", |b| b.iter(|| (&x + &y).eval()));
    group.bench_function("chain f32", |b| b.iter(|| chain(&x, &y).eval()));
    group.throughput(Throughput::Bytes(6 * N as u64));
    group.bench_function("chain f16", |b| b.iter(|| chain(&h, &k).eval()));
    group.throughput(Throughput::Bytes(12 * N as u64 / 2));
    let (odd, back) = (x.slice(s![1..;2]), y.slice(s![..;-2]));
    group.bench_function("add f32, strides 2 and -2", |b| b.iter(|| (&odd + &back).eval()));
    let square = x.slice(s![..9_000_000]).reshape((3000, 3000));
    square.eval().expect("memory for an input");
    group.throughput(Throughput::Bytes(12 * 9_000_000));
    group.bench_function("add f32, one transposed", |b| b.iter(|| (&square + square.t()).eval()));
    let (hx, hy) = (x.to_ndarray().expect("memory for a copy"), y.to_ndarray().expect("memory for a copy"));
    group.throughput(Throughput::Bytes(12 * N as u64));
    let host_to_host = |f: fn(&DeviceArray1<f32>, &DeviceArray1<f32>) -> DeviceArray1<f32>| {
        f(&device.array(&hx)?, &device.array(&hy)?).into_ndarray()
    };
    group.bench_function("add f32, host to host", |b| b.iter(|| host_to_host(|x, y| x + y)));
    group.bench_function("chain f32, host to host", |b| b.iter(|| host_to_host(chain)));
    group.finish();
}

criterion_group!(benches, elementwise);
criterion_main!(benches);
