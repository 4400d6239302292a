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

struct argmax_f32 {
    typedef f32 T;
    typedef i64 Out;
    struct State { T s0; long long s1; };
    static ND void init(State& acc) { acc.s0 = T(0); acc.s1 = -1; }
    static ND void step(State& acc, T v, i64 k) { if (acc.s1 < 0 || v > acc.s0 || (v != v && acc.s0 == acc.s0)) { acc.s0 = v; acc.s1 = k; } }
    static ND void merge(State& acc, const State& from) { if (from.s1 >= 0 && (acc.s1 < 0 || from.s0 > acc.s0 || (from.s0 != from.s0 && acc.s0 == acc.s0) || (from.s1 < acc.s1 && !(acc.s0 > from.s0 || (acc.s0 != acc.s0 && from.s0 == from.s0))))) acc = from; }
    static ND Out finish(const State& acc, i64 seen) { Out out; out = acc.s1; return out; }
};

extern "C" __global__ void __launch_bounds__(256, 1) nd_columns_abs_argmax(const Args a) {
    const u32 lane = threadIdx.y, lanes = blockDim.y;
    const Count rows = a.n[1].n / 2;
    const Count step = gridDim.x * (Count)blockDim.x;
    for (Count base = blockIdx.x * (Count)blockDim.x; base < rows; base += step) {
        const bool live = base + threadIdx.x < rows;
        const Count row = live ? base + threadIdx.x : rows - 1;
        const Count column = row * 2;
        const Index x1 = column;
        argmax_f32::State c2[2];
        #pragma unroll
        for (u32 e = 0; e < 2; ++e) argmax_f32::init(c2[e]);
        const Count n1 = a.n[0].n;
        const Count et1 = n1;
        const Count part = ((et1 + gridDim.y - 1) / gridDim.y + 31) / 32 * 32;
        const Count begin = min(et1, blockIdx.y * part);
        const Count end = min(et1, begin + part);
        Count t1 = begin + lane;
        const Count wt1 = end;
        for (; t1 + 3 * lanes < wt1; t1 += 4 * lanes) {
            Vec<f32, 2> w0[4];
            #pragma unroll
            for (u32 u = 0; u < 4; ++u) {
                const Count p = (t1 + u * lanes);
                const Index x0 = p;
                nd_load_vec<2>(w0[u], a.p0 + (x0 * a.s0[0] + x1));
            }
            #pragma unroll
            for (u32 u = 0; u < 4; ++u) {
                const Count p = (t1 + u * lanes);
                const Index x0 = p;
                const Index y = x1;
                #pragma unroll
                for (u32 e = 0; e < 2; ++e) {
                    const Index x1 = y + (Index)e;
                    const f32 v0 = nd_load(&w0[u].at[e]);
                    const f32 v1 = op_abs_f32(v0);
                    argmax_f32::step(c2[e], v1, (i64)p);
                }
            }
        }
        for (; t1 < end; t1 += lanes) {
            Vec<f32, 2> w0[1];
            #pragma unroll
            for (u32 u = 0; u < 1; ++u) {
                const Count p = (t1 + u * lanes);
                const Index x0 = p;
                nd_load_vec<2>(w0[u], a.p0 + (x0 * a.s0[0] + x1));
            }
            #pragma unroll
            for (u32 u = 0; u < 1; ++u) {
                const Count p = (t1 + u * lanes);
                const Index x0 = p;
                const Index y = x1;
                #pragma unroll
                for (u32 e = 0; e < 2; ++e) {
                    const Index x1 = y + (Index)e;
                    const f32 v0 = nd_load(&w0[u].at[e]);
                    const f32 v1 = op_abs_f32(v0);
                    argmax_f32::step(c2[e], v1, (i64)p);
                }
            }
        }
        #pragma unroll
        for (u32 e = 0; e < 2; ++e) { nd_fold_y<argmax_f32>(c2[e]); }
        if (gridDim.y > 1) {
            argmax_f32::State* const all2 = nd_states<argmax_f32>(a.scratch, rows * 2, row * 2, 0);
            #pragma unroll
            for (u32 e = 0; e < 2; ++e) { if (live && lane == 0) all2[e * gridDim.y + blockIdx.y] = c2[e]; }
            if (!nd_is_last(a.tickets + base / blockDim.x)) continue;
            #pragma unroll
            for (u32 e = 0; e < 2; ++e) { argmax_f32::init(c2[e]); }
            #pragma unroll 4
            for (u32 q = lane; q < gridDim.y; q += lanes) {
                #pragma unroll
                for (u32 e = 0; e < 2; ++e) { argmax_f32::merge(c2[e], all2[e * gridDim.y + q]); }
            }
            #pragma unroll
            for (u32 e = 0; e < 2; ++e) { nd_fold_y<argmax_f32>(c2[e]); }
        }
        const Index y = x1;
        #pragma unroll
        for (u32 e = 0; e < 2; ++e) {
            const Index x1 = y + (Index)e;
            const i64 v2 = argmax_f32::finish(c2[e], (i64)(a.n[0].n));
            if (live && lane == 0) nd_store(a.p1 + x1, v2);
        }
    }
}
