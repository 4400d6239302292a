//! Lane-instructions per second of a kernel of the tests: `cargo run --release -p softcuda --example speed`.

#[path = "../tests/common/mod.rs"]
mod common;

use std::sync::atomic::Ordering;

fn main() {
    let rate = |name: &str, run: &dyn Fn() -> common::Run| match run() {
        Ok((_, _, c)) => {
            let s = common::NANOS.load(Ordering::Relaxed) as f64 / 1e9;
            println!(
                "{name}: {:.2} G lane-instructions/s ({} in {s:.3} s)",
                c.instructions() as f64 / s / 1e9,
                c.instructions()
            );
        }
        Err(e) => println!("{name}: {e}"),
    };
    for (name, module) in common::fixtures("pairwise_1") {
        rate(&name, &|| common::pairwise(&module, [256, 256, 512], 0));
    }
    for (name, module) in common::fixtures("softmax") {
        rate(&name, &|| common::softmax(&module, 1000, 2000, 1000, 0));
    }
    for (name, module) in common::fixtures("column_sum") {
        rate(&name, &|| common::sum_of_abs(&module, false, [2000, 2000], [1000, 1], 0));
    }
}
