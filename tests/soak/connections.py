#!/usr/bin/env python3
"""Connections in numbers, slow ones, and hostile traffic beside good one.

    connections.py [BINARY] [--minutes 10] [--parts crowd,storm,slow,siege,readers] [--scale 1]

crowd   1,000 idle connections and 64 streams, then more idle ones than there are places: newcomers are served.
storm   500 connects a second for a minute that are closed or reset before, within or after a request.
slow    senders of a byte a second, in the head and in the body, are cut off; readers that do not read end; others are served.
siege   minutes of hostile traffic, in turns with calm, beside good clients: how long those wait, and the ratio of the two.
readers the same, and long answers that nobody reads, by a key that may have one request at a time (only when named).

Every part ends with the worker at rest, and its descriptors and threads back. Times are printed, and of them only the siege's
ratio (at most 1.5 at p99) decides. --scale 0.05 makes numbers and durations that much smaller. Exit 1 when anything was wrong.
"""

import argparse
import json
import multiprocessing
import os
import random
import resource
import select
import socket
import sys
import tempfile
import threading
import time

from kinds import Wrong, worker_stream
from serving import Worker, binary_of
from wire import Torn, WAIT_S, Wire, ask, written

KEYS = "good-key name=good admin\nhostile-key name=hostile concurrency=1\n"
GOOD = "Authorization: Bearer good-key\r\n"
HOSTILE = "Authorization: Bearer hostile-key\r\n"
RATIO = 1.5
PROMPT = "Once upon a time there was a small brown fox"


def quantile(values, q):
    values = sorted(values)
    return values[int(q * (len(values) - 1) + 0.5)] if values else 0.0


def told(seconds):
    return "p50 %.1f, p99 %.1f, at most %.1f ms (%d)" % (quantile(seconds, 0.5) * 1e3, quantile(seconds, 0.99) * 1e3,
                                                         max(seconds, default=0) * 1e3, len(seconds))


def stream(port, max_tokens=16, seed=None):
    """A whole good stream: seconds to its first token and to its end."""
    body = {"prompt": PROMPT, "max_tokens": max_tokens, "ignore_eos": True, "seed": seed or 1}
    start = time.monotonic()
    with Wire(port) as wire:
        wire.send(written("POST", "/execute", body, GOOD))
        status, headers = wire.head()
        if status != 200:
            raise Wrong("a good request: %d %r" % (status, b"".join(wire.pieces(headers))))
        data, first = b"", None
        for piece in wire.pieces(headers):
            data += piece
            if first is None and b"event: token" in data:
                first = time.monotonic() - start
    seen = worker_stream(data)
    if seen.outcome != "completed" or seen.tokens != max_tokens:
        raise Wrong("a good request: %r" % (seen,))
    return first, time.monotonic() - start


def newcomers(port, n):
    """Seconds that each of n new connections waits for /health."""
    waited = []
    for _ in range(n):
        start = time.monotonic()
        status, _, body = ask(port, "GET", "/health")
        waited.append(time.monotonic() - start)
        if status != 200 or json.loads(body)["status"] != "healthy":
            raise Wrong("/health: %d %r" % (status, body))
    return waited


def connected(port, n):
    return [socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) for _ in range(n)]


def close_all(sockets):
    for one in sockets:
        one.close()


# ---- crowd ----


