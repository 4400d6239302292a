//! The text of kernels with folds.

use super::super::map;
use super::super::variant::Access;
use super::super::{SEGMENT, factors, register};
use super::{chained, order, splits};
use crate::backend::cuda::emit::write::Writer;
use crate::backend::cuda::scope::{Group, Scope, level, scope, targets, top};
use crate::error::Result;
use crate::kernel::{AxisSet, Id, KOp};

pub(super) fn emit(w: &mut Writer, along_x: bool) -> Result<()> {
    let (scope, seen) = top(w.ir);
    let outer = w.ir.all_axes().minus(w.ir.folded);
    let (lane, row) = if along_x { ("x", "y") } else { ("y", "x") };
    let columns = if along_x { 1 } else { w.variant.width as u32 };
    let per = if columns > 1 { format!(" / {columns}") } else { String::new() };
    w.line(format_args!("const u32 lane = threadIdx.{lane}, lanes = blockDim.{lane};"));
    w.line(format_args!("const Count rows = {}{per};", w.count(outer)));
    w.line(format_args!("const Count step = gridDim.x * (Count)blockDim.{row};"));
    w.open(format_args!("for (Count base = blockIdx.x * (Count)blockDim.{row}; base < rows; base += step)"));
    // A thread without a row of its own still takes part in the folds, on the last one.
    w.line(format_args!("const bool live = base + threadIdx.{row} < rows;"));
    w.line(format_args!("const Count row = live ? base + threadIdx.{row} : rows - 1;"));
    if columns > 1 {
        w.line(format_args!("const Count column = row * {columns};"));
        w.split("column", outer);
    } else {
        w.split("row", outer);
    }
    let run = if along_x { order(w.ir) } else { 1 };
    let (split, unroll) = (splits(w.ir), unroll(w, run.max(columns)));
    let count = w.ir.code.len();
    let axis = w.variant.axis as usize;
    let before = scope.values.iter().filter(|v| columns > 1 && v.1 == 0 && w.ir.code[v.0 as usize].over.has(axis));
    let varying = before.map(|v| v.0).collect();
    let made = vec![false; count];
    let chained = chained(w.ir);
    w.own = "live && ";
    let mut folds = Folds { w, outer, lane, row, split, chained, run, columns, unroll, varying, made, keep: vec![] };
    folds.keep = folds.keeps(&scope);
    folds.scope(scope, AxisSet::EMPTY, seen)?;
    w.close();
    Ok(())
}

/// Runs that a lane has under way.
fn unroll(w: &Writer, run: u32) -> u32 {
    let mut variant = w.variant;
    variant.width = run as u8;
    map::unroll(w.ir, &variant)
}

struct Folds<'w, 'a> {
    w: &'w mut Writer<'a>,
    outer: AxisSet,
    /// The dimension of the block that lanes are counted along.
    lane: &'static str,
    /// The dimension that results are counted along.
    row: &'static str,
    split: bool,
    /// Whether a lane takes a segment.
    chained: bool,
    /// Neighbours along the loop that a lane takes at once.
    run: u32,
    /// Neighbouring results of a thread.
    columns: u32,
    unroll: u32,
    /// What stands before the loops and varies with a thread's columns: computed for each column.
    varying: Vec<Id>,
    /// Values of loops that are done, where rows are kept in registers.
    made: Vec<bool>,
    /// Those that later loops need.
    keep: Vec<Id>,
}

impl Folds<'_, '_> {
    /// The values that a loop leaves for later ones.
    fn keeps(&self, top: &Scope) -> Vec<Id> {
        let ir = self.w.ir;
        let mut keep = vec![];
        if self.w.variant.resident == 0 {
            return keep;
        }
        let mut seen: Vec<bool> = (0..ir.code.len()).map(|id| level(ir, id as Id).is_empty()).collect();
        let mut made = vec![false; ir.code.len()];
        for group in &top.groups {
            let targets = targets(ir, group);
            let body = scope(ir, group.axes, &seen, &targets);
            let stored = body.stores.iter().map(|&id| ir.code[id as usize].args[0]);
            let args = body.values.iter().flat_map(|v| ir.code[v.0 as usize].args.iter().copied());
            keep.extend(args.chain(targets).chain(stored).filter(|&id| made[id as usize]));
            for (id, _) in body.values {
                seen[id as usize] = true;
                made[id as usize] = true;
            }
        }
        keep.sort_unstable();
        keep.dedup();
        keep
    }

