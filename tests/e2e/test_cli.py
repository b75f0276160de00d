"""The commands of `tallow`: help, inspect, tokenize, detokenize, logits, perplexity, and what is said about mistakes."""

import ast
import json
import math
import os
import pathlib
import re
import shutil
import struct
import subprocess
import xml.etree.ElementTree

import pytest

import gguf_writer
from conftest import clean_environment, llama_config, program, shipped_model, write_model
from http_client import WAIT_S

COMMANDS = ("serve", "generate", "inspect", "bench", "tokenize", "detokenize", "render", "logits", "perplexity")
# No fixture's: characters of one to four bytes, a family of emoji, controls, spaces of all kinds.
TEXTS = ["Hello, world", "", " ", "  two  spaces ", "line\nline\r\n\ttab", "naïve café", "日本語", "👨‍👩‍👧 🐈", "</s> <s>", "a\0b",
         "x" * 1000, "\ufeffmark \u00a0 \u2028"]


def one_line(result):
    lines = result.stderr.decode().splitlines()
    assert len(lines) == 1 and lines[0].startswith("tallow: "), lines
    return lines[0]


# ---- help and mistakes ----


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(tallow, command):
    result = tallow(command, "--help")
    assert result.returncode == 0 and result.stderr == b""
    assert b"usage: tallow" in result.stdout and b"--version" in result.stdout and b"TALLOW_SOME_NAME" in result.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["chat", "--help"], ["--version"], ["manual"], ["completion", "zsh"]])
def test_what_finds_no_space_is_an_error(arguments):
    with open("/dev/full", "wb") as full:
        result = subprocess.run(program() + arguments, stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE, env=clean_environment(),
                                check=False, timeout=WAIT_S)
    assert result.returncode == 70 and one_line(result) == "tallow: cannot write to standard output"


def test_help_of_all_shows_commands_and_defaults(tallow):
    text = tallow("--help").stdout.decode()
    for command in COMMANDS:
        assert "\n  %s " % command in text
    for shown in ("[8080]", "[2048]", "[30s]", "[25s]", "[127.0.0.1]", "TALLOW_API_KEY"):
        assert shown in text
    for flag in ("--worker-id", "--model", "--callback-url", "--exit-with-parent", "--kv-memory", "--memory-limit"):
        assert flag in text


def test_version(tallow):
    for arguments in (("--version",), ("generate", "--version")):
        result = tallow(*arguments)
        assert result.returncode == 0 and result.stdout.startswith(b"tallow ")


@pytest.mark.parametrize("arguments, said", [
    (["--modle", "x"], "unknown option --modle; the nearest is --model"),
    (["generte"], "unknown command generte; the nearest is generate"),
    (["--port", "x"], "--port must be an integer from 0 to 65535"),
    (["--kv-memory", "1 GB"], "--kv-memory must be a size such as 512MiB"),
    (["generate", "-p", "x"], "--model is missing"),
    (["tokenize"], "--model is missing"),
    (["logits", "--model", "x"], "--tokens is missing"),
    (["logits", "--model", "x", "--tokens", "1,b"], "token ids are numbers"),
    (["inspect"], "a path is missing"),
    (["inspect", "a", "b"], 'unexpected argument "b"'),
])
def test_mistakes_end_with_2_and_one_line(tallow, arguments, said):
    result = tallow(*arguments)
    assert result.returncode == 2 and result.stdout == b""
    assert said in one_line(result)


def test_flags_without_a_command_serve(tallow):
    result = tallow("--port", "0")
    assert result.returncode == 2 and "--model is missing" in result.stderr.decode()


def test_environment_variables(tallow, text_model):
    counted = tallow("inspect", text_model, "--json", env={"TALLOW_CONTEXT": "64", "TALLOW_PARALLEL": "3"})
    memory = json.loads(counted.stdout)["memory"]
    assert memory["context_length"] == 64 and memory["parallel"] == 3
    counted = tallow("inspect", text_model, "--json", "--context", "32", env={"TALLOW_CONTEXT": "64"})
    assert json.loads(counted.stdout)["memory"]["context_length"] == 32
    refused = tallow("inspect", text_model, env={"TALLOW_CONTEXT": "many"})
    assert refused.returncode == 2 and "TALLOW_CONTEXT must be" in one_line(refused)


