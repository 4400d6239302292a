//! The k smallest or largest elements of rows: one walk over a row. What is better than the worst of the k best so far is noted:
//! in order where they are few; else the k best stay whenever as many again are noted. Rows lie in memory, or come in parts from
//! the kernel that makes them.

use super::threads::{Threads, Worth};
use crate::backend::Args;
use crate::dtype::{DType, Element};
use crate::error::Result;
use crate::kernel::TopKSpec;
use crate::ops::Isa;
use half::{bf16, f16};
use std::marker::PhantomData;

/// Elements looked at before one is noted.
const BLOCK: usize = 64;
/// The best are kept in order where they are no more than this.
const FEW: usize = 32;
/// Elements that tell, before any is noted, what the `FEW` best of them are not worse than.
const FIRST: usize = 512;
/// Elements that one thread looks through as soon as two.
const ALONE: usize = 1 << 14;

/// A compiled selection.
pub struct TopK {
    spec: TopKSpec,
    isa: Isa,
}

/// Selections in some rows side by side. Elements of a row come in the order of their indices.
pub trait Rows {
    /// Nothing was looked at.
    fn clear(&mut self);
    /// Looks at `n` elements of row `r`, `step` apart; the first has index `at`.
    ///
    /// # Safety
    /// They can be read, as elements of the type this was made for, and the machine has the set.
    unsafe fn look(&mut self, r: usize, from: *const u8, step: isize, n: usize, at: i64);
    /// Looks at `n` elements of row `r` that lie side by side, whose indices are given.
    ///
    /// # Safety
    /// Both can be read.
    unsafe fn look_at(&mut self, r: usize, from: *const u8, at: *const i64, n: usize);
    /// Writes the indices of the best of row `r` in order and, unless that is null, the elements: `k`, or as many as were
    /// looked at.
    ///
    /// # Safety
    /// Both can be written.
    unsafe fn finish(&mut self, r: usize, at: *mut i64, values: *mut u8);
}

/// An element.
trait Key: Element {
    /// What it is compared as.
    type As: Copy + PartialOrd;
    /// That.
    fn key(self) -> Self::As;
    /// A number that orders as the elements do, the same of both zeros; none of NaN.
    fn rank(self) -> Option<u64>;

    /// A bit for each of [`BLOCK`] elements that is better than `w` or, where `ties`, equal to it.
    ///
    /// # Safety
    /// They can be read; where `SIMD`, the machine has AVX2.
    #[inline(always)]
    unsafe fn hits<const LARGEST: bool, const SIMD: bool>(p: *const Self, w: Self::As, ties: bool) -> u64 {
        // SAFETY: the caller's.
        unsafe { hits::<Self, LARGEST>(p, w, ties) }
    }
}

/// [`Key::hits`] of any type.
#[inline(always)]
unsafe fn hits<T: Key, const LARGEST: bool>(p: *const T, w: T::As, ties: bool) -> u64 {
    let mut block = [w; BLOCK];
    // SAFETY: the caller's.
    (0..BLOCK).for_each(|l| block[l] = unsafe { *p.add(l) }.key());
    let hit = |v: T::As| better::<_, LARGEST>(v, w) | (ties & (v == w));
    // Most blocks have none, and this is a loop of vectors.
    if block.iter().fold(0, |any, &v| any | u32::from(hit(v))) == 0 {
        return 0;
    }
    block.iter().enumerate().fold(0, |bits, (l, &v)| bits | u64::from(hit(v)) << l)
}

macro_rules! keys {
    ($($rank:ident: $($t:ty),*;)*) => {$($(
        impl Key for $t {
            type As = $t;
            #[inline(always)]
            fn key(self) -> $t { self }
            #[inline(always)]
            fn rank(self) -> Option<u64> { $rank(self.into()) }
        }
    )*)*};
}

keys! {
    Some: bool, u8, u16, u32, u64;
    signed: i8, i16, i32, i64;
}

/// The number of an integer.
fn signed(v: i64) -> Option<u64> {
    Some(v as u64 ^ 1 << 63)
}

