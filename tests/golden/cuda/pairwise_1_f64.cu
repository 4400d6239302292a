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

extern "C" __global__ void __launch_bounds__(256, 2) nd_pairwise_sub_mul_sum(const Args a) {
    __shared__ __align__(16) f64 m0[16][68];
    __shared__ __align__(16) f64 m1[16][65];
    const u32 tx = threadIdx.x, ty = threadIdx.y, thread = ty * 32 + tx;
    const Count ni = a.n[0].n;
    const Count nj = a.n[1].n;
    const Count nk = a.n[2].n;
    const Count nb = (Count)1;
    const Count tiles_i = (ni + 63) / 64;
    const Count tiles_j = (nj + 63) / 64;
    const Count tiles = nb * tiles_i * tiles_j;
    for (Count tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const Count j0 = tile % tiles_j * 64, i0 = tile / tiles_j % tiles_i * 64;
        sum_f64::State s4[8][2], whole4[8][2];
        #pragma unroll
        for (u32 r = 0; r < 8; ++r) {
            #pragma unroll
            for (u32 c = 0; c < 2; ++c) {
                sum_f64::init(s4[r][c]);
            }
        }
        for (Count k0 = 0; k0 < nk; k0 += 16) {
            const u32 length = min((Count)16, nk - k0);
            if (k0 > 0 && k0 % 1024 == 0) {
                #pragma unroll
                for (u32 r = 0; r < 8; ++r) {
                    #pragma unroll
                    for (u32 c = 0; c < 2; ++c) {
                        if (k0 == 1024) whole4[r][c] = s4[r][c];
                        else sum_f64::merge(whole4[r][c], s4[r][c]);
                        sum_f64::init(s4[r][c]);
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
                const f64 v0 = nd_load(a.p0 + (x0 * a.s0[0] + x2 * a.s0[2]));
                m0[kk][at] = v0;
            }
            #pragma unroll
            for (u32 e = 0; e < 1024; e += 256) {
                const u32 kk = (thread + e) % 16, at = (thread + e) / 16;
                const Count row = min(j0 + at, nj - 1);
                const Index x1 = row;
                const Count k = min(k0 + kk, nk - 1);
                const Index x2 = k;
                const f64 v1 = nd_load(a.p1 + (x1 * a.s1[1] + x2 * a.s1[2]));
                m1[kk][at] = v1;
            }
            __syncthreads();
            #pragma unroll 4
            for (u32 kk = 0; kk < length; ++kk) {
                f64 w0[8];
                #pragma unroll
                for (u32 r = 0; r < 8; ++r) w0[r] = m0[kk][ty * 8 + r];
                f64 w1[2];
                #pragma unroll
                for (u32 c = 0; c < 2; ++c) w1[c] = m1[kk][tx + 32 * c];
                #pragma unroll
                for (u32 r = 0; r < 8; ++r) {
                    #pragma unroll
                    for (u32 c = 0; c < 2; ++c) {
                        const f64 v0 = w0[r];
                        const f64 v1 = w1[c];
                        const f64 v2 = op_sub_f64(v0, v1);
                        s4[r][c].s0 = nd_fma(v2, v2, s4[r][c].s0);
                    }
                }
            }
        }
        if (nk > 1024) {
            #pragma unroll
            for (u32 r = 0; r < 8; ++r) {
                #pragma unroll
                for (u32 c = 0; c < 2; ++c) {
                    sum_f64::merge(whole4[r][c], s4[r][c]);
                    s4[r][c] = whole4[r][c];
                }
            }
        }
        #pragma unroll
        for (u32 r = 0; r < 8; ++r) {
            const Count row = i0 + ty * 8 + r;
            if (row >= ni) continue;
            const Index x0 = row;
            #pragma unroll
            for (u32 c = 0; c < 2; ++c) {
                const Count col = j0 + tx + 32 * c;
                if (col >= nj) continue;
                const Index x1 = col;
                const f64 v4 = sum_f64::finish(s4[r][c], (i64)nk);
                nd_store(a.p2 + (x0 * a.s2[0] + x1 * a.s2[1]), v4);
            }
        }
    }
}
