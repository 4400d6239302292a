//! The text being written, and what is the same in every scheme: values, indices, stores, ops and reducers.

use super::variant::{Access, Variant};
use super::{not_emitted, register};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::kernel::{AxisSet, Id, KOp, KernelIr};
use std::collections::BTreeSet;
use std::fmt::{Arguments, Write};

/// A kernel's text so far.
///
/// In it, value `n` of the IR is `v<n>`, the index along axis `n` is `x<n>`, the state of fold `n` is `s<n>`.
pub(super) struct Writer<'a> {
    pub ir: &'a KernelIr,
    pub variant: Variant,
    /// What holds of threads that have an element of their own: others repeat one, which its own thread may write over in place, and may not take
    /// what they read for an index.
    pub own: &'static str,
    text: String,
    depth: usize,
    counters: usize,
}

impl<'a> Writer<'a> {
    pub fn new(ir: &'a KernelIr, variant: Variant) -> Self {
        Writer { ir, variant, own: "", text: String::new(), depth: 0, counters: 0 }
    }

    pub fn finish(self) -> String {
        self.text
    }

    /// A line, indented.
    pub fn line(&mut self, line: Arguments<'_>) {
        let start = self.text.len();
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{:width$}{line}", "", width = 4 * self.depth);
        if self.text[start..].trim().is_empty() {
            self.text.truncate(start);
        }
        self.text.push('\n');
    }

    /// A line that opens a block.
    pub fn open(&mut self, line: Arguments<'_>) {
        self.line(format_args!("{line} {{"));
        self.depth += 1;
    }

    /// Opens a block of its own.
    pub fn block(&mut self) {
        self.line(format_args!("{{"));
        self.depth += 1;
    }

    pub fn close(&mut self) {
        self.close_with("");
    }

    /// The end of a block with something after the brace.
    pub fn close_with(&mut self, tail: &str) {
        self.depth -= 1;
        self.line(format_args!("}}{tail}"));
    }

    /// The name of a new loop counter.
    pub fn counter(&mut self) -> String {
        self.counters += 1;
        format!("t{}", self.counters)
    }

    /// The number of indices over some axes.
    pub fn count(&self, axes: AxisSet) -> String {
        if axes.is_empty() {
            return "(Count)1".into();
        }
        axes.iter().map(|a| format!("a.n[{a}].n")).collect::<Vec<_>>().join(" * ")
    }

    /// The indices along `axes` from the counter `t`, which runs over all of them in C order.
    pub fn split(&mut self, t: &str, axes: AxisSet) {
        let mut rest = t.to_string();
        let mut left: Vec<usize> = axes.iter().collect();
        while let Some(a) = left.pop() {
            if left.is_empty() {
                self.line(format_args!("const Index x{a} = {rest};"));
                break;
            }
            let next = format!("{t}_{a}");
            self.line(format_args!("const Count {next} = a.n[{a}].div({rest});"));
            self.line(format_args!("const Index x{a} = {rest} - {next} * a.n[{a}].n;"));
            rest = next;
        }
    }

    /// As [`Writer::split`], where the counter runs over vectors along the last axis: indices are those of a vector's first element.
    pub fn split_vectors(&mut self, t: &str, axes: AxisSet) {
        let width = self.variant.width;
        match axes.iter().last() {
            Some(last) if width > 1 && last == 0 => self.line(format_args!("const Index x0 = {t} * {width};")),
            Some(last) if width > 1 => {
                self.line(format_args!("const Count row = a.m.div({t});"));
                self.line(format_args!("const Index x{last} = ({t} - row * a.m.n) * {width};"));
                self.split("row", axes.minus(AxisSet::one(last)));
            }
            _ => self.split(t, axes),
        }
    }

    /// How an access's operand lies along vectors.
    pub fn access(&self, id: Id) -> Access {
        match self.ir.code[id as usize].op {
            KOp::Load(o) | KOp::Store(o) => self.variant.access[o as usize],
            _ => Access::Strided,
        }
    }

