//! Products of matrices: `C = alpha op(A) op(B) + beta C`, column-major, alone or many.

use half::{bf16, f16};

use crate::driver::{Access, Fault, submit};
use crate::handle::{Handle, Outcome, Status, note};

/// The types of elements that are played.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    F16,
    Bf16,
    F32,
    F64,
}

impl Type {
    /// From a `cudaDataType_t`.
    pub fn new(value: i32) -> Result<Type, Status> {
        match value {
            0 => Ok(Type::F32),
            1 => Ok(Type::F64),
            2 => Ok(Type::F16),
            14 => Ok(Type::Bf16),
            _ => Err(Status::NOT_SUPPORTED),
        }
    }

    pub fn size(self) -> usize {
        match self {
            Type::F16 | Type::Bf16 => 2,
            Type::F32 => 4,
            Type::F64 => 8,
        }
    }
}

/// A number as sums are made of: f32 or f64.
pub trait Number: Copy + Default + 'static + std::ops::Mul<Output = Self> + std::ops::Add<Output = Self> {
    fn decode(bytes: &[u8], of: Type) -> Vec<Self>;
    fn encode(values: &[Self], of: Type) -> Vec<u8>;
    /// From a scalar, which has the sums' type.
    fn scalar(bits: Scalar) -> Self;
    fn is_zero(self) -> bool;
    const TYPE: Type;
}

/// `alpha` or `beta`: its value, or where it lies on the device.
#[derive(Clone, Copy, Debug)]
pub enum Scalar {
    Value(f64),
    Device(u64),
}

impl Scalar {
    /// What a pointer argument means under a handle's pointer mode.
    pub fn new(pointer: *const u8, of: Type, handle: &Handle) -> Result<Scalar, Status> {
        if pointer.is_null() {
            return Err(Status::INVALID_VALUE);
        }
        if handle.pointers == 1 {
            return Ok(Scalar::Device(pointer as u64));
        }
        // SAFETY: in this mode the caller passes a pointer to a scalar of the sums' type on the host.
        Ok(Scalar::Value(unsafe {
            match of {
                Type::F64 => pointer.cast::<f64>().read_unaligned(),
                _ => pointer.cast::<f32>().read_unaligned().into(),
            }
        }))
    }

    /// The value, read from the device where it lies there.
    pub fn get<T: Number>(self, access: &Access) -> Result<T, Fault> {
        match self {
            Scalar::Value(_) => Ok(T::scalar(self)),
            Scalar::Device(at) => Ok(T::decode(&access.read(at, T::TYPE.size())?, T::TYPE)[0]),
        }
    }
}

macro_rules! number {
    ($ty:ident, $of:expr) => {
        impl Number for $ty {
            fn decode(bytes: &[u8], of: Type) -> Vec<$ty> {
                fn each<const N: usize, T>(bytes: &[u8], one: impl Fn([u8; N]) -> T) -> Vec<T> {
                    bytes.as_chunks::<N>().0.iter().map(|b| one(*b)).collect()
                }
                match of {
                    Type::F16 => each(bytes, |b| f16::from_le_bytes(b).to_f32() as $ty),
                    Type::Bf16 => each(bytes, |b| bf16::from_le_bytes(b).to_f32() as $ty),
                    Type::F32 => each(bytes, |b| f32::from_le_bytes(b) as $ty),
                    Type::F64 => each(bytes, |b| f64::from_le_bytes(b) as $ty),
                }
            }

            fn encode(values: &[$ty], of: Type) -> Vec<u8> {
                match of {
                    Type::F16 => values.iter().flat_map(|&v| f16::from_f32(v as f32).to_le_bytes()).collect(),
                    Type::Bf16 => values.iter().flat_map(|&v| bf16::from_f32(v as f32).to_le_bytes()).collect(),
                    Type::F32 => values.iter().flat_map(|&v| (v as f32).to_le_bytes()).collect(),
                    Type::F64 => values.iter().flat_map(|&v| f64::from(v).to_le_bytes()).collect(),
                }
            }

            fn scalar(value: Scalar) -> $ty {
                match value {
                    Scalar::Value(v) => v as $ty,
                    Scalar::Device(_) => 0.0,
                }
            }

            fn is_zero(self) -> bool {
                self == 0.0
            }

            const TYPE: Type = $of;
        }
    };
}

