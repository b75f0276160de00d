"""Pinned models: what `inspect --manifest` prints, and a worker that serves nothing but what it was told to expect."""

import hashlib
import json
import shutil
import struct

import pytest

from conftest import ROOT
from http_client import get, post


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def copy_of(model, folder):
    shutil.copytree(model, folder)
    return folder


def lines_of(model):
    """What sha256sum prints of the files that are read, in order of their names."""
    files = sorted(path for path in model.iterdir() if path.suffix in (".json", ".safetensors", ".jinja"))
    return "".join("%s  %s\n" % (sha256(path.read_bytes()), path.name) for path in files)


def tensors_of(path):
    data = path.read_bytes()
    n_header = struct.unpack("<Q", data[:8])[0]
    for name, entry in json.loads(data[8 : 8 + n_header]).items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            yield name, entry, data[8 + n_header + begin : 8 + n_header + end]


# ---- the manifest ----


def test_the_manifest_is_what_sha256sum_prints(tallow, text_model, tmp_path):
    model = copy_of(text_model, tmp_path / "model")
    (model / "README.md").write_text("not read")
    (model / "chat_template.jinja").write_text("{{ messages[0].content }}")
    found = tallow("inspect", "--manifest", model)
    assert found.returncode == 0, found.stderr
    lines = found.stdout.decode().splitlines(keepends=True)
    assert "".join(line for line in lines if not line.startswith("#")) == lines_of(model)
    assert lines[0].split()[1] == sha256(lines_of(model).encode())


def test_every_tensor_has_its_digest(tallow, text_model):
    found = json.loads(tallow("inspect", "--manifest", "--json", text_model).stdout)
    assert found["sha256"] == sha256(lines_of(text_model).encode())
    assert [file["name"] for file in found["files"]] == [line.split()[1] for line in lines_of(text_model).splitlines()]
    tensors = {tensor["name"]: tensor for tensor in found["tensors"]}
    for name, entry, data in tensors_of(text_model / "model.safetensors"):
        one = tensors.pop(name)
        assert (one["sha256"], one["bytes"]) == (sha256(data), len(data))
        assert (one["file"], one["type"], one["shape"]) == ("model.safetensors", entry["dtype"], entry["shape"])
    assert not tensors


def test_a_model_of_one_file_has_that_files_digest(tallow):
    path = ROOT / "tests/gguf/blocks.gguf"
    found = json.loads(tallow("inspect", "--manifest", "--json", path).stdout)
    assert found["sha256"] == found["files"][0]["sha256"] == sha256(path.read_bytes())
    assert len(found["files"]) == 1 and found["tensors"]


def test_the_number_of_threads_changes_nothing(tallow):
    model = ROOT / "tests/models/sharded-f16"
    one = tallow("inspect", "--manifest", "--threads", "1", model).stdout
    assert one == tallow("inspect", "--manifest", "--threads", "5", model).stdout
    assert one.count(b".safetensors\n") == 2 and b"  model.safetensors.index.json\n" in one


def test_a_manifest_of_what_is_no_model(tallow, tmp_path):
    found = tallow("inspect", "--manifest", tmp_path)
    assert found.returncode == 3 and b"has no weights" in found.stderr


# ---- serving it ----


def test_a_pinned_worker_tells_its_digest(worker, text_model):
    digest = sha256(lines_of(text_model).encode())
    one = worker("--model-sha256", digest.upper(), model=text_model)
    info = get(one.port, "/info").json()
    assert info["model_sha256"] == digest
    assert info["system_fingerprint"].startswith("fp_%s_" % digest[:16])
    body = {"messages": [{"role": "user", "content": "The capital of France is"}], "max_tokens": 2}
    whole = post(one.port, "/v1/chat/completions", body).json()
    assert whole["system_fingerprint"] == info["system_fingerprint"]
    chunks = post(one.port, "/v1/chat/completions", dict(body, stream=True)).body.decode()
    chunks = [json.loads(line[6:]) for line in chunks.splitlines() if line.startswith("data: {")]
    assert chunks and all(chunk["system_fingerprint"] == info["system_fingerprint"] for chunk in chunks)
    text = post(one.port, "/v1/completions", {"prompt": "The", "max_tokens": 1}).json()
    assert text["system_fingerprint"] == info["system_fingerprint"]


