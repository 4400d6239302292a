//! Random programs of elementwise operations and views of any values. What has to come of each step is what the CPU gives it alone.

use super::generate::Rng;
use super::program::{Dev, Lay, Op, Program, Step, bits, eval, shape};
use super::{run, written};
use crate::naive::{Arr, Ix, broadcast_shape};
use ndcuda::{DType, Device};

const TYPES: [DType; 5] = [DType::F32, DType::F64, DType::I32, DType::I64, DType::Bool];
/// Elements a value may have.
const CAP: usize = 3000;

struct Gen {
    rng: Rng,
    steps: Vec<Step>,
    cpu: Device,
    values: Vec<Dev>,
    base: [usize; 3],
    main: DType,
}

/// Runs the program of a seed.
pub fn one(seed: u64, dev: &Device) -> Result<(), String> {
    let (p, values) = program(seed);
    let want: Vec<Vec<u64>> = values.iter().map(|v| bits(v).unwrap()).collect();
    let compare = |i: usize, d: &Dev| {
        let (got, want) = (bits(d).map_err(|e| format!("error: {e}"))?, &want[i]);
        if (shape(d), got.len()) != (shape(&values[i]), want.len()) {
            return Err(format!("{:?} where {:?} is right", shape(d), shape(&values[i])));
        }
        let differ = |n: &usize| got[*n] != want[*n];
        let found: Vec<usize> = (0..got.len()).filter(differ).collect();
        let Some(&n) = found.first() else { return Ok(()) };
        Err(format!("{} of {} differ; element {n} is {:#x} not {:#x}", found.len(), got.len(), got[n], want[n]))
    };
    run(&p, dev, compare).map_err(|e| {
        let text = written(&p, |i| format!("{:?}", shape(&values[i])));
        format!("NDCUDA_FUZZ_SEED={seed} on {dev}: {e}\n{text}")
    })
}

