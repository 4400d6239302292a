//! The PTX modules that ship, smallest first, and what each can run.

use super::encode::Needs;
use crate::dtype::DType;

/// A module with one interpreter in it.
#[derive(Debug)]
pub(super) struct Module {
    pub name: &'static str,
    pub ptx: &'static str,
    /// Dtypes of registers in ops and folds, in casts, and those of memory: a bit each.
    ops: u16,
    casts: u16,
    memory: u16,
    /// Has 64 bits in a register, and folds.
    whole: bool,
    /// Elements of a register.
    pub lanes: usize,
    /// Registers of a thread.
    registers: usize,
}

impl Module {
    /// Whether it can run a program.
    pub fn runs(&self, needs: &Needs, registers: usize) -> bool {
        let within = |wanted: u16, has: u16| wanted & !has == 0;
        within(needs.ops, self.ops)
            && within(needs.casts, self.casts)
            && within(needs.memory, self.memory)
            && (self.whole || !needs.wide && !needs.folds)
            && registers <= self.registers
    }
}

const fn set(dtypes: &[DType]) -> u16 {
    let (mut out, mut n) = (0, 0);
    while n < dtypes.len() {
        out |= 1 << dtypes[n] as u16;
        n += 1;
    }
    out
}

use DType::*;
const ALL: u16 = (1 << DType::ALL.len()) - 1;
const SMALL: u16 = set(&[Bool, F16, BF16, F32]);
const F32S: u16 = set(&[Bool, F32]);
const F64S: u16 = set(&[Bool, F64]);
const INTS: u16 = set(&[Bool, I64, U64]);

macro_rules! module {
    ($name:literal, $ops:expr, $casts:expr, $memory:expr, $whole:expr, $lanes:expr, $registers:expr) => {
        Module {
            name: $name,
            ptx: include_str!(concat!("../../../../kernels/ptx/", $name, ".ptx")),
            ops: $ops,
            casts: $casts,
            memory: $memory,
            whole: $whole,
            lanes: $lanes,
            registers: $registers,
        }
    };
}

/// The interpreters, as the `.cu` files in `kernels/` say.
pub(super) static MODULES: [Module; 5] = [
    module!("interp_f32_map", F32S, F32S, SMALL, false, 4, 32),
    module!("interp_f32", F32S, ALL, ALL, true, 4, 32),
    module!("interp_f64", F64S, ALL, ALL, true, 4, 32),
    module!("interp_int", INTS, INTS, ALL, true, 4, 32),
    module!("interp_any", ALL, ALL, ALL, true, 1, 256),
];

/// The pairwise kernels, for f32 and f64.
pub(super) static PAIRWISE: [Module; 2] = [
    module!("pairwise_f32", F32S, F32S, SMALL, false, 4, 32),
    module!("pairwise_f64", F64S, set(&[Bool, F32, F64]), ALL, false, 2, 32),
];