/// The number of a float.
fn float(v: f64) -> Option<u64> {
    // -0.0 becomes 0.0.
    let bits = (v + 0.0).to_bits();
    let rank = if bits >> 63 == 0 { bits | 1 << 63 } else { !bits };
    (!v.is_nan()).then_some(rank)
}

macro_rules! floats {
    ($($t:ident $lanes:literal $splat:ident $load:ident $cmp:ident $mask:ident;)*) => {$(
        impl Key for $t {
            type As = $t;
            #[inline(always)]
            fn key(self) -> $t { self }
            #[inline(always)]
            fn rank(self) -> Option<u64> { float(self.into()) }

            #[inline(always)]
            unsafe fn hits<const LARGEST: bool, const SIMD: bool>(p: *const $t, w: $t, ties: bool) -> u64 {
                #[cfg(target_arch = "x86_64")]
                if SIMD {
                    use std::arch::x86_64::*;
                    macro_rules! bits {
                        ($is:ident) => {
                            // SAFETY: the caller's.
                            (0..BLOCK / $lanes).fold(0, |bits, b| unsafe {
                                let is = $cmp::<$is>($load(p.add(b * $lanes)), $splat(w));
                                bits | u64::from($mask(is) as u32) << (b * $lanes)
                            })
                        };
                    }
                    return match (LARGEST, ties) {
                        (false, false) => bits!(_CMP_LT_OQ),
                        (false, true) => bits!(_CMP_LE_OQ),
                        (true, false) => bits!(_CMP_GT_OQ),
                        (true, true) => bits!(_CMP_GE_OQ),
                    };
                }
                // SAFETY: the caller's.
                unsafe { hits::<$t, LARGEST>(p, w, ties) }
            }
        }
    )*};
}

floats! {
    f32 8 _mm256_set1_ps _mm256_loadu_ps _mm256_cmp_ps _mm256_movemask_ps;
    f64 4 _mm256_set1_pd _mm256_loadu_pd _mm256_cmp_pd _mm256_movemask_pd;
}

macro_rules! halves {
    ($($t:ty),*) => {$(
        impl Key for $t {
            type As = f32;
            #[inline(always)]
            fn key(self) -> f32 { self.to_f32() }
            #[inline(always)]
            fn rank(self) -> Option<u64> { float(self.into()) }
        }
    )*};
}

halves!(f16, bf16);

/// Whether `a` is better than `b`, neither NaN.
#[inline(always)]
fn better<K: PartialOrd, const LARGEST: bool>(a: K, b: K) -> bool {
    if LARGEST { a > b } else { a < b }
}

/// How good an element is: the least is best, NaN is last.
#[inline(always)]
fn place<T: Key, const LARGEST: bool>(v: T) -> u64 {
    match v.rank() {
        None => NAN,
        Some(rank) if LARGEST => !rank,
        Some(rank) => rank,
    }
}

/// The place of NaN. It is that of the last integer, too, which is as good as its like all the same.
const NAN: u64 = u64::MAX;

/// An element: its place, its index, its bits. They order as results do.
type Noted = (u64, i64, u64);

/// The best of a row so far: the `k` best, or all there are. In order where `k` is small, else in none, and with others.
struct Best {
    k: usize,
    noted: Vec<Noted>,
    /// Place and bits of an element: what is worse is not among the `k` best.
    worst: Option<(u64, u64)>,
    /// What is equal to it may be: else `k` are noted that are as good, and of equal elements the first is better.
    ties: bool,
}

impl Best {
    fn note(&mut self, new: Noted) {
        if self.worst.is_some_and(|(w, _)| new.0 > w || new.0 == w && !self.ties) {
            return;
        }
        let k = self.k;
        if k > FEW {
            self.noted.push(new);
            if self.noted.len() < 2 * k {
                return;
            }
            self.noted.select_nth_unstable(k - 1);
            self.noted.truncate(k);
        } else {
            self.noted.truncate(k - 1);
            let mut p = self.noted.len();
            self.noted.push(new);
            while p > 0 && new.0 < self.noted[p - 1].0 {
                self.noted[p] = self.noted[p - 1];
                p -= 1;
            }
            self.noted[p] = new;
        }
        if let Some(last) = self.noted.get(k - 1) {
            (self.worst, self.ties) = (Some((last.0, last.2)), false);
        }
    }

