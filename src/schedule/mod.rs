//! From pending nodes to a plan: one function that reads as a list of named passes.

mod arrange;
mod collect;
mod folds;
mod jobs;
mod lives;
mod lower;
mod merge;
mod nest;
mod place;
mod select;
mod store;

pub use collect::Graph;

use crate::error::Result;
use crate::kernel::{KernelIr, Launch, Step};
use crate::layout::Layout;
use crate::{dtype::DType, kernel::validate};
use smallvec::SmallVec;

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
}

/// Slots that a step writes.
pub type Writes = SmallVec<[u32; 2]>;

/// A step of a plan, and what it does with the plan's buffers.
#[derive(Debug)]
pub struct Stage<S = Step> {
    /// What runs.
    pub run: S,
    /// The slots it writes.
    pub writes: Writes,
    /// A slot whose buffer it writes over: a value that it alone still needed, or a leaf, if no one but this evaluation can reach that.
    pub over: Option<u32>,
    /// Whether it copies that leaf and does nothing else.
    pub copies: bool,
    /// Slots that nothing needs after it.
    pub frees: Vec<u32>,
}

/// What to run for an expression of this form: leaves first among the slots, then stored values.
#[derive(Debug)]
pub struct Plan<S = Step> {
    /// The steps, in order.
    pub stages: Vec<Stage<S>>,
    /// The buffers.
    pub slots: Vec<Slot>,
    /// How many of them are leaves.
    pub leaves: usize,
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
    /// Bytes of the blocks of rows in which it makes what one stores, if it does.
    pub blocks: &'a dyn Fn(&KernelIr, &Launch) -> Option<usize>,
}

/// Plans the evaluation of a graph's roots.
pub fn plan(graph: &Graph, caps: Caps<'_>) -> Result<Plan> {
    let mut forced = vec![None; graph.nodes.len()];
    let (reasons, mut plan) = loop {
        let (reasons, kernels) = jobs::all(graph, &mut forced)?;
        match arrange::plan(graph, kernels, caps)? {
            arrange::Plans::Made(plan) => break (reasons, plan),
            arrange::Plans::Refused(nodes) => {
                for node in nodes {
                    forced[node] = Some("the device has no kernel of it and what reads it");
                }
            }
        }
    };
    for slot in &mut plan.slots {
        slot.why = reasons[slot.node];
    }
    lives::settle(graph, &reasons.iter().map(Option::is_some).collect::<Vec<_>>(), &mut plan);
    for stage in &plan.stages {
        if let Some((ir, _)) = stage.run.kernel() {
            validate::kernel(ir)?;
        }
    }
    Ok(plan)
}
