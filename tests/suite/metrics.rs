//! SciPy's metrics on rows with edge cases (zeros, constants, NaN), kept in `tests/data/distances.csv`; neighbours, condensed forms.

use crate::harness::{makes_kernels, on_the_host};
use ndarray::{Array1, Array2, Axis, s};
use ndcuda::debug::trace;
use ndcuda::distance::{self, Metric, cdist, knn, pdist, squareform};
use ndcuda::{Device, DeviceArray2, Error, Float, bf16, f16};

/// Name, rows, columns, values.
fn points() -> Vec<(String, usize, usize, Vec<f64>)> {
    let text = include_str!("../data/distances.csv");
    let parse = |line: &str| {
        let f: Vec<&str> = line.split(',').collect();
        let values = f[4].split(' ').map(|v| v.parse().unwrap()).collect();
        (f[0].to_string(), f[1].parse().unwrap(), f[2].parse().unwrap(), values)
    };
    text.lines().skip(1).map(parse).collect()
}

fn edge_cases_are_scipys(dev: &Device) {
    let all = points();
    let get = |name: &str| all.iter().find(|p| p.0 == name).map(|p| p.3.clone()).unwrap();
    let rows = |name: &str| Array2::from_shape_vec((get(name).len() / 6, 6), get(name)).unwrap();
    let numbers = (rows("x"), rows("y"));
    let truths = (rows("tx"), rows("ty"));
    let vi = dev.array(rows("vi")).unwrap();
    let [w, v] = ["w", "v"].map(|n| dev.array(Array1::from(get(n))).unwrap());
    let mut seen = 0;
    for (name, n, m, values) in &all {
        if *m == 0 {
            continue;
        }
        seen += 1;
        let want = Array2::from_shape_vec((*n, *m), values.clone()).unwrap();
        let (name, (hx, hy)) = name.strip_suffix("@t").map_or((name.as_str(), &numbers), |name| (name, &truths));
        let (x, y) = (dev.array(hx).unwrap(), dev.array(hy).unwrap());
        let (metric, weighted) = name.strip_suffix("+w").map_or((name, false), |m| (m, true));
        let got = match name {
            _ if weighted => distance::cdist_weighted(&x, &y, metric.parse().unwrap(), &w),
            "seuclidean+v" => distance::seuclidean(&x, &y, &v),
            "mahalanobis+vi" => distance::mahalanobis(&x, &y, &vi),
            name => cdist(&x.slice(s![..*n, ..]), &y, name.parse::<Metric>().unwrap()),
        };
        let got = got.to_ndarray().unwrap();
        let boolean = matches!(metric, "dice" | "rogerstanimoto" | "russellrao" | "sokalsneath" | "yule");
        let truth = |v: &f64| *v == 0.0 || *v == 1.0;
        for (at, &want) in want.indexed_iter() {
            // SciPy puts other numbers than 0 and 1 into formulas that count truths; here they are set or not.
            if boolean && !(hx.row(at.0).iter().all(truth) && hy.row(at.1).iter().all(truth)) {
                continue;
            }
            let got = got[at];
            // SciPy's Chebyshev passes over NaN; a maximum of NumPy's does not.
            let nan = hx.row(at.0).iter().chain(hy.row(at.1)).any(|v| v.is_nan());
            let maximum = matches!(metric, "chebyshev" | "minkowski:inf");
            let want = if maximum && nan { f64::NAN } else { want };
            // A root of a difference that rounds to 0.
            let near = (got - want).abs() <= 1e-13 * want.abs() + 3e-8 * f64::from(u8::from(name == "jensenshannon"));
            let same = got.is_nan() && want.is_nan() || got == want || near || (got - want).abs() < 1e-15;
            assert!(same, "{name} of {} and {}: {got:e}, SciPy has {want:e}", hx.row(at.0), hy.row(at.1));
        }
    }
    assert_eq!(seen, 53);
}

