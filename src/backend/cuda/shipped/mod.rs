//! Kernels whose PTX ships with the crate, for machines that have NVIDIA's driver alone: it compiles PTX itself.
//!
//! [`prepare`] makes a program of a kernel and chooses a module that can interpret it, [`pack`] fills in addresses and scalars. `kernels/interp.cuh` runs it.
//!
//! Elementwise results have the bits of the emitted text. Folds: lane `l` of a row's lanes takes elements `l`, `l + lanes`, ... in order; lanes are
//! joined by a tree of halves, warps and then blocks from the first to the last. [`grid`] sets lanes and blocks by the extents alone.

mod assemble;
mod codes;
mod encode;
mod modules;
mod pairwise;

use super::emit::args::{Aux, Grid};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::kernel::limits::{PROGRAM, Size};
use crate::kernel::{AxisSet, Bind, KernelIr, Launch, Operand};
use assemble::{Hole, Program};
use half::{bf16, f16};
use modules::Module;

/// Threads of a block.
const THREADS: u64 = 256;
/// Blocks along x at most; what is left over, the blocks take in turns.
const MAX_BLOCKS: u64 = 1 << 16;
/// Bytes of a state in [`Grid::scratch`].
const STATE_BYTES: u64 = 24;
/// Words of a program that travel with the launch; `kernels/interp.cuh` counts on it, too.
const INLINE: usize = 480;

/// A kernel made ready for one of the modules.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shipped {
    /// The module's name: what a cache of loaded modules goes by.
    pub name: &'static str,
    /// The module's PTX.
    pub module: &'static str,
    /// The kernel in it.
    pub entry: String,
    /// How it is laid over the device.
    pub grid: Grid,
    program: Program,
    /// The kernel's argument of that name.
    how: u32,
    /// Bytes from an operand's address to its first element.
    offsets: Vec<i64>,
    params: Vec<DType>,
}

/// The bytes of a launch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Packed {
    /// The kernel's one parameter. Where there is an `upload`, its first eight bytes have to be set to where that is in device memory.
    pub params: Vec<u8>,
    /// What does not fit the parameter, as a copy to the device in front of the launch.
    pub upload: Option<Vec<u8>>,
}

/// Makes a kernel ready; an error where nothing that ships can run it.
pub fn prepare(ir: &KernelIr, launch: &Launch) -> Result<Shipped> {
    let axes = ir.axes as usize;
    let fits = launch.extents.len() == axes && launch.operands.iter().all(|b| b.strides.len() == axes);
    if !fits || launch.operands.len() != ir.operands.len() || launch.params.len() != ir.params.len() {
        return Err(Error::Internal { stage: "shipped", detail: format!("{launch:?} does not fit\n{ir}") });
    }
    if let Some(p) = pairwise::plan(ir, launch)? {
        let places = assemble::places(&p.code);
        let module = &modules::PAIRWISE[(p.dtype == DType::F64) as usize];
        if module.runs(&p.code.needs, places.count) {
            let mut program = assemble::assemble(&p.code, &places, module.lanes)?;
            let at = program.add_sizes(&p, &places, module.lanes);
            let blocks = (capped(p.tiles(module.lanes)), 1);
            let grid = Grid { blocks, threads: (32, 8), scratch: 0, tickets: 0, rounds: None };
            return Shipped::new(ir, launch, module, grid, program, at as u32);
        }
    }
    let grid = grid(ir, &launch.extents);
    let code = encode::encode(ir, launch, grid.blocks.1)?;
    let places = assemble::places(&code);
    let Some(module) = modules::MODULES.iter().find(|m| m.runs(&code.needs, places.count)) else {
        return Err(Error::Internal {
            stage: "shipped",
            detail: format!("no module has {} registers and {:?}\n{ir}", places.count, code.needs),
        });
    };
    let grid = match encode::along_x(ir) {
        Some(_) => grid,
        // A map's threads take several elements each.
        None => Grid { blocks: (capped(product(&launch.extents).div_ceil(THREADS * module.lanes as u64)), 1), ..grid },
    };
    let along_y = encode::along_x(ir) == Some(false);
    Shipped::new(ir, launch, module, grid, assemble::assemble(&code, &places, module.lanes)?, along_y as u32)
}

