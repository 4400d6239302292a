//! Streams: work is run inside the call that gives it, or waits in its stream until something synchronizes.
//!
//! Deferred work is run in the order that the driver API promises and no other: a stream runs when someone waits for it, and before that
//! only what it waits for itself. So a program that forgot an event or a synchronization reads memory that is not written yet.

use std::collections::VecDeque;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, Weak};

use crate::abi::{Host, Out, entry, lock};
use crate::code::{Code, Outcome};
use crate::driver::{Context, current, driver, tables};
use crate::event::Event;
use crate::gpu::Gpu;
use crate::launch::Launch;
use crate::module::Image;
use crate::record::{self, Account};

/// How a stream stands to the legacy default stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// It is that stream: it waits for all blocking streams, and they for it.
    Legacy,
    Blocking,
    NonBlocking,
}

/// A stream and the work that it has not run yet.
pub struct Stream {
    pub handle: usize,
    pub context: Weak<Context>,
    pub kind: Kind,
    pub priority: i32,
    queue: Mutex<VecDeque<Queued>>,
}

/// What a copy to the device reads.
pub enum Source {
    /// Pageable memory is copied before the call returns.
    Staged(Vec<u8>),
    /// Page-locked memory is read when the copy runs.
    Pinned(Host, usize),
}

/// A C function of another library that works on device memory in stream order.
pub type DeviceFn = extern "C" fn(access: *const crate::gpu::Access, data: *mut c_void) -> i32;

/// A piece of work of a stream.
pub enum Work {
    Launch(Box<Launch>),
    Upload { to: u64, from: Source },
    Download { to: Host, from: u64, len: usize },
    Copy { to: (Arc<Gpu>, u64), from: (Arc<Gpu>, u64), len: usize },
    Fill { to: u64, pattern: [u8; 4], width: usize, count: usize },
    Free(u64),
    Record(Arc<Event>),
    Wait { stream: Arc<Stream>, seq: u64 },
    Call { function: extern "C" fn(Host), data: Host },
    Device { function: DeviceFn, data: Host },
}

struct Queued {
    seq: u64,
    context: Arc<Context>,
    account: Arc<Account>,
    work: Work,
}

/// Held by the thread that runs deferred work.
static RUNNER: Mutex<()> = Mutex::new(());

impl Stream {
    /// A stream with nothing to do.
    pub fn new(handle: usize, context: Weak<Context>, kind: Kind, priority: i32) -> Stream {
        Stream { handle, context, kind, priority, queue: Mutex::default() }
    }

    /// Its context.
    pub fn context(&self) -> Result<Arc<Context>, Code> {
        self.context.upgrade().ok_or(Code::CONTEXT_IS_DESTROYED)
    }

    /// Whether all of its work was run.
    pub fn is_idle(&self) -> bool {
        lock(&self.queue).is_empty()
    }
}

/// A stream by its handle: 0 and 1 are the legacy default stream of the current context, 2 the calling thread's.
pub fn stream(handle: usize) -> Result<Arc<Stream>, Code> {
    let context = current()?;
    match handle {
        0 | 1 => Ok(context.null.clone()),
        2 => Ok(context.per_thread()),
        _ => {
            let stream = tables()?.streams.get(&handle).cloned().ok_or(Code::INVALID_HANDLE)?;
            stream.context()?.check()?;
            Ok(stream)
        }
    }
}

/// A stream with its context: copies and records may go to one of another context than the current one.
pub fn stream_anywhere(handle: usize) -> Result<(Arc<Context>, Arc<Stream>), Code> {
    let stream = stream(handle)?;
    Ok((stream.context()?, stream))
}

/// A stream for what has to be of the current context: launches, allocations.
pub fn stream_here(handle: usize) -> Result<(Arc<Context>, Arc<Stream>), Code> {
    let (context, stream) = (current()?, stream(handle)?);
    if std::ptr::eq(stream.context.as_ptr(), Arc::as_ptr(&context)) {
        Ok((context, stream))
    } else {
        Err(Code::INVALID_HANDLE)
    }
}

