//! The methods of [`crate::DeviceArray`], a NumPy chapter each.

mod compare;
mod create;
mod display;
mod elementwise;
pub mod eval;
mod index;
mod manipulate;
mod operators;
mod reduce;
