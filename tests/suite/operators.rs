//! The operators at each dtype they take: with an array or a scalar on the right, a scalar on the left, and assigning to arrays and to views.

use crate::harness::on_the_host;
use ndarray::{ArrayD, Axis, IxDyn, Slice};
use ndcuda::{DType, Device, DeviceArrayD, Element, bf16, f16};

type Array<T> = DeviceArrayD<T>;

/// One operator at one dtype.
struct Operator<T> {
    name: &'static str,
    plain: fn(&Array<T>, &Array<T>) -> Array<T>,
    scalar: fn(&Array<T>, T) -> Array<T>,
    left: fn(T, &Array<T>) -> Array<T>,
    left_owned: fn(T, Array<T>) -> Array<T>,
    assign: fn(&mut Array<T>, &Array<T>),
    assign_owned: fn(&mut Array<T>, Array<T>),
    assign_scalar: fn(&mut Array<T>, T),
    /// What becomes of 13 and 3, cut to a whole number where these are.
    of_13_and_3: f64,
}

fn host<T: Element>(shape: &[usize], from: usize) -> ArrayD<T> {
    let n: usize = shape.iter().product();
    // No zero to divide by, and no sum, product or shift by less than the width that is more than a byte's.
    let of = |i: usize| T::from_f64(if T::DTYPE == DType::Bool { (i % 3 % 2) as f64 } else { (1 + i * 5 % 7) as f64 });
    ArrayD::from_shape_vec(shape, (from..from + n).map(of).collect()).unwrap()
}

fn check<T: Element>(dev: &Device, o: &Operator<T>) {
    let what = format!("{} {}", T::DTYPE, o.name);
    let up = |a: &ArrayD<T>| dev.array(a).unwrap();
    let same = |got: &Array<T>, want: &ArrayD<T>, how: &str| assert_eq!(got, want, "{what} {how}");
    let [a, b] = [13.0, 3.0].map(T::from_f64);
    let want = ArrayD::from_elem(IxDyn(&[2]), T::from_f64(o.of_13_and_3));
    let [x, y] = [a, b].map(|v| up(&ArrayD::from_elem(IxDyn(&[2]), v)));
    same(&(o.plain)(&x, &y), &want, "of 13 and 3");
    same(&(o.scalar)(&x, b), &want, "by a scalar");
    same(&(o.left)(a, &y), &want, "of a scalar");
    let stored = up(&(o.plain)(&x, &y).to_ndarray().unwrap());
    same(&(o.left_owned)(a, (o.plain)(&x, &y)), &(o.left)(a, &stored).to_ndarray().unwrap(), "of a scalar, pending");

    let (h, r) = (host::<T>(&[4, 4], 0), host::<T>(&[4, 4], 5));
    // What the handle is of the array it was taken from, on a device and on the host.
    type Views<T> = (fn(&Array<T>) -> Array<T>, fn(&mut ArrayD<T>));
    let views: [(&str, Views<T>); 4] = [
        ("whole", (|x| x.clone(), |_| {})),
        (
            "sliced",
            (
                |x| x.slice(ndcuda::s![1..3, ..;2].as_ref()),
                |h| {
                    h.slice_axis_inplace(Axis(0), Slice::from(1..3));
                    h.slice_axis_inplace(Axis(1), Slice::new(0, None, 2));
                },
            ),
        ),
        ("reversed", (|x| x.flip(Axis(0)), |h| h.invert_axis(Axis(0)))),
        ("transposed", (|x| x.t(), |h| h.swap_axes(0, 1))),
    ];
    for (view, (on, at)) in views {
        let of = |h: &ArrayD<T>| {
            let mut h = h.clone();
            at(&mut h);
            h
        };
        // Of arrays that were stored on their own: nothing is in place there.
        let row = of(&r).index_axis(Axis(0), 1).to_owned();
        let [by_array, by_row] = [&of(&r), &row].map(|r| (o.plain)(&up(&of(&h)), &up(r)).to_ndarray().unwrap());
        let by_scalar = (o.scalar)(&up(&of(&h)), b).to_ndarray().unwrap();
        let by_itself = (o.plain)(&up(&of(&h)), &up(&of(&h).reversed_axes())).to_ndarray().ok();
        for shared in [false, true] {
            let stored = up(&h);
            let start = || if shared { on(&stored) } else { on(&up(&h)) };
            let run = |f: &dyn Fn(&mut Array<T>), want: &ArrayD<T>, by: &str| {
                let (mut x, kept) = (start(), stored.clone());
                f(&mut x);
                same(&x, want, &format!("= to a {view} array by {by}, shared: {shared}"));
                same(&kept, &h, "leaves what others hold");
            };
            run(&|x| (o.assign)(x, &on(&up(&r))), &by_array, "an array");
            run(&|x| (o.assign_owned)(x, on(&up(&r))), &by_array, "an owned array");
            run(&|x| (o.assign)(x, &up(&row)), &by_row, "a row");
            run(&|x| (o.assign_scalar)(x, b), &by_scalar, "a scalar");
            if let Some(want) = by_itself.as_ref().filter(|w| w.shape() == of(&h).shape()) {
                run(&|x| (o.assign_owned)(x, x.t()), want, "itself transposed");
            }
        }
    }
}

macro_rules! operators {
    ($dev:ident, $skip:ident: $($op:tt $assign:tt $want:expr; $($t:ty)*,)*) => {$($(
        if !$skip.contains(&<$t as Element>::DTYPE) {
            check::<$t>($dev, &Operator {
                name: stringify!($op),
                plain: |x, y| x $op y,
                scalar: |x, v| x $op v,
                left: |v, x| v $op x,
                left_owned: |v, x| v $op x,
                assign: |x, y| *x $assign y,
                assign_owned: |x, y| *x $assign y,
                assign_scalar: |x, v| *x $assign v,
                of_13_and_3: $want,
            });
        }
    )*)*};
}

fn of_every_dtype(dev: &Device) {
    use DType::{BF16, F64, I8, I16, I64, U16, U32, U64};
    // A GPU runs them all if it is asked to; the software device takes too long.
    let all = on_the_host(dev) || std::env::var("NDCUDA_SUITE").is_ok_and(|v| v == "gpu");
    let skip: &[DType] = if all { &[] } else { &[I8, I16, I64, U16, U32, U64, BF16, F64] };
    operators! { dev, skip:
        + += 16.0; i8 i16 i32 i64 u8 u16 u32 u64 f16 bf16 f32 f64,
        - -= 10.0; i8 i16 i32 i64 u8 u16 u32 u64 f16 bf16 f32 f64,
        * *= 39.0; i8 i16 i32 i64 u8 u16 u32 u64 f16 bf16 f32 f64,
        / /= 13.0 / 3.0; i8 i16 i32 i64 u8 u16 u32 u64 f16 bf16 f32 f64,
        % %= 1.0; i8 i16 i32 i64 u8 u16 u32 u64 f16 bf16 f32 f64,
        & &= 1.0; bool i8 i16 i32 i64 u8 u16 u32 u64,
        | |= 15.0; bool i8 i16 i32 i64 u8 u16 u32 u64,
        << <<= 104.0; i8 i16 i32 i64 u8 u16 u32 u64,
        >> >>= 1.0; i8 i16 i32 i64 u8 u16 u32 u64,
    }
    // Of 13 and 3 as truths it is false.
    operators! { dev, skip:
        ^ ^= 14.0; i8 i16 i32 i64 u8 u16 u32 u64,
        ^ ^= 0.0; bool,
    }
}

tests_on_devices!(of_every_dtype);
