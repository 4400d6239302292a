//! From a kernel to the interpreter's instructions, on as many registers as there are values.
//!
//! Loops follow from the `over` sets alone, as in the emitted text, and lanes and blocks share a fold in the same way.

use super::codes::{self, Op};
use crate::backend::cuda::scope::{Group, Scope, scope, targets, top};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::kernel::{AxisSet, Class, Gather, Id, KOp, KernelIr, Launch};

/// A value, the indices along an axis, or a state: each has registers of its own until [`super::assemble`].
pub(super) type Reg = usize;

/// One instruction.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub code: u16,
    pub dst: Option<Reg>,
    pub args: [Option<Reg>; 3],
    pub flags: u16,
    pub data: Data,
}

/// What an instruction points to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Data {
    None,
    Loop(usize),
    Place(usize),
    Scalar(u8),
    Fold {
        code: u64,
        number: u64,
        seen: u64,
    },
    /// The end of the loop over rows.
    Row,
}

/// Who walks a loop; the interpreter knows these by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Walker {
    Grid,
    Row,
    Lanes,
    Thread,
}

/// A loop, with the registers of its axes' indices, innermost first.
#[derive(Clone, Debug)]
pub(super) struct Loop {
    pub walker: Walker,
    pub count: u64,
    pub axes: Vec<(Reg, u64)>,
    pub start: usize,
    pub next: usize,
}

/// Elements of an operand.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub operand: u8,
    pub pairs: Vec<(Reg, isize)>,
    pub guards: Vec<Reg>,
    pub gather: Option<Gather>,
}

/// What the interpreter has to know.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Needs {
    /// Dtypes of ops and folds, a bit each.
    pub ops: u16,
    /// Dtypes of casts.
    pub casts: u16,
    /// Dtypes of memory.
    pub memory: u16,
    /// 64 bits in a register.
    pub wide: bool,
    /// Folds.
    pub folds: bool,
}

/// The instructions of a kernel.
#[derive(Clone, Default, Debug)]
pub(super) struct Code {
    pub items: Vec<Item>,
    pub loops: Vec<Loop>,
    pub places: Vec<Place>,
    /// Of each register, how many the interpreter needs.
    pub widths: Vec<u16>,
    pub needs: Needs,
}

/// Whether lanes of a fold lie along x of the block; `None` where there is no fold.
pub(super) fn along_x(ir: &KernelIr) -> Option<bool> {
    match ir.class {
        Class::Map => None,
        Class::Rows | Class::Pairwise { .. } => Some(true),
        Class::Columns => Some(false),
    }
}

/// The axes of the results that groups of lanes work on.
pub(super) fn outer_axes(ir: &KernelIr) -> AxisSet {
    ir.all_axes().minus(ir.folded)
}

/// What decides how folds are laid over the device.
pub(super) struct Folds {
    /// The axes of each loop that lanes walk together.
    pub loops: Vec<AxisSet>,
    /// Whether several blocks may share a row: there is one loop, which stores nothing.
    pub splits: bool,
    /// How many folds end in the kernel's own scope.
    pub count: usize,
}

/// The folds of a kernel.
pub(super) fn folds(ir: &KernelIr) -> Folds {
    let groups = top(ir).0.groups;
    Folds {
        loops: groups.iter().map(|g| g.axes).collect(),
        splits: matches!(&groups[..], [one] if one.stores.is_empty()),
        count: groups.iter().map(|g| g.folds.len()).sum(),
    }
}

/// The instructions of a kernel, where `parts` blocks share a row.
pub(super) fn encode(ir: &KernelIr, launch: &Launch, parts: u32) -> Result<Code> {
    let mut e = Encoder::new(ir, launch, parts);
    e.params();
    if along_x(ir).is_none() {
        let walk = e.open(Walker::Grid, ir.all_axes());
        for (id, inst) in ir.code.iter().enumerate() {
            match inst.op {
                KOp::Param(_) => {}
                KOp::Store(_) => e.store(id as Id, false)?,
                _ => e.value(id as Id)?,
            }
        }
        e.close(walk);
    } else {
        e.code.needs.folds = true;
        e.code.needs.wide = true;
        let walk = e.open(Walker::Row, outer_axes(ir));
        let (scope, seen) = top(ir);
        e.scope(scope, AxisSet::EMPTY, seen)?;
        e.close(walk);
    }
    e.push(Op::End as u16, None, [None; 3], 0, Data::None);
    Ok(e.code)
}