# ---- inspect ----


def test_inspect_a_model(tallow, text_model):
    result = tallow("inspect", text_model)
    assert result.returncode == 0 and result.stderr == b""
    text = result.stdout.decode()
    for part in ("config", "tokenizer", "weights", "memory"):
        assert "\n%s: understood" % part in text
    assert "KV pages" in text and "total" in text
    found = json.loads(tallow("inspect", "--json", text_model).stdout)
    written = json.loads((text_model / "config.json").read_text())
    assert found["config"]["hidden_size"] == written["hidden_size"]
    assert found["config"]["layers"] == written["num_hidden_layers"]
    assert found["tokenizer"]["kind"].startswith("bpe") and found["weights"]["tensors"] > 0
    assert sum(found["memory"]["lines"].values()) == found["memory"]["total_bytes"] <= found["memory"]["limit_bytes"]
    assert found["memory"]["lines"]["constraints"] >= 32 << 20 and found["memory"]["lines"]["tokens of constraints"] > 0
    by_file = tallow("inspect", "--json", text_model / "model.safetensors")
    assert json.loads(by_file.stdout)["config"] == found["config"]


@pytest.mark.parametrize("biases, key_type, head_bytes", [(False, "Q8", 34 + 34), (True, "F16", 64 + 34)])
def test_keys_with_biases_stay_f16(tallow, text_model, tmp_path, biases, key_type, head_bytes):
    config = llama_config(hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, attention_bias=biases,
                          num_key_value_heads=2, max_position_embeddings=64, vocab_size=1024)
    folder = write_model(tmp_path / "model", config, text_model, None)
    found = json.loads(tallow("inspect", folder, "--json", "--kv", "q8", "--isa", "scalar").stdout)["memory"]
    assert (found["kv_type"], found["key_type"]) == ("Q8", key_type)
    page = 2 * 2 * head_bytes * found["kv_page_tokens"]
    assert found["kv_page_bytes"] == (page + 4095) // 4096 * 4096
    said = tallow("inspect", folder, "--kv", "q8").stdout.decode()
    assert ("keys F16, for they have biases" in said) == biases


def test_parallel_is_chosen_from_threads_and_memory(tallow, slow_model):
    def chosen(*flags):
        result = tallow("inspect", slow_model, "--json", *flags)
        return result.returncode, json.loads(result.stdout)["memory"]

    for threads, parallel in ((1, 8), (2, 16), (3, 24), (8, 64), (64, 64)):
        assert chosen("--threads", threads)[1]["parallel"] == parallel
    # One context fits beside what eight sequences take, but not beside what sixteen do.
    small = ("--threads", 8, "--context", 64)
    lines = chosen(*small, "--parallel", 16)[1]["lines"]
    limit = sum(size for name, size in lines.items() if not name.startswith("KV") and name != "constraints")
    limit += 32 << 20  # the least that constraints get
    code, memory = chosen(*small, "--memory-limit", limit)
    assert code == 0 and memory["parallel"] == 8 and memory["total_bytes"] <= limit
    assert chosen(*small, "--memory-limit", limit, "--parallel", 16)[0] == 4


