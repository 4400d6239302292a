//! Every row of the op table, at every dtype it takes, over operands that lie in every way, against its oracle.
//!
//! An error of 0 ulp is asked for bit for bit (NaN is NaN). f16 and bf16 are computed in f32 and rounded.

use super::devices;
use super::host::{Host, Lay, float, int, of_float, of_int, walk};
use crate::dtype::DType;
use crate::graph::{Value, build};
use crate::layout::broadcast_shape;
use crate::ops::{OpRef, OutRule, rows};
use crate::{Device, bf16, f16};
use std::panic::Location;

struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }
}

/// Where things go wrong: zeros, ends, subnormals, infinities, NaN.
fn edges(d: DType) -> Vec<u64> {
    if d == DType::Bool {
        return vec![0, 1];
    }
    if d.is_float() {
        let (tiny, max) = match d {
            DType::F16 => (f16::MIN_POSITIVE.to_f64(), f16::MAX.to_f64()),
            DType::BF16 => (bf16::MIN_POSITIVE.to_f64(), bf16::MAX.to_f64()),
            DType::F32 => (f64::from(f32::MIN_POSITIVE), f64::from(f32::MAX)),
            _ => (f64::MIN_POSITIVE, f64::MAX),
        };
        let positive = [0.0, 1.0, 0.5, 1.5, 2.5, 3.0, 10.0, 255.0, 1023.5, tiny, tiny / 4.0, max, f64::INFINITY];
        let both = positive.into_iter().chain(positive.map(|x| -x)).chain([f64::NAN]);
        return both.map(|x| of_float(d, x)).collect();
    }
    let top = 1i128 << (8 * d.size() - 1);
    let near = [0, 1, 2, 3, 7, 8, 31, 32, 63, 64, 100];
    let all = near.into_iter().flat_map(|x| [x, -x]).chain([top - 1, top, top + 1, -top]);
    all.map(|x| of_int(d, x)).collect()
}

fn draw(row: OpRef, i: usize, d: DType, r: &mut Random) -> u64 {
    let d = row.operand(i, d);
    let bits = r.bits();
    if d.is_float() {
        let range = row.range.get(i).or(row.range.last()).expect("a row has a range");
        let unit = (bits >> 11) as f64 / (1u64 << 53) as f64;
        return of_float(d, range.start + unit * (range.end - range.start));
    }
    of_int(d, i128::from((bits as i64) >> (r.bits() & 63)))
}

/// Tuples of operands: combinations of edges, and random ones.
fn tuples(row: OpRef, d: DType) -> Vec<[u64; 3]> {
    let arity = row.arity as usize;
    let edge: Vec<Vec<u64>> = (0..arity).map(|i| edges(row.operand(i, d))).collect();
    let combinations: usize = edge.iter().map(Vec::len).product();
    let mut r = Random(row.name.len() as u64);
    let mut out = vec![];
    for c in (0..combinations).step_by(if arity == 3 { 13 } else { 1 }) {
        let (mut c, mut t) = (c, [0; 3]);
        for (t, e) in t.iter_mut().zip(&edge) {
            *t = e[c % e.len()];
            c /= e.len();
        }
        out.push(t);
    }
    for _ in 0..500 {
        let mut t = [0; 3];
        t.iter_mut().take(arity).enumerate().for_each(|(i, t)| *t = draw(row, i, d, &mut r));
        out.push(t);
    }
    out
}

/// The next f32 above a magnitude, less the magnitude.
fn spacing32(x: f64) -> f64 {
    let x = (x as f32).abs().min(f32::MAX.next_down());
    f64::from(x.next_up()) - f64::from(x)
}

