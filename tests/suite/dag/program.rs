//! A random program as data: what each step does, how it runs on a device and how the naive evaluator runs it.

use crate::naive::{Arr, Ix, Red};
use ndarray::{ArrayD, Axis, Ix1, IxDyn, ShapeBuilder, Slice, SliceInfoElem};
use ndcuda::api::eval::{RootList, Roots};
use ndcuda::{DType, Device, DeviceArrayD, Element, Error, Result};

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
    WithScalar(&'static str, f64),
    Where,
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
                let data = (0..*n).map(|i| start + step * i as f64).collect();
                Some(Arr { dtype: *d, shape: vec![*n], data })
            }
            Op::Eye(d, n) => Some(Arr::eye(*d, *n)),
            Op::Map(name) => x[0].map(name),
            Op::Zip(name) => x[0].zip(name, x[1]),
            Op::WithScalar(name, v) => x[0].zip(name, &Arr::full(x[0].dtype, &[], *v)),
            Op::Where => x[0].choose(x[1], x[2]),
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

/// An array of any of the types that programs use.
#[derive(Clone)]
pub enum Dev {
    Bool(DeviceArrayD<bool>),
    I32(DeviceArrayD<i32>),
    I64(DeviceArrayD<i64>),
    F32(DeviceArrayD<f32>),
    F64(DeviceArrayD<f64>),
}

macro_rules! each {
    (number $d:expr, $a:ident => $e:expr) => {
        match $d {
            Dev::Bool(_) => unreachable!("the naive evaluator takes no bools here"),
            Dev::I32($a) => $e,
            Dev::I64($a) => $e,
            Dev::F32($a) => $e,
            Dev::F64($a) => $e,
        }
    };
    (float $d:expr, $a:ident => $e:expr) => {
        match $d {
            Dev::F32($a) => $e,
            Dev::F64($a) => $e,
            _ => unreachable!("programs take floats here"),
        }
    };
    ($d:expr, $a:ident => $e:expr) => {
        match $d {
            Dev::Bool($a) => $e,
            Dev::I32($a) => $e,
            Dev::I64($a) => $e,
            Dev::F32($a) => $e,
            Dev::F64($a) => $e,
        }
    };
}

impl Roots for Dev {
    fn roots(&self, out: &mut RootList) -> Result<()> {
        each!(self, a => a.roots(out))
    }
}

/// Two operands of one type.
macro_rules! both {
    ($x:expr, $y:expr; $($V:ident)*; $a:ident, $b:ident => $e:expr) => {
        match ($x, $y) {
            $((Dev::$V($a), Dev::$V($b)) => $e,)*
            _ => unreachable!("the naive evaluator takes operands of one type"),
        }
    };
}

/// The Rust type of a dtype.
macro_rules! typed {
    ($d:expr, $T:ident => $e:expr) => {
        match $d {
            DType::Bool => {
                type $T = bool;
                Dev::from($e)
            }
            DType::I32 => {
                type $T = i32;
                Dev::from($e)
            }
            DType::I64 => {
                type $T = i64;
                Dev::from($e)
            }
            DType::F32 => {
                type $T = f32;
                Dev::from($e)
            }
            DType::F64 => {
                type $T = f64;
                Dev::from($e)
            }
            d => unreachable!("{d}"),
        }
    };
}

macro_rules! from {
    ($($V:ident $t:ty),*) => {$(
        impl From<DeviceArrayD<$t>> for Dev {
            fn from(a: DeviceArrayD<$t>) -> Dev {
                Dev::$V(a)
            }
        }
    )*};
}
from!(Bool bool, I32 i32, I64 i64, F32 f32, F64 f64);

