//! The columns of a matrix brought to mean 0 and standard deviation 1, constant columns left at 0.

use approx::assert_abs_diff_eq;
use ndcuda::{debug::trace, io, prelude::*};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let dev = Device::from_env()?;
    println!("device: {}", Device::probe());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/distances/data/digits.npy");
    let x: DeviceArray2<f64> = io::read_npy(path, &dev)?.cast().into_dimensionality()?;
    x.eval()?;

    // std = x.std(axis=0); z = (x - x.mean(axis=0)) / np.where(std == 0, 1, std)
    let std = x.std_axis(Axis(0), 0.0);
    let constant = std.equal(0.0);
    let z = (&x - x.mean_axis(Axis(0))) / constant.where_(1.0, &std);
    let (ran, seen) = trace(|| z.eval());
    ran?;
    println!("{} x {} pixels in {} kernels, {} bytes", x.shape()[0], x.shape()[1], seen.kernels, seen.peak);

    let zeros = ndarray::Array1::<f64>::zeros(64);
    assert_abs_diff_eq!(z.mean_axis(Axis(0)), zeros, epsilon = 1e-12);
    let ones = constant.where_(0.0, dev.ones::<f64, _>(64)).to_ndarray()?;
    assert_abs_diff_eq!(z.std_axis(Axis(0), 0.0), ones, epsilon = 1e-12);
    println!("{} columns have mean 0 and deviation 1, {} are constant", ones.sum(), 64.0 - ones.sum());
    Ok(())
}
