//! Elementwise kernels: a thread takes a few vectors of neighbours at a time, in strides of the grid. All are loaded before the first is computed.

use super::all_axes;
use super::args::THREADS;
use super::variant::{Access, Along, Variant, cost, widths};
use super::write::Writer;
use crate::error::Result;
use crate::kernel::{AxisSet, Id, KOp, KernelIr};

/// The widest vectors that a launch allows.
pub(super) fn variant(along: Along<'_>) -> Variant {
    let ir = along.ir;
    let Some(axis) = (ir.axes as usize).checked_sub(1) else { return Variant::default() };
    let n = along.launch.extents[axis];
    // One axis has a tail; rows of several have to be whole vectors.
    let fits = |w: &u8| (axis == 0 && n >= *w as usize) || (axis > 0 && n.is_multiple_of(*w as usize));
    let short = |w: &u8| *w as usize * cost(ir) <= 256;
    let ways = widths(ir, axis).into_iter().filter(fits).filter(short);
    ways.filter_map(|w| along.variant(axis, w)).next().unwrap_or_default()
}

/// Vectors that a thread has under way: 64 bytes of loads.
pub(super) fn unroll(ir: &KernelIr, v: &Variant) -> u32 {
    let size = |o: u8| ir.operands[o as usize].dtype.size();
    let bytes: usize = ir.code.iter().map(|i| if let KOp::Load(o) = i.op { size(o) } else { 0 }).sum();
    let width = v.width as usize;
    let fit = (64 / (bytes * width).max(16)).min(128 / (cost(ir) * width));
    [1, 1, 2, 2, 4][fit.min(4)]
}

pub(super) fn emit(w: &mut Writer) -> Result<()> {
    Map { unroll: unroll(w.ir, &w.variant), width: w.variant.width, axes: all_axes(w.ir), w }.kernel()
}

struct Map<'w, 'a> {
    w: &'w mut Writer<'a>,
    unroll: u32,
    width: u8,
    axes: AxisSet,
}

impl Map<'_, '_> {
    fn kernel(&mut self) -> Result<()> {
        let per = THREADS * self.unroll;
        let total = match (self.width, self.w.ir.axes) {
            (1, _) => self.w.count(self.axes),
            (width, 1) => format!("a.n[0].n / {width}"),
            (_, n) => format!("{} * a.m.n", self.w.count(AxisSet((1 << (n - 1)) - 1))),
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
        self.w.split_vectors("t", self.axes);
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
