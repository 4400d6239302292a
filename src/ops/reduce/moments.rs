//! Loops of the moments, from which var and std are made. State: the mean, and M2, the sum of squared deviations from it.

use super::fold::{contiguous, stay_a_loop, tree};
use super::isa::Body;
use super::lane::{Real, Sum};
use crate::ops::lift::prefetch;
use crate::ops::reduce::TILE;
use std::marker::PhantomData;

/// How far ahead of the values being read memory is asked for, in bytes.
const AHEAD: usize = 4096;

/// The [`Body`] of the moments of `T`.
pub(super) struct Moments<T>(PhantomData<T>);

/// Sums of `v - mean` and of its square over `n` contiguous values: value `e` into lane `e % B`, then the lanes by a tree.
///
/// # Safety
/// `p` is aligned and valid for `n` values.
#[inline(always)]
unsafe fn deviations<T: Real, const B: usize>(p: *const T, n: usize, mean: T) -> (T, T) {
    let step = |at: usize, l: usize, a: &mut T, b: &mut T| {
        // SAFETY: at + l < n in every call.
        let d = unsafe { *p.add(at + l) }.sub(mean);
        *a = a.add(d);
        *b = b.add(d.mul(d));
    };
    let full = n / B * B;
    let (mut s, mut q) = ([T::NIL; B], [T::NIL; B]);
    for at in (0..full).step_by(B) {
        ahead(p.wrapping_add(at + AHEAD / size_of::<T>()), B * size_of::<T>());
        for l in 0..B {
            step(at, l, &mut s[l], &mut q[l]);
        }
    }
    for l in 0..(n - full).min(B) {
        step(full, l, &mut s[l], &mut q[l]);
    }
    (tree(&s, T::add), tree(&q, T::add))
}

/// Asks for the cache lines at `p`, which may lie beyond what is readable.
#[inline(always)]
fn ahead<T>(p: *const T, bytes: usize) {
    for line in (0..bytes).step_by(64) {
        prefetch(p.cast::<u8>().wrapping_add(line));
    }
}

/// The two factors of Chan's merge of `a` values with `b`: the share of `b`, and `a * b / (a + b)`.
#[inline(always)]
fn shares<T: Real>(a: i64, b: i64) -> (T, T) {
    let (a, b) = (a as f64, b as f64);
    let share = b / (a + b);
    (T::from_f64(share), T::from_f64(a * share))
}

/// Chan's merge: the moments of a part and of another, whose mean is above the first's by `d`, together.
#[inline(always)]
fn join<T: Real>((mean, m2): (T, T), (d, m2_b): (T, T), (share, weight): (T, T)) -> (T, T) {
    (mean.add(d.mul(share)), m2.add(m2_b).add(d.mul(d).mul(weight)))
}

/// Welford's step over `rows` rows of `m <= B` lanes.
///
/// # Safety
/// `p` is valid for `rows >= 1` rows of `m` values at `pitch`; `s0` and `s1` for `m` values.
#[inline(always)]
unsafe fn lanes<T: Real, const B: usize>(
    p: *const T,
    rows: usize,
    m: usize,
    pitch: usize,
    seen: i64,
    s0: *mut T,
    s1: *mut T,
) {
    let (mut mean, mut m2) = ([T::ZERO; B], [T::ZERO; B]);
    for (l, (a, q)) in mean.iter_mut().zip(&mut m2).enumerate().take(m) {
        // SAFETY: `p`, `s0` and `s1` are valid for m values.
        unsafe {
            if seen == 0 {
                *a = *p.add(l);
                // 0, but NaN for an infinity or NaN.
                *q = a.sub(*a);
            } else {
                *a = *s0.add(l);
                *q = *s1.add(l);
            }
        }
    }
    for r in usize::from(seen == 0)..rows {
        stay_a_loop();
        // The same divisor for every lane.
        let inv = T::from_f64(1.0 / (seen + r as i64 + 1) as f64);
        for (l, (a, q)) in mean.iter_mut().zip(&mut m2).enumerate().take(m) {
            // SAFETY: row r < rows, lane l < m.
            let v = unsafe { *p.add(r * pitch + l) };
            let d = v.sub(*a);
            *a = a.add(d.mul(inv));
            *q = q.add(d.mul(v.sub(*a)));
        }
    }
    for (l, (a, q)) in mean.iter().zip(&m2).enumerate().take(m) {
        // SAFETY: `s0` and `s1` are valid for m values.
        unsafe {
            *s0.add(l) = *a;
            *s1.add(l) = *q;
        }
    }
}

