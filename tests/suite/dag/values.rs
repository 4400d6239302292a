//! An array of any dtype, and how a step of a program is recorded on it.

use super::program::{Lay, Op, Over};
use crate::naive::{Arr, Ix, Red};
use ndarray::{ArrayD, Axis, Ix1, IxDyn, ShapeBuilder, Slice, SliceInfoElem};
use ndcuda::api::eval::{RootList, Roots};
use ndcuda::{DType, Device, DeviceArrayD, Element, Error, Result, bf16, f16};

macro_rules! dtypes {
    ($($V:ident $t:ty),*) => {
        /// An array of any dtype.
        #[derive(Clone)]
        pub enum Dev {
            $($V(DeviceArrayD<$t>)),*
        }

        pub fn shape(d: &Dev) -> (DType, Vec<usize>) {
            match d {
                $(Dev::$V(a) => (a.dtype(), a.shape().to_vec()),)*
            }
        }

        $(impl From<DeviceArrayD<$t>> for Dev {
            fn from(a: DeviceArrayD<$t>) -> Dev {
                Dev::$V(a)
            }
        })*
    };
}
dtypes!(Bool bool, I8 i8, I16 i16, I32 i32, I64 i64, U8 u8, U16 u16, U32 u32, U64 u64, F16 f16, BF16 bf16, F32 f32, F64 f64);

/// The Rust type of a dtype.
macro_rules! typed {
    (@ $d:expr, $T:ident => $e:expr; $($V:ident $t:ty),*) => {
        match $d {
            $(DType::$V => {
                type $T = $t;
                Dev::from($e)
            })*
        }
    };
    ($d:expr, $T:ident => $e:expr) => {
        typed!(@ $d, $T => $e; Bool bool, I8 i8, I16 i16, I32 i32, I64 i64, U8 u8, U16 u16, U32 u32, U64 u64,
            F16 f16, BF16 bf16, F32 f32, F64 f64)
    };
}

/// An array of a class of dtypes, or several of one dtype; others are refused.
macro_rules! each {
    (@ $d:expr, $p:tt => $e:expr; $($V:ident)*) => {
        match $d {
            $(each!(@@ $V $p) => $e,)*
            #[allow(unreachable_patterns)]
            _ => return Err(refused()),
        }
    };
    (@@ $V:ident ($a:ident)) => { Dev::$V($a) };
    (@@ $V:ident ($a:ident $b:ident)) => { (Dev::$V($a), Dev::$V($b)) };
    (@@ $V:ident ($a:ident $b:ident $c:ident)) => { (Dev::$V($a), Dev::$V($b), Dev::$V($c)) };
    (float $d:expr, $p:tt => $e:expr) => { each!(@ $d, $p => $e; F16 BF16 F32 F64) };
    (int $d:expr, $p:tt => $e:expr) => { each!(@ $d, $p => $e; I8 I16 I32 I64 U8 U16 U32 U64) };
    (bits $d:expr, $p:tt => $e:expr) => { each!(@ $d, $p => $e; Bool I8 I16 I32 I64 U8 U16 U32 U64) };
    (signed $d:expr, $p:tt => $e:expr) => { each!(@ $d, $p => $e; I8 I16 I32 I64 F16 BF16 F32 F64) };
    (number $d:expr, $p:tt => $e:expr) => {
        each!(@ $d, $p => $e; I8 I16 I32 I64 U8 U16 U32 U64 F16 BF16 F32 F64)
    };
    (any $d:expr, $p:tt => $e:expr) => {
        each!(@ $d, $p => $e; Bool I8 I16 I32 I64 U8 U16 U32 U64 F16 BF16 F32 F64)
    };
}

/// No operation takes these.
fn refused() -> Error {
    Error::NotClose("there is no such operation of these dtypes".into())
}

impl Roots for Dev {
    fn roots(&self, out: &mut RootList) -> Result<()> {
        each!(any self, (a) => a.roots(out))
    }
}

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

fn reduce(x: &Dev, r: Red, over: &Over) -> Result<Dev> {
    macro_rules! forms {
        ($all:ident $axis:ident $axes:ident $keep:ident) => {
            each!(any x, (a) => match over {
                Over::Every => a.$all().into_dyn().into(),
                Over::One(i) => a.$axis(Axis(*i)).into(),
                Over::Kept(i) => a.$keep(Axis(*i)).into(),
                Over::Several(axes) => a.$axes(&axes.iter().map(|&a| Axis(a)).collect::<Vec<_>>()).into(),
            })
        };
    }
    let made: Dev = match r {
        Red::Sum => forms!(sum sum_axis sum_axes sum_keep),
        Red::Product => forms!(product product_axis product_axes product_keep),
        Red::Min => forms!(min min_axis min_axes min_keep),
        Red::Max => forms!(max max_axis max_axes max_keep),
        Red::ArgMin => forms!(argmin argmin_axis argmin_axes argmin_keep),
        Red::ArgMax => forms!(argmax argmax_axis argmax_axes argmax_keep),
        Red::Any => forms!(any any_axis any_axes any_keep),
        Red::All => forms!(all all_axis all_axes all_keep),
        Red::Count => forms!(count_nonzero count_nonzero_axis count_nonzero_axes count_nonzero_keep),
    };
    // The least of zeros of both signs is either, as the order of the loop has it; the sum with 0 is 0.
    match r {
        Red::Min | Red::Max if shape(&made).0.is_float() => with_scalar(&made, "add", 0.0),
        _ => Ok(made),
    }
}