def test_the_context_is_the_models_as_far_as_memory_allows(tallow, text_model, tmp_path):
    config = llama_config(hidden_size=512, intermediate_size=1024, num_hidden_layers=8, num_attention_heads=8,
                          num_key_value_heads=8, max_position_embeddings=131072, vocab_size=1024)
    (tmp_path / "config.json").write_text(json.dumps(config))

    def memory(*flags):
        return json.loads(tallow("inspect", tmp_path, "--json", "--threads", "1", *flags).stdout)["memory"]

    whole = memory("--memory-limit", "64GB")
    assert (whole["context_length"], whole["context_reason"]) == (131072, "the model's own")
    assert whole["limit_source"] == "--memory-limit" and whole["parallel"] == 8
    some = memory("--memory-limit", "2GB")  # 32 kB a token
    assert some["context_reason"] == "what memory holds of the model's own" and some["parallel"] == 8
    assert 4096 < some["context_length"] <= some["kv_pages"] * some["kv_page_tokens"] < 131072
    assert some["total_bytes"] <= 2e9 < some["total_bytes"] + 2 * some["kv_page_bytes"]
    longer = str(some["context_length"] + 2 * some["kv_page_tokens"])
    assert memory("--memory-limit", "2GB", "--parallel", "8", "--context", longer)["state"] == "refused"
    asked = memory("--memory-limit", "2GB", "--context", "300")
    assert (asked["context_length"], asked["context_reason"]) == (300, "as asked")
    pool = memory("--memory-limit", "64GB", "--kv-memory", "1GB")
    assert 4096 < pool["context_length"] <= pool["kv_pages"] * pool["kv_page_tokens"]
    own = tallow("inspect", text_model).stdout.decode()
    assert "context 1024 (the model's own)" in own


def test_inspect_without_weights(tallow, text_model, tmp_path):
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(text_model / name, tmp_path)
    found = json.loads(tallow("inspect", "--json", tmp_path).stdout)
    assert found["weights"]["state"] == "absent" and found["tokenizer"]["state"] == "understood"
    assert found["memory"]["total_bytes"] > 0
    (tmp_path / "tokenizer.json").unlink()
    result = tallow("inspect", tmp_path)
    assert result.returncode == 0 and b"tokenizer: absent" in result.stdout


@pytest.mark.parametrize("fields, said", [
    ({"architectures": ["MambaForCausalLM"]}, "MambaForCausalLM"),
    ({"quantization_config": {"quant_method": "gptq"}}, "gptq"),
    ({"hidden_act": "gelu"}, "gelu"),
    ({"num_key_value_heads": 3}, "num_key_value_heads"),
    ({"rope_scaling": {"rope_type": "spiral", "factor": 2.0}}, "spiral"),
    ({"hidden_size": 0}, "hidden_size"),
])
def test_inspect_says_what_is_refused(tallow, tmp_path, fields, said):
    config = llama_config(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
                          num_key_value_heads=2, max_position_embeddings=256, vocab_size=512)
    (tmp_path / "config.json").write_text(json.dumps(config | fields))
    result = tallow("inspect", tmp_path)
    assert result.returncode == 3 and said in one_line(result)
    assert b"config: refused" in result.stdout
    found = tallow("inspect", "--json", tmp_path)
    assert found.returncode == 3 and said in json.loads(found.stdout)["config"]["reason"]


def test_inspect_refuses_what_is_not_there_or_does_not_fit(tallow, text_model, tmp_path):
    missing = tallow("inspect", tmp_path / "nowhere")
    assert missing.returncode == 3 and "nowhere" in one_line(missing)
    small = tallow("inspect", text_model, "--memory-limit", "1MiB")
    assert small.returncode == 4 and b"memory: refused" in small.stdout and "1.0 MiB" in one_line(small)
    shutil.copytree(text_model, tmp_path / "cut")
    (tmp_path / "cut" / "model.safetensors").chmod(0o600)
    os.truncate(tmp_path / "cut" / "model.safetensors", 1000)
    cut = tallow("inspect", tmp_path / "cut")
    assert cut.returncode == 3 and b"weights: refused" in cut.stdout


def test_gguf_file_without_a_model_is_a_tokenizer(tallow):
    path = pathlib.Path(__file__).parents[1] / "gguf" / "llama2-style.gguf"
    ids = tallow("tokenize", "--model", path, input=b"Hello").stdout
    assert ids and tallow("detokenize", "--model", path, input=ids).stdout.strip() == b"Hello"
    refused = tallow("generate", "--model", path, "-p", "Hello")
    assert refused.returncode == 3 and b"llama.embedding_length is missing" in refused.stderr


