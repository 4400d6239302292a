//! Every row's loops, on every ISA of this machine, against its oracle; the rules at the edges; casts.

mod casts;
mod edges;
mod values;

use super::{Isa, Loops, OpRef, Oracle, OutRule, rows};
use crate::dtype::DType;
use values::{Values, close, operands};

/// The ISAs this machine can run.
fn isas() -> impl Iterator<Item = Isa> {
    [Isa::Portable, Isa::Avx2, Isa::Avx512].into_iter().filter(|&isa| isa <= Isa::detect())
}

/// The result of a loop over all of `args`.
fn run(loops: Loops, isa: Isa, args: &[&Values], out: DType) -> Values {
    let n = args[0].len();
    let mut result = Values::filled(out, n);
    let mut pointers = [std::ptr::null(); 3];
    for (pointer, arg) in pointers.iter_mut().zip(args) {
        assert_eq!(arg.len(), n);
        *pointer = arg.bytes().as_ptr();
    }
    // SAFETY: the operands and the result have n elements each, aligned to 8 bytes; `isas` gives what the machine has.
    unsafe { loops.get(isa)(&pointers, result.bytes_mut().as_mut_ptr(), n) };
    result
}

fn run_row(row: OpRef, dtype: DType, isa: Isa, args: &[&Values]) -> Values {
    let loops = (row.loops)(dtype).unwrap_or_else(|| panic!("{row:?} has no loop for {dtype}"));
    run(loops, isa, args, row.result(dtype))
}

#[test]
fn rows_are_whole() {
    let mut names = std::collections::HashSet::new();
    for row in rows() {
        assert!(names.insert(row.name), "two rows are called {row:?}");
        assert!(row.accepts != 0 && !row.doc.is_empty());
        for dtype in DType::ALL {
            let computed = row.takes(dtype) && (dtype.compute() == dtype || row.masked);
            assert_eq!((row.loops)(dtype).is_some(), computed, "{row:?} {dtype}");
            assert_eq!((row.cuda)(dtype).is_some(), row.takes(dtype), "{row:?} {dtype}");
            if row.takes(dtype) {
                let Oracle { float, int } = row.oracle;
                let oracle = if dtype.is_float() { float.is_some() } else { int.is_some() };
                assert!(oracle, "{row:?} has no oracle for {dtype}");
            }
            if row.takes(DType::F32) {
                assert!(row.takes(DType::F16) && row.takes(DType::BF16));
            }
        }
    }
}

#[test]
fn loops_do_what_the_oracles_say() {
    let mut wrong = Vec::new();
    for row in rows() {
        // The 16-bit types have loops only where bits are moved.
        for dtype in DType::ALL.into_iter().filter(|&d| row.takes(d) && d.compute() == d) {
            let args = operands(row, dtype);
            let refs: Vec<_> = args.iter().collect();
            for isa in isas() {
                let got = run_row(row, dtype, isa, &refs);
                let first = (0..got.len()).find_map(|i| Some((i, check(row, dtype, &refs, &got, i).err()?)));
                if let Some((i, why)) = first {
                    let given: Vec<_> = args.iter().map(|a| a.show(i)).collect();
                    wrong.push(format!("{row:?} {dtype} {isa:?} of {}: {why}", given.join(", ")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn check(row: OpRef, dtype: DType, args: &[&Values], got: &Values, i: usize) -> Result<(), String> {
    if dtype.is_float() {
        let mut x = [0.0; 3];
        x.iter_mut().zip(args).for_each(|(x, a)| *x = a.float(i));
        let want = (row.oracle.float.unwrap())(x);
        if row.out == OutRule::Bool {
            return (got.float(i) == want).then_some(()).ok_or(format!("{} not {want}", got.show(i)));
        }
        let bound = if dtype == DType::F32 { row.ulp.0 } else { row.ulp.1 };
        close(dtype, got.float(i), want, f64::from(bound))
    } else {
        let mut x = [0; 3];
        x.iter_mut().zip(args).for_each(|(x, a)| *x = a.int(i));
        let want = (row.oracle.int.unwrap())(x);
        let mut wrapped = Values::filled(got.dtype, 1);
        wrapped.set_int(0, want);
        (got.int(i) == wrapped.int(0)).then_some(()).ok_or(format!("{} not {}", got.show(i), wrapped.show(0)))
    }
}

#[test]
fn every_length_gives_the_same_bits_and_no_more() {
    for row in rows() {
        for dtype in DType::ALL.into_iter().filter(|&d| (row.loops)(d).is_some()) {
            let whole = operands(row, dtype);
            for isa in isas() {
                let long: Vec<_> = whole.iter().map(|a| a.head(201)).collect();
                let want = run_row(row, dtype, isa, &long.iter().collect::<Vec<_>>());
                for n in (0..20).chain([31, 33, 63, 64, 65, 127, 130, 199]) {
                    let short: Vec<_> = whole.iter().map(|a| a.head(n)).collect();
                    let got = run_row(row, dtype, isa, &short.iter().collect::<Vec<_>>());
                    assert!(got.same_bits(&want.head(n)), "{row:?} {dtype} {isa:?} n={n}");
                    assert!(got.guard_is_intact(), "{row:?} {dtype} {isa:?} n={n} wrote past its end");
                }
            }
        }
    }
}

#[test]
fn exact_rows_have_the_same_bits_on_every_isa() {
    for row in rows().filter(|row| row.ulp == (0.0, 0.0)) {
        for dtype in DType::ALL.into_iter().filter(|&d| (row.loops)(d).is_some()) {
            let args = operands(row, dtype);
            let refs: Vec<_> = args.iter().collect();
            let want = run_row(row, dtype, Isa::Portable, &refs);
            for isa in isas() {
                let got = run_row(row, dtype, isa, &refs);
                assert!(got.same_but_nan(&want), "{row:?} {dtype} {isa:?}");
            }
        }
    }
}

#[test]
fn zero_fixed_is_true_of_the_loops() {
    for row in rows() {
        let mut fixed = true;
        for dtype in DType::ALL.into_iter().filter(|&d| (row.loops)(d).is_some()) {
            let zeros: Vec<_> = (0..row.arity as usize).map(|i| Values::zeros(row.operand(i, dtype), 1)).collect();
            let got = run_row(row, dtype, Isa::detect(), &zeros.iter().collect::<Vec<_>>());
            fixed &= if dtype.is_float() { got.float(0) == 0.0 } else { got.int(0) == 0 };
        }
        // What holds for integers only (division) is not claimed.
        assert!(fixed || !row.zero_fixed, "{row:?}: zeros do not give zero");
        assert!(row.zero_fixed || !fixed, "{row:?} could say zero_fixed");
    }
}
