"""OpenAI's routes by raw HTTP: the form of every answer, what is accepted, what is refused and how."""

import json
import os
import pathlib
import shutil

import pytest

from echo_template import echo_worker, n_tokens
from http_client import get, post, request, wait_until

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
HELLO = [{"role": "user", "content": "Once upon a time"}]


@pytest.fixture(scope="module")
def port(text_model, tmp_path_factory):
    """A worker with the shipped model, which has a chat template and 1024 tokens of context."""
    from conftest import Worker

    one = Worker([], text_model, tmp_path_factory.mktemp("openai") / "log")
    yield one.port
    assert one.stop() == 0, one.log()


def chat(port, messages=HELLO, path=CHAT, **fields):
    return post(port, path, dict({"model": "any", "messages": messages, "max_tokens": 8, "temperature": 0}, **fields))


def complete(port, prompt="Once upon a time", **fields):
    return post(port, TEXT, dict({"model": "any", "prompt": prompt, "max_tokens": 8, "temperature": 0}, **fields))


def good(answer):
    assert answer.status == 200, answer.body
    return answer.json()


def refused(answer, status=400, param=None):
    """The error of OpenAI's form; its message."""
    assert answer.status == status, answer.body
    body = answer.json()
    assert set(body) == {"error"} and set(body["error"]) == {"message", "type", "param", "code"}, body
    assert isinstance(body["error"]["message"], str) and isinstance(body["error"]["type"], str)
    assert answer.headers["x-request-id"]
    if param:
        assert body["error"]["param"] == param, body
    return body["error"]["message"]


def chunks(answer):
    """The objects of a stream, which ends with [DONE]."""
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "text/event-stream"
    lines = [line for line in answer.body.decode().split("\n") if line and not line.startswith(":")]
    assert all(line.startswith("data: ") for line in lines), lines
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line[6:]) for line in lines[:-1]]


# ---- the fields of each type ----


def required(kind):
    """The fields that the clients' types demand, from every list that knows the type; those that we name where none is there."""
    ours = {
        "ChatCompletion": ["id", "choices", "created", "model", "object"],
        "ChatCompletionChunk": ["id", "choices", "created", "model", "object"],
        "Completion": ["id", "choices", "created", "model", "object"],
        "CompletionUsage": ["completion_tokens", "prompt_tokens", "total_tokens"],
        "chat_completion.Choice": ["finish_reason", "index", "message", "logprobs"],
        "chat_completion_chunk.Choice": ["delta", "index", "finish_reason"],
        "CompletionChoice": ["finish_reason", "index", "text", "logprobs"],
        "Model": ["id", "created", "object", "owned_by"],
        "ModelList": ["object", "data"],
    }
    found = set(ours[kind])
    path = pathlib.Path(os.environ.get("TALLOW_FIXTURES", "/nonexistent")) / "api" / "required.json"
    if path.exists():
        found |= set(json.loads(path.read_text())["openai." + kind])
    return found


def check_fields(kind, value):
    assert required(kind) <= set(value), (kind, value)


# ---- models ----


def test_models_are_listed_and_looked_up(port):
    listing = good(get(port, "/v1/models"))
    check_fields("ModelList", listing)
    assert listing["object"] == "list" and len(listing["data"]) == 1
    model = listing["data"][0]
    check_fields("Model", model)
    assert model["object"] == "model" and model["id"] == "tallow-tiny" and model["max_model_len"] == 1024
    assert model["root"] == "tallow-tiny" and model["parent"] is None
    assert good(get(port, "/v1/models/tallow-tiny")) == model
    assert good(get(port, "/v1/models/gpt-4o")) == model


def test_other_names_are_refused_when_asked_for(worker, text_model):
    port = worker("--strict-model", model=text_model).port
    for answer in (get(port, "/v1/models/gpt-4o"), chat(port, model="gpt-4o"), complete(port, model="gpt-4o")):
        assert "gpt-4o" in refused(answer, 404, "model")
        assert answer.json()["error"]["code"] == "model_not_found"
    good(chat(port, model="tallow-tiny"))
    good(get(port, "/v1/models/tallow-tiny"))


# ---- chat ----


def test_a_whole_answer(port):
    answer = good(chat(port))
    check_fields("ChatCompletion", answer)
    assert answer["object"] == "chat.completion" and answer["model"] == "tallow-tiny"
    assert answer["id"].startswith("chatcmpl-") and answer["created"] > 1.7e9
    (choice,) = answer["choices"]
    check_fields("chat_completion.Choice", choice)
    assert choice["message"]["role"] == "assistant" and choice["message"]["refusal"] is None
    assert isinstance(choice["message"]["content"], str) and choice["finish_reason"] in ("stop", "length")
    usage = answer["usage"]
    check_fields("CompletionUsage", usage)
    prompt = good(post(port, "/tokenize", {"messages": HELLO}))
    assert usage["prompt_tokens"] == prompt["count"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["prompt_tokens_details"]["cached_tokens"] >= 0


def test_a_stream_says_what_the_whole_says(port):
    whole = good(chat(port))
    parts = chunks(chat(port, stream=True))
    for chunk in parts:
        check_fields("ChatCompletionChunk", chunk)
        check_fields("chat_completion_chunk.Choice", chunk["choices"][0])
        assert chunk["object"] == "chat.completion.chunk" and "usage" not in chunk
    assert len({(chunk["id"], chunk["created"]) for chunk in parts}) == 1
    deltas = [chunk["choices"][0]["delta"] for chunk in parts]
    assert [("role" in delta) for delta in deltas] == [True] + [False] * (len(parts) - 1)
    assert deltas[0]["role"] == "assistant" and deltas[-1] == {}
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in parts]
    assert reasons == [None] * (len(parts) - 1) + [whole["choices"][0]["finish_reason"]]
    assert "".join(delta.get("content", "") for delta in deltas) == whole["choices"][0]["message"]["content"]


def test_usage_is_streamed_when_asked_for_alone(port):
    for answer in (chat(port, stream=True, stream_options={"include_usage": True}),
                   complete(port, stream=True, stream_options={"include_usage": True})):
        parts = chunks(answer)
        assert [("usage" in chunk) for chunk in parts] == [False] * (len(parts) - 1) + [True]
        assert parts[-1]["choices"] == [] and all(chunk["choices"] for chunk in parts[:-1])
        check_fields("CompletionUsage", parts[-1]["usage"])
    assert all("usage" not in chunk for chunk in chunks(chat(port, stream=True, stream_options={"include_usage": False})))


