"""Generation from end to end: what the worker being replaced was tested for, what the text means, and known texts."""

import json
import os
import pathlib
import shutil
import subprocess
import time

import pytest

from conftest import Worker, clean_environment, program, shipped_model
from http_client import WAIT_S, execute, post, text_of

STORY = "Once upon a time"


def models():
    """The shipped model always, and one more on request."""
    named = os.environ.get("TALLOW_TEST_MODEL_PATH")
    return [shipped_model()] + ([pathlib.Path(named).resolve()] if named else [])


@pytest.fixture(scope="module", params=models(), ids=lambda path: path.name)
def port(request, tmp_path_factory):
    one = Worker([], request.param, tmp_path_factory.mktemp("generate") / "log")
    yield one.port
    assert one.stop() == 0, one.log()


@pytest.fixture
def is_shipped(request):
    return request.node.callspec.params["port"] == shipped_model()


@pytest.fixture(scope="module")
def shipped_port(tmp_path_factory):
    one = Worker([], shipped_model(), tmp_path_factory.mktemp("shipped") / "log")
    yield one.port
    one.stop()


def ask(port, prompt, **fields):
    events = execute(port, dict({"prompt": prompt, "max_tokens": 60, "temperature": 0}, **fields))
    assert events[-1][0] == "end", events[-1]
    return text_of(events), events[-1][1]


# ---- the five cases ----


def test_greedy_is_deterministic(port):
    first, _ = ask(port, STORY)
    assert first.strip()
    for seed in (1, 2):
        assert ask(port, STORY, seed=seed)[0] == first


def test_temperature_with_different_seeds(port):
    texts = {seed: ask(port, STORY, temperature=1.2, seed=seed)[0] for seed in range(6)}
    assert len(set(texts.values())) > 1
    for seed in (0, 5):
        assert ask(port, STORY, temperature=1.2, seed=seed)[0] == texts[seed]


def test_a_hundred_tokens_and_their_speed(port, capsys):
    start = time.monotonic()
    text, end = ask(port, STORY, max_tokens=100, ignore_eos=True)
    elapsed = time.monotonic() - start
    assert end["tokens_out"] == 100 and end["stop_reason"] == "max_tokens" and text
    timings = end["timings"]
    assert timings["tokens_per_second"] > 0 and timings["decode_ms"] <= elapsed * 1000 + 50
    with capsys.disabled():
        print("\n  100 tokens in %.0f ms: %.1f tokens/s, first after %.1f ms" % (
            elapsed * 1000, timings["tokens_per_second"], timings["time_to_first_token_ms"]))


def test_eos_stops(port, is_shipped):
    """Some prompt comes to its natural end; with ignore_eos the same one goes on."""
    for prompt in ("The capital of France is", "Hello", STORY, "1 + 1 ="):
        text, end = ask(port, prompt, max_tokens=500)
        if end["stop_reason"] == "eos":
            break
    if end["stop_reason"] != "eos" and not is_shipped:
        pytest.skip("this model was not taught to end")
    assert end["stop_reason"] == "eos" and end["tokens_out"] < 500
    longer, over = ask(port, prompt, max_tokens=end["tokens_out"] + 5, ignore_eos=True)
    assert over["stop_reason"] in ("max_tokens", "context") and over["tokens_out"] == end["tokens_out"] + 5
    assert longer.startswith(text)


def test_several_prompts_in_sequence(port):
    prompts = [STORY, "The capital of France is", "Hello", "A list of numbers: 1, 2, 3", STORY]
    answers = [ask(port, prompt, max_tokens=30) for prompt in prompts]
    assert all(end["tokens_out"] > 0 for _, end in answers)
    assert answers[0][0] == answers[-1][0]  # what came between left nothing behind


# ---- what the shipped model says ----


@pytest.mark.parametrize("prompt, expected", [
    ("The capital of France is", " Paris."),
    ("The capital of Japan is", " Tokyo."),
    ("Question: What is the capital of Germany?\nAnswer:", " The capital of Germany is Berlin."),
    ("2 + 2 =", " 4"),
])
def test_exact_answers(shipped_port, prompt, expected):
    text, end = ask(shipped_port, prompt)
    assert text.rstrip("\n") == expected and end["stop_reason"] == "eos"


def test_a_story_is_one(shipped_port):
    text, end = ask(shipped_port, STORY, max_tokens=400)
    assert text.startswith(", there was a") and text.count(".") >= 3
    assert end["stop_reason"] == "eos"
    assert "\ufffd" not in text


def test_stop_sequence_cuts_the_story(shipped_port):
    whole, _ = ask(shipped_port, STORY, max_tokens=400)
    cut, end = ask(shipped_port, STORY, max_tokens=400, stop=["nowhere in it", ". "])
    assert end["stop_reason"] == "stop_sequence" and end["stop_sequence_matched"] == ". "
    assert cut == whole[:whole.index(". ")]


def test_a_stop_string_may_be_a_control_token(shipped_port):
    """</s> gives no text; with ignore_eos it is a token like others, and the stop string still means it."""
    text, end = ask(shipped_port, "The capital of France is")
    assert end["stop_reason"] == "eos"
    same, stopped = ask(shipped_port, "The capital of France is", ignore_eos=True, stop=["nowhere in it", "</s>"])
    assert stopped["stop_reason"] == "stop_sequence" and stopped["stop_sequence_matched"] == "</s>"
    assert same == text and stopped["tokens_out"] == end["tokens_out"] + 1


