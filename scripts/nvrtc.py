"""NVRTC from Python, and packages of PyPI in folders below target/: what the other scripts share."""

import ctypes
import pathlib
import re
import subprocess
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent
OPTIONS = ["--fmad=false", "--std=c++17"]


def fetched(folder, package, pattern):
    """The file that `pattern` finds in the environment target/`folder`, which is made with `package` in it where it is missing."""
    env = ROOT / "target" / folder
    find = lambda: sorted(env.glob(f"lib/python3*/site-packages/nvidia/{pattern}"))
    if not find():
        venv.create(env, with_pip=True)
        subprocess.run([env / "bin" / "pip", "install", "--quiet", package], check=True)
    return find()[0]


def headers():
    """What stands in front of every kernel of its own."""
    return "".join((ROOT / "kernels" / h).read_text() for h in ["prelude.cuh", "reduce.cuh"])


class Nvrtc:
    def __init__(self, path):
        # The compiler opens its builtins by name: they lie next to it.
        for builtins in sorted(pathlib.Path(path).resolve().parent.glob("libnvrtc-builtins.so*")):
            ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
        self.lib = ctypes.CDLL(str(path))

    def version(self):
        major, minor = ctypes.c_int(), ctypes.c_int()
        self.lib.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
        return f"{major.value}.{minor.value}"

    def archs(self):
        """The architectures that it makes machine code for."""
        count = ctypes.c_int()
        self.lib.nvrtcGetNumSupportedArchs(ctypes.byref(count))
        found = (ctypes.c_int * count.value)()
        self.lib.nvrtcGetSupportedArchs(found)
        return [f"sm_{arch}" for arch in found]

    def compile(self, source, arch, *options, form=None, name="kernel.cu", headers={}):
        """What it makes in that form (PTX or CUBIN; without one, nothing), or None where it fails; and the log."""
        lib, program = self.lib, ctypes.c_void_p()
        array = lambda texts: (ctypes.c_char_p * len(texts))(*[t.encode() for t in texts])
        files, names = array(headers.values()), array(headers.keys())
        lib.nvrtcCreateProgram(ctypes.byref(program), source.encode(), name.encode(), len(headers), files, names)
        options = [f"--gpu-architecture={arch}", *OPTIONS, *options]
        # As src/backend/cuda/compile.rs has it: for kernels of their own, and for folds along rows or columns among them.
        if not headers and tuple(map(int, self.version().split("."))) >= (12, 9):
            options += ["--minimal"] + ["--Ofast-compile=min"] * bool(re.search(r" nd_(rows|columns)(_\w+)?\(const Args", source))
        made = None
        if lib.nvrtcCompileProgram(program, len(options), array(options)) == 0:
            made = self.get(program, form) if form else b""
        log = self.get(program, "ProgramLog").decode(errors="replace")
        lib.nvrtcDestroyProgram(ctypes.byref(program))
        return made, log.strip()

    def get(self, program, what):
        size = ctypes.c_size_t()
        getattr(self.lib, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
        text = ctypes.create_string_buffer(size.value)
        getattr(self.lib, f"nvrtcGet{what}")(program, text)
        # Text ends in a zero.
        return text.raw if what == "CUBIN" else text.value
