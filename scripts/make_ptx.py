"""README: python3 scripts/make_ptx.py [--check] [NAME ...] compiles kernels/*.cu to kernels/ptx/*.ptx, which ship with the crate.

The compiler is NVRTC 12.9, from PyPI into target/ptx-venv (no GPU and no toolkit is needed), for compute_75, so that the PTX runs on every
supported GPU. It says of itself that it is PTX 8.8, which drivers before CUDA 12.9 refuse, but uses nothing that is not in PTX 8.0: so it is
given that version, and runs on every driver since CUDA 12.0 (its assembler, nvJitLink 12.0.76, takes all files for sm_75 and sm_90). With
--check nothing is written: the files have to be what the compiler makes of the sources now.
"""

import re
import sys
import time

from nvrtc import ROOT, Nvrtc, fetched

KERNELS = ROOT / "kernels"
PACKAGE = "nvidia-cuda-nvrtc-cu12==12.9.86"


# PTX of CUDA 12.0, the oldest driver that is served.
VERSION = ".version 8.0"


def smaller(ptx):
    """The same text without comments, blank lines and padding, of the version that every driver takes."""
    ptx = re.sub(r"^\.version \S+", VERSION, ptx, count=1, flags=re.M)
    lines = (re.sub(r"\s+", " ", line.split("//")[0]).strip() for line in ptx.splitlines())
    return "".join(line.replace(", ", ",") + "\n" for line in lines if line)


def main():
    check, names = "--check" in sys.argv, [a for a in sys.argv[1:] if a != "--check"]
    nvrtc = Nvrtc(fetched("ptx-venv", PACKAGE, "cuda_nvrtc/lib/libnvrtc.so.12"))
    headers = {str(p.relative_to(KERNELS)): p.read_text() for p in sorted(KERNELS.rglob("*.cuh"))}
    total = failed = 0
    for file in sorted(KERNELS.glob("*.cu")):
        if names and file.stem not in names:
            continue
        start = time.time()
        ptx, log = nvrtc.compile(file.read_text(), "compute_75", form="PTX", name=file.name, headers=headers)
        out = KERNELS / "ptx" / f"{file.stem}.ptx"
        if ptx is None or log:
            print(f"{file.name}: {log}")
        if ptx is None:
            failed += 1
            continue
        ptx = smaller(ptx.decode())
        total += len(ptx)
        print(f"{file.stem:24} {len(ptx):9,} bytes, {time.time() - start:.1f} s")
        if not check:
            out.parent.mkdir(exist_ok=True)
            out.write_text(ptx)
        elif not out.exists() or out.read_text() != ptx:
            failed += 1
            print(f"{out.relative_to(ROOT)} is not what {file.name} gives: run scripts/make_ptx.py")
    print(f"{total:,} bytes in all, {failed} failures")
    sys.exit(failed > 0)


main()
