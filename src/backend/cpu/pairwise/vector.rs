//! SIMD vectors of one element type and instruction set, as little as the micro-kernels need.

/// A vector of floats.
///
/// # Safety
/// The methods of a type may run only where its instruction set is there.
pub unsafe trait Vector: Copy {
    /// Its elements.
    type Elem: Copy + Default + 'static;
    /// How many.
    const LANES: usize;
    /// Reads `LANES` elements.
    unsafe fn load(p: *const Self::Elem) -> Self;
    /// Writes `LANES` elements.
    unsafe fn store(self, p: *mut Self::Elem);
    /// One element in every lane.
    unsafe fn splat(p: *const Self::Elem) -> Self;
    /// All zero.
    unsafe fn zero() -> Self;
    /// Lane by lane.
    unsafe fn add(self, o: Self) -> Self;
    /// Lane by lane.
    unsafe fn sub(self, o: Self) -> Self;
    /// `self * a + b`, rounded once.
    unsafe fn fma(self, a: Self, b: Self) -> Self;
    /// Without the sign.
    unsafe fn abs(self) -> Self;
    /// The larger of two values that are not negative, or NaN if one is.
    unsafe fn max_abs(self, o: Self) -> Self;
}

#[cfg(target_arch = "x86_64")]
macro_rules! x86 {
    ($($v:ident $elem:ident $lanes:literal: $load:ident $store:ident $splat:ident $zero:ident $add:ident $sub:ident $fma:ident
        |$a:ident| $abs:expr, |$x:ident, $y:ident| $max:expr;)*) => {$(
        // SAFETY: every method is one or two instructions of the type's own set.
        unsafe impl Vector for $v {
            type Elem = $elem;
            const LANES: usize = $lanes;
            #[inline(always)]
            unsafe fn load(p: *const $elem) -> Self {
                // SAFETY: the caller's.
                unsafe { $load(p) }
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $elem) {
                // SAFETY: the caller's.
                unsafe { $store(p, self) }
            }
            #[inline(always)]
            unsafe fn splat(p: *const $elem) -> Self {
                // SAFETY: the caller's.
                unsafe { $splat(*p) }
            }
            #[inline(always)]
            unsafe fn zero() -> Self {
                // SAFETY: the caller's.
                unsafe { $zero() }
            }
            #[inline(always)]
            unsafe fn add(self, o: Self) -> Self {
                // SAFETY: the caller's.
                unsafe { $add(self, o) }
            }
            #[inline(always)]
            unsafe fn sub(self, o: Self) -> Self {
                // SAFETY: the caller's.
                unsafe { $sub(self, o) }
            }
            #[inline(always)]
            unsafe fn fma(self, a: Self, b: Self) -> Self {
                // SAFETY: the caller's.
                unsafe { $fma(self, a, b) }
            }
            #[inline(always)]
            unsafe fn abs(self) -> Self {
                let $a = self;
                // SAFETY: the caller's.
                unsafe { $abs }
            }
            #[inline(always)]
            unsafe fn max_abs(self, o: Self) -> Self {
                let ($x, $y) = (self, o);
                // SAFETY: the caller's. As integers, NaNs without a sign stand above infinity.
                unsafe { $max }
            }
        }
    )*};
}

#[cfg(target_arch = "x86_64")]
mod sets {
    use super::Vector;
    use std::arch::x86_64::*;

    /// The larger of two NaN-propagating f64 vectors without a sign: AVX2 has no 64-bit integer maximum.
    #[inline(always)]
    unsafe fn max256d(x: __m256d, y: __m256d) -> __m256d {
        // SAFETY: the caller's.
        unsafe {
            let (a, b) = (_mm256_castpd_si256(x), _mm256_castpd_si256(y));
            _mm256_castsi256_pd(_mm256_blendv_epi8(b, a, _mm256_cmpgt_epi64(a, b)))
        }
    }

    x86! {
        __m512 f32 16: _mm512_loadu_ps _mm512_storeu_ps _mm512_set1_ps _mm512_setzero_ps _mm512_add_ps _mm512_sub_ps _mm512_fmadd_ps
            |a| _mm512_abs_ps(a),
            |x, y| _mm512_castsi512_ps(_mm512_max_epi32(_mm512_castps_si512(x), _mm512_castps_si512(y)));
        __m512d f64 8: _mm512_loadu_pd _mm512_storeu_pd _mm512_set1_pd _mm512_setzero_pd _mm512_add_pd _mm512_sub_pd _mm512_fmadd_pd
            |a| _mm512_abs_pd(a),
            |x, y| _mm512_castsi512_pd(_mm512_max_epi64(_mm512_castpd_si512(x), _mm512_castpd_si512(y)));
        __m256 f32 8: _mm256_loadu_ps _mm256_storeu_ps _mm256_set1_ps _mm256_setzero_ps _mm256_add_ps _mm256_sub_ps _mm256_fmadd_ps
            |a| _mm256_andnot_ps(_mm256_set1_ps(-0.0), a),
            |x, y| _mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(x), _mm256_castps_si256(y)));
        __m256d f64 4: _mm256_loadu_pd _mm256_storeu_pd _mm256_set1_pd _mm256_setzero_pd _mm256_add_pd _mm256_sub_pd _mm256_fmadd_pd
            |a| _mm256_andnot_pd(_mm256_set1_pd(-0.0), a),
            |x, y| max256d(x, y);
    }
}

/// Eight elements that the compiler may put into whatever registers there are.
#[derive(Clone, Copy)]
pub struct Plain<T>(pub [T; 8]);

macro_rules! plain {
    ($($t:ident)*) => {$(
        // SAFETY: plain Rust.
        unsafe impl Vector for Plain<$t> {
            type Elem = $t;
            const LANES: usize = 8;
            #[inline(always)]
            unsafe fn load(p: *const $t) -> Self {
                // SAFETY: the caller's.
                Plain(unsafe { (p as *const [$t; 8]).read_unaligned() })
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $t) {
                // SAFETY: the caller's.
                unsafe { (p as *mut [$t; 8]).write_unaligned(self.0) }
            }
            #[inline(always)]
            unsafe fn splat(p: *const $t) -> Self {
                // SAFETY: the caller's.
                Plain([unsafe { *p }; 8])
            }
            #[inline(always)]
            unsafe fn zero() -> Self {
                Plain([0.0; 8])
            }
            #[inline(always)]
            unsafe fn add(self, o: Self) -> Self {
                Plain(std::array::from_fn(|i| self.0[i] + o.0[i]))
            }
            #[inline(always)]
            unsafe fn sub(self, o: Self) -> Self {
                Plain(std::array::from_fn(|i| self.0[i] - o.0[i]))
            }
            #[inline(always)]
            unsafe fn fma(self, a: Self, b: Self) -> Self {
                // Without the instruction a fused multiply-add is a library call; here it rounds twice.
                Plain(std::array::from_fn(|i| self.0[i] * a.0[i] + b.0[i]))
            }
            #[inline(always)]
            unsafe fn abs(self) -> Self {
                Plain(self.0.map($t::abs))
            }
            #[inline(always)]
            unsafe fn max_abs(self, o: Self) -> Self {
                Plain(std::array::from_fn(|i| {
                    let (x, y) = (self.0[i], o.0[i]);
                    if x.to_bits() > y.to_bits() { x } else { y }
                }))
            }
        }
    )*};
}

plain!(f32 f64);
