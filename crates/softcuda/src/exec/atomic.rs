//! Atomic operations, lane after lane.

use super::access::{read, write, written};
use super::warp::Warp;
use super::{Exec, Res, bits, stop};
use crate::decode::SHARED_WINDOW;
use crate::decode::inst::{Atom, AtomOp, AtomTy, NONE};
use crate::fault::FaultKind;
use crate::memory::INIT;
use crate::parse::Space;
use crate::race::Touch;

impl Exec<'_> {
    pub(super) fn atom(&mut self, w: &mut Warp, a: &Atom, active: u32) -> Res<()> {
        let wide = matches!(a.ty, AtomTy::U64 | AtomTy::S64 | AtomTy::F64);
        let bytes = if wide { 8u8 } else { 4 };
        let size = bytes as usize;
        self.by_space(w, &a.place, active, |x, w, space, addrs, lanes| {
            x.aligned(addrs, size, lanes)?;
            x.counters.atomics += lanes.count_ones() as u64;
            for lane in bits(lanes) {
                let addr = addrs[lane as usize];
                let (p, shadow) = match space {
                    Space::Shared => {
                        let at = x.shared_at(addr, size, lane, true)?;
                        // SAFETY: `shared_at` has checked the range.
                        unsafe { (x.shared.as_mut_ptr().add(at), x.shared_shadow.as_mut_ptr().add(at)) }
                    }
                    Space::Global | Space::Generic => {
                        let i = x.find(addr, size, lane)?;
                        let block = &x.blocks[i];
                        let at = (addr - block.base) as usize;
                        // SAFETY: `find` has checked the range.
                        unsafe { (block.data.ptr().add(at), block.shadow.ptr().add(at)) }
                    }
                    _ => return stop(FaultKind::OutOfBounds, lane, Some(addr), "atomics need global or shared memory"),
                };
                match space {
                    Space::Shared => x.touch_shared(addr as u32 as usize, size, Touch::Atomic, w, lane)?,
                    _ => {
                        x.touch_global(x.last, (addr - x.blocks[x.last].base) as usize, size, Touch::Atomic, w, lane)?
                    }
                }
                let key = if space == Space::Shared { SHARED_WINDOW + addr as u32 as u64 } else { addr };
                x.race.sync(key, w.index, a.orders, true, true);
                // SAFETY: the range was checked above.
                unsafe {
                    if x.job.detect.uninit && a.op != AtomOp::Exch && !written(shadow, size) {
                        return stop(FaultKind::Uninitialised, lane, Some(addr), x.describe(addr));
                    }
                    let old = read(p, bytes);
                    let b = w.get(a.b, wide, lane);
                    let c = if a.c == NONE { 0 } else { w.get(a.c, wide, lane) };
                    write(p, bytes, apply(a.op, a.ty, old, b, c));
                    shadow.write_bytes(INIT, size);
                    if a.d != NONE {
                        w.put(a.d, wide, lane, old);
                    }
                }
            }
            Ok(())
        })
    }
}

fn apply(op: AtomOp, ty: AtomTy, old: u64, b: u64, c: u64) -> u64 {
    match (op, ty) {
        (AtomOp::Exch, _) => b,
        (AtomOp::Cas, _) => {
            if old == b {
                c
            } else {
                old
            }
        }
        (AtomOp::And, _) => old & b,
        (AtomOp::Or, _) => old | b,
        (AtomOp::Xor, _) => old ^ b,
        (AtomOp::Add, AtomTy::F32) => (f32::from_bits(old as u32) + f32::from_bits(b as u32)).to_bits() as u64,
        (AtomOp::Add, AtomTy::F64) => (f64::from_bits(old) + f64::from_bits(b)).to_bits(),
        (AtomOp::Add, _) => old.wrapping_add(b),
        (AtomOp::Min, AtomTy::S32) => (old as i32).min(b as i32) as u32 as u64,
        (AtomOp::Max, AtomTy::S32) => (old as i32).max(b as i32) as u32 as u64,
        (AtomOp::Min, AtomTy::S64) => (old as i64).min(b as i64) as u64,
        (AtomOp::Max, AtomTy::S64) => (old as i64).max(b as i64) as u64,
        (AtomOp::Min, _) => old.min(b),
        (AtomOp::Max, _) => old.max(b),
        (AtomOp::Inc, _) => {
            if old >= b {
                0
            } else {
                old + 1
            }
        }
        (AtomOp::Dec, _) => {
            if old == 0 || old > b {
                b
            } else {
                old - 1
            }
        }
    }
}
