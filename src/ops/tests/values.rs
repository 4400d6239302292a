//! Test operands of any dtype, and how near is near enough.

use crate::dtype::DType;
use crate::ops::OpRef;
use half::{bf16, f16};

/// A buffer of one dtype, followed by guard bytes.
#[derive(Clone)]
pub struct Values {
    pub dtype: DType,
    n: usize,
    words: Vec<u64>,
}

const GUARD: u8 = 0xa5;

impl Values {
    /// What no loop has written to yet.
    pub fn filled(dtype: DType, n: usize) -> Values {
        let words = vec![u64::from_ne_bytes([GUARD; 8]); (n * dtype.size()).div_ceil(8) + 8];
        Values { dtype, n, words }
    }

    pub fn zeros(dtype: DType, n: usize) -> Values {
        let mut values = Values::filled(dtype, n);
        (0..n).for_each(|i| values.set_bits(i, 0));
        values
    }

    pub fn of_bits(dtype: DType, bits: impl IntoIterator<Item = u64>) -> Values {
        let bits: Vec<u64> = bits.into_iter().collect();
        let mut values = Values::filled(dtype, bits.len());
        bits.iter().enumerate().for_each(|(i, &b)| values.set_bits(i, b));
        values
    }

    pub fn of_ints(dtype: DType, ints: impl IntoIterator<Item = i128>) -> Values {
        Values::of_bits(dtype, ints.into_iter().map(|x| if dtype == DType::Bool { (x & 1) as u64 } else { x as u64 }))
    }

    pub fn of_floats(dtype: DType, floats: impl IntoIterator<Item = f64>) -> Values {
        Values::of_bits(
            dtype,
            floats.into_iter().map(|x| match dtype {
                DType::F16 => u64::from(f16::from_f64_const(x).to_bits()),
                DType::BF16 => u64::from(bf16::from_f64_const(x).to_bits()),
                DType::F32 => u64::from((x as f32).to_bits()),
                DType::F64 => x.to_bits(),
                dtype => panic!("{dtype} is no float"),
            }),
        )
    }

    pub fn len(&self) -> usize {
        self.n
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: any u64 is eight bytes.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast(), self.words.len() * 8) }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and any eight bytes are a u64.
        unsafe { std::slice::from_raw_parts_mut(self.words.as_mut_ptr().cast(), self.words.len() * 8) }
    }

    fn set_bits(&mut self, i: usize, bits: u64) {
        let size = self.dtype.size();
        self.bytes_mut()[i * size..][..size].copy_from_slice(&bits.to_le_bytes()[..size]);
    }

    pub fn set_int(&mut self, i: usize, x: i128) {
        let bits = if self.dtype == DType::Bool { (x & 1) as u64 } else { x as u64 };
        self.set_bits(i, bits);
    }

    pub fn bits(&self, i: usize) -> u64 {
        let size = self.dtype.size();
        let mut bits = [0; 8];
        bits[..size].copy_from_slice(&self.bytes()[i * size..][..size]);
        u64::from_le_bytes(bits)
    }

    pub fn int(&self, i: usize) -> i128 {
        let bits = self.bits(i);
        match self.dtype {
            DType::I8 => i128::from(bits as i8),
            DType::I16 => i128::from(bits as i16),
            DType::I32 => i128::from(bits as i32),
            DType::I64 => i128::from(bits as i64),
            _ => i128::from(bits),
        }
    }

    /// The value, of a float exactly.
    pub fn float(&self, i: usize) -> f64 {
        let bits = self.bits(i);
        match self.dtype {
            DType::F16 => f16::from_bits(bits as u16).to_f64_const(),
            DType::BF16 => bf16::from_bits(bits as u16).to_f64_const(),
            DType::F32 => f64::from(f32::from_bits(bits as u32)),
            DType::F64 => f64::from_bits(bits),
            _ => self.int(i) as f64,
        }
    }

    pub fn show(&self, i: usize) -> String {
        if self.dtype.is_float() { format!("{:e}", self.float(i)) } else { self.int(i).to_string() }
    }

    pub fn head(&self, n: usize) -> Values {
        Values::of_bits(self.dtype, (0..n).map(|i| self.bits(i)))
    }

    pub fn same_bits(&self, other: &Values) -> bool {
        self.n == other.n && (0..self.n).all(|i| self.bits(i) == other.bits(i))
    }

    pub fn same_but_nan(&self, other: &Values) -> bool {
        let nan = |v: &Values, i| v.dtype.is_float() && v.float(i).is_nan();
        (0..self.n).all(|i| self.bits(i) == other.bits(i) || nan(self, i) && nan(other, i))
    }

    pub fn guard_is_intact(&self) -> bool {
        self.bytes()[self.n * self.dtype.size()..].iter().all(|&b| b == GUARD)
    }
}