fn leaf<T: Element>(dev: &Device, a: &Arr, lay: Lay) -> Result<DeviceArrayD<T>> {
    let shape = IxDyn(&a.shape);
    let host = || -> ArrayD<T> {
        ArrayD::from_shape_vec(shape.clone(), a.data.iter().map(|&x| T::from_f64(x)).collect()).unwrap()
    };
    let fortran = || {
        let mut f = ArrayD::from_elem(shape.clone().f(), T::ZERO);
        f.assign(&host());
        f
    };
    // Backwards in memory, so that turning it round gives the array.
    let reversed = || {
        let mut r = host();
        if r.ndim() > 0 {
            let mut turned = host();
            turned.invert_axis(Axis(0));
            r.assign(&turned);
            r.invert_axis(Axis(0));
        }
        r
    };
    match lay {
        Lay::Copied => dev.array(&host()),
        Lay::Moved => dev.array(host()),
        Lay::Fortran => dev.array(&fortran().view()),
        Lay::MovedFortran => dev.array(fortran()),
        Lay::Reversed => dev.array(reversed().view()),
        Lay::MovedReversed => dev.array(reversed()),
        Lay::MovedStepped => {
            if a.shape.is_empty() {
                return dev.array(host());
            }
            let last = a.shape.len() - 1;
            let mut wide = a.shape.clone();
            wide[last] = 2 * wide[last] + 1;
            let mut w = ArrayD::from_elem(IxDyn(&wide), T::ONE);
            w.slice_axis_inplace(Axis(last), Slice::new(1, None, 2));
            w.assign(&host());
            dev.array(w)
        }
    }
}

fn elems(parts: &[Ix]) -> Vec<SliceInfoElem> {
    parts
        .iter()
        .map(|p| match *p {
            Ix::At(i) => SliceInfoElem::Index(i as isize),
            Ix::New => SliceInfoElem::NewAxis,
            Ix::Range(a, b, step) => SliceInfoElem::Slice { start: a as isize, end: Some(b as isize), step },
        })
        .collect()
}

macro_rules! reduce {
    ($x:expr, $over:expr, $all:ident $axis:ident $axes:ident $keep:ident) => {
        each!($x, a => match $over {
            Over::Every => a.$all().into_dyn().into(),
            Over::One(i) => a.$axis(Axis(*i)).into(),
            Over::Kept(i) => a.$keep(Axis(*i)).into(),
            Over::Several(axes) => a.$axes(&axes.iter().map(|&a| Axis(a)).collect::<Vec<_>>()).into(),
        })
    };
}

fn with_scalar(x: &Dev, name: &str, v: f64) -> Dev {
    fn s<T: Element>(_: &DeviceArrayD<T>, v: f64) -> T {
        T::from_f64(v)
    }
    match name {
        "add" => each!(number x, a => (a + s(a, v)).into()),
        "sub" => each!(number x, a => (a - s(a, v)).into()),
        "mul" => each!(number x, a => (a * s(a, v)).into()),
        "rem" => each!(number x, a => (a % s(a, v)).into()),
        "maximum" => each!(x, a => a.maximum(s(a, v)).into()),
        "minimum" => each!(x, a => a.minimum(s(a, v)).into()),
        "equal" => each!(x, a => a.equal(s(a, v)).into()),
        "less" => each!(x, a => a.less(s(a, v)).into()),
        _ => unreachable!("{name}"),
    }
}

fn zip(name: &str, x: &Dev, y: &Dev) -> Dev {
    macro_rules! number {
        ($a:ident, $b:ident => $e:expr) => { both!(x, y; I32 I64 F32 F64; $a, $b => $e.into()) };
    }
    macro_rules! any {
        ($a:ident, $b:ident => $e:expr) => { both!(x, y; Bool I32 I64 F32 F64; $a, $b => $e.into()) };
    }
    match name {
        "add" => number!(a, b => (a + b)),
        "sub" => number!(a, b => (a - b)),
        "mul" => number!(a, b => (a * b)),
        "div" => number!(a, b => (a / b)),
        "rem" => number!(a, b => (a % b)),
        "remainder" => number!(a, b => a.remainder(b)),
        "floor_divide" => number!(a, b => a.floor_divide(b)),
        "maximum" => any!(a, b => a.maximum(b)),
        "minimum" => any!(a, b => a.minimum(b)),
        "equal" => any!(a, b => a.equal(b)),
        "not_equal" => any!(a, b => a.not_equal(b)),
        "less" => any!(a, b => a.less(b)),
        "greater_equal" => any!(a, b => a.greater_equal(b)),
        "logical_and" => any!(a, b => a.logical_and(b)),
        "bit_xor" => both!(x, y; Bool I32 I64; a, b => (a ^ b).into()),
        _ => unreachable!("{name}"),
    }
}

