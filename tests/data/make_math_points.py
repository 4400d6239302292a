"""Writes math_points.csv: name, inputs and the correctly rounded result, each as the hex bits of an f64.

Needs mpmath and numpy. Rows whose inputs are f32 values judge the f32 functions too.
"""
import math
import random
import struct
from pathlib import Path

import mpmath as mp
import numpy as np

mp.mp.dps = 80
F32_MAX, F32_TINY, F32_SUB = 3.4028234663852886e38, 2.0**-126, 2.0**-149
MAX, TINY, SUB = 1.7976931348623157e308, 2.0**-1022, 5e-324
SPECIAL = [0.0, math.inf, math.nan, SUB, 3 * SUB, TINY, 2.0**-1030, F32_SUB, F32_TINY, 2.0**-140, F32_MAX, MAX]
COMMON = [1.0, 0.5, 2.0, 1e-3, 2.0**-24, 2.0**-54, 1 + 2.0**-23, 1 - 2.0**-24, 1 + 2.0**-52, 1 - 2.0**-53, 10.0, 1e5, 1e9, 1e10, 1e20]

# name: (mpmath, numpy's or C's for zeros, infinities and NaN, lowest and highest of a random range, boundaries)
UNARY = {
    "exp": (mp.exp, np.exp, -750, 715, [88.7228, 88.75, -87.33, -103.97, -104.1, 709.78, 709.79, -708.4, -745.1, -745.2]),
    "exp2": (lambda x: mp.power(2, x), np.exp2, -1080, 1030, [127.99, 128, -126, -149, -149.5, -150, -150.5, 1023.9, 1024, -1022.5, -1074, -1075]),
    "exp_m1": (mp.expm1, np.expm1, -40, 715, [-0.4, 0.3466, -1.04, -17, -38, 88.75, 709.78, 709.79]),
    "ln": (mp.log, np.log, 0, 4, [0.70710677, 0.7071068, 1.4142135, 1.0001, 0.9999]),
    "log2": (lambda x: mp.log(x, 2), np.log2, 0, 4, [8, 0.125, 2.0**100, 2.0**-100, 1.0001, 0.9999]),
    "log10": (mp.log10, np.log10, 0, 4, [100, 1000, 1e15, 1e22, 0.001, 1.0001, 0.9999]),
    "ln_1p": (mp.log1p, np.log1p, -1, 3, [-0.29, 0.4142, -0.9999999, -0.99999999999]),
    "sin": (mp.sin, np.sin, -100, 100, [0.7853982, 1.5707964, math.pi / 2, math.pi, 3.1415927, 99999.0, 1e22, 355.0, 710.0]),
    "cos": (mp.cos, np.cos, -100, 100, [0.7853982, 1.5707964, math.pi / 2, math.pi, 3.1415927, 99999.0, 1e22, 355.0, 710.0]),
    "tan": (mp.tan, np.tan, -100, 100, [0.7853982, 1.5707964, math.pi / 2, math.pi, 3.1415927, 99999.0, 1e22, 355.0, 710.0]),
    "asin": (mp.asin, np.arcsin, -1, 1, [0.5000001, 0.4999999]),
    "acos": (mp.acos, np.arccos, -1, 1, [0.5000001, 0.4999999]),
    "atan": (mp.atan, np.arctan, -4, 4, [0.4999999, 0.5000001, 1.9999, 2.0001]),
    "sinh": (mp.sinh, np.sinh, -715, 715, [0.3466, 89.4159, 89.4160, 88.8, 710.475, 710.476]),
    "cosh": (mp.cosh, np.cosh, -715, 715, [0.3466, 89.4159, 89.4160, 88.8, 710.475, 710.476]),
    "tanh": (mp.tanh, np.tanh, -20, 20, [0.6249, 0.6251, 9.01, 9.02, 19, 22]),
    "asinh": (mp.asinh, np.arcsinh, -5, 5, [2.0**28, 2.0**28 + 32]),
    "acosh": (mp.acosh, np.arccosh, 1, 6, [2.0**28, 2.0**28 + 32, 1.0001, 1.41]),
    "atanh": (mp.atanh, np.arctanh, -1, 1, []),
    "cbrt": (lambda x: mp.sign(x) * mp.cbrt(abs(x)), np.cbrt, -5, 5, [8, 27, 1e15, 0.125, 4, 3.9999999]),
    "erf": (mp.erf, None, -6, 6, [0.8999, 0.9001, 0.9999, 1.0001, 3.9, 3.95, 5.9, 5.95]),
    "erfc": (mp.erfc, None, -6, 27.5, [0.4999, 0.5001, 10.05, 10.06, 26.54, 26.55, 27.22, 27.23]),
}


