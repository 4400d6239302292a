//! Memory that runs out, limits, what is kept for reuse, with pools of the driver's and without.

use crate::child::{Case, device};
use crate::work::{expected, work};
use ndarray::Array1;
use ndcuda::{Device, DeviceArray1, Error, Result};
use softcuda_driver::control::Kind;

/// 32 MiB of memory, no pools.
const KEPT: &[(&str, &str)] = &[("SOFTCUDA_POOLS", "0"), ("SOFTCUDA_MEMORY", "33554432")];

/// All of them.
pub const CASES: &[Case] = &[
    Case { name: "memory::kept_blocks_make_room", variables: KEPT, body: kept_blocks_make_room },
    Case { name: "memory::out_of_memory", variables: &[("SOFTCUDA_MEMORY", "33554432")], body: out_of_memory },
    Case { name: "memory::out_of_memory_without_pools", variables: KEPT, body: out_of_memory },
    Case { name: "memory::threads_make_room", variables: KEPT, body: threads_make_room },
    Case { name: "memory::limit", variables: &[], body: limit },
    Case { name: "memory::limit_without_pools", variables: KEPT, body: limit },
    Case { name: "memory::info", variables: KEPT, body: info },
    Case { name: "memory::in_place", variables: KEPT, body: in_place },
];

const MIB: usize = 1 << 20;

fn bytes(dev: &Device, n: usize) -> Result<DeviceArray1<u8>> {
    dev.array(Array1::from_elem(n, 7u8))
}

/// What an error says of the memory asked for.
fn requested(e: Error) -> (usize, String) {
    match e {
        Error::At { source, .. } => requested(*source),
        Error::OutOfMemory { device, requested, detail } => {
            assert_eq!(device, "cuda:0");
            (requested, detail)
        }
        e => panic!("another error: {e}"),
    }
}

fn kept_blocks_make_room() {
    let (control, _) = device();
    let dev = Device::cuda(0).unwrap();
    assert_eq!(work(&dev).unwrap(), expected());
    dev.trim();
    let base = dev.memory();
    assert_eq!(base.1, 0, "all was given back");
    drop(bytes(&dev, 20 * MIB).unwrap());
    assert_eq!(dev.memory(), (base.0, 20 * MIB), "what is freed is kept");
    // The same size, or about the same, takes it again.
    let calls = control.calls(Kind::Alloc);
    let again = bytes(&dev, 20 * MIB - 1000).unwrap();
    assert_eq!((control.calls(Kind::Alloc), dev.memory().1), (calls, 0));
    drop(again);
    // Beside what is kept there is no room for this: one refusal, then it is there.
    let large = bytes(&dev, 24 * MIB).unwrap();
    assert_eq!(control.calls(Kind::Alloc), calls + 2);
    assert_eq!(dev.memory(), (base.0 + 24 * MIB, 0));
    assert!(large.to_ndarray().unwrap().iter().all(|&v| v == 7));
    drop(large);
    dev.trim();
    assert_eq!((dev.memory(), work(&dev).unwrap()), (base, expected()));
}

/// Two threads need at most 24 MiB of 32 together, in sizes that do not share blocks: one may find nothing kept and nothing free while the other
/// gives back what was.
fn threads_make_room() {
    let (control, _) = device();
    let dev = Device::cuda(0).unwrap();
    let (calls, rounds) = (control.calls(Kind::Alloc), 200);
    std::thread::scope(|s| {
        for thread in 0..2 {
            let dev = &dev;
            s.spawn(move || {
                for n in 0..rounds {
                    let size = (4 + (n * 5 + thread * 3) % 9) * MIB;
                    drop(bytes(dev, size).unwrap_or_else(|e| panic!("{size} bytes in round {n}: {e}")));
                }
            });
        }
    });
    assert!(control.calls(Kind::Alloc) > calls + rounds as u64, "blocks were given back");
}

