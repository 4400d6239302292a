//! Tests that need what is private: the op table through graph, plan and device.

mod host;
mod shipped;
mod soft;
mod table;

use crate::Device;

/// The devices these tests run on.
fn devices() -> Vec<Device> {
    vec![Device::cpu_with_threads(2), soft::device(1)]
}
