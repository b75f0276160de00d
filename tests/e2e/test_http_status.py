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


LABEL = r'[a-z_]+="(?:[^"\\\n]|\\[\\"n])*"'
SAMPLE = re.compile(r'^([a-z0-9_:]+)(\{%s(?:,%s)*\})? ([0-9.e+-]+)$' % (LABEL, LABEL))


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
    assert grew('worker_answers_total{stop_reason="max_tokens"}') == 2
    assert grew('worker_errors_total{code="CANCELLED"}') == 1
    assert after['worker_health{status="healthy"}'] == 1 and after["worker_ready"] == 1


def check_metrics(port):
    """promtool's complaints."""
    promtool = shutil.which("promtool") or shutil.which("build/tools/promtool")
    if not promtool:
        pytest.skip("promtool is not there: make promtool")
    text = get(port, "/metrics").body
    return subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True)


def test_metrics_pass_promtool(shared_worker):
    result = check_metrics(shared_worker.port)
    assert result.returncode == 0, result.stderr


PICKERS = {"requests_waiting": "num_requests_waiting", "requests_running": "num_requests_running",
           "kv_cache_usage_ratio": "kv_cache_usage_perc"}


def test_what_endpoint_pickers_ask_for(worker):
    """The model server protocol of the Gateway API Inference Extension, under our names and vLLM's."""
    port = worker("--name", 'a "model"', "--metrics-vllm-names", "--parallel", "1").port
    label = r'model_name="a \"model\""'
    with Stream(port, "/execute", LONG) as running, Stream(port, "/execute", LONG):
        assert next(running)[0] == "started"
        wait_until(lambda: samples(port)["worker_requests_waiting{%s}" % label] == 1)
        found = samples(port)
        assert found["worker_requests_running{%s}" % label] == 1
        assert 0 < found["worker_kv_cache_usage_ratio{%s}" % label] < 1
        for ours, theirs in PICKERS.items():
            assert found['vllm:%s{%s,engine="0"}' % (theirs, label)] == found["worker_%s{%s}" % (ours, label)]
    pages = sum(value for name, value in found.items() if name.startswith("worker_kv_pages{"))
    page_tokens = get(port, "/health").json()["kv_pages_total"] and re.search(
        r'vllm:cache_config_info\{%s,block_size="(\d+)",num_gpu_blocks="%d"\} 1' % (re.escape(label), pages),
        get(port, "/metrics").body.decode())
    assert page_tokens and int(page_tokens.group(1)) > 0
    assert found['vllm:lora_requests_info{max_lora="0",running_lora_adapters="",waiting_lora_adapters=""}'] > 1.7e9


def test_vllms_names_are_there_when_asked_for(worker, shared_worker):
    assert not [name for name in samples(shared_worker.port) if name.startswith("vllm:")]
    port = worker("--metrics-vllm-names").port
    execute(port, {"prompt": PROMPT, "max_tokens": 7, "ignore_eos": True})
    wait_until(lambda: samples(port)['worker_requests_total{outcome="completed"}'] == 1)
    found = samples(port)
    of_model = '{model_name="slow",engine="0"'
    assert found["vllm:generation_tokens_total%s}" % of_model] == 7
    assert found["vllm:prompt_tokens_total%s}" % of_model] == found["worker_prompt_tokens_total"]
    assert found['vllm:request_success_total%s,finished_reason="length"}' % of_model] == 1
    for histogram in ("time_to_first_token_seconds", "e2e_request_latency_seconds", "request_queue_time_seconds"):
        assert found["vllm:%s_count%s}" % (histogram, of_model)] == 1
    # A colon in names is all that there is to complain about.
    complaints = check_metrics(port).stderr.decode().splitlines()
    assert complaints and all("':'" in line for line in complaints if "vllm" in line)
    assert not [line for line in complaints if "worker_" in line], complaints


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


def test_a_delay_serves_on_while_balancers_are_told(worker, orchestrator):
    started = worker("--shutdown-delay", "1h", "--heartbeat-url", orchestrator.url + "/beat", "--heartbeat-interval", "1h")
    port = started.port
    assert orchestrator.next_post()["body"]["status"] == "healthy"
    started.process.send_signal(signal.SIGTERM)
    assert orchestrator.next_post()["body"]["status"] == "draining"
    assert get(port, "/health").status == 503 and health(port)["status"] == "draining"
    assert get(port, "/v1/ready").status == 503 and get(port, "/livez").status == 200
    assert samples(port)['worker_health{status="draining"}'] == 1
    answer = post(port, "/execute", {"prompt": PROMPT, "max_tokens": 3, "stream": False})
    assert answer.status == 200 and answer.headers["connection"] == "close"
    started.process.send_signal(signal.SIGTERM)  # a second one ends it at once, as without
    assert started.wait_end() == 0


def test_after_the_delay_it_drains(worker):
    started = worker("--shutdown-delay", "200ms", "--shutdown-timeout", "1h")
    with Stream(started.port, "/execute", LONG) as stream:
        assert next(stream)[0] == "started"
        started.process.send_signal(signal.SIGTERM)
        wait_until(lambda: post(started.port, "/execute", {"prompt": PROMPT, "max_tokens": 1}).status == 503)
        assert list(stream)[-1][0] == "end"
    assert started.wait_end() == 0
    assert [event["reason"] for event in started.events("draining")] == ["shutdown delay over"]


def test_a_forced_shutdown_ends_streams_with_an_error(worker):
    started = worker("--shutdown-timeout", "0")
    with Stream(started.port, "/execute", LONG) as stream:
        assert next(stream)[0] == "started"
        started.process.send_signal(signal.SIGTERM)
        events = list(stream)
    assert events[-1][0] == "error" and events[-1][1]["code"] == "SHUTTING_DOWN"
    assert started.wait_end() == 0
