"""The life of a worker as its orchestrator sees it: spawned, ready, asked, drained, ended. Contract: "Process"."""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import pty
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from conftest import Worker, clean_environment, not_sanitized, program
from http_client import WAIT_S, Stream, connect, execute, get, health, post, wait_until

PROMPT = "Once upon a time"
LONG = {"prompt": PROMPT, "max_tokens": 2000, "ignore_eos": True}
PATIENT = ("--shutdown-timeout", "1h")  # beyond what any wait here lasts


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_running(pid):
    """A process that nobody has waited for yet is none."""
    try:
        return pathlib.Path("/proc/%d/stat" % pid).read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def is_listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def children_of_this_process():
    found = set()
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == os.getpid():
            found.add(stat.parent.name)
    return found


# ---- ready ----


def test_spawned_as_the_orchestrator_does(worker, orchestrator):
    port = free_port()
    started = worker("--worker-id", "worker-7", "--port", port, "--callback-url", orchestrator.url + "/v2/ready?x=1")
    call = orchestrator.next_post()
    assert call["path"] == "/v2/ready?x=1" and call["headers"]["Content-Type"] == "application/json"
    body, ready = call["body"], started.ready
    assert set(body) == {"worker_id", "uri", "vram_bytes", "memory_bytes", "model", "port", "pid", "version"}
    assert body["worker_id"] == "worker-7" and body["port"] == port and body["pid"] == started.pid
    assert body["uri"] == "http://127.0.0.1:%d" % port
    assert body["model"] == "slow"
    assert ready["event"] == "ready" and all(ready[name] == body[name] for name in body)
    told = health(port)
    assert body["vram_bytes"] == body["memory_bytes"] == told["memory_bytes"] == told["vram_bytes"] > 0
    assert get(port, "/info").json()["worker_id"] == "worker-7"
    assert execute(port, {"prompt": PROMPT, "max_tokens": 3, "ignore_eos": True})[-1][0] == "end"
    assert started.stop() == 0
    assert orchestrator.posts.empty()  # told once


def names_told(port, started):
    """Every place where a worker says what its model is called."""
    events = execute(port, {"prompt": PROMPT, "max_tokens": 1, "ignore_eos": True})
    whole = post(port, "/execute", {"prompt": PROMPT, "max_tokens": 1, "stream": False}).json()
    return {started.ready["model"], health(port)["model"], get(port, "/info").json()["model"], events[0][1]["model"],
            whole["model"], started.told("ready")[0]["model"]}


def test_a_name_that_was_given_is_told_everywhere(worker, orchestrator):
    started = worker("--callback-url", orchestrator.url, env={"TALLOW_NAME": "Größe 7"})
    assert orchestrator.next_post()["body"]["model"] == "Größe 7"
    assert names_told(started.port, started) == {"Größe 7"}
    flagged = worker("--name", "mine", env={"TALLOW_NAME": "other"})
    assert names_told(flagged.port, flagged) == {"mine"}


def test_a_models_name_is_its_folders_or_its_repositorys(worker, slow_model, tmp_path):
    snapshot = tmp_path / "models--org--name" / "snapshots" / "0a1b2c"
    shutil.copytree(slow_model, snapshot)
    for path, name in ((snapshot, "org--name"), (str(slow_model) + "/.", "slow"),
                       (slow_model / "model.safetensors", "slow")):
        started = worker(model=path)
        assert names_told(started.port, started) == {name}


def test_only_the_ready_line_is_on_standard_output(worker):
    started = worker()
    execute(started.port, {"prompt": PROMPT, "max_tokens": 3})
    started.stop()
    assert started.process.stdout.read() == b""


def test_callback_refused_for_a_while(worker, orchestrator):
    orchestrator.answers = [503, 404, 500]
    started = worker("--callback-url", orchestrator.url)
    for _ in range(4):
        orchestrator.next_post()
    wait_until(lambda: started.events("callback_accepted"))
    assert started.events("callback_accepted")[0]["attempts"] == 4
    pauses = [event["retry_in_ms"] for event in started.events("callback_refused")]
    assert len(pauses) == 3 and pauses[0] >= 90 and pauses[1] > pauses[0] * 1.3 and pauses[2] > pauses[1] * 1.3
    time.sleep(0.3)  # in which nothing happens
    assert started.alive() and orchestrator.posts.empty()


