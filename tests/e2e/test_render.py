"""`tallow render`: the exact bytes of a rendering, and where a model's templates and special tokens are looked for."""

import json

import pytest

import gguf_writer
from gguf_writer import STRING, U32

MESSAGES = [{"role": "user", "content": "Hé <s>\n"}]
TOOLS = [{"type": "function", "function": {"name": "f"}}]


@pytest.fixture
def render(tallow, tmp_path):
    """render(conversation, options...) -> the finished process."""

    def run(conversation, *options, **kwargs):
        path = tmp_path / "conversation.json"
        path.write_text(json.dumps(conversation), encoding="utf-8")
        return tallow("render", path, *options, **kwargs)

    return run


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    return path


def text(result):
    assert result.returncode == 0, result.stderr
    return result.stdout.decode()


def reason(result, code):
    lines = result.stderr.decode().splitlines()
    assert result.returncode == code and len(lines) == 1 and lines[0].startswith("tallow: "), (result.returncode, lines)
    return lines[0]


def write_config(folder, **fields):
    (folder / "tokenizer_config.json").write_text(json.dumps(fields), encoding="utf-8")


def test_exact_bytes_of_a_template_file(render, tmp_path):
    template = tmp_path / "t.jinja"
    template.write_text("{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
                        "{{ eos_token }}{% if add_generation_prompt %}>{% endif %}{{ k }} {{ strftime_now('%d %b %Y') }}\n\n")
    options = "--chat-template", template, "--bos-token", "<s>", "--eos-token", "</s>", "--now", "2026-01-31T12:30:01Z"
    conversation = {"messages": MESSAGES, "chat_template_kwargs": {"k": "v"}}
    assert text(render(conversation, *options)) == "<s>[user]Hé <s>\n</s>>v 31 Jan 2026\n"
    conversation["add_generation_prompt"] = False
    assert text(render(conversation, *options)) == "<s>[user]Hé <s>\n</s>v 31 Jan 2026\n"


def test_the_last_message_is_continued(render, tmp_path):
    template = tmp_path / "t.jinja"
    template.write_text("{% for m in messages %}<{{ m.role }}>{{ m.content|trim if trimmed else m.content }}"
                        "{{ behind }}</end>{% endfor %}"
                        "{% if add_generation_prompt %}<assistant>{% endif %}")

    def continued(*said, **kwargs):
        messages = [{"role": "user", "content": "end"}] + [{"role": "assistant", "content": text} for text in said]
        return render({"messages": messages, "continue_final_message": True, "chat_template_kwargs": kwargs},
                      "--chat-template", template)

    for said in ("The", "end", "<user>end", "a\n b", "</end>", "  The"):
        assert text(continued(said)) == "<user>end</end><assistant>" + said
    assert text(continued("end", "The end \n")) == "<user>end</end><assistant>end</end><assistant>The end \n"
    assert text(continued("  The end \n", trimmed=True)) == "<user>end</end><assistant>The end"
    assert text(continued([{"type": "text", "text": "x"}])).endswith("x")
    assert text(continued("aba", behind="-abab-")) == "<user>end-abab-</end><assistant>aba-aba"
    for bad in ((), ("",), (" \n",), (None,)):
        assert "last message must be the assistant's" in reason(continued(*bad), 2)
    template.write_text("{% for m in messages %}{{ m.content|upper }}{% endfor %}")
    assert "does not write the last message" in reason(continued("The"), 2)


def test_a_refusal_is_exit_1_and_its_message(render, tmp_path):
    template = tmp_path / "t.jinja"
    template.write_text("{{ raise_exception('No, ' ~ messages[0].role) }}")
    assert reason(render({"messages": MESSAGES}, "--chat-template", template), 1) == "tallow: No, user"
    template.write_text("a\n{{ nope.x }}")
    said = reason(render({"messages": MESSAGES}, "--chat-template", template), 1)
    assert said == "tallow: UndefinedError: 'nope' is undefined (chat template, line 2)"
    template.write_text("{{ messages.append(1) }}")
    assert "SecurityError" in reason(render({"messages": MESSAGES}, "--chat-template", template), 1)


