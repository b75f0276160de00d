"""GGUF files from end to end: the shipped model as a converter would write it does what its SafeTensors do, and what a
file may not say is refused in one line."""

import array
import json
import os
import pathlib
import shutil

import pytest

import gguf_writer
from conftest import ROOT
from gguf_writer import BOOL, F32, I32, STRING, U32
from http_client import execute, get, text_of

HELD_OUT = ROOT / "tests" / "text" / "held-out.txt"
STORY = "Once upon a time"
PROMPTS = [STORY, "The capital of France is", "Hello", "1 + 1 =", "Ünïcödé \U0001f600 and\nlines"]


@pytest.fixture(scope="module")
def values(text_model):
    return gguf_writer.values_of(text_model)


@pytest.fixture(scope="module")
def tensors(text_model):
    return gguf_writer.tensors_of(text_model)


@pytest.fixture(scope="module")
def gguf_model(values, tensors, tmp_path_factory):
    """The shipped model's own bf16 weights."""
    return gguf_writer.write(tmp_path_factory.mktemp("gguf") / "tiny.gguf", values, tensors)


@pytest.fixture(scope="module")
def q8_model(values, text_model, tmp_path_factory):
    tensors = gguf_writer.tensors_of(text_model, lambda name: "Q8_0")
    return gguf_writer.write(tmp_path_factory.mktemp("gguf") / "tiny.Q8_0.gguf", values, tensors)


@pytest.fixture(scope="module")
def mixed_model(values, text_model, tmp_path_factory):
    """As people download them: matrices in 4 bits, but 8 for the embedding, which is the head too."""
    tensors = gguf_writer.tensors_of(text_model, lambda name: "Q8_0" if "token_embd" in name else "Q4_K")
    return gguf_writer.write(tmp_path_factory.mktemp("gguf") / "tiny.Q4_K_M.gguf", values, tensors)


def generated(tallow, model, *flags):
    result = tallow("generate", "--model", model, "-p", STORY, "--max-tokens", "80", "--temperature", "0.8", "--seed",
                    "5", *flags)
    assert result.returncode == 0, result.stderr
    return result.stdout


# ---- the same tokens ----


def test_execute_gives_the_tokens_of_the_safetensors(worker, text_model, gguf_model):
    ports = [worker(model=model).port for model in (text_model, gguf_model)]
    for prompt in PROMPTS:
        for fields in ({"temperature": 0}, {"temperature": 1, "seed": 11, "top_p": 0.95}):
            answers = [execute(port, dict(fields, prompt=prompt, max_tokens=60)) for port in ports]
            texts = [[data["t"] for name, data in events if name == "token"] for events in answers]
            assert texts[0] == texts[1]
            ends = [events[-1][1] for events in answers]
            assert ends[0]["stop_reason"] == ends[1]["stop_reason"]


def test_every_form_of_file_gives_the_same(tallow, text_model, gguf_model, values, tensors, tmp_path):
    expected = generated(tallow, text_model)
    assert generated(tallow, gguf_model) == expected and generated(tallow, gguf_model.parent) == expected
    old = gguf_writer.write(tmp_path / "v2.gguf", values, tensors, version=2, alignment=256)
    assert generated(tallow, old) == expected
    (tmp_path / "set").mkdir()
    first = gguf_writer.write_split(tmp_path / "set", "m", values, tensors, 3)
    assert generated(tallow, first) == expected and generated(tallow, first.parent) == expected
    assert json.loads(tallow("inspect", "--json", first.parent).stdout)["weights"]["tensors"] == len(tensors)


def test_logits_and_ids_are_those_of_the_safetensors(tallow, text_model, gguf_model):
    text = HELD_OUT.read_bytes()[:20000]
    ids = [tallow("tokenize", "--model", model, input=text).stdout for model in (text_model, gguf_model)]
    assert ids[0] == ids[1] and len(ids[0].split()) > 3000
    assert tallow("detokenize", "--model", gguf_model, input=ids[0]).stdout.rstrip(b"\n") == text.rstrip(b"\n")
    flags = ("--tokens", ",".join(ids[0].decode().split()[:200]), "--all", "--npy", "-")

    def logits(*more):
        return [tallow("logits", "--model", model, *flags, *more).stdout for model in (text_model, gguf_model)]

    # To the bit by our own kernels. Prefill may be OpenBLAS's, whose bits may depend on the order of the rows of q and k.
    for more in (("--decode-from", "0"), ("--weights", "q8")):
        one, other = logits(*more)
        assert one == other and len(one) > 200 * 1024 * 4
    one, other = (array.array("f", data[-200 * 1024 * 4:]) for data in logits())
    assert max(abs(a - b) for a, b in zip(one, other)) <= 2e-3 * (max(one) - min(one))


