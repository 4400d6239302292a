//! sinh, cosh, tanh and their inverses.

use super::exp::{exp_normal_f32, half_exp_m1_f64, reduce_f64};
use super::log::{ln_1p_wide, ln_sum_f64};
use super::parts::{
    Madd, below_f32, below_f64, fast_sum_f64, poly_f32, poly_f64, pow2_f64, residual_f64, sel, two_sum_f64,
};

/// (sinh r - r) / r^3 in r^2, for |r| <= ln 2 / 2, error below 2^-61.
const SINH_F64: [f64; 5] =
    [0.16666666666666677, 0.008333333333321386, 0.00019841269886815806, 2.755724345163822e-06, 2.5109321240718826e-08];
/// (cosh r - 1) / r^2 in r^2, error below 2^-69.
const COSH_F64: [f64; 6] = [
    0.5,
    0.041666666666666685,
    0.0013888888888873283,
    2.4801587349202252e-05,
    2.755725182371527e-07,
    2.0921766103315763e-09,
];
/// [`SINH_F64`] to 2^-49, for results in f32.
const SINH_WIDE: [f64; 4] = [0.16666666666630076, 0.008333333362903544, 0.00019841195572502514, 2.7630816932276717e-06];
/// [`COSH_F64`] to 2^-45, for results in f32.
const COSH_WIDE: [f64; 4] = [0.49999999999597355, 0.04166666699204665, 0.0013888807167418047, 2.4882454511016734e-05];
/// (tanh x - x) / x^3 in x^2, for |x| <= 5/8.
const TANH_F32: [f32; 5] = [-0.33333284, 0.13331483, -0.053742774, 0.020648062, -0.0057140635];

/// sinh and cosh of a = k ln 2 + r from those of r: neither cancels nor divides.
///
/// Returns (sinh(k ln 2) / 2, cosh(k ln 2) / 2, sinh r in two parts, cosh r - 1); halves, so as not to overflow early.
#[inline(always)]
fn parts<M: Madd>(a: f64) -> (f64, f64, (f64, f64), f64) {
    let (k, r, e) = reduce_f64::<M>(a);
    let up = pow2_f64(k.wrapping_sub(2));
    // 2^(-k - 2), and 0 where k is so large that it no longer counts.
    let down = f64::from_bits(1021_u64.saturating_sub(k) << 52);
    let z = r * r;
    let s = M::f64(r * z, poly_f64::<M, 5>(z, &SINH_F64), e);
    (up - down, up + down, (r, s), z * poly_f64::<M, 6>(z, &COSH_F64))
}

/// sinh x.
#[inline(always)]
pub fn sinh_f64<M: Madd>(x: f64) -> f64 {
    let a = below_f64(x.abs(), 710.6);
    let (sh, ch, (r, s), c) = parts::<M>(a);
    let (v, e) = two_sum_f64(sh, ch * r);
    let y = 2.0 * (v + (e + M::f64(ch, s, sh * c)));
    sel(a < 1e-9, x, y.copysign(x))
}

/// cosh x.
#[inline(always)]
pub fn cosh_f64<M: Madd>(x: f64) -> f64 {
    let (sh, ch, (r, s), c) = parts::<M>(below_f64(x.abs(), 710.6));
    2.0 * (ch + M::f64(ch, c, sh * (r + s)))
}

/// tanh x.
#[inline(always)]
pub fn tanh_f64<M: Madd>(x: f64) -> f64 {
    // tanh a = h / (h + 1) with h = (e^2a - 1) / 2.
    let a = below_f64(x.abs(), 22.0);
    let (s, e) = half_exp_m1_f64::<M>(2.0 * a);
    let (h, e) = fast_sum_f64(s, e);
    let (d, f) = two_sum_f64(h, 1.0);
    let inv = 1.0 / d;
    let q = h * inv;
    // What the roundings of h, h + 1 and the quotient left out.
    let rest = residual_f64::<M>(h, q, d) + M::f64(-q, e + f, e);
    sel(a < 1e-9, x, M::f64(rest, inv, q).copysign(x))
}