def test_a_proxy_is_asked_for_all_but_this_machine(worker, orchestrator):
    """The orchestrator plays the proxy, too, which is sent the whole URL. A name that begins like an address is none."""
    worker("--callback-url", orchestrator.url + "/ready", "--heartbeat-url", "http://127.example.invalid/beat",
           env={"http_proxy": orchestrator.url, "no_proxy": "", "NO_PROXY": ""})
    assert {orchestrator.next_post()["path"] for _ in range(2)} == {"/ready", "http://127.example.invalid/beat"}


def test_callback_while_nobody_listens_yet(worker):
    port = free_port()
    started = worker("--callback-url", "http://127.0.0.1:%d/ready" % port)
    wait_until(lambda: started.events("callback_refused"))
    assert execute(started.port, {"prompt": PROMPT, "max_tokens": 2})[-1][0] == "end"  # it serves meanwhile
    with socket.create_server(("127.0.0.1", port)) as listener:
        connection, _ = listener.accept()
        request = connection.recv(65536)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        connection.close()
    assert request.startswith(b"POST /ready HTTP/1.1\r\n")
    wait_until(lambda: started.events("callback_accepted"))


def test_callback_never_accepted(worker, orchestrator):
    orchestrator.default = 500
    url = orchestrator.url.replace("://", "://me:sesame@")
    started = worker("--callback-url", url, "--callback-timeout", "3s")
    assert started.wait_end() == 6
    assert orchestrator.posts.qsize() >= 2
    assert orchestrator.url.partition("://")[2] in started.reason() and "sesame" not in started.reason()
    assert "was not accepted within 3000 ms" in started.reason() and "status 500" in started.reason()
    assert started.events("exit")[0]["exit_code"] == 6 and started.events("exit")[0]["code"] == "CALLBACK_FAILED"


def test_callback_that_never_answers(worker):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = worker("--callback-url", "http://127.0.0.1:%d" % silent.getsockname()[1], "--callback-timeout", "1s")
        assert started.wait_end() == 6
    assert "imeout" in started.reason()


def test_ready_line_without_a_reader(slow_model, tmp_path):
    read_end, write_end = os.pipe()
    os.close(read_end)
    log = open(tmp_path / "log", "w+")
    process = subprocess.Popen(program() + ["--model", slow_model, "--port", "0"], stdout=write_end, stderr=log,
                               env=clean_environment())
    os.close(write_end)
    try:
        wait_until(lambda: '"event":"ready_line_unread"' in (tmp_path / "log").read_text())
        assert process.poll() is None
        process.terminate()
        assert process.wait(WAIT_S) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("flags, host", [
    ((), "127.0.0.1"),
    (("--host", "127.0.0.2"), "127.0.0.2"),
    (("--host", "::1"), "[::1]"),
    (("--host", "0.0.0.0", "--insecure"), "127.0.0.1"),
    (("--host", "0.0.0.0", "--insecure", "--advertise-host", "node-3.example"), "node-3.example"),
])
def test_uri_names_an_address_that_works(worker, orchestrator, flags, host):
    started = worker(*flags, "--callback-url", orchestrator.url)
    assert orchestrator.next_post()["body"]["uri"] == "http://%s:%d" % (host, started.port)


def test_unix_socket(worker, orchestrator, tmp_path):
    path = "unix:%s/worker.sock" % tmp_path
    started = worker("--host", path, "--callback-url", orchestrator.url)
    body = orchestrator.next_post()["body"]
    assert body["uri"] == path and body["port"] == 0
    assert started.stop() == 0
    assert not (tmp_path / "worker.sock").exists()


# ---- loading ----


