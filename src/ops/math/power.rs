//! hypot, cbrt, powf.

use super::exp::{exp_times_f64, exp_wide};
use super::log::{split_f64, split_normal_f64};
use super::parts::{
    LN2_HI, LN2_LO, MAGIC64, Madd, above_f64, below_f64, fast_sum_f64, int_f64, poly_f64, pow2_f64, sel, two_prod_f64,
};
use super::round::trunc_f64;
use core::f64::consts::LN_2;

/// m^(-1/3) on [1, 2), error below 2^-17.
const RCBRT: [f64; 6] = [
    1.7810572634242552,
    -1.566027138616932,
    1.2437832580145065,
    -0.5978711224601648,
    0.15607093565043628,
    -0.01701893879673521,
];
/// (ln((1 + s) / (1 - s)) - 2s) / s^3 in s^2, error below 2^-51 of the logarithm.
const LN_WIDE: [f64; 6] = [
    0.666666666665872,
    0.40000000052276374,
    0.28571417129251275,
    0.22223371729352093,
    0.18123640853680642,
    0.1681984488746392,
];
/// (ln((1 + s) / (1 - s)) - 2s - 2/3 s^3) / s^5 in s^2, error below 2^-72 of the logarithm.
const LN_TAIL: [f64; 8] = [
    0.3999999999999998,
    0.2857142857144384,
    0.2222222221778975,
    0.18181818843989392,
    0.15384558428938944,
    0.1333626447793076,
    0.1167578123972524,
    0.119817483187135,
];
/// What f64 leaves out of 2/3.
const TWO_THIRDS_LO: f64 = 3.700743415417188e-17;

/// The length of (x, y).
#[inline(always)]
pub fn hypot_f32<M: Madd>(x: f32, y: f32) -> f32 {
    let (v, w) = (f64::from(x), f64::from(y));
    let r = M::f64(v, v, w * w).sqrt() as f32;
    sel((x.abs() == f32::INFINITY) | (y.abs() == f32::INFINITY), f32::INFINITY, r)
}

/// The length of (x, y).
#[inline(always)]
pub fn hypot_f64<M: Madd>(x: f64, y: f64) -> f64 {
    let (x, y) = (x.abs(), y.abs());
    let (a, b) = (sel(x > y, x, y), sel(x > y, y, x));
    // Powers of two keep the squares in range.
    let down = sel(a > 1e150, 1.0 / TWO_600, sel(a < 1e-130, TWO_600, 1.0));
    let up = sel(a > 1e150, TWO_600, sel(a < 1e-130, 1.0 / TWO_600, 1.0));
    let (a, b) = (a * down, b * down);
    let (p, e) = two_prod_f64::<M>(a, a);
    let (q, f) = two_prod_f64::<M>(b, b);
    let (s, d) = fast_sum_f64(p, q);
    let r = (s + (d + (e + f))).sqrt() * up;
    sel((x == f64::INFINITY) | (y == f64::INFINITY), f64::INFINITY, r)
}

/// 2^600.
const TWO_600: f64 = f64::from_bits((1023 + 600) << 52);

