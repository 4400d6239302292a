//! The distances of the talk, in its order: the loop (#0), broadcasting (#1), the matrix product (#2), and city block.

use approx::assert_relative_eq;
use ndarray::Array2;
use ndcuda::{debug::trace, prelude::*, s};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let dev = Device::from_env()?;
    println!("device: {}", Device::probe());

    // rng = np.random.default_rng(0); x = rng.random((60, 16)); y = rng.random((50, 16))
    let number = |i: usize, k: usize| ((i * 37 + k * 101 + i * k) % 257) as f32 / 257.0;
    let host_x = Array2::from_shape_fn((60, 16), |(i, k)| number(i, k));
    let host_y = Array2::from_shape_fn((50, 16), |(j, k)| number(j + 91, k));
    let x = dev.array(&host_x)?;
    let y = dev.array(&host_y)?;
    let (n, m) = (x.shape()[0], y.shape()[0]);

    // What all must give: the same in plain ndarray.
    let pairs =
        |f: fn(f32) -> f32| Array2::from_shape_fn((n, m), |(i, j)| (&host_x.row(i) - &host_y.row(j)).mapv(f).sum());
    let squares = pairs(|v| v * v);
    let city = pairs(f32::abs);

    // Implementation #0
    // d0 = np.empty((n, m))
    // for i in range(n):
    //     for j in range(m):
    //         diff = x[i] - y[j]
    //         d0[i, j] = (diff * diff).sum()
    let mut d0 = Array2::zeros((n, m));
    let (ran, seen) = trace(|| -> ndcuda::Result<()> {
        for i in 0..n {
            for j in 0..m {
                let diff = x.slice(s![i, ..]) - y.slice(s![j, ..]);
                d0[[i, j]] = (&diff * &diff).sum().item()?;
            }
        }
        Ok(())
    });
    ran?;
    assert_relative_eq!(d0, squares, max_relative = 1e-5);
    println!("#0 loop:       {} kernels, {} plans", seen.kernels, seen.plans);

    // Implementation #1
    // diff = x[:, np.newaxis, :] - y[np.newaxis, :, :]
    // d1 = (diff * diff).sum(axis=2)
    let diff = x.slice(s![.., NewAxis, ..]) - y.slice(s![NewAxis, .., ..]);
    let d1 = (&diff * &diff).sum_axis(Axis(2));
    let (ran, seen) = trace(|| d1.eval());
    ran?;
    assert_relative_eq!(d1, squares, max_relative = 1e-5);
    let never = n * m * x.shape()[1] * size_of::<f32>();
    assert!(seen.peak < never, "the (n, m, d) temporary must not exist");
    println!("#1 broadcast:  {} kernel, {} bytes; the (n, m, d) temporary would take {never}", seen.kernels, seen.peak);

    // Implementation #2
    // x2 = (x * x).sum(axis=1)[:, np.newaxis]
    // y2 = (y * y).sum(axis=1)[np.newaxis, :]
    // d2 = np.abs(x2 + y2 - 2 * (x @ y.T))
    let x2 = (&x * &x).sum_axis(Axis(1)).insert_axis(Axis(1));
    let y2 = (&y * &y).sum_axis(Axis(1)).insert_axis(Axis(0));
    let d2 = (x2 + y2 - 2.0 * x.dot(&y.t())).abs();
    let (ran, seen) = trace(|| d2.eval());
    ran?;
    // Differences of large sums: fewer digits than #1.
    assert_relative_eq!(d2, squares, max_relative = 1e-4, epsilon = 1e-5);
    println!("#2 expanded:   {} kernels, {} bytes", seen.kernels, seen.peak);

    // City block
    // d = np.abs(x[:, np.newaxis, :] - y[np.newaxis, :, :]).sum(axis=2)
    let d = (x.slice(s![.., NewAxis, ..]) - y.slice(s![NewAxis, .., ..])).abs().sum_axis(Axis(2));
    assert_relative_eq!(d, city, max_relative = 1e-5);
    println!("city block:    as the loop");
    println!("all agree");
    Ok(())
}
