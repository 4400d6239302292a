//! From a kernel to CUDA C++: a pure function that knows no device.
//!
//! The text starts with the headers in `kernels/`, then come the argument struct, a function for each op and a struct for each reducer that the
//! kernel uses, and the kernel. How its arguments are packed and its grid is chosen stands in [`args`].
//!
//! Loops follow from the `over` sets alone; the nest of the IR is not looked at.

pub mod args;
mod fold;
mod map;
mod pairwise;
pub mod variant;
mod write;

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::kernel::{Class, Id, KOp, KernelIr, Launch};
pub use variant::{Variant, pooled, variant};
use write::Writer;

/// The headers in front of every kernel, in order.
const HEADERS: [&str; 2] = [include_str!("../../../kernels/prelude.cuh"), include_str!("../../../kernels/reduce.cuh")];

/// Length of the segments that a fold in chains goes in: as on the CPU.
const SEGMENT: usize = 256;

/// How a kernel is run.
enum Scheme {
    /// A thread for each element.
    Map,
    /// A group of threads for each result, along x (`Rows`) or along y.
    Fold { along_x: bool },
    /// A tile of results for each block.
    Pairwise(Box<pairwise::Plan>),
}

/// What stands in front of every kernel's own text: compilers count lines from there on, so that a log names lines of the kernel itself.
pub fn headers() -> String {
    HEADERS.concat() + "#line 1 \"kernel.cu\"\n"
}

/// The CUDA C++ of a kernel, headers included. Its launches need [`args::grid`] and [`args::pack`] with the same variant.
pub fn source(ir: &KernelIr, variant: &Variant) -> Result<String> {
    Ok(headers() + &body(ir, variant)?)
}

/// The CUDA C++ of a kernel without the headers: what changes from one kernel to another.
pub fn body(ir: &KernelIr, variant: &Variant) -> Result<String> {
    let mut w = Writer::new(ir, *variant);
    args::declare(&mut w);
    w.definitions()?;
    let scheme = scheme(ir, variant);
    let bounds = match &scheme {
        // Several blocks on each processor: one computes while another loads.
        Scheme::Pairwise(plan) => plan.tile().bounds(),
        _ if variant.wide => "1024".into(),
        // Without a number of blocks, the compiler makes room for many, and spills what it has no registers for.
        Scheme::Map if map::keeps_much(ir, variant) => "256, 1".into(),
        Scheme::Fold { .. } if fold::keeps_much(ir) => "256, 1".into(),
        _ => "256".into(),
    };
    begin(&mut w, &bounds, &name(ir))?;
    match scheme {
        Scheme::Map => map::emit(&mut w)?,
        Scheme::Fold { along_x } => fold::emit(&mut w, along_x)?,
        Scheme::Pairwise(plan) => {
            pairwise::emit(&mut w, &plan)?;
            if plan.split() {
                w.close();
                begin(&mut w, &plan.tile().threads().to_string(), &join_name(ir))?;
                pairwise::emit_join(&mut w, &plan)?;
            }
        }
    }
    w.close();
    Ok(w.finish())
}

/// Opens a kernel, and gives it its parameters.
fn begin(w: &mut Writer, bounds: &str, name: &str) -> Result<()> {
    w.line(format_args!(""));
    w.open(format_args!("extern \"C\" __global__ void __launch_bounds__({bounds}) {name}(const Args a)"));
    for (id, inst) in w.ir.code.iter().enumerate() {
        if let KOp::Param(_) = inst.op {
            w.value(id as Id)?;
        }
    }
    Ok(())
}

/// The kernel's name: its class and the ops in it.
pub fn name(ir: &KernelIr) -> String {
    let mut name = String::from(match ir.class {
        Class::Map => "nd_map",
        Class::Rows => "nd_rows",
        Class::Columns => "nd_columns",
        Class::Pairwise { .. } => "nd_pairwise",
    });
    let mut named = vec![];
    for inst in &ir.code {
        let op = match inst.op {
            KOp::Map(row) => row.name.trim_end_matches('_'),
            KOp::Reduce { reducer, .. } | KOp::Scan { reducer, .. } => reducer.name,
            KOp::LoadAt(_) => "take",
            _ => continue,
        };
        if named.contains(&op) || name.len() + op.len() > 60 {
            continue;
        }
        named.push(op);
        name.push('_');
        name.extend(op.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }));
    }
    name
}

/// The name of the kernel that joins what blocks leave that share k.
pub fn join_name(ir: &KernelIr) -> String {
    name(ir) + "_join"
}

/// Whether a kernel of folds inside folds has a scheme of its own: pairs of rows that are folded where they are made.
pub fn folds_pairs(ir: &KernelIr, launch: &Launch) -> bool {
    matches!(scheme(ir, &Variant::default()), Scheme::Pairwise(plan) if plan.fills(&launch.extents))
}

fn scheme(ir: &KernelIr, variant: &Variant) -> Scheme {
    match ir.class {
        _ if let Some(plan) = pairwise::plan(ir, variant) => Scheme::Pairwise(Box::new(plan)),
        Class::Map => Scheme::Map,
        Class::Rows | Class::Pairwise { .. } => Scheme::Fold { along_x: true },
        Class::Columns => Scheme::Fold { along_x: false },
    }
}

/// The C++ type that holds a value of this dtype.
fn register(dtype: DType) -> &'static str {
    dtype.compute().name()
}

/// Whether some operand is read by an index.
fn gathers(ir: &KernelIr) -> bool {
    ir.code.iter().any(|i| matches!(i.op, KOp::LoadAt(_)))
}

/// The factors of the float product that a Sum in chains adds up: it is fused with the addition.
fn factors(ir: &KernelIr, id: Id) -> Option<(Id, Id)> {
    let fold = &ir.code[id as usize];
    let arg = &ir.code[*fold.args.first()? as usize];
    let float = matches!(arg.dtype, DType::F32 | DType::F64);
    match (fold.op, arg.op) {
        (KOp::Reduce { reducer, .. }, KOp::Map(row)) if float && reducer.name == "sum" => match row.name {
            "mul" => Some((arg.args[0], arg.args[1])),
            "square" => Some((arg.args[0], arg.args[0])),
            _ => None,
        },
        _ => None,
    }
}

fn not_emitted(what: &str, ir: &KernelIr) -> Error {
    Error::Internal { stage: "emit", detail: format!("{what} is not emitted yet\n{ir}") }
}
