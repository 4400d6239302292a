//! Launches: checked as the driver checks them, then handed to the stream.

use std::ffi::c_void;
use std::sync::Arc;

use crate::abi::{In, entry};
use crate::attributes::{BLOCK, GRID, THREADS_PER_BLOCK};
use crate::code::{Code, Outcome};
use crate::driver::driver;
use crate::gpu::Gpu;
use crate::inject::{self, Kind};
use crate::module::{Function, function};
use crate::record::{self, Account};
use crate::stream::{Work, stream_here, submit};

/// A kernel, its sizes and its arguments.
pub struct Launch {
    pub function: Arc<Function>,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub dynamic: u32,
    pub params: Vec<u8>,
}

impl Launch {
    /// Runs the kernel, and counts what it did for the thread that launched it.
    pub fn run(&self, gpu: &Gpu, account: &Account) -> Outcome {
        inject::check(Kind::Kernel)?;
        let counters = gpu.launch(&self.function.image.program, self)?;
        account.launched(self, &counters);
        Ok(())
    }
}

/// The arguments as the kernel sees them, from an array of pointers or from a buffer.
fn pack(function: &Function, each: In<In<u8>>, extra: In<*const c_void>) -> Result<Vec<u8>, Code> {
    let params = &function.entry.params;
    let size = function.entry.params_bytes as usize;
    if !each.is_null() && !extra.is_null() {
        return Err(Code::INVALID_VALUE);
    }
    let copy = |from: In<u8>, len: usize| (0..len).map(|i| from.at(i)).collect::<Result<Vec<u8>, Code>>();
    if !each.is_null() {
        let mut packed = vec![0; size];
        for (i, param) in params.iter().enumerate() {
            let (at, len) = (param.offset as usize, param.size as usize);
            packed[at..at + len].copy_from_slice(&copy(each.at(i)?, len)?);
        }
        return Ok(packed);
    }
    if extra.is_null() {
        return if params.is_empty() { Ok(Vec::new()) } else { Err(Code::INVALID_VALUE) };
    }
    let (mut buffer, mut len) = (In(std::ptr::null()), None);
    for i in (0..).step_by(2) {
        match extra.at(i)? as usize {
            0 => break,
            1 => buffer = In(extra.at(i + 1)?.cast()),
            2 => len = Some(In(extra.at(i + 1)?.cast::<usize>()).at(0)?),
            _ => return Err(Code::INVALID_VALUE),
        }
    }
    // Arguments of the wrong size count as too many of them, says the driver's manual.
    if len.ok_or(Code::INVALID_VALUE)? < size {
        return Err(Code::LAUNCH_OUT_OF_RESOURCES);
    }
    copy(buffer, size)
}

fn launch(
    handle: usize,
    grid: [u32; 3],
    block: [u32; 3],
    dynamic: u32,
    stream: usize,
    each: In<In<u8>>,
    extra: In<*const c_void>,
) -> Outcome {
    let (context, stream) = stream_here(stream)?;
    let function = function(handle)?;
    if !std::ptr::eq(function.image.context.as_ptr(), Arc::as_ptr(&context)) {
        return Err(Code::INVALID_HANDLE);
    }
    let within = |sizes: [u32; 3], most: [u32; 3]| sizes.iter().zip(most).all(|(&s, m)| (1..=m).contains(&s));
    let threads = block.iter().map(|&b| u64::from(b)).product::<u64>();
    if !within(grid, GRID) || !within(block, BLOCK) || threads > u64::from(THREADS_PER_BLOCK) {
        return Err(Code::INVALID_VALUE);
    }
    if threads > u64::from(function.max_threads()) {
        return Err(Code::LAUNCH_OUT_OF_RESOURCES);
    }
    if function.entry.required.is_some_and(|r| r != block) || u64::from(dynamic) > function.max_dynamic() {
        return Err(Code::INVALID_VALUE);
    }
    let params = pack(&function, each, extra)?;
    record::count(|c| c.launches += 1);
    submit(&stream, &context, Work::Launch(Box::new(Launch { function, grid, block, dynamic, params })))?;
    // A kernel's own error shows in a later call, as on hardware.
    if driver()?.config.blocking { context.check() } else { Ok(()) }
}

/// `CUlaunchConfig`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Config {
    grid: [u32; 3],
    block: [u32; 3],
    dynamic: u32,
    stream: usize,
    attributes: In<c_void>,
    count: u32,
}

entry! {
    #[allow(clippy::too_many_arguments)]
    fn cuLaunchKernel(
        handle: usize, gx: u32, gy: u32, gz: u32, bx: u32, by: u32, bz: u32, dynamic: u32, stream: usize,
        params: In<In<u8>>, extra: In<*const c_void>,
    ) {
        launch(handle, [gx, gy, gz], [bx, by, bz], dynamic, stream, params, extra)
    }

    fn cuLaunchKernelEx(config: In<Config>, handle: usize, params: In<In<u8>>, extra: In<*const c_void>) {
        let config = config.at(0)?;
        // Clusters, priorities and the like are not played.
        if config.count != 0 {
            return Err(Code::NOT_SUPPORTED);
        }
        launch(handle, config.grid, config.block, config.dynamic, config.stream, params, extra)
    }

    /// All blocks have to fit on the device; a barrier over the grid is not played.
    #[allow(clippy::too_many_arguments)]
    fn cuLaunchCooperativeKernel(
        handle: usize, gx: u32, gy: u32, gz: u32, bx: u32, by: u32, bz: u32, dynamic: u32, stream: usize,
        params: In<In<u8>>,
    ) {
        let config = &driver()?.config;
        let shared = u64::from(function(handle)?.entry.static_shared) + u64::from(dynamic);
        let fit = crate::attributes::occupancy(config.cc, bx.saturating_mul(by).saturating_mul(bz), shared);
        if u64::from(gx) * u64::from(gy) * u64::from(gz) > u64::from(fit) * u64::from(config.sms) {
            return Err(Code::COOPERATIVE_LAUNCH_TOO_LARGE);
        }
        launch(handle, [gx, gy, gz], [bx, by, bz], dynamic, stream, params, In(std::ptr::null()))
    }
}
