//! Matrix products of f32 and f64, by `matrixmultiply`, rows or columns of the result shared among threads.

use super::threads::Threads;
use crate::backend::Args;
use crate::dtype::DType;
use crate::error::Result;
use crate::kernel::GemmSpec;

/// Multiply-adds worth a second thread.
const SERIAL: usize = 1 << 18;

/// Runs a product.
pub fn run(s: &GemmSpec, threads: &Threads, args: &Args<'_>) -> Result<()> {
    let batches: usize = s.batch.iter().product();
    let r = s.batch.len();
    let work = s.m * s.n * s.k.max(1);
    let serial = work * batches <= SERIAL;
    // A product is cut only where batches alone do not feed the threads: each part packs its operands anew.
    let want = if serial || batches >= 2 * threads.count() { 1 } else { threads.count() };
    let rows = s.m >= s.n;
    let parts = want.min(if rows { s.m.div_ceil(8) } else { s.n.div_ceil(8) }).max(1);
    threads.spread(batches * parts, serial, &|next| {
        while let Some(u) = next() {
            let (mut b, part) = (u / parts, u % parts);
            let mut at = [0isize; 3];
            for axis in (0..r).rev() {
                let i = (b % s.batch[axis]) as isize;
                b /= s.batch[axis];
                for (a, o) in at.iter_mut().zip(&s.operands) {
                    *a += i * o.strides[axis];
                }
            }
            let cut = |n: usize| {
                let per = n.div_ceil(parts).next_multiple_of(8);
                ((part * per).min(n), ((part + 1) * per).min(n))
            };
            let (i0, i1) = if rows { cut(s.m) } else { (0, s.m) };
            let (j0, j1) = if rows { (0, s.n) } else { cut(s.n) };
            let [a, b, c] = &s.operands;
            at[0] += a.offset + i0 as isize * a.strides[r];
            at[1] += b.offset + j0 as isize * b.strides[r + 1];
            at[2] += c.offset + i0 as isize * c.strides[r] + j0 as isize * c.strides[r + 1];
            let size = s.dtype.size() as isize;
            let p: Vec<usize> = (0..3).map(|o| args.bases[o].wrapping_add_signed(at[o] * size)).collect();
            let (m, n) = (i1 - i0, j1 - j0);
            let st = |o: &crate::kernel::Bind| (o.strides[r], o.strides[r + 1]);
            let ((ra, ca), (rb, cb), (rc, cc)) = (st(a), st(b), st(c));
            if m == 0 || n == 0 {
                continue;
            }
            // SAFETY: the plan bound the operands to buffers that cover these extents and strides; parts of the
            // result do not overlap.
            unsafe {
                if s.dtype == DType::F32 {
                    let (x, y, z) = (p[0] as *const f32, p[1] as *const f32, p[2] as *mut f32);
                    matrixmultiply::sgemm(m, s.k, n, 1.0, x, ra, ca, y, rb, cb, 0.0, z, rc, cc);
                } else {
                    let (x, y, z) = (p[0] as *const f64, p[1] as *const f64, p[2] as *mut f64);
                    matrixmultiply::dgemm(m, s.k, n, 1.0, x, ra, ca, y, rb, cb, 0.0, z, rc, cc);
                }
            }
        }
    })
}
