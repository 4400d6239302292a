//! How much work an expression is: kernels, bytes, plans.

use crate::harness::on_the_host;
use ndarray::{Array1, Array2, Array3, ArrayD, Axis, NewAxis, arr1, s};
use ndcuda::debug::{Trace, trace};
use ndcuda::{Device, DeviceArray1, DeviceArray2, DeviceArrayD, Number, bf16, distance, f16};

fn matrix(dev: &Device, n: usize, d: usize) -> DeviceArray2<f32> {
    dev.from_fn((n, d), |(i, j)| ((i * 37 + j * 11) % 101) as f32 / 7.0).unwrap()
}

/// What `f` ran; it must succeed.
#[track_caller]
fn traced(f: impl FnOnce() -> ndcuda::Result<()>) -> Trace {
    let (r, t) = trace(f);
    r.unwrap();
    t
}

fn fused_into_one_kernel(dev: &Device) {
    let (n, m, d) = (70, 90, 17);
    let (x, y) = (matrix(dev, n, d), matrix(dev, m, d));
    let (read, written) = ((n + m) * d * 4, n * m * 4);
    let one = |what: &str, t: Trace, out: usize| {
        assert_eq!((t.kernels, t.allocations, t.allocated, t.bytes_written), (1, 1, out, out), "{what}: {t:?}");
        assert!(t.bytes_read <= read, "{what} reads {} bytes of {read}", t.bytes_read);
    };
    one("#1", traced(|| distance::sqeuclidean_broadcast(&x, &y).eval()), written);
    one("cityblock", traced(|| distance::cityblock(&x, &y).eval()), written);
    one("euclidean", traced(|| distance::euclidean(&x, &y).eval()), written);
    let (xs, ys) = (x.slice(s![.., NewAxis, ..]), y.slice(s![NewAxis, .., ..]));
    one("chebyshev", traced(|| (&xs - &ys).abs().max_axis(Axis(2)).eval()), written);
    one("minkowski", traced(|| (&xs - &ys).abs().powf(3.0).sum_axis(Axis(2)).powf(1.0 / 3.0).eval()), written);
    one("hamming", traced(|| xs.not_equal(&ys).cast::<f32>().mean_axis(Axis(2)).eval()), written);
    one("an affinity", traced(|| (((&xs - &ys) * (&xs - &ys)).sum_axis(Axis(2)) * -0.5).exp().eval()), written);

    // A held temporary is not stored either: it is larger than what it is made from.
    let diff = &xs - &ys;
    one("#1 with the difference held", traced(|| (&diff * &diff).sum_axis(Axis(2)).eval()), written);
    one("again", traced(|| diff.abs().sum_axis(Axis(2)).eval()), written);

    let chain = |x: &DeviceArray2<f32>| ((x * 2.0 + 1.0).exp().ln() - x).abs().maximum(0.5).sqrt();
    one("a chain", traced(|| chain(&x).eval()), n * d * 4);
    one("a chain over a transpose", traced(|| chain(&x.t()).eval()), n * d * 4);
    let sums = |a: usize| chain(&x).sum_axis(Axis(a));
    one("sums", traced(|| sums(1).eval()), n * 4);
    one("sums of columns", traced(|| sums(0).eval()), d * 4);
    one("softmax", traced(|| x.softmax(Axis(1)).eval()), n * d * 4);
    one("var", traced(|| x.var_axis(Axis(1), 0.0).eval()), n * 4);
    one("std of columns", traced(|| x.std_axis(Axis(0), 1.0).eval()), d * 4);
    one("normalised rows", traced(|| (&x / (&x * &x).sum_keep(Axis(1)).sqrt()).eval()), n * d * 4);
    one("a mean, broadcast", traced(|| (&x - x.mean_keep(Axis(1))).eval()), n * d * 4);

    // Rows that are taken for pairs are read many times: they are stored, and the pairs' kernel is that of any rows. Read once, they are not.
    let taken = || x.select(Axis(0), &(0..n).rev().collect::<Vec<_>>());
    let t = traced(|| distance::sqeuclidean_broadcast(&taken(), &y).eval());
    assert_eq!((t.kernels, t.new_kernels <= 1, t.bytes_written), (2, true, (n * d + n * m) * 4), "{t:?}");
    let t = traced(|| (taken() * 2.0).sum_axis(Axis(1)).eval());
    assert_eq!((t.kernels, t.bytes_written), (1, n * 4), "{t:?}");

    let (low, high, sum) = (x.min(), x.max(), x.sum());
    let t = traced(|| ndcuda::eval((&low, &high, &sum)));
    assert_eq!((t.kernels, t.bytes_read), (1, n * d * 4), "three folds of one array: {t:?}");
    let (a, b) = (&x + 1.0, &x * 2.0);
    let t = traced(|| ndcuda::eval((&a, &b)));
    assert_eq!(
        (t.kernels, t.bytes_read, t.bytes_written),
        (1, n * d * 4, 2 * n * d * 4),
        "two maps of one array: {t:?}"
    );

    // Nothing runs for a view, for what is there, or for an expression no one asks for.
    let t = traced(|| {
        let _ = (&x + 1.0).sum();
        x.t().slice(s![..;-1, 1..]).eval()?;
        a.eval()
    });
    assert_eq!((t.kernels, t.allocations), (0, 0));
}

