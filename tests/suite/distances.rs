//! Distances of all metrics against their definitions, at sizes where tiles end; and that arithmetic has the host's bits.

use crate::harness::{makes_kernels, on_the_host};
use ndarray::{Array2, ArrayView1, Axis, NewAxis, Zip, arr2, s};
use ndcuda::distance::{self, Metric, cdist};
use ndcuda::{Device, DeviceArray2, Float, f16};
use std::ops::Range;

/// SciPy's definitions, in f64.
fn naive(x: ArrayView1<f64>, y: ArrayView1<f64>, metric: Metric) -> f64 {
    let n = x.len() as f64;
    let fold = |f: &dyn Fn(f64, f64) -> f64| x.iter().zip(&y).map(|(&a, &b)| f(a, b)).sum::<f64>();
    match metric {
        Metric::SqEuclidean => fold(&|a, b| (a - b) * (a - b)),
        Metric::Euclidean => fold(&|a, b| (a - b) * (a - b)).sqrt(),
        Metric::CityBlock => fold(&|a, b| (a - b).abs()),
        Metric::Chebyshev => x.iter().zip(&y).fold(0.0, |m, (&a, &b)| f64::max(m, (a - b).abs())),
        Metric::Minkowski(p) => fold(&|a, b| (a - b).abs().powf(p)).powf(1.0 / p),
        Metric::Cosine => 1.0 - fold(&|a, b| a * b) / (fold(&|a, _| a * a) * fold(&|_, b| b * b)).sqrt(),
        Metric::Correlation => {
            let (u, v) = (&x - x.sum() / n, &y - y.sum() / n);
            naive(u.view(), v.view(), Metric::Cosine)
        }
        Metric::Canberra => fold(&|a, b| if a == 0.0 && b == 0.0 { 0.0 } else { (a - b).abs() / (a.abs() + b.abs()) }),
        Metric::BrayCurtis => fold(&|a, b| (a - b).abs()) / fold(&|a, b| (a + b).abs()),
        Metric::Hamming => fold(&|a, b| f64::from(u8::from(a != b))) / n,
        m => panic!("{m} has no definition here"),
    }
}

/// Rows in f64 whose values are exact in f16, some of them 0 and some equal to the other's.
fn rows(n: usize, d: usize, seed: usize) -> Array2<f64> {
    Array2::from_shape_fn((n, d), |(i, j)| {
        let r = (i * 7919 + j * 104_729 + seed * 31).wrapping_mul(2_654_435_761) >> 7;
        if r.is_multiple_of(11) {
            0.0
        } else if j % 4 == 0 {
            (j % 3) as f64
        } else {
            (r % 511) as f64 / 64.0 - 4.0
        }
    })
}

fn metrics_are_scipys(dev: &Device) {
    fn check<T: Float<Sum = T, Mean = T>>(dev: &Device, tolerance: f64) {
        for (n, m, d) in [(1, 1, 1), (5, 3, 2), (33, 65, 7), (17, 16, 33), (70, 9, 64), (130, 129, 5), (3, 4, 600)] {
            let (hx, hy) = (rows(n, d, 1), rows(m, d, 2));
            let x = dev.array(hx.mapv(T::from_f64)).unwrap();
            let y = dev.array(hy.mapv(T::from_f64)).unwrap();
            // The others have points of SciPy's.
            for metric in &Metric::ALL[..10] {
                let metric = *metric;
                // Of one column there is no correlation, and of rows of zeros no angle.
                if d == 1 && matches!(metric, Metric::Correlation | Metric::Cosine) {
                    continue;
                }
                let want = Array2::from_shape_fn((n, m), |(i, j)| naive(hx.row(i), hy.row(j), metric));
                let got = cdist(&x, &y, metric).cast::<f64>();
                let near = got.all_close(&want, tolerance, 4.0 * tolerance);
                near.unwrap_or_else(|e| panic!("{metric} {n} x {m} x {d} in {}: {e}", x.dtype()));
                let turned = cdist(&y, &x, metric).t().cast::<f64>();
                turned.all_close(&want, tolerance, 4.0 * tolerance).unwrap();
            }
        }
    }
    // A chain of k has an error of up to k / 2 ulp.
    check::<f32>(dev, 2e-6);
    check::<f64>(dev, 2e-14);
}