    /// Before anything is noted: a bound from the first elements, which many are worse than.
    #[inline(always)]
    unsafe fn bound<T: Key, const LARGEST: bool>(&mut self, from: *const T, m: usize) {
        // SAFETY: the caller's: there are `m` elements, a block at least.
        let at = |e: usize| unsafe { *from.add(e) };
        // The best of those that are `BLOCK` apart: `k` of these are no worse than the k-th of them.
        let mut best = [at(0); BLOCK];
        (0..BLOCK).for_each(|l| best[l] = at(l));
        for e in (BLOCK..m / BLOCK * BLOCK).step_by(BLOCK) {
            for (l, b) in best.iter_mut().enumerate() {
                *b = if better::<_, LARGEST>(at(e + l).key(), b.key()) { at(e + l) } else { *b };
            }
        }
        self.bound_of(best.map(|v| (place::<T, LARGEST>(v), v.to_bits64())));
    }

    fn bound_of(&mut self, mut best: [(u64, u64); BLOCK]) {
        let (_, &mut w, _) = best.select_nth_unstable(self.k - 1);
        if w.0 != NAN {
            (self.worst, self.ties) = (Some(w), true);
        }
    }
}

#[inline(always)]
unsafe fn look<T: Key, const LARGEST: bool, const SIMD: bool>(
    best: &mut Best,
    from: *const u8,
    step: isize,
    m: usize,
    first: i64,
) {
    let from = from as *const T;
    if best.k == 0 {
        return;
    }
    if step == 1 && best.k <= FEW && m >= FIRST && best.noted.is_empty() {
        // SAFETY: the caller's.
        unsafe { best.bound::<T, LARGEST>(from, m) };
    }
    let mut j = 0;
    while j < m {
        let n = (m - j).min(BLOCK);
        let note = |best: &mut Best, l: usize| {
            // SAFETY: the caller's: there are `m` elements.
            let v = unsafe { *from.offset((j + l) as isize * step) };
            best.note((place::<T, LARGEST>(v), first + (j + l) as i64, v.to_bits64()));
        };
        match best.worst {
            Some((w, bits)) if n == BLOCK && step == 1 && w != NAN => {
                let w = T::from_bits64(bits).key();
                // SAFETY: as above.
                let mut hits = unsafe { T::hits::<LARGEST, SIMD>(from.add(j), w, best.ties) };
                while hits != 0 {
                    note(best, hits.trailing_zeros() as usize);
                    hits &= hits - 1;
                }
            }
            _ => (0..n).for_each(|l| note(best, l)),
        }
        j += n;
    }
}

/// `(the best so far, first element, elements from one to the next, how many, index of the first)`.
type Look = unsafe fn(&mut Best, *const u8, isize, usize, i64);

struct All<T, const LARGEST: bool> {
    rows: Vec<Best>,
    look: Look,
    of: PhantomData<T>,
}

impl<T: Key, const LARGEST: bool> Rows for All<T, LARGEST> {
    fn clear(&mut self) {
        for best in &mut self.rows {
            best.noted.clear();
            (best.worst, best.ties) = (None, false);
        }
    }

    unsafe fn look(&mut self, r: usize, from: *const u8, step: isize, n: usize, at: i64) {
        // SAFETY: the caller's.
        unsafe { (self.look)(&mut self.rows[r], from, step, n, at) }
    }

    unsafe fn look_at(&mut self, r: usize, from: *const u8, at: *const i64, n: usize) {
        for e in 0..n {
            // SAFETY: the caller's.
            let (v, at) = unsafe { (*(from as *const T).add(e), *at.add(e)) };
            self.rows[r].note((place::<T, LARGEST>(v), at, v.to_bits64()));
        }
    }

