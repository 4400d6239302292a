typedef u32 Count;
typedef i32 Index;
typedef Extent32 Extent;

struct Args {
    const i64* p0;
    const f64* p1;
    f64* p2;
    bool* p3;
    u64* fault;
    char* scratch;
    u32* tickets;
    i64 g1[2]; // stride, length
    Extent n[2];
    Extent m; // vectors along the last axis
    Index s0[2];
    Index s1[2];
    Index s2[2];
    Index s3[2];
};

extern "C" __global__ void __launch_bounds__(256, 1) nd_map_take(const Args a) {
    const Count total = a.n[0].n * a.m.n;
    const Count step = gridDim.x * (Count)1024;
    for (Count first = blockIdx.x * (Count)1024 + threadIdx.x; first < total; first += step) {
        i64 w0[4];
        #pragma unroll
        for (u32 u = 0; u < 4; ++u) {
            const Count t = first + u * 256;
            if (t >= total) break;
            const Count row = a.m.div(t);
            const Index x1 = (t - row * a.m.n) * 2;
            const Index x0 = row;
            w0[u] = nd_load(a.p0 + x0 * a.s0[0]);
        }
        #pragma unroll
        for (u32 u = 0; u < 4; ++u) {
            const Count t = first + u * 256;
            if (t >= total) break;
            const Count row = a.m.div(t);
            const Index x1 = (t - row * a.m.n) * 2;
            const Index x0 = row;
            Vec<f64, 2> o2;
            const Index y = x1;
            #pragma unroll
            for (u32 e = 0; e < 2; ++e) {
                const Index x1 = y + (Index)e;
                const i64 v0 = w0[u];
                const f64 v1 = nd_within(v0, a.g1[1], a.fault, 1) ? nd_load(a.p1 + (x0 * a.s1[0] + x1 * a.s1[1]) + (i64)v0 * a.g1[0]) : (f64)0;
                nd_store(&o2.at[e], v1);
                const bool v3 = v0 != (i64)0;
                if (x1 == 0) nd_store(a.p3 + x0 * a.s3[0], v3);
            }
            nd_store_vec<2>(a.p2 + (x0 * a.s2[0] + x1), o2);
        }
    }
}
