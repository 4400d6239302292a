//! A warp: its registers, its groups of lanes at different instructions, and the loop that runs them.

use super::{Exec, Local, Res, bits, stop};
use crate::alu::Mask;
use crate::decode::Code;
use crate::decode::inst::{BarMode, Class, Clock, Copied, NONE, Op};
use crate::fault::FaultKind;
use crate::memory::Pages;

/// Branches a warp takes before it is another's turn.
pub(crate) const FUEL: u32 = 1 << 14;
/// Branches a group of lanes takes before it is another group's turn.
const GROUP_FUEL: u32 = 1 << 10;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum State {
    Ready,
    Waiting {
        id: u32,
        count: u32,
    },
    #[default]
    Done,
}

/// Lanes at one instruction.
#[derive(Clone, Copy, Debug)]
struct Group {
    pc: u32,
    mask: u32,
    /// Turns it has had at the others' expense.
    tired: u32,
    /// It waits for other lanes to arrive at its instruction.
    blocked: bool,
}

/// A pending asynchronous copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending {
    pub lane: u32,
    pub to: u32,
    pub from: u64,
    pub bytes: u32,
    pub read: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Warp {
    pub index: u32,
    /// Lanes that exist in this block's last warp.
    exist: u32,
    /// Lanes that have not exited.
    pub live: u32,
    pub state: State,
    groups: Vec<Group>,
    /// The group that ran last, or waits at a barrier.
    now: usize,
    pub fault_pc: u32,
    file: Option<Pages>,
    pub local: Option<Local>,
    /// Groups of copies, the open one last.
    pub copies: Vec<Vec<Pending>>,
}

impl Warp {
    pub fn new(code: &Code, index: u32, exist: u32) -> Warp {
        let frame = code.local.len();
        let local = (frame > 0).then(|| Pages::new(frame * 32)).flatten().map(|data| Local {
            data,
            shadow: vec![0; frame * 32],
            frame,
        });
        let file = Pages::new(code.plan.words() as usize * 4);
        Warp { index, exist, file, local, ..Warp::default() }
    }

    pub fn reset(&mut self, start: u32, local: &[u8]) {
        self.live = self.exist;
        self.state = State::Ready;
        self.groups.clear();
        self.groups.push(Group { pc: start, mask: self.exist, tired: 0, blocked: false });
        self.now = 0;
        self.fault_pc = start;
        self.copies.clear();
        self.copies.push(vec![]);
        if let Some(l) = &mut self.local {
            l.shadow.chunks_exact_mut(l.frame).for_each(|c| c.copy_from_slice(local));
        }
    }

    #[inline(always)]
    pub fn file(&self) -> *mut u32 {
        self.file.as_ref().map_or(std::ptr::null_mut(), |f| f.ptr().cast())
    }

    /// Threads that a barrier counts.
    pub fn threads(&self) -> u32 {
        if self.live == 0 { 0 } else { 32 }
    }

    pub fn pc(&self) -> u32 {
        self.groups.get(self.now).map_or(self.fault_pc, |g| g.pc)
    }

    /// Leaves the barrier it waits at.
    pub fn pass(&mut self) {
        self.state = State::Ready;
        if let Some(g) = self.groups.get_mut(self.now) {
            g.pc += 1;
        }
    }

    #[inline(always)]
    pub fn get(&self, row: u32, wide: bool, lane: u32) -> u64 {
        // SAFETY: rows come from the decoder's plan, whose size the file has.
        unsafe {
            let row = self.file().add(row as usize);
            if wide { row.cast::<u64>().add(lane as usize).read() } else { row.add(lane as usize).read() as u64 }
        }
    }

    #[inline(always)]
    pub fn put(&self, row: u32, wide: bool, lane: u32, v: u64) {
        // SAFETY: as in `get`.
        unsafe {
            let row = self.file().add(row as usize);
            if wide { row.cast::<u64>().add(lane as usize).write(v) } else { row.add(lane as usize).write(v as u32) }
        }
    }

