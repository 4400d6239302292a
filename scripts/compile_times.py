"""README: python3 scripts/compile_times.py LIBNVRTC ... tells how long NVRTC takes for the kernels of the main example where none is on disk.

Each LIBNVRTC is the path of a libnvrtc.so.12 or .13. The example (`distances`, without arguments) runs once on the software device, which needs no
GPU, for its kernels' texts. They are then compiled as the library does: plan after plan, the kernels of a plan side by side, in a process that has
loaded no compiler before. Wall times in ms, the median of five processes; the machine should have nothing else to do.
"""

import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from nvrtc import ROOT, Nvrtc, headers

TARGETS = [(form, arch) for form in ["PTX", "CUBIN"] for arch in ["80", "90"]]


def plans(libnvrtc):
    """The texts of each plan's kernels, each text once, from what NDCUDA_DEBUG=4 prints: texts, then what compiling them took."""
    settings = {"NDCUDA_NVRTC": libnvrtc, "NDCUDA_CACHE_DIR": "", "NDCUDA_DEBUG": "4", "NDCUDA_CODE": "ptx", "SOFTCUDA_DETECT": "none"}
    program = ["cargo", "run", "--quiet", "--release", "--locked", "-p", "distances", "--", "--device", "cuda"]
    done = subprocess.run([ROOT / "scripts/with-softcuda.sh", *program], cwd=ROOT, env=os.environ | settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found, text, seen = [[]], None, set()
    for line in done.stderr.splitlines() + ["ndcuda: "]:
        begins, ends = re.match(r"typedef \w+ Count;", line), re.match(r"ndcuda: |\d+ kernels? for ", line)
        if text and (begins or ends):
            whole = "\n".join(text) + "\n"
            found[-1] += [whole] if whole not in seen else []
            seen.add(whole)
        text = [] if begins else None if ends else text
        if text is not None:
            text.append(line)
        if re.match(r"\d+ kernels? for ", line):
            found.append([])
    return [plan for plan in found if plan]


def take(libnvrtc, form, arch, plans):
    """The time of each plan, in this process, of which the library's is the first."""
    start = time.perf_counter()
    nvrtc, times = Nvrtc(libnvrtc), []
    target = f"{'sm' if form == 'CUBIN' else 'compute'}_{arch}"

    def compiled(text):
        code, log = nvrtc.compile(headers() + text, target, form=form)
        assert code, log

    for plan in plans:
        list(ThreadPoolExecutor(os.cpu_count()).map(compiled, plan))
        times.append((time.perf_counter() - start) * 1e3)
        start = time.perf_counter()
    return times


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if sys.argv[1] == "--take":
        return print(json.dumps(take(*sys.argv[2:], json.load(sys.stdin))))
    texts = plans(sys.argv[1])
    name = lambda text: re.search(r"nd_(\w+)\(const Args", text)[1]
    print("| NVRTC | form | all | " + " | ".join(", ".join(map(name, plan)) for plan in texts) + " |")
    print("|---|---|" + "---:|" * (len(texts) + 1))
    for lib in sys.argv[1:]:
        for form, arch in TARGETS:
            one = lambda: subprocess.run([sys.executable, __file__, "--take", lib, form, arch], input=json.dumps(texts), check=True, capture_output=True, text=True)
            runs = sorted((json.loads(one().stdout) for _ in range(5)), key=sum)
            middle = runs[2]
            spread = f"{sum(middle):.0f} ({sum(runs[0]):.0f} to {sum(runs[4]):.0f})"
            print(f"| {os.path.basename(lib)} | {form} sm_{arch} | {spread} | " + " | ".join(f"{t:.0f}" for t in middle) + " |", flush=True)


main()
