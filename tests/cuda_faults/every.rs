//! Every call of every kind fails once, in a whole program: an error or a recovery, no panic, no leak, and the next run is right.

use crate::child::{self, Case, device};
use crate::work::{expected, work};
use libtest_mimic::{Failed, Trial};
use ndcuda::{Device, Error};
use softcuda_driver::control::{Control, Kind, Live};

/// Cases that are tests of their own.
pub const CASES: &[Case] = &[
    Case { name: "every::warm", variables: &[], body: warm },
    Case { name: "every::warm_without_pools", variables: &[("SOFTCUDA_POOLS", "0")], body: warm },
    Case { name: "every::lost", variables: &[], body: lost },
];

/// Cases that a test runs many times: the calls of a first run fail, each in a new process.
pub const PARTS: &[Case] = &[Case { name: "every::one", variables: &[], body: one }];

const FIRST: [(&str, Kind); 7] = [
    ("modules", Kind::Module),
    ("pinned", Kind::Pinned),
    ("streams", Kind::Stream),
    ("events", Kind::Event),
    ("blas", Kind::Blas),
    ("synchronizations", Kind::Sync),
    ("kernels", Kind::Kernel),
];

/// A test for each kind of call that a process makes when it first does something, or that ends its context.
pub fn first() -> Vec<Trial> {
    FIRST.iter().map(|(name, _)| Trial::test(format!("every::first_{name}"), move || all_of(name))).collect()
}

fn all_of(kind: &str) -> Result<(), Failed> {
    for n in 1.. {
        let said = child::run("every::one", &[("TEST_KIND", kind), ("TEST_NTH", &n.to_string())])?;
        if said.contains("none failed") {
            return if n > 1 { Ok(()) } else { Err(format!("no call of {kind}").into()) };
        }
    }
    Ok(())
}

/// What has to be as before once all arrays are gone and kept memory was given back.
fn held(control: &Control, dev: &Device) -> Live {
    dev.trim();
    Live { peak_bytes: 0, ..control.live() }
}

/// Whether an error is one of the driver, of a library or for want of memory.
pub fn is_driver_error(e: &Error) -> bool {
    match e {
        Error::At { source, .. } => is_driver_error(source),
        e => matches!(e, Error::Driver { .. } | Error::OutOfMemory { .. }),
    }
}

/// The n-th call of a kind fails with a code, 0 being the usual one; whether the program got an error.
fn fails(control: &Control, dev: &Device, kind: Kind, n: u64, code: i32) -> bool {
    control.fail_with(kind, n, code);
    let got = work(dev);
    assert_eq!(control.fail_left(kind), 0, "call {n} of {kind:?} failed");
    match got {
        Ok(out) => {
            assert_eq!(out, expected(), "{kind:?} {n}");
            false
        }
        Err(e) => {
            assert!(is_driver_error(&e) && e.to_string().len() > 20, "{kind:?} {n}: {e:?}");
            true
        }
    }
}

/// Calls fail on a device that has run the program before: modules are loaded, plans made.
pub fn warm() {
    let (control, _) = device();
    let dev = Device::cuda(0).unwrap();
    let want = expected();
    for _ in 0..2 {
        assert_eq!(work(&dev).unwrap(), want);
    }
    // Nothing is kept from here on whenever a call is counted, so that the same calls are made each time.
    let (base, in_use) = (held(&control, &dev), dev.memory().0);
    // Errors that a driver gives for want of memory, and one it gives for other reasons.
    let cases = [
        (Kind::Alloc, 0, false),
        (Kind::Alloc, 999, true),
        (Kind::Copy, 0, true),
        (Kind::Launch, 0, true),
        (Kind::Sync, 0, true),
        (Kind::Blas, 0, true),
    ];
    for (kind, code, is_error) in cases {
        let before = control.calls(kind);
        assert_eq!(work(&dev).unwrap(), want);
        let calls = control.calls(kind) - before;
        println!("{kind:?}: {calls} calls");
        assert!(calls > 0 && held(&control, &dev) == base);
        for n in 1..=calls {
            assert_eq!(fails(&control, &dev, kind, n, code), is_error, "{kind:?} {n}");
            let now = held(&control, &dev);
            assert_eq!((now.allocations, now.bytes), (base.allocations, base.bytes), "{kind:?} {n} leaks");
            assert!(now.pinned <= base.pinned && now.events <= base.events, "{kind:?} {n} leaks: {now:?}");
            assert_eq!(work(&dev).unwrap(), want, "after {kind:?} {n}");
            assert_eq!((held(&control, &dev), dev.memory().0), (base, in_use), "after {kind:?} {n}");
        }
    }
}

