//! Runs a kernel: blocks one after another in a seeded order, a block's warps by turns.

mod access;
mod atomic;
mod cache;
mod collective;
mod shared;
mod warp;

use std::sync::{Arc, Mutex, PoisonError};

use crate::counters::Counters;
use crate::decode::inst::{BarMode, Class, NONE};
use crate::decode::regs::{Special, Value};
use crate::decode::{Code, Func, SHARED_START};
use crate::fault::{Fault, FaultKind, Place};
use crate::machine::Detect;
use crate::memory::{Block, Memory, Pages};
use crate::module::Module;
use crate::parse::Space;
use crate::race::Race;
use cache::Cache;
use warp::{State, Warp};

/// Rounds of a block's warps, each of [`warp::FUEL`] taken branches, after which a kernel is given up.
const PATIENCE: u64 = 1 << 14;

/// What a launch is given.
pub(crate) struct Job<'a> {
    pub module: &'a Module,
    pub entry: &'a str,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub dynamic_shared: u32,
    pub params: &'a [u8],
    /// Addresses of the module's variables.
    pub globals: &'a [u64],
    pub memory: &'a Mutex<Memory>,
    pub detect: Detect,
    pub seed: u64,
    /// The race detector's first epoch.
    pub epoch: u32,
}

/// A fault, before it is known which instruction had it.
#[derive(Debug)]
pub(crate) struct Stop {
    pub kind: FaultKind,
    pub lane: u32,
    pub address: Option<u64>,
    pub detail: String,
}

type Res<T> = Result<T, Box<Stop>>;

pub(crate) fn stop<T>(kind: FaultKind, lane: u32, address: Option<u64>, detail: impl Into<String>) -> Res<T> {
    Err(Box::new(Stop { kind, lane, address, detail: detail.into() }))
}

/// Warps that wait at one of a block's 16 barriers.
#[derive(Clone, Debug, Default)]
struct Barrier {
    threads: u32,
    /// The warps that wait, each with where its result goes.
    waiting: Vec<(usize, BarMode, u32)>,
    pcs: Vec<u32>,
    votes: u32,
    all: bool,
    any: bool,
}

/// A running launch.
pub(crate) struct Exec<'a> {
    job: &'a Job<'a>,
    code: &'a Code,
    func: &'a Func,
    /// Allocations, by address.
    blocks: Vec<Arc<Block>>,
    /// The allocation last found.
    last: usize,
    shared: Vec<u8>,
    /// Per byte: 0 belongs to no variable, 1 not written, 2 written.
    shared_shadow: Vec<u8>,
    shared_fresh: Vec<u8>,
    dynamic_at: u32,
    warps: Vec<Warp>,
    bars: Vec<Barrier>,
    counts: [u64; 8],
    /// Of each instruction: requests to shared memory, and the bank conflicts they had.
    conflicts: Vec<(u64, u64)>,
    /// What the block has loaded.
    cache: Cache,
    pub counters: Counters,
    race: Race,
    ctaid: [u32; 3],
}

/// Runs a launch to its end.
pub(crate) fn run(job: &Job<'_>, epoch: &mut u32) -> Result<Counters, Fault> {
    let code = &*job.module.code;
    let Some(func) = code.funcs.iter().find(|f| f.entry && f.defined && f.name == job.entry) else {
        return Err(Fault::new(FaultKind::NoSuchEntry, None, job.entry));
    };
    let blocks = job.memory.lock().unwrap_or_else(PoisonError::into_inner).blocks();
    let mut exec = Exec::new(job, code, func, blocks);
    let result = exec.grid();
    *epoch = exec.race.next();
    result?;
    let mut c = exec.counters;
    let n = |class: Class| exec.counts[class as usize];
    (c.fp32, c.fp64, c.int) = (n(Class::Fp32), n(Class::Fp64), n(Class::Int));
    (c.global, c.shared) = (n(Class::Global), n(Class::Shared));
    (c.control, c.other) = (n(Class::Control), n(Class::Other));
    c.unique_loaded = exec.race.fresh_reads << exec.race.global_shift;
    c.unique_stored = exec.race.fresh_writes << exec.race.global_shift;
    if let Some((pc, worst)) = exec.conflicts.iter().enumerate().max_by_key(|c| c.1.1).filter(|c| c.1.1 > 0) {
        (c.worst_line, c.worst_requests, c.worst_conflicts) = (code.lines[pc] as u64, worst.0, worst.1);
    }
    c.launches = 1;
    c.threads = job.grid.iter().chain(&job.block).map(|&n| n as u64).product();
    Ok(c)
}