def loading_worker(worker, model):
    """A worker that was still loading when it was asked, and its port. Some are ready before."""
    for _ in range(50):
        started = worker(model=model, wait=False)
        port = started.listening_port()
        if get(port, "/health").json()["status"] == "loading":
            return started, port
        started.kill()
    pytest.fail("each was ready before it could be asked")


def test_health_while_loading(worker, big_model):
    started, port = loading_worker(worker, big_model)
    seen = []
    while not seen or seen[-1].status == 503:
        seen.append(get(port, "/health"))
    loading = [answer.json() for answer in seen[:-1]]
    assert loading and all(body["status"] == "loading" for body in loading)
    progress = [body["progress"] for body in loading]
    assert progress == sorted(progress) and 0 <= progress[0] and progress[-1] <= 1
    assert seen[-1].json()["status"] == "healthy"
    started.wait_ready()
    started.told("ready")
    percents = [event["percent"] for event in started.events("model_load_progress")]
    assert percents == sorted(percents) and percents[-1] == 100 and len(percents) >= 2


def test_work_while_loading_is_refused(worker, big_model):
    for _ in range(50):  # until one is asked while it loads
        _, port = loading_worker(worker, big_model)
        answer = post(port, "/execute", {"prompt": PROMPT, "max_tokens": 1})
        if answer.status != 200:
            break
    assert answer.status == 503 and answer.json()["error"]["code"] == "MODEL_LOADING"
    assert int(answer.headers["retry-after"]) >= 1


def test_sigterm_while_loading(worker, big_model):
    for _ in range(50):
        started, _ = loading_worker(worker, big_model)
        started.process.terminate()
        assert started.wait_end() == 0
        if started.process.stdout.read() == b"":
            return  # it never was ready
    pytest.fail("each was ready before the signal came")


def status_fields(path):
    return dict(line.split(":", 1) for line in pathlib.Path(path).read_text().splitlines())


def test_the_sandbox_is_on_unless_it_is_not_wanted(worker, text_model, tmp_path):
    """Of all threads, which have names; a model of links to files elsewhere is read all the same, as caches have them."""
    elsewhere, links = tmp_path / "blobs", tmp_path / "snapshot"
    elsewhere.mkdir()
    links.mkdir()
    for number, file in enumerate(text_model.iterdir()):
        shutil.copy(file, elsewhere / str(number))
        (links / file.name).symlink_to(os.path.join("..", "blobs", str(number)))
    started = worker(model=links)
    told = get(started.port, "/info").json()["sandbox"]
    if told["on"] and told["seccomp"]:
        with contextlib.closing(connect(started.port)):
            names = set()
            for task in pathlib.Path("/proc/%d/task" % started.pid).iterdir():
                try:
                    fields = status_fields(task / "status")
                except (FileNotFoundError, ProcessLookupError):
                    continue  # /info's thread has ended since
                names.add(fields["Name"].strip())
                assert fields["Seccomp"].strip() == "2" and fields["NoNewPrivs"].strip() == "1", fields["Name"]
                assert int(fields["CapEff"], 16) in (0, 4), fields["Name"]  # reading files is left to root
            assert names >= {"tallow", "engine", "log", "watchdog"}
        assert told["no_new_privs"] and told["not_dumpable"] and told["no_capabilities"]
    else:  # an emulator, a sanitizer's build
        assert told["why_not"] and started.told("sandbox")
    assert execute(started.port, {"prompt": PROMPT, "max_tokens": 2})[-1][0] == "end"
    started = worker("--no-sandbox", model=text_model)
    assert get(started.port, "/info").json()["sandbox"] == {
        "on": False, "seccomp": False, "landlock": 0, "no_new_privs": False, "no_capabilities": False,
        "not_dumpable": False, "why_not": "--no-sandbox"}
    assert status_fields("/proc/%d/status" % started.pid)["Seccomp"].strip() == "0"