/// The n-th call of a kind fails in a process that does everything for the first time.
fn one() {
    let (control, _) = device();
    let var = |name| std::env::var(name).unwrap();
    let kind = FIRST.iter().find(|c| c.0 == var("TEST_KIND")).unwrap().1;
    let n: u64 = var("TEST_NTH").parse().unwrap();
    control.fail(kind, n);
    let got = Device::cuda(0).and_then(|dev| work(&dev));
    if control.fail_left(kind) > 0 {
        assert_eq!(got.unwrap(), expected());
        return println!("none failed");
    }
    match got {
        // Pinned memory and its events have a substitute.
        Ok(out) => {
            assert!(out == expected() && matches!(kind, Kind::Pinned | Kind::Event | Kind::Sync), "{kind:?} {n}")
        }
        Err(e) => assert!(is_driver_error(&e) || matches!(e, Error::DeviceUnavailable { .. }), "{e:?}"),
    }
    if kind == Kind::Kernel {
        // The context is gone for good: everything is an error from here on.
        let dev = Device::cuda(0).unwrap();
        assert!(work(&dev).is_err() && dev.synchronize().is_err() && dev.array(&ndarray::arr1(&[1.0f32])).is_err());
        return dev.trim();
    }
    let dev = Device::cuda(0).unwrap();
    for _ in 0..2 {
        assert_eq!(work(&dev).unwrap(), expected(), "after {kind:?} {n}");
    }
    let base = held(&control, &dev);
    assert_eq!((work(&dev).unwrap(), held(&control, &dev)), (expected(), base));
    assert_eq!((base.streams, base.contexts), (1, 1));
}

/// The device is lost at any time: all calls are errors, on all threads, and nothing hangs.
fn lost() {
    let (control, _) = device();
    let dev = Device::cuda(0).unwrap();
    assert_eq!(work(&dev).unwrap(), expected());
    let x = dev.array(&ndarray::arr1(&[1.0f32, 2.0, 3.0])).unwrap();
    let stored = &x + 1.0;
    stored.eval().unwrap();
    let pending = (&x * 3.0).sum();
    control.lose_device(46);
    for _ in 0..2 {
        assert!(is_driver_error(&work(&dev).unwrap_err()));
        assert!(is_driver_error(&pending.item().unwrap_err()));
        assert!(stored.to_ndarray().is_err() && x.item().is_err() && dev.synchronize().is_err());
        assert!(format!("{stored}").contains("CUDA_ERROR_DEVICE_UNAVAILABLE"), "{stored}");
        assert!(dev.bench(2, || (&x + 2.0).eval()).is_err() && x.to_device(&Device::cpu()).is_err());
        dev.trim();
        assert_eq!(dev.memory().1, 0);
    }
    std::thread::scope(|s| {
        s.spawn(|| assert!(work(&dev).is_err()));
        s.spawn(move || drop(stored));
    });
    drop((&x + 1.0, x.clone()));
    // A pending value is not spoilt by an evaluation that failed.
    control.find_device();
    assert_eq!(pending.item().unwrap(), 18.0);
    assert_eq!(work(&dev).unwrap(), expected());
}
