//! The CPU backend: tiles that fit L1, SIMD loops chosen at run time, all cores, pooled memory.

mod fold;
mod map;
mod pairwise;
mod passes;
mod program;
mod states;
mod threads;
mod tile;
mod topk;
mod workers;

pub use threads::from_environment;

use super::{Args, Backend, Exe};
use crate::buffer::{Buffer, Pool};
use crate::error::{Error, Result};
use crate::kernel::{self, KOp, KernelIr, Launch, Step};
use crate::ops::Isa;
use std::any::Any;
use std::sync::Arc;

/// Bytes of the blocks of rows that are made and multiplied in turn: more than the cores' own caches hold, from which another core reads what was
/// just written slower than from memory (4 MiB: twice the time), and no more than the one they share.
const BLOCK: usize = 16 << 20;

/// The host's processor and memory.
#[derive(Debug)]
pub struct Cpu {
    threads: threads::Threads,
    pool: Arc<Pool>,
}

enum Kernel {
    Map(map::Map),
    Fold(fold::Fold),
    Passes(passes::Passes),
    Pairwise(Box<pairwise::Pairwise>),
    TopK(topk::TopK),
}

impl Cpu {
    /// A CPU device with this many threads.
    pub fn new(threads: usize) -> Cpu {
        Cpu { threads: threads::Threads::new(threads), pool: Arc::default() }
    }

    /// What it has: `2 threads`.
    pub fn describe(&self) -> String {
        let n = self.threads.count();
        format!("{n} thread{}", if n == 1 { "" } else { "s" })
    }
}

/// Whether some fold's argument needs another fold.
fn several_passes(ir: &KernelIr) -> bool {
    let passes = ir.passes();
    ir.code.iter().zip(&passes).any(|(i, &p)| {
        let fold = matches!(i.op, KOp::Reduce { .. }) as u8;
        p - fold > 0 && (fold == 1 || !i.over.and(ir.folded).is_empty())
    })
}

fn prepare(step: &Step) -> Result<Exe> {
    let isa = Isa::asked()?;
    let kernel = match step {
        Step::Gemm(spec) => {
            let (ir, launch) = kernel::gemm::kernel(spec);
            match pairwise::Pairwise::new(&ir, &launch, isa)? {
                Some(k) => Kernel::Pairwise(Box::new(k)),
                None => Kernel::Fold(fold::Fold::new(&ir, &launch, isa)?),
            }
        }
        Step::TopK(spec) => match pairwise::Pairwise::selecting(spec, isa)? {
            Some(k) => Kernel::Pairwise(Box::new(k)),
            None => Kernel::TopK(topk::TopK::new(spec, isa)),
        },
        Step::Kernel(ir, launch) => {
            if ir.folded.is_empty() {
                Kernel::Map(map::Map::new(ir, launch, isa)?)
            } else if let Some(k) = pairwise::Pairwise::new(ir, launch, isa)? {
                Kernel::Pairwise(Box::new(k))
            } else if several_passes(ir) {
                Kernel::Passes(passes::Passes::new(ir, launch, isa)?)
            } else {
                Kernel::Fold(fold::Fold::new(ir, launch, isa)?)
            }
        }
    };
    Ok(Box::new(kernel))
}

impl Backend for Cpu {
    fn name(&self) -> String {
        "cpu".into()
    }

    fn alloc(&self, bytes: usize, align: usize) -> Result<Buffer> {
        self.pool.alloc(bytes, align)
    }

    fn upload(&self, from: &[u8], to: &Buffer) -> Result<()> {
        debug_assert!(from.len() <= to.bytes());
        // SAFETY: the buffer is at least as long, and no one else has it yet.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to.address() as *mut u8, from.len()) };
        Ok(())
    }

    fn download(&self, buffer: &Buffer, from: usize, to: &mut [u8]) -> Result<()> {
        debug_assert!(from + to.len() <= buffer.bytes());
        // SAFETY: the range is within the buffer, whose elements there are initialised; `to` is the caller's own.
        unsafe { std::ptr::copy_nonoverlapping((buffer.address() + from) as *const u8, to.as_mut_ptr(), to.len()) };
        Ok(())
    }

    fn is_host(&self) -> bool {
        true
    }

    fn fuses(&self, ir: &KernelIr, _: &Launch) -> bool {
        pairwise::runs(ir)
    }

    fn selects(&self, ir: &KernelIr, launch: &Launch, m: usize) -> bool {
        pairwise::selects(ir, launch, m)
    }

    fn blocks(&self, ir: &KernelIr, _: &Launch) -> Option<usize> {
        // An index would count from the start of a block.
        let indexed = ir.code.iter().any(|i| matches!(i.op, KOp::Index(_)));
        let rows = ir.folded.is_empty() || !ir.folds_folds() && pairwise::runs(ir);
        (rows && !indexed).then_some(BLOCK)
    }

    fn prepare(&self, steps: &[&Step]) -> Result<Vec<Exe>> {
        steps.iter().map(|step| prepare(step)).collect()
    }

    fn run(&self, exe: &Exe, args: &Args<'_>) -> Result<()> {
        let Some(kernel) = exe.downcast_ref::<Kernel>() else {
            return Err(Error::Internal { stage: "cpu", detail: "a step of another device".into() });
        };
        let bad = tile::Bad::new();
        match kernel {
            Kernel::Map(k) => k.run(&self.threads, args, &bad)?,
            Kernel::Fold(k) => k.run(&self.threads, args, &bad)?,
            Kernel::Passes(k) => k.run(&self.threads, args, &bad)?,
            Kernel::Pairwise(k) => k.run(&self.threads, &self.pool, args, &bad)?,
            Kernel::TopK(k) => k.run(&self.threads, args)?,
        }
        bad.into_inner().map_or(Ok(()), Err)
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
    }

    fn time(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<f64> {
        let start = std::time::Instant::now();
        work()?;
        Ok(start.elapsed().as_secs_f64())
    }

    fn memory(&self) -> (usize, usize) {
        self.pool.memory()
    }

    fn trim(&self) {
        self.pool.trim();
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
