//! Compiling: a kernel's instructions become a flat list of tile operations on registers.
//!
//! A register is a short array of values: one per element of the tile, or one alone where the value varies with
//! none of the tile's axes. Types are gone after this: an operation is a function pointer and register numbers.

use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::kernel::{AxisSet, Id, KOp, KernelIr, Launch};
use crate::ops::{self, Isa, Loop};
use std::collections::HashMap;

/// A register.
pub type Reg = u16;

/// The two kernel axes a tile covers: `lanes` is the inner one.
#[derive(Clone, Copy, Debug)]
pub struct TileAxes {
    /// The inner axis.
    pub lanes: Option<usize>,
    /// The outer axis.
    pub rows: Option<usize>,
}

impl TileAxes {
    /// Both, as a set.
    pub fn set(self) -> AxisSet {
        let one = |a: Option<usize>| a.map_or(AxisSet::EMPTY, AxisSet::one);
        one(self.lanes).union(one(self.rows))
    }
}

/// How many values an operation makes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Count {
    /// One.
    One,
    /// One for each element of the tile.
    Tile,
}

/// One tile operation.
#[derive(Clone, Debug)]
pub enum TOp {
    /// Points `dst` at an operand's elements, or copies them where they do not lie as the tile does.
    Load {
        /// Register set.
        dst: Reg,
        /// Operand read.
        operand: u8,
        /// One element or a tile.
        count: Count,
    },
    /// Reads an operand at run-time indices.
    LoadAt {
        /// Register set.
        dst: Reg,
        /// Register of the indices.
        index: Reg,
        /// Operand read.
        operand: u8,
        /// One element or a tile.
        count: Count,
    },
    /// The index along an axis.
    Index {
        /// Register set.
        dst: Reg,
        /// The axis.
        axis: u8,
        /// One element or a tile.
        count: Count,
    },
    /// A loop of the op table.
    Call {
        /// The loop.
        f: Loop,
        /// Its arguments.
        args: [Reg; 3],
        /// Register set.
        dst: Reg,
        /// One element or a tile.
        count: Count,
    },
    /// Repeats one value over a tile.
    Splat {
        /// Register read.
        src: Reg,
        /// Register set.
        dst: Reg,
        /// Bytes of the value.
        size: u8,
    },
    /// Writes a register to an operand.
    Store {
        /// Register read.
        src: Reg,
        /// Operand written.
        operand: u8,
    },
}

impl TOp {
    /// Calls `f` with every register it reads or sets.
    pub fn each(&self, mut f: impl FnMut(Reg)) {
        match *self {
            TOp::Load { dst, .. } | TOp::Index { dst, .. } => f(dst),
            TOp::LoadAt { dst, index, .. } => {
                f(index);
                f(dst);
            }
            TOp::Call { args, dst, .. } => {
                args.iter().for_each(|&a| f(a));
                f(dst);
            }
            TOp::Splat { src, dst, .. } => {
                f(src);
                f(dst);
            }
            TOp::Store { src, .. } => f(src),
        }
    }
}

/// What the executor knows of a register.
#[derive(Clone, Debug)]
pub struct RegInfo {
    /// Bytes of a value.
    pub size: usize,
    /// One value or a tile of them.
    pub count: Count,
    /// Kept over a whole row of several passes.
    pub row: bool,
    /// Where a store wants it: the operation that makes it may write there at once.
    pub out: Option<u8>,
}

/// A fold the tiles feed.
#[derive(Clone, Debug)]
pub struct FoldOp {
    /// Its loops.
    pub loops: ops::reduce::ReduceLoops,
    /// Register folded: always a tile.
    pub arg: Reg,
    /// Bytes of the two state values.
    pub sizes: [usize; 2],
    /// The result, in the compute dtype: one value or a tile of results.
    pub dst: Reg,
    /// The fold needs the index along k.
    pub ordered: bool,
    /// The operand the tiles of `arg` are, where they can be read in place.
    pub direct: Option<u8>,
}

/// Compiles the instructions of one kernel, segment by segment, on one set of registers.
pub struct Compiler<'a> {
    /// The kernel.
    pub ir: &'a KernelIr,
    launch: &'a Launch,
    isa: Isa,
    /// Registers so far.
    pub regs: Vec<RegInfo>,
    /// Scalars and what they become: done once per run.
    pub setup: Vec<TOp>,
    /// Parameter and register, set before anything runs.
    pub params: Vec<(u8, Reg)>,
    tile: TileAxes,
    value: HashMap<Id, Reg>,
    wide: HashMap<Id, Reg>,
    splat: HashMap<(Reg, bool), Reg>,
    constant: Vec<bool>,
}

impl<'a> Compiler<'a> {
    /// Nothing compiled yet.
    pub fn new(ir: &'a KernelIr, launch: &'a Launch, isa: Isa) -> Self {
        Compiler {
            ir,
            launch,
            isa,
            regs: vec![],
            setup: vec![],
            params: vec![],
            tile: TileAxes { lanes: None, rows: None },
            value: HashMap::new(),
            wide: HashMap::new(),
            splat: HashMap::new(),
            constant: vec![],
        }
    }

