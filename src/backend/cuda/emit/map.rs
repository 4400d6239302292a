//! Elementwise kernels: a thread takes a few vectors of neighbours at a time, in strides of the grid. All are loaded before the first is computed.

use super::args::THREADS;
use super::gathers;
use super::variant::{Access, Along, Variant, cost, widths};
use super::write::Writer;
use crate::error::Result;
use crate::kernel::{AxisSet, Id, KOp, KernelIr, Width};

/// The widest vectors that a launch allows.
pub(super) fn variant(along: Along<'_>) -> Variant {
    let ir = along.ir;
    let Some(axis) = (ir.axes as usize).checked_sub(1) else { return Variant::default() };
    let n = along.launch.extents[axis];
    // One axis has a tail; rows of several have to be whole vectors.
    let fits = |w: &u8| (axis == 0 && n >= *w as usize) || (axis > 0 && n.is_multiple_of(*w as usize));
    let short = |w: &u8| *w as usize * cost(ir) <= 256;
    let ways = widths(ir, axis).into_iter().filter(fits).filter(short);
    let v = ways.filter_map(|w| along.variant(axis, w)).next().unwrap_or_default();
    Variant { patch: patch(along, &v), ..v }
}

/// The axis of patches: what an operand lies along that does not lie along the last one, where patches of the two are mostly full.
fn patch(along: Along<'_>, v: &Variant) -> Option<u8> {
    let (ir, extents) = (along.ir, &along.launch.extents);
    let last = (ir.axes as usize).checked_sub(1)?;
    let across = ir.code.iter().find_map(|inst| {
        let (KOp::Load(o) | KOp::Store(o)) = inst.op else { return None };
        let step = |a: usize| along.launch.operands[o as usize].strides[a].unsigned_abs();
        let own = |a: &usize| *a != last && step(*a) == 1;
        if inst.over.has(last) && step(last) > 1 { inst.over.iter().find(own) } else { None }
    })?;
    let patched = Variant { patch: Some(across as u8), ..*v };
    let wanted = threads(ir, &patched, extents);
    let fits = ir.index == Width::W64 || wanted < 1 << 31;
    // Of short axes most places of a patch are empty, and a warp's sectors near each other as it is.
    (fits && wanted <= 4 * threads(ir, v, extents)).then_some(across as u8)
}

/// Threads that have a vector, those of patches beyond the end included.
pub(super) fn threads(ir: &KernelIr, v: &Variant, extents: &[usize]) -> u64 {
    let count = |axes: AxisSet| axes.iter().map(|a| extents[a] as u64).product::<u64>();
    let Some(p) = Patch::of(ir, v) else { return count(ir.all_axes()).div_ceil(v.width as u64) };
    let around = count(p.around(ir.all_axes()));
    p.counts(v, extents).iter().map(|&n| n as u64).product::<u64>() * around * THREADS as u64
}

/// The patch of vectors that the threads of a block take together: a warp's lanes lie along both of its axes, so that with vectors of
/// elements of 2 bytes and more whole sectors are asked for, whichever of these an operand lies along.
#[derive(Clone, Copy)]
pub(super) struct Patch {
    axis: usize,
    last: usize,
    /// Lanes of a warp along the two.
    lanes: [u32; 2],
}

/// Warps of a block along the two.
const WARPS: [u32; 2] = [4, 2];

impl Patch {
    pub fn of(ir: &KernelIr, v: &Variant) -> Option<Patch> {
        let (axis, last) = (v.patch? as usize, (ir.axes as usize).checked_sub(1)?);
        let size =
            |i: &KOp| if let KOp::Load(o) | KOp::Store(o) = *i { ir.operands[o as usize].dtype.size() } else { 0 };
        // Elements of a sector.
        let whole = 32 / ir.code.iter().map(|i| size(&i.op)).max().unwrap_or(0).max(1) as u32;
        let lanes = if v.width > 1 { whole.clamp(8, 16) } else { 32 / whole.clamp(4, 16) };
        Some(Patch { axis, last, lanes: [lanes, 32 / lanes] })
    }

