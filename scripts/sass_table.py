"""README: python3 scripts/sass_table.py LIBNVRTC > benches/record/pairwise-sass.md disassembles the pairwise kernels of tests/golden/cuda and counts.

LIBNVRTC is the path of libnvrtc.so.12 or .13; nvdisasm comes from PyPI into target/sass-venv. No GPU is needed. The combine of pairwise_1 is
replaced for cityblock. The main loop is the longest one: the share of its instructions that are the combine's own is what is counted.
"""

import collections
import re
import subprocess
import sys
import tempfile

from nvrtc import ROOT, Nvrtc, fetched, headers

PACKAGE = "nvidia-cuda-nvdisasm==13.5.37"
STEP = "s4[r][c].s0 = nd_fma(v2, v2, s4[r][c].s0);"
# The kernel, the combine's text in place of its own, and its instructions for each (i, j, k).
COMBINES = {
    "squared Euclid": ("pairwise_1", STEP, ["FADD", "FFMA"]),
    "cityblock": ("pairwise_1", "s4[r][c].s0 = s4[r][c].s0 + fabsf(v2);", ["FADD", "FADD"]),
    "dot": ("pairwise_dot", STEP, ["FFMA"]),
}


def main_loop(sass):
    """How often each instruction stands in the longest loop without a loop in it."""
    labels, code, loops = {}, [], []
    for line in sass.splitlines():
        if label := re.match(r"(\.L_x_\d+):", line):
            labels[label[1]] = len(code)
        elif inst := re.search(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+ )?([A-Z0-9.]+)(.*);", line):
            code.append(inst[1])
            target = re.search(r"\((\.L_x_\d+)\)", inst[2])
            if inst[1].startswith("BRA") and target and target[1] in labels:
                loops.append((labels[target[1]], len(code)))
    inner = [l for l in loops if not any(l != m and l[0] <= m[0] and m[1] <= l[1] for m in loops)]
    first, last = max(inner, key=lambda l: l[1] - l[0])
    return collections.Counter(i.split(".")[0] for i in code[first:last])


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    nvrtc, tool = Nvrtc(sys.argv[1]), fetched("sass-venv", PACKAGE, "**/bin/nvdisasm")
    print("# SASS of the pairwise kernels\n")
    print(f"What the main loop of f32 kernels consists of, over (i, k) and (j, k) that lie along k, as NVRTC {nvrtc.version()} makes")
    print("them: `python3 scripts/sass_table.py LIBNVRTC`. Useful are the combine's own instructions, 8 steps of 64 results for each thread.\n")
    print("| combine | arch | registers | spilled, bytes stored / loaded | main loop | useful | share | LDS | LDG | STS | LDL and STL |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name, (kernel, step, useful) in COMBINES.items():
        for arch in ["sm_80", "sm_90"]:
            text = (ROOT / f"tests/golden/cuda/{kernel}_vectors.cu").read_text()
            assert step == STEP or STEP in text
            cubin, log = nvrtc.compile(headers() + text.replace(STEP, step), arch, "--ptxas-options=-v", form="CUBIN")
            assert cubin is not None, log
            with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
                file.write(cubin)
                file.flush()
                sass = subprocess.run([tool, "-c", file.name], check=True, capture_output=True, text=True).stdout
            counts = main_loop(sass)
            total, wanted = sum(counts.values()), 8 * 64 * len(useful)
            got = sum(counts[i] for i in set(useful))
            assert got == wanted, (name, arch, counts)
            used = re.search(r"Used (\d+) registers", log)[1]
            spills = " / ".join(re.findall(r"(\d+) bytes spill", log))
            rest = [str(counts[i]) for i in ["LDS", "LDG", "STS"]] + [str(counts["LDL"] + counts["STL"])]
            print(f"| {name} | {arch} | {used} | {spills} | {total} | {wanted} | {wanted / total:.1%} | " + " | ".join(rest) + " |")


main()
