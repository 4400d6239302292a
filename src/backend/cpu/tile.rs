//! Running tile operations: registers, operand pointers, and the copies between memory and tiles.

use super::program::{Count, Reg, RegInfo, TOp, TileAxes};
use crate::backend::Args;
use crate::error::Error;
use crate::kernel::{Bind, Gather, KernelIr, Launch};
use smallvec::SmallVec;
use std::cell::RefCell;
use std::sync::OnceLock;

/// Bytes of results that no cache would keep until they are read again: they are written past it.
pub const PAST_CACHES: usize = 16 << 20;

/// The first error that a gather met.
pub type Bad = OnceLock<Error>;

/// An operand as tiles see it.
#[derive(Clone, Copy, Debug)]
pub struct OperandInfo {
    /// Bytes of an element.
    pub size: usize,
    /// Strides along the tile's lanes and rows, in elements.
    pub lane: isize,
    /// As `lane`.
    pub row: isize,
    /// The axis that a value indexes.
    pub gather: Option<Gather>,
}

/// The operands of a kernel for tiles over these axes.
pub fn operands(ir: &KernelIr, launch: &Launch, tile: TileAxes) -> Vec<OperandInfo> {
    let along = |b: &Bind, a: Option<usize>| a.map_or(0, |a| b.strides[a]);
    ir.operands
        .iter()
        .zip(&launch.operands)
        .map(|(o, b)| OperandInfo {
            size: o.dtype.size(),
            lane: along(b, tile.lanes),
            row: along(b, tile.rows),
            gather: b.gather,
        })
        .collect()
}

/// Where each register lives in a thread's scratch memory.
#[derive(Clone, Debug, Default)]
pub struct Homes {
    /// Byte offset of each register.
    pub at: Vec<usize>,
    /// Bytes of all.
    pub bytes: usize,
}

impl Homes {
    /// Lays registers out for tiles of `tile` elements and rows of `row` elements. A register that only one segment
    /// touches gives its place to others after its last use.
    pub fn new(regs: &[RegInfo], segments: &[&[TOp]], fixed: &[Reg], tile: usize, row: usize) -> Homes {
        let mut used = vec![(usize::MAX, 0usize, false); regs.len()];
        for (s, ops) in segments.iter().enumerate() {
            for (n, op) in ops.iter().enumerate() {
                op.each(|r| {
                    let u = &mut used[r as usize];
                    u.2 |= u.0 != usize::MAX && u.0 != s;
                    (u.0, u.1) = (s, n);
                });
            }
        }
        for &r in fixed {
            used[r as usize].2 = true;
        }
        let mut homes = Homes { at: vec![usize::MAX; regs.len()], bytes: 0 };
        let bytes = |r: &RegInfo| {
            let n = match (r.count, r.row) {
                (_, true) => row,
                (Count::One, _) => 1,
                (Count::Tile, _) => tile,
            };
            (n * r.size).next_multiple_of(64)
        };
        let mut free: Vec<(usize, usize)> = vec![];
        for (s, ops) in segments.iter().enumerate() {
            for (n, op) in ops.iter().enumerate() {
                op.each(|r| {
                    if homes.at[r as usize] == usize::MAX {
                        let need = bytes(&regs[r as usize]);
                        let shares = !used[r as usize].2 && !regs[r as usize].row;
                        let found = if shares { free.iter().position(|f| f.1 == need) } else { None };
                        homes.at[r as usize] = match found {
                            Some(i) => free.swap_remove(i).0,
                            None => {
                                homes.bytes += need;
                                homes.bytes - need
                            }
                        };
                    }
                });
                op.each(|r| {
                    let place = (homes.at[r as usize], bytes(&regs[r as usize]));
                    let u = used[r as usize];
                    if !u.2 && (u.0, u.1) == (s, n) && !regs[r as usize].row && !free.contains(&place) {
                        free.push(place);
                    }
                });
            }
        }
        for (at, r) in homes.at.iter_mut().zip(regs) {
            if *at == usize::MAX {
                *at = homes.bytes;
                homes.bytes += bytes(r);
            }
        }
        homes
    }
}

thread_local! {
    static SCRATCH: RefCell<Vec<u64>> = const { RefCell::new(vec![]) };
}

/// Lends the thread's scratch memory, at least `bytes` long and aligned to 64 bytes.
pub fn scratch<R>(bytes: usize, f: impl FnOnce(*mut u8) -> R) -> R {
    let mut words = SCRATCH.take();
    let need = bytes / 8 + 16;
    if words.len() < need {
        words = vec![0; need];
    }
    let base = words.as_mut_ptr() as *mut u8;
    let out = f(base.wrapping_add(base.align_offset(64)));
    SCRATCH.set(words);
    out
}

