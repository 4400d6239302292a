//! A node of the graph, and the handle on one.

use crate::buffer::Buffer;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::hash::Fast;
use crate::layout::{Dims, Layout, Taken, View};
use crate::ops::OpRef;
use crate::ops::reduce::ReducerRef;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Which device a node's value lives on; equal for handles of one device only.
pub type DeviceId = u32;

/// What a node computes from its arguments' views (all of the node's own shape, unless said).
#[derive(Clone, Copy, Debug)]
pub enum Op {
    /// One value, given by its bits. Rank 0.
    Scalar(u64),
    /// The index along `axis`, as i64.
    Iota {
        /// The axis.
        axis: u8,
    },
    /// A row of the op table, elementwise.
    Map(OpRef),
    /// Conversion to the node's dtype.
    Cast,
    /// A fold over the axes in `axes` (a bit each) of an argument that has them.
    Reduce {
        /// The reducer.
        reducer: ReducerRef,
        /// The axes that go.
        axes: u32,
    },
    /// `(.., m, k) x (.., k, n)`, both of the node's batch shape.
    Dot,
    /// The argument's elements in C order, with another shape.
    Reshape,
    /// The first argument with the second written over `at + step * index` of each axis.
    Update,
    /// The first argument at the second argument's indices along an axis; all other axes as they are.
    Gather(Taken),
    /// Where along its last axis the argument has its smallest (or largest) elements, in order: as many as the node has.
    TopK {
        /// The largest ones.
        largest: bool,
    },
}

/// An operation and what it works on.
pub struct Expr {
    /// The operation.
    pub op: Op,
    /// Its arguments.
    pub args: SmallVec<[Value; 3]>,
    /// `Update` only: the region written, as a view of the node.
    pub region: Option<Box<View>>,
}

/// A value in memory.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Where.
    pub buffer: Buffer,
    /// How it lies there.
    pub layout: Layout,
}

/// One operation of the graph: its expression never changes, its value is set once, and then the expression goes.
pub struct Node {
    /// The device it is computed on.
    pub device: DeviceId,
    /// Type of its elements.
    pub dtype: DType,
    /// Its shape.
    pub shape: Dims,
    /// Pending operations on the longest path below it, itself included, when that was last looked at: since then it may have
    /// become less. 0 where the value was there from the start.
    depth: AtomicU32,
    /// Where the user's program recorded it.
    pub at: &'static Location<'static>,
    value: OnceLock<Result<Stored>>,
    expr: Mutex<Option<Arc<Expr>>>,
    computed: AtomicBool,
}

impl Node {
    /// A pending operation.
    pub fn pending(
        device: DeviceId,
        dtype: DType,
        shape: Dims,
        expr: Expr,
        at: &'static Location<'static>,
    ) -> Arc<Node> {
        let depth = 1 + expr.args.iter().map(|v| v.node.pending_depth()).max().unwrap_or(0);
        Arc::new(Node {
            device,
            dtype,
            shape,
            depth: depth.into(),
            at,
            value: OnceLock::new(),
            expr: Mutex::new(Some(Arc::new(expr))),
            computed: AtomicBool::new(false),
        })
    }

    /// A value that is there.
    pub fn stored(device: DeviceId, dtype: DType, stored: Stored, at: &'static Location<'static>) -> Arc<Node> {
        Arc::new(Node {
            device,
            dtype,
            shape: stored.layout.shape.clone(),
            depth: 0.into(),
            at,
            value: OnceLock::from(Ok(stored)),
            expr: Mutex::new(None),
            computed: AtomicBool::new(false),
        })
    }

    /// The value, once there is one (or the error it ended in).
    pub fn value(&self) -> Option<&Result<Stored>> {
        self.value.get()
    }

    /// The expression, while the value is not there.
    pub fn expr(&self) -> Option<Arc<Expr>> {
        self.lock().clone()
    }

    /// Sets the value, unless another thread did, and lets the expression go.
    pub fn set(&self, value: Result<Stored>) {
        let _ = self.value.set(value);
        let expr = self.lock().take();
        drop(expr);
    }

    /// Pending operations on the longest path below it, itself included, at most; 0 once the value is there.
    pub fn pending_depth(&self) -> u32 {
        if self.value.get().is_some() { 0 } else { self.depth.load(Ordering::Relaxed) }
    }

