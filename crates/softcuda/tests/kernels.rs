//! Kernels that the real compiler made, against plain Rust.

mod common;

use common::*;

/// Softmax of rows; what the launch counted.
fn softmax(
    module: &softcuda::Module,
    rows: usize,
    columns: usize,
    seed: u64,
) -> Result<(Vec<f32>, Vec<f32>), softcuda::Fault> {
    let m = machine(seed);
    let l = m.load(module).unwrap();
    let x = noise(rows * columns, 1);
    let (p0, p1) = (upload(&m, &x), m.alloc((rows * columns * 4) as u64).unwrap());
    let args = Args::default().u64(p0).u64(p1).u64(0).u64(0).u64(0).extents(&[rows as u32, columns as u32]);
    let args = args.i32s(&[columns as i32, 1, columns as i32, 1]).bytes();
    let lanes = (columns.div_ceil(4).next_power_of_two() as u32).min(256);
    let grid = (rows as u32).div_ceil(256 / lanes);
    launch(&m, &l, [grid, 1, 1], [lanes, 256 / lanes, 1], &args)?;
    let want = x
        .chunks(columns)
        .flat_map(|r| {
            let max = r.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let e: Vec<f32> = r.iter().map(|v| (v - max).exp()).collect();
            let sum: f32 = e.iter().sum();
            e.into_iter().map(move |e| e / sum)
        })
        .collect();
    Ok((download(&m, p1, rows * columns), want))
}

fn close(got: &[f32], want: &[f32], tolerance: f32) -> bool {
    got.iter().zip(want).all(|(g, w)| (g - w).abs() <= tolerance * w.abs().max(1e-6))
}

#[test]
fn softmax_of_rows() {
    for (name, module) in fixtures("softmax") {
        for (rows, columns) in [(3, 5), (7, 100), (5, 1000), (2, 3000)] {
            for seed in [0, 1, 2] {
                let (got, want) = softmax(&module, rows, columns, seed).unwrap_or_else(|e| panic!("{name}: {e}"));
                assert!(close(&got, &want, 3e-6), "{name} {rows} {columns}\n{got:?}\n{want:?}");
            }
        }
    }
}
