//! Every call of every kind fails once, in a whole program: an error or a recovery, no panic, no leak, and the next run is right.

use crate::child::{self, Case, device, through};
use crate::work::{Out, expected, work};
use libtest_mimic::{Failed, Trial};
use ndarray::Axis;
use ndcuda::{Device, Error, NewAxis, Result, s};
use softcuda_driver::control::{Control, Kind, Live};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// 8 MiB of memory.
pub const SMALL: &[(&str, &str)] = &[("SOFTCUDA_MEMORY", "8388608")];

/// Cases that are tests of their own.
pub const CASES: &[Case] = &[
    Case { name: "every::warm", variables: &[], body: warm },
    Case { name: "every::warm_without_pools", variables: &[("SOFTCUDA_POOLS", "0")], body: warm },
    Case { name: "every::call", variables: SMALL, body: call },
    Case { name: "every::call_without_pools", variables: &[SMALL[0], ("SOFTCUDA_POOLS", "0")], body: call },
    Case { name: "every::lost", variables: &[], body: lost },
    Case { name: "every::timed", variables: &[], body: timed },
    Case { name: "every::timed_deferred", variables: &[("NDCUDA_SOFT_DEFER", "1")], body: timed },
];

/// Cases that a test runs many times: the calls of a first run fail, each in a new process.
pub const PARTS: &[Case] = &[
    Case { name: "every::one", variables: &[], body: one },
    Case { name: "every::opening", variables: &[], body: opening },
];

/// What fails in a process that does everything for the first time.
struct First {
    name: &'static str,
    kind: Kind,
    /// What it gives; 0 is the usual.
    code: i32,
    /// How many fail in a row.
    times: u64,
    then: Then,
}

/// What follows.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    /// An error of the call, always.
    Fails,
    /// An error, or a substitute does.
    Either,
    /// The program goes on: there is memory once what is kept went back.
    Recovery,
    /// An error that says that there is no memory.
    OutOfMemory,
}
use Then::{Either, Fails, OutOfMemory, Recovery};

const fn first_of(name: &'static str, kind: Kind, code: i32, times: u64, then: Then) -> First {
    First { name, kind, code, times, then }
}

const FIRST: [First; 14] = [
    first_of("modules_short_of_memory", Kind::Module, 0, 1, Recovery),
    first_of("modules_without_memory", Kind::Module, 0, 2, OutOfMemory),
    first_of("pinned", Kind::Pinned, 0, 1, Either),
    first_of("events", Kind::Event, 0, 1, Either),
    first_of("records", Kind::Record, 0, 1, Fails),
    first_of("blas", Kind::Blas, 14, 1, Either),
    first_of("blas_not_initialised", Kind::Blas, 1, 1, Either),
    first_of("blas_short_of_memory", Kind::Blas, 3, 1, Recovery),
    first_of("blas_without_memory", Kind::Blas, 3, 2, OutOfMemory),
    first_of("synchronizations", Kind::Sync, 0, 1, Either),
    first_of("kernels", Kind::Kernel, 0, 1, Fails),
    first_of("launches_short_of_memory", Kind::Launch, 2, 1, Recovery),
    first_of("launches_without_memory", Kind::Launch, 2, 2, OutOfMemory),
    first_of("allocations_without_memory", Kind::Alloc, 0, 2, OutOfMemory),
];

/// The same with a compiler: it is short of memory, or refuses a kernel.
const COMPILED: [First; 5] = [
    first_of("compiler", Kind::Nvrtc, 0, 1, Either),
    first_of("compilations", Kind::Compile, 0, 1, Fails),
    first_of("refused", Kind::Compile, 6, 1, Fails),
    first_of("compiled_modules", Kind::Module, 999, 1, Fails),
    first_of("compiled_modules_short_of_memory", Kind::Module, 0, 1, Recovery),
];

/// Cases of kernels that only a compiler makes: run with the newest, ignored without one.
pub const WITH_COMPILER: &[Case] = &[Case { name: "every::shared_k", variables: &[], body: shared_k }];

/// Those as tests.
pub fn with_compiler(compilers: &[PathBuf]) -> Vec<Trial> {
    let newest = compilers.first().cloned().unwrap_or_default();
    let test = |case: &'static Case| {
        let newest = newest.clone();
        let run = move || {
            let compiler = newest.display().to_string();
            child::run(case.name, &[("NDCUDA_NVRTC", &compiler)]).map(|_| ())
        };
        Trial::test(case.name, run).with_ignored_flag(compilers.is_empty())
    };
    WITH_COMPILER.iter().map(test).collect()
}