/// Rust keeps the temporaries of a statement to its end: they are not what a user holds.
fn a_statement_is_one_kernel(dev: &Device) {
    let x = matrix(dev, 60, 20);
    let t = traced(|| (&x * 2.0).exp().ln().abs().maximum(0.5).sqrt().eval());
    assert_eq!((t.kernels, t.allocated), (1, 60 * 20 * 4), "{t:?}");
    let t = traced(|| (&x - 1.0).abs().sqrt().sum_axis(Axis(1)).eval());
    assert_eq!((t.kernels, t.allocated), (1, 60 * 4), "{t:?}");
    let t = traced(|| (&x / (&x * &x).sum_keep(Axis(1)).sqrt()).abs().max_axis(Axis(1)).eval());
    assert_eq!((t.kernels, t.allocated), (1, 60 * 4), "{t:?}");
}

fn constants_cost_nothing(dev: &Device) {
    let x = matrix(dev, 40, 30);
    let t = traced(|| (&x + dev.ones::<f32, _>((40, 30)) * 2.0 + dev.eye::<f32>(40).slice(s![.., ..30])).eval());
    assert_eq!((t.kernels, t.bytes_read, t.allocated), (1, 4800, 4800), "{t:?}");
}

/// One sweep of Jacobi's iteration on a line with fixed ends.
fn sweep(u: &DeviceArray1<f32>) -> DeviceArray1<f32> {
    let mut next = u.clone();
    let inner = (u.slice(s![..-2]) + u.slice(s![2..])) * 0.5;
    next.slice_assign(s![1..-1], inner);
    next
}

fn lazy_loops_do_linear_work(dev: &Device) {
    let n = 5000;
    let run = |steps: usize, padded: bool| {
        let start = dev.from_fn(n, |i| (i % 17) as f32).unwrap();
        let mut want = start.to_ndarray().unwrap();
        let (u, t) = trace(|| {
            let mut u = start;
            for _ in 0..steps {
                u = if padded {
                    // Without writing parts: the array shrinks by its ends.
                    (u.slice(s![..-2]) + u.slice(s![2..])) * 0.5
                } else {
                    sweep(&u)
                };
            }
            u.eval().unwrap();
            u
        });
        for _ in 0..steps {
            let inner = (&want.slice(s![..-2]) + &want.slice(s![2..])) * 0.5;
            want = if padded {
                inner
            } else {
                let mut next = want.clone();
                next.slice_mut(s![1..-1]).assign(&inner);
                next
            };
        }
        assert_eq!(u, want, "{steps} steps");
        t
    };
    for padded in [false, true] {
        let (one, two, four) = (run(100, padded), run(200, padded), run(400, padded));
        for (less, more) in [(one, two), (two, four)] {
            let ratio = |f: fn(Trace) -> usize| f(more) as f64 / f(less) as f64;
            for (what, r) in [
                ("bytes read", ratio(|t| t.bytes_read)),
                ("bytes written", ratio(|t| t.bytes_written)),
                ("kernels", ratio(|t| t.kernels)),
            ] {
                assert!((1.6..2.4).contains(&r), "twice the steps are {r:.2} times the {what}: {less:?} {more:?}");
            }
        }
        assert!(two.bytes_read < 200 * n * 4 * 8, "{two:?}");
    }
}

