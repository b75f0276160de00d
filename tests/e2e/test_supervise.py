"""--supervise: a worker that crashes comes back on the same port; what is told to others stays true; a request that crashes
it twice is kept out; and what cannot be helped ends with words."""

import http.client
import json
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import sys

import pytest

from conftest import clean_environment, has_sanitizer, not_sanitized, program
from http_client import WAIT_S, Stream, execute, get, post, text_of, wait_until

LONG = {"prompt": "Once upon a time", "max_tokens": 2000, "ignore_eos": True}
SHORT = {"prompt": "Once upon a time", "max_tokens": 4, "temperature": 0}


def is_running(pid):
    try:
        return pathlib.Path("/proc/%d/stat" % pid).read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def serving_pid(port):
    return get(port, "/info").json()["pid"]


def healthy_pid(port):
    """Who serves, when somebody does. Whoever asks is answered at any time; only what was accepted by a worker that then
    crashed is not."""
    try:
        return get(port, "/info").json()["pid"] if get(port, "/health").status == 200 else None
    except (ConnectionResetError, http.client.HTTPException, KeyError):
        return None


# A sanitizer takes the other signals for a fault that it found.
CRASH = signal.SIGKILL if has_sanitizer() else signal.SIGSEGV


def crash(one, signal_number=CRASH):
    """Crashes the worker and waits for the next one; its pid."""
    before = serving_pid(one.port)
    os.kill(before, signal_number)
    wait_until(lambda: healthy_pid(one.port) not in (None, before))
    return serving_pid(one.port)


# ---- coming back ----


@pytest.mark.parametrize("signal_number", [CRASH] if has_sanitizer() else [signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL])
def test_a_crash_in_the_middle_of_streams(worker, signal_number):
    one = worker("--supervise", "--parallel", "4")
    assert one.ready["pid"] == one.pid != serving_pid(one.port)
    expected = text_of(execute(one.port, SHORT))
    streams = [Stream(one.port, "/execute", dict(LONG, seed=i)) for i in range(4)]
    for stream in streams:
        assert next(stream)[0] == "started" and next(stream)[0] == "token"
    pid = crash(one, signal_number)
    assert one.alive() and is_running(pid)
    for stream in streams:
        with stream, pytest.raises((http.client.HTTPException, ConnectionResetError, StopIteration)):
            while True:
                assert next(stream)[0] == "token"
    assert text_of(execute(one.port, SHORT)) == expected
    assert b"\nworker_crashes_total 1\n" in get(one.port, "/metrics").body
    crashed, = one.told("worker_crashed")
    assert crashed["signal"] == signal_number and crashed["requests"] == 4
    assert one.stop() == 0
    assert one.process.stdout.read() == b""  # one ready line, whoever wrote it
    assert not is_running(pid)


def test_who_comes_once_a_worker_listens_is_the_workers(worker):
    """Though the supervisor has not heard of it yet, being slow, and the worker is slower."""
    def n_sleeps():  # of the supervisor
        return int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", pathlib.Path("/proc/%d/status" % one.pid).read_text(), re.M)[1])

    def children():
        return set(map(int, pathlib.Path("/proc/%d/task/%d/children" % (one.pid, one.pid)).read_text().split()))

    one = worker("--supervise")
    before = serving_pid(one.port)
    os.kill(before, CRASH)
    wait_until(lambda: children() - {before}, interval=0)
    pid, = children() - {before}
    os.kill(one.pid, signal.SIGSTOP)
    try:
        wait_until(lambda: healthy_pid(one.port) == pid)
        os.kill(pid, signal.SIGSTOP)
        with socket.create_connection(("127.0.0.1", one.port), WAIT_S) as client:
            client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            n_before = n_sleeps()
            os.kill(one.pid, signal.SIGCONT)
            wait_until(lambda: n_sleeps() > n_before)  # it has looked who is there, and let nobody in
            os.kill(pid, signal.SIGCONT)
            assert client.recv(100).startswith(b"HTTP/1.1 200 ")
    finally:
        os.kill(one.pid, signal.SIGCONT)
        os.kill(pid, signal.SIGCONT)
    assert one.stop() == 0


def test_what_a_worker_writes_into_shared_memory_is_no_pointer(worker):
    """One that was taken over may write anything there; its supervisor, who has all rights, goes on."""
    one = worker("--supervise")
    pid = serving_pid(one.port)
    shared = [line.split()[0] for line in open("/proc/%d/maps" % pid) if line.split()[1] == "rw-s"]
    assert len(shared) >= 2
    try:
        with open("/proc/%d/mem" % pid, "r+b", buffering=0) as memory:
            for start, end in (map(lambda number: int(number, 16), region.split("-")) for region in shared):
                memory.seek(start)
                assert memory.write(b"\x41" * (end - start)) == end - start
    except PermissionError:
        pytest.skip("takes the right to write into other processes")
    crash(one)
    assert execute(one.port, SHORT)[-1][0] == "end"
    assert one.alive() and one.stop() == 0