def test_what_posts_ends_with_the_worker(worker, orchestrator):
    """The process that speaks to the orchestrator is one child, which ends when the worker does, killed or not."""
    for end in ("kill", "terminate"):
        started = worker("--callback-url", orchestrator.url + "/up")
        orchestrator.next_post()
        children = pathlib.Path("/proc/%d/task/%d/children" % (started.pid, started.pid)).read_text().split()
        assert len(children) == 1
        getattr(started.process, end)()
        started.wait_end()
        wait_until(lambda: not os.path.exists("/proc/" + children[0]) or " Z " in
                   pathlib.Path("/proc/%s/stat" % children[0]).read_text())


def test_a_drain_waits_for_answers_that_nobody_fetched(worker):
    """A job that ended before its stream was opened is told all the same; one that was cancelled keeps nobody waiting."""
    started = worker()
    body = {"prompt": PROMPT, "max_tokens": 3, "ignore_eos": True}
    url = post(started.port, "/v1/inference", dict(body, job_id="wanted")).json()["sse_url"]
    wait_until(lambda: started.ended("wanted"))
    started.process.terminate()
    wait_until(lambda: started.events("draining"))
    with Stream(started.port, url) as stream:
        assert list(stream)[-1][0] == "end"
    assert started.wait_end() == 0 and not started.events("shutdown_timeout")

    started = worker()
    post(started.port, "/v1/inference", dict(body, job_id="unwanted", max_tokens=2000))
    assert post(started.port, "/cancel", {"job_id": "unwanted"}).json()["active"]
    assert started.stop() == 0 and not started.events("shutdown_timeout")


def test_sigterm_in_the_first_moments(worker):
    def holds_sigterm(pid):
        lines = [line for line in open("/proc/%d/status" % pid) if line.startswith(("SigBlk:", "SigCgt:"))]
        return any(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1 for line in lines)

    for _ in range(5):
        started = worker(wait=False)
        wait_until(lambda: holds_sigterm(started.pid), interval=0)
        started.process.terminate()
        assert started.wait_end() == 0, started.log()


def test_progress_bar_on_a_terminal(worker, big_model):
    ours, theirs = pty.openpty()
    started = worker("--log-level", "info", model=big_model, wait=False, stderr=theirs)
    os.close(theirs)
    started.wait_ready()
    started.process.terminate()
    shown = b""
    while select.select([ours], [], [], WAIT_S)[0]:
        try:
            shown += os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
    os.close(ours)
    text = shown.decode()
    assert "\rloading [" in text and "%" in text
    assert "{" not in text  # on a terminal the log is plain
    assert started.wait_end() == 0


# ---- heartbeat ----


def test_heartbeats_count(worker, orchestrator):
    started = worker("--worker-id", "w1", "--heartbeat-url", orchestrator.url + "/beat", "--heartbeat-interval", "200ms")
    beats = [orchestrator.next_post() for _ in range(6)]
    for beat in beats:
        assert beat["path"] == "/beat"
        assert set(beat["body"]) == {"worker_id", "status", "model", "uptime_seconds", "active", "queued",
                                     "kv_pages_free", "tokens_per_second"}
        assert beat["body"]["worker_id"] == "w1" and beat["body"]["status"] == "healthy"
    uptimes = [beat["body"]["uptime_seconds"] for beat in beats]
    assert uptimes == sorted(uptimes) and uptimes[-1] - uptimes[0] < 5 * 30  # not the default interval
    with Stream(started.port, "/execute", LONG) as stream:
        next(stream)
        while orchestrator.next_post()["body"]["active"] != 1:
            pass
        started.process.terminate()
        while orchestrator.next_post()["body"]["status"] != "draining":
            pass


def test_heartbeats_that_fail_are_tried_again(worker, orchestrator):
    orchestrator.answers = [500, 500]
    started = worker("--heartbeat-url", orchestrator.url, "--heartbeat-interval", "150ms")
    for _ in range(5):
        orchestrator.next_post()
    assert len(started.told("heartbeat_failed", 2)) == 2
    orchestrator.stop()
    wait_until(lambda: len(started.events("heartbeat_failed")) >= 4)
    assert started.alive() and get(started.port, "/health").status == 200
    orchestrator.__init__()  # for the fixture to stop


