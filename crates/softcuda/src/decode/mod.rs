//! From parsed statements to flat code: names become places in the register file, labels become positions.

mod arith;
pub(crate) mod inst;
mod memory;
pub(crate) mod regs;

use std::cell::Cell;
use std::collections::HashMap;

use crate::alu::{Alu, bit_op, extend, narrow_row};
use crate::fault::ParseError;
use crate::parse::{Arg, Function, Init, Kind, Space, Stmt, Text, Var};
use crate::types::Ty;
use inst::{Class, Copied, Inst, NONE, Op};
use regs::{Plan, Reg, Special, Value};

/// Where shared memory's variables begin: addresses below belong to none.
pub(crate) const SHARED_START: u32 = 1024;
/// Bytes around shared variables that belong to none. Variables begin at a multiple of it, so their banks are those of their index.
const SHARED_GAP: u32 = 128;
/// Bytes around local variables that belong to none.
const LOCAL_GAP: u32 = 16;
/// Where the generic addresses of local memory, shared memory and parameters begin.
pub(crate) const LOCAL_WINDOW: u64 = 0x6000_0000_0000;
pub(crate) const SHARED_WINDOW: u64 = 0x6100_0000_0000;
pub(crate) const PARAM_WINDOW: u64 = 0x6200_0000_0000;

/// A variable in global or constant memory.
#[derive(Clone, Debug)]
pub(crate) struct Global {
    pub name: String,
    pub bytes: u64,
    /// Element size and the elements that are set; the others are 0.
    pub element: u32,
    pub init: Vec<Item>,
}

#[derive(Clone, Debug)]
pub(crate) enum Item {
    Bits(u64),
    /// Of another variable, plus bytes.
    Address(u32, i64),
}

/// A variable in shared memory.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub name: String,
    pub at: u32,
    pub bytes: u32,
}

/// A kernel or a function.
#[derive(Clone, Debug)]
pub(crate) struct Func {
    pub name: String,
    pub start: u32,
    pub entry: bool,
    pub defined: bool,
    /// Offset, size and alignment of parameters: in the parameter bytes for a kernel, in local memory for a function.
    pub params: Vec<(u32, u32, u32)>,
    returns: Vec<(u32, u32, u32)>,
    /// The row that keeps the way back.
    back: u32,
    pub shared: Vec<Shared>,
    pub max_threads: Option<u32>,
    pub required: Option<[u32; 3]>,
    pub registers: u32,
}

/// A decoded module.
#[derive(Clone, Debug)]
pub(crate) struct Code {
    pub insts: Vec<Inst>,
    /// Each instruction's line.
    pub lines: Vec<u32>,
    pub plan: Plan,
    pub funcs: Vec<Func>,
    pub globals: Vec<Global>,
    /// Shared variables of the module, that all its kernels have.
    pub shared: Vec<Shared>,
    /// 1 for each byte of a lane's local memory that belongs to a variable, else 0.
    pub local: Vec<u8>,
}

impl Code {
    /// The race detector's cells for a space: of 4 bytes, or of 1 if anything narrower is accessed (as a shift).
    pub fn shift(&self, space: Space) -> u32 {
        let narrow = self.insts.iter().any(|i| match &i.op {
            Op::Ld(a) | Op::St(a) => a.bytes < 4 && (a.place.space == space || a.place.space == Space::Generic),
            _ => false,
        });
        if narrow { 0 } else { 2 }
    }
}

type Res<T> = Result<T, ParseError>;

#[derive(Clone, Copy, Debug)]
enum Sym {
    Reg(Reg),
    /// `%r<n>`
    Range {
        at: u32,
        ty: Ty,
        count: u32,
    },
    Global(u32),
    Shared(u32),
    Dynamic,
    Local(u32),
    KernelParam(u32),
}

struct Scope<'a> {
    names: HashMap<&'a str, Sym>,
    parent: usize,
}

/// An instruction's modifiers; each has to be asked for.
pub(super) struct Mods<'a> {
    pub op: &'a str,
    flags: Vec<(&'a str, Cell<bool>)>,
    pub types: Vec<Ty>,
}