fn a_cut_stores_no_broadcast(dev: &Device) {
    // However many operations are pending when the broadcast is recorded: what is cut is small, and what is above it is not cut again.
    let (n, d) = (60, 8);
    let x = matrix(dev, n, d);
    x.eval().unwrap();
    for pending in 58..=70 {
        let (out, t) = trace(|| {
            let mut y = x.clone();
            for _ in 0..pending {
                y = &y + 1.0;
            }
            let diff = x.slice(s![.., NewAxis, ..]) - y.slice(s![NewAxis, .., ..]);
            let out = diff.abs().sum_axis(Axis(2));
            out.eval().map(|()| out)
        });
        let want = n * (n + 2 * d) * 4;
        assert!(t.peak <= want, "{pending} pending: {} bytes of {want}: {t:?}", t.peak);
        let (x, out) = (x.to_ndarray().unwrap(), out.unwrap().to_ndarray().unwrap());
        let far = |i: usize, j: usize| (0..d).map(|k| (x[[i, k]] - x[[j, k]] - pending as f32).abs()).sum::<f32>();
        approx::assert_relative_eq!(out[[3, 41]], far(3, 41), max_relative = 1e-4);
    }
}

fn chains_go_through_any_argument(dev: &Device) {
    // Each needs more operands or instructions than a kernel has, and nothing of it is complete before the last.
    let n = 6;
    for len in [19, 20, 21, 22, 45, 64, 70] {
        let xs: Vec<DeviceArray1<f32>> =
            (0..len).map(|i| dev.from_fn(n, |j| ((i * 5 + j * 3) % 11) as f32 / 16.0).unwrap()).collect();
        let all: Vec<Array1<f32>> = xs.iter().map(|x| x.to_ndarray().unwrap()).collect();
        let chain = |f: fn(&DeviceArray1<f32>, DeviceArray1<f32>) -> DeviceArray1<f32>| {
            xs.iter().fold(dev.zeros::<f32, _>(n), |t, x| f(x, t)).to_ndarray().unwrap()
        };
        let want = |f: fn(&Array1<f32>, Array1<f32>) -> Array1<f32>| all.iter().fold(Array1::zeros(n), |t, x| f(x, t));
        assert_eq!(chain(|x, t| x + t), want(|x, t| x + t), "{len} added from the left");
        assert_eq!(chain(|x, t| x * t + 0.5), want(|x, t| x * t + 0.5), "Horner's of {len}");
        let best = chain(|x, t| x.maximum(&t));
        assert_eq!(
            best,
            want(|x, mut t| {
                t.zip_mut_with(x, |t, &x| *t = t.max(x));
                t
            }),
            "the best of {len}"
        );
    }
    let x = dev.from_fn(64, |i| i as i32).unwrap();
    let mut y = dev.zeros::<i32, _>(64);
    for k in 0..64 {
        y = x.equal(k).where_(&x * k, &y);
    }
    assert_eq!(y, Array1::from_shape_fn(64, |i| (i * i) as i32));
}

fn updates_run_in_place(dev: &Device) {
    let n = 1000;
    let x = dev.from_fn(n, |i| (i % 3) as f32).unwrap();
    let mut y = dev.zeros::<f32, _>(n);
    let t = traced(|| {
        for _ in 0..10_000 {
            y += &x;
        }
        y.eval()
    });
    assert!(t.bytes_written <= 10_000 / 16 * n * 4 && t.allocations <= 3, "{t:?}");
    assert_eq!(y, Array1::from_shape_fn(n, |i| 10_000.0 * (i % 3) as f32));
}

