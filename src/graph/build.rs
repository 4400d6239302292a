//! Recording: each function checks shapes and dtypes at once and makes a node; nothing runs.

use super::{DeviceId, Expr, Node, Op, Value};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::layout::{Dims, Taken, View, broadcast_shape, check};
use crate::ops::OpRef;
use crate::ops::reduce::{self, ReducerRef};
use smallvec::{SmallVec, smallvec};
use std::panic::Location;

pub type At = &'static Location<'static>;

fn node(device: DeviceId, dtype: DType, shape: Dims, op: Op, args: SmallVec<[Value; 3]>, at: At) -> Value {
    Value::whole(Node::pending(device, dtype, shape, Expr { op, args, region: None }, at))
}

/// A rank-0 value given by its bits.
pub fn scalar(device: DeviceId, dtype: DType, bits: u64, at: At) -> Value {
    node(device, dtype, Dims::new(), Op::Scalar(bits), smallvec![], at)
}

/// The index along `axis` of an array of this shape, as i64.
pub fn iota(op: &'static str, device: DeviceId, shape: &[usize], axis: usize, at: At) -> Result<Value> {
    check(op, shape)?;
    Ok(node(device, DType::I64, shape.into(), Op::Iota { axis: axis as u8 }, smallvec![], at))
}

/// A row of the op table over operands that broadcast together.
pub fn map(row: OpRef, args: &[&Value], at: At) -> Result<Value> {
    let mut shape: Dims = args[0].shape().into();
    for a in &args[1..] {
        if a.shape() == &shape[..] {
            continue;
        }
        shape = broadcast_shape(&shape, a.shape()).ok_or_else(|| Error::Broadcast {
            op: row.name,
            lhs: shape[..].into(),
            rhs: a.shape().into(),
        })?;
        check(row.name, &shape)?;
    }
    let dtype = args[args.len() - 1].dtype();
    if !row.takes(dtype) {
        return Err(Error::DType { op: row.name, dtype });
    }
    let mut values: SmallVec<[Value; 3]> = SmallVec::new();
    for a in args {
        values.push(stretch(a, &shape));
    }
    Ok(node(args[0].node.device, row.result(dtype), shape, Op::Map(row), values, at))
}

fn stretch(v: &Value, shape: &[usize]) -> Value {
    if v.shape() == shape {
        return v.clone();
    }
    // The caller found the common shape, so the view always fits.
    v.view().broadcast(shape).map_or_else(|| v.clone(), |view| v.with(view))
}

/// A view stretched to `shape` by NumPy's rule.
pub fn broadcast(op: &'static str, v: &Value, shape: &[usize]) -> Result<Value> {
    check(op, shape)?;
    match v.view().broadcast(shape) {
        Some(view) => Ok(v.with(view)),
        None => Err(Error::Broadcast { op, lhs: v.shape().into(), rhs: shape.into() }),
    }
}

/// Conversion to another dtype; the value itself where it has it already.
pub fn cast(v: &Value, dtype: DType, at: At) -> Value {
    if v.dtype() == dtype {
        return v.clone();
    }
    node(v.node.device, dtype, v.shape().into(), Op::Cast, smallvec![v.clone()], at)
}

/// A copy, whose elements lie together however far apart those of the value do.
pub fn copy(v: &Value, at: At) -> Value {
    node(v.node.device, v.dtype(), v.shape().into(), Op::Cast, smallvec![v.clone()], at)
}

/// A fold over `axes`, in the dtype the reducer runs on (the caller casts); `keep` leaves them with extent 1.
pub fn reduce(r: ReducerRef, v: &Value, axes: &[usize], keep: bool, at: At) -> Result<Value> {
    let shape = v.shape();
    let mut mask = 0u32;
    for &a in axes {
        if a >= shape.len() {
            return Err(Error::Axis { op: r.name, axis: a, shape: shape.into() });
        }
        if mask & (1 << a) != 0 {
            return Err(Error::Shape { op: r.name, shape: shape.into(), reason: format!("axis {a} is given twice") });
        }
        mask |= 1 << a;
    }
    if !r.has_identity && axes.iter().any(|&a| shape[a] == 0) {
        return Err(Error::Shape {
            op: r.name,
            shape: shape.into(),
            reason: "an empty reduction has no identity".into(),
        });
    }
    let kept: Dims = (0..shape.len()).filter(|a| mask & (1 << a) == 0).map(|a| shape[a]).collect();
    let dtype = (r.out)(v.dtype());
    let op = Op::Reduce { reducer: r, axes: mask };
    let mut out = node(v.node.device, dtype, kept, op, smallvec![v.clone()], at);
    if keep {
        for a in 0..shape.len() {
            if mask & (1 << a) != 0 {
                out = out.with(out.view().insert_axis(a));
            }
        }
    }
    Ok(out)
}

