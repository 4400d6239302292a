//! What a user gets wrong: each error comes at its time and names the operation and the shapes.

use crate::harness::quietly;
use ndarray::{Array2, Array3, Axis, IxDyn, arr1, s};
use ndcuda::distance::{Metric, cdist, knn};
use ndcuda::{Device, DeviceArray2, DeviceArrayD, Element, Error, bf16, f16};

/// The message `f` panics with.
#[track_caller]
fn panics<R>(f: impl FnOnce() -> R) -> String {
    match quietly(f) {
        Ok(_) => panic!("it did not panic"),
        Err(message) => message,
    }
}

#[track_caller]
fn names(text: &str, parts: &[&str]) {
    for p in parts {
        assert!(text.contains(p), "{text:?} does not name {p:?}");
    }
}

fn shapes_that_do_not_fit(dev: &Device) {
    let a = dev.zeros::<f32, _>((2, 3));
    let b = dev.zeros::<f32, _>((4, 3));
    let v = dev.zeros::<f32, _>(4);
    let both = ["[2, 3]", "[4, 3]"];
    names(&panics(|| &a + &b), &["add", both[0], both[1]]);
    names(&panics(|| &a * &b), &["mul", both[0], both[1]]);
    names(&panics(|| &a - &v), &["sub", "[2, 3]", "[4]"]);
    names(&panics(|| a.maximum(&b)), &["maximum", both[0], both[1]]);
    names(&panics(|| a.less(&b)), &["less", both[0], both[1]]);
    names(&panics(|| a.greater(0.0).where_(&a, &b)), &["where", both[0], both[1]]);
    names(&panics(|| a.clamp(0.0, &b)), &["clamp", both[0], both[1]]);
    names(&panics(|| a.dot(&b)), &["dot", both[0], both[1]]);
    names(
        &panics(|| {
            let mut c = v.clone();
            c += &a
        }),
        &["add", "[4]", "[2, 3]"],
    );
    names(
        &panics(|| {
            let mut c = a.slice(s![0, ..]);
            c += &a
        }),
        &["add", "[3]", "[2, 3]"],
    );
    names(
        &panics(|| {
            let mut c = a.clone();
            c.slice_assign(s![.., ..2], &b)
        }),
        &["slice_assign", "[2, 2]", "[4, 3]"],
    );
    names(
        &panics(|| {
            let mut c = a.clone();
            c.assign(&b)
        }),
        &["assign", both[0], both[1]],
    );
    names(&panics(|| a.reshape((4, 2))), &["reshape", "[2, 3]", "[4, 2]"]);
    names(&panics(|| a.slice(s![2, ..])), &["slice", "index 2", "axis 0", "length 2"]);
    names(&panics(|| a.slice(s![.., 1..5])), &["slice", "[2, 3]", "1..5;1", "axis 1"]);
    names(&panics(|| a.index_axis(Axis(1), 3)), &["index_axis", "index 3", "axis 1", "length 3"]);
    names(&panics(|| a.index_axis(Axis(2), 0)), &["index_axis", "axis 2", "[2, 3]"]);
    names(&panics(|| a.sum_axis(Axis(2))), &["sum", "axis 2", "[2, 3]"]);
    names(&panics(|| a.sum_axes(&[Axis(0), Axis(0)])), &["sum", "axis 0", "[2, 3]"]);
    names(&panics(|| a.argmin_keep(Axis(7))), &["argmin", "axis 7", "[2, 3]"]);
    names(&panics(|| a.swap_axes(0, 2)), &["swap_axes", "axis 2", "[2, 3]"]);
    names(&panics(|| a.permuted_axes([0, 0])), &["permuted_axes", "[0, 0]", "[2, 3]"]);
    names(&panics(|| a.remove_axis(Axis(0))), &["remove_axis", "axis 0", "[2, 3]"]);
    names(&panics(|| a.insert_axis(Axis(3))), &["insert_axis", "axis 3", "[2, 3]"]);
    names(&panics(|| a.flip(Axis(2))), &["flip", "axis 2", "[2, 3]"]);
    names(&panics(|| a.select(Axis(0), &[0, 2])), &["select", "index 2", "length 2"]);
    names(&panics(|| a.len_of(Axis(2))), &["len_of", "axis 2", "[2, 3]"]);
    names(&panics(|| dev.zeros::<i32, _>(3).powi(-1)), &["powi", "-1"]);
    assert!(a.broadcast((2, 4)).is_none() && a.broadcast((1, 3)).is_none() && a.broadcast((5, 2, 3)).is_some());
    let e = a.item().unwrap_err();
    names(&e.to_string(), &["item", "[2, 3]"]);
    let mut host = Array2::<f32>::zeros((3, 2));
    names(&a.read_into(host.view_mut()).unwrap_err().to_string(), &["read_into", "[2, 3]", "[3, 2]"]);
    names(&a.clone().into_dyn().into_dimensionality::<ndarray::Ix3>().unwrap_err().to_string(), &["[2, 3]", "3"]);
}