fn a_held_distance_matrix_is_computed_at_most_twice(dev: &Device) {
    // Long rows: to compute it reads far more than to read it.
    let (n, m, k) = (90, 80, 700);
    let (x, y) = (matrix(dev, n, k), matrix(dev, m, k));
    let (inputs, own) = ((n + m) * k * 4, n * m * 4);
    let d = distance::euclidean(&x, &y);
    let (low, at, sum) = (d.min_axis(Axis(1)), d.argmin_axis(Axis(1)), d.sum());
    let t = traced(|| {
        low.eval()?;
        at.eval()?;
        sum.eval()?;
        d.sum_axis(Axis(0)).eval()?;
        d.max().eval()
    });
    assert!(t.bytes_read < 2 * inputs + 8 * own, "{t:?}");
    let host = d.to_ndarray().unwrap();
    let computed = traced(|| (&d + 0.0).eval());
    assert_eq!(computed.bytes_read, own, "it is stored by now: {computed:?}");
    assert_eq!(low, host.map_axis(Axis(1), |r| r.fold(f32::INFINITY, |a, &b| a.min(b))));
    assert_eq!(
        at.to_ndarray().unwrap()[7] as usize,
        host.row(7).iter().position(|&v| v == low.to_ndarray().unwrap()[7]).unwrap()
    );

    // Together they share it.
    let d = distance::euclidean(&x, &y);
    let (low, at) = (d.min_axis(Axis(1)), d.argmin_axis(Axis(1)));
    drop(d);
    let t = traced(|| ndcuda::eval((&low, &at)));
    assert!(t.bytes_read <= inputs + 2 * 200 * 150 * 4 && t.kernels <= 3, "{t:?}");
    assert!(t.allocated <= 200 * 4 + 200 * 8 + 200 * 150 * 4, "the matrix is stored once: {t:?}");
}

fn a_thousand_scalars_are_one_plan(dev: &Device) {
    // Other tests fill the plans of the device they share.
    let dev = &if on_the_host(dev) { Device::cpu_with_threads(2) } else { dev.clone() };
    let x = matrix(dev, 30, 30);
    let t = traced(|| {
        for i in 0..1000 {
            (&x * (i as f32 * 0.37 - 20.0) + i as f32).sum_axis(Axis(0)).eval()?;
        }
        Ok(())
    });
    assert!(t.plans <= 1, "{t:?}");
    // 0 and 1 are values like others. (A new size is a new plan.)
    let t = traced(|| {
        let y = matrix(dev, 20, 7);
        for n in 0..20 {
            let scale = if n % 2 == 0 { 0.0 } else { 1.0 };
            ((&y - 3.0) * scale).exp().eval()?;
        }
        Ok(())
    });
    assert!(t.plans <= 3, "{t:?}");
}

/// A kernel has no sizes: what a compiler made for one, all others use.
fn a_resize_compiles_nothing(dev: &Device) {
    type Form = fn(&DeviceArray2<f32>, &DeviceArray2<f32>) -> ndcuda::Result<()>;
    let forms: [(&str, Form, usize); 9] = [
        ("a chain", |x, _| (x * 2.0 + 1.0).exp().eval(), 1),
        ("a transpose", |x, _| (x.t() * 3.0 - 1.0).sqrt().eval(), 1),
        ("rows", |x, _| x.square().sum_axis(Axis(1)).eval(), 1),
        ("columns", |x, _| x.abs().sum_axis(Axis(0)).eval(), 1),
        ("softmax", |x, _| x.softmax(Axis(1)).eval(), 1),
        ("#1", |x, y| distance::sqeuclidean_broadcast(x, y).eval(), 1),
        ("#2", |x, y| distance::sqeuclidean_expanded(x, y).eval(), 1),
        ("nearest", |x, y| distance::cityblock(x, y).argmin_axis(Axis(1)).eval(), 1),
        ("parts", |x, _| (x.slice(s![1.., ..]) - x.slice(s![..-1, ..])).max_axis(Axis(0)).eval(), 1),
    ];
    for (name, form, most) in forms {
        let t = traced(|| {
            for n in 0..100 {
                form(&matrix(dev, n + 3, n / 3 + 2), &matrix(dev, 2 * n + 5, n / 3 + 2))?;
            }
            Ok(())
        });
        assert!(t.kernels >= 100 && t.new_kernels <= most, "{name}: {t:?}");
    }
}

