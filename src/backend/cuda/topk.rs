//! Selections: one kernel for all of them, `kernels/topk.cu`, which ships.

use super::gpu::Gpu;
use super::launch;
use super::modules::{Module, Modules};
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
/// Threads of a block, and the most axes, as the kernel has them.
pub const THREADS: u32 = 256;
const AXES: usize = 32;
/// Blocks at most; further rows, the blocks take in turns.
const BLOCKS: usize = 1 << 16;

/// A selection that is ready to run.
#[derive(Debug)]
pub struct TopK {
    spec: TopKSpec,
    module: Arc<Module>,
}

/// Blocks for it.
pub fn blocks(spec: &TopKSpec) -> u32 {
    spec.batch.iter().product::<usize>().clamp(1, BLOCKS) as u32
}

/// The bytes of the kernel's parameter.
pub fn pack(spec: &TopKSpec, bases: &[usize]) -> Result<Vec<u8>> {
    let r = spec.batch.len();
    if r > AXES {
        let reason = format!("more than {AXES} axes besides the one walked");
        return Err(Error::Shape { op: "topk", shape: spec.batch.iter().copied().collect(), reason });
    }
    let address = |o: usize, size: usize| (bases[o] as i64 + spec.operands[o].offset as i64 * size as i64) as u64;
    let size = spec.dtype.size();
    let (kind, infinity) = match spec.dtype {
        DType::F16 => (2, 0x7c00),
        DType::BF16 => (2, 0x7f80),
        DType::F32 => (2, u64::from(f32::INFINITY.to_bits())),
        DType::F64 => (2, f64::INFINITY.to_bits()),
        d => (u64::from(d.is_signed_int()), 0),
    };
    let rows: usize = spec.batch.iter().product();
    let strides = &spec.operands[0].strides;
    let mut words = vec![address(0, size), address(1, DType::I64.size()), rows as u64, spec.m as u64, spec.k as u64];
    words.extend([strides[r] as u64, size as u64 | kind << 32, infinity]);
    words.push(u64::from(spec.largest) | (r as u64) << 32);
    let padded =
        |list: &mut dyn Iterator<Item = u64>| -> Vec<u64> { list.chain(std::iter::repeat(0)).take(AXES).collect() };
    words.extend(padded(&mut spec.batch.iter().map(|&n| n as u64)));
    words.extend(padded(&mut strides[..r].iter().map(|&s| s as u64)));
    Ok(words.iter().flat_map(|w| w.to_ne_bytes()).collect())
}

impl TopK {
    /// With its code on a device.
    pub fn new(spec: &TopKSpec, modules: &Modules) -> Result<TopK> {
        Ok(TopK { spec: spec.clone(), module: modules.ptx(NAME, PTX, ENTRY)? })
    }

    /// Queues it.
    pub fn run(&self, gpu: &Gpu, args: &Args<'_>) -> Result<()> {
        let bytes = pack(&self.spec, args.bases)?;
        // SAFETY: these are the bytes of the kernel's parameter; the operands are memory of this device that the caller keeps
        // until the kernel is queued.
        unsafe { launch::queue(gpu, self.module.function(), (blocks(&self.spec), 1), (THREADS, 1), bytes) }
    }
}
