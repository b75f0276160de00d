"""Checks the includes against the layer table: who may include whom, whom they see through others' headers, and where
third-party headers may be seen.

A file's layer is the first folder below src/ or include/, however deep the file lies. Includes are followed: a header that
includes another shows it to whoever includes the first. Before the tree the check is tried on small ones with known faults.
"""

import pathlib
import posixpath
import re
import sys

# Each layer, and what it may include itself, besides itself and base.
DIRECT = {
    "base": set(),
    "tensor": set(),
    "kernels": {"tensor"},
    "text": {"tensor"},
    "model": {"kernels", "tensor"},
    "engine": {"model", "text"},
    "server": {"engine", "text"},
    "worker": {"engine"},
    "cli": {"worker", "server", "engine", "model", "text", "kernels", "tensor"},
}
# What it may see through the headers of others: requests and tokens, never weights.
THROUGH = dict(DIRECT, engine={"model", "text", "kernels", "tensor"}, worker={"engine", "text"})
# Rooms of a layer (its folders), and which other rooms each may see; the layer's own files stand open to all.
ROOMS = {
    "server": {"generation": set(), "dialects": {"generation"}, "http": {"generation", "dialects"},
               "routes": {"generation", "dialects", "http"}},
    "cli": {"chat": set(), "stores": set()},
}
THIRD_PARTY = {
    "cjson/": "base", "gnutls/": "base", "cblas.h": "kernels", "utf8proc.h": "text", "pcre2.h": "text", "microhttpd.h": "server",
    "zlib.h": "server", "curl/": "worker", "histedit.h": "cli",
}
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.MULTILINE)


def layer_of(path):
    parts = path.split("/")
    return parts[1] if parts[0] in ("src", "include") and len(parts) > 2 else None


def room_of(path):
    """(layer, room) of a file in a room; None elsewhere."""
    parts = path.split("/")
    return (parts[1], parts[2]) if len(parts) > 3 and parts[1] in ROOMS else None


def may_see_room(path, target):
    here, there = room_of(path), room_of(target)
    if not here or not there or here == there or here[0] != there[0]:
        return True
    return there[1] in ROOMS[here[0]].get(here[1], set())


class Tree:
    """Sources by path, as text."""

    def __init__(self, files):
        self.files = files
        self.included = {path: [(text.count("\n", 0, match.start(1)) + 1, match.group(1))
                                for match in INCLUDE.finditer(text)] for path, text in files.items()}

    def find(self, path, target):
        """The file that an include means: beside the one that has it, or below include/ or src/."""
        beside = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        for candidate in (beside, "include/" + target, "src/" + target):
            if candidate in self.files:
                return candidate
        return None

    def seen_from(self, path):
        """Every file that `path` includes, itself or through others: (line of its own, the way there)."""
        ways = [(line, [target]) for line, name in self.included[path] if (target := self.find(path, name))]
        seen = set()
        for line, way in ways:
            if way[-1] in seen:
                continue
            seen.add(way[-1])
            yield line, way
            ways += [(line, way + [target]) for _, name in self.included[way[-1]]
                     if (target := self.find(way[-1], name))]

    def problems_of(self, path):
        layer = layer_of(path)
        if layer is None:
            return
        if layer not in DIRECT:
            yield f"{path}: {layer} is not in the table of layers"
            return
        for line, target in self.included[path]:
            for header, home in THIRD_PARTY.items():
                if target.startswith(header) and layer != home:
                    yield f"{path}:{line}: {target} belongs to {home} alone"
        for line, way in self.seen_from(path):
            allowed = DIRECT if len(way) == 1 else THROUGH
            if layer_of(way[-1]) not in allowed[layer] | {layer, "base"} or not may_see_room(path, way[-1]):
                through = f" through {' and '.join(way[:-1])}" if len(way) > 1 else ""
                here = "/".join(room_of(path) or [layer])
                yield f"{path}:{line}: {here} may not see {way[-1]}{through}"

    def problems(self):
        return [problem for path in sorted(self.files) for problem in self.problems_of(path)]


def check_the_check():
    """Each small tree has one fault, or none."""
    sound = {
        "include/model/plan.h": '#include "tensor/dtype.h"\n', "include/tensor/dtype.h": "#include <stddef.h>\n",
        "include/engine/engine.h": '#include "text/stop.h"\n', "include/text/stop.h": "",
        "src/engine/load.c": '#include "engine/engine.h"\n#include "model/plan.h"\n',
        "src/server/http/listener.c": '#include "listener.h"\n#include "../exchange.h"\n',
        "src/server/http/listener.h": '#include "engine/engine.h"\n', "src/server/exchange.h": "",
        "src/worker/worker.c": '#include "engine/engine.h"\n',
    }
    faults = {
        "src/server/http/listener.c:2: server/http may not see include/model/plan.h through src/server/exchange.h":
            {"src/server/exchange.h": '#include "model/plan.h"\n'},
        "include/engine/engine.h:1: engine may not see include/tensor/dtype.h":
            {"include/engine/engine.h": '#include "tensor/dtype.h"\n'},
        "src/server/http/listener.c:1: server/http may not see include/model/plan.h through "
        "src/server/http/listener.h and include/engine/engine.h":
            {"include/engine/engine.h": '#include "model/plan.h"\n'},
        "src/text/template/a.c:3: microhttpd.h belongs to server alone": {
            "src/text/template/a.c": "\n\n#include <microhttpd.h>\n"},
        "src/text/template/a.c:1: text may not see include/engine/engine.h":
            {"src/text/template/a.c": '#include "engine/engine.h"\n'},
        "src/server/generation/a.c:1: server/generation may not see src/server/http/listener.h":
            {"src/server/generation/a.c": '#include "../http/listener.h"\n'},
        "src/nothing/a.c: nothing is not in the table of layers": {"src/nothing/a.c": ""},
    }
    assert Tree(sound).problems() == [], Tree(sound).problems()
    for problem, changed in faults.items():
        found = Tree({**sound, **changed}).problems()
        assert problem in found, (problem, found)


def main():
    check_the_check()
    tree = Tree({str(path): path.read_text(encoding="utf-8")
                 for folder in ("src", "include") for path in pathlib.Path(folder).rglob("*.*") if path.suffix in (".c", ".h", ".inc")})
    problems = tree.problems()
    top = {p.name for p in pathlib.Path(".").iterdir() if not p.name.startswith(".")} - {"build"}
    expected = {"src", "include", "tests", "models", "Makefile", "README.md", "LICENSE"}
    problems += [f"{name}: not one of the top-level entries" for name in sorted(top - expected)]
    print("\n".join(problems) or f"layers: {len(tree.files)} files, in order")
    return 1 if problems else 0


sys.exit(main())
