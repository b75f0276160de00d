"""Streams and connections under pressure: clients that leave, that do not read, and that come in numbers."""

import json
import socket
import struct
import threading

import pytest

from conftest import llama_config, write_model
from http_client import WAIT_S, Stream, connect, execute, get, health, post, raw, status_of, text_of, wait_until

PROMPT = "Once upon a time"
LONG = {"prompt": PROMPT, "max_tokens": 2000, "ignore_eos": True}


def long_request(**fields):
    body = json.dumps(dict(LONG, **fields)).encode()
    return b"POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def keep_busy(port, stop):
    """Fills the worker's one place again and again until told to stop."""
    while not stop.is_set():
        with Stream(port, "/execute", LONG) as stream:
            for _ in stream:
                if stop.is_set():
                    return


def leave_by_close(connection):
    connection.close()


def leave_by_reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


def leave_by_half_close(connection):
    connection.shutdown(socket.SHUT_WR)


LEAVE = (leave_by_close, leave_by_reset, leave_by_half_close)


def test_a_client_that_leaves_mid_stream_is_noticed(shared_worker):
    port = shared_worker.port
    for stream in (True, False):
        for leave in LEAVE:
            connection = connect(port)
            job_id = "%s-%s" % (leave.__name__, stream)
            connection.sendall(long_request(stream=stream, job_id=job_id))
            wait_until(lambda: health(port)["active"] == 1)
            leave(connection)
            wait_until(lambda: shared_worker.ended(job_id))
            connection.close()
            assert shared_worker.ended(job_id)["outcome"] == "cancelled", job_id


def test_a_client_that_leaves_the_queue_is_noticed(worker):
    started = worker("--parallel", "1")
    port = started.port
    for stream in (True, False):
        for leave in LEAVE:
            job_id = "%s-%s" % (leave.__name__, stream)
            with Stream(port, "/execute", LONG) as running:
                assert next(running)[0] == "started"
                connection = connect(port)
                connection.sendall(long_request(stream=stream, job_id=job_id))
                wait_until(lambda: health(port)["queued"] == 1)
                leave(connection)
                wait_until(lambda: started.ended(job_id))
                connection.close()
                ended = started.ended(job_id)
                assert ended["outcome"] == "cancelled" and ended["tokens_out"] == 0, job_id
                assert next(running)[0] == "token"  # for which it would have waited
            wait_until(lambda: health(port)["active"] == 0)


def test_headers_and_pings_come_while_the_request_waits(worker):
    port = worker("--parallel", "1").port
    with Stream(port, "/execute", LONG) as first:
        assert next(first)[0] == "started"
        with Stream(port, "/execute", dict(LONG, max_tokens=1)) as second:
            told = health(port)
            assert told["active"] == told["queued"] == 1  # the headers have come
            assert second.answer.readline() in (b": ping\n", b"event: started\n")


def test_a_reader_that_never_reads_is_cancelled_and_harms_nobody(worker, text_model, tmp_path):
    """What is buffered for it ends somewhere, also in the kernel: long before 12,000 tokens of a model that needs no time."""
    vocab_size = json.loads((text_model / "config.json").read_text())["vocab_size"]
    config = llama_config(hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
                          num_key_value_heads=1, max_position_embeddings=16384, vocab_size=vocab_size)
    model = write_model(tmp_path / "quick", config, text_model, struct.pack("<3f", 0.01, -0.02, 0.015))
    started = worker("--context", "16384", "--max-tokens", "12000", model=model)
    port = started.port
    whole = {"prompt": PROMPT, "max_tokens": 30, "temperature": 0, "ignore_eos": True}
    alone = execute(port, whole)
    connections = []
    for _ in range(2):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        connection.connect(("127.0.0.1", port))
        connection.sendall(long_request(max_tokens=12000, stream=True))
        connections.append(connection)
    wait_until(lambda: health(port)["active"] == 2 or started.events("request_end")[1:])
    beside = execute(port, whole)
    assert beside[-1][0] == "end" and text_of(beside) == text_of(alone)
    wait_until(lambda: len(started.events("request_end")) == 4)
    for connection in connections:  # who begins to read after all gets what was kept, and why there is no more
        connection.settimeout(WAIT_S)
        answer = b""
        while not answer.endswith(b"0\r\n\r\n"):
            answer += connection.recv(65536) or pytest.fail("cut off: %r" % answer[-100:])
        assert b"reads too slowly" in answer[-400:] and b'"CANCELLED"' in answer[-400:]
        assert 1000 < answer.count(b"event: token") < 8000
        connection.close()
    assert [event["outcome"] for event in started.events("request_end")].count("cancelled") == 2
    assert health(port)["kv_pages_free"] == health(port)["kv_pages_total"]


