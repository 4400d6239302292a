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

extern "C" __global__ void __launch_bounds__(256) nd_pairwise_sub_mul_sum_sqrt_argmin(const Args a) {
    const u32 lane = threadIdx.x, lanes = blockDim.x;
    const Count rows = a.n[0].n;
    const Count step = gridDim.x * (Count)blockDim.y;
    for (Count base = blockIdx.x * (Count)blockDim.y; base < rows; base += step) {
        const bool live = base + threadIdx.y < rows;
        const Count row = live ? base + threadIdx.y : rows - 1;
        const Index x0 = row;
        argmin_f32::State c6[1];
        #pragma unroll
        for (u32 e = 0; e < 1; ++e) argmin_f32::init(c6[e]);
        const Count n1 = a.n[1].n;
        const Count et1 = n1;
        const Count part = ((et1 + gridDim.y - 1) / gridDim.y + 31) / 32 * 32;
        const Count begin = min(et1, blockIdx.y * part);
        const Count end = min(et1, begin + part);
        Count t1 = begin + lane;
        for (; t1 < end; t1 += lanes) {
            #pragma unroll
            for (u32 u = 0; u < 1; ++u) {
                const Count p = (t1 + u * lanes);
                const Index x1 = p;
                sum_f32::State s4;
                sum_f32::init(s4);
                const Count n2 = a.n[2].n;
                for (Count t2 = 0; t2 < n2; ++t2) {
                    const Index x2 = t2;
                    const f32 v0 = nd_load(a.p0 + (x0 * a.s0[0] + x2 * a.s0[2]));
                    const f32 v1 = nd_load(a.p1 + (x1 * a.s1[1] + x2 * a.s1[2]));
                    const f32 v2 = op_sub_f32(v0, v1);
                    const f32 v3 = op_mul_f32(v2, v2);
                    sum_f32::step(s4, v3, (i64)t2);
                }
                const f32 v4 = sum_f32::finish(s4, (i64)n2);
                const f32 v5 = op_sqrt_f32(v4);
                argmin_f32::step(c6[0], v5, (i64)p);
            }
        }
        nd_fold_x<argmin_f32>(c6[0]);
        if (gridDim.y > 1) {
            argmin_f32::State* const all6 = nd_states<argmin_f32>(a.scratch, rows * 1, row * 1, 0);
            if (live && lane == 0) all6[blockIdx.y] = c6[0];
            if (!nd_is_last(a.tickets + base / blockDim.y)) continue;
            argmin_f32::init(c6[0]);
            #pragma unroll 4
            for (u32 q = lane; q < gridDim.y; q += lanes) {
                argmin_f32::merge(c6[0], all6[q]);
            }
            nd_fold_x<argmin_f32>(c6[0]);
        }
        const i64 v6 = argmin_f32::finish(c6[0], (i64)n1);
        if (live && lane == 0) nd_store(a.p2 + x0 * a.s2[0], v6);
    }
}
