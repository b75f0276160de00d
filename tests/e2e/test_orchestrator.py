"""The orchestrator's later form: hive and queen, their flags, heartbeats and jobs. Contract: "Dialects", last point."""

import json
import re
import socket

import pytest

from http_client import Stream, get, post, request, wait_until

PROMPT = "Once upon a time"
JOB = {"operation": "infer", "model": "any", "prompt": PROMPT, "max_tokens": 6, "temperature": 0, "top_p": 0.9, "top_k": 0,
       "stream": True}
LONG = dict(JOB, max_tokens=2000, ignore_eos=True)
WORKER = {"id", "model_id", "device", "port", "status", "implementation", "version"}


def lines(answer):
    """The objects of a stream of data lines alone, which ends with [DONE]."""
    assert answer.status == 200 and answer.headers["content-type"] == "text/event-stream", answer.body
    found = [line for line in answer.body.decode().split("\n") if line and line != ": ping"]
    assert all(line.startswith("data: ") for line in found) and found[-1] == "data: [DONE]", found
    return [json.loads(line[6:]) for line in found[:-1]]


def submit(port, body):
    answer = post(port, "/v1/jobs", body)
    assert answer.status == 200, answer.body
    job = answer.json()
    assert set(job) == {"job_id", "sse_url"} and job["sse_url"] == "/v1/jobs/%s/stream" % job["job_id"]
    return job


def bad_fields(answer):
    assert answer.status == 400, answer.body
    return [error["field"] for error in answer.json()["errors"]]


def statuses(orchestrator, n):
    return [orchestrator.next_post()["body"]["worker"]["status"] for _ in range(n)]


# ---- flags, heartbeats ----


def test_spawned_with_the_later_flags(worker, orchestrator, slow_model):
    """Hive is told of every change at once, from starting to stopped."""
    started = worker("--worker-id", "w-1", "--model-ref", slow_model, "--device", "0", "--backend", "cpu", "--hive-url",
                     orchestrator.url, "--heartbeat-interval", "1h")
    told = [orchestrator.next_post() for _ in range(2)]
    assert all(call["path"] == "/v1/worker-heartbeat" for call in told)
    assert [call["body"]["worker"]["status"] for call in told] == ["starting", "ready"]
    for call in told:
        assert set(call["body"]) == {"worker", "timestamp"} and set(call["body"]["worker"]) == WORKER
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", call["body"]["timestamp"])
    one = told[1]["body"]["worker"]
    assert one == {"id": "w-1", "model_id": "slow", "device": "cpu", "port": started.port, "status": "ready",
                   "implementation": "tallow", "version": started.ready["version"]}
    assert get(started.port, "/info").json()["worker"] == one
    assert started.stop() == 0


def test_hive_is_told_of_the_end(worker, orchestrator):
    """stopping, then stopped. What is still on its way or not heard within a moment is passed over, as on a full machine: then
    again."""
    for _ in range(20):
        started = worker("--hive-url", orchestrator.url, "--heartbeat-interval", "1h")
        assert statuses(orchestrator, 2) == ["starting", "ready"]
        assert started.stop() == 0
        told = []
        while not orchestrator.posts.empty():
            told += statuses(orchestrator, 1)
        assert told in (["stopping", "stopped"], ["stopping"], ["stopped"], [])
        if len(told) == 2:
            return
    pytest.fail("the last word never came")


def test_hive_and_queen_and_our_own_heartbeat(worker, orchestrator):
    """Each URL its own; a worker that does something is busy; who does not answer, or not well, keeps nobody from ending."""
    orchestrator.default = 503
    started = worker("--hive-url", orchestrator.url + "/hive/", "--queen-url", orchestrator.url + "/queen",
                     "--heartbeat-url", orchestrator.url + "/ours", "--heartbeat-interval", "20ms")
    with Stream(started.port, "/execute", dict(LONG)) as stream:
        assert next(stream)[0] == "started"
        seen = {}
        while {path for path, word in seen.items() if word == "busy"} != {
                "/hive/v1/worker-heartbeat", "/queen/v1/worker-heartbeat"} or "/ours" not in seen:
            call = orchestrator.next_post()
            seen[call["path"]] = call["body"]["worker"]["status"] if "worker" in call["body"] else call["body"]["status"]
    assert started.told("heartbeat_failed") and started.alive()
    assert started.stop() == 0
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert worker("--queen-url", "http://127.0.0.1:%d" % silent.getsockname()[1]).stop() == 0


def test_model_ref_is_a_path_or_a_name(worker, slow_model, tallow):
    both = worker("--model-ref", "hf:org/slow", "--model", slow_model)
    assert get(both.port, "/info").json()["worker"]["model_id"] == both.ready["model"] == "hf:org/slow"
    for flag, value in (("--device", "cuda"), ("--backend", "cuda"), ("--hive-url", "ftp://x"), ("--queen-url", "x")):
        result = tallow("--model", slow_model, flag, value)
        assert result.returncode == 2 and flag in result.stderr.decode().splitlines()[-1]


