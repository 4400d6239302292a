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

extern "C" __global__ void __launch_bounds__(256) nd_rows_mul_sum_div(const Args a) {
    const f32 v0 = nd_scalar<f32>(a.q[0]);
    const u32 lane = threadIdx.x, lanes = blockDim.x;
    const Count rows = a.n[0].n;
    const Count step = gridDim.x * (Count)blockDim.y;
    for (Count base = blockIdx.x * (Count)blockDim.y; base < rows; base += step) {
        const bool live = base + threadIdx.y < rows;
        const Count row = live ? base + threadIdx.y : rows - 1;
        const Index x0 = row;
        sum_f32::State s4;
        sum_f32::init(s4);
        const Count n1 = a.n[1].n;
        const Count part = ((n1 + gridDim.y - 1) / gridDim.y + 31) / 32 * 32;
        const Count begin = min(n1, blockIdx.y * part), end = min(n1, begin + part);
        for (Count t1 = begin + lane; t1 < end; t1 += lanes) {
            const Index x1 = t1;
            const f32 v1 = nd_load(a.p0 + (x0 * a.s0[0] + x1 * a.s0[1]));
            const f32 v2 = nd_round<f16>(op_mul_f32(v1, v1));
            const f32 v3 = v2;
            sum_f32::step(s4, v3, (i64)t1);
        }
        nd_fold_x<sum_f32>(s4);
        if (gridDim.y > 1) {
            sum_f32::State* const all4 = nd_states<sum_f32>(a.scratch, rows, row, 0);
            if (live && lane == 0) all4[blockIdx.y] = s4;
            if (!nd_is_last(a.tickets + base / blockDim.y)) continue;
            sum_f32::init(s4);
            for (u32 p = lane; p < gridDim.y; p += lanes) sum_f32::merge(s4, all4[p]);
            nd_fold_x<sum_f32>(s4);
        }
        const f32 v4 = sum_f32::finish(s4, (i64)n1);
        const f32 v5 = op_div_f32(v4, v0);
        const f32 v6 = nd_round<f16>(v5);
        if (live && lane == 0) nd_store(a.p1 + x0 * a.s1[0], v6);
    }
}