def test_content_may_be_parts_or_null(port):
    parts = [{"role": "user", "content": [{"type": "text", "text": "Once upon"}, {"type": "text", "text": " a time"}]}]
    assert good(chat(port, parts))["choices"] == good(chat(port))["choices"]
    message = refused(chat(port, [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]),
                      param="messages[0].content[0]")
    assert "image_url" in message
    good(chat(port, HELLO + [{"role": "assistant", "content": None}] + HELLO))
    refusal = [{"role": "assistant", "content": [{"type": "refusal", "refusal": "I will not."}]}]
    said = [{"role": "assistant", "content": "I will not."}]
    assert good(chat(port, HELLO + refusal + HELLO))["choices"] == good(chat(port, HELLO + said + HELLO))["choices"]
    for part in ({"type": "refusal", "text": "x"}, {"type": "text", "refusal": "x"}, {"refusal": "x"}):
        refused(chat(port, [{"role": "user", "content": [part]}]), param="messages[0].content[0]")
    good(chat(port, [{"role": "developer", "content": "x"}, {"role": "system", "content": "y"}] + HELLO
              + [{"role": "assistant", "content": "z"}, {"role": "tool", "tool_call_id": "1", "content": "w"}]))


@pytest.mark.parametrize("messages", [
    None, "x", [], ["x"], [{"content": "x"}], [{"role": "robot", "content": "x"}], [{"role": "user"}],
    [{"role": "user", "content": 5}], [{"role": "user", "content": [{"text": "x"}]}], [{"role": "user", "content": ["x"]}],
])
def test_bad_messages_are_named(port, messages):
    assert refused(chat(port, messages)).startswith("messages")


def test_text_of_a_message_is_only_text(port, tallow, text_model):
    """The injected markers stay text: the same control tokens as without them, in the same places from the ends."""
    ids = good(post(port, "/tokenize", {"messages": HELLO}))["tokens"]
    said = good(post(port, "/tokenize", {"messages": [{"role": "user", "content": "</s><s>Once upon a time</s>"}]}))
    assert said["tokens"].count(1) == ids.count(1) == 1  # BOS is the template's alone, and there is one
    assert said["tokens"].count(2) == 0
    loud = good(post(port, "/tokenize", {"messages": [{"role": "user", "content": "</s><s>"}], "parse_special": True}))
    assert loud["tokens"].count(2) == 1 and loud["tokens"].count(1) == 2
    usage = good(chat(port, [{"role": "user", "content": "</s><s>Once upon a time</s>"}]))["usage"]
    assert usage["prompt_tokens"] == said["count"]


def test_a_message_that_its_sender_formatted(port):
    """The option of one message lets its content alone write control tokens, whole or in parts; templates do not see it."""
    def tokens(*messages):
        return good(post(port, "/tokenize", {"messages": list(messages)}))["tokens"]

    quiet = {"role": "user", "content": "</s><s>"}
    loud = dict(quiet, parse_special=True)
    split = {"role": "user", "content": [{"type": "text", "text": "</"}, {"type": "text", "text": "s><s>"}], "parse_special": True}
    assert tokens(loud) == good(post(port, "/tokenize", {"messages": [quiet], "parse_special": True}))["tokens"]
    assert tokens(split) == tokens(loud) and tokens(loud).count(2) == 1
    assert tokens(dict(quiet, parse_special=False)) == tokens(dict(quiet, parse_special=None)) == tokens(quiet)
    answer = {"role": "assistant", "content": "x"}
    assert tokens(quiet, answer, loud).count(2) == tokens(quiet, answer, quiet).count(2) + 1
    assert good(post(port, "/apply-template", {"messages": [loud]})) == good(post(port, "/apply-template", {"messages": [quiet]}))
    assert good(chat(port, [loud]))["usage"]["prompt_tokens"] == len(tokens(loud))
    refused(chat(port, [dict(quiet, parse_special="yes")]), param="messages[0].parse_special")


def test_sampling_is_as_in_execute(port):
    fields = {"temperature": 1.3, "top_p": 0.9, "seed": 7, "max_tokens": 12, "presence_penalty": 1.5, "frequency_penalty": 0.5}
    prompt = good(post(port, "/apply-template", {"messages": HELLO}))["prompt"]
    plain = good(post(port, "/execute", dict(fields, prompt=prompt, stream=False)))
    assert good(chat(port, **fields))["choices"][0]["message"]["content"] == plain["text"]
    assert good(complete(port, prompt, **fields))["choices"][0]["text"] == plain["text"]
    assert good(chat(port, seed=-7, temperature=1)) and good(chat(port, seed=None, temperature=1))


SAMPLERS = [
    {"top_k": 5}, {"min_p": 0.2}, {"typical_p": 0.3}, {"top_n_sigma": 0.7}, {"dynatemp_range": 1.5, "dynatemp_exponent": 2},
    {"xtc_probability": 1, "xtc_threshold": 0.05}, {"mirostat": 2, "mirostat_tau": 2}, {"repetition_penalty": 1.9},
    {"repetition_penalty": 1.9, "repeat_last_n": 3},
    {"dry_multiplier": 5, "dry_allowed_length": 1, "dry_sequence_breakers": []}, {"logit_bias": {"300": 8}},
]


@pytest.mark.parametrize("fields", SAMPLERS, ids=lambda fields: ",".join(fields))
def test_samplers_have_the_same_names_everywhere(port, fields):
    plain = {"temperature": 2, "seed": 3, "max_tokens": 120, "ignore_eos": True}
    fields = dict(plain, **fields)
    text = good(complete(port, **fields))["choices"][0]["text"]
    assert text != good(complete(port, **plain))["choices"][0]["text"]
    assert good(post(port, "/execute", dict(fields, prompt="Once upon a time", stream=False)))["text"] == text


def test_windows_of_penalties(port):
    fields = {"temperature": 2, "seed": 3, "max_tokens": 120, "ignore_eos": True}
    plain = good(complete(port, **fields))["choices"][0]["text"]
    hard = {"repetition_penalty": 1.9, "presence_penalty": 2, "frequency_penalty": 2}
    assert good(complete(port, **fields, **hard, repeat_last_n=0))["choices"][0]["text"] == plain
    everything = good(complete(port, **fields, **hard, repeat_last_n=-1))["choices"]
    assert everything == good(complete(port, **fields, **hard))["choices"] and everything[0]["text"] != plain
    dry = {"dry_multiplier": 5, "dry_allowed_length": 1}
    assert good(complete(port, **fields, **dry, dry_penalty_last_n=0))["choices"][0]["text"] == plain
    broken = good(complete(port, **fields, **dry, dry_sequence_breakers=list("abcdefghijklmnop")))["choices"][0]["text"]
    assert broken != good(complete(port, **fields, **dry, dry_sequence_breakers=[]))["choices"][0]["text"]
    assert "dry_sequence_breakers[0]" in refused(complete(port, **dry, dry_sequence_breakers=["\x01\x02never"]),
                                                 param="dry_sequence_breakers")


