//! Making a failing program small: steps become leaves of their values, unused ones go, marks are taken off.

use super::program::{Lay, Op, Program};
use crate::naive::Arr;

/// The smallest program found that still fails, and how: `fails` tells, of a program that has values.
pub fn shrink<V>(
    p: &Program,
    why: &str,
    values: impl Fn(&Program) -> Option<Vec<V>>,
    read: impl Fn(&V) -> Arr,
    fails: impl Fn(&Program, &[V]) -> Result<(), String>,
) -> (Program, String) {
    let mut best = (p.clone(), why.to_string());
    let mut budget = 3000;
    loop {
        let before = best.0.steps.len();
        let mut changed = false;
        let now = values(&best.0).map(|v| v.iter().map(&read).collect::<Vec<_>>());
        for candidate in candidates(&best.0, now) {
            if budget == 0 {
                return best;
            }
            budget -= 1;
            let Some(want) = values(&candidate) else { continue };
            if let Err(e) = fails(&candidate, &want)
                && kind(&e) == kind(why)
            {
                changed = true;
                best = (candidate, e);
                break;
            }
        }
        if !changed && best.0.steps.len() == before {
            return best;
        }
    }
}

/// A failure without its numbers: one bug must not shrink into another.
fn kind(why: &str) -> String {
    let what = why.rsplit_once(" differ;").map_or(why, |_| "values differ");
    let what = what.trim_start_matches("second reading: ");
    let what = what.split_once(": ").map_or(what, |p| p.1).trim_start_matches("error: ");
    what.chars().filter(|c| !c.is_ascii_digit()).take(60).collect()
}

fn candidates(p: &Program, values: Option<Vec<Arr>>) -> Vec<Program> {
    let mut out = vec![];
    let n = p.steps.len();
    // Only what some step needs.
    for i in (0..n).rev() {
        let mut q = p.clone();
        q.steps.truncate(i + 1);
        let q = q.only(&[i]).0;
        if q.steps.len() < n {
            out.push(q);
        }
    }
    // Without one of the results.
    let used: Vec<bool> = (0..n).map(|i| p.steps.iter().any(|s| s.args.contains(&i))).collect();
    for i in (0..n).filter(|&i| !used[i]) {
        let keep: Vec<usize> = (0..n).filter(|&j| j != i && (!used[j] || p.steps[j].held)).collect();
        if !keep.is_empty() {
            out.push(p.only(&keep).0);
        }
    }
    if let Some(values) = values {
        #[allow(clippy::needless_range_loop)]
        for i in 0..n {
            if !p.steps[i].args.is_empty() {
                let mut q = p.clone();
                q.steps[i].op = Op::Leaf(values[i].clone(), Lay::Copied);
                q.steps[i].args.clear();
                let keep: Vec<usize> = (0..n).filter(|&j| !used[j] || p.steps[j].held).collect();
                out.push(q.only(&keep).0);
            }
        }
        // A step replaced by an operand of the same shape and type.
        for i in 0..n {
            for &a in &p.steps[i].args {
                if values[a].shape == values[i].shape && values[a].dtype == values[i].dtype {
                    let mut q = p.clone();
                    q.steps.iter_mut().for_each(|s| s.args.iter_mut().filter(|x| **x == i).for_each(|x| *x = a));
                    let keep: Vec<usize> = (0..n).filter(|&j| j != i && (!used[j] || p.steps[j].held)).collect();
                    let keep = if keep.is_empty() { vec![a] } else { keep };
                    out.push(q.only(&keep).0);
                }
            }
        }
    }
    for i in 0..n {
        for held in [true, false] {
            let on = if held { p.steps[i].held } else { p.steps[i].eager };
            if on {
                let mut q = p.clone();
                if held {
                    q.steps[i].held = false
                } else {
                    q.steps[i].eager = false
                }
                out.push(q);
            }
        }
        if let Op::Leaf(a, lay) = &p.steps[i].op {
            if *lay != Lay::Copied {
                let mut q = p.clone();
                q.steps[i].op = Op::Leaf(a.clone(), Lay::Copied);
                out.push(q);
            }
            if a.data.iter().any(|&x| x != 0.0 && x != 1.0) {
                let mut q = p.clone();
                let mut b = a.clone();
                b.data.iter_mut().for_each(|x| *x = f64::from(u8::from(*x != 0.0)));
                q.steps[i].op = Op::Leaf(b, *lay);
                out.push(q);
            }
        }
    }
    for (on, f) in [(p.together, (|q| q.together = false) as fn(&mut Program)), (p.backwards, |q| q.backwards = false)]
    {
        if on {
            let mut q = p.clone();
            f(&mut q);
            out.push(q);
        }
    }
    out
}
