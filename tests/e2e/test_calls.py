"""Reasoning and calls of tools in Messages, Responses and Ollama's API, whole and streamed, by a model that says what it is told
to."""

import json

import pytest

import scripted_model
from api_types import check_fields
from http_client import post
from test_messages import events as message_events
from test_responses import KINDS, check_events

TEMPLATE = ("{{ bos_token }}{% for m in messages %}[{{ m.role }}]{% endfor %}"
            "{{ '<go:' + messages[-1].content + '>' }}")
ARGUMENTS = {"city": "Orléans {", "days": 2}
SCRIPTS = {
    "thinks": "<think>\nLet me see: 1 < 2.\n</think>\n\nHello there!",
    "calls": "<think>Weather?</think>\n\nOn it.\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": %s}\n</tool_call>"
             % json.dumps(ARGUMENTS, ensure_ascii=False),
    "two": "<tool_call>{\"name\":\"get_weather\",\"arguments\":{\"days\":12}}</tool_call>\n<tool_call>"
           "{\"name\":\"get_weather\",\"arguments\":{\"days\":13}}</tool_call>\n",
    "fenced": "```json\n{\"name\": \"get_weather\", \"arguments\": {\r\n\"days\": 6\n}}\n```",
    "broken": "Well:\n<tool_call>{\"name\": \"get_weather\", \"arguments\": {\"city\": }}</tool_call>",
}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}


@pytest.fixture(scope="module")
def port(text_model, tmp_path_factory):
    from conftest import Worker

    folder = tmp_path_factory.mktemp("calls")
    starts = {"<go:%s>" % name: text for name, text in SCRIPTS.items()}
    one = Worker([], scripted_model.write(folder / "scripted", text_model, starts, TEMPLATE), folder / "log")
    yield one.port
    assert one.stop() == 0, one.log()


def good(answer):
    assert answer.status == 200, answer.body
    return answer.json()


# ---- Messages ----


def message(port, script, **fields):
    return post(port, "/v1/messages", dict({
        "messages": [{"role": "user", "content": script}], "max_tokens": 500,
        "tools": [{"name": "get_weather", "input_schema": SCHEMA}]}, **fields))


def message_both(port, script, **fields):
    """Blocks and stop reason of a whole message, which its stream joins to."""
    whole = good(message(port, script, **fields))
    told = message_events(message(port, script, stream=True, **fields))
    blocks = []
    for event in told[1:-2]:
        if event["type"] == "content_block_start":
            assert event["index"] == len(blocks)
            blocks.append(dict(event["content_block"]))
            if blocks[-1]["type"] == "tool_use":
                assert blocks[-1]["input"] == {}
                blocks[-1]["input"] = ""
        elif event["type"] == "content_block_delta":
            delta, block = event["delta"], blocks[event["index"]]
            assert event["index"] == len(blocks) - 1
            (name,) = set(delta) - {"type"}
            key = "input" if name == "partial_json" else name
            assert delta["type"] == {"text": "text_delta", "thinking": "thinking_delta", "signature": "signature_delta",
                                     "input": "input_json_delta"}[key]
            block[key] += delta[name]
    assert told[-2]["delta"]["stop_reason"] == whole["stop_reason"]
    for block in blocks:
        if block["type"] == "tool_use":
            block["input"] = json.loads(block["input"])
    for kept in whole["content"] + blocks:
        check_fields("anthropic." + {"text": "TextBlock", "thinking": "ThinkingBlock", "tool_use": "ToolUseBlock"}[kept["type"]], kept)
        kept.pop("id", None)
        assert kept.pop("signature", "x")
    assert blocks == whole["content"]
    return whole["content"], whole["stop_reason"]


def test_thinking_blocks(port):
    thinking, text = message_both(port, "thinks")[0]
    assert thinking["type"] == "thinking" and thinking["thinking"] == "Let me see: 1 < 2."
    assert text["type"] == "text" and text["text"] == "Hello there!"


