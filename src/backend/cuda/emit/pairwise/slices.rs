//! Slices of both operands in shared memory: how they lie there, and how threads fill them.

use super::super::variant::Access;
use super::text::{Pairwise, SIDES};
use super::{Fill, Staged};
use crate::error::Result;
use crate::kernel::{Id, KOp, Width};
use std::collections::BTreeSet;
use std::ops::Range;

/// A side, and which of a thread's steps of filling its slice.
pub(super) type Part = (usize, Range<usize>);

/// The sizes of elements that a side keeps in shared memory.
fn sizes(staged: &[Staged], side: usize) -> BTreeSet<usize> {
    staged.iter().filter(|s| s.side == side).map(|s| s.size).collect()
}

impl Pairwise<'_, '_, '_> {
    /// Addresses in shared memory, which the compiler would compute anew for each slice otherwise: of the thread's first row and column, and of
    /// the first place that it fills, for elements of each size.
    pub fn places(&mut self) {
        let (plan, (staged, _)) = (self.plan, self.plan.layout(self.w.ir));
        for side in 0..2 {
            for size in sizes(&staged, side) {
                let (name, own) = [("rows", "ty"), ("cols", "tx")][side];
                self.w.line(format_args!("u32 {name}{size} = nd_kept(nd_at_shared(slices) + {own} * {size});"));
                if self.filled(side, size) == (side, size) {
                    let pitch = plan.pitch(side);
                    self.w.line(format_args!("u32 fill{side}x{size};"));
                    self.w.block();
                    self.filling_place(side, "0");
                    self.w.line(format_args!(
                        "fill{side}x{size} = nd_kept(nd_at_shared(slices) + (kk * {pitch} + at) * {size});"
                    ));
                    self.w.close();
                }
            }
        }
    }

    /// The side and size of elements by whose place a side's are filled: the first side's where both are filled alike.
    pub fn filled(&self, side: usize, size: usize) -> (usize, usize) {
        let (plan, tile) = (self.plan, self.plan.tile);
        let alike = plan.fill[0] == plan.fill[1] && tile.size(0) == tile.size(1);
        let first = sizes(&plan.layout(self.w.ir).0, 0).contains(&size);
        (if alike && first { 0 } else { side }, size)
    }

    /// Fills the other buffer from here on, and reads the other, too.
    pub fn turn(&mut self, read: bool) {
        let (staged, _) = self.plan.layout(self.w.ir);
        for side in 0..2 {
            for size in sizes(&staged, side) {
                let name = ["rows", "cols"][side];
                if read {
                    self.w.line(format_args!("{name}{size} += turn;"));
                }
                if self.filled(side, size) == (side, size) {
                    self.w.line(format_args!("fill{side}x{size} -= turn;"));
                }
            }
        }
        self.w.line(format_args!("turn = -turn;"));
    }

    /// A value in the slice that is read, or in that which is filled, by its element.
    pub fn in_slice(&self, id: Id, filled: bool, element: &str) -> String {
        let (c, (staged, bytes)) = (self.register(id), self.plan.layout(self.w.ir));
        let at = staged.iter().find(|s| s.id == id).map_or(0, |s| s.at);
        let second = if filled { "turn > 0" } else { "turn < 0" };
        format!("nd_shared<{c}>(nd_at_shared(slices) + ({second} ? {bytes} : 0) + {at})[{element}]")
    }

    /// What the first slice's steps count from.
    fn start(&self) -> &'static str {
        if self.plan.split { "start + " } else { "(Count)" }
    }

    /// The first slice of some sides.
    pub fn first(&mut self, sides: &[usize]) -> Result<()> {
        let all: Vec<Part> = sides.iter().map(|&side| (side, 0..self.steps(side).1)).collect();
        all.iter().for_each(|part| self.fetch(part, true));
        for part in &all {
            self.put(part, true)?;
        }
        if sides.contains(&0) {
            self.put_shared(true)?;
        }
        self.w.line(format_args!("__syncthreads();"));
        Ok(())
    }

    /// What a side loads by itself before its values are computed.
    pub fn loads(&self, side: usize) -> Vec<Id> {
        let ir = self.w.ir;
        let all = self.plan.below(ir, &self.plan.staged[side]);
        all.into_iter().filter(|&id| matches!(ir.code[id as usize].op, KOp::Load(_))).collect()
    }

    /// Neighbours along k of one step of filling a side's slice, and how many steps a thread takes.
    pub fn steps(&self, side: usize) -> (usize, usize) {
        let (plan, runs) = (self.plan, self.plan.fill[side] == Fill::Runs);
        let run = if runs { plan.tile.run } else { 1 };
        (run, (plan.tile.size(side) * plan.slice / run).div_ceil(plan.tile.threads()))
    }

    /// The parts that a side's slice comes in.
    pub fn parts(&self, side: usize) -> Vec<Part> {
        let steps = self.steps(side).1;
        match steps % 2 {
            0 => vec![(side, 0..steps / 2), (side, steps / 2..steps)],
            _ => vec![(side, 0..steps)],
        }
    }

    /// A side's elements that a thread fills lie at `kk` along k and `at` along the rows, at step `u`.
    pub fn filling_place(&mut self, side: usize, u: &str) {
        let plan = self.plan;
        let run = self.steps(side).0;
        let (threads, size, slice) = (plan.tile.threads(), plan.tile.size(side), plan.slice);
        let runs = slice / run;
        // Lanes along k take whole sectors of 32 bytes, and store to as many banks as there are lanes.
        let along = if run > 1 { 2 } else { 8 };
        if plan.fill[side] == Fill::Rows || !runs.is_multiple_of(along) {
            self.w.line(format_args!(
                "const u32 kk = (thread + {u} * {threads}) / {size}{}, at = (thread + {u} * {threads}) % {size};",
                if run > 1 { format!(" * {run}") } else { String::new() }
            ));
        } else {
            let (groups, rows, run) = (runs / along, 32 / along, run);
            let (q, row) = match run > 1 {
                true => (format!("lane / {rows}"), format!("lane % {rows}")),
                false => (format!("lane % {along}"), format!("lane / {along}")),
            };
            self.w.line(format_args!("const u32 w = warp + {u} * {};", threads / 32));
            self.w.line(format_args!(
                "const u32 kk = (w % {groups} * {along} + {q}) * {run}, at = w / {groups} * {rows} + {row};"
            ));
        }
    }

    /// Elements of a slice between a thread's steps of filling it: threads go on by whole rows or whole groups.
    pub fn apart(&self, side: usize) -> usize {
        let (plan, run) = (self.plan, self.steps(side).0);
        let (threads, size, pitch) = (plan.tile.threads(), plan.tile.size(side), plan.pitch(side));
        let (runs, along) = (plan.slice / run, if run > 1 { 2 } else { 8 });
        if plan.fill[side] == Fill::Rows || !runs.is_multiple_of(along) {
            debug_assert!(threads.is_multiple_of(size), "a thread stays at its row");
            threads / size * run * pitch
        } else {
            debug_assert!((threads / 32).is_multiple_of(runs / along), "a thread stays at its steps");
            threads / 32 / (runs / along) * (32 / along)
        }
    }

    /// Opens the loop over a thread's steps of filling a slice: the first, or that at `next`. What lies past the end repeats the last row or k.
    pub fn filling(&mut self, (side, steps): &Part, first: bool) {
        let (plan, side) = (self.plan, *side);
        let (run, count) = self.steps(side);
        let (threads, size) = (plan.tile.threads(), plan.tile.size(side));
        self.w.line(format_args!("#pragma unroll"));
        self.w.open(format_args!("for (u32 u = {}; u < {}; ++u)", steps.start, steps.end));
        let runs = plan.slice / run;
        if !(size * runs).is_multiple_of(threads) {
            self.w.line(format_args!("if (thread + u * {threads} >= {}) break;", size * runs));
        }
        self.filling_place(side, "u");
        // The shift gives 0, and the compiler does not know it: it would keep registers for each of many of these, and spill them.
        let bits = if self.w.ir.index == Width::W32 { 31 } else { 63 };
        let hidden = if count > 1 && !first { format!(" + (next >> {bits})") } else { String::new() };
        self.row(side, &hidden);
        match first {
            true => self.w.line(format_args!("const Count k = min({}kk, nk - {run});", self.start())),
            false => self.w.line(format_args!("const Count k = next + kk;")),
        }
        self.w.split("k", plan.axes.k);
    }

    /// The indices of the row `at` of a side's tile.
    pub fn row(&mut self, side: usize, hidden: &str) {
        let ((n, first), axes) = (SIDES[side], [self.plan.axes.i, self.plan.axes.j][side]);
        self.w.line(format_args!("const Count row = min({first} + at{hidden}, {n} - 1);"));
        self.w.split("row", axes);
    }

    /// The vectors that a thread loads for every slice, each a slice further along k.
    pub fn walking(&self, side: usize) -> Vec<Id> {
        let plan = self.plan;
        let one = plan.fill[side] == Fill::Runs && self.steps(side).1 == 1 && plan.axes.k.iter().count() == 1;
        let mut loads = if one { self.loads(side) } else { vec![] };
        loads.retain(|&id| {
            let moves = !self.w.ir.code[id as usize].over.and(plan.axes.k).is_empty();
            moves && matches!(self.w.access(id), Access::Unit(_))
        });
        loads
    }

    /// Whether vectors are loaded by a pointer each: two registers, and two instructions less for a slice, which count where a step has one.
    pub fn by_pointer(&self) -> bool {
        self.plan.inner.is_empty() || self.w.ir.index == Width::W64
    }

    /// Where the vectors that walk along k begin.
    pub fn origins(&mut self) {
        for side in 0..2 {
            let walking = self.walking(side);
            if walking.is_empty() {
                continue;
            }
            let c = if self.by_pointer() { "u64" } else { "Index" };
            let names: Vec<String> = walking.iter().map(|id| format!("from{id}")).collect();
            self.w.line(format_args!("{c} {};", names.join(", ")));
            self.w.block();
            self.filling_place(side, "0");
            self.row(side, "");
            self.w.split("kk", self.plan.axes.k);
            for (id, name) in walking.into_iter().zip(names) {
                let offset = self.w.offset(id);
                match (self.by_pointer(), self.w.ir.code[id as usize].op) {
                    (true, KOp::Load(o)) => {
                        self.w.line(format_args!("{name} = nd_kept(nd_at_global(a.p{o} + ({offset})));"));
                    }
                    _ => self.w.line(format_args!("{name} = nd_kept({offset});")),
                }
            }
            self.w.close();
        }
    }

    /// Starts the loads of a part of the first slice, or of that at `next`.
    pub fn fetch(&mut self, part: &Part, first: bool) {
        let (side, steps) = part;
        let (mut loads, run) = (self.loads(*side), self.steps(*side).0);
        for &id in &loads {
            let array = if run > 1 { self.w.vector_type(id) } else { self.register(id).into() };
            self.w.line(format_args!("{array} g{id}[{}];", steps.len()));
        }
        let walking = if first { vec![] } else { self.walking(*side) };
        loads.retain(|id| !walking.contains(id));
        for id in walking {
            let (KOp::Load(o), Access::Unit(n)) = (self.w.ir.code[id as usize].op, self.w.access(id)) else { continue };
            let from = match self.by_pointer() {
                true => format!("nd_global<{}>(from{id}) + next", self.w.ir.operands[o as usize].dtype),
                false => format!("a.p{o} + (from{id} + (Index)next)"),
            };
            self.w.line(format_args!("nd_load_vec<{n}>(g{id}[0], {from});"));
        }
        if loads.is_empty() {
            return;
        }
        self.filling(part, first);
        for id in loads {
            let to = format!("g{id}[u - {}]", steps.start);
            match run > 1 {
                true => self.w.load_vector(id, &to),
                false => self.w.load(id, &to),
            }
        }
        self.w.close();
    }

    /// Computes what is kept of a part of the slice and stores it.
    pub fn put(&mut self, part: &Part, first: bool) -> Result<()> {
        let (plan, ir, side) = (self.plan, self.w.ir, part.0);
        if plan.staged[side].is_empty() {
            return Ok(());
        }
        let ((run, _), loads) = (self.steps(side), self.loads(side));
        self.filling(part, first);
        let from = part.1.start;
        let last = plan.axes.k.iter().last().unwrap_or(0);
        if run > 1 {
            self.w.line(format_args!("const Index y = x{last};"));
            self.w.line(format_args!("#pragma unroll"));
            self.w.open(format_args!("for (u32 e = 0; e < {run}; ++e)"));
            self.w.line(format_args!("const Index x{last} = y + (Index)e;"));
        }
        for id in plan.below(ir, &plan.staged[side]) {
            let c = self.register(id);
            match loads.contains(&id) {
                true if run > 1 => self.w.loaded(id, &format!("g{id}[u - {from}]")),
                true => self.w.line(format_args!("const {c} v{id} = g{id}[u - {from}];")),
                false => self.w.value(id)?,
            }
        }
        let (apart, pitch) = (self.apart(side), plan.pitch(side));
        let along = if run > 1 { format!(" + e * {pitch}") } else { String::new() };
        for Staged { id, size, at, .. } in plan.layout(ir).0.into_iter().filter(|s| s.side == side) {
            let (c, (by, _)) = (self.register(id), self.filled(side, size));
            let at = at / size;
            self.w.line(format_args!("nd_shared<{c}>(fill{by}x{size})[{at} + u * {apart}{along}] = v{id};"));
        }
        if run > 1 {
            self.w.close();
        }
        self.w.close();
        Ok(())
    }

    /// What both sides share of the slice: values of k alone.
    pub fn put_shared(&mut self, first: bool) -> Result<()> {
        let (plan, ir) = (self.plan, self.w.ir);
        if plan.staged[2].is_empty() {
            return Ok(());
        }
        self.w.open(format_args!("if (thread < {})", plan.slice));
        match first {
            true => self.w.line(format_args!("const Count k = min({}thread, nk - 1);", self.start())),
            false => self.w.line(format_args!("const Count k = next + thread;")),
        }
        self.w.split("k", plan.axes.k);
        for id in plan.below(ir, &plan.staged[2]) {
            self.w.value(id)?;
        }
        for &id in &plan.staged[2] {
            let to = self.in_slice(id, true, "thread");
            self.w.line(format_args!("{to} = v{id};"));
        }
        self.w.close();
        Ok(())
    }
}
