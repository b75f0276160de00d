#!/usr/bin/env python3
"""Raw HTTP, mutated, against the running server: every connection ends with answers or a close, and the worker goes on.

    fuzz_server.py [BINARY] [--seconds 60 | --cases N] [--seed 1] [--case N]

Each case is one connection's bytes, drawn from the seed and its number: one to four requests of a grammar (or an input of
fuzz_http's corpus), changed by bytes, pieces and words of its dictionary, sent in pieces. Then the client says that nothing follows, or waits to be
cut off. Wrong is: bytes that are no whole answers in HTTP; a 500; silence; a worker that has ended, does not come to rest, keeps
descriptors, threads or memory; a sanitizer's word in the log. What was sent last is then left in build/crashes. --case N sends
that one alone. Meant for CONFIG=asan; any build will do.
"""

import argparse
import collections
import pathlib
import random
import re
import sys
import tempfile
import threading
import time

from kinds import Wrong, draw_request
from serving import ROOT, Worker, binary_of
from wire import Torn, Wire, ask, written

KEYS = "fuzz\nadmin-key name=operator admin\n"  # so that no case reaches /shutdown
ADMIN = "Authorization: Bearer admin-key\r\n"
N_CLIENTS = 8
# What may be added to resident memory; with a sanitizer, its quarantine, stacks and what it keeps of each connection's thread
# after its end (ASan: 200 bytes).
GROWTH_KB, GROWTH_SANITIZED_KB, KB_SANITIZED_THREAD = 16384, 65536, 0.25
LEAST_FOR_MEMORY = 5000  # cases

PATHS = (b"/health", b"/livez", b"/execute", b"/v1/chat/completions", b"/v1/inference/x/stream", b"/v1/jobs/a%2Fb", b"/cancel",
         b"/shutdown", b"/info?a=1&b", b"/%00", b"//health", b"*", b"http://localhost/health", b"/" + b"a" * 3000, b"/v1/models/x")
