//! Kernels written by hand, as text and as CUDA C++, against `tests/golden/`; and broken ones, which validation has to refuse.
//!
//! `NDCUDA_BLESS=1 cargo test golden` writes the files anew; `scripts/check_goldens.py` compiles the CUDA ones.

use super::validate::kernel;
use super::{AxisSet, Bind, Class, FoldOrder, Id, Inst, KOp, KernelIr, Launch, Nest, Operand, Role, Width, width};
use crate::backend::cuda::emit;
use crate::dtype::DType::{self, Bool, F16, F32, F64, I64};
use crate::layout::c_strides;
use crate::ops::reduce::{ARGMAX, ARGMIN, MAX, MIN, MOMENTS, ReducerRef, SUM};
use crate::ops::{OpRef, row};
use smallvec::SmallVec;
use std::path::Path;

const I: AxisSet = AxisSet(1);
const J: AxisSet = AxisSet(2);
const K: AxisSet = AxisSet(4);
const IJ: AxisSet = AxisSet(3);
const IK: AxisSet = AxisSet(5);
const JK: AxisSet = AxisSet(6);
const IJK: AxisSet = AxisSet(7);

/// A kernel under construction; each function adds an instruction and returns its number.
struct Build {
    ir: KernelIr,
    /// The loops that are open, each with what it holds so far.
    open: Vec<(AxisSet, Vec<Nest>)>,
}

impl Build {
    fn new(axes: u8, class: Class) -> Build {
        let ir = KernelIr {
            axes,
            order: if matches!(class, Class::Pairwise { .. }) { FoldOrder::Chain } else { FoldOrder::Tree },
            folded: AxisSet::EMPTY,
            operands: vec![],
            params: vec![],
            code: vec![],
            nest: Nest::Insts(0..0),
            class,
            index: Width::W32,
        };
        Build { ir, open: vec![(AxisSet::EMPTY, vec![])] }
    }

    fn begin(&mut self, axes: AxisSet) {
        self.open.push((axes, vec![]));
    }

    fn end(&mut self) {
        if let (Some((axes, body)), Some((_, outer))) = (self.open.pop(), self.open.last_mut()) {
            outer.push(Nest::Loop { axes, body });
        }
    }

    fn inst(&mut self, op: KOp, args: &[Id], dtype: DType, over: AxisSet) -> Id {
        let id = self.ir.code.len() as Id;
        self.ir.code.push(Inst { op, args: SmallVec::from_slice(args), dtype, over });
        if let Some((_, body)) = self.open.last_mut() {
            match body.last_mut() {
                Some(Nest::Insts(range)) => range.end = id + 1,
                _ => body.push(Nest::Insts(id..id + 1)),
            }
        }
        id
    }

    fn over(&self, args: &[Id]) -> AxisSet {
        args.iter().fold(AxisSet::EMPTY, |set, &a| set.union(self.ir.code[a as usize].over))
    }

    fn operand(&mut self, dtype: DType, role: Role) -> u8 {
        self.ir.operands.push(Operand { dtype, role });
        self.ir.operands.len() as u8 - 1
    }

    fn load(&mut self, operand: u8, over: AxisSet) -> Id {
        let dtype = self.ir.operands[operand as usize].dtype;
        self.inst(KOp::Load(operand), &[], dtype, over)
    }

    fn param(&mut self, dtype: DType) -> Id {
        self.ir.params.push(dtype);
        self.inst(KOp::Param(self.ir.params.len() as u8 - 1), &[], dtype, AxisSet::EMPTY)
    }

    fn map(&mut self, row: OpRef, args: &[Id]) -> Id {
        let last = self.ir.code[args[args.len() - 1] as usize].dtype;
        self.inst(KOp::Map(row), args, row.result(last), self.over(args))
    }

    fn cast(&mut self, arg: Id, to: DType) -> Id {
        self.inst(KOp::Cast, &[arg], to, self.over(&[arg]))
    }

