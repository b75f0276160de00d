"""Random requests of every kind and dialect, and what a whole answer to each must look like.

A request is drawn from a random.Random of its own, so that its number and the seed give it again. An answer is judged for
itself: its form, its usage, and that it has exactly one end; the numbers that it tells are added up by soak.py.
"""

import dataclasses
import json

WORDS = ("once upon a time there was the capital of France is Paris and a small brown fox ran over seven hills to sea "
         "where nobody knew what was written in old books about rivers, ships & the number 42; {\"a\": [1, true]}").split()
GRAMMARS = [{"regex": "(yes|no|maybe)( [a-f]{1,2}){0,2}"}, {"choice": ["red", "green", "a longer choice"]},
            {"grammar": 'root ::= "[" item ("," item){0,2} "]"\nitem ::= [0-9]{1,2}'},
            {"json": {"type": "array", "items": {"enum": ["a", "b", 3]}, "maxItems": 2}}]
SCHEMA = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 4}, "n": {"type": "integer", "minimum": 0,
          "maximum": 99}}, "required": ["name", "n"], "additionalProperties": False}
TOOLS = [{"type": "function", "function": {"name": name, "description": "What " + name + " does", "parameters": SCHEMA}}
         for name in ("look_up", "add")]


class Wrong(Exception):
    """An answer that is not as it must be."""


@dataclasses.dataclass
class Ask:
    kind: str
    method: str
    path: str
    body: object  # bytes, or what becomes JSON
    judge: object = None  # of the body of a 200: (bytes) -> Seen
    n: int = 0  # requests to the engine, where it is accepted
    most_tokens: int = 0  # of all of them
    allowed: tuple = (200,)  # statuses; 429 besides, where there is something to be computed
    job_id: str = None
    stream_path: str = None  # where the answer of a job in two calls is
    own_prompts: bool = False  # each of the n has one, and the usage is their sum
    refused_at_once: int = 0       # so many, of which the scheduler takes none, and counts that


@dataclasses.dataclass
class Seen:
    """What one answer told."""
    outcome: str = "completed"  # of its n requests
    tokens: int = 0
    prompt: int = None  # None: not told


# ---- judges ----


def need(condition, what, data):
    if not condition:
        raise Wrong("%s: %r" % (what, data[-300:] if isinstance(data, bytes) else data))


def outcome_of(code):
    return {"CANCELLED": "cancelled", "DEADLINE_EXCEEDED": "deadline"}.get(code) or "failed: %s" % code


def used(usage, tokens="completion_tokens", prompt="prompt_tokens"):
    return Seen(tokens=usage[tokens], prompt=usage[prompt])


def events_of(data):
    """(name, text) of each event; comments are passed over."""
    need(data.endswith(b"\n\n"), "a stream that does not end with an event", data)
    for block in data[:-2].split(b"\n\n"):
        name = text = None
        for line in block.split(b"\n"):
            if line.startswith(b"event: "):
                name = line[7:].decode()
            elif line.startswith(b"data: "):
                text = line[6:]
            else:
                need(line == b": ping", "a line that belongs to no event", line)
        if text is not None:
            yield name, text


def end_of_worker(names, events, data):
    """Of the worker's own events: started, tokens in their order, one end."""
    need(sum(name in ("end", "error") for name in names) == 1 and names[-1] in ("end", "error"), "not one end", data)
    need(names.count("started") <= 1 and (names[0] == "started" or names == ["error"]), "no start", data)
    tokens = [event for event in events if event["type"] == "token"]
    need([event["i"] for event in tokens] == sorted(event["i"] for event in tokens), "tokens out of order", data)
    last = events[-1]
    if last["type"] == "error":
        return Seen(outcome_of(last["code"]))
    need(last["usage"]["completion_tokens"] == last["tokens_out"], "two counts of tokens", data)
    return used(last["usage"])


def worker_stream(data):
    pairs = list(events_of(data))
    events = [json.loads(text) for _, text in pairs]
    need(all(name == event["type"] for (name, _), event in zip(pairs, events)), "two names of an event", data)
    return end_of_worker([name for name, _ in pairs], events, data)


def orchestrator_stream(data):
    texts = [text for _, text in events_of(data)]
    need(texts.count(b"[DONE]") == 1 and texts[-1] == b"[DONE]", "not one [DONE]", data)
    events = [json.loads(text) for text in texts[:-1]]
    return end_of_worker([event["type"] for event in events], events, data)


