"""OpenAI's Responses by raw HTTP: the form of responses, events and errors, what is accepted, what is refused and how."""

import json

import pytest

from api_types import check_fields
from echo_template import echo_worker, n_tokens
from http_client import Stream, get, post, wait_until

PATH = "/v1/responses"
HELLO = "Once upon a time"
CAPITAL = "The capital of France is"


@pytest.fixture(scope="module")
def port(text_model, tmp_path_factory):
    """A worker with the shipped model, which has a chat template and 1024 tokens of context."""
    from conftest import Worker

    one = Worker([], text_model, tmp_path_factory.mktemp("responses") / "log")
    yield one.port
    assert one.stop() == 0, one.log()


@pytest.fixture(scope="module")
def echo(text_model, tmp_path_factory):
    """echo(input, expected, ...): asserts that the tokens of a body's prompt are those of a text."""
    with echo_worker(text_model, tmp_path_factory.mktemp("echo")) as port:

        def shown(input, expected, **fields):
            assert good(ask(port, input, **fields))["usage"]["input_tokens"] == n_tokens(port, expected), expected

        yield shown


def ask(port, input=HELLO, **fields):
    return post(port, PATH, dict({"model": "any", "input": input, "max_output_tokens": 8, "temperature": 0}, **fields))


def good(answer):
    assert answer.status == 200, answer.body
    return answer.json()


def refused(answer, status=400, param=None):
    """The message of an error, which has OpenAI's form."""
    assert answer.status == status, answer.body
    body = answer.json()
    assert set(body) == {"error"} and set(body["error"]) == {"message", "type", "param", "code"}, body
    if param:
        assert body["error"]["param"] == param, body
    return body["error"]["message"]


def check_response(response, status):
    for kind in ("openai.Response", "openai.ResponseResource"):
        check_fields(kind, response, "id", "object", "created_at", "status", "model", "output", "usage", "error", "tools")
    assert response["object"] == "response" and response["status"] == status and response["id"].startswith("resp_")
    assert response["model"] == "tallow-tiny" and response["store"] is False
    for item in response["output"]:
        check_fields("openai.OutputMessage", item, "id", "type", "role", "content", "status")
        assert item["type"] == "message" and item["role"] == "assistant"
        for part in item["content"]:
            check_fields("openai.OutputTextContent", part, "type", "text", "annotations", "logprobs")
    if status in ("completed", "incomplete"):
        usage = response["usage"]
        check_fields("openai.ResponseUsage", usage, "input_tokens", "output_tokens", "total_tokens")
        check_fields("openai.ResponseUsage.InputTokensDetails", usage["input_tokens_details"], "cached_tokens")
        check_fields("openai.ResponseUsage.OutputTokensDetails", usage["output_tokens_details"], "reasoning_tokens")
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]


def text_of(response):
    return "".join(part["text"] for item in response["output"] for part in item["content"])


KINDS = {
    "response.created": "ResponseCreatedEvent", "response.in_progress": "ResponseInProgressEvent",
    "response.completed": "ResponseCompletedEvent", "response.incomplete": "ResponseIncompleteEvent",
    "response.failed": "ResponseFailedEvent", "response.output_item.added": "ResponseOutputItemAddedEvent",
    "response.output_item.done": "ResponseOutputItemDoneEvent", "response.content_part.added": "ResponseContentPartAddedEvent",
    "response.content_part.done": "ResponseContentPartDoneEvent", "response.output_text.delta": "ResponseTextDeltaEvent",
    "response.output_text.done": "ResponseTextDoneEvent",
}


def check_events(told):
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    for event in told:
        check_fields("openai." + KINDS[event["type"]], event, "type", "sequence_number")
    return told


def events(answer):
    """The events of a stream, whose names are their types."""
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "text/event-stream"
    found = []
    for frame in answer.body.decode().split("\n\n"):
        lines = [line for line in frame.split("\n") if line and not line.startswith(":")]
        if lines:
            assert len(lines) == 2 and lines[0].startswith("event: ") and lines[1].startswith("data: "), lines
            found.append(json.loads(lines[1][6:]))
            assert found[-1]["type"] == lines[0][7:]
    return check_events(found)


# ---- answers ----


def test_a_whole_response(port):
    plain = good(post(port, "/v1/chat/completions",
                      {"messages": [{"role": "user", "content": HELLO}], "max_tokens": 8, "temperature": 0}))
    response = good(ask(port))
    check_response(response, "incomplete")
    assert response["incomplete_details"] == {"reason": "max_output_tokens"} and response["completed_at"] is None
    assert len(response["output"]) == 1 and response["output"][0]["status"] == "incomplete"
    assert text_of(response) == plain["choices"][0]["message"]["content"]
    assert response["usage"]["input_tokens"] == plain["usage"]["prompt_tokens"] and response["usage"]["output_tokens"] == 8
    whole = good(ask(port, CAPITAL, max_output_tokens=None))
    check_response(whole, "completed")
    assert whole["incomplete_details"] is None and whole["completed_at"] >= whole["created_at"]
    assert whole["output"][0]["status"] == "completed" and whole["error"] is None