/// The state of a fold whose loop is being written.
struct State {
    id: Id,
    register: Reg,
    flags: u16,
    data: Data,
}

/// What follows the fold of a pairwise kernel, and the registers that hold its value and the indices along three axes from the start: an
/// instruction for each stands at the beginning, which is not run.
pub(super) fn epilogue(ir: &KernelIr, launch: &Launch, fold: Id, axes: [Option<usize>; 3]) -> Result<(Code, [Reg; 4])> {
    let mut e = Encoder::new(ir, launch, 1);
    let registers = [0; 4].map(|_| {
        let r = e.register(1);
        e.push(Op::End as u16, Some(r), [None; 3], 0, Data::None);
        r
    });
    e.params();
    e.values[fold as usize] = Some(registers[0]);
    for (axis, &r) in axes.iter().zip(&registers[1..]) {
        if let Some(a) = *axis {
            e.index[a] = Some(r);
            e.around = e.around.union(AxisSet::one(a));
        }
    }
    let seen: Vec<bool> = e.values.iter().map(Option::is_some).collect();
    // The fold's value is there, so that what is left is one scope without loops.
    let scope = scope(ir, AxisSet::EMPTY, &seen, &ir.stores());
    for (id, _) in scope.values {
        e.value(id)?;
    }
    for id in scope.stores {
        e.store(id, false)?;
    }
    e.push(Op::End as u16, None, [None; 3], 0, Data::None);
    Ok((e.code, registers))
}

struct Encoder<'a> {
    ir: &'a KernelIr,
    launch: &'a Launch,
    parts: u32,
    code: Code,
    /// The register of each value that is there.
    values: Vec<Option<Reg>>,
    /// The register of the index along each axis that is walked.
    index: Vec<Option<Reg>>,
    /// The axes walked.
    around: AxisSet,
}

impl<'a> Encoder<'a> {
    fn new(ir: &'a KernelIr, launch: &'a Launch, parts: u32) -> Self {
        Encoder {
            ir,
            launch,
            parts,
            code: Code::default(),
            values: vec![None; ir.code.len()],
            index: vec![None; ir.axes as usize],
            around: AxisSet::EMPTY,
        }
    }

    /// Scalars are there from the start.
    fn params(&mut self) {
        for (id, inst) in self.ir.code.iter().enumerate() {
            if let KOp::Param(p) = inst.op {
                let dst = self.register(1);
                self.push(Op::Param as u16, Some(dst), [None; 3], 0, Data::Scalar(p));
                self.values[id] = Some(dst);
            }
        }
    }

    fn missing(&self, what: &str) -> Error {
        Error::Internal { stage: "shipped", detail: format!("{what} has no shipped kernel\n{}", self.ir) }
    }

    fn register(&mut self, width: u16) -> Reg {
        self.code.widths.push(width);
        self.code.widths.len() - 1
    }

    fn push(&mut self, code: u16, dst: Option<Reg>, args: [Option<Reg>; 3], flags: u16, data: Data) {
        self.code.items.push(Item { code, dst, args, flags, data });
    }

    fn count(&self, axes: AxisSet) -> u64 {
        axes.iter().map(|a| self.launch.extents[a] as u64).product()
    }

    /// Opens a loop; [`Encoder::close`] ends it.
    fn open(&mut self, walker: Walker, axes: AxisSet) -> usize {
        let mut list: Vec<usize> = axes.iter().collect();
        list.reverse();
        let list: Vec<(Reg, u64)> = list
            .into_iter()
            .map(|a| {
                let r = self.register(1);
                self.index[a] = Some(r);
                (r, self.launch.extents[a] as u64)
            })
            .collect();
        let count = self.count(axes);
        self.code.needs.wide |= count >= 1 << 31;
        let (at, start) = (self.code.loops.len(), self.code.items.len());
        self.code.loops.push(Loop { walker, count, axes: list, start, next: 0 });
        self.push(Op::Loop as u16, None, [None; 3], 0, Data::Loop(at));
        self.around = self.around.union(axes);
        at
    }

