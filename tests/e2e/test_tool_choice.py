"""Calls that must be made, and tools that are strict, in every dialect: names and arguments are what they must be, whatever is
drawn; what cannot be enforced is refused by its place where it must be, and told where it need not."""

import json
import re

import pytest

from http_client import post

PROMPT = "Once upon a time"
HELLO = [{"role": "user", "content": PROMPT}]
WEATHER = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 8}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
           "required": ["city", "days"], "additionalProperties": False}
PLACE = {"type": "object", "properties": {"at": {"enum": ["here", "there"]}}, "required": ["at"], "additionalProperties": False}
BAD = {"type": "object", "properties": {"a": {"$ref": "https://example.com/x"}}}
WILD = {"temperature": 2, "seed": 3}


def chat_tools(*schemas, **more):
    return [{"type": "function", "function": dict({"name": "f%d" % i, "parameters": schema}, **more)} for i, schema in enumerate(schemas)]


@pytest.fixture(scope="module", params=["hermes", "mistral", "llama3", "qwen3-coder"])
def port(request, text_model, tmp_path_factory):
    from conftest import Worker

    one = Worker(["--tool-format", request.param], text_model, tmp_path_factory.mktemp("choice") / "log")
    one.format = request.param
    yield one.port
    assert one.stop() == 0, one.log()


@pytest.fixture(scope="module")
def hermes(text_model, tmp_path_factory):
    from conftest import Worker

    one = Worker(["--tool-format", "hermes"], text_model, tmp_path_factory.mktemp("hermes") / "log")
    yield one.port
    assert one.stop() == 0, one.log()


def good(answer):
    assert answer.status == 200, answer.body
    return answer.json()


def check(name, arguments):
    if name == "f0":
        assert set(arguments) == {"city", "days"} and 1 <= arguments["days"] <= 9 and isinstance(arguments["city"], str), arguments
    else:
        assert name == "f1" and arguments in ({"at": "here"}, {"at": "there"}), (name, arguments)


def plain(schema):
    """Where parameters are plain text strings have no lengths."""
    return json.loads(json.dumps(schema).replace(', "maxLength": 8', ""))


def chat(port, tools=None, **fields):
    return post(port, "/v1/chat/completions", dict({"messages": HELLO, "max_tokens": 300, "tools": chat_tools(plain(WEATHER), PLACE) if tools is None else tools},
                                                   **dict(WILD, **fields)))


def test_a_call_must_be_made_in_a_chat(port):
    for seed in range(6):
        answer = good(chat(port, tool_choice="required", parallel_tool_calls=False, seed=seed))["choices"][0]
        if answer["finish_reason"] == "length":
            continue  # a string went on to max_tokens
        assert answer["finish_reason"] == "tool_calls" and not answer["message"]["content"]
        (call,) = answer["message"]["tool_calls"]
        check(call["function"]["name"], json.loads(call["function"]["arguments"]))


def test_a_named_function_is_the_one_that_is_called(port):
    named = {"type": "function", "function": {"name": "f1"}}
    for seed in range(4):
        (call,) = good(chat(port, tool_choice=named, seed=seed))["choices"][0]["message"]["tool_calls"]
        assert call["function"]["name"] == "f1"
        check("f1", json.loads(call["function"]["arguments"]))


def test_streamed_calls_are_held_too(port):
    body = chat(port, tools=chat_tools(PLACE, PLACE), tool_choice="required", parallel_tool_calls=False, stream=True).body.decode()
    deltas = [json.loads(line)["choices"][0] for line in re.findall(r"^data: (\{.*)", body, re.M)]
    calls = [call["function"] for delta in deltas for call in delta["delta"].get("tool_calls", [])]
    assert json.loads("".join(call.get("arguments") or "" for call in calls))["at"] in ("here", "there")
    assert deltas[-1]["finish_reason"] == "tool_calls"


