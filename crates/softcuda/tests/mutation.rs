//! Every barrier of a kernel is deleted in turn: a detector has to report it, or the result has to be wrong.

mod common;

use common::*;
use softcuda::{FaultKind, Module};

/// Barriers whose loss no schedule and shape shows.
fn missed(module: &Module, runs: &[&dyn Fn(&Module) -> Run]) -> Vec<u32> {
    let lines = module.barriers();
    let unseen = |n: &usize| {
        let broken = module.without_barrier(*n).unwrap();
        runs.iter().all(|run| match run(&broken) {
            Ok((got, want, _)) => close(&got, &want, 1e-5),
            Err(e) => {
                use FaultKind::{Barrier, OutOfBounds, Race, Uninitialised};
                assert!(matches!(e.kind, Race | Uninitialised | Barrier | OutOfBounds), "{e}");
                false
            }
        })
    };
    (0..lines.len()).filter(unseen).map(|n| lines[n]).collect()
}

/// The barrier after each of its two folds keeps the next round out of the fold's memory; the other fold's first barrier does so, too.
/// So nothing goes wrong without them.
#[test]
fn softmax_needs_its_barriers() {
    for (name, module) in fixtures("softmax") {
        let lines = module.barriers();
        assert_eq!(lines.len(), 4, "{name}");
        let runs: [&dyn Fn(&Module) -> Run; 2] = [&|m| softmax(m, 3, 1000, 1, 0), &|m| softmax(m, 9, 200, 1, 0)];
        assert_eq!(missed(&module, &runs), [lines[1], lines[3]], "{name}");
    }
}

#[test]
fn row_sum_needs_its_barriers() {
    for (name, module) in fixtures("row_sum") {
        let whole = |m: &Module| sum_of_abs(m, true, [3, 1000], [1, 1], 0);
        let cut = |m: &Module| sum_of_abs(m, true, [3, 1000], [1, 3], 0);
        let short = |m: &Module| sum_of_abs(m, true, [30, 100], [1, 3], 0);
        assert_eq!(missed(&module, &[&whole, &cut, &short]), [] as [u32; 0], "{name}");
    }
}

#[test]
fn column_sum_needs_its_barriers() {
    for (name, module) in fixtures("column_sum") {
        let one = |m: &Module| sum_of_abs(m, false, [500, 64], [1, 1], 0);
        let cut = |m: &Module| sum_of_abs(m, false, [500, 80], [1, 3], 0);
        // Several warps leave states.
        let wide = |m: &Module| sum_of_abs(m, false, [16, 128], [1, 2], 0);
        assert_eq!(missed(&module, &[&one, &cut, &wide]), [] as [u32; 0], "{name}");
    }
}

#[test]
fn pairwise_needs_its_barriers() {
    for (name, module) in fixtures("pairwise_1") {
        let runs: [&dyn Fn(&Module) -> Run; 1] = [&|m| pairwise(m, [64, 128, 40], 0)];
        assert_eq!(missed(&module, &runs), [] as [u32; 0], "{name}");
    }
}

/// What runs where rows lie along k: tiles of 128 x 128, slices loaded 16 bytes at a time.
#[test]
fn pairwise_of_vectors_needs_its_barriers() {
    for (name, module) in fixtures("pairwise_1_vectors") {
        let run = |m: &Module, seed| pairwise_by(m, [128, 128], [256, 1, 1], [100, 132, 72], seed);
        let (got, want, _) = run(&module, 0).unwrap();
        assert!(close(&got, &want, 1e-5), "{name}");
        assert_eq!(module.barriers().len(), 2, "{name}");
        assert_eq!(missed(&module, &[&|m| run(m, 0)]), [] as [u32; 0], "{name}");
    }
}

/// Blocks that share k: two segments of a block, rounds.
#[test]
fn shared_pairwise_needs_its_barriers() {
    for (name, module) in fixtures("pairwise_1_split") {
        let run = |m: &Module| pairwise_split(m, [64, 68, 1100], 4, 2, 0);
        let (got, want, _) = run(&module).unwrap();
        assert!(close(&got, &want, 1e-5), "{name}");
        assert_eq!(module.barriers().len(), 2, "{name}");
        assert_eq!(missed(&module, &[&run]), [] as [u32; 0], "{name}");
    }
}

/// The module that ships. Its barrier that tells all threads whether any has something new is one of them.
#[test]
fn topk_needs_its_barriers() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../kernels/ptx/topk.ptx");
    let module = Module::parse(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(module.barriers().len(), 7);
    // Several tiles of a row, several rows of a block, several walks over a row, one of each, rows in parts.
    let shapes = [
        ([3, 700, 10], 700, 1),
        ([3, 100, 100], 100, 1),
        ([1, 1500, 1300], 1500, 1),
        ([2, 20, 1], 20, 2),
        ([2, 1100, 300], 400, 1),
    ];
    let runs = shapes.map(|(shape, part, blocks)| move |m: &Module| topk(m, shape, part, blocks, 0));
    for run in &runs {
        let (got, want, _) = run(&module).unwrap();
        assert_eq!(got, want);
    }
    let runs: Vec<&dyn Fn(&Module) -> Run> = runs.iter().map(|r| r as _).collect();
    assert_eq!(missed(&module, &runs), [] as [u32; 0]);
}