fn out_of_memory() {
    device();
    let dev = Device::cuda(0).unwrap();
    assert_eq!(work(&dev).unwrap(), expected());
    dev.trim();
    let base = dev.memory();
    let large = bytes(&dev, 24 * MIB).unwrap();
    // An upload, a result, and a result in the middle of a plan.
    let (n, detail) = requested(bytes(&dev, 16 * MIB).unwrap_err());
    assert!(n == 16 * MIB && detail.contains("bytes free of 33554432"), "{n}{detail}");
    let free: usize = detail.trim_start_matches(", ").split(' ').next().unwrap().parse().unwrap();
    assert!((6 * MIB..=8 * MIB).contains(&free), "{detail}");
    let wide = large.cast::<f32>();
    let e = wide.eval().unwrap_err();
    assert!(e.to_string().contains("memory.rs:"), "where it was recorded: {e}");
    assert_eq!(requested(e).0, 96 * MIB);
    // What fits still runs; what failed is the same error again, and is right once there is room.
    assert_eq!(work(&dev).unwrap(), expected());
    let pending = &large + 1;
    assert_eq!(requested(pending.eval().unwrap_err()).0, 24 * MIB);
    assert_eq!(dev.memory().0, base.0 + 24 * MIB, "nothing of it stays");
    drop((wide, pending, large));
    dev.trim();
    assert_eq!(dev.memory(), base);
    assert!(bytes(&dev, 28 * MIB).unwrap().to_ndarray().unwrap().iter().all(|&v| v == 7));
}

fn limit() {
    device();
    let dev = Device::cuda(0).unwrap();
    assert_eq!(work(&dev).unwrap(), expected());
    let held = bytes(&dev, MIB).unwrap();
    let base = dev.memory().0;
    dev.memory_limit(Some(base + 2 * MIB)).unwrap();
    assert_eq!(bytes(&dev, 2 * MIB).unwrap().len(), 2 * MIB, "just the limit");
    let (n, detail) = requested(bytes(&dev, 2 * MIB + 1).unwrap_err());
    assert_eq!((n, detail), (2 * MIB + 1, format!(", {base} in use of the limit of {} bytes", base + 2 * MIB)));
    assert_eq!(work(&dev).unwrap(), expected());
    // Below what is in use nothing more is to be had, and what is there stays.
    dev.memory_limit(Some(0)).unwrap();
    assert!(work(&dev).is_err() && held.to_ndarray().unwrap()[0] == 7);
    dev.memory_limit(None).unwrap();
    assert_eq!(bytes(&dev, 3 * MIB).unwrap().len(), 3 * MIB);
    assert_eq!((work(&dev).unwrap(), dev.memory().0), (expected(), base));
    assert!(matches!(Device::cpu().memory_limit(None), Err(Error::DeviceUnavailable { .. })));
}

/// What is free on the device, of all that it has.
fn info() {
    device();
    let dev = Device::cuda(0).unwrap();
    let (before, total) = dev.memory_info().unwrap();
    assert!(total == 32 * MIB && before <= total, "{before} {total}");
    let held = bytes(&dev, 8 * MIB).unwrap();
    assert_eq!(dev.memory_info().unwrap(), (before - 8 * MIB, total));
    drop(held);
    assert_eq!(dev.memory_info().unwrap().0, before - 8 * MIB, "it is kept");
    dev.trim();
    assert!(dev.memory_info().unwrap().0 >= before);
    let none = Device::cpu().memory_info().unwrap_err();
    assert!(matches!(&none, Error::DeviceUnavailable { device, .. } if device == "cpu"), "{none}");
}

/// Sums over a loop: one buffer, whatever fails on the way, and a failure is an error and no wrong value.
fn in_place() {
    let (control, _) = device();
    let dev = Device::cuda(0).unwrap();
    let step = dev.array(Array1::from_elem(100, 1.0f32)).unwrap();
    let run = |times: usize| -> Result<f32> {
        let mut x = dev.array(Array1::from_elem(100, 0.0f32))?;
        for _ in 0..times {
            x += &step;
        }
        Ok(x.to_ndarray()?.sum())
    };
    assert_eq!(run(300).unwrap(), 30_000.0);
    for kind in [Kind::Alloc, Kind::Launch, Kind::Copy] {
        dev.trim();
        let before = control.calls(kind);
        assert_eq!(run(300).unwrap(), 30_000.0);
        for n in 1..=control.calls(kind) - before {
            dev.trim();
            control.fail_with(kind, n, 999);
            assert!(run(300).is_err(), "{kind:?} {n}");
            assert_eq!(control.fail_left(kind), 0);
            assert_eq!(run(300).unwrap(), 30_000.0, "after {kind:?} {n}");
        }
    }
}