def test_tool_use_blocks(port):
    (thinking, text, call), reason = message_both(port, "calls")
    assert reason == "tool_use" and thinking["thinking"] == "Weather?" and text["text"] == "On it."
    assert call == {"type": "tool_use", "name": "get_weather", "input": ARGUMENTS, "caller": {"type": "direct"}}
    calls, reason = message_both(port, "two")
    assert reason == "tool_use" and [call["input"] for call in calls] == [{"days": 12}, {"days": 13}]
    (call,), _ = message_both(port, "two", tool_choice={"type": "auto", "disable_parallel_tool_use": True})
    assert call["input"] == {"days": 12}
    ids = [block["id"] for block in good(message(port, "two"))["content"]]
    assert len(set(ids)) == 2 and all(name.startswith("toolu_") for name in ids)
    content, reason = message_both(port, "two", tools=[])
    assert reason == "end_turn" and content[0]["text"] == SCRIPTS["two"]


def test_a_call_that_breaks_off_is_text(port):
    whole = good(message(port, "broken"))
    assert whole["stop_reason"] == "end_turn" and [block["type"] for block in whole["content"]] == ["text"]
    assert "<tool_call>" in whole["content"][0]["text"]
    told = message_events(message(port, "broken", stream=True))
    assert told[-2]["delta"]["stop_reason"] == "end_turn"
    starts = [event["index"] for event in told if event["type"] == "content_block_start"]
    assert starts == [event["index"] for event in told if event["type"] == "content_block_stop"] == list(range(len(starts)))
    message_both(port, "broken")
    n = good(message(port, "calls"))["usage"]["output_tokens"]
    for max_tokens in range(1, n):  # wherever it is cut off, a stream ends as the whole answer does
        content, reason = message_both(port, "calls", max_tokens=max_tokens)
        assert reason == "max_tokens" and [block for block in content if block["type"] == "tool_use"] in ([], [
            {"type": "tool_use", "name": "get_weather", "input": ARGUMENTS, "caller": {"type": "direct"}}])


@pytest.fixture(scope="module")
def hermes(text_model, tmp_path_factory):
    from conftest import Worker

    folder = tmp_path_factory.mktemp("strict")
    starts = {"<go:%s>" % name: text for name, text in SCRIPTS.items()}
    one = Worker(["--tool-format", "hermes"], scripted_model.write(folder / "scripted", text_model, starts, TEMPLATE), folder / "log")
    yield one.port
    assert one.stop() == 0, one.log()


def said(answer):
    """Blocks without what is each answer's own."""
    return [{k: v for k, v in block.items() if k not in ("id", "signature")} for block in answer["content"]]


@pytest.mark.parametrize("script", ["thinks", "calls", "two", "fenced"])
def test_strict_tools_change_nothing_of_what_is_right(hermes, script):
    """Reasoning, text and calls of a model that does as it should: its grammar takes them as they are."""
    port = hermes
    schema = dict(SCHEMA, additionalProperties=False)
    strict = {"tools": [{"name": "get_weather", "input_schema": schema, "strict": True}]}
    free = good(message(port, script, tools=[{"name": "get_weather", "input_schema": schema}]))
    held = good(message(port, script, **strict))
    assert said(held) == said(free)
    assert held["stop_reason"] == free["stop_reason"] and "constraints" not in held
    assert free.get("constraints") == {"unconstrained_tools": ["get_weather"]}


def test_where_the_form_of_calls_is_not_known_strict_tools_are_not_held(port):
    answer = good(message(port, "calls", tools=[{"name": "get_weather", "input_schema": SCHEMA, "strict": True}]))
    assert answer["content"][-1]["input"] == ARGUMENTS and answer["constraints"] == {"unconstrained_tools": ["get_weather"]}


def test_a_strict_tool_mends_a_call_that_is_none(hermes):
    """The script breaks off where a value should be; the grammar leaves it no way to."""
    held = good(message(hermes, "broken", tools=[{"name": "get_weather", "input_schema": {
        "type": "object", "properties": {"city": {"enum": ["Paris", "Oslo"]}}, "required": ["city"], "additionalProperties": False}, "strict": True}]))
    assert held["content"][-1]["input"]["city"] in ("Paris", "Oslo")


