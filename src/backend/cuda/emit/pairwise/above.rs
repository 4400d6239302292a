//! Folds over j of what pairs give: the nearest row, how many are near, the sum of a kernel's values.
//!
//! A block walks tiles along j for its rows i. Each thread folds its columns of a tile into a state for each of its rows; at the end of a
//! chunk of columns, threads that share a row join theirs, and a tree over the chunks gives the row's. Chunks and their tree follow from the
//! extent of j alone: a row has the same bits whatever stands beside it, and whichever blocks share it. Those leave what they have of a row
//! in memory, and the last of them goes on with it.

use super::text::Pairwise;
use super::{Plan, STATE};
use crate::error::Result;
use crate::kernel::{AxisSet, Id, KernelIr};

/// Columns of a chunk at least: whole tiles. `kernels/reduce.cuh` has the same.
const CHUNK: u64 = 256;
/// Chunks at most, a power of 2; as above.
const CHUNKS: u64 = 256;
/// Blocks that are enough for any GPU: rows are not shared among more.
const BLOCKS: u64 = 1024;

impl Plan {
    /// Bytes of shared memory in which threads join their states.
    pub(super) fn shared_above(&self) -> usize {
        self.above.len() * self.tile.warps[1] * self.tile.size(0) * STATE
    }

    /// Half as many rows for a block, where its threads are then enough for the folds of one side.
    pub(super) fn halve(&mut self, ir: &KernelIr) {
        let mut tile = self.tile;
        tile.warps[0] /= 2;
        tile.blocks *= 2;
        let columns = self.folds.iter().any(|f| self.lone(ir, f.id) == Some(1));
        if tile.warps[0] > 0 && (!columns || tile.size(0) + tile.size(1) <= tile.threads()) {
            self.tile = tile;
        }
    }

    /// Whether small tiles are better: there are few of these.
    pub(super) fn is_small(&self, count: impl Fn(AxisSet) -> u64) -> bool {
        match self.above.is_empty() {
            true => self.tiles(count) < 256,
            false => {
                let half = count(self.axes.i) <= self.tile.size(0) as u64 / 2;
                half || self.rows_of_tiles(&count) * chunks(count(self.axes.j)) < 256
            }
        }
    }

    /// Where results are folded over j: how many blocks there are for the rows, and how many share each of these.
    pub fn above(&self, count: impl Fn(AxisSet) -> u64) -> Option<(u64, u64)> {
        if self.above.is_empty() {
            return None;
        }
        let (rows, chunks) = (self.rows_of_tiles(&count).max(1), chunks(count(self.axes.j)));
        let share = chunks.div_ceil((BLOCKS / rows).clamp(1, chunks)).next_power_of_two();
        Some((rows, chunks.div_ceil(share)))
    }

    /// Whether tiles are not mostly empty: many rows, each with a few others of its own, are better off without.
    pub fn fills(&self, extents: &[usize]) -> bool {
        let count = |axes: AxisSet| axes.iter().map(|a| extents[a]).product::<usize>();
        !self.axes.i.is_empty() || count(self.axes.batch) == 1 || count(self.axes.j) >= self.tile.size(1) / 2
    }

    /// How many folds over j there are.
    pub fn folds_above(&self) -> usize {
        self.above.len()
    }
}

/// The number of chunks of `n` columns.
fn chunks(n: u64) -> u64 {
    let mut chunk = CHUNK;
    while chunk * CHUNKS < n {
        chunk *= 2;
    }
    n.div_ceil(chunk).max(1)
}

