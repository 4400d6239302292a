//! Elements beyond 2^31 and bytes beyond 2^32: views in huge steps over memory in which just the elements are written that they name. A kernel
//! whose indices are too short reads what nobody wrote, which is a finding.

use crate::child::{self, Case, device, ships};
use libtest_mimic::Trial;
use ndarray::{Array1, Array2, Axis, Zip, s};
use ndcuda::cuda::cudarc::driver::sys;
use ndcuda::{Device, DeviceArray, DeviceArray2, Element, NewAxis, Number, distance};
use std::ops::Add;
use std::path::PathBuf;

const MEMORY: (&str, &str) = ("SOFTCUDA_MEMORY", "137438953472");
const NO_CUBLAS: (&str, &str) = ("NDCUDA_CUBLAS", "/nowhere/libcublas.so.13");

/// All of them run on what ships and, where there is a compiler, on kernels with 64-bit indices.
pub const CASES: &[Case] = &[
    Case { name: "far::maps", variables: &[MEMORY], body: maps },
    Case { name: "far::folds", variables: &[MEMORY], body: folds },
    Case { name: "far::gathers", variables: &[MEMORY], body: gathers },
    Case { name: "far::pairs", variables: &[MEMORY], body: pairs },
    Case { name: "far::products", variables: &[MEMORY], body: products },
    Case { name: "far::products_without_cublas", variables: &[MEMORY, NO_CUBLAS], body: products },
    Case { name: "far::selections", variables: &[MEMORY], body: selections },
];

/// The same with each compiler.
pub fn compiled(compilers: &[PathBuf]) -> Vec<Trial> {
    let trial = |case: &'static Case| {
        let compilers = compilers.to_vec();
        let none = compilers.is_empty();
        let test = move || {
            compilers.iter().try_for_each(|compiler| {
                let compiler = compiler.display().to_string();
                let mut variables = vec![("NDCUDA_NVRTC", compiler.as_str()), ("TEST_COMPILED", "1")];
                variables.extend(case.variables);
                child::run(case.name, &variables).map(|_| ())
            })
        };
        Trial::test(format!("{}_compiled", case.name), test).with_ignored_flag(none)
    };
    CASES.iter().map(trial).collect()
}

/// Rows, their distance and the columns that are written at both ends of each: the last row begins at element 2^31.
const ROWS: usize = 17;
const STEP: usize = 1 << 27;
const COLUMNS: usize = 8;

fn value(i: usize, j: usize) -> i64 {
    ((i * 5 + j * 3) % 11) as i64 - 4
}

/// What `far` has in its first columns, and in its last.
fn host<T: Number>(last: bool) -> Array2<T> {
    let from = if last { STEP - COLUMNS } else { 0 };
    Array2::from_shape_fn((ROWS, COLUMNS), |(i, j)| T::from_f64(value(i, from + j) as f64))
}

struct Memory(u64);

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: from cuMemAlloc, freed once, after the last array over it.
        assert_eq!(unsafe { sys::cuMemFree_v2(self.0) }, sys::CUresult::CUDA_SUCCESS);
    }
}

/// An array of so many rows, with the columns written at both ends of each.
fn far<T: Number>(dev: &Device) -> DeviceArray2<T> {
    dev.cuda_context().unwrap().bind_to_thread().unwrap();
    let mut at = 0;
    // SAFETY: the out pointer is valid.
    let made = unsafe { sys::cuMemAlloc_v2(&mut at, ROWS * STEP * size_of::<T>()) };
    assert_eq!(made, sys::CUresult::CUDA_SUCCESS);
    for i in 0..ROWS {
        for from in [0, STEP - COLUMNS] {
            let row: Vec<T> = (from..from + COLUMNS).map(|j| T::from_f64(value(i, j) as f64)).collect();
            let to = at + ((i * STEP + from) * size_of::<T>()) as u64;
            // SAFETY: within the allocation; the row is as long as said.
            let copied = unsafe { sys::cuMemcpyHtoD_v2(to, row.as_ptr().cast(), size_of_val(&row[..])) };
            assert_eq!(copied, sys::CUresult::CUDA_SUCCESS);
        }
    }
    // SAFETY: the memory is as long and lives until its owner is dropped; what is written is written.
    unsafe { dev.from_raw(at, (ROWS, STEP), Memory(at)) }.unwrap()
}