@pytest.mark.skipif("TALLOW_FIXTURES" not in os.environ, reason="published configs are not here")
def test_inspect_published_configs(tallow):
    configs = pathlib.Path(os.environ["TALLOW_FIXTURES"]).resolve() / "configs"
    understood = {"Llama-2-7b-chat", "Meta-Llama-3-8B-Instruct", "Meta-Llama-3.1-8B-Instruct", "Llama-3.2-1B-Instruct",
                  "TinyLlama-1.1B-Chat-v1.0", "TinyLlama-1.1B-Chat-v1.0.transformers4.56",
                  "TinyLlama-1.1B-Chat-v1.0.transformers5", "1layer-llama", "1layer-mistral",
                  "Mistral-7B-Instruct-v0.2", "Mistral-7B-Instruct-v0.3", "Qwen1.5-0.5B-Chat", "Qwen2-1.5B-Instruct",
                  "Qwen2.5-0.5B-Instruct", "Qwen3-4B", "Phi-3-mini-4k-instruct"}
    for folder in sorted(configs.iterdir()):
        result = tallow("inspect", folder)
        assert result.returncode == (0 if folder.name in understood else 3), (folder.name, result.stderr)


# ---- tokenize, detokenize ----


def ids_of(tallow, model, text, *flags):
    result = tallow("tokenize", "--model", model, "--json", *flags, input=text.encode())
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_tokenize_and_back(tallow, text_model, text):
    ids = ids_of(tallow, text_model, text)
    back = tallow("detokenize", "--model", text_model, input=" ".join(map(str, ids)).encode())
    assert back.returncode == 0 and back.stdout.decode() == text


def test_tokenize_flags(tallow, text_model):
    bos = json.loads((text_model / "config.json").read_text())["bos_token_id"]
    with_bos, without = ids_of(tallow, text_model, "Hi"), ids_of(tallow, text_model, "Hi", "--no-special")
    assert with_bos == [bos] + without
    assert ids_of(tallow, text_model / "tokenizer.json", "Hi", "--no-special") == without
    plain = tallow("tokenize", "--model", text_model, input=b"Hi").stdout.decode()
    assert plain == " ".join(map(str, with_bos)) + "\n"
    eos_text = json.loads((text_model / "tokenizer_config.json").read_text())["eos_token"]
    eos = ids_of(tallow, text_model, eos_text, "--no-special", "--parse-special")
    assert len(eos) == 1
    assert eos[0] not in ids_of(tallow, text_model, eos_text, "--no-special")
    shown = tallow("detokenize", "--model", text_model, "--keep-special", input=str(eos[0]).encode())
    assert shown.stdout.decode() == eos_text
    assert tallow("detokenize", "--model", text_model, input=json.dumps(eos).encode()).stdout == b""
    assert json.loads(tallow("detokenize", "--model", text_model, "--json", input=b"").stdout) == ""


def test_tokenize_refuses(tallow, text_model, tmp_path):
    bad = tallow("tokenize", "--model", text_model, input=b"\xff\xfe")
    assert bad.returncode == 2 and "UTF-8" in one_line(bad)
    missing = tallow("tokenize", "--model", tmp_path, input=b"x")
    assert missing.returncode == 3 and "tokenizer.json" in one_line(missing)
    for ids in (b"1 x", b"-1", b"99999999999", b"1.5"):
        refused = tallow("detokenize", "--model", text_model, input=ids)
        assert refused.returncode == 2 and "token ids are numbers" in one_line(refused)
    outside = tallow("detokenize", "--model", text_model, input=b"2000000000")
    assert outside.returncode == 2


# ---- paths ----


