//! Views against ndarray's, writing through ranges, and that arrays are values.

use ndarray::{Array1, Array2, Array3, ArrayD, Axis, IxDyn, NewAxis, SliceInfoElem, arr1, arr2, s};
use ndcuda::{Device, DeviceArrayD};
use proptest::prelude::*;

/// Applies the view that three numbers stand for to both; `None` where it stands for none here.
fn step(
    x: &DeviceArrayD<i32>,
    y: &ArrayD<i32>,
    kind: u8,
    p: usize,
    q: usize,
) -> Option<(DeviceArrayD<i32>, ArrayD<i32>)> {
    let rank = y.ndim();
    let axis = || (rank > 0).then(|| p % rank);
    Some(match kind {
        0 | 1 => {
            let (mut bits, mut elems) = (q, vec![]);
            let mut draw = |n: usize| {
                let v = bits % n;
                bits = (bits / n).wrapping_mul(31).wrapping_add(17);
                v
            };
            for &n in y.shape() {
                if draw(9) == 0 {
                    elems.push(SliceInfoElem::NewAxis);
                }
                if n > 0 && draw(6) == 0 {
                    let i = draw(n) as isize;
                    elems.push(SliceInfoElem::Index(if draw(2) == 0 { i } else { i - n as isize }));
                    continue;
                }
                let a = draw(n + 1);
                let b = a + draw(n - a + 1);
                let step = [1, 1, 2, 3, -1, -2][draw(6)];
                let (a, b) = if draw(3) == 0 { (0, n) } else { (a, b) };
                let start = if draw(2) == 0 || a == n { a as isize } else { a as isize - n as isize };
                let end = if b == n && draw(2) == 0 { None } else { Some(b as isize) };
                elems.push(SliceInfoElem::Slice { start, end, step });
            }
            (x.slice(&elems[..]), y.slice(&elems[..]).to_owned())
        }
        2 => (x.t(), y.t().to_owned()),
        3 => {
            let mut order: Vec<usize> = (0..rank).collect();
            if rank > 0 {
                order.rotate_left(p % rank);
                order.swap(0, q % rank);
            }
            (x.permuted_axes(IxDyn(&order)), y.view().permuted_axes(order).to_owned())
        }
        4 if rank < 5 => {
            let a = Axis(p % (rank + 1));
            (x.insert_axis(a), y.clone().insert_axis(a))
        }
        5 => {
            let a = axis()?;
            let n = y.shape()[a];
            let i = q.checked_rem(n)?;
            (x.index_axis(Axis(a), i), y.index_axis(Axis(a), i).to_owned())
        }
        6 => {
            let mut shape: Vec<usize> = y.shape().iter().map(|&n| if n == 1 { 1 + p % 3 } else { n }).collect();
            if rank < 5 && q.is_multiple_of(2) {
                shape.insert(0, 1 + q % 3);
            }
            (x.broadcast(IxDyn(&shape))?, y.broadcast(IxDyn(&shape))?.to_owned())
        }
        7 => {
            let a = Axis(axis()?);
            let mut r = y.clone();
            r.invert_axis(a);
            (x.flip(a), r)
        }
        8 => {
            let n = y.len();
            let shape = match q % 3 {
                0 => vec![n],
                1 => y.shape().iter().rev().copied().collect(),
                _ => (2..=n).find(|f| n.is_multiple_of(*f)).map(|f| vec![n / f, f])?,
            };
            let host = y.as_standard_layout().into_owned();
            (x.reshape(IxDyn(&shape)), host.into_shape_with_order(shape).unwrap())
        }
        9 => {
            let (a, b) = (axis()?, q % rank);
            let mut r = y.clone();
            r.swap_axes(a, b);
            (x.swap_axes(a, b), r)
        }
        10 => {
            let a = axis()?;
            let n = y.shape()[a];
            let at: Vec<usize> = if n == 0 { vec![] } else { (0..q % 5).map(|k| (p + 3 * k) % n).collect() };
            (x.select(Axis(a), &at), y.select(Axis(a), &at))
        }
        11 => (x + 1, y + 1),
        _ => return None,
    })
}

