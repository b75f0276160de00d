"""A pipe that nobody reads, as standard error or standard output, stops nothing: not requests, not /health, not the end."""

import fcntl
import json
import os
import pathlib
import signal
import subprocess
import threading

import pytest

from conftest import ROOT, clean_environment, program, shipped_model
from http_client import WAIT_S, execute, health, wait_until
from test_worker import free_port

N_REQUESTS = 500


def full_pipe():
    """A pipe of the smallest size with no room left."""
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(write_end, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(write_end, b"#" * 4096)
    os.set_blocking(write_end, True)
    return read_end, write_end


def is_healthy(port):
    try:
        return health(port)["status"] == "healthy"
    except OSError:
        return False


def answer_many(port):
    for _ in range(N_REQUESTS):
        assert execute(port, {"prompt": "Once", "max_tokens": 1})[-1][0] == "end"
    assert is_healthy(port)


class Unread:
    """A worker whose standard outputs are given; its port is chosen here, since nothing it says may be read."""

    def __init__(self, stdout, stderr):
        self.port = free_port()
        self.process = subprocess.Popen(program() + ["--model", str(shipped_model()), "--port", str(self.port)],
                                        stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, cwd=ROOT,
                                        env=clean_environment())

    def __enter__(self):
        wait_until(lambda: is_healthy(self.port))
        return self

    def __exit__(self, *unused):
        self.process.kill()
        self.process.wait()

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_S)


def test_standard_error_that_nobody_reads():
    read_end, write_end = full_pipe()
    with Unread(subprocess.DEVNULL, write_end) as worker:
        answer_many(worker.port)
        assert worker.end() == 0
    os.close(read_end)
    os.close(write_end)


def test_both_outputs_in_one_pipe_that_nobody_reads():
    read_end, write_end = full_pipe()
    with Unread(write_end, write_end) as worker:
        answer_many(worker.port)
        assert worker.end() == 0
    os.close(read_end)
    os.close(write_end)


def test_standard_output_that_nobody_reads(tmp_path):
    read_end, write_end = full_pipe()
    log = tmp_path / "log"
    with open(log, "wb") as stderr, Unread(write_end, stderr) as worker:
        answer_many(worker.port)
        wait_until(lambda: log.read_text().count('"event":"request_end"') == N_REQUESTS)  # the log goes on
        assert worker.end() == 0
    assert '"event":"stopped"' in log.read_text()
    os.close(read_end)
    os.close(write_end)


def test_lines_that_found_no_room_are_counted():
    """Whoever reads again finds how many lines are missing, and the newer ones."""
    read_end, write_end = full_pipe()
    with Unread(subprocess.DEVNULL, write_end) as worker:
        answer_many(worker.port)
        os.close(write_end)
        text = []

        def read():
            while block := os.read(read_end, 65536):
                text.append(block)

        reader = threading.Thread(target=read)
        reader.start()
        wait_until(lambda: b"log_lines_dropped" in b"".join(text))
        assert worker.end() == 0
        reader.join(WAIT_S)
    lines = b"".join(text).lstrip(b"#").decode().splitlines()
    events = [json.loads(line) for line in lines]
    n_lost = sum(event["lines"] for event in events if event["event"] == "log_lines_dropped")
    n_ends = sum(event["event"] == "request_end" for event in events)
    assert n_lost > 0 and n_ends < N_REQUESTS <= n_ends + n_lost
    assert events[-1]["event"] == "stopped"
    os.close(read_end)


def waits_and_takes_sigterm(pid):
    status = dict(line.split(":", 1) for line in pathlib.Path("/proc/%d/status" % pid).read_text().splitlines())
    taken = int(status["SigCgt"], 16) | int(status["SigBlk"], 16)
    return status["State"].split()[0] == "S" and taken >> (signal.SIGTERM - 1) & 1


@pytest.mark.parametrize("what", ["words", "options", "log"])
def test_a_start_that_waits_can_be_ended(tmp_path, what):
    """Before there is a worker: for who reads why it does not start, who writes the file of options, who reads the log."""
    os.mkfifo(tmp_path / "pipe")
    flags = {"words": ["--bogus"], "options": ["--config", tmp_path / "pipe"], "log": ["--log-file", tmp_path / "pipe"]}[what]
    read_end, write_end = full_pipe()
    process = subprocess.Popen(program() + ["--model", str(shipped_model()), "--port", "0"] + [str(flag) for flag in flags],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=write_end, env=clean_environment())
    try:
        wait_until(lambda: waits_and_takes_sigterm(process.pid))
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 0
    finally:
        process.kill()
        process.wait()
        os.close(read_end)
        os.close(write_end)


def test_keys_in_a_pipe_that_nobody_writes(tmp_path):
    os.mkfifo(tmp_path / "keys", 0o600)
    ended = subprocess.run(program() + ["--model", str(shipped_model()), "--port", "0", "--api-key-file", str(tmp_path / "keys")],
                           capture_output=True, env=clean_environment(), timeout=WAIT_S)
    assert ended.returncode == 2 and b"holds no key" in ended.stderr
