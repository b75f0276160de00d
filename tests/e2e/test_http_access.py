"""Who may talk to the worker: keys, Host, Origin, where it listens."""

import hashlib
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import stat
import threading

import pytest

from conftest import llama_config, shipped_model, write_model
from http_client import Stream, WAIT_S, get, health, post, raw, request, status_of, wait_until

OPEN = ["/", "/health", "/livez"]
GUARDED = ["/v1/ready", "/info", "/metrics", "/v1/loading/progress", "/v1/inference/x/stream", "/nothing"]


def test_every_route_but_three_needs_the_key(worker):
    port = worker(env={"TALLOW_API_KEY": "sesame"}).port
    good = {"Authorization": "Bearer sesame"}
    for path in OPEN:
        assert get(port, path).status == 200
    for path in GUARDED:
        answer = get(port, path)
        assert answer.status == 401 and answer.json()["error"]["code"] == "UNAUTHORIZED"
        assert "bearer" in answer.headers["www-authenticate"].lower()
    assert get(port, "/info", headers=good).status == 200
    for path in ("/execute", "/cancel", "/shutdown", "/v1/inference"):
        assert post(port, path, {}).status == 401
    body = {"prompt": "Once", "max_tokens": 1, "stream": False}
    assert post(port, "/execute", body, headers=good).status == 200
    for wrong in ("", "Bearer", "Bearer ", "Bearer sesam", "Bearer sesame2", "Basic c2VzYW1l", "sesame",
                  "Bearer " + "x" * 5000):
        assert get(port, "/info", headers={"Authorization": wrong}).status == 401
    for headers, status in (({"X-Api-Key": "sesame"}, 200), ({"x-api-key": "sesam"}, 401), ({"X-Api-Key": "Bearer sesame"}, 401),
                            ({"X-Api-Key": "sesame", "Authorization": "Bearer other"}, 200),
                            ({"X-Api-Key": "other", "Authorization": "Bearer sesame"}, 200)):
        assert get(port, "/info", headers=headers).status == status, headers
    twice = b"GET /info HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + b"Authorization: Bearer sesame\r\n" * 2
    assert status_of(raw(port, twice + b"\r\n")) == 401


