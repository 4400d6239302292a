//! One simulated device: its memory, and launches on it.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::counters::Counters;
use crate::fault::{Fault, FaultKind};
use crate::memory::{INIT, Memory};
use crate::module::Module;

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
    /// Orders warps and blocks.
    pub seed: u64,
    /// Detectors. Bounds and barriers are always checked.
    pub detect: Detect,
}

impl Default for Config {
    fn default() -> Config {
        Config { cc: (8, 0), memory: 8 << 30, seed: 0, detect: Detect::default() }
    }
}

/// A module whose variables have their places in a machine's memory.
#[derive(Clone, Debug)]
pub struct Loaded {
    module: Module,
}

impl Loaded {
    /// The module.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// Where a variable lies, and its size.
    pub fn variable(&self, _name: &str) -> Option<(u64, u64)> {
        None
    }
}

/// One simulated device. Launches on it run one after another, whichever threads they come from.
pub struct Machine {
    config: Config,
    memory: Mutex<Memory>,
    totals: Mutex<Counters>,
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
        Machine { memory: Mutex::new(Memory::new(config.memory)), totals: Mutex::default(), config }
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
        Ok(Loaded { module: module.clone() })
    }

    /// Gives back the memory of a module's variables.
    pub fn unload(&self, _loaded: Loaded) {}

    /// Runs a kernel to its end. A fault leaves the machine usable, with what the kernel wrote so far.
    pub fn launch(
        &self,
        loaded: &Loaded,
        entry: &str,
        _grid: [u32; 3],
        _block: [u32; 3],
        _dynamic_shared: u32,
        _params: &[u8],
    ) -> Result<Counters, Fault> {
        if loaded.module.entry(entry).is_none() {
            return Err(Fault::new(FaultKind::NoSuchEntry, None, entry));
        }
        Err(Fault::new(FaultKind::BadLaunch, None, "the executor is not there yet"))
    }
}
