"""Anthropic's Messages by raw HTTP: the form of answers, streams and errors, what is accepted, what is refused and how."""

import json
import re

import pytest

from api_types import check_fields
from echo_template import echo_worker, n_tokens
from http_client import Stream, get, post, request, wait_until

MESSAGES = "/v1/messages"
COUNT = "/v1/messages/count_tokens"
HELLO = [{"role": "user", "content": "Once upon a time"}]


@pytest.fixture(scope="module")
def port(text_model, tmp_path_factory):
    """A worker with the shipped model, which has a chat template and 1024 tokens of context."""
    from conftest import Worker

    one = Worker([], text_model, tmp_path_factory.mktemp("messages") / "log")
    yield one.port
    assert one.stop() == 0, one.log()


def test_models_as_anthropics_clients_read_them(port):
    headers = {"anthropic-version": "2023-06-01"}
    listing = good(get(port, "/v1/models", headers=headers))
    (model,) = listing["data"]
    check_fields("anthropic.ModelInfo", model)
    assert model["type"] == "model" and model["display_name"] == model["id"] == listing["first_id"] == listing["last_id"]
    assert listing["has_more"] is False and model["lifecycle"] == "active" and model["max_input_tokens"] == 1024
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", model["created_at"])
    assert good(get(port, "/v1/models/" + model["id"], headers=headers)) == model


@pytest.fixture(scope="module")
def echo(text_model, tmp_path_factory):
    """echo(messages, expected, ...): asserts that the tokens of a body's prompt are those of a text."""
    with echo_worker(text_model, tmp_path_factory.mktemp("echo")) as port:

        def shown(messages=HELLO, expected="", **fields):
            counted = good(post(port, COUNT, dict({"messages": messages}, **fields)))["input_tokens"]
            said = good(ask(port, messages, **fields))["usage"]
            assert counted == n_tokens(port, expected), expected
            assert said["input_tokens"] + said["cache_read_input_tokens"] == counted

        yield shown


def ask(port, messages=HELLO, path=MESSAGES, headers=None, **fields):
    body = dict({"model": "any", "messages": messages, "max_tokens": 8, "temperature": 0}, **fields)
    return post(port, path, body, headers=headers)


def good(answer):
    assert answer.status == 200, answer.body
    return answer.json()


def refused(answer, status=400, kind="invalid_request_error"):
    """The message of an error, which has Anthropic's form."""
    assert answer.status == status, answer.body
    body = answer.json()
    assert set(body) == {"type", "error", "request_id"} and set(body["error"]) == {"type", "message"}, body
    assert body["type"] == "error" and body["error"]["type"] == kind, body
    assert body["request_id"] == answer.headers["x-request-id"] == answer.headers["request-id"]
    return body["error"]["message"]


def events(answer):
    """The events of a stream without pings, each of which has its name as type; the fields of each are checked."""
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "text/event-stream"
    found = []
    for frame in answer.body.decode().split("\n\n"):
        lines = [line for line in frame.split("\n") if line and not line.startswith(":")]
        if not lines:
            continue
        assert len(lines) == 2 and lines[0].startswith("event: ") and lines[1].startswith("data: "), lines
        event = json.loads(lines[1][6:])
        assert event["type"] == lines[0][7:]
        if event["type"] != "ping":
            found.append(event)
    kinds = {"message_start": "RawMessageStartEvent", "message_delta": "RawMessageDeltaEvent",
             "message_stop": "RawMessageStopEvent", "content_block_start": "RawContentBlockStartEvent",
             "content_block_delta": "RawContentBlockDeltaEvent", "content_block_stop": "RawContentBlockStopEvent"}
    for event in found:
        check_fields("anthropic." + kinds[event["type"]], event, "type")
    return found


# ---- answers ----


def test_a_whole_answer(port):
    answer = good(ask(port))
    check_fields("anthropic.Message", answer, "id", "content", "model", "role", "type", "usage", "stop_reason", "stop_sequence")
    check_fields("anthropic.Usage", answer["usage"], "input_tokens", "output_tokens", "cache_read_input_tokens")
    assert answer["type"] == "message" and answer["role"] == "assistant" and answer["model"] == "tallow-tiny"
    assert answer["id"].startswith("msg_") and answer["stop_sequence"] is None
    (block,) = answer["content"]
    check_fields("anthropic.TextBlock", block, "type", "text")
    assert "citations" not in block  # the Vercel AI SDK refuses an answer in which they are null
    plain = good(post(port, "/v1/chat/completions", {"messages": HELLO, "max_tokens": 8, "temperature": 0}))
    assert block["type"] == "text" and block["text"] == plain["choices"][0]["message"]["content"]
    assert answer["usage"]["output_tokens"] == plain["usage"]["completion_tokens"]


