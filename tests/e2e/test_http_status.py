"""/health, /livez, /v1/ready, /info, /v1/loading/progress, /metrics, /shutdown."""

import re
import shutil
import signal
import subprocess

import pytest

from conftest import ROOT
from http_client import Stream, execute, get, health, post, wait_until

PROMPT = "Once upon a time"
LONG = {"prompt": PROMPT, "max_tokens": 2000, "ignore_eos": True}


def test_health_has_the_contracts_fields(shared_worker):
    answer = get(shared_worker.port, "/health")
    assert answer.status == 200 and answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) >= {
        "status", "model", "resident", "quant_kind", "memory_bytes", "vram_bytes", "tokenizer_kind", "vocab_size",
        "context_length", "uptime_seconds", "active", "queued", "kv_pages_total", "kv_pages_free", "version",
    }
    assert body["status"] == "healthy" and body["resident"] is True
    assert body["memory_bytes"] == body["vram_bytes"] > 0
    assert 0 < body["kv_pages_free"] <= body["kv_pages_total"]


def test_small_endpoints(shared_worker):
    port = shared_worker.port
    assert get(port, "/livez").status == 200
    ready = get(port, "/v1/ready")
    assert ready.status == 200 and ready.json()["ready"] is True
    info = get(port, "/info").json()
    assert set(info) >= {"worker_id", "version", "model", "architecture", "quant_kind", "isa", "threads",
                         "context_length", "port", "pid", "status", "endpoints"}
    assert info["port"] == port and info["pid"] == shared_worker.process.pid and info["status"] == "healthy"
    assert "POST /execute" in info["endpoints"] and "GET /v1/inference/{job_id}/stream" in info["endpoints"]


def test_the_description_is_served(shared_worker):
    """The file itself, byte for byte; every route that /info lists is in it."""
    answer = get(shared_worker.port, "/openapi.json")
    assert answer.status == 200 and answer.headers["content-type"] == "application/json"
    assert answer.body == (ROOT / "src/server/routes/openapi.json").read_bytes()
    described = {"%s %s" % (method.upper(), path) for path, methods in answer.json()["paths"].items() for method in methods}
    assert described == set(get(shared_worker.port, "/info").json()["endpoints"])


def test_loading_progress_ends_when_ready(shared_worker):
    with Stream(shared_worker.port, "/v1/loading/progress") as stream:
        assert stream.answer.getheader("Content-Type") == "text/event-stream"
        events = list(stream)
    name, data = events[-1]
    assert name == "progress" and data["percent"] == 100 and data["stage"] == "ready"
    assert set(data) == {"type", "percent", "stage", "bytes_done", "bytes_total"}


SAMPLE = re.compile(r'^([a-z_]+)(\{[a-z_]+="[^"]*"\})? ([0-9.e+-]+)$')


def samples(port):
    answer = get(port, "/metrics")
    assert answer.status == 200 and answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = {}
    for line in answer.body.decode().splitlines():
        if line.startswith("#"):
            continue
        match = SAMPLE.match(line)
        assert match, line
        found[match.group(1) + (match.group(2) or "")] = float(match.group(3))
    return found


def test_metrics_count(worker):
    port = worker().port
    before = samples(port)
    execute(port, {"prompt": PROMPT, "max_tokens": 7, "ignore_eos": True})
    execute(port, {"prompt": PROMPT, "max_tokens": 5, "ignore_eos": True})
    with Stream(port, "/execute", dict(LONG, job_id="c")) as stream:
        next(stream)
        post(port, "/cancel", {"job_id": "c"})
        list(stream)
    # A request is counted when its pages are back, which may be a moment after its last event.
    wait_until(lambda: samples(port)['worker_requests_total{outcome="cancelled"}'] > 0)
    after = samples(port)

    def grew(name):
        return after[name] - before[name]

    assert grew('worker_requests_total{outcome="completed"}') == 2
    assert grew('worker_requests_total{outcome="cancelled"}') == 1
    assert grew("worker_tokens_generated_total") >= 12
    assert grew("worker_prompt_tokens_total") > 0
    for histogram in ("time_to_first_token", "queue", "prefill", "decode", "request"):
        assert grew("worker_%s_seconds_count" % histogram) >= 2, histogram
    assert grew("worker_inter_token_seconds_count") >= 10
    assert after["worker_active_requests"] == 0 and after["worker_queued_requests"] == 0
    assert after['worker_kv_pages{state="free"}'] > 0
    assert after['worker_memory_bytes{kind="resident"}'] > 0
    assert after["worker_model_load_seconds"] > 0 and after["worker_uptime_seconds"] > 0


def test_metrics_pass_promtool(shared_worker):
    promtool = shutil.which("promtool") or shutil.which("build/tools/promtool")
    if not promtool:
        pytest.skip("promtool is not there: make promtool")
    text = get(shared_worker.port, "/metrics").body
    result = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True)
    assert result.returncode == 0, result.stderr


def test_shutdown_is_asked_for_over_http(worker):
    started = worker("--shutdown-timeout", "1h")
    answer = post(started.port, "/shutdown", None)
    assert answer.status == 202
    assert started.wait_end() == 0


def test_draining_refuses_new_work_and_finishes_the_old(worker):
    started = worker("--shutdown-timeout", "1h")
    port = started.port
    with Stream(port, "/execute", dict(LONG, max_tokens=800)) as stream:
        assert next(stream)[0] == "started"
        started.process.send_signal(signal.SIGTERM)
        wait_until(lambda: get(port, "/health").status == 503 and health(port)["status"] == "draining")
        assert get(port, "/livez").status == 200
        assert get(port, "/v1/ready").status == 503
        for path in ("/execute", "/v1/inference"):
            answer = post(port, path, {"prompt": PROMPT})
            assert answer.status == 503 and int(answer.headers["retry-after"]) >= 1
            assert answer.json()["error"]["code"] == "SHUTTING_DOWN" and answer.json()["error"]["retriable"] is True
        assert list(stream)[-1][0] == "end"
    assert started.wait_end() == 0


def test_a_forced_shutdown_ends_streams_with_an_error(worker):
    started = worker("--shutdown-timeout", "0")
    with Stream(started.port, "/execute", LONG) as stream:
        assert next(stream)[0] == "started"
        started.process.send_signal(signal.SIGTERM)
        events = list(stream)
    assert events[-1][0] == "error" and events[-1][1]["code"] == "SHUTTING_DOWN"
    assert started.wait_end() == 0
