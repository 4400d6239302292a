//! The suite: everything a user is promised, on every device, through public items alone.
// `s![1..-1]` counts its end from the back.
#![allow(clippy::reversed_empty_ranges)]

mod harness;

/// Makes a test of each function `fn(&Device)` on each device: `tests_on_devices!(a b c; once: d e)`. What follows `once` is a
/// `fn()` that takes care of devices itself.
macro_rules! tests_on_devices {
    ($($test:ident)* $(; once: $($alone:ident)*)?) => {
        pub fn tests() -> Vec<crate::harness::Test> {
            use crate::harness::Test;
            vec![
                $(Test::each(concat!(module_path!(), "::", stringify!($test)), $test),)*
                $($(Test::once(concat!(module_path!(), "::", stringify!($alone)), $alone),)*)?
            ]
        }
    };
}

mod accuracy;
mod batches;
mod bits;
mod blocks;
mod cases;
mod dag;
mod distances;
mod exchange;
mod metrics;
mod mistakes;
mod naive;
mod operators;
mod pairs;
mod promises;
mod reduce;
mod scale;
mod select;
mod split;
mod sums;
mod views;
mod wide;

fn main() -> std::process::ExitCode {
    harness::run(
        [
            accuracy::tests(),
            batches::tests(),
            bits::tests(),
            blocks::tests(),
            cases::tests(),
            dag::tests(),
            distances::tests(),
            exchange::tests(),
            metrics::tests(),
            mistakes::tests(),
            operators::tests(),
            pairs::tests(),
            promises::tests(),
            reduce::tests(),
            scale::tests(),
            select::tests(),
            split::tests(),
            sums::tests(),
            views::tests(),
            wide::tests(),
        ]
        .concat(),
    )
}
