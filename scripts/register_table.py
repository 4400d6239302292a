"""README: python3 scripts/register_table.py LIBNVRTC ... > benches/record/kernels-registers.md compiles all kernels for all architectures and tabulates.

Each LIBNVRTC is the path of a libnvrtc.so.12 or .13. No GPU is needed; it takes some five core minutes for each.
"""

import sys

from kernels import ARCHS, compiled_all, goldens, ops, shipped
from nvrtc import Nvrtc


def one(usage):
    """Registers, and the stack and the spilled bytes where there are any."""
    rest = [f"{usage.stack} stack"] * bool(usage.stack) + [f"{usage.spills} spilled"] * bool(usage.spills)
    return f"{usage.registers}" + (f" ({', '.join(rest)})" if rest else "")


def each(nvrtc, archs, modules):
    """A row for each kernel of each module."""
    print("| kernel | shared | " + " | ".join(archs) + " |")
    print("|---|---|" + "---|" * len(archs))
    for module in modules:
        found = list(compiled_all(nvrtc, [module], archs))
        assert all(kernels and not wrong for kernels, wrong in found), (module.name, found)
        for kernel in found[0][0]:
            used = [kernels[kernel] for kernels, _ in found]
            name = module.name if len(found[0][0]) == 1 else f"{module.name}, {kernel.removeprefix('nd_')}"
            shared = sorted({u.shared for u in used})
            print(f"| {name} | {' or '.join(map(str, shared))} | " + " | ".join(map(one, used)) + " |")


def most(nvrtc, archs, modules):
    """A row for each architecture, with the kernels that take most."""
    print("| arch | kernels | most registers | most shared | most stack | spilled |")
    print("|---|---|---|---|---|---|")
    for arch in archs:
        used = {}
        for module, (kernels, wrong) in zip(modules, compiled_all(nvrtc, modules, [arch])):
            assert kernels and not wrong, (module.name, arch, wrong)
            used |= kernels
        columns = []
        for what in ["registers", "shared", "stack"]:
            name = max(used, key=lambda n: getattr(used[n], what))
            columns.append(f"{getattr(used[name], what)} ({name.removeprefix('nd_')})")
        spills = [f"{u.spills} ({name.removeprefix('nd_')})" for name, u in used.items() if u.spills]
        print(f"| {arch} | {len(used)} | " + " | ".join(columns) + f" | {', '.join(spills) or 0} |")


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    print("# What the kernels take\n")
    print("Registers of a thread, with the bytes of its stack and of those the spilled ones where there are any, and bytes of shared memory of a block,")
    print("as NVRTC reports them: `python3 scripts/register_table.py LIBNVRTC ...`. A stack without spills is an array: of segments of k that pairwise")
    print("kernels join, of the interpreters' registers, of what the functions of large angles need.")
    batches = ops()
    for path in sys.argv[1:]:
        nvrtc = Nvrtc(path)
        archs = [arch for arch in ARCHS if arch in nvrtc.archs()]
        print(f"\n## NVRTC {nvrtc.version()}\n\nThe goldens (`tests/golden/cuda`):\n")
        each(nvrtc, archs, goldens())
        print("\nThe modules that ship (`kernels/*.cu`), which a driver compiles from their PTX on the machine where they run:\n")
        each(nvrtc, archs, shipped())
        print("\nA kernel for each op, conversion and reducer at each dtype (`src/testing/op_modules.rs`):\n")
        most(nvrtc, archs, batches)


main()