def c_pow(x, y):
    """C's pow; numpy takes sqrt for y = 0.5, which differs at -0."""
    try:
        return math.pow(x, y)
    except OverflowError:
        return -math.inf if x < 0 and y % 2 == 1 else math.inf
    except ValueError:
        return math.nan if x else math.copysign(math.inf, x) if y % 2 == 1 else math.inf


BINARY = {
    "atan2": (mp.atan2, np.arctan2),
    "hypot": (mp.hypot, np.hypot),
    "powf": (mp.power, c_pow),
}
LIMITS = {"erf": lambda x: math.copysign(min(abs(x), 1.0), x), "erfc": lambda x: 1.0 - math.copysign(min(abs(x), 1.0), x)}


def to_f64(v):
    """The mpmath number rounded once, also to a subnormal."""
    if isinstance(v, mp.mpc):
        return math.nan
    if not mp.isfinite(v):
        return float(v)
    sign, man, exp, size = v._mpf_
    if exp + size > 1024:
        r = math.inf
    elif exp + size < -1080:
        r = 0.0
    else:
        try:
            r = (int(man) << max(exp, 0)) / (1 << max(-exp, 0))  # Python divides integers with one rounding
        except OverflowError:
            r = math.inf
    return -r if sign else r


def f32(x):
    with np.errstate(all="ignore"):
        return float(np.float32(x))


def bits(x):
    return "7ff8000000000000" if math.isnan(x) else struct.pack(">d", x).hex()


def result(mpf, npf, name, xs):
    usual = all(math.isfinite(x) and x != 0 for x in xs)
    with np.errstate(all="ignore"):
        if not usual and npf is None:
            return math.nan if math.isnan(xs[0]) else LIMITS[name](xs[0])
        if not usual:
            return float(npf(*xs))
        if name == "powf" and abs(xs[0]) != 1 and abs(xs[1] * math.log(abs(xs[0]))) > 800:
            return float(npf(*xs))  # far beyond the range: 0 or infinity
    try:
        r = to_f64(mpf(*map(mp.mpf, xs)))
    except (ValueError, ZeroDivisionError):
        r = math.nan
    if r == 0 or not math.isfinite(r):
        with np.errstate(all="ignore"):
            return float(npf(*xs)) if npf else r
    return r


def unary(name):
    mpf, npf, lo, hi, more = UNARY[name]
    rng = random.Random(name)
    points = SPECIAL + COMMON + [f(x) for x in more for f in (float, f32)]
    points += [-x for x in points]
    for i in range(90):
        x = rng.uniform(lo, hi)
        if i % 3 == 1:
            x = math.ldexp(rng.uniform(1, 2), rng.randint(-30, 6)) * rng.choice([1, -1])
        if i % 3 == 2:
            x = x * math.ldexp(1, -rng.randint(0, 12))
        if name == "acosh" and x < 1:
            x = 1 + abs(x)
        if name in ("ln", "log2", "log10"):
            x = 1 + x / 4 if i % 9 == 2 else abs(x)
        points.append(x if i % 5 < 2 else f32(x))
    return [((x,), result(mpf, npf, name, (x,))) for x in points]


def binary(name):
    mpf, npf = BINARY[name]
    rng = random.Random(name)
    few = [0.0, math.inf, math.nan, 1.0, 0.5, 3.0, F32_SUB, SUB, F32_MAX, MAX]
    few += [-x for x in few]
    points = [(x, y) for x in few for y in few]
    for i in range(150):
        if name == "powf":
            x = math.ldexp(rng.uniform(1, 2), rng.randint(-1000, 1000) if i % 5 < 2 else rng.randint(-100, 100))
            if i % 3 == 0:
                x = 1 + math.ldexp(rng.uniform(-1, 1), -rng.randint(1, 20))
            x, y = (f32(x), 0) if i % 5 >= 2 else (x, 0)
            y = rng.uniform(-1, 1) * (104 if i % 5 >= 2 else 745) / (math.log(x) or 1)
            if i % 7 == 0:
                x, y = f32(rng.uniform(-9, 9)), float(rng.randint(-30, 30))
        else:
            x = math.ldexp(rng.uniform(-2, 2), rng.randint(-100, 100) if i % 5 else rng.choice([1020, -1040]))
            y = x * math.ldexp(rng.uniform(-2, 2), rng.randint(-3, 3) if i % 2 else rng.randint(-60, 60))
        points.append((x, y) if i % 5 < 2 else (f32(x), f32(y)))
    return [(p, result(mpf, npf, name, p)) for p in points]


def main():
    lines = []
    for names, make in ((UNARY, unary), (BINARY, binary)):
        for name in names:
            rows = {",".join(map(bits, p)): bits(r) for p, r in make(name)}
            lines += [f"{name},{p},{r}" for p, r in rows.items()]
    Path(__file__).with_name("math_points.csv").write_text("\n".join(lines) + "\n")


main()
