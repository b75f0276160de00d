#!/usr/bin/env python3
"""A conversation as agents lead them: a long system message, then turns that each bring a page of text, to 20,000 tokens.

    conversation.py BINARY MODEL [serve arguments]

Prints for each turn what its prompt has in common with all that was said before, what was found in the cache, what was computed
and how long the first token took; at the end what an idle worker uses of the CPU. Fails where less was found than what is common,
down to a page. What is said is text of this repository.
"""
import http.client
import json
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
TURNS, SYSTEM_TOKENS, END_TOKENS, ANSWER_TOKENS, IDLE_S = 12, 13000, 20000, 48, 5


class Worker:
    def __init__(self, binary, model, arguments):
        command = [binary, "serve", "--model", model, "--port", "0", "--log-level", "error", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        line = self.process.stdout.readline()
        if not line:
            sys.exit("the worker did not start")
        self.ready = json.loads(line)

    def request(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.ready["port"])
        connection.request(method, path, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        data = answer.read()
        if answer.status != 200:
            sys.exit(f"{path}: {answer.status} {data[:300]}")
        return data.decode()

    def post(self, path, **body):
        return json.loads(self.request("POST", path, body))

    def caught_up(self):
        return "worker_catching_up_answers 0" in self.request("GET", "/metrics").splitlines()

    def cpu_ticks(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])


def page_tokens(binary, model, arguments):
    shown = subprocess.run([binary, "inspect", model, "--json", *arguments], stdout=subprocess.PIPE, check=True)
    return json.loads(shown.stdout)["memory"]["kv_page_tokens"]


def texts(worker):
    """The system message, and what each turn says: pieces of about so many tokens."""
    files = ["README.md", "src/README.md", "tests/README.md", "tests/bench/README.md", "src/server/routes/openapi.json"]
    whole = "".join((ROOT / name).read_text() for name in files)
    tokens = len(worker.post("/tokenize", prompt=whole)["tokens"])
    characters = len(whole) / tokens
    system = int(SYSTEM_TOKENS * characters)
    piece = int((END_TOKENS - SYSTEM_TOKENS) / TURNS * characters)
    return whole[:system], [whole[at:at + piece] for at in range(system, system + TURNS * piece, piece)]


def common(a, b):
    n = 0
    while n < min(len(a), len(b)) and a[n] == b[n]:
        n += 1
    return n


def main():
    binary, model, *arguments = sys.argv[1:]
    page = page_tokens(binary, model, arguments)
    worker = Worker(binary, model, arguments)
    failed = 0
    try:
        system, pieces = texts(worker)
        messages, before = [{"role": "system", "content": system}], []
        print(f"{os.path.basename(model)}: context {worker.ready['context_length']}, pages of {page} tokens")
        print("turn  prompt  common  found  computed  seconds  until caught up")
        for turn, piece in enumerate(pieces, 1):
            messages.append({"role": "user", "content": piece + "\n\nWhat does this part say?"})
            tokens = worker.post("/tokenize", messages=messages)["tokens"]
            started = time.monotonic()
            answer = worker.post("/v1/chat/completions", messages=messages, max_tokens=ANSWER_TOKENS, temperature=0)
            answered = time.monotonic()
            while not worker.caught_up():
                time.sleep(0.05)
            found = answer["usage"]["prompt_tokens_details"]["cached_tokens"]
            shared = common(tokens, before)
            fell_short = found < shared // page * page
            failed += fell_short
            print(f"{turn:4}  {len(tokens):6}  {shared:6}  {found:5}  {len(tokens) - found:8}  {answered - started:7.1f}  "
                  f"{time.monotonic() - answered:15.1f}{'  TOO FEW' if fell_short else ''}", flush=True)
            text = answer["choices"][0]["message"]["content"]
            before = tokens + worker.post("/tokenize", prompt=text, add_special_tokens=False)["tokens"]
            messages.append({"role": "assistant", "content": text})
        ticks = worker.cpu_ticks()
        time.sleep(IDLE_S)
        print(f"CPU in {IDLE_S} idle seconds: {(worker.cpu_ticks() - ticks) / os.sysconf('SC_CLK_TCK'):.2f} s")
    finally:
        worker.process.terminate()
        worker.process.wait()
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
