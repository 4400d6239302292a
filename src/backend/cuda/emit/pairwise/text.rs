//! The text of pairwise kernels.

use super::super::variant::Access;
use super::super::{SEGMENT, register};
use super::slices::Part;
use super::{Axes, Fold, Plan, Staged, roots};
use crate::backend::cuda::emit::write::Writer;
use crate::error::Result;
use crate::kernel::{Id, KOp, Width};

pub(super) struct Pairwise<'w, 'a, 'p> {
    pub w: &'w mut Writer<'a>,
    pub plan: &'p Plan,
}

/// Names of both sides: of their extents and of a tile's first index.
pub(super) const SIDES: [(&str, &str); 2] = [("ni", "i0"), ("nj", "j0")];

impl Pairwise<'_, '_, '_> {
    pub fn kernel(&mut self) -> Result<()> {
        let plan = self.plan;
        let tile = plan.tile;
        self.begin();
        self.w.line(format_args!("const Count tiles_j = (nj + {}) / {};", tile.size(1) - 1, tile.size(1)));
        self.w.line(format_args!("const Count tiles = nb * tiles_i * tiles_j;"));
        // A loop over tiles would take registers from the loop over k.
        self.corner("blockIdx.x", "blockIdx.y");
        self.w.line(format_args!("if (tile >= tiles) return;"));
        self.states();
        self.w.open(format_args!("if (nk > 0)"));
        if plan.single {
            self.slice_of_all();
            self.first(&[0, 1])?;
            self.single()?;
        } else {
            self.walk()?;
        }
        self.w.close();
        self.results()
    }

    /// The block's tile: its number, its first row and column, and its place in the batch.
    fn corner(&mut self, x: &str, y: &str) {
        // Tiles of more than 2^31 results go along y, too.
        match self.w.ir.index {
            Width::W32 => self.numbered(x),
            Width::W64 => self.numbered(&format!("{x} + {y} * (Count)gridDim.x")),
        }
    }

    /// The place of the tile of that number, given the tiles along both sides.
    pub fn numbered(&mut self, number: &str) {
        let tile = self.plan.tile;
        self.w.line(format_args!("const Count tile = {number};"));
        self.w.line(format_args!("const Count at_i = tile / tiles_j % tiles_i;"));
        self.w.line(format_args!("const Count j0 = tile % tiles_j * {}, i0 = at_i * {};", tile.size(1), tile.size(0)));
        self.batch("tile / tiles_j / tiles_i");
    }

    /// Shared memory, a thread's place, and the extents.
    pub fn begin(&mut self) {
        let plan = self.plan;
        let (tile, buffers) = (plan.tile, if plan.single { 1 } else { 2 });
        let (staged, bytes) = plan.layout(self.w.ir);
        for Staged { id, side, at, .. } in staged {
            let pitch = plan.pitch(side);
            self.w.line(format_args!(
                "// v{id} at step k of row or column n: element k * {pitch} + n from byte {at} of a slice"
            ));
        }
        if bytes > 0 {
            self.w.line(format_args!("__shared__ __align__(16) u8 slices[{}];", buffers * bytes));
        }
        for f in &plan.folds {
            if let Some(side) = plan.lone(self.w.ir, f.id).filter(|_| !plan.split) {
                let r = self.w.reducer_name(f.id);
                self.w.line(format_args!("__shared__ {r}::State f{}[{}];", f.id, tile.size(side)));
            }
        }
        self.thread("threadIdx.x");
        self.extents();
    }

    /// The extents, and the tiles along i.
    pub fn extents(&mut self) {
        let (Axes { i, j, k, batch }, tile) = (self.plan.axes, self.plan.tile);
        for (name, axes) in [("ni", i), ("nj", j), ("nk", k), ("nb", batch)] {
            self.w.line(format_args!("const Count {name} = {};", self.w.count(axes)));
        }
        self.w.line(format_args!("const Count tiles_i = (ni + {}) / {};", tile.size(0) - 1, tile.size(0)));
    }

    /// The indices of the batch, whose number is `number`.
    pub fn batch(&mut self, number: &str) {
        if !self.plan.axes.batch.is_empty() {
            self.w.line(format_args!("const Count b = {number};"));
            self.w.split("b", self.plan.axes.batch);
        }
    }

    /// A thread's states of the folds over k, empty.
    pub fn states(&mut self) {
        for n in 0..self.plan.folds.len() {
            let (id, r) = self.fold(n);
            let dims = self.dims(id);
            self.w.line(format_args!("{r}::State s{id}{dims};"));
            self.each(id, |p, at| p.w.line(format_args!("{r}::init(s{id}{at});")));
        }
    }

    pub fn register(&self, id: Id) -> &'static str {
        register(self.w.ir.code[id as usize].dtype)
    }

    /// The place of a thread's first row and column in the tile; further ones are a warp's lanes apart.
    pub fn thread(&mut self, number: &str) {
        let tile = self.plan.tile;
        let (across, rows, columns, run) = (tile.warps[1], 4 * tile.own(0), 8 * tile.own(1), tile.run);
        self.w.line(format_args!("const u32 thread = {number}, lane = thread % 32, warp = thread / 32;"));
        self.w.line(format_args!("const u32 ty = warp / {across} * {rows} + lane / 8 * {run};"));
        self.w.line(format_args!("const u32 tx = warp % {across} * {columns} + lane % 8 * {run};"));
    }

    /// A thread's place, computed anew, so that it takes no registers while k is folded: the compiler cannot tell that it has it.
    pub fn again(&mut self) {
        self.thread("nd_thread()");
    }

    /// Where all of k is one slice.
    pub fn slice_of_all(&mut self) {
        self.places();
        self.w.line(format_args!("const i32 turn = 0;"));
        self.w.line(format_args!("const Count k0 = 0;"));
    }

    /// The steps of a slice that holds all of k.
    pub fn single(&mut self) -> Result<()> {
        self.w.line(format_args!("#pragma unroll"));
        self.w.open(format_args!("for (u32 kk = 0; kk < {}; ++kk)", self.plan.slice));
        self.w.line(format_args!("if (kk >= nk) break;"));
        self.step()?;
        self.w.close();
        Ok(())
    }

    /// Slice after slice: while this one is folded, the next is on its way from global memory. It comes in parts, which take few registers.
    /// The last slice, which none follows, is folded behind that loop, whole or not.
    ///
    /// Compile time grows with the unrolled text: a step of each result stands in it once for each place in a slice, and once behind the loop.
    pub fn walk(&mut self) -> Result<()> {
        let plan = self.plan;
        let slice = plan.slice;
        // Where blocks share k, each segment's fold is left in memory.
        let joined = if plan.split { 0 } else { plan.folds.len() };
        let from_start = if plan.split { "start + " } else { "" };
        for n in 0..joined {
            let (id, r) = self.fold(n);
            // Touched once in a segment: it lives in local memory, which registers are too few for.
            let states = self.count(id) * if self.plain(id) { 2 } else { 1 };
            self.w.line(format_args!("{r}::State local{id}[{states}];"));
        }
        let bytes = plan.layout(self.w.ir).1;
        self.places();
        self.w.line(format_args!("i32 turn = -{bytes};"));
        self.first(&[0, 1])?;
        self.turn(false);
        self.origins();
        // The slice that is fetched begins there, and that which is folded a slice before.
        self.w.line(format_args!("Count ahead = {from_start}{slice};"));
        self.w.open(format_args!("for (;;)"));
        let begun = if plan.split { String::new() } else { format!("begun = ahead > {slice}, ") };
        self.w.line(format_args!("const bool {begun}last = nk - (ahead - {slice}) <= {SEGMENT};"));
        self.w.line(format_args!("const Count end = nd_kept(min(nd_kept(nk) - 1, ahead + {}));", SEGMENT - slice));
        self.w.open(format_args!("for (; ahead <= end; ahead += {slice})"));
        // The last slice is whole, too: it repeats steps of the one before.
        self.w.line(format_args!("const Count k0 = ahead - {slice}, next = min(ahead, nk - {slice});"));
        // Few steps at a time where there is much to compute.
        let unroll = if plan.inner.len() > 12 { " 1" } else { "" };
        let parts: Vec<Part> = (0..2).flat_map(|side| self.parts(side)).collect();
        for (n, part) in parts.iter().enumerate() {
            self.w.block();
            self.fetch(part, false);
            // The compiler would load where it stores otherwise, and wait.
            self.w.line(format_args!("__syncwarp();"));
            self.w.line(format_args!("#pragma unroll{unroll}"));
            let [from, to] = [n, n + 1].map(|n| n * slice / parts.len());
            self.w.open(format_args!("for (u32 kk = {from}; kk < {to}; ++kk)"));
            self.step()?;
            self.w.close();
            self.put(part, false)?;
            self.w.close();
        }
        self.put_shared(false)?;
        self.w.line(format_args!("__syncthreads();"));
        self.turn(true);
        self.w.close();
        self.w.open(format_args!("if (last)"));
        let least = if plan.split { format!("(start + {slice})") } else { slice.to_string() };
        self.w.line(format_args!("const Count k0 = min(ahead - {slice}, max(nd_kept(nk), (Count){least}) - {slice});"));
        self.w.line(format_args!("#pragma unroll 1"));
        self.w.open(format_args!("for (u32 kk = ahead - {slice} - k0; kk < nk - k0; ++kk)"));
        self.step()?;
        self.w.close();
        self.w.close();
        match plan.split {
            true => self.leave_segment(),
            false => self.w.line(format_args!("if (nk <= {SEGMENT}) break;")),
        }
        // The segment's fold goes into that of those before it.
        for n in 0..joined {
            let (id, r) = self.fold(n);
            let states = self.count(id);
            if !self.plain(id) {
                self.segments(id, &r, |p, at, s| {
                    p.w.line(format_args!("if (begun) {r}::merge(whole{id}[{at}], {s});"));
                    p.w.line(format_args!("else whole{id}[{at}] = {s};"));
                });
                continue;
            }
            // In memory, by a loop, which is little to compile.
            self.segments(id, &r, |p, at, s| {
                p.w.line(format_args!("whole{id}[(begun ? {states} : 0) + {at}] = {s};"));
            });
            self.w.line(format_args!("#pragma unroll 1"));
            self.w.line(format_args!(
                "for (u32 n = 0; begun && n < {states}; ++n) {r}::merge(whole{id}[n], whole{id}[{states} + n]);"
            ));
        }
        self.w.line(format_args!("if (last) break;"));
        for n in 0..plan.folds.len() {
            let (id, r) = self.fold(n);
            self.each(id, |p, at| p.w.line(format_args!("{r}::init(s{id}{at});")));
        }
        self.w.close();
        if plan.split {
            return Ok(());
        }
        self.w.open(format_args!("if (nk > {SEGMENT})"));
        for n in 0..plan.folds.len() {
            let (id, r) = self.fold(n);
            self.segments(id, &r, |p, at, s| p.w.line(format_args!("{s} = whole{id}[{at}];")));
        }
        self.w.close();
        Ok(())
    }

    pub fn fold(&self, n: usize) -> (Id, String) {
        let id = self.plan.folds[n].id;
        (id, self.w.reducer_name(id))
    }

    /// Whether a fold's state is one number: in memory, others have bytes that nothing has written, and must not be copied whole.
    pub fn plain(&self, id: Id) -> bool {
        matches!(self.w.ir.code[id as usize].op, KOp::Reduce { reducer, .. } if reducer.states == 1)
    }

    pub fn both(&self, id: Id) -> bool {
        self.plan.lone(self.w.ir, id).is_none()
    }

    /// The array dimensions of a thread's states of a fold.
    fn dims(&self, id: Id) -> String {
        let tile = self.plan.tile;
        if self.both(id) { format!("[{}][{}]", tile.own(0), tile.own(1)) } else { String::new() }
    }

    fn count(&self, id: Id) -> usize {
        let tile = self.plan.tile;
        if self.both(id) { tile.own(0) * tile.own(1) } else { 1 }
    }

    /// `body` for each of a thread's states of a fold, given how one is subscripted.
    pub fn each(&mut self, id: Id, body: impl FnOnce(&mut Self, &str)) {
        let both = self.both(id);
        if both {
            self.loops();
        }
        body(self, if both { "[r][c]" } else { "" });
        if both {
            self.w.close();
            self.w.close();
        }
    }

    /// Opens the unrolled loops over a thread's rows and columns.
    fn loops(&mut self) {
        for (name, side) in [("r", 0), ("c", 1)] {
            self.w.line(format_args!("#pragma unroll"));
            self.w.open(format_args!("for (u32 {name} = 0; {name} < {}; ++{name})", self.plan.tile.own(side)));
        }
    }

    /// `body` for each of a thread's states of a fold: where the fold of its segments lies in `whole<id>`, and the state of this one.
    fn segments(&mut self, id: Id, reducer: &str, body: impl FnOnce(&mut Self, &str, &str)) {
        let at = if self.both(id) { format!("r * {} + c", self.plan.tile.own(1)) } else { "0".into() };
        // The compiler would keep them in registers, and spill others.
        self.w.line(format_args!("{reducer}::State* whole{id} = nd_kept(&local{id}[0]);"));
        self.each(id, |p, s| body(p, &at, &format!("s{id}{s}")));
    }

    /// The folds' steps at `kk`.
    fn step(&mut self) -> Result<()> {
        let (ir, plan) = (self.w.ir, self.plan);
        let tile = plan.tile;
        let pairs: Vec<&Fold> = plan.folds.iter().filter(|f| self.both(f.id)).collect();
        let read = |id: Id| pairs.iter().any(|f| roots(ir, f).contains(&id)) || !plan.inner.is_empty();
        let staged: Vec<Vec<Id>> =
            (0..2).map(|s| plan.staged[s].iter().copied().filter(|&id| read(id)).collect()).collect();
        for Staged { id, side, size, at } in plan.layout(ir).0 {
            if side == 2 || !staged[side].contains(&id) {
                continue;
            }
            let (c, run, quads, name) = (self.register(id), tile.run, tile.quads[side], ["rows", "cols"][side]);
            let (at, pitch, apart) = (at / size, plan.pitch(side), [4, 8][side] * run);
            self.w.line(format_args!("Vec<{c}, {run}> w{id}[{quads}];"));
            self.w.line(format_args!("#pragma unroll"));
            self.w.line(format_args!(
                "for (u32 q = 0; q < {quads}; ++q) nd_load_vec<{run}>(w{id}[q], nd_shared<{c}>({name}{size}) + ({at} + kk * {pitch} + q * {apart}));"
            ));
        }
        for &id in &plan.staged[2] {
            let (c, from) = (self.register(id), self.in_slice(id, false, "kk"));
            self.w.line(format_args!("const {c} v{id} = {from};"));
        }
        if !pairs.is_empty() {
            self.loops();
            for (side, dim) in [(0, "r"), (1, "c")] {
                for &id in &staged[side] {
                    let (c, run) = (self.register(id), tile.run);
                    self.w.line(format_args!("const {c} v{id} = w{id}[{dim} / {run}].at[{dim} % {run}];"));
                }
            }
            self.inner()?;
            for f in &pairs {
                self.fold_step(f, "[r][c]");
            }
            self.w.close();
            self.w.close();
        }
        // A fold of one side alone: a thread for each row.
        for side in 0..2 {
            let lone: Vec<&Fold> = plan.folds.iter().filter(|f| plan.lone(ir, f.id) == Some(side)).collect();
            if lone.is_empty() {
                continue;
            }
            let (from, size) = (side * tile.size(0), tile.size(side));
            let at = if side == 0 { "thread".into() } else { format!("thread - {from}") };
            let guard = if side == 0 {
                format!("thread < {size}")
            } else {
                format!("thread >= {from} && thread < {}", from + size)
            };
            self.w.open(format_args!("if ({guard})"));
            for &id in &plan.staged[side] {
                let element = format!("kk * {} + {at}", plan.pitch(side));
                let (c, from) = (self.register(id), self.in_slice(id, false, &element));
                self.w.line(format_args!("const {c} v{id} = {from};"));
            }
            for f in lone {
                self.fold_step(f, "");
            }
            self.w.close();
        }
        Ok(())
    }

    fn fold_step(&mut self, f: &Fold, at: &str) {
        let (id, r) = (f.id, self.w.reducer_name(f.id));
        match f.fma {
            Some((a, b)) => self.w.line(format_args!("s{id}{at}.s0 = nd_fma(v{a}, v{b}, s{id}{at}.s0);")),
            None => {
                let v = self.w.ir.code[id as usize].args[0];
                self.w.line(format_args!("{r}::step(s{id}{at}, v{v}, (i64)(k0 + kk));"));
            }
        }
    }

    /// Row and column of a thread's result (r, c).
    pub fn place(&self, side: usize) -> String {
        format!("{} + {}", SIDES[side].1, self.place_in_tile(side))
    }

    /// As [`Pairwise::place`], within the tile.
    pub fn place_in_tile(&self, side: usize) -> String {
        let ((own, dim), run) = ([("ty", "r"), ("tx", "c")][side], self.plan.tile.run);
        format!("{own} + {dim} / {run} * {} + {dim} % {run}", [4, 8][side] * run)
    }

    /// The values of one (i, j, k).
    fn inner(&mut self) -> Result<()> {
        let ir = self.w.ir;
        let indexed = |op: KOp| matches!(op, KOp::Load(_) | KOp::LoadAt(_) | KOp::Index(_));
        if self.plan.inner.iter().any(|&id| indexed(ir.code[id as usize].op)) {
            let Axes { i, j, k, .. } = self.plan.axes;
            let (row, col) = (self.place(0), self.place(1));
            self.w.line(format_args!("const Count row = min({row}, ni - 1), col = min({col}, nj - 1);"));
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

    /// Folds of one side alone go to shared memory; whether there are any.
    pub fn share_lone(&mut self) -> bool {
        let (ir, plan) = (self.w.ir, self.plan);
        let lone: Vec<(Id, usize)> = plan.folds.iter().filter_map(|f| Some((f.id, plan.lone(ir, f.id)?))).collect();
        for &(id, side) in &lone {
            let (from, size) = (side * plan.tile.size(0), plan.tile.size(side));
            self.w.line(format_args!("if (thread - {from} < {size}) f{id}[thread - {from}] = s{id};"));
        }
        !lone.is_empty()
    }

    /// The folds' values at a thread's result (r, c), and what some values need of them.
    pub fn epilogue(&mut self, of: &[Id]) -> Result<()> {
        let (ir, plan) = (self.w.ir, self.plan);
        for f in &plan.folds {
            let state = match plan.lone(ir, f.id) {
                None => format!("s{}[r][c]", f.id),
                Some(0) => format!("f{}[row - i0]", f.id),
                Some(_) => format!("f{}[col - j0]", f.id),
            };
            self.w.finished(f.id, &state, "(i64)nk");
        }
        for id in plan.below(ir, of) {
            self.w.value(id)?;
        }
        Ok(())
    }

    /// What follows the folds, and the stores.
    fn results(&mut self) -> Result<()> {
        let (ir, plan) = (self.w.ir, self.plan);
        let Axes { i, j, .. } = plan.axes;
        self.w.block();
        self.again();
        self.corner("nd_block_x()", "nd_block_y()");
        if self.share_lone() {
            self.w.line(format_args!("__syncthreads();"));
        }
        self.w.line(format_args!("#pragma unroll"));
        self.w.open(format_args!("for (u32 r = 0; r < {}; ++r)", plan.tile.own(0)));
        let row = self.place(0);
        self.w.line(format_args!("const Count row = {row};"));
        self.w.line(format_args!("if (row >= ni) continue;"));
        self.w.split("row", i);
        // Neighbours along j are stored at once where they lie so.
        let stores = ir.stores();
        let unit = |id: &Id| matches!(self.w.access(*id), Access::Unit(_));
        let whole: Vec<Id> = stores.iter().copied().filter(unit).collect();
        let (run, quads, apart) = (plan.tile.run, plan.tile.quads[1], 8 * plan.tile.run);
        self.w.line(format_args!("#pragma unroll"));
        self.w.open(format_args!("for (u32 q = 0; q < {quads}; ++q)"));
        // Where runs are stored whole, all of a run lies before the end.
        if !whole.is_empty() {
            self.w.line(format_args!("if (j0 + tx + q * {apart} >= nj) break;"));
        }
        for &id in &whole {
            let array = self.w.vector_type(id);
            self.w.line(format_args!("{array} o{id};"));
        }
        self.w.line(format_args!("#pragma unroll"));
        self.w.open(format_args!("for (u32 e = 0; e < {run}; ++e)"));
        self.w.line(format_args!("const u32 c = q * {run} + e;"));
        self.w.line(format_args!("const Count col = j0 + tx + q * {apart} + e;"));
        if whole.is_empty() {
            self.w.line(format_args!("if (col >= nj) break;"));
        }
        self.w.split("col", j);
        let values: Vec<Id> = stores.iter().map(|&id| ir.code[id as usize].args[0]).collect();
        self.epilogue(&values)?;
        for id in stores {
            match whole.contains(&id) {
                true => self.w.line(format_args!("nd_store(&o{id}.at[e], v{});", ir.code[id as usize].args[0])),
                false => self.w.store(id, ir.all_axes().minus(plan.axes.k), ""),
            }
        }
        self.w.close();
        if !whole.is_empty() {
            self.w.line(format_args!("const Count col = j0 + tx + q * {apart};"));
            self.w.split("col", j);
            for id in whole {
                self.w.store_vector(id, &format!("o{id}"));
            }
        }
        self.w.close();
        self.w.close();
        self.w.close();
        Ok(())
    }
}
