//! What lanes of a warp do together: shuffles, votes, matches, reductions.

use super::bits;
use super::warp::Warp;
use crate::decode::inst::{AtomOp, NONE, ShflMode, VoteMode};

/// `rows`: destination, predicate, value, lane or distance, clamp and segment mask.
pub(super) fn shfl(w: &mut Warp, mode: ShflMode, [d, p, a, b, c]: [u32; 5], active: u32) {
    let old: [u32; 32] = std::array::from_fn(|l| w.get(a, false, l as u32) as u32);
    let mut within = 0;
    for lane in bits(active) {
        let (b, c) = (w.get(b, false, lane) as u32, w.get(c, false, lane) as u32);
        let (distance, clamp, segment) = (b & 31, c & 31, c >> 8 & 31);
        let max = (lane & segment) | (clamp & !segment);
        let (from, inside) = match mode {
            ShflMode::Up => (lane as i32 - distance as i32, lane as i32 - distance as i32 >= max as i32),
            ShflMode::Down => ((lane + distance) as i32, lane + distance <= max),
            ShflMode::Bfly => ((lane ^ distance) as i32, (lane ^ distance) <= max),
            ShflMode::Own => (lane as i32, true),
            ShflMode::Idx => {
                let from = (lane & segment) | (distance & !segment);
                (from as i32, from <= max)
            }
        };
        let from = if inside { from as usize & 31 } else { lane as usize };
        within |= (inside as u32) << lane;
        w.put(d, false, lane, old[from] as u64);
    }
    w.set_pred_of(p, active, within);
}

pub(super) fn vote(w: &mut Warp, mode: VoteMode, d: u32, p: u32, not: bool, active: u32) {
    let votes = (w.pred(p) ^ if not { !0 } else { 0 }) & active;
    let yes = match mode {
        VoteMode::Ballot => return bits(active).for_each(|l| w.put(d, false, l, votes as u64)),
        VoteMode::All => votes == active,
        VoteMode::Any => votes != 0,
        VoteMode::Uni => votes == active || votes == 0,
    };
    w.set_pred_of(d, active, if yes { !0 } else { 0 });
}

pub(super) fn matches(w: &mut Warp, all: bool, wide: bool, [d, p, a]: [u32; 3], active: u32) {
    let values: [u64; 32] = std::array::from_fn(|l| w.get(a, wide, l as u32));
    let like =
        |lane: u32| bits(active).filter(|&l| values[l as usize] == values[lane as usize]).fold(0, |m, l| m | 1 << l);
    let first = active.trailing_zeros();
    let one = like(first) == active;
    for lane in bits(active) {
        let mask = if !all {
            like(lane)
        } else if one {
            active
        } else {
            0
        };
        w.put(d, false, lane, mask as u64);
    }
    if p != NONE {
        w.set_pred_of(p, active, if one { !0 } else { 0 });
    }
}

pub(super) fn redux(w: &mut Warp, op: AtomOp, signed: bool, d: u32, a: u32, active: u32) {
    let values = bits(active).map(|l| w.get(a, false, l) as u32);
    let all = values.reduce(|x, y| match (op, signed) {
        (AtomOp::Add, _) => x.wrapping_add(y),
        (AtomOp::And, _) => x & y,
        (AtomOp::Or, _) => x | y,
        (AtomOp::Xor, _) => x ^ y,
        (AtomOp::Min, true) => (x as i32).min(y as i32) as u32,
        (AtomOp::Max, true) => (x as i32).max(y as i32) as u32,
        (AtomOp::Min, false) => x.min(y),
        _ => x.max(y),
    });
    let all = all.unwrap_or(0);
    bits(active).for_each(|l| w.put(d, false, l, all as u64));
}