def test_what_the_caller_got_wrong_is_exit_2(tallow, render, tmp_path):
    template = tmp_path / "t.jinja"
    template.write_text("x")
    for conversation in ({}, [], {"messages": "x"}):
        assert "messages" in reason(render(conversation, "--chat-template", template), 2)
    assert "--now" in reason(render({"messages": []}, "--chat-template", template, "--now", "soon"), 2)
    assert "--model or --chat-template" in reason(render({"messages": []}), 2)
    assert "--chat-template" in reason(render({"messages": []}, "--model", tmp_path, "--bos-token", "<s>"), 2)
    assert "nothing.json" in reason(tallow("render", tmp_path / "nothing.json", "--chat-template", template), 2)


def test_a_bad_template_is_exit_3_with_its_place(render, tmp_path):
    template = tmp_path / "t.jinja"
    template.write_text("a\n  {{ x|nofilter }}")
    said = reason(render({"messages": []}, "--chat-template", template), 3)
    assert "t.jinja" in said and "line 2 column 8: No filter named 'nofilter'." in said
    assert "nowhere" in reason(render({"messages": []}, "--chat-template", tmp_path / "nowhere"), 3)


def test_a_model_without_a_template_is_told_where_it_was_looked_for(render, folder):
    write_config(folder, bos_token="<s>")
    said = reason(render({"messages": []}, "--model", folder), 3)
    for place in ("chat_template.jinja", "chat_template.json", "tokenizer_config.json", "GGUF", "--chat-template"):
        assert place in said


def test_sources_in_the_order_of_transformers(render, folder):
    write_config(folder, chat_template="config {{ bos_token }}{{ eos_token }}{{ pad_token is defined }}",
                 bos_token={"content": "<b>"}, eos_token="<e>", pad_token=None)
    assert text(render({"messages": []}, "--model", folder)) == "config <b><e>False"
    (folder / "special_tokens_map.json").write_text('{"pad_token": "<p>", "bos_token": "<other>"}')
    assert text(render({"messages": []}, "--model", folder)) == "config <b><e>True"
    (folder / "chat_template.json").write_text('{"chat_template": "json {{ bos_token }}"}')
    assert text(render({"messages": []}, "--model", folder)) == "json <b>"
    (folder / "chat_template.jinja").write_text("jinja {{ bos_token }}")
    assert text(render({"messages": []}, "--model", folder)) == "jinja <b>"
    # A tokenizer stands for the folder that it lies in.
    (folder / "tokenizer.json").write_text("{}")
    assert text(render({"messages": []}, "--model", folder / "tokenizer.json")) == "jinja <b>"


def test_named_templates_and_tools(render, folder):
    named = [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools {{ tools[0].function.name }}"}]
    write_config(folder, chat_template=named)
    assert text(render({"messages": []}, "--model", folder)) == "plain"
    assert text(render({"messages": [], "tools": TOOLS}, "--model", folder)) == "tools f"
    write_config(folder, chat_template=[{"name": "rag", "template": "x"}])
    assert "default" in reason(render({"messages": []}, "--model", folder), 3)
    (folder / "chat_template.jinja").write_text("file")
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text("more")
    assert text(render({"messages": []}, "--model", folder)) == "file"
    assert text(render({"messages": [], "tools": TOOLS}, "--model", folder)) == "more"


def test_templates_of_a_gguf_file(render, tmp_path):
    path = tmp_path / "model.gguf"
    values = {"general.architecture": (STRING, "llama"), "tokenizer.ggml.tokens": (STRING, ["<u>", "<b>", "<e>"]),
              "tokenizer.ggml.bos_token_id": (U32, 1), "tokenizer.ggml.eos_token_id": (U32, 2),
              "tokenizer.chat_template": (STRING, "{{ bos_token }}gguf{{ eos_token }}{{ unk_token is defined }}"),
              "tokenizer.chat_template.tool_use": (STRING, "with tools")}
    gguf_writer.write(path, values, [])
    assert text(render({"messages": []}, "--model", path)) == "<b>gguf<e>False"
    assert text(render({"messages": [], "tools": TOOLS}, "--model", path)) == "with tools"


def test_hostile_templates_end_soon(render, tmp_path):
    template = tmp_path / "t.jinja"
    for source, what in (("{% for x in range(10**9) %}{% endfor %}", "Range too big"),
                         ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nested evaluations"),
                         ("{% set n = namespace(s='ab') %}{% for x in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor %}", "memory")):
        template.write_text(source)
        assert what in reason(render({"messages": []}, "--chat-template", template), 1)
    template.write_text("a" * (10 << 20))
    assert "at most" in reason(render({"messages": []}, "--chat-template", template), 3)
