"""Random schemas, drawn at temperature 2 and judged by jsonschema (`make random-schemas`): each output parses and validates, at
whatever max_tokens, as content and as the arguments of a call. URL of the worker in $URL; arguments: how many, and a seed."""

import concurrent.futures
import datetime
import json
import os
import random
import re
import sys
import urllib.error
import urllib.request

import jsonschema

NAMES = ["a", "name", "naïve", "x y", "order", "orderId", "\"q\"", "items"]
FORMATS = ["date", "time", "date-time", "email", "uuid", "ipv4"]
PATTERNS = ["^[a-z]{1,4}$", "^(ab|c)+$", "^[^x]{0,5}$", "^\\d{2}-\\w$"]

# jsonschema's formats of draft 2020-12: those of FormatChecker() are of all drafts, and there "time" is draft 3's, hh:mm:ss
# without an offset.
CHECKER = jsonschema.FormatChecker()
CHECKER.checkers = dict(jsonschema.Draft202012Validator.FORMAT_CHECKER.checkers)


def judge_leap_second(name):
    """rfc3339-validator knows no second 60, which RFC 3339 (5.6, 5.7) allows where a leap second is put in: 23:59:60 UTC."""
    judge, raises = CHECKER.checkers[name]

    def check(value):
        leap = isinstance(value, str) and re.search(r"(\d\d):(\d\d):60(?:\.\d+)?(?:[zZ]|([+-])(\d\d):(\d\d))$", value)
        if not leap:
            return judge(value)
        hour, minute, sign, hours, minutes = leap.groups(default="0")
        offset = datetime.timedelta(hours=int(hours), minutes=int(minutes)) * (-1 if sign == "-" else 1)
        utc = datetime.timedelta(hours=int(hour), minutes=int(minute)) - offset
        return utc % datetime.timedelta(days=1) == datetime.timedelta(hours=23, minutes=59) and judge(value.replace(":60", ":59"))

    CHECKER.checkers[name] = (check, raises)


for timed in {"time", "date-time"} & set(CHECKER.checkers):
    judge_leap_second(timed)


def string(r):
    return r.choice([{"type": "string", "maxLength": r.randint(0, 12), "minLength": 0}, {"type": "string", "minLength": r.randint(1, 5)},
                     {"type": "string", "pattern": r.choice(PATTERNS)}, {"type": "string", "format": r.choice(FORMATS)}])


def number(r):
    low = r.randint(-500, 500)
    return r.choice([{"type": "integer", "minimum": low, "maximum": low + r.randint(0, 900)}, {"type": "number", "exclusiveMinimum": low},
                     {"type": "integer", "multipleOf": r.choice([2, 5, 7])}, {"type": "number", "multipleOf": 0.25, "maximum": low}])


def scalar(r):
    return r.choice([string, number, lambda r: {"type": "boolean"}, lambda r: {"const": r.choice([None, 1, "é", True, 0.5])},
                     lambda r: {"enum": r.sample([1, "one", None, False, "\n", [1], {"a": 2}], r.randint(1, 4))}])(r)


def obj(r, depth):
    names = r.sample(NAMES, r.randint(0, 4))
    schema = {"type": "object", "properties": {name: make(r, depth - 1) for name in names},
              "required": r.sample(names, r.randint(0, len(names)))}
    if r.random() < 0.7:
        schema["additionalProperties"] = r.choice([False, {"type": "integer"}])
    if r.random() < 0.2 and len(names) > 1:
        schema["dependentRequired"] = {names[0]: [names[1]]}
    if r.random() < 0.2:
        schema["minProperties"] = r.randint(0, 2)
    return schema


def array(r, depth):
    schema = {"type": "array", "items": make(r, depth - 1), "maxItems": r.randint(1, 4)}
    if r.random() < 0.3:
        schema["prefixItems"] = [make(r, depth - 1)]
    if r.random() < 0.3:
        schema["contains"] = scalar(r)
    return unique(r) if r.random() < 0.3 else schema


def unique(r):
    """Items that differ, also to a judge who reads numbers as doubles."""
    values = ["x", "y,", "\n", "", "xx", 1, 2.5, 10, True, None, "1"]
    items = r.choice([{"enum": r.sample(values, r.randint(3, 11))}, string(r), {"type": ["string", "boolean", "null"], "maxLength": 1},
                      {"type": "integer", "minimum": -3, "maximum": r.randint(1, 900)}, {"enum": ["a", [1], {"b": 2}]},
                      {"type": "number", "multipleOf": 0.25, "minimum": -4, "maximum": r.randint(0, 99)}])
    schema = {"type": "array", "items": items, "uniqueItems": True, "minItems": r.randint(0, 4)}
    if r.random() < 0.5:
        schema["maxItems"] = schema["minItems"] + r.randint(0, 4)
    if r.random() < 0.2:
        schema["prefixItems"] = [string(r)]
    return schema


def make(r, depth):
    kind = r.random()
    if depth == 0 or kind < 0.4:
        return scalar(r)
    if kind < 0.65:
        return obj(r, depth)
    if kind < 0.85:
        return array(r, depth)
    word = r.choice(["anyOf", "oneOf", "allOf", "if", "not"])
    if word == "if":
        return {"if": scalar(r), "then": make(r, depth - 1), "else": make(r, depth - 1)}
    if word == "not":
        return {"type": ["string", "integer", "null"], "not": scalar(r)}
    return {word: [make(r, depth - 1) for _ in range(r.randint(1, 2) if word == "allOf" else r.randint(2, 3))]}


def post(path, body):
    request = urllib.request.Request(os.environ["URL"] + path, json.dumps(body).encode(),
                                     {"Authorization": "Bearer " + os.environ.get("TALLOW_API_KEY", "")})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def try_one(seed):
    """"kept" or "called" (kept as arguments), or why it was refused; an exception where an output is not what it must be."""
    r = random.Random(seed)
    call = r.random() < 0.3
    schema = obj(r, 3) if call else make(r, 3)
    body = {"messages": [{"role": "user", "content": "Once %d" % seed}], "temperature": 2, "seed": seed, "max_tokens": r.choice([150, 400, 800] if call else [20, 60, 150, 400])}
    if call:
        body["tools"] = [{"type": "function", "function": {"name": "f", "parameters": schema}}]
        body["tool_choice"] = {"type": "function", "function": {"name": "f"}}
    else:
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    status, answer = post("/v1/chat/completions", body)
    if status == 400:
        message = answer["error"]["message"]
        assert "cannot be enforced" in message or "shortest output" in message, (seed, message)
        return "too short" if "shortest output" in message else "refused"
    assert status == 200, (seed, answer)
    choice = answer["choices"][0]
    calls = choice["message"].get("tool_calls")
    if call and not calls:
        assert choice["finish_reason"] == "length", (seed, choice)
        return "cut"
    value = json.loads(calls[0]["function"]["arguments"] if call else choice["message"]["content"])
    if not jsonschema.Draft202012Validator(schema, format_checker=CHECKER).is_valid(value):
        raise AssertionError("seed %d: %s is no %s" % (seed, json.dumps(value), json.dumps(schema)))
    return "called" if call else "kept"


def try_all(n, first):
    """How often which result; few of one kind would say little."""
    counts = {}
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for result in pool.map(try_one, range(first, first + n)):
            counts[result] = counts.get(result, 0) + 1
    assert counts.get("kept", 0) > n / 3 and counts.get("called", 0) > n / 30, counts
    return counts


if __name__ == "__main__":
    print(try_all(int(sys.argv[1]), int(sys.argv[2])))
