//! Nearest neighbours of handwritten digits: the distances, the neighbours and the votes stay on the device.

use ndcuda::{DeviceArray1, distance, io, prelude::*};
use std::error::Error;

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/distances/data");

fn main() -> Result<(), Box<dyn Error>> {
    let dev = Device::from_env()?;
    println!("device: {}", Device::probe());
    let x: DeviceArray2<f32> = io::read_npy(format!("{DATA}/digits.npy"), &dev)?.cast().into_dimensionality()?;
    let labels: DeviceArray1<i64> =
        io::read_npy(format!("{DATA}/digits_labels.npy"), &dev)?.cast().into_dimensionality()?;
    let n = labels.len();

    // d = cdist(x, x); d[np.arange(n), np.arange(n)] = np.inf
    let d = distance::sqeuclidean_expanded(&x, &x);
    let mut d = dev.eye::<bool>(n).where_(f32::INFINITY, &d);

    // One vote for the label of the nearest image that has not voted yet, three times.
    let digits = dev.arange(0i64, 10, 1).insert_axis(Axis(0));
    let columns = dev.arange(0i64, n as i64, 1).insert_axis(Axis(0));
    let mut votes = dev.zeros::<i64, _>((n, 10));
    let mut first = None;
    for _ in 0..3 {
        let nearest = d.argmin_axis(Axis(1));
        let label = labels.take(Axis(0), &nearest);
        // votes[i, label[i]] += 1; d[i, nearest[i]] = np.inf
        votes += label.insert_axis(Axis(1)).equal(&digits).cast::<i64>();
        d = nearest.insert_axis(Axis(1)).equal(&columns).where_(f32::INFINITY, &d);
        first.get_or_insert(label);
    }

    // (predicted == labels).sum(): one number for each comes back.
    let hits = |predicted: &DeviceArray1<i64>| predicted.equal(&labels).count_nonzero().item();
    let one = first.as_ref().map(hits).transpose()?.unwrap_or(0);
    let three = hits(&votes.argmax_axis(Axis(1)))?;
    println!("1 neighbour:  {one} of {n} right");
    println!("3 neighbours: {three} of {n} right");
    assert_eq!(one, 1776, "the same as with SciPy's distances");
    assert!(three > 1770);
    Ok(())
}
