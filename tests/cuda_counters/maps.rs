//! Elementwise kernels: whole sectors, 16 bytes a lane where addresses allow it.

use crate::child::Case;
use crate::count::{counted, cuda, noise, report};
use ndarray::{Array1, Array2, Array3};
use ndcuda::{f16, s};

/// All of them.
pub const CASES: &[Case] = &[
    Case { name: "maps::sums_of_f32", variables: &[], body: || sums(4, |v| v as f32) },
    Case { name: "maps::sums_of_f64", variables: &[], body: || sums(8, |v| v) },
    Case { name: "maps::sums_of_f16", variables: &[], body: || sums(2, f16::from_f64) },
    Case { name: "maps::slices_that_begin_anywhere", variables: &[], body: slices },
    Case { name: "maps::plus_its_transpose", variables: &[], body: transposed },
];

/// `x + y` of `n` values of `size` bytes: all but what does not fill a vector goes 16 bytes a lane, and no sector is touched twice.
fn sums<T>(size: u64, of: impl Fn(f64) -> T)
where
    T: ndcuda::Float + std::ops::Add<Output = T> + PartialEq,
{
    let dev = cuda();
    let lanes = 16 / size;
    for n in [1 << 15, (1 << 15) + lanes - 1, 32 * lanes + 1, lanes, lanes - 1] {
        let x = Array1::from_shape_fn(n as usize, |i| of(noise(i)));
        let y = Array1::from_shape_fn(n as usize, |i| of(noise(i + n as usize)));
        let (dx, dy) = (dev.array(&x).unwrap(), dev.array(&y).unwrap());
        let (got, done) = counted(&format!("x + y, {n} of {size} bytes"), || (&dx + &dy).to_ndarray());
        let want = Array1::from_shape_fn(n as usize, |i| x[i] + y[i]);
        assert!(got == want, "{n} of {size} bytes");
        assert_eq!(done.launches.len(), 1);
        let c = done.all;
        let whole = (n / lanes).div_ceil(32);
        assert_eq!((c.wide_loads, c.wide_stores), (2 * whole, whole), "{n}: {c:?}");
        // One warp has all that is left over.
        let rest = u64::from(n % lanes > 0);
        assert!(c.load_requests - c.wide_loads <= 2 * rest * lanes, "{n}: {c:?}");
        assert!(c.store_requests - c.wide_stores <= rest * lanes, "{n}: {c:?}");
        // A vector and what follows it may share a sector.
        let sectors = (n * size).div_ceil(32);
        assert!((sectors..=sectors + rest).contains(&c.store_sectors), "{n}: {c:?}");
        assert!((2 * sectors..=2 * (sectors + rest)).contains(&c.load_sectors), "{n}: {c:?}");
        assert_eq!((c.unique_loaded, c.unique_stored), (2 * n * size, n * size));
        done.no_conflicts();
        report(&format!("x + y, {n} of {size} bytes"), &done, 2 * n * size);
    }
}

/// Where an operand's addresses do not allow vectors, none is moved by them: no sector is asked for twice.
fn slices() {
    let dev = cuda();
    let n = (1 << 15) + 4;
    let host = Array1::from_shape_fn(n, |i| noise(i) as f32);
    let x = dev.array(&host).unwrap();
    for (a, b) in [(1, 1), (1, 0), (0, 2), (2, 3), (4, 0)] {
        let len = n - 4;
        let view = |from: usize| s![from..from + len];
        let what = format!("x[{a}..] + x[{b}..]");
        let (got, done) = counted(&what, || (x.slice(view(a)) + x.slice(view(b))).to_ndarray());
        assert_eq!(got, &host.slice(view(a)) + &host.slice(view(b)));
        let c = done.all;
        let sectors = len as u64 * 4 / 32;
        assert_eq!((done.launches.len(), c.store_sectors), (1, sectors));
        // A request that begins within a sector touches one more, a block that does, too.
        let (operands, blocks) = (if a == b { 1 } else { 2 }, done.launches[0].grid[0] as u64);
        assert!(c.load_sectors <= operands * sectors + c.load_requests, "{what}: {c:?}");
        assert!(c.missed_sectors <= operands * (sectors + 2 * blocks), "{what}: {c:?}");
        assert_eq!((c.unique_loaded, c.unique_stored), ((len + a.abs_diff(b)) as u64 * 4, len as u64 * 4), "{what}");
        done.no_conflicts();
        report(&what, &done, operands * sectors * 32);
    }
}

/// One operand runs along the rows, the other along the columns: the lanes of a warp lie along both, and no sector is asked for twice where rows
/// are whole sectors; but of few rows, whose lines lie near each other anyway.
fn transposed() {
    let dev = cuda();
    for (n, m, times) in [(256, 256, 1.0), (100, 100, 1.6), (1024, 1024, 1.0), (72, 333, 2.1), (8, 40, 2.0)] {
        let host = Array2::from_shape_fn((n, m), |(i, j)| noise(i * m + j) as f32);
        let other = Array2::from_shape_fn((m, n), |(i, j)| noise(n * m + i * n + j) as f32);
        let (x, y) = (dev.array(&host).unwrap(), dev.array(&other).unwrap());
        let what = format!("x + y.t(), {n} x {m}");
        let (got, done) = counted(&what, || (&x + y.t()).to_ndarray());
        assert_eq!(got, &host + &other.t(), "{what}");
        let bytes = (2 * n * m * 4) as u64;
        assert_eq!((done.launches.len(), done.all.unique_loaded), (1, bytes));
        assert!(done.read() as f64 <= times * bytes as f64, "{what}: {:?}", done.all);
        report(&what, &done, bytes);
    }
    let host = Array2::from_shape_fn((256, 128), |(i, j)| noise(i * 128 + j));
    let x = dev.array(&host).unwrap();
    let (got, done) =
        counted("f64 and a transpose", || (x.slice(s![..128, ..]) * x.slice(s![128.., ..]).t()).to_ndarray());
    assert_eq!(got, &host.slice(s![..128, ..]) * &host.slice(s![128.., ..]).t());
    assert_eq!((done.launches.len(), done.read()), (1, 256 * 128 * 8), "{:?}", done.all);
    // Three axes, the middle one of which is the other's last.
    let host = Array3::from_shape_fn((3, 20, 44), |(b, i, j)| f16::from_f64(noise(b * 880 + i * 44 + j)));
    let x = dev.array(&host).unwrap();
    let y = dev.array(&host.mapv(|v| v + v).permuted_axes([0, 2, 1]).as_standard_layout().to_owned()).unwrap();
    let (got, done) = counted("three axes", || (&x + y.permuted_axes([0, 2, 1])).to_ndarray());
    assert_eq!(got, host.mapv(|v| v + (v + v)));
    // Rows of 40 and 88 bytes are no whole sectors; a thread for each element of `y` would read a sector of it each.
    assert!(done.launches.len() == 1 && done.read() <= 4 * host.len() as u64 * 4, "{:?}", done.all);
}