def test_every_form_of_path_means_the_model(tallow, text_model, tmp_path):
    store = tmp_path / "store"
    shutil.copytree(text_model, store)
    (store / "model.safetensors").rename(store / "sha256-0123")  # its first bytes tell
    text = tmp_path / "text"
    text.write_bytes(HELD_OUT.read_bytes()[:3000])
    ids, found = [], []
    for path in (text_model, text_model / "model.safetensors", store, store / "sha256-0123"):
        ids.append(tallow("tokenize", "--model", path, input=b"The capital").stdout)
        found.append(perplexity(tallow, path, text)["perplexity"])
        assert tallow("inspect", path).returncode == 0
    assert ids[0] and found[0] > 1
    assert ids == ids[:1] * 4 and found == found[:1] * 4


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
                                  "model.safetensors", "model.safetensors.index.json", "model.gguf"])
def test_a_git_lfs_pointer_is_called_that(tallow, text_model, tmp_path, name):
    folder = tmp_path / "clone"
    shutil.copytree(text_model, folder)
    if name in ("model.safetensors.index.json", "model.gguf"):
        (folder / "model.safetensors").unlink()
    pointer = folder / name
    pointer.unlink(missing_ok=True)
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 12345\n" % ("0" * 64))
    result = tallow("generate", "--model", folder, "-p", "x", "--max-tokens", "1")
    line = one_line(result)
    assert result.returncode == 3 and "%s: is a Git LFS pointer" % pointer in line and "git lfs pull" in line
    inspected = tallow("inspect", folder)
    assert inspected.returncode == 3 and "Git LFS pointer" in one_line(inspected)


# ---- logits ----


def read_npy(data):
    assert data[:8] == b"\x93NUMPY\x01\x00"
    n_header = int.from_bytes(data[8:10], "little")
    assert (10 + n_header) % 64 == 0
    header = ast.literal_eval(data[10:10 + n_header].decode())
    assert header["descr"] == "<f4" and header["fortran_order"] is False
    rows, columns = header["shape"]
    values = struct.unpack("<%df" % (rows * columns), data[10 + n_header:])
    return [values[i * columns:(i + 1) * columns] for i in range(rows)]


def logits(tallow, model, ids, *flags):
    result = tallow("logits", "--model", model, "--tokens", ",".join(map(str, ids)), "--npy", "-", *flags)
    assert result.returncode == 0, result.stderr
    return read_npy(result.stdout)


@pytest.fixture(scope="module")
def prompt_ids(text_model):
    vocab_size = json.loads((text_model / "config.json").read_text())["vocab_size"]
    return [1] + [(i * 7919 + 13) % vocab_size for i in range(299)]


def test_logits_as_text_and_as_array(tallow, text_model, prompt_ids, tmp_path):
    ids = prompt_ids[:5]
    rows = logits(tallow, text_model, ids, "--all")
    assert len(rows) == 5
    last = logits(tallow, text_model, ids)
    assert last == rows[4:]
    text = tallow("logits", "--model", text_model, "--tokens", " ".join(map(str, ids)), "--all").stdout.decode()
    parsed = [[float(x) for x in line.split()] for line in text.splitlines()]
    assert [struct.pack("<%df" % len(r), *r) for r in parsed] == [struct.pack("<%df" % len(r), *r) for r in rows]
    path = tmp_path / "out.npy"
    written = tallow("logits", "--model", text_model, "--tokens", ",".join(map(str, ids)), "--all", "--npy", path)
    assert written.returncode == 0 and written.stdout == b"" and read_npy(path.read_bytes()) == rows


def test_prefill_slices_give_the_same_bits(tallow, text_model, slow_model, prompt_ids):
    for model in (text_model, slow_model):
        whole = logits(tallow, model, prompt_ids, "--all")
        assert logits(tallow, model, prompt_ids, "--all", "--slice", "128") == whole
        assert logits(tallow, model, prompt_ids, "--all", "--threads", "1") == whole