/// Gives a stream work, and runs it unless work is deferred. The number is the work's place in time.
pub fn submit(stream: &Arc<Stream>, context: &Arc<Context>, work: Work) -> Result<u64, Code> {
    let driver = driver()?;
    let account = record::account();
    let item = |seq| Queued { seq, context: context.clone(), account, work };
    if driver.config.defer {
        let mut queue = lock(&stream.queue);
        let seq = driver.tick();
        queue.push_back(item(seq));
        Ok(seq)
    } else {
        let seq = driver.tick();
        execute(item(seq));
        Ok(seq)
    }
}

/// Runs a stream's work up to a place in time, the place excluded.
pub fn drain(stream: &Arc<Stream>, before: u64) -> Outcome {
    if driver()?.config.defer {
        let _runner = lock(&RUNNER);
        run_until(stream, before);
    }
    Ok(())
}

/// Runs all work of a context, its streams in an order that the seed picks.
pub fn drain_context(context: &Arc<Context>) -> Outcome {
    let driver = driver()?;
    if !driver.config.defer {
        return Ok(());
    }
    let mut all: Vec<Arc<Stream>> = tables()?.streams.values().filter(|s| of(s, context)).cloned().collect();
    // The youngest first: nothing promises that streams run in the order in which they were made.
    all.sort_by_key(|s| std::cmp::Reverse(s.handle));
    all.extend(context.default_streams());
    let turn = driver.config.seed as usize % all.len();
    all.rotate_left(turn);
    let _runner = lock(&RUNNER);
    all.iter().for_each(|s| run_until(s, u64::MAX));
    Ok(())
}

/// Whether a kernel of a module is still to run.
pub fn has_queued(context: &Arc<Context>, image: &Arc<Image>) -> Result<bool, Code> {
    let mut all: Vec<Arc<Stream>> = tables()?.streams.values().filter(|s| of(s, context)).cloned().collect();
    all.extend(context.default_streams());
    let of_it = |q: &Queued| matches!(&q.work, Work::Launch(l) if Arc::ptr_eq(&l.function.image, image));
    Ok(all.iter().any(|s| lock(&s.queue).iter().any(of_it)))
}

fn of(stream: &Stream, context: &Arc<Context>) -> bool {
    std::ptr::eq(stream.context.as_ptr(), Arc::as_ptr(context))
}

fn run_until(stream: &Arc<Stream>, before: u64) {
    loop {
        let item = {
            let mut queue = lock(&stream.queue);
            match queue.front() {
                Some(item) if item.seq < before => queue.pop_front(),
                _ => None,
            }
        };
        let Some(item) = item else { return };
        // Every wait reaches back in time only, so this ends.
        match stream.kind {
            Kind::Legacy => {
                let mut others: Vec<_> = match tables() {
                    Ok(tables) => tables.streams.values().filter(|s| of(s, &item.context)).cloned().collect(),
                    Err(_) => Vec::new(),
                };
                others.extend(item.context.default_streams());
                others.retain(|s| s.kind == Kind::Blocking);
                others.iter().for_each(|s| run_until(s, item.seq));
            }
            Kind::Blocking => run_until(&item.context.null, item.seq),
            Kind::NonBlocking => {}
        }
        if let Work::Wait { stream, seq } = &item.work {
            run_until(stream, seq + 1);
        }
        execute(item);
    }
}

fn execute(item: Queued) {
    let Queued { seq, context, account, work } = item;
    if let Work::Record(event) = &work {
        return event.reached(seq);
    }
    // After an error nothing runs in a context any more.
    if context.check().is_err() {
        if let Work::Device { function, data } = work {
            function(std::ptr::null(), data.0);
        }
        return;
    }
    let gpu = &context.gpu;
    let outcome = match work {
        Work::Launch(launch) => launch.run(gpu, &account),
        Work::Upload { to, from: Source::Staged(bytes) } => gpu.write(to, &bytes),
        Work::Upload { to, from: Source::Pinned(host, len) } => gpu.write(to, &host.read(len)),
        Work::Download { to, from, len } => gpu.read(from, len).map(|bytes| to.write(&bytes)),
        Work::Copy { to, from, len } => crate::gpu::copy(&to, &from, len),
        Work::Fill { to, pattern, width, count } => gpu.fill(to, &pattern[..width], count),
        Work::Free(address) => {
            gpu.free(address);
            Ok(())
        }
        Work::Call { function, data } => {
            function(data);
            Ok(())
        }
        Work::Device { function, data } => gpu.lend(function, data),
        Work::Record(_) | Work::Wait { .. } => Ok(()),
    };
    if let Err(code) = outcome {
        context.fail(code);
    }
}

