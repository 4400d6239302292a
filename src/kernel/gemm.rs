//! A matrix product as a kernel, for backends without a library for it: pairwise, with multiply and add as its combine. And the products
//! that one is made of whose first operand is made in blocks of rows.

use super::{
    AxisSet, Bind, Blocks, Class, FoldOrder, GemmSpec, Id, Inst, KOp, KernelIr, Launch, Nest, Operand, Role, width,
};
use crate::layout::Strides;
use crate::ops::{reduce, row};
use smallvec::{SmallVec, smallvec};

/// The product as a kernel over (batch.., row, column, k).
pub fn kernel(s: &GemmSpec) -> (KernelIr, Launch) {
    let r = s.batch.len();
    let (i, j, k) = (AxisSet::one(r), AxisSet::one(r + 1), AxisSet::one(r + 2));
    let batch = AxisSet::first(r);
    let (dtype, wide) = (s.dtype, s.dtype.compute());
    let out = batch.union(i).union(j);
    let mut code: Vec<Inst> = vec![];
    let mut push = |op, args, dtype, over| -> Id {
        code.push(Inst { op, args, dtype, over });
        code.len() as Id - 1
    };
    // The 16-bit floats multiply and add up as f32.
    let mut side = |operand: u8, own: AxisSet| {
        let over = batch.union(own).union(k);
        let value = push(KOp::Load(operand), smallvec![], dtype, over);
        if wide == dtype { value } else { push(KOp::Cast, smallvec![value], wide, over) }
    };
    let (x, y) = (side(0, i), side(1, j));
    let product = push(KOp::Map(&row::mul), smallvec![x, y], wide, out.union(k));
    let mut sum = push(KOp::Reduce { reducer: &reduce::SUM, axes: k }, smallvec![product], wide, out);
    let inner = sum + 1;
    if wide != dtype {
        sum = push(KOp::Cast, smallvec![sum], dtype, out);
    }
    let end = push(KOp::Store(2), smallvec![sum], dtype, out) + 1;
    let fold = Nest::Loop { axes: k, body: vec![Nest::Insts(0..inner)] };
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
        nest: Nest::Loop { axes: out, body: vec![fold, Nest::Insts(inner..end)] },
        class: Class::Pairwise { i, j, k, batch },
        index: width(&extents, k, &operands),
    };
    (ir, Launch { extents, operands, params: vec![] })
}

impl Blocks {
    /// The launch that makes so many rows, one behind the other.
    pub fn launch(&self, rows: usize) -> Launch {
        let mut launch = self.launch.clone();
        launch.extents[self.axis] = rows;
        if let Some(array) = launch.operands.last_mut() {
            array.offset = 0;
        }
        launch
    }

    /// The product that `s` is of a block of so many rows.
    pub fn product(&self, s: &GemmSpec, rows: usize) -> GemmSpec {
        let a = Bind { slot: 0, offset: 0, strides: smallvec![s.k as isize, 1], gather: None };
        let others = s.operands[self.launch.operands.len()..].iter().cloned();
        let operands = std::iter::once(a).chain(others).collect();
        GemmSpec { dtype: s.dtype, batch: smallvec![], m: rows, n: s.n, k: s.k, operands, blocks: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::kernel::{Bind, validate};

    #[test]
    fn products_are_legal_kernels() {
        for dtype in [DType::F16, DType::BF16, DType::F32, DType::F64] {
            let bind = |strides: &[isize]| Bind { slot: 0, offset: 0, strides: strides.into(), gather: None };
            let operands = smallvec![bind(&[12, 4, 1]), bind(&[0, 1, 4]), bind(&[15, 5, 1])];
            let spec = GemmSpec { dtype, batch: smallvec![2], m: 3, n: 5, k: 4, operands, blocks: None };
            let (ir, launch) = kernel(&spec);
            validate::kernel(&ir).unwrap();
            assert_eq!(launch.operands[1].strides[..], [0, 0, 4, 1]);
        }
    }
}