@pytest.mark.parametrize("limit", ["-Hn 64", "-Sn 64"])
def test_fewer_open_files_than_seats(worker, text_model, limit):
    """A hard limit ends both, with 4 and the numbers; a soft one is raised, and the supervisor is as ever."""
    started = worker("--supervise", wait=False, command=["sh", "-c", 'ulimit -Sn 64; ulimit %s; exec "$@"' % limit, "sh"] + program(),
                     model=text_model)
    if "H" in limit:
        assert started.wait_end() == 4, started.log()
        assert "the process may open 64 files" in started.reason()
        return
    started.wait_ready()
    crash(started)
    assert execute(started.port, SHORT)[-1][0] == "end"
    assert started.stop() == 0


def test_no_room_for_a_worker_is_too_little_not_a_crash(worker, text_model):
    started = worker("--supervise", wait=False, command=["sh", "-c", 'ulimit -n 6; exec "$@"', "sh"] + program(), model=text_model)
    assert started.wait_end() == 4, started.log()
    assert "no descriptors for a worker" in started.reason()


@not_sanitized("the sanitizer reports the crash, and says more")
def test_the_report_of_a_crash_says_where_and_not_what(worker):
    one = worker("--supervise")
    with Stream(one.port, "/execute", dict(LONG, prompt="MyVerySecretPrompt")) as stream:
        assert next(stream)[0] == "started" and next(stream)[0] == "token"
        assert get(one.port, "/info").json()["sandbox"]["on"]
        crash(one)
    report, = one.told("crash")
    assert report["signal"] == "SIGSEGV" and report["version"] == one.ready["version"]
    assert any(frame.startswith("tallow+0x") for frame in report["trace"])
    assert "Secret" not in one.log()


@not_sanitized("the sanitizer reports the crash, and says more")
def test_a_worker_without_a_supervisor_reports_its_crash_too(worker):
    one = worker()
    os.kill(one.pid, signal.SIGABRT)
    assert one.wait_end() == -signal.SIGABRT
    report, = one.events("crash")
    assert report["signal"] == "SIGABRT" and report["trace"]


def test_every_connection_is_answered_while_there_is_no_worker(worker):
    """The socket is never closed: connecting never fails, and what is said until the next worker is ready is true."""
    one = worker("--supervise")
    said = set()
    for _ in range(3):  # the pauses between get longer
        os.kill(serving_pid(one.port), signal.SIGKILL)
        status = 0
        while status != 200:
            try:
                answer = get(one.port, "/health")
            except (ConnectionResetError, http.client.HTTPException):
                continue  # accepted by the one that was killed
            status = answer.status
            said.add(answer.json()["status"])
            assert status == 200 or answer.json()["status"] != "restarting" or answer.headers["retry-after"]
    assert "restarting" in said and said <= {"restarting", "loading", "healthy"}


# ---- what others are told ----


def test_an_orchestrator_is_told_once(worker, orchestrator):
    one = worker("--supervise", "--callback-url", orchestrator.url + "/ready", "--heartbeat-url",
                 orchestrator.url + "/beat", "--heartbeat-interval", "50ms", "--hive-url", orchestrator.url)
    wait_until(lambda: not orchestrator.posts.empty())
    before = [orchestrator.next_post()]
    while before[-1]["path"] != "/ready":
        before.append(orchestrator.next_post())
    assert before[-1]["body"]["pid"] == one.pid and before[-1]["body"]["uri"] == one.url
    wait_until(lambda: one.events("callback_accepted"))
    crash(one)
    while not orchestrator.posts.empty():
        orchestrator.next_post()
    after = [orchestrator.next_post() for _ in range(20)]
    while {post["path"] for post in after} < {"/beat", "/v1/worker-heartbeat"}:
        after.append(orchestrator.next_post())
    assert all(post["path"] != "/ready" for post in after)
    ours = [post["body"] for post in after if post["path"] == "/beat"]
    assert ours and all(body["worker_id"] == one.ready["worker_id"] for body in ours)
    assert one.stop() == 0


def test_a_callback_that_nobody_accepted_yet_is_sent_by_the_next_worker(worker, orchestrator):
    orchestrator.default = 503
    one = worker("--supervise", "--callback-url", orchestrator.url, "--callback-timeout", "1h")
    orchestrator.next_post()
    crash(one)
    orchestrator.default = 200
    wait_until(lambda: one.events("callback_accepted") or orchestrator.posts.qsize() > 0)
    assert orchestrator.next_post()["body"]["pid"] == one.pid
    assert one.stop() == 0


