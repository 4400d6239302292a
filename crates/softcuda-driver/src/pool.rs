//! Stream-ordered allocation and its memory pools. A pool holds nothing back: what is freed goes to the device at once.

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use crate::abi::{Host, In, Out, entry};
use crate::code::{Code, Outcome};
use crate::driver::{driver, tables};
use crate::gpu::Gpu;
use crate::memory::{allocate, freed, known};
use crate::stream::{Work, stream_here, submit};

/// A memory pool.
pub struct Pool {
    pub handle: usize,
    pub gpu: Arc<Gpu>,
    pub used: AtomicU64,
    high: AtomicU64,
    /// `CU_MEMPOOL_ATTR_RELEASE_THRESHOLD`: kept for the one who asks; pools hold nothing back.
    threshold: AtomicU64,
    reuse: [AtomicU64; 3],
}

impl Pool {
    fn new(handle: usize, gpu: Arc<Gpu>) -> Arc<Pool> {
        let reuse = [const { AtomicU64::new(1) }; 3];
        Arc::new(Pool {
            handle,
            gpu,
            used: AtomicU64::new(0),
            high: AtomicU64::new(0),
            threshold: AtomicU64::new(0),
            reuse,
        })
    }

    /// Counts bytes that came from the pool.
    pub fn take(&self, bytes: u64) {
        let used = self.used.fetch_add(bytes, SeqCst) + bytes;
        self.high.fetch_max(used, SeqCst);
    }
}

fn supported() -> Outcome {
    if driver()?.config.pools { Ok(()) } else { Err(Code::NOT_SUPPORTED) }
}

fn default_pool(device: i32) -> Result<Arc<Pool>, Code> {
    supported()?;
    let gpu = driver()?.gpu(device)?.clone();
    let handle = 0x50F5_0000_0000 + (gpu.ordinal + 1) * 64;
    Ok(tables()?.pools.entry(handle).or_insert_with(|| Pool::new(handle, gpu)).clone())
}

fn pool(handle: usize) -> Result<Arc<Pool>, Code> {
    supported()?;
    tables()?.pools.get(&handle).cloned().ok_or(Code::INVALID_VALUE)
}

entry! {
    fn cuMemAllocAsync(out: Out<u64>, bytes: usize, stream: usize) {
        supported()?;
        let (context, _) = stream_here(stream)?;
        let pool = default_pool(context.gpu.ordinal as i32)?;
        allocate(out, bytes, &context, Some(pool))
    }

    fn cuMemAllocFromPoolAsync(out: Out<u64>, bytes: usize, pool_handle: usize, stream: usize) {
        supported()?;
        let (context, _) = stream_here(stream)?;
        allocate(out, bytes, &context, Some(pool(pool_handle)?))
    }

    fn cuMemFreeAsync(address: u64, stream: usize) {
        supported()?;
        let (context, stream) = stream_here(stream)?;
        if address == 0 {
            return Ok(());
        }
        known(address, &context)?;
        freed(address)?;
        submit(&stream, &context, Work::Free(address)).map(|_| ())
    }

    fn cuDeviceGetDefaultMemPool(out: Out<usize>, device: i32) {
        out.set(default_pool(device)?.handle)
    }

    fn cuDeviceGetMemPool(out: Out<usize>, device: i32) {
        out.set(default_pool(device)?.handle)
    }

    fn cuDeviceSetMemPool(device: i32, handle: usize) {
        let default = default_pool(device)?;
        pool(handle)?;
        // One current pool for each device is played: its default.
        if default.handle == handle { Ok(()) } else { Err(Code::NOT_SUPPORTED) }
    }

    fn cuMemPoolCreate(out: Out<usize>, props: In<i32>) {
        supported()?;
        // Allocation type (pinned), handle types (none), location type (device) and id.
        let [kind, exported, at, device] = [props.at(0)?, props.at(1)?, props.at(2)?, props.at(3)?];
        if kind != 1 || exported != 0 || at != 1 {
            return Err(Code::INVALID_VALUE);
        }
        let gpu = driver()?.gpu(device)?.clone();
        let mut tables = tables()?;
        let handle = tables.handle();
        tables.pools.insert(handle, Pool::new(handle, gpu));
        out.set(handle)
    }

    fn cuMemPoolDestroy(handle: usize) {
        let found = pool(handle)?;
        if default_pool(found.gpu.ordinal as i32)?.handle == handle {
            return Err(Code::INVALID_VALUE);
        }
        tables()?.pools.remove(&handle);
        Ok(())
    }

    fn cuMemPoolTrimTo(handle: usize, _keep: usize) {
        pool(handle).map(|_| ())
    }

    fn cuMemPoolGetAttribute(handle: usize, which: i32, value: Host) {
        let pool = pool(handle)?;
        if value.0.is_null() {
            return Err(Code::INVALID_VALUE);
        }
        let bytes = |v: &AtomicU64| v.load(SeqCst);
        match which {
            1..=3 => {
                let on = bytes(&pool.reuse[which as usize - 1]) as i32;
                Out(value.0.cast::<i32>()).set(on)
            }
            4 => Out(value.0.cast()).set(bytes(&pool.threshold)),
            5 | 7 => Out(value.0.cast()).set(bytes(&pool.used)),
            6 | 8 => Out(value.0.cast()).set(bytes(&pool.high)),
            _ => Err(Code::INVALID_VALUE),
        }
    }

    fn cuMemPoolSetAttribute(handle: usize, which: i32, value: In<c_void>) {
        let pool = pool(handle)?;
        let wide = || In(value.0.cast::<u64>()).at(0);
        match which {
            1..=3 => pool.reuse[which as usize - 1].store(In(value.0.cast::<u32>()).at(0)?.into(), SeqCst),
            4 => pool.threshold.store(wide()?, SeqCst),
            // The two high marks can be set back to what is in use, and to nothing else.
            6 | 8 if wide()? == 0 => pool.high.store(pool.used.load(SeqCst), SeqCst),
            _ => return Err(Code::INVALID_VALUE),
        }
        Ok(())
    }
}
