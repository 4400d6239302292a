//! Every barrier of the modules that ship is deleted in turn: a detector of the software device has to report it, or a result has to be wrong.
//! (`topk`'s are in crates/softcuda/tests/mutation.rs.)

use super::shipped::two;
use super::soft;
use crate::prelude::*;
use crate::{Axis, Device, Element, NewAxis, Result, s};
use ndarray::Dimension;
use softcuda::Module;

/// What a device computes, as bits of f64.
type Work = dyn Fn(&Device) -> Result<Vec<u64>>;

fn bits<T: Element, D: Dimension>(a: &DeviceArray<T, D>) -> Result<Vec<u64>> {
    Ok(a.to_ndarray()?.iter().map(|v| v.to_f64().to_bits()).collect())
}

/// The barriers whose loss no work shows, by what stands in front of each.
fn missed(name: &'static str, text: &str, works: &[&Work]) -> Vec<String> {
    let module = Module::parse(text).unwrap();
    let want: Vec<Vec<u64>> = works.iter().map(|work| work(&soft::device(1)).unwrap()).collect();
    let lines = module.barriers();
    let unseen = |n: &usize| {
        let broken = module.without_barrier(*n).unwrap();
        works
            .iter()
            .zip(&want)
            .all(|(work, want)| work(&soft::with_module(1, name, broken.clone())).is_ok_and(|got| got == *want))
    };
    (0..lines.len()).filter(unseen).map(|n| format!("{} then {n}", module.line(lines[n] - 1))).collect()
}

macro_rules! shipped {
    ($name:literal) => {
        ($name, include_str!(concat!("../../kernels/ptx/", $name, ".ptx")))
    };
}

/// Two folds of one array in one kernel: they are joined one after another.
fn both<T: Number>(x: &DeviceArray2<T>, axis: usize) -> Result<Vec<u64>> {
    let (most, least) = (x.max_axis(Axis(axis)), x.min_axis(Axis(axis)));
    crate::eval((&most, &least))?;
    Ok([bits(&most)?, bits(&least)?].concat())
}

/// Folds by a warp's lanes and by all of a block, along both axes, of one row by several blocks, and two of them in one kernel.
fn folds<T: Number>(of: fn(&Device, usize, usize) -> DeviceArray2<T>) -> Vec<Box<Work>> {
    let mut all: Vec<Box<Work>> = vec![];
    for (n, m) in [(3, 1000), (40, 33), (2, 300), (500, 3), (70, 64)] {
        all.push(Box::new(move |d| bits(&of(d, n, m).sum_axis(Axis(1)))));
        all.push(Box::new(move |d| bits(&of(d, n, m).sum_axis(Axis(0)))));
        all.push(Box::new(move |d| bits(&of(d, n, m).argmax_axis(Axis(1)))));
        all.push(Box::new(move |d| bits(&of(d, n, m).argmax_axis(Axis(0)))));
        all.push(Box::new(move |d| {
            let x = of(d, n, m);
            bits(&(&x - x.max_keep(Axis(1))).min_axis(Axis(1)))
        }));
    }
    all.push(Box::new(move |d| bits(&of(d, 1, 9000).max_axis(Axis(1)))));
    all.push(Box::new(move |d| bits(&of(d, 9000, 2).max_axis(Axis(0)))));
    for (n, m, axis) in [(3, 1000, 1), (1000, 3, 0), (1, 9000, 1), (9000, 2, 0)] {
        all.push(Box::new(move |d| both(&of(d, n, m), axis)));
    }
    all
}

fn pairs<T: Float>() -> Vec<Box<Work>> {
    fn sides<T: Element>(d: &Device) -> [DeviceArray<T, ndarray::Ix3>; 2] {
        [two(d, 65, 40, 1).slice(s![.., NewAxis, ..]), two(d, 70, 40, 2).slice(s![NewAxis, .., ..])]
    }
    vec![
        Box::new(|d| bits(&two::<T>(d, 65, 40, 1).dot(&two::<T>(d, 40, 70, 2)))),
        Box::new(|d| {
            let [x, y] = sides::<T>(d);
            let difference = x - y;
            bits(&(&difference * &difference).sum_axis(Axis(2)))
        }),
        Box::new(|d| {
            let [x, y] = sides::<T>(d);
            bits(&(x - y).abs().sum_axis(Axis(2)))
        }),
        Box::new(|d| {
            let [x, y] = sides::<T>(d);
            bits(&(x - y).abs().max_axis(Axis(2)))
        }),
    ]
}

fn needs_its_barriers((name, text): (&'static str, &str), works: &[Box<Work>], redundant: &[&str]) {
    let works: Vec<&Work> = works.iter().map(|w| &**w).collect();
    assert_eq!(missed(name, text, &works), redundant, "{name}");
}

/// In front of a ticket: where blocks share a row, the lanes that leave states are all of the first warp, which takes the ticket, too.
const TICKET: &str = "membar.gl; then 6";

#[test]
fn interpreters_need_their_barriers() {
    let map: [Box<Work>; 1] = [Box::new(|d| bits(&(two::<f32>(d, 40, 33, 1) * 2.0 + 1.0)))];
    needs_its_barriers(shipped!("interp_f32_map"), &map, &[]);
    needs_its_barriers(shipped!("interp_f32"), &folds(|d, n, m| two::<f32>(d, n, m, 1)), &[TICKET]);
    needs_its_barriers(shipped!("interp_f64"), &folds(|d, n, m| two::<f64>(d, n, m, 1)), &[TICKET]);
    needs_its_barriers(shipped!("interp_int"), &folds(|d, n, m| two::<i32>(d, n, m, 1)), &[TICKET]);
    // What computes with floats and integers is left to the last of them.
    let mixed = folds(|d, n, m| (two::<f32>(d, n, m, 1) * 0.5).cast::<i64>());
    needs_its_barriers(shipped!("interp_any"), &mixed, &[TICKET]);
}

#[test]
fn pairwise_modules_need_their_barriers() {
    needs_its_barriers(shipped!("pairwise_f32"), &pairs::<f32>(), &[]);
    needs_its_barriers(shipped!("pairwise_f64"), &pairs::<f64>(), &[]);
}