fn loops_reuse_their_plans(dev: &Device) {
    // Other tests fill the plans of the device they share.
    let dev = &if on_the_host(dev) { Device::cpu_with_threads(2) } else { dev.clone() };
    // Julia: z = z * z + c on the real and imaginary parts, with the count of steps inside.
    let julia = |steps: usize| {
        let n = 64;
        traced(|| {
            let line = dev.linspace(-1.5f32, 1.5, n);
            let mut re = line.slice(s![NewAxis, ..]).broadcast((n, n)).unwrap();
            let mut im = line.slice(s![.., NewAxis]).broadcast((n, n)).unwrap();
            let mut count = dev.zeros::<i32, _>((n, n));
            for _ in 0..steps {
                let (r2, i2) = (&re * &re, &im * &im);
                let inside = (&r2 + &i2).less(4.0);
                count += inside.cast::<i32>();
                let new_im = &re * &im * 2.0 + 0.27;
                re = inside.where_(r2 - i2 - 0.7, &re);
                im = inside.where_(new_im, &im);
            }
            count.eval()
        })
    };
    let (warm, more) = (julia(200), julia(600));
    assert!(warm.plans <= 30 && more.plans <= 2, "{warm:?} {more:?}");
    assert!(more.bytes_read < 4 * warm.bytes_read, "{warm:?} {more:?}");

    let kmeans = |rounds: usize| {
        let x = matrix(dev, 300, 8);
        let k = 5;
        traced(|| {
            let mut centres = x.slice(s![..k, ..]);
            for _ in 0..rounds {
                let nearest = distance::sqeuclidean_broadcast(&x, &centres).argmin_axis(Axis(1));
                let one_hot =
                    nearest.slice(s![NewAxis, ..]).equal(dev.arange(0i64, k as i64, 1).slice(s![.., NewAxis]));
                let one_hot = one_hot.cast::<f32>();
                let sizes = one_hot.sum_keep(Axis(1)).maximum(1.0);
                centres = one_hot.dot(&x) / sizes;
            }
            centres.eval()
        })
    };
    let (warm, more) = (kmeans(20), kmeans(100));
    assert!(warm.plans <= 30 && more.plans <= 2, "{warm:?} {more:?}");
    let per_round = more.kernels as f64 / 100.0;
    assert!(per_round <= 6.0, "{per_round} kernels a round");
}

fn show_says_what_would_run(dev: &Device) {
    let x = matrix(dev, 40, 8);
    let d = distance::cityblock(&x, &x);
    let (text, t) = trace(|| d.show().unwrap());
    assert_eq!((t.kernels, t.allocations), (0, 0));
    assert!(text.contains("1 kernel "), "{text}");
    assert!(d.dot_graph().contains("digraph"));
    d.eval().unwrap();
    assert!(d.show().unwrap().contains("stored"));
}

/// Sums of small whole numbers in f16 and bf16 are exact where f32 holds them: products are accumulated in f32.
fn half_precision_accumulates_in_f32(dev: &Device) {
    let n = 4096;
    let x = dev.array(&Array1::from_elem(n, f16::from_f32(1.0))).unwrap();
    assert_eq!(x.sum().item().unwrap(), f16::from_f32(4096.0));
    assert_eq!((&x * &x).sum().item().unwrap(), f16::from_f32(4096.0));
    let b = dev.array(&Array1::from_elem(n, bf16::from_f32(1.0))).unwrap();
    assert_eq!((b.sum().item().unwrap(), b.dot(&b).item().unwrap()), (bf16::from_f32(4096.0), bf16::from_f32(4096.0)));
    // Every operation rounds: 2048 + 1 is 2048 in f16.
    let y = dev.array(arr1(&[f16::from_f32(2048.0)])).unwrap();
    let one = f16::from_f32(1.0);
    assert_eq!(&y + one - f16::from_f32(2048.0), arr1(&[f16::from_f32(0.0)]));
}

