//! Host memory that is kept for reuse: first touch of fresh pages costs several times the write itself.

use crate::buffer::{Buffer, no_memory};
use crate::debug;
use crate::error::Result;
use crate::hash::Fast;
use std::alloc::{Layout, alloc, dealloc};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes kept for reuse at most.
const KEEP: usize = 2 << 30;

/// Bytes of a block worth huge pages: fewer page faults when it is first touched, fewer TLB misses ever after.
const HUGE: usize = 4 << 20;

#[derive(Default, Debug)]
struct Free {
    blocks: HashMap<(usize, usize), Vec<usize>, Fast>,
    kept: usize,
    live: usize,
}

/// Blocks of host memory, by size and alignment.
#[derive(Default, Debug)]
pub struct Pool(Mutex<Free>);

/// One block; goes back to its pool when dropped.
#[derive(Debug)]
pub struct Block {
    address: usize,
    layout: Layout,
    /// Bytes of it that traces count.
    counted: usize,
    pool: Arc<Pool>,
}

impl Pool {
    /// A block of at least `bytes` bytes with exactly this alignment, so that it can become a `Vec` of such elements.
    pub fn alloc(self: &Arc<Pool>, bytes: usize, align: usize) -> Result<Buffer> {
        debug::count_alloc(bytes);
        if bytes == 0 {
            // SAFETY: no byte is ever read or written.
            return Ok(unsafe { Buffer::new(align, 0, Box::new(())) });
        }
        let size = class(bytes);
        let fail = || no_memory("cpu", bytes);
        let layout = Layout::from_size_align(size, align).map_err(|_| fail())?;
        let address = self.take_or_trim(layout).ok_or_else(fail)?;
        let block = Block { address, layout, counted: bytes, pool: self.clone() };
        // SAFETY: the block is `size >= bytes` bytes and is freed only when it drops.
        Ok(unsafe { Buffer::new(address, bytes, Box::new(block)) })
    }

    /// A block for a kernel's own use, aligned to 64 bytes.
    pub fn scratch(self: &Arc<Pool>, bytes: usize) -> Result<Block> {
        let fail = || no_memory("cpu", bytes);
        let layout = Layout::from_size_align(class(bytes.max(1)), 64).map_err(|_| fail())?;
        let address = self.take_or_trim(layout).ok_or_else(fail)?;
        Ok(Block { address, layout, counted: 0, pool: self.clone() })
    }

    /// A block, if need be in place of those that are kept.
    fn take_or_trim(&self, layout: Layout) -> Option<usize> {
        self.take(layout).or_else(|| {
            self.trim();
            self.take(layout)
        })
    }

    fn take(&self, layout: Layout) -> Option<usize> {
        let mut free = self.lock();
        free.live += layout.size();
        if let Some(address) = free.blocks.get_mut(&(layout.size(), layout.align())).and_then(Vec::pop) {
            free.kept -= layout.size();
            return Some(address);
        }
        drop(free);
        // SAFETY: the size is not zero.
        let p = unsafe { alloc(layout) } as usize;
        if p == 0 {
            self.lock().live -= layout.size();
            return None;
        }
        if layout.size() >= HUGE {
            ask_for_huge_pages(p, layout.size());
        }
        Some(p)
    }

    /// Bytes in use and bytes kept.
    pub fn memory(&self) -> (usize, usize) {
        let free = self.lock();
        (free.live, free.kept)
    }

    /// Frees what is kept.
    pub fn trim(&self) {
        let mut free = self.lock();
        free.kept = 0;
        for ((size, align), addresses) in free.blocks.drain() {
            for a in addresses {
                release(a, size, align);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Free> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the system to back the whole pages of a fresh block with huge ones. It may refuse: nothing depends on it.
fn ask_for_huge_pages(address: usize, bytes: usize) {
    #[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        unsafe extern "C" {
            fn madvise(address: *mut std::ffi::c_void, bytes: usize, advice: std::ffi::c_int) -> std::ffi::c_int;
        }
        const MADV_HUGEPAGE: std::ffi::c_int = 14;
        const PAGE: usize = 64 << 10;
        let first = address.next_multiple_of(PAGE);
        let last = (address + bytes) / PAGE * PAGE;
        // SAFETY: the pages lie within a block of ours; the advice changes no contents.
        unsafe { madvise(first as *mut _, last - first, MADV_HUGEPAGE) };
    }
    #[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
    let _ = (address, bytes);
}

fn release(address: usize, size: usize, align: usize) {
    if let Ok(layout) = Layout::from_size_align(size, align) {
        // SAFETY: allocated with this very layout, and freed once: it left the pool's lists.
        unsafe { dealloc(address as *mut u8, layout) }
    }
}

/// Sizes are rounded so that arrays of about the same length share blocks; the waste is at most an eighth.
fn class(bytes: usize) -> usize {
    let step = (bytes.next_power_of_two() / 16).clamp(64, 1 << 20);
    bytes.div_ceil(step) * step
}

impl Block {
    /// Where it is.
    pub fn address(&self) -> usize {
        self.address
    }

    /// The block as an owned vector of `len` elements, which frees it as its own.
    ///
    /// # Safety
    /// The first `len` elements are initialised values of `T`.
    pub unsafe fn into_vec<T>(self, len: usize) -> Result<Vec<T>, Block> {
        let size = size_of::<T>();
        if self.layout.align() != align_of::<T>() || size == 0 || !self.layout.size().is_multiple_of(size) {
            return Err(self);
        }
        let mut free = self.pool.lock();
        free.live -= self.layout.size();
        drop(free);
        let (address, bytes) = (self.address, self.layout.size());
        let mut block = std::mem::ManuallyDrop::new(self);
        // SAFETY: `block` is not dropped; its pool reference is released here, once.
        unsafe { std::ptr::drop_in_place(&mut block.pool) };
        // SAFETY: allocated by the global allocator with T's alignment and `bytes` bytes; initialised by the caller's word.
        Ok(unsafe { Vec::from_raw_parts(address as *mut T, len, bytes / size) })
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        debug::count_free(self.counted);
        let (size, align) = (self.layout.size(), self.layout.align());
        let mut free = self.pool.lock();
        free.live -= size;
        if free.kept + size <= KEEP {
            free.kept += size;
            free.blocks.entry((size, align)).or_default().push(self.address);
        } else {
            drop(free);
            release(self.address, size, align);
        }
    }
}
