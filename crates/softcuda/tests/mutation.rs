//! Every barrier of a kernel is deleted in turn: a detector has to report it, or the result has to be wrong. (The emitted kernels, and the
//! interpreters that ship: `src/testing/mutation.rs` of the library.)

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
