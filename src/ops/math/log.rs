//! ln, log2, log10, ln_1p: x = 2^k m with m in [sqrt 1/2, sqrt 2), and the series of the logarithm in s = f / (2 + f), f = m - 1.

use super::parts::{
    LN2_HI, LN2_HI_F32, LN2_LO, LN2_LO_F32, MAGIC64, Madd, fast_sum_f64, int_f64, poly_f32, poly_f64, pow2_f64, sel,
    two_prod_f64, two_sum_f64,
};
use core::f64::consts::{LN_2, LOG2_E, LOG10_2, LOG10_E};

/// (ln(1 + f) - f + f^2 / 2) / f^3.
const LN_F32: [f32; 8] =
    [0.3333333, -0.25000843, 0.20001042, -0.16622464, 0.14206974, -0.13174558, 0.12726684, -0.07550255];
/// (ln((1 + s) / (1 - s)) - 2s) / s^3 in z = s^2, error below 2^-58 of the logarithm.
const LN_F64: [f64; 7] = [
    0.6666666666666734,
    0.3999999999941663,
    0.2857142874203535,
    0.2222219860382929,
    0.18183562938881992,
    0.1531408202310727,
    0.14795667083253786,
];
/// The same to 2^-36, for results in f32.
const LN_WIDE: [f64; 4] = [0.6666666564603758, 0.40000335059198017, 0.28537316297921594, 0.23582016635638547];

/// log10(2) in 32 bits, so that products with exponents are exact, and the rest.
const LOG10_2_HI: f64 = 0.3010299955494702;
const LOG10_2_LO: f64 = 1.1451100898021838e-10;
/// What f64 leaves out of 1 / ln 2 and 1 / ln 10.
const LOG2_E_LO: f64 = 2.0355273740931033e-17;
const LOG10_E_LO: f64 = 1.098319650216765e-17;

const SQRT_HALF_F32: u32 = 0x3f35_04f3;
const SQRT_HALF_F64: u64 = 0x3fe6_a09e_667f_3bcd;

/// (k, m) with x = 2^k m for finite x > 0; anything for other x.
#[inline(always)]
fn split_f32(x: f32) -> (f32, f32) {
    let tiny = x < f32::MIN_POSITIVE;
    let b = sel(tiny, x * 8_388_608.0, x).to_bits().wrapping_add(0x3f80_0000 - SQRT_HALF_F32);
    let k = ((b >> 23) as i32 as f32) - sel(tiny, 150.0, 127.0);
    (k, f32::from_bits((b & 0x007f_ffff) + SQRT_HALF_F32))
}

/// (k, m) with x = 2^k m for normal x > 0; anything for other x.
#[inline(always)]
pub(super) fn split_normal_f64(x: f64) -> (f64, f64) {
    // 2^52 + biased exponent, written as bits: no conversion from integer is needed.
    const TWO52: f64 = 4_503_599_627_370_496.0;
    let b = x.to_bits().wrapping_add(0x3ff0_0000_0000_0000 - SQRT_HALF_F64);
    let k = f64::from_bits((b >> 52) | TWO52.to_bits()) - (TWO52 + 1023.0);
    (k, f64::from_bits((b & 0x000f_ffff_ffff_ffff) + SQRT_HALF_F64))
}

/// (k, m) with x = 2^k m for finite x > 0; anything for other x.
#[inline(always)]
pub(super) fn split_f64(x: f64) -> (f64, f64) {
    let tiny = x < f64::MIN_POSITIVE;
    let (k, m) = split_normal_f64(sel(tiny, x * 18_014_398_509_481_984.0, x));
    (sel(tiny, k - 54.0, k), m)
}

/// The logarithm `r` of a finite x > 0, or what the others give: -inf at 0, NaN below, inf and NaN themselves.
#[inline(always)]
fn domain_f64(x: f64, r: f64) -> f64 {
    let other = sel(x == 0.0, f64::NEG_INFINITY, sel(x > 0.0, x, f64::NAN));
    sel((x > 0.0) & (x < f64::INFINITY), r, other)
}

/// [`domain_f64`] for f32.
#[inline(always)]
fn domain_f32(x: f32, r: f32) -> f32 {
    let other = sel(x == 0.0, f32::NEG_INFINITY, sel(x > 0.0, x, f32::NAN));
    sel((x > 0.0) & (x < f32::INFINITY), r, other)
}

/// f^2 / 2, and ln(1 + f) - (f - f^2 / 2), for 1 + f in [sqrt 1/2, sqrt 2).
#[inline(always)]
fn ln_tail_f64<M: Madd>(f: f64) -> (f64, f64) {
    let s = f / (2.0 + f);
    let z = s * s;
    let half = 0.5 * f * f;
    (half, s * M::f64(z, poly_f64::<M, 7>(z, &LN_F64), half))
}

