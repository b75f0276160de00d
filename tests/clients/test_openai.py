"""The official Python client, unchanged, against the worker at $URL (`make clients`)."""

import asyncio
import json
import os
import time
import urllib.request

import openai
import pydantic
import pytest

URL, KEY, MODEL = os.environ["URL"], os.environ["TALLOW_API_KEY"], "tallow-tiny"
HELLO = [{"role": "user", "content": "Once upon a time"}]
GREEDY = {"model": MODEL, "max_tokens": 8, "temperature": 0}
LONG = {"model": MODEL, "messages": HELLO, "n": 8, "stream": True, "extra_body": {"ignore_eos": True}}


def client(**options):
    return openai.OpenAI(**dict({"base_url": URL + "/v1", "api_key": KEY, "max_retries": 0}, **options))


def health():
    with urllib.request.urlopen(URL + "/health") as answer:
        return json.load(answer)


def wait_idle():
    while health()["active"] + health()["queued"] > 0:
        time.sleep(0.01)


def test_models():
    (model,) = client().models.list().data
    assert model.id == MODEL and model.object == "model" and isinstance(model.created, int) and model.owned_by
    assert client().models.retrieve(MODEL) == model


def test_completion():
    answer = client().completions.create(prompt="Once upon a time", **GREEDY)
    assert answer.object == "text_completion" and answer.choices[0].finish_reason in ("stop", "length")
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens and answer._request_id
    for prompt in (["Once upon a time"], [1, 300, 301]):
        assert client().completions.create(prompt=prompt, **GREEDY).choices[0].text
    parts = list(client().completions.create(prompt="Once upon a time", stream=True, stream_options={"include_usage": True}, **GREEDY))
    assert "".join(part.choices[0].text for part in parts if part.choices) == answer.choices[0].text
    assert parts[-1].choices == [] and parts[-1].usage.total_tokens == usage.total_tokens
    logprobs = client().completions.create(prompt="Once upon a time", logprobs=2, **GREEDY).choices[0].logprobs
    assert len(logprobs.tokens) == len(logprobs.token_logprobs) == usage.completion_tokens


def test_chat():
    answer = client().chat.completions.create(messages=HELLO, **GREEDY)
    (choice,) = answer.choices
    assert choice.message.role == "assistant" and choice.message.content and choice.message.refusal is None
    assert answer.usage.prompt_tokens_details.cached_tokens >= 0
    parts = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": [
        {"type": "text", "text": "Once upon"}, {"type": "text", "text": " a time"}]}]
    assert client().chat.completions.create(messages=parts, **GREEDY).choices[0].message.content
    several = client().chat.completions.create(messages=HELLO, n=3, seed=1, **dict(GREEDY, temperature=1.5))
    assert [choice.index for choice in several.choices] == [0, 1, 2]
    for stop in ("a", ["a", "b"]):
        assert "a" not in client().chat.completions.create(messages=HELLO, stop=stop, **GREEDY).choices[0].message.content


def test_chat_streams():
    whole = client().chat.completions.create(messages=HELLO, **GREEDY)
    chunks = list(client().chat.completions.create(messages=HELLO, stream=True, stream_options={"include_usage": True}, **GREEDY))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content and chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    question = {"messages": [{"role": "user", "content": "The capital of France is"}], "model": MODEL, "temperature": 0}
    with client().chat.completions.stream(**question) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion().choices[0]
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert "Paris" in final.message.content and final.finish_reason == "stop"


def test_chat_logprobs():
    answer = client().chat.completions.create(messages=HELLO, logprobs=True, top_logprobs=3, **GREEDY)
    tokens = answer.choices[0].logprobs.content
    assert len(tokens) == answer.usage.completion_tokens and all(len(token.top_logprobs) == 3 for token in tokens)
    assert b"".join(bytes(token.bytes) for token in tokens).decode() == answer.choices[0].message.content


class City(pydantic.BaseModel):
    name: str = pydantic.Field(max_length=8)
    people: int = pydantic.Field(ge=0, le=9999)
    kind: str | None = pydantic.Field(max_length=4)


def test_structured_output():
    """The client makes the schema of a class, and an object of the answer."""
    wild = {"model": MODEL, "temperature": 2, "seed": 5}
    choice = client().chat.completions.parse(messages=HELLO, response_format=City, max_tokens=80, **wild).choices[0]
    assert choice.finish_reason == "stop" and isinstance(choice.message.parsed, City)
    with client().chat.completions.stream(messages=HELLO, response_format=City, max_tokens=80, **wild) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == choice.message.parsed
    assert isinstance(client().responses.parse(model=MODEL, input="Once", text_format=City, max_output_tokens=80).output_parsed, City)


