"""README: python3 scripts/check_goldens.py LIBNVRTC [FILE.cu ...] compiles tests/golden/cuda/*.cu (or the files given) behind the headers of kernels/.

LIBNVRTC is the path of libnvrtc.so.12 or .13 (`pip install nvidia-cuda-nvrtc` has it); no GPU and no toolkit is needed. Every kernel has to
compile without a warning for each virtual arch; then registers, stack and spills for two real ones are printed. Spills beyond SPILLS fail the check.
"""

import ctypes
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEADERS = ["prelude.cuh", "reduce.cuh"]
VIRTUAL = ["compute_75", "compute_80", "compute_90", "compute_120"]
REAL = ["sm_80", "sm_90"]
# Bytes, of pairwise kernels alone: they take all 128 registers that two blocks on a processor leave them, and now and then a compiler keeps
# a few values in memory that are read once in a slice of k, of some 2000 instructions.
SPILLS = 48


class Nvrtc:
    def __init__(self, path):
        # The compiler opens its builtins by name: they lie next to it.
        for builtins in sorted(pathlib.Path(path).resolve().parent.glob("libnvrtc-builtins.so*")):
            ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
        self.lib = ctypes.CDLL(path)

    def version(self):
        major, minor = ctypes.c_int(), ctypes.c_int()
        self.lib.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
        return f"{major.value}.{minor.value}"

    def compile(self, source, arch, *options):
        """Whether it compiled, and the log."""
        program = ctypes.c_void_p()
        self.lib.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None)
        options = [f"--gpu-architecture={arch}", "--fmad=false", "--std=c++17", *options]
        texts = (ctypes.c_char_p * len(options))(*[o.encode() for o in options])
        status = self.lib.nvrtcCompileProgram(program, len(options), texts)
        size = ctypes.c_size_t()
        self.lib.nvrtcGetProgramLogSize(program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        self.lib.nvrtcGetProgramLog(program, log)
        self.lib.nvrtcDestroyProgram(ctypes.byref(program))
        return status == 0, log.value.decode(errors="replace").strip()


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    nvrtc = Nvrtc(sys.argv[1])
    print(f"NVRTC {nvrtc.version()}")
    files = [pathlib.Path(f) for f in sys.argv[2:]] or sorted((ROOT / "tests/golden/cuda").glob("*.cu"))
    headers = "".join((ROOT / "kernels" / h).read_text() for h in HEADERS)
    failed = 0
    for file in files:
        source = headers + '#line 1 "kernel.cu"\n' + file.read_text()
        logs = set()
        for arch in VIRTUAL:
            ok, log = nvrtc.compile(source, arch)
            failed += not ok or bool(log)
            if log not in logs | {""}:
                logs.add(log)
                print(f"{file.name} {arch}: {'warnings' if ok else 'FAILED'}\n{log}")
        for arch in REAL:
            ok, log = nvrtc.compile(source, arch, "--ptxas-options=-v")
            used = re.findall(r"(\d+ bytes stack frame|\d+ bytes spill \w+|Used \d+ registers|\d+ bytes smem)", log)
            spills = [int(n) for n in re.findall(r"(\d+) bytes spill", log)]
            failed += not ok or max(spills, default=0) > (SPILLS if file.name.startswith("pairwise") else 0)
            print(f"{file.name:24} {arch}: {', '.join(used) if ok else log}")
    print(f"{len(files)} kernels, {failed} failures")
    sys.exit(failed > 0)


main()
