//! Other machines and drivers, each played in a process of its own; and work that waits until something synchronizes.

mod common;

use common::{PTX, code, control, device, in_child, kernel};
use cudarc::driver::sys::{self, CUresult};
use cudarc::driver::{CudaContext, DevicePtr, LaunchConfig, PushKernelArg, result};
use cudarc::nvrtc::Ptx;

const WARP: LaunchConfig = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (32, 1, 1), shared_mem_bytes: 0 };

#[test]
fn no_device() {
    in_child("no_device", &[("SOFTCUDA_DEVICES", "0")], || {
        control();
        assert_eq!(code(CudaContext::device_count()), CUresult::CUDA_ERROR_NO_DEVICE);
    });
}

#[test]
fn several_devices() {
    in_child("several_devices", &[("SOFTCUDA_DEVICES", "3"), ("SOFTCUDA_CC", "9.0")], || {
        control();
        assert_eq!(CudaContext::device_count().unwrap(), 3);
        let [one, two] = [0, 2].map(|i| CudaContext::new(i).unwrap());
        assert_eq!(two.compute_capability().unwrap(), (9, 0));
        assert_ne!(one.uuid().unwrap().bytes, two.uuid().unwrap().bytes);
        let (first, second) = (one.new_stream().unwrap(), two.new_stream().unwrap());
        let a = first.clone_htod(&[1.0f32, 2.0, 3.0]).unwrap();
        let b = second.clone_dtod(&a).unwrap();
        assert_eq!(second.clone_dtoh(&b).unwrap(), [1.0, 2.0, 3.0]);
        assert_eq!(one.mem_get_info().unwrap().0, two.mem_get_info().unwrap().0);
        // An address means something on its own device alone.
        let (at, _guard) = a.device_ptr(&first);
        two.bind_to_thread().unwrap();
        // SAFETY: refused.
        assert_eq!(code(unsafe { result::memset_d8_sync(at, 0, 4) }), CUresult::CUDA_ERROR_INVALID_VALUE);
        let function = kernel(&two, "bounded");
        // SAFETY: the kernel's store to another device's memory is found.
        unsafe { second.launch_builder(&function).arg(&at).launch(WARP) }.unwrap();
        assert_eq!(code(second.synchronize()), CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
        // The other device is not concerned.
        assert_eq!(first.clone_dtoh(&a).unwrap(), [1.0, 2.0, 3.0]);
    });
}

#[test]
fn an_older_driver() {
    in_child("an_older_driver", &[("SOFTCUDA_DRIVER", "12.4")], || {
        let (context, _stream) = device();
        let mut version = 0;
        // SAFETY: room for the answer.
        unsafe { sys::cuDriverGetVersion(&mut version) };
        assert_eq!(version, 12_040);
        // NVRTC 12.9 emits PTX 8.8, and this driver knows 8.4.
        let newer = context.load_module(Ptx::from_src(PTX));
        assert_eq!(code(newer), CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
        assert!(context.load_module(Ptx::from_src(PTX.replacen(".version 8.8", ".version 8.4", 1))).is_ok());
    });
}

#[test]
fn little_memory() {
    in_child("little_memory", &[("SOFTCUDA_MEMORY", "1048576")], || {
        let (context, stream) = device();
        assert_eq!(context.mem_get_info().unwrap(), (1 << 20, 1 << 20));
        let most = stream.alloc_zeros::<u8>(900 << 10).unwrap();
        assert_eq!(code(stream.alloc_zeros::<u8>(200 << 10)), CUresult::CUDA_ERROR_OUT_OF_MEMORY);
        drop(most);
        assert!(stream.alloc_zeros::<u8>(200 << 10).is_ok());
        assert_eq!(control().live().bytes, 0);
        assert!(control().live().peak_bytes >= 900 << 10);
    });
}

#[test]
fn no_memory_pools() {
    in_child("no_memory_pools", &[("SOFTCUDA_POOLS", "0")], || {
        let (context, stream) = device();
        assert!(!context.has_async_alloc());
        let zeros = stream.alloc_zeros::<f32>(10).unwrap();
        assert_eq!(stream.clone_dtoh(&zeros).unwrap(), [0.0; 10]);
        // SAFETY: refused.
        let refused = unsafe { result::malloc_async(stream.cu_stream(), 16) };
        assert_eq!(code(refused), CUresult::CUDA_ERROR_NOT_SUPPORTED);
        // SAFETY: as above.
        let pool = unsafe { result::device::get_default_mem_pool(context.cu_device()) };
        assert_eq!(pool.map(|_| ()).map_err(|e| e.0), Err(CUresult::CUDA_ERROR_NOT_SUPPORTED));
    });
}

#[test]
fn settings_by_the_test_itself() {
    in_child("settings_by_the_test_itself", &[], || {
        control().configure("SOFTCUDA_CC", "12.0").unwrap();
        control().configure("SOFTCUDA_SMS", "170").unwrap();
        let (context, _stream) = device();
        assert_eq!(context.compute_capability().unwrap(), (12, 0));
        let sms = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
        assert_eq!(context.attribute(sms).unwrap(), 170);
        assert!(control().configure("SOFTCUDA_CC", "8.0").is_err());
    });
}

#[test]
fn detectors_can_be_switched_off() {
    in_child("detectors_can_be_switched_off", &[("SOFTCUDA_DETECT", "race,misaligned")], || {
        let (context, stream) = device();
        let add = kernel(&context, "add");
        let mut out = stream.alloc_zeros::<f32>(32).unwrap();
        // SAFETY: never written, which nobody looks at here.
        let never = unsafe { stream.alloc::<f32>(32) }.unwrap();
        // SAFETY: the arguments are those of the kernel, within bounds.
        unsafe { stream.launch_builder(&add).arg(&mut out).arg(&never).arg(&never).arg(&32u32).launch(WARP) }.unwrap();
        stream.synchronize().unwrap();
    });
}

#[test]
fn blocking_launches() {
    in_child("blocking_launches", &[("CUDA_LAUNCH_BLOCKING", "1")], || {
        let (context, stream) = device();
        let function = kernel(&context, "store_past");
        let mut data = stream.alloc_zeros::<f32>(4).unwrap();
        // SAFETY: the kernel stores past the array: that is the point.
        let launched = unsafe { stream.launch_builder(&function).arg(&mut data).arg(&4u32).launch(WARP) };
        assert_eq!(code(launched), CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
    });
}

/// Adds on one stream what another one uploads; whether the first waits for the second is the caller's choice.
fn upload_and_add(wait: bool) -> Result<Vec<f32>, CUresult> {
    let (context, stream) = device();
    // SAFETY: the order of streams is this test's own affair.
    unsafe { context.disable_event_tracking() };
    let other = context.new_stream().unwrap();
    let add = kernel(&context, "add");
    let mut out = stream.alloc_zeros::<f32>(32).unwrap();
    let a = other.clone_htod(&[1.5f32; 32]).unwrap();
    if wait {
        stream.join(&other).unwrap();
    }
    // SAFETY: the arguments are those of the kernel, within bounds.
    unsafe { stream.launch_builder(&add).arg(&mut out).arg(&a).arg(&a).arg(&32u32).launch(WARP) }.unwrap();
    stream.clone_dtoh(&out).map_err(|e| e.0)
}

#[test]
fn deferred_work_finds_a_forgotten_wait() {
    in_child("deferred_work_finds_a_forgotten_wait", &[("NDCUDA_SOFT_DEFER", "1")], || {
        assert_eq!(upload_and_add(true), Ok(vec![3.0; 32]));
        assert_eq!(upload_and_add(false), Err(CUresult::CUDA_ERROR_LAUNCH_FAILED));
        assert!(control().last_fault().unwrap().contains("uninitialised"));
    });
}

#[test]
fn work_inside_its_call_hides_a_forgotten_wait() {
    in_child("work_inside_its_call_hides_a_forgotten_wait", &[("NDCUDA_SOFT_DEFER", "0")], || {
        assert_eq!(upload_and_add(false), Ok(vec![3.0; 32]));
    });
}

#[test]
fn deferred_work_runs_when_someone_waits() {
    in_child("deferred_work_runs_when_someone_waits", &[("NDCUDA_SOFT_DEFER", "1")], || {
        let (context, stream) = device();
        // Page-locked memory is read when the copy runs: who writes to it before that changes what is copied.
        // SAFETY: written before it is read.
        let pinned = unsafe { result::malloc_host(128, 0) }.unwrap().cast::<f32>();
        let mut a = stream.alloc_zeros::<f32>(32).unwrap();
        // SAFETY: 32 elements of page-locked memory, used by this thread alone.
        unsafe {
            let host = std::slice::from_raw_parts_mut(pinned, 32);
            host.fill(1.0);
            stream.memcpy_htod(&*host, &mut a).unwrap();
            host.fill(2.0);
            assert_eq!(stream.clone_dtoh(&a).unwrap(), [2.0; 32]);
            stream.memcpy_dtoh(&a, &mut *host).unwrap();
            host.fill(0.0);
            stream.synchronize().unwrap();
            assert_eq!(host, [2.0; 32]);
            result::free_host(pinned.cast()).unwrap();
        }
        // Pageable memory may change at once.
        let mut host = vec![3.0f32; 32];
        stream.memcpy_htod(&host, &mut a).unwrap();
        host.fill(4.0);
        let event = stream.record_event(None).unwrap();
        assert!(!event.try_is_complete().unwrap());
        assert!(event.try_is_complete().unwrap());
        assert_eq!(stream.clone_dtoh(&a).unwrap(), [3.0; 32]);
        // Memory is given back in stream order, and what was freed may not be named any more.
        let (at, guard) = a.device_ptr(&stream);
        drop(guard);
        drop(a);
        // SAFETY: refused.
        let refused = unsafe { result::memset_d8_async(at, 0, 4, stream.cu_stream()) };
        assert_eq!(code(refused), CUresult::CUDA_ERROR_INVALID_VALUE);
        assert!(control().live().allocations > 0);
        context.synchronize().unwrap();
        assert_eq!(control().live().allocations, 0);
        // The default stream waits for blocking streams, and they for it.
        let blocking = result::stream::create(result::stream::StreamKind::Default).unwrap();
        // SAFETY: streams and memory of this context.
        unsafe {
            let at = result::malloc_async(blocking, 4).unwrap();
            result::memset_d8_async(at, 7, 4, blocking).unwrap();
            let mut four = [0u8; 4];
            result::memcpy_dtoh_sync(&mut four, at).unwrap();
            assert_eq!(four, [7; 4]);
            result::memset_d8_async(at, 9, 4, std::ptr::null_mut()).unwrap();
            result::memcpy_dtoh_async(&mut four, at, blocking).unwrap();
            assert_eq!(four, [9; 4]);
        }
    });
}