fn the_twins_give_errors(dev: &Device) {
    let a = dev.zeros::<f32, _>((2, 3));
    let b = dev.zeros::<f32, _>((4, 3));
    assert!(matches!(a.try_add(&b), Err(Error::Broadcast { op: "add", .. })));
    assert!(matches!(a.try_dot(&b), Err(Error::Mismatch { op: "dot", .. })));
    names(
        &panics(|| a.dot(&a)),
        &["dot", "[2, 3] and [2, 3]", "last axis of the first has 3", "last but one of the second 2"],
    );
    names(&panics(|| dev.zeros::<f32, _>(1).dot(&a)), &["dot", "[1] and [2, 3]", "has 1", "2"]);
    let batches = |n: usize| dev.zeros::<f32, _>((n, 2, 2));
    names(&panics(|| batches(2).dot(&batches(3))), &["dot", "[2, 2, 2] and [3, 2, 2]", "before the last two"]);
    let e = ndcuda::distance::sqeuclidean_loop(&a, &dev.zeros((2, 1))).unwrap_err();
    names(&e.to_string(), &["sqeuclidean_loop", "[2, 3] and [2, 1]", "rows of 3 and of 1"]);
    assert!(matches!(a.try_reshape(5), Err(Error::Shape { op: "reshape", .. })));
    assert!(matches!(a.try_slice(s![5, ..]), Err(Error::Index { index: 5, axis: 0, len: 2, .. })));
    assert!(matches!(a.try_select(Axis(1), &[3]), Err(Error::Index { op: "select", index: 3, axis: 1, len: 3, .. })));
    assert!(matches!(a.less(0.0).try_where_(&a, &b), Err(Error::Broadcast { .. })));
    let mut c = a.clone() + 1.0;
    let before = c.clone();
    assert!(c.try_slice_assign(s![.., 1..9], 1.0).is_err());
    assert!(c.try_slice_assign(s![.., ..], &b).is_err());
    assert!(matches!(c.try_assign(&b), Err(Error::Broadcast { op: "assign", .. })));
    assert_eq!(c, before);
    assert!(a.try_add(&dev.zeros::<f32, _>((1, 3))).is_ok());
}

fn ranks_known_at_run_time(dev: &Device) {
    let d = |shape: &[usize]| -> DeviceArrayD<f64> { dev.zeros(IxDyn(shape)) };
    names(&panics(|| d(&[2, 2]) + d(&[3])), &["add", "[2, 2]", "[3]"]);
    names(&panics(|| d(&[2, 2]).slice(s![.., .., ..])), &["slice", "[2, 2]"]);
    names(&panics(|| d(&[]).sum_axis(Axis(0))), &["sum", "axis 0", "[]"]);
    names(&panics(|| d(&[]).dot(&d(&[2]))), &["dot", "[]", "[2]"]);
    assert_eq!((d(&[2, 1]) + d(&[3])).shape(), [2, 3]);
}

