"""LangChain and LiteLLM, unchanged, against the worker at $URL (`make clients`)."""

import os

import litellm
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI, OpenAI

URL, KEY, MODEL = os.environ["URL"], os.environ["TALLOW_API_KEY"], "tallow-tiny"
OPTIONS = {"base_url": URL + "/v1", "api_key": KEY, "model": MODEL, "temperature": 0, "max_tokens": 8}
LITE = {"model": "openai/" + MODEL, "api_base": URL + "/v1", "api_key": KEY, "temperature": 0, "max_tokens": 8}


def test_langchain():
    chat = ChatOpenAI(**OPTIONS)
    messages = [SystemMessage("Be brief."), HumanMessage("Once"), AIMessage("upon"), HumanMessage("a time")]
    answer = chat.invoke(messages)
    assert answer.content and answer.usage_metadata["total_tokens"] > 0
    assert answer.response_metadata["finish_reason"] in ("stop", "length")
    assert "".join(chunk.content for chunk in chat.stream(messages)) == answer.content
    assert [one.content for one in chat.batch([messages] * 3)] == [answer.content] * 3
    assert OpenAI(**OPTIONS).invoke("Once upon a time")


def test_litellm():
    messages = [{"role": "user", "content": "Once upon a time"}]
    answer = litellm.completion(messages=messages, **LITE)
    assert answer.choices[0].message.content and answer.usage.total_tokens > 0
    parts = litellm.completion(messages=messages, stream=True, **LITE)
    assert "".join(part.choices[0].delta.content or "" for part in parts) == answer.choices[0].message.content
    assert litellm.text_completion(prompt="Once upon a time", **dict(LITE, model="text-completion-openai/" + MODEL)).choices[0].text
    with pytest.raises(litellm.AuthenticationError):
        litellm.completion(messages=messages, **dict(LITE, api_key="other"))
    with pytest.raises(litellm.ContextWindowExceededError):
        litellm.completion(messages=[{"role": "user", "content": "word " * 3000}], **LITE)