/// (sinh a, cosh a) to 2^-45, for a <= 100.
#[inline(always)]
fn sinh_cosh_wide<M: Madd>(a: f64) -> (f64, f64) {
    let (k, r, _) = reduce_f64::<M>(a);
    let (up, down) = (pow2_f64(k.wrapping_sub(1)), pow2_f64(k.wrapping_neg().wrapping_sub(1)));
    let (sh, ch) = (up - down, up + down);
    let z = r * r;
    let s = M::f64(r * z, poly_f64::<M, 4>(z, &SINH_WIDE), r);
    let c = M::f64(z, poly_f64::<M, 4>(z, &COSH_WIDE), 1.0);
    (M::f64(c, sh, s * ch), M::f64(c, ch, s * sh))
}

/// sinh x.
#[inline(always)]
pub fn sinh_f32<M: Madd>(x: f32) -> f32 {
    let (s, _) = sinh_cosh_wide::<M>(below_f64(f64::from(x.abs()), 100.0));
    (s as f32).copysign(x)
}

/// cosh x.
#[inline(always)]
pub fn cosh_f32<M: Madd>(x: f32) -> f32 {
    sinh_cosh_wide::<M>(below_f64(f64::from(x.abs()), 100.0)).1 as f32
}

/// tanh x.
#[inline(always)]
pub fn tanh_f32<M: Madd>(x: f32) -> f32 {
    let a = below_f32(x.abs(), 10.0);
    let z = a * a;
    let small = M::f32(a * z, poly_f32::<M, 5>(z, &TANH_F32), a);
    let big = 1.0 - 2.0 / (exp_normal_f32::<M>(2.0 * a) + 1.0);
    sel(a < 0.625, small, big).copysign(x)
}

/// asinh x.
#[inline(always)]
pub fn asinh_f32<M: Madd>(x: f32) -> f32 {
    let a = f64::from(x.abs());
    let q = a * a;
    // inf / inf at infinity: min keeps the quotient a number, the sum is infinite all the same.
    let u = a + below_f64(q, 1e200) / (1.0 + (1.0 + q).sqrt());
    (ln_1p_wide::<M>(u) as f32).copysign(x)
}

/// acosh x.
#[inline(always)]
pub fn acosh_f32<M: Madd>(x: f32) -> f32 {
    let t = f64::from(x) - 1.0;
    let r = ln_1p_wide::<M>(t + (t * (t + 2.0)).sqrt());
    sel(t >= 0.0, r as f32, f32::NAN)
}

/// atanh x.
#[inline(always)]
pub fn atanh_f32<M: Madd>(x: f32) -> f32 {
    let a = f64::from(x.abs());
    let r = 0.5 * ln_1p_wide::<M>(2.0 * a / (1.0 - a));
    sel(a <= 1.0, (r as f32).copysign(x), f32::NAN)
}

/// asinh x.
#[inline(always)]
pub fn asinh_f64<M: Madd>(x: f64) -> f64 {
    let a = x.abs();
    // Beyond 2^28 asinh a = ln a + ln 2.
    let big = a > 268_435_456.0;
    let q = a * a;
    let (v, c) = two_sum_f64(1.0, a + q / (1.0 + (1.0 + q).sqrt()));
    let r = ln_sum_f64::<M>(sel(big, a, v), sel(big, 0.0, c), sel(big, 1.0, 0.0));
    sel((a > 1e-9) & (a < f64::INFINITY), r.copysign(x), x)
}

/// acosh x.
#[inline(always)]
pub fn acosh_f64<M: Madd>(x: f64) -> f64 {
    // Beyond 2^28 acosh x = ln x + ln 2.
    let big = x > 268_435_456.0;
    let t = x - 1.0;
    let (v, c) = two_sum_f64(1.0, t + (t * (t + 2.0)).sqrt());
    let r = ln_sum_f64::<M>(sel(big, x, v), sel(big, 0.0, c), sel(big, 1.0, 0.0));
    let r = sel(x < f64::INFINITY, r, x);
    sel(x >= 1.0, r, f64::NAN)
}

/// atanh x.
#[inline(always)]
pub fn atanh_f64<M: Madd>(x: f64) -> f64 {
    let a = x.abs();
    let (v, c) = two_sum_f64(1.0, 2.0 * a / (1.0 - a));
    let r = sel(a < 1.0, 0.5 * ln_sum_f64::<M>(v, c, 0.0), f64::INFINITY);
    let r = sel(a <= 1.0, r.copysign(x), f64::NAN);
    sel(a < 1e-9, x, r)
}
