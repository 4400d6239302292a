//! The k smallest or largest elements of rows in memory: one walk over a row. What is better than the worst of the k best so far
//! is noted; when enough is, the k best of it stay.

use super::threads::Threads;
use crate::backend::Args;
use crate::dtype::{DType, Element};
use crate::error::Result;
use crate::kernel::TopKSpec;
use crate::ops::Isa;
use half::{bf16, f16};
use std::cmp::Ordering;

/// Elements looked at before one is noted.
const BLOCK: usize = 64;
/// Elements looked at again where one of a block is better.
const PART: usize = 16;
/// Elements worth a second thread.
const SERIAL: usize = 1 << 15;

/// A compiled selection.
pub struct TopK {
    spec: TopKSpec,
    row: Row,
}

/// Selects in one row: `(spec, first element, first index)`.
type Row = unsafe fn(&TopKSpec, *const u8, *mut i64);

/// An element as it is compared.
trait Key: Copy + PartialOrd {
    /// Whether it comes after all others.
    fn is_last(self) -> bool;
}

macro_rules! keys {
    ($($t:ty),*) => {$(
        impl Key for $t {
            #[inline(always)]
            fn is_last(self) -> bool {
                #[allow(clippy::eq_op)] // NaN
                { self != self }
            }
        }
    )*};
}

keys!(bool, i8, i16, i32, i64, u8, u16, u32, u64, f32, f64);

/// Whether `a` is better than `b`, neither NaN.
#[inline(always)]
fn better<K: Key, const LARGEST: bool>(a: K, b: K) -> bool {
    if LARGEST { a > b } else { a < b }
}

/// Whether one of these is better than `w`.
#[inline(always)]
fn any<K: Key, const LARGEST: bool>(block: &[K], w: K) -> bool {
    block.iter().fold(0, |any, &v| any | u32::from(better::<K, LARGEST>(v, w))) != 0
}

/// What is best first: the order of results.
fn order<K: Key, const LARGEST: bool>(a: &(K, i64), b: &(K, i64)) -> Ordering {
    let values = match (a.0.is_last(), b.0.is_last()) {
        (false, false) if better::<K, LARGEST>(a.0, b.0) => Ordering::Less,
        (false, false) if better::<K, LARGEST>(b.0, a.0) => Ordering::Greater,
        (x, y) => x.cmp(&y),
    };
    values.then(a.1.cmp(&b.1))
}

/// The best of a row so far: at least the `k` best, in no order.
struct Best<K> {
    k: usize,
    room: usize,
    noted: Vec<(K, i64)>,
    /// The worst of the `k` best, once there are more.
    worst: Option<K>,
}

impl<K: Key> Best<K> {
    #[inline(always)]
    fn note<const LARGEST: bool>(&mut self, v: K, at: i64) {
        let enters = match self.worst {
            None => true,
            // Of equal elements the first is better.
            Some(w) => better::<K, LARGEST>(v, w) || w.is_last() && !v.is_last(),
        };
        if enters {
            self.noted.push((v, at));
            if self.noted.len() == self.room {
                self.noted.select_nth_unstable_by(self.k - 1, order::<K, LARGEST>);
                self.noted.truncate(self.k);
                self.worst = Some(self.noted[self.k - 1].0);
            }
        }
    }
}

