//! Events: a place in a stream's work, and the time at which it was reached.

use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use crate::abi::{Out, entry, lock};
use crate::code::Code;
use crate::driver::{Context, current, driver, tables};
use crate::stream::{self, Stream, Work, stream_anywhere, submit};

/// An event.
pub struct Event {
    pub context: Weak<Context>,
    timed: bool,
    record: Mutex<Option<Record>>,
}

/// Where an event was recorded last; `at` is set once the stream got there.
struct Record {
    stream: Arc<Stream>,
    seq: u64,
    at: Option<Instant>,
}

impl Event {
    /// The stream has come to the place that has this number.
    pub fn reached(&self, seq: u64) {
        if let Some(record) = lock(&self.record).as_mut().filter(|r| r.seq == seq) {
            record.at = Some(Instant::now());
        }
    }

    /// The place that a waiter has to wait for; none where it was reached, or the event was never recorded.
    pub fn pending(&self) -> Option<(Arc<Stream>, u64)> {
        lock(&self.record).as_ref().filter(|r| r.at.is_none()).map(|r| (r.stream.clone(), r.seq))
    }

    fn context(&self) -> Result<Arc<Context>, Code> {
        self.context.upgrade().ok_or(Code::CONTEXT_IS_DESTROYED)
    }
}

/// An event by its handle.
pub fn event(handle: usize) -> Result<Arc<Event>, Code> {
    driver()?;
    let event = tables()?.events.get(&handle).cloned().ok_or(Code::INVALID_HANDLE)?;
    event.context()?.check()?;
    Ok(event)
}

fn elapsed(ms: Out<f32>, start: usize, end: usize) -> crate::code::Outcome {
    let (start, end) = (event(start)?, event(end)?);
    if !std::ptr::eq(start.context.as_ptr(), end.context.as_ptr()) || !start.timed || !end.timed {
        return Err(Code::INVALID_HANDLE);
    }
    let at = |e: &Event| match lock(&e.record).as_ref() {
        None => Err(Code::INVALID_HANDLE),
        Some(record) => record.at.ok_or(Code::NOT_READY),
    };
    let (from, to) = (at(&start)?, at(&end)?);
    let seconds = to.checked_duration_since(from).map(|d| d.as_secs_f64());
    let seconds = seconds.unwrap_or_else(|| -from.duration_since(to).as_secs_f64());
    ms.set((seconds * 1e3) as f32)
}

entry! {
    fn cuEventCreate(out: Out<usize>, flags: u32) {
        let context = current()?;
        out.check()?;
        // Blocking, without timing, between processes (which needs no timing).
        if flags > 7 || flags & 4 != 0 && flags & 2 == 0 {
            return Err(Code::INVALID_VALUE);
        }
        let mut tables = tables()?;
        let handle = tables.handle();
        let event = Event { context: Arc::downgrade(&context), timed: flags & 2 == 0, record: Mutex::default() };
        tables.events.insert(handle, Arc::new(event));
        out.set(handle)
    }

    fn cuEventDestroy_v2(handle: usize) {
        current()?;
        tables()?.events.remove(&handle).map(|_| ()).ok_or(Code::INVALID_HANDLE)
    }

    fn cuEventRecord(handle: usize, stream: usize) {
        let (context, stream) = stream_anywhere(stream)?;
        let event = event(handle)?;
        if !std::ptr::eq(event.context.as_ptr(), Arc::as_ptr(&context)) {
            return Err(Code::INVALID_HANDLE);
        }
        // The record has to stand before the work can run: its number is taken here.
        let mut record = lock(&event.record);
        if driver()?.config.defer {
            let seq = submit(&stream, &context, Work::Record(event.clone()))?;
            *record = Some(Record { stream, seq, at: None });
        } else {
            *record = Some(Record { stream, seq: driver()?.tick(), at: Some(Instant::now()) });
        }
        Ok(())
    }

    fn cuEventRecordWithFlags(handle: usize, stream: usize, _flags: u32) {
        crate::abi::code(cuEventRecord(handle, stream))
    }

    fn cuEventQuery(handle: usize) {
        let event = event(handle)?;
        match event.pending() {
            None => Ok(()),
            Some((stream, seq)) => {
                // As for streams: not ready once, and then the work is done.
                stream::drain(&stream, seq + 1)?;
                Err(Code::NOT_READY)
            }
        }
    }

    fn cuEventSynchronize(handle: usize) {
        current()?;
        let event = event(handle)?;
        if let Some((stream, seq)) = event.pending() {
            stream::drain(&stream, seq + 1)?;
        }
        event.context()?.check()
    }

    fn cuEventElapsedTime(ms: Out<f32>, start: usize, end: usize) {
        elapsed(ms, start, end)
    }

    fn cuEventElapsedTime_v2(ms: Out<f32>, start: usize, end: usize) {
        elapsed(ms, start, end)
    }
}