def streams_at_once(port, n, results):
    """n streams of 64 tokens at a time: seconds to the end of each, or what was wrong."""

    def one(seed):
        try:
            results.put(stream(port, 64, seed)[1])
        except (Wrong, Torn, OSError) as error:
            results.put(str(error))

    threads = [threading.Thread(target=one, args=(seed + 1,)) for seed in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def crowd(port, scale):
    idle = connected(port, int(1000 * scale))
    n_streams, results = max(4, int(64 * scale)), multiprocessing.Queue()
    streams = multiprocessing.Process(target=streams_at_once, args=(port, n_streams, results))
    streams.start()  # a process of its own: else the newcomers would wait for its threads, not for the worker
    waited = newcomers(port, 10)
    while streams.is_alive():
        waited += newcomers(port, 1)
        time.sleep(0.005)
    ends = [results.get(timeout=WAIT_S) for _ in range(n_streams)]
    streams.join()
    wrong = [end for end in ends if isinstance(end, str)]
    if wrong:
        raise Wrong("%d of %d streams: %s" % (len(wrong), n_streams, wrong[0]))
    for one in idle:
        one.sendall(written("GET", "/livez"))
    answers = sum(one.recv(12) == b"HTTP/1.1 200" for one in idle)
    if answers != len(idle):
        raise Wrong("%d of %d idle connections still answer" % (answers, len(idle)))
    print("crowd: %d idle connections, %d streams (%.1f s); newcomers to /health waited %s"
          % (len(idle), n_streams, max(ends), told(waited)))
    more = connected(port, int(1500 * scale))
    print("crowd: %d idle connections; newcomers to /health waited %s" % (len(idle) + len(more), told(newcomers(port, 100))))
    close_all(idle + more)


# ---- storm ----


def abort(port, draw):
    """A connection that ends before, within or after its request."""
    one = socket.socket()
    one.settimeout(WAIT_S)
    try:
        one.connect(("127.0.0.1", port))
        whole = written("POST", "/execute", {"prompt": PROMPT, "max_tokens": 2}, draw.choice((HOSTILE, "")))
        one.sendall(whole[:draw.choice((0, 0, 1, 40, len(whole) - 1, len(whole)))])
        if draw.random() < 0.5:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    except OSError:
        pass
    one.close()


def abort_at_rate(port, per_second, over, seed, count):
    draw, start, n = random.Random(seed), time.monotonic(), 0
    while not over.is_set():
        if n < (time.monotonic() - start) * per_second:
            abort(port, draw)
            n += 1
        else:
            time.sleep(0.001)
    count.value += n


def storm(port, scale):
    over, count = multiprocessing.Event(), multiprocessing.Value("l")
    process = multiprocessing.Process(target=abort_at_rate, args=(port, 500, over, 1, count))
    start = time.monotonic()
    process.start()
    waited, streamed = [], []
    while time.monotonic() - start < 60 * scale:
        waited += newcomers(port, 5)
        streamed.append(stream(port)[1])
    over.set()
    process.join()
    seconds = time.monotonic() - start
    print("storm: %d connects and aborts in %.0f s, %.0f a second; meanwhile newcomers to /health waited %s, streams of 16 "
          "tokens %s" % (count.value, seconds, count.value / seconds, told(waited), told(streamed)))
    if count.value < 10:
        raise Wrong("no storm")


# ---- slow ----

HEAD = written("POST", "/execute", {"prompt": PROMPT}, GOOD).split(b"\r\n\r\n")[0]
IN_BODY = written("POST", "/execute", {"prompt": PROMPT * 20}, GOOD)


def drip(sockets, over):
    """A byte a second to each, until the other side has ended them all: seconds that each lived."""
    start, alive, lived = time.monotonic(), dict(sockets), []
    at = 0
    while alive and not over(time.monotonic() - start):
        for one, rest in list(alive.items()):
            try:
                readable, _, _ = select.select([one], [], [], 0)
                if readable and not one.recv(4096):
                    raise ConnectionError
                one.sendall(rest[at:at + 1])
            except OSError:
                lived.append(time.monotonic() - start)
                one.close()
                del alive[one]
        at += 1
        time.sleep(1)
    close_all(alive)
    return lived, len(alive)


def slow(port, scale):
    n = max(5, int(100 * scale))
    senders = {}
    for one in connected(port, n):
        senders[one] = HEAD
    for one in connected(port, n):
        begun = IN_BODY.index(b"\r\n\r\n") + 4
        one.sendall(IN_BODY[:begun])
        senders[one] = IN_BODY[begun:]
    readers = []
    for _ in range(max(2, int(20 * scale))):
        wire = Wire(port, receive_buffer=1024)
        wire.send(written("POST", "/execute", {"prompt": PROMPT, "max_tokens": 900, "ignore_eos": True}, GOOD))
        readers.append(wire)
    found = []
    dripping = threading.Thread(target=lambda: found.append(drip(senders, lambda seconds: seconds > WAIT_S)))
    dripping.start()
    waited, streamed = [], []
    while dripping.is_alive():
        waited += newcomers(port, 5)
        streamed.append(stream(port)[1])
        time.sleep(0.2)
    lived, left = found[0]
    if left:
        raise Wrong("%d slow senders are still there after %d s" % (left, WAIT_S))
    for wire in readers:
        wire.close()
    print("slow: %d senders of a byte a second were cut off after %.0f to %.0f s; meanwhile, beside %d readers that do not read, "
          "newcomers to /health waited %s, streams %s" % (len(lived), min(lived), max(lived), len(readers), told(waited),
                                                          told(streamed)))


# ---- siege ----


def hostile_requests(port, per_second, over, seed, count, broken):
    """What is refused: broken heads, wrong keys, bodies that are no request, large and deep ones. Never with a 500."""
    draw, start, n = random.Random(seed), time.monotonic(), 0
    bodies = (b"{", b"[" * 5000, b'{"prompt":"' + b"x" * 200000, b"\0" * 900, json.dumps({"prompt": "a", "max_tokens": -1}).encode(),
              json.dumps({"prompt": "word " * 5000}).encode(), json.dumps({"messages": [{}] * 500}).encode())
    heads = (b"GET / HTTP/1.1\r\n\r\n", b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01\x02\x00" * 9,
             b"GET /health HTTP/1.1\r\nHost : localhost\r\n\r\n", b"POST /execute HTTP/1.1\r\nHost: localhost\r\n"
             b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", b"GET /?" + b"a&" * 600 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    while not over.is_set():
        if n >= (time.monotonic() - start) * per_second:
            time.sleep(0.002)
            continue
        n += 1
        key = draw.choice((HOSTILE, HOSTILE, "Authorization: Bearer guessed-%d\r\n" % n))
        path = draw.choice(("/execute", "/v1/chat/completions", "/v1/messages", "/api/chat", "/v1/embeddings", "/shutdown", "/metrics"))
        try:
            with Wire(port) as wire:
                wire.send(draw.choice(heads) if draw.random() < 0.4 else
                          written("POST", path, draw.choice(bodies), key + "Connection: close\r\n"))
                status, headers = wire.head()
                if status == 500:
                    broken.value += 1
        except (Torn, OSError, ValueError):
            pass
    count.value += n


def hostile_senders(port, n, over, count):
    """n connections that never finish a request; new ones for those that were cut off."""
    held = []
    while not over.is_set():
        try:
            while len(held) < n:
                one = socket.create_connection(("127.0.0.1", port), timeout=5)
                one.sendall(HEAD[:20])
                held.append(one)
                count.value += 1
            readable, _, _ = select.select(held[:1000], [], [], 0)
            for one in readable:
                one.close()
                held.remove(one)
            for one in held:
                one.sendall(b"x")
        except OSError:
            held = [one for one in held if one.fileno() >= 0]
            held and held.pop(0).close()
        over.wait(1)
    close_all(held)


def hostile_readers(port, over, count):
    """Long answers that nobody reads, with a key that may have one at a time."""
    while not over.is_set():
        try:
            with Wire(port, receive_buffer=1024) as wire:
                wire.send(written("POST", "/execute", {"prompt": PROMPT, "max_tokens": 900, "ignore_eos": True}, HOSTILE))
                count.value += 1
                over.wait(5)
        except OSError:
            over.wait(0.1)


class Attack:
    """All of it, from processes of their own that yield to others: attackers do not sit on the worker's cores."""

    def __init__(self, port, seed, reads):
        self.over = multiprocessing.Event()
        self.counts = [multiprocessing.Value("l") for _ in range(4)]
        self.broken = multiprocessing.Value("l")
        rows = [(hostile_requests, (port, 40, self.over, seed, self.counts[0], self.broken)),
                (abort_at_rate, (port, 60, self.over, seed + 1, self.counts[1])),
                (hostile_senders, (port, 300, self.over, self.counts[2]))]
        if reads:
            rows.append((hostile_readers, (port, self.over, self.counts[3])))
        self.processes = [multiprocessing.Process(target=self.nice, args=row) for row in rows]
        for process in self.processes:
            process.start()

    @staticmethod
    def nice(target, arguments):
        os.nice(10)
        target(*arguments)

    def stop(self):
        self.over.set()
        for process in self.processes:
            process.join()
        if self.broken.value:
            raise Wrong("%d hostile requests were answered with 500" % self.broken.value)
        return [count.value for count in self.counts]


class Times:
    def __init__(self):
        self.first, self.whole, self.health = [], [], []


def good_traffic(port, seconds, times, wrong):
    """Three clients with a stream after another, with pauses, and one who asks for /health."""
    end = time.monotonic() + seconds

    def streams(seed):
        draw = random.Random(seed)
        while time.monotonic() < end and not wrong:
            try:
                first, whole = stream(port, 24, draw.getrandbits(31))
            except (Wrong, Torn, OSError) as error:
                wrong.append(error)
                return
            times.first.append(first)
            times.whole.append(whole)
            time.sleep(draw.random() * 0.1)

    threads = [threading.Thread(target=streams, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    while time.monotonic() < end and not wrong:
        times.health += newcomers(port, 1)
        time.sleep(0.05)
    for thread in threads:
        thread.join()


def siege(port, seconds, reads):
    """Calm and attack in turns, so that both see the same machine."""
    calm, attacked, wrong, sent = Times(), Times(), [], [0, 0, 0, 0]
    n_turns = max(1, round(seconds / 30))
    for turn in range(n_turns):
        good_traffic(port, seconds / n_turns, calm, wrong)
        attack = Attack(port, 10 * turn, reads)
        good_traffic(port, seconds / n_turns, attacked, wrong)
        sent = [a + b for a, b in zip(sent, attack.stop())]
    if wrong:
        raise Wrong(str(wrong[0]))
    print("siege%s: %.0f s of each, in %d turns; %d hostile requests, %d aborts, %d slow senders (300 at a time), %d readers"
          % (" with readers" if reads else "", seconds, n_turns, *sent))
    worst = 0.0
    for name, a, b in (("first token", calm.first, attacked.first), ("stream of 24 tokens", calm.whole, attacked.whole),
                       ("/health", calm.health, attacked.health)):
        ratio = quantile(b, 0.99) / max(quantile(a, 0.99), 1e-9)
        print("  %s: calm %s; attacked %s; p99 %.2f times" % (name, told(a), told(b), ratio))
        worst = ratio if name.startswith("stream") else worst
    if worst > RATIO and min(len(calm.whole), len(attacked.whole)) >= 500:
        raise Wrong("good streams' p99 under attack is %.2f times that of calm, at most %.1f is wanted" % (worst, RATIO))


# ---- all of it ----


def run_part(worker, name, options):
    if name == "siege":
        siege(worker.port, options.minutes * 30, False)
    elif name == "readers":
        siege(worker.port, options.minutes * 30, True)
    else:
        {"crowd": crowd, "storm": storm, "slow": slow}[name](worker.port, options.scale)


def main():
    sys.stdout.reconfigure(line_buffering=True)
    parser = argparse.ArgumentParser()
    parser.add_argument("binary", nargs="?")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--parts", default="crowd,storm,slow,siege")
    parser.add_argument("--scale", type=float, default=1)
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))
    n_wrong = 0
    with tempfile.NamedTemporaryFile("w", prefix="tallow-keys-") as keys:
        keys.write(KEYS)
        keys.flush()
        with Worker(binary_of(options.binary), ["--api-key-file", keys.name]) as worker:
            worker.key = GOOD
            stream(worker.port)
            worker.wait_quiet()
            before = worker.settled_facts()
            for part in options.parts.split(","):
                try:
                    run_part(worker, part, options)
                except (Wrong, Torn, OSError) as error:
                    n_wrong += 1
                    print("WRONG %s: %s" % (part, error))
                if not worker.wait_quiet():
                    n_wrong += 1
                    print("WRONG %s: the worker does not come to rest" % part)
                after = worker.settled_facts(before)
                if after != before:
                    n_wrong += 1
                    print("WRONG %s: descriptors and threads: %r, then %r" % (part, before, after))
            code, said = worker.stop()
            if code != 0 or said:
                n_wrong += 1
                print("WRONG the worker ended with %d and said:\n%s" % (code, said[-6000:]))
    print("%s: %d wrong" % (options.parts, n_wrong))
    return 1 if n_wrong else 0


if __name__ == "__main__":
    sys.exit(main())