fn empty_reductions(dev: &Device) {
    let e = dev.zeros::<f32, _>((0, 3));
    assert_eq!(e.sum_axis(Axis(0)), arr1(&[0.0f32; 3]));
    assert_eq!(e.product_axis(Axis(0)), arr1(&[1.0f32; 3]));
    assert_eq!(e.any_axis(Axis(0)), arr1(&[false; 3]));
    assert_eq!(e.all_axis(Axis(0)), arr1(&[true; 3]));
    assert_eq!(e.count_nonzero_axis(Axis(0)), arr1(&[0i64; 3]));
    assert_eq!(e.sum_axis(Axis(1)).shape(), [0]);
    assert_eq!(e.min_axis(Axis(1)).shape(), [0]);
    assert_eq!(e.sum().item().unwrap(), 0.0);
    assert_eq!(e.product().item().unwrap(), 1.0);
    assert!(e.mean().item().unwrap().is_nan());
    assert!(e.mean_axis(Axis(0)).to_ndarray().unwrap().iter().all(|x| x.is_nan()));
    assert!(e.var(0.0).item().unwrap().is_nan() && e.std_axis(Axis(0), 0.0).to_ndarray().unwrap()[2].is_nan());
    assert!(dev.ones::<f64, _>(1).var(1.0).item().unwrap().is_nan());
    for (text, name) in [
        (panics(|| e.min()), "min"),
        (panics(|| e.max_axis(Axis(0))), "max"),
        (panics(|| e.argmin_keep(Axis(0))), "argmin"),
        (panics(|| e.argmax_axes(&[Axis(0), Axis(1)])), "argmax"),
        (panics(|| e.softmax(Axis(0))), "softmax"),
        // By its own name, whatever it is made of.
        (panics(|| e.var_axis(Axis(7), 0.0)), "var: axis 7"),
        (panics(|| e.std_keep(Axis(2), 0.0)), "std: axis 2"),
        (panics(|| e.var_axes(&[Axis(1), Axis(1)], 0.0)), "var"),
        (panics(|| e.mean_axis(Axis(7))), "mean: axis 7"),
        (panics(|| e.count_nonzero_keep_axes(&[Axis(7)])), "count_nonzero: axis 7"),
        (panics(|| e.softmax(Axis(7))), "softmax: axis 7"),
    ] {
        names(&text, &[name, "[0, 3]"]);
        assert!(!text.contains("moments"), "{text}");
    }
    assert!(dev.ones::<f64, _>(3).var(f64::NAN).item().unwrap().is_nan());
    assert_eq!(dev.ones::<f64, _>((2, 3, 4)).sum_keep_axes(&[Axis(2), Axis(0)]), Array3::from_elem((1, 3, 1), 8.0));
    let ints = dev.zeros::<i8, _>(0);
    assert_eq!(ints.sum().item().unwrap(), 0i64);
    assert_eq!(dev.zeros::<bool, _>(0).product().item().unwrap(), 1i64);
    assert!(ints.mean().item().unwrap().is_nan());
    assert_eq!(dev.zeros::<f32, _>((4, 0)).dot(&dev.zeros::<f32, _>((0, 5))), Array2::zeros((4, 5)));
    assert_eq!(dev.zeros::<i32, _>((4, 0)).dot(&dev.zeros::<i32, _>((0, 5))), Array2::zeros((4, 5)));
}

