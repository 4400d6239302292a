//! Kernels that are compiled beside the program: what ships runs first, then what was compiled, whatever the compiler does and whenever
//! the program ends.

use crate::child::{self, Case, device, ships, through};
use crate::work::{expected, work};
use libtest_mimic::{Failed, Trial};
use ndarray::{Array1, Axis};
use ndcuda::{Device, DeviceArray1};
use softcuda_driver::control::{Control, Kind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const ON: (&str, &str) = ("NDCUDA_JIT", "background");
/// Compilations once it was started: the compiler's first one, and a kernel's.
const START: u64 = 2;
/// Nothing takes longer.
const LONGEST: Duration = Duration::from_secs(120);

/// Cases that need no compiler.
pub const CASES: &[Case] = &[
    Case { name: "background::without_a_compiler", variables: &[ON], body: without_a_compiler },
    Case { name: "background::bad_value", variables: &[("NDCUDA_JIT", "lazy")], body: bad_value },
];

/// Cases with a compiler that takes longer, by so many milliseconds.
pub const PARTS: &[Case] = &[
    Case { name: "background::swaps", variables: &[ON, ("SOFTCUDA_NVRTC_MS", "500")], body: swaps },
    Case { name: "background::refused", variables: &[ON], body: refused },
    Case { name: "background::a_failure_that_passes", variables: &[ON], body: a_failure_that_passes },
    Case { name: "background::a_failure_that_stays", variables: &[ON], body: a_failure_that_stays },
    Case { name: "background::a_module_fails", variables: &[ON, ("SOFTCUDA_NVRTC_MS", "200")], body: a_module_fails },
    Case { name: "background::threads", variables: &[ON, ("SOFTCUDA_NVRTC_MS", "20")], body: threads },
    Case { name: "background::more_than_can_wait", variables: &[ON], body: more_than_can_wait },
    Case { name: "background::two_devices", variables: &[ON, ("SOFTCUDA_DEVICES", "2")], body: two_devices },
];

const ENDS: &[Case] = &[
    Case { name: "background::returns", variables: &[ON, ("SOFTCUDA_NVRTC_MS", "400")], body: returns },
    Case { name: "background::exits", variables: &[ON, ("SOFTCUDA_NVRTC_MS", "400")], body: exits },
    Case { name: "background::panics", variables: &[ON, ("SOFTCUDA_NVRTC_MS", "400")], body: panics },
];

/// All that runs in a child.
pub fn parts() -> Vec<Case> {
    [PARTS, ENDS].concat()
}

/// The tests with a compiler; without one they are ignored.
pub fn parents(compilers: &[PathBuf]) -> Vec<Trial> {
    let newest = compilers.first().cloned().unwrap_or_default();
    let trial = |case: &Case, test: fn(&Case, &Path) -> Result<(), Failed>| {
        let (case, newest) = (*case, newest.clone());
        Trial::test(case.name, move || test(&case, &newest)).with_ignored_flag(compilers.is_empty())
    };
    let mut all: Vec<Trial> = PARTS.iter().map(|c| trial(c, |c, n| run(c, n, &[]).map(|_| ()))).collect();
    all.extend(ENDS.iter().map(|c| trial(c, ends_at_any_time)));
    all
}

fn run(case: &Case, compiler: &Path, more: &[(&str, &str)]) -> Result<String, Failed> {
    let compiler = through(compiler)?;
    let mut variables: Vec<(&str, &str)> = compiler.iter().map(|(k, v)| (*k, v.as_str())).collect();
    variables.extend(case.variables);
    variables.extend(more);
    child::run(case.name, &variables)
}

/// The program ends while the library is opened, while a kernel is compiled, between two of them. It waits for one at most.
fn ends_at_any_time(case: &Case, compiler: &Path) -> Result<(), Failed> {
    for after in ["0", "5", "50", "200", "450"] {
        // The compiler as it is, whose library and threads may be anywhere, and one that is at work for sure.
        for longer in ["0", "400"] {
            let start = Instant::now();
            run(case, compiler, &[("TEST_MS", after), ("SOFTCUDA_NVRTC_MS", longer)])?;
            // Thirty kernels were asked for.
            if start.elapsed() > Duration::from_millis(30 * 400) {
                return Err(format!("it takes {:?} to end", start.elapsed()).into());
            }
        }
    }
    Ok(())
}

fn ramp(dev: &Device, n: usize) -> DeviceArray1<f32> {
    dev.array(Array1::from_iter((0..n).map(|v| v as f32))).unwrap()
}

/// The kernels that this thread launched since the last call; whether they are what ships.
fn launched(control: &Control) -> Vec<bool> {
    let all = control.launches().iter().map(|l| ships(&l.name())).collect();
    control.reset();
    all
}

/// Evaluates until each kernel is the one that was compiled for it.
fn until_own(control: &Control, mut evaluate: impl FnMut()) {
    let start = Instant::now();
    control.reset();
    control.record(true);
    loop {
        evaluate();
        let all = launched(control);
        assert!(!all.is_empty());
        if !all.contains(&true) {
            return;
        }
        assert!(start.elapsed() < LONGEST, "it goes on running on what ships: {all:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Starts the compiler, which the first kernel waits for.
fn start(control: &Control, dev: &Device) {
    let x = ramp(dev, 40).cast::<f64>();
    until_own(control, || assert_eq!(x.sum().item().unwrap(), 780.0));
    assert_eq!(control.calls(Kind::Compile), START);
}

fn until(what: impl Fn() -> bool) {
    let start = Instant::now();
    while !what() {
        assert!(start.elapsed() < LONGEST);
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn swaps() {
    let (control, _) = device();
    let dev = Device::cuda(0).unwrap();
    start(&control, &dev);
    let x = ramp(&dev, 100);
    let evaluate = || {
        assert_eq!((&x * 3.0 - 1.0).to_ndarray().unwrap()[99], 296.0);
        assert_eq!((&x + 1.0).sum().item().unwrap(), 5050.0);
    };
    let now = Instant::now();
    evaluate();
    assert!(now.elapsed() < Duration::from_millis(500), "it waits for no compiler");
    assert_eq!(launched(&control), [true; 2]);
    until_own(&control, evaluate);
    evaluate();
    assert_eq!(launched(&control), [false; 2]);
    // Another size is another plan of the same kernels.
    assert_eq!((ramp(&dev, 200) * 3.0 - 1.0).to_ndarray().unwrap()[199], 596.0);
    assert_eq!((launched(&control), control.calls(Kind::Compile)), (vec![false], START + 2));
    assert_eq!(work(&dev).unwrap(), expected());
}

/// A kernel that the compiler refuses runs on what ships for good, and is not compiled again.
fn refused() {
    let (control, _) = device();
    let dev = Device::cuda(0).unwrap();
    start(&control, &dev);
    control.fail_with(Kind::Compile, 1, 6);
    for n in [100, 100, 200, 300] {
        assert_eq!((ramp(&dev, n) * 3.0 - 1.0).to_ndarray().unwrap()[99], 296.0);
        until(|| control.fail_left(Kind::Compile) == 0);
        assert_eq!(launched(&control), [true]);
    }
    assert_eq!(control.calls(Kind::Compile), START + 1);
    // Others are.
    let x = ramp(&dev, 100);
    until_own(&control, || assert_eq!((&x + 1.0).sum().item().unwrap(), 5050.0));
}

/// Another failure is not the kernel's: the next launch asks again, of the same plan or another.
fn a_failure_that_passes() {
    let (control, _) = device();
    let dev = Device::cuda(0).unwrap();
    start(&control, &dev);
    for (kind, n) in [(Kind::Compile, 100), (Kind::Nvrtc, 200)] {
        let calls = control.calls(kind);
        control.fail_with(kind, 1, 1);
        assert_eq!((ramp(&dev, n) * 3.0 - 1.0).to_ndarray().unwrap()[99], 296.0);
        until(|| control.fail_left(kind) == 0);
        // It may have been asked for once more before the launch.
        assert!(launched(&control) == [true] && control.calls(kind) > calls);
    }
    for n in [100, 200, 300] {
        until_own(&control, || assert_eq!((ramp(&dev, n) * 3.0 - 1.0).to_ndarray().unwrap()[99], 296.0));
    }
}

/// One that does not pass is not tried for ever.
fn a_failure_that_stays() {
    let (control, _) = device();
    let dev = Device::cuda(0).unwrap();
    let x = ramp(&dev, 100);
    start(&control, &dev);
    let calls = control.calls(Kind::Compile);
    control.fail_times(Kind::Compile, 1, 1000, 1);
    for _ in 0..100 {
        assert_eq!((&x * 3.0 - 1.0).to_ndarray().unwrap()[99], 296.0);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!((launched(&control), control.calls(Kind::Compile)), (vec![true; 100], calls + 4));
}

/// The driver does not load what was compiled.
fn a_module_fails() {
    let (control, _) = device();
    let dev = Device::cuda(0).unwrap();
    let x = ramp(&dev, 100);
    let evaluate = |x: &DeviceArray1<f32>| assert_eq!((x * 3.0 - 1.0).to_ndarray().unwrap()[99], 296.0);
    start(&control, &dev);
    evaluate(&x);
    control.fail_with(Kind::Module, 1, 999);
    until(|| control.fail_left(Kind::Module) == 0);
    assert_eq!(launched(&control), [true]);
    // The plan that met the failure asks again, and so do others.
    until_own(&control, || evaluate(&x));
    let x = ramp(&dev, 200);
    until_own(&control, || evaluate(&x));
}

/// A form of expression by its number, of 2 to the power of `bits`; its value where x is 3.
fn form(x: &DeviceArray1<f32>, n: usize, bits: usize) -> (DeviceArray1<f32>, f32) {
    (0..bits).fold((x.clone(), 3.0), |(y, v), bit| match n >> bit & 1 {
        0 => (y + 1.0, v + 1.0),
        _ => (y * 2.0, v * 2.0),
    })
}

/// Many threads evaluate the same forms: each is compiled once.
fn threads() {
    let (control, _) = device();
    let dev = Device::cuda(0).unwrap();
    std::thread::scope(|s| {
        for t in 0..8 {
            let dev = &dev;
            s.spawn(move || {
                let x = ramp(dev, 64 + 4 * t);
                let mut turn = t;
                until_own(&device().0, || {
                    for n in 0..8 {
                        let (y, want) = form(&x, (n + turn) % 8, 3);
                        assert_eq!(y.to_ndarray().unwrap()[3], want);
                    }
                    turn += 1;
                });
            });
        }
    });
    assert_eq!(control.calls(Kind::Compile), 1 + 8);
}

/// Those that find no place ask again, and are all compiled in the end.
fn more_than_can_wait() {
    let (control, _) = device();
    let dev = Device::cuda(0).unwrap();
    let x = ramp(&dev, 8);
    let mut evaluate = || {
        for n in 0..300 {
            let (y, want) = form(&x, n, 9);
            assert_eq!(y.to_ndarray().unwrap()[3], want, "{n}");
        }
    };
    control.record(true);
    evaluate();
    assert!(launched(&control).iter().all(|&s| s) || control.calls(Kind::Compile) > 40, "a fast compiler");
    until_own(&control, &mut evaluate);
    assert_eq!(control.calls(Kind::Compile), 1 + 300);
}

fn two_devices() {
    let (control, _) = device();
    let devices = [Device::cuda(0).unwrap(), Device::cuda(1).unwrap()];
    let xs = devices.each_ref().map(|dev| ramp(dev, 100));
    until_own(&control, || {
        for x in &xs {
            assert_eq!((x + 1.0).sum().item().unwrap(), 5050.0);
        }
    });
    assert_eq!(control.calls(Kind::Compile), 1 + 2);
    assert_eq!((work(&devices[0]).unwrap(), work(&devices[1]).unwrap()), (expected(), expected()));
}

/// Asks for thirty kernels, and waits for a while.
fn ask() {
    device();
    let dev = Device::cuda(0).unwrap();
    let x = ramp(&dev, 64);
    for n in 0..30 {
        let (y, want) = form(&x, n, 5);
        assert_eq!(y.sum_axis(Axis(0)).item().unwrap(), {
            (0..64).map(|v| (want - 3.0 * factor(n, 5)) + v as f32 * factor(n, 5)).sum::<f32>()
        });
    }
    let after = std::env::var("TEST_MS").unwrap().parse().unwrap();
    std::thread::sleep(Duration::from_millis(after));
}

/// What x is multiplied by in a form.
fn factor(n: usize, bits: usize) -> f32 {
    (0..bits).map(|bit| if n >> bit & 1 == 1 { 2.0 } else { 1.0 }).product()
}

fn returns() {
    ask();
}

/// Another thread ends the program.
fn exits() {
    ask();
    println!("end");
    let end = std::thread::spawn(|| std::process::exit(0));
    let _ = end.join();
}

/// A device's arrays are dropped as the stack unwinds; the panic is caught, as a server's would be.
fn panics() {
    std::panic::set_hook(Box::new(|_| {}));
    assert!(
        std::panic::catch_unwind(|| {
            ask();
            std::panic::resume_unwind(Box::new("a panic of the program"));
        })
        .is_err()
    );
}

fn without_a_compiler() {
    let (control, _) = device();
    let dev = Device::cuda(0).unwrap();
    let x = ramp(&dev, 100);
    control.record(true);
    for _ in 0..20 {
        assert_eq!((&x + 1.0).sum().item().unwrap(), 5050.0);
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(launched(&control), [true; 20]);
    assert_eq!(work(&dev).unwrap(), expected());
}

fn bad_value() {
    device();
    let e = Device::cuda(0).unwrap_err().to_string();
    assert!(
        e.contains("NDCUDA_JIT=lazy: kernels are compiled before they first run (eager), beside the program"),
        "{e}"
    );
}
