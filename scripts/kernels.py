"""The kernels of this crate in groups, and what a compiler makes of them: registers, memory, spills, parameters. For the other scripts."""

import dataclasses
import os
import re
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor

from nvrtc import ROOT, headers

ARCHS = ["sm_75", "sm_80", "sm_90", "sm_100", "sm_120"]
# Bytes that kernels may spill, by name and architecture: none but these. They take all 128 registers that two blocks on a processor leave
# them, whose accumulators are worth more than a few values that are kept in memory and read once in a slice of k, of some 2000 instructions.
SPILLS = {
    ("knn_1", "sm_90"): 16,
    ("knn_1", "sm_100"): 28,
    ("pairwise_1", "sm_100"): 4,
    ("pairwise_1_vectors", "sm_120"): 4,
    ("pairwise_2_vectors", "sm_100"): 24,
    ("pairwise_dot", "sm_75"): 12,
}


@dataclasses.dataclass
class Module:
    """A source, and where it is known the bytes of parameters that the host packs for each of its kernels."""

    name: str
    text: str
    headers: dict
    sizes: dict


@dataclasses.dataclass
class Usage:
    """What a kernel takes: registers of a thread, bytes of shared memory of a block, bytes of stack of a thread and of those the spilled ones."""

    registers: int = 0
    shared: int = 0
    stack: int = 0
    spills: int = 0


def own(file):
    """A module of emitted text, which may be several kernels."""
    body = file.read_text()
    return Module(file.stem, headers() + '#line 1 "kernel.cu"\n' + body, {}, packed(body))


def goldens():
    return [own(f) for f in sorted((ROOT / "tests/golden/cuda").glob("*.cu"))]


def shipped():
    folder = ROOT / "kernels"
    included = {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*.cuh"))}
    return [Module(f.stem, f.read_text(), included, {}) for f in sorted(folder.glob("*.cu"))]


def ops():
    """A kernel for each op, conversion and reducer at each dtype, which a test writes into target/."""
    folder = ROOT / "target/op-modules"
    for old in folder.glob("*.cu"):
        old.unlink()
    command = ["cargo", "test", "--quiet", "--locked", "--lib", "op_modules", "--", "--ignored"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"NDCUDA_OP_MODULES": str(folder)}, capture_output=True, text=True)
    files = sorted(folder.glob("*.cu"))
    assert done.returncode == 0 and files, done.stdout + done.stderr
    return [own(f) for f in files]


SIZES = {"u64": 8, "i64": 8, "i32": 4, "Extent32": 12, "Extent64": 8}


def packed(text):
    """The bytes of the `Args` of each kernel of a text, by the kernel's name: the one that follows."""
    found, size = {}, None
    sizes = dict(SIZES)
    for typedef, to, args, kernel in re.findall(
        r"^typedef (\w+) (Index|Extent);$|struct Args \{(.*?)\};|__global__ .*?(nd_\w+)\(", text, re.M | re.S
    ):
        if typedef:
            sizes[to] = SIZES[typedef]
        elif args:
            end = 0
            for member in args.split(";")[:-1]:
                kind, star, count = re.match(r"(?:\s*//.*)?\s*(?:const )?(\w+)(\*?) \w+(?:\[(\d+)\])?$", member).groups()
                width = 8 if star else sizes[kind]
                align = 4 if width == 12 else width
                end = -(-end // align) * align + width * int(count or 1)
            size = -(-end // 8) * 8
        else:
            found[kernel] = size
    return found


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


def compiled(nvrtc, module, arch):
    """What each kernel of a module takes on an architecture, by its name, and what is wrong with them: spills are not, here."""
    cubin, log = nvrtc.compile(module.text, arch, "--ptxas-options=-v", form="CUBIN", name="kernel.cu", headers=module.headers)
    if cubin is None:
        return {}, [log]
    used, kernel, wrong = {}, None, []
    for line in log.splitlines():
        if name := re.search(r"Compiling entry function '(\w+)'", line):
            kernel = used.setdefault(name[1], Usage())
        elif memory := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            kernel.stack = max(kernel.stack, int(memory[1]))
            kernel.spills = max(kernel.spills, int(memory[2]), int(memory[3]))
        elif registers := re.search(r"Used (\d+) registers", line):
            shared = re.search(r"(\d+) bytes smem", line)
            kernel.registers, kernel.shared = int(registers[1]), int(shared[1]) if shared else 0
        elif line and not re.search(r"bytes gmem|Function properties for|^\s*ptxas info\s*: Compile time", line):
            wrong.append(line)
    sizes = taken(cubin)
    if module.sizes and sizes != module.sizes:
        wrong.append(f"takes {sizes}, and {module.sizes} are launched")
    return used, wrong


def compiled_all(nvrtc, modules, archs):
    """What `compiled` gives for each module on each architecture, in their order: as many at once as there are cores."""
    pairs = [(module, arch) for module in modules for arch in archs]
    return ThreadPoolExecutor(os.cpu_count()).map(lambda pair: compiled(nvrtc, *pair), pairs)
