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
    // v0 at step k of row or column n: element k * 132 + n from byte 0 of a slice
    // v1 at step k of row or column n: element k * 132 + n from byte 4224 of a slice
    __shared__ __align__(16) u8 slices[16896];
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
        argmin_f32::State* rows6 = nd_kept(&own6[0]);
        #pragma unroll
        for (u32 r = 0; r < 8; ++r) {
            argmin_f32::init(rows6[r]);
        }
    }
    for (; j0 < stop; j0 += 128) {
        const u32 thread = nd_thread(), lane = thread % 32, warp = thread / 32;
        const u32 ty = warp / 2 * 32 + lane / 8 * 4;
        const u32 tx = warp % 2 * 64 + lane % 8 * 4;
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
            u32 rows4 = nd_kept(nd_at_shared(slices) + ty * 4);
            u32 fill0x4;
            {
                const u32 w = warp + 0 * 8;
                const u32 kk = (w % 1 * 8 + lane % 8) * 1, at = w / 1 * 4 + lane / 8;
                fill0x4 = nd_kept(nd_at_shared(slices) + (kk * 132 + at) * 4);
            }
            u32 cols4 = nd_kept(nd_at_shared(slices) + tx * 4);
            i32 turn = -8448;
            f32 g0[4];
            #pragma unroll
            for (u32 u = 0; u < 4; ++u) {
                const u32 w = warp + u * 8;
                const u32 kk = (w % 1 * 8 + lane % 8) * 1, at = w / 1 * 4 + lane / 8;
                const Count row = min(i0 + at, ni - 1);
                const Index x0 = row;
                const Count k = min((Count)kk, nk - 1);
                const Index x2 = k;
                g0[u - 0] = nd_load(a.p0 + (x0 * a.s0[0] + x2 * a.s0[2]));
            }
            f32 g1[4];
            #pragma unroll
            for (u32 u = 0; u < 4; ++u) {
                const u32 w = warp + u * 8;
                const u32 kk = (w % 1 * 8 + lane % 8) * 1, at = w / 1 * 4 + lane / 8;
                const Count row = min(j0 + at, nj - 1);
                const Index x1 = row;
                const Count k = min((Count)kk, nk - 1);
                const Index x2 = k;
                g1[u - 0] = nd_load(a.p1 + (x1 * a.s1[1] + x2 * a.s1[2]));
            }
            #pragma unroll
            for (u32 u = 0; u < 4; ++u) {
                const u32 w = warp + u * 8;
                const u32 kk = (w % 1 * 8 + lane % 8) * 1, at = w / 1 * 4 + lane / 8;
                const Count row = min(i0 + at, ni - 1);
                const Index x0 = row;
                const Count k = min((Count)kk, nk - 1);
                const Index x2 = k;
                const f32 v0 = g0[u - 0];
                nd_shared<f32>(fill0x4)[0 + u * 32] = v0;
            }
            #pragma unroll
            for (u32 u = 0; u < 4; ++u) {
                const u32 w = warp + u * 8;
                const u32 kk = (w % 1 * 8 + lane % 8) * 1, at = w / 1 * 4 + lane / 8;
                const Count row = min(j0 + at, nj - 1);
                const Index x1 = row;
                const Count k = min((Count)kk, nk - 1);
                const Index x2 = k;
                const f32 v1 = g1[u - 0];
                nd_shared<f32>(fill0x4)[1056 + u * 32] = v1;
            }
            __syncthreads();
            fill0x4 -= turn;
            turn = -turn;
            Count ahead = 8;
            for (;;) {
                const bool begun = ahead > 8, last = nk - (ahead - 8) <= 256;
                const Count end = nd_kept(min(nd_kept(nk) - 1, ahead + 248));
                for (; ahead <= end; ahead += 8) {
                    const Count k0 = ahead - 8, next = min(ahead, nk - 8);
                    {
                        f32 g0[2];
                        #pragma unroll
                        for (u32 u = 0; u < 2; ++u) {
                            const u32 w = warp + u * 8;
                            const u32 kk = (w % 1 * 8 + lane % 8) * 1, at = w / 1 * 4 + lane / 8;
                            const Count row = min(i0 + at + (next >> 31), ni - 1);
                            const Index x0 = row;
                            const Count k = next + kk;
                            const Index x2 = k;
                            g0[u - 0] = nd_load(a.p0 + (x0 * a.s0[0] + x2 * a.s0[2]));
                        }
                        __syncwarp();
                        #pragma unroll
                        for (u32 kk = 0; kk < 2; ++kk) {
                            Vec<f32, 4> w0[2];
                            #pragma unroll
                            for (u32 q = 0; q < 2; ++q) nd_load_vec<4>(w0[q], nd_shared<f32>(rows4) + (0 + kk * 132 + q * 16));
                            Vec<f32, 4> w1[2];
                            #pragma unroll
                            for (u32 q = 0; q < 2; ++q) nd_load_vec<4>(w1[q], nd_shared<f32>(cols4) + (1056 + kk * 132 + q * 32));
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
                            const Count k = next + kk;
                            const Index x2 = k;
                            const f32 v0 = g0[u - 0];
                            nd_shared<f32>(fill0x4)[0 + u * 32] = v0;
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
                            const Count k = next + kk;
                            const Index x2 = k;
                            g0[u - 2] = nd_load(a.p0 + (x0 * a.s0[0] + x2 * a.s0[2]));
                        }
                        __syncwarp();
                        #pragma unroll
                        for (u32 kk = 2; kk < 4; ++kk) {
                            Vec<f32, 4> w0[2];
                            #pragma unroll
                            for (u32 q = 0; q < 2; ++q) nd_load_vec<4>(w0[q], nd_shared<f32>(rows4) + (0 + kk * 132 + q * 16));
                            Vec<f32, 4> w1[2];
                            #pragma unroll
                            for (u32 q = 0; q < 2; ++q) nd_load_vec<4>(w1[q], nd_shared<f32>(cols4) + (1056 + kk * 132 + q * 32));
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
                            const Count k = next + kk;
                            const Index x2 = k;
                            const f32 v0 = g0[u - 2];
                            nd_shared<f32>(fill0x4)[0 + u * 32] = v0;
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
                            const Count k = next + kk;
                            const Index x2 = k;
                            g1[u - 0] = nd_load(a.p1 + (x1 * a.s1[1] + x2 * a.s1[2]));
                        }
                        __syncwarp();
                        #pragma unroll
                        for (u32 kk = 4; kk < 6; ++kk) {
                            Vec<f32, 4> w0[2];
                            #pragma unroll
                            for (u32 q = 0; q < 2; ++q) nd_load_vec<4>(w0[q], nd_shared<f32>(rows4) + (0 + kk * 132 + q * 16));
                            Vec<f32, 4> w1[2];
                            #pragma unroll
                            for (u32 q = 0; q < 2; ++q) nd_load_vec<4>(w1[q], nd_shared<f32>(cols4) + (1056 + kk * 132 + q * 32));
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
                            const Count k = next + kk;
                            const Index x2 = k;
                            const f32 v1 = g1[u - 0];
                            nd_shared<f32>(fill0x4)[1056 + u * 32] = v1;
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
                            const Count k = next + kk;
                            const Index x2 = k;
                            g1[u - 2] = nd_load(a.p1 + (x1 * a.s1[1] + x2 * a.s1[2]));
                        }
                        __syncwarp();
                        #pragma unroll
                        for (u32 kk = 6; kk < 8; ++kk) {
                            Vec<f32, 4> w0[2];
                            #pragma unroll
                            for (u32 q = 0; q < 2; ++q) nd_load_vec<4>(w0[q], nd_shared<f32>(rows4) + (0 + kk * 132 + q * 16));
                            Vec<f32, 4> w1[2];
                            #pragma unroll
                            for (u32 q = 0; q < 2; ++q) nd_load_vec<4>(w1[q], nd_shared<f32>(cols4) + (1056 + kk * 132 + q * 32));
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
                            const Count k = next + kk;
                            const Index x2 = k;
                            const f32 v1 = g1[u - 2];
                            nd_shared<f32>(fill0x4)[1056 + u * 32] = v1;
                        }
                    }
                    __syncthreads();
                    rows4 += turn;
                    fill0x4 -= turn;
                    cols4 += turn;
                    turn = -turn;
                }
                if (last) {
                    const Count k0 = min(ahead - 8, max(nd_kept(nk), (Count)8) - 8);
                    #pragma unroll 1
                    for (u32 kk = ahead - 8 - k0; kk < nk - k0; ++kk) {
                        Vec<f32, 4> w0[2];
                        #pragma unroll
                        for (u32 q = 0; q < 2; ++q) nd_load_vec<4>(w0[q], nd_shared<f32>(rows4) + (0 + kk * 132 + q * 16));
                        Vec<f32, 4> w1[2];
                        #pragma unroll
                        for (u32 q = 0; q < 2; ++q) nd_load_vec<4>(w1[q], nd_shared<f32>(cols4) + (1056 + kk * 132 + q * 32));
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
                sum_f32::State* whole4 = nd_kept(&local4[0]);
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
                sum_f32::State* whole4 = nd_kept(&local4[0]);
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
            const u32 thread = nd_thread(), lane = thread % 32, warp = thread / 32;
            const u32 ty = warp / 2 * 32 + lane / 8 * 4;
            const u32 tx = warp % 2 * 64 + lane % 8 * 4;
            argmin_f32::State* rows6 = nd_kept(&own6[0]);
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
                const u32 thread = nd_thread(), lane = thread % 32, warp = thread / 32;
                const u32 ty = warp / 2 * 32 + lane / 8 * 4;
                const u32 tx = warp % 2 * 64 + lane % 8 * 4;
                {
                    argmin_f32::State* rows6 = nd_kept(&own6[0]);
                    #pragma unroll
                    for (u32 r = 0; r < 8; ++r) {
                        const argmin_f32::State whole = nd_fold_8<argmin_f32>(rows6[r]);
                        if (lane % 8 == 0) joined6[warp % 2].put(ty + r / 4 * 16 + r % 4, whole);
                    }
                }
                __syncthreads();
                if (thread < 128) {
                    Tree<argmin_f32>* tree6 = nd_kept(&owntree6);
                    argmin_f32::State row6 = joined6[0].get(thread);
                    argmin_f32::merge(row6, joined6[1].get(thread));
                    tree6->push(row6);
                }
                {
                    argmin_f32::State* rows6 = nd_kept(&own6[0]);
                    #pragma unroll
                    for (u32 r = 0; r < 8; ++r) {
                        argmin_f32::init(rows6[r]);
                    }
                }
            }
        }
    }
    {
        const u32 thread = nd_thread(), lane = thread % 32, warp = thread / 32;
        const u32 ty = warp / 2 * 32 + lane / 8 * 4;
        const u32 tx = warp % 2 * 64 + lane % 8 * 4;
        Tree<argmin_f32>* tree6 = nd_kept(&owntree6);
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
