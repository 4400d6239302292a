//! The CUDA backend.

// Its texts are shown and checked today; the launch side waits for the CUDA backend.
#[allow(dead_code)]
pub mod emit;
