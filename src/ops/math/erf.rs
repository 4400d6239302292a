//! erf and erfc.

use super::exp::{exp_normal_f32, exp_normal_f64, exp_times_f64, exp_wide};
use super::parts::{Madd, below_f32, below_f64, poly_f32, poly_f64, sel, two_prod_f64};

/// erf x / x - 1 in x^2, for |x| <= 0.9.
const SMALL_F32: [f32; 7] =
    [0.12837917, -0.3761263, 0.11283624, -0.026855586, 0.0051919366, -0.00080436294, 7.968413e-05];
/// ln erfc x for 0.9 <= x <= 3.95, weighted by erfc.
const BIG_F32: [f32; 7] =
    [-0.00017750259, -1.1277496, -0.6370597, -0.104037486, 0.02227719, -0.0030556459, 0.00019718714];
/// erf x / x - 1 in x^2, for |x| <= 1.
const SMALL_F64: [f64; 12] = [
    0.12837916709551256,
    -0.3761263890318334,
    0.11283791670936529,
    -0.02686617064186564,
    0.005223977595790512,
    -0.0008548325432642018,
    0.0001205527875824768,
    -1.4924429543648033e-05,
    1.6443678151278369e-06,
    -1.6180206192624704e-07,
    1.359974973320833e-08,
    -7.575320455748035e-10,
];
/// ln erfc x for 1 <= x <= 5.95, weighted by erfc.
const BIG_F64: [f64; 18] = [
    -5.132461578422039e-07,
    -1.1283739916728772,
    -0.6366440552397391,
    -0.1027022894934405,
    0.018988041602029167,
    0.00041353698248834127,
    -0.0019189458807997244,
    0.0007730431600764102,
    -0.00013655416822095767,
    -1.9523851933316318e-05,
    2.253328494242316e-05,
    -8.578910120100589e-06,
    2.1148302705781986e-06,
    -3.695707440880227e-07,
    4.593387501461066e-08,
    -3.890069370135459e-09,
    2.020372140960796e-10,
    -4.865175544158217e-12,
];
/// (1 + 2x) e^(x^2) erfc x in (x - K) / (x + K), for 0.49 <= x <= 27.4.
const TAIL_F64: [f64; 21] = [
    1.2363539084541144,
    -0.14015514677325813,
    0.006738807450822225,
    0.07862435546311972,
    -0.1069712461907095,
    0.09290774431041811,
    -0.06081432180414214,
    0.030630562643040177,
    -0.011296473885448249,
    0.0024679110278449097,
    0.00011018540484842546,
    -0.000300659288177176,
    8.064344251051462e-05,
    1.4382877644530722e-05,
    -1.3462975613727506e-05,
    6.901465853285294e-07,
    1.7367926191545128e-06,
    -2.9674350409486875e-07,
    -2.1419351870189998e-07,
    3.999311087042633e-08,
    2.111846954862777e-08,
];
/// Chosen so that the constant term of [`TAIL_F64`] is nearly exact.
const K: f64 = 3.8125;
/// (1 + 2x) e^(x^2) erfc x in (x - 3) / (x + 3), for 0.49 <= x <= 10.2, to 2^-34: for results in f32.
const TAIL_WIDE: [f64; 12] = [
    1.2530080582895777,
    -0.13562110536129435,
    -0.04756229725331515,
    0.1296451118298028,
    -0.11927358535374331,
    0.06830885650987653,
    -0.02377121359227958,
    0.0025231321347790785,
    0.0018908958423750927,
    -0.0007574424407842735,
    -0.00010586328233176428,
    8.901163445426065e-05,
];

/// The error function.
#[inline(always)]
pub fn erf_f32<M: Madd>(x: f32) -> f32 {
    let a = below_f32(x.abs(), 3.95);
    let small = M::f32(a, poly_f32::<M, 7>(a * a, &SMALL_F32), a);
    let big = 1.0 - exp_normal_f32::<M>(poly_f32::<M, 7>(a, &BIG_F32));
    sel(a < 0.9, small, big).copysign(x)
}

/// The error function.
#[inline(always)]
pub fn erf_f64<M: Madd>(x: f64) -> f64 {
    let a = below_f64(x.abs(), 5.95);
    let small = M::f64(a, poly_f64::<M, 12>(a * a, &SMALL_F64), a);
    let big = 1.0 - exp_normal_f64::<M>(poly_f64::<M, 18>(a, &BIG_F64));
    sel(a < 1.0, small, big).copysign(x)
}

/// 1 - erf x, without cancellation.
#[inline(always)]
pub fn erfc_f32<M: Madd>(x: f32) -> f32 {
    let a = below_f64(f64::from(x.abs()), 10.2);
    let near = poly_f64::<M, 12>(a * a, &SMALL_F64);
    let near = 1.0 - M::f64(near, a, a).copysign(f64::from(x));
    let p = poly_f64::<M, 12>((a - 3.0) / (a + 3.0), &TAIL_WIDE);
    let far = exp_wide::<M>(-a * a) * p / (1.0 + 2.0 * a);
    sel(a < 0.5, near, sel(x < 0.0, 2.0 - far, far)) as f32
}

/// 1 - erf x, without cancellation.
#[inline(always)]
pub fn erfc_f64<M: Madd>(x: f64) -> f64 {
    let a = below_f64(x.abs(), 27.4);
    let near = poly_f64::<M, 12>(a * a, &SMALL_F64);
    let near = 1.0 - M::f64(near, a, a).copysign(x);
    let p = poly_f64::<M, 21>((a - K) / (a + K), &TAIL_F64);
    let (z, e) = two_prod_f64::<M>(a, a);
    // The quotient goes in before the last step of exp, so that a subnormal result is rounded once.
    let far = exp_times_f64::<M>(-z, -e, p / (1.0 + 2.0 * a));
    sel(a < 0.5, near, sel(x < 0.0, 2.0 - far, far))
}
