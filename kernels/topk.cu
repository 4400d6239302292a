// Where along rows the k smallest or largest elements are, and these: a block of threads takes a row, and keeps the best so far in order. A row may
// come in parts, one launch each: a later one begins with what those before it left.
// Elements become unsigned numbers that order as they do, so one kernel runs every dtype.
#include "prelude.cuh"

#define ND_THREADS 256
// Results of one walk over a row, at most: longer ones take several walks.
#define ND_MOST 1024
#define ND_AXES 32
// Beside where an element is: its place among those of earlier parts.
#define ND_PLACE 10

struct Params {
    u64 from, to, values;
    // Of this part: how many, in what steps, and where in the row it begins.
    i64 rows, m, k, step, first;
    // Bytes of an element; 0, 1, 2: unsigned, signed, float; the bits of infinity.
    u32 size, kind;
    u64 infinity;
    u32 largest, axes;
    i64 extents[ND_AXES], strides[ND_AXES];
};

ND u64 nd_bits(const Params &p, u64 at) {
    switch (p.size) {
    case 1: return *(const u8 *)at;
    case 2: return *(const u16 *)at;
    case 4: return *(const u32 *)at;
    default: return *(const u64 *)at;
    }
}

ND void nd_put(const Params &p, u64 at, u64 bits) {
    switch (p.size) {
    case 1: *(u8 *)at = (u8)bits; break;
    case 2: *(u16 *)at = (u16)bits; break;
    case 4: *(u32 *)at = (u32)bits; break;
    default: *(u64 *)at = bits;
    }
}

ND u64 nd_key(const Params &p, u64 bits) {
    u64 sign = 1ull << (8 * p.size - 1);
    u64 all = sign | (sign - 1);
    if (p.kind == 2) {
        if ((bits & ~sign) > p.infinity) return ~0ull;
        if (bits == sign) bits = 0;
        bits = bits & sign ? ~bits & all : bits | sign;
    } else if (p.kind == 1) {
        bits ^= sign;
    }
    return p.largest ? ~bits : bits;
}

ND bool nd_before(u64 a, i64 i, u64 b, i64 j) { return a < b || (a == b && i < j); }

// One step of a bitonic network over n places: pairs `gap` apart; every other run of `run` places backwards, if so.
ND void nd_exchange(u64 *key, i64 *at, u32 n, u32 gap, u32 run, bool backwards) {
    for (u32 t = threadIdx.x; t < n / 2; t += ND_THREADS) {
        u32 a = 2 * t - (t & (gap - 1)), b = a + gap;
        bool down = ((a & run) != 0) != backwards;
        if (nd_before(key[b], at[b], key[a], at[a]) != down) {
            u64 k = key[a];
            key[a] = key[b];
            key[b] = k;
            i64 i = at[a];
            at[a] = at[b];
            at[b] = i;
        }
    }
    __syncthreads();
}

extern "C" __global__ void __launch_bounds__(ND_THREADS, 4) nd_topk(const Params p) {
    // The best in order, and as many that may be among them.
    __shared__ u64 key[2 * ND_MOST];
    __shared__ i64 at[2 * ND_MOST];
    const i64 none = 0x7fffffffffffffffll;
    u32 n = ND_THREADS;
    while (n < p.k && n < ND_MOST) n *= 2;
    for (i64 row = blockIdx.x; row < p.rows; row += gridDim.x) {
        i64 first = 0, rest = row;
        for (i32 a = (i32)p.axes - 1; a >= 0; a--) {
            first += rest % p.extents[a] * p.strides[a];
            rest /= p.extents[a];
        }
        u64 from = p.from + first * p.size;
        i64 *to = (i64 *)p.to + row * p.k;
        u64 values = p.values + row * p.k * p.size;
        // What was found by earlier walks ends here.
        u64 last = 0;
        i64 last_at = -1;
        for (i64 done = 0; done < p.k; done += n) {
            u32 want = p.k - done < n ? (u32)(p.k - done) : n;
            for (u32 t = threadIdx.x; t < n; t += ND_THREADS) {
                bool left = p.first > 0 && t < p.k;
                key[t] = left ? nd_key(p, nd_bits(p, values + t * p.size)) : ~0ull;
                at[t] = left ? to[t] << ND_PLACE | t : none;
            }
            __syncthreads();
            for (i64 j0 = 0; j0 < p.m; j0 += n) {
                u64 worst = key[want - 1];
                i64 worst_at = at[want - 1];
                bool any = false;
                for (u32 t = threadIdx.x; t < n; t += ND_THREADS) {
                    i64 j = j0 + t, i = none;
                    u64 k = ~0ull;
                    if (j < p.m) {
                        u64 v = nd_key(p, nd_bits(p, from + j * p.step * p.size));
                        i64 place = (p.first + j) << ND_PLACE;
                        if (nd_before(last, last_at, v, place) && nd_before(v, place, worst, worst_at)) {
                            k = v;
                            i = place;
                            any = true;
                        }
                    }
                    key[n + t] = k;
                    at[n + t] = i;
                }
                if (!__syncthreads_or(any)) continue;
                // The new ones backwards, the better of each pair, and those in order.
                for (u32 run = 2; run <= n; run *= 2)
                    for (u32 gap = run / 2; gap > 0; gap /= 2) nd_exchange(key + n, at + n, n, gap, run, run == n);
                for (u32 t = threadIdx.x; t < n; t += ND_THREADS) {
                    if (nd_before(key[n + t], at[n + t], key[t], at[t])) {
                        key[t] = key[n + t];
                        at[t] = at[n + t];
                    }
                }
                __syncthreads();
                for (u32 gap = n / 2; gap > 0; gap /= 2) nd_exchange(key, at, n, gap, n, false);
            }
            // All of what earlier parts left is read before any of it is written over.
            u64 bits[ND_MOST / ND_THREADS];
            if (p.values != 0) {
#pragma unroll
                for (u32 e = 0; e < ND_MOST / ND_THREADS; e++) {
                    u32 t = threadIdx.x + e * ND_THREADS;
                    if (t >= want) break;
                    i64 j = (at[t] >> ND_PLACE) - p.first;
                    u64 left = values + (at[t] & ((1 << ND_PLACE) - 1)) * p.size;
                    bits[e] = nd_bits(p, j < 0 ? left : from + j * p.step * p.size);
                }
                __syncthreads();
#pragma unroll
                for (u32 e = 0; e < ND_MOST / ND_THREADS; e++) {
                    u32 t = threadIdx.x + e * ND_THREADS;
                    if (t < want) nd_put(p, values + (done + t) * p.size, bits[e]);
                }
            }
            for (u32 t = threadIdx.x; t < want; t += ND_THREADS) to[done + t] = at[t] >> ND_PLACE;
            last = key[want - 1];
            last_at = at[want - 1];
            __syncthreads();
        }
    }
}
