#!/usr/bin/env python3
"""What constraints cost a step: streams of a worker with and without them, in turns; $URL names the worker.

    constrained.py [--streams 8] [--tokens 32] [--rounds 6]      (`make bench-constrained MODEL=path`)

`prose` is an object with long free text, `records` a list of small objects whose every member is held to something. The ratio is
the median over rounds of the time per token with a constraint to that without in the same round; tokens that a constraint left
no choice but cost no step of their own, so `records` may be quicker. Reports, and never fails for being slow.
"""
import argparse
import json
import os
import statistics
import threading
import time
import urllib.request

PROSE = {"type": "object", "required": ["title", "body"], "additionalProperties": False,
         "properties": {"title": {"type": "string"}, "body": {"type": "string", "minLength": 2000}}}
RECORD = {"type": "object", "required": ["id", "name", "kind", "when", "x"], "additionalProperties": False,
          "properties": {"id": {"type": "integer", "minimum": 0, "maximum": 99999}, "name": {"type": "string", "maxLength": 12},
                         "kind": {"enum": ["alpha", "beta", "gamma"]}, "when": {"type": "string", "format": "date"},
                         "x": {"type": "number"}}}
KINDS = {"none": {}, "prose": {"guided_json": PROSE, "complete": False},
         "records": {"guided_json": {"type": "array", "items": RECORD, "minItems": 50}, "complete": False}}


def call(path, body=None):
    request = urllib.request.Request(os.environ["URL"] + path, body and json.dumps(body).encode())
    with urllib.request.urlopen(request) as answer:
        return answer.read().decode()


def counter(name):
    return float(next(line for line in call("/metrics").splitlines() if line.startswith(name + " ")).split()[1])


def one_stream(number, options, fields, counts):
    body = {"prompt": "Once upon a time there was %d" % number, "max_tokens": options.tokens, "temperature": 1, "seed": number,
            "ignore_eos": True, "stream": False}
    counts.append(json.loads(call("/execute", dict(body, **fields)))["tokens_out"])


def measure(options, fields):
    """Milliseconds for a token of each stream, and what share of the tokens was forced."""
    counts, forced = [], counter("worker_forced_tokens_total")
    threads = [threading.Thread(target=one_stream, args=(i, options, fields, counts)) for i in range(options.streams)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - begun
    assert len(counts) == options.streams, "a request failed"
    return seconds * 1000 * options.streams / sum(counts), (counter("worker_forced_tokens_total") - forced) / sum(counts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("streams", 8), ("tokens", 32), ("rounds", 6)):
        parser.add_argument("--" + name, type=int, default=default)
    options = parser.parse_args()
    for fields in KINDS.values():  # prompts are in the cache, grammars were compiled once
        measure(options, fields)
    rounds = [{kind: measure(options, fields) for kind, fields in KINDS.items()} for _ in range(options.rounds)]
    for kind in KINDS:
        times = [one[kind][0] for one in rounds]
        ratio = statistics.median(one[kind][0] / one["none"][0] for one in rounds)
        print("%-8s %6.1f ms a token (%.1f-%.1f), %.3f of the time without, %2.0f%% forced" % (
            kind, statistics.median(times), min(times), max(times), ratio, 100 * statistics.median(one[kind][1] for one in rounds)))


if __name__ == "__main__":
    main()