    /// As [`pending_depth`](Self::pending_depth) exactly, as it is now: it looks at all that is pending below.
    pub fn current_depth(self: &Arc<Node>) -> u32 {
        // A node, its expression, the argument that is next, the depth below.
        type Entry = (Arc<Node>, Option<Arc<Expr>>, usize, u32);
        let enter =
            |node: &Arc<Node>| -> Entry { (node.clone(), node.expr().filter(|_| node.value().is_none()), 0, 0) };
        let mut stack = vec![enter(self)];
        let mut seen: HashSet<*const Node, Fast> = HashSet::default();
        loop {
            let Some((node, expr, next, below)) = stack.last_mut() else { return 0 };
            if let Some(arg) = expr.as_ref().and_then(|e| e.args.get(*next)) {
                if seen.contains(&Arc::as_ptr(&arg.node)) {
                    (*next, *below) = (*next + 1, (*below).max(arg.node.pending_depth()));
                } else {
                    let entry = enter(&arg.node);
                    stack.push(entry);
                }
                continue;
            }
            if expr.is_some() {
                node.depth.store(1 + *below, Ordering::Relaxed);
            }
            seen.insert(Arc::as_ptr(node));
            if stack.len() == 1 {
                return self.pending_depth();
            }
            stack.pop();
        }
    }

    /// Whether an earlier evaluation computed this value without storing it.
    pub fn was_computed(&self) -> bool {
        self.computed.load(Ordering::Relaxed)
    }

    /// Notes that an evaluation computed this value without storing it.
    pub fn note_computed(&self) {
        self.computed.store(true, Ordering::Relaxed);
    }

    /// An error, with the place that recorded this node.
    pub fn located(&self, e: Error) -> Error {
        match e {
            Error::At { .. } => e,
            e => Error::At { source: Box::new(e), at: format!("{}:{}", self.at.file(), self.at.line()) },
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Expr>>> {
        self.expr.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Graphs are deep (a loop of 100,000 additions): they are taken down with a stack of our own, not the thread's.
impl Drop for Expr {
    fn drop(&mut self) {
        if self.args.iter().all(|v| v.node.depth.load(Ordering::Relaxed) <= 1) {
            return;
        }
        let mut nodes: Vec<Arc<Node>> = self.args.drain(..).map(|v| v.node).collect();
        while let Some(node) = nodes.pop() {
            let Some(mut node) = Arc::into_inner(node) else { continue };
            let expr = node.expr.get_mut().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(mut expr) = expr.and_then(Arc::into_inner) {
                nodes.extend(expr.args.drain(..).map(|v| v.node));
            }
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.dtype, &self.shape[..])
    }
}

/// A view of a node's value: what an array handle holds. Most are the whole value, which takes no room.
#[derive(Clone, Debug)]
pub struct Value {
    /// The node.
    pub node: Arc<Node>,
    /// The part of it; `None` for all.
    part: Option<Arc<View>>,
}

impl Value {
    /// All of a node.
    pub fn whole(node: Arc<Node>) -> Value {
        Value { node, part: None }
    }

    /// The shape of the view.
    pub fn shape(&self) -> &[usize] {
        match &self.part {
            Some(v) => &v.shape,
            None => &self.node.shape,
        }
    }

    /// The view itself.
    pub fn view(&self) -> Cow<'_, View> {
        match &self.part {
            Some(v) => Cow::Borrowed(v),
            None => Cow::Owned(View::identity(&self.node.shape)),
        }
    }

    /// The view, where it is not the whole value.
    pub fn part(&self) -> Option<&View> {
        self.part.as_deref()
    }

    /// The type of the elements.
    pub fn dtype(&self) -> DType {
        self.node.dtype
    }

    /// The same node through another view of it.
    pub fn with(&self, view: View) -> Value {
        let whole = view.shape == self.node.shape && view.is_identity();
        Value { node: self.node.clone(), part: (!whole).then(|| Arc::new(view)) }
    }

    /// Where the elements lie, once the value is there.
    pub fn stored(&self) -> Option<Result<Stored>> {
        self.node.value().map(|r| match (r, &self.part) {
            (Ok(s), Some(v)) => Ok(Stored { buffer: s.buffer.clone(), layout: s.layout.view(v) }),
            (Ok(s), None) => Ok(s.clone()),
            (Err(e), _) => Err(e.clone()),
        })
    }
}
