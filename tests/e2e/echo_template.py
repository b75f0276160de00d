"""A chat template that writes down all that it is given, and a worker with it: what a dialect made of a body shows in its
prompt's tokens."""

import contextlib

from conftest import Worker
from http_client import post

ECHO = ("{% for m in messages %}[{{ m.role }}{% if m.name %}={{ m.name }}{% endif %}]{% if m.reasoning_content %}"
        "({{ m.reasoning_content }}){% endif %}{{ m.content }}{% for c in m.tool_calls or [] %}<{{ c.function.name }} "
        "{{ c.function.arguments|tojson }}>{% endfor %}{% endfor %}{% for t in tools or [] %}|{{ t|tojson }}{% endfor %}"
        "{% if enable_thinking is defined %}~{{ enable_thinking }}{% endif %}{{ reasoning_effort or '' }}"
        "{% if add_generation_prompt %}>{% endif %}")


@contextlib.contextmanager
def echo_worker(model, folder):
    """Its port."""
    (folder / "echo.jinja").write_text(ECHO)
    one = Worker(["--chat-template", folder / "echo.jinja"], model, folder / "log")
    yield one.port
    assert one.stop() == 0, one.log()


def n_tokens(port, text):
    """Of a text as a template writes it."""
    answer = post(port, "/tokenize", {"prompt": text, "add_special_tokens": False, "parse_special": False})
    assert answer.status == 200, answer.body
    return answer.json()["count"]
