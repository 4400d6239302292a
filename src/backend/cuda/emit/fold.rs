//! Kernels with folds: a group of threads walks each result's loop together, lane by lane. Loops within loops are walked by each thread alone.
//!
//! One fold may need another: then its loop comes after the other's, and what varies with the loop is computed again in it.

use super::all_axes;
use super::write::Writer;
use crate::error::Result;
use crate::kernel::{AxisSet, Id, KOp, KernelIr, Launch};

/// One loop: the axes it walks, the folds in it and the stores in it.
struct Group {
    axes: AxisSet,
    stage: usize,
    folds: Vec<Id>,
    stores: Vec<Id>,
}

/// What a scope (the kernel's, or a loop's body) has to compute.
struct Scope {
    /// Values of this scope, each with the number of loops that have to be done before it.
    values: Vec<(Id, usize)>,
    /// Its loops, in order.
    groups: Vec<Group>,
    /// Its own stores.
    stores: Vec<Id>,
}

/// The folded axes an instruction's value varies with.
fn level(ir: &KernelIr, id: Id) -> AxisSet {
    ir.code[id as usize].over.and(ir.folded)
}

/// What the scope within loops over `open` computes for `targets`, where the values in `seen` are there.
fn scope(ir: &KernelIr, open: AxisSet, seen: &[bool], targets: &[Id]) -> Scope {
    let mut needed = vec![false; ir.code.len()];
    let mut todo = targets.to_vec();
    while let Some(id) = todo.pop() {
        if !seen[id as usize] && !std::mem::replace(&mut needed[id as usize], true) {
            todo.extend(&ir.code[id as usize].args);
        }
    }
    let mut stage = vec![0usize; ir.code.len()];
    let mut out = Scope { values: vec![], groups: vec![], stores: vec![] };
    for (at, inst) in ir.code.iter().enumerate().filter(|(at, _)| needed[*at]) {
        let id = at as Id;
        let here = level(ir, id).minus(open).is_empty();
        stage[at] = inst.args.iter().map(|&a| stage[a as usize]).max().unwrap_or(0);
        let group = |groups: &mut Vec<Group>, axes: AxisSet| -> usize {
            match groups.iter().position(|g| g.axes == axes && g.stage == stage[at]) {
                Some(g) => g,
                None => {
                    groups.push(Group { axes, stage: stage[at], folds: vec![], stores: vec![] });
                    groups.len() - 1
                }
            }
        };
        match inst.op {
            KOp::Reduce { axes, .. } if here => {
                let g = group(&mut out.groups, axes);
                out.groups[g].folds.push(id);
                stage[at] += 1;
            }
            KOp::Store(_) if here => out.stores.push(id),
            KOp::Store(_) => {
                let g = group(&mut out.groups, level(ir, id).minus(open));
                out.groups[g].stores.push(id);
            }
            _ if here => out.values.push((id, stage[at])),
            _ => {}
        }
    }
    out.groups.sort_by_key(|g| g.stage);
    out
}

/// The scope of the whole kernel; parameters are there from the start.
fn top(ir: &KernelIr) -> (Scope, Vec<bool>) {
    let seen: Vec<bool> = ir.code.iter().map(|inst| matches!(inst.op, KOp::Param(_))).collect();
    let is_store = |id: &Id| matches!(ir.code[*id as usize].op, KOp::Store(_));
    let stores: Vec<Id> = (0..ir.code.len() as Id).filter(is_store).collect();
    (scope(ir, AxisSet::EMPTY, &seen, &stores), seen)
}

/// The axes of each loop that lanes walk together.
pub(super) fn top_loops(ir: &KernelIr) -> Vec<AxisSet> {
    top(ir).0.groups.iter().map(|g| g.axes).collect()
}

/// Whether the fold may be cut over several blocks: there is one loop, which stores nothing.
pub(super) fn splits(ir: &KernelIr) -> bool {
    matches!(&top(ir).0.groups[..], [one] if one.stores.is_empty())
}

/// How many folds end in the kernel's own scope.
pub(super) fn count(ir: &KernelIr) -> usize {
    top(ir).0.groups.iter().map(|g| g.folds.len()).sum()
}

/// Where vectors run, and how wide they may be.
pub(super) fn vectors(_ir: &KernelIr, _launch: &Launch, _along_x: bool) -> (Option<usize>, Vec<u8>) {
    (None, vec![])
}

pub(super) fn emit(w: &mut Writer, along_x: bool) -> Result<()> {
    let (scope, seen) = top(w.ir);
    let outer = all_axes(w.ir).minus(w.ir.folded);
    let (lane, row) = if along_x { ("x", "y") } else { ("y", "x") };
    w.line(format_args!("const u32 lane = threadIdx.{lane}, lanes = blockDim.{lane};"));
    w.line(format_args!("const Count rows = {};", w.count(outer)));
    w.line(format_args!("const Count step = gridDim.x * (Count)blockDim.{row};"));
    w.open(format_args!("for (Count base = blockIdx.x * (Count)blockDim.{row}; base < rows; base += step)"));
    // A thread without a row of its own still takes part in the folds, on the last one.
    w.line(format_args!("const bool live = base + threadIdx.{row} < rows;"));
    w.line(format_args!("const Count row = live ? base + threadIdx.{row} : rows - 1;"));
    w.split("row", outer);
    let split = splits(w.ir);
    Folds { w, outer, lane, row, split }.scope(scope, AxisSet::EMPTY, seen)?;
    w.close();
    Ok(())
}

