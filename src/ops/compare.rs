//! Chapter: comparisons, the larger and the smaller, kinds of floats.

macro_rules! compare_rows {
    ($emit:ident) => {
        $emit! {
            /// Comparisons, elementwise.
            impl Element {
                /// Whether elements are equal. (`==` compares whole arrays.)
                fn equal | try_equal(a, b) -> bool {
                    bool: a == b, "a == b";
                    word: a == b, "a == b";
                    float: a == b, "a == b";
                } with {
                    is cheap;
                    oracle float: a == b, int: a == b;
                    example [1, 2], [1, 3] => [true, false];
                }

                /// Whether elements differ.
                fn not_equal | try_not_equal(a, b) -> bool {
                    bool: a != b, "a != b";
                    word: a != b, "a != b";
                    float: a != b, "a != b";
                } with {
                    is cheap, zero_fixed;
                    oracle float: a != b, int: a != b;
                    example [1, 2], [1, 3] => [false, true];
                }

                /// Whether elements are less than the other's.
                fn less | try_less(a, b) -> bool {
                    bool: !a & b, "a < b";
                    int: a < b, "a < b";
                    float: a < b, "a < b";
                } with {
                    is cheap, zero_fixed;
                    oracle float: a < b, int: a < b;
                    example [1, 2], [2, 2] => [true, false];
                }

                /// Whether elements are at most the other's.
                fn less_equal | try_less_equal(a, b) -> bool {
                    bool: !a | b, "a <= b";
                    int: a <= b, "a <= b";
                    float: a <= b, "a <= b";
                } with {
                    is cheap;
                    oracle float: a <= b, int: a <= b;
                    example [1, 3], [2, 2] => [true, false];
                }

                /// Whether elements are greater than the other's.
                fn greater | try_greater(a, b) -> bool {
                    bool: a & !b, "a > b";
                    int: a > b, "a > b";
                    float: a > b, "a > b";
                } with {
                    is cheap, zero_fixed;
                    oracle float: a > b, int: a > b;
                    example [3, 2], [2, 2] => [true, false];
                }

                /// Whether elements are at least the other's.
                fn greater_equal | try_greater_equal(a, b) -> bool {
                    bool: a | !b, "a >= b";
                    int: a >= b, "a >= b";
                    float: a >= b, "a >= b";
                } with {
                    is cheap;
                    oracle float: a >= b, int: a >= b;
                    example [1, 2], [2, 2] => [false, true];
                }

                /// The larger of each two; NaN if either is.
                fn maximum | try_maximum(a, b) {
                    bool: a | b, "a || b";
                    int: a.max(b), "a > b ? a : b";
                    float: if a >= b || a.is_nan() { a } else { b }, "a >= b || a != a ? a : b";
                } with {
                    is cheap, zero_fixed;
                    oracle float: if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }, int: a.max(b);
                    example [1, 5], [3, 3] => [3, 5];
                }

                /// The smaller of each two; NaN if either is.
                fn minimum | try_minimum(a, b) {
                    bool: a & b, "a && b";
                    int: a.min(b), "a < b ? a : b";
                    float: if a <= b || a.is_nan() { a } else { b }, "a <= b || a != a ? a : b";
                } with {
                    is cheap, zero_fixed;
                    oracle float: if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }, int: a.min(b);
                    example [1, 5], [3, 3] => [1, 3];
                }

                /// Whether elements are NaN.
                fn is_nan(a) -> bool {
                    bool: false, "false";
                    word: false, "false";
                    float: a.is_nan(), "a != a";
                } with {
                    numpy "isnan";
                    is cheap, zero_fixed;
                    oracle float: a.is_nan(), int: false;
                    example [1.0f32, f32::NAN] => [false, true];
                }

                /// Whether elements are infinite.
                fn is_infinite(a) -> bool {
                    bool: false, "false";
                    word: false, "false";
                    float: a.is_infinite(), "a == a && a - a != 0";
                } with {
                    numpy "isinf";
                    is cheap, zero_fixed;
                    oracle float: a.is_infinite(), int: false;
                    example [1.0f32, f32::NEG_INFINITY] => [false, true];
                }

                /// Whether elements are neither infinite nor NaN.
                fn is_finite(a) -> bool {
                    bool: true, "true";
                    word: true, "true";
                    float: a.is_finite(), "a - a == 0";
                } with {
                    numpy "isfinite";
                    is cheap;
                    oracle float: a.is_finite(), int: true;
                    example [1.0f32, f32::NAN] => [true, false];
                }
            }

            /// Limits.
            impl Number {
                /// Elements no smaller than `lo` and no larger than `hi`; where `lo > hi`, `hi`. NaN stays NaN; a limit that is NaN is none.
                fn clamp | try_clamp(a, b, c) {
                    int: a.max(b).min(c), "(a > b ? a : b) < c ? (a > b ? a : b) : c";
                    float: {
                        let raised = if a < b { b } else { a };
                        if raised > c { c } else { raised }
                    }, "(a < b ? b : a) > c ? c : a < b ? b : a";
                } with {
                    numpy "clip";
                    is cheap, zero_fixed;
                    oracle
                        float: if a.is_nan() { a } else { a.max(b).min(c) },
                        int: a.max(b).min(c);
                    example [-1.0f32, 0.5, 7.0], 0.0, 1.0 => [0.0, 0.5, 1.0];
                }
            }
        }
    };
}
pub(crate) use compare_rows;
