//! Entry points for the driver itself, its devices and their contexts.

use std::ffi::{c_char, c_void};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::abi::{Host, In, Out, entry, lock, put_text};
use crate::attributes::{self, attribute};
use crate::code::{Code, Outcome, texts};
use crate::driver::{self, Context, Tables, current, current_handle, current_unchecked, driver, tables};
use crate::gpu::Gpu;
use crate::stream;

/// The handle of a device's primary context.
fn primary_handle(gpu: &Gpu) -> usize {
    0x50F6_0000_0000 + (gpu.ordinal + 1) * 64
}

/// A context by its handle; 0 is the current one.
fn context(handle: usize) -> Result<Arc<Context>, Code> {
    match handle {
        0 => current(),
        _ => tables()?.contexts.get(&handle).cloned().ok_or(Code::INVALID_CONTEXT),
    }
}

/// Takes a context off the table, unless another one stands behind its handle by now.
fn forget(tables: &mut Tables, context: &Arc<Context>) {
    if tables.contexts.get(&context.handle).is_some_and(|c| Arc::ptr_eq(c, context)) {
        tables.contexts.remove(&context.handle);
    }
}

/// Ends a context and everything in it: what its streams still hold is run first.
fn destroy(context: &Arc<Context>) -> Outcome {
    stream::drain_context(context)?;
    let mut tables = tables()?;
    forget(&mut tables, context);
    let ours = |of: &std::sync::Weak<Context>| std::ptr::eq(of.as_ptr(), Arc::as_ptr(context));
    tables.streams.retain(|_, s| !ours(&s.context));
    tables.events.retain(|_, e| !ours(&e.context));
    for (_, image) in tables.modules.extract_if(|_, m| ours(&m.context)) {
        context.gpu.unload(&image.program);
    }
    tables.functions.retain(|_, f| !ours(&f.image.context));
    // Pages stay mapped: a caller may hold a slice of them beyond the context.
    tables.pinned.retain(|_, p| !ours(&p.context));
    let addresses: Vec<u64> =
        tables.allocations.iter().filter(|(_, a)| ours(&a.context)).map(|(&address, _)| address).collect();
    for address in addresses {
        if let Some(gone) = tables.allocations.remove(&address)
            && gone.owned
        {
            context.gpu.free(address);
            if let Some(pool) = gone.pool {
                pool.used.fetch_sub(gone.size, Ordering::SeqCst);
            }
        }
    }
    Ok(())
}