/// Arrays without elements that lie in memory, or would: a prologue of theirs must read none of it.
fn arrays_of_nothing_in_memory(dev: &Device) {
    fn check<T: Element>(dev: &Device) {
        let none = |shape: (usize, usize)| dev.array(&Array2::<T>::from_elem(shape, T::from_f64(0.0))).unwrap();
        let (x, y) = (none((5, 0)), none((3, 0)));
        let (fx, fy) = (x.cast::<f32>(), y.cast::<f32>());
        for d in [cdist(&fx, &fy, Metric::CityBlock), cdist(&fx, &fy, Metric::SqEuclidean), fx.dot(&fy.t())] {
            assert_eq!(d, Array2::zeros((5, 3)), "{}", std::any::type_name::<T>());
        }
        assert_eq!((fx.cast::<i32>() + 1).dot(&fy.cast::<i32>().t()), Array2::zeros((5, 3)));
        assert_eq!(knn(&fx, &fy, 2, Metric::SqEuclidean).unwrap().1.shape(), [5, 2]);
        let three = |x: &DeviceArray2<T>| x.cast::<f64>().insert_axis(Axis(0)).broadcast((2, 5, 0)).unwrap();
        assert_eq!((three(&x) + 1.0).dot(&three(&x).permuted_axes((0, 2, 1))), Array3::zeros((2, 5, 5)));
        let (left, right) = (fx.insert_axis(Axis(1)), fy.insert_axis(Axis(0)));
        assert_eq!((&left - &right).abs().max_axis(Axis(0)).shape(), [3, 0]);
        assert_eq!(left.less(&right).any_axis(Axis(2)), Array2::from_elem((5, 3), false));
        assert_eq!((fx.sqrt().sum_axis(Axis(0)) + fx.exp().sum_axis(Axis(0))).shape(), [0]);
        assert_eq!(fx.softmax(Axis(0)).shape(), [5, 0]);
        assert_eq!((fx.slice(s![..;-1, ..]) * 2.0).t().sum_axis(Axis(0)), ndarray::Array1::zeros(5));
    }
    macro_rules! all { ($($t:ty)*) => { $(check::<$t>(dev);)* } }
    all!(bool i8 i16 i32 i64 u8 u16 u32 u64 f16 bf16 f32 f64);
}

fn indices_out_of_range_are_late_errors(dev: &Device) {
    let x = dev.array(arr1(&[10.0f32, 20.0, 30.0])).unwrap();
    for (at, bad) in [([0i64, 3, 1], "3"), ([0, -1, 1], "-1"), ([0, i64::MAX, 1], "9223372036854775807")] {
        let index = dev.array(arr1(&at)).unwrap();
        let taken = x.take(Axis(0), &index) + 1.0;
        let e = taken.to_ndarray().unwrap_err();
        names(&e.to_string(), &["take", &format!("index {bad}"), "length 3", "mistakes.rs"]);
        // The same again, and everything else as before.
        names(&taken.eval().unwrap_err().to_string(), &[&format!("index {bad}")]);
        names(&format!("{taken}"), &[&format!("index {bad}")]);
    }
    let wide = dev.array(arr1(&[u64::MAX])).unwrap();
    assert!(x.take(Axis(0), &wide).eval().is_err());
    let none = dev.zeros::<f32, _>((0, 2)).take(Axis(0), &dev.zeros::<i32, _>(1));
    names(&none.eval().unwrap_err().to_string(), &["take", "index 0", "length 0"]);
    assert_eq!(x, arr1(&[10.0f32, 20.0, 30.0]));
}

