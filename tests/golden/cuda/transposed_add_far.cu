typedef u64 Count;
typedef i64 Index;
typedef Extent64 Extent;

struct Args {
    const f32* p0;
    const f32* p1;
    f32* p2;
    u64* fault;
    char* scratch;
    u32* tickets;
    Extent n[2];
    Extent m[2]; // patches along their axis, and along the last
    Index s0[2];
    Index s1[2];
    Index s2[2];
};

ND f32 op_add_f32(f32 a, f32 b) {
    return (f32)(a + b);
}

extern "C" __global__ void __launch_bounds__(256) nd_map_add(const Args a) {
    const Count total = a.m[0].n * a.m[1].n * (Count)1 * 256;
    const Count step = gridDim.x * (Count)512;
    for (Count first = blockIdx.x * (Count)512 + threadIdx.x; first < total; first += step) {
        Vec<f32, 4> w0[2];
        Vec<f32, 4> w1[2];
        #pragma unroll
        for (u32 u = 0; u < 2; ++u) {
            const Count t = first + u * 256;
            if (t >= total) break;
            const u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32;
            const Count at = t / 256, row = a.m[1].div(at), rest = a.m[0].div(row);
            const Index x0 = (row - rest * a.m[0].n) * 32 + warp % 4 * 8 + lane / 4;
            const Index x1 = ((at - row * a.m[1].n) * 8 + warp / 4 * 4 + lane % 4) * 4;
            if ((Count)x0 >= a.n[0].n || (Count)x1 >= a.n[1].n) continue;
            nd_load_vec<4>(w0[u], a.p0 + (x0 * a.s0[0] + x1));
            nd_load_each(w1[u], a.p1 + (x0 * a.s1[0] + x1 * a.s1[1]), a.s1[1]);
        }
        #pragma unroll
        for (u32 u = 0; u < 2; ++u) {
            const Count t = first + u * 256;
            if (t >= total) break;
            const u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32;
            const Count at = t / 256, row = a.m[1].div(at), rest = a.m[0].div(row);
            const Index x0 = (row - rest * a.m[0].n) * 32 + warp % 4 * 8 + lane / 4;
            const Index x1 = ((at - row * a.m[1].n) * 8 + warp / 4 * 4 + lane % 4) * 4;
            if ((Count)x0 >= a.n[0].n || (Count)x1 >= a.n[1].n) continue;
            Vec<f32, 4> o3;
            const Index y = x1;
            #pragma unroll
            for (u32 e = 0; e < 4; ++e) {
                const Index x1 = y + (Index)e;
                const f32 v0 = nd_load(&w0[u].at[e]);
                const f32 v1 = nd_load(&w1[u].at[e]);
                const f32 v2 = op_add_f32(v0, v1);
                nd_store(&o3.at[e], v2);
            }
            nd_store_vec<4>(a.p2 + (x0 * a.s2[0] + x1), o3);
        }
    }
}
