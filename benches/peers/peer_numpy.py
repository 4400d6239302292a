"""NumPy, with `out=` wherever it has one."""

import numpy as np

VERSION = f"NumPy {np.__version__}"


def put(a):
    return a


def host(a):
    return a


def add(x, y):
    out = np.empty_like(x)
    return {"out=": (lambda: np.add(x, y, out=out), host)}


def chain(x, y):
    a, b = np.empty_like(x), np.empty_like(x)

    def fn():
        np.multiply(x, x, out=a)
        np.multiply(a, np.float32(-0.5), out=a)
        np.exp(a, out=a)
        np.sin(y, out=b)
        np.multiply(a, b, out=a)
        np.add(x, y, out=b)
        np.sqrt(b, out=b)
        return np.add(a, b, out=a)

    return {"out=": (fn, host)}


def sum_axis0(x):
    out = np.empty(x.shape[1], x.dtype)
    return {"out=": (lambda: x.sum(axis=0, out=out), host)}


sum_tall = sum_axis0


def sum_axis1(x):
    out = np.empty(x.shape[0], x.dtype)
    return {"out=": (lambda: x.sum(axis=1, out=out), host)}


def sum_all(x):
    return {"sum": (lambda: x.sum(), host)}


def var(x):
    return {"var": (lambda: x.var(), host)}


def softmax(x):
    out = np.empty_like(x)

    def fn():
        np.subtract(x, x.max(axis=1, keepdims=True), out=out)
        np.exp(out, out=out)
        return np.divide(out, out.sum(axis=1, keepdims=True), out=out)

    return {"out=": (fn, host)}


def matmul(x, y):
    out = np.empty((x.shape[0], y.shape[1]), x.dtype)
    return {"out=": (lambda: np.matmul(x, y, out=out), host)}


def small(a, b):
    return {"float()": (lambda: float((a * b + a).sum()), host)}


def expanded(x, y):
    out = np.empty((len(x), len(y)), x.dtype)

    def fn():
        np.matmul(x, y.T, out=out)
        np.multiply(out, np.float32(-2), out=out)
        np.add(out, np.einsum("ij,ij->i", x, x)[:, None], out=out)
        np.add(out, np.einsum("ij,ij->i", y, y)[None, :], out=out)
        return np.abs(out, out=out)

    return {"out=": (fn, host)}


def broadcast(x, y, last):
    if x.shape[0] * y.shape[0] * x.shape[1] > 3e8:
        return {}  # the temporary alone would take gigabytes
    diff = np.empty((x.shape[0], y.shape[0], x.shape[1]), x.dtype)

    def fn():
        np.subtract(x[:, None], y[None], out=diff)
        return last(diff)

    return {"out=": (fn, host)}


def sqeuclidean(x, y):
    return broadcast(x, y, lambda d: np.einsum("ijk,ijk->ij", d, d))


def cityblock(x, y):
    return broadcast(x, y, lambda d: np.abs(d, out=d).sum(axis=2))


def nn(x, y):
    (d, _), = expanded(x, y).values()

    def fn():
        d2 = d()
        i = d2.argmin(axis=1)
        return i, np.take_along_axis(d2, i[:, None], 1)

    return {"expanded": (fn, lambda r: r[0])}


nn_expanded = nn


def nn10(x, y):
    (d, _), = expanded(x, y).values()

    def fn():
        d2 = d()
        i = np.argpartition(d2, 10, axis=1)[:, :10]
        least = np.take_along_axis(d2, i, 1)
        order = least.argsort(axis=1)
        return np.take_along_axis(i, order, 1), np.take_along_axis(least, order, 1)

    return {"expanded, argpartition": (fn, lambda r: r[0])}
