// Generated from the op tables: `NDCUDA_BLESS=1 cargo test shipped` writes it anew. What a part is for stands in interp.cuh.

#if defined(ND_CODES)
#define ND_END 0
#define ND_LOOP 1
#define ND_NEXT 2
#define ND_LOAD 3
#define ND_STORE 4
#define ND_PARAM 5
#define ND_ROUND_F16 6
#define ND_ROUND_BF16 7
#define ND_INIT 8
#define ND_STEP 9
#define ND_JOIN 10
#define ND_PUBLISH 11
#define ND_LAST 12
#define ND_COLLECT 13
#define ND_FINISH 14
#define ND_DEPTH 8

#elif defined(ND_REDUCERS)
template <class V, class O> struct nd_sum {
    typedef V T;
    typedef O Out;
    struct State { T s0; };
    static ND void init(State& acc) { acc.s0 = -T(0); }
    static ND void step(State& acc, T v, i64 k) { acc.s0 = acc.s0 + v; }
    static ND void merge(State& acc, const State& from) { acc.s0 = acc.s0 + from.s0; }
    static ND Out finish(const State& acc, i64 seen) { Out out; out = seen ? acc.s0 : T(0); return out; }
};
typedef nd_sum<i64, i64> nd_sum_i64;
typedef nd_sum<u64, u64> nd_sum_u64;
typedef nd_sum<f32, f32> nd_sum_f32;
typedef nd_sum<f64, f64> nd_sum_f64;
template <class V, class O> struct nd_product {
    typedef V T;
    typedef O Out;
    struct State { T s0; };
    static ND void init(State& acc) { acc.s0 = T(1); }
    static ND void step(State& acc, T v, i64 k) { acc.s0 = acc.s0 * v; }
    static ND void merge(State& acc, const State& from) { acc.s0 = acc.s0 * from.s0; }
    static ND Out finish(const State& acc, i64 seen) { Out out; out = acc.s0; return out; }
};
typedef nd_product<i64, i64> nd_product_i64;
typedef nd_product<u64, u64> nd_product_u64;
typedef nd_product<f32, f32> nd_product_f32;
typedef nd_product<f64, f64> nd_product_f64;
template <class V, class O> struct nd_min {
    typedef V T;
    typedef O Out;
    struct State { T s0; };
    static ND void init(State& acc) { acc.s0 = nd_highest<T>(); }
    static ND void step(State& acc, T v, i64 k) { acc.s0 = (v < acc.s0 || v != v) ? v : acc.s0; }
    static ND void merge(State& acc, const State& from) { acc.s0 = (from.s0 < acc.s0 || from.s0 != from.s0) ? from.s0 : acc.s0; }
    static ND Out finish(const State& acc, i64 seen) { Out out; out = acc.s0; return out; }
};
typedef nd_min<bool, bool> nd_min_bool;
typedef nd_min<i64, i64> nd_min_i64;
typedef nd_min<u64, u64> nd_min_u64;
typedef nd_min<f32, f32> nd_min_f32;
typedef nd_min<f64, f64> nd_min_f64;
template <class V, class O> struct nd_max {
    typedef V T;
    typedef O Out;
    struct State { T s0; };
    static ND void init(State& acc) { acc.s0 = nd_lowest<T>(); }
    static ND void step(State& acc, T v, i64 k) { acc.s0 = (v > acc.s0 || v != v) ? v : acc.s0; }
    static ND void merge(State& acc, const State& from) { acc.s0 = (from.s0 > acc.s0 || from.s0 != from.s0) ? from.s0 : acc.s0; }
    static ND Out finish(const State& acc, i64 seen) { Out out; out = acc.s0; return out; }
};
typedef nd_max<bool, bool> nd_max_bool;
typedef nd_max<i64, i64> nd_max_i64;
typedef nd_max<u64, u64> nd_max_u64;
typedef nd_max<f32, f32> nd_max_f32;
typedef nd_max<f64, f64> nd_max_f64;
template <class V, class O> struct nd_argmin {
    typedef V T;
    typedef O Out;
    struct State { T s0; long long s1; };
    static ND void init(State& acc) { acc.s0 = T(0); acc.s1 = -1; }
    static ND void step(State& acc, T v, i64 k) { if (acc.s1 < 0 || v < acc.s0 || (v != v && acc.s0 == acc.s0)) { acc.s0 = v; acc.s1 = k; } }
    static ND void merge(State& acc, const State& from) { if (from.s1 >= 0 && (acc.s1 < 0 || from.s0 < acc.s0 || (from.s0 != from.s0 && acc.s0 == acc.s0) || (from.s1 < acc.s1 && !(acc.s0 < from.s0 || (acc.s0 != acc.s0 && from.s0 == from.s0))))) acc = from; }
    static ND Out finish(const State& acc, i64 seen) { Out out; out = acc.s1; return out; }
};
typedef nd_argmin<bool, i64> nd_argmin_bool;
typedef nd_argmin<i64, i64> nd_argmin_i64;
typedef nd_argmin<u64, i64> nd_argmin_u64;
typedef nd_argmin<f32, i64> nd_argmin_f32;
typedef nd_argmin<f64, i64> nd_argmin_f64;
template <class V, class O> struct nd_argmax {
    typedef V T;
    typedef O Out;
    struct State { T s0; long long s1; };
    static ND void init(State& acc) { acc.s0 = T(0); acc.s1 = -1; }
    static ND void step(State& acc, T v, i64 k) { if (acc.s1 < 0 || v > acc.s0 || (v != v && acc.s0 == acc.s0)) { acc.s0 = v; acc.s1 = k; } }
    static ND void merge(State& acc, const State& from) { if (from.s1 >= 0 && (acc.s1 < 0 || from.s0 > acc.s0 || (from.s0 != from.s0 && acc.s0 == acc.s0) || (from.s1 < acc.s1 && !(acc.s0 > from.s0 || (acc.s0 != acc.s0 && from.s0 == from.s0))))) acc = from; }
    static ND Out finish(const State& acc, i64 seen) { Out out; out = acc.s1; return out; }
};
typedef nd_argmax<bool, i64> nd_argmax_bool;
typedef nd_argmax<i64, i64> nd_argmax_i64;
typedef nd_argmax<u64, i64> nd_argmax_u64;
typedef nd_argmax<f32, i64> nd_argmax_f32;
typedef nd_argmax<f64, i64> nd_argmax_f64;
template <class V, class O> struct nd_any {
    typedef V T;
    typedef O Out;
    struct State { T s0; };
    static ND void init(State& acc) { acc.s0 = T(0); }
    static ND void step(State& acc, T v, i64 k) { acc.s0 = acc.s0 | v; }
    static ND void merge(State& acc, const State& from) { acc.s0 = acc.s0 | from.s0; }
    static ND Out finish(const State& acc, i64 seen) { Out out; out = acc.s0; return out; }
};
typedef nd_any<bool, bool> nd_any_bool;
template <class V, class O> struct nd_all {
    typedef V T;
    typedef O Out;
    struct State { T s0; };
    static ND void init(State& acc) { acc.s0 = T(1); }
    static ND void step(State& acc, T v, i64 k) { acc.s0 = acc.s0 & v; }
    static ND void merge(State& acc, const State& from) { acc.s0 = acc.s0 & from.s0; }
    static ND Out finish(const State& acc, i64 seen) { Out out; out = acc.s0; return out; }
};
typedef nd_all<bool, bool> nd_all_bool;
template <class V, class O> struct nd_moments {
    typedef V T;
    typedef O Out;
    struct State { T s0; T s1; long long n; };
    static ND void init(State& acc) { acc.s0 = T(0); acc.s1 = T(0); acc.n = 0; }
    static ND void step(State& acc, T v, i64 k) { { acc.n += 1; T d = v - acc.s0; acc.s0 = acc.s0 + d / T(acc.n); acc.s1 = acc.s1 + d * (v - acc.s0); } }
    static ND void merge(State& acc, const State& from) { if (acc.n == 0) acc = from; else if (from.n != 0) { T share = T(double(from.n) / double(acc.n + from.n)); T d = from.s0 - acc.s0; acc.s0 = acc.s0 + d * share; acc.s1 = acc.s1 + from.s1 + d * d * (T(acc.n) * share); acc.n += from.n; } }
    static ND Out finish(const State& acc, i64 seen) { Out out; out = acc.s1; return out; }
};
typedef nd_moments<f32, f32> nd_moments_f32;
typedef nd_moments<f64, f64> nd_moments_f64;

