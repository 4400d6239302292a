//! The rules for integers and floats that are promised, spelled out.

use super::values::Values;
use super::{isas, run_row};
use crate::dtype::DType;
use crate::ops::{OpRef, row};

#[track_caller]
fn ints(op: OpRef, dtype: DType, a: &[i128], b: &[i128], want: &[i128]) {
    let args = [Values::of_ints(dtype, a.to_vec()), Values::of_ints(dtype, b.to_vec())];
    for isa in isas() {
        let got = run_row(op, dtype, isa, &args.iter().collect::<Vec<_>>());
        let got: Vec<_> = (0..got.len()).map(|i| got.int(i)).collect();
        assert_eq!(got, want, "{op:?} {dtype} {isa:?}");
    }
}

/// Compares bits, so that zeros of either sign differ; any NaN is NaN.
#[track_caller]
fn floats(op: OpRef, args: &[&[f64]], want: &[f64]) {
    for dtype in [DType::F32, DType::F64] {
        let args: Vec<_> = args.iter().map(|a| Values::of_floats(dtype, a.to_vec())).collect();
        for isa in isas() {
            let got = run_row(op, dtype, isa, &args.iter().collect::<Vec<_>>());
            let want = Values::of_floats(dtype, want.to_vec());
            for i in 0..want.len() {
                let nan = got.float(i).is_nan() && want.float(i).is_nan();
                assert!(
                    nan || got.bits(i) == want.bits(i),
                    "{op:?} {dtype} {isa:?} [{i}]: {} not {}",
                    got.show(i),
                    want.show(i)
                );
            }
        }
    }
}

const SIGNED: [DType; 4] = [DType::I8, DType::I16, DType::I32, DType::I64];

fn limits(dtype: DType) -> (i128, i128) {
    let top = 1 << (dtype.size() * 8 - 1);
    (-top, top - 1)
}

#[test]
fn integers_wrap() {
    for dtype in SIGNED {
        let (min, max) = limits(dtype);
        ints(&row::add, dtype, &[max, min], &[1, -1], &[min, max]);
        ints(&row::sub, dtype, &[min, 0], &[1, min], &[max, min]);
        ints(&row::mul, dtype, &[min, max], &[-1, 2], &[min, -2]);
        ints(&row::neg, dtype, &[min, 3], &[0, 0], &[min, -3]);
        ints(&row::abs, dtype, &[min, -3], &[0, 0], &[min, 3]);
    }
    ints(&row::sub, DType::U8, &[0], &[1], &[255]);
    ints(&row::mul, DType::U64, &[u64::MAX.into()], &[u64::MAX.into()], &[1]);
}

#[test]
fn integer_division_never_fails() {
    for dtype in SIGNED {
        let (min, max) = limits(dtype);
        ints(&row::div, dtype, &[5, min, min, min, -7, max], &[0, 0, -1, 1, 2, -1], &[0, 0, min, min, -3, -max]);
        ints(&row::rem, dtype, &[5, min, min, -7, 7], &[0, 0, -1, 2, -2], &[0, 0, 0, -1, 1]);
        ints(&row::floor_divide, dtype, &[5, min, -7, 7, -8], &[0, -1, 2, -2, 2], &[0, min, -4, -4, -4]);
        ints(&row::remainder, dtype, &[5, min, -7, 7, -8], &[0, -1, 2, -2, 2], &[0, 0, 1, -1, 0]);
    }
    ints(&row::div, DType::U32, &[u32::MAX.into(), 7], &[1, 0], &[u32::MAX.into(), 0]);
}

#[test]
fn division_by_way_of_floats_is_exact() {
    let near = |dtype: DType| {
        let (_, max) = limits(dtype);
        let unsigned = if dtype.is_unsigned() { 2 * max + 1 } else { max };
        let divisors = [1, 2, 3, 7, 11, 127, 181, 255, 46341, 65535, unsigned - 1, unsigned];
        let pairs: Vec<_> = divisors
            .into_iter()
            .filter(|&d| d <= unsigned)
            .flat_map(|d| {
                let most = unsigned / d * d;
                [most - 1, most, (most + 1).min(unsigned), unsigned].map(|a| (a, d))
            })
            .collect();
        let (a, b): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let want: Vec<_> = a.iter().zip(&b).map(|(a, b)| a / b).collect();
        ints(&row::div, dtype, &a, &b, &want);
    };
    use DType::{I8, I16, I32, U8, U16, U32};
    [I8, I16, I32, U8, U16, U32].into_iter().for_each(near);
    // All of the 8-bit ones.
    let (a, b): (Vec<_>, Vec<_>) = (0..256).flat_map(|a| (0..256).map(move |b| (a, b))).unzip();
    let want: Vec<i128> = a.iter().zip(&b).map(|(a, b): (&i128, _)| a.checked_div(*b).unwrap_or(0)).collect();
    ints(&row::div, U8, &a, &b, &want);
}