    fn close(&mut self, at: usize) {
        self.code.loops[at].next = self.code.items.len();
        self.push(Op::Next as u16, None, [None; 3], 0, Data::Loop(at));
        let open: Vec<Reg> = self.code.loops[at].axes.iter().map(|a| a.0).collect();
        for (axis, index) in self.index.iter_mut().enumerate() {
            if index.is_some_and(|r| open.contains(&r)) {
                *index = None;
                self.around = self.around.minus(AxisSet::one(axis));
            }
        }
    }

    /// Where an operand's element is at the current index along `over`; only at index 0 along `once`.
    fn place(&mut self, operand: u8, over: AxisSet, once: AxisSet) -> Result<Data> {
        let bind = &self.launch.operands[operand as usize];
        let index = |a: usize| self.index[a].ok_or_else(|| self.missing("an index outside its loop"));
        let long = |a: &usize| self.launch.extents[*a] > 1;
        let pairs = over
            .iter()
            .filter(|a| long(a) && bind.strides[*a] != 0)
            .map(|a| Ok((index(a)?, bind.strides[a])))
            .collect::<Result<Vec<_>>>()?;
        let guards = once.iter().filter(long).map(index).collect::<Result<Vec<_>>>()?;
        self.code.places.push(Place { operand, pairs, guards, gather: bind.gather });
        Ok(Data::Place(self.code.places.len() - 1))
    }

    fn arg(&self, id: Id) -> Result<Reg> {
        self.values[id as usize].ok_or_else(|| self.missing("a value used before it is there"))
    }

    /// The value of an instruction that is neither a fold nor a store.
    fn value(&mut self, id: Id) -> Result<()> {
        let inst = &self.ir.code[id as usize];
        let mut args = [None; 3];
        for (to, &a) in args.iter_mut().zip(&inst.args) {
            *to = Some(self.arg(a)?);
        }
        let own = inst.dtype;
        let bit = |d: DType| 1 << d as u16;
        let mut round = false;
        let (code, flags, data) = match inst.op {
            KOp::Load(o) | KOp::LoadAt(o) => {
                let at = matches!(inst.op, KOp::LoadAt(_));
                if at && self.launch.operands[o as usize].gather.is_none() {
                    return Err(self.missing("a gather of an operand without a gathered axis"));
                }
                self.code.needs.memory |= bit(own);
                self.code.needs.wide |= at;
                (Op::Load as u16, own as u16 | (at as u16) << 8, self.place(o, inst.over, AxisSet::EMPTY)?)
            }
            KOp::Index(axis) => {
                self.code.needs.wide = true;
                self.values[id as usize] = self.index[axis as usize];
                return Ok(());
            }
            KOp::Map(row) => {
                let last = inst.args.last().map_or(own, |&a| self.ir.code[a as usize].dtype);
                let Some(code) = codes::map(row, codes::register(last)).filter(|_| row.takes(last)) else {
                    return Err(self.missing(&format!("{} of {last}", row.name)));
                };
                self.code.needs.ops |= bit(codes::register(last));
                round = true;
                (code, 0, Data::None)
            }
            KOp::Cast => {
                let from = self.ir.code[inst.args[0] as usize].dtype;
                let held = codes::register(from);
                if from == own || held == own {
                    self.values[id as usize] = args[0];
                    return Ok(());
                }
                self.code.needs.casts |= bit(held) | bit(codes::register(own));
                (codes::cast(held, own), 0, Data::None)
            }
            KOp::Param(_) | KOp::Scan { .. } | KOp::StoreAt(_) | KOp::Reduce { .. } | KOp::Store(_) => {
                return Err(self.missing("this instruction"));
            }
        };
        let dst = self.register(1);
        self.push(code, Some(dst), args, flags, data);
        if round {
            self.round(dst, own);
        }
        self.values[id as usize] = Some(dst);
        Ok(())
    }

