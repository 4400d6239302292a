//! The CUDA backend: kernels compiled at run time, one stream for each GPU, memory and copies in its order.

mod background;
mod blas;
mod cache;
pub mod compile;
mod driver;
pub mod emit;
mod gpu;
mod launch;
mod libs;
mod modules;
mod pool;
pub mod probe;
mod scope;
mod select;
pub mod shipped;
mod stage;
pub mod topk;

use super::{Args, Backend, Exe};
use crate::buffer::Buffer;
use crate::debug;
use crate::error::{Error, Result};
use crate::kernel::{self, GemmSpec, KernelIr, Launch, Step, TopKSpec};
use emit::Variant;
use gpu::Event;
pub use gpu::Gpu;
use launch::{Kernel, Queue};
use modules::{Modules, Wanted};
use select::Blocks;
use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

/// One GPU.
#[derive(Debug)]
pub struct Cuda {
    queue: Queue,
    modules: Arc<Modules>,
    blas: blas::Lazy,
    tf32: AtomicBool,
}

enum Ready {
    Kernel(Box<Kernel>),
    Gemm(Box<Product>),
    TopK(Box<topk::TopK>),
}

/// A product that goes to cuBLAS, and the kernel that runs it where cuBLAS refuses it.
struct Product {
    gemm: blas::Gemm,
    spec: GemmSpec,
    own: OnceLock<Kernel>,
}

impl Product {
    fn own(&self, modules: &Arc<Modules>) -> Result<&Kernel> {
        if let Some(kernel) = self.own.get() {
            return Ok(kernel);
        }
        let (ir, launch) = kernel::gemm::kernel(&self.spec);
        let kernel = Kernel::alone(ir, launch, modules)?;
        Ok(self.own.get_or_init(|| kernel))
    }
}

/// What a step runs.
enum Choice {
    Library(Box<Product>),
    /// Of buffers as the pool gives them; a launch on others compiles its own.
    Kernel(KernelIr, Launch, Variant),
    TopK(TopKSpec, Option<Box<Blocks>>),
}

impl Cuda {
    /// The GPU with this number.
    pub fn open(index: usize) -> Result<Cuda> {
        let gpu = Arc::new(Gpu::open(index)?);
        let pool = Arc::new(pool::Pool::new(gpu.clone())?);
        let modules = Arc::new(Modules::new(gpu.clone(), pool.clone())?);
        if debug::level() >= 1 {
            eprintln!("ndcuda: {} is {}", gpu.title(), probe::describe(&gpu));
        }
        Ok(Cuda { queue: Queue::new(gpu, pool), modules, blas: blas::Lazy::default(), tf32: false.into() })
    }

    /// The GPU, for other CUDA code.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.queue.gpu
    }

    /// Whether matrix products may round their operands to TF32.
    pub fn allow_tf32(&self, yes: bool) {
        self.tf32.store(yes, Ordering::Relaxed);
    }

    /// Bytes that arrays may take at most.
    pub fn memory_limit(&self, bytes: usize) {
        self.queue.pool.limit(bytes);
    }

    fn choose(&self, step: &Step) -> Result<Choice> {
        let (ir, launch) = match step {
            Step::Kernel(ir, launch) => (ir.clone(), launch.clone()),
            Step::Gemm(spec) => match blas::Gemm::new(spec) {
                Some(gemm) if self.blas.takes(spec.dtype, &self.queue.pool)? => {
                    let product = Product { gemm, spec: spec.clone(), own: OnceLock::new() };
                    return Ok(Choice::Library(Box::new(product)));
                }
                _ => kernel::gemm::kernel(spec),
            },
            Step::TopK(spec) => return Ok(Choice::TopK(spec.clone(), Blocks::of(spec).map(Box::new))),
        };
        let variant = emit::pooled(&ir, &launch);
        Ok(Choice::Kernel(ir, launch, variant))
    }
}

impl Backend for Cuda {
    fn name(&self) -> String {
        self.queue.gpu.title()
    }

