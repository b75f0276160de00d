"""Reasoning and calls of tools in chat completions, whole and streamed, by a model that says what it is told to."""

import json

import pytest

import scripted_model
from http_client import post

CHAT = "/v1/chat/completions"
TEMPLATE = ("{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
            "{% if go is defined %}{{ '<go:' + go + '>' }}{% else %}<think>{% endif %}")
TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "Weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}}}]
SCRIPTS = {
    "thinks": "<think>\nLet me see: 1 < 2.\n</think>\n\nHello there!",
    "<think>": "Deep thought.</think>Shallow answer",
    "hermes": "On it.\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Orléans {\", \"days\": 2}}\n</tool_call>",
    "two": "<think>both</think>\n<tool_call>{\"name\":\"get_weather\",\"arguments\":{\"days\":12}}</tool_call>\n<tool_call>"
           "{\"name\":\"get_weather\",\"arguments\":{\"days\":13}}</tool_call>\n",
    "marked": "[TOOL_CALLS]get_weather[ARGS]{\"city\": \"Rome\"}",
    "broken": "Well:\n<tool_call>{\"name\": \"get_weather\", \"arguments\": {\"city\": }}</tool_call>",
    "bare": "{\"name\": \"get_weather\", \"parameters\": {\"city\": \"Bonn\"}}",
}
STARTS = {name if name == "<think>" else "<go:%s>" % name: text for name, text in SCRIPTS.items()}


def worker_with(tmp_path_factory, text_model, *options):
    from conftest import Worker

    folder = tmp_path_factory.mktemp("answers")
    model = scripted_model.write(folder / "scripted", text_model, STARTS, TEMPLATE, ("[TOOL_CALLS]", "[ARGS]"))
    return Worker(options, model, folder / "log")


@pytest.fixture(scope="module")
def port(text_model, tmp_path_factory):
    one = worker_with(tmp_path_factory, text_model)
    yield one.port
    assert one.stop() == 0, one.log()


def ask(port, script, **fields):
    body = {"model": "any", "messages": [{"role": "user", "content": "Go"}], "tools": TOOLS,
            "chat_template_kwargs": {"go": script} if script else {}}
    body.update(fields)
    return post(port, CHAT, {name: value for name, value in body.items() if value is not None})


def whole(port, script, **fields):
    """The message of a whole answer, and why it ended."""
    answer = ask(port, script, **fields)
    assert answer.status == 200, answer.body
    (choice,) = answer.json()["choices"]
    return choice["message"], choice["finish_reason"]


def streamed(port, script, **fields):
    """The same, joined from the deltas of a stream; broken calls, which only a stream knows, are left out."""
    answer = ask(port, script, stream=True, **fields)
    assert answer.status == 200, answer.body
    lines = [line[6:] for line in answer.body.decode().split("\n") if line.startswith("data: ")]
    assert lines.pop() == "[DONE]"
    message, calls, reason = {"role": None, "content": ""}, [], None
    for chunk in map(json.loads, lines):
        (choice,) = chunk["choices"]
        assert reason is None, "nothing comes after the reason"
        delta, reason = choice["delta"], choice["finish_reason"]
        assert reason is None or delta == {}
        if "role" in delta:
            message["role"] = delta["role"]
        for name in ("content", "reasoning_content", "reasoning"):
            if name in delta:
                message[name] = message.get(name, "") + delta[name]
        for call in delta.get("tool_calls", []):
            if "id" in call:
                assert call["index"] == len(calls) and call["function"]["arguments"] == ""
                calls.append({"id": call["id"], "type": call["type"], "function": dict(call["function"])})
            else:
                assert set(call) == {"index", "function"} and set(call["function"]) == {"arguments"}
                calls[call["index"]]["function"]["arguments"] += call["function"]["arguments"]
    return message, calls, reason


def both(port, script, **fields):
    """Whole and streamed say the same; the whole message."""
    message, reason = whole(port, script, **fields)
    joined, calls, reason_of_stream = streamed(port, script, **fields)
    assert reason == reason_of_stream and joined["role"] == "assistant"
    for name in ("reasoning_content", "reasoning"):
        assert joined.get(name) == message.get(name)
    assert joined["content"] == (message["content"] or "")
    assert [call["function"] for call in calls] == [call["function"] for call in message.get("tool_calls", [])]
    return message, reason


