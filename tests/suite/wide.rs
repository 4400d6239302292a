//! Evaluations of very many values at once, and expressions with very many terms: right, and planned in time that grows with them.

use crate::harness::on_the_host;
use ndarray::arr1;
use ndcuda::debug::trace;
use ndcuda::{Device, DeviceArray1};

/// More values and scalars than a `u16` counts (on other devices as many as make a few batches).
fn many_roots_have_their_own_values(dev: &Device) {
    let n = if on_the_host(dev) { 70_000 } else { 2500 };
    let x = dev.array(arr1(&[1.0f64])).unwrap();
    let shared = (&x * 3.0).sum();
    let all: Vec<DeviceArray1<f64>> = (0..n).map(|i| &x * (i as f64) + &shared).collect();
    let (out, t) = trace(|| ndcuda::eval(&all[..]));
    out.unwrap();
    // Batches of one form: the first, those that find the shared sum there, and the last.
    assert!(t.plans <= 4, "{t:?}");
    for (i, v) in all.iter().enumerate() {
        assert_eq!(v.to_ndarray().unwrap()[0], i as f64 + 3.0);
    }
}

tests_on_devices! { many_roots_have_their_own_values }