/// ln(1 + f) as an unevaluated sum, about 2^-57 from the truth.
#[inline(always)]
fn ln_pair_f64<M: Madd>(f: f64) -> (f64, f64) {
    let (half, tail) = ln_tail_f64::<M>(f);
    let hi = f - half;
    (hi, ((f - hi) - half) + tail)
}

/// ln(1 + f) to 2^-36.
#[inline(always)]
fn ln_wide<M: Madd>(f: f64) -> f64 {
    let s = f / (2.0 + f);
    let z = s * s;
    s * M::f64(z, poly_f64::<M, 4>(z, &LN_WIDE), 2.0)
}

/// ln(v + c) + j ln 2, for finite normal v > 0 and |c| at most half a unit in its last place.
#[inline(always)]
pub(super) fn ln_sum_f64<M: Madd>(v: f64, c: f64, j: f64) -> f64 {
    let (k, m) = split_normal_f64(v);
    let f = m - 1.0;
    // c no longer counts when v is large, and 2^-k might be subnormal there.
    let c = sel(v < 1e18, c * pow2_f64(int_f64(MAGIC64 - k)), 0.0);
    let (hi, lo) = ln_pair_f64::<M>(f);
    // The derivative of ln(1 + f), enough of it for a correction.
    let c = M::f64(c * f, f - 1.0, c);
    let k = k + j;
    let (s, e) = fast_sum_f64(k * LN2_HI, hi);
    s + (e + (lo + M::f64(k, LN2_LO, c)))
}

/// ln(1 + u) for u > -1, to 2^-36; u may be infinite.
#[inline(always)]
pub(super) fn ln_1p_wide<M: Madd>(u: f64) -> f64 {
    let (k, m) = split_normal_f64(1.0 + u);
    let f = sel(k == 0.0, u, m - 1.0);
    sel(u < f64::INFINITY, M::f64(k, LN_2, ln_wide::<M>(f)), u)
}

/// ln x.
#[inline(always)]
pub fn ln_f32<M: Madd>(x: f32) -> f32 {
    let (k, m) = split_f32(x);
    let f = m - 1.0;
    let z = f * f;
    let p = M::f32(f * z, poly_f32::<M, 8>(f, &LN_F32), k * LN2_LO_F32);
    let p = f + M::f32(z, -0.5, p);
    domain_f32(x, M::f32(k, LN2_HI_F32, p))
}

/// ln x.
#[inline(always)]
pub fn ln_f64<M: Madd>(x: f64) -> f64 {
    let (k, m) = split_f64(x);
    let f = m - 1.0;
    let (half, tail) = ln_tail_f64::<M>(f);
    let r = f - (half - M::f64(k, LN2_LO, tail));
    domain_f64(x, M::f64(k, LN2_HI, r))
}

/// log2 x.
#[inline(always)]
pub fn log2_f32<M: Madd>(x: f32) -> f32 {
    let v = f64::from(x);
    let (k, m) = split_normal_f64(v);
    domain_f64(v, M::f64(ln_wide::<M>(m - 1.0), LOG2_E, k)) as f32
}

/// log2 x.
#[inline(always)]
pub fn log2_f64<M: Madd>(x: f64) -> f64 {
    let (k, m) = split_f64(x);
    let (hi, lo) = ln_pair_f64::<M>(m - 1.0);
    let (p, e) = two_prod_f64::<M>(hi, LOG2_E);
    let e = e + M::f64(hi, LOG2_E_LO, lo * LOG2_E);
    let (s, t) = fast_sum_f64(k, p);
    domain_f64(x, s + (t + e))
}

/// log10 x.
#[inline(always)]
pub fn log10_f32<M: Madd>(x: f32) -> f32 {
    let v = f64::from(x);
    let (k, m) = split_normal_f64(v);
    domain_f64(v, M::f64(ln_wide::<M>(m - 1.0), LOG10_E, k * LOG10_2)) as f32
}

/// log10 x.
#[inline(always)]
pub fn log10_f64<M: Madd>(x: f64) -> f64 {
    let (k, m) = split_f64(x);
    let (hi, lo) = ln_pair_f64::<M>(m - 1.0);
    let (p, e) = two_prod_f64::<M>(hi, LOG10_E);
    let e = e + M::f64(hi, LOG10_E_LO, lo * LOG10_E);
    let (s, t) = fast_sum_f64(k * LOG10_2_HI, p);
    domain_f64(x, s + (t + M::f64(k, LOG10_2_LO, e)))
}

/// ln(1 + x).
#[inline(always)]
pub fn ln_1p_f32<M: Madd>(x: f32) -> f32 {
    let v = f64::from(x);
    let r = domain_f64(1.0 + v, ln_1p_wide::<M>(v)) as f32;
    sel(x == 0.0, x, r)
}

/// ln(1 + x).
#[inline(always)]
pub fn ln_1p_f64<M: Madd>(x: f64) -> f64 {
    let (v, c) = two_sum_f64(1.0, x);
    let r = domain_f64(v, ln_sum_f64::<M>(v, c, 0.0));
    sel(x.abs() < 1e-17, x, r)
}
