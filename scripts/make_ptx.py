"""README: python3 scripts/make_ptx.py [--check] [NAME ...] compiles kernels/*.cu to kernels/ptx/*.ptx, which ship with the crate.

The compiler is NVRTC 12.9, from PyPI into target/ptx-venv (no GPU and no toolkit is needed), for compute_75, so that the PTX runs on every
supported GPU. It says of itself that it is PTX 8.8, which drivers before CUDA 12.9 refuse, but uses nothing that is not in PTX 8.0: so it is
given that version, and runs on every driver since CUDA 12.0 (its assembler, nvJitLink 12.0.76, takes all files for sm_75 and sm_90). With
--check nothing is written: the files have to be what the compiler makes of the sources now.
"""

import ctypes
import pathlib
import re
import subprocess
import sys
import time
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent
KERNELS = ROOT / "kernels"
VENV = ROOT / "target" / "ptx-venv"
PACKAGE = "nvidia-cuda-nvrtc-cu12==12.9.86"
OPTIONS = ["--gpu-architecture=compute_75", "--fmad=false", "--std=c++17"]


def compiler():
    """The path of libnvrtc.so.12, installed first where it is missing."""
    find = lambda: sorted(VENV.glob("lib/python3*/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12"))
    if not find():
        venv.create(VENV, with_pip=True)
        subprocess.run([VENV / "bin" / "pip", "install", "--quiet", PACKAGE], check=True)
    return find()[0]


class Nvrtc:
    def __init__(self, path):
        # The compiler opens its builtins by name: they lie next to it.
        for builtins in sorted(path.resolve().parent.glob("libnvrtc-builtins.so*")):
            ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
        self.lib = ctypes.CDLL(str(path))

    def ptx(self, source, name, headers, options):
        """The PTX; on an error, None. And the log."""
        lib, program = self.lib, ctypes.c_void_p()
        names = (ctypes.c_char_p * len(headers))(*[n.encode() for n in headers])
        texts = (ctypes.c_char_p * len(headers))(*[t.encode() for t in headers.values()])
        lib.nvrtcCreateProgram(ctypes.byref(program), source.encode(), name.encode(), len(headers), texts, names)
        status = lib.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*[o.encode() for o in options]))
        get = lambda what: self.text(program, what)
        out = (get("PTX") if status == 0 else None, get("ProgramLog"))
        lib.nvrtcDestroyProgram(ctypes.byref(program))
        return out

    def text(self, program, what):
        size = ctypes.c_size_t()
        getattr(self.lib, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
        text = ctypes.create_string_buffer(size.value)
        getattr(self.lib, f"nvrtcGet{what}")(program, text)
        return text.value.decode(errors="replace")


# PTX of CUDA 12.0, the oldest driver that is served.
VERSION = ".version 8.0"


def smaller(ptx):
    """The same text without comments, blank lines and padding, of the version that every driver takes."""
    ptx = re.sub(r"^\.version \S+", VERSION, ptx, count=1, flags=re.M)
    lines = (re.sub(r"\s+", " ", line.split("//")[0]).strip() for line in ptx.splitlines())
    return "".join(line.replace(", ", ",") + "\n" for line in lines if line)


def main():
    check, names = "--check" in sys.argv, [a for a in sys.argv[1:] if a != "--check"]
    nvrtc = Nvrtc(compiler())
    headers = {str(p.relative_to(KERNELS)): p.read_text() for p in sorted(KERNELS.rglob("*.cuh"))}
    total = failed = 0
    for file in sorted(KERNELS.glob("*.cu")):
        if names and file.stem not in names:
            continue
        start = time.time()
        ptx, log = nvrtc.ptx(file.read_text(), file.name, headers, OPTIONS)
        out = KERNELS / "ptx" / f"{file.stem}.ptx"
        if ptx is None or log.strip():
            print(f"{file.name}: {log}")
        if ptx is None:
            failed += 1
            continue
        ptx = smaller(ptx)
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
