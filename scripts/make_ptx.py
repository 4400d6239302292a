"""README: python3 scripts/make_ptx.py [--check] [NAME ...] makes the PTX that is kept: of kernels/*.cu, of the goldens, of the stand-in driver's kernels.

kernels/ptx ships with the crate. Tests run the rest on the software device: tests/golden/cuda/*.cu as crates/softcuda/tests/ptx/*.ptx, and
crates/softcuda-driver/tests/fixtures. The compiler is NVRTC 12.9, from PyPI into target/ptx-venv (no GPU and no toolkit is needed), for
compute_75, so that the PTX runs on every supported GPU. It says of itself that it is PTX 8.8, which drivers before CUDA 12.9 refuse, but uses
nothing that is not in PTX 8.0: so it is given that version, and runs on every driver since CUDA 12.0 (its assembler, nvJitLink 12.0.76, takes
all files of kernels/ptx for sm_75 and sm_90). Some goldens are also kept as NVRTC 13 makes them for compute_120, whose PTX is another dialect
(*.120.ptx). With --check nothing is written: the files have to be what the compilers make of the sources now.
"""

import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from kernels import goldens, shipped
from nvrtc import ROOT, Nvrtc, fetched

OLD, NEW = "nvidia-cuda-nvrtc-cu12==12.9.86", "nvidia-cuda-nvrtc==13.5.37"
# PTX of CUDA 12.0, the oldest driver that is served.
VERSION = ".version 8.0"
GOLDENS = ROOT / "crates/softcuda/tests/ptx"
DRIVER = ROOT / "crates/softcuda-driver/tests/fixtures/kernels.cu"
# Goldens kept in both dialects: a map, an atomic, folds of each kind, pairs, states in local memory.
BOTH = ["argmax_columns", "gather", "knn_one_row", "map_f16", "pairwise_1_split", "row_sum", "softmax_vectors"]


def smaller(ptx, version):
    """The same text without comments, blank lines and padding, of this version where one is given."""
    if version:
        ptx = re.sub(r"^\.version \S+", version, ptx, count=1, flags=re.M)
    lines = (re.sub(r"\s+", " ", line.split("//")[0]).strip() for line in ptx.splitlines())
    return "".join(line.replace(", ", ",") + "\n" for line in lines if line)


def jobs():
    """What is made: the compiler's package, architecture and version, the source with its name and headers, and the file."""
    old = (OLD, "compute_75", VERSION)
    for m in shipped():
        yield *old, m.text, f"{m.name}.cu", m.headers, ROOT / f"kernels/ptx/{m.name}.ptx"
    for m in goldens():
        yield *old, m.text, "kernel.cu", {}, GOLDENS / f"{m.name}.ptx"
        if m.name in BOTH:
            yield NEW, "compute_120", None, m.text, "kernel.cu", {}, GOLDENS / f"{m.name}.120.ptx"
    # Too new for some drivers, which a test plays.
    yield OLD, "compute_75", None, DRIVER.read_text(), DRIVER.name, {}, DRIVER.with_suffix(".ptx")


def compiler(package):
    """The NVRTC of this package: CI's, where that is just this version, else one from PyPI into target/ptx-venv."""
    name, version = package.replace("-", "_").split("==")
    pattern = "cu13/lib/libnvrtc.so.13" if package == NEW else "cuda_nvrtc/lib/libnvrtc.so.12"
    packages = next((ROOT / "target/nvrtc-venv").glob(f"lib/python3*/site-packages/{name}-{version}.dist-info"), None)
    return Nvrtc(packages.parent / "nvidia" / pattern if packages else fetched("ptx-venv", package, pattern))


def main():
    check, names = "--check" in sys.argv, [a for a in sys.argv[1:] if a != "--check"]
    wanted = [job for job in jobs() if not names or job[-1].name.split(".")[0] in names]
    compilers = {package: compiler(package) for package in sorted({job[0] for job in wanted})}
    total = failed = 0

    def made(job):
        package, arch, version, text, name, headers, out = job
        start = time.time()
        ptx, log = compilers[package].compile(text, arch, form="PTX", name=name, headers=headers)
        return ptx and smaller(ptx.decode(), version), log, time.time() - start

    for (*_, out), (ptx, log, seconds) in zip(wanted, ThreadPoolExecutor(os.cpu_count()).map(made, wanted)):
        title = str(out.relative_to(ROOT))
        if log:
            print(f"{title}: {log}")
        if ptx is None:
            failed += 1
            continue
        total += len(ptx)
        print(f"{title:56} {len(ptx):9,} bytes, {seconds:.1f} s")
        if not check:
            out.parent.mkdir(exist_ok=True)
            out.write_text(ptx)
        elif not out.exists() or out.read_text() != ptx:
            failed += 1
            print(f"{title} is not what its source gives: run scripts/make_ptx.py")
    if not names:
        # What no source gives goes.
        outs = {out for *_, out in wanted}
        for old in [p for p in [*GOLDENS.glob("*.ptx"), *(ROOT / "kernels/ptx").glob("*.ptx")] if p not in outs]:
            print(f"{old.relative_to(ROOT)} has no source")
            failed += check
            check or old.unlink()
    print(f"{total:,} bytes in all, {failed} failures")
    sys.exit(failed > 0)


main()
