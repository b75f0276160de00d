#!/usr/bin/env python3
"""Many requests of random kinds and dialects, some cancelled, some left by their clients: does everything add up?

    soak.py [BINARY] [--requests 100000] [--seed 1] [--clients 16]

Starts a worker with the shipped model and sends it requests drawn from the seed. Wrong is: an answer without exactly one end,
or of another form or status than its request allows; a /health that does not answer 200; counters of /metrics that are not what the clients
saw (who left has no say: such requests only widen the bounds); pages, descriptors, threads or resident memory that do not come
back; anything in the log from a sanitizer; another end than 0 on SIGTERM. Nobody leaves in the first tenth, and there the
counters must be equal to the last token. Prints one summary; exit 1 when anything was wrong.
"""

import argparse
import collections
import json
import random
import sys
import threading
import time

from kinds import Wrong, draw_request
from serving import Worker, binary_of
from wire import Torn, Wire, ask, health, metrics, written

CALM_PART = 0.1
HEALTH_INTERVAL_S = 0.05
CONTEXT = 1024  # of the shipped model
SERVE = ("--parallel", "8", "--queue", "16", "--kv-memory", "2MiB")
BATCH = 5000  # requests, after which all is compared
LEAST_FOR_MEMORY = 20000  # requests: with fewer, memory is still growing into what 16 connections at a time take
# What may be added to resident memory after the calm part: threads that are there once more at a time, and what malloc keeps
# for each; with a sanitizer, its quarantine and its records of threads and stacks as well.
GROWTH_KB, GROWTH_SANITIZED_KB = 4096, 65536
FATES = (("whole", 72), ("cancel", 8), ("leave early", 5), ("leave midway", 9), ("dawdle", 2), ("abandon", 4))


class Book:
    """What clients saw. Bounds: [least, most] where somebody left, so that nobody can tell."""

    def __init__(self):
        self.lock = threading.Lock()
        self.kinds = collections.Counter()
        self.fates = collections.Counter()
        self.n_full = 0
        self.wrong = []
        self.sums = collections.defaultdict(lambda: [0, 0])

    def add(self, name, least, most=None):
        with self.lock:
            self.sums[name][0] += least
            self.sums[name][1] += least if most is None else most

    def note(self, kind, fate):
        with self.lock:
            self.kinds[kind] += 1
            self.fates[fate] += 1

    def note_full(self):
        with self.lock:
            self.n_full += 1

    def complain(self, text):
        with self.lock:
            self.wrong.append(text)
            if len(self.wrong) <= 20:
                print("WRONG " + text, flush=True)