fn forms_of_one_distance_agree(dev: &Device) {
    for (n, m, d) in [(40, 30, 16), (65, 129, 33), (1, 7, 300)] {
        let x = dev.array(rows(n, d, 3).mapv(|v| v as f32)).unwrap();
        let y = dev.array(rows(m, d, 4).mapv(|v| v as f32)).unwrap();
        let one = distance::sqeuclidean_broadcast(&x, &y);
        let scale = one.max().item().unwrap();
        let host = one.to_ndarray().unwrap();
        distance::sqeuclidean_expanded(&x, &y).all_close(&host, 1e-5, 1e-6 * f64::from(scale)).unwrap();
        distance::sqeuclidean_loop(&x, &y).unwrap().all_close(&host, 1e-6, 0.0).unwrap();
        // Written out by hand, in other orders of axes.
        let (a, b) = (x.slice(s![.., NewAxis, ..]), y.slice(s![NewAxis, .., ..]));
        assert_eq!((&a - &b).square().sum_axis(Axis(2)), host);
        assert_eq!((&b - &a).square().sum_axis(Axis(2)).t(), host.t());
        let (a, b) = (x.t().insert_axis(Axis(2)), y.t().insert_axis(Axis(1)));
        (a - b).square().sum_axis(Axis(0)).all_close(&host, 1e-6, 0.0).unwrap();
        // Equal rows are at distance 0, also by way of the product.
        let own = distance::sqeuclidean_broadcast(&x, &x);
        assert_eq!(dev.eye::<bool>(n).where_(&own, 0.0), Array2::<f32>::zeros((n, n)));
    }
    assert_eq!("minkowski:1.5".parse::<Metric>().unwrap(), Metric::Minkowski(1.5));
    for m in Metric::ALL {
        assert_eq!(m.to_string().parse::<Metric>().unwrap(), m);
    }
    assert!(
        "minkowski:-1".parse::<Metric>().is_err()
            && "l2".parse::<Metric>().unwrap_err().to_string().contains("cityblock")
    );
}

/// Checks that parts of a distance matrix have the bits they have in the whole.
fn parts_have_the_bits_of_the_whole(dev: &Device, d: usize, parts: &[(Range<usize>, Range<usize>)]) {
    let x = dev.array(rows(150, d, 5).mapv(|v| v as f32 * 1.1)).unwrap();
    let y = rows(140, d, 6).mapv(|v| v as f32 * 1.3);
    // The other operand by rows, and by columns.
    let columns = dev.array(y.t().as_standard_layout().into_owned()).unwrap();
    for y in [dev.array(y).unwrap(), columns.t()] {
        parts_of(dev, &x, &y, d, parts);
    }
}

fn parts_of(
    dev: &Device,
    x: &DeviceArray2<f32>,
    y: &DeviceArray2<f32>,
    d: usize,
    parts: &[(Range<usize>, Range<usize>)],
) {
    let bits = |a: DeviceArray2<f32>| a.to_ndarray().unwrap().mapv(f32::to_bits);
    type Form = fn(&DeviceArray2<f32>, &DeviceArray2<f32>) -> DeviceArray2<f32>;
    let forms: [(&str, Form); 4] = [
        ("#1", distance::sqeuclidean_broadcast),
        ("#2", distance::sqeuclidean_expanded),
        ("cityblock", distance::cityblock),
        ("dot", |x, y| x.dot(&y.t())),
    ];
    // A library's product has an order of its own, and one row does not go there.
    let library = !on_the_host(dev) && parts.iter().any(|(i, j)| i.len() == 1 || j.len() == 1);
    for (name, f) in forms.into_iter().filter(|f| !(library && f.0 == "dot")) {
        let all = bits(f(x, y));
        for (i, j) in parts {
            let part = bits(f(&x.slice(s![i.clone(), ..]), &y.slice(s![j.clone(), ..])));
            assert!(part == all.slice(s![i.clone(), j.clone()]), "{name} of rows {i:?} and {j:?} of {d}");
        }
    }
}