/// The axis and call of the gather that failed, whichever it is of a kernel's; `u64` indices as they are.
fn a_bad_index_names_its_own_gather(dev: &Device) {
    let text = |e: ndcuda::Result<()>| e.unwrap_err().to_string();
    let x = dev.array(Array2::from_shape_fn((3, 5), |(i, j)| (i * 5 + j) as f32)).unwrap();
    let at = |v: &[i64]| dev.array(arr1(v)).unwrap();
    names(&text(x.take(Axis(1), &at(&[0, 7])).eval()), &["take: index 7", "axis 1 of length 5"]);
    names(&text(x.take(Axis(0), &at(&[0, 3])).eval()), &["take: index 3", "axis 0 of length 3"]);
    // The view's axis, and not the one it walks in memory.
    names(&text(x.t().take(Axis(1), &at(&[0, 4])).eval()), &["take: index 4", "axis 1 of length 3"]);
    let each = |v: [[i64; 2]; 3]| x.take_along_axis(Axis(1), &dev.array(ndarray::arr2(&v)).unwrap());
    names(&text(each([[0, 1], [2, 3], [4, 5]]).eval()), &["take_along_axis: index 5", "axis 1 of length 5"]);

    // Two in one kernel, one of them wrong.
    let pair = |rows: &[i64], columns: &[i64]| {
        x.take(Axis(0), &at(rows)).slice(s![.., ..2]) + x.slice(s![..2, ..]).take(Axis(1), &at(columns))
    };
    assert_eq!(ndcuda::debug::trace(|| pair(&[0, 1], &[0, 1]).eval().unwrap()).1.kernels, 1);
    names(&text(pair(&[0, 1], &[0, 6]).eval()), &["take: index 6", "axis 1 of length 5"]);
    names(&text(pair(&[0, 4], &[0, 1]).eval()), &["take: index 4", "axis 0 of length 3"]);
    // One plan may not tell of another's call.
    let one = x.slice(s![0, ..]);
    names(&text(one.take(Axis(0), &at(&[9])).eval()), &["take: index 9"]);
    names(&text(one.take_along_axis(Axis(0), &at(&[9])).eval()), &["take_along_axis: index 9"]);

    let wide = dev.array(arr1(&[0, u64::MAX])).unwrap();
    names(&text(x.take(Axis(1), &wide).eval()), &["index 18446744073709551615", "axis 1 of length 5"]);
    names(&text(x.take(Axis(1), &at(&[-1])).eval()), &["index -1", "axis 1 of length 5"]);
}

/// Shapes that cannot be counted, or whose elements could have no addresses, however little memory they take.
fn shapes_beyond_all_memory(dev: &Device) {
    let too_many = |text: String, op: &str, shape: &str| names(&text, &[op, shape, "elements"]);
    let half = 1usize << 31;
    let full = format!("[{half}, {half}]");
    too_many(panics(|| dev.eye::<f32>(half)), "eye", &full);
    too_many(panics(|| dev.zeros::<f32, _>((1 << 63, 2))), "zeros", "[9223372036854775808, 2]");
    too_many(panics(|| dev.ones::<f32, _>((half, 1usize << 33)).sum()), "ones", &format!("{half}"));
    too_many(panics(|| dev.full((1usize << 40, 1usize << 40), 1u8)), "full", "1099511627776");
    too_many(panics(|| dev.linspace(0.0f64, 1.0, (1 << 61) + 2)), "linspace", "[2305843009213693954]");
    too_many(panics(|| dev.ones::<f64, _>((1usize << 61) + 1) + 1.0), "ones", "[2305843009213693953]");
    too_many(panics(|| dev.arange(0u64, u64::MAX, 1)), "arange", "[18446744073709551615]");
    let none = dev.zeros::<f32, _>((0, 3));
    too_many(panics(|| none.reshape((1usize << 63, 2))), "reshape", "[9223372036854775808, 2]");
    // An extent of zero makes the others no better.
    too_many(panics(|| none.reshape((0, half, half, 2))), "reshape", &format!("[0, {half}, {half}, 2]"));
    assert_eq!(none.reshape((half, 0)).shape(), [half, 0]);
    let one = dev.scalar(1.0f32);
    assert!(one.broadcast((half, half)).is_none() && one.broadcast((1usize << 40, 1usize << 40)).is_none());
    let mut row = dev.ones::<f32, _>((1, half));
    let column = dev.ones::<f32, _>((half, 1));
    too_many(panics(|| &row + &column), "add", &full);
    too_many(row.try_add(&column).unwrap_err().to_string(), "add", &full);
    assert!(matches!(row.try_mul(&column), Err(Error::Shape { op: "mul", .. })));
    too_many(panics(|| column.dot(&row)), "dot", &full);
    too_many(panics(|| column.cast::<i64>().dot(&row.cast::<i64>())), "dot", &full);
    too_many(panics(|| row.take(Axis(0), &dev.zeros::<i64, _>(half))), "take", &full);
    too_many(panics(|| row.take_along_axis(Axis(0), &dev.zeros::<i64, _>((half, 1)))), "take_along_axis", &full);
    too_many(panics(|| row += &column), "add", &full);
    too_many(dev.from_fn((half, half), |_| 0u8).unwrap_err().to_string(), "from_fn", &full);
    let host = ndarray::arr0(0u8);
    let stretched = host.broadcast((half, half)).unwrap();
    too_many(dev.array(stretched).unwrap_err().to_string(), "array", &full);

    // Below that, what is never stored costs nothing.
    let large = (dev.ones::<f32, _>((1usize << 20, 1, 2)) - dev.ones::<f32, _>((1, 1usize << 20, 2))).abs();
    let part = large.slice(s![..3, ..4, ..]).sum_axis(Axis(2));
    assert_eq!(part, Array2::zeros((3, 4)));
    assert_eq!(dev.eye::<f32>(1 << 29).slice(s![5, 4..7]) + 1.0, arr1(&[1.0f32, 2.0, 1.0]));
}

