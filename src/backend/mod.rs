//! What a device can do for the layers above: memory, copies, and running the steps of a plan.

pub mod cpu;
pub mod cuda;

use crate::buffer::Buffer;
use crate::error::Result;
use crate::kernel::{KernelIr, Launch, Step};
use std::any::Any;

/// A step made ready by a backend.
pub type Exe = Box<dyn Any + Send + Sync>;

/// Where the operands of a run lie and what its scalars are.
#[derive(Debug)]
pub struct Args<'a> {
    /// For each operand of the step, the address its binding's offset counts from, in device memory.
    pub bases: &'a [usize],
    /// For each scalar of the step, its bits.
    pub params: &'a [u64],
    /// Whether a written operand lies on a read one (at the same elements).
    pub in_place: bool,
}

/// A device.
pub trait Backend: Send + Sync {
    /// Its name, as `Device` prints it.
    fn name(&self) -> String;
    /// Memory for `bytes` bytes, for elements of `align` bytes. Its content is arbitrary.
    fn alloc(&self, bytes: usize, align: usize) -> Result<Buffer>;
    /// Copies host memory into the start of a buffer.
    fn upload(&self, from: &[u8], to: &Buffer) -> Result<()>;
    /// Copies `to.len()` bytes from byte `from` of a buffer to the host, once everything before has run.
    fn download(&self, buffer: &Buffer, from: usize, to: &mut [u8]) -> Result<()>;
    /// Whether arrays live in host memory: vectors can become arrays, and arrays be read, in place.
    fn is_host(&self) -> bool;
    /// Whether it runs this kernel well: a product of matrices with what follows it, or folds inside folds. Where it does not, the schedule
    /// stores the product or the inner fold.
    fn fuses(&self, ir: &KernelIr, _launch: &Launch) -> bool {
        !ir.folds_folds()
    }
    /// Whether it selects along the innermost axis, of extent `m`, of what this kernel stores, an array in C order, without storing all of it.
    fn selects(&self, _ir: &KernelIr, _launch: &Launch, _m: usize) -> bool {
        false
    }
    /// Bytes of the blocks of rows, the outermost axis, in which it makes what this kernel stores, an array in C order, with the bits that the
    /// whole array has; `None` where it does not.
    fn blocks(&self, _ir: &KernelIr, _launch: &Launch) -> Option<usize> {
        None
    }
    /// Makes the steps of a plan ready to run any number of times.
    fn prepare(&self, steps: &[&Step]) -> Result<Vec<Exe>>;
    /// Runs a step.
    fn run(&self, exe: &Exe, args: &Args<'_>) -> Result<()>;
    /// Waits for everything that was started.
    fn synchronize(&self) -> Result<()>;
    /// Seconds that what `work` starts takes, by the device's own clock where it has one.
    fn time(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<f64>;
    /// Bytes held by arrays, and bytes kept for reuse.
    fn memory(&self) -> (usize, usize);
    /// Gives memory kept for reuse back to the system.
    fn trim(&self);
    /// Itself, for what only one kind of device has.
    fn as_any(&self) -> &dyn Any;
}
