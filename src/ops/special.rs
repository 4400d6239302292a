//! Chapter: special functions.

macro_rules! special_rows {
    ($emit:ident) => {
        $emit! {
            /// Special functions.
            impl Float {
                /// The error function (SciPy's `erf`).
                fn erf(a) {
                    f32: math::erf_f32::<M>(a), "erff(a)";
                    f64: math::erf_f64::<M>(a), "erf(a)";
                } with {
                    is zero_fixed;
                    oracle float: oracle::erf(a);
                    range -6.0..6.0;
                    ulp 2.0, 2.0;
                    example [0.0f32, 10.0] => [0.0, 1.0];
                }

                /// `1 - erf(x)`, accurate where that is small (SciPy's `erfc`).
                fn erfc(a) {
                    f32: math::erfc_f32::<M>(a), "erfcf(a)";
                    f64: math::erfc_f64::<M>(a), "erfc(a)";
                } with {
                    oracle float: oracle::erfc(a);
                    range -6.0..26.0;
                    ulp 4.0, 5.0;
                    example [0.0f32, 20.0] => [1.0, 0.0];
                }
            }
        }
    };
}
pub(crate) use special_rows;