/// Rows without columns, and none: a distance of nothing is 0, or 0/0 where it divides by what it sums.
fn rows_of_nothing(dev: &Device) {
    let (x, y) = (dev.zeros::<f32, _>((2, 0)), dev.zeros::<f32, _>((3, 0)));
    for metric in Metric::ALL.into_iter().chain([Metric::Minkowski(f64::INFINITY)]) {
        let d = distance::try_cdist(&x, &y, metric).unwrap().to_ndarray().unwrap();
        use Metric as M;
        let want = match metric {
            M::SqEuclidean | M::Euclidean | M::CityBlock | M::Chebyshev | M::Minkowski(_) => 0.0,
            M::Canberra | M::Jaccard | M::Yule | M::SEuclidean => 0.0,
            M::JensenShannon => f32::INFINITY,
            _ => f32::NAN,
        };
        assert!(d.iter().all(|v| *v == want || v.is_nan() && want.is_nan()), "{metric}: {d}");
        assert_eq!(d.dim(), (2, 3), "{metric}");
        assert_eq!(knn(&x, &y, 2, metric).unwrap().1.shape(), [2, 2], "{metric}");
        let none = dev.zeros::<f32, _>((0, 4));
        assert_eq!(cdist(&none, &dev.ones((3, 4)), metric).to_ndarray().unwrap().dim(), (0, 3), "{metric}");
    }
}

/// 16-bit rows go in f32: squares, counts and powers leave their range long before distances do.
fn narrow_rows_are_computed_in_f32(dev: &Device) {
    fn check<T: Float<Sum = T, Mean = T>>(dev: &Device, d: usize) {
        let value = |i: usize, k: usize| T::from_f64(((i * 37 + k * 11) % 8 * 25) as f64);
        let (x, y) = (dev.from_fn((4, d), |(i, k)| value(i, k)), dev.from_fn((5, d), |(i, k)| value(i + 9, k)));
        let (x, y) = (x.unwrap(), y.unwrap());
        let w = dev.from_fn(d, |k| T::from_f64((k % 3) as f64)).unwrap();
        let (wide_x, wide_y, wide_w) = (x.cast::<f32>(), y.cast::<f32>(), w.cast::<f32>());
        for metric in Metric::ALL {
            let same = |got: DeviceArray2<T>, want: DeviceArray2<f32>, what: &str| {
                let (got, want) = (got.to_ndarray().unwrap(), want.cast::<T>().to_ndarray().unwrap());
                let same = got.iter().zip(&want).all(|(a, b)| a.to_f64().to_bits() == b.to_f64().to_bits());
                assert!(same, "{metric} {what} in {}: {got:?}, not {want:?}", T::DTYPE);
            };
            same(cdist(&x, &y, metric), cdist(&wide_x, &wide_y, metric), "");
            if !matches!(metric, Metric::SEuclidean | Metric::JensenShannon) {
                let want = distance::cdist_weighted(&wide_x, &wide_y, metric, &wide_w);
                same(distance::cdist_weighted(&x, &y, metric, &w), want, "weighted");
            }
            let (near, at) = knn(&x, &y, 2, metric).unwrap();
            let (want, want_at) = knn(&wide_x, &wide_y, 2, metric).unwrap();
            same(near, want, "of the nearest");
            assert_eq!(at, want_at.to_ndarray().unwrap(), "{metric}");
            let (got, want) = (pdist(&x, metric).unwrap(), pdist(&wide_x, metric).unwrap());
            same(got.insert_axis(Axis(0)), want.insert_axis(Axis(0)), "of pairs");
        }
    }
    check::<f16>(dev, 64);
    check::<bf16>(dev, 300);
    let x = dev.array(ndarray::arr2(&[[0.0, 0.0], [300.0, 300.0]]).mapv(f16::from_f64)).unwrap();
    assert_eq!(cdist(&x, &x, Metric::Euclidean).to_ndarray().unwrap()[[0, 1]].to_f64(), 424.25);
    let (_, at) = knn(&x, &x, 2, Metric::SqEuclidean).unwrap();
    assert_eq!(at, ndarray::arr2(&[[0i64, 1], [1, 0]]));
}

/// `knn_by` and `pdist_by` take what cannot be named by a `Metric`.
fn a_distance_of_ones_own(dev: &Device) {
    let x = dev.from_fn((30, 6), |(i, k)| ((i * 37 + k * 11) % 13) as f32).unwrap();
    let w = dev.from_fn(6, |k| (k % 3) as f32).unwrap();
    let by = |a: &DeviceArray2<f32>, b: &DeviceArray2<f32>| distance::try_cdist_weighted(a, b, Metric::Canberra, &w);
    let all = by(&x, &x).unwrap();
    let (near, at) = distance::knn_by(&x, &x, 3, by).unwrap();
    let (want, want_at) = all.topk(3, Axis(1), false);
    assert_eq!((near, at), (want, want_at));
    assert_eq!(distance::pdist_by(&x, by).unwrap(), distance::condensed(&all).unwrap());
    let wrong = |a: &DeviceArray2<f32>, _: &DeviceArray2<f32>| Ok(a.clone());
    let text = distance::knn_by(&x, &x, 3, wrong).unwrap_err().to_string();
    assert!(text.contains("knn") && text.contains("[30, 30]"), "{text}");
    assert!(distance::pdist_by(&x, wrong).unwrap_err().to_string().contains("pdist"));
}

