//! exp, exp2, exp_m1: x = k ln 2 + r, a polynomial in r, and the exponent put back in two exact steps.

use super::parts::{
    LN2_HI, LN2_HI_F32, LN2_LO, LN2_LO_F32, MAGIC32, MAGIC64, Madd, above_f32, above_f64, below_f32, below_f64,
    fast_sum_f64, int_f32, int_f64, poly_f32, poly_f64, pow2_f32, pow2_f64, scale_f32, scale_f64, sel,
};
use core::f32::consts as c32;
use core::f64::consts as c64;

/// (e^r - 1 - r) / r^2, error of e^r below 2^-28.
const EXP_F32: [f32; 5] = [0.5, 0.16666515, 0.041666582, 0.008369308, 0.001392202];
/// (e^r - 1 - r) / r^2, error of e^r below 2^-57.
const EXP_F64: [f64; 10] = [
    0.5000000000000013,
    0.16666666666666682,
    0.0416666666665114,
    0.008333333333317912,
    0.0013888888947942775,
    0.00019841269894018998,
    2.4801489068038307e-05,
    2.7557237381175454e-06,
    2.76315707917293e-07,
    2.5111112723871165e-08,
];
/// (e^r - 1 - r) / r^2, relative error of e^r - 1 below 2^-60.
const EXPM1_F64: [f64; 11] = [
    0.5,
    0.16666666666666677,
    0.04166666666666668,
    0.008333333333321438,
    0.0013888888888877698,
    0.00019841269886584282,
    2.480158733958013e-05,
    2.7557243767292255e-06,
    2.755726053405466e-07,
    2.5109186486367443e-08,
    2.091896053227407e-09,
];
/// (e^r - 1 - r) / r^2, relative error of e^r - 1 below 2^-36: for results in f32.
const EXPM1_WIDE: [f64; 7] = [
    0.49999999999735295,
    0.16666666754737477,
    0.04166666695588614,
    0.0083332888906709,
    0.0013888809237307448,
    0.0001990500878810629,
    2.488251423941578e-05,
];
/// (2^r - 1) / r.
const EXP2_F32: [f32; 6] = [c32::LN_2, 0.2402265, 0.05550358, 0.009618079, 0.0013391653, 0.00015455371];
/// (2^r - 1) / r.
const EXP2_F64: [f64; 11] = [
    c64::LN_2,
    0.24022650695910136,
    0.05550410866482293,
    0.009618129107592412,
    0.0013333558146166862,
    0.00015403530459088614,
    1.5252734033961796e-05,
    1.321543436480884e-06,
    1.0177986984283855e-07,
    7.0739315257398e-09,
    4.4653152181230873e-10,
];

/// (e^r, k) with e^x = 2^k e^r, for |x| up to 2^14.
#[inline(always)]
fn parts_f32<M: Madd>(x: f32) -> (f32, u32) {
    let t = M::f32(x, c32::LOG2_E, MAGIC32);
    let k = t - MAGIC32;
    let r = M::f32(k, -LN2_LO_F32, M::f32(k, -LN2_HI_F32, x));
    let q = poly_f32::<M, 5>(r, &EXP_F32);
    (1.0 + M::f32(r * r, q, r), int_f32(t))
}

/// e^x for -87 <= x <= 88, where the result is normal; NaN stays NaN.
#[inline(always)]
pub(super) fn exp_normal_f32<M: Madd>(x: f32) -> f32 {
    let (p, k) = parts_f32::<M>(x);
    p * pow2_f32(k)
}

/// e^x for -708 <= x <= 709, where the result is normal; NaN stays NaN.
#[inline(always)]
pub(super) fn exp_normal_f64<M: Madd>(x: f64) -> f64 {
    let (k, r, _) = reduce_f64::<M>(x);
    let q = poly_f64::<M, 10>(r, &EXP_F64);
    (1.0 + M::f64(r * r, q, r)) * pow2_f64(k)
}

/// e^x - 1 - x for |x| <= ln 2 / 2, to 2^-36 of e^x - 1.
#[inline(always)]
fn tail_wide<M: Madd>(r: f64) -> f64 {
    r * r * poly_f64::<M, 7>(r, &EXPM1_WIDE)
}

