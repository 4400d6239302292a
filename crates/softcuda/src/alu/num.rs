//! Rounding that Rust's own operators do not do: directed modes, 16-bit floats, approximations.

/// Rounding modes of results.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Round {
    Nearest,
    Zero,
    Down,
    Up,
}

/// `a + b` rounded to odd: what f64 cannot hold stays visible in the last bit, so that a second rounding is right.
pub(crate) fn sum_odd(a: f64, b: f64) -> f64 {
    let s = a + b;
    if !s.is_finite() {
        return s;
    }
    let v = s - a;
    let err = (a - (s - v)) + (b - v);
    odd(s, err)
}

/// A rounded value and the sign of what was lost, to the odd neighbour.
fn odd(s: f64, err: f64) -> f64 {
    if err == 0.0 || err.is_nan() || s.to_bits() & 1 == 1 {
        return s;
    }
    // The exact value lies on err's side of s; of the two neighbours around it the odd one is taken.
    if err > 0.0 { s.next_up() } else { s.next_down() }
}

/// `a / b` of f32, rounded to odd.
pub(crate) fn div_odd(a: f32, b: f32) -> f64 {
    let (a, b) = (a as f64, b as f64);
    let q = a / b;
    if !q.is_finite() || q == 0.0 {
        return q;
    }
    let rest = (-q).mul_add(b, a);
    odd(q, if b < 0.0 { -rest } else { rest })
}

/// The root of an f32, rounded to odd.
pub(crate) fn sqrt_odd(a: f32) -> f64 {
    let a = a as f64;
    let r = a.sqrt();
    if !r.is_finite() || r == 0.0 { r } else { odd(r, (-r).mul_add(r, a)) }
}

/// f64 to f32.
pub(crate) fn narrow(x: f64, round: Round) -> f32 {
    let r = x as f32;
    if round == Round::Nearest || x.is_nan() || x.is_infinite() {
        return r;
    }
    let (down, up) = match (r as f64).partial_cmp(&x) {
        Some(std::cmp::Ordering::Greater) => (r.next_down(), r),
        Some(std::cmp::Ordering::Less) => (r, r.next_up()),
        _ => return r,
    };
    match round {
        Round::Down => down,
        Round::Up => up,
        _ if x > 0.0 => down,
        _ => up,
    }
}

/// The sum of f32's in a directed mode: the sign of an exact zero depends on the mode.
pub(crate) fn sum_f32(a: f64, b: f64, round: Round) -> f32 {
    let s = sum_odd(a, b);
    if s == 0.0 && round == Round::Down && !(a == 0.0 && b == 0.0 && a.is_sign_positive() && b.is_sign_positive()) {
        return -0.0;
    }
    narrow(s, round)
}

/// `a + b` of f64 in a directed mode (exact unless the error term underflows).
pub(crate) fn sum_f64(a: f64, b: f64, round: Round) -> f64 {
    let s = a + b;
    let v = s - a;
    direct(s, (a - (s - v)) + (b - v), round)
}

/// `a * b` of f64 in a directed mode (exact unless the error term underflows).
pub(crate) fn product_f64(a: f64, b: f64, round: Round) -> f64 {
    let p = a * b;
    direct(p, a.mul_add(b, -p), round)
}

/// `a / b` of f64 in a directed mode.
pub(crate) fn quotient_f64(a: f64, b: f64, round: Round) -> f64 {
    let q = a / b;
    let rest = (-q).mul_add(b, a);
    direct(q, if b < 0.0 { -rest } else { rest }, round)
}

/// The root of an f64 in a directed mode.
pub(crate) fn root_f64(a: f64, round: Round) -> f64 {
    let r = a.sqrt();
    direct(r, (-r).mul_add(r, a), round)
}

fn direct(r: f64, err: f64, round: Round) -> f64 {
    if err == 0.0 || err.is_nan() || !r.is_finite() {
        return r;
    }
    match round {
        Round::Nearest => r,
        Round::Down if err < 0.0 => r.next_down(),
        Round::Up if err > 0.0 => r.next_up(),
        Round::Zero if r > 0.0 && err < 0.0 => r.next_down(),
        Round::Zero if r < 0.0 && err > 0.0 => r.next_up(),
        _ => r,
    }
}

/// An integer as f32.
pub(crate) fn int_to_f32(v: i128, round: Round) -> f32 {
    let r = v as f32;
    let back = r as i128;
    let (down, up) = match back.cmp(&v) {
        std::cmp::Ordering::Greater => (r.next_down(), r),
        std::cmp::Ordering::Less => (r, r.next_up()),
        std::cmp::Ordering::Equal => return r,
    };
    choose(v, r, down, up, round)
}

/// An integer as f64.
pub(crate) fn int_to_f64(v: i128, round: Round) -> f64 {
    let r = v as f64;
    let back = r as i128;
    let (down, up) = match back.cmp(&v) {
        std::cmp::Ordering::Greater => (r.next_down(), r),
        std::cmp::Ordering::Less => (r, r.next_up()),
        std::cmp::Ordering::Equal => return r,
    };
    choose(v, r, down, up, round)
}

fn choose<F>(v: i128, near: F, down: F, up: F, round: Round) -> F {
    match round {
        Round::Nearest => near,
        Round::Down => down,
        Round::Up => up,
        Round::Zero => {
            if v > 0 {
                down
            } else {
                up
            }
        }
    }
}