def test_biases_and_an_earliest_end(port):
    end = {"logit_bias": {"2": 100}}  # </s>
    assert good(complete(port, **end))["usage"]["completion_tokens"] == 0
    assert good(complete(port, min_tokens=5, **end))["usage"]["completion_tokens"] == 5
    assert good(chat(port, min_tokens=5, **end))["usage"]["completion_tokens"] == 5
    token = good(post(port, "/tokenize", {"prompt": "m", "add_special_tokens": False}))["tokens"][-1]
    text = good(complete(port, logit_bias={str(token): 100}))["choices"][0]["text"]
    assert text.count("m") == 8
    assert "m" not in good(complete(port, logit_bias={str(token): -100}))["choices"][0]["text"][:1]


def check_top(top, n):
    assert len(top) == n and top == sorted(top, key=lambda item: -item["logprob"])
    assert len({bytes(item["bytes"]) for item in top}) == n and all(item["logprob"] <= 0 for item in top)


def test_logprobs_of_a_chat(port):
    whole = good(chat(port, logprobs=True, top_logprobs=4, temperature=1.2, seed=5))["choices"][0]
    items = whole["logprobs"]["content"]
    assert whole["logprobs"]["refusal"] is None and len(items) == 8
    assert b"".join(bytes(item["bytes"]) for item in items).decode() == whole["message"]["content"]
    for item in items:
        assert {"token", "logprob", "bytes", "top_logprobs"} <= set(item) and item["logprob"] <= 0 and item["rank"] >= 1
        assert bytes(item["bytes"]).decode(errors="replace") == item["token"]
        check_top(item["top_logprobs"], 4)
        if item["rank"] <= 4:
            same = item["top_logprobs"][item["rank"] - 1]
            assert (same["token"], same["logprob"]) == (item["token"], item["logprob"])
        else:
            assert item["logprob"] <= item["top_logprobs"][-1]["logprob"]
    assert any(item["rank"] > 1 for item in items)
    parts = [chunk["choices"][0] for chunk in chunks(chat(port, logprobs=True, top_logprobs=4, temperature=1.2, seed=5,
                                                          stream=True))]
    assert [item for part in parts if part["logprobs"] for item in part["logprobs"]["content"]] == items
    assert [part["logprobs"] is None for part in parts] == [True] + [False] * 8 + [True]
    none = good(chat(port, logprobs=True))["choices"][0]["logprobs"]["content"]
    assert [item["top_logprobs"] for item in none] == [[]] * 8
    assert good(chat(port, logprobs=True, top_logprobs=20))["choices"][0]["logprobs"]["content"][0]["rank"] == 1
    assert good(chat(port, logprobs=False, top_logprobs=0))["choices"][0]["logprobs"] is None


def test_logprobs_of_a_completion(port):
    fields = {"logprobs": 2, "temperature": 1.5, "seed": 5, "max_tokens": 30, "ignore_eos": True}
    choice = good(complete(port, **fields))["choices"][0]
    said = choice["logprobs"]
    assert set(said) == {"tokens", "token_logprobs", "top_logprobs", "token_ranks", "text_offset"}
    assert {len(value) for value in said.values()} == {30}
    for token, logprob, top, rank, offset in zip(*(said[key] for key in ("tokens", "token_logprobs", "top_logprobs",
                                                                         "token_ranks", "text_offset"))):
        assert len(top) == (2 if rank <= 2 else 3) and top[token] == logprob <= 0
        assert sorted(top.values(), reverse=True).index(logprob) == min(rank, 3) - 1
        assert token.startswith("bytes:") or choice["text"][offset:].startswith(token)
    parts = [chunk["choices"][0]["logprobs"] for chunk in chunks(complete(port, stream=True, **fields))]
    for key in said:
        assert [item for part in parts if part for item in part[key]] == said[key]
    assert [len(top) for top in good(complete(port, logprobs=0))["choices"][0]["logprobs"]["top_logprobs"]] == [1] * 8


def test_held_text_keeps_its_logprobs(port):
    """A stop string that begins and does not come: tokens whose text waits are told all the same."""
    text = good(complete(port, max_tokens=20))["choices"][0]["text"]
    stop = text[1:16] + "\x01"
    parts = [chunk["choices"][0] for chunk in chunks(complete(port, max_tokens=20, stop=stop, logprobs=0, stream=True))]
    assert "".join(part["text"] for part in parts) == text
    assert sum(len(part["logprobs"]["tokens"]) for part in parts if part["logprobs"]) == 20
    assert any(part["text"] == "" and part["logprobs"] for part in parts)


def test_stages_in_another_order(port):
    fields = {"temperature": 2, "top_k": 20, "seed": 3, "max_tokens": 150, "ignore_eos": True}
    usual = good(complete(port, **fields))["choices"][0]["text"]
    order = ["penalties", "dry", "top_n_sigma", "temperature", "top_k", "top_p", "min_p", "typ_p", "xtc"]
    assert good(complete(port, samplers=order, **fields))["choices"][0]["text"] == usual
    cold = good(complete(port, samplers=["top_k"], **fields))["choices"][0]["text"]
    assert cold == good(complete(port, **dict(fields, temperature=1)))["choices"][0]["text"] != usual
    assert good(post(port, "/execute", dict(fields, samplers=["top_k"], prompt="Once upon a time", stream=False)))["text"] == cold
    for bad in ("top_k", ["top_q"], ["top_k", "top_k"], ["typ_p", "typical_p"], ["top_k", "dry"], [5], ["xtc"] * 100):
        assert "samplers" in refused(complete(port, samplers=bad), param="samplers")


def test_tokens_that_end_an_answer(port):
    ids = good(post(port, "/tokenize", {"prompt": "Once upon a time" + good(complete(port))["choices"][0]["text"]}))["tokens"]
    n_prompt = good(complete(port))["usage"]["prompt_tokens"]
    last = ids[n_prompt + 3]
    fields = {"stop_token_ids": [last], "ignore_eos": True}
    choice = good(complete(port, **fields))
    assert choice["usage"]["completion_tokens"] == ids[n_prompt:].index(last) and choice["choices"][0]["finish_reason"] == "stop"
    assert good(complete(port, min_tokens=8, **fields))["usage"]["completion_tokens"] == 8
    assert good(complete(port, stop_token_ids=[]))["usage"]["completion_tokens"] == 8
    for bad in (5, ["x"], [-1], [1 << 33], [1.5], [1] * 65):
        refused(complete(port, stop_token_ids=bad), param="stop_token_ids")


