"""Runs every workload on ndcuda and its peers in turn, checks that they agree, and prints and records the table.

Usage: run.py NDCUDA_PEERS_EXECUTABLE LIMIT_EXECUTABLE DATA_FOLDER RECORD_FOLDER [workload ...]; with workloads named, nothing is recorded.
"""

import datetime
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys

import workloads

ALL = "numpy scipy sklearn torch jax numba faiss"
PEERS = os.environ.get("PEERS", ALL).split()
ROUNDS, LEAST = 3, 3  # at least 9 samples each, from three moments of the run
HERE = pathlib.Path(__file__).parent


OURS = "ndcuda"
NARROW = "ndcuda AVX2"  # on a machine with AVX-512, ndcuda a second time, bounded


class Worker:
    def __init__(self, name, command, **more):
        self.name = name
        # Kernels that some environments choose for OpenBLAS by hand are rarely the best for the machine.
        env = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_CORETYPE") and k != "OPENBLAS_L2_SIZE"} | more
        self.env = env
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        self.hello = json.loads(self.process.stdout.readline())

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        return json.loads(answer) if answer else {"error": "the process ended"}


def inputs(folder, name, specs):
    words = []
    for n, spec in enumerate(specs):
        dtype, shape = spec[0], "x".join(map(str, spec[1]))
        file = folder / f"{name}-{n}-{shape}.{dtype}"
        if not file.exists():
            workloads.values(n + 1, spec).tofile(file)
        words.append(f"{file}:{dtype}:{shape}")
    return words


def measure(workers, op, words):
    """For each worker: samples and a check value for each of its variants."""
    found = {w.name: {"samples": {}, "check": {}} for w in workers}
    for turn in range(ROUNDS):
        first = turn * 3 % len(workers)
        for w in workers[first:] + workers[:first]:
            answer = w.ask(" ".join([op, str(LEAST), *words]))
            if "error" in answer:
                found[w.name]["error"] = answer["error"]
                continue
            for variant, samples in answer["samples"].items():
                found[w.name]["samples"].setdefault(variant, []).extend(samples)
            found[w.name]["check"].update(answer["check"])
    return found


def agree(found):
    checks = {(w, v): c for w, f in found.items() for v, c in f["check"].items()}
    middle = statistics.median(checks.values())
    return [f"{w} ({v}): {c:.9g}, not {middle:.9g}" for (w, v), c in checks.items() if abs(c - middle) > 2e-3 * abs(middle)]


COMBINES = {"matmul": "dot", "expanded": "dot", "nn_expanded": "dot"}
COMBINES |= {"sqeuclidean": "square", "nn": "square", "nn10": "square", "cityblock": "abs"}


def least(op, specs, limit):
    """A workload of all (i, j, k) elements: the least time in ms that its arithmetic takes on this machine's ports, and that its
    operands take to be read or its results to be stored; and the elements in units of 1e6."""
    rate = limit.get(f"{COMBINES.get(op)}_{specs[0][0].replace('loat', '')}")
    if not rate:
        return None
    (n, d), shape = specs[0][1], specs[1][1]
    m, size = shape[1] if op == "matmul" else shape[0], int(specs[0][0][-2:]) // 8
    stored = 0 if op.startswith("nn") else n * m * size
    times = [n * m * d / rate, (n + m) * d * size / limit["read_gbs"]]
    times.append(stored / max(limit["store_gbs"], limit["store_past_caches_gbs"]))
    return max(times) * 1e-6, n * m * d * 1e-6


def row(name, what, found, bound):
    best = {}
    for w, f in found.items():
        medians = {v: statistics.median(s) for v, s in f["samples"].items()}
        if medians:
            variant = min(medians, key=medians.get)
            best[w] = (medians[variant], variant)
    peers = {w: m for w, m in best.items() if w not in (OURS, NARROW)}
    winner = min(peers, key=lambda w: peers[w][0]) if peers else None
    ratio = {w: best[w][0] / peers[winner][0] for w in (OURS, NARROW) if w in best and winner}
    return {"name": name, "what": what, "limit": bound, "best": best, "winner": winner, "ratio": ratio, "found": found}


def ms(t):
    return f"{t:.4f}" if t < 0.1 else f"{t:.2f}" if t < 10 else f"{t:.1f}" if t < 100 else f"{t:.0f}"


def cells(r, ours):
    """A row of the table: for each of ours its time, the limit and its share of it, then the peers, the best of them, and our ratios."""

    def of(w):
        return ms(r["best"][w][0]) if w in r["best"] else "-"

    def bound(w):
        limit = r["limit"].get(w)
        if not limit or w not in r["best"]:
            return "-"
        (time, elements), own = limit, r["best"][w][0]
        return f"{ms(time)} ({time / own:.0%}, {elements / own:.3g} G/s)"

    winner = f"{r['winner']}: {r['best'][r['winner']][1]}" if r["winner"] else "-"
    ratios = [f"{r['ratio'][w]:.2f}" if w in r["ratio"] else "-" for w in ours]
    return [r["what"], *[c for w in ours for c in (of(w), bound(w))], *map(of, PEERS), winner, *ratios]


