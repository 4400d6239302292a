//! Pairwise kernels: a block computes a tile of results, with slices of both operands in shared memory. The (i, j, k) values exist in
//! registers only.
//!
//! What varies with (i, k) alone or (j, k) alone is computed once, when its slice is loaded. Results fold k in segments of fixed length, so
//! that their bits do not depend on the tile.

use super::write::Writer;
use super::{all_axes, register};
use crate::dtype::DType;
use crate::error::Result;
use crate::kernel::{AxisSet, Id, KOp, KernelIr};

/// Threads of a block along x (along j) and y (along i): a warp stores whole lines.
pub(super) const THREADS: (u32, u32) = (32, 8);
/// Results of a thread along i.
const ROWS: usize = 8;
/// Results of a block along i.
const TILE_I: usize = ROWS * THREADS.1 as usize;
/// Length of the segments that k is folded in.
const SEGMENT: usize = 1024;
/// Shared memory for slices.
const SHARED: usize = 40 << 10;

/// How a pairwise kernel is tiled.
pub(super) struct Plan {
    axes: Axes,
    /// Results of a thread along j.
    cols: usize,
    /// Length of a slice along k.
    slice: usize,
    /// Values kept in shared memory: those of (i, k), of (j, k), of k alone.
    staged: [Vec<Id>; 3],
    /// Values of each (i, j, k).
    inner: Vec<Id>,
    folds: Vec<Fold>,
}

#[derive(Clone, Copy)]
struct Axes {
    i: AxisSet,
    j: AxisSet,
    k: AxisSet,
    batch: AxisSet,
}

struct Fold {
    id: Id,
    /// The factors of a Sum's last multiply, which is fused with the addition.
    fma: Option<(Id, Id)>,
}

impl Plan {
    fn tile_j(&self) -> usize {
        self.cols * THREADS.0 as usize
    }

    /// The number of tiles, where `count` gives the indices over a set of axes.
    pub fn tiles(&self, count: impl Fn(AxisSet) -> u64) -> u64 {
        let (i, j) = (count(self.axes.i), count(self.axes.j));
        count(self.axes.batch) * i.div_ceil(TILE_I as u64) * j.div_ceil(self.tile_j() as u64)
    }

    /// Whether an instruction varies with i, and whether with j.
    fn sides(&self, ir: &KernelIr, id: Id) -> (bool, bool) {
        self.axes.sides(ir.code[id as usize].over)
    }
}

impl Axes {
    fn sides(self, over: AxisSet) -> (bool, bool) {
        (!over.and(self.i).is_empty(), !over.and(self.j).is_empty())
    }
}

/// The plan of a kernel whose folds all go over k, side by side, with results over (i, j); `None` for any other.
pub(super) fn plan(ir: &KernelIr, [i, j, k, batch]: [AxisSet; 4]) -> Option<Plan> {
    let axes = Axes { i, j, k, batch };
    let all = i.union(j).union(k).union(batch);
    if i.is_empty() || j.is_empty() || ir.folded != k || all != all_axes(ir) {
        return None;
    }
    let mut folds = vec![];
    let passes = ir.passes();
    for (at, inst) in ir.code.iter().enumerate() {
        match inst.op {
            KOp::Reduce { axes, .. } if axes != k || passes[at] != 1 => return None,
            KOp::Reduce { .. } => folds.push(Fold { id: at as Id, fma: factors(ir, at as Id) }),
            KOp::Store(_) if !inst.over.and(k).is_empty() => return None,
            _ => {}
        }
    }
    let mut plan = Plan { axes, cols: 4, slice: 16, staged: [vec![], vec![], vec![]], inner: vec![], folds };
    let mut todo: Vec<Id> = plan.folds.iter().flat_map(|f| roots(ir, f)).collect();
    let mut seen = vec![false; ir.code.len()];
    while let Some(id) = todo.pop() {
        if std::mem::replace(&mut seen[id as usize], true) {
            continue;
        }
        let inst = &ir.code[id as usize];
        match plan.sides(ir, id) {
            _ if matches!(inst.op, KOp::Param(_)) => {}
            (true, true) => {
                plan.inner.push(id);
                todo.extend(&inst.args);
            }
            (true, false) => plan.staged[0].push(id),
            (false, true) => plan.staged[1].push(id),
            (false, false) => plan.staged[2].push(id),
        }
    }
    plan.inner.sort_unstable();
    plan.staged.iter_mut().for_each(|s| s.sort_unstable());
    let size = |id: &Id| ir.code[*id as usize].dtype.compute().size();
    // Accumulators of a thread have to fit its registers.
    let states = |f: &Fold| match ir.code[f.id as usize].op {
        KOp::Reduce { reducer, .. } => reducer.states as usize * size(&ir.code[f.id as usize].args[0]),
        _ => 0,
    };
    let bytes: usize = plan.folds.iter().filter(|f| plan.sides(ir, f.id) == (true, true)).map(states).sum();
    plan.cols = if bytes <= 4 {
        4
    } else if bytes <= 8 {
        2
    } else {
        1
    };
    let row = |n: usize, extra: usize, side: usize| plan.staged[side].iter().map(size).sum::<usize>() * (n + extra);
    let bytes = row(TILE_I, 4, 0) + row(plan.tile_j(), 1, 1) + row(1, 0, 2);
    while plan.slice * bytes > SHARED {
        plan.slice /= 2;
    }
    (plan.slice >= 4).then_some(plan)
}