/// Folds `rows` rows of `n` lanes, `B` lanes at a time.
///
/// # Safety
/// As [`Body::block`].
#[inline(always)]
unsafe fn blocks<T: Real, const B: usize>(
    p: *const T,
    rows: usize,
    n: usize,
    pitch: usize,
    seen: i64,
    s0: *mut T,
    s1: *mut T,
) {
    let mut l = 0;
    // SAFETY: every call covers lanes l.. within n.
    unsafe {
        while l + B <= n {
            lanes::<T, B>(p.add(l), rows, B, pitch, seen, s0.add(l), s1.add(l));
            l += B;
        }
        if l < n {
            lanes::<T, B>(p.add(l), rows, n - l, pitch, seen, s0.add(l), s1.add(l));
        }
    }
}

impl<T: Real> Body for Moments<T> {
    const MERGE_IS_STEP: bool = false;
    const CUT: usize = TILE;
    const SIZE: usize = size_of::<T>();

    unsafe fn init(s0: *mut u8, s1: *mut u8, n: usize, _flip: u64) {
        for l in 0..n {
            // SAFETY: the caller's state has n lanes.
            unsafe {
                s0.cast::<T>().add(l).write(T::ZERO);
                s1.cast::<T>().add(l).write(T::ZERO);
            }
        }
    }

    #[inline(always)]
    unsafe fn rows(tile: *const u8, n: usize, _base: i64, seen: i64, s0: *mut u8, s1: *mut u8, _flip: u64) {
        // SAFETY: the caller's tile has n values and its states one lane.
        unsafe {
            let (p, s0, s1) = (tile.cast::<T>(), s0.cast::<T>(), s1.cast::<T>());
            let count = T::from_f64(n as f64);
            // The mean of as many values before is near enough: by what it misses, the two parts differ, so that M2 has
            // n / 2 of its square at least, and the few ulp of n of them that rounding takes are as few of M2.
            let known = seen >= n as i64;
            let mean = if known { *s0 } else { contiguous::<Sum<T>>(p, n, 0).div(count) };
            // Two accumulators a lane, in 8 AVX2 registers.
            let (sum, square) =
                if size_of::<T>() == 8 { deviations::<T, 16>(p, n, mean) } else { deviations::<T, 32>(p, n, mean) };
            // What the mean missed: taken out of M2, and put into the mean.
            let missed = sum.div(count);
            let m2 = square.sub(sum.mul(missed));
            let m2 = if m2 < T::ZERO { T::ZERO } else { m2 };
            (*s0, *s1) = if seen == 0 {
                (mean.add(missed), m2)
            } else {
                let d = if known { missed } else { mean.add(missed).sub(*s0) };
                join((*s0, *s1), (d, m2), shares(seen, n as i64))
            };
        }
    }

    #[inline(always)]
    unsafe fn block(
        tile: *const u8,
        rows: usize,
        n: usize,
        pitch: usize,
        _k0: i64,
        seen: i64,
        s0: *mut u8,
        s1: *mut u8,
        _flip: u64,
    ) {
        let (p, s0, s1) = (tile.cast::<T>(), s0.cast::<T>(), s1.cast::<T>());
        // SAFETY: the caller's promise, passed on.
        unsafe {
            if size_of::<T>() == 8 {
                blocks::<T, 16>(p, rows, n, pitch, seen, s0, s1);
            } else {
                blocks::<T, 32>(p, rows, n, pitch, seen, s0, s1);
            }
        }
    }

    #[inline(always)]
    unsafe fn merge(
        n: usize,
        seen_into: i64,
        seen_from: i64,
        i0: *mut u8,
        i1: *mut u8,
        f0: *const u8,
        f1: *const u8,
        _flip: u64,
    ) {
        let share = shares::<T>(seen_into, seen_from);
        for l in 0..n {
            // SAFETY: both states have n lanes.
            unsafe {
                let (mean, m2) = (i0.cast::<T>().add(l), i1.cast::<T>().add(l));
                let part = (*f0.cast::<T>().add(l), *f1.cast::<T>().add(l));
                (*mean, *m2) =
                    if seen_into == 0 { part } else { join((*mean, *m2), (part.0.sub(*mean), part.1), share) };
            }
        }
    }

    unsafe fn finish(n: usize, _seen: i64, _s0: *const u8, s1: *const u8, out: *mut u8) {
        for l in 0..n {
            // SAFETY: state and output have n lanes.
            unsafe { out.cast::<T>().add(l).write((*s1.cast::<T>().add(l)).canonical()) }
        }
    }
}
