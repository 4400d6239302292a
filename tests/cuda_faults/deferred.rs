//! Work that waits in its stream until something synchronizes, and launches that wait for their kernels.

use crate::child::{Case, device};
use crate::every::{SMALL, call, is_driver_error};
use crate::work::{expected, work};
use ndarray::Array1;
use ndcuda::{Device, Error};
use softcuda_driver::control::Kind;

const DEFER: (&str, &str) = ("NDCUDA_SOFT_DEFER", "1");

/// All of them.
pub const CASES: &[Case] = &[
    Case { name: "deferred::whole_program", variables: &[DEFER], body: whole_program },
    Case { name: "deferred::other_order", variables: &[DEFER, ("SOFTCUDA_SEED", "7")], body: whole_program },
    Case { name: "deferred::without_pools", variables: &[DEFER, ("SOFTCUDA_POOLS", "0")], body: whole_program },
    Case { name: "deferred::every_call_fails", variables: &[DEFER, SMALL[0]], body: call },
    Case { name: "deferred::errors_come_with_the_read", variables: &[DEFER], body: errors_come_with_the_read },
    Case { name: "deferred::host_memory_is_free_at_once", variables: &[DEFER], body: host_memory_is_free_at_once },
    Case { name: "deferred::without_pinned_memory", variables: &[DEFER], body: without_pinned_memory },
    Case { name: "deferred::pinned_memory_in_use_stays", variables: &[DEFER], body: pinned_memory_in_use_stays },
    Case { name: "deferred::freed_memory_is_taken_again", variables: &[DEFER], body: freed_memory_is_taken_again },
    Case { name: "deferred::little_memory", variables: &[DEFER, ("SOFTCUDA_MEMORY", "33554432")], body: little_memory },
    Case {
        name: "deferred::blocking_launches",
        variables: &[("CUDA_LAUNCH_BLOCKING", "1")],
        body: errors_come_with_the_launch,
    },
];

fn whole_program() {
    device();
    let dev = Device::cuda(0).unwrap();
    for _ in 0..3 {
        assert_eq!(work(&dev).unwrap(), expected());
    }
}

/// A kernel that fails after its evaluation has returned.
fn errors_come_with_the_read() {
    let (control, _) = device();
    let dev = Device::cuda(0).unwrap();
    let x = dev.array(Array1::from_elem(10, 1.0f32)).unwrap();
    let y = &x + 1.0;
    control.fail(Kind::Kernel, 1);
    y.eval().unwrap();
    assert_eq!(control.fail_left(Kind::Kernel), 1, "it has not run yet");
    let e = y.to_ndarray().unwrap_err();
    assert!(e.to_string().contains("CUDA_ERROR_LAUNCH_FAILED"), "{e}");
    for _ in 0..2 {
        assert!(is_driver_error(&y.to_ndarray().unwrap_err()) && is_driver_error(&dev.synchronize().unwrap_err()));
        assert!(is_driver_error(&(&x + 2.0).eval().unwrap_err()));
    }
}

fn errors_come_with_the_launch() {
    let (control, _) = device();
    let dev = Device::cuda(0).unwrap();
    let y = dev.array(Array1::from_elem(10, 1.0f32)).unwrap() + 1.0;
    control.fail(Kind::Kernel, 1);
    match y.eval().unwrap_err() {
        Error::At { source, at } => {
            assert!(at.contains("deferred.rs:") && is_driver_error(&source), "{at}: {source}");
            assert!(source.to_string().contains("cuLaunchKernel"), "{source}");
        }
        e => panic!("without its place: {e}"),
    }
}

/// What is uploaded may change as soon as the call returns: small arrays, more of them than there are pinned pieces, and one of several pieces.
fn host_memory_is_free_at_once() {
    device();
    let dev = Device::cuda(0).unwrap();
    let mut host = Array1::from_elem(1000, 0i32);
    let mut held = vec![];
    for n in 0..30 {
        host.fill(n);
        held.push(dev.array(&host).unwrap());
    }
    host.fill(-1);
    let mut large = Array1::from_iter((0..5_000_000u32).map(|v| v.wrapping_mul(2_654_435_761)));
    let want = large.clone();
    let x = dev.array(&large).unwrap();
    large.fill(0);
    for (n, x) in held.iter().enumerate().rev() {
        assert_eq!(x.to_ndarray().unwrap(), Array1::from_elem(1000, n as i32));
    }
    assert_eq!(x.to_ndarray().unwrap(), want);
    let mut into = Array1::from_elem(want.len(), 0u32);
    x.read_into(into.view_mut()).unwrap();
    assert_eq!(into, want);
}

/// The same through pageable memory.
fn without_pinned_memory() {
    let (control, _) = device();
    let dev = Device::cuda(0).unwrap();
    let mut host = Array1::from_elem(3_000_000, 5u8);
    control.fail(Kind::Pinned, 1);
    let x = dev.array(&host).unwrap();
    assert_eq!(control.fail_left(Kind::Pinned), 0);
    host.fill(0);
    control.fail(Kind::Pinned, 1);
    assert!(x.to_ndarray().unwrap().iter().all(|&v| v == 5));
    assert_eq!(control.fail_left(Kind::Pinned), 0);
    // The second of two pieces is refused: one does for both.
    let large = Array1::from_iter((0..3_000_000u32).map(|v| v ^ 0x5555));
    control.fail(Kind::Pinned, 2);
    let x = dev.array(&large).unwrap();
    assert_eq!(control.fail_left(Kind::Pinned), 0);
    assert_eq!(control.live().pinned, 1);
    control.fail(Kind::Pinned, 1);
    assert_eq!(x.to_ndarray().unwrap(), large);
    assert_eq!((control.fail_left(Kind::Pinned), control.live().pinned), (0, 1));
}

/// A pinned piece whose copy could not be waited for is not freed.
fn pinned_memory_in_use_stays() {
    let (control, _) = device();
    let dev = Device::cuda(0).unwrap();
    // Three pieces of memory go through two pinned ones: the first is waited for before it takes the third.
    let large = Array1::from_iter((0..3_000_000u32).map(|v| v ^ 0x5555));
    control.fail_times(Kind::Sync, 1, 3, 0);
    assert!(is_driver_error(&dev.array(&large).unwrap_err()));
    assert_eq!(
        (control.fail_left(Kind::Sync), control.live().pinned),
        (0, 2),
        "both are in use, for all that is known"
    );
    assert_eq!(dev.array(&large).unwrap().to_ndarray().unwrap(), large);
}

/// Memory that is freed while kernels that use it wait in the stream.
fn freed_memory_is_taken_again() {
    device();
    let dev = Device::cuda(0).unwrap();
    let mut sums = vec![];
    for n in 0..40 {
        let x = dev.array(Array1::from_elem(200, n as f32)).unwrap();
        let y = &x * 2.0;
        y.eval().unwrap();
        let sum = y.sum();
        sum.eval().unwrap();
        sums.push(sum);
    }
    dev.trim();
    for (n, sum) in sums.iter().enumerate() {
        assert_eq!(sum.item().unwrap(), n as f32 * 400.0);
    }
}

/// More than the device holds goes through it, as each array is dropped before the next comes.
fn little_memory() {
    device();
    let dev = Device::cuda(0).unwrap();
    for n in 0..12u8 {
        let x = dev.array(Array1::from_elem(10 << 20, n)).unwrap();
        if n % 5 == 0 {
            assert!(x.to_ndarray().unwrap().iter().all(|&v| v == n));
        }
    }
    assert_eq!(work(&dev).unwrap(), expected());
}
