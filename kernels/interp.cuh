// The interpreter: runs a fused kernel that comes as data, for machines that have NVIDIA's driver alone. src/backend/cuda/shipped writes the data.
//
// Integers of any width are held as 64 bits, and wrapped to their own width after each op; 16-bit floats as f32, rounded after each.
// A program is a list of instructions on registers that hold ND_E elements each, so that reading an instruction pays for several elements.
// All threads of a block are at the same instruction at any time: loops go on while any thread has work, and threads that have none repeat the
// last element without storing it; in a loop of the whole grid without loading it either, for another thread may write it over in place. Before this file come prelude.cuh and reduce.cuh, and these macros:
//   ND_NAME          the kernel
//   ND_BOUNDS        its threads, and where the compiler is to be held to more or fewer registers, blocks on a processor
//   ND_REG           u32 or u64: what a register holds of each element
//   ND_E, ND_SLOTS   elements of a register, registers of a thread
//   ND_OPS_<DTYPE>   the dtypes of registers whose ops it knows
//   ND_CASTS_<DTYPE> likewise, between which it casts
//   ND_WIDE          0 where a register holds 32 bits; else it also knows memory of 64 bits, and gathers
//   ND_FOLDS         it knows folds

#define ND_CODES
#include "generated/interp_ops.cuh"
#undef ND_CODES

typedef ND_REG Reg;

// Words of a program that travel with the launch, and at most.
#define ND_INLINE 480
#define ND_WORDS 1536

struct Args {
    const u64* more; // the program, where it is too long for `program`
    u64* fault;
    char* scratch;
    u32* tickets;
    u32 words;  // of it
    u32 how;    // whether lanes of a fold are counted along y; of a pairwise kernel, the word at which its sizes are
    u64 program[ND_INLINE];
};

// ---- registers ----

template <class T> ND T nd_get(Reg r) { return (T)r; }
template <> ND f32 nd_get<f32>(Reg r) { return __uint_as_float((u32)r); }
template <> ND f64 nd_get<f64>(Reg r) { return __longlong_as_double((i64)r); }
template <class T> ND Reg nd_put(T v) { return (Reg)v; }
template <> ND Reg nd_put<f32>(f32 v) { return __float_as_uint(v); }
template <> ND Reg nd_put<f64>(f64 v) { return (Reg)__double_as_longlong(v); }

// What a function makes of each element. Large functions are not repeated for each.
template <bool SMALL, class F> ND void nd_each(Reg* d, F f) {
    if (SMALL) {
        Reg out[ND_E];
#pragma unroll
        for (u32 e = 0; e < ND_E; ++e) out[e] = f(e);
#pragma unroll
        for (u32 e = 0; e < ND_E; ++e) d[e] = out[e];
    } else {
#pragma unroll 1
        for (u32 e = 0; e < ND_E; ++e) d[e] = f(e);
    }
}

// ---- casts ----

template <class T> struct nd_is { enum { flt = 0, uns = 0 }; };
template <> struct nd_is<f32> { enum { flt = 1, uns = 0 }; };
template <> struct nd_is<f64> { enum { flt = 1, uns = 0 }; };
template <> struct nd_is<u64> { enum { flt = 0, uns = 1 }; };

template <class T, class F> ND Reg nd_cast(F v) {
    if constexpr (sizeof(T) == 1 && (T)2 == (T)1) return v != (F)0;
    else if constexpr (nd_is<F>::flt && !nd_is<T>::flt) return nd_put(nd_to_int<T>(v));
    else return nd_put((T)v);
}

template <class H, class F> ND Reg nd_cast_half(F v) {
    if constexpr (nd_is<F>::flt) return nd_put(nd_round<H>(v));
    else if constexpr (nd_is<F>::uns) return nd_put(nd_round<H>((u64)v));
    else return nd_put(nd_round<H>((i64)v));
}

// ---- memory ----