#elif defined(ND_FOLD)
#ifdef ND_OPS_BOOL
ND_FOLD(2, nd_min_bool)
ND_FOLD(3, nd_max_bool)
ND_FOLD(4, nd_argmin_bool)
ND_FOLD(5, nd_argmax_bool)
ND_FOLD(6, nd_any_bool)
ND_FOLD(7, nd_all_bool)
#endif
#ifdef ND_OPS_I64
ND_FOLD(64, nd_sum_i64)
ND_FOLD(65, nd_product_i64)
ND_FOLD(66, nd_min_i64)
ND_FOLD(67, nd_max_i64)
ND_FOLD(68, nd_argmin_i64)
ND_FOLD(69, nd_argmax_i64)
#endif
#ifdef ND_OPS_U64
ND_FOLD(128, nd_sum_u64)
ND_FOLD(129, nd_product_u64)
ND_FOLD(130, nd_min_u64)
ND_FOLD(131, nd_max_u64)
ND_FOLD(132, nd_argmin_u64)
ND_FOLD(133, nd_argmax_u64)
#endif
#ifdef ND_OPS_F32
ND_FOLD(176, nd_sum_f32)
ND_FOLD(177, nd_product_f32)
ND_FOLD(178, nd_min_f32)
ND_FOLD(179, nd_max_f32)
ND_FOLD(180, nd_argmin_f32)
ND_FOLD(181, nd_argmax_f32)
ND_FOLD(184, nd_moments_f32)
#endif
#ifdef ND_OPS_F64
ND_FOLD(192, nd_sum_f64)
ND_FOLD(193, nd_product_f64)
ND_FOLD(194, nd_min_f64)
ND_FOLD(195, nd_max_f64)
ND_FOLD(196, nd_argmin_f64)
ND_FOLD(197, nd_argmax_f64)
ND_FOLD(200, nd_moments_f64)
#endif

