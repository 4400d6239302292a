//! Every function, with both ways of multiply-add, against correctly rounded points (`tests/data/make_math_points.py`).

use super::trig::{TRIG_LIMIT_F32, TRIG_LIMIT_F64};
use super::*;

const POINTS: &str = include_str!("../../../tests/data/math_points.csv");

/// One name's functions at a point: in f64, and in f32.
fn call<M: Madd>(name: &str, x: f64, y: f64) -> (f64, f32) {
    let (u, v) = (x as f32, y as f32);
    macro_rules! unary {
        ($f64:ident, $f32:ident) => {
            ($f64::<M>(x), $f32::<M>(u))
        };
    }
    macro_rules! trig {
        ($f64:ident, $f32:ident, $slow64:ident, $slow32:ident) => {
            (
                if trig_slow_f64(x) { $slow64(x) } else { $f64::<M>(x) },
                if trig_slow_f32(u) { $slow32(u) } else { $f32::<M>(u) },
            )
        };
    }
    macro_rules! binary {
        ($f64:ident, $f32:ident) => {
            ($f64::<M>(x, y), $f32::<M>(u, v))
        };
    }
    match name {
        "exp" => unary!(exp_f64, exp_f32),
        "exp2" => unary!(exp2_f64, exp2_f32),
        "exp_m1" => unary!(exp_m1_f64, exp_m1_f32),
        "ln" => unary!(ln_f64, ln_f32),
        "log2" => unary!(log2_f64, log2_f32),
        "log10" => unary!(log10_f64, log10_f32),
        "ln_1p" => unary!(ln_1p_f64, ln_1p_f32),
        "sin" => trig!(sin_f64, sin_f32, sin_slow_f64, sin_slow_f32),
        "cos" => trig!(cos_f64, cos_f32, cos_slow_f64, cos_slow_f32),
        "tan" => trig!(tan_f64, tan_f32, tan_slow_f64, tan_slow_f32),
        "asin" => unary!(asin_f64, asin_f32),
        "acos" => unary!(acos_f64, acos_f32),
        "atan" => unary!(atan_f64, atan_f32),
        "atan2" => binary!(atan2_f64, atan2_f32),
        "sinh" => unary!(sinh_f64, sinh_f32),
        "cosh" => unary!(cosh_f64, cosh_f32),
        "tanh" => unary!(tanh_f64, tanh_f32),
        "asinh" => unary!(asinh_f64, asinh_f32),
        "acosh" => unary!(acosh_f64, acosh_f32),
        "atanh" => unary!(atanh_f64, atanh_f32),
        "hypot" => binary!(hypot_f64, hypot_f32),
        "powf" => binary!(powf_f64, powf_f32),
        "cbrt" => unary!(cbrt_f64, cbrt_f32),
        "erf" => unary!(erf_f64, erf_f32),
        "erfc" => unary!(erfc_f64, erfc_f32),
        other => panic!("{other}: no such function"),
    }
}

/// Errors in units in the last place of a format with `digits` bits and least exponent `low`; infinite where the kind differs.
fn error(got: f64, want: f64, digits: i32, low: i32) -> f64 {
    if want.is_nan() || got.is_nan() {
        return if want.is_nan() && got.is_nan() { 0.0 } else { f64::INFINITY };
    }
    if want.is_infinite() || got.is_infinite() || want == 0.0 {
        let same = got == want && got.is_sign_negative() == want.is_sign_negative();
        return if same { 0.0 } else { f64::INFINITY };
    }
    let exponent = ((want.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(low);
    // Scaled twice, as the unit itself may be below f64's smallest power of two.
    (got - want).abs() * 2f64.powi(digits - 1 - exponent / 2) * 2f64.powi(exponent / 2 - exponent)
}

fn check<M: Madd>() {
    let mut rows = 0;
    for line in POINTS.lines() {
        let mut fields = line.split(',');
        let name = fields.next().expect("a name");
        let v: Vec<f64> = fields.map(|h| f64::from_bits(u64::from_str_radix(h, 16).expect("hex bits"))).collect();
        let (x, y, want) = (v[0], v[v.len() - 2], v[v.len() - 1]);
        let &(_, ulp32, ulp64) = ULP.iter().find(|row| row.0 == name).expect("a bound for every function");
        let (got, got32) = call::<M>(name, x, y);
        // `want` itself is rounded.
        let e = error(got, want, 53, -1022);
        assert!(e <= f64::from(ulp64) + 0.5, "{name}_f64({x:e}, {y:e}) = {got:e}, not {want:e}: {e} ulp");
        let same = |x: f64| x.is_nan() || f64::from(x as f32) == x;
        if same(x) && same(y) {
            // What rounds to infinity or zero in f32 is compared as such.
            let narrow = f64::from(want as f32);
            let want = if narrow == 0.0 || narrow.is_infinite() { narrow } else { want };
            let e = error(f64::from(got32), want, 24, -126);
            assert!(e <= f64::from(ulp32), "{name}_f32({x:e}, {y:e}) = {got32:e}, not {want:e}: {e} ulp");
        }
        rows += 1;
    }
    assert!(rows > 4000);
}

#[test]
fn points_fused() {
    check::<Fused>();
}

#[test]
fn points_split() {
    check::<Split>();
}

#[test]
fn rounding_is_exact() {
    fn check<M: Madd>() {
        let mut xs = vec![0.0, 0.5, 1.0, 1.5, 2.5, 0.49999999999999994, 0.49999997, 1e-320, 1e-40];
        for p in [22, 23, 24, 51, 52, 53] {
            let big = 2f64.powi(p);
            xs.extend([big, big - 0.5, big - 1.0, big + 0.5, big + 1.0, big + 1.5]);
        }
        xs.extend([1e30, 1e300, f64::INFINITY, f64::NAN]);
        xs.extend((0..4000).map(|i| f64::from(i) * 0.125));
        for x in xs.into_iter().flat_map(|x| [x, -x]) {
            let y = x as f32;
            let got = [
                (round_f64::<M>(x), x.round()),
                (round_ties_even_f64::<M>(x), x.round_ties_even()),
                (floor_f64::<M>(x), x.floor()),
                (ceil_f64::<M>(x), x.ceil()),
                (trunc_f64::<M>(x), x.trunc()),
                (round_f32::<M>(y).into(), y.round().into()),
                (round_ties_even_f32::<M>(y).into(), y.round_ties_even().into()),
                (floor_f32::<M>(y).into(), y.floor().into()),
                (ceil_f32::<M>(y).into(), y.ceil().into()),
                (trunc_f32::<M>(y).into(), y.trunc().into()),
            ];
            for (i, (got, want)) in got.into_iter().enumerate() {
                assert!(
                    got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(),
                    "{i}: {x:e} -> {got:e}, not {want:e}"
                );
            }
        }
    }
    check::<Fused>();
    check::<Split>();
}

#[test]
fn slow_trig_is_finite_and_large() {
    assert!(trig_slow_f32(1.001e5) && trig_slow_f32(f32::MIN) && trig_slow_f64(-1.001e9));
    assert!(!trig_slow_f32(TRIG_LIMIT_F32) && !trig_slow_f32(f32::INFINITY));
    assert!(!trig_slow_f64(TRIG_LIMIT_F64) && !trig_slow_f64(f64::NAN));
}
