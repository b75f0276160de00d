"""Some of `make random-schemas`: outputs and arguments of calls drawn at temperature 2, held to random schemas and judged by
jsonschema."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "clients"))


def test_random_schemas_are_kept(worker, monkeypatch):
    import random_schemas

    started = worker("--parallel", "4")
    monkeypatch.setenv("URL", "http://127.0.0.1:%d" % started.port)
    random_schemas.try_all(300, 1000001)
