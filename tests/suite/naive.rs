//! A naive eager evaluator: a shape and f64 values, one plain loop per operation. Exact, because the values are small
//! whole numbers (or NaN or infinite): what would leave that range is refused.

use ndcuda::DType;

/// No value or sum of magnitudes is larger: exact in f32, and far from where integers wrap.
pub const LIMIT: f64 = (1u64 << 22) as f64;

/// The largest magnitude of a whole number that a type and all below it have.
fn limit(d: DType) -> f64 {
    match d {
        DType::F16 => 2048.0,
        DType::BF16 => 256.0,
        d if d.is_int() && d.size() < 4 => (1u64 << (8 * d.size() - usize::from(!d.is_unsigned()))) as f64 - 1.0,
        _ => LIMIT,
    }
}

/// An array: its type, shape and elements in C order (bools are 0 and 1).
#[derive(Clone, Debug)]
pub struct Arr {
    pub dtype: DType,
    pub shape: Vec<usize>,
    pub data: Vec<f64>,
}

/// One part of a slice.
#[derive(Clone, Copy, Debug)]
pub enum Ix {
    At(usize),
    New,
    /// Cut out `start..end`, then walk it by `step` (from its end if negative).
    Range(usize, usize, isize),
}

/// A reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Red {
    Sum,
    Product,
    Min,
    Max,
    ArgMin,
    ArgMax,
    Any,
    All,
    Count,
}

/// Calls `f` with every index of a shape, in C order.
pub fn walk(shape: &[usize], mut f: impl FnMut(&[usize])) {
    let n: usize = shape.iter().product();
    let mut at = vec![0; shape.len()];
    for _ in 0..n {
        f(&at);
        for a in (0..shape.len()).rev() {
            at[a] += 1;
            if at[a] < shape[a] {
                break;
            }
            at[a] = 0;
        }
    }
}