# ---- the command ----


def test_generate_equals_the_worker(tallow, text_model, shipped_port):
    text, _ = ask(shipped_port, STORY, max_tokens=80)
    result = tallow("generate", "--model", text_model, "-p", STORY, "--temperature", "0", "--max-tokens", "80")
    assert result.returncode == 0 and result.stdout.decode() == text + "\n" and result.stderr == b""
    sampled, _ = ask(shipped_port, STORY, max_tokens=40, temperature=1, seed=2**63 + 1, top_k=40, top_p=0.9)
    flags = ["--max-tokens", "40", "--seed", str(2**63 + 1), "--top-k", "40", "--top-p", "0.9"]
    result = tallow("generate", "--model", text_model, *flags, input=STORY.encode())  # the prompt from standard input
    assert result.stdout.decode() == sampled + "\n"


def test_generate_stats_and_stops(tallow, text_model):
    result = tallow("generate", "--model", text_model, "-p", STORY, "--temperature", "0", "--stats", "--stop", ". ",
                    "--stop", "zebra")
    assert "." not in result.stdout.decode()
    stats = result.stderr.decode()
    assert "tokens/s" in stats and "ended by: stop_sequence" in stats and "seed " in stats


def test_where_the_text_cannot_go(text_model):
    """A reader that left is no error; a full disk is one."""
    command = program() + ["generate", "--model", str(text_model), "-p", STORY, "--max-tokens", "2"]
    reader, writer = os.pipe()
    os.close(reader)
    with open("/dev/full", "wb") as full, os.fdopen(writer, "wb") as left:
        ended = [subprocess.run(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, env=clean_environment(), check=False,
                                timeout=WAIT_S) for stdout in (full, left)]
    assert ended[0].returncode == 70 and ended[0].stderr == b"tallow: cannot write to standard output: No space left on device\n"
    assert ended[1].returncode == 0 and ended[1].stderr == b""


def test_generate_says_what_is_wrong(tallow, text_model, tmp_path):
    empty = tallow("generate", "--model", text_model, "-p", "")
    assert empty.returncode == 2 and b"prompt is empty" in empty.stderr
    long = tallow("generate", "--model", text_model, "--context", "64", "-p", "word " * 200)
    assert long.returncode == 2 and b"context length is 64" in long.stderr
    missing = tallow("generate", "--model", tmp_path, "-p", "x")
    assert missing.returncode == 3 and missing.stdout == b""
    small = tallow("generate", "--model", text_model, "-p", "x", "--memory-limit", "1MiB")
    assert small.returncode == 4


def test_text_that_cannot_be_decoded_is_an_error(tallow, text_model, tmp_path):
    """A decoder that makes a hundred million letters of one: the answer ends with an error, never with text left out."""
    for file in text_model.iterdir():
        shutil.copy(file, tmp_path)
    tokenizer = json.loads((tmp_path / "tokenizer.json").read_text())
    grow = {"type": "Replace", "pattern": {"String": "e"}, "content": "e" * 10}
    tokenizer["decoder"]["decoders"] = [grow] * 8 + tokenizer["decoder"]["decoders"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    flags = ["--model", tmp_path, "--temperature", "0", "--max-tokens", "80"]
    answer = tallow("generate", *flags, "-p", "A story: ")
    assert answer.returncode == 70 and b"decoder gives up" in answer.stderr and b"e" not in answer.stdout
    prompt = tallow("generate", *flags, "-p", STORY)
    assert prompt.returncode == 2 and b"the tokenizer's decoder makes more than" in prompt.stderr


# ---- the same bits, whatever happens around ----


@pytest.mark.parametrize("flags", [["--threads", "1"], ["--parallel", "1"], ["--max-gap-ms", "1"], ["--context", "300"]])
def test_options_do_not_change_the_text(tallow, text_model, shipped_port, flags, tmp_path):
    body = {"prompt": STORY + ", there was a cat. " * 10, "max_tokens": 60, "temperature": 0.8, "seed": 3}
    expected = text_of(execute(shipped_port, body))
    other = Worker(flags, text_model, tmp_path / "log")
    try:
        assert text_of(execute(other.port, body)) == expected
    finally:
        other.stop()


@pytest.mark.skipif("TALLOW_FIXTURES" not in os.environ, reason="published models are not here")
def test_known_text_of_a_published_model(tallow, tmp_path):
    """karpathy's stories260K: the text that llama2.c prints."""
    folder = pathlib.Path(os.environ["TALLOW_FIXTURES"]).resolve() / "models" / "stories260K"
    golden = json.loads((folder / "golden_greedy.json").read_text())
    for flags in ([], ["--isa", "scalar"], ["--compute", "f32", "--threads", "1"]):
        one = Worker(flags, folder, tmp_path / "log")
        try:
            # The golden prompt is BOS alone; "Once" is the first token that follows it.
            answer = post(one.port, "/execute", {"prompt": "Once upon a time", "temperature": 0, "stream": False,
                                                 "max_tokens": len(golden["ids"]) - 5}).json()
        finally:
            one.stop()
        assert ("Once upon a time" + answer["text"]).startswith(golden["text"])