impl Op {
    /// Records the operation. `x` are the operands; a mutated one is the caller's handle.
    pub fn record(&self, dev: &Device, mut x: Vec<Dev>) -> Result<Dev> {
        if self.mutates() {
            let mut target = x.remove(0);
            self.mutate(&mut target, x)?;
            return Ok(target);
        }
        Ok(match self {
            Op::Leaf(a, lay) => typed!(a.dtype, T => leaf::<T>(dev, a, *lay)?),
            Op::Full(d, shape, v) => typed!(*d, T => dev.full(IxDyn(shape), T::from_f64(*v))),
            Op::Arange(d, start, step, n) => {
                let stop = start + step * *n as f64;
                match d {
                    DType::I32 => dev.arange(*start as i32, stop as i32, *step as i32).into_dyn().into(),
                    DType::I64 => dev.arange(*start as i64, stop as i64, *step as i64).into_dyn().into(),
                    DType::F32 => dev.arange(*start as f32, stop as f32, *step as f32).into_dyn().into(),
                    _ => dev.arange(*start, stop, *step).into_dyn().into(),
                }
            }
            Op::Eye(d, n) => typed!(*d, T => dev.eye::<T>(*n).into_dyn()),
            Op::Map(name) => match *name {
                "neg" => each!(number &x[0], a => (-a).into()),
                "abs" => each!(number &x[0], a => a.abs().into()),
                "square" => each!(number &x[0], a => a.square().into()),
                "sign" => each!(number &x[0], a => a.sign().into()),
                "logical_not" => each!(&x[0], a => a.logical_not().into()),
                "is_nan" => each!(&x[0], a => a.is_nan().into()),
                "is_finite" => each!(&x[0], a => a.is_finite().into()),
                "sqrt" => each!(float & x[0], a => a.sqrt().into()),
                "recip" => each!(float & x[0], a => a.recip().into()),
                "floor" => each!(float & x[0], a => a.floor().into()),
                "trunc" => each!(float & x[0], a => a.trunc().into()),
                "round" => each!(float & x[0], a => a.round().into()),
                "round_ties_even" => each!(float & x[0], a => a.round_ties_even().into()),
                name => unreachable!("{name}"),
            },
            Op::Zip(name) => zip(name, &x[0], &x[1]),
            Op::WithScalar(name, v) => with_scalar(&x[0], name, *v),
            Op::Where => match &x[0] {
                Dev::Bool(m) => both!(&x[1], &x[2]; Bool I32 I64 F32 F64; a, b => m.where_(a, b).into()),
                _ => unreachable!("a mask is bool"),
            },
            Op::Cast(d) => typed!(*d, T => each!(&x[0], a => a.cast::<T>())),
            Op::Reduce(r, over) => match r {
                Red::Sum => reduce!(&x[0], over, sum sum_axis sum_axes sum_keep),
                Red::Product => reduce!(&x[0], over, product product_axis product_axes product_keep),
                Red::Min => reduce!(&x[0], over, min min_axis min_axes min_keep),
                Red::Max => reduce!(&x[0], over, max max_axis max_axes max_keep),
                Red::ArgMin => reduce!(&x[0], over, argmin argmin_axis argmin_axes argmin_keep),
                Red::ArgMax => reduce!(&x[0], over, argmax argmax_axis argmax_axes argmax_keep),
                Red::Any => reduce!(&x[0], over, any any_axis any_axes any_keep),
                Red::All => reduce!(&x[0], over, all all_axis all_axes all_keep),
                Red::Count => {
                    reduce!(&x[0], over, count_nonzero count_nonzero_axis count_nonzero_axes count_nonzero_keep)
                }
            },
            Op::Slice(parts) => each!(&x[0], a => a.try_slice(&elems(parts)[..])?.into()),
            Op::Permute(order) => each!(&x[0], a => a.permuted_axes(IxDyn(order)).into()),
            Op::Insert(i) => each!(&x[0], a => a.insert_axis(Axis(*i)).into()),
            Op::Broadcast(shape) => each!(&x[0], a => {
                let wide = a.broadcast(IxDyn(shape));
                wide.ok_or(Error::NotClose(format!("no broadcast to {shape:?}")))?.into()
            }),
            Op::Flip(i) => each!(&x[0], a => a.flip(Axis(*i)).into()),
            Op::Reshape(shape) => each!(&x[0], a => a.try_reshape(IxDyn(shape))?.into()),
            Op::Dot => both!(&x[0], &x[1]; I32 I64 F32 F64; a, b => a.try_dot(b)?.into()),
            Op::Take(axis) => match &x[1] {
                Dev::I32(at) => {
                    let at = at.clone().into_dimensionality::<Ix1>()?;
                    each!(&x[0], a => a.take(Axis(*axis), &at).into())
                }
                Dev::I64(at) => {
                    let at = at.clone().into_dimensionality::<Ix1>()?;
                    each!(&x[0], a => a.take(Axis(*axis), &at).into())
                }
                _ => unreachable!("indices are integers"),
            },
            Op::Select(axis, at) => each!(&x[0], a => a.try_select(Axis(*axis), at)?.into()),
            Op::SliceAssign(_) | Op::SliceFill(..) | Op::Update(_) | Op::Assign => unreachable!("mutates"),
        })
    }