def test_a_fingerprint_without_a_digest(worker, text_model, tmp_path):
    """The same for the same bytes and settings; another for other weights, and for other settings."""

    def fingerprint(*arguments, model):
        one = worker(*arguments, model=model)
        info = get(one.port, "/info").json()
        assert "model_sha256" not in info
        one.stop()
        return info["system_fingerprint"].split("_")[1:]

    files, settings = fingerprint(model=text_model)
    copy = copy_of(text_model, tmp_path / "another name")
    assert fingerprint("--threads", "1", model=copy) == [files, settings]
    same_files, other_settings = fingerprint("--kv", "f32", model=copy)
    assert same_files == files and other_settings != settings
    data = bytearray((copy / "model.safetensors").read_bytes())
    name, entry, _ = next(iter(tensors_of(copy / "model.safetensors")))
    begin, end = entry["data_offsets"]
    middle = 8 + struct.unpack("<Q", data[:8])[0] + (begin + end) // 2
    data[middle] ^= 1
    (copy / "model.safetensors").write_bytes(data)
    other_files, same_settings = fingerprint(model=copy)
    assert other_files != files and same_settings == settings


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_another_file_ends_the_start_with_3(worker, tallow, text_model, tmp_path, name):
    """With a manifest the message has the file, what was expected and what is there; before ready."""
    model = copy_of(text_model, tmp_path / "model")
    manifest = tmp_path / "manifest"
    manifest.write_bytes(tallow("inspect", "--manifest", model).stdout)
    good = worker("--model-sha256", manifest, model=model)
    assert good.stop() == 0
    before = (model / name).read_bytes()
    after = before[:-1] + (b"\x01" if name.endswith("safetensors") else b" ")
    if name.endswith(".json"):
        after = before + b"\n"
    (model / name).write_bytes(after)
    one = worker("--model-sha256", manifest, model=model, wait=False)
    assert one.wait_end() == 3
    assert one.process.stdout.read() == b""
    assert str(model / name) in one.reason()
    assert "expected " + sha256(before) in one.reason() and "is " + sha256(after) in one.reason()
    whole = sha256(lines_of(model).encode())
    by_digest = worker("--model-sha256", sha256(b"other"), model=model, wait=False)
    assert by_digest.wait_end() == 3
    assert sha256(b"other") in by_digest.reason() and whole in by_digest.reason()


def test_files_that_come_and_go(worker, tallow, text_model, tmp_path):
    """A chat template that was added, or taken away, makes another model; a README does not, but has to stay."""
    model = copy_of(text_model, tmp_path / "model")
    manifest = tmp_path / "manifest"
    (model / "README.md").write_text("read by people")
    lines = lines_of(model) + "%s  ./README.md\r\n" % sha256(b"any")
    manifest.write_text("# a comment\n\n" + lines)
    assert worker("--model-sha256", manifest, model=model).stop() == 0
    template = model / "chat_template.jinja"
    template.write_text("{{ messages[0].content }}")
    one = worker("--model-sha256", manifest, model=model, wait=False)
    assert one.wait_end() == 3 and str(template) in one.reason() and "is not in the manifest" in one.reason()
    template.unlink()
    (model / "generation_config.json").unlink()
    one = worker("--model-sha256", manifest, model=model, wait=False)
    assert one.wait_end() == 3 and "generation_config.json: expected by the manifest" in one.reason()


def test_the_digest_of_the_weights_alone_is_not_the_models(tallow, text_model):
    digest = sha256((text_model / "model.safetensors").read_bytes())
    found = tallow("generate", "--model", text_model, "--model-sha256", digest, "-p", "a", "--max-tokens", "1")
    assert found.returncode == 3 and b"that of model.safetensors alone" in found.stderr


@pytest.mark.parametrize("content", [None, "no manifest\n", "0" * 64 + " config.json\n", "0" * 63 + "g  config.json\n"])
def test_what_is_no_manifest_is_usage(tallow, text_model, tmp_path, content):
    path = tmp_path / "manifest"
    if content is not None:
        path.write_text(content)
    found = tallow("generate", "--model", text_model, "--model-sha256", path, "-p", "a", "--max-tokens", "1")
    assert found.returncode == 2 and b"--model-sha256" in found.stderr and str(path).encode() in found.stderr
