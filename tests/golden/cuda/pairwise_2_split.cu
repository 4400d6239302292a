typedef u32 Count;
typedef i32 Index;
typedef Extent32 Extent;

struct Args {
    const f32* p0;
    const f32* p1;
    f32* p2;
    u64* fault;
    char* scratch;
    u32* tickets;
    u64 round[2]; // the first segment, and how many
    u64 q[1];
    Extent n[3];
    Index s0[3];
    Index s1[3];
    Index s2[3];
};

ND f32 op_mul_f32(f32 a, f32 b) {
    return (f32)(a * b);
}

struct sum_f32 {
    typedef f32 T;
    typedef f32 Out;
    struct State { T s0; };
    static ND void init(State& acc) { acc.s0 = -T(0); }
    static ND void step(State& acc, T v, i64 k) { acc.s0 = acc.s0 + v; }
    static ND void merge(State& acc, const State& from) { acc.s0 = acc.s0 + from.s0; }
    static ND Out finish(const State& acc, i64 seen) { Out out; out = seen ? acc.s0 : T(0); return out; }
};

ND f32 op_add_f32(f32 a, f32 b) {
    return (f32)(a + b);
}

ND f32 op_sub_f32(f32 a, f32 b) {
    return (f32)(a - b);
}

ND f32 op_abs_f32(f32 a) {
    return (f32)(fabsf(a));
}

