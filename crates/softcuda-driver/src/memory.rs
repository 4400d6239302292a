//! Device memory, page-locked host memory, copies and fills.

use std::alloc::{Layout, alloc, dealloc};
use std::sync::{Arc, Weak};

use crate::abi::{Host, In, Out, entry};
use crate::code::{Code, Outcome};
use crate::driver::{Context, Tables, current, tables};
use crate::gpu::Gpu;
use crate::pool::Pool;
use crate::record;
use crate::stream::{self, Source, Stream, Work, stream_anywhere, submit};

/// A piece of device memory.
pub struct Allocation {
    pub size: u64,
    pub context: Weak<Context>,
    pub gpu: Arc<Gpu>,
    pub pool: Option<Arc<Pool>>,
    /// Not so for a module's variables: their module frees them.
    pub owned: bool,
}

/// A piece of page-locked host memory.
pub struct Pinned {
    pub size: usize,
    pub context: Weak<Context>,
    flags: u32,
    /// Memory of ours; a registered one is the caller's.
    owned: bool,
}

impl Tables {
    /// The allocation that holds a range, with its base.
    pub fn holding(&self, address: u64, len: u64) -> Result<(u64, &Allocation), Code> {
        let (&base, found) = self.allocations.range(..=address).next_back().ok_or(Code::INVALID_VALUE)?;
        let end = address.checked_add(len).ok_or(Code::INVALID_VALUE)?;
        if address < base + found.size && end <= base + found.size {
            Ok((base, found))
        } else {
            Err(Code::INVALID_VALUE)
        }
    }

    fn is_pinned(&self, host: Host, len: usize) -> bool {
        let address = host.0 as usize;
        self.pinned.range(..=address).next_back().is_some_and(|(base, p)| address + len <= base + p.size)
    }
}

/// Allocates for `cuMemAlloc` and its kin.
pub fn allocate(out: Out<u64>, bytes: usize, context: &Arc<Context>, pool: Option<Arc<Pool>>) -> Outcome {
    out.check()?;
    if bytes == 0 {
        return Err(Code::INVALID_VALUE);
    }
    let gpu = pool.as_ref().map_or(&context.gpu, |p| &p.gpu).clone();
    let address = match gpu.alloc(bytes as u64) {
        Some(address) => address,
        None => {
            // Deferred frees may hold memory that the real driver would wait for.
            stream::drain_context(context)?;
            gpu.alloc(bytes as u64).ok_or(Code::OUT_OF_MEMORY)?
        }
    };
    if let Some(pool) = &pool {
        pool.take(bytes as u64);
    }
    record::count(|c| {
        c.allocations += 1;
        c.allocated_bytes += bytes as u64;
    });
    let allocation = Allocation { size: bytes as u64, context: Arc::downgrade(context), gpu, pool, owned: true };
    tables()?.allocations.insert(address, allocation);
    out.set(address)
}

/// Fails unless an allocation of this context's device starts here.
pub fn known(address: u64, context: &Context) -> Outcome {
    let tables = tables()?;
    let found = tables.allocations.get(&address).filter(|a| a.owned && Arc::ptr_eq(&a.gpu, &context.gpu));
    found.map(|_| ()).ok_or(Code::INVALID_VALUE)
}

/// Takes an allocation off the table: from here on no call may name it.
pub fn freed(address: u64) -> Outcome {
    let gone = tables()?.allocations.remove(&address).ok_or(Code::INVALID_VALUE)?;
    if let Some(pool) = gone.pool {
        pool.used.fetch_sub(gone.size, std::sync::atomic::Ordering::SeqCst);
    }
    record::count(|c| c.frees += 1);
    Ok(())
}

/// The device that holds a range, and whether there is anything to do at all.
fn range(address: u64, len: usize) -> Result<Arc<Gpu>, Code> {
    Ok(tables()?.holding(address, len as u64)?.1.gpu.clone())
}

/// As `range`, for calls that work on the context's own device.
fn range_here(address: u64, len: usize, context: &Context) -> Outcome {
    if Arc::ptr_eq(&range(address, len)?, &context.gpu) { Ok(()) } else { Err(Code::INVALID_VALUE) }
}