    fn fold(&mut self, reducer: ReducerRef, arg: Id, axes: AxisSet) -> Id {
        self.ir.folded = self.ir.folded.union(axes);
        let dtype = (reducer.out)(self.ir.code[arg as usize].dtype);
        self.inst(KOp::Reduce { reducer, axes }, &[arg], dtype, self.over(&[arg]).minus(axes))
    }

    fn store(&mut self, operand: u8, value: Id) -> Id {
        let (dtype, over) = (self.ir.code[value as usize].dtype, self.over(&[value]));
        self.inst(KOp::Store(operand), &[value], dtype, over)
    }

    fn build(mut self) -> KernelIr {
        while self.open.len() > 1 {
            self.end();
        }
        if let Some((_, mut body)) = self.open.pop() {
            self.ir.nest = match (body.len(), body.pop()) {
                (1, Some(one)) => one,
                (_, last) => {
                    body.extend(last);
                    Nest::Loop { axes: AxisSet::EMPTY, body }
                }
            };
        }
        self.ir
    }
}

/// `where(x > 0, x, y * alpha)`: y is a row that repeats.
fn map() -> KernelIr {
    let mut b = Build::new(2, Class::Map);
    let (x, y, out) = (b.operand(F32, Role::In), b.operand(F32, Role::In), b.operand(F32, Role::Out));
    b.begin(IJ);
    let (alpha, zero) = (b.param(F32), b.param(F32));
    let (x, y) = (b.load(x, IJ), b.load(y, J));
    let scaled = b.map(&row::mul, &[y, alpha]);
    let mask = b.map(&row::greater, &[x, zero]);
    let value = b.map(&row::where_, &[mask, x, scaled]);
    b.store(out, value);
    b.build()
}

/// `x * x + 1` of halves, with 64-bit indices.
fn map_f16() -> KernelIr {
    let mut b = Build::new(1, Class::Map);
    b.ir.index = Width::W64;
    let (x, out) = (b.operand(F16, Role::In), b.operand(F16, Role::Out));
    b.begin(I);
    let one = b.param(F16);
    let x = b.load(x, I);
    let squared = b.map(&row::mul, &[x, x]);
    let value = b.map(&row::add, &[squared, one]);
    b.store(out, value);
    b.build()
}

/// One fold of `x` over `axes`, with `|x|` before it.
fn fold_of_abs(class: Class, reducer: ReducerRef, outer: AxisSet, axes: AxisSet) -> KernelIr {
    let mut b = Build::new(2, class);
    let x = b.operand(F32, Role::In);
    let out = b.operand((reducer.out)(F32), Role::Out);
    b.begin(outer);
    b.begin(axes);
    let x = b.load(x, IJ);
    let x = b.map(&row::abs, &[x]);
    let folded = b.fold(reducer, x, axes);
    b.end();
    b.store(out, folded);
    b.build()
}

/// `(x * x).sum() / n` of halves, folded in f32.
fn mean_square_f16() -> KernelIr {
    let mut b = Build::new(2, Class::Rows);
    let (x, out) = (b.operand(F16, Role::In), b.operand(F16, Role::Out));
    b.begin(I);
    let n = b.param(F32);
    b.begin(J);
    let x = b.load(x, IJ);
    let squared = b.map(&row::mul, &[x, x]);
    let wide = b.cast(squared, F32);
    let sum = b.fold(&SUM, wide, J);
    b.end();
    let mean = b.map(&row::div, &[sum, n]);
    let value = b.cast(mean, F16);
    b.store(out, value);
    b.build()
}

/// Softmax of each row: one kernel, three passes.
fn softmax() -> KernelIr {
    let mut b = Build::new(2, Class::Rows);
    let (x, out) = (b.operand(F32, Role::In), b.operand(F32, Role::Out));
    b.begin(I);
    b.begin(J);
    let x = b.load(x, IJ);
    let greatest = b.fold(&MAX, x, J);
    b.end();
    b.begin(J);
    let shifted = b.map(&row::sub, &[x, greatest]);
    let exp = b.map(&row::exp, &[shifted]);
    let sum = b.fold(&SUM, exp, J);
    b.end();
    b.begin(J);
    let share = b.map(&row::div, &[exp, sum]);
    b.store(out, share);
    b.build()
}