    fn scope(&mut self, scope: Scope, open: AxisSet, mut seen: Vec<bool>) -> Result<()> {
        let last = scope.values.iter().map(|v| v.1).chain(scope.groups.iter().map(|g| g.stage)).max();
        let columns = self.columns > 1 && open.is_empty();
        for stage in 0..=last.unwrap_or(0) {
            if stage == 1 && columns {
                self.open_columns(&scope.groups)?;
            }
            for &(id, _) in scope.values.iter().filter(|v| v.1 == stage) {
                if !(columns && self.varying.contains(&id)) {
                    self.w.value(id)?;
                }
                seen[id as usize] = true;
            }
            for group in scope.groups.iter().filter(|g| g.stage == stage) {
                match open.is_empty() {
                    true => self.together(group, &seen)?,
                    false => self.alone(group, open, &seen)?,
                }
                for &id in &group.folds {
                    seen[id as usize] = true;
                }
            }
        }
        if columns && last.unwrap_or(0) == 0 {
            self.open_columns(&scope.groups)?;
        }
        let guard = if open.is_empty() { "live && lane == 0" } else { "live" };
        for id in scope.stores {
            self.w.store(id, self.outer.union(open), guard);
        }
        if columns {
            self.w.close();
        }
        Ok(())
    }

    /// What follows the folds runs for each of a thread's columns.
    fn open_columns(&mut self, groups: &[Group]) -> Result<()> {
        let axis = self.w.variant.axis;
        self.w.line(format_args!("const Index y = x{axis};"));
        self.w.line(format_args!("#pragma unroll"));
        self.w.open(format_args!("for (u32 e = 0; e < {}; ++e)", self.columns));
        self.w.line(format_args!("const Index x{axis} = y + (Index)e;"));
        for group in groups {
            let n = self.w.count(group.axes);
            for &id in &group.folds {
                self.w.finished(id, &format!("c{id}[e]"), &format!("(i64)({n})"));
            }
        }
        for id in self.varying.clone() {
            self.w.value(id)?;
        }
        Ok(())
    }

    /// A loop within a loop, and its folds' values after it.
    fn alone(&mut self, group: &Group, open: AxisSet, seen: &[bool]) -> Result<()> {
        let folds: Vec<(Id, String)> = group.folds.iter().map(|&id| (id, self.w.reducer_name(id))).collect();
        for (id, reducer) in &folds {
            self.w.line(format_args!("{reducer}::State s{id};"));
            self.w.line(format_args!("{reducer}::init(s{id});"));
        }
        let t = self.w.counter();
        let n = format!("n{}", &t[1..]);
        self.w.line(format_args!("const Count {n} = {};", self.w.count(group.axes)));
        self.w.open(format_args!("for (Count {t} = 0; {t} < {n}; ++{t})"));
        self.w.split(&t, group.axes);
        let inside = open.union(group.axes);
        let body = scope(self.w.ir, inside, seen, &targets(self.w.ir, group));
        self.scope(body, inside, seen.to_vec())?;
        for (id, reducer) in &folds {
            let arg = self.w.ir.code[*id as usize].args[0];
            self.w.line(format_args!("{reducer}::step(s{id}, v{arg}, (i64){t});"));
        }
        self.w.close();
        for (id, _) in &folds {
            self.w.finished(*id, &format!("s{id}"), &format!("(i64){n}"));
        }
        Ok(())
    }

