//! Compiles a reducer's loops once per instruction set and gathers them in a [`ReduceLoops`].

use super::{ReduceLoops, Tree};

/// The loops of one reducer on one type. They are inlined into the wrappers below, for whose target features they are compiled. `flip` is
/// for [`Lane::flip`](super::lane::Lane::flip).
///
/// # Safety
/// Of all methods: pointers are aligned, valid for the lanes that the arguments name, and state and tile do not overlap.
pub(super) trait Body: 'static {
    /// Whether a state is a value like any other: merging is then a step.
    const MERGE_IS_STEP: bool;
    /// Whether several tiles are the leaves of a tree.
    const TREE: bool = false;
    /// Values that `rows` takes at once.
    const CUT: usize;
    /// Bytes of a value.
    const SIZE: usize;
    unsafe fn init(s0: *mut u8, s1: *mut u8, n: usize, flip: u64);
    unsafe fn rows(tile: *const u8, n: usize, base: i64, seen: i64, s0: *mut u8, s1: *mut u8, flip: u64);
    /// Called if `TREE`; no bits are flipped.
    unsafe fn leaves(_tile: *const u8, _n: usize, _leaf: usize, _width: usize, _open: *mut u8) {}
    /// As `leaves`.
    unsafe fn close(_leaves: usize, _width: usize, _open: *const u8, _s0: *mut u8) {}
    #[allow(clippy::too_many_arguments)]
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
    );
    /// Called with `seen_from > 0`, and not at all if `MERGE_IS_STEP`.
    #[allow(clippy::too_many_arguments)]
    unsafe fn merge(
        n: usize,
        seen_into: i64,
        seen_from: i64,
        i0: *mut u8,
        i1: *mut u8,
        f0: *const u8,
        f1: *const u8,
        flip: u64,
    );
    unsafe fn finish(n: usize, seen: i64, s0: *const u8, s1: *const u8, out: *mut u8);
}