def test_decode_agrees_with_prefill(tallow, text_model, prompt_ids):
    whole = logits(tallow, text_model, prompt_ids, "--all")
    stepped = logits(tallow, text_model, prompt_ids, "--all", "--decode-from", "150")
    assert stepped[:150] == whole[:150]
    # Prefill and decode may round activations differently (bf16 products); logits here are within about +-20.
    worst = max(abs(a - b) for x, y in zip(stepped, whole) for a, b in zip(x, y))
    assert worst < 0.5
    exact = [logits(tallow, text_model, prompt_ids, "--all", "--compute", "f32", *flags)
             for flags in ([], ["--decode-from", "0"])]
    assert max(abs(a - b) for x, y in zip(*exact) for a, b in zip(x, y)) < 0.02  # the KV cache is f16


def test_instruction_sets_agree(tallow, text_model, prompt_ids):
    ids = prompt_ids[:64]
    reference = logits(tallow, text_model, ids, "--all", "--isa", "scalar", "--compute", "f32")
    for isa in ("avx2", "avx2vnni", "avx512bw", "avx512vnni", "avx512", "amx", "neon"):
        result = tallow("logits", "--model", text_model, "--tokens", ",".join(map(str, ids)), "--npy", "-", "--all",
                        "--isa", isa, "--compute", "f32")
        if result.returncode == 2:
            assert f"--isa {isa} needs" in one_line(result)  # this CPU lacks it, and that is said
            continue
        rows = read_npy(result.stdout)
        assert max(abs(a - b) for x, y in zip(rows, reference) for a, b in zip(x, y)) < 0.02


def test_logits_refuses(tallow, text_model):
    outside = tallow("logits", "--model", text_model, "--tokens", "1,2000000")
    assert outside.returncode == 2 and "vocabulary" in one_line(outside)
    long = tallow("logits", "--model", text_model, "--tokens", ",".join(["1"] * 5000))
    assert long.returncode == 2 and "max_position_embeddings" in one_line(long)


@pytest.mark.skipif("TALLOW_FIXTURES" not in os.environ, reason="published models are not here")
def test_logits_of_a_published_model(tallow):
    """Against a float64 forward of the same weights; f32 throughout, so 1e-3 is many times the rounding."""
    folder = pathlib.Path(os.environ["TALLOW_FIXTURES"]).resolve() / "models" / "stories260K"
    golden = json.loads((folder / "golden_greedy.json").read_text())
    expected = golden["logits_first_positions"]
    ids = golden["ids"][:len(expected)]
    for flags in ([], ["--decode-from", "0"], ["--isa", "scalar"]):
        rows = logits(tallow, folder, ids, "--all", *flags)
        assert max(abs(a - b) for x, y in zip(rows, expected) for a, b in zip(x, y)) < 1e-3


# ---- sharded and other layouts through the command line ----


def test_a_model_of_zeros_is_uniform(tallow, text_model, tmp_path):
    config = llama_config(hidden_size=64, intermediate_size=128, num_hidden_layers=1, num_attention_heads=4,
                          num_key_value_heads=2, max_position_embeddings=128, vocab_size=2048)
    folder = write_model(tmp_path / "zeros", config, text_model, None)
    assert logits(tallow, folder, [1, 2, 3]) == [tuple([0.0] * 2048)]


# ---- perplexity ----

HELD_OUT = pathlib.Path(__file__).parents[1] / "text" / "held-out.txt"


def perplexity(tallow, model, path, *flags):
    result = tallow("perplexity", model, path, "--json", *flags)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_perplexity_is_that_of_the_logits(tallow, text_model, tmp_path):
    text = HELD_OUT.read_text()[:400]
    path = tmp_path / "text"
    path.write_text(text)
    ids = ids_of(tallow, text_model, text)
    loss = 0.0
    rows = logits(tallow, text_model, ids, "--all")
    for row, following in zip(rows, ids[1:]):
        top = max(row)
        loss += top + math.log(sum(math.exp(x - top) for x in row)) - row[following]
    found = perplexity(tallow, text_model, path)
    assert found["tokens"] == len(ids) - 1
    assert found["perplexity"] == pytest.approx(math.exp(loss / found["tokens"]), rel=1e-5)
    with open(path, "rb") as standard_input:
        again = tallow("perplexity", "--model", text_model, "--json", input=standard_input.read())
    assert json.loads(again.stdout)["perplexity"] == found["perplexity"]