fn dots_follow_numpy(dev: &Device) {
    let f = |shape: &[usize]| {
        let n: usize = shape.iter().product();
        let host = ArrayD::from_shape_vec(shape, (0..n).map(|i| ((i * 7) % 11) as f64 - 5.0).collect()).unwrap();
        dev.array(host).unwrap()
    };
    // Against products written as broadcast, multiplied and summed.
    for (a, b) in [
        (vec![3, 4], vec![4, 5]),
        (vec![6, 3, 4], vec![4, 5]),
        (vec![3, 4], vec![6, 4, 5]),
        (vec![2, 1, 3, 4], vec![6, 4, 5]),
    ] {
        let (x, y) = (f(&a), f(&b));
        let wide = x.insert_axis(Axis(a.len())) * y.insert_axis(Axis(b.len() - 2));
        let want = wide.sum_axis(Axis(wide.ndim() - 2));
        assert_eq!(x.dot(&y), want, "{a:?} {b:?}");
        assert_eq!(x.cast::<i32>().dot(&y.cast()), want.cast::<i32>(), "{a:?} {b:?}");
    }
    // At each dtype: integers wrap in it, 16-bit floats are rounded once.
    let (x, y) = (f(&[6, 3, 4]).abs(), f(&[4, 5]));
    let want = x.dot(&y).cast::<i64>();
    macro_rules! at {
        ($($t:ty)*) => {$({
            let (x, y) = (x.cast::<i64>().cast::<$t>(), y.cast::<i64>().cast::<$t>());
            assert_eq!((&x + &x).dot(&y), (&want * 2).cast::<$t>(), stringify!($t));
            let row = x.index_axis(Axis(0), 0).index_axis(Axis(0), 1);
            assert_eq!(row.dot(&y), want.index_axis(Axis(0), 0).index_axis(Axis(0), 1).cast::<$t>(), stringify!($t));
        })*};
    }
    at!(i8 i16 i32 i64 u8 u16 u32 u64 f16 bf16 f32 f64);
    // Of bool: whether any pair is true.
    for (a, b) in [(vec![], vec![]), (vec![6, 3], vec![]), (vec![], vec![5]), (vec![4, 70], vec![33])] {
        let shapes = ([&a[..], &[9]].concat(), [&[9], &b[..]].concat());
        let (x, y) = (f(&shapes.0).greater(3.0), f(&shapes.1).less(-3.0));
        let want = x.cast::<i32>().dot(&y.cast::<i32>()).greater(0);
        assert_eq!(x.dot(&y), want, "{a:?} {b:?}");
        let (x, y) = (x.flip(Axis(0)), !y.flip(Axis(0)));
        assert_eq!(x.dot(&y), x.cast::<i32>().dot(&y.cast::<i32>()).greater(0), "{a:?} {b:?}, reversed");
    }
    assert_eq!(f(&[3, 0]).greater(0.0).dot(&f(&[0, 2]).less(0.0)), ArrayD::from_elem(vec![3, 2], false));
    assert_eq!(f(&[4]).dot(&f(&[4])).shape(), [0usize; 0]);
    assert_eq!(f(&[4]).dot(&f(&[4, 2])).shape(), [2]);
    assert_eq!(f(&[5, 3, 4]).dot(&f(&[4])).shape(), [5, 3]);
    // Of any two ranks, known at compile time or not.
    let (four, two) = (f(&[2, 1, 3, 4]), f(&[4, 5]));
    let (typed, flat) = (
        four.clone().into_dimensionality::<ndarray::Ix4>().unwrap(),
        two.clone().into_dimensionality::<ndarray::Ix2>().unwrap(),
    );
    assert_eq!(typed.dot(&flat).into_dyn(), four.dot(&two));
    assert_eq!(typed.dot(&typed.swap_axes(2, 3)).shape(), [2, 1, 3, 3]);
    assert_eq!(four.dot(&flat), four.dot(&two));
    assert_eq!(typed.dot(&f(&[4]).into_dimensionality::<ndarray::Ix1>().unwrap()).shape(), [2, 1, 3]);
    let big = Array2::from_shape_fn((65, 130), |(i, j)| ((i * 13 + j * 5) % 9) as f32);
    let x = dev.array(&big).unwrap();
    assert_eq!(x.dot(&x.t()), big.dot(&big.t()));
    assert_eq!(x.slice(s![..;2, ..;3]).dot(&x.slice(s![..;2, ..;3]).t()), {
        let b = big.slice(s![..;2, ..;3]);
        b.dot(&b.t())
    });
    assert_eq!(
        x.slice(s![..;-1, ..;-1]).t().dot(&x.slice(s![.., 7..9])),
        big.slice(s![..;-1, ..;-1]).t().dot(&big.slice(s![.., 7..9]))
    );
}

