//! Random programs: steps over a pool of small arrays whose shapes broadcast, with the patterns people write.

use super::program::{Lay, Op, Over, Program, Step};
use crate::naive::{Arr, Ix, Red, broadcast_shape};
use ndcuda::DType;

/// splitmix64, so that a seed says it all.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// True `n` times in a hundred.
    pub fn percent(&mut self, n: u64) -> bool {
        self.next() % 100 < n
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// One of the words.
    pub fn word(&mut self, of: &'static str) -> &'static str {
        let n = self.below(of.split_whitespace().count());
        of.split_whitespace().nth(n).unwrap_or(of)
    }
}

/// The types most programs are made in; the others come beside them, and as one of five alone.
const WIDE: [DType; 4] = [DType::F64, DType::F32, DType::I64, DType::I32];
/// Operations of two, by name; those of other types are refused.
const ZIPS: &str = "add add add sub sub sub mul mul mul maximum minimum equal not_equal less greater_equal div rem \
    remainder floor_divide logical_and logical_or logical_xor bit_and bit_or bit_xor shl shr";

struct Gen {
    rng: Rng,
    steps: Vec<Step>,
    values: Vec<Arr>,
    /// Extents that leaves are made of.
    base: Vec<usize>,
    main: DType,
    /// Elements a value may have.
    cap: usize,
    odd_floats: bool,
}

/// The program of a seed, and the value of each step.
pub fn program(seed: u64) -> (Program, Vec<Arr>) {
    let mut rng = Rng(seed);
    // Most arrays are small; some end beyond a tile, a few are worth several threads.
    let (large, huge) = (rng.percent(8), rng.percent(1));
    let mut base: Vec<usize> = (0..3)
        .map(|_| match rng.below(20) {
            0 => 0,
            1 => 1,
            2 => rng.pick(&[15, 16, 17, 33, 40]),
            _ => rng.pick(&[2, 3, 3, 4, 5, 6, 7, 8]),
        })
        .collect();
    if huge {
        base = vec![rng.pick(&[1, 2]), 150 + rng.below(250), 150 + rng.below(250)];
    } else if large {
        base[rng.below(3)] = rng.pick(&[63, 65, 130, 255, 257, 1023, 1024, 1025, 2050]);
    }
    let main = if rng.percent(80) { rng.pick(&WIDE) } else { rng.pick(&DType::ALL[1..]) };
    let odd_floats = rng.percent(8);
    let cap = if huge {
        200_000
    } else if large {
        30_000
    } else {
        1500
    };
    let mut g = Gen { rng, steps: vec![], values: vec![], base, main, cap, odd_floats };
    let together = g.rng.percent(40);
    let backwards = g.rng.percent(50);
    for _ in 0..1 + g.rng.below(4) {
        g.leaf();
    }
    while g.values.is_empty() {
        g.leaf();
    }
    let steps = match g.rng.below(10) {
        _ if huge => 2 + g.rng.below(6),
        0 => 40 + g.rng.below(60),
        1..=4 => 2 + g.rng.below(6),
        _ => 6 + g.rng.below(20),
    };
    let mut tries = 0;
    while g.steps.len() < steps && tries < 20 * steps {
        tries += 1;
        g.grow();
    }
    let p = Program { steps: g.steps, together, backwards };
    if g.rng.percent(50) {
        return (p, g.values);
    }
    // A few results and what they need: deeper expressions, of which nothing else is asked for.
    let mut keep: Vec<usize> =
        (0..1 + g.rng.below(3)).map(|_| p.steps.len() - 1 - g.rng.below(p.steps.len().min(6))).collect();
    keep.push(p.steps.len() - 1);
    let (mut p, kept) = p.only(&keep);
    if g.rng.percent(50) {
        p.steps.iter_mut().for_each(|s| s.held = false);
    }
    (p, kept.into_iter().map(|i| g.values[i].clone()).collect())
}

impl Gen {
    fn push(&mut self, op: Op, args: &[usize]) -> Option<usize> {
        let x: Vec<&Arr> = args.iter().map(|&a| &self.values[a]).collect();
        if let Op::Zip(_) | Op::Update(_) = op {
            let n: usize = broadcast_shape(&x[0].shape, &x[1].shape)?.iter().product();
            if n > self.cap {
                return None;
            }
        }
        if matches!(op, Op::Dot) && x[0].len() * x[1].shape.last().copied().unwrap_or(1) > 8 * self.cap {
            return None;
        }
        let v = op.naive(&x)?;
        if v.len() > self.cap || v.shape.len() > 6 || !v.fits() {
            return None;
        }
        let held = self.rng.percent(25);
        let eager = self.rng.percent(5);
        self.steps.push(Step { op, args: args.to_vec(), held, eager });
        self.values.push(v);
        Some(self.values.len() - 1)
    }

    /// A step to take an operand from: mostly a late one.
    fn any(&mut self) -> usize {
        let n = self.values.len();
        if self.rng.percent(60) { n - 1 - self.rng.below(n.min(5)) } else { self.rng.below(n) }
    }

    fn that(&mut self, f: impl Fn(&Arr) -> bool) -> Option<usize> {
        let fit: Vec<usize> = (0..self.values.len()).filter(|&i| f(&self.values[i])).collect();
        if fit.is_empty() {
            return None;
        }
        let late = self.rng.percent(50);
        Some(if late { fit[fit.len() - 1 - self.rng.below(fit.len().min(4))] } else { self.rng.pick(&fit) })
    }

    fn shape(&mut self) -> Vec<usize> {
        let rank = self.rng.pick(&[0, 1, 1, 2, 2, 2, 2, 3, 3]);
        let mut shape: Vec<usize> = self.base[3 - rank..].to_vec();
        if self.rng.percent(15) {
            let n = self.rng.pick(&[1, 2, 3]);
            shape.insert(0, n);
        }
        for n in &mut shape {
            if self.rng.percent(10) {
                *n = 1;
            }
        }
        shape
    }

    fn number(&mut self, d: DType) -> f64 {
        if d == DType::Bool {
            return (self.rng.below(2)) as f64;
        }
        if self.odd_floats && d.is_float() && self.rng.percent(8) {
            return self.rng.pick(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY]);
        }
        self.rng.below(9) as f64 - if d.is_unsigned() { 0.0 } else { 4.0 }
    }

    fn array(&mut self, d: DType, shape: Vec<usize>) -> Arr {
        let n = shape.iter().product();
        let data = (0..n).map(|_| self.number(d)).collect();
        Arr { dtype: d, shape, data }
    }

    fn dtype(&mut self) -> DType {
        if self.rng.percent(75) { self.main } else { self.rng.pick(&DType::ALL) }
    }

    fn leaf(&mut self) -> Option<usize> {
        let d = self.dtype();
        match self.rng.below(12) {
            0 => {
                let (shape, v) = (self.shape(), self.number(d));
                self.push(Op::Full(d, shape, v), &[])
            }
            1 if d != DType::Bool => {
                let (start, step, n) = (self.number(DType::I64), self.rng.pick(&[1.0, 2.0, -1.0]), self.base[2]);
                self.push(Op::Arange(d, start, step, n), &[])
            }
            2 => {
                let n = self.base[2].min(40);
                self.push(Op::Eye(d, n), &[])
            }
            _ => {
                let shape = self.shape();
                use Lay::{Copied, Fortran, Moved, MovedFortran, MovedReversed, MovedStepped, Reversed};
                let lays = [Copied, Copied, Moved, Moved, Fortran, MovedFortran, Reversed, MovedReversed, MovedStepped];
                let lay = self.rng.pick(&lays);
                let a = self.array(d, shape);
                self.push(Op::Leaf(a, lay), &[])
            }
        }
    }

    /// Another step that broadcasts with `a` and has its type.
    fn partner(&mut self, a: usize) -> Option<usize> {
        let (shape, d) = (self.values[a].shape.clone(), self.values[a].dtype);
        let fit = |v: &Arr| v.dtype == d && broadcast_shape(&v.shape, &shape).is_some();
        if self.rng.percent(90) {
            return self.that(fit);
        }
        let mut shape = shape;
        for n in &mut shape {
            if self.rng.percent(25) {
                *n = 1;
            }
        }
        let leaf = self.array(d, shape);
        self.push(Op::Leaf(leaf, Lay::Copied), &[])
    }

    fn slice_of(&mut self, shape: &[usize]) -> Vec<Ix> {
        let mut parts = vec![];
        for &n in shape {
            if self.rng.percent(6) {
                parts.push(Ix::New);
            }
            parts.push(match self.rng.below(10) {
                0 if n > 0 => Ix::At(self.rng.below(n)),
                0..=4 => Ix::Range(0, n, 1),
                5 => Ix::Range(0, n, -1),
                6 => Ix::Range(0, n, self.rng.pick(&[2, 3, -2])),
                7 => Ix::Range(1.min(n), n, 1),
                8 => Ix::Range(0, n.saturating_sub(1), 1),
                _ => {
                    let a = self.rng.below(n + 1);
                    let b = a + self.rng.below(n - a + 1);
                    Ix::Range(a, b, self.rng.pick(&[1, 1, 2, -1]))
                }
            });
        }
        parts
    }

    fn over(&mut self, rank: usize) -> Over {
        if rank == 0 {
            return Over::Every;
        }
        match self.rng.below(10) {
            0 => Over::Every,
            1..=4 => Over::One(if self.rng.percent(60) { rank - 1 } else { self.rng.below(rank) }),
            5..=7 => Over::Kept(self.rng.below(rank)),
            _ => Over::Several((0..rank).filter(|_| self.rng.percent(50)).collect()),
        }
    }

    fn grow(&mut self) -> Option<usize> {
        let a = self.any();
        let (shape, d) = (self.values[a].shape.clone(), self.values[a].dtype);
        let rank = shape.len();
        match self.rng.below(100) {
            0..=3 => self.leaf(),
            4..=29 => {
                let b = self.partner(a)?;
                let op = self.rng.word(ZIPS);
                let (a, b) = if self.rng.percent(50) { (a, b) } else { (b, a) };
                self.push(Op::Zip(op), &[a, b])
            }
            30..=35 => {
                let v = self.number(d);
                let op =
                    self.rng.pick(&["add", "sub", "mul", "maximum", "minimum", "equal", "less", "rem", "from_sub"]);
                // A float's remainder of the naive evaluator is not Rust's for infinities.
                let op = if op == "rem" && d.is_float() { "add" } else { op };
                self.push(Op::WithScalar(op, v), &[a])
            }
            36..=41 => {
                let op = self.rng.word("neg abs square sign bit_not logical_not is_nan");
                self.push(Op::Map(op), &[a])
            }
            42..=43 => {
                let m = self.that(|v| v.dtype == DType::Bool)?;
                let b = self.partner(a)?;
                self.push(Op::Where, &[m, a, b])
            }
            44 => {
                let (b, c) = (self.partner(a)?, self.partner(a)?);
                self.push(Op::Clamp, &[a, b, c])
            }
            45..=47 => {
                let to = self.dtype();
                self.push(Op::Cast(to), &[a])
            }
            48..=60 => {
                use Red::{All, Any, ArgMax, ArgMin, Count, Max, Min, Product, Sum};
                let of = [Sum, Sum, Sum, Max, Max, Min, ArgMin, ArgMax, Any, All, Count, Product];
                let r = self.rng.pick(&of);
                let over = self.over(rank);
                self.push(Op::Reduce(r, over), &[a])
            }
            61..=68 => {
                let parts = self.slice_of(&shape);
                self.push(Op::Slice(parts), &[a])
            }
            69..=73 => {
                let mut order: Vec<usize> = (0..rank).rev().collect();
                if rank > 2 && self.rng.percent(50) {
                    let i = self.rng.below(rank);
                    order.swap(0, i);
                }
                self.push(Op::Permute(order), &[a])
            }
            74..=75 => {
                let i = self.rng.below(rank + 1);
                self.push(Op::Insert(i), &[a])
            }
            76..=77 => {
                let mut to: Vec<usize> =
                    shape.iter().map(|&n| if n == 1 { self.rng.pick(&[1, 2, 3]) } else { n }).collect();
                if self.rng.percent(50) {
                    to.insert(0, self.base[0]);
                }
                self.push(Op::Broadcast(to), &[a])
            }
            78 if rank > 0 => {
                let i = self.rng.below(rank);
                self.push(Op::Flip(i), &[a])
            }
            79 if rank > 0 => {
                let axis = self.rng.below(rank);
                let (k, largest, at) =
                    (shape[axis].min(1 + self.rng.below(4)), self.rng.percent(50), self.rng.percent(50));
                self.push(Op::TopK { k, axis, largest, at }, &[a])
            }
            79..=81 => self.reshape(a),
            82..=84 => {
                let k = shape.last().copied().unwrap_or(0);
                let fits =
                    move |v: &Arr| v.dtype == d && !v.shape.is_empty() && v.shape[v.shape.len().saturating_sub(2)] == k;
                let b = self.that(fits)?;
                self.push(Op::Dot, &[a, b])
            }
            85..=86 if rank > 0 => self.take(a),
            87..=90 => self.write(a),
            91..=93 => self.pairwise(),
            94..=95 => self.centred(a),
            96..=97 => self.repeat(a),
            _ => {
                let b = self.that(|v| v.dtype == d && v.shape == shape)?;
                let op = self.rng.pick(&["add", "sub", "mul"]);
                self.push(Op::Update(op), &[a, b])
            }
        }
    }

    fn reshape(&mut self, a: usize) -> Option<usize> {
        let shape = &self.values[a].shape;
        let n = self.values[a].len();
        let to = match self.rng.below(4) {
            0 => vec![n],
            1 if shape.len() > 1 => {
                let mut to = vec![shape[0] * shape[1]];
                to.extend(&shape[2..]);
                to
            }
            2 => {
                let f = (2..=n).find(|f| n.is_multiple_of(*f))?;
                vec![f, n / f]
            }
            _ => {
                let mut to = shape.clone();
                to.reverse();
                to
            }
        };
        self.push(Op::Reshape(to), &[a])
    }

    fn take(&mut self, a: usize) -> Option<usize> {
        let axis = self.rng.below(self.values[a].shape.len());
        let n = self.values[a].shape[axis];
        let at: Vec<usize> = if n == 0 { vec![] } else { (0..self.rng.below(7)).map(|_| self.rng.below(n)).collect() };
        if self.rng.percent(30) {
            return self.push(Op::Select(axis, at), &[a]);
        }
        let index = match self.that(|v| v.dtype.is_int() && v.shape.len() == 1) {
            Some(i) if self.rng.percent(60) => i,
            _ => {
                let dtype = self.rng.pick(&[DType::I32, DType::I64, DType::U8, DType::I16]);
                let data = at.iter().map(|&i| i as f64).collect();
                self.push(Op::Leaf(Arr { dtype, shape: vec![at.len()], data }, Lay::Moved), &[])?
            }
        };
        self.push(Op::Take(axis), &[a, index])
    }

    fn write(&mut self, a: usize) -> Option<usize> {
        let (shape, d) = (self.values[a].shape.clone(), self.values[a].dtype);
        let parts = self.slice_of(&shape);
        if self.rng.percent(25) {
            let v = self.number(d);
            return self.push(Op::SliceFill(parts, v), &[a]);
        }
        if self.rng.percent(15) {
            let b = self.partner(a)?;
            return self.push(Op::Assign, &[a, b]);
        }
        let region = self.values[a].slice(&parts)?.shape;
        let fits = |v: &Arr| v.dtype == d && broadcast_shape(&region, &v.shape).is_some_and(|s| s == region);
        let b = match self.rng.below(3) {
            0 => self.push(Op::Slice(parts.clone()), &[a])?,
            _ => self.that(fits)?,
        };
        self.push(Op::SliceAssign(parts), &[a, b])
    }

    /// `reduce(f(x[:, None, :], y[None, :, :]), k)`.
    fn pairwise(&mut self) -> Option<usize> {
        let x = self.that(|v| v.shape.len() == 2 && v.dtype != DType::Bool)?;
        let (k, d) = (self.values[x].shape[1], self.values[x].dtype);
        let y = self.that(|v| v.shape.len() == 2 && v.shape[1] == k && v.dtype == d)?;
        let a = self.push(Op::Insert(1), &[x])?;
        let b = self.push(Op::Insert(0), &[y])?;
        let op = self.rng.pick(&["sub", "sub", "mul", "maximum", "add"]);
        let mut f = self.push(Op::Zip(op), &[a, b])?;
        if self.rng.percent(70) {
            let op = self.rng.pick(&["abs", "square"]);
            f = self.push(Op::Map(op), &[f])?;
        }
        let r = self.rng.pick(&[Red::Sum, Red::Sum, Red::Max, Red::Min, Red::ArgMin, Red::Any]);
        let f = self.push(Op::Reduce(r, Over::One(2)), &[f])?;
        if self.rng.percent(40) {
            let axis = self.rng.below(2);
            let r = self.rng.pick(&[Red::ArgMin, Red::Min, Red::Sum]);
            return self.push(Op::Reduce(r, Over::One(axis)), &[f]);
        }
        Some(f)
    }

    /// `e = f(x - max(x)); e * e - sum(e)`: the shape of a softmax.
    fn centred(&mut self, a: usize) -> Option<usize> {
        let rank = self.values[a].shape.len();
        if rank == 0 || self.values[a].dtype == DType::Bool {
            return None;
        }
        let axis = if self.rng.percent(70) { rank - 1 } else { self.rng.below(rank) };
        let m = self.push(Op::Reduce(self.rng_red(), Over::Kept(axis)), &[a])?;
        let e = self.push(Op::Zip("sub"), &[a, m])?;
        let d = self.values[e].dtype;
        let e = self.push(Op::Map("abs"), &[e])?;
        let s = self.push(Op::Reduce(Red::Sum, Over::Kept(axis)), &[e])?;
        let s = self.push(Op::Cast(d), &[s])?;
        self.push(Op::Zip("sub"), &[e, s])
    }

    fn rng_red(&self) -> Red {
        if self.values.len().is_multiple_of(3) { Red::Min } else { Red::Max }
    }

    /// A loop: the same few operations again and again on what they gave.
    fn repeat(&mut self, a: usize) -> Option<usize> {
        let (mut x, d) = (a, self.values[a].dtype);
        if d == DType::Bool {
            return None;
        }
        let shape = self.values[a].shape.clone();
        let b = self.that(|v| v.dtype == d && broadcast_shape(&shape, &v.shape).is_some_and(|s| s == shape))?;
        let flip = !shape.is_empty() && self.rng.percent(40);
        let update = self.rng.percent(50);
        for _ in 0..self.rng.pick(&[5, 12, 40]) {
            x = if update && x != b {
                self.push(Op::Update("add"), &[x, b])?
            } else {
                self.push(Op::Zip("sub"), &[x, b])?
            };
            if flip {
                x = self.push(Op::Flip(0), &[x])?;
            }
            x = self.push(Op::WithScalar("minimum", 9.0), &[x])?;
            x = self.push(Op::WithScalar("maximum", -9.0), &[x])?;
        }
        Some(x)
    }
}