    #[inline(always)]
    pub fn pred(&self, at: u32) -> u32 {
        // SAFETY: as in `get`.
        unsafe { *self.file().add(at as usize) }
    }

    pub fn set_pred(&self, at: u32, bits: u32) {
        // SAFETY: as in `get`.
        unsafe { *self.file().add(at as usize) = bits }
    }

    /// Sets a predicate for some lanes; no predicate is fine.
    pub fn set_pred_of(&self, at: u32, mask: u32, bits: u32) {
        if at != NONE {
            self.set_pred(at, self.pred(at) & !mask | bits & mask);
        }
    }

    /// The group to run: the least tired that is not blocked, of these the one furthest behind.
    fn pick(&self) -> Option<usize> {
        let ready = self.groups.iter().enumerate().filter(|(_, g)| !g.blocked);
        ready.min_by_key(|(_, g)| (g.tired, g.pc)).map(|(i, _)| i)
    }

    /// Joins group `i` with the others at its instruction; its new index.
    fn merge(&mut self, i: usize) -> usize {
        let mut g = self.groups.swap_remove(i);
        let mut k = 0;
        while k < self.groups.len() {
            if self.groups[k].pc == g.pc {
                let other = self.groups.swap_remove(k);
                g.mask |= other.mask;
                g.tired = g.tired.min(other.tired);
            } else {
                k += 1;
            }
        }
        g.blocked = false;
        self.groups.push(g);
        self.groups.len() - 1
    }

    fn copy_local(&mut self, mask: u32, copies: &[Copied]) {
        let Some(l) = &mut self.local else { return };
        for lane in bits(mask) {
            let frame = lane as usize * l.frame;
            for c in copies {
                let (from, to, n) = (frame + c.from as usize, frame + c.to as usize, c.bytes as usize);
                l.shadow.copy_within(from..from + n, to);
                // SAFETY: the decoder placed both variables within the frame.
                unsafe { l.data.ptr().add(from).copy_to(l.data.ptr().add(to), n) }
            }
        }
    }
}

/// How a warp's loop goes on after an instruction.
enum Next {
    Step,
    Jump(u32),
    /// The group is gone, or has to wait for others.
    Switch,
}

