//! Lane-instructions per second of a kernel of the tests: `cargo run --release -p softcuda --example speed`.

#[path = "../tests/common/mod.rs"]
mod common;

use std::sync::atomic::Ordering;

fn main() {
    match common::map(&common::fixture("map"), [2000, 2000], 1000) {
        Ok((_, _, c)) => {
            let (n, s) = (c.instructions(), common::NANOS.load(Ordering::Relaxed) as f64 / 1e9);
            println!("{:.2} G lane-instructions/s ({n} in {s:.3} s)", n as f64 / s / 1e9);
        }
        Err(e) => println!("{e}"),
    }
}
