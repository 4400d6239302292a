//! The loops against naive definitions: every reducer, dtype, ISA of this machine, ragged lengths, NaNs, ties and splits.

use super::*;
use std::fmt::Debug;

const LENGTHS: [usize; 12] = [0, 1, 2, 15, 16, 17, 63, 64, 65, 129, 300, 1000];

fn isas() -> Vec<usize> {
    #[allow(unused_mut)]
    let mut isas = vec![Isa::Portable as usize];
    #[cfg(target_arch = "x86_64")]
    {
        if ["avx2", "fma", "f16c", "bmi2"].iter().all(|f| has(f)) {
            isas.push(Isa::Avx2 as usize);
            if ["avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512cd"].iter().all(|f| has(f)) {
                isas.push(Isa::Avx512 as usize);
            }
        }
    }
    isas
}

#[cfg(target_arch = "x86_64")]
fn has(feature: &str) -> bool {
    match feature {
        "avx2" => is_x86_feature_detected!("avx2"),
        "fma" => is_x86_feature_detected!("fma"),
        "f16c" => is_x86_feature_detected!("f16c"),
        "bmi2" => is_x86_feature_detected!("bmi2"),
        "avx512f" => is_x86_feature_detected!("avx512f"),
        "avx512bw" => is_x86_feature_detected!("avx512bw"),
        "avx512dq" => is_x86_feature_detected!("avx512dq"),
        "avx512vl" => is_x86_feature_detected!("avx512vl"),
        "avx512cd" => is_x86_feature_detected!("avx512cd"),
        _ => false,
    }
}

/// States of some lanes, filled by the loops of one reducer for one ISA.
#[derive(Clone)]
struct States {
    loops: ReduceLoops,
    isa: usize,
    lanes: usize,
    seen: i64,
    /// Room for an 8-byte value a lane.
    s0: Vec<u64>,
    s1: Vec<u64>,
}

impl States {
    fn new(row: ReducerRef, dtype: DType, isa: usize, lanes: usize) -> States {
        let loops = (row.loops)(dtype).unwrap();
        let mut s = States { loops, isa, lanes, seen: 0, s0: vec![0x55; lanes.max(1)], s1: vec![0x55; lanes.max(1)] };
        // SAFETY: 8 bytes for each lane.
        unsafe { (loops.init)(s.s0.as_mut_ptr().cast(), s.s1.as_mut_ptr().cast(), lanes) };
        s
    }

    fn rows<T>(&mut self, tile: &[T]) {
        let (s0, s1) = (self.s0.as_mut_ptr().cast(), self.s1.as_mut_ptr().cast());
        // SAFETY: the tile is a slice, the states have a lane, the ISA is one of this machine.
        unsafe { (self.loops.rows[self.isa])(tile.as_ptr().cast(), tile.len(), self.seen, self.seen, s0, s1) };
        self.seen += tile.len() as i64;
    }

    fn cols<T>(&mut self, tile: &[T]) {
        let (s0, s1) = (self.s0.as_mut_ptr().cast(), self.s1.as_mut_ptr().cast());
        assert_eq!(tile.len(), self.lanes);
        // SAFETY: as many lanes as values, the ISA is one of this machine.
        unsafe { (self.loops.cols[self.isa])(tile.as_ptr().cast(), self.lanes, self.seen, self.seen, s0, s1) };
        self.seen += 1;
    }

    fn block<T>(&mut self, tile: &[T], rows: usize, pitch: usize) {
        let (s0, s1) = (self.s0.as_mut_ptr().cast(), self.s1.as_mut_ptr().cast());
        assert!(rows == 0 || (rows - 1) * pitch + self.lanes <= tile.len());
        let (p, seen) = (tile.as_ptr().cast(), self.seen);
        // SAFETY: the rows are within the slice, the ISA is one of this machine.
        unsafe { (self.loops.cols_block[self.isa])(p, rows, self.lanes, pitch, seen, seen, s0, s1) };
        self.seen += rows as i64;
    }

    fn merge(&mut self, from: &States) {
        let (i0, i1) = (self.s0.as_mut_ptr().cast(), self.s1.as_mut_ptr().cast());
        let (f0, f1) = (from.s0.as_ptr().cast(), from.s1.as_ptr().cast());
        // SAFETY: equally many lanes, the ISA is one of this machine.
        unsafe { (self.loops.merge[self.isa])(self.lanes, self.seen, from.seen, i0, i1, f0, f1) };
        self.seen += from.seen;
    }

