//! The programs as a user runs them: the demo, files in and out, and what is said when something is wrong.

use ndcuda::distance::Metric;
use ndcuda::ndarray::{Array1, Array2, ArrayView1, Ix2, arr2};
use ndcuda::{Device, DeviceArrayD, Element, f16, io};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder of a test's own, gone when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("distances-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn save<T: Element>(&self, name: &str, host: &Array2<T>) {
        io::write_npy(self.0.join(name), &Device::cpu().array(host).unwrap()).unwrap();
    }

    fn load<T: Element>(&self, name: &str) -> Array2<T> {
        io::read_npy_as::<T, Ix2>(self.0.join(name), &Device::cpu()).unwrap().to_ndarray().unwrap()
    }

    /// Runs the program here with these words.
    fn run(&self, words: &str) -> Output {
        Command::new(env!("CARGO_BIN_EXE_distances")).args(words.split(' ')).current_dir(&self.0).output().unwrap()
    }

    /// As `run`, where it must succeed: what it says on stderr.
    fn done(&self, words: &str) -> String {
        let out = self.run(words);
        let errors = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success(), "{words}: {}\n{errors}", out.status);
        errors
    }

    /// As `run`, where it must fail with this code: what it says on stderr.
    fn fails(&self, code: i32, words: &str) -> String {
        let out = self.run(words);
        let errors = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(code), "{words}: {errors}");
        assert!(errors.starts_with("distances: "), "{words}: {errors}");
        errors
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn rows(n: usize, d: usize, from: usize) -> Array2<f64> {
    Array2::from_shape_fn((n, d), |(i, k)| (((i + from) * 37 + k * 101 + i * k) % 257) as f64 / 64.0 - 1.5)
}

/// What SciPy's `cdist` computes, one pair at a time.
fn naive(x: &Array2<f64>, y: &Array2<f64>, metric: Metric) -> Array2<f64> {
    let cosine = |a: &Array1<f64>, b: &Array1<f64>| 1.0 - a.dot(b) / (a.dot(a).sqrt() * b.dot(b).sqrt());
    let pair = |a: ArrayView1<'_, f64>, b: ArrayView1<'_, f64>| {
        let diff = &a - &b;
        let fold = |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(&b).map(|(&a, &b)| f(a, b)).sum::<f64>();
        match metric {
            Metric::SqEuclidean => diff.dot(&diff),
            Metric::Euclidean => diff.dot(&diff).sqrt(),
            Metric::CityBlock => diff.abs().sum(),
            Metric::Chebyshev => diff.abs().fold(0.0, |m: f64, &v| m.max(v)),
            Metric::Minkowski(p) => diff.abs().powf(p).sum().powf(1.0 / p),
            Metric::Cosine => cosine(&a.to_owned(), &b.to_owned()),
            Metric::Correlation => cosine(&(&a - a.mean().unwrap()), &(&b - b.mean().unwrap())),
            Metric::Canberra => fold(&|a, b| if a == b { 0.0 } else { (a - b).abs() / (a.abs() + b.abs()) }),
            Metric::BrayCurtis => fold(&|a, b| (a - b).abs()) / fold(&|a, b| (a + b).abs()),
            Metric::Hamming => fold(&|a, b| f64::from(u8::from(a != b))) / a.len() as f64,
            other => panic!("{other} is new"),
        }
    };
    Array2::from_shape_fn((x.nrows(), y.nrows()), |(i, j)| pair(x.row(i), y.row(j)))
}

fn close(found: &Array2<f64>, expected: &Array2<f64>, tolerance: f64, what: &str) {
    let found: DeviceArrayD<f64> = Device::cpu().array(found).unwrap().into_dyn();
    if let Err(e) = found.all_close(&expected.clone().into_dyn(), tolerance, tolerance) {
        panic!("{what}: {e}");
    }
}

