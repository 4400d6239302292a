//! Evaluation: collect, plan (or find the plan), bind buffers, run the steps, set the values.

mod blocks;

use crate::backend::{Args, Backend};
use crate::buffer::Buffer;
use crate::debug;
use crate::device::{Device, Ready};
use crate::dtype::DType;
use crate::error::Result;
use crate::graph::{Node, Stored};
use crate::kernel::{KernelIr, Launch, Param, Role, Step};
use crate::layout::size;
use crate::schedule::{Caps, Graph, Plan, Stage, plan};
use smallvec::SmallVec;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

/// Why an evaluation runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Why {
    /// Values were asked for.
    Asked,
    /// Too much was pending.
    Cut,
    /// Too much was pending below a handle that is being rebound: buffers that only it reaches may be written over.
    CutSole,
}

/// Most roots of one plan. Plans of more are no better, and this one serves all the batches of a long list of equal forms.
const TOGETHER: usize = 1024;

/// Evaluates nodes of one device.
pub(crate) fn nodes(device: &Device, roots: &[Arc<Node>], why: Why) -> Result<()> {
    // What batches share is held by the roots to come: the second of them stores what the first made in passing.
    roots.chunks(TOGETHER).try_for_each(|batch| together(device, batch, why))
}

fn together(device: &Device, roots: &[Arc<Node>], why: Why) -> Result<()> {
    if roots.iter().all(|r| r.value().is_some()) {
        return first_error(roots);
    }
    let graph = Graph::collect(roots, why != Why::Asked)?;
    let (ready, made) = device.plan(&graph.key, || prepare(device, &graph))?;
    debug::note(|t| t.plans += made as usize);
    match run(device, &graph, &ready, why == Why::CutSole) {
        Ok(()) => first_error(roots),
        Err((step, e)) => {
            let node = ready.stages.get(step).and_then(|s| s.writes.first()).map(|&s| ready.slots[s as usize].node);
            Err(node.map_or(e.clone(), |n| graph.nodes[n].node.located(e)))
        }
    }
}

fn first_error(roots: &[Arc<Node>]) -> Result<()> {
    for r in roots {
        if let Some(Err(e)) = r.value() {
            return Err(e.clone());
        }
    }
    Ok(())
}

fn planned(device: &Device, graph: &Graph) -> Result<Plan<Step>> {
    let on = device.backend();
    plan(
        graph,
        Caps {
            fuses: &|ir, launch| on.fuses(ir, launch),
            selects: &|ir, launch, m| on.selects(ir, launch, m),
            blocks: &|ir, launch| on.blocks(ir, launch),
        },
    )
}

fn prepare(device: &Device, graph: &Graph) -> Result<Ready> {
    let p = planned(device, graph)?;
    if debug::level() >= 5 {
        for n in graph.nodes.iter().filter(|n| n.root) {
            eprint!("{}", crate::graph::show::dot(&n.node));
        }
    }
    if debug::level() >= 3 {
        eprint!("{}", text(graph, &p));
    }
    if debug::level() >= 4 {
        for stage in &p.stages {
            if let Step::Kernel(ir, launch) = &stage.run {
                let text = crate::device::cuda_source(ir, launch).unwrap_or_else(|e| e.to_string());
                // The headers are the same each time: `DeviceArray::cuda_source` has them.
                eprintln!("{}", text.split_once("#line 1 \"kernel.cu\"\n").map_or(&*text, |(_, own)| own));
            }
        }
    }
    for stage in &p.stages {
        if let Some((ir, _)) = stage.run.kernel() {
            debug::note(|t| t.new_kernels += device.is_new(ir) as usize);
        }
    }
    let exes = blocks::prepare(device.backend(), &p.stages.iter().map(|s| &s.run).collect::<Vec<_>>())?;
    let stages = p.stages.into_iter().zip(exes).map(|(s, exe)| Stage {
        run: (s.run, exe),
        writes: s.writes,
        over: s.over,
        copies: s.copies,
        frees: s.frees,
    });
    Ok(Plan { stages: stages.collect(), slots: p.slots, leaves: p.leaves, unstored: p.unstored })
}

