//! Integer and bit arithmetic, comparisons, predicates, selection.

use super::float::compare;
use super::{Alu, Lane, Mask, alu, ballot, both, set_bits};
use crate::types::Ty;

macro_rules! typed {
    ($ty:expr, |$t:ident| $e:expr) => {
        match $ty {
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

macro_rules! wide {
    ($ty:expr, |$t:ident, $w:ident| $e:expr) => {
        match $ty {
            Ty::U16 => {
                type $t = u16;
                type $w = u32;
                $e
            }
            Ty::S16 => {
                type $t = i16;
                type $w = i32;
                $e
            }
            Ty::U32 => {
                type $t = u32;
                type $w = u64;
                $e
            }
            Ty::S32 => {
                type $t = i32;
                type $w = i64;
                $e
            }
            _ => return None,
        }
    };
}

/// The function of an integer instruction.
pub(crate) fn int_op(op: &str, ty: Ty) -> Option<Alu> {
    Some(match op {
        "add" => typed!(ty, |T| alu!(|a: T, b: T| -> T { a.wrapping_add(b) })),
        "sub" => typed!(ty, |T| alu!(|a: T, b: T| -> T { a.wrapping_sub(b) })),
        "add.sat" if ty == Ty::S32 => alu!(|a: i32, b: i32| -> i32 { a.saturating_add(b) }),
        "sub.sat" if ty == Ty::S32 => alu!(|a: i32, b: i32| -> i32 { a.saturating_sub(b) }),
        "mul.lo" => typed!(ty, |T| alu!(|a: T, b: T| -> T { a.wrapping_mul(b) })),
        "mad.lo" => typed!(ty, |T| alu!(|a: T, b: T, c: T| -> T { a.wrapping_mul(b).wrapping_add(c) })),
        "mul.wide" => wide!(ty, |T, W| alu!(|a: T, b: T| -> W { (a as W).wrapping_mul(b as W) })),
        "mad.wide" => wide!(ty, |T, W| alu!(|a: T, b: T, c: W| -> W { (a as W).wrapping_mul(b as W).wrapping_add(c) })),
        "mul.hi" => match ty {
            Ty::U64 => alu!(|a: u64, b: u64| -> u64 { ((a as u128 * b as u128) >> 64) as u64 }),
            Ty::S64 => alu!(|a: i64, b: i64| -> i64 { ((a as i128 * b as i128) >> 64) as i64 }),
            _ => wide!(ty, |T, W| alu!(|a: T, b: T| -> T { ((a as W * b as W) >> T::BITS) as T })),
        },
        "mad.hi" => match ty {
            Ty::U64 => {
                alu!(|a: u64, b: u64, c: u64| -> u64 { (((a as u128 * b as u128) >> 64) as u64).wrapping_add(c) })
            }
            Ty::S64 => {
                alu!(|a: i64, b: i64, c: i64| -> i64 { (((a as i128 * b as i128) >> 64) as i64).wrapping_add(c) })
            }
            _ => wide!(ty, |T, W| alu!(|a: T, b: T, c: T| -> T {
                (((a as W * b as W) >> T::BITS) as T).wrapping_add(c)
            })),
        },
        "mul24.lo" => match ty {
            Ty::U32 => alu!(|a: u32, b: u32| -> u32 { (a & 0xff_ffff).wrapping_mul(b & 0xff_ffff) }),
            Ty::S32 => alu!(|a: i32, b: i32| -> i32 { (a << 8 >> 8).wrapping_mul(b << 8 >> 8) }),
            _ => return None,
        },
        // x / 0 is unspecified: all ones, as the hardware's.
        "div" => typed!(ty, |T| alu!(|a: T, b: T| -> T { if b == 0 { !0 } else { a.wrapping_div(b) } })),
        "rem" => typed!(ty, |T| alu!(|a: T, b: T| -> T { if b == 0 { a } else { a.wrapping_rem(b) } })),
        "min" => typed!(ty, |T| alu!(|a: T, b: T| -> T { a.min(b) })),
        "max" => typed!(ty, |T| alu!(|a: T, b: T| -> T { a.max(b) })),
        "neg" => typed!(ty, |T| alu!(|a: T| -> T { (0 as T).wrapping_sub(a) })),
        "abs" => match ty {
            Ty::S16 => alu!(|a: i16| -> i16 { a.wrapping_abs() }),
            Ty::S32 => alu!(|a: i32| -> i32 { a.wrapping_abs() }),
            Ty::S64 => alu!(|a: i64| -> i64 { a.wrapping_abs() }),
            _ => return None,
        },
        "sad" => match ty {
            Ty::U32 => alu!(|a: u32, b: u32, c: u32| -> u32 { a.abs_diff(b).wrapping_add(c) }),
            Ty::S32 => alu!(|a: i32, b: i32, c: u32| -> u32 { a.abs_diff(b).wrapping_add(c) }),
            _ => return None,
        },
        _ => return None,
    })
}

/// Instructions on untyped bits, shifts, fields, counts, carries. Carries stand in a row of words: `o[4]`.
pub(crate) fn bit_op(op: &str, ty: Ty) -> Option<Alu> {
    let wide = ty.wide();
    macro_rules! both_widths {
        (|$($a:ident),+| $e:expr) => {
            if wide { alu!(|$($a: u64),+| -> u64 { $e }) } else { alu!(|$($a: u32),+| -> u32 { $e }) }
        };
    }
    Some(match op {
        "mov" => both_widths!(|a| a),
        "pack.16" => alu!(|a: u16, b: u16| -> u32 { a as u32 | (b as u32) << 16 }),
        "pack.32" => alu!(|a: u32, b: u32| -> u64 { a as u64 | (b as u64) << 32 }),
        "low.16" => alu!(|a: u32| -> u32 { a & 0xffff }),
        "high.16" => alu!(|a: u32| -> u32 { a >> 16 }),
        "low.32" => alu!(|a: u64| -> u32 { a as u32 }),
        "high.32" => alu!(|a: u64| -> u32 { (a >> 32) as u32 }),
        "and" => both_widths!(|a, b| a & b),
        "or" => both_widths!(|a, b| a | b),
        "xor" => both_widths!(|a, b| a ^ b),
        "not" => both_widths!(|a| !a),
        "cnot" => both_widths!(|a| (a == 0).into()),
        "shl" => match ty.bytes() {
            2 => alu!(|a: u16, b: u32| -> u16 { if b < 16 { a << b } else { 0 } }),
            4 => alu!(|a: u32, b: u32| -> u32 { if b < 32 { a << b } else { 0 } }),
            8 => alu!(|a: u64, b: u32| -> u64 { if b < 64 { a << b } else { 0 } }),
            _ => return None,
        },
        "shr" => match ty {
            Ty::U16 | Ty::B16 => alu!(|a: u16, b: u32| -> u16 { if b < 16 { a >> b } else { 0 } }),
            Ty::U32 | Ty::B32 => alu!(|a: u32, b: u32| -> u32 { if b < 32 { a >> b } else { 0 } }),
            Ty::U64 | Ty::B64 => alu!(|a: u64, b: u32| -> u64 { if b < 64 { a >> b } else { 0 } }),
            Ty::S16 => alu!(|a: i16, b: u32| -> i16 { a >> b.min(15) }),
            Ty::S32 => alu!(|a: i32, b: u32| -> i32 { a >> b.min(31) }),
            Ty::S64 => alu!(|a: i64, b: u32| -> i64 { a >> b.min(63) }),
            _ => return None,
        },
        "shf.l.wrap" => {
            alu!(|a: u32, b: u32, c: u32| -> u32 { (((b as u64) << 32 | a as u64) << (c & 31) >> 32) as u32 })
        }
        "shf.l.clamp" => {
            alu!(|a: u32, b: u32, c: u32| -> u32 { (((b as u64) << 32 | a as u64) << c.min(32) >> 32) as u32 })
        }
        "shf.r.wrap" => alu!(|a: u32, b: u32, c: u32| -> u32 { (((b as u64) << 32 | a as u64) >> (c & 31)) as u32 }),
        "shf.r.clamp" => alu!(|a: u32, b: u32, c: u32| -> u32 { (((b as u64) << 32 | a as u64) >> c.min(32)) as u32 }),
        "popc" if wide => alu!(|a: u64| -> u32 { a.count_ones() }),
        "popc" => alu!(|a: u32| -> u32 { a.count_ones() }),
        "clz" if wide => alu!(|a: u64| -> u32 { a.leading_zeros() }),
        "clz" => alu!(|a: u32| -> u32 { a.leading_zeros() }),
        "brev" => both_widths!(|a| a.reverse_bits()),
        "bfind" | "bfind.shiftamt" => {
            macro_rules! find {
                ($t:ty, |$x:ident| $bits:expr) => {
                    if op == "bfind" {
                        alu!(|$x: $t| -> u32 {
                            {
                                let b = $bits;
                                if b == 0 { !0 } else { b.ilog2() }
                            }
                        })
                    } else {
                        alu!(|$x: $t| -> u32 {
                            {
                                let b = $bits;
                                if b == 0 { !0 } else { b.leading_zeros() }
                            }
                        })
                    }
                };
            }
            match ty {
                Ty::U32 => find!(u32, |x| x),
                Ty::S32 => find!(i32, |x| (x ^ (x >> 31)) as u32),
                Ty::U64 => find!(u64, |x| x),
                Ty::S64 => find!(i64, |x| (x ^ (x >> 63)) as u64),
                _ => return None,
            }
        }
        "bfe" => match ty {
            Ty::U32 => alu!(|a: u32, b: u32, c: u32| -> u32 { field(a as u64, b, c, 32, false) as u32 }),
            Ty::S32 => alu!(|a: i32, b: u32, c: u32| -> u32 { field(a as i64 as u64, b, c, 32, true) as u32 }),
            Ty::U64 => alu!(|a: u64, b: u32, c: u32| -> u64 { field(a, b, c, 64, false) }),
            Ty::S64 => alu!(|a: u64, b: u32, c: u32| -> u64 { field(a, b, c, 64, true) }),
            _ => return None,
        },
        "bfi" if wide => alu!(|a: u64, b: u64, c: u32, d: u32| -> u64 { insert(a, b, c, d) }),
        "bfi" => alu!(|a: u32, b: u32, c: u32, d: u32| -> u32 { insert(a as u64, b as u64, c, d) as u32 }),
        "lop3" => alu!(|a: u32, b: u32, c: u32, t: u32| -> u32 { lop3(a, b, c, t) }),
        "prmt" => alu!(|a: u32, b: u32, c: u32| -> u32 { prmt(a, b, c) }),
        "prmt.f4e" => {
            alu!(|a: u32, b: u32, c: u32| -> u32 { prmt(a, b, [0x3210, 0x4321, 0x5432, 0x6543][c as usize & 3]) })
        }
        "prmt.b4e" => {
            alu!(|a: u32, b: u32, c: u32| -> u32 { prmt(a, b, [0x5670, 0x6701, 0x7012, 0x0123][c as usize & 3]) })
        }
        "prmt.rc8" => alu!(|a: u32, b: u32, c: u32| -> u32 { prmt(a, b, (c & 3) * 0x1111) }),
        "prmt.rc16" => alu!(|a: u32, b: u32, c: u32| -> u32 { prmt(a, b, [0x1010, 0x3232][c as usize & 1]) }),
        "dp4a.u32.u32" => alu!(|a: u32, b: u32, c: u32| -> u32 {
            (0..4).fold(c, |s, k| s.wrapping_add((a >> (8 * k) & 255) * (b >> (8 * k) & 255)))
        }),
        "dp4a.s32.s32" => alu!(|a: u32, b: u32, c: u32| -> u32 {
            (0..4).fold(c, |s, k| s.wrapping_add(((a >> (8 * k)) as i8 as i32 * (b >> (8 * k)) as i8 as i32) as u32))
        }),
        "add.cc" | "addc" | "addc.cc" | "sub.cc" | "subc" | "subc.cc" | "mad.lo.cc" | "madc.lo" | "madc.lo.cc"
        | "mad.hi.cc" | "madc.hi" | "madc.hi.cc" => return carry(op, ty),
        _ => return None,
    })
}

#[inline(always)]
fn field(a: u64, pos: u32, len: u32, width: u32, signed: bool) -> u64 {
    let (pos, len) = (pos & 255, len & 255);
    if len == 0 {
        return 0;
    }
    let sign = signed && a >> (pos + len - 1).min(width - 1) & 1 == 1;
    let value = if pos < width { (a & (!0 >> (64 - width))) >> pos } else { 0 };
    let have = width.saturating_sub(pos).min(len);
    let low = if have >= 64 { !0 } else { (1u64 << have) - 1 };
    if sign { value & low | !low } else { value & low }
}

#[inline(always)]
fn insert(a: u64, b: u64, pos: u32, len: u32) -> u64 {
    let (pos, len) = (pos & 255, len & 255);
    if pos >= 64 || len == 0 {
        return b;
    }
    let low = if len >= 64 { !0 } else { (1u64 << len) - 1 };
    b & !(low << pos) | (a & low) << pos
}

#[inline(always)]
fn lop3(a: u32, b: u32, c: u32, t: u32) -> u32 {
    (0..8).fold(0, |r, k| {
        let pick = |x: u32, bit: u32| if k & bit != 0 { x } else { !x };
        if t >> k & 1 == 1 { r | pick(a, 4) & pick(b, 2) & pick(c, 1) } else { r }
    })
}

#[inline(always)]
fn prmt(a: u32, b: u32, c: u32) -> u32 {
    let all = (b as u64) << 32 | a as u64;
    (0..4).fold(0, |r, k| {
        let s = c >> (4 * k);
        let byte = (all >> (8 * (s & 7))) as u8;
        let byte = if s & 8 != 0 { ((byte as i8) >> 7) as u8 } else { byte };
        r | (byte as u32) << (8 * k)
    })
}

/// Instructions with carries; the carries' row is `o[4]`.
fn carry(op: &str, ty: Ty) -> Option<Alu> {
    macro_rules! carries {
        ($t:ty, $w:ty, |$a:ident, $b:ident, $c:ident, $cc:ident| $e:expr) => {{
            // The result has one bit more than the type: the carry.
            #[inline(always)]
            unsafe fn body(file: *mut u32, o: &[u32; 5], m: &Mask) {
                for i in (0..32).filter(|i| m.bits >> i & 1 == 1) {
                    // SAFETY: the decoder made the operands' offsets.
                    unsafe {
                        let $a = <$t as Lane>::get(file.add(o[1] as usize), i) as $w;
                        let $b = <$t as Lane>::get(file.add(o[2] as usize), i) as $w;
                        let $c = <$t as Lane>::get(file.add(o[3] as usize), i) as $w;
                        let $cc = u32::get(file.add(o[4] as usize), i) as $w;
                        let _ = ($b, $c, $cc);
                        let r: $w = $e;
                        <$t as Lane>::put(file.add(o[0] as usize), i, r as $t);
                        u32::put(file.add(o[4] as usize), i, (r >> <$t>::BITS) as u32 & 1);
                    }
                }
            }
            both!(body)
        }};
    }
    macro_rules! widths {
        (|$a:ident, $b:ident, $c:ident, $cc:ident, $bits:ident| $e:expr) => {
            match ty {
                Ty::U64 | Ty::S64 | Ty::B64 => carries!(u64, u128, |$a, $b, $c, $cc| {
                    let $bits = 64;
                    let _ = $bits;
                    $e
                }),
                Ty::U32 | Ty::S32 | Ty::B32 => carries!(u32, u64, |$a, $b, $c, $cc| {
                    let $bits = 32;
                    let _ = $bits;
                    $e
                }),
                _ => return None,
            }
        };
    }
    Some(match op.trim_end_matches(".cc") {
        "add" => widths!(|a, b, c, cc, n| a + b),
        "addc" => widths!(|a, b, c, cc, n| a + b + cc),
        "sub" => widths!(|a, b, c, cc, n| a.wrapping_sub(b)),
        "subc" => widths!(|a, b, c, cc, n| a.wrapping_sub(b).wrapping_sub(cc)),
        "mad.lo" => widths!(|a, b, c, cc, n| ((a * b) & ((1 << n) - 1)) + c),
        "madc.lo" => widths!(|a, b, c, cc, n| ((a * b) & ((1 << n) - 1)) + c + cc),
        "mad.hi" if !ty.signed() => widths!(|a, b, c, cc, n| ((a * b) >> n) + c),
        "madc.hi" if !ty.signed() => widths!(|a, b, c, cc, n| ((a * b) >> n) + c + cc),
        _ => return None,
    })
}

/// `setp` of integers.
pub(crate) fn int_compare(cmp: &str, ty: Ty) -> Option<Alu> {
    macro_rules! compares {
        ($t:ty) => {
            match cmp {
                "eq" => compare!(|a, b: $t| a == b),
                "ne" => compare!(|a, b: $t| a != b),
                "lt" | "lo" => compare!(|a, b: $t| a < b),
                "le" | "ls" => compare!(|a, b: $t| a <= b),
                "gt" | "hi" => compare!(|a, b: $t| a > b),
                "ge" | "hs" => compare!(|a, b: $t| a >= b),
                _ => return None,
            }
        };
    }
    Some(match ty {
        Ty::U16 | Ty::B16 => compares!(u16),
        Ty::S16 => compares!(i16),
        Ty::U32 | Ty::B32 => compares!(u32),
        Ty::S32 => compares!(i32),
        Ty::U64 | Ty::B64 => compares!(u64),
        Ty::S64 => compares!(i64),
        _ => return None,
    })
}

/// Logic on predicates.
pub(crate) fn pred_op(op: &str) -> Option<Alu> {
    macro_rules! logic {
        (|$a:ident, $b:ident| $e:expr) => {{
            unsafe fn body(file: *mut u32, o: &[u32; 5], m: &Mask) {
                // SAFETY: the decoder made the operands' offsets.
                unsafe {
                    let ($a, $b) = (*file.add(o[1] as usize), *file.add(o[2] as usize));
                    let _ = $b;
                    set_bits(file, o[0], m, $e);
                }
            }
            body as Alu
        }};
    }
    Some(match op {
        "mov" => logic!(|a, b| a),
        "not" => logic!(|a, b| !a),
        "and" => logic!(|a, b| a & b),
        "or" => logic!(|a, b| a | b),
        "xor" => logic!(|a, b| a ^ b),
        _ => return None,
    })
}

/// `selp` with the predicate in `o[3]`, or `set`'s result: all ones or zeros as words.
pub(crate) fn select(wide: bool) -> Alu {
    macro_rules! pick {
        ($t:ty) => {{
            #[inline(always)]
            unsafe fn body(file: *mut u32, o: &[u32; 5], m: &Mask) {
                // SAFETY: the decoder made the operands' offsets.
                unsafe {
                    let p = *file.add(o[3] as usize);
                    crate::alu::lanes::<$t>(file, o[0], m, |i| {
                        let a = <$t as Lane>::get(file.add(o[1] as usize), i);
                        let b = <$t as Lane>::get(file.add(o[2] as usize), i);
                        if p >> i & 1 == 1 { a } else { b }
                    })
                }
            }
            both!(body)
        }};
    }
    if wide { pick!(u64) } else { pick!(u32) }
}
