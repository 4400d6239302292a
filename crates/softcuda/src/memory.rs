//! Global memory: allocations with guard gaps, never reused addresses, and a shadow byte per byte that says what was written.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};

use crate::fault::{Fault, FaultKind};
use crate::race::Cell;

/// Where device addresses begin: no host pointer of a user's process lies there by chance.
pub(crate) const BASE: u64 = 0x7000_0000_0000;
/// Addresses after an allocation that belong to none.
const GUARD: u64 = 1 << 20;
/// Every allocation's alignment.
const ALIGN: u64 = 512;
/// From so many bytes on memory is a mapping of its own.
const MAPPED: usize = 1 << 20;
/// The shadow of a byte that was written.
pub(crate) const INIT: u8 = 2;

/// Zeroed memory that costs nothing until it is touched.
#[derive(Debug)]
pub(crate) struct Pages {
    at: NonNull<u8>,
    layout: Layout,
    /// A mapping of its own, for which the system puts no memory aside: there may be more of it than the machine has.
    mapped: bool,
}

// SAFETY: a plain block of memory, owned; who may read and write it when is its users' affair (they use raw pointers).
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Pages {
    pub fn new(bytes: usize) -> Option<Pages> {
        // A greater alignment than this is met by writing zeros, which touches every page.
        let layout = Layout::from_size_align(bytes.max(1), 16).ok()?;
        if bytes >= MAPPED
            && let Some(at) = map::new(bytes)
        {
            return Some(Pages { at, layout, mapped: true });
        }
        // SAFETY: the size is not 0.
        let at = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Pages { at, layout, mapped: false })
    }

    /// Sets all of it to zero. Nobody may use it meanwhile.
    fn clear(&self) {
        // SAFETY: the whole of it, which is mapped if it says so.
        unsafe {
            if !self.mapped || !map::clear(self.at, self.layout.size()) {
                self.at.as_ptr().write_bytes(0, self.layout.size());
            }
        }
    }

    pub fn ptr(&self) -> *mut u8 {
        self.at.as_ptr()
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: mapped with this size, or allocated with this layout.
        unsafe {
            match self.mapped {
                true => map::free(self.at, self.layout.size()),
                false => dealloc(self.at.as_ptr(), self.layout),
            }
        }
    }
}

/// Mappings of the system's.
#[cfg(target_os = "linux")]
mod map {
    use std::ffi::{c_int, c_void};
    use std::ptr::{NonNull, null_mut};

    unsafe extern "C" {
        fn mmap(at: *mut c_void, bytes: usize, access: c_int, flags: c_int, file: c_int, from: i64) -> *mut c_void;
        fn munmap(at: *mut c_void, bytes: usize) -> c_int;
        fn madvise(at: *mut c_void, bytes: usize, advice: c_int) -> c_int;
    }

    const READ_WRITE: c_int = 3;
    /// `MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE`.
    const FLAGS: c_int = 0x02 | 0x20 | 0x4000;
    const DONTNEED: c_int = 4;

    /// A mapping of zeros, if there is room for it among the addresses.
    pub fn new(bytes: usize) -> Option<NonNull<u8>> {
        // SAFETY: at no fixed address and of no file.
        let at = unsafe { mmap(null_mut(), bytes, READ_WRITE, FLAGS, -1, 0) };
        // It fails with -1.
        NonNull::new(at.cast()).filter(|_| at as isize != -1)
    }

    /// Gives it back.
    ///
    /// # Safety
    /// From `new` with so many bytes; nobody uses it any more.
    pub unsafe fn free(at: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's.
        unsafe { munmap(at.as_ptr().cast(), bytes) };
    }

    /// Makes it zeros again; whether that was possible.
    ///
    /// # Safety
    /// From `new` with so many bytes; nobody uses it meanwhile.
    pub unsafe fn clear(at: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the caller's. Private pages without a file are zeros when they are touched again.
        unsafe { madvise(at.as_ptr().cast(), bytes, DONTNEED) == 0 }
    }
}

/// Elsewhere memory is allocated.
#[cfg(not(target_os = "linux"))]
mod map {
    use std::ptr::NonNull;

    pub fn new(_: usize) -> Option<NonNull<u8>> {
        None
    }

    pub unsafe fn free(_: NonNull<u8>, _: usize) {}

    pub unsafe fn clear(_: NonNull<u8>, _: usize) -> bool {
        false
    }
}

/// One allocation.
#[derive(Debug)]
pub(crate) struct Block {
    pub base: u64,
    pub bytes: u64,
    pub data: Pages,
    /// [`INIT`] where a byte was written.
    pub shadow: Pages,
    /// The race detector's cells: of a byte, and of four.
    cells: [OnceLock<Option<Pages>>; 2],
}

impl Block {
    pub fn end(&self) -> u64 {
        self.base + self.bytes
    }