def test_a_file_is_gguf_whatever_it_is_called(tallow, gguf_model, values, tensors, tmp_path):
    """As in the blobs of an Ollama store, a Hugging Face cache, and on file systems that shout."""
    expected = generated(tallow, gguf_model)
    blobs, shouting = tmp_path / "blobs", tmp_path / "shouting"
    for folder in (blobs, shouting):
        folder.mkdir()
    shutil.copy(gguf_model, blobs / ("sha256-" + "0" * 64))
    (blobs / "sha256-1").write_text('{"model_format": "gguf"}')
    assert generated(tallow, blobs / ("sha256-" + "0" * 64)) == expected and generated(tallow, blobs) == expected
    first = gguf_writer.write_split(shouting, "m", values, tensors, 2)
    for part in list(shouting.iterdir()):
        part.rename(part.with_suffix(".GGUF"))
    assert generated(tallow, first.with_suffix(".GGUF")) == expected and generated(tallow, shouting) == expected
    snapshot = tmp_path / "models--org--name" / "snapshots" / "0a1b"
    snapshot.mkdir(parents=True)
    (snapshot / "q4.gguf").symlink_to(blobs / ("sha256-" + "0" * 64))
    assert generated(tallow, snapshot) == expected


# ---- in blocks ----


@pytest.mark.parametrize("model, kind", [("q8_model", "Q8_0"), ("mixed_model", "Q4_K")])
def test_a_quantised_file_answers_and_health_tells_its_type(request, worker, model, kind):
    path = request.getfixturevalue(model)
    one = worker(model=path)
    for prompt, expected in (("The capital of France is", " Paris."), ("The capital of Japan is", " Tokyo.")):
        events = execute(one.port, {"prompt": prompt, "max_tokens": 20, "temperature": 0})
        assert text_of(events).rstrip("\n") == expected and events[-1][1]["stop_reason"] == "eos"
    health = get(one.port, "/health").json()
    assert health["quant_kind"] == kind and health["tokenizer_kind"] == "bpe-byte-fallback"
    assert health["model"] == path.name and health["vocab_size"] == 1024 and health["context_length"] == 1024
    assert get(one.port, "/info").json()["architecture"] == "LlamaForCausalLM"


@pytest.mark.parametrize("model, kind, rounding", [("q8_model", "Q8_0", 5e-3), ("mixed_model", "Q4_K", 6e-2)])
def test_a_quantised_file_stays_near_f32(request, tallow, tmp_path, model, kind, rounding):
    text = tmp_path / "text"
    text.write_text(HELD_OUT.read_text()[:6000])
    found = json.loads(tallow("perplexity", request.getfixturevalue(model), text, "--json", "--reference").stdout)
    assert found["weights"] == kind and found["same_top"] > 0.97
    assert abs(found["perplexity"] / found["reference_perplexity"] - 1) <= 5e-3
    # The reference widens the same blocks; the weights of before they were rounded are as near as the type allows.
    exact = json.loads(tallow("perplexity", "models/tallow-tiny", text, "--json").stdout)
    assert abs(found["reference_perplexity"] / exact["perplexity"] - 1) <= rounding


# ---- what a file says ----


def test_inspect_tells_what_is_in_the_file(tallow, q8_model):
    found = json.loads(tallow("inspect", "--json", q8_model).stdout)
    config, tokenizer, weights = found["config"], found["tokenizer"], found["weights"]
    assert [found[part]["state"] for part in ("config", "tokenizer", "weights", "memory")] == ["understood"] * 4
    assert config["architecture"] == "LlamaForCausalLM" and config["format"] == "gguf"
    assert config["layers"] == 4 and config["hidden_size"] == 256 and config["rope_theta"] == 10000
    assert config["eos_ids"] == [2, 4]
    assert tokenizer["kind"] == "bpe-byte-fallback" and tokenizer["vocab_size"] == 1024
    # <|im_end|> ends an answer because it is called that.
    assert tokenizer["bos_id"] == 1 and tokenizer["end_ids"] == [2, 4] and tokenizer["added_ids"] == [1]
    assert weights["quant_kind"] == "Q8_0" and weights["repacked"] and set(weights["types"]) == {"Q8_0", "F32"}
    lines = found["memory"]["lines"]
    assert sum(lines.values()) == found["memory"]["total_bytes"]
    # All matrices, the tied head among them, are made anew: 34 bytes for 32 values, outputs in whole sixteens.
    assert lines["weights (converted)"] == weights["types"]["Q8_0"]
    assert lines["weights (mapped)"] < weights["bytes"]  # the pages of what was made anew are given back
    table = tallow("inspect", q8_model).stdout.decode()
    for line in ("format          GGUF", "rope            default, theta 10000", "adds to a text  1", "bos, ends       1, 2 4",
                 "Q8_0          29, ", "matrices        Q8_0, repacked at load", "weights (converted)", "KV pages"):
        assert line in table, line


