//! Fourth pass: stored values of one shape that read the same memory share a kernel.

use super::collect::Graph;
use super::jobs::Job;
use super::lower::{Draft, Place, group};
use super::store::Store;
use crate::kernel::validate::MAX_OPERANDS;

/// Plans with more kernels than this are left as they are: looking at every pair costs too much.
const MOST: usize = 64;

/// Merges pairs of kernels, first come first served, where neither needs the other through a third. Whether there were any.
pub fn kernels(store: &Store<'_>, jobs: &mut Vec<Job>) -> bool {
    let before = jobs.len();
    if !(2..=MOST).contains(&before) {
        return false;
    }
    let mut a = 0;
    while a < jobs.len() {
        let mut b = a + 1;
        while b < jobs.len() {
            match pair(store, jobs, a, b) {
                // What `a` writes is first read after `b`'s place, or `b` itself reads it in registers.
                Some(draft) => {
                    jobs[b] = Job::Kernel(Box::new(draft));
                    jobs.remove(a);
                    b = a + 1;
                }
                None => b += 1,
            }
        }
        a += 1;
    }
    jobs.len() < before
}

fn pair(store: &Store<'_>, jobs: &[Job], a: usize, b: usize) -> Option<Draft> {
    let g = store.g;
    let (Job::Kernel(x), Job::Kernel(y)) = (&jobs[a], &jobs[b]) else { return None };
    let plain = |d: &Draft| d.targets.iter().all(|t| t.place == Place::Whole && alone(jobs, t.node));
    let shape = |d: &Draft| g.nodes[d.targets[0].node].node.shape.clone();
    if !plain(x) || !plain(y) || shape(x) != shape(y) || x.targets.len() + y.targets.len() > MAX_OPERANDS / 3 {
        return None;
    }
    let own: Vec<usize> = x.targets.iter().map(|t| t.node).collect();
    let feeds = y.loads.iter().any(|l| own.contains(&l.node));
    let shared = y.loads.iter().any(|l| x.loads.iter().any(|m| m.node == l.node));
    if !feeds && !shared {
        return None;
    }
    // `a` moves to `b`'s place: nothing between may read what it writes.
    for job in &jobs[a + 1..b] {
        if reads(g, job).any(|n| own.contains(&n)) {
            return None;
        }
    }
    let nodes: Vec<usize> = x.targets.iter().chain(&y.targets).map(|t| t.node).collect();
    let d = group(store, &nodes)?;
    // A fold that walks the same memory; two folds that share one axis by chance of its length are better apart, and so are folds of two
    // matrices of pairs, or of rows and columns of one.
    let more = |of: fn(&Draft) -> usize| of(&d) > of(x).max(of(y));
    (!more(|d| d.extents.len()) && !more(|d| d.fused.len())).then_some(d)
}

fn alone(jobs: &[Job], node: usize) -> bool {
    jobs.iter().filter(|j| j.writes().contains(&node)).count() == 1
}

fn reads<'a>(g: &'a Graph, job: &'a Job) -> Box<dyn Iterator<Item = usize> + 'a> {
    match job {
        Job::Kernel(d) | Job::Select(d, _) => Box::new(d.loads.iter().map(|l| l.node)),
        Job::Product(d, p) => {
            let other = g.nodes[p.node].args[1] as usize;
            Box::new(d.loads.iter().map(|l| l.node).chain(std::iter::once(other)))
        }
        Job::Gemm(n) | Job::TopK(n) => Box::new(g.nodes[*n].args.iter().map(|&a| a as usize)),
    }
}
