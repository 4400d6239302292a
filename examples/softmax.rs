//! The softmax of each row as one writes it in NumPy, in one kernel, against plain `ndarray`.

use approx::assert_relative_eq;
use ndarray::{Array1, Array2};
use ndcuda::{debug::trace, prelude::*};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let dev = Device::from_env()?;
    println!("device: {}", Device::probe());
    let host = Array2::from_shape_fn((500, 1000), |(i, j)| ((i * 31 + j * 17) % 201) as f32 / 10.0 - 10.0);
    let x = dev.array(&host)?;

    // e = np.exp(x - x.max(axis=1, keepdims=True)); p = e / e.sum(axis=1, keepdims=True)
    let e = (&x - x.max_keep(Axis(1))).exp();
    let p = &e / e.sum_keep(Axis(1));
    let (ran, seen) = trace(|| p.eval());
    ran?;
    println!("{} kernel, {} bytes written for {} of results", seen.kernels, seen.bytes_written, p.len() * 4);
    assert_eq!(seen.kernels, 1);

    let mut expected = host;
    for mut row in expected.rows_mut() {
        let max = row.fold(f32::NEG_INFINITY, |m, &v| m.max(v));
        row.mapv_inplace(|v| (v - max).exp());
        let sum = row.sum();
        row /= sum;
    }
    assert_relative_eq!(p, expected, max_relative = 1e-5);
    assert_relative_eq!(p.sum_axis(Axis(1)), Array1::ones(500), max_relative = 1e-5);
    assert_eq!(p, x.softmax(Axis(1)), "the method is the same expression");
    println!("rows sum to 1");
    Ok(())
}