    /// The type of what a vector of an access is kept in.
    pub fn vector_type(&self, id: Id) -> String {
        let inst = &self.ir.code[id as usize];
        match (inst.op, self.access(id)) {
            (KOp::Load(o) | KOp::Store(o), Access::Strided | Access::Unit(_)) if self.variant.width > 1 => {
                format!("Vec<{}, {}>", self.ir.operands[o as usize].dtype, self.variant.width)
            }
            _ => register(inst.dtype).into(),
        }
    }

    /// Loads a vector, whose first element is the current index, into `to`.
    pub fn load_vector(&mut self, id: Id, to: &str) {
        let inst = &self.ir.code[id as usize];
        let KOp::Load(o) = inst.op else { return };
        let at = self.at(o, inst.over);
        match self.access(id) {
            Access::Unit(n) if self.variant.width > 1 => self.line(format_args!("nd_load_vec<{n}>({to}, {at});")),
            Access::Strided if self.variant.width > 1 => {
                let last = self.variant.axis;
                self.line(format_args!("nd_load_each({to}, {at}, a.s{o}[{last}]);"));
            }
            _ => self.line(format_args!("{to} = nd_load({at});")),
        }
    }

    /// Loads the elements of a vector that lie before the end of the row, which place `p` is its first of.
    pub fn load_part(&mut self, id: Id, to: &str, live: &str) {
        self.part("nd_load_part", id, to, live);
    }

    /// Stores as many elements of a vector.
    pub fn store_part(&mut self, id: Id, from: &str, live: &str) {
        self.part("nd_store_part", id, from, live);
    }

    fn part(&mut self, call: &str, id: Id, vector: &str, live: &str) {
        let inst = &self.ir.code[id as usize];
        let (KOp::Load(o) | KOp::Store(o)) = inst.op else { return };
        let (at, last) = (self.at(o, inst.over), self.variant.axis);
        self.line(format_args!("{call}({vector}, {at}, a.s{o}[{last}], {live});"));
    }

    /// Loads the element at the current index into `to`.
    pub fn load(&mut self, id: Id, to: &str) {
        let inst = &self.ir.code[id as usize];
        let KOp::Load(o) = inst.op else { return };
        let at = self.at(o, inst.over);
        self.line(format_args!("{to} = nd_load({at});"));
    }

    /// Element `e` of a vector that [`Writer::load_vector`] loaded.
    pub fn loaded(&mut self, id: Id, from: &str) {
        let c = register(self.ir.code[id as usize].dtype);
        match self.access(id) {
            Access::Strided | Access::Unit(_) if self.variant.width > 1 => {
                self.line(format_args!("const {c} v{id} = nd_load(&{from}.at[e]);"));
            }
            _ => self.line(format_args!("const {c} v{id} = {from};")),
        }
    }

    /// Stores a vector of neighbours.
    pub fn store_vector(&mut self, id: Id, from: &str) {
        let inst = &self.ir.code[id as usize];
        let (KOp::Store(o), Access::Unit(n)) = (inst.op, self.access(id)) else { return };
        let at = self.at(o, inst.over);
        self.line(format_args!("nd_store_vec<{n}>({at}, {from});"));
    }

    /// How far from its operand's first element a load's is, at the current index.
    pub fn offset(&self, id: Id) -> String {
        let inst = &self.ir.code[id as usize];
        match inst.op {
            KOp::Load(o) => self.steps(o, inst.over).join(" + "),
            _ => "0".into(),
        }
    }

    /// Where an operand's element is, at the current index.
    fn at(&self, operand: u8, over: AxisSet) -> String {
        let steps = self.steps(operand, over);
        match steps.len() {
            0 => format!("a.p{operand}"),
            1 => format!("a.p{operand} + {}", steps[0]),
            _ => format!("a.p{operand} + ({})", steps.join(" + ")),
        }
    }

