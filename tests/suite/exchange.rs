//! Values in and out: moved where they can be, equality, closeness, printing.

use crate::harness::{on_the_host, quietly};
use approx::{assert_abs_diff_eq, assert_relative_eq, assert_ulps_eq};
use ndarray::{Array0, Array1, Array2, Array3, Axis, ShapeBuilder, arr0, arr1, arr2, s};
use ndcuda::debug::trace;
use ndcuda::{DType, Device, Element, bf16, f16};

fn owned_arrays_move(dev: &Device) {
    if !on_the_host(dev) {
        return;
    }
    let host = Array2::from_shape_fn((300, 40), |(i, j)| (i * 40 + j) as f32);
    let copy = host.clone();
    let at = host.as_ptr();
    let (x, t) = trace(|| dev.array(host).unwrap());
    assert_eq!((x.host_view().unwrap().as_ptr(), t.allocated), (at, 0));
    let back = x.into_ndarray().unwrap();
    assert_eq!((back.as_ptr(), &back), (at, &copy));
    // Fortran order, too.
    let f = back.reversed_axes();
    let x = dev.array(f).unwrap();
    let back = x.into_ndarray().unwrap();
    assert_eq!((back.as_ptr(), back.shape(), back.strides()), (at, &[40, 300][..], &[1, 40][..]));
    assert_eq!(back, copy.t());

    // A result moves out; one that others hold, or that is a part, is copied.
    let y = dev.array(&copy).unwrap() + 1.0;
    y.eval().unwrap();
    let at = y.host_view().unwrap().as_ptr();
    let held = y.clone();
    let copied = y.into_ndarray().unwrap();
    assert_ne!(copied.as_ptr(), at);
    let moved = held.into_ndarray().unwrap();
    assert_eq!((moved.as_ptr(), &moved), (at, &copied));
    // The vector is an ordinary one.
    let mut vec = moved.into_raw_vec_and_offset().0;
    vec.push(1.0);
    vec.shrink_to_fit();
    assert_eq!(vec.len(), 300 * 40 + 1);
    let z = dev.array(&copy).unwrap() * 2.0;
    let part = z.slice(s![1.., ..;2]);
    drop(z);
    assert_eq!(part.into_ndarray().unwrap(), &copy.slice(s![1.., ..;2]) * 2.0);
    // A view keeps the memory it needs.
    let big = dev.array(Array1::from_elem(1000, 3.0f64)).unwrap();
    let small = big.slice(s![10..12]);
    drop(big);
    assert_eq!(small, arr1(&[3.0, 3.0]));
}

fn every_type_goes_in_and_out(dev: &Device) {
    fn check<T: Element>(dev: &Device) {
        let host = Array3::from_shape_fn((3, 4, 5), |(i, j, k)| T::from_f64((i * 20 + j * 5 + k) as f64 % 2.0));
        let wide = Array2::from_shape_fn((9, 9), |(i, j)| T::from_f64((i + j) as f64 % 2.0));
        assert_eq!(dev.array(&host).unwrap(), host);
        assert_eq!(dev.array(host.clone()).unwrap(), host);
        assert_eq!(dev.array(host.t()).unwrap(), host.t().to_owned());
        for part in [wide.slice(s![..;2, ..;-3]), wide.slice(s![3..3, ..]), wide.slice(s![..;-1, 8..]), wide.t()] {
            let x = dev.array(part).unwrap();
            assert_eq!((x.dtype(), x.shape()), (T::DTYPE, part.shape()));
            assert_eq!(x, part.to_owned());
            assert_eq!(dev.array(part.to_owned()).unwrap().to_ndarray().unwrap(), part);
            let mut into = Array2::from_elem(part.raw_dim().f(), T::ONE);
            x.read_into(into.view_mut()).unwrap();
            assert_eq!(into, part);
            let mut cut = wide.clone();
            cut.slice_collapse(s![1..;2, ..;-1]);
            assert_eq!(dev.array(cut.clone()).unwrap(), cut);
            assert_eq!(dev.array(cut.clone()).unwrap().into_ndarray().unwrap(), cut);
        }
        let one: Array0<T> = arr0(T::ONE);
        assert_eq!(dev.array(&one).unwrap().item().unwrap(), T::ONE);
        assert_eq!(dev.array(one.clone()).unwrap().into_ndarray().unwrap(), one);
        assert_eq!(dev.scalar(T::ONE).to_ndarray().unwrap(), one);
        assert_eq!(dev.array(Array2::<T>::from_elem((0, 3), T::ONE)).unwrap().into_ndarray().unwrap().shape(), [0, 3]);
        assert_eq!(dev.ones::<T, _>((2, 2)).into_ndarray().unwrap(), Array2::from_elem((2, 2), T::ONE));
        // A constant that was never stored, and a broadcast: every element is there.
        let b = dev.array(arr1(&[T::ONE, T::ZERO])).unwrap().broadcast((3, 2)).unwrap();
        assert_eq!(b.into_ndarray().unwrap(), arr2(&[[T::ONE, T::ZERO]; 3]));
    }
    macro_rules! all { ($($t:ty)*) => { $(check::<$t>(dev);)* } }
    all!(bool i8 i16 i32 i64 u8 u16 u32 u64 f16 bf16 f32 f64);
}