def test_perplexity_windows_score_every_token_once(tallow, text_model, tmp_path):
    path = tmp_path / "text"
    path.write_text(HELD_OUT.read_text()[:1500])
    whole = perplexity(tallow, text_model, path, "--context", "1000")
    cut = perplexity(tallow, text_model, path, "--context", "64")
    assert cut["tokens"] == whole["tokens"] and cut["window"] < 64 < whole["window"]
    assert 0.5 < cut["perplexity"] / whole["perplexity"] < 2


@pytest.mark.parametrize("weights, ratio, divergence", [("f32", 1e-9, 1e-9), ("bf16", 1e-3, 1e-4), ("f16", 1e-3, 1e-4),
                                                        ("q8", 5e-3, 2e-3), ("q4", 4e-2, 3e-2)])
def test_weight_types_stay_near_f32(tallow, text_model, weights, ratio, divergence, tmp_path):
    path = tmp_path / "text"
    path.write_text(HELD_OUT.read_text()[:12000])
    exact = ("--compute", "f32", "--kv", "f32") if weights == "f32" else ()
    found = perplexity(tallow, text_model, path, "--weights", weights, "--reference", *exact)
    assert abs(found["perplexity"] / found["reference_perplexity"] - 1) <= ratio
    assert 0 <= found["divergence_mean"] <= divergence
    assert found["same_top"] > 0.95


@pytest.mark.parametrize("exact, low, high", [
    (("--compute", "f32", "--kv", "f32"), 0, 1e-9), (("--compute", "fine"), 0, 2e-5), (("--compute", "fast"), 2e-5, 2e-3)])
def test_same_weights_leave_the_arithmetic_alone(tallow, text_model, exact, low, high, tmp_path):
    path = tmp_path / "text"
    path.write_text(HELD_OUT.read_text()[:2000])
    found = perplexity(tallow, text_model, path, "--weights", "q4", "--same-weights", *exact)
    assert low <= found["divergence_mean"] <= high
    assert perplexity(tallow, text_model, path, "--weights", "q4", "--reference")["divergence_mean"] > 5 * high


@pytest.mark.parametrize("isa, weights", [("scalar", "q4"), ("scalar", "q8"), ("avx2", "q4"), ("avx512bw", "q4")])
def test_what_is_below_8_bits_is_shared_by_default(tallow, text_model, isa, weights, tmp_path):
    """In the set that all are compared with, whatever the CPU is, and without VNNI, where low halves are shorter."""
    path = tmp_path / "text"
    path.write_text(HELD_OUT.read_text()[:600])
    lacking = tallow("inspect", text_model, "--isa", isa)
    if lacking.returncode == 2:
        assert f"--isa {isa} needs" in one_line(lacking)  # this CPU lacks it, and that is said
        return
    fast, auto, fine = (perplexity(tallow, text_model, path, "--weights", weights, "--same-weights", "--isa", isa, "--compute",
                                   compute)["divergence_mean"] for compute in ("fast", "auto", "fine"))
    assert fine < auto < fast / 10


def test_perplexity_refuses(tallow, text_model, tmp_path):
    for arguments, said in ((("perplexity",), "a model is missing"), (("perplexity", text_model, tmp_path / "none"), "cannot read"),
                            (("perplexity", text_model, "--context", "1"), "--context must hold")):
        result = tallow(*arguments, input=b"some words here")
        assert result.returncode == 2 and said in one_line(result)


# ---- bench ----


