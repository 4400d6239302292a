//! Conversions: among integers, among floats, between them, with every rounding and saturation.

use super::num::{self, Round};
use super::{Alu, alu};
use crate::types::Ty;

/// A conversion's modifiers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    pub round: Round,
    /// `.rni` and so on: to an integral value.
    pub integral: bool,
    pub sat: bool,
}

macro_rules! by_int {
    ($ty:expr, |$t:ident| $e:expr) => {
        match $ty {
            Ty::U8 | Ty::B8 => {
                type $t = u8;
                $e
            }
            Ty::S8 => {
                type $t = i8;
                $e
            }
            Ty::U16 | Ty::B16 => {
                type $t = u16;
                $e
            }
            Ty::S16 => {
                type $t = i16;
                $e
            }
            Ty::U32 | Ty::B32 => {
                type $t = u32;
                $e
            }
            Ty::S32 => {
                type $t = i32;
                $e
            }
            Ty::U64 | Ty::B64 => {
                type $t = u64;
                $e
            }
            Ty::S64 => {
                type $t = i64;
                $e
            }
            _ => return None,
        }
    };
}

/// By rounding mode: the constant `$m`.
macro_rules! by_round {
    ($round:expr, |$m:ident| $e:expr) => {
        match $round {
            Round::Nearest => {
                const $m: Round = Round::Nearest;
                $e
            }
            Round::Zero => {
                const $m: Round = Round::Zero;
                $e
            }
            Round::Down => {
                const $m: Round = Round::Down;
                $e
            }
            Round::Up => {
                const $m: Round = Round::Up;
                $e
            }
        }
    };
}

#[inline(always)]
fn integral_f32(x: f32, round: Round) -> f32 {
    match round {
        Round::Nearest => x.round_ties_even(),
        Round::Zero => x.trunc(),
        Round::Down => x.floor(),
        Round::Up => x.ceil(),
    }
}

#[inline(always)]
fn integral_f64(x: f64, round: Round) -> f64 {
    match round {
        Round::Nearest => x.round_ties_even(),
        Round::Zero => x.trunc(),
        Round::Down => x.floor(),
        Round::Up => x.ceil(),
    }
}

