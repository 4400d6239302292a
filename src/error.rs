//! The one error type; every variant carries what a person needs to act on it.

use crate::dtype::DType;

/// A shape as it is printed in an error.
pub(crate) type Shape = Box<[usize]>;

/// What can go wrong, with the operation, shapes, dtypes, files or libraries concerned.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Operands whose shapes do not broadcast together.
    #[error("{op}: shapes {lhs:?} and {rhs:?} do not broadcast together")]
    Broadcast {
        /// The operation.
        op: &'static str,
        /// Shape of the left operand.
        lhs: Shape,
        /// Shape of the right operand.
        rhs: Shape,
    },
    /// Operands whose shapes an operation does not take together, and why.
    #[error("{op}: shapes {lhs:?} and {rhs:?} do not fit: {reason}")]
    Mismatch {
        /// The operation.
        op: &'static str,
        /// Shape of the left operand.
        lhs: Shape,
        /// Shape of the right operand.
        rhs: Shape,
        /// Which extents differ.
        reason: String,
    },
    /// A shape that an operation cannot take, and why.
    #[error("{op}: shape {shape:?}: {reason}")]
    Shape {
        /// The operation.
        op: &'static str,
        /// The shape given.
        shape: Shape,
        /// What is wrong with it.
        reason: String,
    },
    /// An axis outside the array.
    #[error("{op}: axis {axis} is out of bounds for shape {shape:?}")]
    Axis {
        /// The operation.
        op: &'static str,
        /// The axis given.
        axis: usize,
        /// Shape of the array.
        shape: Shape,
    },
    /// An index outside an axis.
    #[error("{op}: index {index} is out of bounds for axis {axis} of length {len}{at}")]
    Index {
        /// The operation.
        op: &'static str,
        /// The index given.
        index: i128,
        /// The axis it was for.
        axis: usize,
        /// Length of that axis.
        len: usize,
        /// ` (recorded at file:line)`, or nothing where the error is raised at once.
        at: String,
    },
    /// A dtype an operation does not take.
    #[error("{op}: not defined for {dtype}")]
    DType {
        /// The operation.
        op: &'static str,
        /// The dtype given.
        dtype: DType,
    },
    /// Operands that live on two devices.
    #[error("{op}: operands are on {lhs} and {rhs}; move one with to_device")]
    Devices {
        /// The operation.
        op: &'static str,
        /// Device of the left operand.
        lhs: String,
        /// Device of the right operand.
        rhs: String,
    },
    /// A device that cannot be used here, and why.
    #[error("device {device} cannot be used: {reason}")]
    DeviceUnavailable {
        /// The device asked for.
        device: String,
        /// Why it is not usable.
        reason: String,
    },
    /// No memory for an allocation.
    #[error("out of memory on {device}: {requested} bytes requested{detail}")]
    OutOfMemory {
        /// The device.
        device: String,
        /// Bytes asked for.
        requested: usize,
        /// `, N bytes free` where the device tells.
        detail: String,
    },
    /// A kernel that the CUDA compiler refused.
    #[error("the CUDA compiler refused {kernel}: {log}\n{text}")]
    Compile {
        /// The kernel's name.
        kernel: String,
        /// What the compiler says.
        log: String,
        /// The kernel's text, its lines numbered as in the log.
        text: String,
    },
    /// A call of the driver or of a library that failed.
    #[error("{call} failed on {device}: {reason}")]
    Driver {
        /// The device.
        device: String,
        /// The function called.
        call: &'static str,
        /// What it says.
        reason: String,
    },
    /// A bad value of an environment variable or option.
    #[error("{name}={value}: {reason}")]
    Config {
        /// The variable or option.
        name: &'static str,
        /// The value given.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that could not be read or written.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// Two arrays that differ by more than was allowed (from `all_close`).
    #[error("{0}")]
    NotClose(String),
    /// A plan that breaks one of the compiler's own rules: a defect of this crate.
    #[error("internal error in {stage}: {detail} (this is a bug in ndcuda)")]
    Internal {
        /// The pass that found it.
        stage: &'static str,
        /// What it found.
        detail: String,
    },
    /// An error of a recorded operation, raised when it ran.
    #[error("{source} (recorded at {at})")]
    At {
        /// The error.
        source: Box<Error>,
        /// `file:line` of the call that recorded the operation.
        at: String,
    },
}

/// Result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
