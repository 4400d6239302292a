//! Deep graphs, many threads, and the memory of the main job.

use ndarray::{Axis, arr1};
use ndcuda::distance::{self, Metric};
use ndcuda::{Device, DeviceArray1, DeviceArray2, Float};
use std::process::Command;
use std::sync::Barrier;

const DEEP: usize = 100_000;

fn deep(dev: &Device) -> DeviceArray1<f64> {
    let x = dev.ones::<f64, _>(4);
    let mut y = x.clone();
    for _ in 0..DEEP {
        y = &y + &x;
    }
    y
}

fn deep_chains_go_and_run(dev: &Device) {
    // On a thread with a small stack.
    std::thread::scope(|s| {
        let small = std::thread::Builder::new().stack_size(256 << 10);
        let thread = small.spawn_scoped(s, || {
            drop(deep(dev));
            assert_eq!(deep(dev), arr1(&[DEEP as f64 + 1.0; 4]));
            // Every value of the chain held, then let go from the first and from the last.
            for backwards in [false, true] {
                let x = dev.array(arr1(&[1i64, 2])).unwrap();
                let mut all = vec![x.clone()];
                for i in 0..5000 {
                    all.push(&all[i] - &x);
                }
                if backwards {
                    all.reverse();
                }
                all.into_iter().for_each(drop);
            }
        });
        thread.unwrap().join().unwrap();
    });
}

/// Shared without limit: each value used twice by the next.
fn doubling_graphs_are_walked_once(dev: &Device) {
    let mut x = dev.array(arr1(&[1.0f64, 0.5])).unwrap();
    for _ in 0..60 {
        x = &x + &x;
    }
    assert_eq!(x, arr1(&[(1u64 << 60) as f64, (1u64 << 59) as f64]));
    let mut held = vec![dev.array(arr1(&[1i64])).unwrap()];
    for i in 0..200 {
        held.push((&held[i] + &held[i / 2]).minimum(1_000_000));
    }
    let last = held.last().unwrap().to_ndarray().unwrap();
    let mut want = vec![1i64];
    (0..200).for_each(|i| want.push((want[i] + want[i / 2]).min(1_000_000)));
    assert_eq!(last[0], want[200]);
}