fn with_scalar(x: &Dev, name: &str, v: f64) -> Result<Dev> {
    fn s<T: Element>(_: &DeviceArrayD<T>, v: f64) -> T {
        T::from_f64(v)
    }
    Ok(match name {
        "add" => each!(number x, (a) => (a + s(a, v)).into()),
        "sub" => each!(number x, (a) => (a - s(a, v)).into()),
        "mul" => each!(number x, (a) => (a * s(a, v)).into()),
        "rem" => each!(number x, (a) => (a % s(a, v)).into()),
        "from_sub" => each!(number x, (a) => (s(a, v) - a).into()),
        "from_div" => each!(number x, (a) => (s(a, v) / a).into()),
        "from_shl" => each!(int x, (a) => (s(a, v) << a).into()),
        "shr" => each!(int x, (a) => (a >> s(a, v)).into()),
        "maximum" => each!(any x, (a) => a.maximum(s(a, v)).into()),
        "minimum" => each!(any x, (a) => a.minimum(s(a, v)).into()),
        "equal" => each!(any x, (a) => a.equal(s(a, v)).into()),
        "less" => each!(any x, (a) => a.less(s(a, v)).into()),
        _ => unreachable!("{name}"),
    })
}

fn zip(name: &str, x: &Dev, y: &Dev) -> Result<Dev> {
    let p = (x, y);
    Ok(match name {
        "add" => each!(number p, (a b) => (a + b).into()),
        "sub" => each!(number p, (a b) => (a - b).into()),
        "mul" => each!(number p, (a b) => (a * b).into()),
        "div" => each!(number p, (a b) => (a / b).into()),
        "rem" => each!(number p, (a b) => (a % b).into()),
        "remainder" => each!(number p, (a b) => a.remainder(b).into()),
        "floor_divide" => each!(number p, (a b) => a.floor_divide(b).into()),
        "powf" => each!(float p, (a b) => a.powf(b).into()),
        "hypot" => each!(float p, (a b) => a.hypot(b).into()),
        "maximum" => each!(any p, (a b) => a.maximum(b).into()),
        "minimum" => each!(any p, (a b) => a.minimum(b).into()),
        "equal" => each!(any p, (a b) => a.equal(b).into()),
        "not_equal" => each!(any p, (a b) => a.not_equal(b).into()),
        "less" => each!(any p, (a b) => a.less(b).into()),
        "greater_equal" => each!(any p, (a b) => a.greater_equal(b).into()),
        "logical_and" => each!(any p, (a b) => a.logical_and(b).into()),
        "logical_or" => each!(any p, (a b) => a.logical_or(b).into()),
        "logical_xor" => each!(any p, (a b) => a.logical_xor(b).into()),
        "bit_and" => each!(bits p, (a b) => (a & b).into()),
        "bit_or" => each!(bits p, (a b) => (a | b).into()),
        "bit_xor" => each!(bits p, (a b) => (a ^ b).into()),
        "shl" => each!(int p, (a b) => (a << b).into()),
        "shr" => each!(int p, (a b) => (a >> b).into()),
        _ => unreachable!("{name}"),
    })
}

fn map(name: &str, x: &Dev) -> Result<Dev> {
    Ok(match name {
        "neg" => each!(signed x, (a) => (-a).into()),
        "abs" => each!(number x, (a) => a.abs().into()),
        "square" => each!(number x, (a) => a.square().into()),
        "cube" => each!(number x, (a) => a.powi(3).into()),
        "sign" => each!(number x, (a) => a.sign().into()),
        "bit_not" => each!(bits x, (a) => (!a).into()),
        "logical_not" => each!(any x, (a) => a.logical_not().into()),
        "is_nan" => each!(any x, (a) => a.is_nan().into()),
        "is_finite" => each!(any x, (a) => a.is_finite().into()),
        "sqrt" => each!(float x, (a) => a.sqrt().into()),
        "recip" => each!(float x, (a) => a.recip().into()),
        "floor" => each!(float x, (a) => a.floor().into()),
        "trunc" => each!(float x, (a) => a.trunc().into()),
        "round" => each!(float x, (a) => a.round().into()),
        "round_ties_even" => each!(float x, (a) => a.round_ties_even().into()),
        "exp" => each!(float x, (a) => a.exp().into()),
        "ln" => each!(float x, (a) => a.ln().into()),
        "sin" => each!(float x, (a) => a.sin().into()),
        "tanh" => each!(float x, (a) => a.tanh().into()),
        _ => unreachable!("{name}"),
    })
}