    /// A loop that lanes share, and its folds' values after it.
    fn together(&mut self, group: &Group, seen: &[bool]) -> Result<()> {
        let folds: Vec<(Id, String)> = group.folds.iter().map(|&id| (id, self.w.reducer_name(id))).collect();
        let states = if self.chained { self.columns } else { self.run.max(self.columns) };
        for (id, reducer) in &folds {
            self.w.line(format_args!("{reducer}::State c{id}[{states}];"));
            self.w.line(format_args!("#pragma unroll"));
            self.w.line(format_args!("for (u32 e = 0; e < {states}; ++e) {reducer}::init(c{id}[e]);"));
        }
        let t = self.w.counter();
        let n = format!("n{}", &t[1..]);
        self.w.line(format_args!("const Count {n} = {};", self.w.count(group.axes)));
        let mut seen = seen.to_vec();
        seen.iter_mut().zip(&self.made).for_each(|(s, made)| *s |= made);
        let body = scope(self.w.ir, group.axes, &seen, &targets(self.w.ir, group));
        let flat = body.groups.is_empty();
        let values: Vec<Id> = body.values.iter().map(|v| v.0).collect();
        let end = if self.chained { format!("e{t}") } else { n.clone() };
        let chunk = Chunk { group, body, folds: &folds, seen: &seen, n: end, t: t.clone() };
        if self.chained {
            self.segments(&chunk, &n)?;
        } else if self.w.variant.resident > 0 {
            self.w.line(format_args!("const Count {t} = lane;"));
            self.chunk(&chunk, self.w.variant.resident as u32, true)?;
            for id in values {
                self.made[id as usize] = true;
            }
        } else {
            let run = self.run;
            let (mut from, mut runs) = ("lane".to_string(), n.clone());
            if run > 1 {
                runs = format!("({n} + {}) / {run}", run - 1);
            }
            self.w.line(format_args!("const Count e{t} = {runs};"));
            let mut end = format!("e{t}");
            if self.split {
                // Whole lines of memory for each block.
                self.w.line(format_args!("const Count part = (({end} + gridDim.y - 1) / gridDim.y + 31) / 32 * 32;"));
                self.w.line(format_args!("const Count begin = min({end}, blockIdx.y * part);"));
                self.w.line(format_args!("const Count end = min({end}, begin + part);"));
                (from, end) = ("begin + lane".into(), "end".into());
            }
            self.w.line(format_args!("Count {t} = {from};"));
            if flat && self.unroll * run > 1 {
                let (whole, more) =
                    (if run > 1 { format!("min({end}, {n} / {run})") } else { end.clone() }, self.unroll - 1);
                self.w.line(format_args!("const Count w{t} = {whole};"));
                let last = if more > 0 { format!("{t} + {more} * lanes") } else { t.clone() };
                self.w.open(format_args!("for (; {last} < w{t}; {t} += {} * lanes)", self.unroll));
                self.chunk(&chunk, self.unroll, false)?;
                self.w.close();
            }
            self.w.open(format_args!("for (; {t} < {end}; {t} += lanes)"));
            self.chunk(&chunk, 1, run > 1)?;
            self.w.close();
        }
        if !self.chained {
            self.join(&folds);
        }
        if self.columns == 1 {
            for (id, _) in &folds {
                self.w.finished(*id, &format!("c{id}[0]"), &format!("(i64){n}"));
            }
        }
        Ok(())
    }

    /// A loop in segments: a lane takes one at a time, and all are joined in order.
    fn segments(&mut self, chunk: &Chunk<'_>, n: &str) -> Result<()> {
        let (t, run, unroll, lane) = (&chunk.t, self.run, self.unroll, self.lane);
        for (id, reducer) in chunk.folds {
            self.w.line(format_args!("{reducer}::State h{id}[{}];", self.columns));
            self.each_column(&format!("h{id}[e] = c{id}[e];"));
        }
        self.w.open(format_args!("for (Count s{t} = 0; s{t} < {n}; s{t} += lanes * {SEGMENT})"));
        self.w.line(format_args!(
            "const Count b{t} = min({n}, s{t} + lane * {SEGMENT}), e{t} = min({n}, b{t} + {SEGMENT});"
        ));
        for (id, reducer) in chunk.folds {
            self.each_column(&format!("{reducer}::init(c{id}[e]);"));
        }
        let (first, times) = match run {
            1 => (format!("b{t}"), String::new()),
            _ => (format!("(b{t} + {}) / {run}", run - 1), format!(" * {run}")),
        };
        self.w.line(format_args!("Count {t} = {first};"));
        if unroll * run > 1 {
            self.w.open(format_args!("for (; ({t} + {unroll}){times} <= e{t}; {t} += {unroll})"));
            self.chunk(chunk, unroll, false)?;
            self.w.close();
        }
        self.w.open(format_args!("for (; {t}{times} < e{t}; ++{t})"));
        self.chunk(chunk, 1, run > 1)?;
        self.w.close();
        for (id, reducer) in chunk.folds {
            let count = format!("({n} - s{t} + {}) / {SEGMENT}", SEGMENT - 1);
            self.each_column(&format!("nd_chain_{lane}<{reducer}>(h{id}[e], c{id}[e], {count}, s{t} == 0);"));
        }
        self.w.close();
        for (id, _) in chunk.folds {
            self.each_column(&format!("c{id}[e] = h{id}[e];"));
        }
        Ok(())
    }

