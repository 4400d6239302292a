//! How many digits each way of writing squared distances keeps, on data that is kind and data that is not.

use ndarray::{Array1, Array2, Axis};
use ndcuda::{Device, DeviceArray2, distance};

const ROWS: usize = 150;

/// Normal numbers from a seed: Box and Muller's on a 64-bit congruential generator.
struct Normal(u64);

impl Normal {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn next(&mut self) -> f64 {
        let (u, v) = (self.uniform(), self.uniform());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    fn rows(&mut self, d: usize, mean: f64) -> Array2<f32> {
        Array2::from_shape_simple_fn((ROWS, d), || (mean + self.next()) as f32)
    }
}

/// The largest relative error of squared distances, against f64 on the same f32 rows; pairs at distance 0 are left out.
fn worst(got: &Array2<f64>, x: &Array2<f32>, y: &Array2<f32>) -> f64 {
    let mut most = 0.0f64;
    for ((i, j), &d) in got.indexed_iter() {
        let want: f64 = x.row(i).iter().zip(y.row(j)).map(|(&a, &b)| (a as f64 - b as f64).powi(2)).sum();
        if want > 0.0 {
            most = most.max((d - want).abs() / want);
        }
    }
    most
}

/// The forms and their largest errors: #1, #2, #2 of rows centred on their mean, #2 in f64.
fn forms(dev: &Device, x: &Array2<f32>, y: &Array2<f32>) -> [f64; 4] {
    let (a, b) = (dev.array(x).unwrap(), dev.array(y).unwrap());
    let wide = |d: DeviceArray2<f32>| d.to_ndarray().unwrap().mapv(f64::from);
    let centre = a.mean_axis(Axis(0));
    [
        wide(distance::sqeuclidean_broadcast(&a, &b)),
        wide(distance::sqeuclidean_expanded(&a, &b)),
        wide(distance::sqeuclidean_expanded(&(&a - &centre), &(&b - &centre))),
        distance::sqeuclidean_expanded(&a.cast::<f64>(), &b.cast::<f64>()).to_ndarray().unwrap(),
    ]
    .map(|d| worst(&d, x, y))
}

/// #1 keeps all its digits on any data; #2 loses them where rows lie far from 0 or close together, as documented. Both ends are
/// checked: a form that lost fewer digits than arithmetic allows would not be the form that was written.
fn digits_kept_by_each_form(dev: &Device) {
    let mut normal = Normal(1);
    let (x, y) = (normal.rows(128, 0.0), normal.rows(128, 0.0));
    let [direct, expanded, centred, upcast] = forms(dev, &x, &y);
    assert!(direct < 2e-6 && expanded < 4e-6 && centred < 4e-6 && upcast < 2e-7, "N(0, 1): {direct} {expanded}");

    let (x, y) = (normal.rows(128, 100.0), normal.rows(128, 100.0));
    let [direct, expanded, centred, upcast] = forms(dev, &x, &y);
    assert!(direct < 2e-6 && centred < 1e-5 && upcast < 2e-7, "N(100, 1): {direct} {centred} {upcast}");
    assert!((3e-4..0.3).contains(&expanded), "N(100, 1): {expanded}");

    let x = normal.rows(128, 0.0);
    let y = x.mapv(|v| v + (1e-3 * normal.next()) as f32);
    let [direct, expanded, centred, upcast] = forms(dev, &x, &y);
    assert!(direct < 2e-6 && upcast < 1e-6, "near duplicates: {direct} {upcast}");
    assert!(expanded > 1e-2 && centred > 1e-2, "near duplicates: {expanded} {centred}");

    // Degrees, degrees and metres in one town.
    let centre = Array1::from_vec(vec![52.5f64, 13.4, 35.0]);
    let mut place = || Array2::from_shape_fn((ROWS, 3), |(_, k)| (centre[k] + 1e-3 * normal.next()) as f32);
    let (x, y) = (place(), place());
    let [direct, expanded, centred, upcast] = forms(dev, &x, &y);
    assert!(direct < 1e-6 && upcast < 1e-2, "GPS: {direct} {upcast}");
    assert!(expanded > 1.0 && centred < 1e-2 * expanded, "GPS: {expanded} {centred}");
}

/// A row's distance to itself is 0 exactly, alone and in any batch.
fn rows_are_at_distance_zero_from_themselves(dev: &Device) {
    let mut normal = Normal(2);
    for (d, mean) in [(1, 0.0), (3, 50.0), (64, 100.0), (300, -7.0), (2050, 1.0)] {
        let x = dev.array(normal.rows(d, mean)).unwrap();
        let diagonal = |m: DeviceArray2<f32>| m.to_ndarray().unwrap().diag().to_owned();
        let zero = Array1::<f32>::zeros(ROWS);
        assert_eq!(diagonal(distance::sqeuclidean_broadcast(&x, &x)), zero, "#1, d = {d}");
        assert_eq!(diagonal(distance::cityblock(&x, &x)), zero, "cityblock, d = {d}");
        assert_eq!(diagonal(distance::sqeuclidean_expanded(&x, &x)), zero, "#2, d = {d}");
    }
}

tests_on_devices!(digits_kept_by_each_form rows_are_at_distance_zero_from_themselves);
