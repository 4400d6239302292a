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
/// The shadow of a byte that was written.
pub(crate) const INIT: u8 = 2;

/// Zeroed memory that costs nothing until it is touched.
#[derive(Debug)]
pub(crate) struct Pages {
    at: NonNull<u8>,
    layout: Layout,
}

// SAFETY: a plain block of memory, owned; who may read and write it when is its users' affair (they use raw pointers).
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Pages {
    pub fn new(bytes: usize) -> Option<Pages> {
        // A greater alignment than this is met by writing zeros, which touches every page.
        let layout = Layout::from_size_align(bytes.max(1), 16).ok()?;
        // SAFETY: the size is not 0.
        let at = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        Some(Pages { at, layout })
    }

    pub fn ptr(&self) -> *mut u8 {
        self.at.as_ptr()
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.at.as_ptr(), self.layout) }
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
        for pages in self.cells.iter().filter_map(|c| c.get()?.as_ref()) {
            // SAFETY: the whole of it; no launch runs.
            unsafe { pages.ptr().write_bytes(0, pages.layout.size()) }
        }
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