    /// The axes that it does not lie along.
    fn around(&self, axes: AxisSet) -> AxisSet {
        axes.minus(AxisSet::one(self.axis)).minus(AxisSet::one(self.last))
    }

    /// Rows and vectors of a patch.
    fn size(&self) -> [u32; 2] {
        [self.lanes[0] * WARPS[0], self.lanes[1] * WARPS[1]]
    }

    /// How many patches there are along the two.
    pub fn counts(&self, v: &Variant, extents: &[usize]) -> [usize; 2] {
        let [rows, vectors] = self.size();
        let along = |n: usize, size: u32| n.div_ceil(size as usize);
        [along(extents[self.axis], rows), along(extents[self.last] / v.width as usize, vectors)]
    }
}

/// Vectors that a thread has under way: 64 bytes of loads.
pub(super) fn unroll(ir: &KernelIr, v: &Variant) -> u32 {
    let size = |o: u8| ir.operands[o as usize].dtype.size();
    let bytes: usize = ir.code.iter().map(|i| if let KOp::Load(o) = i.op { size(o) } else { 0 }).sum();
    let width = v.width as usize;
    let fit = (64 / (bytes * width).max(16)).min(128 / (cost(ir) * width));
    [1, 1, 2, 2, 4][fit.min(4)]
}

/// Whether a thread takes more registers than most do: for vectors of bytes, for functions of f64, or for what is read by an index.
pub(super) fn keeps_much(ir: &KernelIr, v: &Variant) -> bool {
    v.width == 16 || cost(ir) >= 24 || gathers(ir)
}

pub(super) fn emit(w: &mut Writer) -> Result<()> {
    let patch = Patch::of(w.ir, &w.variant);
    Map { unroll: unroll(w.ir, &w.variant), width: w.variant.width, axes: w.ir.all_axes(), patch, w }.kernel()
}

struct Map<'w, 'a> {
    w: &'w mut Writer<'a>,
    unroll: u32,
    width: u8,
    axes: AxisSet,
    patch: Option<Patch>,
}

impl Map<'_, '_> {
    fn kernel(&mut self) -> Result<()> {
        let per = THREADS * self.unroll;
        let total = match (self.width, self.w.ir.axes) {
            _ if let Some(p) = self.patch => {
                let around = self.w.count(p.around(self.axes));
                format!("a.m[0].n * a.m[1].n * {around} * {THREADS}")
            }
            (1, _) => self.w.count(self.axes),
            (width, 1) => format!("a.n[0].n / {width}"),
            (_, n) => format!("{} * a.m.n", self.w.count(AxisSet::first(n as usize - 1))),
        };
        self.w.line(format_args!("const Count total = {total};"));
        self.w.line(format_args!("const Count step = gridDim.x * (Count){per};"));
        self.w.open(format_args!(
            "for (Count first = blockIdx.x * (Count){per} + threadIdx.x; first < total; first += step)"
        ));
        let loads = self.of(|op| matches!(op, KOp::Load(_)));
        for &id in &loads {
            let array = self.w.vector_type(id);
            self.w.line(format_args!("{array} w{id}[{}];", self.unroll));
        }
        if !loads.is_empty() {
            self.each_vector("if (t >= total) break;");
            for &id in &loads {
                self.w.load_vector(id, &format!("w{id}[u]"));
            }
            self.w.close();
        }
        self.each_vector("if (t >= total) break;");
        self.vector(&loads)?;
        self.w.close();
        self.w.close();
        if self.width > 1 && self.w.ir.axes == 1 {
            self.tail()?;
        }
        Ok(())
    }

    fn of(&self, which: impl Fn(KOp) -> bool) -> Vec<Id> {
        (0..self.w.ir.code.len() as Id).filter(|&id| which(self.w.ir.code[id as usize].op)).collect()
    }

