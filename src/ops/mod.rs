//! The op tables: elementwise rows here, reducers in [`reduce`].
//!
//! **An op is one row** of a chapter (`arithmetic.rs`, `trig.rs`, ...). A chapter is a macro that hands its rows to another macro: [`define`]
//! below makes a static [`OpRow`] of each, in [`row`]; `api/elementwise.rs` makes a method of each. `docs/adding_an_op.md` reads one row aloud.

pub mod arithmetic;
pub mod cast;
pub mod compare;
pub mod explog;
mod half;
mod int_div;
pub mod lift;
pub mod logic_bits;
pub mod math;
pub mod oracle;
pub mod powers;
pub mod reduce;
pub mod rounding;
pub mod select;
pub mod special;
#[cfg(test)]
mod tests;
pub mod trig;

pub use cast::cast;
pub use lift::{Isa, Loop, Loops, prefetch};
pub use oracle::Oracle;

use crate::dtype::DType;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Range;

/// The dtype of an op's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutRule {
    /// That of the operands.
    Same,
    /// Bool.
    Bool,
}

/// One elementwise op: all that is known of it, for both backends, for errors and for tests.
pub struct OpRow {
    /// The name, as errors and traces spell it; the method's, too.
    pub name: &'static str,
    /// NumPy's name (this crate's where NumPy has none).
    pub numpy: &'static str,
    /// How many operands: 1, 2 or 3.
    pub arity: u8,
    /// Whether the first operand is a bool mask, whatever the dtype of the others.
    pub masked: bool,
    /// The dtypes it takes, a bit each; see [`OpRow::takes`].
    pub accepts: u16,
    /// The dtype of its result.
    pub out: OutRule,
    /// The CPU loops at a compute dtype; `None` where it does not run on it. (f16 and bf16 run at f32, but for ops that only move bits.)
    pub loops: fn(DType) -> Option<Loops>,
    /// A C++ expression over variables `a`, `b`, `c` of the compute dtype, for NVRTC without headers and with `--fmad=false`.
    /// Its value still has to be converted to the result's dtype: integer texts compute in 64 bits, unsigned, so that they wrap.
    pub cuda: fn(DType) -> Option<&'static str>,
    /// The largest error on either backend, in ulp: at f32, at f64. 0 is IEEE's rounding, bit for bit.
    pub ulp: (f32, f32),
    /// Where tests draw floating-point operands from, by operand; the last range serves the rest.
    pub range: &'static [Range<f64>],
    /// What tests hold the loops against.
    pub oracle: Oracle,
    /// Whether zeros give zero.
    pub zero_fixed: bool,
    /// Whether it takes a handful of instructions: less than loading a value.
    pub cheap: bool,
    /// The doc comment.
    pub doc: &'static str,
}

/// A row, which is a static: its address is its identity.
pub type OpRef = &'static OpRow;

impl OpRow {
    /// Whether operands (other than a mask) may be of `dtype`.
    pub const fn takes(&self, dtype: DType) -> bool {
        self.accepts >> dtype as u16 & 1 == 1
    }

    /// The dtype of operand `i` when the op runs on `dtype`.
    pub const fn operand(&self, i: usize, dtype: DType) -> DType {
        if self.masked && i == 0 { DType::Bool } else { dtype }
    }

    /// The dtype of the result when the op runs on `dtype`.
    pub const fn result(&self, dtype: DType) -> DType {
        match self.out {
            OutRule::Same => dtype,
            OutRule::Bool => DType::Bool,
        }
    }
}