# ---- Responses ----

KINDS.update({
    "response.function_call_arguments.delta": "ResponseFunctionCallArgumentsDeltaEvent",
    "response.function_call_arguments.done": "ResponseFunctionCallArgumentsDoneEvent",
    "response.reasoning_text.delta": "ResponseReasoningTextDeltaEvent",
    "response.reasoning_text.done": "ResponseReasoningTextDoneEvent",
})


def respond(port, script, **fields):
    return post(port, "/v1/responses", dict({
        "input": script, "tools": [{"type": "function", "name": "get_weather", "parameters": SCHEMA}]}, **fields))


def respond_both(port, script, **fields):
    """The items of a whole response, which a stream ends with, too."""
    whole = good(respond(port, script, **fields))
    answer = respond(port, script, stream=True, **fields)
    told = [json.loads(line[6:]) for line in answer.body.decode().split("\n") if line.startswith("data: ")]
    check_events(told)
    assert told[-1]["type"] == "response.completed"
    end = told[-1]["response"]
    done = [event for event in told if event["type"] == "response.output_item.done"]
    assert [event["item"] for event in done] == end["output"]
    assert [event["output_index"] for event in done] == list(range(len(done)))
    for item in end["output"]:
        deltas = "".join(event["delta"] for event in told if event.get("item_id") == item["id"] and "delta" in event)
        assert deltas == (item["arguments"] if item["type"] == "function_call" else item["content"][0]["text"])
    assert end["usage"] == dict(whole["usage"], input_tokens_details=end["usage"]["input_tokens_details"])
    kinds = {"message": "OutputMessage", "reasoning": "ReasoningItem", "function_call": "FunctionToolCall"}
    for item in whole["output"] + end["output"]:
        check_fields("openai." + kinds[item["type"]], item, "id", "status")
        item.pop("id")
        item.pop("call_id", None)
    assert whole["output"] == end["output"]
    return whole


def test_reasoning_items(port):
    whole = respond_both(port, "thinks")
    reasoning, said = whole["output"]
    assert reasoning["type"] == "reasoning" and reasoning["summary"] == []
    assert "encrypted_content" not in reasoning  # null is no value of it in Open Responses
    assert reasoning["content"] == [{"type": "reasoning_text", "text": "Let me see: 1 < 2."}]
    assert said["content"][0]["text"] == "Hello there!"
    assert 0 < whole["usage"]["output_tokens_details"]["reasoning_tokens"] < whole["usage"]["output_tokens"]
    cut = [good(respond(port, "thinks", max_output_tokens=3))["output"]]
    answer = respond(port, "thinks", max_output_tokens=3, stream=True)
    cut.append(json.loads(answer.body.decode().split("data: ")[-1])["response"]["output"])
    assert [[item["type"] for item in output] for output in cut] == [["reasoning"]] * 2


def test_function_call_items(port):
    reasoning, said, call = respond_both(port, "calls")["output"]
    assert reasoning["type"] == "reasoning" and said["content"][0]["text"] == "On it."
    assert call["type"] == "function_call" and call["name"] == "get_weather" and json.loads(call["arguments"]) == ARGUMENTS
    calls = respond_both(port, "two")["output"]
    assert [json.loads(call["arguments"]) for call in calls] == [{"days": 12}, {"days": 13}]
    ids = [item["call_id"] for item in good(respond(port, "two"))["output"]]
    assert len(set(ids)) == 2 and all(name.startswith("call_") for name in ids)
    assert len(respond_both(port, "two", parallel_tool_calls=False)["output"]) == 1
    (said,) = respond_both(port, "two", tool_choice="none")["output"]
    assert said["content"][0]["text"] == SCRIPTS["two"]


def test_calls_name_their_namespace(port):
    tool = {"type": "function", "name": "get_weather", "parameters": SCHEMA}
    space = {"type": "namespace", "name": "sky", "description": "x", "tools": [tool]}
    call = respond_both(port, "calls", tools=[space])["output"][-1]
    assert call["name"] == "get_weather" and call["namespace"] == "sky"
    assert "namespace" not in respond_both(port, "calls")["output"][-1]