# ---- cancel in each phase ----


def cancel(port, job_id):
    answer = post(port, "/cancel", {"job_id": job_id})
    assert answer.status == 202


def assert_cancelled(stream):
    events = list(stream)
    assert events[-1][0] == "error" and events[-1][1]["code"] == "CANCELLED"
    assert events[-1][1]["retriable"] is False


def test_cancel_in_each_phase(worker):
    port = worker("--parallel", "1").port
    with Stream(port, "/execute", dict(LONG, job_id="runs")) as running:
        assert [next(running)[0] for _ in range(3)] == ["started", "token", "token"]
        with Stream(port, "/execute", dict(LONG, job_id="waits")) as waiting:
            wait_until(lambda: health(port)["queued"] == 1)
            cancel(port, "waits")
            assert_cancelled(waiting)
        assert next(running)[0] == "token"  # the running one is not touched
        cancel(port, "runs")
        assert_cancelled(running)
    with Stream(port, "/execute", dict(LONG, prompt="word " * 1200, job_id="prefill")) as prefill:
        assert next(prefill)[0] == "started"
        cancel(port, "prefill")
        assert_cancelled(prefill)
    events = execute(port, {"prompt": PROMPT, "max_tokens": 2, "job_id": "over", "ignore_eos": True})
    assert events[-1][0] == "end"
    cancel(port, "over")
    cancel(port, "never-was")
    wait_until(lambda: health(port)["active"] == 0)
    told = health(port)
    assert told["queued"] == 0 and told["kv_pages_free"] == told["kv_pages_total"]
    assert execute(port, {"prompt": PROMPT, "max_tokens": 2, "ignore_eos": True})[-1][0] == "end"


def test_a_killed_client_is_noticed(worker):
    started = worker()
    before = health(started.port)["kv_pages_free"]
    script = (
        "import http.client, json, sys, time\n"
        "c = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]))\n"
        "c.request('POST', '/execute', body=sys.argv[2])\n"
        "print(c.getresponse().readline().decode(), flush=True)\n"
        "time.sleep(3600)\n"
    )
    client = subprocess.Popen([sys.executable, "-c", script, str(started.port), json.dumps(LONG)],
                              stdout=subprocess.PIPE)
    assert client.stdout.readline()
    wait_until(lambda: health(started.port)["active"] == 1)
    client.send_signal(signal.SIGKILL)
    client.wait()
    client.stdout.close()
    wait_until(lambda: started.events("request_end"))
    assert started.events("request_end")[-1]["outcome"] == "cancelled"
    assert health(started.port)["kv_pages_free"] == before


# ---- the end ----


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_shutdown_waits_for_nothing(worker, number):
    started = worker(*PATIENT)
    execute(started.port, {"prompt": PROMPT, "max_tokens": 2})
    idle = socket.create_connection(("127.0.0.1", started.port))  # an idle connection does not hold it up
    started.process.send_signal(number)
    assert started.wait_end() == 0
    idle.close()
    assert started.events("draining") and started.events("stopped")


def test_drain_lets_running_streams_finish(worker):
    started = worker(*PATIENT)
    streams = [Stream(started.port, "/execute", dict(LONG, max_tokens=150)) for _ in range(3)]
    for stream in streams:
        assert next(stream)[0] == "started"
    started.process.terminate()
    wait_until(lambda: started.events("draining"))
    for stream in streams:
        events = list(stream)
        assert events[-1][0] == "end" and events[-1][1]["tokens_out"] == 150
        stream.close()
    assert started.wait_end() == 0


def test_drain_ends_at_its_timeout(worker):
    started = worker("--shutdown-timeout", "300ms")
    with Stream(started.port, "/execute", LONG) as stream:
        assert next(stream)[0] == "started"
        started.process.terminate()
        name, data = list(stream)[-1]
        assert name == "error" and data["code"] == "SHUTTING_DOWN" and data["retriable"] is True
        assert started.wait_end() == 0
    assert started.events("shutdown_timeout")


