//! Random programs of all dtypes, over any values, empty arrays among them. What has to come of a program is what the CPU gives each
//! of its steps alone: the operations are those whose bits do not depend on what they are fused with.

use super::generate::Rng;
use super::program::{Lay, Op, Over, Program, Step};
use super::values::{Dev, bits, eval, read, shape};
use super::{run, shrink, written};
use crate::harness::{on_the_host, quietly};
use crate::naive::{Arr, Ix, Red, broadcast_shape};
use ndcuda::{DType, Device};

/// Elements a value may have.
const CAP: usize = 3000;
const ANY: &str = "maximum minimum equal not_equal less greater_equal logical_and logical_or logical_xor";
const NUMBERS: &str = "add sub mul add sub mul div rem remainder floor_divide";
const BITS: &str = "bit_and bit_or bit_xor shl shr";
const SCALARS: &str = "add sub mul rem maximum minimum less from_sub from_div from_shl shr";
const MAPS: &str = "neg abs square cube sign bit_not logical_not is_nan is_finite";
const FLOATS: &str = "sqrt recip floor trunc round round_ties_even";
/// Within ulps of each other on two devices: on the CPU alone.
const CURVES: &str = "exp ln sin tanh";

struct Gen {
    rng: Rng,
    steps: Vec<Step>,
    cpu: Device,
    values: Vec<Dev>,
    base: [usize; 3],
    main: DType,
    curves: bool,
}

/// Runs the program of a seed.
pub fn one(seed: u64, dev: &Device) -> Result<(), String> {
    let (p, values) = program(seed, on_the_host(dev));
    let fails = |p: &Program, values: &[Dev]| run(p, dev, |i, d| same(&values[i], d));
    let Err(why) = fails(&p, &values) else { return Ok(()) };
    let (small, small_why) = shrink::shrink(&p, &why, alone, |d| read(d).unwrap(), fails);
    let values = alone(&small).unwrap_or_default();
    let text = written(&small, |i| values.get(i).map(|v| format!("{:?}", shape(v))).unwrap_or_default());
    Err(format!("NDCUDA_FUZZ_SEED={seed} on {dev}: {why}\nshrunk: {small_why}\n{text}"))
}

/// The value of each step, evaluated on the CPU as soon as it is recorded, so that nothing is fused.
fn alone(p: &Program) -> Option<Vec<Dev>> {
    let (cpu, mut values) = (Device::cpu(), vec![]);
    for s in &p.steps {
        values.push(taken(&s.op, &cpu, s.args.iter().map(|&a| Dev::clone(&values[a])).collect())?);
    }
    Some(values)
}

/// One step alone; `None` where there is no such operation.
fn taken(op: &Op, cpu: &Device, args: Vec<Dev>) -> Option<Dev> {
    let made = quietly(|| op.record(cpu, args)).ok()?.ok()?;
    eval(&made).ok()?;
    Some(made)
}

/// Whether a value has the bits it should.
fn same(right: &Dev, d: &Dev) -> Result<(), String> {
    let got = bits(d).map_err(|e| format!("error: {e}"))?;
    let want = bits(right).map_err(|e| format!("error on the CPU: {e}"))?;
    if (shape(d), got.len()) != (shape(right), want.len()) {
        return Err(format!("{:?} where {:?} is right", shape(d), shape(right)));
    }
    let found: Vec<usize> = (0..got.len()).filter(|&n| got[n] != want[n]).collect();
    let Some(&n) = found.first() else { return Ok(()) };
    Err(format!("{} of {} differ; element {n} is {:#x} not {:#x}", found.len(), got.len(), got[n], want[n]))
}