def worker_whole(data):
    return used(json.loads(data)["usage"])


def infer_whole(data):
    return Seen(tokens=json.loads(data)["tokens_generated"])


def openai_stream(n):
    def judge(data):
        texts = [text for _, text in events_of(data)]
        need(texts.count(b"[DONE]") == 1 and texts[-1] == b"[DONE]", "not one [DONE]", data)
        chunks = [json.loads(text) for text in texts[:-1]]
        ends = [choice["index"] for chunk in chunks for choice in chunk["choices"] if choice["finish_reason"]]
        need(sorted(ends) == list(range(n)), "not one end of each choice", data)
        need(chunks[-1]["choices"] == [] and chunks[-1]["usage"], "no usage at the end", data)
        return used(chunks[-1]["usage"])

    return judge


def openai_whole(n):
    def judge(data):
        answer = json.loads(data)
        need([choice["index"] for choice in answer["choices"]] == list(range(n)), "other choices", data)
        need(all(choice["finish_reason"] in ("stop", "length", "tool_calls") for choice in answer["choices"]), "no end", data)
        return used(answer["usage"])

    return judge


def responses_whole(data):
    answer = json.loads(data)
    need(answer["status"] in ("completed", "incomplete"), "no end", data)
    return used(answer["usage"], "output_tokens", "input_tokens")


def responses_stream(data):
    events = [json.loads(text) for _, text in events_of(data)]
    need([event["sequence_number"] for event in events] == list(range(len(events))), "events out of order", data)
    ends = [event["type"] in ("response.completed", "response.incomplete", "response.failed") for event in events]
    need(sum(ends) == 1 and ends[-1], "not one end", data)
    return used(events[-1]["response"]["usage"], "output_tokens", "input_tokens")


def messages_whole(data):
    answer = json.loads(data)
    need(answer["stop_reason"] in ("end_turn", "max_tokens", "tool_use", "stop_sequence"), "no end", data)
    return messages_used(answer["usage"])


def messages_used(usage):
    cached = usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"]
    return Seen(tokens=usage["output_tokens"], prompt=usage["input_tokens"] + cached)


def messages_stream(data):
    pairs = list(events_of(data))
    names = [name for name, _ in pairs]
    need(names.count("message_stop") == 1 and names[-1] == "message_stop" and names.count("message_start") == 1,
         "not one end", data)
    need(names.count("content_block_start") == names.count("content_block_stop"), "a block without an end", data)
    return messages_used(json.loads(dict(pairs)["message_delta"])["usage"])


def ollama(stream):
    def judge(data):
        lines = [json.loads(line) for line in data.splitlines()]
        need(sum(line["done"] for line in lines) == 1 and lines[-1]["done"] and (stream or len(lines) == 1), "not one end", data)
        return used(lines[-1], "eval_count", "prompt_eval_count")

    return judge


def vectors(n, name):
    def judge(data):
        answer = json.loads(data)
        need(len(answer[name]) == n, "other vectors", data)
        prompt = answer["usage"]["prompt_tokens"] if "usage" in answer else answer["prompt_eval_count"]
        return Seen(prompt=prompt)

    return judge


def any_json(data):
    json.loads(data)
    return Seen()


# ---- requests ----


def words(draw, most=16):
    return " ".join(draw.choice(WORDS) for _ in range(draw.randint(1, most)))


def sampling(draw, most=10):
    fields = {"max_tokens": draw.randint(1, most), "temperature": draw.choice((0, 0.7, 1, 1.5)), "seed": draw.getrandbits(32)}
    if draw.random() < 0.2:
        fields.update(draw.choice(({"top_p": 0.9}, {"top_k": 20, "min_p": 0.02}, {"repetition_penalty": 1.2}, {"stop": [" the"]},
                                   {"logit_bias": {"400": -100}}, {"ignore_eos": True}, {"bad_words": ["Paris", " and"]})))
    return fields


def execute(draw, number):
    stream = draw.random() < 0.7
    job_id = "soak-%d" % number
    body = dict(sampling(draw), prompt=words(draw), stream=stream, job_id=job_id, priority=draw.randint(-3, 3))
    allowed = (200,)
    if draw.random() < 0.1:
        body["deadline_ms"] = draw.choice((1, 10, 100, 60000))
        allowed = (200, 503)
    return Ask("execute", "POST", "/execute", body, worker_stream if stream else worker_whole, 1, body["max_tokens"], allowed,
               job_id)