/// Variance of each row: the divisor is a scalar.
fn var() -> KernelIr {
    let mut b = Build::new(2, Class::Rows);
    let (x, out) = (b.operand(F32, Role::In), b.operand(F32, Role::Out));
    b.begin(I);
    let n = b.param(F32);
    b.begin(J);
    let x = b.load(x, IJ);
    let squares = b.fold(&MOMENTS, x, J);
    b.end();
    let value = b.map(&row::div, &[squares, n]);
    b.store(out, value);
    b.build()
}

fn pairwise_class() -> Class {
    Class::Pairwise { i: I, j: J, k: K, batch: AxisSet::EMPTY }
}

/// Implementation #1: `((x[i,k] - y[j,k])^2).sum(k)`.
fn pairwise_1(dtype: DType) -> KernelIr {
    let mut b = Build::new(3, pairwise_class());
    let (x, y, out) = (b.operand(dtype, Role::In), b.operand(dtype, Role::In), b.operand(dtype, Role::Out));
    b.begin(IJ);
    b.begin(K);
    let (x, y) = (b.load(x, IK), b.load(y, JK));
    let diff = b.map(&row::sub, &[x, y]);
    let squared = b.map(&row::mul, &[diff, diff]);
    let sum = b.fold(&SUM, squared, K);
    b.end();
    b.store(out, sum);
    b.build()
}

/// Products of two matrices' rows.
fn pairwise_dot() -> KernelIr {
    let mut b = Build::new(3, pairwise_class());
    let (x, y, out) = (b.operand(F32, Role::In), b.operand(F32, Role::In), b.operand(F32, Role::Out));
    b.begin(IJ);
    b.begin(K);
    let (x, y) = (b.load(x, IK), b.load(y, JK));
    let product = b.map(&row::mul, &[x, y]);
    let sum = b.fold(&SUM, product, K);
    b.end();
    b.store(out, sum);
    b.build()
}

/// As `pairwise_1`, of one row x: rows of y are folded in chains.
fn one_row(class: Class, own: AxisSet, folded: AxisSet) -> KernelIr {
    let mut b = Build::new(2, class);
    b.ir.order = FoldOrder::Chain;
    let (x, y, out) = (b.operand(F32, Role::In), b.operand(F32, Role::In), b.operand(F32, Role::Out));
    b.begin(own);
    b.begin(folded);
    let (x, y) = (b.load(x, folded), b.load(y, IJ));
    let diff = b.map(&row::sub, &[x, y]);
    let squared = b.map(&row::mul, &[diff, diff]);
    let sum = b.fold(&SUM, squared, folded);
    b.end();
    b.store(out, sum);
    b.build()
}

/// Implementation #2: `|x2[i] + y2[j] - 2 x.y|`, three folds over one k.
fn pairwise_2() -> KernelIr {
    let mut b = Build::new(3, pairwise_class());
    let (x, y, out) = (b.operand(F32, Role::In), b.operand(F32, Role::In), b.operand(F32, Role::Out));
    b.begin(IJ);
    let two = b.param(F32);
    b.begin(K);
    let (x, y) = (b.load(x, IK), b.load(y, JK));
    let xx = b.map(&row::mul, &[x, x]);
    let x2 = b.fold(&SUM, xx, K);
    let yy = b.map(&row::mul, &[y, y]);
    let y2 = b.fold(&SUM, yy, K);
    let xy = b.map(&row::mul, &[x, y]);
    let dot = b.fold(&SUM, xy, K);
    b.end();
    let norms = b.map(&row::add, &[x2, y2]);
    let twice = b.map(&row::mul, &[two, dot]);
    let d2 = b.map(&row::sub, &[norms, twice]);
    let value = b.map(&row::abs, &[d2]);
    b.store(out, value);
    b.build()
}