    fn alloc(&self, bytes: usize, _: usize) -> Result<Buffer> {
        self.queue.pool.alloc(bytes)
    }

    fn upload(&self, from: &[u8], to: &Buffer) -> Result<()> {
        debug_assert!(from.len() <= to.bytes());
        self.queue.stage.upload(from, to.address() as u64)
    }

    fn download(&self, buffer: &Buffer, from: usize, to: &mut [u8]) -> Result<()> {
        debug_assert!(from + to.len() <= buffer.bytes());
        self.queue.stage.download((buffer.address() + from) as u64, to)
    }

    fn is_host(&self) -> bool {
        false
    }

    /// Folds inside folds only as tiles of pairs, in a kernel of its own: those that ship do not have it.
    fn fuses(&self, ir: &KernelIr, launch: &Launch) -> bool {
        let own = || self.modules.has(ir, &emit::pooled(ir, launch));
        !ir.folds_folds() || emit::folds_pairs(ir, launch) && own()
    }

    fn selects(&self, ir: &KernelIr, launch: &Launch, m: usize) -> bool {
        select::runs(ir, launch, m)
    }

    fn blocks(&self, ir: &KernelIr, _: &Launch) -> Option<usize> {
        select::in_parts(ir).then_some(select::BYTES)
    }

    fn prepare(&self, steps: &[&Step]) -> Result<Vec<Exe>> {
        let chosen: Vec<Choice> = steps.iter().map(|step| self.choose(step)).collect::<Result<_>>()?;
        let mut wanted = vec![];
        let mut want = |(ir, launch, variant)| -> Result<()> {
            wanted.push(Wanted { text: self.modules.text(ir, variant)?, ir, launch });
            Ok(())
        };
        for what in &chosen {
            match what {
                Choice::Kernel(ir, launch, variant) => want((ir, launch, variant))?,
                Choice::TopK(_, Some(blocks)) => blocks.wanted().try_for_each(&mut want)?,
                Choice::TopK(_, None) | Choice::Library(_) => {}
            }
        }
        let mut found = self.modules.all(&wanted)?.into_iter();
        let mut out: Vec<Exe> = vec![];
        for what in chosen {
            out.push(Box::new(match what {
                Choice::Library(product) => Ready::Gemm(product),
                Choice::TopK(spec, made) => {
                    let made = made.map(|blocks| blocks.with(&mut found, &self.modules)).transpose()?;
                    Ready::TopK(Box::new(topk::TopK::new(spec, made, &self.modules)?))
                }
                Choice::Kernel(ir, launch, variant) => {
                    Ready::Kernel(Box::new(Kernel::new(ir, launch, variant, found.next().flatten(), &self.modules)?))
                }
            }));
        }
        Ok(out)
    }

    fn run(&self, exe: &Exe, args: &Args<'_>) -> Result<()> {
        match exe.downcast_ref::<Ready>() {
            Some(Ready::Kernel(kernel)) => kernel.run(&self.queue, &self.modules, args),
            Some(Ready::TopK(topk)) => topk.run(&self.queue, &self.modules, args),
            Some(Ready::Gemm(product)) => {
                let tf32 = self.tf32.load(Ordering::Relaxed);
                if self.blas.run(&product.gemm, &self.queue.pool, args, tf32)? {
                    return Ok(());
                }
                product.own(&self.modules)?.run(&self.queue, &self.modules, args)
            }
            None => Err(Error::Internal { stage: "cuda", detail: "a step of another device".into() }),
        }
    }

    fn synchronize(&self) -> Result<()> {
        self.queue.gpu.synchronize()
    }

    fn time(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<f64> {
        let (start, end) = (Event::new(&self.queue.gpu, true)?, Event::new(&self.queue.gpu, true)?);
        start.record()?;
        work()?;
        end.record()?;
        start.seconds_until(&end)
    }

    fn memory(&self) -> (usize, usize) {
        self.queue.pool.memory()
    }

    fn trim(&self) {
        // What cannot be given back stays; the next call on the device tells why.
        let _ = self.queue.pool.trim();
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
