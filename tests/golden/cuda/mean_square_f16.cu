typedef u32 Count;
typedef i32 Index;
typedef Extent32 Extent;

struct Args {
    const f16* p0;
    f16* p1;
    u64* fault;
    char* scratch;
    u32* tickets;
    u64 q[1];
    Extent n[2];
    Index s0[2];
    Index s1[2];
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

ND f32 op_div_f32(f32 a, f32 b) {
    return (f32)(a / b);
}

extern "C" __global__ void __launch_bounds__(256, 1) nd_rows_mul_sum_div(const Args a) {
    const f32 v0 = nd_scalar<f32>(a.q[0]);
    const u32 lane = threadIdx.x, lanes = blockDim.x;
    const Count rows = a.n[0].n;
    const Count step = gridDim.x * (Count)blockDim.y;
    for (Count base = blockIdx.x * (Count)blockDim.y; base < rows; base += step) {
        const bool live = base + threadIdx.y < rows;
        const Count row = live ? base + threadIdx.y : rows - 1;
        const Index x0 = row;
        sum_f32::State c4[8];
        #pragma unroll
        for (u32 e = 0; e < 8; ++e) sum_f32::init(c4[e]);
        const Count n1 = a.n[1].n;
        const Count et1 = (n1 + 7) / 8;
        const Count part = ((et1 + gridDim.y - 1) / gridDim.y + 31) / 32 * 32;
        const Count begin = min(et1, blockIdx.y * part);
        const Count end = min(et1, begin + part);
        Count t1 = begin + lane;
        const Count wt1 = min(end, n1 / 8);
        for (; t1 < wt1; t1 += 1 * lanes) {
            #pragma unroll
            for (u32 u = 0; u < 1; ++u) {
                const Count p = (t1 + u * lanes) * 8;
                #pragma unroll
                for (u32 e = 0; e < 8; ++e) {
                    const Count q = p + e;
                    const Index x1 = q;
                    const f32 v1 = nd_load(a.p0 + (x0 * a.s0[0] + x1 * a.s0[1]));
                    const f32 v2 = nd_round<f16>(op_mul_f32(v1, v1));
                    const f32 v3 = v2;
                    sum_f32::step(c4[e], v3, (i64)(p + e));
                }
            }
        }
        for (; t1 < end; t1 += lanes) {
            #pragma unroll
            for (u32 u = 0; u < 1; ++u) {
                const Count p = (t1 + u * lanes) * 8;
                #pragma unroll
                for (u32 e = 0; e < 8; ++e) {
                    if (e >= n1 - p) break;
                    const Count q = p + e;
                    const Index x1 = q;
                    const f32 v1 = nd_load(a.p0 + (x0 * a.s0[0] + x1 * a.s0[1]));
                    const f32 v2 = nd_round<f16>(op_mul_f32(v1, v1));
                    const f32 v3 = v2;
                    sum_f32::step(c4[e], v3, (i64)(p + e));
                }
            }
        }
        #pragma unroll
        for (u32 e = 0; e < 4; ++e) sum_f32::merge(c4[e], c4[e + 4]);
        #pragma unroll
        for (u32 e = 0; e < 2; ++e) sum_f32::merge(c4[e], c4[e + 2]);
        #pragma unroll
        for (u32 e = 0; e < 1; ++e) sum_f32::merge(c4[e], c4[e + 1]);
        nd_fold_x<sum_f32>(c4[0]);
        if (gridDim.y > 1) {
            sum_f32::State* const all4 = nd_states<sum_f32>(a.scratch, rows * 1, row * 1, 0);
            if (live && lane == 0) all4[blockIdx.y] = c4[0];
            if (!nd_is_last(a.tickets + base / blockDim.y)) continue;
            sum_f32::init(c4[0]);
            #pragma unroll 4
            for (u32 q = lane; q < gridDim.y; q += lanes) {
                sum_f32::merge(c4[0], all4[q]);
            }
            nd_fold_x<sum_f32>(c4[0]);
        }
        const f32 v4 = sum_f32::finish(c4[0], (i64)n1);
        const f32 v5 = op_div_f32(v4, v0);
        const f32 v6 = nd_round<f16>(v5);
        if (live && lane == 0) nd_store(a.p1 + x0 * a.s1[0], v6);
    }
}