fn take(x: &Dev, axis: usize, at: &Dev) -> Result<Dev> {
    macro_rules! along {
        ($at:expr) => {{
            let at = $at.into_dimensionality::<Ix1>()?;
            each!(any x, (a) => a.take(Axis(axis), &at).into())
        }};
    }
    Ok(match at {
        Dev::I32(at) => along!(at.clone()),
        Dev::U8(at) => along!(at.clone()),
        at => along!(each!(int at, (a) => a.cast::<i64>())),
    })
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
                    DType::U8 => dev.arange(*start as u8, stop as u8, *step as u8).into_dyn().into(),
                    DType::F32 => dev.arange(*start as f32, stop as f32, *step as f32).into_dyn().into(),
                    DType::F64 => dev.arange(*start, stop, *step).into_dyn().into(),
                    d => typed!(*d, T => dev.arange(*start as i64, stop as i64, *step as i64).cast::<T>().into_dyn()),
                }
            }
            Op::Eye(d, n) => typed!(*d, T => dev.eye::<T>(*n).into_dyn()),
            Op::Map(name) => map(name, &x[0])?,
            Op::Zip(name) => zip(name, &x[0], &x[1])?,
            Op::WithScalar(name, v) => with_scalar(&x[0], name, *v)?,
            Op::Where => match &x[0] {
                Dev::Bool(m) => each!(any (&x[1], &x[2]), (a b) => m.try_where_(a, b)?.into()),
                _ => return Err(refused()),
            },
            Op::Clamp => each!(number (&x[0], &x[1], &x[2]), (a b c) => a.try_clamp(b, c)?.into()),
            Op::Cast(d) => typed!(*d, T => each!(any &x[0], (a) => a.cast::<T>())),
            Op::Reduce(r, over) => reduce(&x[0], *r, over)?,
            Op::Slice(parts) => each!(any &x[0], (a) => a.try_slice(&elems(parts)[..])?.into()),
            Op::Permute(order) => each!(any &x[0], (a) => a.permuted_axes(IxDyn(order)).into()),
            Op::Insert(i) => each!(any &x[0], (a) => a.insert_axis(Axis(*i)).into()),
            Op::Broadcast(shape) => each!(any &x[0], (a) => a.broadcast(IxDyn(shape)).ok_or_else(refused)?.into()),
            Op::Flip(i) => each!(any &x[0], (a) => a.flip(Axis(*i)).into()),
            Op::Reshape(shape) => each!(any &x[0], (a) => a.try_reshape(IxDyn(shape))?.into()),
            Op::Dot => each!(number (&x[0], &x[1]), (a b) => a.try_dot(b)?.into()),
            Op::Take(axis) => take(&x[0], *axis, &x[1])?,
            Op::TopK { k, axis, largest, at } => each!(any &x[0], (a) => {
                let (values, places) = a.try_topk(*k, Axis(*axis), *largest)?;
                if *at { places.into() } else { values.into() }
            }),
            Op::Select(axis, at) => each!(any &x[0], (a) => a.try_select(Axis(*axis), at)?.into()),
            Op::SliceAssign(_) | Op::SliceFill(..) | Op::Update(_) | Op::Assign => unreachable!("mutates"),
        })
    }

    fn mutate(&self, target: &mut Dev, x: Vec<Dev>) -> Result<()> {
        match self {
            Op::SliceAssign(parts) => {
                each!(any (target, &x[0]), (t v) => t.try_slice_assign(&elems(parts)[..], v))
            }
            Op::SliceFill(parts, v) => {
                fn fill<T: Element>(t: &mut DeviceArrayD<T>, parts: &[Ix], v: f64) -> Result<()> {
                    t.try_slice_assign(&elems(parts)[..], T::from_f64(v))
                }
                each!(any target, (t) => fill(t, parts, *v))
            }
            Op::Assign => {
                each!(any (target, &x[0]), (t v) => t.assign(v));
                Ok(())
            }
            Op::Update(name) => {
                match *name {
                    "add" => each!(number (target, &x[0]), (t v) => *t += v),
                    "sub" => each!(number (target, &x[0]), (t v) => *t -= v),
                    "mul" => each!(number (target, &x[0]), (t v) => *t *= v),
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
    each!(any d, (a) => {
        let host = a.to_ndarray()?;
        Ok(Arr { dtype: a.dtype(), shape: host.shape().to_vec(), data: host.iter().map(|x| x.to_f64()).collect() })
    })
}

/// The bits of the elements, of a NaN those of any.
pub fn bits(d: &Dev) -> Result<Vec<u64>> {
    each!(any d, (a) => {
        let bits = a.to_ndarray()?.iter().map(|x| if x.to_f64().is_nan() { u64::MAX } else { x.to_bits64() }).collect();
        Ok(bits)
    })
}

pub fn eval(d: &Dev) -> Result<()> {
    each!(any d, (a) => a.eval())
}
