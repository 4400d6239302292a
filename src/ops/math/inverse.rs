//! asin, acos, atan, atan2.

use super::parts::{Madd, fast_sum_f64, poly_f64, sel};
use core::f64::consts::{FRAC_PI_2, FRAC_PI_4, PI};

/// (asin s - s) / s^3 in s^2, for s <= 1/2, error below 2^-55.
const ASIN_F64: [f64; 12] = [
    0.16666666666665383,
    0.07500000000342945,
    0.044642856823545955,
    0.03038195932905468,
    0.022371753570047902,
    0.01735977046127515,
    0.013884604414440649,
    0.012173242588963145,
    0.006511003851447042,
    0.019573513240217062,
    -0.016293481974681952,
    0.031958574510397866,
];
/// The same to 2^-35, for results in f32.
const ASIN_WIDE: [f64; 7] = [
    0.166666671898461,
    0.07499948155858231,
    0.04466016364158942,
    0.0301102507130294,
    0.024618381175473776,
    0.007469049082346588,
    0.03469308955218355,
];
/// (atan t - t) / t^3 in t^2, for |t| <= 1/2, error below 2^-62.
const ATAN_F64: [f64; 13] = [
    -0.33333333333333315,
    0.19999999999993823,
    -0.14285714285006554,
    0.11111111070530792,
    -0.09090907720810266,
    0.07692277938253493,
    -0.06666228736057551,
    0.05877847275903304,
    -0.0523022789666258,
    0.04590233365543002,
    -0.03713736495317114,
    0.0236808749758389,
    -0.008381614234551726,
];
/// The same to 2^-36, for results in f32.
const ATAN_WIDE: [f64; 7] = [
    -0.3333333293772489,
    0.19999958499061504,
    -0.1428423541471631,
    0.110859073814407,
    -0.08857288835110406,
    0.06459981316918742,
    -0.029977458040347325,
];

/// What f64 leaves out of pi.
const PI_LO: f64 = 1.2246467991473532e-16;

/// (s, t) with asin s = s + t, where s = a up to 1/2, and above it sqrt((1 - a) / 2): asin a = pi/2 - 2 asin s there.
#[inline(always)]
fn asin_parts<M: Madd, const N: usize>(a: f64, c: &[f64; N]) -> (f64, f64) {
    let z = sel(a > 0.5, 0.5 - 0.5 * a, a * a);
    let s = sel(a > 0.5, z.sqrt(), a);
    (s, s * z * poly_f64::<M, N>(z, c))
}

/// asin x.
#[inline(always)]
pub fn asin_f32<M: Madd>(x: f32) -> f32 {
    let a = f64::from(x.abs());
    let (s, t) = asin_parts::<M, 7>(a, &ASIN_WIDE);
    let r = s + t;
    (sel(a > 0.5, FRAC_PI_2 - 2.0 * r, r) as f32).copysign(x)
}

/// asin x.
#[inline(always)]
pub fn asin_f64<M: Madd>(x: f64) -> f64 {
    let a = x.abs();
    let (s, t) = asin_parts::<M, 12>(a, &ASIN_F64);
    let big = (FRAC_PI_2 - 2.0 * s) + (0.5 * PI_LO - 2.0 * t);
    sel(a > 0.5, big, s + t).copysign(x)
}

/// acos x.
#[inline(always)]
pub fn acos_f32<M: Madd>(x: f32) -> f32 {
    let v = f64::from(x);
    let (s, t) = asin_parts::<M, 7>(v.abs(), &ASIN_WIDE);
    let r = (s + t).copysign(v);
    let big = sel(v < 0.0, PI, 0.0) + 2.0 * r;
    sel(v.abs() > 0.5, big, FRAC_PI_2 - r) as f32
}

/// acos x.
#[inline(always)]
pub fn acos_f64<M: Madd>(x: f64) -> f64 {
    let (s, t) = asin_parts::<M, 12>(x.abs(), &ASIN_F64);
    let (s, t) = (s.copysign(x), t.copysign(x));
    // pi + 2 asin(-s) for x < -1/2, 2 asin s for x > 1/2.
    let (hi, lo) = (sel(x < 0.0, PI, 0.0), sel(x < 0.0, PI_LO, 0.0));
    let big = (hi + 2.0 * s) + (lo + 2.0 * t);
    // pi/2 - asin x between.
    let (d, e) = fast_sum_f64(FRAC_PI_2, -s);
    let small = d + (e + (0.5 * PI_LO - t));
    sel(x.abs() > 0.5, big, small)
}