METHODS = (b"GET", b"GET", b"POST", b"POST", b"POST", b"HEAD", b"OPTIONS", b"DELETE", b"PUT", b"get", b"M" * 40)
VERSIONS = (b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.", b"")
FIELDS = (b"Host: localhost", b"Host: evil.example", b"Host : localhost", b"Connection: close", b"Connection: keep-alive, x",
          b"Expect: 100-continue", b"Expect: 200-ok", b"Origin: http://evil.example", b"Content-Encoding: gzip", b"X: a\rb",
          b"X: \0", b" folded: 1", b"Cookie: a=b; c", b"Content-Length: 18446744073709551616", b"Content-Length: 5, 5",
          b"Content-Length: -1", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding:",
          b"X-Request-Id: " + b"r" * 200, b"Authorization: Bearer fuzz", b"X-Api-Key: fuzz", b"X-Api-Key: fuz", b":", b"a" * 5000 + b": b")
LINE_ENDS = (b"\r\n",) * 12 + (b"\n", b"\r", b"\r\n ")


def words_of(path):
    """The entries of a libFuzzer dictionary."""
    found = re.findall(r'^"(.*)"$', path.read_text(), re.M)
    return [entry.encode().decode("unicode_escape").encode("latin-1") for entry in found]


WORDS = words_of(ROOT / "tests/fuzz/http.dict")
CORPUS = [path.read_bytes() for path in sorted((ROOT / "tests/fuzz/corpus/http").iterdir())]


# ---- cases ----


def good_request(draw):
    """None that leaves a job behind, which would be kept for a minute."""
    request = None
    while not request or request.stream_path:
        request = draw_request(draw, draw.getrandbits(30))
    return written(request.method, request.path, request.body, "Authorization: Bearer fuzz\r\n")


def body_of(draw):
    whole = good_request(draw)
    return whole[whole.index(b"\r\n\r\n") + 4:][:20000]


def chunked(draw, body):
    out, at = b"", 0
    while at < len(body):
        n = draw.randint(1, 400)
        piece = body[at:at + n]
        out += b"%x%s\r\n%s\r\n" % (len(piece), draw.choice((b"", b"", b";a=b", b" ")), piece)
        at += n
    return out + draw.choice((b"0\r\n\r\n", b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"00\r\n\r\n", b"", b"0\r\n"))


def of_grammar(draw):
    end = draw.choice(LINE_ENDS)
    lines = [b" ".join((draw.choice(METHODS), draw.choice(PATHS), draw.choice(VERSIONS)))]
    lines += [b"Host: localhost"] * (draw.random() < 0.8) + [b"Authorization: Bearer fuzz"] * (draw.random() < 0.7)
    lines += [draw.choice(FIELDS) for _ in range(draw.choice((0, 0, 1, 2, 5)))]
    body = body_of(draw) if draw.random() < 0.6 else b""
    framing = draw.random()
    if framing < 0.4:
        lines.append(b"Content-Length: %d" % (len(body) + draw.choice((0, 0, 0, 0, -1, 1, 100))))
    elif framing < 0.7:
        lines.append(b"Transfer-Encoding: chunked")
        body = chunked(draw, body)
    return end.join(lines) + end * 2 + body


def mutated(draw, data):
    for _ in range(draw.choice((0, 0, 1, 1, 2, 5, 20))):
        at = draw.randint(0, len(data))
        what = draw.randint(0, 5)
        if what == 0:
            data = data[:at] + bytes([draw.getrandbits(8)]) + data[at + 1:]
        elif what == 1:
            data = data[:at] + data[at + draw.randint(1, 30):]
        elif what == 2:
            data = data[:at] + draw.choice(WORDS) + data[at:]
        elif what == 3:
            data = data[:at] + data[max(0, at - draw.randint(1, 60)):at] * draw.randint(1, 3) + data[at:]
        elif what == 4:
            data = data[:at] + bytes(draw.getrandbits(8) for _ in range(draw.randint(1, 9))) + data[at:]
        else:
            data = data[:at]
    return data


def draw_case(seed, number):
    """The bytes, and the random numbers that say how they are sent."""
    draw = random.Random("%d %d" % (seed, number))
    parts = [draw.choice((of_grammar, of_grammar, good_request, lambda draw: draw.choice(CORPUS)))(draw)
             for _ in range(draw.choice((1, 1, 1, 2, 4)))]
    return mutated(draw, b"".join(parts))[:300000], draw


# ---- answers ----


def check_answers(data):
    """Whole answers, one after another; the last may be cut where the client was taken for gone. Their statuses."""
    statuses = []
    while data:
        match = re.match(rb"HTTP/1\.[01] (\d{3}) [ -~]*\r\n((?:[!-9;-~]+: [ -~]*\r\n)*)\r\n", data)
        if not match:
            raise Wrong("no answer in HTTP: %r" % data[:200])
        status, data = int(match[1]), data[match.end():]
        if status == 500:
            raise Wrong("a 500: %r %r" % (match[2], data[:200]))
        statuses.append(status)
        headers = {name.lower(): value for name, value in re.findall(rb"(\S+): (.*)\r\n", match[2])}
        if data.startswith(b"HTTP/1."):
            continue  # without a body: to HEAD, or 100
        if headers.get(b"transfer-encoding") == b"chunked":
            while data:
                size = re.match(rb"([0-9a-fA-F]+)\r\n", data)
                if not size:
                    if re.match(rb"HTTP/1\.|[0-9a-fA-F]{0,8}\r?$", data):
                        break  # HEAD of a stream, or cut
                    raise Wrong("no chunk: %r" % data[:100])
                end = size.end() + int(size[1], 16) + 2
                data = data[end:]
                if int(size[1], 16) == 0:
                    break
        elif b"content-length" not in headers and headers.get(b"connection") == b"close":
            break  # a stream to HTTP/1.0, which goes on to the end
        else:
            data = data[int(headers.get(b"content-length", 0)):]
    return statuses


class Client(threading.Thread):
    def __init__(self, port, options, numbers, results):
        super().__init__(daemon=True)
        self.port, self.options, self.numbers, self.results = port, options, numbers, results

    def run(self):
        for number in iter(lambda: next(self.numbers, None), None):
            data, draw = draw_case(self.options.seed, number)
            self.results.recent.append((number, data))
            try:
                self.results.add(self.one(data, draw))
            except (Wrong, Torn, OSError, ValueError) as error:
                self.results.complain("case %d: %s: %s" % (number, type(error).__name__, error))

    def one(self, data, draw):
        received = b""
        with Wire(self.port) as wire:
            at = 0
            while at < len(data):
                n = draw.choice((1, 7, 100, len(data), len(data), len(data)))
                wire.send(data[at:at + n])
                at += n
                if draw.random() < 0.02:
                    time.sleep(0.01)
            fate = draw.random()
            if fate < 0.1:
                (wire.reset if fate < 0.05 else wire.close)()
                return []
            if fate < 0.999:
                wire.half_close()
            try:  # else it waits for what follows, until the head's or the body's time is over
                while True:
                    wire.more()
            except Torn as error:
                if "silence" in str(error):
                    raise
            received = wire.kept
        return check_answers(received)


class Results:
    def __init__(self):
        self.lock = threading.Lock()
        self.recent = collections.deque(maxlen=4 * N_CLIENTS)
        self.n_cases = self.n_answered = 0
        self.statuses = collections.Counter()
        self.wrong = []

    def add(self, statuses):
        with self.lock:
            self.n_cases += 1
            self.n_answered += len(statuses) > 0
            self.statuses.update(statuses)

    def complain(self, text):
        with self.lock:
            self.wrong.append(text)
            if len(self.wrong) <= 20:
                print("WRONG " + text)

    def keep(self):
        folder = ROOT / "build/crashes"
        folder.mkdir(parents=True, exist_ok=True)
        for number, data in self.recent:
            (folder / ("server-%d" % number)).write_bytes(data)
        print("what was sent last is in build/crashes/server-*")


class Numbers:
    """0, 1, 2, ... for all clients together, as long as there is time and the worker lives."""

    def __init__(self, options, worker, first):
        self.lock, self.next, self.options, self.worker = threading.Lock(), first, options, worker
        self.end = time.monotonic() + options.seconds

    def __next__(self):
        with self.lock:
            over = self.next >= self.options.cases if self.options.cases else time.monotonic() > self.end
            if over or not self.worker.is_alive():
                raise StopIteration
            self.next += 1
            return self.next - 1


def attack(worker, options, results):
    numbers = Numbers(options, worker, 0)
    clients = [Client(worker.port, options, numbers, results) for _ in range(N_CLIENTS)]
    for client in clients:
        client.start()
    warm_kb = 0
    while any(client.is_alive() for client in clients):
        if not worker.is_alive():
            results.complain("the worker has ended")
            break
        if ask(worker.port, "GET", "/health")[0] != 200:
            results.complain("/health does not answer 200")
        if not warm_kb and results.n_cases >= LEAST_FOR_MEMORY:
            warm_kb = worker.resident_kb()
        time.sleep(0.2)
    for client in clients:
        client.join()
    return warm_kb


def check_worker(worker, before, warm_kb, results):
    if worker.is_alive() and not worker.wait_quiet():
        results.complain("the worker does not come to rest")
    after = worker.settled_facts(before)
    if after and after != before:
        results.complain("descriptors and threads: %r, then %r" % (before, after))
    kb = worker.resident_kb()
    limit = GROWTH_SANITIZED_KB + KB_SANITIZED_THREAD * results.n_cases if worker.is_sanitized else GROWTH_KB
    if warm_kb and kb - warm_kb > limit:
        results.complain("resident memory grew from %d to %d kB" % (warm_kb, kb))
    code, said = worker.stop()
    if code != 0 or said:
        results.complain("the worker ended with %d and said:\n%s" % (code, said[-6000:]))
    return kb


def main():
    sys.stdout.reconfigure(line_buffering=True)
    parser = argparse.ArgumentParser()
    parser.add_argument("binary", nargs="?")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--cases", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", type=int)
    options = parser.parse_args()
    results = Results()
    start = time.monotonic()
    with tempfile.NamedTemporaryFile("w", prefix="tallow-keys-") as keys:
        keys.write(KEYS)
        keys.flush()
        with Worker(binary_of(options.binary), ["--api-key-file", keys.name, "--max-tokens", "64", "--kv-memory", "2MiB"]) as worker:
            worker.key = ADMIN
            body = {"prompt": "a", "max_tokens": 4, "structured_outputs": {"choice": ["a", "b"]}}
            ask(worker.port, "POST", "/execute", body, ADMIN + "Connection: close\r\n")  # makes the thread for masks
            before = worker.settled_facts()
            warm_kb = 0
            if options.case is None:
                warm_kb = attack(worker, options, results)
            else:
                Client(worker.port, options, iter([options.case]), results).run()
            kb = check_worker(worker, before, warm_kb, results)
    if results.wrong:
        results.keep()
    print("%d connections in %.0f s, seed %d: %d answered (%s); resident %d kB at last; %d wrong"
          % (results.n_cases, time.monotonic() - start, options.seed, results.n_answered,
             ", ".join("%d: %d" % row for row in sorted(results.statuses.items())), kb, len(results.wrong)))
    return 1 if results.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
