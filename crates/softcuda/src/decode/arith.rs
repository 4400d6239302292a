//! Decoding arithmetic: which function an instruction's name and modifiers mean.

use super::inst::{Class, Clock, NONE, Op};
use super::regs::Value;
use super::{Decoder, Mods, Res};
use crate::alu::num::Round;
use crate::alu::{
    Alu, How, convert, float_compare, float_op, flush, int_compare, int_op, pack16, pred_op, saturate, select,
};
use crate::parse::Arg;
use crate::types::Ty;

fn class(ty: Ty) -> Class {
    match ty {
        Ty::F64 => Class::Fp64,
        t if t.float() => Class::Fp32,
        _ => Class::Int,
    }
}

fn round(m: &Mods<'_>) -> Round {
    match m.pick(&["rn", "rz", "rm", "rp"]) {
        Some("rz") => Round::Zero,
        Some("rm") => Round::Down,
        Some("rp") => Round::Up,
        _ => Round::Nearest,
    }
}

impl<'a> Decoder<'a> {
    pub(super) fn arithmetic(&mut self, m: &Mods<'a>, args: &[Arg<'a>]) -> Res<bool> {
        match m.op {
            "mov" => self.mov(m, args)?,
            "cvt" => self.cvt(m, args)?,
            "setp" => self.setp(m, args)?,
            "set" => self.set(m, args)?,
            "selp" => {
                let ty = m.ty();
                let [d, a, b, p] = args else { return self.fail("four operands are due") };
                let (a, b) = (self.src(a, ty)?, self.src(b, ty)?);
                let p = self.condition(p)?;
                let d = self.dst(d, ty)?;
                self.alu(select(ty.wide()), &[d.0, a, b, p], Class::Int);
                self.finish(d, ty);
            }
            "testp" => self.testp(m, args)?,
            "and" | "or" | "xor" | "not" | "mov.pred" if m.ty() == Ty::Pred => {
                let Some(f) = pred_op(m.op) else { return Ok(false) };
                let [Arg::Name(d), rest @ ..] = args else { return self.fail("a predicate is due") };
                let mut o = vec![self.pred(d)?];
                for a in rest {
                    o.push(self.condition(a)?);
                }
                self.alu(f, &o, Class::Int);
            }
            _ => return self.plain(m, args),
        }
        Ok(true)
    }

    /// A predicate's place; a negated one or a constant gets a place of its own.
    pub(super) fn condition(&mut self, arg: &Arg<'a>) -> Res<u32> {
        match *arg {
            Arg::Name(n) => self.pred(n),
            Arg::Not(n) => {
                let p = self.pred(n)?;
                let t = self.code.plan.pred();
                if let Some(f) = pred_op("not") {
                    self.part(f, &[t, p]);
                }
                Ok(t)
            }
            // A constant's row begins with a word of its bits.
            Arg::Int(n) => Ok(self.code.plan.constant(Value::Bits(if n != 0 { !0 } else { 0 }), false)),
            _ => self.fail("a predicate is due"),
        }
    }

    /// Instructions that are a function of their operands.
    fn plain(&mut self, m: &Mods<'a>, args: &[Arg<'a>]) -> Res<bool> {
        let ty = m.ty();
        let [d, rest @ ..] = args else { return Ok(false) };
        if ty.float() {
            return self.float(m, d, rest);
        }
        let mut op = m.op.to_string();
        for part in
            ["lo", "hi", "wide", "l", "r", "wrap", "clamp", "shiftamt", "f4e", "b4e", "rc8", "rc16", "sat", "cc"]
        {
            if m.has(part) {
                op += ".";
                op += part;
            }
        }
        if m.op == "dp4a" {
            m.types.iter().for_each(|t| op += if t.signed() { ".s32" } else { ".u32" });
        }
        let untyped = |f: Option<Alu>| f.or_else(|| crate::alu::bit_op(&op, ty));
        let Some(f) = untyped(int_op(&op, ty)) else { return Ok(false) };
        // Operands whose type is not the instruction's.
        let word = Ty::U32;
        let twice = if ty.signed() { Ty::S64 } else { Ty::U64 };
        let result = match op.as_str() {
            "mul.wide" | "mad.wide" if ty.bytes() == 4 => twice,
            "mul.wide" | "mad.wide" => word,
            _ if matches!(m.op, "popc" | "clz" | "bfind") => word,
            _ => ty,
        };
        let mut o = vec![];
        for (i, a) in rest.iter().enumerate() {
            let t = match (m.op, i) {
                ("shl" | "shr", 1) | ("bfe", 1 | 2) | ("bfi", 2 | 3) | ("lop3", 3) => word,
                ("mad", 2) if op == "mad.wide" => result,
                _ => ty,
            };
            o.push(self.src(a, t)?);
        }
        let d = self.dst(d, result)?;
        o.insert(0, d.0);
        if matches!(m.op, "addc" | "subc" | "madc") || op.ends_with(".cc") {
            o.resize(4, o[1]);
            o.push(self.carries);
        }
        if o.len() > 5 {
            return self.fail("too many operands");
        }
        self.alu(f, &o, Class::Int);
        self.finish(d, result);
        Ok(true)
    }

    fn float(&mut self, m: &Mods<'a>, d: &Arg<'a>, rest: &[Arg<'a>]) -> Res<bool> {
        let ty = m.ty();
        let (round, ftz, sat) = (round(m), m.has("ftz"), m.has("sat"));
        let mode = m.pick(&["approx", "full"]).unwrap_or("");
        let op = if m.has("NaN") { format!("{}.NaN", m.op) } else { m.op.to_string() };
        if op.as_str() == "neg" && ty == Ty::F16 {
            return Ok(false);
        }
        let Some(f) = float_op(&op, ty, round, mode) else { return Ok(false) };
        let flushed = ftz && ty == Ty::F32;
        let mut o = vec![];
        for a in rest {
            let mut s = self.src(a, ty)?;
            if flushed {
                let t = self.temp(false);
                self.part(flush(), &[t, s]);
                s = t;
            }
            o.push(s);
        }
        let d = self.dst(d, ty)?;
        o.insert(0, d.0);
        self.alu(f, &o, class(ty));
        if flushed {
            self.part(flush(), &[d.0, d.0]);
        }
        if sat {
            self.part(saturate(ty), &[d.0, d.0]);
        }
        self.finish(d, ty);
        Ok(true)
    }

    fn mov(&mut self, m: &Mods<'a>, args: &[Arg<'a>]) -> Res<()> {
        let ty = m.ty();
        let [d, a] = args else { return self.fail("two operands are due") };
        match (d, a) {
            (Arg::Name(d), a) if ty == Ty::Pred => {
                let (d, a) = (self.pred(d)?, self.condition(a)?);
                if let Some(f) = pred_op("mov") {
                    self.alu(f, &[d, a], Class::Other);
                }
            }
            (d, Arg::List(list)) => {
                let pack = |d: &mut Self, half: Ty, a: &Arg<'a>, b: &Arg<'a>, to: u32, class: Class| {
                    let f = d.bits(if half == Ty::B16 { "pack.16" } else { "pack.32" }, Ty::B32)?;
                    let (a, b) = (d.src(a, half)?, d.src(b, half)?);
                    d.alu(f, &[to, a, b], class);
                    Ok(())
                };
                let to = self.dst(d, ty)?;
                match (&list[..], ty.bytes()) {
                    ([a, b], 8) => pack(self, Ty::B32, a, b, to.0, Class::Other)?,
                    ([a, b], 4) => pack(self, Ty::B16, a, b, to.0, Class::Other)?,
                    ([a, b, c, e], 8) => {
                        let (low, high) = (self.temp(false), self.temp(false));
                        pack(self, Ty::B16, a, b, low, Class::Part)?;
                        pack(self, Ty::B16, c, e, high, Class::Part)?;
                        let f = self.bits("pack.32", Ty::B32)?;
                        self.alu(f, &[to.0, low, high], Class::Other);
                    }
                    _ => return self.fail("this packing is not simulated"),
                }
                self.finish(to, ty);
            }
            (Arg::List(list), a) => {
                let from = self.src(a, ty)?;
                let (half, names) = match (list.len(), ty.bytes()) {
                    (2, 8) => (Ty::B32, ["low.32", "high.32"]),
                    (2, 4) => (Ty::B16, ["low.16", "high.16"]),
                    (4, 8) => (Ty::B32, ["low.32", "high.32"]),
                    _ => return self.fail("this unpacking is not simulated"),
                };
                let mut rows = vec![];
                for name in names {
                    let t = self.temp(false);
                    let f = self.bits(name, Ty::B32)?;
                    self.part(f, &[t, from]);
                    rows.push(t);
                }
                if list.len() == 4 {
                    let words = std::mem::take(&mut rows);
                    for w in words {
                        for name in ["low.16", "high.16"] {
                            let t = self.temp(false);
                            let f = self.bits(name, Ty::B32)?;
                            self.part(f, &[t, w]);
                            rows.push(t);
                        }
                    }
                }
                let f = self.bits("mov", Ty::B32)?;
                for (i, (to, t)) in list.iter().zip(rows).enumerate() {
                    if *to != Arg::Name("_") {
                        let to = self.dst(to, half)?;
                        self.alu(f, &[to.0, t], if i == 0 { Class::Other } else { Class::Part });
                        self.finish(to, half);
                    }
                }
            }
            (d, Arg::Name(n @ ("%clock" | "%clock_hi" | "%clock64" | "%globaltimer" | "%globaltimer_lo"))) => {
                let what = match *n {
                    "%clock64" => Clock::Cycles64,
                    "%globaltimer" => Clock::Timer,
                    _ => Clock::Cycles32,
                };
                let ty = if what == Clock::Cycles32 { Ty::U32 } else { Ty::U64 };
                let to = self.dst(d, ty)?;
                self.push_class(Op::Clock { d: to.0, what }, Class::Other);
                self.finish(to, ty);
            }
            (d, a) => {
                let a = self.src(a, ty)?;
                let to = self.dst(d, ty)?;
                let f = self.bits("mov", ty)?;
                self.alu(f, &[to.0, a], Class::Other);
                self.finish(to, ty);
            }
        }
        Ok(())
    }

    fn cvt(&mut self, m: &Mods<'a>, args: &[Arg<'a>]) -> Res<()> {
        let &[to, from] = &m.types[..] else { return self.fail("two types are due") };
        let (ftz, sat) = (m.has("ftz"), m.has("sat"));
        let integral = m.pick(&["rni", "rzi", "rmi", "rpi"]);
        let how = How {
            round: match integral {
                Some("rni") => Round::Nearest,
                Some("rzi") => Round::Zero,
                Some("rmi") => Round::Down,
                Some("rpi") => Round::Up,
                _ => round(m),
            },
            integral: integral.is_some(),
            sat: sat && !to.float(),
        };
        let kind = if to.float() || from.float() { Class::Other } else { Class::Int };
        if let [d, a, b] = args {
            let Some(f) = pack16(to, how.round) else { return self.fail("unknown conversion") };
            let (a, b) = (self.src(a, Ty::F32)?, self.src(b, Ty::F32)?);
            let d = self.dst(d, Ty::B32)?;
            self.alu(f, &[d.0, a, b], kind);
            self.finish(d, Ty::B32);
            return Ok(());
        }
        let [d, a] = args else { return self.fail("two operands are due") };
        let Some(f) = convert(to, from, how) else { return self.fail("unknown conversion") };
        let mut a = self.src(a, from)?;
        if ftz && from == Ty::F32 {
            let t = self.temp(false);
            self.part(flush(), &[t, a]);
            a = t;
        }
        let d = self.dst(d, to)?;
        self.alu(f, &[d.0, a], kind);
        if ftz && to == Ty::F32 {
            self.part(flush(), &[d.0, d.0]);
        }
        if sat && to.float() {
            if to.bytes() < 4 {
                return self.fail("saturation of 16-bit floats is not simulated");
            }
            self.part(saturate(to), &[d.0, d.0]);
        }
        self.finish(d, to);
        Ok(())
    }

    /// A comparison into a fresh predicate.
    fn compare(&mut self, m: &Mods<'a>, ty: Ty, a: &Arg<'a>, b: &Arg<'a>, to: u32) -> Res<()> {
        const ALL: &[&str] = &[
            "eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs", "equ", "neu", "ltu", "leu", "gtu", "geu",
            "num", "nan",
        ];
        let Some(cmp) = m.pick(ALL) else { return self.fail("unknown comparison") };
        let f = if ty.float() { float_compare(cmp, ty) } else { int_compare(cmp, ty) };
        let Some(f) = f else { return self.fail("this comparison is not simulated") };
        let (mut a, mut b) = (self.src(a, ty)?, self.src(b, ty)?);
        if m.has("ftz") {
            for s in [&mut a, &mut b] {
                let t = self.temp(false);
                self.part(flush(), &[t, *s]);
                *s = t;
            }
        }
        self.alu(f, &[to, a, b], class(ty));
        Ok(())
    }

    fn setp(&mut self, m: &Mods<'a>, args: &[Arg<'a>]) -> Res<()> {
        let [d, a, b, rest @ ..] = args else { return self.fail("three operands are due") };
        let (p, q) = match d {
            Arg::Name(p) => (*p, "_"),
            Arg::Pair(p, q) => match (&**p, &**q) {
                (Arg::Name(p), Arg::Name(q)) => (*p, *q),
                _ => return self.fail("predicates are due"),
            },
            _ => return self.fail("a predicate is due"),
        };
        let logic = m.pick(&["and", "or", "xor"]);
        let ops = (pred_op("mov"), pred_op("not"), logic.and_then(pred_op));
        let (Some(mov), Some(not)) = (ops.0, ops.1) else { return Ok(()) };
        if q == "_" && logic.is_none() {
            let p = self.pred(p)?;
            return self.compare(m, m.ty(), a, b, p);
        }
        let t = self.code.plan.pred();
        self.compare(m, m.ty(), a, b, t)?;
        let c = match rest {
            [c] => Some(self.condition(c)?),
            _ => None,
        };
        let inverse = self.code.plan.pred();
        self.part(not, &[inverse, t]);
        for (name, from) in [(p, t), (q, inverse)].into_iter().filter(|(n, _)| *n != "_") {
            let d = self.pred(name)?;
            match (c, ops.2) {
                (Some(c), Some(f)) => self.part(f, &[d, from, c]),
                _ => self.part(mov, &[d, from]),
            }
        }
        Ok(())
    }

    fn set(&mut self, m: &Mods<'a>, args: &[Arg<'a>]) -> Res<()> {
        let (&[to, from], [d, a, b, rest @ ..]) = (&m.types[..], args) else { return self.fail("two types are due") };
        let t = self.code.plan.pred();
        self.compare(m, from, a, b, t)?;
        if let (Some(f), [c]) = (m.pick(&["and", "or", "xor"]).and_then(pred_op), rest) {
            let c = self.condition(c)?;
            self.part(f, &[t, t, c]);
        }
        let yes = if to.float() { Arg::F32(1f32.to_bits()) } else { Arg::Int(!0) };
        let (yes, no) = (self.src(&yes, to)?, self.src(&Arg::Int(0), to)?);
        let d = self.dst(d, to)?;
        self.part(select(to.wide()), &[d.0, yes, no, t]);
        self.finish(d, to);
        Ok(())
    }

    /// Classes of floats: decided on the magnitude's bits.
    fn testp(&mut self, m: &Mods<'a>, args: &[Arg<'a>]) -> Res<()> {
        let [Arg::Name(p), a] = args else { return self.fail("two operands are due") };
        let ty = m.ty();
        let p = self.pred(p)?;
        let Some(abs) = float_op("abs", ty, Round::Nearest, "") else { return self.fail("a float type is due") };
        let a = self.src(a, ty)?;
        let t = self.temp(ty.wide());
        self.alu(abs, &[t, a], class(ty));
        let inf = if ty.wide() { f64::INFINITY.to_bits() } else { f32::INFINITY.to_bits() as u64 };
        let normal = if ty.wide() { f64::MIN_POSITIVE.to_bits() } else { f32::MIN_POSITIVE.to_bits() as u64 };
        let bits = if ty.wide() { Ty::U64 } else { Ty::U32 };
        let test = |d: &mut Self, cmp: &str, with: u64, to: u32| -> Res<()> {
            let Some(f) = int_compare(cmp, bits) else { return d.fail("unknown comparison") };
            let c = d.code.plan.constant(Value::Bits(with), ty.wide());
            d.part(f, &[to, t, c]);
            Ok(())
        };
        match m.pick(&["finite", "infinite", "number", "notanumber", "normal", "subnormal"]) {
            Some("finite") => test(self, "lt", inf, p),
            Some("infinite") => test(self, "eq", inf, p),
            Some("number") => test(self, "le", inf, p),
            Some("notanumber") => test(self, "gt", inf, p),
            Some(which) => {
                let q = self.code.plan.pred();
                let (low, high) = if which == "normal" { (normal, inf) } else { (1, normal) };
                test(self, "ge", low, q)?;
                test(self, "lt", high, p)?;
                if let Some(f) = pred_op("and") {
                    self.part(f, &[p, p, q]);
                }
                Ok(())
            }
            None => self.fail("unknown test"),
        }
    }

    /// A word's row for a place that may be absent.
    pub(super) fn optional(&mut self, arg: Option<&Arg<'a>>, ty: Ty) -> Res<u32> {
        arg.map_or(Ok(NONE), |a| self.src(a, ty))
    }
}
