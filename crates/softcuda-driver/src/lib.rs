//! Stands in for `libcuda.so` in tests: the CUDA driver API over `softcuda`, a device in software that runs PTX.
//!
//! Built as a shared library it is loaded in place of the driver; `control` is the tests' way to the loaded library. README.md says how.
#![cfg(target_os = "linux")]
// The entry points have C's names and C's argument lists; what they promise stands in the driver API's manual.
#![allow(non_snake_case, clippy::too_many_arguments, missing_debug_implementations)]

mod abi;
mod attributes;
mod code;
mod config;
mod context;
pub mod control;
mod driver;
mod event;
mod gpu;
mod inject;
mod launch;
mod memory;
mod module;
mod pool;
mod record;
mod stream;
mod symbol;