def test_a_stream_says_what_the_whole_says_in_this_order(port):
    whole = good(ask(port))
    told = events(ask(port, stream=True))
    n_deltas = len(told) - 5
    assert [event["type"] for event in told] == (["message_start", "content_block_start"] + ["content_block_delta"] * n_deltas
                                                 + ["content_block_stop", "message_delta", "message_stop"])
    message = told[0]["message"]
    check_fields("anthropic.Message", message, "id", "content", "model", "role", "type", "usage")
    assert message["content"] == [] and message["stop_reason"] is None and message["id"].startswith("msg_")
    check_fields("anthropic.Usage", message["usage"], "input_tokens", "output_tokens")
    check_fields("anthropic.TextBlock", told[1]["content_block"], "type", "text")
    assert told[1]["content_block"] == {"type": "text", "text": ""} and {event["index"] for event in told[1:-2]} == {0}
    for event in told[2:-3]:
        assert event["delta"]["type"] == "text_delta"
    assert "".join(event["delta"]["text"] for event in told[2:-3]) == whole["content"][0]["text"]
    check_fields("anthropic.RawMessageDeltaEvent.Delta", told[-2]["delta"], "stop_reason", "stop_sequence")
    check_fields("anthropic.MessageDeltaUsage", told[-2]["usage"], "output_tokens")
    assert told[-2]["delta"]["stop_reason"] == whole["stop_reason"]
    assert told[-2]["usage"]["output_tokens"] == whole["usage"]["output_tokens"]


def test_stop_reasons(port):
    capital = [{"role": "user", "content": "The capital of France is"}]
    whole = good(ask(port, capital, max_tokens=100))
    assert whole["stop_reason"] == "end_turn"
    assert good(ask(port, capital, max_tokens=2))["stop_reason"] == "max_tokens"
    text = whole["content"][0]["text"]
    stop = text[8:12]
    cut = good(ask(port, capital, max_tokens=100, stop_sequences=["\u0001never", stop]))
    assert cut["stop_reason"] == "stop_sequence" and cut["stop_sequence"] == stop
    assert cut["content"][0]["text"] == text.split(stop)[0]
    delta = events(ask(port, capital, max_tokens=100, stop_sequences=[stop], stream=True))[-2]["delta"]
    assert delta["stop_reason"] == "stop_sequence" and delta["stop_sequence"] == stop


def test_an_answer_without_text_has_one_empty_block(port):
    everything = ask(port, stop_sequences=["O", "T", "A", "W", "I", " "])
    first = good(everything)
    assert first["content"][0]["text"] == "" and len(first["content"]) == 1
    told = events(ask(port, stop_sequences=["O", "T", "A", "W", "I", " "], stream=True))
    assert [event["type"] for event in told] == ["message_start", "content_block_start", "content_block_stop", "message_delta",
                                                 "message_stop"]


def test_max_tokens_beyond_the_context_are_clipped(port):
    for fields in ({"max_tokens": 32000}, {}):
        body = dict(fields, messages=[{"role": "user", "content": "The capital of France is"}], temperature=0)
        assert good(post(port, MESSAGES, body))["stop_reason"] == "end_turn"


def test_what_was_cached_is_told_apart(worker, text_model):
    port = worker(model=text_model).port
    long = [{"role": "user", "content": "Once upon a time there was a child. " * 20}]
    first = good(ask(port, long))["usage"]
    again = good(ask(port, long))["usage"]
    total = good(post(port, COUNT, {"messages": long}))["input_tokens"]
    assert first["cache_read_input_tokens"] == 0 and first["input_tokens"] == total
    assert again["cache_read_input_tokens"] > 0 and again["input_tokens"] + again["cache_read_input_tokens"] == total
    start = events(ask(port, long, stream=True))[0]["message"]["usage"]
    assert start["input_tokens"] + start["cache_read_input_tokens"] == total and start["cache_read_input_tokens"] > 0