/// Evaluates; the kernels that run have indices of 64 bits, and are those that the case is for.
#[track_caller]
fn eval<T: Element, D: ndarray::Dimension>(what: &str, x: DeviceArray<T, D>) -> ndarray::Array<T, D> {
    let (control, _) = device();
    let compiled = std::env::var_os("TEST_COMPILED").is_some();
    if compiled {
        let text = x.cuda_source().unwrap();
        assert!(text.iter().all(|t| t.contains("typedef i64 Index;")), "{what} has short indices");
    }
    control.reset();
    control.record(true);
    let value = x.to_ndarray().unwrap_or_else(|e| panic!("{what}: {e}"));
    let names: Vec<String> = control.launches().iter().map(|l| l.name()).collect();
    assert!(!names.is_empty() && names.iter().all(|n| ships(n) != compiled), "{what}: {names:?}");
    value
}

fn maps() {
    device();
    let dev = Device::cuda(0).unwrap();
    fn of<T: Number + Add<Output = T>>(dev: &Device) {
        let x = far::<T>(dev);
        let (first, last) = (host::<T>(false), host::<T>(true));
        let one = T::from_f64(1.0);
        assert_eq!(eval("columns", x.slice(s![.., ..8]) + one), first.mapv(|v| v + one));
        assert_eq!(eval("the last columns", x.slice(s![.., -8..]) + one), last.mapv(|v| v + one));
        assert_eq!(eval("transposed", x.slice(s![.., ..8]).t() + one), first.t().mapv(|v| v + one));
        let backwards = x.slice(s![..;-1, ..8;3]);
        assert_eq!(eval("backwards", backwards + one), first.slice(s![..;-1, ..;3]).mapv(|v| v + one));
        let both = x.slice(s![.., ..8]) + x.slice(s![.., -8..]);
        assert_eq!(eval("both ends", both), Zip::from(&first).and(&last).map_collect(|&a, &b| a + b));
        // Where the only view of an array begins is part of its address. And a row that is read as it is.
        assert_eq!((x.slice(s![16, ..8]) + one).to_ndarray().unwrap(), first.row(16).mapv(|v| v + one));
        assert_eq!(x.slice(s![16, -8..]).to_ndarray().unwrap(), last.row(16));
        let (control, _) = device();
        control.reset();
        assert_eq!(x.slice(s![..;4, -8..]).to_ndarray().unwrap(), last.slice(s![..;4, ..]));
        let fetched = control.counters().download_bytes as usize;
        assert_eq!(fetched, 5 * 8 * size_of::<T>(), "what lies between stays on the device");
    }
    of::<f32>(&dev);
    of::<f64>(&dev);
    of::<i16>(&dev);
}

fn folds() {
    device();
    let dev = Device::cuda(0).unwrap();
    let x = far::<f32>(&dev);
    for (view, host) in [(s![.., ..8], host::<f32>(false)), (s![.., STEP as isize - 8..STEP as isize], host(true))] {
        let x = x.slice(view);
        assert_eq!(eval("rows", x.sum_axis(Axis(1))), host.sum_axis(Axis(1)));
        assert_eq!(eval("columns", (&x * 2.0).sum_axis(Axis(0))), (&host * 2.0).sum_axis(Axis(0)));
        assert_eq!(eval("all", x.abs().sum()).into_scalar(), host.mapv(f32::abs).sum());
        let most = |lane: ndarray::ArrayView1<'_, f32>| {
            (0..lane.len()).fold(0, |best, i| if lane[i] > lane[best] { i } else { best }) as i64
        };
        assert_eq!(eval("argmax", x.argmax_axis(Axis(0))), host.map_axis(Axis(0), most));
        let spread = host.map_axis(Axis(1), |r| r.fold(f32::MIN, |a, &b| a.max(b))).insert_axis(Axis(1));
        assert_eq!(eval("two passes", &x - x.max_keep(Axis(1))), &host - &spread);
    }
}

