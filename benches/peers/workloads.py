"""The workloads: a name, the operation, its inputs (dtype, shape, low, high), and how the table calls it."""

import numpy as np


def uniform(*shape, dtype="float32", low=0.0, high=1.0):
    return (dtype, shape, low, high)


def pair(n, d):
    return [uniform(n, d), uniform(n, d)]


N = 10_000_000

WORKLOADS = [
    ("add", "add", [uniform(N), uniform(N)], "x + y, 1e7 f32"),
    ("chain", "chain", [uniform(N, low=0.1, high=2.0), uniform(N, low=0.1, high=2.0)],
     "exp(-x*x/2)*sin(y) + sqrt(x+y), 1e7 f32"),
    ("sum_axis0", "sum_axis0", [uniform(1000, 10_000)], "sum of 1000 x 10000 f32 over axis 0"),
    ("sum_axis1", "sum_axis1", [uniform(1000, 10_000)], "sum of 1000 x 10000 f32 over axis 1"),
    ("sum_all", "sum_all", [uniform(1000, 10_000)], "sum of 1000 x 10000 f32 over all"),
    ("sum_tall", "sum_tall", [uniform(1_000_000, 10)], "sum of 1e6 x 10 f32 over axis 0"),
    ("var", "var", [uniform(N)], "var of 1e7 f32"),
    ("softmax", "softmax", [uniform(1000, 10_000, low=-4.0, high=4.0)], "softmax of 1000 x 10000 f32 along axis 1"),
    ("matmul_f32", "matmul", [uniform(2048, 2048), uniform(2048, 2048)], "matmul 2048^3 f32"),
    ("matmul_f64", "matmul", [uniform(2048, 2048, dtype="float64"), uniform(2048, 2048, dtype="float64")],
     "matmul 2048^3 f64"),
    ("matmul_64", "matmul", [uniform(64, 64), uniform(64, 64)], "matmul 64^3 f32"),
    ("matmul_row", "matmul", [uniform(1, 4096), uniform(4096, 4096)], "matmul 1 x 4096 x 4096 f32"),
    ("matmul_thin", "matmul", [uniform(4096, 16), uniform(16, 4096)], "matmul 4096 x 16 x 4096 f32"),
    ("small", "small", [uniform(100), uniform(100)], "(a*b + a).sum() of 100 f32, to a host number"),
    ("expanded", "expanded", pair(4000, 128), "expanded distances (#2), 4000 x 4000 x 128 f32"),
]
for n, d in [(4000, 128), (2000, 50), (2000, 3), (1000, 1024)]:
    for op, what in [("sqeuclidean", "sq. Euclid, direct (#1)"), ("cityblock", "cityblock")]:
        WORKLOADS.append((f"{op}_{n}_{d}", op, pair(n, d), f"{what}, {n} x {n} x {d} f32"))
for op, what in [("sqeuclidean", "sq. Euclid, direct (#1)"), ("cityblock", "cityblock")]:
    doubles = [uniform(4000, 128, dtype="float64"), uniform(4000, 128, dtype="float64")]
    WORKLOADS.append((f"{op}_f64", op, doubles, f"{what}, 4000 x 4000 x 128 f64"))
WORKLOADS += [
    ("sqeuclidean_query", "sqeuclidean", [uniform(1, 32), uniform(1_000_000, 32)], "sq. Euclid, direct (#1), 1 x 1e6 x 32 f32"),
    ("nn", "nn", pair(4000, 128), "1-NN (index and distance), 4000 x 4000 x 128 f32; ndcuda: direct (#1)"),
    ("nn_expanded", "nn_expanded", pair(4000, 128), "the same; ndcuda: expanded (#2)"),
    ("nn10", "nn10", pair(4000, 128), "10-NN (indices and distances), 4000 x 4000 x 128 f32; ndcuda: direct (#1)"),
    ("canberra", "canberra", pair(2000, 64), "Canberra, 2000 x 2000 x 64 f32"),
    ("jensenshannon", "jensenshannon", pair(2000, 64), "Jensen-Shannon, 2000 x 2000 x 64 f32"),
]


def values(seed, spec):
    dtype, shape, low, high = spec
    random = np.random.default_rng(seed).random(shape, dtype=dtype)
    return (random * (high - low) + low).astype(dtype)
