//! A matrix product as a kernel, for backends without a library for it: pairwise, with multiply and add as its combine.

use super::{AxisSet, Class, FoldOrder, GemmSpec, Inst, KOp, KernelIr, Launch, Nest, Operand, Role, width};
use crate::layout::Strides;
use crate::ops::{reduce, row};
use smallvec::{SmallVec, smallvec};

/// The product as a kernel over (batch.., row, column, k).
pub fn kernel(s: &GemmSpec) -> (KernelIr, Launch) {
    let r = s.batch.len();
    let (i, j, k) = (AxisSet::one(r), AxisSet::one(r + 1), AxisSet::one(r + 2));
    let batch = AxisSet((1 << r) - 1);
    let dtype = s.dtype;
    let out = batch.union(i).union(j);
    let inst = |op, args, over| Inst { op, args, dtype, over };
    let code = vec![
        inst(KOp::Load(0), smallvec![], batch.union(i).union(k)),
        inst(KOp::Load(1), smallvec![], batch.union(j).union(k)),
        inst(KOp::Map(&row::mul), smallvec![0, 1], out.union(k)),
        inst(KOp::Reduce { reducer: &reduce::SUM, axes: k }, smallvec![2], out),
        inst(KOp::Store(2), smallvec![3], out),
    ];
    let fold = Nest::Loop { axes: k, body: vec![Nest::Insts(0..4)] };
    let operand = |role| Operand { dtype, role };
    let mut operands = s.operands.to_vec();
    let [a, b, c] = [0, 1, 2].map(|o: usize| s.operands[o].strides.clone());
    let with = |lead: &[isize], tail: [isize; 3]| -> Strides { lead[..r].iter().copied().chain(tail).collect() };
    operands[0].strides = with(&a, [a[r], 0, a[r + 1]]);
    operands[1].strides = with(&b, [0, b[r + 1], b[r]]);
    operands[2].strides = with(&c, [c[r], c[r + 1], 0]);
    let extents: SmallVec<[usize; 6]> = s.batch.iter().copied().chain([s.m, s.n, s.k]).collect();
    let ir = KernelIr {
        axes: r as u8 + 3,
        order: FoldOrder::Chain,
        folded: k,
        operands: vec![operand(Role::In), operand(Role::In), operand(Role::Out)],
        params: vec![],
        code,
        nest: Nest::Loop { axes: out, body: vec![fold, Nest::Insts(4..5)] },
        class: Class::Pairwise { i, j, k, batch },
        index: width(&extents, &operands),
    };
    (ir, Launch { extents, operands, params: vec![] })
}
