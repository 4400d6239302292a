//! Chapter: selection.

macro_rules! select_rows {
    ($emit:ident) => {
        $emit! {
            /// Selection.
            impl Element {
                /// Elements of the second operand where the mask is true, of the third where it is false.
                select where_ | try_where_(a: bool, b, c) {
                    any: if a { b } else { c }, "a ? b : c";
                } with {
                    numpy "where";
                    is cheap, zero_fixed;
                    oracle float: if a != 0.0 { b } else { c }, int: if a != 0 { b } else { c };
                    example [true, false], [1, 2], [10, 20] => [1, 20];
                }
            }
        }
    };
}
pub(crate) use select_rows;
