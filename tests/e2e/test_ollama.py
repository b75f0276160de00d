"""Ollama's API by raw HTTP: lines and objects, options, what is accepted, what is refused and how."""

import json
import re

import pytest

from echo_template import echo_worker
from http_client import Stream, get, post, request, wait_until

CHAT = "/api/chat"
GENERATE = "/api/generate"
PROMPT = "Once upon a time"
HELLO = [{"role": "user", "content": PROMPT}]
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z"
GREEDY = {"temperature": 0, "num_predict": 8, "repeat_penalty": 1}


@pytest.fixture(scope="module")
def port(text_model, tmp_path_factory):
    """A worker with the shipped model, which has a chat template and 1024 tokens of context."""
    from conftest import Worker

    one = Worker([], text_model, tmp_path_factory.mktemp("ollama") / "log")
    yield one.port
    assert one.stop() == 0, one.log()


def chat(port, messages=HELLO, options=None, **fields):
    return post(port, CHAT, dict({"model": "any", "messages": messages, "stream": False,
                                  "options": dict(GREEDY, **(options or {}))}, **fields))


def generate(port, prompt=PROMPT, options=None, **fields):
    return post(port, GENERATE, dict({"model": "any", "prompt": prompt, "stream": False,
                                      "options": dict(GREEDY, **(options or {}))}, **fields))


def good(answer):
    assert answer.status == 200, answer.body
    return answer.json()


def refused(answer, status=400):
    assert answer.status == status, answer.body
    body = answer.json()
    assert set(body) == {"error"} and isinstance(body["error"], str), body
    return body["error"]


def lines(answer):
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.body.endswith(b"\n")
    return [json.loads(line) for line in answer.body.decode().splitlines()]


def check_end(answer):
    assert answer["done"] is True and re.fullmatch(TIME, answer["created_at"]) and answer["model"] == "tallow-tiny"
    for name in ("total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count", "eval_duration"):
        assert type(answer[name]) is int and answer[name] >= 0, name
    assert answer["total_duration"] >= answer["prompt_eval_duration"] + answer["eval_duration"] - 2


def template_prompt(port, messages, **fields):
    return good(post(port, "/apply-template", dict({"messages": messages}, **fields)))["prompt"]


# ---- answers ----


def test_whole_answers(port):
    plain = good(post(port, "/v1/chat/completions", {"messages": HELLO, "max_tokens": 8, "temperature": 0}))
    said = plain["choices"][0]["message"]["content"]
    answer = good(chat(port))
    check_end(answer)
    assert answer["message"] == {"role": "assistant", "content": said} and answer["done_reason"] == "length"
    assert answer["eval_count"] == 8 and answer["prompt_eval_count"] == plain["usage"]["prompt_tokens"]
    answer = good(generate(port))
    check_end(answer)
    assert answer["response"] == said and "message" not in answer


def test_streams_are_lines_and_the_default(port):
    for path, body in ((CHAT, {"messages": HELLO}), (GENERATE, {"prompt": PROMPT})):
        body["options"] = GREEDY
        whole = good(post(port, path, dict(body, stream=False)))
        told = lines(post(port, path, body))
        assert [line["done"] for line in told] == [False] * (len(told) - 1) + [True]
        check_end(told[-1])
        assert told[-1]["done_reason"] == whole["done_reason"] and told[-1]["eval_count"] == whole["eval_count"]
        assert all(re.fullmatch(TIME, line["created_at"]) and line["model"] == "tallow-tiny" for line in told)
        if path == CHAT:
            assert all(line["message"]["role"] == "assistant" for line in told)
            assert "".join(line["message"]["content"] for line in told) == whole["message"]["content"]
        else:
            assert "".join(line["response"] for line in told) == whole["response"]
            assert told[-1]["response"] == ""


def test_system_raw_and_continuing(port):
    def text(prompt):
        return good(post(port, "/v1/completions", {"prompt": prompt, "max_tokens": 8, "temperature": 0}))["choices"][0]["text"]

    system = [{"role": "system", "content": "Be nice"}] + HELLO
    assert good(generate(port, system="Be nice"))["response"] == text(template_prompt(port, system))
    assert good(chat(port, system))["message"]["content"] == text(template_prompt(port, system))
    assert good(generate(port, raw=True))["response"] == text(PROMPT)
    said = HELLO + [{"role": "assistant", "content": "There was"}]
    assert good(chat(port, said))["message"]["content"] == text(template_prompt(port, HELLO) + "There was")