#[inline(always)]
unsafe fn row<T: Element, K: Key, const LARGEST: bool>(
    s: &TopKSpec,
    from: *const u8,
    to: *mut i64,
    key: impl Fn(T) -> K,
) {
    let step = s.operands[0].strides[s.batch.len()];
    let from = from as *const T;
    let room = s.k + s.k.max(PART);
    let mut best: Best<K> = Best { k: s.k, room, noted: Vec::with_capacity(room), worst: None };
    let mut j = 0;
    while j < s.m {
        let n = (s.m - j).min(BLOCK);
        // SAFETY: the row has `m` elements.
        let at = |l: usize| key(unsafe { *from.offset((j + l) as isize * step) });
        match best.worst {
            Some(w) if n == BLOCK && !w.is_last() => {
                let mut block = [w; BLOCK];
                match step {
                    // SAFETY: as above, side by side.
                    1 => (0..BLOCK).for_each(|l| block[l] = key(unsafe { *from.add(j + l) })),
                    _ => (0..BLOCK).for_each(|l| block[l] = at(l)),
                }
                if any::<K, LARGEST>(&block, w) {
                    for (p, part) in block.chunks_exact(PART).enumerate() {
                        if any::<K, LARGEST>(part, w) {
                            for (l, &v) in part.iter().enumerate() {
                                best.note::<LARGEST>(v, (j + p * PART + l) as i64);
                            }
                        }
                    }
                }
            }
            _ => (0..n).for_each(|l| best.note::<LARGEST>(at(l), (j + l) as i64)),
        }
        j += n;
    }
    best.noted.sort_unstable_by(order::<K, LARGEST>);
    for (r, &(_, at)) in best.noted.iter().take(s.k).enumerate() {
        // SAFETY: the row of results has `k` elements.
        unsafe { *to.add(r) = at };
    }
}

macro_rules! rows {
    ($dtype:expr, $largest:expr $(, $feature:literal)?) => {{
        macro_rules! one {
            ($t:ty, $k:ty, $key:expr) => {{
                $(#[target_feature(enable = $feature)])?
                unsafe fn least(s: &TopKSpec, from: *const u8, to: *mut i64) {
                    // SAFETY: the caller's.
                    unsafe { row::<$t, $k, false>(s, from, to, $key) }
                }
                $(#[target_feature(enable = $feature)])?
                unsafe fn greatest(s: &TopKSpec, from: *const u8, to: *mut i64) {
                    // SAFETY: the caller's.
                    unsafe { row::<$t, $k, true>(s, from, to, $key) }
                }
                if $largest { greatest as Row } else { least as Row }
            }};
        }
        match $dtype {
            DType::Bool => one!(bool, bool, |v| v),
            DType::I8 => one!(i8, i8, |v| v),
            DType::I16 => one!(i16, i16, |v| v),
            DType::I32 => one!(i32, i32, |v| v),
            DType::I64 => one!(i64, i64, |v| v),
            DType::U8 => one!(u8, u8, |v| v),
            DType::U16 => one!(u16, u16, |v| v),
            DType::U32 => one!(u32, u32, |v| v),
            DType::U64 => one!(u64, u64, |v| v),
            DType::F16 => one!(f16, f32, f16::to_f32),
            DType::BF16 => one!(bf16, f32, bf16::to_f32),
            DType::F32 => one!(f32, f32, |v| v),
            DType::F64 => one!(f64, f64, |v| v),
        }
    }};
}

impl TopK {
    /// The code for a dtype and an instruction set.
    pub fn new(spec: &TopKSpec, isa: Isa) -> TopK {
        let (dtype, largest) = (spec.dtype, spec.largest);
        let row = match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => rows!(dtype, largest, "avx512f,avx512dq,avx512vl,avx2"),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => rows!(dtype, largest, "avx2"),
            _ => rows!(dtype, largest),
        };
        TopK { spec: spec.clone(), row }
    }

    /// Runs it.
    pub fn run(&self, threads: &Threads, args: &Args<'_>) -> Result<()> {
        let s = &self.spec;
        let rows: usize = s.batch.iter().product();
        let first =
            |o: usize, size: usize| (args.bases[o] as *mut u8).wrapping_offset(s.operands[o].offset * size as isize);
        let (from, to) = (first(0, s.dtype.size()) as usize, first(1, size_of::<i64>()) as usize);
        threads.spread(rows, rows * s.m < SERIAL, &|next| {
            while let Some(r) = next() {
                let (mut rest, mut at) = (r, 0);
                for (a, &n) in s.batch.iter().enumerate().rev() {
                    at += (rest % n) as isize * s.operands[0].strides[a];
                    rest /= n;
                }
                let from = (from as *const u8).wrapping_offset(at * s.dtype.size() as isize);
                // SAFETY: the launch covers the row; no two rows write the same results, which lie in C order.
                unsafe { (self.row)(s, from, (to as *mut i64).add(r * s.k)) };
            }
        })
    }
}
