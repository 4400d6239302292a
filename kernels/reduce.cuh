// Folds across the threads of a block, and across blocks. The order is fixed by the block's shape, never by timing.
// A reducer R has a State and init, step, merge, finish. Every thread of the block must call these, with equal blockDim.

// The State of another lane.
template <class S> ND S nd_from_lane(S v, u32 lane, u32 width) {
    u32 w[(sizeof(S) + 3) / 4] = {};
    memcpy(w, &v, sizeof(S));
#pragma unroll
    for (u32 i = 0; i < sizeof(w) / 4; ++i) w[i] = __shfl_sync(0xffffffffu, w[i], lane, width);
    memcpy(&v, w, sizeof(S));
    return v;
}

// Folds along x: all threads of one threadIdx.y get the whole. blockDim.x is a power of two, the block at most 1024 threads.
template <class R> ND void nd_fold_x(typename R::State& acc) {
    const u32 width = blockDim.x < 32 ? blockDim.x : 32;
    const u32 lane = threadIdx.x % width;
    for (u32 d = width / 2; d > 0; d /= 2) {
        const typename R::State from = nd_from_lane(acc, (lane + d) % width, width);
        if (lane < d) R::merge(acc, from);
    }
    acc = nd_from_lane(acc, 0, width);
    if (blockDim.x > 32) {
        __shared__ typename R::State warps[32];
        const u32 first = threadIdx.y * blockDim.x / 32;
        if (lane == 0) warps[first + threadIdx.x / 32] = acc;
        __syncthreads();
        acc = warps[first];
        for (u32 w = 1; w < blockDim.x / 32; ++w) R::merge(acc, warps[first + w]);
        __syncthreads();
    }
}

// Folds along y: all threads of one threadIdx.x get the whole. blockDim.y is a power of two, the block at most 256 threads.
template <class R> ND void nd_fold_y(typename R::State& acc) {
    typedef typename R::State S;
    if (blockDim.y == 1) return;
    // Word by word: neighbours lie in neighbouring banks, however long a state is.
    constexpr u32 words = (sizeof(S) + 3) / 4;
    __shared__ u32 all[words][256];
    const u32 at = threadIdx.y * blockDim.x + threadIdx.x;
    const auto put = [&] {
        u32 w[words] = {};
        memcpy(w, &acc, sizeof(S));
#pragma unroll
        for (u32 i = 0; i < words; ++i) all[i][at] = w[i];
    };
    const auto get = [&](u32 from) {
        u32 w[words];
#pragma unroll
        for (u32 i = 0; i < words; ++i) w[i] = all[i][from];
        S s;
        memcpy(&s, w, sizeof(S));
        return s;
    };
    put();
    __syncthreads();
    for (u32 d = blockDim.y / 2; d > 0; d /= 2) {
        if (threadIdx.y < d) {
            R::merge(acc, get(at + d * blockDim.x));
            put();
        }
        __syncthreads();
    }
    acc = get(threadIdx.x);
    __syncthreads();
}

// Folds segments in order: lane l has the fold of segment l of `count`, and all of a row get `whole` with those of its lanes. The first is begun with.
template <class R> ND void nd_chain_x(typename R::State& whole, const typename R::State& own, u64 count, bool first) {
    for (u32 l = 0; l < blockDim.x && l < count; ++l) {
        const typename R::State from = nd_from_lane(own, l, blockDim.x);
        if (first && l == 0) whole = from;
        else R::merge(whole, from);
    }
}

template <class R> ND void nd_chain_y(typename R::State& whole, const typename R::State& own, u64 count, bool first) {
    typedef typename R::State S;
    constexpr u32 words = (sizeof(S) + 3) / 4;
    __shared__ u32 all[words][256];
    u32 w[words] = {};
    memcpy(w, &own, sizeof(S));
#pragma unroll
    for (u32 i = 0; i < words; ++i) all[i][threadIdx.y * blockDim.x + threadIdx.x] = w[i];
    __syncthreads();
    for (u32 l = 0; l < blockDim.y && l < count; ++l) {
#pragma unroll
        for (u32 i = 0; i < words; ++i) w[i] = all[i][l * blockDim.x + threadIdx.x];
        S from;
        memcpy(&from, w, sizeof(S));
        if (first && l == 0) whole = from;
        else R::merge(whole, from);
    }
    __syncthreads();
}

// The states that the gridDim.y blocks of a row leave for fold number `fold`: 24 bytes are kept for each.
template <class R> ND typename R::State* nd_states(char* scratch, u64 rows, u64 row, u32 fold) {
    static_assert(sizeof(typename R::State) <= 24, "a state of a fold");
    return (typename R::State*)(scratch + rows * gridDim.y * 24 * fold) + row * gridDim.y;
}

// Whether this block is the last of the gridDim.y that come here for one ticket; what the others wrote before is then visible.
// The ticket is left at 0.
ND bool nd_is_last(u32* ticket) {
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0 && threadIdx.y == 0) {
        last = atomicAdd(ticket, 1u) == gridDim.y - 1;
        if (last) *ticket = 0;
    }
    __syncthreads();
    __threadfence();
    return last;
}
