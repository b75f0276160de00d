"""Structured output in every dialect: what the output must be is what it is, whatever is drawn; what cannot be enforced is
refused in the dialect's own form, by its place. And the bad inputs of schemas, patterns and grammars."""

import json
import re

import pytest

from http_client import Stream, execute, health, post, text_of

SCHEMA = {"type": "object", "additionalProperties": False, "required": ["city", "people"],
          "properties": {"city": {"type": "string", "maxLength": 9}, "people": {"type": "integer", "minimum": 0, "maximum": 9999},
                         "kind": {"enum": ["town", "village"]}}}
BAD = {"type": "object", "properties": {"a": {"$ref": "https://example.com/x.json"}}}
PROMPT = "Once upon a time"
HELLO = [{"role": "user", "content": PROMPT}]
WILD = {"temperature": 2, "seed": 11}


@pytest.fixture(scope="module")
def port(text_model, tmp_path_factory):
    from conftest import Worker

    one = Worker([], text_model, tmp_path_factory.mktemp("constraints") / "log")
    yield one.port
    assert one.stop() == 0, one.log()


def check(text):
    value = json.loads(text)
    assert set(value) - {"kind"} == {"city", "people"} and len(value["city"]) <= 9, text
    assert type(value["people"]) is int and 0 <= value["people"] <= 9999 and value.get("kind", "town") in ("town", "village")


