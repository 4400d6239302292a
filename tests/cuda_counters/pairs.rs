//! Distances by broadcasting: one kernel, no temporary, each operand once for each tile that needs it, no bank waited for.

use crate::child::Case;
use crate::count::{Done, counted, cuda, noise, report, result};
use ndarray::{Array2, Axis};
use ndcuda::{Device, DeviceArray2, NewAxis, distance, s};

/// All of them.
pub const CASES: &[Case] = &[
    Case { name: "pairs::squares_of_f32", variables: &[], body: squares_of_f32 },
    Case { name: "pairs::squares_of_f64", variables: &[], body: squares_of_f64 },
    Case { name: "pairs::magnitudes", variables: &[], body: magnitudes },
    Case { name: "pairs::large_tiles", variables: &[], body: large_tiles },
    Case { name: "pairs::any_shape", variables: &[], body: any_shape },
    Case { name: "pairs::nearest", variables: &[], body: nearest },
    Case { name: "pairs::products", variables: &[("NDCUDA_CUBLAS", "/nowhere/libcublas.so.13")], body: products },
    Case { name: "pairs::few_of_a_long_k", variables: &[], body: few_of_a_long_k },
];

/// The sum over k of `$form` of `x[i, k] - y[j, k]`, with what it did; every `$step`th row is compared with the loops' values in f64.
macro_rules! distances {
    ($dev:expr, $t:ty, $form:expr, $one:expr, $shape:expr, $columns:expr, $step:expr) => {{
        let (n, m, d): (usize, usize, usize) = $shape;
        let x = Array2::from_shape_fn((n, d), |(i, k)| noise(i * d + k) as $t);
        let y = Array2::from_shape_fn((m, d), |(j, k)| noise(n * d + j * d + k) as $t);
        let place = |host: &Array2<$t>| -> DeviceArray2<$t> {
            let dev: &Device = $dev;
            match $columns {
                false => dev.array(host).unwrap(),
                true => dev.array(&host.t().as_standard_layout().to_owned()).unwrap().t(),
            }
        };
        let (dx, dy) = (place(&x), place(&y));
        let what = format!("{n} x {m} x {d} {}{}", stringify!($t), if $columns { ", by columns" } else { "" });
        let (got, done) = counted(&what, || {
            let difference = dx.slice(s![.., NewAxis, ..]) - dy.slice(s![NewAxis, .., ..]);
            $form(difference).sum_axis(Axis(2)).to_ndarray()
        });
        for (i, j) in (0..n).step_by($step).flat_map(|i| (0..m).map(move |j| (i, j))) {
            let terms = (0..d).map(|k| $one(x[[i, k]] as f64 - y[[j, k]] as f64));
            let want: f64 = terms.sum();
            let bound = (d + 2) as f64 * <$t>::EPSILON as f64 * want;
            assert!((got[[i, j]] as f64 - want).abs() <= bound, "{what} at {i}, {j}: {} {want}", got[[i, j]]);
        }
        result(&what, got);
        report(&what, &done, ((n + m) * d * size_of::<$t>()) as u64);
        // One kernel, which has no place for (n, m, d): a result of n x m, and a page at most.
        assert_eq!(done.launches.len(), 1);
        assert!(done.launches[0].name().starts_with("nd_pairwise_"), "{}", done.launches[0].name());
        assert!(done.peak <= (n * m * size_of::<$t>()) as u64 + 512, "{what}: {} bytes", done.peak);
        done.no_conflicts();
        (done, [n, m, d].map(|e| e as u64))
    }};
}

/// Shapes of whole tiles and rows of whole sectors: all accesses are of 16 bytes, results are written once, and each operand is read once for
/// each row or column of tiles. `floats` operations are done for each (i, j, k); a tile has `least` results or more.
#[track_caller]
fn tiled(done: &Done, shape: [u64; 3], size: u64, floats: u64, least: u64) {
    let (c, [n, m, d]) = (done.all, shape);
    traffic(done, shape, size, least);
    let did = if size == 8 { c.fp64 } else { c.fp32 };
    assert_eq!(did, floats * n * m * d, "{c:?}");
    println!("arithmetic: {:.3} of the instructions", did as f64 / 32.0 / c.issued as f64);
}