#[test]
fn the_demo() {
    let folder = Folder::new("demo");
    std::fs::create_dir(folder.0.join("target")).unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_distances")).current_dir(&folder.0).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{text}\n{}", String::from_utf8_lossy(&out.stderr));
    assert!(text.starts_with("device: "), "{text}");
    assert!(text.contains("Alpaydin") && text.contains("CC BY 4.0"), "{text}");
    assert_eq!(text.matches("#0 loop").count(), 2, "{text}");
    let hits: Vec<&str> = text.lines().filter(|l| l.contains("(SciPy: ")).collect();
    assert_eq!(hits.len(), 3, "{text}");
    for (line, n) in hits.iter().zip([1776, 1776, 1770]) {
        assert!(line.contains(&format!("{n} of 1797 (SciPy: {n})")), "{line}");
    }

    let (colours, width, pixels) = picture(&folder.0.join("target/digits_distances.png"));
    assert_eq!((colours, width, pixels.len()), (png::ColorType::Indexed, 1797, 1797 * 1797));
    assert!((0..1797).all(|i| pixels[i * 1797 + i] == 0), "no distance of an image from itself");
    assert!((0..100).all(|i| pixels[i * 1797 + 900] == pixels[900 * 1797 + i]), "symmetric");
    assert_eq!(pixels.iter().max(), Some(&255));
}

fn picture(path: &Path) -> (png::ColorType, u32, Vec<u8>) {
    let mut decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(path).unwrap()));
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    (info.color_type, info.width, pixels)
}

#[test]
fn every_metric_against_loops() {
    let folder = Folder::new("metrics");
    let (x, y) = (rows(23, 9, 0), rows(17, 9, 40));
    folder.save("x.npy", &x);
    folder.save("y.npy", &y);
    // The others stand beside points of SciPy's in the crate's own suite.
    for metric in Metric::ALL[..10].iter().copied().chain([Metric::Minkowski(1.5)]) {
        let said = folder.done(&format!("--x x.npy --y y.npy --metric {metric} --out d.npy"));
        assert!(said.contains(&format!("d.npy: 23 x 17 {metric} of f64")), "{said}");
        close(&folder.load("d.npy"), &naive(&x, &y, metric), 1e-12, &metric.to_string());
    }
    folder.done("--x=x.npy --metric=cityblock --out=d.npy --device=cpu");
    close(&folder.load("d.npy"), &naive(&x, &x, Metric::CityBlock), 1e-12, "x with itself");
}

#[test]
fn dtypes_are_converted_aloud() {
    let folder = Folder::new("dtypes");
    let (x, y) = (rows(5, 4, 0), rows(6, 4, 9));
    let expected = naive(&x, &y, Metric::Euclidean);
    let narrow = |path: &str| folder.load::<f32>(path).mapv(f64::from);
    folder.save("f32.npy", &x.mapv(|v| v as f32));
    folder.save("f16.npy", &y.mapv(f16::from_f64));
    folder.save("f64.npy", &y);
    folder.save("i8.npy", &y.mapv(|v| v as i8));

    let said = folder.done("--x f32.npy --metric euclidean --out d.npy");
    assert!(!said.contains("converted"), "{said}");
    assert_eq!(narrow("d.npy").dim(), (5, 5));

    let said = folder.done("--x f32.npy --y f16.npy --metric euclidean --out d.npy");
    assert!(said.contains("f16.npy: f16 is converted to f32") && !said.contains("f32.npy:"), "{said}");
    close(&narrow("d.npy"), &expected, 1e-2, "f16");

    let said = folder.done("--x f32.npy --y f64.npy --metric euclidean --out d.npy");
    assert!(said.contains("f32.npy: f32 is converted to f64"), "{said}");
    close(&folder.load("d.npy"), &expected, 1e-6, "f32 and f64");

    let said = folder.done("--x i8.npy --metric cityblock --out d.npy");
    assert!(said.contains("i8.npy: i8 is converted to f64"), "{said}");
    let whole = y.mapv(|v| f64::from(v as i8));
    assert_eq!(folder.load::<f64>("d.npy"), naive(&whole, &whole, Metric::CityBlock));

    folder.save("bool.npy", &arr2(&[[true, false, true], [true, true, false]]));
    folder.done("--x bool.npy --metric hamming --out d.npy");
    assert_eq!(folder.load::<f64>("d.npy"), arr2(&[[0.0, 2.0 / 3.0], [2.0 / 3.0, 0.0]]));
}