/// Waits for a stream, and says whether its context is in order.
fn finish(stream: &Arc<Stream>, context: &Context) -> Outcome {
    stream::drain(stream, u64::MAX)?;
    context.check()
}

fn upload(to: u64, from: Host, len: usize, stream: usize) -> Result<(Arc<Context>, Arc<Stream>), Code> {
    let (context, stream) = stream_anywhere(stream)?;
    if len == 0 {
        return Ok((context, stream));
    }
    if from.0.is_null() {
        return Err(Code::INVALID_VALUE);
    }
    range_here(to, len, &context)?;
    record::count(|c| {
        c.uploads += 1;
        c.upload_bytes += len as u64;
    });
    let pinned = tables()?.is_pinned(from, len);
    let from = if pinned { Source::Pinned(from, len) } else { Source::Staged(from.read(len)) };
    submit(&stream, &context, Work::Upload { to, from })?;
    Ok((context, stream))
}

/// Gives a copy to the host to a stream; whether its memory is page-locked says whether the caller may go on at once.
fn download(to: Host, from: u64, len: usize, stream: usize) -> Result<(Arc<Context>, Arc<Stream>, bool), Code> {
    let (context, stream) = stream_anywhere(stream)?;
    if len == 0 {
        return Ok((context, stream, true));
    }
    if to.0.is_null() {
        return Err(Code::INVALID_VALUE);
    }
    range_here(from, len, &context)?;
    record::count(|c| {
        c.downloads += 1;
        c.download_bytes += len as u64;
    });
    submit(&stream, &context, Work::Download { to, from, len })?;
    let pinned = tables()?.is_pinned(to, len);
    Ok((context, stream, pinned))
}

fn copy(to: u64, from: u64, len: usize, stream: usize) -> Result<(Arc<Context>, Arc<Stream>), Code> {
    let (context, stream) = stream_anywhere(stream)?;
    if len > 0 {
        let (to, from) = ((range(to, len)?, to), (range(from, len)?, from));
        record::count(|c| {
            c.copies += 1;
            c.copy_bytes += len as u64;
        });
        submit(&stream, &context, Work::Copy { to, from, len })?;
    }
    Ok((context, stream))
}

fn fill(to: u64, pattern: u32, width: usize, count: usize, stream: usize) -> Result<(Arc<Context>, Arc<Stream>), Code> {
    let (context, stream) = stream_anywhere(stream)?;
    if count > 0 {
        let len = count.checked_mul(width).filter(|_| to.is_multiple_of(width as u64)).ok_or(Code::INVALID_VALUE)?;
        range_here(to, len, &context)?;
        record::count(|c| {
            c.fills += 1;
            c.fill_bytes += len as u64;
        });
        submit(&stream, &context, Work::Fill { to, pattern: pattern.to_le_bytes(), width, count })?;
    }
    Ok((context, stream))
}

fn pin(out: Out<Host>, bytes: usize, flags: u32) -> Outcome {
    let context = current()?;
    out.check()?;
    let layout = Layout::from_size_align(bytes, 4096).map_err(|_| Code::OUT_OF_MEMORY)?;
    if bytes == 0 || flags > 7 {
        return Err(Code::INVALID_VALUE);
    }
    // SAFETY: the layout is not empty.
    let host = unsafe { alloc(layout) };
    if host.is_null() {
        return Err(Code::OUT_OF_MEMORY);
    }
    // SAFETY: just allocated. Nobody shall find zeros here and take them for results.
    unsafe { host.write_bytes(0xA5, bytes) };
    let pinned = Pinned { size: bytes, context: Arc::downgrade(&context), flags, owned: true };
    tables()?.pinned.insert(host as usize, pinned);
    out.set(Host(host.cast()))
}

