//! The driver API through cudarc, on a device as it is by default.

mod common;

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr;

use common::{PTX, code, control, device, kernel, kernels};
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute, CUresult};
use cudarc::driver::{CudaContext, DevicePtr, LaunchConfig, PushKernelArg, result};
use cudarc::nvrtc::Ptx;

fn launch(blocks: u32, threads: u32, shared: u32) -> LaunchConfig {
    LaunchConfig { grid_dim: (blocks, 1, 1), block_dim: (threads, 1, 1), shared_mem_bytes: shared }
}

#[test]
fn a_device_says_what_it_is() {
    control();
    // SAFETY: asks whether a library can be opened.
    assert!(unsafe { sys::is_culib_present() });
    assert_eq!(CudaContext::device_count().unwrap(), 1);
    let (context, _stream) = device();
    assert_eq!(context.compute_capability().unwrap(), (8, 0));
    assert_eq!(context.name().unwrap(), "softcuda sm_80");
    assert_eq!(context.total_mem().unwrap(), 8 << 30);
    assert!(context.has_async_alloc());
    let attribute = |a| context.attribute(a).unwrap();
    assert_eq!(attribute(Attribute::CU_DEVICE_ATTRIBUTE_WARP_SIZE), 32);
    assert_eq!(attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN), 163 << 10);
    assert_eq!(attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT), 8);
    let mut version = 0;
    // SAFETY: room for the answer.
    assert_eq!(unsafe { sys::cuDriverGetVersion(&mut version) }, CUresult::CUDA_SUCCESS);
    assert_eq!(version, 13_050);
    assert_eq!(code(CudaContext::new(1)), CUresult::CUDA_ERROR_INVALID_DEVICE);
    let text = result::DriverError(CUresult::CUDA_ERROR_ILLEGAL_ADDRESS).error_string().unwrap();
    assert_eq!(text.to_str().unwrap(), "an illegal memory access was encountered");
}

#[test]
fn copies_and_fills_round_trip() {
    let (context, stream) = device();
    let host: Vec<f32> = (0..1000).map(|i| i as f32).collect();
    let a = stream.clone_htod(&host).unwrap();
    let b = stream.clone_dtod(&a).unwrap();
    assert_eq!(stream.clone_dtoh(&b).unwrap(), host);
    assert_eq!(stream.clone_dtoh(&b.slice(10..20)).unwrap(), &host[10..20]);
    let zeros = stream.alloc_zeros::<u64>(77).unwrap();
    assert_eq!(stream.clone_dtoh(&zeros).unwrap(), [0; 77]);
    // SAFETY: written before it is read.
    let mut pinned = unsafe { context.alloc_pinned_with_flags::<f32>(1000, 0) }.unwrap();
    stream.memcpy_dtoh(&a, &mut pinned).unwrap();
    assert_eq!(pinned.as_slice().unwrap(), host);
    let c = stream.clone_htod(&pinned).unwrap();
    assert_eq!(stream.clone_dtoh(&c).unwrap(), host);

    let (at, _guard) = c.device_ptr(&stream);
    let mut words = [0u32; 4];
    // SAFETY: the addresses and sizes lie in `c`, or are refused.
    unsafe {
        assert_eq!(sys::cuMemsetD32_v2(at, 0x0102_0304, 3), CUresult::CUDA_SUCCESS);
        assert_eq!(sys::cuMemsetD16_v2(at + 12, 0xABCD, 2), CUresult::CUDA_SUCCESS);
        result::memcpy_dtoh_sync(&mut words, at).unwrap();
        assert_eq!(words, [0x0102_0304, 0x0102_0304, 0x0102_0304, 0xABCD_ABCD]);
        assert_eq!(sys::cuMemsetD32_v2(at + 1, 0, 1), CUresult::CUDA_ERROR_INVALID_VALUE);
        assert_eq!(sys::cuMemsetD8_v2(at + 3999, 0, 2), CUresult::CUDA_ERROR_INVALID_VALUE);
        assert_eq!(code(result::memcpy_dtoh_sync(&mut words, at + 3985)), CUresult::CUDA_ERROR_INVALID_VALUE);
        assert_eq!(code(result::memcpy_dtoh_sync(&mut words, 64)), CUresult::CUDA_ERROR_INVALID_VALUE);
        let mut size = 0usize;
        let out = (&raw mut size).cast::<c_void>();
        let attribute = sys::CUpointer_attribute::CU_POINTER_ATTRIBUTE_RANGE_SIZE;
        assert_eq!(sys::cuPointerGetAttribute(out, attribute, at + 40), CUresult::CUDA_SUCCESS);
        assert_eq!(size, 4000);
    }
}

