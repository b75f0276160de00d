"""What arrives on a socket and is not a polite request: each ends in a clear answer or a closed connection, and the
worker goes on."""

import json
import re
import socket
import time

import pytest

from conftest import shipped_model
from http_client import WAIT_S, connect, get, raw, read_all, status_of

BODY = json.dumps({"prompt": "Once upon a time", "max_tokens": 1, "stream": False}).encode()
CLOSE = b"Host: localhost\r\nConnection: close\r\n"


def post_bytes(extra=b"", body=BODY, path=b"/execute", version=b"HTTP/1.1"):
    return (b"POST " + path + b" " + version + b"\r\n" + CLOSE + extra +
            b"Content-Length: %d\r\n\r\n" % len(body) + body)


@pytest.fixture(autouse=True)
def worker_survives(shared_worker):
    yield
    assert shared_worker.alive()
    assert get(shared_worker.port, "/livez").status == 200


def send(shared_worker, data, **options):
    return raw(shared_worker.port, data, **options)


def error_code(answer):
    return json.loads(answer.split(b"\r\n\r\n", 1)[1])["error"]["code"]


def one_error(answer, status):
    """The answer is one, well-formed, ours, and ends the connection."""
    assert status_of(answer) == status, answer[:200]
    assert len(re.findall(rb"HTTP/1\.\d \d", answer)) == 1
    head, body = answer.split(b"\r\n\r\n", 1)
    headers = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:])
    assert headers[b"content-type"] == b"application/json" and headers[b"connection"] == b"close"
    assert int(headers[b"content-length"]) == len(body) and headers[b"x-request-id"] and headers[b"date"]
    error = json.loads(body)["error"]
    assert error["code"] == "INVALID_REQUEST" and error["message"] and error["retriable"] is False
    return error["message"]


GOOD = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"

