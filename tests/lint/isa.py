"""Disassembles every object of a build and finds no instruction beyond the set that its file stands for.

Which instruction belongs to which set is what the assembler knows: every instruction that objdump prints is assembled
again for a CPU that has the file's features alone. Usage: isa.py BUILD, where BUILD/src/LAYER/FILE.o was made of
src/LAYER/FILE.c for x86-64.
"""

import os
import pathlib
import platform
import re
import subprocess
import sys
import tempfile

AVX2 = {"avx2", "fma", "f16c"}
AVX512 = AVX2 | {"avx512f", "avx512bw", "avx512vl", "avx512dq"}
BF16 = AVX512 | {"avx512_bf16"}
VNNI = AVX512 | {"avx512_vnni"}
# What is not listed runs on every x86-64 CPU: SSE2 and no more.
ALLOWED = {
    "src/base/platform": {"xsave"},  # xgetbv, where cpuid says that it is there
    "src/kernels/avx2": AVX2,
    "src/kernels/avx2_bf16": AVX2,
    "src/kernels/avx2_quant": AVX2,
    "src/kernels/avx2_vnni": AVX2 | {"avx_vnni"},
    "src/kernels/avx512": AVX512,
    "src/kernels/avx512_quant": AVX512,
    "src/kernels/avx512_bf16": BF16,
    "src/kernels/avx512_vnni": VNNI,
    "src/kernels/amx": BF16 | {"amx_tile", "amx_bf16"},
    "src/kernels/ceilings_avx2": AVX2,
    "src/kernels/ceilings_avx512": AVX512,
    "src/kernels/ceilings_avx512_bf16": BF16,
    "src/kernels/ceilings_avx512_vnni": VNNI,
}
# Functions of one instruction each, and the features that it needs: what the check is checked with.
SAMPLES = {
    "sse2": ("addpd %xmm0,%xmm1", set()),
    "ssse3": ("pshufb %xmm0,%xmm1", {"ssse3"}),
    "sse42": ("crc32b %al,%eax", {"sse4.2"}),
    "avx": ("vaddps %xmm0,%xmm1,%xmm2", {"avx"}),
    "avx2": ("vpaddd %ymm0,%ymm1,%ymm2", {"avx2"}),
    "fma": ("vfmadd231ps %xmm0,%xmm1,%xmm2", {"fma"}),
    "f16c": ("vcvtph2ps %xmm0,%ymm1", {"f16c"}),
    "bmi2": ("mulx %rax,%rbx,%rcx", {"bmi2"}),
    "avx512f": ("valignq $3,%zmm0,%zmm1,%zmm2", {"avx512f"}),
    "avx512f_mask": ("kmovw %eax,%k1", {"avx512f"}),
    "avx512bw": ("vpmaddubsw %zmm0,%zmm1,%zmm2", {"avx512bw"}),
    "avx512vl": ("vpaddd %ymm0,%ymm1,%ymm16", {"avx512vl"}),
    "avx512vl_plain": ("{evex} vpaddd %xmm0,%xmm1,%xmm2", {"avx512vl"}),
    "avx512dq": ("vpmovd2m %zmm0,%k1", {"avx512dq"}),
    "avx512_vbmi": ("vpermb %zmm0,%zmm1,%zmm2", {"avx512_vbmi"}),
    "avx512_vnni": ("vpdpbusd %zmm0,%zmm1,%zmm2", {"avx512_vnni"}),
    "avx_vnni": ("{vex} vpdpbusd %ymm0,%ymm1,%ymm2", {"avx_vnni"}),
    "avx512_bf16": ("vdpbf16ps %zmm0,%zmm1,%zmm2", {"avx512_bf16"}),
    "amx_bf16": ("tdpbf16ps %tmm0,%tmm1,%tmm2", {"amx_bf16"}),
    "xsave": ("xgetbv", {"xsave"}),
}
IMPLIED = {"avx2": {"avx", "ssse3", "sse4.2", "xsave"}}  # by a feature, of those that samples need

ENVIRONMENT = dict(os.environ, LC_ALL="C")


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT, **options)