/// The factors of the float product that a Sum adds up.
fn factors(ir: &KernelIr, id: Id) -> Option<(Id, Id)> {
    let fold = &ir.code[id as usize];
    let arg = &ir.code[*fold.args.first()? as usize];
    let float = matches!(arg.dtype, DType::F32 | DType::F64);
    match (fold.op, arg.op) {
        (KOp::Reduce { reducer, .. }, KOp::Map(row)) if float && reducer.name == "sum" => match row.name {
            "mul" => Some((arg.args[0], arg.args[1])),
            "square" => Some((arg.args[0], arg.args[0])),
            _ => None,
        },
        _ => None,
    }
}

/// The values a fold's step reads.
fn roots(ir: &KernelIr, fold: &Fold) -> Vec<Id> {
    match fold.fma {
        Some((a, b)) => vec![a, b],
        None => vec![ir.code[fold.id as usize].args[0]],
    }
}

pub(super) fn emit(w: &mut Writer, plan: &Plan) -> Result<()> {
    Pairwise { w, plan }.kernel()
}

struct Pairwise<'w, 'a, 'p> {
    w: &'w mut Writer<'a>,
    plan: &'p Plan,
}

impl Pairwise<'_, '_, '_> {
    fn kernel(&mut self) -> Result<()> {
        let Axes { i, j, k, batch } = self.plan.axes;
        let (slice, tile_j) = (self.plan.slice, self.plan.tile_j());
        for side in 0..3 {
            let pitch = [TILE_I + 4, tile_j + 1, 1][side];
            for &id in &self.plan.staged[side] {
                let c = register(self.w.ir.code[id as usize].dtype);
                self.w.line(format_args!("__shared__ __align__(16) {c} m{id}[{slice}][{pitch}];"));
            }
        }
        self.w.line(format_args!("const u32 tx = threadIdx.x, ty = threadIdx.y, thread = ty * 32 + tx;"));
        for (name, axes) in [("ni", i), ("nj", j), ("nk", k), ("nb", batch)] {
            self.w.line(format_args!("const Count {name} = {};", self.w.count(axes)));
        }
        self.w.line(format_args!("const Count tiles_i = (ni + {}) / {TILE_I};", TILE_I - 1));
        self.w.line(format_args!("const Count tiles_j = (nj + {}) / {tile_j};", tile_j - 1));
        self.w.line(format_args!("const Count tiles = nb * tiles_i * tiles_j;"));
        self.w.open(format_args!("for (Count tile = blockIdx.x; tile < tiles; tile += gridDim.x)"));
        self.w.line(format_args!(
            "const Count j0 = tile % tiles_j * {tile_j}, i0 = tile / tiles_j % tiles_i * {TILE_I};"
        ));
        if !batch.is_empty() {
            self.w.line(format_args!("const Count b = tile / tiles_j / tiles_i;"));
            self.w.split("b", batch);
        }
        for n in 0..self.plan.folds.len() {
            let (id, r) = self.fold(n);
            let dims = self.dims(id);
            self.w.line(format_args!("{r}::State s{id}{dims}, whole{id}{dims};"));
            self.each(id, |p, at| p.w.line(format_args!("{r}::init(s{id}{at});")));
        }
        self.w.open(format_args!("for (Count k0 = 0; k0 < nk; k0 += {slice})"));
        self.w.line(format_args!("const u32 length = min((Count){slice}, nk - k0);"));
        self.segment_end();
        self.w.line(format_args!("__syncthreads();"));
        self.load(0, TILE_I, i, "i")?;
        self.load(1, tile_j, j, "j")?;
        self.load(2, 1, AxisSet::EMPTY, "")?;
        self.w.line(format_args!("__syncthreads();"));
        self.steps()?;
        self.w.close();
        self.w.open(format_args!("if (nk > {SEGMENT})"));
        for n in 0..self.plan.folds.len() {
            let (id, r) = self.fold(n);
            self.each(id, |p, at| {
                p.w.line(format_args!("{r}::merge(whole{id}{at}, s{id}{at});"));
                p.w.line(format_args!("s{id}{at} = whole{id}{at};"));
            });
        }
        self.w.close();
        self.results()?;
        self.w.close();
        Ok(())
    }

    fn fold(&self, n: usize) -> (Id, String) {
        let id = self.plan.folds[n].id;
        (id, self.w.reducer_name(id))
    }

    /// The array dimensions of a fold's states.
    fn dims(&self, id: Id) -> String {
        let (i, j) = self.plan.sides(self.w.ir, id);
        let (rows, cols) = (format!("[{ROWS}]"), format!("[{}]", self.plan.cols));
        [if i { rows } else { String::new() }, if j { cols } else { String::new() }].concat()
    }

    /// `body` for each of a fold's states, given how one is subscripted.
    fn each(&mut self, id: Id, body: impl FnOnce(&mut Self, &str)) {
        let (i, j) = self.plan.sides(self.w.ir, id);
        self.loops(i, j);
        body(self, subscript(i, j));
        self.end(i, j);
    }

    /// Opens the unrolled loops over a thread's rows and columns.
    fn loops(&mut self, i: bool, j: bool) {
        for (on, name, n) in [(i, "r", ROWS), (j, "c", self.plan.cols)] {
            if on {
                self.w.line(format_args!("#pragma unroll"));
                self.w.open(format_args!("for (u32 {name} = 0; {name} < {n}; ++{name})"));
            }
        }
    }

    fn end(&mut self, i: bool, j: bool) {
        for _ in 0..i as usize + j as usize {
            self.w.close();
        }
    }

    /// Where a segment of k is full, its fold goes into that of the segments before it.
    fn segment_end(&mut self) {
        self.w.open(format_args!("if (k0 > 0 && k0 % {SEGMENT} == 0)"));
        for n in 0..self.plan.folds.len() {
            let (id, r) = self.fold(n);
            self.each(id, |p, at| {
                p.w.line(format_args!("if (k0 == {SEGMENT}) whole{id}{at} = s{id}{at};"));
                p.w.line(format_args!("else {r}::merge(whole{id}{at}, s{id}{at});"));
                p.w.line(format_args!("{r}::init(s{id}{at});"));
            });
        }
        self.w.close();
    }

    /// Fills the shared slices of one side. What lies past the end repeats the last row or k: without branches, the loads of all steps are
    /// under way at once.
    fn load(&mut self, side: usize, tile: usize, axes: AxisSet, name: &str) -> Result<()> {
        let targets = self.plan.staged[side].clone();
        if targets.is_empty() {
            return Ok(());
        }
        let slice = self.plan.slice;
        if tile * slice < 256 {
            self.w.open(format_args!("if (thread < {})", tile * slice));
            self.w.line(format_args!("const u32 kk = thread % {slice}, at = thread / {slice};"));
        } else {
            self.w.line(format_args!("#pragma unroll"));
            self.w.open(format_args!("for (u32 e = 0; e < {}; e += 256)", tile * slice));
            self.w.line(format_args!("const u32 kk = (thread + e) % {slice}, at = (thread + e) / {slice};"));
        }
        if !axes.is_empty() {
            self.w.line(format_args!("const Count row = min({name}0 + at, n{name} - 1);"));
            self.w.split("row", axes);
        }
        self.w.line(format_args!("const Count k = min(k0 + kk, nk - 1);"));
        self.w.split("k", self.plan.axes.k);
        self.values(&targets, |_| false)?;
        for id in targets {
            self.w.line(format_args!("m{id}[kk][at] = v{id};"));
        }
        self.w.close();
        Ok(())
    }

    /// The values that `targets` need, but for parameters and those that are `there` already.
    fn values(&mut self, targets: &[Id], there: impl Fn(Id) -> bool) -> Result<()> {
        let ir = self.w.ir;
        let mut needed = vec![false; ir.code.len()];
        let mut todo = targets.to_vec();
        while let Some(id) = todo.pop() {
            let known = there(id) || matches!(ir.code[id as usize].op, KOp::Param(_));
            if !known && !std::mem::replace(&mut needed[id as usize], true) {
                todo.extend(&ir.code[id as usize].args);
            }
        }
        for id in (0..ir.code.len() as Id).filter(|&id| needed[id as usize]) {
            self.w.value(id)?;
        }
        Ok(())
    }

    /// The folds' steps over one slice.
    fn steps(&mut self) -> Result<()> {
        let ir = self.w.ir;
        let plan = self.plan;
        // Few steps at a time where there is much to compute: compile time grows with the unrolled text.
        let unroll = if plan.inner.len() > 12 { 1 } else { 4 };
        self.w.line(format_args!("#pragma unroll {unroll}"));
        self.w.open(format_args!("for (u32 kk = 0; kk < length; ++kk)"));
        for (side, dim, n, at) in [(0, "r", ROWS, "ty * 8 + r"), (1, "c", plan.cols, "tx + 32 * c")] {
            for &id in &plan.staged[side] {
                let c = register(ir.code[id as usize].dtype);
                self.w.line(format_args!("{c} w{id}[{n}];"));
                self.w.line(format_args!("#pragma unroll"));
                self.w.line(format_args!("for (u32 {dim} = 0; {dim} < {n}; ++{dim}) w{id}[{dim}] = m{id}[kk][{at}];"));
            }
        }
        for &id in &plan.staged[2] {
            let c = register(ir.code[id as usize].dtype);
            self.w.line(format_args!("const {c} v{id} = m{id}[kk][0];"));
        }
        for (i, j) in [(false, false), (true, false), (false, true), (true, true)] {
            let folds: Vec<&Fold> = plan.folds.iter().filter(|f| plan.sides(ir, f.id) == (i, j)).collect();
            if folds.is_empty() {
                continue;
            }
            self.loops(i, j);
            for (on, side, dim) in [(i, 0, "r"), (j, 1, "c")] {
                for &id in plan.staged[side].iter().filter(|_| on) {
                    let c = register(ir.code[id as usize].dtype);
                    self.w.line(format_args!("const {c} v{id} = w{id}[{dim}];"));
                }
            }
            if i && j {
                self.inner()?;
            }
            for f in folds {
                let (id, r, at) = (f.id, self.w.reducer_name(f.id), subscript(i, j));
                match f.fma {
                    Some((a, b)) => {
                        self.w.line(format_args!("s{id}{at}.s0 = nd_fma(v{a}, v{b}, s{id}{at}.s0);"));
                    }
                    None => {
                        let v = ir.code[id as usize].args[0];
                        self.w.line(format_args!("{r}::step(s{id}{at}, v{v}, (i64)(k0 + kk));"));
                    }
                }
            }
            self.end(i, j);
        }
        self.w.close();
        Ok(())
    }

    /// The values of one (i, j, k).
    fn inner(&mut self) -> Result<()> {
        let ir = self.w.ir;
        let indexed = |op: KOp| matches!(op, KOp::Load(_) | KOp::LoadAt(_) | KOp::Index(_));
        if self.plan.inner.iter().any(|&id| indexed(ir.code[id as usize].op)) {
            let Axes { i, j, k, .. } = self.plan.axes;
            self.w.line(format_args!(
                "const Count row = min(i0 + ty * 8 + r, ni - 1), col = min(j0 + tx + 32 * c, nj - 1);"
            ));
            self.w.line(format_args!("const Count k = k0 + kk;"));
            self.w.split("row", i);
            self.w.split("col", j);
            self.w.split("k", k);
        }
        for &id in &self.plan.inner {
            self.w.value(id)?;
        }
        Ok(())
    }

    /// What follows the folds, and the stores.
    fn results(&mut self) -> Result<()> {
        let ir = self.w.ir;
        let Axes { i, j, .. } = self.plan.axes;
        self.loops(true, false);
        self.w.line(format_args!("const Count row = i0 + ty * 8 + r;"));
        self.w.line(format_args!("if (row >= ni) continue;"));
        self.w.split("row", i);
        self.loops(false, true);
        self.w.line(format_args!("const Count col = j0 + tx + 32 * c;"));
        self.w.line(format_args!("if (col >= nj) continue;"));
        self.w.split("col", j);
        let mut is_fold = vec![false; ir.code.len()];
        for f in &self.plan.folds {
            let (x, y) = self.plan.sides(ir, f.id);
            self.w.finished(f.id, &format!("s{}{}", f.id, subscript(x, y)), "(i64)nk");
            is_fold[f.id as usize] = true;
        }
        let is_store = |id: &Id| matches!(ir.code[*id as usize].op, KOp::Store(_));
        let stores: Vec<Id> = (0..ir.code.len() as Id).filter(is_store).collect();
        let stored: Vec<Id> = stores.iter().map(|&id| ir.code[id as usize].args[0]).collect();
        self.values(&stored, |id| is_fold[id as usize])?;
        for id in stores {
            self.w.store(id, all_axes(ir).minus(self.plan.axes.k), "");
        }
        self.end(true, true);
        Ok(())
    }
}

fn subscript(i: bool, j: bool) -> &'static str {
    match (i, j) {
        (true, true) => "[r][c]",
        (true, false) => "[r]",
        (false, true) => "[c]",
        (false, false) => "",
    }
}