/// The loops of one ISA: `*_flip` are compiled with its features, the functions in the table hand them the mask.
macro_rules! compile_for {
    ($isa:ident $(, $features:literal)?) => {
        #[allow(clippy::too_many_arguments)]
        mod $isa {
            use super::Body;

            #[inline(never)]
            $(#[target_feature(enable = $features)])?
            unsafe fn rows_flip<B: Body>(
                tile: *const u8, n: usize, base: i64, seen: i64, s0: *mut u8, s1: *mut u8, flip: u64,
            ) {
                for at in (0..n).step_by(B::CUT) {
                    let done = at as i64;
                    // SAFETY: the caller's promise, passed on for a part of its values.
                    unsafe { B::rows(tile.add(at * B::SIZE), (n - at).min(B::CUT), base + done, seen + done, s0, s1, flip) }
                }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn leaves_for<B: Body>(tile: *const u8, n: usize, leaf: usize, width: usize, open: *mut u8) {
                // SAFETY: the caller's promise, passed on.
                unsafe { B::leaves(tile, n, leaf, width, open) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn close_for<B: Body>(leaves: usize, width: usize, open: *const u8, s0: *mut u8) {
                // SAFETY: the caller's promise, passed on.
                unsafe { B::close(leaves, width, open, s0) }
            }

            pub(super) unsafe fn leaves<B: Body>(tile: *const u8, n: usize, leaf: usize, width: usize, open: *mut u8) {
                // SAFETY: the caller's promise, passed on.
                unsafe { leaves_for::<B>(tile, n, leaf, width, open) }
            }

            pub(super) unsafe fn close<B: Body>(leaves: usize, width: usize, open: *const u8, s0: *mut u8) {
                // SAFETY: the caller's promise, passed on.
                unsafe { close_for::<B>(leaves, width, open, s0) }
            }

            #[inline(never)]
            $(#[target_feature(enable = $features)])?
            unsafe fn block_flip<B: Body>(
                tile: *const u8, rows: usize, n: usize, pitch: usize, k0: i64, seen: i64, s0: *mut u8, s1: *mut u8, flip: u64,
            ) {
                // SAFETY: the caller's promise, passed on.
                unsafe { B::block(tile, rows, n, pitch, k0, seen, s0, s1, flip) }
            }

            #[inline(never)]
            $(#[target_feature(enable = $features)])?
            unsafe fn merge_flip<B: Body>(
                n: usize, seen_into: i64, seen_from: i64, i0: *mut u8, i1: *mut u8, f0: *const u8, f1: *const u8, flip: u64,
            ) {
                // SAFETY: the caller's promise, passed on.
                unsafe { B::merge(n, seen_into, seen_from, i0, i1, f0, f1, flip) }
            }

            pub(super) unsafe fn rows<B: Body, const FLIP: u64>(
                tile: *const u8, n: usize, base: i64, seen: i64, s0: *mut u8, s1: *mut u8,
            ) {
                if n > 0 {
                    // SAFETY: the caller's promise, passed on.
                    unsafe { rows_flip::<B>(tile, n, base, seen, s0, s1, FLIP) }
                }
            }

            pub(super) unsafe fn block<B: Body, const FLIP: u64>(
                tile: *const u8, rows: usize, n: usize, pitch: usize, k0: i64, seen: i64, s0: *mut u8, s1: *mut u8,
            ) {
                if rows > 0 {
                    // SAFETY: the caller's promise, passed on.
                    unsafe { block_flip::<B>(tile, rows, n, pitch, k0, seen, s0, s1, FLIP) }
                }
            }

            pub(super) unsafe fn cols<B: Body, const FLIP: u64>(
                tile: *const u8, n: usize, k: i64, seen: i64, s0: *mut u8, s1: *mut u8,
            ) {
                // SAFETY: the caller's promise, passed on.
                unsafe { block_flip::<B>(tile, 1, n, 0, k, seen, s0, s1, FLIP) }
            }

            pub(super) unsafe fn merge<B: Body, const FLIP: u64>(
                n: usize, seen_into: i64, seen_from: i64, i0: *mut u8, i1: *mut u8, f0: *const u8, f1: *const u8,
            ) {
                if seen_from > 0 {
                    // SAFETY: the caller's promise, passed on.
                    unsafe {
                        if B::MERGE_IS_STEP {
                            block_flip::<B>(f0, 1, n, 0, 0, seen_into, i0, i1, FLIP)
                        } else {
                            merge_flip::<B>(n, seen_into, seen_from, i0, i1, f0, f1, FLIP)
                        }
                    }
                }
            }
        }
    };
}

compile_for!(portable);
#[cfg(target_arch = "x86_64")]
compile_for!(avx2, "avx2,fma,f16c,bmi2");
#[cfg(target_arch = "x86_64")]
compile_for!(avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx2,fma,f16c,bmi2");
#[cfg(not(target_arch = "x86_64"))]
use {portable as avx2, portable as avx512};

unsafe fn init<B: Body, const FLIP: u64>(s0: *mut u8, s1: *mut u8, n: usize) {
    // SAFETY: the caller's promise, passed on.
    unsafe { B::init(s0, s1, n, FLIP) }
}

/// The loops of `B` with the bits of `FLIP` flipped, for every ISA.
pub(super) fn loops<B: Body, const FLIP: u64>() -> ReduceLoops {
    ReduceLoops {
        init: init::<B, FLIP>,
        tree: B::TREE.then_some(Tree {
            leaves: [portable::leaves::<B>, avx2::leaves::<B>, avx512::leaves::<B>],
            close: [portable::close::<B>, avx2::close::<B>, avx512::close::<B>],
        }),
        rows: [portable::rows::<B, FLIP>, avx2::rows::<B, FLIP>, avx512::rows::<B, FLIP>],
        cols: [portable::cols::<B, FLIP>, avx2::cols::<B, FLIP>, avx512::cols::<B, FLIP>],
        cols_block: [portable::block::<B, FLIP>, avx2::block::<B, FLIP>, avx512::block::<B, FLIP>],
        merge: [portable::merge::<B, FLIP>, avx2::merge::<B, FLIP>, avx512::merge::<B, FLIP>],
        finish: B::finish,
    }
}
