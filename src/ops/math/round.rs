//! Rounding to integers. Where the loop has no rounding instruction, adding and subtracting 2^23 (2^52) rounds.

use super::parts::{Madd, sel};

macro_rules! rounding {
    ($t:ident, $limit:expr, $nearest:ident, $even:ident, $round:ident, $floor:ident, $ceil:ident, $trunc:ident) => {
        /// The integer nearest to a magnitude, ties to even, by addition alone.
        #[inline(always)]
        fn $nearest(a: $t) -> $t {
            const LIMIT: $t = $limit;
            sel(a < LIMIT, (a + LIMIT) - LIMIT, a)
        }

        /// The nearest integer, ties to even.
        #[inline(always)]
        pub fn $even<M: Madd>(x: $t) -> $t {
            if M::FUSED {
                return x.round_ties_even();
            }
            $nearest(x.abs()).copysign(x)
        }

        /// The nearest integer, ties away from zero.
        #[inline(always)]
        pub fn $round<M: Madd>(x: $t) -> $t {
            let a = x.abs();
            let r = if M::FUSED { a.round_ties_even() } else { $nearest(a) };
            // Only a tie that went down is half away.
            sel(a - r == 0.5, r + 1.0, r).copysign(x)
        }

        /// The largest integer not above `x`.
        #[inline(always)]
        pub fn $floor<M: Madd>(x: $t) -> $t {
            if M::FUSED {
                return x.floor();
            }
            let r = $nearest(x.abs()).copysign(x);
            sel(r > x, r - 1.0, r).copysign(x)
        }

        /// The smallest integer not below `x`.
        #[inline(always)]
        pub fn $ceil<M: Madd>(x: $t) -> $t {
            if M::FUSED {
                return x.ceil();
            }
            let r = $nearest(x.abs()).copysign(x);
            sel(r < x, r + 1.0, r).copysign(x)
        }

        /// The integer part.
        #[inline(always)]
        pub fn $trunc<M: Madd>(x: $t) -> $t {
            if M::FUSED {
                return x.trunc();
            }
            let a = x.abs();
            let r = $nearest(a);
            sel(r > a, r - 1.0, r).copysign(x)
        }
    };
}

rounding!(f32, 8_388_608.0, nearest_f32, round_ties_even_f32, round_f32, floor_f32, ceil_f32, trunc_f32);
rounding!(f64, 4_503_599_627_370_496.0, nearest_f64, round_ties_even_f64, round_f64, floor_f64, ceil_f64, trunc_f64);