entry! {
    fn cuStreamCreate(out: Out<usize>, flags: u32) {
        crate::abi::code(cuStreamCreateWithPriority(out, flags, 0))
    }

    fn cuStreamCreateWithPriority(out: Out<usize>, flags: u32, priority: i32) {
        let context = current()?;
        out.check()?;
        let kind = match flags {
            0 => Kind::Blocking,
            1 => Kind::NonBlocking,
            _ => return Err(Code::INVALID_VALUE),
        };
        let mut tables = tables()?;
        let handle = tables.handle();
        // Priorities outside of the range are clamped to it, as the driver's manual says.
        let stream = Stream::new(handle, Arc::downgrade(&context), kind, priority.clamp(-5, 0));
        tables.streams.insert(handle, Arc::new(stream));
        out.set(handle)
    }

    fn cuStreamDestroy_v2(handle: usize) {
        if handle <= 2 {
            return Err(Code::INVALID_HANDLE);
        }
        let stream = stream(handle)?;
        // A destroyed stream still finishes what it was given.
        drain(&stream, u64::MAX)?;
        tables()?.streams.remove(&handle);
        Ok(())
    }

    fn cuStreamSynchronize(handle: usize) {
        let stream = stream(handle)?;
        drain(&stream, u64::MAX)?;
        stream.context()?.check()
    }

    fn cuStreamQuery(handle: usize) {
        let stream = stream(handle)?;
        if !stream.is_idle() {
            // It says once that work is under way, and runs it: a loop that polls comes to its end.
            drain(&stream, u64::MAX)?;
            return Err(Code::NOT_READY);
        }
        Ok(())
    }

    fn cuStreamWaitEvent(handle: usize, event: usize, _flags: u32) {
        let stream = stream(handle)?;
        let event = crate::event::event(event)?;
        let context = stream.context()?;
        if let Some((other, seq)) = event.pending() {
            submit(&stream, &context, Work::Wait { stream: other, seq })?;
        }
        Ok(())
    }

    fn cuStreamGetFlags(handle: usize, flags: Out<u32>) {
        flags.set(u32::from(stream(handle)?.kind == Kind::NonBlocking))
    }

    fn cuStreamGetPriority(handle: usize, priority: Out<i32>) {
        priority.set(stream(handle)?.priority)
    }

    fn cuStreamGetCtx(handle: usize, out: Out<usize>) {
        out.set(stream(handle)?.context()?.handle)
    }

    fn cuStreamGetId(handle: usize, out: Out<u64>) {
        out.set(stream(handle)?.handle as u64)
    }

    fn cuStreamGetDevice(handle: usize, out: Out<i32>) {
        out.set(stream(handle)?.context()?.gpu.ordinal as i32)
    }

    fn cuStreamIsCapturing(handle: usize, status: Out<i32>) {
        stream(handle)?;
        status.set(0)
    }

    fn cuStreamBeginCapture_v2(handle: usize, _mode: i32) {
        stream(handle)?;
        Err(Code::NOT_SUPPORTED)
    }

    fn cuStreamEndCapture(handle: usize, graph: Out<usize>) {
        stream(handle)?;
        graph.set_if_wanted(0);
        Err(Code::ILLEGAL_STATE)
    }

    fn cuStreamAttachMemAsync(handle: usize, _address: u64, _len: usize, _flags: u32) {
        stream(handle)?;
        Err(Code::NOT_SUPPORTED)
    }

    fn cuLaunchHostFunc(handle: usize, function: Option<extern "C" fn(Host)>, data: Host) {
        let (context, stream) = stream_here(handle)?;
        let function = function.ok_or(Code::INVALID_VALUE)?;
        submit(&stream, &context, Work::Call { function, data }).map(|_| ())
    }
}