def test_a_token_of_the_orchestrator_is_a_key(worker):
    def status(port, key):
        return get(port, "/info", headers={"Authorization": "Bearer " + key}).status

    port = worker(env={"LLORCH_API_TOKEN": "theirs"}).port
    assert [status(port, key) for key in ("theirs", "other")] == [200, 401]
    port = worker(env={"LLORCH_API_TOKEN": "theirs", "TALLOW_API_KEY": "ours"}).port
    assert [status(port, key) for key in ("theirs", "ours")] == [401, 200]
    assert worker(env={"LLORCH_API_TOKEN": ""}, wait=False).wait_end() == 2  # a mistake must not open the door


# ---- jobs ----


def test_a_job_in_two_calls(shared_worker):
    port = shared_worker.port
    plain = post(port, "/execute", dict(JOB, stream=False)).json()
    job = submit(port, JOB)
    events = lines(get(port, job["sse_url"]))
    assert [event["type"] for event in events] == ["started"] + ["token"] * plain["tokens_out"] + ["end"]
    assert events[0]["job_id"] == job["job_id"] and "ignored" not in events[0]
    assert [set(event) for event in events[1:-1]] == [{"type", "t", "i"}] * plain["tokens_out"]
    assert "".join(event["t"] for event in events[1:-1]) == plain["text"]
    assert events[-1]["stop_reason"] == plain["stop_reason"]
    assert get(port, job["sse_url"]).status == 404  # opened once
    named = post(port, "/v1/jobs", dict(JOB, job_id="a/b ?", unheard_of=1)).json()
    assert named == {"job_id": "a/b ?", "sse_url": "/v1/jobs/a%2Fb%20%3F/stream"}
    assert lines(get(port, named["sse_url"]))[0]["ignored"] == ["unheard_of"]


def test_the_same_body_without_operation(shared_worker):
    """/v1/inference streams as /execute does; both kinds of job have streams below either path."""
    port = shared_worker.port
    body = {name: value for name, value in JOB.items() if name != "operation"}
    job = post(port, "/v1/inference", body).json()
    with Stream(port, job["sse_url"]) as stream:
        events = list(stream)
    assert [name for name, _ in events][0] == "started" and events[-1][0] == "end" and "ignored" not in events[0][1]
    job = post(port, "/v1/inference", body).json()
    assert lines(get(port, "/v1/jobs/%s/stream" % job["job_id"]))[-1]["type"] == "end"


def test_infer_is_one_answer(shared_worker):
    port = shared_worker.port
    plain = post(port, "/execute", dict(JOB, stream=False)).json()
    for extra in ({}, {"operation": "infer"}, {"stream": False}):
        body = dict({name: value for name, value in JOB.items() if name != "operation"}, **extra)
        answer = post(port, "/v1/infer", body)
        assert answer.status == 200, answer.body
        whole = answer.json()
        assert set(whole) == {"text", "tokens_generated", "duration_ms"}
        assert whole["text"] == plain["text"] and whole["tokens_generated"] == plain["tokens_out"]
        assert isinstance(whole["duration_ms"], int) and whole["duration_ms"] >= 0


def test_a_job_is_deleted(shared_worker):
    port = shared_worker.port
    job = submit(port, LONG)
    path = "/v1/jobs/" + job["job_id"]
    with Stream(port, path + "/stream") as stream:
        assert stream.status == 200
        line = stream.answer.readline()
        while not line.startswith(b"data: {"):
            line = stream.answer.readline()
        assert json.loads(line[6:])["type"] == "started"
        gone = request(port, "DELETE", path)
        assert gone.status == 202 and gone.json() == {"job_id": job["job_id"], "active": True}
        rest = [line for line in stream.answer.read().decode().split("\n") if line.startswith("data: ")]
    assert rest[-1] == "data: [DONE]"
    last = json.loads(rest[-2][6:])
    assert last["type"] == "error" and last["code"] == "CANCELLED" and last["retriable"] is False
    wait_until(lambda: shared_worker.ended(job["job_id"]))
    again = request(port, "DELETE", path)
    assert again.status == 202 and again.json()["active"] is False


def test_what_is_wrong_with_a_job_is_named(shared_worker):
    port = shared_worker.port
    assert bad_fields(post(port, "/v1/jobs", {"prompt": PROMPT})) == ["operation"]
    assert bad_fields(post(port, "/v1/jobs", dict(JOB, operation="train", max_tokens=0, model=5))) == [
        "max_tokens", "model", "operation"]
    for path in ("/v1/infer", "/v1/inference"):
        assert bad_fields(post(port, path, {"operation": 5, "top_p": 2})) == ["prompt", "top_p", "operation"]
    for method, path, status, allow in (("GET", "/v1/jobs", 405, "POST"), ("GET", "/v1/jobs/x", 405, "DELETE"),
                                        ("GET", "/v1/jobs/nothing/stream", 404, None)):
        answer = request(port, method, path)
        assert answer.status == status and answer.json()["error"]["code"] == "INVALID_REQUEST"
        assert allow is None or answer.headers["allow"] == allow + ", OPTIONS"


def test_limits_of_tokens_and_models_hold(worker):
    port = worker("--max-tokens", "4", "--strict-model").port
    assert bad_fields(post(port, "/v1/jobs", dict(JOB, model="slow"))) == ["max_tokens"]
    for path in ("/v1/jobs", "/v1/infer", "/v1/inference"):
        answer = post(port, path, dict(JOB, max_tokens=2))
        assert answer.status == 404 and "any" in answer.json()["error"]["message"]
    assert post(port, "/v1/infer", dict(JOB, model="slow", max_tokens=2)).json()["tokens_generated"] <= 2
