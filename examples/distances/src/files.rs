//! `--x`: the distances between the rows of `.npy` files.

use crate::args::Job;
use crate::device::device;
use ndcuda::distance::{Metric, cdist};
use ndcuda::io::{AnyArray, read_npy, write_npy};
use ndcuda::ndarray::Array2;
use ndcuda::{DType, Device, DeviceArray2, Element, Float, s};
use std::error::Error;
use std::io::{IsTerminal, Write};
use std::path::Path;

/// Elements of the result computed at a time.
const BLOCK: usize = 1 << 22;

pub fn run(job: &Job) -> Result<(), Box<dyn Error>> {
    let device = device(job.device.as_deref())?;
    let x = matrix(&job.x, &device)?;
    let y = job.y.as_deref().map(|path| matrix(path, &device).map(|y| (path, y))).transpose()?;
    if let Some((path, y)) = &y {
        let (a, b) = (x.shape()[1], y.shape()[1]);
        if a != b {
            let (x, y) = (job.x.display(), path.display());
            return Err(format!("the rows differ in length: {a} columns in {x}, {b} in {y}").into());
        }
    }
    let short = |a: &AnyArray| matches!(a.dtype(), DType::F16 | DType::F32);
    if short(&x) && y.as_ref().is_none_or(|(_, y)| short(y)) {
        compute::<f32>(job, &x, y, &device)
    } else {
        compute::<f64>(job, &x, y, &device)
    }
}

/// A file's array, if it is a matrix with columns.
fn matrix(path: &Path, device: &Device) -> Result<AnyArray, Box<dyn Error>> {
    let array = read_npy(path, device)?;
    match *array.shape() {
        [_, 0] => Err(format!("{}: its rows are empty", path.display()).into()),
        [_, _] => Ok(array),
        ref shape => Err(format!("{}: shape {shape:?} is not that of a matrix", path.display()).into()),
    }
}

/// The array in the type that is computed in, and a line where that is not its own.
fn cast<T: Element>(path: &Path, array: &AnyArray) -> ndcuda::Result<DeviceArray2<T>> {
    if array.dtype() != T::DTYPE {
        eprintln!("{}: {} is converted to {}", path.display(), array.dtype(), T::DTYPE);
    }
    array.cast::<T>().into_dimensionality()
}

fn compute<T: Float<Sum = T, Mean = T>>(
    job: &Job,
    x: &AnyArray,
    y: Option<(&Path, AnyArray)>,
    device: &Device,
) -> Result<(), Box<dyn Error>> {
    let x = cast::<T>(&job.x, x)?;
    let y = match y {
        Some((path, y)) => cast::<T>(path, &y)?,
        None => x.clone(),
    };
    // Once here, not again for each block of rows.
    ndcuda::eval((&x, &y))?;
    let (n, m) = (x.shape()[0], y.shape()[0]);
    let mut out = host_matrix::<T>(n, m)?;
    let rows = (BLOCK / m.max(1)).clamp(1, n.max(1));
    let mut progress = Progress::new(job, rows < n);
    for start in (0..n).step_by(rows) {
        let stop = (start + rows).min(n);
        let d = cdist(&x.slice(s![start..stop, ..]), &y, job.metric);
        d.read_into(out.slice_mut(s![start..stop, ..]))?;
        progress.at(stop, n, job.metric);
    }
    drop(progress);
    // An array on the CPU takes the memory over as it is.
    write_npy(&job.out, &Device::cpu().array(out)?)?;
    eprintln!("{}: {n} x {m} {} of {} ({device})", job.out.display(), job.metric, T::DTYPE);
    Ok(())
}

/// Zeros, or an error where there is no room for them.
fn host_matrix<T: Element>(n: usize, m: usize) -> Result<Array2<T>, String> {
    let none = || format!("no memory for a matrix of {n} x {m} {}", T::DTYPE);
    let len = n.checked_mul(m).ok_or_else(none)?;
    let mut zeros = Vec::new();
    zeros.try_reserve_exact(len).map_err(|_| none())?;
    zeros.resize(len, T::ZERO);
    Array2::from_shape_vec((n, m), zeros).map_err(|_| none())
}

/// The line on stderr that says how far it is.
struct Progress {
    shown: bool,
    drawn: bool,
    terminal: bool,
}

impl Progress {
    fn new(job: &Job, long: bool) -> Progress {
        let terminal = std::io::stderr().is_terminal();
        Progress { shown: job.progress || (long && terminal), drawn: false, terminal }
    }

    fn at(&mut self, done: usize, of: usize, metric: Metric) {
        if !self.shown {
            return;
        }
        let end = if self.terminal { "\r" } else { "\n" };
        eprint!("{metric}: {done} of {of} rows ({:.0} %){end}", done as f64 / of as f64 * 100.0);
        let _ = std::io::stderr().flush();
        self.drawn = self.terminal;
    }
}

/// Leaves the line.
impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn {
            eprintln!();
        }
    }
}
