//! The shipped kernels beside the CPU: folds, passes, gathers, pairwise kernels. The table's rows run on them in [`super::table`].

use super::soft;
use crate::backend::Args;
use crate::dtype::DType;
use crate::kernel::{
    AxisSet, Bind, Class, FoldOrder, Id, Inst, KOp, KernelIr, Launch, Nest, Operand, Role, Step, Width,
};
use crate::ops::{reduce::SUM, row};
use crate::prelude::*;
use crate::{Axis, Device, Element, NewAxis, bf16, f16, s};
use ndarray::{Array, Array2, Array3, Dimension};

/// Numbers in [-128, 128).
pub fn noise(n: usize, seed: u64) -> impl Iterator<Item = f64> {
    (0..n as u64).map(move |i| {
        let x = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(seed.wrapping_mul(0xbf58_476d_1ce4_e5b9));
        ((x ^ x >> 29).wrapping_mul(0x94d0_49bb_1331_11eb) >> 48) as f64 / 256.0 - 128.0
    })
}

pub fn two<T: Element>(dev: &Device, n: usize, m: usize, seed: u64) -> DeviceArray2<T> {
    let all = noise(n * m, seed).map(T::from_f64).collect();
    dev.array(&Array2::from_shape_vec((n, m), all).unwrap()).unwrap()
}

fn host<T: Element, D: Dimension>(a: &DeviceArray<T, D>) -> Vec<f64> {
    let a: Array<T, D> = a.to_ndarray().unwrap();
    a.iter().map(|x| x.to_f64()).collect()
}

/// What `f` gives on the CPU and on the software device, but for a relative error.
fn same(what: &str, tolerance: f64, f: impl Fn(&Device) -> Vec<f64>) {
    let (want, got) = (f(&Device::cpu_with_threads(1)), f(&soft::device(3)));
    assert_eq!(want.len(), got.len(), "{what}");
    let scale = want.iter().filter(|w| w.is_finite()).fold(1.0f64, |m, w| m.max(w.abs()));
    for (i, (w, g)) in want.iter().zip(&got).enumerate() {
        let fine = w == g || w.is_nan() && g.is_nan() || (w - g).abs() <= tolerance * scale;
        assert!(fine, "{what}: [{i}] {g:e} not {w:e}");
    }
}

/// Sizes on both sides of a warp, a block and several blocks for a row.
const SIZES: [(usize, usize); 6] = [(1, 1), (3, 5), (40, 33), (2, 300), (300, 2), (2, 5000)];

fn folds<T: Number>(name: &str, tolerance: f64) {
    for (n, m) in SIZES {
        for axis in [0, 1] {
            let what = format!("{name} {n} x {m} axis {axis}");
            let at = Axis(axis);
            same(&what, tolerance, |d| host(&two::<T>(d, n, m, 1).sum_axis(at)));
            same(&what, 0.0, |d| host(&two::<T>(d, n, m, 1).max_axis(at)));
            same(&what, 0.0, |d| host(&two::<T>(d, n, m, 1).t().min_axis(at)));
            same(&what, 0.0, |d| host(&two::<T>(d, n, m, 1).argmax_axis(at)));
            same(&what, 0.0, |d| host(&two::<T>(d, n, m, 1).slice(s![..;-1, ..]).argmin_axis(at)));
        }
        same(name, tolerance, |d| host(&two::<T>(d, n, m, 1).sum()));
    }
}

#[test]
fn shipped_folds_of_floats() {
    folds::<f32>("f32", 1e-6);
    folds::<f64>("f64", 1e-14);
    folds::<f16>("f16", 1e-3);
}

#[test]
fn shipped_folds_of_integers() {
    folds::<i8>("i8", 0.0);
    folds::<u16>("u16", 0.0);
    folds::<i32>("i32", 0.0);
    folds::<u64>("u64", 0.0);
}

