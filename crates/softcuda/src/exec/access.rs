//! Loads and stores: which space, which addresses, whether they may be touched; then the bytes.

use std::sync::PoisonError;

use super::warp::Warp;
use super::{Exec, Local, Res, bits, stop};
use crate::decode::inst::{Access, NONE, Place};
use crate::decode::{LOCAL_WINDOW, PARAM_WINDOW, SHARED_WINDOW};
use crate::fault::FaultKind;
use crate::memory::{BASE, INIT};
use crate::parse::Space;
use crate::race::{Clash, Touch};

/// The lanes' addresses.
pub(super) type Addrs = [u64; 32];

/// Reads an element.
///
/// # Safety
/// `bytes` (1, 2, 4 or 8) can be read at `p`.
#[inline(always)]
pub(super) unsafe fn read(p: *const u8, bytes: u8) -> u64 {
    // SAFETY: the caller's promise.
    unsafe {
        match bytes {
            1 => p.read() as u64,
            2 => p.cast::<u16>().read_unaligned() as u64,
            4 => p.cast::<u32>().read_unaligned() as u64,
            _ => p.cast::<u64>().read_unaligned(),
        }
    }
}

/// Writes an element.
///
/// # Safety
/// `bytes` (1, 2, 4 or 8) can be written at `p`.
#[inline(always)]
pub(super) unsafe fn write(p: *mut u8, bytes: u8, v: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        match bytes {
            1 => p.write(v as u8),
            2 => p.cast::<u16>().write_unaligned(v as u16),
            4 => p.cast::<u32>().write_unaligned(v as u32),
            _ => p.cast::<u64>().write_unaligned(v),
        }
    }
}

/// Sign-extends an element.
#[inline(always)]
fn extended(v: u64, a: &Access) -> u64 {
    if a.signed {
        let shift = 64 - 8 * a.bytes as u32;
        ((v << shift) as i64 >> shift) as u64
    } else {
        v
    }
}

/// Whether `n` shadow bytes at `p` are all [`INIT`].
///
/// # Safety
/// They can be read.
#[inline(always)]
pub(super) unsafe fn written(p: *const u8, n: usize) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        match n {
            1 => *p == INIT,
            2 => p.cast::<u16>().read_unaligned() == 0x0202,
            4 => p.cast::<u32>().read_unaligned() == 0x0202_0202,
            8 => p.cast::<u64>().read_unaligned() == 0x0202_0202_0202_0202,
            16 => p.cast::<u128>().read_unaligned() == 0x0202_0202_0202_0202_0202_0202_0202_0202,
            _ => std::slice::from_raw_parts(p, n).iter().all(|&b| b == INIT),
        }
    }
}

/// [`written`] of many bytes.
///
/// # Safety
/// They can be read.
unsafe fn written_all(p: *const u8, n: usize) -> bool {
    // SAFETY: the caller's promise.
    let (chunks, rest) = unsafe { std::slice::from_raw_parts(p, n) }.as_chunks::<32>();
    chunks.iter().all(|c| *c == [INIT; 32]) && rest.iter().all(|&b| b == INIT)
}

