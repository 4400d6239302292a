//! Elementwise kernels: whole sectors, 16 bytes a lane where addresses allow it.

use crate::child::Case;
use crate::count::{counted, cuda, noise, report};
use ndarray::{Array1, Array2};
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

/// Where an operand's addresses do not allow the vectors of the others, it is read in their order, by smaller pieces: each asks for the
/// same sectors again (of the L1 cache, on a GPU). `times` says how many of those of one operand all loads together ask for.
fn slices() {
    let dev = cuda();
    let n = (1 << 15) + 4;
    let host = Array1::from_shape_fn(n, |i| noise(i) as f32);
    let x = dev.array(&host).unwrap();
    for (a, b, times) in [(1, 1, 4), (1, 0, 4 + 1), (0, 2, 1 + 2), (2, 3, 1 + 2), (4, 0, 1 + 1)] {
        let len = n - 4;
        let view = |from: usize| s![from..from + len];
        let what = format!("x[{a}..] + x[{b}..]");
        let (got, done) = counted(&what, || (x.slice(view(a)) + x.slice(view(b))).to_ndarray());
        assert_eq!(got, &host.slice(view(a)) + &host.slice(view(b)));
        let c = done.all;
        let sectors = len as u64 * 4 / 32;
        assert_eq!((done.launches.len(), c.store_sectors), (1, sectors));
        // A request that begins within a sector touches one more, a block that does, too.
        assert!(c.load_sectors <= times * sectors + c.load_requests, "{what}: {c:?}");
        let (operands, blocks) = (if a == b { 1 } else { 2 }, done.launches[0].grid[0] as u64);
        assert!(c.missed_sectors <= operands * (sectors + 2 * blocks), "{what}: {c:?}");
        assert_eq!((c.unique_loaded, c.unique_stored), ((len + a.abs_diff(b)) as u64 * 4, len as u64 * 4), "{what}");
        done.no_conflicts();
        report(&what, &done, operands * sectors * 32);
    }
}

/// One operand runs along the rows, the other along the columns: no sector is read by whole warps there, and no count is held to.
fn transposed() {
    let dev = cuda();
    for n in [256, 100, 1024] {
        let host = Array2::from_shape_fn((n, n), |(i, j)| noise(i * n + j) as f32);
        let x = dev.array(&host).unwrap();
        let (got, done) = counted(&format!("x + x.t(), {n}"), || (&x + x.t()).to_ndarray());
        assert_eq!(got, &host + &host.t());
        assert_eq!((done.launches.len(), done.all.unique_loaded), (1, (n * n * 4) as u64));
        report(&format!("x + x.t(), {n}"), &done, (2 * n * n * 4) as u64);
    }
}
