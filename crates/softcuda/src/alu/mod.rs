//! Arithmetic on whole warps: a function for each instruction and type, on rows of 32 lanes.

mod cvt;
mod float;
mod int;
pub(crate) mod num;

pub(crate) use cvt::{How, convert, extend, narrow_row, pack16};
pub(crate) use float::{float_compare, float_op, flush, saturate};
pub(crate) use int::{bit_op, int_compare, int_op, pred_op, select};

/// Lanes that take part, as bits and as a word each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mask {
    pub bits: u32,
    pub lanes: [u32; 32],
}

impl Mask {
    pub fn new(bits: u32) -> Mask {
        Mask { bits, lanes: std::array::from_fn(|i| 0u32.wrapping_sub(bits >> i & 1)) }
    }
}

/// Runs one instruction on a warp's registers. The operands are offsets of rows (of a word for predicates) in units of 4 bytes:
/// the destination first. Rows of 64-bit values have 64 words.
pub(crate) type Alu = unsafe fn(file: *mut u32, o: &[u32; 5], m: &Mask);

/// A value of one lane.
pub(crate) trait Lane: Copy + Default {
    /// # Safety
    /// `row` has 32 lanes of this type and `i < 32`.
    unsafe fn get(row: *const u32, i: usize) -> Self;
    /// # Safety
    /// As [`Lane::get`].
    unsafe fn put(row: *mut u32, i: usize, v: Self);
    /// `new` where the mask word is set.
    fn pick(m: u32, new: Self, old: Self) -> Self;
}

macro_rules! lane {
    ($($t:ty: $word:ty, |$w:ident| $from:expr, |$v:ident| $to:expr;)*) => {$(
        impl Lane for $t {
            #[inline(always)]
            unsafe fn get(row: *const u32, i: usize) -> $t {
                // SAFETY: the caller's promise.
                let $w = unsafe { row.cast::<$word>().add(i).read() };
                $from
            }
            #[inline(always)]
            unsafe fn put(row: *mut u32, i: usize, $v: $t) {
                // SAFETY: the caller's promise.
                unsafe { row.cast::<$word>().add(i).write($to) }
            }
            #[inline(always)]
            fn pick(m: u32, new: $t, old: $t) -> $t {
                let wide = m as i32 as $word;
                let ($v, n) = (old, { let $v = new; $to });
                let $w = ($to & !wide) | (n & wide);
                $from
            }
        }
    )*};
}

lane! {
    u8: u32, |w| w as u8, |v| v as u32;
    i8: u32, |w| w as i8, |v| v as u32;
    u16: u32, |w| w as u16, |v| v as u32;
    i16: u32, |w| w as i16, |v| v as u32;
    u32: u32, |w| w, |v| v;
    i32: u32, |w| w as i32, |v| v as u32;
    f32: u32, |w| f32::from_bits(w), |v| v.to_bits();
    u64: u64, |w| w, |v| v;
    i64: u64, |w| w as i64, |v| v as u64;
    f64: u64, |w| f64::from_bits(w), |v| v.to_bits();
}

/// Computes a row and writes the lanes of the mask.
///
/// # Safety
/// `d` is the offset of a row of `R`, and `f` can read all 32 lanes.
#[inline(always)]
pub(crate) unsafe fn lanes<R: Lane>(file: *mut u32, d: u32, m: &Mask, f: impl Fn(usize) -> R) {
    let mut t = [R::default(); 32];
    for (i, t) in t.iter_mut().enumerate() {
        *t = f(i);
    }
    // SAFETY: the caller's promise.
    unsafe {
        let row = file.add(d as usize);
        if m.bits == !0 {
            for (i, t) in t.iter().enumerate() {
                R::put(row, i, *t);
            }
        } else {
            for (i, t) in t.iter().enumerate() {
                R::put(row, i, R::pick(m.lanes[i], *t, R::get(row, i)));
            }
        }
    }
}

/// Bits of the lanes for which `f` holds.
#[inline(always)]
pub(crate) fn ballot(f: impl Fn(usize) -> bool) -> u32 {
    let mut t = [0u32; 32];
    for (i, t) in t.iter_mut().enumerate() {
        *t = (f(i) as u32) << i;
    }
    t.iter().fold(0, |a, b| a | b)
}

/// Sets a predicate's bits within the mask.
///
/// # Safety
/// `p` is the offset of a predicate.
#[inline(always)]
pub(crate) unsafe fn set_bits(file: *mut u32, p: u32, m: &Mask, bits: u32) {
    // SAFETY: the caller's promise.
    unsafe {
        let p = file.add(p as usize);
        *p = (*p & !m.bits) | (bits & m.bits);
    }
}

/// Whether the functions compiled for AVX2 and FMA may run.
pub(crate) fn fast() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::is_x86_feature_detected!("avx2")
            && std::is_x86_feature_detected!("fma")
            && std::is_x86_feature_detected!("f16c")
            && std::is_x86_feature_detected!("bmi2")
            && std::is_x86_feature_detected!("lzcnt")
            && std::is_x86_feature_detected!("popcnt")
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// `$body` (an `#[inline(always)]` function) compiled for this machine's vectors where it has them, or for any.
macro_rules! both {
    ($body:ident) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")]
        unsafe fn vector(file: *mut u32, o: &[u32; 5], m: &$crate::alu::Mask) {
            // SAFETY: the caller's promise.
            unsafe { $body(file, o, m) }
        }
        #[cfg(target_arch = "x86_64")]
        let chosen = if $crate::alu::fast() { vector as $crate::alu::Alu } else { $body as $crate::alu::Alu };
        #[cfg(not(target_arch = "x86_64"))]
        let chosen = $body as $crate::alu::Alu;
        chosen
    }};
}

/// The function of an instruction given as an expression over its operands' lanes.
macro_rules! alu {
    (|$($a:ident: $t:ty),+| -> $r:ty { $e:expr }) => {{
        #[inline(always)]
        unsafe fn body(file: *mut u32, o: &[u32; 5], m: &$crate::alu::Mask) {
            // SAFETY: the decoder made the operands' offsets.
            unsafe {
                $crate::alu::lanes::<$r>(file, o[0], m, |i| {
                    let k = 0;
                    $(
                        let k = k + 1;
                        let $a = <$t as $crate::alu::Lane>::get(file.add(o[k] as usize), i);
                    )+
                    let _ = k;
                    $e
                })
            }
        }
        $crate::alu::both!(body)
    }};
}

pub(crate) use {alu, both};
