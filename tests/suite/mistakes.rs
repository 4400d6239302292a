//! What a user gets wrong: each error comes at its time and names the operation and the shapes.

use crate::harness::quietly;
use ndarray::{Array2, Axis, IxDyn, arr1, s};
use ndcuda::{Device, DeviceArrayD, Error};

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
    names(&panics(|| a.slice(s![.., 1..5])), &["slice", "[2, 3]", "1..", "axis 1"]);
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
    assert!(matches!(a.try_dot(&b), Err(Error::Broadcast { op: "dot", .. })));
    assert!(matches!(a.try_reshape(5), Err(Error::Shape { op: "reshape", .. })));
    assert!(matches!(a.try_slice(s![5, ..]), Err(Error::Index { index: 5, axis: 0, len: 2, .. })));
    assert!(matches!(a.try_select(Axis(1), &[3]), Err(Error::Index { op: "select", index: 3, axis: 1, len: 3, .. })));
    assert!(matches!(a.less(0.0).try_where_(&a, &b), Err(Error::Broadcast { .. })));
    let mut c = a.clone() + 1.0;
    let before = c.clone();
    assert!(c.try_slice_assign(s![.., 1..9], 1.0).is_err());
    assert!(c.try_slice_assign(s![.., ..], &b).is_err());
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
        (panics(|| e.softmax(Axis(0))), "max"),
    ] {
        names(&text, &[name, "[0, 3]"]);
    }
    let ints = dev.zeros::<i8, _>(0);
    assert_eq!(ints.sum().item().unwrap(), 0i64);
    assert_eq!(dev.zeros::<bool, _>(0).product().item().unwrap(), 1i64);
    assert!(ints.mean().item().unwrap().is_nan());
    assert_eq!(dev.zeros::<f32, _>((4, 0)).dot(&dev.zeros::<f32, _>((0, 5))), Array2::zeros((4, 5)));
    assert_eq!(dev.zeros::<i32, _>((4, 0)).dot(&dev.zeros::<i32, _>((0, 5))), Array2::zeros((4, 5)));
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

fn devices_do_not_mix(dev: &Device) {
    let other = Device::cpu_with_threads(1);
    let (a, b) = (dev.ones::<f32, _>(3), other.ones::<f32, _>(3));
    assert!(matches!(a.try_add(&b), Err(Error::Devices { op: "add", .. })));
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
    shapes_that_do_not_fit the_twins_give_errors ranks_known_at_run_time empty_reductions
    indices_out_of_range_are_late_errors devices_do_not_mix;
    once: devices_by_name
}

fn devices_by_name() {
    assert!(matches!(Device::named("gpu"), Err(Error::Config { .. })));
    assert!(matches!(Device::named("cuda:x"), Err(Error::Config { .. })));
    assert_eq!(Device::named("cpu").unwrap(), Device::cpu());
    assert_ne!(Device::cpu_with_threads(1), Device::cpu_with_threads(1));
    if let Err(e) = Device::cuda(0) {
        names(&e.to_string(), &["cuda:0"]);
    }
}