def test_a_second_signal_ends_at_once(worker):
    started = worker(*PATIENT)
    with Stream(started.port, "/execute", LONG) as stream:
        assert next(stream)[0] == "started"
        started.process.terminate()
        wait_until(lambda: started.events("draining"))
        started.process.send_signal(signal.SIGINT)
        assert list(stream)[-1][0] == "error"
        assert started.wait_end() == 0


def test_other_signals_do_no_harm(worker):
    started = worker()
    for _ in range(2):
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE, signal.SIGHUP):
            started.process.send_signal(number)
    wait_until(lambda: started.events("keys_not_reloaded"))  # SIGHUP without a key file says so
    assert execute(started.port, {"prompt": PROMPT, "max_tokens": 2})[-1][0] == "end"


def test_twenty_workers_in_a_row(slow_model, tmp_path, orchestrator):
    before = children_of_this_process()
    for i in range(20):
        one = Worker(["--worker-id", "w%d" % i, "--callback-url", orchestrator.url], slow_model, tmp_path / "log")
        try:
            assert orchestrator.next_post()["body"]["worker_id"] == "w%d" % i
            if i % 5 == 0:
                assert execute(one.port, {"prompt": PROMPT, "max_tokens": 2, "ignore_eos": True})[-1][0] == "end"
            assert one.stop() == 0
            assert not is_running(one.pid)
        finally:
            one.kill()
        with socket.socket() as probe:  # the port is free again
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", one.port))
    assert children_of_this_process() == before


def test_exit_with_parent(slow_model, tmp_path):
    """The parent starts the worker from a thread that ends: that must not end the worker. Its own death must."""
    script = (
        "import subprocess, sys, threading, time\n"
        "def spawn():\n"
        "    p = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)\n"
        "    print(p.pid, p.stdout.readline().decode(), flush=True)\n"
        "t = threading.Thread(target=spawn); t.start(); t.join()\n"
        "time.sleep(3600)\n"
    )
    command = program() + ["--model", str(slow_model), "--port", "0", "--exit-with-parent", "--shutdown-timeout", "0"]
    with open(tmp_path / "log", "w") as log:
        parent = subprocess.Popen([sys.executable, "-c", script] + command, stdout=subprocess.PIPE, stderr=log,
                                  env=clean_environment())
    pid, ready = parent.stdout.readline().split(b" ", 1)
    parent.stdout.close()
    pid, port = int(pid), json.loads(ready)["port"]
    try:
        time.sleep(0.3)  # in which nothing happens
        assert is_running(pid) and get(port, "/livez").status == 200
        parent.kill()
        parent.wait()
        wait_until(lambda: not is_running(pid))
        assert "parent ended" in (tmp_path / "log").read_text()
    finally:
        if is_running(pid):
            os.kill(pid, signal.SIGKILL)


# ---- refusals ----


def test_port_taken(worker):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        started = worker("--port", port, wait=False)
        assert started.wait_end() == 5
    assert started.reason().startswith("tallow: cannot listen on 127.0.0.1 port %d" % port)
    assert started.events("exit")[0]["code"] == "BIND_FAILED"


def test_memory_limit_too_small(worker):
    started = worker("--memory-limit", "20MiB", wait=False)
    assert started.wait_end() == 4
    assert "the limit is 20.0 MiB" in started.reason() and "KV pages" in started.reason()
    event = started.events("exit")[0]
    assert event["exit_code"] == 4 and event["code"] == "OUT_OF_MEMORY" and event["message"] in started.reason()


@not_sanitized("it takes terabytes of addresses for itself")
@pytest.mark.parametrize("mib", [160, 300, 600, 1500])
def test_a_limit_of_the_address_space(worker, text_model, mib):
    """What a library takes is taken before ready: too little ends with 4 and a line, enough answers."""
    limit = ["sh", "-c", 'ulimit -v %d; exec "$@"' % (mib << 10), "sh"]
    started = worker("--threads", "2", "--parallel", "2", "--context", "256", wait=False, command=limit + program())
    ready = started.process.stdout.readline()
    if ready:
        assert execute(json.loads(ready)["port"], {"prompt": PROMPT, "max_tokens": 2})[-1][0] == "end"
    else:
        assert started.wait_end() == 4 and started.reason().startswith("tallow: "), started.log()
        assert mib < 1500, started.log()


