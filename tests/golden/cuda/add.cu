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
    Extent n[1];
    Index s0[1];
    Index s1[1];
    Index s2[1];
};

ND f32 op_add_f32(f32 a, f32 b) {
    return (f32)(a + b);
}

extern "C" __global__ void __launch_bounds__(256) nd_map_add(const Args a) {
    const Count total = a.n[0].n / 4;
    const Count step = gridDim.x * (Count)512;
    for (Count first = blockIdx.x * (Count)512 + threadIdx.x; first < total; first += step) {
        Vec<f32, 4> w0[2];
        Vec<f32, 4> w1[2];
        #pragma unroll
        for (u32 u = 0; u < 2; ++u) {
            const Count t = first + u * 256;
            if (t >= total) break;
            const Index x0 = t * 4;
            nd_load_vec<4>(w0[u], a.p0 + x0);
            nd_load_vec<4>(w1[u], a.p1 + x0);
        }
        #pragma unroll
        for (u32 u = 0; u < 2; ++u) {
            const Count t = first + u * 256;
            if (t >= total) break;
            const Index x0 = t * 4;
            Vec<f32, 4> o3;
            const Index y = x0;
            #pragma unroll
            for (u32 e = 0; e < 4; ++e) {
                const Index x0 = y + (Index)e;
                const f32 v0 = nd_load(&w0[u].at[e]);
                const f32 v1 = nd_load(&w1[u].at[e]);
                const f32 v2 = op_add_f32(v0, v1);
                nd_store(&o3.at[e], v2);
            }
            nd_store_vec<4>(a.p2 + x0, o3);
        }
    }
    const Count rest = total * 4 + blockIdx.x * (Count)256 + threadIdx.x;
    if (rest < a.n[0].n) {
        const Index x0 = rest;
        const f32 v0 = nd_load(a.p0 + x0);
        const f32 v1 = nd_load(a.p1 + x0);
        const f32 v2 = op_add_f32(v0, v1);
        nd_store(a.p2 + x0, v2);
    }
}