# What a head may not have: RFC 9112 sections 2.2, 3, 3.2, 5.1, 5.2, 6.
BAD_HEADS = {
    "space before the colon": (400, b"POST /cancel HTTP/1.1\r\nHost: localhost\r\nContent-Length : 49\r\n\r\n" + GOOD),
    "tab before the colon": (400, b"POST /cancel HTTP/1.1\r\nHost: localhost\r\nContent-Length\t: 49\r\n\r\n" + GOOD),
    "vertical tab before the colon":
        (400, b"POST /cancel HTTP/1.1\r\nHost: localhost\r\nContent-Length\x0b: 49\r\n\r\n" + GOOD),
    "NUL in a name": (400, b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX\x00: 1\r\n\r\n"),
    "NUL in a value": (400, b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n"),
    "NUL in the host": (400, b"GET /livez HTTP/1.1\r\nHost: localhost\x00.evil.com\r\n\r\n"),
    "NUL in the path": (400, b"GET /livez\x00evil HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    "CR in a value": (400, b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: a\rY: b\r\n\r\n"),
    "CR as a line's end": (400, b"GET /livez HTTP/1.1\rHost: localhost\r\r"),
    "LF as a line's end": (400, b"GET /livez HTTP/1.1\nHost: localhost\n\n"),
    "a folded line": (400, b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n"),
    "white space before the first field": (400, b"GET /livez HTTP/1.1\r\n Host: localhost\r\n\r\n"),
    "no colon": (400, b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX\r\n\r\n"),
    "no name": (400, b"GET /livez HTTP/1.1\r\nHost: localhost\r\n: x\r\n\r\n"),
    "no host": (400, b"GET /livez HTTP/1.1\r\n\r\n"),
    "two spaces": (400, b"GET  /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    "no version": (400, b"GET /livez\r\n\r\n"),
    "version 2": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "TLS": (400, b"\x16\x03\x01\x02\x00\x01"),
    "empty length": (400, b"POST /cancel HTTP/1.1\r\nHost: localhost\r\nContent-Length:\r\n\r\n"),
    "a list of lengths": (400, b"POST /cancel HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2, 2\r\n\r\n{}"),
    "signed length": (400, b"POST /cancel HTTP/1.1\r\nHost: localhost\r\nContent-Length: +2\r\n\r\n{}"),
    "chunked in HTTP/1.0": (400, b"POST /cancel HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
    "520 arguments": (414, b"GET /?" + b"&".join([b"a"] * 520) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    "a long target": (414, b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    "101 fields": (431, b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + b"X: 1\r\n" * 100 + b"\r\n"),
    "a long field": (431, b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 40000 + b"\r\n\r\n"),
}


@pytest.mark.parametrize("name", BAD_HEADS)
def test_heads_in_doubt_are_answered_once(shared_worker, name):
    status, head = BAD_HEADS[name]
    one_error(send(shared_worker, head + GOOD), status)
    with connect(shared_worker.port) as connection:  # byte by byte, so that no piece is whole
        try:
            for i in range(min(len(head), 200)):
                connection.sendall(head[i:i + 1])
            connection.sendall(head[200:])
        except ConnectionError:
            pass  # refused while we were still sending
        one_error(read_all(connection), status)


@pytest.mark.parametrize("name", BAD_HEADS)
def test_every_request_of_a_connection_is_checked(shared_worker, name):
    """The second one, whether it was sent along with the first, in one piece with it, or after its answer."""
    status, head = BAD_HEADS[name]
    answer = send(shared_worker, GOOD + head + GOOD)
    first, rest = answer.split(b"}\n", 1)
    assert status_of(first) == 200
    one_error(rest, status)
    with connect(shared_worker.port) as connection:
        connection.sendall(GOOD)
        answer = b""
        while not answer.endswith(b"}\n"):
            answer += connection.recv(1000)
        assert status_of(answer) == 200
        try:
            connection.sendall(head + GOOD)
        except ConnectionError:
            pass
        one_error(read_all(connection), status)


def test_a_body_with_a_doubtful_length_is_no_request(shared_worker):
    """Smuggling: what a proxy takes for a body must not be answered as a request."""
    inner = b"POST /cancel HTTP/1.1\r\nHost: localhost\r\nContent-Length: 14\r\n\r\n" + b'{"job_id":"x"}'
    for name in (b"Content-Length ", b"Content-Length\t", b"Content-Length\x0b", b" Content-Length", b"Transfer-Encoding "):
        value = b"chunked" if b"Transfer" in name else b"%d" % len(inner)
        answer = send(shared_worker, b"POST /cancel HTTP/1.1\r\nHost: localhost\r\n" + name + b": " + value +
                      b"\r\n\r\n" + inner)
        one_error(answer, 400)


def test_chunks_that_are_malformed_are_answered_once(shared_worker):
    head = b"POST /execute HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    for broken in (b"zz\r\n", b"2\r\n{}}\r\n", b"2\n{}\r\n0\r\n\r\n", b"2 7\r\n{}\r\n0\r\n\r\n", b"2;a\x00\r\n{}\r\n",
                   b"fffffffffffffffff\r\n", b"2\r\n{}\r\n0\r\nX: \x00\r\n\r\n"):
        one_error(send(shared_worker, head + broken), 400)


def test_extensions_and_trailers_of_chunks_are_skipped(shared_worker):
    half = len(BODY) // 2
    body = b"%x;name=\"v\"\r\n%s\r\n%X \r\n%s\r\n0\r\nX-Trailer: 1\r\n\r\n" % (
        half, BODY[:half], len(BODY) - half, BODY[half:])
    head = b"POST /execute HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = send(shared_worker, head + body + b"GET /nothing HTTP/1.1\r\n" + CLOSE + b"\r\n")
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"404"]


def test_many_requests_in_one_piece(shared_worker):
    """More than any buffer holds, with bodies of both kinds between."""
    plain = b"POST /cancel HTTP/1.1\r\nHost: localhost\r\nContent-Length: 14\r\n\r\n" + b'{"job_id":"x"}'
    chunked = (b"POST /cancel HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
               b'7\r\n{"job_i\r\n7\r\nd":"x"}\r\n0\r\n\r\n')
    answer = send(shared_worker, (GOOD + plain + chunked) * 300 + b"GET /nothing HTTP/1.1\r\n" + CLOSE + b"\r\n")
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"202", b"202"] * 300 + [b"404"]


def test_refused_heads_are_counted_and_nothing_is_kept(worker):
    started = worker(model=shipped_model())
    port = started.port

    def responses(kind):
        line = 'worker_http_responses_total{class="%s"} ' % kind
        return int(re.search(re.escape(line) + r"(\d+)", get(port, "/metrics").body.decode()).group(1))

    before, none_before = responses("4xx"), responses("none")
    head = b"GET /?" + b"&".join([b"a"] * 520) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for _ in range(50):
        one_error(raw(port, head), 414)
    assert responses("4xx") == before + 50 and responses("none") == none_before
    assert started.stop() == 0, started.log()  # a build with a leak checker ends otherwise
    assert '"status":414' in started.log()
    assert "LeakSanitizer" not in started.log()


def test_http_1_0(shared_worker):
    answer = send(shared_worker, b"GET /health HTTP/1.0\r\n\r\n")
    assert status_of(answer) == 200
    answer = send(shared_worker, post_bytes(version=b"HTTP/1.0", body=BODY.replace(b"false", b"true")))
    assert status_of(answer) == 200 and b"event: end" in answer and b"chunked" not in answer.lower()


def test_pipelined_requests_are_answered_in_order(shared_worker):
    one = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answer = send(shared_worker, one + one + b"GET /nothing HTTP/1.1\r\n" + CLOSE + b"\r\n")
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"200", b"404"]


def test_a_request_pipelined_behind_a_stream_is_answered(shared_worker):
    body = BODY.replace(b"false", b"true")
    first = (b"POST /execute HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)) + body
    answer = send(shared_worker, first + b"GET /livez HTTP/1.1\r\n" + CLOSE + b"\r\n")
    assert b"event: end" in answer and answer.count(b"HTTP/1.1 200") == 2


def test_chunked_bodies(shared_worker):
    half = len(BODY) // 2
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (BODY[:half], BODY[half:])) + b"0\r\n\r\n"
    head = b"POST /execute HTTP/1.1\r\n" + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n"
    assert status_of(send(shared_worker, head + chunks)) == 200
    for broken in (b"zz\r\nabc\r\n0\r\n\r\n", b"ffffffffffffffffff\r\n", b"-1\r\nabc\r\n"):
        answer = send(shared_worker, head + broken)
        assert answer == b"" or status_of(answer) >= 400


def test_expect_continue(shared_worker):
    with connect(shared_worker.port) as connection:
        connection.sendall(b"POST /execute HTTP/1.1\r\n" + CLOSE +
                           b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY))
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(BODY)
        assert status_of(read_all(connection)) == 200


def test_expect_continue_is_refused_before_the_body(shared_worker):
    with connect(shared_worker.port) as connection:
        connection.sendall(b"POST /execute HTTP/1.1\r\n" + CLOSE +
                           b"Expect: 100-continue\r\nContent-Length: 2000000\r\n\r\n")
        assert status_of(read_all(connection)) == 413


def test_other_expectations_fail(shared_worker):
    answer = send(shared_worker, post_bytes(b"Expect: wonders\r\n"))
    assert status_of(answer) == 417 and error_code(answer) == "INVALID_REQUEST"
    assert b"connection: close" in answer.lower() and answer.count(b"HTTP/1.1") == 1
    old = send(shared_worker, b"GET /livez HTTP/1.0\r\nExpect: wonders\r\n\r\n")  # which knows no expectations
    assert status_of(old) == 200


def test_empty_lines_before_a_request_are_skipped(shared_worker):
    answer = send(shared_worker, b"\r\n" + GOOD + b"\r\nGET /nothing HTTP/1.1\r\n" + CLOSE + b"\r\n")
    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"200", b"404"]


@pytest.mark.parametrize("extra", [
    b"Content-Length: 5\r\n",
    b"Content-Length: %d\r\n" % len(BODY),
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Host: localhost\r\n",
])
def test_requests_whose_end_is_in_doubt(shared_worker, extra):
    answer = send(shared_worker, post_bytes(extra) + b"GET /livez HTTP/1.1\r\n\r\n")
    assert status_of(answer) == 400 and answer.count(b"HTTP/1.1") == 1
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize("length", [b"-1", b"x", b"0x10", b"1 1", b"99999999999999999999999"])
def test_content_lengths_that_are_no_number(shared_worker, length):
    answer = send(shared_worker, b"POST /execute HTTP/1.1\r\n" + CLOSE + b"Content-Length: " + length + b"\r\n\r\n{}")
    assert status_of(answer) in (400, 413)


def test_no_content_length_is_an_empty_body(shared_worker):
    answer = send(shared_worker, b"POST /execute HTTP/1.1\r\n" + CLOSE + b"\r\n")
    assert status_of(answer) == 400 and b"empty" in answer


def test_bodies_too_large(shared_worker):
    port = shared_worker.port
    big = b'{"prompt":"' + b"x" * (1 << 20) + b'"}'
    assert status_of(send(shared_worker, post_bytes(body=big))) == 413
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    head = b"POST /execute HTTP/1.1\r\n" + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n"
    answer = raw(port, head + chunk * 20 + b"0\r\n\r\n")
    assert status_of(answer) == 413 and error_code(answer) == "INVALID_REQUEST"
    answer = raw(port, b"POST /execute HTTP/1.1\r\n" + CLOSE + b"Content-Length: 1000000000\r\n\r\nxxxx")
    assert status_of(answer) == 413
    exact = b'{"prompt":"' + b"x" * (1000000 - 13) + b'"}'
    assert len(exact) == 1000000
    assert status_of(send(shared_worker, post_bytes(body=exact))) == 400  # too long for the context


def test_compressed_bodies_are_refused(shared_worker):
    answer = send(shared_worker, post_bytes(b"Content-Encoding: gzip\r\n", body=b"\x1f\x8b" + BODY))
    assert status_of(answer) == 400 and b"Content-Encoding" in answer


@pytest.mark.parametrize("head", [
    b"X-Long: " + b"a" * (1 << 20) + b"\r\n",
    b"".join(b"X-%d: 1\r\n" % i for i in range(100000)),
    b"Authorization: Bearer " + b"k" * 100000 + b"\r\n",
])
def test_headers_too_large(shared_worker, head):
    answer = send(shared_worker, b"GET /health HTTP/1.1\r\n" + CLOSE + head + b"\r\n")
    assert answer == b"" or status_of(answer) in (400, 413, 431)


@pytest.mark.parametrize("data", [
    b"\x00" * 100, b"\r\n\r\n\r\n", b"GET\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\nHost\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
    b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\nConnection: close\r\n\r\n",
    b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n", b"get /health http/1.1\r\nHost: localhost\r\n\r\n",
])
def test_noise(shared_worker, data):
    with connect(shared_worker.port) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        answer = read_all(connection)
    assert answer == b"" or status_of(answer) in range(200, 600)


@pytest.mark.parametrize("path", ["//health", "/%68ealth", "/x/../health", "/x/%2e%2e/health", "/health%00", "/health/",
                                  "/HEALTH", "/.", "/index.html", "/health;x", "/v1/inference//stream", "/v1/inference/%zz/stream"])
def test_other_spellings_are_other_paths(shared_worker, path):
    answer = send(shared_worker, b"GET " + path.encode() + b" HTTP/1.1\r\n" + CLOSE + b"\r\n")
    assert status_of(answer) == 404 and error_code(answer) == "INVALID_REQUEST"


def test_absolute_uri(shared_worker):
    for host, status in ((b"localhost:1", 200), (b"evil.example", 403)):
        answer = send(shared_worker, b"GET http://" + host + b"/health HTTP/1.1\r\n" + CLOSE + b"\r\n")
        assert status_of(answer) == status
    assert status_of(send(shared_worker, b"GET /health?a=b%00&c HTTP/1.1\r\n" + CLOSE + b"\r\n")) == 200


def test_methods(shared_worker):
    def answer(method, path):
        return send(shared_worker, method + b" " + path + b" HTTP/1.1\r\n" + CLOSE + b"\r\n")

    head = answer(b"HEAD", b"/health")
    assert status_of(head) == 200 and head.endswith(b"\r\n\r\n") and b"Content-Length: 0" not in head
    assert status_of(answer(b"HEAD", b"/v1/loading/progress")) == 200
    for method in (b"TRACE", b"DELETE", b"PUT", b"PATCH", b"BREW", b"GET", b"HEAD"):
        refused = answer(method, b"/execute")
        assert status_of(refused) == 405 and b"Allow: POST, OPTIONS\r\n" in refused
    refused = answer(b"POST", b"/health")
    assert status_of(refused) == 405 and b"Allow: GET, HEAD, OPTIONS\r\n" in refused
    assert status_of(answer(b"OPTIONS", b"/execute")) == 204
    assert status_of(answer(b"OPTIONS", b"*")) == 204


def test_a_body_where_none_belongs_is_dropped(shared_worker):
    answer = send(shared_worker, b"GET /health HTTP/1.1\r\n" + CLOSE + b"Content-Length: 5\r\n\r\nabcde")
    assert status_of(answer) == 200


def test_a_request_half_sent_and_half_closed(shared_worker):
    for data in (post_bytes()[:-5], b"POST /execute HTTP/1.1\r\nHost: loc", post_bytes()[:60]):
        with connect(shared_worker.port) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            answer = read_all(connection)
            assert answer == b"" or status_of(answer) >= 400


def test_half_a_head_does_not_hold_up_the_end(worker):
    started = worker(model=shipped_model())
    with connect(started.port) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: loc")
        answer = get(started.port, "/livez")  # the half head has been read by now, or will never be
        assert answer.status == 200
        started.process.terminate()
        assert started.process.wait(8) == 0  # sooner than its own deadline, 10 s


def test_connect_and_close_at_once(shared_worker):
    for _ in range(300):
        connect(shared_worker.port).close()


def test_slow_headers_are_cut_off(shared_worker):
    """One byte a second passes an inactivity timeout; the deadline is absolute."""
    with connect(shared_worker.port, timeout=1) as connection:
        start = time.monotonic()
        ended = False
        while not ended and time.monotonic() - start < WAIT_S:
            try:
                connection.sendall(b"G")
                ended = connection.recv(1) == b""
            except socket.timeout:
                pass
            except ConnectionError:
                ended = True
        assert ended
