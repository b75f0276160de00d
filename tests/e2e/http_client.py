"""A small HTTP client for the end-to-end tests: standard library only, close enough to the wire to see framing."""

import http.client
import json
import os
import socket
import time

# For what takes a moment on a machine of its own: no test fails because a machine is busy, or an emulator slow.
WAIT_S = 3600 if os.environ.get("TALLOW_RUNNER") else 300


class Response:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers  # names in lower case; repeated ones joined by ", "
        self.body = body

    def json(self):
        return json.loads(self.body)


def request(port, method, path, body=None, headers=None, timeout=WAIT_S):
    """One request on a connection of its own. A dict as body becomes JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        found = {}
        for name, value in answer.getheaders():
            name = name.lower()
            found[name] = found[name] + ", " + value if name in found else value
        return Response(answer.status, found, answer.read())
    finally:
        connection.close()


def get(port, path, **options):
    return request(port, "GET", path, **options)


def post(port, path, body, **options):
    return request(port, "POST", path, body=body, **options)


class Stream:
    """An open event stream: iterate for (name, data) pairs; comments are counted in .pings."""

    def __init__(self, port, path, body=None, headers=None, timeout=WAIT_S):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        method = "GET" if body is None else "POST"
        if isinstance(body, dict):
            body = json.dumps(body)
        self.connection.request(method, path, body=body, headers=headers or {})
        self.socket = self.connection.sock
        self.answer = self.connection.getresponse()
        self.status = self.answer.status
        self.pings = 0

    def __iter__(self):
        return self

    def __next__(self):
        name = data = None
        while True:
            line = self.answer.readline()
            if not line:
                raise StopIteration
            line = line.rstrip(b"\n")
            if line == b"":
                if name is not None:
                    return name, json.loads(data)
            elif line.startswith(b":"):
                assert line == b": ping", line
                self.pings += 1
            elif line.startswith(b"event: "):
                name = line[7:].decode()
            elif line.startswith(b"data: "):
                data = line[6:]
            else:
                raise AssertionError("unexpected line in an event stream: %r" % line)

    def close(self):
        self.connection.close()
        self.answer.close()

    def reset(self):
        """Closes with a reset instead of an orderly end."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


def execute(port, body, **options):
    """All events of one /execute."""
    with Stream(port, "/execute", body, **options) as stream:
        assert stream.status == 200, stream.answer.read()
        return list(stream)


def text_of(events):
    return "".join(data["t"] for name, data in events if name == "token")


def connect(port, timeout=WAIT_S):
    return socket.create_connection(("127.0.0.1", port), timeout=timeout)


def read_all(connection):
    """Everything until the other side closes; a reset ends it too."""
    parts = []
    try:
        while True:
            part = connection.recv(65536)
            if not part:
                break
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


def raw(port, data, timeout=WAIT_S):
    """Sends bytes as they are, then reads until the server closes. Add `Connection: close` where it would not."""
    with connect(port, timeout) as connection:
        try:
            connection.sendall(data)
        except ConnectionError:
            pass  # refused while we were still sending
        return read_all(connection)


def status_of(answer):
    assert answer.startswith(b"HTTP/1."), answer[:80]
    return int(answer.split(b" ", 2)[1])


def wait_until(condition, interval=0.005):
    """Returns when condition() is true; fails after a time that no machine needs."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < WAIT_S, "not true after %g s" % WAIT_S
        time.sleep(interval)


def health(port):
    return get(port, "/health").json()