fn chains_follow_ndarray(dev: &Device) {
    let steps = prop::collection::vec((0u8..12, 0usize..1000, 0usize..1_000_000_000), 0..9);
    let shape = prop::collection::vec(0usize..6, 0..4);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 1500,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let run = runner.run(&(shape, steps, 0u8..4), |(shape, steps, ask)| {
        let n: usize = shape.iter().product();
        let host = ArrayD::from_shape_vec(IxDyn(&shape), (0..n as i32).collect()).unwrap();
        let (mut x, mut y) = (dev.array(&host).unwrap(), host);
        for (i, &(kind, p, q)) in steps.iter().enumerate() {
            if let Some(next) = step(&x, &y, kind, p, q) {
                (x, y) = next;
                prop_assert_eq!(x.shape(), y.shape());
                if ask == 1 && i % 3 == 2 {
                    x.eval().unwrap();
                }
            }
        }
        match ask {
            2 => prop_assert_eq!(&(&x + &x), &(&y + &y)),
            3 => prop_assert_eq!(x.sum().item().unwrap(), y.iter().map(|&v| i64::from(v)).sum::<i64>()),
            _ => prop_assert_eq!(&x.to_ndarray().unwrap(), &y),
        }
        match x.host_view() {
            Ok(view) => prop_assert_eq!(view, y.view()),
            // Memory of a GPU has no view on the host.
            Err(_) => prop_assert_eq!(&x.to_ndarray().unwrap(), &y),
        }
        Ok(())
    });
    run.unwrap_or_else(|e| panic!("{e}"));
}

fn views_of_every_order_meet_in_one_kernel(dev: &Device) {
    let host = Array2::from_shape_fn((37, 53), |(i, j)| (i * 53 + j) as f64);
    let x = dev.array(&host).unwrap();
    let f = dev.array(host.t().as_standard_layout().into_owned().reversed_axes()).unwrap();
    assert_eq!(&x + &f, &host + &host);
    assert_eq!(x.slice(s![..;-1, 1..;2]) - f.slice(s![..;-1, 1..;2]), Array2::<f64>::zeros((37, 26)));
    assert_eq!(x.t().dot(&f), host.t().dot(&host));
    assert_eq!(x.slice(s![..;2, ..]).dot(&f.slice(s![..;2, ..]).t()), {
        let h = host.slice(s![..;2, ..]);
        h.dot(&h.t())
    });
}

fn writing_parts(dev: &Device) {
    // Each against ndarray with a copy of what is read.
    let host: Array1<i64> = (0..10).collect();
    let fresh = || dev.array(&host).unwrap();

    let mut x = fresh();
    let part = x.slice(s![1..]) + x.slice(s![..-1]);
    x.slice_assign(s![1..], &part);
    let mut want = host.clone();
    want.slice_mut(s![1..]).assign(&(&host.slice(s![1..]) + &host.slice(s![..-1])));
    assert_eq!(x, want);

    // Overlapping ranges of one array: as if the right side were read first.
    let mut x = fresh();
    let shifted = x.slice(s![..-1]);
    x.slice_assign(s![1..], &shifted);
    assert_eq!(x, arr1(&[0, 0, 1, 2, 3, 4, 5, 6, 7, 8]));
    let mut x = fresh();
    let shifted = x.slice(s![1..]);
    x.slice_assign(s![..-1], shifted);
    assert_eq!(x, arr1(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 9]));
    let mut x = fresh();
    let back = x.slice(s![..;-1]);
    x.assign(&back);
    assert_eq!(x, arr1(&[9, 8, 7, 6, 5, 4, 3, 2, 1, 0]));
    let mut x = fresh();
    let back = x.flip(Axis(0));
    x += &back;
    assert_eq!(x, Array1::from_elem(10, 9));
    let mut x = fresh();
    x.slice_assign(s![..;3], -1);
    x.slice_assign(s![1..;-4], dev.array(&arr1(&[70, 80, 90])).unwrap());
    let mut want = host.clone();
    want.slice_mut(s![..;3]).fill(-1);
    want.slice_mut(s![1..;-4]).assign(&arr1(&[70, 80, 90]));
    assert_eq!(x, want);
    x.fill(3);
    assert_eq!(x, Array1::from_elem(10, 3));

    // A sum of itself, transposed.
    let h = Array2::from_shape_fn((6, 6), |(i, j)| (10 * i + j) as f32);
    let mut m = dev.array(&h).unwrap();
    let t = m.t();
    m += t;
    assert_eq!(m, &h + &h.t());
    let mut m = dev.array(&h).unwrap();
    let t = m.t();
    drop(h);
    m -= &t;
    assert_eq!(m.slice(s![0, ..]), arr1(&[0.0, -9.0, -18.0, -27.0, -36.0, -45.0]));
    // A value that broadcasts into the part.
    let mut z = dev.zeros::<f32, _>((3, 4));
    z.slice_assign(s![1.., ..], dev.array(&arr1(&[1.0f32, 2.0, 3.0, 4.0])).unwrap());
    z.slice_assign(s![.., 0], 9.0);
    assert_eq!(z, arr2(&[[9.0, 0.0, 0.0, 0.0], [9.0, 2.0, 3.0, 4.0], [9.0, 2.0, 3.0, 4.0]]));
    z.slice_assign(s![0..0, ..], 5.0);
    z.slice_assign(s![2, 3], 7.0);
    assert_eq!(z.slice(s![2, ..]), arr1(&[9.0, 2.0, 3.0, 7.0]));
}

