//! Micro-kernels: a block of results in registers, one step for each k.

use super::code::Code;
use super::vector::{Plain, Vector};
use crate::dtype::DType;
use crate::ops::{Isa, prefetch};

/// What one step does with an element of each operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Combine {
    /// `acc + x * y`
    Dot,
    /// `acc + (x - y)^2`
    SquaredDifference,
    /// `acc + |x - y|`
    Difference,
    /// `max(acc, |x - y|)`
    MaxDifference,
}

trait Step {
    /// Whether rows of x may lie anywhere.
    const ANYWHERE: bool = false;
    unsafe fn step<V: Vector>(acc: V, x: V, y: V) -> V;
    unsafe fn merge<V: Vector>(whole: V, part: V) -> V;
    /// A step of a row of a block. By index, as all of the hottest loops: what makes a `zip` or a `map` of an array is no inline
    /// function, and a call at each step in programs that are built without optimising across units of code (`lto = "off"`).
    #[inline(always)]
    unsafe fn row<V: Vector, const C: usize>(acc: &mut [V; C], x: V, y: &[V; C]) {
        for c in 0..C {
            // SAFETY: the caller's.
            acc[c] = unsafe { Self::step(acc[c], x, y[c]) };
        }
    }
}

macro_rules! steps {
    ($($name:ident |$acc:ident, $x:ident, $y:ident| $step:expr, |$a:ident, $b:ident| $merge:expr $(, $more:item)?;)*) => {$(
        struct $name;
        impl Step for $name {
            #[inline(always)]
            unsafe fn step<V: Vector>($acc: V, $x: V, $y: V) -> V {
                // SAFETY: the caller's: the set is there.
                unsafe { $step }
            }
            #[inline(always)]
            unsafe fn merge<V: Vector>($a: V, $b: V) -> V {
                // SAFETY: the caller's.
                unsafe { $merge }
            }
            $($more)?
        }
    )*};
}

steps! {
    Dot |acc, x, y| x.fma(y, acc), |a, b| a.add(b), const ANYWHERE: bool = true;;
    Squared |acc, x, y| { let d = x.sub(y); d.fma(d, acc) }, |a, b| a.add(b),
        #[inline(always)]
        unsafe fn row<V: Vector, const C: usize>(acc: &mut [V; C], x: V, y: &[V; C]) {
            // SAFETY: the caller's.
            unsafe {
                // All subtractions before all multiply-adds: taken in turns, Zen 4 gives each kind one of its two ports.
                let mut d = *y;
                for d in &mut d {
                    *d = x.sub(*d);
                }
                for c in 0..C {
                    acc[c] = d[c].fma(d[c], acc[c]);
                }
            }
        };
    Absolute |acc, x, y| acc.add(x.sub(y).abs()), |a, b| a.add(b);
    Largest |acc, x, y| acc.max_abs(x.sub(y).abs()), |a, b| a.max_abs(b);
}

/// The rows of x of a block: where they are, and elements from row to row and from step to step. A packed panel is `[k][rows]`.
#[derive(Clone, Copy)]
pub struct Rows {
    /// The first.
    pub at: *const u8,
    /// From row to row.
    pub row: usize,
    /// From step to step.
    pub step: usize,
}

/// A block of results: `(k, x panel, y panel, elements from step to step of it, results, elements from row to row, add to what
/// is there, what to bring into the caches meanwhile, bytes from row to row of it)`. The x panel is packed unless [`Kernel::anywhere`]; a packed
/// y panel is `[k][columns]`.
///
/// # Safety
/// The panels hold `k` steps, the results all rows and columns of the block, and the machine has the set.
pub type Micro = unsafe fn(usize, Rows, *const u8, usize, *mut u8, usize, bool, *const u8, isize);

/// Steps of one row's block, of a segment that may be taken in parts: `(k, x, y, elements from step to step of it, chain,
/// results, whether the segment begins here, whether it ends, add to what is there)`. The chain waits for the next part.
///
/// # Safety
/// As [`Micro`]; the chain holds the columns of a block.
pub type Part = unsafe fn(usize, *const u8, *const u8, usize, *mut u8, *mut u8, bool, bool, bool);

/// How a block of results is made.
pub enum Run {
    /// By a micro-kernel, in registers; where its block is a single row, the same in parts.
    Micro(Micro, Option<Part>),
    /// By code, in L1.
    Code(Code),
}

