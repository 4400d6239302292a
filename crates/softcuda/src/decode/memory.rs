//! Decoding memory accesses, barriers and what lanes do together.

use super::inst::{Access, Atom, AtomOp, AtomTy, BarMode, Class, NONE, Op, Place, ShflMode, VoteMode};
use super::regs::Value;
use super::{Decoder, LOCAL_WINDOW, Mods, PARAM_WINDOW, Res, SHARED_WINDOW, Sym};
use crate::alu::int_op;
use crate::parse::{Arg, Space};
use crate::types::Ty;

fn class(space: Space) -> Class {
    match space {
        Space::Global | Space::Const | Space::Generic => Class::Global,
        Space::Shared => Class::Shared,
        _ => Class::Other,
    }
}

/// What caches, other processors and prefetchers are told.
fn hints(m: &Mods<'_>) {
    for h in [
        "ca",
        "cg",
        "cs",
        "lu",
        "cv",
        "wb",
        "wt",
        "nc",
        "cta",
        "cluster",
        "gpu",
        "sys",
        "weak",
        "unified",
        "aligned",
        "all",
        "L1::evict_normal",
        "L1::evict_unchanged",
        "L1::evict_first",
        "L1::evict_last",
        "L1::no_allocate",
        "L2::64B",
        "L2::128B",
        "L2::256B",
        "L2::evict_first",
        "L2::evict_last",
        "L2::evict_normal",
    ] {
        m.has(h);
    }
}

fn space(m: &Mods<'_>) -> Space {
    match m.pick(&["global", "const", "shared", "shared::cta", "local", "param", "param::entry", "param::func"]) {
        Some("global") => Space::Global,
        Some("const") => Space::Const,
        Some("shared" | "shared::cta") => Space::Shared,
        Some("local") => Space::Local,
        Some(_) => Space::Param,
        None => Space::Generic,
    }
}

