"""What goes wrong around a worker and is none of its requests' doing: reads cut short, interrupted calls, full disks, no
descriptors, no threads, clocks that jump, a process that is stopped, memory dumps. Memory that runs out is unit
test_faults's."""

import concurrent.futures
import http.client
import json
import mmap
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import time

import pytest

from conftest import ROOT, Worker, not_sanitized
from http_client import WAIT_S, Stream, connect, execute, get, post, read_all, text_of, wait_until

SHORT = {"prompt": "Once upon a time", "max_tokens": 12, "temperature": 0, "ignore_eos": True}
LONG = dict(SHORT, max_tokens=200)


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    """shim("short,eintr"): the environment in which a worker meets that (shim.c)."""
    if "TALLOW_RUNNER" in os.environ:
        pytest.skip("what is preloaded would have to be the emulated machine's")
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "the shim takes a C compiler"
    library = tmp_path_factory.mktemp("shim") / "shim.so"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-U_FORTIFY_SOURCE", "-o", library,
                    ROOT / "tests/e2e/shim.c", "-ldl", "-pthread"], check=True)
    return lambda what: {"LD_PRELOAD": str(library), "SHIM": what}


def answers(port):
    """What a few requests of several kinds get, without what differs from one time to the next."""
    found = [text_of(execute(port, dict(SHORT, prompt="Once upon a time, " * n))) for n in (1, 20)]
    found.append(post(port, "/execute", dict(SHORT, stream=False)).json()["text"])
    chat = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8, "temperature": 0, "stream": True}
    for line in post(port, "/v1/chat/completions", chat).body.decode().splitlines():
        if line.startswith("data: {"):
            found.append(json.loads(line[6:])["choices"][0]["delta"].get("content"))
    found.append([error["field"] for error in post(port, "/execute", {"prompt": 1, "top_p": 2}).json()["errors"]])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)
    for _ in range(2):  # chunked, twice on one connection
        connection.request("POST", "/execute", body=iter([b'{"prompt":"a","max_tokens":3,', b'"temperature":0,"stream":false}']),
                           encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
        found.append(json.loads(connection.getresponse().read())["text"])
    connection.close()
    found.append(get(port, "/health").json()["status"])
    return found


@pytest.fixture(scope="session")
def usual(text_model, tmp_path_factory):
    """What the worker answers when nothing is wrong."""
    one = Worker([], text_model, tmp_path_factory.mktemp("usual") / "log")
    found = answers(one.port)
    assert one.stop() == 0
    return found


# ---- calls that do less than they were asked, or nothing ----


@pytest.mark.parametrize("what", ["short", "eintr", "short,eintr", "clock"])
@pytest.mark.parametrize("extra", [[], ["--supervise"]])
def test_the_system_at_its_worst(worker, shim, usual, text_model, orchestrator, tmp_path, what, extra):
    """The same answers; callback, keys, heartbeats and the end as ever."""
    keys = tmp_path / "keys"
    keys.write_text("a-key-that-is-long-enough-to-be-read-in-parts name=one\n")
    keys.chmod(0o600)
    one = worker("--callback-url", orchestrator.url + "/ready", "--heartbeat-url", orchestrator.url + "/beat",
                 "--heartbeat-interval", "20ms", *extra, model=text_model, env=shim(what))
    told = {}
    while len(told) < 2:
        told.update([(post["path"], post["body"]) for post in [orchestrator.next_post()]])
    assert told["/ready"]["pid"] == one.pid and told["/beat"]["status"] == "healthy"
    assert answers(one.port) == usual
    one.process.send_signal(signal.SIGHUP)  # no key file: a line of the log
    wait_until(lambda: one.events("keys_not_reloaded"))
    assert one.stop() == 0, one.log()
    locked = worker("--api-key-file", keys, *extra, model=text_model, env=shim(what))
    assert get(locked.port, "/info").status == 401
    allowed = {"Authorization": "Bearer a-key-that-is-long-enough-to-be-read-in-parts"}
    assert get(locked.port, "/info", headers=allowed).status == 200
    assert locked.stop() == 0, locked.log()


def test_deadlines_are_no_clock_times(worker, shim, slow_model):
    """A clock that jumps neither makes a deadline come nor keeps it away."""
    one = worker(env=shim("clock"))
    assert execute(one.port, dict(SHORT, deadline_ms=3600000))[-1][0] == "end"
    name, last = execute(one.port, dict(LONG, max_tokens=2000, deadline_ms=100))[-1]
    assert (name, last["code"]) == ("error", "DEADLINE_EXCEEDED")
    assert get(one.port, "/health").json()["uptime_seconds"] < 1000000
    assert one.stop() == 0


# ---- outputs ----


@pytest.mark.parametrize("extra", [[], ["--supervise"]])
def test_a_full_disk_takes_no_line(worker, extra, text_model):
    """Standard error, where the log goes, and standard output, where the ready line goes, have no space left."""
    with open("/dev/full", "wb") as full, socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
        probe.close()
        one = worker("--port", port, *extra, model=text_model, stderr=full, wait=False)

        def healthy():
            try:
                return get(port, "/health").status == 200
            except OSError:
                return False

        wait_until(healthy)
        for _ in range(3):
            assert execute(port, SHORT)[-1][0] == "end"
        wait_until(lambda: b"\nworker_log_lines_dropped_total 0\n" not in get(port, "/metrics").body)
        assert one.stop() == 0


def test_a_ready_line_that_finds_no_space(text_model, tmp_path):
    with open("/dev/full", "wb") as full, open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen([str(ROOT / os.environ.get("TALLOW_BINARY", "build/tallow")), "--model", str(text_model),
                                    "--port", "0"], stdout=full, stderr=log, stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: b"ready_line_unread" in (tmp_path / "log").read_bytes())
        process.terminate()
        assert process.wait(WAIT_S) == 0
    finally:
        process.kill()


# ---- descriptors ----


def test_no_descriptors_while_it_serves(worker):
    """Streams that run go on; newcomers wait or are refused; who is there is told that it is not for ever; when there are
    descriptors again, all is as before."""
    one = worker("--parallel", "2")
    expected = text_of(execute(one.port, SHORT))
    kept = http.client.HTTPConnection("127.0.0.1", one.port, timeout=WAIT_S)
    kept.request("GET", "/livez")
    kept.getresponse().read()
    streams = [Stream(one.port, "/execute", dict(LONG, seed=i)) for i in range(2)]
    for stream in streams:
        assert next(stream)[0] == "started"
    n_open = len(os.listdir("/proc/%d/fd" % one.pid))
    before = resource.prlimit(one.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(one.pid, resource.RLIMIT_NOFILE, (n_open, before[1]))
    newcomers = [connect(one.port) for _ in range(20)]
    for newcomer in newcomers:
        newcomer.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    kept.request("POST", "/execute", body=json.dumps(SHORT))
    refused = kept.getresponse()
    assert refused.status == 503 and json.load(refused)["error"]["code"] == "OUT_OF_MEMORY"
    kept.close()
    for stream in streams:
        assert list(stream)[-1][0] == "end"
        stream.close()
    resource.prlimit(one.pid, resource.RLIMIT_NOFILE, before)
    for newcomer in newcomers:
        answer = read_all(newcomer)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 200 "), answer
        newcomer.close()
    assert text_of(execute(one.port, SHORT)) == expected
    assert get(one.port, "/health").status == 200
    wait_until(lambda: len(os.listdir("/proc/%d/fd" % one.pid)) < n_open)
    assert one.stop() == 0


# ---- memory ----


@not_sanitized("it has an allocator of its own")
def test_whichever_allocation_fails_a_stream_has_an_end(worker, shim, tmp_path):
    """What was said before its 200 is unit test_faults's; from then on it is the end, or an error that says so."""
    (tmp_path / "number").write_bytes(bytes(8))
    with open(tmp_path / "number", "r+b") as file:
        number = mmap.mmap(file.fileno(), 8)
    one = worker("--parallel", "1", env=shim("alloc=%s" % (tmp_path / "number")))
    expected, errors, n, n_unused = text_of(execute(one.port, SHORT)), 0, 0, 0
    while n_unused < 3:  # one request takes a few more than another
        n += 1
        number[:] = n.to_bytes(8, "little")
        try:
            with Stream(one.port, "/execute", SHORT) as stream:
                events = list(stream) if stream.status == 200 else None
        except ConnectionError:  # before there was a head
            events = None
        n_unused = n_unused + 1 if any(number[:]) else 0
        number[:] = bytes(8)
        if events and events[-1][0] == "error":
            assert events[-1][1]["code"] == "OUT_OF_MEMORY"
            errors += 1
        elif events:
            assert events[-1][0] == "end" and text_of(events) == expected
    assert n > 50 and errors > 0
    assert one.stop() == 0


# ---- threads ----


def test_threads_that_cannot_be_started(worker, shim, text_model):
    """Whichever thread of the start it is: the worker says so and ends with 4, or does without and serves."""
    codes = []
    for n in range(0, 60, 1):
        one = worker("--threads", "2", model=text_model, env=shim("threads=%d" % n), wait=False)
        line = one.process.stdout.readline()
        if line:
            port = json.loads(line)["port"]
            codes.append(0)
            try:
                get(port, "/livez")
            except (OSError, http.client.HTTPException):
                pass  # a connection without a thread is closed
            assert one.stop() == 0, one.log()
            if sum(code == 0 for code in codes) > 2:
                break
        else:
            codes.append(one.wait_end())
            assert codes[-1] == 4 and "thread" in one.reason(), (n, codes[-1], one.log())
    assert codes.count(4) > 15 and codes[-1] == 0


def test_no_threads_while_it_serves(worker, shim, tmp_path):
    """A connection for which there is no thread is told so and closed; what runs goes on, and later ones are served."""
    flag = tmp_path / "no-threads"
    one = worker("--no-sandbox", env=shim("file=%s" % flag))
    with Stream(one.port, "/execute", LONG) as stream:
        assert next(stream)[0] == "started"
        flag.write_text("")
        for _ in range(5):
            with connect(one.port) as newcomer:
                newcomer.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
                answer = read_all(newcomer)
                assert answer.startswith(b"HTTP/1.1 503 ") and json.loads(answer.split(b"\r\n\r\n")[1])["error"]["retriable"]
        flag.unlink()
        assert get(one.port, "/livez").status == 200
        assert b'\nworker_errors_total{code="OUT_OF_MEMORY"} 5\n' in get(one.port, "/metrics").body
        assert list(stream)[-1][0] == "end"
    assert one.stop() == 0


# ---- a process that is stopped ----


@pytest.mark.parametrize("extra", [[], ["--supervise"]])
def test_a_process_that_is_stopped_and_goes_on(worker, extra):
    """In the middle of streams, again and again: nothing is lost, nobody is cancelled, the same text."""
    one = worker("--parallel", "4", *extra)
    bodies = [dict(LONG, seed=i, temperature=1) for i in range(3)]
    expected = [text_of(execute(one.port, body)) for body in bodies]
    pid = get(one.port, "/info").json()["pid"]
    streams = [Stream(one.port, "/execute", body) for body in bodies]
    events = [[next(stream)] for stream in streams]
    for _ in range(10):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.02)
        os.kill(pid, signal.SIGCONT)
        for stream, got in zip(streams, events):
            got.append(next(stream))
    for stream, got, text in zip(streams, events, expected):
        got += list(stream)
        assert got[-1][0] == "end" and text_of(got) == text
        stream.close()
    assert get(one.port, "/health").status == 200
    assert one.stop() == 0


# ---- a step that does not end ----


def falls_silent(notify):
    """Whether systemd hears no more for five of its intervals: what is on its way may come, a second's worth of it."""
    notify.settimeout(1)
    try:
        for _ in range(50):
            notify.recv(1000)
    except TimeoutError:
        return True
    return False


@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_step_that_does_not_end(worker, shim, tmp_path, threads):
    """/health and systemd's watchdog notice it, others are answered, and the shutdown's timeout holds."""
    hang, name = tmp_path / "hang", str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(name)
        notify.settimeout(WAIT_S)
        one = worker("--shutdown-timeout", "100ms", "--threads", threads,
                     env=dict(shim("hang=%s" % hang), NOTIFY_SOCKET=name, WATCHDOG_USEC="400000"))
        with Stream(one.port, "/execute", LONG) as stream:
            assert next(stream)[0] == "started"
            hang.write_text("")
            while notify.recv(1000) != b"WATCHDOG=1":
                pass
            assert get(one.port, "/health").status == 200  # a step may take a while
            (tmp_path / "hang.late").write_text("")
            wait_until(lambda: get(one.port, "/health").status == 503)
            told = get(one.port, "/health").json()
            assert told["status"] == "unhealthy" and "a step of the model has not ended" in told["reason"], told
            assert falls_silent(notify)
            assert get(one.port, "/livez").status == 200
            one.process.terminate()
            assert one.wait_end() == 70
    assert one.events("shutdown_timeout")
    assert "a step does not end" in one.log()


def test_a_step_that_ends_after_all(worker, shim, tmp_path):
    """However long the requests were without a byte of an answer, each gets all of it, and /health is well again."""
    hang = tmp_path / "hang"
    one = worker("--parallel", "4", env=shim("hang=%s" % hang))
    text = {"prompt": "Once upon a time", "temperature": 0, "seed": 1, "max_tokens": 4}
    ollama = {"model": "any", "prompt": "Once upon a time", "options": {"num_predict": 4, "temperature": 0}}
    asked = [("/execute", dict(text, stream=False)), ("/v1/completions", text), ("/v1/completions", dict(text, stream=True)),
             ("/api/generate", dict(ollama, stream=False)), ("/api/generate", ollama)]
    ends = [b"max_tokens", b'"length"', b"data: [DONE]\n\n", b'"done":true', b'"done":true']
    with concurrent.futures.ThreadPoolExecutor(len(asked)) as pool:
        hang.write_text("")
        answers = [pool.submit(post, one.port, *request) for request in asked]
        wait_until(lambda: get(one.port, "/health").json()["active"] + get(one.port, "/health").json()["queued"] == len(asked))
        (tmp_path / "hang.late").write_text("")
        wait_until(lambda: get(one.port, "/health").status == 503)
        hang.unlink()
        for request, answer, end in zip(asked, answers, ends):
            got = answer.result(WAIT_S)
            assert got.status == 200 and end in got.body, (request, got.body)
    wait_until(lambda: get(one.port, "/health").status == 200)
    assert one.stop() == 0


# ---- memory dumps ----


def anonymous_mappings(pid):
    """(bytes, flags) of the mappings that lie in no file."""
    found, size = [], None
    for line in pathlib.Path("/proc/%d/smaps" % pid).read_text().splitlines():
        fields = line.split()
        if "-" in fields[0] and ":" not in fields[0]:
            begin, end = (int(part, 16) for part in fields[0].split("-"))
            size = end - begin if len(fields) == 5 else None
        elif fields[0] == "VmFlags:" and size is not None:
            found.append((size, set(fields[1:])))
    return found


def test_keys_and_values_are_in_no_core_dump(worker):
    """Also where the sandbox, which forbids dumps altogether, is off: what is dumped is at most the heap."""
    one = worker("--kv-memory", "64MiB", "--no-sandbox")
    execute(one.port, {"prompt": "Once", "max_tokens": 2})
    hidden = sum(size for size, flags in anonymous_mappings(one.pid) if "dd" in flags)
    assert hidden >= 60 << 20