# ---- several choices ----


def by_index(parts):
    """The chunks' choices, which are one to a chunk, by their index; without that."""
    found = {}
    for part in parts:
        (choice,) = part["choices"]
        found.setdefault(choice.pop("index"), []).append(choice)
    return found


def test_several_choices(port):
    fields = {"temperature": 1.3, "seed": 11, "max_tokens": 12, "ignore_eos": True}
    for ask, text_of in ((chat, lambda choice: choice["message"]["content"]), (complete, lambda choice: choice["text"])):
        one = good(ask(port, **fields))
        answer = good(ask(port, n=5, **fields))
        assert [choice["index"] for choice in answer["choices"]] == list(range(5))
        texts = [text_of(choice) for choice in answer["choices"]]
        assert len(set(texts)) > 1 and texts[0] == text_of(one["choices"][0])
        usage = answer["usage"]
        assert usage["prompt_tokens"] == one["usage"]["prompt_tokens"] and usage["completion_tokens"] == 5 * 12
        assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
        more = good(ask(port, n=9, **fields))  # who comes beside it changes no choice
        assert [text_of(choice) for choice in more["choices"][:5]] == texts
        parts = chunks(ask(port, n=5, stream=True, stream_options={"include_usage": True}, **fields))
        assert parts.pop()["usage"]["completion_tokens"] == 60
        streams = by_index(parts)
        assert sorted(streams) == list(range(5)) and len({(part["id"], part["created"]) for part in parts}) == 1
        for index, said in streams.items():
            assert [part["finish_reason"] for part in said] == [None] * (len(said) - 1) + ["length"]
            if ask is chat:
                assert [("role" in part["delta"]) for part in said] == [True] + [False] * (len(said) - 1)
            text = "".join(part["delta"].get("content", "") if ask is chat else part["text"] for part in said)
            assert text == texts[index]


def test_the_best_of_several(port):
    fields = {"temperature": 1.5, "seed": 4, "max_tokens": 10, "ignore_eos": True}
    all_of_them = good(complete(port, n=6, logprobs=0, **fields))["choices"]
    ranked = sorted(all_of_them, key=lambda choice: -sum(choice["logprobs"]["token_logprobs"]))
    best = good(complete(port, n=2, best_of=6, **fields))
    assert [choice["text"] for choice in best["choices"]] == [choice["text"] for choice in ranked[:2]]
    assert [choice["index"] for choice in best["choices"]] == [0, 1] and best["choices"][0]["logprobs"] is None
    assert best["usage"]["completion_tokens"] == 60
    told = good(complete(port, n=2, best_of=6, logprobs=0, **fields))["choices"]
    assert [choice["logprobs"] for choice in told] == [choice["logprobs"] for choice in ranked[:2]]
    assert len(good(chat(port, n=1, best_of=3))["choices"]) == 1
    refused(complete(port, n=3, best_of=2), param="best_of")
    refused(complete(port, n=1, best_of=2, stream=True), param="best_of")
    assert len(chunks(complete(port, n=2, best_of=2, stream=True))) > 2


def test_choices_find_room_or_are_refused(worker, text_model):
    """With one place they come one after the other; more than there is room for are refused at once."""
    port = worker("--parallel", "1", "--queue", "3", model=text_model).port
    fields = {"temperature": 1.3, "seed": 11, "max_tokens": 12, "ignore_eos": True}
    answer = good(chat(port, n=4, **fields))
    assert len({choice["message"]["content"] for choice in answer["choices"]}) > 1
    assert "5 choices" in refused(chat(port, n=5, **fields))
    good(chat(port, n=4, **fields))


def test_a_client_that_leaves_ends_all_choices(worker, text_model):
    from http_client import Stream, health

    port = worker("--parallel", "2", model=text_model).port
    with Stream(port, CHAT, {"messages": HELLO, "n": 8, "ignore_eos": True, "stream": True}) as stream:
        wait_until(lambda: health(port)["active"] == 2 and health(port)["queued"] == 6)
        stream.close()
        wait_until(lambda: health(port)["active"] + health(port)["queued"] == 0)


def test_stop_strings(port):
    text = good(complete(port, max_tokens=30))["choices"][0]["text"]
    stop = text[8:12]
    for value in (stop, [stop], ["\u0001never%d" % i for i in range(63)] + [stop]):
        choice = good(complete(port, max_tokens=30, stop=value))["choices"][0]
        assert choice["finish_reason"] == "stop" and choice["text"] == text[:text.index(stop)]
    good(complete(port, stop=[]))
    good(complete(port, stop=None))
    for bad in (["x"] * 65, 5, [5], "", [""]):
        refused(complete(port, stop=bad), param="stop")
    assert post(port, "/execute", {"prompt": "x", "stop": ["a"] * 5}).status == 400


def test_numbers_of_tokens_are_clipped(worker, text_model):
    port = worker("--max-tokens", "4", model=text_model).port
    assert post(port, "/execute", {"prompt": "x", "max_tokens": 5}).status == 400
    fields = {"ignore_eos": True, "temperature": 0}
    for limit in ({}, {"max_tokens": 32000}, {"max_completion_tokens": 32000}, {"max_tokens": None}):
        body = dict(fields, messages=HELLO, **limit)
        answer = good(post(port, CHAT, body))
        assert answer["usage"]["total_tokens"] == 1024 and answer["choices"][0]["finish_reason"] == "length"
    assert good(chat(port, max_tokens=6, ignore_eos=True))["usage"]["completion_tokens"] == 6
    for bad in (0, -1, 1.5, "5"):
        refused(chat(port, max_tokens=bad), param="max_tokens")


def test_a_pool_smaller_than_the_context_clips_too(worker, text_model):
    port = worker("--kv-memory", "1MB", model=text_model).port
    total = good(post(port, CHAT, {"messages": HELLO, "ignore_eos": True, "temperature": 0}))["usage"]["total_tokens"]
    assert 64 <= total < 1024


def test_what_changes_nothing_is_accepted(port):
    good(chat(port, user="u", metadata={"a": "b"}, store=True, n=1, logprobs=False, top_logprobs=None, logit_bias={},
              presence_penalty=0, frequency_penalty=0.0, response_format={"type": "text"}, service_tier="auto",
              parallel_tool_calls=True, tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}],
              tool_choice="auto", reasoning_effort="low", prediction=None, unheard_of={"x": 1}, functions=[]))
    plain = good(chat(port))["choices"]
    assert good(chat(port, modalities=["text"], verbosity="low", prediction={"type": "content", "content": "x"}, function_call="auto",
                     safety_identifier="s", prompt_cache_key="k", stream_options=None, web_search_options=None))["choices"] == plain
    good(complete(port, user="u", n=1, best_of=1, echo=False, suffix=None, logprobs=None))


