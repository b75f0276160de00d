"""A conversation over chat completions: each turn computes what is new in it, and says what a worker says that has never
heard of the conversation. Each kernel set, as prefill and decoding have the same bits in some and not in others."""

import json

import pytest

from http_client import get, health, post, wait_until

CHAT = "/v1/chat/completions"
ANSWER = {"max_tokens": 60, "temperature": 0}
SAID = ["Tell me about the tree and the house.", "And then?", "Why is that so?", "Go on, please."]


def good(answer):
    assert answer.status == 200, answer.body
    return answer.json()


def caught_up(port):
    lines = get(port, "/metrics").body.decode().splitlines()
    return "worker_catching_up_answers 0" in lines


def tokens_of(port, messages):
    return good(post(port, "/tokenize", {"messages": messages}))["tokens"]


def common(a, b):
    n = 0
    while n < min(len(a), len(b)) and a[n] == b[n]:
        n += 1
    return n


@pytest.mark.parametrize("flags", [(), ("--isa", "avx2"), ("--isa", "avx2", "--weights", "q8")])
def test_each_turn_computes_what_is_new(worker, tallow, text_model, flags):
    inspected = tallow("inspect", text_model, "--json", *flags)
    if inspected.returncode != 0:
        pytest.skip("this CPU has no AVX2")
    page = json.loads(inspected.stdout)["memory"]["kv_page_tokens"]
    started = worker(*flags, model=text_model)
    port = started.port
    messages, before, cached = [], [], 0
    for turn in range(12):
        messages.append({"role": "user", "content": SAID[turn % len(SAID)]})
        tokens = tokens_of(port, messages)
        given = dict(ANSWER, messages=list(messages))
        answer = good(post(port, CHAT, given))
        usage, text = answer["usage"], answer["choices"][0]["message"]["content"]
        cached = usage["prompt_tokens_details"]["cached_tokens"]
        assert usage["prompt_tokens"] == len(tokens)
        assert common(tokens, before) // page * page <= cached < len(tokens)
        before = tokens + good(post(port, "/tokenize", {"prompt": text, "add_special_tokens": False}))["tokens"]
        messages.append({"role": "assistant", "content": text})
        wait_until(lambda: caught_up(port))
    assert cached >= 256  # of what was said in turns before, most is answers
    cold = good(post(worker(*flags, model=text_model).port, CHAT, given))
    assert cold["choices"][0]["message"]["content"] == text
    assert cold["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert health(port)["kv_pages_free"] == health(port)["kv_pages_total"]
    used = started.cpu_seconds()

    def rests():
        nonlocal used
        used, last = started.cpu_seconds(), used
        return used == last

    wait_until(rests)