    /// Rounds to a 16-bit float or wraps to an integer of less than 64 bits, where the dtype is one.
    fn round(&mut self, value: Reg, dtype: DType) {
        let held = codes::register(dtype);
        let code = match dtype {
            DType::F16 => Op::RoundF16 as u16,
            DType::BF16 => Op::RoundBf16 as u16,
            _ if held == dtype => return,
            _ => codes::cast(held, dtype),
        };
        if held.is_int() {
            self.code.needs.casts |= 1 << held as u16;
        }
        self.push(code, Some(value), [Some(value), None, None], 0, Data::None);
    }

    /// A store; `once` where a group of lanes has one value.
    fn store(&mut self, id: Id, once: bool) -> Result<()> {
        let inst = &self.ir.code[id as usize];
        let KOp::Store(o) = inst.op else { return Err(self.missing("this store")) };
        let value = self.arg(inst.args[0])?;
        let dtype = self.ir.operands[o as usize].dtype;
        self.code.needs.memory |= 1 << dtype as u16;
        let place = self.place(o, inst.over, self.around.minus(inst.over))?;
        let flags = dtype as u16 | (once as u16) << 8;
        self.push(Op::Store as u16, None, [Some(value), None, None], flags, place);
        Ok(())
    }

    fn scope(&mut self, scope: Scope, open: AxisSet, mut seen: Vec<bool>) -> Result<()> {
        let last = scope.values.iter().map(|v| v.1).chain(scope.groups.iter().map(|g| g.stage)).max();
        for stage in 0..=last.unwrap_or(0) {
            for &(id, _) in scope.values.iter().filter(|v| v.1 == stage) {
                self.value(id)?;
                seen[id as usize] = true;
            }
            for group in scope.groups.iter().filter(|g| g.stage == stage) {
                self.walk(group, open, &seen)?;
                group.folds.iter().for_each(|&id| seen[id as usize] = true);
            }
        }
        for id in scope.stores {
            self.store(id, open.is_empty())?;
        }
        Ok(())
    }

    /// An instruction for each state.
    fn each(&mut self, op: Op, states: &[State]) {
        for s in states {
            self.push(op as u16, Some(s.register), [None; 3], s.flags, s.data);
        }
    }

    /// A loop, and the folds' values after it.
    fn walk(&mut self, group: &Group, open: AxisSet, seen: &[bool]) -> Result<()> {
        let together = open.is_empty();
        let seen_count = self.count(group.axes);
        let mut states = vec![];
        for (number, &id) in group.folds.iter().enumerate() {
            let inst = &self.ir.code[id as usize];
            let KOp::Reduce { reducer, .. } = inst.op else { return Err(self.missing("this fold")) };
            let dtype = codes::register(self.ir.code[inst.args[0] as usize].dtype);
            let Some(code) = codes::fold(reducer, dtype) else {
                return Err(self.missing(&format!("{} of {dtype}", reducer.name)));
            };
            self.code.needs.ops |= 1 << dtype as u16;
            let words = codes::state_words(reducer);
            let register = self.register(words);
            let flags = words | (!together as u16) << 8;
            let data = Data::Fold { code, number: number as u64, seen: seen_count };
            states.push(State { id, register, flags, data });
        }
        self.each(Op::Init, &states);
        let walk = self.open(if together { Walker::Lanes } else { Walker::Thread }, group.axes);
        let inside = open.union(group.axes);
        let body = scope(self.ir, inside, seen, &targets(self.ir, group));
        self.scope(body, inside, seen.to_vec())?;
        for s in &states {
            let value = self.arg(self.ir.code[s.id as usize].args[0])?;
            self.push(Op::Step as u16, Some(s.register), [Some(value), None, None], s.flags, s.data);
        }
        self.close(walk);
        if together {
            self.each(Op::Join, &states);
            if self.parts > 1 && !states.is_empty() {
                self.each(Op::Publish, &states);
                self.push(Op::Last as u16, None, [None; 3], 0, Data::Row);
                self.each(Op::Collect, &states);
            }
        }
        for s in states {
            let dst = self.register(1);
            self.push(Op::Finish as u16, Some(dst), [Some(s.register), None, None], s.flags, s.data);
            self.round(dst, self.ir.code[s.id as usize].dtype);
            self.values[s.id as usize] = Some(dst);
        }
        Ok(())
    }
}
