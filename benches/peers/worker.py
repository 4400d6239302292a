"""One library in a process of its own, so that no one's idle threads run beside another's work. Reads a request a line
(`op least file:dtype:shape ...`), answers a line of JSON: samples in ms and a check value for each variant."""

import importlib
import json
import statistics
import sys
import time
import traceback

import numpy as np

BUDGET, WARM_UP, SAMPLE, SLOW = 0.4, 0.1, 200e-6, 0.2


def sample(fn, least):
    start, calls, last = time.perf_counter(), 0, 0.0
    while calls < 2 and last < SLOW or time.perf_counter() - start < WARM_UP:
        one = time.perf_counter()
        fn()
        last = time.perf_counter() - one
        calls += 1
    inner = 1 if last > SAMPLE else int(SAMPLE / max(last, 1e-9)) + 1
    out, start = [], time.perf_counter()
    while len(out) < least or (time.perf_counter() - start < BUDGET and len(out) < 60):
        if inner == 1:
            one = time.perf_counter()
            fn()
            out.append((time.perf_counter() - one) * 1e3)
        else:
            turns = range(inner)
            one = time.perf_counter()
            for _ in turns:
                fn()
            out.append((time.perf_counter() - one) * 1e3 / inner)
    return out


def load(word):
    file, dtype, shape = word.rsplit(":", 2)
    return np.fromfile(file, dtype=dtype).reshape([int(n) for n in shape.split("x")])


def main():
    peer = importlib.import_module(f"peer_{sys.argv[1]}")
    print(json.dumps({"version": peer.VERSION}), flush=True)
    before, variants, past = "", {}, {}
    for line in sys.stdin:
        op, least, *words = line.split()
        answer = {"samples": {}, "check": {}}
        try:
            if line != before:
                variants, fn, host = {}, None, None  # frees the last workload's memory
                make = getattr(peer, op, None)
                before, variants, past = line, make(*[peer.put(load(w)) for w in words]) if make else {}, {}
            for name, (fn, host) in variants.items():
                if name not in past:
                    answer["check"][name] = float(np.abs(np.asarray(host(fn()), dtype=np.float64)).mean())
                elif past[name] > 1.3 * min(past.values()):
                    continue  # slow at the first turn: not the one that counts
                answer["samples"][name] = sample(fn, int(least))
                past[name] = statistics.median(answer["samples"][name])
        except Exception:  # A peer that fails is a blank in the table, with the reason in the record.
            answer["error"] = traceback.format_exc(limit=3)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