fn neighbours_are_those_of_a_sort(dev: &Device) {
    let value = |i: usize, k: usize, s: usize| ((i * 37 + k * 11 + s * 5) % 13) as f32;
    let (n, m, d) = (23, 40, 3);
    let mut hy = Array2::from_shape_fn((m, d), |(i, k)| value(i, k, 2));
    hy[[7, 1]] = f32::NAN;
    let (x, y) = (dev.from_fn((n, d), |(i, k)| value(i, k, 1)).unwrap(), dev.array(&hy).unwrap());
    for metric in [Metric::SqEuclidean, Metric::CityBlock, Metric::Canberra] {
        let host = cdist(&x, &y, metric).to_ndarray().unwrap();
        for k in [0, 1, 5, m] {
            let (near, at) = knn(&x, &y, k, metric).unwrap();
            let (near, at) = (near.to_ndarray().unwrap(), at.to_ndarray().unwrap());
            for i in 0..n {
                let mut order: Vec<usize> = (0..m).filter(|&j| !host[[i, j]].is_nan()).collect();
                order.sort_by(|&a, &b| host[[i, a]].total_cmp(&host[[i, b]]).then(a.cmp(&b)));
                for r in 0..k {
                    let want = order.get(r).map_or((f32::INFINITY, -1), |&j| (host[[i, j]], j as i64));
                    assert_eq!((near[[i, r]], at[[i, r]]), want, "{metric}: neighbour {r} of row {i}");
                }
            }
        }
    }
    assert!(matches!(knn(&x, &y, m + 1, Metric::CityBlock), Err(Error::Shape { op: "knn", .. })));
}

fn condensed_forms_are_scipys(dev: &Device) {
    for n in [0, 1, 2, 9] {
        let x = dev.from_fn((n, 4), |(i, k)| ((i * 7 + k * 3) % 11) as f64 + 1.0).unwrap();
        for metric in Metric::ALL {
            if n < 2 && metric == Metric::SEuclidean {
                continue;
            }
            let (v, all) = (pdist(&x, metric).unwrap(), cdist(&x, &x, metric).to_ndarray().unwrap());
            assert_eq!(v.shape(), [n * n.saturating_sub(1) / 2], "{metric}");
            if metric == Metric::SEuclidean {
                continue;
            }
            let square = squareform(&v).unwrap().to_ndarray().unwrap();
            for ((i, j), &got) in square.indexed_iter() {
                let want = if i == j { 0.0 } else { all[[i.min(j), i.max(j)]] };
                assert!(got == want || got.is_nan() && want.is_nan(), "{metric} {i} {j}: {got} {want}");
            }
        }
    }
    assert!(squareform(&dev.zeros::<f32, _>(4)).is_err());
    assert!(distance::condensed(&dev.zeros::<f32, _>((2, 3))).is_err());
}

