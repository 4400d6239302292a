//! Chapter: arithmetic. Integers wrap; `x / 0` and `x % 0` are 0; nothing panics.

macro_rules! arithmetic_rows {
    ($emit:ident) => {
        $emit! {
            /// Arithmetic.
            impl Number {
                /// Sums, elementwise.
                op add | try_add(a, b) {
                    word: a.wrapping_add(b), "0ull + a + b";
                    float: a + b, "a + b";
                } with {
                    is cheap, zero_fixed;
                    oracle float: a + b, int: a + b;
                    example [1, 2], [10, 20] => [11, 22];
                }

                /// Differences, elementwise.
                op sub | try_sub(a, b) {
                    word: a.wrapping_sub(b), "0ull + a - b";
                    float: a - b, "a - b";
                } with {
                    numpy "subtract";
                    is cheap, zero_fixed;
                    oracle float: a - b, int: a - b;
                    example [11, 22], [10, 20] => [1, 2];
                }

                /// Products, elementwise.
                op mul | try_mul(a, b) {
                    word: a.wrapping_mul(b), "1ull * a * b";
                    float: a * b, "a * b";
                } with {
                    numpy "multiply";
                    is cheap, zero_fixed;
                    oracle float: a * b, int: a.wrapping_mul(b);
                    example [1, 2], [10, 20] => [10, 40];
                }

                /// Quotients, elementwise. Integers truncate, and `x / 0` is 0.
                op div | try_div(a, b) {
                    signed: a.quotient(b), "b == 0 ? 0 : b == -1 ? 0ull - a : a / b";
                    unsigned: a.quotient(b), "b == 0 ? 0 : a / b";
                    float: a / b, "a / b";
                } with {
                    numpy "divide";
                    oracle float: a / b, int: a.checked_div(b).unwrap_or(0);
                    example [7, 9, 5], [2, -2, 0] => [3, -4, 0];
                }

                /// Rust's `%`: the remainder of truncating division, with the sign of the dividend. Integer `x % 0` is 0.
                op rem | try_rem(a, b) {
                    signed: a.rest(b), "b == 0 || b == -1 ? 0 : a % b";
                    unsigned: a.rest(b), "b == 0 ? 0 : a % b";
                    f32: a % b, "fmodf(a, b)";
                    f64: a % b, "fmod(a, b)";
                } with {
                    numpy "fmod";
                    oracle float: a % b, int: a.checked_rem(b).unwrap_or(0);
                    example [7, -7, 5], [3, 3, 0] => [1, -1, 0];
                }

                /// NumPy's `remainder`: that of floor division, with the sign of the divisor. Integer remainders of 0 are 0.
                fn remainder | try_remainder(a, b) {
                    signed: {
                        let r = a.rest(b);
                        if r != 0 && (r ^ b) < 0 { r + b } else { r }
                    }, "b == 0 || b == -1 ? 0 : a % b != 0 && (a % b < 0) != (b < 0) ? a % b + b : a % b";
                    unsigned: a.rest(b), "b == 0 ? 0 : a % b";
                    f32: {
                        let r = a % b;
                        if r == 0.0 { r.abs().copysign(b) } else if (r < 0.0) != (b < 0.0) { r + b } else { r }
                    }, "[=] { float r = fmodf(a, b); return r == 0 ? copysignf(r, b) : (r < 0) != (b < 0) ? r + b : r; }()";
                    f64: {
                        let r = a % b;
                        if r == 0.0 { r.abs().copysign(b) } else if (r < 0.0) != (b < 0.0) { r + b } else { r }
                    }, "[=] { double r = fmod(a, b); return r == 0 ? copysign(r, b) : (r < 0) != (b < 0) ? r + b : r; }()";
                } with {
                    oracle
                        float: match a % b {
                            0.0 => 0f64.copysign(b),
                            r if r.is_sign_negative() != b.is_sign_negative() => r + b,
                            r => r,
                        },
                        int: if b == 0 { 0 } else { (a % b + b) % b };
                    example [7, -7], [3, 3] => [1, 2];
                }

                /// NumPy's `floor_divide`: quotients rounded down. Integer `x / 0` is 0.
                fn floor_divide | try_floor_divide(a, b) {
                    signed: {
                        let q = a.quotient(b);
                        if (a ^ b) < 0 && q.wrapping_mul(b) != a && b != 0 { q - 1 } else { q }
                    }, "b == 0 ? 0 : b == -1 ? 0ull - a : a / b - (a % b != 0 && (a < 0) != (b < 0))";
                    unsigned: a.quotient(b), "b == 0 ? 0 : a / b";
                    float: {
                        let r = a % b;
                        let borrow = r != 0.0 && (r < 0.0) != (b < 0.0);
                        let q = (a - r) / b - T::from(borrow as u8);
                        let down = q.floor();
                        if b == 0.0 {
                            a / b
                        } else if q == 0.0 {
                            q.abs().copysign(a / b)
                        } else if q - down > 0.5 {
                            down + 1.0
                        } else {
                            down
                        }
                    }, "[=] { auto r = a - a, q = r, f = r; r = fmod(a, b); q = (a - r) / b - (r != 0 && (r < 0) != (b < 0)); f = floor(q); return b == 0 ? a / b : q == 0 ? copysign(q, a / b) : q - f > 0.5f ? f + 1 : f; }()";
                } with {
                    oracle
                        float: {
                            let r = a % b;
                            if b == 0.0 { a / b } else if (r < 0.0 && b > 0.0) || (r > 0.0 && b < 0.0) { ((a - r) / b).round() - 1.0 } else { ((a - r) / b).round() }
                        },
                        int: if b == 0 { 0 } else { a / b - i128::from(a % b != 0 && (a < 0) != (b < 0)) };
                    ulp 1.0, 1.0;
                    example [7, -7], [2, 2] => [3, -4];
                }

                /// Magnitudes. The smallest signed integer stays itself.
                fn abs(a) {
                    signed: a.wrapping_abs(), "a < 0 ? 0ull - a : a";
                    unsigned: a, "a";
                    f32: a.abs(), "fabsf(a)";
                    f64: a.abs(), "fabs(a)";
                } with {
                    numpy "absolute";
                    is cheap, zero_fixed;
                    oracle float: a.abs(), int: a.abs();
                    example [-2, 3] => [2, 3];
                }

                /// NumPy's `sign`: -1, 0 or 1; NaN for NaN.
                fn sign(a) {
                    signed: a.signum(), "(a > 0) - (a < 0)";
                    unsigned: T::from(a != 0), "a != 0";
                    float: if a > 0.0 { 1.0 } else if a < 0.0 { -1.0 } else if a == 0.0 { 0.0 } else { a }, "a > 0 ? 1 : a < 0 ? -1 : a == 0 ? 0 : a";
                } with {
                    is cheap, zero_fixed;
                    oracle float: if a == 0.0 { 0.0 } else { a.signum() }, int: a.signum();
                    example [-2.5f32, 0.0, 7.0] => [-1.0, 0.0, 1.0];
                }

                /// Squares.
                fn square(a) {
                    word: a.wrapping_mul(a), "1ull * a * a";
                    float: a * a, "a * a";
                } with {
                    is cheap, zero_fixed;
                    oracle float: a * a, int: a.wrapping_mul(a);
                    example [-2, 3] => [4, 9];
                }
            }

            /// Arithmetic of signed numbers.
            impl Signed {
                /// Negations.
                op neg(a) {
                    signed: a.wrapping_neg(), "0ull - a";
                    float: -a, "-a";
                } with {
                    numpy "negative";
                    is cheap, zero_fixed;
                    oracle float: -a, int: -a;
                    example [-2, 3] => [2, -3];
                }

                /// Rust's `signum`: -1 or 1 by the sign bit of a float (so 1 for 0.0, -1 for -0.0), NaN for NaN; -1, 0 or 1 of an integer.
                fn signum(a) {
                    signed: a.signum(), "(a > 0) - (a < 0)";
                    f32: a.signum(), "a != a ? a : copysignf(1.f, a)";
                    f64: a.signum(), "a != a ? a : copysign(1., a)";
                } with {
                    is cheap;
                    oracle float: a.signum(), int: a.signum();
                    example [-2.5f32, 0.0, 7.0] => [-1.0, 1.0, 1.0];
                }
            }

            /// Arithmetic of floats.
            impl Float {
                /// Reciprocals, `1 / x`.
                fn recip(a) {
                    float: 1.0 / a, "1 / a";
                } with {
                    numpy "reciprocal";
                    oracle float: 1.0 / a;
                    example [2.0f32, 4.0] => [0.5, 0.25];
                }
            }
        }
    };
}
pub(crate) use arithmetic_rows;
