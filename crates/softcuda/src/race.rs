//! Races: who touched each piece of memory last, and which atomics, fences and barriers put touches in order.
//!
//! Time is counted in epochs: a block's start and each of its barriers begin a new one. Blocks run one after another, so an epoch
//! belongs to one block. Two touches of one epoch by different warps, or by different blocks, clash if one writes, unless an
//! atomic with fences around it lies between them.

use std::collections::HashMap;

/// The last epoch that fits a stamp.
const LAST: u32 = (1 << 25) - 2;
/// In a read's stamp: several warps of the epoch have read. In a write's: it was atomic or volatile.
const MANY: u32 = 1 << 5;
const ATOMIC: u32 = MANY;
/// In a read's stamp: blocks before have read as well.
const FOREIGN: u32 = 1 << 6;
const WARP: u32 = MANY - 1;

/// Stamps of the last write and read: epoch, flags, warp.
#[derive(Clone, Copy, Default, Debug)]
#[repr(C)]
pub(crate) struct Cell {
    write: u32,
    read: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Touch {
    Read,
    Write,
    /// An atomic, or a volatile store: a write that clashes with plain touches only.
    Atomic,
}

/// What a touch clashes with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clash {
    stamp: u32,
    /// Whether the other touch is a write.
    pub wrote: bool,
}

impl Clash {
    pub fn warp(self) -> u32 {
        self.stamp & WARP
    }
}

/// An atomic that may let others go on.
#[derive(Clone, Debug)]
struct Release {
    block: usize,
    epoch: u32,
    warp: u32,
    /// Each warp's last epoch with a fence, plus 1.
    fences: [u32; 32],
    /// The atomic itself orders what stands before it.
    orders: bool,
}

#[derive(Clone, Debug)]
struct Acquire {
    at: u64,
    epoch: u32,
    warp: u32,
    orders: bool,
    /// How many releases there were.
    seen: usize,
}

/// The detector's state for a launch.
#[derive(Debug, Default)]
pub(crate) struct Race {
    pub on: bool,
    /// The launch's first epoch, the block's first, and the one at hand.
    launch: u32,
    block: u32,
    epoch: u32,
    /// First epochs of the blocks so far.
    starts: Vec<u32>,
    pub shared: Vec<Cell>,
    /// Bytes of a cell, as a shift: of shared and of global memory.
    pub shared_shift: u32,
    pub global_shift: u32,
    releases: HashMap<u64, Vec<Release>>,
    acquires: Vec<Acquire>,
    fences: [u32; 32],
    /// Cells that this launch read, and wrote, for the first time.
    pub fresh_reads: u64,
    pub fresh_writes: u64,
}

impl Race {
    pub fn new(on: bool, first: u32, shared_bytes: usize, shared_shift: u32, global_shift: u32) -> Race {
        let cells = if on { (shared_bytes >> shared_shift) + 1 } else { 0 };
        let shared = vec![Cell::default(); cells];
        Race { on, launch: first, block: first, epoch: first, shared, shared_shift, global_shift, ..Race::default() }
    }

    /// The first epoch of a next launch.
    pub fn next(&self) -> u32 {
        self.epoch + 1
    }

    /// Whether the stamps have to be cleared before a launch that starts at an epoch.
    pub fn worn(first: u32) -> bool {
        first > LAST / 2
    }

    pub fn begin_block(&mut self) {
        self.barrier();
        self.block = self.epoch;
        self.starts.push(self.epoch);
        self.acquires.clear();
        self.fences = [0; 32];
    }

    pub fn barrier(&mut self) {
        if self.epoch >= LAST {
            self.on = false;
        } else {
            self.epoch += 1;
        }
    }

    pub fn fence(&mut self, warp: u32) {
        self.fences[warp as usize] = self.epoch + 1;
    }

    /// An atomic or volatile touch of an address: what others did before theirs is known from now on, and they may learn ours.
    pub fn sync(&mut self, at: u64, warp: u32, orders: bool, acquires: bool, releases: bool) {
        let list = self.releases.entry(at).or_default();
        let (epoch, fences) = (self.epoch, self.fences);
        if acquires {
            let seen = list.len();
            match self.acquires.iter_mut().find(|a| a.at == at && a.warp == warp && a.epoch == epoch) {
                Some(a) => a.seen = seen,
                None => self.acquires.push(Acquire { at, epoch, warp, orders, seen }),
            }
        }
        if releases {
            let block = self.starts.len();
            let new = Release { block, epoch, warp, fences, orders };
            match list.last_mut() {
                Some(r) if r.block == block && r.epoch == epoch && r.warp == warp => *r = new,
                _ => list.push(new),
            }
        }
    }

