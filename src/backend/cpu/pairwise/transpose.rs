//! Packing: rows of memory become columns of panels.

use crate::ops::{Isa, prefetch};
use std::ops::Range;

/// `to[l * width + r] = from[r * row + l * lane]`, and zeros for the rows a panel lacks.
///
/// # Safety
/// `rows * lanes` elements can be read, `lanes * width` written, and the machine has the set.
#[allow(clippy::too_many_arguments)]
pub unsafe fn transpose<T: Copy + Default>(
    isa: Isa,
    from: *const T,
    lane: isize,
    row: isize,
    rows: usize,
    lanes: usize,
    to: *mut T,
    width: usize,
) {
    // SAFETY: the caller's.
    unsafe {
        let zeros = |lanes: Range<usize>| {
            for l in lanes.take_while(|_| rows < width) {
                std::slice::from_raw_parts_mut(to.add(l * width + rows), width - rows).fill(T::default());
            }
        };
        if row == 1 {
            zeros(0..lanes);
            for l in 0..lanes {
                // Each of these lies in another page: no one else foresees it.
                let next = from.wrapping_offset((l + AHEAD) as isize * lane);
                prefetch(next.cast());
                prefetch(next.wrapping_add(rows.max(1) - 1).cast());
                copy(from.offset(l as isize * lane), to.add(l * width), rows);
            }
            return;
        }
        let mut l = 0;
        #[cfg(target_arch = "x86_64")]
        if isa != Isa::Portable && lane == 1 && size_of::<T>() == 4 && width > 1 && width.is_multiple_of(2) {
            let whole = lanes / LINE * LINE;
            while l < whole {
                let end = (l + RUN).min(whole);
                // Rows that lie one after the other are one stream of memory: read across it, they take twice as long.
                for r in (0..width).step_by(LINE) {
                    let (have, all) = (rows.saturating_sub(r).min(LINE), (width - r).min(LINE));
                    for l in (l..end).step_by(LINE) {
                        let from = from.wrapping_offset(r as isize * row).wrapping_add(l).cast();
                        let to = to.add(l * width + r).cast();
                        if have == LINE {
                            square::<true>(from, row, LINE, to, width, LINE);
                        } else {
                            square::<false>(from, row, have, to, width, all);
                        }
                    }
                }
                l = end;
            }
        }
        // A cache line of each row at a time: both sides stay in L1, whatever the stride.
        while lane == 1 && l + LINE <= lanes {
            let (from, to) = (from.add(l), to.add(l * width));
            l += LINE;
            match if rows == width { width } else { 0 } {
                4 => lines::<T, 4>(from, row, to),
                6 => lines::<T, 6>(from, row, to),
                8 => lines::<T, 8>(from, row, to),
                12 => lines::<T, 12>(from, row, to),
                16 => lines::<T, 16>(from, row, to),
                32 => lines::<T, 32>(from, row, to),
                64 => lines::<T, 64>(from, row, to),
                _ => {
                    l -= LINE;
                    break;
                }
            }
        }
        zeros(l..lanes);
        for l0 in (l..lanes).step_by(LINE) {
            for r in 0..rows {
                let src = from.offset(r as isize * row + l0 as isize * lane);
                for l in 0..(lanes - l0).min(LINE) {
                    *to.add((l0 + l) * width + r) = *src.offset(l as isize * lane);
                }
            }
        }
    }
}

/// Copies `n` elements: few enough that a call would take as long.
#[inline(always)]
unsafe fn copy<T: Copy>(from: *const T, to: *mut T, n: usize) {
    let (bytes, part) = (n * size_of::<T>(), size_of::<[u64; 4]>());
    // SAFETY: the caller's: `n` elements of each.
    unsafe {
        for at in (0..bytes / part * part).step_by(part) {
            let v = from.byte_add(at).cast::<[u64; 4]>().read_unaligned();
            to.byte_add(at).cast::<[u64; 4]>().write_unaligned(v);
        }
        for e in bytes / part * part / size_of::<T>()..n {
            *to.add(e) = *from.add(e);
        }
    }
}

/// Columns that are asked for before they are packed.
const AHEAD: usize = 8;

/// Elements of a row that are packed at a time.
const LINE: usize = 8;
/// As many of eight rows before the next eight: few enough for what is packed to stay in L1.
#[cfg(target_arch = "x86_64")]
const RUN: usize = 64;

/// `R` whole rows of `LINE` elements each, `row` apart, to `LINE` columns.
#[inline(always)]
unsafe fn lines<T: Copy + Default, const R: usize>(from: *const T, row: isize, to: *mut T) {
    let mut block = [[T::default(); R]; LINE];
    for r in 0..R {
        for (l, column) in block.iter_mut().enumerate() {
            // SAFETY: the caller's.
            column[r] = unsafe { *from.offset(r as isize * row).add(l) };
        }
    }
    // SAFETY: the caller's; the columns lie one after the other.
    unsafe { (to as *mut [[T; R]; LINE]).write_unaligned(block) }
}

/// Up to eight rows of eight 32-bit elements, `row` apart, to eight columns that are `width` apart, and zeros up to `all` rows:
/// 8, 6, 4 or 2. `WHOLE`: 8 of both.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
unsafe fn square<const WHOLE: bool>(from: *const f32, row: isize, rows: usize, to: *mut f32, width: usize, all: usize) {
    use std::arch::x86_64::*;
    // SAFETY: the caller's.
    let load = |r: isize, half: usize| unsafe {
        if !WHOLE && r as usize >= rows { _mm_setzero_ps() } else { _mm_loadu_ps(from.offset(r * row).add(4 * half)) }
    };
    // Halves of two rows, then pairs of elements of two such, then of four: shuffles within halves alone.
    let both =
        |r: isize, half: usize| _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(load(r, half)), load(r + 4, half));
    for half in 0..2 {
        let [a, b, c, d] = [both(0, half), both(1, half), both(2, half), both(3, half)];
        let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
        let (ef, gh) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
        let columns = [
            _mm256_shuffle_ps::<0x44>(ab, cd),
            _mm256_shuffle_ps::<0xee>(ab, cd),
            _mm256_shuffle_ps::<0x44>(ef, gh),
            _mm256_shuffle_ps::<0xee>(ef, gh),
        ];
        for (l, column) in columns.into_iter().enumerate() {
            let to = to.wrapping_add((4 * half + l) * width);
            let (low, high) = (_mm256_castps256_ps128(column), _mm256_extractf128_ps::<1>(column));
            // SAFETY: the caller's: a column has `all` elements.
            unsafe {
                match all {
                    n if WHOLE || n == 8 => _mm256_storeu_ps(to, column),
                    2 => _mm_store_sd(to.cast(), _mm_castps_pd(low)),
                    _ => _mm_storeu_ps(to, low),
                }
                if !WHOLE && all == 6 {
                    _mm_store_sd(to.add(4).cast(), _mm_castps_pd(high));
                }
            }
        }
    }
}
