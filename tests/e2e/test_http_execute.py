"""POST /execute as the contract has it: events, fields, errors, ends."""

import array
import json
import os
import shutil

import pytest

from conftest import ROOT, llama_config, write_model
from http_client import Stream, execute, get, health, post, request, text_of, wait_until

PROMPT = "Once upon a time"
LONG = {"prompt": PROMPT, "max_tokens": 2000, "ignore_eos": True}


def test_events_come_in_order(shared_worker):
    port = shared_worker.port
    body = {"job_id": "order-1", "prompt": PROMPT, "max_tokens": 12, "seed": 7, "ignore_eos": True}
    events = execute(port, body)
    names = [name for name, _ in events]
    assert names == ["started"] + ["token"] * 12 + ["end"]
    assert all(data["type"] == name for name, data in events)
    started, end = events[0][1], events[-1][1]
    assert set(started) == {"type", "job_id", "model", "started_at", "seed", "prompt_tokens", "cached_tokens"}
    assert started["job_id"] == "order-1" and started["seed"] == 7
    assert started["started_at"].endswith("Z") and "T" in started["started_at"]
    assert [data["i"] for name, data in events if name == "token"] == list(range(12))
    assert end["tokens_out"] == 12 and end["stop_reason"] == "max_tokens"
    assert "stop_sequence_matched" not in end
    assert end["usage"] == {
        "prompt_tokens": started["prompt_tokens"],
        "completion_tokens": 12,
        "total_tokens": started["prompt_tokens"] + 12,
        "cached_tokens": started["cached_tokens"],
    }
    assert set(end["timings"]) == {
        "queue_ms", "prefill_ms", "decode_ms", "time_to_first_token_ms", "tokens_per_second",
    }
    assert isinstance(end["decode_time_ms"], int)


def test_a_prompt_that_begins_with_bos_gets_no_second_one(worker, text_model, tallow):
    one = worker()
    counts = [execute(one.port, {"prompt": prompt, "max_tokens": 1, "parse_special": parse})[-1][1]["usage"]["prompt_tokens"]
              for prompt, parse in [(PROMPT, True), ("<s>" + PROMPT, True), ("<s><s>" + PROMPT, True), ("<s>" + PROMPT, False)]]
    assert counts[1] == counts[0] and counts[2] == counts[0] + 1 and counts[3] > counts[0] + 1
    wait_until(lambda: "it gets one, not two" in one.log())
    assert one.log().count("it gets one, not two") == 1
    two = tallow("tokenize", "--model", text_model, "--parse-special", input=b"<s>" + PROMPT.encode()).stdout.split()
    assert two[:2] == [b"1", b"1"] and len(two) == counts[0] + 1
    told = tallow("generate", "--model", text_model, "-p", "<s>" + PROMPT, "--max-tokens", "1", "--stats")
    assert b"prompt: %d tokens" % counts[0] in told.stderr and b"it gets one, not two" in told.stderr


def test_a_tiny_repetition_penalty_favours_what_was_said(worker, text_model):
    port = worker(model=text_model).port
    body = json.loads((ROOT / "tests" / "found" / "penalty-tiny.json").read_text())
    texts = {penalty: post(port, "/execute", dict(body, repetition_penalty=penalty)).json()["text"]
             for penalty in (1e-3, 1e-20, 1e-38, body["repetition_penalty"], 1e-310)}
    assert set(texts.values()) == {texts[1e-3]} and " France" in texts[1e-3]


def test_headers_are_those_of_an_event_stream(shared_worker):
    with Stream(shared_worker.port, "/execute", {"prompt": PROMPT, "max_tokens": 2}) as stream:
        assert stream.answer.getheader("Content-Type") == "text/event-stream"
        assert stream.answer.getheader("Cache-Control") == "no-store"
        assert stream.answer.getheader("X-Request-Id")


def test_one_object_equals_the_stream(shared_worker):
    port = shared_worker.port
    body = {"prompt": PROMPT, "max_tokens": 20, "seed": 11}
    events = execute(port, body)
    whole = post(port, "/execute", dict(body, stream=False)).json()
    assert whole["text"] == text_of(events)
    assert whole["tokens_out"] == events[-1][1]["tokens_out"]
    assert whole["stop_reason"] == events[-1][1]["stop_reason"]
    assert whole["seed"] == 11
    assert {"job_id", "model", "started_at", "decode_time_ms", "usage", "timings"} <= set(whole)