#[test]
fn allocations_are_checked_and_given_back() {
    let (context, stream) = device();
    // SAFETY: nothing is read; what is not an allocation is refused.
    unsafe {
        assert_eq!(code(result::malloc_sync(0)), CUresult::CUDA_ERROR_INVALID_VALUE);
        assert_eq!(code(result::malloc_async(stream.cu_stream(), 0)), CUresult::CUDA_ERROR_INVALID_VALUE);
        let at = result::malloc_sync(1 << 20).unwrap();
        assert_eq!(code(result::free_sync(at + 512)), CUresult::CUDA_ERROR_INVALID_VALUE);
        result::free_sync(at).unwrap();
        assert_eq!(code(result::free_sync(at)), CUresult::CUDA_ERROR_INVALID_VALUE);
        assert_eq!(code(result::memset_d8_sync(at, 0, 1)), CUresult::CUDA_ERROR_INVALID_VALUE);
        assert_eq!(code(result::malloc_sync(9 << 30)), CUresult::CUDA_ERROR_OUT_OF_MEMORY);
        let pool = result::device::get_default_mem_pool(context.cu_device()).unwrap();
        let (mut used, attribute) = (0u64, sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT);
        let at = result::malloc_async(stream.cu_stream(), 3000).unwrap();
        result::mem_pool::get_attribute(pool, attribute, (&raw mut used).cast()).unwrap();
        assert!(used >= 3000);
        result::free_async(at, stream.cu_stream()).unwrap();
        assert_eq!(code(result::free_async(at, stream.cu_stream())), CUresult::CUDA_ERROR_INVALID_VALUE);
    }
}

#[test]
fn bank_conflicts_name_their_instruction() {
    let (context, stream) = device();
    let text = ".version 8.0\n.target sm_75\n.address_size 64\n.visible .entry k()\n{\n.shared .align 128 .b8 m[4096];\n\
                .reg .b32 %r<3>;\nmov.u32 %r1, %tid.x;\nshl.b32 %r1, %r1, 6;\nmov.u32 %r2, m;\nadd.u32 %r1, %r1, %r2;\n\
                st.shared.b32 [%r1], %r2;\nret;\n}\n";
    let kernel = context.load_module(Ptx::from_src(text)).unwrap().load_function("k").unwrap();
    let control = control();
    control.reset();
    control.record(true);
    // SAFETY: it has no arguments, and stores in its own shared memory.
    unsafe { stream.launch_builder(&kernel).launch(launch(3, 64, 0)) }.unwrap();
    stream.synchronize().unwrap();
    let [done] = control.launches()[..] else { panic!("one launch") };
    // Lanes 64 bytes apart: 16 of a warp in each of two banks.
    assert_eq!((done.counters.shared_requests, done.counters.bank_conflicts), (6, 6 * 15));
    assert_eq!((done.counters.worst_requests, done.counters.worst_conflicts), (6, 6 * 15));
    assert_eq!(done.worst_instruction(), "st.shared.b32 [%r1], %r2;");
    control.record(false);
}