/// What [`tiled`] says of memory.
#[track_caller]
fn traffic(done: &Done, [n, m, d]: [u64; 3], size: u64, least: u64) {
    let c = done.all;
    let tiles = done.launches[0].grid[0] as u64;
    // Of the tiles that such a grid can mean, those that ask for least.
    let splits =
        (1..=tiles).filter(|r| tiles.is_multiple_of(*r) && n.is_multiple_of(*r) && m.is_multiple_of(tiles / r));
    let implied = splits.map(|rows| (tiles / rows * n + rows * m) * d * size).min().unwrap();
    assert!(n * m / tiles >= least, "{tiles} tiles");
    assert!(done.missed() as f64 <= 1.1 * implied as f64, "{implied} bytes by {tiles} tiles: {c:?}");
    // By request, too: no slice is asked for twice, nor one behind the end of k.
    assert!(done.read() as f64 <= 1.1 * implied as f64, "{implied} bytes by {tiles} tiles: {c:?}");
    assert_eq!((c.store_sectors * 32, c.unique_stored), (n * m * size, n * m * size));
    assert_eq!((c.wide_loads, c.wide_stores), (c.load_requests, c.store_requests));
    assert_eq!((c.unique_loaded, c.atomics), ((n + m) * d * size, 0), "{c:?}");
}

fn squares_of_f32() {
    let (done, shape) = distances!(&cuda(), f32, |v| &v * &v, |v: f64| v * v, (256, 256, 64), false, 1);
    // A difference, and a step that multiplies and adds.
    tiled(&done, shape, 4, 2, 64 * 64);
}

fn squares_of_f64() {
    let (done, shape) = distances!(&cuda(), f64, |v| &v * &v, |v: f64| v * v, (256, 256, 64), false, 1);
    tiled(&done, shape, 8, 2, 32 * 32);
}

fn magnitudes() {
    let (done, shape) =
        distances!(&cuda(), f32, |v: ndcuda::DeviceArray3<f32>| v.abs(), f64::abs, (256, 256, 64), false, 1);
    tiled(&done, shape, 4, 3, 64 * 64);
}

fn large_tiles() {
    let (done, shape) = distances!(&cuda(), f32, |v| &v * &v, |v: f64| v * v, (2048, 2048, 48), false, 97);
    tiled(&done, shape, 4, 2, 128 * 128);
}

/// Without cuBLAS: a product, and the expanded form around one, whose norms come from the slices that the product reads.
fn products() {
    let dev = cuda();
    let (n, m, d) = (256, 256, 64);
    let x = Array2::from_shape_fn((n, d), |(i, k)| noise(i * d + k) as f32);
    let y = Array2::from_shape_fn((m, d), |(j, k)| noise(n * d + j * d + k) as f32);
    let (dx, dy) = (dev.array(&x).unwrap(), dev.array(&y).unwrap());
    type Form<'a> = (&'a str, &'a dyn Fn() -> DeviceArray2<f32>, fn(f64, f64) -> f64);
    let forms: [Form<'_>; 2] = [
        ("product", &|| dx.dot(&dy.t()), |a, b| a * b),
        ("expanded", &|| distance::sqeuclidean_expanded(&dx, &dy), |a, b| (a - b) * (a - b)),
    ];
    for (what, form, term) in forms {
        let (got, done) = counted(what, || form().to_ndarray());
        for ((i, j), &v) in got.indexed_iter() {
            let pairs = || x.row(i).into_iter().zip(y.row(j)).map(|(&a, &b)| (f64::from(a), f64::from(b)));
            let want: f64 = pairs().map(|(a, b)| term(a, b)).sum();
            let size: f64 = pairs().map(|(a, b)| a * a + b * b).sum();
            assert!((f64::from(v) - want).abs() <= d as f64 * f64::from(f32::EPSILON) * size, "{what} at {i}, {j}");
        }
        result(what, got);
        report(what, &done, ((n + m) * d * 4) as u64);
        assert_eq!(done.launches.len(), 1, "{what}");
        assert!(done.launches[0].name().starts_with("nd_pairwise_"), "{}", done.launches[0].name());
        assert!(done.peak <= (n * m * 4) as u64 + 512, "{what}: {} bytes", done.peak);
        done.no_conflicts();
        let shape = [n, m, d].map(|e| e as u64);
        traffic(&done, shape, 4, 64 * 64);
        // A multiply-add for each (i, j, k); norms are a row's or a column's.
        let (did, least) = (done.all.fp32, (n * m * d) as u64);
        assert!((least..=least + least / 5).contains(&did), "{what}: {did} of {least}");
    }
}