def test_reasoning_is_a_text_of_its_own(port):
    for tools in (TOOLS, None):
        message, reason = both(port, "thinks", tools=tools)
        assert message["reasoning_content"] == "Let me see: 1 < 2." and "reasoning" not in message
        assert message["content"] == "Hello there!" and reason == "stop" and "tool_calls" not in message


def test_a_prompt_may_open_reasoning(port):
    message, _ = both(port, None)
    assert message["reasoning_content"] == "Deep thought." and message["content"] == "Shallow answer"


def test_a_call(port):
    message, reason = both(port, "hermes")
    assert reason == "tool_calls" and message["content"] == "On it."
    (call,) = message["tool_calls"]
    assert call["type"] == "function" and call["id"].startswith("call_") and len(call["id"]) > 12
    assert call["function"]["name"] == "get_weather"
    assert call["function"]["arguments"] == '{"city": "Orléans {", "days": 2}'


def test_several_calls_have_ids_of_their_own(port):
    message, reason = both(port, "two")
    assert reason == "tool_calls" and message["content"] is None and message["reasoning_content"] == "both"
    assert [json.loads(call["function"]["arguments"]) for call in message["tool_calls"]] == [{"days": 12}, {"days": 13}]
    assert len({call["id"] for call in message["tool_calls"]}) == 2
    message, _ = both(port, "two", parallel_tool_calls=False)
    assert len(message["tool_calls"]) == 1 and message["content"] is None


def test_each_choice_is_read_on_its_own(port):
    choices = ask(port, "hermes", n=2).json()["choices"]
    calls = [choice["message"]["tool_calls"][0] for choice in choices]
    assert [choice["index"] for choice in choices] == [0, 1] and calls[0]["function"] == calls[1]["function"]
    assert calls[0]["id"] != calls[1]["id"]
    answer = ask(port, "hermes", n=2, stream=True, logprobs=True)
    lines = [json.loads(line[6:]) for line in answer.body.decode().split("\n") if line.startswith("data: {")]
    for index in (0, 1):
        mine = [chunk["choices"][0] for chunk in lines if chunk["choices"][0]["index"] == index]
        arguments = [call["function"]["arguments"] for choice in mine for call in choice["delta"].get("tool_calls", [])]
        assert "".join(arguments) == calls[index]["function"]["arguments"] and mine[-1]["finish_reason"] == "tool_calls"
        tokens = [token["token"] for choice in mine if choice["logprobs"] for token in choice["logprobs"]["content"]]
        assert "".join(tokens) == SCRIPTS["hermes"]


def test_marks_that_are_control_tokens_reach_the_reader(port):
    message, reason = both(port, "marked")
    assert reason == "tool_calls" and message["content"] is None
    assert message["tool_calls"][0]["function"] == {"name": "get_weather", "arguments": '{"city": "Rome"}'}
    # Nobody looks for calls: such tokens have no text, as ever.
    assert both(port, "marked", tools=None)[0]["content"] == 'get_weather{"city": "Rome"}'


def test_what_is_no_call_is_text(port):
    message, reason = whole(port, "broken")
    text = 'Well:\n<tool_call>{"name": "get_weather", "arguments": {"city": }}</tool_call>'
    assert message["content"] == text and "tool_calls" not in message and reason == "stop"
    joined, calls, reason = streamed(port, "broken")
    assert joined["content"] == text and reason == "stop"
    assert [call["function"]["arguments"] for call in calls] == ['{"city": ']  # what a stream cannot take back
    for fields in ({"tools": None}, {"tools": []}, {"tool_choice": "none"}):
        message, reason = both(port, "hermes", **fields)
        assert message["content"] == SCRIPTS["hermes"] and reason == "stop" and "tool_calls" not in message


def test_length_beats_tool_calls(port):
    n = ask(port, "two").json()["usage"]["completion_tokens"]
    message, reason = both(port, "two", max_tokens=n - 1)
    assert reason == "length" and len(message["tool_calls"]) >= 1
    message, reason = both(port, "bare", max_tokens=2)
    assert reason == "length" and message["content"] and SCRIPTS["bare"].startswith(message["content"])


def test_a_call_without_a_mark(port):
    message, reason = both(port, "bare")
    assert reason == "tool_calls" and message["tool_calls"][0]["function"]["arguments"] == '{"city": "Bonn"}'
    other = [{"type": "function", "function": {"name": "other"}}]
    assert both(port, "bare", tools=other)[0]["content"] == SCRIPTS["bare"]