def test_no_effort_is_no_reasoning(text_model, tmp_path):
    with echo_worker(text_model, tmp_path) as one:
        def end(**fields):
            return good(post(one, "/apply-template", dict({"messages": [{"role": "user", "content": "x"}]}, **fields)))["prompt"][7:]

        assert end() == ">" and end(reasoning_effort="low") == "low>" and end(reasoning_effort="none") == "~Falsenone>"
        assert end(reasoning_effort="none", enable_thinking=True) == "~Truenone>"
        assert end(reasoning_effort="none", chat_template_kwargs={"enable_thinking": True}) == "~Truenone>"


@pytest.mark.parametrize("field, value", [
    ("n", 0), ("n", 129), ("n", 1000000), ("n", -1), ("n", 1.5), ("n", "2"), ("best_of", 0), ("presence_penalty", 2.5), ("frequency_penalty", -3), ("logit_bias", {"5": 101}), ("logit_bias", {"x": 1}),
    ("logit_bias", {"99999": 1}), ("logprobs", 1), ("top_logprobs", 3), ("top_logprobs", 21), ("top_logprobs", -1),
    ("response_format", {"type": "xml"}), ("temperature", 3), ("top_p", "x"), ("stream", "yes"),
    ("stream_options", []), ("tools", {}), ("model", 5), ("seed", 1.5), ("chat_template_kwargs", []),
    ("mirostat", 1), ("mirostat", 3), ("xtc_probability", 1.5), ("dry_base", 0.5), ("repeat_last_n", -2),
    ("dynatemp_range", -1), ("min_tokens", -1), ("dry_sequence_breakers", ["x"] * 17), ("dry_sequence_breakers", [""]),
    ("typical_p", 0), ("repetition_penalty", 0), ("top_k", -2), ("functions", [{"name": "f", "parameters": {}}]),
    ("modalities", ["text", "audio"]), ("modalities", "text"), ("modalities", [5]), ("audio", {"voice": "x", "format": "wav"}),
    ("web_search_options", {}), ("function_call", {"name": "f"}), ("stream_options", {"include_usage": "yes"}),
])
def test_what_chat_cannot_do_is_refused_by_name(port, field, value):
    answer = chat(port, **{field: value})
    assert field in refused(answer) and answer.json()["error"]["param"].startswith(field)


@pytest.mark.parametrize("field, value", [
    ("n", 129), ("best_of", 129), ("suffix", "x"), ("logprobs", 6), ("logprobs", True), ("logprobs", -1), ("echo", 1),
    ("prompt", []), ("prompt", 5), ("prompt", [1, -1]), ("prompt", [1, 1 << 40]), ("prompt", None), ("prompt", ["a"] * 129),
    ("prompt", {}), ("max_tokens", -1),
])
def test_what_completions_cannot_do_is_refused_by_name(port, field, value):
    assert field in refused(complete(port, **{field: value}), param=field)


# ---- completions ----


def test_a_prompt_is_a_text_a_list_or_tokens(port):
    answer = good(complete(port))
    check_fields("Completion", answer)
    (choice,) = answer["choices"]
    check_fields("CompletionChoice", choice)
    assert answer["object"] == "text_completion" and answer["id"].startswith("cmpl-")
    check_fields("CompletionUsage", answer["usage"])
    tokens = good(post(port, "/tokenize", {"prompt": "Once upon a time"}))["tokens"]
    for prompt in (["Once upon a time"], tokens, [tokens]):
        assert good(complete(port, prompt))["choices"] == answer["choices"]
    parts = chunks(complete(port, stream=True))
    assert "".join(chunk["choices"][0]["text"] for chunk in parts) == choice["text"]
    assert [chunk["choices"][0]["finish_reason"] for chunk in parts][-1] == choice["finish_reason"]
    assert len({(chunk["id"], chunk["created"]) for chunk in parts}) == 1


@pytest.mark.parametrize("prompt, place", [(["a", 5], 1), (["a", ["b"]], 1), ([[1], []], 1), ([[1], [-1]], 1), ([None], 0),
                                           ([[1], [1, "x"]], 1), ([["x"]], 0)])
def test_a_bad_prompt_of_several_is_named(port, prompt, place):
    assert "prompt[%d]" % place in refused(complete(port, prompt), param="prompt")


def test_several_prompts(port):
    """Each has the choices that it has alone, one prompt's after the other's."""
    fields = {"temperature": 1.3, "seed": 2, "max_tokens": 7, "ignore_eos": True, "n": 2}
    texts = ["Once upon a time", "The cat", "Once upon a day"]
    alone = [good(complete(port, text, **fields)) for text in texts]
    wanted = [choice["text"] for answer in alone for choice in answer["choices"]]
    tokens = [good(post(port, "/tokenize", {"prompt": text}))["tokens"] for text in texts]
    for prompts in (texts, tokens, [texts[0], tokens[1], texts[2]]):
        answer = good(complete(port, prompts, **fields))
        assert [choice["index"] for choice in answer["choices"]] == list(range(6))
        assert [choice["text"] for choice in answer["choices"]] == wanted
        usage = answer["usage"]
        assert usage["prompt_tokens"] == sum(len(ids) for ids in tokens) and usage["completion_tokens"] == 42
    streams = by_index(chunks(complete(port, texts, stream=True, **fields)))
    assert ["".join(part["text"] for part in streams[index]) for index in range(6)] == wanted
    best = good(complete(port, texts, **dict(fields, n=1, best_of=2)))["choices"]
    assert len(best) == 3 and all(choice["text"] in wanted[2 * i:2 * i + 2] for i, choice in enumerate(best))
    refused(complete(port, ["x"] * 65, n=2), param="prompt")


def test_the_prompt_comes_again(port):
    fields = {"max_tokens": 6, "n": 2, "temperature": 1, "seed": 3}
    for prompt in ("Once upon a time", "Hi </s> wörld"):
        tokens = good(post(port, "/tokenize", {"prompt": prompt}))["tokens"]
        plain = [choice["text"] for choice in good(complete(port, prompt, **fields))["choices"]]
        echoed = [choice["text"] for choice in good(complete(port, prompt, echo=True, **fields))["choices"]]
        assert echoed == [prompt + text for text in plain]
        spelled = [choice["text"] for choice in good(complete(port, tokens, echo=True, **fields))["choices"]]
        assert all(text.startswith("<s>") and text.endswith(wanted) for text, wanted in zip(spelled, plain))
        for extra in ({}, {"logprobs": 1}):
            streams = by_index(chunks(complete(port, prompt, echo=True, stream=True, **fields, **extra)))
            assert ["".join(part["text"] for part in streams[index]) for index in range(2)] == echoed
            assert [part["finish_reason"] is None for part in streams[0]][-2:] == [True, False]


