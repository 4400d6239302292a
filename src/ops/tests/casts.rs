//! Casts against `as`, and the 16-bit floats against an exact rounding.

use super::values::{Random, Values, edges};
use super::{isas, run};
use crate::dtype::DType;
use crate::ops::cast;
use half::{bf16, f16};

/// What `from[i]` cast to `to` is, by way of i128 or f64.
fn reference(from: &Values, i: usize, to: DType) -> Values {
    let mut one = Values::filled(to, 1);
    if to == DType::Bool {
        one.set_int(0, i128::from(if from.dtype.is_float() { from.float(i) != 0.0 } else { from.int(i) != 0 }));
    } else if to.is_float() && from.dtype.is_float() {
        one = Values::of_floats(to, [from.float(i)]);
    } else if to == DType::F32 {
        one = Values::of_floats(to, [f64::from(from.int(i) as f32)]);
    } else if to.is_float() {
        // i128 to f64 rounds; where that could matter to a 16-bit float is tested below.
        one = Values::of_floats(to, [from.int(i) as f64]);
    } else if from.dtype.is_float() {
        let x = from.float(i);
        let saturated = match to {
            DType::I8 => i128::from(x as i8),
            DType::I16 => i128::from(x as i16),
            DType::I32 => i128::from(x as i32),
            DType::I64 => i128::from(x as i64),
            DType::U8 => i128::from(x as u8),
            DType::U16 => i128::from(x as u16),
            DType::U32 => i128::from(x as u32),
            _ => i128::from(x as u64),
        };
        one.set_int(0, saturated);
    } else {
        one.set_int(0, from.int(i));
    }
    one
}

#[test]
fn every_cast_is_as() {
    let mut random = Random(1);
    for from in DType::ALL {
        let edges = edges(from);
        let drawn: Vec<u64> =
            (0..500).map(|_| if from == DType::Bool { random.bits() & 1 } else { random.bits() }).collect();
        let values = Values::of_bits(from, (0..edges.len()).map(|i| edges.bits(i)).chain(drawn));
        for to in DType::ALL {
            for isa in isas() {
                let got = run(cast(from, to), isa, &[&values], to);
                assert!(got.guard_is_intact());
                for i in 0..got.len() {
                    let want = reference(&values, i, to);
                    let same =
                        got.bits(i) == want.bits(0) || to.is_float() && got.float(i).is_nan() && want.float(0).is_nan();
                    assert!(same, "{from} {} to {to}: {} not {} ({isa:?})", values.show(i), got.show(i), want.show(0));
                }
            }
        }
    }
}

#[test]
fn every_f16_survives() {
    let all = Values::of_bits(DType::F16, 0..=0xffff);
    for isa in isas() {
        let wide = run(cast(DType::F16, DType::F32), isa, &[&all], DType::F32);
        let back = run(cast(DType::F32, DType::F16), isa, &[&wide], DType::F16);
        for i in 0..all.len() {
            let x = f16::from_bits(i as u16);
            assert!(wide.float(i) == x.to_f64_const() || x.is_nan() && wide.float(i).is_nan());
            assert!(back.bits(i) == i as u64 || x.is_nan() && back.float(i).is_nan());
        }
    }
}

#[test]
fn halves_round_once_to_even() {
    // Around every tie between neighbours: the tie, a hair below, a hair above, in f32 and in f64.
    for to in [DType::F16, DType::BF16] {
        let value = |bits: u16| {
            if to == DType::F16 { f16::from_bits(bits).to_f64_const() } else { bf16::from_bits(bits).to_f64_const() }
        };
        let max = if to == DType::F16 { 0x7bff } else { 0x7f7f };
        let ties: Vec<f64> = (0..max).step_by(7).map(|b| (value(b) + value(b + 1)) / 2.0).collect();
        let even: Vec<u16> = (0..max).step_by(7).map(|b| b + (b & 1)).collect();
        let below: Vec<u16> = (0..max).step_by(7).collect();
        let above: Vec<u16> = (0..max).step_by(7).map(|b| b + 1).collect();
        let check = |values: Values, want: &[u16]| {
            for isa in isas() {
                let got = run(cast(values.dtype, to), isa, &[&values], to);
                for (i, &want) in want.iter().enumerate() {
                    assert_eq!(got.bits(i), u64::from(want), "{} to {to} ({isa:?})", values.show(i));
                }
            }
        };
        check(Values::of_floats(DType::F64, ties.iter().copied()), &even);
        check(Values::of_floats(DType::F64, ties.iter().map(|x| x.next_down())), &below);
        check(Values::of_floats(DType::F64, ties.iter().map(|x| x.next_up())), &above);
        let narrow: Vec<f32> = ties.iter().map(|&x| x as f32).collect();
        check(Values::of_floats(DType::F32, narrow.iter().map(|&x| x.into())), &even);
        check(Values::of_floats(DType::F32, narrow.iter().map(|x| x.next_down().into())), &below);
        check(Values::of_floats(DType::F32, narrow.iter().map(|x| x.next_up().into())), &above);
    }
}

#[test]
fn large_integers_round_once_to_bf16() {
    // 2^62 + 2^54 is halfway between neighbours; one more is above it, though not in f64.
    let tie = (1i128 << 62) + (1 << 54);
    for (dtype, x, want) in [
        (DType::I64, tie, 1i128 << 62),
        (DType::I64, tie + 1, (1 << 62) + (1 << 55)),
        (DType::I64, -tie - 1, -(1 << 62) - (1 << 55)),
        (DType::U64, tie + 1, (1 << 62) + (1 << 55)),
        (DType::U32, (1 << 31) + (1 << 23) + 1, (1 << 31) + (1 << 24)),
        (DType::I32, (1 << 30) + (1 << 22), 1 << 30),
    ] {
        for isa in isas() {
            let got = run(cast(dtype, DType::BF16), isa, &[&Values::of_ints(dtype, [x])], DType::BF16);
            assert_eq!(got.float(0), want as f64, "{x}");
        }
    }
}
