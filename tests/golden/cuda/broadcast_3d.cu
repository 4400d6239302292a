typedef u32 Count;
typedef i32 Index;
typedef Extent32 Extent;

struct Args {
    const f32* p0;
    const f32* p1;
    f32* p2;
    u64* fault;
    char* scratch;
    u32* tickets;
    Extent n[3];
    Extent m; // vectors along the last axis
    Index s0[3];
    Index s1[3];
    Index s2[3];
};

ND f32 op_sub_f32(f32 a, f32 b) {
    return (f32)(a - b);
}

extern "C" __global__ void __launch_bounds__(256) nd_map_sub(const Args a) {
    const Count total = a.n[0].n * a.n[1].n * a.m.n;
    const Count step = gridDim.x * (Count)512;
    for (Count first = blockIdx.x * (Count)512 + threadIdx.x; first < total; first += step) {
        Vec<f32, 4> w0[2];
        Vec<f32, 4> w1[2];
        #pragma unroll
        for (u32 u = 0; u < 2; ++u) {
            const Count t = first + u * 256;
            if (t >= total) break;
            const Count row = a.m.div(t);
            const Index x2 = (t - row * a.m.n) * 4;
            const Count row_1 = a.n[1].div(row);
            const Index x1 = row - row_1 * a.n[1].n;
            const Index x0 = row_1;
            nd_load_vec<4>(w0[u], a.p0 + (x0 * a.s0[0] + x2));
            nd_load_vec<4>(w1[u], a.p1 + (x1 * a.s1[1] + x2));
        }
        #pragma unroll
        for (u32 u = 0; u < 2; ++u) {
            const Count t = first + u * 256;
            if (t >= total) break;
            const Count row = a.m.div(t);
            const Index x2 = (t - row * a.m.n) * 4;
            const Count row_1 = a.n[1].div(row);
            const Index x1 = row - row_1 * a.n[1].n;
            const Index x0 = row_1;
            Vec<f32, 4> o3;
            const Index y = x2;
            #pragma unroll
            for (u32 e = 0; e < 4; ++e) {
                const Index x2 = y + (Index)e;
                const f32 v0 = nd_load(&w0[u].at[e]);
                const f32 v1 = nd_load(&w1[u].at[e]);
                const f32 v2 = op_sub_f32(v0, v1);
                nd_store(&o3.at[e], v2);
            }
            nd_store_vec<4>(a.p2 + (x0 * a.s2[0] + x1 * a.s2[1] + x2), o3);
        }
    }
}