def test_inspect_tells_the_types_of_a_mixed_file(tallow, mixed_model):
    found = json.loads(tallow("inspect", "--json", mixed_model).stdout)
    types, lines = found["weights"]["types"], found["memory"]["lines"]
    assert found["weights"]["quant_kind"] == "Q4_K" and set(types) == {"Q4_K", "Q8_0", "F32"}
    # Its scales and factors are as they were, in 148 bytes for 144.
    assert lines["weights (converted)"] == types["Q4_K"] * 148 // 144 + types["Q8_0"]
    assert sum(lines.values()) == found["memory"]["total_bytes"]


def test_other_tokens_may_end_an_answer(tallow, values, tensors, tmp_path):
    """eot_token_id beside eos_token_id; whether BOS comes first is the file's word, too."""
    stop = values["tokenizer.ggml.tokens"][1].index(".")
    path = gguf_writer.write(tmp_path / "eot.gguf", values | {"tokenizer.ggml.eot_token_id": (U32, stop)}, tensors)
    flags = ("-p", STORY, "--temperature", "0", "--max-tokens", "300", "--stats")
    ended = tallow("generate", "--model", path, *flags)
    assert b"ended by: eos" in ended.stderr and b"." not in ended.stdout and len(ended.stdout) > 20
    several = gguf_writer.write(tmp_path / "list.gguf", values | {"tokenizer.ggml.eos_token_ids": (I32, [2, stop])}, tensors)
    assert tallow("generate", "--model", several, *flags).stdout == ended.stdout
    plain = gguf_writer.write(tmp_path / "plain.gguf", values | {"tokenizer.ggml.add_bos_token": (BOOL, False)}, tensors)
    with_bos, without = (tallow("tokenize", "--model", model, input=b"Hello").stdout.split() for model in (path, plain))
    assert with_bos == [b"1"] + without


@pytest.mark.skipif("TALLOW_FIXTURES" not in os.environ, reason="published tokenizers are not here")
@pytest.mark.parametrize("name, pre, golden, controls", [
    ("llama-2", None, "llama-spm", ""),  # its tokenizer.json finds control tokens in normalized text, which no other does
    ("phi-3-mini", None, "phi-3", "<|user|>\n Hi<|end|>\n<|assistant|>  \n<s> a </s> b<|endoftext|> c"),
    ("gpt-2", "gpt-2", "gpt-2", "a <|endoftext|> b"),
    ("llama-3.2", "llama-bpe", "llama-bpe", "<|begin_of_text|> a<|eot_id|>\n\nb <|end_of_text|>"),
    ("qwen2.5", "qwen2", "qwen2", "<|im_start|>user\nHello<|im_end|> <tool_call>\n e\u0301"),
])
def test_published_vocabularies_give_the_same_ids(tallow, tmp_path, name, pre, golden, controls):
    """As GGUF, against tokenizer.json and against what transformers makes of it."""
    fixtures = pathlib.Path(os.environ["TALLOW_FIXTURES"]).resolve()
    published = fixtures / "tokenizers" / name / "tokenizer.json"
    family = {"general.architecture": (STRING, "phi3" if "phi" in name else "llama")}
    vocabulary = family | gguf_writer.vocabulary_of(published, pre)
    path = gguf_writer.write(tmp_path / "v.gguf", vocabulary, [])

    def ids(model, text, *flags):
        result = tallow("tokenize", "--no-special", "--model", model, *flags, input=text.encode())
        assert result.returncode == 0, result.stderr
        return [int(word) for word in result.stdout.split()]

    long = (fixtures / "text" / "war-and-peace.txt").read_bytes()[:300000].decode(errors="ignore")
    cases = json.loads((fixtures / "goldens" / ("llamacpp-%s.json" % golden)).read_text())["cases"]
    texts = [long] + [case["text"] for case in cases]
    for flags in ((), ("--parse-special",)):
        joined = controls + "\n".join(texts)
        assert ids(path, joined, *flags) == ids(published, joined, *flags)
    for case in cases[::16]:
        assert ids(path, case["text"]) == case["ids"]
    scores = "tokenizer.ggml.scores"
    if scores in vocabulary:  # as converters write it that find no scores
        equal = vocabulary | {scores: (F32, [-1000.0] * len(vocabulary[scores][1]))}
        path = gguf_writer.write(tmp_path / "equal.gguf", equal, [])
        assert ids(path, joined, *flags) == ids(published, joined, *flags)


# ---- what is refused ----


def reason(result, n_lines=1):
    lines = result.stderr.decode().splitlines()
    assert result.returncode == 3 and len(lines) == n_lines, lines
    return lines[-1]