number!(f32, Type::F32);
number!(f64, Type::F64);

/// A matrix, or a batch of them.
#[derive(Clone, Copy, Debug)]
pub struct Matrix {
    pub at: u64,
    pub of: Type,
    pub ld: i32,
    /// Elements from one of a batch to the next.
    pub stride: i64,
}

impl Matrix {
    /// One of the batch, `rows` by `cols`, packed.
    pub fn read<T: Number>(&self, access: &Access, batch: i64, rows: usize, cols: usize) -> Result<Vec<T>, Fault> {
        if rows == 0 || cols == 0 {
            return Ok(Vec::new());
        }
        let (size, ld) = (self.of.size(), self.ld as usize);
        if ld == rows {
            return Ok(T::decode(&access.read(self.start(batch), rows * cols * size)?, self.of));
        }
        // What lies between the columns is not read: it may be anything.
        let column = |j| access.read(self.start(batch) + (j * ld * size) as u64, rows * size);
        let bytes = (0..cols).map(column).collect::<Result<Vec<_>, Fault>>()?.concat();
        Ok(T::decode(&bytes, self.of))
    }

    fn write<T: Number>(&self, access: &Access, batch: i64, rows: usize, values: &[T]) -> Result<(), Fault> {
        let (size, ld) = (self.of.size(), self.ld as usize);
        let bytes = T::encode(values, self.of);
        if ld == rows {
            return access.write(self.start(batch), &bytes);
        }
        // What lies between the columns stays as it is.
        let mut columns = bytes.chunks(rows * size).enumerate();
        columns.try_for_each(|(j, c)| access.write(self.start(batch) + (j * ld * size) as u64, c))
    }

    fn start(&self, batch: i64) -> u64 {
        self.at.wrapping_add_signed(batch * self.stride * self.of.size() as i64)
    }
}

/// A product.
#[derive(Clone, Copy, Debug)]
pub struct Gemm {
    /// `cublasOperation_t` of A and B.
    pub ops: [i32; 2],
    /// m, n and k.
    pub sizes: [i32; 3],
    pub alpha: *const u8,
    pub a: Matrix,
    pub b: Matrix,
    pub beta: *const u8,
    pub c: Matrix,
    pub batch: i32,
    /// `cublasComputeType_t`.
    pub compute: i32,
}

/// `cublasComputeType_t` for sums in f32 and in f64.
pub const COMPUTE_32F: i32 = 68;
pub const COMPUTE_64F: i32 = 70;

/// The rows and columns of a matrix as it is stored, of which `op` is `rows` by `cols`.
fn stored(op: i32, rows: i32, cols: i32) -> Result<(i32, i32), Status> {
    match op {
        0 => Ok((rows, cols)),
        1 | 2 => Ok((cols, rows)),
        _ => Err(Status::INVALID_VALUE),
    }
}

