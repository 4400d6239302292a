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
        max_f32::State s1;
        max_f32::init(s1);
        const Count n1 = a.n[1].n;
        for (Count t1 = lane; t1 < n1; t1 += lanes) {
            const Index x1 = t1;
            const f32 v0 = nd_load(a.p0 + (x0 * a.s0[0] + x1 * a.s0[1]));
            max_f32::step(s1, v0, (i64)t1);
        }
        nd_fold_x<max_f32>(s1);
        const f32 v1 = max_f32::finish(s1, (i64)n1);
        sum_f32::State s4;
        sum_f32::init(s4);
        const Count n2 = a.n[1].n;
        for (Count t2 = lane; t2 < n2; t2 += lanes) {
            const Index x1 = t2;
            const f32 v0 = nd_load(a.p0 + (x0 * a.s0[0] + x1 * a.s0[1]));
            const f32 v2 = op_sub_f32(v0, v1);
            const f32 v3 = op_exp_f32(v2);
            sum_f32::step(s4, v3, (i64)t2);
        }
        nd_fold_x<sum_f32>(s4);
        const f32 v4 = sum_f32::finish(s4, (i64)n2);
        const Count n3 = a.n[1].n;
        for (Count t3 = lane; t3 < n3; t3 += lanes) {
            const Index x1 = t3;
            const f32 v0 = nd_load(a.p0 + (x0 * a.s0[0] + x1 * a.s0[1]));
            const f32 v2 = op_sub_f32(v0, v1);
            const f32 v3 = op_exp_f32(v2);
            const f32 v5 = op_div_f32(v3, v4);
            if (live) nd_store(a.p1 + (x0 * a.s1[0] + x1 * a.s1[1]), v5);
        }
    }
}