/// The program of a seed, and the values of its steps.
fn program(seed: u64, curves: bool) -> (Program, Vec<Dev>) {
    let mut rng = Rng(seed);
    let base = [rng.pick(&[1, 2, 3, 5]), rng.pick(&[1, 2, 4, 7, 8]), rng.pick(&[1, 3, 4, 8, 16, 33])];
    let base = base.map(|n| if rng.percent(6) { 0 } else { n });
    let main = rng.pick(&DType::ALL);
    let (together, backwards) = (rng.percent(40), rng.percent(50));
    let steps = if rng.percent(5) { 100 } else { 4 + rng.below(28) };
    let mut g = Gen { rng, steps: vec![], cpu: Device::cpu(), values: vec![], base, main, curves };
    g.leaf(g.main, &base);
    for _ in 0..20 * steps {
        if g.steps.len() < steps {
            g.grow();
        }
    }
    (Program { steps: g.steps, together, backwards }, g.values)
}

impl Gen {
    fn push(&mut self, op: Op, args: &[usize]) -> Option<usize> {
        let made = taken(&op, &self.cpu, args.iter().map(|&a| self.values[a].clone()).collect())?;
        let (_, shape) = shape(&made);
        if shape.iter().product::<usize>() > CAP || shape.len() > 5 {
            return None;
        }
        let (held, eager) = (self.rng.percent(25), self.rng.percent(3));
        self.steps.push(Step { op, args: args.to_vec(), held, eager });
        self.values.push(made);
        Some(self.values.len() - 1)
    }

    fn shape(&self, a: usize) -> Vec<usize> {
        shape(&self.values[a]).1
    }

    /// Any value of a type: of everyday size mostly, else from the whole range, or an end of it.
    fn number(&mut self, d: DType) -> f64 {
        let unit = self.rng.next() as f64 / u64::MAX as f64;
        if d == DType::Bool {
            return self.rng.below(2) as f64;
        }
        if d.is_int() {
            let (unused, signed) = (64 - 8 * d.size(), !d.is_unsigned());
            let any =
                if self.rng.percent(30) { self.rng.pick(&[0, 1, u64::MAX, 1 << 63, !0 >> 1]) } else { self.rng.next() };
            return match self.rng.percent(20) {
                true if signed => (any as i64 >> unused) as f64,
                true => (any >> unused) as f64,
                false => (unit * 40.0).round() - if signed { 20.0 } else { 0.0 },
            };
        }
        let (least, most) = match d {
            DType::F16 => (6.103515625e-5, 65504.0),
            DType::F64 => (f64::MIN_POSITIVE, f64::MAX),
            _ => (f32::MIN_POSITIVE.into(), 3.3895313892515355e38),
        };
        let value = match self.rng.below(20) {
            0 => self.rng.pick(&[f64::NAN, f64::INFINITY, 0.0, least, most, 1.0]),
            1 => unit * least,
            2..=4 => (unit * 200.0 - 100.0).exp2(),
            5..=9 => (unit * 20.0).round() / 2.0,
            _ => unit * 200.0 - 100.0,
        };
        if self.rng.percent(50) { -value } else { value }
    }

    fn leaf(&mut self, d: DType, shape: &[usize]) -> Option<usize> {
        use Lay::{Copied, Fortran, Moved, MovedFortran, MovedReversed, MovedStepped, Reversed};
        let data = (0..shape.iter().product()).map(|_| self.number(d)).collect();
        let lay = self.rng.pick(&[Copied, Moved, Fortran, MovedFortran, Reversed, MovedReversed, MovedStepped]);
        self.push(Op::Leaf(Arr { dtype: d, shape: shape.to_vec(), data }, lay), &[])
    }

    fn that(&mut self, f: impl Fn(DType, &[usize]) -> bool) -> Option<usize> {
        let fits = |v: &Dev| {
            let (dtype, shape) = shape(v);
            f(dtype, &shape)
        };
        let all: Vec<usize> = (0..self.values.len()).filter(|&i| fits(&self.values[i])).collect();
        (!all.is_empty()).then(|| self.rng.pick(&all))
    }