/// Whether `got` is what the row makes of operands at dtype `d`.
fn check(row: OpRef, d: DType, args: &[u64; 3], got: u64) -> Result<(), String> {
    let operand = |i: usize| if i < row.arity as usize { row.operand(i, d) } else { d };
    let out = row.result(d);
    if !d.is_float() {
        let Some(oracle) = row.oracle.int else { return Err("no oracle".into()) };
        let want = of_int(out, oracle([0, 1, 2].map(|i| int(operand(i), args[i]))));
        return (got == want).then_some(()).ok_or_else(|| format!("{} not {}", int(out, got), int(out, want)));
    }
    let Some(oracle) = row.oracle.float else { return Err("no oracle".into()) };
    let want = oracle([0, 1, 2].map(|i| float(operand(i), args[i])));
    if row.out == OutRule::Bool {
        return (got == want as u64).then_some(()).ok_or_else(|| format!("{got} not {want}"));
    }
    let value = float(d, got);
    if want.is_nan() || value.is_nan() {
        return (want.is_nan() && value.is_nan()).then_some(()).ok_or_else(|| format!("{value:e} not {want:e}"));
    }
    let bound = f64::from(if d == DType::F64 { row.ulp.1 } else { row.ulp.0 });
    let rounded = if d == DType::F64 { want } else { f64::from(want as f32) };
    let fine = match d {
        _ if got == of_float(d, rounded) => true,
        // Zeros of both signs are the same where a bound is stated, and in the larger or smaller of two zeros.
        _ if value == 0.0 && rounded == 0.0 => bound > 0.0 || matches!(row.name, "maximum" | "minimum" | "clamp"),
        _ if bound == 0.0 => false,
        // Next to the largest value there is but infinity.
        DType::F64 if value.is_infinite() => want.abs() == f64::MAX && value.signum() == want.signum(),
        // The f64 references err, too.
        DType::F64 => (value - want).abs() / (want.abs().next_up() - want.abs()) <= bound + 1.0,
        DType::F32 => (value - want).abs() / spacing32(want) <= bound,
        _ => {
            let slack = (bound + 0.5) * spacing32(want);
            let end = |x: f64| float(d, of_float(d, f64::from(x as f32)));
            (end(want - slack)..=end(want + slack)).contains(&value)
        }
    };
    fine.then_some(()).ok_or_else(|| format!("{value:e} not {rounded:e} ({bound} ulp)"))
}

/// Runs a row on placed operands and checks every element; `hosts` are what they hold.
fn run(dev: &Device, row: OpRef, d: DType, hosts: &[Host], values: &[Value]) -> Result<(), String> {
    let mut shape: Vec<usize> = vec![];
    for h in hosts {
        shape = broadcast_shape(&shape, &h.shape).ok_or("shapes do not fit")?.to_vec();
    }
    let args: Vec<&Value> = values.iter().collect();
    let made = build::map(row, &args, Location::caller()).map_err(|e| e.to_string())?;
    let got = Host::read(dev, &made).map_err(|e| e.to_string())?;
    if (got.dtype, &got.shape) != (row.result(d), &shape) {
        return Err(format!("gives {} {:?} where {} {shape:?} is right", got.dtype, got.shape, row.result(d)));
    }
    let (mut n, mut wrong) = (0, None);
    walk(&shape, |index| {
        let mut t = [0; 3];
        t.iter_mut().zip(hosts).for_each(|(t, h)| *t = h.spread(index));
        if let (None, Err(why)) = (&wrong, check(row, d, &t, got.bits[n])) {
            let shown = (0..row.arity as usize).map(|i| {
                let d = row.operand(i, d);
                if d.is_float() { format!("{:e}", float(d, t[i])) } else { int(d, t[i]).to_string() }
            });
            wrong = Some(format!("{index:?}: of {}: {why}", shown.collect::<Vec<_>>().join(", ")));
        }
        n += 1;
    });
    wrong.map_or(Ok(()), Err)
}

