"""The official Anthropic, OpenAI (Responses) and Ollama clients for Python, unchanged, against the worker at $URL, whose model
says what it is told to (`make clients-agents`)."""

import json
import os

import pytest

anthropic = pytest.importorskip("anthropic")
ollama = pytest.importorskip("ollama")
openai = pytest.importorskip("openai")

URL, KEY = os.environ["URL"], os.environ["TALLOW_API_KEY"]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def say(script):
    return [{"role": "user", "content": script}]


# ---- anthropic ----

TOOL = {"name": "get_weather", "description": "Weather", "input_schema": SCHEMA}


def claude(**options):
    return anthropic.Anthropic(**dict({"base_url": URL, "api_key": KEY, "max_retries": 0}, **options))


def test_messages():
    message = claude().messages.create(model="m", max_tokens=100, messages=say("plain"), system="Be brief.")
    assert message.content[0].text == "A plain answer." and message.stop_reason == "end_turn" and message.role == "assistant"
    assert message.usage.output_tokens > 0 and message._request_id
    assert claude(api_key=None, auth_token=KEY).messages.create(model="m", max_tokens=3, messages=say("plain")).stop_reason == "max_tokens"
    cut = claude().messages.create(model="m", max_tokens=100, messages=say("plain"), stop_sequences=["answer"])
    assert cut.stop_reason == "stop_sequence" and cut.stop_sequence == "answer"


def test_messages_streamed():
    with claude().messages.stream(model="m", max_tokens=100, messages=say("plain")) as stream:
        assert "".join(stream.text_stream) == "A plain answer."
        message = stream.get_final_message()
    assert message.stop_reason == "end_turn" and message.usage.output_tokens > 0
    kinds = [event.type for event in claude().messages.create(model="m", max_tokens=100, messages=say("plain"), stream=True)]
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop"


def test_count_tokens():
    fields = {"model": "m", "messages": say("plain"), "system": [{"type": "text", "text": "Be brief."}]}
    counted = claude().messages.count_tokens(**fields).input_tokens
    usage = claude().messages.create(max_tokens=3, **fields).usage
    assert counted == usage.input_tokens + (usage.cache_read_input_tokens or 0)


