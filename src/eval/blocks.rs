//! Products whose first operand is made in blocks of rows: each is made in scratch memory, multiplied, and the next takes its place. However
//! large the array would be, no more of it is in memory.

use crate::backend::{Args, Backend, Exe};
use crate::error::{Error, Result};
use crate::kernel::{Blocks, GemmSpec, Step};
use smallvec::SmallVec;

/// What runs for blocks of so many rows: the kernel that makes one, and the product.
struct Part {
    rows: usize,
    make: Exe,
    multiply: Exe,
}

fn blocks(step: &Step) -> Option<(&GemmSpec, &Blocks)> {
    match step {
        Step::Gemm(spec) => spec.blocks.as_deref().map(|b| (spec, b)),
        Step::Kernel(..) | Step::TopK(_) => None,
    }
}

/// The sizes that blocks have: whole ones, and the last.
fn sizes(m: usize, rows: usize) -> impl Iterator<Item = usize> {
    [rows.min(m), if m > rows { m % rows } else { 0 }].into_iter().filter(|&n| n > 0)
}

/// Makes the steps of a plan ready, those in blocks with the steps of one.
pub fn prepare(backend: &dyn Backend, steps: &[&Step]) -> Result<Vec<Exe>> {
    let own: Vec<Vec<(usize, [Step; 2])>> = steps
        .iter()
        .map(|step| {
            let Some((spec, b)) = blocks(step) else { return vec![] };
            let of = |n| (n, [Step::Kernel(b.ir.clone(), b.launch(n)), Step::Gemm(b.product(spec, n))]);
            sizes(spec.m, b.rows).map(of).collect()
        })
        .collect();
    let mut all: Vec<&Step> = vec![];
    for (step, own) in steps.iter().zip(&own) {
        match own[..] {
            [] => all.push(step),
            _ => all.extend(own.iter().flat_map(|part| &part.1)),
        }
    }
    let mut exes = backend.prepare(&all)?.into_iter();
    let mut next =
        || exes.next().ok_or_else(|| Error::Internal { stage: "blocks", detail: "a step is missing".into() });
    let mut out: Vec<Exe> = vec![];
    for (step, own) in steps.iter().zip(&own) {
        if blocks(step).is_none() {
            out.push(next()?);
            continue;
        }
        let mut parts: SmallVec<[Part; 2]> = SmallVec::new();
        for &(rows, _) in own {
            parts.push(Part { rows, make: next()?, multiply: next()? });
        }
        out.push(Box::new(parts));
    }
    Ok(out)
}

/// Runs a step.
pub fn run(backend: &dyn Backend, step: &Step, exe: &Exe, args: &Args<'_>) -> Result<()> {
    let (Some((spec, b)), Some(parts)) = (blocks(step), exe.downcast_ref::<SmallVec<[Part; 2]>>()) else {
        return backend.run(exe, args);
    };
    let size = spec.dtype.size();
    let (own, others) = args.bases.split_at(b.launch.operands.len());
    let (&[second, to], Some(binds), Some(array)) = (others, spec.operands.last(), own.len().checked_sub(1)) else {
        return Err(Error::Internal { stage: "blocks", detail: format!("{} operands", args.bases.len()) });
    };
    let scratch = backend.alloc(b.rows.min(spec.m) * spec.k * size, size)?;
    for from in (0..spec.m).step_by(b.rows) {
        let rows = b.rows.min(spec.m - from);
        let Some(part) = parts.iter().find(|p| p.rows == rows) else {
            return Err(Error::Internal { stage: "blocks", detail: format!("none of {rows} rows") });
        };
        let at = |base: usize, stride: isize, size: usize| base.wrapping_add_signed(stride * (from * size) as isize);
        let operands = own.iter().zip(&b.launch.operands).zip(&b.ir.operands);
        let mut bases: SmallVec<[usize; 8]> =
            operands.map(|((&base, bind), o)| at(base, bind.strides[b.axis], o.dtype.size())).collect();
        bases[array] = scratch.address();
        backend.run(&part.make, &Args { bases: &bases, params: args.params, in_place: false })?;
        let bases = [scratch.address(), second, at(to, binds.strides[0], size)];
        backend.run(&part.multiply, &Args { bases: &bases, params: &[], in_place: false })?;
    }
    Ok(())
}
