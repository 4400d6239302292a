//! The numbers of the interpreter's instructions, and the parts of its C++ text that follow from the op tables.
//!
//! `kernels/generated/interp_ops.cuh` is [`text`], kept current by a test: `NDCUDA_BLESS=1 cargo test shipped` writes it anew.

use crate::dtype::DType;
use crate::ops::reduce::{self, ReducerRef};
use crate::ops::{self, OpRef};

/// Instructions that are no rows of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub(super) enum Op {
    End,
    Loop,
    Next,
    Load,
    Store,
    Param,
    RoundF16,
    RoundBf16,
    Init,
    Step,
    Join,
    Publish,
    Last,
    Collect,
    Finish,
}

/// Loops within loops, at most.
pub(super) const DEPTH: usize = 8;
/// The first cast: `CAST + from * 16 + to`.
const CAST: u16 = 256;
/// The first row of the op table: `MAP + dtype * 128 + row`.
const MAP: u16 = 1024;

/// What a register holds of a dtype: integers have 64 bits, and are wrapped to their own width after each op.
pub(super) const fn register(dtype: DType) -> DType {
    match dtype {
        d if d.is_signed_int() => DType::I64,
        d if d.is_unsigned() => DType::U64,
        d => d.compute(),
    }
}

/// What registers hold.
#[cfg(test)]
const REGISTERS: [DType; 5] = [DType::Bool, DType::I64, DType::U64, DType::F32, DType::F64];

/// A row on registers of a dtype; `None` where it has no CUDA text.
pub(super) fn map(row: OpRef, dtype: DType) -> Option<u16> {
    let at = ops::rows().position(|r| r == row)?;
    (row.cuda)(dtype)?;
    Some(MAP + dtype as u16 * 128 + at as u16)
}

/// A conversion of a register; to an integer it wraps to that width.
pub(super) fn cast(from: DType, to: DType) -> u16 {
    CAST + from as u16 * 16 + to as u16
}

/// A reducer on registers of a dtype; `None` where it does not run on it.
pub(super) fn fold(reducer: ReducerRef, dtype: DType) -> Option<u64> {
    let at = reduce::ROWS.iter().position(|r| *r == reducer)?;
    reducer.takes(dtype).then_some(dtype as u64 * 16 + at as u64)
}

/// Words of a reducer's state.
pub(super) fn state_words(reducer: ReducerRef) -> u16 {
    reducer.cuda_state.matches(';').count() as u16
}

/// The file.
#[cfg(test)]
pub(super) fn text() -> String {
    use Op::*;
    use std::fmt::Write;
    let upper = |d: DType| d.name().to_uppercase();
    let mut out = String::from(
        "// Generated from the op tables: `NDCUDA_BLESS=1 cargo test shipped` writes it anew. What a part is for stands in interp.cuh.\n\n",
    );
    // Writing to a String cannot fail.
    let mut line = |text: String| writeln!(out, "{text}").unwrap_or_default();

    line("#if defined(ND_CODES)".into());
    let plain = [
        (End, "END"),
        (Loop, "LOOP"),
        (Next, "NEXT"),
        (Load, "LOAD"),
        (Store, "STORE"),
        (Param, "PARAM"),
        (RoundF16, "ROUND_F16"),
        (RoundBf16, "ROUND_BF16"),
        (Init, "INIT"),
        (Step, "STEP"),
        (Join, "JOIN"),
        (Publish, "PUBLISH"),
        (Last, "LAST"),
        (Collect, "COLLECT"),
        (Finish, "FINISH"),
    ];
    for (op, name) in plain {
        line(format!("#define ND_{name} {}", op as u16));
    }
    line(format!("#define ND_DEPTH {DEPTH}"));

    line("\n#elif defined(ND_REDUCERS)".into());
    for r in reduce::ROWS {
        line(format!("template <class V, class O> struct nd_{} {{", r.name));
        line("    typedef V T;".into());
        line("    typedef O Out;".into());
        line(format!("    struct State {{ {} }};", r.cuda_state));
        line(format!("    static ND void init(State& acc) {{ {} }}", r.cuda_init));
        line(format!("    static ND void step(State& acc, T v, i64 k) {{ {} }}", r.cuda_step));
        line(format!("    static ND void merge(State& acc, const State& from) {{ {} }}", r.cuda_merge));
        line(format!(
            "    static ND Out finish(const State& acc, i64 seen) {{ Out out; {} return out; }}",
            r.cuda_finish
        ));
        line("};".into());
        for d in REGISTERS.into_iter().filter(|&d| r.takes(d)) {
            line(format!("typedef nd_{}<{d}, {}> nd_{}_{d};", r.name, (r.out)(d), r.name));
        }
    }

    line("\n#elif defined(ND_FOLD)".into());
    for d in REGISTERS {
        line(format!("#ifdef ND_OPS_{}", upper(d)));
        for r in reduce::ROWS {
            if let Some(code) = fold(r, d) {
                line(format!("ND_FOLD({code}, nd_{}_{d})", r.name));
            }
        }
        line("#endif".into());
    }

    line("\n#else".into());
    for d in REGISTERS {
        line(format!("#ifdef ND_OPS_{}", upper(d)));
        for row in ops::rows() {
            let (Some(code), Some(text)) = (map(row, d), (row.cuda)(d)) else { continue };
            let types: String = (0..row.arity as usize).map(|i| format!(", {}", row.operand(i, d))).collect();
            let (arity, small, out) = (row.arity, row.cheap, row.result(d));
            line(format!("ND_OP{arity}({code}, {small}, {out}{types}, {text}) // {}", row.name));
        }
        line("#endif".into());
    }
    for from in REGISTERS {
        line(format!("#ifdef ND_CASTS_{}", upper(from)));
        for to in DType::ALL.into_iter().filter(|&to| to != from) {
            let (code, half) = (cast(from, to), if to.compute() == to { "" } else { "_HALF" });
            line(format!("#ifdef ND_CASTS_{}", upper(register(to))));
            line(format!("ND_CAST{half}({code}, {from}, {to})"));
            line("#endif".into());
        }
        line("#endif".into());
    }
    line("#endif".into());
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn shipped_codes_are_distinct() {
        let mut seen = BTreeSet::new();
        assert!(ops::rows().count() <= 128);
        for d in REGISTERS {
            for code in ops::rows().filter_map(|r| map(r, d)).chain(DType::ALL.map(|to| cast(d, to))) {
                assert!(code > Op::Finish as u16 && seen.insert(code), "{code}");
            }
        }
        for r in reduce::ROWS {
            assert!((1..=3).contains(&state_words(r)), "{}", r.name);
        }
    }
}
