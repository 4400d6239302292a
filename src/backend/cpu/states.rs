//! The states of a block of results while chunks are folded, and how the parts of a fold are joined: the same tree whether one thread
//! makes all parts in order or several make them at once.

use super::program::FoldOp;
use crate::ops::Isa;
use crate::ops::reduce::Tree;
use smallvec::SmallVec;

/// Where the states of a block's folds lie, each of one value a lane.
pub struct States {
    /// Offsets of each fold's first and second state.
    pub at: Vec<[usize; 2]>,
    /// Bytes of all.
    pub bytes: usize,
}

/// What folds whose leaves are joined in a tree have open: memory beside the states, for one thread.
pub struct Open {
    /// Offset of each fold's.
    pub at: Vec<usize>,
    /// Bytes from one row of a tile, or one node, to the next.
    pub pitch: Vec<usize>,
    /// Bytes of all.
    pub bytes: usize,
}

impl States {
    /// The states of `lanes` lanes.
    pub fn new(folds: &[FoldOp], lanes: usize) -> States {
        let mut s = States { at: vec![], bytes: 0 };
        for f in folds {
            let first = s.bytes;
            let second = first + (lanes * f.sizes[0]).next_multiple_of(64);
            s.bytes = second + (lanes * f.sizes[1]).next_multiple_of(64);
            s.at.push([first, second]);
        }
        s
    }

    /// Merges the states of `n` lanes of a part into those of the parts before it; how many values those hold then.
    ///
    /// # Safety
    /// `into` and `from` hold `n` lanes of states, the loops are the machine's.
    pub unsafe fn merge(
        &self,
        folds: &[FoldOp],
        isa: Isa,
        n: usize,
        (into, have): (*mut u8, i64),
        (from, more): (*mut u8, i64),
    ) -> i64 {
        for (fold, at) in folds.iter().zip(&self.at) {
            // SAFETY: the caller's.
            unsafe {
                let (i0, i1, f0, f1) = (into.add(at[0]), into.add(at[1]), from.add(at[0]), from.add(at[1]));
                (fold.loops.merge[isa as usize])(n, have, more, i0, i1, f0, f1);
            }
        }
        have + more
    }
}

impl Open {
    /// For `rows` rows of tiles along the folded axis that have trees of up to `leaves` leaves of `width` accumulators at once.
    pub fn rows(folds: &[FoldOp], rows: usize, leaves: usize, width: usize) -> Open {
        Open::new(folds, rows, |f| Tree::nodes(leaves) * width * f.sizes[0])
    }

    /// For trees whose accumulators are `lanes` lanes, all nodes but the first, which is the state.
    pub fn lanes(folds: &[FoldOp], leaves: usize, lanes: usize) -> Open {
        Open::new(folds, Tree::nodes(leaves) - 1, |f| lanes * f.sizes[0])
    }

    fn new(folds: &[FoldOp], count: usize, each: impl Fn(&FoldOp) -> usize) -> Open {
        let mut o = Open { at: vec![], pitch: vec![], bytes: 0 };
        for f in folds {
            o.at.push(o.bytes);
            o.pitch.push(each(f).next_multiple_of(64));
            if f.loops.tree.is_some() {
                o.bytes += count * each(f).next_multiple_of(64);
            }
        }
        o
    }
}

/// Joins parts that come in order: at most one node of 1, 2, 4, ... parts waits for another of its size.
#[derive(Default)]
pub struct Waiting {
    counts: SmallVec<[i64; 8]>,
    parts: usize,
}

impl Waiting {
    /// The place of the next part, among [`Tree::nodes`].
    pub fn top(&self) -> usize {
        self.counts.len()
    }

    /// Takes the part at [`Waiting::top`], of `count` values; `merge` merges the node at a place and that after it.
    pub fn push(&mut self, count: i64, mut merge: impl FnMut(usize, i64, i64) -> i64) {
        self.counts.push(count);
        for _ in 0..self.parts.trailing_ones() {
            self.join(&mut merge);
        }
        self.parts += 1;
    }

    /// Joins all that waits into the first place; how many values that holds.
    pub fn all(mut self, mut merge: impl FnMut(usize, i64, i64) -> i64) -> i64 {
        while self.counts.len() > 1 {
            self.join(&mut merge);
        }
        self.counts.first().copied().unwrap_or(0)
    }

    fn join(&mut self, merge: &mut impl FnMut(usize, i64, i64) -> i64) {
        if let (Some(more), Some(have)) = (self.counts.pop(), self.counts.pop()) {
            let both = merge(self.counts.len(), have, more);
            self.counts.push(both);
        }
    }
}

/// Calls `merge(into, from)` for parts `0..n` in the order in which [`Waiting`] joins them: the whole ends in part 0.
pub fn in_pairs(n: usize, mut merge: impl FnMut(usize, usize)) {
    let mut step = 1;
    while step < n {
        for into in (0..n - step).step_by(2 * step) {
            merge(into, into + step);
        }
        step *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined_in_one_tree() {
        for n in 1..200usize {
            let mut stack = vec![];
            let mut waiting = Waiting::default();
            for part in 0..n {
                assert_eq!(waiting.top(), stack.len());
                stack.push(part.to_string());
                assert!(stack.len() <= Tree::nodes(n) + usize::from(part.count_ones() as usize == Tree::nodes(n)));
                let merge = |at: usize, have, more| {
                    let last = stack.pop().unwrap();
                    assert_eq!(at + 1, stack.len());
                    stack[at] = format!("({}+{last})", stack[at]);
                    have + more
                };
                waiting.push(1, merge);
            }
            let seen = waiting.all(|at, have, more| {
                let last = stack.pop().unwrap();
                stack[at] = format!("({}+{last})", stack[at]);
                have + more
            });
            let mut parts: Vec<String> = (0..n).map(|p| p.to_string()).collect();
            in_pairs(n, |into, from| parts[into] = format!("({}+{})", parts[into], parts[from]));
            assert_eq!((seen, &stack), (n as i64, &vec![parts.swap_remove(0)]));
        }
    }
}