def test_log_probabilities(port):
    """As OpenAI's route has them; in a stream each stands in the line that its token's text does."""
    plain = good(post(port, "/v1/chat/completions", {"messages": HELLO, "max_tokens": 8, "temperature": 0, "logprobs": True,
                                                     "top_logprobs": 3}))["choices"][0]["logprobs"]["content"]
    for ask, fields in ((chat, {}), (generate, {}), (generate, {"raw": True})):
        whole = good(ask(port, logprobs=True, top_logprobs=3, **fields))
        items = whole["logprobs"]
        assert len(items) == 8 and all(len(item["top_logprobs"]) == 3 and item["logprob"] <= 0 for item in items)
        text = whole["message"]["content"] if ask == chat else whole["response"]
        assert b"".join(bytes(item["bytes"]) for item in items).decode().strip() == text.strip()
        assert fields or items == plain
        told = lines(ask(port, stream=True, logprobs=True, top_logprobs=3, **fields))
        assert [item for line in told for item in line.get("logprobs", [])] == items and "logprobs" not in told[-1]
    assert [item["top_logprobs"] for item in good(chat(port, logprobs=True))["logprobs"]] == [[]] * 8
    for fields in ({}, {"logprobs": False}, {"top_logprobs": 3}, {"logprobs": None, "top_logprobs": None}):
        assert "logprobs" not in good(chat(port, **fields))
    assert "logprobs" not in good(chat(port, [], logprobs=True))
    # A text that is held back may be told later than its token.
    told = lines(chat(port, stream=True, logprobs=True, options={"stop": ["zzzz zzzz"]}))
    assert len([item for line in told for item in line.get("logprobs", [])]) == 8


def test_nothing_to_generate_loads(port):
    for body in ({"model": "x"}, {"model": "x", "messages": []}):
        answer = good(post(port, CHAT, body))
        assert answer["done"] is True and answer["done_reason"] == "load" and answer["message"]["content"] == ""
    for body in ({"model": "x"}, {"model": "x", "prompt": "", "keep_alive": "5m"}, {"prompt": "", "raw": True}):
        answer = good(post(port, GENERATE, body))
        assert answer["done"] is True and answer["done_reason"] == "load" and answer["response"] == ""
        assert re.fullmatch(TIME, answer["created_at"]) and answer["model"] == "tallow-tiny"


def test_options(port):
    capital = "The capital of France is"
    whole = good(generate(port, capital, {"num_predict": -1}))
    assert whole["done_reason"] == "stop"
    assert good(generate(port, capital, {"num_predict": 32000}))["response"] == whole["response"]
    stop = whole["response"][8:12]
    for value in (stop, [stop], ["\u0001never", stop]):
        cut = good(generate(port, capital, {"num_predict": -2, "stop": value}))
        assert cut["response"] == whole["response"].split(stop)[0] and cut["done_reason"] == "stop"
    fields = {"temperature": 1.3, "top_p": 0.9, "top_k": 30, "min_p": 0.01, "seed": 7, "repeat_penalty": 1.2, "repeat_last_n": -1}
    plain = good(post(port, "/execute", {
        "prompt": template_prompt(port, HELLO), "temperature": 1.3, "top_p": 0.9, "top_k": 30, "min_p": 0.01, "seed": 7,
        "repetition_penalty": 1.2, "max_tokens": 8, "stream": False}))
    assert good(generate(port, options=fields))["response"] == plain["text"]
    defaults = good(post(port, "/execute", {
        "prompt": template_prompt(port, HELLO), "temperature": 0.8, "top_p": 0.9, "top_k": 40, "seed": 9, "max_tokens": 8,
        "repetition_penalty": 1.1, "stream": False}))  # 64 tokens are all there are
    answer = good(post(port, GENERATE, {"prompt": PROMPT, "stream": False, "options": {"seed": 9, "num_predict": 8}}))
    assert answer["response"] == defaults["text"]
    assert len({good(generate(port, options={"temperature": 2, "seed": -1, "top_k": 0, "top_p": 1}))["response"]
                for _ in range(8)}) > 1