impl PartialEq for OpRow {
    fn eq(&self, other: &OpRow) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for OpRow {}

impl Hash for OpRow {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl fmt::Debug for OpRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Names the dtypes of a group and the Rust type that each is computed in, then calls `$then`.
///
/// `word` and `any` go by width: where the sign does not matter, i32 and u32 share their loops.
#[rustfmt::skip]
macro_rules! group {
    ($then:ident bool; $($rest:tt)*) => { $then!([Bool => bool]; $($rest)*) };
    ($then:ident signed; $($rest:tt)*) => { $then!([I8 => i8] [I16 => i16] [I32 => i32] [I64 => i64]; $($rest)*) };
    ($then:ident unsigned; $($rest:tt)*) => { $then!([U8 => u8] [U16 => u16] [U32 => u32] [U64 => u64]; $($rest)*) };
    ($then:ident int; $($rest:tt)*) => {
        $then!([I8 => i8] [I16 => i16] [I32 => i32] [I64 => i64] [U8 => u8] [U16 => u16] [U32 => u32] [U64 => u64]; $($rest)*)
    };
    ($then:ident word; $($rest:tt)*) => { $then!([I8 | U8 => u8] [I16 | U16 => u16] [I32 | U32 => u32] [I64 | U64 => u64]; $($rest)*) };
    ($then:ident f32; $($rest:tt)*) => { $then!([F32 => f32]; $($rest)*) };
    ($then:ident f64; $($rest:tt)*) => { $then!([F64 => f64]; $($rest)*) };
    ($then:ident float; $($rest:tt)*) => { $then!([F32 => f32] [F64 => f64]; $($rest)*) };
    ($then:ident any; $($rest:tt)*) => {
        $then!([Bool | I8 | U8 => u8] [I16 | U16 | F16 | BF16 => u16] [I32 | U32 | F32 => u32] [I64 | U64 | F64 => u64]; $($rest)*)
    };
}

/// The bits of a group's dtypes; F32 brings the floats that are computed in it.
macro_rules! set_of {
    ($([$($D:ident)|+ => $t:ty])+;) => { with_halves(0 $($(| 1 << DType::$D as u16)+)+) };
}

/// The loops of a group's dtypes. `T` stands for the type, `R` for the result's.
macro_rules! loops_of {
    ($([$($D:ident)|+ => $t:ty])+; $dtype:ident $args:tt $out:tt $scalar:tt) => {
        match $dtype {
            $($(DType::$D)|+ => Some({
                #[allow(dead_code)]
                type T = $t;
                type R = result_of!($out);
                lift::lift!(@row $args $scalar)
            }),)+
            #[allow(unreachable_patterns)]
            _ => None,
        }
    };
}

macro_rules! result_of {
    ([]) => {
        T
    };
    ([bool]) => {
        bool
    };
}

macro_rules! out_rule {
    ([]) => {
        OutRule::Same
    };
    ([bool]) => {
        OutRule::Bool
    };
}

#[rustfmt::skip]
macro_rules! arity {
    (($a:ident)) => { 1 };
    (($a:ident, $b:ident)) => { 2 };
    (($a:ident $(: $mask:ident)?, $b:ident, $c:ident)) => { 3 };
}

macro_rules! masked {
    (($a:ident: bool $($rest:tt)*)) => {
        true
    };
    ($args:tt) => {
        false
    };
}

macro_rules! first {
    ($first:expr $(, $rest:expr)*) => {
        $first
    };
}

macro_rules! flag {
    (cheap cheap) => {
        true
    };
    (zero_fixed zero_fixed) => {
        true
    };
    ($asked:ident $given:ident) => {
        false
    };
}

/// A static [`OpRow`] of one row.
macro_rules! define_row {
    ([$($doc:literal)*] $name:ident $args:tt $out:tt {
        $($group:ident: $cpu:expr, $cuda:literal $(, when $rare:expr => $slow:expr)?;)+
    } {
        $(numpy $numpy:literal;)?
        $(is $($flag:ident),+;)?
        oracle $($kind:ident: $oracle:expr),+;
        $(range $($range:expr),+;)?
        $(ulp $ulp32:literal, $ulp64:literal;)?
        example $($input:expr),+ => $output:expr;
    }) => {
        $(#[doc = $doc])*
        #[allow(non_upper_case_globals)]
        pub static $name: OpRow = OpRow {
            name: stringify!($name),
            numpy: first!($($numpy,)? stringify!($name)),
            arity: arity!($args),
            masked: masked!($args),
            accepts: 0 $(| group!(set_of $group;))+,
            out: out_rule!($out),
            loops: |dtype| {
                $(
                    let loops = group!(loops_of $group; dtype $args $out ($cpu $(, when $rare => $slow)?));
                    if loops.is_some() {
                        return loops;
                    }
                )+
                None
            },
            cuda: |dtype| match 1 << dtype as u16 {
                $(set if set & group!(set_of $group;) != 0 => Some($cuda),)+
                _ => None,
            },
            ulp: first!($(($ulp32, $ulp64),)? (0.0, 0.0)),
            range: first!($(&[$($range),+],)? &[-100.0..100.0]),
            #[allow(clippy::needless_update)]
            oracle: Oracle { $($kind: Some(oracle::reference!($kind $args $out $oracle)),)+ ..Oracle::NONE },
            zero_fixed: false $($(|| flag!(zero_fixed $flag))+)?,
            cheap: false $($(|| flag!(cheap $flag))+)?,
            doc: concat!($($doc, "\n"),*),
        };
    };
}

/// A static of each row of a chapter.
macro_rules! define {
    ($($(#[$section:meta])* impl $class:ident {$(
        $(#[doc = $doc:literal])*
        $keyword:ident $name:ident $(| $try_name:ident)? ($($args:tt)*) $(-> $out:ident)? { $($loops:tt)* } with $notes:tt
    )*})*) => {
        $($(define_row! { [$($doc)*] $name ($($args)*) [$($out)?] { $($loops)* } $notes })*)*
    };
}

/// The rows of a chapter, as a slice.
macro_rules! list {
    ($($(#[$section:meta])* impl $class:ident {$(
        $(#[$doc:meta])*
        $keyword:ident $name:ident $(| $try_name:ident)? ($($args:tt)*) $(-> $out:ident)? { $($loops:tt)* } with $notes:tt
    )*})*) => {
        &[$($(&row::$name),*),*]
    };
}

/// `set`, with f16 and bf16 if f32 is in it.
const fn with_halves(set: u16) -> u16 {
    if set >> DType::F32 as u16 & 1 == 1 { set | 1 << DType::F16 as u16 | 1 << DType::BF16 as u16 } else { set }
}

/// The rows, under their ops' names.
pub mod row {
    use super::int_div::IntDiv;
    use super::*;

    arithmetic::arithmetic_rows!(define);
    powers::powers_rows!(define);
    explog::explog_rows!(define);
    trig::trig_rows!(define);
    rounding::rounding_rows!(define);
    special::special_rows!(define);
    compare::compare_rows!(define);
    logic_bits::logic_bits_rows!(define);
    select::select_rows!(define);
}

/// Every row, by chapter.
pub static ROWS: [&[OpRef]; 9] = [
    arithmetic::arithmetic_rows!(list),
    powers::powers_rows!(list),
    explog::explog_rows!(list),
    trig::trig_rows!(list),
    rounding::rounding_rows!(list),
    special::special_rows!(list),
    compare::compare_rows!(list),
    logic_bits::logic_bits_rows!(list),
    select::select_rows!(list),
];

/// Every row.
pub fn rows() -> impl Iterator<Item = OpRef> {
    ROWS.iter().flat_map(|chapter| chapter.iter().copied())
}
