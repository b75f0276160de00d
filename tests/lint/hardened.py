"""Checks that the program is linked and its objects are compiled as they should be against attacks.

Usage: hardened.py PROGRAM BUILD. What is checked is first tried on a program that is known to have none of it.
"""

import pathlib
import platform
import subprocess
import sys
import tempfile


def readelf(path, *flags):
    return subprocess.run(["readelf", "-W", *flags, str(path)], check=True, capture_output=True, text=True).stdout


def faults(program):
    """What a linked program lacks."""
    header, segments, dynamic = readelf(program, "-h"), readelf(program, "-l"), readelf(program, "-d")
    symbols = readelf(program, "--dyn-syms")
    stack = next((line for line in segments.splitlines() if "GNU_STACK" in line), "RWE")
    loads = [line for line in segments.splitlines() if line.strip().startswith("LOAD")]
    checks = {
        "is loaded anywhere (PIE)": "DYN (Position-Independent" in header,
        "relocations are read-only (RELRO)": "GNU_RELRO" in segments,
        "symbols are bound at start (NOW)": "BIND_NOW" in dynamic or "Flags: NOW" in dynamic,
        "the stack is not executable": "RWE" not in stack,
        "nothing can be written and executed": not any("RWE" in line for line in loads),
        "libraries come from the system's places (no RPATH)": "(RPATH)" not in dynamic and "(RUNPATH)" not in dynamic,
        "stack canaries": "__stack_chk_fail" in symbols,
        "sizes are checked at run time (FORTIFY)": "__memcpy_chk" in symbols and "__vsnprintf_chk" in symbols,
        "symbols lie in a file of their own": ".symtab" not in readelf(program, "-S"),
    }
    return [what for what, ok in checks.items() if not ok]


def unmarked(objects):
    """Objects whose indirect jumps and returns cannot be checked by the CPU."""
    return [path for path in objects if not {"IBT", "SHSTK"} <= set(readelf(path, "-n").replace(",", " ").split())]


def try_the_check():
    """A program of one function, built with none of it: everything that can be told of it must be."""
    with tempfile.TemporaryDirectory() as folder:
        source, program = pathlib.Path(folder) / "a.c", pathlib.Path(folder) / "a"
        source.write_text("int main(void) { return 0; }\n")
        subprocess.run(["gcc", "-no-pie", "-fcf-protection=none", "-fno-stack-protector", "-Wl,-z,norelro,-z,lazy,-z,execstack",
                        str(source), "-o", str(program)] if platform.machine() == "x86_64" else
                       ["gcc", "-no-pie", "-fno-stack-protector", "-Wl,-z,norelro,-z,lazy,-z,execstack", str(source), "-o",
                        str(program)], check=True)
        found = faults(program)
        if len(found) < 7:
            sys.exit("hardened: the check finds only %s in a program that has nothing" % found)


def main():
    program, build = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    try_the_check()
    found = ["%s: not so: %s" % (program, what) for what in faults(program)]
    if not pathlib.Path(str(program) + ".debug").exists():
        found.append("%s.debug: not there" % program)
    objects = sorted(build.glob("src/**/*.o"))
    if platform.machine() == "x86_64":
        found += ["%s: not marked for control-flow checks" % path for path in unmarked(objects)]
    for line in found:
        print(line, file=sys.stderr)
    if found or not objects:
        sys.exit(1)
    print("hardened: the program and %d objects" % len(objects))


main()