fn gathers() {
    device();
    let dev = Device::cuda(0).unwrap();
    let x = far::<f32>(&dev);
    let host = host::<f32>(false);
    let at = [16i64, 0, -1, 9, 16];
    let rows: Vec<usize> = at.iter().map(|&i| i.rem_euclid(ROWS as i64) as usize).collect();
    let index = dev.array(Array1::from_iter(rows.iter().map(|&i| i as i64))).unwrap();
    assert_eq!(x.slice(s![.., ..8]).take(Axis(0), &index).to_ndarray().unwrap(), host.select(Axis(0), &rows));
    // Indices themselves beyond 2^31.
    let flat = x.reshape(ROWS * STEP);
    let places: Vec<usize> = rows.iter().map(|i| i * STEP + 3).chain([ROWS * STEP - 1]).collect();
    let index = dev.array(Array1::from_iter(places.iter().map(|&i| i as i64))).unwrap();
    let want = places.iter().map(|p| value(p / STEP, p % STEP) as f32);
    assert_eq!(flat.take(Axis(0), &index).to_ndarray().unwrap(), Array1::from_iter(want));
}

fn pairs() {
    device();
    let dev = Device::cuda(0).unwrap();
    let x = far::<f32>(&dev).slice(s![.., ..8]);
    let far_host = host::<f32>(false);
    let near_host = Array2::from_shape_fn((5, COLUMNS), |(i, j)| ((i * 7 + j) % 5) as f32);
    let near = dev.array(&near_host).unwrap();
    let want = |y: &Array2<f32>, f: fn(f32) -> f32| {
        Array2::from_shape_fn((ROWS, y.nrows()), |(i, j)| {
            far_host.row(i).iter().zip(y.row(j)).map(|(a, b)| f(a - b)).sum::<f32>()
        })
    };
    for (y, y_host) in [(&near, &near_host), (&x, &far_host)] {
        let squares = distance::sqeuclidean_broadcast(&x, y);
        assert_eq!(eval("squares", squares.clone()), want(y_host, |d| d * d));
        let difference = x.slice(s![.., NewAxis, ..]) - y.slice(s![NewAxis, .., ..]);
        assert_eq!(eval("magnitudes", difference.abs().sum_axis(Axis(2))), want(y_host, f32::abs));
        let nearest = want(y_host, |d| d * d);
        let least = |lane: ndarray::ArrayView1<'_, f32>| {
            (0..lane.len()).fold(0, |best, i| if lane[i] < lane[best] { i } else { best }) as i64
        };
        let squares = (&difference * &difference).sum_axis(Axis(2));
        assert_eq!(squares.argmin_axis(Axis(1)).to_ndarray().unwrap(), nearest.map_axis(Axis(1), least));
    }
}

fn products() {
    device();
    let dev = Device::cuda(0).unwrap();
    let x = far::<f32>(&dev).slice(s![.., ..8]);
    let host = host::<f32>(false);
    let y = Array2::from_shape_fn((COLUMNS, 5), |(i, j)| ((i * 7 + j) % 5) as f32);
    assert_eq!(x.dot(&dev.array(&y).unwrap()).to_ndarray().unwrap(), host.dot(&y));
    assert_eq!(x.t().dot(&x).to_ndarray().unwrap(), host.t().dot(&host));
    let backwards = x.slice(s![..;-2, ..]);
    assert_eq!(backwards.dot(&x.t()).to_ndarray().unwrap(), host.slice(s![..;-2, ..]).dot(&host.t()));
}

fn selections() {
    device();
    let dev = Device::cuda(0).unwrap();
    let x = far::<i32>(&dev).slice(s![.., ..8]);
    let host = host::<i32>(false);
    let first = |lane: ndarray::ArrayView1<'_, i32>, k: usize| {
        let mut order: Vec<i64> = (0..lane.len() as i64).collect();
        order.sort_by_key(|&i| (lane[i as usize], i));
        order.truncate(k);
        Array1::from(order)
    };
    let (_, at) = x.topk(3, Axis(0), false);
    let got = at.to_ndarray().unwrap();
    for j in 0..COLUMNS {
        assert_eq!(got.column(j), first(host.column(j), 3), "column {j}");
    }
}
