// The interpreter's folds: states in registers, joined across lanes and blocks in an order that the block's shape fixes, as reduce.cuh does.

// A state as words, whatever its reducer.
struct Words { u64 w[3]; };

template <class R> ND typename R::State nd_state_of(const Words& s) {
    typename R::State out;
    memcpy(&out, &s, sizeof(out));
    return out;
}

template <class R> ND Words nd_words_of(const typename R::State& s) {
    Words out = {{0, 0, 0}};
    memcpy(&out, &s, sizeof(s));
    return out;
}

// A state lies in column `e` of `words` registers.
ND Words nd_read_state(const Reg* s, u32 words, u32 e) {
    Words out = {{s[e], words > 1 ? s[ND_E + e] : 0, words > 2 ? s[2 * ND_E + e] : 0}};
    return out;
}

ND void nd_write_state(Reg* s, u32 words, u32 e, const Words& v) {
    s[e] = v.w[0];
    if (words > 1) s[ND_E + e] = v.w[1];
    if (words > 2) s[2 * ND_E + e] = v.w[2];
}

#define ND_REDUCERS
#include "generated/interp_ops.cuh"
#undef ND_REDUCERS

ND Words nd_empty(u32 fold) {
    Words out = {{0, 0, 0}};
    switch (fold) {
#define ND_FOLD(CODE, R) case CODE: { R::State s; R::init(s); out = nd_words_of<R>(s); break; }
#include "generated/interp_ops.cuh"
#undef ND_FOLD
    }
    return out;
}

__device__ __noinline__ Words nd_merged(u32 fold, Words acc, Words from) {
    switch (fold) {
#define ND_FOLD(CODE, R)                                     \
    case CODE: {                                             \
        R::State s = nd_state_of<R>(acc);                    \
        R::merge(s, nd_state_of<R>(from));                   \
        return nd_words_of<R>(s);                            \
    }
#include "generated/interp_ops.cuh"
#undef ND_FOLD
    }
    return acc;
}

// As nd_fold_x and nd_fold_y of reduce.cuh.
ND Words nd_join(u32 fold, Words acc, bool along_y) {
    __shared__ Words all[256];
    if (along_y) {
        const u32 at = threadIdx.y * blockDim.x + threadIdx.x;
        all[at] = acc;
        __syncthreads();
        for (u32 d = blockDim.y / 2; d > 0; d /= 2) {
            if (threadIdx.y < d) {
                acc = nd_merged(fold, acc, all[at + d * blockDim.x]);
                all[at] = acc;
            }
            __syncthreads();
        }
        acc = all[threadIdx.x];
        __syncthreads();
        return acc;
    }
    const u32 width = blockDim.x < 32 ? blockDim.x : 32;
    const u32 lane = threadIdx.x % width;
    for (u32 d = width / 2; d > 0; d /= 2) {
        const Words from = nd_from_lane(acc, (lane + d) % width, width);
        if (lane < d) acc = nd_merged(fold, acc, from);
    }
    acc = nd_from_lane(acc, 0, width);
    if (blockDim.x > 32) {
        const u32 first = threadIdx.y * blockDim.x / 32;
        if (lane == 0) all[first + threadIdx.x / 32] = acc;
        __syncthreads();
        acc = all[first];
        for (u32 w = 1; w < blockDim.x / 32; ++w) acc = nd_merged(fold, acc, all[first + w]);
        __syncthreads();
    }
    return acc;
}
