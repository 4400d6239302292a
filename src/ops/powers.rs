//! Chapter: powers and roots.

macro_rules! powers_rows {
    ($emit:ident) => {
        $emit! {
            /// Powers and roots.
            impl Float {
                /// Square roots, rounded as IEEE 754 asks; NaN below zero.
                fn sqrt(a) {
                    f32: a.sqrt(), "sqrtf(a)";
                    f64: a.sqrt(), "sqrt(a)";
                } with {
                    is zero_fixed;
                    oracle float: a.sqrt();
                    range 0.0..1e6;
                    example [1.0f32, 4.0] => [1.0, 2.0];
                }

                /// Cube roots.
                fn cbrt(a) {
                    f32: math::cbrt_f32::<M>(a), "cbrtf(a)";
                    f64: math::cbrt_f64::<M>(a), "cbrt(a)";
                } with {
                    is zero_fixed;
                    oracle float: a.cbrt();
                    range -1e6..1e6;
                    ulp 1.0, 1.0;
                    example [0.0f32, 1.0] => [0.0, 1.0];
                }

                /// Hypotenuses, `sqrt(x * x + y * y)` without overflow.
                fn hypot | try_hypot(a, b) {
                    f32: math::hypot_f32::<M>(a, b), "hypotf(a, b)";
                    f64: math::hypot_f64::<M>(a, b), "hypot(a, b)";
                } with {
                    is zero_fixed;
                    oracle float: a.hypot(b);
                    range -1e6..1e6;
                    ulp 3.0, 2.0;
                    example [3.0f32, 0.0], [0.0, 1.0] => [3.0, 1.0];
                }

                /// Powers with floating-point exponents.
                fn powf | try_powf(a, b) {
                    f32: math::powf_f32::<M>(a, b), "powf(a, b)";
                    f64: math::powf_f64::<M>(a, b), "pow(a, b)";
                } with {
                    numpy "power";
                    oracle float: a.powf(b);
                    range 0.01..100.0, -15.0..15.0;
                    ulp 4.0, 2.0;
                    example [2.0f32, 5.0], [1.0, 0.0] => [2.0, 1.0];
                }
            }
        }
    };
}
pub(crate) use powers_rows;