    fn finish<O: Copy + Default>(&self) -> Vec<O> {
        let mut out = vec![O::default(); self.lanes];
        let (s0, s1) = (self.s0.as_ptr().cast(), self.s1.as_ptr().cast());
        // SAFETY: O is the result type, and there is one for each lane.
        unsafe { (self.loops.finish)(self.lanes, self.seen, s0, s1, out.as_mut_ptr().cast()) };
        out
    }
}

/// One contiguous fold of all values, as one tile.
fn whole<T, O: Copy + Default>(row: ReducerRef, dtype: DType, isa: usize, values: &[T]) -> O {
    let mut s = States::new(row, dtype, isa, 1);
    s.rows(values);
    s.finish()[0]
}

/// Results of every way to cut `values` that must not change an exact result: tiles into one state, merged states, and columns.
fn every_way<T: Copy, O: Copy + Default>(row: ReducerRef, dtype: DType, isa: usize, values: &[T]) -> Vec<O> {
    let mut out = vec![whole(row, dtype, isa, values)];
    for cut in [1, 7, 64, 100] {
        let mut one = States::new(row, dtype, isa, 1);
        let mut merged = States::new(row, dtype, isa, 1);
        for tile in values.chunks(cut) {
            one.rows(tile);
            let mut part = States::new(row, dtype, isa, 1);
            // Indices count from the start of k.
            part.seen = merged.seen;
            let (s0, s1) = (part.s0.as_mut_ptr().cast(), part.s1.as_mut_ptr().cast());
            // SAFETY: the tile is a slice, the states have a lane.
            unsafe { (part.loops.rows[isa])(tile.as_ptr().cast(), tile.len(), merged.seen, 0, s0, s1) };
            part.seen = tile.len() as i64;
            merged.merge(&part);
        }
        merged.merge(&States::new(row, dtype, isa, 1));
        out.extend([one.finish::<O>()[0], merged.finish::<O>()[0]]);
    }
    let mut column = States::new(row, dtype, isa, 1);
    values.iter().for_each(|v| column.cols(std::slice::from_ref(v)));
    let mut block = States::new(row, dtype, isa, 1);
    block.block(values, values.len(), 1);
    out.extend([column.finish::<O>()[0], block.finish::<O>()[0]]);
    out
}