    /// Starts a segment with tiles over these axes. Values of `keep` stay in their registers (results of folds, rows);
    /// everything else is computed again where it is needed.
    pub fn segment(&mut self, tile: TileAxes, keep: impl Fn(Id) -> bool) {
        self.tile = tile;
        let constant = std::mem::take(&mut self.constant);
        let lasting = |r: Reg| constant[r as usize];
        self.value.retain(|&id, r| keep(id) || lasting(*r));
        self.wide.retain(|_, r| lasting(*r));
        self.splat.retain(|&(r, _), s| lasting(r) && lasting(*s));
        self.constant = constant;
    }

    fn reg(&mut self, size: usize, count: Count, constant: bool) -> Reg {
        self.regs.push(RegInfo { size, count, row: false, out: None });
        self.constant.push(constant);
        self.regs.len() as Reg - 1
    }

    fn count(&self, over: AxisSet) -> Count {
        if over.and(self.tile.set()).is_empty() { Count::One } else { Count::Tile }
    }

    /// The register of a value computed before, in this segment or kept.
    pub fn known(&self, id: Id) -> Option<Reg> {
        self.value.get(&id).copied()
    }

    /// Gives a value a register that something else fills: the result of a fold.
    pub fn bind(&mut self, id: Id, dtype: DType, count: Count) -> Reg {
        let r = self.reg(dtype.size(), count, false);
        self.value.insert(id, r);
        r
    }

    /// As [`Compiler::bind`], for a tile in the compute dtype: a 16-bit float's value, widened.
    pub fn bind_wide(&mut self, id: Id) -> Reg {
        let own = self.ir.code[id as usize].dtype;
        let r = self.reg(own.compute().size(), Count::Tile, false);
        if own == own.compute() {
            self.value.insert(id, r)
        } else {
            self.wide.insert(id, r)
        };
        r
    }

    /// Emits what computes `id`, its arguments first, unless it is there.
    pub fn emit(&mut self, id: Id, out: &mut Vec<TOp>) -> Result<Reg> {
        if let Some(&r) = self.value.get(&id) {
            return Ok(r);
        }
        let inst = self.ir.code[id as usize].clone();
        if let Some(&w) = self.wide.get(&id) {
            // Bound widened; the way back is exact.
            let (from, count) = (inst.dtype.compute(), self.regs[w as usize].count);
            let r = self.call(ops::cast(from, inst.dtype).get(self.isa), [w; 3], inst.dtype, count, out);
            self.value.insert(id, r);
            return Ok(r);
        }
        let count = self.count(inst.over);
        let dst = match inst.op {
            KOp::Param(p) => {
                let r = self.reg(inst.dtype.size(), Count::One, true);
                self.params.push((p, r));
                r
            }
            KOp::Load(operand) => {
                let r = self.reg(inst.dtype.size(), count, false);
                out.push(TOp::Load { dst: r, operand, count });
                r
            }
            KOp::LoadAt(operand) => {
                let index = self.arg(inst.args[0], DType::I64, count, out)?;
                let r = self.reg(inst.dtype.size(), count, false);
                out.push(TOp::LoadAt { dst: r, index, operand, count });
                r
            }
            KOp::Index(axis) => {
                let r = self.reg(8, count, false);
                out.push(TOp::Index { dst: r, axis, count });
                r
            }
            KOp::Cast => {
                let from = self.ir.code[inst.args[0] as usize].dtype;
                // A 16-bit float's value is in both registers; either converts to the same.
                let from = if self.wide.contains_key(&inst.args[0]) { from.compute() } else { from };
                let a = self.arg(inst.args[0], from, count, out)?;
                self.call(ops::cast(from, inst.dtype).get(self.isa), [a; 3], inst.dtype, count, out)
            }
            KOp::Map(row) => {
                let last = self.ir.code[inst.args[inst.args.len() - 1] as usize].dtype;
                let by_size = (row.loops)(last).is_some();
                let compute = if by_size { last } else { last.compute() };
                let Some(f) = (row.loops)(compute) else {
                    return Err(Error::DType { op: row.name, dtype: last });
                };
                let mut args = [0; 3];
                for (n, &a) in inst.args.iter().enumerate() {
                    let own = self.ir.code[a as usize].dtype;
                    let want = if own == last { compute } else { own };
                    args[n] = self.arg(a, want, count, out)?;
                }
                for n in inst.args.len()..3 {
                    args[n] = args[0];
                }
                let result = row.result(compute);
                let r = self.call(f.get(self.isa), args, result, count, out);
                if result != inst.dtype {
                    // Round to 16 bits, and keep the rounded value widened for those who go on with it.
                    let narrow = self.call(ops::cast(result, inst.dtype).get(self.isa), [r; 3], inst.dtype, count, out);
                    let wide = self.call(ops::cast(inst.dtype, result).get(self.isa), [narrow; 3], result, count, out);
                    self.wide.insert(id, wide);
                    narrow
                } else {
                    r
                }
            }
            KOp::Store(operand) => {
                let dtype = self.ir.code[inst.args[0] as usize].dtype;
                let src = self.arg(inst.args[0], dtype, Count::Tile, out)?;
                let info = &mut self.regs[src as usize];
                let made = matches!(out.last(), Some(TOp::Call { dst, .. }) if *dst == src);
                if made && info.out.is_none() && !info.row {
                    info.out = Some(operand);
                }
                out.push(TOp::Store { src, operand });
                src
            }
            KOp::Reduce { .. } | KOp::Scan { .. } | KOp::StoreAt(_) => {
                return Err(Error::Internal {
                    stage: "cpu",
                    detail: format!("%{id} cannot run in a tile\n{}", self.ir),
                });
            }
        };
        self.value.insert(id, dst);
        Ok(dst)
    }

