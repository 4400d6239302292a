//! Loops of the reducers whose state is one value: sum, product, min, max, any, all.

use super::isa::Body;
use super::lane::{Fold, Lane};
use super::{LANES, TILE};
use std::array::from_fn;
use std::hint::select_unpredictable;
use std::marker::PhantomData;
use std::sync::atomic::{Ordering, compiler_fence};

/// Up to here a contiguous fold looks at its first accumulators only; the rest stay neutral.
pub(super) const SHORT: usize = 16;

/// The [`Body`] of a [`Fold`].
pub(super) struct Folds<F>(PhantomData<F>);

/// Folds `n` contiguous values, turned: into accumulators, then these by a tree.
///
/// # Safety
/// `p` is aligned and valid for `n` values.
#[inline(always)]
pub(super) unsafe fn contiguous<F: Fold>(p: *const F::T, n: usize, flip: u64) -> F::T {
    // SAFETY: every index below is under n.
    let at = |e: usize| F::turn(unsafe { *p.add(e) }, flip);
    if n <= SHORT {
        let mut acc = [F::START; SHORT];
        for (e, a) in acc.iter_mut().enumerate() {
            *a = if e < n { at(e) } else { F::START };
        }
        return tree_of(&mut acc, n, F::step);
    }
    if n == 2 * SHORT {
        let acc: [F::T; 2 * SHORT] = from_fn(at);
        return tree(&acc, F::step);
    }
    // SAFETY: the caller's promise, passed on.
    let acc = unsafe { accumulators::<F>(p, n, flip) };
    tree(&acc, F::step)
}

/// Folds `n` contiguous values, turned: value `e` into accumulator `e % LANES`; what is left over after whole `LANES`, into the last.
///
/// # Safety
/// As [`contiguous`].
#[inline(always)]
unsafe fn accumulators<F: Fold>(p: *const F::T, n: usize, flip: u64) -> [F::T; LANES] {
    // SAFETY: every index below is under n.
    let at = |e: usize| F::turn(unsafe { *p.add(e) }, flip);
    let mut acc = [F::START; LANES];
    let mut e = 0;
    while e + LANES <= n {
        for (l, a) in acc.iter_mut().enumerate() {
            *a = F::step(*a, at(e + l));
        }
        e += LANES;
    }
    if n < LANES {
        for (l, a) in acc.iter_mut().enumerate().take(n) {
            *a = at(l);
        }
    } else if e < n {
        // The last LANES values again, those that are in already made neutral: whole vectors, where a short loop would go through memory.
        for (l, a) in acc.iter_mut().enumerate() {
            let v = at(n - LANES + l);
            *a = F::step(*a, select_unpredictable(l >= LANES - (n - e), v, F::START));
        }
    }
    acc
}

/// Adds a leaf of `n` values to an open tree of `nodes` nodes, of [`LANES`] accumulators each, the last `joined` of which it completes.
///
/// # Safety
/// As [`Body::leaves`], for `n <= TILE`.
#[inline(always)]
unsafe fn add_leaf<F: Fold>(p: *const F::T, n: usize, nodes: usize, joined: usize, open: *mut F::T) {
    // SAFETY: the tree has these nodes, and room for one more.
    unsafe {
        let mut acc = accumulators::<F>(p, n, 0);
        for node in (nodes - joined..nodes).rev() {
            for (l, a) in acc.iter_mut().enumerate() {
                *a = F::step(*open.add(node * LANES + l), *a);
            }
        }
        open.add((nodes - joined) * LANES).cast::<[F::T; LANES]>().write(acc);
    }
}

/// As [`add_leaf`], of a tree of `width < LANES` accumulators, for `n <= width`.
///
/// # Safety
/// As [`Body::leaves`].
#[inline(always)]
unsafe fn add_short_leaf<F: Fold>(p: *const F::T, n: usize, leaf: usize, width: usize, open: *mut F::T) {
    let (nodes, joined) = (leaf.count_ones() as usize, leaf.trailing_ones() as usize);
    for l in 0..width {
        // SAFETY: as in `add_leaf`; value l is one of n.
        unsafe {
            let mut v = if l < n { *p.add(l) } else { F::START };
            for node in (nodes - joined..nodes).rev() {
                v = F::step(*open.add(node * width + l), v);
            }
            *open.add((nodes - joined) * width + l) = v;
        }
    }
}