/// Blocks share k: there is no memory for what they leave, once or at all; one of both kernels is not launched.
fn shared_k() {
    let (control, _) = device();
    let dev = Device::cuda(0).unwrap();
    let whole = |i: usize, k: usize| ((i * 5 + k * 3) % 11) as f32 - 4.0;
    let x = dev.from_fn((3, 2000), |(i, k)| whole(i, k)).unwrap();
    let y = dev.from_fn((4, 2000), |(j, k)| whole(j + 7, k)).unwrap();
    let want = ndarray::Array2::from_shape_fn((3, 4), |(i, j)| {
        (0..2000).map(|k| (whole(i, k) - whole(j + 7, k)).abs()).sum::<f32>()
    });
    let get = || (x.slice(s![.., NewAxis, ..]) - y.slice(s![NewAxis, .., ..])).abs().sum_axis(Axis(2)).to_ndarray();
    assert_eq!(get().unwrap(), want);
    let base = held(&control, &dev);
    let launches = control.calls(Kind::Launch);
    assert_eq!((get().unwrap(), control.calls(Kind::Launch)), (want.clone(), launches + 2));
    assert_eq!(held(&control, &dev), base);
    // Of the result, and of what blocks leave.
    for n in [1, 2] {
        control.fail_with(Kind::Alloc, n, 0);
        assert_eq!(
            (get().unwrap(), control.fail_left(Kind::Alloc)),
            (want.clone(), 0),
            "there is room the second time"
        );
        control.fail_times(Kind::Alloc, n, 2, 0);
        assert!(is_out_of_memory(&get().unwrap_err()), "allocation {n}");
        assert_eq!((held(&control, &dev), get().unwrap()), (base, want.clone()), "after allocation {n}");
        control.fail_with(Kind::Launch, n, 0);
        assert!(is_driver_error(&get().unwrap_err()), "launch {n}");
        assert_eq!((held(&control, &dev), get().unwrap()), (base, want.clone()), "after launch {n}");
    }
}

/// A test for each kind of call that a process makes when it first does something, or that ends its context. Those with a compiler make
/// PTX, then machine code, which the software device refuses; without one they are ignored.
pub fn first(compilers: &[PathBuf]) -> Vec<Trial> {
    let plain = |f: &'static First| Trial::test(format!("every::first_{}", f.name), move || all_of(f, &[]));
    let newest = compilers.first().cloned().unwrap_or_default();
    let compiled = |f: &'static First| {
        let newest = newest.clone();
        let test = move || ["ptx", "cubin"].iter().try_for_each(|code| all_compiled(f, &newest, code));
        Trial::test(format!("every::first_{}", f.name), test).with_ignored_flag(compilers.is_empty())
    };
    let opening = Trial::test("every::first_calls", each_of_the_opening);
    std::iter::once(opening).chain(FIRST.iter().map(plain)).chain(COMPILED.iter().map(compiled)).collect()
}

fn all_compiled(first: &First, compiler: &Path, code: &str) -> std::result::Result<(), Failed> {
    let compiler = through(compiler)?;
    let mut variables: Vec<(&str, &str)> = compiler.iter().map(|(k, v)| (*k, v.as_str())).collect();
    variables.push(("NDCUDA_CODE", code));
    all_of(first, &variables)
}

