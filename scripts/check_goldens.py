"""README: python3 scripts/check_goldens.py LIBNVRTC [FILE.cu ...] compiles tests/golden/cuda/*.cu (or the files given) behind the headers of kernels/.

LIBNVRTC is the path of libnvrtc.so.12 or .13 (`pip install nvidia-cuda-nvrtc` has it); no GPU and no toolkit is needed. Every kernel has to
compile without a warning for each virtual arch; then registers, stack and spills for two real ones are printed. Spills beyond SPILLS fail the check, and
so does machine code whose kernels are not those of the text, or take another number of bytes than the text's `Args` has: those that the host packs.
"""

import pathlib
import re
import struct
import sys

from nvrtc import ROOT, Nvrtc, headers

VIRTUAL = ["compute_75", "compute_80", "compute_90", "compute_120"]
REAL = ["sm_80", "sm_90"]
# Bytes, of pairwise kernels alone: they take all 128 registers that two blocks on a processor leave them, and now and then a compiler keeps
# a few values in memory that are read once in a slice of k, of some 2000 instructions. Those of folds over j keep more, read once in a tile.
SPILLS = {"pairwise": 64, "knn": 80, "kernel_sums": 80}


def taken(cubin):
    """The bytes of parameters that each kernel of a cubin takes, by its name: an attribute in the ELF's section `.nv.info.NAME`."""
    (table,), (size, count, names) = struct.unpack_from("<Q", cubin, 0x28), struct.unpack_from("<3H", cubin, 0x3A)
    sections = [struct.unpack_from("<2I4Q", cubin, table + n * size) for n in range(count)]
    texts, found = cubin[sections[names][4] :][: sections[names][5]], {}
    for name, _, _, _, offset, length in sections:
        title = texts[name : texts.index(b"\0", name)].decode()
        if not title.startswith(".nv.info."):
            continue
        at, end = offset, offset + length
        while at < end:
            form, attribute, value = struct.unpack_from("<BBH", cubin, at)
            # EIFMT_SVAL has as many bytes behind it; EIATTR_CBANK_PARAM_SIZE is a value of EIFMT_HVAL.
            at += 4 + (value if form == 4 else 0)
            if (form, attribute) == (3, 0x19):
                found[title.removeprefix(".nv.info.")] = value
    return found


SIZES = {"u64": 8, "i64": 8, "i32": 4, "Extent32": 12, "Extent64": 8}


def packed(text):
    """The names of a text's kernels, each with the size of their `Args`."""
    named = dict(re.findall(r"^typedef (\w+) (Index|Extent);$", text, re.M))
    sizes = SIZES | {name: SIZES[of] for of, name in named.items()}
    end = 0
    for member in re.search(r"struct Args \{(.*?)\};", text, re.S)[1].split(";")[:-1]:
        kind, star, count = re.match(r"(?:\s*//.*)?\s*(?:const )?(\w+)(\*?) \w+(?:\[(\d+)\])?$", member).groups()
        size = 8 if star else sizes[kind]
        align = 4 if size == 12 else size
        end = -(-end // align) * align + size * int(count or 1)
    return {name: -(-end // 8) * 8 for name in re.findall(r"__global__ .*?(nd_\w+)\(", text)}


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
            made, log = nvrtc.compile(source, arch, "--ptxas-options=-v", form="CUBIN")
            used = re.findall(r"(\d+ bytes stack frame|\d+ bytes spill \w+|Used \d+ registers|\d+ bytes smem)", log)
            spills = [int(n) for n in re.findall(r"(\d+) bytes spill", log)]
            allowed = max((n for name, n in SPILLS.items() if file.name.startswith(name)), default=0)
            failed += made is None or max(spills, default=0) > allowed
            launched = packed(file.read_text())
            if made is not None and taken(made) != launched:
                failed += 1
                print(f"{file.name} {arch}: takes {taken(made)}, and {launched} are launched, each with so many bytes")
            print(f"{file.name:24} {arch}: {log if made is None else ', '.join(used)}")
    print(f"{len(files)} kernels, {failed} failures")
    sys.exit(failed > 0)


main()
