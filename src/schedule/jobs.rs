//! Third pass: a job for each stored value, made by `lower`. What a kernel cannot have in it is stored, and what read that is lowered again.

use super::collect::Graph;
use super::lower::{APART, Draft, Lower, Place, Stop, Target, bug};
use super::merge;
use super::place::AMap;
use super::select::{self, Product, Selection};
use super::store::{Reason, Store};
use crate::error::{Error, Result};
use crate::graph::Op;
use crate::kernel::Id;
use crate::layout::Dims;
use smallvec::{SmallVec, smallvec};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Bytes of pairs that are not stored for being folded in two ways: they would not stay in a cache.
const LONG: usize = 8 << 20;
/// Steps of k in which a pair is made again sooner than it is written and read.
const FEW: usize = 32;

/// What a step of the plan will be.
#[derive(Debug)]
pub enum Job {
    /// A fused kernel.
    Kernel(Box<Draft>),
    /// A matrix product that stores this node.
    Gemm(usize),
    /// A selection that stores this node.
    TopK(usize),
    /// A kernel, and the selection from what it would store.
    Select(Box<Draft>, Selection),
    /// A kernel, and the product of what it would store.
    Product(Box<Draft>, Product),
}

impl Job {
    /// The nodes this job stores.
    pub fn writes(&self) -> SmallVec<[usize; 2]> {
        match self {
            Job::Kernel(d) => d.targets.iter().map(|t| t.node).collect(),
            Job::Gemm(n) | Job::TopK(n) => smallvec![*n],
            Job::Select(_, s) => s.writes().collect(),
            Job::Product(_, p) => smallvec![p.node],
        }
    }
}

/// Decides what is stored and lowers it, storing more until each kernel is legal and no fold is computed in two kernels.
/// What is `forced` is stored in any case, for the reason given; what turns out to be is so from then on.
pub fn all(g: &Graph, forced: &mut Vec<Reason>) -> Result<(Vec<Reason>, Vec<Job>)> {
    let mut lowering = Lowering::new(Store::new(g, std::mem::take(forced)));
    let jobs = lowering.run()?;
    *forced = lowering.store.forced;
    Ok((lowering.store.reasons, jobs))
}

/// What the jobs of one value are: an update has two.
type Jobs = SmallVec<[Job; 1]>;

/// The state of [`all`]. Storing one more value has only those lowered again that read it.
struct Lowering<'a> {
    store: Store<'a>,
    /// For each stored value that is lowered, its jobs.
    made: Vec<Option<Jobs>>,
    /// Those to lower, producers first; some are in it twice, or are not stored any more.
    todo: BinaryHeap<Reverse<usize>>,
    /// The last round that met a node.
    met: Vec<usize>,
    round: usize,
}

impl<'a> Lowering<'a> {
    fn new(store: Store<'a>) -> Self {
        let n = store.stored.len();
        let todo = (0..n).filter(|&i| store.stored[i]).map(Reverse).collect();
        Lowering { store, made: (0..n).map(|_| None).collect(), todo, met: vec![0; n], round: 0 }
    }

    fn run(&mut self) -> Result<Vec<Job>> {
        let g = self.store.g;
        loop {
            while let Some(Reverse(i)) = self.todo.pop() {
                if !self.store.stored[i] || self.made[i].is_some() {
                    continue;
                }
                match attempt(&self.store, i) {
                    Ok(jobs) => self.made[i] = Some(jobs),
                    Err(Stop::Store(node, why)) => {
                        self.todo.push(Reverse(i));
                        self.store_too(node, why)?;
                    }
                    Err(Stop::Fail(e)) => return Err(g.nodes[i].node.located(e)),
                    Err(Stop::Limit) => return Err(self.stuck(i)),
                }
            }
            let counts: Vec<usize> = self.made.iter().map(|jobs| jobs.as_ref().map_or(0, SmallVec::len)).collect();
            let mut jobs: Vec<Job> = self.made.iter_mut().filter_map(Option::take).flatten().collect();
            let merged = merge::kernels(&self.store, &mut jobs);
            let Some(node) = shared_fold(g, &jobs) else { return Ok(jobs) };
            let mut jobs = jobs.into_iter();
            for (i, n) in counts.into_iter().enumerate().filter(|&(i, _)| self.store.stored[i]) {
                // What was merged is made again: there is not much of it.
                match merged {
                    true => self.todo.push(Reverse(i)),
                    false => self.made[i] = Some(jobs.by_ref().take(n).collect()),
                }
            }
            self.store_too(node, "two kernels read it")?;
        }
    }

