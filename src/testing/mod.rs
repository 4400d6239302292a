//! Tests that need what is private: the op table through graph, plan and device.

#[cfg(target_os = "linux")]
mod compilers;
mod emitted;
mod goldens;
mod host;
mod mutation;
mod op_modules;
mod planted;
mod shipped;
mod soft;
mod table;

use crate::Device;

/// The devices these tests run on. With `NDCUDA_SUITE=gpu` the first GPU is one, and has to be there.
fn devices() -> Vec<Device> {
    let mut all = vec![Device::cpu_with_threads(2), soft::device(1)];
    if std::env::var("NDCUDA_SUITE").is_ok_and(|v| v == "gpu") {
        all.push(Device::cuda(0).unwrap_or_else(|e| panic!("{e}")));
    }
    all
}