impl<'a> Decoder<'a> {
    pub(super) fn memory(&mut self, m: &Mods<'a>, args: &[Arg<'a>]) -> Res<bool> {
        match m.op {
            "ld" | "ldu" => self.load(m, args)?,
            "st" => self.store(m, args)?,
            "atom" | "red" => self.atom(m, args)?,
            "cvta" => self.cvta(m, args)?,
            "isspacep" => return self.fail("isspacep is not simulated"),
            "prefetch" | "prefetchu" | "discard" | "applypriority" | "createpolicy" => {
                m.has("L1");
                m.has("L2");
                space(m);
                self.push_class(Op::Nop, Class::Other);
            }
            "membar" | "fence" => {
                m.pick(&["gl", "cta", "sys"]);
                m.pick(&["sc", "acq_rel", "acquire", "release"]);
                m.pick(&["gpu", "cluster"]);
                if m.has("proxy") {
                    return self.fail("proxy fences are not simulated");
                }
                self.push_class(Op::Fence, Class::Control);
            }
            "bar" | "barrier" if m.has("warp") => {
                m.has("sync");
                let [mask] = args else { return self.fail("one operand is due") };
                let members = self.src(mask, Ty::B32)?;
                self.push_class(Op::BarWarp { members }, Class::Control);
            }
            "bar" | "barrier" => self.bar(m, args)?,
            "shfl" => self.shfl(m, args)?,
            "vote" => self.vote(m, args)?,
            "match" => {
                m.has("sync");
                let all = m.pick(&["all", "any"]) == Some("all");
                let [d, a, members] = args else { return self.fail("three operands are due") };
                let (d, p) = self.pair(d)?;
                let (a, members) = (self.src(a, m.ty())?, self.src(members, Ty::B32)?);
                self.push_class(Op::Match { all, wide: m.ty().wide(), d, p, a, members }, Class::Other);
            }
            "activemask" => {
                let [d] = args else { return self.fail("one operand is due") };
                let d = self.dst(d, Ty::B32)?;
                self.push_class(Op::Activemask { d: d.0 }, Class::Other);
            }
            "redux" => {
                m.has("sync");
                let op = self.atom_op(m)?;
                let [d, a, members] = args else { return self.fail("three operands are due") };
                let (a, members) = (self.src(a, Ty::B32)?, self.src(members, Ty::B32)?);
                let d = self.dst(d, Ty::B32)?;
                if m.ty().float() {
                    return self.fail("redux of floats is not simulated");
                }
                self.push_class(Op::Redux { op, signed: m.ty().signed(), d: d.0, a, members }, Class::Other);
            }
            "cp" if m.has("async") => self.copy_async(m, args)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn place(&mut self, arg: &Arg<'a>, space: Space) -> Res<Place> {
        let at = |space, base, wide, offset| Ok(Place { space, base, wide, offset });
        match *arg {
            Arg::Absolute(n) => at(space, NONE, false, n),
            Arg::Address(name, offset) => match self.find(name) {
                Some(Sym::Reg(r)) if r.ty != Ty::Pred => at(space, r.at, r.ty.wide(), offset),
                Some(Sym::Global(g)) => at(space, self.code.plan.constant(Value::Global(g, 0), true), true, offset),
                Some(Sym::Shared(s)) if space == Space::Shared => at(space, NONE, false, s as i64 + offset),
                Some(Sym::Dynamic) if space == Space::Shared => {
                    at(space, self.code.plan.constant(Value::Dynamic(0), false), false, offset)
                }
                // A function's parameters lie in the lane's local memory.
                Some(Sym::Local(l)) => at(Space::Local, NONE, false, l as i64 + offset),
                Some(Sym::KernelParam(p)) => at(Space::Param, NONE, false, p as i64 + offset),
                _ => self.fail(format!("no address {name}")),
            },
            _ => self.fail("an address is due"),
        }
    }

    fn access(&mut self, m: &Mods<'a>, place: Place) -> Res<Access> {
        hints(m);
        let strong = m.pick(&["volatile", "relaxed", "acquire", "release", "mmio"]).is_some();
        let count = match m.pick(&["v2", "v4", "v8"]) {
            Some("v2") => 2,
            Some("v4") => 4,
            Some(_) => 8,
            None => 1,
        };
        let ty = m.ty();
        if ty == Ty::B128 || ty == Ty::Pred {
            return self.fail("accesses of this type are not simulated");
        }
        Ok(Access { place, bytes: ty.bytes() as u8, count, signed: ty.signed(), strong, rows: [NONE; 8], wides: 0 })
    }

    fn load(&mut self, m: &Mods<'a>, args: &[Arg<'a>]) -> Res<()> {
        let [d, a] = args else { return self.fail("two operands are due") };
        let place = self.place(a, space(m))?;
        let mut access = self.access(m, place)?;
        let single = std::slice::from_ref(d);
        let list = if let Arg::List(l) = d { &l[..] } else { single };
        if list.len() != access.count as usize {
            return self.fail("as many registers as elements are due");
        }
        for (i, d) in list.iter().enumerate() {
            match self.reg(d) {
                Some(r) if r.ty != Ty::Pred => {
                    access.rows[i] = r.at;
                    access.wides |= (r.ty.wide() as u8) << i;
                }
                _ if *d == Arg::Name("_") => access.rows[i] = self.temp(true),
                _ => return self.fail("a register is due"),
            }
        }
        self.push_class(Op::Ld(Box::new(access)), class(access.place.space));
        Ok(())
    }

    fn store(&mut self, m: &Mods<'a>, args: &[Arg<'a>]) -> Res<()> {
        let [a, v] = args else { return self.fail("two operands are due") };
        let place = self.place(a, space(m))?;
        let mut access = self.access(m, place)?;
        let single = std::slice::from_ref(v);
        let list = if let Arg::List(l) = v { &l[..] } else { single };
        if list.len() != access.count as usize {
            return self.fail("as many values as elements are due");
        }
        for (i, v) in list.iter().enumerate() {
            let (row, wide) = match self.reg(v) {
                Some(r) if r.ty != Ty::Pred => (r.at, r.ty.wide()),
                _ => (self.src(v, m.ty())?, m.ty().wide()),
            };
            access.rows[i] = row;
            access.wides |= (wide as u8) << i;
        }
        self.push_class(Op::St(Box::new(access)), class(access.place.space));
        Ok(())
    }

    fn atom_op(&mut self, m: &Mods<'a>) -> Res<AtomOp> {
        Ok(match m.pick(&["add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec"]) {
            Some("add") => AtomOp::Add,
            Some("min") => AtomOp::Min,
            Some("max") => AtomOp::Max,
            Some("and") => AtomOp::And,
            Some("or") => AtomOp::Or,
            Some("xor") => AtomOp::Xor,
            Some("exch") => AtomOp::Exch,
            Some("cas") => AtomOp::Cas,
            Some("inc") => AtomOp::Inc,
            Some(_) => AtomOp::Dec,
            None => return self.fail("unknown atomic operation"),
        })
    }

    fn atom(&mut self, m: &Mods<'a>, args: &[Arg<'a>]) -> Res<()> {
        let space = space(m);
        hints(m);
        let orders = m.pick(&["acq_rel", "acquire", "release"]).is_some();
        m.has("relaxed");
        m.has("noftz");
        let op = self.atom_op(m)?;
        let reg_ty = m.ty();
        let ty = match reg_ty {
            Ty::U32 | Ty::B32 => AtomTy::U32,
            Ty::S32 => AtomTy::S32,
            Ty::U64 | Ty::B64 => AtomTy::U64,
            Ty::S64 => AtomTy::S64,
            Ty::F32 => AtomTy::F32,
            Ty::F64 => AtomTy::F64,
            _ => return self.fail("atomics of this type are not simulated"),
        };
        if reg_ty.float() && !matches!(op, AtomOp::Add | AtomOp::Exch) {
            return self.fail("this atomic of floats is not simulated");
        }
        let (d, rest) = match (m.op, args) {
            ("atom", [d, rest @ ..]) => (Some(d), rest),
            (_, rest) => (None, rest),
        };
        let [a, b, more @ ..] = rest else { return self.fail("an address and a value are due") };
        let place = self.place(a, space)?;
        let b = self.src(b, reg_ty)?;
        let c = self.optional(more.first(), reg_ty)?;
        let d = match d {
            Some(d) => Some(self.dst(d, reg_ty)?),
            None => None,
        };
        let atom = Atom { place, op, ty, d: d.map_or(NONE, |d| d.0), b, c, orders };
        self.push_class(Op::Atom(Box::new(atom)), class(space));
        if let Some(d) = d {
            self.finish(d, reg_ty);
        }
        Ok(())
    }

    /// Addresses of a space to generic ones and back: a window's start more or less.
    fn cvta(&mut self, m: &Mods<'a>, args: &[Arg<'a>]) -> Res<()> {
        let to = m.has("to");
        let start = match space(m) {
            Space::Shared => SHARED_WINDOW,
            Space::Local => LOCAL_WINDOW,
            Space::Param => PARAM_WINDOW,
            _ => 0,
        };
        let [d, a] = args else { return self.fail("two operands are due") };
        let a = self.src(a, Ty::U64)?;
        let d = self.dst(d, Ty::U64)?;
        let start = self.code.plan.constant(Value::Bits(start), true);
        if let Some(f) = int_op(if to { "sub" } else { "add" }, Ty::U64) {
            self.alu(f, &[d.0, a, start], Class::Int);
        }
        self.finish(d, Ty::U64);
        Ok(())
    }

    fn bar(&mut self, m: &Mods<'a>, args: &[Arg<'a>]) -> Res<()> {
        hints(m);
        let mode = match m.pick(&["sync", "arrive", "red"]) {
            Some("sync") => BarMode::Sync,
            Some("arrive") => BarMode::Arrive,
            Some(_) => match m.pick(&["popc", "and", "or"]) {
                Some("popc") => BarMode::Popc,
                Some("and") => BarMode::And,
                Some(_) => BarMode::Or,
                None => return self.fail("unknown barrier"),
            },
            None => return self.fail("unknown barrier"),
        };
        let (mut d, mut p, mut not, mut rest) = (NONE, NONE, false, args);
        let mut out = None;
        if matches!(mode, BarMode::Popc | BarMode::And | BarMode::Or) {
            let [to, middle @ .., from] = args else { return self.fail("operands are due") };
            rest = middle;
            p = match from {
                Arg::Not(n) => {
                    not = true;
                    self.pred(n)?
                }
                from => self.condition(from)?,
            };
            match to {
                Arg::Name(n) if mode != BarMode::Popc => d = self.pred(n)?,
                to => {
                    let to = self.dst(to, Ty::U32)?;
                    d = to.0;
                    out = Some(to);
                }
            }
        }
        let [id, more @ ..] = rest else { return self.fail("a barrier's number is due") };
        let id = self.src(id, Ty::B32)?;
        let count = self.optional(more.first(), Ty::B32)?;
        self.push_class(Op::Bar { mode, id, count, d, p, not }, Class::Control);
        if let Some(out) = out {
            self.finish(out, Ty::U32);
        }
        Ok(())
    }

    /// A register, and the predicate beside it.
    fn pair(&mut self, arg: &Arg<'a>) -> Res<(u32, u32)> {
        let (d, p) = match arg {
            Arg::Pair(d, p) => match **p {
                Arg::Name("_") => (&**d, NONE),
                Arg::Name(p) => (&**d, self.pred(p)?),
                _ => return self.fail("a predicate is due"),
            },
            d => (d, NONE),
        };
        Ok((self.dst(d, Ty::B32)?.0, p))
    }

    fn shfl(&mut self, m: &Mods<'a>, args: &[Arg<'a>]) -> Res<()> {
        m.has("sync");
        let mode = match m.pick(&["up", "down", "bfly", "idx"]) {
            Some("up") => ShflMode::Up,
            Some("down") => ShflMode::Down,
            Some("bfly") => ShflMode::Bfly,
            Some(_) => ShflMode::Idx,
            None => return self.fail("unknown shuffle"),
        };
        let [d, a, b, c, members] = args else { return self.fail("five operands are due") };
        let (d, p) = self.pair(d)?;
        let (a, b) = (self.src(a, Ty::B32)?, self.src(b, Ty::B32)?);
        let (c, members) = (self.src(c, Ty::B32)?, self.src(members, Ty::B32)?);
        self.push_class(Op::Shfl { mode, d, p, a, b, c, members }, Class::Other);
        Ok(())
    }

    fn vote(&mut self, m: &Mods<'a>, args: &[Arg<'a>]) -> Res<()> {
        m.has("sync");
        let mode = match m.pick(&["all", "any", "uni", "ballot"]) {
            Some("all") => VoteMode::All,
            Some("any") => VoteMode::Any,
            Some("uni") => VoteMode::Uni,
            Some(_) => VoteMode::Ballot,
            None => return self.fail("unknown vote"),
        };
        let [d, p, members] = args else { return self.fail("three operands are due") };
        let (p, not) = match p {
            Arg::Not(n) => (self.pred(n)?, true),
            p => (self.condition(p)?, false),
        };
        let d = match d {
            Arg::Name(n) if mode != VoteMode::Ballot => self.pred(n)?,
            d => self.dst(d, Ty::B32)?.0,
        };
        let members = self.src(members, Ty::B32)?;
        self.push_class(Op::Vote { mode, d, p, not, members }, Class::Other);
        Ok(())
    }

    fn copy_async(&mut self, m: &Mods<'a>, args: &[Arg<'a>]) -> Res<()> {
        hints(m);
        if m.has("commit_group") {
            self.push_class(Op::CpCommit, Class::Control);
            return Ok(());
        }
        if m.has("wait_all") {
            self.push_class(Op::CpWait { left: NONE - 1 }, Class::Control);
            return Ok(());
        }
        if m.has("wait_group") {
            let [Arg::Int(n)] = args else { return self.fail("a number is due") };
            self.push_class(Op::CpWait { left: *n as u32 }, Class::Control);
            return Ok(());
        }
        m.pick(&["shared", "shared::cta"]);
        m.has("global");
        let [to, from, Arg::Int(bytes), more @ ..] = args else { return self.fail("two addresses and a size are due") };
        if m.has("bulk") || !matches!(bytes, 4 | 8 | 16) {
            return self.fail("this copy is not simulated");
        }
        let (to, from) = (self.place(to, Space::Shared)?, self.place(from, Space::Global)?);
        let read = self.optional(more.first(), Ty::U32)?;
        self.push_class(Op::CpAsync { to, from, bytes: *bytes as u32, read }, Class::Global);
        Ok(())
    }
}
