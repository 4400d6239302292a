// Pairwise kernels: results (i, j) are folds over k of a combine of x(i, k) and y(j, k); what follows the fold is a program of the interpreter.
//
// A block computes a tile of results, with slices of both operands in shared memory. Each result folds k in segments of ND_SEGMENT, a chain within
// and from the first to the last across, so that its bits do not depend on the tile. Before this file come interp.cuh and these macros:
//   ND_NAME, ND_T    the kernel, f32 or f64
// A thread has ND_ROWS results along i, and ND_E along j.

#define ND_ROWS 8
#define ND_SLICE 16
#define ND_SEGMENT 256
#define ND_TILE_I (ND_ROWS * 8)
#define ND_TILE_J (ND_E * 32)

typedef ND_T T;

ND f32 nd_magnitude(f32 v) { return fabsf(v); }
ND f64 nd_magnitude(f64 v) { return fabs(v); }

// -0.0 is the float that addition does not see.
struct Sum {
    static ND T none() { return -T(0); }
    static ND T merge(T a, T b) { return a + b; }
};

struct Dot : Sum {
    static ND T step(T acc, T x, T y) { return nd_fma(x, y, acc); }
};

struct SqEuclidean : Sum {
    static ND T step(T acc, T x, T y) {
        const T d = x - y;
        return nd_fma(d, d, acc);
    }
};

struct CityBlock : Sum {
    static ND T step(T acc, T x, T y) { return acc + nd_magnitude(x - y); }
};

struct Chebyshev {
    static ND T none() { return nd_lowest<T>(); }
    static ND T merge(T a, T b) { return (b > a || b != b) ? b : a; }
    static ND T step(T acc, T x, T y) { return merge(acc, nd_magnitude(x - y)); }
};

// An operand of a tile: element (row, k) is at `base[row * row_stride + k * k_stride]`.
struct Side {
    const T* base;
    i64 row_stride, k_stride;
    u32 rows, first;
};

// Fills the shared slice of one side, along the contiguous axis. What lies past the end repeats the last row or k: without branches, the loads of
// all steps are under way at once.
template <u32 TILE, u32 PITCH> ND void nd_slice(T (&to)[ND_SLICE][PITCH], const Side& s, u32 k0, u32 nk) {
    const u32 thread = threadIdx.y * 32 + threadIdx.x;
    const bool along_k = s.k_stride == 1 || s.row_stride != 1;
#pragma unroll
    for (u32 e = 0; e < TILE * ND_SLICE; e += 256) {
        const u32 kk = along_k ? (thread + e) % ND_SLICE : (thread + e) / TILE;
        const u32 at = along_k ? (thread + e) / ND_SLICE : (thread + e) % TILE;
        const u32 row = min(s.first + at, s.rows - 1), k = min(k0 + kk, nk - 1);
        to[kk][at] = s.base[(i64)row * s.row_stride + (i64)k * s.k_stride];
    }
}

typedef T SliceX[ND_SLICE][ND_TILE_I + 4];
typedef T SliceY[ND_SLICE][ND_TILE_J + 1];

// Each of a thread's results.
#define ND_EACH                                         \
    _Pragma("unroll") for (u32 r = 0; r < ND_ROWS; ++r) \
        _Pragma("unroll") for (u32 c = 0; c < ND_E; ++c)

template <class C> ND void nd_tile(const Side& x, const Side& y, u32 nk, SliceX& xs, SliceY& ys, volatile T (&whole)[ND_ROWS][ND_E]) {
    T acc[ND_ROWS][ND_E];
    ND_EACH acc[r][c] = C::none();
    for (u32 k0 = 0; k0 < nk; k0 += ND_SLICE) {
        const u32 length = min((u32)ND_SLICE, nk - k0);
        if (k0 > 0 && k0 % ND_SEGMENT == 0) {
            ND_EACH {
                whole[r][c] = k0 == ND_SEGMENT ? acc[r][c] : C::merge(whole[r][c], acc[r][c]);
                acc[r][c] = C::none();
            }
        }
        __syncthreads();
        nd_slice<ND_TILE_I>(xs, x, k0, nk);
        nd_slice<ND_TILE_J>(ys, y, k0, nk);
        __syncthreads();
#pragma unroll 4
        for (u32 kk = 0; kk < length; ++kk) {
            T a[ND_ROWS], b[ND_E];
#pragma unroll
            for (u32 r = 0; r < ND_ROWS; ++r) a[r] = xs[kk][threadIdx.y * ND_ROWS + r];
#pragma unroll
            for (u32 c = 0; c < ND_E; ++c) b[c] = ys[kk][threadIdx.x + 32 * c];
            ND_EACH acc[r][c] = C::step(acc[r][c], a[r], b[c]);
        }
    }
    ND_EACH whole[r][c] = nk > ND_SEGMENT ? C::merge(whole[r][c], acc[r][c]) : nk > 0 ? acc[r][c] : T(0);
}

