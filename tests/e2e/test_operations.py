"""What whoever runs a worker lives with: the access log, a log file that is rotated, traces, and compressed answers."""

import gzip
import json
import signal
import subprocess

import pytest

from conftest import ROOT, clean_environment, program, shipped_model
from http_client import Stream, execute, get, post, request, wait_until

PROMPT = {"prompt": "Once upon a time", "max_tokens": 8}
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def requests_in(events):
    return [event for event in events("request") if event["route"] == "/execute"]


def test_the_access_log_has_tokens_and_times_and_no_text(worker):
    started = worker(model=shipped_model())
    assert execute(started.port, PROMPT)[-1][0] == "end"
    assert request(started.port, "POST", "/execute", body={"prompt": 1}).status == 400
    wait_until(lambda: len(requests_in(started.events)) == 2)
    good, bad = sorted(requests_in(started.events), key=lambda event: event["status"])  # who asks first may be noted last
    assert good["method"] == "POST" and good["status"] == 200 and good["tokens_out"] == 8
    assert good["prompt_tokens"] > 0 and good["cached_tokens"] == 0 and good["stop_reason"] == "max_tokens"
    assert good["duration_ms"] >= good["prefill_ms"] + good["decode_ms"] > 0
    assert good["time_to_first_token_ms"] >= good["queue_ms"] >= 0 and good["tokens_per_second"] > 0
    assert bad["status"] == 400 and "tokens_out" not in bad and "code" in bad
    assert "Once upon" not in started.log()


def test_a_trace_is_honoured_and_echoed(worker):
    started = worker(model=shipped_model())
    with Stream(started.port, "/execute", PROMPT, headers={"traceparent": TRACE}) as stream:
        assert stream.answer.getheader("traceparent") == TRACE
        list(stream)
    assert get(started.port, "/health", headers={"Traceparent": TRACE}).headers["traceparent"] == TRACE
    for none in ({}, {"traceparent": TRACE.upper()}, {"traceparent": TRACE + "\t-x"}):
        assert "traceparent" not in get(started.port, "/health", headers=none).headers
    wait_until(lambda: requests_in(started.events))
    event = requests_in(started.events)[0]
    assert event["trace_id"] == TRACE.split("-")[1] and event["span_id"] == TRACE.split("-")[2]


def test_whole_answers_are_compressed_for_those_who_ask(worker):
    port = worker(model=shipped_model()).port
    ask = {"Accept-Encoding": "gzip, br"}
    for path in ("/", "/openapi.json", "/metrics"):
        plain, packed = get(port, path), get(port, path, headers=ask)
        assert "content-encoding" not in plain.headers and packed.headers["content-encoding"] == "gzip"
        assert len(packed.body) < len(plain.body) / 2 and len(packed.body) == int(packed.headers["content-length"])
        assert "Accept-Encoding" in plain.headers["vary"] and "Accept-Encoding" in packed.headers["vary"]
        if path != "/metrics":  # numbers go on
            assert gzip.decompress(packed.body) == plain.body
    body = dict(PROMPT, stream=False, max_tokens=300, ignore_eos=True, seed=1)
    plain, packed = post(port, "/execute", body), post(port, "/execute", body, headers=ask)
    assert "content-encoding" in packed.headers and "content-encoding" not in plain.headers
    assert json.loads(gzip.decompress(packed.body))["text"] == plain.json()["text"]
    # What is small, and what is a stream, is sent as it is.
    assert "content-encoding" not in get(port, "/no/such/path", headers=ask).headers
    with Stream(port, "/execute", PROMPT, headers=ask) as stream:
        assert stream.answer.getheader("Content-Encoding") is None and list(stream)[-1][0] == "end"


def lines(path):
    """Those that are whole; the log's thread writes them when it can."""
    return [json.loads(line) for line in path.read_text().rpartition("\n")[0].splitlines()] if path.exists() else []


@pytest.mark.parametrize("extra", [(), ("--supervise",)])
def test_a_log_file_can_be_rotated(worker, tmp_path, extra):
    log, moved = tmp_path / "tallow.log", tmp_path / "tallow.log.1"
    started = worker("--log-file", log, *extra, model=shipped_model())
    wait_until(lambda: any(line["event"] == "ready" for line in lines(log)))
    assert started.log() == ""  # not a line on standard error
    log.rename(moved)
    started.process.send_signal(signal.SIGUSR1)
    wait_until(log.exists)
    assert execute(started.port, PROMPT)[-1][0] == "end"
    wait_until(lambda: any(line["event"] == "request" for line in lines(log)))
    assert not any(line["event"] == "request" for line in lines(moved))
    started.process.send_signal(signal.SIGTERM)
    assert started.process.wait() == 0
    assert lines(log)[-1]["event"] == "stopped"


def test_a_full_disk_stops_nothing(worker):
    port = worker("--log-file", "/dev/full", model=shipped_model()).port
    assert execute(port, PROMPT)[-1][0] == "end"


def test_a_log_file_that_cannot_be_opened_is_told(tmp_path):
    ended = subprocess.run(program() + ["--model", str(shipped_model()), "--log-file", str(tmp_path)], cwd=ROOT,
                           env=clean_environment(), stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert ended.returncode == 2 and ended.stderr.decode().startswith("tallow: cannot open --log-file " + str(tmp_path))
