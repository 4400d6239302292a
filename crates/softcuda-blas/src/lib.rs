//! Stands in for `libcublas.so` in tests: products on the memory of `softcuda-driver`'s devices.
//!
//! Arguments are checked as cuBLAS checks them, matrices are read and written within their bounds, in stream order. The sums are plain
//! loops: what they show is that the right matrices were asked for, not how cuBLAS rounds.
#![cfg(target_os = "linux")]
// The entry points have C's names and C's argument lists; what they promise stands in the manual of cuBLAS.
#![allow(non_snake_case, clippy::too_many_arguments, missing_debug_implementations)]

mod driver;
mod entry;
mod gemm;
mod gemv;
mod handle;