impl<'a> Mods<'a> {
    fn new(text: &'a str) -> Mods<'a> {
        let mut parts = text.split('.');
        let op = parts.next().unwrap_or("");
        let (mut flags, mut types) = (vec![], vec![]);
        for p in parts {
            match Ty::of(p) {
                Some(t) => types.push(t),
                None => flags.push((p, Cell::new(false))),
            }
        }
        Mods { op, flags, types }
    }

    pub fn has(&self, name: &str) -> bool {
        match self.flags.iter().find(|f| f.0 == name) {
            Some(f) => {
                f.1.set(true);
                true
            }
            None => false,
        }
    }

    /// The first of some flags that is there.
    pub fn pick(&self, names: &[&'static str]) -> Option<&'static str> {
        names.iter().copied().find(|n| self.has(n))
    }

    fn unused(&self) -> Option<&'a str> {
        self.flags.iter().find(|f| !f.1.get()).map(|f| f.0)
    }

    pub fn ty(&self) -> Ty {
        self.types.last().copied().unwrap_or(Ty::B32)
    }
}

pub(super) struct Decoder<'a> {
    text: &'a str,
    code: Code,
    scopes: Vec<Scope<'a>>,
    scope: usize,
    labels: Vec<(&'a str, usize, u32)>,
    jumps: Vec<(usize, &'a str, usize)>,
    functions: HashMap<&'a str, usize>,
    current: usize,
    guard: (u32, bool),
    line: u32,
    /// Statement of every call: patched when all functions are placed.
    calls: Vec<(usize, usize)>,
    /// Row of carries of the function at hand.
    carries: u32,
}

/// Decodes a parsed text.
pub(crate) fn decode<'a>(source: &'a str, text: &Text<'a>) -> Res<Code> {
    let code = Code {
        insts: vec![],
        lines: vec![],
        plan: Plan::default(),
        funcs: vec![],
        globals: vec![],
        shared: vec![],
        local: vec![],
    };
    let root = Scope { names: HashMap::new(), parent: 0 };
    let mut d = Decoder {
        text: source,
        code,
        scopes: vec![root],
        scope: 0,
        labels: vec![],
        jumps: vec![],
        functions: HashMap::new(),
        current: 0,
        guard: (NONE, false),
        line: 1,
        calls: vec![],
        carries: NONE,
    };
    let mut dynamic = vec![];
    for v in &text.vars {
        d.line = v.line;
        match v.space {
            Space::Shared if v.bytes.is_none() || v.external => dynamic.push(v.name),
            Space::Shared => {
                let at = d.place_shared(v, true)?;
                d.scopes[0].names.insert(v.name, Sym::Shared(at));
            }
            _ => d.global(v)?,
        }
    }
    dynamic.iter().for_each(|n| {
        d.scopes[0].names.insert(n, Sym::Dynamic);
    });
    d.initialise(&text.vars)?;
    for f in &text.functions {
        d.declare(f)?;
    }
    for f in text.functions.iter().filter(|f| f.body.is_some()) {
        d.function(f)?;
    }
    for (at, f) in std::mem::take(&mut d.calls) {
        let start = d.code.funcs[f].start;
        if let Op::Call { target, .. } = &mut d.code.insts[at].op {
            *target = start;
        }
    }
    Ok(d.code)
}

impl<'a> Decoder<'a> {
    pub(super) fn fail<T>(&self, what: impl Into<String>) -> Res<T> {
        let text = self.text.lines().nth(self.line as usize - 1).unwrap_or("").trim();
        Err(ParseError::new(self.line, what, text))
    }

    fn global(&mut self, v: &Var<'a>) -> Res<()> {
        let index = self.code.globals.len() as u32;
        let element = v.ty.bytes();
        let bytes = v.bytes.unwrap_or(element as u64 * v.init.len() as u64);
        let name = v.name.to_string();
        self.code.globals.push(Global { name, bytes, element, init: vec![] });
        self.scopes[self.scope].names.insert(v.name, Sym::Global(index));
        Ok(())
    }

    /// Initialisers, once all variables are known.
    fn initialise(&mut self, vars: &[Var<'a>]) -> Res<()> {
        for v in vars.iter().filter(|v| !v.init.is_empty()) {
            self.line = v.line;
            let Some(Sym::Global(index)) = self.find(v.name) else {
                return self.fail("only global memory has initial values");
            };
            let mut items = vec![];
            for i in &v.init {
                items.push(match *i {
                    Init::Bits(b) => Item::Bits(b),
                    Init::Address(name, off) => match self.find(name) {
                        Some(Sym::Global(g)) => Item::Address(g, off),
                        _ => return self.fail(format!("the address of {name} is no initial value")),
                    },
                });
            }
            self.code.globals[index as usize].init = items;
        }
        Ok(())
    }

    fn place_shared(&mut self, v: &Var<'a>, module: bool) -> Res<u32> {
        let Some(bytes) = v.bytes else { return self.fail("a size is due") };
        let current = self.current;
        let own = if module { None } else { self.code.funcs.get(current).and_then(|f| f.shared.last()) };
        let end = own.or(self.code.shared.last()).map_or(SHARED_START - SHARED_GAP, |s| s.at + s.bytes);
        let at = (end + SHARED_GAP).next_multiple_of(SHARED_GAP.max(v.align));
        let var = Shared { name: v.name.to_string(), at, bytes: bytes as u32 };
        if module {
            self.code.shared.push(var);
        } else {
            self.code.funcs[current].shared.push(var);
        }
        Ok(at)
    }

    fn place_local(&mut self, bytes: u32, align: u32) -> u32 {
        let local = &mut self.code.local;
        let at = (local.len() as u32 + LOCAL_GAP).next_multiple_of(align.max(8));
        local.resize(at as usize, 0);
        local.resize((at + bytes) as usize, 1);
        at
    }

    /// Gives a function's parameters their places.
    fn declare(&mut self, f: &Function<'a>) -> Res<()> {
        if let Some(&known) = self.functions.get(f.name) {
            self.code.funcs[known].defined |= f.body.is_some();
            self.code.funcs[known].max_threads = f.max_threads;
            return Ok(());
        }
        let mut offset = 0u32;
        let (mut params, mut returns) = (vec![], vec![]);
        for (list, out) in [(&f.params, &mut params), (&f.returns, &mut returns)] {
            for v in list {
                self.line = v.line;
                let Some(bytes) = v.bytes else { return self.fail("a parameter without a size") };
                let at = if f.entry {
                    offset = offset.next_multiple_of(v.align);
                    offset += bytes as u32;
                    offset - bytes as u32
                } else {
                    self.place_local(bytes as u32, v.align)
                };
                out.push((at, bytes as u32, v.align));
            }
        }
        let func = Func {
            name: f.name.to_string(),
            start: 0,
            entry: f.entry,
            defined: f.body.is_some(),
            params,
            returns,
            back: self.code.plan.row(false),
            shared: vec![],
            max_threads: f.max_threads,
            required: f.required,
            registers: 0,
        };
        self.functions.insert(f.name, self.code.funcs.len());
        self.code.funcs.push(func);
        Ok(())
    }

    fn open(&mut self) {
        self.scopes.push(Scope { names: HashMap::new(), parent: self.scope });
        self.scope = self.scopes.len() - 1;
    }

    fn function(&mut self, f: &Function<'a>) -> Res<()> {
        let Some(body) = &f.body else { return Ok(()) };
        self.current = self.functions[f.name];
        self.code.funcs[self.current].start = self.code.insts.len() as u32;
        self.carries = self.code.plan.row(false);
        self.scope = 0;
        self.open();
        for (list, entry_offsets) in [(&f.params, true), (&f.returns, false)] {
            let places = if entry_offsets {
                &self.code.funcs[self.current].params
            } else {
                &self.code.funcs[self.current].returns
            };
            let syms: Vec<_> =
                places.iter().map(|p| if f.entry { Sym::KernelParam(p.0) } else { Sym::Local(p.0) }).collect();
            for (v, sym) in list.iter().zip(syms) {
                self.scopes[self.scope].names.insert(v.name, sym);
            }
        }
        for s in body {
            self.line = s.line;
            self.statement(s)?;
        }
        self.guard = (NONE, false);
        self.leave();
        for (at, name, scope) in std::mem::take(&mut self.jumps) {
            let mut scope = scope;
            let target = loop {
                if let Some(l) = self.labels.iter().find(|l| l.0 == name && l.1 == scope) {
                    break l.2;
                }
                if scope == 0 {
                    self.line = self.code.lines[at];
                    return self.fail(format!("no label {name}"));
                }
                scope = self.scopes[scope].parent;
            };
            if let Op::Bra { target: t } = &mut self.code.insts[at].op {
                *t = target;
            }
        }
        self.labels.clear();
        Ok(())
    }

    fn find(&self, name: &str) -> Option<Sym> {
        let mut scope = self.scope;
        let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count();
        let (prefix, number) = name.split_at(name.len() - digits);
        loop {
            let names = &self.scopes[scope].names;
            if let Some(&s) = names.get(name) {
                return Some(s);
            }
            if digits > 0
                && let Some(&Sym::Range { at, ty, count }) = names.get(prefix)
                && let Ok(n) = number.parse::<u32>()
                && n < count
            {
                let step = if ty.wide() { 64 } else { 32 };
                let at = if ty == Ty::Pred { at + n } else { at + n * step };
                return Some(Sym::Reg(Reg { at, ty }));
            }
            if scope == 0 {
                return None;
            }
            scope = self.scopes[scope].parent;
        }
    }

    fn statement(&mut self, s: &Stmt<'a>) -> Res<()> {
        match &s.kind {
            Kind::Open => self.open(),
            Kind::Close => self.scope = self.scopes[self.scope].parent,
            Kind::Label(name) => self.labels.push((name, self.scope, self.code.insts.len() as u32)),
            Kind::Reg { ty, name, count } => {
                if *ty == Ty::B128 {
                    return self.fail("128-bit registers are not simulated");
                }
                let plan = &mut self.code.plan;
                let sym = match *count {
                    None => Sym::Reg(Reg { at: plan.reg(*ty), ty: *ty }),
                    Some(n) if *ty == Ty::Pred => {
                        // Predicates of a range stand side by side.
                        let at = plan.row(false);
                        (1..n.div_ceil(32)).for_each(|_| _ = plan.row(false));
                        Sym::Range { at, ty: *ty, count: n }
                    }
                    Some(n) => {
                        let at = plan.row(ty.wide());
                        (1..n).for_each(|_| _ = plan.row(ty.wide()));
                        Sym::Range { at, ty: *ty, count: n }
                    }
                };
                if *ty != Ty::Pred {
                    self.code.funcs[self.current].registers += count.unwrap_or(1) * ty.bytes().div_ceil(4);
                }
                self.scopes[self.scope].names.insert(name, sym);
            }
            Kind::Var(v) => {
                let sym = match v.space {
                    Space::Shared if v.bytes.is_none() || v.external => Sym::Dynamic,
                    Space::Shared => Sym::Shared(self.place_shared(v, false)?),
                    Space::Local | Space::Param => {
                        let Some(bytes) = v.bytes else { return self.fail("a size is due") };
                        Sym::Local(self.place_local(bytes as u32, v.align))
                    }
                    _ => {
                        self.global(v)?;
                        return self.initialise(std::slice::from_ref(v));
                    }
                };
                self.scopes[self.scope].names.insert(v.name, sym);
            }
            Kind::Inst { guard, op, args } => {
                self.guard = match guard {
                    None => (NONE, false),
                    Some((not, name)) => (self.pred(name)?, *not),
                };
                self.instruction(op, args)?;
            }
        }
        Ok(())
    }

    fn instruction(&mut self, text: &'a str, args: &[Arg<'a>]) -> Res<()> {
        let m = Mods::new(text);
        let known = self.control(&m, args)? || self.memory(&m, args)? || self.arithmetic(&m, args)?;
        if !known {
            return self.fail(format!("unknown instruction {text}"));
        }
        if let Some(flag) = m.unused() {
            return self.fail(format!("unknown modifier .{flag} of {}", m.op));
        }
        Ok(())
    }

    // ---- emitting ----

    pub(super) fn push_class(&mut self, op: Op, class: Class) {
        self.code.insts.push(Inst { op, guard: self.guard.0, negated: self.guard.1, class });
        self.code.lines.push(self.line);
    }

    /// A step that is not counted.
    pub(super) fn part(&mut self, f: Alu, o: &[u32]) {
        self.alu(f, o, Class::Part);
    }

    pub(super) fn alu(&mut self, f: Alu, o: &[u32], class: Class) {
        let mut all = [0; 5];
        all[..o.len()].copy_from_slice(o);
        self.push_class(Op::Alu { f, o: all }, class);
    }

    pub(super) fn temp(&mut self, wide: bool) -> u32 {
        self.code.plan.row(wide)
    }

    // ---- operands ----

    /// A predicate's place.
    pub(super) fn pred(&mut self, name: &str) -> Res<u32> {
        match self.find(name) {
            Some(Sym::Reg(r)) if r.ty == Ty::Pred => Ok(r.at),
            _ => self.fail(format!("{name} is no predicate")),
        }
    }

    /// A register, if the operand is one.
    pub(super) fn reg(&self, arg: &Arg<'a>) -> Option<Reg> {
        match arg {
            Arg::Name(n) => match self.find(n)? {
                Sym::Reg(r) => Some(r),
                _ => None,
            },
            _ => None,
        }
    }

    /// A row as wide as `ty` with an operand's value.
    pub(super) fn src(&mut self, arg: &Arg<'a>, ty: Ty) -> Res<u32> {
        let wide = ty.wide();
        let bits = |d: &mut Self, b: u64| Ok(d.code.plan.constant(Value::Bits(b), wide));
        match *arg {
            Arg::Int(n) if ty == Ty::F32 => bits(self, (n as i64 as f32).to_bits() as u64),
            Arg::Int(n) if ty == Ty::F64 => bits(self, (n as i64 as f64).to_bits()),
            Arg::Int(n) => bits(self, n),
            Arg::F32(n) if ty == Ty::F64 => bits(self, (f32::from_bits(n) as f64).to_bits()),
            Arg::F32(n) => bits(self, n as u64),
            Arg::F64(n) if ty.bytes() == 4 => bits(self, (f64::from_bits(n) as f32).to_bits() as u64),
            Arg::F64(n) => bits(self, n),
            Arg::Name(name) | Arg::Offset(name, _) => {
                let plus = if let Arg::Offset(_, n) = *arg { n } else { 0 };
                let value = match self.find(name) {
                    Some(Sym::Reg(r)) if r.ty == Ty::Pred => return self.fail(format!("{name} is a predicate")),
                    Some(Sym::Reg(r)) => return Ok(self.fit(r, ty)),
                    Some(Sym::Global(g)) => Value::Global(g, plus),
                    Some(Sym::Shared(at)) => Value::Bits((at as i64 + plus) as u64),
                    Some(Sym::Dynamic) => Value::Dynamic(plus),
                    Some(Sym::Local(at)) => Value::Bits((at as i64 + plus) as u64),
                    Some(Sym::KernelParam(at)) => Value::Bits((at as i64 + plus) as u64),
                    Some(Sym::Range { .. }) => return self.fail(format!("{name} is a range of registers")),
                    None if name == "WARP_SZ" => Value::Bits(32),
                    None => match Special::of(name) {
                        Some(s) => Value::Special(s),
                        None => return self.fail(format!("unknown name {name}")),
                    },
                };
                Ok(self.code.plan.constant(value, wide))
            }
            _ => self.fail("not a value"),
        }
    }

    /// A register's row, converted if its width is not the type's.
    fn fit(&mut self, r: Reg, ty: Ty) -> u32 {
        if r.ty.wide() == ty.wide() {
            return r.at;
        }
        let t = self.temp(ty.wide());
        self.part(if ty.wide() { extend(Ty::U32) } else { narrow_row() }, &[t, r.at]);
        t
    }

    /// The row that an instruction of this type writes; afterwards [`Decoder::finish`] with what this returned.
    pub(super) fn dst(&mut self, arg: &Arg<'a>, ty: Ty) -> Res<(u32, Option<Reg>)> {
        match self.reg(arg) {
            Some(r) if r.ty == Ty::Pred => self.fail("a predicate cannot take this"),
            Some(r) if r.ty.wide() == ty.wide() => Ok((r.at, None)),
            Some(r) => Ok((self.temp(ty.wide()), Some(r))),
            None if *arg == Arg::Name("_") => Ok((self.temp(ty.wide()), None)),
            None => self.fail("a register is due"),
        }
    }

    /// Brings a result of another width to its register.
    pub(super) fn finish(&mut self, d: (u32, Option<Reg>), ty: Ty) {
        if let (t, Some(r)) = d {
            self.part(if r.ty.wide() { extend(ty) } else { narrow_row() }, &[r.at, t]);
        }
    }

    // ---- control ----

    fn control(&mut self, m: &Mods<'a>, args: &[Arg<'a>]) -> Res<bool> {
        let _ = m.has("uni");
        match m.op {
            "bra" => {
                let [Arg::Name(label)] = args else { return self.fail("a label is due") };
                self.jumps.push((self.code.insts.len(), label, self.scope));
                self.push_class(Op::Bra { target: 0 }, Class::Control);
            }
            "ret" => self.leave(),
            "exit" => self.push_class(Op::Exit, Class::Control),
            "trap" | "brkpt" => self.push_class(Op::Trap, Class::Control),
            "call" => self.call(args)?,
            "nanosleep" | "pmevent" => self.push_class(Op::Nop, Class::Control),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn leave(&mut self) {
        let f = &self.code.funcs[self.current];
        let op = if f.entry { Op::Exit } else { Op::Ret { back: f.back } };
        self.push_class(op, Class::Control);
    }

    fn call(&mut self, args: &[Arg<'a>]) -> Res<()> {
        let (results, rest) = match args {
            [Arg::List(r), rest @ ..] => (&r[..], rest),
            rest => (&[][..], rest),
        };
        let (name, given) = match rest {
            [Arg::Name(n)] => (*n, &[][..]),
            [Arg::Name(n), Arg::List(a)] => (*n, &a[..]),
            _ => return self.fail("only calls of named functions are simulated"),
        };
        let Some(&f) = self.functions.get(name) else { return self.fail(format!("no function {name}")) };
        let func = self.code.funcs[f].clone();
        if !func.defined {
            self.push_class(Op::CallUndefined { name: name.into() }, Class::Control);
            return Ok(());
        }
        if given.len() != func.params.len() || results.len() != func.returns.len() {
            return self.fail(format!("{name} has {} parameters", func.params.len()));
        }
        let places = |args: &[Arg<'a>]| -> Res<Vec<u32>> {
            let place = |a: &Arg<'a>| match a {
                Arg::Name(n) => match self.find(n) {
                    Some(Sym::Local(at)) => Ok(at),
                    _ => self.fail(format!("{n} is no parameter variable")),
                },
                _ => self.fail("a parameter variable is due"),
            };
            args.iter().map(place).collect()
        };
        let (given, results) = (places(given)?, places(results)?);
        let copy = |from: u32, to: u32, bytes: u32| Copied { from, to, bytes };
        let args = given.iter().zip(&func.params).map(|(&g, p)| copy(g, p.0, p.1)).collect();
        let results = results.iter().zip(&func.returns).map(|(&r, p)| copy(p.0, r, p.1)).collect();
        self.calls.push((self.code.insts.len(), f));
        self.push_class(Op::Call { target: 0, back: func.back, args }, Class::Control);
        self.push_class(Op::Fetch { results }, Class::Part);
        Ok(())
    }

    /// A bit operation that is known to exist.
    pub(super) fn bits(&self, op: &str, ty: Ty) -> Res<Alu> {
        match bit_op(op, ty) {
            Some(f) => Ok(f),
            None => self.fail(format!("{op} of this type is not simulated")),
        }
    }
}