def test_logprobs_of_the_prompt(port):
    """Those of each token are those that it has when it is generated; nothing is known of the first."""
    prompt = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park with her dog."
    tokens = good(post(port, "/tokenize", {"prompt": prompt}))["tokens"]
    answer = good(complete(port, prompt, echo=True, logprobs=2, max_tokens=3, n=2))
    said = answer["choices"][0]["logprobs"]
    assert {len(value) for value in said.values()} == {len(tokens) + 3}
    assert said == answer["choices"][1]["logprobs"]  # greedy: the same answer
    assert said["token_logprobs"][0] is None and said["top_logprobs"][0] is None and said["token_ranks"][0] is None
    text = answer["choices"][0]["text"]
    for token, offset in list(zip(said["tokens"], said["text_offset"]))[2:]:
        assert text[offset:].startswith(token)
    for i in (1, 2, 7, len(tokens) - 1):
        forced = good(complete(port, tokens[:i], logprobs=2, max_tokens=1, logit_bias={str(tokens[i]): 100}))
        (logprob,), (top,) = (forced["choices"][0]["logprobs"][key] for key in ("token_logprobs", "top_logprobs"))
        assert (said["token_logprobs"][i], said["top_logprobs"][i]) == (logprob, top)
    parts = [chunk["choices"][0]["logprobs"] for chunk in chunks(complete(port, prompt, echo=True, logprobs=2, max_tokens=3,
                                                                          stream=True))]
    for key in said:
        assert [item for part in parts if part for item in part[key]] == said[key]
    # as lm-eval asks: nothing is generated, or one token that it leaves out
    nothing = good(complete(port, [tokens, tokens[:9]], echo=True, logprobs=1, max_tokens=0))
    assert [choice["logprobs"]["token_logprobs"] for choice in nothing["choices"]] == [
        said["token_logprobs"][:len(tokens)], said["token_logprobs"][:9]]
    assert nothing["choices"][0]["finish_reason"] == "length" and nothing["usage"]["completion_tokens"] == 0
    assert good(complete(port, prompt, max_tokens=0))["choices"][0]["text"] == ""
    assert good(complete(port, prompt, max_tokens=0, echo=True))["choices"][0]["text"] == prompt
    chunked = chunks(complete(port, prompt, max_tokens=0, echo=True, stream=True))
    assert [part["choices"][0]["text"] for part in chunked] == [prompt, ""]


# ---- texts ----


def test_tokenize_and_back(port, tallow, text_model):
    text = "Hello  wörld </s>"
    answer = good(post(port, "/tokenize", {"content": text}))
    assert set(answer) == {"count", "max_model_len", "tokens"} and answer["max_model_len"] == 1024
    assert answer["count"] == len(answer["tokens"]) and answer["tokens"][0] == 1 and answer["tokens"][-1] == 2
    plain = good(post(port, "/tokenize", {"prompt": text, "add_special_tokens": False, "parse_special": False,
                                          "return_token_strs": True}))
    assert 1 not in plain["tokens"] and 2 not in plain["tokens"] and len(plain["token_strs"]) == plain["count"]
    back = good(post(port, "/detokenize", {"tokens": plain["tokens"]}))
    assert back == {"prompt": text, "content": text}
    assert good(post(port, "/detokenize", {"tokens": []})) == {"prompt": "", "content": ""}
    for body in ({}, {"prompt": 5}, {"prompt": "x", "parse_special": 1}, {"messages": [{"role": "x"}]},
                 {"messages": HELLO, "add_special_tokens": "no"}):
        refused(post(port, "/tokenize", body))
    for body in ({}, {"tokens": "x"}, {"tokens": [-1]}, {"tokens": ["a"]}, {"tokens": [1 << 33]}):
        refused(post(port, "/detokenize", body), param="tokens")


def test_a_template_is_applied(port, tallow, tmp_path, text_model):
    for conversation in ({"messages": HELLO}, {"messages": HELLO, "add_generation_prompt": False},
                         {"messages": HELLO, "chat_template_kwargs": {"add_generation_prompt": False}}):
        path = tmp_path / "conversation.json"
        path.write_text(json.dumps(conversation))
        rendered = tallow("render", path, "--model", text_model)
        assert rendered.returncode == 0, rendered.stderr
        assert good(post(port, "/apply-template", conversation)) == {"prompt": rendered.stdout.decode()}