impl Exec<'_> {
    /// Runs a warp until it waits at a barrier, ends, or has used its fuel.
    pub(super) fn run_warp(&mut self, w: &mut Warp) -> Res<()> {
        let mut fuel = FUEL;
        while w.state == State::Ready && fuel > 0 {
            if w.groups.is_empty() {
                w.state = State::Done;
                return Ok(());
            }
            let Some(i) = w.pick() else { return self.deadlock(w) };
            let i = w.merge(i);
            w.now = i;
            self.run_group(w, i, &mut fuel)?;
        }
        Ok(())
    }

    fn deadlock(&self, w: &mut Warp) -> Res<()> {
        let at = |g: &Group| format!("lanes {:#010x} at line {}", g.mask, self.code.lines[g.pc as usize]);
        let detail = w.groups.iter().map(at).collect::<Vec<_>>().join(", ");
        w.fault_pc = w.groups[0].pc;
        stop(
            FaultKind::Barrier,
            w.groups[0].mask.trailing_zeros(),
            None,
            format!("lanes of a warp wait apart: {detail}"),
        )
    }

    fn run_group(&mut self, w: &mut Warp, i: usize, fuel: &mut u32) -> Res<()> {
        let code = self.code;
        let Group { mut pc, mask: bits, .. } = w.groups[i];
        let mut mask = Mask::new(bits);
        let alone = w.groups.len() == 1;
        let file = w.file();
        let mut group_fuel = GROUP_FUEL;
        loop {
            let inst = &code.insts[pc as usize];
            let mut active = mask.bits;
            if inst.guard != NONE {
                let p = w.pred(inst.guard);
                active &= if inst.negated { !p } else { p };
            }
            self.counters.issued += (inst.class != Class::Part) as u64;
            self.counts[inst.class as usize] += active.count_ones() as u64;
            let next = match &inst.op {
                Op::Alu { f, o } => {
                    // SAFETY: the decoder made the offsets, within the file.
                    unsafe {
                        if active == mask.bits {
                            f(file, o, &mask)
                        } else if active != 0 {
                            f(file, o, &Mask::new(active))
                        }
                    }
                    Next::Step
                }
                Op::Bra { target } => {
                    if active == mask.bits {
                        Next::Jump(*target)
                    } else if active == 0 {
                        Next::Step
                    } else {
                        w.groups[i].pc = pc + 1;
                        w.groups[i].mask = mask.bits & !active;
                        let tired = w.groups[i].tired;
                        w.groups.push(Group { pc: *target, mask: active, tired, blocked: false });
                        *fuel = fuel.saturating_sub(1);
                        return Ok(());
                    }
                }
                _ if active == 0 => Next::Step,
                op => {
                    w.fault_pc = pc;
                    w.groups[i].pc = pc;
                    self.other(w, i, op, active, mask.bits, pc)?
                }
            };
            match next {
                Next::Step => pc += 1,
                Next::Jump(to) => {
                    pc = to;
                    *fuel = fuel.saturating_sub(1);
                    group_fuel -= 1;
                    let behind = !alone && w.groups.iter().enumerate().any(|(k, g)| k != i && !g.blocked && g.pc < pc);
                    if *fuel == 0 || behind || (!alone && group_fuel == 0) {
                        w.groups[i].pc = pc;
                        w.groups[i].tired += (group_fuel == 0) as u32;
                        return Ok(());
                    }
                    group_fuel = group_fuel.max(1);
                }
                Next::Switch => return Ok(()),
            }
            if !alone && w.groups.iter().enumerate().any(|(k, g)| k != i && g.pc == pc) {
                w.groups[i].pc = pc;
                return Ok(());
            }
            if mask.bits != w.groups[i].mask {
                mask = Mask::new(w.groups[i].mask);
            }
        }
    }

    /// Waits until the group has all of `members` that still live: whether it has.
    fn gathered(&self, w: &mut Warp, i: usize, active: u32, members: u32) -> Res<bool> {
        let need = members & w.live;
        if active & !members != 0 {
            let lane = (active & !members).trailing_zeros();
            return stop(
                FaultKind::Barrier,
                lane,
                None,
                format!("the lane is not among the members {members:#010x} it names"),
            );
        }
        if active & need == need {
            return Ok(true);
        }
        w.groups[i].blocked = true;
        Ok(false)
    }

    /// Everything but arithmetic and branches.
    fn other(&mut self, w: &mut Warp, i: usize, op: &Op, active: u32, group: u32, pc: u32) -> Res<Next> {
        let members = |w: &Warp, row: u32| w.get(row, false, active.trailing_zeros()) as u32;
        // What needs lanes that are elsewhere waits for them.
        let named = match op {
            Op::Shfl { members: m, .. } | Op::Vote { members: m, .. } | Op::Match { members: m, .. } => Some(*m),
            Op::Redux { members: m, .. } | Op::BarWarp { members: m } => Some(*m),
            _ => None,
        };
        if let Some(row) = named {
            let m = members(w, row);
            if !self.gathered(w, i, active, m)? {
                return Ok(Next::Switch);
            }
        }
        match op {
            Op::Ld(a) => self.load(w, a, active)?,
            Op::St(a) => self.store(w, a, active)?,
            Op::Atom(a) => self.atom(w, a, active)?,
            Op::Shfl { mode, d, p, a, b, c, .. } => super::collective::shfl(w, *mode, [*d, *p, *a, *b, *c], active),
            Op::Vote { mode, d, p, not, .. } => super::collective::vote(w, *mode, *d, *p, *not, active),
            Op::Match { all, wide, d, p, a, .. } => super::collective::matches(w, *all, *wide, [*d, *p, *a], active),
            Op::Redux { op, signed, d, a, .. } => super::collective::redux(w, *op, *signed, *d, *a, active),
            // Lanes of a warp are not told apart by the race detector.
            Op::BarWarp { .. } => {}
            Op::Activemask { d } => bits(active).for_each(|l| w.put(*d, false, l, active as u64)),
            Op::Clock { d, what } => {
                let wide = *what != Clock::Cycles32;
                let now = self.counters.issued;
                bits(active).for_each(|l| w.put(*d, wide, l, now));
            }
            Op::CpAsync { to, from, bytes, read } => self.copy_async(w, *to, *from, *bytes, *read, active)?,
            Op::CpCommit => w.copies.push(vec![]),
            Op::CpWait { left } => self.copy_wait(w, *left)?,
            Op::Fence => self.race.fence(w.index),
            Op::Nop | Op::Alu { .. } | Op::Bra { .. } => {}
            Op::Trap => return stop(FaultKind::Trap, active.trailing_zeros(), None, ""),
            Op::CallUndefined { name } => {
                let kind = if name.contains("assert") { FaultKind::Trap } else { FaultKind::UndefinedCall };
                return stop(kind, active.trailing_zeros(), None, &**name);
            }
            Op::Exit => {
                w.live &= !active;
                w.groups.iter_mut().for_each(|g| g.blocked = false);
                w.groups[i].mask &= !active;
                if w.groups[i].mask == 0 {
                    w.groups.swap_remove(i);
                    return Ok(Next::Switch);
                }
            }
            Op::Call { target, back, args } => {
                w.copy_local(active, args);
                bits(active).for_each(|l| w.put(*back, false, l, pc as u64 + 1));
                if active == group {
                    return Ok(Next::Jump(*target));
                }
                w.groups[i] = Group { pc: pc + 1, mask: group & !active, ..w.groups[i] };
                let tired = w.groups[i].tired;
                w.groups.push(Group { pc: *target, mask: active, tired, blocked: false });
                return Ok(Next::Switch);
            }
            Op::Fetch { results } => w.copy_local(active, results),
            Op::Ret { back } => {
                let to = w.get(*back, false, active.trailing_zeros()) as u32;
                let same = bits(active).filter(|&l| w.get(*back, false, l) as u32 == to).fold(0, |m, l| m | 1 << l);
                if same == group {
                    return Ok(Next::Jump(to));
                }
                // The others return on their own, or go on behind a guard that failed.
                let tired = w.groups[i].tired;
                w.groups[i].mask = group & !same;
                w.groups[i].pc = if same == active { pc + 1 } else { pc };
                w.groups.push(Group { pc: to, mask: same, tired, blocked: false });
                return Ok(Next::Switch);
            }
            Op::Bar { mode, id, count, d, p, not } => {
                if active != w.live {
                    // Other lanes may still arrive.
                    w.groups[i].blocked = true;
                    return Ok(Next::Switch);
                }
                let lane = active.trailing_zeros();
                let id = w.get(*id, false, lane) as u32;
                if id > 15 {
                    return stop(FaultKind::Barrier, lane, None, format!("barrier {id}"));
                }
                let count = if *count == NONE { NONE } else { w.get(*count, false, lane) as u32 };
                self.counters.barriers += 1;
                let bar = &mut self.bars[id as usize];
                if bar.threads == 0 {
                    bar.all = true;
                }
                bar.threads += w.threads();
                bar.pcs.push(pc);
                if *p != NONE {
                    let votes = w.pred(*p) ^ if *not { !0 } else { 0 };
                    bar.votes += (votes & active).count_ones();
                    bar.all &= votes & active == active;
                    bar.any |= votes & active != 0;
                }
                if *mode == BarMode::Arrive {
                    return Ok(Next::Step);
                }
                bar.waiting.push((w.index as usize, *mode, *d));
                w.state = State::Waiting { id, count };
                return Ok(Next::Switch);
            }
        }
        Ok(Next::Step)
    }
}
