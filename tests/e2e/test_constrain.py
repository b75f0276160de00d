"""`tallow constrain`: what is taken, what is refused and where, which texts are accepted, and how it exits."""

import json

import pytest

SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "string", "maxLength": 3}, "b": {"type": "array", "items": {"type": "integer"}}},
    "required": ["a"],
    "additionalProperties": False,
}


@pytest.fixture
def constrain(tallow, tmp_path, text_model):
    """constrain(schema, instances, options...) -> exit code, the JSON it printed."""

    def run(schema, instances=(), *options):
        (tmp_path / "schema.json").write_text(json.dumps(schema), encoding="utf-8")
        checks = []
        for i, instance in enumerate(instances):
            path = tmp_path / f"{i}.json"
            path.write_text(instance if isinstance(instance, str) else json.dumps(instance), encoding="utf-8")
            checks += ["--check", path]
        result = tallow("constrain", "--model", text_model, "--json-schema", tmp_path / "schema.json", *checks,
                        "--json", *options)
        return result.returncode, json.loads(result.stdout) if result.stdout else None

    return run


def test_instances_are_tried_in_the_schemas_order(constrain):
    code, answer = constrain(SCHEMA, [{"b": [1, -20], "a": "é\"\n"}, {"a": ""}])
    assert code == 0 and answer["refused"] == []
    assert [check["accepted"] for check in answer["checks"]] == [True, True]
    assert answer["compile_ms"] > 0 and 0 < answer["mask_us"]["p50"] <= answer["mask_us"]["p99"] <= answer["mask_us"]["max"]


def test_an_instance_that_is_not_accepted_exits_with_1(constrain):
    code, answer = constrain(SCHEMA, [{"a": "x"}, {"a": "four"}, {"b": []}])
    assert code == 1 and [check["accepted"] for check in answer["checks"]] == [True, False, False]


def test_a_refusal_names_the_place(constrain):
    code, answer = constrain({"properties": {"x/y": {"pattern": "(?<=a)b"}}}, [{}])
    assert code == 1 and answer["refused"][0]["pointer"] == "/properties/x~1y/pattern"
    assert answer["refused"][0]["why"] and answer["checks"] == [{"file": answer["checks"][0]["file"], "accepted": False}]


def test_regular_expressions_and_grammars(tallow, tmp_path, text_model):
    grammar, yes, no = tmp_path / "g.gbnf", tmp_path / "yes", tmp_path / "no"
    grammar.write_text('root ::= "a" [x-z]+\n')
    yes.write_text("axyz\n")
    no.write_text("ab\n")
    for source in (["--grammar", grammar], ["--regex", "a[x-z]+"]):
        assert tallow("constrain", "--model", text_model, *source, "--check", yes).returncode == 0
        result = tallow("constrain", "--model", text_model, *source, "--check", yes, "--check", no, "--json")
        assert result.returncode == 1
        assert [check["accepted"] for check in json.loads(result.stdout)["checks"]] == [True, False]


def test_mistakes_of_usage_exit_with_2(tallow, tmp_path, text_model, constrain):
    assert tallow("constrain", "--model", text_model).returncode == 2
    assert tallow("constrain", "--model", text_model, "--json-schema", tmp_path / "none.json").returncode == 2
    assert tallow("constrain", "--json-schema", tmp_path / "none.json").returncode == 2
    assert constrain(SCHEMA, ["{"])[0] == 2
