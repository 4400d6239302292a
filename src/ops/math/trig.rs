//! sin, cos, tan: x = k pi/2 + r, and polynomials on |r| <= pi/4.
//!
//! Without a branch this is right up to the `TRIG_LIMIT`s. A loop works in blocks: it runs the branch-free form over a
//! block while or-ing `trig_slow_*`, and redoes the block with the `*_slow` form in the rare case that one was true.

use super::parts::{
    MAGIC32, MAGIC64, Madd, int_f32, int_f64, poly_f32, poly_f64, residual_f32, residual_f64, sel, two_prod_f32,
    two_prod_f64, two_sum_f32, two_sum_f64,
};
use core::f32::consts as c32;
use core::f64::consts as c64;

/// Up to here `sin_f32`, `cos_f32` and `tan_f32` are right.
pub const TRIG_LIMIT_F32: f32 = 1e5;
/// Up to here `sin_f64`, `cos_f64` and `tan_f64` are right.
pub const TRIG_LIMIT_F64: f64 = 1e9;

/// (sin r - r) / r^3 in r^2.
const SIN_F32: [f32; 3] = [-0.16666655, 0.008332192, -0.00019518785];
/// (cos r - 1 + r^2 / 2) / r^4 in r^2.
const COS_F32: [f32; 3] = [0.041666646, -0.0013887301, 2.4430661e-05];
/// (sin r - r) / r^3 in r^2, error below 2^-57.
const SIN_F64: [f64; 6] = [
    -0.16666666666666632,
    0.008333333333322486,
    -0.0001984126982985283,
    2.7557313704668306e-06,
    -2.50507597966066e-08,
    1.589687950068991e-10,
];
/// (cos r - 1 + r^2 / 2) / r^4 in r^2, error below 2^-64.
const COS_F64: [f64; 6] = [
    0.0416666666666666,
    -0.001388888888887447,
    2.480158728966686e-05,
    -2.755731439923489e-07,
    2.0875728987170046e-09,
    -1.1359916796725268e-11,
];
/// [`SIN_F64`] to 2^-37, for results in f32.
const SIN_WIDE: [f64; 4] =
    [-0.16666666641622824, 0.008333329385214834, -0.00019839334576202556, 2.7183087555123096e-06];
/// [`COS_F64`] to 2^-43, for results in f32.
const COS_WIDE: [f64; 4] = [0.04166666662279265, -0.001388888375023, 2.479951914371497e-05, -2.721016455818374e-07];

/// pi/2 as a sum: `FRAC_PI_2` and these two.
const PIO2_MID_F32: f32 = -4.371139e-08;
const PIO2_LO_F32: f32 = -1.7151245e-15;
const PIO2_MID_F64: f64 = 6.123233995736766e-17;
const PIO2_LO_F64: f64 = -1.4973849048591698e-33;
/// pi/2 in 33 bits, so that products with k are exact, and the rest.
const PIO2_HI_WIDE: f64 = 1.5707963267341256;
const PIO2_LO_WIDE: f64 = 6.077100506506192e-11;

/// Whether `x` is beyond what the branch-free f32 functions do.
#[inline(always)]
pub fn trig_slow_f32(x: f32) -> bool {
    (x.abs() > TRIG_LIMIT_F32) & (x.abs() < f32::INFINITY)
}

/// Whether `x` is beyond what the branch-free f64 functions do.
#[inline(always)]
pub fn trig_slow_f64(x: f64) -> bool {
    (x.abs() > TRIG_LIMIT_F64) & (x.abs() < f64::INFINITY)
}

macro_rules! slow {
    ($($name:ident, $t:ident, $doc:literal, |$x:ident| $e:expr;)*) => {$(
        #[doc = $doc]
        #[cold]
        #[inline(never)]
        pub fn $name($x: $t) -> $t {
            $e
        }
    )*};
}

slow! {
    sin_slow_f32, f32, "sin x for every x, by the platform's libm.", |x| f64::from(x).sin() as f32;
    cos_slow_f32, f32, "cos x for every x, by the platform's libm.", |x| f64::from(x).cos() as f32;
    tan_slow_f32, f32, "tan x for every x, by the platform's libm.", |x| f64::from(x).tan() as f32;
    sin_slow_f64, f64, "sin x for every x, by the platform's libm.", |x| x.sin();
    cos_slow_f64, f64, "cos x for every x, by the platform's libm.", |x| x.cos();
    tan_slow_f64, f64, "tan x for every x, by the platform's libm.", |x| x.tan();
}

/// (k, r, e) with a = k pi/2 + r + e, for 0 <= a <= the limit.
#[inline(always)]
fn reduce_f32<M: Madd>(a: f32) -> (u32, f32, f32) {
    let t = M::f32(a, c32::FRAC_2_PI, MAGIC32);
    let k = t - MAGIC32;
    // Exact: both terms are multiples of 2^-24 and the difference is below 1.
    let r = residual_f32::<M>(a, k, c32::FRAC_PI_2);
    let (p, q) = two_prod_f32::<M>(k, PIO2_MID_F32);
    let (r, e) = two_sum_f32(r, -p);
    (int_f32(t), r, M::f32(k, -PIO2_LO_F32, e - q))
}