#[test]
fn kernels_run_with_their_arguments() {
    let (context, stream) = device();
    let module = kernels(&context);
    let n = 1000u32;
    let a = stream.clone_htod(&(0..n).map(|i| i as f32).collect::<Vec<_>>()).unwrap();
    let b = stream.clone_htod(&vec![0.5f32; n as usize]).unwrap();
    let mut out = stream.alloc_zeros::<f32>(n as usize).unwrap();
    let control = control();
    control.reset();
    control.record(true);
    let add = module.load_function("add").unwrap();
    // SAFETY: the arguments are those of the kernel, within bounds.
    unsafe { stream.launch_builder(&add).arg(&mut out).arg(&a).arg(&b).arg(&n).launch(launch(4, 256, 0)) }.unwrap();
    assert_eq!(stream.clone_dtoh(&out).unwrap(), (0..n).map(|i| i as f32 + 0.5).collect::<Vec<_>>());
    let launches = control.launches();
    assert_eq!(launches.len(), 1);
    assert_eq!((launches[0].name().as_str(), launches[0].grid, launches[0].block), ("add", [4, 1, 1], [256, 1, 1]));
    assert_eq!(launches[0].counters.threads, 1024);
    assert_eq!(launches[0].counters.load_sectors, 2 * 125);
    assert_eq!(launches[0].worst_instruction(), "");
    let counters = control.counters();
    assert_eq!((counters.launches, counters.downloads, counters.download_bytes), (1, 1, 4000));
    control.record(false);

    // Parameters of many sizes lie where their alignment puts them.
    let mixed = module.load_function("mixed").unwrap();
    let mut sum = stream.alloc_zeros::<f64>(32).unwrap();
    let mut mix = stream.launch_builder(&mixed);
    // SAFETY: as above.
    unsafe { mix.arg(&mut sum).arg(&-3i8).arg(&0.25f64).arg(&1000i16).arg(&0.5f32).launch(launch(1, 32, 0)) }.unwrap();
    assert_eq!(stream.clone_dtoh(&sum).unwrap(), [997.75; 32]);

    // The same arguments from a buffer.
    let mut buffer = [0u8; 40];
    let (at, _guard) = sum.device_ptr(&stream);
    buffer[..8].copy_from_slice(&at.to_le_bytes());
    buffer[8] = 1;
    buffer[16..24].copy_from_slice(&2.0f64.to_le_bytes());
    buffer[24..26].copy_from_slice(&3i16.to_le_bytes());
    buffer[28..32].copy_from_slice(&4.0f32.to_le_bytes());
    let mut size = 32usize;
    let give = |size: &mut usize, buffer: &mut [u8]| {
        let size = (&raw mut *size).cast::<c_void>();
        let mut extra: [*mut c_void; 5] = [
            ptr::without_provenance_mut(1),
            buffer.as_mut_ptr().cast(),
            ptr::without_provenance_mut(2),
            size,
            ptr::null_mut(),
        ];
        let (f, s) = (mixed.cu_function(), stream.cu_stream());
        // SAFETY: the list ends in null, the buffer holds what its size says.
        unsafe { sys::cuLaunchKernel(f, 1, 1, 1, 32, 1, 1, 0, s, ptr::null_mut(), extra.as_mut_ptr()) }
    };
    assert_eq!(give(&mut size, &mut buffer), CUresult::CUDA_SUCCESS);
    assert_eq!(stream.clone_dtoh(&sum).unwrap(), [10.0; 32]);
    size = 16;
    assert_eq!(give(&mut size, &mut buffer), CUresult::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
}

#[test]
fn launches_are_checked() {
    let (context, stream) = device();
    let bounded = kernel(&context, "bounded");
    let mut out = stream.alloc_zeros::<u32>(2048).unwrap();
    let mut run = |config| {
        // SAFETY: the arguments are those of the kernel; sizes that do not fit are refused.
        code(unsafe { stream.launch_builder(&bounded).arg(&mut out).launch(config) })
    };
    assert_eq!(run(launch(1, 64, 0)), CUresult::CUDA_SUCCESS);
    assert_eq!(run(launch(1, 65, 0)), CUresult::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
    assert_eq!(run(launch(1, 1025, 0)), CUresult::CUDA_ERROR_INVALID_VALUE);
    assert_eq!(run(launch(0, 64, 0)), CUresult::CUDA_ERROR_INVALID_VALUE);
    assert_eq!(run(launch(1, 0, 0)), CUresult::CUDA_ERROR_INVALID_VALUE);
    assert_eq!(run(launch(1, 64, (48 << 10) + 1)), CUresult::CUDA_ERROR_INVALID_VALUE);
    let huge = LaunchConfig { grid_dim: (1, 65_536, 1), block_dim: (1, 1, 1), shared_mem_bytes: 0 };
    assert_eq!(run(huge), CUresult::CUDA_ERROR_INVALID_VALUE);
    // After the function asked for more shared memory, a launch may have it.
    let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    assert_eq!(code(bounded.set_attribute(attribute, 164 << 10)), CUresult::CUDA_ERROR_INVALID_VALUE);
    bounded.set_attribute(attribute, 100 << 10).unwrap();
    assert_eq!(run(launch(1, 64, 100 << 10)), CUresult::CUDA_SUCCESS);
    stream.synchronize().unwrap();

    let (_, threads) = bounded.occupancy_max_potential_block_size(no_shared, 0, 0, None).unwrap();
    assert_eq!(threads, 64);
    assert_eq!(bounded.occupancy_max_active_blocks_per_multiprocessor(64, 0, None).unwrap(), 32);
    assert_eq!(bounded.occupancy_max_active_blocks_per_multiprocessor(64, 80 << 10, None).unwrap(), 2);
    // SAFETY: a function that is loaded.
    let threads = unsafe {
        let most = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK;
        result::function::get_function_attribute(bounded.cu_function(), most)
    };
    assert_eq!(threads.unwrap(), 64);
    assert_eq!(code(kernels(&context).load_function("absent")), CUresult::CUDA_ERROR_NOT_FOUND);
}

extern "C" fn no_shared(_threads: i32) -> usize {
    0
}

#[test]
fn shared_memory_and_variables_of_modules() {
    let (context, stream) = device();
    let module = kernels(&context);
    let reverse = module.load_function("reverse").unwrap();
    let mut data = stream.clone_htod(&(0..128).map(|i| i as f32).collect::<Vec<_>>()).unwrap();
    // SAFETY: 128 elements, and as many in shared memory.
    unsafe { stream.launch_builder(&reverse).arg(&mut data).launch(launch(1, 128, 512)) }.unwrap();
    assert_eq!(stream.clone_dtoh(&data).unwrap(), (0..128).rev().map(|i| i as f32).collect::<Vec<_>>());

    let scaled = module.load_function("scaled").unwrap();
    let mut scale = module.get_global("scale", &stream).unwrap();
    assert_eq!(scale.len(), 16);
    // SAFETY: four f32 lie there.
    let mut values = unsafe { scale.transmute_mut::<f32>(4) }.unwrap();
    stream.memcpy_htod(&[1.0f32, 2.0, 3.0, 4.0], &mut values).unwrap();
    for _ in 0..3 {
        // SAFETY: 8 of the 128 elements are written.
        unsafe { stream.launch_builder(&scaled).arg(&mut data).launch(launch(1, 8, 0)) }.unwrap();
    }
    assert_eq!(stream.clone_dtoh(&data.slice(0..8)).unwrap(), [1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0]);
    let runs = module.get_global("runs", &stream).unwrap();
    assert_eq!(stream.clone_dtoh(&runs).unwrap(), 3u32.to_le_bytes());
    assert_eq!(code(module.get_global("absent", &stream)), CUresult::CUDA_ERROR_NOT_FOUND);
}

#[test]
fn modules_are_refused_as_a_driver_refuses_them() {
    let (context, _stream) = device();
    let load = |image: &[u8]| code(context.load_module(Ptx::from_binary(image.to_vec())));
    assert_eq!(load(b"\x7fELF\x02\x01\x01\x33 and so on\0"), CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU);
    assert_eq!(load(b"no PTX\0"), CUresult::CUDA_ERROR_INVALID_IMAGE);
    let changed = |from: &str, to: &str| load((PTX.replacen(from, to, 1) + "\0").as_bytes());
    assert_eq!(changed(".target sm_75", ".target sm_90"), CUresult::CUDA_ERROR_INVALID_PTX);
    assert_eq!(changed(".version 8", ".version 19"), CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
    assert_eq!(changed(".visible .entry add(", ".visible .entry add(("), CUresult::CUDA_ERROR_INVALID_PTX);
    // The compiler's message goes where the caller wants it.
    let text = PTX.replacen(".target sm_75", ".target sm_90", 1) + "\0";
    let mut log = [0u8; 200];
    let mut options =
        [sys::CUjit_option::CU_JIT_ERROR_LOG_BUFFER, sys::CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
    let mut values = [log.as_mut_ptr().cast(), ptr::without_provenance_mut::<c_void>(log.len())];
    let mut module = MaybeUninit::uninit();
    let (image, options, values) = (text.as_ptr().cast(), options.as_mut_ptr(), values.as_mut_ptr());
    // SAFETY: two options with their values.
    let status = unsafe { sys::cuModuleLoadDataEx(module.as_mut_ptr(), image, 2, options, values) };
    assert_eq!(status, CUresult::CUDA_ERROR_INVALID_PTX);
    assert!(String::from_utf8_lossy(&log).contains("sm_90"));
}

#[test]
fn stale_and_foreign_handles_are_found() {
    let (context, stream) = device();
    let event = context.new_event(None).unwrap();
    // SAFETY: handles that were destroyed are refused; none is used twice.
    unsafe {
        let other = result::stream::create(result::stream::StreamKind::NonBlocking).unwrap();
        result::stream::destroy(other).unwrap();
        assert_eq!(code(result::stream::synchronize(other)), CUresult::CUDA_ERROR_INVALID_HANDLE);
        assert_eq!(code(result::malloc_async(other, 16)), CUresult::CUDA_ERROR_INVALID_HANDLE);
        assert_eq!(code(result::event::record(event.cu_event(), other)), CUresult::CUDA_ERROR_INVALID_HANDLE);
        let gone = result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT).unwrap();
        result::event::destroy(gone).unwrap();
        assert_eq!(code(result::event::query(gone)), CUresult::CUDA_ERROR_INVALID_HANDLE);
        let image = PTX.to_string() + "\0";
        let module = result::module::load_data(image.as_ptr().cast()).unwrap();
        let function = result::module::get_function(module, c"bounded".to_owned()).unwrap();
        result::module::unload(module).unwrap();
        let s = stream.cu_stream();
        let launched = result::launch_kernel(function, (1, 1, 1), (1, 1, 1), 0, s, &mut [ptr::null_mut()]);
        assert_eq!(code(launched), CUresult::CUDA_ERROR_INVALID_HANDLE);
        assert_eq!(
            sys::cuStreamBeginCapture_v2(s, sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED),
            CUresult::CUDA_ERROR_NOT_SUPPORTED
        );
    }
    // A thread has no context until it binds one.
    let free = std::thread::scope(|s| s.spawn(|| result::mem_get_info().map_err(|e| e.0)).join().unwrap());
    assert_eq!(free, Err(CUresult::CUDA_ERROR_INVALID_CONTEXT));
    let bound = || context.bind_to_thread().and_then(|()| result::mem_get_info());
    assert!(std::thread::scope(|s| s.spawn(bound).join().unwrap()).is_ok());
}

#[test]
fn events_tell_time_and_order() {
    let (context, stream) = device();
    let timed = Some(sys::CUevent_flags::CU_EVENT_DEFAULT);
    let start = stream.record_event(timed).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(5));
    let end = stream.record_event(timed).unwrap();
    let ms = start.elapsed_ms(&end).unwrap();
    assert!((4.0..10_000.0).contains(&ms), "{ms} ms");
    assert!(end.elapsed_ms(&start).unwrap() < 0.0);
    assert!(end.is_complete());
    let untimed = stream.record_event(None).unwrap();
    assert_eq!(code(start.elapsed_ms(&untimed)), CUresult::CUDA_ERROR_INVALID_HANDLE);
    let never = context.new_event(timed).unwrap();
    assert!(never.is_complete());
    assert_eq!(code(start.elapsed_ms(&never)), CUresult::CUDA_ERROR_INVALID_HANDLE);
    let other = stream.fork().unwrap();
    other.wait(&end).unwrap();
    other.synchronize().unwrap();
}

#[test]
fn entry_points_are_found_by_name() {
    device();
    let (mut found, mut status) = (ptr::null_mut(), MaybeUninit::uninit());
    // SAFETY: C strings and room for the answers.
    unsafe {
        let get = |name: &std::ffi::CStr, found: &mut *mut c_void, status: &mut MaybeUninit<_>| {
            sys::cuGetProcAddress_v2(name.as_ptr(), found, 13_000, 0, status.as_mut_ptr())
        };
        assert_eq!(get(c"cuMemAlloc", &mut found, &mut status), CUresult::CUDA_SUCCESS);
        assert!(!found.is_null());
        assert_eq!(get(c"cuNothing", &mut found, &mut status), CUresult::CUDA_ERROR_NOT_FOUND);
        assert!(found.is_null());
    }
}
