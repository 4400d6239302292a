//! Casts between all dtypes, with the meaning of `as`: floats to integers saturate, NaN is 0; anything but zero is `true`.
//! To f16 and bf16 every cast rounds once, to the nearest, ties to even.

use super::half::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16, odd_f32, odd_f64};
use super::lift::{Loops, lift};
use crate::dtype::DType;

/// The loops that convert `from` to `to`.
pub fn cast(from: DType, to: DType) -> Loops {
    match from {
        // A bool is a u8 that is 0 or 1.
        DType::Bool if to == DType::Bool => copy(1),
        DType::Bool | DType::U8 => from_u8(to),
        DType::U16 => from_u16(to),
        DType::U32 => from_u32(to),
        DType::U64 => from_u64(to),
        DType::I8 => from_i8(to),
        DType::I16 => from_i16(to),
        DType::I32 => from_i32(to),
        DType::I64 => from_i64(to),
        DType::F16 => from_f16(to),
        DType::BF16 => from_bf16(to),
        DType::F32 => from_f32(to),
        DType::F64 => from_f64(to),
    }
}

/// The loops that copy elements of `size` bytes.
fn copy(size: usize) -> Loops {
    match size {
        1 => lift!((a: u8) -> u8, a),
        2 => lift!((a: u16) -> u16, a),
        4 => lift!((a: u32) -> u32, a),
        _ => lift!((a: u64) -> u64, a),
    }
}

/// A function from `to` to the loops that convert the integer type `$A`; the expressions convert one to f16 and bf16.
macro_rules! from_int {
    ($name:ident, $A:ident: |$a:ident| $f16:expr, $bf16:expr) => {
        fn $name(to: DType) -> Loops {
            match to {
                to if to.is_int() && to.size() == size_of::<$A>() => copy(to.size()),
                DType::Bool => lift!((a: $A) -> bool, a != 0),
                DType::I8 | DType::U8 => lift!((a: $A) -> u8, a as u8),
                DType::I16 | DType::U16 => lift!((a: $A) -> u16, a as u16),
                DType::I32 | DType::U32 => lift!((a: $A) -> u32, a as u32),
                DType::I64 | DType::U64 => lift!((a: $A) -> u64, a as u64),
                DType::F16 => lift!(($a: $A) -> u16, $f16),
                DType::BF16 => lift!(($a: $A) -> u16, $bf16),
                DType::F32 => lift!((a: $A) -> f32, a as f32),
                DType::F64 => lift!((a: $A) -> f64, a as f64),
            }
        }
    };
}

// To f16 by way of f32: that is exact below 2^24, and anything from there on overflows anyway.
from_int!(from_u8, u8: |a| f32_to_f16(a as f32), f32_to_bf16(a as f32));
from_int!(from_u16, u16: |a| f32_to_f16(a as f32), f32_to_bf16(a as f32));
from_int!(from_u32, u32: |a| f32_to_f16(a as f32), f32_to_bf16(odd_f32(a as f64)));
from_int!(from_u64, u64: |a| f32_to_f16(a as f32), f32_to_bf16(odd_f32(odd_f64(a))));
from_int!(from_i8, i8: |a| f32_to_f16(a as f32), f32_to_bf16(a as f32));
from_int!(from_i16, i16: |a| f32_to_f16(a as f32), f32_to_bf16(a as f32));
from_int!(from_i32, i32: |a| f32_to_f16(a as f32), f32_to_bf16(odd_f32(a as f64)));
from_int!(from_i64, i64: |a| f32_to_f16(a as f32), {
    let magnitude = odd_f64(a.unsigned_abs());
    f32_to_bf16(odd_f32(if a < 0 { -magnitude } else { magnitude }))
});

/// `x as $t` of an `$F`, for which LLVM finds no SIMD code.
macro_rules! to_int {
    ($x:expr, $F:ident, $t:ident) => {{
        let x: $F = $x;
        // Where MIN - 1 rounds to MIN, MIN itself counts as outside, which gives MIN.
        let inside = x > $t::MIN as $F - 1.0 && x < $t::MAX as $F + 1.0;
        // SAFETY: 0 or truncated to within the type's range: the bounds are as above, or where MAX rounds up to the power of two, that.
        let whole = unsafe { (if inside { x } else { 0.0 }).to_int_unchecked::<$t>() };
        let outside = if x > 0.0 {
            $t::MAX
        } else if x < 0.0 {
            $t::MIN
        } else {
            0
        };
        if inside { whole } else { outside }
    }};
}

