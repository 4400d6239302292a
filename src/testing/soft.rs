//! A device that runs kernels on the software device: no driver, no compiler. They are those that ship, or one whose PTX is given.

use crate::Device;
use crate::backend::cuda::emit::args::{Aux, Grid, grid, pack};
use crate::backend::cuda::topk::{self, Part};
use crate::backend::cuda::{emit, shipped};
use crate::backend::{Args, Backend, Exe};
use crate::buffer::Buffer;
use crate::error::{Error, Result};
use crate::kernel::{KernelIr, Launch, Step, TopKSpec, gemm};
use softcuda::{Config, Counters, Loaded, Machine, Module};
use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

struct Soft {
    machine: Arc<Machine>,
    modules: Mutex<HashMap<&'static str, Loaded>>,
    instead: Instead,
    /// Of all launches of an emitted kernel.
    counters: Mutex<Counters>,
}

/// What runs where a module that ships would.
#[derive(Default)]
enum Instead {
    #[default]
    Nothing,
    /// Another module for the one of this name.
    Module(&'static str, Module),
    /// One kernel's own module, for all kernels.
    Emitted(Emitted),
    /// Selections that take rows in parts of so many elements, as they do from blocks of an array.
    Parts(usize),
}

/// A kernel as it is emitted.
pub struct Emitted {
    /// As what.
    pub variant: emit::Variant,
    /// Its module.
    pub module: Module,
    /// Blocks along x at most: they take what is left over in turns.
    pub blocks: u32,
}

struct Owner(Arc<Machine>, u64);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.free(self.1).unwrap();
    }
}

/// A device of its own; `seed` orders its warps and blocks.
pub fn device(seed: u64) -> Device {
    made(seed, Instead::Nothing)
}

/// As [`device`], with selections that take rows in parts of so many elements.
pub fn in_parts(seed: u64, part: usize) -> Device {
    made(seed, Instead::Parts(part))
}

/// As [`device`], with another module in the place of the one of this name.
pub fn with_module(seed: u64, name: &'static str, module: Module) -> Device {
    made(seed, Instead::Module(name, module))
}

/// As [`device`], for one kernel, which runs as it is emitted.
pub fn with_emitted(seed: u64, kernel: Emitted) -> Device {
    made(seed, Instead::Emitted(kernel))
}

fn made(seed: u64, instead: Instead) -> Device {
    // More than any machine has: what is not touched takes none.
    let config = Config { seed, memory: 1 << 40, ..Config::default() };
    Device::new(Box::new(Soft {
        machine: Arc::new(Machine::new(config)),
        modules: Mutex::default(),
        instead,
        counters: Mutex::default(),
    }))
}

fn soft(dev: &Device) -> &Soft {
    dev.backend().as_any().downcast_ref().unwrap()
}

/// What the emitted kernels did that ran on a device.
pub fn counters(dev: &Device) -> Counters {
    *soft(dev).counters.lock().unwrap()
}

/// Writes memory anywhere in a buffer.
pub fn write(dev: &Device, address: usize, bytes: &[u8]) {
    soft(dev).machine.write(address as u64, bytes).unwrap();
}

impl Soft {
    fn memory(&self, bytes: &[u8]) -> Owner {
        let at = self.machine.alloc(bytes.len().max(1) as u64).unwrap();
        self.machine.write(at, bytes).unwrap();
        Owner(self.machine.clone(), at)
    }
}

/// An error of a launch.
fn found(reason: String) -> Error {
    Error::Driver { device: "soft".into(), call: "launch", reason }
}

impl Soft {
    /// Runs `launch` with what a grid needs beside its arguments, and looks at what it leaves there.
    fn with_aux(&self, grid: Grid, launch: &Launch, run: impl FnOnce(Aux) -> Result<()>) -> Result<()> {
        let (fault, tickets) = (self.memory(&[0; 16]), self.memory(&vec![0; 4 * grid.tickets]));
        let scratch = self.machine.alloc(grid.scratch.max(1) as u64).unwrap();
        let scratch = Owner(self.machine.clone(), scratch);
        run(Aux { fault: fault.1, scratch: scratch.1, tickets: tickets.1, round: [0; 2] })?;
        let mut words = [0; 16];
        self.machine.read(fault.1, &mut words).unwrap();
        let [operand, index] = [0, 8].map(|at| u64::from_ne_bytes(words[at..at + 8].try_into().unwrap()));
        let mut left = vec![1; 4 * grid.tickets];
        self.machine.read(tickets.1, &mut left).unwrap();
        if left.iter().any(|&b| b != 0) {
            return Err(found("tickets are left".into()));
        }
        match operand.checked_sub(1) {
            None => Ok(()),
            Some(o) => Err(launch.operands[o as usize].gather.unwrap().error(index as i64)),
        }
    }

    /// Launches a kernel as `backend/cuda/launch.rs` does.
    fn emitted(&self, e: &Emitted, ir: &KernelIr, launch: &Launch, pointers: &[u64], params: &[u64]) -> Result<()> {
        let grid = grid(ir, &e.variant, &launch.extents);
        let loaded = self.machine.load(&e.module).unwrap();
        self.with_aux(grid, launch, |aux| {
            let run = |name: &str, (bx, by): (u32, u32), aux| {
                let bytes = pack(ir, &e.variant, launch, pointers, params, aux)?;
                let (blocks, threads) = ([bx.min(e.blocks), by, 1], [grid.threads.0, grid.threads.1, 1]);
                self.machine
                    .launch(&loaded, name, blocks, threads, 0, &bytes)
                    .map(|c| *self.counters.lock().unwrap() += c)
                    .map_err(|e| found(e.to_string()))
            };
            let Some(rounds) = grid.rounds else { return run(&emit::name(ir), grid.blocks, aux) };
            for first in (0..rounds.segments).step_by(rounds.each as usize) {
                let aux = Aux { round: [first, rounds.each.min(rounds.segments - first)], ..aux };
                run(&emit::name(ir), grid.blocks, aux)?;
                run(&emit::join_name(ir), (rounds.join, 1), aux)?;
            }
            Ok(())
        })
    }
}

