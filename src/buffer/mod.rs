//! A reference-counted piece of memory on one device. What it is and who frees it is the owner's business.

mod pool;

pub use pool::{Block, Pool};

use crate::error::Error;
use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The error of host memory that is not there.
pub fn no_memory(device: &str, bytes: usize) -> Error {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let free =
        text.lines().find_map(|l| l.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let detail = free.map_or_else(String::new, |kb| format!(", {} bytes free", kb << 10));
    Error::OutOfMemory { device: device.into(), requested: bytes, detail }
}

/// Memory on a device: an address, a length and the owner that frees it when the last reference goes.
#[derive(Clone)]
pub struct Buffer(Arc<Inner>);

struct Inner {
    address: usize,
    bytes: usize,
    /// Whether code outside this crate knows the address.
    shared: AtomicBool,
    owner: Box<dyn Any + Send + Sync>,
}

impl Buffer {
    /// Memory at `address`, freed by dropping `owner`.
    ///
    /// # Safety
    /// `address` is valid for `bytes` bytes, for reads and writes (reads alone where the owner is foreign), until `owner` is dropped.
    pub unsafe fn new(address: usize, bytes: usize, owner: Box<dyn Any + Send + Sync>) -> Buffer {
        Buffer(Arc::new(Inner { address, bytes, shared: false.into(), owner }))
    }

    /// The address of the first byte, in the memory of the buffer's device.
    pub fn address(&self) -> usize {
        self.0.address
    }

    /// Length in bytes.
    pub fn bytes(&self) -> usize {
        self.0.bytes
    }

    /// Notes that code outside this crate knows the address: no result is ever written over the memory.
    pub fn share(&self) {
        self.0.shared.store(true, Ordering::Relaxed);
    }

    /// Whether code outside this crate knows the address.
    pub fn is_shared(&self) -> bool {
        self.0.shared.load(Ordering::Relaxed)
    }

    /// How many handles there are.
    pub fn references(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// The owner, where this is the only reference; else the buffer again.
    pub fn into_owner(self) -> Result<Box<dyn Any + Send + Sync>, Buffer> {
        match Arc::try_unwrap(self.0) {
            Ok(inner) => Ok(inner.owner),
            Err(arc) => Err(Buffer(arc)),
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({:#x}, {} bytes)", self.0.address, self.0.bytes)
    }
}
