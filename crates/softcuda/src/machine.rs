//! One simulated device: its memory, and launches on it.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::counters::Counters;
use crate::decode::Item;
use crate::exec::{self, Job};
use crate::fault::{Fault, FaultKind};
use crate::memory::{BASE, INIT, Memory};
use crate::module::Module;
use crate::race::Race;

/// Which detectors are on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Detect {
    /// Loads of bytes that nothing has written.
    pub uninit: bool,
    /// Unordered accesses of which one writes.
    pub race: bool,
    /// Addresses that are not a multiple of the access's size.
    pub misaligned: bool,
}

impl Default for Detect {
    fn default() -> Detect {
        Detect { uninit: true, race: true, misaligned: true }
    }
}

/// What a device is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// Compute capability.
    pub cc: (u32, u32),
    /// Bytes of global memory.
    pub memory: u64,
    /// Where its addresses begin: devices of one process need places of their own.
    pub base: u64,
    /// Orders warps and blocks.
    pub seed: u64,
    /// Detectors. Bounds and barriers are always checked.
    pub detect: Detect,
}

impl Default for Config {
    fn default() -> Config {
        Config { cc: (8, 0), memory: 8 << 30, base: BASE, seed: 0, detect: Detect::default() }
    }
}

/// A module whose variables have their places in a machine's memory.
#[derive(Clone, Debug)]
pub struct Loaded {
    module: Module,
    /// The variables' addresses, in the module's order.
    globals: Vec<u64>,
}

impl Loaded {
    /// The module.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// Where a variable lies, and its size.
    pub fn variable(&self, name: &str) -> Option<(u64, u64)> {
        let globals = &self.module.code.globals;
        globals.iter().position(|g| g.name == name).map(|i| (self.globals[i], globals[i].bytes))
    }
}

/// One simulated device. Launches on it run one after another, whichever threads they come from.
pub struct Machine {
    config: Config,
    memory: Mutex<Memory>,
    totals: Mutex<Counters>,
    /// Held by the launch that runs: the race detector's next epoch.
    running: Mutex<u32>,
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("config", &self.config).finish_non_exhaustive()
    }
}

