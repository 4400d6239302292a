//! What detectors find, and faults on request. They are the process's: one test at a time, and each leaves the device as it was.

mod common;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::{code, control, device, kernel};
use cudarc::driver::sys::{self, CUresult};
use cudarc::driver::{CudaContext, CudaStream, DriverError, LaunchConfig, PushKernelArg, result};
use softcuda_driver::control::{Control, KINDS, Kind};

fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    control().find_device();
    for kind in KINDS {
        control().fail(kind, 0);
    }
    guard
}

fn one_block(threads: u32) -> LaunchConfig {
    LaunchConfig { grid_dim: (1, 1, 1), block_dim: (threads, 1, 1), shared_mem_bytes: 0 }
}

/// A device whose streams are not cudarc's affair: it would record events after each launch, and they would tell first.
fn untracked() -> (Arc<CudaContext>, Arc<CudaStream>) {
    let (context, stream) = device();
    // SAFETY: one stream at a time is used.
    unsafe { context.disable_event_tracking() };
    (context, stream)
}

/// Runs a kernel that has one array and gives the code of the synchronization after it.
fn run(name: &str, config: LaunchConfig) -> CUresult {
    let (context, stream) = device();
    let function = kernel(&context, name);
    let mut data = stream.alloc_zeros::<u8>(256).unwrap();
    let n = 64u32;
    let mut builder = stream.launch_builder(&function);
    builder.arg(&mut data);
    if name == "store_past" {
        builder.arg(&n);
    }
    // SAFETY: the arguments are those of the kernel; what it does wrong is found.
    code(unsafe { builder.launch(config) }.and_then(|_| stream.synchronize()))
}

#[test]
fn out_of_bounds_is_found_and_sticks() {
    let _alone = alone();
    {
        let (context, stream) = untracked();
        let function = kernel(&context, "store_past");
        let mut data = stream.alloc_zeros::<f32>(64).unwrap();
        // SAFETY: the kernel stores past the array: that is the point.
        let launched = unsafe { stream.launch_builder(&function).arg(&mut data).arg(&64u32).launch(one_block(32)) };
        let illegal = CUresult::CUDA_ERROR_ILLEGAL_ADDRESS;
        // As on hardware, a later call tells.
        assert_eq!(code(launched), CUresult::CUDA_SUCCESS);
        assert_eq!(code(stream.synchronize()), illegal);
        assert_eq!(code(stream.synchronize()), illegal);
        assert_eq!(code(stream.alloc_zeros::<f32>(1)), illegal);
        assert_eq!(code(stream.clone_dtoh(&data)), illegal);
        assert_eq!(code(context.new_event(None)), illegal);
        assert_eq!(code(context.synchronize()), illegal);
        let fault = control().last_fault().unwrap();
        assert!(
            fault.contains("out of bounds") && fault.contains("store_past") && fault.contains("256 bytes"),
            "{fault}"
        );
    }
    // The last handle to the context is gone, and the error with it.
    assert_eq!(run("bounded", one_block(64)), CUresult::CUDA_SUCCESS);
}

#[test]
fn a_reset_clears_the_error_under_the_same_handle() {
    let _alone = alone();
    let (context, stream) = untracked();
    let function = kernel(&context, "store_odd");
    let mut data = stream.alloc_zeros::<u8>(64).unwrap();
    // SAFETY: the kernel stores at an odd address: that is the point.
    unsafe { stream.launch_builder(&function).arg(&mut data).launch(one_block(1)) }.unwrap();
    assert_eq!(code(context.synchronize()), CUresult::CUDA_ERROR_MISALIGNED_ADDRESS);
    // SAFETY: a device that is there.
    assert_eq!(unsafe { sys::cuDevicePrimaryCtxReset_v2(0) }, CUresult::CUDA_SUCCESS);
    context.synchronize().unwrap();
    // What was in it is gone.
    assert_eq!(code(stream.synchronize()), CUresult::CUDA_ERROR_INVALID_HANDLE);
    assert_eq!(control().live().allocations, 0);
    // What is left over fails to be given back, and that is all.
    drop((data, function, stream));
    assert!(context.check_err().is_err());
}