    fn steps(&self, operand: u8, over: AxisSet) -> Vec<String> {
        let unit = |x: usize| {
            self.variant.axis as usize == x && matches!(self.variant.access[operand as usize], Access::Unit(_))
        };
        let step = |x: usize| if unit(x) { format!("x{x}") } else { format!("x{x} * a.s{operand}[{x}]") };
        over.iter().map(step).collect()
    }

    /// The value of an instruction that is neither a fold nor a store.
    pub fn value(&mut self, id: Id) -> Result<()> {
        let inst = &self.ir.code[id as usize];
        let (arg, c) = (|n: usize| inst.args[n], register(inst.dtype));
        let text = match inst.op {
            KOp::Load(o) => format!("nd_load({})", self.at(o, inst.over)),
            KOp::LoadAt(o) => {
                let at = self.at(o, inst.over);
                let index = arg(0);
                let within = format!("{}nd_within(v{index}, a.g{o}[1], a.fault, {o})", self.own);
                format!("{within} ? nd_load({at} + (i64)v{index} * a.g{o}[0]) : ({c})0")
            }
            KOp::Param(p) => match inst.dtype {
                DType::F16 | DType::BF16 => format!("nd_scalar_{}(a.q[{p}])", inst.dtype),
                _ => format!("nd_scalar<{c}>(a.q[{p}])"),
            },
            KOp::Index(axis) => format!("(i64)x{axis}"),
            KOp::Map(_) => {
                let args: Vec<String> = inst.args.iter().map(|a| format!("v{a}")).collect();
                rounded(inst.dtype, format!("{}({})", self.op_name(id), args.join(", ")))
            }
            KOp::Cast => cast(self.ir.code[arg(0) as usize].dtype, inst.dtype, &format!("v{}", arg(0))),
            KOp::Scan { .. } | KOp::StoreAt(_) | KOp::Reduce { .. } | KOp::Store(_) => {
                return Err(not_emitted("this instruction", self.ir));
            }
        };
        self.line(format_args!("const {c} v{id} = {text};"));
        Ok(())
    }

    /// A store, where `guard` holds. Along an axis in `around` that the store does not vary with, only index 0 writes.
    pub fn store(&mut self, id: Id, around: AxisSet, guard: &str) {
        let inst = &self.ir.code[id as usize];
        let KOp::Store(o) = inst.op else { return };
        let mut guards: Vec<String> = if guard.is_empty() { vec![] } else { vec![guard.into()] };
        guards.extend(around.minus(inst.over).iter().map(|x| format!("x{x} == 0")));
        let only = if guards.is_empty() { String::new() } else { format!("if ({}) ", guards.join(" && ")) };
        let at = self.at(o, inst.over);
        self.line(format_args!("{only}nd_store({at}, v{});", inst.args[0]));
    }

    /// The C++ name of a fold's reducer.
    pub fn reducer_name(&self, id: Id) -> String {
        let inst = &self.ir.code[id as usize];
        match inst.op {
            KOp::Reduce { reducer, .. } => {
                format!("{}_{}", reducer.name, register(self.ir.code[inst.args[0] as usize].dtype))
            }
            _ => String::new(),
        }
    }

    /// A fold's value from its state.
    pub fn finished(&mut self, id: Id, state: &str, seen: &str) {
        let dtype = self.ir.code[id as usize].dtype;
        let text = rounded(dtype, format!("{}::finish({state}, {seen})", self.reducer_name(id)));
        self.line(format_args!("const {} v{id} = {text};", register(dtype)));
    }

    fn op_name(&self, id: Id) -> String {
        let inst = &self.ir.code[id as usize];
        match (inst.op, inst.args.last()) {
            (KOp::Map(row), Some(&last)) => {
                format!("op_{}_{}", row.name.trim_end_matches('_'), register(self.ir.code[last as usize].dtype))
            }
            _ => String::new(),
        }
    }

