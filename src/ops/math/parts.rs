//! What the functions share: multiply-add, selects, exact sums and products, powers of two.

/// How `a * b + c` is computed.
pub trait Madd: Copy + 'static {
    /// Whether the loop is compiled for fused multiply-add (and so for the rounding instructions too).
    const FUSED: bool;
    /// `a * b + c`.
    fn f32(a: f32, b: f32, c: f32) -> f32;
    /// `a * b + c`.
    fn f64(a: f64, b: f64, c: f64) -> f64;
}

/// One rounding. For loops compiled with the `fma` feature: elsewhere each call would go to libm.
#[derive(Clone, Copy, Debug)]
pub struct Fused;

/// Two roundings, for portable loops.
#[derive(Clone, Copy, Debug)]
pub struct Split;

impl Madd for Fused {
    const FUSED: bool = true;
    #[inline(always)]
    fn f32(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
    #[inline(always)]
    fn f64(a: f64, b: f64, c: f64) -> f64 {
        a.mul_add(b, c)
    }
}

impl Madd for Split {
    const FUSED: bool = false;
    #[inline(always)]
    fn f32(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
    #[inline(always)]
    fn f64(a: f64, b: f64, c: f64) -> f64 {
        a * b + c
    }
}

/// `c ? a : b` as a select, never a branch: a branch would end vectorisation.
#[inline(always)]
pub(super) fn sel<T>(c: bool, a: T, b: T) -> T {
    core::hint::select_unpredictable(c, a, b)
}

/// 1.5 * 2^23: added to a small f32 it leaves the nearest integer in the low bits.
pub(super) const MAGIC32: f32 = 12_582_912.0;
/// 1.5 * 2^52, likewise.
pub(super) const MAGIC64: f64 = 6_755_399_441_055_744.0;

/// ln 2 in 9 bits, so that products with exponents are exact, and the rest.
pub(super) const LN2_HI_F32: f32 = 0.693_359_4;
/// ln 2 - `LN2_HI_F32`.
pub(super) const LN2_LO_F32: f32 = -0.000_212_194_44;
/// ln 2 in 32 bits, so that products with exponents are exact, and the rest.
pub(super) const LN2_HI: f64 = 0.6931471803691238;
/// ln 2 - `LN2_HI`.
pub(super) const LN2_LO: f64 = 1.9082149292705877e-10;

/// The integer in the low bits of `t = MAGIC32 + n`.
#[inline(always)]
pub(super) fn int_f32(t: f32) -> u32 {
    t.to_bits().wrapping_sub(MAGIC32.to_bits())
}

/// The integer in the low bits of `t = MAGIC64 + n`.
#[inline(always)]
pub(super) fn int_f64(t: f64) -> u64 {
    t.to_bits().wrapping_sub(MAGIC64.to_bits())
}

/// 2^k for k in -126..=127 (two's complement).
#[inline(always)]
pub(super) fn pow2_f32(k: u32) -> f32 {
    f32::from_bits(k.wrapping_add(127) << 23)
}

/// 2^k for k in -1022..=1023 (two's complement).
#[inline(always)]
pub(super) fn pow2_f64(k: u64) -> f64 {
    f64::from_bits(k.wrapping_add(1023) << 52)
}

/// `y * 2^k` for |k| <= 250, rounded once: the first factor keeps a normal `y` normal.
#[inline(always)]
pub(super) fn scale_f32(y: f32, k: u32) -> f32 {
    let half = (k.wrapping_add(1024) >> 1).wrapping_sub(512);
    y * pow2_f32(half) * pow2_f32(k.wrapping_sub(half))
}

/// `y * 2^k` for |k| <= 2000, rounded once. The shift is of an unsigned: AVX2 has no signed one for 64 bits.
#[inline(always)]
pub(super) fn scale_f64(y: f64, k: u64) -> f64 {
    let half = (k.wrapping_add(4096) >> 1).wrapping_sub(2048);
    y * pow2_f64(half) * pow2_f64(k.wrapping_sub(half))
}

/// `min(x, hi)` in one instruction; a NaN `x` stays NaN.
#[inline(always)]
pub(super) fn below_f32(x: f32, hi: f32) -> f32 {
    sel(hi < x, hi, x)
}

/// `min(x, hi)` in one instruction; a NaN `x` stays NaN.
#[inline(always)]
pub(super) fn below_f64(x: f64, hi: f64) -> f64 {
    sel(hi < x, hi, x)
}

/// `max(x, lo)` in one instruction; a NaN `x` stays NaN.
#[inline(always)]
pub(super) fn above_f32(x: f32, lo: f32) -> f32 {
    sel(lo > x, lo, x)
}

/// `max(x, lo)` in one instruction; a NaN `x` stays NaN.
#[inline(always)]
pub(super) fn above_f64(x: f64, lo: f64) -> f64 {
    sel(lo > x, lo, x)
}

/// `c[0] + c[1] x + c[2] x^2 + ...`, even and odd powers apart: half the latency of Horner's rule. The loop unrolls.
#[inline(always)]
pub(super) fn poly_f32<M: Madd, const N: usize>(x: f32, c: &[f32; N]) -> f32 {
    let z = x * x;
    let (mut p, mut q) = (c[N - 1], c[N - 2]);
    for i in (0..N - 2).rev() {
        (p, q) = (q, M::f32(p, z, c[i]));
    }
    M::f32(p, x, q)
}

/// `c[0] + c[1] x + c[2] x^2 + ...`, even and odd powers apart: half the latency of Horner's rule. The loop unrolls.
#[inline(always)]
pub(super) fn poly_f64<M: Madd, const N: usize>(x: f64, c: &[f64; N]) -> f64 {
    let z = x * x;
    let (mut p, mut q) = (c[N - 1], c[N - 2]);
    for i in (0..N - 2).rev() {
        (p, q) = (q, M::f64(p, z, c[i]));
    }
    M::f64(p, x, q)
}

/// `a + b` as a rounded sum and its exact error.
#[inline(always)]
pub(super) fn two_sum_f32(a: f32, b: f32) -> (f32, f32) {
    let s = a + b;
    let t = s - a;
    (s, (a - (s - t)) + (b - t))
}

/// `a + b` as a rounded sum and its exact error.
#[inline(always)]
pub(super) fn two_sum_f64(a: f64, b: f64) -> (f64, f64) {
    let s = a + b;
    let t = s - a;
    (s, (a - (s - t)) + (b - t))
}

/// `a + b` as a rounded sum and its exact error, where `a` is 0 or |a| >= |b|.
#[inline(always)]
pub(super) fn fast_sum_f64(a: f64, b: f64) -> (f64, f64) {
    let s = a + b;
    (s, b - (s - a))
}

/// `a * b` as a rounded product and its exact error (Dekker's splitting without fma; no factor above 2^115).
#[inline(always)]
pub(super) fn two_prod_f32<M: Madd>(a: f32, b: f32) -> (f32, f32) {
    let p = a * b;
    if M::FUSED {
        return (p, M::f32(a, b, -p));
    }
    let (ta, tb) = (a * 4097.0, b * 4097.0);
    let (ah, bh) = (ta - (ta - a), tb - (tb - b));
    let (al, bl) = (a - ah, b - bh);
    (p, ((ah * bh - p) + ah * bl + al * bh) + al * bl)
}

/// `a * b` as a rounded product and its exact error (Dekker's splitting without fma; no factor above 2^996).
#[inline(always)]
pub(super) fn two_prod_f64<M: Madd>(a: f64, b: f64) -> (f64, f64) {
    let p = a * b;
    if M::FUSED {
        return (p, M::f64(a, b, -p));
    }
    let (ta, tb) = (a * 134_217_729.0, b * 134_217_729.0);
    let (ah, bh) = (ta - (ta - a), tb - (tb - b));
    let (al, bl) = (a - ah, b - bh);
    (p, ((ah * bh - p) + ah * bl + al * bh) + al * bl)
}

/// `q * b` exactly, subtracted from an `a` close to it: exact because the difference is small.
#[inline(always)]
pub(super) fn residual_f32<M: Madd>(a: f32, q: f32, b: f32) -> f32 {
    if M::FUSED {
        return M::f32(-q, b, a);
    }
    let (p, e) = two_prod_f32::<M>(q, b);
    (a - p) - e
}

/// `q * b` exactly, subtracted from an `a` close to it: exact because the difference is small.
#[inline(always)]
pub(super) fn residual_f64<M: Madd>(a: f64, q: f64, b: f64) -> f64 {
    if M::FUSED {
        return M::f64(-q, b, a);
    }
    let (p, e) = two_prod_f64::<M>(q, b);
    (a - p) - e
}