fn empty_arrays(dev: &Device) {
    for shape in [[0, 7], [7, 0], [0, 0]] {
        let host = Array2::<f64>::zeros(shape);
        for x in [dev.array(&host).unwrap(), dev.array(host.clone()).unwrap(), dev.zeros(shape)] {
            let y = (&x + 1.0).maximum(&x);
            assert_eq!(y.to_ndarray().unwrap(), host);
            assert_eq!(y.t().to_ndarray().unwrap(), host.t());
            assert_eq!(y.flip(Axis(0)).slice(s![..;-2, ..]).to_ndarray().unwrap().len(), 0);
            assert_eq!(y.insert_axis(Axis(1)).host_view().map_or(0, |v| v.len()), 0);
            assert_eq!(y.clone().into_ndarray().unwrap(), host);
            assert_eq!(y.sum_keep(Axis(0)).into_ndarray().unwrap(), Array2::<f64>::zeros((1, shape[1])));
            assert_eq!(y.flatten().reshape((3, 0, 5)).to_ndarray().unwrap().shape(), [3, 0, 5]);
            assert_eq!(format!("{y}"), format!("{host}"));
            let mut z = y.clone();
            z += 1.0;
            z.slice_assign(s![.., ..], 3.0);
            assert_eq!(z, host);
            assert_eq!(z.dot(&z.t()).shape(), [shape[0], shape[0]]);
        }
    }
    let full = Array2::<i32>::ones((4, 5));
    let x = dev.array(&full).unwrap();
    for part in [s![2..2, ..], s![4.., ..], s![..0, ..;-1]] {
        assert_eq!(x.slice(part).to_ndarray().unwrap(), full.slice(part));
        assert_eq!((x.slice(part) + 1).sum_axis(Axis(0)).to_ndarray().unwrap(), Array1::<i64>::zeros(5));
    }
    assert_eq!(x.select(Axis(1), &[]).to_ndarray().unwrap().shape(), [4, 0]);
}

fn casts(dev: &Device) {
    let x = dev.array(arr1(&[1.9f64, -1.9, f64::NAN, 300.0, f64::INFINITY, -0.0])).unwrap();
    assert_eq!(x.cast::<u8>(), arr1(&[1, 0, 0, 255, 255, 0]));
    assert_eq!(x.cast::<i8>(), arr1(&[1, -1, 0, 127, 127, 0]));
    assert_eq!(x.cast::<bool>(), arr1(&[true, true, true, true, true, false]));
}

fn equality(dev: &Device) {
    let host = arr2(&[[1.0f32, 2.0], [3.0, 4.0]]);
    let x = dev.array(&host).unwrap();
    let (same, reference, view) = (x.clone(), &host, host.view());
    assert!(x == host);
    assert!(host == x);
    assert!(x == reference);
    assert!(reference == x);
    assert!(x == same);
    assert!(x == view);
    assert!(x != &host + 1.0 && x != dev.zeros::<f32, _>((2, 2)) && x.slice(s![.., ..1]) != host);
    assert_eq!(x.t(), host.t());
    // Shapes must be the same, not broadcast.
    assert!(dev.ones::<f32, _>((1, 2)) != dev.ones::<f32, _>((2, 2)));
    assert!(dev.zeros::<f32, _>((0, 2)) != dev.zeros::<f32, _>((0, 3)));
    assert!(dev.zeros::<f32, _>((0, 2)) == dev.zeros::<f32, _>((0, 2)));
    let nan = dev.full(3, f32::NAN);
    assert!(nan != nan.clone());
    assert_eq!(dev.array(arr1(&[0.0f32])).unwrap(), arr1(&[-0.0f32]));
}