/// Beyond one block: the bits are those of the square matrix, which never exists.
fn many_pairs_take_no_square_matrix(dev: &Device) {
    let value = |i: usize, k: usize| ((i * 7919 + k * 104_729) % 1009) as f32 / 64.0 - 3.0;
    let same = |x: &DeviceArray2<f32>, metric: Metric| {
        let n = x.shape()[0];
        let all = match metric {
            Metric::SEuclidean => distance::seuclidean(x, x, &x.var_axis(Axis(0), 1.0)),
            _ => cdist(x, x, metric),
        };
        let all = all.to_ndarray().unwrap();
        let got = pdist(x, metric).unwrap().to_ndarray().unwrap();
        let want: Vec<f32> = (0..n).flat_map(|i| all.slice(s![i, i + 1..]).to_vec()).collect();
        assert!(
            got.iter().map(|v| v.to_bits()).eq(want.iter().map(|v| v.to_bits())),
            "{metric} of {n} x {}",
            x.shape()[1]
        );
    };
    let few = dev.from_fn((1200, 5), |(i, k)| value(i, k)).unwrap();
    same(&few, Metric::SqEuclidean);
    // As columns of memory; the blocks' memory is in that order, too.
    same(&dev.from_fn((5, 1100), |(k, i)| value(i, k)).unwrap().t(), Metric::CityBlock);
    if on_the_host(dev) {
        // Several segments of a fold.
        let long = dev.from_fn((1100, 600), |(i, k)| value(i, k)).unwrap();
        [Metric::SqEuclidean, Metric::Cosine, Metric::Correlation].into_iter().for_each(|m| same(&long, m));
        Metric::ALL.into_iter().for_each(|m| same(&few, m));
    }
    let n = 4000;
    let x = dev.from_fn((n, 3), |(i, k)| value(i, k)).unwrap();
    let (v, t) = trace(|| {
        let v = pdist(&x, Metric::SqEuclidean).unwrap();
        v.eval().unwrap();
        v
    });
    assert_eq!(v.len(), n * (n - 1) / 2);
    // The result and a block, and kernels that make little more than half of the pairs.
    assert!(t.peak <= v.len() * 4 + (4 << 20), "{t:?}");
    assert!(t.bytes_written <= n * n * 4 * 6 / 10, "{t:?}");
}

/// By a factor of the matrix where it has one, by the formula where not: of any condition, and of the symmetric part.
fn mahalanobis_is_its_formula(dev: &Device) {
    let value = |i: usize, k: usize| ((i * 7919 + k * 104_729) % 1009) as f64 / 256.0 - 2.0;
    let (n, m, d) = (30, 25, 7);
    let hx = Array2::from_shape_fn((n, d), |(i, k)| value(i, k));
    let mut hy = Array2::from_shape_fn((m, d), |(i, k)| value(i + 50, k + 3));
    hy.slice_mut(s![..5, ..]).assign(&hx.slice(s![..5, ..]));
    let (x, y) = (dev.array(&hx).unwrap(), dev.array(&hy).unwrap());
    // Its eigenvalues go down to 1 / condition, or below 0, and it has a part that cancels.
    let matrix = |rank: usize, condition: f64, last: f64, odd: f64| {
        let (u, v) = (Array2::from_shape_fn((d, 1), |(k, _)| value(k, 9)), 0.25);
        let turn = Array2::<f64>::eye(d) - u.dot(&u.t()) * (2.0 / u.mapv(|u| u * u).sum());
        let size = |k: usize| if k + 1 == rank { last } else { condition.powf(-(k as f64) / d as f64) };
        let sizes = Array2::from_shape_fn((d, d), |(k, l)| if k == l && k < rank { size(k) } else { 0.0 });
        let skew = Array2::from_shape_fn((d, d), |(k, l)| (k as f64 - l as f64) * v * odd);
        turn.dot(&sizes).dot(&turn) + skew
    };
    let direct = |vi: &Array2<f64>| {
        Array2::from_shape_fn((n, m), |(i, j)| {
            let diff = &hx.row(i) - &hy.row(j);
            diff.dot(&vi.dot(&diff)).sqrt()
        })
    };
    for (vi, kernels, least) in [
        (matrix(d, 1.0, 1.0, 0.0), 3, 1e-14),
        (matrix(d, 1e6, 1e-6, 0.0), 3, 1e-11),
        (matrix(d, 1e12, 1e-12, 0.0), 3, 1e-6),
        (matrix(d, 1e3, 1e-3, 1.0), 3, 1e-11),
        (matrix(3, 10.0, 0.1, 0.0), 3, 1e-12),
        // Negative squares are NaN.
        (matrix(d, 10.0, -0.5, 0.0), 1, 1e-12),
        (matrix(0, 1.0, 1.0, 0.0), 1, 0.0),
        (matrix(d, 1.0, f64::NAN, 0.0), 1, 0.0),
    ] {
        let on = dev.array(&vi).unwrap();
        let (got, t) = trace(|| distance::mahalanobis(&x, &y, &on).to_ndarray().unwrap());
        if on_the_host(dev) {
            assert_eq!(t.kernels, kernels, "{vi}");
            assert!(t.peak <= (n * m + (n + m) * d + 2 * d * d) * 8, "{t:?}");
        }
        for ((i, j), &want) in direct(&vi).indexed_iter() {
            let got = got[[i, j]];
            if i < 5 && i == j && !want.is_nan() {
                assert_eq!(got.to_bits(), 0, "equal rows: {got:e}");
            }
            let near = (got - want).abs() <= least * want;
            assert!(near || got.is_nan() && want.is_nan(), "{got:e}, not {want:e}, of {vi}");
        }
        // As all of it is computed in f64, so it is of f32; and a row has the bits that it has among others.
        let some = distance::mahalanobis(&x.slice(s![3..4, ..]), &y, &on).to_ndarray().unwrap();
        let narrow = distance::mahalanobis(&x.cast::<f32>(), &y.cast(), &on.cast()).to_ndarray().unwrap();
        let wide = |a: &DeviceArray2<f64>| a.cast::<f32>().cast::<f64>();
        let want = distance::mahalanobis(&wide(&x), &wide(&y), &wide(&on)).cast::<f32>().to_ndarray().unwrap();
        let same = |a: &f64, b: &f64| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
        let alike = some.iter().zip(got.row(3)).all(|(a, b)| same(a, b));
        // Kernels that ship fold one row of pairs in an order of its own.
        assert!(alike || !makes_kernels(dev), "one row: {some}, not {}", got.row(3));
        let both = narrow.iter().zip(&want).find(|(a, b)| !same(&f64::from(**a), &f64::from(**b)));
        assert!(both.is_none(), "f32: {both:?}, of {vi}");
    }
}