impl Shipped {
    fn new(ir: &KernelIr, launch: &Launch, module: &Module, grid: Grid, program: Program, how: u32) -> Result<Shipped> {
        debug_assert!(
            ir.folds_folds() || program.words.len() <= Size::of(ir).program(),
            "{} words\n{ir}",
            program.words.len()
        );
        if program.words.len() > PROGRAM {
            let detail = format!("a program of {} words\n{ir}", program.words.len());
            return Err(Error::Internal { stage: "shipped", detail });
        }
        let offset = |(o, b): (&Operand, &Bind)| b.offset as i64 * o.dtype.size() as i64;
        Ok(Shipped {
            name: module.name,
            module: module.ptx,
            entry: format!("nd_{}", module.name),
            grid,
            program,
            how,
            offsets: ir.operands.iter().zip(&launch.operands).map(offset).collect(),
            params: ir.params.clone(),
        })
    }
}

fn capped(blocks: u64) -> u32 {
    blocks.clamp(1, MAX_BLOCKS) as u32
}

fn product(extents: &[usize]) -> u64 {
    extents.iter().map(|&n| n as u64).product()
}

/// How a kernel is laid over the device: by its extents alone, so that results do not depend on the device.
fn grid(ir: &KernelIr, extents: &[usize]) -> Grid {
    let count = |axes: AxisSet| axes.iter().map(|a| extents[a] as u64).product::<u64>();
    let Some(along_x) = encode::along_x(ir) else {
        return Grid { blocks: (1, 1), threads: (THREADS as u32, 1), scratch: 0, tickets: 0, rounds: None };
    };
    let folds = encode::folds(ir);
    let results = count(encode::outer_axes(ir));
    let folded = folds.loops.into_iter().map(count).max().unwrap_or(1);
    // About four values a thread, until the whole block works on one result.
    let lanes = match along_x {
        true => folded.div_ceil(4).next_power_of_two().min(THREADS),
        false => folded.div_ceil(8).next_power_of_two().min(THREADS / 32),
    };
    let groups = THREADS / lanes;
    let blocks = results.div_ceil(groups).max(1);
    // A long fold with few results is cut over several blocks: about 1024 in all, 2048 values for each lane group at least.
    let parts = match folds.splits {
        true => (1024 / blocks).min(folded / (16 * lanes).max(2048)).max(1),
        false => 1,
    };
    let (scratch, tickets) = match parts {
        1 => (0, 0),
        _ => (results * parts * folds.count as u64 * STATE_BYTES, blocks),
    };
    let (lanes, groups) = (lanes as u32, groups as u32);
    Grid {
        blocks: (capped(blocks), parts as u32),
        threads: if along_x { (lanes, groups) } else { (groups, lanes) },
        scratch: scratch as usize,
        tickets: tickets as usize,
        rounds: None,
    }
}

/// A scalar's bits as a register holds it.
fn held(dtype: DType, bits: u64) -> u64 {
    match dtype {
        DType::F16 => f16::from_bits(bits as u16).to_f32().to_bits() as u64,
        DType::BF16 => bf16::from_bits(bits as u16).to_f32().to_bits() as u64,
        d if d.is_signed_int() => {
            let away = 64 - 8 * d.size() as u32;
            ((bits << away) as i64 >> away) as u64
        }
        _ => bits,
    }
}

/// The bytes of a launch: `pointers` are the buffers' addresses, one for each operand, `scalars` the bits of the parameters.
pub fn pack(shipped: &Shipped, pointers: &[u64], scalars: &[u64], aux: Aux) -> Result<Packed> {
    if pointers.len() != shipped.offsets.len() || scalars.len() != shipped.params.len() {
        let detail = format!("{} pointers, {} scalars for {shipped:?}", pointers.len(), scalars.len());
        return Err(Error::Internal { stage: "pack", detail });
    }
    let mut words = shipped.program.words.clone();
    for &(at, hole) in &shipped.program.holes {
        words[at] = match hole {
            Hole::Pointer(o) => pointers[o as usize].wrapping_add_signed(shipped.offsets[o as usize]),
            Hole::Scalar(p) => held(shipped.params[p as usize], scalars[p as usize]),
        };
    }
    let count = words.len();
    let upload = (count > INLINE).then(|| words.iter().flat_map(|w| w.to_ne_bytes()).collect());
    if upload.is_some() {
        words.clear();
    }
    words.resize(INLINE, 0);
    let head = [0, aux.fault, aux.scratch, aux.tickets, count as u64 | (shipped.how as u64) << 32];
    let params = head.iter().chain(&words).flat_map(|w| w.to_ne_bytes()).collect();
    Ok(Packed { params, upload })
}

#[cfg(test)]
mod tests;