/// An integer as the f32 that is rounded to odd: for types narrower than f32.
pub(crate) fn int_odd(v: i128) -> f32 {
    let r = int_to_f32(v, Round::Zero);
    if r as i128 != v { f32::from_bits(r.to_bits() | 1) } else { r }
}

/// f64 to f32, rounded to odd.
pub(crate) fn narrow_odd(x: f64) -> f32 {
    let r = narrow(x, Round::Zero);
    if r as f64 != x && !x.is_nan() { f32::from_bits(r.to_bits() | 1) } else { r }
}

/// The value of an f16.
#[inline(always)]
pub(crate) fn f16_to_f32(h: u16) -> f32 {
    let (sign, mag) = ((h as u32 & 0x8000) << 16, h as u32 & 0x7fff);
    let r = if mag >= 0x7c00 {
        // A NaN keeps its payload and becomes quiet.
        0x7f80_0000 | (mag & 0x3ff) << 13 | if mag > 0x7c00 { 0x40_0000 } else { 0 }
    } else {
        // The exponent is moved by a product, which is exact for subnormals too.
        (f32::from_bits(mag << 13) * f32::from_bits(0x7780_0000)).to_bits()
    };
    f32::from_bits(r | sign)
}

/// To the nearest f16, ties to even; a NaN becomes 0x7fff, as the hardware's.
#[inline(always)]
pub(crate) fn f32_to_f16(x: f32, round: Round) -> u16 {
    let b = x.to_bits();
    let (sign, mag) = ((b >> 16 & 0x8000) as u16, b & 0x7fff_ffff);
    if mag > 0x7f80_0000 {
        return 0x7fff;
    }
    if mag == 0x7f80_0000 {
        return sign | 0x7c00;
    }
    let exp = (mag >> 23) as i32 - 127;
    // Bits below the last that is kept.
    let shift = if exp < -14 { (13 + (-14 - exp)).min(31) as u32 } else { 13 };
    let full = if mag >> 23 == 0 { mag & 0x7f_ffff } else { mag & 0x7f_ffff | 0x80_0000 };
    let (kept, rest) = (full >> shift, full & ((1 << shift) - 1));
    let half = 1u32 << (shift - 1);
    let up = match round {
        Round::Nearest => rest > half || (rest == half && kept & 1 == 1),
        Round::Zero => false,
        Round::Down => rest != 0 && sign != 0,
        Round::Up => rest != 0 && sign == 0,
    };
    let base = if exp < -14 { kept } else { kept + (((exp + 14) as u32) << 10) };
    let r = base + up as u32;
    if r >= 0x7c00 && !up && round != Round::Nearest {
        return sign | 0x7bff;
    }
    sign | r.min(0x7c00) as u16
}

/// To the nearest bf16, ties to even; a NaN becomes 0x7fff.
#[inline(always)]
pub(crate) fn f32_to_bf16(x: f32, round: Round) -> u16 {
    let b = x.to_bits();
    if x.is_nan() {
        return 0x7fff;
    }
    match round {
        Round::Zero => (b >> 16) as u16,
        _ => ((b + 0x7fff + (b >> 16 & 1)) >> 16) as u16,
    }
}

/// `min` and `max` of PTX: the other operand where one is NaN, and -0 below 0.
#[inline(always)]
pub(crate) fn min_f32(a: f32, b: f32) -> f32 {
    let less = a < b || (a == b && a.is_sign_negative());
    if a.is_nan() && b.is_nan() {
        f32::from_bits(0x7fff_ffff)
    } else if (less && !b.is_nan()) || b.is_nan() {
        a
    } else {
        b
    }
}

#[inline(always)]
pub(crate) fn max_f32(a: f32, b: f32) -> f32 {
    -min_f32_sign(-a, -b)
}

// `min_f32` that keeps the sign of a canonical NaN positive once negated.
#[inline(always)]
fn min_f32_sign(a: f32, b: f32) -> f32 {
    let r = min_f32(a, b);
    if r.is_nan() { f32::from_bits(0xffff_ffff) } else { r }
}

#[inline(always)]
pub(crate) fn min_f64(a: f64, b: f64) -> f64 {
    let less = a < b || (a == b && a.is_sign_negative());
    if a.is_nan() && b.is_nan() {
        f64::from_bits(0x7fff_ffff_ffff_ffff)
    } else if (less && !b.is_nan()) || b.is_nan() {
        a
    } else {
        b
    }
}

#[inline(always)]
pub(crate) fn max_f64(a: f64, b: f64) -> f64 {
    let r = min_f64(-a, -b);
    if r.is_nan() { f64::from_bits(0x7fff_ffff_ffff_ffff) } else { -r }
}

/// An f32 function computed in f64 and rounded once.
#[inline(always)]
pub(crate) fn through(x: f32, f: impl Fn(f64) -> f64) -> f32 {
    f(x as f64) as f32
}

/// `rcp.approx.ftz.f64` and `rsqrt.approx.ftz.f64` give the high 32 bits only.
#[inline(always)]
pub(crate) fn high_half(x: f64) -> f64 {
    f64::from_bits(x.to_bits() & 0xffff_ffff_0000_0000)
}

/// A subnormal to a zero of its sign.
#[inline(always)]
pub(crate) fn flush_f32(x: f32) -> f32 {
    let b = x.to_bits();
    if b & 0x7f80_0000 == 0 { f32::from_bits(b & 0x8000_0000) } else { x }
}