fn closeness(dev: &Device) {
    let host = arr1(&[1.0f32, -2.0, 1e6]);
    let near = arr1(&[1.0f32 + 1e-6, -2.0, 1e6 + 0.5]);
    let (x, y) = (dev.array(&host).unwrap(), dev.array(&near).unwrap());
    assert_relative_eq!(x, y, max_relative = 1e-5);
    assert_relative_eq!(x, near, max_relative = 1e-5);
    assert_abs_diff_eq!(x, near, epsilon = 0.6);
    assert_abs_diff_eq!(near, x, epsilon = 0.6);
    assert_relative_eq!(near, x, max_relative = 1e-5);
    assert_ulps_eq!(near, x, max_ulps = 10);
    assert!(!approx::relative_eq!(near, x, max_relative = 1e-8, epsilon = 1e-9));
    assert_ulps_eq!(x, near, max_ulps = 10);
    assert!(!approx::relative_eq!(x, near, max_relative = 1e-8, epsilon = 1e-9));
    assert!(!approx::relative_eq!(x, dev.ones::<f32, _>(2)));
    x.all_close(&near, 1e-5, 0.0).unwrap();
    let text = x.all_close(&near, 1e-7, 1e-7).unwrap_err().to_string();
    assert!(text.contains("[0]") || text.contains("[2]"), "{text}");
    let text = x.all_close(&arr1(&[1.0, f32::NAN, 1e6]), 1.0, 1.0).unwrap_err().to_string();
    assert!(text.contains("[1]") && text.contains("1 of 3"), "{text}");
    let text = dev.full(2, f32::INFINITY).all_close(&arr1(&[f32::INFINITY, 1.0]), 1.0, 1.0).unwrap_err().to_string();
    assert!(text.contains("[1]"), "{text}");
    dev.full(2, f32::NAN).all_close(&arr1(&[f32::NAN; 2]), 0.0, 0.0).unwrap();
    let text = x.all_close(&arr1(&[1.0; 2]), 0.0, 0.0).unwrap_err().to_string();
    assert!(text.contains("[3]") && text.contains("[2]"), "{text}");
}

/// What `approx` does not know (16-bit floats), and what has no units in the last place.
fn closeness_of_other_types(dev: &Device) {
    macro_rules! halves {
        ($($t:ident, $ulp:expr;)*) => {$(
            let host = arr1(&[1.0, -2.0, 0.0, 1000.0].map($t::from_f32));
            let next = host.mapv(|v| $t::from_bits(v.to_bits() + 1));
            let (x, y) = (dev.array(&host).unwrap(), dev.array(&next).unwrap());
            assert_ulps_eq!(x, y, epsilon = 0.0, max_ulps = 1);
            assert_ulps_eq!(next, x, epsilon = 0.0, max_ulps = 1);
            assert!(!approx::ulps_eq!(x, next, epsilon = 0.0, max_ulps = 0));
            assert_relative_eq!(x, next, max_relative = $ulp);
            assert!(!approx::relative_eq!(x, next, epsilon = 1e-9, max_relative = $ulp / 4.0));
            assert_abs_diff_eq!(x, y, epsilon = 2000.0 * $ulp);
            assert!(!approx::abs_diff_eq!(x, next, epsilon = $ulp));
            let zeros = dev.array(&arr1(&[$t::from_f32(0.0)])).unwrap();
            assert_ulps_eq!(zeros, arr1(&[$t::from_f32(-0.0)]), epsilon = 0.0, max_ulps = 0);
            assert!(!approx::ulps_eq!(dev.full(1, $t::NAN), arr1(&[$t::NAN]), epsilon = 0.0, max_ulps = 9));
            x.all_close(&next, $ulp.into(), 1e-7).unwrap();
            assert!(x.all_close(&next, 0.0, $ulp.into()).unwrap_err().to_string().contains("[3]"));
        )*};
    }
    halves! {
        f16, 0.001f32;
        bf16, 0.008f32;
    }
    let (x, near) = (dev.array(&arr1(&[1i32, -7, i32::MAX])).unwrap(), arr1(&[1, -5, i32::MAX]));
    assert_abs_diff_eq!(x, near, epsilon = 2);
    assert_abs_diff_eq!(near, x, epsilon = 2);
    assert!(!approx::abs_diff_eq!(x, near, epsilon = 1));
    x.all_close(&near, 0.0, 2.0).unwrap();
    let text = x.all_close(&near, 0.0, 1.0).unwrap_err().to_string();
    assert!(text.contains("[1]: -7 where -5") && text.contains("1 of 3"), "{text}");
    // One f64 stands for both.
    let large = dev.array(&arr1(&[9_007_199_254_740_993i64, i64::MIN])).unwrap();
    let text = large.all_close(&arr1(&[9_007_199_254_740_992, i64::MIN]), 0.0, 0.0).unwrap_err().to_string();
    assert!(text.contains("9007199254740993 where 9007199254740992 is expected, off by 1e0"), "{text}");
    large.all_close(&arr1(&[9_007_199_254_740_992, i64::MIN]), 1e-15, 0.0).unwrap();
    let top = dev.full(1, u64::MAX);
    assert!(top.all_close(&arr1(&[u64::MAX - 1]), 0.0, 0.0).is_err());
    assert!(dev.full(1, i8::MIN).all_close(&arr1(&[i8::MAX]), 0.0, 254.0).is_err());
    dev.full(1, i8::MIN).all_close(&arr1(&[i8::MAX]), 0.0, 255.0).unwrap();
    assert!(
        dev.full(2, true)
            .all_close(&arr1(&[true, false]), 0.0, 0.5)
            .unwrap_err()
            .to_string()
            .contains("[1]: true where false")
    );
}

