//! Loops of argmin and argmax. State: the best value, and its index along k (i64).

use super::fold::{contiguous, stay_a_loop};
use super::isa::Body;
use super::lane::{Lane, Min};
use super::{LANES, TILE};
use std::hint::select_unpredictable;
use std::marker::PhantomData;

/// The [`Body`] of an arg reducer over `T`.
pub(super) struct Args<T>(PhantomData<T>);

/// The index of the first of `n` values for which `is` holds; `n` if there is none.
///
/// # Safety
/// `p` is aligned and valid for `n` values.
#[inline(always)]
unsafe fn first<T: Lane>(p: *const T, n: usize, is: impl Fn(T) -> bool + Copy) -> usize {
    let mut e = 0;
    while e + LANES <= n {
        let mut hit = false;
        for l in 0..LANES {
            // SAFETY: e + l < n.
            hit |= is(unsafe { *p.add(e + l) });
        }
        if hit {
            break;
        }
        e += LANES;
    }
    // SAFETY: e < n.
    while e < n && !is(unsafe { *p.add(e) }) {
        e += 1;
    }
    e
}

/// Folds `rows` rows of `m <= B` lanes. Rows count in `T::Row`, which is as wide as the values: comparisons serve both as masks.
///
/// # Safety
/// `p` is valid for `rows` rows of `m` values at `pitch`, with `1 <= rows <= T::ROWS`; `s` and `i` for `m` values.
#[allow(clippy::too_many_arguments)]
#[inline(always)]
unsafe fn lanes<T: Lane, const B: usize>(
    p: *const T,
    rows: usize,
    m: usize,
    pitch: usize,
    k0: i64,
    fresh: bool,
    s: *mut T,
    i: *mut i64,
    flip: u64,
) {
    let (from, start): (*const T, usize) = if fresh { (p, 1) } else { (s, 0) };
    let mut best = [T::HIGHEST; B];
    for (l, b) in best.iter_mut().enumerate().take(m) {
        // SAFETY: both `p` and `s` are valid for m values.
        *b = unsafe { *from.add(l) }.flip(flip);
    }
    // 0: kept; else one more than the row.
    let mut row = [T::row(usize::from(fresh)); B];
    for r in start..rows {
        let here = T::row(r + 1);
        stay_a_loop();
        for (l, (b, at)) in best.iter_mut().zip(&mut row).enumerate().take(m) {
            // SAFETY: row r < rows, lane l < m.
            let v = unsafe { *p.add(r * pitch + l) }.flip(flip);
            let beats = v.beats(*b);
            *b = select_unpredictable(beats, v, *b);
            *at = select_unpredictable(beats, here, *at);
        }
    }
    for (l, (b, &at)) in best.iter().zip(&row).enumerate().take(m) {
        let at: i64 = at.into();
        // SAFETY: `s` and `i` are valid for m values.
        unsafe {
            *s.add(l) = b.flip(flip);
            *i.add(l) = if at == 0 { *i.add(l) } else { k0 + at - 1 };
        }
    }
}

/// Folds `rows` rows of `n` lanes, `B` lanes and `T::ROWS` rows at a time.
///
/// # Safety
/// As [`Body::block`].
#[allow(clippy::too_many_arguments)]
#[inline(always)]
unsafe fn blocks<T: Lane, const B: usize>(
    p: *const T,
    rows: usize,
    n: usize,
    pitch: usize,
    k0: i64,
    fresh: bool,
    s: *mut T,
    i: *mut i64,
    flip: u64,
) {
    let mut r = 0;
    while r < rows {
        let count = (rows - r).min(T::ROWS);
        let (k, fresh) = (k0 + r as i64, fresh && r == 0);
        let mut l = 0;
        // SAFETY: every call covers `count` rows from r within `rows`, and lanes l.. within n.
        unsafe {
            let p = p.add(r * pitch);
            while l + B <= n {
                lanes::<T, B>(p.add(l), count, B, pitch, k, fresh, s.add(l), i.add(l), flip);
                l += B;
            }
            if l < n {
                lanes::<T, B>(p.add(l), count, n - l, pitch, k, fresh, s.add(l), i.add(l), flip);
            }
        }
        r += count;
    }
}

impl<T: Lane> Body for Args<T> {
    const MERGE_IS_STEP: bool = false;
    const CUT: usize = TILE;
    const SIZE: usize = size_of::<T>();

    unsafe fn init(s0: *mut u8, s1: *mut u8, n: usize, flip: u64) {
        for l in 0..n {
            // SAFETY: the caller's state has n lanes.
            unsafe {
                s0.cast::<T>().add(l).write(T::HIGHEST.flip(flip));
                s1.cast::<i64>().add(l).write(0);
            }
        }
    }

    /// The tile's best value first, at full width; its place is looked for only if it beats the state.
    #[inline(always)]
    unsafe fn rows(tile: *const u8, n: usize, base: i64, seen: i64, s0: *mut u8, s1: *mut u8, flip: u64) {
        // SAFETY: the caller's tile has n values and its state one lane; the value is in the tile, so at < n.
        unsafe {
            let (p, s) = (tile.cast::<T>(), s0.cast::<T>());
            let v = contiguous::<Min<T>>(p, n, flip);
            if seen == 0 || v.beats((*s).flip(flip)) {
                let at = if v.is_nan() { first(p, n, |x| x.is_nan()) } else { first(p, n, move |x| x.flip(flip) == v) };
                *s = *p.add(at);
                *s1.cast::<i64>() = base + at as i64;
            }
        }
    }

    #[inline(always)]
    unsafe fn block(
        tile: *const u8,
        rows: usize,
        n: usize,
        pitch: usize,
        k0: i64,
        seen: i64,
        s0: *mut u8,
        s1: *mut u8,
        flip: u64,
    ) {
        let (p, s, i, fresh) = (tile.cast::<T>(), s0.cast::<T>(), s1.cast::<i64>(), seen == 0);
        // SAFETY: the caller's promise, passed on.
        unsafe {
            match size_of::<T>() {
                1 => blocks::<T, 128>(p, rows, n, pitch, k0, fresh, s, i, flip),
                2 => blocks::<T, 64>(p, rows, n, pitch, k0, fresh, s, i, flip),
                4 => blocks::<T, 64>(p, rows, n, pitch, k0, fresh, s, i, flip),
                _ => blocks::<T, 16>(p, rows, n, pitch, k0, fresh, s, i, flip),
            }
        }
    }

    /// Ties go to the lower index, so that the parts may come in any order.
    #[inline(always)]
    unsafe fn merge(
        n: usize,
        seen_into: i64,
        _seen_from: i64,
        i0: *mut u8,
        i1: *mut u8,
        f0: *const u8,
        f1: *const u8,
        flip: u64,
    ) {
        for l in 0..n {
            // SAFETY: both states have n lanes.
            unsafe {
                let (s, i) = (i0.cast::<T>().add(l), i1.cast::<i64>().add(l));
                let (v, at) = (*f0.cast::<T>().add(l), *f1.cast::<i64>().add(l));
                let (a, b) = ((*s).flip(flip), v.flip(flip));
                if seen_into == 0 || b.beats(a) || (at < *i && !a.beats(b)) {
                    *s = v;
                    *i = at;
                }
            }
        }
    }

    unsafe fn finish(n: usize, _seen: i64, _s0: *const u8, s1: *const u8, out: *mut u8) {
        // SAFETY: state and output have n lanes.
        unsafe { s1.copy_to_nonoverlapping(out, n * size_of::<i64>()) }
    }
}
