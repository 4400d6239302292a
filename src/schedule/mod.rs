//! From pending nodes to a plan: one function that reads as a list of named passes.

mod arrange;
mod collect;
mod folds;
mod lower;
mod merge;
mod place;
mod select;
mod store;

pub use collect::Graph;

use crate::error::Result;
use crate::kernel::{KernelIr, Launch, Step};
use crate::layout::Layout;
use crate::{dtype::DType, kernel::validate};

/// A buffer of a plan: a leaf of the expression or a value some step stores.
#[derive(Debug, Clone)]
pub struct Slot {
    /// Type of its elements.
    pub dtype: DType,
    /// How the value lies in it (for a leaf: as it was when planned, from its first element).
    pub layout: Layout,
    /// The graph node it is.
    pub node: usize,
    /// Why it is stored, unless it is made and selected from at once.
    pub why: store::Reason,
    /// Whether the node keeps the value after this evaluation.
    pub kept: bool,
    /// The last step that reads or writes it.
    pub last_use: usize,
}

/// What to run for an expression of this form: leaves first among the slots, then stored values.
#[derive(Debug)]
pub struct Plan<S = Step> {
    /// The steps, in order, each with the slots it writes.
    pub steps: Vec<(S, Vec<u16>)>,
    /// The buffers.
    pub slots: Vec<Slot>,
    /// How many of them are leaves.
    pub leaves: usize,
    /// Slots that may take over a leaf's buffer: `(step, written slot, leaf slot)`.
    pub donors: Vec<(usize, u16, u16)>,
    /// Graph nodes that someone holds and that kernels compute without storing.
    pub unstored: Vec<usize>,
}

/// What a backend does with a kernel.
#[derive(Clone, Copy)]
pub struct Caps<'a> {
    /// Whether it runs one well that has a product of matrices or a fold within it; else that is stored.
    pub fuses: &'a dyn Fn(&KernelIr, &Launch) -> bool,
    /// Whether it selects along the innermost axis of what one stores without storing it.
    pub selects: &'a dyn Fn(&KernelIr, &Launch, usize) -> bool,
}

/// Plans the evaluation of a graph's roots.
pub fn plan(graph: &Graph, caps: Caps<'_>) -> Result<Plan> {
    let mut forced = vec![None; graph.nodes.len()];
    let (reasons, mut plan) = loop {
        let (reasons, kernels) = lower::all(graph, &mut forced)?;
        match arrange::plan(graph, kernels, caps)? {
            arrange::Plans::Made(plan) => break (reasons, plan),
            arrange::Plans::Refused(node) => forced[node] = Some("the device has no kernel of it and what reads it"),
        }
    };
    for slot in &mut plan.slots {
        slot.why = reasons[slot.node];
    }
    arrange::lifetimes(graph, &reasons.iter().map(Option::is_some).collect::<Vec<_>>(), &mut plan);
    for (step, _) in &plan.steps {
        if let Some((ir, _)) = step.kernel() {
            validate::kernel(ir)?;
        }
    }
    Ok(plan)
}
