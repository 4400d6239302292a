//! Matrices times vectors: `y = alpha op(A) x + beta y`.

use crate::driver::{Access, Fault, submit};
use crate::gemm::{Matrix, Number, Scalar, Type};
use crate::handle::{Handle, Outcome, Status, note};

/// A vector with a step between its elements; a negative step starts at the end.
#[derive(Clone, Copy, Debug)]
pub struct Vector {
    pub at: u64,
    pub step: i32,
}

impl Vector {
    fn place(&self, i: usize, len: usize, of: Type) -> u64 {
        let (i, last, step) = (i as i64, len as i64 - 1, i64::from(self.step));
        let element = if step < 0 { (i - last) * step } else { i * step };
        self.at + (element * of.size() as i64) as u64
    }

    fn read<T: Number>(&self, access: &Access, len: usize) -> Result<Vec<T>, Fault> {
        let one = |i| Ok(T::decode(&access.read(self.place(i, len, T::TYPE), T::TYPE.size())?, T::TYPE)[0]);
        (0..len).map(one).collect()
    }

    fn write<T: Number>(&self, access: &Access, values: &[T]) -> Result<(), Fault> {
        let one = |(i, v): (usize, &T)| {
            access.write(self.place(i, values.len(), T::TYPE), &T::encode(std::slice::from_ref(v), T::TYPE))
        };
        values.iter().enumerate().try_for_each(one)
    }
}

/// A product.
#[derive(Clone, Copy, Debug)]
pub struct Gemv {
    pub op: i32,
    /// Rows and columns of A as it is stored.
    pub sizes: [i32; 2],
    pub alpha: *const u8,
    pub a: Matrix,
    pub x: Vector,
    pub beta: *const u8,
    pub y: Vector,
}

impl Gemv {
    /// Checks the arguments and gives the stream the product.
    pub fn submit<T: Number>(self, handle: &Handle) -> Outcome {
        let [m, n] = self.sizes;
        let bad = m < 0 || n < 0 || self.a.ld < m.max(1) || self.x.step == 0 || self.y.step == 0;
        if bad || !(0..=2).contains(&self.op) {
            return Err(Status::INVALID_VALUE);
        }
        let (alpha, beta) = (Scalar::new(self.alpha, T::TYPE, handle)?, Scalar::new(self.beta, T::TYPE, handle)?);
        if m == 0 || n == 0 {
            return Ok(());
        }
        note(handle, if T::TYPE == Type::F64 { 70 } else { 68 }, T::TYPE == Type::F32, false);
        let run = move |access: &Access| self.run::<T>(access, alpha, beta);
        if submit(handle.stream, run) { Ok(()) } else { Err(Status::EXECUTION_FAILED) }
    }

    fn run<T: Number>(self, access: &Access, alpha: Scalar, beta: Scalar) -> Result<(), Fault> {
        let [m, n] = self.sizes.map(|s| s as usize);
        let (alpha, beta): (T, T) = (alpha.get(access)?, beta.get(access)?);
        let len = if self.op == 0 { m } else { n };
        let mut y = vec![T::default(); len];
        if !alpha.is_zero() {
            let a: Vec<T> = self.a.read(access, 0, m, n)?;
            let x: Vec<T> = self.x.read(access, m + n - len)?;
            for (j, column) in a.chunks(m).enumerate() {
                for (i, &a) in column.iter().enumerate() {
                    let (to, from) = if self.op == 0 { (i, j) } else { (j, i) };
                    y[to] = y[to] + a * x[from];
                }
            }
        }
        y.iter_mut().for_each(|v| *v = alpha * *v);
        if !beta.is_zero() {
            let old: Vec<T> = self.y.read(access, len)?;
            y.iter_mut().zip(old).for_each(|(v, o)| *v = *v + beta * o);
        }
        self.y.write(access, &y)
    }
}
