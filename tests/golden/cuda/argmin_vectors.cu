typedef u32 Count;
typedef i32 Index;
typedef Extent32 Extent;

struct Args {
    const f32* p0;
    i64* p1;
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

struct argmin_f32 {
    typedef f32 T;
    typedef i64 Out;
    struct State { T s0; long long s1; };
    static ND void init(State& acc) { acc.s0 = T(0); acc.s1 = -1; }
    static ND void step(State& acc, T v, i64 k) { if (acc.s1 < 0 || v < acc.s0 || (v != v && acc.s0 == acc.s0)) { acc.s0 = v; acc.s1 = k; } }
    static ND void merge(State& acc, const State& from) { if (from.s1 >= 0 && (acc.s1 < 0 || from.s0 < acc.s0 || (from.s0 != from.s0 && acc.s0 == acc.s0) || (from.s1 < acc.s1 && !(acc.s0 < from.s0 || (acc.s0 != acc.s0 && from.s0 == from.s0))))) acc = from; }
    static ND Out finish(const State& acc, i64 seen) { Out out; out = acc.s1; return out; }
};

extern "C" __global__ void __launch_bounds__(256, 1) nd_rows_abs_argmin(const Args a) {
    const u32 lane = threadIdx.x, lanes = blockDim.x;
    const Count rows = a.n[0].n;
    const Count step = gridDim.x * (Count)blockDim.y;
    for (Count base = blockIdx.x * (Count)blockDim.y; base < rows; base += step) {
        const bool live = base + threadIdx.y < rows;
        const Count row = live ? base + threadIdx.y : rows - 1;
        const Index x0 = row;
        argmin_f32::State c2[4];
        #pragma unroll
        for (u32 e = 0; e < 4; ++e) argmin_f32::init(c2[e]);
        const Count n1 = a.n[1].n;
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
                const Index x1 = p;
                nd_load_vec<4>(w0[u], a.p0 + (x0 * a.s0[0] + x1));
            }
            #pragma unroll
            for (u32 u = 0; u < 4; ++u) {
                const Count p = (t1 + u * lanes) * 4;
                const Index x1 = p;
                const Index y = x1;
                #pragma unroll
                for (u32 e = 0; e < 4; ++e) {
                    const Index x1 = y + (Index)e;
                    const f32 v0 = nd_load(&w0[u].at[e]);
                    const f32 v1 = op_abs_f32(v0);
                    argmin_f32::step(c2[e], v1, (i64)(p + e));
                }
            }
        }
        for (; t1 < end; t1 += lanes) {
            Vec<f32, 4> w0[1];
            #pragma unroll
            for (u32 u = 0; u < 1; ++u) {
                const Count p = (t1 + u * lanes) * 4;
                const Index x1 = p;
                const bool full = p + 4 <= n1;
                if (full) {
                    nd_load_vec<4>(w0[u], a.p0 + (x0 * a.s0[0] + x1));
                }
                if (!full) {
                    nd_load_part(w0[u], a.p0 + (x0 * a.s0[0] + x1), a.s0[1], n1 - p);
                }
            }
            #pragma unroll
            for (u32 u = 0; u < 1; ++u) {
                const Count p = (t1 + u * lanes) * 4;
                const Index x1 = p;
                const bool full = p + 4 <= n1;
                const Index y = x1;
                #pragma unroll
                for (u32 e = 0; e < 4; ++e) {
                    if (e >= n1 - p) break;
                    const Index x1 = y + (Index)e;
                    const f32 v0 = nd_load(&w0[u].at[e]);
                    const f32 v1 = op_abs_f32(v0);
                    argmin_f32::step(c2[e], v1, (i64)(p + e));
                }
            }
        }
        #pragma unroll
        for (u32 e = 0; e < 2; ++e) argmin_f32::merge(c2[e], c2[e + 2]);
        #pragma unroll
        for (u32 e = 0; e < 1; ++e) argmin_f32::merge(c2[e], c2[e + 1]);
        nd_fold_x<argmin_f32>(c2[0]);
        if (gridDim.y > 1) {
            argmin_f32::State* const all2 = nd_states<argmin_f32>(a.scratch, rows * 1, row * 1, 0);
            if (live && lane == 0) all2[blockIdx.y] = c2[0];
            if (!nd_is_last(a.tickets + base / blockDim.y)) continue;
            argmin_f32::init(c2[0]);
            #pragma unroll 4
            for (u32 q = lane; q < gridDim.y; q += lanes) {
                argmin_f32::merge(c2[0], all2[q]);
            }
            nd_fold_x<argmin_f32>(c2[0]);
        }
        const i64 v2 = argmin_f32::finish(c2[0], (i64)n1);
        if (live && lane == 0) nd_store(a.p1 + x0 * a.s1[0], v2);
    }
}
