//! Programs that random ones found wrong, made small: they stay right.

use ndarray::{Array1, Array2, ArrayD, Axis, IxDyn, arr1, arr2, s};
use ndcuda::{Device, debug::trace};

/// A gather reads memory: what it takes from cannot stay in its own kernel, whatever the shapes.
fn a_pending_value_is_taken_from(dev: &Device) {
    let host = arr2(&[[1.0f64, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]);
    let x = dev.array(&host).unwrap();
    let twice = &x + &x;
    assert_eq!(twice.select(Axis(0), &[2, 1, 0, 0]), (&host + &host).select(Axis(0), &[2, 1, 0, 0]));
    let at = dev.array(arr1(&[1i64, 0])).unwrap();
    let both = (&x * 3.0, (&x * 3.0).take(Axis(1), &at));
    ndcuda::eval((&both.0, &both.1)).unwrap();
    assert_eq!(both.1, (&host * 3.0).select(Axis(1), &[1, 0]));
    assert_eq!(
        (&x - 1.0).t().take(Axis(0), &at).t().take(Axis(0), &at),
        (&host - 1.0).select(Axis(1), &[1, 0]).select(Axis(0), &[1, 0])
    );
}

/// Loops over nothing take nothing: an index that is not there is not out of range.
fn nothing_is_taken_from_nothing(dev: &Device) {
    let x = dev.array(arr1(&[-1i32])).unwrap().slice(s![1..]);
    let t = x.take(Axis(0), &x);
    let e = t.equal(&x);
    let any = e.any();
    drop(t);
    assert_eq!(e.equal(&any).to_ndarray().unwrap(), Array1::from_vec(Vec::<bool>::new()));

    let none = dev.zeros::<i64, _>(0);
    let y = dev.array(arr1(&[5.0f32])).unwrap().take(Axis(0), &none);
    let centred = &y - y.sum();
    assert_eq!(centred.len(), 0);
    centred.eval().unwrap();
    assert_eq!((&y * 2.0).sum().item().unwrap(), 0.0);
    let one_by_none = dev.ones::<f32, _>((3, 1)) + dev.zeros::<f32, _>((1, 0));
    assert_eq!((&one_by_none - one_by_none.sum_keep(Axis(1))).to_ndarray().unwrap().shape(), [3, 0]);
}

/// The temporaries of a statement live to its end; that they do makes no kernel.
fn temporaries_are_not_held(dev: &Device) {
    let x = dev.array(Array1::from_elem(100, 2.0f32)).unwrap();
    let (_, t) = trace(|| (&x * 3.0).sqrt().abs().sum().item().unwrap());
    assert_eq!(t.kernels, 1, "{t:?}");
}

/// Of what no kernel selects from while it makes it: what reads the selection is planned with it all the same.
fn a_selection_from_sums_is_read_on(dev: &Device) {
    let x = dev.array(arr2(&[[3.0f32, 1.0], [9.0, 9.0], [0.0, 2.0]])).unwrap();
    let (most, at) = x.sum_axis(Axis(1)).topk(2, Axis(0), true);
    assert_eq!(most * 2.0, arr1(&[36.0, 8.0]));
    assert_eq!(at + 1, arr1(&[2i64, 1]));
    assert_eq!(x.max_axis(Axis(0)).topk(1, Axis(0), false).0.cast::<u8>(), arr1(&[9u8]));
}

/// Eight results of one shape, each of operands of its own but for one, are more than a kernel's operands.
fn results_that_share_an_operand(dev: &Device) {
    let x = dev.from_fn(6, |i| i as i32).unwrap();
    let others: Vec<_> = (0..24).map(|k| dev.from_fn(6, |i| (i * k) as i32).unwrap()).collect();
    let sums: Vec<_> = others.chunks(3).map(|y| &x + &y[0] * &y[1] - &y[2]).collect();
    ndcuda::eval(&sums).unwrap();
    for (k, sum) in sums.iter().enumerate() {
        let want = |i: usize| (i + i * 3 * k * i * (3 * k + 1)) as i32 - (i * (3 * k + 2)) as i32;
        assert_eq!(*sum, Array1::from_shape_fn(6, want));
    }
}

/// Each pass over a row computes anew what it needs: all of them are more than the program of one kernel that ships holds.
fn rows_of_many_passes(dev: &Device) {
    let mut want = Array2::from_shape_fn((3, 5), |(i, j)| ((i * 7 + j * 3) % 11) as f32);
    let mut x = dev.array(&want).unwrap();
    for _ in 0..7 {
        // Wide, not deep: what is deep is evaluated as it is recorded.
        let mut parts: Vec<_> = (0..8).map(|k| (&x + k as f32).abs()).collect();
        while parts.len() > 1 {
            parts = parts.chunks(2).map(|p| p[0].maximum(&p[1])).collect();
        }
        x = &parts[0] - parts[0].max_axis(Axis(1)).insert_axis(Axis(1));
        want.mapv_inplace(|v| (0..8).map(|k| (v + k as f32).abs()).fold(0.0, f32::max));
        let most = want.fold_axis(Axis(1), f32::MIN, |a: &f32, &b| a.max(b));
        want = &want - &most.insert_axis(Axis(1));
    }
    let shown = x.show().unwrap();
    assert_eq!(x, want);
    assert!(shown.contains("one kernel would be too large"), "{shown}");
}

/// As many operands as a kernel takes, each in another order of its many axes: strides of all are more than the arguments of a launch.
fn many_operands_of_many_axes(dev: &Device) {
    const AXES: usize = 22;
    let x = dev.array(ArrayD::from_elem(IxDyn(&[2; AXES]), 1u8)).unwrap();
    let turned = |by: usize| x.permuted_axes(IxDyn(&(0..AXES).map(|a| (a + by) % AXES).collect::<Vec<_>>()));
    let all = |count: usize| (1..count).fold(turned(0), |all, by| all + turned(by));
    assert_eq!(all(12).show().unwrap().matches("one kernel would be too large").count(), 0);
    assert_eq!(all(20).show().unwrap().matches("one kernel would be too large").count(), 1);
}

tests_on_devices!(a_selection_from_sums_is_read_on results_that_share_an_operand
    a_pending_value_is_taken_from nothing_is_taken_from_nothing temporaries_are_not_held rows_of_many_passes many_operands_of_many_axes);