#[test]
fn shipped_passes_and_truth() {
    for (n, m) in SIZES {
        same("softmax", 1e-6, |d| {
            let x = two::<f32>(d, n, m, 1) * 0.05;
            let e = (&x - x.max_keep(Axis(1))).exp();
            host(&(&e / e.sum_keep(Axis(1))))
        });
        same("var", 1e-6, |d| host(&two::<f32>(d, n, m, 1).var_axis(Axis(1), 0.0)));
        same("var", 1e-13, |d| host(&two::<f64>(d, n, m, 1).var_axis(Axis(0), 0.0)));
        same("any", 0.0, |d| host(&two::<f32>(d, n, m, 1).greater(120.0).any_axis(Axis(1))));
        same("all", 0.0, |d| host(&two::<i32>(d, n, m, 1).less(100).all_axis(Axis(0))));
        same("mean", 1e-6, |d| host(&two::<i16>(d, n, m, 1).mean_axis(Axis(1))));
    }
}

#[test]
fn shipped_gathers() {
    same("take", 0.0, |d| {
        let at = d.array(&ndarray::arr1(&[4i64, 0, 2, 2])).unwrap();
        let x = two::<f32>(d, 5, 7, 1);
        [host(&x.take(Axis(0), &at)), host(&(x.t() * 2.0).take(Axis(1), &at))].concat()
    });
    let d = soft::device(0);
    let at = d.array(&ndarray::arr1(&[4i64, 9])).unwrap();
    let wrong = two::<f32>(&d, 5, 7, 1).take(Axis(0), &at).to_ndarray();
    let found = |e: &crate::Error| matches!(e, crate::Error::Index { index: 9, len: 5, .. });
    let fits = matches!(&wrong, Err(crate::Error::At { source, .. }) if found(source));
    assert!(fits, "{wrong:?}");
}

/// Rows in parts: of each dtype, of equal elements on both sides of where a part ends, of NaN, backwards, and of as many results as one walk finds.
#[test]
fn selections_go_on_from_part_to_part() {
    fn check<T: Element>(part: usize, [n, m, k]: [usize; 3]) {
        let found = |dev: &Device, largest: bool| {
            let value = |v: f64| if v > 100.0 { f64::NAN } else { (v / 8.0).trunc() };
            let all = noise(n * m, 3).map(value).map(T::from_f64).collect();
            let x = dev.array(Array2::from_shape_vec((n, m), all).unwrap()).unwrap();
            let (_, at) = x.topk(k, Axis(1), largest);
            let (_, backwards) = x.slice(s![..;-1, ..;-1]).topk(k, Axis(1), largest);
            [at.to_ndarray().unwrap(), backwards.to_ndarray().unwrap()]
        };
        for largest in [false, true] {
            let what = format!("{} {n} x {m}, {k} in parts of {part}, largest: {largest}", std::any::type_name::<T>());
            assert_eq!(
                found(&soft::in_parts(2, part), largest),
                found(&Device::cpu_with_threads(1), largest),
                "{what}"
            );
        }
    }
    macro_rules! all { ($($t:ty)*) => { $(check::<$t>(37, [3, 100, 20]); check::<$t>(64, [1, 130, 64]);)* } }
    all!(bool i8 i16 i32 i64 u8 u16 u32 u64 f16 bf16 f32 f64);
    check::<f32>(1024, [2, 2500, 1024]);
    check::<u8>(1100, [2, 2500, 1024]);
    check::<f64>(1024, [1, 1025, 1]);
}

#[test]
fn shipped_pairwise() {
    for (n, m, k) in [(1, 1, 1), (5, 3, 2), (65, 130, 7), (64, 128, 16), (3, 140, 600), (70, 2, 33), (3, 4, 0)] {
        let what = format!("{n} x {m} x {k}");
        fn pair<T: Element>(
            d: &Device,
            n: usize,
            m: usize,
            k: usize,
        ) -> (DeviceArray<T, ndarray::Ix3>, DeviceArray<T, ndarray::Ix3>) {
            (two(d, n, k, 1).slice(s![.., NewAxis, ..]), two(d, m, k, 2).slice(s![NewAxis, .., ..]))
        }
        macro_rules! each {
            ($T:ident, $tolerance:expr) => {
                same(&what, $tolerance, |d| {
                    let (x, y) = pair::<$T>(d, n, m, k);
                    let diff = &x - &y;
                    host(&(&diff * &diff).sum_axis(Axis(2)).sqrt())
                });
                same(&what, $tolerance, |d| {
                    let (x, y) = pair::<$T>(d, n, m, k);
                    host(&(x - y).abs().sum_axis(Axis(2)))
                });
                same(&what, $tolerance, |d| {
                    let (x, y) = pair::<$T>(d, n, m, k);
                    host(&((x * y).sum_axis(Axis(2)) * 2.0 + 1.0))
                });
                same(&what, $tolerance, |d| host(&two::<$T>(d, n, k, 1).dot(&two::<$T>(d, k, m, 2))));
                if k > 0 {
                    same(&what, $tolerance, |d| {
                        let (x, y) = pair::<$T>(d, n, m, k);
                        host(&(x - y).abs().max_axis(Axis(2)))
                    });
                }
            };
        }
        each!(f32, 1e-6);
        each!(f64, 1e-14);
    }
    same("batched", 1e-6, |d| {
        let x: Array3<f32> = Array::from_shape_vec((3, 4, 5), noise(60, 1).map(|v| v as f32).collect()).unwrap();
        let x = d.array(&x).unwrap();
        let (a, b) = (x.slice(s![.., .., NewAxis, ..]), x.slice(s![.., NewAxis, .., ..]));
        host(&(a - b).abs().sum_axis(Axis(3)))
    });
}

