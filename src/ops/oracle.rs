//! References that tests hold the loops against: plain std code on f64 and i128, sharing nothing with the loops.

/// What an op computes, once on f64 and once on i128 (bools are 0 and 1, results wrap to the dtype's width).
#[derive(Clone, Copy, Debug)]
pub struct Oracle {
    /// On floating-point operands.
    pub float: Option<fn([f64; 3]) -> f64>,
    /// On integers and bools.
    pub int: Option<fn([i128; 3]) -> i128>,
}

impl Oracle {
    /// Nothing: what rows start from.
    pub const NONE: Oracle = Oracle { float: None, int: None };
}

/// A function of `[x; 3]` from an expression over the row's operands.
macro_rules! reference {
    (float $args:tt $out:tt $e:expr) => { $crate::ops::oracle::reference!(@ f64 $args $out $e) };
    (int $args:tt $out:tt $e:expr) => { $crate::ops::oracle::reference!(@ i128 $args $out $e) };
    (@ $t:ident $args:tt [] $e:expr) => { $crate::ops::oracle::reference!(@ $t $args $e) };
    (@ $t:ident $args:tt [bool] $e:expr) => { $crate::ops::oracle::reference!(@ $t $args ($e) as u8 as $t) };
    (@ $t:ident ($($a:ident $(: $mask:ident)?),+) $e:expr) => {{
        #[allow(unused_variables)]
        fn reference([$($a,)+ ..]: [$t; 3]) -> $t {
            $e
        }
        reference
    }};
}
pub(crate) use reference;

/// The error function to the last bit or so.
pub fn erf(x: f64) -> f64 {
    if x.abs() > 3.0 {
        return (1.0 - tail(x.abs())).copysign(x);
    }
    let (hi, lo) = series(x);
    hi + lo
}

/// 1 - erf, likewise.
pub fn erfc(x: f64) -> f64 {
    if x > 3.0 {
        return tail(x);
    }
    if x < -3.0 {
        return 2.0 - tail(-x);
    }
    let (hi, lo) = series(x);
    let (hi, lo) = plus((1.0, 0.0), (-hi, -lo));
    hi + lo
}

/// erfc of something above 3, by its continued fraction.
fn tail(x: f64) -> f64 {
    let fraction = (1..=60).rev().fold(x, |f, k| x + f64::from(k) / 2.0 / f);
    let square = x * x;
    let rest = x.mul_add(x, -square);
    if square > 800.0 {
        return 0.0;
    }
    (-square).exp() * (1.0 - rest) / (fraction * std::f64::consts::PI.sqrt())
}

/// erf of something within 3 of zero, by its Taylor series.
fn series(x: f64) -> Pair {
    /// 2 / sqrt(pi).
    const FACTOR: Pair = (std::f64::consts::FRAC_2_SQRT_PI, 1.533545961316588e-17);
    if x.is_nan() || x.abs() < 1e-100 {
        return (x * FACTOR.0, 0.0);
    }
    // sum over n of (-1)^n x^(2n+1) / (n! (2n+1)); `term` is x^(2n+1) / n!.
    let square = times((x, 0.0), (x, 0.0));
    let (mut term, mut sum) = ((x, 0.0), (x, 0.0));
    for n in 1..80 {
        term = over(times(term, square), -f64::from(n));
        sum = plus(sum, over(term, f64::from(2 * n + 1)));
    }
    times(sum, FACTOR)
}

/// A double-double: an unevaluated sum, the second part below the first's last bit.
type Pair = (f64, f64);

fn renormal(hi: f64, lo: f64) -> Pair {
    let sum = hi + lo;
    (sum, lo - (sum - hi))
}

fn plus(a: Pair, b: Pair) -> Pair {
    let sum = a.0 + b.0;
    let bb = sum - a.0;
    let error = (a.0 - (sum - bb)) + (b.0 - bb);
    renormal(sum, error + a.1 + b.1)
}

fn times(a: Pair, b: Pair) -> Pair {
    let product = a.0 * b.0;
    let error = a.0.mul_add(b.0, -product);
    renormal(product, error + a.0 * b.1 + a.1 * b.0)
}

fn over(a: Pair, d: f64) -> Pair {
    let quotient = a.0 / d;
    let rest = quotient.mul_add(-d, a.0);
    renormal(quotient, (rest + a.1) / d)
}

#[cfg(test)]
mod tests {
    use super::{erf, erfc};

    #[test]
    fn references_are_right() {
        // From a 50-digit evaluation.
        for (x, want, rest) in [
            (1e-05, 1.1283791670579e-05, 0.9999887162083294),
            (0.5, 0.5204998778130465, 0.4795001221869535),
            (1.0, 0.8427007929497149, 0.15729920705028513),
            (2.9, 0.9999589021219005, 4.109787809945886e-05),
            (3.1, 0.9999883513426328, 1.1648657367199589e-05),
            (5.0, 0.9999999999984626, 1.537459794428035e-12),
            (20.0, 1.0, 5.395865611607901e-176),
        ] {
            assert_eq!(erf(x), want);
            assert_eq!(erf(-x), -want);
            assert!((erfc(x) - rest).abs() <= 2e-16 * rest, "erfc({x})");
        }
    }
}