fn threads_share_one_graph(dev: &Device) {
    let x = dev.from_fn((300, 5), |(i, j)| ((i * 5 + j) % 13) as f32).unwrap();
    for round in 0..5 {
        let d = distance::sqeuclidean_broadcast(&x, &(&x + round as f32));
        let (low, total) = (d.min_axis(Axis(1)), d.sum());
        let start = Barrier::new(64);
        let got: Vec<(f32, f32, f32)> = std::thread::scope(|s| {
            let run = |t: usize| {
                let (d, low, total, start) = (&d, &low, &total, &start);
                move || {
                    start.wait();
                    let mine = (low + t as f32).sum().item().unwrap() - 300.0 * t as f32;
                    let total = total.item().unwrap();
                    if t.is_multiple_of(3) {
                        ndcuda::eval((d, low)).unwrap();
                    }
                    (mine, total, d.index_axis(Axis(0), t).max().item().unwrap())
                }
            };
            let threads: Vec<_> = (0..64).map(|t| s.spawn(run(t))).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let host = d.to_ndarray().unwrap();
        for (t, g) in got.iter().enumerate() {
            assert_eq!((g.0, g.1), (got[0].0, got[0].1), "thread {t}");
            assert_eq!(g.2, host.row(t).fold(0.0f32, |a, &b| a.max(b)));
        }
    }
}

fn devices_run_side_by_side(_: &Device) {
    let sums: Vec<f64> = std::thread::scope(|s| {
        let run = |n: usize| {
            move || {
                let dev = Device::cpu_with_threads(n);
                let x = dev.arange(0.0f64, 100_000.0, 1.0);
                (0..20).map(|i| (&x + f64::from(i)).sum().item().unwrap()).sum()
            }
        };
        let threads: Vec<_> = (1..5).map(|n| s.spawn(run(n))).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert!(sums.windows(2).all(|w| w[0] == w[1]), "{sums:?}");
}

fn memory_comes_back(_: &Device) {
    let dev = Device::cpu_with_threads(2);
    for _ in 0..50 {
        let x = dev.ones::<f32, _>(1 << 20) + 1.0;
        x.eval().unwrap();
        assert!(dev.memory().0 >= 4 << 20);
    }
    let (used, kept) = dev.memory();
    assert_eq!(used, 0);
    assert!(kept <= 16 << 20, "{kept} bytes are kept for arrays of 4 MiB");
    dev.trim();
    assert_eq!(dev.memory(), (0, 0));
}

/// 10,000 updates and 400 sweeps hold a few arrays at a time: what the pool keeps afterwards is the most there was.
fn loops_run_in_constant_memory() {
    let n = 1 << 16;
    let most = |f: &dyn Fn(&Device)| {
        let dev = Device::cpu_with_threads(1);
        f(&dev);
        let (used, kept) = dev.memory();
        assert!(used + kept <= 12 * n * 4, "{} arrays at once", (used + kept) / (n * 4));
    };
    most(&|dev| {
        let x = dev.from_fn(n, |i| (i % 3) as f32).unwrap();
        let mut y = dev.zeros::<f32, _>(n);
        (0..10_000).for_each(|_| y += &x);
        assert_eq!(y.slice(ndarray::s![2]).item().unwrap(), 20_000.0);
    });
    most(&|dev| {
        let x = dev.from_fn(n, |i| (i % 3) as f32).unwrap();
        let mut y = dev.zeros::<f32, _>(n);
        for _ in 0..500 {
            y += &x;
            y.eval().unwrap();
        }
        assert_eq!(y.slice(ndarray::s![2]).item().unwrap(), 1000.0);
    });
    most(&|dev| {
        let mut u = dev.from_fn(n, |i| (i % 17) as f32).unwrap();
        for _ in 0..400 {
            let inner = (u.slice(ndarray::s![..-2]) + u.slice(ndarray::s![2..])) * 0.5;
            u.slice_assign(ndarray::s![1..-1], inner);
        }
        u.eval().unwrap();
    });
}

/// What a trace calls its peak counts what handles let go of.
fn a_trace_knows_what_is_freed(dev: &Device) {
    let ((), t) = ndcuda::debug::trace(|| {
        for _ in 0..20 {
            (dev.ones::<f32, _>(1000) + 1.0).eval().unwrap();
        }
    });
    assert!(t.peak <= 2 * 4000, "{t:?}");
}

tests_on_devices! {
    a_trace_knows_what_is_freed deep_chains_go_and_run doubling_graphs_are_walked_once threads_share_one_graph devices_run_side_by_side
    memory_comes_back;
    once: loops_run_in_constant_memory main_job_fits_2_gib smaller_main_job_fits_its_share pairs_take_their_results_and_little_more
}

/// Peak resident bytes of this process.
#[cfg(target_os = "linux")]
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

/// The main job, in a process of its own: this test again, with the size in the environment.
#[cfg(target_os = "linux")]
fn main_job(n: usize, test: &str, most: usize) {
    if std::env::var("NDCUDA_SUITE_CHILD").is_ok() {
        let dev = Device::cpu();
        let x = dev.from_fn((n, 32), |(i, j)| ((i * 31 + j * 17) % 97) as f32 / 9.0).unwrap();
        let y = dev.from_fn((n, 32), |(i, j)| ((i * 13 + j * 29) % 89) as f32 / 9.0).unwrap();
        let d = distance::sqeuclidean_broadcast(&x, &y);
        d.eval().unwrap();
        let v = d.host_view().unwrap();
        assert_eq!(v.shape(), [n, n]);
        let (i, j) = (n / 3, n - 1);
        let (a, b) = (x.index_axis(Axis(0), i), y.index_axis(Axis(0), j));
        let want = ((&a - &b) * (&a - &b)).sum().item().unwrap();
        assert!((v[[i, j]] - want).abs() <= 1e-5 * want, "{} {want}", v[[i, j]]);
        println!("peak {}", peak());
        return;
    }
    let peak = peak_of_child(test, "1");
    println!("{n} x {n} x 32: peak {} MiB of {} MiB", peak >> 20, most >> 20);
    assert!(peak <= most, "peak {peak} of {most}");
}

/// This test again in a process of its own, told `what` it is to do; what it prints after `peak`.
#[cfg(target_os = "linux")]
fn peak_of_child(test: &str, what: &str) -> usize {
    let out = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env("NDCUDA_SUITE_CHILD", what)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{what}: {text}\n{}", String::from_utf8_lossy(&out.stderr));
    let peak = text.lines().find_map(|l| l.split("peak ").nth(1)).and_then(|b| b.trim().parse::<usize>().ok());
    peak.unwrap_or_else(|| panic!("{what}: no peak in {text}"))
}

/// 20,000 x 20,000 distances take 1.5 GiB; the (n, m, d) temporary would take 48.
#[cfg(target_os = "linux")]
fn main_job_fits_2_gib() {
    main_job(20_000, "scale::main_job_fits_2_gib", 2 << 30);
}

#[cfg(target_os = "linux")]
fn smaller_main_job_fits_its_share() {
    main_job(5000, "scale::smaller_main_job_fits_its_share", (2 << 30) / 16);
}

/// The pairwise workloads of `benches/peers`.
#[cfg(target_os = "linux")]
const PAIRS: [&str; 7] = ["sqeuclidean", "expanded", "cityblock", "nn", "nn_expanded", "nn10", "pdist"];

/// Rows of both sides: a matrix of them is more than what is allowed beside results.
#[cfg(target_os = "linux")]
const MANY: usize = 6000;
#[cfg(target_os = "linux")]
const DEPTH: usize = 16;

/// Runs a workload on `MANY` rows of `DEPTH`; what it took beside its operands and results, packed operands among it.
#[cfg(target_os = "linux")]
fn taken<T: Float<Sum = T, Mean = T>>(op: &str) -> usize {
    let dev = Device::cpu();
    let rows = |a: usize, b: usize| -> DeviceArray2<T> {
        dev.from_fn((MANY, DEPTH), |(i, j)| T::from_f64(((i * a + j * b) % 97) as f64 / 9.0)).unwrap()
    };
    let (x, y) = (rows(31, 17), rows(13, 29));
    let before = peak();
    let nearest = |d: DeviceArray2<T>| {
        ndcuda::eval((&d.argmin_axis(Axis(1)), &d.min_axis(Axis(1)))).unwrap();
        0
    };
    let matrix = |d: DeviceArray2<T>| {
        d.eval().unwrap();
        MANY * MANY
    };
    let elements = match op {
        "sqeuclidean" => matrix(distance::sqeuclidean_broadcast(&x, &y)),
        "expanded" => matrix(distance::sqeuclidean_expanded(&x, &y)),
        "cityblock" => matrix(distance::cityblock(&x, &y)),
        "nn" => nearest(distance::sqeuclidean_broadcast(&x, &y)),
        "nn_expanded" => nearest(distance::sqeuclidean_expanded(&x, &y)),
        "nn10" => {
            let (least, index) = distance::knn(&x, &y, 10, Metric::SqEuclidean).unwrap();
            ndcuda::eval((&least, &index)).unwrap();
            2 * 10 * MANY
        }
        _ => {
            distance::pdist(&x, Metric::SqEuclidean).unwrap().eval().unwrap();
            MANY * (MANY - 1) / 2
        }
    };
    (peak() - before).saturating_sub(elements * T::DTYPE.size())
}

/// Each in a process of its own: beside the results, both operands packed and 64 MiB at most.
#[cfg(target_os = "linux")]
fn pairs_take_their_results_and_little_more() {
    if let Ok(what) = std::env::var("NDCUDA_SUITE_CHILD") {
        let taken = match what.split_once(' ') {
            Some((op, "f64")) => taken::<f64>(op),
            Some((op, _)) => taken::<f32>(op),
            None => panic!("{what}"),
        };
        println!("peak {taken}");
        return;
    }
    for op in PAIRS {
        for (dtype, size) in [("f32", 4), ("f64", 8)] {
            let most = 2 * MANY * DEPTH * size + (64 << 20);
            let taken = peak_of_child("scale::pairs_take_their_results_and_little_more", &format!("{op} {dtype}"));
            assert!(taken <= most, "{op} {dtype}: {} MiB of {}", taken >> 20, most >> 20);
        }
    }
}