#[test]
fn nan_and_nothing_pass_through() {
    let folder = Folder::new("nan");
    folder.save("x.npy", &arr2(&[[0.0f32, f32::NAN], [1.0, f32::INFINITY], [3.0, 4.0], [0.0, 0.0]]));
    folder.done("--x x.npy --metric euclidean --out d.npy");
    let d = folder.load::<f32>("d.npy");
    assert!(d.row(0).iter().chain(d.column(0)).all(|v| v.is_nan()), "{d}");
    assert_eq!((d[[1, 2]], d[[2, 3]], d[[2, 2]]), (f32::INFINITY, 5.0, 0.0));

    folder.save("none.npy", &Array2::<f32>::zeros((0, 2)));
    folder.done("--x none.npy --y x.npy --metric cosine --out d.npy");
    assert_eq!(folder.load::<f32>("d.npy").dim(), (0, 4));
    folder.done("--x x.npy --y none.npy --metric cityblock --out d.npy");
    assert_eq!(folder.load::<f32>("d.npy").dim(), (4, 0));
}

#[test]
fn long_files_go_by_blocks() {
    let folder = Folder::new("blocks");
    let (x, y) = (rows(2500, 2, 0), rows(3000, 2, 7));
    folder.save("x.npy", &x);
    folder.save("y.npy", &y);
    let said = folder.done("--x x.npy --y y.npy --metric chebyshev --out d.npy --progress");
    let lines: Vec<&str> = said.lines().filter(|l| l.starts_with("chebyshev: ")).collect();
    assert!(lines.len() == 2 && lines[1].contains("2500 of 2500 rows (100 %)"), "{said}");
    close(&folder.load("d.npy"), &naive(&x, &y, Metric::Chebyshev), 1e-12, "blocks");
    let said = folder.done("--x x.npy --y y.npy --metric chebyshev --out d.npy");
    assert!(!said.contains("rows ("), "no progress where stderr is no terminal: {said}");
}

#[test]
fn usage_errors_exit_with_2() {
    let folder = Folder::new("usage");
    for (words, part) in [
        ("--frobnicate", "--frobnicate"),
        ("x.npy", "x.npy"),
        ("--x", "--x needs a value"),
        ("--x a.npy --x b.npy", "--x is given twice"),
        ("--metric cosine --out d.npy", "--x is missing"),
        ("--x a.npy --out d.npy", "--metric is missing"),
        ("--x a.npy --metric cosine", "--out is missing"),
        ("--x a.npy --metric hyperbolic --out d.npy", "hyperbolic"),
        ("--x a.npy --metric hyperbolic --out d.npy", "cityblock"),
        ("--x a.npy --metric minkowski:-1 --out d.npy", "minkowski:-1"),
        ("--progress=yes", "--progress"),
    ] {
        let said = folder.fails(2, words);
        assert!(said.contains(part), "{words}: {said}");
    }
    let help = folder.run("--help");
    let text = String::from_utf8_lossy(&help.stdout);
    assert!(help.status.success() && text.contains("--metric") && text.contains("braycurtis"), "{text}");
}

