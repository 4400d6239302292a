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
                assert!(matches!(e.kind, FaultKind::Race | FaultKind::Uninitialised | FaultKind::Barrier), "{e}");
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