fn wrong_shapes_name_the_distance(dev: &Device) {
    let (x, y) = (dev.zeros::<f32, _>((3, 4)), dev.zeros::<f32, _>((2, 5)));
    let text = |e: ndcuda::Result<DeviceArray2<f32>>| e.unwrap_err().to_string();
    for (op, e) in [
        ("cdist", distance::try_cdist(&x, &y, Metric::Cosine)),
        ("sqeuclidean_broadcast", distance::try_sqeuclidean_broadcast(&x, &y)),
        ("sqeuclidean_expanded", distance::try_sqeuclidean_expanded(&x, &y)),
        ("cityblock", distance::try_cityblock(&x, &y)),
        ("euclidean", distance::try_euclidean(&x, &y)),
    ] {
        let e = text(e);
        assert!(e.contains(op) && e.contains("[3, 4]") && e.contains("[2, 5]"), "{e}");
    }
    let short = dev.zeros::<f32, _>(3);
    assert!(text(distance::try_seuclidean(&x, &x, &short)).contains("seuclidean"));
    let weighted = |m| distance::try_cdist_weighted(&x, &x, m, &short);
    assert!(text(weighted(Metric::CityBlock)).contains("[4]"));
    let w = dev.ones::<f32, _>(4);
    for metric in [Metric::SEuclidean, Metric::JensenShannon] {
        let e = text(distance::try_cdist_weighted(&x, &x, metric, &w));
        assert!(e.contains(&metric.to_string()) && e.contains("no weights"), "{e}");
    }
    for p in [0.0, -1.0, f64::NAN] {
        assert!(text(distance::try_cdist(&x, &x, Metric::Minkowski(p))).contains("p must be positive"));
    }
    assert!(text(distance::try_mahalanobis(&x, &x, &y)).contains("[4, 4]"));
    let elsewhere = Device::cpu_with_threads(1);
    let other = elsewhere.zeros::<f32, _>((3, 4));
    for e in [
        distance::try_cdist_weighted(&x, &x, Metric::CityBlock, &elsewhere.ones(4)),
        distance::try_seuclidean(&x, &x, &elsewhere.ones(4)),
        distance::try_mahalanobis(&x, &x, &elsewhere.ones((4, 4))),
    ] {
        assert!(text(e).contains("to_device"));
    }
    if dev.is_cpu() {
        assert!(text(distance::try_cityblock(&x, &other)).contains("1 thread"));
    }
    let many = dev.zeros::<f32, _>((1 << 33, 2));
    assert!(matches!(pdist(&many, Metric::CityBlock), Err(Error::OutOfMemory { .. })));
    assert!(text(distance::try_cityblock(&x, &other)).contains("to_device"));
}

tests_on_devices! {
    edge_cases_are_scipys neighbours_are_those_of_a_sort condensed_forms_are_scipys
    rows_of_nothing narrow_rows_are_computed_in_f32 a_distance_of_ones_own many_pairs_take_no_square_matrix
    wrong_shapes_name_the_distance mahalanobis_is_its_formula
}