pub fn broadcast_shape(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let n = a.len().max(b.len());
    let ext = |s: &[usize], i: usize| if i + s.len() >= n { s[i + s.len() - n] } else { 1 };
    (0..n)
        .map(|i| match (ext(a, i), ext(b, i)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}

fn truth(b: bool) -> f64 {
    f64::from(u8::from(b))
}

impl Arr {
    pub fn len(&self) -> usize {
        self.data.len()
    }

    fn build(dtype: DType, shape: &[usize], mut f: impl FnMut(&[usize]) -> f64) -> Arr {
        let mut data = Vec::with_capacity(shape.iter().product());
        walk(shape, |at| data.push(f(at)));
        Arr { dtype, shape: shape.to_vec(), data }
    }

    fn at(&self, index: &[usize]) -> f64 {
        self.data[index.iter().zip(&self.shape).fold(0, |n, (&i, &len)| n * len + i)]
    }

    /// The element at an index of a shape this array broadcasts to.
    fn spread(&self, index: &[usize]) -> f64 {
        let skip = index.len() - self.shape.len();
        let flat =
            index[skip..].iter().zip(&self.shape).fold(0, |n, (&i, &len)| n * len + if len == 1 { 0 } else { i });
        self.data[flat]
    }

    /// The largest magnitude, infinities aside.
    pub fn top(&self) -> f64 {
        self.data.iter().filter(|x| x.is_finite()).fold(0.0, |m, x| f64::max(m, x.abs()))
    }

    /// Whether all finite values are exact in their type, and in every type that sums of them pass through.
    pub fn fits(&self) -> bool {
        self.top() <= limit(self.dtype)
            && (self.dtype.is_float() || self.data.iter().all(|x| x.is_finite()))
            && (!self.dtype.is_unsigned() || self.data.iter().all(|&x| x >= 0.0))
    }

    pub fn same(&self, other: &Arr) -> Result<(), String> {
        if (self.dtype, &self.shape) != (other.dtype, &other.shape) {
            return Err(format!("{} {:?} where {} {:?} is right", other.dtype, other.shape, self.dtype, self.shape));
        }
        let differ = |(a, b): (&f64, &f64)| !(a == b || a.is_nan() && b.is_nan());
        match self.data.iter().zip(&other.data).position(differ) {
            None => Ok(()),
            Some(i) => {
                let n = self.data.iter().zip(&other.data).filter(|p| differ(*p)).count();
                Err(format!(
                    "{n} of {} differ; element {i} is {} where {} is right",
                    self.len(),
                    other.data[i],
                    self.data[i]
                ))
            }
        }
    }

    pub fn full(dtype: DType, shape: &[usize], v: f64) -> Arr {
        Arr::build(dtype, shape, |_| v)
    }

    pub fn eye(dtype: DType, n: usize) -> Arr {
        Arr::build(dtype, &[n, n], |at| truth(at[0] == at[1]))
    }

    pub fn map(&self, name: &str) -> Option<Arr> {
        let d = self.dtype;
        let (out, f): (DType, fn(f64) -> f64) = match name {
            "neg" if !d.is_unsigned() && d != DType::Bool => (d, |x| -x),
            "abs" if d != DType::Bool => (d, f64::abs),
            "square" if d != DType::Bool => (d, |x| x * x),
            "bit_not" if d.is_signed_int() => (d, |x| -1.0 - x),
            "bit_not" if d == DType::Bool => (d, |x| 1.0 - x),
            "sign" if d != DType::Bool => (d, |x| if x == 0.0 || x.is_nan() { x } else { x.signum() }),
            "logical_not" => (DType::Bool, |x| truth(x == 0.0)),
            "is_nan" => (DType::Bool, |x| truth(x.is_nan())),
            _ => return None,
        };
        Some(Arr { dtype: out, shape: self.shape.clone(), data: self.data.iter().map(|&x| f(x)).collect() })
    }

    pub fn zip(&self, name: &str, other: &Arr) -> Option<Arr> {
        let d = self.dtype;
        if d != other.dtype {
            return None;
        }
        let nan = |a: f64, b: f64| a.is_nan() || b.is_nan();
        let same = |f: fn(f64, f64) -> f64| Some((d, f));
        let bool = |f: fn(f64, f64) -> f64| Some((DType::Bool, f));
        let (out, f) = match name {
            "add" if d != DType::Bool => same(|a, b| a + b),
            "sub" if d != DType::Bool => same(|a, b| a - b),
            "mul" if d != DType::Bool => same(|a, b| a * b),
            "div" if d.is_int() => same(|a, b| if b == 0.0 { 0.0 } else { (a / b).trunc() }),
            "rem" if d.is_int() => same(|a, b| if b == 0.0 { 0.0 } else { a % b }),
            "maximum" => same(f64::max),
            "minimum" => same(f64::min),
            "remainder" if d.is_int() => same(|a, b| if b == 0.0 { 0.0 } else { a - b * (a / b).floor() }),
            "floor_divide" if d.is_int() => same(|a, b| if b == 0.0 { 0.0 } else { (a / b).floor() }),
            "bit_and" if !d.is_float() => same(|a, b| ((a as i64) & (b as i64)) as f64),
            "bit_or" if !d.is_float() => same(|a, b| ((a as i64) | (b as i64)) as f64),
            "bit_xor" if !d.is_float() => same(|a, b| ((a as i64) ^ (b as i64)) as f64),
            // What would shift bits out is no whole number here, and refused.
            "shl" if d.is_int() => same(|a, b| if (0.0..32.0).contains(&b) { a * b.exp2() } else { f64::NAN }),
            "shr" if d.is_int() => same(|a, b| ((a as i64) >> (if b < 0.0 { 63 } else { b.min(63.0) as i64 })) as f64),
            "equal" => bool(|a, b| truth(a == b)),
            "not_equal" => bool(|a, b| truth(a != b)),
            "less" => bool(|a, b| truth(a < b)),
            "greater_equal" => bool(|a, b| truth(a >= b)),
            "logical_and" => bool(|a, b| truth(a != 0.0 && b != 0.0)),
            "logical_or" => bool(|a, b| truth(a != 0.0 || b != 0.0)),
            "logical_xor" => bool(|a, b| truth((a != 0.0) != (b != 0.0))),
            _ => None,
        }?;
        let shape = broadcast_shape(&self.shape, &other.shape)?;
        Some(Arr::build(out, &shape, |at| {
            let (a, b) = (self.spread(at), other.spread(at));
            if matches!(name, "maximum" | "minimum") && nan(a, b) { f64::NAN } else { f(a, b) }
        }))
    }

    pub fn choose(&self, yes: &Arr, no: &Arr) -> Option<Arr> {
        if self.dtype != DType::Bool || yes.dtype != no.dtype {
            return None;
        }
        let shape = broadcast_shape(&broadcast_shape(&self.shape, &yes.shape)?, &no.shape)?;
        Some(Arr::build(yes.dtype, &shape, |at| if self.spread(at) != 0.0 { yes.spread(at) } else { no.spread(at) }))
    }

    pub fn clamp(&self, low: &Arr, high: &Arr) -> Option<Arr> {
        if self.dtype == DType::Bool || self.dtype != low.dtype || self.dtype != high.dtype {
            return None;
        }
        let shape = broadcast_shape(&broadcast_shape(&self.shape, &low.shape)?, &high.shape)?;
        Some(Arr::build(self.dtype, &shape, |at| {
            let (x, low, high) = (self.spread(at), low.spread(at), high.spread(at));
            let raised = if x < low { low } else { x };
            if raised > high { high } else { raised }
        }))
    }

    /// The `k` largest or smallest along an axis, or where they are; NaN comes last.
    pub fn topk(&self, k: usize, axis: usize, largest: bool, places: bool) -> Option<Arr> {
        let n = *self.shape.get(axis)?;
        let mut shape = self.shape.clone();
        shape[axis] = k;
        let out = if places { DType::I64 } else { self.dtype };
        (k <= n).then(|| {
            Arr::build(out, &shape, |at| {
                let mut from = at.to_vec();
                let mut row: Vec<(f64, usize)> = (0..n)
                    .map(|i| {
                        from[axis] = i;
                        (self.at(&from), i)
                    })
                    .collect();
                let key = |x: f64| if x.is_nan() { f64::INFINITY } else { x };
                row.sort_by(|a, b| {
                    let (x, y) = if largest { (-a.0, -b.0) } else { (a.0, b.0) };
                    (x.is_nan(), key(x) + 0.0).partial_cmp(&(y.is_nan(), key(y) + 0.0)).unwrap()
                });
                let (x, i) = row[at[axis]];
                if places { i as f64 } else { x }
            })
        })
    }

    pub fn cast(&self, to: DType) -> Arr {
        let f = |x: f64| match to {
            DType::Bool => truth(x != 0.0),
            d if d.is_int() && x.is_nan() => 0.0,
            _ => x,
        };
        Arr { dtype: to, shape: self.shape.clone(), data: self.data.iter().map(|&x| f(x)).collect() }
    }

    pub fn reduce(&self, r: Red, axes: &[usize], keep: bool) -> Option<Arr> {
        if axes.iter().any(|&a| a >= self.shape.len()) {
            return None;
        }
        let count: usize = axes.iter().map(|&a| self.shape[a]).product();
        let gone = |a: &usize| axes.contains(a);
        let outer: Vec<usize> = (0..self.shape.len()).map(|a| if gone(&a) { 1 } else { self.shape[a] }).collect();
        let inner: Vec<usize> = (0..self.shape.len()).map(|a| if gone(&a) { self.shape[a] } else { 1 }).collect();
        let dtype = match r {
            Red::Sum | Red::Product => self.dtype.sum(),
            Red::Min | Red::Max => self.dtype,
            Red::ArgMin | Red::ArgMax | Red::Count => DType::I64,
            Red::Any | Red::All => DType::Bool,
        };
        match r {
            Red::Min | Red::Max | Red::ArgMin | Red::ArgMax if count == 0 => return None,
            Red::Sum if self.top() * count as f64 > LIMIT => return None,
            _ => {}
        }
        let mut exact = true;
        let mut out = Arr::build(dtype, &outer, |o| {
            let mut v = match r {
                Red::Sum | Red::Count | Red::Any => 0.0,
                _ => 1.0,
            };
            let (mut best, mut index, mut n, mut size) = (f64::NAN, 0.0, 0, 1.0);
            walk(&inner, |i| {
                let at: Vec<usize> = o.iter().zip(i).map(|(a, b)| a + b).collect();
                let x = self.at(&at);
                match r {
                    Red::Sum => v += x,
                    Red::Product => {
                        v *= x;
                        size *= if x.is_finite() { x.abs().max(1.0) } else { 1.0 };
                    }
                    Red::Count => v += truth(x != 0.0),
                    Red::Any => v = truth(v != 0.0 || x != 0.0),
                    Red::All => v = truth(v != 0.0 && x != 0.0),
                    Red::Min | Red::ArgMin | Red::Max | Red::ArgMax => {
                        let less = if matches!(r, Red::Min | Red::ArgMin) { x < best } else { x > best };
                        if n == 0 || !best.is_nan() && (less || x.is_nan()) {
                            (best, index) = (x, n as f64);
                        }
                    }
                }
                n += 1;
            });
            exact &= size <= LIMIT;
            match r {
                Red::Min | Red::Max => best,
                Red::ArgMin | Red::ArgMax => index,
                _ => v,
            }
        });
        if !keep {
            out.shape = (0..self.shape.len()).filter(|a| !gone(a)).map(|a| self.shape[a]).collect();
        }
        exact.then_some(out)
    }

    /// The positions each part of a slice takes; `None` for a new axis. Indices have one position and no axis.
    fn positions(&self, parts: &[Ix]) -> Option<Vec<(Vec<usize>, bool)>> {
        let mut axes = self.shape.iter();
        let mut out = vec![];
        for p in parts {
            match *p {
                Ix::New => {}
                Ix::At(i) => {
                    if i >= *axes.next()? {
                        return None;
                    }
                    out.push((vec![i], false));
                }
                Ix::Range(a, b, step) => {
                    let n = *axes.next()?;
                    if b > n || a > b || step == 0 {
                        return None;
                    }
                    let by = step.unsigned_abs();
                    let at = if step > 0 { (a..b).step_by(by).collect() } else { (a..b).rev().step_by(by).collect() };
                    out.push((at, true));
                }
            }
        }
        axes.next().is_none().then_some(out)
    }

    fn slice_shape(parts: &[Ix], positions: &[(Vec<usize>, bool)]) -> Vec<usize> {
        let mut next = positions.iter();
        parts
            .iter()
            .filter_map(|p| match p {
                Ix::New => Some(1),
                _ => next.next().and_then(|(at, axis)| axis.then_some(at.len())),
            })
            .collect()
    }

    /// The index in `self` of an index of the slice.
    fn source(parts: &[Ix], positions: &[(Vec<usize>, bool)], index: &[usize]) -> Vec<usize> {
        let (mut next, mut index) = (positions.iter(), index.iter());
        let mut out = vec![];
        for p in parts {
            match p {
                Ix::New => {
                    index.next();
                }
                Ix::At(i) => {
                    next.next();
                    out.push(*i);
                }
                Ix::Range(..) => {
                    if let (Some((at, _)), Some(&i)) = (next.next(), index.next()) {
                        out.push(at[i]);
                    }
                }
            }
        }
        out
    }

    pub fn slice(&self, parts: &[Ix]) -> Option<Arr> {
        let positions = self.positions(parts)?;
        let shape = Arr::slice_shape(parts, &positions);
        Some(Arr::build(self.dtype, &shape, |at| self.at(&Arr::source(parts, &positions, at))))
    }

    pub fn slice_assign(&self, parts: &[Ix], value: &Arr) -> Option<Arr> {
        let positions = self.positions(parts)?;
        let shape = Arr::slice_shape(parts, &positions);
        if self.dtype != value.dtype || broadcast_shape(&shape, &value.shape)? != shape {
            return None;
        }
        let mut out = self.clone();
        walk(&shape, |at| {
            let to = Arr::source(parts, &positions, at);
            let flat = to.iter().zip(&self.shape).fold(0, |n, (&i, &len)| n * len + i);
            out.data[flat] = value.spread(at);
        });
        Some(out)
    }

    pub fn permute(&self, order: &[usize]) -> Option<Arr> {
        if order.len() != self.shape.len() {
            return None;
        }
        let shape: Vec<usize> = order.iter().map(|&a| self.shape[a]).collect();
        Some(Arr::build(self.dtype, &shape, |at| {
            let mut from = vec![0; at.len()];
            order.iter().zip(at).for_each(|(&a, &i)| from[a] = i);
            self.at(&from)
        }))
    }

    pub fn broadcast(&self, shape: &[usize]) -> Option<Arr> {
        let fits = broadcast_shape(&self.shape, shape).is_some_and(|s| s == shape);
        fits.then(|| Arr::build(self.dtype, shape, |at| self.spread(at)))
    }

    pub fn reshape(&self, shape: &[usize]) -> Option<Arr> {
        let fits = shape.iter().product::<usize>() == self.len();
        fits.then(|| Arr { dtype: self.dtype, shape: shape.to_vec(), data: self.data.clone() })
    }

    pub fn flip(&self, axis: usize) -> Option<Arr> {
        let n = *self.shape.get(axis)?;
        Some(Arr::build(self.dtype, &self.shape, |at| {
            let mut from = at.to_vec();
            from[axis] = n - 1 - at[axis];
            self.at(&from)
        }))
    }

    pub fn take(&self, axis: usize, index: &Arr) -> Option<Arr> {
        let n = *self.shape.get(axis)?;
        let whole = index.dtype.is_int() && index.shape.len() == 1;
        if !whole || index.data.iter().any(|&i| i < 0.0 || i >= n as f64) {
            return None;
        }
        let mut shape = self.shape.clone();
        shape[axis] = index.len();
        Some(Arr::build(self.dtype, &shape, |at| {
            let mut from = at.to_vec();
            from[axis] = index.data[at[axis]] as usize;
            self.at(&from)
        }))
    }

    /// NumPy's matmul.
    pub fn dot(&self, other: &Arr) -> Option<Arr> {
        if self.dtype != other.dtype || self.dtype == DType::Bool || self.shape.is_empty() || other.shape.is_empty() {
            return None;
        }
        let (lead, trail) = (self.shape.len() == 1, other.shape.len() == 1);
        let (mut xs, mut ys) = (self.shape.clone(), other.shape.clone());
        if lead {
            xs.insert(0, 1);
        }
        if trail {
            ys.push(1);
        }
        let (x, y) = (self.reshape(&xs)?, other.reshape(&ys)?);
        let (m, k, n) = (xs[xs.len() - 2], xs[xs.len() - 1], ys[ys.len() - 1]);
        if ys[ys.len() - 2] != k || x.top() * y.top() * k as f64 > LIMIT {
            return None;
        }
        let batch = broadcast_shape(&xs[..xs.len() - 2], &ys[..ys.len() - 2])?;
        let with = |tail: [usize; 2]| batch.iter().copied().chain(tail).collect::<Vec<_>>();
        let (x, y) = (x.broadcast(&with([m, k]))?, y.broadcast(&with([k, n]))?);
        let b = batch.len();
        let mut out = Arr::build(self.dtype, &with([m, n]), |at| {
            let (mut i, mut j) = (at.to_vec(), at.to_vec());
            (0..k).fold(0.0, |sum, l| {
                (i[b + 1], j[b]) = (l, l);
                sum + x.at(&i) * y.at(&j)
            })
        });
        if trail {
            out.shape.pop();
        }
        if lead {
            out.shape.remove(b);
        }
        Some(out)
    }
}