# How each dialect is asked for a schema, and what its answer says.
DIALECTS = {
    "execute": ("/execute", {"prompt": PROMPT, "stream": False}, lambda s: {"json_schema": s}, lambda a: a["text"]),
    "execute-format": ("/execute", {"prompt": PROMPT, "stream": False},
                       lambda s: {"response_format": {"type": "json_schema", "json_schema": {"schema": s}}}, lambda a: a["text"]),
    "infer": ("/v1/infer", {"prompt": PROMPT}, lambda s: {"guided_json": json.dumps(s)}, lambda a: a["text"]),
    "chat": ("/v1/chat/completions", {"messages": HELLO},
             lambda s: {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": s}}},
             lambda a: a["choices"][0]["message"]["content"]),
    "completion": ("/v1/completions", {"prompt": PROMPT}, lambda s: {"structured_outputs": {"json": s}},
                   lambda a: a["choices"][0]["text"]),
    "responses": ("/v1/responses", {"input": PROMPT}, lambda s: {"text": {"format": {"type": "json_schema", "name": "x", "schema": s}}},
                  lambda a: a["output"][0]["content"][0]["text"]),
    "messages": ("/v1/messages", {"messages": HELLO, "max_tokens": 200},
                 lambda s: {"output_config": {"format": {"type": "json_schema", "schema": s}}}, lambda a: a["content"][0]["text"]),
    "messages-beta": ("/v1/messages", {"messages": HELLO, "max_tokens": 200},
                      lambda s: {"output_format": {"type": "json_schema", "schema": s}}, lambda a: a["content"][0]["text"]),
    "ollama-chat": ("/api/chat", {"messages": HELLO, "stream": False}, lambda s: {"format": s}, lambda a: a["message"]["content"]),
    "ollama-generate": ("/api/generate", {"prompt": PROMPT, "stream": False}, lambda s: {"format": s}, lambda a: a["response"]),
}


def wild(path, body):
    return dict(body, options=WILD) if path.startswith("/api/") else dict(body, **WILD)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_schema_is_kept_in_every_dialect(port, dialect):
    path, body, fields, text = DIALECTS[dialect]
    answer = post(port, path, wild(path, dict(body, **fields(SCHEMA))))
    assert answer.status == 200, answer.body
    check(text(answer.json()))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_cannot_be_enforced_is_refused_with_its_pointer(port, dialect):
    path, body, fields, _ = DIALECTS[dialect]
    answer = post(port, path, dict(body, **fields(BAD)))
    assert answer.status == 400, answer.body
    assert "/properties/a/$ref" in answer.body.decode()
    if dialect == "execute":
        assert answer.json()["errors"][0]["field"] == "json_schema"
    if dialect in ("chat", "responses"):
        assert answer.json()["error"]["param"].endswith("schema")
    if dialect == "messages":
        assert answer.json()["error"]["type"] == "invalid_request_error"


def complete(port, n=1, **fields):
    answer = post(port, "/v1/completions", dict({"prompt": PROMPT, "max_tokens": 60, "n": n}, **WILD, **fields))
    assert answer.status == 200, answer.body
    return [choice["text"] for choice in answer.json()["choices"]]


@pytest.mark.parametrize("fields, pattern", [
    ({"guided_regex": "[0-9]{2}-[ab]"}, "[0-9]{2}-[ab]"), ({"structured_outputs": {"regex": "x{3}"}}, "x{3}"),
    ({"regex": "[0-9]{2}-[ab]"}, "[0-9]{2}-[ab]"), ({"ebnf": 'root ::= "z"{2}'}, "zz"),
    ({"guided_choice": ["yes", "no"]}, "yes|no"), ({"structured_outputs": {"choice": ["order", "orderId"]}}, "order|orderId"),
    ({"grammar": 'root ::= "a" [0-9] b\nb ::= "c" | "d"'}, "a[0-9][cd]"), ({"guided_grammar": 'root ::= "z"{2}'}, "zz"),
    ({"structured_outputs": {"grammar": 'root ::= "q"?'}}, "q?"), ({"json_schema": {"const": [1, "x"]}}, r'\[1, ?"x"\]'),
])
def test_all_kinds_of_constraints_under_all_their_names(port, fields, pattern):
    for text in complete(port, n=4, **fields):
        assert re.fullmatch(pattern, text), text


@pytest.mark.parametrize("fields", [
    {"response_format": {"type": "json_object"}}, {"structured_outputs": {"json_object": True}}, {"guided_json_object": True},
])
def test_any_object_is_the_beginning_of_one(port, fields):
    for text in complete(port, n=3, **fields):
        assert text.startswith("{")


def test_streams_are_held_to_it_too(port):
    events = execute(port, dict({"prompt": PROMPT, "json_schema": SCHEMA}, **WILD))
    check(text_of(events))
    assert events[-1][1]["stop_reason"] == "eos"
    assert "ignored" not in events[0][1]
    text, reason = "", None
    answer = post(port, "/v1/chat/completions", dict({"messages": HELLO, "stream": True, "response_format": {
        "type": "json_schema", "json_schema": {"schema": SCHEMA}}}, **WILD))
    for line in re.findall(r"^data: (\{.*)", answer.body.decode(), re.M):
        choice = json.loads(line)["choices"][0]
        text += choice["delta"].get("content") or ""
        reason = choice["finish_reason"] or reason
    check(text)
    assert reason == "stop"


@pytest.mark.parametrize("items, fields", [
    ({"enum": ["a", "b", "ab", "a,b", 1, 1.5, None, True]}, {}), ({"type": ["string", "integer"], "maxLength": 1}, {}),
    ({"type": "string", "maxLength": 2}, {"bad_words": ["a", "e"]}), ({"type": "string", "maxLength": 2}, {"complete": False}),
])
def test_items_that_must_differ_do(port, items, fields):
    schema = {"type": "array", "items": items, "uniqueItems": True, "minItems": 8, "maxItems": 12}
    body = dict(json_schema=schema, max_tokens=150, **fields)
    texts = complete(port, n=4, **body)
    assert complete(port, n=4, **body) == texts
    for text in texts:
        values = json.loads(text)
        assert 8 <= len(values) <= 12 and len({json.dumps(value) for value in values}) == len(values), text
    answer = post(port, "/execute", {"prompt": PROMPT, "json_schema": dict(schema, items={}), "stream": False})
    assert answer.status == 400 and "/uniqueItems" in answer.body.decode()


def test_an_unknown_format_is_told(port):
    schema = {"type": "string", "format": "colour", "maxLength": 4}
    body = dict({"messages": HELLO, "response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}, **WILD)
    answer = post(port, "/v1/chat/completions", body).json()
    assert answer["constraints"]["notes"][0]["pointer"] == "/format"
    events = execute(port, dict({"prompt": PROMPT, "json_schema": schema}, **WILD))
    assert "colour" in events[0][1]["constraints"]["notes"][0]["why"]
    with Stream(port, "/v1/chat/completions", dict(body, stream=True)) as stream:
        assert json.loads(stream.answer.headers["X-Constraints"]) == answer["constraints"]
    assert "constraints" not in post(port, "/execute", {"prompt": PROMPT, "max_tokens": 1, "stream": False}).json()


# ---- bad inputs ----

DEEP = "{\"properties\":{\"a\":" * 2000 + "{}" + "}}" * 2000


@pytest.mark.parametrize("schema", [
    {"$ref": "#"}, {"$ref": "#/nowhere"}, {"$ref": "https://example.com/"}, DEEP,
    {"enum": []}, {"type": "array", "minItems": 3, "maxItems": 2}, {"allOf": [{"type": "string"}, {"type": "number"}]},
    {"type": "string", "pattern": "(((("}, {"type": "string", "pattern": "{2}"}, {"type": "string", "pattern": "(?<=x)"},
    {"type": "string", "pattern": "(a)\\1"}, {"type": "string", "pattern": "+"}, {"type": "strin"}, {"type": 5},
    {"items": 3}, {"additionalProperties": 5}, {"minLength": -1}, {"multipleOf": 0}, 5, "x", "[", [],
])
def test_bad_schemas_are_refused(port, schema):
    answer = post(port, "/execute", {"prompt": PROMPT, "guided_json": schema, "stream": False})
    assert answer.status == 400 and answer.json()["errors"][0]["field"] == "guided_json", answer.body
    assert health(port)["status"] == "healthy"


@pytest.mark.parametrize("schema", [
    {"$ref": "#/$defs/0", "$defs": {"0": {"type": "null"}}}, {"type": "string", "pattern": "^[0-9]+$", "maxLength": 5},
    {"type": "string", "pattern": "^(a+)+$", "maxLength": 30}, {"type": "string", "pattern": "\\d", "maxLength": 3},
    {"type": "string", "maxLength": 1 << 31, "pattern": "^x?$"}, {"enum": ["v%d" % i for i in range(20000)]},
    {"type": "object", "additionalProperties": {"type": "null"}, "maxProperties": 1, "propertyNames": {"maxLength": 2}},
    {"items": [{"const": 1}, {"const": 2}], "minItems": 2, "additionalItems": False, "type": "array"}, {"const": None},
])
def test_odd_schemas_are_kept(port, schema):
    answer = post(port, "/execute", dict({"prompt": PROMPT, "json_schema": schema, "stream": False, "max_tokens": 300}, **WILD))
    assert answer.status == 200, answer.body
    json.loads(answer.json()["text"])


@pytest.mark.parametrize("grammar", [
    "", "root ::= missing", "a ::= \"x\"", "root ::= " + "(" * 60000, "root ::= \"a\"{1,1000000000}", "root ::= root", "root ::= root \"a\" | \"a\"",
    "root ::= [", "root ::= \"a", "root ::= \"a\"{5,2}", "\x00",
])
def test_bad_grammars_are_refused(port, grammar):
    body = {"prompt": PROMPT, "structured_outputs": {"grammar": grammar}, "stream": False}
    answer = post(port, "/execute", body)
    assert answer.status == 400 and answer.json()["errors"][0]["field"] == "structured_outputs.grammar", answer.body
    assert health(port)["status"] == "healthy"


def test_odd_grammars_are_kept(port):
    chain = "\n".join(["root ::= r0"] + ["r%d ::= r%d" % (i, i + 1) for i in range(5000)] + ['r5000 ::= "x"'])
    assert complete(port, grammar=chain) == ["x"]
    assert complete(port, grammar='root ::= ""') == [""]  # no token may come: it ends, and does not spin


@pytest.mark.parametrize("fields, field", [
    ({"guided_regex": "(?<=x)y"}, "guided_regex"), ({"guided_regex": 5}, "guided_regex"), ({"guided_choice": []}, "guided_choice"),
    ({"guided_choice": [1]}, "guided_choice"), ({"guided_choice": "yes"}, "guided_choice"), ({"structured_outputs": []}, "structured_outputs"),
    ({"structured_outputs": {"xml": "x"}}, "structured_outputs.xml"), ({"guided_json": SCHEMA, "guided_regex": "x"}, "guided_regex"),
    ({"response_format": "json"}, "response_format"), ({"response_format": {"type": "json_schema"}}, "response_format.schema"),
    ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format.json_schema.schema"), ({"complete": 1}, "complete"),
    ({"response_format": {"type": "json_schema", "json_schema": {"schema": "x"}}}, "response_format.json_schema.schema"),
    ({"guided_json_object": "yes"}, "guided_json_object"), ({"structured_outputs": {"json": SCHEMA, "regex": "x"}}, "structured_outputs.regex"),
])
def test_bad_fields_are_named(port, fields, field):
    answer = post(port, "/execute", dict({"prompt": PROMPT, "stream": False}, **fields))
    assert answer.status == 400 and field in [error["field"] for error in answer.json()["errors"]], answer.body


@pytest.mark.parametrize("many", [12000, 20000])  # more than there may be between some tokens, and between two
def test_a_grammar_that_can_be_read_in_too_many_ways_ends_with_an_error(port, many):
    grammar = 'root ::= %s "!"' % ("[a-z]? " * many)
    answer = post(port, "/execute", {"prompt": PROMPT, "grammar": grammar, "stream": False, "max_tokens": 100})
    assert answer.status == 400 and "too many ways" in answer.body.decode(), answer.body  # asking again does not help
    check(post(port, "/execute", dict({"prompt": PROMPT, "json_schema": SCHEMA, "stream": False}, **WILD)).json()["text"])


# ---- whole at max_tokens ----


def test_a_schema_is_whole_at_max_tokens(port):
    schema = {"type": "object", "properties": {"text": {"type": "string"}, "n": {"type": "number"}}, "required": ["text", "n"]}
    for most in (18, 19, 25, 60):
        body = dict({"messages": HELLO, "max_tokens": most, "response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}, **WILD)
        answer = post(port, "/v1/chat/completions", body).json()
        assert "choices" in answer, answer
        answer = answer["choices"][0]
        assert set(json.loads(answer["message"]["content"])) >= {"text", "n"}
        assert answer["finish_reason"] == "stop"


def test_too_little_room_is_refused_with_the_number(port):
    body = {"prompt": PROMPT, "max_tokens": 2, "json_schema": SCHEMA, "stream": False}
    answer = post(port, "/execute", body)
    assert answer.status == 400 and re.search(r"takes (\d+) tokens", answer.json()["error"]["message"]), answer.body
    least = int(re.search(r"takes (\d+) tokens", answer.json()["error"]["message"]).group(1))
    check(post(port, "/execute", dict(body, max_tokens=least, **WILD)).json()["text"])
    cut = post(port, "/execute", dict(body, complete=False, **WILD))
    assert cut.status == 200 and cut.json()["stop_reason"] == "max_tokens"
    assert post(port, "/execute", dict({"prompt": PROMPT, "max_tokens": 2, "guided_regex": "[a-z]{40}[0-9]", "complete": True})).status == 400