#[test]
fn failures_exit_with_1_and_name_the_file() {
    let folder = Folder::new("failures");
    folder.save("x.npy", &rows(4, 3, 0));
    folder.save("wide.npy", &rows(4, 5, 0));
    folder.save("hollow.npy", &Array2::<f64>::zeros((4, 0)));
    std::fs::write(folder.0.join("text.npy"), "1,2,3\n4,5,6\n").unwrap();
    let line: DeviceArrayD<f64> = Device::cpu().ones::<f64, _>(7).into_dyn();
    io::write_npy(folder.0.join("line.npy"), &line).unwrap();
    for (words, part) in [
        ("--x nowhere.npy --metric cosine --out d.npy", "nowhere.npy: "),
        ("--x text.npy --metric cosine --out d.npy", "text.npy: is no .npy file"),
        ("--x line.npy --metric cosine --out d.npy", "line.npy: shape [7]"),
        ("--x hollow.npy --metric cosine --out d.npy", "hollow.npy: its rows are empty"),
        ("--x x.npy --y wide.npy --metric cosine --out d.npy", "3 columns in x.npy, 5 in wide.npy"),
        ("--x x.npy --metric cosine --out no/such/d.npy", "no/such/d.npy: "),
        ("--x x.npy --metric cosine --out d.npy --device abacus", "--device=abacus: a device is cpu"),
        ("--device abacus", "--device=abacus: a device is cpu"),
    ] {
        let said = folder.fails(1, words);
        assert!(said.contains(part) && !said.contains("NDCUDA"), "{words}: {said}");
    }
    assert!(!folder.0.join("d.npy").exists());
}

#[test]
fn the_bench_prints_a_line_of_json() {
    let bench =
        |words: &str| Command::new(env!("CARGO_BIN_EXE_pairwise_bench")).args(words.split(' ')).output().unwrap();
    let metrics = Metric::ALL.map(|m| m.to_string());
    for form in ["expanded", "nn", "knn:3", "mahalanobis"].into_iter().chain(metrics.iter().map(String::as_str)) {
        let out = bench(&format!("--n 20 --m 30 --d 8 --form {form} --dtype f64 --reps 2 --device cpu"));
        let line = String::from_utf8(out.stdout).unwrap();
        assert!(out.status.success(), "{form}: {}", String::from_utf8_lossy(&out.stderr));
        assert!(line.starts_with('{') && line.ends_with("}\n") && line.lines().count() == 1, "{line}");
        for part in [
            &format!("\"form\":\"{form}\""),
            "\"n\":20,\"m\":30,\"d\":8,\"dtype\":\"f64\"",
            "\"threads\":",
            "\"median_ms\":",
            "\"best_ms\":",
            "\"gelem_per_s\":",
            "\"fraction_of_limit\":",
            "\"kernels\":",
            "\"peak_rss_mb\":",
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }
    let fraction = |words: &str| {
        let line = String::from_utf8(bench(words).stdout).unwrap();
        line.split("\"fraction_of_limit\":").nth(1).and_then(|l| l.split(',').next()?.parse::<f64>().ok())
    };
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        for form in ["sqeuclidean", "cityblock", "expanded", "knn:2"] {
            let found = fraction(&format!("--n 300 --m 300 --d 64 --reps 3 --device cpu --form {form}"));
            assert!(found.is_some_and(|f| f > 0.0 && f < 1.2), "{form}: {found:?}");
        }
    }
    assert_eq!(fraction("--n 20 --m 30 --d 8 --device cpu --form minkowski:3"), None);
    assert_eq!(fraction("--n 20 --m 30 --d 8 --device cpu --dtype f16"), None);
    assert_eq!(bench("--form nonsense").status.code(), Some(2));
    assert_eq!(bench("--form knn:0").status.code(), Some(2));
    assert_eq!(bench("--n 0").status.code(), Some(2));
    assert_eq!(bench("--dtype i32").status.code(), Some(2));
    for (words, part) in [
        ("--device abacus", "--device=abacus: a device is cpu"),
        ("--n 99999999999 --device cpu", "out of memory on the host"),
        ("--n 9999999999999999999 --device cpu", "from_fn: shape [9999999999999999999, 128]"),
    ] {
        let out = bench(words);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.code() == Some(1) && said.contains(part), "{words}: {said}");
    }
}
