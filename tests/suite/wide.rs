//! Evaluations of very many values at once, expressions with very many terms, and arrays filled part by part: right, and with work
//! that grows as they do.

use crate::harness::on_the_host;
use ndarray::{Array2, arr1};
use ndcuda::debug::{Trace, trace};
use ndcuda::{Axis, Device, DeviceArray1, DeviceArray2, s};

/// More values and scalars than a `u16` counts (on other devices as many as make a few batches).
fn many_roots_have_their_own_values(dev: &Device) {
    let n = if on_the_host(dev) { 70_000 } else { 2500 };
    let x = dev.array(arr1(&[1.0f64])).unwrap();
    let shared = (&x * 3.0).sum();
    let all: Vec<DeviceArray1<f64>> = (0..n).map(|i| &x * (i as f64) + &shared).collect();
    let (out, t) = trace(|| ndcuda::eval(&all[..]));
    out.unwrap();
    // Batches of one form: the first, those that find the shared sum there, and the last.
    assert!(t.plans <= 4, "{t:?}");
    for (i, v) in all.iter().enumerate() {
        assert_eq!(v.to_ndarray().unwrap()[0], i as f64 + 3.0);
    }
}

fn many_leaves_are_planned_once_each(dev: &Device) {
    let run = |n: usize| {
        let leaf = |i: usize| dev.array(arr1(&[i as f64])).unwrap();
        let all: Vec<DeviceArray1<f64>> = (0..n).map(|i| leaf(i) + 1.0).collect();
        let (out, t) = trace(|| ndcuda::eval(&all[..]));
        out.unwrap();
        for (i, v) in all.iter().enumerate() {
            assert_eq!(v.to_ndarray().unwrap()[0], i as f64 + 1.0);
        }
        assert_eq!(t.kernels, n);
        t
    };
    grows_as_its_size("leaves", run(300), run(600), 8 * 600);
}

/// The sum of all, as a balanced tree.
fn tree(mut terms: Vec<DeviceArray1<f64>>) -> DeviceArray1<f64> {
    while terms.len() > 1 {
        terms = terms.chunks(2).map(|c| if c.len() == 2 { &c[0] + &c[1] } else { c[0].clone() }).collect();
    }
    terms.remove(0)
}

/// Twice the size is twice the planning at most, and no more than `most`.
fn grows_as_its_size(what: &str, less: Trace, more: Trace, most: usize) {
    let ratio = more.planned as f64 / less.planned as f64;
    assert!(ratio < 2.7 && more.planned <= most, "{what}: {less:?} {more:?}");
}

fn wide_expressions_are_planned_in_linear_work(dev: &Device) {
    let of_scalars = |n: usize| {
        let x = dev.array(arr1(&[1.0f64, 2.0])).unwrap();
        let (sum, t) = trace(|| tree((0..n).map(|i| &x * (i as f64)).collect()).to_ndarray().unwrap());
        let want = (n * (n - 1) / 2) as f64;
        assert_eq!(sum, arr1(&[want, 2.0 * want]));
        // A kernel takes some sixty of these terms.
        assert!(t.kernels <= n / 30, "{t:?}");
        t
    };
    grows_as_its_size("scalars", of_scalars(2000), of_scalars(4000), 120 * 4000);
    let of_arrays = |n: usize| {
        let term = |i: usize| dev.array(arr1(&[i as f64, 1.0])).unwrap();
        let terms: Vec<_> = (0..n).map(term).collect();
        let (sum, t) = trace(|| tree(terms).to_ndarray().unwrap());
        assert_eq!(sum, arr1(&[(n * (n - 1) / 2) as f64, n as f64]));
        // And twenty arrays.
        assert!(t.kernels <= n / 8, "{t:?}");
        t
    };
    grows_as_its_size("arrays", of_arrays(1000), of_arrays(2000), 60 * 2000);
    if on_the_host(dev) {
        // More scalars than a `u16` counts in one plan.
        of_scalars(70_000);
    }
}

fn filling_an_array_by_rows_writes_each_row_once(dev: &Device) {
    for n in [70, 140] {
        let row = dev.from_fn(n, |j| j as f32).unwrap();
        let mut want = Array2::<f32>::zeros((n, n));
        let (out, t) = trace(|| {
            let mut out = dev.zeros::<f32, _>((n, n));
            for i in 0..n {
                out.slice_assign(s![i, ..], &row + i as f32);
            }
            out.eval().unwrap();
            out
        });
        for ((i, j), v) in want.indexed_iter_mut() {
            *v = (i + j) as f32;
        }
        assert_eq!(out, want);
        // The zeros, the rows, and a copy of what the last cut made, which the handle might share.
        assert!(t.bytes_written <= 3 * n * n * 4, "{n}: {t:?}");
        assert!(t.kernels <= n + 8, "{n}: {t:?}");
    }
}

