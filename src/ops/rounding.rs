//! Chapter: rounding to integers.

macro_rules! rounding_rows {
    ($emit:ident) => {
        $emit! {
            /// Rounding to integers.
            impl Float {
                /// Rounds down.
                fn floor(a) {
                    f32: math::floor_f32::<M>(a), "floorf(a)";
                    f64: math::floor_f64::<M>(a), "floor(a)";
                } with {
                    is cheap, zero_fixed;
                    oracle float: a.floor();
                    example [1.5f32, -1.5] => [1.0, -2.0];
                }

                /// Rounds up.
                fn ceil(a) {
                    f32: math::ceil_f32::<M>(a), "ceilf(a)";
                    f64: math::ceil_f64::<M>(a), "ceil(a)";
                } with {
                    is cheap, zero_fixed;
                    oracle float: a.ceil();
                    example [1.5f32, -1.5] => [2.0, -1.0];
                }

                /// Rounds towards zero.
                fn trunc(a) {
                    f32: math::trunc_f32::<M>(a), "truncf(a)";
                    f64: math::trunc_f64::<M>(a), "trunc(a)";
                } with {
                    is cheap, zero_fixed;
                    oracle float: a.trunc();
                    example [1.5f32, -1.5] => [1.0, -1.0];
                }

                /// Rust's `round`: to the nearest, ties away from zero. NumPy's is [`round_ties_even`](Self::round_ties_even).
                fn round(a) {
                    f32: math::round_f32::<M>(a), "roundf(a)";
                    f64: math::round_f64::<M>(a), "round(a)";
                } with {
                    is cheap, zero_fixed;
                    oracle float: a.round();
                    example [0.5f32, 1.5, -2.5] => [1.0, 2.0, -3.0];
                }

                /// NumPy's `round` and `rint`: to the nearest, ties to even.
                fn round_ties_even(a) {
                    f32: math::round_ties_even_f32::<M>(a), "rintf(a)";
                    f64: math::round_ties_even_f64::<M>(a), "rint(a)";
                } with {
                    numpy "rint";
                    is cheap, zero_fixed;
                    oracle float: a.round_ties_even();
                    example [0.5f32, 1.5, -2.5] => [0.0, 2.0, -2.0];
                }
            }
        }
    };
}
pub(crate) use rounding_rows;
