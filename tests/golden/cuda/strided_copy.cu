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
    Extent m; // vectors along the last axis
    Index s0[2];
    Index s1[2];
};

extern "C" __global__ void __launch_bounds__(256) nd_map(const Args a) {
    const Count total = a.n[0].n * a.m.n;
    const Count step = gridDim.x * (Count)1024;
    for (Count first = blockIdx.x * (Count)1024 + threadIdx.x; first < total; first += step) {
        Vec<f32, 2> w0[4];
        #pragma unroll
        for (u32 u = 0; u < 4; ++u) {
            const Count t = first + u * 256;
            if (t >= total) break;
            const Count row = a.m.div(t);
            const Index x1 = (t - row * a.m.n) * 2;
            const Index x0 = row;
            nd_load_each(w0[u], a.p0 + (x0 * a.s0[0] + x1 * a.s0[1]), a.s0[1]);
        }
        #pragma unroll
        for (u32 u = 0; u < 4; ++u) {
            const Count t = first + u * 256;
            if (t >= total) break;
            const Count row = a.m.div(t);
            const Index x1 = (t - row * a.m.n) * 2;
            const Index x0 = row;
            Vec<f32, 2> o1;
            const Index y = x1;
            #pragma unroll
            for (u32 e = 0; e < 2; ++e) {
                const Index x1 = y + (Index)e;
                const f32 v0 = nd_load(&w0[u].at[e]);
                nd_store(&o1.at[e], v0);
            }
            nd_store_vec<2>(a.p1 + (x0 * a.s1[0] + x1), o1);
        }
    }
}
