//! Device memory in the stream's order: the driver's memory pool where it has one, else blocks kept here for reuse.
//!
//! All work runs on one stream, so a block freed after a launch was queued may be handed out at once: who gets it comes later on the stream.

use super::gpu::Gpu;
use crate::buffer::Buffer;
use crate::debug;
use crate::error::{Error, Result};
use crate::hash::Fast;
use cudarc::driver::sys::{self, CUmemPool_attribute_enum as Attribute, CUresult};
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Alignment of all memory the driver gives, and the address of what has no bytes.
const ALIGN: usize = 256;

#[derive(Debug)]
struct Free {
    /// Blocks kept, by size; only without a pool of the driver's.
    blocks: HashMap<usize, Vec<u64>, Fast>,
    /// Memory that the driver's pool did not take back: it is asked again when memory is given back.
    refused: Vec<u64>,
    kept: usize,
    live: usize,
    limit: usize,
}

/// The memory of one GPU.
#[derive(Debug)]
pub struct Pool {
    gpu: Arc<Gpu>,
    /// The driver's pool.
    driver: Option<sys::CUmemoryPool>,
    free: Mutex<Free>,
    /// Held while what is kept goes back, and until who needed that has its memory: another that finds the lists empty meanwhile waits.
    giving_back: Mutex<()>,
}

// SAFETY: the driver's pool is a handle that any thread may use.
unsafe impl Send for Pool {}
// SAFETY: as above; the rest is behind a lock.
unsafe impl Sync for Pool {}

/// Memory in use; goes back when dropped, on any thread.
#[derive(Debug)]
pub struct Block {
    address: u64,
    size: usize,
    /// Bytes of it that traces count.
    counted: usize,
    pool: Arc<Pool>,
}

impl Pool {
    /// A pool on a GPU.
    pub fn new(gpu: Arc<Gpu>) -> Result<Pool> {
        gpu.bind()?;
        let driver = if gpu.pools { Some(driver_pool(&gpu)?) } else { None };
        let free = Free { blocks: HashMap::default(), refused: vec![], kept: 0, live: 0, limit: usize::MAX };
        Ok(Pool { gpu, driver, free: Mutex::new(free), giving_back: Mutex::default() })
    }

    /// Memory for an array.
    pub fn alloc(self: &Arc<Pool>, bytes: usize) -> Result<Buffer> {
        debug::count_alloc(bytes);
        if bytes == 0 {
            // SAFETY: no byte is ever read or written.
            return Ok(unsafe { Buffer::new(ALIGN, 0, Box::new(())) });
        }
        let mut block = self.scratch(bytes)?;
        block.counted = bytes;
        // SAFETY: the block is at least that long and is freed only when it drops.
        Ok(unsafe { Buffer::new(block.address as usize, bytes, Box::new(block)) })
    }

    /// Memory for a kernel's own use.
    pub fn scratch(self: &Arc<Pool>, bytes: usize) -> Result<Block> {
        let size = self.class(bytes.max(1));
        let address = self.take(size, bytes)?;
        Ok(Block { address, size, counted: 0, pool: self.clone() })
    }

    /// The GPU.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// Bytes in use and bytes kept.
    pub fn memory(&self) -> (usize, usize) {
        let (live, kept) = {
            let free = self.lock();
            (free.live, free.kept)
        };
        let Some(pool) = self.driver.filter(|_| self.gpu.bind().is_ok()) else { return (live, kept) };
        let read = |which| {
            let mut value = 0u64;
            // SAFETY: these attributes are of 64 bits.
            let status = unsafe { sys::cuMemPoolGetAttribute(pool, which, (&raw mut value).cast::<c_void>()) };
            if status == CUresult::CUDA_SUCCESS { value as usize } else { 0 }
        };
        let reserved = read(Attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT);
        (live, reserved.saturating_sub(read(Attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT)))
    }

    /// Arrays may take this many bytes at most.
    pub fn limit(&self, bytes: usize) {
        self.lock().limit = bytes;
    }

    /// Gives what is kept back to the device, once the stream is past it.
    pub fn trim(&self) -> Result<()> {
        let _alone = self.giving_back();
        self.give_back()
    }

