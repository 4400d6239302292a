typedef u32 Count;
typedef i32 Index;
typedef Extent32 Extent;

struct Args {
    const f32* p0;
    const f32* p1;
    i64* p2;
    u64* fault;
    char* scratch;
    u32* tickets;
    Extent n[3];
    Index s0[3];
    Index s1[3];
    Index s2[3];
};

ND f32 op_sub_f32(f32 a, f32 b) {
    return (f32)(a - b);
}

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

ND f32 op_sqrt_f32(f32 a) {
    return (f32)(sqrtf(a));
}

struct argmin_f32 {
    typedef f32 T;
    typedef i64 Out;
    struct State { T s0; long long s1; };
    static ND void init(State& acc) { acc.s0 = T(0); acc.s1 = -1; }
    static ND void step(State& acc, T v, i64 k) { if (acc.s1 < 0 || v < acc.s0 || (v != v && acc.s0 == acc.s0)) { acc.s0 = v; acc.s1 = k; } }
    static ND void merge(State& acc, const State& from) { if (from.s1 >= 0 && (acc.s1 < 0 || from.s0 < acc.s0 || (from.s0 != from.s0 && acc.s0 == acc.s0) || (from.s1 < acc.s1 && !(acc.s0 < from.s0 || (acc.s0 != acc.s0 && from.s0 == from.s0))))) acc = from; }
    static ND Out finish(const State& acc, i64 seen) { Out out; out = acc.s1; return out; }
};