impl Pairwise<'_, '_, '_> {
    /// The kernel of results that are folded over j.
    pub fn kernel_above(&mut self) -> Result<()> {
        let plan = self.plan;
        let (rows, columns) = (plan.tile.size(0), plan.tile.size(1));
        let folds: Vec<(Id, String)> = plan.above.iter().map(|&id| (id, self.w.reducer_name(id))).collect();
        for (id, r) in &folds {
            self.w.line(format_args!("__shared__ States<{r}::State, {rows}> joined{id}[{}];", plan.tile.warps[1]));
        }
        // What the walk along j goes by: registers are too few for it.
        self.w.line(format_args!("__shared__ Count chunk, stop;"));
        self.begin();
        self.w.line(format_args!("const Count i0 = blockIdx.x % tiles_i * {rows};"));
        self.w.line(format_args!("if (blockIdx.x >= nb * tiles_i) return;"));
        self.batch("blockIdx.x / tiles_i");
        for (id, r) in &folds {
            self.w.line(format_args!("{r}::State own{id}[{}];", plan.tile.own(0)));
            self.w.line(format_args!("Tree<{r}> owntree{id};"));
        }
        self.w.line(format_args!("Count j0 = nd_walk(nj, chunk, stop);"));
        self.own(&folds, |p, id, r| p.w.line(format_args!("{r}::init(rows{id}[r]);")));
        if plan.single {
            self.slice_of_all();
            self.w.open(format_args!("if (nk > 0)"));
            self.first(&[0])?;
            self.w.close();
        }
        self.w.open(format_args!("for (; j0 < stop; j0 += {columns})"));
        // So that what a thread's place is made of is not kept through the walk along k.
        self.again();
        self.states();
        self.w.open(format_args!("if (nk > 0)"));
        if plan.single {
            self.first(&[1])?;
            self.single()?;
        } else {
            self.walk()?;
        }
        self.w.close();
        self.tile(&folds)?;
        self.w.open(format_args!("if ((j0 + {columns}) % chunk == 0 || j0 + {columns} >= stop)"));
        self.join(&folds);
        self.w.close();
        self.w.close();
        self.w.block();
        self.again();
        self.share(&folds);
        self.end(&folds)?;
        self.w.close();
        Ok(())
    }

    /// `body` for each fold, with its reducer, and each of a thread's rows `r`, whose state is `rows<id>[r]`.
    fn own(&mut self, folds: &[(Id, String)], body: impl Fn(&mut Self, Id, &str)) {
        for (id, reducer) in folds {
            self.w.block();
            self.memory(*id, reducer);
            self.w.line(format_args!("#pragma unroll"));
            self.w.open(format_args!("for (u32 r = 0; r < {}; ++r)", self.plan.tile.own(0)));
            body(self, *id, reducer);
            self.w.close();
            self.w.close();
        }
    }

    /// The thread's states of its rows, which stay in local memory: registers are too few while k is folded.
    fn memory(&mut self, id: Id, reducer: &str) {
        self.w.line(format_args!("{reducer}::State* rows{id} = nd_kept(&own{id}[0]);"));
    }

    /// A row's tree, of its thread: as above.
    fn trees(&mut self, folds: &[(Id, String)]) {
        for (id, r) in folds {
            self.w.line(format_args!("Tree<{r}>* tree{id} = nd_kept(&owntree{id});"));
        }
    }

    /// Folds a tile's columns.
    fn tile(&mut self, folds: &[(Id, String)]) -> Result<()> {
        let (ir, plan) = (self.w.ir, self.plan);
        self.share_lone();
        // All are done with the slices, too, and with what was joined: the next tile's go there.
        self.w.line(format_args!("__syncthreads();"));
        self.w.block();
        self.again();
        folds.iter().for_each(|(id, r)| self.memory(*id, r));
        self.w.line(format_args!("#pragma unroll"));
        self.w.open(format_args!("for (u32 r = 0; r < {}; ++r)", plan.tile.own(0)));
        let (row, col) = (self.place(0), self.place(1));
        self.w.line(format_args!("const Count row = {row};"));
        self.w.line(format_args!("if (row >= ni) continue;"));
        self.w.split("row", plan.axes.i);
        for (id, r) in folds {
            self.w.line(format_args!("{r}::State t{id} = rows{id}[r];"));
        }
        self.w.line(format_args!("#pragma unroll"));
        self.w.open(format_args!("for (u32 c = 0; c < {}; ++c)", plan.tile.own(1)));
        self.w.line(format_args!("const Count col = {col};"));
        self.w.line(format_args!("if (col >= nj) break;"));
        self.w.split("col", plan.axes.j);
        let args: Vec<Id> = plan.above.iter().map(|&id| ir.code[id as usize].args[0]).collect();
        self.epilogue(&args)?;
        for ((id, r), v) in folds.iter().zip(args) {
            self.w.line(format_args!("{r}::step(t{id}, v{v}, (i64)col);"));
        }
        self.w.close();
        for (id, _) in folds {
            self.w.line(format_args!("rows{id}[r] = t{id};"));
        }
        self.w.close();
        self.w.close();
        Ok(())
    }

    /// Joins the states of the threads that share a row at the end of a chunk, and puts them into the row's tree: a thread for each row.
    fn join(&mut self, folds: &[(Id, String)]) {
        let (tile, place) = (self.plan.tile, self.place_in_tile(0));
        self.w.block();
        self.again();
        self.own(folds, |p, id, r| {
            p.w.line(format_args!("const {r}::State whole = nd_fold_8<{r}>(rows{id}[r]);"));
            let across = tile.warps[1];
            p.w.line(format_args!("if (lane % 8 == 0) joined{id}[warp % {across}].put({place}, whole);"));
        });
        self.w.line(format_args!("__syncthreads();"));
        self.w.open(format_args!("if (thread < {})", tile.size(0)));
        self.trees(folds);
        for (id, r) in folds {
            self.w.line(format_args!("{r}::State row{id} = joined{id}[0].get(thread);"));
            for warp in 1..tile.warps[1] {
                self.w.line(format_args!("{r}::merge(row{id}, joined{id}[{warp}].get(thread));"));
            }
            self.w.line(format_args!("tree{id}->push(row{id});"));
        }
        self.w.close();
        self.own(folds, |p, id, r| p.w.line(format_args!("{r}::init(rows{id}[r]);")));
        self.w.close();
    }

    /// Blocks that share rows leave their states; the last goes on with all of them.
    fn share(&mut self, folds: &[(Id, String)]) {
        let rows = self.plan.tile.size(0);
        self.trees(folds);
        self.w.line(format_args!("const bool mine = thread < {rows} && i0 + thread < ni;"));
        self.w.open(format_args!("if (gridDim.y > 1)"));
        self.w.line(format_args!("const Count row = blockIdx.x / tiles_i * ni + i0 + thread;"));
        for (n, (id, r)) in folds.iter().enumerate() {
            self.w.line(format_args!("{r}::State* const all{id} = nd_states<{r}>(a.scratch, nb * ni, row, {n});"));
            self.w.line(format_args!("if (mine) all{id}[blockIdx.y] = tree{id}->all();"));
        }
        self.w.line(format_args!("if (!nd_is_last(a.tickets + blockIdx.x)) return;"));
        self.w.open(format_args!("if (mine)"));
        for (id, _) in folds {
            self.w.line(format_args!("tree{id}->count = 0;"));
            self.w.line(format_args!("for (u32 part = 0; part < gridDim.y; ++part) tree{id}->push(all{id}[part]);"));
        }
        self.w.close();
        self.w.close();
    }

    /// What follows the folds over j: a thread for each row.
    fn end(&mut self, folds: &[(Id, String)]) -> Result<()> {
        let (ir, plan) = (self.w.ir, self.plan);
        self.w.open(format_args!("if (mine)"));
        self.w.line(format_args!("const Count row = i0 + thread;"));
        self.w.split("row", plan.axes.i);
        for (id, _) in folds {
            self.w.finished(*id, &format!("tree{id}->all()"), "(i64)nj");
        }
        let stores = ir.stores();
        let values: Vec<Id> = stores.iter().map(|&id| ir.code[id as usize].args[0]).collect();
        for id in plan.below(ir, &values) {
            self.w.value(id)?;
        }
        for id in stores {
            self.w.store(id, ir.all_axes().minus(ir.folded), "");
        }
        self.w.close();
        Ok(())
    }
}
