//! The register file's plan: where each register, constant and special register of a module stands.

use std::collections::HashMap;

use crate::types::Ty;

/// A register of a function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reg {
    /// Offset in words of 4 bytes.
    pub at: u32,
    pub ty: Ty,
}

/// What a constant's value is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Value {
    Bits(u64),
    /// The address of a variable of the module, plus bytes.
    Global(u32, i64),
    /// Where dynamic shared memory begins, plus bytes.
    Dynamic(i64),
    Special(Special),
}

/// Special registers: their rows are set for each warp.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Special {
    Tid(u8),
    Ntid(u8),
    Ctaid(u8),
    Nctaid(u8),
    Lane,
    Warp,
    Warps,
    Sm,
    Sms,
    Grid,
    MaskEq,
    MaskLe,
    MaskLt,
    MaskGe,
    MaskGt,
    DynamicBytes,
    TotalBytes,
}

impl Special {
    pub fn of(name: &str) -> Option<Special> {
        let axis = |s: &str| match s {
            ".x" => Some(0),
            ".y" => Some(1),
            ".z" => Some(2),
            _ => None,
        };
        Some(match name {
            "%laneid" => Special::Lane,
            "%warpid" => Special::Warp,
            "%nwarpid" => Special::Warps,
            "%smid" => Special::Sm,
            "%nsmid" => Special::Sms,
            "%gridid" => Special::Grid,
            "%lanemask_eq" => Special::MaskEq,
            "%lanemask_le" => Special::MaskLe,
            "%lanemask_lt" => Special::MaskLt,
            "%lanemask_ge" => Special::MaskGe,
            "%lanemask_gt" => Special::MaskGt,
            "%dynamic_smem_size" => Special::DynamicBytes,
            "%total_smem_size" => Special::TotalBytes,
            _ => {
                if let Some(a) = name.strip_prefix("%tid") {
                    Special::Tid(axis(a)?)
                } else if let Some(a) = name.strip_prefix("%ntid") {
                    Special::Ntid(axis(a)?)
                } else if let Some(a) = name.strip_prefix("%ctaid") {
                    Special::Ctaid(axis(a)?)
                } else {
                    Special::Nctaid(axis(name.strip_prefix("%nctaid")?)?)
                }
            }
        })
    }
}

/// A row of one value, set before a launch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Constant {
    pub at: u32,
    pub wide: bool,
    pub value: Value,
}

/// Hands out rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    words: u32,
    pred_at: u32,
    preds_left: u32,
    pub constants: Vec<Constant>,
    known: HashMap<(Value, bool), u32>,
}

impl Plan {
    /// Words of the whole file.
    pub fn words(&self) -> u32 {
        self.words
    }

    pub fn row(&mut self, wide: bool) -> u32 {
        let at = self.words;
        self.words += if wide { 64 } else { 32 };
        at
    }

    pub fn pred(&mut self) -> u32 {
        if self.preds_left == 0 {
            self.pred_at = self.row(false);
            self.preds_left = 32;
        }
        self.preds_left -= 1;
        self.pred_at += 1;
        self.pred_at - 1
    }

    pub fn reg(&mut self, ty: Ty) -> u32 {
        if ty == Ty::Pred { self.pred() } else { self.row(ty.wide()) }
    }

    pub fn constant(&mut self, value: Value, wide: bool) -> u32 {
        let value = match value {
            Value::Bits(b) if !wide => Value::Bits(b as u32 as u64),
            v => v,
        };
        if let Some(&at) = self.known.get(&(value, wide)) {
            return at;
        }
        let at = self.row(wide);
        self.constants.push(Constant { at, wide, value });
        self.known.insert((value, wide), at);
        at
    }
}