def test_formats_can_be_chosen(text_model, tmp_path_factory):
    one = worker_with(tmp_path_factory, text_model, "--tool-format", "mistral", "--reasoning-format", "both")
    try:
        assert both(one.port, "hermes")[0]["content"] == SCRIPTS["hermes"]
        (call,) = both(one.port, "marked")[0]["tool_calls"]
        assert len(call["id"]) == 9 and call["id"].isalnum()
        message, _ = both(one.port, "thinks")
        assert message["reasoning"] == message["reasoning_content"] == "Let me see: 1 < 2."
    finally:
        assert one.stop() == 0, one.log()
    two = worker_with(tmp_path_factory, text_model, "--tool-format", "none", "--reasoning-format", "none")
    try:
        assert both(two.port, "two")[0]["content"] == SCRIPTS["two"]
    finally:
        assert two.stop() == 0, two.log()


def test_unknown_formats_are_refused(tallow, text_model):
    result = tallow("serve", "--model", text_model, "--tool-format", "xml")
    assert result.returncode == 2 and b"xml" in result.stderr and b"hermes" in result.stderr
    assert tallow("serve", "--model", text_model, "--reasoning-format", "some").returncode == 2


def test_bad_fields_are_named(port):
    for fields, param in (({"tools": [1]}, "tools[0]"), ({"tools": {"a": 1}}, "tools"), ({"tool_choice": "never"}, "tool_choice"),
                          ({"tools": [{"type": "function", "function": 5}]}, "tools[0]"),
                          ({"tool_choice": 5}, "tool_choice"), ({"parallel_tool_calls": "no"}, "parallel_tool_calls")):
        answer = ask(port, "bare", **fields)
        assert answer.status == 400 and answer.json()["error"]["param"] == param, answer.body


def test_histories_reach_the_template_as_it_wants_them(text_model, tmp_path_factory):
    from conftest import Worker

    folder = tmp_path_factory.mktemp("history")
    (folder / "t.jinja").write_text(
        "{% for m in messages %}{% if m.role == 'tool' and m.tool_call_id|length != 9 %}{{ raise_exception('id') }}{% endif %}"
        "[{{ m.role }}:{{ m.reasoning_content }}:{{ m.content }}{% for c in m.tool_calls %}{{ '[TOOL_CALLS]' if 0 }}"
        "<{{ c.function.name }}{% for k, v in c.function.arguments | items %} {{ k }}={{ v }}{% endfor %}>{% endfor %}]"
        "{% endfor %}{{ tools | length if tools is not none else 'none' }}")
    one = Worker(["--chat-template", str(folder / "t.jinja")], text_model, folder / "log")

    def prompt(*messages, **fields):
        answer = post(one.port, "/tokenize", {"messages": list(messages), **fields})
        assert answer.status == 200, answer.body
        body = {"model": "any", "messages": list(messages), "max_tokens": 1, **fields}
        chat = post(one.port, CHAT, body)
        assert chat.status == 200 and chat.json()["usage"]["prompt_tokens"] == len(answer.json()["tokens"]), chat.body
        return post(one.port, "/detokenize", {"tokens": answer.json()["tokens"]}).json()["prompt"].strip()

    def calls(*items):
        return {"role": "assistant", "content": None, "tool_calls": list(items)}

    def call(arguments, **fields):
        return {"id": "call_7", "type": "function", "function": {"name": "f", "arguments": arguments}, **fields}

    try:
        tool = {"role": "tool", "tool_call_id": "call_7", "content": "r"}
        assert prompt(calls(call('{"a": 1}')), tool) == "[assistant::<f a=1>][tool::r]none"
        assert prompt(calls(call({"a": 1}))) == "[assistant::<f a=1>]none"
        assert prompt(calls(call('{"a": '), call("")), tool) == '[assistant::<f arguments={"a": ><f>][tool::r]none'
        assert prompt(calls(5, {"id": 1}, call(None))) == '[assistant::5\n{"id":1}<f>]none'
        assert prompt({"role": "assistant", "content": "x", "reasoning": "why", "tool_calls": "f()"}) == '[assistant:why:x\n"f()"]none'
        assert prompt({"role": "assistant", "content": "x", "reasoning_content": "why", "tool_calls": []}, tools=[]) \
            == "[assistant:why:x]none"
        assert prompt({"role": "user", "content": "x"}, tools=TOOLS) == "[user::x]1"
    finally:
        assert one.stop() == 0, one.log()