    /// Stores one more value. What read it, or anything else that is stored now or no longer, is lowered again.
    fn store_too(&mut self, node: usize, why: &'static str) -> Result<()> {
        let Some(mut up) = self.store.force(node, why) else { return Err(self.stuck(node)) };
        self.round += 1;
        for &i in &up {
            self.made[i] = None;
            self.todo.push(Reverse(i));
        }
        while let Some(i) = up.pop() {
            for &(reader, _) in &self.store.readers[i] {
                if std::mem::replace(&mut self.met[reader], self.round) == self.round {
                    continue;
                }
                if self.store.stored[reader] {
                    self.made[reader] = None;
                    self.todo.push(Reverse(reader));
                } else {
                    up.push(reader);
                }
            }
        }
        Ok(())
    }

    /// A defect: storing more does not help.
    fn stuck(&self, i: usize) -> Error {
        let node = &self.store.g.nodes[i].node;
        let what = self.store.g.op(i).map_or("a leaf".into(), crate::graph::show::name);
        let detail = format!("no kernel has {what} of {} {:?} in it or reads it", node.dtype, &node.shape[..]);
        node.located(Error::Internal { stage: "lower", detail })
    }
}

/// A fold that two kernels make and one of them should read, if there is one.
fn shared_fold(g: &Graph, jobs: &[Job]) -> Option<usize> {
    let draft = |j| match j {
        &Job::Kernel(ref d) | &Job::Select(ref d, _) | &Job::Product(ref d, _) => Some(&**d),
        Job::Gemm(_) | Job::TopK(_) => None,
    };
    let drafts: Vec<Option<&Draft>> = jobs.iter().map(draft).collect();
    let mut owners: Vec<SmallVec<[usize; 2]>> = vec![SmallVec::new(); g.nodes.len()];
    for (j, d) in drafts.iter().enumerate() {
        for &n in d.iter().flat_map(|d| &d.inlined) {
            if !matches!(g.op(n), Some(Op::Reduce { .. } | Op::Dot)) || owners[n].last() == Some(&j) {
                continue;
            }
            owners[n].push(j);
            match owners[n][..] {
                [_] => {}
                [a, b] if twice(g, n, [&jobs[a], &jobs[b]]) => {}
                [a, b] => return Some(selected(&jobs[a], &jobs[b]).unwrap_or(n)),
                _ => return Some(n),
            }
        }
    }
    None
}

/// The value that two selections both select from.
fn selected(a: &Job, b: &Job) -> Option<usize> {
    let (Job::Select(a, _), Job::Select(b, _)) = (a, b) else { return None };
    let (a, b) = (a.targets[0].node, b.targets[0].node);
    (a == b).then_some(a)
}