/// A small generator, so that failures repeat.
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    /// In 0.0..1.0.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The values at which things go wrong.
pub fn edges(dtype: DType) -> Values {
    use DType::{BF16, F16, F32, F64};
    match dtype {
        DType::Bool => Values::of_ints(dtype, [0, 1]),
        F16 | BF16 | F32 | F64 => {
            let (tiny, max): (f64, f64) = match dtype {
                F16 => (f16::MIN_POSITIVE.into(), f16::MAX.into()),
                BF16 => (bf16::MIN_POSITIVE.into(), bf16::MAX.into()),
                F32 => (f32::MIN_POSITIVE.into(), f32::MAX.into()),
                _ => (f64::MIN_POSITIVE, f64::MAX),
            };
            let positive =
                [0.0, 1.0, 0.5, 1.5, 2.5, 3.0, 7.0, 255.0, 4095.5, 1e5, tiny, tiny / 8.0, max, f64::INFINITY];
            let all = positive.into_iter().chain(positive.map(|x| -x)).chain([f64::NAN]);
            Values::of_floats(dtype, all)
        }
        _ => {
            let bits = dtype.size() as u32 * 8;
            let top = 1i128 << (bits - 1);
            let near = [0, 1, 2, 3, 5, 7, 8, 9, 31, 32, 63, 64, 100];
            let all = near.into_iter().flat_map(|x| [x, -x]);
            Values::of_ints(dtype, all.chain([top - 1, top, top + 1, -top]))
        }
    }
}

/// Operands for a row: every combination of edges, then random ones of its range.
pub fn operands(row: OpRef, dtype: DType) -> Vec<Values> {
    let arity = row.arity as usize;
    let edge: Vec<_> = (0..arity).map(|i| edges(row.operand(i, dtype))).collect();
    let combinations: usize = edge.iter().map(Values::len).product();
    let stride = if arity == 3 { 7 } else { 1 }; // of the combinations of three, some
    let mut random = Random(row.name.len() as u64);
    (0..arity)
        .map(|i| {
            let before: usize = edge[..i].iter().map(Values::len).product();
            let bits = (0..combinations).step_by(stride).map(|c| edge[i].bits(c / before % edge[i].len()));
            let bits: Vec<u64> = bits.collect();
            let drawn = draw(row, i, dtype, &mut random, 3000);
            Values::of_bits(row.operand(i, dtype), bits.into_iter().chain((0..drawn.len()).map(|i| drawn.bits(i))))
        })
        .collect()
}

fn draw(row: OpRef, i: usize, dtype: DType, random: &mut Random, n: usize) -> Values {
    let dtype = row.operand(i, dtype);
    if dtype.is_float() {
        let range = row.range.get(i).or(row.range.last()).expect("a row has a range");
        return Values::of_floats(dtype, (0..n).map(|_| range.start + random.unit() * (range.end - range.start)));
    }
    Values::of_ints(
        dtype,
        (0..n).map(|_| {
            let bits = random.bits();
            i128::from((bits as i64) >> (bits & 63)) // of all magnitudes
        }),
    )
}

/// Whether `got` is `want` within `bound` ulp; with a bound of 0, `want` rounded.
pub fn close(dtype: DType, got: f64, want: f64, bound: f64) -> Result<(), String> {
    let (rounded, ulp) = match dtype {
        DType::F32 => {
            let rounded = want as f32;
            let ulp = rounded.abs().next_up() - rounded.abs();
            (f64::from(rounded), f64::from(ulp))
        }
        _ => (want, want.abs().next_up() - want.abs()),
    };
    if got == rounded || got.is_nan() && want.is_nan() {
        return Ok(());
    }
    // The f64 references err, too.
    let slack = if dtype == DType::F64 && bound > 0.0 { 1.0 } else { 0.0 };
    let error = (got - want).abs() / ulp;
    if bound > 0.0 && error <= bound + slack {
        return Ok(());
    }
    Err(format!("{got:e} not {rounded:e}: {error:.2} ulp of {bound}"))
}