/// The sum over `axes` with NumPy's accumulators: i64/u64 for bool and integers, f32 for the 16-bit floats.
pub fn sum(v: &Value, axes: &[usize], keep: bool, at: At) -> Result<Value> {
    let out = v.dtype().sum();
    let wide = cast(v, out.compute(), at);
    Ok(cast(&reduce(&reduce::SUM, &wide, axes, keep, at)?, out, at))
}

/// The matrix product with NumPy's `matmul` rules for ranks 1, 2 and batches; `mul` multiplies two elements.
pub fn dot(a: &Value, b: &Value, mul: OpRef, at: At) -> Result<Value> {
    let fail = |reason| Error::Mismatch { op: "dot", lhs: a.shape().into(), rhs: b.shape().into(), reason };
    if a.shape().is_empty() || b.shape().is_empty() {
        return Err(fail("one has no axis to fold; multiply by it".into()));
    }
    let (lead, trail) = (a.shape().len() == 1, b.shape().len() == 1);
    let down = |vector| if vector { "the axis" } else { "the last but one" };
    let x = if lead { a.with(a.view().insert_axis(0)) } else { a.clone() };
    let y = if trail { b.with(b.view().insert_axis(1)) } else { b.clone() };
    let (xs, ys) = (x.shape(), y.shape());
    let (xr, yr) = (xs.len(), ys.len());
    let (m, k, n) = (xs[xr - 2], xs[xr - 1], ys[yr - 1]);
    if ys[yr - 2] != k {
        let reason =
            format!("the last axis of the first has {k} elements, {} of the second {}", down(trail), ys[yr - 2]);
        return Err(fail(reason));
    }
    let batch = broadcast_shape(&xs[..xr - 2], &ys[..yr - 2])
        .ok_or_else(|| fail("the axes before the last two do not broadcast together".into()))?;
    let after = |tail: &[usize]| {
        let mut shape = batch.clone();
        shape.extend_from_slice(tail);
        shape
    };
    let with = |tail: [usize; 2]| after(&tail);
    let dtype = a.dtype();
    let gemm = dtype.is_float() && m > 1 && n > 1;
    let pairs = |k: usize| after(&[m, n, k]);
    // What is recorded below has these shapes and parts of them; a product's kernel has rows, columns and k as axes of its own.
    let (x, y) = if gemm && batch.is_empty() {
        // The operands' own shapes were checked.
        check("dot", &[m, n])?;
        (x, y)
    } else {
        let inner = if gemm { [with([m, k]), with([k, n])] } else { [pairs(k), pairs(1)] };
        for shape in [with([m, n]), pairs(1)].iter().chain(&inner) {
            check("dot", shape)?;
        }
        (stretch(&x, &with([m, k])), stretch(&y, &with([k, n])))
    };
    let mut out = if gemm {
        node(a.node.device, dtype, with([m, n]), Op::Dot, smallvec![x, y], at)
    } else {
        // Vectors, and the dtypes GEMM does not take: Sum(Mul), one kernel.
        let wide = if dtype.is_float() { dtype.compute() } else { dtype };
        let r = batch.len();
        let (x, y) = (cast(&x, wide, at), cast(&y, wide, at));
        let x = x.with(x.view().insert_axis(r + 1));
        let order: Vec<usize> = (0..r).chain([r + 1, r]).collect();
        let y = y.with(y.view().permute(&order).insert_axis(r));
        let product = map(mul, &[&x, &y], at)?;
        if dtype == DType::Bool {
            reduce(&reduce::ANY, &product, &[r + 2], false, at)?
        } else {
            // Integers wrap in their own type, as NumPy's matmul does; the fold itself runs on 64 bits.
            let folded = reduce(&reduce::SUM, &cast(&product, wide.sum(), at), &[r + 2], false, at)?;
            cast(&folded, dtype, at)
        }
    };
    let r = out.shape().len();
    if trail {
        out = out.with(out.view().index_axis(r - 1, 0));
    }
    if lead {
        out = out.with(out.view().index_axis(r - 2, 0));
    }
    Ok(out)
}

/// Another shape with the same elements in C order: a view where the axes allow it, else a node.
pub fn reshape(v: &Value, shape: &[usize], at: At) -> Result<Value> {
    check("reshape", shape)?;
    let (old, new) = (v.shape(), shape);
    if crate::layout::size(old) != crate::layout::size(new) {
        let reason = format!("{} elements do not fit {new:?}", crate::layout::size(old));
        return Err(Error::Shape { op: "reshape", shape: old.into(), reason });
    }
    if let Some(view) = reshape_view(&v.view(), new) {
        return Ok(v.with(view));
    }
    if let Some(Ok(stored)) = v.stored()
        && let Some(layout) = stored.layout.reshape(new)
    {
        let stored = super::Stored { buffer: stored.buffer, layout };
        return Ok(Value::whole(Node::stored(v.node.device, v.dtype(), stored, at)));
    }
    Ok(node(v.node.device, v.dtype(), new.into(), Op::Reshape, smallvec![v.clone()], at))
}