/// Results 2^28 elements apart, up to element 2^31 and byte 2^33: `x + x`, and the sum of each row of x.
#[test]
fn shipped_results_lie_far_apart() {
    const STEP: isize = 1 << 28;
    let (n, m) = (9usize, 3usize);
    let x: Vec<f32> = (0..n * m).map(|v| v as f32).collect();
    let inst = |op, args: &[Id], axes: u32| Inst {
        op,
        args: args.iter().copied().collect(),
        dtype: DType::F32,
        over: AxisSet(axes),
    };
    let looped = |axes, body| Nest::Loop { axes: AxisSet(axes), body };
    let double = vec![inst(KOp::Load(0), &[], 1), inst(KOp::Map(&row::add), &[0, 0], 1), inst(KOp::Store(1), &[1], 1)];
    let fold = KOp::Reduce { reducer: &SUM, axes: AxisSet(2) };
    let sums = vec![inst(KOp::Load(0), &[], 3), inst(fold, &[0], 1), inst(KOp::Store(1), &[1], 1)];
    let cases = [
        (double, looped(1, vec![Nest::Insts(0..3)]), vec![n], vec![m as isize]),
        (sums, looped(1, vec![looped(2, vec![Nest::Insts(0..2)]), Nest::Insts(2..3)]), vec![n, m], vec![m as isize, 1]),
    ];
    for (code, nest, extents, strides) in cases {
        let folds = extents.len() == 2;
        let operand = |role| Operand { dtype: DType::F32, role };
        let ir = KernelIr {
            axes: extents.len() as u8,
            order: FoldOrder::Tree,
            folded: AxisSet(if folds { 2 } else { 0 }),
            operands: vec![operand(Role::In), operand(Role::Out)],
            params: vec![],
            code,
            nest,
            class: if folds { Class::Rows } else { Class::Map },
            index: Width::W64,
        };
        let bind = |slot, strides: &[isize]| Bind { slot, offset: 0, strides: strides.into(), gather: None };
        let out = [STEP, 0];
        let operands = vec![bind(0, &strides), bind(1, &out[..extents.len()])];
        let launch = Launch { extents: extents.iter().copied().collect(), operands, params: vec![] };
        let dev = soft::device(0);
        let backend = dev.backend();
        let (from, to) =
            (backend.alloc(4 * n * m, 4).unwrap(), backend.alloc(4 * ((n - 1) * STEP as usize + 1), 4).unwrap());
        let bytes: Vec<u8> = x.iter().flat_map(|v| v.to_ne_bytes()).collect();
        backend.upload(&bytes, &from).unwrap();
        let exe = backend.prepare(&[&Step::Kernel(ir, launch)]).unwrap().remove(0);
        let bases = [from.address(), to.address()];
        backend.run(&exe, &Args { bases: &bases, params: &[], in_place: false }).unwrap();
        for i in 0..n {
            let mut got = [0; 4];
            backend.download(&to, 4 * i * STEP as usize, &mut got).unwrap();
            let row = &x[i * m..][..m];
            let want = if folds { row.iter().sum() } else { 2.0 * row[0] };
            assert_eq!(f32::from_ne_bytes(got), want, "folds: {folds}, {i}");
        }
    }
}