/// Whoever holds what an array was before an update, or a view of it, keeps that.
fn old_values_stay_what_they_were(dev: &Device) {
    let n = 12;
    let start = Array2::from_shape_fn((n, n), |(i, j)| (i * n + j) as f32);
    for pending in [false, true] {
        let x: DeviceArray2<f32> = dev.array(&start).unwrap();
        let mut out = if pending { &x + 0.0 } else { x.clone() };
        let mut want = start.clone();
        let mut old = vec![];
        for i in 0..n {
            out.slice_assign(s![i, ..], i as f32);
            want.row_mut(i).fill(i as f32);
            match i % 4 {
                1 => old.push((out.slice(s![.., ..]), want.clone())),
                2 => old.push((out.slice(s![..;-1, 1..]), want.slice(s![..;-1, 1..]).to_owned())),
                3 => {
                    // It reads what it writes over: one row down.
                    let above = out.slice(s![..-1, ..]) + 0.0;
                    out.slice_assign(s![1.., ..], above);
                    let above = want.slice(s![..-1, ..]).to_owned();
                    want.slice_mut(s![1.., ..]).assign(&above);
                }
                _ => {}
            }
        }
        assert_eq!(out, want);
        for (view, was) in old {
            assert_eq!(view, was);
        }
        assert_eq!(x, start);
    }
}

/// Twenty folds over the columns of an array, of ten types: one kernel, and its states would not all fit a block's shared memory at once.
fn many_folds_of_one_array_are_one_kernel(dev: &Device) {
    let host = Array2::from_shape_fn((70, 33), |(i, j)| ((i * 7 + j * 5) % 23) as f32);
    let x = dev.array(&host).unwrap();
    let mut all = vec![];
    macro_rules! both {
        ($($t:ty)*) => {$(
            all.push(x.cast::<$t>().argmin_axis(Axis(0)));
            all.push(x.cast::<$t>().argmax_axis(Axis(0)) * 100);
        )*};
    }
    both!(f32 f64 i8 i16 i32 i64 u8 u16 u32 u64);
    let sum = all.into_iter().reduce(|a, b| a + b).unwrap();
    let (out, t) = trace(|| sum.to_ndarray());
    assert_eq!(t.kernels, 1, "{t:?}");
    let first = |better: fn(f32, f32) -> bool| {
        host.map_axis(Axis(0), |lane| {
            (0..lane.len()).fold(0, |best, n| if better(lane[n], lane[best]) { n } else { best }) as i64
        })
    };
    assert_eq!(out.unwrap(), (first(|a, b| a < b) + first(|a, b| a > b) * 100) * 10);
}

/// Ten squared distances by products and squares, added up: what a block keeps of each side has to fit its shared memory.
fn many_products_with_their_squares(dev: &Device) {
    let (n, m, d) = (5, 4, 9);
    let whole = |rows: usize, seed: usize| {
        Array2::from_shape_fn((rows, d), |(i, k)| ((i * 7 + k * 3 + seed * 5) % 13) as f32 - 6.0)
    };
    let mut sums = vec![];
    let mut want = Array2::<f32>::zeros((n, m));
    for p in 0..10 {
        let (x, y) = (whole(n, p), whole(m, p + 3));
        want += &Array2::from_shape_fn((n, m), |(i, j)| {
            (0..d).map(|k| (x[[i, k]] - y[[j, k]]) * (x[[i, k]] - y[[j, k]])).sum::<f32>()
        });
        let (x, y) = (dev.array(&x).unwrap(), dev.array(&y).unwrap());
        let squares = |v: &DeviceArray2<f32>, at| (v * v).sum_axis(Axis(1)).insert_axis(Axis(at));
        sums.push(squares(&x, 1) + squares(&y, 0) - x.dot(&y.t()) * 2.0);
    }
    let sum = sums.into_iter().reduce(|a, b| a + b).unwrap();
    assert_eq!(sum.to_ndarray().unwrap(), want);
}

tests_on_devices! {
    many_products_with_their_squares
    many_folds_of_one_array_are_one_kernel
    many_roots_have_their_own_values many_leaves_are_planned_once_each wide_expressions_are_planned_in_linear_work
    filling_an_array_by_rows_writes_each_row_once old_values_stay_what_they_were
}