/// The nearest y of each x: a fold within a fold.
fn knn_1() -> KernelIr {
    let mut b = Build::new(3, pairwise_class());
    let (x, y, out) = (b.operand(F32, Role::In), b.operand(F32, Role::In), b.operand(I64, Role::Out));
    b.begin(I);
    b.begin(J);
    b.begin(K);
    let (x, y) = (b.load(x, IK), b.load(y, JK));
    let diff = b.map(&row::sub, &[x, y]);
    let squared = b.map(&row::mul, &[diff, diff]);
    let sum = b.fold(&SUM, squared, K);
    b.end();
    let distance = b.map(&row::sqrt, &[sum]);
    let nearest = b.fold(&ARGMIN, distance, J);
    b.end();
    b.store(out, nearest);
    b.build()
}

/// The same of one row x: rows of y are folded in chains, and then over j.
fn knn_one_row() -> KernelIr {
    let mut b = Build::new(2, Class::Columns);
    b.ir.order = FoldOrder::Chain;
    let (x, y, out) = (b.operand(F32, Role::In), b.operand(F32, Role::In), b.operand(I64, Role::Out));
    b.begin(I);
    b.begin(J);
    let (x, y) = (b.load(x, J), b.load(y, IJ));
    let diff = b.map(&row::sub, &[x, y]);
    let squared = b.map(&row::mul, &[diff, diff]);
    let sum = b.fold(&SUM, squared, J);
    b.end();
    let nearest = b.fold(&ARGMIN, sum, I);
    b.end();
    b.store(out, nearest);
    b.build()
}

/// Sums over j of what distances weigh, in f64: a kernel of two folds.
fn kernel_sums() -> KernelIr {
    let mut b = Build::new(3, pairwise_class());
    let (x, y, w) = (b.operand(F64, Role::In), b.operand(F64, Role::In), b.operand(F64, Role::In));
    let (total, least) = (b.operand(F64, Role::Out), b.operand(F64, Role::Out));
    b.begin(I);
    b.begin(J);
    b.begin(K);
    let (x, y) = (b.load(x, IK), b.load(y, JK));
    let diff = b.map(&row::sub, &[x, y]);
    let squared = b.map(&row::mul, &[diff, diff]);
    let sum = b.fold(&SUM, squared, K);
    b.end();
    let w = b.load(w, J);
    let below = b.map(&row::neg, &[sum]);
    let near = b.map(&row::exp, &[below]);
    let weighed = b.map(&row::mul, &[near, w]);
    let all = b.fold(&SUM, weighed, J);
    let low = b.fold(&MIN, sum, J);
    b.end();
    b.store(total, all);
    b.store(least, low);
    b.build()
}

/// Cumulative sums along each row.
fn cumsum() -> KernelIr {
    let mut b = Build::new(2, Class::Rows);
    let (x, out) = (b.operand(F32, Role::In), b.operand(F32, Role::Out));
    b.begin(I);
    b.begin(J);
    let x = b.load(x, IJ);
    let sums = b.inst(KOp::Scan { reducer: &SUM, axis: 1 }, &[x], F32, IJ);
    b.store(out, sums);
    b.build()
}

/// Rows of x at given indices, and where they came from as bool (`index != 0`).
fn gather() -> KernelIr {
    let mut b = Build::new(2, Class::Map);
    let (index, x) = (b.operand(I64, Role::In), b.operand(F64, Role::In));
    let (out, first) = (b.operand(F64, Role::Out), b.operand(Bool, Role::Out));
    b.begin(IJ);
    let at = b.load(index, I);
    let value = b.inst(KOp::LoadAt(x), &[at], F64, IJ);
    b.store(out, value);
    let moved = b.cast(at, Bool);
    b.store(first, moved);
    b.build()
}