/// Memory that is not there is an error wherever a `Result` says so.
fn no_memory_is_an_error(dev: &Device) {
    let gone = |e: Option<Error>| {
        let e = e.unwrap();
        let text = e.to_string();
        assert!(text.contains(" bytes requested") && text.contains(" bytes free"), "{text}");
        match e {
            Error::At { source, .. } => assert!(matches!(*source, Error::OutOfMemory { .. }), "{source}"),
            e => assert!(matches!(e, Error::OutOfMemory { .. }), "{e}"),
        }
    };
    gone(dev.from_fn(1usize << 45, |i| i as f32).err());
    if crate::harness::on_the_host(dev) {
        gone(dev.zeros::<f64, _>(1usize << 58).to_ndarray().err());
        let text = dev.zeros::<f64, _>(1usize << 50).to_ndarray().unwrap_err().to_string();
        names(&text, &["mistakes.rs:", "9007199254740992 bytes requested"]);
        gone(dev.zeros::<f32, _>(1usize << 45).to_ndarray().err());
        gone((dev.ones::<f64, _>((1usize << 60) - 1) + 1.0).to_ndarray().err());
        gone(dev.array(ndarray::arr0(0u8).broadcast(1usize << 58).unwrap()).err());
    }
}

fn more_axes_than_any_array_has(dev: &Device) {
    let shape = |n: usize| IxDyn(&vec![1; n]);
    let many = |text: String, op: &str| names(&text, &[op, "33 axes"]);
    let most = dev.zeros::<f32, _>(shape(32));
    many(panics(|| dev.zeros::<f32, _>(shape(33))), "zeros");
    many(panics(|| most.insert_axis(Axis(7))), "insert_axis");
    many(panics(|| dev.scalar(1.0f32).reshape(shape(33))), "reshape");
    assert!(most.broadcast(shape(33)).is_none());
    many(dev.array(&ndarray::ArrayD::<f32>::zeros(shape(33))).unwrap_err().to_string(), "array");
    many(dev.array(ndarray::ArrayD::<f32>::zeros(shape(33))).unwrap_err().to_string(), "array");
    many(dev.from_fn(shape(33), |_| 0.0f32).unwrap_err().to_string(), "from_fn");
    // 32 are right, to the last axis.
    let mut extents = vec![1; 32];
    (extents[0], extents[15], extents[31]) = (2, 3, 4);
    let host = ndarray::ArrayD::from_shape_fn(IxDyn(&extents), |i| (i[0] * 100 + i[15] * 10 + i[31]) as f32);
    let x = dev.array(&host).unwrap();
    for axis in [0, 15, 31, 20] {
        assert_eq!(x.sum_axis(Axis(axis)), host.sum_axis(Axis(axis)), "{axis}");
    }
    assert_eq!(x.sum_axes(&[Axis(0), Axis(31)]).shape().len(), 30);
    assert_eq!(&x + &x, &host + &host);
    // A product's rows, columns and k are axes of its kernel.
    many(panics(|| x.dot(&x.swap_axes(30, 31))), "dot");
    let mut extents = vec![1; 29];
    (extents[0], extents[13], extents[27], extents[28]) = (2, 3, 4, 5);
    let a = dev.from_fn(IxDyn(&extents), |i| (i[0] * 100 + i[13] * 30 + i[27] * 5 + i[28]) as f32).unwrap();
    let flat = a.reshape((6, 4, 5));
    assert_eq!(a.dot(&a.swap_axes(27, 28)).reshape((6, 4, 4)), flat.dot(&flat.swap_axes(1, 2)));
    let twos: Vec<usize> = (0..32).map(|a| if a % 2 == 0 { 2 } else { 1 }).collect();
    let twos = dev.ones::<f32, _>(IxDyn(&twos));
    assert_eq!(twos.sum_axes(&[0, 2, 4, 6, 30].map(Axis)).sum().item().unwrap(), 65536.0);
}

