// What every generated kernel starts with: types, 16-bit floats, conversions, index arithmetic.
// No CUDA header is used: NVRTC comes without them in many installations.

// Generated code may have unused indices (177), and compare unsigned numbers with 0 (186).
#pragma nv_diag_suppress 177
#pragma nv_diag_suppress 186

#define ND __device__ __forceinline__

typedef signed char i8;
typedef short i16;
typedef int i32;
typedef long long i64;
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef float f32;
typedef double f64;

// 16-bit floats exist in memory only. In registers they are the f32 of the same value, rounded after every operation.
struct f16 { u16 bits; };
struct bf16 { u16 bits; };

// ---- the ends of a type ----

template <class T> ND T nd_highest();
template <class T> ND T nd_lowest();
#define ND_ENDS(T, LOW, HIGH)                         \
    template <> ND T nd_lowest<T>() { return LOW; } \
    template <> ND T nd_highest<T>() { return HIGH; }
ND_ENDS(bool, false, true)
ND_ENDS(i8, -128, 127)
ND_ENDS(i16, -32768, 32767)
ND_ENDS(i32, -2147483647 - 1, 2147483647)
ND_ENDS(i64, -9223372036854775807ll - 1, 9223372036854775807ll)
ND_ENDS(u8, 0, 255)
ND_ENDS(u16, 0, 65535)
ND_ENDS(u32, 0, 4294967295u)
ND_ENDS(u64, 0, 18446744073709551615ull)
ND_ENDS(f32, -__int_as_float(0x7f800000), __int_as_float(0x7f800000))
ND_ENDS(f64, -__longlong_as_double(0x7ff0000000000000ll), __longlong_as_double(0x7ff0000000000000ll))
#undef ND_ENDS

// ---- 16-bit floats ----

ND f32 nd_widen(f16 x) {
    f32 r;
    asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(x.bits));
    return r;
}

ND f32 nd_widen(bf16 x) { return __uint_as_float((u32)x.bits << 16); }

template <class H> ND H nd_narrow(f32 x);

template <> ND f16 nd_narrow<f16>(f32 x) {
    f16 r;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(r.bits) : "f"(x));
    return r;
}

template <> ND bf16 nd_narrow<bf16>(f32 x) {
    const u32 b = __float_as_uint(x);
    bf16 r;
    // A NaN stays one, though its set bits be in the lower half. Else to nearest, ties to even.
    r.bits = x != x ? (u16)(b >> 16 | 0x40) : (u16)((b + 0x7fff + (b >> 16 & 1)) >> 16);
    return r;
}

// The nearest value that fits a 16-bit float.
template <class H> ND f32 nd_round(f32 x) { return nd_widen(nd_narrow<H>(x)); }

// As above, with one rounding: what f32 cannot hold stays visible in its last bit.
template <class H> ND f32 nd_round(f64 x) {
    f32 r = __double2float_rz(x);
    if ((f64)r != x && x == x) r = __uint_as_float(__float_as_uint(r) | 1);
    return nd_round<H>(r);
}

template <class H> ND f32 nd_round(u64 x) {
    f64 r = __ull2double_rz(x);
    if ((u64)r != x) r = __longlong_as_double(__double_as_longlong(r) | 1);
    return nd_round<H>(r);
}

template <class H> ND f32 nd_round(i64 x) {
    const f32 r = nd_round<H>(x < 0 ? 0 - (u64)x : (u64)x);
    return x < 0 ? -r : r;
}

// ---- memory, scalars, conversions ----

template <class T> ND T nd_load(const T* p) { return *p; }
ND f32 nd_load(const f16* p) { return nd_widen(*p); }
ND f32 nd_load(const bf16* p) { return nd_widen(*p); }

template <class T> ND void nd_store(T* p, T v) { *p = v; }
ND void nd_store(f16* p, f32 v) { *p = nd_narrow<f16>(v); }
ND void nd_store(bf16* p, f32 v) { *p = nd_narrow<bf16>(v); }

// What one instruction moves.
template <u32 BYTES> struct Word;
template <> struct Word<1> { u8 a; };
template <> struct Word<2> { u16 a; };
template <> struct Word<4> { u32 a; };
template <> struct __align__(8) Word<8> { u32 a, b; };
template <> struct __align__(16) Word<16> { u32 a, b, c, d; };

// Neighbours in registers, as they lie in memory.
template <class T, u32 N> struct Vec { T at[N]; };

// N neighbours, A of them by each instruction: `p` is aligned for A.
template <u32 A, class T, u32 N> ND void nd_load_vec(Vec<T, N>& v, const T* p) {
#pragma unroll
    for (u32 i = 0; i < N; i += A) {
        const Word<A * sizeof(T)> w = *(const Word<A * sizeof(T)>*)(p + i);
        memcpy(v.at + i, &w, sizeof(w));
    }
}