def test_pings_before_a_message_are_comments(worker):
    one = worker("--parallel", "1")
    with Stream(one.port, "/execute", {"prompt": "x", "max_tokens": 2000, "ignore_eos": True}) as first:
        assert next(first)[0] == "started"
        with Stream(one.port, MESSAGES, {"messages": HELLO, "max_tokens": 3, "stream": True}) as waiting:
            assert waiting.answer.readline() == b": ping\n"  # it waits
            first.close()
            names = [name for name, data in waiting]
            assert names[0] == "message_start" and names[-1] == "message_stop"


# ---- what a template is given ----


def test_system_messages_and_blocks(echo):
    text = [{"type": "text", "text": "Be "}, {"type": "text", "text": "nice", "cache_control": {"type": "ephemeral"}}]
    echo(expected="[system]Be nice[user]Once upon a time>", system="Be nice")
    echo(expected="[system]Be nice[user]Once upon a time>", system=text)
    echo([{"role": "user", "content": text}], "[user]Be nice>")
    echo(HELLO + [{"role": "system", "content": "Now sing"}] + HELLO,
         "[user]Once upon a time[system]Now sing[user]Once upon a time>")
    echo(HELLO + [{"role": "system", "content": text}] + HELLO + HELLO,
         "[user]Once upon a time[system]Be nice[user]Once upon a time\n\nOnce upon a time>")
    echo(expected="[user]Once upon a time>", system="")
    echo(expected="[user]Once upon a time>", system=[])
    echo([{"role": "user", "content": ""}], "[user]>")
    echo([{"role": "user", "content": []}, {"role": "user", "content": "x"}], "[user]x>")


def test_lines_of_changing_headers_are_dropped(echo):
    header = "x-anthropic-billing-header: cc_version=2.1; cch=%05d;"
    for system in ([{"type": "text", "text": header % 1}, {"type": "text", "text": "Be nice"}],
                   [{"type": "text", "text": header % 2 + "\n"}, {"type": "text", "text": "Be nice"}],
                   header % 3 + "\nBe nice", "Be " + "nice\n" + header % 4, [{"type": "text", "text": "Be nice"}]):
        expected = "Be nice\n" if isinstance(system, str) and system.startswith("Be") else "Be nice"
        echo(expected="[system]%s[user]Once upon a time>" % expected, system=system)
    echo(expected="[user]Once upon a time>", system=header % 5)
    kept = "x-anthropic-billing-header is a header"
    echo(expected="[system]%s[user]Once upon a time>" % kept, system=kept)
    echo([{"role": "user", "content": header % 6}], "[user]%s>" % (header % 6))


def test_the_assistants_last_message_is_continued(port, echo):
    said = HELLO + [{"role": "assistant", "content": "There was"}]
    echo(said, "[user]Once upon a time[assistant]There was")
    echo(HELLO + [{"role": "assistant", "content": [{"type": "text", "text": "There was"}]}],
         "[user]Once upon a time[assistant]There was")
    echo(HELLO + [{"role": "assistant", "content": ""}], "[user]Once upon a time>")
    prompt = good(post(port, "/apply-template", {"messages": HELLO}))["prompt"] + "There was"
    plain = good(post(port, "/v1/completions", {"prompt": prompt, "max_tokens": 8, "temperature": 0}))
    assert good(ask(port, said))["content"][0]["text"] == plain["choices"][0]["text"]