/// Folds accumulators by halves; neutral ones change no bit.
#[inline(always)]
pub(super) fn tree<T: Copy, const N: usize>(acc: &[T; N], step: impl Fn(T, T) -> T) -> T {
    let a: [T; 32] = from_fn(|l| if N == 64 { step(acc[l], acc[l + 32]) } else { acc[l % N] });
    let a: [T; 16] = kept(from_fn(|l| if N >= 32 { step(a[l], a[l + 16]) } else { a[l] }));
    let a: [T; 8] = kept(from_fn(|l| step(a[l], a[l + 8])));
    let a: [T; 4] = kept(from_fn(|l| step(a[l], a[l + 4])));
    step(step(a[0], a[2]), step(a[1], a[3]))
}

/// Goes through memory: else LLVM shuffles all lanes into the order in which the last halves add them, a quarter of a sum's time.
#[inline(always)]
fn kept<T, const N: usize>(mut a: [T; N]) -> [T; N] {
    std::hint::black_box(&mut a);
    a
}

/// As [`tree`], of as few accumulators as have one of `n` values.
#[inline(always)]
fn tree_of<T: Copy, const N: usize>(acc: &mut [T; N], n: usize, step: impl Fn(T, T) -> T) -> T {
    for half in [32, 16, 8, 4, 2, 1] {
        if half < N && half < n {
            for l in 0..half {
                acc[l] = step(acc[l], acc[l + half]);
            }
        }
    }
    acc[0]
}

/// Keeps the loop it stands in sequential. LLVM may else vectorise across rows, with gathers, where lanes are what is wanted.
#[inline(always)]
pub(super) fn stay_a_loop() {
    compiler_fence(Ordering::SeqCst);
}

/// Folds `rows` rows of `m <= B` lanes; with a constant `m`, the lanes' states stay in registers.
///
/// # Safety
/// `p` is valid for `rows >= 1` rows of `m` values at `pitch`, `s` for `m` values.
#[inline(always)]
unsafe fn lanes<F: Fold, const B: usize>(
    p: *const F::T,
    rows: usize,
    m: usize,
    pitch: usize,
    fresh: bool,
    s: *mut F::T,
    flip: u64,
) {
    // A fresh state is the first row itself.
    let (from, start): (*const F::T, usize) = if fresh { (p, 1) } else { (s, 0) };
    let mut acc = [F::START; B];
    for (l, a) in acc.iter_mut().enumerate().take(m) {
        // SAFETY: both `p` and `s` are valid for m values.
        *a = F::turn(unsafe { *from.add(l) }, flip);
    }
    for r in start..rows {
        stay_a_loop();
        for (l, a) in acc.iter_mut().enumerate().take(m) {
            // SAFETY: row r < rows, lane l < m.
            *a = F::step(*a, F::turn(unsafe { *p.add(r * pitch + l) }, flip));
        }
    }
    for (l, a) in acc.iter().enumerate().take(m) {
        // SAFETY: `s` is valid for m values.
        unsafe { *s.add(l) = F::turn(*a, flip) }
    }
}

/// Folds `rows` rows of `n` lanes, `B` lanes at a time, at the end half (`H`) and a quarter (`Q`) of it.
///
/// # Safety
/// As [`Body::block`].
#[inline(always)]
unsafe fn blocks<F: Fold, const B: usize, const H: usize, const Q: usize>(
    p: *const F::T,
    rows: usize,
    n: usize,
    pitch: usize,
    fresh: bool,
    s: *mut F::T,
    flip: u64,
) {
    let mut l = 0;
    // SAFETY: every call covers lanes l.. within n.
    unsafe {
        while l + B <= n {
            lanes::<F, B>(p.add(l), rows, B, pitch, fresh, s.add(l), flip);
            l += B;
        }
        // What is left, by constants too.
        if l + H <= n {
            lanes::<F, H>(p.add(l), rows, H, pitch, fresh, s.add(l), flip);
            l += H;
        }
        if l + Q <= n {
            lanes::<F, Q>(p.add(l), rows, Q, pitch, fresh, s.add(l), flip);
            l += Q;
        }
        if l < n {
            lanes::<F, Q>(p.add(l), rows, n - l, pitch, fresh, s.add(l), flip);
        }
    }
}

