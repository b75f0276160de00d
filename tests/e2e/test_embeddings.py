"""POST /v1/embeddings: the vectors are those of transformers, whatever else runs; its forms, and what it refuses."""

import base64
import json
import math
import shutil
import struct
import threading

import pytest

import gguf_writer
from conftest import ROOT, Worker
from http_client import Stream, get, post, wait_until

PATH = "/v1/embeddings"
GOLDENS = json.loads((ROOT / "tests" / "models" / "shipped" / "embeddings.json").read_text())


def good(answer):
    assert answer.status == 200, answer.body
    return answer.json()


def embed(port, given, **fields):
    return good(post(port, PATH, dict({"model": "m", "input": given}, **fields)))


def vector(port, given, **fields):
    return embed(port, given, **fields)["data"][0]["embedding"]


def refused(port, body, param=None, status=400):
    answer = post(port, PATH, body)
    assert answer.status == status, answer.body
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["param"] == param
    return error["message"]


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b)) / math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))


@pytest.fixture(scope="module")
def tokenizers(text_model):
    return [text_model / name for name in ("tokenizer.json", "tokenizer_config.json")]


@pytest.fixture(scope="module")
def served(text_model, tmp_path_factory):
    one = Worker([], text_model, tmp_path_factory.mktemp("embeddings") / "log")
    yield one
    assert one.stop() == 0, one.log()


@pytest.mark.parametrize("pooling", ["mean", "cls", "last"])
@pytest.mark.parametrize("name", sorted(GOLDENS))
def test_vectors_are_those_of_transformers(worker, text_model, tokenizers, tmp_path, name, pooling):
    model = text_model
    if name != "shipped":
        model = shutil.copytree(ROOT / "tests" / "models" / name, tmp_path / name)
        for path in tokenizers:
            shutil.copy(path, model)
    port = worker("--pooling", pooling, "--compute", "f32", model=model).port
    answer = embed(port, [case["tokens"] for case in GOLDENS[name]])
    for case, found in zip(GOLDENS[name], answer["data"]):
        assert cosine(found["embedding"], case[pooling]) >= 0.9999
        assert abs(sum(x * x for x in found["embedding"]) - 1) < 1e-5
    assert answer["usage"] == {"prompt_tokens": 158, "total_tokens": 158}


def test_forms_of_input_and_answer(served):
    port = served.port
    answer = embed(port, "The tree")
    assert answer["object"] == "list" and answer["model"] == "tallow-tiny"
    (one,) = answer["data"]
    assert one["object"] == "embedding" and one["index"] == 0 and len(one["embedding"]) == 256
    ids = good(post(port, "/tokenize", {"prompt": "The tree"}))["tokens"]
    assert vector(port, ids) == vector(port, [ids]) == vector(port, ["The tree"]) == one["embedding"]
    several = embed(port, ["The tree", "A house", "The tree"] * 10)
    assert [item["index"] for item in several["data"]] == list(range(30))
    assert all(item["embedding"] == one["embedding"] for item in several["data"][::3])
    assert several["data"][1]["embedding"] != one["embedding"]
    assert several["usage"]["prompt_tokens"] == 20 * len(ids) + 10 * embed(port, "A house")["usage"]["total_tokens"]
    packed = base64.b64decode(vector(port, "The tree", encoding_format="base64"), validate=True)
    assert list(struct.unpack("<256f", packed)) == pytest.approx(one["embedding"], abs=1e-9)
    short = vector(port, "The tree", dimensions=5)
    length = math.sqrt(sum(x * x for x in one["embedding"][:5]))
    assert short == pytest.approx([x / length for x in one["embedding"][:5]], abs=1e-6)
    assert len(base64.b64decode(vector(port, "The tree", dimensions=5, encoding_format="base64"))) == 20