/// `n` tuples as operands of this shape each, an operand lacking the axes in `ones`.
fn operands(row: OpRef, d: DType, pool: &[[u64; 3]], shape: &[usize], ones: &[&[usize]]) -> Vec<Host> {
    (0..row.arity as usize)
        .map(|i| {
            let mut shape = shape.to_vec();
            ones.get(i).into_iter().flat_map(|o| o.iter()).for_each(|&a| shape[a] = 1);
            let n: usize = shape.iter().product();
            // A stride prime to the pool's length walks all of it.
            let step = (1..).find(|s| s * 7 > pool.len() && gcd(*s, pool.len()) == 1).unwrap_or(1);
            let bits =
                (0..n).map(|k| if n >= pool.len() { pool[k % pool.len()][i] } else { pool[k * step % pool.len()][i] });
            Host { dtype: row.operand(i, d), shape, bits: bits.collect() }
        })
        .collect()
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn each_row(mut f: impl FnMut(OpRef, DType, &[[u64; 3]]) -> Result<(), String>) {
    let mut wrong = vec![];
    for row in rows() {
        for d in DType::ALL.into_iter().filter(|&d| row.takes(d)) {
            if let Err(why) = f(row, d, &tuples(row, d)) {
                wrong.push(format!("{row:?} {d} {why}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn rows_do_what_their_oracles_say() {
    for dev in devices() {
        each_row(|row, d, pool| {
            let hosts = operands(row, d, pool, &[pool.len()], &[]);
            let values: Vec<Value> = hosts.iter().map(|h| h.place(&dev, Lay::C)).collect();
            run(&dev, row, d, &hosts, &values)
        });
    }
}

#[test]
fn rows_take_operands_that_lie_in_any_way() {
    use Lay::{C, Fortran, Reversed, Stepped};
    type Case<'a> = (&'a [usize], [Lay; 3], &'a [&'a [usize]]);
    let cases: [Case<'_>; 11] = [
        (&[12, 11], [Fortran, Fortran, Fortran], &[]),
        (&[12, 11], [C, Fortran, Reversed], &[]),
        (&[130], [Stepped, Stepped, Stepped], &[]),
        (&[130], [Reversed, C, Stepped], &[]),
        (&[7, 40], [Stepped, Reversed, Fortran], &[]),
        (&[9, 13], [C, C, C], &[&[1], &[0], &[]]),
        (&[9, 13], [C, Stepped, Fortran], &[&[0, 1], &[], &[0]]),
        (&[], [C, C, C], &[]),
        (&[0, 3], [C, Fortran, C], &[&[], &[1], &[]]),
        (&[2, 3, 1, 4, 5], [Fortran, Reversed, Stepped], &[]),
        (&[2, 3, 2, 4, 3], [C, Reversed, C], &[&[1, 3], &[0, 2], &[4]]),
    ];
    for dev in devices() {
        for (shape, lays, ones) in cases {
            each_row(|row, d, pool| {
                let hosts = operands(row, d, pool, shape, ones);
                let values: Vec<Value> = hosts.iter().zip(lays).map(|(h, l)| h.place(&dev, l)).collect();
                run(&dev, row, d, &hosts, &values).map_err(|e| format!("{shape:?} {lays:?} {e}"))
            });
        }
    }
}

#[test]
fn rows_take_scalars() {
    for dev in devices() {
        each_row(|row, d, pool| {
            // Scalars on the right, then all of them, then on the left, as parameters of the kernel.
            let t = [1, 2, 5].map(|back| pool[pool.len() - back]);
            for (scalars, t) in
                [(1..3, t[0]), (1..3, pool[pool.len() / 3]), (0..3, t[1]), (0..1, t[2]), (0..1, pool[pool.len() / 5])]
            {
                let mut hosts = operands(row, d, pool, &[33], &[]);
                let mut values: Vec<Value> = hosts.iter().map(|h| h.place(&dev, Lay::C)).collect();
                for i in scalars.start..scalars.end.min(hosts.len()) {
                    let dtype = row.operand(i, d);
                    hosts[i] = Host { dtype, shape: vec![], bits: vec![t[i]] };
                    values[i] = build::scalar(dev.id(), dtype, t[i], Location::caller());
                }
                run(&dev, row, d, &hosts, &values).map_err(|e| format!("with scalars {e}"))?;
            }
            Ok(())
        });
    }
}

/// Two rows in one kernel round in between as two kernels do.
#[test]
fn fused_rows_have_the_bits_of_single_ones() {
    for dev in devices() {
        each_row(|row, d, pool| {
            let hosts = operands(row, d, pool, &[pool.len()], &[]);
            let values: Vec<Value> = hosts.iter().map(|h| h.place(&dev, Lay::C)).collect();
            let at = Location::caller();
            let once = build::map(row, &values.iter().collect::<Vec<_>>(), at).map_err(|e| e.to_string())?;
            // The row once more on its own result, where the types allow.
            let mut again: Vec<Value> = values.clone();
            let place = again.len() - 1;
            if once.dtype() != again[place].dtype() {
                return Ok(());
            }
            again[place] = once.clone();
            let fused = build::map(row, &again.iter().collect::<Vec<_>>(), at).map_err(|e| e.to_string())?;
            drop((once, again));
            let fused = Host::read(&dev, &fused).map_err(|e| e.to_string())?;
            let first = build::map(row, &values.iter().collect::<Vec<_>>(), at).map_err(|e| e.to_string())?;
            let first = Host::read(&dev, &first).map_err(|e| e.to_string())?;
            let mut single = values.clone();
            single[place] = first.place(&dev, Lay::C);
            let single = build::map(row, &single.iter().collect::<Vec<_>>(), at).map_err(|e| e.to_string())?;
            let single = Host::read(&dev, &single).map_err(|e| e.to_string())?;
            let nan = |x: u64| d.is_float() && float(single.dtype, x).is_nan();
            match fused.bits.iter().zip(&single.bits).position(|(&a, &b)| a != b && !(nan(a) && nan(b))) {
                None => Ok(()),
                Some(i) => {
                    Err(format!("fused with itself, element {i}: {:#x} not {:#x}", fused.bits[i], single.bits[i]))
                }
            }
        });
    }
}
