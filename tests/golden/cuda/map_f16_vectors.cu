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
    const Count total = a.n[0].n / 8;
    const Count step = gridDim.x * (Count)512;
    for (Count first = blockIdx.x * (Count)512 + threadIdx.x; first < total; first += step) {
        Vec<f16, 8> w1[2];
        #pragma unroll
        for (u32 u = 0; u < 2; ++u) {
            const Count t = first + u * 256;
            if (t >= total) break;
            const Index x0 = t * 8;
            nd_load_vec<8>(w1[u], a.p0 + x0);
        }
        #pragma unroll
        for (u32 u = 0; u < 2; ++u) {
            const Count t = first + u * 256;
            if (t >= total) break;
            const Index x0 = t * 8;
            Vec<f16, 8> o4;
            const Index y = x0;
            #pragma unroll
            for (u32 e = 0; e < 8; ++e) {
                const Index x0 = y + (Index)e;
                const f32 v1 = nd_load(&w1[u].at[e]);
                const f32 v2 = nd_round<f16>(op_mul_f32(v1, v1));
                const f32 v3 = nd_round<f16>(op_add_f32(v2, v0));
                nd_store(&o4.at[e], v3);
            }
            nd_store_vec<8>(a.p1 + x0, o4);
        }
    }
    const Count rest = total * 8 + blockIdx.x * (Count)256 + threadIdx.x;
    if (rest < a.n[0].n) {
        const Index x0 = rest;
        const f32 v1 = nd_load(a.p0 + x0);
        const f32 v2 = nd_round<f16>(op_mul_f32(v1, v1));
        const f32 v3 = nd_round<f16>(op_add_f32(v2, v0));
        nd_store(a.p1 + x0, v3);
    }
}
