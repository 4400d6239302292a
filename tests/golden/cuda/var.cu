typedef u32 Count;
typedef i32 Index;
typedef Extent32 Extent;

struct Args {
    const f32* p0;
    f32* p1;
    u64* fault;
    char* scratch;
    u32* tickets;
    u64 q[1];
    Extent n[2];
    Index s0[2];
    Index s1[2];
};

struct moments_f32 {
    typedef f32 T;
    typedef f32 Out;
    struct State { T s0; T s1; long long n; };
    static ND void init(State& acc) { acc.s0 = T(0); acc.s1 = T(0); acc.n = 0; }
    static ND void step(State& acc, T v, i64 k) { { acc.n += 1; T d = v - acc.s0; acc.s0 = acc.s0 + d / T(acc.n); acc.s1 = acc.s1 + d * (v - acc.s0); } }
    static ND void merge(State& acc, const State& from) { if (acc.n == 0) acc = from; else if (from.n != 0) { T share = T(double(from.n) / double(acc.n + from.n)); T d = from.s0 - acc.s0; acc.s0 = acc.s0 + d * share; acc.s1 = acc.s1 + from.s1 + d * d * (T(acc.n) * share); acc.n += from.n; } }
    static ND Out finish(const State& acc, i64 seen) { Out out; out = acc.s1; return out; }
};

ND f32 op_div_f32(f32 a, f32 b) {
    return (f32)(a / b);
}

extern "C" __global__ void __launch_bounds__(256, 1) nd_rows_moments_div(const Args a) {
    const f32 v0 = nd_scalar<f32>(a.q[0]);
    const u32 lane = threadIdx.x, lanes = blockDim.x;
    const Count rows = a.n[0].n;
    const Count step = gridDim.x * (Count)blockDim.y;
    for (Count base = blockIdx.x * (Count)blockDim.y; base < rows; base += step) {
        const bool live = base + threadIdx.y < rows;
        const Count row = live ? base + threadIdx.y : rows - 1;
        const Index x0 = row;
        moments_f32::State c2[4];
        #pragma unroll
        for (u32 e = 0; e < 4; ++e) moments_f32::init(c2[e]);
        const Count n1 = a.n[1].n;
        const Count et1 = (n1 + 3) / 4;
        const Count part = ((et1 + gridDim.y - 1) / gridDim.y + 31) / 32 * 32;
        const Count begin = min(et1, blockIdx.y * part);
        const Count end = min(et1, begin + part);
        Count t1 = begin + lane;
        const Count wt1 = min(end, n1 / 4);
        for (; t1 + 1 * lanes < wt1; t1 += 2 * lanes) {
            #pragma unroll
            for (u32 u = 0; u < 2; ++u) {
                const Count p = (t1 + u * lanes) * 4;
                #pragma unroll
                for (u32 e = 0; e < 4; ++e) {
                    const Count q = p + e;
                    const Index x1 = q;
                    const f32 v1 = nd_load(a.p0 + (x0 * a.s0[0] + x1 * a.s0[1]));
                    moments_f32::step(c2[e], v1, (i64)(p + e));
                }
            }
        }
        for (; t1 < end; t1 += lanes) {
            #pragma unroll
            for (u32 u = 0; u < 1; ++u) {
                const Count p = (t1 + u * lanes) * 4;
                #pragma unroll
                for (u32 e = 0; e < 4; ++e) {
                    if (e >= n1 - p) break;
                    const Count q = p + e;
                    const Index x1 = q;
                    const f32 v1 = nd_load(a.p0 + (x0 * a.s0[0] + x1 * a.s0[1]));
                    moments_f32::step(c2[e], v1, (i64)(p + e));
                }
            }
        }
        #pragma unroll
        for (u32 e = 0; e < 2; ++e) moments_f32::merge(c2[e], c2[e + 2]);
        #pragma unroll
        for (u32 e = 0; e < 1; ++e) moments_f32::merge(c2[e], c2[e + 1]);
        nd_fold_x<moments_f32>(c2[0]);
        if (gridDim.y > 1) {
            moments_f32::State* const all2 = nd_states<moments_f32>(a.scratch, rows * 1, row * 1, 0);
            if (live && lane == 0) all2[blockIdx.y] = c2[0];
            if (!nd_is_last(a.tickets + base / blockDim.y)) continue;
            moments_f32::init(c2[0]);
            #pragma unroll 4
            for (u32 q = lane; q < gridDim.y; q += lanes) {
                moments_f32::merge(c2[0], all2[q]);
            }
            nd_fold_x<moments_f32>(c2[0]);
        }
        const f32 v2 = moments_f32::finish(c2[0], (i64)n1);
        const f32 v3 = op_div_f32(v2, v0);
        if (live && lane == 0) nd_store(a.p1 + x0 * a.s1[0], v3);
    }
}
