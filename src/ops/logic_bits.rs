//! Chapter: logic (any dtype as a truth value), bits and shifts.

macro_rules! logic_bits_rows {
    ($emit:ident) => {
        $emit! {
            /// Logic. Every value but zero is true, NaN too.
            impl Element {
                /// Whether both are true.
                fn logical_and | try_logical_and(a, b) -> bool {
                    bool: a & b, "a && b";
                    word: (a != 0) & (b != 0), "a != 0 && b != 0";
                    float: (a != 0.0) & (b != 0.0), "a != 0 && b != 0";
                } with {
                    is cheap, zero_fixed;
                    oracle float: a != 0.0 && b != 0.0, int: a != 0 && b != 0;
                    example [0, 2], [1, 1] => [false, true];
                }

                /// Whether either is true.
                fn logical_or | try_logical_or(a, b) -> bool {
                    bool: a | b, "a || b";
                    word: (a != 0) | (b != 0), "a != 0 || b != 0";
                    float: (a != 0.0) | (b != 0.0), "a != 0 || b != 0";
                } with {
                    is cheap, zero_fixed;
                    oracle float: a != 0.0 || b != 0.0, int: a != 0 || b != 0;
                    example [0, 2], [0, 1] => [false, true];
                }

                /// Whether exactly one is true.
                fn logical_xor | try_logical_xor(a, b) -> bool {
                    bool: a ^ b, "a != b";
                    word: (a != 0) ^ (b != 0), "(a != 0) != (b != 0)";
                    float: (a != 0.0) ^ (b != 0.0), "(a != 0) != (b != 0)";
                } with {
                    is cheap, zero_fixed;
                    oracle float: (a != 0.0) != (b != 0.0), int: (a != 0) != (b != 0);
                    example [0, 2], [1, 1] => [true, false];
                }

                /// Whether the element is zero.
                fn logical_not(a) -> bool {
                    bool: !a, "!a";
                    word: a == 0, "a == 0";
                    float: a == 0.0, "a == 0";
                } with {
                    is cheap;
                    oracle float: a == 0.0, int: a == 0;
                    example [0, 2] => [true, false];
                }
            }

            /// Bits.
            impl Bits {
                /// Bitwise and; on bool, and.
                op bit_and | try_bit_and(a, b) {
                    bool: a & b, "a & b";
                    word: a & b, "a & b";
                } with {
                    numpy "bitwise_and";
                    is cheap, zero_fixed;
                    oracle int: a & b;
                    example [6, 5], [3, 3] => [2, 1];
                }

                /// Bitwise or; on bool, or.
                op bit_or | try_bit_or(a, b) {
                    bool: a | b, "a | b";
                    word: a | b, "a | b";
                } with {
                    numpy "bitwise_or";
                    is cheap, zero_fixed;
                    oracle int: a | b;
                    example [6, 5], [3, 3] => [7, 7];
                }

                /// Bitwise exclusive or; on bool, exclusive or.
                op bit_xor | try_bit_xor(a, b) {
                    bool: a ^ b, "a ^ b";
                    word: a ^ b, "a ^ b";
                } with {
                    numpy "bitwise_xor";
                    is cheap, zero_fixed;
                    oracle int: a ^ b;
                    example [6, 5], [3, 3] => [5, 6];
                }

                /// Bitwise complement; on bool, not.
                op bit_not(a) {
                    bool: !a, "!a";
                    word: !a, "~a";
                } with {
                    numpy "bitwise_not";
                    is cheap;
                    oracle int: !a;
                    example [0, 5] => [-1, -6];
                }
            }

            /// Shifts. A negative shift counts as too wide.
            impl Integer {
                /// Shifts left; a shift by the width or more gives 0.
                op shl | try_shl(a, b) {
                    word: if b < T::BITS as T { a << b } else { 0 }, "b < 8 * sizeof(a) ? (0ull + a) << b : 0";
                } with {
                    numpy "left_shift";
                    is cheap, zero_fixed;
                    oracle int: if (0..64).contains(&b) { a << b } else { 0 };
                    example [1, 1, 1], [3, 31, 32] => [8, i32::MIN, 0];
                }

                /// Shifts right, with the sign; a shift by the width or more gives 0, or -1 of a negative number.
                op shr | try_shr(a, b) {
                    signed: a >> (b as u64).min(T::BITS as u64 - 1), "a >> (b < 8 * sizeof(a) ? b : 8 * sizeof(a) - 1)";
                    unsigned: if b < T::BITS as T { a >> b } else { 0 }, "b < 8 * sizeof(a) ? a >> b : 0";
                } with {
                    numpy "right_shift";
                    is cheap, zero_fixed;
                    oracle int: a >> (if (0..64).contains(&b) { b } else { 127 });
                    example [-8, -8, 8], [1, 32, 32] => [-4, -1, 0];
                }
            }
        }
    };
}
pub(crate) use logic_bits_rows;