def test_what_the_worker_decides_is_accepted(port):
    plain = good(chat(port))["message"]
    more = chat(port, options={"num_ctx": 4096, "num_gpu": 99, "num_thread": 2, "num_keep": 5, "num_batch": 512, "main_gpu": 0,
                               "use_mmap": True, "unheard_of": []},
                keep_alive=-1, think=False, tools=[], format="", logprobs=False)
    assert good(more)["message"] == plain
    good(generate(port, template="", suffix="", images=[], context=[], system="", keep_alive=0))
    good(chat(port, tools=[{"type": "function", "function": {"name": "f", "parameters": 5}}], think="high"))
    good(chat(port, HELLO + [
        {"role": "assistant", "content": "", "thinking": "Hm", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}},
                                                                             {"function": {"name": "g", "arguments": "{"}}, 5]},
        {"role": "tool", "content": "x", "tool_name": "f"}]))


@pytest.mark.parametrize("fields, names", [
    ({"messages": "x"}, "messages"), ({"messages": ["x"]}, "messages[0]"), ({"messages": [{"role": "x", "content": "y"}]}, "role"),
    ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0]"), ({"messages": HELLO + [{"content": "x"}]}, "messages[1]"),
    ({"messages": [{"role": "user", "content": "x", "images": ["aGk="]}]}, "images"), ({"tools": {}}, "tools"),
    ({"tools": [{}]}, "tools"), ({"format": "yaml"}, "format"), ({"format": {"type": "thing"}}, "format"), ({"think": 5}, "think"),
    ({"stream": "no"}, "stream"), ({"model": 5}, "model"), ({"options": []}, "options"),
    ({"options": {"temperature": "hot"}}, "temperature"), ({"options": {"top_p": 2}}, "top_p"),
    ({"options": {"top_k": -2}}, "top_k"), ({"options": {"num_predict": 1.5}}, "num_predict"), ({"options": {"stop": 5}}, "stop"),
    ({"options": {"seed": "x"}}, "seed"), ({"options": {"mirostat": 1}}, "mirostat"), ({"options": {"repeat_penalty": 0}}, "repeat"),
    ({"options": {"repeat_last_n": -2}}, "repeat_last_n"), ({"logprobs": 1}, "logprobs"), ({"top_logprobs": 21}, "top_logprobs"),
])
def test_bad_fields_of_a_chat_are_named(port, fields, names):
    assert names in refused(post(port, CHAT, dict({"messages": HELLO}, **fields)))


@pytest.mark.parametrize("fields, names", [
    ({"prompt": 5}, "prompt"), ({"system": ["x"]}, "system"), ({"template": "{{ .Prompt }}"}, "template"), ({"suffix": "x"}, "suffix"),
    ({"images": ["aGk="]}, "images"), ({"context": [1, 2]}, "context"), ({"raw": 1}, "raw"), ({"format": 5}, "format"),
])
def test_bad_fields_of_generate_are_named(port, fields, names):
    assert names in refused(post(port, GENERATE, dict({"prompt": PROMPT}, **fields)))


# ---- models ----


def test_the_one_model_is_told(port, tmp_path):
    (tag,) = good(get(port, "/api/tags"))["models"]
    assert {"name", "model", "modified_at", "size", "digest", "details"} <= set(tag)
    assert tag["name"] == tag["model"] == "tallow-tiny" and tag["size"] > 0 and re.fullmatch("[0-9a-f]{64}", tag["digest"])
    assert {"parent_model", "format", "family", "families", "parameter_size", "quantization_level"} == set(tag["details"])
    assert tag["details"]["family"] == "llama" and re.fullmatch(TIME, tag["modified_at"])
    (running,) = good(get(port, "/api/ps"))["models"]
    assert {"name", "model", "size", "digest", "details", "expires_at", "size_vram", "context_length"} <= set(running)
    assert running["context_length"] == 1024 and running["digest"] == tag["digest"]
    show = good(post(port, "/api/show", {"model": "tallow-tiny"}))
    assert {"modelfile", "parameters", "template", "details", "model_info", "capabilities", "modified_at"} <= set(show)
    assert show["model_info"]["general.architecture"] == "llama" and show["model_info"]["llama.context_length"] == 1024
    assert "completion" in show["capabilities"] and good(post(port, "/api/show", {"name": "other"}))
    assert re.fullmatch(r"\d+\.\d+\.\d+", good(get(port, "/api/version"))["version"])


def test_tools_are_told_where_the_template_writes_them(port, text_model, tmp_path):
    assert good(post(port, "/api/show", {}))["capabilities"] == ["completion", "embedding"]
    with echo_worker(text_model, tmp_path) as other:
        assert good(post(other, "/api/show", {}))["capabilities"] == ["completion", "embedding", "tools"]


