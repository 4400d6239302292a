//! Elementwise results have the bits that the CPU gives: every op at every dtype, on edges and random operands, in C order and strided.

use crate::dag::Rng;
use crate::harness::on_the_host;
use ndarray::Array2;
use ndcuda::api::eval::Roots;
use ndcuda::{Bits, Device, DeviceArray, DeviceArray2, Element, Float, Integer, Number, Signed, bf16, f16, s};
use std::collections::BTreeSet;
use std::path::Path;

/// Ops whose CUDA code is NVIDIA's function of that name and whose CPU code is another polynomial: each keeps its own bound to the right
/// value (the op table's), which leaves the last bits free. The CPU's differ among themselves, too: with fma and without.
const APPROXIMATE: [&str; 25] = [
    "cbrt", "hypot", "powf", "exp", "exp2", "exp_m1", "ln", "log2", "log10", "ln_1p", "sin", "cos", "tan", "asin",
    "acos", "atan", "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc",
];
/// Values of a type between two results of those, at most.
const APART: u64 = 8;

/// Rows and columns of the operands: all pairs of edges fit.
const SHAPE: (usize, usize) = (48, 64);

/// A result of either type.
trait Outcome: Roots {
    /// The bits of its elements in C order, of a NaN those of any, and what orders them.
    fn bits(&self) -> Vec<(u64, u64)>;
}

impl<T: Element, D: ndarray::Dimension> Outcome for DeviceArray<T, D> {
    fn bits(&self) -> Vec<(u64, u64)> {
        let width = 8 * T::DTYPE.size() as u32;
        let one = |&x: &T| {
            let bits = if x.to_f64().is_nan() { u64::MAX } else { x.to_bits64() };
            let sign = 1 << (width - 1);
            // Floats in order of their values: zeros of both signs are one place apart.
            let place = if bits & sign != 0 { !bits & (sign | (sign - 1)) } else { bits | sign };
            (bits, place)
        };
        self.to_ndarray().unwrap().iter().map(one).collect()
    }
}

/// Results by the names of their ops.
type Results = Vec<(String, Box<dyn Outcome>)>;

/// Zeros, ends, subnormals, infinities, NaN.
fn edges<T: Element>() -> Vec<T> {
    let one = T::ONE.to_bits64();
    let sign = 1u64 << (8 * T::DTYPE.size() - 1);
    if T::DTYPE.is_float() {
        let infinity = T::from_f64(f64::INFINITY).to_bits64();
        // Bits of 0, subnormals, the least normal, its neighbour, near 1, the largest, infinity.
        let normal = infinity & infinity.wrapping_neg();
        let bits = [0, 1, normal - 1, normal, normal + 1, one - 1, one, one + 1, infinity - 1, infinity];
        let values = [0.5, 1.5, 2.5, 3.0, 10.0, 255.0, 1023.5, 100_000.25].map(|x| T::from_f64(x).to_bits64());
        let all = bits.into_iter().chain(values);
        return all.flat_map(|b| [b, b | sign]).chain([infinity + 1]).map(T::from_bits64).collect();
    }
    let near = [0u64, 1, 2, 3, 7, 8, 31, 32, 63, 64, 100];
    let ends = [sign - 1, sign, sign + 1];
    near.into_iter().flat_map(|x| [x, x.wrapping_neg()]).chain(ends).map(T::from_bits64).collect()
}

/// Three operands on the host: all pairs of edges, then random bits, and values of everyday size.
fn operands<T: Element>() -> [Array2<T>; 3] {
    let (edge, mut r) = (edges::<T>(), Rng(T::DTYPE.size() as u64));
    let mut draw = |n: usize| match r.next() % 4 {
        _ if n < edge.len() * edge.len() => edge[r.next() as usize % edge.len()],
        0 => T::from_bits64(r.next()),
        1 => T::from_f64((r.next() % 2001) as f64 / 1000.0 - 1.0),
        2 => T::from_f64((r.next() % 200_001) as f64 / 1000.0 - 100.0),
        _ => T::from_f64((r.next() % 33) as f64 - 16.0),
    };
    [0, 1, 2].map(|which| {
        let pick = |n: usize| match which {
            0 if n < edge.len() * edge.len() => edge[n % edge.len()],
            1 if n < edge.len() * edge.len() => edge[n / edge.len()],
            _ => draw(n),
        };
        Array2::from_shape_vec(SHAPE, (0..SHAPE.0 * SHAPE.1).map(pick).collect()).unwrap()
    })
}

