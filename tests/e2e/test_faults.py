"""What goes wrong around a worker and is none of its requests' doing: signals, descriptors, disks, clocks, memory dumps."""

import pathlib

from http_client import execute


def anonymous_mappings(pid):
    """(bytes, flags) of the mappings that lie in no file."""
    found, size = [], None
    for line in pathlib.Path("/proc/%d/smaps" % pid).read_text().splitlines():
        fields = line.split()
        if "-" in fields[0] and ":" not in fields[0]:
            begin, end = (int(part, 16) for part in fields[0].split("-"))
            size = end - begin if len(fields) == 5 else None
        elif fields[0] == "VmFlags:" and size is not None:
            found.append((size, set(fields[1:])))
    return found


# ---- memory dumps ----


def test_keys_and_values_are_in_no_core_dump(worker):
    """Also where the sandbox, which forbids dumps altogether, is off: what is dumped is at most the heap."""
    one = worker("--kv-memory", "64MiB", "--no-sandbox")
    execute(one.port, {"prompt": "Once", "max_tokens": 2})
    hidden = sum(size for size, flags in anonymous_mappings(one.pid) if "dd" in flags)
    assert hidden >= 60 << 20
