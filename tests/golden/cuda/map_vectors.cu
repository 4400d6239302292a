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
    u64 q[2];
    Extent n[2];
    Extent m; // vectors along the last axis
    Index s0[2];
    Index s1[2];
    Index s2[2];
};

ND f32 op_mul_f32(f32 a, f32 b) {
    return (f32)(a * b);
}

ND bool op_greater_f32(f32 a, f32 b) {
    return (bool)(a > b);
}

ND f32 op_where_f32(bool a, f32 b, f32 c) {
    return (f32)(a ? b : c);
}

extern "C" __global__ void __launch_bounds__(256) nd_map_mul_greater_where(const Args a) {
    const f32 v0 = nd_scalar<f32>(a.q[0]);
    const f32 v1 = nd_scalar<f32>(a.q[1]);
    const Count total = a.n[0].n * a.m.n;
    const Count step = gridDim.x * (Count)512;
    for (Count first = blockIdx.x * (Count)512 + threadIdx.x; first < total; first += step) {
        Vec<f32, 4> w2[2];
        Vec<f32, 4> w3[2];
        #pragma unroll
        for (u32 u = 0; u < 2; ++u) {
            const Count t = first + u * 256;
            if (t >= total) break;
            const Count row = a.m.div(t);
            const Index x1 = (t - row * a.m.n) * 4;
            const Index x0 = row;
            nd_load_vec<4>(w2[u], a.p0 + (x0 * a.s0[0] + x1));
            nd_load_vec<4>(w3[u], a.p1 + x1);
        }
        #pragma unroll
        for (u32 u = 0; u < 2; ++u) {
            const Count t = first + u * 256;
            if (t >= total) break;
            const Count row = a.m.div(t);
            const Index x1 = (t - row * a.m.n) * 4;
            const Index x0 = row;
            Vec<f32, 4> o7;
            const Index y = x1;
            #pragma unroll
            for (u32 e = 0; e < 4; ++e) {
                const Index x1 = y + (Index)e;
                const f32 v2 = nd_load(&w2[u].at[e]);
                const f32 v3 = nd_load(&w3[u].at[e]);
                const f32 v4 = op_mul_f32(v3, v0);
                const bool v5 = op_greater_f32(v2, v1);
                const f32 v6 = op_where_f32(v5, v2, v4);
                nd_store(&o7.at[e], v6);
            }
            nd_store_vec<4>(a.p2 + (x0 * a.s2[0] + x1), o7);
        }
    }
}
