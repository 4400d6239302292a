//! A distance matrix that need not fit the device: computed a block of rows at a time into one host array.

use ndarray::Array2;
use ndcuda::debug::trace;
use ndcuda::distance::{Metric, cdist};
use ndcuda::{prelude::*, s};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let dev = Device::from_env()?;
    println!("device: {}", Device::probe());
    let (n, d, block) = (1000, 16, 128);
    let host = Array2::from_shape_fn((n, d), |(i, k)| ((i * 71 + k * 13 + i * k) % 511) as f32 / 511.0);
    let x = dev.array(&host)?;

    let mut out = Array2::zeros((n, n));
    let (ran, seen) = trace(|| -> ndcuda::Result<()> {
        for start in (0..n).step_by(block) {
            let stop = (start + block).min(n);
            let rows = cdist(&x.slice(s![start..stop, ..]), &x, Metric::CityBlock);
            rows.read_into(out.slice_mut(s![start..stop, ..]))?;
        }
        Ok(())
    });
    ran?;
    let blocks = n.div_ceil(block);
    println!("{blocks} blocks of {block} rows: at most {} bytes on the device, {} plans made", seen.peak, seen.plans);
    assert!(seen.peak < 2 * 4 * block * n, "no more than two blocks at once");
    assert!(seen.plans < blocks, "blocks of one form share a plan");

    let whole = cdist(&x, &x, Metric::CityBlock);
    assert_eq!(whole, out, "the blocks are the whole, bit for bit");
    println!("the same as at once, bit for bit");
    Ok(())
}
