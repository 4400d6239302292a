//! What was done: counters for each thread, a log of launches, and what is alive. Tests read them by `softcuda_*` functions.

use std::ffi::c_char;
use std::sync::{Arc, Mutex};

pub use softcuda::Counters as KernelCounters;

use crate::abi::{Host, In, Out, lock};
use crate::config;
use crate::driver::{current, driver, tables};
use crate::launch::Launch;
use crate::stream::{DeviceFn, Work, stream_here, submit};

/// What a thread asked of the driver, and what its kernels did.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Counters {
    /// Kernels given to a stream.
    pub launches: u64,
    /// Modules loaded.
    pub modules: u64,
    /// Allocations of device memory.
    pub allocations: u64,
    /// Bytes of them.
    pub allocated_bytes: u64,
    /// Allocations given back.
    pub frees: u64,
    /// Copies from the host.
    pub uploads: u64,
    /// Bytes of them.
    pub upload_bytes: u64,
    /// Copies to the host.
    pub downloads: u64,
    /// Bytes of them.
    pub download_bytes: u64,
    /// Copies on the device, or between devices.
    pub copies: u64,
    /// Bytes of them.
    pub copy_bytes: u64,
    /// Fills.
    pub fills: u64,
    /// Bytes of them.
    pub fill_bytes: u64,
    /// What the kernels did that have run.
    pub kernel: KernelCounters,
}

/// One launch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct LaunchRecord {
    name: [u8; 128],
    worst: [u8; 128],
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: [u32; 3],
    /// Bytes of dynamic shared memory.
    pub dynamic_shared: u32,
    /// What it did.
    pub counters: KernelCounters,
}

impl Default for LaunchRecord {
    fn default() -> Self {
        let counters = KernelCounters::default();
        LaunchRecord { name: [0; 128], worst: [0; 128], grid: [0; 3], block: [0; 3], dynamic_shared: 0, counters }
    }
}

impl LaunchRecord {
    /// The kernel's name, cut after 127 bytes.
    pub fn name(&self) -> String {
        text(&self.name)
    }

    /// The instruction that had the most bank conflicts, cut as the name; empty where there were none.
    pub fn worst_instruction(&self) -> String {
        text(&self.worst)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|&b| b == 0).next().unwrap_or_default()).into_owned()
}

fn put(text: &str, place: &mut [u8]) {
    let kept = text.len().min(place.len() - 1);
    place[..kept].copy_from_slice(&text.as_bytes()[..kept]);
}

/// What is alive in the process.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Live {
    /// Allocations of device memory, variables of modules included.
    pub allocations: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// The most bytes that were in use at once, rounded up to whole pages of 512.
    pub peak_bytes: u64,
    /// Modules.
    pub modules: u64,
    /// Streams that were created.
    pub streams: u64,
    /// Events.
    pub events: u64,
    /// Pieces of page-locked host memory.
    pub pinned: u64,
    /// Contexts.
    pub contexts: u64,
}

/// The books of a thread.
#[derive(Default)]
pub struct Account(Mutex<Book>);

#[derive(Default)]
struct Book {
    counters: Counters,
    recording: bool,
    launches: Vec<LaunchRecord>,
}

thread_local! {
    static ACCOUNT: Arc<Account> = Arc::default();
}

/// The calling thread's books.
pub fn account() -> Arc<Account> {
    ACCOUNT.with(Arc::clone)
}

/// Counts something for the calling thread.
pub fn count(change: impl FnOnce(&mut Counters)) {
    ACCOUNT.with(|a| change(&mut lock(&a.0).counters));
}

impl Account {
    /// A kernel of this thread has run.
    pub fn launched(&self, launch: &Launch, counters: &KernelCounters) {
        let mut book = lock(&self.0);
        book.counters.kernel += *counters;
        if book.recording {
            let mut record = LaunchRecord { grid: launch.grid, block: launch.block, ..LaunchRecord::default() };
            put(&launch.function.entry.name, &mut record.name);
            put(launch.function.image.program.module().line(counters.worst_line as u32), &mut record.worst);
            record.dynamic_shared = launch.dynamic;
            record.counters = *counters;
            book.launches.push(record);
        }
    }
}

/// Sets a variable before `cuInit`; 1 where that is too late.
#[unsafe(no_mangle)]
pub extern "C" fn softcuda_configure(key: In<c_char>, value: In<c_char>) -> i32 {
    match (driver(), key.text(), value.text()) {
        (Err(_), Ok(key), Ok(value)) => {
            config::set(key, value);
            0
        }
        _ => 1,
    }
}

/// The calling thread's counters.
#[unsafe(no_mangle)]
pub extern "C" fn softcuda_counters(out: Out<Counters>) {
    out.set_if_wanted(lock(&account().0).counters);
}

/// Sets the calling thread's counters to zero and forgets its launches.
#[unsafe(no_mangle)]
pub extern "C" fn softcuda_reset() {
    let account = account();
    let mut book = lock(&account.0);
    *book = Book { recording: book.recording, ..Book::default() };
}

/// Keeps the calling thread's launches from now on, or no longer.
#[unsafe(no_mangle)]
pub extern "C" fn softcuda_record(on: i32) {
    let account = account();
    let mut book = lock(&account.0);
    book.recording = on != 0;
    book.launches.clear();
}

/// How many launches are kept.
#[unsafe(no_mangle)]
pub extern "C" fn softcuda_launch_count() -> u64 {
    lock(&account().0).launches.len() as u64
}

/// A kept launch; 1 where there is none.
#[unsafe(no_mangle)]
pub extern "C" fn softcuda_launch_at(index: u64, out: Out<LaunchRecord>) -> i32 {
    match lock(&account().0).launches.get(index as usize) {
        Some(record) => {
            out.set_if_wanted(*record);
            0
        }
        None => 1,
    }
}

/// What is alive in the process.
#[unsafe(no_mangle)]
pub extern "C" fn softcuda_live(out: Out<Live>) {
    let mut live = Live::default();
    if let (Ok(driver), Ok(tables)) = (driver(), tables()) {
        for gpu in &driver.gpus {
            let (allocations, bytes, peak) = gpu.live();
            live.allocations += allocations;
            live.bytes += bytes;
            live.peak_bytes += peak;
        }
        live.modules = tables.modules.len() as u64;
        live.streams = tables.streams.len() as u64;
        live.events = tables.events.len() as u64;
        live.pinned = tables.pinned.len() as u64;
        live.contexts = tables.contexts.len() as u64;
    }
    out.set_if_wanted(live);
}

/// The peak of every device starts from what is in use.
#[unsafe(no_mangle)]
pub extern "C" fn softcuda_reset_peak() {
    if let Ok(driver) = driver() {
        driver.gpus.iter().for_each(|g| g.reset_peak());
    }
}

/// For the cuBLAS stand-in: gives a stream a function that works on device memory. Where this gives 0 the function is called once and
/// frees its data; it gets no access if the context has failed by then.
#[unsafe(no_mangle)]
pub extern "C" fn softcuda_device_op(stream: usize, function: DeviceFn, data: Host) -> i32 {
    crate::abi::status("softcuda_device_op", || {
        let (context, stream) = stream_here(stream)?;
        submit(&stream, &context, Work::Device { function, data }).map(|_| ())
    })
}

/// For the cuBLAS stand-in: the handle of the current context; 0 where there is none that works.
#[unsafe(no_mangle)]
pub extern "C" fn softcuda_current() -> usize {
    current().map_or(0, |c| c.handle)
}