#[test]
fn each_detector_has_its_code() {
    let _alone = alone();
    assert_eq!(run("store_past", one_block(32)), CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_eq!(run("store_odd", one_block(1)), CUresult::CUDA_ERROR_MISALIGNED_ADDRESS);

    let (context, stream) = untracked();
    let add = kernel(&context, "add");
    let mut out = stream.alloc_zeros::<f32>(32).unwrap();
    let gone = stream.alloc_zeros::<f32>(32).unwrap().leak();
    // SAFETY: reads what is freed, which is found.
    let found = unsafe {
        result::free_sync(gone).unwrap();
        let n = 32u32;
        stream.launch_builder(&add).arg(&mut out).arg(&gone).arg(&gone).arg(&n).launch(one_block(32)).unwrap();
        stream.synchronize()
    };
    assert_eq!(code(found), CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
    assert!(control().last_fault().unwrap().contains("use after free"));
    drop((add, out, stream, context));

    let (context, stream) = untracked();
    let add = kernel(&context, "add");
    let mut out = stream.alloc_zeros::<f32>(32).unwrap();
    // SAFETY: reads what was never written, which is found.
    let found = unsafe {
        let never = stream.alloc::<f32>(32).unwrap();
        let n = 32u32;
        stream.launch_builder(&add).arg(&mut out).arg(&never).arg(&never).arg(&n).launch(one_block(32)).unwrap();
        stream.synchronize()
    };
    assert_eq!(code(found), CUresult::CUDA_ERROR_LAUNCH_FAILED);
    assert!(control().last_fault().unwrap().contains("uninitialised"));
}

#[test]
fn races_are_found() {
    let _alone = alone();
    assert_eq!(run("race", LaunchConfig { grid_dim: (4, 1, 1), ..one_block(32) }), CUresult::CUDA_ERROR_LAUNCH_FAILED);
    assert!(control().last_fault().unwrap().contains("race"));
}

/// A workload with a call of every kind.
fn workload() -> Result<Vec<f32>, DriverError> {
    fn with(context: &Arc<CudaContext>, stream: &Arc<CudaStream>) -> Result<Vec<f32>, DriverError> {
        let module = context.load_module(cudarc::nvrtc::Ptx::from_src(common::PTX))?;
        let add = module.load_function("add")?;
        // SAFETY: written before it is read.
        let mut pinned = unsafe { context.alloc_pinned_with_flags::<f32>(256, 0) }?;
        pinned.as_mut_slice()?.fill(2.0);
        let a = stream.clone_htod(&pinned)?;
        let mut out = stream.alloc_zeros::<f32>(256)?;
        for _ in 0..2 {
            let b = stream.clone_dtod(&out)?;
            // SAFETY: the arguments are those of the kernel, within bounds.
            unsafe { stream.launch_builder(&add).arg(&mut out).arg(&a).arg(&b).arg(&256u32).launch(one_block(256)) }?;
        }
        stream.synchronize()?;
        let host = stream.clone_dtoh(&out)?;
        // A drop that failed is told by the next call, or here.
        context.check_err()?;
        Ok(host)
    }
    let context = CudaContext::new(0)?;
    let stream = context.new_stream()?;
    let result = with(&context, &stream);
    drop(stream);
    let dropped = context.check_err();
    result.and_then(|host| dropped.map(|()| host))
}

fn nothing_left(control: &Control) {
    let live = control.live();
    let left = [live.allocations, live.bytes, live.modules, live.streams, live.events, live.pinned, live.contexts];
    assert_eq!(left, [0; 7], "{live:?}");
}

#[test]
fn every_call_can_fail_and_nothing_is_left() {
    let _alone = alone();
    let control = control();
    assert_eq!(workload().unwrap(), [4.0; 256]);
    nothing_left(&control);
    for kind in KINDS {
        let expected = match kind {
            Kind::Launch => CUresult::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES,
            Kind::Copy | Kind::Sync | Kind::Record => CUresult::CUDA_ERROR_OPERATING_SYSTEM,
            Kind::Kernel => CUresult::CUDA_ERROR_LAUNCH_FAILED,
            _ => CUresult::CUDA_ERROR_OUT_OF_MEMORY,
        };
        let before = control.calls(kind);
        workload().unwrap();
        let calls = control.calls(kind) - before;
        let elsewhere = matches!(kind, Kind::Blas | Kind::Nvrtc | Kind::Compile);
        assert!(calls > 0 || elsewhere, "{kind:?}");
        for nth in 1..=calls {
            control.fail(kind, nth);
            let got = code(workload());
            assert_eq!(got, expected, "{kind:?} {nth} of {calls}");
            assert_eq!(control.fail_left(kind), 0);
            nothing_left(&control);
            // The next computation is right.
            assert_eq!(workload().unwrap(), [4.0; 256], "after {kind:?} {nth}");
        }
        control.fail(kind, calls + 1);
        assert_eq!(workload().unwrap(), [4.0; 256]);
        assert_eq!(control.fail_left(kind), 1);
        control.fail(kind, 0);
    }
}

#[test]
fn a_test_may_name_the_code() {
    let _alone = alone();
    control().fail_with(Kind::Copy, 2, CUresult::CUDA_ERROR_UNKNOWN as i32);
    assert_eq!(code(workload()), CUresult::CUDA_ERROR_UNKNOWN);
}

#[test]
fn a_lost_device_stays_lost_until_it_is_found() {
    let _alone = alone();
    let lost = CUresult::CUDA_ERROR_DEVICE_UNAVAILABLE;
    {
        let (context, stream) = device();
        let data = stream.alloc_zeros::<f32>(10).unwrap();
        control().lose_device(lost as i32);
        assert_eq!(code(stream.clone_dtoh(&data)), lost);
        assert_eq!(code(context.synchronize()), lost);
        assert_eq!(code(stream.alloc_zeros::<f32>(10)), lost);
    }
    assert_eq!(code(CudaContext::new(0)), lost);
    control().find_device();
    assert_eq!(workload().unwrap(), [4.0; 256]);
}
