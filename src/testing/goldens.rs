//! The kernels of expressions as users write them, planned as for a GPU, against `tests/golden/`; those written by hand are in `kernel/golden_tests.rs`.
//!
//! A file is what runs where buffers come from the pool. `NDCUDA_BLESS=1 cargo test golden` writes them anew.

use super::soft;
use crate::backend::cuda::emit;
use crate::dtype::DType;
use crate::graph::{Node, Stored, Value};
use crate::kernel::golden_tests::golden;
use crate::kernel::{KernelIr, Launch, Step, Width};
use crate::layout::{Layout, size};
use crate::prelude::*;
use crate::schedule::{Caps, Graph, plan};
use crate::{Device, Element, s};
use ndarray::{Dimension, IntoDimension};
use std::panic::Location;

/// An array in memory that nothing is written to.
#[track_caller]
pub fn stored(dev: &Device, dtype: DType, shape: &[usize]) -> Value {
    let layout = Layout::c_order(shape);
    let buffer = dev.backend().alloc(size(shape) * dtype.size(), dtype.size()).unwrap();
    Value::whole(Node::stored(dev.id(), dtype, Stored { buffer, layout }, Location::caller()))
}

/// As [`stored`], with its type.
#[track_caller]
fn leaf<T: Element, I: IntoDimension>(dev: &Device, shape: I) -> DeviceArray<T, I::Dim> {
    DeviceArray::wrap(stored(dev, T::DTYPE, shape.into_dimension().slice()), dev)
}

/// The one kernel that an expression is planned as for a GPU.
pub fn planned(value: &Value) -> (KernelIr, Launch) {
    let graph = Graph::collect(std::slice::from_ref(&value.node), false).unwrap();
    let fuses = |ir: &KernelIr, launch: &Launch| !ir.folds_folds() || emit::folds_pairs(ir, launch);
    let plan = plan(&graph, Caps { fuses: &fuses, selects: &|_, _, _| false, blocks: &|_, _| None }).unwrap();
    let mut steps = plan.stages.into_iter().map(|stage| stage.run);
    match (steps.next(), steps.next()) {
        (Some(Step::Kernel(ir, launch)), None) => (ir, launch),
        (first, second) => panic!("{first:?} {second:?}"),
    }
}

fn kernel<T: Element, D: Dimension>(array: DeviceArray<T, D>) -> (KernelIr, Launch) {
    planned(&array.value)
}

/// The expressions' kernels of arrays of these sizes, by the names of their files.
pub fn expressions([n, m, k]: [usize; 3], pairs: [usize; 2], far: usize) -> Vec<(&'static str, (KernelIr, Launch))> {
    let dev = &soft::device(0);
    let matrix = |n, k| leaf::<f32, _>(dev, (n, k));
    let cube = || leaf::<f32, _>(dev, (n, m, k));
    let differences =
        |n: usize, m: usize, k: usize| matrix(n, k).insert_axis(Axis(1)) - matrix(m, k).insert_axis(Axis(0));
    let transposed_add = |n: usize| matrix(n, n) + matrix(n, n).t();
    // Small tiles; those of `kernel/golden_tests.rs` are large.
    let expanded = {
        let (x, y) = (matrix(n, k), matrix(m, k));
        let (x2, y2) = ((&x * &x).sum_axis(Axis(1)), (&y * &y).sum_axis(Axis(1)));
        (x2.insert_axis(Axis(1)) + y2.insert_axis(Axis(0)) - 2.0 * x.dot(&y.t())).abs()
    };
    vec![
        ("add", kernel(matrix(n, k) + matrix(n, k))),
        ("broadcast_3d", kernel(differences(n, m, k))),
        ("strided_copy", kernel(matrix(n, k).slice(s![.., 1..k - 3;2]).reshape(n * (k / 2 - 2)))),
        ("transposed_add", kernel(transposed_add(n))),
        ("transposed_add_far", kernel(transposed_add(far))),
        ("sum_all", kernel(cube().sum())),
        ("sum_middle", kernel(cube().sum_axis(Axis(1)))),
        ("sum_around", kernel(cube().sum_axes(&[Axis(0), Axis(2)]))),
        ("argmax", kernel(cube().argmax_axis(Axis(2)))),
        ("cityblock", kernel(differences(pairs[0], pairs[0], pairs[1]).abs().sum_axis(Axis(2)))),
        ("expanded", kernel(expanded)),
    ]
}

/// The goldens.
pub fn emitted() -> Vec<(&'static str, (KernelIr, Launch))> {
    expressions([1000, 800, 64], [4000, 128], 60_000)
}

#[test]
fn golden_expressions() {
    let mut wrong = vec![];
    for (name, (ir, launch)) in emitted() {
        assert_eq!(ir.index == Width::W64, name.ends_with("_far"), "{name}");
        wrong.extend(golden(&format!("ir/{name}.txt"), &ir.to_string()).err());
        let text = emit::body(&ir, &emit::pooled(&ir, &launch)).unwrap_or_else(|e| panic!("{name}: {e}"));
        wrong.extend(golden(&format!("cuda/{name}.cu"), &text).err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
