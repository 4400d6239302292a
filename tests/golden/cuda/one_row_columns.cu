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
    Extent n[2];
    Index s0[2];
    Index s1[2];
    Index s2[2];
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

extern "C" __global__ void __launch_bounds__(256) nd_columns_sub_mul_sum(const Args a) {
    const u32 lane = threadIdx.y, lanes = blockDim.y;
    const Count rows = a.n[1].n;
    const Count step = gridDim.x * (Count)blockDim.x;
    for (Count base = blockIdx.x * (Count)blockDim.x; base < rows; base += step) {
        const bool live = base + threadIdx.x < rows;
        const Count row = live ? base + threadIdx.x : rows - 1;
        const Index x1 = row;
        sum_f32::State c4[1];
        #pragma unroll
        for (u32 e = 0; e < 1; ++e) sum_f32::init(c4[e]);
        const Count n1 = a.n[0].n;
        sum_f32::State h4[1];
        h4[0] = c4[0];
        for (Count st1 = 0; st1 < n1; st1 += lanes * 256) {
            const Count bt1 = min(n1, st1 + lane * 256), et1 = min(n1, bt1 + 256);
            sum_f32::init(c4[0]);
            Count t1 = bt1;
            for (; (t1 + 4) <= et1; t1 += 4) {
                #pragma unroll
                for (u32 u = 0; u < 4; ++u) {
                    const Count p = (t1 + u);
                    const Index x0 = p;
                    const f32 v0 = nd_load(a.p0 + x0 * a.s0[0]);
                    const f32 v1 = nd_load(a.p1 + (x0 * a.s1[0] + x1 * a.s1[1]));
                    const f32 v2 = op_sub_f32(v0, v1);
                    const f32 v3 = op_mul_f32(v2, v2);
                    c4[0].s0 = nd_fma(v2, v2, c4[0].s0);
                }
            }
            for (; t1 < et1; ++t1) {
                #pragma unroll
                for (u32 u = 0; u < 1; ++u) {
                    const Count p = (t1 + u);
                    const Index x0 = p;
                    const f32 v0 = nd_load(a.p0 + x0 * a.s0[0]);
                    const f32 v1 = nd_load(a.p1 + (x0 * a.s1[0] + x1 * a.s1[1]));
                    const f32 v2 = op_sub_f32(v0, v1);
                    const f32 v3 = op_mul_f32(v2, v2);
                    c4[0].s0 = nd_fma(v2, v2, c4[0].s0);
                }
            }
            nd_chain_y<sum_f32>(h4[0], c4[0], (n1 - st1 + 255) / 256, st1 == 0);
        }
        c4[0] = h4[0];
        const f32 v4 = sum_f32::finish(c4[0], (i64)n1);
        if (live && lane == 0) nd_store(a.p2 + x1 * a.s2[1], v4);
    }
}