/// Addresses, on the stack while they are few.
type Pointers = SmallVec<[*mut u8; 12]>;

/// The state of one thread while it runs tiles.
pub struct Frame<'a> {
    /// Where registers point now.
    pub cur: Pointers,
    /// Where they live.
    pub home: Pointers,
    regs: &'a [RegInfo],
    /// Operands, with strides along the tile.
    pub operands: &'a [OperandInfo],
    /// First element of each operand at the current outer index.
    pub ptrs: Pointers,
    /// Index of each kernel axis where the tile starts.
    pub index: SmallVec<[usize; 8]>,
    /// Axes of the tile.
    pub axes: TileAxes,
    /// Size of the tile.
    pub rows: usize,
    /// As `rows`.
    pub lanes: usize,
    /// Elements from the start of the row, for registers kept over rows.
    pub along: usize,
    /// Scratch memory of the kernel's own.
    pub own: *mut u8,
    /// Results lie on operands: no register may point into both.
    pub in_place: bool,
    /// Results go past the caches, out of registers' homes.
    pub past_caches: bool,
    /// Where a gather notes an index out of range.
    pub bad_index: &'a Bad,
}

impl<'a> Frame<'a> {
    /// Registers at their homes, parameters set, constants computed.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        regs: &'a [RegInfo],
        homes: &Homes,
        scratch: *mut u8,
        operands: &'a [OperandInfo],
        args: &Args<'_>,
        rank: usize,
        bad_index: &'a Bad,
    ) -> Self {
        let home: Pointers = homes.at.iter().map(|&at| scratch.wrapping_add(at)).collect();
        Frame {
            cur: home.clone(),
            home,
            regs,
            operands,
            ptrs: SmallVec::from_elem(std::ptr::null_mut(), args.bases.len()),
            index: SmallVec::from_elem(0, rank),
            axes: TileAxes { lanes: None, rows: None },
            rows: 1,
            lanes: 1,
            along: 0,
            own: std::ptr::null_mut(),
            in_place: args.in_place,
            past_caches: false,
            bad_index,
        }
    }

    /// Writes scalars and runs the constant operations, on tiles of full size.
    ///
    /// # Safety
    /// As [`Frame::run`]; `tile` is what the registers' homes were laid out for.
    pub unsafe fn setup(&mut self, params: &[(u8, Reg)], bits: &[u64], setup: &[TOp], tile: usize) {
        for &(p, r) in params {
            let bytes = bits[p as usize].to_le_bytes();
            let size = self.regs[r as usize].size;
            // SAFETY: the register's home holds at least one value of `size` bytes.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.home[r as usize], size) }
        }
        (self.rows, self.lanes) = (1, tile);
        // SAFETY: constant operations touch registers alone, whose homes hold `tile` values.
        unsafe { self.run(setup) }
    }

    /// As [`Frame::seek`], for operands seen from other tile axes.
    pub fn seek_with(&mut self, launch: &Launch, bases: &[usize], operands: &'a [OperandInfo]) {
        self.operands = operands;
        self.seek(launch, bases);
    }

    /// Points the operands at the current index.
    pub fn seek(&mut self, launch: &Launch, bases: &[usize]) {
        let index = &self.index[..];
        let places = launch.operands.iter().zip(self.operands).zip(bases);
        for (p, ((b, info), base)) in self.ptrs.iter_mut().zip(places) {
            let steps: isize = index.iter().zip(&b.strides[..]).map(|(&i, &s)| i as isize * s).sum();
            *p = base.wrapping_add_signed((b.offset + steps) * info.size as isize) as *mut u8;
        }
    }

    /// Runs operations on the current tile.
    ///
    /// # Safety
    /// Every operand is valid at all indices the launch walks, registers' homes hold a tile, and the ISA of the
    /// compiled loops is the machine's.
    pub unsafe fn run(&mut self, ops: &[TOp]) {
        let n = self.rows * self.lanes;
        if n == 0 {
            // An operand without elements has no memory, where even one value could be read to be repeated.
            return;
        }
        for op in ops {
            match *op {
                TOp::Load { dst, operand, count } => {
                    let info = self.operands[operand as usize];
                    let p = self.ptrs[operand as usize];
                    if count == Count::One || self.contiguous(info) {
                        self.cur[dst as usize] = p;
                    } else {
                        let to = self.home(dst);
                        self.cur[dst as usize] = to;
                        // SAFETY: by the contract the tile's elements are readable and the home holds the tile.
                        unsafe { copy_in(p, to, info, self.rows, self.lanes) }
                    }
                }
                TOp::LoadAt { dst, index, operand, count } => {
                    let n = if count == Count::One { 1 } else { n };
                    // SAFETY: as above; indices are checked against the axis.
                    unsafe { self.gather(dst, index, operand, n) }
                }
                TOp::Index { dst, axis, count } => {
                    let start = self.index[axis as usize] as i64;
                    let to = self.home(dst) as *mut i64;
                    self.cur[dst as usize] = to as *mut u8;
                    let a = Some(axis as usize);
                    let n = if count == Count::One { 1 } else { n };
                    let (by_lane, by_row) = ((self.axes.lanes == a) as i64, (self.axes.rows == a) as i64);
                    for e in 0..n {
                        let (r, l) = (e / self.lanes, e % self.lanes);
                        // SAFETY: the home holds `n` values of 8 bytes.
                        unsafe { to.add(e).write(start + by_lane * l as i64 + by_row * r as i64) }
                    }
                }
                TOp::Call { f, args, dst, count } => {
                    let n = if count == Count::One { 1 } else { n };
                    let to = self.target(dst);
                    self.cur[dst as usize] = to;
                    let args = args.map(|a| self.cur[a as usize] as *const u8);
                    // SAFETY: the arguments hold `n` values, and no register's memory is another's.
                    unsafe { f(&args, to, n) }
                }
                TOp::Splat { src, dst, size } => {
                    let to = self.home(dst);
                    self.cur[dst as usize] = to;
                    // SAFETY: one value is read, the home holds the tile.
                    unsafe { splat(self.cur[src as usize], to, size as usize, n) }
                }
                TOp::Store { src, operand } => {
                    let info = self.operands[operand as usize];
                    let (from, to) = (self.cur[src as usize], self.ptrs[operand as usize]);
                    if self.past_caches && self.contiguous(info) {
                        // SAFETY: as below; the tile is one piece of memory, and no one has written to it.
                        unsafe { copy_past_caches(from, to, n * info.size) }
                    } else if from != to {
                        // SAFETY: by the contract the tile's elements are writable.
                        unsafe { copy_out(from, to, info, self.rows, self.lanes) }
                    }
                }
            }
        }
    }

    fn contiguous(&self, o: OperandInfo) -> bool {
        (o.lane == 1 || self.lanes == 1) && (self.rows == 1 || o.row == self.lanes as isize)
    }

    fn home(&self, r: Reg) -> *mut u8 {
        let info = &self.regs[r as usize];
        let skip = if info.row { self.along * info.size } else { 0 };
        self.home[r as usize].wrapping_add(skip)
    }

    /// Where a loop writes: into the result where it lies as the tile does, else at home.
    fn target(&self, dst: Reg) -> *mut u8 {
        match self.regs[dst as usize].out {
            Some(o) if !self.in_place && !self.past_caches && self.contiguous(self.operands[o as usize]) => {
                self.ptrs[o as usize]
            }
            _ => self.home(dst),
        }
    }

    /// Points rows' registers at the current part of the row.
    pub fn point_rows(&mut self) {
        for (r, info) in self.regs.iter().enumerate() {
            if info.row {
                self.cur[r] = self.home[r].wrapping_add(self.along * info.size);
            }
        }
    }

    unsafe fn gather(&mut self, dst: Reg, index: Reg, operand: u8, n: usize) {
        let info = self.operands[operand as usize];
        let Some(gather) = info.gather else { return };
        let to = self.home(dst);
        self.cur[dst as usize] = to;
        let (p, idx) = (self.ptrs[operand as usize], self.cur[index as usize] as *const i64);
        for e in 0..n {
            // SAFETY: the index register holds `n` values.
            let i = unsafe { idx.add(e).read_unaligned() };
            if i < 0 || i as usize >= gather.len {
                let _ = self.bad_index.set(gather.error(i));
                continue;
            }
            let at = (e / self.lanes) as isize * info.row
                + (e % self.lanes) as isize * info.lane
                + i as isize * gather.stride;
            // SAFETY: `i` is within the axis, the rest within the launch's extents.
            unsafe {
                let from = p.offset(at * info.size as isize);
                std::ptr::copy_nonoverlapping(from, to.add(e * info.size), info.size);
            }
        }
    }
}