impl Gemm {
    /// Checks the arguments and gives the stream the product.
    pub fn submit(self, handle: &Handle) -> Outcome {
        let [m, n, k] = self.sizes;
        let (a, b) = (stored(self.ops[0], m, k)?, stored(self.ops[1], k, n)?);
        let fits = |x: &Matrix, rows: i32| x.ld >= rows.max(1);
        if m < 0 || n < 0 || k < 0 || self.batch < 0 {
            return Err(Status::INVALID_VALUE);
        }
        if !fits(&self.a, a.0) || !fits(&self.b, b.0) || !fits(&self.c, m) {
            return Err(Status::INVALID_VALUE);
        }
        let sums = self.sums()?;
        let (alpha, beta) = (Scalar::new(self.alpha, sums, handle)?, Scalar::new(self.beta, sums, handle)?);
        if m == 0 || n == 0 || self.batch == 0 {
            return Ok(());
        }
        let odd = |x: &Matrix| x.at == 0 || !x.at.is_multiple_of(x.of.size() as u64);
        if odd(&self.c) || k > 0 && (odd(&self.a) || odd(&self.b)) {
            return Err(Status::INVALID_VALUE);
        }
        // cuBLAS leaves this undefined; here it is found.
        let reach = i64::from(self.c.ld) * i64::from(n - 1) + i64::from(m);
        if self.batch > 1 && self.c.stride.abs() < reach {
            eprintln!("softcuda: the matrices C of a batch overlap: {reach} elements each, {} apart", self.c.stride);
            return Err(Status::INVALID_VALUE);
        }
        let half = self.a.of.size() == 2;
        note(handle, self.compute, self.a.of == Type::F32, half);
        let run = move |access: &Access| match sums {
            Type::F64 => self.run::<f64>(access, alpha, beta),
            _ => self.run::<f32>(access, alpha, beta),
        };
        if submit(handle.stream, run) { Ok(()) } else { Err(Status::EXECUTION_FAILED) }
    }

    /// The type of the sums, where cuBLAS has such a product.
    fn sums(&self) -> Result<Type, Status> {
        let (a, b, c) = (self.a.of, self.b.of, self.c.of);
        let known = match self.compute {
            68 | 69 => a == b && a != Type::F64 && (c == a || c == Type::F32),
            // f16, bf16 and TF32 inside of a product of f32.
            74 | 75 | 77 => [a, b, c] == [Type::F32; 3],
            70 | 71 => [a, b, c] == [Type::F64; 3],
            _ => false,
        };
        match known {
            true if self.compute >= 70 && self.compute <= 71 => Ok(Type::F64),
            true => Ok(Type::F32),
            false => Err(Status::NOT_SUPPORTED),
        }
    }

    fn run<T: Number>(self, access: &Access, alpha: Scalar, beta: Scalar) -> Result<(), Fault> {
        let (alpha, beta): (T, T) = (alpha.get(access)?, beta.get(access)?);
        let [m, n, k] = self.sizes.map(|s| s as usize);
        for batch in 0..i64::from(self.batch) {
            let mut sums = vec![T::default(); m * n];
            // As in cuBLAS, operands that no result depends on are not read.
            if k > 0 && !alpha.is_zero() {
                let a = operand(&self.a, access, batch, self.ops[0], m, k)?;
                let b = operand(&self.b, access, batch, self.ops[1], k, n)?;
                product(&a, &b, &mut sums, m, k);
            }
            sums.iter_mut().for_each(|s| *s = alpha * *s);
            if !beta.is_zero() {
                let old: Vec<T> = self.c.read(access, batch, m, n)?;
                sums.iter_mut().zip(old).for_each(|(s, c)| *s = *s + beta * c);
            }
            self.c.write(access, batch, m, &sums)?;
        }
        Ok(())
    }
}

/// `op` of one of a batch: `rows` by `cols`, packed by columns.
fn operand<T: Number>(
    x: &Matrix,
    access: &Access,
    batch: i64,
    op: i32,
    rows: usize,
    cols: usize,
) -> Result<Vec<T>, Fault> {
    if op == 0 {
        return x.read(access, batch, rows, cols);
    }
    let stored = x.read::<T>(access, batch, cols, rows)?;
    Ok((0..rows * cols).map(|i| stored[i / rows + i % rows * cols]).collect())
}

/// Adds `a b` to `sums`, in runs of 256 terms.
fn product<T: Number>(a: &[T], b: &[T], sums: &mut [T], m: usize, k: usize) {
    for (column, b) in sums.chunks_mut(m).zip(b.chunks(k)) {
        for (a, b) in a.chunks(m * 256).zip(b.chunks(256)) {
            let mut part = vec![T::default(); m];
            for (a, &b) in a.chunks(m).zip(b) {
                part.iter_mut().zip(a).for_each(|(p, &a)| *p = *p + a * b);
            }
            column.iter_mut().zip(part).for_each(|(c, p)| *c = *c + p);
        }
    }
}