/// A plan's buffers while it runs, and the address each slot's bindings count from.
struct Slots {
    buffers: SmallVec<[Option<Buffer>; 6]>,
    bases: SmallVec<[usize; 6]>,
}

fn run(device: &Device, graph: &Graph, ready: &Ready, sole: bool) -> Result<(), (usize, crate::Error)> {
    let backend = device.backend();
    let mut slots = Slots { buffers: SmallVec::new(), bases: SmallVec::new() };
    for leaf in &graph.leaves {
        let at = leaf.stored.layout.offset as isize + leaf.start;
        let size = graph.nodes[leaf.node].node.dtype.size() as isize;
        slots.bases.push(leaf.stored.buffer.address().wrapping_add_signed(at.wrapping_mul(size)));
        slots.buffers.push(Some(leaf.stored.buffer.clone()));
    }
    slots.buffers.resize(ready.slots.len(), None);
    slots.bases.resize(ready.slots.len(), 0);
    // Whether no one but this evaluation can reach what it reads.
    let closed = sole && closed(graph);
    for (n, stage) in ready.stages.iter().enumerate() {
        let mut in_place = false;
        for &w in &stage.writes {
            if slots.buffers[w as usize].is_none() {
                let taken = match stage.over {
                    Some(s) if s as usize >= ready.leaves => slots.buffers[s as usize].take(),
                    Some(leaf) if closed => {
                        let leaf = donate(graph, ready, &slots, leaf, w);
                        in_place = leaf.is_some();
                        leaf
                    }
                    _ => None,
                };
                let buffer = match taken {
                    Some(b) => b,
                    None => {
                        let slot = &ready.slots[w as usize];
                        let width = slot.dtype.size();
                        backend.alloc(size(&slot.layout.shape) * width, width).map_err(|e| (n, e))?
                    }
                };
                slots.bases[w as usize] = buffer.address();
                slots.buffers[w as usize] = Some(buffer);
            }
        }
        let (step, exe) = &stage.run;
        // A copy in place is there already.
        let done = is_empty(step) || in_place && stage.copies;
        if !done {
            launch(backend, graph, step, exe, &slots, in_place).map_err(|e| (n, e))?;
        }
        for &s in &stage.frees {
            slots.buffers[s as usize] = None;
        }
    }
    for (slot, buffer) in ready.slots.iter().zip(slots.buffers).skip(ready.leaves) {
        if let (true, Some(buffer)) = (slot.kept, buffer) {
            graph.nodes[slot.node].node.set(Ok(Stored { buffer, layout: slot.layout.clone() }));
        }
    }
    for &n in &ready.unstored {
        graph.nodes[n].node.note_computed();
    }
    Ok(())
}

fn is_empty(step: &Step) -> bool {
    match step {
        // A row of several passes is empty where its folded axis is: nothing of it may run, not even what stands outside the loop.
        Step::Kernel(ir, launch) => written(ir, launch) == 0,
        Step::Gemm(s) => s.m * s.n * s.batch.iter().product::<usize>() == 0,
        Step::TopK(s) => s.k * s.batch.iter().product::<usize>() == 0,
    }
}

fn launch(
    backend: &dyn Backend,
    graph: &Graph,
    step: &Step,
    exe: &crate::backend::Exe,
    slots: &Slots,
    in_place: bool,
) -> Result<()> {
    let bases: SmallVec<[usize; 8]> = step.binds().iter().map(|b| slots.bases[b.slot as usize]).collect();
    let params = step.kernel().map_or(&[][..], |(_, l)| &l.params);
    let params: SmallVec<[u64; 8]> = params
        .iter()
        .map(|p| match *p {
            Param::Scalar(n) => graph.scalars[n as usize],
            Param::Const(bits) => bits,
        })
        .collect();
    debug::note(|t| {
        t.kernels += 1;
        let (read, written) = bytes(step);
        t.bytes_read += read;
        t.bytes_written += written;
    });
    let args = Args { bases: &bases, params: &params, in_place };
    let run = || blocks::run(backend, step, exe, &args);
    if debug::level() < 2 {
        run()?;
    } else {
        let t = backend.time(&mut || run())?;
        let (read, written) = bytes(step);
        let gbs = (read + written) as f64 / t * 1e-9;
        eprintln!("ndcuda: {:9.3} ms {gbs:8.2} GB/s  {}", t * 1e3, title(step));
    }
    Ok(())
}