entry! {
    fn cuMemAlloc_v2(out: Out<u64>, bytes: usize) {
        allocate(out, bytes, &current()?, None)
    }

    fn cuMemFree_v2(address: u64) {
        let context = current()?;
        if address == 0 {
            return Ok(());
        }
        known(address, &context)?;
        // The real one waits for the device.
        stream::drain_context(&context)?;
        context.check()?;
        freed(address)?;
        context.gpu.free(address);
        Ok(())
    }

    fn cuMemAllocManaged(_out: Out<u64>, _bytes: usize, _flags: u32) {
        current()?;
        Err(Code::NOT_SUPPORTED)
    }

    fn cuMemGetInfo_v2(free: Out<usize>, total: Out<usize>) {
        let context = current()?;
        let (unused, all) = context.gpu.memory_info();
        free.set(unused as usize)?;
        total.set(all as usize)
    }

    fn cuMemGetAddressRange_v2(base: Out<u64>, size: Out<usize>, address: u64) {
        current()?;
        let tables = tables()?;
        let (start, found) = tables.holding(address, 0).map_err(|_| Code::NOT_FOUND)?;
        base.set_if_wanted(start);
        size.set_if_wanted(found.size as usize);
        Ok(())
    }

    fn cuMemHostAlloc(out: Out<Host>, bytes: usize, flags: u32) {
        pin(out, bytes, flags)
    }

    fn cuMemAllocHost_v2(out: Out<Host>, bytes: usize) {
        pin(out, bytes, 0)
    }

    fn cuMemFreeHost(host: Host) {
        let context = current()?;
        if !tables()?.pinned.get(&(host.0 as usize)).is_some_and(|p| p.owned) {
            return Err(Code::INVALID_VALUE);
        }
        // The real one waits for the device: a copy may still read or write here.
        stream::drain_context(&context)?;
        let Some(gone) = tables()?.pinned.remove(&(host.0 as usize)) else { return Err(Code::INVALID_VALUE) };
        let layout = Layout::from_size_align(gone.size, 4096).map_err(|_| Code::INVALID_VALUE)?;
        // SAFETY: allocated by `pin` with this layout, and taken off the table by this call alone.
        unsafe { dealloc(host.0.cast(), layout) };
        Ok(())
    }

    fn cuMemHostRegister_v2(host: Host, bytes: usize, flags: u32) {
        let context = current()?;
        if host.0.is_null() || bytes == 0 {
            return Err(Code::INVALID_VALUE);
        }
        let mut tables = tables()?;
        let end = host.0 as usize + bytes;
        if tables.pinned.range(..end).next_back().is_some_and(|(base, p)| base + p.size > host.0 as usize) {
            return Err(Code::HOST_MEMORY_ALREADY_REGISTERED);
        }
        let pinned = Pinned { size: bytes, context: Arc::downgrade(&context), flags, owned: false };
        tables.pinned.insert(host.0 as usize, pinned);
        Ok(())
    }

    fn cuMemHostUnregister(host: Host) {
        let context = current()?;
        stream::drain_context(&context)?;
        let mut tables = tables()?;
        match tables.pinned.get(&(host.0 as usize)) {
            Some(p) if !p.owned => tables.pinned.remove(&(host.0 as usize)),
            _ => return Err(Code::HOST_MEMORY_NOT_REGISTERED),
        };
        Ok(())
    }

    fn cuMemHostGetFlags(flags: Out<u32>, host: Host) {
        current()?;
        flags.set(tables()?.pinned.get(&(host.0 as usize)).ok_or(Code::INVALID_VALUE)?.flags)
    }

    /// Kernels cannot read host memory here.
    fn cuMemHostGetDevicePointer_v2(_out: Out<u64>, _host: Host, _flags: u32) {
        current()?;
        Err(Code::NOT_SUPPORTED)
    }

    fn cuMemcpyHtoD_v2(to: u64, from: Host, len: usize) {
        let (context, stream) = upload(to, from, len, 0)?;
        finish(&stream, &context)
    }

    fn cuMemcpyHtoDAsync_v2(to: u64, from: Host, len: usize, stream: usize) {
        upload(to, from, len, stream).map(|_| ())
    }

    fn cuMemcpyDtoH_v2(to: Host, from: u64, len: usize) {
        let (context, stream, _) = download(to, from, len, 0)?;
        finish(&stream, &context)
    }

    fn cuMemcpyDtoHAsync_v2(to: Host, from: u64, len: usize, stream: usize) {
        let (context, stream, pinned) = download(to, from, len, stream)?;
        // The caller of a copy to pageable memory may look at it when the call returns.
        if pinned { Ok(()) } else { finish(&stream, &context) }
    }

    fn cuMemcpyDtoD_v2(to: u64, from: u64, len: usize) {
        copy(to, from, len, 0).map(|_| ())
    }

    fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, len: usize, stream: usize) {
        copy(to, from, len, stream).map(|_| ())
    }

    fn cuMemcpyPeerAsync(to: u64, to_context: usize, from: u64, from_context: usize, len: usize, stream: usize) {
        for (handle, address) in [(to_context, to), (from_context, from)] {
            let context = tables()?.contexts.get(&handle).cloned().ok_or(Code::INVALID_CONTEXT)?;
            context.check()?;
            if len > 0 {
                range_here(address, len, &context)?;
            }
        }
        copy(to, from, len, stream).map(|_| ())
    }

    fn cuMemcpyPeer(to: u64, to_context: usize, from: u64, from_context: usize, len: usize) {
        crate::abi::code(cuMemcpyPeerAsync(to, to_context, from, from_context, len, 0))?;
        let context = current()?;
        finish(&context.null, &context)
    }

    fn cuMemsetD8_v2(to: u64, value: u8, count: usize) {
        fill(to, value.into(), 1, count, 0).map(|_| ())
    }

    fn cuMemsetD8Async(to: u64, value: u8, count: usize, stream: usize) {
        fill(to, value.into(), 1, count, stream).map(|_| ())
    }

    fn cuMemsetD16_v2(to: u64, value: u16, count: usize) {
        fill(to, value.into(), 2, count, 0).map(|_| ())
    }

    fn cuMemsetD16Async(to: u64, value: u16, count: usize, stream: usize) {
        fill(to, value.into(), 2, count, stream).map(|_| ())
    }

    fn cuMemsetD32_v2(to: u64, value: u32, count: usize) {
        fill(to, value, 4, count, 0).map(|_| ())
    }

    fn cuMemsetD32Async(to: u64, value: u32, count: usize, stream: usize) {
        fill(to, value, 4, count, stream).map(|_| ())
    }

    fn cuPointerGetAttribute(data: Host, which: i32, address: u64) {
        crate::driver::driver()?;
        if data.0.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        let tables = tables()?;
        let pinned = tables.pinned.range(..=address as usize).next_back();
        if let Some((&base, found)) = pinned.filter(|(base, p)| (address as usize) < *base + p.size) {
            return match which {
                2 => Out(data.0.cast()).set(1u32),
                4 => Out(data.0.cast()).set(address),
                8 => Out(data.0.cast()).set(0u8),
                11 => Out(data.0.cast()).set(base as u64),
                12 => Out(data.0.cast()).set(found.size),
                _ => Err(Code::INVALID_VALUE),
            };
        }
        let (base, found) = tables.holding(address, 0)?;
        match which {
            1 => Out(data.0.cast()).set(found.context.upgrade().map_or(0, |c| c.handle)),
            2 => Out(data.0.cast()).set(2u32),
            3 => Out(data.0.cast()).set(address),
            7 => Out(data.0.cast()).set(base),
            8 => Out(data.0.cast()).set(0u8),
            9 => Out(data.0.cast()).set(found.gpu.ordinal as i32),
            11 => Out(data.0.cast()).set(base),
            12 => Out(data.0.cast()).set(found.size as usize),
            13 => Out(data.0.cast()).set(1u8),
            17 => Out(data.0.cast()).set(found.pool.as_ref().map_or(0, |p| p.handle)),
            _ => Err(Code::INVALID_VALUE),
        }
    }

    fn cuPointerGetAttributes(count: u32, which: In<i32>, data: In<Host>, address: u64) {
        for i in 0..count as usize {
            crate::abi::code(cuPointerGetAttribute(data.at(i)?, which.at(i)?, address))?;
        }
        Ok(())
    }
}