    fn mutate(&self, target: &mut Dev, x: Vec<Dev>) -> Result<()> {
        match self {
            Op::SliceAssign(parts) => {
                both!(target, &x[0]; Bool I32 I64 F32 F64; t, v => t.try_slice_assign(&elems(parts)[..], v))
            }
            Op::SliceFill(parts, v) => {
                fn fill<T: Element>(t: &mut DeviceArrayD<T>, parts: &[Ix], v: f64) -> Result<()> {
                    t.try_slice_assign(&elems(parts)[..], T::from_f64(v))
                }
                each!(target, t => fill(t, parts, *v))
            }
            Op::Assign => {
                both!(target, &x[0]; Bool I32 I64 F32 F64; t, v => t.assign(v));
                Ok(())
            }
            Op::Update(name) => {
                match *name {
                    "add" => both!(target, &x[0]; I32 I64 F32 F64; t, v => *t += v),
                    "sub" => both!(target, &x[0]; I32 I64 F32 F64; t, v => *t -= v),
                    "mul" => both!(target, &x[0]; I32 I64 F32 F64; t, v => *t *= v),
                    name => unreachable!("{name}"),
                }
                Ok(())
            }
            _ => unreachable!("does not mutate"),
        }
    }
}

/// The values of an array, as the naive evaluator has them.
pub fn read(d: &Dev) -> Result<Arr> {
    each!(d, a => {
        let host = a.to_ndarray()?;
        Ok(Arr { dtype: a.dtype(), shape: host.shape().to_vec(), data: host.iter().map(|x| x.to_f64()).collect() })
    })
}

/// The bits of the elements, of a NaN those of any.
pub fn bits(d: &Dev) -> Result<Vec<u64>> {
    each!(d, a => {
        let bits = a.to_ndarray()?.iter().map(|x| if x.to_f64().is_nan() { u64::MAX } else { x.to_bits64() }).collect();
        Ok(bits)
    })
}

pub fn shape(d: &Dev) -> (DType, Vec<usize>) {
    each!(d, a => (a.dtype(), a.shape().to_vec()))
}

pub fn eval(d: &Dev) -> Result<()> {
    each!(d, a => a.eval())
}
