//! Several GPUs, and several threads on one.

use crate::child::{Case, device};
use crate::work::{expected, work};
use ndarray::Array1;
use ndcuda::{Device, DeviceArray1, Error};

const TWO: &[(&str, &str)] = &[("SOFTCUDA_DEVICES", "2")];
const TWO_WITHOUT_POOLS: &[(&str, &str)] = &[("SOFTCUDA_DEVICES", "2"), ("SOFTCUDA_POOLS", "0")];

/// All of them.
pub const CASES: &[Case] = &[
    Case { name: "devices::two", variables: TWO, body: two },
    Case { name: "devices::two_without_pools", variables: TWO_WITHOUT_POOLS, body: two },
    Case { name: "devices::the_second_by_name", variables: &[TWO[0], ("NDCUDA_DEVICE", "cuda:1")], body: second },
    Case { name: "devices::drops_on_other_threads", variables: TWO, body: drops_on_other_threads },
    Case { name: "devices::drops_without_pools", variables: TWO_WITHOUT_POOLS, body: drops_on_other_threads },
    Case { name: "devices::threads_on_one", variables: &[], body: threads_on_one },
    Case { name: "devices::threads_deferred", variables: &[("NDCUDA_SOFT_DEFER", "1")], body: threads_on_one },
    Case { name: "devices::threads_open_one", variables: &[], body: threads_open_one },
    Case { name: "devices::a_shared_graph", variables: &[], body: a_shared_graph },
    Case { name: "devices::the_end_of_the_program", variables: TWO, body: the_end },
];

fn ramp(dev: &Device, n: usize) -> DeviceArray1<f32> {
    dev.array(Array1::from_iter((0..n).map(|v| v as f32))).unwrap()
}

fn two() {
    device();
    let (a, b) = (Device::cuda(0).unwrap(), Device::cuda(1).unwrap());
    assert!(a != b && a == Device::cuda(0).unwrap());
    assert_eq!((a.to_string(), b.to_string()), ("cuda:0".into(), "cuda:1".into()));
    assert!(Device::cuda(2).unwrap_err().to_string().contains("the NVIDIA driver shows 2 GPUs, counted from 0"));
    let used = |d: &Device| d.memory().0;
    // In turn, on one thread: each call has to make its own context the current one.
    for _ in 0..2 {
        assert_eq!((work(&a).unwrap(), work(&b).unwrap()), (expected(), expected()));
    }
    let base = (used(&a), used(&b));
    let x = ramp(&a, 1000);
    let y = (&x + 1.0).to_device(&b).unwrap();
    assert_eq!(y.device(), &b);
    assert_eq!(y.to_device(&Device::cpu()).unwrap(), Array1::from_iter((1..=1000).map(|v| v as f32)));
    let back = (&y * 2.0).to_device(&a).unwrap();
    assert_eq!((&back - &x).sum().item().unwrap(), 501_500.0);
    assert!(used(&b) > base.1, "it lies on the other one");
    // Operands on two devices are an error at once.
    let e = x.try_add(&y).unwrap_err();
    assert!(matches!(&e, Error::Devices { lhs, rhs, .. } if lhs == "cuda:0" && rhs == "cuda:1"), "{e}");
    assert!(matches!(ndcuda::eval((&x, &y)), Err(Error::Devices { .. })));
    assert!(matches!(x.try_dot(&y), Err(Error::Devices { .. })));
    drop((x, y, back));
    assert_eq!((used(&a), used(&b)), base);
}

fn second() {
    device();
    let dev = Device::from_env().unwrap();
    assert_eq!(dev, Device::cuda(1).unwrap());
    assert_eq!(Device::probe().device, "cuda:1");
    assert_eq!(work(&dev).unwrap(), expected());
}

fn drops_on_other_threads() {
    let (control, _) = device();
    let devices = [Device::cuda(0).unwrap(), Device::cuda(1).unwrap()];
    for dev in &devices {
        assert_eq!(work(dev).unwrap(), expected());
        dev.trim();
    }
    let base = (control.live().bytes, devices[0].memory().0);
    for turn in 0..4 {
        let dev = &devices[turn % 2];
        let x = ramp(dev, 500);
        let stored = &x + 1.0;
        stored.eval().unwrap();
        let pending = (&stored * 2.0).sum();
        // A thread whose current context is the other device's, and one that has none.
        std::thread::scope(|s| {
            let other = &devices[1 - turn % 2];
            s.spawn(move || {
                assert_eq!(work(other).unwrap(), expected());
                drop(x);
            });
            s.spawn(move || drop(stored));
        });
        assert_eq!(std::thread::spawn(move || pending.item().unwrap()).join().unwrap(), 250_500.0);
        assert_eq!(work(dev).unwrap(), expected());
    }
    devices.iter().for_each(Device::trim);
    assert_eq!((control.live().bytes, devices[0].memory().0), base);
}

fn threads_on_one() {
    let (control, _) = device();
    let dev = Device::cuda(0).unwrap();
    assert_eq!(work(&dev).unwrap(), expected());
    dev.trim();
    let base = control.live().bytes;
    std::thread::scope(|s| {
        for t in 0..6 {
            let dev = &dev;
            s.spawn(move || {
                for turn in 0..3 {
                    assert_eq!(work(dev).unwrap(), expected());
                    // Plans that other threads make at the same time, and memory that they free.
                    let n = 50 + turn * 7;
                    let x = ramp(dev, n);
                    let want = (0..n).map(|v| (v + t) as f32).sum::<f32>();
                    assert_eq!((&x + t as f32).sum().item().unwrap(), want);
                }
            });
        }
    });
    dev.trim();
    assert_eq!(control.live().bytes, base);
}

/// The first use of the driver, from many threads at once.
fn threads_open_one() {
    let (control, _) = device();
    std::thread::scope(|s| {
        for _ in 0..6 {
            s.spawn(|| assert_eq!(work(&Device::cuda(0).unwrap()).unwrap(), expected()));
        }
    });
    let live = control.live();
    assert_eq!((live.streams, live.contexts), (1, 1));
}

/// Threads that evaluate one graph, whole or from its middle: each gets the same values.
fn a_shared_graph() {
    device();
    let dev = Device::cuda(0).unwrap();
    for _ in 0..4 {
        let x = ramp(&dev, 300);
        let middle = &x * 2.0 + 1.0;
        let sum = middle.sum();
        let last = &middle - &sum;
        std::thread::scope(|s| {
            for t in 0..6 {
                let (middle, sum, last) = (middle.clone(), sum.clone(), last.clone());
                s.spawn(move || {
                    if t % 2 == 0 {
                        assert_eq!(middle.to_ndarray().unwrap()[299], 599.0);
                    }
                    assert_eq!(last.to_ndarray().unwrap()[1], 3.0 - 90_000.0);
                    assert_eq!(sum.item().unwrap(), 90_000.0);
                });
            }
        });
    }
}

/// Arrays that live on as the program ends, one of them another thread's.
fn the_end() {
    device();
    let (a, b) = (Device::cuda(0).unwrap(), Device::cuda(1).unwrap());
    let x = ramp(&a, 100);
    let pending = &x + 1.0;
    thread_local!(static HELD: std::cell::RefCell<Option<DeviceArray1<f32>>> = const { std::cell::RefCell::new(None) });
    let y = ramp(&b, 100);
    std::thread::spawn(move || HELD.set(Some(y))).join().unwrap();
    HELD.set(Some(ramp(&a, 10)));
    std::mem::forget((x, pending));
}