def infer(draw, number):
    body = dict(sampling(draw), prompt=words(draw), operation="infer", job_id="soak-%d" % number)
    return Ask("infer", "POST", "/v1/infer", body, infer_whole, 1, body["max_tokens"], job_id=body["job_id"])


def two_calls(draw, number):
    job_id = "soak-%d" % number
    body = dict(sampling(draw), prompt=words(draw), job_id=job_id)
    if draw.random() < 0.5:
        return Ask("inference in two calls", "POST", "/v1/inference", body, worker_stream, 1, body["max_tokens"], job_id=job_id,
                   stream_path="/v1/inference/%s/stream" % job_id)
    body["operation"] = "infer"
    return Ask("job in two calls", "POST", "/v1/jobs", body, orchestrator_stream, 1, body["max_tokens"], job_id=job_id,
               stream_path="/v1/jobs/%s/stream" % job_id)


def of_openai(draw, path, kind, body, n, most):
    if draw.random() < 0.6:
        body.update(stream=True, stream_options={"include_usage": True})
        return Ask(kind, "POST", path, body, openai_stream(n), n, most)
    return Ask(kind, "POST", path, body, openai_whole(n), n, most)


def completions(draw, number):
    body = dict(sampling(draw), prompt=words(draw))
    n = draw.choice((1, 1, 1, 2, 3))
    form = draw.random()
    if form < 0.1:
        body.update(prompt=words(draw), echo=True, max_tokens=0, logprobs=1)
        return Ask("echo", "POST", "/v1/completions", body, openai_whole(1), 1, 0)
    if form < 0.2:
        body.update(prompt=[words(draw, 12), words(draw, 12)], n=n)
        return of_openai(draw, "/v1/completions", "several prompts", body, 2 * n, 2 * n * body["max_tokens"])
    if form < 0.3:
        body.update(best_of=n + 1, n=n)
        return Ask("best_of", "POST", "/v1/completions", body, openai_whole(n), n + 1, (n + 1) * body["max_tokens"])
    if form < 0.5:
        body["logprobs"] = draw.randint(0, 5)
    body["n"] = n
    return of_openai(draw, "/v1/completions", "completions", body, n, n * body["max_tokens"])


def dialogue(draw):
    messages = [{"role": "system", "content": words(draw, 8)}] if draw.random() < 0.3 else []
    for _ in range(draw.choice((0, 0, 1))):
        messages += [{"role": "user", "content": words(draw, 8)}, {"role": "assistant", "content": words(draw, 8)}]
    return messages + [{"role": "user", "content": words(draw, 16)}]


def chat(draw, number):
    n = draw.choice((1, 1, 1, 2))
    body = dict(sampling(draw), messages=dialogue(draw), n=n)
    kind = "chat"
    form = draw.random()
    if form < 0.2:
        kind, body["tools"], body["max_tokens"] = "tools", TOOLS, 40
        body["tool_choice"] = draw.choice(("auto", "required", "none", {"type": "function", "function": {"name": "add"}}))
    elif form < 0.35:
        body.update(logprobs=True, top_logprobs=draw.randint(0, 5))
    elif form < 0.5:
        kind, body["max_tokens"] = "chat of a schema", 40
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    return of_openai(draw, "/v1/chat/completions", kind, body, n, n * body["max_tokens"])


def constrained(draw, number):
    stream = draw.random() < 0.5
    body = dict(sampling(draw), prompt=words(draw), stream=stream, structured_outputs=draw.choice(GRAMMARS), max_tokens=32)
    body.pop("stop", None)
    body.pop("bad_words", None)
    return Ask("constrained", "POST", "/execute", body, worker_stream if stream else worker_whole, 1, 32)


def responses(draw, number):
    body = {"input": words(draw) if draw.random() < 0.5 else dialogue(draw), "max_output_tokens": draw.randint(1, 10),
            "stream": draw.random() < 0.6, "temperature": draw.choice((0, 1))}
    return Ask("responses", "POST", "/v1/responses", body, responses_stream if body["stream"] else responses_whole, 1,
               body["max_output_tokens"])


def messages(draw, number):
    body = {"model": "any", "messages": [{"role": "user", "content": words(draw)}], "max_tokens": draw.randint(1, 10),
            "stream": draw.random() < 0.6}
    if draw.random() < 0.2:
        body["tools"] = [{"name": "add", "input_schema": SCHEMA}]
    if draw.random() < 0.2:
        body["system"] = words(draw, 8)
    return Ask("messages", "POST", "/v1/messages", body, messages_stream if body["stream"] else messages_whole, 1,
               body["max_tokens"])