    /// The race detector's cells of 1 or 4 bytes (a shift of 0 or 2), null if there is no memory for them.
    pub fn cells(&self, shift: u32) -> *mut Cell {
        let make = || Pages::new(((self.bytes as usize >> shift) + 1).checked_mul(size_of::<Cell>())?);
        let pages = self.cells[(shift != 0) as usize].get_or_init(make);
        pages.as_ref().map_or(std::ptr::null_mut(), |p| p.ptr().cast())
    }

    /// Forgets who touched what.
    pub fn clear_cells(&self) {
        // No launch runs.
        self.cells.iter().filter_map(|c| c.get()?.as_ref()).for_each(Pages::clear);
    }
}

/// What is allocated.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: u64,
    next: u64,
    used: u64,
    peak: u64,
    live: BTreeMap<u64, Arc<Block>>,
    /// Start and size of what was freed.
    freed: BTreeMap<u64, u64>,
}

impl Memory {
    pub fn new(limit: u64, base: u64) -> Memory {
        Memory { limit, next: base, used: 0, peak: 0, live: BTreeMap::new(), freed: BTreeMap::new() }
    }

    pub fn alloc(&mut self, bytes: u64) -> Option<u64> {
        let size = bytes.max(1).checked_next_multiple_of(ALIGN)?;
        if size > self.limit - self.used {
            return None;
        }
        let pages = |n: u64| Pages::new(usize::try_from(n).ok()?);
        let block =
            Block { base: self.next, bytes, data: pages(bytes)?, shadow: pages(bytes)?, cells: Default::default() };
        let base = self.next;
        self.next += size + GUARD;
        self.used += size;
        self.peak = self.peak.max(self.used);
        self.live.insert(base, Arc::new(block));
        Some(base)
    }

    pub fn free(&mut self, addr: u64) -> Result<(), Fault> {
        match self.live.remove(&addr) {
            Some(block) => {
                self.used -= block.bytes.max(1).next_multiple_of(ALIGN);
                self.freed.insert(addr, block.bytes);
                Ok(())
            }
            None if self.freed.contains_key(&addr) => Err(Fault::new(FaultKind::DoubleFree, Some(addr), "")),
            None => Err(Fault::new(FaultKind::NotAllocated, Some(addr), self.describe(addr))),
        }
    }

    pub fn free_bytes(&self) -> u64 {
        self.limit - self.used
    }

    pub fn limit(&self) -> u64 {
        self.limit
    }

    pub fn peak(&self) -> u64 {
        self.peak
    }

    /// How many allocations there are, and their bytes.
    pub fn live(&self) -> (usize, u64) {
        (self.live.len(), self.live.values().map(|b| b.bytes).sum())
    }

    /// The allocation an address lies in, or at whose end it is.
    pub fn block(&self, addr: u64) -> Option<&Arc<Block>> {
        self.live.range(..=addr).next_back().map(|(_, b)| b).filter(|b| addr < b.end() || addr == b.base)
    }

    /// All allocations, by address.
    pub fn blocks(&self) -> Vec<Arc<Block>> {
        self.live.values().cloned().collect()
    }

    /// The allocation that holds all of a range.
    pub fn holds(&self, addr: u64, bytes: u64) -> Result<&Arc<Block>, Fault> {
        match self.live.range(..=addr).next_back() {
            Some((_, b)) if bytes <= b.end().saturating_sub(addr) => Ok(b),
            _ => Err(self.stray(addr, bytes)),
        }
    }

    /// The fault of an access to what is not allocated.
    pub fn stray(&self, addr: u64, bytes: u64) -> Fault {
        let freed = self.freed.range(..=addr).next_back().is_some_and(|(&base, &size)| addr - base < size.max(1));
        let kind = if freed { FaultKind::UseAfterFree } else { FaultKind::OutOfBounds };
        Fault::new(kind, Some(addr), format!("{bytes} bytes; {}", self.describe(addr)))
    }

    /// Which allocation an address lies in or near.
    pub fn describe(&self, addr: u64) -> String {
        if let Some((&base, &size)) = self.freed.range(..=addr).next_back()
            && addr - base < size.max(1)
        {
            return format!("byte {} of the freed allocation {base:#x} of {size} bytes", addr - base);
        }
        let below = self.live.range(..=addr).next_back().map(|(_, b)| b);
        match below {
            Some(b) if addr < b.end() => {
                format!("byte {} of the allocation {:#x} of {} bytes", addr - b.base, b.base, b.bytes)
            }
            Some(b) if addr < b.end() + GUARD => {
                format!("{} bytes past the allocation {:#x} of {} bytes", addr - b.end(), b.base, b.bytes)
            }
            _ => match self.live.range(addr..).next() {
                Some((_, b)) if b.base - addr < GUARD => {
                    format!("{} bytes before the allocation {:#x} of {} bytes", b.base - addr, b.base, b.bytes)
                }
                _ => "no allocation is near".to_string(),
            },
        }
    }
}