impl<F: Fold> Body for Folds<F> {
    const MERGE_IS_STEP: bool = true;
    const TREE: bool = F::ROUNDS;
    const CUT: usize = if F::ROUNDS { TILE } else { usize::MAX };
    const SIZE: usize = size_of::<F::T>();

    unsafe fn init(s0: *mut u8, _s1: *mut u8, n: usize, flip: u64) {
        for l in 0..n {
            // SAFETY: the caller's state has n lanes.
            unsafe { s0.cast::<F::T>().add(l).write(F::turn(F::EMPTY, flip)) }
        }
    }

    #[inline(always)]
    unsafe fn rows(tile: *const u8, n: usize, _base: i64, seen: i64, s0: *mut u8, _s1: *mut u8, flip: u64) {
        // SAFETY: the caller's tile has n values and its state one lane.
        unsafe {
            let s = s0.cast::<F::T>();
            let v = contiguous::<F>(tile.cast(), n, flip);
            *s = F::turn(if seen == 0 { v } else { F::step(F::turn(*s, flip), v) }, flip);
        }
    }

    #[inline(always)]
    unsafe fn leaves(tile: *const u8, n: usize, leaf: usize, width: usize, open: *mut u8) {
        let (p, open) = (tile.cast::<F::T>(), open.cast::<F::T>());
        // SAFETY: the caller's promise, passed on for each leaf.
        unsafe {
            if width < LANES {
                return add_short_leaf::<F>(p, n, leaf, width, open);
            }
            // A node for each bit of the number of leaves; a leaf is joined with those of 1, 2, 4, ... while there is one of each.
            let mut nodes = leaf.count_ones() as usize;
            for (leaf, at) in (leaf..).zip((0..n).step_by(TILE)) {
                let (p, joined) = (p.add(at), leaf.trailing_ones() as usize);
                // Of a length known here LLVM unrolls all of a tile, and with AVX2 goes down it accumulator by accumulator, at the latency of an addition.
                add_leaf::<F>(p, std::hint::black_box((n - at).min(TILE)), nodes, joined, open);
                nodes = nodes + 1 - joined;
            }
        }
    }

    #[inline(always)]
    unsafe fn close(leaves: usize, width: usize, open: *const u8, s0: *mut u8) {
        let open = open.cast::<F::T>();
        let mut acc = [F::START; LANES];
        for node in (0..leaves.count_ones() as usize).rev() {
            for (l, a) in acc.iter_mut().enumerate().take(width) {
                // SAFETY: the tree has a node of `width` values for each bit of `leaves`.
                *a = F::step(unsafe { *open.add(node * width + l) }, *a);
            }
        }
        // SAFETY: the state has a lane.
        unsafe { *s0.cast::<F::T>() = tree(&acc, F::step) }
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
        _s1: *mut u8,
        flip: u64,
    ) {
        let (p, s, fresh) = (tile.cast::<F::T>(), s0.cast::<F::T>(), seen == 0);
        // 256 bytes of states: 4 AVX-512 or 8 AVX2 registers, enough chains to hide an addition's latency.
        // SAFETY: the caller's promise, passed on.
        unsafe {
            match size_of::<F::T>() {
                1 => blocks::<F, 256, 128, 64>(p, rows, n, pitch, fresh, s, flip),
                2 => blocks::<F, 128, 64, 32>(p, rows, n, pitch, fresh, s, flip),
                4 => blocks::<F, 64, 32, 16>(p, rows, n, pitch, fresh, s, flip),
                _ => blocks::<F, 32, 16, 8>(p, rows, n, pitch, fresh, s, flip),
            }
        }
    }

    unsafe fn merge(
        _n: usize,
        _seen_into: i64,
        _seen_from: i64,
        _i0: *mut u8,
        _i1: *mut u8,
        _f0: *const u8,
        _f1: *const u8,
        _flip: u64,
    ) {
        // A step: `MERGE_IS_STEP`.
    }

    unsafe fn finish(n: usize, _seen: i64, s0: *const u8, _s1: *const u8, out: *mut u8) {
        for l in 0..n {
            // SAFETY: state and output have n lanes.
            unsafe { out.cast::<F::T>().add(l).write((*s0.cast::<F::T>().add(l)).canonical()) }
        }
    }
}