/// The program of a seed, and the value of each step: evaluated on the CPU as soon as it is recorded, so that nothing is fused.
fn program(seed: u64) -> (Program, Vec<Dev>) {
    let mut rng = Rng(seed);
    let base = [rng.pick(&[1, 2, 3, 5]), rng.pick(&[1, 2, 4, 7, 8]), rng.pick(&[1, 3, 4, 8, 16, 33])];
    let main = rng.pick(&TYPES[..4]);
    let (together, backwards) = (rng.percent(40), rng.percent(50));
    let steps = 6 + rng.below(30);
    let mut g = Gen { rng, steps: vec![], cpu: Device::cpu(), values: vec![], base, main };
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
        let made = op.record(&self.cpu, args.iter().map(|&a| self.values[a].clone()).collect()).ok()?;
        if shape(&made).1.iter().product::<usize>() > CAP {
            return None;
        }
        eval(&made).ok()?;
        let (held, eager) = (self.rng.percent(25), self.rng.percent(3));
        self.steps.push(Step { op, args: args.to_vec(), held, eager });
        self.values.push(made);
        Some(self.values.len() - 1)
    }

    /// Any value of a type: of everyday size mostly, else from the whole range, or an end of it.
    fn number(&mut self, d: DType) -> f64 {
        let unit = self.rng.next() as f64 / u64::MAX as f64;
        match d {
            DType::Bool => return self.rng.below(2) as f64,
            DType::I32 | DType::I64 if self.rng.percent(20) => return f64::from(self.rng.next() as i32),
            DType::I32 | DType::I64 => return (unit * 40.0 - 20.0).round(),
            _ => {}
        }
        let (least, most) =
            if d == DType::F32 { (f32::MIN_POSITIVE.into(), f32::MAX.into()) } else { (f64::MIN_POSITIVE, f64::MAX) };
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
        let data = (0..shape.iter().product()).map(|_| self.number(d)).collect();
        let lay = self.rng.pick(&[
            Lay::Copied,
            Lay::Moved,
            Lay::Fortran,
            Lay::MovedFortran,
            Lay::Reversed,
            Lay::MovedStepped,
        ]);
        self.push(Op::Leaf(Arr { dtype: d, shape: shape.to_vec(), data }, lay), &[])
    }

    /// A step that broadcasts with this shape and has this type, or a new leaf.
    fn partner(&mut self, d: DType, of: &[usize]) -> Option<usize> {
        let fits = |v: &Dev| {
            let (dtype, shape) = shape(v);
            dtype == d && broadcast_shape(&shape, of).is_some()
        };
        let all: Vec<usize> = (0..self.values.len()).filter(|&i| fits(&self.values[i])).collect();
        if !all.is_empty() && self.rng.percent(80) {
            return Some(self.rng.pick(&all));
        }
        let mut of = of.to_vec();
        for n in &mut of {
            if self.rng.percent(25) {
                *n = 1;
            }
        }
        self.leaf(d, &of)
    }

    fn grow(&mut self) -> Option<usize> {
        let n = self.values.len();
        let a = if self.rng.percent(70) { n - 1 - self.rng.below(n.min(4)) } else { self.rng.below(n) };
        let (d, shape) = shape(&self.values[a]);
        let rank = shape.len();
        let any = ["maximum", "minimum", "equal", "not_equal", "less", "greater_equal", "logical_and"];
        match self.rng.below(100) {
            0..=3 => {
                let d = self.rng.pick(&TYPES);
                let from = self.rng.below(3);
                let base = self.base;
                self.leaf(d, &base[from..])
            }
            // A product and a sum, which a compiler might contract.
            4..=11 if d.is_float() => {
                let b = self.partner(d, &shape)?;
                let joint = broadcast_shape(&shape, &super::program::shape(&self.values[b]).1)?;
                let c = self.partner(d, &joint)?;
                let product = self.push(Op::Zip("mul"), &[a, b])?;
                let op = self.rng.pick(&["add", "sub"]);
                self.push(Op::Zip(op), &[product, c])
            }
            4..=44 => {
                let b = self.partner(d, &shape)?;
                let number = ["add", "sub", "mul", "add", "sub", "mul", "div", "rem", "remainder", "floor_divide"];
                let op = match d {
                    DType::Bool => self.rng.pick(&any),
                    _ if self.rng.percent(75) => self.rng.pick(&number),
                    DType::I32 | DType::I64 if self.rng.percent(30) => "bit_xor",
                    _ => self.rng.pick(&any),
                };
                let (a, b) = if self.rng.percent(50) { (a, b) } else { (b, a) };
                self.push(Op::Zip(op), &[a, b])
            }
            45..=52 if d != DType::Bool => {
                let v = self.number(d);
                let op = self.rng.pick(&["add", "sub", "mul", "rem", "maximum", "minimum", "less"]);
                self.push(Op::WithScalar(op, v), &[a])
            }
            53..=66 => {
                let float = ["sqrt", "recip", "floor", "trunc", "round", "round_ties_even"];
                let op = match d {
                    DType::Bool => "logical_not",
                    _ if d.is_float() && self.rng.percent(50) => self.rng.pick(&float),
                    _ => self.rng.pick(&["neg", "abs", "square", "sign", "logical_not", "is_nan", "is_finite"]),
                };
                self.push(Op::Map(op), &[a])
            }
            67..=71 => {
                let mask = self.partner(DType::Bool, &shape)?;
                let joint = broadcast_shape(&shape, &super::program::shape(&self.values[mask]).1)?;
                let b = self.partner(d, &joint)?;
                self.push(Op::Where, &[mask, a, b])
            }
            72..=78 => {
                let to = if self.rng.percent(60) { self.main } else { self.rng.pick(&TYPES) };
                self.push(Op::Cast(to), &[a])
            }
            79..=84 => {
                let mut part = |n: usize| match self.rng.below(4) {
                    0 => Ix::Range(0, n, -1),
                    1 => Ix::Range(1.min(n), n, 1),
                    2 => Ix::Range(0, n, 2),
                    _ => Ix::Range(0, n, 1),
                };
                let parts = shape.iter().map(|&n| part(n)).collect();
                self.push(Op::Slice(parts), &[a])
            }
            85..=88 => self.push(Op::Permute((0..rank).rev().collect()), &[a]),
            89..=90 if rank < 4 => {
                let at = self.rng.below(rank + 1);
                self.push(Op::Insert(at), &[a])
            }
            91..=93 if rank > 0 => {
                let at = self.rng.below(rank);
                self.push(Op::Flip(at), &[a])
            }
            94..=95 => self.push(Op::Reshape(vec![shape.iter().product()]), &[a]),
            _ if d != DType::Bool => {
                let b = self.partner(d, &shape)?;
                let joint = broadcast_shape(&shape, &super::program::shape(&self.values[b]).1)?;
                let op = self.rng.pick(&["add", "sub", "mul"]);
                if joint == shape { self.push(Op::Update(op), &[a, b]) } else { None }
            }
            _ => None,
        }
    }
}