// A function of its own, so that what the interpreter keeps in registers is not kept while tiles are computed.
__device__ __noinline__ void nd_epilogue(u64* fault, const u64* program, u32 pc, Reg* r, u32 within) {
    const Around around = {fault, 0, 0, false};
    nd_interpret(around, program, pc, r, within);
}

extern "C" __global__ void __launch_bounds__(256, 2) ND_NAME(const Args a) {
    __shared__ __align__(16) u64 program[ND_WORDS];
    nd_fetch(a, program);
    const u64* const sizes = program + a.how;
    const u32 ni = (u32)sizes[0], nj = (u32)sizes[1], nk = (u32)sizes[2];
    const u32 tiles_i = (ni + ND_TILE_I - 1) / ND_TILE_I, tiles_j = (nj + ND_TILE_J - 1) / ND_TILE_J;
    __align__(16) Reg r[ND_SLOTS * ND_E];
    __shared__ __align__(16) SliceX xs;
    __shared__ __align__(16) SliceY ys;
    // In memory: beside the accumulators there is no room for them in registers, and they are seldom looked at.
    volatile T results[ND_ROWS][ND_E];
    for (u64 tile = blockIdx.x; tile < sizes[3] * tiles_i * tiles_j; tile += gridDim.x) {
        const u64 b = tile / tiles_j / tiles_i;
        const u32 j0 = (u32)(tile % tiles_j) * ND_TILE_J, i0 = (u32)(tile / tiles_j % tiles_i) * ND_TILE_I;
        // In shared memory: registers are too few for them beside the accumulators. They are read behind the barrier of a slice.
        __shared__ Side x, y;
        if (threadIdx.y == 0 && threadIdx.x == 0) {
            x = Side{(const T*)sizes[4] + (i64)b * (i64)sizes[5], (i64)sizes[6], (i64)sizes[7], ni, i0};
            y = Side{(const T*)sizes[8] + (i64)b * (i64)sizes[9], (i64)sizes[10], (i64)sizes[11], nj, j0};
        }
        switch ((u32)sizes[12]) {
        case 0: nd_tile<Dot>(x, y, nk, xs, ys, results); break;
        case 1: nd_tile<SqEuclidean>(x, y, nk, xs, ys, results); break;
        case 2: nd_tile<CityBlock>(x, y, nk, xs, ys, results); break;
        default: nd_tile<Chebyshev>(x, y, nk, xs, ys, results); break;
        }
        // The indices of each result, and its value, are where the program expects them.
        u32 within = 0;
#pragma unroll
        for (u32 c = 0; c < ND_E; ++c) {
            const u32 col = j0 + threadIdx.x + 32 * c;
            within += col < nj;
            r[sizes[15] + c] = (Reg)min(col, nj - 1);
            r[sizes[16] + c] = (Reg)b;
        }
#pragma unroll 1
        for (u32 row = 0; row < ND_ROWS; ++row) {
            const u32 at = i0 + threadIdx.y * ND_ROWS + row;
            if (at >= ni) break;
#pragma unroll
            for (u32 c = 0; c < ND_E; ++c) {
                r[sizes[13] + c] = nd_put(results[row][c]);
                r[sizes[14] + c] = (Reg)at;
            }
            nd_epilogue(a.fault, program, (u32)sizes[17], r, within);
        }
    }
}
