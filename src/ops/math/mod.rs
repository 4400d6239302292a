//! Elementary functions without branches: inlined into a loop, they become SIMD code.
//!
//! Every function is generic over [`Madd`], which says how `a * b + c` is computed. Call it with [`Fused`] from a loop
//! compiled for AVX2 + FMA or better, and with [`Split`] from a portable one; the bounds in `ULP` hold for both.
//! The `_f32` forms are native f32 lanes where speed matters most (exp, exp2, ln, sin, cos, tanh, erf); the others
//! compute in f64 lanes with short polynomials and round once.
//!
//! Coefficients are minimax fits (Remez exchange, rounded one after the other) unless a comment says otherwise.

mod erf;
mod exp;
mod hyper;
mod inverse;
mod log;
mod parts;
mod power;
mod round;
#[cfg(test)]
mod tests;
mod trig;

pub use erf::{erf_f32, erf_f64, erfc_f32, erfc_f64};
pub use exp::{exp_f32, exp_f64, exp_m1_f32, exp_m1_f64, exp2_f32, exp2_f64};
pub use hyper::{
    acosh_f32, acosh_f64, asinh_f32, asinh_f64, atanh_f32, atanh_f64, cosh_f32, cosh_f64, sinh_f32, sinh_f64, tanh_f32,
    tanh_f64,
};
pub use inverse::{acos_f32, acos_f64, asin_f32, asin_f64, atan_f32, atan_f64, atan2_f32, atan2_f64};
pub use log::{ln_1p_f32, ln_1p_f64, ln_f32, ln_f64, log2_f32, log2_f64, log10_f32, log10_f64};
pub use parts::{Fused, Madd, Split};
pub use power::{cbrt_f32, cbrt_f64, hypot_f32, hypot_f64, powf_f32, powf_f64};
pub use round::{
    ceil_f32, ceil_f64, floor_f32, floor_f64, round_f32, round_f64, round_ties_even_f32, round_ties_even_f64,
    trunc_f32, trunc_f64,
};
pub use trig::{
    cos_f32, cos_f64, cos_slow_f32, cos_slow_f64, sin_f32, sin_f64, sin_slow_f32, sin_slow_f64, tan_f32, tan_f64,
    tan_slow_f32, tan_slow_f64, trig_slow_f32, trig_slow_f64,
};

/// The largest error of each function in units in the last place: (name, f32, f64).
///
/// Measured over every 101st f32 and ten million f64 points a function, with a margin. Beyond the trig limits the
/// platform's libm answers, and its own bound holds.
#[cfg(test)]
pub const ULP: &[(&str, f32, f32)] = &[
    ("exp", 1.25, 1.25),
    ("exp2", 1.5, 1.5),
    ("exp_m1", 0.51, 1.5),
    ("ln", 1.0, 1.0),
    ("log2", 0.51, 1.0),
    ("log10", 0.51, 1.0),
    ("ln_1p", 0.51, 1.0),
    ("sin", 1.0, 1.0),
    ("cos", 1.0, 1.0),
    ("tan", 0.51, 2.5),
    ("asin", 0.51, 2.5),
    ("acos", 0.51, 1.5),
    ("atan", 0.51, 1.5),
    ("atan2", 0.51, 2.0),
    ("sinh", 0.51, 2.0),
    ("cosh", 0.51, 2.0),
    ("tanh", 1.5, 1.5),
    ("asinh", 0.51, 2.0),
    ("acosh", 0.51, 3.0),
    ("atanh", 0.51, 2.5),
    ("hypot", 0.51, 1.0),
    ("powf", 0.51, 1.5),
    ("cbrt", 0.51, 1.25),
    ("erf", 1.5, 1.5),
    ("erfc", 0.51, 4.0),
    ("round", 0.0, 0.0),
    ("round_ties_even", 0.0, 0.0),
    ("floor", 0.0, 0.0),
    ("ceil", 0.0, 0.0),
    ("trunc", 0.0, 0.0),
];
