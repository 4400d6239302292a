//! Queuing a kernel on the stream: its arguments, its scratch memory, and the word in which a gather notes a bad index.

use super::background::{Answer, Slot};
use super::compile::Text;
use super::emit::args::{Aux, Grid, Rounds, grid, pack};
use super::emit::{Variant, join_name, pooled, variant};
use super::gpu::Gpu;
use super::modules::{Found, Module, Modules, Wanted};
use super::pool::{Block, Pool};
use super::shipped::{self, Shipped};
use super::stage::Stage;
use crate::backend::Args;
use crate::error::{Error, Result};
use crate::kernel::{KernelIr, Launch};
use cudarc::driver::sys::{self, CUresult};
use smallvec::{SmallVec, smallvec};
use std::ffi::c_void;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Tickets made at once at least.
const TICKETS: usize = 1 << 16;
/// How often a kernel is asked for again whose making failed in a way that may pass.
const RETRIES: u8 = 3;
/// Bytes in which a gather notes operand and index.
const FAULT: usize = 16;

/// A kernel that is ready to run.
#[derive(Debug)]
pub struct Kernel {
    ir: KernelIr,
    launch: Launch,
    /// Whether some operand is indexed by a value.
    gathers: bool,
    /// What it is compiled as, or is being, by how its operands' addresses are aligned.
    made: Mutex<Vec<(Aligned, Arc<Made>)>>,
    /// What ships and its program, once they were needed.
    shipped: OnceLock<Box<(Shipped, Arc<Module>)>>,
}

/// The alignment of each operand's address, in its lowest bits: variants depend on no more of it.
type Aligned = SmallVec<[u8; 8]>;

/// A kernel as compiled for some launches.
#[derive(Debug)]
struct Made {
    variant: Variant,
    grid: Grid,
    module: Slot,
    /// How often it may still be asked for.
    retries: u8,
}

impl Kernel {
    /// A kernel whose function for buffers as the pool gives them was found as `found`, compiled as `variant`. What ships is made ready
    /// where there is none yet.
    pub fn new(ir: KernelIr, launch: Launch, variant: Variant, found: Found, modules: &Modules) -> Result<Kernel> {
        let gathers = launch.operands.iter().any(|b| b.gather.is_some());
        let kernel = Kernel { ir, launch, gathers, made: Mutex::default(), shipped: OnceLock::new() };
        let is_own = found.as_ref().is_some_and(|slot| matches!(slot.get(), Some(Answer::Made(_))));
        if let Some(module) = found {
            let aligned: Aligned = smallvec![0; kernel.ir.operands.len()];
            kernel.made().push((aligned, Arc::new(kernel.compiled_as(variant, module, RETRIES))));
        }
        if !is_own {
            kernel.ships(modules)?;
        }
        Ok(kernel)
    }

    /// A kernel by itself, made as soon as its compiler is done.
    pub fn alone(ir: KernelIr, launch: Launch, modules: &Arc<Modules>) -> Result<Kernel> {
        let variant = pooled(&ir, &launch);
        let found = modules.one(&Wanted { text: Text::new(&ir, &variant)?, ir: &ir, launch: &launch })?;
        Kernel::new(ir, launch, variant, found, modules)
    }

