//! Chapter: exponentials and logarithms.

macro_rules! explog_rows {
    ($emit:ident) => {
        $emit! {
            /// Exponentials and logarithms.
            impl Float {
                /// Powers of e.
                fn exp(a) {
                    f32: math::exp_f32::<M>(a), "expf(a)";
                    f64: math::exp_f64::<M>(a), "exp(a)";
                } with {
                    oracle float: a.exp();
                    ulp 2.0, 1.25;
                    example [0.0f32, f32::NEG_INFINITY] => [1.0, 0.0];
                }

                /// Powers of 2.
                fn exp2(a) {
                    f32: math::exp2_f32::<M>(a), "exp2f(a)";
                    f64: math::exp2_f64::<M>(a), "exp2(a)";
                } with {
                    oracle float: a.exp2();
                    ulp 2.0, 1.5;
                    example [0.0f32, 3.0] => [1.0, 8.0];
                }

                /// `exp(x) - 1`, accurate near zero.
                fn exp_m1(a) {
                    f32: math::exp_m1_f32::<M>(a), "expm1f(a)";
                    f64: math::exp_m1_f64::<M>(a), "expm1(a)";
                } with {
                    numpy "expm1";
                    is zero_fixed;
                    oracle float: a.exp_m1();
                    ulp 1.0, 1.5;
                    example [0.0f32, 1e-10] => [0.0, 1e-10];
                }

                /// Natural logarithms.
                fn ln(a) {
                    f32: math::ln_f32::<M>(a), "logf(a)";
                    f64: math::ln_f64::<M>(a), "log(a)";
                } with {
                    numpy "log";
                    oracle float: a.ln();
                    range 0.0..1000.0;
                    ulp 1.0, 1.0;
                    example [1.0f32, 0.0] => [0.0, f32::NEG_INFINITY];
                }

                /// Logarithms to base 2.
                fn log2(a) {
                    f32: math::log2_f32::<M>(a), "log2f(a)";
                    f64: math::log2_f64::<M>(a), "log2(a)";
                } with {
                    oracle float: a.log2();
                    range 0.0..1000.0;
                    ulp 1.0, 1.0;
                    example [1.0f32, 8.0] => [0.0, 3.0];
                }

                /// Logarithms to base 10.
                fn log10(a) {
                    f32: math::log10_f32::<M>(a), "log10f(a)";
                    f64: math::log10_f64::<M>(a), "log10(a)";
                } with {
                    oracle float: a.log10();
                    range 0.0..1000.0;
                    ulp 2.0, 1.0;
                    example [1.0f32, 0.0] => [0.0, f32::NEG_INFINITY];
                }

                /// `ln(1 + x)`, accurate near zero.
                fn ln_1p(a) {
                    f32: math::ln_1p_f32::<M>(a), "log1pf(a)";
                    f64: math::ln_1p_f64::<M>(a), "log1p(a)";
                } with {
                    numpy "log1p";
                    is zero_fixed;
                    oracle float: a.ln_1p();
                    range -1.0..10.0;
                    ulp 1.0, 1.0;
                    example [0.0f32, 1e-10] => [0.0, 1e-10];
                }
            }
        }
    };
}
pub(crate) use explog_rows;
