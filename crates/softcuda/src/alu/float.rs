//! Arithmetic and comparisons of f32 and f64.

use super::num::{self, Round, high_half, narrow, through};
use super::{Alu, Lane, alu, ballot, both, set_bits};
use crate::types::Ty;

/// The function of a float instruction; `mode` is `approx` or `full` or empty.
pub(crate) fn float_op(op: &str, ty: Ty, round: Round, mode: &str) -> Option<Alu> {
    match ty {
        Ty::F32 => op_f32(op, round, mode),
        Ty::F64 => op_f64(op, round, mode),
        _ => None,
    }
}

macro_rules! directed {
    ($round:expr, $near:expr, |$($a:ident: $t:ty),+| -> $r:ty, |$m:ident| $e:expr) => {
        match $round {
            Round::Nearest => $near,
            Round::Zero => alu!(|$($a: $t),+| -> $r {{ const $m: Round = Round::Zero; $e }}),
            Round::Down => alu!(|$($a: $t),+| -> $r {{ const $m: Round = Round::Down; $e }}),
            Round::Up => alu!(|$($a: $t),+| -> $r {{ const $m: Round = Round::Up; $e }}),
        }
    };
}

fn op_f32(op: &str, round: Round, mode: &str) -> Option<Alu> {
    Some(match op {
        "add" => directed!(round, alu!(|a: f32, b: f32| -> f32 { a + b }), |a: f32, b: f32| -> f32, |M| {
            num::sum_f32(a as f64, b as f64, M)
        }),
        "sub" => directed!(round, alu!(|a: f32, b: f32| -> f32 { a - b }), |a: f32, b: f32| -> f32, |M| {
            num::sum_f32(a as f64, -b as f64, M)
        }),
        "mul" => directed!(round, alu!(|a: f32, b: f32| -> f32 { a * b }), |a: f32, b: f32| -> f32, |M| {
            narrow(a as f64 * b as f64, M)
        }),
        "fma" | "mad" => {
            directed!(round, alu!(|a: f32, b: f32, c: f32| -> f32 { a.mul_add(b, c) }), |a: f32, b: f32, c: f32| -> f32, |M| {
                num::sum_f32(a as f64 * b as f64, c as f64, M)
            })
        }
        // `approx` and `full` are within 2 ulp of this.
        "div" => directed!(round, alu!(|a: f32, b: f32| -> f32 { a / b }), |a: f32, b: f32| -> f32, |M| {
            narrow(num::div_odd(a, b), M)
        }),
        "rcp" => {
            directed!(round, alu!(|a: f32| -> f32 { 1.0 / a }), |a: f32| -> f32, |M| narrow(num::div_odd(1.0, a), M))
        }
        "sqrt" => {
            directed!(round, alu!(|a: f32| -> f32 { a.sqrt() }), |a: f32| -> f32, |M| narrow(num::sqrt_odd(a), M))
        }
        "rsqrt" => alu!(|a: f32| -> f32 { through(a, |a| 1.0 / a.sqrt()) }),
        "ex2" if mode == "approx" => alu!(|a: f32| -> f32 { through(a, f64::exp2) }),
        "lg2" if mode == "approx" => alu!(|a: f32| -> f32 { through(a, f64::log2) }),
        "sin" if mode == "approx" => alu!(|a: f32| -> f32 { through(a, f64::sin) }),
        "cos" if mode == "approx" => alu!(|a: f32| -> f32 { through(a, f64::cos) }),
        "tanh" if mode == "approx" => alu!(|a: f32| -> f32 { through(a, f64::tanh) }),
        "neg" => alu!(|a: u32| -> u32 { a ^ 0x8000_0000 }),
        "abs" => alu!(|a: u32| -> u32 { a & 0x7fff_ffff }),
        "min" => alu!(|a: f32, b: f32| -> f32 { num::min_f32(a, b) }),
        "max" => alu!(|a: f32, b: f32| -> f32 { num::max_f32(a, b) }),
        "min.NaN" => alu!(|a: f32, b: f32| -> f32 {
            if a.is_nan() || b.is_nan() { f32::from_bits(0x7fff_ffff) } else { num::min_f32(a, b) }
        }),
        "max.NaN" => alu!(|a: f32, b: f32| -> f32 {
            if a.is_nan() || b.is_nan() { f32::from_bits(0x7fff_ffff) } else { num::max_f32(a, b) }
        }),
        // The sign is the first operand's.
        "copysign" => alu!(|a: u32, b: u32| -> u32 { a & 0x8000_0000 | b & 0x7fff_ffff }),
        _ => return None,
    })
}

