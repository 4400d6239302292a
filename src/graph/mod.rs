//! The lazy graph: immutable nodes, each an operation on views of other nodes, with a value that is set once.

pub mod build;
mod node;
pub mod show;

pub use node::{DeviceId, Expr, Node, Op, Stored, Value};