    fn giving_back(&self) -> MutexGuard<'_, ()> {
        self.giving_back.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self) -> Result<()> {
        if let Some(pool) = self.driver {
            let refused = std::mem::take(&mut self.lock().refused);
            let again: Vec<u64> = refused.into_iter().filter(|&address| !self.free_async(address)).collect();
            self.lock().refused.extend(again);
            self.gpu.synchronize()?;
            // SAFETY: the device's own pool.
            return self.gpu.check("cuMemPoolTrimTo", unsafe { sys::cuMemPoolTrimTo(pool, 0) });
        }
        // Out of the lists first: what comes back meanwhile may be in use until the stream is past it.
        let mut blocks = {
            let mut free = self.lock();
            free.kept = 0;
            std::mem::take(&mut free.blocks)
        };
        let freed = self.gpu.synchronize().and_then(|()| {
            for of in blocks.values_mut() {
                while let Some(&address) = of.last() {
                    // SAFETY: it left the lists, so it is freed once, and nothing on the stream uses it.
                    self.gpu.check("cuMemFree", unsafe { sys::cuMemFree_v2(address) })?;
                    of.pop();
                }
            }
            Ok(())
        });
        // Where that failed, the rest is still ours to hand out.
        let mut free = self.lock();
        for (size, rest) in blocks.into_iter().filter(|of| !of.1.is_empty()) {
            free.kept += size * rest.len();
            free.blocks.entry(size).or_default().extend(rest);
        }
        freed
    }

    fn take(&self, size: usize, requested: usize) -> Result<u64> {
        {
            let mut free = self.lock();
            if free.live.saturating_add(size) > free.limit {
                let detail = format!(", {} in use of the limit of {} bytes", free.live, free.limit);
                return Err(Error::OutOfMemory { device: self.gpu.title(), requested, detail });
            }
            free.live += size;
        }
        // Another thread may have freed a block of this size since the last attempt.
        let attempt = || self.reuse(size).map_or_else(|| self.fresh(size), |address| Ok(Some(address)));
        self.making_room(requested, "", attempt).inspect_err(|_| self.lock().live -= size)
    }

    /// A block that is kept.
    fn reuse(&self, size: usize) -> Option<u64> {
        let mut free = self.lock();
        let address = free.blocks.get_mut(&size).and_then(Vec::pop)?;
        free.kept -= size;
        Some(address)
    }

    /// What an attempt gives that finds no device memory, if need be after what is kept went back to the device. `requested` bytes `what_for`
    /// are what the error tells. An attempt must not call this or [`Pool::trim`].
    pub fn making_room<T>(
        &self,
        requested: usize,
        what_for: &str,
        attempt: impl Fn() -> Result<Option<T>>,
    ) -> Result<T> {
        if let Some(done) = attempt()? {
            return Ok(done);
        }
        let _alone = self.giving_back();
        loop {
            self.give_back()?;
            if let Some(done) = attempt()? {
                return Ok(done);
            }
            // Another thread may free blocks and take new ones between the two.
            if self.lock().kept == 0 {
                break;
            }
        }
        let free = match self.gpu.free_memory() {
            Ok((free, total)) => format!(", {free} bytes free of {total}"),
            Err(_) => String::new(),
        };
        Err(Error::OutOfMemory { device: self.gpu.title(), requested, detail: format!("{what_for}{free}") })
    }

    /// New memory from the driver; none where it has no more.
    fn fresh(&self, size: usize) -> Result<Option<u64>> {
        self.gpu.bind()?;
        let mut address = 0;
        let (call, status) = match self.driver {
            // SAFETY: the out pointer is valid; the stream is the GPU's.
            Some(_) => unsafe { ("cuMemAllocAsync", sys::cuMemAllocAsync(&mut address, size, self.gpu.cu_stream())) },
            // SAFETY: the out pointer is valid.
            None => unsafe { ("cuMemAlloc", sys::cuMemAlloc_v2(&mut address, size)) },
        };
        match status {
            CUresult::CUDA_ERROR_OUT_OF_MEMORY => Ok(None),
            status => self.gpu.check(call, status).map(|()| Some(address)),
        }
    }

    /// Gives memory back to the driver's pool, in the stream's order; whether that took it.
    fn free_async(&self, address: u64) -> bool {
        // SAFETY: from cuMemAllocAsync; its owner is gone, and what it was queued with comes before.
        self.gpu.bind().is_ok()
            && unsafe { sys::cuMemFreeAsync(address, self.gpu.cu_stream()) } == CUresult::CUDA_SUCCESS
    }

    /// Sizes are rounded where blocks are kept here, so that arrays of about the same length share them.
    fn class(&self, bytes: usize) -> usize {
        let step = match self.driver {
            Some(_) => ALIGN,
            None => (bytes.checked_next_power_of_two().unwrap_or(bytes) / 16).clamp(ALIGN, 2 << 20),
        };
        bytes.div_ceil(step).saturating_mul(step)
    }

    fn lock(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The device's own pool, told to keep what is freed.
fn driver_pool(gpu: &Gpu) -> Result<sys::CUmemoryPool> {
    let mut pool = std::ptr::null_mut();
    // SAFETY: the out pointer is valid.
    let status = unsafe { sys::cuDeviceGetDefaultMemPool(&mut pool, gpu.context.cu_device()) };
    gpu.check("cuDeviceGetDefaultMemPool", status)?;
    let mut keep = u64::MAX;
    let which = Attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: this attribute is of 64 bits.
    let status = unsafe { sys::cuMemPoolSetAttribute(pool, which, (&raw mut keep).cast::<c_void>()) };
    gpu.check("cuMemPoolSetAttribute", status)?;
    Ok(pool)
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.driver.is_none() {
            // Nothing can be told of a failure here.
            let _ = self.trim();
        }
    }
}

impl Block {
    /// Where it is.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// How long it is at least.
    pub fn bytes(&self) -> usize {
        self.size
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        debug::count_free(self.counted);
        let pool = &self.pool;
        // What else a failure means, the next call on the stream tells.
        let refused = pool.driver.is_some() && !pool.free_async(self.address);
        let mut free = pool.lock();
        free.live -= self.size;
        if refused {
            free.refused.push(self.address);
        }
        if pool.driver.is_none() {
            free.kept += self.size;
            free.blocks.entry(self.size).or_default().push(self.address);
        }
    }
}
