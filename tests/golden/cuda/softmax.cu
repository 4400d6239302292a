typedef u32 Count;
typedef i32 Index;
typedef Extent32 Extent;

struct Args {
    const f32* p0;
    f32* p1;
    u64* fault;
    char* scratch;
    u32* tickets;
    Extent n[2];
    Index s0[2];
    Index s1[2];
};

struct max_f32 {
    typedef f32 T;
    typedef f32 Out;
    struct State { T s0; };
    static ND void init(State& acc) { acc.s0 = nd_lowest<T>(); }
    static ND void step(State& acc, T v, i64 k) { acc.s0 = (v > acc.s0 || v != v) ? v : acc.s0; }
    static ND void merge(State& acc, const State& from) { acc.s0 = (from.s0 > acc.s0 || from.s0 != from.s0) ? from.s0 : acc.s0; }
    static ND Out finish(const State& acc, i64 seen) { Out out; out = acc.s0; return out; }
};

ND f32 op_sub_f32(f32 a, f32 b) {
    return (f32)(a - b);
}

ND f32 op_exp_f32(f32 a) {
    return (f32)(expf(a));
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

ND f32 op_div_f32(f32 a, f32 b) {
    return (f32)(a / b);
}

extern "C" __global__ void __launch_bounds__(256) nd_rows_max_sub_exp_sum_div(const Args a) {
    const u32 lane = threadIdx.x, lanes = blockDim.x;
    const Count rows = a.n[0].n;
    const Count step = gridDim.x * (Count)blockDim.y;
    for (Count base = blockIdx.x * (Count)blockDim.y; base < rows; base += step) {
        const bool live = base + threadIdx.y < rows;
        const Count row = live ? base + threadIdx.y : rows - 1;
        const Index x0 = row;
        max_f32::State c1[1];
        #pragma unroll
        for (u32 e = 0; e < 1; ++e) max_f32::init(c1[e]);
        const Count n1 = a.n[1].n;
        const Count et1 = n1;
        Count t1 = lane;
        const Count wt1 = et1;
        for (; t1 + 3 * lanes < wt1; t1 += 4 * lanes) {
            #pragma unroll
            for (u32 u = 0; u < 4; ++u) {
                const Count p = (t1 + u * lanes);
                const Index x1 = p;
                const f32 v0 = nd_load(a.p0 + (x0 * a.s0[0] + x1 * a.s0[1]));
                max_f32::step(c1[0], v0, (i64)p);
            }
        }
        for (; t1 < et1; t1 += lanes) {
            #pragma unroll
            for (u32 u = 0; u < 1; ++u) {
                const Count p = (t1 + u * lanes);
                const Index x1 = p;
                const f32 v0 = nd_load(a.p0 + (x0 * a.s0[0] + x1 * a.s0[1]));
                max_f32::step(c1[0], v0, (i64)p);
            }
        }
        nd_fold_x<max_f32>(c1[0]);
        const f32 v1 = max_f32::finish(c1[0], (i64)n1);
        sum_f32::State c4[1];
        #pragma unroll
        for (u32 e = 0; e < 1; ++e) sum_f32::init(c4[e]);
        const Count n2 = a.n[1].n;
        const Count et2 = n2;
        Count t2 = lane;
        const Count wt2 = et2;
        for (; t2 + 3 * lanes < wt2; t2 += 4 * lanes) {
            #pragma unroll
            for (u32 u = 0; u < 4; ++u) {
                const Count p = (t2 + u * lanes);
                const Index x1 = p;
                const f32 v0 = nd_load(a.p0 + (x0 * a.s0[0] + x1 * a.s0[1]));
                const f32 v2 = op_sub_f32(v0, v1);
                const f32 v3 = op_exp_f32(v2);
                sum_f32::step(c4[0], v3, (i64)p);
            }
        }
        for (; t2 < et2; t2 += lanes) {
            #pragma unroll
            for (u32 u = 0; u < 1; ++u) {
                const Count p = (t2 + u * lanes);
                const Index x1 = p;
                const f32 v0 = nd_load(a.p0 + (x0 * a.s0[0] + x1 * a.s0[1]));
                const f32 v2 = op_sub_f32(v0, v1);
                const f32 v3 = op_exp_f32(v2);
                sum_f32::step(c4[0], v3, (i64)p);
            }
        }
        nd_fold_x<sum_f32>(c4[0]);
        const f32 v4 = sum_f32::finish(c4[0], (i64)n2);
        const Count n3 = a.n[1].n;
        const Count et3 = n3;
        Count t3 = lane;
        const Count wt3 = et3;
        for (; t3 + 3 * lanes < wt3; t3 += 4 * lanes) {
            #pragma unroll
            for (u32 u = 0; u < 4; ++u) {
                const Count p = (t3 + u * lanes);
                const Index x1 = p;
                const f32 v0 = nd_load(a.p0 + (x0 * a.s0[0] + x1 * a.s0[1]));
                const f32 v2 = op_sub_f32(v0, v1);
                const f32 v3 = op_exp_f32(v2);
                const f32 v5 = op_div_f32(v3, v4);
                if (live) nd_store(a.p1 + (x0 * a.s1[0] + x1 * a.s1[1]), v5);
            }
        }
        for (; t3 < et3; t3 += lanes) {
            #pragma unroll
            for (u32 u = 0; u < 1; ++u) {
                const Count p = (t3 + u * lanes);
                const Index x1 = p;
                const f32 v0 = nd_load(a.p0 + (x0 * a.s0[0] + x1 * a.s0[1]));
                const f32 v2 = op_sub_f32(v0, v1);
                const f32 v3 = op_exp_f32(v2);
                const f32 v5 = op_div_f32(v3, v4);
                if (live) nd_store(a.p1 + (x0 * a.s1[0] + x1 * a.s1[1]), v5);
            }
        }
    }
}
