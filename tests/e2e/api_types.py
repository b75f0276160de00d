"""The fields that the published types of official clients demand (`api/` of TALLOW_FIXTURES; nothing where it is not there)."""

import json
import os
import pathlib

FOLDER = pathlib.Path(os.environ.get("TALLOW_FIXTURES", "/nonexistent")) / "api"
# Not on the wire: output_text, as the folder's README says; citations of a text that cites nothing, as in Anthropic's own
# examples.
NOT_SENT = {"openai.Response": {"output_text"}, "anthropic.TextBlock": {"citations"}}


def lists():
    """(prefix of names, {type: fields}) of each list."""
    if not FOLDER.exists():
        return []
    found = [("", json.loads((FOLDER / "required.json").read_text()))]
    for name in ("required-ts.json", "required-spec.json"):
        for source, types in json.loads((FOLDER / name).read_text()).items():
            prefix = "anthropic." if source.startswith("anthropic") else "openai."
            found.append((prefix, {kind: fields["required"] for kind, fields in types.items()}))
    return found


def check_fields(kind, value, *ours):
    """Every field that some list demands of `kind` ("anthropic.Message"), and those that we name, are there."""
    wanted = set(ours)
    for prefix, types in lists():
        if kind.startswith(prefix):
            wanted |= set(types.get(kind[len(prefix):], []))
    assert wanted - NOT_SENT.get(kind, set()) <= set(value), (kind, wanted - set(value), value)
