//! Sums of a matrix: each byte is read once, in whole sectors.

use crate::child::Case;
use crate::count::{Done, counted, cuda, noise, report, result};
use ndarray::{Array2, Axis};

/// All of them.
pub const CASES: &[Case] = &[Case { name: "sums::of_a_matrix", variables: &[], body: of_a_matrix }];

fn of_a_matrix() {
    let dev = cuda();
    for (rows, columns) in [(512, 512), (96, 4096), (4096, 96), (301, 1000)] {
        let host = Array2::from_shape_fn((rows, columns), |(i, j)| noise(i * columns + j) as f32);
        let exact = host.mapv(f64::from);
        let x = dev.array(&host).unwrap();
        let bytes = (rows * columns * 4) as u64;
        // `apart`: results whose parts, where several blocks share a result, lie a sector apart.
        let check = |what: &str, done: &Done, apart: usize| {
            let what = format!("{what} of {rows} x {columns}");
            report(&what, done, bytes);
            let c = done.all;
            let parts = match done.launches[0].grid[1] as u64 {
                1 => 0,
                n => n * apart as u64 * 32,
            };
            let most = bytes + bytes / 50;
            assert!(done.read() <= most + parts && done.missed() <= most, "{what}: {c:?}");
            assert!((bytes..=most).contains(&c.unique_loaded), "{what}: {c:?}");
            assert_eq!(done.launches.len(), 1);
            done.no_conflicts();
        };
        for axis in 0..2 {
            let (got, done) = counted("a fold", || x.sum_axis(Axis(axis)).to_ndarray());
            check(&format!("sum over axis {axis}"), &done, if axis == 0 { columns } else { 0 });
            // Each of at most 4096 terms is below 1, so that a tree of them is off by few times 4096 * 2^-24.
            assert!(got.iter().zip(&exact.sum_axis(Axis(axis))).all(|(g, w)| (f64::from(*g) - w).abs() < 1e-3));
            result(&format!("axis {axis} of {rows} x {columns}"), got);
        }
        let (got, done) = counted("a fold", || x.sum().to_ndarray());
        check("sum of all", &done, 0);
        assert!((f64::from(got[()]) - exact.sum()).abs() < 1e-2);
        result(&format!("all of {rows} x {columns}"), got);
    }
}
