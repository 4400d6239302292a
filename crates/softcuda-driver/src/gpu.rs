//! A device: the machine that stands for it, and what its findings are called in the driver's API.

use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use softcuda::{Counters, Fault, FaultKind, Loaded, Machine, Module};

use crate::abi::{Host, lock};
use crate::attributes::SHARED_PER_BLOCK;
use crate::code::{Code, Outcome};
use crate::config::Config;
use crate::launch::Launch;
use crate::stream::DeviceFn;

/// A device.
pub struct Gpu {
    pub ordinal: usize,
    pub name: String,
    machine: Machine,
    peak: AtomicU64,
}

/// The last finding, in full.
static LAST_FAULT: Mutex<String> = Mutex::new(String::new());

/// What a C function of another library gets, to work on device memory in stream order.
#[repr(C)]
pub struct Access {
    gpu: *const Gpu,
    read: extern "C" fn(&Gpu, u64, *mut c_void, usize) -> i32,
    write: extern "C" fn(&Gpu, u64, *mut c_void, usize) -> i32,
}

extern "C" fn read(gpu: &Gpu, from: u64, to: *mut c_void, len: usize) -> i32 {
    match gpu.written(from, len).and_then(|()| gpu.read(from, len)) {
        Ok(bytes) => {
            Host(to).write(&bytes);
            0
        }
        Err(code) => code.0,
    }
}

extern "C" fn write(gpu: &Gpu, to: u64, from: *mut c_void, len: usize) -> i32 {
    gpu.write(to, &Host(from).read(len)).map_or_else(|code| code.0, |()| 0)
}

/// Tells a person about a finding, and the program by its code.
fn report(fault: &Fault) -> Code {
    let text = format!("softcuda: {fault}");
    eprintln!("{text}");
    *lock(&LAST_FAULT) = text;
    match fault.kind {
        FaultKind::OutOfBounds | FaultKind::UseAfterFree => Code::ILLEGAL_ADDRESS,
        FaultKind::Misaligned => Code::MISALIGNED_ADDRESS,
        FaultKind::Timeout => Code::LAUNCH_TIMEOUT,
        FaultKind::BadLaunch => Code::LAUNCH_OUT_OF_RESOURCES,
        FaultKind::OutOfMemory => Code::OUT_OF_MEMORY,
        FaultKind::DoubleFree | FaultKind::NotAllocated => Code::INVALID_VALUE,
        // Hardware runs on through uninitialised reads and races; it has no code for them.
        _ => Code::LAUNCH_FAILED,
    }
}

/// Copies between places of one device, or of two.
pub fn copy(to: &(Arc<Gpu>, u64), from: &(Arc<Gpu>, u64), len: usize) -> Outcome {
    if Arc::ptr_eq(&to.0, &from.0) {
        return to.0.machine.copy(to.1, from.1, len as u64).map_err(|f| report(&f));
    }
    to.0.write(to.1, &from.0.read(from.1, len)?)
}

impl Gpu {
    /// A device with nothing in its memory.
    pub fn new(ordinal: usize, config: &Config) -> Gpu {
        let cc = config.cc;
        let machine = Machine::new(softcuda::Config {
            cc,
            memory: config.memory,
            seed: config.seed,
            // No address means something on two devices.
            base: 0x7000_0000_0000 + ((ordinal as u64) << 40),
            detect: config.detect,
        });
        let name = format!("softcuda sm_{}{}", cc.0, cc.1);
        Gpu { ordinal, name, machine, peak: AtomicU64::new(0) }
    }

    /// A name for the device that no other of this process has.
    pub fn uuid(&self) -> [u8; 16] {
        let mut uuid = *b"ndcuda-softcuda\0";
        uuid[15] = self.ordinal as u8;
        uuid
    }

    /// Its place on the bus.
    pub fn pci(&self) -> String {
        format!("0000:{:02x}:00.0", self.ordinal + 1)
    }

    /// Bytes of its memory.
    pub fn total(&self) -> u64 {
        self.machine.memory_info().1
    }

