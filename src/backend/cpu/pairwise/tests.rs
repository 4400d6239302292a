//! Squared Euclid, which a micro-kernel runs, forced through code.

use super::*;
use crate::backend::cpu::threads::Threads;
use crate::backend::cpu::tile::Bad;
use crate::kernel::{Bind, GemmSpec, Inst, gemm};
use crate::ops::{reduce, row};
use smallvec::smallvec;
use std::sync::Arc;

/// Those of this machine.
fn isas() -> impl Iterator<Item = Isa> {
    [Isa::Portable, Isa::Avx2, Isa::Avx512].into_iter().filter(|&isa| isa <= Isa::detect())
}

/// Sums of squared differences of rows of `x` and `y`, as code or not.
fn squares(x: &[f32], y: &[f32], [n, m, k]: [usize; 3], micro: bool, isa: Isa, reps: usize) -> (Vec<f32>, f64) {
    let bind = |strides: [isize; 2]| Bind { slot: 0, offset: 0, strides: (&strides[..]).into(), gather: None };
    let d = k as isize;
    let operands = [bind([d, 1]), bind([1, d]), bind([m as isize, 1])];
    let (mut ir, launch) = gemm::kernel(&GemmSpec {
        dtype: DType::F32,
        batch: smallvec![],
        m: n,
        n: m,
        k,
        operands: operands.into(),
        blocks: None,
    });
    ir.code[2].op = KOp::Map(&row::sub);
    let over = ir.code[2].over;
    ir.code.insert(3, Inst { op: KOp::Map(&row::square), args: smallvec![2], dtype: DType::F32, over });
    assert!(matches!(ir.code[4].op, KOp::Reduce { reducer, .. } if *reducer == reduce::SUM));
    (ir.code[4].args[0], ir.code[5].args[0]) = (3, 4);
    let kernel = Pairwise::of(find::find(&ir, &launch.extents, micro).unwrap(), &ir, &launch, None, isa).unwrap();
    assert_eq!(kernel.code().is_none(), micro);
    let mut out = vec![f32::NAN; n * m];
    let bases = [x.as_ptr() as usize, y.as_ptr() as usize, out.as_mut_ptr() as usize];
    let (threads, pool, bad) = (Threads::new(2), Arc::default(), Bad::new());
    let args = Args { bases: &bases, params: &[], in_place: false };
    let mut times = vec![];
    for _ in 0..reps {
        let start = std::time::Instant::now();
        kernel.run(&threads, &pool, &args, &bad).unwrap();
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    (out, times[reps / 2])
}

fn values(n: usize, seed: u32) -> Vec<f32> {
    let mut s = seed;
    let mut next = || {
        s = s.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (s >> 8) as f32 / 1e6 - 8.0
    };
    (0..n).map(|_| next()).collect()
}

/// A chain in each segment of 256, segments in their order, a square and its sum rounded once where that is an instruction: the
/// bits of a result.
fn chain(x: &[f32], y: &[f32], isa: Isa) -> f32 {
    let step = |s: f32, d: f32| if isa == Isa::Portable { d * d + s } else { d.mul_add(d, s) };
    let segment = |(x, y): (&[f32], &[f32])| x.iter().zip(y).map(|(a, b)| a - b).fold(0.0, step);
    x.chunks(SEGMENT).zip(y.chunks(SEGMENT)).map(segment).reduce(|a, b| a + b).unwrap_or(0.0)
}

#[test]
fn code_folds_in_the_order_of_micro_kernels() {
    for isa in isas() {
        for [n, m, k] in [
            [1, 1, 1],
            [2, 3, 0],
            [7, 15, 3],
            [8, 16, 4],
            [9, 17, 5],
            [3, 64, 16],
            [17, 65, 17],
            [2, 255, 15],
            [5, 1023, 7],
            [4, 1024, 255],
            [9, 1025, 256],
            [3, 70, 257],
            [2, 33, 1000],
            [33, 2100, 2],
        ] {
            let (x, y) = (values(n * k, 1), values(m * k, 2));
            let (code, _) = squares(&x, &y, [n, m, k], false, isa, 1);
            let (micro, _) = squares(&x, &y, [n, m, k], true, isa, 1);
            for (e, got) in code.iter().zip(&micro).enumerate() {
                let (i, j) = (e / m, e % m);
                let want = chain(&x[i * k..(i + 1) * k], &y[j * k..(j + 1) * k], isa);
                assert_eq!(got, (&want, &want), "{n} x {m} x {k} at {i}, {j} of {isa:?}");
            }
        }
    }
}

/// Blocks of one row and of many, of each combine, type and instruction set: a chain for each result, started and gone on with.
#[test]
fn micro_kernels_are_chains() {
    macro_rules! check {
        ($t:ident, $dtype:expr, $isa:ident, $combine:ident, $n:ident) => {{
            let kernel = micro::kernel_of($combine, $dtype, $isa, $n);
            let (rows, columns) = (kernel.rows, kernel.columns);
            let anywhere = kernel.anywhere;
            let Run::Micro(run, part) = kernel.run else { unreachable!("a micro-kernel") };
            let once = $isa != Isa::Portable;
            let step = |s: $t, x: $t, y: $t| match $combine {
                Combine::Dot if once => x.mul_add(y, s),
                Combine::Dot => x * y + s,
                Combine::SquaredDifference if once => (x - y).mul_add(x - y, s),
                Combine::SquaredDifference => (x - y) * (x - y) + s,
                Combine::Difference => (x - y).abs() + s,
                Combine::MaxDifference => (x - y).abs().max(s),
            };
            let join = |a: $t, b: $t| if $combine == Combine::MaxDifference { a.max(b) } else { a + b };
            for k in [0, 1, 2, 7, 8, 9, 31, 64] {
                let of = |n: usize, seed| values(n, seed).into_iter().map(|v| v as $t).collect::<Vec<$t>>();
                let (pitch, apart) = (columns + 3, columns + 5);
                let (x, y, before) = (&of(k * rows, 1), &of(k * apart + columns, 2), of(rows * pitch, 3));
                let before: Vec<$t> = before.into_iter().map($t::abs).collect();
                let want = |r: usize, c: usize, add: bool| {
                    let part = (0..k).fold(0.0, |s, l| step(s, x[l * rows + r], y[l * apart + c]));
                    if add { join(before[r * pitch + c], part) } else { part }
                };
                // The same rows, one behind the other.
                let turned: Vec<$t> = (0..rows * k).map(|e| x[e % k * rows + e / k]).collect();
                let packed = Rows { at: x.as_ptr().cast(), row: 1, step: rows };
                let lying = Rows { at: turned.as_ptr().cast(), row: k, step: 1 };
                let both = [(false, packed), (true, packed), (false, lying), (true, lying)];
                for &(add, rows) in &both[..if anywhere { 4 } else { 2 }] {
                    let mut out = before.clone();
                    let (p, q) = (out.as_mut_ptr(), out.as_ptr());
                    // SAFETY: the operands hold `k` steps, the results are `rows` rows `pitch` apart.
                    unsafe { run(k, rows, y.as_ptr().cast(), apart, p.cast(), pitch, add, q.cast(), 0) };
                    for (e, got) in out.iter().enumerate() {
                        let (r, c) = (e / pitch, e % pitch);
                        let want = if c < columns { want(r, c, add) } else { before[e] };
                        assert_eq!(
                            *got, want,
                            "{:?} of {}, {k} steps, {add}, at {r}, {c}, {:?}",
                            $combine, $dtype, $isa
                        );
                    }
                    let (Some(part), 1..) = (part, k) else { continue };
                    let (mut chain, mut out) = (vec![0.0 as $t; columns], before.clone());
                    for l in (0..k).step_by(3) {
                        let (steps, ends) = (3.min(k - l), l + 3 >= k);
                        let (x, y) = (x[l..].as_ptr().cast(), y[l * apart..].as_ptr().cast());
                        let (chain, out) = (chain.as_mut_ptr().cast(), out.as_mut_ptr().cast());
                        // SAFETY: as above; the chain has a value for each column.
                        unsafe { part(steps, x, y, apart, chain, out, l == 0, ends, add) };
                    }
                    for (c, got) in out[..columns].iter().enumerate() {
                        assert_eq!(
                            *got,
                            want(0, c, add),
                            "{:?} in parts, {k} steps, {add}, at {c}, {:?}",
                            $combine,
                            $isa
                        );
                    }
                }
            }
        }};
    }
    use micro::Combine;
    for isa in isas() {
        for combine in [Combine::Dot, Combine::SquaredDifference, Combine::Difference, Combine::MaxDifference] {
            for n in [1, 8, 100, 1000] {
                check!(f32, DType::F32, isa, combine, n);
                check!(f64, DType::F64, isa, combine, n);
            }
        }
    }
}

#[test]
fn packing_transposes() {
    fn check<T: Copy + Default + PartialEq + std::fmt::Debug + From<u8>>(isa: Isa) {
        for width in [1, 4, 6, 8, 12, 16, 24, 32, 64] {
            for (rows, lanes) in [(width, 29), (width, 150), (width, 8), (width, 3), (width - 1, 16)] {
                for (row, lane) in [(lanes + 2, 1), (1, rows + 1), (2 * lanes, 2)] {
                    let from: Vec<T> = (0..(rows * row + lanes * lane + 1)).map(|e| T::from((e % 251) as u8)).collect();
                    let mut to = vec![T::from(255); lanes * width];
                    let (r, l) = (row as isize, lane as isize);
                    // SAFETY: both are as long as that.
                    unsafe { transpose(isa, from.as_ptr(), l, r, rows, lanes, to.as_mut_ptr(), width) };
                    for (e, v) in to.iter().enumerate() {
                        let (l, r) = (e / width, e % width);
                        let want = if r < rows { from[r * row + l * lane] } else { T::default() };
                        assert_eq!(*v, want, "{width} x {lanes} of {rows}, {row} and {lane} apart, {isa:?}");
                    }
                }
            }
        }
    }
    for isa in isas() {
        check::<u8>(isa);
        check::<u16>(isa);
        check::<u32>(isa);
        check::<u64>(isa);
    }
}

/// `cargo test --release --lib as_code -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn time_of_squared_euclid_as_code() {
    for size in [[2000, 2000, 64], [4000, 4000, 128], [2000, 2000, 3], [1000, 1000, 1024]] {
        let (x, y) = (values(size[0] * size[2], 1), values(size[1] * size[2], 2));
        let [code, micro] = [false, true].map(|micro| squares(&x, &y, size, micro, Isa::detect(), 11).1 * 1e3);
        println!("{size:?}: as code {code:.2} ms, by the micro-kernel {micro:.2} ms, {:.2} times", code / micro);
    }
}

