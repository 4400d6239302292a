typedef u32 Count;
typedef i32 Index;
typedef Extent32 Extent;

struct Args {
    const f32* p0;
    f32* p1;
    u64* fault;
    char* scratch;
    u32* tickets;
    Extent n[3];
    Index s0[3];
    Index s1[3];
};

struct sum_f32 {
    typedef f32 T;
    typedef f32 Out;
    struct State { T s0; };
    static ND void init(State& acc) { acc.s0 = -T(0); }
    static ND void step(State& acc, T v, i64 k) { acc.s0 = acc.s0 + v; }
    static ND void merge(State& acc, const State& from) { acc.s0 = acc.s0 + from.s0; }
    static ND Out finish(const State& acc, i64 seen) { Out out; out = seen ? acc.s0 : T(0); return out; }
};

extern "C" __global__ void __launch_bounds__(256, 1) nd_rows_sum(const Args a) {
    const u32 lane = threadIdx.x, lanes = blockDim.x;
    const Count rows = a.n[0].n;
    const Count step = gridDim.x * (Count)blockDim.y;
    for (Count base = blockIdx.x * (Count)blockDim.y; base < rows; base += step) {
        const bool live = base + threadIdx.y < rows;
        const Count row = live ? base + threadIdx.y : rows - 1;
        const Index x0 = row;
        sum_f32::State c1[4];
        #pragma unroll
        for (u32 e = 0; e < 4; ++e) sum_f32::init(c1[e]);
        const Count n1 = a.n[1].n * a.n[2].n;
        const Count et1 = (n1 + 3) / 4;
        const Count part = ((et1 + gridDim.y - 1) / gridDim.y + 31) / 32 * 32;
        const Count begin = min(et1, blockIdx.y * part);
        const Count end = min(et1, begin + part);
        Count t1 = begin + lane;
        const Count wt1 = min(end, n1 / 4);
        for (; t1 + 3 * lanes < wt1; t1 += 4 * lanes) {
            Vec<f32, 4> w0[4];
            #pragma unroll
            for (u32 u = 0; u < 4; ++u) {
                const Count p = (t1 + u * lanes) * 4;
                const Count p_2 = a.n[2].div(p);
                const Index x2 = p - p_2 * a.n[2].n;
                const Index x1 = p_2;
                nd_load_vec<4>(w0[u], a.p0 + (x0 * a.s0[0] + x1 * a.s0[1] + x2));
            }
            #pragma unroll
            for (u32 u = 0; u < 4; ++u) {
                const Count p = (t1 + u * lanes) * 4;
                const Count p_2 = a.n[2].div(p);
                const Index x2 = p - p_2 * a.n[2].n;
                const Index x1 = p_2;
                const Index y = x2;
                #pragma unroll
                for (u32 e = 0; e < 4; ++e) {
                    const Index x2 = y + (Index)e;
                    const f32 v0 = nd_load(&w0[u].at[e]);
                    sum_f32::step(c1[e], v0, (i64)(p + e));
                }
            }
        }
        for (; t1 < end; t1 += lanes) {
            Vec<f32, 4> w0[1];
            #pragma unroll
            for (u32 u = 0; u < 1; ++u) {
                const Count p = (t1 + u * lanes) * 4;
                const Count p_2 = a.n[2].div(p);
                const Index x2 = p - p_2 * a.n[2].n;
                const Index x1 = p_2;
                const bool full = p + 4 <= n1;
                if (full) {
                    nd_load_vec<4>(w0[u], a.p0 + (x0 * a.s0[0] + x1 * a.s0[1] + x2));
                }
                if (!full) {
                    nd_load_part(w0[u], a.p0 + (x0 * a.s0[0] + x1 * a.s0[1] + x2), a.s0[2], n1 - p);
                }
            }
            #pragma unroll
            for (u32 u = 0; u < 1; ++u) {
                const Count p = (t1 + u * lanes) * 4;
                const Count p_2 = a.n[2].div(p);
                const Index x2 = p - p_2 * a.n[2].n;
                const Index x1 = p_2;
                const bool full = p + 4 <= n1;
                const Index y = x2;
                #pragma unroll
                for (u32 e = 0; e < 4; ++e) {
                    if (e >= n1 - p) break;
                    const Index x2 = y + (Index)e;
                    const f32 v0 = nd_load(&w0[u].at[e]);
                    sum_f32::step(c1[e], v0, (i64)(p + e));
                }
            }
        }
        #pragma unroll
        for (u32 e = 0; e < 2; ++e) sum_f32::merge(c1[e], c1[e + 2]);
        #pragma unroll
        for (u32 e = 0; e < 1; ++e) sum_f32::merge(c1[e], c1[e + 1]);
        nd_fold_x<sum_f32>(c1[0]);
        if (gridDim.y > 1) {
            sum_f32::State* const all1 = nd_states<sum_f32>(a.scratch, rows * 1, row * 1, 0);
            if (live && lane == 0) all1[blockIdx.y] = c1[0];
            if (!nd_is_last(a.tickets + base / blockDim.y)) continue;
            sum_f32::init(c1[0]);
            #pragma unroll 4
            for (u32 q = lane; q < gridDim.y; q += lanes) {
                sum_f32::merge(c1[0], all1[q]);
            }
            nd_fold_x<sum_f32>(c1[0]);
        }
        const f32 v1 = sum_f32::finish(c1[0], (i64)n1);
        if (live && lane == 0) nd_store(a.p1 + x0 * a.s1[0], v1);
    }
}