def test_events_come_in_order(port):
    for fields, status in (({"max_output_tokens": 8}, "incomplete"), ({"max_output_tokens": 32000}, "completed")):
        whole = good(ask(port, CAPITAL, **fields))
        told = events(ask(port, CAPITAL, stream=True, **fields))
        n_deltas = len(told) - 8
        assert [event["type"] for event in told] == (
            ["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"]
            + ["response.output_text.delta"] * n_deltas
            + ["response.output_text.done", "response.content_part.done", "response.output_item.done", "response." + status])
        for event in told[:2]:
            check_response(event["response"], "in_progress")
            assert event["response"]["output"] == [] and event["response"]["usage"] is None
        item = told[2]["item"]
        check_fields("openai.OutputMessage", item, "id", "type", "role", "content", "status")
        assert item["status"] == "in_progress" and item["content"] == []
        assert {event["item_id"] for event in told[3:-2]} == {item["id"]} and {event["output_index"] for event in told[2:-1]} == {0}
        assert {event["content_index"] for event in told[3:-2]} == {0} and told[3]["part"]["text"] == ""
        text = "".join(event["delta"] for event in told[4:-4])
        assert text == told[-4]["text"] == told[-3]["part"]["text"] == told[-2]["item"]["content"][0]["text"] == text_of(whole)
        end = told[-1]["response"]
        check_response(end, status)
        assert end["output"] == [told[-2]["item"]] and end["id"] == told[0]["response"]["id"]
        assert end["usage"]["output_tokens"] == whole["usage"]["output_tokens"]


def test_a_probe_of_one_token(port):
    response = good(ask(port, "ping", max_output_tokens=1, store=False))
    check_response(response, "incomplete")
    assert response["usage"]["output_tokens"] == 1 and response["max_output_tokens"] == 1
    assert events(ask(port, "ping", max_output_tokens=1, stream=True))[-1]["type"] == "response.incomplete"


def test_what_was_asked_is_repeated(port):
    asked = {"instructions": "Be nice", "metadata": {"a": "b"}, "parallel_tool_calls": False, "prompt_cache_key": "k",
             "tool_choice": "none", "top_p": 0.5, "max_tool_calls": 3, "user": "u", "safety_identifier": "s"}
    tools = [{"type": "function", "name": "f"}, {"type": "web_search"}]
    response = good(ask(port, tools=tools, reasoning={"effort": "low", "summary": "auto"}, text={"verbosity": "low"}, **asked))
    check_response(response, "incomplete")
    assert {name: response[name] for name in asked} == asked
    assert response["reasoning"] == {"effort": "low", "summary": "auto"}
    assert response["text"] == {"format": {"type": "text"}, "verbosity": "low"}
    check_fields("openai.FunctionTool", response["tools"][0], "type", "name", "parameters", "strict", "description")
    assert response["tools"][1] == {"type": "web_search"}
    plain = good(ask(port))
    assert plain["metadata"] == {} and plain["tool_choice"] == "auto" and plain["instructions"] is None and plain["tools"] == []


def test_log_probabilities(port):
    plain = good(post(port, "/v1/chat/completions", {
        "messages": [{"role": "user", "content": HELLO}], "max_tokens": 8, "temperature": 0, "logprobs": True,
        "top_logprobs": 3}))["choices"][0]["logprobs"]["content"]
    asked = {"include": ["reasoning.encrypted_content", "message.output_text.logprobs"], "top_logprobs": 3}
    whole = good(ask(port, presence_penalty=0, frequency_penalty=0.5, **asked))
    check_response(whole, "incomplete")
    assert whole["top_logprobs"] == 3 and whole["frequency_penalty"] == 0.5 and len(plain) == 8
    whole = good(ask(port, **asked))["output"][0]["content"][0]
    assert whole["logprobs"] == plain
    told = events(ask(port, stream=True, **asked))
    assert [item for event in told if "delta" in event for item in event["logprobs"]] == plain
    assert told[-4]["logprobs"] == told[-3]["part"]["logprobs"] == told[-1]["response"]["output"][0]["content"][0]["logprobs"] == plain
    assert told[3]["part"]["logprobs"] == []
    few = good(ask(port, include=["message.output_text.logprobs"]))["output"][0]["content"][0]
    assert [item["top_logprobs"] for item in few["logprobs"]] == [[]] * 8
    assert good(ask(port, include=[], top_logprobs=0))["output"][0]["content"][0]["logprobs"] == []