    /// The steps of `unroll` runs from run `t` on. Where `part` is set, they may end before they are full.
    fn chunk(&mut self, chunk: &Chunk<'_>, unroll: u32, part: bool) -> Result<()> {
        let ir = self.w.ir;
        let (n, run) = (&chunk.n, self.run);
        let (vectors, axis) = (self.w.variant.width > 1, self.w.variant.axis);
        let loads: Vec<Id> = chunk.body.values.iter().map(|v| v.0).collect();
        let loads: Vec<Id> =
            loads.into_iter().filter(|&id| vectors && matches!(ir.code[id as usize].op, KOp::Load(_))).collect();
        for &id in &loads {
            let array = self.w.vector_type(id);
            self.w.line(format_args!("{array} w{id}[{unroll}];"));
        }
        let resident = self.w.variant.resident > 0;
        for (id, _) in
            chunk.body.values.iter().filter(|v| resident && self.keep.contains(&v.0) && !loads.contains(&v.0))
        {
            let c = register(ir.code[*id as usize].dtype);
            self.w.line(format_args!("{c} k{id}[{unroll}][{run}];"));
        }
        if !loads.is_empty() {
            self.runs(chunk, unroll, part);
            for &id in &loads {
                self.load(id, part, n);
            }
            self.w.close();
        }
        self.runs(chunk, unroll, part);
        let whole: Vec<Id> = chunk.body.stores.iter().copied().filter(|&id| vectors && self.unit(id)).collect();
        for &id in &whole {
            let array = self.w.vector_type(id);
            self.w.line(format_args!("{array} o{id};"));
        }
        let elements = run.max(self.columns);
        if elements > 1 {
            if vectors {
                self.w.line(format_args!("const Index y = x{axis};"));
            }
            self.w.line(format_args!("#pragma unroll"));
            self.w.open(format_args!("for (u32 e = 0; e < {elements}; ++e)"));
            if part {
                self.w.line(format_args!("if (e >= {n} - p) break;"));
            }
            if vectors {
                self.w.line(format_args!("const Index x{axis} = y + (Index)e;"));
            } else {
                self.w.line(format_args!("const Count q = p + e;"));
                self.w.split("q", chunk.group.axes);
            }
        }
        for id in self.varying.clone() {
            self.w.value(id)?;
        }
        let e = if elements > 1 { "e" } else { "0" };
        for id in self.keep.clone() {
            match ir.code[id as usize].op {
                _ if !self.made[id as usize] => {}
                KOp::Load(_) if vectors => self.w.loaded(id, &format!("w{id}[u]")),
                _ => {
                    let c = register(ir.code[id as usize].dtype);
                    self.w.line(format_args!("const {c} v{id} = k{id}[u][{e}];"));
                }
            }
        }
        if chunk.body.groups.is_empty() {
            for &(id, _) in &chunk.body.values {
                match loads.contains(&id) {
                    true => self.w.loaded(id, &format!("w{id}[u]")),
                    false => self.w.value(id)?,
                }
                if resident && self.keep.contains(&id) && !loads.contains(&id) {
                    self.w.line(format_args!("k{id}[u][{e}] = v{id};"));
                }
            }
            for &id in &chunk.body.stores {
                match whole.contains(&id) {
                    true => self.w.line(format_args!("nd_store(&o{id}.at[e], v{});", ir.code[id as usize].args[0])),
                    false => self.w.store(id, self.outer.union(chunk.group.axes), "live"),
                }
            }
        } else {
            let body = scope(ir, chunk.group.axes, chunk.seen, &targets(ir, chunk.group));
            self.scope(body, chunk.group.axes, chunk.seen.to_vec())?;
        }
        let k = if run > 1 { "(i64)(p + e)" } else { "(i64)p" };
        for (id, reducer) in chunk.folds {
            let arg = ir.code[*id as usize].args[0];
            let e = if self.columns == 1 && self.chained { "0" } else { e };
            match factors(ir, *id).filter(|_| self.chained) {
                Some((a, b)) => self.w.line(format_args!("c{id}[{e}].s0 = nd_fma(v{a}, v{b}, c{id}[{e}].s0);")),
                None => self.w.line(format_args!("{reducer}::step(c{id}[{e}], v{arg}, {k});")),
            }
        }
        if elements > 1 {
            self.w.close();
        }
        for id in whole {
            self.store(id, part, n);
        }
        self.w.close();
        Ok(())
    }