def test_a_chosen_seed_is_reported_and_repeats(shared_worker):
    port = shared_worker.port
    first = execute(port, {"prompt": PROMPT, "max_tokens": 16})
    seed = first[0][1]["seed"]
    assert 0 <= seed < 2**53
    again = execute(port, {"prompt": PROMPT, "max_tokens": 16, "seed": seed})
    assert text_of(first) == text_of(again)


@pytest.mark.parametrize("seed", [0, 2**53 + 1, 2**63, 2**64 - 1])
def test_seeds_are_exact(shared_worker, seed):
    events = execute(shared_worker.port, {"prompt": PROMPT, "max_tokens": 1, "seed": seed})
    assert events[0][1]["seed"] == seed


def test_greedy_repeats(shared_worker):
    body = {"prompt": PROMPT, "max_tokens": 16, "temperature": 0}
    assert text_of(execute(shared_worker.port, body)) == text_of(execute(shared_worker.port, body))


def test_job_id_is_made_when_absent(shared_worker):
    a = execute(shared_worker.port, {"prompt": PROMPT, "max_tokens": 1})[0][1]["job_id"]
    b = execute(shared_worker.port, {"prompt": PROMPT, "max_tokens": 1})[0][1]["job_id"]
    assert a and b and a != b


def test_unknown_fields_are_named(shared_worker):
    events = execute(shared_worker.port, {"prompt": PROMPT, "max_tokens": 1, "best_of": {}, "Stream": False})
    assert events[0][1]["ignored"] == ["best_of", "Stream"]


