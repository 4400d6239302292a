typedef u32 Count;
typedef i32 Index;
typedef Extent32 Extent;

struct Args {
    const f64* p0;
    const f64* p1;
    f64* p2;
    u64* fault;
    char* scratch;
    u32* tickets;
    Extent n[3];
    Index s0[3];
    Index s1[3];
    Index s2[3];
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

extern "C" __global__ void __launch_bounds__(128, 3) nd_pairwise_sub_mul_sum(const Args a) {
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
    const Count tiles_j = (nj + 63) / 64;
    const Count tiles = nb * tiles_i * tiles_j;
    const Count tile = blockIdx.x;
    const Count at_i = tile / tiles_j % tiles_i;
    const Count j0 = tile % tiles_j * 64, i0 = at_i * 64;
    if (tile >= tiles) return;
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
    {
        const u32 thread = nd_thread(), lane = thread % 32, warp = thread / 32;
        const u32 ty = warp / 2 * 32 + lane / 8 * 2;
        const u32 tx = warp % 2 * 32 + lane % 8 * 2;
        const Count tile = nd_block_x();
        const Count at_i = tile / tiles_j % tiles_i;
        const Count j0 = tile % tiles_j * 64, i0 = at_i * 64;
        #pragma unroll
        for (u32 r = 0; r < 8; ++r) {
            const Count row = i0 + ty + r / 2 * 8 + r % 2;
            if (row >= ni) continue;
            const Index x0 = row;
            #pragma unroll
            for (u32 q = 0; q < 2; ++q) {
                if (j0 + tx + q * 16 >= nj) break;
                Vec<f64, 2> o5;
                #pragma unroll
                for (u32 e = 0; e < 2; ++e) {
                    const u32 c = q * 2 + e;
                    const Count col = j0 + tx + q * 16 + e;
                    const Index x1 = col;
                    const f64 v4 = sum_f64::finish(s4[r][c], (i64)nk);
                    nd_store(&o5.at[e], v4);
                }
                const Count col = j0 + tx + q * 16;
                const Index x1 = col;
                nd_store_vec<2>(a.p2 + (x0 * a.s2[0] + x1 * a.s2[1]), o5);
            }
        }
    }
}