def assembled(text, encoded):
    """An instruction as the assembler takes it, or None where every CPU runs it as it lies."""
    text = re.sub(r"\s*(#.*|<.*>)$", "", text).strip()
    text = re.sub(r"^([a-z ,]+) [0-9a-f]+$", r"\1 0", text)  # where to jump
    text = re.sub(r"^((data16|cs|addr32) )+(?=nop|cs|data16)", "", text)
    if re.match(r"(endbr64|nop)", text):
        return None  # padding, and a mark that older CPUs take for it
    # These bytes are bsf to a CPU without tzcnt, and gcc writes them only where both do the same.
    text = re.sub(r"^tzcnt", "bsf", text)
    if encoded.startswith("62") and not text.startswith("{"):
        return "{evex} " + text  # else the assembler would choose the shorter encoding of AVX
    return text


def instructions_of(path):
    """(function, instruction) of an object, each pair once."""
    result = run("objdump", "-dw", str(path))
    if result.returncode:
        sys.exit(f"isa: objdump {path}: {result.stderr.strip()}")
    function, found = "?", {}
    for line in result.stdout.splitlines():
        label = re.match(r"[0-9a-f]+ <(.*)>:$", line)
        if label:
            function = label.group(1)
            continue
        parts = line.split("\t")
        if len(parts) == 3 and (text := assembled(parts[2], parts[1])):
            found[function, text] = None
    return list(found)


def beyond(instructions, features):
    """Those that a CPU with these features alone lacks: [(function, instruction, the assembler's words)]."""
    cpu = "+".join(["generic64", *sorted(features)])
    source = "".join(text + "\n" for _, text in instructions)
    result = run("as", f"-march={cpu}", "-o", os.devnull, "-", input=source)
    errors = re.findall(r"^\{standard input\}:(\d+): Error: (.*)$", result.stderr, re.M)
    if result.returncode and not errors:
        sys.exit(f"isa: as -march={cpu}: {result.stderr.strip()}")
    return [(*instructions[int(number) - 1], words) for number, words in errors]


def self_check():
    """An object with an instruction of every kind: for each set that files stand for, what is beyond it is found and
    nothing else."""
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "samples.o")
        source = "".join(f".globl {name}\n{name}: {text}\n" for name, (text, _) in SAMPLES.items())
        made = run("as", "-o", str(path), "-", input=source)
        if made.returncode:
            sys.exit(f"isa: as, on the samples: {made.stderr.strip()}")
        instructions = instructions_of(path)
        for features in [set(), *ALLOWED.values()]:
            has = features.union(*(IMPLIED.get(feature, set()) for feature in features))
            expected = {name for name, (_, needs) in SAMPLES.items() if not needs <= has}
            found = {function for function, _, _ in beyond(instructions, features)}
            for name in sorted(expected ^ found):
                problems.append(f"isa: the check itself: {name} with {sorted(features)} should "
                                f"{'' if name in expected else 'not '}have been found")
    return problems


def main():
    if platform.machine() != "x86_64":
        print("isa: only x86-64 objects can be looked at, this is", platform.machine())
        return 0
    build, n_objects, n_listed, problems = sys.argv[1], 0, 0, self_check()
    sources = sorted(pathlib.Path("src").rglob("*.c"))
    problems += [f"isa: {name}.c is listed and not there" for name in ALLOWED if not pathlib.Path(name + ".c").exists()]
    for source in sources:
        name, path = str(source.with_suffix("")), pathlib.Path(build, source).with_suffix(".o")
        if not path.exists():
            problems.append(f"isa: {path} is not built")
            continue
        n_objects, n_listed = n_objects + 1, n_listed + (name in ALLOWED)
        found = beyond(instructions_of(path), ALLOWED.get(name, set()))
        problems += [f"{path}: {function}: {text}: {words}" for function, text, words in found[:5]]
        problems += [f"{path}: and {len(found) - 5} more"] if len(found) > 5 else []
    if n_objects == 0:
        problems.append(f"isa: no object under {build}/src")
    print("\n".join(problems) or f"isa: {n_objects} objects, {n_listed} of them beyond SSE2 and within their sets")
    return 1 if problems else 0


sys.exit(main())
