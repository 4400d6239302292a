"""Numba: the loops one would write by hand, parallel and with fastmath, compiled before the clock starts."""

import math

import numba
import numpy as np
from numba import njit, prange

VERSION = f"Numba {numba.__version__}"
best = njit(parallel=True, fastmath=True)
THREADS = numba.get_num_threads()


def put(a):
    return a


def into(shape, dtype, fn, *args):
    out = np.empty(shape, dtype)

    def call():
        fn(*args, out)
        return out

    return call, np.asarray


@best
def add_loop(x, y, out):
    for i in prange(x.size):
        out[i] = x[i] + y[i]


def add(x, y):
    return {"loop": into(x.shape, x.dtype, add_loop, x, y)}


@best
def chain_loop(x, y, out):
    for i in prange(x.size):
        out[i] = math.exp(-x[i] * x[i] * np.float32(0.5)) * math.sin(y[i]) + math.sqrt(x[i] + y[i])


def chain(x, y):
    return {"loop": into(x.shape, x.dtype, chain_loop, x, y)}


@best
def sum0_loop(x, out):
    step = (x.shape[1] + THREADS - 1) // THREADS
    for t in prange(THREADS):
        lo, hi = t * step, min((t + 1) * step, x.shape[1])
        o = out[lo:hi]
        o[:] = 0
        for i in range(x.shape[0]):
            row = x[i, lo:hi]
            for j in range(hi - lo):
                o[j] += row[j]


def sum_axis0(x):
    return {"loop": into(x.shape[1], x.dtype, sum0_loop, x)}


@best
def tall_loop(x, out):
    part = np.zeros((THREADS, x.shape[1]), x.dtype)
    step = (x.shape[0] + THREADS - 1) // THREADS
    for t in prange(THREADS):
        o = part[t]
        for i in range(t * step, min((t + 1) * step, x.shape[0])):
            for j in range(x.shape[1]):
                o[j] += x[i, j]
    for j in range(x.shape[1]):
        out[j] = part[:, j].sum()


def sum_tall(x):
    return {"loop": into(x.shape[1], x.dtype, tall_loop, x)}


@best
def sum1_loop(x, out):
    for i in prange(x.shape[0]):
        s = x.dtype.type(0)
        row = x[i]
        for j in range(x.shape[1]):
            s += row[j]
        out[i] = s


def sum_axis1(x):
    return {"loop": into(x.shape[0], x.dtype, sum1_loop, x)}


@best
def total(x):
    s = np.float32(0)
    for i in prange(x.size):
        s += x[i]
    return s


@best
def squares_from(x, mean):
    s = np.float32(0)
    for i in prange(x.size):
        s += (x[i] - mean) * (x[i] - mean)
    return s


def sum_all(x):
    flat = x.reshape(-1)
    return {"loop": (lambda: total(flat), np.asarray)}


def var(x):
    n = np.float32(x.size)
    return {"two loops": (lambda: squares_from(x, np.float32(total(x) / n)) / n, np.asarray)}


@best
def softmax_loop(x, out):
    for i in prange(x.shape[0]):
        row, o = x[i], out[i]
        m = row[0]
        for j in range(row.size):
            m = max(m, row[j])
        s = np.float32(0)
        for j in range(row.size):
            o[j] = math.exp(row[j] - m)
            s += o[j]
        s = np.float32(1) / s
        for j in range(row.size):
            o[j] *= s


def softmax(x):
    return {"loop": into(x.shape, x.dtype, softmax_loop, x)}


@njit(fastmath=True)
def small_expr(a, b):
    return (a * b + a).sum()


def small(a, b):
    return {"njit": (lambda: float(small_expr(a, b)), np.asarray)}


@best
def sq_pairs(x, y, out):
    for i in prange(x.shape[0]):
        for j in range(y.shape[0]):
            s = np.float32(0)
            for k in range(x.shape[1]):
                d = x[i, k] - y[j, k]
                s += d * d
            out[i, j] = s


@best
def sq_columns(x, yt, out):
    for i in prange(x.shape[0]):
        o = out[i]
        o[:] = 0
        for k in range(x.shape[1]):
            v, row = x[i, k], yt[k]
            for j in range(row.size):
                d = v - row[j]
                o[j] += d * d


@best
def l1_pairs(x, y, out):
    for i in prange(x.shape[0]):
        for j in range(y.shape[0]):
            s = np.float32(0)
            for k in range(x.shape[1]):
                s += abs(x[i, k] - y[j, k])
            out[i, j] = s


@best
def l1_columns(x, yt, out):
    for i in prange(x.shape[0]):
        o = out[i]
        o[:] = 0
        for k in range(x.shape[1]):
            v, row = x[i, k], yt[k]
            for j in range(row.size):
                o[j] += abs(v - row[j])


def pairs(x, y, rows, columns):
    shape, yt = (len(x), len(y)), np.ascontiguousarray(y.T)
    return {"over k": into(shape, x.dtype, rows, x, y), "over j, y transposed": into(shape, x.dtype, columns, x, yt)}


def sqeuclidean(x, y):
    return pairs(x, y, sq_pairs, sq_columns)


def cityblock(x, y):
    return pairs(x, y, l1_pairs, l1_columns)


@best
def nearest(x, y, index, least):
    for i in prange(x.shape[0]):
        at, low = 0, np.float32(np.inf)
        for j in range(y.shape[0]):
            s = np.float32(0)
            for k in range(x.shape[1]):
                d = x[i, k] - y[j, k]
                s += d * d
            if s < low:
                at, low = j, s
        index[i], least[i] = at, low


def nn(x, y):
    index, least = np.empty(len(x), np.int64), np.empty(len(x), x.dtype)

    def fn():
        nearest(x, y, index, least)
        return index

    return {"direct": (fn, np.asarray)}


nn_expanded = nn
