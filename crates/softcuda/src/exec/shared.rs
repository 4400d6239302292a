//! Shared memory: loads, stores, bank conflicts, asynchronous copies into it.

use super::access::{Addrs, read, write, written};
use super::warp::{Pending, Warp};
use super::{Exec, Res, bits, stop};
use crate::decode::inst::{Access, NONE, Place};
use crate::fault::FaultKind;
use crate::memory::INIT;
use crate::race::Touch;

impl Exec<'_> {
    /// Where an address lies in the block's shared memory, once `size` bytes there belong to a variable.
    #[inline(always)]
    pub(super) fn shared_at(&self, addr: u64, size: usize, lane: u32, load: bool) -> Res<usize> {
        // Shared addresses wrap in 32 bits.
        let at = addr as u32 as usize;
        if at + size <= self.shared.len() {
            let shadow = &self.shared_shadow[at..at + size];
            // SAFETY: the slice has `size` bytes.
            if unsafe { written(shadow.as_ptr(), size) } {
                return Ok(at);
            }
            if !shadow.contains(&0) {
                if !load || !self.job.detect.uninit {
                    return Ok(at);
                }
                let detail = format!("{size} bytes of {}", self.shared_name(at));
                return stop(FaultKind::Uninitialised, lane, Some(at as u64), detail);
            }
        }
        stop(
            FaultKind::OutOfBounds,
            lane,
            Some(at as u64),
            format!("{size} bytes of shared memory; {}", self.shared_name(at)),
        )
    }

    /// Tells the race detector of a touch of shared memory.
    #[inline(always)]
    pub(super) fn touch_shared(&mut self, at: usize, size: usize, touch: Touch, w: &Warp, lane: u32) -> Res<()> {
        if !self.race.on {
            return Ok(());
        }
        let shift = self.race.shared_shift;
        for k in at >> shift..=(at + size - 1) >> shift {
            let mut cell = self.race.shared[k];
            let clash = self.race.touch(&mut cell, touch, w.index, true);
            self.race.shared[k] = cell;
            if let Some(clash) = clash {
                return self.race_found(clash, lane, at as u64, self.shared_name(at));
            }
        }
        Ok(())
    }

    /// The variable in shared memory at or before an address.
    pub(super) fn shared_name(&self, at: usize) -> String {
        let at = at as u32;
        let dynamic = (self.dynamic_at, self.job.dynamic_shared, "dynamic shared memory");
        let vars = self.code.shared.iter().chain(&self.func.shared).map(|s| (s.at, s.bytes, s.name.as_str()));
        match vars.chain([dynamic]).filter(|v| v.0 <= at && v.1 > 0).max_by_key(|v| v.0) {
            Some((start, bytes, name)) => format!("byte {} of {name}[{bytes}]", at - start),
            None => "no variable is near".to_string(),
        }
    }

    pub(super) fn load_shared(&mut self, w: &mut Warp, a: &Access, addrs: &Addrs, active: u32) -> Res<()> {
        let size = a.bytes as usize * a.count as usize;
        self.aligned(addrs, size, active)?;
        self.bank_conflicts(w, addrs, size, active, true);
        let mut before = None;
        let mut at = 0;
        for lane in bits(active) {
            if before != Some(addrs[lane as usize]) {
                at = self.shared_at(addrs[lane as usize], size, lane, true)?;
                if !a.strong {
                    self.touch_shared(at, size, Touch::Read, w, lane)?;
                }
                before = Some(addrs[lane as usize]);
            }
            for k in 0..a.count as usize {
                // SAFETY: `shared_at` has checked the range.
                let mut v = unsafe { read(self.shared.as_ptr().add(at + k * a.bytes as usize), a.bytes) };
                if a.signed {
                    let shift = 64 - 8 * a.bytes as u32;
                    v = ((v << shift) as i64 >> shift) as u64;
                }
                w.put(a.rows[k], a.wides >> k & 1 == 1, lane, v);
            }
        }
        Ok(())
    }

    pub(super) fn store_shared(&mut self, w: &mut Warp, a: &Access, addrs: &Addrs, active: u32) -> Res<()> {
        let size = a.bytes as usize * a.count as usize;
        self.aligned(addrs, size, active)?;
        self.bank_conflicts(w, addrs, size, active, false);
        self.same_address(w, a, addrs, size, active)?;
        let touch = if a.strong { Touch::Atomic } else { Touch::Write };
        for lane in bits(active) {
            let at = self.shared_at(addrs[lane as usize], size, lane, false)?;
            self.touch_shared(at, size, touch, w, lane)?;
            self.shared_shadow[at..at + size].fill(INIT);
            for k in 0..a.count as usize {
                let v = w.get(a.rows[k], a.wides >> k & 1 == 1, lane);
                // SAFETY: `shared_at` has checked the range.
                unsafe { write(self.shared.as_mut_ptr().add(at + k * a.bytes as usize), a.bytes, v) }
            }
        }
        Ok(())
    }

    /// Counts a request and the wavefronts that its bank conflicts cost.
    fn bank_conflicts(&mut self, w: &Warp, addrs: &Addrs, size: usize, active: u32, load: bool) {
        self.counters.shared_requests += 1;
        self.conflicts[w.fault_pc as usize].0 += 1;
        // All lanes at one address, or one after another: no bank has two words of a phase.
        let step = addrs[1].wrapping_sub(addrs[0]);
        let mut apart = 0;
        for (lane, &a) in addrs.iter().enumerate() {
            apart |= a ^ addrs[0].wrapping_add(step.wrapping_mul(lane as u64));
        }
        if apart == 0 && (step == 0 || (step == size as u64 && size >= 4)) {
            return;
        }
        // 8 bytes a lane take half a warp at once, 16 bytes a quarter.
        let lanes = (128 / size.max(4)).max(1) as u32;
        let (mut phase, mut all) = (0, 0);
        while phase < 32 {
            let here = active & if lanes >= 32 { !0 } else { ((1 << lanes) - 1) << phase };
            phase += lanes;
            // The words of a bank: the first in a table, the rest in a list.
            let (mut first, mut depth) = ([u32::MAX; 32], [0u8; 32]);
            let (mut more, mut n, mut worst) = ([0u32; 160], 0, 1);
            for l in bits(here) {
                let word = addrs[l as usize] as u32 >> 2;
                for word in word..word + (size as u32).div_ceil(4) {
                    let bank = word as usize & 31;
                    if first[bank] == word || more[..n].contains(&word) {
                        continue;
                    }
                    if first[bank] == u32::MAX {
                        first[bank] = word;
                        depth[bank] = 1;
                    } else if n < more.len() {
                        more[n] = word;
                        n += 1;
                        depth[bank] += 1;
                        worst = worst.max(depth[bank]);
                    }
                }
            }
            all += worst as u64 - 1;
        }
        self.counters.bank_conflicts += all;
        self.counters.load_conflicts += if load { all } else { 0 };
        self.conflicts[w.fault_pc as usize].1 += all;
    }

    /// `cp.async`: both ends are checked now; the bytes come when they are waited for, and cannot be read before.
    pub(super) fn copy_async(
        &mut self,
        w: &mut Warp,
        to: Place,
        from: Place,
        bytes: u32,
        read: u32,
        active: u32,
    ) -> Res<()> {
        let (to, from) = (self.addresses(w, &to), self.addresses(w, &from));
        let size = bytes as usize;
        self.aligned(&to, size, active)?;
        self.aligned(&from, size, active)?;
        let reads = bits(active).filter(|&l| read == NONE || w.get(read, false, l) > 0);
        self.request(&from, size, reads.fold(0, |all, l| all | 1 << l), false, false);
        self.bank_conflicts(w, &to, size, active, false);
        for lane in bits(active) {
            let take = if read == NONE { bytes } else { (w.get(read, false, lane) as u32).min(bytes) };
            let at = self.shared_at(to[lane as usize], size, lane, false)?;
            let addr = from[lane as usize];
            if take > 0 {
                self.find(addr, take as usize, lane)?;
            }
            self.touch_shared(at, size, Touch::Write, w, lane)?;
            self.shared_shadow[at..at + size].fill(1);
            let p = Pending { lane, to: at as u32, from: addr, bytes, read: take };
            if w.copies.is_empty() {
                w.copies.push(vec![]);
            }
            if let Some(open) = w.copies.last_mut() {
                open.push(p);
            }
        }
        Ok(())
    }

    /// Finishes all groups of copies but the newest `left`.
    pub(super) fn copy_wait(&mut self, w: &mut Warp, left: u32) -> Res<()> {
        // The last group is still open.
        let all = left == NONE - 1;
        let done = if all { w.copies.len() } else { w.copies.len().saturating_sub(1 + left as usize) };
        let ready: Vec<Pending> = w.copies.drain(..done).flatten().collect();
        if w.copies.is_empty() {
            w.copies.push(vec![]);
        }
        for p in ready {
            let (to, n) = (p.to as usize, p.bytes as usize);
            self.shared[to..to + n].fill(0);
            if p.read > 0 {
                let i = self.find(p.from, p.read as usize, p.lane)?;
                let block = &self.blocks[i];
                let at = (p.from - block.base) as usize;
                // SAFETY: `find` has checked the range.
                unsafe {
                    if self.job.detect.uninit && !written(block.shadow.ptr().add(at), p.read as usize) {
                        return stop(FaultKind::Uninitialised, p.lane, Some(p.from), self.describe(p.from));
                    }
                    let source = std::slice::from_raw_parts(block.data.ptr().add(at), p.read as usize);
                    self.shared[to..to + p.read as usize].copy_from_slice(source);
                }
            }
            self.touch_shared(to, n, Touch::Write, w, p.lane)?;
            self.shared_shadow[to..to + n].fill(INIT);
        }
        Ok(())
    }
}
