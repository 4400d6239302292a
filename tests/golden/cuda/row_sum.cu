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

ND f32 op_abs_f32(f32 a) {
    return (f32)(fabsf(a));
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

extern "C" __global__ void __launch_bounds__(256) nd_rows_abs_sum(const Args a) {
    const u32 lane = threadIdx.x, lanes = blockDim.x;
    const Count rows = a.n[0].n;
    const Count step = gridDim.x * (Count)blockDim.y;
    for (Count base = blockIdx.x * (Count)blockDim.y; base < rows; base += step) {
        const bool live = base + threadIdx.y < rows;
        const Count row = live ? base + threadIdx.y : rows - 1;
        const Index x0 = row;
        sum_f32::State s2;
        sum_f32::init(s2);
        const Count n1 = a.n[1].n;
        const Count part = ((n1 + gridDim.y - 1) / gridDim.y + 31) / 32 * 32;
        const Count begin = min(n1, blockIdx.y * part), end = min(n1, begin + part);
        for (Count t1 = begin + lane; t1 < end; t1 += lanes) {
            const Index x1 = t1;
            const f32 v0 = nd_load(a.p0 + (x0 * a.s0[0] + x1 * a.s0[1]));
            const f32 v1 = op_abs_f32(v0);
            sum_f32::step(s2, v1, (i64)t1);
        }
        nd_fold_x<sum_f32>(s2);
        if (gridDim.y > 1) {
            sum_f32::State* const all2 = nd_states<sum_f32>(a.scratch, rows, row, 0);
            if (live && lane == 0) all2[blockIdx.y] = s2;
            if (!nd_is_last(a.tickets + base / blockDim.y)) continue;
            sum_f32::init(s2);
            for (u32 p = lane; p < gridDim.y; p += lanes) sum_f32::merge(s2, all2[p]);
            nd_fold_x<sum_f32>(s2);
        }
        const f32 v2 = sum_f32::finish(s2, (i64)n1);
        if (live && lane == 0) nd_store(a.p1 + x0 * a.s1[0], v2);
    }
}
