//! Every barrier and fence of the emitted kernels, and of the modules that ship, is deleted in turn: a detector of the software
//! device has to report it, or a result has to be wrong. (`topk`'s are in crates/softcuda/tests/mutation.rs.)

use super::emitted::{self, BLOCKS, Golden};
use super::shipped::two;
use super::soft;
use crate::kernel::Class;
use crate::prelude::*;
use crate::{Axis, Device, Element, NewAxis, Result, s};
use ndarray::Dimension;
use softcuda::Module;

/// What a device computes, as bits of f64.
type Work = dyn Fn(&Device) -> Result<Vec<u64>>;

fn bits<T: Element, D: Dimension>(a: &DeviceArray<T, D>) -> Result<Vec<u64>> {
    Ok(a.to_ndarray()?.iter().map(|v| v.to_f64().to_bits()).collect())
}

/// The barriers and fences whose loss no work shows: barriers by what stands in front of each.
fn missed(name: &'static str, text: &str, works: &[&Work]) -> Vec<String> {
    let module = Module::parse(text).unwrap();
    let want: Vec<Vec<u64>> = works.iter().map(|work| work(&soft::device(1)).unwrap()).collect();
    let unseen = |broken: Module| {
        works
            .iter()
            .zip(&want)
            .all(|(work, want)| work(&soft::with_module(1, name, broken.clone())).is_ok_and(|got| got == *want))
    };
    let (barriers, fences) = (module.barriers(), module.fences());
    let lost = |n: &usize| unseen(module.without_barrier(*n).unwrap());
    let mut missed: Vec<_> =
        (0..barriers.len()).filter(lost).map(|n| format!("{} then {n}", module.line(barriers[n] - 1))).collect();
    missed
        .extend((0..fences.len()).filter(|&n| unseen(module.without_fence(n).unwrap())).map(|n| format!("fence {n}")));
    missed
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

/// A golden's barriers, fences and shuffles whose loss no launch shows: by number, or as what is in front of a ticket. Shuffles are looked at where
/// a state is one word: longer ones have words of zeros.
fn missed_of(golden: &Golden) -> Vec<String> {
    let module = Module::parse(&emitted::ptx(&golden.name)).unwrap();
    let shuffles = Some(module.shuffles()).filter(|s| s.len() < 10).unwrap_or_default();
    type Mutant = fn(&Module, usize) -> Option<Module>;
    let kinds: [(&str, Vec<u32>, Mutant); 3] = [
        ("barrier", module.barriers(), Module::without_barrier),
        ("fence", module.fences(), Module::without_fence),
        ("shuffle", shuffles, Module::without_shuffle),
    ];
    let all: Vec<_> =
        kinds.iter().flat_map(|k| k.1.iter().enumerate().map(move |(n, line)| (k.0, k.2, n, *line))).collect();
    if all.is_empty() {
        return vec![];
    }
    // Two orders of warps: which reads first what the other writes.
    let blocks = &BLOCKS[..1 + golden.walks() as usize];
    let runs = golden.launches.iter().flat_map(|l| blocks.iter().map(move |&b| (l, b)));
    let runs: Vec<_> = runs.flat_map(|(l, b)| [1, 2].map(|seed| (l, b, seed))).collect();
    let bits = |m: &Module, &(launch, blocks, seed): &(_, _, _)| {
        golden.run(m, launch, blocks, seed).map(|all| all.iter().map(|v| v.to_bits()).collect::<Vec<_>>())
    };
    let want: Vec<_> = runs.iter().map(|r| bits(&module, r).unwrap()).collect();
    let unseen =
        |broken: &Module| runs.iter().zip(&want).all(|(r, want)| bits(broken, r).is_ok_and(|got| got == *want));
    let missed = all.into_iter().filter(|(_, mutant, n, _)| unseen(&mutant(&module, *n).unwrap()));
    missed
        .map(|(kind, _, n, line)| match module.line(line - 1) {
            "membar.gl;" if kind == "barrier" => TICKET_OF_WARP.into(),
            _ => format!("{kind} {n}"),
        })
        .collect()
}

/// In front of a ticket, behind a fence: where one warp leaves all of a block's states and takes the ticket, as in kernels of 32 columns at most a
/// block and in those of one result.
const TICKET_OF_WARP: &str = "barrier of a ticket";

/// What no launch needs, and why it is there.
fn redundant(name: &str) -> &'static [&'static str] {
    match name.trim_end_matches("_vectors") {
        // Behind its two folds: each keeps the next round out of the fold's memory, and the other fold's first barrier does so, too.
        "softmax" => &["barrier 1", "barrier 3"],
        "column_sum" | "argmax_columns" | "sum_middle" | "knn_one_row" => &[TICKET_OF_WARP],
        // There is one result, and so no next round. All lanes are given the whole, as below.
        "sum_all" => &["barrier 1", TICKET_OF_WARP, "barrier 5", "shuffle 1", "shuffle 3"],
        // All lanes are given the whole, and one stores it.
        "row_sum" | "mean_square_f16" | "sum_around" => &["shuffle 1", "shuffle 3"],
        _ => &[],
    }
}

fn need_their_barriers(of: fn(Class) -> bool) {
    for golden in emitted::all().into_iter().filter(|g| of(g.ir.class)) {
        assert_eq!(missed_of(&golden), redundant(&golden.name), "{}", golden.name);
    }
}

#[test]
fn emitted_rows_need_their_barriers() {
    need_their_barriers(|class| matches!(class, Class::Rows | Class::Map));
}

#[test]
fn emitted_columns_need_their_barriers() {
    need_their_barriers(|class| matches!(class, Class::Columns));
}

#[test]
fn emitted_pairs_need_their_barriers() {
    need_their_barriers(|class| matches!(class, Class::Pairwise { .. }));
}
