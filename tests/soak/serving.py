"""A worker to be put under load, and what the kernel tells of it."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

from wire import WAIT_S, health, metrics

ROOT = pathlib.Path(__file__).resolve().parents[2]
# So small a quarantine that memory that was freed is soon used again, and its growth seen.
SANITIZERS = {"ASAN_OPTIONS": "quarantine_size_mb=4:detect_stack_use_after_return=0:abort_on_error=0",
              "UBSAN_OPTIONS": "print_stacktrace=1", "TSAN_OPTIONS": "second_deadlock_stack=1"}


class Worker:
    """`with Worker(binary, ["--queue", "8"]) as worker`: on a port of its own, with the shipped model."""

    def __init__(self, binary, arguments=()):
        self.key = ""  # a header line, where one is needed for /metrics
        program = pathlib.Path(binary).read_bytes()
        self.is_sanitized = b"__asan_init" in program or b"__tsan_init" in program
        self.log_file = tempfile.NamedTemporaryFile(prefix="tallow-soak-", suffix=".log")
        environment = dict(os.environ)
        for name, value in SANITIZERS.items():
            environment[name] = environment[name] + ":" + value if name in environment else value
        command = os.environ.get("TALLOW_RUNNER", "").split() + [
            str(binary), "--model", str(ROOT / "models/tallow-tiny"), "--port", "0", "--log-format", "json", "--log-level",
            "warn", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log_file, stdin=subprocess.DEVNULL,
                                        env=environment, cwd=ROOT)
        line = self.process.stdout.readline()
        if not line:
            sys.exit("the worker did not get ready:\n" + self.log())
        self.port = json.loads(line)["port"]

    def log(self):
        return pathlib.Path(self.log_file.name).read_text(errors="replace")

    def proc(self, name):
        return pathlib.Path("/proc/%d/%s" % (self.process.pid, name))

    def is_alive(self):
        return self.process.poll() is None

    def resident_kb(self):
        return self.status_number("VmRSS")

    def resident_at_rest_kb(self):
        """The least of some seconds: what was freed is given back within one after the last connection."""
        seen = []
        for _ in range(30):
            time.sleep(0.1)
            seen.append(self.resident_kb())
        return min(seen)

    def n_threads(self):
        return self.status_number("Threads")

    def status_number(self, name):
        """0 when it has ended."""
        try:
            lines = self.proc("status").read_text().splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in lines if line.startswith(name + ":")), 0)

    def n_descriptors(self):
        """Root may look, whoever the worker is; others may not where it is not dumpable: then None."""
        try:
            return len(os.listdir(self.proc("fd")))
        except OSError:
            return None

    def is_quiet(self):
        """Nothing runs, waits or is connected but who asks."""
        told, numbers = health(self.port), metrics(self.port, self.key)
        return told["active"] + told["queued"] == 0 and numbers["worker_http_connections"] == 1 and (
            numbers["worker_catching_up_answers"] == 0)

    def wait_quiet(self):
        """False when it does not come to rest."""
        end = time.monotonic() + WAIT_S
        while time.monotonic() < end:
            if self.is_quiet():
                return True
            time.sleep(0.02)
        return False

    def settled_facts(self, wanted=None):
        """Descriptors and threads, once they are as wanted (or will not be), or stay what they are: a connection's thread
        ends after its last answer, a job that nobody opens is given up after a minute."""
        found = []
        while self.is_alive() and len(found) < 20 * (100 if wanted else 10):
            found.append((self.n_descriptors(), self.n_threads()))
            if found[-1] == wanted or (not wanted and len(found) > 4 and len(set(found[-5:])) == 1):
                break
            time.sleep(0.05)
        return found[-1] if found else None

    def stop(self):
        """By SIGTERM: the exit code, and what a sanitizer or an error wrote into the log."""
        if self.is_alive():
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        said = [line for line in self.log().splitlines()
                if not line.startswith("{") or '"level":"error"' in line]
        return code, "\n".join(said)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.is_alive():
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.log_file.close()


def binary_of(argument):
    """The program to be tried: the argument, TALLOW_BINARY or the release build."""
    return (ROOT / (argument or os.environ.get("TALLOW_BINARY") or "build/tallow")).resolve()