macro_rules! by_size {
    ($size:expr, $f:ident ( $($arg:expr),* )) => {
        match $size {
            1 => $f::<u8>($($arg),*),
            2 => $f::<u16>($($arg),*),
            4 => $f::<u32>($($arg),*),
            _ => $f::<u64>($($arg),*),
        }
    };
}

/// Repeats one value `n` times.
///
/// # Safety
/// One value of `size` bytes can be read, `n` can be written, both aligned.
pub unsafe fn splat(from: *const u8, to: *mut u8, size: usize, n: usize) {
    unsafe fn go<T: Copy>(from: *const u8, to: *mut u8, n: usize) {
        // SAFETY: the caller's: one value readable, `n` writable, both aligned.
        unsafe { std::slice::from_raw_parts_mut(to as *mut T, n).fill(*(from as *const T)) }
    }
    // SAFETY: handed on.
    unsafe { by_size!(size, go(from, to, n)) }
}

unsafe fn copy_in(from: *const u8, to: *mut u8, o: OperandInfo, rows: usize, lanes: usize) {
    unsafe fn go<T: Copy>(from: *const u8, to: *mut u8, o: OperandInfo, rows: usize, lanes: usize) {
        let (from, to) = (from as *const T, to as *mut T);
        // SAFETY: the caller's: every element of the tile is readable, `rows * lanes` values are writable.
        unsafe {
            if o.lane == 1 || o.lane == 0 {
                for r in 0..rows {
                    let (src, dst) = (from.offset(r as isize * o.row), to.add(r * lanes));
                    if o.lane == 1 {
                        std::ptr::copy_nonoverlapping(src, dst, lanes);
                    } else {
                        std::slice::from_raw_parts_mut(dst, lanes).fill(*src);
                    }
                }
            } else if rows > 1 && o.row.unsigned_abs() < o.lane.unsigned_abs() {
                for l in 0..lanes {
                    let src = from.offset(l as isize * o.lane);
                    for r in 0..rows {
                        *to.add(r * lanes + l) = *src.offset(r as isize * o.row);
                    }
                }
            } else {
                for r in 0..rows {
                    let (src, dst) = (from.offset(r as isize * o.row), to.add(r * lanes));
                    for l in 0..lanes {
                        *dst.add(l) = *src.offset(l as isize * o.lane);
                    }
                }
            }
        }
    }
    // SAFETY: handed on.
    unsafe { by_size!(o.size, go(from, to, o, rows, lanes)) }
}