extern "C" __global__ void __launch_bounds__(256, 2) nd_pairwise_mul_sum_add_sub_abs(const Args a) {
    const f32 v0 = nd_scalar<f32>(a.q[0]);
    // v1 at step k of row or column n: element k * 132 + n from byte 0 of a slice
    // v2 at step k of row or column n: element k * 132 + n from byte 4224 of a slice
    __shared__ __align__(16) u8 slices[16896];
    const u32 thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
    const u32 ty = warp / 2 * 32 + lane / 8 * 4;
    const u32 tx = warp % 2 * 64 + lane % 8 * 4;
    const Count ni = a.n[0].n;
    const Count nj = a.n[1].n;
    const Count nk = a.n[2].n;
    const Count nb = (Count)1;
    const Count tiles_i = (ni + 127) / 128;
    const Count tiles_j = (nj + 127) / 128;
    const Count tile = blockIdx.x;
    const Count at_i = tile / tiles_j % tiles_i;
    const Count j0 = tile % tiles_j * 128, i0 = at_i * 128;
    const Count share = ((Count)a.round[1] + gridDim.y - 1) / gridDim.y;
    if (blockIdx.y * share >= a.round[1]) return;
    const Count start = ((Count)a.round[0] + blockIdx.y * share) * 256;
    const Count segments = min((blockIdx.y + 1) * share, (Count)a.round[1]) + (Count)a.round[0];
    {
        const Count nk = min(a.n[2].n, segments * 256);
        sum_f32::State s4;
        sum_f32::init(s4);
        sum_f32::State s6;
        sum_f32::init(s6);
        sum_f32::State s8[8][8];
        #pragma unroll
        for (u32 r = 0; r < 8; ++r) {
            #pragma unroll
            for (u32 c = 0; c < 8; ++c) {
                sum_f32::init(s8[r][c]);
            }
        }
        u32 rows4 = nd_kept(nd_at_shared(slices) + ty * 4);
        u32 fill0x4;
        {
            const u32 w = warp + 0 * 8;
            const u32 kk = (w % 1 * 2 + lane / 16) * 4, at = w / 1 * 16 + lane % 16;
            fill0x4 = nd_kept(nd_at_shared(slices) + (kk * 132 + at) * 4);
        }
        u32 cols4 = nd_kept(nd_at_shared(slices) + tx * 4);
        i32 turn = -8448;
        Vec<f32, 4> g1[1];
        #pragma unroll
        for (u32 u = 0; u < 1; ++u) {
            const u32 w = warp + u * 8;
            const u32 kk = (w % 1 * 2 + lane / 16) * 4, at = w / 1 * 16 + lane % 16;
            const Count row = min(i0 + at, ni - 1);
            const Index x0 = row;
            const Count k = min(start + kk, nk - 4);
            const Index x2 = k;
            nd_load_vec<4>(g1[u - 0], a.p0 + (x0 * a.s0[0] + x2));
        }
        Vec<f32, 4> g2[1];
        #pragma unroll
        for (u32 u = 0; u < 1; ++u) {
            const u32 w = warp + u * 8;
            const u32 kk = (w % 1 * 2 + lane / 16) * 4, at = w / 1 * 16 + lane % 16;
            const Count row = min(j0 + at, nj - 1);
            const Index x1 = row;
            const Count k = min(start + kk, nk - 4);
            const Index x2 = k;
            nd_load_vec<4>(g2[u - 0], a.p1 + (x1 * a.s1[1] + x2));
        }
        #pragma unroll
        for (u32 u = 0; u < 1; ++u) {
            const u32 w = warp + u * 8;
            const u32 kk = (w % 1 * 2 + lane / 16) * 4, at = w / 1 * 16 + lane % 16;
            const Count row = min(i0 + at, ni - 1);
            const Index x0 = row;
            const Count k = min(start + kk, nk - 4);
            const Index x2 = k;
            const Index y = x2;
            #pragma unroll
            for (u32 e = 0; e < 4; ++e) {
                const Index x2 = y + (Index)e;
                const f32 v1 = nd_load(&g1[u - 0].at[e]);
                nd_shared<f32>(fill0x4)[0 + u * 128 + e * 132] = v1;
            }
        }
        #pragma unroll
        for (u32 u = 0; u < 1; ++u) {
            const u32 w = warp + u * 8;
            const u32 kk = (w % 1 * 2 + lane / 16) * 4, at = w / 1 * 16 + lane % 16;
            const Count row = min(j0 + at, nj - 1);
            const Index x1 = row;
            const Count k = min(start + kk, nk - 4);
            const Index x2 = k;
            const Index y = x2;
            #pragma unroll
            for (u32 e = 0; e < 4; ++e) {
                const Index x2 = y + (Index)e;
                const f32 v2 = nd_load(&g2[u - 0].at[e]);
                nd_shared<f32>(fill0x4)[1056 + u * 128 + e * 132] = v2;
            }
        }
        __syncthreads();
        fill0x4 -= turn;
        turn = -turn;
        u64 from1;
        {
            const u32 w = warp + 0 * 8;
            const u32 kk = (w % 1 * 2 + lane / 16) * 4, at = w / 1 * 16 + lane % 16;
            const Count row = min(i0 + at, ni - 1);
            const Index x0 = row;
            const Index x2 = kk;
            from1 = nd_kept(nd_at_global(a.p0 + (x0 * a.s0[0] + x2)));
        }
        u64 from2;
        {
            const u32 w = warp + 0 * 8;
            const u32 kk = (w % 1 * 2 + lane / 16) * 4, at = w / 1 * 16 + lane % 16;
            const Count row = min(j0 + at, nj - 1);
            const Index x1 = row;
            const Index x2 = kk;
            from2 = nd_kept(nd_at_global(a.p1 + (x1 * a.s1[1] + x2)));
        }
        Count ahead = start + 8;
        for (;;) {
            const bool last = nk - (ahead - 8) <= 256;
            const Count end = nd_kept(min(nd_kept(nk) - 1, ahead + 248));
            for (; ahead <= end; ahead += 8) {
                const Count k0 = ahead - 8, next = min(ahead, nk - 8);
                {
                    Vec<f32, 4> g1[1];
                    nd_load_vec<4>(g1[0], nd_global<f32>(from1) + next);
                    __syncwarp();
                    #pragma unroll
                    for (u32 kk = 0; kk < 4; ++kk) {
                        Vec<f32, 4> w1[2];
                        #pragma unroll
                        for (u32 q = 0; q < 2; ++q) nd_load_vec<4>(w1[q], nd_shared<f32>(rows4) + (0 + kk * 132 + q * 16));
                        Vec<f32, 4> w2[2];
                        #pragma unroll
                        for (u32 q = 0; q < 2; ++q) nd_load_vec<4>(w2[q], nd_shared<f32>(cols4) + (1056 + kk * 132 + q * 32));
                        #pragma unroll
                        for (u32 r = 0; r < 8; ++r) {
                            #pragma unroll
                            for (u32 c = 0; c < 8; ++c) {
                                const f32 v1 = w1[r / 4].at[r % 4];
                                const f32 v2 = w2[c / 4].at[c % 4];
                                s8[r][c].s0 = nd_fma(v1, v2, s8[r][c].s0);
                            }
                        }
                        if (thread < 128) {
                            const f32 v1 = nd_shared<f32>(nd_at_shared(slices) + (turn < 0 ? 8448 : 0) + 0)[kk * 132 + thread];
                            s4.s0 = nd_fma(v1, v1, s4.s0);
                        }
                        if (thread >= 128 && thread < 256) {
                            const f32 v2 = nd_shared<f32>(nd_at_shared(slices) + (turn < 0 ? 8448 : 0) + 4224)[kk * 132 + thread - 128];
                            s6.s0 = nd_fma(v2, v2, s6.s0);
                        }
                    }
                    #pragma unroll
                    for (u32 u = 0; u < 1; ++u) {
                        const u32 w = warp + u * 8;
                        const u32 kk = (w % 1 * 2 + lane / 16) * 4, at = w / 1 * 16 + lane % 16;
                        const Count row = min(i0 + at, ni - 1);
                        const Index x0 = row;
                        const Count k = next + kk;
                        const Index x2 = k;
                        const Index y = x2;
                        #pragma unroll
                        for (u32 e = 0; e < 4; ++e) {
                            const Index x2 = y + (Index)e;
                            const f32 v1 = nd_load(&g1[u - 0].at[e]);
                            nd_shared<f32>(fill0x4)[0 + u * 128 + e * 132] = v1;
                        }
                    }
                }
                {
                    Vec<f32, 4> g2[1];
                    nd_load_vec<4>(g2[0], nd_global<f32>(from2) + next);
                    __syncwarp();
                    #pragma unroll
                    for (u32 kk = 4; kk < 8; ++kk) {
                        Vec<f32, 4> w1[2];
                        #pragma unroll
                        for (u32 q = 0; q < 2; ++q) nd_load_vec<4>(w1[q], nd_shared<f32>(rows4) + (0 + kk * 132 + q * 16));
                        Vec<f32, 4> w2[2];
                        #pragma unroll
                        for (u32 q = 0; q < 2; ++q) nd_load_vec<4>(w2[q], nd_shared<f32>(cols4) + (1056 + kk * 132 + q * 32));
                        #pragma unroll
                        for (u32 r = 0; r < 8; ++r) {
                            #pragma unroll
                            for (u32 c = 0; c < 8; ++c) {
                                const f32 v1 = w1[r / 4].at[r % 4];
                                const f32 v2 = w2[c / 4].at[c % 4];
                                s8[r][c].s0 = nd_fma(v1, v2, s8[r][c].s0);
                            }
                        }
                        if (thread < 128) {
                            const f32 v1 = nd_shared<f32>(nd_at_shared(slices) + (turn < 0 ? 8448 : 0) + 0)[kk * 132 + thread];
                            s4.s0 = nd_fma(v1, v1, s4.s0);
                        }
                        if (thread >= 128 && thread < 256) {
                            const f32 v2 = nd_shared<f32>(nd_at_shared(slices) + (turn < 0 ? 8448 : 0) + 4224)[kk * 132 + thread - 128];
                            s6.s0 = nd_fma(v2, v2, s6.s0);
                        }
                    }
                    #pragma unroll
                    for (u32 u = 0; u < 1; ++u) {
                        const u32 w = warp + u * 8;
                        const u32 kk = (w % 1 * 2 + lane / 16) * 4, at = w / 1 * 16 + lane % 16;
                        const Count row = min(j0 + at, nj - 1);
                        const Index x1 = row;
                        const Count k = next + kk;
                        const Index x2 = k;
                        const Index y = x2;
                        #pragma unroll
                        for (u32 e = 0; e < 4; ++e) {
                            const Index x2 = y + (Index)e;
                            const f32 v2 = nd_load(&g2[u - 0].at[e]);
                            nd_shared<f32>(fill0x4)[1056 + u * 128 + e * 132] = v2;
                        }
                    }
                }
                __syncthreads();
                rows4 += turn;
                fill0x4 -= turn;
                cols4 += turn;
                turn = -turn;
            }
            if (last) {
                const Count k0 = min(ahead - 8, max(nd_kept(nk), (Count)(start + 8)) - 8);
                #pragma unroll 1
                for (u32 kk = ahead - 8 - k0; kk < nk - k0; ++kk) {
                    Vec<f32, 4> w1[2];
                    #pragma unroll
                    for (u32 q = 0; q < 2; ++q) nd_load_vec<4>(w1[q], nd_shared<f32>(rows4) + (0 + kk * 132 + q * 16));
                    Vec<f32, 4> w2[2];
                    #pragma unroll
                    for (u32 q = 0; q < 2; ++q) nd_load_vec<4>(w2[q], nd_shared<f32>(cols4) + (1056 + kk * 132 + q * 32));
                    #pragma unroll
                    for (u32 r = 0; r < 8; ++r) {
                        #pragma unroll
                        for (u32 c = 0; c < 8; ++c) {
                            const f32 v1 = w1[r / 4].at[r % 4];
                            const f32 v2 = w2[c / 4].at[c % 4];
                            s8[r][c].s0 = nd_fma(v1, v2, s8[r][c].s0);
                        }
                    }
                    if (thread < 128) {
                        const f32 v1 = nd_shared<f32>(nd_at_shared(slices) + (turn < 0 ? 8448 : 0) + 0)[kk * 132 + thread];
                        s4.s0 = nd_fma(v1, v1, s4.s0);
                    }
                    if (thread >= 128 && thread < 256) {
                        const f32 v2 = nd_shared<f32>(nd_at_shared(slices) + (turn < 0 ? 8448 : 0) + 4224)[kk * 132 + thread - 128];
                        s6.s0 = nd_fma(v2, v2, s6.s0);
                    }
                }
            }
            {
                const u32 thread = nd_thread(), lane = thread % 32, warp = thread / 32;
                const u32 ty = warp / 2 * 32 + lane / 8 * 4;
                const u32 tx = warp % 2 * 64 + lane % 8 * 4;
                const u64 segment = (last ? nk - 1 : ahead - 8 - 1) / 256 - a.round[0];
                char* const to = a.scratch + (u64)gridDim.x * 196608 + (segment * gridDim.x + blockIdx.x) * 66560;
                sum_f32::State* const left4 = (sum_f32::State*)(to + 0);
                static_assert(sizeof(sum_f32::State) <= 4, "a state of a fold");
                if (thread - 0 < 128) left4[thread - 0] = s4;
                sum_f32::State* const left6 = (sum_f32::State*)(to + 512);
                static_assert(sizeof(sum_f32::State) <= 4, "a state of a fold");
                if (thread - 128 < 128) left6[thread - 128] = s6;
                sum_f32::State* const left8 = (sum_f32::State*)(to + 1024);
                static_assert(sizeof(sum_f32::State) <= 4, "a state of a fold");
                #pragma unroll
                for (u32 r = 0; r < 8; ++r) {
                    #pragma unroll
                    for (u32 c = 0; c < 8; ++c) {
                        const Count row = i0 + ty + r / 4 * 16 + r % 4, col = j0 + tx + c / 4 * 32 + c % 4;
                        if (row < ni && col < nj) left8[(r * 8 + c) * 256 + thread] = s8[r][c];
                    }
                }
            }
            if (last) break;
            sum_f32::init(s4);
            sum_f32::init(s6);
            #pragma unroll
            for (u32 r = 0; r < 8; ++r) {
                #pragma unroll
                for (u32 c = 0; c < 8; ++c) {
                    sum_f32::init(s8[r][c]);
                }
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) nd_pairwise_mul_sum_add_sub_abs_join(const Args a) {
    const f32 v0 = nd_scalar<f32>(a.q[0]);
    const u32 thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
    const u32 ty = warp / 2 * 32 + lane / 8 * 4;
    const u32 tx = warp % 2 * 64 + lane % 8 * 4;
    const Count ni = a.n[0].n;
    const Count nj = a.n[1].n;
    const Count nk = a.n[2].n;
    const Count nb = (Count)1;
    const Count tiles_i = (ni + 127) / 128;
    const u32 cell = blockIdx.x % 64;
    const u32 r = cell / 8, c = cell % 8;
    const Count tiles_j = (nj + 127) / 128;
    const Count tile = blockIdx.x / 64;
    const Count at_i = tile / tiles_j % tiles_i;
    const Count j0 = tile % tiles_j * 128, i0 = at_i * 128;
    const Count row = i0 + ty + r / 4 * 16 + r % 4, col = j0 + tx + c / 4 * 32 + c % 4;
    if (row >= ni || col >= nj) return;
    const Index x0 = row;
    const Index x1 = col;
    const u64 tiles = (u64)gridDim.x / 64, first = a.round[0] == 0;
    const bool done = a.round[0] + a.round[1] == (nk + 255) / 256;
    char* const all = a.scratch + tile * 196608;
    const char* const from = a.scratch + tiles * 196608 + tile * 66560;
    sum_f32::State* const all4 = (sum_f32::State*)(all + 0) + cell * 256 + thread;
    const sum_f32::State* const left4 = (const sum_f32::State*)(from + 0) + row - i0;
    sum_f32::State s4;
    if (first) s4 = *left4;
    else s4 = *all4;
    #pragma unroll 8
    for (u64 n = first; n < a.round[1]; ++n) {
        sum_f32::merge(s4, *(const sum_f32::State*)((const char*)left4 + n * tiles * 66560));
    }
    if (!done) *all4 = s4;
    sum_f32::State* const all6 = (sum_f32::State*)(all + 65536) + cell * 256 + thread;
    const sum_f32::State* const left6 = (const sum_f32::State*)(from + 512) + col - j0;
    sum_f32::State s6;
    if (first) s6 = *left6;
    else s6 = *all6;
    #pragma unroll 8
    for (u64 n = first; n < a.round[1]; ++n) {
        sum_f32::merge(s6, *(const sum_f32::State*)((const char*)left6 + n * tiles * 66560));
    }
    if (!done) *all6 = s6;
    sum_f32::State* const all8 = (sum_f32::State*)(all + 131072) + cell * 256 + thread;
    const sum_f32::State* const left8 = (const sum_f32::State*)(from + 1024) + cell * 256 + thread;
    sum_f32::State s8;
    if (first) s8 = *left8;
    else s8 = *all8;
    #pragma unroll 8
    for (u64 n = first; n < a.round[1]; ++n) {
        sum_f32::merge(s8, *(const sum_f32::State*)((const char*)left8 + n * tiles * 66560));
    }
    if (!done) *all8 = s8;
    if (!done) return;
    const f32 v4 = sum_f32::finish(s4, (i64)nk);
    const f32 v6 = sum_f32::finish(s6, (i64)nk);
    const f32 v8 = sum_f32::finish(s8, (i64)nk);
    const f32 v9 = op_add_f32(v4, v6);
    const f32 v10 = op_mul_f32(v0, v8);
    const f32 v11 = op_sub_f32(v9, v10);
    const f32 v12 = op_abs_f32(v11);
    nd_store(a.p2 + (x0 * a.s2[0] + x1 * a.s2[1]), v12);
}