def bench(tallow, *arguments, model=None):
    result = tallow("bench", "--model", model or shipped_model(), "--quick", *arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout.decode()


def test_bench_measures_every_weight_type(tallow, tmp_path):
    chart = tmp_path / "roofline.svg"
    found = json.loads(bench(tallow, "--json", "--weights", "bf16,q8", "--prefill", "32,64", "--depths", "0,128,4096",
                             "--streams", "1,3", "--repeats", "2", "--plot", str(chart)))
    assert found["ceilings"]["read_gb_s"] > 0 and found["ceilings"]["sgemm_gflop_s"] > 0
    assert found["pool_region_us"] > 0 and found["threads"] >= 1
    assert [model["weights"] for model in found["models"]] == ["BF16", "Q8"]
    for model in found["models"]:
        shapes = [(row["phase"], row["tokens"], row["streams"]) for row in model["results"]]
        assert shapes == [("prefill", 32, 1), ("prefill", 64, 1), ("decode", 0, 1), ("decode", 128, 1), ("decode", 0, 3)]
        for row in model["results"]:
            assert row["samples"] == 2 and 0 < row["min"] <= row["tokens_per_second"] <= row["max"]
            assert row["gb_per_step"] > 0 and row["gop_per_step"] > 0 and row["of_ceiling"] > 0
            assert row["bound"] in ("memory", "arithmetic")
        # Eight bits take half of sixteen; deeper is more to read; a longer prompt is more to compute.
        assert [row["tokens"] for row in model["left_out"]] == [4096] and "1024" in model["left_out"][0]["reason"]
        assert model["results"][3]["gb_per_step"] > model["results"][2]["gb_per_step"]
        assert model["results"][1]["gop_per_step"] > 1.9 * model["results"][0]["gop_per_step"]
        if found["threads"] > 1:
            assert model["thread_scaling"]["prefill_tokens"] == 64 and model["thread_scaling"]["ratio"] > 0
        else:
            assert model["thread_scaling"] is None
    halved = [model["results"][2]["gb_per_step"] for model in found["models"]]
    assert 0.5 < halved[1] / halved[0] < 0.6
    check_chart(chart, found)


def check_chart(path, found):
    """Well-formed, with a mark for each row, and no text on another or beyond the edge."""
    root = xml.etree.ElementTree.parse(path).getroot()
    name = "{http://www.w3.org/2000/svg}"
    n_rows = sum(len(model["results"]) for model in found["models"])
    assert len(root.findall(".//%stitle" % name)) == n_rows
    boxes = []
    for text in root.iter(name + "text"):
        if text.get("class") == "label":
            width = 6.4 * len(text.text)
            boxes.append((float(text.get("x")) - width / 2, float(text.get("y")) - 10, width, 13))
    assert boxes
    for i, (x, y, width, height) in enumerate(boxes):
        assert 0 < x and x + width < 1080 and 0 < y < 700
        for left, top, other_width, other_height in boxes[:i]:
            assert x >= left + other_width or left >= x + width or y >= top + other_height or top >= y + height


def test_bench_prints_a_table(tallow, tmp_path):
    """Of a GGUF file."""
    tensors = gguf_writer.tensors_of(shipped_model(), lambda name: "Q8_0" if "ffn" in name else "BF16")
    model = gguf_writer.write(tmp_path / "model.gguf", gguf_writer.values_of(shipped_model()), tensors)
    text = bench(tallow, "--prefill", "32", "--depths", "0,2000", "--streams", "2", "--repeats", "1", model=model)
    assert "\nweights Q8_0, kernels" in text
    assert "memory read" in text and "per parallel region" in text
    assert re.search(r"^prefill +32 +1 +\d+\.\d\d ", text, re.M) and re.search(r"^decode +0 +2 ", text, re.M)
    assert "left out: decode, 2000 tokens" in text


@pytest.mark.parametrize("arguments, said", [
    (["--weights", "bf16,q5"], "--weights must be one or more of auto|f32"),
    (["--prefill", "32,0"], "--prefill must be at most 16 integers from 1"),
    (["--depths", "1,,2"], "--depths must be"),
    (["--streams", "65"], "--streams must be"),
    (["--plot", "/nowhere/chart.svg"], "--plot /nowhere/chart.svg: cannot be written"),
])
def test_bench_refuses(tallow, arguments, said):
    result = tallow("bench", "--model", str(shipped_model()), *arguments)
    assert result.returncode == 2 and said in one_line(result)