/// `cvt` from rows of the source's own width to rows of the destination's own. Saturation of float results is done apart.
pub(crate) fn convert(to: Ty, from: Ty, how: How) -> Option<Alu> {
    let r = how.round;
    Some(match (to, from) {
        (_, _) if !to.float() && !from.float() && how.sat => {
            by_int!(to, |D| by_int!(from, |S| alu!(|a: S| -> D {
                (a as i128).clamp(D::MIN as i128, D::MAX as i128) as D
            })))
        }
        (_, _) if !to.float() && !from.float() => by_int!(to, |D| by_int!(from, |S| alu!(|a: S| -> D { a as D }))),
        // Rust's `as` saturates and turns NaN to 0, as PTX's conversions do.
        (_, Ty::F32) if !to.float() => {
            by_int!(to, |D| by_round!(r, |M| alu!(|a: f32| -> D { integral_f32(a, M) as D })))
        }
        (_, Ty::F64) if !to.float() => {
            by_int!(to, |D| by_round!(r, |M| alu!(|a: f64| -> D { integral_f64(a, M) as D })))
        }
        (_, Ty::F16) if !to.float() => {
            by_int!(to, |D| by_round!(r, |M| alu!(|a: u16| -> D { integral_f32(num::f16_to_f32(a), M) as D })))
        }
        (Ty::F32, _) if !from.float() && r == Round::Nearest => by_int!(from, |S| alu!(|a: S| -> f32 { a as f32 })),
        (Ty::F64, _) if !from.float() && r == Round::Nearest => by_int!(from, |S| alu!(|a: S| -> f64 { a as f64 })),
        (Ty::F32, _) if !from.float() => {
            by_int!(from, |S| by_round!(r, |M| alu!(|a: S| -> f32 { num::int_to_f32(a as i128, M) })))
        }
        (Ty::F64, _) if !from.float() => {
            by_int!(from, |S| by_round!(r, |M| alu!(|a: S| -> f64 { num::int_to_f64(a as i128, M) })))
        }
        (Ty::F16, _) if !from.float() => {
            by_int!(from, |S| by_round!(r, |M| alu!(|a: S| -> u16 { num::f32_to_f16(num::int_odd(a as i128), M) })))
        }
        (Ty::BF16, _) if !from.float() => {
            by_int!(from, |S| by_round!(r, |M| alu!(|a: S| -> u16 { num::f32_to_bf16(num::int_odd(a as i128), M) })))
        }
        (Ty::F32, Ty::F32) if how.integral => by_round!(r, |M| alu!(|a: f32| -> f32 { integral_f32(a, M) })),
        (Ty::F32, Ty::F32) => alu!(|a: f32| -> f32 { a }),
        (Ty::F64, Ty::F64) if how.integral => by_round!(r, |M| alu!(|a: f64| -> f64 { integral_f64(a, M) })),
        (Ty::F64, Ty::F64) => alu!(|a: f64| -> f64 { a }),
        (Ty::F32, Ty::F64) => by_round!(r, |M| alu!(|a: f64| -> f32 { num::narrow(a, M) })),
        (Ty::F64, Ty::F32) => alu!(|a: f32| -> f64 { a as f64 }),
        (Ty::F32, Ty::F16) => alu!(|a: u16| -> f32 { num::f16_to_f32(a) }),
        (Ty::F64, Ty::F16) => alu!(|a: u16| -> f64 { num::f16_to_f32(a) as f64 }),
        (Ty::F32, Ty::BF16) => alu!(|a: u16| -> f32 { f32::from_bits((a as u32) << 16) }),
        (Ty::F16, Ty::F32) => by_round!(r, |M| alu!(|a: f32| -> u16 { num::f32_to_f16(a, M) })),
        (Ty::F16, Ty::F64) => by_round!(r, |M| alu!(|a: f64| -> u16 { num::f32_to_f16(num::narrow_odd(a), M) })),
        (Ty::F16, Ty::F16) if how.integral => {
            by_round!(r, |M| alu!(|a: u16| -> u16 {
                num::f32_to_f16(integral_f32(num::f16_to_f32(a), M), Round::Nearest)
            }))
        }
        (Ty::BF16, Ty::F32) => by_round!(r, |M| alu!(|a: f32| -> u16 { num::f32_to_bf16(a, M) })),
        (Ty::BF16, Ty::F64) => by_round!(r, |M| alu!(|a: f64| -> u16 { num::f32_to_bf16(num::narrow_odd(a), M) })),
        _ => return None,
    })
}

/// `cvt.rn.f16x2.f32 d, a, b`: `a` goes to the upper half.
pub(crate) fn pack16(to: Ty, round: Round) -> Option<Alu> {
    Some(match to {
        Ty::F16x2 => by_round!(round, |M| alu!(|a: f32, b: f32| -> u32 {
            (num::f32_to_f16(a, M) as u32) << 16 | num::f32_to_f16(b, M) as u32
        })),
        Ty::BF16x2 => by_round!(round, |M| alu!(|a: f32, b: f32| -> u32 {
            (num::f32_to_bf16(a, M) as u32) << 16 | num::f32_to_bf16(b, M) as u32
        })),
        _ => return None,
    })
}

/// A row of 64-bit values to a row of their lower words.
pub(crate) fn narrow_row() -> Alu {
    alu!(|a: u64| -> u32 { a as u32 })
}

/// A row of words to a row of 64-bit values, by the sign of the type's last bit if it is signed.
pub(crate) fn extend(ty: Ty) -> Alu {
    match ty {
        Ty::S8 => alu!(|a: i8| -> i64 { a as i64 }),
        Ty::S16 => alu!(|a: i16| -> i64 { a as i64 }),
        Ty::S32 => alu!(|a: i32| -> i64 { a as i64 }),
        _ => alu!(|a: u32| -> u64 { a as u64 }),
    }
}
