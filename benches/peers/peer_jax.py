"""JAX on the CPU, jitted and warm."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

VERSION = f"JAX {jax.__version__}"
jax.config.update("jax_enable_x64", True)  # for the f64 matmul; f32 stays f32


def put(a):
    return jax.device_put(a)


def jitted(f, *args):
    f = jax.jit(f)
    return {"jit": (lambda: jax.block_until_ready(f(*args)), np.asarray)}


def add(x, y):
    return jitted(lambda x, y: x + y, x, y)


def chain(x, y):
    return jitted(lambda x, y: jnp.exp(-x * x / 2) * jnp.sin(y) + jnp.sqrt(x + y), x, y)


def sum_axis0(x):
    return jitted(lambda x: x.sum(0), x)


sum_tall = sum_axis0


def sum_axis1(x):
    return jitted(lambda x: x.sum(1), x)


def sum_all(x):
    return jitted(lambda x: x.sum(), x)


def var(x):
    return jitted(lambda x: x.var(), x)


def written(x):
    e = jnp.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def softmax(x):
    return jitted(written, x)


def matmul(x, y):
    return jitted(lambda x, y: x @ y, x, y)


def small(a, b):
    f = jax.jit(lambda a, b: (a * b + a).sum())
    return {"jit, float()": (lambda: float(f(a, b)), np.asarray)}


def squares(x, y):
    return jnp.abs((x * x).sum(1)[:, None] + (y * y).sum(1)[None, :] - 2 * (x @ y.T))


def expanded(x, y):
    return jitted(squares, x, y)


def sqeuclidean(x, y):
    return jitted(lambda x, y: ((x[:, None] - y[None]) ** 2).sum(2), x, y)


def cityblock(x, y):
    return jitted(lambda x, y: jnp.abs(x[:, None] - y[None]).sum(2), x, y)


def nn(x, y):
    def f(x, y):
        d = squares(x, y)
        return lax.argmin(d, 1, jnp.int32), d.min(1)

    f = jax.jit(f)
    return {"expanded, jit": (lambda: jax.block_until_ready(f(x, y)), lambda r: np.asarray(r[0]))}


nn_expanded = nn


def nn10(x, y):
    f = jax.jit(lambda x, y: lax.top_k(-squares(x, y), 10))
    return {"expanded, top_k, jit": (lambda: jax.block_until_ready(f(x, y)), lambda r: np.asarray(r[1]))}
