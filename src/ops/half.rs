//! Conversions of the 16-bit floats, without branches so that loops of them vectorise. Bits go in and out as u16.

/// Exact.
#[inline(always)]
pub(super) fn f16_to_f32(h: u16) -> f32 {
    let sign = u32::from(h & 0x8000) << 16;
    let rest = u32::from(h & 0x7fff);
    let shifted = rest << 13;
    let bits = if rest > 0x7c00 {
        shifted | 0x7fc0_0000 // NaN, made quiet
    } else if rest == 0x7c00 {
        0x7f80_0000
    } else if rest < 0x0400 {
        (rest as i32 as f32 * 2f32.powi(-24)).to_bits() // subnormal
    } else {
        shifted + ((127 - 15) << 23)
    };
    f32::from_bits(bits | sign)
}

/// To the nearest, ties to even.
#[inline(always)]
pub(super) fn f32_to_f16(x: f32) -> u16 {
    let bits = x.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    let rest = bits & 0x7fff_ffff;
    let half = if rest > 0x7f80_0000 {
        0x7e00 | (rest >> 13) & 0x03ff // NaN, made quiet
    } else if rest >= 0x4780_0000 {
        0x7c00 // 65536 and above
    } else if rest < 0x3880_0000 {
        // Subnormal: adding 0.5 leaves the result in the low bits of the sum, rounded.
        (f32::from_bits(rest) + 0.5).to_bits() - 0.5f32.to_bits()
    } else {
        (rest - ((127 - 15) << 23) + 0x0fff + (rest >> 13 & 1)) >> 13
    };
    sign | half as u16
}

/// Exact.
#[inline(always)]
pub(super) fn bf16_to_f32(b: u16) -> f32 {
    f32::from_bits(u32::from(b) << 16)
}

/// To the nearest, ties to even.
#[inline(always)]
pub(super) fn f32_to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    let kept = if x.is_nan() { bits | 0x0040_0000 } else { rounded };
    (kept >> 16) as u16
}

/// To f32 by rounding to odd: what is rounded once more, to 16 bits, comes out as if rounded once.
#[inline(always)]
pub(super) fn odd_f32(x: f64) -> f32 {
    let near = x as f32;
    let down = near.to_bits() - u32::from(f64::from(near).abs() > x.abs());
    let inexact = u32::from(f64::from(near) != x);
    f32::from_bits(down | inexact)
}

/// To f64 by rounding to odd.
#[inline(always)]
pub(super) fn odd_f64(x: u64) -> f64 {
    let folded = x & !0x7ff | u64::from(x & 0x7ff != 0) << 11;
    (if x < 1 << 53 { x } else { folded }) as f64
}
