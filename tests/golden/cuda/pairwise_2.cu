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

extern "C" __global__ void __launch_bounds__(256, 2) nd_pairwise_mul_sum_add_sub_abs(const Args a) {
    const f32 v0 = nd_scalar<f32>(a.q[0]);
    __shared__ __align__(16) f32 m1[16][68];
    __shared__ __align__(16) f32 m2[16][129];
    const u32 tx = threadIdx.x, ty = threadIdx.y, thread = ty * 32 + tx;
    const Count ni = a.n[0].n;
    const Count nj = a.n[1].n;
    const Count nk = a.n[2].n;
    const Count nb = (Count)1;
    const Count tiles_i = (ni + 63) / 64;
    const Count tiles_j = (nj + 127) / 128;
    const Count tiles = nb * tiles_i * tiles_j;
    for (Count tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const Count j0 = tile % tiles_j * 128, i0 = tile / tiles_j % tiles_i * 64;
        sum_f32::State s4[8], whole4[8];
        #pragma unroll
        for (u32 r = 0; r < 8; ++r) {
            sum_f32::init(s4[r]);
        }
        sum_f32::State s6[4], whole6[4];
        #pragma unroll
        for (u32 c = 0; c < 4; ++c) {
            sum_f32::init(s6[c]);
        }
        sum_f32::State s8[8][4], whole8[8][4];
        #pragma unroll
        for (u32 r = 0; r < 8; ++r) {
            #pragma unroll
            for (u32 c = 0; c < 4; ++c) {
                sum_f32::init(s8[r][c]);
            }
        }
        for (Count k0 = 0; k0 < nk; k0 += 16) {
            const u32 length = min((Count)16, nk - k0);
            if (k0 > 0 && k0 % 1024 == 0) {
                #pragma unroll
                for (u32 r = 0; r < 8; ++r) {
                    if (k0 == 1024) whole4[r] = s4[r];
                    else sum_f32::merge(whole4[r], s4[r]);
                    sum_f32::init(s4[r]);
                }
                #pragma unroll
                for (u32 c = 0; c < 4; ++c) {
                    if (k0 == 1024) whole6[c] = s6[c];
                    else sum_f32::merge(whole6[c], s6[c]);
                    sum_f32::init(s6[c]);
                }
                #pragma unroll
                for (u32 r = 0; r < 8; ++r) {
                    #pragma unroll
                    for (u32 c = 0; c < 4; ++c) {
                        if (k0 == 1024) whole8[r][c] = s8[r][c];
                        else sum_f32::merge(whole8[r][c], s8[r][c]);
                        sum_f32::init(s8[r][c]);
                    }
                }
            }
            __syncthreads();
            #pragma unroll
            for (u32 e = 0; e < 1024; e += 256) {
                const u32 kk = (thread + e) % 16, at = (thread + e) / 16;
                const Count row = min(i0 + at, ni - 1);
                const Index x0 = row;
                const Count k = min(k0 + kk, nk - 1);
                const Index x2 = k;
                const f32 v1 = nd_load(a.p0 + (x0 * a.s0[0] + x2 * a.s0[2]));
                m1[kk][at] = v1;
            }
            #pragma unroll
            for (u32 e = 0; e < 2048; e += 256) {
                const u32 kk = (thread + e) % 16, at = (thread + e) / 16;
                const Count row = min(j0 + at, nj - 1);
                const Index x1 = row;
                const Count k = min(k0 + kk, nk - 1);
                const Index x2 = k;
                const f32 v2 = nd_load(a.p1 + (x1 * a.s1[1] + x2 * a.s1[2]));
                m2[kk][at] = v2;
            }
            __syncthreads();
            #pragma unroll 4
            for (u32 kk = 0; kk < length; ++kk) {
                f32 w1[8];
                #pragma unroll
                for (u32 r = 0; r < 8; ++r) w1[r] = m1[kk][ty * 8 + r];
                f32 w2[4];
                #pragma unroll
                for (u32 c = 0; c < 4; ++c) w2[c] = m2[kk][tx + 32 * c];
                #pragma unroll
                for (u32 r = 0; r < 8; ++r) {
                    const f32 v1 = w1[r];
                    s4[r].s0 = nd_fma(v1, v1, s4[r].s0);
                }
                #pragma unroll
                for (u32 c = 0; c < 4; ++c) {
                    const f32 v2 = w2[c];
                    s6[c].s0 = nd_fma(v2, v2, s6[c].s0);
                }
                #pragma unroll
                for (u32 r = 0; r < 8; ++r) {
                    #pragma unroll
                    for (u32 c = 0; c < 4; ++c) {
                        const f32 v1 = w1[r];
                        const f32 v2 = w2[c];
                        s8[r][c].s0 = nd_fma(v1, v2, s8[r][c].s0);
                    }
                }
            }
        }
        if (nk > 1024) {
            #pragma unroll
            for (u32 r = 0; r < 8; ++r) {
                sum_f32::merge(whole4[r], s4[r]);
                s4[r] = whole4[r];
            }
            #pragma unroll
            for (u32 c = 0; c < 4; ++c) {
                sum_f32::merge(whole6[c], s6[c]);
                s6[c] = whole6[c];
            }
            #pragma unroll
            for (u32 r = 0; r < 8; ++r) {
                #pragma unroll
                for (u32 c = 0; c < 4; ++c) {
                    sum_f32::merge(whole8[r][c], s8[r][c]);
                    s8[r][c] = whole8[r][c];
                }
            }
        }
        #pragma unroll
        for (u32 r = 0; r < 8; ++r) {
            const Count row = i0 + ty * 8 + r;
            if (row >= ni) continue;
            const Index x0 = row;
            #pragma unroll
            for (u32 c = 0; c < 4; ++c) {
                const Count col = j0 + tx + 32 * c;
                if (col >= nj) continue;
                const Index x1 = col;
                const f32 v4 = sum_f32::finish(s4[r], (i64)nk);
                const f32 v6 = sum_f32::finish(s6[c], (i64)nk);
                const f32 v8 = sum_f32::finish(s8[r][c], (i64)nk);
                const f32 v9 = op_add_f32(v4, v6);
                const f32 v10 = op_mul_f32(v0, v8);
                const f32 v11 = op_sub_f32(v9, v10);
                const f32 v12 = op_abs_f32(v11);
                nd_store(a.p2 + (x0 * a.s2[0] + x1 * a.s2[1]), v12);
            }
        }
    }
}