    fn made(&self) -> MutexGuard<'_, Vec<(Aligned, Arc<Made>)>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn compiled_as(&self, variant: Variant, module: Slot, retries: u8) -> Made {
        Made { variant, grid: grid(&self.ir, &variant, &self.launch.extents), module, retries }
    }

    /// What it is compiled as for operands at these addresses; none where what ships is to run it.
    fn own(&self, modules: &Arc<Modules>, pointers: &[u64]) -> Result<Option<Arc<Made>>> {
        let aligned: Aligned = pointers.iter().map(|p| (p & 15) as u8).collect();
        let known = self.made().iter().find(|m| m.0 == aligned).map(|m| m.1.clone());
        let mut retries = RETRIES;
        if let Some(made) = known {
            if !matches!(made.module.get(), Some(Answer::Failed)) || made.retries == 0 {
                return Ok(Some(made));
            }
            retries = made.retries - 1;
        }
        if !modules.makes() {
            return Ok(None);
        }
        let variant = variant(&self.ir, &self.launch, pointers);
        let wanted = Wanted { text: Text::new(&self.ir, &variant)?, ir: &self.ir, launch: &self.launch };
        let Some(module) = modules.one(&wanted)? else { return Ok(None) };
        let new = Arc::new(self.compiled_as(variant, module, retries));
        let mut made = self.made();
        match made.iter_mut().find(|m| m.0 == aligned) {
            Some(old) => old.1 = new.clone(),
            None => made.push((aligned, new.clone())),
        }
        Ok(Some(new))
    }

    /// What ships.
    fn ships(&self, modules: &Modules) -> Result<&(Shipped, Arc<Module>)> {
        if let Some(ready) = self.shipped.get() {
            return Ok(ready);
        }
        let shipped = shipped::prepare(&self.ir, &self.launch)?;
        let module = modules.shipped(&shipped)?;
        Ok(self.shipped.get_or_init(|| Box::new((shipped, module))))
    }

    /// Queues it. A kernel that gathers is waited for, so that a bad index is an error of the evaluation that made it.
    pub fn run(&self, on: &Queue, modules: &Arc<Modules>, args: &Args<'_>) -> Result<()> {
        let pointers: SmallVec<[u64; 8]> = args.bases.iter().map(|&b| b as u64).collect();
        let made = self.own(modules, &pointers)?;
        if let Some(made) = &made
            && let Some(Answer::Made(module)) = made.module.get()
        {
            return self.launch(on, made.grid, module, |aux| {
                pack(&self.ir, &made.variant, &self.launch, &pointers, args.params, aux)
            });
        }
        let (shipped, module) = self.ships(modules)?;
        // A long program goes ahead of its kernel, and is freed in the stream's order behind it.
        let mut program = None;
        self.launch(on, shipped.grid, module, |aux| {
            let mut packed = shipped::pack(shipped, &pointers, args.params, aux)?;
            if let Some(upload) = packed.upload {
                let block = on.pool.scratch(upload.len())?;
                on.stage.upload(&upload, block.address())?;
                packed.params[..8].copy_from_slice(&block.address().to_ne_bytes());
                program = Some(block);
            }
            Ok(packed.params)
        })
    }

    /// Queues a module's function with what a grid needs beside it; `pack` gives the bytes of its parameter.
    fn launch(
        &self,
        on: &Queue,
        grid: Grid,
        module: &Module,
        mut pack: impl FnMut(Aux) -> Result<Vec<u8>>,
    ) -> Result<()> {
        let Grid { blocks, threads, scratch, tickets, rounds } = grid;
        let scratch = match scratch {
            0 => None,
            n => Some(on.pool.scratch(n)?),
        };
        let tickets = match tickets {
            0 => None,
            n => Some(on.tickets(n)?),
        };
        let fault = match self.gathers {
            false => None,
            true => {
                let block = on.pool.scratch(FAULT)?;
                on.gpu.zero(block.address(), FAULT)?;
                Some(block)
            }
        };
        let aux = Aux {
            fault: fault.as_ref().map_or(0, Block::address),
            scratch: scratch.as_ref().map_or(0, Block::address),
            tickets: tickets.as_ref().map_or(0, |t| t.address()),
            round: [0; 2],
        };
        // SAFETY: the function takes one struct, whose bytes these are; the operands are memory of this device that the caller keeps
        // until the kernel is queued, and what is freed then is freed in the stream's order.
        let queue = |function, blocks, bytes| unsafe { queue(&on.pool, function, blocks, threads, bytes) };
        match rounds {
            None => queue(module.function(), blocks, pack(aux)?)?,
            Some(Rounds { segments, each, join }) => {
                let joins = module.other(&join_name(&self.ir))?;
                for first in (0..segments).step_by(each as usize) {
                    let bytes = pack(Aux { round: [first, each.min(segments - first)], ..aux })?;
                    queue(module.function(), blocks, bytes.clone())?;
                    queue(joins, (join, 1), bytes)?;
                }
            }
        }
        match fault {
            None => Ok(()),
            Some(block) => self.settle(on, &block),
        }
    }

    /// The error that a gather noted, if any.
    fn settle(&self, on: &Queue, fault: &Block) -> Result<()> {
        let mut noted = [0u8; FAULT];
        on.stage.download(fault.address(), &mut noted)?;
        let word = |n: usize| noted[8 * n..8 * n + 8].iter().rev().fold(0u64, |v, &b| v << 8 | b as u64);
        let Some(operand) = word(0).checked_sub(1) else { return Ok(()) };
        Err(match self.launch.operands.get(operand as usize).and_then(|b| b.gather) {
            Some(gather) => gather.error(word(1) as i64),
            None => Error::Internal { stage: "launch", detail: format!("operand {operand} noted an index") },
        })
    }
}

/// Queues a function. The driver may load its code now, or need memory for its threads: where there is none, what is kept is given back.
///
/// # Safety
/// `bytes` are those of the one struct it takes, and what that points to is there until the kernel is queued.
pub unsafe fn queue(
    pool: &Pool,
    function: sys::CUfunction,
    blocks: (u32, u32),
    threads: (u32, u32),
    bytes: Vec<u8>,
) -> Result<()> {
    let gpu = pool.gpu();
    gpu.bind()?;
    pool.making_room(bytes.len(), " for a launch", || {
        let mut params = [bytes.as_ptr().cast_mut().cast::<c_void>()];
        // SAFETY: the caller's; the driver copies the parameter and does not write it.
        let status = unsafe {
            sys::cuLaunchKernel(
                function,
                blocks.0,
                blocks.1,
                1,
                threads.0,
                threads.1,
                1,
                0,
                gpu.cu_stream(),
                params.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        };
        match status {
            CUresult::CUDA_ERROR_OUT_OF_MEMORY => Ok(None),
            status => gpu.check("cuLaunchKernel", status).map(Some),
        }
    })
}

/// What kernels are queued with: the stream, memory, and words shared by all launches on the stream.
#[derive(Debug)]
pub struct Queue {
    /// The GPU.
    pub gpu: Arc<Gpu>,
    /// Its memory.
    pub pool: Arc<Pool>,
    /// Its copies.
    pub stage: Stage,
    tickets: Mutex<Option<Arc<Block>>>,
}

impl Queue {
    /// A GPU's.
    pub fn new(gpu: Arc<Gpu>, pool: Arc<Pool>) -> Queue {
        let stage = Stage::new(gpu.clone());
        Queue { gpu, pool, stage, tickets: Mutex::default() }
    }

    /// At least `n` words that are zero, and that each kernel leaves at zero: kernels on one stream do not overlap.
    fn tickets(&self, n: usize) -> Result<Arc<Block>> {
        let mut held = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = held.as_ref().filter(|b| b.bytes() >= 4 * n) {
            return Ok(block.clone());
        }
        let bytes = 4 * n.max(TICKETS);
        let block = Arc::new(self.pool.scratch(bytes)?);
        self.gpu.zero(block.address(), bytes)?;
        // The old words go once those who queue with them are done.
        *held = Some(block.clone());
        Ok(block)
    }
}