impl Backend for Soft {
    fn name(&self) -> String {
        "soft".into()
    }

    fn alloc(&self, bytes: usize, _align: usize) -> Result<Buffer> {
        let at = self.machine.alloc(bytes.max(1) as u64).unwrap();
        // SAFETY: nothing on the host reads it: the machine checks each access.
        Ok(unsafe { Buffer::new(at as usize, bytes, Box::new(Owner(self.machine.clone(), at))) })
    }

    fn upload(&self, from: &[u8], to: &Buffer) -> Result<()> {
        self.machine.write(to.address() as u64, from).unwrap();
        Ok(())
    }

    fn download(&self, buffer: &Buffer, from: usize, to: &mut [u8]) -> Result<()> {
        self.machine.read((buffer.address() + from) as u64, to).unwrap();
        Ok(())
    }

    fn is_host(&self) -> bool {
        false
    }

    fn prepare(&self, steps: &[&Step]) -> Result<Vec<Exe>> {
        let ready = |step: &&Step| {
            let (ir, launch) = match step {
                Step::Kernel(ir, launch) if matches!(self.instead, Instead::Emitted(_)) => {
                    return Ok(Box::new((ir.clone(), launch.clone())) as Exe);
                }
                Step::Kernel(ir, launch) => (ir.clone(), launch.clone()),
                Step::Gemm(spec) => gemm::kernel(spec),
                Step::TopK(spec) => return Ok(Box::new(spec.clone()) as Exe),
            };
            Ok(Box::new((shipped::prepare(&ir, &launch)?, launch)) as Exe)
        };
        steps.iter().map(ready).collect()
    }

    fn run(&self, exe: &Exe, args: &Args<'_>) -> Result<()> {
        let mut modules = self.modules.lock().unwrap();
        let parsed = |name, ptx| match &self.instead {
            Instead::Module(replaced, module) if *replaced == name => self.machine.load(module).unwrap(),
            _ => {
                let module = Module::parse(ptx).unwrap_or_else(|e| panic!("{name}: {e}"));
                self.machine.load(&module).unwrap()
            }
        };
        if let Some(spec) = exe.downcast_ref::<TopKSpec>() {
            let module = modules.entry(topk::NAME).or_insert_with(|| parsed(topk::NAME, topk::PTX));
            let (blocks, threads) = ([topk::blocks(&spec.batch), 1, 1], [topk::THREADS, 1, 1]);
            let rows: usize = spec.batch.iter().product();
            let each = if let Instead::Parts(part) = self.instead { part } else { usize::MAX };
            let kept = self.memory(&vec![0; if each < spec.m { rows * spec.k * spec.dtype.size() } else { 0 }]);
            let whole = topk::whole(spec, args.bases);
            // Of an empty row too there is one.
            for first in (0..spec.m.max(1)).step_by(each) {
                let mut part = Part { m: each.min(spec.m - first), first, ..whole };
                let along = part.strides[spec.batch.len()] * spec.dtype.size() as isize;
                part.at[0] = part.at[0].wrapping_add_signed((first as isize * along) as i64);
                if each < spec.m {
                    part.at[2] = kept.1;
                }
                self.machine
                    .launch(module, topk::ENTRY, blocks, threads, 0, &topk::pack(spec, part)?)
                    .map_err(|e| found(format!("{e}\n{spec:?}")))?;
            }
            return Ok(());
        }
        let pointers: Vec<u64> = args.bases.iter().map(|&b| b as u64).collect();
        if let (Some((ir, launch)), Instead::Emitted(kernel)) =
            (exe.downcast_ref::<(KernelIr, Launch)>(), &self.instead)
        {
            return self.emitted(kernel, ir, launch, &pointers, args.params);
        }
        let (kernel, launch) = exe.downcast_ref::<(shipped::Shipped, Launch)>().unwrap();
        let loaded = modules.entry(kernel.name).or_insert_with(|| parsed(kernel.name, kernel.module));
        self.with_aux(kernel.grid, launch, |aux| {
            let mut packed = shipped::pack(kernel, &pointers, args.params, aux)?;
            let upload = packed.upload.map(|bytes| self.memory(&bytes));
            if let Some(u) = &upload {
                packed.params[..8].copy_from_slice(&u.1.to_ne_bytes());
            }
            let ((bx, by), (tx, ty)) = (kernel.grid.blocks, kernel.grid.threads);
            self.machine
                .launch(loaded, &kernel.entry, [bx, by, 1], [tx, ty, 1], 0, &packed.params)
                .map(|_| ())
                .map_err(|e| found(format!("{e}\n{kernel:?}")))
        })
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
    }

    fn time(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<f64> {
        work().map(|()| 0.0)
    }

    fn memory(&self) -> (usize, usize) {
        (self.machine.live().1 as usize, 0)
    }

    fn trim(&self) {}

    fn as_any(&self) -> &dyn Any {
        self
    }
}
