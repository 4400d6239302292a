//! Elementwise kernels: a thread for each index, in strides of the grid.

use super::all_axes;
use super::args::THREADS;
use super::write::Writer;
use crate::error::Result;
use crate::kernel::{Id, KOp};

pub(super) fn emit(w: &mut Writer) -> Result<()> {
    let axes = all_axes(w.ir);
    w.line(format_args!("const Count total = {};", w.count(axes)));
    w.line(format_args!("const Count step = gridDim.x * (Count){THREADS};"));
    w.open(format_args!("for (Count t = blockIdx.x * (Count){THREADS} + threadIdx.x; t < total; t += step)"));
    w.split("t", axes);
    for (id, inst) in w.ir.code.iter().enumerate() {
        match inst.op {
            KOp::Param(_) => {}
            KOp::Store(_) => w.store(id as Id, axes, ""),
            _ => w.value(id as Id)?,
        }
    }
    w.close();
    Ok(())
}