def test_health_answers_at_full_load(shared_worker):
    """How quickly is what `make bench-http` measures."""
    port = shared_worker.port
    stop = threading.Event()
    busy = [threading.Thread(target=keep_busy, args=(port, stop)) for _ in range(8)]
    for thread in busy:
        thread.start()
    try:
        wait_until(lambda: health(port)["active"] == 8)
        answers = [raw(port, b"GET /health HTTP/1.0\r\n\r\n") for _ in range(200)]
        assert all(status_of(answer) == 200 and b'"status":"healthy"' in answer for answer in answers)
    finally:
        stop.set()
        for thread in busy:
            thread.join()


def test_a_thousand_idle_connections(worker):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 1200:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    started = worker()
    port = started.port
    idle = [connect(port) for _ in range(1000)]
    streams = [Stream(port, "/execute", {"prompt": PROMPT, "max_tokens": 4, "ignore_eos": True}) for _ in range(32)]
    for stream in streams:
        assert list(stream)[-1][0] == "end"
        stream.close()
    for connection in idle[::100]:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    for connection in idle:
        connection.close()
    assert get(port, "/livez").status == 200


def test_idle_connections_make_room(worker):
    port = worker("--max-connections", "20").port
    for _ in range(5):
        idle = [connect(port) for _ in range(300)]
        assert get(port, "/health").status == 200
        for connection in idle:
            connection.close()


def test_unread_answers_make_room(worker):
    """No key is needed for the page, nor for asking whether the process lives. What is read of the pages would do for a
    timeout of inactivity, and there are more of them than can be read so."""
    port = worker("--max-connections", "16").port
    connections = []
    for _ in range(40):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.connect(("127.0.0.1", port))
        try:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200)
        except ConnectionError:
            pass  # no place was left
        connections.append(connection)

    def somebody_else_is_answered():
        for connection in connections:
            try:
                connection.recv(16, socket.MSG_DONTWAIT)
            except OSError:
                pass  # nothing there, or ended
        return raw(port, b"GET /livez HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200")

    wait_until(somebody_else_is_answered)
    for connection in connections:
        connection.close()


def test_many_clients_at_once(shared_worker):
    port = shared_worker.port
    results = []

    def one(i):
        body = {"prompt": PROMPT, "max_tokens": 6, "seed": i, "ignore_eos": True}
        results.append((i, execute(port, body)))

    threads = [threading.Thread(target=one, args=(i,)) for i in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 32
    for i, events in results:
        assert events[-1][0] == "end" and events[0][1]["seed"] == i
    alone = execute(port, {"prompt": PROMPT, "max_tokens": 6, "seed": 5, "ignore_eos": True})
    together = dict(results)[5]
    assert [d.get("t") for _, d in together] == [d.get("t") for _, d in alone]


def test_cancel_of_a_waiting_job_leaves_the_running_one(worker):
    port = worker("--parallel", "1").port
    with Stream(port, "/execute", dict(LONG, job_id="runs")) as first:
        assert next(first)[0] == "started"
        with Stream(port, "/execute", dict(LONG, job_id="waits")) as second:
            wait_until(lambda: health(port)["queued"] == 1)
            assert post(port, "/cancel", {"job_id": "waits"}).status == 202
            events = list(second)
            assert [name for name, _ in events] == ["error"] and events[0][1]["code"] == "CANCELLED"
        name, data = next(first)
        while name == "token" and data["i"] < 20:
            name, data = next(first)
        assert name == "token" or data.get("stop_reason") == "context"