/// A step in a line: the name that its CUDA kernel has, and its extents.
fn title(step: &Step) -> String {
    let by = |extents: &[usize]| extents.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
    let batch = |s: &[usize]| if s.is_empty() { String::new() } else { format!(", {} of them", by(s)) };
    match step {
        Step::Kernel(ir, launch) => format!("{} {}", crate::device::kernel_name(ir), by(&launch.extents)),
        Step::Gemm(s) => format!("product of {} {}x{} and {}x{}{}", s.dtype, s.m, s.k, s.k, s.n, batch(&s.batch)),
        Step::TopK(s) => format!("selection of {} from {} {}{}", s.k, s.m, s.dtype, batch(&s.batch)),
    }
}

/// Bytes of distinct elements a step reads and writes.
pub(crate) fn bytes(step: &Step) -> (usize, usize) {
    let mut out = (0, 0);
    match step {
        Step::Kernel(ir, launch) => {
            out.0 = read(ir, launch);
            let width: usize = ir.operands.iter().filter(|o| o.role == Role::Out).map(|o| o.dtype.size()).sum();
            out.1 = written(ir, launch) * width;
        }
        Step::Gemm(s) => {
            let batch: usize = s.batch.iter().product();
            let size = s.dtype.size();
            out.0 = s.blocks.as_ref().map_or(batch * s.m * s.k * size, |b| read(&b.ir, &b.launch));
            out.0 += batch * s.k * s.n * size;
            out.1 = batch * s.m * s.n * s.dtype.size();
        }
        Step::TopK(s) => {
            let batch: usize = s.batch.iter().product();
            let first = s.made.as_ref().map_or(1, |made| made.1.operands.len());
            let values = if s.operands.len() > first + 1 { s.dtype.size() } else { 0 };
            out.0 = s.made.as_ref().map_or(batch * s.m * s.dtype.size(), |made| read(&made.0, &made.1));
            out.1 = batch * s.k * (DType::I64.size() + values);
        }
    }
    out
}

/// Bytes of distinct elements that a kernel reads.
fn read(ir: &KernelIr, launch: &Launch) -> usize {
    let operands = ir.operands.iter().zip(&launch.operands).filter(|o| o.0.role == Role::In);
    operands.map(|(o, b)| touched(launch, &b.strides) * o.dtype.size()).fold(0, usize::saturating_add)
}

fn touched(launch: &Launch, strides: &[isize]) -> usize {
    launch.extents.iter().zip(strides).filter(|a| *a.1 != 0).map(|a| *a.0).product()
}

fn written(ir: &KernelIr, launch: &Launch) -> usize {
    let over = ir.code.iter().rev().find(|i| matches!(i.op, crate::kernel::KOp::Store(_))).map(|i| i.over);
    over.unwrap_or_default().iter().map(|a| launch.extents[a]).product()
}

/// Whether nothing outside reaches a pending value of this evaluation, but for the one handle on each root.
fn closed(graph: &Graph) -> bool {
    graph.nodes.iter().all(|n| match (&n.leaf, n.root) {
        (Some(_), _) => true,
        (None, true) => Arc::strong_count(&n.node) <= n.uses as usize + 3,
        (None, false) => !n.held,
    })
}

