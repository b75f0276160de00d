#!/usr/bin/env python3
"""Renders the templates listed here with Jinja2, set up as transformers sets it up for chat templates, and writes
tests/templates/*.json, which test_template.c compares with.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install jinja2==3.1.6
    /tmp/venv/bin/python tests/goldens/make_templates.py

A case is [template, text], or [template, null, "ErrorType: message"] where Jinja2 refuses: at compile time
("TemplateSyntaxError", whose message is not compared) or while rendering.
"""
import datetime
import json
import pathlib
import re

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

OUT = pathlib.Path(__file__).parent.parent / "templates"
NOW = datetime.datetime(2026, 1, 31, 9, 5, 7, 123456)

CONVERSATION = {
    "messages": [
        {"role": "system", "content": "  Be brief.\u00a0\n"},
        {"role": "user", "content": "Grüße 😀 <|im_end|> \"q\" 'a' \\ \t", "name": "Ann"},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": {"x": 1, "y": [1.5, True, None]}}}]},
        {"role": "tool", "content": "{\"t\": 21}", "tool_call_id": "c1"},
        {"role": "user", "content": [{"type": "text", "text": "part one"}, {"type": "image"}, {"type": "text", "text": "two"}]},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "description": "does — \"it\" & <more>", "parameters": {
        "type": "object", "properties": {"x": {"type": "integer", "minimum": 0}, "y": {"type": ["array", "null"]}},
        "required": ["x"]}}}],
    "add_generation_prompt": True,
    "chat_template_kwargs": {
        "n": 7, "big": 1e16, "small": 1e-05, "pi": 3.14159, "neg": -3, "zero": 0, "empty": "", "text": "Hello, World",
        "words": ["pear", "Apple", "fig", "apple"], "nums": [3, 1, 2], "mixed": [1, "a", None, True, 2.5],
        "people": [{"name": "Bob", "age": 30, "city": "Rome"}, {"name": "al", "age": 25, "city": "oslo"},
                   {"name": "Cy", "age": 30, "city": "Oslo"}, {"name": "Di", "age": 25}],
        "d": {"b": 1, "a": 2, "C": {"k": "v"}, "items": "own", "_id": "u"}, "nested": [[1, [2, [3]]], [4]],
        "lines": "one\ntwo\r\n\n  three\x0bfour", "unicode": "straße ǅ ΑΣ é", "t": True, "f": False, "none_": None,
        "enable_thinking": False, "tree": [{"v": 1, "c": [{"v": 2, "c": []}, {"v": 3, "c": [{"v": 4, "c": []}]}]}, {"v": 5, "c": []}],
    },
}
CONSTANTS = {"bos_token": "<s>", "eos_token": "</s>"}


class Generation(Extension):
    """The tag marks what an assistant wrote; what is rendered is its body, a block of its own."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_pass"), [], [], body).set_lineno(line)

    def _pass(self, caller):
        return caller()


def environment():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda form: NOW.strftime(form)
    return env


def render(env, template):
    kwargs = CONVERSATION["chat_template_kwargs"]
    variables = {**CONSTANTS, "documents": None, **{k: v for k, v in CONVERSATION.items() if k != "chat_template_kwargs"}, **kwargs}
    try:
        compiled = env.from_string(template)
    except (jinja2.exceptions.TemplateSyntaxError, SyntaxError) as error:
        return [template, None, "TemplateSyntaxError: " + str(error)]
    try:
        return [template, compiled.render(**variables)]
    except Exception as error:  # whatever Python raises is what is compared
        return [template, None, f"{type(error).__name__}: {error}"]


def render_parts(env, template):
    """The template; where it is refused, each of its expressions, too, because only the first was reached."""
    whole = render(env, template)
    parts = re.findall(r"\{\{.*?\}\}", template) if whole[1] is None and "{%" not in template else []
    return [whole] + [render(env, part) for part in parts if len(parts) > 1]


def read_cases(path):
    """One template a line, in which \\n is written as it is in Python; `=====` lines set off those of several lines."""
    cases, block = [], None
    for line in path.read_text(encoding="utf-8").split("\n"):
        if line.startswith("====="):
            if block is not None:
                cases.append("\n".join(block))
            block = [] if block is None else None
        elif block is not None:
            block.append(line)
        elif line and not line.startswith("## "):
            cases.append(line)
    return cases


def main():
    env = environment()
    for path in sorted(OUT.glob("*.txt")):
        cases = [rendered for case in read_cases(path) for rendered in render_parts(env, case)]
        text = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
        path.with_suffix(".json").write_text("[\n" + text + "\n]\n", encoding="utf-8")
        print(f"{path.stem}: {len(cases)} cases, {sum(1 for c in cases if c[1] is None)} refused")
    conversation = {"constants": CONSTANTS, "now": NOW.strftime("%Y-%m-%dT%H:%M:%S.%f"), "conversation": CONVERSATION}
    (OUT / "conversation.json").write_text(json.dumps(conversation, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


main()