/// Ragged tiles, rows that begin within a sector, operands by columns.
fn any_shape() {
    let dev = cuda();
    for columns in [false, true] {
        for shape in [(256, 256, 64), (256, 256, 33), (100, 70, 35), (65, 130, 3), (70, 64, 2)] {
            distances!(&dev, f32, |v| &v * &v, |v: f64| v * v, shape, columns, 1);
        }
        // Where segments and slices end.
        for shape in [240, 256, 257, 272, 273, 512, 520].map(|d| (33, 40, d)) {
            distances!(&dev, f32, |v| &v * &v, |v: f64| v * v, shape, columns, 1);
        }
        distances!(&dev, f64, |v| &v * &v, |v: f64| v * v, (100, 70, 35), columns, 1);
    }
}

/// The nearest row and a sum over all rows: one kernel that has no place for a matrix, whichever blocks share a row. Rows of y repeat.
fn nearest() {
    let dev = cuda();
    for (n, m, d) in [(256, 2048, 64), (300, 700, 35), (70, 3000, 3), (40, 1000, 300), (1, 5000, 33), (5, 129, 8)] {
        let x = Array2::from_shape_fn((n, d), |(i, k)| noise(i * d + k) as f32);
        let y = Array2::from_shape_fn((m, d), |(j, k)| noise(n * d + j % 90 * d + k) as f32);
        let (dx, dy) = (dev.array(&x).unwrap(), dev.array(&y).unwrap());
        let pairs = || {
            let difference = dx.slice(s![.., NewAxis, ..]) - dy.slice(s![NewAxis, .., ..]);
            (&difference * &difference).sum_axis(Axis(2))
        };
        let stored = pairs().to_ndarray().unwrap();
        let what = format!("nearest of {n} x {m} x {d}");
        let ((at, sum), done) = counted(&what, || {
            let all = pairs();
            let (at, sum) = (all.argmin_axis(Axis(1)), (all * -0.1).exp().sum_axis(Axis(1)));
            ndcuda::eval((&at, &sum))?;
            Ok((at.to_ndarray()?, sum.to_ndarray()?))
        });
        for (i, row) in stored.outer_iter().enumerate() {
            let first = (0..m).reduce(|a, b| if row[b] < row[a] { b } else { a }).unwrap();
            assert_eq!(at[i], first as i64, "{what}, row {i}");
            let want: f64 = row.iter().map(|&v| f64::from(v * -0.1).exp()).sum();
            assert!((f64::from(sum[i]) - want).abs() <= 1e-5 * want, "{what}, row {i}: {} {want}", sum[i]);
        }
        result(&what, at.iter().map(|&v| v as f64).chain(sum.iter().map(|&v| f64::from(v))));
        let size = 4;
        report(&what, &done, ((n + m) * d * size) as u64);
        assert_eq!(done.launches.len(), 1);
        let (name, [tiles, parts, _]) = (done.launches[0].name(), done.launches[0].grid);
        assert!(name.starts_with("nd_pairwise_") || n == 1, "{name}");
        // Results, states of two folds for each part of a row, and the tickets, which are made once.
        let most = n * 12 + n * parts as usize * 48 + (1 << 18) + 2048;
        assert!(done.peak <= most as u64, "{what}: {} bytes of {most}", done.peak);
        assert!(m < 2000 || parts > 4, "{what}: {parts} parts");
        done.no_conflicts();
        // Each block reads its rows and its columns once. Of ragged rows, sectors are shared with neighbours.
        let implied = (parts as usize * n + tiles as usize * m) * d * size + n * parts as usize * 48;
        assert!(done.missed() <= 2 * implied as u64, "{what}: {implied} bytes implied, {:?}", done.all);
        assert!(d % 8 > 0 || done.missed() as f64 <= 1.1 * implied as f64, "{what}: {implied} bytes implied");
    }
}

