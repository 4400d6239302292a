//! Lifting: a scalar function becomes a loop over slices, compiled once per instruction set.

use crate::error::{Error, Result};
use std::mem::MaybeUninit;
use std::sync::OnceLock;

/// The instruction sets that loops are compiled for, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// What every machine of the target has (SSE2 on x86-64).
    Portable,
    /// AVX2 with FMA, F16C and BMI2.
    Avx2,
    /// AVX-512 F, BW, DQ, VL and CD.
    Avx512,
}

impl Isa {
    /// The best set of this machine; `NDCUDA_CPU=portable|avx2|avx512` lowers it. Asked once.
    pub fn asked() -> Result<Isa> {
        static ISA: OnceLock<Result<Isa>> = OnceLock::new();
        let ask = || {
            let value = std::env::var("NDCUDA_CPU").unwrap_or_default();
            let wanted = match value.trim() {
                "" | "avx512" => Isa::Avx512,
                "portable" => Isa::Portable,
                "avx2" => Isa::Avx2,
                _ => {
                    let (name, reason) = ("NDCUDA_CPU", "portable, avx2 or avx512 is needed".into());
                    return Err(Error::Config { name, value, reason });
                }
            };
            Ok(wanted.min(Isa::of_machine()))
        };
        ISA.get_or_init(ask).clone()
    }

    /// As [`asked`](Isa::asked), for tests.
    #[cfg(test)]
    pub fn detect() -> Isa {
        Isa::asked().unwrap()
    }

    /// The best set of this machine.
    fn of_machine() -> Isa {
        #[cfg(target_arch = "x86_64")]
        {
            macro_rules! has {
                ($($feature:tt)*) => { true $(&& is_x86_feature_detected!($feature))* };
            }
            if has!("avx2" "fma" "f16c" "bmi2") {
                if has!("avx512f" "avx512bw" "avx512dq" "avx512vl" "avx512cd") {
                    return Isa::Avx512;
                }
                return Isa::Avx2;
            }
        }
        Isa::Portable
    }
}

/// A loop over `n` contiguous elements of each operand.
///
/// # Safety
/// The operands in use and `out` are aligned for their types and valid for `n` elements (bool operands hold 0 or 1), `out` overlaps no operand,
/// and the machine has the instruction set that the loop was compiled for. Operands beyond the arity are not looked at.
pub type Loop = unsafe fn(args: &[*const u8; 3], out: *mut u8, n: usize);

/// One loop at one dtype, for every [`Isa`].
#[derive(Clone, Copy, Debug)]
pub struct Loops(pub(super) [Loop; 3]);

impl Loops {
    /// The loop for `isa`.
    pub fn get(self, isa: Isa) -> Loop {
        self.0[isa as usize]
    }
}