/// The operands on a device, as they are or as views of other arrays.
fn placed<T: Element>(dev: &Device, host: &[Array2<T>; 3], strided: bool) -> [DeviceArray2<T>; 3] {
    if !strided {
        return [0, 1, 2].map(|i| dev.array(&host[i]).unwrap());
    }
    let (rows, columns) = SHAPE;
    let mut wide = Array2::from_elem((rows, 2 * columns + 1), T::ONE);
    wide.slice_mut(s![.., 1..;2]).assign(&host[0]);
    let stepped = dev.array(wide).unwrap().slice(s![.., 1..;2]);
    let backwards = dev.array(host[1].slice(s![..;-1, ..;-1]).to_owned()).unwrap().slice(s![..;-1, ..;-1]);
    let turned = dev.array(host[2].t().as_standard_layout().to_owned()).unwrap().t();
    [stepped, backwards, turned]
}

/// Operations of one signature by their names: pointers to functions, since results that are made in line take a compiler minutes.
macro_rules! named {
    ($op:ty; $($name:ident: $f:expr),* $(,)?) => { &[$((stringify!($name), $f as $op)),*] };
}
macro_rules! unary {
    ($op:ty; $($name:ident)*) => { named!($op; $($name: |x| x.$name()),*) };
}
macro_rules! binary {
    ($op:ty; $($name:ident)*) => { named!($op; $($name: |x, y| x.$name(y)),*) };
}

type One<T, U> = fn(&DeviceArray2<T>) -> DeviceArray2<U>;
type Two<T, U> = fn(&DeviceArray2<T>, &DeviceArray2<T>) -> DeviceArray2<U>;

fn ones<T: Element, U: Element>(out: &mut Results, x: &DeviceArray2<T>, ops: &[(&str, One<T, U>)]) {
    ops.iter().for_each(|(name, f)| out.push((name.to_string(), Box::new(f(x)))));
}

fn twos<T: Element, U: Element>(out: &mut Results, [x, y, _]: &[DeviceArray2<T>; 3], ops: &[(&str, Two<T, U>)]) {
    ops.iter().for_each(|(name, f)| out.push((name.to_string(), Box::new(f(x, y)))));
}

fn casts<T: Element>(out: &mut Results, x: &DeviceArray2<T>) {
    macro_rules! to {
        ($($U:ty)*) => { $(ones(out, x, named!(One<T, $U>; cast: |x| x.cast()));)* };
    }
    to!(bool i8 i16 i32 i64 u8 u16 u32 u64 f16 bf16 f32 f64);
}

fn elements<T: Element>(out: &mut Results, x: &[DeviceArray2<T>; 3], mask: &DeviceArray2<bool>) {
    twos(out, x, binary!(Two<T, bool>; equal not_equal less less_equal greater greater_equal));
    twos(out, x, binary!(Two<T, T>; maximum minimum));
    twos(out, x, binary!(Two<T, bool>; logical_and logical_or logical_xor));
    ones(out, &x[0], unary!(One<T, bool>; is_nan is_infinite is_finite logical_not));
    out.push(("where_".into(), Box::new(mask.where_(&x[1], &x[2]))));
    casts(out, &x[0]);
}

fn numbers<T: Number>(out: &mut Results, x: &[DeviceArray2<T>; 3]) {
    twos(
        out,
        x,
        named!(Two<T, T>; add: |x, y| x + y, sub: |x, y| x - y, mul: |x, y| x * y, div: |x, y| x / y, rem: |x, y| x % y),
    );
    twos(out, x, binary!(Two<T, T>; remainder floor_divide));
    ones(out, &x[0], unary!(One<T, T>; abs sign square));
    out.push(("clamp".into(), Box::new(x[0].clamp(&x[1], &x[2]))));
}

fn signed<T: Signed>(out: &mut Results, x: &DeviceArray2<T>) {
    ones(out, x, named!(One<T, T>; neg: |x| -x, signum: |x| x.signum()));
}