/// A function from `to` to the loops that convert the float type stored as `$A`, of which `$number` makes an `$F`; the casts
/// to floats are listed.
macro_rules! from_float {
    ($name:ident, $A:ident: |$a:ident| $number:expr, $F:ident, { $($to:pat => $loops:expr,)+ }) => {
        fn $name(to: DType) -> Loops {
            match to {
                $($to => $loops,)+
                DType::Bool => lift!(($a: $A) -> bool, $number != 0.0),
                DType::I8 => lift!(($a: $A) -> i8, to_int!($number, $F, i8)),
                DType::I16 => lift!(($a: $A) -> i16, to_int!($number, $F, i16)),
                DType::I32 => lift!(($a: $A) -> i32, to_int!($number, $F, i32)),
                DType::I64 => lift!(($a: $A) -> i64, to_int!($number, $F, i64)),
                DType::U8 => lift!(($a: $A) -> u8, to_int!($number, $F, u8)),
                DType::U16 => lift!(($a: $A) -> u16, to_int!($number, $F, u16)),
                DType::U32 => lift!(($a: $A) -> u32, to_int!($number, $F, u32)),
                DType::U64 => lift!(($a: $A) -> u64, to_int!($number, $F, u64)),
            }
        }
    };
}

from_float!(from_f16, u16: |a| f16_to_f32(a), f32, {
    DType::F16 => copy(2),
    DType::BF16 => lift!((a: u16) -> u16, f32_to_bf16(f16_to_f32(a))),
    DType::F32 => widen_f16(),
    DType::F64 => lift!((a: u16) -> f64, f16_to_f32(a) as f64),
});
from_float!(from_bf16, u16: |a| bf16_to_f32(a), f32, {
    DType::BF16 => copy(2),
    DType::F16 => lift!((a: u16) -> u16, f32_to_f16(bf16_to_f32(a))),
    DType::F32 => lift!((a: u16) -> f32, bf16_to_f32(a)),
    DType::F64 => lift!((a: u16) -> f64, bf16_to_f32(a) as f64),
});
from_float!(from_f32, f32: |a| a, f32, {
    DType::F32 => copy(4),
    DType::F16 => narrow_f32(),
    DType::BF16 => lift!((a: f32) -> u16, f32_to_bf16(a)),
    DType::F64 => lift!((a: f32) -> f64, a as f64),
});
from_float!(from_f64, f64: |a| a, f64, {
    DType::F64 => copy(8),
    DType::F32 => lift!((a: f64) -> f32, a as f32),
    DType::F16 => lift!((a: f64) -> u16, f32_to_f16(odd_f32(a))),
    DType::BF16 => lift!((a: f64) -> u16, f32_to_bf16(odd_f32(a))),
});

/// f16 to f32: the hardware's instruction where there is one.
fn widen_f16() -> Loops {
    let loops = lift!((a: u16) -> f32, f16_to_f32(a));
    #[cfg(target_arch = "x86_64")]
    let loops = Loops([loops.0[0], x86::widen_avx2, x86::widen_avx512]);
    loops
}

/// f32 to f16, likewise.
fn narrow_f32() -> Loops {
    let loops = lift!((a: f32) -> u16, f32_to_f16(a));
    #[cfg(target_arch = "x86_64")]
    let loops = Loops([loops.0[0], x86::narrow_avx2, x86::narrow_avx512]);
    loops
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{f16_to_f32, f32_to_f16};
    use std::arch::x86_64::*;

    const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT;

    macro_rules! by_vectors {
        ($name:ident, $features:literal, $A:ty, $R:ty, $lanes:literal, |$a:ident, $out:ident| $vector:expr, $scalar:ident) => {
            #[target_feature(enable = $features)]
            pub(super) unsafe fn $name(args: &[*const u8; 3], out: *mut u8, n: usize) {
                let (a, out) = (args[0].cast::<$A>(), out.cast::<$R>());
                let whole = n - n % $lanes;
                for i in (0..whole).step_by($lanes) {
                    // SAFETY: by the contract of `Loop`, `n` elements are valid at both; these are some of them.
                    unsafe {
                        let ($a, $out) = (a.add(i), out.add(i));
                        $vector
                    }
                }
                for i in whole..n {
                    // SAFETY: as above.
                    unsafe { out.add(i).write($scalar(a.add(i).read())) }
                }
            }
        };
    }

    by_vectors!(
        widen_avx2,
        "avx2,f16c",
        u16,
        f32,
        8,
        |a, out| _mm256_storeu_ps(out, _mm256_cvtph_ps(_mm_loadu_si128(a.cast()))),
        f16_to_f32
    );
    by_vectors!(
        widen_avx512,
        "avx512f,f16c",
        u16,
        f32,
        16,
        |a, out| _mm512_storeu_ps(out, _mm512_cvtph_ps(_mm256_loadu_si256(a.cast()))),
        f16_to_f32
    );
    by_vectors!(
        narrow_avx2,
        "avx2,f16c",
        f32,
        u16,
        8,
        |a, out| _mm_storeu_si128(out.cast(), _mm256_cvtps_ph::<NEAREST>(_mm256_loadu_ps(a))),
        f32_to_f16
    );
    by_vectors!(
        narrow_avx512,
        "avx512f,f16c",
        f32,
        u16,
        16,
        |a, out| _mm256_storeu_si256(out.cast(), _mm512_cvtps_ph::<NEAREST>(_mm512_loadu_ps(a))),
        f32_to_f16
    );
}