def test_what_is_sampled_can_be_steered(shared_worker):
    port = shared_worker.port
    body = {"prompt": PROMPT, "max_tokens": 12, "temperature": 0, "ignore_eos": True}
    text = text_of(execute(port, body))
    assert text_of(execute(port, dict(body, typical_p=0.5, top_n_sigma=1))) == text  # the likeliest stays
    assert text_of(execute(port, dict(body, presence_penalty=2, frequency_penalty=2))) != text
    forced = text_of(execute(port, dict(body, logit_bias={"300": 100})))
    assert forced and forced == forced[: len(forced) // 12] * 12  # one token, twelve times
    eos = dict(body, ignore_eos=False, logit_bias={"2": 100})
    assert execute(port, eos)[-1][1]["tokens_out"] == 0
    assert execute(port, dict(eos, min_tokens=5))[-1][1]["tokens_out"] == 5


def test_stop_sequence_ends_before_it(shared_worker):
    port = shared_worker.port
    body = {"prompt": PROMPT, "max_tokens": 40, "temperature": 0, "ignore_eos": True}
    text = text_of(execute(port, body))
    stop = text[12:17]  # in the middle, across token borders
    events = execute(port, dict(body, stop=["\x00never", stop]))
    assert text_of(events) == text[: text.index(stop)]
    end = events[-1][1]
    assert end["stop_reason"] == "stop_sequence" and end["stop_sequence_matched"] == stop
    assert execute(port, dict(body, stop=stop))[-1][1]["stop_reason"] == "stop_sequence"


def test_every_bad_field_is_named_at_once(shared_worker):
    bad = {
        "prompt": "", "max_tokens": 0, "temperature": 3, "top_p": 1.5, "top_k": -1, "min_p": 2,
        "repetition_penalty": 0, "stop": [""], "seed": -1, "stream": "yes", "deadline_ms": 0, "priority": 99,
        "ignore_eos": 1, "parse_special": "no", "job_id": "", "typical_p": 0, "top_n_sigma": -1, "presence_penalty": 3,
        "frequency_penalty": -3, "min_tokens": -1, "logit_bias": {"no token": 1},
    }
    answer = post(shared_worker.port, "/execute", bad)
    assert answer.status == 400
    errors = answer.json()["errors"]
    assert {e["field"] for e in errors} == set(bad)
    assert all(set(e) == {"field", "constraint", "message", "value"} for e in errors)
    top_p = next(e for e in errors if e["field"] == "top_p")
    assert top_p == {
        "field": "top_p",
        "constraint": "range(0.0..=1.0)",
        "message": "top_p must be at most 1.0 (got 1.5)",
        "value": "1.5",
    }


WRONG = [True, "5", [], {}, -1, 2**31, 2**53 + 1, 2**63, 1e308, 1.5]


@pytest.mark.parametrize("field", ["max_tokens", "top_k", "temperature", "top_p", "min_p", "repetition_penalty",
                                   "typical_p", "top_n_sigma", "presence_penalty", "frequency_penalty",
                                   "min_tokens", "logit_bias", "priority", "stream", "ignore_eos", "parse_special", "job_id", "stop"])
def test_wrong_values_get_400_and_nothing_breaks(shared_worker, field):
    port = shared_worker.port
    for value in WRONG:
        answer = post(port, "/execute", {"prompt": PROMPT, "max_tokens": 1, "stream": False, field: value})
        if answer.status == 400:
            assert [e["field"] for e in answer.json()["errors"]] == [field]
        else:
            assert answer.status == 200, (field, value, answer.body)
    assert get(port, "/livez").status == 200


@pytest.mark.parametrize("body", ["", " ", "null", "[]", '"x"', "5", "{", "}", '{"prompt":"x"} y', '{"prompt":NaN}',
                                  '{"prompt":"x","prompt":"y"}', '{"prompt":"\ud800"}'.encode("utf-8", "surrogatepass"),
                                  b'{"prompt":"\xff"}', "[" * 5000, '{"a":' * 5000, '{"x":[' + "0," * 200000 + "0]}"])
def test_bodies_that_are_no_request(shared_worker, body):
    answer = post(shared_worker.port, "/execute", body)
    assert answer.status == 400
    error = answer.json()["error"]
    assert error["code"] == "INVALID_REQUEST" and error["retriable"] is False


def test_prompts_are_never_echoed(shared_worker):
    for body in ({"prompt": "XSECRETX", "top_p": 9}, {"prompt": ["XSECRETX"]}, {"prompt": "p", "stop": ["XSECRETX", 1]}):
        answer = post(shared_worker.port, "/execute", body)
        assert answer.status == 400 and b"XSECRETX" not in answer.body


def test_a_prompt_beyond_the_context_is_refused_with_both_counts(shared_worker):
    port = shared_worker.port
    context = health(port)["context_length"]
    answer = post(port, "/execute", {"prompt": "tree house " * context})
    assert answer.status == 400
    error = answer.json()["error"]
    assert error["code"] == "CONTEXT_LENGTH_EXCEEDED" and error["retriable"] is False
    assert str(context) in error["message"]


def test_max_tokens_past_the_context_is_clipped(worker):
    port = worker("--context", "64").port
    events = execute(port, {"prompt": PROMPT, "max_tokens": 2000, "ignore_eos": True})
    end = events[-1][1]
    assert end["stop_reason"] == "context"
    assert end["usage"]["total_tokens"] <= 64 + 1


def test_max_tokens_of_the_worker_is_cap_and_default(worker):
    port = worker("--max-tokens", "5").port
    answer = post(port, "/execute", {"prompt": PROMPT, "max_tokens": 6})
    assert answer.status == 400 and answer.json()["errors"][0]["constraint"] == "range(1..=5)"
    assert execute(port, {"prompt": PROMPT, "ignore_eos": True})[-1][1]["tokens_out"] == 5


def test_an_active_job_id_is_taken(shared_worker):
    port = shared_worker.port
    with Stream(port, "/execute", dict(LONG, job_id="taken")) as first:
        assert next(first)[0] == "started"
        answer = post(port, "/execute", {"prompt": PROMPT, "job_id": "taken"})
        assert answer.status == 409 and answer.json()["error"]["code"] == "INVALID_REQUEST"
    wait_until(lambda: health(port)["active"] == 0)
    assert execute(port, {"prompt": PROMPT, "max_tokens": 1, "job_id": "taken"})[-1][0] == "end"


def test_cancel_ends_the_stream(shared_worker):
    port = shared_worker.port
    with Stream(port, "/execute", dict(LONG, job_id="cancel me")) as stream:
        for _ in range(3):
            next(stream)
        answer = post(port, "/cancel", {"job_id": "cancel me"})
        assert answer.status == 202
        events = list(stream)
    assert events[-1][0] == "error"
    assert events[-1][1]["code"] == "CANCELLED" and events[-1][1]["retriable"] is False
    assert all(name == "token" for name, _ in events[:-1])
    assert post(port, "/cancel", {"job_id": "cancel me"}).status == 202  # idempotent
    assert post(port, "/cancel", {}).status == 400


def test_a_deadline_ends_the_stream(shared_worker):
    port = shared_worker.port
    events = execute(port, dict(LONG, deadline_ms=60))
    if events[-1][0] == "end":
        pytest.skip("this model generates its whole context in 60 ms")
    assert events[-1][1]["code"] == "DEADLINE_EXCEEDED"
    answer = post(port, "/execute", dict(LONG, deadline_ms=60, stream=False))
    assert answer.status == 503 and answer.json()["error"]["code"] == "DEADLINE_EXCEEDED"


def faulty_model(folder, text_model, numbers):
    vocab_size = json.loads((text_model / "config.json").read_text())["vocab_size"]
    config = llama_config(hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
                          num_key_value_heads=2, max_position_embeddings=512, vocab_size=vocab_size)
    return write_model(folder, config, text_model, array.array("f", numbers).tobytes())


def test_a_model_that_answers_nothing_does_not_start(worker, tallow, text_model, tmp_path):
    model = faulty_model(tmp_path / "nan", text_model, [float("nan")])
    started = worker(model=model, wait=False)
    assert started.wait_end() == 3 and "no logit is finite" in started.reason()
    assert tallow("generate", "--model", model, "-p", PROMPT).returncode == 3
    found = tallow("inspect", "--model", model, "--check-weights")
    assert found.returncode == 3 and b"model.embed_tokens.weight" in found.stderr and b"nan" in found.stderr
    assert tallow("inspect", "--model", text_model, "--check-weights").returncode == 0


def test_a_model_whose_logits_are_not_finite(worker, tallow, text_model, tmp_path):
    """Trying again is of no use: the model is at fault, and the worker says so; three times in a row make it unhealthy."""
    model = faulty_model(tmp_path / "nan", text_model, [0.01 * (i % 17 - 8) for i in range(1009)])
    weights = model / "model.safetensors"
    data = bytearray(weights.read_bytes())
    n_header = int.from_bytes(data[:8], "little")
    first = 8 + n_header + json.loads(data[8:8 + n_header])["model.embed_tokens.weight"]["data_offsets"][0]
    token = json.loads(tallow("tokenize", "--model", model, "--json", input=PROMPT.encode()).stdout)[-1]
    data[first + token * 64 * 4:first + (token + 1) * 64 * 4] = array.array("f", [float("nan")] * 64).tobytes()
    weights.write_bytes(data)
    port = worker(model=model).port
    name, data = execute(port, {"prompt": PROMPT, "max_tokens": 4})[-1]
    assert name == "error" and data["code"] == "MODEL_FAULT" and data["retriable"] is False
    answer = post(port, "/execute", {"prompt": PROMPT, "max_tokens": 4, "stream": False})
    error = answer.json()["error"]
    assert answer.status == 500 and error["code"] == "MODEL_FAULT" and error["retriable"] is False
    assert "finite" in error["message"]
    generated = tallow("generate", "--model", model, "-p", PROMPT)
    assert generated.returncode == 70 and b"finite" in generated.stderr
    execute(port, {"prompt": PROMPT, "max_tokens": 4})
    answer = get(port, "/health")
    assert answer.status == 503 and answer.json()["status"] == "unhealthy" and "3 answers" in answer.json()["reason"]
    assert execute(port, {"prompt": "b", "max_tokens": 1})[-1][0] == "end"
    assert get(port, "/health").status == 200


def test_weights_that_are_cut_while_they_are_served(worker, slow_model, tmp_path):
    """No death: what runs ends with an error, new work is refused, the worker is unhealthy with the reason and ends well."""
    model = tmp_path / "model"
    shutil.copytree(slow_model, model)
    started = worker(model=model)
    with Stream(started.port, "/execute", LONG) as stream:
        assert next(stream)[0] == "started"
        os.truncate(model / "model.safetensors", 100000)
        *_, (name, data) = stream
    assert name == "error" and data["code"] == "MODEL_FAULT" and "model.safetensors" in data["message"]
    answer = get(started.port, "/health")
    assert answer.status == 503 and "lost" in answer.json()["reason"]
    assert post(started.port, "/execute", {"prompt": PROMPT}).status == 503
    assert started.stop() == 0 and len(started.events("weights_changed")) == 1


def test_weights_that_are_written_to_are_noticed(worker, slow_model, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(slow_model, model)
    started = worker(model=model)
    with open(model / "model.safetensors", "r+b") as weights:
        weights.seek(1000000)
        weights.write(b"\0" * 64)
    wait_until(lambda: get(started.port, "/health").status == 503)
    assert "written to" in get(started.port, "/health").json()["reason"]
    assert started.stop() == 0


def test_weights_that_are_replaced_are_noticed_and_served_on(worker, slow_model, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(slow_model, model)
    started = worker(model=model)
    shutil.copy(model / "model.safetensors", tmp_path / "new")
    os.rename(tmp_path / "new", model / "model.safetensors")
    wait_until(lambda: "model.safetensors was replaced or removed" in started.log())
    assert get(started.port, "/health").status == 200
    assert post(started.port, "/execute", {"prompt": PROMPT, "max_tokens": 1, "stream": False}).status == 200
    assert started.stop() == 0
    assert started.log().count("was replaced or removed") == 1


def test_any_content_type_will_do(shared_worker):
    for content_type in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = request(shared_worker.port, "POST", "/execute", headers={"Content-Type": content_type},
                         body=json.dumps({"prompt": PROMPT, "max_tokens": 1, "stream": False}))
        assert answer.status == 200


def test_a_full_queue_says_when_to_come_back(worker):
    port = worker("--parallel", "1", "--queue", "1").port
    streams = []
    try:
        with Stream(port, "/execute", LONG) as first:
            assert next(first)[0] == "started"
            streams.append(Stream(port, "/execute", LONG))
            wait_until(lambda: health(port)["queued"] == 1)
            answer = post(port, "/execute", LONG)
            assert answer.status == 429
            assert answer.json()["error"]["code"] == "QUEUE_FULL" and answer.json()["error"]["retriable"] is True
            assert int(answer.headers["retry-after"]) >= 1
            assert get(port, "/v1/ready").status == 503
            assert get(port, "/health").status == 200
    finally:
        for stream in streams:
            stream.close()


def test_two_calls_make_a_job(shared_worker):
    port = shared_worker.port
    answer = post(port, "/v1/inference", {"prompt": PROMPT, "max_tokens": 8, "job_id": "a b/%C3?é", "seed": 3})
    assert answer.status == 200 and answer.json()["job_id"] == "a b/%C3?é"
    url = answer.json()["sse_url"]
    wait_until(lambda: shared_worker.ended("a b/%C3?é"))
    assert request(port, "HEAD", url).status == 200  # takes nothing
    with Stream(port, url) as stream:
        assert stream.status == 200
        events = list(stream)
    assert [events[0][0], events[-1][0]] == ["started", "end"]
    assert text_of(events) == text_of(execute(port, {"prompt": PROMPT, "max_tokens": 8, "seed": 3}))
    assert get(port, url).status == 404  # once
    assert request(port, "HEAD", url).status == 404
    assert get(port, "/v1/inference/unknown/stream").status == 404


def test_a_job_can_be_cancelled_before_its_stream_is_opened(shared_worker):
    port = shared_worker.port
    url = post(port, "/v1/inference", dict(LONG, job_id="early")).json()["sse_url"]
    assert post(port, "/v1/inference", dict(LONG, job_id="early")).status == 409
    assert post(port, "/cancel", {"job_id": "early"}).status == 202
    wait_until(lambda: shared_worker.ended("early"))
    with Stream(port, url) as stream:
        events = list(stream)
    assert events[-1][0] == "error" and events[-1][1]["code"] == "CANCELLED"


def test_a_long_job_loses_nothing_before_it_is_opened(shared_worker):
    port = shared_worker.port
    # So many that a slow machine is done within the minute that a job waits for its reader.
    url = post(port, "/v1/inference", dict(LONG, job_id="long", max_tokens=200)).json()["sse_url"]
    wait_until(lambda: shared_worker.ended("long"))
    with Stream(port, url) as stream:
        events = list(stream)
        assert stream.pings == 0  # all of it is there: nothing is waited for in between
    assert events[-1][0] == "end"
    assert [data["i"] for name, data in events if name == "token"] == list(range(events[-1][1]["tokens_out"]))


def test_bad_words_are_in_no_answer(worker, text_model):
    """Those that an answer would have; those it has not change nothing; the same in a stream and in company."""
    port = worker(model=text_model).port
    body = {"prompt": PROMPT, "max_tokens": 60, "ignore_eos": True, "seed": 11}
    free = text_of(execute(port, body))
    said = [word for word in free.split() if len(word) > 2]
    bad = [said[0], said[1], said[3][1:] + " " + said[4][:1], "e"]
    assert all(word in free for word in bad[:2] + bad[3:])
    for words in (bad[:2], bad[:3], bad, bad[1]):
        events = execute(port, dict(body, bad_words=words))
        text = text_of(events)
        assert not [word for word in ([words] if isinstance(words, str) else words) if word in text], text
        assert [data["i"] for name, data in events if name == "token"] == list(range(60))
        assert events[-1][1]["tokens_out"] == 60
        streams = [Stream(port, "/execute", dict(body, bad_words=words)) for _ in range(3)]
        assert [text_of(stream) for stream in streams] == [text] * 3
    assert text_of(execute(port, dict(body, bad_words=["no such word", "\u00e9\u00e9"]))) == free
    for bad in ("", [""], [1], 7, {}, ["x" * 257], ["x"] * 129):
        answer = post(port, "/execute", dict(body, bad_words=bad))
        assert answer.status == 400 and [e["field"] for e in answer.json()["errors"]] == ["bad_words"], answer.body
