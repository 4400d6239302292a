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

extern "C" __global__ void __launch_bounds__(128, 4) nd_pairwise_mul_sum_add_sub_abs(const Args a) {
    const f32 v0 = nd_scalar<f32>(a.q[0]);
    // v1 at step k of row or column n: element k * 68 + n from byte 0 of a slice
    // v4 at step k of row or column n: element k * 68 + n from byte 2176 of a slice
    __shared__ __align__(16) u8 slices[8704];
    __shared__ sum_f32::State f3[64];
    __shared__ sum_f32::State f6[64];
    const u32 thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
    const u32 ty = warp / 1 * 16 + lane / 8 * 4;
    const u32 tx = warp % 1 * 64 + lane % 8 * 4;
    const Count ni = a.n[0].n;
    const Count nj = a.n[1].n;
    const Count nk = a.n[2].n;
    const Count nb = (Count)1;
    const Count tiles_i = (ni + 63) / 64;
    const Count tiles_j = (nj + 63) / 64;
    const Count tiles = nb * tiles_i * tiles_j;
    const Count tile = blockIdx.x;
    const Count at_i = tile / tiles_j % tiles_i;
    const Count j0 = tile % tiles_j * 64, i0 = at_i * 64;
    if (tile >= tiles) return;
    sum_f32::State s3;
    sum_f32::init(s3);
    sum_f32::State s6;
    sum_f32::init(s6);
    sum_f32::State s8[4][8];
    #pragma unroll
    for (u32 r = 0; r < 4; ++r) {
        #pragma unroll
        for (u32 c = 0; c < 8; ++c) {
            sum_f32::init(s8[r][c]);
        }
    }
    if (nk > 0) {
        sum_f32::State local3[2];
        sum_f32::State local6[2];
        sum_f32::State local8[64];
        u32 rows4 = nd_kept(nd_at_shared(slices) + ty * 4);
        u32 fill0x4;
        {
            const u32 w = warp + 0 * 4;
            const u32 kk = (w % 1 * 2 + lane / 16) * 4, at = w / 1 * 16 + lane % 16;
            fill0x4 = nd_kept(nd_at_shared(slices) + (kk * 68 + at) * 4);
        }
        u32 cols4 = nd_kept(nd_at_shared(slices) + tx * 4);
        i32 turn = -4352;
        Vec<f32, 4> g1[1];
        #pragma unroll
        for (u32 u = 0; u < 1; ++u) {
            const u32 w = warp + u * 4;
            const u32 kk = (w % 1 * 2 + lane / 16) * 4, at = w / 1 * 16 + lane % 16;
            const Count row = min(i0 + at, ni - 1);
            const Index x0 = row;
            const Count k = min((Count)kk, nk - 4);
            const Index x2 = k;
            nd_load_vec<4>(g1[u - 0], a.p0 + (x0 * a.s0[0] + x2));
        }
        Vec<f32, 4> g4[1];
        #pragma unroll
        for (u32 u = 0; u < 1; ++u) {
            const u32 w = warp + u * 4;
            const u32 kk = (w % 1 * 2 + lane / 16) * 4, at = w / 1 * 16 + lane % 16;
            const Count row = min(j0 + at, nj - 1);
            const Index x1 = row;
            const Count k = min((Count)kk, nk - 4);
            const Index x2 = k;
            nd_load_vec<4>(g4[u - 0], a.p1 + (x1 * a.s1[1] + x2));
        }
        #pragma unroll
        for (u32 u = 0; u < 1; ++u) {
            const u32 w = warp + u * 4;
            const u32 kk = (w % 1 * 2 + lane / 16) * 4, at = w / 1 * 16 + lane % 16;
            const Count row = min(i0 + at, ni - 1);
            const Index x0 = row;
            const Count k = min((Count)kk, nk - 4);
            const Index x2 = k;
            const Index y = x2;
            #pragma unroll
            for (u32 e = 0; e < 4; ++e) {
                const Index x2 = y + (Index)e;
                const f32 v1 = nd_load(&g1[u - 0].at[e]);
                nd_shared<f32>(fill0x4)[0 + u * 64 + e * 68] = v1;
            }
        }
        #pragma unroll
        for (u32 u = 0; u < 1; ++u) {
            const u32 w = warp + u * 4;
            const u32 kk = (w % 1 * 2 + lane / 16) * 4, at = w / 1 * 16 + lane % 16;
            const Count row = min(j0 + at, nj - 1);
            const Index x1 = row;
            const Count k = min((Count)kk, nk - 4);
            const Index x2 = k;
            const Index y = x2;
            #pragma unroll
            for (u32 e = 0; e < 4; ++e) {
                const Index x2 = y + (Index)e;
                const f32 v4 = nd_load(&g4[u - 0].at[e]);
                nd_shared<f32>(fill0x4)[544 + u * 64 + e * 68] = v4;
            }
        }
        __syncthreads();
        fill0x4 -= turn;
        turn = -turn;
        u64 from1;
        {
            const u32 w = warp + 0 * 4;
            const u32 kk = (w % 1 * 2 + lane / 16) * 4, at = w / 1 * 16 + lane % 16;
            const Count row = min(i0 + at, ni - 1);
            const Index x0 = row;
            const Index x2 = kk;
            from1 = nd_kept(nd_at_global(a.p0 + (x0 * a.s0[0] + x2)));
        }
        u64 from4;
        {
            const u32 w = warp + 0 * 4;
            const u32 kk = (w % 1 * 2 + lane / 16) * 4, at = w / 1 * 16 + lane % 16;
            const Count row = min(j0 + at, nj - 1);
            const Index x1 = row;
            const Index x2 = kk;
            from4 = nd_kept(nd_at_global(a.p1 + (x1 * a.s1[1] + x2)));
        }
        Count ahead = 8;
        for (;;) {
            const bool begun = ahead > 8, last = nk - (ahead - 8) <= 256;
            const Count end = nd_kept(min(nd_kept(nk) - 1, ahead + 248));
            for (; ahead <= end; ahead += 8) {
                const Count k0 = ahead - 8, next = min(ahead, nk - 8);
                {
                    Vec<f32, 4> g1[1];
                    nd_load_vec<4>(g1[0], nd_global<f32>(from1) + next);
                    __syncwarp();
                    #pragma unroll
                    for (u32 kk = 0; kk < 4; ++kk) {
                        Vec<f32, 4> w1[1];
                        #pragma unroll
                        for (u32 q = 0; q < 1; ++q) nd_load_vec<4>(w1[q], nd_shared<f32>(rows4) + (0 + kk * 68 + q * 16));
                        Vec<f32, 4> w4[2];
                        #pragma unroll
                        for (u32 q = 0; q < 2; ++q) nd_load_vec<4>(w4[q], nd_shared<f32>(cols4) + (544 + kk * 68 + q * 32));
                        #pragma unroll
                        for (u32 r = 0; r < 4; ++r) {
                            #pragma unroll
                            for (u32 c = 0; c < 8; ++c) {
                                const f32 v1 = w1[r / 4].at[r % 4];
                                const f32 v4 = w4[c / 4].at[c % 4];
                                s8[r][c].s0 = nd_fma(v1, v4, s8[r][c].s0);
                            }
                        }
                        if (thread < 64) {
                            const f32 v1 = nd_shared<f32>(nd_at_shared(slices) + (turn < 0 ? 4352 : 0) + 0)[kk * 68 + thread];
                            s3.s0 = nd_fma(v1, v1, s3.s0);
                        }
                        if (thread >= 64 && thread < 128) {
                            const f32 v4 = nd_shared<f32>(nd_at_shared(slices) + (turn < 0 ? 4352 : 0) + 2176)[kk * 68 + thread - 64];
                            s6.s0 = nd_fma(v4, v4, s6.s0);
                        }
                    }
                    #pragma unroll
                    for (u32 u = 0; u < 1; ++u) {
                        const u32 w = warp + u * 4;
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
                            nd_shared<f32>(fill0x4)[0 + u * 64 + e * 68] = v1;
                        }
                    }
                }
                {
                    Vec<f32, 4> g4[1];
                    nd_load_vec<4>(g4[0], nd_global<f32>(from4) + next);
                    __syncwarp();
                    #pragma unroll
                    for (u32 kk = 4; kk < 8; ++kk) {
                        Vec<f32, 4> w1[1];
                        #pragma unroll
                        for (u32 q = 0; q < 1; ++q) nd_load_vec<4>(w1[q], nd_shared<f32>(rows4) + (0 + kk * 68 + q * 16));
                        Vec<f32, 4> w4[2];
                        #pragma unroll
                        for (u32 q = 0; q < 2; ++q) nd_load_vec<4>(w4[q], nd_shared<f32>(cols4) + (544 + kk * 68 + q * 32));
                        #pragma unroll
                        for (u32 r = 0; r < 4; ++r) {
                            #pragma unroll
                            for (u32 c = 0; c < 8; ++c) {
                                const f32 v1 = w1[r / 4].at[r % 4];
                                const f32 v4 = w4[c / 4].at[c % 4];
                                s8[r][c].s0 = nd_fma(v1, v4, s8[r][c].s0);
                            }
                        }
                        if (thread < 64) {
                            const f32 v1 = nd_shared<f32>(nd_at_shared(slices) + (turn < 0 ? 4352 : 0) + 0)[kk * 68 + thread];
                            s3.s0 = nd_fma(v1, v1, s3.s0);
                        }
                        if (thread >= 64 && thread < 128) {
                            const f32 v4 = nd_shared<f32>(nd_at_shared(slices) + (turn < 0 ? 4352 : 0) + 2176)[kk * 68 + thread - 64];
                            s6.s0 = nd_fma(v4, v4, s6.s0);
                        }
                    }
                    #pragma unroll
                    for (u32 u = 0; u < 1; ++u) {
                        const u32 w = warp + u * 4;
                        const u32 kk = (w % 1 * 2 + lane / 16) * 4, at = w / 1 * 16 + lane % 16;
                        const Count row = min(j0 + at, nj - 1);
                        const Index x1 = row;
                        const Count k = next + kk;
                        const Index x2 = k;
                        const Index y = x2;
                        #pragma unroll
                        for (u32 e = 0; e < 4; ++e) {
                            const Index x2 = y + (Index)e;
                            const f32 v4 = nd_load(&g4[u - 0].at[e]);
                            nd_shared<f32>(fill0x4)[544 + u * 64 + e * 68] = v4;
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
                const Count k0 = min(ahead - 8, max(nd_kept(nk), (Count)8) - 8);
                #pragma unroll 1
                for (u32 kk = ahead - 8 - k0; kk < nk - k0; ++kk) {
                    Vec<f32, 4> w1[1];
                    #pragma unroll
                    for (u32 q = 0; q < 1; ++q) nd_load_vec<4>(w1[q], nd_shared<f32>(rows4) + (0 + kk * 68 + q * 16));
                    Vec<f32, 4> w4[2];
                    #pragma unroll
                    for (u32 q = 0; q < 2; ++q) nd_load_vec<4>(w4[q], nd_shared<f32>(cols4) + (544 + kk * 68 + q * 32));
                    #pragma unroll
                    for (u32 r = 0; r < 4; ++r) {
                        #pragma unroll
                        for (u32 c = 0; c < 8; ++c) {
                            const f32 v1 = w1[r / 4].at[r % 4];
                            const f32 v4 = w4[c / 4].at[c % 4];
                            s8[r][c].s0 = nd_fma(v1, v4, s8[r][c].s0);
                        }
                    }
                    if (thread < 64) {
                        const f32 v1 = nd_shared<f32>(nd_at_shared(slices) + (turn < 0 ? 4352 : 0) + 0)[kk * 68 + thread];
                        s3.s0 = nd_fma(v1, v1, s3.s0);
                    }
                    if (thread >= 64 && thread < 128) {
                        const f32 v4 = nd_shared<f32>(nd_at_shared(slices) + (turn < 0 ? 4352 : 0) + 2176)[kk * 68 + thread - 64];
                        s6.s0 = nd_fma(v4, v4, s6.s0);
                    }
                }
            }
            if (nk <= 256) break;
            sum_f32::State* whole3 = nd_kept(&local3[0]);
            whole3[(begun ? 1 : 0) + 0] = s3;
            #pragma unroll 1
            for (u32 n = 0; begun && n < 1; ++n) sum_f32::merge(whole3[n], whole3[1 + n]);
            sum_f32::State* whole6 = nd_kept(&local6[0]);
            whole6[(begun ? 1 : 0) + 0] = s6;
            #pragma unroll 1
            for (u32 n = 0; begun && n < 1; ++n) sum_f32::merge(whole6[n], whole6[1 + n]);
            sum_f32::State* whole8 = nd_kept(&local8[0]);
            #pragma unroll
            for (u32 r = 0; r < 4; ++r) {
                #pragma unroll
                for (u32 c = 0; c < 8; ++c) {
                    whole8[(begun ? 32 : 0) + r * 8 + c] = s8[r][c];
                }
            }
            #pragma unroll 1
            for (u32 n = 0; begun && n < 32; ++n) sum_f32::merge(whole8[n], whole8[32 + n]);
            if (last) break;
            sum_f32::init(s3);
            sum_f32::init(s6);
            #pragma unroll
            for (u32 r = 0; r < 4; ++r) {
                #pragma unroll
                for (u32 c = 0; c < 8; ++c) {
                    sum_f32::init(s8[r][c]);
                }
            }
        }
        if (nk > 256) {
            sum_f32::State* whole3 = nd_kept(&local3[0]);
            s3 = whole3[0];
            sum_f32::State* whole6 = nd_kept(&local6[0]);
            s6 = whole6[0];
            sum_f32::State* whole8 = nd_kept(&local8[0]);
            #pragma unroll
            for (u32 r = 0; r < 4; ++r) {
                #pragma unroll
                for (u32 c = 0; c < 8; ++c) {
                    s8[r][c] = whole8[r * 8 + c];
                }
            }
        }
    }
    {
        const u32 thread = nd_thread(), lane = thread % 32, warp = thread / 32;
        const u32 ty = warp / 1 * 16 + lane / 8 * 4;
        const u32 tx = warp % 1 * 64 + lane % 8 * 4;
        const Count tile = nd_block_x();
        const Count at_i = tile / tiles_j % tiles_i;
        const Count j0 = tile % tiles_j * 64, i0 = at_i * 64;
        if (thread - 0 < 64) f3[thread - 0] = s3;
        if (thread - 64 < 64) f6[thread - 64] = s6;
        __syncthreads();
        #pragma unroll
        for (u32 r = 0; r < 4; ++r) {
            const Count row = i0 + ty + r / 4 * 16 + r % 4;
            if (row >= ni) continue;
            const Index x0 = row;
            #pragma unroll
            for (u32 q = 0; q < 2; ++q) {
                if (j0 + tx + q * 32 >= nj) break;
                Vec<f32, 4> o13;
                #pragma unroll
                for (u32 e = 0; e < 4; ++e) {
                    const u32 c = q * 4 + e;
                    const Count col = j0 + tx + q * 32 + e;
                    const Index x1 = col;
                    const f32 v3 = sum_f32::finish(f3[row - i0], (i64)nk);
                    const f32 v6 = sum_f32::finish(f6[col - j0], (i64)nk);
                    const f32 v8 = sum_f32::finish(s8[r][c], (i64)nk);
                    const f32 v9 = op_add_f32(v3, v6);
                    const f32 v10 = op_mul_f32(v0, v8);
                    const f32 v11 = op_sub_f32(v9, v10);
                    const f32 v12 = op_abs_f32(v11);
                    nd_store(&o13.at[e], v12);
                }
                const Count col = j0 + tx + q * 32;
                const Index x1 = col;
                nd_store_vec<4>(a.p2 + (x0 * a.s2[0] + x1 * a.s2[1]), o13);
            }
        }
    }
}