struct Folds<'w, 'a> {
    w: &'w mut Writer<'a>,
    outer: AxisSet,
    /// The dimension of the block that lanes are counted along.
    lane: &'static str,
    /// The dimension that results are counted along.
    row: &'static str,
    split: bool,
}

impl Folds<'_, '_> {
    fn scope(&mut self, scope: Scope, open: AxisSet, mut seen: Vec<bool>) -> Result<()> {
        let last = scope.values.iter().map(|v| v.1).chain(scope.groups.iter().map(|g| g.stage)).max();
        for stage in 0..=last.unwrap_or(0) {
            for &(id, _) in scope.values.iter().filter(|v| v.1 == stage) {
                self.w.value(id)?;
                seen[id as usize] = true;
            }
            for group in scope.groups.iter().filter(|g| g.stage == stage) {
                self.walk(group, open, &seen)?;
                for &id in &group.folds {
                    seen[id as usize] = true;
                }
            }
        }
        let guard = if open.is_empty() { "live && lane == 0" } else { "live" };
        for id in scope.stores {
            self.w.store(id, self.outer.union(open), guard);
        }
        Ok(())
    }

    /// A loop, and the folds' values after it.
    fn walk(&mut self, group: &Group, open: AxisSet, seen: &[bool]) -> Result<()> {
        let together = open.is_empty();
        let folds: Vec<(Id, String)> = group.folds.iter().map(|&id| (id, self.w.reducer_name(id))).collect();
        for (id, reducer) in &folds {
            self.w.line(format_args!("{reducer}::State s{id};"));
            self.w.line(format_args!("{reducer}::init(s{id});"));
        }
        let t = self.w.counter();
        let n = format!("n{}", &t[1..]);
        self.w.line(format_args!("const Count {n} = {};", self.w.count(group.axes)));
        let (mut from, mut to, step) = match together {
            true => ("lane".to_string(), n.clone(), "lanes"),
            false => ("0".into(), n.clone(), "1"),
        };
        if together && self.split {
            // Whole lines of memory for each block.
            self.w.line(format_args!("const Count part = (({n} + gridDim.y - 1) / gridDim.y + 31) / 32 * 32;"));
            self.w.line(format_args!("const Count begin = min({n}, blockIdx.y * part), end = min({n}, begin + part);"));
            (from, to) = ("begin + lane".into(), "end".into());
        }
        self.w.open(format_args!("for (Count {t} = {from}; {t} < {to}; {t} += {step})"));
        self.w.split(&t, group.axes);
        let inside = open.union(group.axes);
        let args = group.folds.iter().map(|&id| self.w.ir.code[id as usize].args[0]);
        let targets: Vec<Id> = args.chain(group.stores.iter().copied()).collect();
        let body = scope(self.w.ir, inside, seen, &targets);
        self.scope(body, inside, seen.to_vec())?;
        for (id, reducer) in &folds {
            let arg = self.w.ir.code[*id as usize].args[0];
            self.w.line(format_args!("{reducer}::step(s{id}, v{arg}, (i64){t});"));
        }
        self.w.close();
        if together {
            self.join(&folds);
        }
        for (id, _) in &folds {
            self.w.finished(*id, &format!("s{id}"), &format!("(i64){n}"));
        }
        Ok(())
    }

    /// Folds the lanes' states into one that all of them have; then, if blocks share a row, their states.
    fn join(&mut self, folds: &[(Id, String)]) {
        let lane = self.lane;
        for (id, reducer) in folds {
            self.w.line(format_args!("nd_fold_{lane}<{reducer}>(s{id});"));
        }
        if !self.split || folds.is_empty() {
            return;
        }
        self.w.open(format_args!("if (gridDim.y > 1)"));
        for (n, (id, reducer)) in folds.iter().enumerate() {
            self.w.line(format_args!(
                "{reducer}::State* const all{id} = nd_states<{reducer}>(a.scratch, rows, row, {n});"
            ));
            self.w.line(format_args!("if (live && lane == 0) all{id}[blockIdx.y] = s{id};"));
        }
        self.w.line(format_args!("if (!nd_is_last(a.tickets + base / blockDim.{})) continue;", self.row));
        for (id, reducer) in folds {
            self.w.line(format_args!("{reducer}::init(s{id});"));
            self.w.line(format_args!(
                "for (u32 p = lane; p < gridDim.y; p += lanes) {reducer}::merge(s{id}, all{id}[p]);"
            ));
            self.w.line(format_args!("nd_fold_{lane}<{reducer}>(s{id});"));
        }
        self.w.close();
    }
}
