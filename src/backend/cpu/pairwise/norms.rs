//! Sums of squares of packed rows, in the order in which the micro-kernel folds their products: of two equal rows x and y,
//! |x|^2, |y|^2 and x.y have the same bits.

use crate::ops::Isa;

/// Most rows of a panel.
const WIDEST: usize = 64;

macro_rules! chain {
    ($name:ident $t:ty, $step:expr $(, $feature:literal)?) => {
        $(#[target_feature(enable = $feature)])?
        unsafe fn $name(panel: *const u8, steps: usize, width: usize, out: *mut u8, add: bool) {
            let (panel, out) = (panel as *const $t, out as *mut $t);
            let mut acc = [0.0; WIDEST];
            let step = $step;
            // SAFETY: the caller's: the panel is `steps * width` values, `out` is `width`.
            unsafe {
                for k in 0..steps {
                    let row = std::slice::from_raw_parts(panel.add(k * width), width);
                    for w in 0..width.min(WIDEST) {
                        acc[w] = step(row[w], acc[w]);
                    }
                }
                for (w, &a) in acc.iter().enumerate().take(width) {
                    *out.add(w) = if add { *out.add(w) + a } else { a };
                }
            }
        }
    };
}

// As the portable micro-kernel: two roundings.
chain!(portable32 f32, |x: f32, a: f32| x * x + a);
chain!(portable64 f64, |x: f64, a: f64| x * x + a);
#[cfg(target_arch = "x86_64")]
chain!(simd32 f32, |x: f32, a: f32| x.mul_add(x, a), "avx2,fma");
#[cfg(target_arch = "x86_64")]
chain!(simd64 f64, |x: f64, a: f64| x.mul_add(x, a), "avx2,fma");

/// Adds one segment of a panel, `[step][row]`, to the sums of its rows (or starts them).
///
/// # Safety
/// The panel holds `steps * width` values of `size` bytes, `out` holds `width`, and the machine has the set.
pub unsafe fn segment(isa: Isa, size: usize, panel: *const u8, steps: usize, width: usize, out: *mut u8, add: bool) {
    debug_assert!(width <= WIDEST);
    // SAFETY: the caller's.
    unsafe {
        match (isa, size) {
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512 | Isa::Avx2, 4) => simd32(panel, steps, width, out, add),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512 | Isa::Avx2, _) => simd64(panel, steps, width, out, add),
            (_, 4) => portable32(panel, steps, width, out, add),
            _ => portable64(panel, steps, width, out, add),
        }
    }
}