fn bits_do_not_depend_on_the_batch(dev: &Device) {
    let several = [(0..2, 0..140), (5..70, 64..66), (0..150, 137..140), (7..90, 30..129)];
    parts_have_the_bits_of_the_whole(dev, 37, &several);
    // One row, on either side and on both. Kernels that ship fold it by lanes, in another order than the rows of a batch.
    if !makes_kernels(dev) {
        return;
    }
    let one = [(0..1, 0..140), (149..150, 3..4), (0..150, 71..72), (9..10, 130..140)];
    // Around the ends of segments of k, too.
    for d in [37, 255, 256, 257, 513, 1025] {
        parts_have_the_bits_of_the_whole(dev, d, &several);
        parts_have_the_bits_of_the_whole(dev, d, &one);
    }
}

/// `+ - * / sqrt abs neg` fused have the bits of ndarray's, one operation at a time: nothing is contracted.
fn arithmetic_has_the_hosts_bits(dev: &Device) {
    let value = |i: usize, k: usize| {
        let r = (i + 1).wrapping_mul(k).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11;
        let m = 1.0 + (r % (1 << 40)) as f64 / (1u64 << 40) as f64;
        m * 2f64.powi(((r >> 40) % 41) as i32 - 20) * if r & 1 == 0 { 1.0 } else { -1.0 }
    };
    macro_rules! check {
        ($t:ty) => {{
            let a = Array2::from_shape_fn((50, 60), |(i, j)| value(i * 60 + j, 3) as $t);
            let b = Array2::from_shape_fn((50, 60), |(i, j)| value(i * 60 + j, 5) as $t);
            let c = Array2::from_shape_fn((1, 60), |(_, j)| value(j, 7) as $t);
            let [x, y, z] = [&a, &b, &c].map(|h| dev.array(h).unwrap());
            let same = |got: ndcuda::DeviceArray2<$t>, want: Array2<$t>| {
                let got = got.to_ndarray().unwrap();
                Zip::from(&got).and(&want).for_each(|g, w| assert_eq!(g.to_bits(), w.to_bits(), "{g:e} {w:e}"));
            };
            same(&x * &y + &z, &a * &b + &c);
            same(&x * &y - &z, &a * &b - &c);
            same(&z - &x * &y, &c - &a * &b);
            same((&x + &y) * (&x - &y) / &z, (&a + &b) * (&a - &b) / &c);
            same((&x * &x + &y * &y).sqrt() * &z, (&a * &a + &b * &b).mapv(<$t>::sqrt) * &c);
            same(-(&x / &y).abs() + &x, -(&a / &b).mapv(<$t>::abs) + &a);
            let tiny = <$t>::MIN_POSITIVE;
            same(&x * tiny / (1 << 10) as $t, &a * tiny / (1 << 10) as $t);
        }};
    }
    check!(f32);
    check!(f64);
    // f16: every operation rounds.
    let h =
        |k: usize| Array2::from_shape_fn((20, 30), |(i, j)| f16::from_f64(value(i * 30 + j, k).clamp(-200.0, 200.0)));
    let (a, b) = (h(3), h(5));
    let (x, y) = (dev.array(&a).unwrap(), dev.array(&b).unwrap());
    let got = (&x * &y + &x - &y).to_ndarray().unwrap();
    Zip::from(&got).and(&a).and(&b).for_each(|g, &a, &b| assert_eq!(g.to_bits(), (a * b + a - b).to_bits()));
    assert_eq!(dev.array(arr2(&[[1i32, 2]])).unwrap() / 0, arr2(&[[0, 0]]));
}

tests_on_devices! {
    metrics_are_scipys forms_of_one_distance_agree bits_do_not_depend_on_the_batch
    arithmetic_has_the_hosts_bits
}