class Client(threading.Thread):
    """Takes the next number until there is none."""

    def __init__(self, port, seed, numbers, book, calm):
        super().__init__(daemon=True)
        self.port, self.seed, self.numbers, self.book, self.calm = port, seed, numbers, book, calm
        self.wire = None
        self.abandoned = []

    def run(self):
        for number in iter(lambda: next(self.numbers, None), None):
            draw = random.Random("%d %d" % (self.seed, number))
            request = draw_request(draw, number)
            if self.calm and isinstance(request.body, dict):
                request.body.pop("deadline_ms", None)
            fate = "whole" if self.calm else draw.choices([f for f, _ in FATES], [w for _, w in FATES])[0]
            try:
                self.one(request, fate, draw)
            except (Wrong, Torn, ValueError, KeyError, IndexError, OSError) as error:
                self.drop()
                self.book.complain("request %d, %s (%s): %s: %s" % (number, request.kind, fate, type(error).__name__, error))
        self.drop()

    def drop(self):
        if self.wire:
            self.wire.close()
        self.wire = None

    def open(self, draw):
        """A new connection, or the last one once more."""
        if self.wire and (draw.random() < 0.5 or self.wire.is_closed()):
            self.drop()
        if not self.wire:
            self.wire = Wire(self.port)

    def one(self, request, fate, draw):
        if not request.n or (fate == "cancel" and not request.job_id) or (fate == "abandon" and not request.stream_path):
            fate = "whole"
        self.book.note(request.kind, fate)
        self.open(draw)
        if request.stream_path and not self.submit_job(request, fate):
            return
        asked = ("GET", request.stream_path) if request.stream_path else (request.method, request.path, request.body)
        self.wire.send(written(*asked))
        if fate == "leave early":
            time.sleep(draw.choice((0, 0.001, 0.02)))
            self.leave(draw)
            if request.stream_path:
                self.abandoned.append(request)  # whether its stream was opened will be seen
            else:
                self.left(request, started=False)
            return
        if fate == "cancel":
            time.sleep(draw.choice((0, 0.002, 0.01)))
            self.cancel(request, draw)
        status, headers = self.wire.head()
        self.answered(status)
        self.read(request, fate, draw, status, headers)

    def read(self, request, fate, draw, status, headers):
        """The answer's body, or some of it."""
        most = draw.randint(0, 6) if fate == "leave midway" and headers.get("transfer-encoding") == "chunked" else None
        body = b""
        for i, piece in enumerate(self.wire.pieces(headers, request.method == "HEAD")):
            if i == most:
                break
            body += piece
            if fate == "dawdle":
                time.sleep(0.02)
        else:
            self.judge(request, status, body)
            if headers.get("connection", "").lower() == "close":
                self.drop()
            return
        self.leave(draw)
        self.left(request, started=True)

    def submit_job(self, request, fate):
        """The first of two calls; whether there is a second."""
        self.wire.send(written(request.method, request.path, request.body))
        status, headers = self.wire.head()
        self.answered(status)
        body = b"".join(self.wire.pieces(headers))
        if status != 200:
            self.refused(request, status, body)
            return False
        told = json.loads(body)
        if told["job_id"] != request.job_id or told["sse_url"] != request.stream_path:
            raise Wrong("another job: %r" % body)
        if fate == "abandon":
            self.abandoned.append(request)
        return fate != "abandon"

    def cancel(self, request, draw):
        if draw.random() < 0.5:
            status, _, body = ask(self.port, "POST", "/cancel", {"job_id": request.job_id})
        else:
            status, _, body = ask(self.port, "DELETE", "/v1/jobs/" + request.job_id)
        self.answered(status)
        if status != 202 or json.loads(body)["job_id"] != request.job_id:
            raise Wrong("cancel: %d %r" % (status, body))

    def leave(self, draw):
        draw.choice((self.wire.close, self.wire.reset, self.wire.half_close))()
        self.drop()

    # ---- what is seen goes into the book ----

    def answered(self, status):
        self.book.add("answers %dxx" % (status // 100), 1)

    def left(self, request, started):
        """Whoever leaves a request does not know how it ends; or, before it is answered, whether it was ever read."""
        least = request.n if started else 0
        self.book.add("ended", least, request.n)
        self.book.add("completed", 0, request.n)
        self.book.add("cancelled", 0, request.n)
        self.book.add("deadline", 0, request.n)
        self.book.add("tokens", 0, request.most_tokens)
        self.book.add("prompt", 0, CONTEXT * request.n)
        if not started:
            self.book.add("rejected", 0, request.n)
            for name in ("2xx", "4xx", "5xx"):
                self.book.add("answers " + name, 0, 1)

    def judge(self, request, status, body):
        if status != 200 or not request.judge:
            self.refused(request, status, body)
            return
        if request.method == "HEAD":
            return
        seen = request.judge(body)
        if seen.outcome not in ("completed", "cancelled", "deadline"):
            raise Wrong(seen.outcome)
        whole = seen.outcome == "completed"
        self.book.add("ended", request.n)
        self.book.add(seen.outcome, request.n)
        self.book.add("tokens", seen.tokens, seen.tokens if whole else request.most_tokens)
        if whole and seen.prompt is not None:
            # What choices share is told once, and counted for each.
            self.book.add("prompt", seen.prompt, seen.prompt * (1 if request.own_prompts else request.n))
        else:
            self.book.add("prompt", 0, CONTEXT * request.n)

    def refused(self, request, status, body):
        """An answer that is no 200: allowed, of a form that says why, and counted as what it is."""
        error = json.loads(body) if body else {}
        text = json.dumps(error)
        if status == 202 and 202 in request.allowed:
            return
        if request.kind == "facts" and status in request.allowed:
            return
        if not (error.get("errors") or error.get("error")):
            raise Wrong("a refusal without a reason: %d %r" % (status, body[:200]))
        if status == 429 and request.n:
            self.book.note_full()
            time.sleep(0.01)
            # Of a list of embeddings some may have been computed before.
            self.book.add("rejected", 1, request.n)
            self.book.add("ended", 0, request.n - 1)
            self.book.add("completed", 0, request.n - 1)
            self.book.add("cancelled", 0, request.n)
            self.book.add("prompt", 0, CONTEXT * request.n)
            return
        if request.refused_at_once and status == 400:
            self.book.add("rejected", request.refused_at_once)
            return
        if '"CANCELLED"' in text and request.job_id:
            self.book.add("ended", 1)
            self.book.add("cancelled", 1)
        elif status == 503 and '"DEADLINE_EXCEEDED"' in text and 503 in request.allowed:
            self.book.add("ended", 1)
            self.book.add("deadline", 1)
        elif status not in request.allowed or status == 200:
            raise Wrong("status %d: %r" % (status, body[:300]))
        if request.n:
            self.book.add("tokens", 0, request.most_tokens)
            self.book.add("prompt", 0, CONTEXT * request.n)


class Watcher(threading.Thread):
    """Asks for /health all the time, and now and then for /metrics."""

    def __init__(self, port, book):
        super().__init__(daemon=True)
        self.port, self.book, self.over = port, book, threading.Event()
        self.n, self.longest_s = 0, 0.0

    def run(self):
        while not self.over.wait(HEALTH_INTERVAL_S):
            start = time.monotonic()
            try:
                status, _, body = ask(self.port, "GET", "/health")
                if status != 200 or json.loads(body)["status"] != "healthy":
                    self.book.complain("/health: %d %r" % (status, body))
                self.longest_s = max(self.longest_s, time.monotonic() - start)
                self.n += 1
                self.book.add("answers 2xx", 1)
                if self.n % 20 == 0:
                    metrics(self.port)
                    self.book.add("answers 2xx", 1)
            except (Torn, OSError, ValueError) as error:
                self.book.complain("/health: %s" % error)

    def stop(self):
        self.over.set()
        self.join()


class Soak:
    def __init__(self, worker, options):
        self.worker, self.options, self.book = worker, options, Book()
        self.longest_s = 0.0
        self.n_open = 0

    def rest(self):
        """Until nothing runs. What was asked meanwhile is counted by the worker, too."""
        if not self.worker.wait_quiet():
            self.book.complain("the worker does not come to rest: %r" % health(self.worker.port))

    def part(self, first, last, calm):
        """Requests of these numbers; then the counters, against what was seen."""
        self.book.sums.clear()
        before = metrics(self.worker.port)
        watcher = Watcher(self.worker.port, self.book)
        watcher.start()
        numbers = iter(range(first, last))
        lock = threading.Lock()

        def each():
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                yield number

        clients = [Client(self.worker.port, self.options.seed, each(), self.book, calm) for _ in range(self.options.clients)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        self.late([request for client in clients for request in client.abandoned])
        watcher.stop()
        self.longest_s = max(self.longest_s, watcher.longest_s)
        self.compare(before, self.settled(), calm)

    def late(self, abandoned):
        """Jobs that nobody opened: the stream is there still, or was given up for want of places or after a minute."""
        late = Client(self.worker.port, 0, iter(()), self.book, True)
        for request in abandoned:
            status, _, body = ask(self.worker.port, "GET", request.stream_path)
            late.answered(status)
            if status == 200:
                try:
                    late.judge(request, status, body)
                except Wrong as error:
                    self.book.complain("%s, opened late: %s" % (request.kind, error))
            elif status == 404:
                late.left(request, started=True)
            else:
                self.book.complain("%s, opened late: %d %r" % (request.kind, status, body))

    def settled(self):
        self.rest()
        return metrics(self.worker.port)

    def compare(self, before, after, calm):
        grown = {name: after[name] - before.get(name, 0) for name in after}
        outcome = {name: grown['worker_requests_total{outcome="%s"}' % name]
                   for name in ("completed", "cancelled", "deadline", "rejected", "failed")}
        counted = dict(outcome, tokens=grown["worker_tokens_generated_total"], prompt=grown["worker_prompt_tokens_total"],
                       ended=outcome["completed"] + outcome["cancelled"] + outcome["deadline"])
        sums = self.book.sums
        for name in ("completed", "cancelled", "deadline", "rejected", "failed", "tokens", "prompt", "ended"):
            least, most = sums[name]
            if not least <= counted[name] <= most:
                self.book.complain("/metrics: %s grew by %d, clients saw %d to %d" % (name, counted[name], least, most))
        if calm and sums["tokens"][0] != sums["tokens"][1]:
            self.book.complain("tokens in doubt in the calm part: %r" % sums["tokens"])
        answers = {name: grown['worker_http_responses_total{class="%s"}' % name] for name in ("2xx", "4xx", "5xx", "none")}
        sums["answers 2xx"][1] += answers["2xx"]  # we ask for /metrics and /health, too
        for name in ("2xx", "4xx", "5xx"):
            least, most = sums["answers " + name]
            if not least <= answers[name] <= most:
                self.book.complain("/metrics: %d answers %s, clients saw %d to %d" % (answers[name], name, least, most))
        if grown["worker_request_seconds_count"] != counted["ended"] + outcome["failed"]:
            self.book.complain("/metrics: %d durations of %d requests" % (grown["worker_request_seconds_count"], counted["ended"]))
        if calm and answers["none"]:
            self.book.complain("/metrics: %d exchanges without an answer, and nobody left" % answers["none"])
        told = health(self.worker.port)
        if told["kv_pages_free"] != told["kv_pages_total"]:
            self.book.complain("pages that did not come back: %r" % told)

    def warm(self):
        """What is made when it is first wanted: the thread for masks."""
        ask(self.worker.port, "POST", "/execute", {"prompt": "a", "max_tokens": 4, "structured_outputs": {"choice": ["a", "b"]}})
        self.rest()

    def check_memory(self, n, warm_kb):
        now_kb = self.worker.resident_at_rest_kb()
        limit = GROWTH_SANITIZED_KB if self.worker.is_sanitized else GROWTH_KB
        if n >= LEAST_FOR_MEMORY and now_kb - warm_kb > limit:
            self.book.complain("resident memory grew from %d to %d kB (limit %d)" % (warm_kb, now_kb, limit))
        return now_kb

    def check_end(self):
        code, said = self.worker.stop()
        if code != 0 or said:
            self.book.complain("the worker ended with %d and said:\n%s" % (code, said[-6000:]))

    def run(self):
        n, calm = self.options.requests, max(1, int(self.options.requests * CALM_PART))
        start = time.monotonic()
        self.warm()
        at_first = self.worker.settled_facts()
        self.part(0, calm, True)
        warm_kb = self.worker.resident_at_rest_kb()
        for first in range(calm, n, BATCH):
            self.part(first, min(first + BATCH, n), False)
            if n > BATCH:
                print("  %d requests, resident %d kB" % (min(first + BATCH, n), self.worker.resident_kb()))
        seconds = time.monotonic() - start
        at_last = self.worker.settled_facts(at_first)
        if at_last != at_first:
            self.book.complain("descriptors and threads: %r, then %r" % (at_first, at_last))
        last_kb = self.check_memory(n, warm_kb)
        self.check_end()
        for name, counts in (("kinds", self.book.kinds), ("fates", self.book.fates)):
            print(name + ": " + ", ".join("%d %s" % (count, what) for what, count in sorted(counts.items())))
        print("%d requests from %d clients in %.0f s, seed %d; %d met a full queue; /health within %.0f ms; resident %d kB after %d, %d kB after all; "
              "%d wrong" % (n, self.options.clients, seconds, self.options.seed, self.book.n_full, self.longest_s * 1e3, warm_kb, calm, last_kb,
                            len(self.book.wrong)))
        return 1 if self.book.wrong else 0


def main():
    sys.stdout.reconfigure(line_buffering=True)
    parser = argparse.ArgumentParser()
    parser.add_argument("binary", nargs="?")
    parser.add_argument("--requests", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--serve", default="", help="more options of the worker")
    options = parser.parse_args()
    options.binary = binary_of(options.binary)
    with Worker(options.binary, [*SERVE, *options.serve.split()]) as worker:
        return Soak(worker, options).run()


if __name__ == "__main__":
    sys.exit(main())