    /// Bytes free, and in all.
    pub fn memory_info(&self) -> (u64, u64) {
        self.machine.memory_info()
    }

    /// Allocations and bytes that are alive, and the peak.
    pub fn live(&self) -> (u64, u64, u64) {
        let (count, bytes) = self.machine.live();
        (count as u64, bytes, self.peak.load(SeqCst))
    }

    /// The peak starts from what is in use.
    pub fn reset_peak(&self) {
        self.peak.store(self.used(), SeqCst);
    }

    fn used(&self) -> u64 {
        let (free, total) = self.machine.memory_info();
        total - free
    }

    /// Memory, if there is so much.
    pub fn alloc(&self, bytes: u64) -> Option<u64> {
        let address = self.machine.alloc(bytes)?;
        self.peak.fetch_max(self.used(), SeqCst);
        Some(address)
    }

    /// Gives memory back; the driver has checked that it is an allocation.
    pub fn free(&self, address: u64) {
        if let Err(fault) = self.machine.free(address) {
            report(&fault);
        }
    }

    /// Bytes from the device.
    pub fn read(&self, from: u64, len: usize) -> Result<Vec<u8>, Code> {
        let mut bytes = vec![0; len];
        self.machine.read(from, &mut bytes).map_err(|f| report(&f))?;
        Ok(bytes)
    }

    /// Fails where a byte of a range was never written: copies may take such bytes along, calculations may not.
    fn written(&self, from: u64, len: usize) -> Outcome {
        let Some(address) = self.machine.unwritten(from, len as u64).map_err(|f| report(&f))? else { return Ok(()) };
        let detail = format!("an operand of {len} bytes at {from:#x}");
        Err(report(&Fault { kind: FaultKind::Uninitialised, address: Some(address), detail, place: None }))
    }

    /// Bytes to the device.
    pub fn write(&self, to: u64, bytes: &[u8]) -> Outcome {
        self.machine.write(to, bytes).map_err(|f| report(&f))
    }

    /// Fills with a pattern, `count` times.
    pub fn fill(&self, to: u64, pattern: &[u8], count: usize) -> Outcome {
        self.machine.fill(to, pattern, count as u64).map_err(|f| report(&f))
    }

    /// Parses PTX and gives its variables their places.
    pub fn load(&self, text: &str) -> Result<Loaded, (Code, String)> {
        let module = Module::parse(text).map_err(|e| (Code::INVALID_PTX, e.to_string()))?;
        if let Some(e) = module.entries().find(|e| e.static_shared > SHARED_PER_BLOCK) {
            let message = format!("{} has {} bytes of shared memory, of 48 KiB at most", e.name, e.static_shared);
            return Err((Code::INVALID_PTX, message));
        }
        self.machine.load(&module).map_err(|f| (report(&f), f.to_string()))
    }

    /// Gives back a module's variables.
    pub fn unload(&self, loaded: &Loaded) {
        if let Err(fault) = self.machine.unload(loaded) {
            report(&fault);
        }
    }

    /// Runs a kernel.
    pub fn launch(&self, loaded: &Loaded, launch: &Launch) -> Result<Counters, Code> {
        let Launch { function, grid, block, dynamic, params } = launch;
        let outcome = self.machine.launch(loaded, &function.entry.name, *grid, *block, *dynamic, params);
        outcome.map_err(|f| report(&f))
    }

    /// Lets another library's function work on the memory.
    pub fn lend(&self, function: DeviceFn, data: Host) -> Outcome {
        let access = Access { gpu: self, read, write };
        crate::abi::code(function(&access, data.0))
    }
}

/// Writes the last finding and its NUL into a buffer, cut to fit; its whole length in bytes, 0 where there was none.
#[unsafe(no_mangle)]
pub extern "C" fn softcuda_last_fault(buffer: Host, len: usize) -> usize {
    let text = lock(&LAST_FAULT);
    crate::abi::put_text(&text, buffer, len);
    text.len()
}