/// A leaf's buffer that a step of a closed evaluation may write its result over: nothing else can reach it.
fn donate(graph: &Graph, ready: &Ready, slots: &Slots, leaf: u32, slot: u32) -> Option<Buffer> {
    let node = &graph.nodes[graph.leaves[leaf as usize].node];
    // The graph's own handle and one for each argument; the node's, the graph's, the leaf's and the slot's on the buffer.
    let alone = Arc::strong_count(&node.node) == node.uses as usize + 1;
    let buffer = slots.buffers[leaf as usize].as_ref()?;
    let own = graph.leaves[leaf as usize].stored.layout.offset == 0
        && graph.leaves[leaf as usize].start == 0
        && buffer.bytes() == size(&ready.slots[slot as usize].layout.shape) * ready.slots[slot as usize].dtype.size();
    let free = alone && own && !buffer.is_shared() && buffer.references() == 4;
    // Who let the last other handle go has read what it reads: counts are looked at without an order of their own.
    fence(Ordering::Acquire);
    free.then(|| buffer.clone())
}

/// What evaluating a node would run, as text.
pub(crate) fn show(device: &Device, node: &Arc<Node>) -> Result<String> {
    if node.value().is_some() {
        return Ok("stored: nothing would run\n".into());
    }
    let graph = Graph::collect(std::slice::from_ref(node), false)?;
    Ok(text(&graph, &planned(device, &graph)?))
}

/// A plan as text: buffers, then steps.
fn text(graph: &Graph, p: &Plan<Step>) -> String {
    use std::fmt::Write;
    let mut out = String::new();
    let n = p.stages.len();
    let _ = writeln!(
        out,
        "{n} kernel{} for {} pending operations",
        if n == 1 { "" } else { "s" },
        graph.nodes.iter().filter(|n| n.expr.is_some()).count()
    );
    let mut written = vec![false; p.slots.len()];
    for &w in p.stages.iter().flat_map(|s| &s.writes) {
        written[w as usize] = true;
    }
    for (s, slot) in p.slots.iter().enumerate() {
        let what = match graph.op(slot.node) {
            None => "read".into(),
            Some(op) if written[s] => format!("store {}", crate::graph::show::name(op)),
            Some(op) => format!("make, not store {}", crate::graph::show::name(op)),
        };
        let why = slot.why.filter(|_| s >= p.leaves).map_or(String::new(), |why| format!("; {why}"));
        let end = if s >= p.leaves && !slot.kept { "; freed after its last use" } else { "" };
        let _ = writeln!(out, "  #{s}: {what}: {} {:?}{why}{end}", slot.dtype, slot.layout);
    }
    for Stage { run: step, .. } in &p.stages {
        let (read, written) = bytes(step);
        let slots: Vec<String> = step.binds().iter().map(|b| format!("#{}", b.slot)).collect();
        let _ = writeln!(out, "reads {read} bytes, writes {written} bytes, operands {}", slots.join(" "));
        match step {
            Step::Kernel(ir, launch) => {
                let _ = write!(out, "extents {:?}\n{ir}", &launch.extents[..]);
            }
            Step::Gemm(g) => {
                if let Some(b) = &g.blocks {
                    let _ = write!(out, "extents {:?}, {} rows at a time\n{}", &b.launch.extents[..], b.rows, b.ir);
                }
                let _ = writeln!(out, "gemm {} batch {:?} m {} n {} k {}", g.dtype, &g.batch[..], g.m, g.n, g.k);
            }
            Step::TopK(t) => {
                if let Some((ir, launch)) = step.kernel() {
                    let _ = write!(out, "extents {:?}\n{ir}", &launch.extents[..]);
                }
                let which = if t.largest { "largest" } else { "smallest" };
                let _ = writeln!(out, "the {} {which} of {} {} batch {:?}", t.k, t.m, t.dtype, &t.batch[..]);
            }
        }
    }
    out
}

/// The CUDA text of the kernels that evaluating a node would run.
pub(crate) fn cuda_source(device: &Device, node: &Arc<Node>) -> Result<Vec<String>> {
    if node.value().is_some() {
        return Ok(vec![]);
    }
    let graph = Graph::collect(std::slice::from_ref(node), false)?;
    let kernel = |step: &Step| match step {
        Step::Kernel(ir, launch) => Some(crate::device::cuda_source(ir, launch)),
        Step::Gemm(_) | Step::TopK(_) => None,
    };
    planned(device, &graph)?.stages.iter().filter_map(|s| kernel(&s.run)).collect()
}