/// A name, and the kernel.
type Named = (&'static str, KernelIr);

/// A launch in C order from aligned addresses: an operand that does not vary with an axis has no stride there.
pub fn launch(ir: &KernelIr, extents: &[usize]) -> Launch {
    let bind = |o: u8| {
        let over = ir.code.iter().find_map(|i| match i.op {
            KOp::Load(n) | KOp::Store(n) | KOp::LoadAt(n) if n == o => Some(i.over),
            _ => None,
        });
        let over = over.unwrap_or_default();
        let own: Vec<usize> = (0..extents.len()).map(|a| if over.has(a) { extents[a] } else { 1 }).collect();
        let c = c_strides(&own);
        let strides = (0..extents.len()).map(|a| if over.has(a) { c[a] } else { 0 }).collect();
        Bind { slot: o as u32, offset: 0, strides, gather: None }
    };
    let operands = (0..ir.operands.len() as u8).map(bind).collect();
    Launch { extents: extents.into(), operands, params: vec![] }
}

/// The variant of a kernel where everything lies well.
fn vectors(ir: &KernelIr, extents: &[usize]) -> emit::Variant {
    emit::variant(ir, &launch(ir, extents), &vec![1 << 20; ir.operands.len()])
}

fn kernels() -> Vec<Named> {
    vec![
        ("map", map()),
        ("map_f16", map_f16()),
        ("row_sum", fold_of_abs(Class::Rows, &SUM, I, J)),
        ("column_sum", fold_of_abs(Class::Columns, &SUM, J, I)),
        ("mean_square_f16", mean_square_f16()),
        ("softmax", softmax()),
        ("var", var()),
        ("argmin", fold_of_abs(Class::Rows, &ARGMIN, I, J)),
        ("argmax_columns", fold_of_abs(Class::Columns, &ARGMAX, J, I)),
        ("pairwise_1", pairwise_1(F32)),
        ("pairwise_1_f64", pairwise_1(F64)),
        ("pairwise_2", pairwise_2()),
        ("pairwise_dot", pairwise_dot()),
        ("one_row", one_row(Class::Rows, I, J)),
        ("one_row_columns", one_row(Class::Columns, J, I)),
        ("knn_1", knn_1()),
        ("knn_one_row", knn_one_row()),
        ("kernel_sums", kernel_sums()),
        ("cumsum", cumsum()),
        ("gather", gather()),
    ]
}

/// Compares a text with the golden file, or writes the file.
pub fn golden(file: &str, text: &str) -> Result<(), String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    if std::env::var_os("NDCUDA_BLESS").is_some() {
        let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        return folder.and_then(|()| std::fs::write(&path, text)).map_err(|e| format!("{file}: {e}"));
    }
    let old = std::fs::read_to_string(&path).unwrap_or_default();
    if old.replace("\r\n", "\n") == text {
        return Ok(());
    }
    let line = old.lines().zip(text.lines()).take_while(|(a, b)| a == b).count();
    let at = |text: &str| text.lines().nth(line).unwrap_or("(end)").to_string();
    Err(format!("{file}, line {}: was\n{}\nis\n{}\nNDCUDA_BLESS=1 writes it anew", line + 1, at(&old), at(text)))
}