fn printing(dev: &Device) {
    let host = arr2(&[[1.5f32, 2.0], [3.0, 4.0]]);
    let x = dev.array(&host).unwrap() * 1.0;
    let (text, t) = trace(|| format!("{x:?}"));
    assert_eq!((t.kernels, t.allocated), (0, 0), "Debug evaluates");
    for part in ["f32", "[2, 2]", &dev.to_string(), "pending"] {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
    assert_eq!(format!("{x}"), format!("{host}"));
    assert!(format!("{x:?}").contains("stored"));
    assert_eq!(format!("{:.3}", dev.scalar(0.5f64)), format!("{:.3}", arr0(0.5f64)));
    let long = Array2::from_shape_fn((600, 3), |(i, j)| i + j).mapv(|v| v as i64);
    assert_eq!(dev.array(&long).unwrap().to_string(), long.to_string());
    assert_eq!(dev.zeros::<bool, _>((0, 2)).to_string(), Array2::from_elem((0, 2), false).to_string());
}

fn creation(dev: &Device) {
    assert_eq!(dev.arange(0i32, 10, 3), arr1(&[0, 3, 6, 9]));
    assert_eq!(dev.arange(5u8, 5, 1).shape(), [0]);
    assert_eq!(dev.arange(10i64, 0, -4), arr1(&[10i64, 6, 2]));
    assert_eq!(dev.arange(3i32, 0, 1).len(), 0);
    // Lengths and elements of integers that no f64 tells apart.
    let far = 1i64 << 60;
    assert_eq!(dev.arange(far, far + 5, 1), arr1(&[far, far + 1, far + 2, far + 3, far + 4]));
    assert_eq!(dev.arange(u64::MAX - 3, u64::MAX, 1), arr1(&[u64::MAX - 3, u64::MAX - 2, u64::MAX - 1]));
    assert_eq!(dev.arange(i64::MIN, i64::MAX, i64::MAX), arr1(&[i64::MIN, -1, i64::MAX - 1]));
    assert_eq!(dev.arange(i64::MAX, i64::MIN, i64::MIN), arr1(&[i64::MAX, -1]));
    assert_eq!(dev.arange(-128i8, 127, 100), arr1(&[-128i8, -28, 72]));
    assert_eq!(dev.arange(-128i8, 127, 1).len(), 255);
    assert_eq!(dev.arange(0.0f64, 1e-320, 1e300), arr1(&[0.0]));
    assert_eq!(dev.arange(0.0f32, 1.0, -1.0).len(), 0);
    for wrong in [
        quietly(|| dev.arange(0, 5, 0)).err(),
        quietly(|| dev.arange(0.0, 5.0, 0.0)).err(),
        quietly(|| dev.arange(0.0, 5.0, f64::NAN)).err(),
        quietly(|| dev.arange(0.0, f32::INFINITY, 1.0)).err(),
        quietly(|| dev.arange(f32::NAN, 1.0, 1.0)).err(),
        quietly(|| dev.arange(0.0, 5.0, f32::INFINITY)).err(),
    ] {
        assert!(wrong.as_ref().is_some_and(|text| text.contains("arange: there is no range from")), "{wrong:?}");
    }
    let l = dev.linspace(-1.0f32, 1.0, 7);
    l.all_close(&Array1::linspace(-1.0f32, 1.0, 7), 1e-6, 1e-7).unwrap();
    assert_eq!(l.slice(s![6]).item().unwrap(), 1.0);
    assert_eq!(dev.linspace(2.0f64, 5.0, 1), arr1(&[2.0]));
    assert_eq!(dev.linspace(2.0f64, 5.0, 0).len(), 0);
    assert_eq!(dev.eye::<i32>(3), Array2::<i32>::eye(3));
    assert_eq!(dev.full((2, 0), 1.0f32).shape(), [2, 0]);
    assert_eq!(dev.from_fn((2, 3), |(i, j)| (i * 3 + j) as u16).unwrap(), arr2(&[[0u16, 1, 2], [3, 4, 5]]));
    let x = dev.arange(0.0f32, 6.0, 1.0).reshape((2, 3));
    assert_eq!(x.ones_like().sum_axis(Axis(0)), arr1(&[2.0f32; 3]));
    assert_eq!(x.t().zeros_like(), Array2::<f32>::zeros((3, 2)));
    // 16-bit floats have not all of these indices, and all of these values.
    let small = dev.arange(f16::from_f32(-1024.0), f16::from_f32(1024.0), f16::from_f32(0.5));
    assert_eq!(small.cast::<f32>(), Array1::range(-1024.0f32, 1024.0, 0.5));
    let small = dev.arange(bf16::from_f32(-64.0), bf16::from_f32(64.0), bf16::from_f32(0.5));
    assert_eq!(small.cast::<f32>(), Array1::range(-64.0f32, 64.0, 0.5));
    let mut shared = arr1(&[1u8, 2, 3]).into_shared();
    assert_eq!(dev.array(shared.clone()).unwrap(), shared);
    assert_eq!(dev.array(shared.view_mut()).unwrap(), arr1(&[1u8, 2, 3]));
    assert_eq!(dev.array(ndarray::CowArray::from(shared.view())).unwrap(), shared);
    assert_eq!(x.full_like(2.5), Array2::from_elem((2, 3), 2.5f32));
    assert_eq!((x.dtype(), x.ndim(), x.len(), x.len_of(Axis(1)), x.is_empty()), (DType::F32, 2, 6, 3, false));
    assert_eq!(x.raw_dim(), ndarray::Ix2(2, 3));
    // Lazy constants take no memory.
    let (_, t) = trace(|| (dev.zeros::<f64, _>((1 << 20, 1 << 20)).slice(s![5, ..3]) + 1.0).to_ndarray().unwrap());
    assert!(t.peak < 1 << 12, "{t:?}");
}

fn powers(dev: &Device) {
    let x = dev.array(arr1(&[-3i32, 2, 0])).unwrap();
    assert_eq!(x.powi(0), arr1(&[1, 1, 1]));
    assert_eq!(x.powi(1), arr1(&[-3, 2, 0]));
    assert_eq!(x.powi(5), arr1(&[-243, 32, 0]));
    let f = dev.array(arr1(&[2.0f64, -0.5])).unwrap();
    assert_eq!(f.powi(-2), arr1(&[0.25, 4.0]));
    assert_eq!(f.powi(0), arr1(&[1.0, 1.0]));
    // The result is a number where the power of which it is the reciprocal is not.
    let far = dev.array(arr1(&[1e160f64, -1e-160, 1e300])).unwrap();
    far.powi(-2).slice(s![..1]).all_close(&arr1(&[1e-320]), 1e-3, 0.0).unwrap();
    assert_eq!(far.powi(-2).slice(s![1..]), arr1(&[f64::INFINITY, 0.0]));
    assert_eq!(far.powi(-3).slice(s![1..]), arr1(&[f64::NEG_INFINITY, 0.0]));
    dev.array(arr1(&[1e13f32])).unwrap().powi(-3).all_close(&arr1(&[1e-39]), 1e-3, 0.0).unwrap();
    assert_eq!(dev.array(arr1(&[f16::from_f32(1024.0)])).unwrap().powi(-2), arr1(&[f16::from_f32(2f32.powi(-20))]));
    assert_eq!(2.0f64 - &f * 2.0 / 1.0, arr1(&[-2.0, 3.0]));
    assert_eq!(7i32 % dev.array(arr1(&[2, 3, 0])).unwrap(), arr1(&[1, 1, 0]));
}

tests_on_devices! {
    owned_arrays_move every_type_goes_in_and_out empty_arrays casts equality closeness closeness_of_other_types printing creation powers
}