fn all_of(first: &First, more: &[(&str, &str)]) -> std::result::Result<(), Failed> {
    for n in 1.. {
        let nth = n.to_string();
        let mut variables = vec![("TEST_FIRST", first.name), ("TEST_NTH", &nth)];
        variables.extend(more);
        if child::run("every::one", &variables)?.contains("none failed") {
            return if n > 1 { Ok(()) } else { Err(format!("no call of {}", first.name).into()) };
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
        e => matches!(e, Error::Driver { .. } | Error::OutOfMemory { .. } | Error::Compile { .. }),
    }
}

fn is_out_of_memory(e: &Error) -> bool {
    match e {
        Error::At { source, .. } => is_out_of_memory(source),
        e => matches!(e, Error::OutOfMemory { .. }) && e.to_string().contains(" bytes free of "),
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
fn warm() {
    let (control, _) = device();
    let dev = Device::cuda(0).unwrap();
    let want = expected();
    for _ in 0..2 {
        assert_eq!(work(&dev).unwrap(), want);
    }
    // Nothing is kept from here on whenever a call is counted, so that the same calls are made each time.
    let (base, in_use) = (held(&control, &dev), dev.memory().0);
    // Errors that a driver gives for want of memory, and one of cuBLAS for another reason: `call` has all others.
    let cases = [(Kind::Alloc, 0, false), (Kind::Launch, 2, false), (Kind::Blas, 0, true), (Kind::Blas, 3, false)];
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

/// The program, memory that runs out, and what else is asked of a device.
fn whole(dev: &Device) -> Result<Out> {
    let out = work(dev)?;
    match dev.array(ndarray::Array1::<u8>::zeros(16 << 20)) {
        Ok(_) => panic!("16 MiB of 8"),
        Err(e) if e.to_string().contains("16777216 bytes") => {}
        Err(e) => return Err(e),
    }
    dev.trim();
    dev.memory();
    let x = dev.array(&ndarray::arr1(&[1.0f32, 2.0]))?;
    dev.bench(1, || (&x + 1.0).eval())?;
    dev.synchronize()?;
    Ok(out)
}

/// The entry points of the driver that were called, with how often.
fn entries(control: &Control) -> BTreeMap<String, u64> {
    control.entries().into_iter().filter(|e| e.name.starts_with("cu")).map(|e| (e.name, e.calls)).collect()
}

/// What has been called since.
fn since(before: &BTreeMap<String, u64>, after: BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let more = |(name, calls)| (calls - before.get(&name).unwrap_or(&0), name);
    after.into_iter().map(more).filter(|e| e.0 > 0).map(|(calls, name)| (name, calls)).collect()
}

/// Those that give something back: nobody is told that one fails.
const RELEASES: [&str; 4] = ["cuEventDestroy_v2", "cuMemFreeAsync", "cuMemFreeHost", "cuModuleUnload"];
/// Those that only ask.
const ASKS: [&str; 2] = ["cuMemGetInfo_v2", "cuMemPoolGetAttribute"];

/// Each call of the driver that the library makes fails, whichever it is, on a device that has run the program before.
pub fn call() {
    let (control, _) = device();
    let dev = Device::cuda(0).unwrap();
    for _ in 0..2 {
        assert_eq!(whole(&dev).unwrap(), expected());
    }
    let (mut base, before) = (held(&control, &dev), entries(&control));
    assert_eq!(whole(&dev).unwrap(), expected());
    let calls = since(&before, entries(&control));
    println!("{calls:?}");
    assert_eq!(held(&control, &dev), base);
    for (name, n) in calls.iter().flat_map(|(name, &calls)| (1..=calls).map(move |n| (name.as_str(), n))) {
        control.fail_entry(name, n, 999);
        let got = whole(&dev);
        let left = control.entries().into_iter().find(|e| e.name == name).map(|e| e.left);
        assert_eq!(left, Some(0), "call {n} of {name} failed");
        match got {
            Ok(out) => assert_eq!(out, expected(), "{name} {n}"),
            Err(e) => {
                assert!(is_driver_error(&e) && !ASKS.contains(&name) && !RELEASES.contains(&name), "{name} {n}: {e:?}")
            }
        }
        assert_eq!(whole(&dev).unwrap(), expected(), "after {name} {n}");
        let now = held(&control, &dev);
        // An event that cannot be destroyed stays; memory goes in the end.
        let events =
            if ["cuCtxSetCurrent", "cuEventDestroy_v2"].contains(&name) { base.events + 1 } else { base.events };
        assert!(now.events <= events, "after {name} {n}: {now:?}");
        base.events = now.events;
        assert_eq!(now, base, "after {name} {n}");
    }
}

/// The n-th call of an entry point fails in a new process; without a name, tells those that later runs of the program do not make.
fn opening() {
    let (control, _) = device();
    let var = |name| std::env::var(name).unwrap();
    let run = || Device::cuda(0).and_then(|dev| work(&dev));
    let name = var("TEST_FIRST");
    if name.is_empty() {
        assert_eq!(run().unwrap(), expected());
        let first = entries(&control);
        assert_eq!(run().unwrap(), expected());
        let again = since(&first, entries(&control));
        return first
            .iter()
            .filter(|e| !again.contains_key(e.0))
            .for_each(|(name, calls)| println!("call {name} {calls}"));
    }
    control.fail_entry(&name, var("TEST_NTH").parse().unwrap(), 999);
    match run() {
        Ok(out) => assert_eq!(out, expected()),
        Err(e) => assert!(is_driver_error(&e) || matches!(e, Error::DeviceUnavailable { .. }), "{e:?}"),
    }
    // The driver is looked for once.
    if ["cuInit", "cuDriverGetVersion", "cuDeviceGetCount"].contains(&name.as_str()) && run().is_err() {
        assert!(matches!(run().unwrap_err(), Error::DeviceUnavailable { .. }));
        return;
    }
    for _ in 0..2 {
        assert_eq!(run().unwrap(), expected());
    }
    let live = control.live();
    assert_eq!((run().unwrap(), control.live().modules), (expected(), live.modules));
    assert_eq!((live.streams, live.contexts), (1, 1));
}

/// A test of all calls that a device is opened and its code is loaded with.
fn each_of_the_opening() -> std::result::Result<(), Failed> {
    let said = child::run("every::opening", &[("TEST_FIRST", "")])?;
    let calls: Vec<(&str, u64)> = said
        .lines()
        .filter_map(|l| l.strip_prefix("call ")?.split_once(' '))
        .filter_map(|(name, calls)| Some((name, calls.parse().ok()?)))
        .collect();
    assert!(calls.len() > 8, "{said}");
    for (name, n) in calls.into_iter().flat_map(|(name, calls)| (1..=calls).map(move |n| (name, n))) {
        let nth = n.to_string();
        child::run("every::opening", &[("TEST_FIRST", name), ("TEST_NTH", &nth)])
            .map_err(|e| format!("call {n} of {name}: {}", e.message().unwrap_or_default()))?;
    }
    Ok(())
}

/// The n-th call of a kind fails in a process that does everything for the first time.
fn one() {
    let (control, _) = device();
    let var = |name| std::env::var(name).unwrap();
    let named = var("TEST_FIRST");
    let &First { kind, code, times, then, .. } = FIRST.iter().chain(&COMPILED).find(|c| c.name == named).unwrap();
    let n: u64 = var("TEST_NTH").parse().unwrap();
    control.fail_times(kind, n, times, code);
    let got = Device::cuda(0).and_then(|dev| work(&dev));
    if control.fail_left(kind) > 0 {
        assert_eq!(got.unwrap(), expected());
        return println!("none failed");
    }
    match got {
        // Pinned memory and its events have a substitute, and so have a cuBLAS that does not start and a compiler that does not tell its version.
        Ok(out) => assert!(out == expected() && matches!(then, Either | Recovery), "{kind:?} {n}"),
        Err(e) => {
            assert!(then != Recovery && (then != OutOfMemory || is_out_of_memory(&e)), "{kind:?} {n}: {e:?}");
            assert!(is_driver_error(&e) || matches!(e, Error::DeviceUnavailable { .. }), "{e:?}");
            let text = e.to_string();
            match kind {
                Kind::Nvrtc => assert!(text.contains("NVRTC_ERROR_OUT_OF_MEMORY (1)"), "{text}"),
                Kind::Compile if code == 6 => assert!(text.contains("the CUDA compiler refused nd_"), "{text}"),
                Kind::Compile => assert!(text.contains("nvrtcCompileProgram failed on cuda:0: NVRTC_"), "{text}"),
                _ => {}
            }
        }
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

/// Measuring time makes and records events: each that fails is an error, and none is left behind.
fn timed() {
    let (control, _) = device();
    let dev = Device::cuda(0).unwrap();
    let x = dev.array(&ndarray::arr1(&[1.0f32, 2.0, 3.0])).unwrap();
    let bench = || dev.bench(2, || (&x + 1.0).eval());
    bench().unwrap();
    let base = held(&control, &dev);
    for kind in [Kind::Event, Kind::Record, Kind::Sync, Kind::Launch] {
        let before = control.calls(kind);
        bench().unwrap();
        let calls = control.calls(kind) - before;
        assert!(calls > 0, "{kind:?}");
        for n in 1..=calls {
            control.fail(kind, n);
            assert!(is_driver_error(&bench().unwrap_err()), "{kind:?} {n}");
            assert_eq!((control.fail_left(kind), held(&control, &dev)), (0, base), "{kind:?} {n}");
        }
        bench().unwrap();
    }
    assert_eq!((&x + 1.0).sum().item().unwrap(), 9.0);
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
