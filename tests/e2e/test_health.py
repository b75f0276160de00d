"""`tallow health`: what a container's HEALTHCHECK runs."""

import json
import socket
import threading

import pytest


def one_line(result):
    lines = result.stderr.decode().splitlines()
    assert result.returncode == 1 and len(lines) == 1 and lines[0].startswith("tallow: "), (result.returncode, lines)
    return lines[0]


def test_a_ready_worker_is_found_as_it_was_started(worker, tallow, tmp_path):
    started = worker()
    for arguments, environment in (
            (["--port", started.port], None), (["--port", started.port, "--host", "[::ffff:127.0.0.1]"], None),
            (["--host", "localhost"], {"TALLOW_PORT": str(started.port)}),
            ([], {"TALLOW_PORT": str(started.port), "TALLOW_HOST": "0.0.0.0"})):
        result = tallow("health", *arguments, env=environment)
        assert result.returncode == 0 and json.loads(result.stdout)["status"] == "healthy", result.stderr
    configuration = tmp_path / "tallow.conf"
    configuration.write_text("port = %d\nmodel = /nowhere\n" % started.port)
    assert tallow("health", "--config", configuration).returncode == 0


def test_a_unix_socket(worker, tallow, tmp_path):
    worker("--host", "unix:%s/socket" % tmp_path)
    assert tallow("health", "--host", "unix:%s/socket" % tmp_path).returncode == 0


def test_nobody(tallow):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        assert "no worker answers at 127.0.0.1 port %d" % port in one_line(tallow("health", "--port", port))


@pytest.mark.parametrize("answer, said", [
    (b'HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\r\n{"status":"loading"}\n', 'is not ready (503): {"status":"loading"}'),
    (b"220 mail.example\r\n", "is no worker"),
    (b"HTTP/1.1 200 OK\r\n", "is no worker"),
    (b"", "is no worker"),
])
def test_who_is_not_ready_and_somebody_else(tallow, answer, said):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def serve():
            connection = listener.accept()[0]
            assert connection.recv(1000).startswith(b"GET /health HTTP/1.1\r\n")
            connection.sendall(answer)
            connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        reason = one_line(tallow("health", "--port", port))
        thread.join()
        assert "127.0.0.1 port %d %s" % (port, said) in reason
