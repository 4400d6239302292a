//! Folds in a kernel: which axes each goes over, or that it has to be stored first.
//!
//! A kernel has up to two levels of folded axes: those folded for a result, and those of the folds inside what is folded
//! there (the distance below an argmin). All folds of one level share their axes.

use super::lower::{APART, Lower, Stop, bug};
use super::place::{AMap, Along};
use crate::graph::{Op, Value};
use crate::kernel::{AxisSet, Id, KOp};
use crate::layout::{Dims, MAX_RANK, Src};
use crate::ops::{reduce, row};
use smallvec::{SmallVec, smallvec};

/// Longest row, in elements, whose kernel may walk it several times.
const MAX_ROW: usize = 1 << 16;
/// Values looked at below a fold to find its operands.
const MAX_LOOK: usize = 64;

/// Where the map of a fold's result leads: the kernel's axes it has, and whether they stand in order.
struct Image {
    axes: AxisSet,
    sorted: bool,
}

impl Lower<'_> {
    /// A fold of argument 0 of node `i` over its axes `axes`.
    pub fn fold(&mut self, i: usize, axes: u32, map: &AMap) -> Result<Id, Stop> {
        let g = self.g;
        let Some(expr) = &g.nodes[i].expr else { return Err(bug("fold of a leaf")) };
        let Op::Reduce { reducer, .. } = expr.op else { return Err(bug("fold")) };
        let shape = expr.args[0].shape();
        let lengths: Dims = (0..shape.len()).filter(|a| axes >> a & 1 != 0).map(|a| shape[a]).collect();
        let mut full: Dims = lengths.iter().copied().filter(|&n| n != 1).collect();
        if full.is_empty() {
            // A fold of one element has an axis all the same.
            full.push(1);
        }
        let Some(image) = image(map) else { return Err(Stop::Store(i, APART)) };
        let pair = self.pair(i, axes);
        let norm = self.dot && *reducer == reduce::SUM && self.square(i) == Some(true);
        let mut partial = false;
        let axes_of = match self.level(&image.axes) {
            Some(deep) if image.axes == self.around() && (deep && (pair || norm) || !deep && image.sorted) => {
                self.axes_of_level(deep, &full)
            }
            // |x|^2 beside x.y, over the same k: equal rows then cancel to 0.
            Some(deep) if norm && image.axes != self.around() => {
                partial = true;
                self.axes_of_level(deep, &full)
            }
            _ if image.sorted && self.d.deep.is_empty() => self.axes_of_row(i, &image, &full),
            _ => None,
        };
        let Some(axes_of) = axes_of else { return Err(Stop::Store(i, APART)) };
        self.d.pair |= pair && *reducer == reduce::SUM;
        self.d.ordered |= reducer.ordered && full.len() > 1;
        // The argument's axes: kept ones follow `map`, folded ones the fold's axes.
        let (mut kept, mut walked) = (map.iter(), axes_of.iter());
        let mut inner = AMap::new();
        for (a, &n) in shape.iter().enumerate() {
            inner.push(if axes >> a & 1 == 0 {
                kept.next().copied().unwrap_or(Along { axis: None, step: 0, start: 0 })
            } else if n == 1 {
                Along { axis: None, step: 0, start: 0 }
            } else {
                Along { axis: walked.next().map(|&x| x as u8), step: 1, start: 0 }
            });
        }
        self.inside += 1;
        let arg = self.edge(i, 0, &inner);
        self.inside -= 1;
        let arg = arg.map_err(|stop| match stop {
            // Of three levels, one has to go to memory: the smaller one.
            Stop::Store(n, why) if self.inside == 1 && g.size(n) > g.size(i) => Stop::Store(i, why),
            stop => stop,
        })?;
        let set = set_of(&axes_of);
        // A fold's value stands after its loop even where its argument varies with nothing.
        let over = self.over(arg).union(image.axes).minus(set);
        let id = self.push(KOp::Reduce { reducer, axes: set }, smallvec![arg], g.nodes[i].node.dtype, over)?;
        let inst = &self.d.code[arg as usize];
        if inst.op == KOp::Map(&row::mul) && inst.args[0] != inst.args[1] && pair && *reducer == reduce::SUM {
            self.d.dots.push((i, [inst.args[0], inst.args[1]]));
        }
        if partial {
            self.d.norms.push((i, self.d.code[arg as usize].args[0]));
        } else if set == self.d.sets().1 {
            self.d.fused.push(i);
        }
        Ok(id)
    }

    /// A product of matrices as a sum of products, where its consumers take each element as it is made. A product that
    /// stands alone is a library's, and so is one whose operands do not walk rows and columns.
    ///
    /// Fused, the matrix never goes to memory, and |x|^2 + |y|^2 - 2xy is exactly 0 on equal rows. A GPU's library may
    /// be faster for long k than the fused kernel plus what is saved; the exact zeros are worth more.
    pub fn dot(&mut self, i: usize, map: &AMap) -> Result<Id, Stop> {
        let g = self.g;
        let Some(expr) = &g.nodes[i].expr else { return Err(bug("product of leaves")) };
        let r = map.len();
        let k = expr.args[0].shape()[r - 1];
        let whole = image(map).filter(|m| m.axes == self.around() && k != 1);
        let axes = whole.and_then(|m| self.level(&m.axes)).and_then(|deep| self.axes_of_level(deep, &smallvec![k]));
        let Some(axes) = axes else { return Err(Stop::Store(i, APART)) };
        let along = Along { axis: Some(axes[0] as u8), step: 1, start: 0 };
        let (mut x, mut y) = (map.clone(), map.clone());
        (x[r - 1], y[r - 2]) = (along, along);
        self.inside += 1;
        let args = self.edge(i, 0, &x).and_then(|x| Ok([x, self.edge(i, 1, &y)?]));
        self.inside -= 1;
        let args = args?;
        let dtype = g.nodes[i].node.dtype;
        let product = self.map(&row::mul, SmallVec::from_slice(&args), dtype)?;
        let set = set_of(&axes);
        let over = self.over(product).minus(set);
        let id = self.push(KOp::Reduce { reducer: &reduce::SUM, axes: set }, smallvec![product], dtype, over)?;
        self.d.fused.push(i);
        self.d.pair = true;
        self.d.dots.push((i, args));
        Ok(id)
    }

    /// The axes of the loops around the place that is lowered now.
    fn around(&self) -> AxisSet {
        let outer = AxisSet::first(self.d.outer);
        if self.inside == 0 { outer } else { outer.union(self.folded()) }
    }

    /// Whether a fold here belongs to the inner level; `None` where it belongs to neither.
    fn level(&self, image: &AxisSet) -> Option<bool> {
        let outer = AxisSet::first(self.d.outer);
        let plain = self.folded().and(outer).is_empty() && self.d.spread.is_empty();
        match self.inside {
            0 if plain => Some(false),
            // Something of the fold around must vary with its axes: else this is another pass over a row.
            1 if plain && (*image != outer || self.dot) => Some(true),
            _ => None,
        }
    }

    /// The axes of a level, made now if this is its first fold; `None` where the lengths differ.
    fn axes_of_level(&mut self, deep: bool, full: &Dims) -> Option<Vec<usize>> {
        let d = &mut self.d;
        let axes = if deep { &mut d.deep } else { &mut d.folded };
        if axes.is_empty() {
            let from = d.extents.len();
            if from + full.len() > MAX_RANK {
                return None;
            }
            d.extents.extend(full.iter().copied());
            axes.extend((from..d.extents.len()).map(|a| a as u8));
        }
        let own: Vec<usize> = axes.iter().map(|&a| a as usize).collect();
        matches(&own, full, &self.d.extents).then_some(own)
    }

    /// The axes of a fold that makes its kernel walk a row several times.
    fn axes_of_row(&mut self, i: usize, image: &Image, full: &Dims) -> Option<Vec<usize>> {
        let outer = AxisSet::first(self.d.outer);
        let folded = self.folded();
        let free: Vec<usize> = outer.union(folded).minus(image.axes).iter().collect();
        let row: usize = full.iter().product();
        let rows: usize = image.axes.iter().map(|a| self.d.extents[a]).product();
        let long = row > MAX_ROW || (rows < 8 && row * rows > MAX_ROW);
        if long {
            return None;
        }
        if image.axes == outer && folded.and(outer).is_empty() {
            return self.axes_of_level(false, full);
        }
        let fits = !free.is_empty() && matches(&free, full, &self.d.extents);
        if fits && (folded.is_empty() || set_of(&free) == folded) {
            // Spread back over what it folds: another pass over the row.
            self.d.folded = free.iter().map(|&a| a as u8).collect();
            self.d.spread.push(i);
            return Some(free);
        }
        None
    }

    /// Whether two operands of a fold vary with different axes of its result. Axes of extent 1 count: the order in which
    /// such a sum is folded must not depend on how many rows there are.
    fn pair(&self, i: usize, axes: u32) -> bool {
        let Some(expr) = &self.g.nodes[i].expr else { return false };
        // For each axis of a node, the axis of the fold's argument it follows.
        type Follows = SmallVec<[Option<u8>; 4]>;
        let through = |v: &Value, follows: &Follows| -> Follows {
            let Some(view) = v.part() else { return follows.clone() };
            let mut out: Follows = SmallVec::from_elem(None, view.at.len());
            for (src, &f) in view.src.iter().zip(follows) {
                if let Src::Axis { axis, .. } = *src {
                    out[axis as usize] = f;
                }
            }
            out
        };
        let own: Follows = (0..expr.args[0].shape().len() as u8).map(Some).collect();
        let mut todo = vec![(self.g.nodes[i].args[0] as usize, through(&expr.args[0], &own))];
        let mut seen: Vec<(usize, Follows)> = vec![];
        let mut operands: SmallVec<[u32; 4]> = SmallVec::new();
        while let Some((n, follows)) = todo.pop() {
            if seen.len() > MAX_LOOK || seen.iter().any(|s| s.0 == n && s.1 == follows) {
                continue;
            }
            match (&self.g.nodes[n].expr, self.g.op(n)) {
                (Some(e), Some(Op::Map(_) | Op::Cast)) if !self.stored[n] => {
                    for (arg, &a) in e.args.iter().zip(&self.g.nodes[n].args) {
                        todo.push((a as usize, through(arg, &follows)));
                    }
                }
                (_, Some(Op::Scalar(_) | Op::Iota { .. })) => {}
                _ => {
                    let set = follows.iter().flatten().fold(0u32, |s, &a| s | 1 << a);
                    if set & axes != 0 {
                        operands.push(set & !axes);
                    }
                }
            }
            seen.push((n, follows));
        }
        operands.windows(2).any(|w| w[0] != w[1])
    }

    /// What a fold's argument multiplies, where it is a product made for it: whether that is one value twice.
    fn square(&self, i: usize) -> Option<bool> {
        let n = self.g.nodes[i].args[0] as usize;
        let (Some(e), Some(Op::Map(r))) = (&self.g.nodes[n].expr, self.g.op(n)) else { return None };
        let args = &self.g.nodes[n].args;
        match () {
            _ if self.stored[n] => None,
            _ if *r == row::square => Some(true),
            _ if *r == row::mul => Some(args[0] == args[1] && e.args[0].part() == e.args[1].part()),
            _ => None,
        }
    }

    /// Whether node `i` is a product of rows and columns that has no memory: as such, or a sum of products.
    pub fn is_product(&self, i: usize) -> bool {
        match self.g.op(i) {
            _ if self.stored[i] => false,
            Some(Op::Dot) => true,
            Some(Op::Reduce { reducer, axes }) => {
                *reducer == reduce::SUM && self.square(i) == Some(false) && self.pair(i, axes)
            }
            _ => false,
        }
    }

    /// What has to be stored because the folds of this kernel do not go together.
    pub fn misfit(&self) -> Option<usize> {
        let d = &self.d;
        if self.strided_row() {
            return Some(d.spread[0]);
        }
        // A norm beside a product of other rows has nothing to cancel with.
        let alone = |n: &&(usize, Id)| !d.dots.iter().any(|(_, args)| args.contains(&n.1));
        if let Some(n) = d.norms.iter().find(alone) {
            return Some(n.0);
        }
        let (folded, deep) = d.sets();
        let k = if deep.is_empty() { folded } else { deep };
        if let Some(&(n, [x, y])) = d.dots.iter().find(|d| matches!(self.g.op(d.0), Some(Op::Dot))) {
            // One product for a kernel, of rows and columns.
            let folds = d.code.iter().filter(|i| matches!(i.op, KOp::Reduce { axes, .. } if axes == k)).count();
            let (x, y) = (self.over(x).minus(k), self.over(y).minus(k));
            let pair = !x.minus(y).is_empty() && !y.minus(x).is_empty() && x.union(y) == self.all().minus(k);
            if folds != d.norms.len() + 1 || !pair || !d.spread.is_empty() {
                return Some(n);
            }
        }
        // Folds of folds walk their axes once.
        let mut above = vec![false; d.code.len()];
        for (id, inst) in d.code.iter().enumerate() {
            let arg = inst.args.iter().any(|&a| above[a as usize]);
            let fold = matches!(inst.op, KOp::Reduce { axes, .. } if axes == folded);
            if !deep.is_empty() && (!d.spread.is_empty() || arg && (fold || !inst.over.and(folded).is_empty())) {
                return d.fused.first().copied();
            }
            above[id] = arg || fold;
        }
        None
    }

    fn all(&self) -> AxisSet {
        AxisSet::first(self.d.extents.len())
    }

    /// Whether a row of several passes is not contiguous in its largest operand: three kernels are faster then.
    fn strided_row(&self) -> bool {
        let d = &self.d;
        if d.spread.is_empty() {
            return false;
        }
        let Some(key) = d.loads.iter().max_by_key(|k| self.g.size(k.node)) else { return false };
        let strides = match &self.g.nodes[key.node].leaf {
            Some(stored) => stored.layout.strides.clone(),
            None => crate::layout::c_strides(&self.g.nodes[key.node].node.shape),
        };
        let (_, strides) = key.place(self.g, &strides, d.extents.len());
        let least = |set: AxisSet| set.iter().map(|a| strides[a].unsigned_abs()).filter(|&s| s > 0).min();
        let folded = self.folded();
        match (least(folded), least(self.all().minus(folded))) {
            (Some(k), Some(o)) => o < k,
            _ => false,
        }
    }

    fn folded(&self) -> AxisSet {
        self.d.sets().0
    }
}

/// The kernel's axes that a map walks whole; `None` where it does anything else.
fn image(map: &AMap) -> Option<Image> {
    let mut out = Image { axes: AxisSet::EMPTY, sorted: true };
    let mut last = None;
    for a in map {
        if a.start != 0 || a.axis.is_some() && a.step != 1 {
            return None;
        }
        let Some(x) = a.axis else { continue };
        if out.axes.has(x as usize) {
            return None;
        }
        out.sorted &= last.is_none_or(|l| l < x);
        last = Some(x);
        out.axes = out.axes.union(AxisSet::one(x as usize));
    }
    Some(out)
}

fn matches(axes: &[usize], full: &[usize], extents: &[usize]) -> bool {
    axes.len() == full.len() && axes.iter().zip(full).all(|(&a, &n)| extents[a] == n)
}

fn set_of(axes: &[usize]) -> AxisSet {
    AxisSet(axes.iter().fold(0, |s, a| s | 1 << a))
}
