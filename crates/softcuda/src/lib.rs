//! A software CUDA device core: parses the PTX that NVRTC emits and runs it on the CPU, warp by warp, with detectors for
//! memory errors, races and barriers, and with a profiler's counters. It knows nothing of the driver's API.

mod alu;
mod counters;
mod decode;
mod exec;
mod fault;
mod machine;
mod memory;
mod module;
mod parse;
mod race;
mod types;

pub use counters::Counters;
pub use fault::{Fault, FaultKind, ParseError};
pub use machine::{Config, Detect, Loaded, Machine};
pub use module::{Entry, Module, ParamInfo};