fn op_f64(op: &str, round: Round, mode: &str) -> Option<Alu> {
    Some(match op {
        "add" => {
            directed!(round, alu!(|a: f64, b: f64| -> f64 { a + b }), |a: f64, b: f64| -> f64, |M| num::sum_f64(a, b, M))
        }
        "sub" => {
            directed!(round, alu!(|a: f64, b: f64| -> f64 { a - b }), |a: f64, b: f64| -> f64, |M| num::sum_f64(a, -b, M))
        }
        "mul" => {
            directed!(round, alu!(|a: f64, b: f64| -> f64 { a * b }), |a: f64, b: f64| -> f64, |M| num::product_f64(a, b, M))
        }
        "fma" | "mad" if round == Round::Nearest => alu!(|a: f64, b: f64, c: f64| -> f64 { a.mul_add(b, c) }),
        "div" => {
            directed!(round, alu!(|a: f64, b: f64| -> f64 { a / b }), |a: f64, b: f64| -> f64, |M| num::quotient_f64(a, b, M))
        }
        "rcp" if mode == "approx" => alu!(|a: f64| -> f64 { high_half(1.0 / a) }),
        "rcp" => directed!(round, alu!(|a: f64| -> f64 { 1.0 / a }), |a: f64| -> f64, |M| num::quotient_f64(1.0, a, M)),
        "sqrt" => directed!(round, alu!(|a: f64| -> f64 { a.sqrt() }), |a: f64| -> f64, |M| num::root_f64(a, M)),
        "rsqrt" => alu!(|a: f64| -> f64 { high_half(1.0 / a.sqrt()) }),
        "neg" => alu!(|a: u64| -> u64 { a ^ 1 << 63 }),
        "abs" => alu!(|a: u64| -> u64 { a & !(1 << 63) }),
        "min" => alu!(|a: f64, b: f64| -> f64 { num::min_f64(a, b) }),
        "max" => alu!(|a: f64, b: f64| -> f64 { num::max_f64(a, b) }),
        "copysign" => alu!(|a: u64, b: u64| -> u64 { a & 1 << 63 | b & !(1 << 63) }),
        _ => return None,
    })
}

/// Subnormals of a row of f32 to zeros.
pub(crate) fn flush() -> Alu {
    alu!(|a: f32| -> f32 { num::flush_f32(a) })
}

/// A row clamped to [0, 1]; NaN to 0.
pub(crate) fn saturate(ty: Ty) -> Alu {
    match ty {
        Ty::F64 => alu!(|a: f64| -> f64 { if a > 0.0 { a.min(1.0) } else { 0.0 } }),
        _ => alu!(|a: f32| -> f32 { if a > 0.0 { a.min(1.0) } else { 0.0 } }),
    }
}

/// A comparison into a predicate.
macro_rules! compare {
    (|$a:ident, $b:ident: $t:ty| $e:expr) => {{
        #[inline(always)]
        unsafe fn body(file: *mut u32, o: &[u32; 5], m: &$crate::alu::Mask) {
            // SAFETY: the decoder made the operands' offsets.
            unsafe {
                let bits = ballot(|i| {
                    let $a = <$t as Lane>::get(file.add(o[1] as usize), i);
                    let $b = <$t as Lane>::get(file.add(o[2] as usize), i);
                    $e
                });
                set_bits(file, o[0], m, bits);
            }
        }
        both!(body)
    }};
}
pub(crate) use compare;

macro_rules! float_compares {
    ($t:ty, $cmp:expr) => {
        match $cmp {
            "eq" => compare!(|a, b: $t| a == b),
            "ne" => compare!(|a, b: $t| a != b && !a.is_nan() && !b.is_nan()),
            "lt" => compare!(|a, b: $t| a < b),
            "le" => compare!(|a, b: $t| a <= b),
            "gt" => compare!(|a, b: $t| a > b),
            "ge" => compare!(|a, b: $t| a >= b),
            "equ" => compare!(|a, b: $t| a == b || a.is_nan() || b.is_nan()),
            "neu" => compare!(|a, b: $t| a != b),
            "ltu" => compare!(|a, b: $t| !(a >= b)),
            "leu" => compare!(|a, b: $t| !(a > b)),
            "gtu" => compare!(|a, b: $t| !(a <= b)),
            "geu" => compare!(|a, b: $t| !(a < b)),
            "num" => compare!(|a, b: $t| !a.is_nan() && !b.is_nan()),
            "nan" => compare!(|a, b: $t| a.is_nan() || b.is_nan()),
            _ => return None,
        }
    };
}

/// `setp` of floats: ordered, unordered and NaN tests.
#[allow(
    clippy::neg_cmp_op_on_partial_ord,
    clippy::nonminimal_bool,
    reason = "unordered comparisons are these negations"
)]
pub(crate) fn float_compare(cmp: &str, ty: Ty) -> Option<Alu> {
    Some(match ty {
        Ty::F32 => float_compares!(f32, cmp),
        Ty::F64 => float_compares!(f64, cmp),
        _ => return None,
    })
}