fn arrays_are_values(dev: &Device) {
    for evaluate in [false, true] {
        let host: Array1<f64> = (0..100).map(f64::from).collect();
        let mut x = dev.array(host.clone()).unwrap() * 1.0;
        if evaluate {
            x.eval().unwrap();
        }
        let (before, tail, doubled) = (x.clone(), x.slice(s![50..]), &x * 2.0);
        x += 1.0;
        x.slice_assign(s![..10], -5.0);
        x *= &x.clone();
        if evaluate {
            x.eval().unwrap();
        }
        x.fill(0.0);
        assert_eq!(x.sum().item().unwrap(), 0.0);
        assert_eq!(before, host);
        assert_eq!(tail, host.slice(s![50..]).to_owned());
        assert_eq!(doubled, &host * 2.0);
    }
    // An update in place while a view of the old value lives.
    let mut x = dev.array(Array1::from_elem(1000, 1.0f32)).unwrap();
    let mut views = vec![];
    for i in 0..20 {
        views.push((i as f32 + 1.0, x.slice(s![i..i + 3])));
        x += 1.0;
        x.eval().unwrap();
    }
    for (v, view) in views {
        assert_eq!(view, Array1::from_elem(3, v));
    }
    // A host view outlives nothing but keeps the value.
    let y = dev.ones::<i32, _>(8);
    let seen = y.to_ndarray().unwrap();
    let mut z = y.clone();
    z += 5;
    z.eval().unwrap();
    assert_eq!(y, seen);
}

fn steps_of_any_size(dev: &Device) {
    // Of indices no memory holds: steps that differ in their highest bits alone are two plans.
    let far = dev.arange(0i64, 1 << 59, 1);
    for bits in [56, 57] {
        let x = far.slice(s![..1isize << (bits + 1); 1isize << bits]);
        assert_eq!(&x + 0, arr1(&[0, 1i64 << bits]));
    }
}

/// Results lie in memory as NumPy 2.4 lays them (its K order).
fn results_lie_as_numpys(dev: &Device) {
    fn strides<T: ndcuda::Element, D: ndarray::Dimension>(x: ndcuda::DeviceArray<T, D>) -> Vec<isize> {
        // A host array has the order of a GPU's memory, too.
        x.host_view().map_or_else(|_| x.to_ndarray().unwrap().strides().to_vec(), |v| v.strides().to_vec())
    }
    let host = Array2::from_shape_fn((3, 4), |(i, j)| (4 * i + j) as f64);
    let (c, f) =
        (dev.array(&host).unwrap(), dev.array(host.t().as_standard_layout().into_owned().reversed_axes()).unwrap());
    let (row, col) = (c.slice(s![0, ..]), c.slice(s![.., ..1]));
    let (c, f) = (&c, &f);
    assert_eq!((strides(f.clone()), strides(c.clone())), (vec![1, 3], vec![4, 1]));
    for (what, got, want) in [
        ("f + 1", f + 1.0, [1, 3]),
        ("-f", -f, [1, 3]),
        ("exp(f)", f.exp(), [1, 3]),
        ("f + f", f + f, [1, 3]),
        ("c + f", c + f, [4, 1]),
        ("f + c", f + c, [4, 1]),
        ("f + row", f + &row, [1, 3]),
        ("f + column", f + &col, [1, 3]),
        ("column + row", &col + &row, [4, 1]),
        ("where(f > 1, f, 0)", f.greater(1.0).where_(f, 0.0), [1, 3]),
        ("where(c > 1, f, f)", c.greater(1.0).where_(f, f), [4, 1]),
        ("clip(f, 0, 1)", f.clamp(0.0, 1.0), [1, 3]),
        ("f[:, ::2] + 1", f.slice(s![.., ..;2]) + 1.0, [1, 3]),
        ("f[::2] + 1", f.slice(s![..;2, ..]) + 1.0, [1, 2]),
        ("f[::-1] + 1", f.slice(s![..;-1, ..]) + 1.0, [1, 3]),
        ("c[:, ::-1] + 1", c.slice(s![.., ..;-1]) + 1.0, [4, 1]),
        ("c.T[::-1] * 2", c.t().slice(s![..;-1, ..]) * 2.0, [1, 4]),
        ("f.T + c.T", f.t() + c.t(), [3, 1]),
        ("f.reshape(4, 3)", f.reshape((4, 3)), [3, 1]),
        ("f @ f.T", f.dot(&f.t()), [3, 1]),
    ] {
        assert_eq!(strides(got), want, "{what}");
    }
    assert_eq!(strides(f.cast::<i32>()), [1, 3]);
    assert_eq!(strides(f.greater(1.0)), [1, 3]);
    assert_eq!(strides(f.slice(s![.., NewAxis, ..]) - f.slice(s![NewAxis, .., ..])), [3, 1, 9]);

    let x = dev.arange(0.0f64, 24.0, 1.0).reshape((2, 3, 4));
    x.eval().unwrap();
    let (p, zeros) = (x.permuted_axes([2, 0, 1]), dev.array(Array3::<f64>::zeros((4, 2, 3))).unwrap());
    for (what, got, want) in [
        ("p + 1", &p + 1.0, [1, 12, 4]),
        ("p + p", &p + &p, [1, 12, 4]),
        ("p + c", &p + &zeros, [6, 3, 1]),
        ("c + p", &zeros + &p, [6, 3, 1]),
        ("x.transpose(1, 0, 2) + 1", x.permuted_axes([1, 0, 2]) + 1.0, [4, 12, 1]),
        ("x[:, ::-1] + 1", x.slice(s![.., ..;-1, ..]) + 1.0, [12, 4, 1]),
        ("p[::-1, :, ::-1] + 1", p.slice(s![..;-1, .., ..;-1]) + 1.0, [1, 12, 4]),
    ] {
        assert_eq!(strides(got), want, "{what}");
    }
    assert_eq!(strides(p.cast::<f32>()), [1, 12, 4]);
    let f3 = x.t();
    let folds = [0, 1, 2].map(|a| [p.sum_axis(Axis(a)), x.sum_axis(Axis(a)), f3.max_axis(Axis(a))].map(strides));
    assert_eq!(folds, [[[3, 1], [4, 1], [1, 3]], [[1, 4], [4, 1], [1, 4]], [[1, 4], [3, 1], [1, 4]]]);
}