@pytest.mark.parametrize("files", [4, 5, 16, 90, 120])
def test_a_limit_of_open_files(worker, text_model, files):
    """Too few end with 4 and the numbers; enough serve some connections at least."""
    limit = ["sh", "-c", 'ulimit -n %d; exec "$@"' % files, "sh"]
    started = worker("--threads", "1", wait=False, command=limit + program(), model=text_model)
    if files < 100:
        assert started.wait_end() == 4, started.log()
        said = "Too many open files" if files < 6 else "the process may open %d files" % files
        assert said in started.reason() and (files < 6 or "takes 96 at least" in started.reason())
        return
    port = started.wait_ready()["port"]
    idle = [connect(port) for _ in range(30)]  # more than there are places
    assert execute(port, {"prompt": PROMPT, "max_tokens": 2})[-1][0] == "end"
    for connection in idle:
        connection.close()


def test_closed_standard_streams_are_nobodys(tmp_path, text_model):
    """Descriptors 0 to 2 that were closed at start are not taken by what the worker opens."""
    port = free_port()
    process = subprocess.Popen(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"] + program() +
                               ["--model", str(text_model), "--port", str(port)], env=clean_environment())
    try:
        wait_until(lambda: is_listening(port) and health(port)["status"] == "healthy")
        for number in range(3):
            assert os.readlink("/proc/%d/fd/%d" % (process.pid, number)) == "/dev/null"
        assert execute(port, {"prompt": PROMPT, "max_tokens": 2})[-1][0] == "end"
    finally:
        process.terminate()
        assert process.wait(WAIT_S) == 0


@pytest.mark.parametrize("damage", ["missing", "no-weights", "cut", "config"])
def test_model_that_cannot_be_loaded(worker, slow_model, tmp_path, damage):
    folder = tmp_path / "model"
    folder.mkdir()
    for file in slow_model.iterdir():
        shutil.copy(file, folder)
    if damage == "missing":
        folder = tmp_path / "nowhere"
    elif damage == "no-weights":
        (folder / "model.safetensors").unlink()
    elif damage == "cut":
        os.truncate(folder / "model.safetensors", 100000)
    else:
        (folder / "config.json").write_text('{"architectures": ["LlamaForCausalLM"], "hidden_size": "many"}')
    started = worker(model=folder, wait=False)
    assert started.wait_end() == 3
    assert started.reason().startswith("tallow: ") and str(folder) in started.reason()


def test_keys_are_reread_on_sighup(worker, tmp_path):
    keys = tmp_path / "keys"
    keys.touch(0o600)
    keys.write_text("# ours\nfirst\n\n  second \n")
    started = worker("--api-key-file", keys, env={"TALLOW_API_KEY": "from-environment"})

    def status(key):
        return get(started.port, "/info", headers={"Authorization": "Bearer " + key}).status

    assert [status(key) for key in ("first", "second", "from-environment", "third", "# ours")] == [200, 200, 200, 401, 401]
    assert get(started.port, "/info").status == 401
    assert get(started.port, "/health").status == 200 and get(started.port, "/livez").status == 200
    keys.write_text("third\n")
    started.process.send_signal(signal.SIGHUP)
    wait_until(lambda: started.events("keys_reloaded"))
    assert [status(key) for key in ("first", "third", "from-environment")] == [401, 200, 200]
    keys.unlink()
    started.process.send_signal(signal.SIGHUP)
    wait_until(lambda: started.events("keys_not_reloaded"))
    assert status("third") == 200  # the old ones stay in force


@pytest.mark.parametrize("end", ["\n", "\r\n", " \t"])
def test_a_line_end_is_no_part_of_a_key(worker, end):
    started = worker(env={"TALLOW_API_KEY": "sesame" + end})
    assert get(started.port, "/info", headers={"Authorization": "Bearer sesame"}).status == 200
    assert get(started.port, "/info", headers={"Authorization": "Bearer other"}).status == 401