/// e^x for -700 <= x <= 700 to about 2^-38; NaN stays NaN.
#[inline(always)]
pub(super) fn exp_wide<M: Madd>(x: f64) -> f64 {
    let (k, r, _) = reduce_f64::<M>(x);
    (1.0 + (r + tail_wide::<M>(r))) * pow2_f64(k)
}

/// (k, r, d) with x = k ln 2 + r + d, |d| at most half a unit in the last place of r.
#[inline(always)]
pub(super) fn reduce_f64<M: Madd>(x: f64) -> (u64, f64, f64) {
    reduce_sum_f64::<M>(x, 0.0)
}

/// [`reduce_f64`] of x + e, for a small `e`.
#[inline(always)]
fn reduce_sum_f64<M: Madd>(x: f64, e: f64) -> (u64, f64, f64) {
    let t = M::f64(x, c64::LOG2_E, MAGIC64);
    let k = t - MAGIC64;
    let a = M::f64(k, -LN2_HI, x);
    let b = M::f64(k, -LN2_LO, e);
    let r = a + b;
    (int_f64(t), r, (a - r) + b)
}

/// `y e^(x + e)` for a small correction `e` and `y` near 1, over the whole range, rounded once if it is subnormal.
#[inline(always)]
pub(super) fn exp_times_f64<M: Madd>(x: f64, e: f64, y: f64) -> f64 {
    let x = above_f64(below_f64(x, 710.0), -746.0);
    let (k, r, d) = reduce_sum_f64::<M>(x, e);
    let q = poly_f64::<M, 10>(r, &EXP_F64);
    scale_f64(M::f64(y, r + M::f64(r * r, q, d), y), k)
}

/// e^x.
#[inline(always)]
pub fn exp_f32<M: Madd>(x: f32) -> f32 {
    let x = above_f32(below_f32(x, 89.0), -104.0);
    let (p, k) = parts_f32::<M>(x);
    scale_f32(p, k)
}

/// e^x.
#[inline(always)]
pub fn exp_f64<M: Madd>(x: f64) -> f64 {
    let x = above_f64(below_f64(x, 710.0), -746.0);
    let (k, r, _) = reduce_f64::<M>(x);
    let q = poly_f64::<M, 10>(r, &EXP_F64);
    scale_f64(1.0 + M::f64(r * r, q, r), k)
}

/// 2^x.
#[inline(always)]
pub fn exp2_f32<M: Madd>(x: f32) -> f32 {
    let x = above_f32(below_f32(x, 129.0), -151.0);
    let t = x + MAGIC32;
    let r = x - (t - MAGIC32);
    scale_f32(M::f32(r, poly_f32::<M, 6>(r, &EXP2_F32), 1.0), int_f32(t))
}

/// 2^x.
#[inline(always)]
pub fn exp2_f64<M: Madd>(x: f64) -> f64 {
    let x = above_f64(below_f64(x, 1025.0), -1076.0);
    let t = x + MAGIC64;
    let r = x - (t - MAGIC64);
    scale_f64(M::f64(r, poly_f64::<M, 11>(r, &EXP2_F64), 1.0), int_f64(t))
}

/// e^x - 1.
#[inline(always)]
pub fn exp_m1_f32<M: Madd>(x: f32) -> f32 {
    let (k, r, _) = reduce_f64::<M>(above_f64(below_f64(f64::from(x), 89.0), -30.0));
    let a = pow2_f64(k);
    (M::f64(a, r + tail_wide::<M>(r), a - 1.0) as f32).copysign(x)
}

/// (e^x - 1) / 2 as an unevaluated sum, for -50 <= x <= 710. Halved, so that it overflows no sooner than its double.
#[inline(always)]
pub(super) fn half_exp_m1_f64<M: Madd>(x: f64) -> (f64, f64) {
    let (k, r, d) = reduce_f64::<M>(x);
    let tail = M::f64(r * r, poly_f64::<M, 11>(r, &EXPM1_F64), d);
    let a = pow2_f64(k.wrapping_sub(1));
    let (s, e) = fast_sum_f64(a - 0.5, a * r);
    (s, M::f64(a, tail, e))
}

/// e^x - 1.
#[inline(always)]
pub fn exp_m1_f64<M: Madd>(x: f64) -> f64 {
    let (s, e) = half_exp_m1_f64::<M>(above_f64(below_f64(x, 710.0), -50.0));
    // Halving loses bits of subnormals, and -0 its sign.
    sel(x.abs() < 1e-300, x, 2.0 * (s + e))
}
