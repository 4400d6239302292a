//! The core promises: few kernels, linear work, constant memory, plans reused.

use ndarray::{Array1, Array2, array};
use ndcuda::debug::trace;
use ndcuda::{Axis, Device, NewAxis, distance, s};

fn digits() -> (Array2<f32>, Vec<u8>) {
    let read = |b: &'static [u8]| {
        let header = 10 + u16::from_le_bytes([b[8], b[9]]) as usize;
        b[header..].to_vec()
    };
    let x = read(include_bytes!("../examples/distances/data/digits.npy"));
    let labels = read(include_bytes!("../examples/distances/data/digits_labels.npy"));
    let x = Array2::from_shape_vec((1797, 64), x.iter().map(|&v| v as f32).collect()).unwrap();
    (x, labels)
}

#[test]
fn add_runs() {
    let dev = Device::cpu();
    let x = dev.array(&array![[1.0f32, 2.0], [3.0, 4.0]]).unwrap();
    let y = dev.array(&array![10.0f32, 20.0]).unwrap();
    let z = &x + &y;
    assert_eq!(z, array![[11.0f32, 22.0], [13.0, 24.0]]);
    assert_eq!((&x + &y).sum_axis(Axis(0)), array![24.0f32, 46.0]);
    assert_eq!((&x + &y).sum().item().unwrap(), 70.0);
}

#[test]
fn digits_neighbours() {
    let (x, labels) = digits();
    let dev = Device::cpu();
    let x = dev.array(&x).unwrap();
    let labels = dev.array(Array1::from(labels)).unwrap();
    for (d, hits) in [
        (distance::sqeuclidean_broadcast(&x, &x), 1776),
        (distance::sqeuclidean_expanded(&x, &x), 1776),
        (distance::cityblock(&x, &x), 1770),
    ] {
        let d = dev.eye::<bool>(1797).where_(f32::INFINITY, &d);
        let nearest = d.argmin_axis(Axis(1));
        let same = labels.take(Axis(0), &nearest).equal(&labels);
        assert_eq!(same.count_nonzero().item().unwrap(), hits);
    }
}

#[test]
fn cityblock_is_one_kernel() {
    let dev = Device::cpu();
    let x = dev.from_fn((50, 7), |(i, j)| (i * 7 + j) as f32).unwrap();
    let (r, t) = trace(|| (x.slice(s![.., NewAxis, ..]) - x.slice(s![NewAxis, .., ..])).abs().sum_axis(Axis(2)).eval());
    r.unwrap();
    assert_eq!((t.kernels, t.allocated), (1, 50 * 50 * 4));
}