@pytest.mark.parametrize("key", ["", "\n", " "])
def test_an_empty_key_opens_no_door(worker, key):
    started = worker(env={"TALLOW_API_KEY": key}, wait=False)
    assert started.wait_end() == 2


# ---- systemd ----


@pytest.mark.parametrize("abstract", [False, True])
def test_sd_notify(worker, tmp_path, abstract):
    name = "tallow-test-%d" % os.getpid() if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind("\0" + name if abstract else name)
        notify.settimeout(WAIT_S)
        started = worker(env={"NOTIFY_SOCKET": "@" + name if abstract else name, "WATCHDOG_USEC": "400000"})
        first = notify.recv(1000)
        got = [first] + [notify.recv(1000) for _ in range(3)]
        assert b"READY=1" in got and got.count(b"WATCHDOG=1") >= 2
        started.process.terminate()
        while notify.recv(1000) != b"STOPPING=1":
            pass
        assert started.wait_end() == 0


def test_inherited_socket(worker, orchestrator):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        # The protocol wants the descriptor at 3 and the pid of the process itself.
        script = (
            "import os, sys\n"
            "os.dup2(int(sys.argv[1]), 3)\n"
            "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))\n"
            "os.execv(sys.argv[2], sys.argv[2:])\n"
        )
        command = [sys.executable, "-c", script, str(listener.fileno())] + program()
        started = worker("--callback-url", orchestrator.url, command=command, pass_fds=[listener.fileno()])
        assert started.port == port
        assert orchestrator.next_post()["body"]["uri"] == "http://127.0.0.1:%d" % port
        assert get(port, "/health").status == 200


# ---- resting ----


@not_sanitized("it keeps what was freed")
def test_freed_memory_goes_back(worker, text_model):
    """What a crowd of large requests took is the system's again once nobody is connected."""
    started = worker(model=text_model)
    body = {"messages": [{"role": "user", "content": "word"}] * 5000, "max_tokens": 1}
    assert post(started.port, "/v1/chat/completions", body).status == 400  # longer than the context; read whole all the same
    lines = lambda: pathlib.Path("/proc/%d/status" % started.pid).read_text().splitlines()
    resident_kb = lambda: next(int(line.split()[1]) for line in lines() if line.startswith("VmRSS"))
    time.sleep(2)  # that first one's memory has gone back, too
    before = resident_kb()
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        assert [answer.status for answer in pool.map(lambda _: post(started.port, "/v1/chat/completions", body), range(24))] == [400] * 24
    wait_until(lambda: resident_kb() < before + 2048)


def test_idle_costs_no_cpu(worker):
    started = worker()
    execute(started.port, {"prompt": PROMPT, "max_tokens": 2})

    def rests():
        """CPU time, which the clock of a busy machine does not change; the threads take a moment to fall asleep."""
        before = started.cpu_seconds()
        time.sleep(1.5)
        return started.cpu_seconds() - before <= 0.02

    wait_until(rests)


def test_cpu_mask_limits_the_threads(worker):
    cpu = sorted(os.sched_getaffinity(0))[-1]
    started = worker("--cpu-mask", cpu)
    assert os.sched_getaffinity(started.pid) == {cpu}
    assert get(started.port, "/info").json()["threads"] == 1


def test_threads_follow_affinity(worker):
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("needs two CPUs")
    started = worker()
    assert get(started.port, "/info").json()["threads"] == len(cpus)
    for task in os.listdir("/proc/%d/task" % started.pid):
        with contextlib.suppress(ProcessLookupError):  # a connection's thread may just have ended
            os.sched_setaffinity(int(task), {cpus[0]})

    def threads():
        execute(started.port, {"prompt": PROMPT, "max_tokens": 1})
        return get(started.port, "/info").json()["threads"]

    wait_until(lambda: threads() == 1, interval=0.5)