// Elements of a place: `base + sum(register * stride)`.
struct Place {
    char* base;
    u32 pairs, guards, operand;
    i64 stride, len;
    const u64* rest;
};

ND Place nd_place(const u64* p) {
    Place out;
    out.base = (char*)p[0];
    out.pairs = p[1] & 0xff;
    out.guards = p[1] >> 8 & 0xff;
    out.operand = p[1] >> 16 & 0xff;
    out.stride = (i64)p[2];
    out.len = (i64)p[3];
    out.rest = p + 4;
    return out;
}

ND void nd_offsets(const Place& p, const Reg* r, i64* at) {
#pragma unroll
    for (u32 e = 0; e < ND_E; ++e) at[e] = 0;
    for (u32 n = 0; n < p.pairs; ++n) {
        const Reg* x = r + p.rest[2 * n];
        const i64 stride = (i64)p.rest[2 * n + 1];
#pragma unroll
        for (u32 e = 0; e < ND_E; ++e) at[e] += (i64)x[e] * stride;
    }
}

template <class T> ND void nd_load_all(Reg* d, const Place& p, const i64* at, u32 wanted) {
    Reg out[ND_E];
#pragma unroll
    for (u32 e = 0; e < ND_E; ++e) out[e] = wanted >> e & 1 ? nd_put(nd_load((const T*)p.base + at[e])) : 0;
#pragma unroll
    for (u32 e = 0; e < ND_E; ++e) d[e] = out[e];
}

template <class T, class R> ND void nd_store_all(const Reg* s, const Place& p, const i64* at, u32 wanted) {
#pragma unroll
    for (u32 e = 0; e < ND_E; ++e)
        if (wanted >> e & 1) nd_store((T*)p.base + at[e], nd_get<R>(s[e]));
}

// The dtypes of memory, with the type of their registers.
#define ND_MEMORY_SMALL(X) X(0, bool, bool) X(9, f16, f32) X(10, bf16, f32) X(11, f32, f32)
#define ND_MEMORY_WIDE(X) X(4, i64, i64) X(12, f64, f64)
#define ND_MEMORY_INT(X) X(1, i8, i8) X(2, i16, i16) X(3, i32, i32) X(5, u8, u8) X(6, u16, u16) X(7, u32, u32) X(8, u64, u64)
#if ND_WIDE
#define ND_MEMORY(X) ND_MEMORY_SMALL(X) ND_MEMORY_WIDE(X) ND_MEMORY_INT(X)
#else
#define ND_MEMORY(X) ND_MEMORY_SMALL(X)
#endif

// ---- loops ----

// A loop under way. Element `e` of this thread is at `t + off + e * apart`, but at most at `end - 1`.
struct Walk {
    u64 t, end, step, off, apart;
    u32 start;
};

// The indices along a loop's axes; returns how many elements of this thread are within it.
ND u32 nd_indices(const u64* loop, const Walk& k, Reg* r) {
    u64 t[ND_E];
    u32 within = 0;
#pragma unroll
    for (u32 e = 0; e < ND_E; ++e) {
        t[e] = k.t + k.off + e * k.apart;
        within += t[e] < k.end;
        t[e] = t[e] < k.end ? t[e] : k.end - 1;
    }
    const u32 axes = loop[0] >> 8 & 0xff;
    const bool wide = loop[0] >> 16 & 1;
    for (u32 n = 0; n < axes; ++n) {
        const u64 word = loop[3 + 2 * n], extent = loop[4 + 2 * n];
        Reg* const x = r + (word & 0xffff);
        if (n + 1 == axes) {
#pragma unroll
            for (u32 e = 0; e < ND_E; ++e) x[e] = (Reg)t[e];
        } else if (wide) {
#pragma unroll 1
            for (u32 e = 0; e < ND_E; ++e) {
                const u64 q = t[e] / extent;
                x[e] = (Reg)(t[e] - q * extent);
                t[e] = q;
            }
        } else {
            const Extent32 by = {(u32)extent, (u32)(word >> 32), (u32)(word >> 16) & 0xffff};
#pragma unroll
            for (u32 e = 0; e < ND_E; ++e) {
                const u32 q = by.div((u32)t[e]);
                x[e] = (u32)t[e] - q * by.n;
                t[e] = q;
            }
        }
    }
    return within;
}