/// Whether two kernels that fold what fold `n` gives, or select from it, each make it, a tile at a time, rather than read it: where it is long, so
/// that nothing of its size is ever in memory, and where it is made in fewer steps than it takes to write and read it. So are the norms beside
/// a product.
fn twice(g: &Graph, n: usize, jobs: [&Job; 2]) -> bool {
    let bytes = g.size(n).saturating_mul(g.nodes[n].node.dtype.size());
    let count = |d: &Draft, axes: &[u8]| -> usize { axes.iter().map(|&a| d.extents[a as usize]).product() };
    let steps = |job: &Job| match job {
        Job::Select(d, _) if d.deep.is_empty() => Some(count(d, &d.folded)),
        Job::Kernel(d) if !d.deep.is_empty() && d.fused.contains(&n) => Some(count(d, &d.deep)),
        _ => None,
    };
    let norm = |job: &Job| match job {
        Job::Kernel(d) | Job::Select(d, _) => {
            let tiles = matches!(job, Job::Select(..)) || !d.deep.is_empty();
            tiles && d.norms.iter().any(|norm| norm.0 == n)
        }
        _ => false,
    };
    let long = |steps: Option<usize>| steps.is_some_and(|k| bytes > LONG || k <= FEW);
    jobs.into_iter().all(norm) || jobs.into_iter().all(|job| long(steps(job)))
}

/// The jobs that store node `i`.
fn attempt(store: &Store<'_>, i: usize) -> Result<Jobs, Stop> {
    let (g, stored) = (store.g, &store.stored);
    let p = &g.nodes[i];
    let Some(expr) = &p.expr else { return Ok(Jobs::new()) };
    Ok(match expr.op {
        Op::Dot if stored[p.args[0] as usize] => smallvec![Job::Gemm(i)],
        Op::Dot => {
            let v = p.args[0] as usize;
            let draft = unstored(store, v)?;
            let product = select::product(g, &store.readers[v]).ok_or(Stop::Store(v, APART))?;
            smallvec![Job::Product(draft, product)]
        }
        Op::TopK { .. } if stored[p.args[0] as usize] => smallvec![Job::TopK(i)],
        Op::TopK { .. } => {
            let v = p.args[0] as usize;
            let draft = unstored(store, v)?;
            let mut all = select::all(g, &store.readers[v]).into_iter().flatten();
            let selection = all.find(|s| s.node == i).ok_or(Stop::Store(v, APART))?;
            smallvec![Job::Select(draft, selection)]
        }
        // A selection writes it.
        Op::Gather(_) if !stored[p.args[0] as usize] => Jobs::new(),
        Op::Reshape => {
            let shape: Dims = expr.args[0].shape().into();
            smallvec![one(store, i, &shape, |l, map| l.edge(i, 0, map), Place::COrder)?]
        }
        Op::Update => {
            let Some(region) = expr.region.as_deref().cloned() else { return Err(bug("update of no region")) };
            let shape = region.shape.clone();
            smallvec![
                one(store, i, &p.node.shape, |l, map| l.edge(i, 0, map), Place::Whole)?,
                one(store, i, &shape, |l, map| l.edge(i, 1, map), Place::Region(region))?
            ]
        }
        _ => smallvec![one(store, i, &p.node.shape, |l, map| l.compute(i, map), Place::Whole)?],
    })
}

/// The kernel that would store `v`, for a step that takes what it makes as it is made.
fn unstored(store: &Store<'_>, v: usize) -> Result<Box<Draft>, Stop> {
    match one(store, v, &store.g.nodes[v].node.shape, |l, map| l.compute(v, map), Place::Whole)? {
        Job::Kernel(draft) => Ok(draft),
        _ => Err(Stop::Store(v, APART)),
    }
}

fn one(
    store: &Store<'_>,
    node: usize,
    shape: &[usize],
    body: impl Fn(&mut Lower<'_>, &AMap) -> Result<Id, Stop>,
    place: Place,
) -> Result<Job, Stop> {
    let mut l = Lower::new(store, &[], &[node]);
    let map = l.open(shape);
    match body(&mut l, &map) {
        Ok(value) => match l.misfit() {
            Some(fold) => Err(Stop::Store(fold, APART)),
            None => {
                l.d.targets.push(Target { node, value, place });
                if l.d.fits() { Ok(Job::Kernel(Box::new(l.d))) } else { Err(l.cut(node)) }
            }
        },
        Err(Stop::Limit) => Err(l.cut(node)),
        Err(e) => Err(e),
    }
}
