//! A random program as data: what each step does, and how the naive evaluator runs it.

use crate::naive::{Arr, Ix, Red};
use ndcuda::DType;

/// How a leaf lies on the host when it is handed to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lay {
    Copied,
    Moved,
    /// A view of Fortran order.
    Fortran,
    MovedFortran,
    /// A view with its first axis backwards.
    Reversed,
    /// An owned array that is every second element of a longer one.
    MovedStepped,
    MovedReversed,
}

/// How a reduction's axes are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    Every,
    One(usize),
    Kept(usize),
    Several(Vec<usize>),
}

#[derive(Clone, Debug)]
pub enum Op {
    Leaf(Arr, Lay),
    Full(DType, Vec<usize>, f64),
    Arange(DType, f64, f64, usize),
    Eye(DType, usize),
    Map(&'static str),
    Zip(&'static str),
    /// "from_sub" is the scalar less the array.
    WithScalar(&'static str, f64),
    Where,
    Clamp,
    Cast(DType),
    Reduce(Red, Over),
    Slice(Vec<Ix>),
    Permute(Vec<usize>),
    Insert(usize),
    Broadcast(Vec<usize>),
    Flip(usize),
    Reshape(Vec<usize>),
    Dot,
    Take(usize),
    /// The k largest or smallest along an axis, or where they are.
    TopK {
        k: usize,
        axis: usize,
        largest: bool,
        at: bool,
    },
    Select(usize, Vec<usize>),
    SliceAssign(Vec<Ix>),
    SliceFill(Vec<Ix>, f64),
    Update(&'static str),
    Assign,
}

/// One step: its operation, the steps it takes its operands from, and what happens to its handle.
#[derive(Clone, Debug)]
pub struct Step {
    pub op: Op,
    pub args: Vec<usize>,
    /// The handle lives to the end; else it goes with its last use.
    pub held: bool,
    /// Evaluated and compared as soon as it is recorded.
    pub eager: bool,
}

/// A program and how its results are asked for.
#[derive(Clone, Debug)]
pub struct Program {
    pub steps: Vec<Step>,
    /// All results by one `eval`, or one by one.
    pub together: bool,
    /// The results are asked for from the last to the first.
    pub backwards: bool,
}

impl Program {
    /// The program with the steps that `keep` needs alone, and which these were.
    pub fn only(&self, keep: &[usize]) -> (Program, Vec<usize>) {
        let mut needed = vec![false; self.steps.len()];
        keep.iter().for_each(|&i| needed[i] = true);
        for i in (0..self.steps.len()).rev() {
            if needed[i] {
                self.steps[i].args.iter().for_each(|&a| needed[a] = true);
            }
        }
        let kept: Vec<usize> = (0..self.steps.len()).filter(|&i| needed[i]).collect();
        let place = |a: usize| kept.partition_point(|&k| k < a);
        let mut steps: Vec<Step> = kept.iter().map(|&i| self.steps[i].clone()).collect();
        steps.iter_mut().flat_map(|s| &mut s.args).for_each(|a| *a = place(*a));
        (Program { steps, ..*self }, kept)
    }
}

impl Op {
    /// The naive result; `None` where the operation does not take these operands (or is not exact on them).
    pub fn naive(&self, x: &[&Arr]) -> Option<Arr> {
        let parts = |elems: &[Ix]| x[0].slice(elems);
        match self {
            Op::Leaf(a, _) => Some(a.clone()),
            Op::Full(d, shape, v) => Some(Arr::full(*d, shape, *v)),
            Op::Arange(d, start, step, n) => {
                let stop = start + step * *n as f64;
                if ![*start, *step, stop].iter().all(|&v| Arr::full(*d, &[], v).fits()) {
                    return None;
                }
                let data = (0..*n).map(|i| start + step * i as f64).collect();
                Some(Arr { dtype: *d, shape: vec![*n], data })
            }
            Op::Eye(d, n) => Some(Arr::eye(*d, *n)),
            Op::Map(name) => x[0].map(name),
            Op::Zip(name) => x[0].zip(name, x[1]),
            Op::WithScalar(name, v) => {
                let v = Arr::full(x[0].dtype, &[], *v);
                match name.strip_prefix("from_") {
                    Some(name) => v.zip(name, x[0]),
                    None => x[0].zip(name, &v),
                }
            }
            Op::Where => x[0].choose(x[1], x[2]),
            Op::Clamp => x[0].clamp(x[1], x[2]),
            Op::Cast(d) => Some(x[0].cast(*d)),
            Op::Reduce(r, over) => match over {
                Over::Every => x[0].reduce(*r, &(0..x[0].shape.len()).collect::<Vec<_>>(), false),
                Over::One(a) => x[0].reduce(*r, &[*a], false),
                Over::Kept(a) => x[0].reduce(*r, &[*a], true),
                Over::Several(axes) => x[0].reduce(*r, axes, false),
            },
            Op::Slice(elems) => parts(elems),
            Op::Permute(order) => x[0].permute(order),
            Op::Insert(a) => {
                let mut shape = x[0].shape.clone();
                (*a <= shape.len()).then(|| shape.insert(*a, 1))?;
                x[0].reshape(&shape)
            }
            Op::Broadcast(shape) => x[0].broadcast(shape),
            Op::Flip(a) => x[0].flip(*a),
            Op::Reshape(shape) => x[0].reshape(shape),
            Op::Dot => x[0].dot(x[1]),
            Op::Take(a) => x[0].take(*a, x[1]),
            Op::TopK { k, axis, largest, at } => x[0].topk(*k, *axis, *largest, *at),
            Op::Select(a, at) => {
                let data = at.iter().map(|&i| i as f64).collect();
                x[0].take(*a, &Arr { dtype: DType::I64, shape: vec![at.len()], data })
            }
            Op::SliceAssign(elems) => x[0].slice_assign(elems, x[1]),
            Op::SliceFill(elems, v) => x[0].slice_assign(elems, &Arr::full(x[0].dtype, &[], *v)),
            Op::Update(name) => x[0].zip(name, x[1]).filter(|y| y.shape == x[0].shape && y.dtype == x[0].dtype),
            Op::Assign => x[1].broadcast(&x[0].shape).filter(|y| y.dtype == x[0].dtype),
        }
    }

    /// Whether it changes its first operand's handle.
    pub fn mutates(&self) -> bool {
        matches!(self, Op::SliceAssign(_) | Op::SliceFill(..) | Op::Update(_) | Op::Assign)
    }
}