def head(ours):
    return ["workload (ms)", *[c for w in ours for c in (w, "limit")], *PEERS, "best peer", *[f"{w} / best" for w in ours]]


def markdown(rows, about, notes):
    ours = list(about["limit"])
    lines = [f"# {about['date']}: {about['cpu']}, {about['cores']} cores", ""]
    lines += [f"ndcuda: {about['ndcuda']}. " + ", ".join(about["versions"]) + f"; Python {about['python']}.", ""]
    lines += [
        "Medians in milliseconds of at least 9 samples after warm-up, from three turns in which every library ran the workload",
        "in a process of its own, one after the other, on the same inputs. Each library with all cores, jitted and warm, with",
        "`out=` where it has one, and the fastest of its variants. ndcuda evaluates into device memory with its operands there.",
    ]
    what = "; ".join(f"{w}: " + ", ".join(f"{k} {v}" for k, v in l.items()) for w, l in about["limit"].items() if l)
    if what:
        lines += [
            "`limit`: the least time the row's multiply-adds (or subtractions and additions) take in registers alone, at the best that",
            "`benches/limit.rs` reached here just before (sample), or what the ports give at its clock where that is more; or that the row's",
            f"operands take to be read or its results to be stored, where that is more ({what}; G elements/s and GB/s).",
            "In brackets the share of it that ndcuda gets, and its elements n m d a second.",
        ]
    if NARROW in ours:
        lines.append(f"`{NARROW}` is the same program under `NDCUDA_CPU=avx2`, which bounds our loops alone: the peers keep what is best for them.")
    if os.environ.get("NDCUDA_CPU"):
        lines.append(f"`NDCUDA_CPU={os.environ['NDCUDA_CPU']}` bounds ndcuda's own loops alone: the peers keep what is best for them.")
    lines += ["", "| " + " | ".join(head(ours)) + " |", "|---" + "|---:" * (len(PEERS) + 2 * len(ours)) + "|---" + "|---:" * len(ours) + "|"]
    lines += ["| " + " | ".join(cells(r, ours)) + " |" for r in rows]
    if notes:
        lines += ["", "Notes:", "", *[f"- {n}" for n in notes]]
    return "\n".join(lines) + "\n"


def show(cells):
    print("  ".join(f"{c:>9}" if n else f"{c:<58}" for n, c in enumerate(cells)), flush=True)


def cpu_name():
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                return " ".join(line.split(":", 1)[1].split())
    return platform.machine()


def main():
    exe, probe, data, record = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]), pathlib.Path(sys.argv[4])
    only = sys.argv[5:]
    data.mkdir(parents=True, exist_ok=True)
    own = [Worker(OURS, [exe, "--serve"])]
    if "AVX-512" in own[0].hello["device"]:
        own.append(Worker(NARROW, [exe, "--serve"], NDCUDA_CPU="avx2"))
    ours, limit = [w.name for w in own], {}
    for w in own:
        # What the CPU's ports give is no limit of a GPU.
        if not w.hello["device"].startswith("cpu"):
            limit[w.name] = {}
            continue
        limit[w.name] = json.loads(subprocess.run([probe], stdout=subprocess.PIPE, text=True, check=True, env=w.env).stdout or "{}")
    workers = own + [Worker(p, [sys.executable, str(HERE / "worker.py"), p]) for p in PEERS]
    about = {
        "date": datetime.date.today().isoformat(),
        "cpu": cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "ndcuda": f"{own[0].hello['version']} on {own[0].hello['device']}",
        "limit": limit,
        "versions": [w.hello["version"] for w in workers[len(own) :]],
    }
    print(about["ndcuda"], about["versions"], limit)
    show(head(ours))
    rows, notes = [], []
    for name, op, specs, what in workloads.WORKLOADS:
        if only and not any(name.startswith(o) for o in only):
            continue
        found = measure(workers, op, inputs(data, name, specs))
        rows.append(row(name, what, found, {w: least(op, specs, l) for w, l in limit.items()}))
        show(cells(rows[-1], ours))
        notes += [f"{name}: results differ: {d}" for d in agree(found)]
        notes += [f"{name}: {w} failed: {f['error'].strip().splitlines()[-1]}" for w, f in found.items() if "error" in f]
    for n in notes:
        print("note:", n)
    for w in workers:
        w.process.stdin.close()
        w.process.wait()
    if only:
        return
    on = about["ndcuda"].split(" on ", 1)[1].lower().replace("-", "")
    isa = next((i for i in ["avx512", "avx2", "portable"] if i in on), "cpu") if on.startswith("cpu") else "cuda"
    cpu = re.sub(r"[^a-z0-9.]+", "-", re.sub(r"\(.*?\)|cpu|processor|@", "", about["cpu"].lower())).strip("-")
    record.mkdir(parents=True, exist_ok=True)
    file = record / f"{about['date']}-{cpu}-{isa}.md"
    file.write_text(markdown(rows, about, notes))
    for r in rows:
        for f in r["found"].values():
            f["samples"] = {v: [float(f"{s:.4g}") for s in x] for v, x in f["samples"].items()}
    file.with_suffix(".json").write_text(json.dumps({"about": about, "rows": rows, "notes": notes}) + "\n")
    print("recorded in", file)


if __name__ == "__main__":
    main()