template <u32 A, class T, u32 N> ND void nd_store_vec(T* p, const Vec<T, N>& v) {
#pragma unroll
    for (u32 i = 0; i < N; i += A) {
        Word<A * sizeof(T)> w;
        memcpy(&w, v.at + i, sizeof(w));
        *(Word<A * sizeof(T)>*)(p + i) = w;
    }
}

// N elements with a stride.
template <class T, u32 N, class I> ND void nd_load_each(Vec<T, N>& v, const T* p, I stride) {
#pragma unroll
    for (u32 i = 0; i < N; ++i) v.at[i] = p[(I)i * stride];
}

// The first `live` of N elements with a stride.
template <class T, u32 N, class I, class C> ND void nd_load_part(Vec<T, N>& v, const T* p, I stride, C live) {
#pragma unroll
    for (u32 i = 0; i < N; ++i)
        if (i < live) v.at[i] = p[(I)i * stride];
}

template <class T, u32 N, class I, class C> ND void nd_store_part(const Vec<T, N>& v, T* p, I stride, C live) {
#pragma unroll
    for (u32 i = 0; i < N; ++i)
        if (i < live) p[(I)i * stride] = v.at[i];
}

// A scalar from its bits.
template <class T> ND T nd_scalar(u64 bits) { return (T)bits; }
template <> ND f32 nd_scalar<f32>(u64 bits) { return __uint_as_float((u32)bits); }
template <> ND f64 nd_scalar<f64>(u64 bits) { return __longlong_as_double((i64)bits); }
ND f32 nd_scalar_f16(u64 bits) { f16 h = {(u16)bits}; return nd_widen(h); }
ND f32 nd_scalar_bf16(u64 bits) { bf16 h = {(u16)bits}; return nd_widen(h); }

// Float to integer as Rust's `as`: towards zero, saturating, NaN to 0.
template <class I, class F> ND I nd_to_int(F x) {
    const F low = (F)nd_lowest<I>(), high = (F)nd_highest<I>();
    return x >= high ? nd_highest<I>() : x > low ? (I)x : x <= low ? nd_lowest<I>() : (I)0;
}

ND f32 nd_fma(f32 a, f32 b, f32 c) { return __fmaf_rn(a, b, c); }
ND f64 nd_fma(f64 a, f64 b, f64 c) { return __fma_rn(a, b, c); }

// ---- what a compiler keeps in registers ----

// A value that it cannot compute anew, and keeps. What lies behind a pointer it keeps in memory.
ND u32 nd_kept(u32 v) { asm volatile("" : "+r"(v)); return v; }
ND i32 nd_kept(i32 v) { asm volatile("" : "+r"(v)); return v; }
ND u64 nd_kept(u64 v) { asm volatile("" : "+l"(v)); return v; }
ND i64 nd_kept(i64 v) { asm volatile("" : "+l"(v)); return v; }
template <class T> ND T* nd_kept(T* p) { asm volatile("" : "+l"(p)); return p; }

// What it cannot tell that it has, and so does not keep: threadIdx.x, blockIdx.
ND u32 nd_thread() { u32 v; asm volatile("mov.u32 %0, %%tid.x;" : "=r"(v)); return v; }
ND u32 nd_block_x() { u32 v; asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(v)); return v; }
ND u32 nd_block_y() { u32 v; asm volatile("mov.u32 %0, %%ctaid.y;" : "=r"(v)); return v; }

// Addresses within shared and global memory. A pointer made of one is known to point there.
ND u32 nd_at_shared(const void* p) { return (u32)__cvta_generic_to_shared(p); }
ND u64 nd_at_global(const void* p) { return (u64)__cvta_generic_to_global(p); }
template <class T> ND T* nd_shared(u32 at) { return (T*)__cvta_shared_to_generic(at); }
template <class T> ND const T* nd_global(u64 at) { return (const T*)__cvta_global_to_generic(at); }

// ---- indices ----

// The extent of an axis, with what divides by it: two instructions for indices below 2^31.
struct Extent32 {
    u32 n, mul, shift;
    ND u32 div(u32 t) const { return (__umulhi(t, mul) + t) >> shift; }
};

struct Extent64 {
    u64 n;
    ND u64 div(u64 t) const { return t / n; }
};

// Whether an index lies within a gathered axis. The first that does not is noted: operand + 1 in `fault[0]`, the index in `fault[1]`.
ND bool nd_within(i64 index, i64 len, u64* fault, u32 operand) {
    if (index >= 0 && index < len) return true;
    if (atomicCAS(fault, 0ull, (u64)operand + 1) == 0) fault[1] = (u64)index;
    return false;
}