/// [`Loops`] of a body over `(args, out, n)`, compiled for each ISA. `M` in it is the ISA's `Madd`.
macro_rules! per_isa {
    (|$args:ident, $out:ident, $n:ident| $body:block) => {{
        unsafe fn portable($args: &[*const u8; 3], $out: *mut u8, $n: usize) {
            #[allow(dead_code)]
            type M = $crate::ops::math::Split;
            // SAFETY: by the contract of `Loop`.
            unsafe { $body }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma,f16c,bmi2")]
        unsafe fn avx2($args: &[*const u8; 3], $out: *mut u8, $n: usize) {
            #[allow(dead_code)]
            type M = $crate::ops::math::Fused;
            // SAFETY: by the contract of `Loop`.
            unsafe { $body }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx2,fma,f16c,bmi2")]
        unsafe fn avx512($args: &[*const u8; 3], $out: *mut u8, $n: usize) {
            #[allow(dead_code)]
            type M = $crate::ops::math::Fused;
            // SAFETY: by the contract of `Loop`.
            unsafe { $body }
        }
        #[cfg(not(target_arch = "x86_64"))]
        use {portable as avx2, portable as avx512};
        $crate::ops::lift::Loops([portable, avx2, avx512])
    }};
}
pub(crate) use per_isa;

/// [`Loops`] of a scalar expression: `(a: f32, b: f32) -> f32, a + b`. `M` in it is the ISA's `Madd`.
///
/// With `, when RARE => SLOW` the expression may be wrong where RARE holds; there SLOW is computed in a second pass, so that the first stays
/// free of branches. `@row` takes a row's operands, of types `T`, and gives an `R`.
///
/// The loops call `scalar` by its name: given to a function as an `impl Fn`, a large one would not be inlined, and so not be SIMD code.
macro_rules! lift {
    (@row ($($a:ident),+) ($($scalar:tt)+)) => { $crate::ops::lift::lift!(($($a: T),+) -> R, $($scalar)+) };
    (@row ($a:ident: bool, $b:ident, $c:ident) ($scalar:expr)) => {
        $crate::ops::lift::lift!(($a: bool, $b: T, $c: T) -> R, $scalar)
    };
    (($($a:ident: $A:ty),+) -> $R:ty, $scalar:expr) => {{
        #[allow(unused_variables, clippy::extra_unused_type_parameters)]
        #[inline(always)]
        fn scalar<M: $crate::ops::math::Madd>($($a: $A),+) -> $R {
            $scalar
        }
        $crate::ops::lift::lift!(@loop $R; $($A),+)
    }};
    (@loop $R:ty; $A:ty) => {
        $crate::ops::lift::per_isa!(|args, out, n| {
            let (a, out) = ($crate::ops::lift::operand::<$A>(args[0], n), $crate::ops::lift::result::<$R>(out, n));
            for i in 0..n {
                out[i].write(scalar::<M>(a[i]));
            }
        })
    };
    (@loop $R:ty; $A:ty, $B:ty) => {
        $crate::ops::lift::per_isa!(|args, out, n| {
            let (a, b) = ($crate::ops::lift::operand::<$A>(args[0], n), $crate::ops::lift::operand::<$B>(args[1], n));
            let out = $crate::ops::lift::result::<$R>(out, n);
            for i in 0..n {
                out[i].write(scalar::<M>(a[i], b[i]));
            }
        })
    };
    (@loop $R:ty; $A:ty, $B:ty, $C:ty) => {
        $crate::ops::lift::per_isa!(|args, out, n| {
            let (a, b) = ($crate::ops::lift::operand::<$A>(args[0], n), $crate::ops::lift::operand::<$B>(args[1], n));
            let (c, out) = ($crate::ops::lift::operand::<$C>(args[2], n), $crate::ops::lift::result::<$R>(out, n));
            for i in 0..n {
                out[i].write(scalar::<M>(a[i], b[i], c[i]));
            }
        })
    };
    (($a:ident: $A:ty) -> $R:ty, $scalar:expr, when $rare:expr => $slow:expr) => {{
        #[inline(always)]
        fn scalar<M: $crate::ops::math::Madd>($a: $A) -> $R {
            $scalar
        }
        #[inline(always)]
        fn rare($a: $A) -> bool {
            $rare
        }
        fn slow($a: $A) -> $R {
            $slow
        }
        $crate::ops::lift::per_isa!(|args, out, n| {
            let (a, out) = ($crate::ops::lift::operand::<$A>(args[0], n), $crate::ops::lift::result::<$R>(out, n));
            for from in (0..n).step_by($crate::ops::lift::BLOCK) {
                let block = from..(from + $crate::ops::lift::BLOCK).min(n);
                let mut any = false;
                for i in block.clone() {
                    any |= rare(a[i]);
                    out[i].write(scalar::<M>(a[i]));
                }
                if any {
                    for i in block {
                        if rare(a[i]) {
                            out[i].write(slow(a[i]));
                        }
                    }
                }
            }
        })
    }};
}
pub(crate) use lift;

/// Elements between two looks at whether one was rare.
pub(super) const BLOCK: usize = 64;

/// Asks for the cache line at `p`, which need not be anyone's.
#[inline(always)]
pub fn prefetch(p: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch never faults; SSE is part of the target.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = p;
}

/// The operand at `p` as a slice.
///
/// # Safety
/// As of [`Loop`].
#[inline(always)]
pub(super) unsafe fn operand<'a, T>(p: *const u8, n: usize) -> &'a [T] {
    // SAFETY: the caller's promise: aligned, valid for n elements.
    unsafe { std::slice::from_raw_parts(p.cast(), n) }
}

/// The result as a slice; it may not be initialised yet.
///
/// # Safety
/// As of [`Loop`].
#[inline(always)]
pub(super) unsafe fn result<'a, T>(p: *mut u8, n: usize) -> &'a mut [MaybeUninit<T>] {
    // SAFETY: the caller's promise: aligned, valid for n elements, overlaps no operand.
    unsafe { std::slice::from_raw_parts_mut(p.cast(), n) }
}
