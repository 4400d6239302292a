//! How many digits each way of writing squared distances keeps, on data that is kind and data that is not.

use crate::harness::makes_kernels;
use ndarray::{Array1, Array2, Axis};
use ndcuda::{Device, DeviceArray2, distance};

const ROWS: usize = 150;
/// Rows that are enough for kernels that ship.
const FEW: usize = 40;

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

    fn rows(&mut self, n: usize, d: usize, mean: f64) -> Array2<f32> {
        Array2::from_shape_simple_fn((n, d), || (mean + self.next()) as f32)
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

/// What the tensor cores take of an f32: 10 bits of its fraction.
fn tf32(x: &Array2<f32>) -> Array2<f32> {
    x.mapv(|v| f32::from_bits((v.to_bits() + (1 << 12)) & !((1 << 13) - 1)))
}

/// The forms and their largest errors: #1, #2, #2 of rows centred on their mean, #2 with a product of TF32, #2 in f64.
fn forms(dev: &Device, x: &Array2<f32>, y: &Array2<f32>) -> [f64; 5] {
    let (a, b) = (dev.array(x).unwrap(), dev.array(y).unwrap());
    let wide = |d: DeviceArray2<f32>| d.to_ndarray().unwrap().mapv(f64::from);
    let centre = a.mean_axis(Axis(0));
    let product = dev.array(tf32(x)).unwrap().dot(&dev.array(tf32(y)).unwrap().t());
    let norms = |x: &DeviceArray2<f32>| (x * x).sum_keep(Axis(1));
    [
        wide(distance::sqeuclidean_broadcast(&a, &b)),
        wide(distance::sqeuclidean_expanded(&a, &b)),
        wide(distance::sqeuclidean_expanded(&(&a - &centre), &(&b - &centre))),
        wide((norms(&a) + norms(&b).t() - product * 2.0).abs()),
        distance::sqeuclidean_expanded(&a.cast::<f64>(), &b.cast::<f64>()).to_ndarray().unwrap(),
    ]
    .map(|d| worst(&d, x, y))
}

/// #1 keeps all its digits on any data; #2 loses them where rows lie far from 0 or close together, as documented, and all of them sooner with
/// TF32, which therefore has to be asked for. Each error is what was measured, up to a factor of 4: a form that lost fewer digits than
/// arithmetic allows would not be the form that was written. Kernels that ship, which are slow on the software device, take fewer rows.
fn digits_kept_by_each_form(dev: &Device) {
    let mut normal = Normal(1);
    let all = makes_kernels(dev);
    let n = if all { ROWS } else { FEW };
    let mut wrong = vec![];
    let mut check = |what: &str, (x, y): (Array2<f32>, Array2<f32>), of_all: [f64; 5], of_few: [f64; 5]| {
        let measured = if all { of_all } else { of_few };
        let found = forms(dev, &x, &y);
        for ((form, got), want) in ["#1", "#2", "#2 centred", "#2 by TF32", "#2 in f64"].iter().zip(found).zip(measured)
        {
            if !(want / 4.0..=want * 4.0).contains(&got) {
                wrong.push(format!("{what}, {form}: {got:.1e}, not about {want:e}"));
            }
        }
    };
    let kind = (normal.rows(n, 128, 0.0), normal.rows(n, 128, 0.0));
    check("N(0, 1)", kind, [7e-7, 6e-7, 5e-7, 1.5e-4, 1.6e-15], [7e-7, 5e-7, 5e-7, 1e-4, 1.3e-15]);
    let far = (normal.rows(n, 128, 100.0), normal.rows(n, 128, 100.0));
    check("N(100, 1)", far, [7e-7, 1.2e-2, 5.5e-7, 0.9, 4.1e-11], [6e-7, 8e-3, 5e-7, 0.84, 3.3e-12]);
    let x = normal.rows(n, 128, 0.0);
    let y = x.mapv(|v| v + (1e-3 * normal.next()) as f32);
    check("near duplicates", (x, y), [7e-7, 1.3, 1.3, 260.0, 3.1e-9], [7e-7, 1.0, 0.3, 230.0, 6e-10]);
    // Degrees, degrees and metres in one town.
    let centre = Array1::from_vec(vec![52.5f64, 13.4, 35.0]);
    let mut place = || Array2::from_shape_fn((n, 3), |(_, k)| (centre[k] + 1e-3 * normal.next()) as f32);
    let places = (place(), place());
    check("GPS", places, [6e-8, 8.1e5, 2.8e-6, 1.9e8, 1e-4], [6e-8, 4.8e4, 2.3e-7, 1.2e7, 2.7e-5]);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A row's distance to itself is 0 exactly, alone and in any batch.
fn rows_are_at_distance_zero_from_themselves(dev: &Device) {
    let mut normal = Normal(2);
    for (d, mean) in [(1, 0.0), (3, 50.0), (64, 100.0), (300, -7.0), (2050, 1.0)] {
        let n = if makes_kernels(dev) || d <= 64 { ROWS } else { FEW };
        let x = dev.array(normal.rows(n, d, mean)).unwrap();
        let diagonal = |m: DeviceArray2<f32>| m.to_ndarray().unwrap().diag().to_owned();
        let zero = Array1::<f32>::zeros(n);
        assert_eq!(diagonal(distance::sqeuclidean_broadcast(&x, &x)), zero, "#1, d = {d}");
        assert_eq!(diagonal(distance::cityblock(&x, &x)), zero, "cityblock, d = {d}");
        assert_eq!(diagonal(distance::sqeuclidean_expanded(&x, &x)), zero, "#2, d = {d}");
    }
}

tests_on_devices!(digits_kept_by_each_form rows_are_at_distance_zero_from_themselves);
