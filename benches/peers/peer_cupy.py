"""CuPy on a GPU: the array operations as written, and fused or by its own kernels where it offers them. `PEERS=cupy` picks it."""

import cupy as cp

VERSION = f"CuPy {cp.__version__} on {cp.cuda.runtime.getDeviceProperties(0)['name'].decode()}"


def put(a):
    return cp.asarray(a)


def host(a):
    return cp.asnumpy(a)


def timed(fn):
    """`fn`, waiting for the device: launches return before they have run."""

    def call():
        out = fn()
        cp.cuda.get_current_stream().synchronize()
        return out

    return (call, host)


def add(x, y):
    out = cp.empty_like(x)
    return {"out=": timed(lambda: cp.add(x, y, out=out))}


def chain(x, y):
    fused = cp.fuse(lambda x, y: cp.exp(x * x * -0.5) * cp.sin(y) + cp.sqrt(x + y))
    return {"fuse": timed(lambda: fused(x, y))}


def sum_axis0(x):
    return {"sum": timed(lambda: x.sum(axis=0))}


sum_tall = sum_axis0


def sum_axis1(x):
    return {"sum": timed(lambda: x.sum(axis=1))}


def sum_all(x):
    return {"sum": timed(lambda: x.sum())}


def var(x):
    return {"var": timed(lambda: x.var())}


def softmax(x):
    def fn():
        e = cp.exp(x - x.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    return {"as written": timed(fn)}


def matmul(x, y):
    out = cp.empty((x.shape[0], y.shape[1]), x.dtype)
    return {"out=": timed(lambda: cp.matmul(x, y, out=out))}


def small(a, b):
    return {"float()": (lambda: float((a * b + a).sum()), float)}


def squared(x, y):
    x2, y2 = cp.einsum("ij,ij->i", x, x)[:, None], cp.einsum("ij,ij->i", y, y)[None, :]
    return cp.abs(x2 + y2 - 2 * (x @ y.T))


def expanded(x, y):
    return {"as written": timed(lambda: squared(x, y))}


def distances(x, y, name, last):
    variants = {}
    if x.shape[0] * y.shape[0] * x.shape[1] * 8 < cp.cuda.runtime.memGetInfo()[0] // 2:
        variants["broadcast"] = timed(lambda: last(x[:, None] - y[None]))
    try:
        from cupyx.scipy.spatial.distance import cdist

        cdist(x[:2], y[:2], name)
        variants["cdist (cuVS)"] = timed(lambda: cdist(x, y, name))
    except Exception:  # cuVS is not installed: what is left is what CuPy alone offers.
        pass
    return variants


def sqeuclidean(x, y):
    return distances(x, y, "sqeuclidean", lambda d: cp.einsum("ijk,ijk->ij", d, d))


def cityblock(x, y):
    return distances(x, y, "cityblock", lambda d: cp.abs(d).sum(axis=2))


def nn(x, y):
    def fn():
        d = squared(x, y)
        i = d.argmin(axis=1)
        return i, cp.take_along_axis(d, i[:, None], 1)

    return {"expanded": (timed(fn)[0], lambda r: cp.asnumpy(r[0]))}


nn_expanded = nn