def test_the_same_bits_in_company_and_from_the_cache(worker, text_model):
    text = "Once upon a time there was a tree. " * 20
    for pooling in ("mean", "last"):
        port = worker("--pooling", pooling, model=text_model).port
        alone = vector(port, text)
        with Stream(port, "/execute", {"prompt": text, "max_tokens": 200, "ignore_eos": True}) as stream:
            next(stream)
            found = []
            threads = [threading.Thread(target=lambda i=i: found.append(vector(port, ["x" * i, text][i % 2:])))
                       for i in range(1, 8, 2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert found == [alone] * 4
        assert vector(port, text) == alone


def test_texts_that_wait_for_each_other_are_no_rejections(worker):
    """More texts than the queue has places go in one after another; who was refused was told so, and nobody was."""
    port = worker("--parallel", "1", "--queue", "1").port
    with Stream(port, "/execute", {"prompt": "Once", "max_tokens": 60, "ignore_eos": True}) as stream:
        assert next(stream)[0] == "started"
        assert len(embed(port, ["one", "two", "three", "four"], dimensions=4)["data"]) == 4
        assert list(stream)[-1][0] == "end"
    lines = get(port, "/metrics").body.decode().splitlines()
    assert 'worker_requests_total{outcome="rejected"} 0' in lines
    assert 'worker_requests_total{outcome="completed"} 5' in lines


def test_a_drain_waits_for_all_texts_of_a_request(worker):
    """More than may wait at once, so that some of them come to the engine after the drain began."""
    started = worker("--parallel", "1", "--shutdown-timeout", "60s")
    answers = []
    with Stream(started.port, "/execute", {"prompt": "Once", "max_tokens": 900, "ignore_eos": True}) as stream:
        assert next(stream)[0] == "started"
        texts = ["text %d" % i for i in range(40)]
        asking = threading.Thread(target=lambda: answers.append(post(started.port, PATH, {"model": "m", "input": texts})))
        asking.start()
        wait_until(lambda: get(started.port, "/health").json()["queued"] >= 8)
        started.process.terminate()
        wait_until(lambda: started.events("draining"))
        refused(started.port, {"model": "m", "input": "x"}, status=503)
        assert list(stream)[-1][0] == "end"
    asking.join()
    assert len(good(answers[0])["data"]) == 40
    assert started.wait_end() == 0


def test_what_is_refused(served):
    port = served.port
    for bad in (None, "", [], [""], ["x", ""], [[]], 5, {"a": 1}, [1, "x"], ["x", 1], [1.5], [-1], [1 << 30], [[1], ["x"]],
                ["x"] * 2049, [None]):
        refused(port, {"input": bad}, "input")
    assert "2048" in refused(port, {"input": ["x"] * 3000}, "input")
    refused(port, {"input": "x", "encoding_format": "int8"}, "encoding_format")
    for bad in (0, 257, 1.5, "8"):
        refused(port, {"input": "x", "dimensions": bad}, "dimensions")
    assert "1024" in refused(port, {"input": [5] * 1025}, "input")
    assert len(vector(port, [5] * 1024)) == 256  # a whole context
    assert post(port, PATH, b"{").status == 400


def test_pooling_comes_from_the_model(worker, text_model, tmp_path):
    text = "The tree stands on a hill."
    chosen = {}
    for pooling in ("mean", "cls", "last"):
        chosen[pooling] = vector(worker("--pooling", pooling, model=text_model).port, text)
    assert chosen["mean"] != chosen["cls"] != chosen["last"]
    for folder, config, pooling in (
            ("flags", {"word_embedding_dimension": 256, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
            ("name", {"pooling_mode": "cls"}, "cls"), ("last", {"pooling_mode_lasttoken": True}, "last")):
        model = shutil.copytree(text_model, tmp_path / folder)
        (model / "1_Pooling").mkdir()
        (model / "1_Pooling" / "config.json").write_text(json.dumps(config))
        assert vector(worker(model=model).port, text) == chosen[pooling]
    (model / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_max_tokens": True}))
    started = worker(model=model)
    assert "--pooling" in refused(started.port, {"input": text})
    assert "pooling_mode_max_tokens" in started.told("pooling")[0]["message"]
    assert vector(worker("--pooling", "mean", model=model).port, text) == chosen["mean"]
    assert "--pooling is none" in refused(worker("--pooling", "none", model=text_model).port, {"input": text})


@pytest.mark.parametrize("number, pooling", [(1, "mean"), (2, "cls"), (3, "last"), (0, None), (4, None)])
def test_pooling_comes_from_a_gguf_file(worker, text_model, tmp_path, number, pooling):
    values = gguf_writer.values_of(text_model) | {"llama.pooling_type": (gguf_writer.U32, number)}
    path = gguf_writer.write(tmp_path / "m.gguf", values, gguf_writer.tensors_of(text_model))
    port = worker(model=path).port
    if pooling is None:
        assert "--pooling" in refused(port, {"input": [5, 6, 7]})
    else:
        assert vector(port, [5, 6, 7]) == vector(worker("--pooling", pooling, model=path).port, [5, 6, 7])