/// Numbers that look random.
fn mix(x: u64) -> u64 {
    let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

impl<'a> Exec<'a> {
    fn new(job: &'a Job<'a>, code: &'a Code, func: &'a Func, blocks: Vec<Arc<Block>>) -> Exec<'a> {
        let vars = || code.shared.iter().chain(&func.shared);
        let end = vars().map(|s| s.at + s.bytes).max().unwrap_or(SHARED_START);
        let dynamic_at = if job.dynamic_shared == 0 { end } else { (end + 128).next_multiple_of(128) };
        let mut fresh = vec![0u8; (dynamic_at + job.dynamic_shared + 16) as usize];
        for s in vars() {
            fresh[s.at as usize..(s.at + s.bytes) as usize].fill(1);
        }
        fresh[dynamic_at as usize..(dynamic_at + job.dynamic_shared) as usize].fill(1);
        let race =
            Race::new(job.detect.race, job.epoch, fresh.len(), code.shift(Space::Shared), code.shift(Space::Global));
        let threads: u32 = job.block.iter().product();
        let count = threads.div_ceil(32);
        let mut exec = Exec {
            job,
            code,
            func,
            blocks,
            last: 0,
            shared: vec![0; fresh.len()],
            shared_shadow: fresh.clone(),
            shared_fresh: fresh,
            dynamic_at,
            warps: vec![],
            bars: vec![Barrier::default(); 16],
            counts: [0; 8],
            conflicts: vec![(0, 0); code.lines.len()],
            cache: Cache::default(),
            counters: Counters::default(),
            race,
            ctaid: [0; 3],
        };
        for w in 0..count {
            let lanes = (threads - w * 32).min(32);
            let live = if lanes == 32 { !0 } else { (1 << lanes) - 1 };
            let warp = Warp::new(code, w, live);
            exec.constants(&warp, false);
            exec.warps.push(warp);
        }
        exec
    }

    /// Sets the rows of constants and special registers; of those that change with the block only, if `block`.
    fn constants(&self, warp: &Warp, block: bool) {
        let [bx, by, _] = self.job.block;
        for c in &self.code.plan.constants {
            let special = matches!(c.value, Value::Special(Special::Ctaid(_)));
            if block && !special {
                continue;
            }
            let thread = |lane: u32| warp.index * 32 + lane;
            let value = |lane: u32| -> u64 {
                match c.value {
                    Value::Bits(b) => b,
                    Value::Global(g, plus) => self.job.globals[g as usize].wrapping_add_signed(plus),
                    Value::Dynamic(plus) => (self.dynamic_at as u64).wrapping_add_signed(plus),
                    Value::Special(s) => match s {
                        Special::Tid(0) => (thread(lane) % bx) as u64,
                        Special::Tid(1) => (thread(lane) / bx % by) as u64,
                        Special::Tid(_) => (thread(lane) / bx / by) as u64,
                        Special::Ntid(k) => self.job.block[k as usize] as u64,
                        Special::Ctaid(k) => self.ctaid[k as usize] as u64,
                        Special::Nctaid(k) => self.job.grid[k as usize] as u64,
                        Special::Lane => lane as u64,
                        Special::Warp => warp.index as u64,
                        Special::Warps => self.warps.len().max(1) as u64,
                        Special::Sm => 0,
                        Special::Sms => 1,
                        Special::Grid => 1,
                        Special::MaskEq => 1 << lane,
                        Special::MaskLe => (2u64 << lane) - 1,
                        Special::MaskLt => (1u64 << lane) - 1,
                        Special::MaskGe => !((1u32 << lane) - 1) as u64,
                        Special::MaskGt => !((2u64 << lane) - 1) as u32 as u64,
                        Special::DynamicBytes => self.job.dynamic_shared as u64,
                        Special::TotalBytes => (self.shared.len() - SHARED_START as usize) as u64,
                    },
                }
            };
            (0..32).for_each(|lane| warp.put(c.at, c.wide, lane, value(lane)));
        }
    }

    fn grid(&mut self) -> Result<(), Fault> {
        let [gx, gy, gz] = self.job.grid;
        let count = gx as u64 * gy as u64 * gz as u64;
        // A seeded start, and forwards or backwards from there: close blocks stay close, as on a device.
        let seed = self.job.seed;
        let (start, back) = if seed == 0 { (0, false) } else { (mix(seed) % count, mix(seed + 1) & 1 == 1) };
        for n in 0..count {
            let k = (start + if back { count - n } else { n }) % count;
            self.ctaid =
                [(k % gx as u64) as u32, (k / gx as u64 % gy as u64) as u32, (k / gx as u64 / gy as u64) as u32];
            self.block(k)?;
        }
        Ok(())
    }

    fn block(&mut self, number: u64) -> Result<(), Fault> {
        self.shared_shadow.copy_from_slice(&self.shared_fresh);
        self.race.begin_block();
        self.cache.clear();
        self.bars.iter_mut().for_each(|b| *b = Barrier::default());
        for i in 0..self.warps.len() {
            self.warps[i].reset(self.func.start, &self.code.local);
            self.constants(&self.warps[i], true);
        }
        let count = self.warps.len();
        let first = if self.job.seed == 0 { 0 } else { (mix(self.job.seed ^ number << 8) % count as u64) as usize };
        for round in 0.. {
            let mut ran = false;
            for i in 0..count {
                let i = (first + i) % count;
                if self.warps[i].state != State::Ready {
                    continue;
                }
                ran = true;
                self.turn(i)?;
            }
            if self.warps.iter().all(|w| w.state == State::Done) {
                break;
            }
            if !ran {
                return Err(self.stuck());
            }
            if round > PATIENCE {
                let i = self.warps.iter().position(|w| w.state == State::Ready).unwrap_or(0);
                let s =
                    Stop { kind: FaultKind::Timeout, lane: 0, address: None, detail: "the kernel does not end".into() };
                return Err(self.fault(i, s));
            }
        }
        Ok(())
    }

    /// Runs a warp until it waits, ends or has had its turn.
    fn turn(&mut self, i: usize) -> Result<(), Fault> {
        let mut warp = std::mem::take(&mut self.warps[i]);
        let result = self.run_warp(&mut warp);
        self.warps[i] = warp;
        match result {
            Err(s) => Err(self.fault(i, *s)),
            Ok(()) => self.release().map_err(|(i, s)| self.fault(i, s)),
        }
    }

    /// Lets warps go on whose barrier is complete.
    fn release(&mut self) -> Result<(), (usize, Stop)> {
        for id in 0..16 {
            let bar = &self.bars[id];
            let Some(&(first, ..)) = bar.waiting.first() else { continue };
            let need = match self.warps[first].state {
                State::Waiting { count: NONE, .. } => {
                    self.warps.iter().filter(|w| w.state != State::Done).map(|w| w.threads()).sum()
                }
                State::Waiting { count, .. } => count,
                _ => continue,
            };
            if bar.threads < need {
                continue;
            }
            let whole = matches!(self.warps[first].state, State::Waiting { count: NONE, .. });
            if whole && bar.pcs.iter().any(|&pc| pc != bar.pcs[0]) {
                let lines: Vec<_> = bar.pcs.iter().map(|&pc| self.code.lines[pc as usize].to_string()).collect();
                let detail = format!("the warps of a block are at different barriers: lines {}", lines.join(", "));
                return Err((first, Stop { kind: FaultKind::Barrier, lane: 0, address: None, detail }));
            }
            let bar = std::mem::take(&mut self.bars[id]);
            for (w, mode, d) in bar.waiting {
                let warp = &mut self.warps[w];
                match mode {
                    BarMode::Popc => (0..32)
                        .filter(|l| warp.live >> l & 1 == 1)
                        .for_each(|l| warp.put(d, false, l, bar.votes as u64)),
                    BarMode::And => warp.set_pred(d, if bar.all { !0 } else { 0 }),
                    BarMode::Or => warp.set_pred(d, if bar.any { !0 } else { 0 }),
                    _ => {}
                }
                warp.pass();
            }
            self.race.barrier();
        }
        Ok(())
    }

    /// The fault of a block in which no warp can go on.
    fn stuck(&self) -> Fault {
        let i = self.warps.iter().position(|w| matches!(w.state, State::Waiting { .. })).unwrap_or(0);
        let at = |w: &Warp| match w.state {
            State::Waiting { .. } => format!("warp {} waits at line {}", w.index, self.code.lines[w.pc() as usize]),
            _ => format!("warp {} has ended", w.index),
        };
        let detail = self.warps.iter().map(at).collect::<Vec<_>>().join(", ");
        self.fault(i, Stop { kind: FaultKind::Barrier, lane: 0, address: None, detail })
    }

    fn fault(&self, i: usize, s: Stop) -> Fault {
        let warp = &self.warps[i];
        let line = self.code.lines[warp.fault_pc as usize];
        let [bx, by, _] = self.job.block;
        let t = warp.index * 32 + s.lane;
        let place = Place {
            kernel: self.job.entry.to_string(),
            line,
            instruction: self.job.module.line(line).to_string(),
            block: self.ctaid,
            thread: [t % bx, t / bx % by, t / bx / by],
        };
        Fault { kind: s.kind, address: s.address, detail: s.detail, place: Some(Box::new(place)) }
    }
}

/// The lanes of a mask.
pub(crate) fn bits(mut mask: u32) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        (mask != 0).then(|| {
            let lane = mask.trailing_zeros();
            mask &= mask - 1;
            lane
        })
    })
}

/// A warp's local memory and its shadow.
#[derive(Debug)]
pub(crate) struct Local {
    pub data: Pages,
    pub shadow: Vec<u8>,
    pub frame: usize,
}