impl Exec<'_> {
    /// The lanes' addresses of a place.
    #[inline(always)]
    pub(super) fn addresses(&self, w: &Warp, place: &Place) -> Addrs {
        if place.base == NONE {
            return [place.offset as u64; 32];
        }
        let mut out = [0u64; 32];
        for (lane, a) in out.iter_mut().enumerate() {
            *a = w.get(place.base, place.wide, lane as u32).wrapping_add_signed(place.offset);
        }
        out
    }

    /// Calls `f` with each space that generic addresses are in, the addresses there, and the lanes.
    pub(super) fn by_space(
        &mut self,
        w: &mut Warp,
        place: &Place,
        active: u32,
        mut f: impl FnMut(&mut Self, &mut Warp, Space, &Addrs, u32) -> Res<()>,
    ) -> Res<()> {
        let mut addrs = self.addresses(w, place);
        match place.space {
            Space::Generic => {}
            Space::Const => return f(self, w, Space::Global, &addrs, active),
            s => return f(self, w, s, &addrs, active),
        }
        let window = |a: u64| match a {
            BASE.. => Space::Global,
            PARAM_WINDOW.. => Space::Param,
            SHARED_WINDOW.. => Space::Shared,
            LOCAL_WINDOW.. => Space::Local,
            _ => Space::Global,
        };
        let mut left = active;
        while left != 0 {
            let space = window(addrs[left.trailing_zeros() as usize]);
            let here = bits(left).filter(|&l| window(addrs[l as usize]) == space).fold(0, |m, l| m | 1 << l);
            let start = match space {
                Space::Param => PARAM_WINDOW,
                Space::Shared => SHARED_WINDOW,
                Space::Local => LOCAL_WINDOW,
                _ => 0,
            };
            bits(here).for_each(|l| addrs[l as usize] -= start);
            f(self, w, space, &addrs, here)?;
            bits(here).for_each(|l| addrs[l as usize] += start);
            left &= !here;
        }
        Ok(())
    }

    pub(super) fn load(&mut self, w: &mut Warp, a: &Access, active: u32) -> Res<()> {
        if a.place.space == Space::Shared {
            let addrs = self.addresses(w, &a.place);
            return self.load_shared(w, a, &addrs, active);
        }
        self.by_space(w, &a.place, active, |x, w, space, addrs, lanes| match space {
            Space::Shared => x.load_shared(w, a, addrs, lanes),
            Space::Local => x.load_local(w, a, addrs, lanes),
            Space::Param => x.load_param(w, a, addrs, lanes),
            _ => x.load_global(w, a, addrs, lanes),
        })
    }

    pub(super) fn store(&mut self, w: &mut Warp, a: &Access, active: u32) -> Res<()> {
        if a.place.space == Space::Shared {
            let addrs = self.addresses(w, &a.place);
            return self.store_shared(w, a, &addrs, active);
        }
        self.by_space(w, &a.place, active, |x, w, space, addrs, lanes| match space {
            Space::Shared => x.store_shared(w, a, addrs, lanes),
            Space::Local => x.store_local(w, a, addrs, lanes),
            Space::Param => {
                let lane = lanes.trailing_zeros();
                stop(FaultKind::OutOfBounds, lane, Some(addrs[lane as usize]), "parameters cannot be written")
            }
            _ => x.store_global(w, a, addrs, lanes),
        })
    }

    pub(super) fn aligned(&self, addrs: &Addrs, size: usize, active: u32) -> Res<()> {
        if !self.job.detect.misaligned || size == 1 {
            return Ok(());
        }
        // Lanes that take no part may have any address: only if all are fine, is this the answer.
        if addrs.iter().fold(0, |all, a| all | a) & (size as u64 - 1) == 0 {
            return Ok(());
        }
        match bits(active).find(|&l| addrs[l as usize] & (size as u64 - 1) != 0) {
            None => Ok(()),
            Some(l) => stop(FaultKind::Misaligned, l, Some(addrs[l as usize]), format!("an access of {size} bytes")),
        }
    }

    /// Index of the allocation that holds `size` bytes at an address.
    #[inline(always)]
    pub(super) fn find(&mut self, addr: u64, size: usize, lane: u32) -> Res<usize> {
        if let Some(b) = self.blocks.get(self.last)
            && addr >= b.base
            && addr + size as u64 <= b.end()
        {
            return Ok(self.last);
        }
        let i = self.blocks.partition_point(|b| b.base <= addr);
        match i.checked_sub(1).map(|i| &self.blocks[i]) {
            Some(b) if addr + size as u64 <= b.end() => {
                self.last = i - 1;
                Ok(i - 1)
            }
            _ => {
                let memory = self.job.memory.lock().unwrap_or_else(PoisonError::into_inner);
                let f = memory.stray(addr, size as u64);
                stop(f.kind, lane, f.address, f.detail)
            }
        }
    }

    pub(super) fn describe(&self, addr: u64) -> String {
        self.job.memory.lock().unwrap_or_else(PoisonError::into_inner).describe(addr)
    }

    /// 32-byte sectors that lanes touch; those of loads are looked for in the block's cache.
    fn sectors(&mut self, addrs: &Addrs, size: usize, active: u32, load: bool) -> u64 {
        let (mut seen, mut n) = ([u64::MAX; 64], 0usize);
        for l in bits(active) {
            let first = addrs[l as usize] >> 5;
            for s in first..=(addrs[l as usize] + size as u64 - 1) >> 5 {
                // Neighbours mostly share a sector: the newest are looked at first.
                if !seen[..n].iter().rev().any(|&x| x == s) && n < 64 {
                    seen[n] = s;
                    n += 1;
                    self.counters.missed_sectors += (load && self.cache.insert(s)) as u64;
                }
            }
        }
        n as u64
    }

    /// Tells the race detector of a touch of global memory.
    #[inline(always)]
    pub(super) fn touch_global(
        &mut self,
        i: usize,
        at: usize,
        size: usize,
        touch: Touch,
        w: &Warp,
        lane: u32,
    ) -> Res<()> {
        if !self.race.on {
            return Ok(());
        }
        let shift = self.race.global_shift;
        let cells = self.blocks[i].cells(shift);
        if cells.is_null() {
            return Ok(());
        }
        for k in at >> shift..=(at + size - 1) >> shift {
            // SAFETY: there is a cell for each piece of the allocation, and one launch runs at a time.
            let clash = self.race.touch(unsafe { &mut *cells.add(k) }, touch, w.index, false);
            if let Some(clash) = clash {
                let addr = self.blocks[i].base + at as u64;
                // A contiguous request is told at once: the lane is that of the piece.
                let lane = if size > 32 { ((k << shift) - at) as u32 * 32 / size as u32 } else { lane };
                return self.race_found(clash, lane, addr, self.describe(addr));
            }
        }
        Ok(())
    }

    pub(super) fn race_found(&self, clash: Clash, lane: u32, addr: u64, what: String) -> Res<()> {
        let other = if clash.wrote { "written" } else { "read" };
        let detail = format!("{what}, {other} by warp {} without an order between the two", clash.warp());
        stop(FaultKind::Race, lane, Some(addr), detail)
    }

    /// The allocation, and the first byte in it, of a request whose 32 lanes lie one after another.
    fn contiguous(&mut self, addrs: &Addrs, size: usize, active: u32) -> Res<Option<(usize, usize)>> {
        let first = addrs[0];
        let mut apart = 0;
        for (lane, &a) in addrs.iter().enumerate() {
            apart |= a ^ first.wrapping_add((lane * size) as u64);
        }
        if active != !0 || apart != 0 {
            return Ok(None);
        }
        let i = self.blocks.partition_point(|b| b.base <= first);
        // Lane by lane it will be found out who leaves the allocation.
        Ok(match i.checked_sub(1).map(|i| &self.blocks[i]) {
            Some(b) if first + 32 * size as u64 <= b.end() => Some((i - 1, (first - b.base) as usize)),
            _ => None,
        })
    }

    /// Counts a request to global memory; `line`: all lanes, one after another.
    pub(super) fn request(&mut self, addrs: &Addrs, size: usize, active: u32, line: bool, store: bool) {
        let sectors = if line {
            let (first, last) = (addrs[0] >> 5, (addrs[31] + size as u64 - 1) >> 5);
            if !store {
                self.counters.missed_sectors += (first..=last).filter(|&s| self.cache.insert(s)).count() as u64;
            }
            last - first + 1
        } else {
            self.sectors(addrs, size, active, !store)
        };
        let c = &mut self.counters;
        let (requests, wide, all) = match store {
            false => (&mut c.load_requests, &mut c.wide_loads, &mut c.load_sectors),
            true => (&mut c.store_requests, &mut c.wide_stores, &mut c.store_sectors),
        };
        *requests += 1;
        *wide += (size == 16) as u64;
        *all += sectors;
        c.widest = c.widest.max(size as u64);
    }

    fn load_global(&mut self, w: &mut Warp, a: &Access, addrs: &Addrs, active: u32) -> Res<()> {
        let (bytes, size) = (a.bytes as usize, a.bytes as usize * a.count as usize);
        self.aligned(addrs, size, active)?;
        let line = self.contiguous(addrs, size, active)?;
        self.request(addrs, size, active, line.is_some(), false);
        if let Some((i, at)) = line {
            let block = &self.blocks[i];
            // SAFETY: `contiguous` has checked the range.
            let (shadow, data) = unsafe { (block.shadow.ptr().add(at), block.data.ptr().add(at)) };
            // SAFETY: as above.
            if !self.job.detect.uninit || unsafe { written_all(shadow, 32 * size) } {
                if !a.strong {
                    self.touch_global(i, at, 32 * size, Touch::Read, w, 0)?;
                } else {
                    self.race.sync(addrs[0], w.index, false, true, false);
                }
                for k in 0..a.count as usize {
                    let wide = a.wides >> k & 1 == 1;
                    for lane in 0..32 {
                        // SAFETY: as above.
                        let v = extended(unsafe { read(data.add(lane * size + k * bytes), a.bytes) }, a);
                        w.put(a.rows[k], wide, lane as u32, v);
                    }
                }
                return Ok(());
            }
        }
        let mut before = None;
        for lane in bits(active) {
            let addr = addrs[lane as usize];
            let i = self.find(addr, size, lane)?;
            let block = &self.blocks[i];
            let at = (addr - block.base) as usize;
            // SAFETY: `find` has checked the range.
            let (shadow, data) = unsafe { (block.shadow.ptr().add(at), block.data.ptr().add(at)) };
            if before != Some(addr) {
                // SAFETY: as above.
                if self.job.detect.uninit && !unsafe { written(shadow, size) } {
                    return stop(FaultKind::Uninitialised, lane, Some(addr), self.describe(addr));
                }
                match a.strong {
                    false => self.touch_global(i, at, size, Touch::Read, w, lane)?,
                    true => self.race.sync(addr, w.index, false, true, false),
                }
                before = Some(addr);
            }
            for k in 0..a.count as usize {
                // SAFETY: as above.
                let v = extended(unsafe { read(data.add(k * bytes), a.bytes) }, a);
                w.put(a.rows[k], a.wides >> k & 1 == 1, lane, v);
            }
        }
        Ok(())
    }

    fn store_global(&mut self, w: &mut Warp, a: &Access, addrs: &Addrs, active: u32) -> Res<()> {
        let (bytes, size) = (a.bytes as usize, a.bytes as usize * a.count as usize);
        self.aligned(addrs, size, active)?;
        let line = self.contiguous(addrs, size, active)?;
        self.request(addrs, size, active, line.is_some(), true);
        let touch = if a.strong { Touch::Atomic } else { Touch::Write };
        if line.is_none() {
            self.same_address(w, a, addrs, size, active)?;
        }
        if let Some((i, at)) = line {
            self.touch_global(i, at, 32 * size, touch, w, 0)?;
            // SAFETY: `contiguous` has checked the range.
            unsafe { self.blocks[i].shadow.ptr().add(at).write_bytes(INIT, 32 * size) }
        }
        for lane in bits(active) {
            let addr = addrs[lane as usize];
            let (i, at) = match line {
                Some((i, at)) => (i, at + lane as usize * size),
                None => {
                    let i = self.find(addr, size, lane)?;
                    let at = (addr - self.blocks[i].base) as usize;
                    self.touch_global(i, at, size, touch, w, lane)?;
                    // SAFETY: `find` has checked the range.
                    unsafe { self.blocks[i].shadow.ptr().add(at).write_bytes(INIT, size) }
                    (i, at)
                }
            };
            if a.strong {
                self.race.sync(addr, w.index, false, false, true);
            }
            for k in 0..a.count as usize {
                let v = w.get(a.rows[k], a.wides >> k & 1 == 1, lane);
                // SAFETY: the range was checked above.
                unsafe { write(self.blocks[i].data.ptr().add(at + k * bytes), a.bytes, v) }
            }
        }
        Ok(())
    }

    /// Lanes of one store that write different values to one address.
    pub(super) fn same_address(&mut self, w: &Warp, a: &Access, addrs: &Addrs, size: usize, active: u32) -> Res<()> {
        if !self.race.on || a.strong {
            return Ok(());
        }
        let mut end = 0;
        let rising = bits(active).all(|l| {
            let ok = addrs[l as usize] >= end;
            end = addrs[l as usize] + size as u64;
            ok
        });
        if rising {
            return Ok(());
        }
        let value = |l: u32, k: u64| {
            let e = (k / a.bytes as u64) as usize;
            w.get(a.rows[e], a.wides >> e & 1 == 1, l) >> (8 * (k % a.bytes as u64)) & 255
        };
        for l in bits(active) {
            for m in bits(active & !((2u64 << l) - 1) as u32) {
                let (x, y) = (addrs[l as usize], addrs[m as usize]);
                let (from, to) = (x.max(y), x.min(y) + size as u64);
                if let Some(b) = (from..to).find(|&b| value(l, b - x) != value(m, b - y)) {
                    return stop(
                        FaultKind::Race,
                        m,
                        Some(b),
                        format!("lanes {l} and {m} store different values there"),
                    );
                }
            }
        }
        Ok(())
    }

    fn load_param(&mut self, w: &mut Warp, a: &Access, addrs: &Addrs, active: u32) -> Res<()> {
        let size = a.bytes as usize * a.count as usize;
        self.aligned(addrs, size, active)?;
        let params = self.job.params;
        for lane in bits(active) {
            let addr = addrs[lane as usize];
            let Some(bytes) = params.get(addr as usize..).and_then(|p| p.get(..size)) else {
                let detail = format!("{size} bytes at {addr} of {} bytes of parameters", params.len());
                return stop(FaultKind::OutOfBounds, lane, None, detail);
            };
            for k in 0..a.count as usize {
                // SAFETY: the slice has `size` bytes.
                let v = unsafe { read(bytes.as_ptr().add(k * a.bytes as usize), a.bytes) };
                w.put(a.rows[k], a.wides >> k & 1 == 1, lane, extended(v, a));
            }
        }
        Ok(())
    }

    /// Start of a lane's bytes in local memory, once they may be touched; a load needs them written.
    fn local_at(&self, l: &Local, addr: u64, size: usize, lane: u32, load: bool) -> Res<usize> {
        let at = addr as u32 as usize;
        let ok = at + size <= l.frame && {
            let shadow = &l.shadow[lane as usize * l.frame + at..][..size];
            if shadow.contains(&0) {
                false
            } else if load && self.job.detect.uninit && shadow.contains(&1) {
                return stop(FaultKind::Uninitialised, lane, Some(addr), "local memory");
            } else {
                true
            }
        };
        if ok {
            return Ok(lane as usize * l.frame + at);
        }
        stop(FaultKind::OutOfBounds, lane, Some(addr), format!("{size} bytes of local memory"))
    }

    fn load_local(&mut self, w: &mut Warp, a: &Access, addrs: &Addrs, active: u32) -> Res<()> {
        let size = a.bytes as usize * a.count as usize;
        self.aligned(addrs, size, active)?;
        let Some(l) = w.local.take() else {
            return stop(FaultKind::OutOfBounds, active.trailing_zeros(), None, "the kernel has no local memory");
        };
        let result = bits(active).try_for_each(|lane| {
            let at = self.local_at(&l, addrs[lane as usize], size, lane, true)?;
            for k in 0..a.count as usize {
                // SAFETY: `local_at` has checked the range.
                let v = unsafe { read(l.data.ptr().add(at + k * a.bytes as usize), a.bytes) };
                w.put(a.rows[k], a.wides >> k & 1 == 1, lane, extended(v, a));
            }
            Ok(())
        });
        w.local = Some(l);
        result
    }

    fn store_local(&mut self, w: &mut Warp, a: &Access, addrs: &Addrs, active: u32) -> Res<()> {
        let size = a.bytes as usize * a.count as usize;
        self.aligned(addrs, size, active)?;
        let Some(mut l) = w.local.take() else {
            return stop(FaultKind::OutOfBounds, active.trailing_zeros(), None, "the kernel has no local memory");
        };
        let result = bits(active).try_for_each(|lane| {
            let at = self.local_at(&l, addrs[lane as usize], size, lane, false)?;
            l.shadow[at..at + size].fill(INIT);
            for k in 0..a.count as usize {
                let v = w.get(a.rows[k], a.wides >> k & 1 == 1, lane);
                // SAFETY: `local_at` has checked the range.
                unsafe { write(l.data.ptr().add(at + k * a.bytes as usize), a.bytes, v) }
            }
            Ok(())
        });
        w.local = Some(l);
        result
    }
}
