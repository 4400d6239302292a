//! Loads and stores: which space, which addresses, whether they may be touched; then the bytes.

use std::sync::PoisonError;

use super::warp::Warp;
use super::{Exec, Local, Res, bits, stop};
use crate::decode::inst::{Access, NONE, Place};
use crate::decode::{LOCAL_WINDOW, PARAM_WINDOW, SHARED_WINDOW};
use crate::fault::FaultKind;
use crate::memory::{BASE, INIT};
use crate::parse::Space;

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

    /// 32-byte sectors that lanes touch.
    fn sectors(&self, addrs: &Addrs, size: usize, active: u32) -> u64 {
        let (mut seen, mut n) = ([u64::MAX; 64], 0usize);
        for l in bits(active) {
            let first = addrs[l as usize] >> 5;
            for s in first..=(addrs[l as usize] + size as u64 - 1) >> 5 {
                // Neighbours mostly share a sector: the newest are looked at first.
                if !seen[..n].iter().rev().any(|&x| x == s) && n < 64 {
                    seen[n] = s;
                    n += 1;
                }
            }
        }
        n as u64
    }

    fn load_global(&mut self, w: &mut Warp, a: &Access, addrs: &Addrs, active: u32) -> Res<()> {
        let size = a.bytes as usize * a.count as usize;
        self.aligned(addrs, size, active)?;
        self.counters.load_requests += 1;
        self.counters.widest = self.counters.widest.max(size as u64);
        self.counters.load_sectors += self.sectors(addrs, size, active);
        for lane in bits(active) {
            let addr = addrs[lane as usize];
            let i = self.find(addr, size, lane)?;
            let block = &self.blocks[i];
            let at = (addr - block.base) as usize;
            // SAFETY: `find` has checked the range.
            unsafe {
                if self.job.detect.uninit && !written(block.shadow.ptr().add(at), size) {
                    return stop(FaultKind::Uninitialised, lane, Some(addr), self.describe(addr));
                }
                let p = block.data.ptr().add(at);
                for k in 0..a.count as usize {
                    let v = extended(read(p.add(k * a.bytes as usize), a.bytes), a);
                    w.put(a.rows[k], a.wides >> k & 1 == 1, lane, v);
                }
            }
        }
        Ok(())
    }

    fn store_global(&mut self, w: &mut Warp, a: &Access, addrs: &Addrs, active: u32) -> Res<()> {
        let size = a.bytes as usize * a.count as usize;
        self.aligned(addrs, size, active)?;
        self.counters.store_requests += 1;
        self.counters.widest = self.counters.widest.max(size as u64);
        self.counters.store_sectors += self.sectors(addrs, size, active);
        for lane in bits(active) {
            let addr = addrs[lane as usize];
            let i = self.find(addr, size, lane)?;
            let block = &self.blocks[i];
            let at = (addr - block.base) as usize;
            // SAFETY: `find` has checked the range.
            unsafe {
                block.shadow.ptr().add(at).write_bytes(INIT, size);
                let p = block.data.ptr().add(at);
                for k in 0..a.count as usize {
                    write(p.add(k * a.bytes as usize), a.bytes, w.get(a.rows[k], a.wides >> k & 1 == 1, lane));
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
