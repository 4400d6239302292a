typedef u64 Count;
typedef i64 Index;
typedef Extent64 Extent;

struct Args {
    const f16* p0;
    f16* p1;
    u64* fault;
    char* scratch;
    u32* tickets;
    u64 q[1];
    Extent n[1];
    Index s0[1];
    Index s1[1];
};

ND f32 op_mul_f32(f32 a, f32 b) {
    return (f32)(a * b);
}

ND f32 op_add_f32(f32 a, f32 b) {
    return (f32)(a + b);
}

extern "C" __global__ void __launch_bounds__(256) nd_map_mul_add(const Args a) {
    const f32 v0 = nd_scalar_f16(a.q[0]);
    const Count total = a.n[0].n;
    const Count step = gridDim.x * (Count)1024;
    for (Count first = blockIdx.x * (Count)1024 + threadIdx.x; first < total; first += step) {
        f32 w1[4];
        #pragma unroll
        for (u32 u = 0; u < 4; ++u) {
            const Count t = first + u * 256;
            if (t >= total) break;
            const Index x0 = t;
            w1[u] = nd_load(a.p0 + x0 * a.s0[0]);
        }
        #pragma unroll
        for (u32 u = 0; u < 4; ++u) {
            const Count t = first + u * 256;
            if (t >= total) break;
            const Index x0 = t;
            const f32 v1 = w1[u];
            const f32 v2 = nd_round<f16>(op_mul_f32(v1, v1));
            const f32 v3 = nd_round<f16>(op_add_f32(v2, v0));
            nd_store(a.p1 + x0 * a.s1[0], v3);
        }
    }
}
