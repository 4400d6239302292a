//! SciPy's metrics on rows with edge cases (zeros, constants, NaN), kept in `tests/data/distances.csv`; neighbours, condensed forms.

use crate::harness::on_the_host;
use ndarray::{Array1, Array2, Axis, s};
use ndcuda::debug::trace;
use ndcuda::distance::{self, Metric, cdist, knn, pdist, squareform};
use ndcuda::{Device, DeviceArray2, Error};

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
    let (hx, hy) = (rows("x"), rows("y"));
    let (x, y, vi) = (dev.array(&hx).unwrap(), dev.array(&hy).unwrap(), dev.array(rows("vi")).unwrap());
    let [w, v] = ["w", "v"].map(|n| dev.array(Array1::from(get(n))).unwrap());
    let mut seen = 0;
    for (name, n, m, values) in &all {
        if *m == 0 {
            continue;
        }
        seen += 1;
        let want = Array2::from_shape_vec((*n, *m), values.clone()).unwrap();
        let got = match name.as_str() {
            "minkowski+w" => distance::minkowski(&x, &y, 3.0, &w),
            "seuclidean+v" => distance::seuclidean(&x, &y, &v),
            "mahalanobis+vi" => distance::mahalanobis(&x, &y, &vi),
            name => cdist(&x.slice(s![..*n, ..]), &y, name.parse::<Metric>().unwrap()),
        };
        let got = got.to_ndarray().unwrap();
        let boolean = matches!(name.as_str(), "dice" | "rogerstanimoto" | "russellrao" | "sokalsneath" | "yule");
        let truth = |v: &f64| *v == 0.0 || *v == 1.0;
        for (at, &want) in want.indexed_iter() {
            // SciPy puts other numbers than 0 and 1 into formulas that count truths; here they are set or not.
            if boolean && !(hx.row(at.0).iter().all(truth) && hy.row(at.1).iter().all(truth)) {
                continue;
            }
            let got = got[at];
            // SciPy's Chebyshev passes over NaN; a maximum of NumPy's does not.
            let nan = hx.row(at.0).iter().chain(hy.row(at.1)).any(|v| v.is_nan());
            let want = if name == "chebyshev" && nan { f64::NAN } else { want };
            // A root of a difference that rounds to 0.
            let near = (got - want).abs() <= 1e-13 * want.abs() + 3e-8 * f64::from(u8::from(name == "jensenshannon"));
            let same = got.is_nan() && want.is_nan() || got == want || near || (got - want).abs() < 1e-15;
            assert!(same, "{name} of {} and {}: {got:e}, SciPy has {want:e}", hx.row(at.0), hy.row(at.1));
        }
    }
    assert_eq!(seen, 21);
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
    assert!(text(distance::try_minkowski(&x, &x, 2.0, &short)).contains("[4]"));
    assert!(text(distance::try_mahalanobis(&x, &x, &y)).contains("[4, 4]"));
    let other = Device::cpu_with_threads(1).zeros::<f32, _>((3, 4));
    assert!(text(distance::try_cityblock(&x, &other)).contains("to_device"));
}

tests_on_devices! {
    edge_cases_are_scipys neighbours_are_those_of_a_sort condensed_forms_are_scipys
    many_pairs_take_no_square_matrix wrong_shapes_name_the_distance
}
