//! The CUDA backend.

pub mod emit;