def test_other_dialects_force_calls(hermes):
    tools = [{"name": "f0", "input_schema": WEATHER}, {"name": "f1", "input_schema": PLACE}]
    body = {"messages": HELLO, "max_tokens": 300, "tools": tools, **WILD}
    for choice in ({"type": "any", "disable_parallel_tool_use": True}, {"type": "tool", "name": "f1"}):
        answer = good(post(hermes, "/v1/messages", dict(body, tool_choice=choice)))
        (block,) = answer["content"]
        assert answer["stop_reason"] == "tool_use" and block["type"] == "tool_use" and (block["name"] == "f1" or "name" not in choice)
        check(block["name"], block["input"])
    functions = [{"type": "function", "name": "f0", "parameters": WEATHER}, {"type": "function", "name": "f1", "parameters": PLACE}]
    for choice in ("required", {"type": "function", "name": "f1"},
                   {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f1"}]}):
        answer = good(post(hermes, "/v1/responses", dict({"input": PROMPT, "tools": functions, "tool_choice": choice,
                                                          "parallel_tool_calls": False, "max_output_tokens": 300}, **WILD)))
        (item,) = answer["output"]
        assert item["type"] == "function_call" and (item["name"] == "f1" or choice == "required")
        check(item["name"], json.loads(item["arguments"]))
    answer = good(post(hermes, "/api/chat", {"messages": HELLO, "tools": chat_tools(WEATHER, PLACE), "tool_choice": "required", "stream": False,
                                             "options": WILD}))
    for call in answer["message"]["tool_calls"]:
        check(call["function"]["name"], call["function"]["arguments"])


def test_several_calls_where_they_may_be(hermes):
    counts = set()
    for seed in range(12):
        message = good(chat(hermes, tools=chat_tools(PLACE, PLACE), tool_choice="required", seed=seed))["choices"][0]["message"]
        counts.add(len(message["tool_calls"]))
        for call in message["tool_calls"]:
            check("f1", json.loads(call["function"]["arguments"]))
    assert len(counts) > 1, counts


def test_a_strict_tool_is_held_where_the_model_chooses(hermes):
    """Asked by a bias for the tag, which the model would never write by itself."""
    tag = good(post(hermes, "/tokenize", {"prompt": "<tool_call>", "add_special_tokens": False}))["tokens"][0]
    body = {"tools": chat_tools(PLACE, PLACE, strict=True), "logit_bias": {str(tag): 100}, "temperature": 1}
    answer = good(chat(hermes, **body))
    assert "constraints" not in answer
    text = good(chat(hermes, tools=chat_tools(PLACE, strict=True), max_tokens=20, seed=4))["choices"][0]
    assert text["finish_reason"] in ("length", "stop") and "<tool_call>" not in (text["message"]["content"] or "")


def test_tools_that_nothing_holds_are_told(hermes):
    answer = good(chat(hermes, tools=chat_tools(BAD, PLACE), max_tokens=3))
    assert answer["constraints"] == {"unconstrained_tools": ["f0", "f1"]}
    stream = chat(hermes, tools=chat_tools(BAD), max_tokens=3, stream=True)
    assert json.loads(stream.headers["x-constraints"]) == {"unconstrained_tools": ["f0"]}
    assert good(post(hermes, "/v1/messages", {"messages": HELLO, "max_tokens": 3, "tools": [{"name": "g", "input_schema": BAD}]}))[
        "constraints"] == {"unconstrained_tools": ["g"]}


@pytest.mark.parametrize("fields, where", [
    ({"tools": chat_tools(PLACE, BAD), "tool_choice": "required"}, "/tools/1/parameters/properties/a/$ref"),
    ({"tools": chat_tools(BAD, strict=True)}, "/tools/0/parameters/properties/a/$ref"),
    ({"tool_choice": {"type": "function", "function": {"name": "nobody"}}}, "nobody"),
    ({"tools": [], "tool_choice": "required"}, "tool_choice"), ({"tool_choice": "must"}, "tool_choice"), ({"tool_choice": {}}, "tool_choice"),
    ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": []}}}, "allowed_tools"),
    ({"tool_choice": "required", "response_format": {"type": "json_object"}}, "response_format"),
])
def test_what_cannot_be_forced_is_refused(hermes, fields, where):
    answer = chat(hermes, **fields)
    assert answer.status == 400 and where in answer.json()["error"]["message"], answer.body
    assert answer.json()["error"]["param"] == ("tools" if where[0] == "/" else "response_format" if "resp" in where else "tool_choice")


def test_a_schema_and_tools_leave_the_choice(hermes):
    schema = {"type": "object", "properties": {"x": {"const": 1}}, "required": ["x"], "additionalProperties": False}
    for seed in range(4):
        message = good(chat(hermes, tools=chat_tools(PLACE, strict=True), seed=seed,
                            response_format={"type": "json_schema", "json_schema": {"schema": schema}}))["choices"][0]["message"]
        if message.get("tool_calls"):
            for call in message["tool_calls"]:
                check("f1", json.loads(call["function"]["arguments"]))
        else:
            assert json.loads(message["content"]) == {"x": 1}


def test_many_large_tools_compile(hermes):
    """What an agent sends: 22 tools with schemas of a kilobyte and more each."""
    large = {"type": "object", "required": ["p0"], "additionalProperties": False, "$defs": {"d": {"type": "array", "items": {"type": "string"}}},
             "properties": {"p%d" % i: {"anyOf": [{"type": "string", "description": "x" * 60}, {"type": "integer", "minimum": i},
                                                  {"$ref": "#/$defs/d"}, {"type": "object", "properties": {"q": {"enum": ["a", "b", i]}}}]}
                            for i in range(12)}}
    tools = chat_tools(*[large] * 22)
    answer = good(chat(hermes, tools=tools, tool_choice={"type": "function", "function": {"name": "f7"}}, max_tokens=20))
    assert answer["choices"][0]["finish_reason"] in ("length", "tool_calls")
    good(chat(hermes, tools=tools, tool_choice="required", max_tokens=5))
