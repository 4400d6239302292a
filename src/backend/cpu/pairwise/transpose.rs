//! Packing: rows of memory become columns of panels.

use crate::ops::Isa;

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
        if rows < width {
            for l in 0..lanes {
                std::slice::from_raw_parts_mut(to.add(l * width + rows), width - rows).fill(T::default());
            }
        }
        if row == 1 {
            for l in 0..lanes {
                std::ptr::copy_nonoverlapping(from.offset(l as isize * lane), to.add(l * width), rows);
            }
            return;
        }
        let mut l = 0;
        #[cfg(target_arch = "x86_64")]
        if isa != Isa::Portable && size_of::<T>() == 4 && width.is_multiple_of(LINE) && lane == 1 && rows == width {
            let whole = lanes / LINE * LINE;
            while l < whole {
                let end = (l + RUN).min(whole);
                // Rows that lie one after the other are one stream of memory: read across it, they take twice as long.
                for r in (0..width).step_by(LINE) {
                    for l in (l..end).step_by(LINE) {
                        square(from.offset(r as isize * row).add(l).cast(), row, to.add(l * width + r).cast(), width);
                    }
                }
                l = end;
            }
        }
        // A cache line of each row at a time: both sides stay in L1, whatever the stride.
        while lane == 1 && rows == width && l + LINE <= lanes {
            let (from, to) = (from.add(l), to.add(l * width));
            l += LINE;
            match width {
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

/// Eight rows of eight 32-bit elements, `row` apart, to eight columns that are `width` apart.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
unsafe fn square(from: *const f32, row: isize, to: *mut f32, width: usize) {
    use std::arch::x86_64::*;
    // SAFETY: the caller's.
    let load = |r: isize, half: usize| unsafe { _mm_loadu_ps(from.offset(r * row).add(4 * half)) };
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
            // SAFETY: the caller's.
            unsafe { _mm256_storeu_ps(to.add((4 * half + l) * width), column) };
        }
    }
}
