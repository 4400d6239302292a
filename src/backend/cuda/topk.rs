//! Selections: one kernel for all of them, `kernels/topk.cu`, which ships.

use super::launch::{self, Queue};
use super::modules::{Module, Modules};
use super::pool::Pool;
use super::select::Blocks;
use crate::backend::Args;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::kernel::TopKSpec;
use std::sync::Arc;

/// The kernel's name, in a module of that name.
pub const NAME: &str = "topk";
/// The function in it.
pub const ENTRY: &str = "nd_topk";
/// Its code.
pub const PTX: &str = include_str!("../../../kernels/ptx/topk.ptx");
/// Threads of a block, the most axes, and the most results of one walk over a row, as the kernel has them.
pub const THREADS: u32 = 256;
pub const MOST: usize = 1024;
const AXES: usize = 32;
/// Blocks at most; further rows, the blocks take in turns.
const BLOCKS: usize = 1 << 16;

/// A selection that is ready to run.
#[derive(Debug)]
pub struct TopK {
    spec: TopKSpec,
    module: Arc<Module>,
    /// What makes the array, where it lies in no memory.
    made: Option<Blocks>,
}

/// One launch of the kernel: rows, or parts of them.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// Extents of the axes of rows.
    pub batch: &'a [usize],
    /// Strides along them, and within a row.
    pub strides: &'a [isize],
    /// Elements of a row, in this part.
    pub m: usize,
    /// Where in a row the part begins: later ones go on with what those before it left.
    pub first: usize,
    /// Addresses of the elements, of where the indices go, and of where the elements selected go, 0 for nowhere. A row's parts need that.
    pub at: [u64; 3],
}

/// Blocks for so many rows.
pub fn blocks(batch: &[usize]) -> u32 {
    batch.iter().product::<usize>().clamp(1, BLOCKS) as u32
}

/// The one part of an array in memory, whose operands' addresses these are.
pub fn whole<'a>(spec: &'a TopKSpec, bases: &[usize]) -> Part<'a> {
    let address = |o: usize, size: usize| (bases[o] as i64 + spec.operands[o].offset as i64 * size as i64) as u64;
    let at = [address(0, spec.dtype.size()), address(1, DType::I64.size()), 0];
    Part { batch: &spec.batch, strides: &spec.operands[0].strides, m: spec.m, first: 0, at }
}

/// The bytes of the kernel's parameter.
pub fn pack(spec: &TopKSpec, part: Part<'_>) -> Result<Vec<u8>> {
    let r = part.batch.len();
    if r > AXES {
        let reason = format!("more than {AXES} axes besides the one walked");
        return Err(Error::Shape { op: "topk", shape: part.batch.iter().copied().collect(), reason });
    }
    let size = spec.dtype.size();
    let (kind, infinity) = match spec.dtype {
        DType::F16 => (2, 0x7c00),
        DType::BF16 => (2, 0x7f80),
        DType::F32 => (2, u64::from(f32::INFINITY.to_bits())),
        DType::F64 => (2, f64::INFINITY.to_bits()),
        d => (u64::from(d.is_signed_int()), 0),
    };
    let rows: usize = part.batch.iter().product();
    let mut words = part.at.to_vec();
    words.extend([rows as u64, part.m as u64, spec.k as u64, part.strides[r] as u64, part.first as u64]);
    words.extend([size as u64 | kind << 32, infinity]);
    words.push(u64::from(spec.largest) | (r as u64) << 32);
    let padded =
        |list: &mut dyn Iterator<Item = u64>| -> Vec<u64> { list.chain(std::iter::repeat(0)).take(AXES).collect() };
    words.extend(padded(&mut part.batch.iter().map(|&n| n as u64)));
    words.extend(padded(&mut part.strides[..r].iter().map(|&s| s as u64)));
    Ok(words.iter().flat_map(|w| w.to_ne_bytes()).collect())
}

impl TopK {
    /// With its code on a device, and what makes the array where it lies in no memory.
    pub fn new(spec: TopKSpec, made: Option<Blocks>, modules: &Modules) -> Result<TopK> {
        Ok(TopK { spec, module: modules.ptx(NAME, PTX, ENTRY)?, made })
    }

    /// Queues it.
    pub fn run(&self, on: &Queue, modules: &Arc<Modules>, args: &Args<'_>) -> Result<()> {
        match &self.made {
            None => self.launch(&on.pool, whole(&self.spec, args.bases)),
            Some(made) => made.run(on, modules, args, |part| self.launch(&on.pool, part)),
        }
    }

    fn launch(&self, pool: &Pool, part: Part<'_>) -> Result<()> {
        let bytes = pack(&self.spec, part)?;
        // SAFETY: these are the bytes of the kernel's parameter; the operands are memory of this device that the caller keeps
        // until the kernel is queued.
        unsafe { launch::queue(pool, self.module.function(), (blocks(part.batch), 1), (THREADS, 1), bytes) }
    }
}