/// Whatever the strides: nothing is copied before a product.
fn products_read_any_layout(dev: &Device) {
    fn of<T: Number>(dev: &Device) {
        let up = |shape: [usize; 3]| {
            let host = Array3::from_shape_fn(shape, |(b, i, j)| T::from_f64(((b * 5 + i * 7 + j * 3) % 4) as f64));
            dev.array(host).unwrap()
        };
        let (x, y) = (up([3, 12, 20]), up([3, 20, 8]));
        let (a, b) = (x.index_axis(Axis(0), 1), y.index_axis(Axis(0), 2));
        let layouts: [(&str, DeviceArrayD<T>, DeviceArrayD<T>); 11] = [
            ("plain", a.clone().into_dyn(), b.clone().into_dyn()),
            ("transposed", b.t().into_dyn(), a.t().into_dyn()),
            ("its own transpose", a.clone().into_dyn(), a.t().into_dyn()),
            ("every second row", a.slice(s![..;2, ..]).into_dyn(), b.clone().into_dyn()),
            ("every second column", a.slice(s![.., ..;2]).into_dyn(), b.slice(s![..;2, ..;2]).into_dyn()),
            ("backwards", a.slice(s![..;-1, ..;-1]).into_dyn(), b.slice(s![..;-1, ..]).into_dyn()),
            ("a column", b.t().into_dyn(), a.slice(s![0, ..]).into_dyn()),
            ("a batch", x.clone().into_dyn(), y.clone().into_dyn()),
            ("a batch of transposes", y.permuted_axes([0, 2, 1]).into_dyn(), x.permuted_axes([0, 2, 1]).into_dyn()),
            ("a batch by one matrix", x.slice(s![..;-1, .., ..]).into_dyn(), b.clone().into_dyn()),
            ("a batch along the last axis", x.permuted_axes([1, 0, 2]).into_dyn(), b.clone().into_dyn()),
        ];
        for (how, x, y) in layouts {
            let product = x.dot(&y);
            let t = traced(|| product.eval());
            let bytes = product.len() * size_of::<T>();
            let ran = (t.kernels, t.allocations, t.allocated, t.peak);
            assert_eq!(ran, (1, 1, bytes, bytes), "{how} of {}: {t:?}", T::DTYPE);
            let rank = y.ndim();
            let y = if rank == 1 { y.insert_axis(Axis(0)) } else { y.swap_axes(rank - 2, rank - 1) };
            let rows = if rank == 1 { y } else { y.insert_axis(Axis(rank - 2)) };
            let wide = if rank == 1 { &x * rows } else { x.insert_axis(Axis(x.ndim() - 1)) * rows };
            let want = wide.sum_axis(Axis(wide.ndim() - 1)).cast::<T>();
            assert_eq!(product, want, "{how} of {}", T::DTYPE);
        }
    }
    of::<f32>(dev);
    of::<f64>(dev);
    of::<f16>(dev);
    of::<i32>(dev);
    of::<u8>(dev);
}

/// No distance makes what it folds.
fn no_metric_stores_its_differences(dev: &Device) {
    let (n, m, d) = (40, 50, 60);
    let (x, y) = (matrix(dev, n, d), matrix(dev, m, d));
    for metric in distance::Metric::ALL {
        let t = traced(|| distance::cdist(&x, &y, metric).eval());
        // A few matrices of results and of inputs at most.
        let most = 4 * (n * m + n * d + m * d) * 4;
        assert!(n * m * 4 <= t.peak && t.peak <= most && most < n * m * d * 4, "{metric}: {} of {most}: {t:?}", t.peak);
    }
}

tests_on_devices! {
    fused_into_one_kernel a_statement_is_one_kernel constants_cost_nothing lazy_loops_do_linear_work
    a_cut_stores_no_broadcast chains_go_through_any_argument
    updates_run_in_place a_held_distance_matrix_is_computed_at_most_twice a_thousand_scalars_are_one_plan
    a_resize_compiles_nothing loops_reuse_their_plans show_says_what_would_run half_precision_accumulates_in_f32 dots_follow_numpy
    products_read_any_layout no_metric_stores_its_differences
}
