//! Arrays shared with other CUDA code: addresses out, memory of someone else's in.

use crate::child::{Case, device};
use ndarray::{Array1, Array2};
use ndcuda::cuda::cudarc::driver::{CudaSlice, CudaStream, DevicePtr, result};
use ndcuda::{Device, DeviceArray1, Error, s};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

const DEFER: &[(&str, &str)] = &[("NDCUDA_SOFT_DEFER", "1")];

/// All of them.
pub const CASES: &[Case] = &[
    Case { name: "interop::addresses", variables: &[], body: addresses },
    Case { name: "interop::addresses_deferred", variables: DEFER, body: addresses },
    Case { name: "interop::memory_of_others", variables: &[], body: memory_of_others },
    Case { name: "interop::memory_of_others_deferred", variables: DEFER, body: memory_of_others },
    Case { name: "interop::owners", variables: &[], body: owners },
    Case { name: "interop::owners_go_after_the_work", variables: DEFER, body: owners_go_after_the_work },
    Case { name: "interop::never_written", variables: DEFER, body: never_written },
    Case { name: "interop::other_streams", variables: DEFER, body: other_streams },
    Case { name: "interop::refusals", variables: &[], body: refusals },
];

/// An owner that counts how often it goes.
struct Owner<T: Send + Sync>(#[allow(dead_code, reason = "what it keeps alive")] T, Arc<AtomicUsize>);

impl<T: Send + Sync> Drop for Owner<T> {
    fn drop(&mut self) {
        self.1.fetch_add(1, SeqCst);
    }
}

fn stream(dev: &Device) -> Arc<CudaStream> {
    dev.cuda_stream().unwrap()
}

/// `0, 1, ..., n - 1` as other code makes it on a stream, and where it is.
fn foreign(on: &Arc<CudaStream>, n: usize) -> (CudaSlice<f32>, u64) {
    let slice = on.clone_htod(&(0..n).map(|v| v as f32).collect::<Vec<_>>()).unwrap();
    let address = slice.device_ptr(on).0;
    (slice, address)
}

/// An array over such memory, and how often its owner went.
fn array(dev: &Device, n: usize) -> (DeviceArray1<f32>, Arc<AtomicUsize>) {
    let (slice, address) = foreign(&stream(dev), n);
    let gone = Arc::new(AtomicUsize::new(0));
    // SAFETY: n elements, written on the device's stream, and no one writes them again.
    let x = unsafe { dev.from_raw::<f32, _>(address, n, Owner(slice, gone.clone())) }.unwrap();
    (x, gone)
}

/// An element of device memory, once what was queued is done.
fn element(dev: &Device, address: u64) -> f32 {
    dev.synchronize().unwrap();
    dev.cuda_context().unwrap().bind_to_thread().unwrap();
    let mut value = [0.0f32];
    // SAFETY: the callers' addresses are of elements of f32.
    unsafe { result::memcpy_dtoh_sync(&mut value, address) }.unwrap();
    value[0]
}

/// Elements are where `as_device_ptr` says, along its strides, of results and of views.
fn addresses() {
    device();
    let dev = Device::cuda(0).unwrap();
    let host = Array2::from_shape_fn((5, 7), |(i, k)| (10 * i + k) as f32);
    let x = dev.array(&host).unwrap();
    let check = |got: &ndcuda::cuda::DevicePtr, want: Array2<f32>| {
        for ((i, k), &v) in want.indexed_iter() {
            let steps = i as isize * got.strides()[0] + k as isize * got.strides()[1];
            assert_eq!(element(&dev, got.address().wrapping_add_signed(4 * steps as i64)), v, "{i} {k}");
        }
    };
    check(&x.as_device_ptr().unwrap(), host.clone());
    check(&(&x + 1.0).as_device_ptr().unwrap(), &host + 1.0);
    check(&(x.t() * 2.0).as_device_ptr().unwrap(), &host.t() * 2.0);
    check(&x.slice(s![1..;2, ..]).as_device_ptr().unwrap(), host.slice(s![1..;2, ..]).to_owned());
    check(&x.slice(s![..;-1, 2..;3]).as_device_ptr().unwrap(), host.slice(s![..;-1, 2..;3]).to_owned());
    check(&x.t().as_device_ptr().unwrap(), host.t().to_owned());
    // The memory outlives the array, and is not taken for a result meanwhile.
    let mut y = &x + 1.0;
    let at = y.as_device_ptr().unwrap();
    y += &x;
    assert_eq!(y.to_ndarray().unwrap(), &host * 2.0 + 1.0);
    drop(y);
    check(&at.clone(), &host + 1.0);
    let none = dev.array(Array1::<f32>::zeros(0)).unwrap();
    assert_eq!(none.as_device_ptr().unwrap().strides().len(), 1);
}

/// Arrays over memory of other code are arrays like others.
fn memory_of_others() {
    let (control, _) = device();
    let dev = Device::cuda(0).unwrap();
    let (slice, address) = foreign(&stream(&dev), 24);
    let before = control.live().allocations;
    // SAFETY: 24 elements, written on the device's stream, and no one writes them again.
    let x = unsafe { dev.from_raw::<f32, _>(address, (4, 6), slice) }.unwrap();
    assert_eq!((control.live().allocations, x.shape()), (before, &[4, 6][..]), "without a copy");
    let host = Array1::from_iter((0..24).map(|v| v as f32)).into_shape_with_order((4, 6)).unwrap();
    assert_eq!(x.as_device_ptr().unwrap().address(), address);
    assert_eq!(x, host);
    assert_eq!(x.slice(s![..;-2, 1..;2]), host.slice(s![..;-2, 1..;2]));
    assert_eq!(
        &x.slice(s![1.., ..]) * 2.0 + x.slice(s![..-1, ..]),
        &host.slice(s![1.., ..]) * 2.0 + host.slice(s![..-1, ..])
    );
    assert_eq!(x.dot(&x.t()), host.dot(&host.t()));
    assert_eq!(x.sum().item().unwrap(), 276.0);
}

/// An owner goes once: with the last array, view or pending expression over its memory, on any thread, of any size, or at once where the
/// memory is refused.
fn owners() {
    device();
    let dev = Device::cuda(0).unwrap();
    for n in [1, 100] {
        let (x, gone) = array(&dev, n);
        assert_eq!((x.len(), x.sum().item().unwrap()), (n, (0..n).sum::<usize>() as f32));
        let (view, pending, copy) = (x.slice(s![..;2]), &x + 1.0, x.clone());
        let at = x.as_device_ptr().unwrap();
        drop(x);
        drop(copy);
        drop(view);
        assert_eq!(pending.to_ndarray().unwrap(), Array1::from_iter((0..n).map(|v| v as f32 + 1.0)));
        assert_eq!(gone.load(SeqCst), 0, "its address is held");
        drop(at);
        assert_eq!(gone.load(SeqCst), 1);
        drop(pending);
        assert_eq!(gone.load(SeqCst), 1);
        let (x, gone) = array(&dev, n);
        std::thread::spawn(move || drop(x)).join().unwrap();
        assert_eq!(gone.load(SeqCst), 1, "on another thread");
    }
    let gone = Arc::new(AtomicUsize::new(0));
    // SAFETY: there are no elements.
    let none = unsafe { dev.from_raw::<f64, _>(8, 0, Owner((), gone.clone())) }.unwrap();
    assert_eq!((none + 1.0).to_ndarray().unwrap().len(), 0);
    assert_eq!(gone.load(SeqCst), 1);
}

/// What was queued has run when the owner goes, which may free its memory on another stream at once.
fn owners_go_after_the_work() {
    device();
    let dev = Device::cuda(0).unwrap();
    let other = dev.cuda_context().unwrap().new_stream().unwrap();
    let mut sums = vec![];
    for n in 1..20 {
        let (slice, address) = foreign(&other, 100 * n);
        other.synchronize().unwrap();
        /// Frees on its own stream without waiting for any other.
        struct Free(Option<CudaSlice<f32>>, Arc<CudaStream>);
        impl Drop for Free {
            fn drop(&mut self) {
                let address = self.0.take().unwrap().leak();
                // SAFETY: leaked just now, and freed once.
                unsafe { result::free_async(address, self.1.cu_stream()) }.unwrap();
                self.1.synchronize().unwrap();
            }
        }
        // SAFETY: written and waited for; no one writes it again.
        let x = unsafe { dev.from_raw::<f32, _>(address, 100 * n, Free(Some(slice), other.clone())) }.unwrap();
        let sum = (&x * 2.0).sum();
        sum.eval().unwrap();
        drop(x);
        sums.push((sum, (100 * n * (100 * n - 1)) as f32));
    }
    for (sum, want) in sums {
        assert_eq!(sum.item().unwrap(), want);
    }
}

/// Results never land in foreign memory: neither sums in place by the only handle nor what is assigned.
fn never_written() {
    device();
    let dev = Device::cuda(0).unwrap();
    let shared = || {
        let (slice, address) = foreign(&stream(&dev), 100);
        let slice = Arc::new(slice);
        // SAFETY: 100 elements, written on the device's stream, and no one writes them again.
        (unsafe { dev.from_raw::<f32, _>(address, 100, slice.clone()) }.unwrap(), slice)
    };
    let (mut x, slice) = shared();
    let one = dev.array(Array1::from_elem(100, 1.0f32)).unwrap();
    // So many that recording evaluates some of them, in place where it may.
    for _ in 0..200 {
        x += &one;
    }
    assert_eq!(x.to_ndarray().unwrap()[99], 299.0);
    assert_eq!(stream(&dev).clone_dtoh(&*slice).unwrap()[99], 99.0);
    let (mut x, slice) = shared();
    x.slice_assign(s![..50], &dev.array(Array1::from_elem(50, -1.0f32)).unwrap());
    assert_eq!(x.to_ndarray().unwrap()[0], -1.0);
    assert_eq!(stream(&dev).clone_dtoh(&*slice).unwrap()[0], 0.0);
}

/// The context and the stream are cudarc's as its users know them: its own slices may go from stream to stream without a word.
fn other_streams() {
    device();
    let dev = Device::cuda(0).unwrap();
    let context = dev.cuda_context().unwrap();
    assert!(context.is_event_tracking() && stream(&dev).context().is_event_tracking());
    let other = context.new_stream().unwrap();
    for n in 1..30 {
        let host: Vec<f32> = (0..n).map(|v| v as f32).collect();
        let slice = stream(&dev).clone_htod(&host).unwrap();
        assert_eq!(other.clone_dtoh(&slice).unwrap(), host);
        // It is freed on its own stream, after the copy on the other.
        let copy = other.clone_dtod(&slice).unwrap();
        drop(slice);
        assert_eq!(stream(&dev).clone_dtoh(&copy).unwrap(), host);
    }
}

fn refusals() {
    device();
    let dev = Device::cuda(0).unwrap();
    let (_slice, address) = foreign(&stream(&dev), 10);
    let gone = Arc::new(AtomicUsize::new(0));
    for off in [1, 2, 3] {
        // SAFETY: it is refused.
        match unsafe { dev.from_raw::<f32, _>(address + off, 4, Owner((), gone.clone())) } {
            Err(Error::Shape { op: "from_raw", reason, .. }) => {
                assert!(reason.contains("is not aligned for f32"), "{reason}")
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(gone.load(SeqCst), off as usize, "its owner goes at once");
    }
    let cpu = Device::cpu();
    // SAFETY: it is refused.
    let refused = unsafe { cpu.from_raw::<f32, _>(address, 4, ()) };
    assert!(matches!(refused, Err(Error::DeviceUnavailable { .. })));
    assert!(matches!(cpu.arange(0.0f32, 4.0, 1.0).as_device_ptr(), Err(Error::DeviceUnavailable { .. })));
    assert!(cpu.cuda_context().is_none() && cpu.cuda_stream().is_none());
}