def test_a_callback_that_is_never_accepted_ends_it_with_6(worker, orchestrator):
    orchestrator.default = 503
    one = worker("--supervise", "--callback-url", orchestrator.url, "--callback-timeout", "100ms")
    assert one.wait_end() == 6


def test_systemd_hears_from_the_process_that_it_started(worker, tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(path)
        notify.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        notify.settimeout(WAIT_S)

        def receive():
            data, ancillary, _, _ = notify.recvmsg(1000, 1000)
            sender = next(struct.unpack("iii", value)[0] for _, kind, value in ancillary if kind == socket.SCM_CREDENTIALS)
            assert sender == one.pid
            return data

        one = worker("--supervise", env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "400000"}, wait=False)
        while receive() != b"READY=1":
            pass
        one.wait_ready()
        crash(one)
        while receive() != b"READY=1":  # no STOPPING, and nothing of ours that systemd would not know
            pass
        while receive() != b"WATCHDOG=1":
            pass
        one.process.terminate()
        while receive() != b"STOPPING=1":
            pass
        assert one.wait_end() == 0


# ---- requests that crash it ----


def test_a_request_that_ran_at_two_crashes_is_kept_out(worker):
    """Here the crashes are ours. Others that ran beside it and were answered since are not suspected any more."""
    one = worker("--supervise", "--parallel", "4")
    poison, beside = dict(LONG, seed=1, max_tokens=400), dict(SHORT, seed=2)
    for _ in range(2):
        with Stream(one.port, "/execute", poison) as stream, Stream(one.port, "/execute", dict(LONG, seed=3)) as other:
            for each in (stream, other):
                assert next(each)[0] == "started" and next(each)[0] == "token"
            crash(one)
        assert execute(one.port, beside)[-1][0] == "end"
        assert execute(one.port, dict(LONG, seed=3, max_tokens=5))[-1][0] == "end"
    answer = post(one.port, "/execute", poison)
    assert answer.status == 500 and answer.json()["error"]["retriable"] is False
    assert "crashed twice" in answer.json()["error"]["message"]
    assert post(one.port, "/v1/completions", poison).status == 200  # another path is another request
    assert execute(one.port, dict(poison, max_tokens=3))[-1][0] == "end"
    assert one.stop() == 0


def test_a_job_is_suspected_while_it_runs(worker):
    one = worker("--supervise")
    for _ in range(2):
        job = post(one.port, "/v1/inference", LONG).json()
        with Stream(one.port, job["sse_url"]) as stream:
            assert next(stream)[0] == "started"
            crash(one)
    assert post(one.port, "/v1/inference", LONG).status == 500
    assert one.stop() == 0


def test_a_request_that_was_answered_is_not_suspected(worker):
    one = worker("--supervise")
    body = dict(LONG, max_tokens=40)
    for _ in range(3):
        with Stream(one.port, "/execute", body) as stream:
            assert next(stream)[0] == "started"
            crash(one)
        assert execute(one.port, body)[-1][0] == "end"
    assert one.stop() == 0


# ---- the end ----


def test_too_many_crashes_end_it_with_words(worker):
    one = worker("--supervise")
    for _ in range(4):
        crash(one, signal.SIGKILL)
    os.kill(serving_pid(one.port), signal.SIGKILL)
    assert one.wait_end() == 70
    assert "crashed 5 times within 60 s" in one.reason() and "giving up" in one.reason()


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_signals_are_passed_on(worker, signal_number):
    """What runs may end, as without a supervisor."""
    one = worker("--supervise", "--shutdown-timeout", "1h")
    with Stream(one.port, "/execute", dict(LONG, max_tokens=60)) as stream:
        assert next(stream)[0] == "started"
        one.process.send_signal(signal_number)
        assert list(stream)[-1][0] == "end"
    assert one.wait_end() == 0


def test_a_second_signal_ends_it_at_once(worker):
    one = worker("--supervise", "--shutdown-timeout", "1h")
    with Stream(one.port, "/execute", LONG) as stream:
        assert next(stream)[0] == "started"
        one.process.terminate()
        wait_until(lambda: one.events("draining"))
        one.process.terminate()
        assert one.wait_end() == 0