/// A fixed scramble of `i`.
fn noise(i: usize) -> u64 {
    let x = (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (x ^ (x >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9)
}

fn is_nan<T: PartialOrd>(v: &T) -> bool {
    v.partial_cmp(v).is_none()
}

/// Index of NumPy's argmin (`up`) or argmax.
fn naive_arg<T: PartialOrd>(values: &[T], up: bool) -> usize {
    if let Some(at) = values.iter().position(is_nan) {
        return at;
    }
    let mut best = 0;
    for (i, v) in values.iter().enumerate() {
        if if up { *v < values[best] } else { *v > values[best] } {
            best = i;
        }
    }
    best
}

/// Min, max, argmin and argmax of one dtype, over lists of many shapes.
fn check_ordered<T: Copy + PartialOrd + Default + Debug>(dtype: DType, lists: &[Vec<T>]) {
    for values in lists.iter().filter(|v| !v.is_empty()) {
        for isa in isas() {
            for (value, index, up) in [(&MIN, &ARGMIN, true), (&MAX, &ARGMAX, false)] {
                let at = naive_arg(values, up);
                for got in every_way::<T, T>(value, dtype, isa, values) {
                    let same = got == values[at] || (is_nan(&got) && is_nan(&values[at]));
                    assert!(same, "{value:?} {dtype} isa {isa}: {got:?} at {at} of {values:?}");
                }
                for got in every_way::<T, i64>(index, dtype, isa, values) {
                    assert_eq!(got, at as i64, "{index:?} {dtype} isa {isa} of {values:?}");
                }
            }
        }
    }
}

#[test]
fn order_of_integers() {
    fn lists<T: Copy>(from: impl Fn(u64) -> T, ends: [T; 2]) -> Vec<Vec<T>> {
        let mut lists = Vec::new();
        for n in LENGTHS {
            lists.push((0..n).map(|i| from(noise(i))).collect());
            // Few values: many ties.
            lists.push((0..n).map(|i| from(noise(i) % 3)).collect());
            for end in ends {
                let mut v: Vec<T> = (0..n).map(|i| from(noise(i) % 2)).collect();
                if n > 3 {
                    (v[n / 2], v[n - 2]) = (end, end);
                }
                lists.push(v);
            }
        }
        lists
    }
    check_ordered(DType::Bool, &lists(|x| (x & 1) as u8, [0, 1]));
    check_ordered(DType::I8, &lists(|x| x as i8, [i8::MIN, i8::MAX]));
    check_ordered(DType::I16, &lists(|x| x as i16, [i16::MIN, i16::MAX]));
    check_ordered(DType::I32, &lists(|x| x as i32, [i32::MIN, i32::MAX]));
    check_ordered(DType::I64, &lists(|x| x as i64, [i64::MIN, i64::MAX]));
    check_ordered(DType::U8, &lists(|x| x as u8, [u8::MIN, u8::MAX]));
    check_ordered(DType::U16, &lists(|x| x as u16, [u16::MIN, u16::MAX]));
    check_ordered(DType::U32, &lists(|x| x as u32, [u32::MIN, u32::MAX]));
    check_ordered(DType::U64, &lists(|x| x, [u64::MIN, u64::MAX]));
}

#[test]
fn order_of_floats() {
    fn lists<T: Copy>(from: impl Fn(f64) -> T) -> Vec<Vec<T>> {
        let random = |n: usize| (0..n).map(|i| noise(i) as i64 as f64).collect::<Vec<_>>();
        let mut lists = Vec::new();
        for n in LENGTHS {
            lists.push(random(n));
            lists.push((0..n).map(|i| if noise(i) & 1 == 0 { 0.0 } else { -0.0 }).collect());
            lists.push(vec![f64::INFINITY; n]);
            lists.push(vec![f64::NEG_INFINITY; n]);
            lists.push(vec![f64::NAN; n]);
            // One NaN, and two, of either sign.
            for at in [0, n / 3, n.saturating_sub(1)] {
                for nan in [f64::NAN, -f64::NAN] {
                    let mut v = random(n);
                    if at < n {
                        v[at] = nan;
                        lists.push(v.clone());
                        v[n - 1] = f64::NAN;
                        lists.push(v);
                    }
                }
            }
        }
        lists.iter().map(|v| v.iter().map(|&x| from(x)).collect()).collect()
    }
    check_ordered(DType::F32, &lists(|x| x as f32));
    check_ordered(DType::F64, &lists(|x| x));
}

#[test]
fn any_and_all() {
    for n in LENGTHS {
        for at in 0..n.max(1) {
            for (common, rare) in [(0u8, 1u8), (1, 0)] {
                let mut v = vec![common; n];
                if at < n {
                    v[at] = rare;
                }
                for isa in isas() {
                    assert_eq!(whole::<_, u8>(&ANY, DType::Bool, isa, &v), u8::from(v.contains(&1)));
                    assert_eq!(whole::<_, u8>(&ALL, DType::Bool, isa, &v), u8::from(!v.contains(&0)));
                }
            }
        }
    }
}

#[test]
fn integer_sums_wrap() {
    for n in LENGTHS {
        let v: Vec<u64> = (0..n).map(|i| noise(i) | 1).collect();
        let sum = v.iter().fold(0u64, |a, &b| a.wrapping_add(b));
        let product = v.iter().fold(1u64, |a, &b| a.wrapping_mul(b));
        for dtype in [DType::I64, DType::U64] {
            for isa in isas() {
                assert!(every_way::<_, u64>(&SUM, dtype, isa, &v).iter().all(|&x| x == sum));
                assert!(every_way::<_, u64>(&PROD, dtype, isa, &v).iter().all(|&x| x == product));
            }
        }
    }
}

/// The promised order of a contiguous fold, as plain as it can be said: accumulators of tiles, tiles in a tree, accumulators in a tree.
fn in_order<T: Copy>(v: &[T], neutral: T, step: impl Fn(T, T) -> T + Copy) -> T {
    let tile = |v: &[T]| {
        let whole = v.len() / 64 * 64;
        let mut acc = [neutral; 64];
        for (e, &x) in v.iter().enumerate() {
            // What is left over ends in the last accumulator, unless there is nothing else.
            let a = if e < whole || whole == 0 { e % 64 } else { 64 - (v.len() - e) };
            acc[a] = step(acc[a], x);
        }
        acc
    };
    let mut nodes: Vec<[T; 64]> = v.chunks(TILE).map(tile).collect();
    while nodes.len() > 1 {
        let pair = |p: &[[T; 64]]| std::array::from_fn(|l| if p.len() > 1 { step(p[0][l], p[1][l]) } else { p[0][l] });
        nodes = nodes.chunks(2).map(pair).collect();
    }
    let Some(mut acc) = nodes.pop() else { return neutral };
    for half in [32, 16, 8, 4, 2, 1] {
        for l in 0..half {
            acc[l] = step(acc[l], acc[l + half]);
        }
    }
    acc[0]
}

/// Contiguous values as the leaves of a tree, given in calls of `call` leaves each.
fn grown<T: Copy + Default>(row: ReducerRef, dtype: DType, isa: usize, values: &[T], call: usize) -> T {
    let mut s = States::new(row, dtype, isa, 1);
    let (tree, width) = (s.loops.tree.unwrap(), values.len().min(LANES));
    let leaves = values.len().div_ceil(TILE);
    let mut open = vec![0u64; Tree::nodes(leaves) * width];
    for (n, part) in values.chunks(call * TILE).enumerate() {
        // SAFETY: the part is a slice, the tree has room for all leaves.
        unsafe { (tree.leaves[isa])(part.as_ptr().cast(), part.len(), n * call, width, open.as_mut_ptr().cast()) };
    }
    // SAFETY: the tree has these leaves, the state a lane.
    unsafe { (tree.close[isa])(leaves, width, open.as_ptr().cast(), s.s0.as_mut_ptr().cast()) };
    s.seen = values.len() as i64;
    s.finish()[0]
}

#[test]
fn float_sums_keep_their_order() {
    let wild = |i: usize| noise(i) as i64 as f64 * 2f64.powi((noise(i + 7) % 40) as i32 - 80);
    for n in LENGTHS.into_iter().chain([1023, 1024]) {
        let v: Vec<f64> = (0..n).map(wild).collect();
        let w: Vec<f32> = v.iter().map(|&x| x as f32).collect();
        let near: Vec<f32> = (0..n).map(|i| 1.0 + (noise(i) >> 40) as f32 * 1e-9).collect();
        for isa in isas() {
            let sum: f64 = whole(&SUM, DType::F64, isa, &v);
            assert_eq!(sum.to_bits(), in_order(&v, 0.0, |a, b| a + b).to_bits());
            let sum: f32 = whole(&SUM, DType::F32, isa, &w);
            assert_eq!(sum.to_bits(), in_order(&w, 0.0, |a, b| a + b).to_bits());
            let product: f32 = whole(&PROD, DType::F32, isa, &near);
            assert_eq!(product.to_bits(), in_order(&near, 1.0, |a, b| a * b).to_bits());
        }
    }
    for n in LENGTHS.into_iter().filter(|&n| n > 0).chain([1023, 1024, 1025, 2048, 5000, 7 * 1024, 21_111]) {
        let v: Vec<f64> = (0..n).map(wild).collect();
        let w: Vec<f32> = v.iter().map(|&x| x as f32).collect();
        for (isa, call) in isas().into_iter().flat_map(|isa| [1, 2, 3, 100].map(|call| (isa, call))) {
            let sum: f64 = grown(&SUM, DType::F64, isa, &v, call);
            assert_eq!(sum.to_bits(), in_order(&v, 0.0, |a, b| a + b).to_bits(), "{n} by {call}");
            let sum: f32 = grown(&SUM, DType::F32, isa, &w, call);
            assert_eq!(sum.to_bits(), in_order(&w, 0.0, |a, b| a + b).to_bits(), "{n} by {call}");
        }
    }
}

/// Short rows of several steps: a tree of as many accumulators as a row has values.
#[test]
fn narrow_trees_are_trees_of_lanes() {
    for (width, leaves) in [(1usize, 13usize), (3, 7), (17, 32), (63, 5)] {
        let rows: Vec<f32> = (0..width * leaves).map(|i| noise(i) as i64 as f32).collect();
        for isa in isas() {
            let mut s = States::new(&SUM, DType::F32, isa, 1);
            let tree = s.loops.tree.unwrap();
            let mut open = vec![0f32; Tree::nodes(leaves) * width];
            for (leaf, row) in rows.chunks(width).enumerate() {
                // SAFETY: the row is a slice, the tree has room for all leaves.
                unsafe { (tree.leaves[isa])(row.as_ptr().cast(), width, leaf, width, open.as_mut_ptr().cast()) };
            }
            // SAFETY: the tree has these leaves, the state a lane.
            unsafe { (tree.close[isa])(leaves, width, open.as_ptr().cast(), s.s0.as_mut_ptr().cast()) };
            s.seen = rows.len() as i64;
            let mut nodes: Vec<Vec<f32>> = rows.chunks(width).map(<[f32]>::to_vec).collect();
            while nodes.len() > 1 {
                let pair = |p: &[Vec<f32>]| match p {
                    [a, b] => a.iter().zip(b).map(|(a, b)| a + b).collect(),
                    _ => p[0].clone(),
                };
                nodes = nodes.chunks(2).map(pair).collect();
            }
            assert_eq!(s.finish::<f32>()[0].to_bits(), in_order(&nodes[0], -0.0, |a, b| a + b).to_bits(), "{width}");
        }
    }
}

#[test]
fn signs_of_zero_and_nan() {
    for isa in isas() {
        assert_eq!(whole::<f32, f32>(&SUM, DType::F32, isa, &[]).to_bits(), 0);
        assert_eq!(whole::<f32, f32>(&PROD, DType::F32, isa, &[]), 1.0);
        for n in [1, 10, 100] {
            for sum in every_way::<_, f32>(&SUM, DType::F32, isa, &vec![-0.0f32; n]) {
                assert_eq!(sum.to_bits(), (-0.0f32).to_bits());
            }
            let mut v = vec![-f32::NAN; n];
            v[n / 2] = f32::INFINITY;
            v[n - 1] = f32::from_bits(0x7fc0_1234);
            for row in [&SUM, &PROD, &MIN, &MAX, &MOMENTS] {
                for got in every_way::<_, f32>(row, DType::F32, isa, &v) {
                    assert_eq!(got.to_bits(), f32::NAN.to_bits(), "{row:?}");
                }
            }
        }
    }
}

/// A row of `n` values at index `k`, as bits of the dtype, with some NaNs in floats.
fn bits(dtype: DType, k: usize, n: usize) -> Vec<u64> {
    let value = |l: usize| {
        let x = noise(k * 5000 + l);
        let real = if x.is_multiple_of(211) { f64::NAN } else { x as i64 as f64 * 1e-19 };
        match dtype {
            DType::Bool => x & 1,
            DType::F32 => u64::from((real as f32).to_bits()),
            DType::F64 => real.to_bits(),
            _ => x,
        }
    };
    (0..n).map(value).collect()
}

/// The low bytes of `bits`, packed as values of the dtype, in memory aligned for it.
fn packed(bits: &[u64], dtype: DType) -> Vec<u64> {
    let bytes: Vec<u8> = bits.iter().flat_map(|b| b.to_le_bytes()[..dtype.size()].to_vec()).collect();
    bytes.chunks(8).map(|c| c.iter().rev().fold(0, |a, &b| a << 8 | u64::from(b))).collect()
}

/// `cols_block` against `cols`, and each ISA against the first: states and results, to the bit.
#[test]
fn blocks_are_columns_and_isas_agree() {
    for row in ROWS {
        for dtype in DType::ALL.into_iter().filter(|&d| row.takes(d)) {
            for n in [1, 3, 16, 31, 64, 100, 257, 600] {
                let mut results: Vec<Vec<u64>> = Vec::new();
                for isa in isas() {
                    let rows = if n < 5 { 600 } else { 20 };
                    let (one, pitch) = (States::new(row, dtype, isa, n), n.next_multiple_of(8) + 8);
                    let (mut a, mut b, mut c) = (one.clone(), one.clone(), one.clone());
                    let mut all = Vec::new();
                    for k in 0..rows {
                        let values = packed(&bits(dtype, k, pitch), dtype);
                        let p = values.as_ptr().cast();
                        let (s0, s1) = (a.s0.as_mut_ptr().cast(), a.s1.as_mut_ptr().cast());
                        // SAFETY: n values, n lanes.
                        unsafe { (a.loops.cols[isa])(p, n, a.seen, a.seen, s0, s1) };
                        a.seen += 1;
                        all.extend(values);
                    }
                    // SAFETY: any bytes are u8s.
                    let bytes = unsafe { all.align_to::<u8>().1 };
                    let (size, cut) = (dtype.size(), rows / 3);
                    for s in [&mut b, &mut c] {
                        for (start, count) in [(0, cut), (cut, 0), (cut, rows - cut)] {
                            let tile = &bytes[start * pitch * size..];
                            let (s0, s1) = (s.s0.as_mut_ptr().cast(), s.s1.as_mut_ptr().cast());
                            let (p, seen) = (tile.as_ptr(), s.seen);
                            // SAFETY: `count` rows from `start`, n lanes.
                            unsafe { (s.loops.cols_block[isa])(p, count, n, pitch, seen, seen, s0, s1) };
                            s.seen += count as i64;
                        }
                    }
                    let whole = a.finish::<u64>();
                    assert_eq!(whole, b.finish::<u64>(), "{row:?} {dtype} n {n} isa {isa}");
                    b.merge(&c);
                    results.push([whole, b.finish::<u64>()].concat());
                }
                for other in &results[1..] {
                    assert_eq!(other, &results[0], "{row:?} {dtype} n {n}");
                }
            }
        }
    }
}

/// Rows of each ISA against the first, to the bit.
#[test]
fn rows_of_isas_agree() {
    for row in ROWS {
        for dtype in DType::ALL.into_iter().filter(|&d| row.takes(d)) {
            for n in LENGTHS {
                let values = packed(&bits(dtype, n, n), dtype);
                let run = |isa: usize| {
                    let mut s = States::new(row, dtype, isa, 1);
                    let (s0, s1) = (s.s0.as_mut_ptr().cast(), s.s1.as_mut_ptr().cast());
                    let mut at = 0;
                    for part in [n / 3, n - n / 3] {
                        // SAFETY: both parts are within the n values.
                        unsafe {
                            let p = values.as_ptr().cast::<u8>().add(at * dtype.size());
                            (s.loops.rows[isa])(p, part, at as i64, at as i64, s0, s1);
                        }
                        at += part;
                    }
                    s.finish::<u64>()
                };
                for isa in isas() {
                    assert_eq!(run(isa), run(0), "{row:?} {dtype} n {n} isa {isa}");
                }
            }
        }
    }
}

#[test]
fn moments_are_accurate() {
    for n in LENGTHS.into_iter().filter(|&n| n > 0) {
        // A large offset: what the textbook formula fails at.
        for offset in [0.0, 1000.0] {
            let w: Vec<f32> = (0..n).map(|i| offset + (noise(i) >> 44) as f32 / 1048576.0).collect();
            let v: Vec<f64> = w.iter().map(|&x| f64::from(x)).collect();
            let mean = v.iter().sum::<f64>() / n as f64;
            let m2: f64 = v.iter().map(|x| (x - mean) * (x - mean)).sum();
            for isa in isas() {
                for got in every_way::<_, f64>(&MOMENTS, DType::F64, isa, &v) {
                    assert!((got - m2).abs() <= 1e-9 * m2, "n {n}: {got} for {m2}");
                }
                for got in every_way::<_, f32>(&MOMENTS, DType::F32, isa, &w) {
                    assert!((f64::from(got) - m2).abs() <= 3e-3 * m2, "n {n}: {got} for {m2}");
                }
                let got: f32 = whole(&MOMENTS, DType::F32, isa, &w);
                assert!((f64::from(got) - m2).abs() <= 1e-5 * m2, "n {n}: {got} for {m2}");
            }
        }
        for isa in isas() {
            assert!(every_way::<_, f64>(&MOMENTS, DType::F64, isa, &vec![3.0f64; n]).iter().all(|&x| x == 0.0));
            let inf = vec![f64::INFINITY; n];
            assert!(every_way::<_, f64>(&MOMENTS, DType::F64, isa, &inf).iter().all(|x| x.is_nan()));
        }
    }
}

#[test]
fn the_table_is_whole() {
    for row in ROWS {
        for dtype in DType::ALL {
            assert_eq!(row.takes(dtype), (row.loops)(dtype).is_some(), "{row:?} {dtype}");
        }
        assert_eq!(row.states == 2, row.state1(DType::F32).is_some());
        assert_eq!(ROWS.iter().filter(|r| **r == row).count(), 1, "{row:?}");
        assert!(row.cuda_finish.contains("out = "));
    }
    assert_eq!((SUM.out)(DType::U8), DType::U64);
    assert_eq!(ARGMAX.state1(DType::F32), Some(DType::I64));
}
