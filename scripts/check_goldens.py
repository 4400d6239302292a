"""README: python3 scripts/check_goldens.py [--ops] [--shipped] [--arch sm_NN] LIBNVRTC [FILE.cu ...] compiles tests/golden/cuda/*.cu behind the headers of kernels/.

LIBNVRTC is the path of libnvrtc.so.12 or .13 (`pip install nvidia-cuda-nvrtc` has it); no GPU and no toolkit is needed. With --ops it takes a kernel for each
op, conversion and reducer at each dtype instead, with --shipped kernels/*.cu, or the files given. Every kernel has to compile to machine code for each
architecture, or the one given, without a warning, without spills but for those that kernels.py lists, and to machine code whose kernels are those of
the text, and take as many bytes as the text's `Args` has: those that the host packs.
"""

import pathlib
import sys
import time

from kernels import ARCHS, SPILLS, compiled_all, goldens, ops, own, shipped
from nvrtc import Nvrtc


def main():
    arguments, archs = sys.argv[1:], ARCHS
    if "--arch" in arguments:
        at = arguments.index("--arch")
        archs = [arguments[at + 1]]
        del arguments[at : at + 2]
    flags, paths = [a for a in arguments if a.startswith("--")], [a for a in arguments if not a.startswith("--")]
    if not paths or set(flags) - {"--ops", "--shipped"}:
        sys.exit(__doc__)
    nvrtc = Nvrtc(paths[0])
    known = [arch for arch in archs if arch in nvrtc.archs()]
    without = f"; it knows no {', '.join(set(archs) - set(known))}" if set(archs) - set(known) else ""
    print(f"NVRTC {nvrtc.version()}{without}")
    if paths[1:]:
        modules = [own(pathlib.Path(f)) for f in paths[1:]]
    else:
        modules = (ops() if "--ops" in flags else []) + (shipped() if "--shipped" in flags else []) or goldens()
    kernels = failed = 0
    for arch in known:
        start = time.time()
        for module, (used, wrong) in zip(modules, compiled_all(nvrtc, modules, [arch])):
            allowed = SPILLS.get((module.name, arch), 0)
            wrong += [f"{name} spills {u.spills} bytes" for name, u in used.items() if u.spills > allowed]
            kernels, failed = kernels + len(used), failed + bool(wrong)
            if wrong:
                print(f"{module.name} {arch}: " + "\n".join(wrong))
            if len(used) == 1:
                (u,) = used.values()
                print(f"{module.name:24} {arch:6} {u.registers:3} registers, {u.shared:5} bytes shared, {u.stack:4} of stack, {u.spills:3} spilled")
        print(f"{arch}: {len(modules)} modules in {time.time() - start:.0f} s")
    print(f"{kernels} kernels, {failed} failures")
    sys.exit(failed > 0)


main()