def test_thinking_and_tools():
    fields = {"model": "m", "max_tokens": 400, "tools": [TOOL], "thinking": {"type": "enabled", "budget_tokens": 1024},
              "betas": ["interleaved-thinking-2025-05-14"]}
    message = claude().beta.messages.create(messages=say("calls"), **fields)
    assert [block.type for block in message.content] == ["thinking", "text", "tool_use"] and message.stop_reason == "tool_use"
    call = message.content[2]
    assert call.name == "get_weather" and call.input == {"city": "Rome"}
    with claude().beta.messages.stream(messages=say("calls"), **fields) as stream:
        events = [event.type for event in stream]
        streamed = stream.get_final_message()
    assert [block.type for block in streamed.content] == ["thinking", "text", "tool_use"]
    assert streamed.content[2].input == call.input and streamed.content[0].thinking == "Weather?"
    assert "input_json" in events and "thinking" in events
    history = say("calls") + [{"role": "assistant", "content": message.content}, {"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}]}]
    assert claude().beta.messages.create(messages=history, **fields).content[0].text == "It is sunny."


def test_messages_fail_as_their_own_exceptions():
    with pytest.raises(anthropic.BadRequestError) as caught:
        claude().messages.create(model="m", max_tokens=5, messages=[{"role": "robot", "content": "x"}])
    assert "messages.0.role" in str(caught.value) and caught.value.request_id
    with pytest.raises(anthropic.AuthenticationError):
        claude(api_key="wrong").messages.create(model="m", max_tokens=5, messages=say("plain"))
    with pytest.raises(anthropic.NotFoundError):
        claude().messages.batches.list()
    with pytest.raises(anthropic.BadRequestError):
        claude().messages.create(model="m", max_tokens=5, messages=say("word " * 5000))


# ---- openai: Responses ----

FUNCTION = {"type": "function", "name": "get_weather", "description": "Weather", "parameters": SCHEMA, "strict": False}


def gpt(**options):
    return openai.OpenAI(**dict({"base_url": URL + "/v1", "api_key": KEY, "max_retries": 0}, **options))


def test_responses():
    response = gpt().responses.create(model="m", input="plain", instructions="Be brief.")
    assert response.output_text == "A plain answer." and response.status == "completed" and response._request_id
    probe = gpt().responses.create(model="m", input="plain", max_output_tokens=1)
    assert probe.status == "incomplete" and probe.incomplete_details.reason == "max_output_tokens"


def test_responses_streamed():
    with gpt().responses.stream(model="m", input="plain") as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "A plain answer."
    assert final.output_text == "A plain answer." and events[-1].type == "response.completed"
    assert [event.sequence_number for event in gpt().responses.create(model="m", input="plain", stream=True)] == list(
        range(sum(1 for _ in gpt().responses.create(model="m", input="plain", stream=True))))


def test_reasoning_and_functions():
    response = gpt().responses.create(model="m", input="calls", tools=[FUNCTION], store=False)
    assert [item.type for item in response.output] == ["reasoning", "message", "function_call"]
    call = response.output[2]
    assert call.name == "get_weather" and json.loads(call.arguments) == {"city": "Rome"}
    with gpt().responses.stream(model="m", input="calls", tools=[FUNCTION]) as stream:
        kinds = {event.type for event in stream}
        streamed = stream.get_final_response()
    assert [item.type for item in streamed.output] == ["reasoning", "message", "function_call"]
    assert {"response.function_call_arguments.delta", "response.function_call_arguments.done",
            "response.reasoning_text.delta"} <= kinds
    history = say("calls") + [item.model_dump() for item in response.output] + [
        {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}]
    assert gpt().responses.create(model="m", input=history, tools=[FUNCTION]).output_text == "It is sunny."


def test_responses_fail_as_their_own_exceptions():
    with pytest.raises(openai.BadRequestError) as caught:
        gpt().responses.create(model="m", input="plain", previous_response_id="resp_1")
    assert caught.value.param == "previous_response_id"
    with pytest.raises(openai.AuthenticationError):
        gpt(api_key="wrong").responses.create(model="m", input="plain")
    with pytest.raises(openai.NotFoundError):
        gpt().responses.retrieve("resp_1")


# ---- ollama ----


def llama():
    return ollama.Client(host=URL, headers={"Authorization": "Bearer " + KEY})


def test_ollama():
    assert llama().list().models[0].model and llama().ps().models[0].context_length > 0
    assert llama().show("m").capabilities
    answer = llama().chat(model="m", messages=say("plain"), options={"num_predict": 50})
    assert answer.message.content == "A plain answer." and answer.done_reason == "stop" and answer.eval_count > 0
    parts = list(llama().chat(model="m", messages=say("plain"), stream=True))
    assert "".join(part.message.content for part in parts) == "A plain answer." and parts[-1].done
    assert llama().generate(model="m", prompt="plain").response == "A plain answer."
    assert "".join(part.response for part in llama().generate(model="m", prompt="plain", stream=True)) == "A plain answer."
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]
    for answer in (llama().chat(model="m", messages=say("calls"), tools=tools, think=True),
                   next(part for part in llama().chat(model="m", messages=say("calls"), tools=tools, stream=True)
                        if part.message.tool_calls)):
        (call,) = answer.message.tool_calls
        assert call.function.name == "get_weather" and call.function.arguments == {"city": "Rome"}
    assert llama().chat(model="m", messages=say("thinks"), think=True).message.thinking == "Let me see."
    assert len(llama().embed(model="m", input=["a", "b"]).embeddings) == 2
    assert isinstance(json.loads(llama().chat(model="m", messages=say("plain"), format="json").message.content), dict)
    assert "city" in json.loads(llama().chat(model="m", messages=say("plain"), format=SCHEMA).message.content)
    for refused in (lambda: llama().pull("m"), lambda: llama().delete("m"), lambda: llama().chat(model="m", messages=say("plain"), format={"$ref": "x:y"})):
        with pytest.raises(ollama.ResponseError):
            refused()