fn bits_of<T: Bits>(out: &mut Results, x: &[DeviceArray2<T>; 3])
where
    for<'a> &'a DeviceArray2<T>: std::ops::Not<Output = DeviceArray2<T>>,
{
    twos(out, x, named!(Two<T, T>; bit_and: |x, y| x & y, bit_or: |x, y| x | y, bit_xor: |x, y| x ^ y));
    ones(out, &x[0], named!(One<T, T>; bit_not: |x| !x));
}

fn integers<T: Integer>(out: &mut Results, x: &[DeviceArray2<T>; 3]) {
    twos(out, x, named!(Two<T, T>; shl: |x, y| x << y, shr: |x, y| x >> y));
}

fn floats<T: Float>(out: &mut Results, x: &[DeviceArray2<T>; 3]) {
    let ops = unary!(One<T, T>; recip sqrt floor ceil trunc round round_ties_even cbrt exp exp2 exp_m1 ln log2 log10
        ln_1p sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh erf erfc);
    ones(out, &x[0], ops);
    twos(out, x, binary!(Two<T, T>; hypot powf atan2));
}

/// Results on a device at a dtype, of what every type has, and what `more` adds.
fn results<T: Element>(dev: &Device, strided: bool, more: fn(&mut Results, &[DeviceArray2<T>; 3])) -> Results {
    let host = operands::<T>();
    let x = placed(dev, &host, strided);
    let mask = host[2].mapv(|v| v.to_f64() > 0.0);
    let mask = placed(dev, &[mask.clone(), mask.clone(), mask], strided)[0].clone();
    let mut out: Results = vec![];
    elements(&mut out, &x, &mask);
    more(&mut out, &x);
    out
}

/// Notes the results on a device that differ from the CPU's.
fn compare<T: Element>(dev: &Device, wrong: &mut Vec<String>, more: fn(&mut Results, &[DeviceArray2<T>; 3])) {
    let want = read(&results(&Device::cpu(), false, more));
    for strided in [false, true] {
        let results = results(dev, strided, more);
        differences(&results, &want, &format!("of {}, strided: {strided}", T::DTYPE), wrong);
    }
    if on_the_host(dev) {
        shapes(dev, wrong, more);
    }
}

/// Operands of which one is stretched, of no axis and of no element; on the CPU the same as in C order, where every element stands for itself.
fn shapes<T: Element>(dev: &Device, wrong: &mut Vec<String>, more: fn(&mut Results, &[DeviceArray2<T>; 3])) {
    let host = operands::<T>();
    let thin = [host[0].slice(s![.., 3..4]), host[1].slice(s![5..6, ..]), host[2].slice(s![7..8, 9..10])];
    let all = |x: [DeviceArray2<T>; 3]| {
        let mut out: Results = vec![];
        elements(&mut out, &x, &x[2].cast());
        more(&mut out, &x);
        out
    };
    let want = read(&all(thin.map(|x| Device::cpu().array(x.broadcast(SHAPE).unwrap().to_owned()).unwrap())));
    let x = thin.map(|x| dev.array(x).unwrap().broadcast(SHAPE).unwrap());
    differences(&all(x), &want, &format!("of {}, stretched", T::DTYPE), wrong);
    for shape in [(1, 1), (0, SHAPE.1), (SHAPE.0, 0)] {
        let part = |x: &Array2<T>| x.slice(s![..shape.0, ..shape.1]).to_owned();
        let want = read(&all([0, 1, 2].map(|i| Device::cpu().array(part(&host[i])).unwrap())));
        let x = [0, 1, 2].map(|i| match shape {
            (1, 1) => dev.scalar(host[i][[0, 0]]).insert_axis(ndarray::Axis(0)).insert_axis(ndarray::Axis(1)),
            _ => dev.array(part(&host[i])).unwrap(),
        });
        differences(&all(x), &want, &format!("of {}, {shape:?}", T::DTYPE), wrong);
    }
}