    /// A step that broadcasts with this shape and has this type, or a new leaf.
    fn partner(&mut self, d: DType, of: &[usize]) -> Option<usize> {
        if self.rng.percent(80)
            && let Some(found) = self.that(|dtype, shape| dtype == d && broadcast_shape(shape, of).is_some())
        {
            return Some(found);
        }
        let of: Vec<usize> = of.iter().map(|&n| if self.rng.percent(25) { 1 } else { n }).collect();
        self.leaf(d, &of)
    }

    fn slice_of(&mut self, shape: &[usize]) -> Vec<Ix> {
        let mut part = |n: usize| match self.rng.below(8) {
            0 => Ix::Range(0, n, -1),
            1 => Ix::Range(1.min(n), n, 1),
            2 => Ix::Range(0, n, 2),
            3 if n > 0 => Ix::At(self.rng.below(n)),
            4 => {
                let a = self.rng.below(n + 1);
                Ix::Range(a, a + self.rng.below(n - a + 1), self.rng.pick(&[1, 2, -1, -2]))
            }
            _ => Ix::Range(0, n, 1),
        };
        shape.iter().map(|&n| part(n)).collect()
    }

    fn grow(&mut self) -> Option<usize> {
        let n = self.values.len();
        let a = if self.rng.percent(70) { n - 1 - self.rng.below(n.min(4)) } else { self.rng.below(n) };
        let (d, shape) = shape(&self.values[a]);
        let rank = shape.len();
        let axis = self.rng.below(rank.max(1));
        match self.rng.below(100) {
            0..=3 => {
                let (d, from, base) = (self.rng.pick(&DType::ALL), self.rng.below(4), self.base);
                self.leaf(d, &base[from..])
            }
            // A product and a sum, which a compiler might contract.
            4..=9 if d.is_float() => {
                let b = self.partner(d, &shape)?;
                let c = self.partner(d, &broadcast_shape(&shape, &self.shape(b))?)?;
                let product = self.push(Op::Zip("mul"), &[a, b])?;
                let op = self.rng.pick(&["add", "sub"]);
                self.push(Op::Zip(op), &[product, c])
            }
            4..=32 => {
                let b = self.partner(d, &shape)?;
                let of = match d {
                    _ if self.rng.percent(25) => ANY,
                    d if d.is_float() && self.curves && self.rng.percent(15) => "powf hypot",
                    d if d.is_float() || d.is_int() && self.rng.percent(65) => NUMBERS,
                    _ => BITS,
                };
                let (op, (a, b)) = (self.rng.word(of), if self.rng.percent(50) { (a, b) } else { (b, a) });
                self.push(Op::Zip(op), &[a, b])
            }
            33..=39 => {
                let (v, op) = (self.number(d), self.rng.word(SCALARS));
                self.push(Op::WithScalar(op, v), &[a])
            }
            40..=50 => {
                let of = match d {
                    d if d.is_float() && self.rng.percent(50) => FLOATS,
                    d if d.is_float() && self.curves && self.rng.percent(30) => CURVES,
                    _ => MAPS,
                };
                let op = self.rng.word(of);
                self.push(Op::Map(op), &[a])
            }
            51..=54 => {
                let mask = self.partner(DType::Bool, &shape)?;
                let b = self.partner(d, &broadcast_shape(&shape, &self.shape(mask))?)?;
                self.push(Op::Where, &[mask, a, b])
            }
            55..=57 => {
                let b = self.partner(d, &shape)?;
                let c = self.partner(d, &broadcast_shape(&shape, &self.shape(b))?)?;
                self.push(Op::Clamp, &[a, b, c])
            }
            58..=63 => {
                let to = if self.rng.percent(50) { self.main } else { self.rng.pick(&DType::ALL) };
                self.push(Op::Cast(to), &[a])
            }
            64..=69 => {
                let parts = self.slice_of(&shape);
                self.push(Op::Slice(parts), &[a])
            }
            70..=72 => self.push(Op::Permute((0..rank).rev().collect()), &[a]),
            73..=74 => self.push(Op::Insert(axis), &[a]),
            75..=76 => self.push(Op::Flip(axis), &[a]),
            77..=78 => {
                let flat = self.rng.percent(50);
                let to = if flat { vec![shape.iter().product()] } else { shape.iter().rev().copied().collect() };
                self.push(Op::Reshape(to), &[a])
            }
            79 => {
                let mut to = shape.clone();
                to.insert(0, 1 + self.rng.below(3));
                self.push(Op::Broadcast(to), &[a])
            }
            80..=86 => {
                let r = self.fold(d);
                let over = match self.rng.below(4) {
                    0 => Over::Every,
                    1 => Over::Kept(axis),
                    2 => Over::Several((0..rank).filter(|_| self.rng.percent(50)).collect()),
                    _ => Over::One(axis),
                };
                self.push(Op::Reduce(r, over), &[a])
            }
            87..=88 => {
                let k = self.rng.below(shape.get(axis)?.min(&4) + 1);
                let (largest, at) = (self.rng.percent(50), self.rng.percent(50));
                self.push(Op::TopK { k, axis, largest, at }, &[a])
            }
            89..=90 => {
                let n = *shape.get(axis)?;
                let count = if n > 0 { self.rng.below(7) } else { 0 };
                let data: Vec<f64> = (0..count).map(|_| self.rng.below(n) as f64).collect();
                let dtype = self.rng.pick(&[DType::U8, DType::I32, DType::I64]);
                let index = Arr { dtype, shape: vec![count], data };
                let index = self.push(Op::Leaf(index, Lay::Copied), &[])?;
                self.push(Op::Take(axis), &[a, index])
            }
            91..=93 => self.pairs(),
            94..=96 => {
                let parts = self.slice_of(&shape);
                let v = self.number(d);
                let part = self.push(Op::Slice(parts.clone()), &[a])?;
                let b = self.partner(d, &self.shape(part))?;
                if self.rng.percent(30) {
                    self.push(Op::SliceFill(parts, v), &[a])
                } else {
                    self.push(Op::SliceAssign(parts), &[a, b])
                }
            }
            _ => {
                let b = self.partner(d, &shape)?;
                let op = self.rng.pick(&["add", "sub", "mul"]);
                self.push(Op::Update(op), &[a, b])
            }
        }
    }

