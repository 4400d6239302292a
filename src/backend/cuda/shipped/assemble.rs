//! From instructions on endless registers to the words that the interpreter reads.

use super::codes::{self, Op};
use super::encode::{Code, Data, Item, Reg};
use super::pairwise::Pairwise;
use crate::error::{Error, Result};

/// Words of a program that are known at launch alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hole {
    /// The address of an operand.
    Pointer(u8),
    /// The bits of a scalar.
    Scalar(u8),
}

/// A program, all but its holes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Program {
    pub words: Vec<u64>,
    pub holes: Vec<(usize, Hole)>,
}

/// A place for each register, and how many there are.
pub(super) struct Places {
    at: Vec<usize>,
    pub count: usize,
}

/// Calls `f` with each register that an instruction reads or sets, and whether it is read before anything is set.
fn touched(code: &Code, item: &Item, mut f: impl FnMut(Reg, bool)) {
    // Elementwise instructions read an element before they write it: their result may lie on an operand.
    let early = item.code > Op::Finish as u16;
    item.args.iter().flatten().for_each(|&r| f(r, early));
    item.dst.iter().for_each(|&r| f(r, false));
    match item.data {
        Data::Loop(l) => code.loops[l].axes.iter().for_each(|a| f(a.0, false)),
        Data::Place(p) => {
            let place = &code.places[p];
            place.pairs.iter().map(|p| p.0).chain(place.guards.iter().copied()).for_each(|r| f(r, false));
        }
        _ => {}
    }
}

/// Places for registers: those that are not in use at the same time share one.
pub(super) fn places(code: &Code) -> Places {
    // From the first touch to the last, in half instructions: read, then set.
    let mut lives: Vec<Option<(usize, usize)>> = vec![None; code.widths.len()];
    for (at, item) in code.items.iter().enumerate() {
        touched(code, item, |r, early| {
            let now = 2 * at + !early as usize;
            let (from, _) = lives[r].unwrap_or((now, now));
            lives[r] = Some((from, now));
        });
    }
    // What a loop reads from before it is kept until its last turn.
    for l in &code.loops {
        for (from, to) in lives.iter_mut().flatten() {
            if *from < 2 * l.start && *to > 2 * l.start {
                *to = (*to).max(2 * l.next + 1);
            }
        }
    }
    let mut order: Vec<(usize, usize, Reg)> =
        lives.iter().enumerate().filter_map(|(r, l)| l.map(|(from, to)| (from, to, r))).collect();
    order.sort_unstable();
    // Until when each place is taken.
    let mut taken: Vec<usize> = vec![];
    let mut at = vec![0; code.widths.len()];
    for (from, to, r) in order {
        let width = code.widths[r] as usize;
        let free = |start: usize| (start..start + width).all(|p| taken.get(p).is_none_or(|&until| until < from));
        let start = (0..).find(|&start| free(start)).unwrap_or(0);
        taken.resize(taken.len().max(start + width), 0);
        taken[start..start + width].fill(to);
        at[r] = start;
    }
    Places { at, count: taken.len() }
}

impl Program {
    /// Adds what a pairwise kernel has to know in front of its program; returns where.
    pub fn add_sizes(&mut self, p: &Pairwise, places: &Places, lanes: usize) -> usize {
        let at = self.words.len();
        self.words.extend(p.extents);
        for (operand, strides) in p.sides {
            self.holes.push((self.words.len(), Hole::Pointer(operand)));
            self.words.push(0);
            self.words.extend(strides.map(|s| s as u64));
        }
        self.words.push(p.combine);
        self.words.extend(p.registers.map(|r| (places.at[r] * lanes) as u64));
        // The first instruction that is run.
        self.words.push(p.registers.len() as u64);
        at
    }
}

/// The program, for registers of `lanes` elements.
pub(super) fn assemble(code: &Code, places: &Places, lanes: usize) -> Result<Program> {
    let mut out = Program { words: vec![0; 2 * code.items.len()], holes: vec![] };
    let register = |r: Reg| (places.at[r] * lanes) as u64;
    let starts = |out: &mut Program, words: &[u64]| {
        out.words.extend(words);
        out.words.len() - words.len()
    };
    let loops: Vec<usize> = code
        .loops
        .iter()
        .map(|l| {
            let wide = l.count >= 1 << 31;
            let head = l.walker as u64 | (l.axes.len() as u64) << 8 | (wide as u64) << 16;
            let mut words = vec![head, l.count, l.next as u64];
            for &(r, extent) in &l.axes {
                let (mul, shift) = if wide { (0, 0) } else { divider(extent as u32) };
                words.extend([register(r) | (shift as u64) << 16 | (mul as u64) << 32, extent]);
            }
            starts(&mut out, &words)
        })
        .collect();
    let spots: Vec<usize> = code
        .places
        .iter()
        .map(|p| {
            let (stride, len) = p.gather.map_or((0, 0), |g| (g.stride, g.len));
            let counts = p.pairs.len() as u64 | (p.guards.len() as u64) << 8 | (p.operand as u64) << 16;
            let mut words = vec![0, counts, stride as u64, len as u64];
            words.extend(p.pairs.iter().flat_map(|&(r, stride)| [register(r), stride as u64]));
            words.extend(p.guards.iter().map(|&r| register(r)));
            let at = starts(&mut out, &words);
            out.holes.push((at, Hole::Pointer(p.operand)));
            at
        })
        .collect();
    let row_end = code.loops.first().map_or(0, |l| l.next);
    for (at, item) in code.items.iter().enumerate() {
        let data = match item.data {
            Data::None => 0,
            Data::Loop(l) => loops[l],
            Data::Place(p) => spots[p],
            Data::Scalar(p) => {
                let at = starts(&mut out, &[0]);
                out.holes.push((at, Hole::Scalar(p)));
                at
            }
            Data::Fold { code, number, seen } => starts(&mut out, &[code, number, seen]),
            // The interpreter steps on from there.
            Data::Row => row_end - 1,
        };
        let [a, b, c] = item.args.map(|r| r.map_or(0, register));
        let d = item.dst.map_or(0, register);
        out.words[2 * at] = item.code as u64 | d << 16 | a << 32 | b << 48;
        out.words[2 * at + 1] = c | (item.flags as u64) << 16 | (data as u64) << 32;
    }
    let depth = code.items.iter().scan(0usize, |depth, item| {
        *depth += (item.code == Op::Loop as u16) as usize;
        *depth -= (item.code == Op::Next as u16) as usize;
        Some(*depth)
    });
    if depth.max() > Some(codes::DEPTH) {
        let detail = "too many loops within loops".into();
        return Err(Error::Internal { stage: "shipped", detail });
    }
    Ok(out)
}

/// `(mul, shift)` such that `t / n == (high32(t * mul) + t) >> shift` for every `t` below 2^31.
fn divider(n: u32) -> (u32, u32) {
    if n == 0 {
        return (0, 0);
    }
    let shift = n.next_power_of_two().trailing_zeros();
    let mul = (((1u64 << shift) - n as u64) << 32) / n as u64 + 1;
    (mul as u32, shift)
}