fn locked<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Machine {
    /// A device with nothing in its memory.
    pub fn new(config: Config) -> Machine {
        Machine {
            memory: Mutex::new(Memory::new(config.memory, config.base)),
            totals: Mutex::default(),
            running: Mutex::new(1),
            config,
        }
    }

    /// What the device is like.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Memory for `bytes` bytes, aligned to 512; None if there is not so much left.
    pub fn alloc(&self, bytes: u64) -> Option<u64> {
        locked(&self.memory).alloc(bytes)
    }

    /// Gives an allocation back; `addr` is its start.
    pub fn free(&self, addr: u64) -> Result<(), Fault> {
        locked(&self.memory).free(addr)
    }

    /// Copies from the host.
    pub fn write(&self, addr: u64, bytes: &[u8]) -> Result<(), Fault> {
        if bytes.is_empty() {
            return Ok(());
        }
        let memory = locked(&self.memory);
        let block = memory.holds(addr, bytes.len() as u64)?;
        let at = (addr - block.base) as usize;
        // SAFETY: `holds` has checked the range.
        unsafe {
            block.data.ptr().add(at).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            block.shadow.ptr().add(at).write_bytes(INIT, bytes.len());
        }
        Ok(())
    }

    /// Copies to the host, bytes that nothing has written included (they are 0).
    pub fn read(&self, addr: u64, out: &mut [u8]) -> Result<(), Fault> {
        if out.is_empty() {
            return Ok(());
        }
        let memory = locked(&self.memory);
        let block = memory.holds(addr, out.len() as u64)?;
        // SAFETY: `holds` has checked the range.
        unsafe {
            block.data.ptr().add((addr - block.base) as usize).copy_to_nonoverlapping(out.as_mut_ptr(), out.len())
        }
        Ok(())
    }

    /// The first byte of a range that nothing has written, if there is one.
    pub fn unwritten(&self, addr: u64, bytes: u64) -> Result<Option<u64>, Fault> {
        let memory = locked(&self.memory);
        let block = memory.holds(addr, bytes)?;
        let at = (addr - block.base) as usize;
        // SAFETY: `holds` has checked the range.
        let shadow = unsafe { std::slice::from_raw_parts(block.shadow.ptr().add(at), bytes as usize) };
        Ok(shadow.iter().position(|&s| s != INIT).map(|i| addr + i as u64))
    }

    /// Copies within the device; what was not written stays so. The ranges may overlap.
    pub fn copy(&self, dst: u64, src: u64, bytes: u64) -> Result<(), Fault> {
        if bytes == 0 {
            return Ok(());
        }
        let memory = locked(&self.memory);
        let (from, to) = (memory.holds(src, bytes)?, memory.holds(dst, bytes)?);
        let (s, d, n) = ((src - from.base) as usize, (dst - to.base) as usize, bytes as usize);
        // SAFETY: `holds` has checked both ranges.
        unsafe {
            from.data.ptr().add(s).copy_to(to.data.ptr().add(d), n);
            from.shadow.ptr().add(s).copy_to(to.shadow.ptr().add(d), n);
        }
        Ok(())
    }

    /// Writes `pattern` `count` times.
    pub fn fill(&self, addr: u64, pattern: &[u8], count: u64) -> Result<(), Fault> {
        let bytes = pattern.len() as u64 * count;
        if bytes == 0 {
            return Ok(());
        }
        let memory = locked(&self.memory);
        let block = memory.holds(addr, bytes)?;
        let at = (addr - block.base) as usize;
        // SAFETY: `holds` has checked the range.
        unsafe {
            let data = block.data.ptr().add(at);
            match pattern {
                [b] => data.write_bytes(*b, bytes as usize),
                _ => (0..count as usize).for_each(|i| {
                    data.add(i * pattern.len()).copy_from_nonoverlapping(pattern.as_ptr(), pattern.len())
                }),
            }
            block.shadow.ptr().add(at).write_bytes(INIT, bytes as usize);
        }
        Ok(())
    }

    /// Bytes free, and bytes in all.
    pub fn memory_info(&self) -> (u64, u64) {
        let memory = locked(&self.memory);
        (memory.free_bytes(), memory.limit())
    }

    /// How many allocations live, and their bytes.
    pub fn live(&self) -> (usize, u64) {
        locked(&self.memory).live()
    }

    /// The most bytes that were allocated at once.
    pub fn peak(&self) -> u64 {
        locked(&self.memory).peak()
    }

    /// Start and bytes of the allocation that an address lies in.
    pub fn range(&self, addr: u64) -> Option<(u64, u64)> {
        locked(&self.memory).block(addr).map(|b| (b.base, b.bytes))
    }

    /// Counts of all launches so far that went well.
    pub fn counters(&self) -> Counters {
        *locked(&self.totals)
    }

    /// Gives a module's variables their places in memory.
    pub fn load(&self, module: &Module) -> Result<Loaded, Fault> {
        let code = &module.code;
        let mut globals = vec![];
        for g in &code.globals {
            match self.alloc(g.bytes) {
                Some(addr) => globals.push(addr),
                None => {
                    globals.into_iter().for_each(|a| _ = self.free(a));
                    return Err(Fault::new(FaultKind::OutOfMemory, None, format!("variable {}", g.name)));
                }
            }
        }
        for (g, &addr) in code.globals.iter().zip(&globals) {
            let mut bytes = vec![];
            for item in &g.init {
                let value = match *item {
                    Item::Bits(b) => b,
                    Item::Address(other, plus) => globals[other as usize].wrapping_add_signed(plus),
                };
                bytes.extend_from_slice(&value.to_le_bytes()[..g.element as usize]);
            }
            bytes.resize(g.bytes as usize, 0);
            self.write(addr, &bytes)?;
        }
        Ok(Loaded { module: module.clone(), globals })
    }

    /// Gives back the memory of a module's variables.
    pub fn unload(&self, loaded: &Loaded) -> Result<(), Fault> {
        loaded.globals.iter().try_for_each(|&a| self.free(a))
    }

    /// Runs a kernel to its end. A fault leaves the machine usable, with what the kernel wrote so far.
    pub fn launch(
        &self,
        loaded: &Loaded,
        entry: &str,
        grid: [u32; 3],
        block: [u32; 3],
        dynamic_shared: u32,
        params: &[u8],
    ) -> Result<Counters, Fault> {
        let Some(e) = loaded.module.entry(entry) else {
            return Err(Fault::new(FaultKind::NoSuchEntry, None, entry));
        };
        let refuse = |detail: String| Err(Fault::new(FaultKind::BadLaunch, None, format!("{entry}: {detail}")));
        let threads: u64 = block.iter().map(|&n| n as u64).product();
        if threads == 0 || grid.contains(&0) {
            return refuse(format!("a grid of {grid:?} blocks of {block:?} threads"));
        }
        if threads > e.max_threads as u64 || block[2] > 64 {
            return refuse(format!("a block of {block:?} threads, of at most {}", e.max_threads));
        }
        if e.required.is_some_and(|r| r != block) {
            return refuse(format!("a block of {block:?} threads, not {:?}", e.required));
        }
        if grid[0] > i32::MAX as u32 || grid[1] > 65535 || grid[2] > 65535 {
            return refuse(format!("a grid of {grid:?} blocks"));
        }
        let shared = e.static_shared as u64 + dynamic_shared as u64;
        if shared > self.shared_limit() as u64 {
            return refuse(format!("{shared} bytes of shared memory, of at most {}", self.shared_limit()));
        }
        if params.len() < e.params_bytes as usize {
            return refuse(format!("{} bytes of parameters, of {}", params.len(), e.params_bytes));
        }
        let mut epoch = locked(&self.running);
        if Race::worn(*epoch) {
            locked(&self.memory).blocks().iter().for_each(|b| b.clear_cells());
            *epoch = 1;
        }
        let job = Job {
            module: &loaded.module,
            entry,
            grid,
            block,
            dynamic_shared,
            params: &params[..e.params_bytes as usize],
            globals: &loaded.globals,
            memory: &self.memory,
            detect: self.config.detect,
            seed: self.config.seed,
            epoch: *epoch,
        };
        let counters = exec::run(&job, &mut epoch)?;
        *locked(&self.totals) += counters;
        Ok(counters)
    }

    /// The most shared memory that a block can have on such a device.
    pub fn shared_limit(&self) -> u32 {
        1024 * match self.config.cc {
            (7, 5) => 64,
            (8, 0 | 7) => 163,
            (9 | 10, _) => 227,
            _ => 99,
        }
    }
}