#else
#ifdef ND_OPS_BOOL
ND_OP2(1068, true, bool, bool, bool, a == b) // equal
ND_OP2(1069, true, bool, bool, bool, a != b) // not_equal
ND_OP2(1070, true, bool, bool, bool, a < b) // less
ND_OP2(1071, true, bool, bool, bool, a <= b) // less_equal
ND_OP2(1072, true, bool, bool, bool, a > b) // greater
ND_OP2(1073, true, bool, bool, bool, a >= b) // greater_equal
ND_OP2(1074, true, bool, bool, bool, a || b) // maximum
ND_OP2(1075, true, bool, bool, bool, a && b) // minimum
ND_OP1(1076, true, bool, bool, false) // is_nan
ND_OP1(1077, true, bool, bool, false) // is_infinite
ND_OP1(1078, true, bool, bool, true) // is_finite
ND_OP2(1080, true, bool, bool, bool, a && b) // logical_and
ND_OP2(1081, true, bool, bool, bool, a || b) // logical_or
ND_OP2(1082, true, bool, bool, bool, a != b) // logical_xor
ND_OP1(1083, true, bool, bool, !a) // logical_not
ND_OP2(1084, true, bool, bool, bool, a & b) // bit_and
ND_OP2(1085, true, bool, bool, bool, a | b) // bit_or
ND_OP2(1086, true, bool, bool, bool, a ^ b) // bit_xor
ND_OP1(1087, true, bool, bool, !a) // bit_not
ND_OP3(1090, true, bool, bool, bool, bool, a ? b : c) // where_
#endif
#ifdef ND_OPS_I64
ND_OP2(1536, true, i64, i64, i64, 0ull + a + b) // add
ND_OP2(1537, true, i64, i64, i64, 0ull + a - b) // sub
ND_OP2(1538, true, i64, i64, i64, 1ull * a * b) // mul
ND_OP2(1539, false, i64, i64, i64, b == 0 ? 0 : b == -1 ? 0ull - a : a / b) // div
ND_OP2(1540, false, i64, i64, i64, b == 0 || b == -1 ? 0 : a % b) // rem
ND_OP2(1541, false, i64, i64, i64, b == 0 || b == -1 ? 0 : a % b != 0 && (a % b < 0) != (b < 0) ? a % b + b : a % b) // remainder
ND_OP2(1542, false, i64, i64, i64, b == 0 ? 0 : b == -1 ? 0ull - a : a / b - (a % b != 0 && (a < 0) != (b < 0))) // floor_divide
ND_OP1(1543, true, i64, i64, a < 0 ? 0ull - a : a) // abs
ND_OP1(1544, true, i64, i64, (a > 0) - (a < 0)) // sign
ND_OP1(1545, true, i64, i64, 1ull * a * a) // square
ND_OP1(1546, true, i64, i64, 0ull - a) // neg
ND_OP1(1547, true, i64, i64, (a > 0) - (a < 0)) // signum
ND_OP2(1580, true, bool, i64, i64, a == b) // equal
ND_OP2(1581, true, bool, i64, i64, a != b) // not_equal
ND_OP2(1582, true, bool, i64, i64, a < b) // less
ND_OP2(1583, true, bool, i64, i64, a <= b) // less_equal
ND_OP2(1584, true, bool, i64, i64, a > b) // greater
ND_OP2(1585, true, bool, i64, i64, a >= b) // greater_equal
ND_OP2(1586, true, i64, i64, i64, a > b ? a : b) // maximum
ND_OP2(1587, true, i64, i64, i64, a < b ? a : b) // minimum
ND_OP1(1588, true, bool, i64, false) // is_nan
ND_OP1(1589, true, bool, i64, false) // is_infinite
ND_OP1(1590, true, bool, i64, true) // is_finite
ND_OP3(1591, true, i64, i64, i64, i64, (a > b ? a : b) < c ? (a > b ? a : b) : c) // clamp
ND_OP2(1592, true, bool, i64, i64, a != 0 && b != 0) // logical_and
ND_OP2(1593, true, bool, i64, i64, a != 0 || b != 0) // logical_or
ND_OP2(1594, true, bool, i64, i64, (a != 0) != (b != 0)) // logical_xor
ND_OP1(1595, true, bool, i64, a == 0) // logical_not
ND_OP2(1596, true, i64, i64, i64, a & b) // bit_and
ND_OP2(1597, true, i64, i64, i64, a | b) // bit_or
ND_OP2(1598, true, i64, i64, i64, a ^ b) // bit_xor
ND_OP1(1599, true, i64, i64, ~a) // bit_not
ND_OP2(1600, true, i64, i64, i64, b < 8 * sizeof(a) ? (0ull + a) << b : 0) // shl
ND_OP2(1601, true, i64, i64, i64, a >> (b < 8 * sizeof(a) ? b : 8 * sizeof(a) - 1)) // shr
ND_OP3(1602, true, i64, bool, i64, i64, a ? b : c) // where_
#endif
#ifdef ND_OPS_U64
ND_OP2(2048, true, u64, u64, u64, 0ull + a + b) // add
ND_OP2(2049, true, u64, u64, u64, 0ull + a - b) // sub
ND_OP2(2050, true, u64, u64, u64, 1ull * a * b) // mul
ND_OP2(2051, false, u64, u64, u64, b == 0 ? 0 : a / b) // div
ND_OP2(2052, false, u64, u64, u64, b == 0 ? 0 : a % b) // rem
ND_OP2(2053, false, u64, u64, u64, b == 0 ? 0 : a % b) // remainder
ND_OP2(2054, false, u64, u64, u64, b == 0 ? 0 : a / b) // floor_divide
ND_OP1(2055, true, u64, u64, a) // abs
ND_OP1(2056, true, u64, u64, a != 0) // sign
ND_OP1(2057, true, u64, u64, 1ull * a * a) // square
ND_OP2(2092, true, bool, u64, u64, a == b) // equal
ND_OP2(2093, true, bool, u64, u64, a != b) // not_equal
ND_OP2(2094, true, bool, u64, u64, a < b) // less
ND_OP2(2095, true, bool, u64, u64, a <= b) // less_equal
ND_OP2(2096, true, bool, u64, u64, a > b) // greater
ND_OP2(2097, true, bool, u64, u64, a >= b) // greater_equal
ND_OP2(2098, true, u64, u64, u64, a > b ? a : b) // maximum
ND_OP2(2099, true, u64, u64, u64, a < b ? a : b) // minimum
ND_OP1(2100, true, bool, u64, false) // is_nan
ND_OP1(2101, true, bool, u64, false) // is_infinite
ND_OP1(2102, true, bool, u64, true) // is_finite
ND_OP3(2103, true, u64, u64, u64, u64, (a > b ? a : b) < c ? (a > b ? a : b) : c) // clamp
ND_OP2(2104, true, bool, u64, u64, a != 0 && b != 0) // logical_and
ND_OP2(2105, true, bool, u64, u64, a != 0 || b != 0) // logical_or
ND_OP2(2106, true, bool, u64, u64, (a != 0) != (b != 0)) // logical_xor
ND_OP1(2107, true, bool, u64, a == 0) // logical_not
ND_OP2(2108, true, u64, u64, u64, a & b) // bit_and
ND_OP2(2109, true, u64, u64, u64, a | b) // bit_or
ND_OP2(2110, true, u64, u64, u64, a ^ b) // bit_xor
ND_OP1(2111, true, u64, u64, ~a) // bit_not
ND_OP2(2112, true, u64, u64, u64, b < 8 * sizeof(a) ? (0ull + a) << b : 0) // shl
ND_OP2(2113, true, u64, u64, u64, b < 8 * sizeof(a) ? a >> b : 0) // shr
ND_OP3(2114, true, u64, bool, u64, u64, a ? b : c) // where_
#endif
#ifdef ND_OPS_F32
ND_OP2(2432, true, f32, f32, f32, a + b) // add
ND_OP2(2433, true, f32, f32, f32, a - b) // sub
ND_OP2(2434, true, f32, f32, f32, a * b) // mul
ND_OP2(2435, false, f32, f32, f32, a / b) // div
ND_OP2(2436, false, f32, f32, f32, fmodf(a, b)) // rem
ND_OP2(2437, false, f32, f32, f32, [=] { float r = fmodf(a, b); return r == 0 ? copysignf(r, b) : (r < 0) != (b < 0) ? r + b : r; }()) // remainder
ND_OP2(2438, false, f32, f32, f32, [=] { auto r = a - a, q = r, f = r; r = fmod(a, b); q = (a - r) / b - (r != 0 && (r < 0) != (b < 0)); f = floor(q); return b == 0 ? a / b : q == 0 ? copysign(q, a / b) : q - f > 0.5f ? f + 1 : f; }()) // floor_divide
ND_OP1(2439, true, f32, f32, fabsf(a)) // abs
ND_OP1(2440, true, f32, f32, a > 0 ? 1 : a < 0 ? -1 : a == 0 ? 0 : a) // sign
ND_OP1(2441, true, f32, f32, a * a) // square
ND_OP1(2442, true, f32, f32, -a) // neg
ND_OP1(2443, true, f32, f32, a != a ? a : copysignf(1.f, a)) // signum
ND_OP1(2444, false, f32, f32, 1 / a) // recip
ND_OP1(2445, false, f32, f32, sqrtf(a)) // sqrt
ND_OP1(2446, false, f32, f32, cbrtf(a)) // cbrt
ND_OP2(2447, false, f32, f32, f32, hypotf(a, b)) // hypot
ND_OP2(2448, false, f32, f32, f32, powf(a, b)) // powf
ND_OP1(2449, false, f32, f32, expf(a)) // exp
ND_OP1(2450, false, f32, f32, exp2f(a)) // exp2
ND_OP1(2451, false, f32, f32, expm1f(a)) // exp_m1
ND_OP1(2452, false, f32, f32, logf(a)) // ln
ND_OP1(2453, false, f32, f32, log2f(a)) // log2
ND_OP1(2454, false, f32, f32, log10f(a)) // log10
ND_OP1(2455, false, f32, f32, log1pf(a)) // ln_1p
ND_OP1(2456, false, f32, f32, sinf(a)) // sin
ND_OP1(2457, false, f32, f32, cosf(a)) // cos
ND_OP1(2458, false, f32, f32, tanf(a)) // tan
ND_OP1(2459, false, f32, f32, asinf(a)) // asin
ND_OP1(2460, false, f32, f32, acosf(a)) // acos
ND_OP1(2461, false, f32, f32, atanf(a)) // atan
ND_OP2(2462, false, f32, f32, f32, atan2f(a, b)) // atan2
ND_OP1(2463, false, f32, f32, sinhf(a)) // sinh
ND_OP1(2464, false, f32, f32, coshf(a)) // cosh
ND_OP1(2465, false, f32, f32, tanhf(a)) // tanh
ND_OP1(2466, false, f32, f32, asinhf(a)) // asinh
ND_OP1(2467, false, f32, f32, acoshf(a)) // acosh
ND_OP1(2468, false, f32, f32, atanhf(a)) // atanh
ND_OP1(2469, true, f32, f32, floorf(a)) // floor
ND_OP1(2470, true, f32, f32, ceilf(a)) // ceil
ND_OP1(2471, true, f32, f32, truncf(a)) // trunc
ND_OP1(2472, true, f32, f32, roundf(a)) // round
ND_OP1(2473, true, f32, f32, rintf(a)) // round_ties_even
ND_OP1(2474, false, f32, f32, erff(a)) // erf
ND_OP1(2475, false, f32, f32, erfcf(a)) // erfc
ND_OP2(2476, true, bool, f32, f32, a == b) // equal
ND_OP2(2477, true, bool, f32, f32, a != b) // not_equal
ND_OP2(2478, true, bool, f32, f32, a < b) // less
ND_OP2(2479, true, bool, f32, f32, a <= b) // less_equal
ND_OP2(2480, true, bool, f32, f32, a > b) // greater
ND_OP2(2481, true, bool, f32, f32, a >= b) // greater_equal
ND_OP2(2482, true, f32, f32, f32, a >= b || a != a ? a : b) // maximum
ND_OP2(2483, true, f32, f32, f32, a <= b || a != a ? a : b) // minimum
ND_OP1(2484, true, bool, f32, a != a) // is_nan
ND_OP1(2485, true, bool, f32, a == a && a - a != 0) // is_infinite
ND_OP1(2486, true, bool, f32, a - a == 0) // is_finite
ND_OP3(2487, true, f32, f32, f32, f32, (a < b ? b : a) > c ? c : a < b ? b : a) // clamp
ND_OP2(2488, true, bool, f32, f32, a != 0 && b != 0) // logical_and
ND_OP2(2489, true, bool, f32, f32, a != 0 || b != 0) // logical_or
ND_OP2(2490, true, bool, f32, f32, (a != 0) != (b != 0)) // logical_xor
ND_OP1(2491, true, bool, f32, a == 0) // logical_not
ND_OP3(2498, true, f32, bool, f32, f32, a ? b : c) // where_
#endif
#ifdef ND_OPS_F64
ND_OP2(2560, true, f64, f64, f64, a + b) // add
ND_OP2(2561, true, f64, f64, f64, a - b) // sub
ND_OP2(2562, true, f64, f64, f64, a * b) // mul
ND_OP2(2563, false, f64, f64, f64, a / b) // div
ND_OP2(2564, false, f64, f64, f64, fmod(a, b)) // rem
ND_OP2(2565, false, f64, f64, f64, [=] { double r = fmod(a, b); return r == 0 ? copysign(r, b) : (r < 0) != (b < 0) ? r + b : r; }()) // remainder
ND_OP2(2566, false, f64, f64, f64, [=] { auto r = a - a, q = r, f = r; r = fmod(a, b); q = (a - r) / b - (r != 0 && (r < 0) != (b < 0)); f = floor(q); return b == 0 ? a / b : q == 0 ? copysign(q, a / b) : q - f > 0.5f ? f + 1 : f; }()) // floor_divide
ND_OP1(2567, true, f64, f64, fabs(a)) // abs
ND_OP1(2568, true, f64, f64, a > 0 ? 1 : a < 0 ? -1 : a == 0 ? 0 : a) // sign
ND_OP1(2569, true, f64, f64, a * a) // square
ND_OP1(2570, true, f64, f64, -a) // neg
ND_OP1(2571, true, f64, f64, a != a ? a : copysign(1., a)) // signum
ND_OP1(2572, false, f64, f64, 1 / a) // recip
ND_OP1(2573, false, f64, f64, sqrt(a)) // sqrt
ND_OP1(2574, false, f64, f64, cbrt(a)) // cbrt
ND_OP2(2575, false, f64, f64, f64, hypot(a, b)) // hypot
ND_OP2(2576, false, f64, f64, f64, pow(a, b)) // powf
ND_OP1(2577, false, f64, f64, exp(a)) // exp
ND_OP1(2578, false, f64, f64, exp2(a)) // exp2
ND_OP1(2579, false, f64, f64, expm1(a)) // exp_m1
ND_OP1(2580, false, f64, f64, log(a)) // ln
ND_OP1(2581, false, f64, f64, log2(a)) // log2
ND_OP1(2582, false, f64, f64, log10(a)) // log10
ND_OP1(2583, false, f64, f64, log1p(a)) // ln_1p
ND_OP1(2584, false, f64, f64, sin(a)) // sin
ND_OP1(2585, false, f64, f64, cos(a)) // cos
ND_OP1(2586, false, f64, f64, tan(a)) // tan
ND_OP1(2587, false, f64, f64, asin(a)) // asin
ND_OP1(2588, false, f64, f64, acos(a)) // acos
ND_OP1(2589, false, f64, f64, atan(a)) // atan
ND_OP2(2590, false, f64, f64, f64, atan2(a, b)) // atan2
ND_OP1(2591, false, f64, f64, sinh(a)) // sinh
ND_OP1(2592, false, f64, f64, cosh(a)) // cosh
ND_OP1(2593, false, f64, f64, tanh(a)) // tanh
ND_OP1(2594, false, f64, f64, asinh(a)) // asinh
ND_OP1(2595, false, f64, f64, acosh(a)) // acosh
ND_OP1(2596, false, f64, f64, atanh(a)) // atanh
ND_OP1(2597, true, f64, f64, floor(a)) // floor
ND_OP1(2598, true, f64, f64, ceil(a)) // ceil
ND_OP1(2599, true, f64, f64, trunc(a)) // trunc
ND_OP1(2600, true, f64, f64, round(a)) // round
ND_OP1(2601, true, f64, f64, rint(a)) // round_ties_even
ND_OP1(2602, false, f64, f64, erf(a)) // erf
ND_OP1(2603, false, f64, f64, erfc(a)) // erfc
ND_OP2(2604, true, bool, f64, f64, a == b) // equal
ND_OP2(2605, true, bool, f64, f64, a != b) // not_equal
ND_OP2(2606, true, bool, f64, f64, a < b) // less
ND_OP2(2607, true, bool, f64, f64, a <= b) // less_equal
ND_OP2(2608, true, bool, f64, f64, a > b) // greater
ND_OP2(2609, true, bool, f64, f64, a >= b) // greater_equal
ND_OP2(2610, true, f64, f64, f64, a >= b || a != a ? a : b) // maximum
ND_OP2(2611, true, f64, f64, f64, a <= b || a != a ? a : b) // minimum
ND_OP1(2612, true, bool, f64, a != a) // is_nan
ND_OP1(2613, true, bool, f64, a == a && a - a != 0) // is_infinite
ND_OP1(2614, true, bool, f64, a - a == 0) // is_finite
ND_OP3(2615, true, f64, f64, f64, f64, (a < b ? b : a) > c ? c : a < b ? b : a) // clamp
ND_OP2(2616, true, bool, f64, f64, a != 0 && b != 0) // logical_and
ND_OP2(2617, true, bool, f64, f64, a != 0 || b != 0) // logical_or
ND_OP2(2618, true, bool, f64, f64, (a != 0) != (b != 0)) // logical_xor
ND_OP1(2619, true, bool, f64, a == 0) // logical_not
ND_OP3(2626, true, f64, bool, f64, f64, a ? b : c) // where_
#endif
#ifdef ND_CASTS_BOOL
#ifdef ND_CASTS_I64
ND_CAST(257, bool, i8)
#endif
#ifdef ND_CASTS_I64
ND_CAST(258, bool, i16)
#endif
#ifdef ND_CASTS_I64
ND_CAST(259, bool, i32)
#endif
#ifdef ND_CASTS_I64
ND_CAST(260, bool, i64)
#endif
#ifdef ND_CASTS_U64
ND_CAST(261, bool, u8)
#endif
#ifdef ND_CASTS_U64
ND_CAST(262, bool, u16)
#endif
#ifdef ND_CASTS_U64
ND_CAST(263, bool, u32)
#endif
#ifdef ND_CASTS_U64
ND_CAST(264, bool, u64)
#endif
#ifdef ND_CASTS_F32
ND_CAST_HALF(265, bool, f16)
#endif
#ifdef ND_CASTS_F32
ND_CAST_HALF(266, bool, bf16)
#endif
#ifdef ND_CASTS_F32
ND_CAST(267, bool, f32)
#endif
#ifdef ND_CASTS_F64
ND_CAST(268, bool, f64)
#endif
#endif
#ifdef ND_CASTS_I64
#ifdef ND_CASTS_BOOL
ND_CAST(320, i64, bool)
#endif
#ifdef ND_CASTS_I64
ND_CAST(321, i64, i8)
#endif
#ifdef ND_CASTS_I64
ND_CAST(322, i64, i16)
#endif
#ifdef ND_CASTS_I64
ND_CAST(323, i64, i32)
#endif
#ifdef ND_CASTS_U64
ND_CAST(325, i64, u8)
#endif
#ifdef ND_CASTS_U64
ND_CAST(326, i64, u16)
#endif
#ifdef ND_CASTS_U64
ND_CAST(327, i64, u32)
#endif
#ifdef ND_CASTS_U64
ND_CAST(328, i64, u64)
#endif
#ifdef ND_CASTS_F32
ND_CAST_HALF(329, i64, f16)
#endif
#ifdef ND_CASTS_F32
ND_CAST_HALF(330, i64, bf16)
#endif
#ifdef ND_CASTS_F32
ND_CAST(331, i64, f32)
#endif
#ifdef ND_CASTS_F64
ND_CAST(332, i64, f64)
#endif
#endif
#ifdef ND_CASTS_U64
#ifdef ND_CASTS_BOOL
ND_CAST(384, u64, bool)
#endif
#ifdef ND_CASTS_I64
ND_CAST(385, u64, i8)
#endif
#ifdef ND_CASTS_I64
ND_CAST(386, u64, i16)
#endif
#ifdef ND_CASTS_I64
ND_CAST(387, u64, i32)
#endif
#ifdef ND_CASTS_I64
ND_CAST(388, u64, i64)
#endif
#ifdef ND_CASTS_U64
ND_CAST(389, u64, u8)
#endif
#ifdef ND_CASTS_U64
ND_CAST(390, u64, u16)
#endif
#ifdef ND_CASTS_U64
ND_CAST(391, u64, u32)
#endif
#ifdef ND_CASTS_F32
ND_CAST_HALF(393, u64, f16)
#endif
#ifdef ND_CASTS_F32
ND_CAST_HALF(394, u64, bf16)
#endif
#ifdef ND_CASTS_F32
ND_CAST(395, u64, f32)
#endif
#ifdef ND_CASTS_F64
ND_CAST(396, u64, f64)
#endif
#endif
#ifdef ND_CASTS_F32
#ifdef ND_CASTS_BOOL
ND_CAST(432, f32, bool)
#endif
#ifdef ND_CASTS_I64
ND_CAST(433, f32, i8)
#endif
#ifdef ND_CASTS_I64
ND_CAST(434, f32, i16)
#endif
#ifdef ND_CASTS_I64
ND_CAST(435, f32, i32)
#endif
#ifdef ND_CASTS_I64
ND_CAST(436, f32, i64)
#endif
#ifdef ND_CASTS_U64
ND_CAST(437, f32, u8)
#endif
#ifdef ND_CASTS_U64
ND_CAST(438, f32, u16)
#endif
#ifdef ND_CASTS_U64
ND_CAST(439, f32, u32)
#endif
#ifdef ND_CASTS_U64
ND_CAST(440, f32, u64)
#endif
#ifdef ND_CASTS_F32
ND_CAST_HALF(441, f32, f16)
#endif
#ifdef ND_CASTS_F32
ND_CAST_HALF(442, f32, bf16)
#endif
#ifdef ND_CASTS_F64
ND_CAST(444, f32, f64)
#endif
#endif
#ifdef ND_CASTS_F64
#ifdef ND_CASTS_BOOL
ND_CAST(448, f64, bool)
#endif
#ifdef ND_CASTS_I64
ND_CAST(449, f64, i8)
#endif
#ifdef ND_CASTS_I64
ND_CAST(450, f64, i16)
#endif
#ifdef ND_CASTS_I64
ND_CAST(451, f64, i32)
#endif
#ifdef ND_CASTS_I64
ND_CAST(452, f64, i64)
#endif
#ifdef ND_CASTS_U64
ND_CAST(453, f64, u8)
#endif
#ifdef ND_CASTS_U64
ND_CAST(454, f64, u16)
#endif
#ifdef ND_CASTS_U64
ND_CAST(455, f64, u32)
#endif
#ifdef ND_CASTS_U64
ND_CAST(456, f64, u64)
#endif
#ifdef ND_CASTS_F32
ND_CAST_HALF(457, f64, f16)
#endif
#ifdef ND_CASTS_F32
ND_CAST_HALF(458, f64, bf16)
#endif
#ifdef ND_CASTS_F32
ND_CAST(459, f64, f32)
#endif
#endif
#endif