    unsafe fn finish(&mut self, r: usize, at: *mut i64, values: *mut u8) {
        let best = &mut self.rows[r];
        if best.k > FEW {
            best.noted.sort_unstable();
        }
        for (r, &(_, index, bits)) in best.noted.iter().take(best.k).enumerate() {
            // SAFETY: the caller's.
            unsafe {
                *at.add(r) = index;
                if !values.is_null() {
                    *(values as *mut T).add(r) = T::from_bits64(bits);
                }
            }
        }
    }
}

fn all<T: Key, const LARGEST: bool>(k: usize, rows: usize, look: Look) -> Box<dyn Rows> {
    let new = |_| Best { k, noted: vec![], worst: None, ties: false };
    Box::new(All::<T, LARGEST> { rows: (0..rows).map(new).collect(), look, of: PhantomData })
}

macro_rules! rows {
    ($dtype:expr, $largest:expr, $k:expr, $rows:expr, $simd:literal $(, $feature:literal)?) => {{
        macro_rules! one {
            ($t:ty) => {{
                $(#[target_feature(enable = $feature)])?
                unsafe fn least(best: &mut Best, from: *const u8, step: isize, n: usize, at: i64) {
                    // SAFETY: the caller's.
                    unsafe { look::<$t, false, $simd>(best, from, step, n, at) }
                }
                $(#[target_feature(enable = $feature)])?
                unsafe fn greatest(best: &mut Best, from: *const u8, step: isize, n: usize, at: i64) {
                    // SAFETY: the caller's.
                    unsafe { look::<$t, true, $simd>(best, from, step, n, at) }
                }
                if $largest { all::<$t, true>($k, $rows, greatest) } else { all::<$t, false>($k, $rows, least) }
            }};
        }
        match $dtype {
            DType::Bool => one!(bool),
            DType::I8 => one!(i8),
            DType::I16 => one!(i16),
            DType::I32 => one!(i32),
            DType::I64 => one!(i64),
            DType::U8 => one!(u8),
            DType::U16 => one!(u16),
            DType::U32 => one!(u32),
            DType::U64 => one!(u64),
            DType::F16 => one!(f16),
            DType::BF16 => one!(bf16),
            DType::F32 => one!(f32),
            DType::F64 => one!(f64),
        }
    }};
}

/// Selections of the `k` smallest or largest in `n` rows.
pub fn rows(dtype: DType, largest: bool, k: usize, n: usize, isa: Isa) -> Box<dyn Rows> {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => rows!(dtype, largest, k, n, true, "avx512f,avx512dq,avx512vl,avx2"),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => rows!(dtype, largest, k, n, true, "avx2"),
        _ => rows!(dtype, largest, k, n, false),
    }
}

impl TopK {
    /// Of an array in memory.
    pub fn new(spec: &TopKSpec, isa: Isa) -> TopK {
        TopK { spec: spec.clone(), isa }
    }

    /// Runs it.
    pub fn run(&self, threads: &Threads, args: &Args<'_>) -> Result<()> {
        let s = &self.spec;
        let count: usize = s.batch.iter().product();
        let first =
            |o: usize, size: usize| (args.bases[o] as *mut u8).wrapping_offset(s.operands[o].offset * size as isize);
        let (from, to) = (first(0, s.dtype.size()) as usize, first(1, size_of::<i64>()) as usize);
        let step = s.operands[0].strides[s.batch.len()];
        threads.spread(count, Worth::of(count * s.m, ALONE), &|next| {
            let mut best = rows(s.dtype, s.largest, s.k, 1, self.isa);
            while let Some(r) = next() {
                let (mut rest, mut at) = (r, 0);
                for (a, &n) in s.batch.iter().enumerate().rev() {
                    at += (rest % n) as isize * s.operands[0].strides[a];
                    rest /= n;
                }
                let from = (from as *const u8).wrapping_offset(at * s.dtype.size() as isize);
                // SAFETY: the launch covers the row; no two rows write the same results, which lie in C order.
                unsafe {
                    best.clear();
                    best.look(0, from, step, s.m, 0);
                    best.finish(0, (to as *mut i64).add(r * s.k), std::ptr::null_mut());
                }
            }
        })
    }
}
