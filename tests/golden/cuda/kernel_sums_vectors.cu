typedef u32 Count;
typedef i32 Index;
typedef Extent32 Extent;

struct Args {
    const f64* p0;
    const f64* p1;
    const f64* p2;
    f64* p3;
    f64* p4;
    u64* fault;
    char* scratch;
    u32* tickets;
    Extent n[3];
    Index s0[3];
    Index s1[3];
    Index s2[3];
    Index s3[3];
    Index s4[3];
};

ND f64 op_sub_f64(f64 a, f64 b) {
    return (f64)(a - b);
}

ND f64 op_mul_f64(f64 a, f64 b) {
    return (f64)(a * b);
}

struct sum_f64 {
    typedef f64 T;
    typedef f64 Out;
    struct State { T s0; };
    static ND void init(State& acc) { acc.s0 = -T(0); }
    static ND void step(State& acc, T v, i64 k) { acc.s0 = acc.s0 + v; }
    static ND void merge(State& acc, const State& from) { acc.s0 = acc.s0 + from.s0; }
    static ND Out finish(const State& acc, i64 seen) { Out out; out = seen ? acc.s0 : T(0); return out; }
};

ND f64 op_neg_f64(f64 a) {
    return (f64)(-a);
}

ND f64 op_exp_f64(f64 a) {
    return (f64)(exp(a));
}

struct min_f64 {
    typedef f64 T;
    typedef f64 Out;
    struct State { T s0; };
    static ND void init(State& acc) { acc.s0 = nd_highest<T>(); }
    static ND void step(State& acc, T v, i64 k) { acc.s0 = (v < acc.s0 || v != v) ? v : acc.s0; }
    static ND void merge(State& acc, const State& from) { acc.s0 = (from.s0 < acc.s0 || from.s0 != from.s0) ? from.s0 : acc.s0; }
    static ND Out finish(const State& acc, i64 seen) { Out out; out = acc.s0; return out; }
};