def test_calls_results_and_thinking_in_the_history(echo):
    use = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "sky", "n": 1.50}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "blue", "is_error": False}
    echo(HELLO + [{"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm", "signature": "s"},
                                                    {"type": "redacted_thinking", "data": "x"},
                                                    {"type": "text", "text": "I look."}, use]},
                  {"role": "user", "content": [result, {"type": "text", "text": "And?"}]}],
         '[user]Once upon a time[assistant](Hm)I look.<look {"at": "sky", "n": 1.5}>[tool=look]blue[user]And?>')
    blocks = [{"type": "text", "text": "bl"}, {"type": "text", "text": "ue"}]
    echo([{"role": "assistant", "content": [use]}, {"role": "user", "content": [dict(result, content=blocks)]}],
         '[assistant]<look {"at": "sky", "n": 1.5}>[tool=look]blue>')
    echo([{"role": "user", "content": [dict(result, tool_use_id="other", content=None)]}], "[tool]>")
    echo([{"role": "user", "content": [{"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "D"}},
                                       {"type": "search_result", "content": [{"type": "text", "text": "S"}]},
                                       {"type": "unheard_of", "text": 5}]}], "[user]DS>")


def test_a_malformed_call_in_the_history_is_text(echo):
    for input, shown in (("{broken", "look {broken"), (["x"], 'look ["x"]'), (None, "look null"), (5, "look 5")):
        echo([{"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "look", "input": input}]},
              {"role": "user", "content": "?"}], "[assistant]%s[user]?>" % shown)


def test_tools_reach_the_template(echo):
    schema = {"type": "object", "properties": {"at": {"type": "string"}}}
    shown = '|{"type": "function", "function": {"name": "look", "description": "Looks", "parameters": %s}}'
    tool = {"name": "look", "description": "Looks", "input_schema": schema, "defer_loading": True,
            "cache_control": {"type": "ephemeral"}}
    full = "[user]Once upon a time" + shown % json.dumps(schema) + ">"
    echo(expected=full, tools=[tool])
    echo(expected=full, tools=[dict(tool, type="custom"), {"type": "web_search_20250305", "name": "web_search"}],
         tool_choice={"type": "auto", "disable_parallel_tool_use": True})
    echo(expected="[user]Once upon a time>", tools=[tool], tool_choice={"type": "none"})
    echo(expected="[user]Once upon a time>", tools=[])
    for broken in (None, 5, "x", ["x"], True):
        echo(expected="[user]Once upon a time" + shown % '{"type": "object", "properties": {}}' + ">",
             tools=[dict(tool, input_schema=broken)])
    echo(expected="[user]Once upon a time" + shown % '{"type": 5, "properties": []}' + ">",
         tools=[dict(tool, input_schema={"type": 5, "properties": []})])


def test_thinking_and_effort_reach_the_template(echo):
    for kind, shown in (("enabled", "True"), ("adaptive", "True"), ("disabled", "False")):
        echo(expected="[user]Once upon a time~%s>" % shown, thinking={"type": kind, "budget_tokens": 1024})
    echo(expected="[user]Once upon a timelow>", output_config={"effort": "low"})
    echo(expected="[user]Once upon a timehigh>", output_config={"effort": "max"})


def test_what_changes_nothing_is_accepted(port):
    plain = good(ask(port))["content"]
    more = ask(port, path=MESSAGES + "?beta=true&x=%00", metadata={"user_id": "u"}, service_tier="auto", top_k=-1, top_p=1,
               context_management={"edits": [{"type": "clear_tool_uses_20250919"}]}, betas=["x"], container=None,
               thinking={"type": "adaptive"}, output_config={}, unheard_of={"a": 1}, mcp_servers=[], stream=False,
               headers={"anthropic-version": "2023-06-01", "anthropic-beta": "a,b", "X-Api-Key": "k"})
    assert good(more)["content"] == plain


# ---- errors ----


@pytest.mark.parametrize("fields, names", [
    ({"messages": None}, "messages"), ({"messages": []}, "messages"), ({"messages": "x"}, "messages"),
    ({"messages": [{"role": "assistant", "content": ""}]}, "messages"), ({"messages": ["x"]}, "messages.0"), ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
    ({"messages": [{"role": 5, "content": "x"}]}, "messages.0.role"), ({"messages": [{"role": "user"}]}, "messages.0.content"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
    ({"messages": HELLO + [{"role": "user", "content": ["x"]}]}, "messages.1.content.0"),
    ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages.0.content.0"),
    ({"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]}, "messages.0.content.0"),
    ({"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "base64", "data": "x"}}]}]}, "pictures"),
    ({"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "base64"}}]}]}, "files"),
    ({"messages": [{"role": "user", "content": [{"type": "tool_result", "content": "x"}]}]}, "tool_use_id"),
    ({"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": [
        {"type": "image"}]}]}]}, "pictures"),
    ({"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": 1, "name": "x", "input": {}}]}]}, "id and name"),
    ({"system": 5}, "system"), ({"system": [5]}, "system.0"), ({"tools": {}}, "tools"), ({"tools": ["x"]}, "tools.0"),
    ({"tools": [{"description": "x"}]}, "tools.0"), ({"tool_choice": {"type": "any"}}, "tool_choice"),
    ({"tool_choice": "auto"}, "tool_choice"), ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema"),
    ({"max_tokens": 0}, "max_tokens"), ({"max_tokens": "8"}, "max_tokens"), ({"temperature": 3}, "temperature"),
    ({"top_p": -1}, "top_p"), ({"top_k": 1.5}, "top_k"), ({"stop_sequences": [""]}, "stop_sequences"),
    ({"stop_sequences": ["x"] * 65}, "stop_sequences"), ({"stream": "yes"}, "stream"), ({"model": 5}, "model"),
])
def test_bad_fields_are_named(port, fields, names):
    assert names in refused(ask(port, **fields))
    if "messages" in fields or "tools" in fields or "system" in fields:
        assert names in refused(ask(port, path=COUNT, **fields))


def test_errors_have_one_form(worker, text_model):
    port = worker("--max-body", "400000", "--strict-model", model=text_model, env={"TALLOW_API_KEY": "secret"}).port
    key = {"X-Api-Key": "secret"}
    for path in (MESSAGES, COUNT, MESSAGES + "/batches", MESSAGES + "?beta=true"):
        refused(post(port, path, {}), 401, "authentication_error")
        refused(post(port, path, {}, headers={"X-Api-Key": "other"}), 401, "authentication_error")
    refused(post(port, MESSAGES + "/batches", {}, headers=key), 404, "not_found_error")
    for path in ("/v1/files", "/v1/complete", "/v1/skills"):  # whose client that is stands in a header
        answer = post(port, path, {}, headers=dict(key, **{"anthropic-version": "2023-06-01"}))
        assert "POST /v1/messages" in refused(answer, 404, "not_found_error"), path
    refused(get(port, MESSAGES, headers=key), 405)
    refused(request(port, "DELETE", COUNT, headers=key), 405)
    refused(post(port, MESSAGES, " " * 400001, headers=key), 413, "request_too_large")
    refused(post(port, MESSAGES, {}, headers=dict(key, Origin="http://evil.example")), 403, "permission_error")
    refused(post(port, MESSAGES, {}, headers=dict(key, Host="evil.example")), 403, "permission_error")
    refused(post(port, MESSAGES, {}, headers=dict(key, **{"Content-Encoding": "gzip"})))
    for body in ("", "{", "[]", "null", '{"messages":1,"messages":2}'):
        refused(post(port, MESSAGES, body, headers=key))
        refused(post(port, COUNT, body, headers=key))
    assert "any" in refused(ask(port, headers=key), 404, "not_found_error")
    long = [{"role": "user", "content": "word " * 3000}]
    assert "1024" in refused(ask(port, long, model="tallow-tiny", headers=key))
    many = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}] * 5000
    refused(ask(port, many, model="tallow-tiny", headers=key))
    assert good(ask(port, many, path=COUNT, headers=key))["input_tokens"] > 50000
    blocks = [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "content": [{}] * 3}] * 3000}]
    refused(ask(port, blocks, model="tallow-tiny", headers=key))