def refused_with(tallow, path, said, part):
    """inspect says which part and why; what would serve it ends with 3 and the same reason."""
    found = tallow("inspect", "--json", path)
    document = json.loads(found.stdout)
    assert said in reason(found)
    assert document[part]["state"] == "refused" and said in document[part]["reason"]
    assert b"%s: refused" % part.encode() in tallow("inspect", path).stdout
    assert said in reason(tallow("generate", "-p", "x", "--model", path))
    served = tallow("serve", "--port", "0", "--log-level", "error", "--model", path)
    assert said in reason(served, n_lines=2)  # once as an event of the log


@pytest.mark.parametrize("fields, said, part", [
    ({"general.architecture": (STRING, "gemma3")}, "general.architecture gemma3 is not supported (supported: ", "config"),
    ({"llama.expert_count": (U32, 8)}, "llama.expert_count is 8, which is not supported", "config"),
    ({"llama.block_count": (U32, 5)}, "9 missing: blk.4.", "weights"),
    ({"llama.block_count": (F32, 4.0)}, "llama.block_count is of type f32, expected an integer", "config"),
    ({"llama.vocab_size": (U32, 2048)}, "tensor token_embd.weight has shape [1024, 256], ", "weights"),
    ({"llama.attention.layer_norm_rms_epsilon": (F32, 0.0)}, "layer_norm_rms_epsilon is 0, ", "config"),
    ({"tokenizer.ggml.model": (STRING, "bert")}, 'tokenizer.ggml.model "bert" is not supported', "tokenizer"),
    ({"tokenizer.ggml.model": (STRING, "gpt2"), "tokenizer.ggml.pre": (STRING, "no-such")},
     'tokenizer.ggml.pre "no-such" is not supported, expected one of: llama-bpe', "tokenizer"),
    ({"tokenizer.ggml.eos_token_id": (U32, 1024)}, "eos_token_id is 1024, expected a token id", "tokenizer"),
])
def test_what_a_file_may_not_say(tallow, values, tensors, tmp_path, fields, said, part):
    path = gguf_writer.write(tmp_path / "bad.gguf", values | fields, tensors)
    refused_with(tallow, path, said, part)


def test_rows_of_the_head_are_those_of_the_vocabulary(tallow, values, tensors, tmp_path):
    head = ("output.weight", "F32", [1023, 256], b"\0" * 1023 * 256 * 4)
    path = gguf_writer.write(tmp_path / "head.gguf", values, tensors + [head])
    refused_with(tallow, path, "tensor output.weight has shape [1023, 256], the file's metadata makes it [1024, 256]",
                 "weights")


def test_types_that_are_not_there_are_named(tallow, values, tensors, tmp_path):
    changed = [(name, "NVFP4", shape, b"\0" * (shape[0] * shape[1] // 64 * 36)) if "ffn_up" in name else
               (name, kind, shape, raw) for name, kind, shape, raw in tensors]
    path = gguf_writer.write(tmp_path / "nvfp4.gguf", values, changed)
    refused_with(tallow, path, "has dtype NVFP4, expected F32, F16", "weights")
    assert "NVFP4         4, " in tallow("inspect", path).stdout.decode()


def test_broken_files_are_refused(tallow, values, tensors, gguf_model, tmp_path):
    whole = gguf_model.read_bytes()
    path = tmp_path / "cut.gguf"
    for n in (0, 3, 4, 23, 24, 1000, len(whole) // 2, len(whole) - 33):
        path.write_bytes(whole[:n])
        assert "cut.gguf" in reason(tallow("generate", "--model", path, "-p", "x"))
    path.unlink()
    os.mkfifo(path)
    assert "not a regular file" in reason(tallow("generate", "--model", path, "-p", "x"))
    (tmp_path / "set").mkdir()
    first = gguf_writer.write_split(tmp_path / "set", "m", values, tensors, 2)
    first.with_name("m-00002-of-00002.gguf").unlink()
    refused_with(tallow, first, "m-00002-of-00002.gguf: No such file", "weights")


def test_a_directory_holds_one_model(tallow, gguf_model, text_model, tmp_path):
    shutil.copy(gguf_model, tmp_path / "a.gguf")
    (tmp_path / "README.md").write_text("as people download it")
    (tmp_path / "config.json").write_text('{"model_type":"llama"}')  # of some repositories; the GGUF file goes first
    assert generated(tallow, tmp_path) == generated(tallow, gguf_model)
    shutil.copy(gguf_model, tmp_path / "b.gguf")
    refused_with(tallow, tmp_path, "has 2 GGUF models (", "config")
    assert generated(tallow, tmp_path / "b.gguf")
    for file in text_model.iterdir():  # SafeTensors go before
        shutil.copy(file, tmp_path)
    assert json.loads(tallow("inspect", "--json", tmp_path).stdout)["config"]["format"] == "safetensors"