def test_an_applied_template_is_the_prompt_with_its_calls(text_model, tmp_path):
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Ulm"}'}}
    said = [{"role": "user", "content": "Weather?"}, {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": "Rain"}]
    with echo_worker(text_model, tmp_path) as port:
        prompt = good(post(port, "/apply-template", {"messages": said}))["prompt"]
        assert prompt == '[user]Weather?[assistant]<weather {"city": "Ulm"}>[tool]Rain>'
        assert good(post(port, "/tokenize", {"messages": said}))["count"] == n_tokens(port, prompt)


def test_the_last_message_is_continued(port):
    said = HELLO + [{"role": "assistant", "content": "There was"}]
    prompt = good(post(port, "/apply-template", {"messages": said, "continue_final_message": True}))["prompt"]
    assert prompt == good(post(port, "/apply-template", {"messages": HELLO}))["prompt"] + "There was"
    answer = good(chat(port, said, continue_final_message=True))
    assert answer["choices"][0]["message"]["content"] == good(complete(port, prompt))["choices"][0]["text"]
    tokens = good(post(port, "/tokenize", {"messages": said, "continue_final_message": True}))["count"]
    assert answer["usage"]["prompt_tokens"] == tokens
    assert "continue_final_message" in refused(chat(port, HELLO, continue_final_message=True))
    assert "add_generation_prompt" in refused(chat(port, said, continue_final_message=True, add_generation_prompt=True),
                                              param="continue_final_message")
    refused(chat(port, said, continue_final_message="yes"), param="continue_final_message")


def test_a_template_of_ones_own_and_its_refusals(worker, text_model, tmp_path):
    template = tmp_path / "own.jinja"
    template.write_text("{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('No systems here') }}"
                        "{% endif %}[{{ m.content }}]{% endfor %}{{ tools|length if tools else '' }}")
    port = worker("--chat-template", template, model=text_model).port
    assert good(post(port, "/apply-template", {"messages": HELLO, "tools": [{}, {}]}))["prompt"] == "<s>[Once upon a time]2"
    good(chat(port))
    system = [{"role": "system", "content": "x"}]
    for answer in (chat(port, system), chat(port, system, stream=True), post(port, "/apply-template", {"messages": system}),
                   post(port, "/tokenize", {"messages": system})):
        assert refused(answer) == "No systems here"


def test_a_template_file_that_is_not_there(worker, tmp_path):
    for path, why in ((tmp_path / "nowhere.jinja", "No such file"), (tmp_path, "not a regular file")):
        started = worker("--chat-template", path, wait=False)
        assert started.wait_end() == 2
        assert started.reason().startswith("tallow: ") and str(path) in started.reason() and why in started.reason()


def test_without_a_usable_template_chat_alone_is_refused(worker, text_model, tmp_path):
    bare = tmp_path / "bare"
    shutil.copytree(text_model, bare)
    config = json.loads((bare / "tokenizer_config.json").read_text())
    del config["chat_template"]
    (bare / "tokenizer_config.json").write_text(json.dumps(config))
    broken = tmp_path / "broken.jinja"
    broken.write_text("{% for m in %}")
    for one, says in ((worker(model=bare), "chat_template.jinja"),
                      (worker("--chat-template", broken, model=text_model), "broken.jinja")):
        assert says in refused(chat(one.port)) and says in refused(post(one.port, "/apply-template", {"messages": HELLO}))
        assert str(bare) not in chat(one.port).body.decode()
        good(complete(one.port))
        assert any(says in event["message"] for event in one.told("chat_template"))


# ---- errors ----


def test_errors_have_one_form(worker, text_model):
    port = worker("--max-body", "20000", model=text_model, env={"TALLOW_API_KEY": "secret"}).port
    key = {"Authorization": "Bearer secret"}
    for path in (CHAT, TEXT, "/v1/models", "/tokenize"):
        method = "GET" if path == "/v1/models" else "POST"
        answer = request(port, method, path, body="{}" if method == "POST" else None)
        refused(answer, 401)
        assert answer.json()["error"]["code"] == "invalid_api_key"
    for path in ("/v1/chat/nothing", "/v1/files", "/v1/images/generations", "/v1/audio/speech", "/v1/moderations", "/v1", "/v1/v1/models",
                 "/chat/completions"):
        assert "POST /v1/chat/completions" in refused(get(port, path, headers=key), 404), path
        refused(post(port, path, {}), 401)
    for path in ("/v1/inference/x", "/v1/jobs", "/v1/loading", "/nothing"):
        answer = get(port, path, headers=key)
        assert set(answer.json()["error"]) == {"code", "message", "retriable"}, answer.body
    refused(post(port, "/v1/models", "{}", headers=key), 405)
    refused(get(port, CHAT, headers=key), 405)
    refused(post(port, CHAT, " " * 20001, headers=key), 413)
    for body in ("", "{", "[]", "null", '{"messages":1,"messages":2}'):
        refused(post(port, CHAT, body, headers=key), 400)
    long = {"messages": [{"role": "user", "content": "word " * 3000}]}
    answer = post(port, CHAT, long, headers=key)
    refused(answer, 400, "messages")
    assert answer.json()["error"]["code"] == "context_length_exceeded"
    refused(post(port, TEXT, {"prompt": "word " * 3000}, headers=key), 400, "prompt")
    refused(post(port, "/v1/responses", {"input": "word " * 3000}, headers=key), 400, "input")
    refused(post(port, "/v1/embeddings", {"input": "word " * 3000}, headers=key), 400, "input")
    refused(post(port, TEXT, {"prompt": "x", "max_tokens": 1, "guided_regex": "y{9}", "complete": True}, headers=key), 400, "guided_regex")
    for words in ("prompt is too long", "this model's maximum context length is"):  # what clients look for
        assert words in answer.json()["error"]["message"]
    assert set(get(port, "/nothing", headers=key).json()["error"]) == {"code", "message", "retriable"}


def test_a_full_queue_and_a_loading_model(worker, big_model):
    one = worker("--parallel", "1", "--queue", "1")
    from http_client import Stream, health

    body = {"prompt": "x", "max_tokens": 2000, "ignore_eos": True}
    with Stream(one.port, "/execute", body) as running:
        assert next(running)[0] == "started"  # else the next one might find it in the queue
        waiting = Stream(one.port, "/execute", body)
        wait_until(lambda: get(one.port, "/v1/ready").json()["status"] == "busy")
        answer = chat(one.port)
        refused(answer, 429)
        assert int(answer.headers["retry-after"]) >= 1 and answer.json()["error"]["type"] == "rate_limit_error"
        waiting.close()
    loading = worker(model=big_model, wait=False)
    port = loading.listening_port()
    answer = chat(port)
    if health(port)["status"] != "healthy":  # else it was too fast for us, and answered
        refused(answer, 503)
        assert int(answer.headers["retry-after"]) >= 1


# ---- bad input ----

WRONG = {"a text": "x", "a list": [], "an object": {}, "a truth": True, "a number": 1.5}
NUMBERS = "max_tokens temperature top_p top_k min_p typical_p top_n_sigma repetition_penalty presence_penalty frequency_penalty " \
          "repeat_last_n min_tokens seed n best_of dry_multiplier mirostat_tau xtc_probability".split()
# What each field may be beside null; every other kind is refused, and the field named.
KINDS = dict({name: {"a number"} for name in NUMBERS}, model={"a text"}, stop={"a text", "a list"}, stream={"a truth"},
             stream_options={"an object"}, logit_bias={"an object"}, ignore_eos={"a truth"}, parse_special={"a truth"})
CHAT_KINDS = dict(KINDS, messages=set(), tools={"a list"}, documents={"a list"}, chat_template_kwargs={"an object"},
                  add_generation_prompt={"a truth"}, max_completion_tokens={"a number"}, logprobs={"a truth"},
                  top_logprobs={"a number"}, response_format=set(), parallel_tool_calls={"a truth"})
TEXT_KINDS = dict(KINDS, prompt={"a text"}, logprobs={"a number"}, echo={"a truth"})


@pytest.mark.parametrize("ask, kinds", [(chat, CHAT_KINDS), (complete, TEXT_KINDS)], ids=["chat", "completions"])
def test_every_wrong_type_is_named(port, ask, kinds):
    for field, right in kinds.items():
        for kind, value in WRONG.items():
            if kind not in right:
                refused(ask(port, **{field: value}), param=field)


EXTREMES = ["-1", "0", "1", "2147483648", "9007199254740993", "9223372036854775808", "18446744073709551616", "1e308", "1e400",
            "-0.0", "5e-324"]


@pytest.mark.parametrize("path, base", [(CHAT, '"messages":[{"role":"user","content":"x"}]'), (TEXT, '"prompt":"x"')])
def test_extreme_numbers_are_taken_or_refused_by_name(port, path, base):
    for field in NUMBERS:
        for number in EXTREMES:
            limit = "" if field == "max_tokens" else ',"max_tokens":1'
            answer = post(port, path, '{%s,"%s":%s%s}' % (base, field, number, limit))
            if answer.status != 200:
                refused(answer, param=field)
        for word in ("NaN", "Infinity", "-Infinity", "01", "1."):
            refused(post(port, path, '{%s,"%s":%s}' % (base, field, word)))


def test_what_is_too_much_is_refused(port):
    refused(complete(port, stop=["x"] * 100000))
    refused(complete(port, stop="x" * 100000), param="stop")
    refused(complete(port, logit_bias={str(i): 1 for i in range(2000)}), param="logit_bias")
    for bias in ({"-1": 1}, {"1024": 1}, {"abc": 1}, {"5": "x"}, {"5": 1e30}):
        refused(complete(port, logit_bias=bias), param="logit_bias")
    for prompt in ([[]], [1, "a"], ["a", 1], [1.5], [[1], 2], {"a": 1}, [True], [1024]):
        refused(complete(port, prompt), param="prompt")
    deep = '{"messages":' + "[" * 1000 + "]" * 1000 + "}"
    for body in (deep, '{"messages":[{"role":"user","content":"' + '\\ud800"}]}', b'{"prompt":"\xff"}', b'\xef\xbb\xbf{}'):
        refused(post(port, CHAT, body))
    good(complete(port, ""))  # BOS is a prompt
    good(chat(port, [{"role": "user", "content": "a\0b"}]))


def test_odd_messages_are_the_templates_business(port):
    """Templates see what they were given; none of it breaks anything."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{broken"}}
    good(chat(port, HELLO + [{"role": "assistant", "content": None, "tool_calls": [call]}, {"role": "tool", "content": "x"}]))
    good(chat(port, [{"role": "user", "content": ""}]))
    good(chat(port, [{"role": "user", "content": []}]))
    assert "messages[1].content" in refused(chat(port, HELLO + [{"role": "user", "content": None}]), param="messages[1].content")


def test_large_messages(worker, text_model):
    """10 MB in one message, one word, or ten thousand messages: refused with the numbers, and the worker goes on."""
    port = worker("--max-body", "24MB", model=text_model).port
    many = [{"role": "user", "content": "x"}] * 10000
    for messages in ([{"role": "user", "content": "word " * 2000000}], [{"role": "user", "content": "x" * 10000000}],
                     [{"role": "user", "content": " " * 1000000}], many, many * 10):
        answer = chat(port, messages)
        assert refused(answer) and answer.json()["error"]["type"] == "invalid_request_error"
    assert good(post(port, "/tokenize", {"messages": many}))["count"] > 10000
    good(chat(port))


HOSTILE = {
    "loops": "{% for i in range(10**9) %}{% for j in range(10**9) %}x{% endfor %}{% endfor %}",
    "recurses": "{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}",
    "explodes": "{% set ns = namespace(x='xxxxxxxx') %}{% for i in range(100) %}{% set ns.x = ns.x + ns.x %}{% endfor %}{{ ns.x }}",
    "digs": "{{ ''.__class__.__mro__ }}",
    "calls": "{{ messages.nothing() }}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_templates_are_bounded(worker, text_model, tmp_path, name):
    template = tmp_path / "hostile.jinja"
    template.write_text(HOSTILE[name])
    one = worker("--chat-template", template, model=text_model)
    for answer in (chat(one.port), chat(one.port, stream=True), post(one.port, "/apply-template", {"messages": HELLO}),
                   post(one.port, "/tokenize", {"messages": HELLO})):
        refused(answer)
    good(complete(one.port))
    assert one.alive()


def test_the_publisher_has_defaults_where_an_api_has_none(worker, text_model, tmp_path):
    """top_k 1 is greedy at any temperature; what the request says counts more, and /execute's own default is none."""
    model = tmp_path / "model"
    shutil.copytree(text_model, model)
    (model / "generation_config.json").write_text('{"top_k": 1, "temperature": 0.1, "do_sample": false}')
    hot = {"temperature": 2, "max_tokens": 24}
    one = worker(model=model)
    greedy = good(complete(one.port))["choices"][0]["text"][:8]
    texts = {good(complete(one.port, seed=seed, **hot))["choices"][0]["text"] for seed in range(3)}
    assert len(texts) == 1 and texts.pop().startswith(greedy)
    assert len({good(complete(one.port, seed=seed, top_k=0, **hot))["choices"][0]["text"] for seed in range(3)}) == 3
    body = {"job_id": "x", "prompt": "Once upon a time", "stream": False, **hot}
    assert len({json.loads(post(one.port, "/execute", dict(body, seed=seed)).body)["text"] for seed in range(3)}) == 3
    assert one.stop() == 0, one.log()
    one = worker("--no-generation-defaults", model=model)
    assert len({good(complete(one.port, seed=seed, **hot))["choices"][0]["text"] for seed in range(3)}) == 3
    (model / "generation_config.json").write_text('{"top_k": "few"}')
    assert one.stop() == 0, one.log()
    one = worker(model=model)
    told, *_ = one.told("generation_defaults")
    assert told["level"] == "warn" and "top_k must be a number" in told["message"]


def test_the_token_that_ends_a_completion_has_its_log_probability(port):
    """As the last of its lists, with no text of its own: harnesses count on one entry more than the prompt's at max_tokens 1."""
    likely = {"logit_bias": {"2": 100}, "logprobs": 1}
    whole = good(complete(port, echo=True, max_tokens=1, **likely))
    choice, usage = whole["choices"][0], whole["usage"]
    lists = choice["logprobs"]
    assert choice["finish_reason"] == "stop" and usage["completion_tokens"] == 0
    assert all(len(lists[name]) == usage["prompt_tokens"] + 1 for name in lists)
    assert lists["tokens"][-1] == "</s>" and lists["token_logprobs"][-1] < 0
    told = chunks(complete(port, stream=True, **likely))
    assert [c["choices"][0]["logprobs"]["tokens"] for c in told if c["choices"][0].get("logprobs")] == [["</s>"]]
    assert good(complete(port, logit_bias={"2": 100}))["choices"][0]["logprobs"] is None