fn devices_do_not_mix(dev: &Device) {
    let other = Device::cpu_with_threads(1);
    let (a, b) = (dev.ones::<f32, _>(3), other.ones::<f32, _>(3));
    assert!(matches!(a.try_add(&b), Err(Error::Devices { op: "add", .. })));
    // Two CPU devices are told apart.
    let third = Device::cpu_with_threads(2).ones::<f32, _>(3);
    let Err(Error::Devices { lhs, rhs, .. }) = b.try_add(&third) else { panic!("they add") };
    names(&lhs, &["cpu (device ", ", 1 thread)"]);
    names(&rhs, &["cpu (device ", ", 2 threads)"]);
    assert!(matches!(ndcuda::eval((&b, &third)), Err(Error::Devices { lhs, rhs, .. }) if lhs != rhs));
    names(&panics(|| &a * &b), &["mul", "to_device"]);
    names(&panics(|| a.dot(&b)), &["dot", "to_device"]);
    names(
        &panics(|| {
            let mut c = a.clone();
            c += &b
        }),
        &["add", "to_device"],
    );
    names(
        &panics(|| {
            let mut c = a.clone();
            c.assign(&b)
        }),
        &["assign", "to_device"],
    );
    names(&panics(|| a.take(Axis(0), &other.zeros::<i64, _>(1))), &["take", "to_device"]);
    names(&panics(|| a.less(0.0).where_(&a, &b)), &["where", "to_device"]);
    assert!(matches!(ndcuda::eval((&a, &b)), Err(Error::Devices { op: "eval", .. })));
    assert_eq!(&a + &b.to_device(dev).unwrap(), arr1(&[2.0f32; 3]));
    // Comparing values is no operation of a device.
    assert_eq!(a, b.to_device(dev).unwrap());
}

tests_on_devices! {
    shapes_that_do_not_fit the_twins_give_errors ranks_known_at_run_time empty_reductions arrays_of_nothing_in_memory
    indices_out_of_range_are_late_errors a_bad_index_names_its_own_gather shapes_beyond_all_memory
    no_memory_is_an_error more_axes_than_any_array_has devices_do_not_mix;
    once: devices_by_name
}

fn devices_by_name() {
    assert!(matches!(Device::named("gpu"), Err(Error::Config { name: "device", .. })));
    assert!(matches!(Device::named("cuda:x"), Err(Error::Config { .. })));
    assert_eq!(Device::named("cpu").unwrap(), Device::cpu());
    assert_ne!(Device::cpu_with_threads(1), Device::cpu_with_threads(1));
    if let Err(e) = Device::cuda(0) {
        names(&e.to_string(), &["cuda:0"]);
    }
}