def test_a_call_that_must_be_made():
    tools = [openai.pydantic_function_tool(City, name="look_up")]
    choice = client().chat.completions.parse(messages=HELLO, tools=tools, tool_choice="required", parallel_tool_calls=False,
                                             max_tokens=120, model=MODEL, temperature=1, seed=2).choices[0]
    (call,) = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls" and isinstance(call.function.parsed_arguments, City)


def test_a_schema_that_cannot_be_enforced():
    schema = {"type": "object", "properties": {"a": {"$ref": "https://example.com/"}}}
    with pytest.raises(openai.BadRequestError, match="/properties/a/"):
        client().chat.completions.create(messages=HELLO, response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
                                         **GREEDY)


def test_asynchronously():
    async def run():
        one = openai.AsyncOpenAI(base_url=URL + "/v1", api_key=KEY)
        answers = await asyncio.gather(*(one.chat.completions.create(messages=HELLO, **GREEDY) for _ in range(4)))
        stream = await one.chat.completions.create(messages=HELLO, stream=True, **GREEDY)
        return {answer.choices[0].message.content for answer in answers}, [chunk async for chunk in stream]

    texts, chunks = asyncio.run(run())
    assert texts == {"".join(chunk.choices[0].delta.content or "" for chunk in chunks)}


# ---- errors ----


def raised(kind, call, **facts):
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind and caught.value.request_id and isinstance(caught.value.body, dict)
    assert {name: getattr(caught.value, name) for name in facts} == facts
    return caught.value


def chat(one=None, messages=HELLO, **fields):
    return lambda: (one or client()).chat.completions.create(messages=messages, **dict(GREEDY, **fields))


def test_errors_are_of_their_classes():
    raised(openai.AuthenticationError, chat(client(api_key="other")), status_code=401, code="invalid_api_key")
    raised(openai.BadRequestError, chat(temperature=5), status_code=400, param="temperature", type="invalid_request_error")
    raised(openai.BadRequestError, chat(messages=[{"role": "robot", "content": "x"}]), param="messages[0].role")
    raised(openai.BadRequestError, chat(messages=[{"role": "user", "content": "word " * 3000}]), code="context_length_exceeded")
    raised(openai.NotFoundError, chat(model="gpt-4o"), status_code=404, code="model_not_found", param="model")
    raised(openai.NotFoundError, lambda: client().models.retrieve("gpt-4o"), code="model_not_found")
    raised(openai.NotFoundError, lambda: client().fine_tuning.jobs.list(), status_code=404)
    raised(openai.PermissionDeniedError, chat(extra_headers={"Origin": "http://elsewhere.example"}), status_code=403)
    too_large = raised(openai.APIStatusError, chat(extra_body={"metadata": {"a": "x" * 70000000}}), status_code=413)
    assert "bytes" in too_large.message
    with pytest.raises(openai.APITimeoutError):
        client(timeout=0.05).chat.completions.create(messages=HELLO, model=MODEL, n=8, extra_body={"ignore_eos": True})
    wait_idle()


def test_a_full_queue_and_the_clients_retry():
    stream = client().chat.completions.create(**LONG)
    next(iter(stream))
    try:
        full = raised(openai.RateLimitError, chat(n=8), status_code=429, code="rate_limit_exceeded")
        assert int(full.response.headers["retry-after"]) >= 1
    finally:
        stream.close()
    wait_idle()
    stream = client().chat.completions.create(**LONG)
    next(iter(stream))
    assert chat(client(max_retries=5), n=8)().choices  # it comes again when it was told to
    stream.close()


# ---- leaving ----


def test_closing_cancels():
    def cancelled():
        request = urllib.request.Request(URL + "/metrics", headers={"Authorization": "Bearer " + KEY})
        with urllib.request.urlopen(request) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[1]) for line in lines if line.startswith('worker_requests_total{outcome="cancelled"}'))

    wait_idle()
    before = cancelled()
    stream = client().chat.completions.create(**LONG)
    next(iter(stream))
    stream.close()
    wait_idle()
    while cancelled() == before:
        time.sleep(0.01)