    /// Opens the loop over runs; `p` is the first place of a run along the loop, indices are those there.
    fn runs(&mut self, chunk: &Chunk<'_>, unroll: u32, part: bool) {
        let times = if self.run > 1 { format!(" * {}", self.run) } else { String::new() };
        self.w.line(format_args!("#pragma unroll"));
        self.w.open(format_args!("for (u32 u = 0; u < {unroll}; ++u)"));
        let apart = if self.chained { "" } else { " * lanes" };
        self.w.line(format_args!("const Count p = ({} + u{apart}){times};", chunk.t));
        if part && (unroll > 1 || self.w.variant.resident > 0) {
            self.w.line(format_args!("if (p >= {}) break;", chunk.n));
        }
        if self.w.variant.width > 1 || self.run == 1 {
            self.w.split("p", chunk.group.axes);
        }
        if part && self.w.variant.width > 1 {
            self.w.line(format_args!("const bool full = p + {} <= {};", self.run, chunk.n));
        }
    }

    fn unit(&self, id: Id) -> bool {
        let all = self.outer.union(self.w.ir.folded);
        matches!(self.w.access(id), Access::Unit(_)) && self.w.ir.code[id as usize].over == all
    }

    fn load(&mut self, id: Id, part: bool, n: &str) {
        let to = format!("w{id}[u]");
        match self.w.access(id) {
            Access::Fixed => self.w.load_vector(id, &to),
            _ if part && self.run > 1 => {
                self.w.open(format_args!("if (full)"));
                self.w.load_vector(id, &to);
                self.w.close();
                self.w.open(format_args!("if (!full)"));
                self.w.load_part(id, &to, &format!("{n} - p"));
                self.w.close();
            }
            _ => self.w.load_vector(id, &to),
        }
    }

    fn store(&mut self, id: Id, part: bool, n: &str) {
        let from = format!("o{id}");
        let full = if part { " && full" } else { "" };
        self.w.open(format_args!("if (live{full})"));
        self.w.store_vector(id, &from);
        self.w.close();
        if part {
            self.w.open(format_args!("if (live && !full)"));
            self.w.store_part(id, &from, &format!("{n} - p"));
            self.w.close();
        }
    }

    /// Folds a lane's states into one, the lanes' into one that all of them have; then, if blocks share a row, their states.
    fn join(&mut self, folds: &[(Id, String)]) {
        let (lane, columns) = (self.lane, self.columns);
        for (id, reducer) in folds {
            let mut half = self.run / 2;
            while half > 0 {
                self.w.line(format_args!("#pragma unroll"));
                self.w.line(format_args!(
                    "for (u32 e = 0; e < {half}; ++e) {reducer}::merge(c{id}[e], c{id}[e + {half}]);"
                ));
                half /= 2;
            }
            self.each_column(&format!("nd_fold_{lane}<{reducer}>(c{id}[e]);"));
        }
        if !self.split || folds.is_empty() {
            return;
        }
        self.w.open(format_args!("if (gridDim.y > 1)"));
        for (n, (id, reducer)) in folds.iter().enumerate() {
            self.w.line(format_args!(
                "{reducer}::State* const all{id} = nd_states<{reducer}>(a.scratch, rows * {columns}, row * {columns}, {n});"
            ));
            self.each_column(&format!("if (live && lane == 0) all{id}[e * gridDim.y + blockIdx.y] = c{id}[e];"));
        }
        self.w.line(format_args!("if (!nd_is_last(a.tickets + base / blockDim.{})) continue;", self.row));
        for (id, reducer) in folds {
            self.each_column(&format!("{reducer}::init(c{id}[e]);"));
            self.w.line(format_args!("#pragma unroll 4"));
            self.w.open(format_args!("for (u32 q = lane; q < gridDim.y; q += lanes)"));
            self.each_column(&format!("{reducer}::merge(c{id}[e], all{id}[e * gridDim.y + q]);"));
            self.w.close();
            self.each_column(&format!("nd_fold_{lane}<{reducer}>(c{id}[e]);"));
        }
        self.w.close();
    }

    /// A statement for each of a thread's columns, `e`.
    fn each_column(&mut self, text: &str) {
        if self.columns == 1 {
            self.w.line(format_args!("{}", text.replace("[e]", "[0]").replace("e * gridDim.y + ", "")));
            return;
        }
        self.w.line(format_args!("#pragma unroll"));
        self.w.line(format_args!("for (u32 e = 0; e < {}; ++e) {{ {text} }}", self.columns));
    }
}

/// A loop that lanes share.
struct Chunk<'a> {
    group: &'a Group,
    body: Scope,
    folds: &'a [(Id, String)],
    seen: &'a [bool],
    /// The names of the loop's length and of its counter of runs.
    n: String,
    t: String,
}