/// What makes a block of results, and its size.
pub struct Kernel {
    /// How.
    pub run: Run,
    /// Rows of its block.
    pub rows: usize,
    /// Columns of its block.
    pub columns: usize,
    /// Whether it takes rows of x that are not packed.
    pub anywhere: bool,
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn block<V: Vector, S: Step, const R: usize, const C: usize>(
    k: usize,
    rows: Rows,
    y: *const u8,
    step: usize,
    out: *mut u8,
    pitch: usize,
    add: bool,
    ahead: *const u8,
    ahead_row: isize,
) {
    let (mut x, mut y, out) = (rows.at as *const V::Elem, y as *const V::Elem, out as *mut V::Elem);
    // SAFETY: the contract of `Micro`.
    unsafe {
        let mut acc = [[V::zero(); C]; R];
        // Results lie rows apart: they come while the sums are made.
        for r in 0..R {
            let row = ahead.wrapping_offset(r as isize * ahead_row);
            prefetch(row);
            prefetch(row.wrapping_add((C * V::LANES - 1) * size_of::<V::Elem>()));
        }
        let panel = |y: *const V::Elem| {
            let mut ys = [V::zero(); C];
            for (c, v) in ys.iter_mut().enumerate() {
                *v = V::load(y.add(c * V::LANES));
            }
            ys
        };
        if S::ANYWHERE && (rows.row, rows.step) != (1, R) {
            for _ in 0..k {
                let ys = panel(y);
                for (r, row) in acc.iter_mut().enumerate() {
                    S::row(row, V::splat(x.wrapping_add(r * rows.row)), &ys);
                }
                x = x.wrapping_add(rows.step);
                y = y.wrapping_add(step);
            }
        } else {
            for _ in 0..k {
                let ys = panel(y);
                for (r, row) in acc.iter_mut().enumerate() {
                    S::row(row, V::splat(x.add(r)), &ys);
                }
                x = x.add(R);
                y = y.wrapping_add(step);
            }
        }
        for (r, row) in acc.iter().enumerate() {
            for (c, &a) in row.iter().enumerate() {
                let p = out.add(r * pitch + c * V::LANES);
                let v = if add { S::merge(V::load(p), a) } else { a };
                v.store(p);
            }
        }
    }
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn part<V: Vector, S: Step, const C: usize>(
    k: usize,
    x: *const u8,
    y: *const u8,
    step: usize,
    chain: *mut u8,
    out: *mut u8,
    begins: bool,
    ends: bool,
    add: bool,
) {
    let (x, mut y) = (x as *const V::Elem, y as *const V::Elem);
    let (chain, out) = (chain as *mut V::Elem, out as *mut V::Elem);
    // SAFETY: the contract of `Part`.
    unsafe {
        let mut acc = [V::zero(); C];
        if !begins {
            for (c, a) in acc.iter_mut().enumerate() {
                *a = V::load(chain.add(c * V::LANES));
            }
        }
        for i in 0..k {
            let xv = V::splat(x.add(i));
            for (c, a) in acc.iter_mut().enumerate() {
                *a = S::step(*a, xv, V::load(y.add(c * V::LANES)));
            }
            y = y.wrapping_add(step);
        }
        for (c, &a) in acc.iter().enumerate() {
            let (p, q) = (chain.add(c * V::LANES), out.add(c * V::LANES));
            match (ends, add) {
                (false, _) => a.store(p),
                (true, false) => a.store(q),
                (true, true) => S::merge(V::load(q), a).store(q),
            }
        }
    }
}

macro_rules! kernel {
    // In parentheses a 1 is for the second rule.
    ($(#[$feature:meta])? $v:ty, $step:ty, 1 x $vectors:literal) => {{
        #[allow(clippy::too_many_arguments)]
        $(#[$feature])?
        unsafe fn in_parts(k: usize, x: *const u8, y: *const u8, step: usize, chain: *mut u8, out: *mut u8, begins: bool, ends: bool, add: bool) {
            // SAFETY: the caller's.
            unsafe { part::<$v, $step, $vectors>(k, x, y, step, chain, out, begins, ends, add) }
        }
        kernel!($(#[$feature])? $v, $step, (1) x $vectors, Some(in_parts))
    }};
    ($(#[$feature:meta])? $v:ty, $step:ty, $rows:tt x $vectors:literal $(, $part:expr)?) => {{
        #[allow(clippy::too_many_arguments)]
        $(#[$feature])?
        unsafe fn run(k: usize, x: Rows, y: *const u8, step: usize, out: *mut u8, pitch: usize, add: bool, ahead: *const u8, ahead_row: isize) {
            // SAFETY: the caller's.
            unsafe { block::<$v, $step, { $rows }, $vectors>(k, x, y, step, out, pitch, add, ahead, ahead_row) }
        }
        let part: Option<Part> = None$(.or($part))?;
        Kernel { run: Run::Micro(run, part), rows: $rows, columns: $vectors * <$v as Vector>::LANES, anywhere: <$step as Step>::ANYWHERE }
    }};
}

macro_rules! kernels {
    ($(#[$feature:meta])? $combine:ident, $dtype:ident, $f32:ty, $f64:ty, $shape:tt x $vectors:literal) => {
        match ($combine, $dtype) {
            (Combine::Dot, DType::F32) => kernel!($(#[$feature])? $f32, Dot, $shape x $vectors),
            (Combine::SquaredDifference, DType::F32) => kernel!($(#[$feature])? $f32, Squared, $shape x $vectors),
            (Combine::Difference, DType::F32) => kernel!($(#[$feature])? $f32, Absolute, $shape x $vectors),
            (Combine::MaxDifference, DType::F32) => kernel!($(#[$feature])? $f32, Largest, $shape x $vectors),
            (Combine::Dot, _) => kernel!($(#[$feature])? $f64, Dot, $shape x $vectors),
            (Combine::SquaredDifference, _) => kernel!($(#[$feature])? $f64, Squared, $shape x $vectors),
            (Combine::Difference, _) => kernel!($(#[$feature])? $f64, Absolute, $shape x $vectors),
            (Combine::MaxDifference, _) => kernel!($(#[$feature])? $f64, Largest, $shape x $vectors),
        }
    };
}

/// Whether vectors of 512 bits are computed as two halves, as AMD's Zen 4 does. There, a subtraction and a multiply-add of whole ones
/// do not overlap well: 6 rows of 2 halves reach 90 % of the ports' limit, every shape of whole vectors 62 to 76 %.
#[cfg(target_arch = "x86_64")]
fn halves() -> bool {
    // SAFETY: every x86-64 has the instruction; older compilers ask for the word.
    #[allow(unused_unsafe)]
    let (vendor, version) = unsafe { (std::arch::x86_64::__cpuid(0).ebx, std::arch::x86_64::__cpuid(1).eax) };
    let family = (version >> 8 & 0xf) + (version >> 20 & 0xff);
    vendor == u32::from_le_bytes(*b"Auth") && family == 0x19
}

/// Rows that are few enough for a block of 8 of them to be better than one of 12, where it leaves less of its last block empty.
#[cfg(target_arch = "x86_64")]
const FEW: usize = 128;

/// The kernel for a combine on f32 or f64 of `n` rows; for one, a kernel whose block is a single row.
pub fn kernel(combine: Combine, dtype: DType, isa: Isa, n: usize) -> Kernel {
    #[cfg(target_arch = "x86_64")]
    let isa = match isa {
        Isa::Avx512 if combine == Combine::SquaredDifference && n != 1 && halves() => Isa::Avx2,
        isa => isa,
    };
    kernel_of(combine, dtype, isa, n)
}

/// As [`kernel`], of this instruction set whatever the processor.
pub(super) fn kernel_of(combine: Combine, dtype: DType, isa: Isa, n: usize) -> Kernel {
    let one = n == 1;
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::*;
        match isa {
            Isa::Avx512 if one => {
                return kernels!(#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx2,fma")] combine, dtype, __m512, __m512d, 1 x 2);
            }
            Isa::Avx2 if one => {
                return kernels!(#[target_feature(enable = "avx2,fma")] combine, dtype, __m256, __m256d, 1 x 4);
            }
            Isa::Avx512 if n <= FEW && n.next_multiple_of(8) < n.next_multiple_of(12) => {
                return kernels!(#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx2,fma")] combine, dtype, __m512, __m512d, 8 x 2);
            }
            Isa::Avx512 => {
                return kernels!(#[target_feature(enable = "avx512f,avx512dq,avx512vl,avx2,fma")] combine, dtype, __m512, __m512d, 12 x 2);
            }
            Isa::Avx2 => {
                return kernels!(#[target_feature(enable = "avx2,fma")] combine, dtype, __m256, __m256d, 6 x 2);
            }
            Isa::Portable => {}
        }
    }
    let _ = isa;
    if one {
        return kernels!(combine, dtype, Plain<f32>, Plain<f64>, 1 x 1);
    }
    kernels!(combine, dtype, Plain<f32>, Plain<f64>, 4 x 1)
}