# ---- what a template is given ----


def test_items_of_all_roles(echo):
    echo("Hi", "[user]Hi>")
    echo("Hi", "[system]Be nice[user]Hi>", instructions="Be nice")
    parts = [{"type": "input_text", "text": "H"}, {"type": "input_text", "text": "i"}]
    echo([{"role": "user", "content": parts}], "[user]Hi>")
    echo([{"type": "message", "role": "developer", "content": "A"}, {"role": "system", "content": "B"},
          {"type": "message", "role": "user", "content": parts},
          {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Yes", "annotations": []}]},
          {"role": "user", "content": "And?"}], "[system]Be\n\nA\n\nB[user]Hi[assistant]Yes[user]And?>", instructions="Be")
    echo([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": [{"type": "refusal", "refusal": "No"}]}],
         "[user]Hi[assistant]No>")


def test_calls_results_and_reasoning_in_the_history(echo):
    call = {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": '{"at": "sky"}', "id": "fc_1", "status": "x"}
    output = {"type": "function_call_output", "call_id": "call_1", "output": "blue"}
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm"}], "encrypted_content": None}
    echo([{"role": "user", "content": "Hi"}, reasoning, {"role": "assistant", "content": "I look."}, call,
          dict(call, call_id="call_2", name="hear", arguments=""), output, dict(output, call_id="call_2", output=[
              {"type": "input_text", "text": "nothing"}])],
         '[user]Hi[assistant](Hm)I look.<look {"at": "sky"}><hear {}>[tool=look]blue[tool=hear]nothing>')
    echo([dict(reasoning, content=[{"type": "reasoning_text", "text": "Long"}]), call], '[assistant](Long)<look {"at": "sky"}>>')
    echo([{"type": "web_search_call", "id": "ws", "status": "completed"}, {"role": "user", "content": "Hi"}], "[user]Hi>")
    for arguments in ('{"at": ', "sky", "[1]", "null"):
        echo([dict(call, arguments=arguments), output], "[assistant]look %s[tool=look]blue>" % arguments)
    echo([{"type": "custom_tool_call", "call_id": "1", "name": "patch", "input": "*** x"},
          {"type": "custom_tool_call_output", "call_id": "1", "output": "done"}], "[assistant]patch *** x[tool=patch]done>")


def test_tools_reach_the_template(echo):
    schema = {"type": "object", "properties": {"at": {"type": "string"}}}
    shown = '|{"type": "function", "function": {"name": "%s", "description": "Looks", "parameters": %s}}'
    tool = {"type": "function", "name": "look", "description": "Looks", "parameters": schema, "strict": False}
    others = [{"type": "web_search"}, {"type": "image_generation", "output_format": "png"},
              {"type": "custom", "name": "patch", "format": {"type": "grammar"}}, {"type": "local_shell"}]
    space = {"type": "namespace", "name": "space", "description": "x", "tools": [dict(tool, name="hear"), {"type": "custom", "name": "c"}]}
    full = "[user]Hi" + shown % ("look", json.dumps(schema)) + shown % ("hear", json.dumps(schema)) + ">"
    echo("Hi", full, tools=[tool] + others + [space])
    echo("Hi", "[user]Hi>", tools=[tool], tool_choice="none")
    echo("Hi", "[user]Hi>", tools=others)
    for broken in (None, 5, "x", []):
        echo("Hi", "[user]Hi" + shown % ("look", '{"type": "object", "properties": {}}') + ">", tools=[dict(tool, parameters=broken)])


def test_effort_reaches_the_template(echo):
    for effort, shown in (("low", "low"), ("minimal", "low"), ("medium", "medium"), ("xhigh", "high"), ("none", "~False"), (None, "")):
        echo("Hi", "[user]Hi%s>" % shown, reasoning={"effort": effort})


# ---- what is accepted and refused ----


def test_what_changes_nothing_is_accepted(port):
    plain = good(ask(port))["output"][0]["content"]
    more = ask(port, store=False, include=["reasoning.encrypted_content"], prompt_cache_key="x", client_metadata={"a": "b"},
               reasoning={"effort": "medium", "summary": "auto"}, service_tier="auto", truncation="auto", background=False,
               previous_response_id=None, stream_options=None, text={"format": {"type": "text"}}, unheard_of=[{}], stream=False)
    assert good(more)["output"][0]["content"] == plain


@pytest.mark.parametrize("fields, param", [
    ({"input": None}, "input"), ({"input": []}, "input"), ({"input": 5}, "input"), ({"input": ["x"]}, "input[0]"),
    ({"input": [{}]}, "input[0]"), ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
    ({"input": [{"role": "user"}]}, "input[0].content"), ({"input": [{"role": "user", "content": 5}]}, "input[0].content"),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "input[0].content[0]"),
    ({"input": [{"role": "user", "content": [{"type": "input_text", "text": 5}]}]}, "input[0].content[0]"),
    ({"input": [{"type": "function_call", "name": "x", "arguments": "{}"}]}, "input[0]"),
    ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0]"),
    ({"input": [{"type": "function_call_output", "call_id": "1"}]}, "input[0]"),
    ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0]"), ({"instructions": 5}, "instructions"),
    ({"previous_response_id": "resp_1"}, "previous_response_id"), ({"conversation": "conv_1"}, "conversation"),
    ({"background": True}, "background"), ({"prompt": {"id": "x"}}, "prompt"), ({"tools": {}}, "tools"), ({"tools": ["x"]}, "tools[0]"),
    ({"tools": [{"type": "function"}]}, "tools[0]"), ({"tool_choice": "required"}, "tool_choice"),
    ({"tool_choice": {"type": "function", "name": "x"}}, "tool_choice"), ({"text": {"format": {"type": "grammar"}}}, "text.format"),
    ({"text": "x"}, "text"), ({"reasoning": "low"}, "reasoning"), ({"metadata": []}, "metadata"), ({"stream": "x"}, "stream"),
    ({"max_output_tokens": 0}, "max_output_tokens"), ({"temperature": 3}, "temperature"), ({"top_p": "x"}, "top_p"),
    ({"model": 5}, "model"), ({"parallel_tool_calls": 1}, "parallel_tool_calls"), ({"include": "x"}, "include"),
    ({"include": [5]}, "include"), ({"top_logprobs": 21}, "top_logprobs"), ({"top_logprobs": True}, "top_logprobs"),
])
def test_bad_fields_are_named(port, fields, param):
    assert param in refused(ask(port, **fields), param=param)