extern "C" __global__ void __launch_bounds__(128, 3) nd_pairwise_sub_mul_sum_neg_exp_min(const Args a) {
    __shared__ States<sum_f64::State, 64> joined9[2];
    __shared__ States<min_f64::State, 64> joined10[2];
    __shared__ Count chunk, stop;
    // v0 at step k of row or column n: element k * 66 + n from byte 0 of a slice
    // v1 at step k of row or column n: element k * 66 + n from byte 4224 of a slice
    __shared__ __align__(16) u8 slices[16896];
    const u32 thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
    const u32 ty = warp / 2 * 32 + lane / 8 * 2;
    const u32 tx = warp % 2 * 32 + lane % 8 * 2;
    const Count ni = a.n[0].n;
    const Count nj = a.n[1].n;
    const Count nk = a.n[2].n;
    const Count nb = (Count)1;
    const Count tiles_i = (ni + 63) / 64;
    const Count i0 = blockIdx.x % tiles_i * 64;
    if (blockIdx.x >= nb * tiles_i) return;
    sum_f64::State own9[8];
    Tree<sum_f64> owntree9;
    min_f64::State own10[8];
    Tree<min_f64> owntree10;
    Count j0 = nd_walk(nj, chunk, stop);
    {
        sum_f64::State* rows9 = nd_kept(&own9[0]);
        #pragma unroll
        for (u32 r = 0; r < 8; ++r) {
            sum_f64::init(rows9[r]);
        }
    }
    {
        min_f64::State* rows10 = nd_kept(&own10[0]);
        #pragma unroll
        for (u32 r = 0; r < 8; ++r) {
            min_f64::init(rows10[r]);
        }
    }
    for (; j0 < stop; j0 += 64) {
        const u32 thread = nd_thread(), lane = thread % 32, warp = thread / 32;
        const u32 ty = warp / 2 * 32 + lane / 8 * 2;
        const u32 tx = warp % 2 * 32 + lane % 8 * 2;
        sum_f64::State s4[8][4];
        #pragma unroll
        for (u32 r = 0; r < 8; ++r) {
            #pragma unroll
            for (u32 c = 0; c < 4; ++c) {
                sum_f64::init(s4[r][c]);
            }
        }
        if (nk > 0) {
            sum_f64::State local4[64];
            u32 rows8 = nd_kept(nd_at_shared(slices) + ty * 8);
            u32 fill0x8;
            {
                const u32 w = warp + 0 * 4;
                const u32 kk = (w % 2 * 2 + lane / 16) * 2, at = w / 2 * 16 + lane % 16;
                fill0x8 = nd_kept(nd_at_shared(slices) + (kk * 66 + at) * 8);
            }
            u32 cols8 = nd_kept(nd_at_shared(slices) + tx * 8);
            i32 turn = -8448;
            Vec<f64, 2> g0[2];
            #pragma unroll
            for (u32 u = 0; u < 2; ++u) {
                const u32 w = warp + u * 4;
                const u32 kk = (w % 2 * 2 + lane / 16) * 2, at = w / 2 * 16 + lane % 16;
                const Count row = min(i0 + at, ni - 1);
                const Index x0 = row;
                const Count k = min((Count)kk, nk - 2);
                const Index x2 = k;
                nd_load_vec<2>(g0[u - 0], a.p0 + (x0 * a.s0[0] + x2));
            }
            Vec<f64, 2> g1[2];
            #pragma unroll
            for (u32 u = 0; u < 2; ++u) {
                const u32 w = warp + u * 4;
                const u32 kk = (w % 2 * 2 + lane / 16) * 2, at = w / 2 * 16 + lane % 16;
                const Count row = min(j0 + at, nj - 1);
                const Index x1 = row;
                const Count k = min((Count)kk, nk - 2);
                const Index x2 = k;
                nd_load_vec<2>(g1[u - 0], a.p1 + (x1 * a.s1[1] + x2));
            }
            #pragma unroll
            for (u32 u = 0; u < 2; ++u) {
                const u32 w = warp + u * 4;
                const u32 kk = (w % 2 * 2 + lane / 16) * 2, at = w / 2 * 16 + lane % 16;
                const Count row = min(i0 + at, ni - 1);
                const Index x0 = row;
                const Count k = min((Count)kk, nk - 2);
                const Index x2 = k;
                const Index y = x2;
                #pragma unroll
                for (u32 e = 0; e < 2; ++e) {
                    const Index x2 = y + (Index)e;
                    const f64 v0 = nd_load(&g0[u - 0].at[e]);
                    nd_shared<f64>(fill0x8)[0 + u * 32 + e * 66] = v0;
                }
            }
            #pragma unroll
            for (u32 u = 0; u < 2; ++u) {
                const u32 w = warp + u * 4;
                const u32 kk = (w % 2 * 2 + lane / 16) * 2, at = w / 2 * 16 + lane % 16;
                const Count row = min(j0 + at, nj - 1);
                const Index x1 = row;
                const Count k = min((Count)kk, nk - 2);
                const Index x2 = k;
                const Index y = x2;
                #pragma unroll
                for (u32 e = 0; e < 2; ++e) {
                    const Index x2 = y + (Index)e;
                    const f64 v1 = nd_load(&g1[u - 0].at[e]);
                    nd_shared<f64>(fill0x8)[528 + u * 32 + e * 66] = v1;
                }
            }
            __syncthreads();
            fill0x8 -= turn;
            turn = -turn;
            Count ahead = 8;
            for (;;) {
                const bool begun = ahead > 8, last = nk - (ahead - 8) <= 256;
                const Count end = nd_kept(min(nd_kept(nk) - 1, ahead + 248));
                for (; ahead <= end; ahead += 8) {
                    const Count k0 = ahead - 8, next = min(ahead, nk - 8);
                    {
                        Vec<f64, 2> g0[1];
                        #pragma unroll
                        for (u32 u = 0; u < 1; ++u) {
                            const u32 w = warp + u * 4;
                            const u32 kk = (w % 2 * 2 + lane / 16) * 2, at = w / 2 * 16 + lane % 16;
                            const Count row = min(i0 + at + (next >> 31), ni - 1);
                            const Index x0 = row;
                            const Count k = next + kk;
                            const Index x2 = k;
                            nd_load_vec<2>(g0[u - 0], a.p0 + (x0 * a.s0[0] + x2));
                        }
                        __syncwarp();
                        #pragma unroll
                        for (u32 kk = 0; kk < 2; ++kk) {
                            Vec<f64, 2> w0[4];
                            #pragma unroll
                            for (u32 q = 0; q < 4; ++q) nd_load_vec<2>(w0[q], nd_shared<f64>(rows8) + (0 + kk * 66 + q * 8));
                            Vec<f64, 2> w1[2];
                            #pragma unroll
                            for (u32 q = 0; q < 2; ++q) nd_load_vec<2>(w1[q], nd_shared<f64>(cols8) + (528 + kk * 66 + q * 16));
                            #pragma unroll
                            for (u32 r = 0; r < 8; ++r) {
                                #pragma unroll
                                for (u32 c = 0; c < 4; ++c) {
                                    const f64 v0 = w0[r / 2].at[r % 2];
                                    const f64 v1 = w1[c / 2].at[c % 2];
                                    const f64 v2 = op_sub_f64(v0, v1);
                                    s4[r][c].s0 = nd_fma(v2, v2, s4[r][c].s0);
                                }
                            }
                        }
                        #pragma unroll
                        for (u32 u = 0; u < 1; ++u) {
                            const u32 w = warp + u * 4;
                            const u32 kk = (w % 2 * 2 + lane / 16) * 2, at = w / 2 * 16 + lane % 16;
                            const Count row = min(i0 + at + (next >> 31), ni - 1);
                            const Index x0 = row;
                            const Count k = next + kk;
                            const Index x2 = k;
                            const Index y = x2;
                            #pragma unroll
                            for (u32 e = 0; e < 2; ++e) {
                                const Index x2 = y + (Index)e;
                                const f64 v0 = nd_load(&g0[u - 0].at[e]);
                                nd_shared<f64>(fill0x8)[0 + u * 32 + e * 66] = v0;
                            }
                        }
                    }
                    {
                        Vec<f64, 2> g0[1];
                        #pragma unroll
                        for (u32 u = 1; u < 2; ++u) {
                            const u32 w = warp + u * 4;
                            const u32 kk = (w % 2 * 2 + lane / 16) * 2, at = w / 2 * 16 + lane % 16;
                            const Count row = min(i0 + at + (next >> 31), ni - 1);
                            const Index x0 = row;
                            const Count k = next + kk;
                            const Index x2 = k;
                            nd_load_vec<2>(g0[u - 1], a.p0 + (x0 * a.s0[0] + x2));
                        }
                        __syncwarp();
                        #pragma unroll
                        for (u32 kk = 2; kk < 4; ++kk) {
                            Vec<f64, 2> w0[4];
                            #pragma unroll
                            for (u32 q = 0; q < 4; ++q) nd_load_vec<2>(w0[q], nd_shared<f64>(rows8) + (0 + kk * 66 + q * 8));
                            Vec<f64, 2> w1[2];
                            #pragma unroll
                            for (u32 q = 0; q < 2; ++q) nd_load_vec<2>(w1[q], nd_shared<f64>(cols8) + (528 + kk * 66 + q * 16));
                            #pragma unroll
                            for (u32 r = 0; r < 8; ++r) {
                                #pragma unroll
                                for (u32 c = 0; c < 4; ++c) {
                                    const f64 v0 = w0[r / 2].at[r % 2];
                                    const f64 v1 = w1[c / 2].at[c % 2];
                                    const f64 v2 = op_sub_f64(v0, v1);
                                    s4[r][c].s0 = nd_fma(v2, v2, s4[r][c].s0);
                                }
                            }
                        }
                        #pragma unroll
                        for (u32 u = 1; u < 2; ++u) {
                            const u32 w = warp + u * 4;
                            const u32 kk = (w % 2 * 2 + lane / 16) * 2, at = w / 2 * 16 + lane % 16;
                            const Count row = min(i0 + at + (next >> 31), ni - 1);
                            const Index x0 = row;
                            const Count k = next + kk;
                            const Index x2 = k;
                            const Index y = x2;
                            #pragma unroll
                            for (u32 e = 0; e < 2; ++e) {
                                const Index x2 = y + (Index)e;
                                const f64 v0 = nd_load(&g0[u - 1].at[e]);
                                nd_shared<f64>(fill0x8)[0 + u * 32 + e * 66] = v0;
                            }
                        }
                    }
                    {
                        Vec<f64, 2> g1[1];
                        #pragma unroll
                        for (u32 u = 0; u < 1; ++u) {
                            const u32 w = warp + u * 4;
                            const u32 kk = (w % 2 * 2 + lane / 16) * 2, at = w / 2 * 16 + lane % 16;
                            const Count row = min(j0 + at + (next >> 31), nj - 1);
                            const Index x1 = row;
                            const Count k = next + kk;
                            const Index x2 = k;
                            nd_load_vec<2>(g1[u - 0], a.p1 + (x1 * a.s1[1] + x2));
                        }
                        __syncwarp();
                        #pragma unroll
                        for (u32 kk = 4; kk < 6; ++kk) {
                            Vec<f64, 2> w0[4];
                            #pragma unroll
                            for (u32 q = 0; q < 4; ++q) nd_load_vec<2>(w0[q], nd_shared<f64>(rows8) + (0 + kk * 66 + q * 8));
                            Vec<f64, 2> w1[2];
                            #pragma unroll
                            for (u32 q = 0; q < 2; ++q) nd_load_vec<2>(w1[q], nd_shared<f64>(cols8) + (528 + kk * 66 + q * 16));
                            #pragma unroll
                            for (u32 r = 0; r < 8; ++r) {
                                #pragma unroll
                                for (u32 c = 0; c < 4; ++c) {
                                    const f64 v0 = w0[r / 2].at[r % 2];
                                    const f64 v1 = w1[c / 2].at[c % 2];
                                    const f64 v2 = op_sub_f64(v0, v1);
                                    s4[r][c].s0 = nd_fma(v2, v2, s4[r][c].s0);
                                }
                            }
                        }
                        #pragma unroll
                        for (u32 u = 0; u < 1; ++u) {
                            const u32 w = warp + u * 4;
                            const u32 kk = (w % 2 * 2 + lane / 16) * 2, at = w / 2 * 16 + lane % 16;
                            const Count row = min(j0 + at + (next >> 31), nj - 1);
                            const Index x1 = row;
                            const Count k = next + kk;
                            const Index x2 = k;
                            const Index y = x2;
                            #pragma unroll
                            for (u32 e = 0; e < 2; ++e) {
                                const Index x2 = y + (Index)e;
                                const f64 v1 = nd_load(&g1[u - 0].at[e]);
                                nd_shared<f64>(fill0x8)[528 + u * 32 + e * 66] = v1;
                            }
                        }
                    }
                    {
                        Vec<f64, 2> g1[1];
                        #pragma unroll
                        for (u32 u = 1; u < 2; ++u) {
                            const u32 w = warp + u * 4;
                            const u32 kk = (w % 2 * 2 + lane / 16) * 2, at = w / 2 * 16 + lane % 16;
                            const Count row = min(j0 + at + (next >> 31), nj - 1);
                            const Index x1 = row;
                            const Count k = next + kk;
                            const Index x2 = k;
                            nd_load_vec<2>(g1[u - 1], a.p1 + (x1 * a.s1[1] + x2));
                        }
                        __syncwarp();
                        #pragma unroll
                        for (u32 kk = 6; kk < 8; ++kk) {
                            Vec<f64, 2> w0[4];
                            #pragma unroll
                            for (u32 q = 0; q < 4; ++q) nd_load_vec<2>(w0[q], nd_shared<f64>(rows8) + (0 + kk * 66 + q * 8));
                            Vec<f64, 2> w1[2];
                            #pragma unroll
                            for (u32 q = 0; q < 2; ++q) nd_load_vec<2>(w1[q], nd_shared<f64>(cols8) + (528 + kk * 66 + q * 16));
                            #pragma unroll
                            for (u32 r = 0; r < 8; ++r) {
                                #pragma unroll
                                for (u32 c = 0; c < 4; ++c) {
                                    const f64 v0 = w0[r / 2].at[r % 2];
                                    const f64 v1 = w1[c / 2].at[c % 2];
                                    const f64 v2 = op_sub_f64(v0, v1);
                                    s4[r][c].s0 = nd_fma(v2, v2, s4[r][c].s0);
                                }
                            }
                        }
                        #pragma unroll
                        for (u32 u = 1; u < 2; ++u) {
                            const u32 w = warp + u * 4;
                            const u32 kk = (w % 2 * 2 + lane / 16) * 2, at = w / 2 * 16 + lane % 16;
                            const Count row = min(j0 + at + (next >> 31), nj - 1);
                            const Index x1 = row;
                            const Count k = next + kk;
                            const Index x2 = k;
                            const Index y = x2;
                            #pragma unroll
                            for (u32 e = 0; e < 2; ++e) {
                                const Index x2 = y + (Index)e;
                                const f64 v1 = nd_load(&g1[u - 1].at[e]);
                                nd_shared<f64>(fill0x8)[528 + u * 32 + e * 66] = v1;
                            }
                        }
                    }
                    __syncthreads();
                    rows8 += turn;
                    fill0x8 -= turn;
                    cols8 += turn;
                    turn = -turn;
                }
                if (last) {
                    const Count k0 = min(ahead - 8, max(nd_kept(nk), (Count)8) - 8);
                    #pragma unroll 1
                    for (u32 kk = ahead - 8 - k0; kk < nk - k0; ++kk) {
                        Vec<f64, 2> w0[4];
                        #pragma unroll
                        for (u32 q = 0; q < 4; ++q) nd_load_vec<2>(w0[q], nd_shared<f64>(rows8) + (0 + kk * 66 + q * 8));
                        Vec<f64, 2> w1[2];
                        #pragma unroll
                        for (u32 q = 0; q < 2; ++q) nd_load_vec<2>(w1[q], nd_shared<f64>(cols8) + (528 + kk * 66 + q * 16));
                        #pragma unroll
                        for (u32 r = 0; r < 8; ++r) {
                            #pragma unroll
                            for (u32 c = 0; c < 4; ++c) {
                                const f64 v0 = w0[r / 2].at[r % 2];
                                const f64 v1 = w1[c / 2].at[c % 2];
                                const f64 v2 = op_sub_f64(v0, v1);
                                s4[r][c].s0 = nd_fma(v2, v2, s4[r][c].s0);
                            }
                        }
                    }
                }
                if (nk <= 256) break;
                sum_f64::State* whole4 = nd_kept(&local4[0]);
                #pragma unroll
                for (u32 r = 0; r < 8; ++r) {
                    #pragma unroll
                    for (u32 c = 0; c < 4; ++c) {
                        whole4[(begun ? 32 : 0) + r * 4 + c] = s4[r][c];
                    }
                }
                #pragma unroll 1
                for (u32 n = 0; begun && n < 32; ++n) sum_f64::merge(whole4[n], whole4[32 + n]);
                if (last) break;
                #pragma unroll
                for (u32 r = 0; r < 8; ++r) {
                    #pragma unroll
                    for (u32 c = 0; c < 4; ++c) {
                        sum_f64::init(s4[r][c]);
                    }
                }
            }
            if (nk > 256) {
                sum_f64::State* whole4 = nd_kept(&local4[0]);
                #pragma unroll
                for (u32 r = 0; r < 8; ++r) {
                    #pragma unroll
                    for (u32 c = 0; c < 4; ++c) {
                        s4[r][c] = whole4[r * 4 + c];
                    }
                }
            }
        }
        __syncthreads();
        {
            const u32 thread = nd_thread(), lane = thread % 32, warp = thread / 32;
            const u32 ty = warp / 2 * 32 + lane / 8 * 2;
            const u32 tx = warp % 2 * 32 + lane % 8 * 2;
            sum_f64::State* rows9 = nd_kept(&own9[0]);
            min_f64::State* rows10 = nd_kept(&own10[0]);
            #pragma unroll
            for (u32 r = 0; r < 8; ++r) {
                const Count row = i0 + ty + r / 2 * 8 + r % 2;
                if (row >= ni) continue;
                const Index x0 = row;
                sum_f64::State t9 = rows9[r];
                min_f64::State t10 = rows10[r];
                #pragma unroll
                for (u32 c = 0; c < 4; ++c) {
                    const Count col = j0 + tx + c / 2 * 16 + c % 2;
                    if (col >= nj) break;
                    const Index x1 = col;
                    const f64 v4 = sum_f64::finish(s4[r][c], (i64)nk);
                    const f64 v5 = nd_load(a.p2 + x1 * a.s2[1]);
                    const f64 v6 = op_neg_f64(v4);
                    const f64 v7 = op_exp_f64(v6);
                    const f64 v8 = op_mul_f64(v7, v5);
                    sum_f64::step(t9, v8, (i64)col);
                    min_f64::step(t10, v4, (i64)col);
                }
                rows9[r] = t9;
                rows10[r] = t10;
            }
        }
        if ((j0 + 64) % chunk == 0 || j0 + 64 >= stop) {
            {
                const u32 thread = nd_thread(), lane = thread % 32, warp = thread / 32;
                const u32 ty = warp / 2 * 32 + lane / 8 * 2;
                const u32 tx = warp % 2 * 32 + lane % 8 * 2;
                {
                    sum_f64::State* rows9 = nd_kept(&own9[0]);
                    #pragma unroll
                    for (u32 r = 0; r < 8; ++r) {
                        const sum_f64::State whole = nd_fold_8<sum_f64>(rows9[r]);
                        if (lane % 8 == 0) joined9[warp % 2].put(ty + r / 2 * 8 + r % 2, whole);
                    }
                }
                {
                    min_f64::State* rows10 = nd_kept(&own10[0]);
                    #pragma unroll
                    for (u32 r = 0; r < 8; ++r) {
                        const min_f64::State whole = nd_fold_8<min_f64>(rows10[r]);
                        if (lane % 8 == 0) joined10[warp % 2].put(ty + r / 2 * 8 + r % 2, whole);
                    }
                }
                __syncthreads();
                if (thread < 64) {
                    Tree<sum_f64>* tree9 = nd_kept(&owntree9);
                    Tree<min_f64>* tree10 = nd_kept(&owntree10);
                    sum_f64::State row9 = joined9[0].get(thread);
                    sum_f64::merge(row9, joined9[1].get(thread));
                    tree9->push(row9);
                    min_f64::State row10 = joined10[0].get(thread);
                    min_f64::merge(row10, joined10[1].get(thread));
                    tree10->push(row10);
                }
                {
                    sum_f64::State* rows9 = nd_kept(&own9[0]);
                    #pragma unroll
                    for (u32 r = 0; r < 8; ++r) {
                        sum_f64::init(rows9[r]);
                    }
                }
                {
                    min_f64::State* rows10 = nd_kept(&own10[0]);
                    #pragma unroll
                    for (u32 r = 0; r < 8; ++r) {
                        min_f64::init(rows10[r]);
                    }
                }
            }
        }
    }
    {
        const u32 thread = nd_thread(), lane = thread % 32, warp = thread / 32;
        const u32 ty = warp / 2 * 32 + lane / 8 * 2;
        const u32 tx = warp % 2 * 32 + lane % 8 * 2;
        Tree<sum_f64>* tree9 = nd_kept(&owntree9);
        Tree<min_f64>* tree10 = nd_kept(&owntree10);
        const bool mine = thread < 64 && i0 + thread < ni;
        if (gridDim.y > 1) {
            const Count row = blockIdx.x / tiles_i * ni + i0 + thread;
            sum_f64::State* const all9 = nd_states<sum_f64>(a.scratch, nb * ni, row, 0);
            if (mine) all9[blockIdx.y] = tree9->all();
            min_f64::State* const all10 = nd_states<min_f64>(a.scratch, nb * ni, row, 1);
            if (mine) all10[blockIdx.y] = tree10->all();
            if (!nd_is_last(a.tickets + blockIdx.x)) return;
            if (mine) {
                tree9->count = 0;
                for (u32 part = 0; part < gridDim.y; ++part) tree9->push(all9[part]);
                tree10->count = 0;
                for (u32 part = 0; part < gridDim.y; ++part) tree10->push(all10[part]);
            }
        }
        if (mine) {
            const Count row = i0 + thread;
            const Index x0 = row;
            const f64 v9 = sum_f64::finish(tree9->all(), (i64)nj);
            const f64 v10 = min_f64::finish(tree10->all(), (i64)nj);
            nd_store(a.p3 + x0 * a.s3[0], v9);
            nd_store(a.p4 + x0 * a.s4[0], v10);
        }
    }
}