/// Packs every shape of panel, whole and not, and looks for what was written beyond it.
fn packs<T: Copy + Default + PartialEq + std::fmt::Debug>(value: impl Fn(usize) -> T) {
    const PITCH: usize = 70;
    let from: Vec<T> = (0..PITCH * PITCH).map(&value).collect();
    for (isa, width) in isas().flat_map(|i| [1, 4, 6, 12, 32].map(|w| (i, w))) {
        for (rows, lanes) in (1..=width).flat_map(|r| [1, 7, 8, 19].map(|l| (r, l))) {
            for (lane, row) in [(1, PITCH), (PITCH, 1)] {
                let mut to = vec![value(9); lanes * width + 8];
                // SAFETY: `PITCH` is more than any of them, and the set is there.
                unsafe {
                    transpose(isa, from.as_ptr(), lane as isize, row as isize, rows, lanes, to.as_mut_ptr(), width);
                }
                let want = |e: usize| match (e / width, e % width) {
                    (l, _) if l >= lanes => value(9),
                    (_, r) if r >= rows => T::default(),
                    (l, r) => from[r * row + l * lane],
                };
                let right = to.iter().enumerate().all(|(e, &v)| v == want(e));
                assert!(right, "{isa:?}, {rows} of {width} rows, {lanes} lanes, {lane} apart: {to:?}");
            }
        }
    }
}

#[test]
fn panels_hold_their_rows_and_zeros() {
    packs(|n| n as u16 + 1);
    packs(|n| n as u32 + 1);
    packs(|n| n as u64 + 1);
}
