//! Integer division that cannot fail and that vectorises up to 32 bits.

/// Integers with a truncating division: `x / 0` is 0, `MIN / -1` is `MIN`.
pub(super) trait IntDiv: Sized {
    fn quotient(self, divisor: Self) -> Self;
    /// `x % 0` is 0.
    fn rest(self, divisor: Self) -> Self;
}

/// By way of the float `$F`: a quotient that is not whole is at least `1 / x` of itself away from the next whole number, more than `$F` rounds by.
macro_rules! by_float {
    ($($t:ident by $F:ident),*) => {$(
        impl IntDiv for $t {
            #[inline(always)]
            fn quotient(self, divisor: $t) -> $t {
                let overflows = $t::MIN != 0 && self == $t::MIN && divisor == !0;
                let safe = if divisor == 0 || overflows { 1 } else { divisor };
                // SAFETY: a whole number divided by a whole number that is not 0, and not MIN by -1: finite and in range.
                let quotient = unsafe { (self as $F / safe as $F).to_int_unchecked::<$t>() };
                if divisor == 0 { 0 } else { quotient }
            }

            #[inline(always)]
            fn rest(self, divisor: $t) -> $t {
                let rest = self.wrapping_sub(self.quotient(divisor).wrapping_mul(divisor));
                if divisor == 0 { 0 } else { rest }
            }
        }
    )*};
}

macro_rules! by_instruction {
    ($($t:ident),*) => {$(
        impl IntDiv for $t {
            #[inline(always)]
            fn quotient(self, divisor: $t) -> $t {
                if divisor == 0 { 0 } else { self.wrapping_div(divisor) }
            }

            #[inline(always)]
            fn rest(self, divisor: $t) -> $t {
                if divisor == 0 { 0 } else { self.wrapping_rem(divisor) }
            }
        }
    )*};
}

by_float!(i8 by f32, i16 by f32, i32 by f64, u8 by f32, u16 by f32, u32 by f64);
by_instruction!(i64, u64);