def test_a_reference_is_refused_with_what_to_do(port):
    assert "store false" in refused(ask(port, input=[{"type": "item_reference", "id": "msg_1"}]), param="input[0]")


def test_models_are_told_to_agents_too(port):
    (model,) = good(get(port, "/v1/models?client_version=0.1"))["models"]
    assert model["slug"] == "tallow-tiny" and model["context_window"] == 1024


# ---- errors ----


def test_errors_have_one_form(worker, text_model):
    port = worker("--max-body", "400000", "--strict-model", model=text_model, env={"TALLOW_API_KEY": "secret"}).port
    key = {"Authorization": "Bearer secret"}
    refused(post(port, PATH, {}), 401)
    refused(get(port, PATH, headers=key), 405)
    refused(get(port, PATH + "/resp_1", headers=key), 404)
    refused(post(port, PATH, " " * 400001, headers=key), 413)
    refused(post(port, PATH, {}, headers=dict(key, Origin="http://evil.example")), 403)
    for body in ("", "{", "[]", "null"):
        refused(post(port, PATH, body, headers=key))
    assert "other" in refused(post(port, PATH, {"input": "x", "model": "other"}, headers=key), 404, "model")
    many = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}] * 5000
    answer = post(port, PATH, {"input": many}, headers=key)
    assert "1024" in refused(answer) and answer.json()["error"]["code"] == "context_length_exceeded"
    assert "no message" in refused(post(port, PATH, {"input": [{"type": "reasoning"}] * 10000}, headers=key), param="input")


def test_a_full_queue_and_a_failed_response(worker):
    one = worker("--parallel", "1", "--queue", "1", "--shutdown-timeout", "0")
    endless = {"prompt": "x", "max_tokens": 2000, "ignore_eos": True}
    with Stream(one.port, "/execute", endless) as running:
        assert next(running)[0] == "started"  # else the next one might find it in the queue
        waiting = Stream(one.port, "/execute", endless)
        wait_until(lambda: get(one.port, "/v1/ready").json()["status"] == "busy")
        answer = ask(one.port)
        refused(answer, 429)
        assert int(answer.headers["retry-after"]) >= 1
        waiting.close()
    wait_until(lambda: get(one.port, "/health").json()["active"] == 0)
    with Stream(one.port, PATH, {"input": HELLO, "max_output_tokens": 7000, "min_tokens": 7000, "stream": True}) as stream:
        told = [next(stream)[1] for _ in range(6)]
        one.process.terminate()
        told += [data for name, data in stream]
    check_events(told)
    assert [event["type"] for event in told[-2:]] == ["response.output_item.done", "response.failed"]
    assert told[-1]["response"]["error"]["code"] == "server_error" and told[-1]["response"]["status"] == "failed"
    assert told[-1]["response"]["output"][0]["status"] == "incomplete"
