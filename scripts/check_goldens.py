"""README: python3 scripts/check_goldens.py LIBNVRTC [FILE.cu ...] compiles tests/golden/cuda/*.cu (or the files given) behind the headers of kernels/.

LIBNVRTC is the path of libnvrtc.so.12 or .13 (`pip install nvidia-cuda-nvrtc` has it); no GPU and no toolkit is needed. Every kernel has to
compile without a warning for each virtual arch; then registers, stack and spills for two real ones are printed. Spills beyond SPILLS fail the check.
"""

import pathlib
import re
import sys

from nvrtc import ROOT, Nvrtc, headers

VIRTUAL = ["compute_75", "compute_80", "compute_90", "compute_120"]
REAL = ["sm_80", "sm_90"]
# Bytes, of pairwise kernels alone: they take all 128 registers that two blocks on a processor leave them, and now and then a compiler keeps
# a few values in memory that are read once in a slice of k, of some 2000 instructions. Those of folds over j keep more, read once in a tile.
SPILLS = {"pairwise": 48, "knn": 80, "kernel_sums": 80}


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    nvrtc = Nvrtc(sys.argv[1])
    print(f"NVRTC {nvrtc.version()}")
    files = [pathlib.Path(f) for f in sys.argv[2:]] or sorted((ROOT / "tests/golden/cuda").glob("*.cu"))
    failed = 0
    for file in files:
        source = headers() + '#line 1 "kernel.cu"\n' + file.read_text()
        logs = set()
        for arch in VIRTUAL:
            made, log = nvrtc.compile(source, arch)
            failed += made is None or bool(log)
            if log not in logs | {""}:
                logs.add(log)
                print(f"{file.name} {arch}: {'FAILED' if made is None else 'warnings'}\n{log}")
        for arch in REAL:
            made, log = nvrtc.compile(source, arch, "--ptxas-options=-v")
            used = re.findall(r"(\d+ bytes stack frame|\d+ bytes spill \w+|Used \d+ registers|\d+ bytes smem)", log)
            spills = [int(n) for n in re.findall(r"(\d+) bytes spill", log)]
            allowed = max((n for name, n in SPILLS.items() if file.name.startswith(name)), default=0)
            failed += made is None or max(spills, default=0) > allowed
            print(f"{file.name:24} {arch}: {log if made is None else ', '.join(used)}")
    print(f"{len(files)} kernels, {failed} failures")
    sys.exit(failed > 0)


main()
