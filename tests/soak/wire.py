"""One connection to the worker, by hand: what is sent and when, how much is read, and how it ends is the caller's choice."""

import json
import select
import socket

WAIT_S = 300  # a bound that no machine needs: what takes longer hangs


class Torn(Exception):
    """The connection ended, or was silent for WAIT_S, before the answer was whole."""


class Wire:
    def __init__(self, port, receive_buffer=None):
        self.socket = socket.socket()
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(WAIT_S)
        self.socket.connect(("127.0.0.1", port))
        self.kept = b""

    def send(self, data):
        try:
            self.socket.sendall(data)
        except ConnectionError:
            pass  # answered and closed already: the answer tells
        except socket.timeout:
            raise Torn("nothing takes what is sent")

    def more(self):
        try:
            piece = self.socket.recv(65536)
        except ConnectionError as error:
            raise Torn("the connection ended: %s" % error)
        except socket.timeout:
            raise Torn("silence for %d s" % WAIT_S)
        if not piece:
            raise Torn("the connection ended within the answer")
        self.kept += piece

    def until(self, mark):
        while mark not in self.kept:
            self.more()
        found, self.kept = self.kept.split(mark, 1)
        return found

    def exactly(self, n):
        while len(self.kept) < n:
            self.more()
        found, self.kept = self.kept[:n], self.kept[n:]
        return found

    def head(self):
        """Status and headers, names in lower case."""
        lines = self.until(b"\r\n\r\n").split(b"\r\n")
        version, status = lines[0].split(b" ")[:2]
        if version != b"HTTP/1.1":
            raise Torn("no answer in HTTP: %r" % lines[0][:80])
        headers = {}
        for line in lines[1:]:
            name, value = line.split(b":", 1)
            headers[name.lower().decode()] = value.strip().decode()
        return int(status), headers

    def pieces(self, headers, bodiless=False):
        """The body as it comes."""
        if bodiless:
            return
        if headers.get("transfer-encoding") != "chunked":
            yield self.exactly(int(headers["content-length"]))
            return
        while True:
            n = int(self.until(b"\r\n"), 16)
            piece = self.exactly(n)
            if self.exactly(2) != b"\r\n":
                raise Torn("a chunk that is longer than it says")
            if n == 0:
                return
            yield piece

    def is_closed(self):
        """Whether the other side has ended, with nothing more to read."""
        readable, _, _ = select.select([self.socket], [], [], 0)
        try:
            return bool(readable) and self.socket.recv(1, socket.MSG_PEEK) == b""
        except ConnectionError:
            return True

    def close(self):
        self.socket.close()

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def half_close(self):
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


def written(method, path, body=b"", extra=""):
    """The bytes of a request."""
    if isinstance(body, (dict, list)):
        body = json.dumps(body).encode()
    length = "Content-Length: %d\r\n" % len(body) if body or method == "POST" else ""
    return ("%s %s HTTP/1.1\r\nHost: localhost\r\n%s%s\r\n" % (method, path, extra, length)).encode() + body


def ask(port, method, path, body=b"", extra="Connection: close\r\n"):
    """One whole exchange on a connection of its own: status, headers, body."""
    with Wire(port) as wire:
        wire.send(written(method, path, body, extra))
        status, headers = wire.head()
        return status, headers, b"".join(wire.pieces(headers, method == "HEAD"))


def health(port):
    return json.loads(ask(port, "GET", "/health")[2])


def metrics(port, key=""):
    """Every sample of /metrics: {name with labels: value}. `key` is the header line of one, if any is needed."""
    status, _, body = ask(port, "GET", "/metrics", extra=key + "Connection: close\r\n")
    if status != 200:
        raise Torn("/metrics: %d" % status)
    lines = [line.rsplit(" ", 1) for line in body.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}