entry! {
    fn cuInit(flags: u32) {
        if flags != 0 {
            return Err(Code::INVALID_VALUE);
        }
        driver::init()
    }

    fn cuDriverGetVersion(version: Out<i32>) {
        let of = driver().map(|d| d.config.driver).unwrap_or_else(|_| crate::config::Config::read().driver);
        version.set((of.0 * 1000 + of.1 * 10) as i32)
    }

    fn cuGetErrorName(error: i32, text: Out<*const c_char>) {
        let found = texts(error);
        text.set(found.map_or(std::ptr::null(), |t| t.0.as_ptr().cast()))?;
        found.map(|_| ()).ok_or(Code::INVALID_VALUE)
    }

    fn cuGetErrorString(error: i32, text: Out<*const c_char>) {
        let found = texts(error);
        text.set(found.map_or(std::ptr::null(), |t| t.1.as_ptr().cast()))?;
        found.map(|_| ()).ok_or(Code::INVALID_VALUE)
    }

    /// NVRTC asks for tables that NVIDIA documents nowhere, and goes on without them.
    fn cuGetExportTable(table: Out<*const c_void>, _id: In<c_void>) {
        table.set_if_wanted(std::ptr::null());
        Err(Code::NOT_FOUND)
    }

    fn cuDeviceGet(device: Out<i32>, ordinal: i32) {
        driver()?.gpu(ordinal)?;
        device.set(ordinal)
    }

    fn cuDeviceGetCount(count: Out<i32>) {
        count.set(driver()?.gpus.len() as i32)
    }

    fn cuDeviceGetName(name: Host, len: i32, device: i32) {
        let gpu = driver()?.gpu(device)?;
        if name.0.is_null() || len <= 0 {
            return Err(Code::INVALID_VALUE);
        }
        put_text(&gpu.name, name, len as usize);
        Ok(())
    }

    fn cuDeviceGetUuid(uuid: Out<[u8; 16]>, device: i32) {
        uuid.set(driver()?.gpu(device)?.uuid())
    }

    fn cuDeviceGetUuid_v2(uuid: Out<[u8; 16]>, device: i32) {
        uuid.set(driver()?.gpu(device)?.uuid())
    }

    fn cuDeviceTotalMem_v2(bytes: Out<usize>, device: i32) {
        bytes.set(driver()?.gpu(device)?.total() as usize)
    }

    fn cuDeviceGetAttribute(value: Out<i32>, which: i32, device: i32) {
        let driver = driver()?;
        let gpu = driver.gpu(device)?;
        value.set(attribute(which, &driver.config, gpu.ordinal).ok_or(Code::INVALID_VALUE)?)
    }

    fn cuDeviceComputeCapability(major: Out<i32>, minor: Out<i32>, device: i32) {
        driver()?.gpu(device)?;
        major.set(driver()?.config.cc.0 as i32)?;
        minor.set(driver()?.config.cc.1 as i32)
    }

    fn cuDeviceGetPCIBusId(text: Host, len: i32, device: i32) {
        let gpu = driver()?.gpu(device)?;
        if text.0.is_null() || len < 13 {
            return Err(Code::INVALID_VALUE);
        }
        put_text(&gpu.pci(), text, len as usize);
        Ok(())
    }

    fn cuDeviceGetByPCIBusId(device: Out<i32>, text: In<c_char>) {
        let text = text.text()?;
        let found = driver()?.gpus.iter().find(|g| g.pci().eq_ignore_ascii_case(&text));
        device.set(found.ok_or(Code::INVALID_DEVICE)?.ordinal as i32)
    }

    fn cuDeviceCanAccessPeer(can: Out<i32>, device: i32, peer: i32) {
        driver()?.gpu(device)?;
        driver()?.gpu(peer)?;
        // Kernels of one device cannot read another's memory here; copies between devices work.
        can.set(0)
    }

    fn cuDeviceGetP2PAttribute(value: Out<i32>, _which: i32, device: i32, peer: i32) {
        driver()?.gpu(device)?;
        driver()?.gpu(peer)?;
        value.set(0)
    }

    fn cuDevicePrimaryCtxRetain(out: Out<usize>, device: i32) {
        let gpu = driver()?.gpu(device)?.clone();
        out.check()?;
        crate::inject::check_lost()?;
        let handle = primary_handle(&gpu);
        let mut tables = tables()?;
        let context = tables.contexts.entry(handle).or_insert_with(|| Context::new(handle, gpu, 0)).clone();
        context.check()?;
        context.retained.fetch_add(1, Ordering::SeqCst);
        out.set(handle)
    }

    fn cuDevicePrimaryCtxRelease_v2(device: i32) {
        let handle = primary_handle(driver()?.gpu(device)?);
        let context = {
            let mut tables = tables()?;
            let context = tables.contexts.get(&handle).cloned().ok_or(Code::INVALID_CONTEXT)?;
            if context.retained.fetch_sub(1, Ordering::SeqCst) > 1 {
                return Ok(());
            }
            // Who retains it from now on gets a new one.
            forget(&mut tables, &context);
            context
        };
        // The last release ends the context, and its error with it.
        destroy(&context)
    }

    fn cuDevicePrimaryCtxReset_v2(device: i32) {
        let handle = primary_handle(driver()?.gpu(device)?);
        let Some(context) = tables()?.contexts.get(&handle).cloned() else { return Ok(()) };
        destroy(&context)?;
        // Those who retained it still hold it: a new one stands behind the same handle.
        let fresh = Context::new(handle, context.gpu.clone(), 0);
        fresh.retained.store(context.retained.load(Ordering::SeqCst), Ordering::SeqCst);
        tables()?.contexts.insert(handle, fresh);
        Ok(())
    }

    fn cuDevicePrimaryCtxGetState(device: i32, flags: Out<u32>, active: Out<i32>) {
        let handle = primary_handle(driver()?.gpu(device)?);
        let found = tables()?.contexts.get(&handle).cloned();
        flags.set(found.as_ref().map_or(0, |c| c.flags.load(Ordering::SeqCst)))?;
        active.set(found.is_some().into())
    }

    fn cuDevicePrimaryCtxSetFlags_v2(device: i32, flags: u32) {
        let handle = primary_handle(driver()?.gpu(device)?);
        if let Some(context) = tables()?.contexts.get(&handle) {
            context.flags.store(flags, Ordering::SeqCst);
        }
        Ok(())
    }

    fn cuCtxCreate_v2(out: Out<usize>, flags: u32, device: i32) {
        let gpu = driver()?.gpu(device)?.clone();
        out.check()?;
        crate::inject::check_lost()?;
        let mut tables = tables()?;
        let handle = tables.handle();
        tables.contexts.insert(handle, Context::new(handle, gpu, flags));
        driver::push(handle);
        out.set(handle)
    }

    fn cuCtxCreate_v3(out: Out<usize>, _affinity: In<c_void>, count: i32, flags: u32, device: i32) {
        if count != 0 {
            return Err(Code::UNSUPPORTED_EXEC_AFFINITY);
        }
        crate::abi::code(cuCtxCreate_v2(out, flags, device))
    }

    fn cuCtxCreate_v4(out: Out<usize>, params: In<c_void>, flags: u32, device: i32) {
        if !params.is_null() {
            return Err(Code::NOT_SUPPORTED);
        }
        crate::abi::code(cuCtxCreate_v2(out, flags, device))
    }

    fn cuCtxDestroy_v2(handle: usize) {
        if handle == 0 {
            return Err(Code::INVALID_VALUE);
        }
        let context = context(handle)?;
        if context.handle == primary_handle(&context.gpu) {
            return Err(Code::INVALID_CONTEXT);
        }
        destroy(&context)?;
        if current_handle() == handle {
            driver::pop();
        }
        Ok(())
    }

    fn cuCtxGetCurrent(out: Out<usize>) {
        driver()?;
        out.set(current_handle())
    }

    fn cuCtxSetCurrent(handle: usize) {
        driver()?;
        if handle != 0 {
            context(handle)?;
        }
        driver::set_current(handle);
        Ok(())
    }

    fn cuCtxPushCurrent_v2(handle: usize) {
        driver()?;
        if handle == 0 {
            return Err(Code::INVALID_CONTEXT);
        }
        context(handle)?;
        driver::push(handle);
        Ok(())
    }

    fn cuCtxPopCurrent_v2(out: Out<usize>) {
        driver()?;
        let handle = driver::pop().ok_or(Code::INVALID_CONTEXT)?;
        out.set_if_wanted(handle);
        Ok(())
    }

    fn cuCtxGetDevice(out: Out<i32>) {
        out.set(current_unchecked()?.gpu.ordinal as i32)
    }

    fn cuCtxGetDevice_v2(out: Out<i32>, handle: usize) {
        out.set(context(handle)?.gpu.ordinal as i32)
    }

    fn cuCtxGetId(handle: usize, out: Out<u64>) {
        out.set(context(handle)?.handle as u64)
    }

    fn cuCtxGetApiVersion(handle: usize, version: Out<u32>) {
        context(handle)?;
        version.set(3020)
    }

    fn cuCtxGetFlags(flags: Out<u32>) {
        flags.set(current()?.flags.load(Ordering::SeqCst))
    }

    fn cuCtxSetFlags(flags: u32) {
        current()?.flags.store(flags, Ordering::SeqCst);
        Ok(())
    }

    fn cuCtxGetCacheConfig(config: Out<i32>) {
        config.set(current()?.cache.load(Ordering::SeqCst))
    }

    fn cuCtxSetCacheConfig(config: i32) {
        current()?.cache.store(config, Ordering::SeqCst);
        Ok(())
    }

    fn cuCtxGetLimit(value: Out<usize>, limit: i32) {
        let context = current()?;
        let default = match limit {
            0 => 1024,
            1 => 1 << 20,
            2 => 8 << 20,
            5 => 64,
            6 => 0,
            _ => return Err(Code::UNSUPPORTED_LIMIT),
        };
        let set = lock(&context.limits).get(&limit).copied();
        value.set(set.unwrap_or(default))
    }

    fn cuCtxSetLimit(limit: i32, value: usize) {
        let context = current()?;
        if !matches!(limit, 0 | 1 | 2 | 5 | 6) {
            return Err(Code::UNSUPPORTED_LIMIT);
        }
        lock(&context.limits).insert(limit, value);
        Ok(())
    }

    fn cuCtxGetStreamPriorityRange(least: Out<i32>, greatest: Out<i32>) {
        current()?;
        least.set_if_wanted(0);
        greatest.set_if_wanted(-5);
        Ok(())
    }

    fn cuCtxEnablePeerAccess(peer: usize, _flags: u32) {
        current()?;
        context(peer)?;
        Err(Code::PEER_ACCESS_UNSUPPORTED)
    }

    fn cuCtxDisablePeerAccess(peer: usize) {
        current()?;
        context(peer)?;
        Err(Code::PEER_ACCESS_NOT_ENABLED)
    }

    fn cuCtxSynchronize() {
        let context = current()?;
        stream::drain_context(&context)?;
        context.check()
    }

    fn cuProfilerStart() {
        current().map(|_| ())
    }

    fn cuProfilerStop() {
        current().map(|_| ())
    }

    fn cuDeviceGetProperties(out: Out<[i32; 14]>, device: i32) {
        let driver = driver()?;
        let gpu = driver.gpu(device)?;
        let value = |which| attribute(which, &driver.config, gpu.ordinal).unwrap_or(0);
        let [g, b] = [attributes::GRID, attributes::BLOCK].map(|a| a.map(|v| v as i32));
        let shared = attributes::SHARED_PER_BLOCK as i32;
        out.set([
            value(1), b[0], b[1], b[2], g[0], g[1], g[2], shared, value(9), 32, value(11), value(12), value(13), value(14),
        ])
    }
}