fn taking(dev: &Device) {
    let host = Array2::from_shape_fn((5, 4), |(i, j)| (i * 4 + j) as i16);
    let x = dev.array(&host).unwrap();
    let at = [4, 0, 0, 2];
    let index = dev.array(arr1(&at.map(|i| i as u8))).unwrap();
    assert_eq!(x.take(Axis(0), &index), host.select(Axis(0), &at));
    assert_eq!(x.t().take(Axis(1), &index), host.t().select(Axis(1), &at));
    assert_eq!(
        (&x + 1).slice(s![..;-1, ..]).take(Axis(0), &index),
        (&host + 1).slice(s![..;-1, ..]).select(Axis(0), &at)
    );
    macro_rules! by {
        ($($t:ty)*) => {$(
            let index = dev.array(arr1(&at.map(|i| i as $t))).unwrap();
            assert_eq!(x.take(Axis(0), &index), host.select(Axis(0), &at), stringify!($t));
            let each = index.insert_axis(Axis(1));
            assert_eq!(x.take_along_axis(Axis(0), &each), host.select(Axis(0), &at), stringify!($t));
            // One past the end, the largest there is, and -1 where there is one.
            for far in [5, <$t>::MAX, (0 as $t).wrapping_sub(1)] {
                let index = dev.array(arr1(&[0, far])).unwrap();
                let error = x.take(Axis(0), &index).eval().unwrap_err();
                assert!(error.to_string().contains(&format!("index {far} is out of bounds for axis 0 of length 5")), "{error}");
            }
        )*};
    }
    by!(i8 i16 i32 i64 u8 u16 u32 u64);
    let none = dev.zeros::<i64, _>(0);
    assert_eq!(x.take(Axis(1), &none).shape(), [5, 0]);
    // Indices that are computed.
    let nearest = (&x.cast::<i32>() - 9).abs().argmin_axis(Axis(0));
    assert_eq!(nearest, arr1(&[2i64, 2, 2, 1]));
    let row = x.slice(s![.., 0]).take(Axis(0), &nearest);
    assert_eq!(row, arr1(&[8i16, 8, 8, 4]));
    let sorted = dev.arange(4i64, -1, -1);
    assert_eq!(x.take(Axis(0), &sorted).take(Axis(0), &sorted), host);
}

tests_on_devices!(chains_follow_ndarray views_of_every_order_meet_in_one_kernel writing_parts arrays_are_values
    steps_of_any_size results_lie_as_numpys taking);
