//! A whole program in small: upload, elementwise, fold, distances, product, nearest neighbours, gather, download. All values are small integers, so
//! that every order of sums gives the same bits.

use ndarray::{Array1, Array2, Axis};
use ndcuda::{Device, NewAxis, Result, s};

/// What the program gives.
#[derive(PartialEq, Debug)]
pub struct Out {
    chain: Array2<f32>,
    sums: Array1<f32>,
    distances: Array2<f32>,
    product: Array2<f32>,
    nearest: Array1<i64>,
    two: Array2<i64>,
    taken: Array1<f32>,
}

/// Rows, rows of the other operand, columns.
const SIZE: (usize, usize, usize) = (6, 5, 7);

/// Its inputs.
pub fn inputs() -> (Array2<f32>, Array2<f32>) {
    let (n, m, d) = SIZE;
    let x = Array2::from_shape_fn((n, d), |(i, k)| ((i * 5 + k * 3) % 11) as f32 - 4.0);
    let y = Array2::from_shape_fn((m, d), |(j, k)| ((j * 7 + k * 2) % 13) as f32 - 5.0);
    (x, y)
}

/// Runs it on a device.
pub fn work(dev: &Device) -> Result<Out> {
    let (x, y) = inputs();
    let (x, y) = (dev.array(&x)?, dev.array(&y)?);
    let chain = &x * 2.0 + 1.0;
    let sums = (&x + 1.0).sum_axis(Axis(1));
    let difference = x.slice(s![.., NewAxis, ..]) - y.slice(s![NewAxis, .., ..]);
    let distances = (&difference * &difference).sum_axis(Axis(2));
    let product = x.dot(&y.t());
    let nearest = distances.argmin_axis(Axis(1));
    // Of distances that no one holds: they are made in scratch memory.
    let two = difference.abs().sum_axis(Axis(2)).topk(2, Axis(1), false).1;
    let taken = sums.take(Axis(0), &dev.array(&ndarray::arr1(&[5i64, 0, 3]))?);
    ndcuda::eval((&chain, &sums, &distances))?;
    Ok(Out {
        product: product.to_ndarray()?,
        nearest: nearest.to_ndarray()?,
        two: two.to_ndarray()?,
        taken: taken.to_ndarray()?,
        chain: chain.to_ndarray()?,
        sums: sums.to_ndarray()?,
        distances: distances.to_ndarray()?,
    })
}

/// The same by loops.
pub fn expected() -> Out {
    let (x, y) = inputs();
    let (n, m, d) = SIZE;
    let all = |f: &dyn Fn(f32, f32) -> f32| {
        Array2::from_shape_fn((n, m), |(i, j)| (0..d).map(|k| f(x[[i, k]], y[[j, k]])).sum::<f32>())
    };
    let distances = all(&|a, b| (a - b) * (a - b));
    let nearest = Array1::from_shape_fn(n, |i| {
        (0..m).fold(0, |best, j| if distances[[i, j]] < distances[[i, best]] { j } else { best }) as i64
    });
    let blocks = all(&|a, b| (a - b).abs());
    let two = Array2::from_shape_fn((n, 2), |(i, r)| {
        let mut order: Vec<usize> = (0..m).collect();
        order.sort_by(|&a, &b| blocks[[i, a]].total_cmp(&blocks[[i, b]]));
        order[r] as i64
    });
    let sums = Array1::from_shape_fn(n, |i| (0..d).map(|k| x[[i, k]] + 1.0).sum::<f32>());
    Out {
        chain: x.mapv(|v| v * 2.0 + 1.0),
        taken: ndarray::arr1(&[sums[5], sums[0], sums[3]]),
        product: all(&|a, b| a * b),
        sums,
        distances,
        nearest,
        two,
    }
}