/// (v, w, 2^q) with x = 2^3q v, v in [1/2, 4), w = v^(-1/3) to 2^-17, for normal x > 0.
#[inline(always)]
fn cbrt_parts<M: Madd>(x: f64) -> (f64, f64, f64) {
    const TWO52: f64 = 4_503_599_627_370_496.0;
    let k = f64::from_bits((x.to_bits() >> 52) | TWO52.to_bits()) - (TWO52 + 1023.0);
    let m = f64::from_bits((x.to_bits() & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000);
    let t = M::f64(k, 1.0 / 3.0, MAGIC64);
    let rem = k - 3.0 * (t - MAGIC64);
    const CBRT_2: f64 = 1.2599210498948732;
    let (v, f) = (sel(rem > 0.0, 2.0 * m, m), sel(rem > 0.0, 1.0 / CBRT_2, 1.0));
    let (v, f) = (sel(rem < 0.0, 0.5 * m, v), sel(rem < 0.0, CBRT_2, f));
    (v, poly_f64::<M, 6>(m, &RCBRT) * f, pow2_f64(int_f64(t)))
}

/// The cube root.
#[inline(always)]
pub fn cbrt_f32<M: Madd>(x: f32) -> f32 {
    let a = f64::from(x.abs());
    let (v, w, q) = cbrt_parts::<M>(a);
    let d = M::f64(-(v * w), w * w, 1.0);
    let w = M::f64(w * d, M::f64(d, 2.0 / 9.0, 1.0 / 3.0), w);
    let r = (v * w * w * q) as f32;
    sel((x != 0.0) & (x.abs() < f32::INFINITY), r.copysign(x), x)
}

/// The cube root.
#[inline(always)]
pub fn cbrt_f64<M: Madd>(x: f64) -> f64 {
    let a = x.abs();
    let tiny = a < f64::MIN_POSITIVE;
    let (v, w, q) = cbrt_parts::<M>(sel(tiny, a * 18_014_398_509_481_984.0, a));
    let d = M::f64(-(v * w), w * w, 1.0);
    // (1 - d)^(-1/3), d below 2^-15.
    let w = M::f64(w * d, M::f64(d, M::f64(d, 14.0 / 81.0, 2.0 / 9.0), 1.0 / 3.0), w);
    let y = v * w * w;
    // One Newton step with the residual v - y^3 nearly exact.
    let y = M::f64(M::f64(-(y * y), y, v), w * w * (1.0 / 3.0), y);
    let r = y * q * sel(tiny, 1.0 / 262_144.0, 1.0);
    sel((x != 0.0) & (a < f64::INFINITY), r.copysign(x), x)
}

/// ln of a finite a > 0 as an unevaluated sum, relative error near 2^-64.
#[inline(always)]
fn ln_dd<M: Madd>(a: f64) -> (f64, f64) {
    let (k, m) = split_f64(a);
    let f = m - 1.0;
    // s = f / (2 + f).
    let (d, de) = fast_sum_f64(2.0, f);
    let inv = 1.0 / d;
    let s = f * inv;
    let (p, pe) = two_prod_f64::<M>(s, d);
    let se = (((f - p) - pe) - s * de) * inv;
    // z = s^2.
    let (z, ze) = two_prod_f64::<M>(s, s);
    let ze = M::f64(2.0 * s, se, ze);
    // w = 2/3 + z tail(z).
    let (w, we) = fast_sum_f64(2.0 / 3.0, z * poly_f64::<M, 8>(z, &LN_TAIL));
    let we = we + TWO_THIRDS_LO;
    // u = z w.
    let (u, ue) = two_prod_f64::<M>(z, w);
    let ue = ue + M::f64(z, we, ze * w);
    // ln m = 2s + s u.
    let (g, ge) = two_prod_f64::<M>(s, u);
    let ge = ge + M::f64(s, ue, se * u);
    let (hi, lo) = fast_sum_f64(2.0 * s, g);
    let lo = lo + M::f64(2.0, se, ge);
    let (h, l) = fast_sum_f64(k * LN2_HI, hi);
    fast_sum_f64(h, l + M::f64(k, LN2_LO, lo))
}

/// C's rules on top of `r` = |x|^y as exp(y ln |x|), which is right for 0, infinities and NaN but not for these.
#[inline(always)]
fn pow_cases<M: Madd>(x: f64, y: f64, r: f64) -> f64 {
    let whole = trunc_f64::<M>(y) == y;
    let half = 0.5 * y;
    let odd = whole & (trunc_f64::<M>(half) != half);
    let finite = y.abs() < f64::INFINITY;
    let r = sel((x < 0.0) & finite & !whole & (x > f64::NEG_INFINITY), f64::NAN, r);
    let r = sel(odd, r.copysign(x), r);
    sel((x == 1.0) | (y == 0.0) | (x == -1.0) & !finite & !y.is_nan(), 1.0, r)
}

/// x to the power y.
#[inline(always)]
pub fn powf_f32<M: Madd>(x: f32, y: f32) -> f32 {
    let (v, w) = (f64::from(x), f64::from(y));
    let a = v.abs();
    let (k, m) = split_normal_f64(a);
    let f = m - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let l = s * M::f64(z, poly_f64::<M, 6>(z, &LN_WIDE), 2.0);
    let l = M::f64(k, LN_2, l);
    let l = sel(a == 0.0, f64::NEG_INFINITY, sel(a < f64::INFINITY, l, a));
    let r = exp_wide::<M>(above_f64(below_f64(w * l, 200.0), -200.0));
    pow_cases::<M>(v, w, r) as f32
}

/// x to the power y.
#[inline(always)]
pub fn powf_f64<M: Madd>(x: f64, y: f64) -> f64 {
    let a = x.abs();
    let (h, l) = ln_dd::<M>(a);
    let usual = (a > 0.0) & (a < f64::INFINITY);
    let h = sel(usual, h, sel(a == 0.0, f64::NEG_INFINITY, a));
    let (p, e) = two_prod_f64::<M>(y, h);
    // The correction may be no number far outside the range of exp, or for a y so large that ln x = 0 or p is there.
    let e = sel(usual & (p.abs() < 800.0) & (y.abs() < 1e20), M::f64(y, l, e), 0.0);
    pow_cases::<M>(x, y, exp_times_f64::<M>(p, e, 1.0))
}