/// (k, r, e) with a = k pi/2 + r + e, for 0 <= a <= the limit.
#[inline(always)]
fn reduce_f64<M: Madd>(a: f64) -> (u64, f64, f64) {
    let t = M::f64(a, c64::FRAC_2_PI, MAGIC64);
    let k = t - MAGIC64;
    // Exact: both terms are multiples of 2^-53 and the difference is below 1.
    let r = residual_f64::<M>(a, k, c64::FRAC_PI_2);
    let (p, q) = two_prod_f64::<M>(k, PIO2_MID_F64);
    let (r, e) = two_sum_f64(r, -p);
    (int_f64(t), r, M::f64(k, -PIO2_LO_F64, e - q))
}

/// (sin(r + e), cos(r + e)).
#[inline(always)]
fn sin_cos_f32<M: Madd>(r: f32, e: f32) -> (f32, f32) {
    let z = r * r;
    let half = 0.5 * z;
    let w = 1.0 - half;
    let s = r + M::f32(r * z, poly_f32::<M, 3>(z, &SIN_F32), e * w);
    let c = M::f32(z * z, poly_f32::<M, 3>(z, &COS_F32), -(r * e));
    (s, w + (((1.0 - w) - half) + c))
}

/// (sin(r + e), cos(r + e)).
#[inline(always)]
fn sin_cos_f64<M: Madd>(r: f64, e: f64) -> (f64, f64) {
    let z = r * r;
    let half = 0.5 * z;
    let w = 1.0 - half;
    let s = r + M::f64(r * z, poly_f64::<M, 6>(z, &SIN_F64), e * w);
    let c = M::f64(z * z, poly_f64::<M, 6>(z, &COS_F64), -(r * e));
    (s, w + (((1.0 - w) - half) + c))
}

/// `x` with its sign flipped where bit 1 of `k` is set.
#[inline(always)]
fn flip_f32(x: f32, k: u32) -> f32 {
    f32::from_bits(x.to_bits() ^ ((k & 2) << 30))
}

/// `x` with its sign flipped where bit 1 of `k` is set.
#[inline(always)]
fn flip_f64(x: f64, k: u64) -> f64 {
    f64::from_bits(x.to_bits() ^ ((k & 2) << 62))
}

/// `y` with the sign of `x` on top of its own.
#[inline(always)]
fn odd_f32(y: f32, x: f32) -> f32 {
    f32::from_bits(y.to_bits() ^ (x.to_bits() & 0x8000_0000))
}

/// `y` with the sign of `x` on top of its own.
#[inline(always)]
fn odd_f64(y: f64, x: f64) -> f64 {
    f64::from_bits(y.to_bits() ^ (x.to_bits() & 0x8000_0000_0000_0000))
}

/// sin x for |x| <= [`TRIG_LIMIT_F32`].
#[inline(always)]
pub fn sin_f32<M: Madd>(x: f32) -> f32 {
    let (k, r, e) = reduce_f32::<M>(x.abs());
    let (s, c) = sin_cos_f32::<M>(r, e);
    odd_f32(flip_f32(sel(k & 1 == 0, s, c), k), x)
}

/// sin x for |x| <= [`TRIG_LIMIT_F64`].
#[inline(always)]
pub fn sin_f64<M: Madd>(x: f64) -> f64 {
    let (k, r, e) = reduce_f64::<M>(x.abs());
    let (s, c) = sin_cos_f64::<M>(r, e);
    odd_f64(flip_f64(sel(k & 1 == 0, s, c), k), x)
}

/// cos x for |x| <= [`TRIG_LIMIT_F32`].
#[inline(always)]
pub fn cos_f32<M: Madd>(x: f32) -> f32 {
    let (k, r, e) = reduce_f32::<M>(x.abs());
    let (s, c) = sin_cos_f32::<M>(r, e);
    flip_f32(sel(k & 1 == 0, c, s), k.wrapping_add(1))
}

/// cos x for |x| <= [`TRIG_LIMIT_F64`].
#[inline(always)]
pub fn cos_f64<M: Madd>(x: f64) -> f64 {
    let (k, r, e) = reduce_f64::<M>(x.abs());
    let (s, c) = sin_cos_f64::<M>(r, e);
    flip_f64(sel(k & 1 == 0, c, s), k.wrapping_add(1))
}

/// tan x for |x| <= [`TRIG_LIMIT_F32`].
#[inline(always)]
pub fn tan_f32<M: Madd>(x: f32) -> f32 {
    let a = f64::from(x.abs());
    let t = M::f64(a, c64::FRAC_2_PI, MAGIC64);
    let k = t - MAGIC64;
    let r = M::f64(k, -PIO2_LO_WIDE, M::f64(k, -PIO2_HI_WIDE, a));
    let z = r * r;
    let s = M::f64(r * z, poly_f64::<M, 4>(z, &SIN_WIDE), r);
    let c = M::f64(z * z, poly_f64::<M, 4>(z, &COS_WIDE), M::f64(z, -0.5, 1.0));
    let even = int_f64(t) & 1 == 0;
    odd_f32((sel(even, s, -c) / sel(even, c, s)) as f32, x)
}

/// tan x for |x| <= [`TRIG_LIMIT_F64`].
#[inline(always)]
pub fn tan_f64<M: Madd>(x: f64) -> f64 {
    let (k, r, e) = reduce_f64::<M>(x.abs());
    let (s, c) = sin_cos_f64::<M>(r, e);
    let even = k & 1 == 0;
    odd_f64(sel(even, s, -c) / sel(even, c, s), x)
}
