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

// States in shared memory, word by word: neighbours lie in neighbouring banks, however long a state is.
template <u32 WORDS, u32 N> struct Banks { u32 word[WORDS][N]; };
template <class S, u32 N> struct States : Banks<(sizeof(S) + 3) / 4, N> {
    ND void put(u32 at, const S& s) {
        u32 w[(sizeof(S) + 3) / 4] = {};
        memcpy(w, &s, sizeof(S));
        // Padding, too: who gets a state may read it with the rest.
#pragma unroll
        for (u32 i = 0; i < sizeof(w) / 4; ++i) this->word[i][at] = nd_kept(w[i]);
    }
    ND S get(u32 at) const {
        u32 w[(sizeof(S) + 3) / 4];
#pragma unroll
        for (u32 i = 0; i < sizeof(w) / 4; ++i) w[i] = this->word[i][at];
        S s;
        memcpy(&s, w, sizeof(S));
        return s;
    }
};

// One place for the states of a block, whichever fold has them: a kernel of many would have more than 48 KiB. There is one for each length of a
// state, 21 KiB in all at most; a fold is done with it when it ends.
template <u32 WORDS> ND Banks<WORDS, 256>& nd_banks() {
    __shared__ Banks<WORDS, 256> banks;
    return banks;
}
template <class S> ND States<S, 256>& nd_block_states() { return static_cast<States<S, 256>&>(nd_banks<(sizeof(S) + 3) / 4>()); }

// Folds along y: all threads of one threadIdx.x get the whole. blockDim.y is a power of two, the block at most 256 threads.
template <class R> ND void nd_fold_y(typename R::State& acc) {
    if (blockDim.y == 1) return;
    States<typename R::State, 256>& all = nd_block_states<typename R::State>();
    const u32 at = threadIdx.y * blockDim.x + threadIdx.x;
    all.put(at, acc);
    __syncthreads();
    for (u32 d = blockDim.y / 2; d > 0; d /= 2) {
        if (threadIdx.y < d) {
            R::merge(acc, all.get(at + d * blockDim.x));
            all.put(at, acc);
        }
        __syncthreads();
    }
    acc = all.get(threadIdx.x);
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
    States<typename R::State, 256>& all = nd_block_states<typename R::State>();
    all.put(threadIdx.y * blockDim.x + threadIdx.x, own);
    __syncthreads();
    for (u32 l = 0; l < blockDim.y && l < count; ++l) {
        const typename R::State from = all.get(l * blockDim.x + threadIdx.x);
        if (first && l == 0) whole = from;
        else R::merge(whole, from);
    }
    __syncthreads();
}

// Folds over groups of 8 lanes; the first of each has the whole.
template <class R> ND typename R::State nd_fold_8(typename R::State acc) {
    const u32 lane = threadIdx.x % 8;
#pragma unroll
    for (u32 d = 4; d > 0; d /= 2) {
        const typename R::State from = nd_from_lane(acc, (lane + d) % 8, 8);
        if (lane < d) R::merge(acc, from);
    }
    return acc;
}

// Folds over j of pairs: the first column of a block, those of a chunk (256, or so many that there are 256 chunks at most), and where the block
// stops. Each of the gridDim.y blocks that share a row has a power of 2 of chunks: a whole part of the row's tree.
template <class C> ND C nd_walk(C columns, C& chunk, C& stop) {
    C size = 256, share = 1;
    while (size * 256 < columns) size *= 2;
    const C chunks = (columns + size - 1) / size;
    while (share * gridDim.y < chunks) share *= 2;
    if (threadIdx.x == 0) {
        chunk = size;
        stop = min(columns, min(chunks, (blockIdx.y + 1) * share) * size);
    }
    __syncthreads();
    return blockIdx.y * share * size;
}

// A binary tree over states that come one after another, up to 511: its shape follows from their number alone.
template <class R> struct Tree {
    typedef typename R::State State;
    // Where bit n of the count is set, the fold of 2^n states; those of more come before those of fewer.
    State at[9];
    u32 count = 0;
    ND void push(State from) {
        u32 n = 0;
        for (; count >> n & 1; ++n) {
            State both = at[n];
            R::merge(both, from);
            from = both;
        }
        at[n] = from;
        ++count;
    }
    ND State all() const {
        State whole;
        R::init(whole);
        bool some = false;
        for (u32 n = 0; count >> n > 0; ++n) {
            if (!(count >> n & 1)) continue;
            State both = at[n];
            if (some) R::merge(both, whole);
            whole = both;
            some = true;
        }
        return whole;
    }
};

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