/// Few pairs of a long k are computed by many blocks, and joined by a second kernel. Operands are read once, or once for each tile beside
/// another, and what blocks leave is written once and read once.
fn few_of_a_long_k() {
    let dev = cuda();
    // Extents, tiles, the rows and columns of operands that they read, and blocks in all.
    for ([n, m, d], tiles, read, blocks) in
        [([64, 64, 5120], 1, 128, 20), ([64, 192, 3000], 3, 3 * 64 + 192, 36), ([3, 5, 10_240], 1, 8, 40)]
    {
        let x = Array2::from_shape_fn((n, d), |(i, k)| noise(i * d + k) as f32);
        let y = Array2::from_shape_fn((m, d), |(j, k)| noise(n * d + j * d + k) as f32);
        let (dx, dy) = (dev.array(&x).unwrap(), dev.array(&y).unwrap());
        let what = format!("{n} x {m} x {d}");
        let (got, done) = counted(&what, || {
            (dx.slice(s![.., NewAxis, ..]) - dy.slice(s![NewAxis, .., ..])).abs().sum_axis(Axis(2)).to_ndarray()
        });
        for ((i, j), &v) in got.indexed_iter() {
            let chain = |s: usize| (s..(s + 256).min(d)).map(|k| (x[[i, k]] - y[[j, k]]).abs());
            let want = (0..d).step_by(256).filter_map(|s| chain(s).reduce(|a, b| a + b)).reduce(|a, b| a + b);
            assert_eq!(Some(v), want, "{what} at {i}, {j}");
        }
        result(&what, got);
        let segments = d.div_ceil(256);
        report(&what, &done, ((n + m) * d * 4) as u64);
        assert_eq!(done.launches.len(), 2);
        let [first, second] = [&done.launches[0], &done.launches[1]];
        assert!(second.name() == first.name() + "_join", "{} {}", first.name(), second.name());
        assert_eq!((first.grid, first.grid[0] * first.grid[1]), ([tiles, blocks / tiles, 1], blocks));
        done.no_conflicts();
        let (operands, states) = ((read * d * 4) as u64, (n * m * segments * 4) as u64);
        let c = &first.counters;
        assert_eq!((c.unique_loaded, c.unique_stored), (((n + m) * d * 4) as u64, states), "{what}");
        assert!(32 * c.missed_sectors <= operands + operands / 10, "{what}: {operands} bytes implied, {c:?}");
        assert!(n < 64 || 32 * c.store_sectors == states, "{what}: {c:?}");
        let c = &second.counters;
        assert_eq!((c.unique_loaded, c.unique_stored), (states, (n * m * 4) as u64), "{what}");
        assert!(n < 64 || 32 * c.load_sectors == states, "{what}: {c:?}");
        let scratch = tiles as usize * 64 * 64 * 4 * (1 + segments);
        assert!(done.peak <= (scratch + n * m * 4 + 2048) as u64, "{what}: {} bytes of {scratch}", done.peak);
    }
}