#[test]
fn golden_ir() {
    let mut wrong = vec![];
    for (name, ir) in kernels() {
        kernel(&ir).unwrap_or_else(|e| panic!("{name}: {e}"));
        wrong.extend(golden(&format!("ir/{name}.txt"), &ir.to_string()).err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The kernels as they are emitted, by the names of their files: plain, where everything lies well, and with blocks that share k.
pub fn emitted() -> Vec<(String, KernelIr, emit::Variant)> {
    let mut all = vec![];
    for (name, ir) in kernels().into_iter().filter(|k| k.0 != "cumsum") {
        let (plain, variant) = (emit::Variant::default(), vectors(&ir, &[4096; 3][..ir.axes as usize]));
        if variant != plain {
            all.push((format!("{name}_vectors"), ir.clone(), variant));
        }
        all.push((name.into(), ir, plain));
    }
    for (name, ir, extents) in
        [("pairwise_1", pairwise_1(F32), [64, 64, 1 << 16]), ("pairwise_2", pairwise_2(), [128, 128, 1 << 16])]
    {
        let variant = vectors(&ir, &extents);
        assert!(variant.split && variant.small == (extents[0] == 64), "{name}: {variant:?}");
        all.push((format!("{name}_split"), ir, variant));
    }
    all
}

#[test]
fn golden_cuda() {
    assert!(emit::source(&cumsum(), &Default::default()).is_err());
    let mut wrong = vec![];
    for (name, ir, variant) in emitted() {
        let body = emit::body(&ir, &variant).unwrap_or_else(|e| panic!("{name}: {e}"));
        wrong.extend(golden(&format!("cuda/{name}.cu"), &body).err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Implementation #1 is one kernel that keeps nothing of (i, j, k) but registers: its only arrays are slices of (i, k) and (j, k).
#[test]
fn pairwise_stores_no_triple() {
    let text = emit::body(&pairwise_1(F32), &Default::default()).unwrap_or_default();
    assert_eq!(text.matches("__global__").count(), 1);
    let shared: Vec<&str> = text.lines().filter(|l| l.contains("__shared__")).map(str::trim).collect();
    // Two buffers, two sides, 8 steps of 128 rows and padding.
    assert_eq!(shared, [format!("__shared__ __align__(16) u8 slices[{}];", 2 * 2 * 8 * 132 * 4)]);
    assert_eq!(text.matches("nd_store(").count(), 1);
}

/// A long fold with one result is cut over many blocks, by its extents alone; a short one needs no scratch memory.
#[test]
fn long_folds_are_cut() {
    let sum = fold_of_abs(Class::Rows, &SUM, I, J);
    let long = emit::args::grid(&sum, &Default::default(), &[1, 1 << 24]);
    assert_eq!((long.blocks, long.threads, long.scratch, long.tickets), ((1, 1024), (256, 1), 1024 * 24, 1));
    let short = emit::args::grid(&sum, &Default::default(), &[1000, 100]);
    assert_eq!((short.blocks, short.threads, short.scratch, short.tickets), ((125, 1), (32, 8), 0, 0));
    let three_passes = emit::args::grid(&softmax(), &Default::default(), &[1, 1 << 24]);
    assert_eq!((three_passes.blocks, three_passes.scratch), ((1, 1), 0));
}

/// Few pairs of a long k share it, in rounds whose states lie in 16 MiB and a tile of what is joined; many pairs, or a short k, do not.
#[test]
fn few_pairs_share_a_long_k() {
    let shape = |ir: &KernelIr, extents: [usize; 3]| {
        let grid = emit::args::grid(ir, &vectors(ir, &extents), &extents);
        let rounds = grid.rounds.map(|r| (r.segments, r.each, r.join));
        assert_eq!(rounds.is_some(), grid.scratch > 0);
        assert!(grid.scratch <= (17 << 20) + (1 << 19) && grid.tickets == 0, "{grid:?}");
        (grid.blocks, grid.threads.0, rounds)
    };
    let direct = pairwise_1(F32);
    assert_eq!(shape(&direct, [64, 64, 1000]), ((1, 4), 128, Some((4, 4, 32))));
    assert_eq!(shape(&direct, [64, 64, 1_000_000]), ((1, 512), 128, Some((3907, 977, 32))));
    assert_eq!(shape(&direct, [128, 128, 65_536]), ((1, 256), 256, Some((256, 256, 64))));
    assert_eq!(shape(&direct, [3, 700, 5000]), ((11, 20), 128, Some((20, 20, 352))));
    assert_eq!(shape(&pairwise_1(F64), [32, 64, 5000]), ((2, 20), 128, Some((20, 20, 16))));
    for many in [[64, 64, 768], [4096, 64 * 3, 5000], [4096, 4096, 65_536]] {
        assert_eq!(shape(&direct, many).2, None, "{many:?}");
    }
    // What is folded over j in its turn has blocks enough along it.
    assert_eq!(shape(&knn_1(), [2, 64, 65_536]).2, None);
}

/// Each change breaks a valid kernel.
#[test]
fn broken_kernels_are_refused() {
    let refused = |what: &str, ir: KernelIr| assert!(kernel(&ir).is_err(), "accepted: {what}\n{ir}");
    let broken = |change: fn(&mut KernelIr)| {
        let mut ir = pairwise_1(F32);
        change(&mut ir);
        ir
    };
    refused("use before definition", broken(|ir| ir.code[2].args[0] = 3));
    refused("use of itself", broken(|ir| ir.code[2].args[1] = 2));
    refused("a load of another dtype", broken(|ir| ir.code[0].dtype = F64));
    refused("an op of another dtype", broken(|ir| ir.code[3].dtype = F64));
    refused("a fold of another dtype", broken(|ir| ir.code[4].dtype = I64));
    refused("a store of another dtype", broken(|ir| ir.operands[2].dtype = F16));
    refused("a missing argument", broken(|ir| ir.code[2].args.truncate(1)));
    refused("over leaves out an argument's axes", broken(|ir| ir.code[2].over = IK));
    refused("over has an axis that is folded away", broken(|ir| ir.code[5].over = IJK));
    refused("a store to an input", broken(|ir| ir.code[5].op = KOp::Store(0)));
    refused("a load of an output", broken(|ir| ir.code[0].op = KOp::Load(2)));
    refused("an operand that is not there", broken(|ir| ir.code[0].op = KOp::Load(9)));
    refused("a parameter that is not there", broken(|ir| ir.code[0].op = KOp::Param(0)));
    refused(
        "a fold outside the loop over its axes",
        broken(|ir| {
            ir.nest = Nest::Loop {
                axes: IJ,
                body: vec![Nest::Loop { axes: K, body: vec![Nest::Insts(0..4)] }, Nest::Insts(4..6)],
            };
        }),
    );
    refused(
        "a value outside the loop over its axes",
        broken(|ir| {
            ir.nest = Nest::Loop {
                axes: IJ,
                body: vec![Nest::Insts(0..2), Nest::Loop { axes: K, body: vec![Nest::Insts(2..5)] }, Nest::Insts(5..6)],
            };
        }),
    );
    refused(
        "a fold's value used inside its own loop",
        broken(|ir| {
            ir.nest = Nest::Loop { axes: IJ, body: vec![Nest::Loop { axes: K, body: vec![Nest::Insts(0..6)] }] };
        }),
    );
    refused(
        "an instruction that no loop holds",
        broken(|ir| {
            ir.nest = Nest::Loop { axes: IJ, body: vec![Nest::Loop { axes: K, body: vec![Nest::Insts(0..5)] }] };
        }),
    );
}

/// 10,000 x 10,000 x 128 pairs are more than 2^31, but neither the results nor what one folds is.
#[test]
fn indices_are_as_wide_as_the_longest_loop() {
    let bind = |strides: &[isize]| Bind { slot: 0, offset: 0, strides: strides.into(), gather: None };
    let pairs = [bind(&[128, 0, 1]), bind(&[0, 128, 1]), bind(&[10_000, 1, 0])];
    assert_eq!(width(&[10_000, 10_000, 128], K, &pairs), Width::W32);
    assert_eq!(width(&[10_000, 300_000, 2], K, &pairs[..2]), Width::W64);
    assert_eq!(width(&[2, 2, 1 << 31], K, &[bind(&[0, 0, 0])]), Width::W64);
    assert_eq!(width(&[1 << 16, 1 << 15], AxisSet::EMPTY, &[bind(&[0, 0])]), Width::W64);
    assert_eq!(width(&[2, 2], J, &[bind(&[1 << 31, 1])]), Width::W64);
}