/// (t, c) with atan(a / b) = c + atan t, |t| <= 1/2, c = 0 or pi/4, for 0 <= a <= b; t = 0 for 0/0, and 0 for inf/inf.
#[inline(always)]
fn ratio(a: f64, b: f64) -> (f64, f64) {
    let high = a > 0.5 * b;
    // Exact for a normal b; with b/2 <= a the difference is exact too.
    let t = sel(high, a - b, a) / sel(high, a + b, b);
    (sel(a == b, 0.0, t), sel(high | (a == b) & (a > 0.0), FRAC_PI_4, 0.0))
}

/// The angle of the point (x, y): c +- (t + p) put into its octant, with `lo(c)` the share of [`PI_LO`].
#[inline(always)]
fn octant(t: f64, p: f64, c: f64, swap: bool, left: bool) -> f64 {
    let lo = sel(c > 0.0, 0.25 * PI_LO, 0.0);
    let (c, lo) = (sel(swap, FRAC_PI_2 - c, c), sel(swap, 0.5 * PI_LO - lo, lo));
    let (t, p) = (sel(swap, -t, t), sel(swap, -p, p));
    let (d, e) = fast_sum_f64(PI, -c);
    let (c, lo) = (sel(left, d, c), sel(left, (PI_LO - lo) + e, lo));
    let (t, p) = (sel(left, -t, t), sel(left, -p, p));
    let (s, e) = fast_sum_f64(c, t);
    s + (e + (p + lo))
}

/// atan x.
#[inline(always)]
pub fn atan_f32<M: Madd>(x: f32) -> f32 {
    let v = f64::from(x.abs());
    let swap = v > 1.0;
    let (t, c) = ratio(sel(swap, 1.0, v), sel(swap, v, 1.0));
    let z = t * t;
    let r = c + M::f64(t * z, poly_f64::<M, 7>(z, &ATAN_WIDE), t);
    (sel(swap, FRAC_PI_2 - r, r) as f32).copysign(x)
}

/// atan x.
#[inline(always)]
pub fn atan_f64<M: Madd>(x: f64) -> f64 {
    let v = x.abs();
    let swap = v > 1.0;
    let (t, c) = ratio(sel(swap, 1.0, v), sel(swap, v, 1.0));
    let z = t * t;
    let p = t * z * poly_f64::<M, 13>(z, &ATAN_F64);
    octant(t, p, c, swap, false).copysign(x)
}

/// The angle of the point (x, y), in (-pi, pi].
#[inline(always)]
pub fn atan2_f32<M: Madd>(y: f32, x: f32) -> f32 {
    let (v, w) = (f64::from(y.abs()), f64::from(x.abs()));
    let swap = v > w;
    let (t, c) = ratio(sel(swap, w, v), sel(swap, v, w));
    let z = t * t;
    let r = c + M::f64(t * z, poly_f64::<M, 7>(z, &ATAN_WIDE), t);
    let r = sel(swap, FRAC_PI_2 - r, r);
    (sel(x.is_sign_negative(), PI - r, r) as f32).copysign(y)
}

/// The angle of the point (x, y), in (-pi, pi].
#[inline(always)]
pub fn atan2_f64<M: Madd>(y: f64, x: f64) -> f64 {
    // Huge points shrink, so that a + b does not overflow.
    let k = sel((y.abs() > 1e300) | (x.abs() > 1e300), 0.25, 1.0);
    let (v, w) = (k * y.abs(), k * x.abs());
    let swap = v > w;
    let (t, c) = ratio(sel(swap, w, v), sel(swap, v, w));
    let z = t * t;
    let p = t * z * poly_f64::<M, 13>(z, &ATAN_F64);
    octant(t, p, c, swap, x.is_sign_negative()).copysign(y)
}