def test_a_full_queue_and_a_loading_model(worker, big_model):
    one = worker("--parallel", "1", "--queue", "1")
    endless = {"prompt": "x", "max_tokens": 2000, "ignore_eos": True}
    with Stream(one.port, "/execute", endless) as running:
        assert next(running)[0] == "started"  # else the next one might find it in the queue
        waiting = Stream(one.port, "/execute", endless)
        wait_until(lambda: get(one.port, "/v1/ready").json()["status"] == "busy")
        answer = ask(one.port)
        refused(answer, 429, "rate_limit_error")
        assert int(answer.headers["retry-after"]) >= 1
        waiting.close()
    loading = worker(model=big_model, wait=False)
    answer = ask(loading.listening_port())
    if answer.status != 200:  # else it was too fast for us, and answered
        refused(answer, 503, "overloaded_error")
        assert int(answer.headers["retry-after"]) >= 1


def test_a_stream_that_fails_says_so(worker):
    request = {"messages": HELLO, "max_tokens": 7000, "stream": True, "temperature": 2}
    for _ in range(20):  # an answer may end by itself before the signal is seen
        one = worker("--shutdown-timeout", "0")
        with Stream(one.port, MESSAGES, request) as stream:
            assert next(stream)[0] == "message_start"
            one.process.terminate()
            told = list(stream)
        if told[-1][0] != "message_stop":
            break
    assert told[-1][0] == "error" and set(told[-1][1]) == {"type", "error", "request_id"}
    assert told[-1][1]["error"]["type"] == "overloaded_error"