#[test]
fn wide_shifts_leave_zero_or_the_sign() {
    for dtype in SIGNED {
        let bits = dtype.size() as i128 * 8;
        ints(&row::shl, dtype, &[1, 1, 1, 1, 3], &[0, bits, bits + 1, -1, 1], &[1, 0, 0, 0, 6]);
        ints(&row::shr, dtype, &[8, -8, 8, -8, -8], &[1, 1, bits, bits, -1], &[4, -4, 0, -1, -1]);
    }
    ints(&row::shl, DType::U64, &[1, 1], &[63, 64], &[1 << 63, 0]);
    ints(&row::shr, DType::U8, &[255, 255], &[7, 200], &[1, 0]);
}

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

#[test]
fn float_remainders_are_rusts_and_numpys() {
    let a = [7.0, -7.0, 7.0, -7.0, 5.0, -5.0, 5.0, 0.0, -0.0, 6.0, -6.0, INF, 1.0];
    let b = [3.0, 3.0, -3.0, -3.0, INF, INF, -INF, 3.0, 3.0, -3.0, 3.0, 2.0, 0.0];
    floats(&row::rem, &[&a, &b], &[1.0, -1.0, 1.0, -1.0, 5.0, -5.0, 5.0, 0.0, -0.0, 0.0, -0.0, NAN, NAN]);
    // What NumPy 2 prints for np.remainder(a, b) and np.floor_divide(a, b).
    floats(&row::remainder, &[&a, &b], &[1.0, 2.0, -2.0, -1.0, 5.0, INF, -INF, 0.0, 0.0, -0.0, 0.0, NAN, NAN]);
    floats(&row::floor_divide, &[&a, &b], &[2.0, -3.0, -3.0, 2.0, 0.0, -1.0, -1.0, 0.0, -0.0, -2.0, -2.0, NAN, INF]);
}

#[test]
fn signs_and_roundings() {
    let a = [0.0, -0.0, 2.5, -2.5, NAN, INF, -INF];
    floats(&row::sign, &[&a], &[0.0, 0.0, 1.0, -1.0, NAN, 1.0, -1.0]);
    floats(&row::signum, &[&a], &[1.0, -1.0, 1.0, -1.0, NAN, 1.0, -1.0]);
    floats(&row::round, &[&a], &[0.0, -0.0, 3.0, -3.0, NAN, INF, -INF]);
    floats(&row::round_ties_even, &[&a], &[0.0, -0.0, 2.0, -2.0, NAN, INF, -INF]);
    floats(&row::trunc, &[&[-0.5, 0.5, -1.9]], &[-0.0, 0.0, -1.0]);
    floats(&row::neg, &[&a], &[-0.0, 0.0, -2.5, 2.5, NAN, -INF, INF]);
}

#[test]
fn nan_goes_through_extremes_and_clamp() {
    floats(&row::maximum, &[&[1.0, NAN, 1.0, NAN], &[2.0, 1.0, NAN, NAN]], &[2.0, NAN, NAN, NAN]);
    floats(&row::minimum, &[&[1.0, NAN, 1.0, NAN], &[2.0, 1.0, NAN, NAN]], &[1.0, NAN, NAN, NAN]);
    let a = [NAN, -1.0, 5.0, 0.5, 0.5, 0.5];
    let lo = [0.0, 0.0, 0.0, NAN, 2.0, 0.0];
    let hi = [1.0, 1.0, 1.0, NAN, 1.0, NAN];
    floats(&row::clamp, &[&a, &lo, &hi], &[NAN, 0.0, 1.0, 0.5, 1.0, 0.5]);
}
