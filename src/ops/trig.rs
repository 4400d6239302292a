//! Chapter: trigonometric and hyperbolic functions.

macro_rules! trig_rows {
    ($emit:ident) => {
        $emit! {
            /// Trigonometric functions. Angles of any size are reduced exactly.
            impl Float {
                /// Sines of angles in radians.
                fn sin(a) {
                    f32: math::sin_f32::<M>(a), "sinf(a)", when math::trig_slow_f32(a) => math::sin_slow_f32(a);
                    f64: math::sin_f64::<M>(a), "sin(a)", when math::trig_slow_f64(a) => math::sin_slow_f64(a);
                } with {
                    is zero_fixed;
                    oracle float: a.sin();
                    ulp 2.0, 2.0;
                    example [0.0f32] => [0.0];
                }

                /// Cosines of angles in radians.
                fn cos(a) {
                    f32: math::cos_f32::<M>(a), "cosf(a)", when math::trig_slow_f32(a) => math::cos_slow_f32(a);
                    f64: math::cos_f64::<M>(a), "cos(a)", when math::trig_slow_f64(a) => math::cos_slow_f64(a);
                } with {
                    oracle float: a.cos();
                    ulp 2.0, 2.0;
                    example [0.0f32] => [1.0];
                }

                /// Tangents of angles in radians.
                fn tan(a) {
                    f32: math::tan_f32::<M>(a), "tanf(a)", when math::trig_slow_f32(a) => math::tan_slow_f32(a);
                    f64: math::tan_f64::<M>(a), "tan(a)", when math::trig_slow_f64(a) => math::tan_slow_f64(a);
                } with {
                    is zero_fixed;
                    oracle float: a.tan();
                    ulp 4.0, 3.0;
                    example [0.0f32] => [0.0];
                }

                /// Arc sines, in radians; NaN outside -1..=1.
                fn asin(a) {
                    f32: math::asin_f32::<M>(a), "asinf(a)";
                    f64: math::asin_f64::<M>(a), "asin(a)";
                } with {
                    numpy "arcsin";
                    is zero_fixed;
                    oracle float: a.asin();
                    range -1.0..1.0;
                    ulp 2.0, 3.0;
                    example [0.0f32] => [0.0];
                }

                /// Arc cosines, in radians; NaN outside -1..=1.
                fn acos(a) {
                    f32: math::acos_f32::<M>(a), "acosf(a)";
                    f64: math::acos_f64::<M>(a), "acos(a)";
                } with {
                    numpy "arccos";
                    oracle float: a.acos();
                    range -1.0..1.0;
                    ulp 2.0, 3.0;
                    example [1.0f32] => [0.0];
                }

                /// Arc tangents, in radians.
                fn atan(a) {
                    f32: math::atan_f32::<M>(a), "atanf(a)";
                    f64: math::atan_f64::<M>(a), "atan(a)";
                } with {
                    numpy "arctan";
                    is zero_fixed;
                    oracle float: a.atan();
                    ulp 2.0, 2.0;
                    example [0.0f32] => [0.0];
                }

                /// Angles of the points `(x, y)`, in radians; `y` is `self`.
                fn atan2 | try_atan2(a, b) {
                    f32: math::atan2_f32::<M>(a, b), "atan2f(a, b)";
                    f64: math::atan2_f64::<M>(a, b), "atan2(a, b)";
                } with {
                    numpy "arctan2";
                    is zero_fixed;
                    oracle float: a.atan2(b);
                    ulp 3.0, 2.0;
                    example [0.0f32, 0.0], [1.0, 2.0] => [0.0, 0.0];
                }
            }

            /// Hyperbolic functions.
            impl Float {
                /// Hyperbolic sines.
                fn sinh(a) {
                    f32: math::sinh_f32::<M>(a), "sinhf(a)";
                    f64: math::sinh_f64::<M>(a), "sinh(a)";
                } with {
                    is zero_fixed;
                    oracle float: a.sinh();
                    range -20.0..20.0;
                    ulp 3.0, 2.0;
                    example [0.0f32] => [0.0];
                }

                /// Hyperbolic cosines.
                fn cosh(a) {
                    f32: math::cosh_f32::<M>(a), "coshf(a)";
                    f64: math::cosh_f64::<M>(a), "cosh(a)";
                } with {
                    oracle float: a.cosh();
                    range -20.0..20.0;
                    ulp 2.0, 2.0;
                    example [0.0f32] => [1.0];
                }

                /// Hyperbolic tangents.
                fn tanh(a) {
                    f32: math::tanh_f32::<M>(a), "tanhf(a)";
                    f64: math::tanh_f64::<M>(a), "tanh(a)";
                } with {
                    is zero_fixed;
                    oracle float: a.tanh();
                    range -20.0..20.0;
                    ulp 2.0, 2.0;
                    example [0.0f32, f32::INFINITY] => [0.0, 1.0];
                }

                /// Inverse hyperbolic sines.
                fn asinh(a) {
                    f32: math::asinh_f32::<M>(a), "asinhf(a)";
                    f64: math::asinh_f64::<M>(a), "asinh(a)";
                } with {
                    numpy "arcsinh";
                    is zero_fixed;
                    oracle float: if a.abs() < 1e100 { a.asinh() } else { (a.abs().ln() + std::f64::consts::LN_2).copysign(a) };
                    ulp 3.0, 4.0;
                    example [0.0f32] => [0.0];
                }

                /// Inverse hyperbolic cosines; NaN below 1.
                fn acosh(a) {
                    f32: math::acosh_f32::<M>(a), "acoshf(a)";
                    f64: math::acosh_f64::<M>(a), "acosh(a)";
                } with {
                    numpy "arccosh";
                    oracle float: if a < 1e100 { a.acosh() } else { a.ln() + std::f64::consts::LN_2 };
                    range 1.0..1000.0;
                    ulp 4.0, 4.0;
                    example [1.0f32] => [0.0];
                }

                /// Inverse hyperbolic tangents; NaN outside -1..=1.
                fn atanh(a) {
                    f32: math::atanh_f32::<M>(a), "atanhf(a)";
                    f64: math::atanh_f64::<M>(a), "atanh(a)";
                } with {
                    numpy "arctanh";
                    is zero_fixed;
                    oracle float: a.abs().atanh().copysign(a);
                    range -1.0..1.0;
                    ulp 3.0, 4.0;
                    example [0.0f32, 1.0] => [0.0, f32::INFINITY];
                }
            }
        }
    };
}
pub(crate) use trig_rows;