def test_a_key_is_taken_with_its_size(worker):
    port = worker(env={"TALLOW_API_KEY": "sesame"}, model=shipped_model()).port
    for value in (b"Bearer sesame\x00x", b"Bearer sesame\rX: y", b"Bearer sesame\x00"):
        answer = raw(port, b"GET /info HTTP/1.1\r\nHost: localhost\r\nAuthorization: " + value + b"\r\n\r\n")
        assert status_of(answer) == 400
    assert status_of(raw(port, b"GET /info HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                               b"Authorization: Bearer sesame \t\r\n\r\n")) == 200


def test_jobs_belong_to_their_key(worker, tmp_path):
    keys = tmp_path / "keys"
    keys.touch(0o600)
    keys.write_text("first\nsecond\n")
    port = worker("--api-key-file", str(keys)).port
    first, second = ({"Authorization": "Bearer " + key} for key in ("first", "second"))
    body = {"prompt": "Once upon a time", "max_tokens": 2000, "ignore_eos": True, "job_id": "j"}
    # One name, two jobs: nobody learns from the other's.
    url = post(port, "/v1/inference", body, headers=first).json()["sse_url"]
    assert post(port, "/v1/inference", body, headers=first).status == 409
    unknown = get(port, "/v1/inference/unknown/stream", headers=second)
    for method in ("GET", "HEAD"):
        foreign = request(port, method, url, headers=second)
        assert foreign.status == unknown.status == 404
        assert request(port, method, "/v1/inference/unknown/stream", headers=first).status == 404
    assert get(port, url, headers=second).body == unknown.body
    assert request(port, "HEAD", url, headers=first).status == 200
    with Stream(port, "/execute", body, headers=second) as mine:
        assert next(mine)[0] == "started"
        # Cancelling has no effect on the other's, and says what it says of a job that is not there.
        none = post(port, "/cancel", {"job_id": "k"}, headers=second)
        assert none.status == 202 and none.json() == {"job_id": "k", "active": False}
        assert post(port, "/cancel", {"job_id": "j"}, headers=second).json() == {"job_id": "j", "active": True}
        assert list(mine)[-1][1]["code"] == "CANCELLED"
        again = post(port, "/cancel", {"job_id": "j"}, headers=second)
        assert again.status == 202 and again.json() == {"job_id": "j", "active": False}
    with Stream(port, url, headers=first) as stream:
        name, data = next(stream)
        assert name == "started" and data["job_id"] == "j"
        assert next(stream)[0] == "token"
        assert post(port, "/cancel", {"job_id": "j"}, headers=first).json()["active"] is True
        assert list(stream)[-1][1]["code"] == "CANCELLED"


def test_without_keys_jobs_belong_to_all(shared_worker):
    port = shared_worker.port
    body = {"prompt": "Once upon a time", "max_tokens": 2, "ignore_eos": True}
    url = post(port, "/v1/inference", body, headers={"Authorization": "Bearer a"}).json()["sse_url"]
    with Stream(port, url, headers={"Authorization": "Bearer b"}) as stream:
        assert list(stream)[-1][0] == "end"


def test_keys_are_read_again_on_sighup(worker, tmp_path):
    keys = tmp_path / "keys"
    keys.touch(0o600)
    keys.write_text("first\nsecond\n")
    started = worker("--api-key-file", str(keys))

    def status(key):
        return get(started.port, "/info", headers={"Authorization": "Bearer " + key}).status

    def completed(key):
        told = get(started.port, "/metrics", headers={"Authorization": "Bearer " + key}).body.decode()
        return re.findall(r'^worker_key_requests_total\{key="line-1",outcome="completed"\} (\d+)$', told, re.M)

    assert status("first") == 200 and status("second") == 200 and status("third") == 401
    body = {"prompt": "Once", "max_tokens": 1, "stream": False}
    assert post(started.port, "/execute", body, headers={"Authorization": "Bearer first"}).status == 200
    wait_until(lambda: completed("first") == ["1"])
    keys.write_text("third\n")
    started.process.send_signal(signal.SIGHUP)
    wait_until(lambda: status("third") == 200)
    assert status("first") == 401 and completed("third") == ["0"]
    keys.write_text("third\nfirst\n")
    started.process.send_signal(signal.SIGHUP)
    wait_until(lambda: status("first") == 200)
    assert completed("first") == ["0"]


def test_jobs_that_find_no_place_cost_nothing(worker, tmp_path):
    """Neither where one of that name has ended and waits for its stream, nor where too many wait: they are refused first."""
    keys = tmp_path / "keys"
    keys.touch(0o600)
    keys.write_text("first name=a\n")
    started = worker("--api-key-file", keys, "--queue", "100")
    key = {"headers": {"Authorization": "Bearer first"}}

    def told():
        lines = get(started.port, "/metrics", **key).body.decode().splitlines()
        return {line.rsplit(" ", 1)[0][11:]: int(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("worker_key_")}

    body = {"prompt": "Once", "max_tokens": 1, "ignore_eos": True}
    assert post(started.port, "/v1/inference", dict(body, job_id="j"), **key).status == 200
    wait_until(lambda: started.ended("j"))
    before = told()
    assert post(started.port, "/v1/inference", dict(body, job_id="j"), **key).status == 409
    assert told() == before
    for _ in range(64):
        assert post(started.port, "/v1/inference", dict(body, max_tokens=2000), **key).status == 200
    before = told()
    full = post(started.port, "/v1/inference", body, **key)
    assert full.status == 429 and int(full.headers["retry-after"]) >= 1
    after = told()
    assert after['requests_total{key="a",outcome="rejected"}'] == 1
    assert after['prompt_tokens_total{key="a"}'] == before['prompt_tokens_total{key="a"}']


def test_a_key_file_is_for_its_owner(worker, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("first\n")
    keys.chmod(0o644)
    started = worker("--api-key-file", keys, wait=False)
    assert started.wait_end() == 2 and "mode 644" in started.reason() and "first" not in started.log()
    port = worker("--api-key-file", keys, "--shared-key-file").port
    assert get(port, "/info", headers={"Authorization": "Bearer first"}).status == 200


def test_a_key_of_the_environment_is_not_kept_there(worker):
    started = worker(env={"TALLOW_API_KEY": "sesame-of-the-environment", "LLORCH_API_TOKEN": "another-sesame"})
    environment = pathlib.Path("/proc/%d/environ" % started.pid).read_bytes()
    assert b"sesame" not in environment and b"PATH=" in environment
    assert get(started.port, "/info", headers={"Authorization": "Bearer sesame-of-the-environment"}).status == 200


def test_a_key_that_no_request_can_send(worker, tmp_path):
    """Is refused at the start, and not found to be wrong with every request; but marks of editors are no part of a key."""
    started = worker(env={"TALLOW_API_KEY": "sesame\nand more"}, wait=False)
    assert started.wait_end() == 2 and "control character" in started.reason() and "sesame" not in started.log()
    keys = tmp_path / "keys"
    keys.touch(0o600)
    keys.write_bytes(b"first\x1b[0m\n")
    started = worker("--api-key-file", keys, wait=False)
    assert started.wait_end() == 2 and "line 1: an API key has a control character" in started.reason()
    keys.write_bytes(b"\xef\xbb\xbffirst name=a\r\nsecond\r\n")
    port = worker("--api-key-file", keys).port
    for key in "first", "second":
        assert get(port, "/info", headers={"Authorization": "Bearer " + key}).status == 200


def test_what_a_key_may(worker, tmp_path):
    """Digests, names, admins, so many requests at a time, so many tokens a minute, usage by name."""
    keys = tmp_path / "keys"
    keys.touch(0o600)
    digest = hashlib.sha256(b"root-key").hexdigest()
    keys.write_text("sha256:%s name=root admin\none name=team-a concurrency=2\ntwo tokens-per-minute=30\n" % digest)
    port = worker("--api-key-file", keys).port
    root, one, two = ({"Authorization": "Bearer " + key} for key in ("root-key", "one", "two"))
    assert get(port, "/info", headers={"Authorization": "Bearer sha256:" + digest}).status == 401
    body = {"prompt": "Once upon a time", "max_tokens": 2000, "ignore_eos": True}
    streams = [Stream(port, "/execute", body, headers=one) for _ in range(2)]
    refused = post(port, "/execute", body, headers=one)
    assert refused.status == 429 and "may have 2 requests at a time" in refused.json()["error"]["message"]
    assert int(refused.headers["retry-after"]) >= 1
    # Others are not concerned; what is spent is spent.
    assert post(port, "/execute", dict(body, max_tokens=40, stream=False), headers=two).json()["tokens_out"] == 40
    poor = post(port, "/execute", dict(body, max_tokens=1), headers=two)
    assert poor.status == 429 and "30 tokens a minute" in poor.json()["error"]["message"]
    assert 1 <= int(poor.headers["retry-after"]) <= 61
    assert post(port, "/v1/completions", {"prompt": ["a", "b"], "n": 3}, headers=two).status == 429
    assert post(port, "/v1/embeddings", {"input": ["a", "b", "c"]}, headers=two).status == 429
    for path, method in (("/metrics", "GET"), ("/shutdown", "POST")):
        denied = request(port, method, path, headers=one)
        assert denied.status == 403 and denied.json()["error"]["code"] == "FORBIDDEN"
    for stream in streams:
        stream.close()
    wait_until(lambda: get(port, "/health").json()["active"] == 0)
    told = dict(line.rsplit(" ", 1) for line in get(port, "/metrics", headers=root).body.decode().splitlines()
                if line.startswith("worker_key_"))
    assert told['worker_key_requests_total{key="team-a",outcome="cancelled"}'] == "2"
    assert told['worker_key_requests_total{key="team-a",outcome="rejected"}'] == "1"
    assert told['worker_key_requests_total{key="line-3",outcome="completed"}'] == "1"
    assert told['worker_key_requests_total{key="line-3",outcome="rejected"}'] == "10"  # choices and texts are one each
    assert told['worker_key_tokens_generated_total{key="line-3"}'] == "40"
    assert told['worker_key_tokens_generated_total{key="root"}'] == "0"
    assert int(told['worker_key_prompt_tokens_total{key="line-3"}']) > 0
    assert request(port, "POST", "/shutdown", headers=root).status == 202


def test_priorities_end_at_the_keys(worker, tmp_path):
    """What a key asks for beyond its priority counts as that: it does not go before what others ask for with more."""
    keys = tmp_path / "keys"
    keys.touch(0o600)
    keys.write_text("low max-priority=-5\nusual max-priority=0\n")
    started = worker("--api-key-file", keys, "--parallel", "1")
    low, usual = ({"Authorization": "Bearer " + key} for key in ("low", "usual"))
    body = {"prompt": "Once", "max_tokens": 400, "ignore_eos": True}
    first = Stream(started.port, "/execute", dict(body, job_id="first"), headers=usual)
    assert next(first)[0] == "started"
    urls = [(post(started.port, "/v1/inference", dict(body, job_id=name, max_tokens=1, priority=priority), headers=key)
             .json()["sse_url"], key) for name, priority, key in (("low", 10, low), ("usual", 0, usual))]
    first.close()
    for url, key in urls:
        with Stream(started.port, url, headers=key) as stream:
            assert list(stream)[-1][0] == "end"
    order = [event["job_id"] for event in started.told("request_end", 3)]
    assert order == ["first", "usual", "low"]


def test_priorities_of_embeddings_end_at_the_keys(worker, tmp_path):
    keys = tmp_path / "keys"
    keys.touch(0o600)
    keys.write_text("low max-priority=-10\nusual\n")
    started = worker("--api-key-file", keys, "--parallel", "1")
    low, usual = ({"Authorization": "Bearer " + key} for key in ("low", "usual"))
    body = {"prompt": "Once", "max_tokens": 1, "ignore_eos": True, "stream": False}
    first = Stream(started.port, "/execute", dict(body, max_tokens=2000, stream=True), headers=usual)
    assert next(first)[0] == "started"
    asking = []
    for path, asked, key in (("/v1/embeddings", {"input": "a"}, low), ("/execute", dict(body, priority=-1), usual)):
        asking.append(threading.Thread(target=post, args=(started.port, path, asked), kwargs={"headers": key}))
        asking[-1].start()
        wait_until(lambda: health(started.port)["queued"] == len(asking))
    first.close()
    for thread in asking:
        thread.join()
    order = [event["job_id"][:4] for event in started.told("request_end", 3)]
    assert order == ["job-", "job-", "emb-"]


@pytest.mark.parametrize("line, why", [
    ("k name=", "line 1: a key's name has 1 to 32"), ("k name=a/b", "a key's name"), ("k concurrency=0", "concurrency is a number"),
    ("k concurrency=+1", "concurrency is a number"), ("k tokens-per-minute=1e3", "tokens-per-minute is a number"),
    ("k max-priority=11", "max-priority is a number from -10 to 10"), ("k adm", "after a key come name="),
    ("k name=line-1", "without a name"), ("a name=x\nb name=x", "two API keys have the name x"), ("sha256:12", "64 hex digits"), ("k" * 257, "257 bytes"),
    ("# none", "holds no key"), ("a\0b", "NUL byte"), ("\n" * 5 + "k b", "line 6: after a key")])
def test_key_files_in_error(worker, tmp_path, line, why):
    keys = tmp_path / "keys"
    keys.touch(0o600)
    keys.write_text(line)
    started = worker("--api-key-file", keys, wait=False)
    assert started.wait_end() == 2 and why in started.reason(), started.reason()


def test_an_open_door_needs_to_be_asked_for(worker):
    refused = worker("--host", "0.0.0.0", wait=False)
    assert refused.wait_end() == 2
    assert status_of(raw(worker("--host", "0.0.0.0", "--insecure").port,
                         b"GET /info HTTP/1.1\r\nHost: any.example\r\nConnection: close\r\n\r\n")) == 200


def test_foreign_hosts_are_refused(shared_worker):
    for host, status in (("localhost", 200), ("LOCALHOST:9", 200), ("127.0.0.1", 200), ("[::1]:80", 200),
                         ("evil.example", 403), ("localhost.evil.example", 403), ("127.0.0.1.nip.io:8080", 403), ("", 403)):
        answer = get(shared_worker.port, "/health", headers={"Host": host})
        assert answer.status == status, host
        if status == 403:
            assert answer.json()["error"]["code"] == "FORBIDDEN"


def test_foreign_origins_are_refused(shared_worker):
    port = shared_worker.port
    for origin in ("https://evil.example", "null", "http://127.0.0.1", "file://", "http://localhost:%d.evil" % port):
        answer = post(port, "/execute", {"prompt": "x"}, headers={"Origin": origin})
        assert answer.status == 403 and answer.json()["error"]["code"] == "FORBIDDEN"
        assert "access-control-allow-origin" not in answer.headers
    own = {"Origin": "http://127.0.0.1:%d" % port}
    assert get(port, "/health", headers=own).status == 200
    preflight = request(port, "OPTIONS", "/execute", headers={
        "Origin": "https://evil.example", "Access-Control-Request-Method": "POST"})
    assert preflight.status == 403


def test_cors_lets_one_origin_in(worker):
    port = worker("--cors-origin", "https://app.example", env={"TALLOW_API_KEY": "k"}).port
    good = {"Origin": "https://app.example"}
    preflight = request(port, "OPTIONS", "/execute", headers=dict(good, **{"Access-Control-Request-Method": "POST"}))
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-origin"] == "https://app.example"
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
    answer = get(port, "/info", headers=dict(good, Authorization="Bearer k"))
    assert answer.status == 200 and answer.headers["access-control-allow-origin"] == "https://app.example"
    assert "origin" in answer.headers["vary"].lower()
    assert get(port, "/info", headers={"Origin": "https://other.example"}).status == 403


def test_the_body_limit_can_be_set(worker):
    port = worker("--max-body", "1000").port
    assert post(port, "/execute", b"x" * 1001).status == 413
    assert post(port, "/execute", b"x" * 1000).status == 400


def test_the_body_limit_grows_with_the_context(worker, text_model, tmp_path):
    vocab_size = json.loads((text_model / "config.json").read_text())["vocab_size"]
    config = llama_config(hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
                          num_key_value_heads=1, max_position_embeddings=131072, vocab_size=vocab_size)
    started = worker(model=write_model(tmp_path / "long", config, text_model, None))
    assert health(started.port)["context_length"] == 131072
    resident = int(re.search(r"RssAnon:\s+(\d+) kB", pathlib.Path("/proc/%d/status" % started.pid).read_text())[1])
    assert resident < 200000  # of a pool of a gigabyte and more nothing is touched
    limit = 32 * 131072
    assert post(started.port, "/execute", b"x" * (limit + 1)).status == 413
    assert post(started.port, "/execute", b"x" * limit).status == 400
    assert post(started.port, "/execute", {"prompt": "tree house " * 100000, "max_tokens": 1}).status == 400  # 1.1 MB
    assert post(started.port, "/detokenize", {"tokens": [100] * 100000}).status == 200
    refused = post(started.port, "/v1/completions", {"prompt": [100] * 140000})
    assert refused.status == 400 and "140000 tokens" in refused.json()["error"]["message"]


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=WAIT_S)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(WAIT_S)
        self.sock.connect(self.path)


def test_unix_socket(worker, tmp_path):
    path = str(tmp_path / "tallow.sock")
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(path)
    stale.close()
    started = worker("--host", "unix:" + path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    connection = UnixConnection(path)
    body = '{"prompt":"Once upon","max_tokens":3,"ignore_eos":true}'
    connection.request("POST", "/execute", body=body, headers={"Host": "whatever"})
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.read().count(b"event: token") == 3
    connection.close()
    started.process.send_signal(signal.SIGTERM)
    assert started.wait_end() == 0
    assert not os.path.exists(path)


def test_ipv6(worker):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    port = worker("--host", "::1").port
    with socket.create_connection(("::1", port), timeout=WAIT_S) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: [::1]:%d\r\nConnection: close\r\n\r\n" % port)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")


def test_a_taken_port_is_said_so(worker, shared_worker):
    refused = worker("--port", str(shared_worker.port), wait=False)
    assert refused.wait_end() == 5


def test_request_ids(shared_worker):
    port = shared_worker.port
    assert get(port, "/livez", headers={"X-Request-Id": "abc-1.2:3_4"}).headers["x-request-id"] == "abc-1.2:3_4"
    assert get(port, "/livez", headers={"X-Correlation-ID": "corr"}).headers["x-request-id"] == "corr"
    both = {"X-Correlation-ID": "corr", "X-Request-Id": "req"}
    assert get(port, "/livez", headers=both).headers["x-request-id"] == "req"
    for bad in ("a b", 'a"b', "x" * 65, "é".encode("utf-8").decode("latin-1"), "{}"):
        made = get(port, "/livez", headers={"X-Request-Id": bad}).headers["x-request-id"]
        assert made != bad and made.startswith("req-")
    assert get(port, "/nothing", headers={"X-Request-Id": "e1"}).headers["x-request-id"] == "e1"
    with Stream(port, "/execute", {"prompt": "x", "max_tokens": 1}, headers={"X-Request-Id": "s1"}) as stream:
        assert stream.answer.getheader("X-Request-Id") == "s1"


def test_logs_name_the_request_and_never_its_text(worker):
    started = worker(env={"TALLOW_LOG_LEVEL": "debug"})
    port = started.port
    secret = "xylophone quagmire"
    whole = post(port, "/execute", {"prompt": secret, "max_tokens": 8, "stream": False, "ignore_eos": True,
                                    "stop": "zzzzqq"}, headers={"X-Request-Id": "log-1"}).json()
    post(port, "/execute", {"prompt": secret, "top_p": 7}, headers={"X-Request-Id": "log-2"})
    post(port, "/execute", '{"prompt": "' + secret, headers={"X-Request-Id": "log-3"})
    wait_until(lambda: "log-3" in started.log())
    log = started.log()
    lines = [line for line in log.splitlines() if "log-1" in line]
    assert any('"duration_ms"' in line and '"tokens_out":8' in line for line in lines)
    assert "xylophone" not in log and "quagmire" not in log and "zzzzqq" not in log
    words = [word for word in whole["text"].split() if len(word) > 5]
    assert not any(word in log for word in words)