    /// Touches a piece of global memory (cells before this launch do not count) or of shared memory (before this block).
    #[inline(always)]
    pub fn touch(&mut self, cell: &mut Cell, touch: Touch, warp: u32, shared: bool) -> Option<Clash> {
        let floor = (if shared { self.block } else { self.launch }) << 7;
        let my = self.epoch << 7 | warp;
        match touch {
            Touch::Read => {
                if cell.write >= floor && cell.write & !ATOMIC != my {
                    let clash = self.clash(cell.write, my, true, false);
                    if clash.is_some() {
                        return clash;
                    }
                }
                if cell.read != my {
                    self.reader(cell, my, floor, shared);
                }
            }
            Touch::Write | Touch::Atomic => {
                let atomic = touch == Touch::Atomic;
                if cell.write >= floor && cell.write & !ATOMIC != my {
                    let both = atomic && cell.write & ATOMIC != 0;
                    let clash = if both { None } else { self.clash(cell.write, my, true, false) };
                    if clash.is_some() {
                        return clash;
                    }
                } else if cell.write < floor {
                    self.fresh_writes += !shared as u64;
                }
                if cell.read >= floor && cell.read != my {
                    let clash = self.clash(cell.read, my, false, true);
                    if clash.is_some() {
                        return clash;
                    }
                }
                cell.write = my | if atomic { ATOMIC } else { 0 };
            }
        }
        None
    }

    fn reader(&mut self, cell: &mut Cell, my: u32, floor: u32, shared: bool) {
        let old = cell.read;
        cell.read = if old < floor {
            self.fresh_reads += !shared as u64;
            my
        } else if old >> 7 == my >> 7 {
            old | if old & WARP == my & WARP { 0 } else { MANY }
        } else if old >> 7 >= self.block {
            my | old & FOREIGN
        } else {
            my | FOREIGN
        };
    }

    /// Whether the touch of a stamp (in this launch, not simply ours) is unordered with ours.
    #[cold]
    #[inline(never)]
    fn clash(&self, stamp: u32, my: u32, wrote: bool, read: bool) -> Option<Clash> {
        let found = Some(Clash { stamp, wrote });
        let (epoch, warp) = (stamp >> 7, stamp & WARP);
        if read && stamp & FOREIGN != 0 && self.acquires.is_empty() {
            return found;
        }
        if epoch >= self.block {
            // Of this block: barriers order it.
            let many = read && stamp & MANY != 0;
            let apart = epoch == self.epoch && (many || warp != my & WARP);
            return if apart && !self.ordered(stamp, my, wrote) { found } else { None };
        }
        if self.ordered(stamp, my, wrote) { None } else { found }
    }

    /// Whether atomics and fences put a stamp's touch before ours.
    fn ordered(&self, stamp: u32, my: u32, wrote: bool) -> bool {
        let (epoch, warp) = (stamp >> 7, stamp & WARP);
        let block = self.starts.partition_point(|&s| s <= epoch);
        let atomic = wrote && stamp & ATOMIC != 0;
        self.acquires.iter().any(|a| {
            // Ours comes after the acquire, with a fence between them.
            let after = a.epoch < my >> 7 || a.warp == my & WARP;
            let fenced = a.orders
                || atomic
                || self.fences[(my & WARP) as usize] > a.epoch
                || self.fences[a.warp as usize] > a.epoch;
            let released = |r: &Release| {
                // Theirs comes before the release, with a fence between them.
                let before = epoch < r.epoch || (epoch == r.epoch && warp == r.warp);
                let fenced =
                    r.orders || atomic || r.fences[warp as usize] > epoch || r.fences[r.warp as usize] > epoch + 1;
                r.block == block && before && fenced
            };
            after
                && fenced
                && self.releases.get(&a.at).is_some_and(|list| list[..a.seen.min(list.len())].iter().any(released))
        })
    }
}