def test_a_call_that_breaks_off_is_never_done(port):
    (said,) = good(respond(port, "broken"))["output"]
    assert "<tool_call>" in said["content"][0]["text"]
    answer = respond(port, "broken", stream=True)
    told = check_events([json.loads(line[6:]) for line in answer.body.decode().split("\n") if line.startswith("data: ")])
    done = [event["item"]["type"] for event in told if event["type"] == "response.output_item.done"]
    assert "function_call" not in done and told[-1]["type"] == "response.completed"


def tokens_of(items):
    return b"".join(bytes(item["bytes"]) for item in items).decode()


def test_log_probabilities_are_those_of_the_text(port):
    """Not of reasoning, calls and tags; in a stream they come with the text whose tokens they are."""
    fields = {"include": ["message.output_text.logprobs"], "top_logprobs": 2}
    for script, text in (("thinks", "Hello there!"), ("calls", "On it."), ("fenced", None), ("broken", SCRIPTS["broken"])):
        for told in (good(respond(port, script, **fields)), good(respond(port, script, top_logprobs=2))):
            said = [item["content"][0] for item in told["output"] if item["type"] == "message"]
            assert [part["text"] for part in said] == ([text] if text else []) and told["top_logprobs"] == 2
        answer = respond(port, script, stream=True, **fields)
        events = check_events([json.loads(line[6:]) for line in answer.body.decode().split("\n") if line.startswith("data: ")])
        deltas = [event for event in events if event["type"] == "response.output_text.delta"]
        items = [item for event in deltas for item in event["logprobs"]]
        for part in said:
            # A token may be text in part: here those at the ends of it, beside a tag.
            assert part["text"] in tokens_of(part["logprobs"]) and len(part["logprobs"][0]["top_logprobs"]) == 2
            assert tokens_of(part["logprobs"]) in SCRIPTS[script] and part["logprobs"] == items
            assert "<think>" not in tokens_of(items) and "Let" not in tokens_of(items)
        done = [event["logprobs"] for event in events if event["type"] == "response.output_text.done"]
        messages = [item["content"][0] for item in events[-1]["response"]["output"] if item["type"] == "message"]
        assert [part["logprobs"] for part in messages] == done and sum(done, []) == items


# ---- Ollama ----


def test_thinking_and_calls_in_lines(port):
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]

    def chat(script, **fields):
        return post(port, "/api/chat", dict({"messages": [{"role": "user", "content": script}], "tools": tools}, **fields))

    for script in SCRIPTS:
        whole = good(chat(script, stream=False))
        told = [json.loads(line) for line in chat(script).body.decode().splitlines()]
        said = whole["message"]
        assert "".join(line["message"].get("thinking", "") for line in told) == said.get("thinking", "")
        calls = [call for line in told for call in line["message"].get("tool_calls", [])]
        assert [call["function"] for call in calls] == [call["function"] for call in said.get("tool_calls", [])]
        if script != "broken":
            assert "".join(line["message"]["content"] for line in told) == said["content"]
        assert whole["done_reason"] == told[-1]["done_reason"] == "stop"
    said = good(chat("calls", stream=False))["message"]
    assert said["thinking"] == "Weather?" and said["content"] == "On it."
    assert said["tool_calls"][0]["function"] == {"index": 0, "name": "get_weather", "arguments": ARGUMENTS}
    for script in SCRIPTS:
        whole = good(chat(script, stream=False, logprobs=True))
        told = [json.loads(line) for line in chat(script, logprobs=True).body.decode().splitlines()]
        assert tokens_of(whole["logprobs"]) == SCRIPTS[script]
        assert [item for line in told for item in line.get("logprobs", [])] == whole["logprobs"]
    whole = good(post(port, "/api/generate", {"prompt": "thinks", "stream": False}))
    assert whole["thinking"] == "Let me see: 1 < 2." and whole["response"] == "Hello there!"