extern "C" __global__ void __launch_bounds__(256, 2) nd_pairwise_sub_mul_sum_sqrt_argmin(const Args a) {
    __shared__ States<argmin_f32::State, 128> joined6[2];
    __shared__ Count chunk, stop;
    __shared__ __align__(16) f32 m0[2][8][132];
    __shared__ __align__(16) f32 m1[2][8][132];
    const u32 thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
    const u32 ty = warp / 2 * 32 + lane / 8 * 4;
    const u32 tx = warp % 2 * 64 + lane % 8 * 4;
    const Count ni = a.n[0].n;
    const Count nj = a.n[1].n;
    const Count nk = a.n[2].n;
    const Count nb = (Count)1;
    const Count tiles_i = (ni + 127) / 128;
    const Count i0 = blockIdx.x % tiles_i * 128;
    if (blockIdx.x >= nb * tiles_i) return;
    argmin_f32::State own6[8];
    Tree<argmin_f32> owntree6;
    Count j0 = nd_walk(nj, chunk, stop);
    {
        argmin_f32::State* rows6 = own6;
        asm volatile("" : "+l"(rows6));
        #pragma unroll
        for (u32 r = 0; r < 8; ++r) {
            argmin_f32::init(rows6[r]);
        }
    }
    for (; j0 < stop; j0 += 128) {
        sum_f32::State s4[8][8];
        #pragma unroll
        for (u32 r = 0; r < 8; ++r) {
            #pragma unroll
            for (u32 c = 0; c < 8; ++c) {
                sum_f32::init(s4[r][c]);
            }
        }
        if (nk > 0) {
            sum_f32::State local4[128];
            u32 buffer = 0, to = 0;
            Count next = 0;
            f32 g0[4];
            #pragma unroll
            for (u32 u = 0; u < 4; ++u) {
                const u32 w = warp + u * 8;
                const u32 kk = (w % 1 * 8 + lane % 8) * 1, at = w / 1 * 4 + lane / 8;
                const Count row = min(i0 + at + (next >> 31), ni - 1);
                const Index x0 = row;
                const Count k = min(next + kk, nk - 1);
                const Index x2 = k;
                g0[u - 0] = nd_load(a.p0 + (x0 * a.s0[0] + x2 * a.s0[2]));
            }
            f32 g1[4];
            #pragma unroll
            for (u32 u = 0; u < 4; ++u) {
                const u32 w = warp + u * 8;
                const u32 kk = (w % 1 * 8 + lane % 8) * 1, at = w / 1 * 4 + lane / 8;
                const Count row = min(j0 + at + (next >> 31), nj - 1);
                const Index x1 = row;
                const Count k = min(next + kk, nk - 1);
                const Index x2 = k;
                g1[u - 0] = nd_load(a.p1 + (x1 * a.s1[1] + x2 * a.s1[2]));
            }
            #pragma unroll
            for (u32 u = 0; u < 4; ++u) {
                const u32 w = warp + u * 8;
                const u32 kk = (w % 1 * 8 + lane % 8) * 1, at = w / 1 * 4 + lane / 8;
                const Count row = min(i0 + at + (next >> 31), ni - 1);
                const Index x0 = row;
                const Count k = min(next + kk, nk - 1);
                const Index x2 = k;
                const f32 v0 = g0[u - 0];
                m0[to][kk][at] = v0;
            }
            #pragma unroll
            for (u32 u = 0; u < 4; ++u) {
                const u32 w = warp + u * 8;
                const u32 kk = (w % 1 * 8 + lane % 8) * 1, at = w / 1 * 4 + lane / 8;
                const Count row = min(j0 + at + (next >> 31), nj - 1);
                const Index x1 = row;
                const Count k = min(next + kk, nk - 1);
                const Index x2 = k;
                const f32 v1 = g1[u - 0];
                m1[to][kk][at] = v1;
            }
            __syncthreads();
            Count k0 = 0;
            for (;;) {
                const bool begun = k0 > 0, last = nk - k0 <= 256;
                const Count end = k0 + min(nk - k0 - 1, (Count)256);
                for (; k0 + 8 <= end; k0 = next) {
                    next = k0 + 8;
                    to = buffer ^ 1;
                    {
                        f32 g0[2];
                        #pragma unroll
                        for (u32 u = 0; u < 2; ++u) {
                            const u32 w = warp + u * 8;
                            const u32 kk = (w % 1 * 8 + lane % 8) * 1, at = w / 1 * 4 + lane / 8;
                            const Count row = min(i0 + at + (next >> 31), ni - 1);
                            const Index x0 = row;
                            const Count k = min(next + kk, nk - 1);
                            const Index x2 = k;
                            g0[u - 0] = nd_load(a.p0 + (x0 * a.s0[0] + x2 * a.s0[2]));
                        }
                        __syncwarp();
                        #pragma unroll
                        for (u32 kk = 0; kk < 2; ++kk) {
                            Vec<f32, 4> w0[2];
                            #pragma unroll
                            for (u32 q = 0; q < 2; ++q) nd_load_vec<4>(w0[q], &m0[buffer][kk][ty + q * 16]);
                            Vec<f32, 4> w1[2];
                            #pragma unroll
                            for (u32 q = 0; q < 2; ++q) nd_load_vec<4>(w1[q], &m1[buffer][kk][tx + q * 32]);
                            #pragma unroll
                            for (u32 r = 0; r < 8; ++r) {
                                #pragma unroll
                                for (u32 c = 0; c < 8; ++c) {
                                    const f32 v0 = w0[r / 4].at[r % 4];
                                    const f32 v1 = w1[c / 4].at[c % 4];
                                    const f32 v2 = op_sub_f32(v0, v1);
                                    s4[r][c].s0 = nd_fma(v2, v2, s4[r][c].s0);
                                }
                            }
                        }
                        #pragma unroll
                        for (u32 u = 0; u < 2; ++u) {
                            const u32 w = warp + u * 8;
                            const u32 kk = (w % 1 * 8 + lane % 8) * 1, at = w / 1 * 4 + lane / 8;
                            const Count row = min(i0 + at + (next >> 31), ni - 1);
                            const Index x0 = row;
                            const Count k = min(next + kk, nk - 1);
                            const Index x2 = k;
                            const f32 v0 = g0[u - 0];
                            m0[to][kk][at] = v0;
                        }
                    }
                    {
                        f32 g0[2];
                        #pragma unroll
                        for (u32 u = 2; u < 4; ++u) {
                            const u32 w = warp + u * 8;
                            const u32 kk = (w % 1 * 8 + lane % 8) * 1, at = w / 1 * 4 + lane / 8;
                            const Count row = min(i0 + at + (next >> 31), ni - 1);
                            const Index x0 = row;
                            const Count k = min(next + kk, nk - 1);
                            const Index x2 = k;
                            g0[u - 2] = nd_load(a.p0 + (x0 * a.s0[0] + x2 * a.s0[2]));
                        }
                        __syncwarp();
                        #pragma unroll
                        for (u32 kk = 2; kk < 4; ++kk) {
                            Vec<f32, 4> w0[2];
                            #pragma unroll
                            for (u32 q = 0; q < 2; ++q) nd_load_vec<4>(w0[q], &m0[buffer][kk][ty + q * 16]);
                            Vec<f32, 4> w1[2];
                            #pragma unroll
                            for (u32 q = 0; q < 2; ++q) nd_load_vec<4>(w1[q], &m1[buffer][kk][tx + q * 32]);
                            #pragma unroll
                            for (u32 r = 0; r < 8; ++r) {
                                #pragma unroll
                                for (u32 c = 0; c < 8; ++c) {
                                    const f32 v0 = w0[r / 4].at[r % 4];
                                    const f32 v1 = w1[c / 4].at[c % 4];
                                    const f32 v2 = op_sub_f32(v0, v1);
                                    s4[r][c].s0 = nd_fma(v2, v2, s4[r][c].s0);
                                }
                            }
                        }
                        #pragma unroll
                        for (u32 u = 2; u < 4; ++u) {
                            const u32 w = warp + u * 8;
                            const u32 kk = (w % 1 * 8 + lane % 8) * 1, at = w / 1 * 4 + lane / 8;
                            const Count row = min(i0 + at + (next >> 31), ni - 1);
                            const Index x0 = row;
                            const Count k = min(next + kk, nk - 1);
                            const Index x2 = k;
                            const f32 v0 = g0[u - 2];
                            m0[to][kk][at] = v0;
                        }
                    }
                    {
                        f32 g1[2];
                        #pragma unroll
                        for (u32 u = 0; u < 2; ++u) {
                            const u32 w = warp + u * 8;
                            const u32 kk = (w % 1 * 8 + lane % 8) * 1, at = w / 1 * 4 + lane / 8;
                            const Count row = min(j0 + at + (next >> 31), nj - 1);
                            const Index x1 = row;
                            const Count k = min(next + kk, nk - 1);
                            const Index x2 = k;
                            g1[u - 0] = nd_load(a.p1 + (x1 * a.s1[1] + x2 * a.s1[2]));
                        }
                        __syncwarp();
                        #pragma unroll
                        for (u32 kk = 4; kk < 6; ++kk) {
                            Vec<f32, 4> w0[2];
                            #pragma unroll
                            for (u32 q = 0; q < 2; ++q) nd_load_vec<4>(w0[q], &m0[buffer][kk][ty + q * 16]);
                            Vec<f32, 4> w1[2];
                            #pragma unroll
                            for (u32 q = 0; q < 2; ++q) nd_load_vec<4>(w1[q], &m1[buffer][kk][tx + q * 32]);
                            #pragma unroll
                            for (u32 r = 0; r < 8; ++r) {
                                #pragma unroll
                                for (u32 c = 0; c < 8; ++c) {
                                    const f32 v0 = w0[r / 4].at[r % 4];
                                    const f32 v1 = w1[c / 4].at[c % 4];
                                    const f32 v2 = op_sub_f32(v0, v1);
                                    s4[r][c].s0 = nd_fma(v2, v2, s4[r][c].s0);
                                }
                            }
                        }
                        #pragma unroll
                        for (u32 u = 0; u < 2; ++u) {
                            const u32 w = warp + u * 8;
                            const u32 kk = (w % 1 * 8 + lane % 8) * 1, at = w / 1 * 4 + lane / 8;
                            const Count row = min(j0 + at + (next >> 31), nj - 1);
                            const Index x1 = row;
                            const Count k = min(next + kk, nk - 1);
                            const Index x2 = k;
                            const f32 v1 = g1[u - 0];
                            m1[to][kk][at] = v1;
                        }
                    }
                    {
                        f32 g1[2];
                        #pragma unroll
                        for (u32 u = 2; u < 4; ++u) {
                            const u32 w = warp + u * 8;
                            const u32 kk = (w % 1 * 8 + lane % 8) * 1, at = w / 1 * 4 + lane / 8;
                            const Count row = min(j0 + at + (next >> 31), nj - 1);
                            const Index x1 = row;
                            const Count k = min(next + kk, nk - 1);
                            const Index x2 = k;
                            g1[u - 2] = nd_load(a.p1 + (x1 * a.s1[1] + x2 * a.s1[2]));
                        }
                        __syncwarp();
                        #pragma unroll
                        for (u32 kk = 6; kk < 8; ++kk) {
                            Vec<f32, 4> w0[2];
                            #pragma unroll
                            for (u32 q = 0; q < 2; ++q) nd_load_vec<4>(w0[q], &m0[buffer][kk][ty + q * 16]);
                            Vec<f32, 4> w1[2];
                            #pragma unroll
                            for (u32 q = 0; q < 2; ++q) nd_load_vec<4>(w1[q], &m1[buffer][kk][tx + q * 32]);
                            #pragma unroll
                            for (u32 r = 0; r < 8; ++r) {
                                #pragma unroll
                                for (u32 c = 0; c < 8; ++c) {
                                    const f32 v0 = w0[r / 4].at[r % 4];
                                    const f32 v1 = w1[c / 4].at[c % 4];
                                    const f32 v2 = op_sub_f32(v0, v1);
                                    s4[r][c].s0 = nd_fma(v2, v2, s4[r][c].s0);
                                }
                            }
                        }
                        #pragma unroll
                        for (u32 u = 2; u < 4; ++u) {
                            const u32 w = warp + u * 8;
                            const u32 kk = (w % 1 * 8 + lane % 8) * 1, at = w / 1 * 4 + lane / 8;
                            const Count row = min(j0 + at + (next >> 31), nj - 1);
                            const Index x1 = row;
                            const Count k = min(next + kk, nk - 1);
                            const Index x2 = k;
                            const f32 v1 = g1[u - 2];
                            m1[to][kk][at] = v1;
                        }
                    }
                    __syncthreads();
                    buffer = to;
                }
                if (last) {
                    #pragma unroll 1
                    for (u32 kk = 0; kk < nk - k0; ++kk) {
                        Vec<f32, 4> w0[2];
                        #pragma unroll
                        for (u32 q = 0; q < 2; ++q) nd_load_vec<4>(w0[q], &m0[buffer][kk][ty + q * 16]);
                        Vec<f32, 4> w1[2];
                        #pragma unroll
                        for (u32 q = 0; q < 2; ++q) nd_load_vec<4>(w1[q], &m1[buffer][kk][tx + q * 32]);
                        #pragma unroll
                        for (u32 r = 0; r < 8; ++r) {
                            #pragma unroll
                            for (u32 c = 0; c < 8; ++c) {
                                const f32 v0 = w0[r / 4].at[r % 4];
                                const f32 v1 = w1[c / 4].at[c % 4];
                                const f32 v2 = op_sub_f32(v0, v1);
                                s4[r][c].s0 = nd_fma(v2, v2, s4[r][c].s0);
                            }
                        }
                    }
                }
                if (nk <= 256) break;
                sum_f32::State* whole4 = local4;
                asm volatile("" : "+l"(whole4));
                #pragma unroll
                for (u32 r = 0; r < 8; ++r) {
                    #pragma unroll
                    for (u32 c = 0; c < 8; ++c) {
                        whole4[(begun ? 64 : 0) + r * 8 + c] = s4[r][c];
                    }
                }
                #pragma unroll 1
                for (u32 n = 0; begun && n < 64; ++n) sum_f32::merge(whole4[n], whole4[64 + n]);
                if (last) break;
                #pragma unroll
                for (u32 r = 0; r < 8; ++r) {
                    #pragma unroll
                    for (u32 c = 0; c < 8; ++c) {
                        sum_f32::init(s4[r][c]);
                    }
                }
            }
            if (nk > 256) {
                sum_f32::State* whole4 = local4;
                asm volatile("" : "+l"(whole4));
                #pragma unroll
                for (u32 r = 0; r < 8; ++r) {
                    #pragma unroll
                    for (u32 c = 0; c < 8; ++c) {
                        s4[r][c] = whole4[r * 8 + c];
                    }
                }
            }
        }
        __syncthreads();
        {
            u32 again;
            asm volatile("mov.u32 %0, %%tid.x;" : "=r"(again));
            const u32 thread = again, lane = thread % 32, warp = thread / 32;
            const u32 ty = warp / 2 * 32 + lane / 8 * 4;
            const u32 tx = warp % 2 * 64 + lane % 8 * 4;
            argmin_f32::State* rows6 = own6;
            asm volatile("" : "+l"(rows6));
            #pragma unroll
            for (u32 r = 0; r < 8; ++r) {
                const Count row = i0 + ty + r / 4 * 16 + r % 4;
                if (row >= ni) continue;
                const Index x0 = row;
                argmin_f32::State t6 = rows6[r];
                #pragma unroll
                for (u32 c = 0; c < 8; ++c) {
                    const Count col = j0 + tx + c / 4 * 32 + c % 4;
                    if (col >= nj) break;
                    const Index x1 = col;
                    const f32 v4 = sum_f32::finish(s4[r][c], (i64)nk);
                    const f32 v5 = op_sqrt_f32(v4);
                    argmin_f32::step(t6, v5, (i64)col);
                }
                rows6[r] = t6;
            }
        }
        if ((j0 + 128) % chunk == 0 || j0 + 128 >= stop) {
            {
                u32 again;
                asm volatile("mov.u32 %0, %%tid.x;" : "=r"(again));
                const u32 thread = again, lane = thread % 32, warp = thread / 32;
                const u32 ty = warp / 2 * 32 + lane / 8 * 4;
                const u32 tx = warp % 2 * 64 + lane % 8 * 4;
                {
                    argmin_f32::State* rows6 = own6;
                    asm volatile("" : "+l"(rows6));
                    #pragma unroll
                    for (u32 r = 0; r < 8; ++r) {
                        const argmin_f32::State whole = nd_fold_8<argmin_f32>(rows6[r]);
                        if (lane % 8 == 0) joined6[warp % 2].put(ty + r / 4 * 16 + r % 4, whole);
                    }
                }
                __syncthreads();
                if (thread < 128) {
                    Tree<argmin_f32>* tree6 = &owntree6;
                    asm volatile("" : "+l"(tree6));
                    argmin_f32::State row6 = joined6[0].get(thread);
                    argmin_f32::merge(row6, joined6[1].get(thread));
                    tree6->push(row6);
                }
                {
                    argmin_f32::State* rows6 = own6;
                    asm volatile("" : "+l"(rows6));
                    #pragma unroll
                    for (u32 r = 0; r < 8; ++r) {
                        argmin_f32::init(rows6[r]);
                    }
                }
                __syncthreads();
            }
        }
    }
    {
        u32 again;
        asm volatile("mov.u32 %0, %%tid.x;" : "=r"(again));
        const u32 thread = again, lane = thread % 32, warp = thread / 32;
        const u32 ty = warp / 2 * 32 + lane / 8 * 4;
        const u32 tx = warp % 2 * 64 + lane % 8 * 4;
        Tree<argmin_f32>* tree6 = &owntree6;
        asm volatile("" : "+l"(tree6));
        const bool mine = thread < 128 && i0 + thread < ni;
        if (gridDim.y > 1) {
            const Count row = blockIdx.x / tiles_i * ni + i0 + thread;
            argmin_f32::State* const all6 = nd_states<argmin_f32>(a.scratch, nb * ni, row, 0);
            if (mine) all6[blockIdx.y] = tree6->all();
            if (!nd_is_last(a.tickets + blockIdx.x)) return;
            if (mine) {
                tree6->count = 0;
                for (u32 part = 0; part < gridDim.y; ++part) tree6->push(all6[part]);
            }
        }
        if (mine) {
            const Count row = i0 + thread;
            const Index x0 = row;
            const i64 v6 = argmin_f32::finish(tree6->all(), (i64)nj);
            nd_store(a.p2 + x0 * a.s2[0], v6);
        }
    }
}