/// Shapes that differ by axes of extent 1 alone are maps.
fn reshape_view(view: &View, shape: &[usize]) -> Option<View> {
    let full = |s: &[usize]| -> Dims { s.iter().copied().filter(|&n| n != 1).collect() };
    if full(&view.shape) != full(shape) {
        return None;
    }
    let mut v = view.clone();
    for a in (0..v.shape.len()).rev() {
        if v.shape[a] == 1 {
            v = v.index_axis(a, 0);
        }
    }
    for (a, &n) in shape.iter().enumerate() {
        if n == 1 {
            v = v.insert_axis(a);
        }
    }
    Some(v)
}

/// `base` with `value` (broadcast to the region) written over `region`, a view of `base`'s whole.
pub fn update(base: &Value, region: View, value: &Value, at: At) -> Result<Value> {
    let value = match value.view().broadcast(&region.shape) {
        Some(view) => value.with(view),
        None => {
            return Err(Error::Broadcast {
                op: "slice_assign",
                lhs: region.shape[..].into(),
                rhs: value.shape().into(),
            });
        }
    };
    let value = cast(&value, base.dtype(), at);
    let expr = Expr { op: Op::Update, args: smallvec![base.clone(), value], region: Some(Box::new(region)) };
    Ok(Value::whole(Node::pending(base.node.device, base.dtype(), base.shape().into(), expr, at)))
}

/// Where along `axis` the `k` smallest (or largest) elements are, in order: i64.
pub fn topk(v: &Value, axis: usize, k: usize, largest: bool, at: At) -> Result<Value> {
    let shape = v.shape();
    let r = shape.len();
    if axis >= r {
        return Err(Error::Axis { op: "topk", axis, shape: shape.into() });
    }
    if k > shape[axis] {
        let reason = format!("{k} of {} elements along axis {axis}", shape[axis]);
        return Err(Error::Shape { op: "topk", shape: shape.into(), reason });
    }
    let last: Vec<usize> = (0..r).filter(|&a| a != axis).chain([axis]).collect();
    let arg = v.with(v.view().permute(&last));
    let mut out: Dims = arg.shape().into();
    out[r - 1] = k;
    let found = node(v.node.device, DType::I64, out, Op::TopK { largest }, smallvec![arg], at);
    let back: Vec<usize> = (0..axis).chain([r - 1]).chain(axis..r - 1).collect();
    Ok(found.with(found.view().permute(&back)))
}

/// `v` along `axis` at `index` (of the same rank); the other axes broadcast.
pub fn gather_each(v: &Value, axis: usize, index: &Value, at: At) -> Result<Value> {
    let (shape, places) = (v.shape(), index.shape());
    if axis >= shape.len() {
        return Err(Error::Axis { op: "take_along_axis", axis, shape: shape.into() });
    }
    let fail = || Error::Broadcast { op: "take_along_axis", lhs: shape.into(), rhs: places.into() };
    if shape.len() != places.len() {
        return Err(fail());
    }
    let (mut one, mut other): (Dims, Dims) = (shape.into(), places.into());
    (one[axis], other[axis]) = (1, 1);
    let mut all = broadcast_shape(&one, &other).ok_or_else(fail)?;
    all[axis] = shape[axis];
    check("take_along_axis", &all)?;
    let source = stretch(v, &all);
    all[axis] = places[axis];
    check("take_along_axis", &all)?;
    let taken = Taken { axis: axis as u8, each: true, unsigned: index.dtype() == DType::U64 };
    let args = smallvec![source, stretch(&cast(index, DType::I64, at), &all)];
    Ok(node(v.node.device, v.dtype(), all, Op::Gather(taken), args, at))
}

/// `v` at `index` (rank 1) along `axis`.
pub fn gather(v: &Value, axis: usize, index: &Value, at: At) -> Result<Value> {
    let shape = v.shape();
    if axis >= shape.len() {
        return Err(Error::Axis { op: "take", axis, shape: shape.into() });
    }
    let n = index.shape()[0];
    let mut out: Dims = shape.into();
    out[axis] = n;
    check("take", &out)?;
    // The index varies along `axis` alone.
    let places = cast(index, DType::I64, at);
    let mut view = places.view().into_owned();
    for _ in axis + 1..shape.len() {
        view = view.insert_axis(view.shape.len());
    }
    let view = view.broadcast(&out).unwrap_or(view);
    let args = smallvec![v.clone(), places.with(view)];
    let taken = Taken { axis: axis as u8, each: false, unsigned: index.dtype() == DType::U64 };
    Ok(node(v.node.device, v.dtype(), out, Op::Gather(taken), args, at))
}
