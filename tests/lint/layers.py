"""Checks the includes against the layer table: who may include whom, and where third-party headers may be seen."""

import pathlib
import re
import sys

# Each layer, and what it may include besides itself and base.
ALLOWED = {
    "base": set(),
    "tensor": set(),
    "kernels": {"tensor"},
    "text": {"tensor"},
    "model": {"kernels", "tensor"},
    "engine": {"model", "kernels", "tensor", "text"},
    "server": {"engine", "text"},
    "worker": {"engine"},
    "cli": {"worker", "server", "engine", "model", "text", "kernels", "tensor"},
}
# engine's own code stops at the model; kernels and tensor reach it only through the model's headers.
DIRECT = dict(ALLOWED, engine={"model", "text"})
THIRD_PARTY = {
    "cjson/": "base", "cblas.h": "kernels", "utf8proc.h": "text", "pcre2.h": "text", "microhttpd.h": "server",
    "curl/": "worker",
}


def layer_of(path):
    parts = path.parts
    return parts[1] if parts[0] in ("src", "include") and len(parts) > 2 else None


def problems_of(path):
    layer = layer_of(path)
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line)
        if not match or layer is None:
            continue
        target = match.group(1)
        other = target.split("/")[0]
        if other in ALLOWED and other not in DIRECT[layer] | {layer, "base"}:
            yield f"{path}:{number}: {layer} may not include {target}"
        for header, home in THIRD_PARTY.items():
            if target.startswith(header) and layer != home:
                yield f"{path}:{number}: {target} belongs to {home} alone"


def main():
    files = sorted(p for folder in ("src", "include") for p in pathlib.Path(folder).rglob("*.[ch]"))
    problems = [problem for path in files for problem in problems_of(path)]
    top = {p.name for p in pathlib.Path(".").iterdir() if not p.name.startswith(".")} - {"build"}
    expected = {"src", "include", "tests", "models", "Makefile", "README.md", "LICENSE"}
    problems += [f"{name}: not one of the top-level entries" for name in sorted(top - expected)]
    print("\n".join(problems) or f"layers: {len(files)} files, in order")
    return 1 if problems else 0


sys.exit(main())