def test_vectors_are_those_of_openais_route(port):
    plain = good(post(port, "/v1/embeddings", {"input": ["Once upon", "a time"]}))
    answer = good(post(port, "/api/embed", {"model": "x", "input": ["Once upon", "a time"], "keep_alive": 5, "truncate": True}))
    assert answer["embeddings"] == [item["embedding"] for item in plain["data"]] and answer["model"] == "tallow-tiny"
    assert answer["prompt_eval_count"] == plain["usage"]["prompt_tokens"] and answer["total_duration"] > 0
    assert good(post(port, "/api/embed", {"input": "Once upon"}))["embeddings"] == answer["embeddings"][:1]
    for bad in ({}, {"input": 5}, {"input": [""]}, {"input": [[]]}):
        assert "input" in refused(post(port, "/api/embed", bad))
    assert "1024" in refused(post(port, "/api/embed", {"input": "word " * 3000}))


def test_the_older_route_gives_one_vector(port):
    vector = good(post(port, "/api/embed", {"input": "Once upon"}))["embeddings"][0]
    answer = good(post(port, "/api/embeddings", {"model": "x", "prompt": "Once upon", "options": {}, "keep_alive": "5m"}))
    assert answer == {"embedding": vector}
    for bad in ({}, {"input": "Once upon"}, {"prompt": ""}, {"prompt": ["Once upon"]}):
        assert "prompt" in refused(post(port, "/api/embeddings", bad))
    assert "1024" in refused(post(port, "/api/embeddings", {"prompt": "word " * 3000}))


def test_models_are_neither_brought_nor_taken(port):
    for method, path in (("POST", "/api/pull"), ("POST", "/api/push"), ("POST", "/api/create"), ("POST", "/api/copy"),
                         ("DELETE", "/api/delete")):
        assert "one model" in refused(request(port, method, path, body={"model": "x"}), 403)
    refused(post(port, "/api/delete", {}), 405)
    assert "POST /api/chat" in refused(get(port, "/api/nothing"), 404)


# ---- errors ----


def test_errors_have_one_form(worker, text_model):
    port = worker("--max-body", "400000", "--strict-model", model=text_model, env={"TALLOW_API_KEY": "secret"}).port
    key = {"Authorization": "Bearer secret"}
    for path in (CHAT, GENERATE, "/api/pull", "/api/nothing"):
        refused(post(port, path, {}), 401)
    refused(get(port, CHAT, headers=key), 405)
    refused(post(port, CHAT, " " * 400001, headers=key), 413)
    refused(post(port, CHAT, {}, headers=dict(key, Origin="http://evil.example")), 403)
    for body in ("", "{", "[]", "null"):
        for path in (CHAT, GENERATE, "/api/show"):
            refused(post(port, path, body, headers=key))
    body = {"messages": HELLO, "stream": False, "options": GREEDY}
    assert "other" in refused(post(port, CHAT, dict(body, model="other"), headers=key), 404)
    assert "other" in refused(post(port, CHAT, {"model": "other"}, headers=key), 404)
    assert "other" in refused(post(port, "/api/show", {"model": "other"}, headers=key), 404)
    for name in ("tallow-tiny", "tallow-tiny:latest"):
        good(post(port, CHAT, dict(body, model=name), headers=key))
    many = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}] * 5000
    assert "1024" in refused(post(port, CHAT, dict(body, messages=many, model="tallow-tiny"), headers=key))


def test_a_full_queue_and_an_error_in_a_stream(worker):
    one = worker("--parallel", "1", "--queue", "1", "--shutdown-timeout", "0")
    endless = {"prompt": "x", "max_tokens": 2000, "ignore_eos": True}
    with Stream(one.port, "/execute", endless) as running:
        assert next(running)[0] == "started"  # else the next one might find it in the queue
        waiting = Stream(one.port, "/execute", endless)
        wait_until(lambda: get(one.port, "/v1/ready").json()["status"] == "busy")
        answer = chat(one.port)
        refused(answer, 429)
        assert int(answer.headers["retry-after"]) >= 1
        waiting.close()
    wait_until(lambda: get(one.port, "/health").json()["active"] == 0)
    long = {"type": "string", "minLength": 5000}  # or the model would end it at once, now and then
    body = {"messages": HELLO, "options": {"temperature": 2, "num_predict": 7000}, "format": long}
    with Stream(one.port, CHAT, body) as stream:
        assert "done" in json.loads(stream.answer.readline())
        one.process.terminate()
        told = [json.loads(line) for line in stream.answer.read().decode().splitlines()]
    assert set(told[-1]) == {"error"}
