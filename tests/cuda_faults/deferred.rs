//! x
use crate::child::Case;
pub const CASES: &[Case] = &[];
