"""PyTorch on the CPU, eager, with `out=` or in place wherever it can."""

import os

import torch

VERSION = f"PyTorch {torch.__version__}"
torch.set_num_threads(len(os.sched_getaffinity(0)))
torch.autograd.grad_mode.set_grad_enabled(False)


def put(a):
    return torch.from_numpy(a)


def host(a):
    return a.numpy() if hasattr(a, "numpy") else a


def add(x, y):
    out = torch.empty_like(x)
    return {"out=": (lambda: torch.add(x, y, out=out), host)}


def chain(x, y):
    a, b = torch.empty_like(x), torch.empty_like(x)

    def fn():
        torch.mul(x, x, out=a).mul_(-0.5).exp_()
        torch.sin(y, out=b)
        a.mul_(b)
        torch.add(x, y, out=b).sqrt_()
        return a.add_(b)

    return {"out=": (fn, host)}


def sum_axis0(x):
    out = torch.empty(x.shape[1], dtype=x.dtype)
    return {"out=": (lambda: torch.sum(x, 0, out=out), host)}


sum_tall = sum_axis0


def sum_axis1(x):
    out = torch.empty(x.shape[0], dtype=x.dtype)
    return {"out=": (lambda: torch.sum(x, 1, out=out), host)}


def sum_all(x):
    return {"sum": (lambda: x.sum(), host)}


def var(x):
    return {"var": (lambda: x.var(correction=0), host)}


def softmax(x):
    out = torch.empty_like(x)

    def written():
        torch.sub(x, x.amax(1, keepdim=True), out=out).exp_()
        return out.div_(out.sum(1, keepdim=True))

    return {"as written": (written, host), "torch.softmax": (lambda: torch.softmax(x, 1), host)}


def matmul(x, y):
    out = torch.empty(x.shape[0], y.shape[1], dtype=x.dtype)
    return {"out=": (lambda: torch.mm(x, y, out=out), host)}


def small(a, b):
    return {"item()": (lambda: (a * b + a).sum().item(), host)}


def expanded(x, y):
    out = torch.empty(len(x), len(y), dtype=x.dtype)

    def fn():
        x2, y2 = (x * x).sum(1)[:, None], (y * y).sum(1)[None, :]
        return torch.add(x2, y2, out=out).addmm_(x, y.T, alpha=-2).abs_()

    return {"addmm_": (fn, host)}


def sqeuclidean(x, y):
    def fn():
        return torch.cdist(x, y, p=2.0, compute_mode="donot_use_mm_for_euclid_dist")

    return {"cdist (Euclid)": (fn, lambda r: (r * r).numpy())}


def cityblock(x, y):
    return {"cdist": (lambda: torch.cdist(x, y, p=1.0), host)}


def nn(x, y):
    (d, _), = expanded(x, y).values()
    return {"expanded": (lambda: d().min(dim=1), lambda r: r.indices.numpy())}


nn_expanded = nn


def nn10(x, y):
    (d, _), = expanded(x, y).values()
    return {"expanded, topk": (lambda: d().topk(10, dim=1, largest=False), lambda r: r.indices.numpy())}