def of_ollama(draw, number):
    stream = draw.random() < 0.6
    body = {"model": "any", "stream": stream, "options": {"num_predict": draw.randint(1, 10), "seed": draw.getrandbits(31)}}
    if draw.random() < 0.5:
        return Ask("Ollama's chat", "POST", "/api/chat", dict(body, messages=dialogue(draw)), ollama(stream), 1, 10)
    return Ask("Ollama's generate", "POST", "/api/generate", dict(body, prompt=words(draw)), ollama(stream), 1, 10)


def embeddings(draw, number):
    texts = [words(draw, 12) for _ in range(draw.randint(1, 4))]
    if draw.random() < 0.5:
        return Ask("embeddings", "POST", "/v1/embeddings", {"input": texts, "dimensions": 4}, vectors(len(texts), "data"),
                   len(texts), own_prompts=True)
    return Ask("Ollama's embed", "POST", "/api/embed", {"model": "any", "input": texts}, vectors(len(texts), "embeddings"),
               len(texts), own_prompts=True)


def texts(draw, number):
    path, body = draw.choice((("/tokenize", {"prompt": words(draw)}), ("/tokenize", {"messages": dialogue(draw)}),
                              ("/detokenize", {"tokens": [draw.randint(3, 1000) for _ in range(9)]}),
                              ("/apply-template", {"messages": dialogue(draw)}),
                              ("/v1/messages/count_tokens", {"model": "any", "messages": [{"role": "user", "content": "a b"}]})))
    return Ask("tokens", "POST", path, body, any_json)


def facts(draw, number):
    path = draw.choice(("/info", "/livez", "/v1/models", "/v1/models/tallow-tiny", "/openapi.json", "/api/tags", "/api/ps",
                        "/api/version", "/v1/ready"))
    return Ask("facts", draw.choice(("GET", "GET", "HEAD")), path, b"", any_json, allowed=(200, 503) if "ready" in path else (200,))


def nobodys_job(draw, number):
    if draw.random() < 0.3:
        return Ask("stream of no job", "GET", "/v1/jobs/nobodys-%d/stream" % number, b"", allowed=(404,))
    if draw.random() < 0.5:
        return Ask("end of no job", "DELETE", "/v1/jobs/nobodys-%d" % number, b"", any_json, allowed=(202,))
    return Ask("cancel of no job", "POST", "/cancel", {"job_id": "nobodys-%d" % number}, any_json, allowed=(202,))


def bad(draw, number):
    """What is refused, and with which status."""
    good = json.dumps(dict(sampling(draw), prompt=words(draw))).encode()
    path = draw.choice(("/execute", "/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/messages", "/api/chat",
                        "/api/generate", "/v1/embeddings", "/v1/jobs", "/v1/infer"))
    method, status, body = draw.choice((
        ("POST", 400, good[:draw.randint(1, len(good) - 1)]), ("POST", 400, b"[" * draw.randint(1, 3000)),
        ("POST", 400, b'{"prompt": 7, "messages": 7, "input": 7, "model": 7, "max_tokens": -1}'),
        ("POST", 400, b'{"prompt": "\xff\xfe", "input": "\xff"}'), ("POST", 400, good + b"}"), ("POST", 400, b"null"),
        ("PUT", 405, good), ("POST", 404, good), ("POST", 413, b" " * 1100000)))
    path = "/nothing" if status == 404 else path
    return Ask("bad: %d" % status, method, path, body, allowed=(status,))


def crowd(draw, number):
    body = {"prompt": words(draw), "max_tokens": 4, "n": 120}
    return Ask("too many choices", "POST", "/v1/completions", body, allowed=(400,), refused_at_once=body["n"])


KINDS = ((execute, 20), (infer, 5), (two_calls, 12), (completions, 14), (chat, 12), (constrained, 6), (responses, 6),
         (messages, 6), (of_ollama, 7), (embeddings, 4), (texts, 5), (facts, 5), (nobodys_job, 2), (bad, 8), (crowd, 1))


def draw_request(draw, number):
    [kind] = draw.choices([kind for kind, _ in KINDS], [weight for _, weight in KINDS])
    return kind(draw, number)
