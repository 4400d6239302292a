//! The driver's state: devices, the tables behind its handles, and each thread's stack of contexts.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::thread::ThreadId;

use crate::abi::lock;
use crate::code::Code;
use crate::config::Config;
use crate::event::Event;
use crate::gpu::Gpu;
use crate::inject;
use crate::memory::{Allocation, Pinned};
use crate::module::{Function, Image};
use crate::pool::Pool;
use crate::stream::{Kind, Stream};

/// Everything that `cuInit` makes.
pub struct Driver {
    pub config: Config,
    pub gpus: Vec<Arc<Gpu>>,
    tables: Mutex<Tables>,
    /// Numbers the pieces of work of all streams in the order in which they were given.
    pub clock: AtomicU64,
}

/// What each live handle stands for. A handle is never used twice, so a stale one is known as such.
#[derive(Default)]
pub struct Tables {
    pub contexts: HashMap<usize, Arc<Context>>,
    pub streams: HashMap<usize, Arc<Stream>>,
    pub events: HashMap<usize, Arc<Event>>,
    pub modules: HashMap<usize, Arc<Image>>,
    pub functions: HashMap<usize, Arc<Function>>,
    pub pools: HashMap<usize, Arc<Pool>>,
    /// Device memory by its address; memory whose free is under way is not in it.
    pub allocations: BTreeMap<u64, Allocation>,
    /// Page-locked host memory by its address.
    pub pinned: BTreeMap<usize, Pinned>,
    last: usize,
}

/// A context: primary ones keep their handle over their device's whole life.
pub struct Context {
    pub handle: usize,
    pub gpu: Arc<Gpu>,
    /// Retains of a primary context.
    pub retained: AtomicU32,
    pub flags: AtomicU32,
    pub cache: AtomicI32,
    /// The error after which nothing works until the context is destroyed; 0 is none.
    sticky: AtomicI32,
    /// The legacy default stream.
    pub null: Arc<Stream>,
    /// The default streams of the threads that asked for theirs.
    per_thread: Mutex<HashMap<ThreadId, Arc<Stream>>>,
    pub limits: Mutex<HashMap<i32, usize>>,
}

static DRIVER: OnceLock<Driver> = OnceLock::new();

thread_local! {
    static STACK: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// The driver, once `cuInit` was called.
pub fn driver() -> Result<&'static Driver, Code> {
    DRIVER.get().ok_or(Code::NOT_INITIALIZED)
}

/// `cuInit`.
pub fn init() -> Result<(), Code> {
    if DRIVER.get().is_none() {
        let config = Config::read();
        if config.devices == 0 {
            return Err(Code::NO_DEVICE);
        }
        let gpus = (0..config.devices).map(|i| Arc::new(Gpu::new(i, &config))).collect();
        // Another thread may have been first: its driver stays.
        let _ = DRIVER.set(Driver { config, gpus, tables: Mutex::default(), clock: AtomicU64::new(1) });
    }
    Ok(())
}

/// Locks the tables behind the handles. Nothing may run on a device while they are locked.
pub fn tables() -> Result<MutexGuard<'static, Tables>, Code> {
    Ok(lock(&driver()?.tables))
}

impl Tables {
    /// A handle that was never used.
    pub fn handle(&mut self) -> usize {
        self.last += 1;
        0x50F7_0000_0000 + self.last * 64
    }
}

impl Driver {
    /// The device of an ordinal.
    pub fn gpu(&self, ordinal: i32) -> Result<&Arc<Gpu>, Code> {
        usize::try_from(ordinal).ok().and_then(|i| self.gpus.get(i)).ok_or(Code::INVALID_DEVICE)
    }

    /// The next number of a piece of work.
    pub fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }
}

impl Context {
    /// A context on a device, with its default stream.
    pub fn new(handle: usize, gpu: Arc<Gpu>, flags: u32) -> Arc<Context> {
        Arc::new_cyclic(|me| Context {
            handle,
            gpu,
            retained: AtomicU32::new(0),
            flags: AtomicU32::new(flags),
            cache: AtomicI32::new(0),
            sticky: AtomicI32::new(0),
            null: Arc::new(Stream::new(0, me.clone(), Kind::Legacy, 0)),
            per_thread: Mutex::default(),
            limits: Mutex::default(),
        })
    }

    /// The calling thread's own default stream.
    pub fn per_thread(self: &Arc<Self>) -> Arc<Stream> {
        let make = || Arc::new(Stream::new(2, Arc::downgrade(self), Kind::Blocking, 0));
        lock(&self.per_thread).entry(std::thread::current().id()).or_insert_with(make).clone()
    }

    /// The streams that have no handle of their own.
    pub fn default_streams(&self) -> Vec<Arc<Stream>> {
        let mut all = vec![self.null.clone()];
        all.extend(lock(&self.per_thread).values().cloned());
        all
    }

    /// Fails from now on: what a kernel did cannot be undone.
    pub fn fail(&self, code: Code) {
        let _ = self.sticky.compare_exchange(0, code.0, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// The error that the context has, if any.
    pub fn check(&self) -> Result<(), Code> {
        inject::check_lost()?;
        match self.sticky.load(Ordering::SeqCst) {
            0 => Ok(()),
            code => Err(Code(code)),
        }
    }
}

/// The handle of the calling thread's current context; 0 is none.
pub fn current_handle() -> usize {
    STACK.with_borrow(|s| s.last().copied().unwrap_or(0))
}

/// Makes a context the current one in place of the one on top of the stack; 0 takes that one off.
pub fn set_current(handle: usize) {
    STACK.with_borrow_mut(|s| {
        s.pop();
        if handle != 0 {
            s.push(handle);
        }
    });
}

/// Puts a context on the calling thread's stack.
pub fn push(handle: usize) {
    STACK.with_borrow_mut(|s| s.push(handle));
}

/// Takes the top off the calling thread's stack.
pub fn pop() -> Option<usize> {
    STACK.with_borrow_mut(Vec::pop)
}

/// The current context, whatever state it is in.
pub fn current_unchecked() -> Result<Arc<Context>, Code> {
    driver()?;
    match current_handle() {
        0 => Err(Code::INVALID_CONTEXT),
        handle => tables()?.contexts.get(&handle).cloned().ok_or(Code::CONTEXT_IS_DESTROYED),
    }
}

/// The current context, which has to be in order.
pub fn current() -> Result<Arc<Context>, Code> {
    let context = current_unchecked()?;
    context.check()?;
    Ok(context)
}
