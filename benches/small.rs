//! What an operation costs besides its arithmetic: recording, finding the plan, making one, and running 100 elements.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ndcuda::{Axis, Device, DeviceArray0, DeviceArray1};
use std::hint::black_box;
use std::time::Duration;

fn input(device: &Device, seed: usize, n: usize) -> DeviceArray1<f32> {
    device.from_fn(n, |i| ((i + seed) % 17) as f32 / 17.0).expect("memory for an input")
}

fn small(c: &mut Criterion) {
    let device = Device::default();
    let (a, b) = (input(&device, 1, 100), input(&device, 5, 100));
    let expr = || -> DeviceArray0<f32> { (&a * &b + &a).sum() };
    let mut group = c.benchmark_group("small");
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1)).sample_size(20);

    group.throughput(Throughput::Elements(1));
    group.bench_function("record a + b", |t| t.iter(|| black_box(&a + &b)));
    group.throughput(Throughput::Elements(3));
    group.bench_function("record (a*b + a).sum()", |t| t.iter(|| black_box(expr())));
    group.throughput(Throughput::Elements(1));
    group.bench_function("a + b of 100, evaluated", |t| t.iter(|| (&a + &b).eval()));
    group.bench_function("(a*b + a).sum() of 100, to a number", |t| t.iter(|| expr().item()));
    let one = (input(&device, 1, 1), input(&device, 5, 1));
    group.bench_function("a + b of 1, evaluated", |t| t.iter(|| (&one.0 + &one.1).eval()));
    group.bench_function("a view and its copy", |t| t.iter(|| a.index_axis(Axis(0), 7).item()));
    let mut n = 0;
    // The forms come round after 4096 turns: by then a cache of fewer plans has dropped them.
    group.bench_function("a new plan", |t| {
        t.iter(|| {
            n += 1;
            let mut x = a.clone();
            for bit in 0..12 {
                x = if n >> bit & 1 == 0 { x + &b } else { x * &b };
            }
            x.eval()
        })
    });
    group.throughput(Throughput::Elements(1000));
    let mut x = a.clone();
    group.bench_function("x += b, 1000 times", |t| {
        t.iter(|| {
            for _ in 0..1000 {
                x += &b;
            }
            x.eval()
        })
    });
    group.finish();
}

criterion_group!(benches, small);
criterion_main!(benches);