unsafe fn copy_out(from: *const u8, to: *mut u8, o: OperandInfo, rows: usize, lanes: usize) {
    unsafe fn go<T: Copy>(from: *const u8, to: *mut u8, o: OperandInfo, rows: usize, lanes: usize) {
        let (from, to) = (from as *const T, to as *mut T);
        // SAFETY: the caller's: `rows * lanes` values are readable, every element of the tile is writable.
        unsafe {
            for r in 0..rows {
                let (src, dst) = (from.add(r * lanes), to.offset(r as isize * o.row));
                if o.lane == 1 || lanes == 1 {
                    std::ptr::copy_nonoverlapping(src, dst, lanes);
                } else {
                    for l in 0..lanes {
                        *dst.offset(l as isize * o.lane) = *src.add(l);
                    }
                }
            }
        }
    }
    // SAFETY: handed on.
    unsafe { by_size!(o.size, go(from, to, o, rows, lanes)) }
}

/// Copies without reading the lines written to, and without keeping them in the caches. [`fence`] must follow.
unsafe fn copy_past_caches(from: *const u8, to: *mut u8, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_stream_si128};
        // Whole lines alone: a line written by halves would be read after all.
        const LINE: usize = 64;
        let head = to.align_offset(LINE).min(bytes);
        let body = (bytes - head) / LINE * LINE;
        // SAFETY: the caller's: both are valid for `bytes`; the stream's addresses are aligned to lines. SSE2 is part of the target.
        unsafe {
            std::ptr::copy_nonoverlapping(from, to, head);
            let (from, to) = (from.add(head), to.add(head));
            for at in (0..body).step_by(LINE) {
                for part in (at..at + LINE).step_by(16) {
                    let v = _mm_loadu_si128(from.add(part) as *const __m128i);
                    _mm_stream_si128(to.add(part) as *mut __m128i, v);
                }
            }
            std::ptr::copy_nonoverlapping(from.add(body), to.add(body), bytes - head - body);
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: the caller's.
    unsafe {
        std::ptr::copy_nonoverlapping(from, to, bytes)
    }
}

/// Orders what was written past the caches before what this thread does next.
pub fn fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE is part of the target.
    unsafe {
        std::arch::x86_64::_mm_sfence()
    }
}
