//! **NumPy-style arrays for NVIDIA GPUs, in Rust.** You write [`DeviceArray`] expressions as you would write NumPy; they
//! are recorded lazily, fused into few kernels and run when their values are asked for.
//!
//! ```
//! use ndcuda::prelude::*;
//! use ndcuda::s;
//! let dev = Device::default();
//! let x = dev.array(&ndarray::arr2(&[[0.0f32, 0.0], [3.0, 4.0]]))?;
//!
//! // All pairs of rows at once, without the (n, m, d) temporary: one kernel.
//! let diff = x.slice(s![.., NewAxis, ..]) - x.slice(s![NewAxis, .., ..]);
//! let d = (&diff * &diff).sum_axis(Axis(2)).sqrt();
//! assert_eq!(d, ndarray::arr2(&[[0.0, 5.0], [5.0, 0.0]]));
//! # Ok::<(), ndcuda::Error>(())
//! ```
//!
//! Shape errors panic at the call, as in `ndarray`; operators and other elementwise operations of two arrays, `dot`, slices, reshapes, `select`, `topk`
//! and distances have `try_` twins that return them. Errors of the device come with the first `Result` asked for. `ARCHITECTURE.md` in the repository says how an expression becomes a kernel.

pub mod api;
mod array;
mod backend;
mod buffer;
pub mod cuda;
pub mod debug;
mod device;
pub mod distance;
mod dtype;
mod error;
mod eval;
mod graph;
mod hash;
pub mod io;
mod kernel;
mod layout;
pub mod linalg;
mod ops;
mod schedule;
#[cfg(test)]
mod testing;

pub use api::eval::eval;
pub use array::{
    DeviceArray, DeviceArray0, DeviceArray1, DeviceArray2, DeviceArray3, DeviceArray4, DeviceArray5, DeviceArray6,
    DeviceArrayD, IntoDevice, Operand,
};
pub use device::{Device, Probe};
pub use dtype::{Bits, DType, Element, Float, Integer, Number, Signed};
pub use error::{Error, Result};
pub use half::{bf16, f16};
pub use ndarray;
pub use ndarray::{Axis, NewAxis, s};

/// The examples of the pages beside the code, as tests.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/adding_an_op.md")]
    struct AddingAnOp;
    #[doc = include_str!("../docs/laziness.md")]
    struct Laziness;
    #[doc = include_str!("../docs/ndarray_users.md")]
    struct NdarrayUsers;
    #[doc = include_str!("../docs/numpy_users.md")]
    struct NumpyUsers;
    #[doc = include_str!("../docs/roofline.md")]
    struct Roofline;
    #[doc = include_str!("../docs/troubleshooting.md")]
    struct Troubleshooting;
    #[doc = include_str!("../docs/verification.md")]
    struct Verification;
}

/// What most programs need: `use ndcuda::prelude::*;`.
pub mod prelude {
    pub use crate::{
        Device, DeviceArray, DeviceArray0, DeviceArray1, DeviceArray2, DeviceArray3, DeviceArrayD, Element, Float,
        Number, ndarray,
    };
    pub use approx::{AbsDiffEq, RelativeEq, UlpsEq};
    pub use ndarray::{Axis, NewAxis};
}