    fn call(&mut self, f: Loop, args: [Reg; 3], dtype: DType, count: Count, out: &mut Vec<TOp>) -> Reg {
        let constant = args.iter().all(|&a| self.constant[a as usize]);
        let dst = self.reg(dtype.size(), count, constant);
        let op = TOp::Call { f, args, dst, count };
        if constant {
            self.setup.push(op)
        } else {
            out.push(op)
        }
        dst
    }

    /// An argument in the dtype and count an operation wants.
    pub fn arg(&mut self, id: Id, want: DType, count: Count, out: &mut Vec<TOp>) -> Result<Reg> {
        let own = self.ir.code[id as usize].dtype;
        let wide = if own == want { None } else { self.wide.get(&id).copied() };
        let mut r = match wide {
            Some(w) => w,
            None => self.emit(id, out)?,
        };
        if own != want {
            r = match self.wide.get(&id) {
                Some(&w) => w,
                None => {
                    let n = self.regs[r as usize].count;
                    let w = self.call(ops::cast(own, want).get(self.isa), [r; 3], want, n, out);
                    self.wide.insert(id, w);
                    w
                }
            };
        }
        if count == Count::Tile && self.regs[r as usize].count == Count::One {
            r = self.splat(r, out);
        }
        Ok(r)
    }

    fn splat(&mut self, src: Reg, out: &mut Vec<TOp>) -> Reg {
        if let Some(&s) = self.splat.get(&(src, true)) {
            return s;
        }
        let constant = self.constant[src as usize];
        let size = self.regs[src as usize].size;
        let dst = self.reg(size, Count::Tile, constant);
        let op = TOp::Splat { src, dst, size: size as u8 };
        if constant {
            self.setup.push(op)
        } else {
            out.push(op)
        }
        self.splat.insert((src, true), dst);
        dst
    }

    /// Makes a fold ready: its argument as a tile, and a register for its result.
    pub fn fold(&mut self, id: Id, results: Count, out: &mut Vec<TOp>) -> Result<FoldOp> {
        let from = self.ir.code[id as usize].args[0];
        let own = self.ir.code[from as usize].dtype;
        let stride = |o: u8| self.tile.lanes.map_or(0, |a| self.launch.operands[o as usize].strides[a]);
        let direct = match self.ir.code[from as usize].op {
            KOp::Load(o) if own == own.compute() && stride(o) == 1 && self.known(from).is_none() => Some(o),
            _ => None,
        };
        let arg = match direct {
            Some(_) => 0,
            None => self.arg(from, own.compute(), Count::Tile, out)?,
        };
        Ok(FoldOp { direct, ..self.fold_of(id, arg, results)? })
    }

    /// As [`Compiler::fold`], with the argument in a register.
    pub fn fold_of(&mut self, id: Id, arg: Reg, results: Count) -> Result<FoldOp> {
        let inst = self.ir.code[id as usize].clone();
        let KOp::Reduce { reducer, .. } = inst.op else {
            return Err(Error::Internal { stage: "cpu", detail: format!("%{id} is no fold") });
        };
        let own = self.ir.code[inst.args[0] as usize].dtype;
        let compute = own.compute();
        let Some(loops) = (reducer.loops)(compute) else {
            return Err(Error::DType { op: reducer.name, dtype: own });
        };
        let dst = self.reg((reducer.out)(compute).size(), results, false);
        let sizes = [reducer.state0(compute).size(), reducer.state1(compute).map_or(0, DType::size)];
        Ok(FoldOp { loops, arg, sizes, dst, ordered: reducer.ordered, direct: None })
    }

    /// Binds a fold's result to its instruction, rounded to the instruction's dtype.
    pub fn result(&mut self, id: Id, fold: &FoldOp, out: &mut Vec<TOp>) {
        let inst = &self.ir.code[id as usize];
        let (dtype, compute) = (inst.dtype, inst.dtype.compute());
        let mut r = fold.dst;
        if dtype != compute {
            let count = self.regs[r as usize].count;
            r = self.call(ops::cast(compute, dtype).get(self.isa), [r; 3], dtype, count, out);
        }
        self.value.insert(id, r);
    }

    /// Extent of a kernel axis.
    pub fn extent(&self, axis: Option<usize>) -> usize {
        axis.map_or(1, |a| self.launch.extents[a])
    }
}