def key_file(tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("first\n")
    keys.chmod(0o600)
    return keys


def test_keys_are_read_again(worker, tmp_path):
    keys = key_file(tmp_path)
    one = worker("--supervise", "--api-key-file", keys)
    keys.write_text("second\n")
    one.process.send_signal(signal.SIGHUP)
    wait_until(lambda: get(one.port, "/info", headers={"Authorization": "Bearer second"}).status == 200)
    assert one.stop() == 0


def test_what_was_good_when_it_started_comes_back(worker, tmp_path):
    """A bad key file stands in the way of the next worker: it is said so, and the supervisor waits for who mends it."""
    keys = key_file(tmp_path)
    one = worker("--supervise", "--api-key-file", keys)
    key = {"Authorization": "Bearer first"}
    keys.write_text("first such=thing\n")
    one.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "keys_not_reloaded" in one.log())
    os.kill(get(one.port, "/info", headers=key).json()["pid"], CRASH)
    wait_until(lambda: one.log().count("worker_not_restarted") >= 2)
    answer = post(one.port, "/v1/chat/completions", {})
    assert answer.status == 503 and "being started" in answer.json()["error"]["message"]
    assert one.log().count("line 1") >= 3 and one.process.poll() is None
    keys.write_text("first\n")
    one.process.send_signal(signal.SIGHUP)
    wait_until(lambda: get(one.port, "/health").status == 200)
    assert get(one.port, "/info", headers=key).status == 200
    # The next time it is fresh: the end is one of its own again.
    assert one.stop() == 0


def test_it_can_be_ended_while_no_worker_can_start(worker, tmp_path):
    keys = key_file(tmp_path)
    one = worker("--supervise", "--api-key-file", keys)
    keys.unlink()
    os.kill(get(one.port, "/info", headers={"Authorization": "Bearer first"}).json()["pid"], CRASH)
    wait_until(lambda: "worker_not_restarted" in one.log())
    assert one.stop() == 0


def test_post_shutdown_ends_both(worker):
    one = worker("--supervise")
    assert post(one.port, "/shutdown", {}).status == 202
    assert one.wait_end() == 0


def test_a_worker_that_ends_of_itself_gives_its_exit_code(worker, tmp_path):
    one = worker("--supervise", model=tmp_path, wait=False)
    assert one.wait_end() == 3 and str(tmp_path) in one.reason()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        one = worker("--supervise", "--port", taken.getsockname()[1], wait=False)
        assert one.wait_end() == 5 and "cannot listen" in one.reason()


def test_killing_the_supervisor_ends_the_worker(worker):
    one = worker("--supervise")
    pid = serving_pid(one.port)
    one.process.kill()
    wait_until(lambda: not is_running(pid))


def test_what_a_crashed_worker_started_is_waited_for(slow_model, orchestrator, tmp_path):
    """As the first process of a container the supervisor gets the children of those that ended, and none stays a zombie."""
    become_reaper = "import ctypes, os, sys; ctypes.CDLL(None).prctl(36, 1); os.execvp(sys.argv[1], sys.argv[1:])"
    command = program() + ["--model", str(slow_model), "--port", "0", "--supervise", "--heartbeat-url", orchestrator.url]
    with open(tmp_path / "log", "w") as log:
        supervisor = subprocess.Popen([sys.executable, "-c", become_reaper] + command, stdout=subprocess.PIPE, stderr=log,
                                      env=clean_environment())
    try:
        port = json.loads(supervisor.stdout.readline())["port"]
        crashed = serving_pid(port)
        children = pathlib.Path("/proc/%d/task/%d/children" % (crashed, crashed)).read_text().split()
        assert len(children) == 1
        os.kill(crashed, signal.SIGKILL)
        wait_until(lambda: not pathlib.Path("/proc/" + children[0]).exists())
        wait_until(lambda: healthy_pid(port) not in (None, crashed))
    finally:
        supervisor.terminate()
        supervisor.stdout.close()
        supervisor.wait()


def test_a_unix_socket_is_removed_at_the_end(worker, tmp_path):
    path = tmp_path / "socket"
    one = worker("--supervise", "--host", "unix:%s" % path)
    assert one.ready["uri"] == "unix:%s" % path and path.is_socket()
    assert one.stop() == 0
    assert not path.exists()


def test_the_supervisors_parent_ends(slow_model, tmp_path):
    script = ("import subprocess, sys\n"
              "p = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)\n"
              "print(p.pid, p.stdout.readline().decode(), flush=True)\n"
              "p.wait()\n")
    command = program() + ["--model", str(slow_model), "--port", "0", "--exit-with-parent", "--supervise"]
    with open(tmp_path / "log", "w") as log:
        parent = subprocess.Popen([sys.executable, "-c", script] + command, stdout=subprocess.PIPE, stderr=log,
                                  env=clean_environment())
    pid, ready = parent.stdout.readline().split(b" ", 1)
    parent.stdout.close()
    child = serving_pid(json.loads(ready)["port"])
    parent.kill()
    parent.wait()
    try:
        wait_until(lambda: not is_running(int(pid)) and not is_running(child))
    finally:
        if is_running(int(pid)):
            os.kill(int(pid), signal.SIGKILL)


def test_nobody_reads_what_the_supervisor_says(worker):
    """A full pipe as standard error holds nobody up."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    one = worker("--supervise", stderr=writer)
    os.close(writer)
    for _ in range(2):
        crash(one)
    assert one.stop() == 0
    os.close(reader)