    /// Opens the loop over a thread's vectors; indices are those of a vector's first element.
    fn each_vector(&mut self, end: &str) {
        self.w.line(format_args!("#pragma unroll"));
        self.w.open(format_args!("for (u32 u = 0; u < {}; ++u)", self.unroll));
        self.w.line(format_args!("const Count t = first + u * {THREADS};"));
        self.w.line(format_args!("{end}"));
        match self.patch {
            Some(p) => self.split_patches(p),
            None => self.w.split_vectors("t", self.axes),
        }
    }

    /// The indices of a thread's vector in a patch; there is none beyond the end.
    fn split_patches(&mut self, patch: Patch) {
        let Patch { axis, last, lanes } = patch;
        let ([rows, vectors], [tall, wide], width) = (patch.size(), lanes, self.width);
        self.w.line(format_args!("const u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32;"));
        self.w.line(format_args!("const Count at = t / {THREADS}, row = a.m[1].div(at), rest = a.m[0].div(row);"));
        let down = format!("warp % {} * {tall} + lane / {wide}", WARPS[0]);
        let along = format!("warp / {} * {wide} + lane % {wide}", WARPS[0]);
        self.w.line(format_args!("const Index x{axis} = (row - rest * a.m[0].n) * {rows} + {down};"));
        self.w.line(format_args!("const Index x{last} = ((at - row * a.m[1].n) * {vectors} + {along}) * {width};"));
        self.w.line(format_args!("if ((Count)x{axis} >= a.n[{axis}].n || (Count)x{last} >= a.n[{last}].n) continue;"));
        self.w.split("rest", patch.around(self.axes));
    }

    /// The elements of a vector, and its stores.
    fn vector(&mut self, loads: &[Id]) -> Result<()> {
        let stores = self.of(|op| matches!(op, KOp::Store(_)));
        if self.width == 1 {
            return self.element(loads, &[]);
        }
        let unit =
            |id: &Id| matches!(self.w.access(*id), Access::Unit(_)) && self.w.ir.code[*id as usize].over == self.axes;
        let whole: Vec<Id> = stores.into_iter().filter(unit).collect();
        for &id in &whole {
            let array = self.w.vector_type(id);
            self.w.line(format_args!("{array} o{id};"));
        }
        let axis = self.w.ir.axes - 1;
        self.w.line(format_args!("const Index y = x{axis};"));
        self.w.line(format_args!("#pragma unroll"));
        self.w.open(format_args!("for (u32 e = 0; e < {}; ++e)", self.width));
        self.w.line(format_args!("const Index x{axis} = y + (Index)e;"));
        self.element(loads, &whole)?;
        self.w.close();
        for id in whole {
            self.w.store_vector(id, &format!("o{id}"));
        }
        Ok(())
    }

    /// One element: `loads` are in registers, `whole` are stored with their vector.
    fn element(&mut self, loads: &[Id], whole: &[Id]) -> Result<()> {
        for (id, inst) in self.w.ir.code.iter().enumerate() {
            let id = id as Id;
            match inst.op {
                KOp::Param(_) => {}
                KOp::Load(_) if loads.contains(&id) => self.w.loaded(id, &format!("w{id}[u]")),
                KOp::Store(_) if whole.contains(&id) => {
                    self.w.line(format_args!("nd_store(&o{id}.at[e], v{});", inst.args[0]));
                }
                KOp::Store(_) => self.w.store(id, self.axes, ""),
                _ => self.w.value(id)?,
            }
        }
        Ok(())
    }

    /// What does not fill a vector.
    fn tail(&mut self) -> Result<()> {
        self.w.line(format_args!(
            "const Count rest = total * {} + blockIdx.x * (Count){THREADS} + threadIdx.x;",
            self.width
        ));
        self.w.open(format_args!("if (rest < a.n[0].n)"));
        self.w.line(format_args!("const Index x0 = rest;"));
        self.element(&[], &[])?;
        self.w.close();
        Ok(())
    }
}