    /// A function for each op and a struct for each reducer.
    pub fn definitions(&mut self) -> Result<()> {
        let mut done = BTreeSet::new();
        for id in 0..self.ir.code.len() as Id {
            match self.ir.code[id as usize].op {
                KOp::Map(_) if done.insert(self.op_name(id)) => self.op(id)?,
                KOp::Reduce { .. } if done.insert(self.reducer_name(id)) => self.reducer(id),
                KOp::Scan { .. } => return Err(not_emitted("a scan", self.ir)),
                KOp::StoreAt(_) => return Err(not_emitted("a scatter", self.ir)),
                _ => {}
            }
        }
        Ok(())
    }

    fn op(&mut self, id: Id) -> Result<()> {
        let inst = &self.ir.code[id as usize];
        let (KOp::Map(row), Some(&last)) = (inst.op, inst.args.last()) else { return Ok(()) };
        let dtype = self.ir.code[last as usize].dtype.compute();
        let Some(text) = (row.cuda)(dtype) else {
            return Err(Error::Internal {
                stage: "emit",
                detail: format!("{} has no CUDA text for {dtype}", row.name),
            });
        };
        let params: Vec<String> = inst
            .args
            .iter()
            .zip(["a", "b", "c"])
            .map(|(&v, name)| format!("{} {name}", register(self.ir.code[v as usize].dtype)))
            .collect();
        self.line(format_args!(""));
        let (out, name) = (register(inst.dtype), self.op_name(id));
        self.open(format_args!("ND {out} {name}({})", params.join(", ")));
        self.line(format_args!("return ({out})({text});"));
        self.close();
        Ok(())
    }

    fn reducer(&mut self, id: Id) {
        let inst = &self.ir.code[id as usize];
        let KOp::Reduce { reducer, .. } = inst.op else { return };
        let (name, t) = (self.reducer_name(id), register(self.ir.code[inst.args[0] as usize].dtype));
        self.line(format_args!(""));
        self.open(format_args!("struct {name}"));
        self.line(format_args!("typedef {t} T;"));
        self.line(format_args!("typedef {} Out;", register(inst.dtype)));
        self.line(format_args!("struct State {{ {} }};", reducer.cuda_state));
        self.line(format_args!("static ND void init(State& acc) {{ {} }}", reducer.cuda_init));
        self.line(format_args!("static ND void step(State& acc, T v, i64 k) {{ {} }}", reducer.cuda_step));
        self.line(format_args!("static ND void merge(State& acc, const State& from) {{ {} }}", reducer.cuda_merge));
        let finish = reducer.cuda_finish;
        self.line(format_args!("static ND Out finish(const State& acc, i64 seen) {{ Out out; {finish} return out; }}"));
        self.close_with(";");
    }
}

/// `text` rounded to a 16-bit float where the dtype is one.
fn rounded(dtype: DType, text: String) -> String {
    match dtype {
        DType::F16 | DType::BF16 => format!("nd_round<{dtype}>({text})"),
        _ => text,
    }
}

/// The C++ of a conversion, as Rust's `as` converts.
fn cast(from: DType, to: DType, v: &str) -> String {
    let (f, t) = (from.compute(), to.compute());
    match to {
        _ if from == to => v.into(),
        DType::Bool => format!("{v} != ({})0", f.name()),
        DType::F16 | DType::BF16 if f.is_float() => format!("nd_round<{to}>({v})"),
        DType::F16 | DType::BF16 if f.size() <= 2 => format!("nd_round<{to}>((f32){v})"),
        DType::F16 | DType::BF16 if f.is_unsigned() => format!("nd_round<{to}>((u64){v})"),
        DType::F16 | DType::BF16 => format!("nd_round<{to}>((i64){v})"),
        _ if t.is_int() && f.is_float() => format!("nd_to_int<{}>({v})", t.name()),
        _ if f == t => v.into(),
        _ => format!("({}){v}", t.name()),
    }
}