#ifdef ND_FOLDS
#include "interp_fold.cuh"
#endif

// ---- the instructions ----

// Copies the program into shared memory.
ND void nd_fetch(const Args& a, u64* program) {
    const u32 thread = threadIdx.y * blockDim.x + threadIdx.x, threads = blockDim.x * blockDim.y;
    for (u32 i = thread; i < a.words; i += threads) program[i] = a.more ? a.more[i] : a.program[i];
    __syncthreads();
}

// What a program refers to beside itself.
struct Around {
    u64* fault;
    char* scratch;
    u32* tickets;
    bool along_y;
};

// Runs the program from `pc` on. Outside of loops, the first `within` elements are stored.
ND void nd_interpret(const Around& a, const u64* program, u32 pc, Reg* r, u32 within) {
    const bool along_y = a.along_y;
    const u32 lane = along_y ? threadIdx.y : threadIdx.x, lanes = along_y ? blockDim.y : blockDim.x;
    const u32 group = along_y ? threadIdx.x : threadIdx.y, groups = along_y ? blockDim.x : blockDim.y;
    const u32 thread = threadIdx.y * blockDim.x + threadIdx.x, threads = blockDim.x * blockDim.y;
    Walk walks[ND_DEPTH];
    u32 depth = 0;
    bool live = true, grid = false;

    for (;; ++pc) {
        const uint4 w = ((const uint4*)program)[pc];
        const u32 op = w.x & 0xffff, flags = w.z >> 16;
        Reg* const d = r + (w.x >> 16);
        Reg* const ra = r + (w.y & 0xffff);
        const Reg* const rb = r + (w.y >> 16);
        const Reg* const rc = r + (w.z & 0xffff);
        const u64* const data = program + w.w;
        switch (op) {
        case ND_END: return;
        case ND_LOOP: {
            const u64 n = data[1];
            Walk k = {0, n, 1, 0, 0, pc};
            switch (data[0] & 0xff) {
            case 0: // all threads of the grid
                k.t = blockIdx.x * (u64)(threads * ND_E), k.step = gridDim.x * (u64)(threads * ND_E);
                k.off = thread, k.apart = threads;
                grid = true;
                break;
            case 1: // a row for each group of lanes
                k.t = blockIdx.x * (u64)groups, k.step = gridDim.x * (u64)groups, k.off = group;
                break;
            case 2: { // the lanes of a group, and the blocks that share a row; whole lines of memory for each block
                const u64 part = ((n + gridDim.y - 1) / gridDim.y + 31) / 32 * 32;
                k.t = blockIdx.y * part;
                k.end = k.t + part < n ? k.t + part : n;
                k.step = lanes * ND_E, k.off = lane, k.apart = lanes;
                break;
            }
            default: break; // each thread alone
            }
            if (k.t >= k.end) {
                pc = (u32)data[2];
                break;
            }
            const u32 in = nd_indices(data, k, r), kind = data[0] & 0xff;
            if (kind == 1) live = in > 0;
            if ((kind & 1) == 0) within = in;
            walks[depth++] = k;
            break;
        }
        case ND_NEXT: {
            Walk& k = walks[depth - 1];
            k.t += k.step;
            if (k.t >= k.end) {
                --depth;
                break;
            }
            const u32 in = nd_indices(data, k, r), kind = data[0] & 0xff;
            if (kind == 1) live = in > 0;
            if ((kind & 1) == 0) within = in;
            pc = k.start;
            break;
        }
        case ND_LOAD: {
            const Place p = nd_place(data);
            i64 at[ND_E];
            nd_offsets(p, r, at);
            u32 wanted = (1u << (grid ? within : ND_E)) - 1;
#if ND_WIDE
            if (flags >> 8) {
                // At an index that a register holds.
#pragma unroll
                for (u32 e = 0; e < ND_E; ++e) {
                    if (!(wanted >> e & 1)) continue;
                    const i64 index = (i64)ra[e];
                    if (nd_within(index, p.len, a.fault, p.operand)) at[e] += index * p.stride;
                    else wanted &= ~(1u << e);
                }
            }
#endif
            switch (flags & 0xff) {
#define X(CODE, T, R) case CODE: nd_load_all<T>(d, p, at, wanted); break;
                ND_MEMORY(X)
#undef X
            }
            break;
        }
        case ND_STORE: {
            const Place p = nd_place(data);
            i64 at[ND_E];
            nd_offsets(p, r, at);
            u32 wanted = flags >> 8 ? (u32)(lane == 0) : (1u << within) - 1;
            if (!live) wanted = 0;
            for (u32 n = 0; n < p.guards; ++n) {
                const Reg* x = r + p.rest[2 * p.pairs + n];
#pragma unroll
                for (u32 e = 0; e < ND_E; ++e)
                    if (x[e] != 0) wanted &= ~(1u << e);
            }
            switch (flags & 0xff) {
#define X(CODE, T, R) case CODE: nd_store_all<T, R>(ra, p, at, wanted); break;
                ND_MEMORY(X)
#undef X
            }
            break;
        }
        case ND_PARAM: {
            const Reg v = (Reg)data[0];
#pragma unroll
            for (u32 e = 0; e < ND_E; ++e) d[e] = v;
            break;
        }
        case ND_ROUND_F16: nd_each<true>(d, [=](u32 e) { return nd_put(nd_round<f16>(nd_get<f32>(ra[e]))); }); break;
        case ND_ROUND_BF16: nd_each<true>(d, [=](u32 e) { return nd_put(nd_round<bf16>(nd_get<f32>(ra[e]))); }); break;
#ifdef ND_FOLDS
#include "interp_fold_ops.cuh"
#endif
#define ND_OP1(CODE, SMALL, OUT, A, ...)                                                 \
    case CODE:                                                                           \
        nd_each<SMALL>(d, [=](u32 e) {                                                   \
            const A a = nd_get<A>(ra[e]);                                                \
            return nd_put<OUT>((OUT)(__VA_ARGS__));                                      \
        });                                                                              \
        break;
#define ND_OP2(CODE, SMALL, OUT, A, B, ...)                                              \
    case CODE:                                                                           \
        nd_each<SMALL>(d, [=](u32 e) {                                                   \
            const A a = nd_get<A>(ra[e]);                                                \
            const B b = nd_get<B>(rb[e]);                                                \
            return nd_put<OUT>((OUT)(__VA_ARGS__));                                      \
        });                                                                              \
        break;
#define ND_OP3(CODE, SMALL, OUT, A, B, C, ...)                                           \
    case CODE:                                                                           \
        nd_each<SMALL>(d, [=](u32 e) {                                                   \
            const A a = nd_get<A>(ra[e]);                                                \
            const B b = nd_get<B>(rb[e]);                                                \
            const C c = nd_get<C>(rc[e]);                                                \
            return nd_put<OUT>((OUT)(__VA_ARGS__));                                      \
        });                                                                              \
        break;
#define ND_CAST(CODE, F, T) case CODE: nd_each<false>(d, [=](u32 e) { return nd_cast<T>(nd_get<F>(ra[e])); }); break;
#define ND_CAST_HALF(CODE, F, T) case CODE: nd_each<false>(d, [=](u32 e) { return nd_cast_half<T>(nd_get<F>(ra[e])); }); break;
#include "generated/interp_ops.cuh"
        }
    }
}