fn differences(results: &Results, want: &[Vec<(u64, u64)>], what: &str, wrong: &mut Vec<String>) {
    for ((name, _), (got, want)) in results.iter().zip(read(results).iter().zip(want)) {
        let apart = if APPROXIMATE.contains(&name.as_str()) { APART } else { 0 };
        let differ = |n: &usize| {
            let ((a, p), (b, q)) = (got[*n], want[*n]);
            a != b && (apart == 0 || p.abs_diff(q) > apart)
        };
        let found: Vec<usize> = (0..want.len()).filter(differ).collect();
        if let Some(&n) = found.first() {
            let (count, got, want) = (found.len(), got[n].0, want[n].0);
            wrong.push(format!("{name} {what}: {count}, the first {n}: {got:#x} not {want:#x}"));
        }
    }
}

/// Evaluates several at once: kernels have several results, which saves a compiler work.
fn read(results: &Results) -> Vec<Vec<(u64, u64)>> {
    let mut all = vec![];
    for few in results.chunks(12) {
        let roots: Vec<&dyn Roots> = few.iter().map(|(_, r)| r.as_ref() as &dyn Roots).collect();
        ndcuda::eval(&roots[..]).unwrap();
        all.extend(few.iter().map(|(_, r)| r.bits()));
    }
    all
}

fn real<T: Float>(out: &mut Results, x: &[DeviceArray2<T>; 3]) {
    numbers(out, x);
    signed(out, &x[0]);
    floats(out, x);
}

fn whole<T: Bits + Integer>(out: &mut Results, x: &[DeviceArray2<T>; 3])
where
    for<'a> &'a DeviceArray2<T>: std::ops::Not<Output = DeviceArray2<T>>,
{
    numbers(out, x);
    bits_of(out, x);
    integers(out, x);
}

fn both<T: Bits + Integer + Signed>(out: &mut Results, x: &[DeviceArray2<T>; 3])
where
    for<'a> &'a DeviceArray2<T>: std::ops::Not<Output = DeviceArray2<T>>,
{
    whole(out, x);
    signed(out, &x[0]);
}

fn results_have_the_bits_of_the_cpu(dev: &Device) {
    let mut wrong = vec![];
    macro_rules! check {
        ($($T:ty: |$out:ident, $x:ident| $more:expr;)*) => { $(compare::<$T>(dev, &mut wrong, |$out, $x| $more);)* };
    }
    check! {
        bool: |out, x| bits_of(out, x);
        i8: |out, x| both(out, x);
        i16: |out, x| both(out, x);
        i32: |out, x| both(out, x);
        i64: |out, x| both(out, x);
        u8: |out, x| whole(out, x);
        u16: |out, x| whole(out, x);
        u32: |out, x| whole(out, x);
        u64: |out, x| whole(out, x);
        f16: |out, x| real(out, x);
        bf16: |out, x| real(out, x);
        f32: |out, x| real(out, x);
        f64: |out, x| real(out, x);
    }
    assert!(wrong.is_empty(), "on {dev}:\n{}", wrong.join("\n"));
}

/// The names above are those of the op table, and those that may differ are those it gives a bound: but for one, which is off alike everywhere.
fn every_op_is_compared() {
    let cpu = Device::cpu();
    let all = [results::<f32>(&cpu, false, real), results::<i32>(&cpu, false, both)];
    let compared: BTreeSet<String> = all.into_iter().flatten().map(|r| r.0).filter(|name| name != "cast").collect();
    let (mut rows, mut bounded) = (BTreeSet::new(), BTreeSet::new());
    for file in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ops")).unwrap() {
        let path = file.unwrap().path();
        let text = if path.is_file() { std::fs::read_to_string(path).unwrap() } else { String::new() };
        if !text.contains("_rows {") {
            continue;
        }
        let mut row = "";
        for line in text.lines() {
            let inside = |depth: usize| line.strip_prefix(&" ".repeat(depth)).unwrap_or_default();
            if let Some(named) = ["fn ", "op ", "select "].into_iter().find_map(|word| inside(16).strip_prefix(word)) {
                row = named.split([' ', '(']).next().unwrap_or_default();
                rows.insert(row.to_string());
            }
            if inside(20).starts_with("ulp ") {
                bounded.insert(row.to_string());
            }
        }
    }
    assert_eq!(compared, rows);
    bounded.remove("floor_divide");
    assert_eq!(bounded, APPROXIMATE.map(String::from).into());
}

tests_on_devices!(results_have_the_bits_of_the_cpu; once: every_op_is_compared);
