//! Ten iterations of k-means on handwritten digits. A loop makes its plans once.

use ndcuda::{debug::trace, distance::sqeuclidean_expanded, io, prelude::*, s};
use std::error::Error;

const K: usize = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let dev = Device::from_env()?;
    println!("device: {}", Device::probe());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/distances/data/digits.npy");
    let x: DeviceArray2<f32> = io::read_npy(path, &dev)?.cast().into_dimensionality()?;
    x.eval()?;

    let clusters = dev.arange(0i64, K as i64, 1).insert_axis(Axis(0));
    let mut centres = x.slice(s![..K, ..]);
    let mut plans = Vec::new();
    let mut last = f32::INFINITY;
    for i in 0..10 {
        let (inertia, seen) = trace(|| -> ndcuda::Result<f32> {
            let d = sqeuclidean_expanded(&x, &centres);
            let inertia = d.min_axis(Axis(1)).sum();
            // member[i, c] is 1 where centre c is the nearest to row i.
            let member = d.argmin_axis(Axis(1)).insert_axis(Axis(1)).equal(&clusters).cast::<f32>();
            let size = member.sum_axis(Axis(0)).maximum(1.0).insert_axis(Axis(1));
            centres = member.t().dot(&x) / size;
            ndcuda::eval((&centres, &inertia))?;
            inertia.item()
        });
        let inertia = inertia?;
        plans.push(seen.plans);
        println!("iteration {i}: inertia {inertia:.0}, {} kernels, {} plans made", seen.kernels, seen.plans);
        assert!(inertia <= last * 1.0001, "k-means never gets worse");
        last = inertia;
    }
    // The first centres are a slice of the images; from then on every iteration is of one form.
    assert!(plans[2..].iter().all(|&n| n == 0), "{plans:?}");
    println!("{} plans for 10 iterations", plans.iter().sum::<usize>());
    Ok(())
}
