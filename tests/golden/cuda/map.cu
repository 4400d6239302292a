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
    const Count total = a.n[0].n * a.n[1].n;
    const Count step = gridDim.x * (Count)1024;
    for (Count first = blockIdx.x * (Count)1024 + threadIdx.x; first < total; first += step) {
        f32 w2[4];
        f32 w3[4];
        #pragma unroll
        for (u32 u = 0; u < 4; ++u) {
            const Count t = first + u * 256;
            if (t >= total) break;
            const Count t_1 = a.n[1].div(t);
            const Index x1 = t - t_1 * a.n[1].n;
            const Index x0 = t_1;
            w2[u] = nd_load(a.p0 + (x0 * a.s0[0] + x1 * a.s0[1]));
            w3[u] = nd_load(a.p1 + x1 * a.s1[1]);
        }
        #pragma unroll
        for (u32 u = 0; u < 4; ++u) {
            const Count t = first + u * 256;
            if (t >= total) break;
            const Count t_1 = a.n[1].div(t);
            const Index x1 = t - t_1 * a.n[1].n;
            const Index x0 = t_1;
            const f32 v2 = w2[u];
            const f32 v3 = w3[u];
            const f32 v4 = op_mul_f32(v3, v0);
            const bool v5 = op_greater_f32(v2, v1);
            const f32 v6 = op_where_f32(v5, v2, v4);
            nd_store(a.p2 + (x0 * a.s2[0] + x1 * a.s2[1]), v6);
        }
    }
}