    /// A fold that is exact in any order.
    fn fold(&mut self, d: DType) -> Red {
        use Red::{All, Any, ArgMax, ArgMin, Count, Max, Min, Product, Sum};
        let all = [Max, Min, ArgMin, ArgMax, Any, All, Count, Sum, Sum, Sum, Product];
        let n = if d.is_float() { 7 } else { all.len() };
        self.rng.pick(&all[..n])
    }

    /// Pairs of rows, folded over what they share; or a product of matrices.
    fn pairs(&mut self) -> Option<usize> {
        let x = self.that(|d, s| s.len() == 2 && d != DType::Bool)?;
        let ((d, rows), main) = (shape(&self.values[x]), self.main);
        // Elements that are cast on the way.
        let (x, d) = if self.rng.percent(30) { (self.push(Op::Cast(main), &[x])?, main) } else { (x, d) };
        let y = self.that(|e, s| e == d && s.len() == 2 && s[1] == rows[1])?;
        if d.is_int() && self.rng.percent(30) {
            let y = self.push(Op::Permute(vec![1, 0]), &[y])?;
            return self.push(Op::Dot, &[x, y]);
        }
        let (x, y) = (self.push(Op::Insert(1), &[x])?, self.push(Op::Insert(0), &[y])?);
        let op = self.rng.pick(&["sub", "sub", "mul", "not_equal", "maximum"]);
        let mut f = self.push(Op::Zip(op), &[x, y])?;
        if self.rng.percent(70) {
            f = self.push(Op::Map("abs"), &[f]).unwrap_or(f);
        }
        let r = self.fold(shape(&self.values[f]).0);
        self.push(Op::Reduce(r, Over::One(2)), &[f])
    }
}
